/*
 * vacuum.c
 *		VACUUM: index entries of dead rows, dead packs and deltas, leaked pages, the file's tail.
 *
 * First of all the process leaves the vacuum state (leave_vacuum_state): other backends ignore the xid of
 * a process marked PROC_IN_VACUUM, and a heap row that such an xid writes would be taken for aborted.
 *
 * A row number is dead for the indexes if it is below next_row as read first, no backend has it reserved,
 * no running transaction has written a pack over it, and the packs of the newest snapshot do not hold it,
 * or its deletion is settled. What an older pack version holds beyond them was settled when a merge left it
 * out. next_row and the reserved ranges are read together under the metapage's lock, before the directory.
 * Only packs that our snapshot sees are opened: the pages of others may be used again at any moment.
 *
 * Standbys: their queries find rows through indexes that we are about to clean, and deletions here are
 * inserted rows that prune nothing. So a conflict record precedes ambulkdelete, with the newest of the
 * settled deletions. Merges have taken the deletions of other rows away: for the first of those that an index
 * still names, another record follows, with the newest xid that it can be.
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "access/multixact.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/storage.h"
#include "commands/progress.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Free pages at the end of the file that are worth an exclusive lock. */
#define TRUNCATE_PAGES 4

/* VACUUM warns when so many tenths of a table's row numbers have been given out. */
#define ROW_NUMBERS_WARN_TENTHS 8

/* Makes this process's xids count again for other backends; see the file's head. */
void
leave_vacuum_state(void)
{
	if ((MyProc->statusFlags & PROC_IN_VACUUM) == 0)
		return;
	PopActiveSnapshot();
	LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
	MyProc->statusFlags &= ~PROC_IN_VACUUM;
	ProcGlobal->statusFlags[MyProc->pgxactoff] = MyProc->statusFlags;
	LWLockRelease(ProcArrayLock);
	PushActiveSnapshot(GetLatestSnapshot());
}

/* ---------------------------------------------------------------- indexes */

typedef struct DeadRows
{
	RowNumber next_row; /* rows at or above are live */
	ReservedRange *reserved;
	int nreserved;
	DeleteMap *present; /* rows that packs hold and that are not settled dead */
	DeleteMap *settled;
	Relation rel;
	bool conflict_logged; /* for rows whose deletion is not known any more */
	uint64 removed;
} DeadRows;

/* Called under locks of index pages; WAL may be written there. */
static bool
row_is_dead(ItemPointer tid, void *arg)
{
	DeadRows *dead = arg;
	RowNumber row = tid_to_row(tid);

	if (row >= dead->next_row || delete_map_contains(dead->present, row))
		return false;
	for (int i = 0; i < dead->nreserved; i++)
		if (row >= dead->reserved[i].first && row < dead->reserved[i].reserved)
			return false;
	if (!dead->conflict_logged && !delete_map_contains(dead->settled, row))
	{
		storage_conflict_record(dead->rel, settled_newest());
		dead->conflict_logged = true;
	}
	dead->removed++;
	return true;
}

/*
 * Rows of packs that transactions write which the snapshot takes for running are live, as reserved ones
 * are: if those abort, their pages may be used again while we read.
 */
static void
add_unfinished(DeadRows *dead, const PackList *versions, Snapshot snapshot)
{
	ReservedRange *ranges = palloc0(sizeof(ReservedRange) * (dead->nreserved + versions->n + 1));
	int n = dead->nreserved;

	if (n > 0)
		memcpy(ranges, dead->reserved, sizeof(ReservedRange) * n);
	for (int i = 0; i < versions->n; i++)
	{
		const PackEntry *pack = &versions->packs[i];

		if (!TransactionIdIsNormal(pack->xmin) || !XidInMVCCSnapshot(pack->xmin, snapshot))
			continue;
		if (n > dead->nreserved && ranges[n - 1].reserved == pack->first)
			ranges[n - 1].reserved = pack->first + pack->span;
		else
		{
			ranges[n].first = pack->first;
			ranges[n++].reserved = pack->first + pack->span;
		}
	}
	dead->reserved = ranges;
	dead->nreserved = n;
}

static void
add_present(const PackEntry *pack, Relation rel, DeleteMap *settled, DeleteMap *present)
{
	TupleDesc desc = RelationGetDescr(rel);
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic vacuum", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	StoredPack stored;
	PackReader *reader;
	uint32 positions[PACK_VECTOR];

	reader = stored_pack_open(&stored, rel, pack, desc, NULL, false, cxt);
	for (uint32 block = 0; block < pack_nblocks(reader); block++)
	{
		int n = pack_block_rows(reader, block);

		CHECK_FOR_INTERRUPTS();
		pack_block_positions(reader, block, positions);
		for (int i = 0; i < n; i++)
			if (!delete_map_contains(settled, pack->first + positions[i]))
				delete_map_add(present, pack->first + positions[i]);
	}
	stored_pack_close(&stored);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/* Removes index entries of dead rows. Returns whether the indexes were scanned. */
static bool
vacuum_indexes(Relation rel, VacuumParams *params, BufferAccessStrategy strategy, double live)
{
	uint64 storage = storage_id(rel);
	int nindexes;
	Relation *indexes;
	DeadRows dead = {0};
	TransactionId horizon = directory_horizon();
	TransactionId newest;
	MetaInfo info;
	Snapshot snapshot;
	PackList *packs;
	uint64 covered = 0;
	bool scan_needed;
	IndexBulkDeleteResult **results;

	vac_open_indexes(rel, RowExclusiveLock, &nindexes, &indexes);
	if (nindexes == 0)
		return false;

	storage_read_meta_and_ranges(rel, &info, &dead.reserved, &dead.nreserved);
	dead.next_row = info.next_row;
	/* whatever is not reserved any more is in the directory by now, if only uncommitted */
	snapshot = latest_snapshot_register();
	add_unfinished(&dead, directory_load_any(storage, horizon), snapshot);
	packs = directory_load(storage, snapshot, 0, InvalidRowNumber);
	dead.rel = rel;
	dead.settled =
		delete_map_load_settled(storage, snapshot, horizon, &newest, CurrentMemoryContext);
	dead.present = delete_map_create(CurrentMemoryContext);
	for (int i = 0; i < packs->n; i++)
	{
		add_present(&packs->packs[i], rel, dead.settled, dead.present);
		covered += packs->packs[i].rows;
	}
	UnregisterSnapshot(snapshot);

	scan_needed = params->index_cleanup != VACOPTVALUE_DISABLED &&
				  (TransactionIdIsValid(newest) || covered < info.next_row);
	if (scan_needed && TransactionIdIsValid(newest))
		storage_conflict_record(rel, newest);
	results = palloc0(sizeof(IndexBulkDeleteResult *) * nindexes);
	for (int i = 0; i < nindexes; i++)
	{
		IndexVacuumInfo ivinfo = {.index = indexes[i],
								  .estimated_count = true,
								  .message_level = DEBUG2,
								  .num_heap_tuples = live,
								  .strategy = strategy};

		if (scan_needed)
			results[i] = index_bulk_delete(&ivinfo, NULL, row_is_dead, &dead);
		if (params->index_cleanup != VACOPTVALUE_DISABLED)
			results[i] = index_vacuum_cleanup(&ivinfo, results[i]);
		if (results[i] != NULL && !results[i]->estimated_count)
			vac_update_relstats(indexes[i], results[i]->num_pages, results[i]->num_index_tuples, 0,
								false, InvalidTransactionId, InvalidMultiXactId, NULL, NULL, false);
	}
	vac_close_indexes(nindexes, indexes, NoLock);
	return scan_needed;
}

/* ---------------------------------------------------------------- pages */

static int
compare_extents(const void *a, const void *b)
{
	BlockNumber x = ((const Extent *) a)->first;
	BlockNumber y = ((const Extent *) b)->first;

	return x < y ? -1 : x > y;
}

/* Every extent that is referenced or known as free, ascending. */
static Extent *
known_extents(Relation rel, TransactionId horizon, bool with_free, int *count)
{
	uint64 storage = storage_id(rel);
	Extent *list = directory_references(storage, horizon, count);

	if (with_free)
	{
		Snapshot snapshot = latest_snapshot_register();
		FreeExtent *free_list;
		int n = free_extent_list(storage, snapshot, &free_list);

		list = repalloc_huge(list, sizeof(Extent) * (*count + n + 1));
		for (int i = 0; i < n; i++)
			list[(*count)++] = free_list[i].extent;
		UnregisterSnapshot(snapshot);
	}
	qsort(list, *count, sizeof(Extent), compare_extents);
	return list;
}

static void
record_leak(Relation rel, BlockNumber from, BlockNumber to)
{
	Extent extent = {.first = from, .pages = to - from};

	if (to > from)
		free_extent_insert(storage_id(rel), &extent);
}

/*
 * Finds pages that nobody names: aborted loads, crashes. The horizon is older than the reading of the
 * directory, so the pages of a load that commits meanwhile are not taken for leaked.
 */
static void
sweep_leaked_pages(Relation rel)
{
	TransactionId horizon = directory_horizon();
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	int n;
	Extent *known = known_extents(rel, horizon, true, &n);
	BlockNumber block = 1;

	for (int i = 0; i <= n; i++)
	{
		BlockNumber end = i < n ? Min(known[i].first, nblocks) : nblocks;
		BlockNumber start = block;

		for (; block < end; block++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!storage_page_leaked(rel, block, horizon))
			{
				record_leak(rel, start, block);
				start = block + 1;
			}
		}
		record_leak(rel, start, end);
		if (i < n)
			block = Max(block, known[i].first + known[i].pages);
	}
	pfree(known);
}

/* What may be cut off the end of a file. */
typedef struct Tail
{
	BlockNumber start; /* of the first page that may go */
	FreeExtent *free_list;
	int nfree;
	TransactionId newest; /* of those that freed its extents */
} Tail;

/* Finds the tail in which only settled free extents lie. `snapshot` is newer than `horizon`. */
static void
find_tail(Relation rel, TransactionId horizon, Snapshot snapshot, Tail *tail)
{
	Extent *known;
	int n;

	tail->start = 1;
	tail->newest = InvalidTransactionId;
	known = known_extents(rel, horizon, false, &n);
	for (int i = 0; i < n; i++)
		tail->start = Max(tail->start, known[i].first + known[i].pages);
	tail->nfree = free_extent_list(storage_id(rel), snapshot, &tail->free_list);
	for (int i = 0; i < tail->nfree; i++)
	{
		const FreeExtent *free = &tail->free_list[i];

		if (free->extent.first + free->extent.pages <= tail->start)
			continue;
		/* Freed too recently: an older snapshot may come back to it. */
		if (!TransactionIdPrecedes(free->xmin, horizon))
			tail->start = Max(tail->start, free->extent.first + free->extent.pages);
		else if (!TransactionIdIsValid(tail->newest) ||
				 TransactionIdFollows(free->xmin, tail->newest))
			tail->newest = free->xmin;
	}
}

/* The extents of the tail are free no longer; one that begins before it is shortened. */
static void
forget_tail(uint64 storage, const Tail *tail)
{
	for (int i = 0; i < tail->nfree; i++)
	{
		const Extent *extent = &tail->free_list[i].extent;

		if (extent->first + extent->pages <= tail->start)
			continue;
		if (!free_extent_delete(&tail->free_list[i].tid))
			continue;
		if (extent->first < tail->start)
		{
			Extent rest = {.first = extent->first, .pages = tail->start - extent->first};

			free_extent_insert(storage, &rest);
		}
	}
}

/* Has somebody else a lock on the table, so that nothing can be cut? A guess, it may change at once. */
static bool
table_is_in_use(Relation rel)
{
	LOCKTAG tag;
	VirtualTransactionId *holders;
	int n;

	SET_LOCKTAG_RELATION(tag, rel->rd_lockInfo.lockRelId.dbId, rel->rd_lockInfo.lockRelId.relId);
	holders = GetLockConflicts(&tag, AccessExclusiveLock, &n);
	pfree(holders);
	return n > 0;
}

/*
 * Cuts the file, if the table can be locked. newest: of the xids that freed what was found to be the tail.
 *
 * The record that cancels older snapshots on standbys comes before the lock's: replay would wait for such
 * a snapshot while it holds the lock on the standby, and whoever has the snapshot might wait for the lock.
 */
static bool
cut_tail(Relation rel, TransactionId horizon, TransactionId newest)
{
	Snapshot snapshot;
	Tail tail;

	(void) GetCurrentTransactionId();
	if (TransactionIdIsValid(newest))
		storage_conflict_record(rel, newest);
	if (!ConditionalLockRelation(rel, AccessExclusiveLock))
		return false;
	/* Look again: nobody writes now. What is settled was so before. */
	snapshot = latest_snapshot_register();
	find_tail(rel, horizon, snapshot, &tail);
	if (tail.start < RelationGetNumberOfBlocks(rel))
	{
		/* longer than it was: a writer behind it has aborted */
		if (TransactionIdIsValid(tail.newest) &&
			(!TransactionIdIsValid(newest) || TransactionIdFollows(tail.newest, newest)))
			storage_conflict_record(rel, tail.newest);
		forget_tail(storage_id(rel), &tail);
		RelationTruncate(rel, tail.start);
	}
	UnlockRelation(rel, AccessExclusiveLock);
	UnregisterSnapshot(snapshot);
	return true;
}

/*
 * Cuts free pages off the end of the file. False if somebody uses the table just now; unless that began only
 * while we looked, it has cost neither a transaction id nor WAL then.
 */
bool
truncate_tail(Relation rel)
{
	TransactionId horizon = directory_horizon();
	Snapshot snapshot = latest_snapshot_register();
	Tail tail;

	find_tail(rel, horizon, snapshot, &tail);
	UnregisterSnapshot(snapshot);
	if (RelationGetNumberOfBlocks(rel) < tail.start + TRUNCATE_PAGES)
		return true;
	return !table_is_in_use(rel) && cut_tail(rel, horizon, tail.newest);
}

/* ---------------------------------------------------------------- VACUUM */

static void
count_rows(Relation rel, double *live, double *dead)
{
	Snapshot snapshot = latest_snapshot_register();
	PackList *packs = directory_load(storage_id(rel), snapshot, 0, InvalidRowNumber);
	DeleteMap *deletes = delete_map_load(storage_id(rel), snapshot, CurrentMemoryContext);
	double stored = 0;

	for (int i = 0; i < packs->n; i++)
		stored += packs->packs[i].rows;
	*dead = Min(stored, (double) delete_map_count(deletes));
	*live = stored - *dead;
	UnregisterSnapshot(snapshot);
}

/* Row numbers are never given out twice. */
static void
warn_of_row_numbers(Relation rel)
{
	MetaInfo info;

	storage_read_meta(rel, &info);
	if (info.next_row > ROW_NUMBER_LIMIT / 10 * ROW_NUMBERS_WARN_TENTHS)
		ereport(WARNING, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						  errmsg("relation \"%s\" has used up more than %d %% of its row numbers",
								 RelationGetRelationName(rel), ROW_NUMBERS_WARN_TENTHS * 10),
						  errhint("VACUUM FULL numbers the rows anew.")));
}

void
vacuum_table(Relation rel, VacuumParams *params, BufferAccessStrategy strategy)
{
	MemoryContext cxt;
	MemoryContext old;
	double live;
	double dead;
	CompactRequest request = {.mode = COMPACT_VACUUM};
	CompactResult compacted = {0};
	bool has_indexes;
	TransactionId frozen_xid;

	leave_vacuum_state();
	(void) GetCurrentTransactionId();
	directory_lock_for_write();
	warn_of_row_numbers(rel);
	cxt = AllocSetContextCreate(CurrentMemoryContext, "magic vacuum", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);

	frozen_xid = directory_horizon();
	pgstat_progress_start_command(PROGRESS_COMMAND_VACUUM, RelationGetRelid(rel));
	count_rows(rel, &live, &dead);
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_VACUUM_INDEX);
	(void) vacuum_indexes(rel, params, strategy, live);
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_VACUUM_HEAP);
	/* a merge under SERIALIZABLE would conflict with every writer */
	if (!IsolationIsSerializable())
		compact_table(rel, &request, &compacted);
	sweep_leaked_pages(rel);
	pgstat_progress_update_param(PROGRESS_VACUUM_PHASE, PROGRESS_VACUUM_PHASE_TRUNCATE);
	count_rows(rel, &live, &dead);
	scan_forget_counted(rel);
	/* last, because standbys hold the lock on the table up to the commit */
	if (params->truncate != VACOPTVALUE_DISABLED)
		(void) truncate_tail(rel);

	has_indexes = rel->rd_rel->relhasindex;
	vac_update_relstats(rel, RelationGetNumberOfBlocks(rel), live, 0, has_indexes, frozen_xid,
						GetOldestMultiXactId(), NULL, NULL, false);
	pgstat_report_vacuum(RelationGetRelid(rel), rel->rd_rel->relisshared, (PgStat_Counter) live,
						 (PgStat_Counter) dead);
	pgstat_progress_end_command();
	if (params->options & VACOPT_VERBOSE)
		ereport(INFO, (errmsg("\"%s\": %.0f rows, %.0f dead rows, " INT64_FORMAT
							  " packs replaced, %u pages",
							  RelationGetRelationName(rel), live, dead, compacted.replaced,
							  RelationGetNumberOfBlocks(rel))));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}
