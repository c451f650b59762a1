/*
 * inprocess_ddl.c
 *		DDL of the in-process engine: definitions become statements of PostgreSQL.
 *
 * Statements are put together from identifiers that are quoted, types that the server formats and
 * literals that are quoted, never from text of the stream, and run through SPI as the owner of
 * the table, with SECURITY_RESTRICTED_OPERATION; so the owner's rights decide.
 *
 * Locks.  What needs an exclusive lock takes it first, in one place (inprocess_lock), under the
 * caller's lock_timeout; the error then names a session that holds the table. Several relations
 * are locked one at a time, in the caller's order.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "api/engine_inprocess.h"

/*
 * Run one statement as `owner`.
 */
static void
run_as(Oid owner, const char *statement)
{
	SavedUser saved;
	int rc;

	inprocess_become(owner, &saved);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	rc = SPI_execute(statement, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute failed: %s: %s", SPI_result_code_string(rc), statement);
	SPI_finish();
	PopActiveSnapshot();
	inprocess_restore_user(&saved);
	CommandCounterIncrement();
}

/*
 * Which session holds a table in a mode that conflicts? For a message only: it may be gone a moment
 * later.
 */
static int
lock_holder(Oid relid, LOCKMODE mode)
{
	LOCKTAG tag;
	VirtualTransactionId *holders;
	PGPROC *proc;
	int n;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	holders = GetLockConflicts(&tag, mode, &n);
	if (n == 0)
		return 0;
	proc = ProcNumberGetProc(holders[0].procNumber);
	return proc ? proc->pid : 0;
}

/*
 * Lock a relation under the caller's lock_timeout; the error says who holds it.
 */
void
inprocess_lock(Oid relid, LOCKMODE mode)
{
	MemoryContext caller = CurrentMemoryContext;
	char *name;
	int holder;

	if (ConditionalLockRelationOid(relid, mode))
		return;
	name = get_rel_name(relid);
	holder = lock_holder(relid, mode);
	PG_TRY();
	{
		LockRelationOid(relid, mode);
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		if (edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE && holder != 0)
			edata->detail =
				psprintf("waiting for lock on %s held by pid %d", name ? name : "a table", holder);
		FlushErrorState();
		ReThrowError(edata);
	}
	PG_END_TRY();
}

static const char *
qualified_name(Oid relid)
{
	char *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

static Oid
relation_owner(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* "type(typmod)", with the collation that makes text compare by bytes. */
static void
append_type(StringInfo buf, const MagicColumnDef *column)
{
	appendStringInfoString(
		buf, format_type_extended(column->type, column->typmod,
								  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	if (column->type == TEXTOID)
		appendStringInfoString(buf, " COLLATE pg_catalog.\"C\"");
}

void
inprocess_create_schema(MagicConnection *conn, const char *name, Oid owner)
{
	if (OidIsValid(get_namespace_oid(name, true)))
		return;
	run_as(owner, psprintf("CREATE SCHEMA %s", quote_identifier(name)));
}

/* Does any object depend on the schema, that is: is anything in it? */
static bool
schema_is_empty(Oid nsp)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	bool empty;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(NamespaceRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(nsp));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
	empty = !HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return empty;
}

void
inprocess_drop_schema(MagicConnection *conn, const char *name, Oid owner)
{
	Oid nsp = get_namespace_oid(name, true);

	if (!OidIsValid(nsp) || !object_ownercheck(NamespaceRelationId, nsp, owner) ||
		!schema_is_empty(nsp))
		return;
	run_as(owner, psprintf("DROP SCHEMA %s", quote_identifier(name)));
}

/*
 * Let the readers see a table. They get USAGE on the schema as well, if the owner may give it.
 */
static void
grant(Oid owner, const char *schema, const char *name, List *readers)
{
	StringInfoData roles;
	ListCell *lc;

	if (readers == NIL)
		return;
	initStringInfo(&roles);
	foreach (lc, readers)
		appendStringInfo(&roles, "%s%s", roles.len > 0 ? ", " : "",
						 quote_identifier(GetUserNameFromId(lfirst_oid(lc), false)));
	if (object_ownercheck(NamespaceRelationId, get_namespace_oid(schema, false), owner))
		run_as(owner,
			   psprintf("GRANT USAGE ON SCHEMA %s TO %s", quote_identifier(schema), roles.data));
	run_as(owner, psprintf("GRANT SELECT ON TABLE %s TO %s",
						   quote_qualified_identifier(schema, name), roles.data));
}

void
inprocess_grant_readers(MagicConnection *conn, Oid relid, List *readers)
{
	char *name = get_rel_name(relid);
	List *lacking = NIL;
	ListCell *lc;

	if (name == NULL)
		return;
	foreach (lc, readers)
		if (pg_class_aclcheck(relid, lfirst_oid(lc), ACL_SELECT) != ACLCHECK_OK)
			lacking = lappend_oid(lacking, lfirst_oid(lc));
	grant(relation_owner(relid), get_namespace_name(get_rel_namespace(relid)), name, lacking);
}

Oid
inprocess_create_table(MagicConnection *conn, const MagicTableDef *def)
{
	StringInfoData buf;
	Oid nsp;

	initStringInfo(&buf);
	appendStringInfo(&buf, "CREATE TABLE %s (", quote_qualified_identifier(def->schema, def->name));
	for (int i = 0; i < def->ncolumns; i++)
	{
		MagicColumnDef *column = &def->columns[i];

		appendStringInfo(&buf, "%s%s ", i > 0 ? ", " : "", quote_identifier(column->name));
		append_type(&buf, column);
		if (column->not_null)
			appendStringInfoString(&buf, " NOT NULL");
	}
	if (def->nkeys > 0)
	{
		appendStringInfoString(&buf, ", PRIMARY KEY (");
		for (int i = 0; i < def->nkeys; i++)
			appendStringInfo(&buf, "%s%s", i > 0 ? ", " : "",
							 quote_identifier(def->columns[def->keys[i]].name));
		appendStringInfoChar(&buf, ')');
	}
	appendStringInfo(&buf, ") USING %s", quote_identifier(INPROCESS_ACCESS_METHOD));
	run_as(def->owner, buf.data);
	grant(def->owner, def->schema, def->name, def->readers);
	nsp = get_namespace_oid(def->schema, false);
	return get_relname_relid(def->name, nsp);
}

void
inprocess_drop_table(MagicConnection *conn, Oid relid)
{
	inprocess_lock(relid, AccessExclusiveLock);
	run_as(relation_owner(relid), psprintf("DROP TABLE %s", qualified_name(relid)));
}

void
inprocess_rename_table(MagicConnection *conn, Oid relid, const char *schema, const char *name)
{
	Oid owner;

	inprocess_lock(relid, AccessExclusiveLock);
	owner = relation_owner(relid);
	if (get_rel_namespace(relid) != get_namespace_oid(schema, false))
	{
		/* Not through a name that may be taken on either side: by a name of its own. */
		run_as(owner, psprintf("ALTER TABLE %s RENAME TO %s", qualified_name(relid),
							   quote_identifier(psprintf("magic rename %u", relid))));
		run_as(owner, psprintf("ALTER TABLE %s SET SCHEMA %s", qualified_name(relid),
							   quote_identifier(schema)));
	}
	if (strcmp(get_rel_name(relid), name) != 0)
		run_as(owner, psprintf("ALTER TABLE %s RENAME TO %s", qualified_name(relid),
							   quote_identifier(name)));
}

/* The name of the primary key constraint, NULL if the table has none. */
static char *
primary_key_name(Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	Oid index;
	char *name;

	(void) RelationGetIndexList(rel);
	index = rel->rd_pkindex;
	name = OidIsValid(index) ? get_rel_name(index) : NULL;
	table_close(rel, NoLock);
	return name;
}

static void
append_add_column(StringInfo buf, const MagicColumnDef *column)
{
	appendStringInfo(buf, "ADD COLUMN %s ", quote_identifier(column->name));
	append_type(buf, column);
	if (column->existing_value != NULL)
		appendStringInfo(buf, " DEFAULT %s", quote_literal_cstr(column->existing_value));
	if (column->not_null)
		appendStringInfoString(buf, " NOT NULL");
}

static void
append_alter_type(StringInfo buf, const MagicAlter *step)
{
	const char *name = quote_identifier(step->name);

	appendStringInfo(buf, "ALTER COLUMN %s TYPE ", name);
	append_type(buf, &step->column);
	if (step->using_template != NULL)
	{
		const char *p = step->using_template;
		const char *hit;

		appendStringInfoString(buf, " USING ");
		while ((hit = strstr(p, "%s")) != NULL)
		{
			appendBinaryStringInfo(buf, p, hit - p);
			appendStringInfoString(buf, name);
			p = hit + 2;
		}
		appendStringInfoString(buf, p);
	}
}

static void
append_key(StringInfo buf, List *keys)
{
	ListCell *lc;

	appendStringInfoString(buf, "ADD PRIMARY KEY (");
	foreach (lc, keys)
		appendStringInfo(buf, "%s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 quote_identifier((char *) lfirst(lc)));
	appendStringInfoChar(buf, ')');
}

/*
 * The statement of one step; false = nothing to do.
 */
static bool
append_step(StringInfo buf, Oid relid, const MagicAlter *step)
{
	char *key;

	switch (step->kind)
	{
		case MAGIC_ADD_COLUMN:
			append_add_column(buf, &step->column);
			return true;
		case MAGIC_DROP_COLUMN:
			appendStringInfo(buf, "DROP COLUMN %s", quote_identifier(step->name));
			return true;
		case MAGIC_RENAME_COLUMN:
			appendStringInfo(buf, "RENAME COLUMN %s TO ", quote_identifier(step->name));
			appendStringInfoString(buf, quote_identifier(step->column.name));
			return true;
		case MAGIC_ALTER_TYPE:
			append_alter_type(buf, step);
			return true;
		case MAGIC_SET_NOT_NULL:
			appendStringInfo(buf, "ALTER COLUMN %s SET NOT NULL", quote_identifier(step->name));
			return true;
		case MAGIC_DROP_NOT_NULL:
			appendStringInfo(buf, "ALTER COLUMN %s DROP NOT NULL", quote_identifier(step->name));
			return true;
		case MAGIC_SET_KEY:
		case MAGIC_DROP_KEY:
			key = primary_key_name(relid);
			if (key != NULL)
				appendStringInfo(buf, "DROP CONSTRAINT %s", quote_identifier(key));
			if (step->kind == MAGIC_SET_KEY)
			{
				if (key != NULL)
					appendStringInfoString(buf, ", ");
				append_key(buf, step->keys);
				return true;
			}
			return key != NULL;
	}
	return false;
}

/*
 * Steps run one after the other in the caller's transaction, under one lock.
 */
void
inprocess_alter_table(MagicConnection *conn, Oid relid, const MagicAlter *steps, int nsteps)
{
	Oid owner;

	inprocess_lock(relid, AccessExclusiveLock);
	owner = relation_owner(relid);
	for (int i = 0; i < nsteps; i++)
	{
		StringInfoData buf;

		initStringInfo(&buf);
		appendStringInfo(&buf, "ALTER TABLE %s ", qualified_name(relid));
		if (!append_step(&buf, relid, &steps[i]))
			continue;
		run_as(owner, buf.data);
		if (steps[i].kind == MAGIC_ADD_COLUMN && steps[i].column.existing_value != NULL)
			run_as(owner, psprintf("ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT",
								   qualified_name(relid), quote_identifier(steps[i].column.name)));
	}
}

/*
 * The present definition of a table: live columns in order, key columns of its primary key.
 */
MagicTableDef *
inprocess_describe(MagicConnection *conn, Oid relid)
{
	Relation rel = try_table_open(relid, AccessShareLock);
	MagicTableDef *def;
	TupleDesc desc;
	Bitmapset *keys;

	if (rel == NULL)
		return NULL;
	desc = RelationGetDescr(rel);
	keys = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	def = palloc0(sizeof(MagicTableDef));
	def->schema = get_namespace_name(RelationGetNamespace(rel));
	def->name = pstrdup(RelationGetRelationName(rel));
	def->owner = rel->rd_rel->relowner;
	def->columns = palloc0(Max(desc->natts, 1) * sizeof(MagicColumnDef));
	def->keys = palloc0(Max(desc->natts, 1) * sizeof(int));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		MagicColumnDef *column;

		if (att->attisdropped)
			continue;
		if (bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, keys))
			def->keys[def->nkeys++] = def->ncolumns;
		column = &def->columns[def->ncolumns++];
		column->name = pstrdup(NameStr(att->attname));
		column->attno = att->attnum;
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->not_null = att->attnotnull;
	}
	table_close(rel, AccessShareLock);
	return def;
}
