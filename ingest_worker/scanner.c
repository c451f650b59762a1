/*
 * scanner.c
 *		A short-lived process that reads magic.feed of one database into the slots.
 *
 * The launcher belongs to no database, so it cannot read magic.feed itself. It sends a scanner into
 * each database whose feeds may have changed. Databases are found through a catalog that the server
 * shares and replicates: the extension's script grants rights to the role magic_admin, and
 * pg_shdepend tells in which databases a role has rights. Nothing else has to be kept durable, and
 * a promoted standby finds the same.
 */
#include "ingest.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/snapmgr.h"

/* What magic.feed says about one feed. */
typedef struct ScannedFeed
{
	int32 id;
	bool wanted;
} ScannedFeed;

static void
scanner_left(int code, Datum arg)
{
	FeedShared *shared = feed_api()->shared();
	Latch *latch;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->scanner_database = InvalidOid;
	latch = shared->launcher_latch;
	LWLockRelease(&shared->lock);
	ConditionVariableBroadcast(&shared->quiet);
	if (latch)
		SetLatch(latch);
}

/*
 * Asks for scans of the databases in which magic_admin has rights, in the order of their OIDs, from where
 * the last look ended: half of the room for requests is theirs, the other half is left to those that come
 * by themselves. Notes where the next look goes on, if there are more.
 */
static void
find_databases(void)
{
	FeedShared *shared = feed_api()->shared();
	char query[512];
	int room;
	Oid after;

	LWLockAcquire(&shared->lock, LW_SHARED);
	after = shared->scan_after;
	room = Max(FEED_MAX_SCANS / 2 - shared->n_scan_requests, 1);
	LWLockRelease(&shared->lock);
	snprintf(query, sizeof(query),
			 "SELECT DISTINCT d.dbid FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid"
			 " JOIN pg_database b ON b.oid = d.dbid"
			 " WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname = 'magic_admin'"
			 " AND b.datallowconn AND d.dbid > %u AND d.dbid <> %u ORDER BY d.dbid",
			 after, MyDatabaseId);
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read pg_shdepend");
	for (uint64 i = 0; i < SPI_processed && (int64) i < room; i++)
	{
		bool isnull;

		after = DatumGetObjectId(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		feed_api()->request_scan(after);
	}
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->scan_after = (int64) SPI_processed > room ? after : InvalidOid;
	LWLockRelease(&shared->lock);
}

/* Reads magic.feed; returns the number of feeds. */
static int
read_feeds(ScannedFeed **feeds)
{
	int n;

	if (SPI_execute("SELECT f.id, f.enabled AND NOT f.paused AND r.feed_id IS NULL"
					" FROM magic.feed f LEFT JOIN magic.feed_rest r ON r.feed_id = f.id"
					" ORDER BY f.id",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read magic.feed");
	n = (int) SPI_processed;
	*feeds = SPI_palloc(sizeof(ScannedFeed) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		(*feeds)[i].id =
			DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		(*feeds)[i].wanted =
			DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
	}
	return n;
}

/* The slot of a feed, a new one if it has none; NULL if all are in use. Caller holds the lock. */
static FeedSlot *
slot_for_feed(FeedShared *shared, int32 feed_id)
{
	FeedSlot *slot = feed_api()->find_slot(MyDatabaseId, feed_id);

	for (int i = 0; i < FEED_MAX_SLOTS && !slot; i++)
	{
		FeedSlot *candidate = &shared->slots[i];

		if (candidate->in_use)
			continue;
		slot = candidate;
		slot->in_use = true;
		slot->database = MyDatabaseId;
		slot->feed_id = feed_id;
		slot->wanted = false;
		slot->exit = FEED_EXIT_REST;
		slot->failures = 0;
		slot->retry_at = 0;
		slot->state = FEED_STARTING;
		slot->state_detail[0] = '\0';
		slot->end_requested = slot->end_reached = 0;
		memset(&slot->error, 0, sizeof(slot->error));
		memset(&slot->stats, 0, sizeof(slot->stats));
		slot->stats.lag_messages = -1;
		slot->stats.high_watermark = -1;
	}
	return slot;
}

static void
set_wanted(FeedSlot *slot, bool wanted)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	if (wanted && !slot->wanted)
	{
		/* resumed: at once, whatever happened before */
		memset(&slot->error, 0, sizeof(slot->error));
		slot->failures = 0;
		slot->retry_at = 0;
		if (slot->pid == 0)
			slot->state = FEED_STARTING;
	}
	slot->wanted = wanted;
	if (slot->latch && !wanted)
		SetLatch(slot->latch);
	LWLockRelease(&slot->lock);
}

/* Makes the slots of this database say what magic.feed says. Returns how many got none. */
static int
update_slots(const ScannedFeed *feeds, int n)
{
	FeedShared *shared = feed_api()->shared();
	int without = 0;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < FEED_MAX_SLOTS; i++)
	{
		FeedSlot *slot = &shared->slots[i];
		bool exists = false;

		if (!slot->in_use || slot->database != MyDatabaseId)
			continue;
		for (int k = 0; k < n && !exists; k++)
			exists = feeds[k].id == slot->feed_id;
		if (exists)
			continue;
		set_wanted(slot, false);
		if (slot->pid == 0)
			slot->in_use = false;
	}
	for (int i = 0; i < n; i++)
	{
		FeedSlot *slot = slot_for_feed(shared, feeds[i].id);

		if (slot)
			set_wanted(slot, feeds[i].wanted);
		else
			without++;
	}
	shared->scanner_done = true;
	LWLockRelease(&shared->lock);
	return without;
}

/* arg: the database's OID; bgw_extra "f": find the other databases, too. */
void
magic_scanner_main(Datum arg)
{
	Oid database = DatumGetObjectId(arg);
	bool find = MyBgworkerEntry->bgw_extra[0] == 'f';
	ScannedFeed *feeds = NULL;
	int n = 0;
	int without;

	ingest_process_start(true);
	before_shmem_exit(scanner_left, 0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	ingest_pin_settings("magic scanner");

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (find)
		find_databases();
	if (feed_extension_exists() && !feed_api()->is_held(MyDatabaseId, 0))
	{
		n = read_feeds(&feeds);
		compactors_note_database();
	}
	without = update_slots(feeds, n);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (without > 0)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("%d feeds cannot run: a server runs at most %d", without, FEED_MAX_SLOTS)));
	proc_exit(0);
}
