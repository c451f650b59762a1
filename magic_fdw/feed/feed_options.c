/*
 * feed_options.c
 *		magic.create_feed and magic.alter_feed: the options of a feed, checked when they are chosen.
 *
 * One table describes every option: how its value is read, which values exist, which of them work
 * today. A value that exists but does not work yet is refused by name, so that nothing is accepted
 * in silence. The order of the table is the order of create_feed's arguments from apply_interval on;
 * alter_feed has the same order without what cannot be altered.
 */
#include "feed/feed_internal.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "magic_compat.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

/* The longest pause between applies: a year. */
#define MAX_INTERVAL_US (INT64CONST(366) * USECS_PER_DAY)
#define MIN_MEMORY_LIMIT (INT64CONST(1024) * 1024)

typedef enum OptionKind
{
	OPTION_INTERVAL,
	OPTION_TS,
	OPTION_TEXT,
	OPTION_ROLES,
	OPTION_CHOICE,
	OPTION_SIZE,
	OPTION_BOOL
} OptionKind;

typedef struct FeedOption
{
	const char *name; /* argument and column of magic.feed */
	OptionKind kind;
	bool alterable;
	const char *standard; /* the default as text; NULL = none */
	const char *choices;  /* OPTION_CHOICE: all values, separated by '|' */
	const char *working;  /* those that work today; for other kinds NULL = any value works, "" =
							* only the default does */
	bool stored;		  /* has a column */
} FeedOption;

static const FeedOption options[] = {
	{"apply_interval", OPTION_INTERVAL, true, "1 second", NULL, NULL, true},
	{"start_ts", OPTION_TS, false, NULL, NULL, NULL, true},
	{"stop_ts", OPTION_TS, true, NULL, NULL, NULL, true},
	{"tables", OPTION_TEXT, true, "*.*", NULL, NULL, true},
	{"routes", OPTION_TEXT, true, NULL, NULL, NULL, true},
	{"names", OPTION_CHOICE, true, "keep", "keep|lower", "keep|lower", true},
	{"names_as", OPTION_CHOICE, true, "table", "table|view", "table", true},
	{"engine_server", OPTION_TEXT, true, NULL, NULL, "", false},
	{"source_server", OPTION_TEXT, false, NULL, NULL, "", false},
	{"readers", OPTION_ROLES, true, NULL, NULL, NULL, true},
	{"memory_limit", OPTION_SIZE, true, "256MB", NULL, NULL, true},
	{"spill_limit", OPTION_SIZE, true, "8GB", NULL, "", true},
	{"on_error", OPTION_CHOICE, true, "stop", "stop|skip|dead_letter", "stop", true},
	{"on_gap", OPTION_CHOICE, true, "stop", "stop|ignore", "stop|ignore", true},
	{"on_zero_date", OPTION_CHOICE, true, "null", "null|error|-infinity", "null|error|-infinity",
	 true},
	{"on_bad_text", OPTION_CHOICE, true, "replace", "replace|error", "replace|error", true},
	{"on_lock", OPTION_CHOICE, true, "wait", "wait|cancel_readers", "wait", true},
	{"on_dependent", OPTION_CHOICE, true, "stop", "stop|recreate|cascade|keep", "stop", true},
	{"on_missing", OPTION_CHOICE, true, "count", "count|stop", "count|stop", true},
	{"on_local_write", OPTION_CHOICE, true, "refuse", "refuse|allow", "refuse|allow", true},
	{"on_buffer_full", OPTION_CHOICE, true, "apply", "apply|wait", "apply", true},
	{"old_value", OPTION_CHOICE, true, "on", "on|off", "on", true},
	{"ddl_rewrite_limit", OPTION_SIZE, true, "-1", NULL, "", true},
	{"read_grid", OPTION_INTERVAL, true, "1 second", NULL, "", true},
	{"enabled", OPTION_BOOL, true, "true", NULL, NULL, true},
};

/* The statement's parameters as they are collected. */
typedef struct OptionValues
{
	int n;
	Oid types[lengthof(options) + 8];
	Datum values[lengthof(options) + 8];
	char nulls[lengthof(options) + 8];
	const char *columns[lengthof(options) + 8];
} OptionValues;

PG_FUNCTION_INFO_V1(magic_create_feed);
PG_FUNCTION_INFO_V1(magic_alter_feed);
PG_FUNCTION_INFO_V1(magic_set_interval);

static void
add_value(OptionValues *list, const char *column, Oid type, Datum value, bool isnull)
{
	list->columns[list->n] = column;
	list->types[list->n] = type;
	list->values[list->n] = value;
	list->nulls[list->n] = isnull ? 'n' : ' ';
	list->n++;
}

static bool
is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	for (const char *p = choices; p; p = strchr(p, '|'), p = p ? p + 1 : NULL)
		if (strncmp(p, value, len) == 0 && (p[len] == '|' || p[len] == '\0') && len > 0)
			return true;
	return false;
}

static void
not_yet(const FeedOption *option, const char *value)
{
	const char *works = option->working[0] ? option->working : option->standard;

	if (works && strcmp(works, "-1") == 0)
		works = NULL; /* stands for none */
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("value \"%s\" for option \"%s\" is not supported yet", value, option->name),
			 works ? errhint("Supported: %s.", works) : errhint("Leave the option out.")));
}

static void
bad_choice(const FeedOption *option, const char *value)
{
	char *copy = pstrdup(option->choices);
	const char *names[8];
	const char *nearest;
	char *name;
	int n = 0;

	while ((name = strsep(&copy, "|")) != NULL && n < lengthof(names))
		names[n++] = name;
	nearest = feed_nearest_name(value, names, n);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value \"%s\" for option \"%s\"", value, option->name),
					errdetail("It is one of %s.", option->choices),
					nearest ? errhint("Perhaps you meant \"%s\".", nearest) : 0));
}

/* Microseconds of an interval that says how long to pause; an error for months and below 0. */
static int64
checked_interval(const char *name, const Interval *interval)
{
	int64 us;

	if (interval->month != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must not contain months or years", name),
						errhint("Months differ in length; give days, hours or less.")));
	if (interval->day > 366 || interval->day < -366 || interval->time > MAX_INTERVAL_US ||
		interval->time < -MAX_INTERVAL_US)
		us = interval->time < 0 || interval->day < 0 ? -1 : MAX_INTERVAL_US + 1;
	else
		us = interval->day * USECS_PER_DAY + interval->time;
	if (us < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must not be negative", name)));
	if (us > MAX_INTERVAL_US)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must not be longer than a year", name)));
	return us;
}

static int64
checked_size(const FeedOption *option, const char *text)
{
	int64 bytes = DatumGetInt64(DirectFunctionCall1(pg_size_bytes, CStringGetTextDatum(text)));

	if (strcmp(option->name, "memory_limit") == 0 && bytes < MIN_MEMORY_LIMIT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must be at least 1MB", option->name)));
	return bytes;
}

/* Roles that shall read the feed's tables: they must exist, and the caller must name them rightly. */
static void
check_roles(const FeedOption *option, const char *text)
{
	char *copy = pstrdup(text);
	List *names;
	ListCell *cell;

	if (!SplitIdentifierString(copy, ',', &names))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid list of roles for option \"%s\"", option->name)));
	foreach (cell, names)
		if (strcmp((char *) lfirst(cell), "public") != 0)
			(void) get_role_oid((char *) lfirst(cell), false);
}

static int64
standard_size(const FeedOption *option)
{
	return DatumGetInt64(DirectFunctionCall1(pg_size_bytes, CStringGetTextDatum(option->standard)));
}

/* Checks one argument and adds it to the list. A NULL means the default, and so may be stored. */
static void
take_option(OptionValues *list, const FeedOption *option, Datum value, bool isnull)
{
	bool only_default = option->working && option->working[0] == '\0';

	switch (option->kind)
	{
		case OPTION_INTERVAL:
		{
			Datum standard = DirectFunctionCall3(interval_in, CStringGetDatum(option->standard),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

			if (isnull)
				value = standard;
			if (only_default && !DatumGetBool(DirectFunctionCall2(interval_eq, value, standard)))
				not_yet(option, DatumGetCString(DirectFunctionCall1(interval_out, value)));
			(void) checked_interval(option->name, DatumGetIntervalP(value));
			add_value(list, option->name, INTERVALOID, value, false);
			break;
		}
		case OPTION_TS:
			if (!isnull && DatumGetInt64(value) <= 0)
				ereport(
					ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be a positive TiDB timestamp", option->name),
					 errhint("A TSO is milliseconds since 1970, times 262144, plus a counter.")));
			add_value(list, option->name, INT8OID, value, isnull);
			break;
		case OPTION_TEXT:
		case OPTION_ROLES:
		{
			char *string = isnull ? NULL : TextDatumGetCString(value);

			if (isnull && option->standard)
				string = pstrdup(option->standard);
			if (only_default && string)
				not_yet(option, string);
			if (string && string[strspn(string, " \t\r\n,")] == '\0')
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("option \"%s\" must not be empty", option->name)));
			if (string && option->kind == OPTION_ROLES)
				check_roles(option, string);
			if (option->stored)
				add_value(list, option->name, TEXTOID, string ? CStringGetTextDatum(string) : 0,
						  !string);
			break;
		}
		case OPTION_CHOICE:
		{
			char *string = isnull ? pstrdup(option->standard) : TextDatumGetCString(value);

			if (!is_choice(option->choices, string))
				bad_choice(option, string);
			if (!is_choice(option->working, string))
				not_yet(option, string);
			add_value(list, option->name, TEXTOID, CStringGetTextDatum(string), false);
			break;
		}
		case OPTION_SIZE:
		{
			char *string = isnull ? pstrdup(option->standard) : TextDatumGetCString(value);
			int64 bytes = checked_size(option, string);

			if (only_default && bytes != standard_size(option))
				not_yet(option, string);
			add_value(list, option->name, INT8OID, Int64GetDatum(bytes), false);
			break;
		}
		case OPTION_BOOL:
			add_value(list, option->name, BOOLOID, isnull ? BoolGetDatum(true) : value, false);
			break;
	}
}

static char *
checked_feed_name(Datum value)
{
	char *name = TextDatumGetCString(value);

	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("a feed's name must have 1 to %d bytes", NAMEDATALEN - 1)));
	for (const char *p = name; *p; p++)
		if ((unsigned char) *p < ' ' || *p == 127)
			ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
							errmsg("a feed's name must not contain control characters")));
	return name;
}

/* INSERT INTO magic.feed (columns) VALUES ($1, ...): the id of the new row. */
static int32
insert_feed(OptionValues *list, const char *name)
{
	StringInfoData sql;
	bool isnull;
	Oid types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(name)};

	if (feed_spi_execute("SELECT 1 FROM magic.feed WHERE name = $1", 1, types, values, NULL,
						 false) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("feed \"%s\" already exists", name)));

	initStringInfo(&sql);
	appendStringInfoString(&sql, "INSERT INTO magic.feed (");
	for (int i = 0; i < list->n; i++)
		appendStringInfo(&sql, "%s%s", i ? ", " : "", list->columns[i]);
	appendStringInfoString(&sql, ") VALUES (");
	for (int i = 0; i < list->n; i++)
		appendStringInfo(&sql, "%s$%d", i ? ", " : "", i + 1);
	appendStringInfoString(&sql, ") RETURNING id");
	feed_spi_execute(sql.data, list->n, list->types, list->values, list->nulls, false);
	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* The position row exists from the start, so that the apply only updates. */
static void
insert_position(int32 feed_id, const FeedUri *uri, Datum start_ts, bool no_start_ts)
{
	Oid types[3] = {INT4OID, TEXTOID, INT8OID};
	Datum values[3];

	values[0] = Int32GetDatum(feed_id);
	values[1] = CStringGetTextDatum(uri->topic);
	values[2] = no_start_ts ? Int64GetDatum(0) : start_ts;
	feed_spi_execute("INSERT INTO magic.feed_position (feed_id, topic, partition, applied_ts)"
					 " VALUES ($1, $2, 0, $3)",
					 3, types, values, NULL, false);
}

/* create_feed(name text, source text, options...) -> void */
Datum
magic_create_feed(PG_FUNCTION_ARGS)
{
	OptionValues list = {0};
	Oid owner = GetUserId();
	FeedUri *uri;
	char *name;
	int32 id;
	FeedSpi spi;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a feed's name must not be null")));
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a feed's source must not be null"),
						errhint("Give a URI: kafka://host:port/TOPIC?protocol=tidb-binlog or "
								"file:///directory?protocol=tidb-binlog.")));
	Assert(PG_NARGS() == 2 + lengthof(options));

	name = checked_feed_name(PG_GETARG_DATUM(0));
	uri = feed_parse_uri(TextDatumGetCString(PG_GETARG_DATUM(1)));
	if (uri->kind == FEED_SOURCE_FILE)
		feed_check_file_directory(uri->topic);
	add_value(&list, "name", TEXTOID, CStringGetTextDatum(name), false);
	add_value(&list, "owner", REGROLEOID, ObjectIdGetDatum(owner), false);
	add_value(&list, "source", TEXTOID, PG_GETARG_DATUM(1), false);
	for (int i = 0; i < lengthof(options); i++)
		take_option(&list, &options[i], PG_ARGISNULL(i + 2) ? (Datum) 0 : PG_GETARG_DATUM(i + 2),
					PG_ARGISNULL(i + 2));
	if (!PG_ARGISNULL(3) && !PG_ARGISNULL(4) && PG_GETARG_INT64(4) < PG_GETARG_INT64(3))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("stop_ts must not be below start_ts")));
	if (!uri->time_zone_given)
		ereport(WARNING,
				(errmsg("TIMESTAMP columns of the source are read as UTC"),
				 errdetail("Drainer writes them in the time zone of its own process and does not "
						   "say which."),
				 errhint("Add time_zone=UTC to the URI if that is right, else the zone's name.")));

	feed_spi_begin(&spi);
	id = insert_feed(&list, name);
	insert_position(id, uri, PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3), PG_ARGISNULL(3));
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}

/* Tables keep the names that they were made with. */
static void
refuse_renaming(int32 id, const char *column)
{
	Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(id)};

	if (feed_spi_execute("SELECT 1 FROM magic.feed_table WHERE feed_id = $1 LIMIT 1", 1, types,
						 values, NULL, true) > 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("option \"%s\" cannot be changed once the feed has tables", column),
						errhint("Drop the feed and create it again.")));
}

static void
update_feed(int32 id, OptionValues *list)
{
	StringInfoData sql;

	if (list->n == 0)
		return;
	initStringInfo(&sql);
	appendStringInfoString(&sql, "UPDATE magic.feed SET ");
	for (int i = 0; i < list->n; i++)
	{
		appendStringInfo(&sql, "%s%s = $%d", i ? ", " : "", list->columns[i], i + 1);
		if (strcmp(list->columns[i], "apply_interval") == 0)
			appendStringInfoString(&sql, ", interval_changed_at = now()");
	}
	appendStringInfo(&sql, " WHERE id = %d", id);
	feed_spi_execute(sql.data, list->n, list->types, list->values, list->nulls, false);
}

/* A stop must lie ahead: what is applied cannot be taken back. */
void
feed_check_stop_ts(int32 id, int64 stop_ts)
{
	Oid types[1] = {INT4OID};
	Datum values[1] = {Int32GetDatum(id)};
	int64 applied = 0;
	bool isnull;

	if (feed_spi_execute("SELECT min(applied_ts) FROM magic.feed_position WHERE feed_id = $1", 1,
						 types, values, NULL, false) > 0)
	{
		Datum value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		applied = isnull ? 0 : DatumGetInt64(value);
	}
	if (stop_ts < applied)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("stop_ts " INT64_FORMAT " is below the applied TS " INT64_FORMAT,
							   stop_ts, applied)));
}

/* alter_feed(feed text, options... DEFAULT NULL) -> void; NULL leaves an option as it is */
Datum
magic_alter_feed(PG_FUNCTION_ARGS)
{
	OptionValues list = {0};
	int argument = 1;
	FeedSpi spi;
	int32 id;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a feed's name must not be null")));
	for (int i = 0; i < lengthof(options); i++)
	{
		if (!options[i].alterable)
			continue;
		if (!PG_ARGISNULL(argument))
			take_option(&list, &options[i], PG_GETARG_DATUM(argument), false);
		argument++;
	}
	Assert(argument == PG_NARGS());

	feed_spi_begin(&spi);
	id = feed_lock_row(TextDatumGetCString(PG_GETARG_DATUM(0)));
	for (int i = 0; i < list.n; i++)
	{
		if (strcmp(list.columns[i], "names") == 0 || strcmp(list.columns[i], "routes") == 0)
			refuse_renaming(id, list.columns[i]);
		if (strcmp(list.columns[i], "stop_ts") == 0)
			feed_check_stop_ts(id, DatumGetInt64(list.values[i]));
	}
	update_feed(id, &list);
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}

/* set_interval(feed text, apply_interval interval) -> void */
Datum
magic_set_interval(PG_FUNCTION_ARGS)
{
	OptionValues list = {0};
	FeedSpi spi;
	int32 id;

	take_option(&list, &options[0], PG_GETARG_DATUM(1), false);
	feed_spi_begin(&spi);
	id = feed_lock_row(TextDatumGetCString(PG_GETARG_DATUM(0)));
	update_feed(id, &list);
	feed_spi_end(&spi);
	feed_wake_at_commit(id);
	PG_RETURN_VOID();
}
