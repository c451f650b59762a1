/*
 * convert_text.c
 *		Text, JSON and vectors.
 *
 * MySQL text may hold U+0000 and bytes that are not UTF-8; PostgreSQL's text may not. By the policy
 * on_bad_text each such byte becomes U+FFFD, counted once a value, or the value is an error; in
 * a key it is always an error. In JSON the same holds for bytes, for the escape \u0000 and for
 * halves of surrogate pairs.
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "apply/apply_int.h"

static const char replacement[] = "\xEF\xBF\xBD";

static void
bad_text(Apply *apply, ApplyTable *table, const ApplyColumn *column)
{
	if (column->key)
		ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
						errmsg("text in key column \"%s\" holds U+0000 or is not valid UTF-8",
							   column->name),
						errdetail("In a key nothing is replaced, since that could merge rows."),
						errhint("Correct the row in TiDB, or leave the table out with the feed's "
								"option \"tables\".")));
	if (apply->config.error_on_bad_text)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("text in column \"%s\" holds U+0000 or is not valid UTF-8", column->name),
				 errhint("Set the feed's option on_bad_text to \"replace\".")));
	convert_warn(table, WARNING_BAD_TEXT);
}

/* Append, with each bad byte replaced. */
static void
append_replaced(StringInfo buf, const char *data, size_t len)
{
	while (len > 0)
	{
		size_t good = pg_encoding_verifymbstr(PG_UTF8, data, Min(len, INT_MAX / 2));

		appendBinaryStringInfo(buf, data, good);
		data += good;
		len -= good;
		if (len == 0)
			break;
		appendBinaryStringInfo(buf, replacement, 3);
		data++;
		len--;
	}
}

static void
check_size(size_t len)
{
	if (len > MaxAllocSize / 2)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("text of %zu bytes exceeds the limit of 512 MB", len)));
}

Datum
convert_text(Apply *apply, ApplyTable *table, const ApplyColumn *column, const char *data,
			 size_t len)
{
	StringInfoData buf;
	text *result;

	check_size(len);
	if (len == 0 || pg_encoding_verifymbstr(PG_UTF8, data, len) == (int) len)
	{
		result = palloc(len + VARHDRSZ);
		SET_VARSIZE(result, len + VARHDRSZ);
		memcpy(VARDATA(result), data, len);
		return PointerGetDatum(result);
	}
	bad_text(apply, table, column);
	initStringInfo(&buf);
	append_replaced(&buf, data, len);
	return PointerGetDatum(cstring_to_text_with_len(buf.data, buf.len));
}

/* "\uXXXX" at p: its value, else -1. */
static int
unicode_escape(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		char c = p[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

#define IS_HIGH_SURROGATE(c) ((c) >= 0xD800 && (c) <= 0xDBFF)
#define IS_LOW_SURROGATE(c) ((c) >= 0xDC00 && (c) <= 0xDFFF)

/*
 * Copy JSON text with escapes replaced that jsonb refuses. Returns whether there was one.
 */
static bool
replace_escapes(StringInfo out, const char *p, const char *end)
{
	bool replaced = false;

	while (p < end)
	{
		const char *hit = memchr(p, '\\', end - p);
		int c;

		if (hit == NULL)
			hit = end;
		appendBinaryStringInfo(out, p, hit - p);
		p = hit;
		if (p == end)
			break;
		c = unicode_escape(p, end);
		if (c < 0)
		{
			int n = Min(2, end - p);

			appendBinaryStringInfo(out, p, n);
			p += n;
		}
		else if (IS_HIGH_SURROGATE(c) && IS_LOW_SURROGATE(unicode_escape(p + 6, end)))
		{
			appendBinaryStringInfo(out, p, 12);
			p += 12;
		}
		else
		{
			bool bad = c == 0 || (c >= 0xD800 && c <= 0xDFFF);

			appendBinaryStringInfo(out, bad ? "\\ufffd" : p, 6);
			replaced |= bad;
			p += 6;
		}
	}
	return replaced;
}

Datum
convert_json(Apply *apply, ApplyTable *table, const ApplyColumn *column, const char *data,
			 size_t len)
{
	StringInfoData buf;
	Datum result;

	check_size(len);
	initStringInfo(&buf);
	if (len > 0 && pg_encoding_verifymbstr(PG_UTF8, data, len) != (int) len)
	{
		bad_text(apply, table, column);
		append_replaced(&buf, data, len);
	}
	else
		appendBinaryStringInfo(&buf, data, len);
	if (memchr(buf.data, '\\', buf.len) != NULL)
	{
		StringInfoData out;

		initStringInfo(&out);
		if (replace_escapes(&out, buf.data, buf.data + buf.len))
			bad_text(apply, table, column);
		pfree(buf.data);
		buf = out;
	}
	result = DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
	pfree(buf.data);
	return result;
}

/* "[1,2.5,-3e4]" to real[]. */
Datum
convert_vector(const char *data, size_t len)
{
	char *text = pnstrdup(data, len);
	char *p = text;
	int capacity = 16;
	int n = 0;
	Datum *values = palloc(capacity * sizeof(Datum));

	if (*p++ != '[')
		goto malformed;
	while (*p != ']')
	{
		char *end;
		float f = strtof(p, &end);

		if (end == p)
			goto malformed;
		if (n == capacity)
		{
			capacity *= 2;
			values = repalloc(values, capacity * sizeof(Datum));
		}
		values[n++] = Float4GetDatum(f);
		p = end;
		if (*p == ',')
			p++;
		else if (*p != ']')
			goto malformed;
	}
	pfree(text);
	return PointerGetDatum(
		construct_array(values, n, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));

malformed:
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("invalid vector in the stream: \"%.*s\"", (int) Min(len, 64), data)));
}
