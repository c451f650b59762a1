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
 *		locker						intent on tags	strong on tags		on the row
 *		FOR KEY SHARE				AccessShare		Share				RowShare
 *		FOR SHARE					RowShare		Exclusive			Share
 *		FOR NO KEY UPDATE			RowShare		Exclusive			ShareUpdateExclusive
 *		UPDATE that keeps the key	RowShare		Exclusive			ShareRowExclusive
 *		FOR UPDATE					RowExclusive	AccessExclusive		Exclusive
 *		DELETE, UPDATE				RowExclusive	AccessExclusive		AccessExclusive
 *
 * On the row these conflict as PostgreSQL's row locks do, and tell who changes the row from who has only
 * locked it: a unique check finds out who may be deleting a row, and does not wait for the others. The
 * strong modes conflict with some intents that they need not conflict with. They do not tell who changes
 * which of their rows: he also locks the row itself, as if nothing stood for it, and after a few of a block
 * a tag that says that its rows are changed, after some blocks one of the table. Nobody waits for these.
 *
 * What a strong tag has made superfluous below it is given back once the row is done with (row_lock_settle), and
 * who holds many locks tries the tags above them again: so somebody who holds a row of the table for long, or
 * many who hold some in turn, do not make the lock table overflow. If that does not help, because others hold
 * rows in very many groups, he waits for the group or block where he has the most, but not for those who wait
 * themselves: it may be for him.
 *
 * Two rules go beyond the modes (keyshare.c): who locks FOR KEY SHARE, and has not locked the row before,
 * waits for a running update of it also if that keeps the key, and who locks FOR UPDATE or changes a row locks with it the older versions
 * that others hold FOR KEY SHARE. Whether an update keeps the key is only found out where somebody may
 * ask; else it counts as a change of the key.
 *
 * All tags are tuple tags, with offsets that no TID has: page tags are not seen by the deadlock detector.
 */
#include "engine/engine_int.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "access/xlogutils.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#define BLOCK_TAG_OFFSET 0xfff0
#define TABLE_TAG_OFFSET 0xfff1
#define COMPACTION_TAG_OFFSET 0xfff2
#define GROUP_TAG_OFFSET 0xfff3
#define KEY_SHARE_TAG_OFFSET 0xfff4 /* marks a table whose rows somebody locks FOR KEY SHARE */
#define BLOCK_CHANGED_OFFSET 0xfff5 /* marks a delete block whose rows its holder changes */
#define TABLE_CHANGED_OFFSET 0xfff6 /* and a table */

/* Rows whose locks one group tag stands for. */
#define GROUP_ROWS 256

/* Row locks in a group, in a block, in a table before its tag is tried; and between two tries. */
#define ROWS_BEFORE_GROUP 32
#define ROWS_BEFORE_BLOCK 64
#define LOCKS_BEFORE_TABLE 2000

/* Rows of a block that are locked by themselves when they are changed below a tag; blocks of a table. */
#define CHANGES_BEFORE_BLOCK 8
#define CHANGED_BLOCKS_BEFORE_TABLE 64

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
row_tag(Oid database, Oid relid, RowNumber row, LOCKTAG *tag)
{
	ItemPointerData tid;

	row_to_tid(row, &tid);
	SET_LOCKTAG_TUPLE(*tag, database, relid, ItemPointerGetBlockNumber(&tid),
					  ItemPointerGetOffsetNumber(&tid));
}

static void
block_tag(Oid database, Oid relid, RowNumber row, LOCKTAG *tag)
{
	SET_LOCKTAG_TUPLE(*tag, database, relid, (BlockNumber) (row / DELETE_BLOCK_ROWS),
					  BLOCK_TAG_OFFSET);
}

static void
group_tag(Oid database, Oid relid, RowNumber row, LOCKTAG *tag)
{
	SET_LOCKTAG_TUPLE(*tag, database, relid, (BlockNumber) (row / GROUP_ROWS), GROUP_TAG_OFFSET);
}

/* A tag of the whole table: TABLE_TAG_OFFSET, ... */
static void
table_tag(Oid database, Oid relid, uint16 offset, LOCKTAG *tag)
{
	SET_LOCKTAG_TUPLE(*tag, database, relid, 0, offset);
}

/* The tags that may stand for a row, from the table down to the row itself. */
typedef struct RowTags
{
	LOCKTAG table;
	LOCKTAG block;
	LOCKTAG group;
	LOCKTAG row;
	LOCKTAG block_changed;
	LOCKTAG table_changed;
} RowTags;

static void
row_tags(Oid database, Oid relid, RowNumber row, RowTags *tags)
{
	table_tag(database, relid, TABLE_TAG_OFFSET, &tags->table);
	block_tag(database, relid, row, &tags->block);
	group_tag(database, relid, row, &tags->group);
	row_tag(database, relid, row, &tags->row);
	SET_LOCKTAG_TUPLE(tags->block_changed, database, relid, (BlockNumber) (row / DELETE_BLOCK_ROWS),
					  BLOCK_CHANGED_OFFSET);
	table_tag(database, relid, TABLE_CHANGED_OFFSET, &tags->table_changed);
}

/*
 * All locks belong to the current subtransaction, not to the portal that runs: one that a cursor took must
 * not outlive the intent locks above it, nor go before the locks of others that rely on those.
 */
static bool
acquire(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	ResourceOwner saved = CurrentResourceOwner;
	LockAcquireResult result;

	CurrentResourceOwner = CurTransactionResourceOwner;
	result = LockAcquire(tag, mode, false, !wait);
	CurrentResourceOwner = saved;
	return result != LOCKACQUIRE_NOT_AVAIL;
}

static void
release(const LOCKTAG *tag, LOCKMODE mode)
{
	ResourceOwner saved = CurrentResourceOwner;

	CurrentResourceOwner = CurTransactionResourceOwner;
	LockRelease(tag, mode, false);
	CurrentResourceOwner = saved;
}

/*
 * The locks on rows and on tags that stand for rows that were taken since row_lock_begin(), so that who
 * cannot lock a row in full, or has no use for the lock, can give them back. Intent locks stay.
 */
typedef struct TakenLock
{
	LOCKTAG tag;
	LOCKMODE mode;
} TakenLock;

static TakenLock *taken;
static int ntaken;
static int taken_room;

/* What a lock in the list of those that may be given back is. */
typedef enum HeldLevel
{
	HELD_ROW,
	HELD_GROUP_INTENT,
	HELD_GROUP /* strong */
} HeldLevel;

/* A lock that a tag above it may make superfluous. */
typedef struct HeldLock
{
	LOCKTAG tag;
	LOCKMODE mode;
	HeldLevel level;
	RowLockKind kind;
	SubTransactionId subid;
	RowNumber row; /* the first of those that it is for */
} HeldLock;

/* So many of them before the tags above are tried again. */
#define HELD_BEFORE_SETTLING 512

/* In the order of the subtransactions: those of the current one are the last. */
static HeldLock *held;
static int nheld;
static int held_room;
static LocalTransactionId held_lxid;
static int held_settle_at;
static int held_checked;	/* so many had no strong tag above them when all were looked at last */
static bool held_escalated; /* a tag was taken in a strong mode since row_lock_settle() */
static RowNumber escalated_first; /* for these rows */
static RowNumber escalated_last;

/* The group whose intent locks were taken last. */
static struct
{
	LocalTransactionId lxid;
	SubTransactionId subid;
	Oid relid;
	uint64 group;
	RowLockKind kind;
} last_intent;

/* So many locks in the list are half of the lock table. */
static int
held_most(void)
{
	return max_locks_per_xact * (MaxBackends + max_prepared_xacts) / 2;
}

static void
note_held(const LOCKTAG *tag, LOCKMODE mode, HeldLevel level, RowLockKind kind, RowNumber row)
{
	HeldLock *lock;

	if (held_lxid != compat_proc_lxid(MyProc))
	{
		nheld = held_checked = 0;
		held_lxid = compat_proc_lxid(MyProc);
		held_settle_at = HELD_BEFORE_SETTLING;
		held_escalated = false;
	}
	if (nheld == held_room)
	{
		int room = Max(64, held_room * 2);

		held = held ? repalloc_huge(held, sizeof(HeldLock) * room)
					: MemoryContextAlloc(TopMemoryContext, sizeof(HeldLock) * room);
		held_room = room;
	}
	lock = &held[nheld++];
	lock->tag = *tag;
	lock->mode = mode;
	lock->level = level;
	lock->kind = kind;
	lock->subid = GetCurrentSubTransactionId();
	lock->row = level == HELD_ROW ? row : row - row % GROUP_ROWS;
}

/* A lock that was taken a moment ago is given back. */
static void
forget_held(const LOCKTAG *tag, LOCKMODE mode)
{
	if (held_lxid != compat_proc_lxid(MyProc) || tag->locktag_field4 == BLOCK_TAG_OFFSET ||
		tag->locktag_field4 == TABLE_TAG_OFFSET)
		return;
	for (int i = nheld - 1; i >= 0 && held[i].subid == GetCurrentSubTransactionId(); i--)
		if (held[i].mode == mode && memcmp(&held[i].tag, tag, sizeof(LOCKTAG)) == 0)
		{
			memmove(&held[i], &held[i + 1], sizeof(HeldLock) * (nheld - i - 1));
			nheld--;
			held_checked -= i < held_checked;
			break;
		}
}

/*
 * How long the list may become before the tags above are tried again: half as long again, but not much beyond the
 * length at which others are waited for.
 */
static int
next_settle(void)
{
	int most = held_most();
	int next = nheld + Max(HELD_BEFORE_SETTLING, nheld / 2);

	return nheld < most ? Min(next, Max(most, nheld + HELD_BEFORE_SETTLING / 8)) : next;
}

/* A subtransaction has ended: its locks are its parent's, or gone. */
void
row_lock_subtransaction_ends(SubTransactionId subid, SubTransactionId parent, bool aborted)
{
	int from = nheld;

	if (held_lxid != compat_proc_lxid(MyProc))
		return;
	while (from > 0 && held[from - 1].subid == subid)
	{
		from--;
		if (!aborted)
			held[from].subid = parent;
	}
	if (!aborted)
		return;
	nheld = from;
	held_checked = Min(held_checked, nheld);
	held_settle_at = Min(held_settle_at, next_settle());
}

static bool
take(const LOCKTAG *tag, LOCKMODE mode, bool wait)
{
	if (ntaken == taken_room)
	{
		int room = Max(16, taken_room * 2);

		taken = taken ? repalloc(taken, sizeof(TakenLock) * room)
					  : MemoryContextAlloc(TopMemoryContext, sizeof(TakenLock) * room);
		taken_room = room;
	}
	if (!acquire(tag, mode, wait))
		return false;
	taken[ntaken].tag = *tag;
	taken[ntaken++].mode = mode;
	return true;
}

/* The modes of each kind of lock: on the tags above, on a tag that stands for its rows, on the row. */
static const struct
{
	LOCKMODE intent;
	LOCKMODE strong;
	LOCKMODE row;
} lock_modes[] = {
	[ROW_LOCK_KEY_SHARE] = {AccessShareLock, ShareLock, RowShareLock},
	[ROW_LOCK_SHARE] = {RowShareLock, ExclusiveLock, ShareLock},
	[ROW_LOCK_NO_KEY_UPDATE] = {RowShareLock, ExclusiveLock, ShareUpdateExclusiveLock},
	[ROW_LOCK_NO_KEY_CHANGE] = {RowShareLock, ExclusiveLock, ShareRowExclusiveLock},
	[ROW_LOCK_UPDATE] = {RowExclusiveLock, AccessExclusiveLock, ExclusiveLock},
	[ROW_LOCK_CHANGE] = {RowExclusiveLock, AccessExclusiveLock, AccessExclusiveLock},
};

/* Does this transaction hold the tag in a mode that stands for a lock of the kind on each row? */
static bool
strongly_held(const LOCKTAG *tag, RowLockKind kind)
{
	if (compat_LockHeldByMe(tag, AccessExclusiveLock))
		return true;
	if (lock_modes[kind].strong <= ExclusiveLock && compat_LockHeldByMe(tag, ExclusiveLock))
		return true;
	return lock_modes[kind].strong == ShareLock && compat_LockHeldByMe(tag, ShareLock);
}

/*
 * The xid of who holds a lock; InvalidTransactionId if he has none, or has ended since: then the caller
 * finds the row's new state by itself. A prepared transaction keeps the virtual id of the backend that
 * began it, unless the server has been started since.
 */
static TransactionId
holder_xid(VirtualTransactionId holder, bool *prepared)
{
	PGPROC *proc;
	TransactionId xid;
	bool more;

	*prepared = holder.procNumber == INVALID_PROC_NUMBER;
	if (*prepared)
		return holder.localTransactionId;
	proc = ProcNumberGetProc(holder.procNumber);
	if (proc != NULL && compat_proc_lxid(proc) == holder.localTransactionId)
	{
		xid = proc->xid;
		if (TransactionIdIsValid(xid))
			return xid;
	}
	/* he may have been prepared between the looks at the two fields */
	xid = TwoPhaseGetXidByVirtualXID(holder, &more);
	*prepared = TransactionIdIsValid(xid);
	return xid;
}

/*
 * Do other transactions hold the tag in a mode that conflicts with this one? If `prepared` is given it is
 * set if one of them is prepared.
 */
static bool
others_hold(const LOCKTAG *tag, LOCKMODE mode, bool *prepared)
{
	int n;
	VirtualTransactionId *holders = GetLockConflicts(tag, mode, &n);

	for (int i = 0; prepared != NULL && i < n; i++)
	{
		bool is_prepared;

		if (TransactionIdIsValid(holder_xid(holders[i], &is_prepared)) && is_prepared)
			*prepared = true;
	}
	/* a hot standby's array is kept by the lock manager */
	if (!InHotStandby)
		pfree(holders);
	return n > 0;
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
	table_tag(MyDatabaseId, RelationGetRelid(rel), TABLE_TAG_OFFSET, &tag);
	if (!strongly_held(&tag, kind))
		return false;
	whole_table.lxid = compat_proc_lxid(MyProc);
	whole_table.subid = GetCurrentSubTransactionId();
	whole_table.relid = RelationGetRelid(rel);
	whole_table.kind = kind;
	return true;
}

/* The same for the tag of a delete block. */
static struct
{
	LocalTransactionId lxid;
	SubTransactionId subid;
	Oid relid;
	uint64 block;
	RowLockKind kind;
} whole_block;

/* Forgets what has been taken so far; there is nothing to give back. */
void
row_lock_begin(void)
{
	ntaken = 0;
}

/*
 * Gives back what was taken since row_lock_begin() but the first ones, in the same subtransaction. What was held
 * before stays held.
 */
void
row_lock_undo(int to)
{
	while (ntaken > to)
	{
		const TakenLock *lock = &taken[--ntaken];

		release(&lock->tag, lock->mode);
		forget_held(&lock->tag, lock->mode);
		if (lock->tag.locktag_field4 >= BLOCK_TAG_OFFSET)
			whole_table.relid = whole_block.relid = InvalidOid;
	}
}

static bool
block_strongly_held(Relation rel, uint64 block, const LOCKTAG *tag, RowLockKind kind)
{
	if (whole_block.relid == RelationGetRelid(rel) && whole_block.block == block &&
		whole_block.lxid == compat_proc_lxid(MyProc) &&
		whole_block.subid == GetCurrentSubTransactionId() && whole_block.kind >= kind)
		return true;
	if (!strongly_held(tag, kind))
		return false;
	whole_block.lxid = compat_proc_lxid(MyProc);
	whole_block.subid = GetCurrentSubTransactionId();
	whole_block.relid = RelationGetRelid(rel);
	whole_block.block = block;
	whole_block.kind = kind;
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

/* A tag was taken in a strong mode, so locks on its rows can be given back. */
static void
note_escalated(const LOCKTAG *tag)
{
	RowNumber rows = tag->locktag_field4 == GROUP_TAG_OFFSET ? GROUP_ROWS : DELETE_BLOCK_ROWS;
	RowNumber first = tag->locktag_field3 * rows;
	RowNumber last = first + rows - 1;

	if (tag->locktag_field4 == TABLE_TAG_OFFSET)
	{
		first = 0;
		last = PG_UINT64_MAX;
	}
	escalated_first = held_escalated ? Min(escalated_first, first) : first;
	escalated_last = held_escalated ? Max(escalated_last, last) : last;
	held_escalated = true;
}

/*
 * Takes a tag in the mode that stands for all its rows, if it is to be had at once. KEY SHARE must not pass
 * over an update that keeps the key: while somebody has locked rows for that, the tag is left alone. Who
 * holds the table's tag for them takes no intent locks below it, nor who holds the block's.
 */
static bool
escalate(const RowTags *tags, const LOCKTAG *tag, RowLockKind kind)
{
	LOCKMODE strong = lock_modes[kind].strong;
	int before = ntaken;

	if (!take(tag, strong, false))
		return false;
	if (kind != ROW_LOCK_KEY_SHARE ||
		(!others_hold(tag, ExclusiveLock, NULL) && !others_hold(&tags->block, RowShareLock, NULL) &&
		 !others_hold(&tags->table, RowShareLock, NULL)))
	{
		note_escalated(tag);
		return true;
	}
	row_lock_undo(before);
	return false;
}

/* Takes the intent locks for a row. False if they are not to be had at once and we shall not wait. */
static bool
lock_intents(Relation rel, RowNumber row, const RowTags *tags, RowLockKind kind, bool wait)
{
	LOCKMODE intent = lock_modes[kind].intent;
	LOCKTAG marker;

	if (!acquire(&tags->table, intent, wait) || !acquire(&tags->block, intent, wait) ||
		!acquire(&tags->group, intent, wait))
		return false;
	note_held(&tags->group, intent, HELD_GROUP_INTENT, kind, row);
	if (kind == ROW_LOCK_KEY_SHARE)
	{
		table_tag(MyDatabaseId, RelationGetRelid(rel), KEY_SHARE_TAG_OFFSET, &marker);
		if (!acquire(&marker, AccessShareLock, wait))
			return false;
		key_share_arrive(RelationGetRelid(rel));
	}
	return true;
}

/* Locks one version of a row by its own tag, `on_row`, or by one that stands for it. */
static bool
lock_by_tags(Relation rel, RowNumber row, RowLockKind kind, bool wait, const RowTags *tags,
			 bool *on_row)
{
	uint64 block = row / DELETE_BLOCK_ROWS;
	LOCKMODE mode = lock_modes[kind].row;

	*on_row = false;
	if (table_strongly_held(rel, kind))
		return true;
	/* who holds the block holds the intent locks above it; KEY SHARE leaves a mark in any case */
	if (kind != ROW_LOCK_KEY_SHARE && block_strongly_held(rel, block, &tags->block, kind))
		return true;
	if (last_intent.lxid != compat_proc_lxid(MyProc) ||
		last_intent.subid != GetCurrentSubTransactionId() ||
		last_intent.relid != RelationGetRelid(rel) || last_intent.group != row / GROUP_ROWS ||
		last_intent.kind != kind)
	{
		last_intent.relid = InvalidOid;
		if (!lock_intents(rel, row, tags, kind, wait))
			return false;
		last_intent.lxid = compat_proc_lxid(MyProc);
		last_intent.subid = GetCurrentSubTransactionId();
		last_intent.relid = RelationGetRelid(rel);
		last_intent.group = row / GROUP_ROWS;
		last_intent.kind = kind;
	}
	if (strongly_held(&tags->block, kind) || strongly_held(&tags->group, kind))
		return true;

	if (count_lock(rel, TABLE_TAG_OFFSET, 0) % LOCKS_BEFORE_TABLE == 0 &&
		escalate(tags, &tags->table, kind))
		return true;
	if (count_lock(rel, BLOCK_TAG_OFFSET, block) % ROWS_BEFORE_BLOCK == 0 &&
		escalate(tags, &tags->block, kind))
		return true;
	if (count_lock(rel, GROUP_TAG_OFFSET, row / GROUP_ROWS) % ROWS_BEFORE_GROUP == 0 &&
		escalate(tags, &tags->group, kind))
	{
		note_held(&tags->group, lock_modes[kind].strong, HELD_GROUP, kind, row);
		return true;
	}
	*on_row = true;
	/* so that row_lock_holder() can tell a change from a lock */
	if (kind == ROW_LOCK_NO_KEY_CHANGE && compat_LockHeldByMe(&tags->row, ExclusiveLock))
		mode = AccessExclusiveLock;
	if (!take(&tags->row, mode, wait))
		return false;
	note_held(&tags->row, mode, HELD_ROW, kind, row);
	return true;
}

/*
 * Tells row_lock_holder() in other backends that rows of a block are going to be changed for which a tag above
 * stands; the tag that tells it of the table comes after some blocks.
 */
static void
announce_block(Relation rel, uint64 block, const RowTags *tags, bool *table)
{
	*table = compat_LockHeldByMe(&tags->table_changed, AccessShareLock);
	if (*table || compat_LockHeldByMe(&tags->block_changed, AccessShareLock))
		return;
	*table = count_lock(rel, TABLE_CHANGED_OFFSET, 0) > CHANGED_BLOCKS_BEFORE_TABLE;
	(void) acquire(*table ? &tags->table_changed : &tags->block_changed, AccessShareLock, true);
}

/*
 * The same of one row. Waits for nobody: a conflicting lock on the row would need intent locks above it.
 */
static void
announce_change(Relation rel, RowNumber row, RowLockKind kind, const RowTags *tags)
{
	static struct
	{
		LocalTransactionId lxid;
		SubTransactionId subid;
		Oid relid;
		uint64 block;
		bool table;
	} announced;
	Oid relid = RelationGetRelid(rel);
	uint64 block = row / DELETE_BLOCK_ROWS;
	bool table;

	if (announced.relid == relid && (announced.table || announced.block == block) &&
		announced.lxid == compat_proc_lxid(MyProc) &&
		announced.subid == GetCurrentSubTransactionId())
		return;
	if (!compat_LockHeldByMe(&tags->table_changed, AccessShareLock) &&
		!compat_LockHeldByMe(&tags->block_changed, AccessShareLock) &&
		count_lock(rel, BLOCK_CHANGED_OFFSET, block) <= CHANGES_BEFORE_BLOCK)
	{
		(void) acquire(&tags->row, lock_modes[kind].row, true);
		return;
	}
	announce_block(rel, block, tags, &table);
	announced.lxid = compat_proc_lxid(MyProc);
	announced.subid = GetCurrentSubTransactionId();
	announced.relid = relid;
	announced.block = block;
	announced.table = table;
}

/* Locks one version of a row as row_lock() does, without a look at others. `on_row`: by its own tag. */
static bool
lock_version(Relation rel, RowNumber row, RowLockKind kind, bool wait, const RowTags *tags,
			 bool *on_row)
{
	if (!lock_by_tags(rel, row, kind, wait, tags, on_row))
		return false;
	if (!*on_row && (kind == ROW_LOCK_NO_KEY_CHANGE || kind == ROW_LOCK_CHANGE))
		announce_change(rel, row, kind, tags);
	return true;
}

static TransactionId changing_holder(const LOCKTAG *tag, LOCKMODE mode);
static TransactionId row_changer(const LOCKTAG *tag);

/* Who changes the row, other than this transaction; or many rows near it. */
static TransactionId
updater(const RowTags *tags)
{
	TransactionId xid = row_changer(&tags->row);

	if (!TransactionIdIsValid(xid))
		xid = changing_holder(&tags->block_changed, AccessExclusiveLock);
	if (!TransactionIdIsValid(xid))
		xid = changing_holder(&tags->table_changed, AccessExclusiveLock);
	return xid;
}

/*
 * Locks one version of a row to the end of the transaction. False if the policy says not to wait and
 * somebody else holds it; the intent locks may be held then.
 */
bool
row_lock_version(Relation rel, RowNumber row, RowLockKind kind, LockWaitPolicy policy)
{
	bool wait = policy == LockWaitBlock;
	RowTags tags;
	bool on_row;
	bool had;

	row_tags(MyDatabaseId, RelationGetRelid(rel), row, &tags);
	/* a KEY SHARE lock from before an update was carried by it: no need to wait */
	had = kind == ROW_LOCK_KEY_SHARE && compat_LockHeldByMe(&tags.row, RowShareLock);
	/* who waits for the change waits for its xid */
	if (kind == ROW_LOCK_NO_KEY_CHANGE)
		(void) GetCurrentTransactionId();
	for (;;)
	{
		TransactionId xid;
		ItemPointerData tid;

		if (!lock_version(rel, row, kind, wait, &tags, &on_row))
			return false;
		if (kind != ROW_LOCK_KEY_SHARE || !on_row || had)
			return true;
		xid = updater(&tags);
		if (!TransactionIdIsValid(xid))
			return true;
		row_lock_undo(ntaken - 1);
		if (!wait)
			return false;
		row_to_tid(row, &tid);
		XactLockTableWait(xid, rel, &tid, XLTW_Lock);
	}
}

/* ---------------------------------------------------------------- giving locks back */

/* The first of the current subtransaction's locks in the list from the given one on. */
static int
held_here(int from)
{
	int first = nheld;

	while (first > from && held[first - 1].subid == GetCurrentSubTransactionId())
		first--;
	return first;
}

/*
 * Gives back the current subtransaction's locks on rows first to last of the table that a strong tag above has
 * made superfluous, of those in the list from the given one on.
 */
static void
release_covered(Relation rel, int from, RowNumber first, RowNumber last)
{
	int kept = held_here(from);

	for (int i = kept; i < nheld; i++)
	{
		HeldLock *lock = &held[i];
		RowTags tags;
		bool covered = false;
		bool table;

		if (lock->tag.locktag_field2 == RelationGetRelid(rel) && lock->row >= first &&
			lock->row <= last)
		{
			row_tags(MyDatabaseId, RelationGetRelid(rel), lock->row, &tags);
			covered = strongly_held(&tags.block, lock->kind) ||
					  strongly_held(&tags.table, lock->kind) ||
					  (lock->level != HELD_GROUP && strongly_held(&tags.group, lock->kind));
		}
		if (!covered)
		{
			held[kept++] = *lock;
			continue;
		}
		if (lock->level == HELD_ROW &&
			(lock->kind == ROW_LOCK_NO_KEY_CHANGE || lock->kind == ROW_LOCK_CHANGE))
			announce_block(rel, lock->row / DELETE_BLOCK_ROWS, &tags, &table);
		release(&lock->tag, lock->mode);
	}
	nheld = kept;
	last_intent.relid = InvalidOid;
}

static int
compare_held(const void *a, const void *b)
{
	const HeldLock *x = a;
	const HeldLock *y = b;

	if (x->tag.locktag_field2 != y->tag.locktag_field2)
		return x->tag.locktag_field2 < y->tag.locktag_field2 ? -1 : 1;
	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	return (int) x->mode - (int) y->mode;
}

/* Sorts the list from the given one on by table and row, and gives back what was taken twice. */
static void
sort_held(int from)
{
	int kept = from;

	qsort(held + from, nheld - from, sizeof(HeldLock), compare_held);
	for (int i = from; i < nheld; i++)
		if (kept > from && compare_held(&held[kept - 1], &held[i]) == 0)
		{
			held[kept - 1].kind = Max(held[kept - 1].kind, held[i].kind);
			release(&held[i].tag, held[i].mode);
		}
		else
			held[kept++] = held[i];
	nheld = kept;
}

/* How many locks from the i-th on, to the end, are of rows of the same part of the table, and the strongest kind. */
static int
held_run(int i, int end, uint64 part, RowLockKind *kind)
{
	int n = 0;

	*kind = held[i].kind;
	while (i + n < end && held[i + n].tag.locktag_field2 == held[i].tag.locktag_field2 &&
		   held[i + n].row / part == held[i].row / part)
	{
		*kind = Max(*kind, held[i + n].kind);
		n++;
	}
	return n;
}

/*
 * Tries the tags of the blocks and groups in which the current subtransaction, whose locks are those from the
 * given one on, holds several locks, and gives back what these make superfluous.
 */
static void
escalate_held(Relation rel, int from)
{
	int all;
	int n;

	sort_held(from);
	all = nheld;
	for (int i = from; i < all; i += n)
	{
		RowLockKind kind;
		RowTags tags;
		int of_group;

		CHECK_FOR_INTERRUPTS();
		n = held_run(i, all, DELETE_BLOCK_ROWS, &kind);
		if (held[i].tag.locktag_field2 != RelationGetRelid(rel))
			continue;
		row_tags(MyDatabaseId, RelationGetRelid(rel), held[i].row, &tags);
		if (n >= ROWS_BEFORE_BLOCK / 2 && escalate(&tags, &tags.block, kind))
			continue;
		for (int g = i; g < i + n; g += of_group)
		{
			of_group = held_run(g, i + n, GROUP_ROWS, &kind);
			row_tags(MyDatabaseId, RelationGetRelid(rel), held[g].row, &tags);
			if (of_group > 2 && !strongly_held(&tags.group, kind) &&
				escalate(&tags, &tags.group, kind))
				note_held(&tags.group, lock_modes[kind].strong, HELD_GROUP, kind, held[g].row);
		}
	}
	ntaken = 0;
	release_covered(rel, from, 0, PG_UINT64_MAX);
}

/* Does one of those who keep us from taking the tag wait for a lock himself? Seen without a lock: only a guide. */
static bool
holders_wait(const LOCKTAG *tag, LOCKMODE mode)
{
	int n;
	VirtualTransactionId *holders = GetLockConflicts(tag, mode, &n);
	bool result = false;

	for (int i = 0; i < n && !result; i++)
	{
		PGPROC *proc = holders[i].procNumber == INVALID_PROC_NUMBER
						   ? NULL
						   : ProcNumberGetProc(holders[i].procNumber);

		result = proc != NULL && proc->waitLock != NULL;
	}
	pfree(holders);
	return result;
}

/*
 * Waits for the tag of the part of the table (group or block) in which the current subtransaction, whose locks are
 * those from the given one on, sorted, holds the most locks; false if it is no use.
 */
static bool
wait_for_part(Relation rel, int from, uint64 part)
{
	RowLockKind kind = ROW_LOCK_KEY_SHARE;
	LOCKTAG tag;
	int most = 3; /* an intent lock, a few rows */
	int at = -1;
	int n;

	for (int i = from; i < nheld; i += n)
	{
		RowLockKind run_kind;
		RowTags tags;

		n = held_run(i, nheld, part, &run_kind);
		if (n <= most || run_kind == ROW_LOCK_KEY_SHARE ||
			held[i].tag.locktag_field2 != RelationGetRelid(rel))
			continue;
		row_tags(MyDatabaseId, RelationGetRelid(rel), held[i].row, &tags);
		if (holders_wait(part == GROUP_ROWS ? &tags.group : &tags.block,
						 lock_modes[run_kind].strong))
			continue;
		tag = part == GROUP_ROWS ? tags.group : tags.block;
		most = n;
		at = i;
		kind = run_kind;
	}
	if (at < 0)
		return false;
	(void) acquire(&tag, lock_modes[kind].strong, true);
	if (part == GROUP_ROWS)
		note_held(&tag, lock_modes[kind].strong, HELD_GROUP, kind, held[at].row);
	return true;
}

/*
 * The row that was locked since row_lock_begin() stays locked: from here on there is nothing to undo. Gives back
 * what strong tags have made superfluous, and keeps this transaction's part of the lock table bounded;
 * may_wait: also by waiting for others.
 */
void
row_lock_settle(Relation rel, bool may_wait)
{
	int from;

	ntaken = 0;
	if (held_lxid != compat_proc_lxid(MyProc) || (!held_escalated && nheld < held_settle_at))
		return;
	if (held_escalated)
	{
		held_escalated = false;
		/* the tag that was taken just now stands for the last ones */
		release_covered(rel, held_checked, escalated_first, escalated_last);
	}
	if (nheld < held_settle_at)
		return;
	from = held_here(0);
	escalate_held(rel, from);
	while (may_wait && nheld >= held_most())
	{
		sort_held(from);
		if (!wait_for_part(rel, from, GROUP_ROWS) && !wait_for_part(rel, from, DELETE_BLOCK_ROWS))
			break;
		escalate_held(rel, from);
	}
	held_escalated = false;
	held_checked = nheld;
	held_settle_at = next_settle();
}

/*
 * Locks a row, and with it the older versions that others may hold FOR KEY SHARE if that conflicts. False
 * as row_lock_version(); then no version is locked that was not before.
 */
bool
row_lock(Relation rel, RowNumber row, RowLockKind kind, LockWaitPolicy policy)
{
	RowNumber *older;
	int n;
	int before = ntaken;
	bool locked = true;

	if (!row_lock_version(rel, row, kind, policy))
		return false;
	if (kind < ROW_LOCK_UPDATE || !key_share_in_use(rel))
		return true;
	older = key_share_older(RelationGetRelid(rel), row, &n);
	for (int i = 0; i < n && locked; i++)
		locked = row_lock_version(rel, older[i], kind, policy);
	if (older)
		pfree(older);
	if (!locked || !key_share_wait_for_table(rel, policy == LockWaitBlock))
	{
		locked = false;
		row_lock_undo(before);
	}
	return locked;
}

/* Locks all rows of the table to change them, to the end of the transaction. */
bool
row_lock_table(Relation rel, bool wait)
{
	LOCKTAG tag;

	table_tag(MyDatabaseId, RelationGetRelid(rel), TABLE_TAG_OFFSET, &tag);
	if (!acquire(&tag, AccessExclusiveLock, wait))
		return false;
	table_tag(MyDatabaseId, RelationGetRelid(rel), TABLE_CHANGED_OFFSET, &tag);
	return acquire(&tag, AccessShareLock, true);
}

/* Locks all rows of the table FOR KEY SHARE, to the end of the transaction. May wait. */
void
row_lock_table_key_share(Relation rel)
{
	LOCKTAG tag;

	table_tag(MyDatabaseId, RelationGetRelid(rel), TABLE_TAG_OFFSET, &tag);
	(void) acquire(&tag, lock_modes[ROW_LOCK_KEY_SHARE].strong, true);
}

/* The xid of one of those who hold the tag in a mode that conflicts with this one, if they have one. */
static TransactionId
changing_holder(const LOCKTAG *tag, LOCKMODE mode)
{
	int n;
	VirtualTransactionId *holders = GetLockConflicts(tag, mode, &n);
	TransactionId xid = InvalidTransactionId;

	for (int i = 0; i < n && !TransactionIdIsValid(xid); i++)
	{
		bool prepared;

		xid = holder_xid(holders[i], &prepared);
	}
	/* a hot standby's array is kept by the lock manager */
	if (!InHotStandby)
		pfree(holders);
	return xid;
}

/*
 * Who holds the row's own tag to change the row. A conflict with RowExclusive is one of Share,
 * ShareRowExclusive, Exclusive and AccessExclusive; the other probes tell which. While somebody has it in
 * ShareRowExclusive, others have it in RowShare at most.
 */
static TransactionId
row_changer(const LOCKTAG *tag)
{
	TransactionId xid;

	if (!others_hold(tag, RowExclusiveLock, NULL))
		return InvalidTransactionId;
	xid = changing_holder(tag, AccessShareLock);
	if (TransactionIdIsValid(xid) || others_hold(tag, RowShareLock, NULL))
		return xid;
	return changing_holder(tag, ShareLock);
}

/*
 * The transaction that holds the row to change it, other than this one: it may have deleted the row and
 * not told yet. InvalidTransactionId if there is none.
 */
TransactionId
row_lock_holder(Relation rel, RowNumber row)
{
	RowTags tags;

	if (table_strongly_held(rel, ROW_LOCK_CHANGE))
		return InvalidTransactionId;
	row_tags(MyDatabaseId, RelationGetRelid(rel), row, &tags);
	/* others can have neither a part of the block nor, beside our intent lock, the table */
	if (block_strongly_held(rel, row / DELETE_BLOCK_ROWS, &tags.block, ROW_LOCK_CHANGE))
		return InvalidTransactionId;
	return updater(&tags);
}

/* Have other transactions announced that they lock rows of the table FOR KEY SHARE? */
bool
row_lock_marker_held(Relation rel)
{
	LOCKTAG marker;

	table_tag(MyDatabaseId, RelationGetRelid(rel), KEY_SHARE_TAG_OFFSET, &marker);
	return others_hold(&marker, AccessExclusiveLock, NULL);
}

/* Has this transaction? */
bool
row_lock_marker_mine(Oid relid)
{
	LOCKTAG marker;

	table_tag(MyDatabaseId, relid, KEY_SHARE_TAG_OFFSET, &marker);
	return compat_LockHeldByMe(&marker, AccessShareLock);
}

/* Has anybody, in any database? */
bool
row_lock_marker_used(Oid database, Oid relid)
{
	LOCKTAG marker;

	table_tag(database, relid, KEY_SHARE_TAG_OFFSET, &marker);
	return compat_LockHeldByMe(&marker, AccessShareLock) ||
		   others_hold(&marker, AccessExclusiveLock, NULL);
}

/* Waits for the end of all other transactions that have. False if there are any and we shall not wait. */
bool
row_lock_marker_wait(Relation rel, bool wait)
{
	LOCKTAG marker;

	if (!row_lock_marker_held(rel))
		return true;
	if (!wait)
		return false;
	table_tag(MyDatabaseId, RelationGetRelid(rel), KEY_SHARE_TAG_OFFSET, &marker);
	WaitForLockers(marker, AccessExclusiveLock, false);
	return true;
}

/*
 * Do others hold this version FOR KEY SHARE? `prepared` says whether one of them is a prepared
 * transaction. Asked by who holds it to change it, so others have it in no other way.
 */
static bool
key_share_others(Oid database, Oid relid, RowNumber row, bool *prepared)
{
	RowTags tags;
	bool held;

	row_tags(database, relid, row, &tags);
	held = others_hold(&tags.row, ExclusiveLock, prepared);
	held |= others_hold(&tags.group, RowExclusiveLock, prepared);
	held |= others_hold(&tags.block, RowExclusiveLock, prepared);
	held |= others_hold(&tags.table, RowExclusiveLock, prepared);
	return held;
}

bool
row_key_share_others(Relation rel, RowNumber row, bool *prepared)
{
	*prepared = false;
	return key_share_others(MyDatabaseId, RelationGetRelid(rel), row, prepared);
}

/* Does this transaction hold the version FOR KEY SHARE or stronger? */
bool
row_key_share_mine(Oid database, Oid relid, RowNumber row)
{
	RowTags tags;

	row_tags(database, relid, row, &tags);
	for (LOCKMODE mode = RowShareLock; mode <= AccessExclusiveLock; mode++)
		if (compat_LockHeldByMe(&tags.row, mode))
			return true;
	return strongly_held(&tags.group, ROW_LOCK_KEY_SHARE) ||
		   strongly_held(&tags.block, ROW_LOCK_KEY_SHARE) ||
		   strongly_held(&tags.table, ROW_LOCK_KEY_SHARE);
}

/* Does anybody? */
bool
row_key_share_held(Oid database, Oid relid, RowNumber row)
{
	return row_key_share_mine(database, relid, row) || key_share_others(database, relid, row, NULL);
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
