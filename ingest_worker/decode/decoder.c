/*-------------------------------------------------------------------------
 *
 * decoder.c
 *		The decoders' common part: life, the two passes, delivery, errors.
 *
 * See event.h for the contract.  A record is walked twice by the same code,
 * once to check and once to deliver; the check costs about as much as the
 * delivery and is what makes "nothing is half delivered" true without a copy.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/decoder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Decoder *
decoder_create(DecoderFormat format)
{
	Decoder *d = calloc(1, sizeof(Decoder));

	if (d == NULL)
		return NULL;
	d->format = format;
	d->arena = arena_create(0);
	d->row_arena = arena_create(0);
	if (d->arena == NULL || d->row_arena == NULL)
	{
		decoder_destroy(d);
		return NULL;
	}
	return d;
}

void
decoder_destroy(Decoder *d)
{
	if (d == NULL)
		return;
	arena_destroy(d->arena);
	arena_destroy(d->row_arena);
	free(d->old_values);
	free(d->new_values);
	free(d->seen);
	free(d->pb_columns);
	free(d);
}

size_t
decoder_memory(const Decoder *d)
{
	return sizeof(Decoder) + arena_size(d->arena) + arena_size(d->row_arena) + d->seen_room +
		   (size_t) d->values_room * 2 * sizeof(EventValue) +
		   (size_t) d->pb_columns_room * sizeof(PbColumn);
}

/*
 * What to try next.  Errors that garbage or another protocol's message would raise point to the
 * configuration; the others can only be a damaged record or a writer that we do not know.
 */
static const char *
error_hint(const Decoder *d, DecodeErrorCode code)
{
	if (code == DECODE_ERROR_MEMORY)
		return "Give the server more memory, or split large transactions at the source.";
	if (code == DECODE_ERROR_UNSUPPORTED)
		return "Report the record: no version of Drainer is known to write it.";
	if (d->format == DECODER_PB_BINLOG)
		return "Check that the directory is the one that Drainer writes with db-type \"file\".";
	return "Check that the topic is the one that Drainer writes with db-type \"kafka\", and that "
		   "nothing else writes to it.";
}

bool
decode_fail(Decoder *d, DecodeErrorCode code, const void *at, const char *format, ...)
{
	DecodeError *error = d->error;
	va_list args;

	memset(error, 0, sizeof(*error));
	error->code = code;
	error->offset = (size_t) ((const uint8_t *) at - d->record);
	va_start(args, format);
	vsnprintf(error->message, sizeof(error->message), format, args);
	va_end(args);
	if (d->commit_ts != 0)
		snprintf(error->detail, sizeof(error->detail),
				 "At byte %zu of a record of %zu bytes with commit TS %llu.", error->offset,
				 d->record_len, (unsigned long long) d->commit_ts);
	else
		snprintf(error->detail, sizeof(error->detail), "At byte %zu of a record of %zu bytes.",
				 error->offset, d->record_len);
	snprintf(error->hint, sizeof(error->hint), "%s", error_hint(d, code));
	return false;
}

bool
decoder_out_of_memory(Decoder *d, const void *at)
{
	return decode_fail(d, DECODE_ERROR_MEMORY, at, "out of memory");
}

/*
 * The outermost fields.  Both protocols begin with type and commit TS, always present; any order is
 * read.  They differ in the content of fields 3 and 4 only, which are skipped here.
 */
static bool
walk_header(Decoder *d)
{
	Wire wire = {d->record, d->record + d->record_len, d};
	Wire content;
	bool has_type = false;
	bool has_commit_ts = false;
	uint64_t type = 0;
	uint64_t commit_ts = 0;
	uint32_t tag;

	while (wire.at < wire.end)
	{
		if (!wire_tag(&wire, &tag))
			return false;
		switch (tag)
		{
			case WIRE_TAG(1, WIRE_VARINT):
				if (!wire_varint(&wire, &type))
					return false;
				has_type = true;
				break;
			case WIRE_TAG(2, WIRE_VARINT):
				if (!wire_varint(&wire, &commit_ts))
					return false;
				has_commit_ts = true;
				break;
			case WIRE_TAG(3, WIRE_BYTES):
			case WIRE_TAG(4, WIRE_BYTES):
				if (!wire_bytes(&wire, &content))
					return false;
				break;
			default:
				if (!wire_skip(&wire, tag, "Binlog", 4))
					return false;
		}
	}
	if (!has_type || !has_commit_ts)
		return decode_fail(d, DECODE_ERROR_MISSING, d->record, "record has no %s",
						   has_type ? "commit TS" : "type");
	if (type > 1)
		return decode_fail(d, DECODE_ERROR_VALUE, d->record, "unknown type of record %llu",
						   (unsigned long long) type);
	if (commit_ts == 0 || commit_ts > INT64_MAX)
		return decode_fail(d, DECODE_ERROR_VALUE, d->record, "commit TS %lld is out of range",
						   (long long) commit_ts);
	d->commit_ts = commit_ts;
	d->is_ddl = type == 1;
	return true;
}

/* Begin a record; false when it cannot be one. */
static bool
decoder_begin(Decoder *d, const void *record, size_t len, DecodeError *error)
{
	d->record = record;
	d->record_len = len;
	d->error = error;
	d->commit_ts = 0;
	d->is_ddl = false;
	d->stopped = false;
	d->skipping = false;
	d->sequence = 0;
	d->seen_len = 0;
	d->seen_at = 0;
	d->callback = NULL;
	memset(d->pb_tables, 0, sizeof(d->pb_tables));
	arena_reset(d->arena);
	arena_reset(d->row_arena);
	memset(error, 0, sizeof(*error));
	if (len == 0)
		return decode_fail(d, DECODE_ERROR_MISSING, record, "record is empty");
	if (len > UINT32_MAX)
		return decode_fail(d, DECODE_ERROR_MEMORY, record, "record of %zu bytes is too large", len);
	return walk_header(d);
}

/* The rows (field 3) or the statement (field 4) of a record, checked or delivered. */
static bool
walk_content(Decoder *d)
{
	Wire wire = {d->record, d->record + d->record_len, d};
	bool has_data = false;
	Wire content;
	uint32_t tag;
	bool (*walk)(Decoder * d, Wire wire);

	if (d->format == DECODER_PB_BINLOG)
		walk = d->is_ddl ? pb_binlog_walk_ddl : pb_binlog_walk_dml;
	else
		walk = d->is_ddl ? tidb_binlog_walk_ddl : tidb_binlog_walk_dml;
	while (wire.at < wire.end && !d->stopped)
	{
		const uint8_t *at = wire.at;

		if (!wire_tag(&wire, &tag))
			return false;
		if (tag != WIRE_TAG(3, WIRE_BYTES) && tag != WIRE_TAG(4, WIRE_BYTES))
		{
			if (!wire_skip(&wire, tag, "Binlog", 0))
				return false;
			continue;
		}
		if (!wire_bytes(&wire, &content))
			return false;
		if ((tag == WIRE_TAG(4, WIRE_BYTES)) != d->is_ddl || (has_data && d->is_ddl))
			return decode_fail(d, DECODE_ERROR_UNSUPPORTED, at,
							   "record has more than one statement, or rows with a statement");
		has_data = true;
		if (!walk(d, content))
			return false;
	}
	if (!has_data && !d->stopped)
		return decode_fail(d, DECODE_ERROR_MISSING, d->record,
						   "record has neither rows nor statement");
	return true;
}

static bool
decoder_walk(Decoder *d, bool checking)
{
	d->checking = checking;
	d->sequence = 0;
	d->skipping = false;
	memset(d->pb_tables, 0, sizeof(d->pb_tables));
	arena_reset(d->arena);
	return walk_content(d);
}

static void
fill_summary(const Decoder *d, DecodeSummary *summary, uint64_t rows)
{
	if (summary == NULL)
		return;
	summary->commit_ts = d->commit_ts;
	summary->is_ddl = d->is_ddl;
	summary->rows = rows;
}

DecodeResult
decoder_peek(Decoder *d, const void *record, size_t len, DecodeSummary *summary, DecodeError *error)
{
	if (!decoder_begin(d, record, len, error))
		return DECODE_FAILED;
	fill_summary(d, summary, 0);
	return DECODE_OK;
}

DecodeResult
decoder_validate(Decoder *d, const void *record, size_t len, DecodeSummary *summary,
				 DecodeError *error)
{
	if (!decoder_begin(d, record, len, error) || !decoder_walk(d, true))
		return DECODE_FAILED;
	fill_summary(d, summary, d->is_ddl ? 0 : d->sequence);
	return DECODE_OK;
}

DecodeResult
decoder_decode(Decoder *d, const void *record, size_t len, EventCallback callback, void *arg,
			   DecodeError *error)
{
	Event resolved = {.kind = EVENT_RESOLVED};

	if (!decoder_begin(d, record, len, error) || !decoder_walk(d, true))
		return DECODE_FAILED;
	d->callback = callback;
	d->arg = arg;
	if (!decoder_walk(d, false))
		return DECODE_FAILED; /* memory only: everything else was checked */
	if (d->stopped)
		return DECODE_STOPPED;
	resolved.commit_ts = d->commit_ts;
	resolved.sequence = d->sequence;
	resolved.offset = len;
	return callback(arg, &resolved) == EVENT_STOP ? DECODE_STOPPED : DECODE_OK;
}

bool
decoder_reserve_values(Decoder *d, int ncolumns)
{
	EventValue *values;

	if (ncolumns <= d->values_room)
		return true;
	ncolumns = (ncolumns + 63) & ~63;
	values = realloc(d->old_values, (size_t) ncolumns * sizeof(EventValue));
	if (values == NULL)
		return decoder_out_of_memory(d, d->record);
	d->old_values = values;
	values = realloc(d->new_values, (size_t) ncolumns * sizeof(EventValue));
	if (values == NULL)
		return decoder_out_of_memory(d, d->record);
	d->new_values = values;
	d->values_room = ncolumns;
	return true;
}

void
decoder_emit_row(Decoder *d, const void *at, EventRowKind kind, const EventTable *table)
{
	uint64_t sequence = d->sequence++;
	Event event;

	if (d->checking || d->skipping)
		return;
	memset(&event, 0, sizeof(event));
	event.kind = EVENT_ROW;
	event.commit_ts = d->commit_ts;
	event.sequence = sequence;
	event.offset = (size_t) ((const uint8_t *) at - d->record);
	event.row_kind = kind;
	event.table = table;
	event.old_values = kind != EVENT_INSERT ? d->old_values : NULL;
	event.new_values = kind != EVENT_DELETE ? d->new_values : NULL;
	switch (d->callback(d->arg, &event))
	{
		case EVENT_CONTINUE:
			break;
		case EVENT_SKIP_TABLE:
			d->skipping = true;
			break;
		case EVENT_STOP:
			d->stopped = true;
			break;
	}
}

void
decoder_emit_ddl(Decoder *d, const void *at, const Event *ddl)
{
	Event event = *ddl;

	event.kind = EVENT_DDL;
	event.commit_ts = d->commit_ts;
	event.sequence = d->sequence++;
	event.offset = (size_t) ((const uint8_t *) at - d->record);
	if (!d->checking && d->callback(d->arg, &event) == EVENT_STOP)
		d->stopped = true;
}

void
decoder_classify_column(EventColumn *column)
{
	static const char hidden[] = "_V$_";

	column->type = event_type_from_name(column->mysql_type.data, column->mysql_type.len);
	column->is_hidden = column->name.len >= sizeof(hidden) - 1 &&
						memcmp(column->name.data, hidden, sizeof(hidden) - 1) == 0;
}

const char *
event_row_kind_name(EventRowKind kind)
{
	switch (kind)
	{
		case EVENT_INSERT:
			return "insert";
		case EVENT_UPDATE:
			return "update";
		case EVENT_DELETE:
			return "delete";
	}
	return "unknown";
}
