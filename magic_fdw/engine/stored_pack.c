/*
 * stored_pack.c
 *		Packs of the directory, opened for reading: from pages of the file, or inline.
 *
 * Pages are pinned, one page for each column at most, and read without a lock; see storage.c for why that
 * is safe. Pins belong to the resource owner that was current when the page was read: a reader that
 * outlives it reads by copies (`copies`) and keeps no pins.
 */
#include "engine/engine_int.h"

#include "access/xact.h"
#include "engine/pack_reader.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* Streams that keep a pin of their own; the others copy. */
#define PINNED_STREAMS 64

static Buffer
read_pack_page(PagedSource *src, uint32 index)
{
	BlockNumber block = src->first + index;
	Buffer buffer = page_read(src->rel, block, src->strategy);

	pack_note_place(NameStr(src->rel->rd_rel->relname), block);
	page_check(src->rel, &src->place, buffer, block, index);
	return buffer;
}

/*
 * The same for a reader that keeps no pins: the page is mostly in the buffer where it was last, and needs
 * no look-up then.
 */
static Buffer
read_pack_page_again(PagedSource *src, uint32 index)
{
	BlockNumber block = src->first + index;
	Buffer buffer;

	if (src->recent == NULL)
	{
		if (src->strategy != NULL)
			return read_pack_page(src, index);
		src->recent = MemoryContextAllocExtended(GetMemoryChunkContext(src->pins),
												 sizeof(Buffer) * src->npages,
												 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	}
	buffer = src->recent[index];
	if (BufferIsValid(buffer) &&
		ReadRecentBuffer(src->rel->rd_locator, MAIN_FORKNUM, block, buffer))
	{
		page_note_use(buffer);
		pack_note_place(NameStr(src->rel->rd_rel->relname), block);
		page_check(src->rel, &src->place, buffer, block, index);
		return buffer;
	}
	return src->recent[index] = read_pack_page(src, index);
}

/* Copies bytes of the extent; keeps no pin, not even when it raises. */
static void
copy_from_pages(PagedSource *src, uint64 offset, uint32 length, uint8 *to)
{
	uint32 index = (uint32) (offset / PACK_PAGE_PAYLOAD);
	uint32 start = (uint32) (offset % PACK_PAGE_PAYLOAD);

	for (uint32 done = 0; done < length; index++)
	{
		uint32 n = Min(length - done, PACK_PAGE_PAYLOAD - start);
		Buffer buffer;

		CHECK_FOR_INTERRUPTS();
		buffer = read_pack_page_again(src, index);
		memcpy(to + done, (char *) BufferGetPage(buffer) + PAGE_PAYLOAD_OFFSET + start, n);
		ReleaseBuffer(buffer);
		done += n;
		start = 0;
	}
}

/* At most so many bytes are asked for at once: the processor sees a stream itself. */
#define PREFETCH_BYTES 512

static void
paged_prefetch(PackSource *source, uint64 offset, uint32 length)
{
	PagedSource *src = (PagedSource *) source;
	uint32 index = (uint32) (offset / PACK_PAGE_PAYLOAD);
	uint32 start = (uint32) (offset % PACK_PAGE_PAYLOAD);

	if (src->recent != NULL && index < src->npages && BufferIsValid(src->recent[index]))
		page_prefetch(src->recent[index], start,
					  Min(Min(length, PREFETCH_BYTES), PACK_PAGE_PAYLOAD - start));
}

static const uint8 *
paged_fetch(PackSource *source, int stream, uint64 offset, uint32 length, uint8 *scratch)
{
	PagedSource *src = (PagedSource *) source;
	uint32 index = (uint32) (offset / PACK_PAGE_PAYLOAD);
	uint32 start = (uint32) (offset % PACK_PAGE_PAYLOAD);
	int slot = Min(stream, src->nstreams - 1);
	Buffer pin = src->pins[slot];

	if (src->copies)
	{
		copy_from_pages(src, offset, length, scratch);
		return scratch;
	}

	/* The pin of a stream moves from page to page; the last slot is shared, its readers copy. */
	if (!BufferIsValid(pin) || BufferGetBlockNumber(pin) != src->first + index)
	{
		if (BufferIsValid(pin))
		{
			src->pins[slot] = InvalidBuffer;
			ReleaseBuffer(pin);
		}
		src->pins[slot] = pin = read_pack_page(src, index);
	}
	if (start + (uint64) length <= PACK_PAGE_PAYLOAD && (slot < PINNED_STREAMS || length == 0))
		return (const uint8 *) BufferGetPage(pin) + PAGE_PAYLOAD_OFFSET + start;

	for (uint32 done = 0; done < length;)
	{
		uint32 n = Min(length - done, PACK_PAGE_PAYLOAD - start);

		if (done > 0)
		{
			CHECK_FOR_INTERRUPTS();
			src->pins[slot] = InvalidBuffer;
			ReleaseBuffer(pin);
			src->pins[slot] = pin = read_pack_page(src, ++index);
		}
		memcpy(scratch + done, (char *) BufferGetPage(pin) + PAGE_PAYLOAD_OFFSET + start, n);
		done += n;
		start = 0;
	}
	return scratch;
}

/*
 * Prepares a source over the pages of an extent. `natts` as given to pack_open(). Release it before the
 * resource owner that is current while it is read goes away.
 */
void
paged_source_init(PagedSource *source, Relation rel, const Extent *extent, uint64 length, int natts,
				  BufferAccessStrategy strategy)
{
	if ((uint64) extent->pages * PACK_PAGE_PAYLOAD < length)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("pack at block %u of relation \"%s\" is longer than its extent",
							   extent->first, RelationGetRelationName(rel))));
	source->base.fetch = paged_fetch;
	source->base.length = length;
	source->base.prefetch = paged_prefetch;
	source->base.check_data = false;
	source->rel = rel;
	page_place_init(&source->place, rel);
	source->first = extent->first;
	source->strategy = strategy;
	source->copies = false;
	source->nstreams = Min(natts + 1, PINNED_STREAMS + 1);
	source->pins = palloc(sizeof(Buffer) * source->nstreams);
	for (int i = 0; i < source->nstreams; i++)
		source->pins[i] = InvalidBuffer;
	source->npages = extent->pages;
	source->recent = NULL;
}

/* Drops the pins; the source can still be read. */
void
paged_source_release(PagedSource *source)
{
	for (int i = 0; i < source->nstreams; i++)
	{
		Buffer pin = source->pins[i];

		source->pins[i] = InvalidBuffer;
		if (BufferIsValid(pin))
			ReleaseBuffer(pin);
	}
}

/*
 * Opens a pack of the directory. `stored`, `entry`'s inline bytes, `rel` and `desc` must outlive it. What
 * is allocated is below `cxt`. With `copies` it keeps no pins.
 */
PackReader *
stored_pack_open(StoredPack *stored, Relation rel, const PackEntry *entry, TupleDesc desc,
				 BufferAccessStrategy strategy, bool copies, MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);

	stored->reader = NULL;
	stored->is_paged = entry->extent.pages > 0;
	if (stored->is_paged)
	{
		paged_source_init(&stored->paged, rel, &entry->extent, entry->length, desc->natts,
						  strategy);
		stored->paged.copies = copies;
		stored->reader = pack_open(&stored->paged.base, desc, cxt);
	}
	else
	{
		pack_memory_source_init(&stored->memory, entry->inline_bytes, entry->length);
		stored->memory.base.check_data = true;
		stored->reader = pack_open(&stored->memory.base, desc, cxt);
	}
	MemoryContextSwitchTo(old);
	return stored->reader;
}

/* Closes the pack and drops its pins. */
void
stored_pack_close(StoredPack *stored)
{
	if (stored->reader == NULL)
		return;
	pack_close(stored->reader);
	stored->reader = NULL;
	if (stored->is_paged)
	{
		paged_source_release(&stored->paged);
		pfree(stored->paged.pins);
		if (stored->paged.recent != NULL)
			pfree(stored->paged.recent);
	}
}

/* ---------------------------------------------------------------- damaged packs */

/* Verdicts kept, so that an index scan does not read a pack for each of its rows. */
#define VERDICTS 64

typedef struct Verdict
{
	uint64 storage;
	RowNumber first;
	TransactionId xmin; /* of the directory row */
	TimestampTz statement;
	bool sound;
} Verdict;

static bool skip_damaged_packs;

void
stored_pack_init(void)
{
	DefineCustomBoolVariable(
		"magic.skip_damaged_packs", "Queries leave out packs that are damaged, with a warning.",
		"For getting out what is left of a damaged table. Commands that rewrite, "
		"index or vacuum a table still fail.",
		&skip_damaged_packs, false, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}

/*
 * Shall reads of the table leave out damaged packs? Not under a lock that maintenance takes (VACUUM, merges,
 * index builds, ALTER TABLE, CLUSTER): they would make the loss final.
 */
bool
stored_packs_skipped(Relation rel)
{
	return skip_damaged_packs && !CheckRelationLockedByMe(rel, ShareUpdateExclusiveLock, true);
}

/* Copies the pack's bytes from its pages. Returns what is wrong with a page, or NULL. */
static const char *
copy_pages(Relation rel, const PackEntry *entry, uint8 *data, BlockNumber *block)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	const char *problem = NULL;
	PagePlace place;

	page_place_init(&place, rel);
	for (uint64 done = 0; done < entry->length && problem == NULL;)
	{
		uint32 index = (uint32) (done / PACK_PAGE_PAYLOAD);
		uint32 n = Min(entry->length - done, PACK_PAGE_PAYLOAD);
		Buffer buffer;

		CHECK_FOR_INTERRUPTS();
		*block = entry->extent.first + index;
		if (index >= entry->extent.pages)
			return "The pack is longer than its extent.";
		if (*block >= nblocks)
			return "It is behind the end of the file.";
		buffer = ReadBufferExtended(rel, MAIN_FORKNUM, *block, RBM_ZERO_ON_ERROR, NULL);
		problem = page_find_problem(&place, buffer, *block, index);
		memcpy(data + done, (char *) BufferGetPage(buffer) + PAGE_PAYLOAD_OFFSET, n);
		ReleaseBuffer(buffer);
		done += n;
	}
	return problem;
}

/* Checks all checksums of a pack in memory. Returns what is wrong, or NULL. */
static const char *
check_bytes(const uint8 *data, uint64 length, TupleDesc desc)
{
	MemoryContext cxt = CurrentMemoryContext;
	const char *volatile problem = NULL;

	PG_TRY();
	{
		PackMemorySource source;
		PackReader *reader;
		uint32 index;

		pack_memory_source_init(&source, data, length);
		source.base.check_data = true;
		reader = pack_open(&source.base, desc, cxt);
		for (int att = 0; att < desc->natts; att++)
			(void) pack_column(reader, att);
		(void) pack_find(reader, 0, &index);
	}
	PG_CATCH();
	{
		ErrorData *error;

		/* nothing was held but memory */
		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_DATA_CORRUPTED)
			PG_RE_THROW();
		FlushErrorState();
		problem = error->detail ? error->detail : error->message;
	}
	PG_END_TRY();
	return problem;
}

static bool
check_pack(Relation rel, const PackEntry *entry, TupleDesc desc)
{
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic damaged pack", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	BlockNumber block = InvalidBlockNumber;
	const uint8 *data = entry->inline_bytes;
	const char *problem = NULL;

	if (entry->extent.pages > 0)
	{
		uint8 *copy = MemoryContextAllocHuge(cxt, Max(entry->length, 1));

		problem = copy_pages(rel, entry, copy, &block);
		data = copy;
	}
	if (problem == NULL)
	{
		block = entry->extent.first;
		problem = check_bytes(data, entry->length, desc);
	}
	if (problem != NULL)
	{
		ItemPointerData from;
		ItemPointerData to;
		char *where = entry->extent.pages > 0 ? psprintf("Block %u", block) : "In the directory";

		row_to_tid(entry->first, &from);
		row_to_tid(entry->first + entry->span - 1, &to);
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg_plural("skipping %u row of relation \"%s\" in a damaged pack",
							   "skipping %u rows of relation \"%s\" in a damaged pack", entry->rows,
							   entry->rows, RelationGetRelationName(rel)),
				 errdetail("%s: %s The rows lie between (%u,%u) and (%u,%u).", where, problem,
						   ItemPointerGetBlockNumber(&from), ItemPointerGetOffsetNumber(&from),
						   ItemPointerGetBlockNumber(&to), ItemPointerGetOffsetNumber(&to))));
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	return problem == NULL;
}

/*
 * Are all checksums of the pack right? If not, warns, once in a statement as a rule. Reads the whole pack.
 * Raises if a page cannot be read at all.
 */
bool
stored_pack_sound(Relation rel, const PackEntry *entry, TupleDesc desc)
{
	static Verdict verdicts[VERDICTS];
	static int next;
	Verdict verdict = {.storage = storage_id(rel),
					   .first = entry->first,
					   .xmin = entry->xmin,
					   .statement = GetCurrentStatementStartTimestamp()};

	for (int i = 0; i < VERDICTS; i++)
		if (verdicts[i].storage == verdict.storage && verdicts[i].first == verdict.first &&
			verdicts[i].xmin == verdict.xmin && verdicts[i].statement == verdict.statement)
			return verdicts[i].sound;
	verdict.sound = check_pack(rel, entry, desc);
	verdicts[next++ % VERDICTS] = verdict;
	return verdict.sound;
}
