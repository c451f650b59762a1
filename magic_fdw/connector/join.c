/*
 * join.c
 *		Joins on the other side.
 *
 * An inner or left join of two relations that one inner query each can give becomes one inner
 * query, if every join clause ships and no clause of the two has to be checked here. Conditions of
 * the outer side and those that stand above the join go to WHERE; conditions of the inner side of a
 * left join go to ON, where they mean the same.
 *
 * Not joined there: semi and anti joins, full joins, queries that lock or change rows (the rows of
 * the single tables are needed when a row is checked again), and lateral references.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/tlist.h"

#include "connector/connector.h"

/* Only columns can be the result of a join; a placeholder or a whole row must be made here. */
static bool
columns_only(List *exprs)
{
	ListCell *lc;

	foreach (lc, exprs)
	{
		if (!IsA(lfirst(lc), Var) || lfirst_node(Var, lc)->varattno <= 0)
			return false;
	}
	return true;
}

/* Adds the join's clauses to ON or WHERE; false if one does not ship. */
static bool
add_clauses(ConnectorRel *crel, RelOptInfo *joinrel, List *restrictlist)
{
	ListCell *lc;

	foreach (lc, restrictlist)
	{
		RestrictInfo *rinfo = lfirst_node(RestrictInfo, lc);

		if (rinfo->pseudoconstant || (rinfo->security_level > 0 && !rinfo->leakproof) ||
			connector_unshippable(crel, rinfo->clause) != NULL)
			return false;
		if (crel->jointype == JOIN_LEFT && RINFO_IS_PUSHED_DOWN(rinfo, joinrel->relids))
			crel->remote_conds = lappend(crel->remote_conds, rinfo);
		else
			crel->on = lappend(crel->on, rinfo);
	}
	return true;
}

static ConnectorRel *
join_rels(PlannerInfo *root, ConnectorRel *outer, ConnectorRel *inner, JoinType jointype)
{
	ConnectorRel *crel = palloc0(sizeof(ConnectorRel));

	crel->outer = outer;
	crel->inner = inner;
	crel->jointype = jointype;
	crel->userid = outer->userid;
	crel->relids = bms_union(outer->relids, inner->relids);
	crel->bases = palloc0(sizeof(BaseRelation *) * root->simple_rel_array_size);
	for (int i = -1; (i = bms_next_member(crel->relids, i)) >= 0;)
		crel->bases[i] = outer->bases[i] ? outer->bases[i] : inner->bases[i];
	crel->description = psprintf("(%s) %s JOIN (%s)", outer->description,
								 jointype == JOIN_LEFT ? "LEFT" : "INNER", inner->description);
	crel->remote_conds = list_copy(outer->remote_conds);
	if (jointype == JOIN_LEFT)
		crel->on = list_copy(inner->remote_conds);
	else
		crel->remote_conds = list_concat(crel->remote_conds, inner->remote_conds);
	return crel;
}

void
connector_join_paths(PlannerInfo *root, RelOptInfo *joinrel, RelOptInfo *outerrel,
					 RelOptInfo *innerrel, JoinType jointype, JoinPathExtraData *extra)
{
	ConnectorRel *outer = outerrel->fdw_private;
	ConnectorRel *inner = innerrel->fdw_private;
	ConnectorRel *crel;
	List *params;
	char *sql;

	if (joinrel->fdw_private != NULL || outer == NULL || inner == NULL ||
		(jointype != JOIN_INNER && jointype != JOIN_LEFT) || outer->userid != inner->userid ||
		outer->local_conds != NIL || inner->local_conds != NIL ||
		(root->parse->commandType != CMD_SELECT && root->parse->commandType != CMD_INSERT) ||
		root->rowMarks != NIL || !bms_is_empty(joinrel->lateral_relids) ||
		joinrel->reloptkind != RELOPT_JOINREL || !columns_only(joinrel->reltarget->exprs))
		return;
	crel = join_rels(root, outer, inner, jointype);
	if (!add_clauses(crel, joinrel, extra->restrictlist))
		return;

	crel->tlist = add_to_flat_tlist(NIL, joinrel->reltarget->exprs);
	sql = connector_deparse_computed(root, crel, NIL, -1, &params);
	connector_estimate(sql, crel, params, &crel->rows, &crel->width, &crel->startup_cost,
					   &crel->total_cost);
	joinrel->fdw_private = crel;
	joinrel->rows = crel->rows;
	connector_add_path(root, joinrel, crel->rows, crel->rows, crel->startup_cost, crel->total_cost,
					   NIL, -1, NULL);
	connector_ordered_path(root, joinrel);
}
