/*
 * rowlock.c
 *		Locks on rows: PostgreSQL's heavyweight locks on (table, TID), held to the end of the transaction.
 *
 * So waiting, NOWAIT, SKIP LOCKED, deadlock detection, release with a subtransaction and PREPARE work for
 * each row. A locker takes, top down: an intent lock on the table's tag, an intent lock on the tag of the
 * row's delete block, the lock on the row. When a transaction holds many rows of a block (or of a table)
 * it tries to take the block's (table's) tag in a strong mode, which stands for all rows; it never waits
 * for that, so escalation cannot deadlock.
 *
 *		locker		intent on tags		strong on tags		on the row
 *		exclusive	RowExclusive		AccessExclusive		AccessExclusive
 *		shared		RowShare			Share				AccessShare (KEY SHARE), RowShare (SHARE)
 *
 * NO KEY UPDATE locks are taken as exclusive ones: a KEY SHARE lock is not carried to a row's new version,
 * so every update must wait for it.
 *
 * All tags are tuple tags, with offsets that no TID has: page tags are not seen by the deadlock detector.
 */
#include "engine/engine_int.h"

#include "access/xact.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define BLOCK_TAG_OFFSET 0xfff0
#define TABLE_TAG_OFFSET 0xfff1
#define COMPACTION_TAG_OFFSET 0xfff2

/* Row locks in a block before its tag is tried; locks in a table before its tag is tried. */
#define ROWS_BEFORE_BLOCK 16
#define LOCKS_BEFORE_TABLE 2000

typedef struct LockCountKey
{
	Oid			relid;
	uint32		pad;
	uint64		block;			/* PG_UINT64_MAX: the table */
} LockCountKey;

typedef struct LockCount
{
	LockCountKey key;
	uint32		locks;
} LockCount;

/* Counts of locks taken by this transaction; only a guide, subtransactions may have dropped some. */
static HTAB *lock_counts;
static LocalTransactionId counts_lxid;

static void
row_tag(Relation rel, RowNumber row, LOCKTAG *tag)
{
	ItemPointerData tid;

	row_to_tid(row, &tid);
	SET_LOCKTAG_TUPLE(*tag, rel->rd_lockInfo.lockRelId.dbId, rel->rd_lockInfo.lockRelId.relId,
					  ItemPointerGetBlockNumber(&tid), ItemPointerGetOffsetNumber(&tid));
}

static void
block_tag(Relation rel, uint64 block, LOCKTAG *tag)
{
	SET_LOCKTAG_TUPLE(*tag, rel->rd_lockInfo.lockRelId.dbId, rel->rd_lockInfo.lockRelId.relId,
					  (BlockNumber) block, BLOCK_TAG_OFFSET);
}

static void
table_tag(Relation rel, LOCKTAG *tag)
{
	SET_LOCKTAG_TUPLE(*tag, rel->rd_lockInfo.lockRelId.dbId, rel->rd_lockInfo.lockRelId.relId, 0,
					  TABLE_TAG_OFFSET);
}

static bool
acquire(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	return LockAcquire(tag, mode, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

static bool
strongly_held(const LOCKTAG *tag, bool exclusive)
{
	return LockHeldByMe(tag, AccessExclusiveLock) || (!exclusive && LockHeldByMe(tag, ShareLock));
}

static uint32
count_lock(Relation rel, uint64 block)
{
	LockCountKey key = {.relid = RelationGetRelid(rel), .block = block};
	LockCount  *entry;
	bool		found;

	if (lock_counts == NULL || counts_lxid != MyProc->lxid)
	{
		HASHCTL		ctl = {.keysize = sizeof(LockCountKey), .entrysize = sizeof(LockCount),
		.hcxt = TopTransactionContext};

		/* the old one went with its transaction's memory */
		lock_counts = hash_create("magic row locks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		counts_lxid = MyProc->lxid;
	}
	entry = hash_search(lock_counts, &key, HASH_ENTER, &found);
	if (!found)
		entry->locks = 0;
	return ++entry->locks;
}

/*
 * Locks a row to the end of the transaction. False if the policy says not to wait and somebody else
 * holds it; the intent locks may be held then.
 */
bool
row_lock(Relation rel, RowNumber row, LockTupleMode mode, LockWaitPolicy policy)
{
	static LocalTransactionId last_lxid;
	static SubTransactionId last_subid;
	static Oid	last_relid;
	static uint64 last_block;
	static bool last_exclusive;

	bool		exclusive = mode >= LockTupleNoKeyExclusive;
	bool		wait = policy == LockWaitBlock;
	LOCKMODE	intent = exclusive ? RowExclusiveLock : RowShareLock;
	LOCKMODE	strong = exclusive ? AccessExclusiveLock : ShareLock;
	uint64		block = row / DELETE_BLOCK_ROWS;
	LOCKTAG		tag;

	table_tag(rel, &tag);
	if (strongly_held(&tag, exclusive))
		return true;
	if (last_lxid != MyProc->lxid || last_subid != GetCurrentSubTransactionId() ||
		last_relid != RelationGetRelid(rel) || last_block != block || last_exclusive != exclusive)
	{
		last_relid = InvalidOid;
		if (!acquire(&tag, intent, wait))
			return false;
		block_tag(rel, block, &tag);
		if (!acquire(&tag, intent, wait))
			return false;
		last_lxid = MyProc->lxid;
		last_subid = GetCurrentSubTransactionId();
		last_relid = RelationGetRelid(rel);
		last_block = block;
		last_exclusive = exclusive;
	}
	block_tag(rel, block, &tag);
	if (strongly_held(&tag, exclusive))
		return true;

	if (count_lock(rel, PG_UINT64_MAX) % LOCKS_BEFORE_TABLE == 0)
	{
		table_tag(rel, &tag);
		if (acquire(&tag, strong, false))
			return true;
	}
	if (count_lock(rel, block) % ROWS_BEFORE_BLOCK == 0)
	{
		block_tag(rel, block, &tag);
		if (acquire(&tag, strong, false))
			return true;
	}
	row_tag(rel, row, &tag);
	if (exclusive)
		return acquire(&tag, AccessExclusiveLock, wait);
	return acquire(&tag, mode == LockTupleShare ? RowShareLock : AccessShareLock, wait);
}

/* Locks all rows of the table exclusively, to the end of the transaction. */
bool
row_lock_table(Relation rel, bool wait)
{
	LOCKTAG		tag;

	table_tag(rel, &tag);
	return acquire(&tag, AccessExclusiveLock, wait);
}

static TransactionId
exclusive_holder(const LOCKTAG *tag)
{
	int			n;
	VirtualTransactionId *holders = GetLockConflicts(tag, AccessShareLock, &n);
	TransactionId xid = InvalidTransactionId;

	for (int i = 0; i < n && !TransactionIdIsValid(xid); i++)
	{
		if (holders[i].backendId == InvalidBackendId)
			xid = holders[i].localTransactionId;	/* a prepared transaction */
		else
		{
			PGPROC	   *proc = BackendIdGetProc(holders[i].backendId);

			/* It may have ended since: then the caller finds the row's new state by itself. */
			if (proc != NULL && proc->lxid == holders[i].localTransactionId)
				xid = proc->xid;
		}
	}
	return xid;
}

/*
 * The transaction that holds the row exclusively, other than this one: it may have deleted the row and
 * not told yet. InvalidTransactionId if there is none.
 */
TransactionId
row_lock_holder(Relation rel, RowNumber row)
{
	LOCKTAG		tag;
	TransactionId xid;

	row_tag(rel, row, &tag);
	xid = exclusive_holder(&tag);
	if (!TransactionIdIsValid(xid))
	{
		block_tag(rel, row / DELETE_BLOCK_ROWS, &tag);
		xid = exclusive_holder(&tag);
	}
	if (!TransactionIdIsValid(xid))
	{
		table_tag(rel, &tag);
		xid = exclusive_holder(&tag);
	}
	return xid;
}

/* One merge of a table's packs at a time; held to the end of the transaction. */
bool
compaction_lock(Relation rel, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_TUPLE(tag, rel->rd_lockInfo.lockRelId.dbId, rel->rd_lockInfo.lockRelId.relId, 0,
					  COMPACTION_TAG_OFFSET);
	return acquire(&tag, ExclusiveLock, wait);
}
