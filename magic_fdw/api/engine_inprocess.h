/*
 * engine_inprocess.h
 *		What the files of the in-process engine share. Nobody else includes it.
 */
#ifndef ENGINE_INPROCESS_H
#define ENGINE_INPROCESS_H

#include "magic_compat.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "storage/lockdefs.h"

#include "api/magic_api.h"

/*
 * The access method of tables that the engine creates. The build may name another one, to compare
 * the engine's own with PostgreSQL's heap.
 */
#ifndef INPROCESS_ACCESS_METHOD
#define INPROCESS_ACCESS_METHOD "magic"
#endif

/* Rows given to the table access method in one call. */
#define INPROCESS_INSERT_CHUNK 1000

struct MagicConnection
{
	MemoryContext context; /* of the connection */
	MemoryContext txn;	   /* of the running transaction; a child of `context` */
	bool in_transaction;
	int32 feed_id;
	List *tables; /* MagicTable *, opened in this transaction */
};

/*
 * A table open for writing. Everything in it belongs to the transaction.
 */
struct MagicTable
{
	MagicConnection *conn;
	Oid relid;
	Relation rel;
	EState *estate;
	ResultRelInfo *result_rel;
	BulkInsertState bulk;
	TupleTableSlot **slots; /* [INPROCESS_INSERT_CHUNK], made when needed */
	int nslots;
	TupleTableSlot *found; /* the row a lookup found */

	/* The unique index by which rows are located; key_index NULL = none fits, or not looked for. */
	Relation key_index;
	List *arbiters;
	int nkeys;
	ScanKeyData keys[INDEX_MAX_KEYS];
	int key_column[INDEX_MAX_KEYS]; /* vector of each index column */
};

extern const MagicEngine inprocess_engine;

/* engine_inprocess.c */
extern void inprocess_close_tables(MagicConnection *conn);

/* Become the owner of a relation; undone by inprocess_restore_user or the end of transaction. */
typedef struct SavedUser
{
	Oid userid;
	int sec_context;
} SavedUser;

extern void inprocess_become(Oid owner, SavedUser *saved);
extern void inprocess_restore_user(const SavedUser *saved);

/* inprocess_write.c */
extern void inprocess_write(MagicTable *table, const MagicBatch *batch, MagicWriteResult *result);
extern int64 inprocess_truncate(MagicTable *table);

/* inprocess_ddl.c */
extern void inprocess_lock(Oid relid, LOCKMODE mode);
extern void inprocess_create_schema(MagicConnection *conn, const char *name, Oid owner);
extern void inprocess_drop_schema(MagicConnection *conn, const char *name, Oid owner);
extern Oid inprocess_create_table(MagicConnection *conn, const MagicTableDef *def);
extern void inprocess_drop_table(MagicConnection *conn, Oid relid);
extern void inprocess_grant_readers(MagicConnection *conn, Oid relid, List *readers);
extern void inprocess_rename_table(MagicConnection *conn, Oid relid, const char *schema,
								   const char *name);
extern void inprocess_alter_table(MagicConnection *conn, Oid relid, const MagicAlter *steps,
								  int nsteps);
extern MagicTableDef *inprocess_describe(MagicConnection *conn, Oid relid);

/* inprocess_scan.c */
extern MagicScan *inprocess_scan_begin(MagicConnection *conn, Oid relid, const int16 *columns,
									   int ncolumns, const MagicCondition *conditions,
									   int nconditions, int64 read_ts);
extern bool inprocess_scan_next(MagicScan *scan, MagicBatch *batch);
extern void inprocess_scan_end(MagicScan *scan);

#endif /* ENGINE_INPROCESS_H */
