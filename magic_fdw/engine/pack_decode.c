/*
 * pack_decode.c
 *		Decodes blocks of integers and gives datums and vectors of every type but byte strings.
 */
#include "engine/pack_reader.h"

#include "engine/pack_kernels.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

/* Bits of a run's length - 1, as written. */
#define RUN_BITS 10

static const double power_of_ten[] = {
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
};

/* An allocation aligned to 64 bytes, never freed by itself. */
uint8 *
pack_align_alloc(PackReader *reader, Size size)
{
	return (uint8 *) TYPEALIGN(64, MemoryContextAlloc(reader->context, size + 64));
}

void
pack_need_codes(PackReader *reader, ReaderColumn *column)
{
	if (unlikely(column->codes == NULL))
		column->codes = pack_align_alloc(
			reader, PACK_VECTOR * (column->d.encoding == PACK_ENCODING_WIDE ? sizeof(int128)
																			: sizeof(int64)));
}

/* Buffers come when they are first needed: a table may have 1,600 columns. */
void
pack_need_temporary(PackReader *reader, ReaderColumn *column)
{
	if (unlikely(column->temporary == NULL))
		column->temporary = pack_align_alloc(reader, PACK_VECTOR * sizeof(int64));
}

int64 *
pack_need_integers(PackReader *reader, ReaderColumn *column)
{
	if (unlikely(column->integers == NULL))
		column->integers = (int64 *) pack_align_alloc(reader, PACK_VECTOR * sizeof(int64));
	return column->integers;
}

/*
 * Asks for the bytes behind the block, which are the next block's if it follows in the same page.
 * Blocks are too short for the processor to see the stream in time.
 */
static inline void
prefetch_next(PackReader *reader, ReaderColumn *column, int block)
{
	uint32 length;

	if (block + 1 >= reader->nblocks)
		return;
	length = Min(column->blocks[block + 1].length, PACK_PAGE_PAYLOAD / 2);
	for (uint32 at = 0; at < length; at += 64)
		__builtin_prefetch(column->payload + column->blocks[block].length + at);
}

/* Copies a block's validity to column->valid and compares it with the null count. */
void
pack_take_validity(ReaderColumn *column, const PackBlock *entry, const uint8 *bytes, int n)
{
	int words = (n + 63) / 64;
	int set = 0;

	memcpy(column->valid, bytes, words * sizeof(uint64));
	for (int i = 0; i < words; i++)
		set += pg_popcount64(column->valid[i]);
	if (set != n - entry->nulls || (n % 64 != 0 && column->valid[words - 1] >> (n % 64) != 0))
		pack_corrupt(column->att, "a validity bitmap does not match its null count");
}

/* Sees to it that the whole block's bytes are at column->payload. */
void
pack_fetch_block(PackReader *reader, ReaderColumn *column, int block)
{
	PackBlock *entry = &column->blocks[block];

	if (column->fetched == block)
		return;
	column->fetched = NO_BLOCK;
	column->payload = pack_fetch(reader, column->att, column->d.offset + entry->offset,
								 entry->length, &column->scratch, &column->scratch_room);
	column->fetched = block;
	prefetch_next(reader, column, block);
}

const uint8 *
pack_block_payload(PackReader *reader, ReaderColumn *column, int block, int n, uint32 *left)
{
	PackBlock *entry = &column->blocks[block];
	const uint8 *payload;

	pack_fetch_block(reader, column, block);
	payload = column->payload;
	*left = entry->length;
	if (entry->nulls > 0 && entry->nulls < n)
	{
		uint32 bytes = pack_validity_bytes(n);

		pack_need_bytes(column, *left, bytes);
		pack_take_validity(column, entry, payload, n);
		payload += bytes;
		*left -= bytes;
	}
	return payload;
}

/* Moves the codes of the rows that are not null from `packed` to their rows; the others get 0. */
#define SPREAD(Lane)                                                                               \
	do                                                                                             \
	{                                                                                              \
		const Lane *from = packed;                                                                 \
		Lane *to = (Lane *) column->codes;                                                         \
                                                                                                   \
		for (int i = 0; i < n; i++)                                                                \
		{                                                                                          \
			uint64 bit = (column->valid[i / 64] >> (i % 64)) & 1;                                  \
                                                                                                   \
			to[i] = bit ? *from : 0;                                                               \
			from += bit;                                                                           \
		}                                                                                          \
	} while (0)

static void
spread_codes(ReaderColumn *column, const void *packed, int lane, int n)
{
	switch (lane)
	{
		case 1:
			SPREAD(uint8);
			break;
		case 2:
			SPREAD(uint16);
			break;
		case 4:
			SPREAD(uint32);
			break;
		case 8:
			SPREAD(uint64);
			break;
	}
}

#define REPEAT(Lane)                                                                               \
	do                                                                                             \
	{                                                                                              \
		const Lane *heads = (const Lane *) column->temporary;                                      \
		Lane *to = (Lane *) column->codes;                                                         \
                                                                                                   \
		for (uint64 run = 0; run < count; run++)                                                   \
			for (int k = 0; k <= lengths[run]; k++)                                                \
				*to++ = heads[run];                                                                \
	} while (0)

/*
 * Reads the runs of a block: `lengths` has room for PACK_VECTOR, a run has one row more than its length says.
 * Returns the packed codes of their values.
 */
const uint8 *
pack_read_runs(ReaderColumn *column, const uint8 *payload, uint32 left, int width, int n,
			   uint16 *lengths, uint64 *count)
{
	pack_need_bytes(column, left, sizeof(*count));
	memcpy(count, payload, sizeof(*count));
	if (*count < 1 || *count > n)
		pack_corrupt(column->att, "impossible number of runs");
	pack_need_bytes(column, left,
					sizeof(*count) + pack_packed_bytes(*count, width) +
						pack_packed_bytes(*count, RUN_BITS));
	payload += sizeof(*count);
	pack_kernels()->unpack(payload + pack_packed_bytes(*count, width), *count, RUN_BITS, lengths);
	if (pack_kernels()->sum(lengths, sizeof(uint16), *count) + *count != n)
		pack_corrupt(column->att, "runs do not add up to the rows");
	return payload;
}

static void
decode_runs(ReaderColumn *column, const uint8 *payload, uint32 left, int width, int n)
{
	uint16 lengths[PACK_VECTOR] pg_attribute_aligned(64);
	uint64 count;

	payload = pack_read_runs(column, payload, left, width, n, lengths, &count);
	if (width > 0)
		pack_kernels()->unpack(payload, count, width, column->temporary);
	switch (pack_lane(width))
	{
		case 1:
			REPEAT(uint8);
			break;
		case 2:
			REPEAT(uint16);
			break;
		case 4:
			REPEAT(uint32);
			break;
		case 8:
			REPEAT(uint64);
			break;
	}
}

/* Differences become values in place: lanes of 8 bytes over base 0. */
static void
decode_deltas(ReaderColumn *column, const uint8 *payload, uint32 left, int width, int n,
			  uint64 base)
{
	const PackKernels *kernels = pack_kernels();
	int64 *values = (int64 *) column->codes;
	uint64 least;
	uint64 value = base;

	pack_need_bytes(column, left, sizeof(least) + pack_packed_bytes(n, width));
	memcpy(&least, payload, sizeof(least));
	if (width > 0)
		kernels->unpack(payload + sizeof(least), n, width, column->temporary);
	kernels->widen(column->temporary, pack_lane(width), n, least, 1, values);
	values[0] = value;
	for (int i = 1; i < n; i++)
		values[i] = value += values[i];
}

/*
 * Decodes a block of integers.  With nulls in it column->valid says which; a block of nulls only
 * gives a constant.
 */
void
pack_decode_ints(PackReader *reader, ReaderColumn *column, int block, PackInts *out)
{
	PackBlock *entry = &column->blocks[block];
	int n = pack_block_rows(reader, block);
	int width = entry->width;
	int method = entry->method & PACK_METHOD_MASK;
	const uint8 *payload;
	uint32 left;

	out->nulls = entry->nulls;
	out->base = entry->u.base;
	out->step = column->d.step;
	out->lane = 0;
	out->codes = NULL;
	if (entry->nulls == n)
	{
		memset(column->valid, 0, sizeof(column->valid));
		out->base = 0;
		return;
	}
	payload = pack_block_payload(reader, column, block, n, &left);
	if (width > 64)
		pack_corrupt(column->att, "impossible bit width");
	pack_need_codes(reader, column);
	column->widened = NO_BLOCK;
	out->lane = pack_lane(width);
	out->codes = column->codes;

	if (method == PACK_METHOD_DECIMAL && column->d.klass == PACK_CLASS_FLOAT8)
	{
		pack_need_bytes(column, left, sizeof(uint64));
		payload += sizeof(uint64); /* the exponent is the caller's */
		left -= sizeof(uint64);
		out->step = 1;
		method = PACK_METHOD_FOR;
	}
	switch (method)
	{
		case PACK_METHOD_FOR:
			if (entry->method & PACK_BLOCK_SPARSE)
			{
				int present = n - entry->nulls;

				pack_need_temporary(reader, column);
				pack_need_bytes(column, left, pack_packed_bytes(present, width));
				if (width > 0)
				{
					pack_kernels()->unpack(payload, present, width, column->temporary);
					if (entry->nulls > 0)
						spread_codes(column, column->temporary, out->lane, n);
					else
						memcpy(column->codes, column->temporary, n * out->lane);
				}
				break;
			}
			pack_need_bytes(column, left, pack_packed_bytes(n, width));
			if (width > 0)
				pack_kernels()->unpack(payload, n, width, column->codes);
			break;
		case PACK_METHOD_RLE:
			pack_need_temporary(reader, column);
			decode_runs(column, payload, left, width, n);
			break;
		case PACK_METHOD_DELTA:
			pack_need_temporary(reader, column);
			decode_deltas(column, payload, left, width, n, entry->u.base);
			out->lane = 8;
			out->base = 0;
			out->step = 1;
			break;
		default:
			pack_corrupt(column->att, "unknown way of storing a block");
	}
	if (out->lane == 0)
		out->codes = NULL;
}

/* What the numbers of a DECIMAL block are divided by; `bytes` follow its validity. */
double
pack_read_divisor(const ReaderColumn *column, const uint8 *bytes)
{
	uint64 exponent;

	memcpy(&exponent, bytes, sizeof(exponent));
	if (exponent >= lengthof(power_of_ten))
		pack_corrupt(column->att, "impossible number of decimal places");
	return power_of_ten[exponent];
}

static double
decimal_divisor(PackReader *reader, ReaderColumn *column, int block)
{
	int n = pack_block_rows(reader, block);
	uint32 left;
	const uint8 *payload = pack_block_payload(reader, column, block, n, &left);

	pack_need_bytes(column, left, sizeof(uint64));
	return pack_read_divisor(column, payload);
}

static inline bool
is_decimal(const ReaderColumn *column, int block)
{
	return (column->blocks[block].method & PACK_METHOD_MASK) == PACK_METHOD_DECIMAL;
}

/* Sets `isnull` and clears the datums of nulls. */
void
pack_apply_nulls(ReaderColumn *column, int n, int nulls, Datum *values, bool *isnull)
{
	if (nulls == 0)
	{
		memset(isnull, 0, n);
		return;
	}
	if (nulls == n)
	{
		memset(isnull, 1, n);
		memset(values, 0, n * sizeof(Datum));
		return;
	}
	for (int i = 0; i < n; i++)
	{
		bool null = !pack_row_valid(column, i);

		isnull[i] = null;
		if (null)
			values[i] = (Datum) 0;
	}
}

/* ---------------------------------------------------------------- datums ---- */

/* PostgreSQL sign-extends what it reads of attlen bytes, whatever the type. */
static inline Datum
unsigned_datum(int16 attlen, int64 value)
{
	switch (attlen)
	{
		case 1:
			return CharGetDatum((char) value);
		case 2:
			return Int16GetDatum((int16) value);
		case 4:
			return Int32GetDatum((int32) value);
		default:
			return (Datum) value;
	}
}

static void
int_datums(PackReader *reader, ReaderColumn *column, int block, Datum *values)
{
	int n = pack_block_rows(reader, block);
	PackInts ints;

	StaticAssertStmt(sizeof(Datum) == sizeof(int64), "datums hold 64 bits");
	pack_decode_ints(reader, column, block, &ints);
	pack_kernels()->widen(ints.codes, ints.lane, n, ints.base, ints.step, (int64 *) values);
	if (is_decimal(column, block) && ints.nulls < n)
		pack_kernels()->int_to_double((const int64 *) values, n,
									  decimal_divisor(reader, column, block), (double *) values);
	else if (column->d.klass == PACK_CLASS_UINT && column->attlen < 8)
		for (int i = 0; i < n; i++)
			values[i] = unsigned_datum(column->attlen, (int64) values[i]);
}

static inline bool
is_numbers(const ReaderColumn *column)
{
	return column->d.encoding <= PACK_ENCODING_WIDE;
}

void
pack_read_datums(PackReader *reader, int att, int block, Datum *values, bool *isnull)
{
	ReaderColumn *column = pack_column(reader, att);
	int n = pack_block_rows(reader, block);

	if (column->constant)
	{
		for (int i = 0; i < n; i++)
			values[i] = column->value;
		memset(isnull, column->isnull, n);
		return;
	}
	if (reader->tiny)
	{
		uint32 first = att * reader->nrows + block * PACK_VECTOR;

		memcpy(values, reader->tiny_values + first, n * sizeof(Datum));
		memcpy(isnull, reader->tiny_nulls + first, n);
		return;
	}
	if (!is_numbers(column))
	{
		pack_bytes_datums(reader, column, block, values, isnull);
		return;
	}
	if (column->d.klass == PACK_CLASS_NUMERIC)
	{
		pack_numeric_datums(reader, column, block, values);
	}
	else
		int_datums(reader, column, block, values);
	pack_apply_nulls(column, n, column->blocks[block].nulls, values, isnull);
}

Datum
pack_read_datum(PackReader *reader, int att, uint32 index, PackDatumBuffer *buffer, bool *isnull)
{
	ReaderColumn *column = pack_column(reader, att);
	int block = index / PACK_VECTOR;
	int row = index % PACK_VECTOR;
	int64 value;

	Assert(index < reader->nrows);
	if (column->constant)
	{
		*isnull = column->isnull;
		return column->value;
	}
	if (reader->tiny)
	{
		*isnull = reader->tiny_nulls[att * reader->nrows + index];
		return reader->tiny_values[att * reader->nrows + index];
	}
	if (!is_numbers(column))
		return pack_bytes_datum(reader, column, block, row, buffer, isnull);
	if (column->d.klass == PACK_CLASS_NUMERIC)
		return pack_numeric_datum(reader, column, block, row, buffer, isnull);
	value = pack_single_int(reader, column, block, row, isnull);
	return column->d.klass == PACK_CLASS_UINT ? unsigned_datum(column->attlen, value)
											  : (Datum) value;
}

/* ---------------------------------------------------------------- vectors ---- */

/* float4 bits are 4-byte lanes, float8 bits 8-byte ones. */
static void
float_vector(PackReader *reader, ReaderColumn *column, int block, PackVector *out)
{
	int n = out->nrows;
	PackInts ints;
	int64 *wide;

	pack_decode_ints(reader, column, block, &ints);
	column->widened = NO_BLOCK;
	wide = pack_need_integers(reader, column);
	pack_kernels()->widen(ints.codes, ints.lane, n, ints.base, ints.step, wide);
	if (is_decimal(column, block) && ints.nulls < n)
		pack_kernels()->int_to_double(wide, n, decimal_divisor(reader, column, block),
									  (double *) wide);
	if (column->d.klass == PACK_CLASS_FLOAT4)
	{
		int32 *narrow;

		pack_need_codes(reader, column);
		narrow = (int32 *) column->codes;
		for (int i = 0; i < n; i++)
			narrow[i] = (int32) wide[i];
		out->kind = PACK_VECTOR_FLOAT4;
		out->lane = 4;
		out->codes = narrow;
	}
	else
	{
		out->kind = PACK_VECTOR_FLOAT8;
		out->lane = 8;
		out->codes = wide;
	}
}

/* Raises if a code over the base is not in the dictionary; step 1. */
void
pack_check_codes(const ReaderColumn *column, const PackInts *ints, int n)
{
	uint64 most = pack_kernels()->max_code(ints->codes, ints->lane, n);

	if (ints->base < 0 || ints->base >= column->dict.count ||
		most >= column->dict.count - ints->base)
		pack_corrupt(column->att, "a code is not in the dictionary");
}

/* A dictionary's codes, all in range, in lanes of at most 4 bytes. */
static void
dict_vector(PackReader *reader, ReaderColumn *column, int block, PackVector *out)
{
	int n = out->nrows;
	PackInts ints;
	int64 *wide;
	uint32 *narrow;

	pack_load_dictionary(reader, column);
	pack_decode_ints(reader, column, block, &ints);
	out->kind = PACK_VECTOR_DICT;
	out->dict = &column->dict;
	out->step = 1;
	if (ints.nulls == n)
		return;
	if (ints.lane <= 4 && ints.step == 1)
	{
		pack_check_codes(column, &ints, n);
		out->lane = ints.lane;
		out->codes = ints.codes;
		out->base = ints.base;
		return;
	}
	wide = pack_need_integers(reader, column);
	column->widened = NO_BLOCK;
	pack_kernels()->widen(ints.codes, ints.lane, n, ints.base, ints.step, wide);
	pack_need_codes(reader, column);
	narrow = (uint32 *) column->codes;
	for (int i = 0; i < n; i++)
	{
		if ((uint64) wide[i] >= column->dict.count)
			pack_corrupt(column->att, "a code is not in the dictionary");
		narrow[i] = wide[i];
	}
	out->lane = 4;
	out->codes = narrow;
}

/* The missing value of an attribute that is newer than the pack, or nulls. */
static void
constant_vector(PackReader *reader, ReaderColumn *column, int att, PackVector *out)
{
	if (column->isnull)
	{
		memset(column->valid, 0, sizeof(column->valid));
		out->valid = column->valid;
		out->nulls = out->nrows;
		out->kind = PACK_VECTOR_INT;
		out->step = 1;
		return;
	}
	pack_tiny_vector(reader, att, out);
}

void
pack_read_vector(PackReader *reader, int att, int block, PackVector *out)
{
	ReaderColumn *column = pack_column(reader, att);
	PackBlock *entry;
	PackInts ints;

	memset(out, 0, sizeof(*out));
	out->nrows = pack_block_rows(reader, block);
	if (column->constant)
	{
		constant_vector(reader, column, att, out);
		return;
	}
	if (reader->tiny)
	{
		pack_tiny_vector(reader, att, out);
		return;
	}
	entry = &column->blocks[block];
	out->nulls = entry->nulls;
	out->valid = entry->nulls > 0 ? column->valid : NULL;
	out->is_numeric = column->d.klass == PACK_CLASS_NUMERIC && is_numbers(column);
	switch (column->d.encoding)
	{
		case PACK_ENCODING_INTS:
			if (column->d.klass == PACK_CLASS_FLOAT4 || column->d.klass == PACK_CLASS_FLOAT8)
			{
				float_vector(reader, column, block, out);
				break;
			}
			pack_decode_ints(reader, column, block, &ints);
			out->kind = PACK_VECTOR_INT;
			out->lane = ints.lane;
			out->codes = ints.codes;
			out->base = ints.base;
			out->step = ints.step;
			break;
		case PACK_ENCODING_WIDE:
			pack_decode_wide(reader, column, block);
			out->kind = PACK_VECTOR_INT128;
			out->lane = 16;
			out->codes = column->codes;
			break;
		case PACK_ENCODING_DICT:
			dict_vector(reader, column, block, out);
			break;
		default:
			pack_read_strings(reader, column, block, &out->nulls);
			out->kind = PACK_VECTOR_BYTES;
			out->strings = column->strings;
			break;
	}
	if (out->is_numeric)
	{
		out->scale = column->d.scale;
		if (column->d.aux_count > 0)
			pack_numeric_exceptions(reader, column, block, out);
	}
}

void
pack_vector_int64(const PackVector *vector, int64 *out)
{
	pack_kernels()->widen(vector->codes, vector->lane, vector->nrows, vector->base, vector->step,
						  out);
}
