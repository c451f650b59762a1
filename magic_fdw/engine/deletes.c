/*
 * deletes.c
 *		Dead rows: maps of them, the bytes of a delta, and who deleted a row.
 *
 * A delta (row of magic.delete_delta) names rows of one delete block that one transaction deleted; while it
 * runs, one command of it. Its bytes are runs of consecutive rows:
 *
 *		varint	gap			rows between the end of the previous run (at first: 0) and this one
 *		varint	(count - 1) * 4 + kind
 *		varint	successor	only for kinds with one: zigzag of the first row's successor minus
 *							(the last successor of the previous such run plus one; at first: 0);
 *							the following rows' successors follow on
 *
 * and at their end four bytes of CRC-32C of storage id (8 bytes), delete block (8) and runs, which the
 * directory (directory.c) adds and checks.
 *
 * A row is dead for a snapshot if a delta that the snapshot sees names it. Deltas of one row never
 * coexist in committed form: the deleter holds the row's lock (rowlock.c) and reads the deltas again after
 * getting it.
 *
 * What a backend keeps of what it has read is in delete_cache.c.
 */
#include "engine/engine_int.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "port/pg_bitutils.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---------------------------------------------------------------- maps */

typedef struct MapBlock
{
	uint64 block; /* hash key */
	uint64 *bits; /* DELETE_BLOCK_BYTES */
} MapBlock;

struct DeleteMap
{
	MemoryContext cxt;
	HTAB *blocks;	/* NULL: empty */
	MapBlock *last; /* looked up last */
};

DeleteMap *
delete_map_create(MemoryContext cxt)
{
	DeleteMap *map = MemoryContextAllocZero(cxt, sizeof(DeleteMap));

	map->cxt = cxt;
	return map;
}

static MapBlock *
map_block(const DeleteMap *map, uint64 block)
{
	if (map->blocks == NULL)
		return NULL;
	if (map->last != NULL && map->last->block == block)
		return map->last;
	return hash_search(map->blocks, &block, HASH_FIND, NULL);
}

static MapBlock *
map_block_for_write(DeleteMap *map, uint64 block)
{
	MapBlock *entry = map_block(map, block);
	bool found;

	if (entry == NULL)
	{
		if (map->blocks == NULL)
		{
			HASHCTL ctl = {
				.keysize = sizeof(uint64), .entrysize = sizeof(MapBlock), .hcxt = map->cxt};

			map->blocks =
				hash_create("magic deleted rows", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		}
		entry = hash_search(map->blocks, &block, HASH_ENTER, &found);
		entry->bits = MemoryContextAllocZero(map->cxt, DELETE_BLOCK_BYTES);
	}
	map->last = entry;
	return entry;
}

void
delete_map_add(DeleteMap *map, RowNumber row)
{
	MapBlock *entry = map_block_for_write(map, row / DELETE_BLOCK_ROWS);
	uint32 bit = row % DELETE_BLOCK_ROWS;

	entry->bits[bit / 64] |= UINT64CONST(1) << (bit % 64);
}

/* The bitmap of a delete block, or NULL if none of its rows is dead. */
const uint64 *
delete_map_block(const DeleteMap *map, uint64 block)
{
	MapBlock *entry = map_block(map, block);

	return entry ? entry->bits : NULL;
}

bool
delete_map_contains(const DeleteMap *map, RowNumber row)
{
	const uint64 *bits = delete_map_block(map, row / DELETE_BLOCK_ROWS);
	uint32 bit = row % DELETE_BLOCK_ROWS;

	return bits != NULL && (bits[bit / 64] >> (bit % 64) & 1);
}

/* How many rows of [from, to) are in the map. */
uint64
delete_map_count_range(const DeleteMap *map, RowNumber from, RowNumber to)
{
	uint64 count = 0;

	for (uint64 block = from / DELETE_BLOCK_ROWS; block * DELETE_BLOCK_ROWS < to; block++)
	{
		const uint64 *bits = delete_map_block(map, block);
		RowNumber base = block * DELETE_BLOCK_ROWS;
		uint32 start = from > base ? (uint32) (from - base) : 0;
		uint32 end = to - base < DELETE_BLOCK_ROWS ? (uint32) (to - base) : DELETE_BLOCK_ROWS;

		if (bits == NULL)
			continue;
		for (uint32 word = start / 64; word * 64 < end; word++)
		{
			uint64 value = bits[word];

			if (word * 64 < start)
				value &= ~UINT64CONST(0) << (start % 64);
			if (word * 64 + 64 > end)
				value &= ~UINT64CONST(0) >> (64 - end % 64);
			count += pg_popcount64(value);
		}
	}
	return count;
}

uint64
delete_map_count(const DeleteMap *map)
{
	HASH_SEQ_STATUS seq;
	MapBlock *entry;
	uint64 count = 0;

	if (map->blocks == NULL)
		return 0;
	hash_seq_init(&seq, map->blocks);
	while ((entry = hash_seq_search(&seq)) != NULL)
		count += pg_popcount((const char *) entry->bits, DELETE_BLOCK_BYTES);
	return count;
}

/* ---------------------------------------------------------------- bytes of a delta */

static int
put_varint(uint8 *out, uint64 value)
{
	int n = 0;

	while (value >= 0x80)
	{
		out[n++] = (uint8) (value | 0x80);
		value >>= 7;
	}
	out[n++] = (uint8) value;
	return n;
}

static uint64
get_varint(const uint8 **p, const uint8 *end)
{
	uint64 value = 0;

	for (int shift = 0; shift < 64 && *p < end; shift += 7)
	{
		uint8 byte = *(*p)++;

		value |= (uint64) (byte & 0x7f) << shift;
		if ((byte & 0x80) == 0)
			return value;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED), errmsg("magic.delete_delta has a malformed row")));
}

/* Most bytes that one run can take. */
#define MAX_RUN_BYTES (3 + 4 + 10)

/*
 * Encodes entries of one delete block, ascending by offset, into `out`. Returns how many of them were
 * taken: fewer than `n` if the room was too small for all.
 */
int
delta_encode(const DeltaEntry *entries, int n, uint8 *out, int room, int *length)
{
	uint32 next_offset = 0;
	RowNumber next_successor = 0;
	int used = 0;
	int i = 0;

	while (i < n && used + MAX_RUN_BYTES <= room)
	{
		const DeltaEntry *first = &entries[i];
		uint32 count = 1;

		while (i + count < n && entries[i + count].kind == first->kind &&
			   entries[i + count].offset == first->offset + count &&
			   (!delete_kind_updates(first->kind) ||
				entries[i + count].successor == first->successor + count))
			count++;
		used += put_varint(out + used, first->offset - next_offset);
		used += put_varint(out + used, (uint64) (count - 1) * 4 + first->kind);
		next_offset = first->offset + count;
		if (delete_kind_updates(first->kind))
		{
			int64 diff = (int64) (first->successor - next_successor);

			used += put_varint(out + used, ((uint64) diff << 1) ^ (uint64) (diff >> 63));
			next_successor = first->successor + count;
		}
		i += count;
	}
	*length = used;
	return i;
}

/* The next entry of a delta; false at the end. */
bool
delta_next(const uint8 **p, const uint8 *end, DeltaCursor *cursor, DeltaEntry *entry)
{
	if (cursor->left == 0)
	{
		uint64 gap, head;

		if (*p >= end)
			return false;
		gap = get_varint(p, end);
		head = get_varint(p, end);
		if (cursor->next_offset + gap + (head >> 2) >= DELETE_BLOCK_ROWS)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("magic.delete_delta has a malformed row")));
		cursor->next_offset += (uint32) gap;
		cursor->left = (uint32) (head >> 2) + 1;
		cursor->kind = head & 3;
		if (delete_kind_updates(cursor->kind))
		{
			uint64 zigzag = get_varint(p, end);

			cursor->next_successor += (uint64) (zigzag >> 1) ^ (~(zigzag & 1) + 1);
		}
	}
	entry->offset = (uint16) cursor->next_offset++;
	entry->kind = cursor->kind;
	entry->successor =
		delete_kind_updates(cursor->kind) ? cursor->next_successor++ : InvalidRowNumber;
	cursor->left--;
	return true;
}

/* ---------------------------------------------------------------- deltas of a snapshot */

static void
add_delta_to_map(const DeltaRow *row, void *arg)
{
	DeleteMap *map = arg;
	const uint8 *p = row->entries;
	const uint8 *end = p + row->length;
	DeltaCursor cursor = {0};
	DeltaEntry entry;
	uint64 *bits = map_block_for_write(map, row->block)->bits;

	while (delta_next(&p, end, &cursor, &entry))
		bits[entry.offset / 64] |= UINT64CONST(1) << (entry.offset % 64);
}

/*
 * The rows that are dead for the snapshot, by deltas. Deletions that this backend has not flushed are
 * not in it (writer_add_deletes).
 */
DeleteMap *
delete_map_load(uint64 storage, Snapshot snapshot, MemoryContext cxt)
{
	DeleteMap *map = delete_map_create(cxt);

	delta_scan(storage, -1, snapshot, add_delta_to_map, map);
	return map;
}

typedef struct SettledState
{
	DeleteMap *map;
	TransactionId horizon;
	TransactionId newest;
} SettledState;

static void
add_settled_delta(const DeltaRow *row, void *arg)
{
	SettledState *state = arg;

	if (!TransactionIdPrecedes(row->xmin, state->horizon))
		return;
	if (!TransactionIdIsValid(state->newest) || TransactionIdFollows(row->xmin, state->newest))
		state->newest = row->xmin;
	add_delta_to_map(row, state->map);
}

/*
 * The rows whose deletion is older than every snapshot: by deltas that the snapshot sees and whose xid
 * precedes `horizon`. `newest` becomes the newest such xid, or InvalidTransactionId.
 */
DeleteMap *
delete_map_load_settled(uint64 storage, Snapshot snapshot, TransactionId horizon,
						TransactionId *newest, MemoryContext cxt)
{
	SettledState state = {.map = delete_map_create(cxt), .horizon = horizon};

	delta_scan(storage, -1, snapshot, add_settled_delta, &state);
	*newest = state.newest;
	return state.map;
}

typedef struct ProbeState
{
	uint16 offset;
	bool found;
	DeleteInfo *info;
} ProbeState;

static void
probe_delta(const DeltaRow *row, void *arg)
{
	ProbeState *state = arg;
	const uint8 *p = row->entries;
	const uint8 *end = p + row->length;
	DeltaCursor cursor = {0};
	DeltaEntry entry;

	while (!state->found && delta_next(&p, end, &cursor, &entry))
	{
		if (entry.offset > state->offset)
			break;
		if (entry.offset != state->offset)
			continue;
		state->found = true;
		state->info->kind = entry.kind;
		state->info->successor = entry.successor;
		state->info->xmax = row->xmin;
		state->info->cmax = row->cmin;
		state->info->own = TransactionIdIsCurrentTransactionId(row->xmin);
	}
}

/* Is there a delta of the row that the snapshot sees? Its details go to `info`. */
bool
deleted_probe(uint64 storage, RowNumber row, Snapshot snapshot, DeleteInfo *info)
{
	ProbeState state = {.offset = row % DELETE_BLOCK_ROWS, .found = false, .info = info};

	delta_scan(storage, row / DELETE_BLOCK_ROWS, snapshot, probe_delta, &state);
	return state.found;
}
