/*
 * compact_queue.c
 *		Shared memory of compaction: databases that want a worker, tables that are due, counters.
 *
 * See compaction.h for the protocol. Counters of tables are a fixed hash table without locks: an entry is
 * claimed by compare-and-swap; when all places of a key are taken, it gets that of the table that was
 * written to longest ago. So a count may be lost in a race, and the counters of a dropped table go in time.
 */
#include "engine/engine_int.h"
#include "engine/compaction.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define TABLE_COUNTERS 8192
#define COUNTER_PROBES 16

typedef struct SharedCounters
{
	pg_atomic_uint64 key;  /* of database and storage; 0 = free */
	pg_atomic_uint64 used; /* when last, a TimestampTz */
	pg_atomic_uint64 written;
	pg_atomic_uint64 merged;
	pg_atomic_uint64 merges;
	pg_atomic_uint64 last_merge;
} SharedCounters;

bool compaction_enabled = true;
int compaction_rate_limit = 64;

static CompactionShared *shared;
static SharedCounters *counters;
static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static CompactionShared *
get_shared(void)
{
	return shared;
}

static bool
is_enabled(void)
{
	return compaction_enabled;
}

static const CompactionApi api = {
	.abi_version = COMPACTION_ABI_VERSION,
	.shared = get_shared,
	.enabled = is_enabled,
	.note_database = compaction_note_database,
	.forget_database = compaction_forget_database,
};

static Size
counters_size(void)
{
	return mul_size(sizeof(SharedCounters), TABLE_COUNTERS);
}

static void
request_shmem(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(MAXALIGN(sizeof(CompactionShared)), counters_size()));
}

static void
startup_shmem(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("magic compaction", sizeof(CompactionShared), &found);
	if (!found)
	{
		int tranche = LWLockNewTrancheId();

		memset(shared, 0, sizeof(CompactionShared));
		shared->abi_version = COMPACTION_ABI_VERSION;
		LWLockInitialize(&shared->lock, tranche);
		LWLockRegisterTranche(tranche, "magic_compaction");
	}
	counters = ShmemInitStruct("magic table counters", counters_size(), &found);
	if (!found)
	{
		memset(counters, 0, counters_size());
		for (int i = 0; i < TABLE_COUNTERS; i++)
		{
			pg_atomic_init_u64(&counters[i].key, 0);
			pg_atomic_init_u64(&counters[i].used, 0);
			pg_atomic_init_u64(&counters[i].written, 0);
			pg_atomic_init_u64(&counters[i].merged, 0);
			pg_atomic_init_u64(&counters[i].merges, 0);
			pg_atomic_init_u64(&counters[i].last_merge, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
compaction_init(void)
{
	DefineCustomBoolVariable(
		"magic.compaction", "Merges packs of magic tables in the background.",
		"Off pauses the workers and the merges that writers make by themselves; "
		"VACUUM and magic.compact() still merge.",
		&compaction_enabled, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("magic.compaction_rate_limit",
							"Megabytes that a compaction worker reads and writes in a second.",
							"Zero means no limit.", &compaction_rate_limit, 64, 0, 1000000,
							PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
	*(const CompactionApi **) find_rendezvous_variable(COMPACTION_RENDEZVOUS) = &api;
}

/* ---------------------------------------------------------------- lines */

/* The line of a database, or NULL. The caller holds the lock. */
static CompactionLine *
find_line(Oid database)
{
	for (int i = 0; i < COMPACTION_DATABASES; i++)
		if (shared->lines[i].database == database)
			return &shared->lines[i];
	return NULL;
}

static void
drop_queued(Oid database)
{
	int kept = 0;

	for (int i = 0; i < shared->nqueued; i++)
		if (shared->queue[i].database != database)
			shared->queue[kept++] = shared->queue[i];
	shared->nqueued = kept;
}

/* A line of a database that wants nothing, one that has been looked at if there is one; or NULL. The caller holds the lock. */
static CompactionLine *
find_idle_line(void)
{
	CompactionLine *idle = NULL;

	for (int i = 0; i < COMPACTION_DATABASES; i++)
	{
		CompactionLine *line = &shared->lines[i];

		if (line->pid != 0 || line->starting || line->wanted)
			continue;
		if (!line->look)
			return line;
		idle = line;
	}
	return idle;
}

/* The line of a database, a new one if it has none. NULL if all have work. The caller holds the lock exclusively. */
static CompactionLine *
make_line(Oid database)
{
	CompactionLine *line = find_line(database);

	if (line == NULL &&
		((line = find_line(InvalidOid)) != NULL || (line = find_idle_line()) != NULL))
	{
		if (OidIsValid(line->database))
			drop_queued(line->database);
		memset(line, 0, sizeof(CompactionLine));
		line->database = database;
	}
	return line;
}

/* Something is to be done in the database: its worker's latch, or the launcher's. */
static Latch *
want_worker(CompactionLine *line)
{
	line->wanted = true;
	return line->pid != 0 ? line->latch : shared->launcher_latch;
}

void
compaction_note_database(Oid database)
{
	CompactionLine *line;
	Latch *latch = NULL;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	line = find_line(database);
	/* a database that is only looked at takes no line from another: they would take turns for ever */
	if (line == NULL && find_line(InvalidOid) != NULL)
	{
		line = make_line(database);
		line->look = true;
	}
	if (line != NULL && line->look && !line->wanted && !line->starting)
		latch = want_worker(line);
	LWLockRelease(&shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

void
compaction_forget_database(Oid database)
{
	CompactionLine *line;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	line = find_line(database);
	if (line != NULL && line->pid == 0)
	{
		drop_queued(database);
		memset(line, 0, sizeof(CompactionLine));
	}
	LWLockRelease(&shared->lock);
}

bool
compaction_queue(Oid relid)
{
	CompactionLine *line;
	Latch *latch = NULL;
	bool known = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	line = make_line(MyDatabaseId);
	for (int i = 0; line != NULL && i < shared->nqueued && !known; i++)
		known = shared->queue[i].relid == relid && shared->queue[i].database == MyDatabaseId;
	if (line != NULL && !known)
	{
		if (shared->nqueued == COMPACTION_QUEUE)
			line->look = true;
		else
		{
			shared->queue[shared->nqueued].database = MyDatabaseId;
			shared->queue[shared->nqueued++].relid = relid;
		}
		latch = want_worker(line);
	}
	LWLockRelease(&shared->lock);
	if (latch != NULL)
		SetLatch(latch);
	return line != NULL;
}

bool
compaction_ask_to_leave(Oid database, bool terminate)
{
	CompactionLine *line;
	bool there = false;

	if (shared == NULL)
		return false;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	line = find_line(database);
	if (OidIsValid(database) && line != NULL && (line->pid != 0 || line->starting))
	{
		there = true;
		line->leave = true;
		if (line->pid != 0)
		{
			SetLatch(line->latch);
			if (terminate)
				kill(line->pid, SIGTERM);
		}
	}
	LWLockRelease(&shared->lock);
	return there;
}

/* ---------------------------------------------------------------- the worker's side */

/* However the process ends: what it had not done is looked for again. */
static void
detach(int code, Datum arg)
{
	CompactionLine *line = (CompactionLine *) DatumGetPointer(arg);
	Latch *latch = NULL;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (line->pid == MyProcPid)
	{
		/* not by compaction_may_leave() */
		line->pid = 0;
		line->latch = NULL;
		line->look = true;
		/* sent away, maybe because the extension goes: the next scanner that finds it wants a worker again */
		line->wanted = !line->leave;
		if (!line->leave)
		{
			line->failures++;
			line->retry_at =
				GetCurrentTimestamp() + USECS_PER_SEC * (INT64CONST(1) << Min(line->failures, 6));
		}
		latch = shared->launcher_latch;
	}
	LWLockRelease(&shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

/* Takes the line of the database for this process; NULL if another has it, or nobody wants it. */
CompactionLine *
compaction_attach(Oid database)
{
	CompactionLine *line;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	line = find_line(database);
	if (line != NULL)
	{
		line->starting = false;
		if (line->pid == 0 && line->leave)
		{
			/* as in detach() */
			line->look = true;
			line->wanted = false;
		}
		if (line->pid != 0 || line->leave)
			line = NULL;
		else
		{
			line->pid = MyProcPid;
			line->latch = MyLatch;
		}
	}
	LWLockRelease(&shared->lock);
	if (line != NULL)
		before_shmem_exit(detach, PointerGetDatum(line));
	return line;
}

/* Takes up to `room` queued tables; *look: all tables are to be looked at. */
int
compaction_take(CompactionLine *line, Oid *relids, int room, bool *look)
{
	int taken = 0;
	int kept = 0;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nqueued; i++)
	{
		if (shared->queue[i].database == line->database && taken < room)
			relids[taken++] = shared->queue[i].relid;
		else
			shared->queue[kept++] = shared->queue[i];
	}
	shared->nqueued = kept;
	*look = line->look;
	line->look = false;
	line->failures = 0;
	line->wanted = taken == room;
	LWLockRelease(&shared->lock);
	return taken;
}

/* The worker has nothing to do: false if something has come meanwhile, else it must leave. */
bool
compaction_may_leave(CompactionLine *line)
{
	bool may;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	may = !line->wanted;
	if (may)
	{
		line->pid = 0;
		line->latch = NULL;
	}
	LWLockRelease(&shared->lock);
	return may;
}

/* ---------------------------------------------------------------- counters */

/* A copied database has the same storages. */
static uint64
counters_key(uint64 storage)
{
	uint64 key = storage ^ ((uint64) MyDatabaseId << 32) ^ MyDatabaseId;

	return key != 0 ? key : 1;
}

/* The counters of a storage of this database; NULL if it has none and none are to be made. */
static SharedCounters *
find_counters(uint64 storage, bool make)
{
	uint64 key = counters_key(storage);
	SharedCounters *oldest = NULL;
	uint64 owner;

	for (int i = 0; i < COUNTER_PROBES; i++)
	{
		SharedCounters *entry = &counters[(key + i) % TABLE_COUNTERS];

		owner = pg_atomic_read_u64(&entry->key);
		if (owner == 0 && make)
			(void) pg_atomic_compare_exchange_u64(&entry->key, &owner, key);
		if (pg_atomic_read_u64(&entry->key) == key)
			return entry;
		if (owner == 0 && !make)
			return NULL;
		if (oldest == NULL || pg_atomic_read_u64(&entry->used) < pg_atomic_read_u64(&oldest->used))
			oldest = entry;
	}
	if (!make)
		return NULL;
	owner = pg_atomic_read_u64(&oldest->key);
	if (!pg_atomic_compare_exchange_u64(&oldest->key, &owner, key))
		return NULL;
	pg_atomic_write_u64(&oldest->written, 0);
	pg_atomic_write_u64(&oldest->merged, 0);
	pg_atomic_write_u64(&oldest->merges, 0);
	pg_atomic_write_u64(&oldest->last_merge, 0);
	return oldest;
}

void
table_counters_add_written(uint64 storage, uint64 bytes)
{
	SharedCounters *entry = find_counters(storage, true);

	if (entry == NULL)
		return;
	pg_atomic_fetch_add_u64(&entry->written, bytes);
	pg_atomic_write_u64(&entry->used, (uint64) GetCurrentTransactionStartTimestamp());
}

void
table_counters_add_merge(uint64 storage, uint64 bytes)
{
	SharedCounters *entry = find_counters(storage, true);

	if (entry == NULL)
		return;
	pg_atomic_fetch_add_u64(&entry->merged, bytes);
	pg_atomic_fetch_add_u64(&entry->merges, 1);
	pg_atomic_write_u64(&entry->last_merge, (uint64) GetCurrentTimestamp());
	pg_atomic_write_u64(&entry->used, (uint64) GetCurrentTransactionStartTimestamp());
}

/* False if nothing has been counted for the storage. */
bool
table_counters_read(uint64 storage, TableCounters *result)
{
	SharedCounters *entry = find_counters(storage, false);

	memset(result, 0, sizeof(*result));
	if (entry == NULL)
		return false;
	result->written = pg_atomic_read_u64(&entry->written);
	result->merged = pg_atomic_read_u64(&entry->merged);
	result->merges = pg_atomic_read_u64(&entry->merges);
	result->last_merge = (TimestampTz) pg_atomic_read_u64(&entry->last_merge);
	return true;
}
