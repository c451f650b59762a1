/*
 * shmem.c
 *		Shared memory of the engine: reserved row ranges and change counters.
 *
 * Each backend has a slot with the ranges of row numbers that it has reserved and not yet written to
 * the directory. Only the owner writes its slot; others read it under the slot's spinlock. A unique
 * check in another backend finds a row "in progress" here; VACUUM takes all reserved rows for live.
 * Ranges are published before any index entry of theirs exists (inside the metapage's lock) and removed
 * after the directory row is inserted, or at abort.
 *
 * The removal counters tell of directory rows that were deleted, see directory_cache.c.
 *
 * The change counters answer "can the metadata of this storage have changed since ...?". A counter moves
 * when a transaction that wrote packs or deltas has become visible and before its row locks are released,
 * so who reads an unchanged counter after getting a row's lock has seen every deletion of the row.
 */
#include "engine/engine_int.h"

#include "access/transam.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/snapmgr.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#define RANGES_PER_BACKEND 256
#define CHANGE_COUNTERS 4096
#define REMOVAL_COUNTERS 4096

#define SETTLED_SLOTS 64

/* Directory rows and deltas before a merge is tried. */
#define MERGE_MIN_WRITES 64

/* Writers merge for themselves when this many times the writes that make a merge due have piled up. */
#define MERGE_OVERDUE_FACTOR 8

typedef struct BackendSlot
{
	slock_t mutex;
	ReservedRange ranges[RANGES_PER_BACKEND];
} BackendSlot;

typedef struct EngineShared
{
	pg_atomic_uint64 change_counters[CHANGE_COUNTERS];
	pg_atomic_uint64 pack_removals[REMOVAL_COUNTERS];
	pg_atomic_uint32 writes[CHANGE_COUNTERS];	  /* since the last merge */
	pg_atomic_uint32 merge_due[CHANGE_COUNTERS];  /* at this many */
	pg_atomic_uint32 merge_told[CHANGE_COUNTERS]; /* the worker was told */
	uint32 page_secret;							  /* see page.c */
	pg_atomic_uint32 prepared;					  /* prepared_seen() */
	pg_atomic_uint64 settled[SETTLED_SLOTS];	  /* full xids by database; 0: none yet */
	int nslots;
	BackendSlot slots[FLEXIBLE_ARRAY_MEMBER];
} EngineShared;

static EngineShared *shared;

/*
 * How many ranges each slot has: written under the slot's mutex, read without it to skip idle slots. Close
 * together, because a unique check looks at all of them.
 */
static pg_atomic_uint32 *range_counts;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static int
slot_count(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS;
}

static Size
shared_size(void)
{
	return add_size(offsetof(EngineShared, slots), mul_size(sizeof(BackendSlot), slot_count()));
}

static Size
range_counts_size(void)
{
	return mul_size(sizeof(pg_atomic_uint32), slot_count());
}

static void
request_shmem(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(shared_size(), range_counts_size()));
	RequestAddinShmemSpace(key_share_shmem_size());
	RequestAddinShmemSpace(delta_log_shmem_size());
	RequestNamedLWLockTranche("magic key share", KEY_SHARE_PARTITIONS + 1);
}

static void
startup_shmem(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	range_counts = ShmemInitStruct("magic engine reserved ranges", range_counts_size(), &found);
	shared = ShmemInitStruct("magic engine", shared_size(), &found);
	if (!found)
	{
		for (int i = 0; i < CHANGE_COUNTERS; i++)
		{
			pg_atomic_init_u64(&shared->change_counters[i], 0);
			pg_atomic_init_u32(&shared->writes[i], 0);
			pg_atomic_init_u32(&shared->merge_due[i], MERGE_MIN_WRITES);
			pg_atomic_init_u32(&shared->merge_told[i], 0);
		}
		pg_atomic_init_u32(&shared->prepared, 0);
		for (int i = 0; i < REMOVAL_COUNTERS; i++)
			pg_atomic_init_u64(&shared->pack_removals[i], 0);
		for (int i = 0; i < SETTLED_SLOTS; i++)
			pg_atomic_init_u64(&shared->settled[i], 0);
		if (!pg_strong_random(&shared->page_secret, sizeof(shared->page_secret)))
			ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("could not generate a random number")));
		shared->nslots = slot_count();
		for (int i = 0; i < shared->nslots; i++)
		{
			SpinLockInit(&shared->slots[i].mutex);
			pg_atomic_init_u32(&range_counts[i], 0);
		}
	}
	key_share_shmem_startup();
	delta_log_shmem_startup();
	LWLockRelease(AddinShmemInitLock);
}

void
engine_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

uint32
page_secret(void)
{
	return shared->page_secret;
}

/* The transaction is about to be prepared, and nobody can commit it before this is seen by all. */
void
prepared_note(void)
{
	if (pg_atomic_read_u32(&shared->prepared) == 0)
		pg_atomic_exchange_u32(&shared->prepared, 1);
}

/* Has a transaction been prepared since the server's start? */
bool
prepared_seen(void)
{
	return pg_atomic_read_u32(&shared->prepared) != 0;
}

/* The xid with its epoch; it is at most 2^31 xids old. */
static uint64
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();

	return U64FromFullTransactionId(next) - (uint32) (XidFromFullTransactionId(next) - xid);
}

/*
 * Somebody takes deletions up to this xid for settled, so index entries may be marked dead for them, and
 * merges may take them away. What is settled may later not be, when a standby begins to tell of an older
 * snapshot or its feedback comes back: then the current horizon does not tell what was removed.
 */
void
settled_note(TransactionId xid)
{
	pg_atomic_uint64 *newest = &shared->settled[MyDatabaseId % SETTLED_SLOTS];
	uint64 old = pg_atomic_read_u64(newest);
	uint64 new;

	if (old != 0 && (TransactionId) old == xid)
		return;
	/* what was settled before the server started is not known */
	if (old == 0)
		new = U64FromFullTransactionId(ReadNextFullTransactionId()) - 1;
	else
		new = full_xid(xid);
	while (old < new && !pg_atomic_compare_exchange_u64(newest, &old, new))
		;
}

/* Is what the transaction did older than every snapshot, so that index entries may be marked dead for it? */
bool
settled_for_all(Relation rel, TransactionId xid)
{
	if (!GlobalVisCheckRemovableXid(rel, xid))
		return false;
	settled_note(xid);
	return true;
}

/*
 * The newest xid that this was said of, in this database at least: who removes index entries of rows that
 * are dead for everybody tells it to standbys.
 */
TransactionId
settled_newest(void)
{
	TransactionId xid =
		(TransactionId) pg_atomic_read_u64(&shared->settled[MyDatabaseId % SETTLED_SLOTS]);

	return TransactionIdIsNormal(xid) ? xid : FirstNormalTransactionId;
}

static BackendSlot *
my_slot(void)
{
	Assert(MyProc != NULL && compat_my_proc_index() < shared->nslots);
	return &shared->slots[compat_my_proc_index()];
}

static pg_atomic_uint32 *
count_of(const BackendSlot *slot)
{
	return &range_counts[slot - shared->slots];
}

/* Adds a range of this backend; false if there is no room. */
bool
reserved_publish(const ReservedRange *range)
{
	BackendSlot *slot = my_slot();
	uint32 n = pg_atomic_read_u32(count_of(slot));

	if (n >= RANGES_PER_BACKEND)
		return false;
	SpinLockAcquire(&slot->mutex);
	slot->ranges[n] = *range;
	slot->ranges[n].database = MyDatabaseId;
	pg_atomic_write_u32(count_of(slot), n + 1);
	SpinLockRelease(&slot->mutex);
	return true;
}

/* How many ranges this backend can still publish. */
int
reserved_room(void)
{
	return RANGES_PER_BACKEND - (int) pg_atomic_read_u32(count_of(my_slot()));
}

/* Can this backend publish few ranges only, which subtransactions to come may need? */
bool
reserved_crowded(void)
{
	return reserved_room() <= RANGES_PER_BACKEND / 4;
}

static int
find_own(BackendSlot *slot, uint64 storage, RowNumber first)
{
	int n = (int) pg_atomic_read_u32(count_of(slot));

	/* The newest range is the likeliest. */
	for (int i = n - 1; i >= 0; i--)
		if (slot->ranges[i].storage == storage && slot->ranges[i].first == first)
			return i;
	return -1;
}

/* Moves the borders of the range of this backend that begins at `first`, and sets its token. */
void
reserved_set_appended(uint64 storage, RowNumber first, RowNumber appended, RowNumber reserved,
					  uint32 token)
{
	BackendSlot *slot = my_slot();
	int i = find_own(slot, storage, first);

	if (i < 0)
		elog(ERROR, "reserved row range not found");
	SpinLockAcquire(&slot->mutex);
	slot->ranges[i].appended = appended;
	slot->ranges[i].reserved = reserved;
	slot->ranges[i].token = token;
	SpinLockRelease(&slot->mutex);
}

/* Removes the range of this backend that begins at `first`, if it is there. */
void
reserved_remove(uint64 storage, RowNumber first)
{
	BackendSlot *slot = my_slot();
	int i = find_own(slot, storage, first);
	uint32 n;

	if (i < 0)
		return;
	SpinLockAcquire(&slot->mutex);
	n = pg_atomic_read_u32(count_of(slot));
	slot->ranges[i] = slot->ranges[n - 1];
	pg_atomic_write_u32(count_of(slot), n - 1);
	SpinLockRelease(&slot->mutex);
}

/* At the end of a transaction, and when the process exits. */
void
reserved_remove_all(void)
{
	BackendSlot *slot;

	if (shared == NULL || MyProc == NULL)
		return;
	slot = my_slot();
	if (pg_atomic_read_u32(count_of(slot)) == 0)
		return;
	SpinLockAcquire(&slot->mutex);
	pg_atomic_write_u32(count_of(slot), 0);
	SpinLockRelease(&slot->mutex);
}

/* Is the row inserted by another backend that has not written it to the directory yet? */
bool
reserved_find(uint64 storage, RowNumber row, ReservedRange *out)
{
	for (int s = 0; s < shared->nslots; s++)
	{
		BackendSlot *slot = &shared->slots[s];
		bool found = false;

		if (pg_atomic_read_u32(&range_counts[s]) == 0 || s == compat_my_proc_index())
			continue;
		SpinLockAcquire(&slot->mutex);
		for (uint32 i = 0; i < pg_atomic_read_u32(count_of(slot)) && !found; i++)
		{
			ReservedRange *r = &slot->ranges[i];

			if (r->storage == storage && r->database == MyDatabaseId && row >= r->first &&
				row < r->appended)
			{
				*out = *r;
				found = true;
			}
		}
		SpinLockRelease(&slot->mutex);
		if (found)
			return true;
	}
	return false;
}

/* All ranges of a storage, of every backend; palloc'd. */
ReservedRange *
reserved_list(uint64 storage, int *count)
{
	int room = 64;
	ReservedRange *list = palloc(sizeof(ReservedRange) * room);
	ReservedRange *copy = palloc(sizeof(ReservedRange) * RANGES_PER_BACKEND);
	int n = 0;

	for (int s = 0; s < shared->nslots; s++)
	{
		BackendSlot *slot = &shared->slots[s];
		uint32 in_slot;

		if (pg_atomic_read_u32(count_of(slot)) == 0)
			continue;
		SpinLockAcquire(&slot->mutex);
		in_slot = pg_atomic_read_u32(count_of(slot));
		memcpy(copy, slot->ranges, sizeof(ReservedRange) * in_slot);
		SpinLockRelease(&slot->mutex);
		for (uint32 i = 0; i < in_slot; i++)
		{
			if (copy[i].storage != storage || copy[i].database != MyDatabaseId)
				continue;
			if (n == room)
				list = repalloc(list, sizeof(ReservedRange) * (room *= 2));
			list[n++] = copy[i];
		}
	}
	pfree(copy);
	*count = n;
	return list;
}

/* Storages may share a counter: then they are looked at a little too often. */
static int
counter_of(uint64 storage)
{
	return (int) ((storage ^ (storage >> 32)) % CHANGE_COUNTERS);
}

static pg_atomic_uint64 *
change_counter(uint64 storage)
{
	return &shared->change_counters[counter_of(storage)];
}

/* Counts writes to a storage's metadata and says who should merge; MERGE_DUE is said to one caller only. */
MergeDue
merge_note_writes(uint64 storage, uint32 writes)
{
	int i = counter_of(storage);
	uint32 total = pg_atomic_add_fetch_u32(&shared->writes[i], writes);
	uint32 due = pg_atomic_read_u32(&shared->merge_due[i]);

	if (total < due)
		return MERGE_NOT_DUE;
	if (pg_atomic_exchange_u32(&shared->merge_told[i], 1) == 0)
		return MERGE_DUE;
	return total >= due * MERGE_OVERDUE_FACTOR ? MERGE_OVERDUE : MERGE_WAITED;
}

/* What has been counted since the last merge; asked before a merge takes its snapshot. */
uint32
merge_counted_writes(uint64 storage)
{
	return pg_atomic_read_u32(&shared->writes[counter_of(storage)]);
}

/*
 * A merge was done that saw `counted` writes and left `remaining` directory rows and deltas. The next one
 * is due when half as many have been added, so the work of merges stays proportional to that of writes.
 * True if it is due already.
 */
bool
merge_done(uint64 storage, uint32 counted, uint32 remaining)
{
	int i = counter_of(storage);
	uint32 due = Max(MERGE_MIN_WRITES, Min(remaining, 1000000) / 2);
	uint32 writes = pg_atomic_read_u32(&shared->writes[i]);
	uint32 left;

	do
		left = writes > counted ? writes - counted : 0;
	while (!pg_atomic_compare_exchange_u32(&shared->writes[i], &writes, left));
	pg_atomic_write_u32(&shared->merge_due[i], due);
	pg_atomic_write_u32(&shared->merge_told[i], 0);
	return left >= due;
}

uint64
change_counter_read(uint64 storage)
{
	uint64 value = pg_atomic_read_u64(change_counter(storage));

	pg_read_barrier();
	return value;
}

void
change_counter_bump(uint64 storage)
{
	/* a full barrier */
	pg_atomic_fetch_add_u64(change_counter(storage), 1);
}

static pg_atomic_uint64 *
removal_counter(uint64 storage, RowNumber first)
{
	return &shared->pack_removals[hash_combine64(storage, murmurhash32((uint32) first ^
																	   (uint32) (first >> 32))) %
								  REMOVAL_COUNTERS];
}

/* How often directory rows that begin at the row number have been marked deleted. */
uint64
pack_removals_read(uint64 storage, RowNumber first)
{
	uint64 value = pg_atomic_read_u64(removal_counter(storage, first));

	pg_read_barrier();
	return value;
}

/* The caller has marked one deleted, and its transaction is still running. */
void
pack_removals_bump(uint64 storage, RowNumber first)
{
	/* a full barrier */
	pg_atomic_fetch_add_u64(removal_counter(storage, first), 1);
}
