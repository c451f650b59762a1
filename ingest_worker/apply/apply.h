/*
 * apply.h
 *		Apply: turns a feed's events into the rows of its tables, one cut after the other.
 *
 * A *cut* is a commit TS up to which everything is applied. One apply transaction moves all tables
 * of the feed from one cut to the next and stores the source position with the rows, so that
 * both become visible together or not at all. The atomic unit is one source record (for
 * tidb-binlog: one TiDB transaction or one DDL); apply decides when a cut is due.
 *
 * How the worker calls it, with no transaction open:
 *
 *		apply = apply_open(&config);
 *		for each record from the stored position on:
 *			for each event that the decoder yields:
 *				status = apply_event(apply, event);		APPLY_RETRY: see below
 *			status = apply_record_end(apply, &record);
 *			if (status == APPLY_CUT || interval is over || source is empty)
 *				status = apply_commit(apply);
 *
 * An Apply lives as long as the memory context it was opened in; the worker ends its stream, and with
 * it that context, to take over changed settings.
 *
 * Apply opens the transaction itself, at the first event after a commit, and holds locks on the
 * tables it writes until apply_commit. So a worker that waits for its next deadline does so
 * after apply_commit and leaves records in the source's buffer meanwhile.
 *
 * APPLY_RETRY from apply_event or apply_commit: a lock could not be had (or a deadlock or
 * serialisation failure came up); nothing of the running transaction is left. The worker shows
 * apply_detail() as state detail, sleeps (back-off), and feeds the records again from
 * the stored position on. The event that failed may be fed again as soon as all before it have been.
 * What is fed again below the applied cut is skipped by apply itself.
 *
 * Errors are raised by ereport(ERROR), with the table, the commit TS and the next step. The worker
 * catches them, calls apply_abort(), and decides by the SQLSTATE whether to retry or to rest.
 * After apply_abort the stream goes on from the stored position, as after APPLY_RETRY.
 *
 * A DDL that needs an exclusive lock gets a cut of its own: apply_event commits what came before it
 * (at the end of the last record) and apply_record_end then answers APPLY_CUT.
 *
 * Memory: row images are held in windows, one for each table, folded by key; when all windows
 * together reach half of memory_limit they are written into the open transaction. The size of a
 * TiDB transaction is therefore not limited by memory.
 */
#ifndef APPLY_H
#define APPLY_H

#include "postgres.h"

#include "nodes/pg_list.h"

struct Event; /* decode/event.h */

typedef struct Apply Apply;

typedef enum ApplyStatus
{
	APPLY_OK,
	APPLY_SKIPPED, /* at or below the applied cut, or not in the filter */
	APPLY_CUT,	   /* limits reached: call apply_commit before the next record */
	APPLY_RETRY	   /* rolled back; feed again from the stored position */
} ApplyStatus;

/* What a value policy says. */
typedef enum ApplyZeroDate
{
	ZERO_DATE_NULL,
	ZERO_DATE_ERROR,
	ZERO_DATE_MINUS_INFINITY
} ApplyZeroDate;

/* Phases, for state displays and for tests that stop or kill a worker at each of them. */
typedef enum ApplyPhase
{
	APPLY_PHASE_CONVERT, /* events into windows */
	APPLY_PHASE_LOCATE,	 /* before old rows are looked up and deleted */
	APPLY_PHASE_WRITE,	 /* before new rows are inserted */
	APPLY_PHASE_BEFORE_POSITION,
	APPLY_PHASE_BEFORE_COMMIT, /* position stored, transaction open */
	APPLY_PHASE_COMMITTED
} ApplyPhase;

/*
 * The feed's settings that apply needs; copied by apply_open. NULL or 0 = the default.
 */
typedef struct ApplyConfig
{
	int32 feed_id;		   /* magic.feed's key */
	const char *feed_name; /* for messages */
	Oid owner;			   /* role that created the feed: owner of its tables */
	const char *engine;	   /* 'magic' */
	Oid engine_server;	   /* InvalidOid = in process */
	const char *time_zone; /* in which the source writes TIMESTAMP; default UTC */
	bool keys_in_source;   /* the protocol names the keys (Kafka) or not (files) */
	const char *tables;	   /* table filter, default '*.*' */
	const char *routes;	   /* 'db.table -> schema.table' list */
	bool fold_names;	   /* names = lower */
	const char *readers;   /* comma list of roles that get SELECT */
	int64 start_ts;		   /* exclusive; 0 = none */
	int64 applied_ts;	   /* the stored position's cut; 0 = none yet */
	Size memory_limit;	   /* bytes; default 256 MB */
	ApplyZeroDate on_zero_date;
	bool error_on_bad_text; /* on_bad_text = error */
	bool stop_on_missing;	/* on_missing = stop */
	bool allow_local_write; /* on_local_write = allow */
	int lock_timeout_ms;	/* for DDL; default 1000 */

	/* Called at each phase; may be NULL. Must not raise errors. */
	void (*phase)(void *arg, ApplyPhase phase);
	void *phase_arg;
} ApplyConfig;

/* The end of one record: where the source stands once everything up to here is applied. */
typedef struct ApplyRecordEnd
{
	const char *topic; /* for files: the directory */
	int32 partition;
	const char *position;	   /* the source's text for "resume after this record" */
	const char *last_position; /* where this record itself stood; NULL = unknown */
	int64 commit_ts;		   /* of the record: the cut that may be made after it */
	int64 timestamp_ms;		   /* of the record, 0 = unknown */
	uint32 crc;				   /* CRC-32C of its value, 0 = unknown */
} ApplyRecordEnd;

/* Counters since apply_open; for the feed's view. */
typedef struct ApplyStats
{
	int64 rows;		  /* row changes committed */
	int64 applies;	  /* commits */
	int64 skipped;	  /* events at or below the cut */
	int64 applied_ts; /* the last committed cut */
	Size memory;	  /* bytes held now */
} ApplyStats;

/*
 * Start for one feed: checks the config, reads the registry and the cut. Opens and commits a
 * transaction of its own. Everything lives in a child of the current memory context.
 */
extern Apply *apply_open(const ApplyConfig *config);

/* The last committed cut; the config's before the first commit. */
extern int64 apply_applied_ts(Apply *apply);

/*
 * Take one event. It may point into memory that is gone after the call. Runs conversions, and
 * writes when the windows are full. A DDL is executed here.
 */
extern ApplyStatus apply_event(Apply *apply, const struct Event *event);

/*
 * All events of a record have been taken. Cheap; also to be called for a record without any
 * event for this feed, so that the position moves over it.
 */
extern ApplyStatus apply_record_end(Apply *apply, const ApplyRecordEnd *record);

/* Is there anything that apply_commit would commit: rows, DDL or a position? */
extern bool apply_pending(Apply *apply);

/*
 * Write the windows, store counters and positions, commit. A position that moved over nothing
 * but skipped records is committed as well. APPLY_OK or APPLY_RETRY.
 */
extern ApplyStatus apply_commit(Apply *apply);

/* Roll back the running transaction after an error; then feed again from the stored position. */
extern void apply_abort(Apply *apply);

/* Why the last call answered APPLY_RETRY: "waiting for lock on X held by pid N". */
extern const char *apply_detail(Apply *apply);

extern void apply_stats(Apply *apply, ApplyStats *stats);

#endif /* APPLY_H */
