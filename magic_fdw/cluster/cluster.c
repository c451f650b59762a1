/*
 * cluster.c
 *		What calculator clusters need of C: borders that divide a table, and a snapshot that
 *		several connections share.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
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

/* May the user read some column of the table, or of a partitioned table above it? */
static bool
may_read(Oid relid)
{
	List *above = get_rel_relispartition(relid) ? get_partition_ancestors(relid) : NIL;
	ListCell *lc;

	above = lcons_oid(relid, above);
	foreach (lc, above)
		if (pg_class_aclcheck(lfirst_oid(lc), GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
			pg_attribute_aclcheck_all(lfirst_oid(lc), GetUserId(), ACL_SELECT, ACLMASK_ANY) ==
				ACLCHECK_OK)
			return true;
	return false;
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
	Oid relid = PG_GETARG_OID(0);
	int n = PG_GETARG_INT32(1);
	Relation rel;
	ItemPointer borders;
	Datum *datums;
	int count = 0;

	if (n < 1 || n > 10000)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the number of partitions must be from 1 to 10000")));
	rel = table_open(relid, AccessShareLock);
	if (!may_read(relid))
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
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
