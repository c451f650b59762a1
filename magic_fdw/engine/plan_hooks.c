/*
 * plan_hooks.c
 *		What planner and executor take for granted of TIDs and slots, and is not so for magic tables.
 *
 * Prefetching. A bitmap heap scan asks the storage manager to prefetch the block of each TID, as a block of
 * the file. The file of a magic table is much shorter than its TIDs suggest; beyond the file's last segment
 * (1 GB) the request raises an error, before it the request is useless. So prefetching is switched off in
 * every bitmap heap scan node when the executor has started (plan_settle, called from the hook in ddl.c; parallel
 * workers start an executor of their own).
 *
 * Rewritten tables. An index that was built after the snapshot may have no entry to ask the table for, so
 * whether the table is older than the snapshot is asked for every index scan when it has started, also for one
 * that will not be reached. The other scans ask for themselves.
 *
 * EvalPlanQual starts nodes without that hook: for the re-check of a row that others have changed it
 * initialises the plan anew, all sub-plans included. Relations of the statement's own level are not
 * scanned there, their rows are given; sub-plans are, and so are members of UNION ALL. For these no bitmap
 * path is made in statements that may re-check: those that change or lock rows anywhere.
 *
 * Reordering. An index scan ordered by an inexact distance (circle <-> point) keeps rows back as heap tuples
 * and puts them into the slot by ExecForceStoreHeapTuple, which gives a slot that is not heap's no xmin, in
 * older minor releases not even ctid. In statements that name a system column, or need it to change or
 * lock rows, such scans are not made.
 *
 * The planner's own functions get at an index's abilities only in get_relation_info_hook, where the
 * statement's parse tree is already half taken apart: so planner_hook looks at the whole of it first.
 */
#include "engine/engine_int.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "executor/execdesc.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"

/* What matters of a statement. */
typedef struct StatementTraits
{
	bool rechecks;		 /* changes or locks rows, at any level */
	bool system_columns; /* names ctid, xmin or the like, at any level */
} StatementTraits;

static planner_hook_type previous_planner_hook;
static get_relation_info_hook_type previous_relation_info_hook;
/* of the statement that is being planned */
static StatementTraits current_traits;

static bool
find_traits(Node *node, StatementTraits *traits)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		AttrNumber attno = ((Var *) node)->varattno;

		if (attno < 0 && attno != TableOidAttributeNumber)
			traits->system_columns = true;
		return false;
	}
	if (IsA(node, Query))
	{
		Query *query = (Query *) node;

		if (query->commandType != CMD_SELECT || query->rowMarks != NIL)
			traits->rechecks = true;
		return query_tree_walker(query, find_traits, traits, 0);
	}
	return expression_tree_walker(node, find_traits, traits);
}

static PlannedStmt *
plan_statement(Query *parse, const char *query, int options, ParamListInfo params)
{
	StatementTraits outer = current_traits;
	PlannedStmt *result;

	memset(&current_traits, 0, sizeof(current_traits));
	(void) find_traits((Node *) parse, &current_traits);
	/* WHERE CURRENT OF asks a cursor's scan for its ctid */
	if (options & CURSOR_OPT_FAST_PLAN)
		current_traits.system_columns = true;
	/* planning may call functions, which plan statements of their own */
	PG_TRY();
	{
		if (previous_planner_hook)
			result = previous_planner_hook(parse, query, options, params);
		else
			result = standard_planner(parse, query, options, params);
	}
	PG_FINALLY();
	{
		current_traits = outer;
	}
	PG_END_TRY();
	return result;
}

/* Is the relation a member, at any depth, of a UNION ALL that has become part of this level? */
static bool
is_union_member(PlannerInfo *root, Index relid)
{
	while (root->append_rel_array != NULL && root->append_rel_array[relid] != NULL)
	{
		relid = root->append_rel_array[relid]->parent_relid;
		if (root->simple_rte_array[relid]->rtekind != RTE_RELATION)
			return true;
	}
	return false;
}

/* May EvalPlanQual scan the relation, instead of being given its row? */
static bool
scanned_in_recheck(PlannerInfo *root, RelOptInfo *rel)
{
	return current_traits.rechecks &&
		   (root->parent_root != NULL || is_union_member(root, rel->relid));
}

static void
restrict_indexes(PlannerInfo *root, Oid relid, bool is_parent, RelOptInfo *rel)
{
	Relation table;
	ListCell *lc;
	bool is_magic;

	if (previous_relation_info_hook)
		previous_relation_info_hook(root, relid, is_parent, rel);
	if (rel->indexlist == NIL || (!current_traits.rechecks && !current_traits.system_columns))
		return;
	table = table_open(relid, NoLock);
	is_magic = engine_is_magic(table);
	table_close(table, NoLock);
	if (!is_magic)
		return;
	foreach (lc, rel->indexlist)
	{
		IndexOptInfo *index = lfirst(lc);

		index->amcanorderbyop = false;
		if (scanned_in_recheck(root, rel))
			index->amhasgetbitmap = false;
	}
}

/* Settles what concerns one node of a started plan; *arg: it will run. */
static bool
settle_node(PlanState *state, void *arg)
{
	bool runs = *(bool *) arg;
	Snapshot snapshot = state != NULL ? state->state->es_snapshot : InvalidSnapshot;
	ScanState *scan = (ScanState *) state;

	if (state == NULL)
		return false;
	switch (nodeTag(state))
	{
		case T_BitmapHeapScanState:
			if (engine_is_magic(scan->ss_currentRelation))
				((BitmapHeapScanState *) state)->prefetch_maximum = 0;
			break;
		case T_IndexScanState:
		case T_IndexOnlyScanState:
			if (runs && snapshot != InvalidSnapshot && engine_is_magic(scan->ss_currentRelation))
				storage_check_snapshot(scan->ss_currentRelation, snapshot);
			break;
		default:
			break;
	}
	return planstate_tree_walker(state, settle_node, arg);
}

/*
 * For a started plan that will run, or is only shown: switches prefetching off in all bitmap heap scans of
 * magic tables, and raises 40001 for an index scan whose table was rewritten after the snapshot was taken.
 */
void
plan_settle(QueryDesc *query, bool runs)
{
	ListCell *lc;

	foreach (lc, query->estate->es_subplanstates)
		(void) settle_node(lfirst(lc), &runs);
	(void) settle_node(query->planstate, &runs);
}

void
plan_hooks_init(void)
{
	previous_planner_hook = planner_hook;
	planner_hook = plan_statement;
	previous_relation_info_hook = get_relation_info_hook;
	get_relation_info_hook = restrict_indexes;
}
