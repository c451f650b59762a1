/*
 * rows.c
 *		Row events: from the description of rows to a table that takes them.
 *
 * A table is found by name; one that no DDL was seen for is made from the description. Columns are
 * matched by name, never by position or count: a description may run ahead of its DDL (a column
 * more: it is added) or lag behind it (one less: it is NULL).
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "apply/apply_int.h"

/*
 * The columns of a table that no DDL was seen for, and where the protocol tells it its key, from a
 * row description.
 */
static void
define_from_message(Apply *apply, ApplyTable *table, const EventTable *from)
{
	const EventKey *primary = NULL;
	MemoryContext old;

	if (from->has_key_info && from->nkeys > 0 && from->keys[0].name.len == 7 &&
		pg_strncasecmp(from->keys[0].name.data, "PRIMARY", 7) == 0)
		primary = &from->keys[0];
	if (table->state == TABLE_OK && primary == NULL && (!from->has_key_info || from->nkeys > 0))
		table->state = TABLE_KEY_UNKNOWN;

	old = MemoryContextSwitchTo(table->context);
	table->columns = palloc0(Max(from->ncolumns, 1) * sizeof(ApplyColumn));
	table->ncolumns = 0;
	for (int i = 0; i < from->ncolumns; i++)
	{
		const EventColumn *source = &from->columns[i];
		ApplyColumn *column;

		if (source->is_hidden)
			continue;
		name_check(source->name.data, source->name.len, "column");
		column = &table->columns[table->ncolumns++];
		column->name = pnstrdup(source->name.data, source->name.len);
		column->type = source->type;
		column->is_unsigned = source->is_unsigned_seen;
		column->length = source->has_length ? source->flen : -1;
		column->decimals = source->has_length ? source->decimal : -1;
		column->pgname = name_column(column->name, apply->config.fold_names);
		column->vector = -1;
		for (int k = 0; primary != NULL && k < primary->ncolumns; k++)
			column->key |= primary->columns[k] == i;
		column->not_null = column->key;
	}
	if (primary != NULL)
	{
		ApplyKey *key = palloc0(sizeof(ApplyKey));

		key->usable = true;
		key->names = palloc((primary->ncolumns + 1) * sizeof(char *));
		key->names[key->n++] = pstrdup("PRIMARY");
		for (int k = 0; k < primary->ncolumns; k++)
			key->names[key->n++] =
				pnstrdup(primary->column_names[k].data, primary->column_names[k].len);
		table->unique_keys = list_make1(key);
	}
	MemoryContextSwitchTo(old);
}

static ApplyTable *
table_from_message(Apply *apply, const EventTable *from)
{
	ApplyTable *table = registry_add(apply, from->database.data, from->database.len,
									 from->table.data, from->table.len);

	if (table->filtered)
		return table;
	define_from_message(apply, table, from);
	relation_create(apply, table);
	return table;
}

static int
find_column(ApplyTable *table, const EventColumn *source, int guess)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		int c = (guess + i) % table->ncolumns;
		const char *name = table->columns[c].name;

		if (strlen(name) == source->name.len &&
			pg_strncasecmp(name, source->name.data, source->name.len) == 0)
			return c;
	}
	return -1;
}

/*
 * A column that no DDL announced: rows may run ahead of their DDL. It is added as the message
 * describes it, without NOT NULL; its DDL finds it and sets the type and the old rows' value.
 */
static int
add_unknown_column(Apply *apply, ApplyTable *table, const EventColumn *source)
{
	MemoryContext old;
	ApplyColumn *column;
	MagicAlter step = {.kind = MAGIC_ADD_COLUMN};

	name_check(source->name.data, source->name.len, "column");
	apply_flush(apply);
	apply_close_handles(apply);
	old = MemoryContextSwitchTo(table->context);
	table->columns = repalloc(table->columns, (table->ncolumns + 1) * sizeof(ApplyColumn));
	column = &table->columns[table->ncolumns++];
	memset(column, 0, sizeof(*column));
	column->name = pnstrdup(source->name.data, source->name.len);
	column->type = source->type;
	column->is_unsigned = source->is_unsigned_seen;
	column->length = source->has_length ? source->flen : -1;
	column->decimals = source->has_length ? source->decimal : -1;
	column->pgname = name_column(column->name, apply->config.fold_names);
	column->vector = -1;
	MemoryContextSwitchTo(old);
	step.column.name = column->pgname;
	convert_map_type(column, &step.column.type, &step.column.typmod);
	apply->engine->alter_table(apply->conn, table->relid, &step, 1);
	convert_warn(table, WARNING_UNKNOWN_COLUMN);
	registry_store(apply, table);
	registry_resolve(apply, table);
	apply_open_handle(apply, table);
	return table->ncolumns - 1;
}

/*
 * Rows that lack columns which are NOT NULL here run ahead of the DDL that drops these.
 */
static void
relax_missing_columns(Apply *apply, ApplyTable *table)
{
	MagicAlter *steps = palloc0((table->ncolumns + 1) * sizeof(MagicAlter));
	bool *present = palloc0((table->ncolumns + 1) * sizeof(bool));
	int n = 0;

	for (int i = 0; i < table->nmapped; i++)
		if (table->map[i] >= 0)
			present[table->map[i]] = true;
	for (int c = 0; c < table->ncolumns; c++)
	{
		ApplyColumn *column = &table->columns[c];

		if (present[c] || column->vector < 0 || column->key || !column->not_null)
			continue;
		column->not_null = false;
		if (convert_can_be_zero_date(column))
			continue; /* has no NOT NULL */
		steps[n].kind = MAGIC_DROP_NOT_NULL;
		steps[n++].name = column->pgname;
	}
	table->lacks_required = false;
	if (n == 0 || table->adopted)
		return;
	apply_flush(apply);
	apply_close_handles(apply);
	apply->engine->alter_table(apply->conn, table->relid, steps, n);
	registry_store(apply, table);
	registry_resolve(apply, table);
	apply_open_handle(apply, table);
}

/*
 * Rows show that an integer column is UNSIGNED, which no DDL said: the values may be too large for
 * the type here.
 */
static void
widen_column(Apply *apply, ApplyTable *table, ApplyColumn *column)
{
	MagicAlter step = {.kind = MAGIC_ALTER_TYPE, .name = column->pgname};
	Oid type;
	int32 typmod;

	convert_map_type(column, &type, &typmod);
	column->is_unsigned = true;
	convert_map_type(column, &step.column.type, &step.column.typmod);
	if (table->adopted || column->pgname == NULL || step.column.type == type)
		return;
	apply_flush(apply);
	apply_close_handles(apply);
	apply->engine->alter_table(apply->conn, table->relid, &step, 1);
	registry_store(apply, table);
	registry_resolve(apply, table);
	apply_open_handle(apply, table);
}

/*
 * Match the description of rows with the table's columns, by name.
 */
static void
map_columns(Apply *apply, ApplyTable *table, const EventTable *from)
{
	bool *seen;

	if (table->nmapped < from->ncolumns || table->map == NULL)
		table->map = table->map == NULL
						 ? MemoryContextAlloc(table->context, (from->ncolumns + 1) * sizeof(int))
						 : repalloc(table->map, (from->ncolumns + 1) * sizeof(int));
	table->nmapped = from->ncolumns;
	for (int i = 0; i < from->ncolumns; i++)
	{
		int c = from->columns[i].is_hidden ? -1 : find_column(table, &from->columns[i], i);

		if (c < 0 && !from->columns[i].is_hidden)
			c = add_unknown_column(apply, table, &from->columns[i]);
		if (c >= 0 && from->columns[i].is_unsigned_seen && !table->columns[c].is_unsigned &&
			EVENT_TYPE_IS_INTEGER(table->columns[c].type))
			widen_column(apply, table, &table->columns[c]);
		table->map[i] = c >= 0 && table->columns[c].vector >= 0 ? c : -1;
	}
	if (table->missing != NULL)
		pfree(table->missing);
	table->missing = MemoryContextAlloc(table->context, (table->ncolumns + 1) * sizeof(int));
	table->nmissing = 0;
	seen = palloc0(table->ncolumns + 1);
	for (int i = 0; i < table->nmapped; i++)
		if (table->map[i] >= 0)
			seen[table->map[i]] = true;
	table->lacks_required = false;
	for (int c = 0; c < table->ncolumns; c++)
		if (!seen[c] && table->columns[c].vector >= 0)
		{
			table->missing[table->nmissing++] = table->columns[c].vector;
			table->lacks_required |= table->columns[c].not_null;
		}
	pfree(seen);
	table->mapped_serial = from->serial;
}

/* Do rows of a table in this state reach it? */
static bool
takes_rows(const ApplyTable *table)
{
	return !table->filtered && table->state != TABLE_DETACHED && table->state != TABLE_ERROR &&
		   table->state != TABLE_UNSUPPORTED;
}

/*
 * The table of a row event, ready to take rows; NULL = its rows are left out.
 */
static ApplyTable *
table_for_rows(Apply *apply, const Event *event)
{
	const EventTable *from = event->table;
	ApplyTable *table;

	if (apply->last_table != NULL && apply->last_serial == from->serial &&
		(apply->last_table->handle != NULL || !takes_rows(apply->last_table)))
		return takes_rows(apply->last_table) ? apply->last_table : NULL;

	table = registry_find(apply, from->database.data, from->database.len, from->table.data,
						  from->table.len);
	if (table == NULL)
		table = table_from_message(apply, from);
	apply->last_table = table;
	apply->last_serial = from->serial;
	if (!takes_rows(table))
		return NULL;
	if (table->ncolumns == 0)
	{
		/* Adopted: the relation is there, what TiDB has is known now. */
		define_from_message(apply, table, from);
		registry_store(apply, table);
		registry_resolve(apply, table);
	}
	apply_open_handle(apply, table);
	if (!takes_rows(table))
		return NULL;
	if (table->mapped_serial != from->serial)
		map_columns(apply, table, from);
	return table;
}

void
rows_take(Apply *apply, const Event *event)
{
	ApplyTable *table = table_for_rows(apply, event);

	if (table != NULL && table->lacks_required && event->row_kind != EVENT_DELETE)
	{
		relax_missing_columns(apply, table);
		table = table_for_rows(apply, event);
	}
	if (table == NULL)
		return;
	apply->current_table = table;
	window_add(apply, table, event);
	table->last_change_ts = event->commit_ts;
	apply->current_table = NULL;
	apply->current_column = NULL;
	apply->rows_in_transaction++;
	if (window_full(table) ||
		MemoryContextMemAllocated(apply->window_context, true) > apply->config.memory_limit / 2)
		apply_flush(apply);
}
