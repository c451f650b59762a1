/*
 * feed_wait.c
 *		magic.wait_for and magic.applied_ts: from a commit TS in TiDB to a read here.
 *
 * The truth is magic.feed_position: a TS counts as reached when a fresh snapshot sees it there, so
 * the caller's next statement sees the rows. The slot's condition variable only says when to look.
 * wait_for(feed, 'end') leaves a request in the slot; the worker asks the source where it ends and
 * answers once it has committed up to there. A request outlives the worker that took it: the next
 * one asks again, and a later end is never too early.
 */
#include "feed/feed_internal.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "magic_compat.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Longest sleep between two looks: a restore or another server's promotion wakes nobody. */
#define WAIT_STEP_MS 1000
/* The same while the feed has no slot yet. */
#define WAIT_NO_SLOT_MS 100

PG_FUNCTION_INFO_V1(magic_wait_for_ts);
PG_FUNCTION_INFO_V1(magic_wait_for_text);
PG_FUNCTION_INFO_V1(magic_applied_ts);

/* What a look at the tables shows. */
typedef struct FeedLook
{
	int32 id;
	int64 applied_ts;
	char *rest;	   /* error, stopped, ...; NULL = not at rest */
	char *message; /* of the error */
	char *detail;
	char *hint;
} FeedLook;

/* Reads the feed's row with a fresh snapshot; false if there is no such feed. */
static bool
look_at_feed(const char *name, FeedLook *look, bool fresh)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(name)};
	bool found;
	FeedSpi spi;

	memset(look, 0, sizeof(*look));
	feed_spi_begin(&spi);
	found = feed_spi_execute("SELECT f.id, (SELECT min(applied_ts) FROM magic.feed_position p"
							 " WHERE p.feed_id = f.id), r.state, r.message, r.detail, r.hint"
							 " FROM magic.feed f LEFT JOIN magic.feed_rest r ON r.feed_id = f.id"
							 " WHERE f.name = $1",
							 1, types, values, NULL, !fresh) == 1;
	if (found)
	{
		HeapTuple tuple = SPI_tuptable->vals[0];
		TupleDesc desc = SPI_tuptable->tupdesc;
		char **texts[] = {&look->rest, &look->message, &look->detail, &look->hint};
		bool isnull;
		Datum applied;

		look->id = DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull));
		applied = SPI_getbinval(tuple, desc, 2, &isnull);
		look->applied_ts = isnull ? 0 : DatumGetInt64(applied);
		for (int i = 0; i < lengthof(texts); i++)
		{
			char *value = SPI_getvalue(tuple, desc, i + 3);

			*texts[i] = value ? MemoryContextStrdup(caller, value) : NULL;
		}
	}
	feed_spi_end(&spi);
	return found;
}

static void
no_such_feed(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("feed \"%s\" does not exist", name),
					errhint("SELECT name FROM magic.feeds lists the feeds.")));
}

/* Errors may quote rows and statements of the source: they are for those who may read magic.feeds. */
static bool
may_see_errors(void)
{
	Oid namespace = get_namespace_oid("magic", true);
	Oid view = OidIsValid(namespace) ? get_relname_relid("feeds", namespace) : InvalidOid;

	return OidIsValid(view) && pg_class_aclcheck(view, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

static void
refuse_resting(const char *name, const FeedLook *look)
{
	bool tell = may_see_errors();

	if (strcmp(look->rest, "stopped") == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("feed \"%s\" is stopped at TS " INT64_FORMAT, name, look->applied_ts),
			 errhint("SELECT magic.resume(%s, stop_ts) lets it go on.", quote_literal_cstr(name))));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("feed \"%s\" rests in state \"%s\" at TS " INT64_FORMAT, name,
						   look->rest, look->applied_ts),
					tell && look->message ? errdetail("%s", look->message) : 0,
					tell && look->hint ? errhint("%s", look->hint) : 0));
}

/* The feed's slot, or NULL; slots stay where they are, so the pointer may be used without lock. */
static FeedSlot *
slot_of_feed(int32 id)
{
	FeedShared *shared = feed_shared();
	FeedSlot *slot;

	LWLockAcquire(&shared->lock, LW_SHARED);
	slot = feed_find_slot(MyDatabaseId, id);
	LWLockRelease(&shared->lock);
	return slot;
}

/* Leaves a request for the end of the source; returns its number. */
static uint64
request_end(FeedSlot *slot)
{
	uint64 number;

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	number = ++slot->end_requested;
	if (slot->latch)
		SetLatch(slot->latch);
	LWLockRelease(&slot->lock);
	return number;
}

static bool
end_reached(FeedSlot *slot, uint64 number)
{
	bool reached;

	LWLockAcquire(&slot->lock, LW_SHARED);
	reached = slot->end_reached >= number;
	LWLockRelease(&slot->lock);
	return reached;
}

/* Where the last record ends: the insert position may stand behind the header of a page not begun yet. */
static XLogRecPtr
end_of_wal(void)
{
	XLogRecPtr end = GetXLogInsertRecPtr();

	if (end % XLOG_BLCKSZ == SizeOfXLogShortPHD ||
		XLogSegmentOffset(end, wal_segment_size) == SizeOfXLogLongPHD)
		end -= end % XLOG_BLCKSZ;
	return end;
}

/*
 * Waits until the feed has applied everything up to `ts`, or up to the source's end as it is now
 * (ts < 0). False when `timeout` (NULL = none) has passed.
 */
static bool
wait_for(const char *name, int64 ts, const Interval *timeout, bool durable)
{
	bool to_end = ts < 0;
	TimestampTz deadline = 0;
	FeedSlot *requested_slot = NULL;
	uint64 request = 0;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("magic.wait_for cannot be used in a transaction that keeps its snapshot"),
				 errhint("Call it before BEGIN, or at isolation level READ COMMITTED.")));
	if (timeout)
		deadline = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()),
								IntervalPGetDatum(timeout)));

	for (;;)
	{
		FeedLook look;
		FeedSlot *slot;
		bool reached;
		long ms = WAIT_STEP_MS;

		CHECK_FOR_INTERRUPTS();

		/* before the look, so that a commit after it ends the sleep below at once */
		slot = feed_shared() && look_at_feed(name, &look, true) ? slot_of_feed(look.id) : NULL;
		if (slot)
			ConditionVariablePrepareToSleep(&slot->changed);

		if (to_end && slot && slot != requested_slot)
		{
			request = request_end(slot);
			requested_slot = slot;
		}
		reached = to_end && slot && end_reached(slot, request);
		if (!look_at_feed(name, &look, true))
			no_such_feed(name);
		if (!to_end)
			reached = look.applied_ts >= ts;
		if (reached)
		{
			ConditionVariableCancelSleep();
			/* the commit's record lies before the end of WAL as of now */
			if (durable)
				XLogFlush(end_of_wal());
			return true;
		}
		if (look.rest)
			refuse_resting(name, &look);

		if (timeout)
		{
			TimestampTz now = GetCurrentTimestamp();

			if (now >= deadline)
			{
				ConditionVariableCancelSleep();
				return false;
			}
			ms = Min(ms, (deadline - now) / 1000 + 1);
		}
		if (slot)
			ConditionVariableTimedSleep(&slot->changed, ms, PG_WAIT_EXTENSION);
		else
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 Min(ms, WAIT_NO_SLOT_MS), PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		}
		ConditionVariableCancelSleep();
	}
}

static const Interval *
timeout_argument(FunctionCallInfo fcinfo, int n)
{
	const Interval *timeout = PG_ARGISNULL(n) ? NULL : PG_GETARG_INTERVAL_P(n);

	if (timeout && (timeout->month < 0 || timeout->day < 0 || timeout->time < 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout must not be negative")));
	return timeout;
}

static void
check_not_null(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("feed and TS to wait for must not be null")));
}

/* wait_for(feed text, ts bigint, timeout interval DEFAULT NULL, durable bool DEFAULT false) -> bool */
Datum
magic_wait_for_ts(PG_FUNCTION_ARGS)
{
	check_not_null(fcinfo);
	if (PG_GETARG_INT64(1) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("TS to wait for must not be negative")));
	PG_RETURN_BOOL(wait_for(TextDatumGetCString(PG_GETARG_DATUM(0)), PG_GETARG_INT64(1),
							timeout_argument(fcinfo, 2), !PG_ARGISNULL(3) && PG_GETARG_BOOL(3)));
}

/* wait_for(feed text, until text, ...) -> bool: 'end', or a TS in digits */
Datum
magic_wait_for_text(PG_FUNCTION_ARGS)
{
	char *until;
	char *end;
	int64 ts = -1;

	check_not_null(fcinfo);
	until = TextDatumGetCString(PG_GETARG_DATUM(1));
	if (strcmp(until, "end") != 0)
	{
		errno = 0;
		ts = strtoi64(until, &end, 10);
		if (errno || end == until || *end || ts < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot wait for \"%s\"", until),
					 errhint("Give a TS in digits, or 'end' for the end of the source as it is "
							 "now.")));
	}
	PG_RETURN_BOOL(wait_for(TextDatumGetCString(PG_GETARG_DATUM(0)), ts,
							timeout_argument(fcinfo, 2), !PG_ARGISNULL(3) && PG_GETARG_BOOL(3)));
}

/* applied_ts(feed text) -> bigint, in the caller's snapshot; 0 before anything was applied */
Datum
magic_applied_ts(PG_FUNCTION_ARGS)
{
	char *name = TextDatumGetCString(PG_GETARG_DATUM(0));
	FeedLook look;

	if (!look_at_feed(name, &look, false))
		no_such_feed(name);
	PG_RETURN_INT64(look.applied_ts);
}
