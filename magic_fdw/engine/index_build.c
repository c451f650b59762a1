/*
 * index_build.c
 *		CREATE INDEX, REINDEX and the second scan of CREATE INDEX CONCURRENTLY.
 *
 * A plain build indexes every row of the latest state and also those whose deletion a running snapshot
 * may not see yet (as not alive). The table is locked against writers, so directory and deltas stand
 * still. A concurrent build indexes what its MVCC snapshot sees; its second scan inserts what has been
 * added since.
 *
 * BRIN is refused here, when it is chosen: it needs blocks of the file that hold the rows of the TIDs in
 * them.
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "access/transam.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "optimizer/optimizer.h"
#include "pgstat.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"
#include "commands/defrem.h"
#include "access/sysattr.h"

static void
check_index_method(Relation index)
{
	if (index->rd_amhandler == F_BRINHANDLER)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("access method \"%s\" is not supported on tables of access method magic",
						get_am_name(index->rd_rel->relam)),
				 errdetail("Rows are not stored in the blocks that their TIDs name."),
				 errhint("Zone maps already skip blocks by minimum and maximum of every column.")));
}

/* Flags of the attributes that the index needs; NULL: all. */
static bool *
needed_attributes(Relation table, IndexInfo *info)
{
	int natts = RelationGetNumberOfAttributes(table);
	bool *needed = palloc0(sizeof(bool) * (natts + 1));
	Bitmapset *attrs = NULL;
	int attr = -1;

	for (int i = 0; i < info->ii_NumIndexAttrs; i++)
		if (info->ii_IndexAttrNumbers[i] > 0)
			needed[info->ii_IndexAttrNumbers[i] - 1] = true;
	pull_varattnos((Node *) info->ii_Expressions, 1, &attrs);
	pull_varattnos((Node *) info->ii_Predicate, 1, &attrs);
	while ((attr = bms_next_member(attrs, attr)) >= 0)
	{
		int attnum = attr + FirstLowInvalidHeapAttributeNumber;

		if (attnum == 0)
			return NULL;
		if (attnum > 0)
			needed[attnum - 1] = true;
	}
	return needed;
}

typedef struct BuildState
{
	EState *estate;
	ExprContext *econtext;
	ExprState *predicate;
	TupleTableSlot *slot;
} BuildState;

static void
begin_build(BuildState *state, Relation table, IndexInfo *info)
{
	state->estate = CreateExecutorState();
	state->econtext = GetPerTupleExprContext(state->estate);
	state->slot = table_slot_create(table, NULL);
	((MagicSlot *) state->slot)->needed = needed_attributes(table, info);
	state->econtext->ecxt_scantuple = state->slot;
	state->predicate = ExecPrepareQual(info->ii_Predicate, state->estate);
}

static void
end_build(BuildState *state, IndexInfo *info)
{
	ExecDropSingleTupleTableSlot(state->slot);
	FreeExecutorState(state->estate);
	/* these may have been pointing to the now-gone estate */
	info->ii_ExpressionsState = NIL;
	info->ii_PredicateState = NULL;
}

double
index_build_range_scan(Relation table, Relation index, IndexInfo *info, bool allow_sync,
					   bool anyvisible, bool progress, BlockNumber start_block, BlockNumber nblocks,
					   IndexBuildCallback callback, void *callback_state, TableScanDesc scan)
{
	BuildState state;
	Snapshot snapshot = NULL;
	Snapshot latest;
	DeleteMap *deleted = NULL;
	DeleteMap *settled = NULL;
	double rows = 0;
	bool own_scan = scan == NULL;

	check_index_method(index);
	if (start_block != 0 || nblocks != InvalidBlockNumber)
		elog(ERROR, "partial index builds are not supported on tables of access method magic");
	/* pg_upgrade puts both files in place later; the metadata tables may not be there yet */
	if (IsBinaryUpgrade)
		return 0;
	begin_build(&state, table, info);
	if (own_scan)
	{
		if (IsBootstrapProcessingMode() || info->ii_Concurrent)
			snapshot = RegisterSnapshot(GetTransactionSnapshot());
		scan = scan_begin(table, snapshot ? snapshot : SnapshotAny, 0, NULL, NULL, SO_TYPE_SEQSCAN);
	}
	latest = latest_snapshot_register();
	if (scan->rs_snapshot->snapshot_type == SNAPSHOT_ANY)
	{
		TransactionId newest;

		writer_flush(table);
		deleted = delete_map_load(storage_id(table), latest, CurrentMemoryContext);
		writer_add_deletes(storage_id(table), latest, deleted);
		settled = delete_map_load_settled(storage_id(table), latest, directory_horizon(), &newest,
										  CurrentMemoryContext);
	}
	while (scan_getnextslot(scan, ForwardScanDirection, state.slot))
	{
		RowNumber row = tid_to_row(&state.slot->tts_tid);
		bool alive = deleted == NULL || !delete_map_contains(deleted, row);
		Datum values[INDEX_MAX_KEYS];
		bool isnull[INDEX_MAX_KEYS];

		CHECK_FOR_INTERRUPTS();
		if (!alive && delete_map_contains(settled, row))
			continue;
		if (alive)
			rows++;
		MemoryContextReset(state.econtext->ecxt_per_tuple_memory);
		if (state.predicate != NULL && !ExecQual(state.predicate, state.econtext))
			continue;
		FormIndexDatum(info, state.slot, state.estate, values, isnull);
		callback(index, &state.slot->tts_tid, values, isnull, alive, callback_state);
	}
	scan_end(scan);
	UnregisterSnapshot(latest);
	if (snapshot)
		UnregisterSnapshot(snapshot);
	end_build(&state, info);
	return rows;
}

/* index.c encodes TIDs as block << 16 | offset, so that they sort as bigints. */
static RowNumber
decode_tid(int64 encoded)
{
	ItemPointerData tid;

	ItemPointerSet(&tid, (BlockNumber) (encoded >> 16), (OffsetNumber) (encoded & 0xffff));
	return tid_to_row(&tid);
}

void
index_validate_scan(Relation table, Relation index, IndexInfo *info, Snapshot snapshot,
					ValidateIndexState *validate)
{
	BuildState state;
	TableScanDesc scan;
	RowNumber indexed = 0;
	bool more = true;
	bool have = false;

	begin_build(&state, table, info);
	scan = scan_begin(table, snapshot, 0, NULL, NULL, SO_TYPE_SEQSCAN);
	while (scan_getnextslot(scan, ForwardScanDirection, state.slot))
	{
		RowNumber row = tid_to_row(&state.slot->tts_tid);
		Datum values[INDEX_MAX_KEYS];
		bool isnull[INDEX_MAX_KEYS];

		CHECK_FOR_INTERRUPTS();
		validate->htups += 1;
		/* merge with the sorted TIDs that the index has */
		while (more && (!have || indexed < row))
		{
			Datum value;
			bool null;

			more = compat_tuplesort_getdatum(validate->tuplesort, true, &value, &null);
			have = more;
			if (more)
				indexed = decode_tid(DatumGetInt64(value));
		}
		if (have && indexed == row)
			continue;
		MemoryContextReset(state.econtext->ecxt_per_tuple_memory);
		if (state.predicate != NULL && !ExecQual(state.predicate, state.econtext))
			continue;
		FormIndexDatum(info, state.slot, state.estate, values, isnull);
		index_insert(index, values, isnull, &state.slot->tts_tid, table,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
		validate->tups_inserted += 1;
	}
	scan_end(scan);
	end_build(&state, info);
}
