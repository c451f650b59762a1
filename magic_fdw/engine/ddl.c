/*
 * ddl.c
 *		Files come and go: create, truncate, rewrite, move, drop; and the hooks around statements.
 *
 * Nothing tells an access method that two tables swap their files, so everything hangs on the storage id
 * that the file itself holds. When a table is dropped or gets an empty file, the transaction deletes the
 * metadata of the old storage; an abort brings it back.
 *
 * A rewrite (VACUUM FULL, CLUSTER, TRUNCATE, rewriting ALTER TABLE) gives all rows the rewriter's xid, so a
 * snapshot from before would find the table empty. The new metapage holds the rewriter's full xid, and
 * such a snapshot is refused (storage_check_snapshot).
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/multixact.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/storage.h"
#include "commands/cluster.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parsetree.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"

static object_access_hook_type previous_object_access_hook;
static ProcessUtility_hook_type previous_utility_hook;
static ExecutorStart_hook_type previous_executor_start_hook;

bool
engine_is_magic(Relation rel)
{
	return RELKIND_HAS_TABLE_AM(rel->rd_rel->relkind) && rel->rd_tableam != NULL &&
		   rel->rd_tableam->slot_callbacks != NULL && rel->rd_tableam->scan_begin == scan_begin;
}

/* The table's rows are going away with its file, in this transaction. */
static void
forget_storage(Relation rel)
{
	uint64 storage;

	if (!storage_id_if_readable(rel, &storage))
	{
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("metapage of relation \"%s\" cannot be read", RelationGetRelationName(rel)),
				 errdetail("What the engine's directory knows of it stays there.")));
		return;
	}
	writer_discard(storage);
	directory_forget_storage(storage);
}

/* ALTER TABLE, CLUSTER and REFRESH fill a table of this name and then swap the files. */
static bool
is_transient(Relation rel)
{
	return strncmp(RelationGetRelationName(rel), "pg_temp_", 8) == 0;
}

void
ddl_set_new_filelocator(Relation rel, const RelFileLocator *locator, char persistence,
						TransactionId *freeze_xid, MultiXactId *minmulti)
{
	bool replaces = !RelFileLocatorEquals(*locator, rel->rd_locator);

	if (persistence == RELPERSISTENCE_UNLOGGED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("tables of access method magic cannot be unlogged"),
				 errdetail("Their directory is logged and would outlive their pages in a crash."),
				 errhint("Use a permanent or a temporary table.")));
	if (replaces && !IsBinaryUpgrade)
		forget_storage(rel);
	/* No xids are stored in the file that anyone would look up. */
	*freeze_xid = InvalidTransactionId;
	*minmulti = InvalidMultiXactId;
	storage_create(locator, persistence, (replaces || is_transient(rel)) && !IsBinaryUpgrade);
}

/* The table was created, or got its file, in this transaction: empty it in place. */
void
ddl_nontransactional_truncate(Relation rel)
{
	forget_storage(rel);
	storage_reset(rel);
}

/* Copies the file to another tablespace; the metadata stays right, the storage id goes along. */
void
ddl_copy_data(Relation rel, const RelFileLocator *locator)
{
	SMgrRelation target;

	writer_flush(rel);
	storage_leave_file(rel);
	target = smgropen(*locator, rel->rd_backend);
	/* What is dirty in shared buffers must be in the file that is copied. */
	FlushRelationBuffers(rel);
	RelationCreateStorage(*locator, rel->rd_rel->relpersistence, true);
	RelationCopyStorage(RelationGetSmgr(rel), target, MAIN_FORKNUM, rel->rd_rel->relpersistence);
	RelationDropStorage(rel);
	smgrclose(target);
}

/* ---------------------------------------------------------------- VACUUM FULL, CLUSTER */

typedef struct Rewrite
{
	Relation table;
	TupleTableSlot *slot;
	CommandId cid;
	double rows;
} Rewrite;

static void
rewrite_row(Rewrite *rewrite, TupleTableSlot *source)
{
	ExecClearTuple(rewrite->slot);
	slot_getallattrs(source);
	for (int i = 0; i < source->tts_tupleDescriptor->natts; i++)
	{
		bool dropped = TupleDescAttr(RelationGetDescr(rewrite->table), i)->attisdropped;

		rewrite->slot->tts_values[i] = dropped ? (Datum) 0 : source->tts_values[i];
		rewrite->slot->tts_isnull[i] = dropped || source->tts_isnull[i];
	}
	ExecStoreVirtualTuple(rewrite->slot);
	(void) writer_insert(rewrite->table, rewrite->slot, rewrite->cid, 0);
	rewrite->rows++;
}

/* Copies the rows in the order of the scan. */
static void
rewrite_by_scan(Rewrite *rewrite, Relation table, Snapshot snapshot, TupleTableSlot *slot,
				Tuplesortstate *sort)
{
	TableScanDesc scan = scan_begin(table, snapshot, 0, NULL, NULL, SO_TYPE_SEQSCAN);

	while (scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (sort != NULL)
		{
			HeapTuple tuple = ExecCopySlotHeapTuple(slot);

			tuplesort_putheaptuple(sort, tuple);
			heap_freetuple(tuple);
		}
		else
			rewrite_row(rewrite, slot);
	}
	scan_end(scan);
}

/* Copies the rows in the order of a btree, by sorting them. */
static void
rewrite_sorted(Rewrite *rewrite, Relation table, Snapshot snapshot, TupleTableSlot *slot,
			   Relation index)
{
	Tuplesortstate *sort = tuplesort_begin_cluster(RelationGetDescr(table), index,
												   maintenance_work_mem, NULL, TUPLESORT_NONE);
	TupleTableSlot *sorted = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);
	HeapTuple tuple;

	rewrite_by_scan(rewrite, table, snapshot, slot, sort);
	tuplesort_performsort(sort);
	while ((tuple = tuplesort_getheaptuple(sort, true)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		ExecStoreHeapTuple(tuple, sorted, false);
		rewrite_row(rewrite, sorted);
	}
	tuplesort_end(sort);
	ExecDropSingleTupleTableSlot(sorted);
}

/* Copies the rows in the order of an index that cannot be sorted by (GiST). */
static void
rewrite_by_index(Rewrite *rewrite, Relation table, Snapshot snapshot, TupleTableSlot *slot,
				 Relation index)
{
	IndexScanDesc scan = index_beginscan(table, index, snapshot, 0, 0);

	index_rescan(scan, NULL, 0, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (scan->xs_recheck)
			elog(ERROR, "CLUSTER does not support lossy index conditions");
		rewrite_row(rewrite, slot);
	}
	index_endscan(scan);
}

void
ddl_copy_for_cluster(Relation old_table, Relation new_table, Relation index, bool use_sort,
					 TransactionId oldest_xmin, TransactionId *xid_cutoff,
					 MultiXactId *multi_cutoff, double *num_tuples, double *tups_vacuumed,
					 double *tups_recently_dead)
{
	Snapshot snapshot = latest_snapshot_register();
	TupleTableSlot *slot = table_slot_create(old_table, NULL);
	Rewrite rewrite = {.table = new_table, .cid = GetCurrentCommandId(true)};

	rewrite.slot = table_slot_create(new_table, NULL);
	storage_set_rewriter(new_table);
	/* a sort is faster than a btree's order even where heap would use the index */
	if (index == NULL)
		rewrite_by_scan(&rewrite, old_table, snapshot, slot, NULL);
	else if (index->rd_rel->relam == BTREE_AM_OID)
		rewrite_sorted(&rewrite, old_table, snapshot, slot, index);
	else
		rewrite_by_index(&rewrite, old_table, snapshot, slot, index);
	writer_flush(new_table);
	*num_tuples = rewrite.rows;
	/* Rows that an older snapshot might see are gone too: such a snapshot is refused. */
	*tups_vacuumed = 0;
	*tups_recently_dead = 0;
	ExecDropSingleTupleTableSlot(slot);
	ExecDropSingleTupleTableSlot(rewrite.slot);
	UnregisterSnapshot(snapshot);
}

/* ---------------------------------------------------------------- hooks */

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access_hook)
		previous_object_access_hook(access, class_id, object_id, sub_id, arg);
	if (access == OAT_DROP && class_id == RelationRelationId && sub_id == 0 && !IsBinaryUpgrade)
	{
		Relation rel = try_relation_open(object_id, NoLock);

		if (rel != NULL)
		{
			if (engine_is_magic(rel))
				forget_storage(rel);
			relation_close(rel, NoLock);
		}
	}
}

static bool
is_metadata(Oid relid)
{
	return OidIsValid(relid) && get_rel_namespace(relid) == get_namespace_oid("magic", true) &&
		   (relid == magic_table_oid("pack") || relid == magic_table_oid("delete_delta") ||
			relid == magic_table_oid("free_extent"));
}

/* Raises if rows of a metadata table would be changed by hand; as with catalogs, allow_system_table_mods permits it. */
static void
refuse_change_of_metadata(Oid relid)
{
	if (allowSystemTableMods || !is_metadata(relid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied: \"%s\" belongs to the magic engine", get_rel_name(relid)),
			 errdetail("Tables of access method magic would lose rows, or get back deleted ones."),
			 errhint("Change the tables themselves.")));
}

/* Raises for statements that would break the metadata tables. */
static void
refuse_on_metadata(Oid relid, const char *command)
{
	if (!is_metadata(relid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s is not supported on \"%s\"", command, get_rel_name(relid)),
			 errdetail("The table holds the directory of all tables of access method magic."),
			 errhint("Use VACUUM without FULL.")));
}

static void
check_statement(Node *statement)
{
	ListCell *lc;

	switch (nodeTag(statement))
	{
		case T_TruncateStmt:
			foreach (lc, ((TruncateStmt *) statement)->relations)
				refuse_on_metadata(RangeVarGetRelid(lfirst(lc), NoLock, true), "TRUNCATE");
			break;
		case T_CopyStmt:
			if (((CopyStmt *) statement)->is_from && ((CopyStmt *) statement)->relation != NULL)
				refuse_change_of_metadata(
					RangeVarGetRelid(((CopyStmt *) statement)->relation, NoLock, true));
			break;
		case T_ClusterStmt:
			if (((ClusterStmt *) statement)->relation != NULL)
				refuse_on_metadata(
					RangeVarGetRelid(((ClusterStmt *) statement)->relation, NoLock, true),
					"CLUSTER");
			break;
		case T_VacuumStmt:
		{
			VacuumStmt *vacuum = (VacuumStmt *) statement;
			bool full = false;

			foreach (lc, vacuum->options)
				if (strcmp(((DefElem *) lfirst(lc))->defname, "full") == 0)
					full = true;
			if (full)
				foreach (lc, vacuum->rels)
				{
					VacuumRelation *target = lfirst(lc);

					if (target->relation != NULL)
						refuse_on_metadata(RangeVarGetRelid(target->relation, NoLock, true),
										   "VACUUM FULL");
				}
			break;
		}
		default:
			break;
	}
}

/* May the statement build or rebuild an index, with workers that scan the table? */
static bool
builds_indexes(Node *node)
{
	switch (nodeTag(node))
	{
		case T_IndexStmt:
		case T_ReindexStmt:
		case T_ClusterStmt:
		case T_AlterTableStmt:
		case T_RefreshMatViewStmt:
			return true;
		default:
			return false;
	}
}

/*
 * Workers do not see rows of an enclosing subtransaction that cannot be written yet: no workers until
 * AtEOXact_GUC() with the level that is returned, or until the subtransaction aborts.
 */
static int
without_maintenance_workers(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("max_parallel_maintenance_workers", "0", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * What is pending when a subtransaction begins stays so until it has ended, and so do its reserved row ranges.
 * Clients set savepoints before every statement and release none: there shall be room for more of them.
 */
static void
flush_before_savepoint(Node *node)
{
	if (IsTransactionState() && IsA(node, TransactionStmt) &&
		((TransactionStmt *) node)->kind == TRANS_STMT_SAVEPOINT && reserved_crowded())
		writer_flush_rows();
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
				DestReceiver *dest, QueryCompletion *completion)
{
	Node *node = statement->utilityStmt;
	int guc_level = 0;

	flush_before_savepoint(node);
	if (IsTransactionState() && !IsA(node, TransactionStmt))
	{
		/* Utility commands may look at files and catalogs directly. */
		if (!writer_flush_all() && builds_indexes(node))
			guc_level = without_maintenance_workers();
		row_readers_forget(false);
		check_statement(node);
		publication_check_statement(node);
	}
	if (previous_utility_hook)
		previous_utility_hook(statement, query, read_only, context, params, environment, dest,
							  completion);
	else
		standard_ProcessUtility(statement, query, read_only, context, params, environment, dest,
								completion);
	if (guc_level > 0)
		AtEOXact_GUC(true, guc_level);
	if (IsTransactionState() && !IsBinaryUpgrade)
		publication_warn(node);
}

/* The right to change the tables was checked before. */
static void
refuse_changes_of_metadata(PlannedStmt *statement)
{
	ListCell *lc;

	foreach (lc, statement->resultRelations)
		refuse_change_of_metadata(rt_fetch(lfirst_int(lc), statement->rtable)->relid);
}

/*
 * Parallel workers do not see this backend's overlay: flush it before they start. If an outer
 * subtransaction owns a part of it, run the plan without workers.
 */
static void
executor_start(QueryDesc *query, int eflags)
{
	if (query->plannedstmt->parallelModeNeeded && (eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0 &&
		!IsParallelWorker() && !writer_flush_all())
	{
		PlannedStmt *serial = makeNode(PlannedStmt);

		*serial = *query->plannedstmt;
		serial->parallelModeNeeded = false;
		query->plannedstmt = serial;
	}
	if (previous_executor_start_hook)
		previous_executor_start_hook(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
	if ((eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
	{
		refuse_changes_of_metadata(query->plannedstmt);
		plan_columns_mark(query);
	}
	plan_settle(query, (eflags & EXEC_FLAG_EXPLAIN_ONLY) == 0);
}

void
ddl_init(void)
{
	previous_object_access_hook = object_access_hook;
	object_access_hook = object_access;
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_executor_start_hook = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
}
