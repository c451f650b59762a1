/*
 * writer.c
 *		Rows and deletions of the running transaction that are not in the metadata yet: the overlay.
 *
 * Inserted rows gather in segments, keyed by (table, subtransaction, command id); deletions in a hash
 * table per table. They become directory rows and deltas ("flush") when a pack is full, when the same
 * backend begins to scan the table, before utility commands and parallel plans, and before the end of the
 * owning (sub)transaction. A flush needs the owner to be the current subtransaction, because heap_insert
 * stamps that one's xid, and uses the original command id. Until then every read path of this backend
 * looks at the overlay as well: flushing changes nothing that anyone can see.
 *
 * At the end of a top-level transaction nobody can ask for a command's rows any more, so neighbouring
 * segments of several commands become one pack, with the newest command id.
 *
 * Memory is below TopTransactionContext. Segments that a scan reads are freed with its last reference.
 */
#include "engine/engine_int.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Row numbers reserved at once, at most. */
#define MAX_RESERVATION 65536

/* Deletions buffered per table before they are flushed. */
#define MAX_BUFFERED_DELETES (256 * 1024)

typedef struct BufferedDelete
{
	RowNumber	row;			/* hash key */
	SubTransactionId subid;
	CommandId	cid;
	DeleteKind	kind;
	RowNumber	successor;
} BufferedDelete;

/* What this transaction has written to one table. */
typedef struct RelWrite
{
	uint64		storage;		/* hash key */
	Oid			relid;
	Segment   **segments;		/* ascending by first */
	int			nsegments;
	int			room;
	RowNumber	next;			/* next row number of the reserved tail */
	RowNumber	reserve_end;	/* == next: nothing reserved */
	uint64		step;			/* rows of the last reservation */
	CommandId	step_cid;
	PackWriter *spare;			/* an empty writer */
	TupleDesc	desc;			/* of the newest writers */
	uint32		generation;		/* of `desc` */
	HTAB	   *deletes;
	bool		changed;
	uint32		writes;			/* directory rows and deltas written and not counted yet */
} RelWrite;

static HTAB *rel_writes;		/* by storage id; NULL: nothing written */
static RelWrite *last_write;
static MemoryContext write_context;
static uint64 flush_count;

uint64
writer_flush_count(void)
{
	return flush_count;
}

static RelWrite *
find_rel_write(uint64 storage)
{
	if (rel_writes == NULL)
		return NULL;
	if (last_write != NULL && last_write->storage == storage)
		return last_write;
	return hash_search(rel_writes, &storage, HASH_FIND, NULL);
}

static RelWrite *
get_rel_write(Relation rel)
{
	uint64		storage = storage_id(rel);
	RelWrite   *write = find_rel_write(storage);
	bool		found;

	if (write == NULL)
	{
		if (rel_writes == NULL)
		{
			HASHCTL		ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(RelWrite)};

			write_context = AllocSetContextCreate(TopTransactionContext, "magic writer",
												  ALLOCSET_DEFAULT_SIZES);
			ctl.hcxt = write_context;
			rel_writes = hash_create("magic writes", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		}
		directory_lock_for_write();
		write = hash_search(rel_writes, &storage, HASH_ENTER, &found);
		memset((char *) write + sizeof(uint64), 0, sizeof(RelWrite) - sizeof(uint64));
	}
	/* A rewrite fills the storage under a transient relation's OID and then gives it to the table. */
	write->relid = RelationGetRelid(rel);
	last_write = write;
	return write;
}

/* ---------------------------------------------------------------- segments */

static void
free_segment(Segment *segment)
{
	if (segment->writer)
		pack_writer_free(segment->writer);
	pfree(segment);
}

/* A scan is done with the segment. */
void
segment_release(Segment *segment)
{
	Assert(segment->refs > 0);
	if (--segment->refs == 0 && segment->gone)
		free_segment(segment);
}

static void
remove_segment(RelWrite *write, int i)
{
	Segment    *segment = write->segments[i];

	memmove(&write->segments[i], &write->segments[i + 1],
			sizeof(Segment *) * (write->nsegments - i - 1));
	write->nsegments--;
	segment->gone = true;
	if (segment->refs == 0)
		free_segment(segment);
}

static Segment *
last_segment(RelWrite *write)
{
	return write->nsegments > 0 ? write->segments[write->nsegments - 1] : NULL;
}

/* Gives back the row numbers that are reserved and not used. */
static void
drop_tail(RelWrite *write, Relation rel)
{
	if (write->reserve_end > write->next)
		storage_give_back_rows(rel, write->next, write->reserve_end);
	write->reserve_end = write->next;
}

static void
fill_range(RelWrite *write, const Segment *segment, ReservedRange *range)
{
	range->storage = write->storage;
	range->xid = segment->xid;
	range->token = segment->token;
	range->first = segment->first;
	range->appended = segment->end;
	range->reserved = write->reserve_end;
}

/*
 * Makes `rows` more row numbers available behind the segment if it is the last one, else at its start.
 * False: the numbers do not continue the segment, which is not empty.
 */
static bool
reserve(RelWrite *write, Relation rel, Segment *segment, CommandId cid, uint64 rows)
{
	ReservedRange range;
	bool		fresh = segment->end == segment->first;
	uint64		wanted;
	RowNumber	first;

	if (write->step_cid != cid || write->step == 0)
		write->step = 1;
	else
		write->step = Min(write->step * 2, MAX_RESERVATION);
	write->step_cid = cid;
	wanted = Max(write->step, rows);

	fill_range(write, segment, &range);
	range.reserved = fresh ? 0 : segment->end;
	first = storage_reserve_rows(rel, wanted, &range);
	write->next = first;
	write->reserve_end = first + wanted;
	if (fresh)
		segment->first = segment->end = first;
	return first == segment->end;
}

/*
 * A writer for rows of the table as it is now. ALTER TABLE may have changed its columns since the last
 * one was made: then a new generation begins, and older writers are not used for new rows.
 */
static PackWriter *
take_writer(RelWrite *write, Relation rel)
{
	PackWriter *writer = write->spare;

	if (write->desc == NULL || !equalTupleDescs(write->desc, RelationGetDescr(rel)))
	{
		MemoryContext old = MemoryContextSwitchTo(write_context);

		write->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
		write->generation++;
		MemoryContextSwitchTo(old);
		if (writer != NULL)
			pack_writer_free(writer);
		writer = NULL;
	}
	write->spare = NULL;
	return writer != NULL ? writer : pack_writer_create(RelationGetDescr(rel), write_context);
}

static Segment *
new_segment(RelWrite *write, Relation rel, CommandId cid, uint32 token)
{
	Segment    *segment;

	if (reserved_room() == 0)
		writer_flush_all();
	if (write->nsegments == write->room)
	{
		write->room = Max(8, write->room * 2);
		if (write->segments == NULL)
			write->segments = MemoryContextAlloc(write_context, sizeof(Segment *) * write->room);
		else
			write->segments = repalloc_huge(write->segments, sizeof(Segment *) * write->room);
	}
	segment = MemoryContextAllocZero(write_context, sizeof(Segment));
	segment->subid = GetCurrentSubTransactionId();
	segment->xid = GetCurrentTransactionId();
	segment->cid = cid;
	segment->token = token;
	segment->writer = take_writer(write, rel);
	segment->generation = write->generation;
	return segment;
}

/*
 * Starts a segment with a reserved row number for its first row: from the tail that the last segment
 * leaves, else newly reserved. Its range is published before the old one shrinks.
 */
static Segment *
start_segment(RelWrite *write, Relation rel, CommandId cid, uint32 token, uint64 rows)
{
	Segment    *segment = new_segment(write, rel, cid, token);
	Segment    *last = last_segment(write);

	if (write->next < write->reserve_end && last != NULL && last->end == write->next)
	{
		ReservedRange range;

		segment->first = segment->end = write->next;
		fill_range(write, segment, &range);
		if (!reserved_publish(&range))
			elog(ERROR, "no room for a reserved row range");
		reserved_set_appended(write->storage, last->first, last->end, last->end, last->token);
	}
	else
	{
		write->reserve_end = write->next = 0;
		reserve(write, rel, segment, cid, token ? 1 : rows);
	}
	write->segments[write->nsegments++] = segment;
	return segment;
}

/* Can the next row of this command go behind the segment's last? */
static bool
segment_continues(RelWrite *write, const Segment *segment, CommandId cid)
{
	return segment != NULL && segment->cid == cid && segment->token == 0 &&
		segment->subid == GetCurrentSubTransactionId();
}

/* The segment for the next rows of a command, with at least one row number reserved behind it. */
static Segment *
open_segment(RelWrite *write, Relation rel, CommandId cid, uint64 rows)
{
	Segment    *segment = last_segment(write);

	if (segment_continues(write, segment, cid))
	{
		if (segment->end == write->next && write->next < write->reserve_end)
			return segment;
		if (reserved_room() > 1 && reserve(write, rel, segment, cid, rows))
			return segment;
		if (write->next < write->reserve_end)
		{
			/* reserved elsewhere: its range is published already and becomes a segment */
			Segment    *another = new_segment(write, rel, cid, 0);

			another->first = another->end = write->next;
			write->segments[write->nsegments++] = another;
			return another;
		}
	}
	return start_segment(write, rel, cid, 0, rows);
}

static void flush_segment(RelWrite *write, Relation rel, int i);

static void
append_row(RelWrite *write, Relation rel, Segment *segment, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	pack_writer_append(segment->writer, slot->tts_values, slot->tts_isnull);
	row_to_tid(segment->end, &slot->tts_tid);
	slot->tts_tableOid = RelationGetRelid(rel);
	segment->end++;
	write->next = segment->end;
}

static bool
segment_full(const Segment *segment)
{
	return pack_writer_rows(segment->writer) >= PACK_TARGET_ROWS ||
		pack_writer_memory(segment->writer) >= PACK_TARGET_BYTES;
}

static void
flush_if_full(RelWrite *write, Relation rel, Segment *segment)
{
	if (segment_full(segment) && segment->token == 0)
	{
		Assert(segment == last_segment(write));
		flush_segment(write, rel, write->nsegments - 1);
	}
}

/*
 * Inserts a row for the command `cid`, sets the slot's TID and returns the row number. With a token the
 * insertion is speculative until writer_complete_speculative().
 */
RowNumber
writer_insert(Relation rel, TupleTableSlot *slot, CommandId cid, uint32 token)
{
	RelWrite   *write = get_rel_write(rel);
	Segment    *segment;
	RowNumber	row;

	if (token != 0)
		segment = start_segment(write, rel, cid, token, 1);
	else
		segment = open_segment(write, rel, cid, 1);
	append_row(write, rel, segment, slot);
	row = segment->end - 1;
	reserved_set_appended(write->storage, segment->first, segment->end, write->reserve_end, token);
	flush_if_full(write, rel, segment);
	return row;
}

void
writer_insert_many(Relation rel, TupleTableSlot **slots, int n, CommandId cid)
{
	RelWrite   *write = get_rel_write(rel);

	for (int i = 0; i < n;)
	{
		Segment    *segment = open_segment(write, rel, cid, n - i);

		do
		{
			append_row(write, rel, segment, slots[i]);
			i++;
		} while (i < n && write->next < write->reserve_end && !segment_full(segment));
		reserved_set_appended(write->storage, segment->first, segment->end, write->reserve_end, 0);
		flush_if_full(write, rel, segment);
	}
}

/*
 * Ends a speculative insertion. A failed one leaves nothing but a row number that is never used, so its
 * index entries miss.
 */
void
writer_complete_speculative(Relation rel, RowNumber row, bool succeeded)
{
	RelWrite   *write = get_rel_write(rel);
	int			i;

	for (i = write->nsegments - 1; i >= 0; i--)
		if (write->segments[i]->first == row)
			break;
	if (i < 0 || write->segments[i]->token == 0)
		elog(ERROR, "speculatively inserted row not found");
	if (!succeeded)
	{
		if (i == write->nsegments - 1)
			write->reserve_end = write->next;
		reserved_remove(write->storage, row);
		remove_segment(write, i);
		return;
	}
	write->segments[i]->token = 0;
	if (i > 0 && i == write->nsegments - 1 && write->segments[i - 1]->end == row &&
		write->segments[i - 1]->refs == 0 && !segment_full(write->segments[i - 1]) &&
		segment_continues(write, write->segments[i - 1], write->segments[i]->cid))
	{
		/* Join the row with the segment before it. */
		Segment    *before = write->segments[i - 1];
		Segment    *segment = write->segments[i];
		int			natts = RelationGetNumberOfAttributes(rel);
		Datum	   *values = palloc(sizeof(Datum) * (natts + 1));
		bool	   *isnull = palloc(sizeof(bool) * (natts + 1));

		pack_writer_fetch(segment->writer, 0, values, isnull);
		pack_writer_append(before->writer, values, isnull);
		before->end++;
		reserved_set_appended(write->storage, before->first, before->end, write->reserve_end, 0);
		reserved_remove(write->storage, segment->first);
		if (write->spare == NULL && segment->refs == 0)
		{
			pack_writer_reset(segment->writer);
			write->spare = segment->writer;
			segment->writer = NULL;
		}
		remove_segment(write, i);
		pfree(values);
		pfree(isnull);
		flush_if_full(write, rel, before);
	}
	else
		reserved_set_appended(write->storage, row, row + 1,
							  i == write->nsegments - 1 ? write->reserve_end : row + 1, 0);
}

/* ---------------------------------------------------------------- flushing */

/* Writes a pack and its directory row. */
static void
write_pack(Relation rel, uint64 storage, PackWriter *writer, RowNumber first, RowNumber end,
		   CommandId cid)
{
	PackBytes	bytes;
	PackEntry	entry = {0};

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

static void
flush_segment(RelWrite *write, Relation rel, int i)
{
	Segment    *segment = write->segments[i];

	if (i == write->nsegments - 1)
		drop_tail(write, rel);
	write_pack(rel, write->storage, segment->writer, segment->first, segment->end, segment->cid);
	write->changed = true;
	write->writes++;
	reserved_remove(write->storage, segment->first);
	keep_writer(write, segment);
	remove_segment(write, i);
}

/* Writes neighbouring segments [from, to) as one pack with the last one's command id. */
static void
flush_joined(RelWrite *write, Relation rel, int from, int to)
{
	int			natts = RelationGetNumberOfAttributes(rel);
	Datum	   *values = palloc(sizeof(Datum) * (natts + 1));
	bool	   *isnull = palloc(sizeof(bool) * (natts + 1));
	Segment    *head = write->segments[from];
	RowNumber	end = write->segments[to - 1]->end;

	if (to == write->nsegments)
		drop_tail(write, rel);
	for (int i = from + 1; i < to; i++)
	{
		Segment    *segment = write->segments[i];
		uint32		rows = pack_writer_rows(segment->writer);

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
		remove_segment(write, i);
	}
	pfree(values);
	pfree(isnull);
}

static int
compare_deletes(const void *a, const void *b)
{
	const BufferedDelete *x = a;
	const BufferedDelete *y = b;

	if (x->cid != y->cid)
		return x->cid < y->cid ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Writes the deltas of [deletes, deletes + n): one command, ascending rows. */
static void
write_deltas(RelWrite *write, const BufferedDelete *deletes, int n, CommandId cid)
{
	DeltaEntry *entries = palloc(sizeof(DeltaEntry) * DELETE_BLOCK_ROWS);
	uint8	   *bytes = palloc(DELTA_ROOM);

	for (int i = 0; i < n;)
	{
		uint64		block = deletes[i].row / DELETE_BLOCK_ROWS;
		int			count = 0;

		CHECK_FOR_INTERRUPTS();
		for (; i < n && deletes[i].row / DELETE_BLOCK_ROWS == block; i++)
		{
			entries[count].offset = deletes[i].row % DELETE_BLOCK_ROWS;
			entries[count].kind = deletes[i].kind;
			entries[count].successor = deletes[i].successor;
			count++;
		}
		for (int done = 0; done < count;)
		{
			int			length;

			done += delta_encode(entries + done, count - done, bytes, DELTA_ROOM, &length);
			delta_insert(write->storage, block, bytes, length, cid);
			write->writes++;
		}
	}
	pfree(entries);
	pfree(bytes);
}

static void
flush_deletes(RelWrite *write, Relation rel)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	HASH_SEQ_STATUS seq;
	BufferedDelete *entry;
	BufferedDelete *list;
	long		total = write->deletes ? hash_get_num_entries(write->deletes) : 0;
	int			n = 0;

	if (total == 0)
		return;
	list = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(BufferedDelete) * total);
	hash_seq_init(&seq, write->deletes);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (entry->subid == subid)
			list[n++] = *entry;
	if (n > 0)
	{
		qsort(list, n, sizeof(BufferedDelete), compare_deletes);
		CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
		write->changed = true;
		for (int i = 0; i < n;)
		{
			int			end = i + 1;

			while (end < n && list[end].cid == list[i].cid)
				end++;
			write_deltas(write, list + i, end - i, list[i].cid);
			i = end;
		}
		if (n == total)
		{
			hash_destroy(write->deletes);
			write->deletes = NULL;
		}
		else
			for (int i = 0; i < n; i++)
				hash_search(write->deletes, &list[i].row, HASH_REMOVE, NULL);
		flush_count++;
	}
	pfree(list);
}

/*
 * Writes what the current subtransaction owns of the table. At the end of a top-level transaction
 * (`join`) neighbouring segments become one pack.
 */
static void
flush_write(RelWrite *write, Relation rel, bool join)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	for (int i = 0; i < write->nsegments;)
	{
		Segment    *segment = write->segments[i];
		int			end = i + 1;
		uint64		rows;

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
				drop_tail(write, rel);
			reserved_remove(write->storage, segment->first);
			remove_segment(write, i);
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
	flush_deletes(write, rel);
}

static bool
has_own(RelWrite *write)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (write->deletes != NULL && hash_get_num_entries(write->deletes) > 0)
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
	RelWrite   *write;

	if (rel_writes == NULL || (write = find_rel_write(storage_id(rel))) == NULL || !has_own(write))
		return;
	flush_write(write, rel, false);
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
		remove_segment(write, i);
	}
	if (write->deletes != NULL)
	{
		HASH_SEQ_STATUS seq;
		BufferedDelete *entry;

		hash_seq_init(&seq, write->deletes);
		while ((entry = hash_seq_search(&seq)) != NULL)
			if (entry->subid == subid)
				hash_search(write->deletes, &entry->row, HASH_REMOVE, NULL);
	}
}

/* Flushes all tables. Returns false if rows or deletions of an outer subtransaction remain. */
static bool
flush_everything(bool join)
{
	HASH_SEQ_STATUS seq;
	RelWrite   *write;
	List	   *storages = NIL;
	ListCell   *lc;
	bool		complete = true;

	if (rel_writes == NULL)
		return true;
	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
		storages = lappend(storages, write);
	foreach(lc, storages)
	{
		Relation	rel;

		write = lfirst(lc);
		if (has_own(write))
		{
			rel = try_relation_open(write->relid, RowExclusiveLock);
			if (rel != NULL && engine_is_magic(rel) && storage_id(rel) == write->storage)
				flush_write(write, rel, join);
			else
			{
				/* an inner subtransaction has dropped or emptied the table, and was committed */
				discard_owned(write, GetCurrentSubTransactionId());
			}
			if (rel != NULL)
				relation_close(rel, NoLock);
		}
		if (write->nsegments > 0 ||
			(write->deletes != NULL && hash_get_num_entries(write->deletes) > 0))
			complete = false;
	}
	list_free(storages);
	return complete;
}

bool
writer_flush_all(void)
{
	return flush_everything(false);
}

/* Has this transaction rows or deletions of the table that are not flushed? */
bool
writer_pending(uint64 storage)
{
	RelWrite   *write = find_rel_write(storage);

	return write != NULL &&
		(write->nsegments > 0 ||
		 (write->deletes != NULL && hash_get_num_entries(write->deletes) > 0));
}

/*
 * The current subtransaction drops the storage or gives its table another one: forgets what it has
 * pending of it. What outer subtransactions have pending stays, in case this one is rolled back; if it is
 * not, their flush finds the storage gone.
 */
void
writer_discard(uint64 storage)
{
	RelWrite   *write = find_rel_write(storage);

	if (write != NULL)
		discard_owned(write, GetCurrentSubTransactionId());
}

/* ---------------------------------------------------------------- deletions */

/* Records that the command `cid` deletes the row. The caller holds the row's lock. */
void
writer_delete(Relation rel, RowNumber row, DeleteKind kind, RowNumber successor, CommandId cid)
{
	RelWrite   *write = get_rel_write(rel);
	BufferedDelete *entry;
	bool		found;

	if (write->deletes != NULL && hash_get_num_entries(write->deletes) >= MAX_BUFFERED_DELETES)
		flush_deletes(write, rel);
	if (write->deletes == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(RowNumber), .entrysize = sizeof(BufferedDelete),
		.hcxt = write_context};

		write->deletes = hash_create("magic buffered deletes", 256, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(write->deletes, &row, HASH_ENTER, &found);
	if (found)
		elog(ERROR, "row " UINT64_FORMAT " is deleted twice", row);
	entry->subid = GetCurrentSubTransactionId();
	entry->cid = cid;
	entry->kind = kind;
	entry->successor = successor;
	/* Other backends' unique checks wait for this xid. */
	(void) GetCurrentTransactionId();
}

/* The caller has changed the table's metadata itself. */
void
writer_note_change(Relation rel)
{
	get_rel_write(rel)->changed = true;
	flush_count++;
}

/* Is the row deleted by this transaction, and not flushed? */
bool
writer_find_delete(uint64 storage, RowNumber row, DeleteInfo *info)
{
	RelWrite   *write = find_rel_write(storage);
	BufferedDelete *entry;

	if (write == NULL || write->deletes == NULL)
		return false;
	entry = hash_search(write->deletes, &row, HASH_FIND, NULL);
	if (entry == NULL)
		return false;
	if (info == NULL)
		return true;
	info->kind = entry->kind;
	info->successor = entry->successor;
	info->xmax = GetTopTransactionIdIfAny();
	info->cmax = entry->cid;
	info->own = true;
	return true;
}

/* Adds the pending deletions that the snapshot sees. */
void
writer_add_deletes(uint64 storage, Snapshot snapshot, DeleteMap *map)
{
	RelWrite   *write = find_rel_write(storage);
	HASH_SEQ_STATUS seq;
	BufferedDelete *entry;

	if (write == NULL || write->deletes == NULL)
		return;
	hash_seq_init(&seq, write->deletes);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (!IsMVCCSnapshot(snapshot) || entry->cid < snapshot->curcid)
			delete_map_add(map, entry->row);
}

/* ---------------------------------------------------------------- reading segments */

/* The segment that holds the row, or NULL. */
Segment *
writer_find_segment(uint64 storage, RowNumber row)
{
	RelWrite   *write = find_rel_write(storage);
	int			low = 0;
	int			high;

	if (write == NULL)
		return NULL;
	high = write->nsegments;
	while (low < high)
	{
		int			middle = (low + high) / 2;
		Segment    *segment = write->segments[middle];

		if (row < segment->first)
			high = middle;
		else if (row >= segment->end)
			low = middle + 1;
		else
			return segment;
	}
	return NULL;
}

/*
 * An attribute of a row of a segment. The row may be older than the attribute: an inner subtransaction has
 * added it, and could not flush the row.
 */
Datum
segment_fetch_att(PackWriter *writer, TupleDesc desc, int att, uint32 index, bool *isnull)
{
	if (att >= pack_writer_natts(writer))
		return getmissingattr(desc, att + 1, isnull);
	return pack_writer_fetch_att(writer, att, index, isnull);
}

/* The segments that the snapshot sees, referenced for the caller, ascending. */
Segment **
writer_visible_segments(uint64 storage, Snapshot snapshot, int *n)
{
	RelWrite   *write = find_rel_write(storage);
	Segment   **list;

	*n = 0;
	if (write == NULL || write->nsegments == 0)
		return NULL;
	list = palloc(sizeof(Segment *) * write->nsegments);
	for (int i = 0; i < write->nsegments; i++)
	{
		Segment    *segment = write->segments[i];

		if (segment->end == segment->first ||
			(IsMVCCSnapshot(snapshot) && segment->cid >= snapshot->curcid))
			continue;
		segment->refs++;
		list[(*n)++] = segment;
	}
	return list;
}

/* ---------------------------------------------------------------- ends of transactions */

/* The current subtransaction was aborted: what it owns never was. */
static void
discard_subtransaction(SubTransactionId subid)
{
	HASH_SEQ_STATUS seq;
	RelWrite   *write;

	if (rel_writes == NULL)
		return;
	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
		discard_owned(write, subid);
	flush_count++;
	deleted_latest_forget();
}

/* The counters of the storages whose metadata this transaction changed move. */
static void
bump_counters(void)
{
	HASH_SEQ_STATUS seq;
	RelWrite   *write;

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
	/* the memory goes with TopTransactionContext */
	rel_writes = NULL;
	last_write = NULL;
	write_context = NULL;
	reserved_remove_all();
	deleted_latest_forget();
	row_readers_forget(true);
}

/*
 * Many small writes make lookups and scans slow: every so often the writer that comes last merges them
 * before it commits, if nobody else does.
 */
static void
merge_when_due(void)
{
	HASH_SEQ_STATUS seq;
	RelWrite   *write;
	List	   *due = NIL;
	ListCell   *lc;

	hash_seq_init(&seq, rel_writes);
	while ((write = hash_seq_search(&seq)) != NULL)
		if (write->writes > 0 && merge_note_writes(write->storage, write->writes))
			due = lappend(due, write);
	if (IsolationIsSerializable())
		return;
	foreach(lc, due)
	{
		Relation	rel;

		write = lfirst(lc);
		rel = try_relation_open(write->relid, RowExclusiveLock);
		if (rel == NULL)
			continue;
		if (engine_is_magic(rel) && storage_id(rel) == write->storage)
			(void) engine_compact(rel, false);
		relation_close(rel, NoLock);
	}
}

static void
flush_before_end(bool top, bool merge)
{
	if (rel_writes == NULL || IsParallelWorker())
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!flush_everything(top) && top)
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
			break;
		case XACT_EVENT_PRE_PREPARE:
			flush_before_end(true, false);
			break;
		case XACT_EVENT_COMMIT:
			/* visible since ProcArrayEndTransaction, locks still held */
			bump_counters();
			forget_transaction();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_transaction();
			break;
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
	}
}

static void
subtransaction_callback(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid,
						void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			flush_before_end(false, false);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			discard_subtransaction(my_subid);
			break;
		case SUBXACT_EVENT_START_SUB:
		case SUBXACT_EVENT_COMMIT_SUB:
			break;
	}
}

void
writer_init(void)
{
	RegisterXactCallback(transaction_callback, NULL);
	RegisterSubXactCallback(subtransaction_callback, NULL);
}
