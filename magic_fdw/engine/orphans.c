/*
 * orphans.c
 *		Metadata of tables that are gone: temporary tables of a server that crashed.
 *
 * A table that is dropped takes its directory rows, deltas and free extents along, found by the storage id
 * in its metapage. The files of temporary tables are removed when the server starts after a crash, before
 * anyone drops the tables: then nothing tells which rows were theirs. They are those whose storage no table
 * has.
 *
 * Order matters, because tables come and go meanwhile. First the storages are listed of which some row is
 * settled: whoever made them is over. Then we look whether any session has temporary tables: those of
 * others cannot be read, so nothing is done then. At last every permanent table is read; one that cannot be
 * locked at once ends the search. What is left has no table.
 */
#include "engine/engine_int.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/hsearch.h"
#include "utils/rel.h"

/* The storages that the metadata has known for long; NULL if none. */
static HTAB *
list_old_storages(void)
{
	HASHCTL ctl = {
		.keysize = sizeof(uint64), .entrysize = sizeof(uint64), .hcxt = CurrentMemoryContext};
	HTAB *storages = hash_create("magic storages", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	TransactionId horizon = directory_horizon();
	uint64 storage = 0;
	bool settled;

	while (directory_next_storage(storage, horizon, &storage, &settled))
	{
		CHECK_FOR_INTERRUPTS();
		if (settled)
			(void) hash_search(storages, &storage, HASH_ENTER, NULL);
	}
	return storages;
}

static bool
anyone_has_temporary_tables(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		PGPROC *proc = &ProcGlobal->allProcs[i];

		if (proc->databaseId == MyDatabaseId && OidIsValid(proc->tempNamespaceId))
			return true;
	}
	return false;
}

/* Takes the table's storage out of the list; false if it cannot be read now. */
static bool
strike_out(Oid relid, HTAB *storages)
{
	Relation rel;
	uint64 storage;
	bool readable = true;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return false;
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
	{
		/* being dropped when we looked: whoever did so has cleared up */
		UnlockRelationOid(relid, AccessShareLock);
		return false;
	}
	if (engine_is_magic(rel))
	{
		readable = storage_id_if_readable(rel, &storage);
		if (readable)
			(void) hash_search(storages, &storage, HASH_REMOVE, NULL);
	}
	relation_close(rel, AccessShareLock);
	return readable;
}

/* Takes the storages of all permanent tables out of the list; false if one cannot be read now. */
static bool
strike_out_tables(HTAB *storages)
{
	Relation classes = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(classes, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	bool complete = true;

	while (complete && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		CHECK_FOR_INTERRUPTS();
		/* another access method may have the same handler */
		if ((form->relkind == RELKIND_RELATION || form->relkind == RELKIND_MATVIEW) &&
			form->relam != HEAP_TABLE_AM_OID && form->relpersistence != RELPERSISTENCE_TEMP)
			complete = strike_out(form->oid, storages);
	}
	systable_endscan(scan);
	table_close(classes, AccessShareLock);
	return complete;
}

/*
 * Deletes the metadata of storages that no table has, in the current transaction. Returns how many there
 * were; 0 also if that cannot be told now.
 */
int
orphans_sweep(void)
{
	HTAB *storages = list_old_storages();
	HASH_SEQ_STATUS seq;
	uint64 *storage;
	int count = 0;

	if (hash_get_num_entries(storages) > 0 && !anyone_has_temporary_tables() &&
		strike_out_tables(storages))
	{
		hash_seq_init(&seq, storages);
		while ((storage = hash_seq_search(&seq)) != NULL)
		{
			directory_forget_storage(*storage);
			count++;
		}
	}
	hash_destroy(storages);
	return count;
}
