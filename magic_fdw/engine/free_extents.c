/*
 * free_extents.c
 *		Pages of a table's file that no pack fills: using them again.
 *
 * Who replaces or removes packs inserts their extents into magic.free_extent in the same transaction, and
 * they may be written again when that one is older than every snapshot; a conflict record for standbys
 * comes first. Who takes an extent deletes its row: if the transaction aborts, the extent is free again.
 */
#include "engine/engine_int.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/snapmgr.h"

typedef enum ExtentState
{
	EXTENT_FREE,
	EXTENT_WRITTEN, /* by a transaction that runs */
	EXTENT_NAMED	/* by the directory */
} ExtentState;

/*
 * Is the extent free, as magic.free_extent says? VACUUM cuts the file before its transaction ends: if that
 * fails, rows that it deleted are back and name pages behind the file's end, which the file may have grown
 * over since. Pages come before the directory: whose transaction is over has its row there.
 */
static ExtentState
check_free_extent(Relation rel, uint64 storage, const Extent *extent, TransactionId horizon)
{
	ExtentState state = EXTENT_FREE;
	Extent *named;
	int n;

	for (uint32 i = 0; i < extent->pages; i++)
	{
		TransactionId xid = storage_page_writer(rel, extent->first + i);

		CHECK_FOR_INTERRUPTS();
		if (TransactionIdIsNormal(xid) && !TransactionIdPrecedes(xid, horizon) &&
			!TransactionIdIsCurrentTransactionId(xid) && TransactionIdIsInProgress(xid))
			return EXTENT_WRITTEN;
	}
	named = directory_references(storage, horizon, &n);
	for (int i = 0; i < n && state == EXTENT_FREE; i++)
		if (named[i].first < extent->first + extent->pages &&
			named[i].first + named[i].pages > extent->first)
			state = EXTENT_NAMED;
	pfree(named);
	return state;
}

/* The smallest extent of the list that is large enough and may be used now, or NULL. */
static FreeExtent *
best_free_extent(FreeExtent *list, int n, uint32 pages, BlockNumber before, BlockNumber nblocks,
				 TransactionId horizon)
{
	FreeExtent *best = NULL;

	for (int i = 0; i < n; i++)
		if (list[i].extent.pages >= pages && TransactionIdPrecedes(list[i].xmin, horizon) &&
			list[i].extent.first + (uint64) list[i].extent.pages <= nblocks &&
			list[i].extent.first + (uint64) pages <= before &&
			(best == NULL || list[i].extent.pages < best->extent.pages))
			best = &list[i];
	return best;
}

/*
 * Takes `pages` pages from the free extents of the table that end at or before block `before`, from the
 * smallest that is large enough. False if there is none. If the transaction aborts, the extent is free
 * again.
 */
bool
extent_take_free(Relation rel, uint32 pages, BlockNumber before, Extent *extent)
{
	uint64 storage = storage_id(rel);
	Snapshot snapshot = latest_snapshot_register();
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	FreeExtent *list;
	FreeExtent *best;
	int n = free_extent_list(storage, snapshot, &list);
	TransactionId horizon = n > 0 ? directory_horizon() : InvalidTransactionId;
	bool taken = false;

	while (!taken && (best = best_free_extent(list, n, pages, before, nblocks, horizon)) != NULL)
	{
		Extent wanted = {.first = best->extent.first, .pages = pages};
		ExtentState state = check_free_extent(rel, storage, &wanted, horizon);

		if (state == EXTENT_WRITTEN || !free_extent_delete(&best->tid))
			best->extent.pages = 0; /* somebody else's */
		else if (state == EXTENT_NAMED)
			best->extent.pages = 0; /* the row was wrong and is gone now */
		else
		{
			storage_conflict_record(rel, best->xmin);
			*extent = wanted;
			if (best->extent.pages > pages)
			{
				Extent rest = {.first = best->extent.first + pages,
							   .pages = best->extent.pages - pages};

				free_extent_insert(storage, &rest);
			}
			taken = true;
		}
	}
	pfree(list);
	UnregisterSnapshot(snapshot);
	return taken;
}

static int
compare_free_extents(const void *a, const void *b)
{
	BlockNumber x = ((const FreeExtent *) a)->extent.first;
	BlockNumber y = ((const FreeExtent *) b)->extent.first;

	return x < y ? -1 : x > y;
}

/* Makes one of the free extents [from, to), which follow each other, so that a larger pack fits. */
static void
join_run(uint64 storage, FreeExtent *list, int from, int to)
{
	Extent joined = {.first = list[from].extent.first};

	for (int i = from; i < to; i++)
	{
		/* somebody takes it just now */
		if (!free_extent_delete(&list[i].tid))
		{
			if (joined.pages > 0)
				free_extent_insert(storage, &joined);
			joined.first = list[i].extent.first + list[i].extent.pages;
			joined.pages = 0;
		}
		else
			joined.pages += list[i].extent.pages;
	}
	if (joined.pages > 0)
		free_extent_insert(storage, &joined);
}

/*
 * Joins free extents that follow each other and may be used now: larger packs fit then, once this
 * transaction is settled. `list` is what the table has, and is sorted. Returns whether there were any.
 */
bool
free_extents_join(uint64 storage, FreeExtent *list, int n, TransactionId horizon)
{
	bool any = false;
	int end;

	qsort(list, n, sizeof(FreeExtent), compare_free_extents);
	for (int i = 0; i < n; i = end)
	{
		end = i + 1;
		if (!TransactionIdPrecedes(list[i].xmin, horizon))
			continue;
		while (end < n && TransactionIdPrecedes(list[end].xmin, horizon) &&
			   list[end].extent.first == list[end - 1].extent.first + list[end - 1].extent.pages)
			end++;
		if (end - i > 1)
		{
			join_run(storage, list, i, end);
			any = true;
		}
	}
	return any;
}
