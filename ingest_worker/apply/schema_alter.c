/*
 * schema_alter.c
 *		ALTER TABLE: columns and keys.
 *
 * The clauses change the definition in memory, in order, and give steps for the engine, which runs
 * them under one lock. The row identity is chosen anew afterwards; when it changes, the old key
 * is dropped before the first step and the new one made after the last.
 *
 * Identity: the primary key, else the first unique key whose columns are all NOT NULL and stored
 * here; a key over a prefix of a column identifies its whole value, a key over an expression
 * does not count. Without one, rows are matched whole.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "apply/apply_int.h"

/* ---------------------------------------------------------------- keys */

/* Is that the name of a key of the table, or of one among n that are to be added? */
static bool
key_name_taken(ApplyTable *table, char **names, int n, const char *name)
{
	ListCell *lc;

	foreach (lc, table->unique_keys)
		if (pg_strcasecmp(((ApplyKey *) lfirst(lc))->names[0], name) == 0)
			return true;
	for (int i = 0; i < n; i++)
		if (names[i] != NULL && pg_strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

/* The name that the server gives to a key without one: after its first column, with a number. */
static char *
make_key_name(ApplyTable *table, char **names, int n, const DdlKey *key)
{
	char *base = NULL;
	char *name;
	int number = 2;

	for (int i = 0; i < key->nparts; i++)
		if (key->parts[i].column.data == NULL)
			base = "expression_index";
	if (base == NULL && key->nparts > 0)
		base = pnstrdup(key->parts[0].column.data, key->parts[0].column.len);
	if (base == NULL)
		base = "";
	name = base;
	while (pg_strcasecmp(name, "PRIMARY") == 0 || key_name_taken(table, names, n, name))
		name = psprintf("%s_%d", base, number++);
	return name;
}

/*
 * Keys that are no unique ones are remembered for their names only: the name that the next one
 * gets depends on them.
 */
static void
add_key(ApplyTable *table, const DdlKey *key, const char *name)
{
	MemoryContext old = MemoryContextSwitchTo(table->context);
	ApplyKey *added = palloc0(sizeof(ApplyKey));

	added->names = palloc((key->nparts + 1) * sizeof(char *));
	added->usable =
		key->nparts > 0 && (key->kind == DDL_KEY_PRIMARY || key->kind == DDL_KEY_UNIQUE);
	added->names[added->n++] = pstrdup(name);
	for (int i = 0; i < key->nparts; i++)
	{
		if (key->parts[i].column.data == NULL)
		{
			added->usable = false;
			continue;
		}
		added->names[added->n++] = pnstrdup(key->parts[i].column.data, key->parts[i].column.len);
	}
	if (key->kind == DDL_KEY_PRIMARY)
		table->unique_keys = lcons(added, table->unique_keys);
	else
		table->unique_keys = lappend(table->unique_keys, added);
	MemoryContextSwitchTo(old);
}

/*
 * Remember keys that a statement makes. Names that are written go before those that the server
 * makes up, and it names the keys of the table's body before those of the columns.
 */
void
schema_add_keys(ApplyTable *table, const DdlKey *keys, int nkeys)
{
	char **names = palloc0((nkeys + 1) * sizeof(char *));

	for (int i = 0; i < nkeys; i++)
		if (keys[i].kind == DDL_KEY_PRIMARY)
			names[i] = "PRIMARY";
		else if (keys[i].name.data != NULL)
			names[i] = pnstrdup(keys[i].name.data, keys[i].name.len);
	for (int from_column = 0; from_column <= 1; from_column++)
		for (int i = 0; i < nkeys; i++)
			if (names[i] == NULL && keys[i].from_column == (from_column == 1) &&
				keys[i].kind < DDL_KEY_FOREIGN)
				names[i] = make_key_name(table, names, nkeys, &keys[i]);
	for (int i = 0; i < nkeys; i++)
		if (keys[i].kind < DDL_KEY_FOREIGN)
			add_key(table, &keys[i], names[i]);
}

void
schema_drop_key(ApplyTable *table, const char *name, size_t len)
{
	ListCell *lc;

	foreach (lc, table->unique_keys)
	{
		ApplyKey *key = lfirst(lc);

		if (strlen(key->names[0]) == len && pg_strncasecmp(key->names[0], name, len) == 0)
			table->unique_keys = foreach_delete_current(table->unique_keys, lc);
	}
}

/* Columns of a primary key are NOT NULL, also when MODIFY does not write it again. */
static void
imply_not_null(ApplyTable *table, const ApplyKey *key)
{
	if (pg_strcasecmp(key->names[0], "PRIMARY") != 0)
		return;
	for (int i = 1; i < key->n; i++)
	{
		ApplyColumn *column = schema_find_column(table, key->names[i], strlen(key->names[i]));

		if (column != NULL)
			column->not_null = true;
	}
}

static bool
identifies(ApplyTable *table, const ApplyKey *key)
{
	if (!key->usable || key->n < 2)
		return false;
	for (int i = 1; i < key->n; i++)
	{
		ApplyColumn *column = schema_find_column(table, key->names[i], strlen(key->names[i]));

		if (column == NULL || column->pgname == NULL || !column->not_null ||
			column->type == EVENT_TYPE_JSON || column->type == EVENT_TYPE_VECTOR)
			return false;
	}
	return true;
}

/*
 * Choose the key by which rows are located: sets the columns' key flags and nkeys.
 */
void
schema_choose_key(ApplyTable *table)
{
	ListCell *lc;

	table->nkeys = 0;
	for (int i = 0; i < table->ncolumns; i++)
		table->columns[i].key = false;
	foreach (lc, table->unique_keys)
	{
		ApplyKey *key = lfirst(lc);

		imply_not_null(table, key);
		if (!identifies(table, key))
			continue;
		for (int i = 1; i < key->n; i++)
			schema_find_column(table, key->names[i], strlen(key->names[i]))->key = true;
		table->nkeys = key->n - 1;
		return;
	}
}

/* The columns of the key that was chosen, in its order. */
static List *
key_columns(ApplyTable *table)
{
	List *columns = NIL;
	ListCell *lc;

	foreach (lc, table->unique_keys)
	{
		ApplyKey *key = lfirst(lc);

		if (!identifies(table, key))
			continue;
		for (int i = 1; i < key->n; i++)
			columns =
				lappend(columns, schema_find_column(table, key->names[i], strlen(key->names[i])));
		break;
	}
	return columns;
}

/* ---------------------------------------------------------------- steps */

typedef struct AlterWork
{
	Apply *apply;
	ApplyTable *table;
	const Event *event;
	MagicTableDef *before;
	List *steps; /* MagicAlter * */
} AlterWork;

static MagicAlter *
add_step(AlterWork *work, MagicAlterKind kind, const char *name)
{
	MagicAlter *step = palloc0(sizeof(MagicAlter));

	step->kind = kind;
	step->name = name;
	work->steps = lappend(work->steps, step);
	return step;
}

static bool
wants_not_null(const ApplyColumn *column)
{
	return column->key || (column->not_null && !convert_can_be_zero_date(column));
}

static bool
is_number(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID ||
		   type == FLOAT4OID || type == FLOAT8OID;
}

/*
 * How values of one type become values of another: an expression over %s, NULL for the assignment
 * cast. *exact = false where MySQL's result may differ.
 */
static const char *
conversion(Oid from, int32 from_typmod, Oid to, bool *exact)
{
	*exact = true;
	if (from == to || (is_number(from) && is_number(to)))
		return NULL;
	if (from == TEXTOID && to == BYTEAOID)
		return "pg_catalog.convert_to(%s, 'UTF8')";
	if (from == BYTEAOID && to == TEXTOID)
		return "pg_catalog.convert_from(%s, 'UTF8')";
	*exact = is_number(from) && to == TEXTOID && from != FLOAT4OID && from != FLOAT8OID;
	if ((from == DATEOID && to == TIMESTAMPOID) || (from == TIMESTAMPOID && to == DATEOID))
	{
		*exact = from == DATEOID;
		return NULL;
	}
	if ((from == TIMESTAMPOID || from == TIMESTAMPTZOID) && to == TEXTOID)
	{
		/* All digits of the fraction; a TIMESTAMP in UTC, whatever TiDB's session had. */
		int fsp = from_typmod >= 0 ? from_typmod : 6;

		*exact = from == TIMESTAMPOID;
		return psprintf("pg_catalog.left(pg_catalog.to_char(%%s, 'YYYY-MM-DD HH24:MI:SS.US'), %d)",
						fsp == 0 ? 19 : 20 + fsp);
	}
	if (from == TEXTOID && is_number(to))
	{
		switch (to)
		{
			case FLOAT4OID:
				return "%s::pg_catalog.float4";
			case FLOAT8OID:
				return "%s::pg_catalog.float8";
			case NUMERICOID:
				return "%s::pg_catalog.numeric";
			case INT2OID:
				return "%s::pg_catalog.numeric::pg_catalog.int2";
			case INT4OID:
				return "%s::pg_catalog.numeric::pg_catalog.int4";
			default:
				return "%s::pg_catalog.numeric::pg_catalog.int8";
		}
	}
	switch (to)
	{
		case TEXTOID:
			return "%s::pg_catalog.text";
		case DATEOID:
			return "%s::pg_catalog.text::pg_catalog.date";
		case TIMESTAMPOID:
			return "%s::pg_catalog.text::pg_catalog.timestamp";
		case TIMESTAMPTZOID:
			return "%s::pg_catalog.text::pg_catalog.timestamptz";
		case INTERVALOID:
			return "%s::pg_catalog.text::pg_catalog.interval";
		case JSONBOID:
			return "%s::pg_catalog.text::pg_catalog.jsonb";
		case BYTEAOID:
			return "pg_catalog.convert_to(%s::pg_catalog.text, 'UTF8')";
		default:
			return "%s::pg_catalog.text::pg_catalog.numeric";
	}
}

/* What the relation has for a column before the first step; it may be renamed by now. */
static MagicColumnDef *
column_before(AlterWork *work, const ApplyColumn *column)
{
	for (int i = 0; column->attno > 0 && i < work->before->ncolumns; i++)
		if (work->before->columns[i].attno == column->attno)
			return &work->before->columns[i];
	return NULL;
}

/* A name that no other column of the table has here. */
static void
check_name_free(ApplyTable *table, const ApplyColumn *column)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (&table->columns[i] != column && table->columns[i].pgname != NULL &&
			column->pgname != NULL && strcmp(table->columns[i].pgname, column->pgname) == 0)
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
							errmsg("two columns of table \"%s\".\"%s\" have the name \"%s\" here",
								   table->database, table->table, column->pgname)));
}

/* ---------------------------------------------------------------- columns */

/*
 * A text as an expression that has no character with a meaning, to SQL or to a template.
 */
static char *
harmless_literal(const char *text, Oid type)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "pg_catalog.convert_from('\\x");
	for (; *text; text++)
		appendStringInfo(&buf, "%02x", (unsigned char) *text);
	appendStringInfo(&buf, "'::pg_catalog.bytea, 'UTF8')::%s",
					 format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY));
	return buf.data;
}

/*
 * The DDL of a column that is there already, since rows ran ahead of it: it gets its type, and rows
 * that were written without it the default.
 */
static void
define_early_column(AlterWork *work, ApplyColumn *column, const DdlColumn *from)
{
	ApplyTable *table = work->table;
	MagicColumnDef *now = column_before(work, column);
	const char *template = NULL;
	char *existing;
	bool exact;
	Oid type;
	int32 typmod;
	MagicAlter *step;

	schema_column_define(work->apply, table, column, from);
	if (now == NULL || column->pgname == NULL)
		return;
	convert_map_type(column, &type, &typmod);
	convert_choose(column, type, typmod);
	existing =
		convert_default(work->apply, table, column, &from->default_value, work->event->commit_ts);
	if (now->type == type && now->typmod == typmod && existing == NULL)
		return;
	template = conversion(now->type, now->typmod, type, &exact);
	if (existing != NULL)
		template = psprintf("COALESCE((%s)::%s, %s)", template ? template : "%s",
							format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY),
							harmless_literal(existing, type));
	step = add_step(work, MAGIC_ALTER_TYPE, column->pgname);
	step->column.type = type;
	step->column.typmod = typmod;
	step->using_template = template;
}

static void
add_column(AlterWork *work, const DdlColumn *from)
{
	Apply *apply = work->apply;
	ApplyTable *table = work->table;
	ApplyColumn *column = schema_find_column(table, from->name.data, from->name.len);
	MagicAlter *step;

	if (column != NULL && column->pgname != NULL)
	{
		define_early_column(work, column, from);
		return;
	}
	if (column == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(table->context);

		table->columns = repalloc(table->columns, (table->ncolumns + 1) * sizeof(ApplyColumn));
		column = &table->columns[table->ncolumns++];
		MemoryContextSwitchTo(old);
		memset(column, 0, sizeof(*column));
		column->vector = -1;
	}
	schema_column_define(apply, table, column, from);
	if (column->pgname == NULL)
		return;
	check_name_free(table, column);
	step = add_step(work, MAGIC_ADD_COLUMN, column->pgname);
	step->column.name = column->pgname;
	convert_map_type(column, &step->column.type, &step->column.typmod);
	convert_choose(column, step->column.type, step->column.typmod);
	step->column.existing_value =
		convert_default(apply, table, column, &from->default_value, work->event->commit_ts);
	step->column.not_null = wants_not_null(column) && step->column.existing_value != NULL;
}

static void
drop_column(AlterWork *work, DdlString name)
{
	ApplyTable *table = work->table;
	ApplyColumn *column = schema_find_column(table, name.data, name.len);
	ListCell *lc;
	int i;

	if (column == NULL)
		return;
	if (column->pgname != NULL)
		add_step(work, MAGIC_DROP_COLUMN, column->pgname);
	/* An index goes with its last column. */
	foreach (lc, table->unique_keys)
	{
		ApplyKey *key = lfirst(lc);
		int kept = 1;

		for (int k = 1; k < key->n; k++)
			if (pg_strcasecmp(key->names[k], column->name) != 0)
				key->names[kept++] = key->names[k];
		if (kept < key->n)
			key->usable = false;
		if (kept == 1 && key->n > 1)
			table->unique_keys = foreach_delete_current(table->unique_keys, lc);
		key->n = kept;
	}
	i = column - table->columns;
	memmove(column, column + 1, (table->ncolumns - i - 1) * sizeof(ApplyColumn));
	table->ncolumns--;
}

static void
rename_in_keys(ApplyTable *table, const char *from, const char *to)
{
	ListCell *lc;

	foreach (lc, table->unique_keys)
	{
		ApplyKey *key = lfirst(lc);

		for (int k = 1; k < key->n; k++)
			if (pg_strcasecmp(key->names[k], from) == 0)
				key->names[k] = MemoryContextStrdup(table->context, to);
	}
}

static void
rename_column(AlterWork *work, ApplyColumn *column, DdlString to)
{
	ApplyTable *table = work->table;
	MemoryContext old;
	char *old_name = column->name;
	char *old_pgname = column->pgname;

	name_check(to.data, to.len, "column");
	old = MemoryContextSwitchTo(table->context);
	column->name = pnstrdup(to.data, to.len);
	rename_in_keys(table, old_name, column->name);
	if (old_pgname != NULL)
		column->pgname = name_column(column->name, work->apply->config.fold_names);
	MemoryContextSwitchTo(old);
	if (old_pgname != NULL && strcmp(old_pgname, column->pgname) != 0)
	{
		check_name_free(table, column);
		add_step(work, MAGIC_RENAME_COLUMN, old_pgname)->column.name = column->pgname;
	}
}

static void
modify_column(AlterWork *work, DdlString name, const DdlColumn *to)
{
	ApplyTable *table = work->table;
	ApplyColumn *column = schema_find_column(table, name.data, name.len);
	bool was_generated;
	Oid old_type;
	int32 old_typmod;
	Oid type;
	int32 typmod;
	char *pgname;

	if (column == NULL)
		column = schema_find_column(table, to->name.data, to->name.len);
	if (column == NULL)
		return;
	was_generated = column->generated;
	convert_map_type(column, &old_type, &old_typmod);
	rename_column(work, column, to->name);
	pgname = column->pgname;
	schema_column_define(work->apply, table, column, to);
	if (was_generated && !column->generated)
	{
		/* Its values were never sent. */
		registry_set_state(work->apply, table, TABLE_RESYNC_NEEDED,
						   "a generated column became an ordinary one");
		add_step(work, MAGIC_ADD_COLUMN, column->pgname)->column =
			(MagicColumnDef){.name = column->pgname};
		convert_map_type(column, &((MagicAlter *) llast(work->steps))->column.type,
						 &((MagicAlter *) llast(work->steps))->column.typmod);
		return;
	}
	if (!was_generated && column->generated)
	{
		add_step(work, MAGIC_DROP_COLUMN, pgname);
		return;
	}
	if (column->pgname == NULL)
		return;
	convert_map_type(column, &type, &typmod);
	if (type != old_type || typmod != old_typmod)
	{
		bool exact;
		MagicAlter *step = add_step(work, MAGIC_ALTER_TYPE, column->pgname);

		step->column.type = type;
		step->column.typmod = typmod;
		step->using_template = conversion(old_type, old_typmod, type, &exact);
		if (!exact)
			convert_warn(table, WARNING_CONVERTED);
	}
}

/* ---------------------------------------------------------------- clauses */

static void
apply_clause(AlterWork *work, const DdlClause *clause)
{
	ApplyTable *table = work->table;
	ApplyColumn *column;

	switch (clause->kind)
	{
		case DDL_ALTER_ADD_COLUMNS:
			for (int i = 0; i < clause->ncolumns; i++)
				add_column(work, &clause->columns[i]);
			break;
		case DDL_ALTER_DROP_COLUMN:
			drop_column(work, clause->name);
			break;
		case DDL_ALTER_MODIFY_COLUMN:
		case DDL_ALTER_CHANGE_COLUMN:
			modify_column(work, clause->name, &clause->columns[0]);
			break;
		case DDL_ALTER_RENAME_COLUMN:
			column = schema_find_column(table, clause->name.data, clause->name.len);
			if (column != NULL)
				rename_column(work, column, clause->new_name);
			break;
		case DDL_ALTER_DROP_PRIMARY_KEY:
			schema_drop_key(table, "PRIMARY", 7);
			break;
		case DDL_ALTER_DROP_KEY:
		case DDL_ALTER_DROP_CONSTRAINT:
			schema_drop_key(table, clause->name.data, clause->name.len);
			break;
		case DDL_ALTER_RENAME_KEY:
		{
			ListCell *lc;

			foreach (lc, table->unique_keys)
			{
				ApplyKey *key = lfirst(lc);
				DdlString name = {key->names[0], strlen(key->names[0])};

				if (ddl_same_name(name, clause->name))
				{
					MemoryContext old = MemoryContextSwitchTo(table->context);

					key->names[0] = pnstrdup(clause->new_name.data, clause->new_name.len);
					MemoryContextSwitchTo(old);
				}
			}
			break;
		}
		default:
			break; /* no effect, or on rows only */
	}
	schema_add_keys(table, clause->keys, clause->nkeys);
}

/*
 * Bring NOT NULL of the relation in line with the definition, after align_key: a column that leaves
 * the key keeps the key's NOT NULL else.
 */
static void
align_not_null(AlterWork *work, bool drop_only)
{
	for (int i = 0; i < work->table->ncolumns; i++)
	{
		ApplyColumn *column = &work->table->columns[i];
		MagicColumnDef *now = column_before(work, column);

		if (now == NULL || column->key || now->not_null == wants_not_null(column))
			continue;
		if (drop_only && !now->not_null)
			continue;
		add_step(work, now->not_null ? MAGIC_DROP_NOT_NULL : MAGIC_SET_NOT_NULL, column->pgname);
	}
}

/* Does the relation's key have exactly these columns? */
static bool
key_is_same(AlterWork *work, List *columns)
{
	ListCell *lc;

	if (list_length(columns) != work->before->nkeys)
		return false;
	foreach (lc, columns)
	{
		ApplyColumn *column = lfirst(lc);
		bool found = false;

		for (int i = 0; i < work->before->nkeys; i++)
			found |= work->before->columns[work->before->keys[i]].attno == column->attno;
		if (!found)
			return false;
	}
	return true;
}

/* Steps that change the key from what the relation has to what the definition says. */
static void
align_key(AlterWork *work)
{
	List *columns;
	List *names = NIL;
	ListCell *lc;

	schema_choose_key(work->table);
	columns = key_columns(work->table);
	if (key_is_same(work, columns))
		return;
	if (work->before->nkeys > 0)
	{
		MagicAlter *drop = palloc0(sizeof(MagicAlter));

		drop->kind = MAGIC_DROP_KEY;
		work->steps = lcons(drop, work->steps);
	}
	foreach (lc, columns)
		names = lappend(names, ((ApplyColumn *) lfirst(lc))->pgname);
	if (names != NIL)
		add_step(work, MAGIC_SET_KEY, NULL)->keys = names;
}

/*
 * Raise the error under way again, with what the operator needs. TiDB converts what it can in a
 * session without strict SQL mode ('x' becomes the number 0), and no message says to what.
 */
static void
rows_do_not_fit(AlterWork *work)
{
	ErrorData *error = CopyErrorData();

	FlushErrorState();
	ereport(
		ERROR,
		(errcode(error->sqlerrcode),
		 errmsg("rows of table \"%s\".\"%s\" do not fit what DDL of the stream makes of it: %s",
				work->table->database, work->table->table, error->message),
		 work->event ? errdetail("%.*s", SLICE(work->event->ddl_text)) : 0,
		 errhint(
			 "Correct these rows here (the feed's option on_local_write lets you), or alter the "
			 "table by hand and pass over the record with magic.skip(); then resume the "
			 "feed.")));
}

static void
run_steps(AlterWork *work)
{
	int n = list_length(work->steps);
	MagicAlter *steps = palloc(Max(n, 1) * sizeof(MagicAlter));
	MemoryContext caller = CurrentMemoryContext;
	ListCell *lc;

	foreach (lc, work->steps)
		steps[foreach_current_index(lc)] = *(MagicAlter *) lfirst(lc);
	if (n == 0)
		return;
	PG_TRY();
	{
		work->apply->engine->alter_table(work->apply->conn, work->table->relid, steps, n);
	}
	PG_CATCH();
	{
		int category = ERRCODE_TO_CATEGORY(geterrcode());

		if (category != ERRCODE_DATA_EXCEPTION &&
			category != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		rows_do_not_fit(work);
	}
	PG_END_TRY();
}

/*
 * Make the relation's key what the table's keys say now.
 */
void
schema_rekey(Apply *apply, ApplyTable *table)
{
	AlterWork work = {.apply = apply, .table = table};

	if (table->adopted || !OidIsValid(table->relid))
		return;
	work.before = apply->engine->describe(apply->conn, table->relid);
	if (work.before == NULL)
		return;
	align_key(&work);
	align_not_null(&work, true);
	run_steps(&work);
	registry_resolve(apply, table);
}

/*
 * ALTER TABLE; RENAME is the caller's.
 */
void
schema_alter_table(Apply *apply, ApplyTable *table, const Event *event, const DdlStatement *stmt)
{
	AlterWork work = {.apply = apply, .table = table, .event = event};
	const char *rows_change = NULL;

	if (!OidIsValid(table->relid) || table->state == TABLE_DETACHED)
		return;
	work.before = apply->engine->describe(apply->conn, table->relid);
	if (work.before == NULL)
		return;
	for (int i = 0; i < stmt->nclauses; i++)
	{
		apply_clause(&work, &stmt->clauses[i]);
		if (stmt->clauses[i].effect == DDL_EFFECT_ROWS)
			rows_change = stmt->clauses[i].what;
	}
	align_key(&work);
	align_not_null(&work, false);
	if (work.steps != NIL && table->adopted)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("DDL of the stream changes the adopted table \"%s\".\"%s\"",
							   table->database, table->table),
						errdetail("%.*s", SLICE(event->ddl_text)),
						errhint("Alter the table here by hand, then pass over the record with "
								"magic.skip().")));
	run_steps(&work);
	if (rows_change != NULL)
	{
		table->state = TABLE_RESYNC_NEEDED;
		table->state_detail = MemoryContextStrdup(
			table->context, psprintf("%s changed rows that the stream does not send", rows_change));
	}
	registry_store(apply, table);
	registry_resolve(apply, table);
}
