/*-------------------------------------------------------------------------
 *
 * value.c
 *		Bring values of both protocols to one kind for each type.
 *
 * The two protocols, and old Drainers, differ in how they carry some types:
 * BIT is bytes in Kafka and a number in files, YEAR text and a number, JSON
 * bytes and text, MEDIUMINT was text before Drainer 4.0.1.  Here they become
 * what event.h promises.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/decoder.h"

#include <string.h>

const uint8_t value_kind_of_type[EVENT_TYPE_VECTOR + 1] = {
	[EVENT_TYPE_OTHER] = EVENT_VALUE_ABSENT,	[EVENT_TYPE_TINY] = EVENT_VALUE_INT64,
	[EVENT_TYPE_SMALL] = EVENT_VALUE_INT64,		[EVENT_TYPE_MEDIUM] = EVENT_VALUE_INT64,
	[EVENT_TYPE_INT] = EVENT_VALUE_INT64,		[EVENT_TYPE_BIG] = EVENT_VALUE_INT64,
	[EVENT_TYPE_YEAR] = EVENT_VALUE_INT64,		[EVENT_TYPE_FLOAT] = EVENT_VALUE_DOUBLE,
	[EVENT_TYPE_DOUBLE] = EVENT_VALUE_DOUBLE,	[EVENT_TYPE_DECIMAL] = EVENT_VALUE_TEXT,
	[EVENT_TYPE_DATE] = EVENT_VALUE_TEXT,		[EVENT_TYPE_DATETIME] = EVENT_VALUE_TEXT,
	[EVENT_TYPE_TIMESTAMP] = EVENT_VALUE_TEXT,	[EVENT_TYPE_TIME] = EVENT_VALUE_TEXT,
	[EVENT_TYPE_CHAR] = EVENT_VALUE_TEXT,		[EVENT_TYPE_VARCHAR] = EVENT_VALUE_TEXT,
	[EVENT_TYPE_TEXT] = EVENT_VALUE_TEXT,		[EVENT_TYPE_BINARY] = EVENT_VALUE_BYTES,
	[EVENT_TYPE_VARBINARY] = EVENT_VALUE_BYTES, [EVENT_TYPE_BLOB] = EVENT_VALUE_BYTES,
	[EVENT_TYPE_BIT] = EVENT_VALUE_UINT64,		[EVENT_TYPE_ENUM] = EVENT_VALUE_UINT64,
	[EVENT_TYPE_SET] = EVENT_VALUE_UINT64,		[EVENT_TYPE_JSON] = EVENT_VALUE_TEXT,
	[EVENT_TYPE_VECTOR] = EVENT_VALUE_TEXT,
};

/* Every name that TiDB gives a type; see event.h for those that share a class. */
static const struct
{
	const char *name;
	EventType type;
} type_names[] = {
	{"int", EVENT_TYPE_INT},		   {"bigint", EVENT_TYPE_BIG},
	{"varchar", EVENT_TYPE_VARCHAR},   {"decimal", EVENT_TYPE_DECIMAL},
	{"datetime", EVENT_TYPE_DATETIME}, {"timestamp", EVENT_TYPE_TIMESTAMP},
	{"char", EVENT_TYPE_CHAR},		   {"date", EVENT_TYPE_DATE},
	{"double", EVENT_TYPE_DOUBLE},	   {"tinyint", EVENT_TYPE_TINY},
	{"smallint", EVENT_TYPE_SMALL},	   {"mediumint", EVENT_TYPE_MEDIUM},
	{"year", EVENT_TYPE_YEAR},		   {"float", EVENT_TYPE_FLOAT},
	{"time", EVENT_TYPE_TIME},		   {"var_string", EVENT_TYPE_VARCHAR},
	{"tinytext", EVENT_TYPE_TEXT},	   {"text", EVENT_TYPE_TEXT},
	{"mediumtext", EVENT_TYPE_TEXT},   {"longtext", EVENT_TYPE_TEXT},
	{"binary", EVENT_TYPE_BINARY},	   {"varbinary", EVENT_TYPE_VARBINARY},
	{"tinyblob", EVENT_TYPE_BLOB},	   {"blob", EVENT_TYPE_BLOB},
	{"mediumblob", EVENT_TYPE_BLOB},   {"longblob", EVENT_TYPE_BLOB},
	{"bit", EVENT_TYPE_BIT},		   {"enum", EVENT_TYPE_ENUM},
	{"set", EVENT_TYPE_SET},		   {"json", EVENT_TYPE_JSON},
	{"vector", EVENT_TYPE_VECTOR},
};

EventType
event_type_from_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++)
	{
		if (strlen(type_names[i].name) == len && memcmp(type_names[i].name, name, len) == 0)
			return type_names[i].type;
	}
	return EVENT_TYPE_OTHER;
}

/* Decimal digits with an optional sign; false when it is anything else or out of range. */
static bool
parse_integer(const char *text, size_t len, int64_t *value)
{
	size_t i = 0;
	bool negative = false;
	uint64_t result = 0;
	uint64_t limit = (uint64_t) INT64_MAX;

	if (len > 0 && (text[0] == '-' || text[0] == '+'))
	{
		negative = text[0] == '-';
		i = 1;
	}
	if (i == len)
		return false;
	for (; i < len; i++)
	{
		unsigned digit = (unsigned char) text[i] - '0';

		if (digit > 9 || result > (limit - digit) / 10)
			return false;
		result = result * 10 + digit;
	}
	*value = negative ? -(int64_t) result : (int64_t) result;
	return true;
}

/* A BIT in big-endian bytes, as Kafka has it. */
static bool
bytes_to_number(EventValue *value)
{
	uint64_t result = 0;

	if (value->len > 8)
		return false;
	for (uint32_t i = 0; i < value->len; i++)
		result = (result << 8) | (uint8_t) value->u.data[i];
	value->kind = EVENT_VALUE_UINT64;
	value->len = 0;
	value->u.u64 = result;
	return true;
}

static const char *
kind_name(int kind)
{
	switch (kind)
	{
		case EVENT_VALUE_NULL:
			return "NULL";
		case EVENT_VALUE_INT64:
			return "a signed number";
		case EVENT_VALUE_UINT64:
			return "an unsigned number";
		case EVENT_VALUE_DOUBLE:
			return "a floating-point number";
		case EVENT_VALUE_BYTES:
			return "bytes";
		case EVENT_VALUE_TEXT:
			return "text";
		default:
			return "no value";
	}
}

/*
 * The cases: what a column of the type wants, and what came.  No value field at all means the empty
 * string (so does the official reader read it), which only strings can be.
 */
static bool
try_convert(const EventColumn *column, EventValue *value)
{
	uint8_t want = value_kind_of_type[column->type];
	bool is_string = value->kind == EVENT_VALUE_TEXT || value->kind == EVENT_VALUE_BYTES;
	int64_t number;

	switch (want)
	{
		case EVENT_VALUE_ABSENT: /* of an unknown type: as it comes */
		case EVENT_VALUE_TEXT:
		case EVENT_VALUE_BYTES:
			if (value->kind == EVENT_VALUE_ABSENT)
			{
				value->len = 0;
				value->u.data = "";
				is_string = true;
				value->kind = EVENT_VALUE_TEXT;
			}
			if (want == EVENT_VALUE_ABSENT)
				return true;
			if (is_string)
				value->kind = want;
			return is_string;

		case EVENT_VALUE_INT64:
			if (!is_string || !parse_integer(value->u.data, value->len, &number))
				return false;
			value->kind = EVENT_VALUE_INT64;
			value->len = 0;
			value->u.i64 = number;
			return true;

		case EVENT_VALUE_UINT64:
			if (column->type == EVENT_TYPE_BIT && is_string)
				return bytes_to_number(value);
			if (value->kind == EVENT_VALUE_INT64 && value->u.i64 >= 0)
			{
				value->u.u64 = (uint64_t) value->u.i64;
				value->kind = EVENT_VALUE_UINT64;
				return true;
			}
			return false;

		default:
			return false;
	}
}

bool
value_convert(Decoder *d, const EventColumn *column, EventValue *value, const void *at)
{
	uint8_t came = value->kind;

	if (try_convert(column, value))
		return true;
	/* year as an unsigned number: no writer is known, but the meaning is plain */
	if (column->type == EVENT_TYPE_YEAR && came == EVENT_VALUE_UINT64 && value->u.u64 <= INT64_MAX)
	{
		value->kind = EVENT_VALUE_INT64;
		value->u.i64 = (int64_t) value->u.u64;
		return true;
	}
	return decode_fail(d, DECODE_ERROR_VALUE, at, "column \"%.*s\" of type %.*s cannot be %s",
					   (int) (column->name.len > 64 ? 64 : column->name.len), column->name.data,
					   (int) (column->mysql_type.len > 16 ? 16 : column->mysql_type.len),
					   column->mysql_type.data, kind_name(came));
}
