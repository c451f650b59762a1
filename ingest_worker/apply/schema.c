/*
 * schema.c
 *		DDL of the stream: statements about databases and whole tables. ALTER is in schema_alter.c.
 *
 * A statement is parsed whole or stops the feed. What changes no table is passed over. What changes
 * rows that the stream does not send sets the table's state to "resync needed".
 *
 * Names.  Unqualified names are in the event's database; but with CREATE TABLE ... LIKE and RENAME
 * TABLE that is the new table's database.  When the new name is qualified, an unqualified source
 * is in the session's database, which no message tells: it is then the only known table of that
 * name, or the feed stops.
 *
 * The stream may repeat a statement that names several tables once for each of them, and a record
 * is fed again after a failure: every action looks first at what is known and does nothing when
 * it is done already.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "apply/apply_int.h"

/* ---------------------------------------------------------------- parsing */

DdlStatement *
schema_read(Apply *apply, const Event *event)
{
	DdlError error;
	DdlStatement *stmt;

	arena_reset(apply->ddl_arena);
	stmt = ddl_parse(event->ddl_text.data, event->ddl_text.len, DDL_DIALECT_AUTO, apply->ddl_arena,
					 &error);
	if (stmt == NULL)
		ereport(
			ERROR,
			(errcode(error.code == DDL_ERROR_MEMORY ? ERRCODE_OUT_OF_MEMORY : ERRCODE_SYNTAX_ERROR),
			 errmsg("DDL statement of the stream is not understood: %s", error.message),
			 errdetail("Line %d, column %d, near \"%s\", of: %.*s", error.line, error.column,
					   error.token, SLICE(event->ddl_text)),
			 errhint("Apply what it does to the tables here by hand, then pass over the record "
					 "with magic.skip() and resume the feed.")));
	return stmt;
}

/*
 * Does the statement need an exclusive lock on a table that exists?
 */
bool
schema_needs_cut(const DdlStatement *stmt)
{
	switch (stmt->kind)
	{
		case DDL_DROP_DATABASE:
		case DDL_DROP_TABLE:
		case DDL_RENAME_TABLE:
		case DDL_ALTER_TABLE:
		case DDL_CREATE_INDEX:
		case DDL_DROP_INDEX:
			return true;
		default:
			return false;
	}
}

/* ---------------------------------------------------------------- names */

static DdlString
session_database(const Event *event, const DdlStatement *stmt)
{
	DdlString database = stmt->use_database;

	if (database.data == NULL && event->has_database)
	{
		database.data = event->ddl_database.data;
		database.len = event->ddl_database.len;
	}
	return database;
}

static void
no_database(DdlString name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_SCHEMA),
			 errmsg("DDL of the stream names table \"%.*s\" without its database", SLICE(name))));
}

/* The table of a name, or NULL if the feed does not know it. */
static ApplyTable *
known_table(Apply *apply, const Event *event, const DdlStatement *stmt, const DdlName *name)
{
	DdlString database = name->database;

	if (database.data == NULL)
		database = session_database(event, stmt);
	if (database.data == NULL)
		no_database(name->name);
	return registry_find(apply, database.data, database.len, name->name.data, name->name.len);
}

/*
 * The source of LIKE and RENAME, whose target is `target`: see the file's head.
 */
static ApplyTable *
source_table(Apply *apply, const Event *event, const DdlStatement *stmt, const DdlName *name,
			 const DdlName *target)
{
	ApplyTable *table;
	int n;

	/* A target without a database is in the session's, and that is the event's. */
	if (name->database.data != NULL || target->database.data == NULL)
		return known_table(apply, event, stmt, name);
	table = registry_find_by_name(apply, name->name.data, name->name.len, &n);
	if (n > 1)
		ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_ALIAS),
						errmsg("DDL of the stream names table \"%.*s\" without its database, and "
							   "%d databases have one",
							   SLICE(name->name), n),
						errdetail("%.*s", SLICE(event->ddl_text)),
						errhint("Apply the statement to the right table by hand, then pass over "
								"the record with magic.skip().")));
	return table;
}

/* A table by name, added if it is not known. */
static ApplyTable *
target_table(Apply *apply, const Event *event, const DdlStatement *stmt, const DdlName *name)
{
	DdlString database = name->database;
	ApplyTable *table = known_table(apply, event, stmt, name);

	if (table != NULL)
		return table;
	if (database.data == NULL)
		database = session_database(event, stmt);
	return registry_add(apply, database.data, database.len, name->name.data, name->name.len);
}

/* ---------------------------------------------------------------- create */

static void
start_definition(ApplyTable *table, int ncolumns)
{
	table->ncolumns = 0;
	table->columns = MemoryContextAllocZero(table->context, Max(ncolumns, 1) * sizeof(ApplyColumn));
	table->unique_keys = NIL;
	table->state = TABLE_OK;
	table->state_detail = NULL;
}

/*
 * Is there something under this name already? A table that the feed made is left alone when the
 * statement was seen before; one that only rows made takes the statement's definition.
 */
static bool
exists_already(ApplyTable *table)
{
	return table->filtered || OidIsValid(table->relid) || table->state == TABLE_ERROR ||
		   table->state == TABLE_DETACHED || table->state == TABLE_UNSUPPORTED;
}

static void
create_table(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	ApplyTable *table;

	if (stmt->temporary != DDL_PERMANENT)
		return;
	table = target_table(apply, event, stmt, &stmt->name);
	if (exists_already(table) && !(table->adopted && table->ncolumns == 0))
		return;
	apply->current_table = table;
	start_definition(table, stmt->ncolumns);
	for (int i = 0; i < stmt->ncolumns; i++)
	{
		ApplyColumn *column = &table->columns[table->ncolumns++];

		column->vector = -1;
		schema_column_define(apply, table, column, &stmt->columns[i]);
	}
	schema_add_keys(table, stmt->keys, stmt->nkeys);
	schema_choose_key(table);
	if (table->adopted)
	{
		registry_store(apply, table);
		registry_resolve(apply, table);
	}
	else
		relation_create(apply, table);
	apply->current_table = NULL;
}

static void
create_table_like(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	ApplyTable *source;
	ApplyTable *table;
	MemoryContext old;
	ListCell *lc;

	if (stmt->temporary != DDL_PERMANENT)
		return;
	source = source_table(apply, event, stmt, &stmt->like, &stmt->name);
	table = target_table(apply, event, stmt, &stmt->name);
	if (exists_already(table))
		return;
	if (source == NULL || source->ncolumns == 0)
		return; /* not known: its rows will describe the copy */
	start_definition(table, source->ncolumns);
	old = MemoryContextSwitchTo(table->context);
	table->ncolumns = source->ncolumns;
	for (int i = 0; i < source->ncolumns; i++)
	{
		ApplyColumn *from = &source->columns[i];
		ApplyColumn *column = &table->columns[i];

		*column = *from;
		column->name = pstrdup(from->name);
		column->pgname = from->pgname ? pstrdup(from->pgname) : NULL;
		column->members = palloc(Max(from->nmembers, 1) * sizeof(char *));
		for (int m = 0; m < from->nmembers; m++)
			column->members[m] = pstrdup(from->members[m]);
		column->attno = 0;
		column->vector = -1;
	}
	foreach (lc, source->unique_keys)
	{
		ApplyKey *from = lfirst(lc);
		ApplyKey *key = palloc0(sizeof(ApplyKey));

		key->usable = from->usable;
		key->names = palloc(from->n * sizeof(char *));
		for (key->n = 0; key->n < from->n; key->n++)
			key->names[key->n] = pstrdup(from->names[key->n]);
		table->unique_keys = lappend(table->unique_keys, key);
	}
	MemoryContextSwitchTo(old);
	table->state = source->state == TABLE_KEY_UNKNOWN ? TABLE_KEY_UNKNOWN : TABLE_OK;
	relation_create(apply, table);
}

/* The schema here of a database, or NULL if the feed has none: filtered, routed or protected. */
static char *
database_schema(Apply *apply, const char *name)
{
	char *key = name_lower(name, strlen(name));
	char *schema;
	char *unused;

	if (!filter_matches_database(apply->filter, key) ||
		routes_target(apply->routes, name, "", &schema, &unused))
		return NULL;
	schema = name_mangle(apply->config.fold_names ? key : name);
	return name_schema_protected(schema) ? NULL : schema;
}

static void
create_database(Apply *apply, const DdlStatement *stmt)
{
	char *name = pnstrdup(stmt->name.name.data, stmt->name.name.len);
	char *schema = database_schema(apply, name);

	if (schema == NULL)
		return;
	name_check(name, stmt->name.name.len, "database");
	apply->engine->create_schema(apply->conn, schema, apply->config.owner);
}

/* ---------------------------------------------------------------- drop, truncate */

/*
 * An adopted relation was there before the feed: it is let go, not dropped.
 */
static void
drop_table(Apply *apply, ApplyTable *table)
{
	if (table == NULL)
		return;
	if (!table->filtered)
	{
		if (OidIsValid(table->relid) && !table->adopted && table->state != TABLE_DETACHED)
			apply->engine->drop_table(apply->conn, table->relid);
		registry_remove(apply, table);
	}
}

static void
drop_tables(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	for (int i = 0; i < stmt->nnames; i++)
	{
		DdlString database = {event->ddl_database.data, event->ddl_database.len};
		DdlString only = {event->ddl_table.data, event->ddl_table.len};

		/* One message comes for each table of the list: act on the message's own. */
		if (event->has_table_name && event->ddl_table.len > 0 &&
			!ddl_same_name(stmt->names[i].name, only))
			continue;
		if (event->has_table_name && event->has_database && stmt->names[i].database.data != NULL &&
			!ddl_same_name(stmt->names[i].database, database))
			continue;
		drop_table(apply, known_table(apply, event, stmt, &stmt->names[i]));
	}
}

static void
drop_database(Apply *apply, const DdlStatement *stmt)
{
	char *name = pnstrdup(stmt->name.name.data, stmt->name.name.len);
	List *tables = registry_tables_of(apply, name, strlen(name));
	ListCell *lc;
	char *schema = database_schema(apply, name);

	foreach (lc, tables)
		drop_table(apply, lfirst(lc));
	if (schema != NULL)
		apply->engine->drop_schema(apply->conn, schema, apply->config.owner);
}

/*
 * An MVCC delete of all rows: readers with older snapshots keep theirs.
 */
static void
truncate_table(Apply *apply, ApplyTable *table)
{
	if (table == NULL || table->filtered || !OidIsValid(table->relid) ||
		table->state == TABLE_DETACHED || table->state == TABLE_ERROR)
		return;
	apply_open_handle(apply, table);
	if (table->handle == NULL)
		return;
	apply->engine->truncate(table->handle);
	if (table->state == TABLE_RESYNC_NEEDED)
		registry_set_state(apply, table, TABLE_OK, NULL); /* empty here, empty there */
}

/* ---------------------------------------------------------------- rename */

/*
 * Where a table goes after a rename. The new name may lead out of the filter, or to a name that is
 * taken: then the table is let go, with its rows as they are.
 */
static void
rename_table(Apply *apply, const Event *event, const DdlStatement *stmt, ApplyTable *table,
			 const DdlName *to)
{
	DdlString database = to->database.data ? to->database : session_database(event, stmt);
	ApplyTable *other;
	char *schema;
	char *name;
	bool routed;
	Oid nsp;

	if (database.data == NULL)
		no_database(to->name);
	other = registry_find(apply, database.data, database.len, to->name.data, to->name.len);
	if (other == table)
		return;
	if (other != NULL && !other->filtered)
	{
		if (table == NULL)
			return; /* done before */
		registry_remove(apply, other);
	}
	if (table == NULL || table->filtered)
	{
		/* Rows that came from outside the filter were not sent. */
		other = target_table(apply, event, stmt, to);
		if (!other->filtered && !OidIsValid(other->relid))
		{
			other->state = TABLE_RESYNC_NEEDED;
			other->state_detail =
				MemoryContextStrdup(other->context, "renamed from a table that the feed left out");
			registry_store(apply, other);
		}
		return;
	}
	name_check(database.data, database.len, "database");
	name_check(to->name.data, to->name.len, "table");
	registry_rename(apply, table, database.data, database.len, to->name.data, to->name.len);
	if (table->adopted || !OidIsValid(table->relid))
		return;
	if (!filter_matches(apply->filter, table->database_key, table->table_key))
	{
		registry_set_state(apply, table, TABLE_DETACHED, "renamed out of the feed's filter");
		return;
	}
	routed = routes_target(apply->routes, table->database, table->table, &schema, &name);
	if (!routed)
	{
		schema = apply->config.fold_names ? table->database_key : table->database;
		name = apply->config.fold_names ? table->table_key : table->table;
	}
	schema = name_mangle(schema);
	name = name_mangle(name);
	if (!routed && name_schema_protected(schema))
	{
		registry_set_state(apply, table, TABLE_ERROR, "renamed into a protected schema");
		return;
	}
	apply->engine->create_schema(apply->conn, schema, apply->config.owner);
	nsp = get_namespace_oid(schema, false);
	if (OidIsValid(get_relname_relid(name, nsp)) && get_relname_relid(name, nsp) != table->relid)
	{
		registry_set_state(apply, table, TABLE_ERROR,
						   psprintf("the name %s is taken by a relation that is not the feed's",
									quote_qualified_identifier(schema, name)));
		return;
	}
	apply->engine->rename_table(apply->conn, table->relid, schema, name);
}

static void
rename_tables(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	ApplyTable *table = NULL;

	for (int i = 0; i < stmt->nrenames; i++)
	{
		table = source_table(apply, event, stmt, &stmt->renames[i].from, &stmt->renames[i].to);
		rename_table(apply, event, stmt, table, &stmt->renames[i].to);
		if (stmt->nrenames > 1 && table != NULL && !table->filtered)
			registry_set_state(apply, table, TABLE_RESYNC_NEEDED,
							   "renamed together with other tables: Drainer then misnames rows");
	}
}

/* ---------------------------------------------------------------- rows that are not sent */

static void
resync_needed(Apply *apply, ApplyTable *table, const DdlStatement *stmt)
{
	if (table == NULL || table->filtered)
		return;
	registry_set_state(apply, table, TABLE_RESYNC_NEEDED,
					   psprintf("%s changed rows that the stream does not send", stmt->what));
}

static void
resync_all(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	List *tables = NIL;
	ListCell *lc;

	if (stmt->name.name.data != NULL && stmt->kind != DDL_FLASHBACK_DATABASE)
	{
		const DdlName *name = &stmt->name;
		DdlName renamed = {stmt->name.database, stmt->rename_to};

		if (stmt->rename_to.data != NULL)
			name = &renamed;
		tables = lappend(tables, target_table(apply, event, stmt, name));
	}
	for (int i = 0; i < stmt->nnames; i++)
		tables = lappend(tables, target_table(apply, event, stmt, &stmt->names[i]));
	foreach (lc, tables)
	{
		ApplyTable *table = lfirst(lc);

		if (!table->filtered && !OidIsValid(table->relid))
			registry_store(apply, table);
		resync_needed(apply, table, stmt);
	}
	if (tables == NIL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("DDL of the stream changes rows of tables that it does not name"),
						errdetail("%.*s", SLICE(event->ddl_text)),
						errhint("Drop the feed with its tables and start again from a dump.")));
}

/* ---------------------------------------------------------------- indexes */

static void
index_changed(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	ApplyTable *table = known_table(apply, event, stmt, &stmt->name);

	if (table == NULL || table->filtered || table->ncolumns == 0)
		return;
	if (stmt->kind == DDL_DROP_INDEX)
		schema_drop_key(table, stmt->key_name.data, stmt->key_name.len);
	else
		schema_add_keys(table, stmt->keys, stmt->nkeys);
	schema_rekey(apply, table);
	registry_store(apply, table);
}

/* ---------------------------------------------------------------- one statement */

/* The new name that ALTER TABLE gives, or NULL. */
static const DdlName *
renamed_to(const DdlStatement *stmt)
{
	const DdlName *name = NULL;

	for (int i = 0; i < stmt->nclauses; i++)
		if (stmt->clauses[i].kind == DDL_ALTER_RENAME_TABLE)
			name = &stmt->clauses[i].table;
	return name;
}

static void
dispatch(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	switch (stmt->kind)
	{
		case DDL_CREATE_DATABASE:
			create_database(apply, stmt);
			break;
		case DDL_DROP_DATABASE:
			drop_database(apply, stmt);
			break;
		case DDL_CREATE_TABLE:
			create_table(apply, event, stmt);
			break;
		case DDL_CREATE_TABLE_LIKE:
			create_table_like(apply, event, stmt);
			break;
		case DDL_DROP_TABLE:
			if (stmt->temporary == DDL_PERMANENT)
				drop_tables(apply, event, stmt);
			break;
		case DDL_RENAME_TABLE:
			rename_tables(apply, event, stmt);
			break;
		case DDL_TRUNCATE_TABLE:
			truncate_table(apply, known_table(apply, event, stmt, &stmt->name));
			break;
		case DDL_ALTER_TABLE:
		{
			const DdlName *to = renamed_to(stmt);
			ApplyTable *table = to != NULL ? source_table(apply, event, stmt, &stmt->name, to)
										   : known_table(apply, event, stmt, &stmt->name);

			apply->current_table = table;
			if (table != NULL && !table->filtered)
				schema_alter_table(apply, table, event, stmt);
			apply->current_table = NULL;
			for (int i = 0; i < stmt->nclauses; i++)
				if (stmt->clauses[i].kind == DDL_ALTER_RENAME_TABLE)
					rename_table(apply, event, stmt, table, &stmt->clauses[i].table);
				else if (stmt->clauses[i].kind == DDL_ALTER_EXCHANGE_PARTITION)
					resync_needed(apply, known_table(apply, event, stmt, &stmt->clauses[i].table),
								  stmt);
			break;
		}
		case DDL_CREATE_INDEX:
		case DDL_DROP_INDEX:
			index_changed(apply, event, stmt);
			break;
		case DDL_RECOVER_TABLE:
		case DDL_FLASHBACK_TABLE:
		case DDL_FLASHBACK_DATABASE:
		case DDL_FLASHBACK_CLUSTER:
			resync_all(apply, event, stmt);
			break;
		default:
			break; /* no effect on tables */
	}
}

/*
 * Execute one statement of the stream in the open transaction. Rows before it are written first.
 */
void
schema_execute(Apply *apply, const Event *event, const DdlStatement *stmt)
{
	char described[512];
	MemoryContext old = MemoryContextSwitchTo(CurTransactionContext);

	ereport(DEBUG1, (errmsg("feed \"%s\": %s", apply->config.feed_name,
							ddl_describe(stmt, described, sizeof(described)))));
	apply_flush(apply);
	apply_close_handles(apply);
	LockTimeout = apply->config.lock_timeout_ms;
	dispatch(apply, event, stmt);
	LockTimeout = 0;
	if (schema_needs_cut(stmt))
		apply->cut_due = true;
	MemoryContextSwitchTo(old);
}
