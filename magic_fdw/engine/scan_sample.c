/*
 * scan_sample.c
 *		Scans of parts of a table: ANALYZE and TABLESAMPLE.
 *
 * Both ask for blocks of the file, which do not hold the rows of their number here: block i of n stands
 * for the i-th of n equal slices of the row numbers.
 */
#include "engine/scan_int.h"

#include "access/tsmapi.h"
#include "commands/vacuum.h"
#include "common/pg_prng.h"
#include "pgstat.h"
#include "storage/bufmgr.h"

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
