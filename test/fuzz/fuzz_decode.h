/*-------------------------------------------------------------------------
 *
 * fuzz_decode.h
 *		Decode bytes and check what event.h promises of the result.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_DECODE_H
#define FUZZ_DECODE_H

#include "decode/event.h"

#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(condition)                                                                      \
	do                                                                                             \
	{                                                                                              \
		if (!(condition))                                                                          \
			abort();                                                                               \
	} while (0)

typedef struct FuzzRun
{
	uint64_t commit_ts;
	uint64_t events;
	bool resolved;
	uint8_t sum; /* of every byte that is delivered, so that each is read */
} FuzzRun;

static inline void
fuzz_slice(FuzzRun *run, EventSlice slice)
{
	for (size_t i = 0; i < slice.len; i++)
		run->sum += (uint8_t) slice.data[i];
}

static inline void
fuzz_table(FuzzRun *run, const EventTable *table)
{
	FUZZ_CHECK(table->serial > 0 && table->ncolumns > 0);
	FUZZ_CHECK(table->database.len > 0 && table->table.len > 0);
	fuzz_slice(run, table->database);
	fuzz_slice(run, table->table);
	for (int i = 0; i < table->ncolumns; i++)
	{
		fuzz_slice(run, table->columns[i].name);
		fuzz_slice(run, table->columns[i].mysql_type);
	}
	for (int i = 0; i < table->nkeys; i++)
	{
		const EventKey *key = &table->keys[i];

		fuzz_slice(run, key->name);
		for (int j = 0; j < key->ncolumns; j++)
		{
			fuzz_slice(run, key->column_names[j]);
			FUZZ_CHECK(key->columns[j] >= -1 && key->columns[j] < table->ncolumns);
		}
	}
}

/* The kind follows from the type. */
static inline void
fuzz_values(FuzzRun *run, const EventTable *table, const EventValue *values)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		const EventColumn *column = &table->columns[i];
		const EventValue *value = &values[i];
		bool is_string = value->kind == EVENT_VALUE_TEXT || value->kind == EVENT_VALUE_BYTES;

		FUZZ_CHECK(value->kind > EVENT_VALUE_ABSENT && value->kind <= EVENT_VALUE_TEXT);
		if (is_string)
			fuzz_slice(run, (EventSlice){value->u.data, value->len});
		else
			FUZZ_CHECK(value->len == 0);
		if (value->kind == EVENT_VALUE_NULL)
			continue;
		if (EVENT_TYPE_IS_INTEGER(column->type))
			FUZZ_CHECK(value->kind == EVENT_VALUE_INT64	   ? column->is_signed_seen
					   : value->kind == EVENT_VALUE_UINT64 ? column->is_unsigned_seen
														   : false);
		else if (column->type == EVENT_TYPE_FLOAT || column->type == EVENT_TYPE_DOUBLE)
			FUZZ_CHECK(value->kind == EVENT_VALUE_DOUBLE);
		else if (column->type == EVENT_TYPE_BIT || column->type == EVENT_TYPE_ENUM ||
				 column->type == EVENT_TYPE_SET)
			FUZZ_CHECK(value->kind == EVENT_VALUE_UINT64);
		else if (column->type == EVENT_TYPE_YEAR)
			FUZZ_CHECK(value->kind == EVENT_VALUE_INT64);
		else if (column->type != EVENT_TYPE_OTHER)
			FUZZ_CHECK(is_string);
	}
}

static EventAction
fuzz_event(void *arg, const Event *event)
{
	FuzzRun *run = arg;

	FUZZ_CHECK(!run->resolved && event->commit_ts == run->commit_ts);
	FUZZ_CHECK(event->sequence == run->events);
	if (event->kind == EVENT_RESOLVED)
	{
		run->resolved = true;
		return EVENT_CONTINUE;
	}
	run->events++;
	if (event->kind == EVENT_DDL)
	{
		fuzz_slice(run, event->ddl_database);
		fuzz_slice(run, event->ddl_table);
		fuzz_slice(run, event->ddl_text);
		FUZZ_CHECK(event->ddl_text.len > 0);
		return EVENT_CONTINUE;
	}
	fuzz_table(run, event->table);
	FUZZ_CHECK((event->old_values != NULL) == (event->row_kind != EVENT_INSERT));
	FUZZ_CHECK((event->new_values != NULL) == (event->row_kind != EVENT_DELETE));
	if (event->old_values != NULL)
		fuzz_values(run, event->table, event->old_values);
	if (event->new_values != NULL)
		fuzz_values(run, event->table, event->new_values);
	return EVENT_CONTINUE;
}

static inline void
fuzz_decode(DecoderFormat format, const uint8_t *data, size_t size)
{
	static Decoder *decoders[2];
	Decoder **decoder = &decoders[format];
	FuzzRun run = {0};
	DecodeSummary summary;
	DecodeError error;
	DecodeResult checked;

	if (*decoder == NULL)
		*decoder = decoder_create(format);
	checked = decoder_validate(*decoder, data, size, &summary, &error);
	FUZZ_CHECK(checked == DECODE_OK || (checked == DECODE_FAILED && error.code != 0 &&
										error.offset <= size && error.message[0] != '\0'));
	run.commit_ts = checked == DECODE_OK ? summary.commit_ts : 0;
	FUZZ_CHECK(decoder_decode(*decoder, data, size, fuzz_event, &run, &error) == checked);
	FUZZ_CHECK(checked == DECODE_OK ? run.resolved && run.commit_ts != 0
									: run.events == 0 && !run.resolved);
	FUZZ_CHECK(checked != DECODE_OK || summary.is_ddl || summary.rows == run.events);
	FUZZ_CHECK(decoder_memory(*decoder) < 64 * 1024 * 1024);
}

#endif /* FUZZ_DECODE_H */
