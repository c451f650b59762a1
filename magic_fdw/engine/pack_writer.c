/*
 * pack_writer.c
 *		Buffers rows, column by column, until they are made into a pack.
 *
 * By-value datums are kept as they are; by-reference ones are copied, flat and aligned, into an
 * arena of large allocations, so that a buffered row can be read back by pointing at it.
 */
#include "engine/pack_writer.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Least and largest piece the arena is extended by; larger values get a piece of their own. */
#define ARENA_FIRST 8192
#define ARENA_SLACK 8
#define ARENA_PIECE (256 * 1024)

#define FIRST_ROOM 64

/*
 * How values of a type, given its base type, are stored and compare.  A float passed by reference
 * does not occur on the platforms supported.
 */
PackClass
pack_classify(Oid base_type, int16 attlen, bool byval, PackOrder *order)
{
	*order = PACK_ORDER_NONE;
	switch (base_type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case CASHOID:
			*order = PACK_ORDER_INT;
			return PACK_CLASS_INT;
		case CHAROID:
		case OIDOID:
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGCOLLATIONOID:
			*order = PACK_ORDER_INT;
			return PACK_CLASS_UINT;
		case FLOAT4OID:
			*order = PACK_ORDER_FLOAT;
			return PACK_CLASS_FLOAT4;
		case FLOAT8OID:
			*order = PACK_ORDER_FLOAT;
			return PACK_CLASS_FLOAT8;
		case NUMERICOID:
			*order = PACK_ORDER_INT;
			return PACK_CLASS_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case BYTEAOID:
		case UUIDOID:
			*order = PACK_ORDER_BYTES;
			break;
		default:
			break;
	}
	if (byval)
		return PACK_CLASS_INT;
	if (attlen > 0)
		return PACK_CLASS_FIXED;
	return attlen == -1 ? PACK_CLASS_VARLENA : PACK_CLASS_CSTRING;
}

static void
describe_column(WriterColumn *column, Form_pg_attribute attribute)
{
	column->attlen = attribute->attlen;
	column->byval = attribute->attbyval;
	column->dropped = attribute->attisdropped;
	column->packable = attribute->attlen == -1 && attribute->attstorage != TYPSTORAGE_PLAIN;
	if (!column->dropped)
		column->klass = pack_classify(getBaseType(attribute->atttypid), attribute->attlen,
									  attribute->attbyval, &column->order);
}

PackWriter *
pack_writer_create(TupleDesc desc, MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "pack writer", ALLOCSET_SMALL_SIZES);
	PackWriter *writer = MemoryContextAllocZero(context, sizeof(PackWriter));

	writer->parent = parent;
	writer->context = context;
	writer->arena = AllocSetContextCreate(context, "pack writer arena", ALLOCSET_SMALL_SIZES);
	writer->scratch = AllocSetContextCreate(context, "pack writer scratch", ALLOCSET_SMALL_SIZES);
	writer->natts = desc->natts;
	writer->columns = MemoryContextAllocZero(context, sizeof(WriterColumn) * Max(desc->natts, 1));
	for (int att = 0; att < desc->natts; att++)
		describe_column(&writer->columns[att], TupleDescAttr(desc, att));
	return writer;
}

/* Makes room for one more row. */
static void
grow(PackWriter *writer)
{
	uint32 room = writer->room == 0 ? FIRST_ROOM : writer->room * 2;

	if (writer->nrows >= PACK_MAX_ROWS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a pack cannot hold more than %d rows", PACK_MAX_ROWS)));
	for (int att = 0; att < writer->natts; att++)
	{
		WriterColumn *column = &writer->columns[att];

		if (column->dropped)
			continue;
		if (column->values == NULL)
		{
			column->values = MemoryContextAlloc(writer->context, room * sizeof(Datum));
			column->nulls = MemoryContextAlloc(writer->context, room);
			continue;
		}

		/* an earlier attempt may have failed half way: sizes are all at least writer->room */
		column->values = repalloc(column->values, room * sizeof(Datum));
		column->nulls = repalloc(column->nulls, room);
	}
	if (writer->positions != NULL)
		writer->positions = repalloc(writer->positions, room * sizeof(uint32));
	writer->room = room;
}

/* Room in the arena, aligned for any type if so wanted; behind it ARENA_SLACK bytes may be read. */
static inline char *
arena_alloc(PackWriter *writer, Size size, bool aligned)
{
	char *at = aligned ? (char *) MAXALIGN(writer->arena_next) : writer->arena_next;
	Size taken = (at - writer->arena_next) + size;

	if (unlikely(taken > writer->arena_left))
	{
		Size piece = writer->arena_bytes < ARENA_PIECE ? ARENA_FIRST : ARENA_PIECE;

		if (size > piece / 4)
		{
			at = MemoryContextAllocHuge(writer->arena, size + ARENA_SLACK);
			writer->arena_bytes += size;
			return at;
		}
		at = writer->arena_next = MemoryContextAlloc(writer->arena, piece + ARENA_SLACK);
		writer->arena_left = piece;
		writer->arena_bytes += piece;
		taken = size;
	}
	writer->arena_next += taken;
	writer->arena_left -= taken;
	return at;
}

/*
 * Copies a varlena. Short ones lose the long header, and with it their alignment: rows lie denser, which is
 * what writing a pack spends its time on.
 */
static char *
copy_varlena(PackWriter *writer, const WriterColumn *column, Pointer flat, Size *payload)
{
	Size size = VARSIZE_ANY(flat);
	char *copy;

	*payload = VARSIZE_ANY_EXHDR(flat);
	if (column->packable && *payload + VARHDRSZ_SHORT <= VARATT_SHORT_MAX)
	{
		copy = arena_alloc(writer, *payload + VARHDRSZ_SHORT, false);
		SET_VARSIZE_SHORT(copy, *payload + VARHDRSZ_SHORT);
		memcpy(copy + VARHDRSZ_SHORT, VARDATA_ANY(flat), *payload);
		return copy;
	}
	copy = arena_alloc(writer, size, true);
	memcpy(copy, flat, size);
	return copy;
}

/* Copies a by-reference value into the arena; adds its payload to the column's figures. */
static Datum
copy_value(PackWriter *writer, WriterColumn *column, Datum value)
{
	Pointer source = DatumGetPointer(value);
	Pointer flat = source;
	Size payload;
	char *copy;

	switch (column->klass)
	{
		case PACK_CLASS_FIXED:
			payload = column->attlen;
			copy = memcpy(arena_alloc(writer, payload, true), source, payload);
			break;
		case PACK_CLASS_CSTRING:
			payload = strlen(source);
			copy = memcpy(arena_alloc(writer, payload + 1, false), source, payload + 1);
			break;
		default:
			if (VARATT_IS_EXTERNAL(source) || VARATT_IS_COMPRESSED(source))
				flat = (Pointer) detoast_attr((struct varlena *) source);
			copy = copy_varlena(writer, column, flat, &payload);
			if (flat != source)
				pfree(flat);
			break;
	}
	column->bytes += payload;
	column->longest = Max(column->longest, payload);
	return PointerGetDatum(copy);
}

void
pack_writer_append_at(PackWriter *writer, uint32 position, const Datum *values, const bool *isnull)
{
	uint32 row = writer->nrows;

	if (position < writer->next_position || position == PG_UINT32_MAX)
		elog(ERROR, "pack position %u is out of order", position);
	if (row == writer->room)
		grow(writer);
	if (position != row && writer->positions == NULL)
	{
		writer->positions = MemoryContextAlloc(writer->context, writer->room * sizeof(uint32));
		for (uint32 i = 0; i < row; i++)
			writer->positions[i] = i;
	}

	/* what may fail comes before the figures that say how many rows there are */
	for (int att = 0; att < writer->natts; att++)
	{
		WriterColumn *column = &writer->columns[att];

		if (column->dropped)
			continue;
		if (isnull[att])
			column->values[row] = (Datum) 0;
		else
			column->values[row] =
				column->byval ? values[att] : copy_value(writer, column, values[att]);
		column->nulls[row] = isnull[att];
	}
	for (int att = 0; att < writer->natts; att++)
		writer->columns[att].null_count += isnull[att];
	if (writer->positions != NULL)
		writer->positions[row] = position;
	writer->next_position = position + 1;
	writer->nrows++;
}

void
pack_writer_append(PackWriter *writer, const Datum *values, const bool *isnull)
{
	pack_writer_append_at(writer, writer->next_position, values, isnull);
}

int
pack_writer_natts(const PackWriter *writer)
{
	return writer->natts;
}

uint32
pack_writer_rows(const PackWriter *writer)
{
	return writer->nrows;
}

uint32
pack_writer_next_position(const PackWriter *writer)
{
	return writer->next_position;
}

Size
pack_writer_memory(const PackWriter *writer)
{
	return writer->arena_bytes - writer->arena_left +
		   (Size) writer->nrows * writer->natts * (sizeof(Datum) + 1);
}

bool
pack_writer_find(const PackWriter *writer, uint32 position, uint32 *index)
{
	uint32 low = 0;
	uint32 high = writer->nrows;

	if (writer->positions == NULL)
	{
		*index = position;
		return position < writer->nrows;
	}
	while (low < high)
	{
		uint32 middle = low + (high - low) / 2;

		if (writer->positions[middle] < position)
			low = middle + 1;
		else
			high = middle;
	}
	*index = low;
	return low < writer->nrows && writer->positions[low] == position;
}

Datum
pack_writer_fetch_att(PackWriter *writer, int att, uint32 index, bool *isnull)
{
	WriterColumn *column = &writer->columns[att];

	Assert(index < writer->nrows);
	if (column->dropped)
	{
		*isnull = true;
		return (Datum) 0;
	}
	*isnull = column->nulls[index];
	return column->values[index];
}

void
pack_writer_fetch(PackWriter *writer, uint32 index, Datum *values, bool *isnull)
{
	for (int att = 0; att < writer->natts; att++)
		values[att] = pack_writer_fetch_att(writer, att, index, &isnull[att]);
}

void
pack_writer_finish(PackWriter *writer, uint32 span, PackBytes *out)
{
	PackBuffer buffer;

	if (span < writer->next_position)
		elog(ERROR, "pack span %u is below its last position %u", span, writer->next_position);
	pack_buffer_init(&buffer, writer->parent, 1024);
	pack_encode(writer, span, &buffer);
	MemoryContextReset(writer->scratch);
	out->data = buffer.data;
	out->length = buffer.length;
}

void
pack_writer_reset(PackWriter *writer)
{
	MemoryContextReset(writer->arena);
	MemoryContextReset(writer->scratch);
	writer->arena_next = NULL;
	writer->arena_left = 0;
	writer->arena_bytes = 0;
	writer->nrows = 0;
	writer->next_position = 0;
	if (writer->positions != NULL)
		pfree(writer->positions);
	writer->positions = NULL;
	for (int att = 0; att < writer->natts; att++)
	{
		WriterColumn *column = &writer->columns[att];

		column->null_count = 0;
		column->bytes = 0;
		column->longest = 0;
	}
}

void
pack_writer_free(PackWriter *writer)
{
	MemoryContextDelete(writer->context);
}
