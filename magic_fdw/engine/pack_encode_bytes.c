/*
 * pack_encode_bytes.c
 *		Chunks of byte strings: text, bytea, every type passed by reference but numeric.
 *
 * Either a dictionary (pack_encode_dict.c), or blocks of lengths with the bytes themselves in frames of
 * 2^k rows, stored plainly, compressed value by value (fsst) or frame by frame (lz4, zstd).
 * A frame holds about FRAME_BYTES, so that one value is read without decoding the chunk.
 */
#include "engine/pack_writer.h"

#include <lz4.h>
#include <zstd.h>

#include "engine/pack_fsst.h"
#include "engine/pack_kernels.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

/*
 * Bytes that a compressed frame aims at: reading one value decodes a frame, and smaller ones
 * compress less (l_comment by lz4: 16 kB 73 MB, 32 kB 70, 64 kB 69).  And the most a frame of
 * several rows may have.
 */
#define FRAME_BYTES (32 * 1024)
#define COLD_FRAME_BYTES (64 * 1024)
#define SHORT_FRAME_BYTES (4 * 1024) /* zstd of short values, which lookups want one by one */

/* Where only the letters' frequencies pay (hexadecimal digits), small frames compress as well: by this. */
#define SMALL_FRAME_BYTES (8 * 1024)
#define SMALL_FRAME_LOSS 1.03
#define FRAME_MAX (16 * 1024 * 1024)
#define FRAME_MAX_SHIFT 17

/*
 * Values shorter than this on average are what scans filter by, and fsst and lz4 decode five times as
 * fast as zstd: there zstd must halve the size; above, save a fifth.
 */
#define COLD_LENGTH 512
#define ZSTD_LEVEL 1

/*
 * fsst pays for many short values. The table is made of FSST_SAMPLE bytes of whole values from all over
 * the chunk, and made anew when it gets worse by FSST_WORSE than it was.
 */
#define FSST_LEAST_BYTES (32 * 1024)
#define FSST_SAMPLE (16 * 1024)
#define FSST_SAMPLE_VALUES 1024
#define FSST_WORSE 1.03

/* The most a block may have: its codes are decoded as if each stood for eight bytes. */
#define FSST_BLOCK_MAX (1024 * 1024)

/* Rows that a pack must have to say that dictionaries do not pay. */
#define DICT_JUDGE_ROWS 2048

/* Packs after which an encoding that did not pay is tried again. */
#define RETRY_PACKS 16

/* ---------------------------------------------------------------- frames ---- */

typedef struct FrameWriter
{
	PackWriter *writer;
	const PackString *strings;
	PackEncoding codec;
	uint64 aim; /* bytes of a frame, if compressed */
	int shift;
	PackFrame *frames;
	uint8 *raw; /* bytes of one frame */
	uint64 raw_room;
	uint8 *compressed;
	uint64 compressed_room;
	const FsstEncoder *fsst;
	uint32 coded[PACK_VECTOR]; /* fsst: lengths of a block's values, in `compressed` */
} FrameWriter;

/* One context for the process: making one costs as much as a small frame. */
static ZSTD_CCtx *
zstd_context(void)
{
	static ZSTD_CCtx *context;

	if (context == NULL)
	{
		context = ZSTD_createCCtx();
		if (context == NULL)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	return context;
}

/* Compresses to `target`; 0: it does not fit or failed, store the bytes as they are. */
static uint64
compress_bytes(PackEncoding codec, const uint8 *raw, uint64 length, uint8 *target, uint64 room)
{
	if (codec == PACK_ENCODING_LZ4)
	{
		/*
		 * the streaming call finds more in 64 kB than the plain one, whose table is smaller there
		 */
		static LZ4_stream_t stream;
		int size;

		if (length > LZ4_MAX_INPUT_SIZE || LZ4_initStream(&stream, sizeof(stream)) == NULL)
			return 0;
		size = LZ4_compress_fast_continue(&stream, (const char *) raw, (char *) target, length,
										  Min(room, PG_INT32_MAX), 1);
		return size > 0 ? size : 0;
	}
	else
	{
		size_t size = ZSTD_compressCCtx(zstd_context(), target, room, raw, length, ZSTD_LEVEL);

		return ZSTD_isError(size) ? 0 : size;
	}
}

static uint64
compress_bound(PackEncoding codec, uint64 length)
{
	if (codec == PACK_ENCODING_LZ4)
		return length > LZ4_MAX_INPUT_SIZE ? 1 : LZ4_compressBound(length);
	return ZSTD_compressBound(length);
}

static uint8 *
ensure_room(FrameWriter *frames, uint8 *buffer, uint64 *room, uint64 needed)
{
	if (needed <= *room)
		return buffer;
	if (buffer != NULL)
		pfree(buffer);
	*room = needed + needed / 4;
	return MemoryContextAllocHuge(frames->writer->scratch, *room);
}

/* Gathers the bytes of rows start .. end - 1. */
static uint64
gather(FrameWriter *frames, uint32 start, uint32 end)
{
	uint64 length = 0;
	uint8 *at;

	for (uint32 i = start; i < end; i++)
		length += frames->strings[i].length;
	frames->raw = ensure_room(frames, frames->raw, &frames->raw_room, Max(length, 1));
	at = frames->raw;
	for (uint32 i = start; i < end; i++)
	{
		if (frames->strings[i].length > 0)
			memcpy(at, frames->strings[i].data, frames->strings[i].length);
		at += frames->strings[i].length;
	}
	return length;
}

/* Appends the frame of rows start .. end - 1. */
static void
write_frame(FrameWriter *frames, PackBuffer *out, uint64 chunk_start, uint32 start, uint32 end)
{
	PackFrame *frame = &frames->frames[start >> frames->shift];
	uint64 length = gather(frames, start, end);
	uint64 size = 0;

	if (frames->codec > PACK_ENCODING_PLAIN && length > 0)
	{
		uint64 bound = compress_bound(frames->codec, length);

		frames->compressed =
			ensure_room(frames, frames->compressed, &frames->compressed_room, bound);
		size = compress_bytes(frames->codec, frames->raw, length, frames->compressed,
							  frames->compressed_room);
	}
	frame->offset = out->length - chunk_start;
	frame->raw = length;
	if (size > 0 && size < length - length / 16)
	{
		frame->length = size;
		pack_buffer_append(out, frames->compressed, size);
	}
	else
	{
		frame->length = length;
		pack_buffer_append(out, frames->raw, length);
	}
}

/*
 * Encodes rows start .. end - 1 (at most a block); returns their bytes, which are in `compressed`, their
 * lengths in `coded`.
 */
static uint64
encode_block(FrameWriter *frames, uint32 start, uint32 end)
{
	uint64 length = 0;

	for (uint32 i = start; i < end; i++)
		length += frames->strings[i].length;
	frames->compressed = ensure_room(frames, frames->compressed, &frames->compressed_room,
									 length * FSST_LEAST_RATIO + 1);
	return fsst_encode(frames->fsst, frames->strings + start, end - start, frames->compressed,
					   frames->coded);
}

/* Appends the block that encode_block() has made as a frame. */
static void
write_coded(FrameWriter *frames, PackBuffer *out, uint64 chunk_start, uint32 start, uint64 length)
{
	PackFrame *frame = &frames->frames[start / PACK_VECTOR];

	frame->offset = out->length - chunk_start;
	frame->raw = frame->length = length;
	pack_buffer_append(out, frames->compressed, length);
}

/* Makes an encoder for the chunk; it stays with the column. */
static void
train(FrameWriter *frames, WriterColumn *source)
{
	PackWriter *writer = frames->writer;
	uint32 n = writer->nrows;
	uint32 stride = Max(n / FSST_SAMPLE_VALUES, 1) | 1; /* odd, against what repeats */
	PackString sample[FSST_SAMPLE_VALUES];
	uint8 *bytes = MemoryContextAlloc(writer->scratch, FSST_SAMPLE + sizeof(uint64));
	uint32 used = 0;
	int count = 0;

	for (uint32 i = 0; i < n && count < FSST_SAMPLE_VALUES; i += stride)
	{
		PackString value = frames->strings[i];

		/* a long value gives its start */
		value.length = Min(value.length, FSST_SAMPLE / 8);
		if (value.length == 0)
			continue;
		if (value.length > FSST_SAMPLE - used)
			break;
		memcpy(bytes + used, value.data, value.length);
		sample[count].data = bytes + used;
		sample[count++].length = value.length;
		used += value.length;
	}
	if (source->fsst_cxt == NULL)
		source->fsst_cxt =
			AllocSetContextCreate(writer->context, "magic symbols", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(source->fsst_cxt);
	source->fsst = NULL;
	source->fsst = fsst_train(sample, count, source->fsst_cxt);
}

/* Bytes of the rows start .. end - 1 (at most a block) by the column's encoder, as part of the whole. */
static double
fsst_ratio(FrameWriter *frames, WriterColumn *source, uint32 start, uint32 end)
{
	uint64 raw = 0;

	frames->fsst = source->fsst;
	for (uint32 i = start; i < end; i++)
		raw += frames->strings[i].length;
	return (encode_block(frames, start, end) + 0.5) / (raw + 1);
}

/* Bytes that rows start .. end - 1 of `raw` bytes would take by fsst, their share of the table included. */
static double
try_fsst(FrameWriter *frames, WriterColumn *source, uint32 start, uint32 end, uint64 raw)
{
	bool made = source->fsst == NULL;
	double ratio;

	end = Min(end, start + PACK_VECTOR);
	if (made)
		train(frames, source);
	ratio = fsst_ratio(frames, source, start, end);
	if (!made && ratio > source->fsst_ratio * FSST_WORSE)
	{
		train(frames, source);
		ratio = fsst_ratio(frames, source, start, end);
		made = true;
	}
	if (made)
		source->fsst_ratio = ratio;
	return raw * (ratio + (double) fsst_table_bytes(source->fsst) / source->bytes);
}

/* What the sample of `raw` bytes takes in frames of so many bytes. */
static uint64
size_in_frames(FrameWriter *frames, PackEncoding codec, uint64 raw, uint64 frame)
{
	uint8 *target = MemoryContextAllocHuge(frames->writer->scratch, compress_bound(codec, frame));
	uint64 total = 0;

	for (uint64 at = 0; at < raw; at += frame)
	{
		uint64 length = Min(frame, raw - at);
		uint64 size =
			compress_bytes(codec, frames->raw + at, length, target, compress_bound(codec, frame));

		total += size > 0 ? Min(size, length) : length;
	}
	pfree(target);
	return total;
}

/*
 * Chooses a codec by a sample from the middle of the chunk: fsst or lz4 for what is scanned, zstd where
 * it is much smaller or values are long.
 */
static PackEncoding
choose_codec(FrameWriter *frames, WriterColumn *source)
{
	PackWriter *writer = frames->writer;
	uint32 n = writer->nrows;
	uint64 average = source->bytes / (n - source->null_count);
	uint32 rows = Min(n, FRAME_BYTES / (average + 1) + 1);
	uint32 start = (n - rows) / 2;
	PackEncoding light = PACK_ENCODING_LZ4;
	uint64 raw;
	uint64 best;
	uint64 zstd;
	uint8 *target;

	if (source->no_codec || source->bytes < 256)
		return PACK_ENCODING_PLAIN;
	raw = 0;
	for (uint32 i = start; i < start + rows; i++)
		raw += frames->strings[i].length;
	if (raw > FRAME_MAX)
		return PACK_ENCODING_LZ4; /* a few huge values: fast, and stored raw where it fails */
	raw = gather(frames, start, start + rows);
	target = MemoryContextAllocHuge(writer->scratch, LZ4_compressBound(raw));
	best = compress_bytes(PACK_ENCODING_LZ4, frames->raw, raw, target, LZ4_compressBound(raw));
	pfree(target);
	if (best == 0 || raw == 0)
		return PACK_ENCODING_PLAIN;
	zstd = size_in_frames(frames, PACK_ENCODING_ZSTD, raw,
						  average < COLD_LENGTH ? SHORT_FRAME_BYTES : FRAME_BYTES);
	if (average < COLD_LENGTH && source->bytes >= FSST_LEAST_BYTES)
	{
		double fsst = try_fsst(frames, source, start, start + rows, raw);

		if (fsst <= best)
		{
			light = PACK_ENCODING_FSST;
			best = fsst;
		}
	}
	if (Min(best, zstd) > raw - raw / 8)
		return PACK_ENCODING_PLAIN;
	if (average >= COLD_LENGTH ? zstd < best - best / 5 : zstd < best / 2)
	{
		light = PACK_ENCODING_ZSTD;
		best = zstd;
	}
	if (light == PACK_ENCODING_FSST)
		return light;
	if (light == PACK_ENCODING_ZSTD && average < COLD_LENGTH)
		frames->aim = SHORT_FRAME_BYTES;
	else if (size_in_frames(frames, light, raw, SMALL_FRAME_BYTES) <= best * SMALL_FRAME_LOSS)
		frames->aim = SMALL_FRAME_BYTES;
	else
		frames->aim = light == PACK_ENCODING_LZ4 ? FRAME_BYTES : COLD_FRAME_BYTES;
	return light;
}

/* The largest frames of 2^k rows that stay near the aim, and below the limit unless of one row. */
static int
choose_shift(FrameWriter *frames, WriterColumn *source)
{
	uint32 n = frames->writer->nrows;
	uint64 average = source->bytes / (n - source->null_count) + 1;
	uint64 aim = frames->aim;
	uint64 limit = frames->codec == PACK_ENCODING_FSST ? FSST_BLOCK_MAX : FRAME_MAX;
	int shift = 0;

	if (frames->codec == PACK_ENCODING_PLAIN || frames->codec == PACK_ENCODING_FSST)
		shift = 10;
	else
		while (shift < FRAME_MAX_SHIFT && (average << (shift + 1)) <= aim + aim / 2)
			shift++;
	for (; shift > 0; shift--)
	{
		uint64 length = 0;
		uint64 most = 0;

		for (uint32 i = 0; i < n; i++)
		{
			if ((i & ((1 << shift) - 1)) == 0)
				length = 0;
			length += frames->strings[i].length;
			most = Max(most, length);
		}
		if (most <= limit)
			break;
	}
	return shift;
}

/* First 8 bytes as a number that orders as memcmp does, shorter ones padded with zeros. */
static inline uint64
prefix_number(PackString value)
{
	return pg_bswap64(pack_string_head(value));
}

typedef struct BytesBounds
{
	bool any;
	bool ascending;
	PackString min;
	PackString max;
	uint64 min_number;
	uint64 max_number;
	PackString previous;
	uint64 previous_number;
} BytesBounds;

/* Takes a block's values into the chunk's bounds; sets the block's. */
static void
bound_block(BytesBounds *bounds, PackBlock *block, const PackString *strings, const uint8 *nulls,
			int n)
{
	uint64 low = PG_UINT64_MAX;
	uint64 high = 0;

	for (int i = 0; i < n; i++)
	{
		uint64 number;

		if (nulls != NULL && nulls[i])
			continue;
		number = prefix_number(strings[i]);
		low = Min(low, number);
		high = Max(high, number);
		if (!bounds->any)
		{
			bounds->min = bounds->max = strings[i];
			bounds->min_number = bounds->max_number = number;
			bounds->any = bounds->ascending = true;
		}
		else
		{
			if (number < bounds->min_number || (number == bounds->min_number &&
												pack_string_compare(&strings[i], &bounds->min) < 0))
			{
				bounds->min = strings[i];
				bounds->min_number = number;
			}
			if (number > bounds->max_number || (number == bounds->max_number &&
												pack_string_compare(&strings[i], &bounds->max) > 0))
			{
				bounds->max = strings[i];
				bounds->max_number = number;
			}
			if (bounds->ascending)
				bounds->ascending = number > bounds->previous_number ||
									(number == bounds->previous_number &&
									 pack_string_compare(&strings[i], &bounds->previous) >= 0);
		}
		bounds->previous = strings[i];
		bounds->previous_number = number;
	}
	memcpy(&block->min, &low, sizeof(low));
	memcpy(&block->max, &high, sizeof(high));
}

/* Appends a block's validity and lengths; returns the bytes of its values. */
static uint64
write_lengths(PackBuffer *out, uint64 chunk_start, PackBlock *block, const int64 *lengths,
			  const uint8 *nulls, int n)
{
	int64 least;
	int64 most;
	uint64 bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += lengths[i];
	pack_kernels()->minmax(lengths, n, &least, &most);
	block->offset = out->length - chunk_start;
	block->method = PACK_METHOD_LENGTHS;
	block->nulls = nulls == NULL ? 0 : pack_write_validity(out, nulls, n);
	if (block->nulls < n)
	{
		block->width = pack_width(most - least);
		block->u.lengths.least = least;
		pack_write_codes(out, lengths, n, least, block->width);
	}
	block->length = out->length - chunk_start - block->offset;
	return bytes;
}

static void
write_frames(PackWriter *writer, WriterColumn *source, PackString *strings, PackBuffer *out,
			 PackColumn *column, PackBlock *directory)
{
	FrameWriter frames = {.aim = FRAME_BYTES};
	BytesBounds bounds = {0};
	uint32 n = writer->nrows;
	uint32 nframes;
	uint32 per_frame;
	uint32 per_step;
	uint64 directory_bytes;
	int64 lengths[PACK_VECTOR];

	frames.writer = writer;
	frames.strings = strings;
	frames.codec = choose_codec(&frames, source);
	frames.shift = choose_shift(&frames, source);
	if (frames.codec == PACK_ENCODING_FSST && frames.shift != 10)
	{
		/* values too long for that are among them */
		frames.codec = PACK_ENCODING_LZ4;
		frames.shift = choose_shift(&frames, source);
	}
	per_frame = 1 << frames.shift;
	per_step = Max(per_frame, PACK_VECTOR);
	nframes = (n + per_frame - 1) >> frames.shift;
	directory_bytes = sizeof(PackFrame) * (uint64) nframes;
	frames.frames = MemoryContextAllocZero(writer->scratch, directory_bytes);

	column->encoding = frames.codec;
	column->frame_shift = frames.shift;
	column->aux_offset = out->length - column->offset;
	column->aux_length = column->aux_raw = directory_bytes;
	column->aux_count = nframes;
	pack_buffer_zero(out, directory_bytes);
	if (frames.codec == PACK_ENCODING_FSST)
	{
		uint32 symbols = fsst_table_bytes(frames.fsst);

		fsst_table_write(frames.fsst, pack_buffer_extend(out, symbols));
		pack_buffer_align(out, 8);
		column->aux_length = column->aux_raw = directory_bytes + symbols;
	}

	/* the lengths of a step's blocks, then its frames, so that a scan reads forward */
	for (uint32 start = 0; start < n; start += per_step)
	{
		uint32 end = Min(start + per_step, n);
		uint64 skip = 0;

		CHECK_FOR_INTERRUPTS();
		for (uint32 row = start; row < end; row += PACK_VECTOR)
		{
			PackBlock *block = &directory[row / PACK_VECTOR];
			int rows = Min(PACK_VECTOR, n - row);
			const uint8 *nulls = source->null_count > 0 ? source->nulls + row : NULL;

			if (source->order == PACK_ORDER_BYTES)
				bound_block(&bounds, block, strings + row, nulls, rows);
			if (frames.codec == PACK_ENCODING_FSST)
			{
				(void) encode_block(&frames, row, row + rows);
				for (int i = 0; i < rows; i++)
					lengths[i] = frames.coded[i];
				write_coded(&frames, out, column->offset, row,
							write_lengths(out, column->offset, block, lengths, nulls, rows));
				continue;
			}
			for (int i = 0; i < rows; i++)
				lengths[i] = strings[row + i].length;
			block->u.lengths.skip = per_frame > PACK_VECTOR ? skip : 0;
			skip += write_lengths(out, column->offset, block, lengths, nulls, rows);
		}
		for (uint32 row = start; row < end && frames.codec != PACK_ENCODING_FSST; row += per_frame)
			write_frame(&frames, out, column->offset, row, Min(row + per_frame, n));
	}
	memcpy(out->data + column->offset + column->aux_offset, frames.frames, directory_bytes);
	if (bounds.any)
	{
		pack_set_byte_range(column, bounds.min, bounds.max);
		if (bounds.ascending)
			column->flags |= PACK_COLUMN_SORTED;
	}
}

/* The payloads of the column's rows, those of nulls empty. */
static PackString *
column_strings(PackWriter *writer, const WriterColumn *source)
{
	uint32 n = writer->nrows;
	PackString *strings = pack_room(writer, &writer->strings, n * sizeof(PackString));

	for (uint32 i = 0; i < n; i++)
	{
		pack_prefetch_value(source, i, n);
		if (source->nulls[i])
		{
			strings[i].data = NULL;
			strings[i].length = 0;
		}
		else
			strings[i] = pack_value_bytes(source->klass, source->attlen, source->values[i]);
	}
	return strings;
}

void
pack_encode_bytes(PackWriter *writer, WriterColumn *source, PackBuffer *out, PackColumn *column,
				  PackBlock *directory)
{
	/* bytes of a numeric say nothing about its order */
	if (source->order != PACK_ORDER_BYTES)
		column->order = PACK_ORDER_NONE;

	if (source->packs_since++ >= RETRY_PACKS)
	{
		source->packs_since = 0;
		source->no_dict = false;
	}
	if (!source->no_dict && pack_encode_dict(writer, source, out, column, directory))
		return;
	if (writer->nrows > DICT_JUDGE_ROWS)
		source->no_dict = true;
	write_frames(writer, source, column_strings(writer, source), out, column, directory);
}
