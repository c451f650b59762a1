/*
 * feed_row.c
 *		Reading magic.feed and its companions in a worker.
 *
 * Callers have a transaction open. The tables belong to the extension; names are qualified and the
 * search path is pinned.
 */
#include "ingest.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

static int
query(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls, bool read_only)
{
	int result = SPI_execute_with_args(sql, nargs, types, values, nulls, read_only, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	return (int) SPI_processed;
}

/* The extension may be dropped, or dropped and created again, at any time between transactions. */
bool
feed_extension_exists(void)
{
	return OidIsValid(get_extension_oid("magic_fdw", true));
}

/* Reads columns of the current row one after the other; texts are copied into `context`. */
typedef struct ColumnReader
{
	MemoryContext context;
	int column;
} ColumnReader;

static Datum
next_datum(ColumnReader *reader, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, ++reader->column, isnull);
}

static char *
next_text(ColumnReader *reader)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, ++reader->column);

	return value ? MemoryContextStrdup(reader->context, value) : NULL;
}

static int64
next_int64(ColumnReader *reader)
{
	bool isnull;
	Datum value = next_datum(reader, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static bool
next_bool(ColumnReader *reader)
{
	bool isnull;
	Datum value = next_datum(reader, &isnull);

	return !isnull && DatumGetBool(value);
}

static int64
next_interval_us(ColumnReader *reader)
{
	bool isnull;
	Interval *value = DatumGetIntervalP(next_datum(reader, &isnull));

	return value->day * USECS_PER_DAY + value->time;
}

static const char feed_query[] =
	"SELECT f.xmin, f.name, f.owner::oid, pg_get_userbyid(f.owner), f.source, f.apply_interval,"
	" f.start_ts, f.stop_ts, f.tables, f.routes, f.names, f.names_as, f.readers, f.memory_limit,"
	" f.spill_limit, f.on_error, f.on_gap, f.on_zero_date, f.on_bad_text, f.on_lock,"
	" f.on_dependent, f.on_missing, f.on_local_write, f.old_value, f.ddl_rewrite_limit,"
	" f.enabled, f.paused, r.feed_id IS NOT NULL"
	" FROM magic.feed f LEFT JOIN magic.feed_rest r ON r.feed_id = f.id WHERE f.id = $1";

static void
read_feed(ColumnReader *reader, int32 feed_id, FeedRow *row)
{
	Feed *feed = MemoryContextAllocZero(reader->context, sizeof(Feed));
	bool isnull;

	row->feed = feed;
	feed->id = feed_id;
	row->xmin = DatumGetTransactionId(next_datum(reader, &isnull));
	feed->name = next_text(reader);
	feed->owner = DatumGetObjectId(next_datum(reader, &isnull));
	feed->owner_name = next_text(reader);
	feed->source = next_text(reader);
	feed->apply_interval_us = next_interval_us(reader);
	feed->start_ts = next_int64(reader);
	feed->stop_ts = next_int64(reader);
	feed->tables = next_text(reader);
	feed->routes = next_text(reader);
	feed->names = next_text(reader);
	feed->names_as = next_text(reader);
	feed->readers = next_text(reader);
	feed->memory_limit = next_int64(reader);
	feed->spill_limit = next_int64(reader);
	feed->on_error = next_text(reader);
	feed->on_gap = next_text(reader);
	feed->on_zero_date = next_text(reader);
	feed->on_bad_text = next_text(reader);
	feed->on_lock = next_text(reader);
	feed->on_dependent = next_text(reader);
	feed->on_missing = next_text(reader);
	feed->on_local_write = next_text(reader);
	feed->old_value = next_text(reader);
	feed->ddl_rewrite_limit = next_int64(reader);
	feed->enabled = next_bool(reader);
	feed->paused = next_bool(reader);
	row->resting = next_bool(reader);
}

static void
read_position(ColumnReader *reader, FeedPosition *position)
{
	position->position = next_text(reader);
	position->applied_ts = next_int64(reader);
	position->last_position = next_text(reader);
	position->last_crc = (uint32) next_int64(reader);
	position->last_ts = next_int64(reader);
}

/*
 * Reads a feed's row and position into the current memory context; false if there is no such feed.
 */
bool
feed_row_load(int32 feed_id, FeedRow *row)
{
	ColumnReader reader = {CurrentMemoryContext, 0};
	Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(feed_id)};
	bool found;

	memset(row, 0, sizeof(*row));
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	found = query(feed_query, 1, types, values, NULL, true) == 1;
	if (found)
	{
		MemoryContext old;
		Oid position_types[2] = {INT4OID, TEXTOID};
		Datum position_values[2];

		read_feed(&reader, feed_id, row);
		old = MemoryContextSwitchTo(reader.context);
		row->feed->uri = feed_api()->parse_uri(row->feed->source);
		MemoryContextSwitchTo(old);

		row->position.feed_id = feed_id;
		row->position.topic = row->feed->uri->topic;
		position_values[0] = values[0];
		position_values[1] = CStringGetTextDatum(row->feed->uri->topic);
		if (query("SELECT position, applied_ts, last_position, last_crc, last_ts"
				  " FROM magic.feed_position WHERE feed_id = $1 AND topic = $2 AND partition = 0",
				  2, position_types, position_values, NULL, true) == 1)
		{
			reader.column = 0;
			read_position(&reader, &row->position);
		}
	}
	SPI_finish();
	PopActiveSnapshot();
	return found;
}

/* Is the row gone, or another version of it there? */
bool
feed_row_changed(int32 feed_id, TransactionId xmin)
{
	static SPIPlanPtr plan = NULL;
	Datum values[1] = {Int32GetDatum(feed_id)};
	bool changed = true;
	bool isnull;

	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (!plan)
	{
		Oid types[1] = {INT4OID};

		plan = SPI_prepare("SELECT xmin FROM magic.feed WHERE id = $1", 1, types);
		if (!plan)
			elog(ERROR, "SPI_prepare failed");
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read magic.feed");
	if (SPI_processed == 1)
		changed = DatumGetTransactionId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
													  1, &isnull)) != xmin;
	SPI_finish();
	PopActiveSnapshot();
	return changed;
}

/* Nothing lies between the applied TS and `ts`: moves the applied TS there. */
void
feed_position_advance(int32 feed_id, int64 ts)
{
	Oid types[2] = {INT4OID, INT8OID};
	Datum values[2];

	values[0] = Int32GetDatum(feed_id);
	values[1] = Int64GetDatum(ts);
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	query("UPDATE magic.feed_position SET applied_ts = $2, applied_at = clock_timestamp()"
		  " WHERE feed_id = $1 AND applied_ts < $2",
		  2, types, values, NULL, false);
	SPI_finish();
	PopActiveSnapshot();
}

/* Writes why the feed rests; `error` NULL for a state that is none. */
void
feed_rest_write(int32 feed_id, const char *state, const FeedErrorInfo *error)
{
	Oid types[6] = {INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[6] = {0};
	char nulls[6] = {' ', ' ', 'n', 'n', 'n', 'n'};

	values[0] = Int32GetDatum(feed_id);
	values[1] = CStringGetTextDatum(state);
	if (error)
	{
		const char *texts[] = {error->message, error->detail, error->hint,
							   unpack_sql_state(error->sqlstate)};

		for (int i = 0; i < lengthof(texts); i++)
		{
			if (texts[i][0] == '\0')
				continue;
			values[i + 2] = CStringGetTextDatum(texts[i]);
			nulls[i + 2] = ' ';
		}
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* the feed may have been dropped meanwhile: then there is nothing to say */
	query("INSERT INTO magic.feed_rest (feed_id, state, message, detail, hint, sqlstate, at)"
		  " SELECT f.id, $2, $3, $4, $5, $6, clock_timestamp() FROM magic.feed f WHERE f.id = $1"
		  " FOR KEY SHARE"
		  " ON CONFLICT (feed_id) DO UPDATE SET state = excluded.state, message = excluded.message,"
		  " detail = excluded.detail, hint = excluded.hint, sqlstate = excluded.sqlstate,"
		  " at = excluded.at",
		  6, types, values, nulls, false);
	SPI_finish();
	PopActiveSnapshot();
}
