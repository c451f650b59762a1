/*
 * cached_pack.c
 *		Opened packs that this backend keeps for point reads, also between transactions.
 *
 * Opening a pack reads and checks its header, the descriptors and block directories of the columns asked
 * for, dictionaries, and decompresses text in frames of some 10 kB. A lookup by key, or an outer row of a
 * nested loop, wants one row of it: so what was read is kept.
 *
 * Readers share a pack: each has buffers of its own for the values it is given (PackDatumBuffer), so that
 * two scans of one table do not overwrite each other's. A pack that nobody uses is idle. Idle packs and
 * decompressed text (pack_frames.c) share magic.pack_cache_size: what was used longest ago goes, of the
 * text while it takes more than an eighth, else of the packs. A pack spares more work for its bytes.
 *
 * A pack is known by its directory row: storage, address and raw xmin of the row (freezing does not change
 * that one), and what the row says. Never by its extent, which another pack may have got. Whoever takes a
 * pack has found the row under its snapshot, so the pack's pages are there; an idle pack is not read.
 *
 * Packs keep no pins: all is read by copies. Their memory is below CacheMemoryContext. When a reader goes
 * with its memory context, after an error, nobody gets the pack any more who does not have it.
 */
#include "engine/engine_int.h"

#include "funcapi.h"
#include "lib/ilist.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(magic_pack_cache);
PGDLLEXPORT Datum magic_pack_cache(PG_FUNCTION_ARGS);

/* Which pack; compared as bytes. */
typedef struct PackKey
{
	uint64 storage;
	RowNumber first;
	uint64 length;
	uint32 span;
	uint32 rows;
	BlockNumber block;
	TransactionId raw_xmin;
	ItemPointerData tid;
	uint16 zero;
} PackKey;

StaticAssertDecl(sizeof(PackKey) == 48, "keys of packs have no padding");

/* The columns of a table as its packs were opened with; there as long as a pack of it is. */
typedef struct CachedDesc
{
	uint64 storage;
	Oid relid;
	bool checked; /* nothing has been heard of a change since it was compared with the table's */
	bool known;	  /* in `descs` */
	int refs;	  /* of packs */
	MemoryContext cxt;
	TupleDesc desc;
} CachedDesc;

struct CachedPack
{
	PackKey key;
	int refs;
	bool known;		 /* in `packs` */
	dlist_node node; /* in `idle_packs` when refs is 0 */
	MemoryContext cxt;
	CachedDesc *desc;
	PackEntry entry;
	StoredPack stored;
	Size bytes; /* of an idle pack */
};

typedef struct CacheEntry
{
	PackKey key;
	CachedPack *pack;
} CacheEntry;

typedef struct DescEntry
{
	uint64 storage;
	CachedDesc *desc;
} DescEntry;

static int pack_cache_size = 16384; /* kB */

/* The part of it that text may take whatever the packs need: one in so many. */
#define FRAMES_SHARE 8

static MemoryContext cache_context;
static HTAB *packs;
static HTAB *descs; /* by storage */
static dlist_head idle_packs = DLIST_STATIC_INIT(idle_packs);
static Size idle_bytes;

/* Since the backend began. */
static uint64 packs_opened;
static uint64 packs_reused;

static void
forget_checks(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	DescEntry *entry;

	hash_seq_init(&seq, descs);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (relid == InvalidOid || relid == entry->desc->relid)
			entry->desc->checked = false;
}

static void
create_cache(void)
{
	HASHCTL by_key = {.keysize = sizeof(PackKey), .entrysize = sizeof(CacheEntry)};
	HASHCTL by_storage = {.keysize = sizeof(uint64), .entrysize = sizeof(DescEntry)};

	cache_context =
		AllocSetContextCreate(CacheMemoryContext, "magic pack cache", ALLOCSET_DEFAULT_SIZES);
	by_key.hcxt = by_storage.hcxt = cache_context;
	packs = hash_create("magic cached packs", 64, &by_key, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	descs = hash_create("magic columns of cached packs", 16, &by_storage,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget_checks, (Datum) 0);
}

/* ---------------------------------------------------------------- columns */

static void
release_desc(CachedDesc *desc)
{
	if (--desc->refs > 0)
		return;
	if (desc->known)
		hash_search(descs, &desc->storage, HASH_REMOVE, NULL);
	MemoryContextDelete(desc->cxt);
}

static void
free_pack(CachedPack *pack)
{
	CachedDesc *desc = pack->desc;

	if (pack->stored.reader != NULL)
		pack_forget_frames(pack->stored.reader);
	MemoryContextDelete(pack->cxt);
	if (desc != NULL)
		release_desc(desc);
}

static void
leave_idle(CachedPack *pack)
{
	dlist_delete(&pack->node);
	idle_bytes -= pack->bytes;
}

/* Nobody gets the pack any more; it goes with its last user. */
static void
forget_pack(CachedPack *pack)
{
	if (pack->known)
		hash_search(packs, &pack->key, HASH_REMOVE, NULL);
	pack->known = false;
	if (pack->refs == 0)
	{
		leave_idle(pack);
		free_pack(pack);
	}
}

/* The table's columns have changed: its packs must be opened anew. */
static void
retire_desc(CachedDesc *desc)
{
	HASH_SEQ_STATUS seq;
	CacheEntry *entry;

	hash_search(descs, &desc->storage, HASH_REMOVE, NULL);
	desc->known = false;
	desc->refs++;
	hash_seq_init(&seq, packs);
	while ((entry = hash_seq_search(&seq)) != NULL)
		if (entry->pack->desc == desc)
			forget_pack(entry->pack);
	release_desc(desc);
}

/* Are these still the table's columns? */
static bool
desc_is_current(CachedDesc *desc, Relation rel)
{
	if (desc->checked && desc->relid == RelationGetRelid(rel))
		return true;
	if (!equalTupleDescs(desc->desc, RelationGetDescr(rel)))
		return false;
	desc->relid = RelationGetRelid(rel);
	desc->checked = true;
	return true;
}

/* The table's columns as they are now, with a reference for the caller. */
static CachedDesc *
acquire_desc(Relation rel, uint64 storage)
{
	DescEntry *entry = hash_search(descs, &storage, HASH_FIND, NULL);
	CachedDesc *desc;
	MemoryContext cxt;
	MemoryContext old;

	if (entry != NULL && !desc_is_current(entry->desc, rel))
	{
		retire_desc(entry->desc);
		entry = NULL;
	}
	if (entry != NULL)
		desc = entry->desc;
	else
	{
		cxt = AllocSetContextCreate(cache_context, "magic columns", ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(cxt);
		desc = palloc0(sizeof(CachedDesc));
		desc->cxt = cxt;
		desc->storage = storage;
		desc->relid = RelationGetRelid(rel);
		desc->checked = true;
		desc->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
		MemoryContextSwitchTo(old);
		entry = hash_search(descs, &storage, HASH_ENTER, NULL);
		entry->desc = desc;
		desc->known = true;
	}
	desc->refs++;
	return desc;
}

/* ---------------------------------------------------------------- packs */

/* How much of the room the readers' text may take. */
static void
limit_frames(Size limit)
{
	pack_limit_frames(Max(limit / FRAMES_SHARE, limit - Min(idle_bytes, limit)));
}

/* Makes room. */
static void
shrink(void)
{
	Size limit = (Size) pack_cache_size * 1024;

	if (idle_bytes + pack_frames_bytes() > limit)
		limit_frames(limit);
	while (idle_bytes + pack_frames_bytes() > limit && !dlist_is_empty(&idle_packs))
		forget_pack(dlist_tail_element(CachedPack, node, &idle_packs));
	limit_frames(limit);
}

static void
make_key(uint64 storage, const PackEntry *entry, PackKey *key)
{
	memset(key, 0, sizeof(*key));
	key->storage = storage;
	key->first = entry->first;
	key->length = entry->length;
	key->span = entry->span;
	key->rows = entry->rows;
	key->block = entry->extent.first;
	key->raw_xmin = entry->raw_xmin;
	key->tid = entry->tid;
}

static CachedPack *
open_new(Relation rel, const PackKey *key, const PackEntry *entry)
{
	MemoryContext cxt =
		AllocSetContextCreate(cache_context, "magic cached pack", ALLOCSET_SMALL_SIZES);
	CachedPack *pack = MemoryContextAllocZero(cxt, sizeof(CachedPack));

	pack->key = *key;
	pack->cxt = cxt;
	pack->entry = *entry;
	pack->entry.inline_bytes = NULL;
	pack->refs = 1;
	PG_TRY();
	{
		CacheEntry *known;

		if (entry->extent.pages == 0)
		{
			pack->entry.inline_bytes = MemoryContextAlloc(cxt, Max(entry->length, 1));
			memcpy(pack->entry.inline_bytes, entry->inline_bytes, entry->length);
		}
		pack->desc = acquire_desc(rel, key->storage);
		(void) stored_pack_open(&pack->stored, rel, &pack->entry, pack->desc->desc, NULL, true,
								cxt);
		pack_keep_frames(pack->stored.reader);
		known = hash_search(packs, key, HASH_ENTER, NULL);
		known->pack = pack;
		pack->known = true;
	}
	PG_CATCH();
	{
		free_pack(pack);
		PG_RE_THROW();
	}
	PG_END_TRY();
	packs_opened++;
	return pack;
}

/*
 * The opened pack of a directory row that the caller's snapshot sees. The caller gives it back, or drops
 * it after an error. Raises if the pack is damaged.
 */
CachedPack *
pack_cache_take(Relation rel, uint64 storage, const PackEntry *entry)
{
	CacheEntry *known;
	CachedPack *pack;
	PackKey key;

	if (cache_context == NULL)
	{
		create_cache();
		shrink();
	}
	make_key(storage, entry, &key);
	known = hash_search(packs, &key, HASH_FIND, NULL);
	if (known != NULL && !desc_is_current(known->pack->desc, rel))
	{
		retire_desc(known->pack->desc);
		known = NULL;
	}
	if (known == NULL)
		pack = open_new(rel, &key, entry);
	else
	{
		pack = known->pack;
		if (pack->refs++ == 0)
		{
			leave_idle(pack);
			/* the table may have moved to another file */
			if (pack->stored.is_paged)
				page_place_init(&pack->stored.paged.place, rel);
		}
		packs_reused++;
	}
	return pack;
}

/* Reads the pack, by way of `rel` as it is opened now; valid until the pack is given back. */
PackReader *
cached_pack_reader(CachedPack *pack, Relation rel)
{
	pack->stored.paged.rel = rel;
	return pack->stored.reader;
}

/* Gives a pack back. What was read from it is not valid any more. Does not allocate. */
void
pack_cache_put(CachedPack *pack)
{
	Assert(pack->refs > 0);
	if (--pack->refs > 0)
		return;
	if (!pack->known)
	{
		free_pack(pack);
		return;
	}
	pack->bytes = MemoryContextMemAllocated(pack->cxt, true);
	idle_bytes += pack->bytes;
	dlist_push_head(&idle_packs, &pack->node);
	shrink();
}

/* The same after an error: nobody else gets it. */
void
pack_cache_drop(CachedPack *pack)
{
	Assert(pack->refs > 0);
	forget_pack(pack);
	pack_cache_put(pack);
}

static void
assign_pack_cache_size(int newval, void *extra)
{
	pack_cache_size = newval;
	shrink();
}

void
pack_cache_init(void)
{
	DefineCustomIntVariable(
		"magic.pack_cache_size",
		"Memory that a session may use to keep opened packs of magic tables for lookups by key.",
		"Packs in use come on top. 0 keeps none.", &pack_cache_size, 16384, 0, MAX_KILOBYTES,
		PGC_USERSET, GUC_UNIT_KB, NULL, assign_pack_cache_size, NULL);
}

/* What the cache of this session holds and has done. */
Datum
magic_pack_cache(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(packs != NULL ? hash_get_num_entries(packs) : 0);
	values[1] = Int64GetDatum(idle_bytes + pack_frames_bytes());
	values[2] = Int64GetDatum(packs_opened);
	values[3] = Int64GetDatum(packs_reused);
	values[4] = Int64GetDatum(pack_frames_decompressed());
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
