/*
 * pack_tiny.c
 *		The row-wise form of packs of a few rows, for which column descriptors would cost more than the
 *		rows.
 *
 * Header (PACK_TINY_HEADER bytes), one class byte per attribute, for FIXED followed by its length
 * as a varint; the live positions as varint differences if there are holes; then row after row: a
 * null bitmap of one bit per attribute if PACK_FLAG_TINY_NULLS says so, and the values that are
 * not null: integers as varints (signed ones zig-zag), floats and fixed-length values as they
 * are, others as varint length and bytes.  The reader turns all of it into datums when the pack
 * is opened.
 */
#include "engine/pack_reader.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "engine/pack_numeric.h"
#include "engine/pack_writer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define PACK_FLAG_TINY_NULLS 0x0100

/* ---------------------------------------------------------------- writing ---- */

static void
put_varint(PackBuffer *out, uint64 value)
{
	uint8 bytes[10];
	int length = 0;

	for (; value >= 0x80; value >>= 7)
		bytes[length++] = (uint8) value | 0x80;
	bytes[length++] = (uint8) value;
	pack_buffer_append(out, bytes, length);
}

static void
put_value(PackBuffer *out, const WriterColumn *column, Datum value)
{
	int64 integer;
	PackString bytes;

	switch (column->klass)
	{
		case PACK_CLASS_INT:
			integer = pack_datum_int(column->klass, column->attlen, value);
			put_varint(out, ((uint64) integer << 1) ^ (uint64) (integer >> 63));
			break;
		case PACK_CLASS_UINT:
			put_varint(out, pack_datum_int(column->klass, column->attlen, value));
			break;
		case PACK_CLASS_FLOAT4:
		case PACK_CLASS_FLOAT8:
			pack_buffer_append(out, &value, column->attlen);
			break;
		case PACK_CLASS_FIXED:
			pack_buffer_append(out, DatumGetPointer(value), column->attlen);
			break;
		default:
			bytes = pack_value_bytes(column->klass, column->attlen, value);
			put_varint(out, bytes.length);
			pack_buffer_append(out, bytes.data, bytes.length);
			break;
	}
}

static void
put_rows(PackWriter *writer, PackBuffer *out, bool with_nulls)
{
	int natts = writer->natts;

	for (uint32 row = 0; row < writer->nrows; row++)
	{
		if (with_nulls)
		{
			uint64 bitmap = out->length;

			pack_buffer_zero(out, (natts + 7) / 8);
			for (int att = 0; att < natts; att++)
				if (writer->columns[att].dropped || writer->columns[att].nulls[row])
					out->data[bitmap + att / 8] |= 1 << (att % 8);
		}
		for (int att = 0; att < natts; att++)
		{
			WriterColumn *column = &writer->columns[att];

			if (!column->dropped && !column->nulls[row])
				put_value(out, column, column->values[row]);
		}
	}
}

/* Writes the rows in this form if they are few and small; false: not done. */
bool
pack_encode_tiny(PackWriter *writer, uint32 span, PackBuffer *out)
{
	PackHeader header = {0};
	uint64 bytes = 0;
	bool with_nulls = false;
	uint32 previous = 0;

	if (writer->nrows > PACK_TINY_ROWS)
		return false;
	for (int att = 0; att < writer->natts; att++)
	{
		WriterColumn *column = &writer->columns[att];

		if (column->scaled)
			pack_writer_unscale(writer, column, writer->nrows);
		bytes += column->byval ? writer->nrows * 4 : column->bytes;
		if (column->dropped || column->null_count > 0)
			with_nulls = true;
	}
	if (bytes > PACK_TINY_BYTES && writer->nrows > 1)
		return false;
	if (bytes > PACK_TINY_BYTES * 16)
		return false;

	header.magic = PACK_MAGIC;
	header.version = PACK_FORMAT_VERSION;
	header.layout = PACK_LAYOUT_ROWS;
	header.nrows = writer->nrows;
	header.span = span;
	header.natts = writer->natts;
	header.flags =
		(span != writer->nrows ? PACK_FLAG_LIVE_LIST : 0) | (with_nulls ? PACK_FLAG_TINY_NULLS : 0);
	pack_buffer_append(out, &header, PACK_TINY_HEADER);
	for (int att = 0; att < writer->natts; att++)
	{
		uint8 klass = writer->columns[att].klass;

		pack_buffer_append(out, &klass, 1);
		if (klass == PACK_CLASS_FIXED)
			put_varint(out, writer->columns[att].attlen);
	}
	for (uint32 row = 0; span != writer->nrows && row < writer->nrows; row++)
	{
		uint32 position = writer->positions ? writer->positions[row] : row;

		put_varint(out, position - previous);
		previous = position;
	}
	put_rows(writer, out, with_nulls);
	header.crc = pack_crc(out->data, out->length);
	memcpy(out->data, &header, PACK_TINY_HEADER);
	return true;
}

/* ---------------------------------------------------------------- reading ---- */

typedef struct Cursor
{
	const uint8 *at;
	const uint8 *end;
} Cursor;

static const uint8 *
take(Cursor *cursor, uint64 length)
{
	const uint8 *at = cursor->at;

	if (length > cursor->end - cursor->at)
		pack_corrupt(-1, "a row reaches beyond the pack");
	cursor->at += length;
	return at;
}

static uint64
take_varint(Cursor *cursor)
{
	uint64 value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint8 byte = *take(cursor, 1);

		value |= (uint64) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return value;
	}
	pack_corrupt(-1, "a number has too many bytes");
	return 0;
}

/* What the reader needs of an attribute while it builds datums. */
static void
describe(ReaderColumn *column, Form_pg_attribute attribute, int att)
{
	memset(column, 0, sizeof(*column));
	column->att = att;
	column->attlen = attribute->attlen;
	column->packable = attribute->attlen == -1 && attribute->attstorage != TYPSTORAGE_PLAIN;
}

static Datum
take_value(Cursor *cursor, const ReaderColumn *column, PackClass klass, uint8 **at)
{
	uint64 bits;
	int64 integer;
	PackString bytes;

	switch (klass)
	{
		case PACK_CLASS_INT:
			bits = take_varint(cursor);
			return (Datum) ((bits >> 1) ^ -(bits & 1));
		case PACK_CLASS_UINT:
			integer = (int64) take_varint(cursor);
			return column->attlen == 1	 ? CharGetDatum((char) integer)
				   : column->attlen == 2 ? Int16GetDatum((int16) integer)
				   : column->attlen == 4 ? Int32GetDatum((int32) integer)
										 : (Datum) integer;
		case PACK_CLASS_FLOAT4:
		case PACK_CLASS_FLOAT8:
			bits = 0;
			memcpy(&bits, take(cursor, column->attlen), column->attlen);
			return klass == PACK_CLASS_FLOAT4 ? Int32GetDatum((int32) bits) : (Datum) bits;
		case PACK_CLASS_FIXED:
			bytes.length = column->attlen;
			break;
		default:
			bits = take_varint(cursor);
			if (bits > cursor->end - cursor->at)
				pack_corrupt(-1, "a value reaches beyond the pack");
			bytes.length = bits;
			break;
	}
	bytes.data = take(cursor, bytes.length);
	return pack_build_datum(column, bytes, at);
}

static bool
class_fits(PackClass klass, Form_pg_attribute attribute, Cursor *cursor)
{
	uint64 length = klass == PACK_CLASS_FIXED ? take_varint(cursor) : 0;

	if (attribute->attisdropped)
		return klass <= PACK_CLASS_CSTRING;
	switch (klass)
	{
		case PACK_CLASS_INT:
		case PACK_CLASS_UINT:
			return attribute->attbyval;
		case PACK_CLASS_FLOAT4:
			return attribute->attbyval && attribute->attlen == 4;
		case PACK_CLASS_FLOAT8:
			return attribute->attbyval && attribute->attlen == 8;
		case PACK_CLASS_FIXED:
			return !attribute->attbyval && attribute->attlen > 0 && length == attribute->attlen;
		case PACK_CLASS_NUMERIC:
		case PACK_CLASS_VARLENA:
			return attribute->attlen == -1;
		case PACK_CLASS_CSTRING:
			return attribute->attlen == -2;
		default:
			return false;
	}
}

/* Skips a value of an attribute dropped since. */
static void
skip_value(Cursor *cursor, PackClass klass, int16 attlen)
{
	switch (klass)
	{
		case PACK_CLASS_INT:
		case PACK_CLASS_UINT:
			(void) take_varint(cursor);
			break;
		case PACK_CLASS_FLOAT4:
			(void) take(cursor, 4);
			break;
		case PACK_CLASS_FLOAT8:
			(void) take(cursor, 8);
			break;
		case PACK_CLASS_FIXED:
			(void) take(cursor, attlen);
			break;
		default:
			(void) take(cursor, take_varint(cursor));
			break;
	}
}

static void
take_positions(PackReader *reader, Cursor *cursor)
{
	uint64 position = 0;

	reader->list = MemoryContextAlloc(reader->context, Max(reader->nrows, 1) * sizeof(uint32));
	for (uint32 row = 0; row < reader->nrows; row++)
	{
		uint64 step = take_varint(cursor);

		if ((row > 0 && step == 0) || step >= reader->span)
			pack_corrupt(-1, "row positions out of order");
		position += step;
		if (position >= reader->span)
			pack_corrupt(-1, "row positions out of order");
		reader->list[row] = position;
	}
	reader->live_loaded = true;
}

static void
take_rows(PackReader *reader, Cursor *cursor, const uint8 *classes, ReaderColumn *columns,
		  uint8 *at)
{
	uint32 natts = reader->natts;
	uint32 nrows = reader->nrows;
	bool with_nulls = (reader->header.flags & PACK_FLAG_TINY_NULLS) != 0;

	for (uint32 row = 0; row < nrows; row++)
	{
		const uint8 *bitmap = with_nulls ? take(cursor, (natts + 7) / 8) : NULL;

		for (uint32 att = 0; att < natts; att++)
		{
			uint32 cell = att * nrows + row;

			reader->tiny_nulls[cell] = bitmap != NULL && (bitmap[att / 8] >> (att % 8)) & 1;
			reader->tiny_values[cell] = (Datum) 0;
			if (reader->tiny_nulls[cell])
				continue;
			if (classes[att] == PACK_CLASS_NONE)
				pack_corrupt(att, "a dropped column has a value");
			if (TupleDescAttr(reader->desc, att)->attisdropped)
				skip_value(cursor, classes[att], columns[att].attlen);
			else
				reader->tiny_values[cell] = take_value(cursor, &columns[att], classes[att], &at);
		}
	}
}

void
pack_open_tiny(PackReader *reader)
{
	uint64 length = reader->source->length;
	uint32 natts = reader->natts;
	uint64 cells = (uint64) natts * reader->nrows;
	const uint8 *bytes =
		pack_fetch(reader, reader->desc->natts, 0, length, &reader->scratch, &reader->scratch_room);
	Cursor cursor;
	uint8 *classes;
	ReaderColumn *columns;
	uint8 *copy;
	uint64 room;

	if (reader->nrows > PACK_TINY_ROWS)
		pack_corrupt(-1, "too many rows for its layout");
	copy = MemoryContextAllocHuge(reader->context, length);
	memcpy(copy, bytes, length);
	memset(copy + offsetof(PackHeader, crc), 0, sizeof(uint32));
	if (!crc_matches(reader->header.crc, copy, length))
		pack_corrupt(-1, "wrong checksum");
	pfree(copy);
	cursor.at = bytes + PACK_TINY_HEADER;
	cursor.end = bytes + length;
	classes = MemoryContextAlloc(reader->context, natts + 1);
	columns = MemoryContextAlloc(reader->context, (natts + 1) * sizeof(ReaderColumn));
	for (uint32 att = 0; att < natts; att++)
	{
		Form_pg_attribute attribute = TupleDescAttr(reader->desc, att);
		Cursor ahead;

		classes[att] = *take(&cursor, 1);
		describe(&columns[att], attribute, att);
		ahead = cursor;
		if (classes[att] == PACK_CLASS_FIXED && attribute->attisdropped)
		{
			/* not inside of Min(), which would read it twice */
			uint64 attlen = take_varint(&ahead);

			columns[att].attlen = (int16) Min(attlen, PG_INT16_MAX);
		}
		if ((classes[att] != PACK_CLASS_NONE || !attribute->attisdropped) &&
			!class_fits(classes[att], attribute, &cursor))
			pack_corrupt(att, "its class does not fit the column");
	}
	if (reader->nrows < reader->span)
		take_positions(reader, &cursor);
	reader->tiny_values = MemoryContextAllocHuge(reader->context, (cells + 1) * sizeof(Datum));
	reader->tiny_nulls = MemoryContextAllocHuge(reader->context, cells + 1);

	/* each by-reference cell takes its bytes, a header and alignment on both sides */
	room = length + cells * (VARHDRSZ + 3 * MAXIMUM_ALIGNOF) + MAXIMUM_ALIGNOF;
	take_rows(reader, &cursor, classes, columns, MemoryContextAllocHuge(reader->context, room));
	pfree(columns);
	reader->tiny_classes = classes;
}

/* ---------------------------------------------------------------- vectors ---- */

static void
tiny_numbers(PackReader *reader, const Datum *values, const bool *nulls, ReaderColumn *column,
			 PackVector *out)
{
	int64 *integers = (int64 *) column->codes;
	bool any = false;

	out->is_numeric = true;
	if (column->exceptions == NULL)
	{
		column->exceptions = MemoryContextAlloc(reader->context, PACK_VECTOR * sizeof(Datum));
		column->exception_rows = MemoryContextAlloc(reader->context, PACK_VECTOR * sizeof(uint16));
	}
	out->exceptions = column->exceptions;
	out->exception_rows = column->exception_rows;
	for (int i = 0; i < out->nrows; i++)
	{
		int scale;
		int128 value = 0;
		Pointer pointer = DatumGetPointer(values[i]);
		PackNumericForm form;

		integers[i] = 0;
		if (nulls[i])
			continue;
		form = pack_numeric_parse((const uint8 *) VARDATA_ANY(pointer), VARSIZE_ANY_EXHDR(pointer),
								  &scale, &value);
		if (form == PACK_NUMERIC_INT64 && !any)
		{
			any = true;
			out->scale = scale;
		}
		if (form == PACK_NUMERIC_INT64 && scale == out->scale)
			integers[i] = (int64) value;
		else
		{
			column->exception_rows[out->nexceptions] = i;
			column->exceptions[out->nexceptions++] = values[i];
		}
	}
}

/*
 * The class of an attribute's values: as the pack says, or for the missing value of a new
 * attribute by its type.  The latter is the one catalog lookup of the reader, and needed only for
 * domains.
 */
static PackClass
cell_class(PackReader *reader, int att)
{
	Form_pg_attribute attribute = TupleDescAttr(reader->desc, att);
	Oid type = attribute->atttypid;
	PackOrder order;

	if (reader->tiny && att < reader->natts)
		return reader->tiny_classes[att];
	if (type >= FirstNormalObjectId)
		type = getBaseType(type);
	return pack_classify(type, attribute->attlen, attribute->attbyval, &order);
}

static void
tiny_strings(PackReader *reader, PackClass klass, const Datum *values, const bool *nulls,
			 ReaderColumn *column, PackVector *out)
{
	if (column->strings == NULL)
		column->strings = MemoryContextAlloc(reader->context, PACK_VECTOR * sizeof(PackString));
	out->strings = column->strings;
	for (int i = 0; i < out->nrows; i++)
	{
		column->strings[i].data = (const uint8 *) "";
		column->strings[i].length = 0;
		if (!nulls[i])
			column->strings[i] = pack_value_bytes(klass, column->attlen, values[i]);
	}
}

/*
 * A vector from datums: of a row-wise pack (one block), or of the missing value of a new
 * attribute.
 */
void
pack_tiny_vector(PackReader *reader, int att, PackVector *out)
{
	ReaderColumn *column = pack_column(reader, att);
	PackClass klass = cell_class(reader, att);
	Datum repeated[PACK_VECTOR];
	bool no_nulls[PACK_VECTOR];
	const Datum *values;
	const bool *nulls;

	if (column->codes == NULL)
		column->codes = pack_align_alloc(reader, PACK_VECTOR * sizeof(int128));
	if (column->constant)
	{
		for (int i = 0; i < out->nrows; i++)
			repeated[i] = column->value;
		memset(no_nulls, 0, sizeof(no_nulls));
		values = repeated;
		nulls = no_nulls;
	}
	else
	{
		values = reader->tiny_values + (uint64) att * reader->nrows;
		nulls = reader->tiny_nulls + (uint64) att * reader->nrows;
	}
	memset(column->valid, 0, sizeof(column->valid));
	for (int i = 0; i < out->nrows; i++)
	{
		out->nulls += nulls[i];
		column->valid[i / 64] |= (uint64) !nulls[i] << (i % 64);
	}
	out->valid = out->nulls > 0 ? column->valid : NULL;
	out->step = 1;
	out->lane = 8;
	out->codes = column->codes;
	switch (klass)
	{
		case PACK_CLASS_NUMERIC:
			tiny_numbers(reader, values, nulls, column, out);
			break;
		case PACK_CLASS_INT:
		case PACK_CLASS_UINT:
			for (int i = 0; i < out->nrows; i++)
				((int64 *) column->codes)[i] = pack_datum_int(klass, column->attlen, values[i]);
			break;
		case PACK_CLASS_FLOAT4:
			out->kind = PACK_VECTOR_FLOAT4;
			out->lane = 4;
			for (int i = 0; i < out->nrows; i++)
				((uint32 *) column->codes)[i] = (uint32) values[i];
			break;
		case PACK_CLASS_FLOAT8:
			out->kind = PACK_VECTOR_FLOAT8;
			memcpy(column->codes, values, out->nrows * sizeof(Datum));
			break;
		default:
			out->kind = PACK_VECTOR_BYTES;
			out->lane = 0;
			out->codes = NULL;
			tiny_strings(reader, klass, values, nulls, column, out);
			break;
	}
}
