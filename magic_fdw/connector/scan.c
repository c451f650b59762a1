/*
 * scan.c
 *		Execution of scans of foreign tables, and EXPLAIN.
 *
 * The inner query is parsed, planned and checked for rights when the outer executor starts, as the
 * user who counts then; it is started when the first row is asked for, because its parameters have
 * values only then. A row is handed over without a copy: the outer slot points into the inner one,
 * which stays until the next row is made. Memory does not grow with the number of rows.
 *
 * A rescan with other parameter values starts the inner plan anew; without parameters it rewinds.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "connector/connector.h"

typedef struct ConnectorScan
{
	InnerQuery *query;
	QueryDesc *desc; /* NULL: not started */
	List *attrs;
	const char *relation; /* for error contexts */
	List *param_exprs;	  /* ExprStates */
	ParamListInfo params;
	MemoryContext param_context; /* of the parameters' values */
} ConnectorScan;

void
connector_fill_slot(TupleTableSlot *to, TupleTableSlot *from, List *attrs)
{
	ListCell *lc;

	ExecClearTuple(to);
	slot_getallattrs(from);
	if (attrs == NIL)
	{
		int n = Min(to->tts_tupleDescriptor->natts, from->tts_tupleDescriptor->natts);

		memcpy(to->tts_values, from->tts_values, n * sizeof(Datum));
		memcpy(to->tts_isnull, from->tts_isnull, n * sizeof(bool));
	}
	else
		memset(to->tts_isnull, true, to->tts_tupleDescriptor->natts * sizeof(bool));
	foreach (lc, attrs)
	{
		int i = foreach_current_index(lc);
		AttrNumber attnum = lfirst_int(lc);

		if (attnum > 0)
		{
			to->tts_values[attnum - 1] = from->tts_values[i];
			to->tts_isnull[attnum - 1] = from->tts_isnull[i];
		}
	}
	ExecStoreVirtualTuple(to);
	foreach (lc, attrs)
	{
		if (lfirst_int(lc) == SelfItemPointerAttributeNumber)
			to->tts_tid =
				*(ItemPointer) DatumGetPointer(from->tts_values[foreach_current_index(lc)]);
	}
}

/* The columns of an inner query must be what the outer scan reads. */
static void
check_columns(TupleDesc inner, TupleDesc outer, List *attrs)
{
	for (int i = 0; i < inner->natts && outer->natts > 0; i++)
	{
		AttrNumber attnum = attrs != NIL ? list_nth_int(attrs, i) : i + 1;

		if (attnum > 0 &&
			TupleDescAttr(inner, i)->atttypid != TupleDescAttr(outer, attnum - 1)->atttypid)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
					 errmsg("column %d of the remote query is of type %s, but %s is expected",
							i + 1, format_type_be(TupleDescAttr(inner, i)->atttypid),
							format_type_be(TupleDescAttr(outer, attnum - 1)->atttypid))));
	}
}

static void
begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = castNode(ForeignScan, node->ss.ps.plan);
	EState *estate = node->ss.ps.state;
	RangeTblEntry *rte;
	ConnectorScan *scan;
	int nparams = list_length(plan->fdw_exprs);
	Oid *types;
	ListCell *lc;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	rte = exec_rt_fetch(intVal(list_nth(plan->fdw_private, SCAN_USER_RTI)), estate);
	scan = palloc0(sizeof(ConnectorScan));
	node->fdw_state = scan;
	scan->relation = get_rel_name(rte->relid);
	scan->attrs = list_nth(plan->fdw_private, SCAN_ATTRS);
	types = palloc(sizeof(Oid) * Max(nparams, 1));
	foreach (lc, plan->fdw_exprs)
		types[foreach_current_index(lc)] = exprType(lfirst(lc));

	scan->query = connector_query(
		strVal(list_nth(plan->fdw_private, SCAN_SQL)), rte->relid,
		connector_user(compat_scan_user(plan, rte)), nparams, types,
		boolVal(list_nth(plan->fdw_private, SCAN_LOCK_ROWS)) ? QUERY_LOCK_ROWS : QUERY_PLAIN);
	connector_hold(scan->query);
	scan->param_exprs = ExecInitExprList(plan->fdw_exprs, (PlanState *) node);
	scan->params = connector_params(nparams, types);
	scan->param_context =
		AllocSetContextCreate(estate->es_query_cxt, "magic_fdw parameters", ALLOCSET_SMALL_SIZES);
}

static void
evaluate_params(ForeignScanState *node, ConnectorScan *scan)
{
	ExprContext *econtext = node->ss.ps.ps_ExprContext;
	ListCell *lc;

	MemoryContextReset(scan->param_context);
	foreach (lc, scan->param_exprs)
	{
		ParamExternData *param = &scan->params->params[foreach_current_index(lc)];
		int16 typlen;
		bool typbyval;
		MemoryContext old;

		param->value = ExecEvalExprSwitchContext(lfirst(lc), econtext, &param->isnull);
		if (param->isnull)
			continue;
		get_typlenbyval(param->ptype, &typlen, &typbyval);
		old = MemoryContextSwitchTo(scan->param_context);
		param->value = datumCopy(param->value, typbyval, typlen);
		MemoryContextSwitchTo(old);
	}
}

/* Starts the inner query in the outer query's memory and under its snapshot. */
static void
start_scan(ForeignScanState *node, ConnectorScan *scan)
{
	EState *estate = node->ss.ps.state;
	MemoryContext old;

	evaluate_params(node, scan);
	old = MemoryContextSwitchTo(estate->es_query_cxt);
	scan->desc = connector_open(scan->query, scan->params, estate->es_snapshot);
	check_columns(scan->desc->tupDesc, node->ss.ss_ScanTupleSlot->tts_tupleDescriptor, scan->attrs);
	MemoryContextSwitchTo(old);
}

static TupleTableSlot *
iterate_scan(ForeignScanState *node)
{
	ConnectorScan *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	TupleTableSlot *inner;
	ConnectorContext context;

	connector_context_push(&context, scan->relation, scan->query->sql);
	if (scan->desc == NULL)
		start_scan(node, scan);
	inner = connector_next(scan->desc);
	if (inner != NULL)
		connector_fill_slot(slot, inner, scan->attrs);
	else
		ExecClearTuple(slot);
	connector_context_pop(&context);
	return slot;
}

/*
 * EvalPlanQual has the rows of single tables at hand and checks them itself. What has no table of
 * its own is a sub-select below the query that is checked, and must really be computed.
 */
static bool
recheck_scan(ForeignScanState *node, TupleTableSlot *slot)
{
	if (castNode(ForeignScan, node->ss.ps.plan)->scan.scanrelid > 0)
		return true;
	return !TupIsNull(iterate_scan(node));
}

static void
stop_scan(ConnectorScan *scan)
{
	if (scan->desc != NULL)
		connector_close(scan->desc);
	scan->desc = NULL;
}

static void
rescan(ForeignScanState *node)
{
	ConnectorScan *scan = node->fdw_state;

	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	if (scan->desc == NULL)
		return;
	if (scan->params == NULL)
		ExecutorRewind(scan->desc);
	else
		stop_scan(scan);
}

static void
end_scan(ForeignScanState *node)
{
	ConnectorScan *scan = node->fdw_state;

	if (scan == NULL)
		return;
	ExecClearTuple(node->ss.ss_ScanTupleSlot);
	stop_scan(scan);
	connector_release(scan->query);
}

static void
explain_scan(ForeignScanState *node, ExplainState *es)
{
	List *private = castNode(ForeignScan, node->ss.ps.plan)->fdw_private;
	ListCell *lc;
	char *sql;
	char *relations = strVal(list_nth(private, SCAN_RELATIONS));

	if (relations[0] != '\0')
		ExplainPropertyText("Relations", relations, es);
	if (!es->verbose)
		return;
	sql = strVal(list_nth(private, SCAN_SQL));
	if (boolVal(list_nth(private, SCAN_LOCK_ROWS)))
		sql = psprintf("%s FOR UPDATE", sql);
	ExplainPropertyText("Remote SQL", sql, es);
	foreach (lc, (List *) list_nth(private, SCAN_NOT_PUSHED))
		ExplainPropertyText("Not pushed", strVal(lfirst(lc)), es);
}

void
connector_scan_callbacks(FdwRoutine *routine)
{
	routine->BeginForeignScan = begin_scan;
	routine->IterateForeignScan = iterate_scan;
	routine->ReScanForeignScan = rescan;
	routine->EndForeignScan = end_scan;
	routine->RecheckForeignScan = recheck_scan;
	routine->ExplainForeignScan = explain_scan;
}
