/*-------------------------------------------------------------------------
 *
 * pb_binlog.c
 *		Protocol "tidb-binlog" from files: the payload of Drainer's records.
 *
 * One record is one transaction or one DDL statement (proto2, package
 * pb_binlog; the framing around it is pb_frame.h's):
 *
 *		Binlog		1 tp (0 DML, 1 DDL)  2 commit_ts  3 DMLData  4 ddl_query
 *		DMLData		1 Event ...
 *		Event		1 schema_name  2 table_name
 *					3 tp (0 insert, 1 update, 2 delete)  4 Column ...
 *		Column		1 name  2 tp (MySQL's type code)  3 mysql_type
 *					4 value  5 changed_value
 *
 * An Event is one row and describes itself.  Of an update value is the old
 * and changed_value the new one; they are datums (datum.c).
 *
 * A description made for a row is kept, and found again for the next row that
 * has the same table and columns, by comparing names and types.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/decoder.h"

#include <stdlib.h>
#include <string.h>

/* When so much was allocated for descriptions, forget them all rather than hold more. */
#define PB_ARENA_MAX ((size_t) 4 * 1024 * 1024)

/* One row as it came, its columns being in Decoder.pb_columns. */
typedef struct PbRow
{
	const uint8_t *at;
	EventSlice database;
	EventSlice table;
	uint64_t type;
	bool has_type;
	int ncolumns;
} PbRow;

/* ------------------------------------------------------------------------
 * Descriptions
 * ------------------------------------------------------------------------
 */

static bool
table_matches(const Decoder *d, const PbTable *cached, const PbRow *row)
{
	const EventTable *table = &cached->table;

	if (table->ncolumns != row->ncolumns || !slice_equal(table->table, row->table) ||
		!slice_equal(table->database, row->database))
		return false;
	for (int i = 0; i < row->ncolumns; i++)
	{
		if (!slice_equal(cached->columns[i].name, d->pb_columns[i].name) ||
			!slice_equal(cached->columns[i].mysql_type, d->pb_columns[i].mysql_type))
			return false;
	}
	return true;
}

static PbTable *
make_table(Decoder *d, const PbRow *row)
{
	PbTable *made = arena_calloc(d->arena, 1, sizeof(PbTable));

	if (made == NULL)
		return NULL;
	made->columns = arena_calloc(d->arena, (size_t) row->ncolumns, sizeof(EventColumn));
	if (made->columns == NULL)
		return NULL;
	made->table.serial = ++d->serial;
	made->table.database = row->database;
	made->table.table = row->table;
	made->table.ncolumns = row->ncolumns;
	made->table.columns = made->columns;
	for (int i = 0; i < row->ncolumns; i++)
	{
		made->columns[i].name = d->pb_columns[i].name;
		made->columns[i].mysql_type = d->pb_columns[i].mysql_type;
		made->columns[i].flen = -1;
		made->columns[i].decimal = -1;
		decoder_classify_column(&made->columns[i]);
	}
	return made;
}

/* The description of the row, moved to the front; NULL when there is no memory. */
static PbTable *
find_table(Decoder *d, const PbRow *row)
{
	PbTable *found = NULL;
	int i;

	for (i = 0; i < PB_TABLE_CACHE && d->pb_tables[i] != NULL; i++)
	{
		if (table_matches(d, d->pb_tables[i], row))
		{
			found = d->pb_tables[i];
			break;
		}
	}
	if (found == NULL)
	{
		if (arena_size(d->arena) > PB_ARENA_MAX)
		{
			arena_reset(d->arena);
			memset(d->pb_tables, 0, sizeof(d->pb_tables));
			i = 0;
		}
		found = make_table(d, row);
		if (found == NULL)
			return NULL;
		if (i == PB_TABLE_CACHE)
			i--;
	}
	memmove(&d->pb_tables[1], &d->pb_tables[0], (size_t) i * sizeof(PbTable *));
	d->pb_tables[0] = found;
	return found;
}

/* ------------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------------
 */

static bool
read_column(Wire wire, PbColumn *column)
{
	const uint8_t *begin = wire.at;
	EventSlice type;
	uint32_t tag;

	memset(column, 0, sizeof(*column));
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
				if (!wire_slice(&wire, &type))
					return false;
				break;
			case WIRE_TAG(3, WIRE_BYTES):
				if (!wire_slice(&wire, &column->mysql_type))
					return false;
				break;
			case WIRE_TAG(4, WIRE_BYTES):
				if (!wire_slice(&wire, &column->value))
					return false;
				column->has_value = true;
				break;
			case WIRE_TAG(5, WIRE_BYTES):
				if (!wire_slice(&wire, &column->changed_value))
					return false;
				column->has_changed_value = true;
				break;
			default:
				if (!wire_skip(&wire, tag, "Column", 5))
					return false;
		}
	}
	if (column->name.len == 0 || column->mysql_type.len == 0 || !column->has_value)
		return decode_fail(wire.decoder, DECODE_ERROR_MISSING, begin, "column without a %s",
						   column->name.len == 0		 ? "name"
						   : column->mysql_type.len == 0 ? "type"
														 : "value");
	return true;
}

static bool
reserve_columns(Decoder *d, const uint8_t *at, int ncolumns)
{
	PbColumn *columns;
	int room = d->pb_columns_room * 2;

	if (ncolumns <= d->pb_columns_room)
		return true;
	if (ncolumns > DECODE_MAX_COLUMNS)
		return decode_fail(d, DECODE_ERROR_UNSUPPORTED, at, "row with more than %d columns",
						   DECODE_MAX_COLUMNS);
	if (room < 64)
		room = 64;
	columns = realloc(d->pb_columns, (size_t) room * sizeof(PbColumn));
	if (columns == NULL)
		return decoder_out_of_memory(d, at);
	d->pb_columns = columns;
	d->pb_columns_room = room;
	return true;
}

static bool
read_row(Decoder *d, Wire wire, PbRow *row)
{
	Wire content;
	uint32_t tag;

	memset(row, 0, sizeof(*row));
	row->at = wire.at;
	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_BYTES):
				if (!wire_slice(&wire, &row->database))
					return false;
				break;
			case WIRE_TAG(2, WIRE_BYTES):
				if (!wire_slice(&wire, &row->table))
					return false;
				break;
			case WIRE_TAG(3, WIRE_VARINT):
				if (!wire_varint(&wire, &row->type))
					return false;
				row->has_type = true;
				break;
			case WIRE_TAG(4, WIRE_BYTES):
				if (!wire_bytes(&wire, &content) ||
					!reserve_columns(d, content.at, row->ncolumns + 1) ||
					!read_column(content, &d->pb_columns[row->ncolumns]))
					return false;
				row->ncolumns++;
				break;
			default:
				if (!wire_skip(&wire, tag, "Event", 4))
					return false;
		}
	}
	if (row->database.len == 0 || row->table.len == 0 || !row->has_type || row->ncolumns == 0)
		return decode_fail(d, DECODE_ERROR_MISSING, row->at, "row without %s",
						   row->database.len == 0 || row->table.len == 0 ? "the name of its table"
						   : !row->has_type								 ? "a type"
																		 : "columns");
	if (row->type > EVENT_DELETE)
		return decode_fail(d, DECODE_ERROR_VALUE, row->at, "unknown type of row %llu",
						   (unsigned long long) row->type);
	return true;
}

/* One datum; learned is set when it tells something new of its column's sign. */
static inline bool
read_value(Decoder *d, EventColumn *column, EventSlice datum, EventValue *value, bool *learned)
{
	bool was_signed = column->is_signed_seen;
	bool was_unsigned = column->is_unsigned_seen;

	if (!datum_read(d, column, datum, value) || !value_normalise(d, column, value, datum.data))
		return false;
	*learned |= column->is_signed_seen != was_signed || column->is_unsigned_seen != was_unsigned;
	return true;
}

static bool
read_values(Decoder *d, const PbRow *row, PbTable *found)
{
	EventValue *values = row->type == EVENT_INSERT ? d->new_values : d->old_values;
	bool learned = false;

	for (int i = 0; i < row->ncolumns; i++)
	{
		const PbColumn *column = &d->pb_columns[i];

		if (!read_value(d, &found->columns[i], column->value, &values[i], &learned))
			return false;
		if (row->type != EVENT_UPDATE)
			continue;
		if (!column->has_changed_value)
			return decode_fail(d, DECODE_ERROR_MISSING, column->value.data,
							   "update without the new value of column \"%.*s\"",
							   (int) (column->name.len > 64 ? 64 : column->name.len),
							   column->name.data);
		if (!read_value(d, &found->columns[i], column->changed_value, &d->new_values[i], &learned))
			return false;
	}
	if (learned)
		found->table.serial = ++d->serial;
	return true;
}

static bool
walk_row(Decoder *d, Wire wire)
{
	PbRow row;
	PbTable *found;

	if (!read_row(d, wire, &row))
		return false;
	if (d->skipping && d->pb_tables[0] != NULL &&
		slice_equal(row.table, d->pb_tables[0]->table.table) &&
		slice_equal(row.database, d->pb_tables[0]->table.database))
	{
		d->sequence++;
		return true;
	}
	d->skipping = false;
	arena_reset(d->row_arena);
	found = find_table(d, &row);
	if (found == NULL)
		return decoder_out_of_memory(d, row.at);
	if (!decoder_reserve_values(d, row.ncolumns) || !read_values(d, &row, found))
		return false;
	decoder_emit_row(d, row.at, (EventRowKind) row.type, &found->table);
	return true;
}

bool
pb_binlog_walk_dml(Decoder *d, Wire wire)
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
		if (!wire_bytes(&wire, &content) || !walk_row(d, content))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Statements
 * ------------------------------------------------------------------------
 */

/*
 * A name between backquotes.  Drainer puts it there without escaping, so that a backquote may stand
 * for itself or, doubled, for one: doubled ones are taken for one where all are doubled.
 */
static bool
unquote_name(Decoder *d, EventSlice quoted, EventSlice *name)
{
	char *text;
	size_t len = 0;

	*name = quoted;
	if (quoted.len == 0 || memchr(quoted.data, '`', quoted.len) == NULL)
		return true;
	text = arena_alloc(d->arena, quoted.len);
	if (text == NULL)
		return decoder_out_of_memory(d, quoted.data);
	for (size_t i = 0; i < quoted.len; i++)
	{
		text[len++] = quoted.data[i];
		if (quoted.data[i] != '`')
			continue;
		if (++i == quoted.len || quoted.data[i] != '`')
			return true; /* a lone one: the name is as it stands */
	}
	name->data = text;
	name->len = len;
	return true;
}

/*
 * "use `db`; statement;" becomes database and statement.  Drainer adds the semicolon at the end to
 * whatever the statement has, so one is taken away again: what is left is the text that Drainer's
 * Kafka messages have.
 */
static bool
split_statement(Decoder *d, EventSlice query, Event *ddl)
{
	static const char prefix[] = "use `";
	static const char close[] = "`; ";
	size_t from = sizeof(prefix) - 1;

	if (query.len > 0 && query.data[query.len - 1] == ';')
		query.len--;
	ddl->ddl_text = query;
	if (query.len < from || memcmp(query.data, prefix, from) != 0)
		return true;
	for (size_t i = from; i + sizeof(close) - 1 <= query.len; i++)
	{
		EventSlice quoted = {query.data + from, i - from};

		if (memcmp(query.data + i, close, sizeof(close) - 1) != 0)
			continue;
		ddl->has_database = true;
		ddl->ddl_text.data = query.data + i + sizeof(close) - 1;
		ddl->ddl_text.len = query.len - i - (sizeof(close) - 1);
		return unquote_name(d, quoted, &ddl->ddl_database);
	}
	return true;
}

bool
pb_binlog_walk_ddl(Decoder *d, Wire wire)
{
	EventSlice query = {(const char *) wire.at, (size_t) (wire.end - wire.at)};
	Event ddl = {0};

	if (!split_statement(d, query, &ddl))
		return false;
	if (ddl.ddl_text.len == 0)
		return decode_fail(d, DECODE_ERROR_MISSING, wire.at, "DDL without a statement");
	decoder_emit_ddl(d, wire.at, &ddl);
	return true;
}
