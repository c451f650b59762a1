/*
 * keyshare.c
 *		KEY SHARE locks across the versions of a row.
 *
 * A foreign key's check locks the parent FOR KEY SHARE: the parent may be updated meanwhile, but its key
 * must stay. Row locks are locks on a TID, and an update moves the row to another; so who changes the key
 * of the new version, or deletes it, must also ask for the locks on the older versions. This file
 * remembers which these are, for as long as somebody may hold such a lock:
 *
 *	1. Who locks FOR KEY SHARE first takes the table's marker lock and counts up `arrivals`, then locks
 *	   the row, then looks for who is updating it without changing its key, and waits for him
 *	   (rowlock.c). So nobody gets a KEY SHARE lock on a version that is being replaced.
 *	2. Who updates a row and leaves its key as it is waits for no KEY SHARE lock. When it holds the row it
 *	   looks for those, and remembers (new version, old version) if there are any: no more can come.
 *	   What was remembered for the old version is remembered for the new one too.
 *	3. Who changes the key, deletes the row or locks it FOR UPDATE locks, after the row, every older
 *	   version that is remembered for it, in the same mode: it waits for their KEY SHARE locks.
 *
 * Where nobody uses KEY SHARE locks on the table, that is seen from the marker and its counter, and none
 * of this costs anything. If there is no more room the table is remembered as a whole (`crowded`): then who
 * comes by 3. waits for all transactions that hold KEY SHARE locks on any of its rows.
 *
 * An update waits for the KEY SHARE locks of prepared transactions: locks come back after a restart and this
 * memory does not. For the same reason a transaction that is being prepared locks the newer versions as
 * well, of a crowded table all rows, and until it is prepared nothing is remembered.
 *
 * What is remembered for nothing (an update that was rolled back, a lock that is gone, a version that has
 * been replaced in turn) makes others look, not wait. Each time something is added, something else is
 * looked at and dropped if it is no use any more; more of it where room is needed.
 *
 * Memory: partitions by hash of the row, each a hash table of fixed size under its own LWLock. The lock
 * manager is asked under these; nobody takes them under the lock manager's.
 */
#include "engine/engine_int.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#define ARRIVAL_COUNTERS 1024
#define PARTITIONS KEY_SHARE_PARTITIONS
#define PARTITION_BUCKETS 512
#define PARTITION_ROOM 1024
#define MAX_CROWDED 64

/* What is looked at when something is added, and when there is no room for it. */
#define SWEEP_STEP 1
#define SWEEP_FULL 32

typedef struct Carried
{
	Oid database;
	Oid relid; /* InvalidOid: free */
	RowNumber row;
	RowNumber older; /* a version before `row` that had a KEY SHARE lock when it was replaced */
	TransactionId
		replaced; /* who has replaced `row` in turn, and remembered `older` for the new one */
	int next;	  /* in the bucket, or of the free ones; -1 at the end */
} Carried;

typedef struct Partition
{
	int free; /* first free place or -1 */
	int hand; /* next place to look at */
	int buckets[PARTITION_BUCKETS];
	Carried carried[PARTITION_ROOM];
} Partition;

/* A table with more replaced versions than there is room for. */
typedef struct Crowded
{
	Oid database;
	Oid relid;
} Crowded;

typedef struct KeyShareShared
{
	LWLockPadded *locks;						 /* of the partitions, and of `crowded` */
	pg_atomic_uint64 arrivals[ARRIVAL_COUNTERS]; /* by table; read and counted without a lock */
	pg_atomic_uint32 n;							 /* remembered; read without a lock */
	pg_atomic_uint32 ncrowded;					 /* the same */
	pg_atomic_uint32 preparing; /* transactions between key_share_prepare() and their end */
	Crowded crowded[MAX_CROWDED];
	Partition partitions[PARTITIONS];
} KeyShareShared;

static KeyShareShared *shared;

/* Is this backend counted in `preparing`? */
static bool preparing;

/* The transaction that has last locked a row FOR KEY SHARE. */
static LocalTransactionId arrived_lxid;

Size
key_share_shmem_size(void)
{
	return sizeof(KeyShareShared);
}

/* Called with AddinShmemInitLock held. */
void
key_share_shmem_startup(void)
{
	bool found;

	shared = ShmemInitStruct("magic key share", sizeof(KeyShareShared), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(KeyShareShared));
	shared->locks = GetNamedLWLockTranche("magic key share");
	pg_atomic_init_u32(&shared->n, 0);
	pg_atomic_init_u32(&shared->ncrowded, 0);
	pg_atomic_init_u32(&shared->preparing, 0);
	for (int i = 0; i < ARRIVAL_COUNTERS; i++)
		pg_atomic_init_u64(&shared->arrivals[i], 0);
	for (int p = 0; p < PARTITIONS; p++)
	{
		Partition *partition = &shared->partitions[p];

		for (int i = 0; i < PARTITION_BUCKETS; i++)
			partition->buckets[i] = -1;
		for (int i = 0; i < PARTITION_ROOM; i++)
			partition->carried[i].next = i + 1 < PARTITION_ROOM ? i + 1 : -1;
	}
}

static pg_atomic_uint64 *
arrivals(Oid relid)
{
	return &shared->arrivals[hash_combine(murmurhash32(MyDatabaseId), murmurhash32(relid)) %
							 ARRIVAL_COUNTERS];
}

/* This transaction is going to lock rows of the table FOR KEY SHARE; it holds the table's marker. */
void
key_share_arrive(Oid relid)
{
	arrived_lxid = compat_proc_lxid(MyProc);
	pg_atomic_fetch_add_u64(arrivals(relid), 1);
}

/* May other transactions hold KEY SHARE locks on rows of the table, or get them? */
bool
key_share_in_use(Relation rel)
{
	static struct
	{
		Oid relid;
		LocalTransactionId lxid;
		uint64 arrivals;
	} unused;
	Oid relid = RelationGetRelid(rel);
	uint64 now = pg_atomic_read_u64(arrivals(relid));

	if (unused.relid == relid && unused.lxid == compat_proc_lxid(MyProc) && unused.arrivals == now)
		return false;
	if (row_lock_marker_held(rel))
		return true;
	unused.relid = relid;
	unused.lxid = compat_proc_lxid(MyProc);
	unused.arrivals = now;
	return false;
}

/* ---------------------------------------------------------------- rows */

static uint32
row_hash(Oid database, Oid relid, RowNumber row)
{
	return hash_combine(hash_combine(murmurhash32(database), murmurhash32(relid)),
						hash_combine(murmurhash32((uint32) row), (uint32) (row >> 32)));
}

static LWLock *
partition_lock(const Partition *partition)
{
	return &shared->locks[partition - shared->partitions].lock;
}

static LWLock *
crowded_lock(void)
{
	return &shared->locks[PARTITIONS].lock;
}

static Partition *
partition_of(uint32 hash)
{
	return &shared->partitions[hash % PARTITIONS];
}

static int *
bucket_of(Partition *partition, uint32 hash)
{
	return &partition->buckets[hash / PARTITIONS % PARTITION_BUCKETS];
}

/*
 * The versions remembered for a row; palloc'd, *n is their number. `replacer`, if valid, has replaced the
 * row and will remember them for the new version.
 */
static RowNumber *
list_older(Oid relid, RowNumber row, TransactionId replacer, int *n)
{
	uint32 hash = row_hash(MyDatabaseId, relid, row);
	Partition *partition = partition_of(hash);
	RowNumber *list = NULL;
	int room = 0;

	*n = 0;
	if (pg_atomic_read_u32(&shared->n) == 0)
		return NULL;
	LWLockAcquire(partition_lock(partition),
				  TransactionIdIsValid(replacer) ? LW_EXCLUSIVE : LW_SHARED);
	for (int i = *bucket_of(partition, hash); i >= 0; i = partition->carried[i].next)
	{
		Carried *entry = &partition->carried[i];

		if (entry->row != row || entry->relid != relid || entry->database != MyDatabaseId)
			continue;
		if (TransactionIdIsValid(replacer))
			entry->replaced = replacer;
		if (*n == room)
		{
			room = Max(8, room * 2);
			list =
				list ? repalloc(list, sizeof(RowNumber) * room) : palloc(sizeof(RowNumber) * room);
		}
		list[(*n)++] = entry->older;
	}
	LWLockRelease(partition_lock(partition));
	return list;
}

RowNumber *
key_share_older(Oid relid, RowNumber row, int *n)
{
	return list_older(relid, row, InvalidTransactionId, n);
}

/* Has the transaction committed? False if that is so long ago that it cannot be told. */
static bool
known_committed(TransactionId xid)
{
	bool result;

	LWLockAcquire(XactTruncationLock, LW_SHARED);
	result = TransactionIdFollowsOrEquals(xid, TransamVariables->oldestClogXid) &&
			 TransactionIdDidCommit(xid);
	LWLockRelease(XactTruncationLock);
	return result;
}

/*
 * Is the entry of no use? A version that has been replaced for good is not locked any more, and of one
 * whose KEY SHARE locks are gone there will be no others.
 */
static bool
is_stale(const Carried *entry)
{
	if (TransactionIdIsValid(entry->replaced) && known_committed(entry->replaced))
		return true;
	return !row_key_share_held(entry->database, entry->relid, entry->older);
}

/* Frees a place. The partition's lock is held exclusively. */
static void
drop(Partition *partition, int place)
{
	Carried *entry = &partition->carried[place];
	int *link = bucket_of(partition, row_hash(entry->database, entry->relid, entry->row));

	while (*link != place)
		link = &partition->carried[*link].next;
	*link = entry->next;
	entry->relid = InvalidOid;
	entry->next = partition->free;
	partition->free = place;
	pg_atomic_fetch_sub_u32(&shared->n, 1);
}

/* Looks at some places of the partition, whose lock is held exclusively. */
static void
sweep(Partition *partition, int places)
{
	for (int i = 0; i < places; i++)
	{
		int place = partition->hand;

		partition->hand = (place + 1) % PARTITION_ROOM;
		if (OidIsValid(partition->carried[place].relid) && is_stale(&partition->carried[place]))
			drop(partition, place);
	}
}

/* ---------------------------------------------------------------- crowded tables */

/* The table's place among the crowded ones, or -1. Their lock is held. */
static int
find_crowded(Oid relid)
{
	for (int i = 0; i < (int) pg_atomic_read_u32(&shared->ncrowded); i++)
		if (shared->crowded[i].relid == relid && shared->crowded[i].database == MyDatabaseId)
			return i;
	return -1;
}

static bool
is_crowded(Oid relid)
{
	bool result;

	if (pg_atomic_read_u32(&shared->ncrowded) == 0)
		return false;
	LWLockAcquire(crowded_lock(), LW_SHARED);
	result = find_crowded(relid) >= 0;
	LWLockRelease(crowded_lock());
	return result;
}

/* Nobody locks rows of the table FOR KEY SHARE any more? Then it is not crowded. The lock is held exclusively. */
static void
drop_crowded(int place)
{
	const Crowded *table = &shared->crowded[place];
	uint32 n = pg_atomic_read_u32(&shared->ncrowded);

	if (row_lock_marker_used(table->database, table->relid))
		return;
	shared->crowded[place] = shared->crowded[n - 1];
	pg_atomic_write_u32(&shared->ncrowded, n - 1);
}

/* False if there is no room, or a lock may be about to become a prepared transaction's. */
static bool
remember_table(Oid relid)
{
	bool done;
	uint32 n;

	LWLockAcquire(crowded_lock(), LW_EXCLUSIVE);
	done = find_crowded(relid) >= 0;
	if (!done && pg_atomic_read_u32(&shared->ncrowded) == MAX_CROWDED)
		for (int i = MAX_CROWDED - 1; i >= 0; i--)
			drop_crowded(i);
	n = pg_atomic_read_u32(&shared->ncrowded);
	if (!done && n < MAX_CROWDED && pg_atomic_read_u32(&shared->preparing) == 0)
	{
		shared->crowded[n] = (Crowded){.database = MyDatabaseId, .relid = relid};
		pg_atomic_write_u32(&shared->ncrowded, n + 1);
		done = true;
	}
	LWLockRelease(crowded_lock());
	return done;
}

/*
 * Waits until other transactions hold no KEY SHARE locks on older versions of the table's rows, if the
 * table is crowded. False if some do and we shall not wait.
 */
bool
key_share_wait_for_table(Relation rel, bool wait)
{
	Oid relid = RelationGetRelid(rel);
	int place;

	if (!is_crowded(relid))
		return true;
	if (!row_lock_marker_wait(rel, wait))
		return false;
	LWLockAcquire(crowded_lock(), LW_EXCLUSIVE);
	place = find_crowded(relid);
	if (place >= 0)
		drop_crowded(place);
	LWLockRelease(crowded_lock());
	return true;
}

/* ---------------------------------------------------------------- updates */

/* False if there is no room, or the lock may be about to become a prepared transaction's. */
static bool
remember(Oid relid, RowNumber row, RowNumber older)
{
	uint32 hash = row_hash(MyDatabaseId, relid, row);
	Partition *partition = partition_of(hash);
	bool may;
	int place = -1;

	if (is_crowded(relid))
		return remember_table(relid);
	LWLockAcquire(partition_lock(partition), LW_EXCLUSIVE);
	may = pg_atomic_read_u32(&shared->preparing) == 0;
	if (may)
	{
		sweep(partition, partition->free >= 0 ? SWEEP_STEP : SWEEP_FULL);
		place = partition->free;
	}
	if (place >= 0)
	{
		int *bucket = bucket_of(partition, hash);
		Carried *entry = &partition->carried[place];

		partition->free = entry->next;
		*entry = (Carried){.database = MyDatabaseId,
						   .relid = relid,
						   .row = row,
						   .older = older,
						   .replaced = InvalidTransactionId,
						   .next = *bucket};
		*bucket = place;
		pg_atomic_fetch_add_u32(&shared->n, 1);
	}
	LWLockRelease(partition_lock(partition));
	return place >= 0 || (may && remember_table(relid));
}

static void
carry_one(Relation rel, RowNumber row, RowNumber older)
{
	bool prepared;

	if (!row_key_share_others(rel, older, &prepared))
		return;
	if (prepared || !remember(RelationGetRelid(rel), row, older))
		(void) row_lock_version(rel, older, ROW_LOCK_CHANGE, LockWaitBlock);
}

/*
 * The row, locked by this transaction as ROW_LOCK_NO_KEY_CHANGE, is replaced by `successor`: the KEY SHARE
 * locks of others are remembered for that one. May wait for them.
 */
void
key_share_carry(Relation rel, RowNumber row, RowNumber successor)
{
	RowNumber *older;
	int n;

	if (!key_share_in_use(rel))
		return;
	carry_one(rel, successor, row);
	older = list_older(RelationGetRelid(rel), row, GetCurrentTransactionId(), &n);
	for (int i = 0; i < n; i++)
		carry_one(rel, successor, older[i]);
	if (older)
		pfree(older);
}

/* ---------------------------------------------------------------- PREPARE TRANSACTION */

/* The remembered versions of rows that this transaction has locked FOR KEY SHARE; palloc'd. */
static Carried *
list_mine(int *n)
{
	Carried *mine = palloc(sizeof(Carried) * PARTITIONS * PARTITION_ROOM);

	*n = 0;
	for (int p = 0; p < PARTITIONS; p++)
	{
		Partition *partition = &shared->partitions[p];

		LWLockAcquire(partition_lock(partition), LW_SHARED);
		for (int i = 0; i < PARTITION_ROOM; i++)
		{
			const Carried *entry = &partition->carried[i];

			if (OidIsValid(entry->relid) && entry->database == MyDatabaseId &&
				row_key_share_mine(MyDatabaseId, entry->relid, entry->older))
				mine[(*n)++] = *entry;
		}
		LWLockRelease(partition_lock(partition));
	}
	return mine;
}

static int
list_crowded(Oid *relids)
{
	int n = 0;

	LWLockAcquire(crowded_lock(), LW_SHARED);
	for (int i = 0; i < (int) pg_atomic_read_u32(&shared->ncrowded); i++)
		if (shared->crowded[i].database == MyDatabaseId &&
			row_lock_marker_mine(shared->crowded[i].relid))
			relids[n++] = shared->crowded[i].relid;
	LWLockRelease(crowded_lock());
	return n;
}

/*
 * The transaction is being prepared: its KEY SHARE locks on replaced versions are taken on the versions
 * that they are remembered for, where they will be found after a restart, or on the whole table. May wait,
 * and deadlock with who waits for them already.
 */
void
key_share_prepare(void)
{
	Oid crowded[MAX_CROWDED];
	Carried *mine;
	int n;

	if (shared == NULL || arrived_lxid != compat_proc_lxid(MyProc))
		return;
	if (!preparing)
		pg_atomic_fetch_add_u32(&shared->preparing, 1);
	preparing = true;
	n = list_crowded(crowded);
	/* who holds a row's lock holds one on the table */
	for (int i = 0; i < n; i++)
	{
		Relation rel = relation_open(crowded[i], NoLock);

		row_lock_table_key_share(rel);
		relation_close(rel, NoLock);
	}
	if (pg_atomic_read_u32(&shared->n) == 0)
		return;
	mine = list_mine(&n);
	for (int i = 0; i < n; i++)
	{
		Relation rel = relation_open(mine[i].relid, NoLock);

		(void) row_lock_version(rel, mine[i].row, ROW_LOCK_KEY_SHARE, LockWaitBlock);
		relation_close(rel, NoLock);
	}
	pfree(mine);
}

/* The transaction is prepared, or has been aborted. */
void
key_share_prepared(void)
{
	if (!preparing)
		return;
	pg_atomic_fetch_sub_u32(&shared->preparing, 1);
	preparing = false;
}
