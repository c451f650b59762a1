/*-------------------------------------------------------------------------
 *
 * arena.c
 *		A reset-only allocator for the code that compiles without PostgreSQL.
 *
 * Chunks form a list, the newest first.  A new chunk has twice the size of
 * the one before (up to ARENA_CHUNK_MAX), or what the request needs.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/arena.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN 16
#define ARENA_CHUNK_MIN ((size_t) 8192)
#define ARENA_CHUNK_MAX ((size_t) 1024 * 1024)

typedef struct ArenaChunk
{
	struct ArenaChunk *next; /* the chunk before this one, NULL at the first */
	size_t size;			 /* bytes behind the header */
	size_t used;
	size_t padding; /* keeps the data behind the header aligned */
} ArenaChunk;

_Static_assert(sizeof(ArenaChunk) % ARENA_ALIGN == 0, "the data of a chunk must be aligned");

struct Arena
{
	ArenaChunk *chunk; /* the newest chunk, NULL before the first allocation */
	size_t limit;
	size_t held; /* sum of the chunks' sizes, with headers */
};

Arena *
arena_create(size_t limit)
{
	Arena *arena = calloc(1, sizeof(Arena));

	if (arena != NULL)
		arena->limit = limit;
	return arena;
}

void
arena_destroy(Arena *arena)
{
	if (arena == NULL)
		return;
	while (arena->chunk != NULL)
	{
		ArenaChunk *next = arena->chunk->next;

		free(arena->chunk);
		arena->chunk = next;
	}
	free(arena);
}

void
arena_reset(Arena *arena)
{
	if (arena->chunk == NULL)
		return;
	while (arena->chunk->next != NULL)
	{
		ArenaChunk *next = arena->chunk->next;

		arena->held -= arena->chunk->size + sizeof(ArenaChunk);
		free(arena->chunk);
		arena->chunk = next;
	}
	arena->chunk->used = 0;
}

/* Put a chunk with room for size bytes, a multiple of ARENA_ALIGN, in front; false = no memory. */
static bool
arena_add_chunk(Arena *arena, size_t size)
{
	size_t chunk_size = ARENA_CHUNK_MIN;
	ArenaChunk *chunk;

	if (arena->chunk != NULL && arena->chunk->size * 2 > chunk_size)
		chunk_size = arena->chunk->size * 2;
	if (chunk_size > ARENA_CHUNK_MAX)
		chunk_size = ARENA_CHUNK_MAX;
	if (chunk_size < size)
		chunk_size = size;
	if (arena->limit != 0 && chunk_size + sizeof(ArenaChunk) > arena->limit - arena->held)
	{
		chunk_size = size;
		if (chunk_size + sizeof(ArenaChunk) > arena->limit - arena->held)
			return false;
	}
	chunk = malloc(sizeof(ArenaChunk) + chunk_size);
	if (chunk == NULL)
		return false;
	chunk->next = arena->chunk;
	chunk->size = chunk_size;
	chunk->used = 0;
	arena->chunk = chunk;
	arena->held += chunk_size + sizeof(ArenaChunk);
	return true;
}

void *
arena_alloc(Arena *arena, size_t size)
{
	void *result;

	if (size > SIZE_MAX / 4)
		return NULL;
	if (size == 0)
		size = 1;
	size = (size + ARENA_ALIGN - 1) & ~(size_t) (ARENA_ALIGN - 1);
	if (arena->chunk == NULL || size > arena->chunk->size - arena->chunk->used)
	{
		if (!arena_add_chunk(arena, size))
			return NULL;
	}
	result = (char *) (arena->chunk + 1) + arena->chunk->used;
	arena->chunk->used += size;
	return result;
}

void *
arena_calloc(Arena *arena, size_t count, size_t size)
{
	void *result;

	if (size != 0 && count > SIZE_MAX / size)
		return NULL;
	result = arena_alloc(arena, count * size);
	if (result != NULL)
		memset(result, 0, count * size);
	return result;
}

char *
arena_strndup(Arena *arena, const char *text, size_t len)
{
	char *result;

	if (len == SIZE_MAX)
		return NULL;
	result = arena_alloc(arena, len + 1);
	if (result == NULL)
		return NULL;
	if (len > 0)
		memcpy(result, text, len);
	result[len] = '\0';
	return result;
}

size_t
arena_size(const Arena *arena)
{
	return arena->held;
}
