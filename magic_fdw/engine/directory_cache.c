/*
 * directory_cache.c
 *		Directory rows that this backend has found, by row number.
 *
 * A pack covers its row numbers from the commit of its directory row until that is deleted by a merge,
 * and its directory row says the same all the time. So a row that was found may be kept; it is still there
 * as long as no directory row that begins at its first row number has been marked deleted: shared memory
 * counts these marks (pack_removals_read). The mark comes before the count, and the deletion can be seen
 * by others only after both. Who keeps a row reads the count first and then looks for a mark.
 *
 * Who looks with an MVCC snapshot gets a kept row only if the snapshot sees its inserter; who looks without
 * one gets the directory of now. Directory rows of the running transaction are not kept. SERIALIZABLE
 * transactions have to look at the rows themselves, and on a standby nobody counts.
 */
#include "engine/engine_int.h"

#include "access/xact.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Packs of one storage, and bytes of small packs in all, before they are forgotten. */
#define MAX_KNOWN_PACKS 512
#define MAX_KNOWN_STORAGES 256
#define MAX_KNOWN_BYTES (1024 * 1024)

/* xids that may be given out before an entry is not to be trusted any more. */
#define MAX_XID_AGE (UINT64CONST(1) << 30)

typedef struct KnownPack
{
	PackEntry entry; /* inline bytes are in known_context */
	uint64 removals;
	uint64 born; /* next xid when it was found */
} KnownPack;

typedef struct KnownStorage
{
	uint64 storage; /* hash key */
	int n;
	int room;
	KnownPack *packs; /* ascending by first, none overlaps another */
} KnownStorage;

static MemoryContext known_context;
static HTAB *known_storages;
static KnownStorage *known_last;
static Size known_bytes;

static void
forget_all(void)
{
	MemoryContextReset(known_context);
	known_storages = NULL;
	known_last = NULL;
	known_bytes = 0;
}

static KnownStorage *
find_storage(uint64 storage)
{
	if (known_last == NULL || known_last->storage != storage)
		known_last =
			known_storages != NULL ? hash_search(known_storages, &storage, HASH_FIND, NULL) : NULL;
	return known_last;
}

/* The number of known packs that begin at or below the row. */
static int
packs_up_to(const KnownStorage *known, RowNumber row)
{
	int low = 0;
	int high = known->n;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (known->packs[middle].entry.first <= row)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Drops the known packs [from, to). */
static void
remove_packs(KnownStorage *known, int from, int to)
{
	if (from == to)
		return;
	for (int i = from; i < to; i++)
		if (known->packs[i].entry.inline_bytes != NULL)
		{
			known_bytes -= known->packs[i].entry.length;
			pfree(known->packs[i].entry.inline_bytes);
		}
	memmove(&known->packs[from], &known->packs[to], sizeof(KnownPack) * (known->n - to));
	known->n -= to - from;
}

static KnownStorage *
find_or_add_storage(uint64 storage)
{
	KnownStorage *known = find_storage(storage);
	bool found;

	if (known != NULL)
		return known;
	if (known_context == NULL)
		known_context =
			AllocSetContextCreate(TopMemoryContext, "magic known packs", ALLOCSET_DEFAULT_SIZES);
	if (known_storages != NULL && hash_get_num_entries(known_storages) >= MAX_KNOWN_STORAGES)
		forget_all();
	if (known_storages == NULL)
	{
		HASHCTL ctl = {
			.keysize = sizeof(uint64), .entrysize = sizeof(KnownStorage), .hcxt = known_context};

		known_storages =
			hash_create("magic known packs", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	known = hash_search(known_storages, &storage, HASH_ENTER, &found);
	known->n = known->room = 0;
	known->packs = NULL;
	known_last = known;
	return known;
}

/* Keeps a directory row; inline bytes are copied. */
static void
keep_pack(uint64 storage, const PackEntry *entry, uint64 removals)
{
	KnownStorage *known;
	uint8 *bytes = NULL;
	int from;
	int to;

	if (known_bytes > MAX_KNOWN_BYTES)
		forget_all();
	known = find_or_add_storage(storage);
	if (known->n >= MAX_KNOWN_PACKS)
		remove_packs(known, 0, known->n);
	/* what overlaps it has been merged into it, or before it */
	to = packs_up_to(known, entry->first + entry->span - 1);
	from = to;
	while (from > 0 &&
		   known->packs[from - 1].entry.first + known->packs[from - 1].entry.span > entry->first)
		from--;
	remove_packs(known, from, to);
	if (known->n == known->room)
	{
		int room = Max(8, known->room * 2);

		known->packs = known->packs == NULL
						   ? MemoryContextAlloc(known_context, sizeof(KnownPack) * room)
						   : repalloc(known->packs, sizeof(KnownPack) * room);
		known->room = room;
	}
	if (entry->inline_bytes != NULL)
	{
		bytes = MemoryContextAlloc(known_context, Max(entry->length, 1));
		memcpy(bytes, entry->inline_bytes, entry->length);
		known_bytes += entry->length;
	}
	memmove(&known->packs[from + 1], &known->packs[from], sizeof(KnownPack) * (known->n - from));
	known->n++;
	known->packs[from].entry = *entry;
	known->packs[from].entry.inline_bytes = bytes;
	known->packs[from].removals = removals;
	known->packs[from].born = next_xid_read();
}

/* The known pack of the row, if it is still there and the snapshot (NULL: of now) sees it. */
static const PackEntry *
known_pack(uint64 storage, RowNumber row, Snapshot snapshot)
{
	KnownStorage *known = find_storage(storage);
	const KnownPack *pack;
	int i;

	if (known == NULL || (i = packs_up_to(known, row)) == 0)
		return NULL;
	pack = &known->packs[i - 1];
	if (row >= pack->entry.first + pack->entry.span)
		return NULL;
	if (pack->removals != pack_removals_read(storage, pack->entry.first) ||
		next_xid_read() - pack->born > MAX_XID_AGE)
	{
		remove_packs(known, i - 1, i);
		return NULL;
	}
	/* asked again for each snapshot: another row may hold its number under this one */
	if (snapshot != NULL && XidInMVCCSnapshot(pack->entry.raw_xmin, snapshot))
		return NULL;
	return &pack->entry;
}

/*
 * The pack that covers the row under the MVCC snapshot, or in the directory of now (NULL); false if there
 * is none. *owned: its inline bytes are the caller's to free; else they are there until the next call.
 */
bool
known_pack_find(uint64 storage, RowNumber row, Snapshot snapshot, PackEntry *entry, bool *owned)
{
	bool usable = !IsolationIsSerializable() &&
				  (snapshot == NULL ||
				   (snapshot->snapshot_type == SNAPSHOT_MVCC && !snapshot->takenDuringRecovery));
	const PackEntry *known = usable ? known_pack(storage, row, snapshot) : NULL;
	Snapshot latest = NULL;
	bool found;
	bool lasting;
	uint64 removals;

	*owned = known == NULL;
	if (known != NULL)
	{
		*entry = *known;
		return true;
	}
	if (snapshot == NULL)
		snapshot = latest = latest_snapshot_register();
	found = directory_find_lasting(storage, row, snapshot, entry, &lasting, &removals);
	usable &= found && lasting && !snapshot->takenDuringRecovery;
	if (latest != NULL)
		UnregisterSnapshot(latest);
	if (usable)
		keep_pack(storage, entry, removals);
	return found;
}
