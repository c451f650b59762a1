/*
 * engine.h
 *		What the rest of the extension may use of the Magic Engine.
 *
 * Tables of the access method `magic` are read and written through PostgreSQL's own table AM and index
 * interfaces; nothing here is needed for that. This header adds what those interfaces cannot say.
 */
#ifndef MAGIC_ENGINE_H
#define MAGIC_ENGINE_H

#include "postgres.h"

#include "utils/rel.h"
#include "utils/snapshot.h"

/* Module start, in the postmaster: shared memory, hooks, callbacks. */
extern void engine_init(void);

/* Is this a table of the access method `magic`? */
extern bool engine_is_magic(Relation rel);

/*
 * Takes the lock that stands for every row of the table, so that the deletes that follow take no row
 * locks. Held to the end of the transaction. Waits only if `wait`; returns whether it is held.
 */
extern bool engine_lock_all_rows(Relation rel, bool wait);

/*
 * Removes every row of the table as an MVCC change: readers with older snapshots keep their rows, no
 * exclusive lock is taken. Waits for writers of single rows. Index entries go with the next VACUUM.
 * Returns the number of rows that the packs held, deleted ones included. The caller holds
 * RowExclusiveLock on the table.
 */
extern uint64 engine_delete_all(Relation rel);

/*
 * Merges neighbouring packs of the table in the current transaction where that pays, and folds rows that
 * nobody can see any more. Returns the number of packs that were replaced; 0 also if another merge of
 * this table is running.
 */
extern int64 engine_compact(Relation rel);

/*
 * First row numbers of at most `n` ranges of about equal numbers of stored rows, on borders of packs,
 * as the snapshot sees them. Returns how many were written to `starts` (ascending, the first is 0).
 */
extern int engine_partitions(Relation rel, Snapshot snapshot, int n, uint64 *starts);

/* The TID of a row number and back. */
#define ENGINE_ROWS_PER_TID_BLOCK 291

#endif /* MAGIC_ENGINE_H */
