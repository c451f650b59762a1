/*
 * storage.c
 *		The file of a `magic` table: metapage, row number reservation, extents of pack pages.
 *
 * Block 0 is the metapage. All other blocks are pages of packs (page.c). A pack on pages fills an extent:
 * pages with consecutive block numbers, its bytes in order. Pages are written once, before the directory
 * row that names them, and not touched again until the extent is reused.
 *
 * Locks. The metapage is changed under its buffer's exclusive lock, by generic WAL, and nothing else is
 * locked under it but a slot's spinlock (shmem.c). Pack pages are read with a pin and without a lock:
 * whoever knows of them got there by a directory row that its snapshot sees, so they were complete before
 * the snapshot was taken, and they are not overwritten before that directory row is gone for every
 * snapshot (vacuum.c); on a standby a conflict record comes first.
 *
 * WAL and crash. Pack pages are logged as full-page images, up to 32 a record; the metapage by generic
 * WAL. A crash between pages and directory row leaves pages that nobody names; VACUUM finds them by the
 * page's xid (pd_prune_xid), see vacuum.c. Recovery does not need this library.
 */
#include "engine/engine_int.h"

#include "access/generic_xlog.h"
#include "access/nbtxlog.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "access/xlogutils.h"
#include "catalog/pg_control.h"
#include "catalog/storage.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "storage/smgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define META_BLOCK 0
#define META_MAGIC 0x4347414d /* "MAGC" */

/* What block 0 holds after the page header. Little-endian. */
typedef struct MetaPage
{
	uint32 magic;
	uint32 version;
	uint64 storage;
	uint64 rewriter; /* full xid of the transaction that rewrote the table, or 0 */
	uint64 next_row;
	uint32 crc; /* CRC-32C of the fields before it */
	uint32 reserved;
} MetaPage;

StaticAssertDecl(sizeof(MetaPage) == 40, "layout of the metapage");
StaticAssertDecl(offsetof(MetaPage, crc) == 32, "layout of the metapage");

/* Full-page images in one WAL record. */
#define PAGES_PER_RECORD XLR_MAX_BLOCK_ID

static uint32
meta_crc(const MetaPage *meta)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, meta, offsetof(MetaPage, crc));
	FIN_CRC32C(crc);
	return crc;
}

/* The metapage in `page`, checked. Who changes it calls meta_seal(). */
static MetaPage *
meta_of(Relation rel, Page page)
{
	MetaPage *meta = (MetaPage *) PageGetContents(page);

	if (PageIsNew(page) || meta->magic != META_MAGIC)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("block %u of relation \"%s\" is not a metapage of the magic engine",
							   META_BLOCK, RelationGetRelationName(rel)),
						errhint("Restore the table from a backup.")));
	if (meta->version != MAGIC_FORMAT_VERSION)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("relation \"%s\" has magic format version %u, this library reads version %u",
					RelationGetRelationName(rel), meta->version, MAGIC_FORMAT_VERSION),
			 errhint("Install the version of magic_fdw that wrote the table.")));
	if (meta->crc != meta_crc(meta))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("block %u of relation \"%s\" is damaged", META_BLOCK,
							   RelationGetRelationName(rel)),
						errdetail("The checksum of the metapage is wrong."),
						errhint("Restore the table from a backup.")));
	return meta;
}

static void
meta_seal(MetaPage *meta)
{
	meta->crc = meta_crc(meta);
}

/* Reads the metapage. */
void
storage_read_meta(Relation rel, MetaInfo *info)
{
	Buffer buffer = page_read(rel, META_BLOCK, NULL);
	MetaPage *meta;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	meta = meta_of(rel, BufferGetPage(buffer));
	info->storage = meta->storage;
	info->rewriter = FullTransactionIdFromU64(meta->rewriter);
	info->next_row = meta->next_row;
	UnlockReleaseBuffer(buffer);
}

/*
 * Reads the metapage, and the ranges that backends have reserved, together: every row number below
 * next_row is in one of the ranges, or was written to the directory, or never will be.
 */
void
storage_read_meta_and_ranges(Relation rel, MetaInfo *info, ReservedRange **ranges, int *count)
{
	Buffer buffer = page_read(rel, META_BLOCK, NULL);
	MetaPage *meta;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	meta = meta_of(rel, BufferGetPage(buffer));
	info->storage = meta->storage;
	info->rewriter = FullTransactionIdFromU64(meta->rewriter);
	info->next_row = meta->next_row;
	*ranges = reserved_list(info->storage, count);
	UnlockReleaseBuffer(buffer);
}

/* As storage_id(), for a table that is dropped, whose file may be damaged or gone: false then. */
bool
storage_id_if_readable(Relation rel, uint64 *storage)
{
	SMgrRelation smgr = RelationGetSmgr(rel);
	Buffer buffer;
	MetaPage *meta;
	bool good;

	if (rel->rd_amcache == NULL)
	{
		if (!smgrexists(smgr, MAIN_FORKNUM) || smgrnblocks(smgr, MAIN_FORKNUM) <= META_BLOCK)
			return false;
		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, META_BLOCK, RBM_ZERO_ON_ERROR, NULL);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		meta = (MetaPage *) PageGetContents(BufferGetPage(buffer));
		good = !PageIsNew(BufferGetPage(buffer)) && meta->magic == META_MAGIC &&
			   meta->version == MAGIC_FORMAT_VERSION && meta->crc == meta_crc(meta);
		UnlockReleaseBuffer(buffer);
		if (!good)
			return false;
	}
	*storage = storage_id(rel);
	return true;
}

/*
 * The storage id of the table. Kept in rd_amcache, which the relation cache drops when the table gets
 * another file.
 */
uint64
storage_id(Relation rel)
{
	if (rel->rd_amcache == NULL)
	{
		MetaInfo info;

		storage_read_meta(rel, &info);
		rel->rd_amcache = MemoryContextAlloc(CacheMemoryContext, sizeof(uint64));
		*(uint64 *) rel->rd_amcache = info.storage;
	}
	return *(uint64 *) rel->rd_amcache;
}

/* The file got another storage id under the same name. */
void
storage_forget_cached(Relation rel)
{
	if (rel->rd_amcache != NULL)
		pfree(rel->rd_amcache);
	rel->rd_amcache = NULL;
}

static uint64
new_storage_id(void)
{
	uint64 id;

	/* Random, never from a sequence: ids of copies of a database must not collide with new ones. */
	do
	{
		if (!pg_strong_random(&id, sizeof(id)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a storage id")));
		id &= PG_INT64_MAX;
	} while (id == 0);
	return id;
}

static void
fill_metapage(Page page, uint64 rewriter)
{
	MetaPage *meta;

	PageInit(page, BLCKSZ, 0);
	meta = (MetaPage *) PageGetContents(page);
	memset(meta, 0, sizeof(MetaPage));
	meta->magic = META_MAGIC;
	meta->version = MAGIC_FORMAT_VERSION;
	meta->storage = new_storage_id();
	meta->rewriter = rewriter;
	meta->next_row = 0;
	meta_seal(meta);
	((PageHeader) page)->pd_lower = ((char *) meta + sizeof(MetaPage)) - (char *) page;
}

/*
 * Creates the file of a table: one metapage, logged and on disk. With `rewrite` the current transaction
 * is the one that older snapshots must see to read the table.
 */
void
storage_create(const RelFileLocator *locator, char persistence, bool rewrite)
{
	RelFileLocator file = *locator;
	SMgrRelation smgr = RelationCreateStorage(file, persistence, true);
	PGIOAlignedBlock block;
	Page page = (Page) block.data;
	uint64 rewriter = rewrite ? U64FromFullTransactionId(GetCurrentFullTransactionId()) : 0;

	fill_metapage(page, rewriter);
	/*
	 * With wal_level = minimal the file is synced at commit and nothing that follows is logged: replay of
	 * this page would bring its first state back.
	 */
	if (persistence == RELPERSISTENCE_PERMANENT && XLogIsNeeded())
		log_newpage(&file, MAIN_FORKNUM, META_BLOCK, page, true);
	PageSetChecksumInplace(page, META_BLOCK);
	smgrextend(smgr, MAIN_FORKNUM, META_BLOCK, block.data, true);
	if (persistence == RELPERSISTENCE_PERMANENT)
		smgrimmedsync(smgr, MAIN_FORKNUM);
}

/* Marks the current transaction as the one that rewrote the table. */
void
storage_set_rewriter(Relation rel)
{
	uint64 xid = U64FromFullTransactionId(GetCurrentFullTransactionId());
	Buffer buffer = page_read(rel, META_BLOCK, NULL);
	GenericXLogState *state;
	MetaPage *meta;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(rel);
	meta = meta_of(rel, GenericXLogRegisterBuffer(state, buffer, 0));
	meta->rewriter = xid;
	meta_seal(meta);
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
}

/* Empties the file in place, non-transactionally, and gives it a new storage id. */
void
storage_reset(Relation rel)
{
	Buffer buffer;
	GenericXLogState *state;
	uint64 rewriter;

	RelationTruncate(rel, 1);
	buffer = page_read(rel, META_BLOCK, NULL);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	rewriter = meta_of(rel, BufferGetPage(buffer))->rewriter;
	state = GenericXLogStart(rel);
	fill_metapage(GenericXLogRegisterBuffer(state, buffer, GENERIC_XLOG_FULL_IMAGE), rewriter);
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
	storage_forget_cached(rel);
}

/* ---------------------------------------------------------------- files left by this transaction */

/*
 * A file that this transaction has copied to another tablespace. If it is rolled back this is the table's
 * file again, and must not give out numbers that have got index entries meanwhile: indexes do not move.
 */
typedef struct OldFile
{
	uint64 storage;
	SubTransactionId subid;
	RelFileLocator locator;
	char persistence;
} OldFile;

static List *old_files; /* in TopTransactionContext */

/* The table's file is about to be left for a copy. */
void
storage_leave_file(Relation rel)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	OldFile *file = palloc(sizeof(OldFile));

	file->storage = storage_id(rel);
	file->subid = GetCurrentSubTransactionId();
	file->locator = rel->rd_locator;
	file->persistence = rel->rd_rel->relpersistence;
	old_files = lappend(old_files, file);
	MemoryContextSwitchTo(old);
}

/* The files that the storage has left know the row numbers that were given out, before anything uses them. */
static void
raise_in_old_files(uint64 storage, RowNumber next_row)
{
	ListCell *lc;

	foreach (lc, old_files)
	{
		OldFile *file = lfirst(lc);
		Relation rel;
		Buffer buffer;

		if (file->storage != storage)
			continue;
		rel = CreateFakeRelcacheEntry(file->locator);
		rel->rd_rel->relpersistence = file->persistence;
		if (file->persistence == RELPERSISTENCE_TEMP)
		{
			rel->rd_backend = ProcNumberForTempRelations();
			rel->rd_islocaltemp = true;
		}
		buffer = ReadBuffer(rel, META_BLOCK);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		if (meta_of(rel, BufferGetPage(buffer))->next_row < next_row)
		{
			GenericXLogState *state = GenericXLogStart(rel);
			MetaPage *meta =
				meta_of(rel, GenericXLogRegisterBuffer(state, buffer, GENERIC_XLOG_FULL_IMAGE));

			meta->next_row = next_row;
			meta_seal(meta);
			GenericXLogFinish(state);
		}
		UnlockReleaseBuffer(buffer);
		FreeFakeRelcacheEntry(rel);
	}
}

/* The subtransaction's files are back, or become the parent's affair. */
void
storage_subtransaction_ends(SubTransactionId subid, SubTransactionId parent, bool aborted)
{
	ListCell *lc;

	foreach (lc, old_files)
	{
		OldFile *file = lfirst(lc);

		if (file->subid != subid)
			continue;
		if (aborted)
			old_files = foreach_delete_current(old_files, lc);
		else
			file->subid = parent;
	}
}

void
storage_transaction_ends(void)
{
	old_files = NIL;
}

/* ---------------------------------------------------------------- row numbers */

/*
 * Reserves `wanted` row numbers and returns the first. `publish` (its borders still unset, but for
 * `appended`, the number of rows that are already inserted) is published in shared memory, or extended
 * if its range continues it, before the metapage's lock is released: whoever reads next_row later sees
 * the range as well.
 */
RowNumber
storage_reserve_rows(Relation rel, uint64 wanted, ReservedRange *publish)
{
	Buffer buffer = page_read(rel, META_BLOCK, NULL);
	GenericXLogState *state;
	MetaPage *meta;
	RowNumber first;
	bool published;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	state = GenericXLogStart(rel);
	meta = meta_of(rel, GenericXLogRegisterBuffer(state, buffer, 0));
	first = meta->next_row;
	if (wanted > ROW_NUMBER_LIMIT - first)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("relation \"%s\" has used up its row numbers",
							   RelationGetRelationName(rel)),
						errhint("VACUUM FULL numbers the rows anew.")));
	meta->next_row = first + wanted;
	meta_seal(meta);

	if (publish->reserved == first && publish->reserved != 0)
	{
		publish->reserved = first + wanted;
		reserved_set_appended(publish->storage, publish->first, publish->appended,
							  publish->reserved, publish->token);
		published = true;
	}
	else
	{
		publish->first = first;
		publish->appended = first;
		publish->reserved = first + wanted;
		published = reserved_publish(publish);
	}
	if (!published)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many enclosing subtransactions have written to magic tables"),
						errdetail("What they have written before the next one began can be stored "
								  "only when it has ended."),
						errhint("Nest fewer blocks that have exception handlers.")));
	GenericXLogFinish(state);
	UnlockReleaseBuffer(buffer);
	raise_in_old_files(publish->storage, first + wanted);
	return first;
}

/* Gives back the row numbers [from, to) if nobody has reserved any since. None was used. */
void
storage_give_back_rows(Relation rel, RowNumber from, RowNumber to)
{
	Buffer buffer = page_read(rel, META_BLOCK, NULL);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (meta_of(rel, BufferGetPage(buffer))->next_row == to)
	{
		GenericXLogState *state = GenericXLogStart(rel);

		MetaPage *meta = meta_of(rel, GenericXLogRegisterBuffer(state, buffer, 0));

		meta->next_row = from;
		meta_seal(meta);
		GenericXLogFinish(state);
	}
	UnlockReleaseBuffer(buffer);
}

/* Raises 40001 if the table was rewritten after the snapshot was taken: its rows would be missing. */
void
storage_check_snapshot(Relation rel, Snapshot snapshot)
{
	MetaInfo info;
	TransactionId xid;

	if (!IsMVCCSnapshot(snapshot))
		return;
	storage_read_meta(rel, &info);
	if (!FullTransactionIdIsValid(info.rewriter))
		return;
	xid = XidFromFullTransactionId(info.rewriter);
	if (TransactionIdIsCurrentTransactionId(xid) || !TransactionIdIsNormal(xid))
		return;
	/* An xid from before the current epoch is older than any snapshot. */
	if (U64FromFullTransactionId(ReadNextFullTransactionId()) -
			U64FromFullTransactionId(info.rewriter) >
		(uint64) PG_INT32_MAX)
		return;
	if (XidInMVCCSnapshot(xid, snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("snapshot is older than the rewrite of relation \"%s\"",
						RelationGetRelationName(rel)),
				 errdetail("The table was truncated or rewritten after this snapshot was taken."),
				 errhint("Retry the transaction.")));
}

/* Pages that hold `length` bytes of a pack. */
static uint32
pages_for(uint64 length)
{
	uint64 pages = (length + PACK_PAGE_PAYLOAD - 1) / PACK_PAGE_PAYLOAD;

	if (pages > MaxBlockNumber / 2)
		elog(ERROR, "pack of " UINT64_FORMAT " bytes is too large", length);
	return (uint32) pages;
}

/*
 * Writes a pack to an extent that was taken for it (extent_take_free), or to new pages at the end of the
 * file. The transaction gets an xid first: the pages bear it, so that VACUUM can tell the pages of a
 * running load from those of an aborted one.
 */
static void
write_pages(Relation rel, const PackBytes *bytes, bool reuse, Extent *extent)
{
	TransactionId xid = GetCurrentTransactionId();
	uint32 total = pages_for(bytes->length);
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKWRITE);
	Buffer buffers[PAGES_PER_RECORD];
	bool lock = !RELATION_IS_LOCAL(rel);
	BlockNumber first;
	PagePlace place;

	page_place_init(&place, rel);
	if (lock)
		LockRelationForExtension(rel, ExclusiveLock);
	first = reuse ? extent->first : RelationGetNumberOfBlocks(rel);
	for (uint32 done = 0; done < total;)
	{
		int n = Min(total - done, PAGES_PER_RECORD);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			if (reuse)
				buffers[i] = ReadBufferExtended(rel, MAIN_FORKNUM, first + done + i,
												RBM_ZERO_AND_LOCK, strategy);
			else
				buffers[i] =
					ReadBufferExtended(rel, MAIN_FORKNUM, P_NEW, RBM_ZERO_AND_LOCK, strategy);
			if (BufferGetBlockNumber(buffers[i]) != first + done + i)
				elog(ERROR, "unexpected block %u while extending relation \"%s\"",
					 BufferGetBlockNumber(buffers[i]), RelationGetRelationName(rel));
		}
		if (RelationNeedsWAL(rel))
			XLogEnsureRecordSpace(n - 1, 0);
		START_CRIT_SECTION();
		for (int i = 0; i < n; i++)
		{
			page_fill(BufferGetPage(buffers[i]), &place, first + done + i, bytes, done + i, xid);
			MarkBufferDirty(buffers[i]);
		}
		if (RelationNeedsWAL(rel))
		{
			XLogRecPtr lsn;

			XLogBeginInsert();
			for (int i = 0; i < n; i++)
				XLogRegisterBuffer(i, buffers[i], REGBUF_FORCE_IMAGE | REGBUF_STANDARD);
			lsn = XLogInsert(RM_XLOG_ID, XLOG_FPI);
			for (int i = 0; i < n; i++)
				PageSetLSN(BufferGetPage(buffers[i]), lsn);
		}
		END_CRIT_SECTION();
		for (int i = 0; i < n; i++)
			UnlockReleaseBuffer(buffers[i]);
		done += n;
	}
	if (lock)
		UnlockRelationForExtension(rel, ExclusiveLock);
	FreeAccessStrategy(strategy);
	extent->first = first;
	extent->pages = total;
}

/* Writes a pack to a free extent, or behind the end of the file. Sets the extent. */
void
storage_write_pack(Relation rel, const PackBytes *bytes, Extent *extent)
{
	bool reuse = extent_take_free(rel, pages_for(bytes->length), MaxBlockNumber, extent);

	write_pages(rel, bytes, reuse, extent);
}

/*
 * Writes a copy of a pack to a free extent that lies wholly before it. False, and nothing done, if there
 * is none.
 */
bool
storage_copy_pack_down(Relation rel, const Extent *from, uint64 length, Extent *to)
{
	PagedSource source;
	PackBytes bytes = {.length = length};

	if (!extent_take_free(rel, from->pages, from->first, to))
		return false;
	bytes.data = MemoryContextAllocHuge(CurrentMemoryContext, length);
	paged_source_init(&source, rel, from, length, 0, GetAccessStrategy(BAS_BULKREAD));
	source.copies = true;
	for (uint64 done = 0; done < length;)
	{
		uint32 n = (uint32) Min(length - done, (uint64) 64 * PACK_PAGE_PAYLOAD);

		(void) source.base.fetch(&source.base, 0, done, n, bytes.data + done);
		done += n;
	}
	paged_source_release(&source);
	write_pages(rel, &bytes, true, to);
	pfree(bytes.data);
	return true;
}

/*
 * Is the page, which no directory row names, a leftover? It is if it is empty, or if the transaction
 * that wrote it was over before `horizon` was computed; that must have been before the directory was
 * read. After 2^31 further transactions its xid looks like one that will come: as nobody who runs has such a
 * one, the page is a leftover too. For the while in which the xid is between the horizon and the next one again
 * it is not recognised. A damaged page is no leftover: it does not tell its writer.
 */
bool
storage_page_leaked(Relation rel, BlockNumber block, TransactionId horizon)
{
	TransactionId xid;

	if (!page_writer(rel, block, &xid))
		return false;
	/* the next xid is read after the page: the writer of a page has got his before */
	return !TransactionIdIsValid(xid) || TransactionIdPrecedes(xid, horizon) ||
		   TransactionIdFollowsOrEquals(xid, ReadNextTransactionId());
}

/* The transaction that wrote the page; InvalidTransactionId for an empty page. */
TransactionId
storage_page_writer(Relation rel, BlockNumber block)
{
	TransactionId xid;

	(void) page_writer(rel, block, &xid);
	return xid;
}

/*
 * WAL record that cancels the standbys' queries whose snapshots may still need what is about to be
 * removed physically. It is a record of btree's that touches no page (nbtpage.c, _bt_log_reuse_page).
 */
void
storage_conflict_record(Relation rel, TransactionId latest_removed)
{
	xl_btree_reuse_page record;
	FullTransactionId next = ReadNextFullTransactionId();
	uint64 full;

	if (!RelationNeedsWAL(rel) || !XLogStandbyInfoActive() ||
		!TransactionIdIsNormal(latest_removed))
		return;
	full =
		U64FromFullTransactionId(next) - (uint32) (XidFromFullTransactionId(next) - latest_removed);
	compat_fill_reuse_page(&record, rel, InvalidBlockNumber, FullTransactionIdFromU64(full));
	XLogBeginInsert();
	XLogRegisterData((char *) &record, SizeOfBtreeReusePage);
	XLogInsert(RM_BTREE_ID, XLOG_BTREE_REUSE_PAGE);
}
