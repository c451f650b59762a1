/*
 * lookup.c
 *		One row by its row number: index scans, unique checks, triggers, re-checks.
 *
 * Which rows a snapshot sees is decided by the metadata it sees. For an MVCC snapshot: the directory row
 * and the deltas under that snapshot, and of this backend's overlay what has a smaller command id. For
 * Self, Dirty, Any and NonVacuumable snapshots: the overlay whole, and the metadata under an MVCC
 * snapshot taken now (its command id is set past our last command). Directory and deltas are always read
 * under one and the same snapshot, because a merge changes both together.
 *
 * Dirty snapshots (unique checks) also need rows in progress, and a scan of the directory is not atomic
 * against reservation -> pack and pack -> merged pack. So: first the reserved ranges in shared memory,
 * then an MVCC snapshot taken after that, then the directory under SnapshotDirty; a row that got
 * committed between the last two is looked up again.
 *
 * This runs under the exclusive lock of an index page (unique checks): nothing here waits, but for some
 * checks of exclusion.c, which hold neither lock nor pin.
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "storage/procarray.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Lookups under one snapshot before directory and deltas are loaded whole. */
#define LOOKUPS_BEFORE_LOAD 16

struct RowReader
{
	Relation rel;
	uint64 storage;
	TupleDesc desc;
	MemoryContext cxt;
	MemoryContextCallback gone;
	CachedPack *pack;		  /* of the row returned last, or NULL */
	PackEntry pack_entry;	  /* its directory row */
	PackDatumBuffer *buffers; /* for the values of that row, by attribute */
	Segment *held; /* of the row returned last: a slot points to it, also after a flush */

	/* What is known under one MVCC snapshot. */
	Snapshot key; /* only compared */
	TransactionId key_xmin;
	TransactionId key_xmax;
	CommandId key_curcid;
	uint64 key_running; /* hash of its running transactions; for shared readers */
	uint64 key_flushes;
	uint32 lookups;
	MemoryContext loaded_cxt; /* of the following */
	PackList *packs;		  /* NULL: not loaded */
	DeleteMap *deletes;
	DeleteMap *settled; /* of these, dead for everybody */

	/* The latest directory, valid while the storage's counter and ours stand still. */
	bool shared; /* of the transaction: keeps no pins */
	uint64 latest_counter;
	uint64 latest_flushes;
	uint64 latest_loads;	   /* deleted_latest_loads() when it was read */
	uint64 latest_completions; /* completions_read() then */
	uint32 latest_lookups;
	MemoryContext latest_cxt;
	PackList *latest_packs; /* NULL: not loaded */
};

/* Readers of this transaction, by storage id. */
typedef struct SharedReader
{
	uint64 storage; /* hash key */
	RowReader *reader;
} SharedReader;

static HTAB *shared_readers;

/*
 * A registered MVCC snapshot of now that also sees everything that this transaction has done. Unregister
 * it.
 */
Snapshot
latest_snapshot_register(void)
{
	static SnapshotData current = {SNAPSHOT_MVCC};
	Snapshot snapshot;

	GetSnapshotData(&current);
	snapshot = RegisterSnapshot(&current);
	snapshot->curcid = InvalidCommandId;
	return snapshot;
}

/* The reader's memory goes, perhaps in the middle of a read that failed. */
static void
drop_pack(void *arg)
{
	RowReader *reader = arg;

	if (reader->pack != NULL)
		pack_cache_drop(reader->pack);
	reader->pack = NULL;
}

RowReader *
row_reader_create(Relation rel, TupleDesc desc, MemoryContext parent)
{
	MemoryContext cxt = AllocSetContextCreate(parent, "magic row reader", ALLOCSET_SMALL_SIZES);
	RowReader *reader = MemoryContextAllocZero(cxt, sizeof(RowReader));

	reader->rel = rel;
	reader->storage = storage_id(rel);
	reader->desc = desc;
	reader->cxt = cxt;
	reader->gone.func = drop_pack;
	reader->gone.arg = reader;
	MemoryContextRegisterResetCallback(cxt, &reader->gone);
	return reader;
}

/*
 * The reader that this transaction keeps for single lookups in the table: unique checks, triggers,
 * row locks. Its packs are read through copies, so it holds no pins between calls.
 */
RowReader *
row_reader_shared(Relation rel)
{
	uint64 storage = storage_id(rel);
	SharedReader *entry;
	bool found;

	if (shared_readers == NULL)
	{
		HASHCTL ctl = {.keysize = sizeof(uint64),
					   .entrysize = sizeof(SharedReader),
					   .hcxt = TopTransactionContext};

		shared_readers =
			hash_create("magic row readers", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(shared_readers, &storage, HASH_ENTER, &found);
	if (!found)
	{
		MemoryContext old;

		entry->reader = NULL;
		entry->reader = row_reader_create(rel, NULL, TopTransactionContext);
		old = MemoryContextSwitchTo(entry->reader->cxt);
		entry->reader->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
		MemoryContextSwitchTo(old);
		entry->reader->shared = true;
	}
	/* the relation cache entry may have moved */
	entry->reader->rel = rel;
	return entry->reader;
}

/* The row returned last is not used any more: its pack is free for others. */
static void
release_pack(RowReader *reader)
{
	CachedPack *pack = reader->pack;

	reader->pack = NULL;
	if (pack != NULL)
		pack_cache_put(pack);
}

/* The transaction is about to commit: the packs of its readers can serve the next one. */
void
row_readers_release(void)
{
	HASH_SEQ_STATUS seq;
	SharedReader *entry;

	if (shared_readers == NULL)
		return;
	hash_seq_init(&seq, shared_readers);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (entry->reader)
			release_pack(entry->reader);
}

/* Drops the transaction's readers: it has ended, or a utility command may change the tables. */
void
row_readers_forget(bool ended)
{
	HASH_SEQ_STATUS seq;
	SharedReader *entry;

	if (shared_readers == NULL)
		return;
	if (!ended)
	{
		hash_seq_init(&seq, shared_readers);
		while ((entry = hash_seq_search(&seq)) != NULL)
			if (entry->reader)
				row_reader_free(entry->reader);
		hash_destroy(shared_readers);
	}
	shared_readers = NULL;
}

static void
forget_snapshot(RowReader *reader)
{
	reader->key = NULL;
	reader->lookups = 0;
	reader->packs = NULL;
	reader->deletes = NULL;
	if (reader->loaded_cxt)
		MemoryContextReset(reader->loaded_cxt);
}

/* The row returned last is not used any more. */
static void
release_segment(RowReader *reader)
{
	Segment *segment = reader->held;

	reader->held = NULL;
	if (segment != NULL)
		segment_release(segment);
}

/* Drops pins and everything known. */
void
row_reader_reset(RowReader *reader)
{
	release_segment(reader);
	release_pack(reader);
	forget_snapshot(reader);
}

void
row_reader_free(RowReader *reader)
{
	row_reader_reset(reader);
	MemoryContextDelete(reader->cxt);
}

/* The opened pack of a directory row. */
static PackReader *
open_pack(RowReader *reader, const PackEntry *entry)
{
	PackEntry *last = &reader->pack_entry;

	if (reader->buffers == NULL)
	{
		reader->buffers = MemoryContextAllocZero(reader->cxt, sizeof(PackDatumBuffer) *
																  Max(reader->desc->natts, 1));
		for (int att = 0; att < reader->desc->natts; att++)
			reader->buffers[att].cxt = reader->cxt;
	}
	if (reader->pack == NULL || !ItemPointerEquals(&last->tid, (ItemPointer) &entry->tid) ||
		last->raw_xmin != entry->raw_xmin || last->first != entry->first)
	{
		release_pack(reader);
		reader->pack = pack_cache_take(reader->rel, reader->storage, entry);
		*last = *entry;
	}
	return cached_pack_reader(reader->pack, reader->rel);
}

/*
 * Two snapshots of one transaction can follow each other at the same address and differ in nothing but the
 * transactions that were running: when one of them has committed that is not the last.
 */
static uint64
running_hash(Snapshot snapshot)
{
	uint64 seed =
		hash_bytes_extended((const unsigned char *) snapshot->xip,
							snapshot->xcnt * sizeof(TransactionId), snapshot->suboverflowed);

	return hash_bytes_extended((const unsigned char *) snapshot->subxip,
							   Max(snapshot->subxcnt, 0) * sizeof(TransactionId), seed);
}

/* Is what is known under the last snapshot still right for this one? Else forget it. */
static void
use_snapshot(RowReader *reader, Snapshot snapshot)
{
	/* the reader of a scan sees one snapshot only */
	uint64 running = reader->shared ? running_hash(snapshot) : 0;

	if (reader->key == snapshot && reader->key_xmin == snapshot->xmin &&
		reader->key_xmax == snapshot->xmax && reader->key_curcid == snapshot->curcid &&
		reader->key_running == running && reader->key_flushes == writer_flush_count())
		return;
	forget_snapshot(reader);
	reader->key = snapshot;
	reader->key_xmin = snapshot->xmin;
	reader->key_xmax = snapshot->xmax;
	reader->key_curcid = snapshot->curcid;
	reader->key_running = running;
	reader->key_flushes = writer_flush_count();
}

static void
load_snapshot(RowReader *reader, Snapshot snapshot)
{
	MemoryContext old;
	TransactionId newest;

	if (reader->loaded_cxt == NULL)
		reader->loaded_cxt =
			AllocSetContextCreate(reader->cxt, "magic directory", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(reader->loaded_cxt);
	reader->packs = directory_load(reader->storage, snapshot, 0, InvalidRowNumber);
	reader->deletes = delete_map_load(reader->storage, snapshot, reader->loaded_cxt);
	reader->settled = delete_map_load_settled(reader->storage, snapshot, directory_horizon(),
											  &newest, reader->loaded_cxt);
	MemoryContextSwitchTo(old);
}

static bool
find_in_list(const PackList *list, RowNumber row, PackEntry *entry)
{
	int low = 0;
	int high = list->n;

	while (low < high)
	{
		int middle = (low + high) / 2;
		const PackEntry *pack = &list->packs[middle];

		if (row < pack->first)
			high = middle;
		else if (row >= pack->first + pack->span)
			low = middle + 1;
		else
		{
			*entry = *pack;
			return true;
		}
	}
	return false;
}

/* Looks the row up in the directory under an MVCC snapshot. */
static bool
locate_in_packs(RowReader *reader, RowNumber row, Snapshot snapshot, RowPlace *place)
{
	PackEntry entry = {0};
	bool found;
	bool owned = false;

	use_snapshot(reader, snapshot);
	if (reader->packs == NULL && ++reader->lookups > LOOKUPS_BEFORE_LOAD)
		load_snapshot(reader, snapshot);
	if (reader->packs != NULL)
		found = find_in_list(reader->packs, row, &entry);
	else
		found = known_pack_find(reader->storage, row, snapshot, &entry, &owned);
	if (!found)
		return false;
	if (unlikely(stored_packs_skipped(reader->rel)) &&
		!stored_pack_sound(reader->rel, &entry, reader->desc))
		return false;
	place->reader = open_pack(reader, &entry);
	if (owned && entry.inline_bytes)
		pfree(entry.inline_bytes);
	if (!pack_find(place->reader, (uint32) (row - entry.first), &place->index))
	{
		place->hole = true;
		return false;
	}
	place->found = ROW_PACK;
	place->xmin = entry.xmin;
	place->cmin = entry.cmin;
	return true;
}

static bool
latest_list_valid(RowReader *reader)
{
	if (reader->latest_counter != change_counter_read(reader->storage) ||
		reader->latest_flushes != writer_flush_count() ||
		reader->latest_loads != deleted_latest_loads() ||
		reader->latest_completions != completions_read())
	{
		reader->latest_packs = NULL;
		if (reader->latest_cxt)
			MemoryContextReset(reader->latest_cxt);
		reader->latest_counter = change_counter_read(reader->storage);
		reader->latest_flushes = writer_flush_count();
		reader->latest_loads = deleted_latest_loads();
		reader->latest_completions = completions_read();
		reader->latest_lookups = 0;
	}
	if (reader->latest_packs == NULL && ++reader->latest_lookups > LOOKUPS_BEFORE_LOAD)
	{
		Snapshot latest = latest_snapshot_register();
		MemoryContext old;

		if (reader->latest_cxt == NULL)
			reader->latest_cxt = AllocSetContextCreate(reader->cxt, "magic latest directory",
													   ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(reader->latest_cxt);
		reader->latest_packs = directory_load(reader->storage, latest, 0, InvalidRowNumber);
		MemoryContextSwitchTo(old);
		UnregisterSnapshot(latest);
	}
	return reader->latest_packs != NULL;
}

typedef enum PackLookup
{
	LOOKUP_FOUND,
	LOOKUP_HOLE, /* a pack covers the row and does not hold it: dead for everybody */
	LOOKUP_UNCOVERED
} PackLookup;

/* Looks the row up in the directory as it is now. */
static PackLookup
locate_latest(RowReader *reader, RowNumber row, RowPlace *place)
{
	PackEntry entry = {0};
	bool covered;
	bool owned = false;

	covered = latest_list_valid(reader) && find_in_list(reader->latest_packs, row, &entry);
	if (!covered)
		covered = known_pack_find(reader->storage, row, NULL, &entry, &owned);
	if (!covered)
		return LOOKUP_UNCOVERED;
	place->reader = open_pack(reader, &entry);
	if (owned && entry.inline_bytes)
		pfree(entry.inline_bytes);
	if (!pack_find(place->reader, (uint32) (row - entry.first), &place->index))
		return LOOKUP_HOLE;
	place->found = ROW_PACK;
	place->xmin = entry.xmin;
	place->cmin = entry.cmin;
	return LOOKUP_FOUND;
}

/* Looks the row up in the overlay. */
static bool
locate_in_overlay(RowReader *reader, RowNumber row, RowPlace *place)
{
	Segment *segment = writer_find_segment(reader->storage, row);

	if (segment == NULL)
		return false;
	place->found = ROW_SEGMENT;
	place->segment = segment;
	place->index = (uint32) (row - segment->first);
	place->xmin = segment->xid;
	place->cmin = segment->cid;
	return true;
}

/*
 * Was the row inserted, as the snapshot sees it, whether or not it is deleted? For snapshots that are
 * not MVCC: as of now. The place stays valid until the reader is used again.
 */
bool
row_reader_locate(RowReader *reader, RowNumber row, Snapshot snapshot, RowPlace *place)
{
	place->found = ROW_MISSING;
	place->hole = false;
	if (locate_in_overlay(reader, row, place))
	{
		if (IsMVCCSnapshot(snapshot) && place->segment->cid >= snapshot->curcid)
			place->found = ROW_MISSING;
		return place->found != ROW_MISSING;
	}
	if (IsMVCCSnapshot(snapshot))
		return locate_in_packs(reader, row, snapshot, place);
	return locate_latest(reader, row, place) == LOOKUP_FOUND;
}

/*
 * Is the row deleted for the MVCC snapshot? If `all_dead` is given it says whether the deletion is older
 * than every snapshot.
 */
static bool
deleted_for(RowReader *reader, RowNumber row, Snapshot snapshot, bool *all_dead)
{
	DeleteInfo info;
	bool deleted;

	if (writer_find_delete(reader->storage, row, &info) && info.cmax < snapshot->curcid)
		return true;
	use_snapshot(reader, snapshot);
	if (reader->deletes != NULL)
	{
		if (!delete_map_contains(reader->deletes, row))
			return false;
		if (all_dead)
			*all_dead = delete_map_contains(reader->settled, row);
		return true;
	}
	if (deleted_known(reader->rel, reader->storage, row, snapshot, &deleted, all_dead))
		return deleted;
	if (!deleted_probe(reader->storage, row, snapshot, &info))
		return false;
	if (all_dead)
		*all_dead = !info.own && settled_for_all(reader->rel, info.xmax);
	return true;
}

/*
 * Is the row deleted for the MVCC snapshot by what is in memory? Asked before anything is read of a row: an
 * index may have many entries of dead versions of one row. `all_dead` as in deleted_for().
 */
static bool
deleted_by_known(RowReader *reader, RowNumber row, Snapshot snapshot, bool *all_dead)
{
	bool deleted;

	use_snapshot(reader, snapshot);
	if (reader->deletes == NULL)
		return deleted_known(reader->rel, reader->storage, row, snapshot, &deleted, all_dead) &&
			   deleted;
	if (!delete_map_contains(reader->deletes, row))
		return false;
	if (all_dead)
		*all_dead = delete_map_contains(reader->settled, row);
	return true;
}

/*
 * Was the row never committed, nor will it ever be? So it is if its inserter has aborted. The order
 * matters: a row in progress is announced in shared memory until its directory row is inserted, that one
 * is seen under SnapshotDirty until it is committed, and a committed one is found under a snapshot taken
 * after that, whatever a merge makes of it meanwhile.
 */
static bool
row_never_was(RowReader *reader, RowNumber row)
{
	ReservedRange range;
	SnapshotData dirty;
	PackEntry entry = {0};
	bool found;

	if (writer_find_segment(reader->storage, row) != NULL ||
		reserved_find(reader->storage, row, &range))
		return false;
	InitDirtySnapshot(dirty);
	found = directory_find(reader->storage, row, &dirty, &entry);
	if (!found)
	{
		Snapshot latest = latest_snapshot_register();

		found = directory_find(reader->storage, row, latest, &entry);
		UnregisterSnapshot(latest);
	}
	if (found && entry.inline_bytes)
		pfree(entry.inline_bytes);
	return !found;
}

/* Is the row dead for everybody, as far as can be told cheaply? */
bool
row_settled_dead(Relation rel, RowNumber row)
{
	RowReader *reader = row_reader_shared(rel);
	RowPlace place = {0};

	if (writer_find_segment(reader->storage, row) != NULL ||
		writer_find_delete(reader->storage, row, NULL))
		return false;
	if (deleted_latest(reader->storage, row, NULL) &&
		(deleted_latest_settled(rel, reader->storage, row) ||
		 deleted_settled(reader->storage, row)))
		return true;
	switch (locate_latest(reader, row, &place))
	{
		case LOOKUP_HOLE:
			return true;
		case LOOKUP_FOUND:
			return false;
		case LOOKUP_UNCOVERED:
			return row_never_was(reader, row);
	}
	return false;
}

static void
fill_slot(RowReader *reader, RowNumber row, const RowPlace *place, TupleTableSlot *slot)
{
	/*
	 * What uses the row may scan the table and so flush the segment. Shared readers outlive scans; their
	 * callers materialise the row, or look at it at once.
	 */
	if (place->found == ROW_SEGMENT && !reader->shared)
	{
		reader->held = place->segment;
		reader->held->refs++;
	}
	slot->tts_tableOid = RelationGetRelid(reader->rel);
	if (!slot_is_magic(slot))
	{
		int natts = reader->desc->natts;

		ExecClearTuple(slot);
		for (int att = 0; att < natts; att++)
			slot->tts_values[att] =
				place->found == ROW_SEGMENT
					? segment_fetch_att(place->segment->writer, reader->desc, att, place->index,
										&slot->tts_isnull[att])
					: pack_read_datum(place->reader, att, place->index, &reader->buffers[att],
									  &slot->tts_isnull[att]);
		ExecStoreVirtualTuple(slot);
		row_to_tid(row, &slot->tts_tid);
	}
	else if (place->found == ROW_SEGMENT)
		magic_slot_set_segment(slot, place->segment, place->index, row);
	else
		magic_slot_set_pack(slot, place->reader, reader->buffers, place->index, row, place->xmin,
							place->cmin);
}

/* A row whose values are not known here: another backend is inserting it. */
static void
fill_unknown(RowReader *reader, RowNumber row, TupleTableSlot *slot)
{
	ExecStoreAllNullTuple(slot);
	slot->tts_tableOid = RelationGetRelid(reader->rel);
	row_to_tid(row, &slot->tts_tid);
}

/* The inserter of a pack that covers the row and is not committed; retry: it is committed by now. */
static TransactionId
inserter_in_progress(RowReader *reader, RowNumber row, bool *retry)
{
	SnapshotData dirty;
	PackEntry entry;

	*retry = false;
	InitDirtySnapshot(dirty);
	if (!directory_find(reader->storage, row, &dirty, &entry))
		return InvalidTransactionId;
	if (entry.inline_bytes)
		pfree(entry.inline_bytes);
	if (!TransactionIdIsValid(dirty.xmin))
		*retry = true;
	return dirty.xmin;
}

/*
 * A unique check: rows that are live now, being inserted or being deleted. Sets the snapshot's xmin,
 * xmax and token to what the caller has to wait for, as HeapTupleSatisfiesDirty does.
 *
 * The order matters. Who deletes a row holds its lock, and is known as its holder, until the deletion is visible,
 * so the holder is looked for first: a deletion that is not visible after that had not begun. Deltas are read before the
 * directory: a merge takes dead rows out of both, and then the row is a hole in the newer directory.
 * `all_dead` as in row_reader_fetch().
 */
static bool
fetch_dirty(RowReader *reader, RowNumber row, Snapshot snapshot, TupleTableSlot *slot,
			bool *all_dead)
{
	RowPlace place = {0};
	ReservedRange range;

	snapshot->xmin = snapshot->xmax = InvalidTransactionId;
	snapshot->speculativeToken = 0;
	if (writer_find_delete(reader->storage, row, NULL))
		return false;
	if (locate_in_overlay(reader, row, &place))
	{
		/* the deletion may be flushed although the row is not: it is of an inner subtransaction */
		if (deleted_latest(reader->storage, row, NULL))
			return false;
		fill_slot(reader, row, &place, slot);
		return true;
	}
	for (int attempt = 0; attempt < 100; attempt++)
	{
		TransactionId holder;
		TransactionId xid;
		PackLookup lookup;
		bool retry;

		if (reserved_find(reader->storage, row, &range))
		{
			if (exclusion_wait_for_values(reader->rel, row, range.xid, range.token))
				continue;
			snapshot->xmin = range.xid;
			snapshot->speculativeToken = range.token;
			fill_unknown(reader, row, slot);
			return true;
		}
		holder = row_lock_holder(reader->rel, row);
		if (deleted_latest(reader->storage, row, NULL))
		{
			if (all_dead)
				*all_dead = deleted_latest_settled(reader->rel, reader->storage, row);
			return false;
		}
		lookup = locate_latest(reader, row, &place);
		if (lookup == LOOKUP_HOLE)
		{
			if (all_dead)
				*all_dead = true;
			return false;
		}
		if (lookup == LOOKUP_FOUND)
		{
			snapshot->xmax = holder;
			fill_slot(reader, row, &place, slot);
			return true;
		}
		xid = inserter_in_progress(reader, row, &retry);
		if (TransactionIdIsValid(xid))
		{
			if (exclusion_wait_for_values(reader->rel, row, xid, 0))
				continue;
			snapshot->xmin = xid;
			fill_unknown(reader, row, slot);
			return true;
		}
		/* a merge may have moved the row away from under the scan that just looked for its inserter */
		if (!retry && row_never_was(reader, row))
		{
			if (all_dead)
				*all_dead = true;
			return false;
		}
	}
	elog(ERROR, "row " UINT64_FORMAT " changes too fast", row);
}

/*
 * Fetches the row into the slot if the snapshot sees it. The slot stays valid until the reader is used
 * again. SnapshotAny also returns deleted rows. If the row is not seen, `all_dead` (may be NULL, else
 * false on entry) says whether it is known that nobody sees it.
 */
bool
row_reader_fetch(RowReader *reader, RowNumber row, Snapshot snapshot, TupleTableSlot *slot,
				 bool *all_dead)
{
	RowPlace place = {0};

	release_segment(reader);
	if (snapshot->snapshot_type == SNAPSHOT_DIRTY)
		return fetch_dirty(reader, row, snapshot, slot, all_dead);
	/* deltas before directory, see fetch_dirty() */
	if (!IsMVCCSnapshot(snapshot) && snapshot->snapshot_type != SNAPSHOT_ANY)
	{
		if (deleted_latest(reader->storage, row, NULL))
			return false;
	}
	if (IsMVCCSnapshot(snapshot) && deleted_by_known(reader, row, snapshot, all_dead))
		return false;
	if (!row_reader_locate(reader, row, snapshot, &place))
	{
		if (all_dead)
			*all_dead = place.hole || (IsMVCCSnapshot(snapshot) && row_never_was(reader, row));
		return false;
	}
	if (IsMVCCSnapshot(snapshot) && deleted_for(reader, row, snapshot, all_dead))
		return false;
	fill_slot(reader, row, &place, slot);
	return true;
}

/* The same for a single row; the slot owns its values. */
bool
row_fetch(Relation rel, RowNumber row, Snapshot snapshot, TupleTableSlot *slot)
{
	bool found = row_reader_fetch(row_reader_shared(rel), row, snapshot, slot, NULL);

	if (found)
		ExecMaterializeSlot(slot);
	return found;
}

/* Does the snapshot see the row? */
bool
row_visible(Relation rel, RowNumber row, Snapshot snapshot)
{
	RowReader *reader = row_reader_shared(rel);
	RowPlace place = {0};

	if (!IsMVCCSnapshot(snapshot) && deleted_latest(reader->storage, row, NULL))
		return false;
	return row_reader_locate(reader, row, snapshot, &place) &&
		   (!IsMVCCSnapshot(snapshot) || !deleted_for(reader, row, snapshot, NULL));
}

/* Has the row, as it was inserted, the same values as the slot in the attributes of the set? */
bool
row_has_values(Relation rel, RowNumber row, const Bitmapset *atts, TupleTableSlot *slot)
{
	RowReader *reader = row_reader_shared(rel);
	RowPlace place = {0};
	int member = -1;

	if (!row_reader_locate(reader, row, SnapshotAny, &place))
		return false;
	while ((member = bms_next_member(atts, member)) >= 0)
	{
		int att = member + FirstLowInvalidHeapAttributeNumber - 1;
		Form_pg_attribute form;
		Datum old;
		Datum new;
		bool old_null;
		bool new_null;

		if (att < 0)
			return false;
		form = TupleDescAttr(reader->desc, att);
		old = place.found == ROW_SEGMENT ? segment_fetch_att(place.segment->writer, reader->desc,
															 att, place.index, &old_null)
										 : pack_read_datum(place.reader, att, place.index,
														   &reader->buffers[att], &old_null);
		new = slot_getattr(slot, att + 1, &new_null);
		if (old_null != new_null ||
			(!old_null && !datum_image_eq(old, new, form->attbyval, form->attlen)))
			return false;
	}
	return true;
}
