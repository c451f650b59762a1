/*
 * pack_encode_numeric.c
 *		numeric as scaled integers with one scale for the chunk, and a list of exceptions.
 *
 * The chunk's scale is the display scale that most of a sample have.  A value with another one,
 * NaN, an infinity or more digits than the chunk's integers hold is an exception: it is kept as
 * PostgreSQL stores it, and the chunk then has no range.  A column with many exceptions is stored
 * as bytes.
 */
#include "engine/pack_writer.h"

#include "engine/pack_numeric.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#define SAMPLE_ROWS 256

/* More exceptions than one row in this many: store bytes. */
#define EXCEPTION_RATIO 8

/* More values above 64 bits than one row in this many: store int128. */
#define WIDE_RATIO 64

static PackNumericForm
parse(Datum value, int *scale, int128 *scaled)
{
	Pointer pointer = DatumGetPointer(value);

	return pack_numeric_parse((const uint8 *) VARDATA_ANY(pointer), VARSIZE_ANY_EXHDR(pointer),
							  scale, scaled);
}

/* The most frequent display scale of a sample; -1: no value in it can be scaled. */
static int
choose_scale(const WriterColumn *source, uint32 nrows)
{
	uint16 votes[PACK_NUMERIC_MAX_SCALE + 1] = {0};
	uint32 stride = Max(nrows / SAMPLE_ROWS, 1);
	int best = -1;

	for (uint32 i = 0; i < nrows; i += stride)
	{
		int scale;
		int128 ignored;

		if (!source->nulls[i] && parse(source->values[i], &scale, &ignored) != PACK_NUMERIC_OTHER)
			votes[scale]++;
	}
	for (int scale = 0; scale <= PACK_NUMERIC_MAX_SCALE; scale++)
		if (votes[scale] > 0 && (best < 0 || votes[scale] > votes[best]))
			best = scale;
	return best;
}

/* Appends the exceptions, rows where `exceptional` is 1. */
static void
write_exceptions(const WriterColumn *source, uint32 nrows, const uint8 *exceptional, uint32 count,
				 PackBuffer *out, PackColumn *column)
{
	pack_buffer_align(out, 8);
	column->aux_offset = out->length - column->offset;
	column->aux_count = count;
	for (uint32 i = 0; i < nrows; i++)
	{
		PackException exception;

		if (!exceptional[i])
			continue;
		exception.index = i;
		exception.length = VARSIZE_ANY_EXHDR(DatumGetPointer(source->values[i]));
		pack_buffer_append(out, &exception, sizeof(exception));
	}
	for (uint32 i = 0; i < nrows; i++)
	{
		Pointer pointer = DatumGetPointer(source->values[i]);

		if (exceptional[i])
			pack_buffer_append(out, VARDATA_ANY(pointer), VARSIZE_ANY_EXHDR(pointer));
	}
	column->aux_length = column->aux_raw = out->length - column->offset - column->aux_offset;
	column->order = PACK_ORDER_NONE;
}

/* The chunk as int128; exceptional rows repeat the value before them. */
static void
encode_wide(PackWriter *writer, const WriterColumn *source, const uint8 *exceptional,
			PackBuffer *out, PackColumn *column, PackBlock *directory)
{
	uint32 n = writer->nrows;
	int128 *values = MemoryContextAllocHuge(writer->scratch, sizeof(int128) * n);
	int128 carried = 0;

	for (uint32 i = 0; i < n; i++)
	{
		int ignored;

		if (!source->nulls[i] && !exceptional[i])
			(void) parse(source->values[i], &ignored, &carried);
		values[i] = carried;
	}
	pack_encode_wide(out, column, directory, values, source->nulls, n, source->null_count);
}

/* The chunk of a column whose values are integers of one scale already. */
static void
encode_scaled(PackWriter *writer, WriterColumn *source, PackBuffer *out, PackColumn *column,
			  PackBlock *directory)
{
	IntChunk chunk = {0};

	chunk.values = (int64 *) source->values;
	chunk.nulls = source->nulls;
	chunk.nrows = writer->nrows;
	chunk.null_count = source->null_count;
	if (source->null_count > 0)
		pack_fill_nulls(chunk.values, source->nulls, chunk.nrows);
	chunk.step = pack_common_step(chunk.values, chunk.nrows);
	column->encoding = PACK_ENCODING_INTS;
	column->scale = source->scale;
	pack_encode_ints(out, column, directory, &chunk);
}

bool
pack_encode_numeric(PackWriter *writer, WriterColumn *source, PackBuffer *out, PackColumn *column,
					PackBlock *directory)
{
	uint32 n = writer->nrows;
	int scale;
	IntChunk chunk = {0};
	uint8 *exceptional; /* 0, 1: exception, 2: needs an int128 */
	uint8 *skipped;
	uint32 others = 0;
	uint32 wide = 0;
	bool as_wide;

	if (source->scaled)
	{
		encode_scaled(writer, source, out, column, directory);
		return true;
	}
	scale = choose_scale(source, n);
	if (scale < 0)
		return false;
	source->scale = scale;
	chunk.values = MemoryContextAllocHuge(writer->scratch, sizeof(int64) * n);
	exceptional = MemoryContextAllocZero(writer->scratch, n);
	for (uint32 i = 0; i < n; i++)
	{
		int its_scale;
		int128 value = 0;
		PackNumericForm form;

		pack_prefetch_value(source, i, n);
		if (source->nulls[i])
			continue;
		form = parse(source->values[i], &its_scale, &value);
		if (form == PACK_NUMERIC_OTHER || its_scale != scale)
		{
			exceptional[i] = 1;
			others++;
		}
		else if (form == PACK_NUMERIC_INT128)
		{
			exceptional[i] = 2;
			wide++;
		}
		chunk.values[i] = (int64) value;
	}
	as_wide = wide > n / WIDE_RATIO;
	if (!as_wide)
		others += wide;
	if (others > (n - source->null_count) / EXCEPTION_RATIO)
		return false;
	for (uint32 i = 0; wide > 0 && i < n; i++)
		if (exceptional[i] == 2)
			exceptional[i] = !as_wide;

	column->scale = scale;
	if (as_wide)
		encode_wide(writer, source, exceptional, out, column, directory);
	else
	{
		skipped = source->nulls;
		if (others > 0)
		{
			skipped = MemoryContextAlloc(writer->scratch, n);
			for (uint32 i = 0; i < n; i++)
				skipped[i] = source->nulls[i] | exceptional[i];
		}
		if (source->null_count + others > 0)
			pack_fill_nulls(chunk.values, skipped, n);
		chunk.nulls = source->nulls;
		chunk.nrows = n;
		chunk.null_count = source->null_count;
		chunk.step = pack_common_step(chunk.values, n);
		column->encoding = PACK_ENCODING_INTS;
		pack_encode_ints(out, column, directory, &chunk);
	}
	if (others > 0)
		write_exceptions(source, n, exceptional, others, out, column);
	return true;
}
