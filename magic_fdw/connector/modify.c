/*
 * modify.c
 *		INSERT, UPDATE, DELETE and TRUNCATE of foreign tables.
 *
 * Two ways. A whole UPDATE or DELETE whose clauses all ship is one statement on the base
 * (PlanDirectModify). Else the scan locks the rows on the base FOR UPDATE, so that it returns their
 * newest versions under READ COMMITTED, and each row that passes is changed by its ctid. This needs
 * ctid to name a row: the base is a plain table without children. INSERT writes batches.
 *
 * An INSERT names only the columns that the user named, so that defaults, identity and generated
 * columns of the base work as in an INSERT into the base.
 *
 * The statements run as a part of the outer command; see query.c.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "commands/explain.h"
#include "commands/tablecmds.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/appendinfo.h"
#include "optimizer/inherit.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "connector/connector.h"

/* INSERT sends this many rows in one statement unless the option batch_size says otherwise. */
#define DEFAULT_BATCH_SIZE 100

/* Items of ModifyTable's fdw_private list. */
enum ModifyPrivate
{
	MODIFY_SQL,		  /* String; of an INSERT only the part before VALUES */
	MODIFY_TARGETS,	  /* IntList: attributes that it sets */
	MODIFY_RETURNING, /* IntList: attributes that it returns; NIL: none */
	MODIFY_TAIL		  /* String: of an INSERT the part after VALUES */
};

/* Items of ForeignScan.fdw_private of a direct modification. */
enum DirectPrivate
{
	DIRECT_SQL,
	DIRECT_RETURNING,	 /* IntList, as above */
	DIRECT_SET_PROCESSED /* Boolean */
};

typedef struct ConnectorModify
{
	const char *relation;
	Relation rel;
	Oid userid;
	CmdType operation;
	const char *sql;
	const char *tail;
	List *targets;
	List *returning;
	AttrNumber ctid_attno; /* junk attribute of the subplan */
	int batch_size;
	InnerQuery *query; /* for planned_rows rows */
	int planned_rows;
	ParamListInfo params;
	Tuplestorestate *store; /* rows of RETURNING */
	TupleTableSlot *store_slot;
	MemoryContext context;
} ConnectorModify;

typedef struct ConnectorDirect
{
	const char *relation;
	InnerQuery *query;
	List *returning;
	bool set_processed;
	bool done;
	List *param_exprs;
	ParamListInfo params;
	Tuplestorestate *store;
	TupleTableSlot *store_slot;
} ConnectorDirect;

/* ---- planning ---- */

static int
is_updatable(Relation rel)
{
	BaseRelation *base;

	if (!connector_bool_option(RelationGetRelid(rel), "updatable", true))
		return 0;
	base = connector_base(RelationGetRelid(rel));
	return relation_is_updatable(base->relid, NIL, true, NULL);
}

static void
add_update_targets(PlannerInfo *root, Index rtindex, RangeTblEntry *target_rte,
				   Relation target_relation)
{
	Var *var;

	var = makeVar(rtindex, SelfItemPointerAttributeNumber, TIDOID, -1, InvalidOid, 0);
	add_row_identity_var(root, var, rtindex, "ctid");
}

/* All columns but those that only the base may fill. */
static List *
all_columns(TupleDesc desc, BaseRelation *base)
{
	List *targets = NIL;

	for (int i = 1; i <= desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i - 1)->attisdropped &&
			!TupleDescAttr(desc, i - 1)->attgenerated && !base->columns[i - 1].always_generated)
			targets = lappend_int(targets, i);
	}
	return targets;
}

/* The columns that an INSERT names: those in the user's list, if it inserts here directly. */
static List *
insert_targets(PlannerInfo *root, Index rtindex, TupleDesc desc, BaseRelation *base)
{
	List *targets = NIL;
	Bitmapset *named = NULL;
	ListCell *lc;

	if (rtindex != root->parse->resultRelation)
		return all_columns(desc, base);

	foreach (lc, root->parse->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk)
			named = bms_add_member(named, tle->resno);
	}
	for (int i = 1; i <= desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i - 1)->attisdropped && bms_is_member(i, named) &&
			!TupleDescAttr(desc, i - 1)->attgenerated)
			targets = lappend_int(targets, i);
	}
	return targets;
}

/* The columns that an UPDATE changes; all if a trigger of the foreign table may change any. */
static List *
update_targets(PlannerInfo *root, Index rtindex, Relation rel, BaseRelation *base)
{
	Bitmapset *updated = get_rel_all_updated_cols(root, find_base_rel(root, rtindex));
	List *targets = NIL;
	int bit = -1;

	if (rel->trigdesc && rel->trigdesc->trig_update_before_row)
		return all_columns(RelationGetDescr(rel), base);
	while ((bit = bms_next_member(updated, bit)) >= 0)
	{
		AttrNumber attnum = bit + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0 && !TupleDescAttr(RelationGetDescr(rel), attnum - 1)->attgenerated)
			targets = lappend_int(targets, attnum);
	}
	return targets;
}

/* The columns that must come back: of RETURNING and checks, all for AFTER ROW triggers. */
static Bitmapset *
returning_columns(Relation rel, Index rtindex, CmdType operation, List *returning,
				  List *check_options)
{
	Bitmapset *attrs = NULL;
	TriggerDesc *trig = rel->trigdesc;

	if (trig && ((operation == CMD_INSERT && trig->trig_insert_after_row) ||
				 (operation == CMD_UPDATE && trig->trig_update_after_row) ||
				 (operation == CMD_DELETE && trig->trig_delete_after_row)))
		attrs = bms_make_singleton(0 - FirstLowInvalidHeapAttributeNumber);
	pull_varattnos((Node *) returning, rtindex, &attrs);
	pull_varattnos((Node *) check_options, rtindex, &attrs);
	return attrs;
}

static void
append_target_names(BaseRelation *base, List *targets, StringInfo buf)
{
	ListCell *lc;

	foreach (lc, targets)
		appendStringInfo(buf, "%s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 quote_identifier(connector_column(base, lfirst_int(lc))->name));
}

/*
 * The SQL of one modification and what goes with it, as ModifyPrivate says. An INSERT is left open
 * at VALUES, because the number of rows is known only when it runs.
 */
static List *
modify_private(BaseRelation *base, CmdType operation, List *targets, Bitmapset *returning,
			   bool has_returning, bool ignore_conflicts)
{
	StringInfoData sql;
	StringInfoData tail;
	List *attrs = NIL;
	ListCell *lc;
	int level = connector_neutral_settings();

	initStringInfo(&sql);
	initStringInfo(&tail);
	if (operation == CMD_INSERT)
	{
		appendStringInfoString(&sql, "INSERT INTO ");
		connector_deparse_relation(base, 1, &sql);
		/* the alias of an INSERT needs AS */
		sql.len -= strlen(" r1");
		appendStringInfoString(&sql, " AS r1");
		if (targets != NIL)
			appendStringInfoString(&sql, "(");
		append_target_names(base, targets, &sql);
		appendStringInfoString(&sql, targets != NIL ? ") VALUES " : " DEFAULT VALUES");
		if (ignore_conflicts)
			appendStringInfoString(&tail, " ON CONFLICT DO NOTHING");
	}
	else if (operation == CMD_UPDATE)
	{
		appendStringInfoString(&sql, "UPDATE ");
		connector_deparse_relation(base, 1, &sql);
		appendStringInfoString(&sql, " SET ");
		foreach (lc, targets)
			appendStringInfo(&sql, "%s%s = $%d", foreach_current_index(lc) > 0 ? ", " : "",
							 quote_identifier(connector_column(base, lfirst_int(lc))->name),
							 foreach_current_index(lc) + 2);
		appendStringInfoString(&tail, " WHERE r1.ctid = $1");
	}
	else
	{
		appendStringInfoString(&sql, "DELETE FROM ");
		connector_deparse_relation(base, 1, &sql);
		appendStringInfoString(&tail, " WHERE r1.ctid = $1");
	}
	if (has_returning)
		connector_deparse_returning(base, 1, returning, &tail, &attrs);
	AtEOXact_GUC(false, level);
	return list_make4(makeString(sql.data), targets, attrs, makeString(tail.data));
}

static void
require_ctid(BaseRelation *base)
{
	if (!base->has_ctid)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change single rows of \"%s.%s\" through a foreign table",
						base->schema, base->name),
				 errdetail("It is not a plain table without partitions or children, and not all "
						   "clauses of the command can be evaluated there."),
				 errhint("EXPLAIN (VERBOSE) of a SELECT with the same WHERE shows which clauses "
						 "are not pushed.")));
}

static List *
plan_modify(PlannerInfo *root, ModifyTable *plan, Index rtindex, int subplan_index)
{
	RangeTblEntry *rte = planner_rt_fetch(rtindex, root);
	Relation rel = table_open(rte->relid, NoLock);
	BaseRelation *base = connector_base(rte->relid);
	List *targets = NIL;
	List *returning_list =
		plan->returningLists ? list_nth(plan->returningLists, subplan_index) : NIL;
	List *check_options =
		plan->withCheckOptionLists ? list_nth(plan->withCheckOptionLists, subplan_index) : NIL;
	Bitmapset *returning;
	List *private;

	if (plan->onConflictAction != ONCONFLICT_NONE &&
		(plan->onConflictAction != ONCONFLICT_NOTHING || plan->arbiterIndexes != NIL))
		elog(ERROR, "unexpected ON CONFLICT specification: %d", (int) plan->onConflictAction);
	if (plan->operation == CMD_INSERT)
		targets = insert_targets(root, rtindex, RelationGetDescr(rel), base);
	else
		require_ctid(base);
	if (plan->operation == CMD_UPDATE)
		targets = update_targets(root, rtindex, rel, base);
	returning = returning_columns(rel, rtindex, plan->operation, returning_list, check_options);
	private = modify_private(base, plan->operation, targets, returning, !bms_is_empty(returning),
							 plan->onConflictAction == ONCONFLICT_NOTHING);
	root->glob->relationOids = lappend_oid(root->glob->relationOids, base->relid);
	table_close(rel, NoLock);
	return private;
}

/* ---- row by row ---- */

/* The statement for this many rows, planned; the last number of rows is kept. */
static void
prepare(ConnectorModify *modify, int rows)
{
	StringInfoData sql;
	int ntargets = list_length(modify->targets);
	int nkeys = modify->operation == CMD_INSERT ? 0 : 1;
	int nparams = nkeys + ntargets * rows;
	Oid *types;
	int n = 0;
	MemoryContext old;

	if (modify->query != NULL && modify->planned_rows == rows)
		return;
	if (modify->query != NULL)
		connector_release(modify->query);
	modify->query = NULL;
	MemoryContextReset(modify->context);
	old = MemoryContextSwitchTo(modify->context);
	initStringInfo(&sql);
	appendStringInfoString(&sql, modify->sql);
	types = palloc(sizeof(Oid) * Max(nparams, 1));
	if (nkeys)
		types[n++] = TIDOID;
	for (int row = 0; row < rows; row++)
	{
		ListCell *lc;

		foreach (lc, modify->targets)
		{
			types[n++] = TupleDescAttr(RelationGetDescr(modify->rel), lfirst_int(lc) - 1)->atttypid;
			if (modify->operation == CMD_INSERT)
				appendStringInfo(&sql, "%s$%d",
								 foreach_current_index(lc) > 0 ? ", "
								 : row > 0					   ? "), ("
															   : "(",
								 n);
		}
	}
	if (modify->operation == CMD_INSERT && ntargets > 0)
		appendStringInfoChar(&sql, ')');
	appendStringInfoString(&sql, modify->tail);
	Assert(n == nparams);
	modify->query = connector_query(sql.data, RelationGetRelid(modify->rel), modify->userid,
									nparams, types, nkeys ? QUERY_BY_CTID : QUERY_PLAIN);
	connector_hold(modify->query);
	modify->params = connector_params(nparams, types);
	modify->planned_rows = rows;
	MemoryContextSwitchTo(old);
}

static ConnectorModify *
create_modify(EState *estate, ResultRelInfo *result, RangeTblEntry *rte, CmdType operation,
			  List *private)
{
	ConnectorModify *modify = palloc0(sizeof(ConnectorModify));

	modify->rel = result->ri_RelationDesc;
	modify->relation = RelationGetRelationName(modify->rel);
	modify->userid = connector_user(compat_result_user(estate, result, rte));
	modify->operation = operation;
	modify->sql = strVal(list_nth(private, MODIFY_SQL));
	modify->targets = list_nth(private, MODIFY_TARGETS);
	modify->returning = list_nth(private, MODIFY_RETURNING);
	modify->tail = strVal(list_nth(private, MODIFY_TAIL));
	modify->batch_size =
		connector_int_option(RelationGetRelid(modify->rel), "batch_size", DEFAULT_BATCH_SIZE);
	modify->context =
		AllocSetContextCreate(estate->es_query_cxt, "magic_fdw statement", ALLOCSET_DEFAULT_SIZES);
	if (modify->returning != NIL)
		modify->store = tuplestore_begin_heap(false, false, work_mem);
	return modify;
}

static void
begin_modify(ModifyTableState *mtstate, ResultRelInfo *result, List *private, int subplan_index,
			 int eflags)
{
	EState *estate = mtstate->ps.state;
	ConnectorModify *modify;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	modify = create_modify(estate, result, exec_rt_fetch(result->ri_RangeTableIndex, estate),
						   mtstate->operation, private);
	result->ri_FdwState = modify;
	if (modify->operation != CMD_INSERT)
	{
		modify->ctid_attno =
			ExecFindJunkAttributeInTlist(outerPlan(mtstate->ps.plan)->targetlist, "ctid");
		if (!AttributeNumberIsValid(modify->ctid_attno))
			elog(ERROR, "could not find junk ctid column");
	}
	prepare(modify, 1);
}

/* Rows that COPY or tuple routing sends here: all columns, no plan of our own. */
static void
begin_insert(ModifyTableState *mtstate, ResultRelInfo *result)
{
	EState *estate = mtstate->ps.state;
	ModifyTable *plan = castNode(ModifyTable, mtstate->ps.plan);
	Relation rel = result->ri_RelationDesc;
	RangeTblEntry *rte;
	Index rti = result->ri_RangeTableIndex;
	BaseRelation *base = connector_base(RelationGetRelid(rel));
	Bitmapset *returning;

	if (plan && plan->operation == CMD_UPDATE && result->ri_FdwState)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot route tuples into foreign table to be updated \"%s\"",
							   RelationGetRelationName(rel))));
	if (rti == 0 && result->ri_RootResultRelInfo)
		rti = result->ri_RootResultRelInfo->ri_RangeTableIndex;
	rte = copyObject(exec_rt_fetch(rti == 0 ? 1 : rti, estate));
	returning = returning_columns(rel, rti, CMD_INSERT, result->ri_returningList,
								  result->ri_WithCheckOptions);
	/* Vars of RETURNING of a routed row may be numbered by another entry: take all columns. */
	if (result->ri_returningList != NIL || result->ri_WithCheckOptions != NIL)
		returning = bms_add_member(returning, 0 - FirstLowInvalidHeapAttributeNumber);
	result->ri_FdwState =
		create_modify(estate, result, rte, CMD_INSERT,
					  modify_private(base, CMD_INSERT, all_columns(RelationGetDescr(rel), base),
									 returning, !bms_is_empty(returning),
									 plan && plan->onConflictAction == ONCONFLICT_NOTHING));
}

static void
end_modify(EState *estate, ResultRelInfo *result)
{
	ConnectorModify *modify = result->ri_FdwState;

	if (modify == NULL)
		return;
	if (modify->query)
		connector_release(modify->query);
	if (modify->store_slot)
		ExecDropSingleTupleTableSlot(modify->store_slot);
	if (modify->store)
		tuplestore_end(modify->store);
	result->ri_FdwState = NULL;
}

static int
batch_size(ResultRelInfo *result)
{
	ConnectorModify *modify = result->ri_FdwState;

	/* EXPLAIN without ANALYZE comes here too */
	if (modify == NULL)
		return connector_int_option(RelationGetRelid(result->ri_RelationDesc), "batch_size",
									DEFAULT_BATCH_SIZE);
	/* Rows that someone looks at must be written one by one; DEFAULT VALUES has no list. */
	if (result->ri_projectReturning != NULL || result->ri_WithCheckOptions != NIL ||
		modify->returning != NIL || modify->targets == NIL ||
		(result->ri_TrigDesc && (result->ri_TrigDesc->trig_insert_before_row ||
								 result->ri_TrigDesc->trig_insert_after_row)))
		return 1;
	return modify->batch_size;
}

/* Runs the prepared statement; a returned row goes to the slot. True if a row was processed. */
static uint64
run(ConnectorModify *modify, EState *estate, TupleTableSlot *slot)
{
	ConnectorContext context;
	uint64 processed;

	connector_context_push(&context, modify->relation, modify->query->sql);
	if (modify->store)
		tuplestore_clear(modify->store);
	processed = connector_execute(modify->query, modify->params, estate,
								  modify->operation != CMD_INSERT, modify->store);
	if (modify->store && processed > 0)
	{
		if (modify->store_slot == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
			TupleDesc desc = ExecCleanTypeFromTL(modify->query->stmt->planTree->targetlist);

			modify->store_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
			MemoryContextSwitchTo(old);
		}
		if (!tuplestore_gettupleslot(modify->store, true, false, modify->store_slot))
			elog(ERROR, "a remote statement returned no row");
		connector_fill_slot(slot, modify->store_slot, modify->returning);
	}
	connector_context_pop(&context);
	return processed;
}

static void
set_params(ConnectorModify *modify, int first, TupleTableSlot *slot)
{
	ListCell *lc;

	foreach (lc, modify->targets)
	{
		ParamExternData *param = &modify->params->params[first + foreach_current_index(lc)];

		param->value = slot_getattr(slot, lfirst_int(lc), &param->isnull);
	}
}

static TupleTableSlot **
insert_batch(EState *estate, ResultRelInfo *result, TupleTableSlot **slots,
			 TupleTableSlot **plan_slots, int *nslots)
{
	ConnectorModify *modify = result->ri_FdwState;
	uint64 processed;

	prepare(modify, *nslots);
	for (int i = 0; i < *nslots; i++)
		set_params(modify, i * list_length(modify->targets), slots[i]);
	processed = run(modify, estate, slots[0]);
	*nslots = (int) processed;
	return processed > 0 ? slots : NULL;
}

static TupleTableSlot *
insert_row(EState *estate, ResultRelInfo *result, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	int n = 1;

	return insert_batch(estate, result, &slot, &plan_slot, &n) ? slot : NULL;
}

/* UPDATE or DELETE of the row whose ctid the subplan has found. */
static TupleTableSlot *
change_row(EState *estate, ResultRelInfo *result, TupleTableSlot *slot, TupleTableSlot *plan_slot)
{
	ConnectorModify *modify = result->ri_FdwState;
	bool isnull;
	Datum ctid = ExecGetJunkAttribute(plan_slot, modify->ctid_attno, &isnull);

	if (isnull)
		elog(ERROR, "ctid is NULL");
	modify->params->params[0].value = ctid;
	modify->params->params[0].isnull = false;
	if (modify->operation == CMD_UPDATE)
		set_params(modify, 1, slot);
	return run(modify, estate, slot) > 0 ? slot : NULL;
}

static void
explain_modify(ModifyTableState *mtstate, ResultRelInfo *result, List *private, int subplan_index,
			   ExplainState *es)
{
	StringInfoData sql;

	if (!es->verbose)
		return;
	initStringInfo(&sql);
	appendStringInfoString(&sql, strVal(list_nth(private, MODIFY_SQL)));
	if (mtstate->operation == CMD_INSERT)
	{
		int n = list_length(list_nth(private, MODIFY_TARGETS));

		for (int i = 1; i <= n; i++)
			appendStringInfo(&sql, "%s$%d", i > 1 ? ", " : "(", i);
		if (n > 0)
			appendStringInfoChar(&sql, ')');
	}
	appendStringInfoString(&sql, strVal(list_nth(private, MODIFY_TAIL)));
	ExplainPropertyText("Remote SQL", sql.data, es);
	if (mtstate->operation == CMD_INSERT && result->ri_BatchSize > 1)
		ExplainPropertyInteger("Batch Size", NULL, result->ri_BatchSize, es);
}

/* ---- direct modification ---- */

/* The scan of the target below a ModifyTable, if it is all that is there. */
static ForeignScan *
target_scan(ModifyTable *plan, Index rtindex, int subplan_index)
{
	Plan *subplan = outerPlan(plan);

	if (IsA(subplan, Result) && subplan->lefttree && ((Result *) subplan)->resconstantqual == NULL)
		subplan = outerPlan(subplan);
	if (subplan_index != 0 || !IsA(subplan, ForeignScan) ||
		((ForeignScan *) subplan)->scan.scanrelid != rtindex)
		return NULL;
	return (ForeignScan *) subplan;
}

/* "SET a = x, b = y", or false if an expression does not ship. */
static bool
append_assignments(PlannerInfo *root, ConnectorRel *crel, List *columns, DeparseContext *context)
{
	ListCell *lc;
	int i = 0;

	foreach (lc, root->processed_tlist)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		if (i >= list_length(columns) || connector_unshippable(crel, tle->expr) != NULL)
			return false;
		appendStringInfo(
			context->buf, "%s%s = ", i > 0 ? ", " : " SET ",
			quote_identifier(connector_column(crel->base, list_nth_int(columns, i))->name));
		connector_deparse_expr(tle->expr, context);
		i++;
	}
	return true;
}

static bool
plan_direct(PlannerInfo *root, ModifyTable *plan, Index rtindex, int subplan_index)
{
	ForeignScan *scan;
	ConnectorRel *crel;
	StringInfoData buf;
	DeparseContext context = {NULL, &buf, NIL, 0};
	List *returning_list =
		plan->returningLists ? list_nth(plan->returningLists, subplan_index) : NIL;
	List *attrs = NIL;
	Bitmapset *attrs_used = NULL;
	int level;
	bool ships = true;

	if (plan->operation == CMD_INSERT || list_length(plan->resultRelations) != 1)
		return false;
	scan = target_scan(plan, rtindex, subplan_index);
	if (scan == NULL || scan->scan.plan.qual != NIL)
		return false;
	crel = find_base_rel(root, rtindex)->fdw_private;
	if (crel == NULL || crel->local_conds != NIL)
		return false;

	context.crel = crel;
	initStringInfo(&buf);
	level = connector_neutral_settings();
	appendStringInfoString(&buf, plan->operation == CMD_UPDATE ? "UPDATE " : "DELETE FROM ");
	connector_deparse_relation(crel->base, rtindex, &buf);
	if (plan->operation == CMD_UPDATE)
		ships = append_assignments(root, crel, linitial(plan->updateColnosLists), &context);
	if (ships)
	{
		if (crel->remote_conds != NIL)
			appendStringInfoString(&buf, " WHERE ");
		connector_deparse_conditions(crel->remote_conds, &context);
		pull_varattnos((Node *) returning_list, rtindex, &attrs_used);
		if (returning_list != NIL)
			connector_deparse_returning(crel->base, rtindex, attrs_used, &buf, &attrs);
	}
	AtEOXact_GUC(false, level);
	if (!ships)
		return false;

	scan->operation = plan->operation;
	scan->resultRelation = rtindex;
	scan->fdw_exprs = context.params;
	scan->fdw_private = list_make3(makeString(buf.data), attrs, makeBoolean(plan->canSetTag));
	return true;
}

static void
begin_direct(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = castNode(ForeignScan, node->ss.ps.plan);
	EState *estate = node->ss.ps.state;
	RangeTblEntry *rte;
	ConnectorDirect *direct;
	int nparams = list_length(plan->fdw_exprs);
	Oid *types;
	ListCell *lc;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	rte = exec_rt_fetch(plan->resultRelation, estate);
	direct = palloc0(sizeof(ConnectorDirect));
	node->fdw_state = direct;
	direct->relation = get_rel_name(rte->relid);
	direct->returning = list_nth(plan->fdw_private, DIRECT_RETURNING);
	direct->set_processed = boolVal(list_nth(plan->fdw_private, DIRECT_SET_PROCESSED));
	types = palloc(sizeof(Oid) * Max(nparams, 1));
	foreach (lc, plan->fdw_exprs)
		types[foreach_current_index(lc)] = exprType(lfirst(lc));
	direct->query =
		connector_query(strVal(list_nth(plan->fdw_private, DIRECT_SQL)), rte->relid,
						connector_user(compat_scan_user(plan, rte)), nparams, types, QUERY_PLAIN);
	connector_hold(direct->query);
	direct->param_exprs = ExecInitExprList(plan->fdw_exprs, (PlanState *) node);
	direct->params = connector_params(nparams, types);
	if (direct->returning != NIL)
	{
		direct->store = tuplestore_begin_heap(false, false, work_mem);
		direct->store_slot = MakeSingleTupleTableSlot(
			ExecCleanTypeFromTL(direct->query->stmt->planTree->targetlist), &TTSOpsMinimalTuple);
	}
}

/* Runs the statement to its end: its trigger level must not stay open between rows. */
static void
run_direct(ForeignScanState *node, ConnectorDirect *direct)
{
	EState *estate = node->ss.ps.state;
	ConnectorContext context;
	uint64 processed;
	ListCell *lc;

	foreach (lc, direct->param_exprs)
	{
		ParamExternData *param = &direct->params->params[foreach_current_index(lc)];

		param->value =
			ExecEvalExprSwitchContext(lfirst(lc), node->ss.ps.ps_ExprContext, &param->isnull);
	}
	connector_context_push(&context, direct->relation, direct->query->sql);
	processed = connector_execute(direct->query, direct->params, estate, false, direct->store);
	connector_context_pop(&context);
	direct->done = true;
	if (direct->set_processed)
		estate->es_processed += processed;
	if (node->ss.ps.instrument && direct->store == NULL)
		node->ss.ps.instrument->tuplecount += processed;
}

static TupleTableSlot *
iterate_direct(ForeignScanState *node)
{
	ConnectorDirect *direct = node->fdw_state;
	ResultRelInfo *result = node->resultRelInfo;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	if (!direct->done)
		run_direct(node, direct);
	if (direct->store == NULL ||
		!tuplestore_gettupleslot(direct->store, true, false, direct->store_slot))
		return ExecClearTuple(slot);
	connector_fill_slot(slot, direct->store_slot, direct->returning);
	result->ri_projectReturning->pi_exprContext->ecxt_scantuple = slot;
	return slot;
}

static void
end_direct(ForeignScanState *node)
{
	ConnectorDirect *direct = node->fdw_state;

	if (direct == NULL)
		return;
	connector_release(direct->query);
	if (direct->store_slot)
		ExecDropSingleTupleTableSlot(direct->store_slot);
	if (direct->store)
		tuplestore_end(direct->store);
}

static void
explain_direct(ForeignScanState *node, ExplainState *es)
{
	List *private = castNode(ForeignScan, node->ss.ps.plan)->fdw_private;

	if (es->verbose)
		ExplainPropertyText("Remote SQL", strVal(list_nth(private, DIRECT_SQL)), es);
}

/* ---- TRUNCATE ---- */

static void
truncate_tables(List *rels, DropBehavior behavior, bool restart_seqs)
{
	TruncateStmt *stmt = makeNode(TruncateStmt);
	ListCell *lc;

	foreach (lc, rels)
	{
		Relation rel = lfirst(lc);
		BaseRelation *base = connector_base(RelationGetRelid(rel));

		if (!connector_bool_option(RelationGetRelid(rel), "updatable", true))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("foreign table \"%s\" does not allow truncates",
								   RelationGetRelationName(rel))));
		stmt->relations =
			lappend(stmt->relations, makeRangeVar(pstrdup(base->schema), pstrdup(base->name), -1));
	}
	stmt->restart_seqs = restart_seqs;
	stmt->behavior = behavior;
	ExecuteTruncate(stmt);
}

void
connector_modify_callbacks(FdwRoutine *routine)
{
	routine->IsForeignRelUpdatable = is_updatable;
	routine->AddForeignUpdateTargets = add_update_targets;
	routine->PlanForeignModify = plan_modify;
	routine->BeginForeignModify = begin_modify;
	routine->ExecForeignInsert = insert_row;
	routine->ExecForeignBatchInsert = insert_batch;
	routine->GetForeignModifyBatchSize = batch_size;
	routine->ExecForeignUpdate = change_row;
	routine->ExecForeignDelete = change_row;
	routine->EndForeignModify = end_modify;
	routine->BeginForeignInsert = begin_insert;
	routine->EndForeignInsert = end_modify;
	routine->ExplainForeignModify = explain_modify;
	routine->PlanDirectModify = plan_direct;
	routine->BeginDirectModify = begin_direct;
	routine->IterateDirectModify = iterate_direct;
	routine->EndDirectModify = end_direct;
	routine->ExplainDirectModify = explain_direct;
	routine->ExecForeignTruncate = truncate_tables;
}
