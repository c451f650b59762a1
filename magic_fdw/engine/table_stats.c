/*
 * table_stats.c
 *		What monitoring wants to know of a table: magic.table_stats, magic.column_stats.
 *
 * table_stats_of() reads the directory, the deltas and the free extents of one table, no pages of packs.
 * It waits for nobody: of a table that somebody has locked exclusively it tells nothing. column_stats()
 * opens every pack and reads the descriptors of its columns, a page or two of each. The rows are those of
 * the newest snapshot. Both answer who may read the table or is a member of pg_monitor or magic_admin, and
 * tell others nothing.
 *
 * One damaged table does not hide the others: what cannot be read is told in a warning, its figures are NULL.
 */
#include "engine/compaction.h"
#include "engine/engine_int.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(magic_table_stats_of);
PG_FUNCTION_INFO_V1(magic_column_stats);
PGDLLEXPORT Datum magic_table_stats_of(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum magic_column_stats(PG_FUNCTION_ARGS);

/* Sizes of packs that the view tells apart: a block of a scan; what merges leave alone. */
#define TINY_PACK_ROWS PACK_VECTOR
#define SMALL_PACK_ROWS (PACK_TARGET_ROWS / 2)

/* Columns of table_stats_of(). */
enum
{
	STAT_ROWS,
	STAT_DEAD_ROWS,
	STAT_PACKS,
	STAT_INLINE_PACKS,
	STAT_TINY_PACKS,
	STAT_SMALL_PACKS,
	STAT_FULL_PACKS,
	STAT_PACK_BYTES,
	STAT_DELTAS,
	STAT_DELTA_BYTES,
	STAT_SIZE_BYTES,
	STAT_FREE_BYTES,
	STAT_COMPRESSION,
	STAT_LAST_MERGE,
	STAT_MERGES,
	STAT_WRITE_AMPLIFICATION,
	STAT_ROW_NUMBERS_LEFT,
	STAT_COLUMNS
};

static bool
may_see(Oid relid)
{
	Oid admin = get_role_oid("magic_admin", true);

	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		   has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) ||
		   (OidIsValid(admin) && has_privs_of_role(GetUserId(), admin));
}

/* Opens a magic table that the user may see; NULL if it is none, or is locked and we shall not wait. */
static Relation
open_visible(Oid relid, bool wait)
{
	Relation rel;

	if (wait)
		LockRelationOid(relid, AccessShareLock);
	else if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(relid, AccessShareLock);
		return NULL;
	}
	if (engine_is_magic(rel) && !RELATION_IS_OTHER_TEMP(rel) && may_see(relid))
		return rel;
	relation_close(rel, AccessShareLock);
	return NULL;
}

/* Does the error tell of a table's files, so that other tables can be read nevertheless? */
static bool
is_damage(int sqlstate)
{
	return sqlstate == ERRCODE_DATA_CORRUPTED || sqlstate == ERRCODE_INDEX_CORRUPTED ||
		   sqlstate == ERRCODE_FEATURE_NOT_SUPPORTED ||
		   ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_SYSTEM_ERROR;
}

typedef struct Collection
{
	Relation rel;
	void (*collect)(Relation rel, void *arg);
	void *arg;
} Collection;

static void
run_collection(void *arg)
{
	Collection *collection = arg;

	collection->collect(collection->rel, collection->arg);
}

/*
 * Collects figures in a subtransaction, memory in the current context. If the table is damaged: a warning,
 * and false. What this transaction has pending was flushed before.
 */
static bool
collect_or_warn(Relation rel, void (*collect)(Relation rel, void *arg), void *arg)
{
	Collection collection = {.rel = rel, .collect = collect, .arg = arg};
	ErrorData *error = run_guarded(run_collection, &collection);

	if (error == NULL)
		return true;
	if (!is_damage(error->sqlerrcode))
		ReThrowError(error);
	error->elevel = WARNING;
	ThrowErrorData(error);
	return false;
}

/* ---------------------------------------------------------------- tables */

/* A row of table_stats_of(). */
typedef struct TableStats
{
	Datum values[STAT_COLUMNS];
	bool nulls[STAT_COLUMNS];
} TableStats;

typedef struct DeltaTotals
{
	int64 n;
	int64 bytes;
} DeltaTotals;

static void
count_delta(const DeltaRow *row, void *arg)
{
	DeltaTotals *totals = arg;

	totals->n++;
	totals->bytes += row->length;
}

static void
put(Datum *values, bool *nulls, int column, int64 value)
{
	values[column] = Int64GetDatum(value);
	nulls[column] = false;
}

static void
put_ratio(Datum *values, bool *nulls, int column, double over, double under)
{
	nulls[column] = under <= 0;
	if (under > 0)
		values[column] = Float8GetDatum(over / under);
}

static void
put_packs(Relation rel, const PackList *packs, const DeleteMap *deletes, Datum *values, bool *nulls)
{
	int64 counts[STAT_COLUMNS] = {0};

	for (int i = 0; i < packs->n; i++)
	{
		const PackEntry *pack = &packs->packs[i];
		uint64 dead = delete_map_count_range(deletes, pack->first, pack->first + pack->span);

		dead = Min(dead, pack->rows);
		counts[STAT_DEAD_ROWS] += dead;
		counts[STAT_ROWS] += pack->rows - dead;
		counts[STAT_INLINE_PACKS] += pack->extent.pages == 0;
		counts[STAT_TINY_PACKS] += pack->rows < TINY_PACK_ROWS;
		counts[STAT_SMALL_PACKS] += pack->rows >= TINY_PACK_ROWS && pack->rows < SMALL_PACK_ROWS;
		counts[STAT_FULL_PACKS] += pack->rows >= SMALL_PACK_ROWS;
		counts[STAT_PACK_BYTES] += pack->length;
		if (pack->extent.pages == 0)
			counts[STAT_SIZE_BYTES] += pack->length;
	}
	counts[STAT_PACKS] = packs->n;
	counts[STAT_SIZE_BYTES] += (int64) RelationGetNumberOfBlocks(rel) * BLCKSZ;
	for (int column = STAT_ROWS; column <= STAT_PACK_BYTES; column++)
		put(values, nulls, column, counts[column]);
	put(values, nulls, STAT_SIZE_BYTES, counts[STAT_SIZE_BYTES]);
	put_ratio(values, nulls, STAT_COMPRESSION,
			  (double) (counts[STAT_ROWS] + counts[STAT_DEAD_ROWS]) * get_rel_data_width(rel, NULL),
			  (double) counts[STAT_PACK_BYTES]);
}

static void
put_counters(uint64 storage, Datum *values, bool *nulls)
{
	TableCounters counters;

	if (!table_counters_read(storage, &counters))
		return;
	put(values, nulls, STAT_MERGES, counters.merges);
	if (counters.last_merge != 0)
	{
		values[STAT_LAST_MERGE] = TimestampTzGetDatum(counters.last_merge);
		nulls[STAT_LAST_MERGE] = false;
	}
	put_ratio(values, nulls, STAT_WRITE_AMPLIFICATION,
			  (double) counters.written + (double) counters.merged, (double) counters.written);
}

static void
table_stats(Relation rel, void *arg)
{
	TableStats *stats = arg;
	Datum *values = stats->values;
	bool *nulls = stats->nulls;
	uint64 storage = storage_id(rel);
	DeltaTotals deltas = {0};
	MetaInfo info;
	FreeExtent *list;
	Snapshot snapshot;
	int64 pages = 0;
	int n;

	snapshot = latest_snapshot_register();
	put_packs(rel, directory_load(storage, snapshot, 0, InvalidRowNumber),
			  delete_map_load(storage, snapshot, CurrentMemoryContext), values, nulls);
	delta_scan(storage, -1, snapshot, count_delta, &deltas);
	n = free_extent_list(storage, snapshot, &list);
	for (int i = 0; i < n; i++)
		pages += list[i].extent.pages;
	UnregisterSnapshot(snapshot);
	storage_read_meta(rel, &info);
	put(values, nulls, STAT_DELTAS, deltas.n);
	put(values, nulls, STAT_DELTA_BYTES, deltas.bytes);
	put(values, nulls, STAT_SIZE_BYTES, DatumGetInt64(values[STAT_SIZE_BYTES]) + deltas.bytes);
	put(values, nulls, STAT_FREE_BYTES, pages * BLCKSZ);
	put(values, nulls, STAT_ROW_NUMBERS_LEFT, (int64) (ROW_NUMBER_LIMIT - info.next_row));
	put_counters(storage, values, nulls);
}

Datum
magic_table_stats_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TableStats stats = {0};
	Relation rel;
	MemoryContext cxt;
	MemoryContext old;

	InitMaterializedSRF(fcinfo, 0);
	rel = open_visible(PG_GETARG_OID(0), false);
	if (rel == NULL)
		return (Datum) 0;
	cxt = AllocSetContextCreate(CurrentMemoryContext, "magic table stats", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	(void) writer_flush_all();
	memset(stats.nulls, true, sizeof(stats.nulls));
	if (!collect_or_warn(rel, table_stats, &stats))
		memset(stats.nulls, true, sizeof(stats.nulls));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	relation_close(rel, AccessShareLock);
	tuplestore_putvalues(result->setResult, result->setDesc, stats.values, stats.nulls);
	return (Datum) 0;
}

/* ---------------------------------------------------------------- columns */

/* Figures of one encoding of one column. */
typedef struct EncodingTotals
{
	const char *encoding; /* a constant of the pack reader's */
	int64 packs;
	int64 bytes;
	struct EncodingTotals *next;
} EncodingTotals;

static void
add_encoding(EncodingTotals **list, const char *encoding, uint64 bytes)
{
	EncodingTotals *entry = *list;

	while (entry != NULL && strcmp(entry->encoding, encoding) != 0)
		entry = entry->next;
	if (entry == NULL)
	{
		entry = palloc0(sizeof(EncodingTotals));
		entry->encoding = encoding;
		entry->next = *list;
		*list = entry;
	}
	entry->packs++;
	entry->bytes += bytes;
}

static void
add_pack(Relation rel, const PackEntry *pack, EncodingTotals **totals)
{
	TupleDesc desc = RelationGetDescr(rel);
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "magic pack stats", ALLOCSET_DEFAULT_SIZES);
	StoredPack stored;
	PackReader *reader = stored_pack_open(&stored, rel, pack, desc, NULL, false, cxt);

	for (int att = 0; att < desc->natts; att++)
		if (!TupleDescAttr(desc, att)->attisdropped)
			add_encoding(&totals[att], pack_column_encoding(reader, att),
						 pack_column_bytes(reader, att));
	stored_pack_close(&stored);
	MemoryContextDelete(cxt);
}

/* arg: a list of figures for each column. */
static void
column_stats(Relation rel, void *arg)
{
	Snapshot snapshot = latest_snapshot_register();
	PackList *packs = directory_load(storage_id(rel), snapshot, 0, InvalidRowNumber);

	for (int i = 0; i < packs->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_pack(rel, &packs->packs[i], arg);
	}
	UnregisterSnapshot(snapshot);
}

Datum
magic_column_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation rel;
	TupleDesc desc;
	EncodingTotals **totals;
	int natts;

	InitMaterializedSRF(fcinfo, 0);
	rel = open_visible(PG_GETARG_OID(0), true);
	if (rel == NULL)
		return (Datum) 0;
	desc = RelationGetDescr(rel);
	totals = palloc0(sizeof(EncodingTotals *) * (desc->natts + 1));
	(void) writer_flush_all();
	natts = collect_or_warn(rel, column_stats, totals) ? desc->natts : 0;
	for (int att = 0; att < natts; att++)
		for (EncodingTotals *entry = totals[att]; entry != NULL; entry = entry->next)
		{
			Datum values[4];
			bool nulls[4] = {0};

			values[0] = NameGetDatum(&TupleDescAttr(desc, att)->attname);
			values[1] = CStringGetTextDatum(entry->encoding);
			values[2] = Int64GetDatum(entry->packs);
			values[3] = Int64GetDatum(entry->bytes);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	relation_close(rel, AccessShareLock);
	return (Datum) 0;
}
