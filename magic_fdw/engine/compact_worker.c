/*
 * compact_worker.c
 *		The compaction worker: a process that merges the tables of one database.
 *
 * It is started by the launcher when a table of the database is due for a merge, and leaves when nothing
 * has been due for IDLE_MS. In between it goes through a list of tables. A visit to a table is one step of
 * bounded work in a transaction of its own, at READ COMMITTED:
 *
 *		merge, fold, tidy deltas, move packs down	compact_table(), up to STEP_BYTES
 *		cut the end of the file						truncate_tail(), if nobody uses the table just then
 *
 * A step that spent its budget is followed by another. What cannot be done yet because an older snapshot
 * may still read it is looked at again when all that had ended by the visit is older than every snapshot;
 * asking that costs nothing but a look at the process array.
 *
 * Getting out of the way. The step holds the locks of a writer that locks no row, so readers and writers
 * never wait for it. The process bears the flag of autovacuum's workers, so DDL that waits for the table
 * cancels the step (deadlock.c), and who needs the database without sessions terminates the process
 * (procarray.c, CountOtherDBBackends). Our own hook on such statements asks first (feed_hold.c). Between
 * steps the process sleeps as long as magic.compaction_rate_limit asks, with no transaction open.
 *
 * A cancellation (pg_cancel_backend, a DDL that waits) is taken in a step only, and ends that; anywhere else
 * the process holds it off and forgets it.
 *
 * What is in the process is only the list. When it ends, however that happens, the next one looks at every
 * table of the database.
 */
#include "engine/engine_int.h"
#include "engine/compaction.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Bytes of packs read and written in one step. */
#define STEP_BYTES ((uint64) 16 * 1024 * 1024)

/* Without anything due for this long the process leaves. */
#define IDLE_MS 10000

/* Between two visits to one table; the first of a series of failures or of changes that do not settle. */
#define VISIT_MS 100
#define AGAIN_MS 200
#define AGAIN_MAX_MS 300000

/* Asking whether older snapshots are gone is cheap. */
#define SETTLED_MAX_MS 2000

/* Tables taken from the queue at once. */
#define TAKE 64

/* A table of the list. */
typedef struct DueTable
{
	Oid relid; /* hash key */
	TimestampTz at;
	TransactionId settles; /* not before all xids below are older than every snapshot; or invalid */
	uint32 tries;		   /* visits in a row without result */
	bool rests;			   /* nothing to do; stays until `at`, when it may be visited again */
	TimestampTz rested;	   /* not before */
} DueTable;

typedef struct Worker
{
	CompactionLine *line;
	HTAB *due;
	TimestampTz idle_since;
	MemoryContext cxt;
} Worker;

static Worker worker;

/* ---------------------------------------------------------------- the list */

static void
add_due(Oid relid, TimestampTz at)
{
	bool found;
	DueTable *table = hash_search(worker.due, &relid, HASH_ENTER, &found);

	if (!found)
		table->rested = at;
	/* if it waits for something: somebody has written to it since */
	table->settles = InvalidTransactionId;
	table->tries = 0;
	table->at = Max(found && !table->rests ? Min(table->at, at) : at, table->rested);
	table->rests = false;
}

/* Every table of the access method in this database that a worker can read. */
static void
add_all_tables(void)
{
	Relation classes;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid am;

	StartTransactionCommand();
	am = get_table_am_oid("magic", true);
	classes = table_open(RelationRelationId, AccessShareLock);
	scan = systable_beginscan(classes, InvalidOid, false, NULL, 0, NULL);
	while (OidIsValid(am) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->relam == am && form->relpersistence == RELPERSISTENCE_PERMANENT &&
			(form->relkind == RELKIND_RELATION || form->relkind == RELKIND_MATVIEW))
			add_due(form->oid, GetCurrentTimestamp());
	}
	systable_endscan(scan);
	table_close(classes, AccessShareLock);
	CommitTransactionCommand();
}

/* Outside of steps: what was sent to cancel one that has ended is no error. */
static void
forget_cancellation(void)
{
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
}

/* From here on a cancellation is an error, to be caught. */
static void
begin_cancellable(void)
{
	QueryCancelPending = false;
	RESUME_CANCEL_INTERRUPTS();
}

/*
 * After an error of a step, in PG_CATCH(): reports it, unless the step was cancelled or gave way, and rolls
 * back. Raising it has forgotten what was held off.
 */
static void
recover_from_error(void)
{
	HOLD_INTERRUPTS();
	HOLD_CANCEL_INTERRUPTS();
	MemoryContextSwitchTo(worker.cxt);
	if (geterrcode() != ERRCODE_QUERY_CANCELED)
		EmitErrorReport();
	AbortCurrentTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
}

/* What a crash has left of temporary tables goes; see orphans.c. */
static void
sweep_orphans(void)
{
	int volatile count = 0;

	PG_TRY();
	{
		begin_cancellable();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (OidIsValid(magic_table_oid("pack")))
			count = orphans_sweep();
		PopActiveSnapshot();
		CommitTransactionCommand();
		HOLD_CANCEL_INTERRUPTS();
	}
	PG_CATCH();
	{
		recover_from_error();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(worker.cxt);
	if (count > 0)
		ereport(LOG, (errmsg("removed what the magic engine's directory knew of %d temporary "
							 "tables that were lost in a crash",
							 count)));
}

/* Takes over what was queued. */
static void
take_queued(void)
{
	Oid relids[TAKE];
	bool look;
	int n;

	do
	{
		n = compaction_take(worker.line, relids, TAKE, &look);
		for (int i = 0; i < n; i++)
			add_due(relids[i], GetCurrentTimestamp());
		if (look)
		{
			sweep_orphans();
			add_all_tables();
		}
	} while (n == TAKE);
}

/* The horizon of settled things; false if the extension is gone. */
static bool
read_horizon(TransactionId *horizon)
{
	bool there;

	StartTransactionCommand();
	there = OidIsValid(magic_table_oid("pack"));
	if (there)
		*horizon = directory_horizon();
	CommitTransactionCommand();
	return there;
}

/* What waits for older snapshots becomes due when they are gone. */
static void
wake_settled(void)
{
	HASH_SEQ_STATUS seq;
	DueTable *table;
	TransactionId horizon = InvalidTransactionId;
	TimestampTz now = GetCurrentTimestamp();
	bool due = false;

	hash_seq_init(&seq, worker.due);
	while ((table = hash_seq_search(&seq)) != NULL)
		due |= TransactionIdIsValid(table->settles) && table->at <= now;
	if (!due)
		return;
	due = read_horizon(&horizon);
	hash_seq_init(&seq, worker.due);
	while ((table = hash_seq_search(&seq)) != NULL)
	{
		if (!TransactionIdIsValid(table->settles) || table->at > now)
			continue;
		if (!due || TransactionIdPrecedesOrEquals(table->settles, horizon))
			table->settles = InvalidTransactionId;
		else
			table->at = now + Min((int64) AGAIN_MS << Min(table->tries++, 16), SETTLED_MAX_MS) *
								  INT64CONST(1000);
	}
}

/* The table whose time came first; NULL and the next time if none is due. */
static DueTable *
next_due(TimestampTz *next)
{
	HASH_SEQ_STATUS seq;
	DueTable *table;
	DueTable *first = NULL;
	TimestampTz now = GetCurrentTimestamp();

	*next = 0;
	hash_seq_init(&seq, worker.due);
	while ((table = hash_seq_search(&seq)) != NULL)
	{
		if (table->at > now || TransactionIdIsValid(table->settles))
			*next = *next == 0 ? table->at : Min(*next, table->at);
		else if (table->rests)
			hash_search(worker.due, &table->relid, HASH_REMOVE, NULL);
		else if (first == NULL || table->at < first->at)
			first = table;
	}
	return first;
}

/* ---------------------------------------------------------------- a visit */

/* Must this process go as soon as it can? */
static bool
must_leave(void)
{
	return worker.line->leave || !compaction_enabled;
}

static void
reload_settings(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/* In the middle of a step: somebody needs the database. */
static void
give_way(Relation rel)
{
	if (worker.line->leave)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("merge of relation \"%s\" gives way", RelationGetRelationName(rel))));
}

/* Opens a table for a step; NULL if it is none any more, or if somebody has locked or waits for it. */
static Relation
open_for_step(Oid relid, bool *locked)
{
	Relation rel;

	*locked = !ConditionalLockRelationOid(relid, RowExclusiveLock);
	if (*locked)
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(relid, RowExclusiveLock);
		return NULL;
	}
	if (!engine_is_magic(rel) || rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT ||
		!OidIsValid(magic_table_oid("pack")))
	{
		relation_close(rel, RowExclusiveLock);
		return NULL;
	}
	return rel;
}

static bool
may_truncate(Relation rel)
{
	return rel->rd_options == NULL || ((StdRdOptions *) rel->rd_options)->vacuum_truncate;
}

/* What the next visit of a table waits for. */
typedef enum VisitResult
{
	VISIT_DONE,		 /* nothing to do */
	VISIT_MORE,		 /* another step */
	VISIT_UNSETTLED, /* older snapshots */
	VISIT_LOCKED	 /* somebody else at work; or an error */
} VisitResult;

/* One step, in a transaction of its own. *settles: everything that was over by then. */
static VisitResult
do_step(Oid relid, CompactResult *result, TransactionId *settles)
{
	CompactRequest request = {.mode = COMPACT_STEP, .budget = STEP_BYTES, .pause = give_way};
	bool locked;
	Relation rel;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	rel = open_for_step(relid, &locked);
	if (rel != NULL)
	{
		pgstat_report_activity(STATE_RUNNING, RelationGetRelationName(rel));
		compact_table(rel, &request, result);
		if (result->tail && may_truncate(rel))
		{
			BlockNumber before = RelationGetNumberOfBlocks(rel);

			locked = !truncate_tail(rel);
			/* not cut and not in use: freed too recently */
			result->more = RelationGetNumberOfBlocks(rel) < before;
			result->unsettled |= !result->more;
		}
		locked |= result->busy;
		relation_close(rel, NoLock);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	*settles = ReadNextTransactionId();
	if (locked)
		return VISIT_LOCKED;
	if (result->more)
		return VISIT_MORE;
	return result->unsettled ? VISIT_UNSETTLED : VISIT_DONE;
}

/*
 * A step that may fail. An error that comes of giving way is not reported; any other is, and the table is
 * left alone for longer and longer.
 */
static VisitResult
try_step(Oid relid, CompactResult *result, TransactionId *settles)
{
	VisitResult volatile visit = VISIT_LOCKED;

	PG_TRY();
	{
		begin_cancellable();
		visit = do_step(relid, result, settles);
		HOLD_CANCEL_INTERRUPTS();
	}
	PG_CATCH();
	{
		errcontext("merging packs of relation %u", relid);
		recover_from_error();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(worker.cxt);
	return visit;
}

static void
nap(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (ms >= 0 ? WL_TIMEOUT : 0), ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	forget_cancellation();
	reload_settings();
}

/* Sleeps so long that the rate stays below the limit; less if the process is asked to leave. */
static void
keep_to_rate(uint64 bytes, TimestampTz started)
{
	TimestampTz until;

	if (compaction_rate_limit == 0)
		return;
	until = started +
			(int64) (bytes * (double) USECS_PER_SEC / (compaction_rate_limit * 1024.0 * 1024.0));
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (now >= until || must_leave())
			break;
		nap(Min((until - now) / 1000 + 1, 1000));
	}
}

static void
visit(DueTable *table)
{
	Oid relid = table->relid;
	TimestampTz started = GetCurrentTimestamp();
	TransactionId settles = InvalidTransactionId;
	CompactResult result = {0};
	VisitResult next = try_step(relid, &result, &settles);
	int64 ms;

	pgstat_report_activity(STATE_IDLE, NULL);
	pgstat_report_stat(true);
	elog(DEBUG1,
		 "visit of relation %u: " INT64_FORMAT " packs replaced, " UINT64_FORMAT
		 " bytes%s%s%s%s%s%s, next xid %u",
		 relid, result.replaced, result.bytes, result.busy ? ", busy" : "",
		 result.more ? ", more to do" : "", result.changed ? ", changed" : "",
		 result.tail ? ", tail" : "", result.unsettled ? ", unsettled" : "",
		 next == VISIT_LOCKED ? ", locked" : "", settles);
	if (result.changed)
		table->tries = 0;
	ms = Min((int64) AGAIN_MS << Min(table->tries, 16), AGAIN_MAX_MS);
	table->rested = GetCurrentTimestamp() + VISIT_MS * INT64CONST(1000);
	switch (next)
	{
		case VISIT_DONE:
			table->rests = true;
			table->at = table->rested;
			break;
		case VISIT_MORE:
			table->at = table->rested;
			break;
		case VISIT_UNSETTLED:
			table->settles = settles;
			table->tries++;
			table->at = GetCurrentTimestamp() + Min(ms, SETTLED_MAX_MS) * INT64CONST(1000);
			break;
		case VISIT_LOCKED:
			table->tries++;
			table->at = GetCurrentTimestamp() + ms * INT64CONST(1000);
			break;
	}
	keep_to_rate(result.bytes, started);
}

/* ---------------------------------------------------------------- the process */

/* What a role's or database's settings must not change. */
static void
pin_settings(void)
{
	static const char *const pinned[][2] = {
		{"search_path", "pg_catalog"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		/* a merge that is lost in a crash is done again */
		{"synchronous_commit", "off"},
	};

	for (int i = 0; i < lengthof(pinned); i++)
		SetConfigOption(pinned[i][0], pinned[i][1], PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("application_name", "magic compaction", PGC_USERSET, PGC_S_SESSION);
}

/* See the file's head. The flag lasts as long as the process. */
static void
look_like_autovacuum(void)
{
	LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
	MyProc->statusFlags |= PROC_IS_AUTOVACUUM;
	ProcGlobal->statusFlags[MyProc->pgxactoff] = MyProc->statusFlags;
	LWLockRelease(ProcArrayLock);
}

static void
start(Oid database)
{
	HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(DueTable)};

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	HOLD_CANCEL_INTERRUPTS();
	BackgroundWorkerUnblockSignals();
	worker.line = compaction_attach(database);
	if (worker.line == NULL)
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	look_like_autovacuum();
	pin_settings();
	worker.cxt =
		AllocSetContextCreate(TopMemoryContext, "magic compaction worker", ALLOCSET_DEFAULT_SIZES);
	ctl.hcxt = worker.cxt;
	worker.due = hash_create("magic tables due", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContextSwitchTo(worker.cxt);
	worker.idle_since = GetCurrentTimestamp();
}

/* How long to sleep when no table is due; leaves if there has been nothing to do for long. */
static long
time_to_sleep(TimestampTz next)
{
	TimestampTz now = GetCurrentTimestamp();

	if (hash_get_num_entries(worker.due) > 0)
	{
		worker.idle_since = now;
		return Max((next - now) / 1000 + 1, 1);
	}
	if (now - worker.idle_since >= IDLE_MS * INT64CONST(1000))
	{
		if (compaction_may_leave(worker.line))
			proc_exit(0);
		return 0;
	}
	return IDLE_MS - (now - worker.idle_since) / 1000 + 1;
}

void
magic_compaction_main(Datum arg)
{
	start(DatumGetObjectId(arg));
	for (;;)
	{
		TimestampTz next;
		DueTable *table;

		forget_cancellation();
		reload_settings();
		if (must_leave())
			proc_exit(0);
		take_queued();
		MemoryContextSwitchTo(worker.cxt);
		wake_settled();
		MemoryContextSwitchTo(worker.cxt);
		table = next_due(&next);
		if (table != NULL)
			visit(table);
		else
			nap(time_to_sleep(next));
	}
}
