/*-------------------------------------------------------------------------
 *
 * arena.h
 *		A reset-only allocator for the code that compiles without PostgreSQL.
 *
 * Memory comes from malloc in chunks and is given back all at once.  After
 * arena_reset() the first chunk is kept, so that a steady stream of records
 * allocates nothing.  Whoever owns an arena says when it is reset; nothing
 * allocated here is ever freed on its own.
 *
 * An arena may be abandoned in the middle of work (a callback that leaves by
 * longjmp): it stays valid, and the next arena_reset() takes everything back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Arena Arena;

/*
 * limit: the most bytes the arena may hold at one time; 0 = no limit.  NULL when there is no memory
 * for the arena itself.
 */
extern Arena *arena_create(size_t limit);

/* Accepts NULL. */
extern void arena_destroy(Arena *arena);

/* Give back everything allocated since the last reset. */
extern void arena_reset(Arena *arena);

/*
 * size bytes, aligned to 16, not initialised; NULL when memory or the limit is exhausted.  A size
 * of 0 gives a valid pointer.
 */
extern void *arena_alloc(Arena *arena, size_t size);

/* count * size bytes, zeroed; NULL on overflow, too. */
extern void *arena_calloc(Arena *arena, size_t count, size_t size);

/* A copy of len bytes with a zero byte added; NULL when memory is exhausted. */
extern char *arena_strndup(Arena *arena, const char *text, size_t len);

/* Bytes that the arena holds from malloc at this time. */
extern size_t arena_size(const Arena *arena);

#endif /* ARENA_H */
