/*
 * shippable.c
 *		Which expressions may be evaluated on the other side, and if not, why not.
 *
 * Nothing ships unless it is listed: functions (and operators by their functions) in
 * shippable_functions.h, node types below. The text that deparse.c writes is parsed again, so an
 * expression ships only if that parse gives the same collations: the check derives them by the
 * parser's own rules from the leaves and compares each function's input collation.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "connector/connector.h"
#include "connector/shippable_functions.h"

/* The collation that the parser derives for an expression, and how strongly. */
typedef enum CollationStrength
{
	COLLATION_NONE, /* not of a collatable type */
	COLLATION_IMPLICIT,
	COLLATION_EXPLICIT,
	COLLATION_CONFLICT
} CollationStrength;

typedef struct Derived
{
	Oid collation;
	CollationStrength strength;
} Derived;

typedef struct ShipContext
{
	ConnectorRel *crel;
	const char *reason; /* why not; NULL so far */
} ShipContext;

static Derived derive(Node *node, ShipContext *context);

static int
compare_oids(const void *a, const void *b)
{
	Oid x = *(const Oid *) a;
	Oid y = *(const Oid *) b;

	return (x > y) - (x < y);
}

/* The lists, sorted by OID once per backend. */
static bool
listed(Oid function)
{
	static Oid sorted[lengthof(immutable_functions) + lengthof(session_functions)];
	static bool ready = false;

	if (!ready)
	{
		memcpy(sorted, immutable_functions, sizeof(immutable_functions));
		memcpy(sorted + lengthof(immutable_functions), session_functions,
			   sizeof(session_functions));
		qsort(sorted, lengthof(sorted), sizeof(Oid), compare_oids);
		ready = true;
	}
	return bsearch(&function, sorted, lengthof(sorted), sizeof(Oid), compare_oids) != NULL;
}

bool
connector_agg_listed(Oid aggfnoid)
{
	for (int i = 0; i < lengthof(shippable_aggregates); i++)
	{
		if (shippable_aggregates[i] == aggfnoid)
			return true;
	}
	return false;
}

static Derived
refuse(ShipContext *context, const char *reason)
{
	Derived none = {InvalidOid, COLLATION_NONE};

	if (context->reason == NULL)
		context->reason = reason;
	return none;
}

static void
check_function(Oid function, ShipContext *context)
{
	if (listed(function))
		return;
	if (func_volatile(function) == PROVOLATILE_VOLATILE)
		refuse(context, psprintf("function %s is volatile", get_func_name(function)));
	else
		refuse(context, psprintf("function %s is not in the list of functions to ship",
								 get_func_name(function)));
}

/* Combines what the parser would combine. */
static Derived
merge(Derived a, Derived b)
{
	if (b.strength > a.strength)
		return b;
	if (b.strength < a.strength || a.collation == b.collation)
		return a;
	if (a.strength == COLLATION_IMPLICIT && a.collation == DEFAULT_COLLATION_OID)
		return b;
	if (a.strength == COLLATION_IMPLICIT && b.collation == DEFAULT_COLLATION_OID)
		return a;
	a.strength = COLLATION_CONFLICT;
	return a;
}

static Derived
derive_list(List *args, ShipContext *context)
{
	Derived all = {InvalidOid, COLLATION_NONE};
	ListCell *lc;

	foreach (lc, args)
		all = merge(all, derive(lfirst(lc), context));
	return all;
}

/* The result of a node over its arguments, and the check of the collation that it works with. */
static Derived
result(Derived args, Oid inputcollation, Oid resulttype, Oid resultcollation, ShipContext *context)
{
	Derived none = {InvalidOid, COLLATION_NONE};

	if (OidIsValid(inputcollation) &&
		(args.strength == COLLATION_CONFLICT || args.collation != inputcollation))
		return refuse(context, "its collation would not be the same there");
	if (!OidIsValid(get_typcollation(resulttype)))
		return none;
	if (args.strength == COLLATION_NONE)
	{
		args.collation = get_typcollation(resulttype);
		args.strength = COLLATION_IMPLICIT;
	}
	if (args.strength == COLLATION_CONFLICT || args.collation != resultcollation)
		return refuse(context, "its collation would not be the same there");
	return args;
}

static Derived
leaf(Node *node, Oid type, Oid collation, ShipContext *context)
{
	Derived derived = {InvalidOid, COLLATION_NONE};

	if (get_typtype(type) == TYPTYPE_DOMAIN && !IsA(node, Var))
		return refuse(context, "a value of a domain does not ship");
	if (get_typtype(type) == TYPTYPE_PSEUDO)
		return refuse(context, "a value of a pseudo-type does not ship");
	if (!OidIsValid(get_typcollation(type)))
		return derived;
	derived.collation = collation;
	derived.strength = COLLATION_IMPLICIT;
	if (connector_needs_collate(node, context->crel))
		derived.strength = COLLATION_EXPLICIT;
	else if (IsA(node, Param) ||
			 (IsA(node, Var) && !bms_is_member(((Var *) node)->varno, context->crel->relids)))
		derived.collation = get_typcollation(type); /* a parameter has its type's collation */
	return derived;
}

bool
connector_needs_collate(Node *node, ConnectorRel *crel)
{
	if (IsA(node, Const))
		return ((Const *) node)->constcollid != get_typcollation(((Const *) node)->consttype);
	if (IsA(node, Var) && bms_is_member(((Var *) node)->varno, crel->relids) &&
		((Var *) node)->varattno > 0)
	{
		BaseColumn *column =
			&crel->bases[((Var *) node)->varno]->columns[((Var *) node)->varattno - 1];

		return column->collation != column->foreign_collation;
	}
	return false;
}

static Derived
derive_var(Var *var, ShipContext *context)
{
	if (bms_is_member(var->varno, context->crel->relids))
	{
		BaseRelation *base = context->crel->bases[var->varno];

		if (var->varlevelsup != 0)
			return refuse(context, "it reads an outer query");
		if (var->varattno < 0 && var->varattno != SelfItemPointerAttributeNumber)
			return refuse(context, "a system column does not ship");
		if (var->varattno == SelfItemPointerAttributeNumber && !base->has_ctid)
			return refuse(context, "ctid of several tables");
		if (var->varattno == 0)
			return refuse(context, "a whole row does not ship");
		if (var->varattno > 0)
			(void) connector_column(base, var->varattno);
	}
	return leaf((Node *) var, var->vartype, var->varcollid, context);
}

static Derived
derive_operator(OpExpr *op, ShipContext *context)
{
	Derived args;

	if (op->opno >= FirstGenbkiObjectId)
		return refuse(context, psprintf("operator %s is not built in", get_opname(op->opno)));
	check_function(get_opcode(op->opno), context);
	args = derive_list(op->args, context);
	return result(args, op->inputcollid, op->opresulttype, op->opcollid, context);
}

static Derived
derive_array_operator(ScalarArrayOpExpr *op, ShipContext *context)
{
	Derived args;

	if (op->opno >= FirstGenbkiObjectId)
		return refuse(context, psprintf("operator %s is not built in", get_opname(op->opno)));
	check_function(get_opcode(op->opno), context);
	args = derive_list(op->args, context);
	return result(args, op->inputcollid, BOOLOID, InvalidOid, context);
}

/* CollateExpr has become RelabelType before the planner shows expressions to us. */
static Derived
derive_relabel(RelabelType *relabel, ShipContext *context)
{
	Derived arg = derive((Node *) relabel->arg, context);

	if (context->reason)
		return arg;
	if (OidIsValid(relabel->resultcollid) && relabel->resultcollid != arg.collation)
	{
		arg.collation = relabel->resultcollid;
		arg.strength = COLLATION_EXPLICIT;
	}
	if (get_typtype(relabel->resulttype) == TYPTYPE_DOMAIN)
		return refuse(context, "a value of a domain does not ship");
	if (!OidIsValid(relabel->resultcollid))
	{
		arg.collation = InvalidOid;
		arg.strength = COLLATION_NONE;
	}
	return arg;
}

static Derived
derive_case(CaseExpr *expr, ShipContext *context)
{
	Derived values;
	ListCell *lc;

	if (expr->arg != NULL)
		return refuse(context, "CASE with a test value does not ship");
	values = expr->defresult ? derive((Node *) expr->defresult, context)
							 : (Derived){InvalidOid, COLLATION_NONE};
	foreach (lc, expr->args)
	{
		CaseWhen *when = lfirst_node(CaseWhen, lc);

		(void) derive((Node *) when->expr, context);
		values = merge(values, derive((Node *) when->result, context));
	}
	return result(values, InvalidOid, expr->casetype, expr->casecollid, context);
}

static Derived
derive_aggregate(Aggref *agg, ShipContext *context)
{
	List *args = NIL;
	ListCell *lc;
	Derived derived;

	if (!connector_agg_listed(agg->aggfnoid))
		return refuse(context, psprintf("aggregate %s is not in the list of functions to ship",
										get_func_name(agg->aggfnoid)));
	if (agg->aggsplit != AGGSPLIT_SIMPLE || agg->agglevelsup != 0 || agg->aggorder != NIL ||
		agg->aggdirectargs != NIL || agg->aggvariadic)
		return refuse(context, "an aggregate of this form does not ship");
	foreach (lc, agg->args)
		args = lappend(args, lfirst_node(TargetEntry, lc)->expr);
	derived = derive_list(args, context);
	if (agg->aggfilter)
		(void) derive((Node *) agg->aggfilter, context);
	return result(derived, agg->inputcollid, agg->aggtype, agg->aggcollid, context);
}

static Derived
derive(Node *node, ShipContext *context)
{
	Derived none = {InvalidOid, COLLATION_NONE};

	if (node == NULL || context->reason != NULL)
		return none;
	switch (nodeTag(node))
	{
		case T_Var:
			return derive_var((Var *) node, context);
		case T_Const:
			return leaf(node, ((Const *) node)->consttype, ((Const *) node)->constcollid, context);
		case T_Param:
			if (((Param *) node)->paramkind == PARAM_MULTIEXPR)
				return refuse(context, "a sub-select in UPDATE SET does not ship");
			return leaf(node, ((Param *) node)->paramtype, ((Param *) node)->paramcollid, context);
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			return derive_operator((OpExpr *) node, context);
		case T_ScalarArrayOpExpr:
			return derive_array_operator((ScalarArrayOpExpr *) node, context);
		case T_FuncExpr:
		{
			FuncExpr *func = (FuncExpr *) node;

			check_function(func->funcid, context);
			if (func->funcvariadic || func->funcretset)
				return refuse(context, "a function call of this form does not ship");
			return result(derive_list(func->args, context), func->inputcollid, func->funcresulttype,
						  func->funccollid, context);
		}
		case T_BoolExpr:
			(void) derive_list(((BoolExpr *) node)->args, context);
			return none;
		case T_NullTest:
			if (((NullTest *) node)->argisrow)
				return refuse(context, "a whole row does not ship");
			(void) derive((Node *) ((NullTest *) node)->arg, context);
			return none;
		case T_BooleanTest:
			(void) derive((Node *) ((BooleanTest *) node)->arg, context);
			return none;
		case T_RelabelType:
			return derive_relabel((RelabelType *) node, context);
		case T_CoalesceExpr:
		{
			CoalesceExpr *expr = (CoalesceExpr *) node;

			return result(derive_list(expr->args, context), InvalidOid, expr->coalescetype,
						  expr->coalescecollid, context);
		}
		case T_ArrayExpr:
		{
			ArrayExpr *expr = (ArrayExpr *) node;

			if (expr->multidims)
				return refuse(context, "an array of arrays does not ship");
			return result(derive_list(expr->elements, context), InvalidOid, expr->array_typeid,
						  expr->array_collid, context);
		}
		case T_CaseExpr:
			return derive_case((CaseExpr *) node, context);
		case T_Aggref:
			return derive_aggregate((Aggref *) node, context);
		case T_SubPlan:
		case T_AlternativeSubPlan:
		case T_SubLink:
			return refuse(context, "a sub-select does not ship");
		case T_CoerceToDomain:
			return refuse(context, "a value of a domain does not ship");
		default:
			return refuse(context, "an expression of this kind does not ship");
	}
}

const char *
connector_unshippable(ConnectorRel *crel, Expr *expr)
{
	ShipContext context = {crel, NULL};
	Derived derived = derive((Node *) expr, &context);

	if (context.reason == NULL && derived.strength != COLLATION_NONE &&
		(derived.strength == COLLATION_CONFLICT ||
		 derived.collation != exprCollation((Node *) expr)))
		return "its collation would not be the same there";
	return context.reason;
}
