/*
 * plan_columns.c
 *		Which columns a plan reads of magic tables.
 *
 * PostgreSQL asks a slot for "the first n attributes", so a query for the last column would decode all of a
 * row. After a plan has been started, this walks it from the top and tells the slot of each scan
 * which columns anything above it looks at (MagicSlot.needed); the others come out as nulls that nobody
 * sees.
 *
 * A scan that projects reads what its target list and conditions name. One that does not hands its slot
 * up: then it is what its parent names of it, for the parents known here; under any other parent all columns
 * are read. A whole-row reference reads all. Re-checks of rows that were changed meanwhile (EvalPlanQual) have
 * plan states and slots of their own, which are not touched.
 */
#include "engine/engine_int.h"

#include "access/sysattr.h"
#include "executor/execdesc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"

/* Attribute numbers as pull_varattnos() gives them. */
typedef struct Columns
{
	bool all;
	Bitmapset *set;
} Columns;

static const Columns every_column = {.all = true};

static void mark_plan(PlanState *ps, Columns used);

static void
add_columns(Columns *columns, const void *expression, int varno)
{
	pull_varattnos((Node *) expression, (Index) varno, &columns->set);
}

/* Input columns by number, as sorts and groupings name them. */
static void
add_numbers(Columns *columns, const AttrNumber *numbers, int n)
{
	for (int i = 0; i < n; i++)
		columns->set =
			bms_add_member(columns->set, numbers[i] - FirstLowInvalidHeapAttributeNumber);
}

/* Tells a scan's slot what is read of it. */
static void
mark_scan(ScanState *ss, Columns used)
{
	TupleTableSlot *slot = ss->ss_ScanTupleSlot;
	Plan *plan = ss->ps.plan;
	int varno = ((Scan *) plan)->scanrelid;
	Columns read = {0};
	bool *needed;
	int natts;

	if (slot == NULL || !slot_is_magic(slot))
		return;
	if (ss->ps.ps_ProjInfo != NULL)
		add_columns(&read, plan->targetlist, varno);
	else if (used.all)
		return;
	else
		read.set = bms_copy(used.set);
	add_columns(&read, plan->qual, varno);
	switch (nodeTag(plan))
	{
		case T_IndexScan:
			add_columns(&read, ((IndexScan *) plan)->indexqualorig, varno);
			add_columns(&read, ((IndexScan *) plan)->indexorderbyorig, varno);
			break;
		case T_BitmapHeapScan:
			add_columns(&read, ((BitmapHeapScan *) plan)->bitmapqualorig, varno);
			break;
		case T_TidScan:
			add_columns(&read, ((TidScan *) plan)->tidquals, varno);
			break;
		case T_TidRangeScan:
			add_columns(&read, ((TidRangeScan *) plan)->tidrangequals, varno);
			break;
		default:
			break;
	}
	if (bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, read.set))
		return;
	natts = slot->tts_tupleDescriptor->natts;
	needed = MemoryContextAllocZero(ss->ps.state->es_query_cxt, sizeof(bool) * Max(natts, 1));
	for (int att = 0; att < natts; att++)
		needed[att] = bms_is_member(att + 1 - FirstLowInvalidHeapAttributeNumber, read.set);
	((MagicSlot *) slot)->needed = needed;
	bms_free(read.set);
}

/* What the expressions of a node above one or two others name of them. */
static void
add_node(Columns *outer, Columns *inner, const void *expression)
{
	add_columns(outer, expression, OUTER_VAR);
	if (inner != NULL)
		add_columns(inner, expression, INNER_VAR);
}

static void
mark_join(PlanState *ps)
{
	Plan *plan = ps->plan;
	Columns outer = {0};
	Columns inner = {0};
	ListCell *lc;

	add_node(&outer, &inner, plan->targetlist);
	add_node(&outer, &inner, plan->qual);
	add_node(&outer, &inner, ((Join *) plan)->joinqual);
	switch (nodeTag(plan))
	{
		case T_NestLoop:
			foreach (lc, ((NestLoop *) plan)->nestParams)
				add_node(&outer, &inner, ((NestLoopParam *) lfirst(lc))->paramval);
			break;
		case T_MergeJoin:
			add_node(&outer, &inner, ((MergeJoin *) plan)->mergeclauses);
			break;
		case T_HashJoin:
			add_node(&outer, &inner, ((HashJoin *) plan)->hashclauses);
			add_node(&outer, &inner, ((HashJoin *) plan)->hashkeys);
			break;
		default:
			outer = inner = every_column;
			break;
	}
	mark_plan(outerPlanState(ps), outer);
	mark_plan(innerPlanState(ps), inner);
}

/* Of the columns of a node's target list that are used: the columns of its input. */
static Columns
through_target_list(Plan *plan, Columns used)
{
	Columns input = {.all = used.all};
	ListCell *lc;

	if (used.all)
		return input;
	foreach (lc, plan->targetlist)
	{
		TargetEntry *entry = lfirst(lc);

		if (bms_is_member(entry->resno - FirstLowInvalidHeapAttributeNumber, used.set))
			add_columns(&input, entry->expr, OUTER_VAR);
	}
	return input;
}

static bool
mark_child(PlanState *ps, void *context)
{
	mark_plan(ps, every_column);
	return false;
}

/* Initplans and subplans hang on other nodes' lists; each is the top of a plan. */
static void
mark_plan(PlanState *ps, Columns used)
{
	Plan *plan;
	Columns input = {0};

	if (ps == NULL)
		return;
	check_stack_depth();
	plan = ps->plan;
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_TidScan:
		case T_TidRangeScan:
		case T_BitmapHeapScan:
			mark_scan((ScanState *) ps, used);
			return;
		case T_NestLoop:
		case T_MergeJoin:
		case T_HashJoin:
			mark_join(ps);
			return;
		case T_Hash:
			input = through_target_list(plan, used);
			add_columns(&input, ((Hash *) plan)->hashkeys, OUTER_VAR);
			break;
		case T_Sort:
			input = through_target_list(plan, used);
			add_numbers(&input, ((Sort *) plan)->sortColIdx, ((Sort *) plan)->numCols);
			break;
		case T_Limit:
			input = through_target_list(plan, used);
			/* WITH TIES compares rows, of an index scan as it may be, without a sort below */
			add_numbers(&input, ((Limit *) plan)->uniqColIdx, ((Limit *) plan)->uniqNumCols);
			break;
		case T_Material:
			input = through_target_list(plan, used);
			break;
		case T_Agg:
			if (((Agg *) plan)->chain != NIL)
				input = every_column;
			add_columns(&input, plan->targetlist, OUTER_VAR);
			add_columns(&input, plan->qual, OUTER_VAR);
			add_numbers(&input, ((Agg *) plan)->grpColIdx, ((Agg *) plan)->numCols);
			break;
		default:
			(void) planstate_tree_walker(ps, mark_child, NULL);
			return;
	}
	mark_plan(outerPlanState(ps), input);
}

/* Tells the slots of all scans of a started plan what is read of them. */
void
plan_columns_mark(QueryDesc *query)
{
	ListCell *lc;

	mark_plan(query->planstate, every_column);
	foreach (lc, query->estate->es_subplanstates)
		mark_plan(lfirst(lc), every_column);
}
