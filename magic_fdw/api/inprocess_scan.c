/*
 * inprocess_scan.c
 *		The in-process engine reads a table in batches.
 *
 * A sequential scan under the caller's active snapshot; conditions are checked row by row with the
 * btree comparison of the column's type. NULL never satisfies a comparison.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "api/engine_inprocess.h"

#define SCAN_BATCH_ROWS 1024

struct MagicScan
{
	MemoryContext context; /* of the scan */
	MemoryContext rows;	   /* values of the batch given out last */
	Relation rel;
	TableScanDesc scan;
	TupleTableSlot *slot;
	int ncolumns;
	MagicVector *columns;
	int nconditions;
	MagicCondition *conditions;
	FmgrInfo **compare; /* [nconditions], NULL for the NULL tests */
	int32 selection[SCAN_BATCH_ROWS];
};

static Form_pg_attribute
column_attribute(Relation rel, int16 attno)
{
	TupleDesc desc = RelationGetDescr(rel);

	if (attno < 1 || attno > desc->natts || TupleDescAttr(desc, attno - 1)->attisdropped)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("table \"%s\" has no column number %d",
														   RelationGetRelationName(rel), attno)));
	return TupleDescAttr(desc, attno - 1);
}

static void
init_columns(MagicScan *scan, const int16 *columns, int ncolumns)
{
	scan->ncolumns = ncolumns;
	scan->columns = palloc0(Max(ncolumns, 1) * sizeof(MagicVector));
	for (int c = 0; c < ncolumns; c++)
	{
		Form_pg_attribute att = column_attribute(scan->rel, columns[c]);
		MagicVector *vector = &scan->columns[c];

		vector->type = att->atttypid;
		vector->typmod = att->atttypmod;
		vector->attno = columns[c];
		vector->values = palloc(SCAN_BATCH_ROWS * sizeof(Datum));
		vector->nulls = palloc(SCAN_BATCH_ROWS * sizeof(bool));
	}
}

static void
init_conditions(MagicScan *scan, const MagicCondition *conditions, int nconditions)
{
	scan->nconditions = nconditions;
	scan->conditions = palloc0(Max(nconditions, 1) * sizeof(MagicCondition));
	scan->compare = palloc0(Max(nconditions, 1) * sizeof(FmgrInfo *));
	for (int i = 0; i < nconditions; i++)
	{
		Form_pg_attribute att = column_attribute(scan->rel, conditions[i].attno);
		TypeCacheEntry *type;

		scan->conditions[i] = conditions[i];
		if (conditions[i].compare == MAGIC_IS_NULL || conditions[i].compare == MAGIC_IS_NOT_NULL)
			continue;
		type = lookup_type_cache(att->atttypid, TYPECACHE_CMP_PROC_FINFO);
		if (!OidIsValid(type->cmp_proc_finfo.fn_oid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("column \"%s\" has no order to compare by", NameStr(att->attname))));
		scan->conditions[i].value = datumCopy(conditions[i].value, att->attbyval, att->attlen);
		scan->compare[i] = &type->cmp_proc_finfo;
	}
}

MagicScan *
inprocess_scan_begin(MagicConnection *conn, Oid relid, const int16 *columns, int ncolumns,
					 const MagicCondition *conditions, int nconditions, int64 read_ts)
{
	MemoryContext context;
	MemoryContext old;
	MagicScan *scan;

	if (read_ts != 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the in-process engine does not read at an older commit TS")));
	context = AllocSetContextCreate(CurrentMemoryContext, "magic scan", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	scan = palloc0(sizeof(MagicScan));
	scan->context = context;
	scan->rows = AllocSetContextCreate(context, "rows", ALLOCSET_DEFAULT_SIZES);
	scan->rel = table_open(relid, AccessShareLock);
	init_columns(scan, columns, ncolumns);
	init_conditions(scan, conditions, nconditions);
	scan->slot = table_slot_create(scan->rel, NULL);
	scan->scan = table_beginscan(scan->rel, GetActiveSnapshot(), 0, NULL);
	MemoryContextSwitchTo(old);
	return scan;
}

static bool
row_passes(MagicScan *scan)
{
	for (int i = 0; i < scan->nconditions; i++)
	{
		MagicCondition *condition = &scan->conditions[i];
		bool isnull;
		Datum value = slot_getattr(scan->slot, condition->attno, &isnull);
		int cmp;
		bool pass;

		if (scan->compare[i] == NULL)
		{
			if (isnull != (condition->compare == MAGIC_IS_NULL))
				return false;
			continue;
		}
		if (isnull)
			return false;
		cmp = DatumGetInt32(
			FunctionCall2Coll(scan->compare[i], C_COLLATION_OID, value, condition->value));
		pass = condition->compare == MAGIC_EQ	? cmp == 0
			   : condition->compare == MAGIC_LT ? cmp < 0
			   : condition->compare == MAGIC_LE ? cmp <= 0
			   : condition->compare == MAGIC_GE ? cmp >= 0
												: cmp > 0;
		if (!pass)
			return false;
	}
	return true;
}

bool
inprocess_scan_next(MagicScan *scan, MagicBatch *batch)
{
	MemoryContext old;
	int n = 0;

	MemoryContextReset(scan->rows);
	old = MemoryContextSwitchTo(scan->rows);
	while (n < SCAN_BATCH_ROWS &&
		   table_scan_getnextslot(scan->scan, ForwardScanDirection, scan->slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (!row_passes(scan))
			continue;
		for (int c = 0; c < scan->ncolumns; c++)
		{
			MagicVector *vector = &scan->columns[c];
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(scan->rel), vector->attno - 1);
			Datum value = slot_getattr(scan->slot, vector->attno, &vector->nulls[n]);

			vector->values[n] =
				vector->nulls[n] ? (Datum) 0 : datumCopy(value, att->attbyval, att->attlen);
		}
		scan->selection[n] = n;
		n++;
	}
	MemoryContextSwitchTo(old);

	memset(batch, 0, sizeof(*batch));
	batch->version = MAGIC_BATCH_VERSION;
	batch->ncolumns = scan->ncolumns;
	batch->columns = scan->columns;
	batch->nrows = n;
	batch->ninserts = n;
	batch->inserts = scan->selection;
	return n > 0;
}

void
inprocess_scan_end(MagicScan *scan)
{
	table_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	table_close(scan->rel, NoLock);
	MemoryContextDelete(scan->context);
}
