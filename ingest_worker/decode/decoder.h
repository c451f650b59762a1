/*-------------------------------------------------------------------------
 *
 * decoder.h
 *		What the decoders of the protocols share; private to decode/.
 *
 * A protocol is one function that walks a record.  It is called twice: first
 * to check (checking is true), when it does everything but call back, then to
 * deliver.  Both go through the same code, so what passed the check cannot
 * fail in delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DECODER_H
#define DECODER_H

#include "decode/arena.h"
#include "decode/event.h"
#include "decode/wire.h"

/*
 * More than TiDB allows (4,096 columns, 512 indexes of 16 columns at the most that its settings
 * permit), so that a hostile record cannot make us allocate many times its size.
 */
#define DECODE_MAX_COLUMNS 8192
#define DECODE_MAX_KEYS 2048
#define DECODE_MAX_KEY_COLUMNS 16384

/* Bits of Decoder.seen, one byte for each column of each table. */
#define SEEN_SIGNED 1
#define SEEN_UNSIGNED 2

/* One column of one row in a file's record. */
typedef struct PbColumn
{
	EventSlice name;
	EventSlice mysql_type;
	EventSlice value;
	EventSlice changed_value;
	bool has_value;
	bool has_changed_value;
} PbColumn;

/* A description made from a row of a file's record, kept for the rows after it. */
typedef struct PbTable
{
	EventTable table;
	EventColumn *columns; /* table.columns, writable */
} PbTable;

/* Descriptions of one record that are remembered: insert, update, delete, old and new schema. */
#define PB_TABLE_CACHE 8

struct Decoder
{
	DecoderFormat format;

	/* the record at hand */
	const uint8_t *record;
	size_t record_len;
	bool checking;
	bool stopped;
	bool skipping; /* EVENT_SKIP_TABLE was returned for the table at hand */
	EventCallback callback;
	void *arg;
	uint64_t commit_ts;
	bool is_ddl;
	uint64_t sequence; /* of the next event */
	DecodeError *error;

	uint64_t serial;  /* of the newest EventTable */
	Arena *arena;	  /* descriptions: reset for each Kafka table, each file record */
	Arena *row_arena; /* what of a row is not a view: reset for each row */

	/* Values of the row at hand; room for values_room columns each. */
	EventValue *old_values;
	EventValue *new_values;
	int values_room;

	/*
	 * tidb_binlog: for each column of each table in the record, the SEEN_ bits that the check
	 * found, so that the delivery can tell them with the first row.
	 */
	uint8_t *seen;
	size_t seen_len;
	size_t seen_room;
	size_t seen_at; /* delivery: of the next table */

	/* pb_binlog */
	PbColumn *pb_columns; /* of the row at hand */
	int pb_columns_room;
	PbTable *pb_tables[PB_TABLE_CACHE]; /* the most recently used first */
};

/* tidb_binlog.c, pb_binlog.c: walk a record's rows or its statement; d->commit_ts is known. */
extern bool tidb_binlog_walk_dml(Decoder *d, Wire wire);
extern bool tidb_binlog_walk_ddl(Decoder *d, Wire wire);
extern bool pb_binlog_walk_dml(Decoder *d, Wire wire);
extern bool pb_binlog_walk_ddl(Decoder *d, Wire wire);

/* datum.c: one encoded datum as it came, before it is normalised; at is for errors. */
extern bool datum_read(Decoder *d, const EventColumn *column, EventSlice datum, EventValue *value);

/* Make room for the values of ncolumns columns. */
extern bool decoder_reserve_values(Decoder *d, int ncolumns);

/* Report that there is no memory; always false. */
extern bool decoder_out_of_memory(Decoder *d, const void *at);

/* Deliver a row (its values are the decoder's) or a statement; nothing when checking. */
extern void decoder_emit_row(Decoder *d, const void *at, EventRowKind kind,
							 const EventTable *table);
extern void decoder_emit_ddl(Decoder *d, const void *at, const Event *ddl);

/* Fill type and is_hidden from name and mysql_type. */
extern void decoder_classify_column(EventColumn *column);

/* value.c: bring a value to the kind of its column's type; slow path of value_normalise. */
extern bool value_convert(Decoder *d, const EventColumn *column, EventValue *value, const void *at);

/* The kind of each type's values; ABSENT = as it comes.  Integers have two: INT64 stands here. */
extern const uint8_t value_kind_of_type[EVENT_TYPE_VECTOR + 1];

static inline void
value_set_slice(EventValue *value, EventValueKind kind, EventSlice slice)
{
	value->kind = (uint8_t) kind;
	value->len = (uint32_t) slice.len;
	value->u.data = slice.data;
}

/*
 * Bring a value as it came (kind ABSENT: no value field, not NULL) to the kind of its column's
 * type, and note what it tells of the column's sign.
 */
static inline bool
value_normalise(Decoder *d, EventColumn *column, EventValue *value, const void *at)
{
	uint8_t want = value_kind_of_type[column->type];
	bool as_wanted;

	if (value->kind == EVENT_VALUE_NULL)
		return true;
	if (value->kind == EVENT_VALUE_UINT64 && EVENT_TYPE_IS_INTEGER(column->type))
		as_wanted = true;
	else
		as_wanted = value->kind == want && want != EVENT_VALUE_ABSENT;
	if (!as_wanted && !value_convert(d, column, value, at))
		return false;
	if (want == EVENT_VALUE_INT64)
	{
		if (value->kind == EVENT_VALUE_INT64)
			column->is_signed_seen = true;
		else
			column->is_unsigned_seen = true;
	}
	return true;
}

#endif /* DECODER_H */
