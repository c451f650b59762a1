/*
 * source.h
 *		Where a feed's bytes come from: one interface, two sources (kafka.c, file.c).
 *
 * A source delivers records in order, from a position on. It never skips bytes by itself, keeps no
 * state of its own between runs and never waits: source_next() returns at once, and the worker
 * sleeps on its latch and on source_wait_fd(). Positions are text for the table and the user:
 * Kafka "OFFSET", files "NAME:BYTE"; both name the next byte to read.
 *
 * Errors are filled in, not raised: the worker decides between a retry and a rest by `retry`.
 * No function here touches the database.
 */
#ifndef SOURCE_H
#define SOURCE_H

#include "postgres.h"

#include "feed/feed.h"

#define SOURCE_TEXT_LEN 1024
#define SOURCE_NAME_LEN 256

/* A place between two records. */
typedef struct SourcePosition
{
	char file[SOURCE_NAME_LEN]; /* file name inside the directory; "" for Kafka */
	int64 offset;				/* Kafka: offset of the next message; file: byte in `file`.
								 * -1 = before everything */
} SourcePosition;

/* One record. What the pointers show belongs to the source until source_release(). */
typedef struct SourceRecord
{
	const char *topic;	 /* for files the directory */
	int32 partition;	 /* 0 for files */
	SourcePosition at;	 /* the record's own position */
	SourcePosition next; /* the position after it: what to store once it is applied */
	int64 timestamp_ms;	 /* Kafka: the message's timestamp; file: first sight; 0 = unknown */
	const uint8 *key;	 /* NULL if there is none */
	size_t key_len;
	const uint8 *value; /* the payload: Kafka value, or the protobuf inside a file record */
	size_t value_len;
	uint32 crc;	 /* CRC-32C of the value */
	void *owner; /* the source's handle */
} SourceRecord;

typedef struct SourceError
{
	bool retry; /* true: try again later (broker down); false: rest in `error` */
	int sqlstate;
	char message[SOURCE_TEXT_LEN];
	char detail[SOURCE_TEXT_LEN]; /* "" = none */
	char hint[SOURCE_TEXT_LEN];	  /* "" = none */
} SourceError;

typedef enum SourceResult
{
	SOURCE_RECORD, /* *record is filled in */
	SOURCE_EMPTY,  /* nothing now */
	SOURCE_FAILED  /* *error is filled in */
} SourceResult;

/* What the worker knows about the last applied message, to be compared with the source at start. */
typedef struct SourceEvidence
{
	bool known;
	SourcePosition at;
	uint32 crc;
	int64 commit_ts;
} SourceEvidence;

typedef struct SourceConfig
{
	const FeedUri *uri;
	SourcePosition start; /* offset -1 = the beginning of what the source has */
	SourceEvidence evidence;
	bool ignore_gaps;	/* on_gap = ignore */
	int64 memory_limit; /* bytes that fetching ahead may hold */
} SourceConfig;

typedef struct Source Source;

typedef struct SourceMethods
{
	SourceResult (*next)(Source *source, SourceRecord *record, SourceError *error);
	void (*release)(Source *source, SourceRecord *record);
	bool (*end)(Source *source, SourcePosition *end, SourceError *error);
	bool (*reached)(Source *source, const SourcePosition *end);
	bool (*drained)(Source *source);
	const char *(*trouble)(Source *source);
	int64 (*distance)(Source *source, const SourcePosition *from);
	int (*wait_fd)(Source *source);
	void (*clear_fd)(Source *source);
	void (*close)(Source *source);
} SourceMethods;

struct Source
{
	const SourceMethods *methods;
};

/* NULL and *error on failure. The result lives in malloc'd memory or CurrentMemoryContext. */
extern Source *source_open(const SourceConfig *config, SourceError *error);

/* The next record, or SOURCE_EMPTY. At most one record is held at a time. */
static inline SourceResult
source_next(Source *source, SourceRecord *record, SourceError *error)
{
	return source->methods->next(source, record, error);
}

static inline void
source_release(Source *source, SourceRecord *record)
{
	source->methods->release(source, record);
}

/* Where the source ends now (a call to the broker, at most some seconds): for wait_for 'end'. */
static inline bool
source_end(Source *source, SourcePosition *end, SourceError *error)
{
	return source->methods->end(source, end, error);
}

/*
 * After SOURCE_EMPTY: has everything before `end` been given out? Bytes that never become a record
 * (marks of Kafka's transactions, a record that is being written) count as given out once seen.
 */
static inline bool
source_reached(Source *source, const SourcePosition *end)
{
	return source->methods->reached(source, end);
}

/*
 * After SOURCE_EMPTY: is that the end of the source as far as is known, or has fetching ahead only
 * not kept up?
 */
static inline bool
source_drained(Source *source)
{
	return source->methods->drained(source);
}

/* Why nothing comes at present (no broker answers), NULL if all is well; may ask the broker. */
static inline const char *
source_trouble(Source *source)
{
	return source->methods->trouble(source);
}

/* Messages (Kafka) or bytes (files) between `from` and the end as last known; -1 = not known. */
static inline int64
source_distance(Source *source, const SourcePosition *from)
{
	return source->methods->distance(source, from);
}

/* A file descriptor that becomes readable when a record may be there; -1 = poll. */
static inline int
source_wait_fd(Source *source)
{
	return source->methods->wait_fd(source);
}

/* Empties the descriptor of source_wait_fd; call before source_next. */
static inline void
source_clear_fd(Source *source)
{
	source->methods->clear_fd(source);
}

static inline void
source_close(Source *source)
{
	source->methods->close(source);
}

/* < 0, 0, > 0: order of two positions of one source. */
extern int source_position_compare(const SourcePosition *a, const SourcePosition *b);
/* Palloc'd text, NULL for "before everything". */
extern char *source_position_to_text(const SourcePosition *position);
/* Reads what source_position_to_text wrote (NULL too); false if it is malformed. */
extern bool source_position_from_text(FeedSourceKind kind, const char *text,
									  SourcePosition *position);

#endif /* SOURCE_H */
