/*-------------------------------------------------------------------------
 *
 * pb_frame.h
 *		Framing, names and order of Drainer's binlog files.
 *
 * A file is a row of records and nothing else:
 *
 *		magic	 4 bytes	uint32, little-endian, 0x1C1B0504 (04 05 1b 1c)
 *		size	 8 bytes	uint64, little-endian, length of the payload
 *		payload	 size bytes	one protobuf message, pb_binlog.Binlog
 *		crc		 4 bytes	uint32, little-endian, CRC-32C of the payload
 *
 * These functions work on a window of bytes that the caller has read or
 * mapped; they do no I/O, keep no state and allocate nothing.
 *
 * Compiles without PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PB_FRAME_H
#define PB_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PB_RECORD_MAGIC 0x1C1B0504u
#define PB_RECORD_HEADER 12	  /* magic and size */
#define PB_RECORD_OVERHEAD 16 /* magic, size and CRC */

/* The largest payload that is believed: a size beyond it is damage, not a wait for more. */
#define PB_RECORD_MAX_PAYLOAD ((uint64_t) 0x7fffffff)

typedef enum PbRecordResult
{
	PB_RECORD_OK,		 /* *record is filled */
	PB_RECORD_NEED_MORE, /* the window ends inside the record: record->frame_len bytes are needed */
	PB_RECORD_CORRUPT	 /* record->problem says what, record->problem_at where */
} PbRecordResult;

typedef enum PbRecordProblem
{
	PB_PROBLEM_NONE = 0,
	PB_PROBLEM_MAGIC, /* no magic number where a record must begin */
	PB_PROBLEM_SIZE,  /* payload larger than PB_RECORD_MAX_PAYLOAD */
	PB_PROBLEM_CRC	  /* the payload's CRC differs from the one behind it */
} PbRecordProblem;

typedef struct PbRecord
{
	const char *payload; /* a view into the window; NULL unless PB_RECORD_OK or PB_PROBLEM_CRC */
	size_t payload_len;
	uint64_t frame_len; /* PB_RECORD_OK, PB_PROBLEM_CRC: bytes of the whole record, to be consumed.
						 * PB_RECORD_NEED_MORE: bytes the window must have, from the same start,
						 * before the next attempt can get further: 12 to see the header, then the
						 * whole record */
	PbRecordProblem problem;
	uint64_t problem_at;   /* byte in the window */
	uint32_t stored_crc;   /* PB_PROBLEM_CRC */
	uint32_t computed_crc; /* PB_PROBLEM_CRC */
} PbRecord;

/*
 * The record at the start of the window.
 *
 * An empty window gives PB_RECORD_NEED_MORE.  At the end of the newest file NEED_MORE means:
 * Drainer is writing, wait.  At the end of a file that has a successor it means a torn record:
 * Drainer was killed there and wrote on in the next file, or the file was cut; pb_problem_text has
 * no word for that, since only the caller knows of the successor.
 *
 * A file begins with a record.  Wrong first bytes are reported as soon as they are seen, so a file
 * of another kind never looks like an incomplete record.
 */
extern PbRecordResult pb_record_next(const void *window, size_t len, PbRecord *record);

/*
 * The first place at or after from where the magic number stands, or len when there is none.  Three
 * bytes at the end that could be its beginning are not reported.  For finding out how much of a
 * damaged file can be read; a hit inside a payload is possible, so check the record.
 */
extern size_t pb_record_scan(const void *window, size_t len, size_t from);

/* What is wrong, in PostgreSQL's message style ("record has a wrong CRC"); never NULL. */
extern const char *pb_problem_text(PbRecordProblem problem);

/* CRC-32C (Castagnoli) of len bytes; 0 for none. */
extern uint32_t pb_crc32c(const void *data, size_t len);

/* ------------------------------------------------------------------------
 * Names: binlog-<index, 16 digits>[-<YYYYMMDDhhmmss>]
 * ------------------------------------------------------------------------
 */

typedef struct PbFileName
{
	uint64_t index;
	uint64_t time; /* YYYYMMDDhhmmss as a decimal number, in Drainer's local zone; 0 when absent */
} PbFileName;

/*
 * Parse the base name of a file in Drainer's directory.  False for everything that is not a binlog
 * file: .lock, savepoint, *.tmp, *checkpoint, packed old files (*.tar.gz), whatever else lies
 * there. Skip such files silently.
 */
extern bool pb_file_name_parse(const char *name, PbFileName *parsed);

/* Order of the stream: by index, then by time; <0, 0, >0 as strcmp. */
extern int pb_file_name_compare(const PbFileName *a, const PbFileName *b);

/*
 * May b follow a directly?  True when the index is one higher.  False says that a file between them
 * is missing (removed by Drainer's retention, or not copied), or that two files have one index.
 */
extern bool pb_file_name_follows(const PbFileName *a, const PbFileName *b);

#endif /* PB_FRAME_H */
