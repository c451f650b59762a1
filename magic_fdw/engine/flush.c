/*
 * flush.c
 *		The overlay becomes directory rows and deltas.
 *
 * A table's pending rows and deletions are flushed when a pack is full, when this backend begins to scan
 * the table, before utility commands and parallel plans, and before the end of the owning (sub)transaction;
 * rows also when few reserved ranges are left, which inner subtransactions may need.
 * A flush needs the owner to be the current subtransaction, because heap_insert stamps that one's xid, and
 * uses the original command id.
 *
 * At the end of a top-level transaction nobody can ask for a command's rows any more, so neighbouring
 * segments of several commands become one pack, with the newest command id; and when enough small writes
 * have piled up, the compaction worker is told to merge them.
 */
#include "engine/compaction.h"
#include "engine/writer_int.h"

#include "access/parallel.h"
#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/predicate.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* So many dead rows count as another write when it is asked whether a merge is due. */
#define DEAD_ROWS_PER_WRITE 512

static uint64 flush_count;

/* How often this backend has changed metadata; whoever keeps what it read compares. */
uint64
writer_flush_count(void)
{
	return flush_count;
}

void
flush_count_change(void)
{
	flush_count++;
}

/* Writes a pack and its directory row. */
static void
write_pack(Relation rel, uint64 storage, PackWriter *writer, RowNumber first, RowNumber end,
		   CommandId cid)
{
	PackBytes bytes;
	PackEntry entry = {0};

	pack_writer_finish(writer, (uint32) (end - first), &bytes);
	entry.first = first;
	entry.span = (uint32) (end - first);
	entry.rows = pack_writer_rows(writer);
	entry.length = bytes.length;
	if (bytes.length <= PACK_INLINE_LIMIT)
		entry.inline_bytes = bytes.data;
	else
		storage_write_pack(rel, &bytes, &entry.extent);
	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
	directory_insert(storage, &entry, cid);
	table_counters_add_written(storage, bytes.length);
	pfree(bytes.data);
	flush_count++;
}

/* Keeps the writer of a flushed segment for the next one. */
static void
keep_writer(RelWrite *write, Segment *segment)
{
	if (write->spare != NULL || segment->refs > 0 || segment->generation != write->generation)
		return;
	pack_writer_reset(segment->writer);
	write->spare = segment->writer;
	segment->writer = NULL;
}

void
flush_segment(RelWrite *write, Relation rel, int i)
{
	Segment *segment = write->segments[i];

	if (i == write->nsegments - 1)
		rel_write_drop_tail(write, rel);
	write_pack(rel, write->storage, segment->writer, segment->first, segment->end, segment->cid);
	write->changed = true;
	write->writes++;
	reserved_remove(write->storage, segment->first);
	keep_writer(write, segment);
	segment_remove(write, i);
}

/* Writes neighbouring segments [from, to) as one pack with the last one's command id. */
static void
flush_joined(RelWrite *write, Relation rel, int from, int to)
{
	int natts = RelationGetNumberOfAttributes(rel);
	Datum *values = palloc(sizeof(Datum) * (natts + 1));
	bool *isnull = palloc(sizeof(bool) * (natts + 1));
	Segment *head = write->segments[from];
	RowNumber end = write->segments[to - 1]->end;

	if (to == write->nsegments)
		rel_write_drop_tail(write, rel);
	for (int i = from + 1; i < to; i++)
	{
		Segment *segment = write->segments[i];
		uint32 rows = pack_writer_rows(segment->writer);

		CHECK_FOR_INTERRUPTS();
		for (uint32 row = 0; row < rows; row++)
		{
			pack_writer_fetch(segment->writer, row, values, isnull);
			pack_writer_append(head->writer, values, isnull);
		}
	}
	write_pack(rel, write->storage, head->writer, head->first, end, write->segments[to - 1]->cid);
	write->changed = true;
	write->writes++;
	for (int i = to - 1; i >= from; i--)
	{
		reserved_remove(write->storage, write->segments[i]->first);
		segment_remove(write, i);
	}
	pfree(values);
	pfree(isnull);
}

static int
compare_commands(const void *a, const void *b)
{
	const BufferedDelete *x = a;
	const BufferedDelete *y = b;

	if (x->cid != y->cid)
		return x->cid < y->cid ? -1 : 1;
	return (int) x->offset - (int) y->offset;
}

typedef struct DeltaFlush
{
	RelWrite *write;
	SubTransactionId subid;
	bool join;
	BufferedDelete *own; /* as many as are buffered, DELETE_BLOCK_ROWS at most */
	DeltaEntry *entries; /* the same */
	uint8 *bytes;		 /* DELTA_ROOM */
	uint64 flushed;
} DeltaFlush;

/* Writes the deltas of one command in one block. */
static void
write_deltas(DeltaFlush *flush, uint64 block, const BufferedDelete *deletes, int n, CommandId cid)
{
	for (int i = 0; i < n; i++)
	{
		flush->entries[i].offset = deletes[i].offset;
		flush->entries[i].kind = deletes[i].kind;
		flush->entries[i].successor = deletes[i].successor;
	}
	/* many dead rows make a merge due as many deltas do */
	flush->write->writes += n / DEAD_ROWS_PER_WRITE;
	for (int done = 0; done < n;)
	{
		int length;

		done += delta_encode(flush->entries + done, n - done, flush->bytes, DELTA_ROOM, &length);
		delta_insert(flush->write->storage, block, flush->bytes, length, cid, false);
		table_counters_add_written(flush->write->storage, length);
		flush->write->writes++;
	}
}

/* Writes what the current subtransaction has deleted in a block. */
static void
flush_delete_block(uint64 block, const BufferedDelete *list, int n, void *arg)
{
	DeltaFlush *flush = arg;
	BufferedDelete *own = flush->own;
	CommandId newest = 0;
	bool one_command = true;
	int count = 0;

	for (int i = 0; i < n; i++)
		if (list[i].subid == flush->subid)
		{
			one_command = one_command && list[i].cid == (count > 0 ? own[0].cid : list[i].cid);
			newest = Max(newest, list[i].cid);
			own[count++] = list[i];
		}
	flush->flushed += count;
	if (flush->join || one_command)
	{
		write_deltas(flush, block, own, count, newest);
		return;
	}
	qsort(own, count, sizeof(BufferedDelete), compare_commands);
	for (int i = 0; i < count;)
	{
		int end = i + 1;

		while (end < count && own[end].cid == own[i].cid)
			end++;
		write_deltas(flush, block, own + i, end - i, own[i].cid);
		i = end;
	}
}

/*
 * Writes the current subtransaction's deletions of the table. With `join` a block's deletions by several
 * commands become one delta with the newest command id.
 */
void
flush_deletes(RelWrite *write, Relation rel, bool join)
{
	DeltaFlush flush = {
		.write = write, .subid = GetCurrentSubTransactionId(), .join = join, .flushed = 0};
	Size most;

	if (!rel_write_has_deletes(write))
		return;
	most = (Size) Min(delete_buffer_count(write->deletes), DELETE_BLOCK_ROWS);
	flush.own = palloc(sizeof(BufferedDelete) * most);
	flush.entries = palloc(sizeof(DeltaEntry) * most);
	flush.bytes = palloc(DELTA_ROOM);
	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
	delete_buffer_walk(write->deletes, flush_delete_block, &flush);
	if (flush.flushed > 0)
	{
		write->changed = true;
		if (flush.flushed == delete_buffer_count(write->deletes))
		{
			delete_buffer_free(write->deletes);
			write->deletes = NULL;
		}
		else
			delete_buffer_remove_owned(write->deletes, flush.subid);
		flush_count++;
	}
	/* what outer subtransactions have deleted stays */
	if (write->deletes != NULL)
		write->flush_deletes_at = delete_buffer_count(write->deletes) + MAX_BUFFERED_DELETES;
	pfree(flush.own);
	pfree(flush.entries);
	pfree(flush.bytes);
}

typedef enum FlushKind
{
	FLUSH_ROWS, /* deletions stay */
	FLUSH_ALL,
	FLUSH_JOINED /* a top-level transaction ends: neighbouring segments become one pack */
} FlushKind;

/* Writes what the current subtransaction owns of the table. */
static void
flush_write(RelWrite *write, Relation rel, FlushKind kind)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	bool join = kind == FLUSH_JOINED;

	for (int i = 0; i < write->nsegments;)
	{
		Segment *segment = write->segments[i];
		int end = i + 1;
		uint64 rows;

		if (segment->subid != subid || segment->token != 0)
		{
			i++;
			continue;
		}
		rows = segment->end - segment->first;
		if (rows == 0)
		{
			/* its first row failed to be appended */
			if (end == write->nsegments)
				rel_write_drop_tail(write, rel);
			reserved_remove(write->storage, segment->first);
			segment_remove(write, i);
			continue;
		}
		while (join && end < write->nsegments && segment->refs == 0 &&
			   write->segments[end]->subid == subid && write->segments[end]->token == 0 &&
			   write->segments[end]->generation == segment->generation &&
			   write->segments[end]->first == write->segments[end - 1]->end &&
			   rows + (write->segments[end]->end - write->segments[end]->first) <= PACK_TARGET_ROWS)
		{
			rows += write->segments[end]->end - write->segments[end]->first;
			end++;
		}
		if (end - i > 1)
			flush_joined(write, rel, i, end);
		else
			flush_segment(write, rel, i);
	}
	if (kind != FLUSH_ROWS)
		flush_deletes(write, rel, join);
}

static bool
has_own(RelWrite *write)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (rel_write_has_deletes(write))
		return true;
	for (int i = 0; i < write->nsegments; i++)
		if (write->segments[i]->subid == subid)
			return true;
	return false;
}

/* Flushes what the current subtransaction has written to the table, if it may. */
void
writer_flush(Relation rel)
{
	RelWrite *write;
	bool push;

	if (rel_writes == NULL || (write = rel_write_find(storage_id(rel))) == NULL || !has_own(write))
		return;
	/* a feed ends its writing to a table without a snapshot */
	push = !ActiveSnapshotSet();
	if (push)
		PushActiveSnapshot(GetTransactionSnapshot());
	flush_write(write, rel, FLUSH_ALL);
	if (push)
		PopActiveSnapshot();
}

/* Forgets what a subtransaction has pending of a storage. */
static void
discard_owned(RelWrite *write, SubTransactionId subid)
{
	for (int i = write->nsegments - 1; i >= 0; i--)
	{
		if (write->segments[i]->subid != subid)
			continue;
		if (i == write->nsegments - 1)
			write->reserve_end = write->next;
		reserved_remove(write->storage, write->segments[i]->first);
		segment_remove(write, i);
	}
	if (write->deletes != NULL)
		delete_buffer_remove_owned(write->deletes, subid);
}

/* Flushes all tables. Returns false if rows or deletions of an outer subtransaction remain. */
static bool
flush_everything(FlushKind kind)
{
	HASH_SEQ_STATUS seq;
	RelWrite *write;
	List *storages = NIL;
	ListCell *lc;
	bool complete = true;
	bool pushed = false;

	if (rel_writes == NULL)
		return true;
	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
		storages = lappend(storages, write);
	foreach (lc, storages)
	{
		Relation rel;

		write = lfirst(lc);
		if (has_own(write))
		{
			/* SET and its like run without a snapshot; who has written has taken one before */
			if (!ActiveSnapshotSet())
			{
				PushActiveSnapshot(GetTransactionSnapshot());
				pushed = true;
			}
			rel = try_relation_open(write->relid, RowExclusiveLock);
			if (rel != NULL && engine_is_magic(rel) && storage_id(rel) == write->storage)
				flush_write(write, rel, kind);
			else
			{
				/* an inner subtransaction has dropped or emptied the table, and was committed */
				discard_owned(write, GetCurrentSubTransactionId());
			}
			if (rel != NULL)
				relation_close(rel, NoLock);
		}
		if (write->nsegments > 0 || rel_write_has_deletes(write))
			complete = false;
	}
	if (pushed)
		PopActiveSnapshot();
	list_free(storages);
	return complete;
}

bool
writer_flush_all(void)
{
	return flush_everything(FLUSH_ALL);
}

/*
 * Frees reserved ranges. Deletions need none; written one by one, each by a command of its own, they would
 * make every lookup slow.
 */
void
writer_flush_rows(void)
{
	(void) flush_everything(FLUSH_ROWS);
}

/* Has this transaction rows or deletions of the table that are not flushed? */
bool
writer_pending(uint64 storage)
{
	RelWrite *write = rel_write_find(storage);

	return write != NULL && (write->nsegments > 0 || rel_write_has_deletes(write));
}

/*
 * The current subtransaction drops the storage or gives its table another one: forgets what it has
 * pending of it. What outer subtransactions have pending stays, in case this one is rolled back; if it is
 * not, their flush finds the storage gone.
 */
void
writer_discard(uint64 storage)
{
	RelWrite *write = rel_write_find(storage);

	if (write != NULL)
		discard_owned(write, GetCurrentSubTransactionId());
}

/* ---------------------------------------------------------------- ends of transactions */

/* The current subtransaction was aborted: what it owns never was. */
static void
discard_subtransaction(SubTransactionId subid)
{
	HASH_SEQ_STATUS seq;
	RelWrite *write;

	if (rel_writes == NULL)
		return;
	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
		discard_owned(write, subid);
	flush_count++;
	deleted_latest_forget(false);
}

/* The counters of the storages whose metadata this transaction changed move. */
static void
bump_counters(void)
{
	HASH_SEQ_STATUS seq;
	RelWrite *write;

	if (rel_writes == NULL)
		return;
	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
		if (write->changed)
			change_counter_bump(write->storage);
}

static void
forget_transaction(void)
{
	rel_write_forget_all();
	reserved_remove_all();
	deleted_latest_forget(true);
	row_readers_forget(true);
	storage_transaction_ends();
}

/*
 * Many small writes make lookups and scans slow. The writer that makes a merge due tells the compaction
 * worker once it has committed; if the worker does not keep up, or cannot see the table, the writer that
 * comes last merges before it commits, if nobody else does.
 */
static void
merge_when_due(void)
{
	HASH_SEQ_STATUS seq;
	RelWrite *write;
	List *overdue = NIL;
	ListCell *lc;

	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
	{
		MergeDue due;

		if (write->writes == 0)
			continue;
		due = merge_note_writes(write->storage, write->writes);
		write->merge_due |= due == MERGE_DUE && !write->is_temporary;
		if (due == MERGE_OVERDUE || (due != MERGE_NOT_DUE && write->is_temporary))
			overdue = lappend(overdue, write);
	}
	if (IsolationIsSerializable())
		return;
	foreach (lc, overdue)
	{
		Relation rel;

		write = lfirst(lc);
		if (!compaction_enabled && !write->is_temporary)
			continue;
		rel = try_relation_open(write->relid, RowExclusiveLock);
		if (rel == NULL)
			continue;
		if (engine_is_magic(rel) && storage_id(rel) == write->storage)
		{
			(void) engine_compact(rel);
			/* what this transaction deleted is for later */
			write->merge_due = !write->is_temporary;
		}
		relation_close(rel, NoLock);
	}
}

/* Tells the compaction worker of the tables that this transaction made due. */
static void
queue_due_tables(void)
{
	HASH_SEQ_STATUS seq;
	RelWrite *write;

	if (rel_writes == NULL)
		return;
	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
		if (write->merge_due)
			(void) compaction_queue(write->relid);
}

static void
flush_before_end(bool top, bool merge)
{
	if (rel_writes == NULL || IsParallelWorker())
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!flush_everything(top ? FLUSH_JOINED : FLUSH_ALL) && top)
		elog(ERROR, "rows of an open subtransaction are pending at the end of the transaction");
	if (merge)
		merge_when_due();
	PopActiveSnapshot();
}

static void
transaction_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			flush_before_end(true, true);
			row_readers_release();
			break;
		case XACT_EVENT_PRE_PREPARE:
			key_share_prepare();
			flush_before_end(true, false);
			prepared_note();
			break;
		case XACT_EVENT_COMMIT:
			/* visible since ProcArrayEndTransaction, locks still held */
			bump_counters();
			delta_log_end(true);
			queue_due_tables();
			forget_transaction();
			break;
		case XACT_EVENT_ABORT:
			key_share_prepared();
			delta_log_end(false);
			/* it may have failed after it was made the one to tell */
			queue_due_tables();
			forget_transaction();
			break;
		case XACT_EVENT_PREPARE:
			key_share_prepared();
			delta_log_prepared();
			forget_transaction();
			break;
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
	}
}

static void
subtransaction_callback(SubXactEvent event, SubTransactionId my_subid,
						SubTransactionId parent_subid, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			flush_before_end(false, false);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			discard_subtransaction(my_subid);
			storage_subtransaction_ends(my_subid, parent_subid, true);
			delta_log_subtransaction_ends(my_subid, parent_subid, true);
			row_lock_subtransaction_ends(my_subid, parent_subid, true);
			break;
		case SUBXACT_EVENT_COMMIT_SUB:
			storage_subtransaction_ends(my_subid, parent_subid, false);
			delta_log_subtransaction_ends(my_subid, parent_subid, false);
			row_lock_subtransaction_ends(my_subid, parent_subid, false);
			break;
		case SUBXACT_EVENT_START_SUB:
			break;
	}
}

void
writer_init(void)
{
	RegisterXactCallback(transaction_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
}
