/*
 * writer.c
 *		The overlay: rows of the running transaction that are not in the metadata yet.
 *
 * Inserted rows gather in segments, keyed by (table, subtransaction, command id); deletions in a hash
 * table per table (overlay.c). They become directory rows and deltas in flush.c. Until then every read path
 * of this backend looks at the overlay as well: flushing changes nothing that anyone can see.
 *
 * Row numbers are reserved before they are used, 1 at first and then twice as many within a command; what
 * is reserved is known to other backends (shmem.c).
 *
 * Memory is below TopTransactionContext. Segments that a scan reads are freed with its last reference.
 */
#include "engine/writer_int.h"

#include "access/xact.h"
#include "utils/memutils.h"

/* Row numbers reserved at once, at most. */
#define MAX_RESERVATION 65536

/* Rows appended at once: they should still be in the first cache when the last column is taken. */
#define APPEND_ROWS 64

HTAB *rel_writes;
MemoryContext rel_write_context;
static RelWrite *last_write;

RelWrite *
rel_write_find(uint64 storage)
{
	if (rel_writes == NULL)
		return NULL;
	if (last_write != NULL && last_write->storage == storage)
		return last_write;
	return hash_search(rel_writes, &storage, HASH_FIND, NULL);
}

RelWrite *
rel_write_get(Relation rel)
{
	uint64 storage = storage_id(rel);
	RelWrite *write = rel_write_find(storage);
	bool found;

	if (write == NULL)
	{
		if (rel_writes == NULL)
		{
			HASHCTL ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(RelWrite)};

			rel_write_context = AllocSetContextCreate(TopTransactionContext, "magic writer",
													  ALLOCSET_DEFAULT_SIZES);
			ctl.hcxt = rel_write_context;
			rel_writes =
				hash_create("magic writes", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		}
		directory_lock_for_write();
		write = hash_search(rel_writes, &storage, HASH_ENTER, &found);
		memset((char *) write + sizeof(uint64), 0, sizeof(RelWrite) - sizeof(uint64));
	}
	/* A rewrite fills the storage under a transient relation's OID and then gives it to the table. */
	write->relid = RelationGetRelid(rel);
	write->is_temporary = RelationUsesLocalBuffers(rel);
	last_write = write;
	return write;
}

/* ---------------------------------------------------------------- segments */

static void
segment_free(Segment *segment)
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
		segment_free(segment);
}

void
segment_remove(RelWrite *write, int i)
{
	Segment *segment = write->segments[i];

	memmove(&write->segments[i], &write->segments[i + 1],
			sizeof(Segment *) * (write->nsegments - i - 1));
	write->nsegments--;
	segment->gone = true;
	if (segment->refs == 0)
		segment_free(segment);
}

static Segment *
last_segment(RelWrite *write)
{
	return write->nsegments > 0 ? write->segments[write->nsegments - 1] : NULL;
}

/* Gives back the row numbers that are reserved and not used. */
void
rel_write_drop_tail(RelWrite *write, Relation rel)
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
	bool fresh = segment->end == segment->first;
	uint64 wanted;
	RowNumber first;

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
		MemoryContext old = MemoryContextSwitchTo(rel_write_context);

		write->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
		write->generation++;
		MemoryContextSwitchTo(old);
		if (writer != NULL)
			pack_writer_free(writer);
		writer = NULL;
	}
	write->spare = NULL;
	return writer != NULL ? writer : pack_writer_create(RelationGetDescr(rel), rel_write_context);
}

static Segment *
new_segment(RelWrite *write, Relation rel, CommandId cid, uint32 token)
{
	Segment *segment;

	if (reserved_room() == 0)
		writer_flush_rows();
	if (write->nsegments == write->room)
	{
		write->room = Max(8, write->room * 2);
		if (write->segments == NULL)
			write->segments =
				MemoryContextAlloc(rel_write_context, sizeof(Segment *) * write->room);
		else
			write->segments = repalloc_huge(write->segments, sizeof(Segment *) * write->room);
	}
	segment = MemoryContextAllocZero(rel_write_context, sizeof(Segment));
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
	Segment *segment;
	Segment *last;

	/* what is pending here keeps its ranges while inner subtransactions need some */
	if (reserved_crowded())
		writer_flush_rows();
	segment = new_segment(write, rel, cid, token);
	last = last_segment(write);

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
	Segment *segment = last_segment(write);

	if (segment_continues(write, segment, cid))
	{
		if (segment->end == write->next && write->next < write->reserve_end)
			return segment;
		if (reserved_room() > 1 && reserve(write, rel, segment, cid, rows))
			return segment;
		if (write->next < write->reserve_end)
		{
			/* reserved elsewhere: its range is published already and becomes a segment */
			Segment *another = new_segment(write, rel, cid, 0);

			another->first = another->end = write->next;
			write->segments[write->nsegments++] = another;
			return another;
		}
	}
	return start_segment(write, rel, cid, 0, rows);
}

/* The slot's row is the segment's next. */
static void
number_row(Relation rel, Segment *segment, TupleTableSlot *slot)
{
	row_to_tid(segment->end, &slot->tts_tid);
	slot->tts_tableOid = RelationGetRelid(rel);
	magic_slot_set_inserted(slot, segment->xid, InvalidTransactionId, segment->cid);
	segment->end++;
}

static void
append_row(RelWrite *write, Relation rel, Segment *segment, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	pack_writer_append(segment->writer, slot->tts_values, slot->tts_isnull);
	number_row(rel, segment, slot);
	write->next = segment->end;
}

/* Appends as many of the `n` rows as are worth appending at once; returns their number. */
static int
append_rows(RelWrite *write, Relation rel, Segment *segment, TupleTableSlot **slots, int n)
{
	const Datum *values[APPEND_ROWS];
	const bool *isnull[APPEND_ROWS];

	n = Min(n, APPEND_ROWS);
	n = Min(n, write->reserve_end - write->next);
	n = Min(n, PACK_TARGET_ROWS - pack_writer_rows(segment->writer));
	for (int i = 0; i < n; i++)
	{
		slot_getallattrs(slots[i]);
		values[i] = slots[i]->tts_values;
		isnull[i] = slots[i]->tts_isnull;
		if (magic_slot_is_large(slots[i]))
			n = i + 1; /* it may fill the pack */
	}
	pack_writer_append_many(segment->writer, values, isnull, n);
	for (int i = 0; i < n; i++)
		number_row(rel, segment, slots[i]);
	write->next = segment->end;
	return n;
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
	RelWrite *write = rel_write_get(rel);
	Segment *segment;
	RowNumber row;

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
	RelWrite *write = rel_write_get(rel);

	for (int i = 0; i < n;)
	{
		Segment *segment = open_segment(write, rel, cid, n - i);

		do
			i += append_rows(write, rel, segment, slots + i, n - i);
		while (i < n && write->next < write->reserve_end && !segment_full(segment));
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
	RelWrite *write = rel_write_get(rel);
	int i;

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
		segment_remove(write, i);
		return;
	}
	write->segments[i]->token = 0;
	if (i > 0 && i == write->nsegments - 1 && write->segments[i - 1]->end == row &&
		write->segments[i - 1]->refs == 0 && !segment_full(write->segments[i - 1]) &&
		segment_continues(write, write->segments[i - 1], write->segments[i]->cid))
	{
		/* Join the row with the segment before it. */
		Segment *before = write->segments[i - 1];
		Segment *segment = write->segments[i];
		int natts = RelationGetNumberOfAttributes(rel);
		Datum *values = palloc(sizeof(Datum) * (natts + 1));
		bool *isnull = palloc(sizeof(bool) * (natts + 1));

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
		segment_remove(write, i);
		pfree(values);
		pfree(isnull);
		flush_if_full(write, rel, before);
	}
	else
		reserved_set_appended(write->storage, row, row + 1,
							  i == write->nsegments - 1 ? write->reserve_end : row + 1, 0);
}

/* The transaction has ended; the memory goes with its context. */
void
rel_write_forget_all(void)
{
	rel_writes = NULL;
	last_write = NULL;
	rel_write_context = NULL;
}
