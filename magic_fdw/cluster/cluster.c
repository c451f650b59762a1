/*
 * cluster.c
 *		What calculator clusters need of C: borders that divide a table, and a snapshot that
 *		several connections share.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "engine/engine.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(magic_partition_borders);
PGDLLEXPORT PG_FUNCTION_INFO_V1(magic_export_snapshot);

/* First TIDs of the second and later parts of a magic table: borders of packs. */
static int
pack_borders(Relation rel, int n, ItemPointer borders)
{
	uint64 *starts = palloc(sizeof(uint64) * n);
	int parts = engine_partitions(rel, GetActiveSnapshot(), n, starts);

	for (int i = 1; i < parts; i++)
		ItemPointerSet(&borders[i - 1], starts[i] / ENGINE_ROWS_PER_TID_BLOCK,
					   starts[i] % ENGINE_ROWS_PER_TID_BLOCK + 1);
	pfree(starts);
	return Max(parts, 1) - 1;
}

/* The same of any other table: even ranges of blocks. */
static int
block_borders(Relation rel, int n, ItemPointer borders)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);
	int parts = Min(n, Max(blocks, 1));

	for (int i = 1; i < parts; i++)
		ItemPointerSet(&borders[i - 1], (BlockNumber) ((uint64) i * blocks / parts), 0);
	return parts - 1;
}

/*
 * magic.partition_borders(rel regclass, n int) -> tid[]
 *
 * At most n - 1 ascending TIDs that divide the stored rows of one table into parts of about the
 * same size.
 */
Datum
magic_partition_borders(PG_FUNCTION_ARGS)
{
	Relation rel = table_open(PG_GETARG_OID(0), AccessShareLock);
	int n = PG_GETARG_INT32(1);
	ItemPointer borders;
	Datum *datums;
	int count = 0;

	if (n < 1 || n > 10000)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the number of partitions must be from 1 to 10000")));
	borders = palloc(sizeof(ItemPointerData) * n);
	if (engine_is_magic(rel))
		count = pack_borders(rel, n, borders);
	else if (RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
		count = block_borders(rel, n, borders);
	table_close(rel, AccessShareLock);

	datums = palloc(sizeof(Datum) * n);
	for (int i = 0; i < count; i++)
		datums[i] = PointerGetDatum(&borders[i]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(datums, count, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
}

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
