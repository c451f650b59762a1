/*
 * convert_time.c
 *		Dates and times: MySQL's text to PostgreSQL's values, without the input functions.
 *
 * The text forms are fixed: YYYY-MM-DD, YYYY-MM-DD hh:mm:ss[.f], [-]h..h:mm:ss[.f]. A date that
 * has a zero in year, month or day, or that does not exist (ALLOW_INVALID_DATES), is a zero date
 * for the policy on_zero_date. In a key column 0000-00-00 is -infinity, which no real value can
 * be, and any other such date is an error: a replacement would merge keys.
 *
 * TIMESTAMP text is local time in the source's zone. In the hour that a zone repeats in autumn two
 * instants have one text; the first, in daylight saving time, is taken, as TiDB does.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "apply/apply_int.h"

typedef struct DateTime
{
	int year;
	int month;
	int day;
	int64 time; /* microseconds since midnight */
} DateTime;

static void
bad_time(const char *text, size_t len)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_DATETIME_FORMAT),
			 errmsg("invalid date or time in the stream: \"%.*s\"", (int) Min(len, 64), text)));
}

/* n digits at p; -1 if they are not. */
static inline int
digits(const char *p, int n)
{
	int value = 0;

	for (int i = 0; i < n; i++)
	{
		if (p[i] < '0' || p[i] > '9')
			return -1;
		value = value * 10 + (p[i] - '0');
	}
	return value;
}

/* ".f" up to six digits, from p to end; microseconds, -1 = malformed. */
static int
fraction(const char *p, const char *end)
{
	int value = 0;
	int n = 0;

	if (p == end)
		return 0;
	if (*p++ != '.' || p == end || end - p > 6)
		return -1;
	for (; p < end; p++, n++)
	{
		if (*p < '0' || *p > '9')
			return -1;
		value = value * 10 + (*p - '0');
	}
	for (; n < 6; n++)
		value *= 10;
	return value;
}

/* "hh:mm:ss[.f]" from p to end, in microseconds; -1 = malformed. */
static int64
time_of_day(const char *p, const char *end)
{
	int h;
	int m;
	int s;
	int f;

	if (end - p < 8 || p[2] != ':' || p[5] != ':')
		return -1;
	h = digits(p, 2);
	m = digits(p + 3, 2);
	s = digits(p + 6, 2);
	f = fraction(p + 8, end);
	if (h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 59 || f < 0)
		return -1;
	return ((int64) (h * 3600 + m * 60 + s)) * USECS_PER_SEC + f;
}

static void
parse(const char *text, size_t len, DateTime *result)
{
	if (len < 10 || text[4] != '-' || text[7] != '-')
		bad_time(text, len);
	result->year = digits(text, 4);
	result->month = digits(text + 5, 2);
	result->day = digits(text + 8, 2);
	result->time = 0;
	if (result->year < 0 || result->month < 0 || result->day < 0)
		bad_time(text, len);
	if (len > 10)
	{
		result->time = text[10] == ' ' ? time_of_day(text + 11, text + len) : -1;
		if (result->time < 0)
			bad_time(text, len);
	}
}

static bool
exists(const DateTime *d)
{
	return d->year > 0 && d->month >= 1 && d->month <= 12 && d->day >= 1 &&
		   d->day <= day_tab[isleap(d->year)][d->month - 1];
}

/*
 * What a zero date becomes: NULL, or true with -infinity meant.
 */
static bool
zero_date(Apply *apply, ApplyTable *table, const ApplyColumn *column, const DateTime *d,
		  const char *text, size_t len)
{
	if (column->key)
	{
		if (d->year == 0 && d->month == 0 && d->day == 0 && d->time == 0)
			return true;
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("date \"%.*s\" in key column \"%s\" cannot be stored",
							   (int) Min(len, 64), text, column->name),
						errdetail("In a key nothing is replaced, since that could merge rows."),
						errhint("Correct the row in TiDB, or leave the table out with the feed's "
								"option \"tables\".")));
	}
	if (apply->config.on_zero_date == ZERO_DATE_ERROR)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("date \"%.*s\" in column \"%s\" cannot be stored",
							   (int) Min(len, 64), text, column->name),
						errhint("Set the feed's option on_zero_date to \"null\" or "
								"\"-infinity\".")));
	convert_warn(table, WARNING_ZERO_DATE);
	return apply->config.on_zero_date == ZERO_DATE_MINUS_INFINITY;
}

/* Is NOT NULL to be left away since the policy may turn a value into NULL? */
bool
convert_can_be_zero_date(const ApplyColumn *column)
{
	return column->type == EVENT_TYPE_DATE || column->type == EVENT_TYPE_DATETIME ||
		   column->type == EVENT_TYPE_TIMESTAMP;
}

Datum
convert_date(Apply *apply, ApplyTable *table, const ApplyColumn *column, const char *text,
			 size_t len, bool *isnull)
{
	DateTime d;

	parse(text, len, &d);
	if (exists(&d))
		return DateADTGetDatum(date2j(d.year, d.month, d.day) - POSTGRES_EPOCH_JDATE);
	*isnull = !zero_date(apply, table, column, &d, text, len);
	return *isnull ? (Datum) 0 : DateADTGetDatum(DATEVAL_NOBEGIN);
}

/*
 * A local time that occurs twice, when clocks go back, is the first of the two for TiDB; what
 * DetermineTimeZoneOffset() takes may be the second.
 */
static Timestamp
first_occurrence(Timestamp t, pg_tz *zone)
{
	pg_time_t at = timestamptz_to_time_t(t);
	pg_time_t probe = at - SECS_PER_DAY;
	pg_time_t boundary;
	long before;
	long after;
	int dst_before;
	int dst_after;

	if (pg_next_dst_boundary(&probe, &before, &dst_before, &boundary, &after, &dst_after, zone) ==
			1 &&
		boundary <= at && before > after && at < boundary + (before - after))
		t -= (before - after) * USECS_PER_SEC;
	return t;
}

/*
 * DATETIME, and TIMESTAMP, by the column's family.
 */
Datum
convert_timestamp(Apply *apply, ApplyTable *table, const ApplyColumn *column, const char *text,
				  size_t len, bool *isnull)
{
	DateTime d;
	Timestamp t;

	parse(text, len, &d);
	if (!exists(&d))
	{
		*isnull = !zero_date(apply, table, column, &d, text, len);
		return *isnull ? (Datum) 0 : TimestampGetDatum(DT_NOBEGIN);
	}
	t = (Timestamp) (date2j(d.year, d.month, d.day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
		d.time;
	if (column->family == CONVERT_TIMESTAMPTZ && apply->zone != NULL)
	{
		int seconds = (int) (d.time / USECS_PER_SEC);
		struct pg_tm tm = {.tm_year = d.year, .tm_mon = d.month, .tm_mday = d.day};

		tm.tm_hour = seconds / SECS_PER_HOUR;
		tm.tm_min = seconds / SECS_PER_MINUTE % MINS_PER_HOUR;
		tm.tm_sec = seconds % SECS_PER_MINUTE;
		t += (int64) DetermineTimeZoneOffset(&tm, apply->zone) * USECS_PER_SEC;
		t = first_occurrence(t, apply->zone);
	}
	return TimestampGetDatum(t);
}

/*
 * TIME: up to 838 hours, either sign. Only the interval's microseconds are used, so equal values
 * have equal images.
 */
Datum
convert_interval(const char *text, size_t len)
{
	const char *p = text;
	const char *end = text + len;
	bool negative = p < end && *p == '-';
	Interval *result = palloc0(sizeof(Interval));
	int hours = 0;
	int m;
	int s;
	int f;

	if (negative)
		p++;
	if (p == end || *p < '0' || *p > '9')
		bad_time(text, len);
	while (p < end && *p >= '0' && *p <= '9' && hours < 100000)
		hours = hours * 10 + (*p++ - '0');
	if (end - p < 6 || p[0] != ':' || p[3] != ':')
		bad_time(text, len);
	m = digits(p + 1, 2);
	s = digits(p + 4, 2);
	f = fraction(p + 6, end);
	if (m < 0 || m > 59 || s < 0 || s > 59 || f < 0)
		bad_time(text, len);
	result->time = ((int64) hours * 3600 + m * 60 + s) * USECS_PER_SEC + f;
	if (negative)
		result->time = -result->time;
	return IntervalPGetDatum(result);
}
