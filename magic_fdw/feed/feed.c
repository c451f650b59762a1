/*
 * feed.c
 *		Shared memory of feeds, the launcher's registration, and wake-ups at commit.
 *
 * Locks: FeedShared.lock before a slot's lock; neither is held over catalog access, I/O or an
 * ereport. Wake-ups are hints: whoever changes magic.feed without our functions (a restore, COMMIT
 * PREPARED) wakes nobody, so the worker reads its row at least every second and the launcher looks
 * at every database at least every LAUNCHER_RESCAN_MS.
 */
#include "feed/feed_internal.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

static FeedShared *shared = NULL;
static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;

/* Feeds of this database to wake when the transaction commits. */
static List *wake_list = NIL;

static const FeedApi api = {
	.abi_version = FEED_ABI_VERSION,
	.shared = feed_shared,
	.state_name = feed_state_name,
	.parse_uri = feed_parse_uri,
	.check_file_directory = feed_check_file_directory,
	.is_held = feed_is_held,
	.find_slot = feed_find_slot,
	.request_scan = feed_request_scan,
};

FeedShared *
feed_shared(void)
{
	return shared;
}

const char *
feed_state_name(FeedState state)
{
	switch (state)
	{
		case FEED_STARTING:
			return "starting";
		case FEED_RUNNING:
			return "running";
		case FEED_WAITING:
			return "waiting";
		case FEED_RETRYING:
			return "retrying";
		case FEED_PAUSED:
			return "paused";
		case FEED_STOPPED:
			return "stopped";
		case FEED_ERROR:
			return "error";
		case FEED_NEEDS_ADOPT:
			return "needs adopt";
		case FEED_NO_WORKER_SLOT:
			return "no worker slot";
		case FEED_SOURCE_BEHIND:
			return "source behind";
		case FEED_DISABLED:
			return "disabled";
	}
	return "unknown";
}

/* The slot of a feed, NULL if none. Caller holds FeedShared.lock. */
FeedSlot *
feed_find_slot(Oid database, int32 feed_id)
{
	for (int i = 0; i < FEED_MAX_SLOTS; i++)
	{
		FeedSlot *slot = &shared->slots[i];

		if (slot->in_use && slot->database == database && slot->feed_id == feed_id)
			return slot;
	}
	return NULL;
}

/* Asks the launcher to read magic.feed of a database again; InvalidOid = all databases, also if there is no room. */
void
feed_request_scan(Oid database)
{
	Latch *latch;
	bool listed = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->n_scan_requests && !listed; i++)
		listed = shared->scan_requests[i] == database;
	if (!OidIsValid(database))
		shared->scan_all = true;
	else if (!listed && shared->n_scan_requests < FEED_MAX_SCANS)
		shared->scan_requests[shared->n_scan_requests++] = database;
	else if (!listed)
		shared->scan_all = true;
	latch = shared->launcher_latch;
	LWLockRelease(&shared->lock);
	if (latch)
		SetLatch(latch);
}

/* Wakes the feed's worker and the launcher once the current transaction has committed. */
void
feed_wake_at_commit(int32 feed_id)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	wake_list = list_append_unique_int(wake_list, feed_id);
	MemoryContextSwitchTo(old);
}

static void
wake_feeds(void)
{
	ListCell *cell;

	LWLockAcquire(&shared->lock, LW_SHARED);
	foreach (cell, wake_list)
	{
		FeedSlot *slot = feed_find_slot(MyDatabaseId, lfirst_int(cell));

		if (!slot)
			continue;
		LWLockAcquire(&slot->lock, LW_SHARED);
		if (slot->latch)
			SetLatch(slot->latch);
		LWLockRelease(&slot->lock);
		ConditionVariableBroadcast(&slot->changed);
	}
	LWLockRelease(&shared->lock);
	feed_request_scan(MyDatabaseId);
}

/* The transaction is visible to others when COMMIT is called: a worker woken here sees its row. */
static void
feed_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			feed_release_holds();
			if (wake_list != NIL)
				wake_feeds();
			wake_list = NIL;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			feed_release_holds();
			wake_list = NIL;
			break;
		default:
			break;
	}
}

static void
feed_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(FeedShared)));
}

static void
feed_shmem_startup(void)
{
	bool found;

	if (previous_shmem_startup)
		previous_shmem_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("magic feeds", sizeof(FeedShared), &found);
	if (!found)
	{
		int tranche = LWLockNewTrancheId();

		memset(shared, 0, sizeof(FeedShared));
		shared->abi_version = FEED_ABI_VERSION;
		LWLockInitialize(&shared->lock, tranche);
		ConditionVariableInit(&shared->quiet);
		for (int i = 0; i < FEED_MAX_SLOTS; i++)
		{
			LWLockInitialize(&shared->slots[i].lock, tranche);
			ConditionVariableInit(&shared->slots[i].changed);
		}
		LWLockRegisterTranche(tranche, "magic_feed");
	}
	LWLockRelease(AddinShmemInitLock);
}

/* The launcher starts after recovery: a standby applies what its primary wrote. */
static void
register_launcher(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "magic_ingest", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "magic_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "magic launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "magic launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

void
feed_init(void)
{
	feed_file_init();
	feed_hold_init();

	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = feed_shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = feed_shmem_startup;
	RegisterXactCallback(feed_xact_callback, NULL);

	*(const FeedApi **) find_rendezvous_variable(FEED_RENDEZVOUS) = &api;

	/* PostgreSQL 15 starts background workers in binary upgrade too; ours would write. */
	if (!IsBinaryUpgrade)
		register_launcher();
}
