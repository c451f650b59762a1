/*
 * pack_encode_ints.c
 *		Blocks of integers: the cheapest of constant, bit-packing from the block's minimum, differences
 *		and runs, chosen block by block by exact cost.
 *
 * Integers, dates, scaled numerics, dictionary codes and the bits of floats all come here.
 */
#include "engine/pack_writer.h"

#include <math.h>

#include "engine/pack_kernels.h"
#include "miscadmin.h"

/* Bits of a run's length - 1. */
#define RUN_BITS 10

/* Decimal places tried for float8, and the largest integer that float8 holds exactly. */
#define MAX_DECIMALS 10
#define MAX_EXACT_INTEGER INT64CONST(9007199254740992)

typedef struct Divisor
{
	int shift;		  /* trailing zeros */
	uint64 inverse;	  /* of the odd part, modulo 2^64 */
	uint64 quotients; /* largest quotient */
} Divisor;

static Divisor
divisor_of(uint64 step)
{
	Divisor divisor;
	uint64 odd;

	divisor.shift = __builtin_ctzll(step);
	divisor.quotients = PG_UINT64_MAX / step;
	odd = step >> divisor.shift;
	divisor.inverse = odd; /* right for 3 bits; each round doubles them */
	for (int i = 0; i < 5; i++)
		divisor.inverse *= 2 - odd * divisor.inverse;
	return divisor;
}

static inline bool
divides(const Divisor *divisor, uint64 value)
{
	uint64 product = value * divisor->inverse;

	if (divisor->shift > 0)
		product = (product >> divisor->shift) | (product << (64 - divisor->shift));
	return product <= divisor->quotients;
}

static inline uint64
distance(int64 a, int64 b)
{
	return a > b ? (uint64) a - (uint64) b : (uint64) b - (uint64) a;
}

static uint64
greatest_common_divisor(uint64 a, uint64 b)
{
	while (b != 0)
	{
		uint64 rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/*
 * The greatest common divisor of all differences; 1 if there are none or it does not fit an
 * int64.
 */
int64
pack_common_step(const int64 *values, uint32 nrows)
{
	uint64 step = 0;
	uint32 stride = Max(nrows / 64, 1);
	Divisor divisor;

	for (uint32 i = 0; i < nrows && step != 1; i += stride)
		step = greatest_common_divisor(distance(values[i], values[0]), step);
	for (uint32 i = 0; i < nrows && step == 0; i++)
		step = distance(values[i], values[0]);
	if (step <= 1)
		return 1;
	divisor = divisor_of(step);
	for (uint32 i = 0; i < nrows; i++)
	{
		uint64 difference = distance(values[i], values[0]);

		if (divides(&divisor, difference))
			continue;
		step = greatest_common_divisor(difference, step);
		if (step == 1)
			return 1;
		divisor = divisor_of(step);
	}
	return step > PG_INT64_MAX ? 1 : (int64) step;
}

/*
 * Gives nulls a value that costs nothing: the one before them in the block, or the block's first;
 * in a block of nulls only, that of another block.
 */
void
pack_fill_nulls(int64 *values, const uint8 *nulls, uint32 nrows)
{
	int64 carried = 0;
	uint32 first = 0;

	while (first < nrows && nulls[first])
		first++;
	if (first < nrows)
		carried = values[first];
	for (uint32 start = 0; start < nrows; start += PACK_VECTOR)
	{
		uint32 end = Min(start + PACK_VECTOR, nrows);

		for (first = start; first < end && nulls[first]; first++)
			;
		if (first < end)
			carried = values[first];
		for (uint32 i = start; i < end; i++)
		{
			if (nulls[i])
				values[i] = carried;
			else
				carried = values[i];
		}
	}
}

/*
 * Appends a block's validity bitmap unless none or all of the n rows are null; returns the nulls.
 */
uint32
pack_write_validity(PackBuffer *out, const uint8 *nulls, int n)
{
	uint32 count = 0;
	uint64 words[PACK_BITMAP_WORDS] = {0};

	for (int i = 0; i < n; i++)
	{
		count += nulls[i];
		words[i / 64] |= (uint64) !nulls[i] << (i % 64);
	}
	if (count > 0 && count < n)
		pack_buffer_append(out, words, (n + 63) / 64 * sizeof(uint64));
	return count;
}

/* Appends (values - base) / step of n values as codes of `width` bits. */
static void
write_codes(PackBuffer *out, const int64 *values, int n, int64 base, const Divisor *divisor,
			int width)
{
	uint64 codes[PACK_VECTOR] pg_attribute_aligned(64);
	const PackKernels *kernels = pack_kernels();
	int lane = pack_lane(width);
	int rounded = (n + PACK_TAIL_UNIT - 1) / PACK_TAIL_UNIT * PACK_TAIL_UNIT;

	if (width == 0)
		return;
	kernels->narrow(values, n, base, divisor->shift, divisor->inverse, lane, codes);
	if (rounded > n)
		memset((uint8 *) codes + n * lane, 0, (rounded - n) * lane);
	kernels->pack(codes, n, width, pack_buffer_extend(out, pack_packed_bytes(n, width)));
}

/* Appends values - base of n values as codes of `width` bits. */
void
pack_write_codes(PackBuffer *out, const int64 *values, int n, int64 base, int width)
{
	Divisor one = divisor_of(1);

	write_codes(out, values, n, base, &one, width);
}

static void
write_delta(PackBuffer *out, const int64 *values, int n, int64 least, int width)
{
	int64 deltas[PACK_VECTOR];
	Divisor one = divisor_of(1);

	deltas[0] = least;
	for (int i = 1; i < n; i++)
		deltas[i] = (int64) ((uint64) values[i] - (uint64) values[i - 1]);
	pack_buffer_append(out, &least, sizeof(least));
	write_codes(out, deltas, n, least, &one, width);
}

static void
write_runs(PackBuffer *out, const int64 *values, int n, int64 base, const Divisor *divisor,
		   int width)
{
	int64 heads[PACK_VECTOR];
	int64 lengths[PACK_VECTOR];
	int start = 0;
	uint64 count = 0;
	Divisor one = divisor_of(1);

	for (int i = 1; i <= n; i++)
	{
		if (i < n && values[i] == values[start])
			continue;
		heads[count] = values[start];
		lengths[count] = i - start - 1;
		count++;
		start = i;
	}
	pack_buffer_append(out, &count, sizeof(count));
	write_codes(out, heads, count, base, divisor, width);
	write_codes(out, lengths, count, 0, &one, RUN_BITS);
}

static void
write_sparse(PackBuffer *out, const int64 *values, const uint8 *nulls, int n, int64 base,
			 const Divisor *divisor, int width)
{
	int64 present[PACK_VECTOR];
	int count = 0;

	for (int i = 0; i < n; i++)
	{
		present[count] = values[i];
		count += !nulls[i];
	}
	write_codes(out, present, count, base, divisor, width);
}

/* Bytes that a block of runs takes. */
static uint32
runs_bytes(int runs, int width)
{
	return sizeof(uint64) + pack_packed_bytes(runs, width) + pack_packed_bytes(runs, RUN_BITS);
}

/*
 * Appends one block of integers by the cheapest method.  `nulls` is NULL if there are none; not
 * all rows are null.  Sets everything in `block` but min and max; returns whether the values
 * ascend.
 */
static bool
write_block(PackBuffer *out, uint64 chunk_start, PackBlock *block, const int64 *values,
			const uint8 *nulls, int n, int64 min, int64 max, const Divisor *divisor)
{
	const PackKernels *kernels = pack_kernels();
	int width = pack_width((((uint64) max - (uint64) min) >> divisor->shift) * divisor->inverse);
	uint32 bytes = pack_packed_bytes(n, width);
	uint32 validity = 0;
	PackMethod method = PACK_METHOD_FOR;
	int64 least = 0;
	int64 most = 0;
	int delta_width = 0;
	bool sparse = false;
	bool ascending = true;

	if (n > 1 && min != max)
	{
		int runs = kernels->changes(values, n) + 1;

		kernels->delta_minmax(values, n, &least, &most);
		ascending = least >= 0 && distance(max, min) <= PG_INT64_MAX;
		delta_width = pack_width((uint64) most - (uint64) least);
		if (runs_bytes(runs, width) < bytes - bytes / 4)
		{
			method = PACK_METHOD_RLE;
			bytes = runs_bytes(runs, width);
		}
		if (sizeof(int64) + pack_packed_bytes(n, delta_width) < bytes - bytes / 6)
		{
			method = PACK_METHOD_DELTA;
			bytes = sizeof(int64) + pack_packed_bytes(n, delta_width);
		}
	}
	if (nulls != NULL)
	{
		for (int i = 0; i < n; i++)
			block->nulls += nulls[i];
		if (block->nulls > 0)
			validity = (n + 63) / 64 * sizeof(uint64);
		if (pack_packed_bytes(n - block->nulls, width) < bytes - bytes / 4)
		{
			method = PACK_METHOD_FOR;
			bytes = pack_packed_bytes(n - block->nulls, width);
			sparse = true;
		}
	}

	pack_pad_for(out, validity + bytes);
	block->offset = out->length - chunk_start;
	block->method |= method | (sparse ? PACK_BLOCK_SPARSE : 0);
	block->width = method == PACK_METHOD_DELTA ? delta_width : width;
	block->u.base = method == PACK_METHOD_DELTA ? values[0] : min;
	if (validity > 0)
		pack_write_validity(out, nulls, n);
	if (sparse)
		write_sparse(out, values, nulls, n, min, divisor, width);
	else if (method == PACK_METHOD_DELTA)
		write_delta(out, values, n, least, delta_width);
	else if (method == PACK_METHOD_RLE)
		write_runs(out, values, n, min, divisor, width);
	else
		write_codes(out, values, n, min, divisor, width);
	block->length = out->length - chunk_start - block->offset;
	return ascending;
}

/* Enters a block of nulls only. */
static void
null_block(PackBuffer *out, uint64 chunk_start, PackBlock *block, int n)
{
	block->offset = out->length - chunk_start;
	block->nulls = n;
	block->method = PACK_METHOD_FOR;
}

static bool
all_null(const IntChunk *chunk, uint32 start, int n)
{
	return chunk->null_count > 0 && memchr(chunk->nulls + start, 0, n) == NULL;
}

void
pack_encode_ints(PackBuffer *out, PackColumn *column, PackBlock *directory, const IntChunk *chunk)
{
	const PackKernels *kernels = pack_kernels();
	Divisor divisor = divisor_of(chunk->step);
	bool ascending = true;
	bool any = false;
	int64 low = 0;
	int64 high = 0;
	int64 previous = 0;
	int128 bound;

	column->step = chunk->step;
	for (uint32 start = 0; start < chunk->nrows; start += PACK_VECTOR)
	{
		int n = Min(PACK_VECTOR, chunk->nrows - start);
		const int64 *values = chunk->values + start;
		PackBlock *block = &directory[start / PACK_VECTOR];

		CHECK_FOR_INTERRUPTS();
		if (all_null(chunk, start, n))
		{
			null_block(out, column->offset, block, n);
			continue;
		}
		kernels->minmax(values, n, &block->min, &block->max);
		if (!write_block(out, column->offset, block, values,
						 chunk->null_count > 0 ? chunk->nulls + start : NULL, n, block->min,
						 block->max, &divisor))
			ascending = false;
		if (any && values[0] < previous)
			ascending = false;
		previous = values[n - 1];
		low = any ? Min(low, block->min) : block->min;
		high = any ? Max(high, block->max) : block->max;
		any = true;
	}
	if (ascending)
		column->flags |= PACK_COLUMN_SORTED;
	column->flags |= PACK_COLUMN_EXACT;
	bound = low;
	memcpy(column->min, &bound, sizeof(bound));
	bound = high;
	memcpy(column->max, &bound, sizeof(bound));
}

/* ---------------------------------------------------------------- floats ---- */

static inline double
float_of_bits(PackClass klass, int64 bits)
{
	if (klass == PACK_CLASS_FLOAT4)
	{
		int32 narrow = (int32) bits;
		float value;

		memcpy(&value, &narrow, sizeof(value));
		return value;
	}
	else
	{
		double value;

		memcpy(&value, &bits, sizeof(value));
		return value;
	}
}

/*
 * The integers that, divided by 10^decimals, give the same n float8 bit for bit; false: there are
 * none.
 */
static bool
as_decimals(const int64 *bits, int n, int decimals, int64 *integers)
{
	double factor = pow(10, decimals);

	for (int i = 0; i < n; i++)
	{
		double value = float_of_bits(PACK_CLASS_FLOAT8, bits[i]);
		double scaled = value * factor;
		double back;

		if (!(fabs(scaled) < (double) MAX_EXACT_INTEGER))
			return false;
		integers[i] = (int64) rint(scaled);
		back = (double) integers[i] / factor;
		if (memcmp(&back, &bits[i], sizeof(back)) != 0)
			return false;
	}
	return true;
}

/* The least number of decimal places at which a sample of the chunk survives; -1: none. */
static int
guess_decimals(const IntChunk *chunk)
{
	int64 sample[64];
	int64 integers[64];
	int n = 0;
	uint32 stride = Max(chunk->nrows / lengthof(sample), 1);

	for (uint32 i = 0; i < chunk->nrows && n < lengthof(sample); i += stride)
		sample[n++] = chunk->values[i];
	for (int decimals = 0; decimals <= MAX_DECIMALS; decimals++)
		if (as_decimals(sample, n, decimals, integers))
			return decimals;
	return -1;
}

/* Tries a float8 block as decimals; false if that is not exact or not smaller. */
static bool
write_decimal_block(PackBuffer *out, uint64 chunk_start, PackBlock *block, const int64 *bits,
					const uint8 *nulls, int n, int decimals, int raw_width)
{
	int64 integers[PACK_VECTOR];
	int64 min;
	int64 max;
	int width;
	Divisor one = divisor_of(1);
	uint64 exponent = decimals;
	uint32 validity = 0;

	if (!as_decimals(bits, n, decimals, integers))
		return false;
	pack_kernels()->minmax(integers, n, &min, &max);
	width = pack_width((uint64) max - (uint64) min);
	if (width + 2 >= raw_width)
		return false;
	if (nulls != NULL && memchr(nulls, 1, n) != NULL)
		validity = (n + 63) / 64 * sizeof(uint64);
	pack_pad_for(out, validity + sizeof(exponent) + pack_packed_bytes(n, width));
	block->offset = out->length - chunk_start;
	block->method |= PACK_METHOD_DECIMAL;
	block->width = width;
	block->u.base = min;
	if (validity > 0)
		block->nulls = pack_write_validity(out, nulls, n);
	pack_buffer_append(out, &exponent, sizeof(exponent));
	write_codes(out, integers, n, min, &one, width);
	block->length = out->length - chunk_start - block->offset;
	return true;
}

typedef struct FloatBounds
{
	double min;
	double max;
	bool has_nan;
	bool has_numbers;
} FloatBounds;

static void
widen_bounds(FloatBounds *bounds, PackClass klass, const int64 *bits, int n)
{
	for (int i = 0; i < n; i++)
	{
		double value = float_of_bits(klass, bits[i]);

		if (isnan(value))
			bounds->has_nan = true;
		else if (!bounds->has_numbers)
		{
			bounds->min = bounds->max = value;
			bounds->has_numbers = true;
		}
		else if (value < bounds->min)
			bounds->min = value;
		else if (value > bounds->max)
			bounds->max = value;
	}
}

void
pack_encode_floats(PackBuffer *out, PackColumn *column, PackBlock *directory, const IntChunk *chunk)
{
	const PackKernels *kernels = pack_kernels();
	Divisor one = divisor_of(1);
	FloatBounds all = {0};
	int decimals = column->klass == PACK_CLASS_FLOAT8 ? guess_decimals(chunk) : -1;

	for (uint32 start = 0; start < chunk->nrows; start += PACK_VECTOR)
	{
		int n = Min(PACK_VECTOR, chunk->nrows - start);
		const int64 *values = chunk->values + start;
		const uint8 *nulls = chunk->null_count > 0 ? chunk->nulls + start : NULL;
		PackBlock *block = &directory[start / PACK_VECTOR];
		FloatBounds bounds = {0};
		int64 min;
		int64 max;

		CHECK_FOR_INTERRUPTS();
		if (all_null(chunk, start, n))
		{
			null_block(out, column->offset, block, n);
			continue;
		}
		widen_bounds(&bounds, column->klass, values, n);
		widen_bounds(&all, column->klass, values, n);
		memcpy(&block->min, &bounds.min, sizeof(double));
		memcpy(&block->max, &bounds.max, sizeof(double));
		block->method = (bounds.has_nan ? PACK_BLOCK_HAS_NAN : 0) |
						(bounds.has_numbers ? PACK_BLOCK_HAS_NUMBERS : 0);
		kernels->minmax(values, n, &min, &max);
		if (decimals >= 0 && write_decimal_block(out, column->offset, block, values, nulls, n,
												 decimals, pack_width((uint64) max - (uint64) min)))
			continue;
		write_block(out, column->offset, block, values, nulls, n, min, max, &one);
	}
	column->flags |= PACK_COLUMN_EXACT | (all.has_nan ? PACK_COLUMN_HAS_NAN : 0) |
					 (all.has_numbers ? PACK_COLUMN_HAS_NUMBERS : 0);
	memcpy(column->min, &all.min, sizeof(double));
	memcpy(column->max, &all.max, sizeof(double));
}

/* ---------------------------------------------------------------- int128 ---- */

/* Saturates to what the block directory can hold: still a bound. */
static int64
clamp(int128 value)
{
	return value < PG_INT64_MIN	  ? PG_INT64_MIN
		   : value > PG_INT64_MAX ? PG_INT64_MAX
								  : (int64) value;
}

void
pack_encode_wide(PackBuffer *out, PackColumn *column, PackBlock *directory, const int128 *values,
				 const uint8 *nulls, uint32 nrows, uint32 null_count)
{
	Divisor one = divisor_of(1);
	int128 low = 0;
	int128 high = 0;
	bool any = false;

	column->encoding = PACK_ENCODING_WIDE;
	for (uint32 start = 0; start < nrows; start += PACK_VECTOR)
	{
		int n = Min(PACK_VECTOR, nrows - start);
		PackBlock *block = &directory[start / PACK_VECTOR];
		int128 min = 0;
		int128 max = 0;
		bool seen = false;
		int64 codes[PACK_VECTOR];

		CHECK_FOR_INTERRUPTS();
		for (uint32 i = start; i < start + n; i++)
		{
			if (nulls[i])
				continue;
			min = seen ? Min(min, values[i]) : values[i];
			max = seen ? Max(max, values[i]) : values[i];
			seen = true;
		}
		block->method = PACK_METHOD_WIDE;
		block->offset = out->length - column->offset;
		block->nulls = pack_write_validity(out, nulls + start, n);
		if (!seen)
			continue;
		block->min = clamp(min);
		block->max = clamp(max);
		if ((unsigned __int128) max - (unsigned __int128) min <= PG_UINT64_MAX)
		{
			for (int i = 0; i < n; i++)
				codes[i] = nulls[start + i]
							   ? 0
							   : (int64) (uint64) ((unsigned __int128) values[start + i] -
												   (unsigned __int128) min);
			block->width = pack_width((uint64) ((unsigned __int128) max - (unsigned __int128) min));
			pack_buffer_append(out, &min, sizeof(min));
			write_codes(out, codes, n, 0, &one, block->width);
		}
		else
		{
			block->width = 128;
			pack_buffer_append(out, values + start, n * sizeof(int128));
		}
		block->length = out->length - column->offset - block->offset;
		low = any ? Min(low, min) : min;
		high = any ? Max(high, max) : max;
		any = true;
	}
	column->flags |= PACK_COLUMN_EXACT;
	memcpy(column->min, &low, sizeof(low));
	memcpy(column->max, &high, sizeof(high));
}
