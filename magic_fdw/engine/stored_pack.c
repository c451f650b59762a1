/*
 * stored_pack.c
 *		Packs of the directory, opened for reading: from pages of the file, or inline.
 *
 * Pages are pinned, one page for each column at most, and read without a lock; see storage.c for why that
 * is safe. Pins belong to the resource owner that was current when the page was read: a reader that
 * outlives it reads by copies (`copies`) and keeps no pins.
 */
#include "engine/engine_int.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"

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

static const uint8 *
paged_fetch(PackSource *source, int stream, uint64 offset, uint32 length, uint8 *scratch)
{
	PagedSource *src = (PagedSource *) source;
	uint32 index = (uint32) (offset / PACK_PAGE_PAYLOAD);
	uint32 start = (uint32) (offset % PACK_PAGE_PAYLOAD);
	int slot = Min(stream, src->nstreams - 1);
	Buffer pin = src->pins[slot];

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
	if (!src->copies && start + (uint64) length <= PACK_PAGE_PAYLOAD &&
		(slot < PINNED_STREAMS || length == 0))
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
	if (src->copies)
	{
		src->pins[slot] = InvalidBuffer;
		ReleaseBuffer(pin);
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
	}
}
