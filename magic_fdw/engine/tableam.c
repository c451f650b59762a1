/*
 * tableam.c
 *		The table access method `magic`: the routine table, and the callbacks too small for a file.
 */
#include "engine/compaction.h"
#include "engine/engine_int.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "optimizer/plancat.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(magic_tableam_handler);
PGDLLEXPORT Datum magic_tableam_handler(PG_FUNCTION_ARGS);

static const TupleTableSlotOps *
magic_slot_callbacks(Relation rel)
{
	return &TTSOpsMagic;
}

/* ---------------------------------------------------------------- index fetches */

typedef struct MagicIndexFetch
{
	IndexFetchTableData base;
	RowReader *reader;
	MemoryContext cxt;
} MagicIndexFetch;

static IndexFetchTableData *
magic_index_fetch_begin(Relation rel)
{
	MagicIndexFetch *fetch = palloc0(sizeof(MagicIndexFetch));

	fetch->base.rel = rel;
	fetch->cxt = CurrentMemoryContext;
	exclusion_scan_begins(rel);
	return &fetch->base;
}

/* Opened packs stay: an inner index scan is rescanned for every outer row. */
static void
magic_index_fetch_reset(IndexFetchTableData *scan)
{
}

static void
magic_index_fetch_end(IndexFetchTableData *scan)
{
	MagicIndexFetch *fetch = (MagicIndexFetch *) scan;

	if (fetch->reader)
		row_reader_free(fetch->reader);
	pfree(fetch);
}

static bool
magic_index_fetch_tuple(IndexFetchTableData *scan, ItemPointer tid, Snapshot snapshot,
						TupleTableSlot *slot, bool *call_again, bool *all_dead)
{
	MagicIndexFetch *fetch = (MagicIndexFetch *) scan;

	*call_again = false;
	if (all_dead)
		*all_dead = false;
	/* a deferred unique check reads the slot after it has ended the fetch */
	if (snapshot->snapshot_type == SNAPSHOT_SELF)
		return row_fetch(scan->rel, tid_to_row(tid), snapshot, slot);
	/* a unique check: one row, under the index page's lock; or an exclusion constraint's */
	exclusion_fetch_begins(scan);
	if (!IsMVCCSnapshot(snapshot))
		return row_reader_fetch(row_reader_shared(scan->rel), tid_to_row(tid), snapshot, slot,
								all_dead);
	if (fetch->reader == NULL)
	{
		storage_check_snapshot(scan->rel, snapshot);
		PredicateLockRelation(scan->rel, snapshot);
		fetch->reader = row_reader_create(scan->rel, slot->tts_tupleDescriptor, fetch->cxt);
	}
	return row_reader_fetch(fetch->reader, tid_to_row(tid), snapshot, slot, all_dead);
}

/* ---------------------------------------------------------------- single rows */

static bool
magic_fetch_row_version(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	DeleteInfo info;

	if (!tid_is_row(tid))
		return false;
	if (IsMVCCSnapshot(snapshot))
	{
		storage_check_snapshot(rel, snapshot);
		PredicateLockRelation(rel, snapshot);
	}
	if (!row_fetch(rel, tid_to_row(tid), snapshot, slot))
		return false;
	/* DELETE RETURNING shows who has deleted the row */
	if (snapshot->snapshot_type == SNAPSHOT_ANY && slot_is_magic(slot) &&
		writer_find_delete(storage_id(rel), tid_to_row(tid), &info))
		((MagicSlot *) slot)->xmax = info.xmax;
	return true;
}

static bool
magic_tuple_satisfies_snapshot(Relation rel, TupleTableSlot *slot, Snapshot snapshot)
{
	return row_visible(rel, tid_to_row(&slot->tts_tid), snapshot);
}

/* Entries that one bottom-up pass looks at. */
#define BOTTOM_UP_PROBES 64

/*
 * Simple deletion: entries marked dead by scans stay marked, the others are not looked at. Bottom-up
 * deletion: entries of rows that are dead for everybody are marked, until enough space is found. Returns
 * the newest xid whose removal a standby must know of: any that entries can have been marked for.
 */
static TransactionId
magic_index_delete_tuples(Relation rel, TM_IndexDeleteOp *delstate)
{
	int freed = 0;
	int probes = 0;
	bool any = !delstate->bottomup;

	if (delstate->bottomup)
		for (int i = 0; i < delstate->ndeltids && probes < BOTTOM_UP_PROBES &&
						freed < delstate->bottomupfreespace;
			 i++)
		{
			TM_IndexDelete *entry = &delstate->deltids[i];
			TM_IndexStatus *status = &delstate->status[entry->id];

			if (!status->promising && !status->knowndeletable)
				continue;
			probes++;
			if (!status->knowndeletable && row_settled_dead(rel, tid_to_row(&entry->tid)))
				status->knowndeletable = true;
			if (status->knowndeletable)
			{
				freed += status->freespace;
				any = true;
			}
		}
	if (!any)
	{
		delstate->ndeltids = 0;
		return InvalidTransactionId;
	}
	(void) directory_horizon();
	return settled_newest();
}

static void
magic_finish_bulk_insert(Relation rel, int options)
{
	writer_flush(rel);
}

/* ---------------------------------------------------------------- sizes */

/* Of magic.pack, magic.delta and their indexes: root, leaf and heap page of each, and two more. */
#define SCAN_METADATA_PAGES 8

static bool
magic_needs_toast_table(Relation rel)
{
	return false;
}

/*
 * Rows: what VACUUM or ANALYZE counted, or more if the statistics know of more; before the first of
 * them, the row numbers given out. Never more than those: the statistics count insertions twice that
 * reach them after an ANALYZE which has seen them.
 *
 * Pages: those of the file and, unless there are no rows, those of the metadata that every sequential scan
 * begins with. Without them a table of few rows would always be scanned, however often its rows change; a heap
 * table that is updated as often grows by as many pages, and its key's index is used.
 */
static void
magic_estimate_size(Relation rel, int32 *attr_widths, BlockNumber *pages, double *tuples,
					double *allvisfrac)
{
	PgStat_StatTabEntry *stats = pgstat_fetch_stat_tabentry(RelationGetRelid(rel));
	MetaInfo info;

	*pages = RelationGetNumberOfBlocks(rel);
	*allvisfrac = 0;
	storage_read_meta(rel, &info);
	*tuples = rel->rd_rel->reltuples >= 0 ? rel->rd_rel->reltuples : (double) info.next_row;
	if (stats != NULL && compat_live_tuples(stats) > *tuples)
		*tuples = Min((double) compat_live_tuples(stats), (double) info.next_row);
	if (*tuples > 0)
		*pages += SCAN_METADATA_PAGES;
	if (attr_widths != NULL)
		(void) get_rel_data_width(rel, attr_widths);
}

COMPAT_ANALYZE_NEXT_BLOCK(magic_analyze_next_block, scan_analyze_block);

static const TableAmRoutine magic_methods = {
	.type = T_TableAmRoutine,

	.slot_callbacks = magic_slot_callbacks,

	.scan_begin = scan_begin,
	.scan_end = scan_end,
	.scan_rescan = scan_rescan,
	.scan_getnextslot = scan_getnextslot,
	.scan_set_tidrange = scan_set_tidrange,
	.scan_getnextslot_tidrange = scan_getnextslot_tidrange,

	.parallelscan_estimate = scan_parallel_estimate,
	.parallelscan_initialize = scan_parallel_initialize,
	.parallelscan_reinitialize = scan_parallel_reinitialize,

	.index_fetch_begin = magic_index_fetch_begin,
	.index_fetch_reset = magic_index_fetch_reset,
	.index_fetch_end = magic_index_fetch_end,
	.index_fetch_tuple = magic_index_fetch_tuple,

	.tuple_fetch_row_version = magic_fetch_row_version,
	.tuple_tid_valid = scan_tid_valid,
	.tuple_get_latest_tid = scan_get_latest_tid,
	.tuple_satisfies_snapshot = magic_tuple_satisfies_snapshot,
	.index_delete_tuples = magic_index_delete_tuples,

	.tuple_insert = dml_insert,
	.tuple_insert_speculative = dml_insert_speculative,
	.tuple_complete_speculative = dml_complete_speculative,
	.multi_insert = dml_multi_insert,
	.tuple_delete = dml_delete,
	.tuple_update = dml_update,
	.tuple_lock = dml_lock,
	.finish_bulk_insert = magic_finish_bulk_insert,

	.relation_set_new_filelocator = ddl_set_new_filelocator,
	.relation_nontransactional_truncate = ddl_nontransactional_truncate,
	.relation_copy_data = ddl_copy_data,
	.relation_copy_for_cluster = ddl_copy_for_cluster,
	.relation_vacuum = vacuum_table,
	.scan_analyze_next_block = magic_analyze_next_block,
	.scan_analyze_next_tuple = scan_analyze_next_tuple,
	.index_build_range_scan = index_build_range_scan,
	.index_validate_scan = index_validate_scan,

	.relation_size = page_relation_size,
	.relation_needs_toast_table = magic_needs_toast_table,
	.relation_toast_am = NULL,
	.relation_fetch_toast_slice = NULL,

	.relation_estimate_size = magic_estimate_size,

	.scan_bitmap_next_block = scan_bitmap_next_block,
	.scan_bitmap_next_tuple = scan_bitmap_next_tuple,

	.scan_sample_next_block = scan_sample_next_block,
	.scan_sample_next_tuple = scan_sample_next_tuple};

Datum
magic_tableam_handler(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&magic_methods);
}

void
engine_init(void)
{
	engine_shmem_init();
	stored_pack_init();
	pack_cache_init();
	compaction_init();
	writer_init();
	ddl_init();
	plan_hooks_init();
}
