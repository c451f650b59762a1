/*
 * pack_test_bench.c
 *		Size and speed of packs of a query's rows, column by column.
 */
#include "pack_test.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(pack_bench);

typedef struct Bench
{
	PackWriter *writer;
	PackBytes *packs;
	int npacks;
	uint64 rows;
	uint64 bytes;
	double append_ms;
	double encode_ms;
} Bench;

static double
elapsed_ms(instr_time start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_MILLISEC(now);
}

static void
finish_pack(Bench *bench)
{
	instr_time start;

	if (pack_writer_rows(bench->writer) == 0)
		return;
	INSTR_TIME_SET_CURRENT(start);
	pack_writer_finish(bench->writer, pack_writer_rows(bench->writer),
					   &bench->packs[bench->npacks]);
	bench->encode_ms += elapsed_ms(start);
	bench->bytes += bench->packs[bench->npacks++].length;
	pack_writer_reset(bench->writer);
}

/* Packs the rows of a cursor. */
static TupleDesc
encode(Bench *bench, const char *query, uint32 per_pack)
{
	Portal portal = SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, true, 0);
	TupleDesc desc = NULL;
	Datum *values = NULL;
	bool *nulls = NULL;

	bench->packs = palloc(sizeof(PackBytes) * 10000);
	for (;;)
	{
		instr_time start;

		SPI_cursor_fetch(portal, true, 10000);
		if (desc == NULL)
		{
			desc = CreateTupleDescCopy(SPI_tuptable->tupdesc);
			bench->writer = pack_writer_create(desc, CurrentMemoryContext);
			values = palloc(sizeof(Datum) * desc->natts);
			nulls = palloc(sizeof(bool) * desc->natts);
		}
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
			if (i == 0)
				INSTR_TIME_SET_CURRENT(start);
			pack_writer_append(bench->writer, values, nulls);
			if (pack_writer_rows(bench->writer) == per_pack)
			{
				bench->append_ms += elapsed_ms(start);
				finish_pack(bench);
				INSTR_TIME_SET_CURRENT(start);
			}
		}
		bench->append_ms += elapsed_ms(start);
		bench->rows += SPI_processed;
		SPI_freetuptable(SPI_tuptable);
	}
	finish_pack(bench);
	SPI_cursor_close(portal);
	return desc;
}

typedef struct ColumnResult
{
	const char *encoding;
	uint64 bytes;
	double datums_ms;
	double vector_ms;
	uint64 copies;
} ColumnResult;

static void
read_column(Bench *bench, TupleDesc desc, int att, ColumnResult *out)
{
	Datum *values = palloc(sizeof(Datum) * PACK_VECTOR);
	bool *nulls = palloc(sizeof(bool) * PACK_VECTOR);
	double datums = 0;
	double vectors = 0;

	out->bytes = 0;
	for (int pack = 0; pack < bench->npacks; pack++)
	{
		PagedSource source;
		PackReader *reader;
		instr_time start;
		PackVector vector;

		paged_source_init(&source, bench->packs[pack].data, bench->packs[pack].length);
		INSTR_TIME_SET_CURRENT(start);
		reader = pack_open(&source.base, desc, CurrentMemoryContext);
		for (uint32 block = 0; block < pack_nblocks(reader); block++)
			pack_read_vector(reader, att, block, &vector);
		vectors += elapsed_ms(start);
		pack_close(reader);

		INSTR_TIME_SET_CURRENT(start);
		reader = pack_open(&source.base, desc, CurrentMemoryContext);
		for (uint32 block = 0; block < pack_nblocks(reader); block++)
			pack_read_datums(reader, att, block, values, nulls);
		datums += elapsed_ms(start);
		out->encoding = pack_column_encoding(reader, att);
		out->bytes += pack_column_bytes(reader, att);
		pack_close(reader);
	}
	if (out->vector_ms == 0 || vectors < out->vector_ms)
		out->vector_ms = vectors;
	if (out->datums_ms == 0 || datums < out->datums_ms)
		out->datums_ms = datums;
}

Datum
pack_bench(PG_FUNCTION_ARGS)
{
	char *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	uint32 per_pack = PG_GETARG_INT32(1);
	int repeats = PG_GETARG_INT32(2);
	ReturnSetInfo *set = (ReturnSetInfo *) fcinfo->resultinfo;
	Bench bench = {0};
	TupleDesc desc;

	InitMaterializedSRF(fcinfo, 0);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "cannot connect");
	desc = encode(&bench, query, per_pack);
	for (int att = 0; att < desc->natts; att++)
	{
		ColumnResult result = {0};
		Datum values[5];
		bool nulls[5] = {false};
		char number[64];

		for (int i = 0; i < repeats; i++)
			read_column(&bench, desc, att, &result);
		values[0] = CStringGetTextDatum(NameStr(TupleDescAttr(desc, att)->attname));
		values[1] = CStringGetTextDatum(result.encoding);
		snprintf(number, sizeof(number), "%.2f", result.bytes / 1e6);
		values[2] = DirectFunctionCall3(numeric_in, CStringGetDatum(number), 0, Int32GetDatum(-1));
		snprintf(number, sizeof(number), "%.3f", result.datums_ms * 1e6 / bench.rows);
		values[3] = DirectFunctionCall3(numeric_in, CStringGetDatum(number), 0, Int32GetDatum(-1));
		snprintf(number, sizeof(number), "%.3f", result.vector_ms * 1e6 / bench.rows);
		values[4] = DirectFunctionCall3(numeric_in, CStringGetDatum(number), 0, Int32GetDatum(-1));
		tuplestore_putvalues(set->setResult, set->setDesc, values, nulls);
	}
	elog(NOTICE, "%lu rows, %d packs, %.1f MB, append %.0f ms, encode %.0f ms: %.2f M rows/s",
		 (unsigned long) bench.rows, bench.npacks, bench.bytes / 1e6, bench.append_ms,
		 bench.encode_ms, bench.rows / 1e3 / (bench.append_ms + bench.encode_ms));
	SPI_finish();
	return (Datum) 0;
}
