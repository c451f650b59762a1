/*
 * bitmap_scan.c
 *		Bitmap heap scans.
 *
 * A bitmap names rows by TID: a block of TIDs is 291 consecutive row numbers and has nothing to do with a
 * block of the file. Blocks come in ascending order, exact (offsets of rows) or lossy (any of the 291 rows;
 * the executor rechecks the condition).
 *
 * Where many rows of a TID block are wanted they are read through a block scan, which decodes a column of
 * 1,024 rows once; a few rows are looked up one by one, as by an index scan. Both see the same rows: those
 * of the scan's snapshot and of this transaction's overlay.
 *
 * The workers of a parallel bitmap scan share the bitmap and have a scan each.
 *
 * What the executor would prefetch is forbidden in plan_hooks.c.
 */
#include "engine/scan_int.h"

#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "pgstat.h"
#include "utils/rel.h"

/* Rows of a TID block from which on decoding whole blocks is faster than single lookups. */
#define DENSE_ROWS 6

static RowNumber
tid_block_start(const TBMIterateResult *tids)
{
	return (RowNumber) tids->blockno * ENGINE_ROWS_PER_TID_BLOCK;
}

/* Begins a block of TIDs. Never false: whether its rows are there is seen when they are fetched. */
bool
scan_bitmap_next_block(TableScanDesc sscan, TBMIterateResult *tids)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;

	scan->bitmap_next = 0;
	scan->bitmap_dense =
		tids->ntuples < 0 || tids->ntuples >= DENSE_ROWS ||
		(tids->ntuples > 0 && scan->blocks != NULL &&
		 block_scan_covers(scan->blocks, tid_block_start(tids) + tids->offsets[0] - 1));
	return true;
}

/* The next row number that the bitmap names in the current block; false at its end. */
static bool
next_candidate(MagicScanDesc *scan, const TBMIterateResult *tids, RowNumber *row)
{
	int n = tids->ntuples < 0 ? ENGINE_ROWS_PER_TID_BLOCK : tids->ntuples;

	if (scan->bitmap_next >= n)
		return false;
	*row = tid_block_start(tids) +
		   (tids->ntuples < 0 ? scan->bitmap_next : tids->offsets[scan->bitmap_next] - 1);
	scan->bitmap_next++;
	return true;
}

static bool
fetch_from_blocks(MagicScanDesc *scan, RowNumber row, TupleTableSlot *slot)
{
	BlockScan *blocks = scan_blocks(scan, slot);
	int index = block_scan_seek(blocks, row);

	if (index < 0)
		return false;
	magic_slot_set_block(slot, blocks->columns, index, row, blocks->xmin, blocks->cmin);
	slot->tts_tableOid = RelationGetRelid(scan->base.rs_rd);
	return true;
}

static bool
fetch_single(MagicScanDesc *scan, RowNumber row, TupleTableSlot *slot)
{
	if (scan->reader == NULL)
		scan->reader = row_reader_create(scan->base.rs_rd, slot->tts_tupleDescriptor, scan->cxt);
	return row_reader_fetch(scan->reader, row, scan_metadata_snapshot(scan), slot, NULL);
}

/* The next row of the current block that the snapshot sees; false at the block's end. */
bool
scan_bitmap_next_tuple(TableScanDesc sscan, TBMIterateResult *tids, TupleTableSlot *slot)
{
	MagicScanDesc *scan = (MagicScanDesc *) sscan;
	RowNumber row;

	while (next_candidate(scan, tids, &row))
	{
		CHECK_FOR_INTERRUPTS();
		if (scan->bitmap_dense ? fetch_from_blocks(scan, row, slot) : fetch_single(scan, row, slot))
		{
			pgstat_count_heap_fetch(scan->base.rs_rd);
			return true;
		}
	}
	ExecClearTuple(slot);
	return false;
}
