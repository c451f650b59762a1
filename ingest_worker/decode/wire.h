/*-------------------------------------------------------------------------
 *
 * wire.h
 *		A walker over protobuf's wire format, and how decoders report errors.
 *
 * Private to decode/.  A Wire is a window on the bytes of one message; every
 * function moves it forward or fails.  All return false after having filled
 * the decoder's error, and never read beyond the window.
 *
 * Known fields are told by their whole tag (number and wire type); whatever
 * else arrives goes to wire_skip(), which refuses a known number with another
 * wire type and groups, and steps over unknown fields.
 *
 *-------------------------------------------------------------------------
 */
#ifndef WIRE_H
#define WIRE_H

#include "decode/event.h"

#define WIRE_VARINT 0
#define WIRE_FIXED64 1
#define WIRE_BYTES 2
#define WIRE_FIXED32 5

#define WIRE_TAG(number, type) (((uint32_t) (number) << 3) | (type))

typedef struct Wire
{
	const uint8_t *at;
	const uint8_t *end;
	Decoder *decoder; /* for errors */
} Wire;

/*
 * Fill the decoder's error: code, byte, message by format, and the detail "at byte N of M" with
 * what the format has.  Always returns false.
 */
extern bool decode_fail(Decoder *decoder, DecodeErrorCode code, const void *at, const char *format,
						...) __attribute__((format(printf, 4, 5), cold));

/* What wire_tag and wire_varint do when the first byte is not the last. */
extern bool wire_varint_long(Wire *wire, uint64_t *value);

/* Step over a field that is not one of the numbers 1 .. known of the named message. */
extern bool wire_skip(Wire *wire, uint32_t tag, const char *message, uint32_t known);

/* Reports for the inline functions. */
extern bool wire_bad_tag(Wire *wire, const uint8_t *at, uint64_t tag);
extern bool wire_bad_length(Wire *wire, const uint8_t *at, uint64_t len);

static inline bool
wire_varint(Wire *wire, uint64_t *value)
{
	if (__builtin_expect(wire->at < wire->end && *wire->at < 0x80, 1))
	{
		*value = *wire->at++;
		return true;
	}
	return wire_varint_long(wire, value);
}

static inline bool
wire_tag(Wire *wire, uint32_t *tag)
{
	const uint8_t *at = wire->at;
	uint64_t value = 0;

	*tag = 0;
	if (!wire_varint(wire, &value))
		return false;
	*tag = (uint32_t) value;
	if (__builtin_expect(value < 8 || value > UINT32_MAX, 0))
	{
		wire_bad_tag(wire, at, value);
		return false;
	}
	return true;
}

/* The content of a length-delimited field, as a window of its own. */
static inline bool
wire_bytes(Wire *wire, Wire *content)
{
	const uint8_t *at = wire->at;
	uint64_t len = 0;

	if (!wire_varint(wire, &len))
		return false;
	if (__builtin_expect(len > (uint64_t) (wire->end - wire->at), 0))
	{
		wire_bad_length(wire, at, len);
		return false;
	}
	content->at = wire->at;
	content->end = wire->at + len;
	content->decoder = wire->decoder;
	wire->at += len;
	return true;
}

static inline bool
wire_slice(Wire *wire, EventSlice *slice)
{
	Wire content;

	if (!wire_bytes(wire, &content))
		return false;
	slice->data = (const char *) content.at;
	slice->len = (size_t) (content.end - content.at);
	return true;
}

static inline bool
wire_fixed64(Wire *wire, uint64_t *value)
{
	uint64_t result = 0;

	if (__builtin_expect(wire->end - wire->at < 8, 0))
	{
		wire_bad_length(wire, wire->at, 8);
		return false;
	}
	for (int i = 7; i >= 0; i--)
		result = (result << 8) | wire->at[i];
	wire->at += 8;
	*value = result;
	return true;
}

static inline bool
slice_equal(EventSlice a, EventSlice b)
{
	return a.len == b.len && (a.len == 0 || __builtin_memcmp(a.data, b.data, a.len) == 0);
}

#endif /* WIRE_H */
