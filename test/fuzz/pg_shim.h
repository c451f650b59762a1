/*
 * pg_shim.h
 *		As much of the server as the pack files call: memory contexts over malloc(), so that the address
 *		sanitizer sees each allocation, and ereport() by longjmp().
 *
 * Included once, by the fuzz target.
 */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "access/tupdesc.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

#undef snprintf

typedef struct ShimChunk
{
	struct ShimChunk *next;
	struct ShimChunk **link;
	MemoryContext context;
	Size size;
} ShimChunk;

typedef struct ShimContext
{
	MemoryContextData base;
	ShimChunk *chunks;
	struct ShimContext *parent;
	struct ShimContext *children;
	struct ShimContext *sibling;
} ShimContext;

/* An input that asks for more than this gets "out of memory", as from a server with a limit. */
#define SHIM_MOST_MEMORY ((Size) 512 * 1024 * 1024)

static ShimContext shim_top;
static Size shim_memory;
static ErrorData shim_error;

MemoryContext CurrentMemoryContext = (MemoryContext) &shim_top;
MemoryContext CacheMemoryContext = (MemoryContext) &shim_top;
sigjmp_buf *PG_exception_stack;
ErrorContextCallback *error_context_stack;
volatile sig_atomic_t InterruptPending;

void
pg_re_throw(void)
{
	if (PG_exception_stack == NULL)
		abort();
	siglongjmp(*PG_exception_stack, 1);
}

bool
errstart(int elevel, const char *domain)
{
	memset(&shim_error, 0, sizeof(shim_error));
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	pg_re_throw();
}

int
errcode(int sqlerrcode)
{
	shim_error.sqlerrcode = sqlerrcode;
	return 0;
}

int
errmsg(const char *fmt, ...)
{
	shim_error.message = (char *) fmt;
	return 0;
}

int
errmsg_internal(const char *fmt, ...)
{
	shim_error.message = (char *) fmt;
	return 0;
}

int
errdetail(const char *fmt, ...)
{
	shim_error.detail = (char *) fmt;
	return 0;
}

ErrorData *
CopyErrorData(void)
{
	return &shim_error;
}

void
FlushErrorState(void)
{
}

void
FreeErrorData(ErrorData *edata)
{
}

void
ProcessInterrupts(void)
{
}

static void *
shim_alloc(MemoryContext context, Size size)
{
	ShimContext *owner = (ShimContext *) context;
	ShimChunk *chunk;

	if (size > SHIM_MOST_MEMORY - shim_memory)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	chunk = malloc(sizeof(ShimChunk) + size);
	chunk->context = context;
	chunk->size = size;
	chunk->next = owner->chunks;
	chunk->link = &owner->chunks;
	if (chunk->next)
		chunk->next->link = &chunk->next;
	owner->chunks = chunk;
	shim_memory += size;
	return chunk + 1;
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	if (!AllocSizeIsValid(size))
		abort();
	return shim_alloc(context, size);
}

void *
MemoryContextAllocHuge(MemoryContext context, Size size)
{
	return shim_alloc(context, size);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return memset(MemoryContextAlloc(context, size), 0, size);
}

void
pfree(void *pointer)
{
	ShimChunk *chunk = (ShimChunk *) pointer - 1;

	*chunk->link = chunk->next;
	if (chunk->next)
		chunk->next->link = chunk->link;
	shim_memory -= chunk->size;
	free(chunk);
}

void *
repalloc_huge(void *pointer, Size size)
{
	ShimChunk *chunk = (ShimChunk *) pointer - 1;
	void *copy = shim_alloc(chunk->context, size);

	memcpy(copy, pointer, Min(size, chunk->size));
	pfree(pointer);
	return copy;
}

void *
repalloc(void *pointer, Size size)
{
	return repalloc_huge(pointer, size);
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size minContextSize,
							  Size initBlockSize, Size maxBlockSize)
{
	ShimContext *context = calloc(1, sizeof(ShimContext));

	context->parent = (ShimContext *) parent;
	context->sibling = context->parent->children;
	context->parent->children = context;
	return &context->base;
}

void
MemoryContextReset(MemoryContext context)
{
	ShimContext *owner = (ShimContext *) context;

	while (owner->children)
		MemoryContextDelete(&owner->children->base);
	while (owner->chunks)
		pfree(owner->chunks + 1);
}

void
MemoryContextDelete(MemoryContext context)
{
	ShimContext *owner = (ShimContext *) context;
	ShimContext **link = &owner->parent->children;

	MemoryContextReset(context);
	while (*link != owner)
		link = &(*link)->sibling;
	*link = owner->sibling;
	free(owner);
}

static pg_crc32c
shim_crc(pg_crc32c crc, const void *data, size_t len)
{
	const uint8 *bytes = data;

	/* not the real one: wrong checksums are let through while fuzzing; but each byte is touched */
	for (size_t i = 0; i < len; i++)
		crc = crc * 31 + bytes[i];
	return crc;
}

pg_crc32c (*pg_comp_crc32c)(pg_crc32c crc, const void *data, size_t len) = shim_crc;

static int
shim_popcount64(uint64 word)
{
	return __builtin_popcountll(word);
}

int (*pg_popcount64)(uint64 word) = shim_popcount64;

void
pg_qsort(void *base, size_t nel, size_t elsize, int (*cmp)(const void *, const void *))
{
#undef qsort
	qsort(base, nel, elsize, cmp);
}

struct varlena *
detoast_attr(struct varlena *attr)
{
	abort();
}

Oid
getBaseType(Oid typid)
{
	return typid;
}

Datum
getmissingattr(TupleDesc tupleDesc, int attnum, bool *isnull)
{
	*isnull = true;
	return (Datum) 0;
}
