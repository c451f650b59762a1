/*
 * worker.c
 *		The process of one feed: connects, runs sessions of the stream, and leaves in a known way.
 *
 * It runs as the bootstrap superuser; the apply switches to the owner of each table. An error of
 * PostgreSQL's ends the session: what was not committed is rolled back and is read again from the
 * stored position. What may pass by itself (locks, memory, disk, a broker) is tried again after a
 * back-off, by a new process; anything else puts the feed to rest in state `error`, with a row in
 * magic.feed_rest, until magic.resume. An error in the middle of an apply is tried once more with
 * everything before the failing record committed first, so that nothing but that record is left out.
 */
#include "worker.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static Worker worker;

/* Errors that go away by themselves. */
static bool
sqlstate_is_passing(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_LOCK_NOT_AVAILABLE:
		case ERRCODE_OBJECT_IN_USE:
		case ERRCODE_QUERY_CANCELED:
		case ERRCODE_CANNOT_CONNECT_NOW:
		case ERRCODE_IO_ERROR:
		case ERRCODE_READ_ONLY_SQL_TRANSACTION:
			return true;
	}
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_CONNECTION_EXCEPTION:
			return true;
	}
	return false;
}

/* "topic "x", partition 0, offset 7" or "file "f", byte 7". */
static void
describe_record(char *to, size_t size, const SourceRecord *record)
{
	if (record->at.file[0])
		snprintf(to, size, "file \"%s\" in \"%s\", byte " INT64_FORMAT, record->at.file,
				 record->topic, record->at.offset);
	else
		snprintf(to, size, "topic \"%s\", partition %d, offset " INT64_FORMAT, record->topic,
				 record->partition, record->at.offset);
}

/* Turns a caught error into what the feed shows. */
static void
keep_error(const ErrorData *edata)
{
	FeedErrorInfo *error = &worker.error;
	char where[SOURCE_TEXT_LEN];

	memset(error, 0, sizeof(*error));
	error->sqlstate = edata->sqlerrcode;
	error->at = GetCurrentTimestamp();
	strlcpy(error->message, edata->message ? edata->message : "unknown error",
			sizeof(error->message));
	if (edata->detail)
		strlcpy(error->detail, edata->detail, sizeof(error->detail));
	if (edata->hint)
		strlcpy(error->hint, edata->hint, sizeof(error->hint));
	/* an error that should not happen: where in the code */
	if (edata->sqlerrcode == ERRCODE_INTERNAL_ERROR && edata->filename)
		snprintf(error->detail, sizeof(error->detail), "%s%sRaised by %s, %s:%d.",
				 edata->detail ? edata->detail : "", edata->detail ? " " : "",
				 edata->funcname ? edata->funcname : "?", edata->filename, edata->lineno);
	if (edata->context)
	{
		size_t used = strlen(error->detail);

		snprintf(error->detail + used, sizeof(error->detail) - used, "%sContext: %s.",
				 used ? " " : "", edata->context);
	}
	if (!worker.peeked)
		return;
	describe_record(where, sizeof(where), &worker.record);
	if (!strstr(error->message, where))
	{
		size_t used = strlen(error->detail);

		snprintf(error->detail + used, sizeof(error->detail) - used, "%sThis happened at %s.",
				 used ? " " : "", where);
	}
	if (!error->hint[0])
		snprintf(error->hint, sizeof(error->hint),
				 "Everything before it is applied. Remove the cause, then use magic.resume; "
				 "magic.skip leaves the message out.");
}

/* Ends the session: nothing of it is left but what `worker` itself holds. */
static void
end_session(void)
{
	if (worker.source)
	{
		if (worker.peeked)
			source_release(worker.source, &worker.record);
		source_close(worker.source);
	}
	if (worker.decoder)
		decoder_destroy(worker.decoder);
	worker.source = NULL;
	worker.decoder = NULL;
	worker.apply = NULL;
	worker.peeked = false;
	worker.end_requests = NIL;
	worker.end_taken = 0;
	worker.feed = NULL;
	MemoryContextReset(worker.context);
}

/*
 * An error was caught. Rolls back, and decides: a passing one is retried; another one at a record
 * that had others before it in its transaction is tried again alone; else the feed rests.
 */
static StreamOutcome
after_error(void)
{
	ErrorData *edata;

	MemoryContextSwitchTo(worker.context);
	edata = CopyErrorData();
	FlushErrorState();
	keep_error(edata);
	if (worker.apply)
		apply_abort(worker.apply);
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(worker.context);

	if (sqlstate_is_passing(edata->sqlerrcode))
		return STREAM_RETRY;
	if (worker.peeked && worker.fed_any && !worker.suspected)
	{
		worker.suspected = true;
		worker.suspect = worker.record.at;
		return STREAM_AGAIN;
	}
	return STREAM_ERROR;
}

/* One session, from opening the source to whatever ends it. */
static StreamOutcome
run_session(void)
{
	StreamOutcome volatile outcome;

	PG_TRY();
	{
		outcome = stream_run(&worker);
	}
	PG_CATCH();
	{
		outcome = after_error();
	}
	PG_END_TRY();
	end_session();
	return outcome;
}

static void
log_error(const char *what)
{
	const FeedErrorInfo *error = &worker.error;

	ereport(LOG, (errcode(error->sqlstate), errmsg("%s: %s", what, error->message),
				  error->detail[0] ? errdetail_internal("%s", error->detail) : 0,
				  error->hint[0] ? errhint("%s", error->hint) : 0));
}

/* Puts the feed to rest with its error. If that cannot be written, it is tried again later. */
static void
rest_in_error(void)
{
	FeedSlot *slot = worker.slot;

	log_error("feed rests in state \"error\"");
	slot_set_error(slot, &worker.error);
	StartTransactionCommand();
	if (feed_extension_exists())
		feed_rest_write(slot->feed_id, "error", &worker.error);
	CommitTransactionCommand();
	slot_set_state(slot, FEED_ERROR, NULL);
	slot_set_exit(slot, FEED_EXIT_REST, 0);
}

static void
leave_for_retry(void)
{
	FeedSlot *slot = worker.slot;
	TimestampTz retry_at = slot_count_failure(slot);

	log_error("feed will be retried");
	slot_set_error(slot, &worker.error);
	slot_set_state(slot, FEED_RETRYING, worker.error.message);
	slot_set_exit(slot, FEED_EXIT_RETRY, retry_at);
}

/* arg: index of the slot */
void
magic_worker_main(Datum arg)
{
	StreamOutcome outcome;

	ingest_process_start(false);
	worker.slot = slot_attach(DatumGetInt32(arg));
	if (!worker.slot)
		proc_exit(0);
	if (feed_api()->is_held(worker.slot->database, worker.slot->feed_id))
	{
		slot_set_exit(worker.slot, FEED_EXIT_RESTART, 0);
		proc_exit(0);
	}
	BackgroundWorkerInitializeConnectionByOid(worker.slot->database, InvalidOid, 0);
	ingest_pin_settings("magic feed worker");
	worker.context = AllocSetContextCreate(TopMemoryContext, "magic feed", ALLOCSET_DEFAULT_SIZES);

	do
	{
		MemoryContextSwitchTo(worker.context);
		outcome = run_session();
	} while (outcome == STREAM_AGAIN);

	switch (outcome)
	{
		case STREAM_ERROR:
			rest_in_error();
			break;
		case STREAM_RETRY:
			leave_for_retry();
			break;
		case STREAM_RESTART:
			slot_set_exit(worker.slot, FEED_EXIT_RESTART, 0);
			break;
		case STREAM_REST:
		case STREAM_AGAIN:
			slot_set_exit(worker.slot, FEED_EXIT_REST, 0);
			break;
	}
	proc_exit(0);
}
