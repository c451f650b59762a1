/*
 * stream.c
 *		The loop of a feed: records from the source, through the decoder, into the apply.
 *
 * Between two applies the worker holds at most one record, looked at to know how old the oldest
 * change is that is not applied; the rest waits in the source's own bounded buffer. At the deadline
 * (last apply + interval, or at once if that has passed when a record comes) a round begins: records
 * are fed until the source has none left, the apply says that its limits are reached, or a round has
 * taken ROUND_LIMIT_US, and are then committed. As long as a round ends for one of the latter two
 * reasons the next one follows without a pause: a backlog is caught up at full speed, in commits of
 * bounded size, each a state that TiDB had.
 *
 * Nothing is stored about the source but what the apply stores with the data.
 */
#include "worker.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "test_points.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

/* While catching up readers see progress at least this often. */
#define ROUND_LIMIT_US USECS_PER_SEC
/* The row of magic.feed is read again this often, and whenever the latch is set. */
#define REFRESH_US USECS_PER_SEC
/* In a round, how long to wait for a record that the source has and that is not fetched yet. */
#define FETCH_PATIENCE_US (200 * 1000)
/* Only replays for this long, without progress: another stream, or a rebuilt one. */
#define SOURCE_BEHIND_US (60 * USECS_PER_SEC)
/* Pause after a lock could not be had, doubled each time up to the second one. */
#define LOCK_PAUSE_MS 50
#define LOCK_PAUSE_MAX_MS 5000

/* How a round ended. */
typedef enum RoundEnd
{
	ROUND_DRAINED, /* the source has nothing more */
	ROUND_MORE,	   /* limits reached */
	ROUND_STOP_TS, /* stop_ts reached */
	ROUND_LOCKED,  /* APPLY_RETRY */
	ROUND_FAILED   /* worker->error is set; `retry` says which kind */
} RoundEnd;

static void set_error(Worker *worker, int sqlstate, const char *detail, const char *hint,
					  const char *format, ...) pg_attribute_printf(5, 6);

static void
set_error(Worker *worker, int sqlstate, const char *detail, const char *hint, const char *format,
		  ...)
{
	FeedErrorInfo *error = &worker->error;
	va_list args;

	memset(error, 0, sizeof(*error));
	error->sqlstate = sqlstate;
	error->at = GetCurrentTimestamp();
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	strlcpy(error->detail, detail ? detail : "", sizeof(error->detail));
	strlcpy(error->hint, hint ? hint : "", sizeof(error->hint));
}

static StreamOutcome
source_failed(Worker *worker, const SourceError *error)
{
	set_error(worker, error->sqlstate, error->detail, error->hint, "%s", error->message);
	return error->retry ? STREAM_RETRY : STREAM_ERROR;
}

/* For tests that kill the worker at each phase of an apply. */
static void
on_phase(void *arg, ApplyPhase phase)
{
	switch (phase)
	{
		case APPLY_PHASE_CONVERT:
			break;
		case APPLY_PHASE_LOCATE:
			TEST_POINT("locate");
			break;
		case APPLY_PHASE_WRITE:
			TEST_POINT("write");
			break;
		case APPLY_PHASE_BEFORE_POSITION:
			TEST_POINT("position");
			break;
		case APPLY_PHASE_BEFORE_COMMIT:
			TEST_POINT("commit");
			break;
		case APPLY_PHASE_COMMITTED:
			TEST_POINT("committed");
			break;
	}
}

static ApplyZeroDate
zero_date_policy(const char *text)
{
	if (strcmp(text, "error") == 0)
		return ZERO_DATE_ERROR;
	if (strcmp(text, "-infinity") == 0)
		return ZERO_DATE_MINUS_INFINITY;
	return ZERO_DATE_NULL;
}

static void
fill_apply_config(const Feed *feed, ApplyConfig *config)
{
	memset(config, 0, sizeof(*config));
	config->feed_id = feed->id;
	config->feed_name = feed->name;
	config->owner = feed->owner;
	config->engine = "magic";
	config->time_zone = feed->uri->time_zone;
	config->keys_in_source = feed->uri->kind == FEED_SOURCE_KAFKA;
	config->tables = feed->tables;
	config->routes = feed->routes;
	config->fold_names = strcmp(feed->names, "lower") == 0;
	config->readers = feed->readers;
	config->start_ts = feed->start_ts;
	config->memory_limit = feed->memory_limit;
	config->on_zero_date = zero_date_policy(feed->on_zero_date);
	config->error_on_bad_text = strcmp(feed->on_bad_text, "error") == 0;
	config->stop_on_missing = strcmp(feed->on_missing, "stop") == 0;
	config->allow_local_write = strcmp(feed->on_local_write, "allow") == 0;
	config->phase = on_phase;
}

/* Opens the source at the stored position. False with worker->error set; *retry says which kind. */
static bool
open_source(Worker *worker, StreamOutcome *outcome)
{
	const FeedPosition *position = &worker->row.position;
	const Feed *feed = worker->feed;
	SourceConfig config;
	SourceError error;

	memset(&config, 0, sizeof(config));
	config.uri = feed->uri;
	config.ignore_gaps = strcmp(feed->on_gap, "ignore") == 0;
	config.memory_limit = feed->memory_limit;
	if (!source_position_from_text(feed->uri->kind, position->position, &config.start) ||
		!source_position_from_text(feed->uri->kind, position->last_position, &config.evidence.at))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("magic.feed_position has a malformed position \"%s\"",
							   position->position ? position->position : position->last_position)));
	config.evidence.known = position->last_position != NULL && position->position != NULL;
	config.evidence.crc = position->last_crc;
	config.evidence.commit_ts = position->last_ts;

	worker->source = source_open(&config, &error);
	if (!worker->source)
		*outcome = source_failed(worker, &error);
	return worker->source != NULL;
}

/*
 * Reads the feed's row into a new row_context; the caller deletes the one before. False if the
 * stream shall end, with *outcome.
 */
static bool
load_row(Worker *worker, StreamOutcome *outcome)
{
	MemoryContext old = CurrentMemoryContext;
	bool found = false;

	worker->row_context =
		AllocSetContextCreate(worker->context, "magic feed row", ALLOCSET_SMALL_SIZES);
	StartTransactionCommand();
	MemoryContextSwitchTo(worker->row_context);
	if (feed_extension_exists())
		found = feed_row_load(worker->slot->feed_id, &worker->row);
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	*outcome = STREAM_REST;
	if (!found || !worker->row.feed->enabled || worker->row.feed->paused || worker->row.resting)
		return false;
	worker->feed = worker->row.feed;
	return true;
}

/* Do two rows differ in anything but the interval and the stop? */
static bool
needs_new_session(const Feed *a, const Feed *b)
{
#define DIFFERS(field) (strcmp(a->field ? a->field : "", b->field ? b->field : "") != 0)
	return a->owner != b->owner || DIFFERS(name) || DIFFERS(source) || DIFFERS(tables) ||
		   DIFFERS(routes) || DIFFERS(names) || DIFFERS(readers) ||
		   a->memory_limit != b->memory_limit || DIFFERS(on_gap) || DIFFERS(on_zero_date) ||
		   DIFFERS(on_bad_text) || DIFFERS(on_missing) || DIFFERS(on_local_write);
#undef DIFFERS
}

/*
 * Looks whether the row has changed; no transaction is open. False if the stream shall end. A new
 * interval counts from the last apply, and never lets a wake-up that was due come later.
 */
static bool
refresh(Worker *worker, StreamOutcome *outcome)
{
	MemoryContext context_before = worker->row_context;
	const Feed *before = worker->feed;
	bool changed;

	if (feed_api()->is_held(worker->slot->database, worker->slot->feed_id))
	{
		*outcome = STREAM_RESTART;
		return false;
	}
	StartTransactionCommand();
	*outcome = STREAM_REST;
	changed = !feed_extension_exists() || feed_row_changed(worker->slot->feed_id, worker->row.xmin);
	CommitTransactionCommand();
	MemoryContextSwitchTo(worker->context);
	if (!changed)
		return true;

	if (!load_row(worker, outcome))
		return false;
	if (needs_new_session(before, worker->feed))
	{
		*outcome = STREAM_AGAIN;
		return false;
	}
	if (worker->feed->apply_interval_us != before->apply_interval_us)
		worker->next_apply =
			Min(worker->next_apply, worker->last_apply + worker->feed->apply_interval_us);
	MemoryContextDelete(context_before);
	return true;
}

/* Is everything before `end` committed? The apply has nothing open. */
static bool
end_is_reached(Worker *worker, const SourcePosition *end)
{
	if (worker->peeked)
		return source_position_compare(&worker->record.at, end) >= 0;
	return source_reached(worker->source, end);
}

/* Takes new calls of wait_for(feed, 'end') and answers those whose end is reached. */
static void
serve_end_requests(Worker *worker)
{
	FeedSlot *slot = worker->slot;
	uint64 requested;
	uint64 reached = 0;

	LWLockAcquire(&slot->lock, LW_SHARED);
	requested = slot->end_requested;
	worker->end_taken = Max(worker->end_taken, slot->end_reached);
	LWLockRelease(&slot->lock);

	if (requested > worker->end_taken)
	{
		EndRequest *request = palloc(sizeof(EndRequest));
		SourceError error;

		request->number = requested;
		if (source_end(worker->source, &request->end, &error))
		{
			worker->end_requests = lappend(worker->end_requests, request);
			worker->end_taken = requested;
		}
		else
			pfree(request);
	}
	while (worker->end_requests != NIL)
	{
		EndRequest *request = linitial(worker->end_requests);

		if (!end_is_reached(worker, &request->end))
			break;
		reached = request->number;
		worker->end_requests = list_delete_first(worker->end_requests);
		pfree(request);
	}
	if (reached)
	{
		LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
		slot->end_reached = Max(slot->end_reached, reached);
		LWLockRelease(&slot->lock);
		ConditionVariableBroadcast(&slot->changed);
	}
}

/* Makes the next record the one at hand, if there is none. */
static SourceResult
peek(Worker *worker, SourceError *error)
{
	SourceResult result;

	if (worker->peeked)
		return SOURCE_RECORD;
	result = source_next(worker->source, &worker->record, error);
	worker->peeked = result == SOURCE_RECORD;
	worker->record_ts = 0;
	if (worker->peeked)
		TEST_POINT("fetch");
	return result;
}

static void
release(Worker *worker)
{
	source_release(worker->source, &worker->record);
	worker->peeked = false;
	worker->messages++;
}

static EventAction
on_event(void *arg, const Event *event)
{
	Worker *worker = arg;

	CHECK_FOR_INTERRUPTS();
	if (event->kind == EVENT_RESOLVED)
		return EVENT_CONTINUE;
	worker->event_status = apply_event(worker->apply, event);
	return worker->event_status == APPLY_RETRY ? EVENT_STOP : EVENT_CONTINUE;
}

/* The record at hand cannot be decoded. */
static void
decode_failed(Worker *worker, const DecodeError *error)
{
	const SourceRecord *record = &worker->record;
	char detail[FEED_MESSAGE_LEN];
	char hint[FEED_MESSAGE_LEN];

	snprintf(detail, sizeof(detail), "%s%sThe problem is at byte %zu of %zu.", error->detail,
			 error->detail[0] ? " " : "", error->offset, record->value_len);
	if (record->at.file[0])
		snprintf(hint, sizeof(hint),
				 "%s%sEverything before it is applied. Put a good copy of the file there, then use "
				 "magic.resume.",
				 error->hint, error->hint[0] ? " " : "");
	else
		snprintf(hint, sizeof(hint),
				 "%s%sEverything before it is applied. If the message does not belong to the "
				 "stream, leave it out by magic.seek with offset " INT64_FORMAT
				 ", then use magic.resume.",
				 error->hint, error->hint[0] ? " " : "", record->next.offset);
	if (record->at.file[0])
		set_error(worker, ERRCODE_DATA_CORRUPTED, detail, hint,
				  "could not decode record of file \"%s\" in directory \"%s\" at byte " INT64_FORMAT
				  ": %s",
				  record->at.file, record->topic, record->at.offset, error->message);
	else
		set_error(worker, ERRCODE_DATA_CORRUPTED, detail, hint,
				  "could not decode message of topic \"%s\", partition %d, offset " INT64_FORMAT
				  ": %s",
				  record->topic, record->partition, record->at.offset, error->message);
}

/* Looks up the commit TS of the record at hand. False if it cannot be decoded. */
static bool
look_at_record(Worker *worker)
{
	DecodeSummary summary;
	DecodeError error;

	if (worker->record_ts != 0)
		return true;
	if (decoder_peek(worker->decoder, worker->record.value, worker->record.value_len, &summary,
					 &error) != DECODE_OK)
	{
		decode_failed(worker, &error);
		return false;
	}
	worker->record_ts = (int64) summary.commit_ts;
	worker->stats.resolved_ts = Max(worker->stats.resolved_ts, worker->record_ts);
	return true;
}

/* Tells the apply that the record at hand is complete. */
static ApplyStatus
end_record(Worker *worker)
{
	const SourceRecord *record = &worker->record;
	ApplyRecordEnd end;
	ApplyStatus status;

	memset(&end, 0, sizeof(end));
	end.topic = record->topic;
	end.partition = record->partition;
	end.position = source_position_to_text(&record->next);
	end.last_position = source_position_to_text(&record->at);
	end.commit_ts = worker->record_ts;
	end.timestamp_ms = record->timestamp_ms;
	end.crc = record->crc;
	status = apply_record_end(worker->apply, &end);
	pfree((char *) end.position);
	pfree((char *) end.last_position);
	return status;
}

/*
 * A record at or below the applied TS: Drainer sends a suffix of its stream again after a restart.
 * Two different messages with one commit TS cannot come from one cluster.
 */
static bool
check_replay(Worker *worker)
{
	if (worker->record_ts == worker->last_ts && worker->record.crc != worker->last_crc)
	{
		set_error(worker, ERRCODE_DATA_CORRUPTED, NULL,
				  "Two streams are mixed: check that nothing else writes there.",
				  "two different messages with TS " INT64_FORMAT " in \"%s\"", worker->record_ts,
				  worker->record.topic);
		return false;
	}
	worker->stats.dropped_rows++;
	if (worker->dropping_since == 0)
		worker->dropping_since = GetCurrentTimestamp();
	return true;
}

/* Feeds the record at hand; the caller has looked at it. *failed = worker->error is set. */
static ApplyStatus
feed_record(Worker *worker, bool *failed)
{
	DecodeError error;

	*failed = false;
	if (worker->record_ts <= Max(worker->applied_ts, worker->last_ts))
	{
		*failed = !check_replay(worker);
		return *failed ? APPLY_OK : end_record(worker);
	}
	worker->dropping_since = 0;
	worker->event_status = APPLY_OK;
	switch (decoder_decode(worker->decoder, worker->record.value, worker->record.value_len,
						   on_event, worker, &error))
	{
		case DECODE_FAILED:
			decode_failed(worker, &error);
			*failed = true;
			return APPLY_OK;
		case DECODE_STOPPED:
			return worker->event_status;
		case DECODE_OK:
			break;
	}
	TEST_POINT("decode");
	return end_record(worker);
}

/* Commits what was fed. False = APPLY_RETRY. */
static bool
commit(Worker *worker)
{
	worker->fed_any = false;
	if (apply_pending(worker->apply))
	{
		if (apply_commit(worker->apply) == APPLY_RETRY)
			return false;
		worker->applied_ts = apply_applied_ts(worker->apply);
		slot_count_success(worker->slot);
		stream_note_commit(worker);
	}
	MemoryContextSwitchTo(worker->context);
	worker->last_apply = GetCurrentTimestamp();
	worker->next_apply = worker->last_apply + worker->feed->apply_interval_us;
	if (worker->lock_waits != 0)
		slot_set_state(worker->slot, FEED_RUNNING, NULL);
	worker->lock_waits = 0;
	return true;
}

/* Lets readers and waiters see what was committed. */
static void
announce(Worker *worker)
{
	stream_publish(worker);
	serve_end_requests(worker);
	ConditionVariableBroadcast(&worker->slot->changed);
}

/*
 * Nothing is at hand in a round. If the source has more that is only not fetched yet, waits for it
 * a little: a round ends at the end of the source, not where fetching happens to be. False = end.
 */
static bool
wait_for_more(Worker *worker, TimestampTz last_record)
{
	int fd = source_wait_fd(worker->source);
	int happened;

	if (source_drained(worker->source) || fd < 0 ||
		GetCurrentTimestamp() - last_record > FETCH_PATIENCE_US)
		return false;
	happened = WaitLatchOrSocket(
		MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, fd, 20,
		PG_WAIT_EXTENSION);
	if (happened & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		worker->next_refresh = 0;
	}
	if (happened & WL_SOCKET_READABLE)
		source_clear_fd(worker->source);
	return true;
}

/* Feeds records until something ends the round. Nothing is committed here but before a suspect. */
static RoundEnd
feed_records(Worker *worker, StreamOutcome *outcome)
{
	TimestampTz started = GetCurrentTimestamp();
	TimestampTz last_record = started;
	SourceError source_error;
	int64 stop_ts = worker->feed->stop_ts;

	for (;;)
	{
		ApplyStatus status;
		bool failed;

		CHECK_FOR_INTERRUPTS();
		switch (peek(worker, &source_error))
		{
			case SOURCE_EMPTY:
				if (wait_for_more(worker, last_record))
					continue;
				return ROUND_DRAINED;
			case SOURCE_FAILED:
				*outcome = source_failed(worker, &source_error);
				return ROUND_FAILED;
			case SOURCE_RECORD:
				last_record = GetCurrentTimestamp();
				break;
		}
		*outcome = STREAM_ERROR;
		if (!look_at_record(worker))
			return ROUND_FAILED;
		if (stop_ts != 0 && worker->record_ts > stop_ts)
			return ROUND_STOP_TS;
		if (worker->suspected &&
			source_position_compare(&worker->record.at, &worker->suspect) == 0 && worker->fed_any)
			return ROUND_MORE;

		status = feed_record(worker, &failed);
		if (failed)
			return ROUND_FAILED;
		if (status == APPLY_RETRY)
			return ROUND_LOCKED;
		if (worker->record_ts > worker->last_ts)
		{
			worker->last_ts = worker->record_ts;
			worker->last_crc = worker->record.crc;
		}
		release(worker);
		worker->fed_any = true;
		if (stop_ts != 0 && worker->last_ts >= stop_ts)
			return ROUND_STOP_TS;
		if (status == APPLY_CUT || worker->feed->apply_interval_us == 0 ||
			GetCurrentTimestamp() - started >= ROUND_LIMIT_US)
			return ROUND_MORE;
	}
}

/*
 * stop_ts is reached and everything up to it is committed: the applied TS becomes stop_ts even if no
 * message bears it.
 */
static StreamOutcome
stop(Worker *worker)
{
	StartTransactionCommand();
	feed_position_advance(worker->feed->id, worker->feed->stop_ts);
	feed_rest_write(worker->feed->id, "stopped", NULL);
	CommitTransactionCommand();
	MemoryContextSwitchTo(worker->context);
	worker->applied_ts = Max(worker->applied_ts, worker->feed->stop_ts);
	announce(worker);
	slot_set_state(worker->slot, FEED_STOPPED, NULL);
	return STREAM_REST;
}

/* Waits a little for a lock to become free; ends early when somebody wants the worker. */
static void
pause_for_lock(Worker *worker)
{
	long ms = LOCK_PAUSE_MS << Min(worker->lock_waits, 7);

	worker->lock_waits++;
	slot_set_state(worker->slot, FEED_WAITING, apply_detail(worker->apply));
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(ms, LOCK_PAUSE_MAX_MS), PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* One round: feed, commit, announce. True if the stream goes on. */
static bool
run_round(Worker *worker, StreamOutcome *outcome)
{
	RoundEnd end = feed_records(worker, outcome);
	FeedErrorInfo error = worker->error;

	if (end == ROUND_LOCKED || !commit(worker))
	{
		pause_for_lock(worker);
		*outcome = STREAM_AGAIN;
		return false;
	}
	announce(worker);
	switch (end)
	{
		case ROUND_DRAINED:
			break;
		case ROUND_MORE:
			if (worker->feed->apply_interval_us > 0)
				worker->next_apply = worker->last_apply;
			break;
		case ROUND_STOP_TS:
			*outcome = stop(worker);
			return false;
		case ROUND_FAILED:
		case ROUND_LOCKED:
			worker->error = error;
			return false;
	}
	return true;
}

/* What the view shows while the stream goes on. */
static void
show_state(Worker *worker)
{
	const char *trouble = worker->peeked ? NULL : source_trouble(worker->source);

	if (trouble)
	{
		slot_set_state(worker->slot, FEED_RETRYING, trouble);
		set_error(worker, ERRCODE_CONNECTION_FAILURE, NULL,
				  "The feed goes on by itself when a broker answers.", "%s", trouble);
		slot_set_error(worker->slot, &worker->error);
	}
	else if (worker->dropping_since != 0 &&
			 GetCurrentTimestamp() - worker->dropping_since > SOURCE_BEHIND_US)
		slot_set_state(worker->slot, FEED_SOURCE_BEHIND,
					   "the source sends only what is applied already");
	else if (worker->lock_waits == 0)
		slot_set_state(worker->slot, FEED_RUNNING, NULL);
}

/* Sleeps until the deadline, a record, the latch or the next refresh. */
static void
sleep_until_needed(Worker *worker)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = worker->next_refresh;
	int fd = worker->peeked ? -1 : source_wait_fd(worker->source);
	int events = WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH;
	int happened;

	if (worker->peeked)
		until = Min(until, worker->next_apply);
	if (until <= now)
		return;
	happened = WaitLatchOrSocket(MyLatch, events | (fd >= 0 ? WL_SOCKET_READABLE : 0),
								 fd >= 0 ? fd : PGINVALID_SOCKET, (until - now) / 1000 + 1,
								 PG_WAIT_EXTENSION);
	if (happened & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		worker->next_refresh = 0;
	}
	if (happened & WL_SOCKET_READABLE)
		source_clear_fd(worker->source);
}

static void
reload_settings(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

static StreamOutcome
main_loop(Worker *worker)
{
	StreamOutcome outcome = STREAM_REST;
	SourceError error;

	worker->next_refresh = 0;
	worker->next_apply = GetCurrentTimestamp();
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		reload_settings();
		if (GetCurrentTimestamp() >= worker->next_refresh)
		{
			if (!refresh(worker, &outcome))
				return outcome;
			worker->next_refresh = GetCurrentTimestamp() + REFRESH_US;
			show_state(worker);
			announce(worker);
		}
		if (worker->feed->stop_ts != 0 && worker->applied_ts >= worker->feed->stop_ts)
			return stop(worker);
		if (!worker->peeked)
		{
			if (peek(worker, &error) == SOURCE_FAILED)
				return source_failed(worker, &error);
			/* from now on something waits to be applied: the view shows for how long */
			if (worker->peeked)
				stream_publish(worker);
		}
		if (worker->peeked && GetCurrentTimestamp() >= worker->next_apply)
		{
			if (!run_round(worker, &outcome))
				return outcome;
		}
		else
			sleep_until_needed(worker);
	}
}

static void
begin_session(Worker *worker)
{
	FeedStats *stats = &worker->stats;

	/* what earlier sessions of this process counted stays */
	worker->rows_before = stats->rows_applied;
	worker->applies_before = stats->applies;
	worker->applied_ts = worker->row.position.applied_ts;
	worker->last_ts = worker->row.position.last_ts;
	worker->last_crc = worker->row.position.last_crc;
	worker->fed_any = false;
	stats->applied_ts = worker->applied_ts;
	if (stats->durable_ts == 0)
		stats->durable_ts = worker->applied_ts;
	if (stats->lag_messages == 0 && !worker->source)
		stats->lag_messages = stats->high_watermark = -1;
}

StreamOutcome
stream_run(Worker *worker)
{
	StreamOutcome outcome;
	ApplyConfig config;

	if (!load_row(worker, &outcome))
		return outcome;
	begin_session(worker);
	if (worker->feed->uri->kind == FEED_SOURCE_FILE)
		feed_api()->check_file_directory(worker->feed->uri->topic);
	fill_apply_config(worker->feed, &config);
	config.applied_ts = worker->applied_ts;
	worker->apply = apply_open(&config);
	MemoryContextSwitchTo(worker->context);
	worker->decoder = decoder_create(
		worker->feed->uri->kind == FEED_SOURCE_KAFKA ? DECODER_TIDB_BINLOG : DECODER_PB_BINLOG);
	if (!worker->decoder)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (!open_source(worker, &outcome))
		return outcome;
	/* `waiting` for a lock lasts until a commit has gone through */
	if (worker->lock_waits == 0)
		slot_set_state(worker->slot, FEED_RUNNING, NULL);
	return main_loop(worker);
}
