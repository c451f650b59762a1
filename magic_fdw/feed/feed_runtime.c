/*
 * feed_runtime.c
 *		magic.feed_runtime(): the slots of this database as rows, for the views.
 */
#include "feed/feed_internal.h"

#include "fmgr.h"
#include "magic_compat.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define RUNTIME_COLUMNS 26

PG_FUNCTION_INFO_V1(magic_feed_runtime);

/* Fills the columns of a row one after the other; NULL where a value says "not known". */
typedef struct RowBuilder
{
	int n;
	Datum values[RUNTIME_COLUMNS];
	bool nulls[RUNTIME_COLUMNS];
} RowBuilder;

static void
put(RowBuilder *row, Datum value, bool known)
{
	row->values[row->n] = value;
	row->nulls[row->n] = !known;
	row->n++;
}

static void
put_text(RowBuilder *row, const char *text)
{
	put(row, text[0] ? CStringGetTextDatum(text) : (Datum) 0, text[0] != '\0');
}

static void
put_time(RowBuilder *row, TimestampTz time)
{
	put(row, TimestampTzGetDatum(time), time != 0);
}

static TimestampTz
time_from_unix_ms(int64 ms)
{
	return ms == 0 ? 0 : ms * 1000 - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* Rates fade when nothing is applied any more. */
static double
rate_now(double rate, TimestampTz at)
{
	return TimestampDifferenceExceeds(at, GetCurrentTimestamp(), 10000) ? 0 : rate;
}

static void
put_slot(RowBuilder *row, const FeedSlot *slot)
{
	const FeedStats *stats = &slot->stats;
	const FeedErrorInfo *error = &slot->error;

	put(row, Int32GetDatum(slot->feed_id), true);
	put(row, CStringGetTextDatum(feed_state_name(slot->state)), true);
	put_text(row, slot->state_detail);
	put(row, Int32GetDatum(slot->pid), slot->pid != 0);
	put(row, Int64GetDatum(stats->resolved_ts), stats->resolved_ts != 0);
	put(row, Int64GetDatum(stats->applied_ts), stats->applied_ts != 0);
	put(row, Int64GetDatum(stats->durable_ts), stats->durable_ts != 0);
	put_time(row, stats->applied_at);
	put_time(row, stats->next_apply_at);
	put_time(row, time_from_unix_ms(stats->oldest_pending_ms));
	put(row, Float8GetDatum(rate_now(stats->rows_per_second, stats->rate_at)), true);
	put(row, Float8GetDatum(rate_now(stats->messages_per_second, stats->rate_at)), true);
	put(row, Int64GetDatum(stats->rows_applied), true);
	put(row, Int64GetDatum(stats->applies), true);
	put(row, Int64GetDatum(stats->dropped_rows), true);
	put(row, Int64GetDatum(stats->lag_messages), stats->lag_messages >= 0);
	put(row, Int64GetDatum(stats->high_watermark), stats->high_watermark >= 0);
	put(row, Int64GetDatum(stats->memory_bytes), true);
	put(row, Int64GetDatum(stats->spill_bytes), true);
	put_text(row, error->message);
	put_text(row, error->detail);
	put_text(row, error->hint);
	put_text(row, error->sqlstate ? unpack_sql_state(error->sqlstate) : "");
	put_time(row, error->at);
	put_time(row, slot->pid == 0 || slot->state == FEED_RETRYING ? slot->retry_at : 0);
	put(row, BoolGetDatum(slot->wanted), true);
	Assert(row->n == RUNTIME_COLUMNS);
}

Datum
magic_feed_runtime(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	FeedShared *shared = feed_shared();
	FeedSlot *copies;
	int n = 0;

	InitMaterializedSRF(fcinfo, 0);

	/* copied under the locks, turned into rows without them */
	copies = palloc(sizeof(FeedSlot) * FEED_MAX_SLOTS);
	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < FEED_MAX_SLOTS; i++)
	{
		FeedSlot *slot = &shared->slots[i];

		if (!slot->in_use || slot->database != MyDatabaseId)
			continue;
		LWLockAcquire(&slot->lock, LW_SHARED);
		memcpy(&copies[n++], slot, sizeof(FeedSlot));
		LWLockRelease(&slot->lock);
	}
	LWLockRelease(&shared->lock);

	for (int i = 0; i < n; i++)
	{
		RowBuilder row = {0};

		put_slot(&row, &copies[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row.values, row.nulls);
	}
	return (Datum) 0;
}
