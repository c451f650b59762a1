/* pack_test.h: what the files of the module share. */
#ifndef PACK_TEST_H
#define PACK_TEST_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "engine/pack.h"

/* Pages of PACK_PAGE_PAYLOAD bytes: what crosses a border is copied, as from buffers. */
typedef struct PagedSource
{
	PackSource base;
	const uint8 *data;
	uint64 copies;
} PagedSource;

/* pack_test.c: checksums are not looked at, so that damage is met behind them */
extern bool pack_fuzzing;

extern void paged_source_init(PagedSource *source, const uint8 *data, uint64 length);

/* Rows as they went into a pack. */
typedef struct Rows
{
	TupleDesc desc;
	uint32 nrows;
	Datum **values; /* by row */
	bool **nulls;
	uint32 *positions;
	uint32 span;
} Rows;

/* Raises at the first difference; pack_test_compare.c. */
extern void compare_pack(const Rows *rows, const PackBytes *bytes, bool paged);

/* Reads everything and compares nothing. */
extern void read_all(PackReader *reader, TupleDesc desc);

#endif
