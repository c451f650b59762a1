/*
 * engine_int.h
 *		What the files of the Magic Engine share.
 *
 * Words: a *storage* is the file of one table, known by a random 64-bit storage id that its metapage
 * holds. A *row number* is the position of a row in its storage, never reused. A *pack* is an immutable
 * group of rows over contiguous row numbers; the *directory* (heap table magic.pack) names the packs. A
 * *delta* (row of heap table magic.delete_delta) names dead rows of one delete block. A *segment* is a
 * run of rows that this backend has inserted and not written to the directory yet.
 */
#ifndef MAGIC_ENGINE_INT_H
#define MAGIC_ENGINE_INT_H

#include "magic_compat.h"

#include "access/htup.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "engine/engine.h"
#include "engine/pack.h"
#include "executor/tuptable.h"
#include "storage/buf.h"
#include "storage/block.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"

typedef uint64 RowNumber;

#define InvalidRowNumber PG_UINT64_MAX

/* Offsets above 291 would not fit a TID bitmap. */
static inline void
row_to_tid(RowNumber row, ItemPointer tid)
{
	ItemPointerSet(tid, (BlockNumber) (row / ENGINE_ROWS_PER_TID_BLOCK),
				   (OffsetNumber) (row % ENGINE_ROWS_PER_TID_BLOCK + 1));
}

static inline RowNumber
tid_to_row(const ItemPointerData *tid)
{
	return (RowNumber) ItemPointerGetBlockNumberNoCheck(tid) * ENGINE_ROWS_PER_TID_BLOCK +
		   ItemPointerGetOffsetNumberNoCheck(tid) - 1;
}

/* A TID that no row number has: offset 0 or above 291. */
static inline bool
tid_is_row(const ItemPointerData *tid)
{
	OffsetNumber off = ItemPointerGetOffsetNumberNoCheck(tid);

	return off >= 1 && off <= ENGINE_ROWS_PER_TID_BLOCK;
}

/* Highest row number plus one: block numbers end below InvalidBlockNumber. */
#define ROW_NUMBER_LIMIT ((RowNumber) ENGINE_ROWS_PER_TID_BLOCK * MaxBlockNumber)

/* Rows of a delete block: the unit of deltas and of lock escalation. */
#define DELETE_BLOCK_ROWS 16384
#define DELETE_BLOCK_BYTES (DELETE_BLOCK_ROWS / 8)

/* ---------------------------------------------------------------- shmem.c */

/*
 * One range of rows that a backend has reserved: [first, appended) are inserted and not in the
 * directory yet; [appended, reserved) may still become so.
 */
typedef struct ReservedRange
{
	uint64 storage;
	Oid database; /* set by reserved_publish(): a copied database has the same storages */
	RowNumber first;
	RowNumber appended;
	RowNumber reserved;
	TransactionId xid; /* the inserting (sub)transaction */
	uint32 token;	   /* of a speculative insertion, else 0 */
} ReservedRange;

extern void engine_shmem_init(void);
extern bool reserved_publish(const ReservedRange *range);
extern void reserved_set_appended(uint64 storage, RowNumber first, RowNumber appended,
								  RowNumber reserved, uint32 token);
extern void reserved_remove(uint64 storage, RowNumber first);
extern void reserved_remove_all(void);
extern int reserved_room(void);
extern bool reserved_crowded(void);
extern bool reserved_find(uint64 storage, RowNumber row, ReservedRange *out);
extern ReservedRange *reserved_list(uint64 storage, int *count);

/* Counter that moves whenever packs or deltas of the storage become visible or go. */
extern uint64 change_counter_read(uint64 storage);
extern void change_counter_bump(uint64 storage);

/* Directory rows and deltas written since the last merge, against when the next one is due. */
typedef enum MergeDue
{
	MERGE_NOT_DUE,
	MERGE_DUE,	  /* the worker should know */
	MERGE_WAITED, /* the worker was told */
	MERGE_OVERDUE /* and did not keep up */
} MergeDue;

extern MergeDue merge_note_writes(uint64 storage, uint32 writes);
extern uint32 merge_counted_writes(uint64 storage);
extern bool merge_done(uint64 storage, uint32 counted, uint32 remaining);

/* How far deletions have been taken for settled. */
extern void settled_note(TransactionId xid);
extern bool settled_for_all(Relation rel, TransactionId xid);
extern TransactionId settled_newest(void);

/* A random number of this run of the server. */
extern uint32 page_secret(void);

extern void prepared_note(void);
extern bool prepared_seen(void);

/* Moves when directory rows that begin at the row number are deleted, of this storage or others. */
extern uint64 pack_removals_read(uint64 storage, RowNumber first);
extern void pack_removals_bump(uint64 storage, RowNumber first);

/* ---------------------------------------------------------------- delta_log.c */

/* Rows that a note can name, and what it says of more. */
#define DELTA_NOTE_ROWS 3
#define DELTA_NOTE_REREAD PG_UINT16_MAX

/* One transaction's deltas of one delete block; compared as bytes. */
typedef struct DeltaNote
{
	uint64 storage;
	uint64 block;
	Oid database; /* a copied database has the same storages */
	TransactionId xid;
	uint64 fates[DELTA_NOTE_ROWS]; /* see delta_fate() */
	uint16 n;					   /* rows; 0: aborted, or a merge */
	uint16 offsets[DELTA_NOTE_ROWS];
} DeltaNote;

StaticAssertDecl(sizeof(DeltaNote) == 56, "notes of deltas have no padding");

/* Ended notes that a log keeps, and notes in progress. */
#define DELTA_LOG_NOTES 48
#define DELTA_LOG_RUNNING 48

extern Size delta_log_shmem_size(void);
extern void delta_log_shmem_startup(void);
extern void delta_log_begin(uint64 storage, uint64 block, const uint8 *entries, int length);
extern void delta_log_begin_merge(uint64 storage, uint64 block);
extern bool delta_log_own_merge(void);
extern void delta_log_end(bool committed);
extern void delta_log_prepared(void);
extern void delta_log_subtransaction_ends(SubTransactionId subid, SubTransactionId parent,
										  bool aborted);
extern uint32 delta_log_own_writes(uint64 storage, uint64 block);
extern uint64 delta_log_position(uint64 storage, uint64 block);
extern bool delta_log_read(uint64 storage, uint64 block, uint16 offset, uint64 *position,
						   DeltaNote *notes, int *n, bool *touched);
extern int delta_log_running(uint64 storage, uint64 block, uint16 offset, TransactionId *xids);

/* ---------------------------------------------------------------- storage.c */

#define MAGIC_FORMAT_VERSION 1

/* A run of pages of the main fork. */
typedef struct Extent
{
	BlockNumber first;
	uint32 pages;
} Extent;

/* Where a pack's bytes begin in a page: behind the page header and the page tag. */
#define PAGE_PAYLOAD_OFFSET (BLCKSZ - PACK_PAGE_PAYLOAD)

typedef struct MetaInfo
{
	uint64 storage;
	FullTransactionId rewriter;
	RowNumber next_row;
} MetaInfo;

extern uint64 storage_id(Relation rel);
extern bool storage_id_if_readable(Relation rel, uint64 *storage);
extern void storage_forget_cached(Relation rel);
extern void storage_read_meta(Relation rel, MetaInfo *info);
extern void storage_read_meta_and_ranges(Relation rel, MetaInfo *info, ReservedRange **ranges,
										 int *count);
extern void storage_create(const RelFileLocator *locator, char persistence, bool rewrite);
extern void storage_set_rewriter(Relation rel);
extern void storage_reset(Relation rel);
extern RowNumber storage_reserve_rows(Relation rel, uint64 wanted, ReservedRange *publish);
extern void storage_give_back_rows(Relation rel, RowNumber from, RowNumber to);
extern void storage_leave_file(Relation rel);
extern void storage_subtransaction_ends(SubTransactionId subid, SubTransactionId parent,
										bool aborted);
extern void storage_transaction_ends(void);
extern bool storage_page_leaked(Relation rel, BlockNumber block, TransactionId horizon);
extern TransactionId storage_page_writer(Relation rel, BlockNumber block);
extern void storage_write_pack(Relation rel, const PackBytes *bytes, Extent *extent);
extern bool storage_copy_pack_down(Relation rel, const Extent *from, uint64 length, Extent *to);
extern void storage_check_snapshot(Relation rel, Snapshot snapshot);
extern void storage_conflict_record(Relation rel, TransactionId latest_removed);

/* ---------------------------------------------------------------- page.c */

/* A table's file, as the checks of its pages need it. */
typedef struct PagePlace
{
	uint64 storage;
	uint32 written; /* from which its marks are made */
	uint32 checked;
	bool marks; /* checked marks may be set */
} PagePlace;

extern void page_place_init(PagePlace *place, Relation rel);
extern void page_fill(Page page, const PagePlace *place, BlockNumber block, const PackBytes *bytes,
					  uint32 index, TransactionId xid);
extern void page_note_use(Buffer buffer);
extern void page_prefetch(Buffer buffer, uint32 start, uint32 length);
extern void page_check(Relation rel, const PagePlace *place, Buffer buffer, BlockNumber block,
					   uint32 index);
extern const char *page_find_problem(const PagePlace *place, Buffer buffer, BlockNumber block,
									 uint32 index);
extern bool page_writer(Relation rel, BlockNumber block, TransactionId *xid);
extern Buffer page_read(Relation rel, BlockNumber block, BufferAccessStrategy strategy);
extern uint64 page_relation_size(Relation rel, ForkNumber fork);

/* ---------------------------------------------------------------- directory.c */

/* One row of magic.pack. */
typedef struct PackEntry
{
	RowNumber first;
	uint32 span;
	uint32 rows;			/* stored rows */
	Extent extent;			/* pages = 0: inline */
	uint64 length;			/* bytes of the pack */
	uint8 *inline_bytes;	/* in the reader's context, or NULL */
	ItemPointerData tid;	/* of the directory row */
	TransactionId xmin;		/* that wrote the entry */
	TransactionId raw_xmin; /* the same, never frozen: who the row is */
	CommandId cmin;			/* meaningful if xmin is ours */
} PackEntry;

typedef struct PackList
{
	int n;
	int allocated;
	PackEntry *packs; /* ascending by first */
} PackList;

extern void directory_lock_for_write(void);
extern void directory_insert(uint64 storage, const PackEntry *entry, CommandId cid);
extern void directory_delete(uint64 storage, const PackEntry *entry);
extern PackList *directory_load(uint64 storage, Snapshot snapshot, RowNumber from, RowNumber to);
extern PackList *directory_load_any(uint64 storage, TransactionId horizon);
extern bool directory_find(uint64 storage, RowNumber row, Snapshot snapshot, PackEntry *entry);
extern bool directory_find_lasting(uint64 storage, RowNumber row, Snapshot snapshot,
								   PackEntry *entry, bool *lasting, uint64 *removals);
extern void directory_forget_storage(uint64 storage);
extern Extent *directory_references(uint64 storage, TransactionId horizon, int *count);

extern void delta_insert(uint64 storage, uint64 block, const uint8 *entries, int length,
						 CommandId cid, bool merge);
typedef struct DeltaRow
{
	uint64 block;
	const uint8 *entries; /* valid during the call */
	int length;
	TransactionId xmin;
	CommandId cmin;
	ItemPointerData tid;
} DeltaRow;
typedef void (*DeltaCallback)(const DeltaRow *row, void *arg);
extern void delta_scan(uint64 storage, int64 block, Snapshot snapshot, DeltaCallback callback,
					   void *arg);
extern void delta_delete(uint64 storage, uint64 block, ItemPointer tid);

extern void free_extent_insert(uint64 storage, const Extent *extent);
typedef struct FreeExtent
{
	Extent extent;
	TransactionId xmin;
	ItemPointerData tid;
} FreeExtent;
extern int free_extent_list(uint64 storage, Snapshot snapshot, FreeExtent **list);
extern bool free_extent_delete(ItemPointer tid);
extern TransactionId directory_horizon(void);
extern bool directory_next_storage(uint64 after, TransactionId horizon, uint64 *storage,
								   bool *settled);
extern int orphans_sweep(void);
extern Oid magic_table_oid(const char *name);

/* ---------------------------------------------------------------- directory_cache.c */

extern bool known_pack_find(uint64 storage, RowNumber row, Snapshot snapshot, PackEntry *entry,
							bool *owned);

/* ---------------------------------------------------------------- stored_pack.c */

/* A pack source over the pages of an extent. */
typedef struct PagedSource
{
	PackSource base;
	Relation rel;
	PagePlace place;
	BlockNumber first;
	BufferAccessStrategy strategy;
	bool copies; /* keeps no pins: every fetch copies */
	int nstreams;
	Buffer *pins;	/* one per stream */
	uint32 npages;	/* of the extent */
	Buffer *recent; /* with `copies`, by page of the extent: where it was last, or NULL */
} PagedSource;

extern void paged_source_init(PagedSource *source, Relation rel, const Extent *extent,
							  uint64 length, int natts, BufferAccessStrategy strategy);
extern void paged_source_release(PagedSource *source);

/* A pack of the directory, opened for reading. */
typedef struct StoredPack
{
	PackReader *reader; /* NULL: not open */
	bool is_paged;
	PagedSource paged;
	PackMemorySource memory;
} StoredPack;

extern PackReader *stored_pack_open(StoredPack *stored, Relation rel, const PackEntry *entry,
									TupleDesc desc, BufferAccessStrategy strategy, bool copies,
									MemoryContext cxt);
extern void stored_pack_close(StoredPack *stored);
extern void stored_pack_init(void);
extern bool stored_packs_skipped(Relation rel);
extern bool stored_pack_sound(Relation rel, const PackEntry *entry, TupleDesc desc);

/* ---------------------------------------------------------------- cached_pack.c */

/* An opened pack that this backend keeps; while it is out, of one reader. */
typedef struct CachedPack CachedPack;

extern void pack_cache_init(void);
extern CachedPack *pack_cache_take(Relation rel, uint64 storage, const PackEntry *entry);
extern PackReader *cached_pack_reader(CachedPack *pack, Relation rel);
extern void pack_cache_put(CachedPack *pack);
extern void pack_cache_drop(CachedPack *pack);

/* ---------------------------------------------------------------- deletes.c */

typedef enum DeleteKind
{
	DELETE_DELETED,
	DELETE_UPDATED, /* successor is the new row */
	DELETE_MOVED,	/* to another partition */
	DELETE_KEPT_KEY /* as DELETE_UPDATED; the new row is known to have the same keys */
} DeleteKind;

/* Has a row that was deleted so a successor? */
#define delete_kind_updates(kind) ((kind) == DELETE_UPDATED || (kind) == DELETE_KEPT_KEY)

/* Bitmaps of dead rows, by delete block. */
typedef struct DeleteMap DeleteMap;

extern DeleteMap *delete_map_create(MemoryContext cxt);
extern void delete_map_add(DeleteMap *map, RowNumber row);
extern const uint64 *delete_map_block(const DeleteMap *map, uint64 block);
extern bool delete_map_contains(const DeleteMap *map, RowNumber row);
extern uint64 delete_map_count(const DeleteMap *map);
extern uint64 delete_map_count_range(const DeleteMap *map, RowNumber from, RowNumber to);
extern DeleteMap *delete_map_load(uint64 storage, Snapshot snapshot, MemoryContext cxt);
extern DeleteMap *delete_map_load_settled(uint64 storage, Snapshot snapshot, TransactionId horizon,
										  TransactionId *newest, MemoryContext cxt);

/* What is known of a row's deletion. */
typedef struct DeleteInfo
{
	DeleteKind kind;
	RowNumber successor;
	TransactionId xmax;
	CommandId cmax; /* meaningful if xmax is ours */
	bool own;		/* by the current transaction */
} DeleteInfo;

typedef struct DeltaEntry
{
	uint16 offset; /* row number modulo DELETE_BLOCK_ROWS */
	uint8 kind;
	RowNumber successor;
} DeltaEntry;

/* Kind and successor in one word; a successor, where the kind has one, has fewer than 48 bits. */
#define DELTA_FATE_KIND_SHIFT 56
#define DELTA_FATE_SUCCESSOR ((UINT64CONST(1) << DELTA_FATE_KIND_SHIFT) - 1)

static inline uint64
delta_fate(const DeltaEntry *entry)
{
	return (uint64) entry->kind << DELTA_FATE_KIND_SHIFT |
		   (entry->successor & DELTA_FATE_SUCCESSOR);
}

static inline DeleteKind
delta_fate_kind(uint64 fate)
{
	return (DeleteKind) (fate >> DELTA_FATE_KIND_SHIFT);
}

static inline RowNumber
delta_fate_successor(uint64 fate)
{
	return delete_kind_updates(delta_fate_kind(fate)) ? fate & DELTA_FATE_SUCCESSOR
													  : InvalidRowNumber;
}

/* Bytes of a delta's entries: its heap row must stay below 8,160 bytes. */
#define DELTA_ROOM 8000

/* State of a walk through the bytes of a delta; zero to begin. */
typedef struct DeltaCursor
{
	uint32 next_offset;
	RowNumber next_successor;
	uint32 left; /* of the current run */
	uint8 kind;
} DeltaCursor;

extern int delta_encode(const DeltaEntry *entries, int n, uint8 *out, int room, int *length);
extern bool delta_next(const uint8 **p, const uint8 *end, DeltaCursor *cursor, DeltaEntry *entry);
extern bool deleted_probe(uint64 storage, RowNumber row, Snapshot snapshot, DeleteInfo *info);

/* ---------------------------------------------------------------- delete_cache.c */

extern bool deleted_latest(uint64 storage, RowNumber row, DeleteInfo *info);
extern bool deleted_latest_settled(Relation rel, uint64 storage, RowNumber row);
extern bool deleted_known(Relation rel, uint64 storage, RowNumber row, Snapshot snapshot,
						  bool *deleted, bool *all_dead);
extern bool deleted_settled(uint64 storage, RowNumber row);
extern void deleted_latest_forget(bool ended);
extern uint64 deleted_latest_loads(void);
extern uint64 completions_read(void);
extern uint64 next_xid_read(void);

/* ---------------------------------------------------------------- writer.c */

/* A run of rows inserted by this backend and not in the directory yet. */
typedef struct Segment
{
	RowNumber first;
	RowNumber end; /* one past the last row */
	SubTransactionId subid;
	TransactionId xid;
	CommandId cid;
	PackWriter *writer;
	uint32 generation; /* of the table's columns that the writer knows */
	uint32 token;	   /* speculative insertion in progress */
	int refs;		   /* scans that read it */
	bool gone;		   /* flushed or aborted; freed with the last ref */
} Segment;

extern void writer_init(void);
extern RowNumber writer_insert(Relation rel, TupleTableSlot *slot, CommandId cid, uint32 token);
extern void writer_insert_many(Relation rel, TupleTableSlot **slots, int n, CommandId cid);
extern void writer_complete_speculative(Relation rel, RowNumber row, bool succeeded);
extern void writer_delete(Relation rel, RowNumber row, DeleteKind kind, RowNumber successor,
						  CommandId cid);
extern void writer_note_change(Relation rel);
extern void writer_note_due(Relation rel);
extern void writer_flush(Relation rel);
extern bool writer_flush_all(void);
extern void writer_flush_rows(void);
extern void writer_discard(uint64 storage);
extern bool writer_pending(uint64 storage);
extern Segment *writer_find_segment(uint64 storage, RowNumber row);
extern Segment **writer_visible_segments(uint64 storage, Snapshot snapshot, int *n);
extern void segment_release(Segment *segment);
extern Datum segment_fetch_att(PackWriter *writer, TupleDesc desc, int att, uint32 index,
							   bool *isnull);
extern bool writer_find_delete(uint64 storage, RowNumber row, DeleteInfo *info);
extern void writer_add_deletes(uint64 storage, Snapshot snapshot, DeleteMap *map);
extern uint64 writer_flush_count(void);

#define PACK_TARGET_ROWS PACK_MAX_ROWS
#define PACK_TARGET_BYTES ((Size) 64 * 1024 * 1024)
#define PACK_INLINE_LIMIT 1024

/* ---------------------------------------------------------------- rowlock.c */

typedef enum RowLockKind
{
	ROW_LOCK_KEY_SHARE,		/* FOR KEY SHARE */
	ROW_LOCK_SHARE,			/* FOR SHARE */
	ROW_LOCK_NO_KEY_UPDATE, /* FOR NO KEY UPDATE */
	ROW_LOCK_NO_KEY_CHANGE, /* to update the row and leave its key */
	ROW_LOCK_UPDATE,		/* FOR UPDATE */
	ROW_LOCK_CHANGE			/* to delete the row, or to update it */
} RowLockKind;

extern bool row_lock(Relation rel, RowNumber row, RowLockKind kind, LockWaitPolicy policy);
extern bool row_lock_version(Relation rel, RowNumber row, RowLockKind kind, LockWaitPolicy policy);
extern void row_lock_begin(void);
extern void row_lock_undo(int to);
extern void row_lock_settle(Relation rel, bool may_wait);
extern void row_lock_subtransaction_ends(SubTransactionId subid, SubTransactionId parent,
										 bool aborted);
extern bool row_lock_table(Relation rel, bool wait);
extern TransactionId row_lock_holder(Relation rel, RowNumber row);
extern void row_lock_table_key_share(Relation rel);
extern bool row_lock_marker_held(Relation rel);
extern bool row_lock_marker_mine(Oid relid);
extern bool row_lock_marker_used(Oid database, Oid relid);
extern bool row_lock_marker_wait(Relation rel, bool wait);
extern bool row_key_share_others(Relation rel, RowNumber row, bool *prepared);
extern bool row_key_share_mine(Oid database, Oid relid, RowNumber row);
extern bool row_key_share_held(Oid database, Oid relid, RowNumber row);
extern bool compaction_lock(Relation rel, bool wait);

/* ---------------------------------------------------------------- keyshare.c */

/* The LWLock tranche "magic key share" has one lock more. */
#define KEY_SHARE_PARTITIONS 16

extern Size key_share_shmem_size(void);
extern void key_share_shmem_startup(void);
extern void key_share_arrive(Oid relid);
extern bool key_share_in_use(Relation rel);
extern bool key_share_wait_for_table(Relation rel, bool wait);
extern RowNumber *key_share_older(Oid relid, RowNumber row, int *n);
extern void key_share_carry(Relation rel, RowNumber row, RowNumber successor);
extern void key_share_prepare(void);
extern void key_share_prepared(void);

/* ---------------------------------------------------------------- slot.c */

typedef enum SlotSource
{
	SLOT_VALUES, /* as a virtual slot */
	SLOT_BLOCK,	 /* row of a decoded block of a scan */
	SLOT_PACK,	 /* row of a pack, value by value */
	SLOT_SEGMENT /* row of a segment */
} SlotSource;

struct BlockColumns;

typedef struct MagicSlot
{
	VirtualTupleTableSlot base;
	SlotSource source;
	struct BlockColumns *columns; /* SLOT_BLOCK */
	PackReader *reader;			  /* SLOT_PACK */
	PackDatumBuffer *buffers;	  /* SLOT_PACK: one for each attribute */
	PackWriter *writer;			  /* SLOT_SEGMENT */
	uint32 index;				  /* row in block, pack or writer */
	TransactionId xmin;
	TransactionId xmax; /* see magic_slot_set_inserted(); of a row that this transaction deleted */
	CommandId cmin;
	const bool *needed; /* natts flags, NULL: all */
	bool owned;			/* the values are in `room` */
	char *room;			/* kept from row to row */
	Size room_size;
} MagicSlot;

/* Decoded columns of one block, filled as attributes are asked for. */
typedef struct BlockColumns
{
	PackReader *reader;
	PackWriter *writer; /* instead of reader: block of a segment */
	TupleDesc desc;		/* of the rows; for blocks of segments */
	int block;
	int nrows;
	int natts;
	bool *decoded;	/* per attribute */
	Datum **values; /* per attribute, PACK_VECTOR elements, allocated at first use */
	bool **nulls;
	MemoryContext cxt;
} BlockColumns;

extern const TupleTableSlotOps TTSOpsMagic;
extern bool magic_slot_is_large(TupleTableSlot *slot);
extern void magic_slot_set_block(TupleTableSlot *slot, BlockColumns *columns, int row,
								 RowNumber number, TransactionId xmin, CommandId cmin);
extern void magic_slot_set_pack(TupleTableSlot *slot, PackReader *reader, PackDatumBuffer *buffers,
								uint32 index, RowNumber number, TransactionId xmin, CommandId cmin);
extern void magic_slot_set_segment(TupleTableSlot *slot, const Segment *segment, uint32 index,
								   RowNumber number);
extern void magic_slot_set_inserted(TupleTableSlot *slot, TransactionId xmin, TransactionId xmax,
									CommandId cmin);
extern BlockColumns *block_columns_create(MemoryContext cxt, int natts);
extern void block_columns_set(BlockColumns *columns, PackReader *reader, PackWriter *writer,
							  int block, int nrows);
extern void block_columns_decode(BlockColumns *columns, int att);

static inline bool
slot_is_magic(TupleTableSlot *slot)
{
	return slot->tts_ops == &TTSOpsMagic;
}

/* ---------------------------------------------------------------- plan_columns.c */

struct QueryDesc;
extern void plan_columns_mark(struct QueryDesc *query);

/* ---------------------------------------------------------------- lookup.c */

/* Keeps opened packs for point reads. One per index scan, or for one call. */
typedef struct RowReader RowReader;

typedef enum RowFound
{
	ROW_MISSING, /* never was, aborted, or gone for everybody */
	ROW_SEGMENT,
	ROW_PACK
} RowFound;

typedef struct RowPlace
{
	RowFound found;
	Segment *segment;
	PackReader *reader;
	uint32 index;
	TransactionId xmin;
	CommandId cmin;
	bool hole; /* missing, and dead for everybody */
} RowPlace;

extern RowReader *row_reader_create(Relation rel, TupleDesc desc, MemoryContext parent);
extern RowReader *row_reader_shared(Relation rel);
extern void row_readers_release(void);
extern void row_readers_forget(bool ended);
extern void row_reader_reset(RowReader *reader);
extern void row_reader_free(RowReader *reader);
extern bool row_reader_locate(RowReader *reader, RowNumber row, Snapshot snapshot, RowPlace *place);
extern bool row_reader_fetch(RowReader *reader, RowNumber row, Snapshot snapshot,
							 TupleTableSlot *slot, bool *all_dead);
extern bool row_has_values(Relation rel, RowNumber row, const Bitmapset *atts,
						   TupleTableSlot *slot);
extern bool row_settled_dead(Relation rel, RowNumber row);
extern bool row_fetch(Relation rel, RowNumber row, Snapshot snapshot, TupleTableSlot *slot);
extern bool row_visible(Relation rel, RowNumber row, Snapshot snapshot);
extern Snapshot latest_snapshot_register(void);

/* ---------------------------------------------------------------- exclusion.c */

extern void exclusion_scan_begins(Relation rel);
extern void exclusion_fetch_begins(IndexFetchTableData *fetch);
extern bool exclusion_wait_for_values(Relation rel, RowNumber row, TransactionId inserter,
									  uint32 token);

/* ---------------------------------------------------------------- scan.c, scan_sample.c */

typedef struct MagicScanDesc MagicScanDesc;

extern TableScanDesc scan_begin(Relation rel, Snapshot snapshot, int nkeys, struct ScanKeyData *key,
								ParallelTableScanDesc pscan, uint32 flags);
extern void scan_end(TableScanDesc sscan);
extern void scan_rescan(TableScanDesc sscan, struct ScanKeyData *key, bool set_params,
						bool allow_strat, bool allow_sync, bool allow_pagemode);
extern bool scan_getnextslot(TableScanDesc sscan, ScanDirection direction, TupleTableSlot *slot);
extern void scan_set_tidrange(TableScanDesc sscan, ItemPointer mintid, ItemPointer maxtid);
extern bool scan_getnextslot_tidrange(TableScanDesc sscan, ScanDirection direction,
									  TupleTableSlot *slot);
extern Size scan_parallel_estimate(Relation rel);
extern Size scan_parallel_initialize(Relation rel, ParallelTableScanDesc pscan);
extern void scan_parallel_reinitialize(Relation rel, ParallelTableScanDesc pscan);
extern bool scan_analyze_block(TableScanDesc sscan, BlockNumber blockno);
extern void scan_forget_counted(Relation rel);
extern bool scan_analyze_next_tuple(TableScanDesc sscan, TransactionId oldest_xmin,
									double *liverows, double *deadrows, TupleTableSlot *slot);
struct SampleScanState;
extern bool scan_sample_next_block(TableScanDesc sscan, struct SampleScanState *state);
extern bool scan_sample_next_tuple(TableScanDesc sscan, struct SampleScanState *state,
								   TupleTableSlot *slot);
extern bool scan_tid_valid(TableScanDesc sscan, ItemPointer tid);
extern void scan_get_latest_tid(TableScanDesc sscan, ItemPointer tid);

/* ---------------------------------------------------------------- bitmap_scan.c, plan_hooks.c */

struct TBMIterateResult;
extern bool scan_bitmap_next_block(TableScanDesc sscan, struct TBMIterateResult *tids);
extern bool scan_bitmap_next_tuple(TableScanDesc sscan, struct TBMIterateResult *tids,
								   TupleTableSlot *slot);
struct QueryDesc;
extern void plan_hooks_init(void);
extern void plan_settle(struct QueryDesc *query, bool runs);

/* ---------------------------------------------------------------- block_scan.c */

/*
 * A sequence of decoded blocks of a table, in row order: what the scans, the index builds, merges and
 * VACUUM FULL read. The snapshot must be registered by the caller for as long as it runs.
 */
typedef struct BlockScan
{
	Relation rel;
	uint64 storage;
	TupleDesc desc;
	Snapshot snapshot;
	MemoryContext cxt;
	PackList *packs;
	Segment **segments;
	int nsegments;
	DeleteMap *deletes; /* NULL: show deleted rows */
	BufferAccessStrategy strategy;
	bool skip_damaged; /* leave out damaged packs; false unless the caller sets it */

	/* current source: packs and segments merged by row number */
	int nsources;
	int source; /* -1 before the first, nsources after the last */
	int block;
	RowNumber first; /* of the current source */
	StoredPack stored;
	PackReader *reader; /* of `stored` */
	PackWriter *writer;
	TransactionId xmin;
	CommandId cmin;

	BlockColumns *columns;
	int nrows; /* rows of the current block */
	uint32 positions[PACK_VECTOR];
	bool dense; /* positions[i] == positions[0] + i */
	uint64 live[PACK_BITMAP_WORDS];
	bool all_live;
} BlockScan;

extern BlockScan *block_scan_begin(Relation rel, TupleDesc desc, Snapshot snapshot,
								   bool show_deleted, RowNumber from, RowNumber to,
								   MemoryContext cxt);
extern bool block_scan_open_source(BlockScan *scan, int source);
extern bool block_scan_set_block(BlockScan *scan, int block);
extern int block_scan_nblocks(BlockScan *scan);
extern bool block_scan_next(BlockScan *scan, bool forward);
extern bool block_scan_covers(const BlockScan *scan, RowNumber row);
extern int block_scan_seek(BlockScan *scan, RowNumber row);
extern void block_scan_end(BlockScan *scan);

/* ---------------------------------------------------------------- dml.c */

extern void dml_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
					   struct BulkInsertStateData *bistate);
extern void dml_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
								   struct BulkInsertStateData *bistate, uint32 token);
extern void dml_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token,
									 bool succeeded);
extern void dml_multi_insert(Relation rel, TupleTableSlot **slots, int n, CommandId cid,
							 int options, struct BulkInsertStateData *bistate);
extern TM_Result dml_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot,
							Snapshot crosscheck, bool wait, TM_FailureData *tmfd,
							bool changing_part);
extern TM_Result dml_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid,
							Snapshot snapshot, Snapshot crosscheck, bool wait, TM_FailureData *tmfd,
							LockTupleMode *lockmode, TU_UpdateIndexes *update_indexes);
extern TM_Result dml_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot,
						  CommandId cid, LockTupleMode mode, LockWaitPolicy policy, uint8 flags,
						  TM_FailureData *tmfd);

/* ---------------------------------------------------------------- index_build.c */

struct IndexInfo;
struct ValidateIndexState;
extern double index_build_range_scan(Relation table, Relation index, struct IndexInfo *info,
									 bool allow_sync, bool anyvisible, bool progress,
									 BlockNumber start_block, BlockNumber nblocks,
									 IndexBuildCallback callback, void *callback_state,
									 TableScanDesc scan);
extern void index_validate_scan(Relation table, Relation index, struct IndexInfo *info,
								Snapshot snapshot, struct ValidateIndexState *state);

/* ---------------------------------------------------------------- vacuum.c, compact.c, ddl.c */

struct VacuumParams;
extern bool free_extents_join(uint64 storage, FreeExtent *list, int n, TransactionId horizon);
extern bool extent_take_free(Relation rel, uint32 pages, BlockNumber before, Extent *extent);

typedef enum CompactMode
{
	COMPACT_WRITER, /* runs long enough to pay, if nobody else merges the table */
	COMPACT_STEP,	/* the same up to a budget; moves packs down */
	COMPACT_FULL,	/* every run of small packs */
	COMPACT_VACUUM	/* runs that pay; moves packs down */
} CompactMode;

typedef struct CompactRequest
{
	CompactMode mode;
	uint64 budget;				 /* bytes of packs after which to stop; 0: none */
	void (*pause)(Relation rel); /* called for every block of 1,024 rows; may raise. NULL: none */
} CompactRequest;

typedef struct CompactResult
{
	int64 replaced; /* packs */
	uint64 bytes;	/* of packs read and written */
	uint64 written; /* of packs */
	bool busy;		/* nothing done: somebody else merges the table */
	bool more;		/* the budget ended the work */
	bool changed;	/* something was done to packs or free extents */
	bool tail;		/* COMPACT_STEP: the end of the file is worth cutting */
	bool unsettled; /* COMPACT_STEP: there will be work once today's changes are settled */
} CompactResult;

extern void compact_table(Relation rel, const CompactRequest *request, CompactResult *result);
extern bool truncate_tail(Relation rel);
extern void vacuum_table(Relation rel, struct VacuumParams *params, BufferAccessStrategy strategy);
extern void leave_vacuum_state(void);

extern void ddl_init(void);

/* publication.c */
extern void publication_check_statement(Node *node);
extern void publication_warn(Node *node);
extern void ddl_set_new_filelocator(Relation rel, const RelFileLocator *locator, char persistence,
									TransactionId *freeze_xid, MultiXactId *minmulti);
extern void ddl_nontransactional_truncate(Relation rel);
extern void ddl_copy_data(Relation rel, const RelFileLocator *locator);
extern void ddl_copy_for_cluster(Relation old_table, Relation new_table, Relation index,
								 bool use_sort, TransactionId oldest_xmin,
								 TransactionId *xid_cutoff, MultiXactId *multi_cutoff,
								 double *num_tuples, double *tups_vacuumed,
								 double *tups_recently_dead);

/* ---------------------------------------------------------------- verify.c */

extern ErrorData *run_guarded(void (*run)(void *arg), void *arg);

#endif /* MAGIC_ENGINE_INT_H */
