/*
 * pack_single.c
 *		Integers of single rows, without decoding their blocks where that can be avoided.
 *
 * A lookup by key wants one row, whose values lie in as many pages as it has columns: of each block only what
 * the value needs is fetched, and the processor is asked for all of it before the first value is read.
 */
#include "engine/pack_reader.h"

#include "engine/pack_kernels.h"
#include "port/pg_bitutils.h"

/*
 * Is this the second value in a row of the block? Then more may follow: the block is worth fetching, or
 * decoding, as a whole, while of a block that is touched once only what its value needs is read.
 */
bool
pack_touch_block(ReaderColumn *column, int block)
{
	bool again = column->touched == block;

	column->touched = block;
	return again;
}

/*
 * Bytes of a block: of the whole block if that is at hand, else only they are fetched. Valid until the
 * column is read again.
 */
const uint8 *
pack_block_part(PackReader *reader, ReaderColumn *column, int block, uint32 offset, uint64 length)
{
	PackBlock *entry = &column->blocks[block];

	if (offset > entry->length || length > entry->length - offset)
		pack_corrupt(column->att, "a block is too short");
	if (column->fetched == block)
		return column->payload + offset;
	column->fetched = NO_BLOCK;
	return pack_fetch(reader, column->att, column->d.offset + entry->offset + offset, length,
					  &column->scratch, &column->scratch_room);
}

/* Is the row null? Reads the block's validity, if it has one, to column->valid; returns its bytes. */
uint32
pack_single_valid(PackReader *reader, ReaderColumn *column, int block, int n, int row, bool *isnull)
{
	PackBlock *entry = &column->blocks[block];
	uint32 bytes = pack_validity_bytes(n);

	*isnull = entry->nulls == n;
	if (entry->nulls == 0 || *isnull)
		return 0;
	pack_take_validity(column, entry, pack_block_part(reader, column, block, 0, bytes), n);
	*isnull = !pack_row_valid(column, row);
	return bytes;
}

/* Code `row` of so many that begin at an offset of the block. */
uint64
pack_single_code(PackReader *reader, ReaderColumn *column, int block, uint32 offset, int codes,
				 int row)
{
	int width = column->blocks[block].width;
	uint32 bytes;
	uint32 place;

	if (width == 0)
		return 0;
	if (width > 64)
		pack_corrupt(column->att, "impossible bit width");
	if (row >= codes ||
		column->blocks[block].length < offset + (uint64) pack_packed_bytes(codes, width))
		pack_corrupt(column->att, "a block is too short");
	place = pack_packed_place(codes, width, row, &bytes);
	return pack_packed_get(pack_block_part(reader, column, block, offset + place, bytes), codes,
						   width, row);
}

/* Rows before this one that are not null. */
static int
rank_of(const ReaderColumn *column, int row)
{
	int rank = 0;

	for (int i = 0; i < row / 64; i++)
		rank += pg_popcount64(column->valid[i]);
	return rank + pg_popcount64(column->valid[row / 64] & ((UINT64CONST(1) << (row % 64)) - 1));
}

/* base + step * code, of a FOR block, or behind the exponent of a DECIMAL one. */
static int64
single_for(PackReader *reader, ReaderColumn *column, int block, uint32 offset, int row, int64 step)
{
	PackBlock *entry = &column->blocks[block];
	int codes = pack_block_rows(reader, block);

	if (entry->method & PACK_BLOCK_SPARSE)
	{
		if (entry->nulls > 0)
			row = rank_of(column, row);
		codes -= entry->nulls;
	}
	return (int64) ((uint64) entry->u.base +
					(uint64) step * pack_single_code(reader, column, block, offset, codes, row));
}

static inline int64
double_bits(double value)
{
	int64 bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static int64
single_decimal(PackReader *reader, ReaderColumn *column, int block, uint32 offset, int row)
{
	double divisor;

	if (column->d.klass != PACK_CLASS_FLOAT8)
		pack_corrupt(column->att, "unknown way of storing a block");
	divisor =
		pack_read_divisor(column, pack_block_part(reader, column, block, offset, sizeof(uint64)));
	return double_bits((double) single_for(reader, column, block, offset + sizeof(uint64), row, 1) /
					   divisor);
}

/* The first value and the differences up to the row. */
static int64
single_delta(PackReader *reader, ReaderColumn *column, int block, uint32 offset, int row)
{
	PackBlock *entry = &column->blocks[block];
	int n = pack_block_rows(reader, block);
	int lane = pack_lane(entry->width);
	uint64 value = entry->u.base;
	uint64 codes[PACK_VECTOR] pg_attribute_aligned(64);
	const uint8 *bytes;
	uint64 least;

	if (entry->width > 64)
		pack_corrupt(column->att, "impossible bit width");
	bytes = pack_block_part(reader, column, block, offset,
							sizeof(least) + pack_packed_bytes(n, entry->width));
	memcpy(&least, bytes, sizeof(least));
	value += least * row;
	if (lane > 0 && row > 0)
	{
		pack_kernels()->unpack(bytes + sizeof(least), n, entry->width, codes);
		value += pack_kernels()->sum((uint8 *) codes + lane, lane, row);
	}
	return (int64) value;
}

/* The value of the run that the row is in. */
static int64
single_run(PackReader *reader, ReaderColumn *column, int block, uint32 offset, int row)
{
	PackBlock *entry = &column->blocks[block];
	int width = entry->width;
	uint32 left = entry->length - offset;
	uint16 lengths[PACK_VECTOR] pg_attribute_aligned(64);
	const uint8 *codes;
	uint64 count;
	uint64 code = 0;
	uint64 run = 0;
	uint32 bytes;

	if (width > 64)
		pack_corrupt(column->att, "impossible bit width");
	codes = pack_block_part(reader, column, block, offset, left);
	codes =
		pack_read_runs(column, codes, left, width, pack_block_rows(reader, block), lengths, &count);
	for (int end = lengths[0] + 1; end <= row; end += lengths[run] + 1)
		run++;
	if (width > 0)
		code = pack_packed_get(codes + pack_packed_place(count, width, run, &bytes), count, width,
							   run);
	return (int64) ((uint64) entry->u.base + (uint64) column->d.step * code);
}

/*
 * The integer of one row, without decoding the block where its method allows or it is touched but once;
 * for floats their bits.
 */
int64
pack_single_int(PackReader *reader, ReaderColumn *column, int block, int row, bool *isnull)
{
	PackBlock *entry = &column->blocks[block];
	int n = pack_block_rows(reader, block);
	int method = entry->method & PACK_METHOD_MASK;
	bool again = pack_touch_block(column, block);
	uint32 offset;
	PackInts ints;

	*isnull = entry->nulls == n;
	if (*isnull)
		return 0;
	if (again)
		pack_fetch_block(reader, column, block);
	offset = pack_single_valid(reader, column, block, n, row, isnull);
	if (*isnull)
		return 0;
	if (method == PACK_METHOD_FOR)
		return single_for(reader, column, block, offset, row, column->d.step);
	if (method == PACK_METHOD_DECIMAL)
		return single_decimal(reader, column, block, offset, row);
	if (method == PACK_METHOD_DELTA && (!again || entry->width == 0))
		return single_delta(reader, column, block, offset, row);
	if (method == PACK_METHOD_RLE && !again)
		return single_run(reader, column, block, offset, row);
	if (column->widened != block)
	{
		pack_decode_ints(reader, column, block, &ints);
		(void) pack_need_integers(reader, column);
		pack_kernels()->widen(ints.codes, ints.lane, n, ints.base, ints.step, column->integers);
		column->widened = block;
	}
	return column->integers[row];
}

/* ---------------------------------------------------------------- prefetch ---- */

/* The bytes of a block, and of a frame, that the value of a row needs, as far as that is known before. */
static void
prefetch_value(PackReader *reader, ReaderColumn *column, int block, int row)
{
	PackSource *source = reader->source;
	PackBlock *entry = &column->blocks[block];
	uint64 at = column->d.offset + entry->offset;
	uint32 length = entry->length;
	uint32 number;

	if (column->fetched == block || length == 0)
		return;
	if ((entry->method & PACK_METHOD_MASK) == PACK_METHOD_FOR && entry->nulls == 0 &&
		entry->width <= 64)
		at += pack_packed_place(pack_block_rows(reader, block), entry->width, row, &length);
	source->prefetch(source, at, length);
	if (column->frames == NULL)
		return;
	number = ((uint32) block * PACK_VECTOR + row) >> column->d.frame_shift;
	if (column->kept == NULL || column->kept[number] == NULL)
		source->prefetch(source, column->d.offset + column->frames[number].offset,
						 column->frames[number].length);
}

/*
 * A row's attributes first .. end - 1 will be read, those of the set (NULL: all). They lie in different pages:
 * the processor is asked for what they need at once, so that it waits for the memory once.
 */
void
pack_prefetch_row(PackReader *reader, uint32 index, int first, int end, const bool *needed)
{
	int block = index / PACK_VECTOR;

	if (reader->source->prefetch == NULL || reader->tiny)
		return;
	for (int att = first; att < end; att++)
	{
		ReaderColumn *column = reader->columns[att];

		if (column != NULL && column->blocks != NULL && (needed == NULL || needed[att]))
			__builtin_prefetch(&column->blocks[block]);
	}
	for (int att = first; att < end; att++)
	{
		ReaderColumn *column = reader->columns[att];

		if (column != NULL && column->blocks != NULL && (needed == NULL || needed[att]))
			prefetch_value(reader, column, block, index % PACK_VECTOR);
	}
}
