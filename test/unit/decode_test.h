/*-------------------------------------------------------------------------
 *
 * decode_test.h
 *		What the decoders' unit tests share: a protobuf writer, a recorder of
 *		events, checks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DECODE_TEST_H
#define DECODE_TEST_H

#include "decode/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                                           \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
		{                                                                                          \
			printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                       \
			failures++;                                                                            \
		}                                                                                          \
	} while (0)

/* ---- a growing buffer, and protobuf into it ---- */

typedef struct Buffer
{
	char *data;
	size_t len;
	size_t room;
} Buffer;

static inline void
put_bytes(Buffer *buffer, const void *data, size_t len)
{
	if (buffer->len + len > buffer->room)
	{
		buffer->room = (buffer->len + len) * 2 + 64;
		buffer->data = realloc(buffer->data, buffer->room);
	}
	if (len > 0)
		memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
}

static inline void
put_varint(Buffer *buffer, uint64_t value)
{
	do
	{
		uint8_t byte = (uint8_t) (value & 0x7f) | (value > 0x7f ? 0x80 : 0);

		put_bytes(buffer, &byte, 1);
		value >>= 7;
	} while (value != 0);
}

static inline void
put_number(Buffer *buffer, unsigned field, uint64_t value)
{
	put_varint(buffer, field << 3);
	put_varint(buffer, value);
}

static inline void
put_field(Buffer *buffer, unsigned field, const void *data, size_t len)
{
	put_varint(buffer, field << 3 | 2);
	put_varint(buffer, len);
	put_bytes(buffer, data, len);
}

static inline void
put_string(Buffer *buffer, unsigned field, const char *text)
{
	put_field(buffer, field, text, strlen(text));
}

/* A message as a field; it is emptied for the next use. */
static inline void
put_message(Buffer *buffer, unsigned field, Buffer *message)
{
	put_field(buffer, field, message->data, message->len);
	message->len = 0;
}

static inline Buffer
from_hex(const char *hex)
{
	Buffer buffer = {0};

	for (; hex[0] != '\0'; hex += 2)
	{
		unsigned byte;
		uint8_t small;

		sscanf(hex, "%2x", &byte);
		small = (uint8_t) byte;
		put_bytes(&buffer, &small, 1);
	}
	return buffer;
}

/* ---- events as text ---- */

typedef struct Recorder
{
	Buffer text;
	int events;
	EventAction answer; /* to each row */
	bool copy_fails;
} Recorder;

static inline void
put_text(Buffer *buffer, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	put_bytes(buffer, text, strlen(text));
}

static inline void
record_values(Buffer *text, const char *label, const EventTable *table, const EventValue *values)
{
	if (values == NULL)
		return;
	put_text(text, " %s", label);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const EventValue *value = &values[i];

		put_text(text, "%c", i == 0 ? '(' : ' ');
		switch (value->kind)
		{
			case EVENT_VALUE_ABSENT:
				put_text(text, "absent");
				break;
			case EVENT_VALUE_NULL:
				put_text(text, "null");
				break;
			case EVENT_VALUE_INT64:
				put_text(text, "i%lld", (long long) value->u.i64);
				break;
			case EVENT_VALUE_UINT64:
				put_text(text, "u%llu", (unsigned long long) value->u.u64);
				break;
			case EVENT_VALUE_DOUBLE:
				put_text(text, "d%.17g", value->u.f64);
				break;
			case EVENT_VALUE_BYTES:
			case EVENT_VALUE_TEXT:
				put_text(text, "%c'", value->kind == EVENT_VALUE_BYTES ? 'b' : 's');
				put_bytes(text, value->u.data, value->len);
				put_text(text, "'");
				break;
		}
	}
	put_text(text, ")");
}

static inline EventAction
record_event(void *arg, const Event *event)
{
	Recorder *recorder = arg;
	Buffer *text = &recorder->text;

	recorder->events++;
	switch (event->kind)
	{
		case EVENT_ROW:
			put_text(text, "%s %.*s.%.*s", event_row_kind_name(event->row_kind),
					 (int) event->table->database.len, event->table->database.data,
					 (int) event->table->table.len, event->table->table.data);
			record_values(text, "old", event->table, event->old_values);
			record_values(text, "new", event->table, event->new_values);
			put_text(text, "\n");
			return recorder->answer;
		case EVENT_DDL:
			put_text(text, "ddl %s%.*s %s%.*s [", event->has_database ? "" : "-",
					 (int) event->ddl_database.len, event->ddl_database.data,
					 event->has_table_name ? "" : "-", (int) event->ddl_table.len,
					 event->ddl_table.data);
			put_bytes(text, event->ddl_text.data, event->ddl_text.len);
			put_text(text, "]\n");
			break;
		case EVENT_RESOLVED:
			put_text(text, "resolved %llu\n", (unsigned long long) event->commit_ts);
			break;
	}
	return EVENT_CONTINUE;
}

/*
 * Decode bytes from memory of exactly their size, so that the sanitizer sees each byte read beyond
 * the end, and compare the events' text.
 */
static inline DecodeResult
decode_exact(Decoder *decoder, const char *data, size_t len, Recorder *recorder, DecodeError *error)
{
	char *copy = malloc(len > 0 ? len : 1);
	DecodeResult result;

	memcpy(copy, data, len);
	recorder->text.len = 0;
	recorder->events = 0;
	result = decoder_decode(decoder, copy, len, record_event, recorder, error);
	put_bytes(&recorder->text, "", 1);
	free(copy);
	return result;
}

static inline void
expect_events(Decoder *decoder, const Buffer *record, const char *expected, int line)
{
	Recorder recorder = {0};
	DecodeError error;
	DecodeResult result = decode_exact(decoder, record->data, record->len, &recorder, &error);

	if (result != DECODE_OK)
	{
		printf("line %d: %s\n%s\n", line, error.message, error.detail);
		failures++;
	}
	else if (strcmp(recorder.text.data, expected) != 0)
	{
		printf("line %d: got\n%sexpected\n%s", line, recorder.text.data, expected);
		failures++;
	}
	free(recorder.text.data);
}

#define EXPECT_EVENTS(decoder, record, expected) expect_events(decoder, record, expected, __LINE__)

/* The record must fail with the code, with no event delivered and every text filled. */
static inline void
expect_error(Decoder *decoder, const Buffer *record, DecodeErrorCode code, const char *message,
			 int line)
{
	Recorder recorder = {0};
	DecodeError error;
	DecodeResult result = decode_exact(decoder, record->data, record->len, &recorder, &error);

	if (result != DECODE_FAILED || error.code != code || strstr(error.message, message) == NULL ||
		recorder.events != 0 || error.detail[0] == '\0' || error.hint[0] == '\0' ||
		error.offset > record->len)
	{
		printf(
			"line %d: result %d, code %d, byte %zu, %d events, message \"%s\", expected \"%s\"\n",
			line, result, error.code, error.offset, recorder.events,
			result == DECODE_FAILED ? error.message : "", message);
		failures++;
	}
	free(recorder.text.data);
}

#define EXPECT_ERROR(decoder, record, code, message)                                               \
	expect_error(decoder, record, code, message, __LINE__)

/* Each true prefix of a record must fail. */
static inline void
expect_prefixes_fail(Decoder *decoder, const char *data, size_t len)
{
	Recorder recorder = {0};
	DecodeError error;

	for (size_t i = 0; i < len; i++)
	{
		if (decode_exact(decoder, data, i, &recorder, &error) != DECODE_FAILED ||
			recorder.events != 0)
		{
			printf("prefix of %zu of %zu bytes was accepted\n", i, len);
			failures++;
		}
	}
	free(recorder.text.data);
}

static inline int
finish(void)
{
	printf("%s\n", failures == 0 ? "passed" : "FAILED");
	return failures == 0 ? 0 : 1;
}

#endif /* DECODE_TEST_H */
