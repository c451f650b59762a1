/*
 * pack_encode_dict.c
 *		Chunks of byte strings with few distinct values: a sorted dictionary and blocks of codes.
 *
 * The dictionary is a hash table of the values met so far. What distinguishes values of up to 16 bytes are
 * three numbers, which are compared instead of bytes.
 */
#include "engine/pack_writer.h"

#include <lz4.h>

#include "engine/pack_kernels.h"
#include "utils/memutils.h"

/* A dictionary is given up when a start of this many rows has more distinct values than half. */
#define PROBE_ROWS 2048

/* The most bytes its entries may have. */
#define MOST_BYTES (16 * 1024 * 1024)

#define FIRST_ENTRIES 128

/* A value as it is looked up: up to 16 bytes are wholly in `head` and `tail`. */
typedef struct DictKey
{
	PackString string;
	uint64 head; /* the first 8 bytes */
	uint64 tail; /* the last 8, of more than 8 */
} DictKey;

typedef struct DictEntry
{
	DictKey key;
	uint64 hash;
	uint32 number; /* as first met */
} DictEntry;

typedef struct DictBuilder
{
	MemoryContext context;
	DictEntry *entries;
	uint32 count;
	uint32 room; /* a power of two */
	uint32 limit;
	uint64 bytes;
	uint32 *slots; /* twice the room; entry + 1; 0: free */
} DictBuilder;

static inline DictKey
make_key(PackString string)
{
	DictKey key;

	key.string = string;
	key.head = pack_string_head(string);
	key.tail = string.length > 8 ? pack_load_word(string.data + string.length - 8) : 0;
	return key;
}

static inline bool
same_key(const DictKey *a, const DictKey *b)
{
	return a->head == b->head && a->string.length == b->string.length && a->tail == b->tail &&
		   (likely(a->string.length <= 16) ||
			memcmp(a->string.data, b->string.data, a->string.length) == 0);
}

static inline uint64
mix(uint64 hash, uint64 word)
{
	hash = (hash ^ word) * UINT64CONST(0xff51afd7ed558ccd);
	return hash ^ (hash >> 32);
}

static inline uint64
hash_key(const DictKey *key)
{
	uint64 hash = mix(key->string.length * UINT64CONST(0x9e3779b97f4a7c15), key->head);

	for (uint32 at = 8; at + 8 < key->string.length; at += 8)
		hash = mix(hash, pack_load_word(key->string.data + at));
	return mix(hash, key->tail);
}

/* Makes room for more entries. */
static void
dict_grow(DictBuilder *dict)
{
	uint32 room = dict->room == 0 ? FIRST_ENTRIES : dict->room * 2;
	uint32 mask = room * 2 - 1;

	if (dict->slots != NULL)
		pfree(dict->slots);
	dict->slots = MemoryContextAllocZero(dict->context, room * 2 * sizeof(uint32));
	if (dict->entries == NULL)
		dict->entries = MemoryContextAlloc(dict->context, room * sizeof(DictEntry));
	else
		dict->entries = repalloc(dict->entries, room * sizeof(DictEntry));
	for (uint32 entry = 0; entry < dict->count; entry++)
	{
		uint32 slot = dict->entries[entry].hash & mask;

		while (dict->slots[slot] != 0)
			slot = (slot + 1) & mask;
		dict->slots[slot] = entry + 1;
	}
	dict->room = room;
}

/* Adds an entry; -1: the dictionary is full. */
static pg_noinline int64
dict_add(DictBuilder *dict, const DictKey *key, uint64 hash)
{
	uint32 mask;
	uint32 slot;

	if (dict->count == dict->limit)
		return -1;
	if (dict->count == dict->room)
		dict_grow(dict);
	mask = dict->room * 2 - 1;
	for (slot = hash & mask; dict->slots[slot] != 0; slot = (slot + 1) & mask)
		;
	dict->entries[dict->count].key = *key;
	dict->entries[dict->count].hash = hash;
	dict->entries[dict->count].number = dict->count;
	dict->bytes += key->string.length;
	dict->slots[slot] = ++dict->count;
	return dict->count - 1;
}

/* Number of the entry equal to `key`, added if it is new; -1: the dictionary is full. */
static inline int64
dict_code(DictBuilder *dict, const DictKey *key)
{
	uint64 hash = hash_key(key);
	uint32 mask = dict->room * 2 - 1;

	for (uint32 slot = hash & mask; dict->slots[slot] != 0; slot = (slot + 1) & mask)
	{
		const DictEntry *entry = &dict->entries[dict->slots[slot] - 1];

		if (entry->hash == hash && same_key(&entry->key, key))
			return dict->slots[slot] - 1;
	}
	return dict_add(dict, key, hash);
}

/* The codes of all rows in a new dictionary, or NULL if it does not pay.  Null rows get code 0. */
static int64 *
dict_build(PackWriter *writer, const WriterColumn *source, DictBuilder *dict)
{
	uint32 n = writer->nrows;
	int64 *codes = pack_room(writer, &writer->integers, n * sizeof(int64));
	DictKey previous = {{NULL, 0}, 0, 0};
	int64 last = -1;

	memset(dict, 0, sizeof(*dict));
	dict->context = writer->scratch;
	dict->limit = Min(PACK_MAX_DICT, n / 2 + 1);
	dict_grow(dict);
	for (uint32 i = 0; i < n; i++)
	{
		DictKey key;

		if (source->nulls[i])
		{
			codes[i] = 0;
			continue;
		}
		pack_prefetch_value(source, i, n);
		key = make_key(pack_value_bytes(source->klass, source->attlen, source->values[i]));
		if (last < 0 || !same_key(&key, &previous))
		{
			last = dict_code(dict, &key);
			previous = key;
		}
		if (last < 0 || (i == PROBE_ROWS && dict->count > PROBE_ROWS / 2))
			return NULL;
		codes[i] = last;
	}
	if (dict->bytes > MOST_BYTES)
		return NULL;
	if (dict->count > 64 &&
		(dict->bytes + dict->count * sizeof(uint32) + n * pack_width(dict->count - 1) / 8) * 2 >
			source->bytes + n)
		return NULL;
	return codes;
}

static int
compare_entries(const void *a, const void *b)
{
	return pack_string_compare(&((const DictEntry *) a)->key.string,
							   &((const DictEntry *) b)->key.string);
}

/* Sorts the entries and renumbers the codes. */
static void
dict_sort(PackWriter *writer, DictBuilder *dict, int64 *codes)
{
	uint32 *ranks = MemoryContextAlloc(writer->scratch, dict->count * sizeof(uint32));

	qsort(dict->entries, dict->count, sizeof(DictEntry), compare_entries);
	for (uint32 i = 0; i < dict->count; i++)
		ranks[dict->entries[i].number] = i;
	for (uint32 i = 0; i < writer->nrows; i++)
		codes[i] = ranks[codes[i]];
}

static void
range_prefix(uint8 *prefix, uint8 *length, bool *cut, PackString value)
{
	*length = Min(value.length, PACK_RANGE_PREFIX);
	*cut = value.length > PACK_RANGE_PREFIX;
	memcpy(prefix, value.data, *length);
}

/* Enters a chunk's smallest and largest value. */
void
pack_set_byte_range(PackColumn *column, PackString min, PackString max)
{
	bool min_cut;
	bool max_cut;

	range_prefix(column->min, &column->min_length, &min_cut, min);
	range_prefix(column->max, &column->max_length, &max_cut, max);
	column->flags |= (min_cut ? 0 : PACK_COLUMN_EXACT) | (max_cut ? PACK_COLUMN_MAX_CUT : 0);
}

/* Appends the entries: lengths, then bytes. */
static void
write_entries(PackWriter *writer, const DictBuilder *dict, PackBuffer *out, PackColumn *column)
{
	uint64 raw = dict->count * sizeof(uint32) + dict->bytes;
	uint8 *image = MemoryContextAllocHuge(writer->scratch, raw);
	uint8 *at = image;

	for (uint32 i = 0; i < dict->count; i++, at += sizeof(uint32))
		memcpy(at, &dict->entries[i].key.string.length, sizeof(uint32));
	for (uint32 i = 0; i < dict->count; i++)
	{
		PackString string = dict->entries[i].key.string;

		memcpy(at, string.data, string.length);
		at += string.length;
	}
	column->aux_offset = out->length - column->offset;
	column->aux_count = dict->count;
	column->aux_raw = column->aux_length = raw;
	if (raw > 1024 && raw < MOST_BYTES)
	{
		char *compressed = MemoryContextAlloc(writer->scratch, LZ4_compressBound(raw));
		int length =
			LZ4_compress_default((const char *) image, compressed, raw, LZ4_compressBound(raw));

		if (length > 0 && length < raw - raw / 8)
		{
			column->aux_length = length;
			image = (uint8 *) compressed;
		}
	}
	pack_buffer_append(out, image, column->aux_length);
	pack_buffer_align(out, 8);
}

bool
pack_encode_dict(PackWriter *writer, const WriterColumn *source, PackBuffer *out,
				 PackColumn *column, PackBlock *directory)
{
	DictBuilder dict;
	IntChunk chunk = {0};
	PackColumn ints = *column;

	chunk.values = dict_build(writer, source, &dict);
	if (chunk.values == NULL)
		return false;
	dict_sort(writer, &dict, chunk.values);
	column->encoding = PACK_ENCODING_DICT;
	write_entries(writer, &dict, out, column);

	if (source->null_count > 0)
		pack_fill_nulls(chunk.values, source->nulls, writer->nrows);
	chunk.nulls = source->nulls;
	chunk.nrows = writer->nrows;
	chunk.null_count = source->null_count;
	chunk.step = 1;
	pack_encode_ints(out, &ints, directory, &chunk);
	column->flags |= ints.flags & PACK_COLUMN_SORTED;
	pack_set_byte_range(column, dict.entries[0].key.string,
						dict.entries[dict.count - 1].key.string);
	return true;
}
