/*
 * overlay.c
 *		The overlay: buffered deletions, and reading what is pending.
 *
 * See writer.c for what the overlay is.
 */
#include "engine/writer_int.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/snapmgr.h"

/* Records that the command `cid` deletes the row. The caller holds the row's lock. */
void
writer_delete(Relation rel, RowNumber row, DeleteKind kind, RowNumber successor, CommandId cid)
{
	RelWrite *write = rel_write_get(rel);
	BufferedDelete entry = {
		.subid = GetCurrentSubTransactionId(), .cid = cid, .kind = kind, .successor = successor};

	if (write->deletes != NULL && delete_buffer_count(write->deletes) >= write->flush_deletes_at)
		flush_deletes(write, rel, false);
	if (write->deletes == NULL)
	{
		write->deletes = delete_buffer_create(rel_write_context);
		write->flush_deletes_at = MAX_BUFFERED_DELETES;
	}
	delete_buffer_add(write->deletes, row, &entry);
	/* Other backends' unique checks wait for this xid. */
	(void) GetCurrentTransactionId();
}

/* The caller has changed the table's metadata itself. */
void
writer_note_change(Relation rel)
{
	rel_write_get(rel)->changed = true;
	flush_count_change();
}

/* The compaction worker shall look at the table once this transaction has committed. */
void
writer_note_due(Relation rel)
{
	RelWrite *write = rel_write_get(rel);

	write->merge_due = !write->is_temporary;
}

/* Is the row deleted by this transaction, and not flushed? */
bool
writer_find_delete(uint64 storage, RowNumber row, DeleteInfo *info)
{
	RelWrite *write = rel_write_find(storage);
	const BufferedDelete *entry;

	if (write == NULL || write->deletes == NULL)
		return false;
	if (info == NULL)
		return delete_buffer_contains(write->deletes, row);
	entry = delete_buffer_find(write->deletes, row);
	if (entry == NULL)
		return false;
	info->kind = entry->kind;
	info->successor = entry->successor;
	info->xmax = GetTopTransactionIdIfAny();
	info->cmax = entry->cid;
	info->own = true;
	return true;
}

typedef struct AddState
{
	Snapshot snapshot;
	DeleteMap *map;
} AddState;

static void
add_visible(uint64 block, const BufferedDelete *list, int n, void *arg)
{
	const AddState *state = arg;
	bool all = !IsMVCCSnapshot(state->snapshot);

	for (int i = 0; i < n; i++)
		if (all || list[i].cid < state->snapshot->curcid)
			delete_map_add(state->map, block * DELETE_BLOCK_ROWS + list[i].offset);
}

/* Adds the pending deletions that the snapshot sees. */
void
writer_add_deletes(uint64 storage, Snapshot snapshot, DeleteMap *map)
{
	RelWrite *write = rel_write_find(storage);
	AddState state = {.snapshot = snapshot, .map = map};

	if (write != NULL && write->deletes != NULL)
		delete_buffer_walk(write->deletes, add_visible, &state);
}

/* ---------------------------------------------------------------- reading segments */

/* The segment that holds the row, or NULL. */
Segment *
writer_find_segment(uint64 storage, RowNumber row)
{
	RelWrite *write = rel_write_find(storage);
	int low = 0;
	int high;

	if (write == NULL)
		return NULL;
	high = write->nsegments;
	while (low < high)
	{
		int middle = (low + high) / 2;
		Segment *segment = write->segments[middle];

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
	RelWrite *write = rel_write_find(storage);
	Segment **list;

	*n = 0;
	if (write == NULL || write->nsegments == 0)
		return NULL;
	list = palloc(sizeof(Segment *) * write->nsegments);
	for (int i = 0; i < write->nsegments; i++)
	{
		Segment *segment = write->segments[i];

		if (segment->end == segment->first ||
			(IsMVCCSnapshot(snapshot) && segment->cid >= snapshot->curcid))
			continue;
		segment->refs++;
		list[(*n)++] = segment;
	}
	return list;
}
