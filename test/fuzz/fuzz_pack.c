/*
 * The pack reader takes any bytes: it raises "data corrupted", or answers without reading outside
 * the pack or its own memory. The first byte chooses a sound pack, made by the writer; the rest
 * are edits of it, four bytes each: offset and value; or, with the byte 0xff, the rest is the
 * pack.
 *
 * sources: magic_fdw/engine/pack*.c
 * libs: -DPACK_FUZZING -Wno-unused-command-line-argument -llz4 -lzstd -lm
 */
#include "pg_shim.h"

#include "catalog/pg_type.h"
#include "engine/pack.h"

bool pack_fuzzing = true;

#define NATTS 10
#define NPACKS 8

static PackBytes packs[NPACKS];
static TupleDesc desc;

static void
add_attribute(int i, Oid type, int16 length, bool byval, char align, char storage)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, i);

	attribute->atttypid = type;
	attribute->attlen = length;
	attribute->attbyval = byval;
	attribute->attalign = align;
	attribute->attstorage = storage;
}

static void
make_desc(void)
{
	desc = calloc(1, sizeof(TupleDescData) + NATTS * sizeof(FormData_pg_attribute));
	desc->natts = NATTS;
	add_attribute(0, INT4OID, 4, true, 'i', 'p');
	add_attribute(1, INT8OID, 8, true, 'd', 'p');
	add_attribute(2, FLOAT8OID, 8, true, 'd', 'p');
	add_attribute(3, NUMERICOID, -1, false, 'i', 'm');
	add_attribute(4, TEXTOID, -1, false, 'i', 'x');
	add_attribute(5, TEXTOID, -1, false, 'i', 'x');
	add_attribute(6, UUIDOID, 16, false, 'c', 'p');
	add_attribute(7, CSTRINGOID, -2, false, 'c', 'p');
	add_attribute(8, BYTEAOID, -1, false, 'i', 'x');
	add_attribute(9, NUMERICOID, -1, false, 'i', 'm');
}

static Datum
bytes_datum(char *buffer, const void *bytes, int length)
{
	SET_VARSIZE(buffer, VARHDRSZ + length);
	memcpy(VARDATA(buffer), bytes, length);
	return PointerGetDatum(buffer);
}

/* A numeric of a few digits, display scale 2; now and then NaN. */
static Datum
numeric_datum(char *buffer, unsigned value, int more)
{
	uint16 digits[12] = {0x8000 | 2 << 7 | (1 + more), 1 + value % 9999, 1 + value / 7 % 9999};
	uint16 nan = 0xc000;

	for (int i = 0; i < more; i++)
		digits[3 + i] = 1 + (value + i) % 9999;
	return value % 97 == 5 ? bytes_datum(buffer, &nan, 2)
						   : bytes_datum(buffer, digits, 2 * (3 + more));
}

static const char *const words[8] = {"furious",	  "final",	"deposits", "regular",
									 "carefully", "ironic", "accounts", "blithe"};

static void
make_pack(int number)
{
	static const int rows[NPACKS] = {0, 1, 20, 70, 300, 1024, 1100, 1200};
	PackWriter *writer = pack_writer_create(desc, CurrentMemoryContext);
	unsigned random = 12345 + number;

	for (int row = 0; row < rows[number]; row++)
	{
		Datum values[NATTS];
		bool nulls[NATTS] = {false};
		char buffers[NATTS][2000];
		double f = number % 2 ? row / 10.0 : row * 1.1e-7;
		int length;

		random = random * 1103515245 + 12345;
		values[0] = Int32GetDatum(number % 3 == 0 ? row / 100 : (int32) random);
		values[1] = Int64GetDatum(row * (int64) 3 + (number == 6 ? 0 : row % 2));
		memcpy(&values[2], &f, sizeof(f));
		values[3] = numeric_datum(buffers[3], number == 4 ? row : random >> 8, 0);
		length =
			snprintf(buffers[0], 100, "%s %s %s %s", words[random >> 29], words[random >> 26 & 7],
					 words[random >> 23 & 7], words[random >> 20 & 7]);
		values[4] = bytes_datum(buffers[4], buffers[0], length);
		length = snprintf(buffers[0], 100, "%d", row % 10);
		values[5] = bytes_datum(buffers[5], buffers[0], length);
		memset(buffers[6], random >> 16, 16);
		for (int i = 0; i < 16 && number == 6; i++)
			buffers[6][i] = (random = random * 1103515245 + 12345) >> 16;
		values[6] = PointerGetDatum(buffers[6]);
		snprintf(buffers[7], 100, "c%u", row % (number + 1));
		values[7] = CStringGetDatum(buffers[7]);
		memset(buffers[0], row, 1500);
		values[8] = bytes_datum(buffers[8], buffers[0], number == 7 ? 700 : row % 50);
		values[9] = numeric_datum(buffers[9], random >> 8, 6);
		for (int att = 0; att < NATTS; att++)
			nulls[att] = number >= 5 && (random >> (att + 8)) % (number == 6 ? 2 : 11) == 0;
		pack_writer_append_at(writer,
							  number == 3	? row * 40
							  : number == 5 ? row + row / 3
											: row,
							  values, nulls);
	}
	pack_writer_finish(writer, pack_writer_next_position(writer) + (number == 7), &packs[number]);
	pack_writer_free(writer);
}

/* Every encoding occurs, or its reader would not be tested. */
static void
check_encodings(void)
{
	static const char *const names[] = {"integers", "int128", "dictionary", "plain",
										"lz4",		"zstd",	  "fsst",		"rows"};
	bool seen[lengthof(names)] = {false};

	for (int i = 0; i < NPACKS; i++)
	{
		PackMemorySource source;
		PackReader *reader;

		pack_memory_source_init(&source, packs[i].data, packs[i].length);
		reader = pack_open(&source.base, desc, CurrentMemoryContext);
		for (int att = 0; att < NATTS; att++)
			for (int name = 0; name < lengthof(names); name++)
				if (strcmp(pack_column_encoding(reader, att), names[name]) == 0)
					seen[name] = true;
		pack_close(reader);
	}
	for (int name = 0; name < lengthof(names); name++)
		if (!seen[name])
		{
			fputs("no pack has the encoding ", stderr);
			fputs(names[name], stderr);
			abort();
		}
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	make_desc();
	for (int i = 0; i < NPACKS; i++)
		make_pack(i);
	check_encodings();
	return 0;
}

static void
ignore_problem(void *arg, int att, const char *problem)
{
}

/* Depends on every byte, so that uninitialised or foreign ones are seen. */
static void
touch(const void *data, Size length)
{
	static volatile uint64 sum;

	for (Size i = 0; i < length; i++)
		sum += ((const uint8 *) data)[i];
}

static void
touch_datum(Datum value, int att)
{
	Form_pg_attribute attribute = TupleDescAttr(desc, att);
	char *pointer = DatumGetPointer(value);

	if (attribute->attbyval)
		return;
	touch(pointer, attribute->attlen > 0	 ? attribute->attlen
				   : attribute->attlen == -2 ? strlen(pointer) + 1
											 : VARSIZE_ANY(pointer));
}

static void
read_block(PackReader *reader, int att, int block)
{
	Datum values[PACK_VECTOR];
	bool nulls[PACK_VECTOR];
	uint32 positions[PACK_VECTOR];
	int64 integers[PACK_VECTOR] __attribute__((aligned(64)));
	PackVector vector;
	PackRange range;
	int n = pack_block_rows(reader, block);

	pack_read_datums(reader, att, block, values, nulls);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			touch_datum(values[i], att);
	pack_read_vector(reader, att, block, &vector);
	if (vector.kind == PACK_VECTOR_INT || vector.kind == PACK_VECTOR_DICT)
		pack_vector_int64(&vector, integers);
	else if (vector.codes != NULL)
		touch(vector.codes, n * vector.lane);
	for (int i = 0; i < n; i++)
	{
		if (vector.kind == PACK_VECTOR_DICT && vector.nulls < n)
			touch(vector.dict->entries[integers[i]].data, vector.dict->entries[integers[i]].length);
		if (vector.kind == PACK_VECTOR_BYTES)
			touch(vector.strings[i].data, vector.strings[i].length);
	}
	for (int i = 0; i < vector.nexceptions; i++)
		touch_datum(vector.exceptions[i], att);
	pack_block_range(reader, att, block, &range);
	pack_block_positions(reader, block, positions);
}

static void
read_pack(const uint8 *data, Size length)
{
	PackMemorySource source;
	PackReader *reader;
	PackRange range;
	uint32 index;

	pack_memory_source_init(&source, data, length);
	reader = pack_open(&source.base, desc, CurrentMemoryContext);
	pack_verify(reader, ignore_problem, NULL);
	pack_find(reader, pack_span(reader) / 3, &index);
	pack_rank(reader, pack_span(reader) / 2);
	for (int att = 0; att < NATTS; att++)
	{
		/* each column on its own: one that is damaged does not hide the others */
		sigjmp_buf *outer = PG_exception_stack;
		sigjmp_buf here;

		PG_exception_stack = &here;
		if (sigsetjmp(here, 0) == 0)
		{
			pack_column_range(reader, att, &range);
			pack_column_encoding(reader, att);
			for (uint32 row = 0; row < pack_nrows(reader); row += 61)
			{
				PackDatumBuffer buffer = {.cxt = CurrentMemoryContext};
				bool isnull;
				Datum value = pack_read_datum(reader, att, row, &buffer, &isnull);

				if (!isnull)
					touch_datum(value, att);
			}
			for (uint32 block = 0; block < pack_nblocks(reader); block++)
				read_block(reader, att, block);
		}
		PG_exception_stack = outer;
	}
	pack_close(reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8 *copy;
	Size length;
	sigjmp_buf here;

	if (size < 1)
		return 0;
	if (data[0] == 0xff)
	{
		length = size - 1;
		copy = malloc(length + 1);
		memcpy(copy, data + 1, length);
	}
	else
	{
		const PackBytes *pack = &packs[data[0] % NPACKS];

		length = pack->length;
		copy = malloc(length);
		memcpy(copy, pack->data, length);
		for (size_t at = 1; at + 4 <= size; at += 4)
		{
			uint32 offset = data[at] | data[at + 1] << 8 | (data[at + 2] & 0x7f) << 16;

			if (data[at + 2] & 0x80)
				length = Min(length, Max(offset % pack->length, 1));
			else
				copy[offset % pack->length] = data[at + 3];
		}
	}
	/* exactly as long as it claims, so that one byte more is seen */
	copy = realloc(copy, Max(length, 1));
	PG_exception_stack = &here;
	if (sigsetjmp(here, 0) == 0)
		read_pack(copy, length);
	else if (shim_error.sqlerrcode != ERRCODE_DATA_CORRUPTED &&
			 shim_error.sqlerrcode != ERRCODE_OUT_OF_MEMORY)
		abort();
	PG_exception_stack = NULL;
	while (shim_top.children)
		MemoryContextDelete(&shim_top.children->base);
	free(copy);
	return 0;
}
