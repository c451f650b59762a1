/*
 * pack_decode_numeric.c
 *		Gives numerics of scaled integers: images of few codes once, int128, exceptions.
 */
#include "engine/pack_reader.h"

#include "engine/pack_kernels.h"
#include "engine/pack_numeric.h"
#include "utils/memutils.h"

/* Images of numerics are kept for codes of at most this many bits. */
#define IMAGE_BITS 8

/* Reads the exceptions of a numeric chunk, which stay for the life of the reader. */
static void
load_exceptions(PackReader *reader, ReaderColumn *column)
{
	PackColumn *d = &column->d;
	uint64 count = d->aux_count;
	uint8 *copy = NULL;
	uint8 *images;
	uint64 room = 0;
	uint64 used = count * sizeof(PackException);
	const uint8 *aux;
	uint32 previous = 0;
	Datum *exceptions;
	uint32 *index;

	if (count > reader->nrows || used > d->aux_length)
		pack_corrupt(column->att, "impossible number of exceptions");
	aux = pack_fetch(reader, column->att, d->offset + d->aux_offset, d->aux_length, &copy, &room);
	column->fetched = NO_BLOCK;
	exceptions = MemoryContextAlloc(reader->context, Max(count, 1) * sizeof(Datum));
	images = MemoryContextAllocHuge(reader->context, d->aux_length + count * 8 + 8);
	column->exception_rows = MemoryContextAlloc(reader->context, PACK_VECTOR * sizeof(uint16));
	index = MemoryContextAlloc(reader->context, Max(count, 1) * sizeof(uint32));
	for (uint32 i = 0; i < count; i++)
	{
		PackException exception;

		memcpy(&exception, aux + i * sizeof(PackException), sizeof(exception));
		if (exception.index >= reader->nrows || (i > 0 && exception.index <= previous))
			pack_corrupt(column->att, "exceptions out of order");
		if (exception.length < 2 || exception.length > d->aux_length - used ||
			exception.length > MaxAllocSize - VARHDRSZ)
			pack_corrupt(column->att, "an exception reaches beyond the chunk");
		index[i] = previous = exception.index;
		exceptions[i] = PointerGetDatum(images);
		SET_VARSIZE(images, VARHDRSZ + exception.length);
		memcpy(images + VARHDRSZ, aux + used, exception.length);
		images += INTALIGN(VARHDRSZ + exception.length);
		used += exception.length;
	}
	if (copy != NULL)
		pfree(copy);
	/* not before: after an error other readers of the pack go on with this one */
	column->exception_index = index;
	column->exceptions = exceptions;
}

/* The exceptions at or after a row: number of the first. */
static uint32
first_exception(PackReader *reader, ReaderColumn *column, uint32 index)
{
	uint32 low = 0;
	uint32 high = column->d.aux_count;

	if (column->exceptions == NULL)
		load_exceptions(reader, column);
	while (low < high)
	{
		uint32 middle = low + (high - low) / 2;

		if (column->exception_index[middle] < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Decodes a block of int128 to column->codes. */
void
pack_decode_wide(PackReader *reader, ReaderColumn *column, int block)
{
	PackBlock *entry = &column->blocks[block];
	int n = pack_block_rows(reader, block);
	int128 *values;
	const uint8 *payload;
	uint32 left;
	int128 base;

	pack_need_codes(reader, column);
	values = (int128 *) column->codes;
	if (entry->nulls == n)
	{
		memset(column->valid, 0, sizeof(column->valid));
		memset(values, 0, n * sizeof(int128));
		return;
	}
	payload = pack_block_payload(reader, column, block, n, &left);
	if ((entry->method & PACK_METHOD_MASK) != PACK_METHOD_WIDE)
		pack_corrupt(column->att, "unknown way of storing a block");
	if (entry->width == 128)
	{
		pack_need_bytes(column, left, n * sizeof(int128));
		memcpy(values, payload, n * sizeof(int128));
		return;
	}
	if (entry->width > 64)
		pack_corrupt(column->att, "impossible bit width");
	pack_need_bytes(column, left, sizeof(base) + pack_packed_bytes(n, entry->width));
	memcpy(&base, payload, sizeof(base));
	if (entry->width > 0)
	{
		pack_need_temporary(reader, column);
		pack_kernels()->unpack(payload + sizeof(base), n, entry->width, column->temporary);
		(void) pack_need_integers(reader, column);
		pack_kernels()->widen(column->temporary, pack_lane(entry->width), n, 0, 1,
							  column->integers);
		for (int i = 0; i < n; i++)
			values[i] = (int128) ((unsigned __int128) base + (uint64) column->integers[i]);
	}
	else
		for (int i = 0; i < n; i++)
			values[i] = base;
	column->widened = NO_BLOCK;
}

/* The int128 of one row. */
static int128
single_wide(PackReader *reader, ReaderColumn *column, int block, int row, bool *isnull)
{
	PackBlock *entry = &column->blocks[block];
	int n = pack_block_rows(reader, block);
	uint32 offset;
	int128 base;

	(void) pack_touch_block(column, block);
	offset = pack_single_valid(reader, column, block, n, row, isnull);
	if (*isnull)
		return 0;
	if ((entry->method & PACK_METHOD_MASK) != PACK_METHOD_WIDE)
		pack_corrupt(column->att, "unknown way of storing a block");
	if (entry->width == 128)
		offset += row * sizeof(int128);
	memcpy(&base, pack_block_part(reader, column, block, offset, sizeof(base)), sizeof(base));
	if (entry->width == 128)
		return base;
	return (int128) ((unsigned __int128) base +
					 pack_single_code(reader, column, block, offset + sizeof(base), n, row));
}

/* Digits that fit numeric's short form at the scale; what does not cannot have been written. */
static inline void
check_wide(const ReaderColumn *column, int128 value)
{
	const int128 limit =
		(int128) INT64CONST(1000000000000000000) * INT64CONST(1000000000000000000) * 100;

	if (value >= limit || value <= -limit)
		pack_corrupt(column->att, "a number has more than 38 digits");
}

static void
scaled_datums(PackReader *reader, ReaderColumn *column, int block, Datum *values)
{
	int n = pack_block_rows(reader, block);
	int scale = column->d.scale;
	PackInts ints;

	if (column->d.encoding == PACK_ENCODING_WIDE)
	{
		const int128 *wide;

		pack_decode_wide(reader, column, block);
		wide = (const int128 *) column->codes;
		pack_reserve(reader, &column->datums, &column->datums_room,
					 PACK_VECTOR * PACK_NUMERIC_STRIDE128);
		for (int i = 0; i < n; i++)
		{
			uint8 *image = column->datums + i * PACK_NUMERIC_STRIDE128;

			check_wide(column, wide[i]);
			pack_numeric_build128(wide[i], scale, image);
			values[i] = PointerGetDatum(image);
		}
		return;
	}

	pack_decode_ints(reader, column, block, &ints);
	if (ints.lane <= 1)
	{
		/* few codes: build each number once, and keep it for the blocks that follow */
		int width = column->blocks[block].width;
		const uint8 *codes = ints.codes;

		if (column->images == NULL)
			column->images =
				MemoryContextAlloc(reader->context, (1 << IMAGE_BITS) * PACK_NUMERIC_STRIDE64);
		if (column->images_width < width + 1 || column->images_base != ints.base)
		{
			for (int code = 0; code < 1 << width; code++)
				pack_numeric_build64((int64) ((uint64) ints.base + (uint64) ints.step * code),
									 scale, column->images + code * PACK_NUMERIC_STRIDE64);
			column->images_width = width + 1;
			column->images_base = ints.base;
		}
		if (ints.lane == 0)
			for (int i = 0; i < n; i++)
				values[i] = PointerGetDatum(column->images);
		else
			for (int i = 0; i < n; i++)
				values[i] = PointerGetDatum(column->images + codes[i] * PACK_NUMERIC_STRIDE64);
		return;
	}
	pack_reserve(reader, &column->datums, &column->datums_room,
				 PACK_VECTOR * PACK_NUMERIC_STRIDE64);
	pack_kernels()->widen(ints.codes, ints.lane, n, ints.base, ints.step, (int64 *) values);
	pack_numeric_build_many((const int64 *) values, n, scale, column->datums);
	for (int i = 0; i < n; i++)
		values[i] = PointerGetDatum(column->datums + i * PACK_NUMERIC_STRIDE64);
}

/* Replaces exceptional rows of a block. */
static void
put_exceptions(PackReader *reader, ReaderColumn *column, int block, Datum *values)
{
	uint32 start = (uint32) block * PACK_VECTOR;
	uint32 end = start + pack_block_rows(reader, block);

	for (uint32 i = first_exception(reader, column, start);
		 i < column->d.aux_count && column->exception_index[i] < end; i++)
		values[column->exception_index[i] - start] = column->exceptions[i];
}

/* A block's datums; nulls are the caller's. */
void
pack_numeric_datums(PackReader *reader, ReaderColumn *column, int block, Datum *values)
{
	scaled_datums(reader, column, block, values);
	if (column->d.aux_count > 0)
		put_exceptions(reader, column, block, values);
}

Datum
pack_numeric_datum(PackReader *reader, ReaderColumn *column, int block, int row,
				   PackDatumBuffer *buffer, bool *isnull)
{
	uint8 *image = pack_buffer_room(buffer, Max(PACK_NUMERIC_STRIDE64, PACK_NUMERIC_STRIDE128));

	if (column->d.aux_count > 0)
	{
		uint32 index = (uint32) block * PACK_VECTOR + row;
		uint32 found = first_exception(reader, column, index);

		if (found < column->d.aux_count && column->exception_index[found] == index)
		{
			*isnull = false;
			return column->exceptions[found];
		}
	}
	if (column->d.encoding == PACK_ENCODING_WIDE)
	{
		int128 value = single_wide(reader, column, block, row, isnull);

		check_wide(column, value);
		pack_numeric_build128(value, column->d.scale, image);
	}
	else
		pack_numeric_build64(pack_single_int(reader, column, block, row, isnull), column->d.scale,
							 image);
	return *isnull ? (Datum) 0 : PointerGetDatum(image);
}

/* Fills in the exceptions of a vector's block. */
void
pack_numeric_exceptions(PackReader *reader, ReaderColumn *column, int block, PackVector *out)
{
	uint32 start = (uint32) block * PACK_VECTOR;
	uint32 first = first_exception(reader, column, start);

	out->exceptions = column->exceptions + first;
	out->exception_rows = column->exception_rows;
	for (uint32 i = first;
		 i < column->d.aux_count && column->exception_index[i] < start + out->nrows; i++)
		column->exception_rows[out->nexceptions++] = column->exception_index[i] - start;
}
