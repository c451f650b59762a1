/*-------------------------------------------------------------------------
 *
 * wire.c
 *		The parts of the protobuf walker that are not worth inlining.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/wire.h"

/*
 * A varint of 64 bits takes 10 bytes at most, and of the tenth one bit.  Anything longer is
 * refused: no encoder writes it, and it would give one number several meanings.
 */
bool
wire_varint_long(Wire *wire, uint64_t *value)
{
	const uint8_t *at = wire->at;
	uint64_t result = 0;

	for (int shift = 0; shift < 70; shift += 7)
	{
		uint8_t byte;

		if (at >= wire->end)
			return decode_fail(wire->decoder, DECODE_ERROR_TRUNCATED, wire->at,
							   "record ends inside a number");
		byte = *at++;
		if (shift == 63 && byte > 1)
			break;
		result |= (uint64_t) (byte & 0x7f) << shift;
		if (byte < 0x80)
		{
			wire->at = at;
			*value = result;
			return true;
		}
	}
	return decode_fail(wire->decoder, DECODE_ERROR_WIRE, wire->at, "number has more than 64 bits");
}

bool
wire_bad_tag(Wire *wire, const uint8_t *at, uint64_t tag)
{
	return decode_fail(wire->decoder, DECODE_ERROR_WIRE, at, "invalid field number %llu",
					   (unsigned long long) (tag >> 3));
}

bool
wire_bad_length(Wire *wire, const uint8_t *at, uint64_t len)
{
	return decode_fail(wire->decoder, DECODE_ERROR_TRUNCATED, at,
					   "field of %llu bytes does not fit into the %llu bytes left",
					   (unsigned long long) len, (unsigned long long) (wire->end - wire->at));
}

bool
wire_skip(Wire *wire, uint32_t tag, const char *message, uint32_t known)
{
	const uint8_t *at = wire->at;
	uint32_t type = tag & 7;
	uint64_t value;
	Wire content;

	if (type != WIRE_VARINT && type != WIRE_FIXED64 && type != WIRE_BYTES && type != WIRE_FIXED32)
		return decode_fail(wire->decoder, DECODE_ERROR_WIRE, at,
						   "field %u of message %s has unsupported wire type %u", tag >> 3, message,
						   type);
	if (tag >> 3 <= known)
		return decode_fail(wire->decoder, DECODE_ERROR_WIRE, at,
						   "field %u of message %s has unexpected wire type %u", tag >> 3, message,
						   type);
	switch (type)
	{
		case WIRE_VARINT:
			return wire_varint(wire, &value);
		case WIRE_FIXED64:
			return wire_fixed64(wire, &value);
		case WIRE_BYTES:
			return wire_bytes(wire, &content);
		default:
			if (wire->end - wire->at < 4)
				return wire_bad_length(wire, at, 4);
			wire->at += 4;
			return true;
	}
}
