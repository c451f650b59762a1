/*
 * cluster.c
 *		What calculator clusters need of C: a snapshot that several connections share.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(magic_export_snapshot);

/*
 * magic.export_snapshot() -> text
 *
 * pg_export_snapshot(), refused where the snapshot would end with the statement and every later
 * import would fail.
 */
Datum
magic_export_snapshot(PG_FUNCTION_ARGS)
{
	RequireTransactionBlock(true, "magic.spark_snapshot()");
	PG_RETURN_TEXT_P(cstring_to_text(ExportSnapshot(GetActiveSnapshot())));
}
