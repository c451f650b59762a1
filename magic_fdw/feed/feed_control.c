/*
 * feed_control.c
 *		Operating a feed: pause, resume, drop_feed, seek, skip.
 *
 * Each function changes rows and asks for a wake-up at commit. Those that change what a running
 * worker would write over (seek, skip, drop_feed) first take a hold, so that the worker is gone
 * until their transaction ends.
 */
#include "feed/feed_internal.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "magic_compat.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(magic_pause);
PG_FUNCTION_INFO_V1(magic_resume);
PG_FUNCTION_INFO_V1(magic_drop_feed);
PG_FUNCTION_INFO_V1(magic_seek);
PG_FUNCTION_INFO_V1(magic_skip);

/* A statement whose only parameter is the feed's id. */
static int
run_for_feed(const char *sql, int32 id)
{
	Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(id)};

	return feed_spi_execute(sql, 1, types, values, NULL, false);
}

static void
null_feed_name(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a feed's name must not be null")));
}

/* pause(feed text) -> void */
Datum
magic_pause(PG_FUNCTION_ARGS)
{
	FeedSpi spi;
	int32 id;

	feed_spi_begin(&spi);
	id = feed_lock_row(TextDatumGetCString(PG_GETARG_DATUM(0)));
	run_for_feed("UPDATE magic.feed SET paused = true WHERE id = $1 AND NOT paused", id);
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}

/* resume(feed text, stop_ts bigint DEFAULT NULL) -> void; NULL removes the stop */
Datum
magic_resume(PG_FUNCTION_ARGS)
{
	Oid types[2] = {INT4OID, INT8OID};
	Datum values[2];
	FeedSpi spi;
	int32 id;

	if (PG_ARGISNULL(0))
		null_feed_name();
	feed_spi_begin(&spi);
	id = feed_lock_row(TextDatumGetCString(PG_GETARG_DATUM(0)));
	if (!PG_ARGISNULL(1))
		feed_check_stop_ts(id, PG_GETARG_INT64(1));
	values[0] = Int32GetDatum(id);
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	feed_spi_execute("UPDATE magic.feed SET paused = false, stop_ts = $2 WHERE id = $1", 2, types,
					 values, PG_ARGISNULL(1) ? " n" : "  ", false);
	run_for_feed("DELETE FROM magic.feed_rest WHERE feed_id = $1 AND state <> 'needs adopt'", id);
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}

/* Drops the tables that the feed made, not those it adopted; whatever depends on them stops it. */
static void
drop_tables(int32 id)
{
	StringInfoData sql;

	if (run_for_feed(
			"SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', '"
			" ORDER BY c.oid) FROM magic.feed_table t JOIN pg_class c ON c.oid = t.relation"
			" JOIN pg_namespace n ON n.oid = c.relnamespace"
			" WHERE t.feed_id = $1 AND NOT t.adopted",
			id) == 1)
	{
		char *names = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		if (names)
		{
			initStringInfo(&sql);
			appendStringInfo(&sql, "DROP TABLE %s", names);
			feed_spi_execute(sql.data, 0, NULL, NULL, NULL, false);
		}
	}
}

/* drop_feed(feed text, drop_tables bool DEFAULT false) -> void */
Datum
magic_drop_feed(PG_FUNCTION_ARGS)
{
	FeedSpi spi;
	int32 id;

	feed_spi_begin(&spi);
	id = feed_lock_row(TextDatumGetCString(PG_GETARG_DATUM(0)));
	feed_hold(MyDatabaseId, id);
	if (PG_GETARG_BOOL(1))
		drop_tables(id);
	run_for_feed("DELETE FROM magic.feed WHERE id = $1", id);
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}

/*
 * Locks a feed whose position is to be changed and keeps its worker away. It must be at rest: a
 * position is a promise about what the tables hold.
 */
static int32
lock_resting_feed(const char *name)
{
	int32 id = feed_lock_row(name);

	if (run_for_feed("SELECT 1 FROM magic.feed f WHERE id = $1 AND (paused OR NOT enabled OR EXISTS"
					 " (SELECT 1 FROM magic.feed_rest r WHERE r.feed_id = f.id))",
					 id) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("feed \"%s\" is running", name),
				 errhint("Pause it first: SELECT magic.pause(%s);", quote_literal_cstr(name))));
	feed_hold(MyDatabaseId, id);
	return id;
}

/* The feed's position row is locked; its present text, NULL at the start of the source. */
static char *
lock_position(int32 id, const char *topic, int partition)
{
	Oid types[3] = {INT4OID, TEXTOID, INT4OID};
	Datum values[3];

	values[0] = Int32GetDatum(id);
	values[1] = CStringGetTextDatum(topic);
	values[2] = Int32GetDatum(partition);
	if (feed_spi_execute("SELECT position FROM magic.feed_position"
						 " WHERE feed_id = $1 AND topic = $2 AND partition = $3 FOR UPDATE",
						 3, types, values, NULL, false) != 1)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the feed does not read partition %d of \"%s\"", partition, topic),
						errhint("View magic.feed_partitions lists what it reads.")));
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* The evidence about the last applied message no longer stands before the new position. */
static void
move_position(int32 id, const char *topic, int partition, const char *position)
{
	Oid types[4] = {INT4OID, TEXTOID, INT4OID, TEXTOID};
	Datum values[4];

	values[0] = Int32GetDatum(id);
	values[1] = CStringGetTextDatum(topic);
	values[2] = Int32GetDatum(partition);
	values[3] = CStringGetTextDatum(position);
	feed_spi_execute("UPDATE magic.feed_position SET position = $4, last_position = NULL,"
					 " last_crc = NULL, last_ts = NULL"
					 " WHERE feed_id = $1 AND topic = $2 AND partition = $3",
					 4, types, values, NULL, false);
}

static FeedUri *
uri_of_feed(int32 id)
{
	run_for_feed("SELECT source FROM magic.feed WHERE id = $1", id);
	return feed_parse_uri(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
}

/*
 * seek(feed text, topic text, partition int, "offset" bigint, at timestamptz, commit_ts bigint)
 * For now by offset, in Kafka. Messages at or below the applied TS are still dropped as replays.
 */
Datum
magic_seek(PG_FUNCTION_ARGS)
{
	char *topic;
	char *name;
	int partition;
	FeedSpi spi;
	int32 id;

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("feed, topic and partition must not be null")));
	if (!PG_ARGISNULL(3) + !PG_ARGISNULL(4) + !PG_ARGISNULL(5) != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("give exactly one of \"offset\", at and commit_ts")));
	if (PG_ARGISNULL(3))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("seek by time or commit TS is not supported yet"),
						errhint("Seek to an earlier offset: what is applied already is skipped.")));
	if (PG_GETARG_INT64(3) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("offset must not be negative")));

	name = TextDatumGetCString(PG_GETARG_DATUM(0));
	topic = TextDatumGetCString(PG_GETARG_DATUM(1));
	partition = PG_GETARG_INT32(2);
	feed_spi_begin(&spi);
	id = lock_resting_feed(name);
	if (uri_of_feed(id)->kind != FEED_SOURCE_KAFKA)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("seek is not supported for a source of files")));
	lock_position(id, topic, partition);
	move_position(id, topic, partition, psprintf(INT64_FORMAT, PG_GETARG_INT64(3)));
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}

/* skip(feed text, topic text, partition int, n int DEFAULT 1): leaves out the next n messages, or records of files */
Datum
magic_skip(PG_FUNCTION_ARGS)
{
	char *name = TextDatumGetCString(PG_GETARG_DATUM(0));
	char *topic = TextDatumGetCString(PG_GETARG_DATUM(1));
	int partition = PG_GETARG_INT32(2);
	int n = PG_GETARG_INT32(3);
	char *position;
	int64 offset;
	char *end;
	FeedSpi spi;
	int32 id;

	if (n < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("number of messages to skip must be at least 1")));
	feed_spi_begin(&spi);
	id = lock_resting_feed(name);
	position = lock_position(id, topic, partition);
	if (uri_of_feed(id)->kind != FEED_SOURCE_KAFKA)
	{
		move_position(id, topic, partition, feed_file_skip(topic, position, n));
		feed_spi_end(&spi);
		feed_wake_at_commit(id);
		PG_RETURN_VOID();
	}
	if (!position)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the feed has not read anything from \"%s\" yet", topic),
						errhint("Use magic.seek with the offset that the error names, plus one.")));
	offset = strtoi64(position, &end, 10);
	if (end == position || *end != '\0')
		elog(ERROR, "invalid position \"%s\"", position);
	move_position(id, topic, partition, psprintf(INT64_FORMAT, offset + n));
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}
