/*
 * query.c
 *		The inner query: parse, rewrite, plan and run it inside the outer query.
 *
 * The executor is nested directly, without SPI, because the details matter:
 *
 * Snapshot. A scan runs under the outer query's own snapshot object, so that any two scans of one
 * query see one state, whatever functions in between have changed. (SPI with read_only = false
 * would take a new snapshot for each.)
 *
 * Command id and triggers. A modification runs with the outer command's id and in its trigger
 * level: rows that the command wrote stay invisible to its own scans, a row hit twice is changed
 * once, AFTER triggers and foreign keys wait for the end of the outer statement and see all of its
 * changes, statement triggers fire once. All this is as if the outer statement had named the base.
 *
 * Rights. Names are resolved as the user whose rights count (the owner of a view for what the view
 * reads, else the current user at the start of the query), and that user goes into checkAsUser
 * before the rewriter works, so that privileges, row security and views are checked as in a query
 * on the base. The current user does not change while the query runs.
 *
 * Parallel query. The inner plan is never parallel: rows are made one by one as they are asked for.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/analyze.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "connector/connector.h"

/* Foreign tables whose inner queries are being planned, innermost first. */
typedef struct PlanningFrame
{
	Oid foreigntableid;
	struct PlanningFrame *outer;
} PlanningFrame;

static PlanningFrame *planning = NULL;

static void
context_callback(void *arg)
{
	ConnectorContext *context = arg;
	int position = geterrposition();

	/* A syntax error's position is one in the inner query. */
	if (context->sql && position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(context->sql);
		errcontext("foreign table \"%s\"", context->relation);
	}
	else if (context->sql)
		errcontext("foreign table \"%s\", remote SQL: %s", context->relation, context->sql);
	else
		errcontext("foreign table \"%s\"", context->relation);
}

void
connector_context_push(ConnectorContext *context, const char *relation, const char *sql)
{
	context->relation = relation;
	context->sql = sql;
	context->callback.callback = context_callback;
	context->callback.arg = context;
	context->callback.previous = error_context_stack;
	error_context_stack = &context->callback;
}

void
connector_context_pop(ConnectorContext *context)
{
	error_context_stack = context->callback.previous;
}

int
connector_neutral_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"DateStyle", "ISO"},
		{"IntervalStyle", "postgres"},
		{"extra_float_digits", "3"},
	};
	int level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

Oid
connector_user(Oid check_as_user)
{
	return OidIsValid(check_as_user) ? check_as_user : GetUserId();
}

/* Parse analysis under neutral settings; names are looked up with the rights of `userid`. */
static Query *
parse_inner(const char *sql, Oid userid, int nparams, Oid *param_types)
{
	Oid save_userid;
	int save_context;
	int level;
	List *raw;
	Query *query;

	GetUserIdAndSecContext(&save_userid, &save_context);
	level = connector_neutral_settings();
	if (userid != save_userid)
		SetUserIdAndSecContext(userid, save_context | SECURITY_LOCAL_USERID_CHANGE |
										   SECURITY_RESTRICTED_OPERATION);
	raw = raw_parser(sql, RAW_PARSE_DEFAULT);
	Assert(list_length(raw) == 1);
	query = parse_analyze_fixedparams(linitial_node(RawStmt, raw), sql, param_types, nparams, NULL);
	if (userid != save_userid)
		SetUserIdAndSecContext(save_userid, save_context);
	AtEOXact_GUC(false, level);
	return query;
}

/*
 * The ctid by which a row is changed later is our own affair: reading it needs no privilege, as in
 * an UPDATE or DELETE of the base.
 */
static void
forgive_ctid(RTEPermissionInfo *info)
{
	if (info == NULL)
		return;
	info->selectedCols = bms_del_member(info->selectedCols, SelfItemPointerAttributeNumber -
																FirstLowInvalidHeapAttributeNumber);
	if (bms_is_empty(info->selectedCols))
		info->requiredPerms &= ~ACL_SELECT;
}

/* Adds FOR UPDATE to a rewritten SELECT on one plain table. */
static void
lock_all_rows(Query *query)
{
	RangeTblEntry *rte = rt_fetch(1, query->rtable);
	RowMarkClause *mark = makeNode(RowMarkClause);

	Assert(list_length(query->rtable) == 1 && rte->rtekind == RTE_RELATION);
	LockRelationOid(rte->relid, RowShareLock);
	rte->rellockmode = RowShareLock;
	mark->rti = 1;
	mark->strength = LCS_FORUPDATE;
	mark->waitPolicy = LockWaitBlock;
	mark->pushedDown = false;
	query->rowMarks = list_make1(mark);
	query->hasForUpdate = true;
}

static PlannedStmt *
plan_inner(Query *query, const char *sql, Oid userid, QueryPurpose purpose)
{
	ListCell *lc;
	List *rewritten;
	PlannedStmt *stmt;
	bool snapshot_set = false;

	foreach (lc, query->rtable)
	{
		RTEPermissionInfo *info =
			compat_perminfo(query->rteperminfos, lfirst_node(RangeTblEntry, lc));

		if (info != NULL)
			info->checkAsUser = userid;
	}
	rewritten = pg_rewrite_query(query);
	if (list_length(rewritten) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot run this command through a foreign table"),
				 errdetail("A rule on the relation behind it turns the command into %d commands.",
						   list_length(rewritten))));
	query = linitial_node(Query, rewritten);
	if (purpose != QUERY_PLAIN)
		forgive_ctid(compat_perminfo(query->rteperminfos, rt_fetch(1, query->rtable)));
	if (purpose == QUERY_LOCK_ROWS)
		lock_all_rows(query);

	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		snapshot_set = true;
	}
	stmt = pg_plan_query(query, sql, 0, NULL);
	if (snapshot_set)
		PopActiveSnapshot();
	return stmt;
}

InnerQuery *
connector_query(const char *sql, Oid foreigntableid, Oid userid, int nparams, Oid *param_types,
				QueryPurpose purpose)
{
	InnerQuery *inner = palloc0(sizeof(InnerQuery));
	PlanningFrame frame = {foreigntableid, planning};
	ConnectorContext context;

	for (PlanningFrame *f = planning; f != NULL; f = f->outer)
	{
		if (f->foreigntableid == foreigntableid)
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("infinite recursion in foreign table \"%s\"", get_rel_name(foreigntableid)),
				 errdetail("The relation that it shows reads the foreign table itself.")));
	}
	check_stack_depth();

	inner->relation = get_rel_name(foreigntableid);
	inner->sql = pstrdup(sql);
	inner->nparams = nparams;
	inner->param_types = param_types;
	planning = &frame;
	connector_context_push(&context, inner->relation, inner->sql);
	PG_TRY();
	{
		Query *query = parse_inner(inner->sql, userid, nparams, param_types);

		inner->stmt = plan_inner(query, inner->sql, userid, purpose);
	}
	PG_FINALLY();
	{
		planning = frame.outer;
	}
	PG_END_TRY();
	connector_context_pop(&context);
	return inner;
}

void
connector_hold(InnerQuery *query)
{
	ConnectorContext context;
	ListCell *lc;

	connector_context_push(&context, query->relation, query->sql);
	(void) compat_ExecCheckPermissions(query->stmt);
	connector_context_pop(&context);
	foreach (lc, query->stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION)
			query->held = lappend(query->held, relation_open(rte->relid, NoLock));
	}
}

void
connector_release(InnerQuery *query)
{
	ListCell *lc;

	foreach (lc, query->held)
		relation_close(lfirst(lc), NoLock);
	query->held = NIL;
}

ParamListInfo
connector_params(int n, const Oid *types)
{
	ParamListInfo params;

	if (n == 0)
		return NULL;
	params = makeParamList(n);
	for (int i = 0; i < n; i++)
	{
		params->params[i].value = (Datum) 0;
		params->params[i].isnull = true;
		params->params[i].pflags = 0;
		params->params[i].ptype = types[i];
	}
	return params;
}

QueryDesc *
connector_open(InnerQuery *query, ParamListInfo params, Snapshot snapshot)
{
	QueryDesc *desc = CreateQueryDesc(query->stmt, query->sql, snapshot, InvalidSnapshot,
									  None_Receiver, params, NULL, 0);

	ExecutorStart(desc, EXEC_FLAG_SKIP_TRIGGERS);
	return desc;
}

/*
 * The next row, or NULL at the end. It stays valid until the next call.
 *
 * The plan's top node is asked directly: ExecutorRun with a count of one would walk the whole plan
 * and call the hooks for every row.
 */
TupleTableSlot *
connector_next(QueryDesc *desc)
{
	EState *estate = desc->estate;
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	Snapshot snapshot = desc->snapshot;
	bool pushed = false;
	TupleTableSlot *slot;

	if (!ActiveSnapshotSet() || GetActiveSnapshot() != snapshot)
	{
		PushActiveSnapshot(snapshot);
		pushed = true;
	}
	ResetPerTupleExprContext(estate);
	slot = ExecProcNode(desc->planstate);
	if (!TupIsNull(slot) && estate->es_junkFilter != NULL)
		slot = ExecFilterJunk(estate->es_junkFilter, slot);
	if (pushed)
		PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	return TupIsNull(slot) ? NULL : slot;
}

void
connector_close(QueryDesc *desc)
{
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
}

uint64
connector_execute(InnerQuery *query, ParamListInfo params, EState *outer, bool latest,
				  Tuplestorestate *store)
{
	DestReceiver *dest = None_Receiver;
	QueryDesc *desc;
	uint64 processed;
	/* COPY has an executor state, but no snapshot and no command id in it */
	bool is_query = outer->es_snapshot != InvalidSnapshot;

	if (latest && !IsolationUsesXactSnapshot())
	{
		PushCopiedSnapshot(GetLatestSnapshot());
		GetActiveSnapshot()->curcid = outer->es_output_cid;
	}
	else
		PushActiveSnapshot(is_query ? outer->es_snapshot : GetActiveSnapshot());
	if (store != NULL)
	{
		dest = CreateTuplestoreDestReceiver();
		SetTuplestoreDestReceiverParams(dest, store, CurrentMemoryContext, false, NULL, NULL);
	}

	desc = CreateQueryDesc(query->stmt, query->sql, GetActiveSnapshot(), InvalidSnapshot, dest,
						   params, NULL, 0);
	ExecutorStart(desc, EXEC_FLAG_SKIP_TRIGGERS);
	if (is_query)
		desc->estate->es_output_cid = outer->es_output_cid;
	ExecutorRun(desc, ForwardScanDirection, 0, true);
	processed = desc->estate->es_processed;
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	if (store != NULL)
		dest->rDestroy(dest);
	PopActiveSnapshot();
	return processed;
}
