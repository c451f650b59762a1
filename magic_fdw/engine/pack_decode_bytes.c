/*
 * pack_decode_bytes.c
 *		Reads chunks of byte strings: dictionaries, lengths, frames; builds datums of them.
 */
#include "engine/pack_reader.h"

#include <lz4.h>
#include <zstd.h>

#include "engine/pack_fsst.h"
#include "engine/pack_kernels.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

/* Most bytes that one byte of lz4 or zstd may expand to before a claimed length is disbelieved. */
#define LZ4_MOST_RATIO 256
#define ZSTD_MOST_RATIO 65536

static uint64 frames_decompressed;

/* Decompresses exactly `raw` bytes. */
static void
decompress(ReaderColumn *column, PackEncoding codec, const uint8 *from, uint64 length, uint8 *to,
		   uint64 raw)
{
	bool good;

	frames_decompressed++;
	if (codec == PACK_ENCODING_ZSTD)
	{
		/* one context for the process: making one costs as much as a small frame */
		static ZSTD_DCtx *context;
		size_t result;

		if (context == NULL)
			context = ZSTD_createDCtx();
		if (context == NULL)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		result = ZSTD_decompressDCtx(context, to, raw, from, length);
		good = !ZSTD_isError(result) && result == raw;
	}
	else
		good = length <= PG_INT32_MAX && raw <= PG_INT32_MAX &&
			   LZ4_decompress_safe((const char *) from, (char *) to, length, raw) == (int) raw;
	if (!good)
		pack_corrupt(column->att, "compressed bytes cannot be decompressed");
}

static void
check_ratio(ReaderColumn *column, PackEncoding codec, uint64 length, uint64 raw)
{
	if (raw / (codec == PACK_ENCODING_ZSTD ? ZSTD_MOST_RATIO : LZ4_MOST_RATIO) > length)
		pack_corrupt(column->att, "impossible length of compressed bytes");
}

void
pack_load_dictionary(PackReader *reader, ReaderColumn *column)
{
	PackColumn *d = &column->d;
	PackString *entries;
	uint64 header = d->aux_count * sizeof(uint32);
	uint64 used = header;
	uint8 *image;
	uint8 *copy = NULL;
	uint64 room = 0;
	const uint8 *aux;

	if (column->dict.entries != NULL)
		return;
	if (d->aux_count < 1 || d->aux_count > PACK_MAX_DICT || header > d->aux_raw)
		pack_corrupt(column->att, "impossible size of the dictionary");
	aux = pack_fetch(reader, column->att, d->offset + d->aux_offset, d->aux_length, &copy, &room);
	column->fetched = NO_BLOCK;
	check_ratio(column, PACK_ENCODING_LZ4, d->aux_length, d->aux_raw);
	image = MemoryContextAllocHuge(reader->context, Max(d->aux_raw, 1));
	if (d->aux_raw == d->aux_length)
		memcpy(image, aux, d->aux_raw);
	else
		decompress(column, PACK_ENCODING_LZ4, aux, d->aux_length, image, d->aux_raw);
	if (copy != NULL)
		pfree(copy);

	entries = MemoryContextAlloc(reader->context, d->aux_count * sizeof(PackString));
	for (uint32 i = 0; i < d->aux_count; i++)
	{
		memcpy(&entries[i].length, image + i * sizeof(uint32), sizeof(uint32));
		if (entries[i].length > d->aux_raw - used ||
			(column->attlen > 0 && entries[i].length != column->attlen))
			pack_corrupt(column->att, "impossible length of a dictionary entry");
		entries[i].data = image + used;
		used += entries[i].length;
	}
	column->dict.count = d->aux_count;
	column->dict.entries = entries;
}

/* ---------------------------------------------------------------- datums ---- */

/* Bytes that a value may need in a buffer of datums, alignment included. */
uint64
pack_datum_room(const ReaderColumn *column, uint64 length)
{
	return MAXALIGN(length + VARHDRSZ);
}

/* Writes the datum of a value at *at, aligned to 8 at first, and moves on. */
Datum
pack_build_datum(const ReaderColumn *column, PackString value, uint8 **at)
{
	uint8 *datum = *at;
	uint8 *bytes = datum;

	if (column->attlen == -1)
	{
		if (column->packable && value.length + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
		{
			SET_VARSIZE_SHORT(datum, value.length + VARHDRSZ_SHORT);
			bytes = datum + VARHDRSZ_SHORT;
		}
		else
		{
			if (value.length > MaxAllocSize - VARHDRSZ)
				pack_corrupt(column->att, "a value is longer than 1 GB");
			datum = bytes = (uint8 *) MAXALIGN(datum);
			SET_VARSIZE(datum, value.length + VARHDRSZ);
			bytes += VARHDRSZ;
		}
	}
	else
	{
		datum = bytes = (uint8 *) MAXALIGN(datum);
		if (column->attlen > 0 && value.length != column->attlen)
			pack_corrupt(column->att, "a value has the wrong length");
	}
	memcpy(bytes, value.data, value.length);
	if (column->attlen == -2)
		bytes[value.length++] = '\0';
	*at = bytes + value.length;
	return PointerGetDatum(datum);
}

static void
dictionary_datums(PackReader *reader, ReaderColumn *column)
{
	uint64 room = 8;
	uint8 *at;
	Datum *datums;

	if (column->dict_datums != NULL)
		return;
	pack_load_dictionary(reader, column);
	datums = MemoryContextAlloc(reader->context, column->dict.count * sizeof(Datum));
	for (uint32 i = 0; i < column->dict.count; i++)
		room += pack_datum_room(column, column->dict.entries[i].length) + MAXIMUM_ALIGNOF;
	at = MemoryContextAllocHuge(reader->context, room);
	for (uint32 i = 0; i < column->dict.count; i++)
		datums[i] = pack_build_datum(column, column->dict.entries[i], &at);
	column->dict_datums = datums;
}

/* ---------------------------------------------------------------- lengths and frames ---- */

/* The symbols behind the directory of frames. */
static void
load_symbols(PackReader *reader, ReaderColumn *column, uint64 at)
{
	PackColumn *d = &column->d;
	uint64 length = d->aux_length - at;

	if (column->symbols == NULL)
		column->symbols = MemoryContextAlloc(reader->context, sizeof(FsstTable));
	if (length == 0 ||
		fsst_table_read(column->symbols,
						pack_fetch(reader, column->att, d->offset + d->aux_offset + at, length,
								   &column->scratch, &column->scratch_room),
						length) == 0)
		pack_corrupt(column->att, "impossible table of symbols");
}

static void
load_frames(PackReader *reader, ReaderColumn *column)
{
	PackColumn *d = &column->d;
	uint64 bytes = d->aux_count * sizeof(PackFrame);
	bool coded = d->encoding == PACK_ENCODING_FSST;
	PackFrame *frames;

	if (column->frames != NULL)
		return;
	if (d->frame_shift > 17 || (coded ? bytes > d->aux_length : bytes != d->aux_length) ||
		reader->nrows == 0 || d->aux_count != ((reader->nrows - 1) >> d->frame_shift) + 1)
		pack_corrupt(column->att, "impossible number of frames");
	column->fetched = NO_BLOCK;
	if (coded)
		load_symbols(reader, column, bytes);
	frames = MemoryContextAlloc(reader->context, bytes);
	memcpy(frames,
		   pack_fetch(reader, column->att, d->offset + d->aux_offset, bytes, &column->scratch,
					  &column->scratch_room),
		   bytes);
	for (uint32 i = 0; i < d->aux_count; i++)
	{
		PackFrame *frame = &frames[i];

		if (frame->length > d->length || frame->offset > d->length - frame->length ||
			frame->length > frame->raw ||
			(frame->length < frame->raw && (coded || d->encoding == PACK_ENCODING_PLAIN)))
			pack_corrupt(column->att, "a frame reaches beyond the chunk");
		check_ratio(column, d->encoding, frame->length, frame->raw);
	}
	/* not before: after an error other readers of the pack go on with this one */
	column->frames = frames;
}

/* The lengths of a block's values in column->lengths, its validity in column->valid. */
static void
measure(PackReader *reader, ReaderColumn *column, int block)
{
	PackBlock *entry = &column->blocks[block];
	int n = pack_block_rows(reader, block);
	uint32 *lengths;
	uint32 least = entry->u.lengths.least;
	uint16 codes[PACK_VECTOR] pg_attribute_aligned(64);
	const uint8 *payload;
	uint32 left;

	if (column->measured == block)
		return;
	column->measured = NO_BLOCK;
	load_frames(reader, column);
	if (column->lengths == NULL)
		column->lengths = (uint32 *) pack_align_alloc(reader, PACK_VECTOR * sizeof(uint32));
	lengths = column->lengths;
	if (entry->nulls == n)
	{
		memset(column->valid, 0, sizeof(column->valid));
		memset(lengths, 0, n * sizeof(uint32));
		column->measured = block;
		return;
	}
	payload = pack_block_payload(reader, column, block, n, &left);
	if ((entry->method & PACK_METHOD_MASK) != PACK_METHOD_LENGTHS || entry->width > 32 ||
		left < pack_packed_bytes(n, entry->width))
		pack_corrupt(column->att, "impossible lengths of a block");
	switch (pack_lane(entry->width))
	{
		case 0:
			for (int i = 0; i < n; i++)
				lengths[i] = least;
			break;
		case 1:
			pack_kernels()->unpack(payload, n, entry->width, codes);
			for (int i = 0; i < n; i++)
				lengths[i] = least + ((const uint8 *) codes)[i];
			break;
		case 2:
			pack_kernels()->unpack(payload, n, entry->width, codes);
			for (int i = 0; i < n; i++)
				lengths[i] = least + codes[i];
			break;
		default:
			pack_kernels()->unpack(payload, n, entry->width, lengths);
			for (int i = 0; i < n; i++)
				lengths[i] += least;
			break;
	}
	column->measured = block;
}

/* Fetches and decompresses a frame to `to`. */
void
pack_decompress_frame(PackReader *reader, ReaderColumn *column, uint64 number, uint8 *to)
{
	PackFrame *frame = &column->frames[number];
	const uint8 *compressed;

	column->fetched = NO_BLOCK;
	compressed = pack_fetch(reader, column->att, column->d.offset + frame->offset, frame->length,
							&column->scratch, &column->scratch_room);
	decompress(column, column->d.encoding, compressed, frame->length, to, frame->raw);
}

uint64
pack_frames_decompressed(void)
{
	return frames_decompressed;
}

/* `length` bytes at `skip` of a frame, decompressing it if it is not the one kept. */
static const uint8 *
frame_part(PackReader *reader, ReaderColumn *column, uint64 number, uint64 skip, uint64 length)
{
	PackFrame *frame = &column->frames[number];
	uint64 offset = column->d.offset + frame->offset;
	const uint8 *kept;

	if (length > frame->raw || skip > frame->raw - length)
		pack_corrupt(column->att, "a value reaches beyond its frame");
	if (length == 0)
		return (const uint8 *) "";
	if (frame->length == frame->raw)
	{
		column->fetched = NO_BLOCK;
		return pack_fetch(reader, column->att, offset + skip, length, &column->scratch,
						  &column->scratch_room);
	}
	kept = pack_kept_frame(reader, column, number);
	if (kept != NULL)
		return kept + skip;
	if (column->frame != number)
	{
		column->frame = -1;
		pack_reserve(reader, &column->frame_bytes, &column->frame_room, frame->raw);
		pack_decompress_frame(reader, column, number, column->frame_bytes);
		column->frame = number;
	}
	return column->frame_bytes + skip;
}

/*
 * All bytes of a block, in row order: in place, in the frame kept, or gathered from small frames.
 */
static const uint8 *
block_bytes(PackReader *reader, ReaderColumn *column, int block, int n)
{
	int shift = column->d.frame_shift;
	uint64 row = (uint64) block * PACK_VECTOR;
	uint64 total = 0;
	uint8 *at;

	for (int i = 0; i < n; i++)
		total += column->lengths[i];
	if (shift >= 10)
		return frame_part(reader, column, row >> shift, column->blocks[block].u.lengths.skip,
						  total);

	/* no more than what the frames hold, so that wrong lengths cannot ask for much memory */
	for (uint64 number = row >> shift; number <= (row + n - 1) >> shift; number++)
	{
		uint32 end = Min((number + 1) << shift, row + n) - row;
		uint64 length = 0;

		for (uint32 i = (number << shift) - row; i < end; i++)
			length += column->lengths[i];
		if (length != column->frames[number].raw)
			pack_corrupt(column->att, "the lengths of its values do not add up to a frame");
	}
	pack_reserve(reader, &column->bytes, &column->bytes_room, Max(total, 1));
	at = column->bytes;
	for (uint64 number = row >> shift; number <= (row + n - 1) >> shift; number++)
	{
		uint64 raw = column->frames[number].raw;

		memcpy(at, frame_part(reader, column, number, 0, raw), raw);
		at += raw;
	}
	return column->bytes;
}

/* Decodes codes to `at`; returns the end. */
static uint8 *
decode_value(ReaderColumn *column, const uint8 *codes, uint32 length, uint8 *at)
{
	at = fsst_decode(column->symbols, codes, length, at);
	if (at == NULL)
		pack_corrupt(column->att, "a value has a code without symbol");
	return at;
}

/* Decodes a block's codes, of which column->lengths tells the lengths, to column->strings. */
static void
decode_strings(PackReader *reader, ReaderColumn *column, const uint8 *codes, int n)
{
	uint64 total = 0;
	uint8 *at;

	for (int i = 0; i < n; i++)
		total += column->lengths[i];
	pack_reserve(reader, &column->decoded, &column->decoded_room,
				 total * FSST_MOST_RATIO + sizeof(uint64));
	at = column->decoded;
	for (int i = 0; i < n; i++)
	{
		uint8 *end = decode_value(column, codes, column->lengths[i], at);

		column->strings[i].data = at;
		column->strings[i].length = end - at;
		codes += column->lengths[i];
		at = end;
	}
}

void
pack_read_strings(PackReader *reader, ReaderColumn *column, int block, int *nulls)
{
	int n = pack_block_rows(reader, block);
	const uint8 *bytes;

	measure(reader, column, block);
	if (column->strings == NULL)
		column->strings = MemoryContextAlloc(reader->context, PACK_VECTOR * sizeof(PackString));
	bytes = block_bytes(reader, column, block, n);
	if (column->symbols != NULL)
		decode_strings(reader, column, bytes, n);
	else
		for (int i = 0; i < n; i++)
		{
			column->strings[i].data = bytes;
			column->strings[i].length = column->lengths[i];
			bytes += column->lengths[i];
		}
	*nulls = column->blocks[block].nulls;
}

static void
dict_datums(PackReader *reader, ReaderColumn *column, int block, Datum *values)
{
	int n = pack_block_rows(reader, block);
	uint64 count;
	PackInts ints;

	dictionary_datums(reader, column);
	count = column->dict.count;
	pack_decode_ints(reader, column, block, &ints);
	if (ints.nulls == n)
		return;
	if (ints.lane <= 1 && ints.step == 1)
	{
		const uint8 *codes = ints.codes;
		const Datum *entries;

		pack_check_codes(column, &ints, n);
		entries = column->dict_datums + ints.base;
		for (int i = 0; i < n; i++)
			values[i] = entries[codes != NULL ? codes[i] : 0];
		return;
	}
	pack_kernels()->widen(ints.codes, ints.lane, n, ints.base, ints.step, (int64 *) values);
	for (int i = 0; i < n; i++)
	{
		if (values[i] >= count)
			pack_corrupt(column->att, "a code is not in the dictionary");
		values[i] = column->dict_datums[values[i]];
	}
}

void
pack_bytes_datums(PackReader *reader, ReaderColumn *column, int block, Datum *values, bool *isnull)
{
	int n = pack_block_rows(reader, block);
	int nulls = column->blocks[block].nulls;

	if (column->d.encoding == PACK_ENCODING_DICT)
		dict_datums(reader, column, block, values);
	else
	{
		uint64 room = MAXIMUM_ALIGNOF;
		uint8 *at;

		pack_read_strings(reader, column, block, &nulls);
		for (int i = 0; i < n; i++)
			room += pack_datum_room(column, column->strings[i].length) + MAXIMUM_ALIGNOF;
		pack_reserve(reader, &column->datums, &column->datums_room, room);
		at = column->datums;
		if (nulls == 0)
			for (int i = 0; i < n; i++)
				values[i] = pack_build_datum(column, column->strings[i], &at);
		else
			for (int i = 0; i < n; i++)
				if (nulls < n && pack_row_valid(column, i))
					values[i] = pack_build_datum(column, column->strings[i], &at);
	}
	pack_apply_nulls(column, n, nulls, values, isnull);
}

/*
 * Where the value of a row lies in its frame, and its length, which need not be measured for the whole block
 * if that is touched but once. False: null.
 */
static bool
locate_value(PackReader *reader, ReaderColumn *column, int block, int row, uint64 *skip,
			 uint32 *length)
{
	PackBlock *entry = &column->blocks[block];
	const PackKernels *kernels = pack_kernels();
	int n = pack_block_rows(reader, block);
	int shift = column->d.frame_shift;
	int first = shift >= 10 ? 0 : row & ~((1 << shift) - 1);
	int lane = pack_lane(entry->width);
	uint32 least = entry->u.lengths.least;
	uint32 offset;
	uint64 bytes = pack_packed_bytes(n, entry->width);
	uint32 codes[PACK_VECTOR] pg_attribute_aligned(64);
	bool isnull;

	*skip = shift >= 10 ? entry->u.lengths.skip : 0;
	if (pack_touch_block(column, block))
		measure(reader, column, block);
	if (column->measured == block)
	{
		*length = column->lengths[row];
		*skip += kernels->sum(column->lengths + first, sizeof(uint32), row - first);
		return entry->nulls == 0 || (entry->nulls < n && pack_row_valid(column, row));
	}
	column->measured = NO_BLOCK;
	offset = pack_single_valid(reader, column, block, n, row, &isnull);
	if (isnull)
		return false;
	if ((entry->method & PACK_METHOD_MASK) != PACK_METHOD_LENGTHS || entry->width > 32)
		pack_corrupt(column->att, "impossible lengths of a block");
	*length = least;
	*skip += (uint64) least * (row - first);
	if (lane > 0)
	{
		kernels->unpack(pack_block_part(reader, column, block, offset, bytes), n, entry->width,
						codes);
		*length += kernels->sum((uint8 *) codes + row * lane, lane, 1);
		*skip += kernels->sum((uint8 *) codes + first * lane, lane, row - first);
	}
	return true;
}

Datum
pack_bytes_datum(PackReader *reader, ReaderColumn *column, int block, int row,
				 PackDatumBuffer *buffer, bool *isnull)
{
	uint64 index = (uint64) block * PACK_VECTOR + row;
	uint64 skip;
	uint8 *at;
	PackString value;

	if (column->d.encoding == PACK_ENCODING_DICT)
	{
		int64 code = pack_single_int(reader, column, block, row, isnull);

		if (*isnull)
			return (Datum) 0;
		dictionary_datums(reader, column);
		if ((uint64) code >= column->dict.count)
			pack_corrupt(column->att, "a code is not in the dictionary");
		return column->dict_datums[code];
	}
	load_frames(reader, column);
	*isnull = !locate_value(reader, column, block, row, &skip, &value.length);
	if (*isnull)
		return (Datum) 0;
	value.data = frame_part(reader, column, index >> column->d.frame_shift, skip, value.length);
	if (column->symbols != NULL)
	{
		pack_reserve(reader, &column->decoded, &column->decoded_room,
					 (uint64) value.length * FSST_MOST_RATIO + sizeof(uint64));
		value.length =
			decode_value(column, value.data, value.length, column->decoded) - column->decoded;
		value.data = column->decoded;
	}
	at = pack_buffer_room(buffer, pack_datum_room(column, value.length) + MAXIMUM_ALIGNOF);
	return pack_build_datum(column, value, &at);
}
