/*
 * exclusion.c
 *		Rows in progress and checks that need their values.
 *
 * The values of a row that another backend is inserting are in that backend's memory. A check by an index
 * finds the row's entry there and waits for the inserter, as on heap; but some checks want the values first:
 *
 * - Inexact indexes (GiST over circles or polygons, hash) compare the new values with the row's own, and
 *   with unknown (null) values that says "no conflict".
 * - Keys that are expressions are evaluated, by functions that may refuse null.
 *
 * So a row in progress that such an index finds counts as conflicting: the scan is told that nothing is to be
 * compared (xs_recheck), and who runs it does what he does on heap with a conflicting row in progress: ends
 * the scan, waits, looks again; or, if the constraint is deferred, looks again later. Two sessions may so
 * wait for each other's rows although only the index takes them for conflicting; a deadlock that arises from
 * it is detected. A table's fetch does not know the scan that it is for, so the access method's amgettuple
 * is called through a function that notes it (note_scan), for such indexes of magic tables only.
 *
 * Where expressions are evaluated the fetch itself waits for the inserter, or for the end of its speculative
 * insertion, and then fetches again. But nothing may wait there that keeps a pin on a page, because VACUUM
 * waits for pins and the deadlock detector does not see that: GiST and SP-GiST keep none. Btree and hash
 * do; for these an expression is evaluated with nulls. Btree also fetches under a page's lock, where
 * interrupts are held off.
 */
#include "engine/engine_int.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/relscan.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"

/* Built-in families of GiST and SP-GiST whose answers are exact. Their OIDs are fixed, without names. */
static const Oid exact_families[] = {
	2593, /* gist: box_ops */
	3550, /* gist: network_ops */
	3919, /* gist: range_ops */
	3474, /* spgist: range_ops */
	3794, /* spgist: network_ops */
	4015, /* spgist: quad_point_ops */
	4016, /* spgist: kd_point_ops */
	4017, /* spgist: text_ops */
	5000  /* spgist: box_ops */
};

/* Are the answers of the key column exact? Those of the extension btree_gist are known by their keys. */
static bool
key_is_exact(Relation index, int key)
{
	char *key_type;
	bool result;

	for (int i = 0; i < lengthof(exact_families); i++)
		if (index->rd_opfamily[key] == exact_families[i])
			return true;
	key_type = format_type_be(TupleDescAttr(RelationGetDescr(index), key)->atttypid);
	result = strstr(key_type, "gbtreekey") != NULL;
	pfree(key_type);
	return result;
}

static bool
index_needs_values(Relation index)
{
	if (!index->rd_index->indisexclusion || index->rd_rel->relam == BTREE_AM_OID)
		return false;
	if (RelationGetIndexExpressions(index) != NIL)
		return true;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		if (!key_is_exact(index, i))
			return true;
	return false;
}

/* ---------------------------------------------------------------- which tables */

/* What is known of a table; dropped when its relcache entry is. */
typedef struct TableNeeds
{
	Oid relid; /* hash key */
	bool values;
} TableNeeds;

static HTAB *table_needs;
static uint64 invalidations;

static void
forget_needs(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS seq;
	TableNeeds *entry;

	invalidations++;
	if (OidIsValid(relid))
		(void) hash_search(table_needs, &relid, HASH_REMOVE, NULL);
	else
	{
		hash_seq_init(&seq, table_needs);
		while ((entry = hash_seq_search(&seq)) != NULL)
			(void) hash_search(table_needs, &entry->relid, HASH_REMOVE, NULL);
	}
}

static bool
read_needs(Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;
	bool result = false;

	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		result = index_needs_values(index);
		index_close(index, NoLock);
		if (result)
			break;
	}
	list_free(indexes);
	return result;
}

/* Has the table an index whose checks need the values of rows in progress? */
static bool
table_needs_values(Relation rel)
{
	Oid relid = RelationGetRelid(rel);
	TableNeeds *entry;
	uint64 before;
	bool result;

	if (table_needs == NULL)
	{
		HASHCTL ctl = {
			.keysize = sizeof(Oid), .entrysize = sizeof(TableNeeds), .hcxt = TopMemoryContext};

		table_needs =
			hash_create("magic exclusion checks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		CacheRegisterRelcacheCallback(forget_needs, (Datum) 0);
	}
	entry = hash_search(table_needs, &relid, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->values;
	before = invalidations;
	result = read_needs(rel);
	if (before == invalidations)
		((TableNeeds *) hash_search(table_needs, &relid, HASH_ENTER, NULL))->values = result;
	return result;
}

/* ---------------------------------------------------------------- the scan of a fetch */

/* The own amgettuple of access methods that have been met; there are few. */
typedef struct GetTuple
{
	Oid am;
	amgettuple_function function;
} GetTuple;

static GetTuple get_tuples[16];
static int nget_tuples;

/* Of checks only: the scan that has found an entry, and the one whose row is being fetched. */
static IndexScanDesc noted_scan;
static IndexScanDesc fetching_scan;

static bool
note_scan(IndexScanDesc scan, ScanDirection direction)
{
	Oid am = scan->indexRelation->rd_rel->relam;
	int i = 0;
	bool found;

	while (get_tuples[i].am != am)
		i++;
	found = get_tuples[i].function(scan, direction);
	noted_scan = found && scan->xs_snapshot->snapshot_type == SNAPSHOT_DIRTY ? scan : NULL;
	return found;
}

/* Has the index tell which scan fetches. Its relcache entry may be built anew between two scans. */
static void
watch_index(Relation index)
{
	Oid am = index->rd_rel->relam;
	int i = 0;

	if (index->rd_indam->amgettuple == NULL || index->rd_indam->amgettuple == note_scan)
		return;
	while (i < nget_tuples && get_tuples[i].am != am)
		i++;
	if (i == lengthof(get_tuples))
		elog(ERROR, "too many index access methods have exclusion constraints");
	get_tuples[i].am = am;
	get_tuples[i].function = index->rd_indam->amgettuple;
	nget_tuples = Max(nget_tuples, i + 1);
	index->rd_indam->amgettuple = note_scan;
}

/* A scan of one of the table's indexes begins, or a btree's check under a page's lock. */
void
exclusion_scan_begins(Relation rel)
{
	List *indexes;
	ListCell *lc;

	noted_scan = NULL;
	if (InterruptHoldoffCount > 0 || !table_needs_values(rel))
		return;
	indexes = RelationGetIndexList(rel);
	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index_needs_values(index))
			watch_index(index);
		index_close(index, NoLock);
	}
	list_free(indexes);
}

/* A row is going to be fetched. */
void
exclusion_fetch_begins(IndexFetchTableData *fetch)
{
	fetching_scan = noted_scan;
	noted_scan = NULL;
	Assert(fetching_scan == NULL || fetching_scan->xs_heapfetch == fetch);
}

/*
 * A check has found an entry of a row whose inserter is running, and does not know the row's values. Makes
 * the row count as conflicting; or waits for the end of the insertion and returns true, if the values are
 * wanted at once.
 */
bool
exclusion_wait_for_values(Relation rel, RowNumber row, TransactionId inserter, uint32 token)
{
	IndexScanDesc scan = fetching_scan;
	ItemPointerData tid;

	if (scan == NULL)
		return false;
	if (RelationGetIndexExpressions(scan->indexRelation) == NIL ||
		scan->indexRelation->rd_rel->relam == HASH_AM_OID)
	{
		scan->xs_recheck = false;
		return false;
	}
	row_to_tid(row, &tid);
	if (token != 0)
		SpeculativeInsertionWait(inserter, token);
	else
		XactLockTableWait(inserter, rel, &tid, XLTW_RecheckExclusionConstr);
	return true;
}
