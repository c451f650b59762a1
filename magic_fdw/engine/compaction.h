/*
 * compaction.h
 *		Which databases want a compaction worker, and what the workers have done.
 *
 * A writer whose table is due for a merge queues it (compact_queue.c); the launcher of library
 * magic_ingest starts a worker in its database (compact_worker.c), which merges until nothing is left
 * to do and leaves after a while. So a database that is not written to has no process.
 *
 * A line is one database. Whatever is queued for it lies in one queue of all databases; when that is
 * full, or its worker was lost, `look` tells the next worker to look at all of the database's tables.
 *
 * Everything here is guarded by CompactionShared.lock; who holds it does no I/O and no catalog access.
 * Lost at a restart of the server: the launcher's scanner notes each database that has the extension
 * (compaction_note_database), so that tables which were due are found again; if there are more than lines, those
 * of the others are when they are written to.
 */
#ifndef MAGIC_COMPACTION_H
#define MAGIC_COMPACTION_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Bumped whenever anything in this header changes. */
#define COMPACTION_ABI_VERSION 2
#define COMPACTION_RENDEZVOUS "magic_fdw.compaction"

/*
 * Databases in one server that have work, or had some; one that has none gives way to one that has. If all
 * have some, the writers of others merge for themselves.
 */
#define COMPACTION_DATABASES 1024
#define COMPACTION_QUEUE 1024

typedef struct CompactionLine
{
	Oid database;  /* InvalidOid = free */
	bool wanted;   /* there is something to do */
	bool look;	   /* look at every table */
	bool starting; /* the launcher has asked for a process that has not come yet */
	bool leave;	   /* somebody needs the database without workers */
	pid_t pid;	   /* 0 = none */
	Latch *latch;
	uint32 failures;	  /* processes in a row that ended otherwise than by themselves */
	TimestampTz retry_at; /* not started before */
} CompactionLine;

typedef struct CompactionShared
{
	int abi_version;
	LWLock lock;
	Latch *launcher_latch; /* NULL = no launcher */
	int nqueued;
	struct
	{
		Oid database;
		Oid relid;
	} queue[COMPACTION_QUEUE];
	CompactionLine lines[COMPACTION_DATABASES];
} CompactionShared;

/* What magic_fdw offers to magic_ingest. */
typedef struct CompactionApi
{
	int abi_version;
	CompactionShared *(*shared)(void);
	/* magic.compaction */
	bool (*enabled)(void);
	/* The extension exists in this database: the first time, its tables are looked at. */
	void (*note_database)(Oid database);
	/* The database is gone. */
	void (*forget_database)(Oid database);
} CompactionApi;

extern void compaction_init(void);
extern void compaction_note_database(Oid database);
extern void compaction_forget_database(Oid database);

/*
 * Queues a table of this database; a hint, at the end of the transaction that made it due. False: no
 * worker can come, the writer must merge by itself.
 */
extern bool compaction_queue(Oid relid);

/*
 * Asks the worker of the database to leave, by SIGTERM if `terminate`. True while there is one, or one
 * is about to start. Whoever asks has made sure that none is started again (feed_hold.c).
 */
extern bool compaction_ask_to_leave(Oid database, bool terminate);

/* The worker's side. */
extern CompactionLine *compaction_attach(Oid database);
extern int compaction_take(CompactionLine *line, Oid *relids, int room, bool *look);
extern bool compaction_may_leave(CompactionLine *line);

/* What was written to a table since the server started, in bytes of packs and deltas. */
typedef struct TableCounters
{
	uint64 written; /* by transactions that changed rows */
	uint64 merged;	/* by merges */
	uint64 merges;
	TimestampTz last_merge; /* 0 = none */
} TableCounters;

extern void table_counters_add_written(uint64 storage, uint64 bytes);
extern void table_counters_add_merge(uint64 storage, uint64 bytes);
extern bool table_counters_read(uint64 storage, TableCounters *counters);

/* compact_worker.c: the process; arg: the database's OID */
extern PGDLLEXPORT void magic_compaction_main(Datum arg);

/* Settings. */
extern bool compaction_enabled;
extern int compaction_rate_limit; /* MB per second; 0 = none */

#endif /* MAGIC_COMPACTION_H */
