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
 * of this costs anything. If there is no more room an update waits for the KEY SHARE locks, as it does for
 * those of prepared transactions: locks come back after a restart and this memory does not. For the same
 * reason a transaction that is being prepared locks the newer versions as well, and until it is prepared
 * nothing is remembered.
 *
 * What is remembered for nothing (an update that was rolled back, a lock that is gone) makes others look,
 * not wait; it is dropped when room is needed.
 */
#include "engine/engine_int.h"

#include "access/relation.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#define ARRIVAL_COUNTERS 1024
#define MAX_CARRIED 4096

typedef struct Carried
{
	Oid database;
	Oid relid;
	RowNumber row;
	RowNumber older; /* a version before `row` that had a KEY SHARE lock when it was replaced */
} Carried;

typedef struct KeyShareShared
{
	LWLock *lock;								 /* of what follows */
	pg_atomic_uint64 arrivals[ARRIVAL_COUNTERS]; /* by table; read and counted without the lock */
	pg_atomic_uint32 n;							 /* read without the lock to skip an empty list */
	uint32 preparing; /* transactions between key_share_prepare() and their end */
	Carried carried[MAX_CARRIED];
} KeyShareShared;

static KeyShareShared *shared;

/* Is this backend counted in `preparing`? */
static bool preparing;

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
	shared->lock = &(GetNamedLWLockTranche("magic key share"))->lock;
	pg_atomic_init_u32(&shared->n, 0);
	shared->preparing = 0;
	for (int i = 0; i < ARRIVAL_COUNTERS; i++)
		pg_atomic_init_u64(&shared->arrivals[i], 0);
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

/* The versions remembered for a row; palloc'd, *n is their number. */
RowNumber *
key_share_older(Oid relid, RowNumber row, int *n)
{
	RowNumber *list = NULL;
	int room = 0;

	*n = 0;
	if (pg_atomic_read_u32(&shared->n) == 0)
		return NULL;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (uint32 i = 0; i < pg_atomic_read_u32(&shared->n); i++)
	{
		const Carried *entry = &shared->carried[i];

		if (entry->row != row || entry->relid != relid || entry->database != MyDatabaseId)
			continue;
		if (*n == room)
		{
			room = Max(8, room * 2);
			list =
				list ? repalloc(list, sizeof(RowNumber) * room) : palloc(sizeof(RowNumber) * room);
		}
		list[(*n)++] = entry->older;
	}
	LWLockRelease(shared->lock);
	return list;
}

/* Drops what no lock stands for any more. */
static void
drop_stale(void)
{
	uint32 n = pg_atomic_read_u32(&shared->n);

	for (uint32 i = 0; i < n;)
	{
		const Carried *entry = &shared->carried[i];

		if (row_key_share_held(entry->database, entry->relid, entry->older))
			i++;
		else
			shared->carried[i] = shared->carried[--n];
	}
	pg_atomic_write_u32(&shared->n, n);
}

/* False if there is no room, or the lock may be about to become a prepared transaction's. */
static bool
remember(Oid relid, RowNumber row, RowNumber older)
{
	uint32 n;
	bool room;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&shared->n) == MAX_CARRIED)
		drop_stale();
	n = pg_atomic_read_u32(&shared->n);
	room = n < MAX_CARRIED && shared->preparing == 0;
	if (room)
	{
		shared->carried[n] =
			(Carried){.database = MyDatabaseId, .relid = relid, .row = row, .older = older};
		pg_atomic_write_u32(&shared->n, n + 1);
	}
	LWLockRelease(shared->lock);
	return room;
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
	older = key_share_older(RelationGetRelid(rel), row, &n);
	for (int i = 0; i < n; i++)
		carry_one(rel, successor, older[i]);
	if (older)
		pfree(older);
}

/*
 * The transaction is being prepared: its KEY SHARE locks on replaced versions are taken on the versions
 * that they are remembered for, where they will be found after a restart. May wait, and deadlock with who
 * waits for them already.
 */
void
key_share_prepare(void)
{
	Carried *mine;
	int n = 0;

	if (shared == NULL)
		return;
	mine = palloc(sizeof(Carried) * MAX_CARRIED);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (!preparing)
		shared->preparing++;
	preparing = true;
	for (uint32 i = 0; i < pg_atomic_read_u32(&shared->n); i++)
		if (shared->carried[i].database == MyDatabaseId &&
			row_key_share_mine(MyDatabaseId, shared->carried[i].relid, shared->carried[i].older))
			mine[n++] = shared->carried[i];
	LWLockRelease(shared->lock);
	for (int i = 0; i < n; i++)
	{
		/* who holds a row's lock holds one on the table */
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
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->preparing--;
	LWLockRelease(shared->lock);
	preparing = false;
}
