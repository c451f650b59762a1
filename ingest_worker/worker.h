/*
 * worker.h
 *		One feed's worker: worker.c is the process, stream.c the loop from source to tables.
 */
#ifndef WORKER_H
#define WORKER_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "apply/apply.h"
#include "decode/event.h"
#include "ingest.h"
#include "nodes/pg_list.h"
#include "source/source.h"
#include "utils/timestamp.h"

/* How a session of the stream ended. */
typedef enum StreamOutcome
{
	STREAM_AGAIN,	/* read on from the stored position, with the row read anew */
	STREAM_RESTART, /* leave and be started again: the configuration changed, or a hold */
	STREAM_REST,	/* leave: paused, disabled, dropped, stopped */
	STREAM_RETRY,	/* leave and come back after a back-off; worker.error says why */
	STREAM_ERROR	/* rest in state `error`; worker.error says why */
} StreamOutcome;

/* A call of wait_for(feed, 'end') that the source has answered. */
typedef struct EndRequest
{
	uint64 number;
	SourcePosition end;
} EndRequest;

/* Commits whose WAL is not known to be on disk yet. */
#define COMMIT_RING 64

typedef struct CommitRecord
{
	XLogRecPtr lsn;
	int64 ts;
} CommitRecord;

typedef struct Worker
{
	FeedSlot *slot;
	MemoryContext context;	   /* of the session: reset between sessions */
	MemoryContext row_context; /* of `row`, a child of `context` */
	FeedRow row;
	const Feed *feed; /* row.feed */

	Source *source;
	Decoder *decoder;
	Apply *apply;

	/* the record at hand */
	bool peeked;
	SourceRecord record;
	int64 record_ts; /* its commit TS, 0 = not looked at */

	/* state of the stream */
	int64 applied_ts;
	int64 last_ts; /* of the last record applied, with its CRC */
	uint32 last_crc;
	TimestampTz last_apply;
	TimestampTz next_apply;
	TimestampTz next_refresh;
	TimestampTz dropping_since; /* nothing but replays since then; 0 = not so */
	ApplyStatus event_status;	/* of the last apply_event */

	/*
	 * A record at which an apply failed. Everything before it is committed before it is tried
	 * again, so that the feed comes to rest directly before the record that cannot be applied.
	 */
	bool suspected;
	SourcePosition suspect;
	bool fed_any; /* some record of the open apply lies before the one at hand */

	uint64 end_taken;
	List *end_requests; /* of EndRequest *, oldest first */

	FeedStats stats;
	CommitRecord commits[COMMIT_RING];
	int n_commits;
	TimestampTz rate_since;
	int64 rate_rows;
	int64 rate_messages;
	int64 messages;	   /* since the session began */
	int64 rows_before; /* rows and applies of earlier sessions */
	int64 applies_before;
	uint32 lock_waits; /* in a row */

	FeedErrorInfo error;
} Worker;

/* stream.c: runs until something ends it; errors of PostgreSQL are raised. */
extern StreamOutcome stream_run(Worker *worker);

/* stream_stats.c */
extern void stream_note_commit(Worker *worker);
extern void stream_publish(Worker *worker);

#endif /* WORKER_H */
