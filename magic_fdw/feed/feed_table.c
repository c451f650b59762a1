/*
 * feed_table.c
 *		SQL functions about single tables of a feed: adopt_table, set_key.
 *
 * Both change the registry that the feed's worker keeps in memory; the relcache invalidation of
 * magic.feed_table at commit tells it to read again.
 */
#include "feed/feed_internal.h"

#include "magic_compat.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

extern PGDLLEXPORT Datum magic_adopt_table(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum magic_set_key(PG_FUNCTION_ARGS);

PG_FUNCTION_INFO_V1(magic_adopt_table);
PG_FUNCTION_INFO_V1(magic_set_key);

static void
registry_changed(Oid relid)
{
	CacheInvalidateRelcacheByRelid(
		get_relname_relid("feed_table", get_namespace_oid("magic", false)));
	CacheInvalidateRelcacheByRelid(relid);
}

/* An ordinary, permanent table that the caller owns. */
static void
check_relation(Oid relid)
{
	Relation rel = relation_open(relid, AccessShareLock);

	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not an ordinary permanent table",
							   RelationGetRelationName(rel))));
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(rel));
	relation_close(rel, NoLock);
}

/* "database.table"; a part may stand in back-quotes. */
static void
split_name(const char *full, char **database, char **table)
{
	StringInfoData parts[2];
	int part = 0;
	bool quoted = false;

	initStringInfo(&parts[0]);
	initStringInfo(&parts[1]);
	for (const char *p = full; *p; p++)
	{
		if (*p == '`' && quoted && p[1] == '`')
			appendStringInfoChar(&parts[part], *p++);
		else if (*p == '`')
			quoted = !quoted;
		else if (*p == '.' && !quoted && part == 0)
			part = 1;
		else
			appendStringInfoChar(&parts[part], *p);
	}
	if (part == 0 || quoted || parts[0].len == 0 || parts[1].len == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid TiDB table name: \"%s\"", full),
						errhint("Write database.table; a name with a dot in back-quotes.")));
	*database = parts[0].data;
	*table = parts[1].data;
}

/* TiDB folds ASCII only. */
static char *
ascii_lower(const char *text)
{
	char *lower = pstrdup(text);

	for (char *p = lower; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	return lower;
}

/*
 * adopt_table(feed, tidb_table, rel): from now on the feed writes that TiDB table's changes to rel.
 */
Datum
magic_adopt_table(PG_FUNCTION_ARGS)
{
	char *feed = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid relid = PG_GETARG_OID(2);
	char *database;
	char *table;
	FeedSpi spi;
	Oid types[6] = {INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, REGCLASSOID};
	Datum values[6];

	split_name(text_to_cstring(PG_GETARG_TEXT_PP(1)), &database, &table);
	check_relation(relid);
	feed_spi_begin(&spi);
	values[0] = Int32GetDatum(feed_lock_row(feed));
	values[1] = CStringGetTextDatum(ascii_lower(database));
	values[2] = CStringGetTextDatum(ascii_lower(table));
	values[3] = CStringGetTextDatum(database);
	values[4] = CStringGetTextDatum(table);
	values[5] = ObjectIdGetDatum(relid);
	feed_spi_execute("INSERT INTO magic.feed_table (feed_id, database_key, table_key,"
					 " tidb_database, tidb_table, relation, relation_oid, adopted)"
					 " VALUES ($1, $2, $3, $4, $5, $6, $6, true)"
					 " ON CONFLICT (feed_id, database_key, table_key) DO UPDATE SET"
					 " relation = excluded.relation, relation_oid = excluded.relation_oid,"
					 " adopted = true, state = 'unverified',"
					 " state_detail = 'adopted after changes had been left out'"
					 " WHERE feed_table.state IN ('error', 'detached', 'resync needed')",
					 6, types, values, NULL, false);
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("feed \"%s\" already writes TiDB table \"%s\".\"%s\" to a relation",
							   feed, database, table)));
	feed_spi_end(&spi);
	registry_changed(relid);
	PG_RETURN_VOID();
}

/* Quoted names, joined; checks that each is a column of the table. */
static char *
column_list(Oid relid, ArrayType *columns)
{
	StringInfoData buf;
	Datum *elements;
	bool *nulls;
	int n;

	initStringInfo(&buf);
	deconstruct_array(columns, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char *name = nulls[i] ? "" : TextDatumGetCString(elements[i]);

		if (get_attnum(relid, name) <= 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("column \"%s\" of relation \"%s\" does not exist", name,
								   get_rel_name(relid))));
		appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "", quote_identifier(name));
	}
	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a key needs at least one column")));
	return buf.data;
}

/* Replace the primary key of a table, as its owner. */
static void
replace_primary_key(Oid relid, const char *columns)
{
	char *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
											get_rel_name(relid));
	Relation rel = table_open(relid, AccessExclusiveLock);
	Oid owner = rel->rd_rel->relowner;
	Oid index;
	Oid user;
	int sec_context;
	StringInfoData buf;

	(void) RelationGetIndexList(rel);
	index = rel->rd_pkindex;
	table_close(rel, NoLock);
	initStringInfo(&buf);
	appendStringInfo(&buf, "ALTER TABLE %s ", name);
	if (OidIsValid(index))
		appendStringInfo(&buf, "DROP CONSTRAINT %s, ", quote_identifier(get_rel_name(index)));
	appendStringInfo(&buf, "ADD PRIMARY KEY (%s)", columns);
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(owner, sec_context | SECURITY_RESTRICTED_OPERATION);
	if (SPI_execute(buf.data, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not make the primary key");
	SetUserIdAndSecContext(user, sec_context);
}

/*
 * set_key(rel, columns): these columns identify the rows of a feed's table.
 */
Datum
magic_set_key(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	ArrayType *columns = PG_GETARG_ARRAYTYPE_P(1);
	Oid types[2] = {REGCLASSOID, TEXTARRAYOID};
	Datum values[2] = {ObjectIdGetDatum(relid), PointerGetDatum(columns)};
	char *list;
	FeedSpi spi;

	check_relation(relid);
	/* as the worker does: first the table, then its row in the registry */
	LockRelationOid(relid, AccessExclusiveLock);
	list = column_list(relid, columns);
	feed_spi_begin(&spi);
	if (feed_spi_execute("WITH k AS (SELECT array_agg(c.name ORDER BY w.i) AS names"
						 "  FROM unnest($2) WITH ORDINALITY w(n, i)"
						 "  JOIN magic.feed_column c ON c.column_name = w.n"
						 "  JOIN magic.feed_table t USING (feed_id, database_key, table_key)"
						 "  WHERE t.relation = $1)"
						 " UPDATE magic.feed_table SET key_columns = k.names,"
						 "  unique_keys = array_prepend('+set_key' || chr(31) ||"
						 "   array_to_string(k.names, chr(31)), unique_keys),"
						 "  state = CASE state WHEN 'key unknown' THEN 'ok' ELSE state END"
						 " FROM k WHERE relation = $1 AND k.names IS NOT NULL",
						 2, types, values, NULL, false) != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" belongs to no feed, or its columns are not known yet",
							   get_rel_name(relid)),
						errhint("The columns are known once the feed has seen the table's DDL or "
								"rows; see magic.feed_tables.")));
	feed_spi_execute("UPDATE magic.feed_column c SET not_null = true FROM magic.feed_table t"
					 " WHERE t.relation = $1 AND (t.feed_id, t.database_key, t.table_key) ="
					 " (c.feed_id, c.database_key, c.table_key) AND c.column_name = ANY ($2)",
					 2, types, values, NULL, false);
	replace_primary_key(relid, list);
	feed_spi_end(&spi);
	registry_changed(relid);
	PG_RETURN_VOID();
}
