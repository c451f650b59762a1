/*
 * deparse.c
 *		Planner trees to SQL.
 *
 * The text is parsed under connector_neutral_settings(): operators, functions and types of
 * pg_catalog need no schema. The base has the alias r<range table index>. Expressions that were not
 * accepted by connector_unshippable() must not come here. Casts are written as the function calls
 * that they are, because the explicit and the implicit spelling of a length cast differ.
 *
 * Constants are text in their output format, with their type: `'2020-01-01'::date`. Parameters and
 * columns of other relations become $1, $2, ...; DeparseContext.params collects what to pass.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "connector/connector.h"

static void
append_type(StringInfo buf, Oid type, int32 typmod)
{
	bits16 flags = FORMAT_TYPE_TYPEMOD_GIVEN;

	if (type >= FirstGenbkiObjectId)
		flags |= FORMAT_TYPE_FORCE_QUALIFY;
	appendStringInfoString(buf, format_type_extended(type, typmod, flags));
}

static void
append_collate(StringInfo buf, Oid collation)
{
	char *name = get_collation_name(collation);
	HeapTuple tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Oid nspoid = ((Form_pg_collation) GETSTRUCT(tuple))->collnamespace;

	ReleaseSysCache(tuple);
	appendStringInfo(buf, " COLLATE %s",
					 quote_qualified_identifier(get_namespace_name(nspoid), name));
}

void
connector_deparse_relation(BaseRelation *base, Index varno, StringInfo buf)
{
	appendStringInfo(buf, "%s r%u", quote_qualified_identifier(base->schema, base->name), varno);
}

/* A column, with the foreign table's type and collation. */
static void
append_column(BaseRelation *base, Index varno, AttrNumber attnum, StringInfo buf)
{
	BaseColumn *column;

	if (attnum == SelfItemPointerAttributeNumber)
	{
		appendStringInfo(buf, "r%u.ctid", varno);
		return;
	}
	column = connector_column(base, attnum);
	if (column->collation != column->foreign_collation)
		appendStringInfoChar(buf, '(');
	appendStringInfo(buf, "r%u.%s", varno, quote_identifier(column->name));
	if (column->type != column->foreign_type)
	{
		appendStringInfoString(buf, "::");
		append_type(buf, column->foreign_type, -1);
	}
	if (column->collation != column->foreign_collation)
	{
		append_collate(buf, column->foreign_collation);
		appendStringInfoChar(buf, ')');
	}
}

static void
append_param(Node *node, DeparseContext *context)
{
	int n = context->first_param;
	ListCell *lc;

	foreach (lc, context->params)
	{
		n++;
		if (equal(lfirst(lc), node))
		{
			appendStringInfo(context->buf, "$%d", n);
			return;
		}
	}
	context->params = lappend(context->params, node);
	appendStringInfo(context->buf, "$%d", n + 1);
}

static void
append_const(Const *con, DeparseContext *context)
{
	StringInfo buf = context->buf;
	bool collate = connector_needs_collate((Node *) con, context->crel);

	if (collate)
		appendStringInfoChar(buf, '(');
	if (con->constisnull)
	{
		appendStringInfoString(buf, "NULL::");
		append_type(buf, con->consttype, con->consttypmod);
	}
	else if (con->consttype == BOOLOID)
		appendStringInfoString(buf, DatumGetBool(con->constvalue) ? "true" : "false");
	else
	{
		Oid output;
		bool isvarlena;
		char *text;

		getTypeOutputInfo(con->consttype, &output, &isvarlena);
		text = OidOutputFunctionCall(output, con->constvalue);
		if (con->consttype == INT4OID && text[0] != '-')
			appendStringInfoString(buf, text);
		else
		{
			appendStringInfo(buf, "%s::", quote_literal_cstr(text));
			append_type(buf, con->consttype, con->consttypmod);
		}
	}
	if (collate)
	{
		append_collate(buf, con->constcollid);
		appendStringInfoChar(buf, ')');
	}
}

static void
append_list(List *exprs, const char *separator, DeparseContext *context)
{
	ListCell *lc;

	foreach (lc, exprs)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(context->buf, separator);
		connector_deparse_expr(lfirst(lc), context);
	}
}

static void
append_operator(OpExpr *op, const char *name, DeparseContext *context)
{
	appendStringInfoChar(context->buf, '(');
	if (list_length(op->args) == 2)
	{
		connector_deparse_expr(linitial(op->args), context);
		appendStringInfoChar(context->buf, ' ');
	}
	appendStringInfo(context->buf, "%s ", name);
	connector_deparse_expr(llast(op->args), context);
	appendStringInfoChar(context->buf, ')');
}

static void
append_bool(BoolExpr *expr, DeparseContext *context)
{
	appendStringInfoChar(context->buf, '(');
	if (expr->boolop == NOT_EXPR)
		appendStringInfoString(context->buf, "NOT ");
	append_list(expr->args, expr->boolop == AND_EXPR ? " AND " : " OR ", context);
	appendStringInfoChar(context->buf, ')');
}

static void
append_boolean_test(BooleanTest *test, DeparseContext *context)
{
	static const char *const tests[] = {
		[IS_TRUE] = "IS TRUE",		 [IS_NOT_TRUE] = "IS NOT TRUE",
		[IS_FALSE] = "IS FALSE",	 [IS_NOT_FALSE] = "IS NOT FALSE",
		[IS_UNKNOWN] = "IS UNKNOWN", [IS_NOT_UNKNOWN] = "IS NOT UNKNOWN",
	};

	appendStringInfoChar(context->buf, '(');
	connector_deparse_expr(test->arg, context);
	appendStringInfo(context->buf, " %s)", tests[test->booltesttype]);
}

static void
append_relabel(RelabelType *relabel, DeparseContext *context)
{
	Oid from = exprCollation((Node *) relabel->arg);
	bool collate = OidIsValid(relabel->resultcollid) && relabel->resultcollid != from;

	appendStringInfoChar(context->buf, '(');
	connector_deparse_expr(relabel->arg, context);
	if (exprType((Node *) relabel->arg) != relabel->resulttype)
	{
		appendStringInfoString(context->buf, "::");
		append_type(context->buf, relabel->resulttype, relabel->resulttypmod);
	}
	if (collate)
		append_collate(context->buf, relabel->resultcollid);
	appendStringInfoChar(context->buf, ')');
}

static void
append_case(CaseExpr *expr, DeparseContext *context)
{
	ListCell *lc;

	appendStringInfoString(context->buf, "(CASE");
	foreach (lc, expr->args)
	{
		CaseWhen *when = lfirst_node(CaseWhen, lc);

		appendStringInfoString(context->buf, " WHEN ");
		connector_deparse_expr(when->expr, context);
		appendStringInfoString(context->buf, " THEN ");
		connector_deparse_expr(when->result, context);
	}
	if (expr->defresult)
	{
		appendStringInfoString(context->buf, " ELSE ");
		connector_deparse_expr(expr->defresult, context);
	}
	appendStringInfoString(context->buf, " END)");
}

static void
append_aggregate(Aggref *agg, DeparseContext *context)
{
	ListCell *lc;

	appendStringInfo(context->buf, "%s(", quote_identifier(get_func_name(agg->aggfnoid)));
	if (agg->aggdistinct)
		appendStringInfoString(context->buf, "DISTINCT ");
	if (agg->aggstar)
		appendStringInfoChar(context->buf, '*');
	foreach (lc, agg->args)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(context->buf, ", ");
		connector_deparse_expr(lfirst_node(TargetEntry, lc)->expr, context);
	}
	appendStringInfoChar(context->buf, ')');
	if (agg->aggfilter)
	{
		appendStringInfoString(context->buf, " FILTER (WHERE ");
		connector_deparse_expr(agg->aggfilter, context);
		appendStringInfoChar(context->buf, ')');
	}
}

void
connector_deparse_expr(Expr *expr, DeparseContext *context)
{
	StringInfo buf = context->buf;

	switch (nodeTag(expr))
	{
		case T_Var:
			if (bms_is_member(((Var *) expr)->varno, context->crel->relids))
				append_column(context->crel->bases[((Var *) expr)->varno], ((Var *) expr)->varno,
							  ((Var *) expr)->varattno, buf);
			else
				append_param((Node *) expr, context);
			break;
		case T_Param:
			append_param((Node *) expr, context);
			break;
		case T_Const:
			append_const((Const *) expr, context);
			break;
		case T_OpExpr:
			append_operator((OpExpr *) expr, get_opname(((OpExpr *) expr)->opno), context);
			break;
		case T_DistinctExpr:
			append_operator((OpExpr *) expr, "IS DISTINCT FROM", context);
			break;
		case T_NullIfExpr:
			appendStringInfoString(buf, "NULLIF(");
			append_list(((NullIfExpr *) expr)->args, ", ", context);
			appendStringInfoChar(buf, ')');
			break;
		case T_ScalarArrayOpExpr:
		{
			ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) expr;

			appendStringInfoChar(buf, '(');
			connector_deparse_expr(linitial(op->args), context);
			appendStringInfo(buf, " %s %s (", get_opname(op->opno), op->useOr ? "ANY" : "ALL");
			connector_deparse_expr(lsecond(op->args), context);
			appendStringInfoString(buf, "))");
			break;
		}
		case T_FuncExpr:
			appendStringInfo(buf, "%s(",
							 quote_identifier(get_func_name(((FuncExpr *) expr)->funcid)));
			append_list(((FuncExpr *) expr)->args, ", ", context);
			appendStringInfoChar(buf, ')');
			break;
		case T_BoolExpr:
			append_bool((BoolExpr *) expr, context);
			break;
		case T_NullTest:
			appendStringInfoChar(buf, '(');
			connector_deparse_expr(((NullTest *) expr)->arg, context);
			appendStringInfoString(
				buf, ((NullTest *) expr)->nulltesttype == IS_NULL ? " IS NULL)" : " IS NOT NULL)");
			break;
		case T_BooleanTest:
			append_boolean_test((BooleanTest *) expr, context);
			break;
		case T_RelabelType:
			append_relabel((RelabelType *) expr, context);
			break;
		case T_CoalesceExpr:
			appendStringInfoString(buf, "COALESCE(");
			append_list(((CoalesceExpr *) expr)->args, ", ", context);
			appendStringInfoChar(buf, ')');
			break;
		case T_ArrayExpr:
			appendStringInfoString(buf, "ARRAY[");
			append_list(((ArrayExpr *) expr)->elements, ", ", context);
			appendStringInfoString(buf, "]::");
			append_type(buf, ((ArrayExpr *) expr)->array_typeid, -1);
			break;
		case T_CaseExpr:
			append_case((CaseExpr *) expr, context);
			break;
		case T_Aggref:
			append_aggregate((Aggref *) expr, context);
			break;
		default:
			elog(ERROR, "unexpected node type %d in an expression to ship", (int) nodeTag(expr));
	}
}

/* "a AND b" of RestrictInfos or bare expressions. */
void
connector_deparse_conditions(List *conds, DeparseContext *context)
{
	ListCell *lc;

	foreach (lc, conds)
	{
		Node *cond = lfirst(lc);

		if (IsA(cond, RestrictInfo))
			cond = (Node *) ((RestrictInfo *) cond)->clause;
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(context->buf, " AND ");
		connector_deparse_expr((Expr *) cond, context);
	}
}

/* A comma list of the columns used; *attrs gets their attribute numbers. "NULL" if none is. */
static void
append_columns(BaseRelation *base, Index varno, Bitmapset *attrs_used, StringInfo buf, List **attrs)
{
	bool whole = bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, attrs_used);

	*attrs = NIL;
	for (AttrNumber attnum = 1; attnum <= base->ncolumns; attnum++)
	{
		if (base->columns[attnum - 1].name == NULL ||
			!(whole || bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, attrs_used)))
			continue;
		if (*attrs != NIL)
			appendStringInfoString(buf, ", ");
		append_column(base, varno, attnum, buf);
		*attrs = lappend_int(*attrs, attnum);
	}
	if (bms_is_member(SelfItemPointerAttributeNumber - FirstLowInvalidHeapAttributeNumber,
					  attrs_used) &&
		base->has_ctid)
	{
		appendStringInfo(buf, "%sr%u.ctid", *attrs != NIL ? ", " : "", varno);
		*attrs = lappend_int(*attrs, SelfItemPointerAttributeNumber);
	}
	if (*attrs == NIL)
	{
		appendStringInfoString(buf, "NULL");
		*attrs = list_make1_int(0);
	}
}

void
connector_deparse_returning(BaseRelation *base, Index varno, Bitmapset *attrs_used, StringInfo buf,
							List **attrs)
{
	appendStringInfoString(buf, " RETURNING ");
	append_columns(base, varno, attrs_used, buf, attrs);
}

/*
 * The expression of the relation that a pathkey sorts by, if it can be written as
 * ORDER BY expression ASC|DESC; else NULL.
 */
Expr *
connector_pathkey_expr(PathKey *pathkey, ConnectorRel *crel)
{
	ListCell *lc;

	if (pathkey->pk_eclass->ec_has_volatile)
		return NULL;
	foreach (lc, pathkey->pk_eclass->ec_members)
	{
		EquivalenceMember *em = lfirst_node(EquivalenceMember, lc);
		TypeCacheEntry *type;
		Oid operator;

		if (em->em_is_child || em->em_is_const || bms_is_empty(em->em_relids) ||
			!bms_is_subset(em->em_relids, crel->relids))
			continue;
		operator= get_opfamily_member(pathkey->pk_opfamily, em->em_datatype, em->em_datatype,
									  pathkey->pk_strategy);
		type =
			lookup_type_cache(exprType((Node *) em->em_expr), TYPECACHE_LT_OPR | TYPECACHE_GT_OPR);
		if (!OidIsValid(operator) ||
			operator>= FirstGenbkiObjectId || operator!=(
				pathkey->pk_strategy == BTLessStrategyNumber ? type->lt_opr : type->gt_opr) ||
			exprCollation((Node *) em->em_expr) != pathkey->pk_eclass->ec_collation ||
			connector_unshippable(crel, em->em_expr) != NULL)
			continue;
		return em->em_expr;
	}
	return NULL;
}

static void
append_order(List *pathkeys, DeparseContext *context)
{
	ListCell *lc;

	foreach (lc, pathkeys)
	{
		PathKey *pathkey = lfirst_node(PathKey, lc);
		Expr *expr = connector_pathkey_expr(pathkey, context->crel);

		Assert(expr != NULL);
		appendStringInfoString(context->buf, foreach_current_index(lc) > 0 ? ", " : " ORDER BY ");
		/* parentheses: a bare constant would be a column's position */
		appendStringInfoChar(context->buf, '(');
		connector_deparse_expr(expr, context);
		appendStringInfo(context->buf, ") %s NULLS %s",
						 pathkey->pk_strategy == BTLessStrategyNumber ? "ASC" : "DESC",
						 pathkey->pk_nulls_first ? "FIRST" : "LAST");
	}
}

char *
connector_deparse_select(PlannerInfo *root, ConnectorRel *crel, Index varno, List *conds,
						 List *pathkeys, double limit, const char *locking, List **attrs,
						 List **params)
{
	StringInfoData buf;
	DeparseContext context = {crel, &buf, NIL, 0};
	int level = connector_neutral_settings();

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT ");
	append_columns(crel->base, varno, crel->attrs_used, &buf, attrs);
	appendStringInfoString(&buf, " FROM ");
	connector_deparse_relation(crel->base, varno, &buf);
	if (conds != NIL)
		appendStringInfoString(&buf, " WHERE ");
	connector_deparse_conditions(conds, &context);
	append_order(pathkeys, &context);
	if (limit >= 0)
		appendStringInfo(&buf, " LIMIT %.0f", limit);
	if (locking)
		appendStringInfoString(&buf, locking);
	AtEOXact_GUC(false, level);
	*params = context.params;
	return buf.data;
}

/* What stands after FROM: a base, or two sides of a join with their ON. */
static void
append_from(ConnectorRel *crel, DeparseContext *context)
{
	if (crel->grouped)
		append_from(crel->outer, context);
	else if (crel->base != NULL)
		connector_deparse_relation(crel->base, bms_singleton_member(crel->relids), context->buf);
	else
	{
		appendStringInfoChar(context->buf, '(');
		append_from(crel->outer, context);
		appendStringInfoString(context->buf,
							   crel->jointype == JOIN_LEFT ? " LEFT JOIN " : " INNER JOIN ");
		append_from(crel->inner, context);
		appendStringInfoString(context->buf, " ON ");
		if (crel->on == NIL)
			appendStringInfoString(context->buf, "true");
		connector_deparse_conditions(crel->on, context);
		appendStringInfoChar(context->buf, ')');
	}
}

static void
append_group_by(PlannerInfo *root, ConnectorRel *crel, DeparseContext *context)
{
	ListCell *lc;

	foreach (lc, root->parse->groupClause)
	{
		SortGroupClause *group = lfirst_node(SortGroupClause, lc);
		TargetEntry *tle = get_sortgroupref_tle(group->tleSortGroupRef, crel->tlist);

		appendStringInfo(context->buf, "%s%d", foreach_current_index(lc) > 0 ? ", " : " GROUP BY ",
						 tle->resno);
	}
	if (crel->having != NIL)
		appendStringInfoString(context->buf, " HAVING ");
	connector_deparse_conditions(crel->having, context);
}

char *
connector_deparse_computed(PlannerInfo *root, ConnectorRel *crel, List *pathkeys, double limit,
						   List **params)
{
	StringInfoData buf;
	DeparseContext context = {crel, &buf, NIL, 0};
	int level = connector_neutral_settings();
	ListCell *lc;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "SELECT ");
	foreach (lc, crel->tlist)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(&buf, ", ");
		connector_deparse_expr(lfirst_node(TargetEntry, lc)->expr, &context);
	}
	if (crel->tlist == NIL)
		appendStringInfoString(&buf, "NULL");
	appendStringInfoString(&buf, " FROM ");
	append_from(crel, &context);
	if (crel->remote_conds != NIL)
		appendStringInfoString(&buf, " WHERE ");
	connector_deparse_conditions(crel->remote_conds, &context);
	if (crel->grouped)
		append_group_by(root, crel, &context);
	append_order(pathkeys, &context);
	if (limit >= 0)
		appendStringInfo(&buf, " LIMIT %.0f", limit);
	AtEOXact_GUC(false, level);
	*params = context.params;
	return buf.data;
}
