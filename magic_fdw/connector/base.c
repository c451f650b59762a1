/*
 * base.c
 *		The relation behind a foreign table.
 *
 * A foreign table names its base by the options schema_name and table_name (default: its own schema
 * and name), a column by column_name. The base is looked up by name at each planning and each
 * execution, so that a base that was dropped and created again is found.
 *
 * The base is not checked for rights here: the inner query is, as the user whose rights count.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "parser/parse_coerce.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "connector/connector.h"

void
connector_base_name(Oid foreigntableid, const char **schema, const char **name)
{
	ForeignTable *table = GetForeignTable(foreigntableid);

	*schema = connector_option(table->options, "schema_name");
	*name = connector_option(table->options, "table_name");
	if (*schema == NULL)
		*schema = get_namespace_name(get_rel_namespace(foreigntableid));
	if (*name == NULL)
		*name = get_rel_name(foreigntableid);
}

static void
raise_missing_base(const char *schema, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation \"%s.%s\" does not exist", schema, name),
			 errhint("The options \"schema_name\" and \"table_name\" of the foreign table say "
					 "which relation it shows.")));
}

/* Finds and locks the base; the name is looked up again after waiting for the lock. */
static Oid
lock_base(const char *schema, const char *name)
{
	for (;;)
	{
		Oid nspoid = get_namespace_oid(schema, true);
		Oid relid = OidIsValid(nspoid) ? get_relname_relid(name, nspoid) : InvalidOid;

		if (!OidIsValid(relid))
			raise_missing_base(schema, name);
		LockRelationOid(relid, AccessShareLock);
		if (get_relname_relid(name, nspoid) == relid)
			return relid;
		UnlockRelationOid(relid, AccessShareLock);
	}
}

static void
check_relkind(Oid foreigntableid, Oid relid, char relkind, const char *schema, const char *name)
{
	if (relid == foreigntableid)
		ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						errmsg("foreign table \"%s\" shows itself", name),
						errhint("Set the options \"schema_name\" and \"table_name\".")));
	switch (relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
			return;
		case RELKIND_FOREIGN_TABLE:
			if (GetFdwRoutineByRelId(relid)->GetForeignRelSize == connector_foreign_scan_sizes)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						 errmsg("\"%s.%s\" is itself a foreign table of magic_fdw", schema, name),
						 errhint("Let the foreign table show the relation behind that one.")));
			return;
		default:
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("\"%s.%s\" is not a table or view", schema, name)));
	}
}

static void
fill_column(BaseColumn *column, Oid foreigntableid, Form_pg_attribute att, Oid relid)
{
	HeapTuple tuple;

	column->name =
		connector_option(GetForeignColumnOptions(foreigntableid, att->attnum), "column_name");
	if (column->name == NULL)
		column->name = pstrdup(NameStr(att->attname));
	column->foreign_type = att->atttypid;
	column->foreign_typmod = att->atttypmod;
	column->foreign_collation = att->attcollation;

	tuple = SearchSysCacheAttName(relid, column->name);
	if (!HeapTupleIsValid(tuple))
		return;
	column->attnum = ((Form_pg_attribute) GETSTRUCT(tuple))->attnum;
	column->type = ((Form_pg_attribute) GETSTRUCT(tuple))->atttypid;
	column->collation = ((Form_pg_attribute) GETSTRUCT(tuple))->attcollation;
	column->always_generated =
		((Form_pg_attribute) GETSTRUCT(tuple))->attgenerated != '\0' ||
		((Form_pg_attribute) GETSTRUCT(tuple))->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;
	ReleaseSysCache(tuple);
}

BaseRelation *
connector_base(Oid foreigntableid)
{
	BaseRelation *base = palloc0(sizeof(BaseRelation));
	Relation rel;
	TupleDesc desc;

	connector_require_engine(GetForeignServer(GetForeignServerIdByRelId(foreigntableid)));
	base->foreigntableid = foreigntableid;
	connector_base_name(foreigntableid, &base->schema, &base->name);
	base->relid = lock_base(base->schema, base->name);
	base->relkind = get_rel_relkind(base->relid);
	check_relkind(foreigntableid, base->relid, base->relkind, base->schema, base->name);
	base->has_ctid = base->relkind == RELKIND_RELATION && !has_subclass(base->relid);

	rel = table_open(foreigntableid, NoLock);
	desc = RelationGetDescr(rel);
	base->ncolumns = desc->natts;
	base->columns = palloc0(sizeof(BaseColumn) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			fill_column(&base->columns[i], foreigntableid, TupleDescAttr(desc, i), base->relid);
	}
	table_close(rel, NoLock);
	return base;
}

BaseColumn *
connector_column(BaseRelation *base, AttrNumber attnum)
{
	BaseColumn *column = &base->columns[attnum - 1];

	Assert(attnum >= 1 && attnum <= base->ncolumns && column->name != NULL);
	if (column->attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				 errmsg("column \"%s\" of relation \"%s.%s\" does not exist", column->name,
						base->schema, base->name),
				 errhint("The relation changed after the foreign table was made: import it again, "
						 "or use ALTER FOREIGN TABLE.")));
	if (column->type != column->foreign_type &&
		!IsBinaryCoercible(column->type, column->foreign_type))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
				 errmsg("column \"%s\" of relation \"%s.%s\" is of type %s, but the foreign table "
						"says %s",
						column->name, base->schema, base->name, format_type_be(column->type),
						format_type_be(column->foreign_type)),
				 errhint("The relation changed after the foreign table was made: import it again, "
						 "or use ALTER FOREIGN TABLE.")));
	return column;
}
