/*
 * scan.c
 *		Table scans: the rows of a block scan, one by one; also backward, by TID range and in parallel.
 *
 * Directory and deltas are read when the first row is asked for, under the scan's snapshot; pins are kept
 * on one page per column. Before that, pending rows are flushed if their owner allows.
 *
 * Dirty snapshots: logical replication looks so for the row to be changed, compares all columns, and waits
 * for the transactions that the snapshot names if they insert or delete the row that it has found. Rows
 * that are being deleted are returned as live; their deleter is waited for when the row is locked. Rows that
 * others are inserting have no values here; so a scan that has not found what its caller looks for, and is
 * at its end, waits for those who were inserting when it began, and looks at the table once more.
 */
#include "engine/scan_int.h"

#include "access/transam.h"
#include "access/xact.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Shared by the participants of a parallel scan: they claim whole sources. */
typedef struct ParallelScan
{
	ParallelTableScanDescData base;
	pg_atomic_uint64 next_source;
} ParallelScan;

static TupleDesc
scan_desc(MagicScanDesc *scan, TupleTableSlot *slot)
{
	/* ALTER TABLE scans with the descriptor of before. */
	return slot ? slot->tts_tupleDescriptor : RelationGetDescr(scan->base.rs_rd);
}

TableScanDesc
scan_begin(Relation rel, Snapshot snapshot, int nkeys, struct ScanKeyData *key,
		   ParallelTableScanDesc pscan, uint32 flags)
{
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic table scan", ALLOCSET_SMALL_SIZES);
	MagicScanDesc *scan = MemoryContextAllocZero(cxt, sizeof(MagicScanDesc));

	if (nkeys > 0)
		elog(ERROR, "scan keys are not supported on tables of access method magic");
	RelationIncrementReferenceCount(rel);
	scan->base.rs_rd = rel;
	scan->base.rs_snapshot = snapshot;
	scan->base.rs_flags = flags;
	scan->base.rs_parallel = pscan;
	scan->cxt = cxt;
	scan->to = InvalidRowNumber;
	if (snapshot != NULL)
	{
		storage_check_snapshot(rel, snapshot);
		if (IsMVCCSnapshot(snapshot))
			PredicateLockRelation(rel, snapshot);
	}
	if (flags & SO_TYPE_SEQSCAN)
		pgstat_count_heap_scan(rel);
	return (TableScanDesc) scan;
}

static void
end_blocks(MagicScanDesc *scan)
{
	if (scan->blocks)
		block_scan_end(scan->blocks);
	scan->blocks = NULL;
	if (scan->reader)
		row_reader_free(scan->reader);
	scan->reader = NULL;
	scan->positioned = false;
}

void
scan_end(TableScanDesc sscan)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;

	end_blocks(scan);
	if (scan->own_snapshot)
		UnregisterSnapshot(scan->own_snapshot);
	RelationDecrementReferenceCount(scan->base.rs_rd);
	if (scan->base.rs_flags & SO_TEMP_SNAPSHOT)
		UnregisterSnapshot(scan->base.rs_snapshot);
	MemoryContextDelete(scan->cxt);
}

void
scan_rescan(TableScanDesc sscan, struct ScanKeyData *key, bool set_params, bool allow_strat,
			bool allow_sync, bool allow_pagemode)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;

	if (scan->base.rs_parallel == NULL && scan->from == 0 && scan->to == InvalidRowNumber &&
		(scan->blocks != NULL || (scan->base.rs_flags & SO_TYPE_BITMAPSCAN)) &&
		IsMVCCSnapshot(scan->base.rs_snapshot))
	{
		/* same snapshot, same sources */
		if (scan->blocks != NULL)
			(void) block_scan_open_source(scan->blocks, -1);
		scan->positioned = false;
		return;
	}
	end_blocks(scan);
	/* who looks again at what is there now wants to see what has changed */
	if (scan->own_snapshot)
		UnregisterSnapshot(scan->own_snapshot);
	scan->own_snapshot = NULL;
	scan->from = 0;
	scan->to = InvalidRowNumber;
	scan->waited = false;
}

/* The MVCC snapshot to read the metadata with. */
Snapshot
scan_metadata_snapshot(MagicScanDesc *scan)
{
	if (scan->base.rs_snapshot != NULL && IsMVCCSnapshot(scan->base.rs_snapshot))
		return scan->base.rs_snapshot;
	if (scan->own_snapshot == NULL)
		scan->own_snapshot = latest_snapshot_register();
	return scan->own_snapshot;
}

/* ---------------------------------------------------------------- dirty snapshots */

static void
add_inserter(MagicScanDesc *scan, TransactionId xid, bool in_progress)
{
	if (TransactionIdIsCurrentTransactionId(xid) || !in_progress)
		return;
	for (int i = 0; i < scan->ninserters; i++)
		if (scan->inserters[i] == xid)
			return;
	scan->inserters[scan->ninserters++] = xid;
}

/*
 * Notes who is inserting. Reserved ranges come first: what is not reserved any more is in the directory. A
 * merge in progress counts as well; it is short.
 */
static void
note_inserters(MagicScanDesc *scan)
{
	MemoryContext cxt =
		AllocSetContextCreate(scan->cxt, "magic rows in progress", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	uint64 storage = storage_id(scan->base.rs_rd);
	int nranges;
	ReservedRange *ranges = reserved_list(storage, &nranges);
	PackList *packs = directory_load_any(storage, directory_horizon());

	if (scan->inserters != NULL)
		pfree(scan->inserters);
	scan->inserters =
		MemoryContextAllocHuge(scan->cxt, sizeof(TransactionId) * (nranges + packs->n + 1));
	scan->ninserters = 0;
	for (int i = 0; i < nranges; i++)
		add_inserter(scan, ranges[i].xid, ranges[i].first < ranges[i].appended);
	for (int i = 0; i < packs->n; i++)
		if (TransactionIdIsNormal(packs->packs[i].xmin))
			add_inserter(scan, packs->packs[i].xmin,
						 TransactionIdIsInProgress(packs->packs[i].xmin));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* At the end of a scan: waits for those noted. False if there are none, or they have been waited for. */
static bool
wait_for_inserters(MagicScanDesc *scan)
{
	if (scan->ninserters == 0)
		return false;
	end_blocks(scan);
	UnregisterSnapshot(scan->own_snapshot);
	scan->own_snapshot = NULL;
	for (int i = 0; i < scan->ninserters; i++)
		XactLockTableWait(scan->inserters[i], NULL, NULL, XLTW_None);
	scan->ninserters = 0;
	scan->waited = true;
	return true;
}

/* ---------------------------------------------------------------- rows */

static void
begin_blocks(MagicScanDesc *scan, TupleTableSlot *slot)
{
	Snapshot snapshot = scan->base.rs_snapshot;
	bool any = snapshot != NULL && snapshot->snapshot_type == SNAPSHOT_ANY;

	if (snapshot != NULL && snapshot->snapshot_type == SNAPSHOT_DIRTY)
	{
		snapshot->xmin = snapshot->xmax = InvalidTransactionId;
		snapshot->speculativeToken = 0;
		if (!scan->waited)
			note_inserters(scan);
	}
	scan->blocks =
		block_scan_begin(scan->base.rs_rd, scan_desc(scan, slot), scan_metadata_snapshot(scan), any,
						 scan->from, scan->to, scan->cxt);
	scan->blocks->skip_damaged = stored_packs_skipped(scan->base.rs_rd);
	scan->positioned = false;
	if (scan->base.rs_parallel != NULL && scan->blocks->nsegments > 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot scan \"%s\" in parallel while rows of an enclosing "
							   "subtransaction are pending",
							   RelationGetRelationName(scan->base.rs_rd)),
						errhint("Set max_parallel_workers_per_gather and "
								"max_parallel_maintenance_workers to 0.")));
}

/* The scan's blocks, begun at the first call; `slot` is of the kind that the rows go to. */
BlockScan *
scan_blocks(MagicScanDesc *scan, TupleTableSlot *slot)
{
	if (scan->blocks == NULL)
		begin_blocks(scan, slot);
	return scan->blocks;
}

/* Goes to the next block, in a parallel scan of a source that nobody else has claimed. */
static bool
next_block(MagicScanDesc *scan, bool forward)
{
	BlockScan *blocks = scan->blocks;
	ParallelScan *parallel = (ParallelScan *) scan->base.rs_parallel;

	if (parallel == NULL)
		return block_scan_next(blocks, forward);
	for (;;)
	{
		uint64 source;

		CHECK_FOR_INTERRUPTS();
		if (blocks->source >= 0 && blocks->source < blocks->nsources &&
			block_scan_set_block(blocks, blocks->block + 1))
			return true;
		source = pg_atomic_fetch_add_u64(&parallel->next_source, 1);
		if (source >= (uint64) blocks->nsources)
		{
			(void) block_scan_open_source(blocks, blocks->nsources);
			return false;
		}
		(void) block_scan_open_source(blocks, (int) source);
	}
}

bool
scan_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;
	bool forward = !ScanDirectionIsBackward(direction);
	BlockScan *blocks;

	blocks = scan_blocks(scan, slot);
	for (;;)
	{
		if (scan->positioned)
		{
			int row = scan->row + (forward ? 1 : -1);

			if (blocks->all_live)
				;
			else if (forward)
				while (row < blocks->nrows && !(blocks->live[row / 64] >> (row % 64) & 1))
					row++;
			else
				while (row >= 0 && !(blocks->live[row / 64] >> (row % 64) & 1))
					row--;
			if (row >= 0 && row < blocks->nrows)
			{
				scan->row = row;
				magic_slot_set_block(slot, blocks->columns, row,
									 blocks->first + blocks->positions[row], blocks->xmin,
									 blocks->cmin);
				slot->tts_tableOid = RelationGetRelid(scan->base.rs_rd);
				pgstat_count_heap_getnext(scan->base.rs_rd);
				return true;
			}
		}
		scan->positioned = next_block(scan, forward);
		if (!scan->positioned)
		{
			ExecClearTuple(slot);
			if (!wait_for_inserters(scan))
				return false;
			blocks = scan_blocks(scan, slot);
			continue;
		}
		scan->row = forward ? -1 : blocks->nrows;
	}
}

/* ---------------------------------------------------------------- TID ranges */

void
scan_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;
	BlockNumber minblock = ItemPointerGetBlockNumberNoCheck(mintid);
	BlockNumber maxblock = ItemPointerGetBlockNumberNoCheck(maxtid);
	uint32 minoff = ItemPointerGetOffsetNumberNoCheck(mintid);
	uint32 maxoff = ItemPointerGetOffsetNumberNoCheck(maxtid);

	end_blocks(scan);
	/* Offsets that no row has stand for the nearest row. */
	scan->from = (RowNumber) minblock * ENGINE_ROWS_PER_TID_BLOCK +
				 Min(minoff > 0 ? minoff - 1 : 0, ENGINE_ROWS_PER_TID_BLOCK);
	scan->to =
		(RowNumber) maxblock * ENGINE_ROWS_PER_TID_BLOCK + Min(maxoff, ENGINE_ROWS_PER_TID_BLOCK);
}

bool
scan_getnextslot_tidrange(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;

	if (scan->from >= scan->to)
	{
		ExecClearTuple(slot);
		return false;
	}
	/* the executor starts the scan anew at its end, also to go back from there */
	if (scan->blocks == NULL && ScanDirectionIsBackward(direction))
	{
		BlockScan *blocks = scan_blocks(scan, slot);

		(void) block_scan_open_source(blocks, blocks->nsources);
	}
	return scan_getnextslot(sscan, direction, slot);
}

bool
scan_tid_valid(TableScanDesc sscan, ItemPointer tid)
{
	MetaInfo info;

	if (!tid_is_row(tid))
		return false;
	storage_read_meta(sscan->rs_rd, &info);
	return tid_to_row(tid) < info.next_row;
}

/* Follows the row's updates as far as the scan's snapshot sees them. */
void
scan_get_latest_tid(TableScanDesc sscan, ItemPointer tid)
{
	Relation rel = sscan->rs_rd;
	DeleteInfo info;
	RowNumber row = tid_to_row(tid);
	uint64 storage = storage_id(rel);
	Snapshot snapshot = sscan->rs_snapshot;

	if (!tid_is_row(tid))
		return;
	for (;;)
	{
		bool deleted;

		CHECK_FOR_INTERRUPTS();
		if (writer_find_delete(storage, row, &info))
			deleted = info.cmax < snapshot->curcid;
		else
			deleted = deleted_probe(storage, row, snapshot, &info);
		if (!deleted || !delete_kind_updates(info.kind))
			break;
		row = info.successor;
	}
	row_to_tid(row, tid);
}

/* ---------------------------------------------------------------- parallel scans */

Size
scan_parallel_estimate(Relation rel)
{
	return MAXALIGN(sizeof(ParallelScan));
}

Size
scan_parallel_initialize(Relation rel, ParallelTableScanDesc pscan)
{
	ParallelScan *parallel = (ParallelScan *) pscan;

	pscan->phs_relid = RelationGetRelid(rel);
	pscan->phs_syncscan = false;
	pg_atomic_init_u64(&parallel->next_source, 0);
	return MAXALIGN(sizeof(ParallelScan));
}

void
scan_parallel_reinitialize(Relation rel, ParallelTableScanDesc pscan)
{
	pg_atomic_write_u64(&((ParallelScan *) pscan)->next_source, 0);
}
