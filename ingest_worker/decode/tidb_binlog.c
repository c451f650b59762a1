/*-------------------------------------------------------------------------
 *
 * tidb_binlog.c
 *		Protocol "tidb-binlog" from Kafka: the secondary binlog.
 *
 * One message is one transaction or one DDL statement (proto2, package
 * slave.binlog):
 *
 *		Binlog			1 type (0 DML, 1 DDL)  2 commit_ts  3 DMLData  4 DDLData
 *		DMLData			1 Table ...
 *		DDLData			1 schema_name  2 table_name  3 ddl_query
 *		Table			1 schema_name  2 table_name  3 ColumnInfo ...
 *						4 TableMutation ...  5 Key ...
 *		ColumnInfo		1 name  2 mysql_type  3 is_primary_key  4 flen  5 decimal
 *		Key				1 name  2 column_names ...
 *		TableMutation	1 type (0 insert, 1 update, 2 delete)  2 row  3 change_row
 *		Row				1 Column ...
 *		Column			1 is_null  2 int64  3 uint64  4 double  5 bytes  6 string
 *
 * An update has the new row in row and the old one in change_row.  A row has
 * one Column for each ColumnInfo, by position.  See README.md for the rest.
 *
 * A table is walked twice: for its description, stepping over the mutations
 * by their length, and for the mutations.  So fields may come in any order.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/decoder.h"

#include <stdlib.h>
#include <string.h>

/* What the first walk over a Table finds. */
typedef struct TableShape
{
	EventSlice database;
	EventSlice table;
	uint32_t columns;
	uint32_t mutations;
	uint32_t keys;
	uint32_t key_columns;
} TableShape;

/* The description of the table at hand. */
typedef struct TableWalk
{
	EventTable table;
	EventColumn *columns; /* table.columns, writable */
} TableWalk;

/* ------------------------------------------------------------------------
 * The description of a table
 * ------------------------------------------------------------------------
 */

/* Count the columns of a Key; names are read later. */
static bool
count_key_columns(Wire key, uint32_t *count)
{
	Wire content;
	uint32_t tag;

	while (key.at < key.end)
	{
		if (!wire_tag(&key, &tag))
			return false;
		if (tag != WIRE_TAG(1, WIRE_BYTES) && tag != WIRE_TAG(2, WIRE_BYTES))
		{
			if (!wire_skip(&key, tag, "Key", 2))
				return false;
			continue;
		}
		if (!wire_bytes(&key, &content))
			return false;
		if (tag == WIRE_TAG(2, WIRE_BYTES))
			(*count)++;
	}
	return true;
}

static bool
measure_table(Wire wire, TableShape *shape)
{
	const uint8_t *begin = wire.at;
	Wire content;
	uint32_t tag;

	memset(shape, 0, sizeof(*shape));
	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_BYTES):
				if (!wire_slice(&wire, &shape->database))
					return false;
				break;
			case WIRE_TAG(2, WIRE_BYTES):
				if (!wire_slice(&wire, &shape->table))
					return false;
				break;
			case WIRE_TAG(3, WIRE_BYTES):
				if (!wire_bytes(&wire, &content))
					return false;
				shape->columns++;
				break;
			case WIRE_TAG(4, WIRE_BYTES):
				if (!wire_bytes(&wire, &content))
					return false;
				shape->mutations++;
				break;
			case WIRE_TAG(5, WIRE_BYTES):
				if (!wire_bytes(&wire, &content) ||
					!count_key_columns(content, &shape->key_columns))
					return false;
				shape->keys++;
				break;
			default:
				if (!wire_skip(&wire, tag, "Table", 5))
					return false;
		}
	}
	if (shape->table.len == 0 || shape->database.len == 0)
		return decode_fail(wire.decoder, DECODE_ERROR_MISSING, begin, "table without a name");
	if (shape->columns == 0 && shape->mutations > 0)
		return decode_fail(wire.decoder, DECODE_ERROR_MISSING, begin,
						   "rows of a table without columns");
	if (shape->columns > DECODE_MAX_COLUMNS || shape->keys > DECODE_MAX_KEYS ||
		shape->key_columns > DECODE_MAX_KEY_COLUMNS)
		return decode_fail(wire.decoder, DECODE_ERROR_UNSUPPORTED, begin,
						   "table with %u columns, %u keys, %u key columns is too wide",
						   shape->columns, shape->keys, shape->key_columns);
	return true;
}

static bool
read_column_info(Wire wire, EventColumn *column)
{
	const uint8_t *begin = wire.at;
	uint64_t value;
	uint32_t tag;

	column->flen = -1;
	column->decimal = -1;
	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_BYTES):
				if (!wire_slice(&wire, &column->name))
					return false;
				break;
			case WIRE_TAG(2, WIRE_BYTES):
				if (!wire_slice(&wire, &column->mysql_type))
					return false;
				break;
			case WIRE_TAG(3, WIRE_VARINT):
				if (!wire_varint(&wire, &value))
					return false;
				column->is_primary_key = value != 0;
				break;
			case WIRE_TAG(4, WIRE_VARINT):
				if (!wire_varint(&wire, &value))
					return false;
				column->flen = (int32_t) value;
				column->has_length = true;
				break;
			case WIRE_TAG(5, WIRE_VARINT):
				if (!wire_varint(&wire, &value))
					return false;
				column->decimal = (int32_t) value;
				column->has_length = true;
				break;
			default:
				if (!wire_skip(&wire, tag, "ColumnInfo", 5))
					return false;
		}
	}
	if (column->name.len == 0 || column->mysql_type.len == 0)
		return decode_fail(wire.decoder, DECODE_ERROR_MISSING, begin,
						   "column without a name or type");
	decoder_classify_column(column);
	return true;
}

/* The position of a column, -1 when there is none. */
static int
find_column(const EventTable *table, EventSlice name)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (slice_equal(table->columns[i].name, name))
			return i;
	}
	return -1;
}

/* Read a Key; names and positions are room for its columns. */
static bool
read_key(Wire wire, const EventTable *table, EventKey *key, EventSlice *names, int *positions)
{
	uint32_t tag;

	key->column_names = names;
	key->columns = positions;
	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_BYTES):
				if (!wire_slice(&wire, &key->name))
					return false;
				break;
			case WIRE_TAG(2, WIRE_BYTES):
				if (!wire_slice(&wire, &names[key->ncolumns]))
					return false;
				positions[key->ncolumns] = find_column(table, names[key->ncolumns]);
				key->ncolumns++;
				break;
			default:
				if (!wire_skip(&wire, tag, "Key", 2))
					return false;
		}
	}
	return true;
}

/*
 * Drainers before 3.0.9 send no keys, but mark the primary key's columns: make the key from the
 * marks.
 */
static bool
derive_primary_key(Decoder *d, TableWalk *walk)
{
	EventTable *table = &walk->table;
	int count = 0;
	EventKey *key;
	EventSlice *names;
	int *positions;

	for (int i = 0; i < table->ncolumns; i++)
		count += table->columns[i].is_primary_key;
	if (count == 0)
		return true;
	key = arena_calloc(d->arena, 1, sizeof(EventKey));
	names = arena_calloc(d->arena, (size_t) count, sizeof(EventSlice));
	positions = arena_calloc(d->arena, (size_t) count, sizeof(int));
	if (key == NULL || names == NULL || positions == NULL)
		return decoder_out_of_memory(d, d->record);
	key->name.data = "PRIMARY";
	key->name.len = 7;
	key->column_names = names;
	key->columns = positions;
	for (int i = 0; i < table->ncolumns; i++)
	{
		if (!table->columns[i].is_primary_key)
			continue;
		names[key->ncolumns] = table->columns[i].name;
		positions[key->ncolumns++] = i;
	}
	table->keys = key;
	table->nkeys = 1;
	return true;
}

/* Read the columns, then the keys, which name columns. */
static bool
read_table(Decoder *d, Wire wire, const TableShape *shape, TableWalk *walk)
{
	EventTable *table = &walk->table;
	EventKey *keys = arena_calloc(d->arena, shape->keys, sizeof(EventKey));
	EventSlice *names = arena_calloc(d->arena, shape->key_columns, sizeof(EventSlice));
	int *positions = arena_calloc(d->arena, shape->key_columns, sizeof(int));
	Wire again = wire;
	Wire content;
	uint32_t tag;

	memset(walk, 0, sizeof(*walk));
	walk->columns = arena_calloc(d->arena, shape->columns, sizeof(EventColumn));
	if (keys == NULL || names == NULL || positions == NULL || walk->columns == NULL)
		return decoder_out_of_memory(d, wire.at);
	table->serial = ++d->serial;
	table->database = shape->database;
	table->table = shape->table;
	table->columns = walk->columns;
	table->has_key_info = true;

	while (wire.at < wire.end && table->ncolumns < (int) shape->columns)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		if (tag != WIRE_TAG(3, WIRE_BYTES))
		{
			if (!wire_skip(&wire, tag, "Table", 0))
				return false;
			continue;
		}
		if (!wire_bytes(&wire, &content) ||
			!read_column_info(content, &walk->columns[table->ncolumns]))
			return false;
		table->ncolumns++;
	}
	if (shape->keys == 0)
		return derive_primary_key(d, walk);
	table->keys = keys;
	while (again.at < again.end && table->nkeys < (int) shape->keys)
	{
		EventKey *key = &keys[table->nkeys];

		if (!wire_tag(&again, &tag))
			return false;
		if (tag != WIRE_TAG(5, WIRE_BYTES))
		{
			if (!wire_skip(&again, tag, "Table", 0))
				return false;
			continue;
		}
		if (!wire_bytes(&again, &content) || !read_key(content, table, key, names, positions))
			return false;
		names += key->ncolumns;
		positions += key->ncolumns;
		table->nkeys++;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------------
 */

/* Read a Column as it comes: kind ABSENT when it has no value field and is not NULL. */
static inline bool
read_value(Wire *wire, EventValue *value)
{
	bool is_null = false;
	uint64_t number;
	EventSlice slice;
	uint32_t tag;

	value->kind = EVENT_VALUE_ABSENT;
	value->len = 0;
	value->u.u64 = 0;
	while (wire->at < wire->end)
	{
		if (!wire_tag(wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_VARINT):
				if (!wire_varint(wire, &number))
					return false;
				is_null = number != 0;
				break;
			case WIRE_TAG(2, WIRE_VARINT):
				if (!wire_varint(wire, &value->u.u64))
					return false;
				value->kind = EVENT_VALUE_INT64;
				break;
			case WIRE_TAG(3, WIRE_VARINT):
				if (!wire_varint(wire, &value->u.u64))
					return false;
				value->kind = EVENT_VALUE_UINT64;
				break;
			case WIRE_TAG(4, WIRE_FIXED64):
				if (!wire_fixed64(wire, &number))
					return false;
				memcpy(&value->u.f64, &number, sizeof(number));
				value->kind = EVENT_VALUE_DOUBLE;
				break;
			case WIRE_TAG(5, WIRE_BYTES):
				if (!wire_slice(wire, &slice))
					return false;
				value_set_slice(value, EVENT_VALUE_BYTES, slice);
				break;
			case WIRE_TAG(6, WIRE_BYTES):
				if (!wire_slice(wire, &slice))
					return false;
				value_set_slice(value, EVENT_VALUE_TEXT, slice);
				break;
			default:
				if (!wire_skip(wire, tag, "Column", 6))
					return false;
		}
	}
	if (is_null)
		value->kind = EVENT_VALUE_NULL;
	if (value->kind < EVENT_VALUE_BYTES)
		value->len = 0;
	return true;
}

static bool
width_error(Decoder *d, const void *at, const TableWalk *walk, bool more)
{
	return decode_fail(d, DECODE_ERROR_VALUE, at, "row of table \"%.*s\" has %s than %d columns",
					   (int) (walk->table.table.len > 64 ? 64 : walk->table.table.len),
					   walk->table.table.data, more ? "more" : "fewer", walk->table.ncolumns);
}

static bool
read_row(Decoder *d, Wire wire, TableWalk *walk, EventValue *values)
{
	const uint8_t *begin = wire.at;
	int ncolumns = walk->table.ncolumns;
	int column = 0;
	Wire content;
	uint32_t tag;

	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		if (__builtin_expect(tag != WIRE_TAG(1, WIRE_BYTES), 0))
		{
			if (!wire_skip(&wire, tag, "Row", 1))
				return false;
			continue;
		}
		if (!wire_bytes(&wire, &content))
			return false;
		if (column == ncolumns)
			return width_error(d, content.at, walk, true);
		if (!read_value(&content, &values[column]) ||
			!value_normalise(d, &walk->columns[column], &values[column], content.end))
			return false;
		column++;
	}
	return column == ncolumns || width_error(d, begin, walk, false);
}

static bool
read_mutation(Decoder *d, Wire wire, TableWalk *walk)
{
	const uint8_t *begin = wire.at;
	Wire row = {0};
	Wire change_row = {0};
	bool has_type = false;
	uint64_t type = 0;
	uint32_t tag;

	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_VARINT):
				if (!wire_varint(&wire, &type))
					return false;
				has_type = true;
				break;
			case WIRE_TAG(2, WIRE_BYTES):
				if (!wire_bytes(&wire, &row))
					return false;
				break;
			case WIRE_TAG(3, WIRE_BYTES):
				if (!wire_bytes(&wire, &change_row))
					return false;
				break;
			default:
				if (!wire_skip(&wire, tag, "TableMutation", 3))
					return false;
		}
	}
	if (!has_type || row.at == NULL || (type == EVENT_UPDATE && change_row.at == NULL))
		return decode_fail(d, DECODE_ERROR_MISSING, begin, "mutation without %s",
						   !has_type		? "a type"
						   : row.at == NULL ? "a row"
											: "the row before the change");
	switch (type)
	{
		case EVENT_INSERT:
			if (!read_row(d, row, walk, d->new_values))
				return false;
			break;
		case EVENT_UPDATE:
			if (!read_row(d, change_row, walk, d->old_values) ||
				!read_row(d, row, walk, d->new_values))
				return false;
			break;
		case EVENT_DELETE:
			if (!read_row(d, row, walk, d->old_values))
				return false;
			break;
		default:
			return decode_fail(d, DECODE_ERROR_VALUE, begin, "unknown type of mutation %llu",
							   (unsigned long long) type);
	}
	decoder_emit_row(d, begin, (EventRowKind) type, &walk->table);
	return true;
}

/*
 * Keep what the check saw of the columns' signs, or take what it kept.  Both passes meet the same
 * tables in the same order.
 */
static bool
remember_signs(Decoder *d, const TableWalk *walk)
{
	size_t count = (size_t) walk->table.ncolumns;

	if (d->seen_len + count > d->seen_room)
	{
		size_t room = (d->seen_len + count) * 2;
		uint8_t *seen = realloc(d->seen, room);

		if (seen == NULL)
			return decoder_out_of_memory(d, d->record);
		d->seen = seen;
		d->seen_room = room;
	}
	for (size_t i = 0; i < count; i++)
		d->seen[d->seen_len++] = (walk->columns[i].is_signed_seen ? SEEN_SIGNED : 0) |
								 (walk->columns[i].is_unsigned_seen ? SEEN_UNSIGNED : 0);
	return true;
}

static void
recall_signs(Decoder *d, TableWalk *walk)
{
	for (int i = 0; i < walk->table.ncolumns; i++)
	{
		uint8_t seen = d->seen[d->seen_at++];

		walk->columns[i].is_signed_seen = (seen & SEEN_SIGNED) != 0;
		walk->columns[i].is_unsigned_seen = (seen & SEEN_UNSIGNED) != 0;
	}
}

static bool
walk_table(Decoder *d, Wire wire)
{
	TableShape shape;
	TableWalk walk;
	Wire content;
	uint32_t tag;

	arena_reset(d->arena);
	d->skipping = false;
	if (!measure_table(wire, &shape) || !decoder_reserve_values(d, (int) shape.columns) ||
		!read_table(d, wire, &shape, &walk))
		return false;
	if (!d->checking)
		recall_signs(d, &walk);
	for (uint32_t left = shape.mutations; left > 0;)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		if (tag != WIRE_TAG(4, WIRE_BYTES))
		{
			if (!wire_skip(&wire, tag, "Table", 0))
				return false;
			continue;
		}
		if (!wire_bytes(&wire, &content))
			return false;
		left--;
		if (d->skipping)
			d->sequence++;
		else if (!read_mutation(d, content, &walk))
			return false;
		if (d->stopped)
			return true;
	}
	return !d->checking || remember_signs(d, &walk);
}

/* ------------------------------------------------------------------------
 * The message
 * ------------------------------------------------------------------------
 */

bool
tidb_binlog_walk_dml(Decoder *d, Wire wire)
{
	Wire content;
	uint32_t tag;

	while (wire.at < wire.end && !d->stopped)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		if (tag != WIRE_TAG(1, WIRE_BYTES))
		{
			if (!wire_skip(&wire, tag, "DMLData", 1))
				return false;
			continue;
		}
		if (!wire_bytes(&wire, &content) || !walk_table(d, content))
			return false;
	}
	return true;
}

bool
tidb_binlog_walk_ddl(Decoder *d, Wire wire)
{
	const uint8_t *begin = wire.at;
	Event ddl = {0};
	uint32_t tag;

	ddl.has_database = true;
	ddl.has_table_name = true;
	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_BYTES):
				if (!wire_slice(&wire, &ddl.ddl_database))
					return false;
				break;
			case WIRE_TAG(2, WIRE_BYTES):
				if (!wire_slice(&wire, &ddl.ddl_table))
					return false;
				break;
			case WIRE_TAG(3, WIRE_BYTES):
				if (!wire_slice(&wire, &ddl.ddl_text))
					return false;
				break;
			default:
				if (!wire_skip(&wire, tag, "DDLData", 3))
					return false;
		}
	}
	if (ddl.ddl_text.len == 0)
		return decode_fail(d, DECODE_ERROR_MISSING, begin, "DDL without a statement");
	decoder_emit_ddl(d, begin, &ddl);
	return true;
}
