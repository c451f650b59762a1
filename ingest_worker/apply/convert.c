/*
 * convert.c
 *		From TiDB's values to PostgreSQL's: the type map, and numbers.
 *
 * Each column has a family, chosen once; convert_value() switches on it. The hot families parse
 * directly, without the type's input function. Nothing here is locale dependent, no number goes
 * through double unless it is one.
 *
 * Value policies (README.md) replace what PostgreSQL cannot hold, and count it; in key columns
 * nothing is replaced, such a value is an error.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "apply/apply_int.h"

/* numeric(p,s) as the type modifier that numerictypmodin() makes. */
#define NUMERIC_TYPMOD(p, s) ((int32) (((p) << 16) | ((s) &0x7ff)) + (int32) VARHDRSZ)
#define NUMERIC_TYPMOD_SCALE(t) (((t) - (int32) VARHDRSZ) & 0x7ff)

void
convert_warn(ApplyTable *table, Warning warning)
{
	table->warnings[warning]++;
	table->warnings_changed = true;
}

/*
 * The type map.
 */
void
convert_map_type(const ApplyColumn *column, Oid *type, int32 *typmod)
{
	bool u = column->is_unsigned;
	int fsp = column->decimals >= 0 && column->decimals <= 6 ? column->decimals : -1;

	*typmod = -1;
	switch (column->type)
	{
		case EVENT_TYPE_TINY:
		case EVENT_TYPE_YEAR:
			*type = INT2OID;
			break;
		case EVENT_TYPE_SMALL:
			*type = u ? INT4OID : INT2OID;
			break;
		case EVENT_TYPE_MEDIUM:
			*type = INT4OID;
			break;
		case EVENT_TYPE_INT:
			*type = u ? INT8OID : INT4OID;
			break;
		case EVENT_TYPE_BIG:
			*type = u ? NUMERICOID : INT8OID;
			if (u)
				*typmod = NUMERIC_TYPMOD(20, 0);
			break;
		case EVENT_TYPE_BIT:
			*type = column->length >= 0 && column->length <= 63 ? INT8OID : NUMERICOID;
			if (*type == NUMERICOID)
				*typmod = NUMERIC_TYPMOD(20, 0);
			break;
		case EVENT_TYPE_FLOAT:
			*type = FLOAT4OID;
			break;
		case EVENT_TYPE_DOUBLE:
			*type = FLOAT8OID;
			break;
		case EVENT_TYPE_DECIMAL:
			*type = NUMERICOID;
			if (column->length > 0 && column->decimals >= 0)
				*typmod = NUMERIC_TYPMOD(column->length, column->decimals);
			break;
		case EVENT_TYPE_DATE:
			*type = DATEOID;
			break;
		case EVENT_TYPE_DATETIME:
			*type = TIMESTAMPOID;
			*typmod = fsp;
			break;
		case EVENT_TYPE_TIMESTAMP:
			*type = TIMESTAMPTZOID;
			*typmod = fsp;
			break;
		case EVENT_TYPE_TIME:
			*type = INTERVALOID;
			break;
		case EVENT_TYPE_BINARY:
		case EVENT_TYPE_VARBINARY:
		case EVENT_TYPE_BLOB:
			*type = BYTEAOID;
			break;
		case EVENT_TYPE_JSON:
			*type = JSONBOID;
			break;
		case EVENT_TYPE_VECTOR:
			*type = FLOAT4ARRAYOID;
			break;
		case EVENT_TYPE_OTHER:
		case EVENT_TYPE_CHAR:
		case EVENT_TYPE_VARCHAR:
		case EVENT_TYPE_TEXT:
		case EVENT_TYPE_ENUM:
		case EVENT_TYPE_SET:
			*type = TEXTOID;
			break;
	}
}

static ConvertFamily
family_of(const ApplyColumn *column, Oid type)
{
	switch (type)
	{
		case INT2OID:
			return CONVERT_INT2;
		case INT4OID:
			return CONVERT_INT4;
		case INT8OID:
			return CONVERT_INT8;
		case FLOAT4OID:
			return CONVERT_FLOAT4;
		case FLOAT8OID:
			return CONVERT_FLOAT8;
		case NUMERICOID:
			return column->type == EVENT_TYPE_DECIMAL ? CONVERT_NUMERIC : CONVERT_NUMERIC_INT;
		case DATEOID:
			return CONVERT_DATE;
		case TIMESTAMPOID:
			return CONVERT_TIMESTAMP;
		case TIMESTAMPTZOID:
			return CONVERT_TIMESTAMPTZ;
		case INTERVALOID:
			return CONVERT_INTERVAL;
		case BYTEAOID:
			return CONVERT_BYTEA;
		case JSONBOID:
			return CONVERT_JSONB;
		case FLOAT4ARRAYOID:
			return CONVERT_VECTOR;
		default:
			break;
	}
	if (column->type == EVENT_TYPE_ENUM)
		return CONVERT_ENUM;
	if (column->type == EVENT_TYPE_SET)
		return CONVERT_SET;
	return CONVERT_TEXT;
}

/*
 * How values of this column become values of that type. For the type that the map gives there is
 * a family; for any other one (an adopted table) the type's own input function reads the text.
 */
void
convert_choose(ApplyColumn *column, Oid type, int32 typmod)
{
	Oid mapped;
	int32 mapped_typmod;
	Oid input;

	convert_map_type(column, &mapped, &mapped_typmod);
	column->pgtype = type;
	column->typmod = typmod;
	if (mapped == type)
	{
		column->family = family_of(column, type);
		return;
	}
	column->family = CONVERT_INPUT;
	getTypeInputInfo(type, &input, &column->input_param);
	fmgr_info_cxt(input, &column->input, TopMemoryContext);
}

static void
out_of_range(const ApplyColumn *column)
{
	ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					errmsg("value out of range for type %s of column \"%s\"",
						   format_type_be(column->pgtype), column->name),
					errhint("The column's type in TiDB differs from what was known when the table "
							"was created here. Alter the column's type and resume the feed.")));
}

static void
wrong_kind(const ApplyColumn *column, const EventValue *value)
{
	ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("column \"%s\" of type %s got a value of another kind (%d)",
						   column->name, format_type_be(column->pgtype), value->kind),
					errhint("The definition known here differs from TiDB's; the table needs a "
							"resync.")));
}

static int64
integer_value(const ApplyColumn *column, const EventValue *value, int64 min, int64 max)
{
	int64 i = 0;

	if (value->kind == EVENT_VALUE_INT64)
		i = value->u.i64;
	else if (value->kind == EVENT_VALUE_UINT64)
	{
		if (value->u.u64 > (uint64) PG_INT64_MAX)
			out_of_range(column);
		i = (int64) value->u.u64;
	}
	else
		wrong_kind(column, value);
	if (i < min || i > max)
		out_of_range(column);
	return i;
}

static Datum
numeric_from_integer(const ApplyColumn *column, const EventValue *value)
{
	if (value->kind == EVENT_VALUE_UINT64 && value->u.u64 > (uint64) PG_INT64_MAX)
	{
		char buf[24];

		snprintf(buf, sizeof(buf), UINT64_FORMAT, (uint64) value->u.u64);
		return DirectFunctionCall3(numeric_in, CStringGetDatum(buf), ObjectIdGetDatum(InvalidOid),
								   Int32GetDatum(-1));
	}
	return NumericGetDatum(
		int64_to_numeric(integer_value(column, value, PG_INT64_MIN, PG_INT64_MAX)));
}

/*
 * DECIMAL's text is exact and has all digits of the scale: up to 18 digits are an integer over a
 * power of ten.
 */
static Datum
numeric_from_text(const ApplyColumn *column, const char *text, size_t len)
{
	const char *p = text;
	const char *end = text + len;
	bool negative = false;
	int64 digits = 0;
	int ndigits = 0;
	int scale = -1;
	char *copy;

	if (p < end && (*p == '-' || *p == '+'))
		negative = *p++ == '-';
	for (; p < end; p++)
	{
		if (*p == '.' && scale < 0)
			scale = 0;
		else if (*p >= '0' && *p <= '9' && ++ndigits <= 18)
		{
			digits = digits * 10 + (*p - '0');
			if (scale >= 0)
				scale++;
		}
		else
			break;
	}
	if (scale < 0)
		scale = 0;
	if (p == end && ndigits > 0 &&
		(column->typmod < 0 || scale == NUMERIC_TYPMOD_SCALE(column->typmod)))
	{
		if (negative)
			digits = -digits;
		return NumericGetDatum(scale == 0 ? int64_to_numeric(digits)
										  : int64_div_fast_to_numeric(digits, scale));
	}
	copy = pnstrdup(text, len);
	return DirectFunctionCall3(numeric_in, CStringGetDatum(copy), ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(column->typmod));
}

static Datum
bytes_value(const char *data, size_t len)
{
	bytea *result;

	if (len > MaxAllocSize - VARHDRSZ)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("value of %zu bytes exceeds the limit of 1 GB", len)));
	result = palloc(len + VARHDRSZ);
	SET_VARSIZE(result, len + VARHDRSZ);
	memcpy(VARDATA(result), data, len);
	return PointerGetDatum(result);
}

static Datum
number_as_text(ApplyTable *table, uint64 number)
{
	convert_warn(table, WARNING_ENUM_NUMBER);
	return CStringGetTextDatum(psprintf(UINT64_FORMAT, number));
}

/* ENUM: index from 1; 0 is the error value, shown as ''. */
static Datum
enum_value(ApplyTable *table, const ApplyColumn *column, uint64 index)
{
	if (index == 0)
		return CStringGetTextDatum("");
	if (index > (uint64) column->nmembers)
		return number_as_text(table, index);
	return CStringGetTextDatum(column->members[index - 1]);
}

/* SET: bit i stands for member i. */
static Datum
set_value(ApplyTable *table, const ApplyColumn *column, uint64 bits)
{
	StringInfoData buf;

	if (column->nmembers == 0 && bits != 0)
		return number_as_text(table, bits);
	if (column->nmembers < 64 && (bits >> column->nmembers) != 0)
		return number_as_text(table, bits);
	initStringInfo(&buf);
	for (int i = 0; i < column->nmembers && i < 64; i++)
		if (bits & (UINT64CONST(1) << i))
			appendStringInfo(&buf, "%s%s", buf.len > 0 ? "," : "", column->members[i]);
	return PointerGetDatum(cstring_to_text_with_len(buf.data, buf.len));
}

/* By the type's input function, from the text form of the value. */
static Datum
input_value(ApplyTable *table, const ApplyColumn *column, const EventValue *value)
{
	char *string;

	switch (value->kind)
	{
		case EVENT_VALUE_INT64:
			string = psprintf(INT64_FORMAT, (int64) value->u.i64);
			break;
		case EVENT_VALUE_UINT64:
			if (column->type == EVENT_TYPE_ENUM)
				string = TextDatumGetCString(enum_value(table, column, value->u.u64));
			else if (column->type == EVENT_TYPE_SET)
				string = TextDatumGetCString(set_value(table, column, value->u.u64));
			else
				string = psprintf(UINT64_FORMAT, (uint64) value->u.u64);
			break;
		case EVENT_VALUE_DOUBLE:
			string = DatumGetCString(DirectFunctionCall1(float8out, Float8GetDatum(value->u.f64)));
			break;
		default:
			string = pnstrdup(value->u.data, value->len);
			break;
	}
	return InputFunctionCall((FmgrInfo *) &column->input, string, column->input_param,
							 column->typmod);
}

static void
require_text(const ApplyColumn *column, const EventValue *value)
{
	if (value->kind != EVENT_VALUE_TEXT && value->kind != EVENT_VALUE_BYTES)
		wrong_kind(column, value);
}

static uint64
require_uint64(const ApplyColumn *column, const EventValue *value)
{
	if (value->kind == EVENT_VALUE_UINT64)
		return value->u.u64;
	if (value->kind == EVENT_VALUE_INT64 && value->u.i64 >= 0)
		return (uint64) value->u.i64;
	wrong_kind(column, value);
	return 0;
}

static double
require_double(const ApplyColumn *column, const EventValue *value)
{
	if (value->kind != EVENT_VALUE_DOUBLE)
		wrong_kind(column, value);
	return value->u.f64;
}

/*
 * One value, allocated in the current memory context.
 */
Datum
convert_value(Apply *apply, ApplyTable *table, const ApplyColumn *column, const EventValue *value,
			  bool *isnull)
{
	if (value->kind == EVENT_VALUE_NULL || value->kind == EVENT_VALUE_ABSENT)
	{
		*isnull = true;
		return (Datum) 0;
	}
	*isnull = false;
	apply->current_column = column;
	switch (column->family)
	{
		case CONVERT_INT2:
			return Int16GetDatum(integer_value(column, value, PG_INT16_MIN, PG_INT16_MAX));
		case CONVERT_INT4:
			return Int32GetDatum(integer_value(column, value, PG_INT32_MIN, PG_INT32_MAX));
		case CONVERT_INT8:
			return Int64GetDatum(integer_value(column, value, PG_INT64_MIN, PG_INT64_MAX));
		case CONVERT_NUMERIC_INT:
			return numeric_from_integer(column, value);
		case CONVERT_FLOAT4:
			return Float4GetDatum((float4) require_double(column, value));
		case CONVERT_FLOAT8:
			return Float8GetDatum(require_double(column, value));
		case CONVERT_NUMERIC:
			require_text(column, value);
			return numeric_from_text(column, value->u.data, value->len);
		case CONVERT_DATE:
			require_text(column, value);
			return convert_date(apply, table, column, value->u.data, value->len, isnull);
		case CONVERT_TIMESTAMP:
		case CONVERT_TIMESTAMPTZ:
			require_text(column, value);
			return convert_timestamp(apply, table, column, value->u.data, value->len, isnull);
		case CONVERT_INTERVAL:
			require_text(column, value);
			return convert_interval(value->u.data, value->len);
		case CONVERT_TEXT:
			require_text(column, value);
			return convert_text(apply, table, column, value->u.data, value->len);
		case CONVERT_BYTEA:
			require_text(column, value);
			return bytes_value(value->u.data, value->len);
		case CONVERT_ENUM:
			return enum_value(table, column, require_uint64(column, value));
		case CONVERT_SET:
			return set_value(table, column, require_uint64(column, value));
		case CONVERT_JSONB:
			require_text(column, value);
			return convert_json(apply, table, column, value->u.data, value->len);
		case CONVERT_VECTOR:
			require_text(column, value);
			return convert_vector(value->u.data, value->len);
		case CONVERT_INPUT:
			return input_value(table, column, value);
	}
	elog(ERROR, "unknown conversion family %d", (int) column->family);
}
