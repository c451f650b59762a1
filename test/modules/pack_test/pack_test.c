/*
 * pack_test.c
 *		Round trips of the rows of a query, and reading of damaged packs.
 */
#include "pack_test.h"

#include "common/pg_prng.h"
#include "engine/pack_kernels.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(pack_check);
PG_FUNCTION_INFO_V1(pack_damage);

/* Set: the reader takes every checksum for right, so that damage reaches what lies behind. */
bool pack_fuzzing = false;

/* One pack's rows, taken from the result of a query. */
static void
collect(Rows *rows, uint64 first, uint32 count, double holes, pg_prng_state *random)
{
	uint32 position = 0;

	rows->desc = SPI_tuptable->tupdesc;
	rows->nrows = count;
	rows->values = palloc_extended(sizeof(Datum *) * (count + 1), MCXT_ALLOC_HUGE);
	rows->nulls = palloc_extended(sizeof(bool *) * (count + 1), MCXT_ALLOC_HUGE);
	rows->positions = palloc(sizeof(uint32) * (count + 1));
	for (uint32 row = 0; row < count; row++)
	{
		rows->values[row] = palloc(sizeof(Datum) * (rows->desc->natts + 1));
		rows->nulls[row] = palloc(sizeof(bool) * (rows->desc->natts + 1));
		heap_deform_tuple(SPI_tuptable->vals[first + row], rows->desc, rows->values[row],
						  rows->nulls[row]);
		while (holes > 0 && pg_prng_double(random) < holes)
			position += holes > 0.99 ? 1 + (uint32) (pg_prng_double(random) * 1000) : 1;
		rows->positions[row] = position++;
	}
	rows->span = position + (holes > 0 ? 5 : 0);
}

/* Appends the rows one by one; or, where there are no holes, many at once: a few, then more and more */
static void
append_rows(PackWriter *writer, const Rows *rows, bool many)
{
	uint32 step;

	for (uint32 row = 0; row < rows->nrows; row += step)
	{
		step = many ? Min(row % 1000 + 3, rows->nrows - row) : 1;
		if (rows->span == rows->nrows && many)
			pack_writer_append_many(writer, (const Datum *const *) rows->values + row,
									(const bool *const *) rows->nulls + row, step);
		else
			for (uint32 i = row; i < row + step; i++)
				pack_writer_append_at(writer, rows->positions[i], rows->values[i], rows->nulls[i]);
	}
}

/* Rows read back from the writer. */
static void
compare_writer(PackWriter *writer, const Rows *rows)
{
	Datum *values = palloc(sizeof(Datum) * (rows->desc->natts + 1));
	bool *nulls = palloc(sizeof(bool) * (rows->desc->natts + 1));

	if (pack_writer_rows(writer) != rows->nrows)
		elog(ERROR, "the writer has lost rows");
	for (uint32 row = 0; row < rows->nrows; row += 1 + rows->nrows / 1000)
	{
		uint32 index;

		if (!pack_writer_find(writer, rows->positions[row], &index) || index != row)
			elog(ERROR, "the writer does not find position %u", rows->positions[row]);
		pack_writer_fetch(writer, row, values, nulls);
		for (int att = 0; att < rows->desc->natts; att++)
		{
			Form_pg_attribute attribute = TupleDescAttr(rows->desc, att);

			if (nulls[att] != rows->nulls[row][att] ||
				(!nulls[att] && !datum_image_eq(values[att], rows->values[row][att],
												attribute->attbyval, attribute->attlen)))
				elog(ERROR, "writer: row %u of column %d differs", row, att + 1);
		}
	}
}

static void
note_encodings(StringInfo encodings, const PackBytes *bytes, TupleDesc desc)
{
	PackMemorySource source;
	PackReader *reader;

	pack_memory_source_init(&source, bytes->data, bytes->length);
	reader = pack_open(&source.base, desc, CurrentMemoryContext);
	for (int att = 0; att < desc->natts; att++)
		appendStringInfo(encodings, "%s%s", att > 0 ? " " : "", pack_column_encoding(reader, att));
	pack_close(reader);
}

static void
run_query(text *query)
{
	char *sql = text_to_cstring(query);

	if (SPI_connect() != SPI_OK_CONNECT || SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "the query failed");
}

Datum
pack_check(PG_FUNCTION_ARGS)
{
	uint32 per_pack = PG_GETARG_INT32(1);
	double holes = PG_GETARG_FLOAT8(2);
	pg_prng_state random;
	TupleDesc result_desc;
	Datum result[4];
	bool nulls[4] = {false};
	PackWriter *writer;
	StringInfoData encodings;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext per_pack_context;
	uint64 done = 0;
	int packs = 0;
	uint64 bytes_total = 0;

	if (get_call_result_type(fcinfo, NULL, &result_desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "not called as expected");
	if (!PG_ARGISNULL(4))
	{
		const PackKernels *kernels = pack_kernels_by_name(text_to_cstring(PG_GETARG_TEXT_PP(4)));

		if (kernels != NULL)
			pack_kernels_force(kernels);
	}
	else
		pack_kernels_force(NULL);
	pg_prng_seed(&random, PG_GETARG_INT32(3));
	initStringInfo(&encodings);
	run_query(PG_GETARG_TEXT_PP(0));
	writer = pack_writer_create(SPI_tuptable->tupdesc, CurrentMemoryContext);
	per_pack_context =
		AllocSetContextCreate(CurrentMemoryContext, "pack_check", ALLOCSET_DEFAULT_SIZES);
	do
	{
		uint32 count = Min(per_pack, SPI_processed - done);
		Rows rows;
		PackBytes bytes;
		PackBytes again;
		MemoryContext old = MemoryContextSwitchTo(per_pack_context);

		collect(&rows, done, count, holes, &random);
		append_rows(writer, &rows, false);
		compare_writer(writer, &rows);
		pack_writer_finish(writer, rows.span, &bytes);
		compare_pack(&rows, &bytes, false);
		compare_pack(&rows, &bytes, true);
		compare_writer(writer, &rows);

		/* neither how rows are appended nor what was learnt from the first time changes the values */
		pack_writer_reset(writer);
		append_rows(writer, &rows, true);
		pack_writer_finish(writer, rows.span, &again);
		compare_writer(writer, &rows);
		compare_pack(&rows, &again, true);
		if (done == 0)
		{
			MemoryContextSwitchTo(caller);
			note_encodings(&encodings, &bytes, rows.desc);
		}
		bytes_total += bytes.length;
		packs++;
		pfree(bytes.data);
		pfree(again.data);
		pack_writer_reset(writer);
		done += count;
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_pack_context);
	} while (done < SPI_processed);
	pack_writer_free(writer);
	SPI_finish();

	result[0] = Int32GetDatum(packs);
	result[1] = Int64GetDatum(done);
	result[2] = Int64GetDatum(bytes_total);
	result[3] = CStringGetTextDatum(encodings.data);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_desc, result, nulls)));
}

/* Changes a few bytes, cuts or repeats a stretch. */
static void
damage(uint8 *data, uint64 *length, pg_prng_state *random)
{
	int changes = 1 + pg_prng_uint64_range(random, 0, 3);

	for (int i = 0; i < changes; i++)
	{
		/* most of what can be misunderstood is near the start */
		uint64 limit = pg_prng_bool(random) ? Min(*length, 2048) : *length;
		uint64 at = pg_prng_uint64_range(random, 0, limit - 1);

		switch (pg_prng_uint64_range(random, 0, 5))
		{
			case 0:
				data[at] ^= 1 << pg_prng_uint64_range(random, 0, 7);
				break;
			case 1:
				data[at] = pg_prng_uint64(random);
				break;
			case 2:
				data[at] = 0xff;
				break;
			case 3:
				data[at] = 0;
				break;
			case 4:
				memset(data + at, pg_prng_bool(random) ? 0xff : 0, Min(8, *length - at));
				break;
			default:
				if (*length > 100)
					*length -= pg_prng_uint64_range(random, 0, *length / 4);
				break;
		}
	}
}

static void
ignore_problem(void *arg, int att, const char *problem)
{
}

Datum
pack_damage(PG_FUNCTION_ARGS)
{
	int rounds = PG_GETARG_INT32(1);
	pg_prng_state random;
	TupleDesc result_desc;
	Datum result[2];
	bool nulls[2] = {false};
	PackWriter *writer;
	Rows rows;
	PackBytes bytes;
	volatile int raised = 0;
	volatile int answered = 0;
	MemoryContext context;

	if (get_call_result_type(fcinfo, NULL, &result_desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "not called as expected");
	pg_prng_seed(&random, PG_GETARG_INT32(2));
	run_query(PG_GETARG_TEXT_PP(0));
	writer = pack_writer_create(SPI_tuptable->tupdesc, CurrentMemoryContext);
	collect(&rows, 0, SPI_processed, 0.2, &random);
	append_rows(writer, &rows, false);
	pack_writer_finish(writer, rows.span, &bytes);
	context = AllocSetContextCreate(CurrentMemoryContext, "pack_damage", ALLOCSET_DEFAULT_SIZES);
	for (int round = 0; round < rounds; round++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		uint64 length = bytes.length;
		uint8 *copy = palloc_extended(length, MCXT_ALLOC_HUGE);
		PagedSource source;

		CHECK_FOR_INTERRUPTS();
		memcpy(copy, bytes.data, length);
		damage(copy, &length, &random);
		paged_source_init(&source, copy, length);
		pack_fuzzing = round % 8 != 0;
		PG_TRY();
		{
			PackReader *reader = pack_open(&source.base, rows.desc, context);

			pack_verify(reader, ignore_problem, NULL);
			pack_close(reader);
			reader = pack_open(&source.base, rows.desc, context);
			read_all(reader, rows.desc);
			pack_close(reader);
			answered++;
		}
		PG_CATCH();
		{
			ErrorData *error;

			MemoryContextSwitchTo(context);
			error = CopyErrorData();
			pack_fuzzing = false;
			if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED &&
				error->sqlerrcode != ERRCODE_OUT_OF_MEMORY)
				PG_RE_THROW();
			FlushErrorState();
			raised++;
		}
		PG_END_TRY();
		pack_fuzzing = false;
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	pack_writer_free(writer);
	SPI_finish();
	result[0] = Int32GetDatum(raised);
	result[1] = Int32GetDatum(answered);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(result_desc, result, nulls)));
}
