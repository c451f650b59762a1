/*
 * rowlock.c
 *		Locks on rows: PostgreSQL's heavyweight locks on (table, TID), held to the end of the transaction.
 *
 * So waiting, NOWAIT, SKIP LOCKED, deadlock detection, release with a subtransaction and PREPARE work for
 * each row. A locker takes, top down: an intent lock on the tags of the table, of the row's delete block
 * and of its group of rows, then the lock on the row. When a transaction holds many rows of a group (a
 * block, a table) it tries to take that tag in a strong mode, which stands for all rows; it never waits
 * for that, so escalation cannot deadlock. A row that somebody else holds keeps its table, block and group
 * from being taken: the group is small, so that even then the lock table does not overflow.
 *
 *		locker					intent on tags		strong on tags		on the row
 *		UPDATE, DELETE			RowExclusive		AccessExclusive		AccessExclusive
 *		FOR UPDATE				RowExclusive		Exclusive			Exclusive
 *		FOR SHARE, KEY SHARE	RowShare			Share				RowShare
 *
 * An AccessShare probe meets only those who change rows: so a unique check finds who may have deleted a
 * row, and does not wait for who has locked it only.
 *
 * FOR NO KEY UPDATE is taken as FOR UPDATE, and every UPDATE as one of the key: a KEY SHARE lock is not
 * carried to a row's new version, so every update must wait for it.
 *
 * All tags are tuple tags, with offsets that no TID has: page tags are not seen by the deadlock detector.
 */
#include "engine/engine_int.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlogutils.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define BLOCK_TAG_OFFSET 0xfff0
#define TABLE_TAG_OFFSET 0xfff1
#define COMPACTION_TAG_OFFSET 0xfff2
#define GROUP_TAG_OFFSET 0xfff3

/* Rows whose locks one group tag stands for. */
#define GROUP_ROWS 256

/* Row locks in a group, in a block, in a table before its tag is tried; and between two tries. */
#define ROWS_BEFORE_GROUP 32
#define ROWS_BEFORE_BLOCK 64
#define LOCKS_BEFORE_TABLE 2000

typedef struct LockCountKey
{
	Oid relid;
	uint32 offset; /* of the tag: which level */
	uint64 number; /* of the group or block */
} LockCountKey;

typedef struct LockCount
{
	LockCountKey key;
	uint32 locks;
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
group_tag(Relation rel, RowNumber row, LOCKTAG *tag)
{
	SET_LOCKTAG_TUPLE(*tag, rel->rd_lockInfo.lockRelId.dbId, rel->rd_lockInfo.lockRelId.relId,
					  (BlockNumber) (row / GROUP_ROWS), GROUP_TAG_OFFSET);
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

/* The modes of each kind of lock: on the tags above, on a tag that stands for its rows, on the row. */
static const struct
{
	LOCKMODE intent;
	LOCKMODE strong;
	LOCKMODE row;
} lock_modes[] = {
	[ROW_LOCK_SHARE] = {RowShareLock, ShareLock, RowShareLock},
	[ROW_LOCK_UPDATE] = {RowExclusiveLock, ExclusiveLock, ExclusiveLock},
	[ROW_LOCK_CHANGE] = {RowExclusiveLock, AccessExclusiveLock, AccessExclusiveLock},
};

/* Does this transaction hold the tag in a mode that stands for a lock of the kind on each row? */
static bool
strongly_held(const LOCKTAG *tag, RowLockKind kind)
{
	for (int stronger = ROW_LOCK_CHANGE; stronger >= (int) kind; stronger--)
		if (compat_LockHeldByMe(tag, lock_modes[stronger].strong))
			return true;
	return false;
}

/*
 * The table whose tag was last found to be held strongly: lists of locks are long, and bulk changes ask for
 * every row. A lock goes with its subtransaction, whose id does not come again.
 */
static struct
{
	LocalTransactionId lxid;
	SubTransactionId subid;
	Oid relid;
	RowLockKind kind;
} whole_table;

static bool
table_strongly_held(Relation rel, RowLockKind kind)
{
	LOCKTAG tag;

	if (whole_table.relid == RelationGetRelid(rel) &&
		whole_table.lxid == compat_proc_lxid(MyProc) &&
		whole_table.subid == GetCurrentSubTransactionId() && whole_table.kind >= kind)
		return true;
	table_tag(rel, &tag);
	if (!strongly_held(&tag, kind))
		return false;
	whole_table.lxid = compat_proc_lxid(MyProc);
	whole_table.subid = GetCurrentSubTransactionId();
	whole_table.relid = RelationGetRelid(rel);
	whole_table.kind = kind;
	return true;
}

static uint32
count_lock(Relation rel, uint32 offset, uint64 number)
{
	LockCountKey key = {.relid = RelationGetRelid(rel), .offset = offset, .number = number};
	LockCount *entry;
	bool found;

	if (lock_counts == NULL || counts_lxid != compat_proc_lxid(MyProc))
	{
		HASHCTL ctl = {.keysize = sizeof(LockCountKey),
					   .entrysize = sizeof(LockCount),
					   .hcxt = TopTransactionContext};

		/* the old one went with its transaction's memory */
		lock_counts =
			hash_create("magic row locks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		counts_lxid = compat_proc_lxid(MyProc);
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
row_lock(Relation rel, RowNumber row, RowLockKind kind, LockWaitPolicy policy)
{
	static LocalTransactionId last_lxid;
	static SubTransactionId last_subid;
	static Oid last_relid;
	static uint64 last_group;
	static LOCKMODE last_intent;

	bool wait = policy == LockWaitBlock;
	LOCKMODE intent = lock_modes[kind].intent;
	LOCKMODE strong = lock_modes[kind].strong;
	uint64 block = row / DELETE_BLOCK_ROWS;
	LOCKTAG table;
	LOCKTAG whole_block;
	LOCKTAG group;
	LOCKTAG tag;

	if (table_strongly_held(rel, kind))
		return true;
	table_tag(rel, &table);
	block_tag(rel, block, &whole_block);
	group_tag(rel, row, &group);
	if (last_lxid != compat_proc_lxid(MyProc) || last_subid != GetCurrentSubTransactionId() ||
		last_relid != RelationGetRelid(rel) || last_group != row / GROUP_ROWS ||
		last_intent != intent)
	{
		last_relid = InvalidOid;
		if (!acquire(&table, intent, wait) || !acquire(&whole_block, intent, wait))
			return false;
		if (strongly_held(&whole_block, kind))
			return true;
		if (!acquire(&group, intent, wait))
			return false;
		last_lxid = compat_proc_lxid(MyProc);
		last_subid = GetCurrentSubTransactionId();
		last_relid = RelationGetRelid(rel);
		last_group = row / GROUP_ROWS;
		last_intent = intent;
	}
	if (strongly_held(&whole_block, kind) || strongly_held(&group, kind))
		return true;

	if (count_lock(rel, TABLE_TAG_OFFSET, 0) % LOCKS_BEFORE_TABLE == 0 &&
		acquire(&table, strong, false))
		return true;
	if (count_lock(rel, BLOCK_TAG_OFFSET, block) % ROWS_BEFORE_BLOCK == 0 &&
		acquire(&whole_block, strong, false))
		return true;
	if (count_lock(rel, GROUP_TAG_OFFSET, row / GROUP_ROWS) % ROWS_BEFORE_GROUP == 0 &&
		acquire(&group, strong, false))
		return true;
	row_tag(rel, row, &tag);
	return acquire(&tag, lock_modes[kind].row, wait);
}

/* Locks all rows of the table exclusively, to the end of the transaction. */
bool
row_lock_table(Relation rel, bool wait)
{
	LOCKTAG tag;

	table_tag(rel, &tag);
	return acquire(&tag, AccessExclusiveLock, wait);
}

static TransactionId
changing_holder(const LOCKTAG *tag)
{
	int n;
	VirtualTransactionId *holders = GetLockConflicts(tag, AccessShareLock, &n);
	TransactionId xid = InvalidTransactionId;

	for (int i = 0; i < n && !TransactionIdIsValid(xid); i++)
	{
		if (holders[i].procNumber == INVALID_PROC_NUMBER)
			xid = holders[i].localTransactionId; /* prepared before the server started */
		else
		{
			PGPROC *proc = ProcNumberGetProc(holders[i].procNumber);
			bool more;

			/*
			 * A prepared transaction keeps the virtual id of the backend that began it. Neither that nor
			 * running: it has ended since, and the caller finds the row's new state by itself.
			 */
			if (proc != NULL && compat_proc_lxid(proc) == holders[i].localTransactionId)
				xid = proc->xid;
			else
				xid = TwoPhaseGetXidByVirtualXID(holders[i], &more);
		}
	}
	/* a hot standby's array is kept by the lock manager */
	if (!InHotStandby)
		pfree(holders);
	return xid;
}

/*
 * The transaction that holds the row to change it, other than this one: it may have deleted the row and
 * not told yet. InvalidTransactionId if there is none.
 */
TransactionId
row_lock_holder(Relation rel, RowNumber row)
{
	LOCKTAG tag;
	TransactionId xid;

	if (table_strongly_held(rel, ROW_LOCK_CHANGE))
		return InvalidTransactionId;
	row_tag(rel, row, &tag);
	xid = changing_holder(&tag);
	if (!TransactionIdIsValid(xid))
	{
		group_tag(rel, row, &tag);
		xid = changing_holder(&tag);
	}
	if (!TransactionIdIsValid(xid))
	{
		block_tag(rel, row / DELETE_BLOCK_ROWS, &tag);
		xid = changing_holder(&tag);
	}
	if (!TransactionIdIsValid(xid))
	{
		table_tag(rel, &tag);
		xid = changing_holder(&tag);
	}
	return xid;
}

/* One merge of a table's packs at a time; held to the end of the transaction. */
bool
compaction_lock(Relation rel, bool wait)
{
	LOCKTAG tag;

	SET_LOCKTAG_TUPLE(tag, rel->rd_lockInfo.lockRelId.dbId, rel->rd_lockInfo.lockRelId.relId, 0,
					  COMPACTION_TAG_OFFSET);
	return acquire(&tag, ExclusiveLock, wait);
}
