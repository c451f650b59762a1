/*
 * delete_cache.c
 *		What this backend keeps of the deltas that it has read: bitmaps of dead rows by delete block.
 *
 * A block's deltas are read whole, under a snapshot of that moment (the base); then the block's log is
 * followed (delta_log.c), so that a deletion by another backend, or one's own, costs a bit. The blocks
 * stay from one transaction to the next. Two questions are answered from them:
 *
 * "Is the row deleted now?" (deleted_latest), asked with the row's lock held. The bitmap and the log up to
 * its position tell it, once what this transaction has written itself is in the bitmap as well: a block
 * whose log it has written since is read anew.
 *
 * "Is the row deleted for this MVCC snapshot?" (deleted_known). The bitmap is of other moments, so this has
 * conditions:
 *
 *		- no note in progress concerns the row. Then every deletion that the snapshot sees is in the bitmap:
 *		  its note was begun before the snapshot was taken, and has been ended and followed.
 *		- every transaction that was over for the base is over for the snapshot. Else the base may hold
 *		  deletions that the snapshot does not see, or, by a merge, lack those of rows that have become
 *		  holes in a directory that the snapshot does not see.
 *		- a row that the log has added is dead for the snapshot if that sees the note's transaction.
 *
 * Where they do not hold, in SERIALIZABLE transactions (which have to look at every writer that the
 * snapshot does not see), in those that have merged (their snapshots see the merge or not by its command) and
 * on standbys, where no log is written, the caller reads the deltas.
 */
#include "engine/engine_int.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Blocks in one transaction, and between two. */
#define MAX_LATEST_BLOCKS 4096
#define MAX_KEPT_BLOCKS 1024

/* Rows that the log may add before they become part of the base, and those that do not even then. */
#define MAX_RECENT 64
#define KEEP_RECENT 32

/* Transactions that may have been running when the base was read, and when the snapshot was taken. */
#define MAX_RUNNING 32
#define MAX_SNAPSHOT_RUNNING 128

/* xids that may be given out before what names xids is not to be trusted any more. */
#define MAX_XID_AGE (UINT64CONST(1) << 30)

typedef struct LatestKey
{
	uint64 storage;
	uint64 block;
} LatestKey;

/* A row that the log has added, and who has deleted it. */
typedef struct RecentDelete
{
	uint64 fate;
	TransactionId xid;
	uint16 offset;
} RecentDelete;

typedef struct LatestBlock
{
	LatestKey key;
	uint64 born; /* next xid when the entry was new */
	bool loaded;
	uint64 position;	/* in the block's log */
	uint32 own_writes;	/* of this transaction in the log when the base was read */
	uint64 completions; /* completions_read() then */
	uint64 *bits;		/* base and recent */

	/* the base: the newest xid of its deltas, and the snapshot that it was read under */
	TransactionId newest;
	TransactionId xmax;
	int nrunning; /* -1: too many */
	TransactionId running[MAX_RUNNING];

	int nrecent;
	RecentDelete recent[MAX_RECENT];

	uint64 *settled;				/* dead for everybody; NULL: not asked for */
	uint64 settled_counter;			/* change counter when that was read */
	TransactionId oldest_unsettled; /* among the deltas that were left out */
	int settled_rest;				/* questions before it is read again */
} LatestBlock;

static MemoryContext latest_context;
static HTAB *latest_blocks;
static LatestBlock *latest_last;
static uint64 latest_loads;

/*
 * A bitmap was read after this transaction had written deltas of its log: it may hold what that has deleted, or
 * lack what it has merged, and is not to be used when the transaction has ended or was rolled back in part.
 */
static bool holds_own;

static void
forget_all(void)
{
	if (latest_context != NULL)
		MemoryContextReset(latest_context);
	latest_blocks = NULL;
	latest_last = NULL;
	holds_own = false;
}

/* A subtransaction was aborted, or (`ended`) the transaction has ended. */
void
deleted_latest_forget(bool ended)
{
	if (holds_own ||
		(ended && latest_blocks != NULL && hash_get_num_entries(latest_blocks) > MAX_KEPT_BLOCKS))
		forget_all();
}

/*
 * The next xid, with its epoch. Read without a lock where that is one access: who compares ages needs
 * no more.
 */
uint64
next_xid_read(void)
{
#ifdef PG_HAVE_8BYTE_SINGLE_COPY_ATOMICITY
	return U64FromFullTransactionId(*(volatile FullTransactionId *) &TransamVariables->nextXid);
#else
	return U64FromFullTransactionId(ReadNextFullTransactionId());
#endif
}

static void
reset_block(LatestBlock *entry)
{
	entry->born = next_xid_read();
	entry->loaded = false;
	entry->settled_counter = PG_UINT64_MAX;
	entry->oldest_unsettled = InvalidTransactionId;
	entry->settled_rest = 0;
}

static LatestBlock *
latest_block(uint64 storage, uint64 block)
{
	LatestKey key = {.storage = storage, .block = block};
	LatestBlock *entry = latest_last;
	bool found = true;

	if (entry == NULL || entry->key.storage != storage || entry->key.block != block)
		entry = latest_blocks != NULL ? hash_search(latest_blocks, &key, HASH_FIND, NULL) : NULL;
	if (entry == NULL)
	{
		if (latest_blocks != NULL && hash_get_num_entries(latest_blocks) >= MAX_LATEST_BLOCKS)
			forget_all();
		if (latest_context == NULL)
			latest_context = AllocSetContextCreate(TopMemoryContext, "magic latest deletions",
												   ALLOCSET_DEFAULT_SIZES);
		if (latest_blocks == NULL)
		{
			HASHCTL ctl = {.keysize = sizeof(LatestKey),
						   .entrysize = sizeof(LatestBlock),
						   .hcxt = latest_context};

			latest_blocks = hash_create("magic latest deletions", 64, &ctl,
										HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		}
		entry = hash_search(latest_blocks, &key, HASH_ENTER, &found);
		entry->bits = entry->settled = NULL;
		reset_block(entry);
		entry->bits = MemoryContextAlloc(latest_context, DELETE_BLOCK_BYTES);
	}
	else if (next_xid_read() - entry->born > MAX_XID_AGE)
		reset_block(entry);
	latest_last = entry;
	return entry;
}

/*
 * How often deltas have been read. A directory that is used with them must have been read later: a merge
 * takes a dead row out of both, and a row that is in an older directory and not in newer deltas would look
 * alive.
 */
uint64
deleted_latest_loads(void)
{
	return latest_loads;
}

/*
 * May there be prepared transactions that no log tells of? There are after the first PREPARE TRANSACTION of
 * this run of the server, and in a backend that has found some of an earlier run.
 */
static bool
prepared_possible(void)
{
	static bool looked;
	static bool recovered;

	if (max_prepared_xacts == 0)
		return false;
	if (!looked)
	{
		/* before its end recovery has not brought them back */
		if (RecoveryInProgress())
			return true;
		for (int i = 0; i < max_prepared_xacts; i++)
			recovered |= TransactionIdIsValid(PreparedXactProcs[i].xid);
		looked = true;
	}
	return recovered || prepared_seen();
}

/*
 * Moves when metadata may have become visible that no log or change counter tells of: COMMIT PREPARED
 * moves none. Where there may be prepared transactions the end of any transaction counts, else it is 0.
 */
uint64
completions_read(void)
{
	return prepared_possible() ? TransamVariables->xactCompletionCount : 0;
}

static inline void
set_row(uint64 *bits, uint16 offset)
{
	bits[offset / 64] |= UINT64CONST(1) << (offset % 64);
}

static inline bool
has_row(const uint64 *bits, uint16 offset)
{
	return (bits[offset / 64] >> (offset % 64) & 1) != 0;
}

static void
set_rows_of_delta(uint64 *bits, const DeltaRow *row)
{
	const uint8 *p = row->entries;
	DeltaCursor cursor = {0};
	DeltaEntry entry;

	while (delta_next(&p, row->entries + row->length, &cursor, &entry))
		set_row(bits, entry.offset);
}

static void
add_to_base(const DeltaRow *row, void *arg)
{
	LatestBlock *entry = arg;

	set_rows_of_delta(entry->bits, row);
	if (TransactionIdIsNormal(row->xmin) &&
		(!TransactionIdIsValid(entry->newest) || TransactionIdFollows(row->xmin, entry->newest)))
		entry->newest = row->xmin;
}

/*
 * Reads the block's deltas. Position, own writes and completions are taken before the snapshot: what moves
 * them later is perhaps not in the base.
 */
static void
load_block(LatestBlock *entry)
{
	Snapshot snapshot;

	entry->loaded = false;
	entry->position = delta_log_position(entry->key.storage, entry->key.block);
	entry->own_writes = delta_log_own_writes(entry->key.storage, entry->key.block);
	entry->completions = completions_read();
	holds_own |= entry->own_writes > 0;
	entry->newest = InvalidTransactionId;
	entry->nrecent = 0;
	memset(entry->bits, 0, DELETE_BLOCK_BYTES);
	snapshot = latest_snapshot_register();
	delta_scan(entry->key.storage, entry->key.block, snapshot, add_to_base, entry);
	entry->xmax = snapshot->xmax;
	entry->nrunning = snapshot->xcnt <= MAX_RUNNING ? (int) snapshot->xcnt : -1;
	if (entry->nrunning > 0)
		memcpy(entry->running, snapshot->xip, sizeof(TransactionId) * entry->nrunning);
	UnregisterSnapshot(snapshot);
	entry->loaded = true;
	latest_loads++;
}

/*
 * Recent deletions by transactions that were over for every snapshot which this transaction still uses
 * become part of the base, as if that had been read under a snapshot whose xmin and xmax are TransactionXmin.
 * For an older snapshot, one that is imported, the base is not to be used then (snapshot_is_later).
 */
static void
fold_recent(LatestBlock *entry)
{
	TransactionId over = TransactionXmin;
	int kept = 0;

	if (!TransactionIdIsNormal(over))
		return;
	for (int i = 0; i < entry->nrecent; i++)
	{
		TransactionId xid = entry->recent[i].xid;

		if (i >= entry->nrecent - KEEP_RECENT || !TransactionIdPrecedes(xid, over))
			entry->recent[kept++] = entry->recent[i];
		else if (!TransactionIdIsValid(entry->newest) || TransactionIdFollows(xid, entry->newest))
			entry->newest = xid;
	}
	if (kept == entry->nrecent)
		return;
	entry->nrecent = kept;
	if (TransactionIdPrecedes(entry->xmax, over))
		entry->xmax = over;
	kept = 0;
	for (int i = 0; i < entry->nrunning; i++)
		if (!TransactionIdPrecedes(entry->running[i], over))
			entry->running[kept++] = entry->running[i];
	if (entry->nrunning > 0)
		entry->nrunning = kept;
}

/* Adds what the log tells of the block; false if its deltas must be read. */
static bool
follow_log(LatestBlock *entry, uint16 offset, bool *touched)
{
	DeltaNote notes[DELTA_LOG_NOTES];
	int n;

	entry->loaded &= delta_log_read(entry->key.storage, entry->key.block, offset, &entry->position,
									notes, &n, touched);
	for (int i = 0; i < n && entry->loaded; i++)
		for (int k = 0; k < notes[i].n; k++)
		{
			if (entry->nrecent == MAX_RECENT)
				fold_recent(entry);
			if (entry->nrecent == MAX_RECENT)
			{
				entry->loaded = false;
				break;
			}
			set_row(entry->bits, notes[i].offsets[k]);
			entry->recent[entry->nrecent].fate = notes[i].fates[k];
			entry->recent[entry->nrecent].xid = notes[i].xid;
			entry->recent[entry->nrecent++].offset = notes[i].offsets[k];
		}
	return entry->loaded;
}

/* Is what is known of the block up to date, or was brought so by the log? */
static bool
block_is_current(LatestBlock *entry, uint16 offset, bool *touched)
{
	return entry->loaded && entry->completions == completions_read() &&
		   entry->own_writes == delta_log_own_writes(entry->key.storage, entry->key.block) &&
		   follow_log(entry, offset, touched);
}

/*
 * Has a transaction that may have deleted the row become visible, and not ended its note? Its lock on the row
 * cannot be seen any more either: who asks for the holder of a lock is not told of transactions that are over.
 */
static bool
end_is_untold(const LatestBlock *entry, uint16 offset)
{
	TransactionId xids[DELTA_LOG_RUNNING];
	int n = delta_log_running(entry->key.storage, entry->key.block, offset, xids);

	for (int i = 0; i < n; i++)
		if (!TransactionIdIsCurrentTransactionId(xids[i]) && !TransactionIdIsInProgress(xids[i]))
			return true;
	return n < 0;
}

/* Who has deleted the row, if the log has told it; else NULL. */
static const RecentDelete *
find_recent(const LatestBlock *entry, uint16 offset)
{
	for (int i = entry->nrecent - 1; i >= 0; i--)
		if (entry->recent[i].offset == offset)
			return &entry->recent[i];
	return NULL;
}

/*
 * Is the row deleted, by a committed transaction or by this one? With `info` the caller holds the row's lock,
 * or gets it and asks again if the answer is no. Without (NULL) every deletion counts that was visible before
 * the call, and the block's deltas are not searched for the details: a unique check may ask for many dead rows
 * of one key.
 */
bool
deleted_latest(uint64 storage, RowNumber row, DeleteInfo *info)
{
	LatestBlock *entry;
	const RecentDelete *recent;
	uint16 offset = row % DELETE_BLOCK_ROWS;
	Snapshot snapshot;
	bool found;

	if (writer_find_delete(storage, row, info))
		return true;
	entry = latest_block(storage, row / DELETE_BLOCK_ROWS);
	/* before the log is followed: what ends in between is in it */
	if ((info == NULL && end_is_untold(entry, offset)) || !block_is_current(entry, offset, NULL))
		load_block(entry);
	if (!has_row(entry->bits, offset))
		return false;
	if (info == NULL)
		return true;
	recent = find_recent(entry, offset);
	if (recent != NULL)
	{
		info->kind = delta_fate_kind(recent->fate);
		info->successor = delta_fate_successor(recent->fate);
		info->xmax = recent->xid;
		info->cmax = FirstCommandId;
		info->own = false;
		return true;
	}
	snapshot = latest_snapshot_register();
	found = deleted_probe(storage, row, snapshot, info);
	UnregisterSnapshot(snapshot);
	/*
	 * A merge of deltas keeps every row that is not gone for everybody; one that is, it may have dropped
	 * since the bitmap was read. Then its pack has a hole there, and the row is not asked for again.
	 */
	if (!found)
		load_block(entry);
	return found;
}

/* Is every transaction that was over when the base was read over for the snapshot? */
static bool
snapshot_is_later(const LatestBlock *entry, Snapshot snapshot)
{
	if (TransactionIdPrecedesOrEquals(entry->xmax, snapshot->xmin))
		return true;
	if (TransactionIdPrecedes(snapshot->xmax, entry->xmax) || entry->nrunning < 0 ||
		snapshot->xcnt > MAX_SNAPSHOT_RUNNING)
		return false;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
	{
		int k = 0;

		if (TransactionIdFollowsOrEquals(snapshot->xip[i], entry->xmax))
			continue;
		while (k < entry->nrunning && entry->running[k] != snapshot->xip[i])
			k++;
		if (k == entry->nrunning)
			return false;
	}
	return true;
}

/* Is every deletion of the base older than every snapshot? */
static bool
base_is_settled(const LatestBlock *entry, Relation rel)
{
	return !TransactionIdIsValid(entry->newest) || settled_for_all(rel, entry->newest);
}

/*
 * Is it known without reading deltas whether the row is deleted for the MVCC snapshot? The caller asks the
 * overlay. *all_dead, unless NULL, becomes true if it is dead for everybody, as far as that can be told
 * cheaply.
 */
bool
deleted_known(Relation rel, uint64 storage, RowNumber row, Snapshot snapshot, bool *deleted,
			  bool *all_dead)
{
	LatestBlock *entry;
	const RecentDelete *recent;
	uint16 offset = row % DELETE_BLOCK_ROWS;
	bool touched;

	if (snapshot->snapshot_type != SNAPSHOT_MVCC || snapshot->takenDuringRecovery ||
		IsolationIsSerializable() || delta_log_own_merge())
		return false;
	entry = latest_block(storage, row / DELETE_BLOCK_ROWS);
	if (!block_is_current(entry, offset, &touched))
	{
		/* it would not be current for long */
		if (completions_read() != 0)
			return false;
		load_block(entry);
		if (!follow_log(entry, offset, &touched))
			return false;
	}
	if (touched || !snapshot_is_later(entry, snapshot))
		return false;
	*deleted = has_row(entry->bits, offset);
	if (!*deleted)
		return true;
	recent = find_recent(entry, offset);
	if (recent != NULL)
	{
		*deleted = !XidInMVCCSnapshot(recent->xid, snapshot);
		if (*deleted && all_dead != NULL)
			*all_dead = settled_for_all(rel, recent->xid);
	}
	else if (all_dead != NULL)
		*all_dead = base_is_settled(entry, rel) || deleted_settled(storage, row);
	return true;
}

/*
 * Is the row, of which deleted_latest() has just said that it is deleted, dead for everybody, as far as it is
 * known without reading deltas? Waits for nothing, reads nothing.
 */
bool
deleted_latest_settled(Relation rel, uint64 storage, RowNumber row)
{
	LatestBlock *entry = latest_block(storage, row / DELETE_BLOCK_ROWS);
	uint16 offset = row % DELETE_BLOCK_ROWS;
	const RecentDelete *recent;

	if (!entry->loaded || !has_row(entry->bits, offset))
		return false;
	if (entry->settled != NULL && has_row(entry->settled, offset))
		return true;
	recent = find_recent(entry, offset);
	return recent != NULL ? settled_for_all(rel, recent->xid) : base_is_settled(entry, rel);
}

/* ---------------------------------------------------------------- dead for everybody */

/* One question about settled rows pays for so many deltas. */
#define DELTAS_PER_QUESTION 4

typedef struct SettledBlock
{
	uint64 *bits;
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
		set_rows_of_delta(state->bits, row);
	else if (!TransactionIdIsValid(state->oldest_unsettled) ||
			 TransactionIdPrecedes(row->xmin, state->oldest_unsettled))
		state->oldest_unsettled = row->xmin;
}

/* Adds to what is known; a row that is dead for everybody stays so. */
static void
load_settled(LatestBlock *entry)
{
	uint64 counter = change_counter_read(entry->key.storage);
	SettledBlock state = {.horizon = directory_horizon()};
	Snapshot snapshot = latest_snapshot_register();

	if (entry->settled == NULL)
		entry->settled = MemoryContextAllocZero(latest_context, DELETE_BLOCK_BYTES);
	state.bits = entry->settled;
	delta_scan(entry->key.storage, entry->key.block, snapshot, add_if_settled, &state);
	UnregisterSnapshot(snapshot);
	entry->settled_counter = counter;
	entry->oldest_unsettled = state.oldest_unsettled;
	entry->settled_rest = state.deltas / DELTAS_PER_QUESTION;
}

/*
 * Is there a delta of the row that is older than every snapshot? It may be told late, because what was read
 * once is kept.
 */
bool
deleted_settled(uint64 storage, RowNumber row)
{
	LatestBlock *entry = latest_block(storage, row / DELETE_BLOCK_ROWS);
	uint16 offset = row % DELETE_BLOCK_ROWS;

	if (entry->settled != NULL)
	{
		if (has_row(entry->settled, offset))
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
	return has_row(entry->settled, offset);
}
