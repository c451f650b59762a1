/*
 * convert_default.c
 *		The value that rows get which exist when a column is added: no message carries it.
 *
 * A literal default becomes the value that TiDB stores for it, so that the rows are what they are
 * there: numbers are rounded half away from zero, years and dates are read in MySQL's loose forms
 * (2020-1-2, 20200102, 20-01-02; 10:30, 103000), BINARY(n) is padded with zero bytes. TiDB keeps
 * defaults as JSON text, so a binary default that is not UTF-8 has each bad byte replaced by
 * U+FFFD there, and here.
 *
 * CURRENT_TIMESTAMP and CURRENT_DATE are taken from the commit TS and counted as a warning; any
 * other expression is an error.
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "apply/apply_int.h"

static EventValue
text_value(char *text)
{
	return (EventValue){.kind = EVENT_VALUE_TEXT, .u.data = text, .len = strlen(text)};
}

/* ---------------------------------------------------------------- ENUM and SET */

static int
find_member(const ApplyColumn *column, const char *text, size_t len)
{
	for (int i = 0; i < column->nmembers; i++)
		if (strlen(column->members[i]) == len && pg_strncasecmp(column->members[i], text, len) == 0)
			return i;
	return -1;
}

static EventValue
enum_default(const ApplyColumn *column, const char *text, size_t len)
{
	int member = find_member(column, text, len);

	/* A number that is no member is an index. */
	return (EventValue){.kind = EVENT_VALUE_UINT64,
						.u.u64 = member >= 0 ? (uint64) member + 1 : strtoull(text, NULL, 10)};
}

static EventValue
set_default(const ApplyColumn *column, const char *text, size_t len)
{
	EventValue value = {.kind = EVENT_VALUE_UINT64};
	const char *end = text + len;

	while (text < end)
	{
		const char *stop = memchr(text, ',', end - text);
		int member;

		if (stop == NULL)
			stop = end;
		member = find_member(column, text, stop - text);
		if (member >= 0 && member < 64)
			value.u.u64 |= UINT64CONST(1) << member;
		text = stop < end ? stop + 1 : end;
	}
	return value;
}

/* ---------------------------------------------------------------- numbers */

/* A big-endian byte string as an integer; false if it is longer than 8 bytes. */
static bool
bytes_as_integer(DdlString bytes, uint64 *result)
{
	*result = 0;
	if (bytes.len > 8)
		return false;
	for (size_t i = 0; i < bytes.len; i++)
		*result = (*result << 8) | (unsigned char) bytes.data[i];
	return true;
}

/* The integer that a number in text rounds to. */
static EventValue
integer_default(const char *text)
{
	Datum number = DirectFunctionCall3(numeric_in, CStringGetDatum(text),
									   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	char *rounded = DatumGetCString(DirectFunctionCall1(
		numeric_out, DirectFunctionCall2(numeric_round, number, Int32GetDatum(0))));

	if (rounded[0] == '-')
		return (EventValue){.kind = EVENT_VALUE_INT64, .u.i64 = strtoll(rounded, NULL, 10)};
	return (EventValue){.kind = EVENT_VALUE_UINT64, .u.u64 = strtoull(rounded, NULL, 10)};
}

/* Years of one or two digits are of 1970 to 2069; the number 0 is the year 0. */
static int
full_year(int year)
{
	return year >= 100 ? year : year + (year < 70 ? 2000 : 1900);
}

static EventValue
year_default(const char *text, bool is_number)
{
	EventValue value = integer_default(text);

	if (value.u.u64 < 100 && !(is_number && value.u.u64 == 0))
		value.u.u64 = full_year(value.u.u64);
	return value;
}

/* ---------------------------------------------------------------- dates and times */

/* Up to max digits at *p; -1 if there is none. *n says how many there were. */
static int
take_digits(const char **p, int max, int *n)
{
	int value = 0;

	for (*n = 0; *n < max && isdigit((unsigned char) **p); (*n)++)
		value = value * 10 + *(*p)++ - '0';
	return *n > 0 ? value : -1;
}

/* The fraction at p, cut to microseconds, as printed behind the seconds. */
static const char *
fraction_text(const char *p)
{
	int n = 0;

	if (*p != '.' || !isdigit((unsigned char) p[1]))
		return "";
	while (n < 6 && isdigit((unsigned char) p[1 + n]))
		n++;
	return psprintf(".%.*s", n, p + 1);
}

/* YYYYMMDD, YYMMDD, YYYYMMDDhhmmss, YYMMDDhhmmss; NULL if it is none of them. */
static char *
undelimited_date(const char *text, size_t ndigits)
{
	bool century = ndigits == 8 || ndigits == 14;
	int part[6] = {0};
	int n;
	const char *p = text;

	if (ndigits != 6 && ndigits != 8 && ndigits != 12 && ndigits != 14)
		return NULL;
	part[0] = take_digits(&p, century ? 4 : 2, &n);
	if (!century)
		part[0] = full_year(part[0]);
	for (int i = 1; i < (ndigits >= 12 ? 6 : 3); i++)
		part[i] = take_digits(&p, 2, &n);
	return psprintf("%04d-%02d-%02d %02d:%02d:%02d%s", part[0], part[1], part[2], part[3], part[4],
					part[5], fraction_text(p));
}

/*
 * A date in one of MySQL's forms as YYYY-MM-DD hh:mm:ss[.f]: any punctuation separates, and
 * parts may be shorter. What is none of them is given back as it is, to be refused.
 */
static char *
loose_date(char *text)
{
	int part[6] = {0};
	const char *p = text;
	size_t ndigits = strspn(text, "0123456789");
	int parts = 0;

	if (text[ndigits] == '\0' || text[ndigits] == '.')
	{
		char *date = undelimited_date(text, ndigits);

		if (date != NULL)
			return date;
	}
	while (parts < 6)
	{
		int n;

		part[parts] = take_digits(&p, parts == 0 ? 4 : 2, &n);
		if (part[parts] < 0)
			return text;
		if (parts == 0 && n < 3)
			part[0] = full_year(part[0]);
		parts++;
		if (parts == 6 || *p == '\0')
			break;
		if (!ispunct((unsigned char) *p) && *p != ' ' && *p != 'T')
			return text;
		p++;
	}
	if (parts < 3 || (*p != '\0' && *p != '.'))
		return text;
	return psprintf("%04d-%02d-%02d %02d:%02d:%02d%s", part[0], part[1], part[2], part[3], part[4],
					part[5], fraction_text(p));
}

/* [-][D ]hh[:mm[:ss[.f]]], [-]hhmmss[.f] as [-]hh:mm:ss[.f]. */
static char *
loose_time(char *text)
{
	const char *p = text;
	const char *sign = "";
	int part[3] = {0};
	int days = 0;
	int parts = 0;
	int n;

	if (*p == '-')
	{
		sign = "-";
		p++;
	}
	part[0] = take_digits(&p, 7, &n);
	if (part[0] < 0)
		return text;
	if (*p == '\0' || *p == '.')
		return psprintf("%s%02d:%02d:%02d%s", sign, part[0] / 10000, part[0] / 100 % 100,
						part[0] % 100, fraction_text(p));
	if (*p == ' ')
	{
		days = part[0];
		p++;
		part[0] = take_digits(&p, 2, &n);
	}
	for (parts = 1; parts < 3 && *p == ':'; parts++)
	{
		p++;
		part[parts] = take_digits(&p, 2, &n);
	}
	if (part[0] < 0 || part[1] < 0 || part[2] < 0 || (*p != '\0' && *p != '.'))
		return text;
	return psprintf("%s%02d:%02d:%02d%s", sign, days * 24 + part[0], part[1], part[2],
					fraction_text(p));
}

/* ---------------------------------------------------------------- byte strings */

/*
 * As TiDB stores the default of a binary column: through JSON, and BINARY(n) with n bytes.
 */
static EventValue
binary_default(const ApplyColumn *column, DdlString bytes)
{
	StringInfoData buf;
	const char *p = bytes.data;
	const char *end = p + bytes.len;

	initStringInfo(&buf);
	while (p < end)
	{
		int len = pg_utf_mblen((const unsigned char *) p);

		if (end - p >= len && pg_utf8_islegal((const unsigned char *) p, len))
			appendBinaryStringInfo(&buf, p, len);
		else
		{
			appendBinaryStringInfo(&buf, "\xEF\xBF\xBD", 3);
			len = 1;
		}
		p += len;
	}
	if (column->type == EVENT_TYPE_BINARY)
		while (buf.len < Max(column->length, 1))
			appendStringInfoChar(&buf, '\0');
	return (EventValue){.kind = EVENT_VALUE_BYTES, .u.data = buf.data, .len = buf.len};
}

/* ---------------------------------------------------------------- one default */

/* What a column without DEFAULT but NOT NULL gets for rows that exist. */
static EventValue
implicit_default(const ApplyColumn *column)
{
	EventValue value = {.kind = EVENT_VALUE_TEXT, .u.data = ""};
	const char *text = NULL;

	switch (column->type)
	{
		case EVENT_TYPE_TINY:
		case EVENT_TYPE_SMALL:
		case EVENT_TYPE_MEDIUM:
		case EVENT_TYPE_INT:
		case EVENT_TYPE_BIG:
		case EVENT_TYPE_YEAR:
			value.kind = EVENT_VALUE_INT64;
			value.u.i64 = 0;
			return value;
		case EVENT_TYPE_BIT:
		case EVENT_TYPE_SET:
			value.kind = EVENT_VALUE_UINT64;
			value.u.u64 = 0;
			return value;
		case EVENT_TYPE_ENUM:
			value.kind = EVENT_VALUE_UINT64;
			value.u.u64 = 1;
			return value;
		case EVENT_TYPE_FLOAT:
		case EVENT_TYPE_DOUBLE:
			value.kind = EVENT_VALUE_DOUBLE;
			value.u.f64 = 0;
			return value;
		case EVENT_TYPE_DECIMAL:
			text = "0";
			break;
		case EVENT_TYPE_DATE:
			text = "0000-00-00";
			break;
		case EVENT_TYPE_DATETIME:
		case EVENT_TYPE_TIMESTAMP:
			text = "0000-00-00 00:00:00";
			break;
		case EVENT_TYPE_TIME:
			text = "00:00:00";
			break;
		case EVENT_TYPE_JSON:
			text = "null";
			break;
		case EVENT_TYPE_BINARY:
			return binary_default(column, (DdlString){"", 0});
		default:
			text = "";
			break;
	}
	value.u.data = text;
	value.len = strlen(text);
	return value;
}

/* The value of a literal default as an event would carry it. */
static EventValue
literal_default(const ApplyColumn *column, const DdlDefault *def)
{
	char *text = pnstrdup(def->value.data ? def->value.data : "", def->value.len);
	uint64 bits;

	if (column->type == EVENT_TYPE_BINARY || column->type == EVENT_TYPE_VARBINARY ||
		column->type == EVENT_TYPE_BLOB)
		return binary_default(column, def->value);
	if (def->kind == DDL_DEFAULT_BYTES &&
		(EVENT_TYPE_IS_INTEGER(column->type) || column->type == EVENT_TYPE_BIT ||
		 column->type == EVENT_TYPE_FLOAT || column->type == EVENT_TYPE_DOUBLE ||
		 column->type == EVENT_TYPE_DECIMAL) &&
		bytes_as_integer(def->value, &bits))
		text = psprintf(UINT64_FORMAT, bits);
	switch (column->type)
	{
		case EVENT_TYPE_BIT:
			/* A string is its bytes, too. */
			if (def->kind == DDL_DEFAULT_STRING && bytes_as_integer(def->value, &bits))
				return (EventValue){.kind = EVENT_VALUE_UINT64, .u.u64 = bits};
			return integer_default(text);
		case EVENT_TYPE_TINY:
		case EVENT_TYPE_SMALL:
		case EVENT_TYPE_MEDIUM:
		case EVENT_TYPE_INT:
		case EVENT_TYPE_BIG:
			return integer_default(text);
		case EVENT_TYPE_YEAR:
			return year_default(text, def->kind == DDL_DEFAULT_NUMBER);
		case EVENT_TYPE_FLOAT:
		case EVENT_TYPE_DOUBLE:
			return (EventValue){.kind = EVENT_VALUE_DOUBLE, .u.f64 = strtod(text, NULL)};
		case EVENT_TYPE_DECIMAL:
			return text_value(text);
		case EVENT_TYPE_DATE:
		case EVENT_TYPE_DATETIME:
		case EVENT_TYPE_TIMESTAMP:
			return text_value(strspn(text, "0") == strlen(text) ? "0000-00-00" : loose_date(text));
		case EVENT_TYPE_TIME:
			return text_value(loose_time(text));
		case EVENT_TYPE_ENUM:
			if (def->kind == DDL_DEFAULT_NUMBER)
				return integer_default(text);
			return enum_default(column, text, strlen(text));
		case EVENT_TYPE_SET:
			if (def->kind == DDL_DEFAULT_NUMBER)
				return integer_default(text);
			return set_default(column, text, strlen(text));
		default:
			return (EventValue){
				.kind = EVENT_VALUE_TEXT, .u.data = def->value.data, .len = def->value.len};
	}
}

/* The wall clock of a commit TS, as MySQL would print it in the source's time zone. */
static char *
commit_time(Apply *apply, const ApplyColumn *column, uint64 commit_ts)
{
	int64 ms = (int64) (commit_ts >> 18);
	TimestampTz t = (TimestampTz) ms * 1000 -
					(TimestampTz) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	struct pg_tm tm;
	fsec_t fsec;
	int tz;
	const char *zone;

	if (timestamp2tm(t, apply->zone ? &tz : NULL, &tm, &fsec, &zone, apply->zone) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("commit TS out of range")));
	if (column->decimals <= 0)
		fsec = 0;
	if (column->type == EVENT_TYPE_DATE)
		return psprintf("%04d-%02d-%02d", tm.tm_year, tm.tm_mon, tm.tm_mday);
	if (column->type == EVENT_TYPE_TIME)
		return psprintf("%02d:%02d:%02d.%06d", tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
	return psprintf("%04d-%02d-%02d %02d:%02d:%02d.%06d", tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
}

/* CURRENT_DATE, CURDATE() */
static bool
is_current_date(DdlString expression)
{
	static const char *const forms[] = {"current_date", "current_date()", "curdate()"};

	for (int i = 0; i < lengthof(forms); i++)
	{
		DdlString form = {forms[i], strlen(forms[i])};

		if (ddl_same_name(expression, form))
			return true;
	}
	return false;
}

static EventValue
now_default(Apply *apply, ApplyTable *table, const ApplyColumn *column, uint64 commit_ts)
{
	convert_warn(table, WARNING_DEFAULT_NOW);
	return text_value(commit_time(apply, column, commit_ts));
}

static void
refuse_expression(const ApplyColumn *column, const DdlDefault *def)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("column \"%s\" is added with a default that is an expression", column->name),
			 errdetail("The values that TiDB gave to the rows are in no message: %s",
					   pnstrdup(def->value.data, def->value.len)),
			 errhint("Leave the table out with the feed's option \"tables\".")));
}

/*
 * The value that rows which exist get when this column is added, in the input syntax of its type
 * here; NULL = SQL NULL.
 */
char *
convert_default(Apply *apply, ApplyTable *table, const ApplyColumn *column, const DdlDefault *def,
				uint64 commit_ts)
{
	EventValue value = {.kind = EVENT_VALUE_NULL};
	Datum datum;
	bool isnull;
	Oid output;
	bool varlena;

	switch (def->kind)
	{
		case DDL_DEFAULT_NULL:
			return NULL;
		case DDL_DEFAULT_ABSENT:
			if (!column->not_null)
				return NULL;
			value = implicit_default(column);
			break;
		case DDL_DEFAULT_CURRENT_TIMESTAMP:
			value = now_default(apply, table, column, commit_ts);
			break;
		case DDL_DEFAULT_EXPRESSION:
			if (!is_current_date(def->value))
				refuse_expression(column, def);
			value = now_default(apply, table, column, commit_ts);
			break;
		default:
			value = literal_default(column, def);
			break;
	}
	datum = convert_value(apply, table, column, &value, &isnull);
	if (isnull)
		return NULL;
	getTypeOutputInfo(column->pgtype, &output, &varlena);
	return OidOutputFunctionCall(output, datum);
}
