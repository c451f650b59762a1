/*
 * directory.c
 *		The engine's heap tables: magic.pack, magic.delete_delta, magic.free_extent.
 *
 * Rows are inserted and deleted, never updated. A row's visibility is the visibility of what it names,
 * so the reader's choice of snapshot is everything; see lookup.c and scan.c.
 *
 * Rows are inserted with the command id of the command that made the change, which may be older than the
 * current one, and with the xid of the current subtransaction: callers make sure that it is the owner.
 *
 * Locks: RowExclusiveLock on the three tables, taken at the first write of a transaction
 * (directory_lock_for_write) and kept, so that reads under an index page's lock find the lock and the
 * relation cache entries already there.
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

/* The fixed part of a row of magic.pack. */
typedef struct PackForm
{
	int64 storage;
	int64 first_row;
	int64 span;
	int64 rows;
	int64 length;
	int64 block;
	int64 pages;
} PackForm;

typedef struct DeltaForm
{
	int64 storage;
	int64 block;
} DeltaForm;

typedef struct FreeExtentForm
{
	int64 storage;
	int64 block;
	int64 pages;
} FreeExtentForm;

#define PACK_NATTS 8
#define PACK_DATA 8 /* attribute number of the inline bytes */
#define DELTA_NATTS 3
#define DELTA_ENTRIES 3
#define FREE_EXTENT_NATTS 3

typedef enum MetaTable
{
	META_PACK,
	META_DELTA,
	META_FREE,
	META_TABLES
} MetaTable;

static const char *const meta_names[META_TABLES] = {"pack", "delete_delta", "free_extent"};
static const char *const meta_index_names[META_TABLES] = {"pack_idx", "delete_delta_idx",
														  "free_extent_idx"};

static Oid meta_oids[META_TABLES];
static Oid meta_index_oids[META_TABLES];
static bool invalidation_registered = false;

static void
forget_oids(Datum arg, Oid relid)
{
	for (int i = 0; i < META_TABLES; i++)
		if (relid == InvalidOid || relid == meta_oids[i] || relid == meta_index_oids[i])
			meta_oids[i] = meta_index_oids[i] = InvalidOid;
}

/* OID of a table of schema magic; InvalidOid if the extension is being dropped. */
Oid
magic_table_oid(const char *name)
{
	Oid namespace = get_namespace_oid("magic", true);

	return OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
}

/* Opens a metadata table and its index; false if they are gone (DROP EXTENSION CASCADE). */
static bool
meta_open(MetaTable which, LOCKMODE lock, Relation *table, Relation *index)
{
	Oid table_oid;
	Oid index_oid;

	if (!invalidation_registered)
	{
		CacheRegisterRelcacheCallback(forget_oids, (Datum) 0);
		invalidation_registered = true;
	}
	table_oid = meta_oids[which];
	index_oid = meta_index_oids[which];
	if (!OidIsValid(table_oid) || !OidIsValid(index_oid))
	{
		/* looking up the second may take in an invalidation that empties the arrays: into variables first */
		index_oid = magic_table_oid(meta_index_names[which]);
		table_oid = magic_table_oid(meta_names[which]);
		meta_index_oids[which] = index_oid;
		meta_oids[which] = table_oid;
	}
	if (!OidIsValid(table_oid) || !OidIsValid(index_oid))
		return false;
	*table = table_open(table_oid, lock);
	*index = index_open(index_oid, lock);
	return true;
}

static void
meta_open_or_raise(MetaTable which, LOCKMODE lock, Relation *table, Relation *index)
{
	if (!meta_open(which, lock, table, index))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table magic.%s does not exist", meta_names[which]),
						errhint("Run CREATE EXTENSION magic_fdw in this database.")));
}

/* Locks are kept to the end of the transaction. */
static void
meta_close(Relation table, Relation index)
{
	index_close(index, NoLock);
	table_close(table, NoLock);
}

/* Takes the writers' lock on all metadata tables; called when a command first writes to a table. */
void
directory_lock_for_write(void)
{
	for (int i = 0; i < META_TABLES; i++)
	{
		Relation table, index;

		meta_open_or_raise(i, RowExclusiveLock, &table, &index);
		meta_close(table, index);
	}
}

/*
 * xids before this one are older than every snapshot that may read the metadata. It may step back: see
 * settled_note(), which is told of it.
 */
TransactionId
directory_horizon(void)
{
	Relation table, index;
	TransactionId horizon;
	TransactionId newest;

	meta_open_or_raise(META_PACK, AccessShareLock, &table, &index);
	horizon = GetOldestNonRemovableTransactionId(table);
	meta_close(table, index);
	newest = horizon;
	TransactionIdRetreat(newest);
	settled_note(newest);
	return horizon;
}

/*
 * Scans of the metadata under an MVCC snapshot, in index order. In a SERIALIZABLE transaction they take
 * no predicate locks: tables that have nothing to do with each other share the metadata's pages, and who
 * reads a magic table has locked that. Writers that the snapshot does not see are told apart by their
 * rows, so the check for conflicts out is made for each.
 */
static SysScanDesc
meta_scan_begin(Relation table, Relation index, Snapshot snapshot, int nkeys, ScanKey key)
{
	bool unlocked = IsolationIsSerializable() && IsMVCCSnapshot(snapshot);

	return systable_beginscan_ordered(table, index, unlocked ? SnapshotAny : snapshot, nkeys, key);
}

/* The next row that the snapshot sees, valid until the next call; NULL at the end. */
static HeapTuple
meta_scan_next(SysScanDesc scan, Snapshot snapshot, ScanDirection direction)
{
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, direction)))
	{
		Buffer buffer;
		bool visible;

		CHECK_FOR_INTERRUPTS();
		if (scan->iscan->xs_snapshot->snapshot_type != SNAPSHOT_ANY)
			break;
		buffer = ((BufferHeapTupleTableSlot *) scan->slot)->buffer;
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		visible = HeapTupleSatisfiesVisibility(tuple, snapshot, buffer);
		HeapCheckForSerializableConflictOut(visible, scan->heap_rel, tuple, buffer, snapshot);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		if (visible)
			break;
	}
	return tuple;
}

static void
meta_insert(MetaTable which, Datum *values, bool *nulls, int nkeys, CommandId cid)
{
	Relation table, index;
	HeapTuple tuple;

	meta_open_or_raise(which, RowExclusiveLock, &table, &index);
	Assert((MyProc->statusFlags & PROC_IN_VACUUM) == 0);
	tuple = heap_form_tuple(RelationGetDescr(table), values, nulls);
	heap_insert(table, tuple, cid, HEAP_INSERT_NO_LOGICAL, NULL);
	/* The keys of each index are the first columns of its table. */
	index_insert(index, values, nulls, &tuple->t_self, table, UNIQUE_CHECK_NO, false, NULL);
	heap_freetuple(tuple);
	meta_close(table, index);
}

/* Deletes a row; false if another transaction has done so, or is about to and we shall not wait. */
static bool
meta_delete(MetaTable which, ItemPointer tid, bool wait)
{
	Relation table, index;
	TM_FailureData tmfd;
	TM_Result result;

	meta_open_or_raise(which, RowExclusiveLock, &table, &index);
	Assert((MyProc->statusFlags & PROC_IN_VACUUM) == 0);
	result =
		heap_delete(table, tid, GetCurrentCommandId(true), InvalidSnapshot, wait, &tmfd, false);
	meta_close(table, index);
	if (result == TM_Updated || result == TM_Deleted || result == TM_BeingModified)
		return false;
	if (result != TM_Ok && result != TM_SelfModified)
		elog(ERROR, "unexpected result %d while deleting from magic.%s", result, meta_names[which]);
	return true;
}

/* ---------------------------------------------------------------- packs */

void
directory_insert(uint64 storage, const PackEntry *entry, CommandId cid)
{
	Datum values[PACK_NATTS];
	bool nulls[PACK_NATTS] = {0};
	bytea *data = NULL;

	values[0] = Int64GetDatum(storage);
	values[1] = Int64GetDatum(entry->first);
	values[2] = Int64GetDatum(entry->span);
	values[3] = Int64GetDatum(entry->rows);
	values[4] = Int64GetDatum(entry->length);
	values[5] = Int64GetDatum(entry->extent.pages > 0 ? (int64) entry->extent.first : -1);
	values[6] = Int64GetDatum(entry->extent.pages);
	nulls[7] = entry->inline_bytes == NULL;
	values[7] = (Datum) 0;
	if (entry->inline_bytes != NULL)
	{
		data = palloc(VARHDRSZ + entry->length);
		SET_VARSIZE(data, VARHDRSZ + entry->length);
		memcpy(VARDATA(data), entry->inline_bytes, entry->length);
		values[7] = PointerGetDatum(data);
	}
	meta_insert(META_PACK, values, nulls, 2, cid);
	if (data)
		pfree(data);
}

/* Deletes a directory row; 40001 if another transaction has replaced the pack. */
void
directory_delete(uint64 storage, const PackEntry *entry)
{
	ItemPointerData tid = entry->tid;

	if (!meta_delete(META_PACK, &tid, true))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("packs were merged or removed concurrently")));
	pack_removals_bump(storage, entry->first);
}

/* Is the row, just returned by a scan under SnapshotAny, dead for every snapshot? */
static bool
tuple_dead_for_all(HeapTuple tuple, SysScanDesc scan, TransactionId horizon)
{
	Buffer buffer = ((BufferHeapTupleTableSlot *) scan->slot)->buffer;
	HTSV_Result result;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	result = HeapTupleSatisfiesVacuum(tuple, horizon, buffer);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return result == HEAPTUPLE_DEAD;
}

/* Reads a directory row; inline bytes are copied to the current context. */
static void
read_pack_entry(Relation table, HeapTuple tuple, PackEntry *entry)
{
	const PackForm *form = (const PackForm *) GETSTRUCT(tuple);

	entry->first = form->first_row;
	entry->span = (uint32) form->span;
	entry->rows = (uint32) form->rows;
	entry->length = form->length;
	entry->extent.first = form->pages > 0 ? (BlockNumber) form->block : InvalidBlockNumber;
	entry->extent.pages = (uint32) form->pages;
	entry->inline_bytes = NULL;
	entry->tid = tuple->t_self;
	entry->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	entry->raw_xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	entry->cmin = TransactionIdIsCurrentTransactionId(entry->xmin)
					  ? HeapTupleHeaderGetCmin(tuple->t_data)
					  : FirstCommandId;
	if (form->pages == 0)
	{
		bool isnull;
		Datum data = heap_getattr(tuple, PACK_DATA, RelationGetDescr(table), &isnull);
		struct varlena *bytes;

		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED), errmsg("magic.pack has a row without data"),
					 errdetail("Storage " INT64_FORMAT ", first row " INT64_FORMAT ".",
							   form->storage, form->first_row)));
		bytes = (struct varlena *) DatumGetPointer(data);
		if (VARATT_IS_EXTERNAL(bytes) || VARATT_IS_COMPRESSED(bytes))
			elog(ERROR, "magic.pack has a toasted row");
		if (VARSIZE_ANY_EXHDR(bytes) != entry->length)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("magic.pack has a row whose data has another length than it says"),
					 errdetail("Storage " INT64_FORMAT ", first row " INT64_FORMAT ".",
							   form->storage, form->first_row)));
		entry->inline_bytes = palloc(entry->length);
		memcpy(entry->inline_bytes, VARDATA_ANY(bytes), entry->length);
	}
}

/*
 * The packs that `snapshot` sees and that overlap [from, to), ascending, in the current context.
 * Raises if two of them overlap.
 */
PackList *
directory_load(uint64 storage, Snapshot snapshot, RowNumber from, RowNumber to)
{
	Relation table, index;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	PackList *list = palloc0(sizeof(PackList));
	RowNumber previous_end = 0;

	/*
	 * pg_upgrade makes the schema first, partly before the metadata tables, and checks the constraints
	 * of tables that are empty until it puts their files in place.
	 */
	if (IsBinaryUpgrade)
		return list;
	meta_open_or_raise(META_PACK, AccessShareLock, &table, &index);
	list->allocated = 16;
	list->packs = palloc(sizeof(PackEntry) * list->allocated);
	ScanKeyInit(&key[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(storage));
	scan = meta_scan_begin(table, index, snapshot, 1, key);
	while (HeapTupleIsValid(tuple = meta_scan_next(scan, snapshot, ForwardScanDirection)))
	{
		const PackForm *form = (const PackForm *) GETSTRUCT(tuple);
		PackEntry *entry;

		CHECK_FOR_INTERRUPTS();
		if ((RowNumber) form->first_row >= to || (RowNumber) (form->first_row + form->span) <= from)
			continue;
		if (list->n == list->allocated)
		{
			list->allocated *= 2;
			list->packs = repalloc_huge(list->packs, sizeof(PackEntry) * list->allocated);
		}
		entry = &list->packs[list->n++];
		read_pack_entry(table, tuple, entry);
		if (entry->first < previous_end)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("packs overlap in magic.pack"),
							errdetail("Storage " UINT64_FORMAT ", first row " UINT64_FORMAT ".",
									  storage, entry->first)));
		previous_end = entry->first + entry->span;
	}
	systable_endscan_ordered(scan);
	meta_close(table, index);
	return list;
}

/*
 * Every pack version that somebody may see now or later: all directory rows but those that are dead for
 * everybody. They may overlap (a merge keeps row numbers).
 */
PackList *
directory_load_any(uint64 storage, TransactionId horizon)
{
	Relation table, index;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	PackList *list = palloc0(sizeof(PackList));

	meta_open_or_raise(META_PACK, AccessShareLock, &table, &index);
	list->allocated = 16;
	list->packs = palloc(sizeof(PackEntry) * list->allocated);
	ScanKeyInit(&key[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(storage));
	scan = systable_beginscan(table, RelationGetRelid(index), true, SnapshotAny, 1, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (tuple_dead_for_all(tuple, scan, horizon))
			continue;
		if (list->n == list->allocated)
		{
			list->allocated *= 2;
			list->packs = repalloc_huge(list->packs, sizeof(PackEntry) * list->allocated);
		}
		read_pack_entry(table, tuple, &list->packs[list->n++]);
	}
	systable_endscan(scan);
	meta_close(table, index);
	return list;
}

/* The pack that `snapshot` sees and that covers `row`; false if there is none. */
bool
directory_find(uint64 storage, RowNumber row, Snapshot snapshot, PackEntry *entry)
{
	bool lasting;
	uint64 removals;

	return directory_find_lasting(storage, row, snapshot, entry, &lasting, &removals);
}

/*
 * The same. *lasting: the row is committed, if the snapshot is an MVCC one, and nobody had begun to delete it
 * when pack_removals_read() was *removals.
 */
bool
directory_find_lasting(uint64 storage, RowNumber row, Snapshot snapshot, PackEntry *entry,
					   bool *lasting, uint64 *removals)
{
	Relation table, index;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	*lasting = false;
	if (IsBinaryUpgrade)
		return false;
	meta_open_or_raise(META_PACK, AccessShareLock, &table, &index);
	ScanKeyInit(&key[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(storage));
	ScanKeyInit(&key[1], 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(row));
	scan = meta_scan_begin(table, index, snapshot, 2, key);
	tuple = meta_scan_next(scan, snapshot, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		const PackForm *form = (const PackForm *) GETSTRUCT(tuple);

		if (row < (RowNumber) (form->first_row + form->span))
		{
			read_pack_entry(table, tuple, entry);
			found = true;
			/* in this order, see directory_cache.c */
			*removals = pack_removals_read(storage, entry->first);
			*lasting = (((volatile HeapTupleHeaderData *) tuple->t_data)->t_infomask &
						HEAP_XMAX_INVALID) != 0 &&
					   !TransactionIdIsCurrentTransactionId(entry->xmin);
		}
	}
	systable_endscan_ordered(scan);
	meta_close(table, index);
	return found;
}

/*
 * The extents that a snapshot may still read: of all directory rows but those that are dead for
 * everybody. `horizon` from directory_horizon(). Palloc'd, in no order.
 */
Extent *
directory_references(uint64 storage, TransactionId horizon, int *count)
{
	Relation table, index;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	int room = 64;
	Extent *list = palloc(sizeof(Extent) * room);

	*count = 0;
	meta_open_or_raise(META_PACK, AccessShareLock, &table, &index);
	ScanKeyInit(&key[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(storage));
	scan = systable_beginscan(table, RelationGetRelid(index), true, SnapshotAny, 1, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		const PackForm *form = (const PackForm *) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		if (form->pages == 0 || tuple_dead_for_all(tuple, scan, horizon))
			continue;
		if (*count == room)
			list = repalloc_huge(list, sizeof(Extent) * (room *= 2));
		list[*count].first = (BlockNumber) form->block;
		list[*count].pages = (uint32) form->pages;
		(*count)++;
	}
	systable_endscan(scan);
	meta_close(table, index);
	return list;
}

/* ---------------------------------------------------------------- deltas */

/* What the last four bytes of a delta are: CRC-32C of storage, block and entries. */
static uint32
delta_crc(uint64 storage, uint64 block, const uint8 *entries, int length)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &storage, sizeof(storage));
	COMP_CRC32C(crc, &block, sizeof(block));
	COMP_CRC32C(crc, entries, length);
	FIN_CRC32C(crc);
	return crc;
}

/* Writes a delta; of a merge, it says what others have said that are older than every snapshot. */
void
delta_insert(uint64 storage, uint64 block, const uint8 *entries, int length, CommandId cid,
			 bool merge)
{
	Datum values[DELTA_NATTS];
	bool nulls[DELTA_NATTS] = {0};
	uint32 crc = delta_crc(storage, block, entries, length);
	bytea *data = palloc(VARHDRSZ + length + sizeof(crc));

	SET_VARSIZE(data, VARHDRSZ + length + sizeof(crc));
	memcpy(VARDATA(data), entries, length);
	memcpy(VARDATA(data) + length, &crc, sizeof(crc));
	values[0] = Int64GetDatum(storage);
	values[1] = Int64GetDatum(block);
	values[2] = PointerGetDatum(data);
	if (merge)
		delta_log_begin_merge(storage, block);
	else
		delta_log_begin(storage, block, entries, length);
	meta_insert(META_DELTA, values, nulls, 2, cid);
	pfree(data);
}

/* Calls back for each delta that `snapshot` sees: of one delete block, or of all (block = -1). */
void
delta_scan(uint64 storage, int64 block, Snapshot snapshot, DeltaCallback callback, void *arg)
{
	Relation table, index;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;

	if (IsBinaryUpgrade)
		return;
	meta_open_or_raise(META_DELTA, AccessShareLock, &table, &index);
	ScanKeyInit(&key[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(storage));
	if (block >= 0)
		ScanKeyInit(&key[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(block));
	scan = meta_scan_begin(table, index, snapshot, block >= 0 ? 2 : 1, key);
	while (HeapTupleIsValid(tuple = meta_scan_next(scan, snapshot, ForwardScanDirection)))
	{
		const DeltaForm *form = (const DeltaForm *) GETSTRUCT(tuple);
		bool isnull;
		Datum data = heap_getattr(tuple, DELTA_ENTRIES, RelationGetDescr(table), &isnull);
		struct varlena *bytes = (struct varlena *) DatumGetPointer(data);
		DeltaRow row;
		uint32 crc;

		CHECK_FOR_INTERRUPTS();
		if (isnull || VARATT_IS_EXTERNAL(bytes) || VARATT_IS_COMPRESSED(bytes))
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("magic.delete_delta has a malformed row")));
		row.block = form->block;
		row.entries = (const uint8 *) VARDATA_ANY(bytes);
		row.length = (int) VARSIZE_ANY_EXHDR(bytes) - (int) sizeof(crc);
		if (row.length >= 0)
			memcpy(&crc, row.entries + row.length, sizeof(crc));
		if (row.length < 0 || crc != delta_crc(storage, row.block, row.entries, row.length))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("magic.delete_delta has a row with a wrong checksum"),
					 errdetail("Storage " UINT64_FORMAT ", delete block " UINT64_FORMAT
							   ", block %u of \"magic.delete_delta\".",
							   storage, row.block, ItemPointerGetBlockNumber(&tuple->t_self))));
		row.xmin = HeapTupleHeaderGetXmin(tuple->t_data);
		row.cmin = TransactionIdIsCurrentTransactionId(row.xmin)
					   ? HeapTupleHeaderGetCmin(tuple->t_data)
					   : FirstCommandId;
		row.tid = tuple->t_self;
		callback(&row, arg);
	}
	systable_endscan_ordered(scan);
	meta_close(table, index);
}

/* Deletes a delta of the block that is older than every snapshot; 40001 if another transaction has done so. */
void
delta_delete(uint64 storage, uint64 block, ItemPointer tid)
{
	delta_log_begin_merge(storage, block);
	if (!meta_delete(META_DELTA, tid, true))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("deletions were merged concurrently")));
}

/* ---------------------------------------------------------------- free extents */

/* Records that the extent is free once the current transaction is older than every snapshot. */
void
free_extent_insert(uint64 storage, const Extent *extent)
{
	Datum values[FREE_EXTENT_NATTS];
	bool nulls[FREE_EXTENT_NATTS] = {0};

	values[0] = Int64GetDatum(storage);
	values[1] = Int64GetDatum(extent->first);
	values[2] = Int64GetDatum(extent->pages);
	meta_insert(META_FREE, values, nulls, 1, GetCurrentCommandId(true));
}

/* The free extents that `snapshot` sees; returns their number, the list is palloc'd. */
int
free_extent_list(uint64 storage, Snapshot snapshot, FreeExtent **list)
{
	Relation table, index;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	int n = 0;
	int room = 16;

	*list = palloc(sizeof(FreeExtent) * room);
	meta_open_or_raise(META_FREE, AccessShareLock, &table, &index);
	ScanKeyInit(&key[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(storage));
	scan = meta_scan_begin(table, index, snapshot, 1, key);
	while (HeapTupleIsValid(tuple = meta_scan_next(scan, snapshot, ForwardScanDirection)))
	{
		const FreeExtentForm *form = (const FreeExtentForm *) GETSTRUCT(tuple);

		if (n == room)
			*list = repalloc(*list, sizeof(FreeExtent) * (room *= 2));
		(*list)[n].extent.first = (BlockNumber) form->block;
		(*list)[n].extent.pages = (uint32) form->pages;
		(*list)[n].xmin = HeapTupleHeaderGetXmin(tuple->t_data);
		(*list)[n].tid = tuple->t_self;
		n++;
	}
	systable_endscan_ordered(scan);
	meta_close(table, index);
	return n;
}

/* Takes a free extent; false if another transaction has it. */
bool
free_extent_delete(ItemPointer tid)
{
	return meta_delete(META_FREE, tid, false);
}

/* ---------------------------------------------------------------- whole storages */

static void
forget_in(MetaTable which, uint64 storage, Snapshot snapshot)
{
	Relation table, index;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;

	if (!meta_open(which, RowExclusiveLock, &table, &index))
		return;
	ScanKeyInit(&key[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(storage));
	scan = meta_scan_begin(table, index, snapshot, 1, key);
	while (HeapTupleIsValid(tuple = meta_scan_next(scan, snapshot, ForwardScanDirection)))
	{
		TM_FailureData tmfd;

		CHECK_FOR_INTERRUPTS();
		heap_delete(table, &tuple->t_self, GetCurrentCommandId(true), InvalidSnapshot, true, &tmfd,
					false);
	}
	systable_endscan_ordered(scan);
	meta_close(table, index);
}

/*
 * Deletes everything that the metadata says of a storage, transactionally: the table is being dropped,
 * truncated or rewritten by this transaction. Does nothing if the metadata tables are gone.
 */
void
directory_forget_storage(uint64 storage)
{
	Snapshot snapshot;

	/* rows that the current command wrote cannot be deleted by it */
	CommandCounterIncrement();
	snapshot = latest_snapshot_register();
	for (int i = 0; i < META_TABLES; i++)
		forget_in(i, storage, snapshot);
	UnregisterSnapshot(snapshot);
}

/*
 * The lowest storage above `after` that the metadata names; false if there is none. *settled: the row found
 * is older than `horizon`.
 */
bool
directory_next_storage(uint64 after, TransactionId horizon, uint64 *storage, bool *settled)
{
	Snapshot snapshot = latest_snapshot_register();
	uint64 lowest = PG_UINT64_MAX;

	*settled = false;
	for (int i = 0; i < META_TABLES; i++)
	{
		Relation table, index;
		ScanKeyData key[1];
		SysScanDesc scan;
		HeapTuple tuple;

		meta_open_or_raise(i, AccessShareLock, &table, &index);
		ScanKeyInit(&key[0], 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
		scan = systable_beginscan_ordered(table, index, snapshot, 1, key);
		tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		if (HeapTupleIsValid(tuple))
		{
			/* the first column of each */
			uint64 found = ((const PackForm *) GETSTRUCT(tuple))->storage;
			bool old = TransactionIdPrecedes(HeapTupleHeaderGetXmin(tuple->t_data), horizon);

			if (found <= lowest)
				*settled = old || (found == lowest && *settled);
			lowest = Min(lowest, found);
		}
		systable_endscan_ordered(scan);
		meta_close(table, index);
	}
	UnregisterSnapshot(snapshot);
	*storage = lowest;
	return lowest != PG_UINT64_MAX;
}
