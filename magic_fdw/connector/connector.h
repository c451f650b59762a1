/*
 * connector.h
 *		The foreign data wrapper magic_fdw: what its files share.
 *
 *	option.c	options of servers, user mappings, tables and columns; the validator
 *	base.c		the relation behind a foreign table
 *	query.c		a query on that relation: parse, rewrite, plan, run, inside the caller's
 *	shippable.c	which expressions mean the same on the other side, and why not
 *	deparse.c	planner trees to SQL
 *	plan.c		sizes, paths and plans of scans
 *	join.c		joins on the other side
 *	upper.c		grouping and aggregation on the other side
 *	scan.c		execution of scans, EXPLAIN
 *	modify.c	INSERT, UPDATE, DELETE, TRUNCATE
 *	import.c	IMPORT FOREIGN SCHEMA, ANALYZE
 *
 * Words: the *base* is the relation behind a foreign table, the *inner* query is the one that runs
 * on it, the *outer* query is the user's.
 */
#ifndef CONNECTOR_H
#define CONNECTOR_H

#include "magic_compat.h"

#include "executor/execdesc.h"
#include "executor/tuptable.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "nodes/lockoptions.h"
#include "nodes/pathnodes.h"
#include "utils/tuplestore.h"

/* ---- option.c ---- */

/* What a server stands for. */
typedef enum ServerKind
{
	SERVER_MAGIC_LOCAL, /* engine 'magic' in this database: in process */
	SERVER_KAFKA_SOURCE /* source 'kafka': secrets of a feed, holds no tables */
} ServerKind;

/* Checks a server's whole option list and says what it stands for; raises what is wrong. */
extern ServerKind connector_server_kind(List *options);

/* Raises unless the server holds tables that can be queried in process. */
extern void connector_require_engine(ForeignServer *server);

/* The value of an option in a list of DefElem, or NULL. */
extern const char *connector_option(List *options, const char *name);

/* A boolean or positive integer option of the table, else of its server, else the default. */
extern bool connector_bool_option(Oid foreigntableid, const char *name, bool default_value);
extern int connector_int_option(Oid foreigntableid, const char *name, int default_value);

/* ---- base.c ---- */

/* A column of a foreign table and the one behind it. */
typedef struct BaseColumn
{
	const char *name;  /* name in the base; NULL if the foreign column is dropped */
	AttrNumber attnum; /* in the base; invalid if the base has no such column */
	Oid type;		   /* of the base's column */
	Oid collation;
	Oid foreign_type; /* of the foreign table's column */
	int32 foreign_typmod;
	Oid foreign_collation;
	bool always_generated; /* the base makes it: generated, or identity always */
} BaseColumn;

typedef struct BaseRelation
{
	Oid foreigntableid;
	Oid relid;
	const char *schema;
	const char *name;
	char relkind;
	bool has_ctid;		 /* ctid alone names a row: a plain table without children */
	int ncolumns;		 /* of the foreign table */
	BaseColumn *columns; /* by attribute number of the foreign table, from 1, less 1 */
} BaseRelation;

/*
 * The relation behind a foreign table, locked AccessShareLock until the transaction ends. Raises
 * if there is none, or if it is a foreign table of this wrapper itself.
 */
extern BaseRelation *connector_base(Oid foreigntableid);

/* The same schema and name only, by the options; no catalog access to the base. */
extern void connector_base_name(Oid foreigntableid, const char **schema, const char **name);

/* A usable column; raises if the base lacks it or its type cannot be read as the foreign one. */
extern BaseColumn *connector_column(BaseRelation *base, AttrNumber attnum);

/* ---- query.c ---- */

/* An inner query, planned. */
typedef struct InnerQuery
{
	const char *relation; /* name of the foreign table */
	char *sql;
	PlannedStmt *stmt;
	int nparams;
	Oid *param_types;
	List *held; /* Relations of the plan, kept open by connector_hold() */
} InnerQuery;

/* An error context that names the foreign table while the inner query is worked on. */
typedef struct ConnectorContext
{
	ErrorContextCallback callback;
	const char *relation; /* the foreign table */
	const char *sql;	  /* the inner query if there is one */
} ConnectorContext;

extern void connector_context_push(ConnectorContext *context, const char *relation,
								   const char *sql);
extern void connector_context_pop(ConnectorContext *context);

/* What an inner query is for. */
typedef enum QueryPurpose
{
	QUERY_PLAIN,
	QUERY_LOCK_ROWS, /* SELECT on a plain table that locks the rows that it returns */
	QUERY_BY_CTID	 /* changes a row that such a SELECT has locked */
} QueryPurpose;

/*
 * Parses, rewrites and plans one statement; name resolution and rights are those of `userid`.
 * `foreigntableid` guards against recursion.
 */
extern InnerQuery *connector_query(const char *sql, Oid foreigntableid, Oid userid, int nparams,
								   Oid *param_types, QueryPurpose purpose);

/*
 * Keeps the plan's relations open until it is released, so that this session cannot alter them
 * while the plan waits for its next execution. Checks the plan's privileges first.
 */
extern void connector_hold(InnerQuery *query);
extern void connector_release(InnerQuery *query);

/* A running SELECT: rows are made as they are asked for. */
extern QueryDesc *connector_open(InnerQuery *query, ParamListInfo params, Snapshot snapshot);
extern TupleTableSlot *connector_next(QueryDesc *desc);
extern void connector_close(QueryDesc *desc);

/*
 * Runs a modifying statement to its end as a part of the outer command: its command id, its
 * triggers. RETURNING rows go to `store` if that is given. Returns the number of rows processed.
 * `latest`: rows are found by a snapshot taken now (they were locked by the outer scan).
 */
extern uint64 connector_execute(InnerQuery *query, ParamListInfo params, EState *outer, bool latest,
								Tuplestorestate *store);

/* Settings under which SQL text means the same to writer and reader; undo by AtEOXact_GUC. */
extern int connector_neutral_settings(void);

/* The user whose rights count, given checkAsUser. */
extern Oid connector_user(Oid check_as_user);

/* ---- plan.c ---- */

/*
 * What the planner keeps of a relation that one inner query can give: a foreign table, a join of
 * such relations, or a grouping of one of them.
 */
typedef struct ConnectorRel
{
	BaseRelation *base;	  /* of a foreign table, else NULL */
	BaseRelation **bases; /* by range table index: those of `relids` */
	Oid userid;
	const char *description; /* for EXPLAIN: what is joined or grouped */
	List *remote_conds;		 /* RestrictInfos: WHERE of the inner query */
	List *local_conds;		 /* RestrictInfos */
	List *not_pushed;		 /* text "clause (reason)" as String nodes */
	Bitmapset *attrs_used;	 /* offset by FirstLowInvalidHeapAttributeNumber */
	double rows;			 /* that the inner query returns */
	int width;
	Cost startup_cost; /* of the inner query */
	Cost total_cost;
	Relids relids;				/* of the foreign tables in it */
	struct ConnectorRel *outer; /* a join: its sides and ON; a grouping: what is grouped */
	struct ConnectorRel *inner;
	JoinType jointype;
	List *on;	 /* RestrictInfos */
	List *tlist; /* a join or grouping: what the inner query computes */
	bool grouped;
	List *having; /* clauses of HAVING to ship */
} ConnectorRel;

/* Cost of the inner query; fills the four estimates. */
extern void connector_estimate(const char *sql, ConnectorRel *crel, List *params, double *rows,
							   int *width, Cost *startup_cost, Cost *total_cost);

/* Items of ForeignScan.fdw_private. */
enum ScanPrivate
{
	SCAN_SQL,		 /* String */
	SCAN_ATTRS,		 /* IntList: attribute of the foreign table per output column;
								 * empty: the output is the scan tuple itself */
	SCAN_LOCK_ROWS,	 /* Boolean: the scan feeds an UPDATE or DELETE */
	SCAN_NOT_PUSHED, /* List of String */
	SCAN_USER_RTI,	 /* Integer: range table entry whose user counts */
	SCAN_RELATIONS	 /* String for EXPLAIN: what is joined or grouped, or "" */
};

extern void connector_foreign_scan_sizes(PlannerInfo *root, RelOptInfo *baserel,
										 Oid foreigntableid);
/* Adds a path in the query's order and with its LIMIT, if the inner query can give them. */
extern void connector_ordered_path(PlannerInfo *root, RelOptInfo *rel);
extern void connector_add_path(PlannerInfo *root, RelOptInfo *rel, double inner_rows, double rows,
							   Cost startup_cost, Cost total_cost, List *pathkeys, double limit,
							   Relids outer);
extern void connector_join_paths(PlannerInfo *root, RelOptInfo *joinrel, RelOptInfo *outerrel,
								 RelOptInfo *innerrel, JoinType jointype, JoinPathExtraData *extra);
extern void connector_upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
								  RelOptInfo *output_rel, void *extra);

/* The text of a clause for EXPLAIN, with the reason why it stays here. */
extern Node *connector_not_pushed(RelOptInfo *baserel, BaseRelation *base, Node *clause,
								  const char *reason);

/* ---- shippable.c ---- */

/* NULL if the expression may be evaluated on the other side, else why not. */
extern const char *connector_unshippable(ConnectorRel *crel, Expr *expr);
extern bool connector_agg_listed(Oid aggfnoid);

/* How a leaf's collation is spelt, agreed between deparsing and the check of collations. */
extern bool connector_needs_collate(Node *node, ConnectorRel *crel);

/* ---- deparse.c ---- */

typedef struct DeparseContext
{
	ConnectorRel *crel;
	StringInfo buf;
	List *params;	 /* expressions to pass as $1, $2, ... */
	int first_param; /* number of parameters before them */
} DeparseContext;

extern void connector_deparse_expr(Expr *expr, DeparseContext *context);
extern void connector_deparse_relation(BaseRelation *base, Index varno, StringInfo buf);
/* SELECT on one foreign table; *attrs says which of its columns come in which order. */
extern char *connector_deparse_select(PlannerInfo *root, ConnectorRel *crel, Index varno,
									  List *conds, List *pathkeys, double limit,
									  const char *locking, List **attrs, List **params);
/* SELECT that computes the tlist of a join or grouping. */
extern char *connector_deparse_computed(PlannerInfo *root, ConnectorRel *crel, List *pathkeys,
										double limit, List **params);
extern void connector_deparse_returning(BaseRelation *base, Index varno, Bitmapset *attrs_used,
										StringInfo buf, List **attrs);
extern void connector_deparse_conditions(List *conds, DeparseContext *context);
extern Expr *connector_pathkey_expr(PathKey *pathkey, ConnectorRel *crel);

/* ---- scan.c, modify.c, import.c: install their callbacks ---- */
extern void connector_scan_callbacks(FdwRoutine *routine);
extern void connector_modify_callbacks(FdwRoutine *routine);
extern void connector_import_callbacks(FdwRoutine *routine);

/* Copies the columns of a row of an inner query to a slot of the foreign table. */
extern void connector_fill_slot(TupleTableSlot *to, TupleTableSlot *from, List *attrs);

/* A parameter list of external parameters of these types, all NULL. */
extern ParamListInfo connector_params(int n, const Oid *types);

#endif /* CONNECTOR_H */
