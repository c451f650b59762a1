/*
 * feed.h
 *		The control plane of feeds: what the SQL surface stores, what workers publish.
 *
 * A feed is one configured stream (a row of magic.feed). A slot is the place in shared memory where
 * the feed's worker publishes its state and statistics and where backends leave requests for it.
 * The launcher owns the life of slots; a worker owns the contents of the slot it was started for.
 *
 * Durable state (tables of the extension, see feed.sql):
 *	magic.feed			what the user asked for; written by the SQL functions only
 *	magic.feed_position	where the feed is; one row per (feed, topic, partition), made by create_feed,
 *						updated by the apply in the same transaction as the data
 *	magic.feed_rest		why a feed does not run although it should: error or stopped; written by
 *						the worker before it exits, removed by resume
 *
 * This header is used by both libraries. magic_ingest does not link magic_fdw: it finds the
 * functions in FeedApi through the rendezvous variable FEED_RENDEZVOUS.
 */
#ifndef FEED_H
#define FEED_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Bumped whenever anything in this header changes; a worker refuses another stamp. */
#define FEED_ABI_VERSION 2
#define FEED_RENDEZVOUS "magic_fdw.feed"

#define FEED_MAX_SLOTS 128	  /* feeds in one server */
#define FEED_MAX_HOLDS 32	  /* backends that keep workers away at one time */
#define FEED_MAX_SCANS 64	  /* databases waiting for a scan */
#define FEED_DETAIL_LEN 256	  /* bytes of state_detail, with its NUL */
#define FEED_MESSAGE_LEN 1024 /* bytes of an error's message, detail, hint, each with its NUL */
#define FEED_DEFAULT_MEMORY ((int64) 256 * 1024 * 1024)

/* Where the bytes come from. */
typedef enum FeedSourceKind
{
	FEED_SOURCE_KAFKA,
	FEED_SOURCE_FILE
} FeedSourceKind;

/* A name and its value, already percent-decoded. */
typedef struct FeedUriOption
{
	char *name;
	char *value;
} FeedUriOption;

/* A source URI, parsed and checked (feed_uri.c). All strings are palloc'd. */
typedef struct FeedUri
{
	FeedSourceKind kind;
	char *brokers;	 /* Kafka: "h:p[,h:p]"; else NULL */
	char *topic;	 /* Kafka: topic; file: the directory as written */
	char *protocol;	 /* "tidb-binlog" */
	char *time_zone; /* zone of TIMESTAMP text in the stream; "UTC" if not given */
	bool time_zone_given;
	List *kafka_options; /* of FeedUriOption *: librdkafka's own names, from the allow-list */
} FeedUri;

/*
 * A row of magic.feed, as the worker and the apply see it. Strings are never NULL unless said so.
 * Enumerations keep the text of sql-surface; only the values implemented can be stored.
 */
typedef struct Feed
{
	int32 id;
	char *name;
	Oid owner; /* the role that owns the feed and its tables */
	char *owner_name;
	char *source; /* the URI */
	FeedUri *uri;
	int64 apply_interval_us; /* 0 = commit at each resolved TS */
	int64 start_ts;			 /* exclusive; 0 = from the beginning */
	int64 stop_ts;			 /* 0 = none */
	char *tables;			 /* table filter, TiDB's syntax, comma separated; default '*.*' */
	char *routes;			 /* NULL = database -> schema of the same name */
	char *names;			 /* keep | lower */
	char *names_as;			 /* table */
	char *readers;			 /* roles, comma separated; NULL = none */
	int64 memory_limit;		 /* bytes the worker may hold */
	int64 spill_limit;		 /* bytes of temporary files */
	char *on_error;			 /* stop */
	char *on_gap;			 /* stop | ignore */
	char *on_zero_date;		 /* null | error | -infinity */
	char *on_bad_text;		 /* replace | error */
	char *on_lock;			 /* wait */
	char *on_dependent;		 /* stop */
	char *on_missing;		 /* count | stop */
	char *on_local_write;	 /* refuse | allow */
	char *old_value;		 /* on */
	int64 ddl_rewrite_limit; /* bytes; -1 = no limit */
	bool enabled;
	bool paused;
} Feed;

/*
 * Where a feed is: a row of magic.feed_position. The apply updates it in the transaction that
 * writes the data; every column below but the key is written together.
 */
typedef struct FeedPosition
{
	int32 feed_id;
	char *topic;		 /* for files the directory */
	int32 partition;	 /* 0 for tidb-binlog and files */
	char *position;		 /* next byte to read: "OFFSET", or "FILE:BYTE"; NULL = from the start */
	int64 applied_ts;	 /* all commit TSs at or below are in the tables; 0 = none */
	char *last_position; /* the last applied message: its own position; NULL = none yet */
	uint32 last_crc;	 /* CRC-32C of its value */
	int64 last_ts;		 /* its commit TS */
} FeedPosition;

/* The closed set of states of view magic.feeds; feed_state_name() gives the text. */
typedef enum FeedState
{
	FEED_STARTING,
	FEED_RUNNING,
	FEED_WAITING,
	FEED_RETRYING,
	FEED_PAUSED,
	FEED_STOPPED,
	FEED_ERROR,
	FEED_NEEDS_ADOPT,
	FEED_NO_WORKER_SLOT,
	FEED_SOURCE_BEHIND,
	FEED_DISABLED
} FeedState;

/* What a worker publishes; all of it lost at a restart. Guarded by the slot's lock. */
typedef struct FeedStats
{
	int64 resolved_ts;		   /* highest commit TS seen in the source */
	int64 applied_ts;		   /* as committed */
	int64 durable_ts;		   /* as flushed to disk */
	TimestampTz applied_at;	   /* end of the last apply */
	TimestampTz next_apply_at; /* 0 = not known */
	int64 oldest_pending_ms;   /* Kafka timestamp or first sight of the oldest event not applied, ms
							   * since 1970; 0 = nothing pending */
	int64 rows_applied;
	int64 applies;
	double rows_per_second; /* moving over some seconds, as of rate_at */
	double messages_per_second;
	TimestampTz rate_at;
	int64 dropped_rows;	  /* messages dropped as replays */
	int64 lag_messages;	  /* end of the source - position; bytes for files; -1 = not known */
	int64 high_watermark; /* end of the source; -1 = not known */
	int64 memory_bytes;
	int64 spill_bytes;
} FeedStats;

/* How a worker left; the launcher decides by it what comes next. */
typedef enum FeedExit
{
	FEED_EXIT_CRASH,   /* without a word: start again after a back-off */
	FEED_EXIT_RETRY,   /* start again at retry_at */
	FEED_EXIT_RESTART, /* its configuration changed: start again at once */
	FEED_EXIT_REST	   /* paused, stopped, in error, dropped: wait until wanted again */
} FeedExit;

typedef struct FeedErrorInfo
{
	int sqlstate; /* 0 = no error */
	TimestampTz at;
	char message[FEED_MESSAGE_LEN];
	char detail[FEED_MESSAGE_LEN];
	char hint[FEED_MESSAGE_LEN];
} FeedErrorInfo;

/*
 * A slot. `in_use`, `database` and `feed_id` change under FeedShared.lock exclusive only; the rest
 * under the slot's own lock. A lock holder does no I/O and no catalog access.
 */
typedef struct FeedSlot
{
	LWLock lock;
	bool in_use;
	Oid database;
	int32 feed_id;

	/* the worker */
	bool wanted;		  /* should run: enabled, not paused, not at rest */
	pid_t pid;			  /* 0 = none */
	Latch *latch;		  /* its process latch, NULL = none */
	FeedExit exit;		  /* why it left */
	uint32 failures;	  /* exits in a row without a commit between; the back-off */
	TimestampTz retry_at; /* not started before; 0 = at once */

	FeedState state;
	char state_detail[FEED_DETAIL_LEN];
	FeedErrorInfo error; /* the last one, kept while the feed runs on */
	FeedStats stats;

	/* wait_for(feed, 'end'): a caller raises end_requested, the worker asks the source */
	uint64 end_requested;
	uint64 end_reached; /* every request up to this one has been reached */

	ConditionVariable changed; /* broadcast after each commit and each change of state */
} FeedSlot;

/*
 * A backend that needs workers out of the way until its transaction ends (DROP DATABASE, DROP
 * EXTENSION, drop_feed, seek). While a hold stands, nothing is started for what it covers, and a
 * worker that it covers leaves at its next safe point.
 */
typedef struct FeedHold
{
	pid_t holder; /* 0 = free */
	Oid database;
	int32 feed_id; /* 0 = every feed of the database */
} FeedHold;

typedef struct FeedShared
{
	int abi_version;
	LWLock lock;		   /* allocation of slots, holds, scan requests, the scanner */
	Latch *launcher_latch; /* NULL = no launcher */
	bool scan_all;		   /* look for databases again, from the first */
	Oid scan_after;		   /* a look at all databases goes on behind this one, InvalidOid = none */
	int n_scan_requests;   /* databases whose magic.feed changed, or whose turn it is */
	Oid scan_requests[FEED_MAX_SCANS];
	Oid scanner_database; /* the scanner at work, InvalidOid = none */
	bool scanner_done;	  /* it reached its end */
	bool scanner_found;	  /* and found the extension there */
	FeedHold holds[FEED_MAX_HOLDS];
	ConditionVariable quiet; /* broadcast when a worker or the scanner has left */
	FeedSlot slots[FEED_MAX_SLOTS];
} FeedShared;

/* What magic_fdw offers to magic_ingest. */
typedef struct FeedApi
{
	int abi_version;
	FeedShared *(*shared)(void);
	const char *(*state_name)(FeedState state);
	/* Parses and checks a URI; raises 22023. Memory: the current context. */
	FeedUri *(*parse_uri)(const char *uri);
	/* Raises unless the real path of `directory` is below magic.file_source_dirs. */
	void (*check_file_directory)(const char *directory);
	/* Whether some backend wants this feed's worker (feed_id 0: the database's scanner) away. */
	bool (*is_held)(Oid database, int32 feed_id);
	/* The slot of a feed, NULL if none. Caller holds FeedShared.lock. */
	FeedSlot *(*find_slot)(Oid database, int32 feed_id);
	/* Asks the launcher to read magic.feed of a database again; InvalidOid = all databases. */
	void (*request_scan)(Oid database);
} FeedApi;

extern void feed_init(void);

#endif /* FEED_H */
