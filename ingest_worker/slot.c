/*
 * slot.c
 *		A worker's side of its slot in shared memory.
 */
#include "ingest.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#define BACKOFF_MAX_S 60

int64
backoff_us(uint32 failures)
{
	int64 seconds = failures > 6 ? BACKOFF_MAX_S : INT64CONST(1) << Max(failures, 1) >> 1;

	return Min(seconds, BACKOFF_MAX_S) * USECS_PER_SEC;
}

/* Leaves the slot, however the process ends, and lets launcher and holders look again. */
static void
slot_detach(int code, Datum arg)
{
	FeedSlot *slot = (FeedSlot *) DatumGetPointer(arg);
	FeedShared *shared = feed_api()->shared();
	bool rest;

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->pid = 0;
	slot->latch = NULL;
	rest = slot->exit == FEED_EXIT_REST;
	if (rest)
		slot->wanted = false;
	else if (slot->exit == FEED_EXIT_CRASH)
	{
		slot->failures++;
		slot->retry_at = GetCurrentTimestamp() + backoff_us(slot->failures);
		slot->state = FEED_RETRYING;
	}
	slot->stats.next_apply_at = 0;
	LWLockRelease(&slot->lock);
	ConditionVariableBroadcast(&slot->changed);
	ConditionVariableBroadcast(&shared->quiet);

	/* it may have been resumed since the worker looked: the tables know */
	if (rest)
		feed_api()->request_scan(slot->database);
	else
	{
		Latch *launcher;

		LWLockAcquire(&shared->lock, LW_SHARED);
		launcher = shared->launcher_latch;
		LWLockRelease(&shared->lock);
		if (launcher)
			SetLatch(launcher);
	}
}

/* Takes the slot for this process; NULL if it is gone or another process has it. */
FeedSlot *
slot_attach(int index)
{
	FeedShared *shared = feed_api()->shared();
	FeedSlot *slot = &shared->slots[index];
	bool taken;

	LWLockAcquire(&shared->lock, LW_SHARED);
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	taken = !slot->in_use || !slot->wanted || slot->pid != 0;
	if (!taken)
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->exit = FEED_EXIT_CRASH;
		slot->retry_at = 0;
		slot->state = FEED_STARTING;
		slot->state_detail[0] = '\0';
		memset(&slot->stats, 0, sizeof(slot->stats));
		slot->stats.lag_messages = -1;
		slot->stats.high_watermark = -1;
	}
	LWLockRelease(&slot->lock);
	LWLockRelease(&shared->lock);
	if (taken)
		return NULL;
	before_shmem_exit(slot_detach, PointerGetDatum(slot));
	ConditionVariableBroadcast(&slot->changed);
	return slot;
}

/* Says how the process is about to leave. */
void
slot_set_exit(FeedSlot *slot, FeedExit how, TimestampTz retry_at)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->exit = how;
	slot->retry_at = retry_at;
	LWLockRelease(&slot->lock);
}

void
slot_set_state(FeedSlot *slot, FeedState state, const char *detail)
{
	bool changed;

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	changed = slot->state != state || strcmp(slot->state_detail, detail ? detail : "") != 0;
	slot->state = state;
	strlcpy(slot->state_detail, detail ? detail : "", FEED_DETAIL_LEN);
	LWLockRelease(&slot->lock);
	if (changed)
		ConditionVariableBroadcast(&slot->changed);
}

void
slot_set_error(FeedSlot *slot, const FeedErrorInfo *error)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->error = *error;
	LWLockRelease(&slot->lock);
}

/* One more failure in a row; when to try again. */
TimestampTz
slot_count_failure(FeedSlot *slot)
{
	TimestampTz retry_at;

	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->failures++;
	retry_at = GetCurrentTimestamp() + backoff_us(slot->failures);
	LWLockRelease(&slot->lock);
	return retry_at;
}

void
slot_count_success(FeedSlot *slot)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->failures = 0;
	slot->retry_at = 0;
	LWLockRelease(&slot->lock);
}

void
slot_set_stats(FeedSlot *slot, const FeedStats *stats)
{
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	slot->stats = *stats;
	LWLockRelease(&slot->lock);
}
