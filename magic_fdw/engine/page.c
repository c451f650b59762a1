/*
 * page.c
 *		Pages of packs: their tag, their checksum, and what a reader has to check.
 *
 * Behind the standard page header a page of a pack has a tag of 16 bytes: kind, format version, number of
 * the page in its extent, CRC-32C, mark. The CRC covers what the page says and where it belongs: storage
 * id, block number, writer's xid, tag and payload. So a byte that was flipped, a page that was written to
 * another place and a page of another table are found also in clusters without data checksums.
 *
 * A page is checked once after it was read in, not at each pin. The mark says that it was; it is not
 * covered by the CRC, and what it says on disk or in WAL does not matter:
 *
 * * The writer of a page leaves the "written" mark of its place (database, file, block). A page with this
 *   mark in a dirty buffer was made in memory, by the writer or by replay of its full-page image (which
 *   WAL's own CRC covers), and is not checked. In a clean buffer the mark says nothing: the page may have
 *   been on disk since.
 * * A reader that has checked a page sets the "checked" mark, which also depends on a secret of this run of
 *   the server. It does so with a pin only, as hint bits are set, and only while the buffer is clean.
 *   Nothing dirties the buffer of a pack's page but its writer, when the extent is reused; nobody reads it
 *   then, and the page is made anew. So the checked mark does not reach the disk: a page that was read in
 *   again does not have it. The buffer is neither dirtied nor logged (data checksums and wal_log_hints
 *   need not know: the disk never sees the mark).
 * * CREATE DATABASE copies pages from buffer to buffer, marks included. The copy is another place, so
 *   neither mark is right there. With wal_level = minimal, pages of a new file are dirtied and logged at
 *   commit; until then its readers check at every pin and set no mark.
 */
#include "engine/engine_int.h"

#include "common/hashfn.h"
#include "port/pg_crc32c.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

#define PAGE_MAGIC 0x504d /* "MP" */

/* What follows the header of a pack page. */
typedef struct PageTag
{
	uint16 magic;
	uint16 version;
	uint32 index; /* of the page in its extent */
	uint32 crc;	  /* of PageSeal and payload */
	uint32 mark;  /* see above */
} PageTag;

StaticAssertDecl(sizeof(PageTag) == 16, "layout of the page tag");
StaticAssertDecl(MAXALIGN(SizeOfPageHeaderData) + sizeof(PageTag) + PACK_PAGE_PAYLOAD == BLCKSZ,
				 "layout of a pack page");

/* What the CRC covers before the payload. Little-endian, without gaps. */
typedef struct PageSeal
{
	uint64 storage;
	BlockNumber block;
	TransactionId xid;
	uint16 magic;
	uint16 version;
	uint32 index;
} PageSeal;

StaticAssertDecl(sizeof(PageSeal) == 24, "what a page's checksum covers");

static uint32
page_crc(Page page, const PageTag *tag, uint64 storage, BlockNumber block)
{
	PageSeal seal = {.storage = storage,
					 .block = block,
					 .xid = ((PageHeader) page)->pd_prune_xid,
					 .magic = tag->magic,
					 .version = tag->version,
					 .index = tag->index};
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &seal, sizeof(seal));
	COMP_CRC32C(crc, (char *) page + PAGE_PAYLOAD_OFFSET,
				((PageHeader) page)->pd_lower - PAGE_PAYLOAD_OFFSET);
	FIN_CRC32C(crc);
	return crc;
}

void
page_place_init(PagePlace *place, Relation rel)
{
	const RelFileLocator *file = &rel->rd_locator;

	place->written = hash_combine(murmurhash32(file->dbOid), murmurhash32(file->relNumber));
	place->checked = hash_combine(place->written, page_secret());
	place->storage = storage_id(rel);
	place->marks = RelationNeedsWAL(rel) || RelationUsesLocalBuffers(rel);
}

static inline uint32
page_mark(uint32 place, BlockNumber block)
{
	return murmurhash32(place ^ block);
}

/* Makes page `index` of a pack, for block `block`. */
void
page_fill(Page page, const PagePlace *place, BlockNumber block, const PackBytes *bytes,
		  uint32 index, TransactionId xid)
{
	uint64 offset = (uint64) index * PACK_PAGE_PAYLOAD;
	uint32 n = (uint32) Min(bytes->length - offset, PACK_PAGE_PAYLOAD);
	PageTag tag = {.magic = PAGE_MAGIC,
				   .version = MAGIC_FORMAT_VERSION,
				   .index = index,
				   .mark = page_mark(place->written, block)};

	PageInit(page, BLCKSZ, 0);
	memcpy((char *) page + PAGE_PAYLOAD_OFFSET, bytes->data + offset, n);
	((PageHeader) page)->pd_lower = PAGE_PAYLOAD_OFFSET + n;
	((PageHeader) page)->pd_prune_xid = xid;
	tag.crc = page_crc(page, &tag, place->storage, block);
	memcpy(PageGetContents(page), &tag, sizeof(tag));
}

static bool
buffer_is_dirty(Buffer buffer)
{
	BufferDesc *desc = BufferIsLocal(buffer) ? GetLocalBufferDescriptor(-buffer - 1)
											 : GetBufferDescriptor(buffer - 1);

	return (pg_atomic_read_u32(&desc->state) & BM_DIRTY) != 0;
}

static const char *
page_problem(Page page, const PageTag *tag, const PagePlace *place, BlockNumber block)
{
	PageHeader header = (PageHeader) page;

	if (PageIsNew(page))
		return "The page is empty.";
	if (tag->magic != PAGE_MAGIC)
		return "It is not a page of a pack.";
	if (tag->version != MAGIC_FORMAT_VERSION)
		return "It has another format version.";
	if (header->pd_lower < PAGE_PAYLOAD_OFFSET || header->pd_lower > BLCKSZ)
		return "Its header is damaged.";
	if (tag->crc != page_crc(page, tag, place->storage, block))
		return "Its checksum is wrong.";
	return NULL;
}

/*
 * What is wrong with the pinned page, which should be page `index` of an extent, or NULL; sets the checked
 * mark. `block` is the buffer's.
 */
const char *
page_find_problem(const PagePlace *place, Buffer buffer, BlockNumber block, uint32 index)
{
	Page page = BufferGetPage(buffer);
	PageTag *tag = (PageTag *) PageGetContents(page);
	const char *problem;

	if (tag->mark == page_mark(place->checked, block) && tag->index == index)
		return NULL;
	if (!place->marks || tag->mark != page_mark(place->written, block) || !buffer_is_dirty(buffer))
	{
		problem = page_problem(page, tag, place, block);
		if (problem != NULL)
			return problem;
		if (place->marks && !buffer_is_dirty(buffer))
			*(volatile uint32 *) &tag->mark = page_mark(place->checked, block);
	}
	if (tag->magic != PAGE_MAGIC || tag->index != index)
		return psprintf("It is not page %u of a pack.", index);
	return NULL;
}

/* The pinned page has no checked mark: is it sound? */
static pg_noinline void
page_check_slowly(Relation rel, const PagePlace *place, Buffer buffer, BlockNumber block,
				  uint32 index)
{
	const char *problem = page_find_problem(place, buffer, block, index);

	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("block %u of relation \"%s\" is damaged", block,
							   RelationGetRelationName(rel)),
						errdetail("%s", problem),
						errhint("Run magic.verify() on the table and restore it from a backup; "
								"magic.skip_damaged_packs reads what is left of it.")));
}

/*
 * Raises unless the pinned page is sound, and page `index` of an extent. `block` is the buffer's.
 */
void
page_check(Relation rel, const PagePlace *place, Buffer buffer, BlockNumber block, uint32 index)
{
	const PageTag *tag = (const PageTag *) PageGetContents(BufferGetPage(buffer));

	if (unlikely(tag->mark != page_mark(place->checked, block) || tag->index != index))
		page_check_slowly(rel, place, buffer, block, index);
}

/*
 * Tells the buffer manager that a page is in use that ReadRecentBuffer() has pinned, which does not: as PinBuffer()
 * does for a page without strategy. Local buffers have been told.
 */
void
page_note_use(Buffer buffer)
{
	BufferDesc *desc;
	uint32 state;

	if (BufferIsLocal(buffer))
		return;
	desc = GetBufferDescriptor(buffer - 1);
	state = pg_atomic_read_u32(&desc->state);
	/* whoever changes the state meanwhile is as good a sign of use */
	if ((state & BM_LOCKED) == 0 && BUF_STATE_GET_USAGECOUNT(state) < BM_MAX_USAGE_COUNT)
		(void) pg_atomic_compare_exchange_u32(&desc->state, &state, state + BUF_USAGECOUNT_ONE);
}

/*
 * Asks the processor for what a read of `length` bytes at `start` of a page's payload will need, if the page still
 * lies in that buffer. Neither pins nor looks.
 */
void
page_prefetch(Buffer buffer, uint32 start, uint32 length)
{
	const char *page;

	if (BufferIsLocal(buffer))
		return;
	page = (const char *) BufferGetPage(buffer);
	__builtin_prefetch(GetBufferDescriptor(buffer - 1), 1);
	__builtin_prefetch(page);
	page += PAGE_PAYLOAD_OFFSET + start;
	for (const char *at = page; at < page + length; at += 64)
		__builtin_prefetch(at);
	__builtin_prefetch(page + length - 1);
}

/*
 * The xid on a page; InvalidTransactionId for an empty one. False: the page is damaged, what it says is
 * worth nothing.
 */
bool
page_writer(Relation rel, BlockNumber block, TransactionId *xid)
{
	Buffer buffer = page_read(rel, block, NULL);
	Page page = BufferGetPage(buffer);
	PagePlace place;
	bool sound = true;

	page_place_init(&place, rel);
	*xid = InvalidTransactionId;
	/* The lock waits for a writer that has just extended the file. */
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page))
	{
		*xid = ((PageHeader) page)->pd_prune_xid;
		sound = page_problem(page, (PageTag *) PageGetContents(page), &place, block) == NULL;
	}
	UnlockReleaseBuffer(buffer);
	return sound;
}

/* ---------------------------------------------------------------- reading in */

typedef struct BlockRead
{
	Relation rel;
	BlockNumber block;
} BlockRead;

static void
reading_block(void *arg)
{
	BlockRead *read = arg;

	if (read->block == InvalidBlockNumber)
		errcontext("reading the size of relation \"%s\"", RelationGetRelationName(read->rel));
	else
		errcontext("reading block %u of relation \"%s\"", read->block,
				   RelationGetRelationName(read->rel));
}

/* ReadBuffer(), whose errors name the relation and the block. */
Buffer
page_read(Relation rel, BlockNumber block, BufferAccessStrategy strategy)
{
	BlockRead read = {rel, block};
	ErrorContextCallback context = {error_context_stack, reading_block, &read};
	Buffer buffer;

	error_context_stack = &context;
	buffer = ReadBufferExtended(rel, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
	error_context_stack = context.previous;
	return buffer;
}

/* The table AM's relation_size, whose errors name the relation. */
uint64
page_relation_size(Relation rel, ForkNumber fork)
{
	BlockRead read = {rel, InvalidBlockNumber};
	ErrorContextCallback context = {error_context_stack, reading_block, &read};
	uint64 size;

	error_context_stack = &context;
	size = table_block_relation_size(rel, fork);
	error_context_stack = context.previous;
	return size;
}
