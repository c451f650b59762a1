/*
 * pack_encode.c
 *		Makes a pack of the buffered rows: header, column descriptors, chunks.
 *
 * Layout: header, descriptors, bitmap or list of live positions, chunks.  A chunk is its block
 * directory, then its auxiliary bytes and blocks in the order that its maker chooses.
 */
#include "engine/pack_writer.h"

#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

/* Positions per row above which a list of positions is smaller than a bitmap. */
#define LIST_RATIO 32

/* A block is moved to the next page if the bytes lost are at most this fraction of its length. */
#define PAD_FRACTION 8

void
pack_buffer_init(PackBuffer *buffer, MemoryContext context, uint64 room)
{
	buffer->context = context;
	buffer->data = MemoryContextAllocHuge(context, room);
	buffer->length = 0;
	buffer->room = room;
}

void
pack_buffer_grow(PackBuffer *buffer, uint64 extra)
{
	uint64 room = Max(buffer->room * 2, buffer->length + extra);

	buffer->data = repalloc_huge(buffer->data, room);
	buffer->room = room;
}

void
pack_buffer_align(PackBuffer *buffer, int alignment)
{
	pack_buffer_zero(buffer, (alignment - buffer->length % alignment) % alignment);
}

/*
 * Call before appending a block of `length` bytes: if it would cross a page border although it fits
 * into a page, and little is lost by it, skips to the next page.
 */
void
pack_pad_for(PackBuffer *out, uint64 length)
{
	uint64 left = PACK_PAGE_PAYLOAD - out->length % PACK_PAGE_PAYLOAD;

	if (length > left && length <= PACK_PAGE_PAYLOAD && left <= length / PAD_FRACTION)
		pack_buffer_zero(out, left);
}

uint32
pack_crc(const void *data, uint64 length)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, length);
	FIN_CRC32C(crc);
	return crc;
}

/*
 * The stored integers of a by-value column. Those of 8 bytes are the datums themselves; nulls get any
 * value.
 */
static int64 *
column_integers(PackWriter *writer, const WriterColumn *source)
{
	uint32 n = writer->nrows;
	const Datum *from = source->values;
	int64 *values = (int64 *) source->values;

	if (source->attlen != sizeof(int64))
		values = pack_room(writer, &writer->integers, sizeof(int64) * n);
	if (source->attlen == sizeof(int32) && source->klass != PACK_CLASS_UINT)
		for (uint32 i = 0; i < n; i++)
			values[i] = (int32) from[i];
	else if (source->attlen != sizeof(int64))
		for (uint32 i = 0; i < n; i++)
			values[i] = pack_datum_int(source->klass, source->attlen, from[i]);
	if (source->null_count > 0)
		pack_fill_nulls(values, source->nulls, n);
	return values;
}

static void
encode_by_value(PackWriter *writer, WriterColumn *source, PackBuffer *out, PackColumn *column,
				PackBlock *directory)
{
	IntChunk chunk = {0};

	chunk.values = column_integers(writer, source);
	chunk.nulls = source->nulls;
	chunk.nrows = writer->nrows;
	chunk.null_count = source->null_count;
	chunk.step = 1;
	column->encoding = PACK_ENCODING_INTS;
	if (source->klass == PACK_CLASS_FLOAT4 || source->klass == PACK_CLASS_FLOAT8)
		pack_encode_floats(out, column, directory, &chunk);
	else
	{
		chunk.step = pack_common_step(chunk.values, chunk.nrows);
		pack_encode_ints(out, column, directory, &chunk);
	}
}

/* One column's chunk. */
static void
encode_column(PackWriter *writer, WriterColumn *source, PackBuffer *out, PackColumn *column)
{
	uint32 nblocks = (writer->nrows + PACK_VECTOR - 1) / PACK_VECTOR;
	uint64 directory_bytes = sizeof(PackBlock) * (uint64) nblocks;
	PackBlock *directory;

	column->klass = source->klass;
	column->order = source->order;
	column->attlen = source->attlen;
	column->nulls = source->null_count;
	column->step = 1;
	if (source->dropped)
		column->nulls = writer->nrows;
	else
	{
		directory = MemoryContextAllocZero(writer->scratch, Max(directory_bytes, 1));
		pack_buffer_align(out, 8);
		column->offset = out->length;
		pack_buffer_zero(out, directory_bytes);
		if (source->null_count == writer->nrows)
		{
			/* all null, or no rows: blocks without bytes */
			for (uint32 block = 0; block < nblocks; block++)
			{
				directory[block].nulls = Min(PACK_VECTOR, writer->nrows - block * PACK_VECTOR);
				directory[block].method = PACK_METHOD_FOR;
				directory[block].offset = directory_bytes;
			}
			column->encoding = PACK_ENCODING_INTS;
			column->order = PACK_ORDER_NONE;
		}
		else if (source->byval)
			encode_by_value(writer, source, out, column, directory);
		else if (source->klass != PACK_CLASS_NUMERIC ||
				 !pack_encode_numeric(writer, source, out, column, directory))
			pack_encode_bytes(writer, source, out, column, directory);
		column->length = out->length - column->offset;
		memcpy(out->data + column->offset, directory, directory_bytes);
		column->directory_crc = pack_crc(directory, directory_bytes);
		column->data_crc = pack_crc(out->data + column->offset, column->length);
	}
	column->crc = 0;
	column->crc = pack_crc(column, sizeof(PackColumn));
}

/* Which positions are rows, if not all: appended, and entered into the header. */
static void
encode_live(PackWriter *writer, PackHeader *header, PackBuffer *out)
{
	uint64 length;
	uint32 n = writer->nrows;

	if (n == header->span)
		return;
	pack_buffer_align(out, 8);
	header->live_offset = out->length;
	if (header->span / LIST_RATIO > n)
	{
		uint32 *list;

		header->flags |= PACK_FLAG_LIVE_LIST;
		length = sizeof(uint32) * (uint64) n;
		list = (uint32 *) pack_buffer_extend(out, length);
		for (uint32 i = 0; i < n; i++)
			list[i] = writer->positions ? writer->positions[i] : i;
	}
	else
	{
		uint8 *bitmap;

		header->flags |= PACK_FLAG_LIVE_BITMAP;
		length = (header->span + UINT64CONST(63)) / 64 * 8;
		pack_buffer_zero(out, length);
		bitmap = out->data + header->live_offset;
		for (uint32 i = 0; i < n; i++)
		{
			uint32 position = writer->positions ? writer->positions[i] : i;

			bitmap[position / 8] |= 1 << (position % 8);
		}
	}
	header->live_crc = pack_crc(out->data + header->live_offset, length);
}

void
pack_encode(PackWriter *writer, uint32 span, PackBuffer *out)
{
	PackHeader header = {0};
	uint64 descriptors = sizeof(PackHeader);

	if (pack_encode_tiny(writer, span, out))
		return;

	header.magic = PACK_MAGIC;
	header.version = PACK_FORMAT_VERSION;
	header.layout = PACK_LAYOUT_COLUMNS;
	header.nrows = writer->nrows;
	header.span = span;
	header.natts = writer->natts;
	pack_buffer_zero(out, sizeof(PackHeader) + sizeof(PackColumn) * (uint64) writer->natts);
	encode_live(writer, &header, out);
	for (int att = 0; att < writer->natts; att++)
	{
		PackColumn column;

		CHECK_FOR_INTERRUPTS();
		memset(&column, 0, sizeof(column));
		encode_column(writer, &writer->columns[att], out, &column);
		memcpy(out->data + descriptors + sizeof(PackColumn) * att, &column, sizeof(column));
		MemoryContextReset(writer->scratch);
	}
	header.length = out->length;
	header.crc = pack_crc(&header, sizeof(header));
	memcpy(out->data, &header, sizeof(header));
}
