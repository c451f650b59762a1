/*
 * engine_inprocess.c
 *		The engine `magic` in this process: connections, transactions, positions, open tables.
 *
 * It works on any table access method: rows go through the table_*, index_* and executor interfaces
 * that COPY and logical replication use. Of `magic` tables three things more are used: one lock
 * for all rows, the deletion of all rows at once, and the merging of small packs. Writes belong to
 * the caller's transaction.
 *
 * Identity.  A table is written as its owner, with SECURITY_RESTRICTED_OPERATION, so that index
 * expressions, CHECK constraints and generation expressions cannot use the worker's rights.
 * Triggers do not fire and foreign keys are not checked.
 *
 * Locks.  begin() takes an object lock that stands for the feed, held to the end of the
 * transaction: a second writer of one feed waits for nothing and fails. open_table takes
 * RowExclusiveLock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "api/engine_inprocess.h"
#include "engine/engine.h"

void
inprocess_become(Oid owner, SavedUser *saved)
{
	GetUserIdAndSecContext(&saved->userid, &saved->sec_context);
	SetUserIdAndSecContext(owner, saved->sec_context | SECURITY_RESTRICTED_OPERATION);
}

void
inprocess_restore_user(const SavedUser *saved)
{
	SetUserIdAndSecContext(saved->userid, saved->sec_context);
}

static MagicConnection *
inprocess_open(Oid server)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "magic connection", ALLOCSET_SMALL_SIZES);
	MagicConnection *conn = MemoryContextAllocZero(context, sizeof(MagicConnection));

	conn->context = context;
	conn->txn = AllocSetContextCreate(context, "magic transaction", ALLOCSET_DEFAULT_SIZES);
	return conn;
}

static void
inprocess_close(MagicConnection *conn)
{
	Assert(!conn->in_transaction);
	MemoryContextDelete(conn->context);
}

static Oid
metadata_table(const char *name)
{
	Oid nsp = get_namespace_oid("magic", true);
	Oid relid = OidIsValid(nsp) ? get_relname_relid(name, nsp) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table magic.%s does not exist", name),
				 errhint("Create the extension in this database: CREATE EXTENSION magic_fdw;")));
	return relid;
}

static void
inprocess_begin(MagicConnection *conn, int32 feed_id)
{
	Assert(IsTransactionState());
	Assert(!conn->in_transaction);

	if (feed_id != 0)
	{
		LOCKTAG tag;

		SET_LOCKTAG_OBJECT(tag, MyDatabaseId, metadata_table("feed"), (uint32) feed_id, 0);
		if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
							errmsg("feed %d is being applied by another session", feed_id)));
	}
	conn->feed_id = feed_id;
	conn->in_transaction = true;
	conn->tables = NIL;
}

/*
 * Open a table that later batches are written to.
 */
static MagicTable *
inprocess_open_table(MagicConnection *conn, Oid relid)
{
	MemoryContext old;
	Relation rel;
	MagicTable *table;
	RangeTblEntry *rte;

	inprocess_lock(relid, RowExclusiveLock);
	rel = try_table_open(relid, NoLock);
	if (rel == NULL)
		return NULL;
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not an ordinary table", RelationGetRelationName(rel)),
						errdetail("A feed writes to ordinary tables only.")));

	/* A feed is the only writer, as a rule: one lock for all rows is cheaper than one for each. */
	if (engine_is_magic(rel))
		(void) engine_lock_all_rows(rel, false);

	old = MemoryContextSwitchTo(conn->txn);
	table = palloc0(sizeof(MagicTable));
	table->conn = conn;
	table->relid = relid;
	table->rel = rel;

	table->estate = CreateExecutorState();
	rte = makeNode(RangeTblEntry);
	rte->rtekind = RTE_RELATION;
	rte->relid = relid;
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	compat_ExecInitRangeTable(table->estate, rte);
	table->result_rel = makeNode(ResultRelInfo);
	InitResultRelInfo(table->result_rel, rel, 1, NULL, 0);
	ExecOpenIndices(table->result_rel, false);

	table->found = table_slot_create(rel, NULL);
	conn->tables = lappend(conn->tables, table);
	MemoryContextSwitchTo(old);
	return table;
}

static void
close_table(MagicTable *table)
{
	ExecCloseIndices(table->result_rel);
	if (table->bulk != NULL)
	{
		FreeBulkInsertState(table->bulk);
		table_finish_bulk_insert(table->rel, 0);
	}
	ExecDropSingleTupleTableSlot(table->found);
	for (int i = 0; i < table->nslots; i++)
		ExecDropSingleTupleTableSlot(table->slots[i]);
	if (table->key_index != NULL)
		index_close(table->key_index, NoLock);
	FreeExecutorState(table->estate);
	table_close(table->rel, NoLock);
}

/*
 * Close all open tables; their locks stay until the transaction ends. Buffered rows of the access
 * method are handed over.
 */
void
inprocess_close_tables(MagicConnection *conn)
{
	ListCell *lc;

	foreach (lc, conn->tables)
		close_table((MagicTable *) lfirst(lc));
	conn->tables = NIL;
}

/*
 * One row of magic.feed_position. The two statements are prepared once for each process.
 */
static void
store_position(const MagicPosition *p)
{
	static SPIPlanPtr update_plan = NULL;
	static SPIPlanPtr insert_plan = NULL;
	Oid types[8] = {INT4OID, TEXTOID, INT4OID, TEXTOID, INT8OID, TEXTOID, INT8OID, INT8OID};
	Datum values[8];
	char nulls[8];

	if (update_plan == NULL)
	{
		update_plan = SPI_prepare("UPDATE magic.feed_position SET position = $4, applied_ts = $5,"
								  " applied_at = pg_catalog.clock_timestamp(), last_position = $6,"
								  " last_crc = $7, last_ts = $8"
								  " WHERE feed_id OPERATOR(pg_catalog.=) $1"
								  " AND topic OPERATOR(pg_catalog.=) $2"
								  " AND partition OPERATOR(pg_catalog.=) $3",
								  8, types);
		insert_plan = SPI_prepare("INSERT INTO magic.feed_position (feed_id, topic, partition,"
								  " position, applied_ts, applied_at, last_position, last_crc,"
								  " last_ts) VALUES ($1, $2, $3, $4, $5,"
								  " pg_catalog.clock_timestamp(), $6, $7, $8)",
								  8, types);
		if (update_plan == NULL || insert_plan == NULL)
			elog(ERROR, "could not prepare the position's statements");
		SPI_keepplan(update_plan);
		SPI_keepplan(insert_plan);
	}
	values[0] = Int32GetDatum(p->feed_id);
	values[1] = CStringGetTextDatum(p->topic);
	values[2] = Int32GetDatum(p->partition);
	values[3] = p->position ? CStringGetTextDatum(p->position) : (Datum) 0;
	values[4] = Int64GetDatum(p->applied_ts);
	values[5] = p->last_position ? CStringGetTextDatum(p->last_position) : (Datum) 0;
	values[6] = Int64GetDatum((int64) p->last_crc);
	values[7] = Int64GetDatum(p->last_ts);
	memset(nulls, ' ', sizeof(nulls));
	if (p->position == NULL)
		nulls[3] = 'n';
	if (p->last_position == NULL)
		nulls[5] = 'n';

	if (SPI_execute_plan(update_plan, values, nulls, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not update magic.feed_position");
	if (SPI_processed == 0 &&
		SPI_execute_plan(insert_plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert into magic.feed_position");
}

static void
inprocess_commit(MagicConnection *conn, const MagicPosition *positions, int npositions)
{
	Assert(conn->in_transaction);
	inprocess_close_tables(conn);
	if (npositions > 0)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		SPI_connect();
		for (int i = 0; i < npositions; i++)
			store_position(&positions[i]);
		SPI_finish();
		PopActiveSnapshot();
	}
	MemoryContextReset(conn->txn);
	conn->in_transaction = false;
}

/*
 * Forget the transaction. Its relations, buffers and snapshots are the resource owner's to release.
 */
static void
inprocess_abort(MagicConnection *conn)
{
	conn->tables = NIL;
	conn->in_transaction = false;
	MemoryContextReset(conn->txn);
}

static char *
spi_text(HeapTuple tuple, int column, MemoryContext context)
{
	char *value = SPI_getvalue(tuple, SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(context, value) : NULL;
}

static bool
inprocess_position(MagicConnection *conn, int32 feed_id, const char *topic, int32 partition,
				   MagicPosition *result)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[3] = {INT4OID, TEXTOID, INT4OID};
	Datum values[3] = {Int32GetDatum(feed_id), CStringGetTextDatum(topic),
					   Int32GetDatum(partition)};
	bool found;

	memset(result, 0, sizeof(*result));
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute_with_args("SELECT position, applied_ts, last_position, last_crc, last_ts"
							  " FROM magic.feed_position"
							  " WHERE feed_id OPERATOR(pg_catalog.=) $1"
							  " AND topic OPERATOR(pg_catalog.=) $2"
							  " AND partition OPERATOR(pg_catalog.=) $3",
							  3, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read magic.feed_position");
	found = SPI_processed > 0;
	if (found)
	{
		HeapTuple tuple = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;

		result->feed_id = feed_id;
		result->topic = MemoryContextStrdup(caller, topic);
		result->partition = partition;
		result->position = spi_text(tuple, 1, caller);
		result->applied_ts = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		result->last_position = spi_text(tuple, 3, caller);
		result->last_crc = (uint32) DatumGetInt64(SPI_getbinval(tuple, desc, 4, &isnull));
		if (isnull)
			result->last_crc = 0;
		result->last_ts = DatumGetInt64(SPI_getbinval(tuple, desc, 5, &isnull));
		if (isnull)
			result->last_ts = 0;
	}
	SPI_finish();
	PopActiveSnapshot();
	return found;
}

/*
 * Merge runs of small packs. Tables of other access methods have none.
 */
static int64
inprocess_compact(MagicConnection *conn, Oid relid)
{
	Relation rel = try_table_open(relid, RowExclusiveLock);
	int64 merged = 0;

	if (rel == NULL)
		return 0;
	if (engine_is_magic(rel))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		merged = engine_compact(rel);
		PopActiveSnapshot();
	}
	table_close(rel, NoLock);
	return merged;
}

const MagicEngine inprocess_engine = {
	.name = "magic",
	.capabilities = MAGIC_CAP_LOCAL_TRANSACTION | MAGIC_CAP_ATOMIC_MULTI_TABLE | MAGIC_CAP_KEYLESS |
					MAGIC_CAP_TRANSACTIONAL_DDL,
	.open = inprocess_open,
	.close = inprocess_close,
	.begin = inprocess_begin,
	.commit = inprocess_commit,
	.abort = inprocess_abort,
	.position = inprocess_position,
	.open_table = inprocess_open_table,
	.close_tables = inprocess_close_tables,
	.describe = inprocess_describe,
	.write = inprocess_write,
	.truncate = inprocess_truncate,
	.create_schema = inprocess_create_schema,
	.drop_schema = inprocess_drop_schema,
	.create_table = inprocess_create_table,
	.drop_table = inprocess_drop_table,
	.grant_readers = inprocess_grant_readers,
	.rename_table = inprocess_rename_table,
	.alter_table = inprocess_alter_table,
	.compact = inprocess_compact,
	.scan_begin = inprocess_scan_begin,
	.scan_next = inprocess_scan_next,
	.scan_end = inprocess_scan_end,
};
