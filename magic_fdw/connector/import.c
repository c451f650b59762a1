/*
 * import.c
 *		IMPORT FOREIGN SCHEMA and ANALYZE.
 *
 * Imported are tables, views and materialised views, with the types, collations and NOT NULL of
 * their columns; partitions come with their parent, unless LIMIT TO names them. Options:
 * import_collate and import_not_null (default true), import_default (default false: an INSERT names
 * only the user's columns, so the defaults of the base apply).
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "commands/defrem.h"
#include "commands/vacuum.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/sampling.h"
#include "utils/snapmgr.h"

#include "connector/connector.h"

typedef struct ImportOptions
{
	bool collate;
	bool not_null;
	bool defaults;
} ImportOptions;

static ImportOptions
import_options(List *options)
{
	ImportOptions result = {true, true, false};
	ListCell *lc;

	foreach (lc, options)
	{
		DefElem *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "import_collate") == 0)
			result.collate = defGetBoolean(def);
		else if (strcmp(def->defname, "import_not_null") == 0)
			result.not_null = defGetBoolean(def);
		else if (strcmp(def->defname, "import_default") == 0)
			result.defaults = defGetBoolean(def);
		else
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
							errmsg("invalid option \"%s\" of IMPORT FOREIGN SCHEMA", def->defname),
							errhint("Valid options are: import_collate, import_not_null, "
									"import_default.")));
	}
	return result;
}

/* The relations to import, by name; the core filters by LIMIT TO and EXCEPT once more. */
static const char *
relations_query(ImportForeignSchemaStmt *stmt, StringInfo buf)
{
	ListCell *lc;

	appendStringInfo(buf,
					 "SELECT c.oid, c.relname FROM pg_catalog.pg_class c "
					 "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
					 "WHERE n.nspname = %s AND c.relkind IN ('r', 'v', 'm', 'p')",
					 quote_literal_cstr(stmt->remote_schema));
	if (stmt->list_type != FDW_IMPORT_SCHEMA_LIMIT_TO)
		appendStringInfoString(buf, " AND NOT c.relispartition");
	if (stmt->list_type != FDW_IMPORT_SCHEMA_ALL)
	{
		appendStringInfo(buf, " AND c.relname %s (",
						 stmt->list_type == FDW_IMPORT_SCHEMA_EXCEPT ? "NOT IN" : "IN");
		foreach (lc, stmt->table_list)
			appendStringInfo(buf, "%s%s", foreach_current_index(lc) > 0 ? ", " : "",
							 quote_literal_cstr(lfirst_node(RangeVar, lc)->relname));
		appendStringInfoChar(buf, ')');
	}
	appendStringInfoString(buf, " ORDER BY c.relname");
	return buf->data;
}

static void
append_column_definition(StringInfo buf, Relation rel, Form_pg_attribute att, ImportOptions options)
{
	appendStringInfo(buf, "%s %s", quote_identifier(NameStr(att->attname)),
					 format_type_extended(att->atttypid, att->atttypmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	appendStringInfo(buf, " OPTIONS (column_name %s)", quote_literal_cstr(NameStr(att->attname)));
	if (options.collate && OidIsValid(att->attcollation) &&
		att->attcollation != get_typcollation(att->atttypid))
		appendStringInfo(buf, " COLLATE %s", generate_collation_name(att->attcollation));
	if (options.defaults && att->atthasdef && !att->attgenerated)
	{
		AttrDefault *defval = RelationGetDescr(rel)->constr->defval;

		for (int i = 0; i < RelationGetDescr(rel)->constr->num_defval; i++)
		{
			if (defval[i].adnum == att->attnum)
				appendStringInfo(buf, " DEFAULT %s",
								 text_to_cstring(DatumGetTextPP(DirectFunctionCall2(
									 pg_get_expr, CStringGetTextDatum(defval[i].adbin),
									 ObjectIdGetDatum(RelationGetRelid(rel))))));
		}
	}
	if (options.not_null && att->attnotnull)
		appendStringInfoString(buf, " NOT NULL");
}

/* CREATE FOREIGN TABLE for one relation. */
static char *
table_definition(Oid relid, ImportForeignSchemaStmt *stmt, ImportOptions options)
{
	Relation rel = table_open(relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData buf;
	const char *separator = "";

	initStringInfo(&buf);
	appendStringInfo(&buf, "CREATE FOREIGN TABLE %s (\n",
					 quote_identifier(RelationGetRelationName(rel)));
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		appendStringInfo(&buf, "%s\t", separator);
		append_column_definition(&buf, rel, TupleDescAttr(desc, i), options);
		separator = ",\n";
	}
	appendStringInfo(&buf, "\n) SERVER %s OPTIONS (schema_name %s, table_name %s)",
					 quote_identifier(stmt->server_name), quote_literal_cstr(stmt->remote_schema),
					 quote_literal_cstr(RelationGetRelationName(rel)));
	table_close(rel, NoLock);
	return buf.data;
}

static List *
import_schema(ImportForeignSchemaStmt *stmt, Oid serverOid)
{
	ImportOptions options = import_options(stmt->options);
	MemoryContext context = CurrentMemoryContext;
	List *commands = NIL;
	StringInfoData query;
	int level;

	connector_require_engine(GetForeignServer(serverOid));
	if (!OidIsValid(get_namespace_oid(stmt->remote_schema, true)))
		ereport(ERROR, (errcode(ERRCODE_FDW_SCHEMA_NOT_FOUND),
						errmsg("schema \"%s\" does not exist", stmt->remote_schema)));

	initStringInfo(&query);
	SPI_connect();
	if (SPI_execute(relations_query(stmt, &query), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the relations of schema \"%s\"", stmt->remote_schema);
	level = connector_neutral_settings();
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Oid relid = DatumGetObjectId(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		char *command = table_definition(relid, stmt, options);
		MemoryContext spi_context = MemoryContextSwitchTo(context);

		commands = lappend(commands, pstrdup(command));
		MemoryContextSwitchTo(spi_context);
	}
	AtEOXact_GUC(false, level);
	SPI_finish();
	return commands;
}

/* ---- ANALYZE ---- */

/*
 * Reads a sample of the base through the foreign table's columns: every row if there are not many
 * more than are wanted, else a sample of blocks. Reservoir sampling evens out the rest.
 */
static int
acquire_sample(Relation relation, int elevel, HeapTuple *rows, int targrows, double *totalrows,
			   double *totaldeadrows)
{
	BaseRelation *base = connector_base(RelationGetRelid(relation));
	Relation base_rel = table_open(base->relid, NoLock);
	double reltuples = base_rel->rd_rel->reltuples;
	double percent = 100.0;
	TupleDesc desc = RelationGetDescr(relation);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	TupleTableSlot *inner;
	StringInfoData sql;
	ReservoirStateData reservoir;
	double rowstoskip = -1;
	double seen = 0;
	int numrows = 0;
	List *attrs = NIL;
	int level;
	QueryDesc *query;

	if ((base->relkind == RELKIND_RELATION || base->relkind == RELKIND_MATVIEW) &&
		reltuples > 10.0 * targrows)
		percent = Max(1000.0 * targrows / reltuples, 0.01);
	table_close(base_rel, NoLock);

	initStringInfo(&sql);
	level = connector_neutral_settings();
	appendStringInfoString(&sql, "SELECT ");
	for (AttrNumber attnum = 1; attnum <= base->ncolumns; attnum++)
	{
		if (base->columns[attnum - 1].name == NULL)
			continue;
		appendStringInfo(&sql, "%sr1.%s::%s", attrs != NIL ? ", " : "",
						 quote_identifier(connector_column(base, attnum)->name),
						 format_type_extended(base->columns[attnum - 1].foreign_type, -1,
											  FORMAT_TYPE_FORCE_QUALIFY));
		attrs = lappend_int(attrs, attnum);
	}
	if (attrs == NIL)
	{
		appendStringInfoString(&sql, "NULL");
		attrs = list_make1_int(0);
	}
	appendStringInfo(&sql, " FROM %s r1", quote_qualified_identifier(base->schema, base->name));
	if (percent < 100.0)
		appendStringInfo(&sql, " TABLESAMPLE SYSTEM (%g)", percent);
	AtEOXact_GUC(false, level);

	reservoir_init_selection_state(&reservoir, targrows);
	query = connector_open(
		connector_query(sql.data, RelationGetRelid(relation), GetUserId(), 0, NULL, QUERY_PLAIN),
		NULL, GetActiveSnapshot());
	while ((inner = connector_next(query)) != NULL)
	{
		int at = -1;

		vacuum_delay_point();
		if (numrows < targrows)
			at = numrows++;
		else
		{
			if (rowstoskip < 0)
				rowstoskip = reservoir_get_next_S(&reservoir, seen, targrows);
			if (rowstoskip <= 0)
			{
				at = (int) (targrows * sampler_random_fract(&reservoir.randstate));
				heap_freetuple(rows[at]);
			}
			rowstoskip -= 1;
		}
		if (at >= 0)
		{
			connector_fill_slot(slot, inner, attrs);
			rows[at] = ExecCopySlotHeapTuple(slot);
		}
		seen += 1;
	}
	connector_close(query);
	ExecDropSingleTupleTableSlot(slot);

	*totalrows = percent < 100.0 ? Max(reltuples, seen) : seen;
	*totaldeadrows = 0;
	ereport(elevel,
			(errmsg("\"%s\": %.0f rows read of \"%s.%s\", %d rows in sample",
					RelationGetRelationName(relation), seen, base->schema, base->name, numrows)));
	return numrows;
}

static bool
analyze(Relation relation, AcquireSampleRowsFunc *func, BlockNumber *totalpages)
{
	BaseRelation *base = connector_base(RelationGetRelid(relation));
	Relation base_rel = table_open(base->relid, NoLock);

	*totalpages = 1;
	if (RELKIND_HAS_STORAGE(base->relkind))
		*totalpages = Max(RelationGetNumberOfBlocks(base_rel), 1);
	table_close(base_rel, NoLock);
	*func = acquire_sample;
	return true;
}

void
connector_import_callbacks(FdwRoutine *routine)
{
	routine->ImportForeignSchema = import_schema;
	routine->AnalyzeForeignTable = analyze;
}
