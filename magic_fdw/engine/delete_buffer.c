/*
 * delete_buffer.c
 *		The overlay's deletions of one table, by delete block.
 *
 * A block keeps its deletions in a list, in the order of their arrival or ascending, and from
 * BITMAP_FROM of them on a bitmap as well. So the question that every change of a row asks first, "have I
 * deleted it already?", costs a bit, and a flush needs no sort. The details of a deletion are asked for
 * seldom: they are searched for in the part of the list that is known to ascend, then one by one.
 *
 * Memory: a context of the buffer's own, 24 bytes a deletion and 2 kB a block with a bitmap.
 */
#include "engine/writer_int.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"

/* Deletions of a block before it gets a bitmap, and of its unordered tail before the list is ordered. */
#define BITMAP_FROM 32
#define MAX_TAIL 64

typedef struct DeleteBlock
{
	uint64 block;
	int n;
	int room;
	int ascending; /* so many of the list ascend by offset */
	BufferedDelete *list;
	uint64 *bits; /* NULL: few */
} DeleteBlock;

typedef struct BlockEntry
{
	uint64 block;
	DeleteBlock *deletes;
	char status;
} BlockEntry;

#define SH_PREFIX blocks
#define SH_ELEMENT_TYPE BlockEntry
#define SH_KEY_TYPE uint64
#define SH_KEY block
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) (key) ^ (uint32) ((key) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct DeleteBuffer
{
	MemoryContext cxt;
	blocks_hash *blocks;
	DeleteBlock *last; /* looked up last, or NULL */
	uint64 count;
};

DeleteBuffer *
delete_buffer_create(MemoryContext parent)
{
	MemoryContext cxt =
		AllocSetContextCreate(parent, "magic buffered deletes", ALLOCSET_DEFAULT_SIZES);
	DeleteBuffer *buffer = MemoryContextAllocZero(cxt, sizeof(DeleteBuffer));

	buffer->cxt = cxt;
	buffer->blocks = blocks_create(cxt, 16, NULL);
	return buffer;
}

void
delete_buffer_free(DeleteBuffer *buffer)
{
	MemoryContextDelete(buffer->cxt);
}

uint64
delete_buffer_count(const DeleteBuffer *buffer)
{
	return buffer->count;
}

static DeleteBlock *
find_block(DeleteBuffer *buffer, uint64 block)
{
	BlockEntry *entry;

	if (buffer->last != NULL && buffer->last->block == block)
		return buffer->last;
	entry = blocks_lookup(buffer->blocks, block);
	if (entry == NULL)
		return NULL;
	buffer->last = entry->deletes;
	return entry->deletes;
}

static DeleteBlock *
find_or_add_block(DeleteBuffer *buffer, uint64 block)
{
	DeleteBlock *deletes = find_block(buffer, block);
	bool found;

	if (deletes != NULL)
		return deletes;
	deletes = MemoryContextAllocZero(buffer->cxt, sizeof(DeleteBlock));
	deletes->block = block;
	deletes->room = 4;
	deletes->list = MemoryContextAlloc(buffer->cxt, sizeof(BufferedDelete) * deletes->room);
	blocks_insert(buffer->blocks, block, &found)->deletes = deletes;
	buffer->last = deletes;
	return deletes;
}

static inline void
set_bit(uint64 *bits, uint16 offset)
{
	bits[offset / 64] |= UINT64CONST(1) << (offset % 64);
}

/* Is the row in the block? */
static bool
block_contains(const DeleteBlock *deletes, uint16 offset)
{
	if (deletes->bits != NULL)
		return (deletes->bits[offset / 64] >> (offset % 64) & 1) != 0;
	for (int i = deletes->n - 1; i >= 0; i--)
		if (deletes->list[i].offset == offset)
			return true;
	return false;
}

/* Puts the list into ascending order of offsets, of which none occurs twice. */
static void
order_block(DeleteBlock *deletes)
{
	uint16 *places;
	BufferedDelete *copy;
	int n = 0;

	if (deletes->ascending == deletes->n)
		return;
	if (deletes->bits == NULL)
	{
		/* few: insertion sort */
		for (int i = deletes->ascending; i < deletes->n; i++)
		{
			BufferedDelete moved = deletes->list[i];
			int j = i;

			for (; j > 0 && deletes->list[j - 1].offset > moved.offset; j--)
				deletes->list[j] = deletes->list[j - 1];
			deletes->list[j] = moved;
		}
		deletes->ascending = deletes->n;
		return;
	}
	places = palloc(sizeof(uint16) * DELETE_BLOCK_ROWS);
	copy = palloc(sizeof(BufferedDelete) * deletes->n);
	memcpy(copy, deletes->list, sizeof(BufferedDelete) * deletes->n);
	for (int i = 0; i < deletes->n; i++)
		places[copy[i].offset] = (uint16) i;
	for (int word = 0; word < DELETE_BLOCK_ROWS / 64; word++)
		for (uint64 left = deletes->bits[word]; left != 0; left &= left - 1)
			deletes->list[n++] = copy[places[word * 64 + pg_rightmost_one_pos64(left)]];
	Assert(n == deletes->n);
	deletes->ascending = n;
	pfree(places);
	pfree(copy);
}

/* Adds a deletion of a row that is not in the buffer. */
void
delete_buffer_add(DeleteBuffer *buffer, RowNumber row, const BufferedDelete *info)
{
	DeleteBlock *deletes = find_or_add_block(buffer, row / DELETE_BLOCK_ROWS);
	uint16 offset = row % DELETE_BLOCK_ROWS;

	if (block_contains(deletes, offset))
		elog(ERROR, "row " UINT64_FORMAT " is deleted twice", row);
	if (deletes->n == deletes->room)
	{
		deletes->list = repalloc(deletes->list, sizeof(BufferedDelete) * deletes->room * 2);
		deletes->room *= 2;
	}
	if (deletes->bits == NULL && deletes->n >= BITMAP_FROM)
	{
		deletes->bits = MemoryContextAllocZero(buffer->cxt, DELETE_BLOCK_BYTES);
		for (int i = 0; i < deletes->n; i++)
			set_bit(deletes->bits, deletes->list[i].offset);
	}
	if (deletes->ascending == deletes->n &&
		(deletes->n == 0 || deletes->list[deletes->n - 1].offset < offset))
		deletes->ascending++;
	deletes->list[deletes->n] = *info;
	deletes->list[deletes->n].offset = offset;
	deletes->n++;
	if (deletes->bits != NULL)
		set_bit(deletes->bits, offset);
	buffer->count++;
}

bool
delete_buffer_contains(DeleteBuffer *buffer, RowNumber row)
{
	DeleteBlock *deletes = find_block(buffer, row / DELETE_BLOCK_ROWS);

	return deletes != NULL && block_contains(deletes, row % DELETE_BLOCK_ROWS);
}

/* The row's deletion, or NULL. Valid until the buffer changes. */
const BufferedDelete *
delete_buffer_find(DeleteBuffer *buffer, RowNumber row)
{
	DeleteBlock *deletes = find_block(buffer, row / DELETE_BLOCK_ROWS);
	uint16 offset = row % DELETE_BLOCK_ROWS;
	int low = 0;
	int high;

	if (deletes == NULL || !block_contains(deletes, offset))
		return NULL;
	for (int i = deletes->ascending; i < deletes->n && deletes->n - i <= MAX_TAIL; i++)
		if (deletes->list[i].offset == offset)
			return &deletes->list[i];
	if (deletes->n - deletes->ascending > MAX_TAIL)
		order_block(deletes);
	high = deletes->ascending - 1;
	while (low < high)
	{
		int middle = (low + high) / 2;

		if (deletes->list[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	Assert(deletes->list[low].offset == offset);
	return &deletes->list[low];
}

/* Drops the deletions of a subtransaction. */
void
delete_buffer_remove_owned(DeleteBuffer *buffer, SubTransactionId subid)
{
	blocks_iterator it;
	BlockEntry *entry;

	blocks_start_iterate(buffer->blocks, &it);
	while ((entry = blocks_iterate(buffer->blocks, &it)) != NULL)
	{
		DeleteBlock *deletes = entry->deletes;
		int kept = 0;

		for (int i = 0; i < deletes->n; i++)
			if (deletes->list[i].subid != subid)
				deletes->list[kept++] = deletes->list[i];
		if (kept == deletes->n)
			continue;
		buffer->count -= deletes->n - kept;
		deletes->n = kept;
		deletes->ascending = 0;
		if (deletes->bits != NULL)
		{
			memset(deletes->bits, 0, DELETE_BLOCK_BYTES);
			for (int i = 0; i < kept; i++)
				set_bit(deletes->bits, deletes->list[i].offset);
		}
	}
}

static int
compare_blocks(const void *a, const void *b)
{
	const DeleteBlock *x = *(DeleteBlock *const *) a;
	const DeleteBlock *y = *(DeleteBlock *const *) b;

	return x->block < y->block ? -1 : x->block > y->block;
}

/*
 * Calls back for each block that has deletions, ascending; a block's deletions ascend as well. The
 * callback must not change the buffer.
 */
void
delete_buffer_walk(DeleteBuffer *buffer, DeleteBufferCallback callback, void *arg)
{
	DeleteBlock **list = palloc(sizeof(DeleteBlock *) * (buffer->blocks->members + 1));
	blocks_iterator it;
	BlockEntry *entry;
	int n = 0;

	blocks_start_iterate(buffer->blocks, &it);
	while ((entry = blocks_iterate(buffer->blocks, &it)) != NULL)
		if (entry->deletes->n > 0)
			list[n++] = entry->deletes;
	qsort(list, n, sizeof(DeleteBlock *), compare_blocks);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		order_block(list[i]);
		callback(list[i]->block, list[i]->list, list[i]->n, arg);
	}
	pfree(list);
}
