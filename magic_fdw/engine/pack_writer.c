/*
 * pack_writer.c
 *		Buffers rows, column by column, until they are made into a pack.
 *
 * By-value datums are kept as they are; by-reference ones are copied, flat and aligned, into an
 * arena of large allocations, so that a buffered row can be read back by pointing at it. Many rows are
 * taken column by column, which leaves a column's values near each other.
 *
 * numerics of packs of many rows are kept as integers as long as all have the same scale: then nothing is
 * left for the encoder to read. The first one that is not, or the first that is read back, makes datums of
 * the column's.
 */
#include "engine/pack_writer.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "engine/pack_numeric.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/*
 * Least and largest piece the arena is extended by; larger values get an allocation of their own. Pieces
 * of so many bytes are kept for the next pack: what the system hands out anew it clears first.
 */
#define ARENA_FIRST 8192
#define ARENA_SLACK 8
#define ARENA_PIECE (256 * 1024)
#define ARENA_KEPT (16 * 1024 * 1024)

typedef struct ArenaPiece
{
	struct ArenaPiece *next;
	Size size; /* of what follows, ARENA_SLACK not counted */
} ArenaPiece;

#define FIRST_ROOM 64

/* Between the arrays of two columns, so that a row's values do not share one set of cache lines. */
#define ARRAY_STAGGER 192

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
	column->scale = -1;
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

/* Where a column's arrays begin in the columns' common memory. */
static Size
array_stride(uint32 room)
{
	return (Size) room * (sizeof(Datum) + 1) + ARRAY_STAGGER;
}

/* Makes room for `more` rows. */
static void
grow(PackWriter *writer, uint32 more)
{
	uint32 room = Max(writer->room, FIRST_ROOM / 2);
	char *arrays;
	char *at;

	if (more > PACK_MAX_ROWS - writer->nrows)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a pack cannot hold more than %d rows", PACK_MAX_ROWS)));
	do
		room *= 2;
	while (room < writer->nrows + more);
	if (writer->positions != NULL)
		writer->positions = repalloc(writer->positions, room * sizeof(uint32));
	at = arrays =
		MemoryContextAllocHuge(writer->context, Max(writer->natts, 1) * array_stride(room));
	for (int att = 0; att < writer->natts; att++, at += array_stride(room))
	{
		WriterColumn *column = &writer->columns[att];

		if (column->dropped)
			continue;
		if (writer->nrows > 0)
		{
			memcpy(at, column->values, writer->nrows * sizeof(Datum));
			memcpy(at + room * sizeof(Datum), column->nulls, writer->nrows);
		}
		column->values = (Datum *) at;
		column->nulls = (uint8 *) at + room * sizeof(Datum);
	}
	if (writer->arrays != NULL)
		pfree(writer->arrays);
	writer->arrays = arrays;
	writer->room = room;
}

/* Room in the arena where the piece being filled has not enough left. */
static pg_noinline char *
arena_more(PackWriter *writer, Size size)
{
	Size wanted = writer->arena_bytes < ARENA_PIECE ? ARENA_FIRST : ARENA_PIECE;
	ArenaPiece **link = writer->piece != NULL ? &writer->piece->next : &writer->pieces;
	ArenaPiece *piece = *link;

	if (size > wanted / 4)
	{
		char *at = MemoryContextAllocHuge(writer->arena, size + ARENA_SLACK);

		writer->arena_bytes += size;
		return at;
	}
	if (piece == NULL || piece->size < size)
	{
		piece = MemoryContextAlloc(writer->context,
								   MAXALIGN(sizeof(ArenaPiece)) + wanted + ARENA_SLACK);
		piece->size = wanted;
		piece->next = *link;
		*link = piece;
	}
	writer->piece = piece;
	writer->arena_bytes += piece->size;
	writer->arena_next = (char *) piece + MAXALIGN(sizeof(ArenaPiece)) + size;
	writer->arena_left = piece->size - size;
	return writer->arena_next - size;
}

/* Room in the arena, aligned for any type if so wanted; behind it ARENA_SLACK bytes may be read. */
static inline char *
arena_alloc(PackWriter *writer, Size size, bool aligned)
{
	char *at = aligned ? (char *) MAXALIGN(writer->arena_next) : writer->arena_next;
	Size taken = (at - writer->arena_next) + size;

	if (unlikely(taken > writer->arena_left))
		return arena_more(writer, size);
	writer->arena_next += taken;
	writer->arena_left -= taken;
	return at;
}

/* Forgets what is in the arena. */
static void
arena_reset(PackWriter *writer)
{
	Size kept = 0;
	ArenaPiece **link = &writer->pieces;

	while (*link != NULL && kept + (*link)->size <= ARENA_KEPT)
	{
		kept += (*link)->size;
		link = &(*link)->next;
	}
	while (*link != NULL)
	{
		ArenaPiece *piece = *link;

		*link = piece->next;
		pfree(piece);
	}
	MemoryContextReset(writer->arena);
	writer->piece = NULL;
	writer->arena_next = NULL;
	writer->arena_left = 0;
	writer->arena_bytes = 0;
}

/* Memory of at least `size` bytes, with whatever was in it. */
void *
pack_room(PackWriter *writer, PackRoom *room, Size size)
{
	if (room->size < size)
	{
		if (room->data != NULL)
			pfree(room->data);
		room->data = NULL;
		room->size = 0;
		room->data = MemoryContextAllocHuge(writer->context, size);
		room->size = size;
	}
	return room->data;
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

/*
 * A numeric as an integer of the column's scale, which the first value sets; false if it is none.
 */
static inline bool
scale_value(WriterColumn *column, Datum value, Datum *scaled)
{
	Pointer source = DatumGetPointer(value);
	int scale;
	int128 integer;

	if (VARATT_IS_EXTERNAL(source) || VARATT_IS_COMPRESSED(source) ||
		pack_numeric_parse((const uint8 *) VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source), &scale,
						   &integer) != PACK_NUMERIC_INT64)
		return false;
	if (column->scale != scale)
	{
		if (column->scale >= 0)
			return false;
		column->scale = scale;
	}
	*scaled = (Datum) (int64) integer;
	return true;
}

/* Makes datums of the first `nrows` scaled integers of a column, which from now on has datums. */
void
pack_writer_unscale(PackWriter *writer, WriterColumn *column, uint32 nrows)
{
	uint8 *built;

	Assert(column->scaled);
	if (nrows > column->null_count)
	{
		/* nothing may fail behind this */
		built = MemoryContextAllocHuge(writer->arena,
									   (Size) nrows * PACK_NUMERIC_STRIDE64 + ARENA_SLACK);
		writer->arena_bytes += (Size) nrows * PACK_NUMERIC_STRIDE64;
		for (uint32 i = 0; i < nrows; i++, built += PACK_NUMERIC_STRIDE64)
		{
			Size payload;

			if (column->nulls[i])
				continue;
			pack_numeric_build64((int64) column->values[i], column->scale, built);
			column->values[i] = PointerGetDatum(built);
			payload = VARSIZE(built) - VARHDRSZ;
			column->bytes += payload;
			column->longest = Max(column->longest, payload);
		}
	}
	column->scaled = false;
}

/* Takes the value of a row that is not null, of a column passed by reference. */
static inline Datum
take_value(PackWriter *writer, WriterColumn *column, uint32 row, Datum value)
{
	Datum scaled;

	if (column->scaled)
	{
		if (likely(scale_value(column, value, &scaled)))
			return scaled;
		pack_writer_unscale(writer, column, row);
		column->no_scale = true;
	}
	return copy_value(writer, column, value);
}

void
pack_writer_append_at(PackWriter *writer, uint32 position, const Datum *values, const bool *isnull)
{
	uint32 row = writer->nrows;

	if (position < writer->next_position || position == PG_UINT32_MAX)
		elog(ERROR, "pack position %u is out of order", position);
	if (row == writer->room)
		grow(writer, 1);
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
				column->byval ? values[att] : take_value(writer, column, row, values[att]);
		column->nulls[row] = isnull[att];
	}
	for (int att = 0; att < writer->natts; att++)
		writer->columns[att].null_count += isnull[att];
	if (writer->positions != NULL)
		writer->positions[row] = position;
	writer->next_position = position + 1;
	writer->nrows++;
}

/* Takes the values of a column of `n` rows. */
static void
append_column(PackWriter *writer, int att, const Datum *const *values, const bool *const *isnull,
			  uint32 n)
{
	WriterColumn *column = &writer->columns[att];
	Datum *to = column->values + writer->nrows;
	uint8 *nulls = column->nulls + writer->nrows;
	uint32 null_count = 0;

	for (uint32 i = 0; i < n; i++)
		null_count += nulls[i] = isnull[i][att];
	column->added_nulls = null_count;
	for (uint32 i = 0; i < n; i++)
	{
		if (nulls[i])
			to[i] = (Datum) 0;
		else
			to[i] = column->byval ? values[i][att]
								  : take_value(writer, column, writer->nrows + i, values[i][att]);
	}
}

void
pack_writer_append_many(PackWriter *writer, const Datum *const *values, const bool *const *isnull,
						uint32 n)
{
	uint32 row = writer->nrows;

	if (n > PG_UINT32_MAX - writer->next_position)
		elog(ERROR, "pack position %u is out of order", writer->next_position);
	if (n > writer->room - row)
		grow(writer, n);
	for (int att = 0; att < writer->natts; att++)
	{
		WriterColumn *column = &writer->columns[att];

		if (row == 0 && n >= PACK_TINY_ROWS && column->klass == PACK_CLASS_NUMERIC)
			column->scaled = !column->dropped && !column->no_scale;
		if (!column->dropped)
			append_column(writer, att, values, isnull, n);
	}

	/* nothing fails any more */
	for (int att = 0; att < writer->natts; att++)
		if (!writer->columns[att].dropped)
			writer->columns[att].null_count += writer->columns[att].added_nulls;
	for (uint32 i = 0; writer->positions != NULL && i < n; i++)
		writer->positions[row + i] = writer->next_position + i;
	writer->next_position += n;
	writer->nrows += n;
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
	if (*isnull)
		return (Datum) 0;
	if (column->scaled)
		pack_writer_unscale(writer, column, writer->nrows);
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
	pack_buffer_init(&buffer, writer->parent, writer->last_length + writer->last_length / 8 + 1024);
	pack_encode(writer, span, &buffer);
	writer->last_length = buffer.length;
	MemoryContextReset(writer->scratch);
	out->data = buffer.data;
	out->length = buffer.length;
}

void
pack_writer_reset(PackWriter *writer)
{
	bool few = writer->nrows <= PACK_TINY_ROWS;

	arena_reset(writer);
	MemoryContextReset(writer->scratch);
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
		column->scaled =
			column->klass == PACK_CLASS_NUMERIC && !column->dropped && !column->no_scale && !few;
	}
}

void
pack_writer_free(PackWriter *writer)
{
	MemoryContextDelete(writer->context);
}
