/*
 * dml.c
 *		Insert, update, delete and lock rows.
 *
 * The order for an existing row is: lock it, then read its latest state, then act. A deletion found
 * then was committed by somebody else, or is our own. An update is a deletion that names its successor,
 * and an insertion.
 */
#include "engine/engine_int.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "pgstat.h"
#include "storage/predicate.h"
#include "storage/proc.h"
#include "utils/snapmgr.h"

/*
 * Nothing under an index page's lock may open the metadata or wait for a lock on it, so that is done
 * before the first index entry (writer.c, get_rel_write).
 */
void
dml_insert(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
		   struct BulkInsertStateData *bistate)
{
	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
	(void) writer_insert(rel, slot, cid, 0);
	pgstat_count_heap_insert(rel, 1);
}

void
dml_insert_speculative(Relation rel, TupleTableSlot *slot, CommandId cid, int options,
					   struct BulkInsertStateData *bistate, uint32 token)
{
	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
	(void) writer_insert(rel, slot, cid, token);
	pgstat_count_heap_insert(rel, 1);
}

void
dml_complete_speculative(Relation rel, TupleTableSlot *slot, uint32 token, bool succeeded)
{
	writer_complete_speculative(rel, tid_to_row(&slot->tts_tid), succeeded);
	if (!succeeded)
		pgstat_count_heap_delete(rel);
}

void
dml_multi_insert(Relation rel, TupleTableSlot **slots, int n, CommandId cid, int options,
				 struct BulkInsertStateData *bistate)
{
	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
	writer_insert_many(rel, slots, n, cid);
	pgstat_count_heap_insert(rel, n);
}

/* The row that this transaction has locked last without changing it. */
static struct
{
	LocalTransactionId lxid;
	Oid relid;
	RowNumber row;
} last_locked;

/* Fills what the executor learns of a row that somebody has deleted, or that we have. */
static TM_Result
describe_deletion(RowNumber row, const DeleteInfo *info, CommandId cid, TM_FailureData *tmfd)
{
	tmfd->xmax = info->xmax;
	tmfd->traversed = false;
	if (info->own)
	{
		/* as HeapTupleSatisfiesUpdate: deleted by this command or before it */
		row_to_tid(delete_kind_updates(info->kind) ? info->successor : row, &tmfd->ctid);
		tmfd->cmax = info->cmax;
		return info->cmax >= cid ? TM_SelfModified : TM_Invisible;
	}
	tmfd->cmax = InvalidCommandId;
	switch (info->kind)
	{
		case DELETE_UPDATED:
		case DELETE_KEPT_KEY:
			row_to_tid(info->successor, &tmfd->ctid);
			return TM_Updated;
		case DELETE_MOVED:
			ItemPointerSetMovedPartitions(&tmfd->ctid);
			return TM_Updated;
		case DELETE_DELETED:
			break;
	}
	row_to_tid(row, &tmfd->ctid);
	return TM_Deleted;
}

/*
 * Locks a row and reads its latest deletion. If the lock is not to be had at once the deletion is looked
 * for before waiting: a committed one is final, and the lock may be held for other rows of the group.
 * False if the policy says not to wait. `deleted` says whether `info` was filled.
 */
static bool
lock_and_look(Relation rel, RowNumber row, RowLockKind kind, LockWaitPolicy policy, bool *deleted,
			  DeleteInfo *info)
{
	uint64 storage = storage_id(rel);
	bool locked = row_lock(rel, row, kind, LockWaitSkip);

	*deleted = deleted_latest(storage, row, info);
	if (locked || *deleted)
		return true;
	if (policy != LockWaitBlock)
		return false;
	(void) row_lock(rel, row, kind, LockWaitBlock);
	*deleted = deleted_latest(storage, row, info);
	return true;
}

/* Locks a row for update or deletion and finds out whether it may be changed. */
static TM_Result
prepare_change(Relation rel, RowNumber row, RowLockKind kind, CommandId cid, Snapshot crosscheck,
			   bool wait, TM_FailureData *tmfd)
{
	DeleteInfo info;
	bool deleted;

	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);
	row_lock_begin();
	if (!lock_and_look(rel, row, kind, wait ? LockWaitBlock : LockWaitSkip, &deleted, &info))
	{
		row_to_tid(row, &tmfd->ctid);
		tmfd->xmax = InvalidTransactionId;
		tmfd->cmax = InvalidCommandId;
		return TM_BeingModified;
	}
	if (deleted)
	{
		/* as heap: a version that others have replaced stays unlocked */
		if (!info.own)
			row_lock_undo(0);
		return describe_deletion(row, &info, cid, tmfd);
	}
	/* Referential actions must not change rows that the transaction's snapshot does not see. */
	if (crosscheck != InvalidSnapshot && !row_visible(rel, row, crosscheck))
	{
		row_to_tid(row, &tmfd->ctid);
		tmfd->xmax = InvalidTransactionId;
		tmfd->cmax = InvalidCommandId;
		return TM_Updated;
	}
	return TM_Ok;
}

TM_Result
dml_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot, Snapshot crosscheck,
		   bool wait, TM_FailureData *tmfd, bool changing_part)
{
	RowNumber row = tid_to_row(tid);
	TM_Result result = prepare_change(rel, row, ROW_LOCK_CHANGE, cid, crosscheck, wait, tmfd);

	if (result == TM_Invisible)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("attempted to delete invisible tuple")));
	if (result != TM_Ok)
		return result;
	writer_delete(rel, row, changing_part ? DELETE_MOVED : DELETE_DELETED, InvalidRowNumber, cid);
	row_lock_settle(rel, wait);
	pgstat_count_heap_delete(rel);
	return TM_Ok;
}

/* Do foreign keys refer to the table? */
static bool
is_referenced(Relation rel)
{
	const TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (RI_FKey_trigger_type(triggers->triggers[i].tgfoid) == RI_TRIGGER_PK)
			return true;
	return false;
}

/*
 * How an update locks its row. That it keeps the key is found out where it can matter to somebody: others
 * may lock the table's rows FOR KEY SHARE, now or, by a foreign key, later under an older snapshot.
 */
static RowLockKind
update_kind(Relation rel, RowNumber row, TupleTableSlot *slot)
{
	Bitmapset *keys;
	bool keeps;

	if (!is_referenced(rel) && !key_share_in_use(rel))
		return ROW_LOCK_CHANGE;
	keys = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_KEY);
	keeps = row_has_values(rel, row, keys, slot);
	bms_free(keys);
	return keeps ? ROW_LOCK_NO_KEY_CHANGE : ROW_LOCK_CHANGE;
}

TM_Result
dml_update(Relation rel, ItemPointer otid, TupleTableSlot *slot, CommandId cid, Snapshot snapshot,
		   Snapshot crosscheck, bool wait, TM_FailureData *tmfd, LockTupleMode *lockmode,
		   TU_UpdateIndexes *update_indexes)
{
	RowNumber row = tid_to_row(otid);
	TM_Result result;
	RowNumber successor;

	RowLockKind kind = update_kind(rel, row, slot);

	*lockmode = kind == ROW_LOCK_CHANGE ? LockTupleExclusive : LockTupleNoKeyExclusive;
	*update_indexes = TU_None;
	result = prepare_change(rel, row, kind, cid, crosscheck, wait, tmfd);
	if (result == TM_Invisible)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("attempted to update invisible tuple")));
	if (result != TM_Ok)
		return result;
	successor = writer_insert(rel, slot, cid, 0);
	if (last_locked.row == row && last_locked.relid == RelationGetRelid(rel) &&
		last_locked.lxid == compat_proc_lxid(MyProc))
		magic_slot_set_inserted(slot, GetCurrentTransactionId(), GetCurrentTransactionId(), cid);
	writer_delete(rel, row, kind == ROW_LOCK_CHANGE ? DELETE_UPDATED : DELETE_KEPT_KEY, successor,
				  cid);
	if (kind == ROW_LOCK_NO_KEY_CHANGE)
		key_share_carry(rel, row, successor);
	row_lock_settle(rel, wait);
	compat_pgstat_count_update(rel);
	*update_indexes = TU_All;
	return TM_Ok;
}

/* Reports a row that could not be locked at once; none of its versions stays locked. */
static TM_Result
not_locked(Relation rel, LockWaitPolicy policy)
{
	row_lock_undo(0);
	if (policy == LockWaitError)
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						errmsg("could not obtain lock on row in relation \"%s\"",
							   RelationGetRelationName(rel))));
	return TM_WouldBlock;
}

/*
 * A row locked FOR KEY SHARE has been replaced by others, who kept its key: locks its later versions too.
 * True if the key is still there; then the lock on the old version is as good as one on the latest.
 * `*available` is false if a version is locked and the policy says not to wait.
 */
static bool
lock_later_versions(Relation rel, RowNumber row, LockWaitPolicy policy, bool *available)
{
	for (;;)
	{
		DeleteInfo info;
		bool deleted;

		CHECK_FOR_INTERRUPTS();
		*available = lock_and_look(rel, row, ROW_LOCK_KEY_SHARE, policy, &deleted, &info);
		if (!*available)
			return false;
		/* our own change of the key is our own affair */
		if (!deleted || info.own)
			return true;
		if (info.kind != DELETE_KEPT_KEY)
			return false;
		row = info.successor;
	}
}

/*
 * Locks a row and fetches it into the slot. With TUPLE_LOCK_FLAG_FIND_LAST_VERSION the row's updates are
 * followed: each version is locked before its state is read.
 */
TM_Result
dml_lock(Relation rel, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot, CommandId cid,
		 LockTupleMode mode, LockWaitPolicy policy, uint8 flags, TM_FailureData *tmfd)
{
	RowNumber row = tid_to_row(tid);
	static const RowLockKind kinds[] = {
		[LockTupleKeyShare] = ROW_LOCK_KEY_SHARE,
		[LockTupleShare] = ROW_LOCK_SHARE,
		[LockTupleNoKeyExclusive] = ROW_LOCK_NO_KEY_UPDATE,
		[LockTupleExclusive] = ROW_LOCK_UPDATE,
	};
	RowLockKind kind = kinds[mode];
	DeleteInfo info;
	bool deleted;
	bool traversed = false;

	row_lock_begin();
	for (;;)
	{
		TM_Result result;

		CHECK_FOR_INTERRUPTS();
		if (!lock_and_look(rel, row, kind, policy, &deleted, &info))
			return not_locked(rel, policy);
		if (!deleted)
			break;
		if (kind == ROW_LOCK_KEY_SHARE && info.kind == DELETE_KEPT_KEY && !info.own)
		{
			bool available;

			if (lock_later_versions(rel, info.successor, policy, &available))
				break;
			if (!available)
				return not_locked(rel, policy);
		}
		/* what was locked so far are versions that others have replaced */
		if (!info.own)
			row_lock_undo(0);
		result = describe_deletion(row, &info, cid, tmfd);
		if (info.own && (!traversed || info.kind == DELETE_DELETED))
		{
			tmfd->traversed = traversed;
			return traversed ? TM_Deleted : result;
		}
		if ((flags & TUPLE_LOCK_FLAG_FIND_LAST_VERSION) == 0)
			return result;
		if (info.kind == DELETE_MOVED)
			ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							errmsg("tuple to be locked was already moved to another partition due "
								   "to concurrent update")));
		if (info.kind == DELETE_DELETED)
		{
			tmfd->traversed = traversed;
			return TM_Deleted;
		}
		row = info.successor;
		traversed = true;
	}
	row_to_tid(row, tid);
	if (!row_fetch(rel, row, SnapshotAny, slot))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("attempted to lock invisible tuple")));
	row_to_tid(row, &tmfd->ctid);
	tmfd->xmax = InvalidTransactionId;
	tmfd->cmax = InvalidCommandId;
	tmfd->traversed = traversed;
	if (slot_is_magic(slot) && TransactionIdIsCurrentTransactionId(((MagicSlot *) slot)->xmin) &&
		((MagicSlot *) slot)->cmin >= cid)
	{
		/* A row of this very command: ON CONFLICT tells from its xmin that it would change a row twice. */
		if (!traversed)
			return TM_Invisible;
		/* This command, or what it has triggered, has changed the row that others had changed before. */
		tmfd->xmax = ((MagicSlot *) slot)->xmin;
		tmfd->cmax = ((MagicSlot *) slot)->cmin;
		return TM_SelfModified;
	}
	row_lock_settle(rel, policy == LockWaitBlock);
	last_locked.lxid = compat_proc_lxid(MyProc);
	last_locked.relid = RelationGetRelid(rel);
	last_locked.row = row;
	return TM_Ok;
}
