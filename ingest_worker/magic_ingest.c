/*
 * magic_ingest.c
 *		Module start of the worker library.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;
