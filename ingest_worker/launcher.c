/*
 * launcher.c
 *		The process that keeps one worker running for every feed that is wanted, and a compaction worker
 *		in every database that has something to merge (compactors.c).
 *
 * It owns the life of slots: it sends scanners that fill them, starts a worker for each slot that is
 * wanted and has none, and frees those of databases that are gone. It decides by what is in shared
 * memory only, so that it may be restarted at any time while workers run on.
 */
#include "ingest.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Feeds that appeared without our functions (a restore) are found after this long. */
#define LAUNCHER_RESCAN_MS 30000
/* The launcher looks at the slots at least this often. */
#define LAUNCHER_NAP_MS 10000
/* After a start that failed for want of a worker slot. */
#define NO_SLOT_RETRY_MS 2000

typedef struct Launcher
{
	BackgroundWorkerHandle *scanner; /* NULL = none at work */
	Oid scanner_database;
	TimestampTz scan_not_before; /* after a scanner that failed */
	TimestampTz next_rescan;
	BackgroundWorkerHandle *workers[FEED_MAX_SLOTS]; /* started by us, maybe gone */
} Launcher;

static Launcher launcher;

static void
launcher_left(int code, Datum arg)
{
	FeedShared *shared = feed_api()->shared();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->launcher_latch = NULL;
	LWLockRelease(&shared->lock);
	compactors_set_latch(NULL);
}

bool
launcher_handle_is_gone(BackgroundWorkerHandle *handle)
{
	pid_t pid;

	return GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
}

/* Registers a worker; NULL if max_worker_processes are in use. */
BackgroundWorkerHandle *
launcher_start_process(const char *library, const char *function, const char *name, Datum arg,
					   char extra)
{
	BackgroundWorkerHandle *handle;
	BackgroundWorker worker;
	MemoryContext old;
	bool started;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = arg;
	worker.bgw_extra[0] = extra;
	strlcpy(worker.bgw_library_name, library, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, name, BGW_MAXLEN);
	old = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &handle);
	MemoryContextSwitchTo(old);
	return started ? handle : NULL;
}

/* Calls back for each row of pg_database whose database may be connected to. */
static void
walk_databases(void (*see)(const FormData_pg_database *row, void *arg), void *arg)
{
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		const FormData_pg_database *row = (const FormData_pg_database *) GETSTRUCT(tuple);

		if (row->datallowconn)
			see(row, arg);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
}

typedef struct DatabaseList
{
	Oid *databases;
	int n;
} DatabaseList;

static void
take_out(const FormData_pg_database *row, void *arg)
{
	DatabaseList *list = arg;

	for (int i = 0; i < list->n; i++)
		if (list->databases[i] == row->oid)
		{
			list->databases[i] = list->databases[--list->n];
			break;
		}
}

/* Takes out of the array the databases that exist and may be connected to; returns how many are left. */
int
launcher_keep_dropped(Oid *databases, int n)
{
	DatabaseList list = {.databases = databases, .n = n};

	walk_databases(take_out, &list);
	return list.n;
}

/* Does the database exist, and may it be connected to? */
bool
launcher_database_exists(Oid database)
{
	return launcher_keep_dropped(&database, 1) == 0;
}

static void
prefer(const FormData_pg_database *row, void *arg)
{
	Oid *found = arg;

	/* somebody may want to copy a template: rather not be in one */
	if (strcmp(NameStr(row->datname), "postgres") == 0)
		*found = row->oid;
	else if (!OidIsValid(*found) && !row->datistemplate)
		*found = row->oid;
}

/* A database to look around in; InvalidOid if there is none. */
static Oid
find_database(void)
{
	Oid found = InvalidOid;

	walk_databases(prefer, &found);
	return found;
}

/* Frees the slots of a database that does not exist any more. */
static void
forget_database(Oid database)
{
	FeedShared *shared = feed_api()->shared();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < FEED_MAX_SLOTS; i++)
	{
		FeedSlot *slot = &shared->slots[i];

		if (slot->in_use && slot->database == database && slot->pid == 0)
			slot->in_use = false;
	}
	LWLockRelease(&shared->lock);
}

/*
 * The next database to scan, InvalidOid if none; *find: look for others from there, too. A look at all
 * databases that found more than there is room for goes on when those are done, and a new one begins after it.
 */
static Oid
next_scan(bool *find)
{
	FeedShared *shared = feed_api()->shared();
	Oid database = InvalidOid;
	bool first = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	*find = false;
	if (shared->n_scan_requests > 0)
		database = shared->scan_requests[--shared->n_scan_requests];
	else if (OidIsValid(shared->scan_after))
		*find = true;
	else
	{
		*find = first = shared->scan_all;
		shared->scan_all = false;
	}
	LWLockRelease(&shared->lock);
	if (first)
		compactors_forget_dropped();
	if (*find)
		database = find_database();
	return database;
}

/* Puts requests back that could not be served. */
static void
scan_again_later(Oid database, bool find)
{
	if (OidIsValid(database))
		feed_api()->request_scan(database);
	if (find)
		feed_api()->request_scan(InvalidOid);
	launcher.scan_not_before = GetCurrentTimestamp() + NO_SLOT_RETRY_MS * INT64CONST(1000);
	ResetLatch(MyLatch);
}

static void
start_scanner(void)
{
	FeedShared *shared = feed_api()->shared();
	bool find;
	Oid database;

	if (launcher.scanner || GetCurrentTimestamp() < launcher.scan_not_before)
		return;
	database = next_scan(&find);
	if (!OidIsValid(database))
		return;
	if (!launcher_database_exists(database))
	{
		forget_database(database);
		if (find)
			feed_api()->request_scan(InvalidOid);
		return;
	}
	if (feed_api()->is_held(database, 0))
	{
		/* whoever holds it asks for a scan when done; look around from another database then */
		if (find)
			launcher.next_rescan = GetCurrentTimestamp() + USECS_PER_SEC;
		return;
	}
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->scanner_database = database;
	shared->scanner_done = false;
	LWLockRelease(&shared->lock);
	launcher.scanner_database = database;
	launcher.scanner = launcher_start_process("magic_ingest", "magic_scanner_main", "magic scanner",
											  ObjectIdGetDatum(database), find ? 'f' : ' ');
	if (!launcher.scanner)
	{
		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		shared->scanner_database = InvalidOid;
		LWLockRelease(&shared->lock);
		ereport(LOG, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					  errmsg("no background worker slot is free to look for feeds"),
					  errhint("Raise max_worker_processes.")));
		scan_again_later(database, find);
	}
}

static void
reap_scanner(void)
{
	FeedShared *shared = feed_api()->shared();
	bool done;

	if (!launcher.scanner || !launcher_handle_is_gone(launcher.scanner))
		return;
	pfree(launcher.scanner);
	launcher.scanner = NULL;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	done = shared->scanner_done;
	shared->scanner_database = InvalidOid; /* it may have died before it could say so */
	LWLockRelease(&shared->lock);
	ConditionVariableBroadcast(&shared->quiet);
	if (!done && launcher_database_exists(launcher.scanner_database))
		launcher.next_rescan = GetCurrentTimestamp() + NO_SLOT_RETRY_MS * INT64CONST(1000);
}

/* How many workers are wanted and have no process: for the message. */
static int
count_without_worker(void)
{
	FeedShared *shared = feed_api()->shared();
	int n = 0;

	for (int i = 0; i < FEED_MAX_SLOTS; i++)
		n += shared->slots[i].in_use && shared->slots[i].wanted && shared->slots[i].pid == 0;
	return n;
}

static void
start_worker(int index, FeedSlot *slot)
{
	char detail[FEED_DETAIL_LEN];

	launcher.workers[index] = launcher_start_process(
		"magic_ingest", "magic_worker_main", "magic feed worker", Int32GetDatum(index), ' ');
	if (launcher.workers[index])
		return;
	snprintf(detail, sizeof(detail), "max_worker_processes is %d; %d more are needed",
			 max_worker_processes, count_without_worker());
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->state = FEED_NO_WORKER_SLOT;
	strlcpy(slot->state_detail, detail, FEED_DETAIL_LEN);
	slot->retry_at = GetCurrentTimestamp() + NO_SLOT_RETRY_MS * INT64CONST(1000);
	LWLockRelease(&slot->lock);
}

/* A worker that was started and left without ever taking its slot: could not connect, for instance. */
static void
reap_worker(int index, FeedSlot *slot)
{
	pfree(launcher.workers[index]);
	launcher.workers[index] = NULL;
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	if (slot->pid == 0 && slot->wanted && slot->state == FEED_STARTING &&
		slot->retry_at <= GetCurrentTimestamp())
	{
		slot->failures++;
		slot->retry_at = GetCurrentTimestamp() + backoff_us(slot->failures);
		slot->state = FEED_RETRYING;
	}
	LWLockRelease(&slot->lock);
}

/* Starts what is due; returns when the next one is, 0 if none. */
static TimestampTz
serve_slots(void)
{
	FeedShared *shared = feed_api()->shared();
	TimestampTz next = 0;

	for (int i = 0; i < FEED_MAX_SLOTS; i++)
	{
		FeedSlot *slot = &shared->slots[i];
		TimestampTz retry_at;
		bool due;

		if (launcher.workers[i])
		{
			if (!launcher_handle_is_gone(launcher.workers[i]))
				continue;
			reap_worker(i, slot);
		}
		LWLockAcquire(&shared->lock, LW_SHARED);
		LWLockAcquire(&slot->lock, LW_SHARED);
		due = slot->in_use && slot->wanted && slot->pid == 0;
		retry_at = slot->retry_at;
		LWLockRelease(&slot->lock);
		LWLockRelease(&shared->lock);
		if (!due || feed_api()->is_held(slot->database, slot->feed_id))
			continue;
		if (retry_at > GetCurrentTimestamp())
			next = next == 0 ? retry_at : Min(next, retry_at);
		else
			start_worker(i, slot);
	}
	return next;
}

static TimestampTz
earlier(TimestampTz a, TimestampTz b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static long
nap_ms(TimestampTz next)
{
	TimestampTz now = GetCurrentTimestamp();
	long ms = LAUNCHER_NAP_MS;

	if (next != 0)
		ms = Min(ms, Max((next - now) / 1000 + 1, 1));
	if (launcher.scan_not_before > now)
		ms = Min(ms, (launcher.scan_not_before - now) / 1000 + 1);
	return Min(ms, Max((launcher.next_rescan - now) / 1000 + 1, 1));
}

void
magic_launcher_main(Datum arg)
{
	FeedShared *shared;

	/* there is nothing to cancel */
	pqsignal(SIGINT, SIG_IGN);
	ingest_process_start(false);
	shared = feed_api()->shared();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_left, 0);
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->launcher_latch = MyLatch;
	LWLockRelease(&shared->lock);
	compactors_set_latch(MyLatch);

	for (;;)
	{
		TimestampTz next;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (GetCurrentTimestamp() >= launcher.next_rescan)
		{
			launcher.next_rescan = GetCurrentTimestamp() + LAUNCHER_RESCAN_MS * INT64CONST(1000);
			feed_api()->request_scan(InvalidOid);
		}
		reap_scanner();
		start_scanner();
		next = earlier(serve_slots(), compactors_serve());
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap_ms(next),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
