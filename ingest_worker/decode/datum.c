/*-------------------------------------------------------------------------
 *
 * datum.c
 *		TiDB's encoded datums, as the columns of Drainer's files hold them.
 *
 * A datum is a flag byte and a body:
 *
 *		0	NULL
 *		1	bytes, memory-comparable: groups of 8 and a byte 0xff, the last
 *			group padded with zeros and followed by 0xff minus the padding
 *		2	bytes: zig-zag varint length, bytes
 *		3	int64: 8 bytes big-endian, sign bit flipped
 *		4	uint64: 8 bytes big-endian
 *		5	float64: 8 bytes big-endian; sign bit set when positive, all bits
 *			inverted when negative
 *		6	decimal: precision, fraction digits, MySQL's binary decimal
 *		7	duration: nanoseconds, as 3
 *		8	int64: zig-zag varint
 *		9	uint64: varint
 *		10	binary JSON
 *
 * Drainer writes 0, 2, 5, 8 and 9 only; text forms of decimals, times and
 * JSON go under 2.  Binary JSON is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/decoder.h"

#include <stdio.h>
#include <string.h>

#define SIGN_BIT ((uint64_t) 1 << 63)

/* Decimal digits in a word of 4 bytes, and bytes for fewer digits. */
#define DIGITS_PER_WORD 9
static const int bytes_for_digits[DIGITS_PER_WORD + 1] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};

/* More than MySQL's 65 digits and 30 behind the point are not decimals. */
#define DECIMAL_MAX_PRECISION 81

static bool
bad_datum(Wire *wire, const EventColumn *column, const uint8_t *at, const char *what)
{
	return decode_fail(wire->decoder, DECODE_ERROR_VALUE, at, "column \"%.*s\": %s",
					   (int) (column->name.len > 64 ? 64 : column->name.len), column->name.data,
					   what);
}

static bool
read_big_endian(Wire *wire, uint64_t *value)
{
	uint64_t result = 0;

	*value = 0;
	if (wire->end - wire->at < 8)
		return wire_bad_length(wire, wire->at, 8);
	for (int i = 0; i < 8; i++)
		result = (result << 8) | wire->at[i];
	wire->at += 8;
	*value = result;
	return true;
}

static bool
read_zigzag(Wire *wire, int64_t *value)
{
	uint64_t number;

	if (!wire_varint(wire, &number))
		return false;
	*value = (int64_t) (number >> 1) ^ -(int64_t) (number & 1);
	return true;
}

static bool
read_compact_bytes(Wire *wire, EventValue *value)
{
	const uint8_t *at = wire->at;
	int64_t len;

	if (!read_zigzag(wire, &len))
		return false;
	if (len < 0 || len > wire->end - wire->at)
		return wire_bad_length(wire, at, (uint64_t) len);
	value->kind = EVENT_VALUE_TEXT;
	value->len = (uint32_t) len;
	value->u.data = (const char *) wire->at;
	wire->at += len;
	return true;
}

/* Not a view: the groups are put together in the row's arena. */
static bool
read_comparable_bytes(Wire *wire, const EventColumn *column, EventValue *value)
{
	size_t left = (size_t) (wire->end - wire->at);
	char *bytes = arena_alloc(wire->decoder->row_arena, left / 9 * 8);
	uint32_t len = 0;

	if (bytes == NULL)
		return decoder_out_of_memory(wire->decoder, wire->at);
	for (;;)
	{
		const uint8_t *group = wire->at;
		unsigned padding;

		if (wire->end - wire->at < 9)
			return wire_bad_length(wire, wire->at, 9);
		padding = 0xffu - group[8];
		wire->at += 9;
		if (padding > 8)
			return bad_datum(wire, column, group + 8, "bytes with a wrong marker");
		memcpy(bytes + len, group, 8 - padding);
		len += 8 - padding;
		for (unsigned i = 8 - padding; i < 8; i++)
		{
			if (group[i] != 0)
				return bad_datum(wire, column, group + i, "bytes with wrong padding");
		}
		if (padding > 0)
			break;
	}
	value->kind = EVENT_VALUE_TEXT;
	value->len = len;
	value->u.data = bytes;
	return true;
}

static bool
read_float(Wire *wire, EventValue *value)
{
	uint64_t bits;

	if (!read_big_endian(wire, &bits))
		return false;
	bits = (bits & SIGN_BIT) != 0 ? bits & ~SIGN_BIT : ~bits;
	memcpy(&value->u.f64, &bits, sizeof(bits));
	value->kind = EVENT_VALUE_DOUBLE;
	return true;
}

/*
 * One group of digits of a binary decimal: 1 to 4 bytes, big-endian, all inverted in a negative
 * number, written as exactly `digits` digits.
 */
static bool
put_digits(const uint8_t *bytes, int nbytes, int digits, uint8_t invert, char *text)
{
	uint32_t word = 0;

	for (int i = 0; i < nbytes; i++)
		word = (word << 8) | (uint8_t) (bytes[i] ^ invert);
	for (int i = digits - 1; i >= 0; i--)
	{
		text[i] = (char) ('0' + word % 10);
		word /= 10;
	}
	return word == 0;
}

/*
 * Integer digits stand in groups of nine counted from the point to the left, the leftmost one
 * short; fraction digits in groups from the point to the right, the last one short.  The first bit
 * is inverted, so that bytes compare as numbers do.
 */
static bool
read_decimal(Wire *wire, const EventColumn *column, EventValue *value)
{
	const uint8_t *begin = wire->at;
	char digits[DECIMAL_MAX_PRECISION + 1];
	uint8_t bytes[DECIMAL_MAX_PRECISION];
	int precision, fraction, integer, ndigits = 0, nbytes, at = 0, skip = 0;
	uint8_t invert;
	char *text;

	if (wire->end - wire->at < 2)
		return wire_bad_length(wire, wire->at, 2);
	precision = wire->at[0];
	fraction = wire->at[1];
	integer = precision - fraction;
	if (precision == 0 || precision > DECIMAL_MAX_PRECISION || integer < 0)
		return bad_datum(wire, column, begin, "decimal with invalid precision");
	wire->at += 2;
	nbytes = integer / DIGITS_PER_WORD * 4 + bytes_for_digits[integer % DIGITS_PER_WORD] +
			 fraction / DIGITS_PER_WORD * 4 + bytes_for_digits[fraction % DIGITS_PER_WORD];
	if (wire->end - wire->at < nbytes)
		return wire_bad_length(wire, wire->at, (uint64_t) nbytes);
	memcpy(bytes, wire->at, (size_t) nbytes);
	invert = (bytes[0] & 0x80) != 0 ? 0 : 0xff;
	bytes[0] ^= 0x80;
	wire->at += nbytes;
	while (ndigits < precision)
	{
		int left = ndigits < integer ? integer - ndigits : precision - ndigits;
		int group = left >= DIGITS_PER_WORD ? DIGITS_PER_WORD : left;

		if (ndigits < integer && left % DIGITS_PER_WORD != 0)
			group = left % DIGITS_PER_WORD;
		if (!put_digits(bytes + at, bytes_for_digits[group], group, invert, digits + ndigits))
			return bad_datum(wire, column, begin, "decimal with invalid digits");
		at += bytes_for_digits[group];
		ndigits += group;
	}

	/* sign, integer digits without leading zeros (one at least), point, fraction */
	while (skip < integer - 1 && digits[skip] == '0')
		skip++;
	text = arena_alloc(wire->decoder->row_arena, (size_t) precision + 4);
	if (text == NULL)
		return decoder_out_of_memory(wire->decoder, begin);
	value->len = (uint32_t) sprintf(
		text, "%s%.*s%s%.*s", invert ? "-" : "", integer > 0 ? integer - skip : 1,
		integer > 0 ? digits + skip : "0", fraction > 0 ? "." : "", fraction, digits + integer);
	value->kind = EVENT_VALUE_TEXT;
	value->u.data = text;
	return true;
}

/* The number of fraction digits is not in the datum: as many as are needed. */
static bool
read_duration(Wire *wire, const EventColumn *column, EventValue *value)
{
	const uint8_t *begin = wire->at;
	uint64_t bits, micros, seconds;
	bool negative;
	char *text;
	int len;

	if (!read_big_endian(wire, &bits))
		return false;
	bits ^= SIGN_BIT;
	negative = (bits & SIGN_BIT) != 0;
	micros = (negative ? 0 - bits : bits) / 1000;
	seconds = micros / 1000000;
	if (seconds >= 1000 * 3600)
		return bad_datum(wire, column, begin, "time out of range");
	text = arena_alloc(wire->decoder->row_arena, 32);
	if (text == NULL)
		return decoder_out_of_memory(wire->decoder, begin);
	len = snprintf(text, 32, "%s%02u:%02u:%02u.%06u", negative ? "-" : "",
				   (unsigned) (seconds / 3600), (unsigned) (seconds / 60 % 60),
				   (unsigned) (seconds % 60), (unsigned) (micros % 1000000));
	while (text[len - 1] == '0' && micros % 1000000 != 0)
		len--;
	if (micros % 1000000 == 0)
		len -= 7;
	value->kind = EVENT_VALUE_TEXT;
	value->len = (uint32_t) len;
	value->u.data = text;
	return true;
}

static bool
read_body(Wire *wire, const EventColumn *column, uint8_t flag, EventValue *value)
{
	switch (flag)
	{
		case 0:
			value->kind = EVENT_VALUE_NULL;
			return true;
		case 1:
			return read_comparable_bytes(wire, column, value);
		case 2:
			return read_compact_bytes(wire, value);
		case 3:
			value->kind = EVENT_VALUE_INT64;
			if (!read_big_endian(wire, &value->u.u64))
				return false;
			value->u.u64 ^= SIGN_BIT;
			return true;
		case 4:
			value->kind = EVENT_VALUE_UINT64;
			return read_big_endian(wire, &value->u.u64);
		case 5:
			return read_float(wire, value);
		case 6:
			return read_decimal(wire, column, value);
		case 7:
			return read_duration(wire, column, value);
		case 8:
			value->kind = EVENT_VALUE_INT64;
			return read_zigzag(wire, &value->u.i64);
		case 9:
			value->kind = EVENT_VALUE_UINT64;
			return wire_varint(wire, &value->u.u64);
		case 10:
			return decode_fail(
				wire->decoder, DECODE_ERROR_UNSUPPORTED, wire->at, "column \"%.*s\": binary JSON",
				(int) (column->name.len > 64 ? 64 : column->name.len), column->name.data);
		default:
			return bad_datum(wire, column, wire->at - 1, "datum with an unknown flag");
	}
}

bool
datum_read(Decoder *d, const EventColumn *column, EventSlice datum, EventValue *value)
{
	const uint8_t *at = (const uint8_t *) datum.data;
	Wire wire = {at + 1, at + datum.len, d};

	value->len = 0;
	value->u.u64 = 0;
	if (datum.len == 0)
		return bad_datum(&wire, column, at, "empty datum");
	if (!read_body(&wire, column, at[0], value))
		return false;
	return wire.at == wire.end || bad_datum(&wire, column, wire.at, "bytes behind the datum");
}
