/*
 * compact.c
 *		Merging neighbouring packs, folding dead rows, moving packs down.
 *
 * A merge replaces directory rows of neighbouring packs by one over the same row numbers: row numbers do
 * not move, so no index changes. Rows whose deletion is settled (older than every snapshot) are left
 * out; their positions become holes, and the deltas that name only such rows go in the same
 * transaction. A snapshot from before the merge sees the old rows and the old deltas, one from after it
 * the new ones, because both are heap rows.
 *
 * One merge of a table at a time: a lock held to the end of the transaction (compaction_lock). Writers
 * and readers are not held up. The replaced extents go to magic.free_extent and are used again when the
 * merging transaction is older than every snapshot; a conflict record for standbys comes first.
 *
 * Folding needs room for the new packs before the old ones' pages can be used again. Except in VACUUM it
 * goes on only while the pages that are waiting for that are a small part of the file (UNSETTLED_PART), so
 * the file does not swell however many packs have dead rows; the compaction worker comes again.
 */
#include "engine/engine_int.h"
#include "engine/compaction.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Packs below this many rows are small. */
#define SMALL_PACK_ROWS (PACK_TARGET_ROWS / 2)

/* Neighbours of one size class before they are merged, and the classes' ratio. */
#define TIER_RATIO 8

/* Settled deltas of one block before they become one. */
#define DELTAS_TO_JOIN 4

/* VACUUM moves packs down when this part (one in n) of the file is free. */
#define MOVE_FREE_PART 8

/* A pack is rewritten when this part of its rows is dead for everybody. */
#define FOLD_FRACTION 0.1

/* The same for a pack that is a large part of the table. */
#define FOLD_ANY_FRACTION 0.25

/* Freed pages that wait to be used again: this part (one in n) of the file, or a few, end folding. */
#define UNSETTLED_PART 16
#define UNSETTLED_PAGES 16

/* Free pages at the end of the file for which the worker locks the table: one in n, or more than these. */
#define TAIL_PART 16
#define TAIL_PAGES 4

PG_FUNCTION_INFO_V1(magic_compact);
PGDLLEXPORT Datum magic_compact(PG_FUNCTION_ARGS);

/* Opens a magic table that the user owns. */
static Relation
open_own_table(Oid relid, LOCKMODE lock)
{
	Relation rel = table_open(relid, lock);

	if (!engine_is_magic(rel))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table of access method magic",
							   RelationGetRelationName(rel))));
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
	return rel;
}

Datum
magic_compact(PG_FUNCTION_ARGS)
{
	Relation rel;
	CompactRequest request = {.mode = COMPACT_FULL};
	CompactResult result;

	/* on a standby every transaction is */
	PreventCommandIfReadOnly("magic.compact()");
	rel = open_own_table(PG_GETARG_OID(0), RowExclusiveLock);
	compact_table(rel, &request, &result);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------- merging */

typedef struct Merge
{
	Relation rel;
	uint64 storage;
	Snapshot snapshot;
	PackList *packs;
	DeleteMap *settled;
	ReservedRange *reserved; /* rows that may still be written, below */
	int nreserved;
	RowNumber next_row; /* the table's when `reserved` was read */
	PackList *versions; /* every directory row that is not dead */
	DeleteMap *folded;	/* rows of `settled` that no pack holds any more */
	PackWriter *writer;
	const CompactRequest *request;
	CompactResult *result;
	uint64 fold_pages; /* pages that folding may still write */
	bool fold_any;	   /* one pack, whatever its size */
	uint64 freed;	   /* pages */
	TransactionId horizon;
	FreeExtent *free; /* as it began */
	int nfree;
	bool moved;	 /* packs to other extents */
	bool joined; /* free extents */
	bool deltas_changed;
	uint32 remaining; /* directory rows and deltas after the merge */
} Merge;

/* Has this step done what it may? Then there is more to do. */
static bool
budget_spent(Merge *merge)
{
	if (merge->request->budget == 0 || merge->result->bytes < merge->request->budget)
		return false;
	merge->result->more = true;
	return true;
}

static void
pause_point(Merge *merge)
{
	CHECK_FOR_INTERRUPTS();
	if (merge->request->pause != NULL)
		merge->request->pause(merge->rel);
}

static double
dead_fraction(Merge *merge, const PackEntry *pack)
{
	if (pack->rows == 0)
		return 1;
	return (double) delete_map_count_range(merge->settled, pack->first, pack->first + pack->span) /
		   pack->rows;
}

static uint64
live_rows(Merge *merge, const PackEntry *pack)
{
	uint64 dead = delete_map_count_range(merge->settled, pack->first, pack->first + pack->span);

	return pack->rows > dead ? pack->rows - dead : 0;
}

/* Appends the rows of a pack that are not dead for everybody. */
static void
append_pack(Merge *merge, const PackEntry *pack, RowNumber base)
{
	Relation rel = merge->rel;
	TupleDesc desc = RelationGetDescr(rel);
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic merge", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	BlockColumns *columns = block_columns_create(cxt, desc->natts);
	Datum *values = palloc(sizeof(Datum) * (desc->natts + 1));
	bool *isnull = palloc(sizeof(bool) * (desc->natts + 1));
	StoredPack stored;
	PackReader *reader;
	uint32 positions[PACK_VECTOR];

	reader = stored_pack_open(&stored, rel, pack, desc, NULL, false, cxt);
	for (uint32 block = 0; block < pack_nblocks(reader); block++)
	{
		int n = pack_block_rows(reader, block);

		pause_point(merge);
		pack_block_positions(reader, block, positions);
		block_columns_set(columns, reader, NULL, block, n);
		for (int att = 0; att < desc->natts; att++)
			block_columns_decode(columns, att);
		for (int i = 0; i < n; i++)
		{
			RowNumber row = pack->first + positions[i];

			if (delete_map_contains(merge->settled, row))
			{
				delete_map_add(merge->folded, row);
				continue;
			}
			for (int att = 0; att < desc->natts; att++)
			{
				values[att] = columns->values[att][i];
				isnull[att] = columns->nulls[att][i];
			}
			pack_writer_append_at(merge->writer, (uint32) (row - base), values, isnull);
		}
	}
	stored_pack_close(&stored);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* Replaces the packs [from, to) by one, or by none if all rows are dead. */
static void
merge_packs(Merge *merge, int from, int to)
{
	PackEntry *packs = merge->packs->packs;
	RowNumber base = packs[from].first;
	uint32 span = (uint32) (packs[to - 1].first + packs[to - 1].span - base);

	if (merge->writer == NULL)
		merge->writer = pack_writer_create(RelationGetDescr(merge->rel), CurrentMemoryContext);
	for (int i = from; i < to; i++)
	{
		append_pack(merge, &packs[i], base);
		merge->result->bytes += packs[i].length;
	}
	if (pack_writer_rows(merge->writer) > 0)
	{
		PackBytes bytes;
		PackEntry entry = {0};

		pack_writer_finish(merge->writer, span, &bytes);
		entry.first = base;
		entry.span = span;
		entry.rows = pack_writer_rows(merge->writer);
		entry.length = bytes.length;
		if (bytes.length <= PACK_INLINE_LIMIT)
			entry.inline_bytes = bytes.data;
		else
			storage_write_pack(merge->rel, &bytes, &entry.extent);
		directory_insert(merge->storage, &entry, GetCurrentCommandId(true));
		merge->result->bytes += bytes.length;
		merge->result->written += bytes.length;
		pfree(bytes.data);
	}
	pack_writer_reset(merge->writer);
	for (int i = from; i < to; i++)
	{
		directory_delete(merge->storage, &packs[i]);
		if (packs[i].extent.pages > 0)
			free_extent_insert(merge->storage, &packs[i].extent);
		merge->freed += packs[i].extent.pages;
	}
	merge->result->replaced += to - from;
}

/*
 * May a pack be written that covers [from, to), row numbers between two packs? Not if a running
 * transaction has reserved some of them, or has written a pack of them that we do not see. Of numbers
 * that were given out after the reservations had been read we do not know: the packs were read later.
 */
static bool
gap_is_settled(Merge *merge, RowNumber from, RowNumber to)
{
	if (from == to)
		return true;
	if (to > merge->next_row)
		return false;
	for (int i = 0; i < merge->nreserved; i++)
		if (merge->reserved[i].first < to && merge->reserved[i].reserved > from)
			return false;
	for (int i = 0; i < merge->versions->n; i++)
	{
		const PackEntry *pack = &merge->versions->packs[i];

		if (pack->first < to && pack->first + pack->span > from)
			return false;
	}
	return true;
}

/* Size class of a pack: 0 for up to TIER_RATIO rows, 1 up to its square, ... */
static int
size_class(uint64 rows)
{
	int class = 0;

	while (rows > TIER_RATIO)
	{
		rows /= TIER_RATIO;
		class ++;
	}
	return class;
}

/*
 * Where does the run of packs that begins at `from` end that should be merged? Returns `from` if none
 * begins there. With `full` a run is as many small packs as one pack can hold; else only a run of at
 * least TIER_RATIO packs none of which is of a higher class than its first ones.
 */
static int
run_end(Merge *merge, int from, bool full)
{
	PackList *list = merge->packs;
	uint64 rows = 0;
	uint64 bytes = 0;
	int to = from;
	int class = 0;

	while (to < list->n)
	{
		PackEntry *pack = &list->packs[to];
		uint64 live = live_rows(merge, pack);
		RowNumber span = pack->first + pack->span - list->packs[from].first;

		if (live >= SMALL_PACK_ROWS || rows + live > PACK_TARGET_ROWS || span > PG_UINT32_MAX ||
			bytes + pack->length > PACK_TARGET_BYTES)
			break;
		if (to > from && !gap_is_settled(merge, pack[-1].first + pack[-1].span, pack->first))
			break;
		if (!full)
		{
			if (to == from)
				class = size_class(live);
			else if (size_class(live) > class)
			{
				/* a larger pack ends a run of small ones, unless those are many */
				if (to - from >= TIER_RATIO)
					break;
				class = size_class(live);
			}
		}
		rows += live;
		bytes += pack->length;
		to++;
	}
	if (full)
		return to - from > 1 ? to : from;
	/* The older packs of a higher class stay; merge the tail of lower ones only. */
	return to - from >= TIER_RATIO ? to : from;
}

/* Skips leading packs of a run whose class is above that of enough followers. */
static int
run_start(Merge *merge, int from, int to)
{
	int start = to;
	uint64 rows = 0;

	/* from the end: grow while the next older pack is not much larger than all after it */
	while (start > from)
	{
		uint64 live = live_rows(merge, &merge->packs->packs[start - 1]);

		if (to - start >= TIER_RATIO && live > rows * TIER_RATIO)
			break;
		rows += live;
		start--;
	}
	return start;
}

/* Rewrites a pack without its dead rows, if they are many and there is room for both. */
static void
fold_pack(Merge *merge, int i)
{
	const PackEntry *pack = &merge->packs->packs[i];

	if (dead_fraction(merge, pack) < FOLD_FRACTION || budget_spent(merge))
		return;
	/* where the worker waits for nothing yet, one pack with many dead rows may be folded, however large */
	if (pack->extent.pages > merge->fold_pages &&
		(!merge->fold_any || dead_fraction(merge, pack) < FOLD_ANY_FRACTION))
	{
		/* there will be room when what was freed is settled */
		merge->result->unsettled |= merge->freed > 0 || !merge->fold_any;
		return;
	}
	merge->fold_pages -= Min(pack->extent.pages, merge->fold_pages);
	merge->fold_any = false;
	merge_packs(merge, i, i + 1);
}

static void
merge_runs(Merge *merge, bool full)
{
	for (int i = 0; i < merge->packs->n && !merge->result->more;)
	{
		int end = run_end(merge, i, full);
		int start;

		CHECK_FOR_INTERRUPTS();
		if (end == i)
		{
			fold_pack(merge, i);
			i++;
			continue;
		}
		start = full ? i : run_start(merge, i, end);
		if (end - start > 1 && !budget_spent(merge))
			merge_packs(merge, start, end);
		i = end;
	}
}

/* ---------------------------------------------------------------- moving down */

static int
compare_extents_down(const void *a, const void *b)
{
	BlockNumber x = ((const PackEntry *) a)->extent.first;
	BlockNumber y = ((const PackEntry *) b)->extent.first;

	return x > y ? -1 : x < y;
}

/* The table's free pages: those that may be used now, and those that older snapshots may still read. */
static void
count_free_pages(Merge *merge, uint64 *settled, uint64 *unsettled)
{
	*settled = *unsettled = 0;
	for (int i = 0; i < merge->nfree; i++)
		*(TransactionIdPrecedes(merge->free[i].xmin, merge->horizon) ? settled : unsettled) +=
			merge->free[i].extent.pages;
}

/*
 * Copies packs from the end of the file into free extents before them, so that the file can be cut later:
 * as many pages as are free, if that is a good part of the file. If none fits, makes larger extents for the
 * next time. The merge has replaced nothing.
 */
static void
move_packs_down(Merge *merge, uint64 room)
{
	PackEntry *packs = merge->packs->packs;

	if (room == 0 || room < RelationGetNumberOfBlocks(merge->rel) / MOVE_FREE_PART)
		return;
	qsort(packs, merge->packs->n, sizeof(PackEntry), compare_extents_down);
	for (int i = 0; i < merge->packs->n && room > 0; i++)
	{
		PackEntry moved = packs[i];

		pause_point(merge);
		/* inline packs are no part of the file */
		if (packs[i].extent.pages == 0 || packs[i].extent.pages > room)
			continue;
		if (budget_spent(merge))
			return;
		if (!storage_copy_pack_down(merge->rel, &packs[i].extent, packs[i].length, &moved.extent))
			continue;
		directory_insert(merge->storage, &moved, GetCurrentCommandId(true));
		directory_delete(merge->storage, &packs[i]);
		free_extent_insert(merge->storage, &packs[i].extent);
		room -= packs[i].extent.pages;
		merge->freed += packs[i].extent.pages;
		merge->result->bytes += 2 * packs[i].length;
		merge->result->written += packs[i].length;
		merge->moved = true;
	}
	if (!merge->moved)
		merge->joined =
			free_extents_join(merge->storage, merge->free, merge->nfree, merge->horizon);
}

/* ---------------------------------------------------------------- deltas */

typedef struct DeltaTidy
{
	Merge *merge;
	TransactionId horizon;
	int n;
	int room;
	struct OldDelta
	{
		ItemPointerData tid;
		uint64 block;
	} * old;
	DeleteMap *rest; /* settled rows that packs still hold */
} DeltaTidy;

/* Collects the settled deltas; what they name and packs still hold goes to `rest`. */
static void
collect_delta(const DeltaRow *row, void *arg)
{
	DeltaTidy *tidy = arg;
	const uint8 *p = row->entries;
	const uint8 *end = p + row->length;
	DeltaCursor cursor = {0};
	DeltaEntry entry;

	if (!TransactionIdPrecedes(row->xmin, tidy->horizon))
		return;
	while (delta_next(&p, end, &cursor, &entry))
	{
		RowNumber number = row->block * DELETE_BLOCK_ROWS + entry.offset;
		int low = 0;
		int high = tidy->merge->packs->n;

		if (delete_map_contains(tidy->merge->folded, number))
			continue;
		/* rows that no pack covers need no deletion */
		while (low < high)
		{
			int middle = (low + high) / 2;
			PackEntry *pack = &tidy->merge->packs->packs[middle];

			if (number < pack->first)
				high = middle;
			else if (number >= pack->first + pack->span)
				low = middle + 1;
			else
			{
				delete_map_add(tidy->rest, number);
				break;
			}
		}
	}
	if (tidy->n == tidy->room)
	{
		tidy->room = Max(64, tidy->room * 2);
		tidy->old = tidy->old == NULL ? palloc(sizeof(*tidy->old) * tidy->room)
									  : repalloc_huge(tidy->old, sizeof(*tidy->old) * tidy->room);
	}
	tidy->old[tidy->n].tid = row->tid;
	tidy->old[tidy->n].block = row->block;
	tidy->n++;
}

/*
 * Writes deltas that delete the rows of a block whose bits are set; successors are not known. `merge` as
 * for delta_insert().
 */
static void
delete_rows_of_block(uint64 storage, uint64 block, const uint64 *bits, CommandId cid, bool merge)
{
	DeltaEntry *entries = palloc(sizeof(DeltaEntry) * DELETE_BLOCK_ROWS);
	uint8 *bytes = palloc(DELTA_ROOM);
	int n = 0;

	for (uint32 i = 0; i < DELETE_BLOCK_ROWS; i++)
		if (bits[i / 64] >> (i % 64) & 1)
		{
			DeltaEntry entry = {.offset = i, .kind = DELETE_DELETED};

			entries[n++] = entry;
		}
	for (int done = 0; done < n;)
	{
		int length;

		done += delta_encode(entries + done, n - done, bytes, DELTA_ROOM, &length);
		delta_insert(storage, block, bytes, length, cid, merge);
	}
	pfree(entries);
	pfree(bytes);
}

/*
 * Drops settled deltas of rows that are holes by now, and joins settled deltas of one block when there
 * are several.
 */
static void
tidy_deltas(Merge *merge, TransactionId horizon)
{
	DeltaTidy tidy = {.merge = merge, .horizon = horizon};

	tidy.rest = delete_map_create(CurrentMemoryContext);
	delta_scan(merge->storage, -1, merge->snapshot, collect_delta, &tidy);
	/* deltas come in the order of their blocks */
	for (int i = 0; i < tidy.n;)
	{
		uint64 block = tidy.old[i].block;
		const uint64 *rest = delete_map_block(tidy.rest, block);
		const uint64 *folded = delete_map_block(merge->folded, block);
		int end = i;

		CHECK_FOR_INTERRUPTS();
		while (end < tidy.n && tidy.old[end].block == block)
			end++;
		if (rest == NULL || folded != NULL || end - i >= DELTAS_TO_JOIN)
		{
			for (int d = i; d < end; d++)
				delta_delete(merge->storage, block, &tidy.old[d].tid);
			if (rest != NULL)
				delete_rows_of_block(merge->storage, block, rest, GetCurrentCommandId(true), true);
			merge->deltas_changed = true;
			merge->remaining++;
		}
		else
			merge->remaining += end - i;
		i = end;
	}
}

/* The worker's: is there something that can be done once what is there now is settled? */
static bool
worth_coming_again(Merge *merge, uint64 free_settled, uint64 free_unsettled)
{
	DeleteMap *all;
	BlockNumber nblocks = RelationGetNumberOfBlocks(merge->rel);

	/* a step that merges does not look for what can be moved down or cut */
	if ((free_unsettled > 0 || merge->result->replaced > 0) &&
		free_settled + free_unsettled >= Max(TAIL_PAGES, nblocks / MOVE_FREE_PART))
		return true;
	all = delete_map_load(merge->storage, merge->snapshot, CurrentMemoryContext);
	for (int i = 0; i < merge->packs->n; i++)
	{
		const PackEntry *pack = &merge->packs->packs[i];
		uint64 dead = delete_map_count_range(all, pack->first, pack->first + pack->span);

		if (dead >= pack->rows * FOLD_FRACTION && dead_fraction(merge, pack) < FOLD_FRACTION)
			return true;
	}
	return false;
}

/* Pages at the end of the file that no snapshot can read are many. */
static bool
tail_is_free(Merge *merge)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(merge->rel);
	BlockNumber end = 1;

	for (int i = 0; i < merge->versions->n; i++)
		if (merge->versions->packs[i].extent.pages > 0)
			end = Max(end, merge->versions->packs[i].extent.first +
							   merge->versions->packs[i].extent.pages);
	return nblocks > end && nblocks - end >= Max(TAIL_PAGES, nblocks / TAIL_PART);
}

/* How many pages folding may write; see the file's head. */
static uint64
fold_room(Merge *merge, uint64 unsettled)
{
	uint64 allowed = Max(UNSETTLED_PAGES, RelationGetNumberOfBlocks(merge->rel) / UNSETTLED_PART);

	if (merge->request->mode == COMPACT_VACUUM)
		return PG_UINT64_MAX;
	return allowed > unsettled ? allowed - unsettled : 0;
}

/* What all kinds of merging do, with the table's compaction lock held. */
static void
run_merge(Merge *merge)
{
	CompactMode mode = merge->request->mode;
	TransactionId horizon = directory_horizon();
	TransactionId newest;
	MetaInfo info;
	uint64 settled;
	uint64 unsettled;
	uint32 counted;

	merge->storage = storage_id(merge->rel);
	merge->horizon = horizon;
	counted = merge_counted_writes(merge->storage);
	/* ranges first: what is not reserved any more is in the directory */
	storage_read_meta_and_ranges(merge->rel, &info, &merge->reserved, &merge->nreserved);
	merge->next_row = info.next_row;
	merge->snapshot = latest_snapshot_register();
	merge->versions = directory_load_any(merge->storage, horizon);
	merge->packs = directory_load(merge->storage, merge->snapshot, 0, InvalidRowNumber);
	merge->settled = delete_map_load_settled(merge->storage, merge->snapshot, horizon, &newest,
											 CurrentMemoryContext);
	merge->folded = delete_map_create(CurrentMemoryContext);
	merge->nfree = free_extent_list(merge->storage, merge->snapshot, &merge->free);
	count_free_pages(merge, &settled, &unsettled);
	merge->fold_pages = fold_room(merge, unsettled);
	merge->fold_any = mode == COMPACT_STEP && unsettled == 0;
	merge_runs(merge, mode == COMPACT_FULL);
	if (TransactionIdIsValid(newest))
		tidy_deltas(merge, horizon);
	if (mode == COMPACT_STEP && merge->result->replaced == 0)
		merge->result->tail = tail_is_free(merge);
	if (merge->result->replaced == 0 &&
		(mode == COMPACT_VACUUM || (mode == COMPACT_STEP && !merge->result->tail)))
		move_packs_down(merge, settled);
	merge->result->changed = merge->result->replaced > 0 || merge->moved || merge->joined;
	if (mode == COMPACT_STEP)
		merge->result->unsettled |=
			merge->joined || worth_coming_again(merge, settled, unsettled + merge->freed);
	if (!merge->result->more)
		merge->result->more =
			merge_done(merge->storage, counted,
					   merge->remaining + merge->packs->n - (uint32) merge->result->replaced);
	UnregisterSnapshot(merge->snapshot);
	if (merge->result->replaced > 0 || merge->moved || merge->deltas_changed)
	{
		table_counters_add_merge(merge->storage, merge->result->written);
		writer_note_change(merge->rel);
		/* what became free here can be given back, or used, later */
		if (mode != COMPACT_STEP && merge->freed > 0)
			writer_note_due(merge->rel);
		CommandCounterIncrement();
	}
}

/*
 * Merges and folds in the current transaction, as much as the request says. The caller holds
 * RowExclusiveLock on the table and has an active snapshot.
 */
void
compact_table(Relation rel, const CompactRequest *request, CompactResult *result)
{
	Merge merge = {.rel = rel, .request = request, .result = result};
	MemoryContext cxt;
	MemoryContext old;

	memset(result, 0, sizeof(*result));
	if (IsolationIsSerializable())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("packs cannot be merged in a serializable transaction")));
	/* the rest of the transaction would see in the merged packs what its snapshot does not */
	if (IsolationUsesXactSnapshot() && request->mode == COMPACT_FULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("packs cannot be merged in a repeatable read transaction"),
						errhint("Use READ COMMITTED.")));
	writer_flush(rel);
	if (writer_pending(storage_id(rel)))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("rows of an enclosing subtransaction are pending in \"%s\"",
							   RelationGetRelationName(rel))));
	if (!compaction_lock(rel, request->mode == COMPACT_FULL || request->mode == COMPACT_VACUUM))
	{
		result->busy = true;
		return;
	}
	directory_lock_for_write();
	/* directory rows that the current command wrote cannot be deleted by it */
	CommandCounterIncrement();
	cxt = AllocSetContextCreate(CurrentMemoryContext, "magic compaction", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	run_merge(&merge);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

int64
engine_compact(Relation rel)
{
	CompactRequest request = {.mode = COMPACT_WRITER};
	CompactResult result;

	compact_table(rel, &request, &result);
	return result.replaced;
}

/* ---------------------------------------------------------------- for feeds and clusters */

bool
engine_lock_all_rows(Relation rel, bool wait)
{
	return row_lock_table(rel, wait);
}

uint64
engine_delete_all(Relation rel)
{
	BlockScan *scan;
	uint64 storage = storage_id(rel);
	Snapshot snapshot;
	DeleteMap *live;
	uint64 count = 0;
	uint64 block = PG_UINT64_MAX;
	CommandId cid = GetCurrentCommandId(true);
	MemoryContext cxt;
	MemoryContext old;

	writer_flush(rel);
	if (writer_pending(storage))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("rows of an enclosing subtransaction are pending in \"%s\"",
							   RelationGetRelationName(rel))));
	(void) row_lock_table(rel, true);
	directory_lock_for_write();
	cxt = AllocSetContextCreate(CurrentMemoryContext, "magic delete all", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	snapshot = latest_snapshot_register();
	live = delete_map_create(cxt);
	scan = block_scan_begin(rel, RelationGetDescr(rel), snapshot, false, 0, InvalidRowNumber, cxt);
	while (block_scan_next(scan, true))
	{
		for (int i = 0; i < scan->nrows; i++)
		{
			RowNumber row = scan->first + scan->positions[i];

			if (!(scan->live[i / 64] >> (i % 64) & 1))
				continue;
			if (row / DELETE_BLOCK_ROWS != block && block != PG_UINT64_MAX &&
				delete_map_block(live, block) != NULL)
			{
				/* each block is written once: rows come in order */
				delete_rows_of_block(storage, block, delete_map_block(live, block), cid, false);
			}
			block = row / DELETE_BLOCK_ROWS;
			delete_map_add(live, row);
			count++;
		}
	}
	if (block != PG_UINT64_MAX)
		delete_rows_of_block(storage, block, delete_map_block(live, block), cid, false);
	block_scan_end(scan);
	UnregisterSnapshot(snapshot);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	if (count > 0)
		writer_note_change(rel);
	return count;
}

int
engine_partitions(Relation rel, Snapshot snapshot, int n, uint64 *starts)
{
	PackList *list;
	uint64 total = 0;
	uint64 seen = 0;
	int found = 0;

	writer_flush(rel);
	storage_check_snapshot(rel, snapshot);
	list = directory_load(storage_id(rel), snapshot, 0, InvalidRowNumber);
	for (int i = 0; i < list->n; i++)
		total += list->packs[i].rows;
	starts[found++] = 0;
	for (int i = 0; i < list->n && found < n; i++)
	{
		if (i > 0 && seen >= total * found / n && list->packs[i].first > starts[found - 1])
			starts[found++] = list->packs[i].first;
		seen += list->packs[i].rows;
	}
	return found;
}
