/*
 * compactors.c
 *		The launcher's part in compaction: starts a worker in each database that wants one.
 *
 * The worker itself belongs to magic_fdw (engine/compact_worker.c); which database wants one stands in
 * shared memory (engine/compaction.h). As with feeds the launcher decides by that only.
 */
#include "ingest.h"

#include "engine/compaction.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

/* After a start that failed for want of a worker slot, and after a worker that could not connect. */
#define RETRY_MS 2000

static BackgroundWorkerHandle *handles[COMPACTION_DATABASES]; /* started by us, maybe gone */
static bool out_of_slots;									  /* and the log says so */

static const CompactionApi *
compaction_api(void)
{
	static const CompactionApi *api = NULL;

	if (!api)
		api = *(const CompactionApi **) find_rendezvous_variable(COMPACTION_RENDEZVOUS);
	if (!api || api->abi_version != COMPACTION_ABI_VERSION ||
		api->shared()->abi_version != COMPACTION_ABI_VERSION)
		ingest_library_mismatch();
	return api;
}

/* Where to wake the launcher; NULL when it leaves. */
void
compactors_set_latch(Latch *latch)
{
	CompactionShared *shared = compaction_api()->shared();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	shared->launcher_latch = latch;
	LWLockRelease(&shared->lock);
}

/* A scanner has found the extension in its database. */
void
compactors_note_database(void)
{
	compaction_api()->note_database(MyDatabaseId);
}

static void
retry_later(CompactionLine *line)
{
	CompactionShared *shared = compaction_api()->shared();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	line->starting = false;
	line->retry_at = GetCurrentTimestamp() + RETRY_MS * INT64CONST(1000);
	LWLockRelease(&shared->lock);
}

/* A worker that we started is gone; it may never have taken its line. */
static void
reap(int index, CompactionLine *line)
{
	bool lost;

	pfree(handles[index]);
	handles[index] = NULL;
	lost = line->starting;
	if (lost)
		retry_later(line);
}

/*
 * Starts a worker. The line says so before the holds are looked at, and who holds a database looks at the
 * line after: one of the two sees the other.
 */
static void
start(int index, CompactionLine *line, Oid database)
{
	CompactionShared *shared = compaction_api()->shared();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	line->starting = true;
	line->leave = false;
	LWLockRelease(&shared->lock);
	if (feed_api()->is_held(database, 0))
	{
		/* whoever holds it wakes us when done */
		retry_later(line);
		return;
	}
	handles[index] =
		launcher_start_process("magic_fdw", "magic_compaction_main", "magic compaction worker",
							   ObjectIdGetDatum(database), ' ');
	if (handles[index] != NULL)
	{
		out_of_slots = false;
		return;
	}
	retry_later(line);
	if (!out_of_slots)
		ereport(LOG, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					  errmsg("no background worker slot is free to merge packs of magic tables"),
					  errdetail("Writers merge for themselves until one is."),
					  errhint("Raise max_worker_processes.")));
	out_of_slots = true;
}

/* Frees the lines of databases that do not exist any more. */
void
compactors_forget_dropped(void)
{
	CompactionShared *shared = compaction_api()->shared();
	Oid databases[COMPACTION_DATABASES];
	int n = 0;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < COMPACTION_DATABASES; i++)
		if (OidIsValid(shared->lines[i].database))
			databases[n++] = shared->lines[i].database;
	LWLockRelease(&shared->lock);
	n = launcher_keep_dropped(databases, n);
	for (int i = 0; i < n; i++)
		compaction_api()->forget_database(databases[i]);
}

/* Starts what is due; returns when the next one is, 0 if none. */
TimestampTz
compactors_serve(void)
{
	CompactionShared *shared = compaction_api()->shared();
	TimestampTz next = 0;

	for (int i = 0; i < COMPACTION_DATABASES; i++)
	{
		CompactionLine *line = &shared->lines[i];
		TimestampTz retry_at;
		Oid database;
		bool due;

		if (handles[i] != NULL)
		{
			if (!launcher_handle_is_gone(handles[i]))
				continue;
			reap(i, line);
		}
		LWLockAcquire(&shared->lock, LW_SHARED);
		database = line->database;
		due = OidIsValid(database) && line->wanted && line->pid == 0;
		retry_at = line->retry_at;
		LWLockRelease(&shared->lock);
		if (!due || !compaction_api()->enabled())
			continue;
		if (retry_at > GetCurrentTimestamp())
			next = next == 0 ? retry_at : Min(next, retry_at);
		else if (!launcher_database_exists(database))
			compaction_api()->forget_database(database);
		else
			start(i, line, database);
	}
	return next;
}
