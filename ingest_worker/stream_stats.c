/*
 * stream_stats.c
 *		What a running stream publishes in its slot.
 */
#include "worker.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "pgstat.h"
#include "utils/timestamp.h"

/* Rates are taken over this long, and follow a change within some such periods. */
#define RATE_PERIOD_US USECS_PER_SEC
#define RATE_WEIGHT 0.4

/* After a commit: its WAL is on disk once the flush pointer has passed it. */
void
stream_note_commit(Worker *worker)
{
	CommitRecord *commit;

	if (worker->n_commits == COMMIT_RING)
	{
		/* drop the one in the middle: durable_ts gets coarser, never wrong */
		memmove(&worker->commits[COMMIT_RING / 2], &worker->commits[COMMIT_RING / 2 + 1],
				sizeof(CommitRecord) * (COMMIT_RING / 2 - 1));
		worker->n_commits--;
	}
	commit = &worker->commits[worker->n_commits++];
	commit->lsn = XactLastCommitEnd;
	commit->ts = worker->applied_ts;
}

static void
update_durable(Worker *worker)
{
	XLogRecPtr flushed;
	int done = 0;

	if (worker->n_commits == 0)
		return;
	flushed = GetFlushRecPtr(NULL);
	while (done < worker->n_commits && worker->commits[done].lsn <= flushed)
		worker->stats.durable_ts = worker->commits[done++].ts;
	memmove(worker->commits, worker->commits + done,
			sizeof(CommitRecord) * (worker->n_commits - done));
	worker->n_commits -= done;
}

static void
update_rates(Worker *worker, TimestampTz now)
{
	FeedStats *stats = &worker->stats;
	double seconds;

	if (worker->rate_since == 0)
	{
		worker->rate_since = now;
		worker->rate_rows = stats->rows_applied;
		worker->rate_messages = worker->messages;
	}
	if (now - worker->rate_since < RATE_PERIOD_US)
		return;
	seconds = (now - worker->rate_since) / (double) USECS_PER_SEC;
	stats->rows_per_second += RATE_WEIGHT * ((stats->rows_applied - worker->rate_rows) / seconds -
											 stats->rows_per_second);
	stats->messages_per_second +=
		RATE_WEIGHT *
		((worker->messages - worker->rate_messages) / seconds - stats->messages_per_second);
	worker->rate_since = now;
	worker->rate_rows = stats->rows_applied;
	worker->rate_messages = worker->messages;
	stats->rate_at = now;
}

static int64
now_unix_ms(TimestampTz now)
{
	return now / 1000 +
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (SECS_PER_DAY * INT64CONST(1000));
}

/* Brings the slot's statistics up to date, and those that autovacuum goes by. */
void
stream_publish(Worker *worker)
{
	FeedStats *stats = &worker->stats;
	TimestampTz now = GetCurrentTimestamp();

	if (worker->apply)
	{
		ApplyStats apply;

		apply_stats(worker->apply, &apply);
		stats->rows_applied = worker->rows_before + apply.rows;
		stats->applies = worker->applies_before + apply.applies;
		stats->memory_bytes = apply.memory + decoder_memory(worker->decoder);
	}
	stats->applied_ts = worker->applied_ts;
	stats->resolved_ts = Max(stats->resolved_ts, worker->applied_ts);
	stats->applied_at = worker->last_apply;
	stats->next_apply_at = worker->next_apply;
	update_durable(worker);
	update_rates(worker, now);
	/* a background worker has to; at most once a second it does something */
	if (!IsTransactionOrTransactionBlock())
		(void) pgstat_report_stat(false);
	if (worker->peeked)
	{
		int64 at = worker->record.timestamp_ms ? worker->record.timestamp_ms : now_unix_ms(now);

		if (stats->oldest_pending_ms == 0 || worker->record.timestamp_ms)
			stats->oldest_pending_ms = at;
	}
	else
		stats->oldest_pending_ms = 0;
	if (worker->source)
	{
		SourcePosition here = worker->peeked ? worker->record.at : (SourcePosition){{0}, 0};

		/* nothing at hand means that everything there is has been read */
		stats->lag_messages = worker->peeked ? source_distance(worker->source, &here) : 0;
		if (stats->lag_messages >= 0 && worker->peeked && !here.file[0])
			stats->high_watermark = here.offset + stats->lag_messages;
	}
	slot_set_stats(worker->slot, stats);
}
