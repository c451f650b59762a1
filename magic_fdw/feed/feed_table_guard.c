/*
 * feed_table_guard.c
 *		Changes by hand of a feed's tables are refused unless the feed's on_local_write says allow.
 *
 * INSERT, UPDATE, DELETE, MERGE and COPY FROM are caught where the executor checks permissions, TRUNCATE
 * where its access hook is called. The apply itself goes neither way. SELECT ... FOR UPDATE is
 * not a change.
 *
 * Which relations belong to feeds is in magic.feed_table. A relation that is not there is remembered
 * until its relcache entry is invalidated (adoption does that); one that is there is looked up
 * every time, so that dropping a feed or altering its option takes effect at once. A restore from a
 * dump fills tables whose registry rows may be there already: those rows bear the OID of old, and the
 * guard is off until the feed's worker takes the table again.
 */
#include "feed/feed_internal.h"

#include "magic_compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parse_relation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "feed/feed_table.h"

static ExecutorCheckPerms_hook_type previous_check_perms = NULL;
static object_access_hook_type previous_object_access = NULL;

/* Relations that belong to no feed. */
static HTAB *strangers = NULL;

static void
relcache_callback(Datum arg, Oid relid)
{
	if (strangers == NULL)
		return;
	if (OidIsValid(relid))
		hash_search(strangers, &relid, HASH_REMOVE, NULL);
	else
	{
		hash_destroy(strangers);
		strangers = NULL;
	}
}

static void
remember_stranger(Oid relid)
{
	static bool callback_registered = false;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		callback_registered = true;
	}
	if (strangers == NULL)
	{
		HASHCTL ctl = {
			.keysize = sizeof(Oid), .entrysize = sizeof(Oid), .hcxt = CacheMemoryContext};

		strangers =
			hash_create("relations of no feed", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	hash_search(strangers, &relid, HASH_ENTER, NULL);
}

/*
 * The value of column `wanted` in the row of magic.`table_name` whose `key_column` equals `key`;
 * false if there is no such row.
 */
static bool
lookup(const char *table_name, const char *index_name, const char *key_column, Datum key,
	   RegProcedure equal, const char *wanted, Datum *value)
{
	Oid nsp = get_namespace_oid("magic", true);
	Oid relid = OidIsValid(nsp) ? get_relname_relid(table_name, nsp) : InvalidOid;
	Oid indexid = OidIsValid(nsp) ? get_relname_relid(index_name, nsp) : InvalidOid;
	Relation rel;
	ScanKeyData scan_key;
	SysScanDesc scan;
	HeapTuple tuple;
	AttrNumber attno;
	bool found;
	bool isnull = true;

	if (!OidIsValid(relid) || !OidIsValid(indexid))
		return false;
	attno = get_attnum(relid, wanted);
	if (attno == InvalidAttrNumber)
		return false;
	rel = table_open(relid, AccessShareLock);
	ScanKeyInit(&scan_key, get_attnum(relid, key_column), BTEqualStrategyNumber, equal, key);
	scan = systable_beginscan(rel, indexid, true, GetLatestSnapshot(), 1, &scan_key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		Datum datum = heap_getattr(tuple, attno, RelationGetDescr(rel), &isnull);

		if (!isnull)
			*value = get_atttype(relid, attno) == TEXTOID
						 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(datum))
						 : datum;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found && !isnull;
}

static void
refuse_if_feed_table(Oid relid)
{
	Datum feed_id;
	Datum policy;
	Datum name;
	Datum taken;

	if (strangers != NULL && hash_search(strangers, &relid, HASH_FIND, NULL) != NULL)
		return;
	if (!lookup("feed_table", "feed_table_relation", "relation", ObjectIdGetDatum(relid), F_OIDEQ,
				"feed_id", &feed_id))
	{
		remember_stranger(relid);
		return;
	}
	if (!lookup("feed_table", "feed_table_relation", "relation", ObjectIdGetDatum(relid), F_OIDEQ,
				"relation_oid", &taken) ||
		DatumGetObjectId(taken) != relid)
		return;
	if (!lookup("feed", "feed_pkey", "id", feed_id, F_INT4EQ, "on_local_write", &policy) ||
		strcmp(TextDatumGetCString(policy), "allow") == 0)
		return;
	if (!lookup("feed", "feed_pkey", "id", feed_id, F_INT4EQ, "name", &name))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("cannot change table \"%s\"", get_rel_name(relid)),
		 errdetail("It follows a TiDB table: feed \"%s\" writes it.", TextDatumGetCString(name)),
		 errhint("Let it be changed with magic.alter_feed(..., on_local_write => 'allow'), or "
				 "drop the feed: magic.drop_feed() keeps its tables.")));
}

static bool
check_perms(List *range_table, COMPAT_PERMINFOS_PARAM bool ereport_on_violation)
{
	ListCell *lc;

	if (previous_check_perms &&
		!previous_check_perms(range_table, COMPAT_PERMINFOS_ARG ereport_on_violation))
		return false;
	if (!IsTransactionState() || IsBootstrapProcessingMode())
		return true;
	foreach (lc, range_table)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		RTEPermissionInfo *info = compat_perminfo(perminfos, rte);
		bool changes;

		if (info == NULL ||
			(rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_PARTITIONED_TABLE))
			continue;
		changes = (info->requiredPerms & (ACL_INSERT | ACL_DELETE)) != 0 ||
				  ((info->requiredPerms & ACL_UPDATE) != 0 && !bms_is_empty(info->updatedCols));
		if (changes && rte->relid >= FirstNormalObjectId)
			refuse_if_feed_table(rte->relid);
	}
	return true;
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);
	if (access == OAT_TRUNCATE && class_id == RelationRelationId &&
		object_id >= FirstNormalObjectId)
		refuse_if_feed_table(object_id);
}

void
feed_table_init(void)
{
	previous_check_perms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = check_perms;
	previous_object_access = object_access_hook;
	object_access_hook = object_access;
}
