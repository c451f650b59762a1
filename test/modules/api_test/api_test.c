/*
 * api_test.c
 *		SQL functions that call the in-process engine through the Magic API.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "api/magic_api.h"
#include "engine/compaction.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(api_test_write);
PG_FUNCTION_INFO_V1(api_test_truncate);
PG_FUNCTION_INFO_V1(api_test_scan);
PG_FUNCTION_INFO_V1(api_test_begin);
PG_FUNCTION_INFO_V1(api_test_find_engine);
PG_FUNCTION_INFO_V1(api_test_fill_compaction_lines);
PG_FUNCTION_INFO_V1(api_test_made_up_compaction_lines);
PG_FUNCTION_INFO_V1(api_test_hold_commit);

static const MagicEngine *
engine(void)
{
	MagicApi **api = (MagicApi **) find_rendezvous_variable(MAGIC_API_RENDEZVOUS);

	if (*api == NULL || (*api)->version != MAGIC_API_VERSION)
		elog(ERROR, "no Magic API");
	return (*api)->find_engine("magic");
}

/* Adds the rows of a query to the batch; their numbers go to a new selection. */
static int32 *
add_rows(MagicBatch *batch, TupleDesc desc, const char *query, int *n)
{
	int32 *rows;

	*n = 0;
	if (query == NULL)
		return NULL;
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "not a query: %s", query);
	if (SPI_tuptable->tupdesc->natts != desc->natts)
		elog(ERROR, "the query gives %d columns, not %d", SPI_tuptable->tupdesc->natts,
			 desc->natts);
	for (int c = 0; c < desc->natts; c++)
		if (SPI_gettypeid(SPI_tuptable->tupdesc, c + 1) != TupleDescAttr(desc, c)->atttypid)
			elog(ERROR, "column %d of the query has another type than the table's", c + 1);
	rows = palloc(Max(SPI_processed, 1) * sizeof(int32));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		for (int c = 0; c < batch->ncolumns; c++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, c);
			MagicVector *vector = &batch->columns[c];
			Datum value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, c + 1,
										&vector->nulls[batch->nrows]);

			vector->values[batch->nrows] = vector->nulls[batch->nrows]
											   ? (Datum) 0
											   : datumCopy(value, att->attbyval, att->attlen);
		}
		rows[(*n)++] = batch->nrows++;
	}
	return rows;
}

#define MAX_ROWS 100000

static void
init_batch(MagicBatch *batch, TupleDesc desc, ArrayType *key)
{
	memset(batch, 0, sizeof(*batch));
	batch->version = MAGIC_BATCH_VERSION;
	batch->ncolumns = desc->natts;
	batch->columns = palloc0(desc->natts * sizeof(MagicVector));
	for (int c = 0; c < desc->natts; c++)
	{
		MagicVector *vector = &batch->columns[c];

		vector->type = TupleDescAttr(desc, c)->atttypid;
		vector->typmod = TupleDescAttr(desc, c)->atttypmod;
		vector->attno = c + 1;
		vector->values = palloc(MAX_ROWS * sizeof(Datum));
		vector->nulls = palloc(MAX_ROWS * sizeof(bool));
		for (int k = 0; key != NULL && k < ArrayGetNItems(ARR_NDIM(key), ARR_DIMS(key)); k++)
			vector->key |= ((int16 *) ARR_DATA_PTR(key))[k] == c + 1;
	}
}

Datum
api_test_write(PG_FUNCTION_ARGS)
{
	const MagicEngine *magic = engine();
	MagicConnection *conn = magic->open(InvalidOid);
	MagicWriteResult result = {0};
	MagicBatch batch;
	MagicTable *table;
	Relation rel;
	TupleDesc desc;
	Datum values[4];
	bool nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	magic->begin(conn, 0);
	table = magic->open_table(conn, PG_GETARG_OID(0));
	rel = table_open(PG_GETARG_OID(0), AccessShareLock);
	SPI_connect();
	init_batch(&batch, RelationGetDescr(rel), PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1));
	batch.deletes =
		add_rows(&batch, RelationGetDescr(rel),
				 PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)), &batch.ndeletes);
	batch.inserts =
		add_rows(&batch, RelationGetDescr(rel),
				 PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)), &batch.ninserts);
	magic->write(table, &batch, &result);
	SPI_finish();
	table_close(rel, AccessShareLock);
	magic->commit(conn, NULL, 0);
	magic->close(conn);
	values[0] = Int64GetDatum(result.inserted);
	values[1] = Int64GetDatum(result.deleted);
	values[2] = Int64GetDatum(result.missing);
	values[3] = Int64GetDatum(result.conflicts);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

Datum
api_test_truncate(PG_FUNCTION_ARGS)
{
	const MagicEngine *magic = engine();
	MagicConnection *conn = magic->open(InvalidOid);
	int64 n;

	magic->begin(conn, 0);
	n = magic->truncate(magic->open_table(conn, PG_GETARG_OID(0)));
	magic->commit(conn, NULL, 0);
	magic->close(conn);
	PG_RETURN_INT64(n);
}

static MagicCompare
parse_compare(const char *name)
{
	static const char *const names[] = {"=", "<", "<=", ">=", ">", "null", "notnull"};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return (MagicCompare) i;
	elog(ERROR, "unknown comparison \"%s\"", name);
}

/* One row of a batch, its values in their output form, joined by '|'. */
static char *
row_text(const MagicBatch *batch, int row)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int c = 0; c < batch->ncolumns; c++)
	{
		Oid output;
		bool varlena;

		if (c > 0)
			appendStringInfoChar(&buf, '|');
		if (batch->columns[c].nulls[row])
			continue;
		getTypeOutputInfo(batch->columns[c].type, &output, &varlena);
		appendStringInfoString(&buf, OidOutputFunctionCall(output, batch->columns[c].values[row]));
	}
	return buf.data;
}

Datum
api_test_scan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const MagicEngine *magic = engine();
	MagicConnection *conn = magic->open(InvalidOid);
	Oid relid = PG_GETARG_OID(0);
	ArrayType *columns = PG_GETARG_ARRAYTYPE_P(1);
	MagicCondition condition = {0};
	MagicBatch batch;
	MagicScan *scan;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!PG_ARGISNULL(2))
	{
		condition.attno = (int16) PG_GETARG_INT32(2);
		condition.compare = parse_compare(text_to_cstring(PG_GETARG_TEXT_PP(3)));
		if (!PG_ARGISNULL(4))
		{
			Oid input;
			Oid param;

			getTypeInputInfo(get_atttype(relid, condition.attno), &input, &param);
			condition.value =
				OidInputFunctionCall(input, text_to_cstring(PG_GETARG_TEXT_PP(4)), param, -1);
		}
	}
	scan = magic->scan_begin(conn, relid, (int16 *) ARR_DATA_PTR(columns),
							 ArrayGetNItems(ARR_NDIM(columns), ARR_DIMS(columns)), &condition,
							 PG_ARGISNULL(2) ? 0 : 1, 0);
	while (magic->scan_next(scan, &batch))
		for (int i = 0; i < batch.ninserts; i++)
		{
			Datum value = CStringGetTextDatum(row_text(&batch, batch.inserts[i]));
			bool isnull = false;

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
		}
	magic->scan_end(scan);
	magic->close(conn);
	return (Datum) 0;
}

Datum
api_test_begin(PG_FUNCTION_ARGS)
{
	const MagicEngine *magic = engine();
	MagicConnection *conn = magic->open(InvalidOid);

	magic->begin(conn, PG_GETARG_INT32(0));
	magic->commit(conn, NULL, 0);
	magic->close(conn);
	PG_RETURN_VOID();
}

Datum
api_test_find_engine(PG_FUNCTION_ARGS)
{
	MagicApi **api = (MagicApi **) find_rendezvous_variable(MAGIC_API_RENDEZVOUS);

	PG_RETURN_TEXT_P(
		cstring_to_text((*api)->find_engine(text_to_cstring(PG_GETARG_TEXT_PP(0)))->name));
}

/* ---------------------------------------------------------------- compaction's shared memory */

/* OIDs that no database has. */
#define MADE_UP_DATABASE ((Oid) 4000000000)

static CompactionShared *
compaction_shared(void)
{
	return (*(const CompactionApi **) find_rendezvous_variable(COMPACTION_RENDEZVOUS))->shared();
}

Datum
api_test_fill_compaction_lines(PG_FUNCTION_ARGS)
{
	CompactionShared *shared = compaction_shared();
	int32 n = 0;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < COMPACTION_DATABASES; i++)
		if (!OidIsValid(shared->lines[i].database))
		{
			shared->lines[i].database = MADE_UP_DATABASE + i;
			n++;
		}
	LWLockRelease(&shared->lock);
	PG_RETURN_INT32(n);
}

Datum
api_test_made_up_compaction_lines(PG_FUNCTION_ARGS)
{
	CompactionShared *shared = compaction_shared();
	int32 n = 0;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < COMPACTION_DATABASES; i++)
		n += shared->lines[i].database >= MADE_UP_DATABASE;
	LWLockRelease(&shared->lock);
	PG_RETURN_INT32(n);
}

/* ---------------------------------------------------------------- commits in slow motion */

static char *hold_path;

/* Callbacks that were registered first, so the engine's, are called after this one. */
static void
hold_commit(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT)
		for (int i = 0; i < 60000 && access(hold_path, F_OK) == 0; i++)
			pg_usleep(1000);
}

Datum
api_test_hold_commit(PG_FUNCTION_ARGS)
{
	if (hold_path == NULL)
		RegisterXactCallback(hold_commit, NULL);
	hold_path = MemoryContextStrdup(TopMemoryContext, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}
