/*
 * plan.c
 *		Sizes, paths and plans of scans of foreign tables.
 */
#include "postgres.h"

#include "fmgr.h"

#include "connector/connector.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(magic_fdw_handler);

/* magic_fdw_handler() -> fdw_handler */
Datum
magic_fdw_handler(PG_FUNCTION_ARGS)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("foreign tables of magic_fdw cannot be queried yet")));
}
