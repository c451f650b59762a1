/*
 * registry.c
 *		The feed's tables: magic.feed_table and magic.feed_column, and what is known of them here.
 *
 * A table is found by its lower-cased TiDB name and written to by the OID of its relation. It is
 * read from the registry on its first event, kept in memory, and forgotten when a transaction
 * was rolled back or another session changed the registry. Its relation is matched with the
 * definition (attribute numbers, types) again whenever the relation may have changed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "apply/apply_int.h"

#define NAME_SEPARATOR '\x1f'

static const char *const state_names[] = {
	[TABLE_OK] = "ok",
	[TABLE_KEY_UNKNOWN] = "key unknown",
	[TABLE_PENDING_DDL] = "pending DDL",
	[TABLE_RESYNC_NEEDED] = "resync needed",
	[TABLE_UNVERIFIED] = "unverified",
	[TABLE_UNSUPPORTED] = "unsupported",
	[TABLE_DETACHED] = "detached",
	[TABLE_ERROR] = "error",
};

static const char *const warning_names[NWARNINGS] = {
	[WARNING_ZERO_DATE] = "zero_date",	   [WARNING_BAD_TEXT] = "bad_text",
	[WARNING_ENUM_NUMBER] = "enum_number", [WARNING_DEFAULT_NOW] = "default_now",
	[WARNING_CONVERTED] = "converted",	   [WARNING_UNKNOWN_COLUMN] = "unknown_column",
};

/* ---------------------------------------------------------------- SPI, in short */

#define MAX_ARGS 20

typedef struct Statement
{
	const char *text;
	SPIPlanPtr plan;
	int n;
	Oid types[MAX_ARGS];
	Datum values[MAX_ARGS];
	char nulls[MAX_ARGS];
} Statement;

static void
arg(Statement *stmt, Oid type, Datum value, bool isnull)
{
	Assert(stmt->n < MAX_ARGS);
	stmt->types[stmt->n] = type;
	stmt->values[stmt->n] = value;
	stmt->nulls[stmt->n++] = isnull ? 'n' : ' ';
}

static void
arg_int(Statement *stmt, int32 value)
{
	arg(stmt, INT4OID, Int32GetDatum(value), false);
}

static void
arg_bigint(Statement *stmt, int64 value)
{
	arg(stmt, INT8OID, Int64GetDatum(value), false);
}

static void
arg_text(Statement *stmt, const char *value)
{
	arg(stmt, TEXTOID, value ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

static void
arg_bool(Statement *stmt, bool value)
{
	arg(stmt, BOOLOID, BoolGetDatum(value), false);
}

static void
arg_texts(Statement *stmt, Datum *texts, int n)
{
	ArrayType *array = construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT);

	arg(stmt, TEXTARRAYOID, PointerGetDatum(array), false);
}

/* The key of a table, as the first three arguments. */
static void
arg_table(Statement *stmt, Apply *apply, const ApplyTable *table)
{
	arg_int(stmt, apply->config.feed_id);
	arg_text(stmt, table->database_key);
	arg_text(stmt, table->table_key);
}

/*
 * Run; the statement is prepared once for each process. SPI is connected by the caller.
 */
static void
run(Statement *stmt, SPIPlanPtr *plan, const char *text)
{
	if (*plan == NULL)
	{
		*plan = SPI_prepare(text, stmt->n, stmt->types);
		if (*plan == NULL)
			elog(ERROR, "could not prepare: %s", text);
		SPI_keepplan(*plan);
	}
	if (SPI_execute_plan(*plan, stmt->values, stmt->nulls, false, 0) < 0)
		elog(ERROR, "could not execute: %s", text);
}

static void
spi_begin(void)
{
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
}

static void
spi_end(void)
{
	SPI_finish();
	PopActiveSnapshot();
}

static Datum
field(HeapTuple tuple, int column, bool *isnull)
{
	return SPI_getbinval(tuple, SPI_tuptable->tupdesc, column, isnull);
}

static char *
field_text(HeapTuple tuple, int column)
{
	bool isnull;
	Datum value = field(tuple, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int32
field_int(HeapTuple tuple, int column)
{
	bool isnull;

	return DatumGetInt32(field(tuple, column, &isnull));
}

static bool
field_bool(HeapTuple tuple, int column)
{
	bool isnull;

	return DatumGetBool(field(tuple, column, &isnull));
}

/* A text[] as C strings; 0 for NULL. */
static int
field_texts(HeapTuple tuple, int column, char ***texts)
{
	bool isnull;
	Datum value = field(tuple, column, &isnull);
	Datum *elements;
	int n;

	*texts = NULL;
	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &n);
	*texts = palloc(Max(n, 1) * sizeof(char *));
	for (int i = 0; i < n; i++)
		(*texts)[i] = TextDatumGetCString(elements[i]);
	return n;
}

/* ---------------------------------------------------------------- tables in memory */

static char *
hash_key_of(const char *database_key, const char *table_key)
{
	return psprintf("%s%c%s", database_key, NAME_SEPARATOR, table_key);
}

static TableEntry *
hash_entry(Apply *apply, const char *key, HASHACTION action, bool *found)
{
	char buf[512];

	/* TiDB's names have at most 64 characters each. */
	if (strlcpy(buf, key, sizeof(buf)) >= sizeof(buf))
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("the stream has a table name that is too long: \"%.100s...\"", key)));
	if (apply->tables == NULL)
	{
		HASHCTL ctl = {
			.keysize = 512, .entrysize = sizeof(TableEntry), .hcxt = apply->tables_context};

		apply->tables =
			hash_create("feed tables", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	return hash_search(apply->tables, buf, action, found);
}

static ApplyTable *
new_table(Apply *apply, const char *database, size_t database_len, const char *name,
		  size_t name_len)
{
	MemoryContext context =
		AllocSetContextCreate(apply->tables_context, "feed table", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ApplyTable *table = palloc0(sizeof(ApplyTable));

	table->context = context;
	table->database = pnstrdup(database, database_len);
	table->table = pnstrdup(name, name_len);
	table->database_key = name_lower(database, database_len);
	table->table_key = name_lower(name, name_len);
	table->hash_key = hash_key_of(table->database_key, table->table_key);
	MemoryContextSwitchTo(old);
	return table;
}

static void
remember(Apply *apply, ApplyTable *table)
{
	bool found;
	TableEntry *entry = hash_entry(apply, table->hash_key, HASH_ENTER, &found);

	entry->table = table;
}

static void
forget(Apply *apply, ApplyTable *table)
{
	hash_entry(apply, table->hash_key, HASH_REMOVE, NULL);
	apply->last_table = NULL;
	apply->last_serial = 0;
}

/*
 * Forget everything; only between transactions.
 */
void
registry_forget(Apply *apply)
{
	apply->tables = NULL;
	apply->last_table = NULL;
	apply->last_serial = 0;
	list_free(apply->touched);
	apply->touched = NIL;
	list_free(apply->windows);
	apply->windows = NIL;
	MemoryContextReset(apply->tables_context);
}

/* ---------------------------------------------------------------- keys */

static List *
keys_from_texts(char **texts, int n)
{
	List *keys = NIL;

	for (int i = 0; i < n; i++)
	{
		ApplyKey *key = palloc0(sizeof(ApplyKey));
		char *p = texts[i];

		key->names = palloc((strlen(p) + 2) * sizeof(char *));
		key->usable = *p++ == '+';
		for (;;)
		{
			char *end = strchr(p, NAME_SEPARATOR);

			key->names[key->n++] = end ? pnstrdup(p, end - p) : pstrdup(p);
			if (end == NULL)
				break;
			p = end + 1;
		}
		keys = lappend(keys, key);
	}
	return keys;
}

/* "+" or "-" (usable), then name and columns. */
static Datum
key_text(const ApplyKey *key)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, key->usable ? '+' : '-');
	for (int i = 0; i < key->n; i++)
		appendStringInfo(&buf, "%s%s", i > 0 ? "\x1f" : "", key->names[i]);
	return CStringGetTextDatum(buf.data);
}

/* ---------------------------------------------------------------- reading */

static void
load_columns(Apply *apply, ApplyTable *table, char **key_columns, int nkeys)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};
	MemoryContext old;

	arg_table(&stmt, apply, table);
	run(&stmt, &plan,
		"SELECT name, column_name, type, is_unsigned, length, decimals, not_null, generated,"
		" members FROM magic.feed_column WHERE feed_id OPERATOR(pg_catalog.=) $1"
		" AND database_key OPERATOR(pg_catalog.=) $2 AND table_key OPERATOR(pg_catalog.=) $3"
		" ORDER BY number");

	old = MemoryContextSwitchTo(table->context);
	table->ncolumns = (int) SPI_processed;
	table->columns = palloc0(Max(table->ncolumns, 1) * sizeof(ApplyColumn));
	for (int i = 0; i < table->ncolumns; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		ApplyColumn *column = &table->columns[i];

		column->name = field_text(tuple, 1);
		column->pgname = field_text(tuple, 2);
		column->type = field_int(tuple, 3);
		column->is_unsigned = field_bool(tuple, 4);
		column->length = field_int(tuple, 5);
		column->decimals = field_int(tuple, 6);
		column->not_null = field_bool(tuple, 7);
		column->generated = field_bool(tuple, 8);
		column->nmembers = field_texts(tuple, 9, &column->members);
		column->vector = -1;
		for (int k = 0; k < nkeys; k++)
			column->key |= pg_strcasecmp(column->name, key_columns[k]) == 0;
	}
	MemoryContextSwitchTo(old);
}

/*
 * Read one table from the registry; NULL if it is not there.
 */
static ApplyTable *
load_table(Apply *apply, const char *database_key, const char *table_key, Oid *taken_oid)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};
	ApplyTable *table = NULL;

	spi_begin();
	arg_int(&stmt, apply->config.feed_id);
	arg_text(&stmt, database_key);
	arg_text(&stmt, table_key);
	run(&stmt, &plan,
		"SELECT tidb_database, tidb_table, relation::pg_catalog.oid, adopted, state, state_detail,"
		" key_columns, unique_keys, warnings::pg_catalog.text, relation_oid FROM magic.feed_table"
		" WHERE feed_id OPERATOR(pg_catalog.=) $1 AND database_key OPERATOR(pg_catalog.=) $2"
		" AND table_key OPERATOR(pg_catalog.=) $3");
	if (SPI_processed > 0)
	{
		HeapTuple tuple = SPI_tuptable->vals[0];
		char *database = field_text(tuple, 1);
		char *name = field_text(tuple, 2);
		char *state = field_text(tuple, 5);
		char *warnings = field_text(tuple, 9);
		char **key_columns;
		char **keys;
		bool isnull;
		int nkey_columns = field_texts(tuple, 7, &key_columns);
		int nkeys = field_texts(tuple, 8, &keys);
		MemoryContext old;

		table = new_table(apply, database, strlen(database), name, strlen(name));
		table->relid = DatumGetObjectId(field(tuple, 3, &isnull));
		if (isnull)
			table->relid = InvalidOid;
		*taken_oid = DatumGetObjectId(field(tuple, 10, &isnull));
		if (isnull)
			*taken_oid = InvalidOid;
		table->adopted = field_bool(tuple, 4);
		for (int i = 0; i < lengthof(state_names); i++)
			if (strcmp(state, state_names[i]) == 0)
				table->state = i;
		old = MemoryContextSwitchTo(table->context);
		table->state_detail = field_text(tuple, 6);
		table->unique_keys = keys_from_texts(keys, nkeys);
		MemoryContextSwitchTo(old);
		for (int i = 0; i < NWARNINGS; i++)
		{
			char *hit = strstr(warnings, psprintf("\"%s\": ", warning_names[i]));

			if (hit != NULL)
				table->warnings[i] = strtoll(hit + strlen(warning_names[i]) + 4, NULL, 10);
		}
		load_columns(apply, table, key_columns, nkey_columns);
	}
	spi_end();
	return table;
}

/*
 * The table of that TiDB name, or NULL if the feed does not know it yet. A table outside the
 * filter is known as such once it was added.
 */
ApplyTable *
registry_find(Apply *apply, const char *database, size_t database_len, const char *name,
			  size_t name_len)
{
	char *database_key = name_lower(database, database_len);
	char *table_key = name_lower(name, name_len);
	char *key = hash_key_of(database_key, table_key);
	bool found;
	TableEntry *entry = hash_entry(apply, key, HASH_FIND, &found);
	ApplyTable *table;

	if (found)
		table = entry->table;
	else
	{
		Oid taken_oid;

		table = load_table(apply, database_key, table_key, &taken_oid);
		if (table != NULL)
		{
			remember(apply, table);
			registry_resolve(apply, table);
			if (OidIsValid(table->relid) && taken_oid != table->relid)
				registry_store(apply, table); /* restored from a dump: taken anew */
		}
	}
	pfree(key);
	pfree(database_key);
	pfree(table_key);
	return table;
}

/*
 * A new table in memory; registry_store makes it durable.
 */
ApplyTable *
registry_add(Apply *apply, const char *database, size_t database_len, const char *name,
			 size_t name_len)
{
	ApplyTable *table;

	name_check(database, database_len, "database");
	name_check(name, name_len, "table");
	table = new_table(apply, database, database_len, name, name_len);
	table->filtered = !filter_matches(apply->filter, table->database_key, table->table_key);
	remember(apply, table);
	return table;
}

/* Names of the feed's tables that satisfy a condition on $2. */
static List *
find_tables(Apply *apply, SPIPlanPtr *plan, const char *text, const char *name, size_t len)
{
	Statement stmt = {0};
	List *pairs = NIL;
	List *tables = NIL;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	ListCell *lc;

	spi_begin();
	arg_int(&stmt, apply->config.feed_id);
	arg_text(&stmt, name_lower(name, len));
	run(&stmt, plan, text);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		old = MemoryContextSwitchTo(caller);
		pairs = lappend(pairs, field_text(SPI_tuptable->vals[i], 1));
		pairs = lappend(pairs, field_text(SPI_tuptable->vals[i], 2));
		MemoryContextSwitchTo(old);
	}
	spi_end();
	for (lc = list_head(pairs); lc != NULL; lc = lnext(pairs, lc))
	{
		char *database = lfirst(lc);
		char *table;

		lc = lnext(pairs, lc);
		table = lfirst(lc);
		tables =
			lappend(tables, registry_find(apply, database, strlen(database), table, strlen(table)));
	}
	return tables;
}

/* All tables of a database. */
List *
registry_tables_of(Apply *apply, const char *database, size_t len)
{
	static SPIPlanPtr plan = NULL;

	return find_tables(apply, &plan,
					   "SELECT tidb_database, tidb_table FROM magic.feed_table"
					   " WHERE feed_id OPERATOR(pg_catalog.=) $1"
					   " AND database_key OPERATOR(pg_catalog.=) $2 ORDER BY relation",
					   database, len);
}

/* The only table of that name in any database; *nfound says how many there are. */
ApplyTable *
registry_find_by_name(Apply *apply, const char *table, size_t len, int *nfound)
{
	static SPIPlanPtr plan = NULL;
	List *tables = find_tables(apply, &plan,
							   "SELECT tidb_database, tidb_table FROM magic.feed_table"
							   " WHERE feed_id OPERATOR(pg_catalog.=) $1"
							   " AND table_key OPERATOR(pg_catalog.=) $2",
							   table, len);

	*nfound = list_length(tables);
	return *nfound == 1 ? linitial(tables) : NULL;
}

/*
 * Relations of the feed that it made itself.
 */
List *
registry_relations(Apply *apply)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};
	List *relations = NIL;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	bool isnull;

	spi_begin();
	arg_int(&stmt, apply->config.feed_id);
	run(&stmt, &plan,
		"SELECT relation::pg_catalog.oid FROM magic.feed_table"
		" WHERE feed_id OPERATOR(pg_catalog.=) $1 AND relation IS NOT NULL AND NOT adopted");
	old = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
		relations =
			lappend_oid(relations, DatumGetObjectId(field(SPI_tuptable->vals[i], 1, &isnull)));
	MemoryContextSwitchTo(old);
	spi_end();
	return relations;
}

/* ---------------------------------------------------------------- matching with the relation */

static void
detach(Apply *apply, ApplyTable *table, const char *why)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		table->columns[i].attno = 0;
		table->columns[i].vector = -1;
	}
	registry_set_state(apply, table, TABLE_DETACHED, why);
}

/*
 * Match the definition with the relation as it is now: attribute numbers, types, conversions.
 */
void
registry_resolve(Apply *apply, ApplyTable *table)
{
	MagicTableDef *def;
	int vector = 0;

	table->mapped_serial = 0;
	if (!OidIsValid(table->relid) || table->filtered)
		return;
	def = apply->engine->describe(apply->conn, table->relid);
	if (def == NULL)
	{
		detach(apply, table, "the relation was dropped here");
		return;
	}
	table->nkeys = 0;
	for (int i = 0; i < table->ncolumns; i++)
	{
		ApplyColumn *column = &table->columns[i];
		MagicColumnDef *found = NULL;

		column->attno = 0;
		column->vector = -1;
		if (column->pgname == NULL)
			continue;
		for (int d = 0; d < def->ncolumns; d++)
			if (strcmp(def->columns[d].name, column->pgname) == 0)
				found = &def->columns[d];
		if (found == NULL)
		{
			detach(apply, table,
				   psprintf("column \"%s\" was dropped or renamed here", column->pgname));
			return;
		}
		column->attno = found->attno;
		column->vector = vector++;
		convert_choose(column, found->type, found->typmod);
		if (column->key)
			table->nkeys++;
	}
}

/* ---------------------------------------------------------------- writing */

static void
arg_warnings(Statement *stmt, const ApplyTable *table)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = 0; i < NWARNINGS; i++)
		if (table->warnings[i] > 0)
			appendStringInfo(&buf, "%s\"%s\": " INT64_FORMAT, buf.len > 1 ? ", " : "",
							 warning_names[i], table->warnings[i]);
	appendStringInfoChar(&buf, '}');
	arg_text(stmt, buf.data);
}

static void
store_columns(Apply *apply, ApplyTable *table)
{
	static SPIPlanPtr delete_plan = NULL;
	static SPIPlanPtr insert_plan = NULL;
	Statement stmt = {0};

	arg_table(&stmt, apply, table);
	run(&stmt, &delete_plan,
		"DELETE FROM magic.feed_column WHERE feed_id OPERATOR(pg_catalog.=) $1"
		" AND database_key OPERATOR(pg_catalog.=) $2 AND table_key OPERATOR(pg_catalog.=) $3");
	for (int i = 0; i < table->ncolumns; i++)
	{
		ApplyColumn *column = &table->columns[i];
		Datum *members = palloc(Max(column->nmembers, 1) * sizeof(Datum));

		for (int m = 0; m < column->nmembers; m++)
			members[m] = CStringGetTextDatum(column->members[m]);
		stmt.n = 0;
		arg_table(&stmt, apply, table);
		arg_int(&stmt, i + 1);
		arg_text(&stmt, column->name);
		arg_text(&stmt, column->pgname);
		arg_int(&stmt, column->type);
		arg_bool(&stmt, column->is_unsigned);
		arg_int(&stmt, column->length);
		arg_int(&stmt, column->decimals);
		arg_bool(&stmt, column->not_null);
		arg_bool(&stmt, column->generated);
		arg_texts(&stmt, members, column->nmembers);
		run(&stmt, &insert_plan,
			"INSERT INTO magic.feed_column VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
			" $12, $13)");
	}
}

/*
 * Store what is known of a table.
 */
void
registry_store(Apply *apply, ApplyTable *table)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};
	Datum *texts;
	int n = 0;
	ListCell *lc;

	if (table->filtered)
		return;
	texts = palloc((table->ncolumns + 1) * sizeof(Datum));
	spi_begin();
	arg_table(&stmt, apply, table);
	arg_text(&stmt, table->database);
	arg_text(&stmt, table->table);
	arg(&stmt, REGCLASSOID, ObjectIdGetDatum(table->relid), !OidIsValid(table->relid));
	arg_bool(&stmt, table->adopted);
	arg_text(&stmt, state_names[table->state]);
	arg_text(&stmt, table->state_detail);
	for (int i = 0; i < table->ncolumns; i++)
		if (table->columns[i].key)
			texts[n++] = CStringGetTextDatum(table->columns[i].name);
	arg_texts(&stmt, texts, n);
	texts = palloc((list_length(table->unique_keys) + 1) * sizeof(Datum));
	n = 0;
	foreach (lc, table->unique_keys)
		texts[n++] = key_text(lfirst(lc));
	arg_texts(&stmt, texts, n);
	run(&stmt, &plan,
		"INSERT INTO magic.feed_table (feed_id, database_key, table_key, tidb_database,"
		" tidb_table, relation, relation_oid, adopted, state, state_detail, key_columns,"
		" unique_keys) VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, $10, $11)"
		" ON CONFLICT (feed_id, database_key, table_key) DO UPDATE SET"
		" tidb_database = excluded.tidb_database, tidb_table = excluded.tidb_table,"
		" relation = excluded.relation, relation_oid = excluded.relation_oid,"
		" adopted = excluded.adopted, state = excluded.state,"
		" state_detail = excluded.state_detail, key_columns = excluded.key_columns,"
		" unique_keys = excluded.unique_keys");
	store_columns(apply, table);
	spi_end();
}

/*
 * The TiDB table is gone: its row and the memory's knowledge of it.
 */
void
registry_remove(Apply *apply, ApplyTable *table)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};

	spi_begin();
	arg_table(&stmt, apply, table);
	run(&stmt, &plan,
		"DELETE FROM magic.feed_table WHERE feed_id OPERATOR(pg_catalog.=) $1"
		" AND database_key OPERATOR(pg_catalog.=) $2 AND table_key OPERATOR(pg_catalog.=) $3");
	spi_end();
	forget(apply, table);
}

void
registry_rename(Apply *apply, ApplyTable *table, const char *database, size_t database_len,
				const char *name, size_t name_len)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};
	MemoryContext old;

	forget(apply, table);
	spi_begin();
	arg_table(&stmt, apply, table);
	old = MemoryContextSwitchTo(table->context);
	table->database = pnstrdup(database, database_len);
	table->table = pnstrdup(name, name_len);
	table->database_key = name_lower(database, database_len);
	table->table_key = name_lower(name, name_len);
	table->hash_key = hash_key_of(table->database_key, table->table_key);
	MemoryContextSwitchTo(old);
	arg_text(&stmt, table->database_key);
	arg_text(&stmt, table->table_key);
	arg_text(&stmt, table->database);
	arg_text(&stmt, table->table);
	run(&stmt, &plan,
		"UPDATE magic.feed_table SET database_key = $4, table_key = $5, tidb_database = $6,"
		" tidb_table = $7 WHERE feed_id OPERATOR(pg_catalog.=) $1"
		" AND database_key OPERATOR(pg_catalog.=) $2 AND table_key OPERATOR(pg_catalog.=) $3");
	spi_end();
	remember(apply, table);
}

void
registry_set_state(Apply *apply, ApplyTable *table, TableState state, const char *detail)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};

	table->state = state;
	table->state_detail = detail ? MemoryContextStrdup(table->context, detail) : NULL;
	spi_begin();
	arg_table(&stmt, apply, table);
	arg_text(&stmt, state_names[state]);
	arg_text(&stmt, detail);
	run(&stmt, &plan,
		"UPDATE magic.feed_table SET state = $4, state_detail = $5"
		" WHERE feed_id OPERATOR(pg_catalog.=) $1 AND database_key OPERATOR(pg_catalog.=) $2"
		" AND table_key OPERATOR(pg_catalog.=) $3");
	spi_end();
}

/*
 * Add this transaction's counters of a table to its row.
 */
void
registry_store_counters(Apply *apply, ApplyTable *table)
{
	static SPIPlanPtr plan = NULL;
	Statement stmt = {0};

	if (table->inserted + table->updated + table->deleted == 0 && !table->warnings_changed)
		return;
	spi_begin();
	arg_table(&stmt, apply, table);
	arg_bigint(&stmt, table->inserted);
	arg_bigint(&stmt, table->updated);
	arg_bigint(&stmt, table->deleted);
	arg_bigint(&stmt, table->missing_old);
	arg_bigint(&stmt, table->insert_conflict);
	arg_bigint(&stmt, table->last_change_ts);
	arg_warnings(&stmt, table);
	run(&stmt, &plan,
		"UPDATE magic.feed_table SET"
		" rows_inserted = rows_inserted OPERATOR(pg_catalog.+) $4,"
		" rows_updated = rows_updated OPERATOR(pg_catalog.+) $5,"
		" rows_deleted = rows_deleted OPERATOR(pg_catalog.+) $6,"
		" missing_old = missing_old OPERATOR(pg_catalog.+) $7,"
		" insert_conflict = insert_conflict OPERATOR(pg_catalog.+) $8,"
		" last_change_ts = CASE WHEN $9 OPERATOR(pg_catalog.>) 0 THEN $9 ELSE last_change_ts END,"
		" warnings = $10::pg_catalog.jsonb"
		" WHERE feed_id OPERATOR(pg_catalog.=) $1 AND database_key OPERATOR(pg_catalog.=) $2"
		" AND table_key OPERATOR(pg_catalog.=) $3");
	spi_end();
	table->inserted = 0;
	table->updated = 0;
	table->deleted = 0;
	table->missing_old = 0;
	table->insert_conflict = 0;
	table->warnings_changed = false;
}
