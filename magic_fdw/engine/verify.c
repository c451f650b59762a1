/*
 * verify.c
 *		magic.verify: are directory, packs, deltas and indexes of a table sound, and do they agree?
 *
 * Problems are rows of the result, not errors. Checked are: order and overlap of the directory; extents
 * against the file and each other; page tags, checksums, lengths and zone maps of every pack
 * (pack_verify); deltas (rows below next_row, successors too); and for each btree index that every live
 * row has an entry and no entry points above next_row. Each part runs in a subtransaction of its own: data
 * that cannot even be read ends its part and is reported, and the other parts are still checked.
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(magic_verify);
PG_FUNCTION_INFO_V1(magic_table_size);
PGDLLEXPORT Datum magic_verify(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum magic_table_size(PG_FUNCTION_ARGS);

typedef struct Verify
{
	ReturnSetInfo *result;
	Relation rel;
	MetaInfo meta;
	Snapshot snapshot;
	PackList *packs;
	const PackEntry *pack; /* being checked */
	MemoryContext cxt;	   /* of what outlives a part */
} Verify;

static void
report(Verify *verify, const char *part, int64 block, int64 row, const char *problem)
{
	Datum values[4];
	bool nulls[4] = {0};

	values[0] = CStringGetTextDatum(part);
	values[1] = Int64GetDatum(block);
	nulls[1] = block < 0;
	values[2] = Int64GetDatum(row);
	nulls[2] = row < 0;
	values[3] = CStringGetTextDatum(problem);
	tuplestore_putvalues(verify->result->setResult, verify->result->setDesc, values, nulls);
}

static void
report_pack(void *arg, int att, const char *problem)
{
	Verify *verify = arg;
	const char *part = "pack";

	if (att >= 0 && att < RelationGetNumberOfAttributes(verify->rel))
		part = psprintf("pack, column %s",
						NameStr(TupleDescAttr(RelationGetDescr(verify->rel), att)->attname));
	report(verify, part, verify->pack->extent.pages > 0 ? (int64) verify->pack->extent.first : -1,
		   verify->pack->first, problem);
}

/*
 * Runs a function in a subtransaction. If it fails returns its error, in the current memory context, and the
 * subtransaction is rolled back; else NULL. What this transaction has pending must have been flushed.
 */
ErrorData *
run_guarded(void (*run)(void *arg), void *arg)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		run(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return error;
}

typedef struct VerifyPart
{
	Verify *verify;
	void (*check)(Verify *verify, void *arg);
	void *arg;
} VerifyPart;

static void
run_part(void *arg)
{
	VerifyPart *part = arg;

	part->check(part->verify, part->arg);
}

/*
 * Runs a part of the check in a subtransaction. What it finds unreadable is reported as a problem of
 * `part`, or of the pack being checked if that is NULL. The part's memory goes with it.
 */
static void
guarded(Verify *verify, void (*check)(Verify *verify, void *arg), void *arg, const char *part)
{
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic verify", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	VerifyPart run = {.verify = verify, .check = check, .arg = arg};
	ErrorData *error = run_guarded(run_part, &run);

	if (error != NULL)
	{
		const char *problem;

		if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED &&
			error->sqlerrcode != ERRCODE_INDEX_CORRUPTED)
			ReThrowError(error);
		problem =
			error->detail ? psprintf("%s: %s", error->message, error->detail) : error->message;
		if (part != NULL)
			report(verify, part, -1, -1, problem);
		else
			report_pack(verify, -1, problem);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/*
 * A page that the server cannot read is to be found here: pack_verify() goes on after an error without the rollback
 * that ends a read of a buffer, and whoever wanted the page then would wait for good.
 */
static void
read_pages(Relation rel, const PackEntry *pack)
{
	for (uint32 i = 0; i < pack->extent.pages; i++)
	{
		CHECK_FOR_INTERRUPTS();
		ReleaseBuffer(ReadBuffer(rel, pack->extent.first + i));
	}
}

static void
verify_pack_bytes(Verify *verify, void *arg)
{
	const PackEntry *pack = arg;
	StoredPack stored;
	PackReader *reader = stored_pack_open(&stored, verify->rel, pack, RelationGetDescr(verify->rel),
										  NULL, false, CurrentMemoryContext);

	if (pack_nrows(reader) != pack->rows || pack_span(reader) != pack->span)
		report_pack(verify, -1, "has other rows than the directory says");
	read_pages(verify->rel, pack);
	pack_verify(reader, report_pack, verify);
	stored_pack_close(&stored);
}

static void
verify_pack(Verify *verify, PackEntry *pack)
{
	verify->pack = pack;
	if (pack->first + pack->span > verify->meta.next_row)
		report_pack(verify, -1, "covers row numbers that were never given out");
	if (pack->extent.pages > 0 &&
		pack->extent.first + (uint64) pack->extent.pages > RelationGetNumberOfBlocks(verify->rel))
		report_pack(verify, -1, "lies beyond the end of the file");
	else
		guarded(verify, verify_pack_bytes, pack, NULL);
}

static int
compare_entries(const void *a, const void *b)
{
	BlockNumber x = (*(PackEntry *const *) a)->extent.first;
	BlockNumber y = (*(PackEntry *const *) b)->extent.first;

	return x < y ? -1 : x > y;
}

static void
verify_extents(Verify *verify)
{
	PackEntry **sorted = palloc(sizeof(PackEntry *) * (verify->packs->n + 1));
	int n = 0;

	for (int i = 0; i < verify->packs->n; i++)
		if (verify->packs->packs[i].extent.pages > 0)
			sorted[n++] = &verify->packs->packs[i];
	qsort(sorted, n, sizeof(PackEntry *), compare_entries);
	for (int i = 1; i < n; i++)
		if (sorted[i - 1]->extent.first + sorted[i - 1]->extent.pages > sorted[i]->extent.first)
			report(verify, "directory", sorted[i]->extent.first, sorted[i]->first,
				   "two packs share pages");
}

static void
verify_delta(const DeltaRow *row, void *arg)
{
	Verify *verify = arg;
	const uint8 *p = row->entries;
	const uint8 *end = p + row->length;
	DeltaCursor cursor = {0};
	DeltaEntry entry;

	while (delta_next(&p, end, &cursor, &entry))
	{
		RowNumber number = row->block * DELETE_BLOCK_ROWS + entry.offset;

		if (number >= verify->meta.next_row)
			report(verify, "deletions", -1, number, "row number was never given out");
		if (delete_kind_updates(entry.kind) &&
			(entry.successor >= verify->meta.next_row || entry.successor == number))
			report(verify, "deletions", -1, number, "successor cannot be right");
	}
}

static void
verify_deltas(Verify *verify, void *arg)
{
	delta_scan(verify->meta.storage, -1, verify->snapshot, verify_delta, verify);
}

static void
load_directory(Verify *verify, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(verify->cxt);

	verify->packs = directory_load(verify->meta.storage, verify->snapshot, 0, InvalidRowNumber);
	MemoryContextSwitchTo(old);
}

/* Was the row number given out, also to rows that others insert meanwhile? */
static bool
given_out(Verify *verify, RowNumber row)
{
	MetaInfo now;

	if (row < verify->meta.next_row)
		return true;
	storage_read_meta(verify->rel, &now);
	return row < now.next_row;
}

/* Every live row must have an entry; entries may point to dead rows, but not beyond the table. */
static void
check_entries(Verify *verify, Relation index)
{
	const char *part = psprintf("index %s", RelationGetRelationName(index));
	IndexScanDesc scan = index_beginscan(verify->rel, index, SnapshotAny, 0, 0);
	DeleteMap *indexed = delete_map_create(CurrentMemoryContext);
	IndexInfo *info = BuildIndexInfo(index);
	EState *estate = CreateExecutorState();
	ExprContext *econtext = GetPerTupleExprContext(estate);
	ExprState *predicate = ExecPrepareQual(info->ii_Predicate, estate);
	TupleTableSlot *slot = table_slot_create(verify->rel, NULL);
	TableScanDesc rows;
	ItemPointer tid;

	econtext->ecxt_scantuple = slot;
	index_rescan(scan, NULL, 0, NULL, 0);
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		RowNumber row = tid_to_row(tid);

		CHECK_FOR_INTERRUPTS();
		if (!tid_is_row(tid) || !given_out(verify, row))
			report(verify, part, -1, row, "entry points to a row number that was never given out");
		else
			delete_map_add(indexed, row);
	}
	index_endscan(scan);
	rows = scan_begin(verify->rel, verify->snapshot, 0, NULL, NULL, SO_TYPE_SEQSCAN);
	while (scan_getnextslot(rows, ForwardScanDirection, slot))
	{
		RowNumber row = tid_to_row(&slot->tts_tid);

		CHECK_FOR_INTERRUPTS();
		ResetExprContext(econtext);
		if (predicate != NULL && !ExecQual(predicate, econtext))
			continue;
		if (!delete_map_contains(indexed, row))
			report(verify, part, -1, row, "live row has no entry");
	}
	scan_end(rows);
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
}

/* Predicates call functions of the table's owner: they run with the owner's rights, not the caller's. */
static void
verify_index(Verify *verify, void *arg)
{
	int nest = NewGUCNestLevel();
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(verify->rel->rd_rel->relowner, context | SECURITY_RESTRICTED_OPERATION);
	check_entries(verify, arg);
	AtEOXact_GUC(false, nest);
	SetUserIdAndSecContext(user, context);
}

static Relation
open_checked(Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);

	if (!engine_is_magic(rel))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table of access method magic",
							   RelationGetRelationName(rel))));
	return rel;
}

Datum
magic_verify(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	Verify verify = {0};
	List *indexes;
	ListCell *lc;

	InitMaterializedSRF(fcinfo, 0);
	verify.result = (ReturnSetInfo *) fcinfo->resultinfo;
	verify.rel = open_checked(relid);
	if (!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(verify.rel->rd_rel->relkind),
					   RelationGetRelationName(verify.rel));
	writer_flush(verify.rel);
	/* what the snapshot sees was given out before next_row is read */
	verify.snapshot = latest_snapshot_register();
	storage_read_meta(verify.rel, &verify.meta);
	verify.cxt = CurrentMemoryContext;
	guarded(&verify, load_directory, NULL, "directory");
	for (int i = 0; verify.packs != NULL && i < verify.packs->n; i++)
		verify_pack(&verify, &verify.packs->packs[i]);
	if (verify.packs != NULL)
		verify_extents(&verify);
	guarded(&verify, verify_deltas, NULL, "deletions");
	indexes = RelationGetIndexList(verify.rel);
	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index->rd_rel->relam == BTREE_AM_OID && index->rd_index->indisready &&
			index->rd_index->indisvalid)
			guarded(&verify, verify_index, index,
					psprintf("index %s", RelationGetRelationName(index)));
		index_close(index, AccessShareLock);
	}
	UnregisterSnapshot(verify.snapshot);
	table_close(verify.rel, AccessShareLock);
	return (Datum) 0;
}

static void
add_delta_length(const DeltaRow *row, void *arg)
{
	*(int64 *) arg += row->length;
}

Datum
magic_table_size(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	Relation rel = open_checked(relid);
	Snapshot snapshot;
	PackList *packs;
	int64 size;

	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
		!object_ownercheck(RelationRelationId, relid, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
	writer_flush(rel);
	snapshot = latest_snapshot_register();
	size = (int64) RelationGetNumberOfBlocks(rel) * BLCKSZ;
	packs = directory_load(storage_id(rel), snapshot, 0, InvalidRowNumber);
	for (int i = 0; i < packs->n; i++)
		if (packs->packs[i].extent.pages == 0)
			size += packs->packs[i].length;
	delta_scan(storage_id(rel), -1, snapshot, add_delta_length, &size);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	PG_RETURN_INT64(size);
}
