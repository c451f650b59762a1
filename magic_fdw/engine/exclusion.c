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
 * For tables that have such an exclusion constraint the fetch itself waits for the inserter, or for the end of its
 * speculative insertion, and then looks again. So two sessions wait for each other's rows also when only
 * the index takes them for conflicting; a deadlock that arises from it is detected.
 *
 * Checks by btree are exact. They fetch rows under an index page's lock, or keep its pin, which VACUUM would
 * wait for: they never wait here, also not for the sake of an expression. Interrupts are held off under a
 * page's lock.
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "catalog/pg_am.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
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

static bool
table_needs_values(Relation rel)
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

/*
 * Waits for the end of the insertion of a row whose values the caller may need. Returns false at once if
 * nobody needs them, or if the caller may not wait.
 */
bool
exclusion_wait_for_values(Relation rel, RowNumber row, TransactionId inserter, uint32 token)
{
	ItemPointerData tid;

	if (InterruptHoldoffCount > 0 || !table_needs_values(rel))
		return false;
	row_to_tid(row, &tid);
	if (token != 0)
		SpeculativeInsertionWait(inserter, token);
	else
		XactLockTableWait(inserter, rel, &tid, XLTW_RecheckExclusionConstr);
	return true;
}
