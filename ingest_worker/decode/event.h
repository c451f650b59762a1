/*-------------------------------------------------------------------------
 *
 * event.h
 *		The one internal event model, and the interface of the decoders.
 *
 * A decoder turns the bytes of one record (a Kafka message, a record of
 * Drainer's files) into events and calls back once for each, in the order of
 * the record.  Whatever the protocol, the events look the same; where a
 * protocol does not carry something, the field that says so is named here.
 *
 * Nothing is copied: names, texts and byte strings are views into the
 * record's bytes.  A record of any size is delivered row by row with memory
 * for one table's description and one row's values.
 *
 * Nothing is half delivered: the whole record is checked before the first
 * event of it is delivered, so a malformed record yields an error and no
 * event.
 *
 * Compiles without PostgreSQL.  A callback may leave by longjmp (ereport):
 * the decoder holds nothing but its arena, and the next call starts afresh.
 *
 *
 * What the two forms of TiDB Binlog carry
 * ---------------------------------------
 *
 *							Kafka message			Drainer's file
 * columns of a row			all of the table		insert: all but generated ones;
 *													update: writable ones; delete: those
 *													of the stored row.  The list may
 *													change from row to row
 * generated columns		insert: STORED real,	not in updates
 *							VIRTUAL NULL; update:
 *							NULL in both images;
 *							delete: real
 * keys						unique_keys, PRIMARY	none: has_key_info is false and
 *							first					is_primary_key is false throughout
 * flen, decimal			Drainer from v5.4		no: has_length is false
 * DDL: table name			yes						no: it must come from the text
 * DDL: database			name in the message		from the leading "use `db`;", which
 *													is cut off; CREATE DATABASE has none
 * order of rows			by table				by table; rows of several descriptions
 *													of one table may alternate
 *
 * Match columns by name, never by position or count; never match rows by
 * generated columns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EVENT_H
#define EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view of bytes that are not terminated by zero; data may be NULL when len is 0. */
typedef struct EventSlice
{
	const char *data;
	size_t len;
} EventSlice;

/*
 * MySQL's types.  The decoders derive them from the type's name in the record.  The kind of a value
 * that is neither NULL nor absent follows from the type alone, for all protocols:
 *
 *	EVENT_TYPE_...				kind		content
 *	TINY SMALL MEDIUM INT BIG	INT64		signed column
 *								UINT64		unsigned column: the only mark of unsignedness in DML
 *	YEAR						INT64		0, 1901 .. 2155
 *	FLOAT						DOUBLE		widened from float: cast back
 *	DOUBLE						DOUBLE
 *	DECIMAL						TEXT		all digits, exact
 *	DATE DATETIME TIMESTAMP		TEXT		YYYY-MM-DD[ hh:mm:ss[.f]], zero and partial dates as they
 *											are; TIMESTAMP in the source's time zone
 *	TIME						TEXT		[-]hhh:mm:ss[.f]
 *	CHAR VARCHAR TEXT			TEXT		the bytes that TiDB has; UTF-8 in practice, not checked
 *	BINARY VARBINARY BLOB		BYTES
 *	BIT							UINT64		the integer value
 *	ENUM						UINT64		index from 1, 0 = the error value ''
 *	SET							UINT64		bitmap
 *	JSON						TEXT
 *	VECTOR						TEXT		as the source formats it
 *	OTHER						any			the kind that the record has, unchanged
 *
 * A BIT of more than 8 bytes, which MySQL does not have, is an error; so is a value that is not of
 * its column's type.
 */
typedef enum EventType
{
	EVENT_TYPE_OTHER = 0, /* a name that we do not know, geometry, null */
	EVENT_TYPE_TINY,
	EVENT_TYPE_SMALL,
	EVENT_TYPE_MEDIUM,
	EVENT_TYPE_INT,
	EVENT_TYPE_BIG,
	EVENT_TYPE_YEAR,
	EVENT_TYPE_FLOAT,
	EVENT_TYPE_DOUBLE,
	EVENT_TYPE_DECIMAL,
	EVENT_TYPE_DATE,
	EVENT_TYPE_DATETIME,
	EVENT_TYPE_TIMESTAMP,
	EVENT_TYPE_TIME,
	EVENT_TYPE_CHAR,
	EVENT_TYPE_VARCHAR, /* varchar, var_string */
	EVENT_TYPE_TEXT,	/* tinytext, text, mediumtext, longtext */
	EVENT_TYPE_BINARY,
	EVENT_TYPE_VARBINARY,
	EVENT_TYPE_BLOB, /* tinyblob, blob, mediumblob, longblob */
	EVENT_TYPE_BIT,
	EVENT_TYPE_ENUM,
	EVENT_TYPE_SET,
	EVENT_TYPE_JSON,
	EVENT_TYPE_VECTOR
} EventType;

#define EVENT_TYPE_IS_INTEGER(t) ((t) >= EVENT_TYPE_TINY && (t) <= EVENT_TYPE_BIG)

typedef enum EventValueKind
{
	EVENT_VALUE_ABSENT = 0, /* the row does not carry this column: unchanged, or its default */
	EVENT_VALUE_NULL,
	EVENT_VALUE_INT64,
	EVENT_VALUE_UINT64,
	EVENT_VALUE_DOUBLE,
	EVENT_VALUE_BYTES, /* data, len */
	EVENT_VALUE_TEXT /* data, len; not terminated by zero, may hold zero bytes and invalid UTF-8 */
} EventValueKind;

/* One value; 16 bytes.  data is a view into the record. */
typedef struct EventValue
{
	uint8_t kind; /* EventValueKind */
	uint32_t len; /* of data; 0 for the others */
	union
	{
		int64_t i64;
		uint64_t u64;
		double f64;
		const char *data;
	} u;
} EventValue;

typedef struct EventColumn
{
	EventSlice name;	   /* TiDB's spelling */
	EventSlice mysql_type; /* as in the record: lower case, no length, no "unsigned" */
	EventType type;
	bool is_primary_key;   /* part of the primary key; false where has_key_info is false */
	bool is_hidden;		   /* a column behind an expression index (_V$_...): to be dropped */
	bool is_unsigned_seen; /* integer column with an unsigned value in the rows of this description
							* (files: in this row or an earlier one): the column is UNSIGNED.
							* False says nothing when all values are NULL */
	bool is_signed_seen;   /* the same for a signed value */
	bool has_length;	   /* flen and decimal are in the record */
	int32_t flen;		   /* display length, -1 = not given */
	int32_t decimal;	   /* digits after the point, of the second for temporal types; -1 */
} EventColumn;

/* A primary key or unique index.  Unique keys over nullable columns are listed, too. */
typedef struct EventKey
{
	EventSlice name; /* "PRIMARY" for the primary key, else the index name */
	int ncolumns;
	const EventSlice *column_names;
	const int *columns; /* positions in EventTable.columns, -1 where the name is not among them */
} EventKey;

/*
 * The description of a row.  Valid until the callback returns.  Of one decoder, an equal serial
 * says that nothing changed, so what was looked up for it (by serial, not by address) still holds;
 * a serial is never used again for other content.  Serials begin at 1.
 *
 * Kafka: all rows of one description are delivered one after the other.  Files: each row brings its
 * own description; equal ones near each other get one serial, so a transaction that updates and
 * deletes by turns has two serials that alternate.
 */
typedef struct EventTable
{
	uint64_t serial;
	EventSlice database; /* TiDB's spelling; partitions have the name of their table */
	EventSlice table;
	int ncolumns;
	const EventColumn *columns;
	bool has_key_info; /* the protocol tells the keys: with nkeys 0 the table has none */
	int nkeys;
	const EventKey *keys; /* PRIMARY first */
} EventTable;

typedef enum EventKind
{
	EVENT_ROW,
	EVENT_DDL,
	EVENT_RESOLVED /* everything up to and including commit_ts was delivered.  TiDB Binlog: last
					* event of each record, also of one without rows */
} EventKind;

typedef enum EventRowKind
{
	EVENT_INSERT, /* new_values */
	EVENT_UPDATE, /* old_values and new_values; both always set in TiDB Binlog */
	EVENT_DELETE  /* old_values */
} EventRowKind;

/*
 * One event.  The struct and the arrays it points to are valid until the callback returns; the
 * bytes that slices and values point to are the record's own (with the exceptions that are named)
 * and valid as long as the record.
 */
typedef struct Event
{
	EventKind kind;
	uint64_t commit_ts; /* TiDB's TSO: milliseconds since 1970 << 18, plus a counter; never 0 */
	uint64_t sequence;	/* number of this event in its record, from 0: rows of one commit TS are
						 * applied in this order */
	size_t offset;		/* byte in the record where its row or statement begins, for messages */

	/* EVENT_ROW */
	EventRowKind row_kind;
	const EventTable *table;
	const EventValue *old_values; /* parallel to table->columns, or NULL */
	const EventValue *new_values; /* parallel to table->columns, or NULL */

	/* EVENT_DDL */
	bool has_database;		 /* the protocol tells the session's or the object's database */
	bool has_table_name;	 /* the protocol tells the table; false in files */
	EventSlice ddl_database; /* with the new name after a rename; copy it in the callback */
	EventSlice ddl_table;	 /* empty for DDL of a database; with the new name after a rename */
	EventSlice ddl_text;	 /* the statement, with no or one trailing ';' */
} Event;

/* What the decoder shall do next. */
typedef enum EventAction
{
	EVENT_CONTINUE = 0,
	EVENT_SKIP_TABLE, /* deliver no more rows of this event's table as long as no other table's row
					   * comes between; for rows only */
	EVENT_STOP		  /* deliver nothing more: decoder_decode returns DECODE_STOPPED */
} EventAction;

typedef EventAction (*EventCallback)(void *arg, const Event *event);

/* ------------------------------------------------------------------------
 * Decoders
 * ------------------------------------------------------------------------
 */

typedef enum DecoderFormat
{
	DECODER_TIDB_BINLOG, /* Kafka: secondary binlog, one message is one transaction or DDL */
	DECODER_PB_BINLOG	 /* Drainer's files: payload of one record (see pb_frame.h) */
} DecoderFormat;

typedef enum DecodeErrorCode
{
	DECODE_ERROR_NONE = 0,
	DECODE_ERROR_TRUNCATED, /* the record ends inside a field, or a length points beyond its end */
	DECODE_ERROR_WIRE,		/* not protobuf: field number 0, group or unknown wire type, overlong
							  * varint, a known field with another wire type */
	DECODE_ERROR_MISSING, /* a field that every record has is not there: wrong topic or protocol */
	DECODE_ERROR_VALUE,	  /* a value out of range: unknown type of record or mutation, commit TS
							  * 0, number of values differs from the number of columns, bad datum */
	DECODE_ERROR_UNSUPPORTED, /* well-formed, but nothing that Drainer sends */
	DECODE_ERROR_MEMORY		  /* out of memory, or a record over 4 GiB */
} DecodeErrorCode;

/*
 * Texts are in PostgreSQL's style: lower case, no full stop; hint and detail are sentences or
 * empty. The caller adds where the record came from (topic, partition, offset; file, byte).
 */
typedef struct DecodeError
{
	DecodeErrorCode code;
	size_t offset; /* byte in the record */
	char message[160];
	char detail[320];
	char hint[240];
} DecodeError;

typedef enum DecodeResult
{
	DECODE_OK,
	DECODE_STOPPED, /* the callback returned EVENT_STOP */
	DECODE_FAILED	/* *error is filled; no event was delivered (after DECODE_ERROR_MEMORY some may
					 * have been: abandon the transaction) */
} DecodeResult;

/* What decoder_peek and decoder_validate find. */
typedef struct DecodeSummary
{
	uint64_t commit_ts;
	bool is_ddl;
	uint64_t rows; /* by decoder_validate only: row events in the record */
} DecodeSummary;

typedef struct Decoder Decoder;

/* NULL when out of memory.  A decoder is used by one thread at a time, for many records. */
extern Decoder *decoder_create(DecoderFormat format);

/* Accepts NULL. */
extern void decoder_destroy(Decoder *decoder);

/*
 * The commit TS and kind of a record, from its outermost fields only: cheap at any size, made for
 * skipping what was applied before.
 */
extern DecodeResult decoder_peek(Decoder *decoder, const void *record, size_t len,
								 DecodeSummary *summary, DecodeError *error);

/* Check every byte that decoder_decode would read; delivers nothing.  summary may be NULL. */
extern DecodeResult decoder_validate(Decoder *decoder, const void *record, size_t len,
									 DecodeSummary *summary, DecodeError *error);

/*
 * Check the whole record, then deliver its events: the rows or the DDL statement, then
 * EVENT_RESOLVED.  The record's bytes must stay unchanged until this returns.
 */
extern DecodeResult decoder_decode(Decoder *decoder, const void *record, size_t len,
								   EventCallback callback, void *arg, DecodeError *error);

/* Memory held by the decoder, in bytes, for accounting. */
extern size_t decoder_memory(const Decoder *decoder);

/* The type of a mysql_type text; EVENT_TYPE_OTHER when it is not known.  Lower case expected. */
extern EventType event_type_from_name(const char *name, size_t len);

/* "insert", "update", "delete". */
extern const char *event_row_kind_name(EventRowKind kind);

#endif /* EVENT_H */
