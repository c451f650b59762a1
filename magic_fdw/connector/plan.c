/*
 * plan.c
 *		Sizes, paths and plans of scans of foreign tables.
 *
 * Estimates are the base's own: the inner query of each path is planned, and its rows, width and
 * cost are taken, plus what fetching a row and checking the clauses that stay here cost. Paths: one
 * plain, one for the order and the LIMIT that the query wants, and one for each set of outer
 * relations whose columns can go in as parameters.
 *
 * The base's OID goes into the plan's dependencies, so that a cached plan is made anew when the
 * base changes.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/prep.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/selfuncs.h"

#include "connector/connector.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(magic_fdw_handler);

/* Cost of handing a row from the inner to the outer executor. */
#define HANDOVER_COST (0.5 * cpu_tuple_cost)

/*
 * Shows a value of the outer plan as $n, as a parameter of the statement is shown. PostgreSQL 17 looks
 * for the subplan that makes it, without asking whether there is a plan.
 */
static Node *
name_by_number(Node *node, void *context)
{
	if (node != NULL && IsA(node, Param))
	{
		Param *param = copyObject((Param *) node);

		param->paramkind = PARAM_EXTERN;
		return (Node *) param;
	}
	return expression_tree_mutator(node, name_by_number, context);
}

Node *
connector_not_pushed(RelOptInfo *baserel, BaseRelation *base, Node *clause, const char *reason)
{
	List *context = deparse_context_for(get_rel_name(base->foreigntableid), base->foreigntableid);
	Node *copy = name_by_number(copyObject(clause), NULL);

	ChangeVarNodes(copy, baserel->relid, 1, 0);
	return (Node *) makeString(
		psprintf("%s (%s)", deparse_expression(copy, context, false, false), reason));
}

void
connector_estimate(const char *sql, ConnectorRel *crel, List *params, double *rows, int *width,
				   Cost *startup_cost, Cost *total_cost)
{
	int nparams = list_length(params);
	Oid *types = palloc(sizeof(Oid) * Max(nparams, 1));
	ListCell *lc;
	Plan *plan;

	foreach (lc, params)
		types[foreach_current_index(lc)] = exprType(lfirst(lc));
	plan = connector_query(sql, crel->bases[bms_next_member(crel->relids, -1)]->foreigntableid,
						   crel->userid, nparams, types, QUERY_PLAIN)
			   ->stmt->planTree;
	*rows = clamp_row_est(plan->plan_rows);
	*width = plan->plan_width;
	*startup_cost = plan->startup_cost;
	*total_cost = plan->total_cost;
}

/* Sorts the restrictions of a base relation into those that ship and those that stay. */
static void
classify_conditions(RelOptInfo *baserel, ConnectorRel *crel)
{
	ListCell *lc;

	foreach (lc, baserel->baserestrictinfo)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);
		const char *reason = connector_unshippable(crel, rinfo->clause);

		if (reason == NULL && !restriction_is_securely_promotable(rinfo, baserel))
			reason = "a security barrier must be passed first";
		if (reason == NULL)
			crel->remote_conds = lappend(crel->remote_conds, rinfo);
		else
		{
			crel->local_conds = lappend(crel->local_conds, rinfo);
			crel->not_pushed =
				lappend(crel->not_pushed,
						connector_not_pushed(baserel, crel->base, (Node *) rinfo->clause, reason));
		}
	}
}

void
connector_foreign_scan_sizes(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	ConnectorRel *crel = palloc0(sizeof(ConnectorRel));
	ConnectorContext context;
	List *attrs;
	List *params;
	List *local_exprs;
	char *sql;

	connector_context_push(&context, get_rel_name(foreigntableid), NULL);
	crel->base = connector_base(foreigntableid);
	crel->userid = connector_user(compat_plan_user(root, baserel));
	crel->relids = bms_copy(baserel->relids);
	crel->bases = palloc0(sizeof(BaseRelation *) * root->simple_rel_array_size);
	crel->bases[baserel->relid] = crel->base;
	crel->description = get_rel_name(foreigntableid);
	baserel->fdw_private = crel;
	root->glob->relationOids = lappend_oid(root->glob->relationOids, crel->base->relid);

	classify_conditions(baserel, crel);
	pull_varattnos((Node *) baserel->reltarget->exprs, baserel->relid, &crel->attrs_used);
	local_exprs = extract_actual_clauses(crel->local_conds, false);
	pull_varattnos((Node *) local_exprs, baserel->relid, &crel->attrs_used);

	sql = connector_deparse_select(root, crel, baserel->relid, crel->remote_conds, NIL, -1, NULL,
								   &attrs, &params);
	connector_context_pop(&context);
	connector_estimate(sql, crel, params, &crel->rows, &crel->width, &crel->startup_cost,
					   &crel->total_cost);
	baserel->rows =
		clamp_row_est(crel->rows * clauselist_selectivity(root, crel->local_conds, baserel->relid,
														  JOIN_INNER, NULL));
	baserel->reltarget->width = crel->width;
	if (baserel->tuples < crel->rows)
		baserel->tuples = crel->rows;
}

/* Adds what stays here to the cost of an inner query, and makes a path of it. */
void
connector_add_path(PlannerInfo *root, RelOptInfo *baserel, double inner_rows, double rows,
				   Cost startup_cost, Cost total_cost, List *pathkeys, double limit, Relids outer)
{
	ConnectorRel *crel = baserel->fdw_private;
	List *private = list_make1(makeFloat(psprintf("%.0f", limit)));
	QualCost local;

	cost_qual_eval(&local, crel->local_conds, root);
	startup_cost += local.startup + baserel->reltarget->cost.startup;
	total_cost += local.startup + baserel->reltarget->cost.startup +
				  inner_rows * (HANDOVER_COST + local.per_tuple) +
				  rows * baserel->reltarget->cost.per_tuple;
	if (IS_JOIN_REL(baserel))
		add_path(baserel,
				 (Path *) compat_create_foreign_join_path(root, baserel, rows, startup_cost,
														  total_cost, pathkeys, outer, private));
	else
		add_path(baserel,
				 (Path *) compat_create_foreignscan_path(root, baserel, rows, startup_cost,
														 total_cost, pathkeys, outer, private));
}

/* The query's order, if all of it can be made on the other side. */
static List *
shippable_pathkeys(PlannerInfo *root, RelOptInfo *baserel)
{
	ListCell *lc;

	foreach (lc, root->query_pathkeys)
	{
		if (connector_pathkey_expr(lfirst_node(PathKey, lc), baserel->fdw_private) == NULL)
			return NIL;
	}
	return root->query_pathkeys;
}

/*
 * How many rows are enough for the whole query, or -1: the relation is all that it reads, every
 * clause ships, and LIMIT and OFFSET are constants.
 */
static double
enough_rows(PlannerInfo *root, RelOptInfo *baserel)
{
	ConnectorRel *crel = baserel->fdw_private;
	Query *parse = root->parse;

	if (root->limit_tuples < 0 || crel->local_conds != NIL ||
		!bms_equal(root->all_baserels, baserel->relids) || parse->rowMarks != NIL ||
		parse->commandType != CMD_SELECT || parse->limitOption == LIMIT_OPTION_WITH_TIES ||
		(parse->limitCount && !IsA(parse->limitCount, Const)) ||
		(parse->limitOffset && !IsA(parse->limitOffset, Const)))
		return -1;
	return root->limit_tuples;
}

/* A path in the query's order, or one that ends after enough rows, or both. */
void
connector_ordered_path(PlannerInfo *root, RelOptInfo *baserel)
{
	ConnectorRel *crel = baserel->fdw_private;
	List *pathkeys = shippable_pathkeys(root, baserel);
	double limit = pathkeys == root->query_pathkeys ? enough_rows(root, baserel) : -1;
	List *attrs;
	List *params;
	char *sql;
	double rows;
	int width;
	Cost startup_cost;
	Cost total_cost;

	if (pathkeys == NIL && limit < 0)
		return;
	if (IS_JOIN_REL(baserel))
		sql = connector_deparse_computed(root, crel, pathkeys, limit, &params);
	else
		sql = connector_deparse_select(root, crel, baserel->relid, crel->remote_conds, pathkeys,
									   limit, NULL, &attrs, &params);
	connector_estimate(sql, crel, params, &rows, &width, &startup_cost, &total_cost);
	connector_add_path(root, baserel, rows, limit < 0 ? baserel->rows : rows, startup_cost,
					   total_cost, pathkeys, limit, NULL);
}

/* Does a join clause ship with the columns of other relations as parameters? */
static bool
join_clause_ships(RestrictInfo *rinfo, RelOptInfo *baserel)
{
	return join_clause_is_movable_to(rinfo, baserel) &&
		   connector_unshippable(baserel->fdw_private, rinfo->clause) == NULL &&
		   restriction_is_securely_promotable(rinfo, baserel);
}

/* Callback: any member of an equivalence class that belongs to this relation alone. */
static bool
member_matches(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec, EquivalenceMember *em,
			   void *arg)
{
	return bms_equal(em->em_relids, rel->relids) && !bms_is_empty(em->em_relids);
}

/* The sets of outer relations that are worth a parameterised path. */
static List *
parameter_sources(PlannerInfo *root, RelOptInfo *baserel)
{
	List *clauses = list_copy(baserel->joininfo);
	List *sources = NIL;
	ListCell *lc;

	if (baserel->has_eclass_joins)
		clauses = list_concat(
			clauses, generate_implied_equalities_for_column(root, baserel, member_matches, NULL,
															baserel->lateral_referencers));
	foreach (lc, clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);
		Relids outer;
		ListCell *lc2;

		if (!join_clause_ships(rinfo, baserel))
			continue;
		outer = bms_union(rinfo->clause_relids, baserel->lateral_relids);
		outer = bms_del_members(outer, baserel->relids);
		if (bms_is_empty(outer))
			continue;
		foreach (lc2, sources)
		{
			if (bms_equal(lfirst(lc2), outer))
				break;
		}
		if (lc2 == NULL)
			sources = lappend(sources, outer);
	}
	return sources;
}

static void
add_parameterised_path(PlannerInfo *root, RelOptInfo *baserel, Relids outer)
{
	ConnectorRel *crel = baserel->fdw_private;
	ParamPathInfo *info = get_baserel_parampathinfo(root, baserel, outer);
	List *conds = list_copy(crel->remote_conds);
	List *attrs;
	List *params;
	ListCell *lc;
	char *sql;
	double inner_rows;
	int width;
	Cost startup_cost;
	Cost total_cost;

	foreach (lc, info->ppi_clauses)
	{
		if (join_clause_ships(lfirst_node(RestrictInfo, lc), baserel))
			conds = lappend(conds, lfirst(lc));
	}
	sql =
		connector_deparse_select(root, crel, baserel->relid, conds, NIL, -1, NULL, &attrs, &params);
	connector_estimate(sql, crel, params, &inner_rows, &width, &startup_cost, &total_cost);
	info->ppi_rows = Min(info->ppi_rows, inner_rows);
	connector_add_path(root, baserel, inner_rows, info->ppi_rows, startup_cost, total_cost, NIL, -1,
					   outer);
}

static void
get_paths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	ConnectorRel *crel = baserel->fdw_private;
	ListCell *lc;

	connector_add_path(root, baserel, crel->rows, baserel->rows, crel->startup_cost,
					   crel->total_cost, NIL, -1, baserel->lateral_relids);
	if (bms_is_empty(baserel->lateral_relids))
		connector_ordered_path(root, baserel);
	foreach (lc, parameter_sources(root, baserel))
		add_parameterised_path(root, baserel, lfirst(lc));
}

/* FOR UPDATE and the like that the user asked for on this relation, or NULL. */
static const char *
locking_clause(PlannerInfo *root, RelOptInfo *baserel)
{
	static const char *const strengths[] = {
		[LCS_FORKEYSHARE] = "KEY SHARE",
		[LCS_FORSHARE] = "SHARE",
		[LCS_FORNOKEYUPDATE] = "NO KEY UPDATE",
		[LCS_FORUPDATE] = "UPDATE",
	};
	static const char *const policies[] = {
		[LockWaitBlock] = "",
		[LockWaitSkip] = " SKIP LOCKED",
		[LockWaitError] = " NOWAIT",
	};
	PlanRowMark *mark = get_plan_rowmark(root->rowMarks, baserel->relid);

	if (mark == NULL || mark->strength == LCS_NONE)
		return NULL;
	return psprintf(" FOR %s%s", strengths[mark->strength], policies[mark->waitPolicy]);
}

/* Splits the clauses of the chosen path like the planning did. */
static void
split_clauses(RelOptInfo *baserel, List *clauses, List **remote, List **local, List **not_pushed)
{
	ConnectorRel *crel = baserel->fdw_private;
	ListCell *lc;

	*not_pushed = list_copy(crel->not_pushed);
	foreach (lc, clauses)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

		if (rinfo->pseudoconstant)
			continue;
		if (list_member_ptr(crel->remote_conds, rinfo))
			*remote = lappend(*remote, rinfo);
		else if (list_member_ptr(crel->local_conds, rinfo))
			*local = lappend(*local, rinfo->clause);
		else if (connector_unshippable(crel, rinfo->clause) == NULL &&
				 restriction_is_securely_promotable(rinfo, baserel))
			*remote = lappend(*remote, rinfo);
		else
			*local = lappend(*local, rinfo->clause);
	}
}

/* The plan of a scan of one foreign table. */
static ForeignScan *
base_scan_plan(PlannerInfo *root, RelOptInfo *baserel, ForeignPath *path, List *tlist,
			   List *clauses, Plan *outer_plan)
{
	ConnectorRel *crel = baserel->fdw_private;
	List *remote = NIL;
	List *local = NIL;
	List *not_pushed = NIL;
	List *attrs;
	List *params;
	const char *locking;
	char *sql;
	bool target =
		bms_is_member(baserel->relid, root->all_result_relids) &&
		(root->parse->commandType == CMD_UPDATE || root->parse->commandType == CMD_DELETE);

	split_clauses(baserel, clauses, &remote, &local, &not_pushed);
	pull_varattnos((Node *) local, baserel->relid, &crel->attrs_used);
	locking = target ? " FOR UPDATE" : locking_clause(root, baserel);
	sql = connector_deparse_select(root, crel, baserel->relid, remote, path->path.pathkeys,
								   floatVal(linitial(path->fdw_private)), target ? NULL : locking,
								   &attrs, &params);
	return make_foreignscan(tlist, local, baserel->relid, params,
							lappend(list_make5(makeString(sql), attrs, makeBoolean(target),
											   not_pushed, makeInteger(baserel->relid)),
									makeString("")),
							NIL, get_actual_clauses(remote), outer_plan);
}

/* The plan of a join or grouping: the inner query's columns are the scan tuple. */
static ForeignScan *
computed_plan(PlannerInfo *root, RelOptInfo *rel, ForeignPath *path, List *tlist, Plan *outer_plan)
{
	ConnectorRel *crel = rel->fdw_private;
	double limit = path->fdw_private ? floatVal(linitial(path->fdw_private)) : -1;
	List *params;
	char *sql = connector_deparse_computed(root, crel, IS_JOIN_REL(rel) ? path->path.pathkeys : NIL,
										   limit, &params);

	return make_foreignscan(tlist, NIL, 0, params,
							lappend(list_make5(makeString(sql), NIL, makeBoolean(false), NIL,
											   makeInteger(bms_next_member(crel->relids, -1))),
									makeString(pstrdup(crel->description))),
							crel->tlist, NIL, outer_plan);
}

static ForeignScan *
get_plan(PlannerInfo *root, RelOptInfo *rel, Oid foreigntableid, ForeignPath *best_path,
		 List *tlist, List *scan_clauses, Plan *outer_plan)
{
	if (IS_UPPER_REL(rel) || IS_JOIN_REL(rel))
		return computed_plan(root, rel, best_path, tlist, outer_plan);
	return base_scan_plan(root, rel, best_path, tlist, scan_clauses, outer_plan);
}

/* magic_fdw_handler() -> fdw_handler */
Datum
magic_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = connector_foreign_scan_sizes;
	routine->GetForeignPaths = get_paths;
	routine->GetForeignPlan = get_plan;
	routine->GetForeignJoinPaths = connector_join_paths;
	routine->GetForeignUpperPaths = connector_upper_paths;
	connector_scan_callbacks(routine);
	connector_modify_callbacks(routine);
	connector_import_callbacks(routine);
	PG_RETURN_POINTER(routine);
}
