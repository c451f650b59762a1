/*
 * apply_int.h
 *		What the files of apply share. Nobody else includes it.
 *
 * Words: a *table* (ApplyTable) is one TiDB table of the feed with the relation it goes to; an
 * *image* is one row's values, converted; a *window* holds the images of one table since the
 * last write, folded; a *cut* is a commit TS (see apply.h).
 */
#ifndef APPLY_INT_H
#define APPLY_INT_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "pgtime.h"
#include "utils/hsearch.h"

#include "api/magic_api.h"
#include "apply/apply.h"
#include "ddl/ddl.h"
#include "decode/event.h"

/* A cut is due after so many row changes. */
#define CUT_ROWS 262144
/* A window is written when it holds so many images. */
#define WINDOW_ROWS 131072

/* The small packs of a table are merged after so many applies that wrote to it. */
#define APPLIES_PER_MERGE 32

/* How a value is converted; chosen once for each column. */
typedef enum ConvertFamily
{
	CONVERT_INT2,
	CONVERT_INT4,
	CONVERT_INT8,
	CONVERT_NUMERIC_INT, /* integers as numeric(20,0) */
	CONVERT_FLOAT4,
	CONVERT_FLOAT8,
	CONVERT_NUMERIC,
	CONVERT_DATE,
	CONVERT_TIMESTAMP,
	CONVERT_TIMESTAMPTZ,
	CONVERT_INTERVAL,
	CONVERT_TEXT,
	CONVERT_BYTEA,
	CONVERT_ENUM,
	CONVERT_SET,
	CONVERT_JSONB,
	CONVERT_VECTOR,
	CONVERT_INPUT /* by the type's input function: adopted tables with types of their own */
} ConvertFamily;

/* What a policy replaced or could not say exactly; counted in feed_tables.warnings. */
typedef enum Warning
{
	WARNING_ZERO_DATE,
	WARNING_BAD_TEXT,
	WARNING_ENUM_NUMBER,
	WARNING_DEFAULT_NOW, /* ADD COLUMN ... DEFAULT CURRENT_TIMESTAMP: by the DDL's commit TS */
	WARNING_CONVERTED,	 /* a type change converted the rows here */
	WARNING_UNKNOWN_COLUMN,
	NWARNINGS
} Warning;

typedef struct ApplyColumn
{
	/* As TiDB has it. */
	char *name;
	EventType type;
	bool is_unsigned;
	int length;	  /* -1 = unknown */
	int decimals; /* -1 = unknown */
	bool not_null;
	bool generated;
	int nmembers; /* of ENUM and SET; 0 = unknown */
	char **members;

	/* Here. */
	char *pgname; /* NULL = left out */
	int16 attno;  /* 0 = left out */
	Oid pgtype;
	int32 typmod;
	bool key;
	int vector; /* in the window; -1 = none */
	ConvertFamily family;
	FmgrInfo input; /* of CONVERT_INPUT */
	Oid input_param;
} ApplyColumn;

/* Text of the stream for messages: printf("%.*s", SLICE(x)). */
#define SLICE(s) ((int) (s).len), ((s).data ? (s).data : "")

/* A unique key: names[0] is its name ("PRIMARY"), the rest its columns. */
typedef struct ApplyKey
{
	int n;
	char **names;
	bool usable; /* no prefix, no expression; all columns NOT NULL */
} ApplyKey;

typedef struct Window Window;

typedef enum TableState
{
	TABLE_OK,
	TABLE_KEY_UNKNOWN,
	TABLE_PENDING_DDL,
	TABLE_RESYNC_NEEDED,
	TABLE_UNVERIFIED,
	TABLE_UNSUPPORTED,
	TABLE_DETACHED,
	TABLE_ERROR
} TableState;

typedef struct ApplyTable
{
	char *hash_key; /* lower(database) '\x1f' lower(table) */
	MemoryContext context;
	char *database; /* TiDB's spelling */
	char *table;
	char *database_key; /* lower case */
	char *table_key;
	Oid relid;
	bool adopted;
	TableState state;
	char *state_detail;
	bool filtered; /* not in the feed's filter: no registry row, no relation */
	int ncolumns;
	ApplyColumn *columns;
	List *unique_keys; /* ApplyKey *, PRIMARY first; other indexes, not usable, for their names */
	int nkeys;		   /* columns with key set; 0 = rows matched whole */

	/* The running transaction. */
	MagicTable *handle; /* NULL = not opened */
	uint64 generation;	/* of the relation caches, when the relation was matched */
	Window *window;		/* NULL until the first row */

	/* From the last row description to columns[], by event column; -1 = left out. */
	uint64 mapped_serial;
	int nmapped;
	int *map;
	int nmissing; /* vectors that the description lacks */
	int *missing;
	bool lacks_required; /* one of them is NOT NULL */

	int writes; /* applies since the last merge of packs */

	/* Counters of the running transaction, and warnings ever. */
	int64 inserted;
	int64 updated;
	int64 deleted;
	int64 missing_old;
	int64 insert_conflict;
	int64 last_change_ts;
	int64 warnings[NWARNINGS];
	bool warnings_changed;
} ApplyTable;

/* An entry of the hash table of tables. */
typedef struct TableEntry
{
	char key[512];
	ApplyTable *table;
} TableEntry;

struct Apply
{
	MemoryContext context;
	MemoryContext tables_context; /* parent of every ApplyTable */
	MemoryContext work_context;	  /* of one call */
	MemoryContext window_context; /* images; reset when all windows were written */
	ApplyConfig config;
	List *filter; /* of FilterRule * */
	List *routes; /* of RouteRule * */
	List *readers;
	pg_tz *zone; /* of the source's TIMESTAMP; NULL = UTC */
	const MagicEngine *engine;
	MagicConnection *conn;
	HTAB *tables; /* by hash_key */

	/* The cut that is committed, and the one that is being made. */
	int64 applied_ts;
	int64 next_ts;
	int64 record_ts; /* of the record whose events come in now; 0 = between records */
	bool in_transaction;
	bool position_set;
	MemoryContext position_context;
	MagicPosition position;
	bool cut_due;
	bool merge_due;
	List *touched; /* ApplyTable * with a handle or counters */
	List *windows; /* ApplyTable * with images */
	int nrelations;
	int max_relations;
	int64 rows_in_transaction;

	/* The event under way, for messages. */
	const ApplyTable *current_table;
	const ApplyColumn *current_column;
	uint64 current_ts;

	/* Row description that came last. */
	uint64 last_serial;
	ApplyTable *last_table;

	Arena *ddl_arena;
	char *detail;
	ApplyStats stats;
};

/* apply.c */
extern void apply_phase(Apply *apply, ApplyPhase phase);
extern void apply_ensure_transaction(Apply *apply);
extern void apply_flush(Apply *apply);
extern void apply_open_handle(Apply *apply, ApplyTable *table);
extern void apply_close_handles(Apply *apply);

/* convert.c */
extern void convert_map_type(const ApplyColumn *column, Oid *type, int32 *typmod);
extern void convert_choose(ApplyColumn *column, Oid type, int32 typmod);
extern Datum convert_value(Apply *apply, ApplyTable *table, const ApplyColumn *column,
						   const EventValue *value, bool *isnull);
extern void convert_warn(ApplyTable *table, Warning warning);
extern char *convert_default(Apply *apply, ApplyTable *table, const ApplyColumn *column,
							 const DdlDefault *def, uint64 commit_ts);

/* convert_time.c */
extern Datum convert_date(Apply *apply, ApplyTable *table, const ApplyColumn *column,
						  const char *text, size_t len, bool *isnull);
extern Datum convert_timestamp(Apply *apply, ApplyTable *table, const ApplyColumn *column,
							   const char *text, size_t len, bool *isnull);
extern Datum convert_interval(const char *text, size_t len);
extern bool convert_can_be_zero_date(const ApplyColumn *column);

/* convert_text.c */
extern Datum convert_text(Apply *apply, ApplyTable *table, const ApplyColumn *column,
						  const char *data, size_t len);
extern Datum convert_json(Apply *apply, ApplyTable *table, const ApplyColumn *column,
						  const char *data, size_t len);
extern Datum convert_vector(const char *data, size_t len);

/* names.c */
extern char *name_lower(const char *data, size_t len);
extern char *name_mangle(const char *name);
extern char *name_column(const char *name, bool fold);
extern void name_check(const char *data, size_t len, const char *what);
extern bool name_schema_protected(const char *schema);

/* filter.c */
extern List *filter_parse(const char *text);
extern bool filter_matches(List *rules, const char *database, const char *table);
extern bool filter_matches_database(List *rules, const char *database);
extern List *routes_parse(const char *text);
extern bool routes_target(List *rules, const char *database, const char *table, char **schema,
						  char **name);

/* registry.c */
extern ApplyTable *registry_find(Apply *apply, const char *database, size_t database_len,
								 const char *table, size_t table_len);
extern ApplyTable *registry_add(Apply *apply, const char *database, size_t database_len,
								const char *table, size_t table_len);
extern ApplyTable *registry_find_by_name(Apply *apply, const char *table, size_t len, int *nfound);
extern List *registry_relations(Apply *apply);
extern List *registry_tables_of(Apply *apply, const char *database, size_t len);
extern void registry_store(Apply *apply, ApplyTable *table);
extern void registry_remove(Apply *apply, ApplyTable *table);
extern void registry_rename(Apply *apply, ApplyTable *table, const char *database,
							size_t database_len, const char *name, size_t name_len);
extern void registry_store_counters(Apply *apply, ApplyTable *table);
extern void registry_forget(Apply *apply);
extern void registry_resolve(Apply *apply, ApplyTable *table);
extern void registry_set_state(Apply *apply, ApplyTable *table, TableState state,
							   const char *detail);

/* relation.c */
extern void relation_create(Apply *apply, ApplyTable *table);

/* rows.c */
extern void rows_take(Apply *apply, const Event *event);

/* window.c */
extern void window_add(Apply *apply, ApplyTable *table, const Event *event);
extern void window_write(Apply *apply, ApplyTable *table);
extern bool window_full(ApplyTable *table);

/* schema.c */
extern DdlStatement *schema_read(Apply *apply, const Event *event);
extern bool schema_needs_cut(const DdlStatement *stmt);
extern void schema_execute(Apply *apply, const Event *event, const DdlStatement *stmt);

/* schema_alter.c */
extern void schema_alter_table(Apply *apply, ApplyTable *table, const Event *event,
							   const DdlStatement *stmt);
extern void schema_add_keys(ApplyTable *table, const DdlKey *keys, int nkeys);
extern void schema_drop_key(ApplyTable *table, const char *name, size_t len);
extern void schema_choose_key(ApplyTable *table);
extern void schema_rekey(Apply *apply, ApplyTable *table);

/* schema_column.c */
extern void schema_column_define(Apply *apply, ApplyTable *table, ApplyColumn *column,
								 const DdlColumn *from);
extern ApplyColumn *schema_find_column(ApplyTable *table, const char *name, size_t len);

#endif /* APPLY_INT_H */
