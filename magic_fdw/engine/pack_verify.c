/*
 * pack_verify.c
 *		Reads all of a pack and compares checksums, counts and ranges with the values.
 */
#include "engine/pack_reader.h"

#include <math.h>

#include "engine/pack_writer.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

/* Bytes checksummed at a time. */
#define STRETCH PACK_PAGE_PAYLOAD

typedef void (*Report)(void *arg, int att, const char *problem);

/* Raises unless the bytes of a column's chunk have the checksum that its descriptor says. */
void
pack_check_data(PackReader *reader, ReaderColumn *column)
{
	pg_crc32c crc;
	uint64 end = column->d.offset + column->d.length;

	INIT_CRC32C(crc);
	column->fetched = NO_BLOCK;
	for (uint64 at = column->d.offset; at < end;)
	{
		/* in steps of the pages below, so that nothing is copied */
		uint64 length = Min(STRETCH - at % STRETCH, end - at);

		CHECK_FOR_INTERRUPTS();
		COMP_CRC32C(
			crc,
			pack_fetch(reader, column->att, at, length, &column->scratch, &column->scratch_room),
			length);
		at += length;
	}
	FIN_CRC32C(crc);
	if (crc != column->d.data_crc)
		pack_corrupt(column->att, "wrong checksum of its bytes");
}

static int
compare_cut(PackString value, const uint8 *bound, int length)
{
	int order = memcmp(value.data, bound, Min(value.length, length));

	if (order != 0)
		return order;
	return value.length < length ? -1 : 0;
}

/* Raises unless the string lies in the range; the max is compared cut. */
static void
verify_string(int att, const PackRange *range, PackString value)
{
	if (compare_cut(value, range->min_bytes, range->min_length) < 0 ||
		compare_cut(value, range->max_bytes, range->max_length) > 0)
		pack_corrupt(att, "a string is outside its range");
}

static void
verify_number(int att, const PackRange *range, int128 value)
{
	if (value < range->imin || value > range->imax)
		pack_corrupt(att, "a number is outside its range");
}

static void
verify_float(int att, const PackRange *range, double value)
{
	if (isnan(value) ? !range->has_nan
					 : !range->has_numbers || value < range->fmin || value > range->fmax)
		pack_corrupt(att, "a float is outside its range");
}

static bool
is_exception(const PackVector *vector, int row)
{
	for (int i = 0; i < vector->nexceptions; i++)
		if (vector->exception_rows[i] == row)
			return true;
	return false;
}

static void
verify_row(int att, const PackRange *range, const PackVector *vector, const int64 *integers,
		   int row)
{
	switch (vector->kind)
	{
		case PACK_VECTOR_INT:
			verify_number(att, range, integers[row]);
			break;
		case PACK_VECTOR_INT128:
			verify_number(att, range, ((const int128 *) vector->codes)[row]);
			break;
		case PACK_VECTOR_FLOAT4:
			verify_float(att, range, ((const float4 *) vector->codes)[row]);
			break;
		case PACK_VECTOR_FLOAT8:
			verify_float(att, range, ((const float8 *) vector->codes)[row]);
			break;
		case PACK_VECTOR_DICT:
			verify_string(att, range, vector->dict->entries[integers[row]]);
			break;
		case PACK_VECTOR_BYTES:
			verify_string(att, range, vector->strings[row]);
			break;
	}
}

static void
verify_block(PackReader *reader, int att, int block)
{
	PackVector vector;
	PackRange chunk_range;
	PackRange block_range;
	bool has_chunk = pack_column_range(reader, att, &chunk_range);
	bool has_block = pack_block_range(reader, att, block, &block_range);
	int64 integers[PACK_VECTOR] pg_attribute_aligned(64);
	int nulls = 0;

	pack_read_vector(reader, att, block, &vector);
	if (vector.kind == PACK_VECTOR_INT || vector.kind == PACK_VECTOR_DICT)
		pack_vector_int64(&vector, integers);
	for (int row = 0; row < vector.nrows; row++)
	{
		if (vector.valid != NULL && !((vector.valid[row / 64] >> (row % 64)) & 1))
		{
			nulls++;
			continue;
		}
		if (is_exception(&vector, row))
			continue;
		if (has_chunk)
			verify_row(att, &chunk_range, &vector, integers, row);
		if (has_block)
			verify_row(att, &block_range, &vector, integers, row);
	}
	if (nulls != vector.nulls || nulls != block_range.nulls)
		pack_corrupt(att, "wrong null count of a block");
}

static void
verify_column(PackReader *reader, int att)
{
	ReaderColumn *column = pack_column(reader, att);
	Datum values[PACK_VECTOR];
	bool nulls[PACK_VECTOR];

	if (!reader->tiny && column->d.klass != PACK_CLASS_NONE)
		pack_check_data(reader, column);
	for (uint32 block = 0; block < reader->nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		verify_block(reader, att, block);
		pack_read_datums(reader, att, block, values, nulls);
	}
}

/* Runs one check (column -1: positions); turns corruption into a report. */
static void
guarded(PackReader *reader, int att, Report report, void *arg)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		if (att >= 0)
			verify_column(reader, att);
		else
			for (uint32 block = 0; block < reader->nblocks; block++)
			{
				uint32 positions[PACK_VECTOR];

				pack_block_positions(reader, block, positions);
			}
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
			PG_RE_THROW();
		FlushErrorState();
		report(arg, att, error->detail ? error->detail : error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
}

void
pack_verify(PackReader *reader, Report report, void *arg)
{
	for (int att = -1; att < reader->desc->natts; att++)
		guarded(reader, att, report, arg);
}
