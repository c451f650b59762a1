/*
 * inprocess_write.c
 *		The in-process engine writes a batch: locate and delete old rows, insert new ones.
 *
 * Table with a key.  Deletes come sorted by key; each is one probe of the unique index with a
 * scan that stays open, and a delete by TID. Inserts go to the access method in chunks; their
 * index entries are made with the key's uniqueness check in its "partial" form (as for ON
 * CONFLICT): it never raises and never waits, it only says "may conflict". So a stream of
 * inserts pays no probe of its own, and only for a key said to be in conflict the old row is
 * looked up and deleted. Any other unique index on the table raises as usual.
 *
 * Table without a key.  Rows are matched whole, by the image of each value: the wanted images
 * stand in a hash table with a count, one scan of the table deletes as many rows of each image.
 * The scan ends when all are found.
 *
 * Visibility.  Every call starts with a command counter increment and a new snapshot, so that it
 * sees what earlier calls wrote, and nothing of what it writes itself.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_index.h"
#include "catalog/pg_opfamily.h"
#include "common/hashfn.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "api/engine_inprocess.h"
#include "engine/engine.h"

/*
 * Does this index locate rows by exactly the key columns of the batch?
 */
static bool
index_fits_key(MagicTable *table, Relation index, const MagicBatch *batch, int nkeys)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indimmediate || !form->indisvalid || !form->indisready)
		return false;
	if (form->indnkeyatts != nkeys || index->rd_rel->relam != BTREE_AM_OID)
		return false;
	if (RelationGetIndexExpressions(index) != NIL || RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int i = 0; i < nkeys; i++)
	{
		int c;

		for (c = 0; c < batch->ncolumns; c++)
			if (batch->columns[c].key && batch->columns[c].attno == form->indkey.values[i])
				break;
		if (c == batch->ncolumns)
			return false;
		table->key_column[i] = c;
	}
	return true;
}

static void
init_scan_keys(MagicTable *table, Relation index)
{
	TupleDesc desc = RelationGetDescr(index);

	for (int i = 0; i < table->nkeys; i++)
	{
		Oid opfamily = index->rd_opfamily[i];
		Oid opcintype = index->rd_opcintype[i];
		Oid op = get_opfamily_member(opfamily, opcintype, opcintype, BTEqualStrategyNumber);

		if (!OidIsValid(op))
			elog(ERROR, "missing equality operator in opfamily %u", opfamily);
		ScanKeyEntryInitialize(&table->keys[i], 0, i + 1, BTEqualStrategyNumber,
							   TupleDescAttr(desc, i)->atttypid, index->rd_indcollation[i],
							   get_opcode(op), (Datum) 0);
	}
}

/*
 * Find the unique index over the batch's key columns. It stays open with the table.
 */
static void
find_key_index(MagicTable *table, const MagicBatch *batch)
{
	int nkeys = 0;
	MemoryContext old;

	if (table->key_index != NULL)
		return;
	for (int c = 0; c < batch->ncolumns; c++)
		if (batch->columns[c].key)
			nkeys++;
	if (nkeys == 0)
		return;
	for (int i = 0; i < table->result_rel->ri_NumIndices; i++)
	{
		Relation index = table->result_rel->ri_IndexRelationDescs[i];

		if (!index_fits_key(table, index, batch, nkeys))
			continue;
		old = MemoryContextSwitchTo(table->conn->txn);
		table->nkeys = nkeys;
		table->key_index = index_open(RelationGetRelid(index), RowExclusiveLock);
		table->arbiters = list_make1_oid(RelationGetRelid(index));
		init_scan_keys(table, index);
		MemoryContextSwitchTo(old);
		return;
	}
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("table \"%s\" has no unique index over the feed's key columns",
						   RelationGetRelationName(table->rel)),
					errhint("Create the primary key again, or change the key with "
							"magic.set_key().")));
}

static void
delete_row(MagicTable *table, ItemPointer tid, CommandId cid, Snapshot snapshot)
{
	TM_FailureData tmfd;
	TM_Result outcome =
		table_tuple_delete(table->rel, tid, cid, snapshot, InvalidSnapshot, true, &tmfd, false);

	if (outcome != TM_Ok)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("row of table \"%s\" was changed by another session while the feed "
							   "was applying",
							   RelationGetRelationName(table->rel))));
}

/*
 * Delete the rows that have the key of image `row`: at most one unless the index is broken.
 */
static int
delete_by_key(MagicTable *table, IndexScanDesc scan, const MagicBatch *batch, int row,
			  CommandId cid, Snapshot snapshot)
{
	int deleted = 0;

	for (int i = 0; i < table->nkeys; i++)
	{
		MagicVector *vector = &batch->columns[table->key_column[i]];

		if (vector->nulls[row])
			return 0;
		table->keys[i].sk_argument = vector->values[row];
	}
	index_rescan(scan, table->keys, table->nkeys, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, table->found))
	{
		delete_row(table, &table->found->tts_tid, cid, snapshot);
		deleted++;
	}
	return deleted;
}

static void
delete_keyed(MagicTable *table, const MagicBatch *batch, CommandId cid, Snapshot snapshot,
			 MagicWriteResult *result)
{
	IndexScanDesc scan = index_beginscan(table->rel, table->key_index, snapshot, table->nkeys, 0);

	for (int i = 0; i < batch->ndeletes; i++)
	{
		int deleted = delete_by_key(table, scan, batch, batch->deletes[i], cid, snapshot);

		CHECK_FOR_INTERRUPTS();
		result->deleted += deleted;
		if (deleted == 0)
			result->missing++;
	}
	ExecClearTuple(table->found);
	index_endscan(scan);
}

/* ---------------------------------------------------------------- without a key */

typedef struct WantedRow
{
	uint32 hash;
	int32 row;	 /* image in the batch */
	int32 count; /* rows to delete */
	char status;
} WantedRow;

/* What the hash functions look at: images of the batch, or the row of a scan. */
typedef struct WantedRows
{
	const MagicBatch *batch;
	TupleDesc desc;
	TupleTableSlot *probe; /* stands for "image" PROBE_ROW */
} WantedRows;

#define PROBE_ROW (-1)

static bool images_equal(WantedRows *rows, int32 a, int32 b);

#define SH_PREFIX wanted
#define SH_ELEMENT_TYPE WantedRow
#define SH_KEY_TYPE int32
#define SH_KEY row
#define SH_HASH_KEY(tb, key) 0 /* always given by the caller */
#define SH_EQUAL(tb, a, b) images_equal((WantedRows *) (tb)->private_data, a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static Datum
image_value(WantedRows *rows, int32 row, int c, bool *isnull)
{
	MagicVector *vector = &rows->batch->columns[c];

	if (row == PROBE_ROW)
	{
		*isnull = rows->probe->tts_isnull[vector->attno - 1];
		return rows->probe->tts_values[vector->attno - 1];
	}
	*isnull = vector->nulls[row];
	return vector->values[row];
}

static bool
images_equal(WantedRows *rows, int32 a, int32 b)
{
	for (int c = 0; c < rows->batch->ncolumns; c++)
	{
		Form_pg_attribute att = TupleDescAttr(rows->desc, rows->batch->columns[c].attno - 1);
		bool null_a;
		bool null_b;
		Datum value_a = image_value(rows, a, c, &null_a);
		Datum value_b = image_value(rows, b, c, &null_b);

		if (null_a != null_b)
			return false;
		if (!null_a && !datum_image_eq(value_a, value_b, att->attbyval, att->attlen))
			return false;
	}
	return true;
}

static uint32
image_hash(WantedRows *rows, int32 row)
{
	uint32 hash = 0;

	for (int c = 0; c < rows->batch->ncolumns; c++)
	{
		Form_pg_attribute att = TupleDescAttr(rows->desc, rows->batch->columns[c].attno - 1);
		bool isnull;
		Datum value = image_value(rows, row, c, &isnull);

		hash = hash_combine(hash, isnull ? 0 : datum_image_hash(value, att->attbyval, att->attlen));
	}
	return hash;
}

static void
delete_keyless(MagicTable *table, const MagicBatch *batch, CommandId cid, Snapshot snapshot,
			   MagicWriteResult *result)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "magic keyless deletes",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext per_row = AllocSetContextCreate(work, "row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	WantedRows rows = {.batch = batch, .desc = RelationGetDescr(table->rel)};
	wanted_hash *wanted = wanted_create(work, batch->ndeletes, &rows);
	int64 left = batch->ndeletes;
	TableScanDesc scan;

	for (int i = 0; i < batch->ndeletes; i++)
	{
		bool found;
		WantedRow *entry = wanted_insert_hash(wanted, batch->deletes[i],
											  image_hash(&rows, batch->deletes[i]), &found);

		entry->count = found ? entry->count + 1 : 1;
	}

	scan = table_beginscan(table->rel, snapshot, 0, NULL);
	rows.probe = table->found;
	MemoryContextSwitchTo(per_row);
	while (left > 0 && table_scan_getnextslot(scan, ForwardScanDirection, table->found))
	{
		WantedRow *entry;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(per_row);
		slot_getallattrs(table->found);
		entry = wanted_lookup_hash(wanted, PROBE_ROW, image_hash(&rows, PROBE_ROW));
		if (entry == NULL || entry->count == 0)
			continue;
		delete_row(table, &table->found->tts_tid, cid, snapshot);
		entry->count--;
		left--;
		result->deleted++;
	}
	table_endscan(scan);
	ExecClearTuple(table->found);
	result->missing += left;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
}

/* ---------------------------------------------------------------- inserts */

/*
 * The i-th slot of a chunk, made on first use in the transaction's memory.
 */
static TupleTableSlot *
chunk_slot(MagicTable *table, int i)
{
	if (i >= table->nslots)
	{
		MemoryContext old = MemoryContextSwitchTo(table->conn->txn);

		if (table->slots == NULL)
			table->slots = palloc(INPROCESS_INSERT_CHUNK * sizeof(TupleTableSlot *));
		table->slots[i] = table_slot_create(table->rel, NULL);
		table->nslots = i + 1;
		MemoryContextSwitchTo(old);
	}
	return table->slots[i];
}

static void
fill_slot(MagicTable *table, TupleTableSlot *slot, const MagicBatch *batch, int row)
{
	TupleDesc desc = slot->tts_tupleDescriptor;

	ExecClearTuple(slot);
	if (batch->ncolumns < desc->natts)
	{
		memset(slot->tts_isnull, true, desc->natts * sizeof(bool));
		memset(slot->tts_values, 0, desc->natts * sizeof(Datum));
	}
	for (int c = 0; c < batch->ncolumns; c++)
	{
		MagicVector *vector = &batch->columns[c];

		slot->tts_values[vector->attno - 1] = vector->values[row];
		slot->tts_isnull[vector->attno - 1] = vector->nulls[row];
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = table->relid;
	if (desc->constr != NULL)
	{
		if (desc->constr->has_generated_stored)
			ExecComputeStoredGenerated(table->result_rel, table->estate, slot, CMD_INSERT);
		ExecConstraints(table->result_rel, slot, table->estate);
	}
}

/*
 * Rows whose key the index had already: delete the old ones. Rows of this batch are invisible to
 * the snapshot.
 */
static void
replace_conflicts(MagicTable *table, const MagicBatch *batch, List *conflicts, CommandId cid,
				  Snapshot snapshot, MagicWriteResult *result)
{
	IndexScanDesc scan;
	ListCell *lc;

	if (conflicts == NIL)
		return;
	scan = index_beginscan(table->rel, table->key_index, snapshot, table->nkeys, 0);
	foreach (lc, conflicts)
	{
		int row = lfirst_int(lc);

		if (delete_by_key(table, scan, batch, row, cid, snapshot) == 0)
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("a key of table \"%s\" is being inserted by another session",
								   RelationGetRelationName(table->rel))));
		result->conflicts++;
	}
	ExecClearTuple(table->found);
	index_endscan(scan);
}

static void
insert_rows(MagicTable *table, const MagicBatch *batch, CommandId cid, Snapshot snapshot,
			MagicWriteResult *result)
{
	bool keyed = table->key_index != NULL;
	List *conflicts = NIL;

	if (table->bulk == NULL && batch->ninserts > 1)
	{
		MemoryContext old = MemoryContextSwitchTo(table->conn->txn);

		table->bulk = GetBulkInsertState();
		MemoryContextSwitchTo(old);
	}
	for (int from = 0; from < batch->ninserts; from += INPROCESS_INSERT_CHUNK)
	{
		int n = Min(INPROCESS_INSERT_CHUNK, batch->ninserts - from);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			fill_slot(table, chunk_slot(table, i), batch, batch->inserts[from + i]);
		table_multi_insert(table->rel, table->slots, n, cid, 0, table->bulk);
		for (int i = 0; i < n; i++)
		{
			if (table->result_rel->ri_NumIndices > 0 &&
				compat_ExecInsertIndexTuples(table->result_rel, table->slots[i], table->estate,
											 false, keyed, NULL, table->arbiters) != NIL)
				conflicts = lappend_int(conflicts, batch->inserts[from + i]);
			ExecClearTuple(table->slots[i]);
		}
		ResetPerTupleExprContext(table->estate);
	}
	result->inserted += batch->ninserts;
	replace_conflicts(table, batch, conflicts, cid, snapshot, result);
}

/* ---------------------------------------------------------------- entry points */

void
inprocess_write(MagicTable *table, const MagicBatch *batch, MagicWriteResult *result)
{
	SavedUser saved;
	Snapshot snapshot;
	CommandId cid;
	MemoryContext work;
	MemoryContext old;

	if (batch->version != MAGIC_BATCH_VERSION)
		elog(ERROR, "unknown batch version %u", batch->version);
	find_key_index(table, batch);

	work = AllocSetContextCreate(CurrentMemoryContext, "magic write", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(work);
	inprocess_become(table->rel->rd_rel->relowner, &saved);
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	snapshot = GetActiveSnapshot();
	cid = GetCurrentCommandId(true);

	if (batch->ndeletes > 0 && table->key_index != NULL)
		delete_keyed(table, batch, cid, snapshot, result);
	else if (batch->ndeletes > 0)
		delete_keyless(table, batch, cid, snapshot, result);
	if (batch->ninserts > 0)
		insert_rows(table, batch, cid, snapshot, result);

	PopActiveSnapshot();
	CommandCounterIncrement();
	inprocess_restore_user(&saved);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
}

/*
 * Delete every row: what a reader with an older snapshot sees does not change.
 */
int64
inprocess_truncate(MagicTable *table)
{
	Snapshot snapshot;
	CommandId cid;
	TableScanDesc scan;
	int64 n = 0;

	CommandCounterIncrement();
	if (engine_is_magic(table->rel))
	{
		PushActiveSnapshot(GetLatestSnapshot());
		n = (int64) engine_delete_all(table->rel);
		PopActiveSnapshot();
		CommandCounterIncrement();
		return n;
	}
	PushActiveSnapshot(GetLatestSnapshot());
	snapshot = GetActiveSnapshot();
	cid = GetCurrentCommandId(true);
	scan = table_beginscan(table->rel, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, table->found))
	{
		CHECK_FOR_INTERRUPTS();
		delete_row(table, &table->found->tts_tid, cid, snapshot);
		n++;
	}
	table_endscan(scan);
	ExecClearTuple(table->found);
	PopActiveSnapshot();
	CommandCounterIncrement();
	return n;
}
