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
 * "Latest" questions (deleted_latest) are asked with the row's lock held. Their answers come from
 * bitmaps that this backend keeps per delete block, valid while the storage's change counter stands still
 * (shmem.c) and this backend has flushed nothing.
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

/* ---------------------------------------------------------------- the latest state */

#define MAX_LATEST_BLOCKS 4096

typedef struct LatestKey
{
	uint64 storage;
	uint64 block;
} LatestKey;

typedef struct LatestBlock
{
	LatestKey key;
	uint64 counter;		/* change counter when the bitmap was read */
	uint64 flushes;		/* writer_flush_count() then */
	uint64 completions; /* transactions that had ended then */
	uint64 *bits;

	uint64 *settled;				/* of these, dead for everybody; NULL: not asked for */
	uint64 settled_counter;			/* change counter when that was read */
	TransactionId oldest_unsettled; /* among the deltas that were left out */
	int settled_rest;				/* questions before it is read again */
} LatestBlock;

static MemoryContext latest_context;
static HTAB *latest_blocks;
static LatestBlock *latest_last;
static uint64 latest_loads;

/* Drops the bitmaps: a (sub)transaction has ended. */
void
deleted_latest_forget(void)
{
	if (latest_context != NULL)
		MemoryContextReset(latest_context);
	latest_blocks = NULL;
	latest_last = NULL;
}

static LatestBlock *
latest_block(uint64 storage, uint64 block)
{
	LatestKey key = {.storage = storage, .block = block};
	LatestBlock *entry;
	bool found;

	if (latest_last != NULL && latest_last->key.storage == storage &&
		latest_last->key.block == block)
		return latest_last;
	if (latest_blocks != NULL && hash_get_num_entries(latest_blocks) >= MAX_LATEST_BLOCKS)
		deleted_latest_forget();
	if (latest_context == NULL)
		latest_context = AllocSetContextCreate(TopMemoryContext, "magic latest deletions",
											   ALLOCSET_DEFAULT_SIZES);
	if (latest_blocks == NULL)
	{
		HASHCTL ctl = {
			.keysize = sizeof(LatestKey), .entrysize = sizeof(LatestBlock), .hcxt = latest_context};

		latest_blocks =
			hash_create("magic latest deletions", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(latest_blocks, &key, HASH_ENTER, &found);
	if (!found)
	{
		entry->bits = entry->settled = NULL;
		entry->bits = MemoryContextAlloc(latest_context, DELETE_BLOCK_BYTES);
		entry->counter = entry->flushes = entry->completions = PG_UINT64_MAX;
	}
	latest_last = entry;
	return entry;
}

/*
 * How often bitmaps have been read. A directory that is used with them must have been read later: a merge
 * takes a dead row out of both, and a row that is in an older directory and not in newer deltas would look
 * alive.
 */
uint64
deleted_latest_loads(void)
{
	return latest_loads;
}

/*
 * Moves when metadata may have become visible that no change counter tells of: COMMIT PREPARED moves none.
 * Where prepared transactions are possible the end of any transaction counts.
 */
uint64
completions_read(void)
{
	return max_prepared_xacts > 0 ? TransamVariables->xactCompletionCount : 0;
}

/* Reads the block's deltas anew. The counter is read before the snapshot is taken. */
static void
reload_latest(LatestBlock *entry)
{
	uint64 counter = change_counter_read(entry->key.storage);
	uint64 flushes = writer_flush_count();
	uint64 completions = completions_read();
	Snapshot snapshot = latest_snapshot_register();
	DeleteMap *map;
	const uint64 *bits;
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic delta read", ALLOCSET_SMALL_SIZES);

	map = delete_map_create(cxt);
	delta_scan(entry->key.storage, entry->key.block, snapshot, add_delta_to_map, map);
	bits = delete_map_block(map, entry->key.block);
	if (bits)
		memcpy(entry->bits, bits, DELETE_BLOCK_BYTES);
	else
		memset(entry->bits, 0, DELETE_BLOCK_BYTES);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(cxt);
	entry->counter = counter;
	entry->flushes = flushes;
	entry->completions = completions;
	latest_loads++;
}

/*
 * Is the row deleted, by a committed transaction or by this one? Exact if the caller holds the row's
 * lock. Without `info` (NULL) the block's deltas are not searched for the details: a unique check may ask
 * for many dead rows of one key.
 */
bool
deleted_latest(uint64 storage, RowNumber row, DeleteInfo *info)
{
	LatestBlock *entry;
	uint32 bit = row % DELETE_BLOCK_ROWS;
	Snapshot snapshot;
	bool found;

	if (writer_find_delete(storage, row, info))
		return true;
	entry = latest_block(storage, row / DELETE_BLOCK_ROWS);
	if (entry->counter != change_counter_read(storage) || entry->flushes != writer_flush_count() ||
		entry->completions != completions_read())
		reload_latest(entry);
	if ((entry->bits[bit / 64] >> (bit % 64) & 1) == 0)
		return false;
	if (info == NULL)
		return true;
	snapshot = latest_snapshot_register();
	found = deleted_probe(storage, row, snapshot, info);
	UnregisterSnapshot(snapshot);
	/*
	 * A merge of deltas keeps every row that is not gone for everybody; one that is, it may have dropped
	 * since the bitmap was read. Then its pack has a hole there, and the row is not asked for again.
	 */
	if (!found)
		reload_latest(entry);
	return found;
}

/* ---------------------------------------------------------------- dead for everybody */

/* One question about settled rows pays for so many deltas. */
#define DELTAS_PER_QUESTION 4

typedef struct SettledBlock
{
	DeleteMap *map;
	TransactionId horizon;
	TransactionId oldest_unsettled;
	int deltas;
} SettledBlock;

static void
add_if_settled(const DeltaRow *row, void *arg)
{
	SettledBlock *state = arg;

	state->deltas++;
	if (TransactionIdPrecedes(row->xmin, state->horizon))
		add_delta_to_map(row, state->map);
	else if (!TransactionIdIsValid(state->oldest_unsettled) ||
			 TransactionIdPrecedes(row->xmin, state->oldest_unsettled))
		state->oldest_unsettled = row->xmin;
}

static void
load_settled(LatestBlock *entry)
{
	uint64 counter = change_counter_read(entry->key.storage);
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic delta read", ALLOCSET_SMALL_SIZES);
	SettledBlock state = {.map = delete_map_create(cxt), .horizon = directory_horizon()};
	Snapshot snapshot = latest_snapshot_register();
	const uint64 *bits;

	delta_scan(entry->key.storage, entry->key.block, snapshot, add_if_settled, &state);
	UnregisterSnapshot(snapshot);
	if (entry->settled == NULL)
		entry->settled = MemoryContextAlloc(latest_context, DELETE_BLOCK_BYTES);
	bits = delete_map_block(state.map, entry->key.block);
	if (bits)
		memcpy(entry->settled, bits, DELETE_BLOCK_BYTES);
	else
		memset(entry->settled, 0, DELETE_BLOCK_BYTES);
	MemoryContextDelete(cxt);
	entry->settled_counter = counter;
	entry->oldest_unsettled = state.oldest_unsettled;
	entry->settled_rest = state.deltas / DELTAS_PER_QUESTION;
}

/*
 * Is there a delta of the row that is older than every snapshot? It may be told late, because what was read
 * once is kept: a row that is dead for everybody stays so.
 */
bool
deleted_settled(uint64 storage, RowNumber row)
{
	LatestBlock *entry = latest_block(storage, row / DELETE_BLOCK_ROWS);
	uint32 word = row % DELETE_BLOCK_ROWS / 64;
	uint64 bit = UINT64CONST(1) << (row % 64);

	if (entry->settled != NULL)
	{
		if (entry->settled[word] & bit)
			return true;
		if (entry->settled_rest > 0)
		{
			entry->settled_rest--;
			return false;
		}
		if (entry->settled_counter == change_counter_read(storage) &&
			!(TransactionIdIsValid(entry->oldest_unsettled) &&
			  GlobalVisCheckRemovableXid(NULL, entry->oldest_unsettled)))
			return false;
	}
	load_settled(entry);
	return (entry->settled[word] & bit) != 0;
}
