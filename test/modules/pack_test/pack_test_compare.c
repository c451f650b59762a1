/*
 * pack_test_compare.c
 *		Reads a pack back in every way the reader has and compares it with the rows that went in.
 */
#include "pack_test.h"

#include <math.h>

#include "access/tupmacs.h"
#include "catalog/pg_type.h"
#include "engine/pack_numeric.h"
#include "fmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

static const uint8 *
paged_fetch(PackSource *base, int stream, uint64 offset, uint32 length, uint8 *scratch)
{
	PagedSource *source = (PagedSource *) base;

	if (length == 0 || length > base->length || offset > base->length - length)
		elog(ERROR, "the reader asked for bytes outside the pack");
	if (offset / PACK_PAGE_PAYLOAD == (offset + length - 1) / PACK_PAGE_PAYLOAD)
		return source->data + offset;
	source->copies++;
	memcpy(scratch, source->data + offset, length);
	return scratch;
}

/* Damaged packs may name any bytes: nothing is read here. */
static void
paged_prefetch(PackSource *base, uint64 offset, uint32 length)
{
	if (!pack_fuzzing && (length > base->length || offset > base->length - length))
		elog(ERROR, "the reader asked for bytes outside the pack before it read them");
}

void
paged_source_init(PagedSource *source, const uint8 *data, uint64 length)
{
	source->base.fetch = paged_fetch;
	source->base.length = length;
	source->base.prefetch = paged_prefetch;
	source->base.check_data = false;
	source->data = data;
	source->copies = 0;
}

static void
check_datum(const Rows *rows, int att, uint32 row, Datum value, bool isnull, const char *how)
{
	Form_pg_attribute attribute = TupleDescAttr(rows->desc, att);

	if (isnull != rows->nulls[row][att] ||
		(!isnull &&
		 !datum_image_eq(value, rows->values[row][att], attribute->attbyval, attribute->attlen)))
		elog(ERROR, "%s: row %u of column %d (%s) differs", how, row, att + 1,
			 NameStr(attribute->attname));
	if (isnull && value != (Datum) 0)
		elog(ERROR, "%s: a null datum is not 0", how);
	if (!isnull && attribute->attlen == -1)
	{
		struct varlena *varlena = (struct varlena *) DatumGetPointer(value);

		if (VARATT_IS_EXTERNAL(varlena) || VARATT_IS_COMPRESSED(varlena))
			elog(ERROR, "%s: toasted value", how);
		if (!VARATT_IS_SHORT(varlena) &&
			(uintptr_t) varlena != att_align_nominal((uintptr_t) varlena, attribute->attalign))
			elog(ERROR, "%s: value is not aligned", how);
		if (VARATT_IS_SHORT(varlena) && attribute->attstorage == TYPSTORAGE_PLAIN)
			elog(ERROR, "%s: short header of a type stored plain", how);
	}
	if (!isnull && attribute->attlen > 0 && !attribute->attbyval &&
		(uintptr_t) DatumGetPointer(value) !=
			att_align_nominal((uintptr_t) DatumGetPointer(value), attribute->attalign))
		elog(ERROR, "%s: value is not aligned", how);
}

/* A value of a vector as the bytes that identify it: what the source datum must give too. */
static void
check_vector_row(const Rows *rows, int att, const PackVector *vector, const int64 *integers, int i,
				 uint32 row)
{
	Form_pg_attribute attribute = TupleDescAttr(rows->desc, att);
	bool isnull = vector->valid != NULL && !((vector->valid[i / 64] >> (i % 64)) & 1);
	Datum value = rows->values[row][att];
	bool same = false;
	uint64 image[4];
	PackString string;

	if (isnull != rows->nulls[row][att])
		elog(ERROR, "vector: validity of row %u of column %d differs", row, att + 1);
	if (isnull)
		return;
	for (int k = 0; k < vector->nexceptions; k++)
		if (vector->exception_rows[k] == i)
		{
			check_datum(rows, att, row, vector->exceptions[k], false, "exception");
			return;
		}
	if (vector->is_numeric)
	{
		if (vector->kind == PACK_VECTOR_INT)
			pack_numeric_build64(integers[i], vector->scale, (uint8 *) image);
		else
			pack_numeric_build128(((const int128 *) vector->codes)[i], vector->scale,
								  (uint8 *) image);
		check_datum(rows, att, row, PointerGetDatum(image), false, "numeric vector");
		return;
	}
	switch (vector->kind)
	{
		case PACK_VECTOR_INT:
			switch (attribute->attlen)
			{
				case 1:
					same = (uint8) integers[i] == (uint8) value;
					break;
				case 2:
					same = (uint16) integers[i] == (uint16) value;
					break;
				case 4:
					same = (uint32) integers[i] == (uint32) value;
					break;
				default:
					same = integers[i] == (int64) value;
					break;
			}
			break;
		case PACK_VECTOR_INT128:
			break;
		case PACK_VECTOR_FLOAT4:
			same = ((const uint32 *) vector->codes)[i] == (uint32) value;
			break;
		case PACK_VECTOR_FLOAT8:
			same = ((const uint64 *) vector->codes)[i] == (uint64) value;
			break;
		case PACK_VECTOR_DICT:
		case PACK_VECTOR_BYTES:
			string = vector->kind == PACK_VECTOR_DICT ? vector->dict->entries[integers[i]]
													  : vector->strings[i];
			if (attribute->attlen == -1)
			{
				struct varlena *flat = PG_DETOAST_DATUM_PACKED(value);

				same = string.length == VARSIZE_ANY_EXHDR(flat) &&
					   memcmp(string.data, VARDATA_ANY(flat), string.length) == 0;
			}
			else if (attribute->attlen == -2)
				same = string.length == strlen(DatumGetCString(value)) &&
					   memcmp(string.data, DatumGetCString(value), string.length) == 0;
			else
				same = string.length == attribute->attlen &&
					   memcmp(string.data, DatumGetPointer(value), string.length) == 0;
			break;
	}
	if (!same)
		elog(ERROR, "vector: row %u of column %d (%s) differs", row, att + 1,
			 NameStr(attribute->attname));
}

static void
compare_column(const Rows *rows, PackReader *reader, int att)
{
	Datum values[PACK_VECTOR];
	bool nulls[PACK_VECTOR];
	int64 integers[PACK_VECTOR] pg_attribute_aligned(64);
	uint32 total_nulls = 0;
	PackRange range;

	for (uint32 block = 0; block < pack_nblocks(reader); block++)
	{
		int n = pack_block_rows(reader, block);
		uint32 start = block * PACK_VECTOR;
		int block_nulls = 0;
		PackVector vector;

		pack_read_datums(reader, att, block, values, nulls);
		for (int i = 0; i < n; i++)
		{
			check_datum(rows, att, start + i, values[i], nulls[i], "block");
			block_nulls += nulls[i];
		}
		pack_read_vector(reader, att, block, &vector);
		if (vector.nrows != n || vector.nulls != block_nulls)
			elog(ERROR, "vector: wrong counts");
		memset(integers, 0, sizeof(integers));
		if (vector.kind == PACK_VECTOR_INT || vector.kind == PACK_VECTOR_DICT)
			pack_vector_int64(&vector, integers);
		for (int i = 0; i < n; i++)
			check_vector_row(rows, att, &vector, integers, i, start + i);
		pack_block_range(reader, att, block, &range);
		if (range.nulls != block_nulls || range.nrows != n)
			elog(ERROR, "wrong null count of a block");
		total_nulls += block_nulls;
	}
	pack_column_range(reader, att, &range);
	if (range.nulls != total_nulls)
		elog(ERROR, "wrong null count of a chunk");
}

/*
 * Single reads, in a scattered order, some of a neighbour next, and twice each, so that they meet every cached
 * state.
 */
static void
compare_singles(const Rows *rows, PackReader *reader)
{
	uint32 n = rows->nrows;
	PackDatumBuffer buffer = {.cxt = CurrentMemoryContext};

	for (uint32 k = 0; k < Min(n, 600); k++)
	{
		uint32 row = k % 4 == 3 ? (uint64) (k - 1) * 7919 % n ^ 1 : (uint64) k * 7919 % n;

		row = Min(row, n - 1);
		pack_prefetch_row(reader, row, 0, rows->desc->natts, NULL);
		for (int att = 0; att < rows->desc->natts; att++)
		{
			bool isnull;
			Datum value = pack_read_datum(reader, att, row, &buffer, &isnull);

			check_datum(rows, att, row, value, isnull, "single");
		}
	}
}

static void
compare_positions(const Rows *rows, PackReader *reader)
{
	uint32 positions[PACK_VECTOR];
	uint32 row = 0;
	uint32 index;

	for (uint32 block = 0; block < pack_nblocks(reader); block++)
	{
		pack_block_positions(reader, block, positions);
		for (int i = 0; i < pack_block_rows(reader, block); i++)
			if (positions[i] != rows->positions[block * PACK_VECTOR + i])
				elog(ERROR, "position of row %u differs", block * PACK_VECTOR + i);
	}
	for (uint32 position = 0; position < Min(rows->span, 500000); position++)
	{
		bool there = row < rows->nrows && rows->positions[row] == position;

		if (pack_rank(reader, position) != row)
			elog(ERROR, "rank of position %u differs", position);
		if (pack_find(reader, position, &index) != there || (there && index != row))
			elog(ERROR, "position %u is not found rightly", position);
		row += there;
	}
	if (pack_find(reader, rows->span, &index) || pack_find(reader, PG_UINT32_MAX, &index))
		elog(ERROR, "a position behind the span is found");
	if (pack_rank(reader, rows->span) != rows->nrows)
		elog(ERROR, "rank of the span differs");
}

static void
report_problem(void *arg, int att, const char *problem)
{
	elog(ERROR, "verification of a sound pack: column %d: %s", att + 1, problem);
}

void
compare_pack(const Rows *rows, const PackBytes *bytes, bool paged)
{
	PagedSource pages;
	PackMemorySource memory;
	PackReader *reader;

	paged_source_init(&pages, bytes->data, bytes->length);
	pack_memory_source_init(&memory, bytes->data, bytes->length);
	reader = pack_open(paged ? &pages.base : &memory.base, rows->desc, CurrentMemoryContext);
	if (pack_nrows(reader) != rows->nrows || pack_span(reader) != rows->span)
		elog(ERROR, "row count or span differs");
	if (rows->nrows > 0)
		compare_singles(rows, reader);
	for (int att = 0; att < rows->desc->natts; att++)
		compare_column(rows, reader, att);
	if (rows->nrows > 0)
		compare_singles(rows, reader);
	compare_positions(rows, reader);
	pack_verify(reader, report_problem, NULL);
	pack_close(reader);

	/* as point reads do it: frames are kept, in enough room and in too little */
	reader = pack_open(paged ? &pages.base : &memory.base, rows->desc, CurrentMemoryContext);
	pack_keep_frames(reader);
	pack_limit_frames(rows->nrows % 2 == 0 ? 40000 : 1000000);
	if (rows->nrows > 0)
	{
		compare_singles(rows, reader);
		compare_singles(rows, reader);
	}
	pack_forget_frames(reader);
	if (pack_frames_bytes() != 0)
		elog(ERROR, "frames are kept of a pack that is closed");
	pack_close(reader);
}

void
read_all(PackReader *reader, TupleDesc desc)
{
	Datum values[PACK_VECTOR];
	bool nulls[PACK_VECTOR];
	uint32 positions[PACK_VECTOR];
	uint32 index;
	volatile uint64 sum = 0;
	PackDatumBuffer buffer = {.cxt = CurrentMemoryContext};

	for (int att = 0; att < desc->natts; att++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, att);
		PackRange range;
		bool isnull;

		/* blocks touched once, then again and again */
		for (uint32 row = 0; row < pack_nrows(reader); row += PACK_VECTOR + 7)
		{
			pack_prefetch_row(reader, row, 0, att + 1, NULL);
			(void) pack_read_datum(reader, att, row, &buffer, &isnull);
		}
		for (uint32 row = 0; row < pack_nrows(reader); row += 37)
			(void) pack_read_datum(reader, att, row, &buffer, &isnull);
		for (uint32 block = 0; block < pack_nblocks(reader); block++)
		{
			PackVector vector;

			pack_read_datums(reader, att, block, values, nulls);
			for (int i = 0; i < pack_block_rows(reader, block); i++)
				if (!nulls[i] && !attribute->attbyval)
				{
					/* touch every byte of the value */
					Size size = datumGetSize(values[i], false, attribute->attlen);
					const uint8 *at = (const uint8 *) DatumGetPointer(values[i]);

					for (Size k = 0; k < size; k++)
						sum += at[k];
				}
			pack_read_vector(reader, att, block, &vector);
			if (vector.kind == PACK_VECTOR_DICT)
			{
				pack_vector_int64(&vector, (int64 *) values);
				for (int i = 0; i < vector.nrows; i++)
					if (vector.nulls < vector.nrows && values[i] >= vector.dict->count)
						elog(PANIC, "a dictionary code is out of range");
			}
			if (vector.kind == PACK_VECTOR_BYTES)
				for (int i = 0; i < vector.nrows; i++)
					for (uint32 k = 0; k < vector.strings[i].length; k++)
						sum += vector.strings[i].data[k];
			pack_block_range(reader, att, block, &range);
			pack_block_positions(reader, block, positions);
		}
		pack_column_range(reader, att, &range);
	}
	pack_find(reader, pack_span(reader) / 2, &index);
}
