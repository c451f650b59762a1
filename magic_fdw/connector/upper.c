/*
 * upper.c
 *		Grouping and aggregation on the other side.
 *
 * GROUP BY, the aggregates and HAVING of a query on foreign tables ship as one inner query when
 * their join does, everything in them ships and no WHERE clause has to be checked here. Grouping
 * sets, and what comes after the grouping (windows, DISTINCT, ORDER BY, LIMIT), are computed here on
 * its result.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/tlist.h"
#include "utils/lsyscache.h"

#include "connector/connector.h"

/* Adds the parts of an expression that the inner query must compute; false if one cannot ship. */
static bool
add_parts(ConnectorRel *crel, Expr *expr, Index sortgroupref)
{
	List *parts;
	ListCell *lc;

	if (connector_unshippable(crel, expr) == NULL)
	{
		crel->tlist = add_to_flat_tlist(crel->tlist, list_make1(expr));
		return true;
	}
	/* Computed here from its aggregates and columns, of which only aggregates are sure to exist. */
	parts = pull_var_clause((Node *) expr, PVC_INCLUDE_AGGREGATES);
	foreach (lc, parts)
	{
		Expr *part = lfirst(lc);

		if (!IsA(part, Aggref) || connector_unshippable(crel, part) != NULL)
			return false;
		crel->tlist = add_to_flat_tlist(crel->tlist, list_make1(part));
	}
	return true;
}

static void
add_group_column(ConnectorRel *crel, Expr *expr, Index sortgroupref)
{
	TargetEntry *tle = makeTargetEntry(expr, list_length(crel->tlist) + 1, NULL, false);

	tle->ressortgroupref = sortgroupref;
	crel->tlist = lappend(crel->tlist, tle);
}

/* Fills tlist and having; false if the grouping cannot ship. */
static bool
grouping_ships(PlannerInfo *root, ConnectorRel *crel, PathTarget *target, Node *having)
{
	ListCell *lc;
	int i = 0;

	foreach (lc, target->exprs)
	{
		Expr *expr = lfirst(lc);
		Index ref = get_pathtarget_sortgroupref(target, i++);
		SortGroupClause *group =
			ref ? get_sortgroupref_clause_noerr(ref, root->parse->groupClause) : NULL;

		if (group != NULL)
		{
			/* a parameter or constant as a grouping column has no type of its own there */
			if (connector_unshippable(crel, expr) != NULL || !contain_var_clause((Node *) expr))
				return false;
			add_group_column(crel, expr, ref);
		}
		else if (!add_parts(crel, expr, ref))
			return false;
	}
	foreach (lc, (List *) having)
	{
		Expr *expr = lfirst(lc);

		if (connector_unshippable(crel, expr) != NULL)
			return false;
		crel->having = lappend(crel->having, expr);
	}
	return crel->tlist != NIL;
}

void
connector_upper_paths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
					  RelOptInfo *output_rel, void *extra)
{
	ConnectorRel *below = input_rel->fdw_private;
	GroupPathExtraData *group_extra = extra;
	ConnectorRel *crel;
	List *params;
	char *sql;

	if (stage != UPPERREL_GROUP_AGG || output_rel->fdw_private != NULL ||
		(!IS_JOIN_REL(input_rel) && input_rel->reloptkind != RELOPT_BASEREL) || below == NULL ||
		below->local_conds != NIL || root->parse->groupingSets != NIL ||
		root->parse->hasTargetSRFs || root->rowMarks != NIL ||
		(!root->parse->groupClause && !root->parse->hasAggs) ||
		group_extra->patype != PARTITIONWISE_AGGREGATE_NONE)
		return;

	crel = palloc0(sizeof(ConnectorRel));
	crel->bases = below->bases;
	crel->outer = below;
	crel->grouped = true;
	crel->description = psprintf("Aggregate on (%s)", below->description);
	crel->userid = below->userid;
	crel->remote_conds = below->remote_conds;
	crel->relids = below->relids;
	if (!grouping_ships(root, crel, output_rel->reltarget, group_extra->havingQual))
		return;
	output_rel->fdw_private = crel;
	sql = connector_deparse_computed(root, crel, NIL, -1, &params);
	connector_estimate(sql, crel, params, &crel->rows, &crel->width, &crel->startup_cost,
					   &crel->total_cost);
	output_rel->rows = crel->rows;
	add_path(output_rel,
			 (Path *) compat_create_foreign_upper_path(
				 root, output_rel, output_rel->reltarget, crel->rows, crel->startup_cost,
				 crel->total_cost + crel->rows * cpu_tuple_cost, NIL, NIL));
}
