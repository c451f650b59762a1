/*
 * block_scan.c
 *		Sequential reading: blocks of a table in row order.
 *
 * A block scan reads the sources of a table (packs that the snapshot sees, segments of this backend) in
 * order of their row numbers, block by block of at most 1,024 rows, each with a bitmap of its live rows.
 * Columns are decoded when somebody asks for them.
 */
#include "engine/engine_int.h"

#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

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
