/*
 * magic_api.h
 *		The Magic API: the contract between what writes or scans tables and what stores them.
 *
 * An *engine* stores tables. It is a struct of functions, MagicEngine, found by name in the
 * registry. A *connection* is one session with an engine (for the in-process engine: nothing but
 * a memory context). A *table* is an open handle that lives until the end of the transaction it
 * was opened in. A *batch* is a window of row images, column by column, plus two lists that say
 * which of the images are to be deleted and which are to be inserted.
 *
 * The ingest worker is a library of its own and does not link this one. It finds the registry by
 *
 *		MagicApi **api = (MagicApi **) find_rendezvous_variable(MAGIC_API_RENDEZVOUS);
 *
 * and checks (*api)->version == MAGIC_API_VERSION before any other use.
 *
 * Transactions.  begin() ... commit(position) makes everything that was written between, in all
 * tables, visible together with the source position, or nothing of it. An engine with the
 * capability MAGIC_CAP_LOCAL_TRANSACTION writes into the caller's PostgreSQL transaction: its
 * commit() stores the position, and the caller's CommitTransactionCommand makes it visible.
 * Any other engine has committed when commit() returns, and its position row is the truth on
 * restart. Functions raise errors by ereport(ERROR); after an error the only legal call is
 * abort().
 *
 * Order inside a batch.  All deletes of a batch are done before its first insert, so a swap of
 * keys among rows never meets a conflict. The caller folds: no key occurs twice among the
 * deletes, nor twice among the inserts. write() may be called any number of times in a
 * transaction; a later batch sees the effect of the earlier ones.
 *
 * Memory.  What the caller passes stays the caller's and must live until the call returns. What
 * an engine returns lives in the connection's memory unless the function says otherwise.
 */
#ifndef MAGIC_API_H
#define MAGIC_API_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/relcache.h"

#define MAGIC_API_VERSION 1
#define MAGIC_API_RENDEZVOUS "magic_fdw.api"

/* Capabilities: what an engine promises. create_feed warns about what is missing. */
#define MAGIC_CAP_LOCAL_TRANSACTION 0x0001	/* writes belong to the caller's transaction */
#define MAGIC_CAP_ATOMIC_MULTI_TABLE 0x0002 /* readers see all tables of a cut, or none */
#define MAGIC_CAP_READ_TS 0x0004			/* scans at an older commit TS */
#define MAGIC_CAP_KEYLESS 0x0008			/* tables without a key: rows matched whole */
#define MAGIC_CAP_TRANSACTIONAL_DDL 0x0010	/* DDL is undone by abort() */

typedef struct MagicConnection MagicConnection; /* the engine's own */
typedef struct MagicTable MagicTable;			/* the engine's own */
typedef struct MagicScan MagicScan;				/* the engine's own */

/* ---------------------------------------------------------------- definitions */

/*
 * A column as the type map defines it. `type` is a PostgreSQL type OID: the type map names the
 * same type for every engine, and a remote engine sends its name.
 */
typedef struct MagicColumnDef
{
	const char *name; /* at most 63 bytes, in the server's encoding */
	Oid type;
	int32 typmod; /* -1 = none */
	bool not_null;
	int16 attno; /* set by describe(); not read otherwise */

	/*
	 * For a column that is added to a table with rows: the value that they get, in the type's
	 * input syntax; NULL = SQL NULL. It is never kept as the column's default.
	 */
	const char *existing_value;
} MagicColumnDef;

typedef struct MagicTableDef
{
	const char *schema;
	const char *name;
	int ncolumns;
	MagicColumnDef *columns;
	int nkeys; /* 0 = no key */
	int *keys; /* indexes into columns */
	Oid owner;
	List *readers; /* role OIDs that get SELECT */
} MagicTableDef;

/* One step of an ALTER TABLE. All steps of one call take effect together. */
typedef enum MagicAlterKind
{
	MAGIC_ADD_COLUMN,	 /* column */
	MAGIC_DROP_COLUMN,	 /* name */
	MAGIC_RENAME_COLUMN, /* name -> column.name */
	MAGIC_ALTER_TYPE,	 /* name, column.type, column.typmod; using_text */
	MAGIC_SET_NOT_NULL,	 /* name */
	MAGIC_DROP_NOT_NULL, /* name */
	MAGIC_SET_KEY,		 /* keys: names, replaces the key there is */
	MAGIC_DROP_KEY
} MagicAlterKind;

typedef struct MagicAlter
{
	MagicAlterKind kind;
	const char *name;
	MagicColumnDef column;
	List *keys; /* of char *, for MAGIC_SET_KEY */

	/*
	 * For MAGIC_ALTER_TYPE: an SQL expression template over the old value, in which %s is the
	 * quoted column name; made by the caller from constants only. NULL = the assignment cast.
	 */
	const char *using_template;
} MagicAlter;

/* ---------------------------------------------------------------- batches */

#define MAGIC_BATCH_VERSION 1

/* The values of one column over all row images of a batch. */
typedef struct MagicVector
{
	Oid type;
	int32 typmod;
	int16 attno;   /* of the table; 1-based */
	bool key;	   /* part of the table's key */
	Datum *values; /* [capacity] */
	bool *nulls;   /* [capacity] */
} MagicVector;

/*
 * A batch: `nrows` row images in `ncolumns` vectors, and two selections of them.
 *
 * Table with a key: a deleted image needs its key columns only, the rest is undefined. An
 * inserted image replaces a row with its key if there is one (counted in conflicts).
 * Table without a key: a deleted image is matched whole, NULL equal to NULL; one image deletes
 * exactly one row.
 *
 * Columns of the table that have no vector get NULL. Both selections are sorted by key when the
 * table has one.
 */
typedef struct MagicBatch
{
	uint32 version; /* MAGIC_BATCH_VERSION */
	int ncolumns;
	MagicVector *columns;
	int nrows;
	int ndeletes;
	const int32 *deletes; /* [ndeletes] row images */
	int ninserts;
	const int32 *inserts; /* [ninserts] row images */
	int64 min_ts;		  /* commit TSs of the changes in here */
	int64 max_ts;
} MagicBatch;

/* What write() found; the fields are added to, never set. */
typedef struct MagicWriteResult
{
	int64 inserted;	 /* rows written */
	int64 deleted;	 /* rows removed for a delete image */
	int64 missing;	 /* delete images that met no row */
	int64 conflicts; /* rows replaced by an insert image */
} MagicWriteResult;

/* ---------------------------------------------------------------- positions */

/*
 * Where the source stands, kept with the data. One position for each (feed, topic, partition); in
 * process it is a row of magic.feed_position.
 */
typedef struct MagicPosition
{
	int32 feed_id;
	const char *topic; /* for files: the directory */
	int32 partition;
	const char *position;	   /* the source's own text: next offset, or file and byte */
	int64 applied_ts;		   /* the cut: everything at or below it is in the tables */
	const char *last_position; /* of the last applied record; NULL = none */
	uint32 last_crc;		   /* CRC-32C of its value */
	int64 last_ts;			   /* its commit TS */
} MagicPosition;

/* ---------------------------------------------------------------- scans */

typedef enum MagicCompare
{
	MAGIC_EQ,
	MAGIC_LT,
	MAGIC_LE,
	MAGIC_GE,
	MAGIC_GT,
	MAGIC_IS_NULL,
	MAGIC_IS_NOT_NULL
} MagicCompare;

/* column <op> value, with the type's default btree order and the collation "C". */
typedef struct MagicCondition
{
	int16 attno;
	MagicCompare compare;
	Datum value;
} MagicCondition;

/* ---------------------------------------------------------------- the engine */

typedef struct MagicEngine
{
	const char *name; /* of the SERVER option `engine` */
	uint32 capabilities;

	/* A session; `server` is the foreign server's OID, InvalidOid = in process. */
	MagicConnection *(*open)(Oid server);
	void (*close)(MagicConnection *conn);

	/*
	 * Start writing. The in-process engine is called inside the caller's transaction. `feed_id`
	 * fences a second writer: a feed that another session applies raises 55006.
	 */
	void (*begin)(MagicConnection *conn, int32 feed_id);
	void (*commit)(MagicConnection *conn, const MagicPosition *positions, int npositions);
	void (*abort)(MagicConnection *conn);

	/*
	 * The stored position, in the current memory context; false = none yet.
	 */
	bool (*position)(MagicConnection *conn, int32 feed_id, const char *topic, int32 partition,
					 MagicPosition *result);

	/*
	 * Open a table for writing; it stays open and locked (row exclusive, and the engine's own
	 * table tag for rows) until the transaction ends. Waits under the caller's lock_timeout; the
	 * error then says who holds it. NULL if it does not exist.
	 */
	MagicTable *(*open_table)(MagicConnection *conn, Oid relid);

	/* Close the tables that are open; their locks stay. Before DDL on one of them. */
	void (*close_tables)(MagicConnection *conn);

	/* Its present definition, in the current memory context. */
	MagicTableDef *(*describe)(MagicConnection *conn, Oid relid);

	/*
	 * Apply a batch. Table handles whose relation was altered in the same transaction must be
	 * opened again. Makes its own command counter increments.
	 */
	void (*write)(MagicTable *table, const MagicBatch *batch, MagicWriteResult *result);

	/*
	 * Remove all rows by MVCC: no exclusive lock, readers with older snapshots keep their rows.
	 * Returns how many there were, or -1 if the engine did not count them.
	 */
	int64 (*truncate)(MagicTable *table);

	/* DDL. Names are identifiers, never SQL. Objects belong to `owner`. */
	void (*create_schema)(MagicConnection *conn, const char *name, Oid owner);

	/* Drop a schema if it belongs to `owner` and holds nothing. */
	void (*drop_schema)(MagicConnection *conn, const char *name, Oid owner);
	Oid (*create_table)(MagicConnection *conn, const MagicTableDef *def);
	void (*drop_table)(MagicConnection *conn, Oid relid);

	/* Let these roles read a table that exists; those that may already are left alone. */
	void (*grant_readers)(MagicConnection *conn, Oid relid, List *readers);
	void (*rename_table)(MagicConnection *conn, Oid relid, const char *schema, const char *name);
	void (*alter_table)(MagicConnection *conn, Oid relid, const MagicAlter *steps, int nsteps);

	/*
	 * Merge the small packs that applies leave behind; returns how many were replaced. Called in a
	 * transaction of its own every few applies.
	 */
	int64 (*compact)(MagicConnection *conn, Oid relid);

	/*
	 * Read. `columns` are attribute numbers; conditions are joined by AND. `read_ts` 0 = the
	 * caller's snapshot. scan_next fills the batch with up to 1,024 rows (its vectors are the
	 * engine's, valid until the next call), false at the end.
	 */
	MagicScan *(*scan_begin)(MagicConnection *conn, Oid relid, const int16 *columns, int ncolumns,
							 const MagicCondition *conditions, int nconditions, int64 read_ts);
	bool (*scan_next)(MagicScan *scan, MagicBatch *batch);
	void (*scan_end)(MagicScan *scan);
} MagicEngine;

/* ---------------------------------------------------------------- the registry */

typedef struct MagicApi
{
	uint32 version; /* MAGIC_API_VERSION */

	/* The engine of that name; error 22023 that lists the known ones if there is none. */
	const MagicEngine *(*find_engine)(const char *name);

	/* Make an engine known; at library load only. */
	void (*register_engine)(const MagicEngine *engine);
} MagicApi;

/* Module start of this folder: publishes the registry, registers the in-process engine. */
extern void api_init(void);

#endif /* MAGIC_API_H */
