/*
 * magic_bench.c
 *		The block reader without executor: packs of a table decoded from shared buffers.
 *
 * Finds the packs in the directory, magic.pack, by the storage id in the table's metapage, and
 * reads their pages as the engine does: one pin for each column, blocks in place unless they
 * cross a page border.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "engine/pack.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(magic_bench_decode);
PG_FUNCTION_INFO_V1(magic_bench_decode_datums);

/* A page's payload stands behind the page header and the engine's tag. */
#define PAYLOAD_OFFSET (BLCKSZ - PACK_PAGE_PAYLOAD)

/* In the metapage: magic, version, storage id. */
#define STORAGE_OFFSET 8

typedef struct BufferSource
{
	PackSource base;
	Relation rel;
	BlockNumber first;
	Buffer *pins; /* one per stream */
} BufferSource;

static const uint8 *
pinned_page(BufferSource *source, int stream, BlockNumber block)
{
	Buffer pin = source->pins[stream];

	if (!BufferIsValid(pin) || BufferGetBlockNumber(pin) != block)
	{
		source->pins[stream] = InvalidBuffer;
		if (BufferIsValid(pin))
			ReleaseBuffer(pin);
		source->pins[stream] = pin = ReadBuffer(source->rel, block);
	}
	return (const uint8 *) BufferGetPage(pin);
}

static const uint8 *
buffer_fetch(PackSource *base, int stream, uint64 offset, uint32 length, uint8 *scratch)
{
	BufferSource *source = (BufferSource *) base;
	BlockNumber block = source->first + offset / PACK_PAGE_PAYLOAD;
	uint32 start = offset % PACK_PAGE_PAYLOAD;
	const uint8 *page = pinned_page(source, stream, block);

	if (start + (uint64) length <= PACK_PAGE_PAYLOAD)
		return page + PAYLOAD_OFFSET + start;
	for (uint32 done = 0; done < length;)
	{
		uint32 n = Min(length - done, PACK_PAGE_PAYLOAD - start);

		memcpy(scratch + done, page + PAYLOAD_OFFSET + start, n);
		done += n;
		start = 0;
		if (done < length)
			page = pinned_page(source, stream, ++block);
	}
	return scratch;
}

typedef struct Pack
{
	uint64 length;
	BlockNumber first;
	bytea *data; /* inline pack, or NULL */
} Pack;

/* The packs of a table, by the directory. */
static Pack *
find_packs(Relation rel, int *npacks)
{
	Buffer buffer = ReadBuffer(rel, 0);
	int64 storage;
	Datum argument;
	Oid type = INT8OID;
	Pack *packs;

	memcpy(&storage, (const char *) PageGetContents(BufferGetPage(buffer)) + STORAGE_OFFSET,
		   sizeof(storage));
	ReleaseBuffer(buffer);
	argument = Int64GetDatum(storage);
	if (SPI_execute_with_args(
			"SELECT length, block, data FROM magic.pack WHERE storage = $1 ORDER BY first_row", 1,
			&type, &argument, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "cannot read the pack directory");
	*npacks = SPI_processed;
	packs = palloc0(sizeof(Pack) * (SPI_processed + 1));
	for (int i = 0; i < *npacks; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		Datum data;

		packs[i].length = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
		packs[i].first = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		data = SPI_getbinval(tuple, desc, 3, &isnull);
		if (!isnull)
			packs[i].data = DatumGetByteaP(data);
	}
	return packs;
}

static uint64
decode_pack(Relation rel, const Pack *pack, const int *atts, int natts, bool datums)
{
	TupleDesc desc = RelationGetDescr(rel);
	BufferSource pages = {0};
	PackMemorySource memory;
	PackReader *reader;
	uint64 values = 0;
	Datum *column = palloc(sizeof(Datum) * PACK_VECTOR);
	bool *nulls = palloc(sizeof(bool) * PACK_VECTOR);

	pages.base.fetch = buffer_fetch;
	pages.base.length = pack->length;
	pages.base.prefetch = NULL;
	pages.base.check_data = false;
	pages.rel = rel;
	pages.first = pack->first;
	pages.pins = palloc0(sizeof(Buffer) * (desc->natts + 1));
	if (pack->data != NULL)
		pack_memory_source_init(&memory, (uint8 *) VARDATA(pack->data), pack->length);
	reader = pack_open(pack->data ? &memory.base : &pages.base, desc, CurrentMemoryContext);
	for (uint32 block = 0; block < pack_nblocks(reader); block++)
	{
		for (int i = 0; i < natts; i++)
		{
			PackVector vector;

			if (datums)
				pack_read_datums(reader, atts[i], block, column, nulls);
			else
				pack_read_vector(reader, atts[i], block, &vector);
			values += pack_block_rows(reader, block);
		}
	}
	pack_close(reader);
	for (int i = 0; i <= desc->natts; i++)
		if (BufferIsValid(pages.pins[i]))
			ReleaseBuffer(pages.pins[i]);
	return values;
}

static Datum
decode(Oid relid, ArrayType *columns, bool datums)
{
	Relation rel = relation_open(relid, AccessShareLock);
	Datum *names;
	int natts;
	int *atts;
	int npacks;
	Pack *packs;
	uint64 values = 0;

	deconstruct_array(columns, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &natts);
	atts = palloc(sizeof(int) * (natts + 1));
	for (int i = 0; i < natts; i++)
	{
		char *name = TextDatumGetCString(names[i]);
		int number = SPI_fnumber(RelationGetDescr(rel), name);

		if (number <= 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("column \"%s\" does not exist", name)));
		atts[i] = number - 1;
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "cannot connect");
	packs = find_packs(rel, &npacks);
	for (int i = 0; i < npacks; i++)
		values += decode_pack(rel, &packs[i], atts, natts, datums);
	SPI_finish();
	relation_close(rel, AccessShareLock);
	return CStringGetTextDatum(
		psprintf(UINT64_FORMAT " values of %d columns in %d packs", values, natts, npacks));
}

Datum
magic_bench_decode(PG_FUNCTION_ARGS)
{
	return decode(PG_GETARG_OID(0), PG_GETARG_ARRAYTYPE_P(1), false);
}

Datum
magic_bench_decode_datums(PG_FUNCTION_ARGS)
{
	return decode(PG_GETARG_OID(0), PG_GETARG_ARRAYTYPE_P(1), true);
}
