/*
 * scan.c
 *		Sequential reading: blocks of a table in row order, and the scans on top of them.
 *
 * A block scan reads the sources of a table (packs that the snapshot sees, segments of this backend) in
 * order of their row numbers, block by block of at most 1,024 rows, each with a bitmap of its live rows.
 * Columns are decoded when somebody asks for them. The table scans hand its rows out one by one.
 *
 * Directory and deltas are read when the first row is asked for, under the scan's snapshot; pins are kept
 * on one page per column. Before that, pending rows are flushed if their owner allows.
 */
#include "engine/scan_int.h"

#include "access/heapam.h"
#include "access/tsmapi.h"
#include "access/xact.h"
#include "commands/vacuum.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---------------------------------------------------------------- block scans */

typedef struct Source
{
	RowNumber first;
	RowNumber end;
	PackEntry *pack; /* or */
	Segment *segment;
} Source;

/* The sources, merged by row number, follow the public part. */
typedef struct BlockScanFull
{
	BlockScan base;
	Source *sources;
	RowNumber from;
	RowNumber to;
} BlockScanFull;

static int
compare_sources(const void *a, const void *b)
{
	RowNumber x = ((const Source *) a)->first;
	RowNumber y = ((const Source *) b)->first;

	return x < y ? -1 : x > y;
}

/*
 * Begins to read the rows of [from, to) that the snapshot sees: MVCC, registered by the caller for as
 * long as the scan lives. With `show_deleted` deleted rows count as live. Everything is allocated in a
 * context below `cxt`. The current resource owner must live as long as the scan is read.
 */
BlockScan *
block_scan_begin(Relation rel, TupleDesc desc, Snapshot snapshot, bool show_deleted, RowNumber from,
				 RowNumber to, MemoryContext parent)
{
	MemoryContext cxt = AllocSetContextCreate(parent, "magic scan", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	BlockScanFull *full = palloc0(sizeof(BlockScanFull));
	BlockScan *scan = &full->base;

	writer_flush(rel);
	scan->rel = rel;
	scan->storage = storage_id(rel);
	scan->desc = desc;
	scan->snapshot = snapshot;
	scan->cxt = cxt;
	full->from = from;
	full->to = to;
	scan->packs = directory_load(scan->storage, snapshot, from, to);
	scan->segments = writer_visible_segments(scan->storage, snapshot, &scan->nsegments);
	if (!show_deleted)
	{
		scan->deletes = delete_map_load(scan->storage, snapshot, cxt);
		writer_add_deletes(scan->storage, snapshot, scan->deletes);
	}
	full->sources =
		palloc_extended(sizeof(Source) * (scan->packs->n + scan->nsegments + 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < scan->packs->n; i++)
	{
		PackEntry *pack = &scan->packs->packs[i];
		Source source = {.first = pack->first, .end = pack->first + pack->span, .pack = pack};

		full->sources[scan->nsources++] = source;
	}
	for (int i = 0; i < scan->nsegments; i++)
	{
		Segment *segment = scan->segments[i];
		Source source = {.first = segment->first, .end = segment->end, .segment = segment};

		if (segment->first < to && segment->end > from)
			full->sources[scan->nsources++] = source;
	}
	if (scan->nsegments > 0)
		qsort(full->sources, scan->nsources, sizeof(Source), compare_sources);
	/* A table much larger than the buffer pool must not flush it; see initscan() of heap. */
	if (RelationGetNumberOfBlocks(rel) > NBuffers / 4)
		scan->strategy = GetAccessStrategy(BAS_BULKREAD);
	scan->columns = block_columns_create(cxt, desc->natts);
	scan->columns->desc = desc;
	scan->source = -1;
	scan->block = -1;
	MemoryContextSwitchTo(old);
	return scan;
}

static void
close_source(BlockScan *scan)
{
	stored_pack_close(&scan->stored);
	scan->reader = NULL;
	scan->writer = NULL;
	scan->block = -1;
}

/*
 * Goes to a source, before its first block. False if there is no such source. A damaged pack that is left
 * out has no blocks.
 */
bool
block_scan_open_source(BlockScan *scan, int source)
{
	BlockScanFull *full = (BlockScanFull *) scan;
	Source *next;

	close_source(scan);
	scan->source = source;
	if (source < 0 || source >= scan->nsources)
		return false;
	next = &full->sources[source];
	scan->first = next->first;
	if (next->segment != NULL)
	{
		scan->writer = next->segment->writer;
		scan->xmin = next->segment->xid;
		scan->cmin = next->segment->cid;
		return true;
	}
	scan->xmin = next->pack->xmin;
	scan->cmin = next->pack->cmin;
	if (unlikely(scan->skip_damaged) && !stored_pack_sound(scan->rel, next->pack, scan->desc))
		return true;
	scan->reader = stored_pack_open(&scan->stored, scan->rel, next->pack, scan->desc,
									scan->strategy, false, scan->cxt);
	return true;
}

/* Blocks of the current source. */
int
block_scan_nblocks(BlockScan *scan)
{
	if (scan->writer != NULL)
		return (pack_writer_rows(scan->writer) + PACK_VECTOR - 1) / PACK_VECTOR;
	return scan->reader != NULL ? pack_nblocks(scan->reader) : 0;
}

static void
set_live_bits(BlockScan *scan)
{
	BlockScanFull *full = (BlockScanFull *) scan;
	RowNumber low = scan->first + scan->positions[0];
	RowNumber high = scan->first + scan->positions[scan->nrows - 1];
	bool cut = low < full->from || high >= full->to;
	bool any = false;

	memset(scan->live, 0, sizeof(scan->live));
	for (int i = 0; i < scan->nrows / 64; i++)
		scan->live[i] = ~UINT64CONST(0);
	if (scan->nrows % 64 != 0)
		scan->live[scan->nrows / 64] = ~UINT64CONST(0) >> (64 - scan->nrows % 64);
	scan->all_live = true;
	if (scan->deletes != NULL)
		for (uint64 b = low / DELETE_BLOCK_ROWS; b <= high / DELETE_BLOCK_ROWS && !any; b++)
			any = delete_map_block(scan->deletes, b) != NULL;
	if (!any && !cut)
		return;
	for (int i = 0; i < scan->nrows; i++)
	{
		RowNumber row = scan->first + scan->positions[i];

		if (row < full->from || row >= full->to || (any && delete_map_contains(scan->deletes, row)))
		{
			scan->live[i / 64] &= ~(UINT64CONST(1) << (i % 64));
			scan->all_live = false;
		}
	}
}

/* Goes to a block of the current source. False if there is no such block. */
bool
block_scan_set_block(BlockScan *scan, int block)
{
	scan->block = block;
	if (block < 0 || block >= block_scan_nblocks(scan))
		return false;
	if (scan->writer != NULL)
	{
		scan->nrows = Min(pack_writer_rows(scan->writer) - block * PACK_VECTOR, PACK_VECTOR);
		scan->dense = true;
	}
	else
	{
		scan->nrows = pack_block_rows(scan->reader, block);
		scan->dense = pack_is_dense(scan->reader);
	}
	if (scan->dense)
		for (int i = 0; i < scan->nrows; i++)
			scan->positions[i] = block * PACK_VECTOR + i;
	else
		pack_block_positions(scan->reader, block, scan->positions);
	block_columns_set(scan->columns, scan->reader, scan->writer, block, scan->nrows);
	set_live_bits(scan);
	return true;
}

/*
 * Goes to the next block, or the previous one, of any source. False at the end; from there the other
 * direction leads back.
 */
bool
block_scan_next(BlockScan *scan, bool forward)
{
	int step = forward ? 1 : -1;

	CHECK_FOR_INTERRUPTS();
	if (scan->source >= 0 && scan->source < scan->nsources &&
		block_scan_set_block(scan, scan->block + step))
		return true;
	for (;;)
	{
		int source = scan->source + step;

		CHECK_FOR_INTERRUPTS();
		if (source < 0 || source >= scan->nsources)
		{
			close_source(scan);
			scan->source = forward ? scan->nsources : -1;
			return false;
		}
		block_scan_open_source(scan, source);
		if (block_scan_set_block(scan, forward ? 0 : block_scan_nblocks(scan) - 1))
			return true;
	}
}

/* The source that holds the row number, or -1. */
static int
find_source(const BlockScan *scan, RowNumber row)
{
	const Source *sources = ((const BlockScanFull *) scan)->sources;
	int low = 0;
	int high = scan->nsources;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (row < sources[middle].first)
			high = middle;
		else if (row >= sources[middle].end)
			low = middle + 1;
		else
			return middle;
	}
	return -1;
}

/* Is the row between the first and the last row of the current block? */
bool
block_scan_covers(const BlockScan *scan, RowNumber row)
{
	return scan->source >= 0 && scan->source < scan->nsources && scan->block >= 0 &&
		   row >= scan->first + scan->positions[0] &&
		   row <= scan->first + scan->positions[scan->nrows - 1];
}

/* Index of a row of the current block that holds only some of the rows that it covers; -1: not held. */
static int
find_in_block(const BlockScan *scan, uint32 position)
{
	int low = 0;
	int high = scan->nrows;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (scan->positions[middle] < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low < scan->nrows && scan->positions[low] == position ? low : -1;
}

/*
 * Goes to the block that holds the row and returns the row's index there, or -1 if no source holds the
 * row or it is not live. Rows may be asked for in any order; ascending is fastest.
 */
int
block_scan_seek(BlockScan *scan, RowNumber row)
{
	int index;

	if (!block_scan_covers(scan, row))
	{
		int source = find_source(scan, row);
		uint32 stored;

		if (source < 0)
			return -1;
		if (source != scan->source)
			(void) block_scan_open_source(scan, source);
		/* a damaged pack that is left out */
		if (scan->reader == NULL && scan->writer == NULL)
			return -1;
		stored = (uint32) (row - scan->first);
		if (scan->reader != NULL && !pack_find(scan->reader, stored, &stored))
			return -1;
		if (!block_scan_set_block(scan, stored / PACK_VECTOR))
			return -1;
	}
	index = scan->dense ? (int) (row - scan->first - scan->positions[0])
						: find_in_block(scan, (uint32) (row - scan->first));
	if (index < 0 || !(scan->live[index / 64] >> (index % 64) & 1))
		return -1;
	return index;
}

void
block_scan_end(BlockScan *scan)
{
	close_source(scan);
	for (int i = 0; i < scan->nsegments; i++)
		segment_release(scan->segments[i]);
	MemoryContextDelete(scan->cxt);
}

/* ---------------------------------------------------------------- table scans */

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

static void
begin_blocks(MagicScanDesc *scan, TupleTableSlot *slot)
{
	Snapshot snapshot = scan->base.rs_snapshot;
	bool any = snapshot != NULL && snapshot->snapshot_type == SNAPSHOT_ANY;

	/*
	 * Logical replication looks for a row so and waits for the transactions that are told here. None are:
	 * it locks the row then, and looks again if it has changed.
	 */
	if (snapshot != NULL && snapshot->snapshot_type == SNAPSHOT_DIRTY)
	{
		snapshot->xmin = snapshot->xmax = InvalidTransactionId;
		snapshot->speculativeToken = 0;
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
			return false;
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

/* ---------------------------------------------------------------- ANALYZE */

/* At least so many rows of a slice go into the sample; the others are only counted. */
#define ANALYZE_ROWS_PER_SLICE 16

static void
begin_slices(MagicScanDesc *scan)
{
	MetaInfo info;
	Snapshot snapshot;
	MemoryContext old;

	if (scan->reader != NULL)
		return;
	writer_flush(scan->base.rs_rd);
	snapshot = scan_metadata_snapshot(scan);
	storage_read_meta(scan->base.rs_rd, &info);
	scan->next_row = info.next_row;
	scan->reader =
		row_reader_create(scan->base.rs_rd, RelationGetDescr(scan->base.rs_rd), scan->cxt);
	old = MemoryContextSwitchTo(scan->cxt);
	scan->packs = directory_load(info.storage, snapshot, 0, InvalidRowNumber);
	scan->deletes = delete_map_load(info.storage, snapshot, scan->cxt);
	MemoryContextSwitchTo(old);
}

/* Adds the stored and the dead rows of [from, to), all of them of a pack with holes. */
static void
count_pack_with_holes(MagicScanDesc *scan, const PackEntry *pack, RowNumber from, RowNumber to,
					  double *stored, double *dead)
{
	RowPlace place = {0};

	(void) row_reader_locate(scan->reader, from, scan_metadata_snapshot(scan), &place);
	if (place.reader == NULL)
		return;
	*stored += pack_rank(place.reader, (uint32) (to - pack->first)) -
			   pack_rank(place.reader, (uint32) (from - pack->first));
	if (delete_map_count_range(scan->deletes, from, to) == 0)
		return;
	/* a deletion stays noted after its row has become a hole */
	for (RowNumber row = from; row < to; row++)
	{
		uint32 index;

		if (delete_map_contains(scan->deletes, row) &&
			pack_find(place.reader, (uint32) (row - pack->first), &index))
			(*dead)++;
	}
}

/* Stored and dead rows of [from, to). */
static void
count_slice(MagicScanDesc *scan, RowNumber from, RowNumber to, double *stored, double *dead)
{
	int low = 0;
	int high = scan->packs->n;

	*stored = 0;
	*dead = 0;
	while (low < high)
	{
		int middle = (low + high) / 2;

		if (scan->packs->packs[middle].first + scan->packs->packs[middle].span <= from)
			low = middle + 1;
		else
			high = middle;
	}
	for (int i = low; i < scan->packs->n && scan->packs->packs[i].first < to; i++)
	{
		const PackEntry *pack = &scan->packs->packs[i];
		RowNumber start = Max(pack->first, from);
		RowNumber end = Min(pack->first + pack->span, to);

		CHECK_FOR_INTERRUPTS();
		if (pack->rows < pack->span)
			count_pack_with_holes(scan, pack, start, end, stored, dead);
		else
		{
			*stored += (double) (end - start);
			*dead += (double) delete_map_count_range(scan->deletes, start, end);
		}
	}
}

/*
 * The distance of the rows that ANALYZE is offered from a slice: together the slices that it asks for hold
 * about twice the rows that it wants, which are 300 for each unit of the largest statistics target. Small
 * tables give all their rows.
 */
static RowNumber
analyze_step(Relation rel, RowNumber rows, BlockNumber nblocks)
{
	TupleDesc desc = RelationGetDescr(rel);
	int target = default_statistics_target;
	double wanted;

	for (int i = 0; i < desc->natts; i++)
		target = Max(target, compat_statistics_target(TupleDescAttr(desc, i)));
	wanted = 2.0 * 300 * Max(target, 1) / Min(nblocks, 300 * (double) Max(target, 1));
	wanted = Max(wanted, ANALYZE_ROWS_PER_SLICE);
	return (RowNumber) Max((double) rows / wanted, 1.0);
}

/* The next row to offer lies anywhere in a step: values that repeat at equal distances are no trap. */
static RowNumber
analyze_pick(MagicScanDesc *scan)
{
	RowNumber left = scan->slice_end - scan->slice_row;
	RowNumber step = Min(scan->slice_step, left);

	return scan->slice_row +
		   (step > 1 ? pg_prng_uint64_range(&pg_global_prng_state, 0, step - 1) : 0);
}

/*
 * The table's rows are being counted, and the statistics will be told the sum: what this backend has
 * committed and not reported yet is in it, and must not be added a second time.
 */
void
scan_forget_counted(Relation rel)
{
	PgStat_TableStatus *status = pgstat_should_count_relation(rel) ? rel->pgstat_info : NULL;

	if (status == NULL || compat_pgstat_count(status, truncdropped))
		return;
	compat_pgstat_count(status, delta_live_tuples) = 0;
	compat_pgstat_count(status, delta_dead_tuples) = 0;
	compat_pgstat_count(status, changed_tuples) = 0;
}

/*
 * ANALYZE samples "blocks" of the file; block i of n stands for the i-th of n equal slices of the row
 * numbers. False if the slice is empty.
 */
bool
scan_analyze_block(TableScanDesc sscan, BlockNumber blockno)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;
	BlockNumber nblocks = RelationGetNumberOfBlocks(scan->base.rs_rd);
	RowNumber rows;

	if (scan->reader == NULL)
		scan_forget_counted(scan->base.rs_rd);
	begin_slices(scan);
	nblocks = Max(nblocks, blockno + 1);
	scan->slice_row = (RowNumber) ((double) scan->next_row * blockno / nblocks);
	scan->slice_end = blockno + 1 == nblocks
						  ? scan->next_row
						  : (RowNumber) ((double) scan->next_row * (blockno + 1) / nblocks);
	if (scan->slice_end <= scan->slice_row)
		return false;
	rows = scan->slice_end - scan->slice_row;
	scan->slice_step = analyze_step(scan->base.rs_rd, rows, nblocks);
	count_slice(scan, scan->slice_row, scan->slice_end, &scan->slice_live, &scan->slice_dead);
	scan->slice_counted = false;
	return true;
}

bool
scan_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin, double *liverows,
						double *deadrows, TupleTableSlot *slot)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;
	Snapshot snapshot = scan_metadata_snapshot(scan);

	if (!scan->slice_counted)
	{
		*liverows += scan->slice_live - scan->slice_dead;
		*deadrows += scan->slice_dead;
		scan->slice_counted = true;
	}
	while (scan->slice_row < scan->slice_end)
	{
		RowNumber row = analyze_pick(scan);

		CHECK_FOR_INTERRUPTS();
		scan->slice_row += scan->slice_step;
		if (row_reader_fetch(scan->reader, row, snapshot, slot, NULL))
			return true;
	}
	ExecClearTuple(slot);
	return false;
}

/* ---------------------------------------------------------------- TABLESAMPLE */

/* A sample's block is a block of TIDs. */
bool
scan_sample_next_block(TableScanDesc sscan, SampleScanState *state)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;
	TsmRoutine *tsm = state->tsmroutine;
	BlockNumber nblocks;

	if (scan->reader == NULL)
	{
		begin_slices(scan);
		scan->sample_block = InvalidBlockNumber;
	}
	nblocks = (BlockNumber) ((scan->next_row + ENGINE_ROWS_PER_TID_BLOCK - 1) /
							 ENGINE_ROWS_PER_TID_BLOCK);
	if (tsm->NextSampleBlock)
		scan->sample_block = tsm->NextSampleBlock(state, nblocks);
	else
	{
		scan->sample_block = scan->sample_block == InvalidBlockNumber ? 0 : scan->sample_block + 1;
		if (scan->sample_block >= nblocks)
			scan->sample_block = InvalidBlockNumber;
	}
	return BlockNumberIsValid(scan->sample_block);
}

bool
scan_sample_next_tuple(TableScanDesc sscan, SampleScanState *state, TupleTableSlot *slot)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;
	RowNumber base = (RowNumber) scan->sample_block * ENGINE_ROWS_PER_TID_BLOCK;
	OffsetNumber max_offset = (OffsetNumber) Min(scan->next_row - base, ENGINE_ROWS_PER_TID_BLOCK);

	for (;;)
	{
		OffsetNumber offset =
			state->tsmroutine->NextSampleTuple(state, scan->sample_block, max_offset);

		CHECK_FOR_INTERRUPTS();
		if (!OffsetNumberIsValid(offset))
		{
			ExecClearTuple(slot);
			return false;
		}
		if (row_reader_fetch(scan->reader, base + offset - 1, scan_metadata_snapshot(scan), slot,
							 NULL))
			return true;
	}
}
