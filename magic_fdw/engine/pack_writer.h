/*
 * pack_writer.h
 *		What the files of the pack writer share: buffered columns and the output buffer.
 *
 * pack_writer.c buffers rows, pack_encode.c makes a pack of them, the other
 * pack_encode_*.c make the chunks of a column, pack_tiny.c the row-wise form.
 */
#ifndef MAGIC_PACK_WRITER_H
#define MAGIC_PACK_WRITER_H

#include "engine/pack_format.h"

/* One attribute of the buffered rows. */
typedef struct WriterColumn
{
	PackClass klass;
	PackOrder order;
	int16 attlen;
	bool byval;
	bool dropped;
	bool packable; /* varlenas may have the short header */

	Datum *values;		/* by-reference ones point into the arena; those of nulls mean nothing */
	uint8 *nulls;		/* 1: null */
	bool scaled;		/* numeric: the values are not datums but integers times 10^-scale */
	int scale;			/* of them, and of the last pack's; -1: not known yet */
	uint32 added_nulls; /* in the rows that are being appended */
	uint32 null_count;
	uint64 bytes;	/* payload bytes of by-reference values */
	uint32 longest; /* longest payload */

	/* learnt from earlier packs, never wrong only less good */
	bool no_dict;			  /* dictionaries did not pay */
	bool no_codec;			  /* compression did not pay */
	bool no_scale;			  /* values did not have one scale */
	int packs_since;		  /* packs since either was tried */
	struct FsstEncoder *fsst; /* made for an earlier pack */
	MemoryContext fsst_cxt;	  /* of it */
	double fsst_ratio;		  /* that it had there */
} WriterColumn;

/* Room that is kept from column to column and from pack to pack. */
typedef struct PackRoom
{
	void *data;
	Size size;
} PackRoom;

struct PackWriter
{
	MemoryContext parent;
	MemoryContext context; /* everything but what follows */
	MemoryContext arena;   /* large by-reference values, reset with the rows */
	MemoryContext scratch; /* during finish */

	struct ArenaPiece *pieces; /* by-reference values; kept when the rows are forgotten */
	struct ArenaPiece *piece;  /* that is being filled; NULL: none yet */
	char *arena_next;		   /* bump allocation inside it */
	Size arena_left;
	Size arena_bytes; /* taken from the arena */

	PackRoom integers;	/* during finish: a column's integers or codes */
	PackRoom strings;	/* during finish: a column's byte strings */
	uint64 last_length; /* of the last pack */

	int natts;
	WriterColumn *columns;
	char *arrays; /* the columns' values and nulls */
	uint32 nrows;
	uint32 room; /* rows the arrays have room for */
	uint32 next_position;
	uint32 *positions; /* allocated at the first hole; NULL: index == position */
};

/* A growing byte string, unlimited by 1 GB. */
typedef struct PackBuffer
{
	uint8 *data;
	uint64 length;
	uint64 room;
	MemoryContext context;
} PackBuffer;

extern void pack_buffer_init(PackBuffer *buffer, MemoryContext context, uint64 room);
extern void pack_buffer_grow(PackBuffer *buffer, uint64 extra);

/* Appends `length` bytes for the caller to fill (zeroed if `zero`); returns where they start. */
static inline uint8 *
pack_buffer_extend(PackBuffer *buffer, uint64 length)
{
	uint8 *at;

	if (buffer->room - buffer->length < length)
		pack_buffer_grow(buffer, length);
	at = buffer->data + buffer->length;
	buffer->length += length;
	return at;
}

static inline void
pack_buffer_append(PackBuffer *buffer, const void *bytes, uint64 length)
{
	if (length > 0)
		memcpy(pack_buffer_extend(buffer, length), bytes, length);
}

static inline void
pack_buffer_zero(PackBuffer *buffer, uint64 length)
{
	if (length > 0)
		memset(pack_buffer_extend(buffer, length), 0, length);
}

/*
 * Values of a column lie rows apart in the arena, each in a cache line of its own: who reads them in row order
 * asks for one some rows ahead.
 */
#define PACK_PREFETCH_ROWS 24

static inline void
pack_prefetch_value(const WriterColumn *column, uint32 row, uint32 nrows)
{
	if (row + PACK_PREFETCH_ROWS < nrows)
		__builtin_prefetch(DatumGetPointer(column->values[row + PACK_PREFETCH_ROWS]));
}

extern void pack_buffer_align(PackBuffer *buffer, int alignment);

/* Payload of a by-reference value of a class: no header, no terminator. */
static inline PackString
pack_value_bytes(PackClass klass, int16 attlen, Datum value)
{
	PackString bytes;
	char *pointer = DatumGetPointer(value);

	switch (klass)
	{
		case PACK_CLASS_FIXED:
			bytes.data = (const uint8 *) pointer;
			bytes.length = attlen;
			break;
		case PACK_CLASS_CSTRING:
			bytes.data = (const uint8 *) pointer;
			bytes.length = strlen(pointer);
			break;
		default:
			bytes.data = (const uint8 *) VARDATA_ANY(pointer);
			bytes.length = VARSIZE_ANY_EXHDR(pointer);
			break;
	}
	return bytes;
}

/* A by-value datum as the integer that is stored: of attlen bytes, signed unless UINT. */
static inline int64
pack_datum_int(PackClass klass, int16 attlen, Datum value)
{
	switch (attlen)
	{
		case 1:
			return klass == PACK_CLASS_UINT ? (int64) (uint8) value : (int64) (int8) value;
		case 2:
			return klass == PACK_CLASS_UINT ? (int64) (uint16) value : (int64) (int16) value;
		case 4:
			return klass == PACK_CLASS_UINT ? (int64) (uint32) value : (int64) (int32) value;
		default:
			return (int64) value;
	}
}

/* pack_writer.c */
extern void *pack_room(PackWriter *writer, PackRoom *room, Size size);
extern void pack_writer_unscale(PackWriter *writer, WriterColumn *column, uint32 nrows);
extern PackClass pack_classify(Oid base_type, int16 attlen, bool byval, PackOrder *order);

/* pack_encode.c */
extern void pack_encode(PackWriter *writer, uint32 span, PackBuffer *out);
extern void pack_pad_for(PackBuffer *out, uint64 length);
extern uint32 pack_crc(const void *data, uint64 length);

/*
 * Makers of chunks.  Each appends the chunk to `out`, which starts at column->offset, and fills
 * in column except offset, length and checksums.  `directory` is the zeroed block directory, to
 * be filled; it is written by the caller.  Offsets are relative to the chunk.
 */

/*
 * Integers; `values` has nrows elements, null ones are overwritten.  `floats`: the bits of
 * floats.
 */
typedef struct IntChunk
{
	int64 *values;
	const uint8 *nulls;
	uint32 nrows;
	uint32 null_count;
	int64 step;
} IntChunk;

extern void pack_encode_ints(PackBuffer *out, PackColumn *column, PackBlock *directory,
							 const IntChunk *chunk);
extern void pack_encode_floats(PackBuffer *out, PackColumn *column, PackBlock *directory,
							   const IntChunk *chunk);
extern void pack_encode_wide(PackBuffer *out, PackColumn *column, PackBlock *directory,
							 const int128 *values, const uint8 *nulls, uint32 nrows,
							 uint32 null_count);
extern void pack_fill_nulls(int64 *values, const uint8 *nulls, uint32 nrows);
extern int64 pack_common_step(const int64 *values, uint32 nrows);
extern uint32 pack_write_validity(PackBuffer *out, const uint8 *nulls, int n);
extern void pack_write_codes(PackBuffer *out, const int64 *values, int n, int64 base, int width);

/* Byte strings of one column; null rows have length 0. */
extern void pack_encode_bytes(PackWriter *writer, WriterColumn *source, PackBuffer *out,
							  PackColumn *column, PackBlock *directory);

/* First 8 bytes, the low ones first, zeros behind a shorter string's. */
static inline uint64
pack_string_head(PackString string)
{
	uint64 word;

	if (unlikely(string.length == 0))
		return 0;
	/* behind a value in the writer's memory 8 bytes may be read */
	word = pack_load_word(string.data);
	return string.length >= 8 ? word : word & ~(~UINT64CONST(0) << (8 * string.length));
}

/* memcmp() order, shorter first. */
static inline int
pack_string_compare(const PackString *a, const PackString *b)
{
	int order = memcmp(a->data, b->data, Min(a->length, b->length));

	if (order != 0)
		return order;
	return a->length < b->length ? -1 : a->length > b->length;
}

/* pack_encode_dict.c: false if a dictionary does not pay; nothing is appended then */
extern bool pack_encode_dict(PackWriter *writer, const WriterColumn *source, PackBuffer *out,
							 PackColumn *column, PackBlock *directory);
extern void pack_set_byte_range(PackColumn *column, PackString min, PackString max);

/* pack_encode_numeric.c: false if the column is better stored as bytes; nothing is appended then */
extern bool pack_encode_numeric(PackWriter *writer, WriterColumn *source, PackBuffer *out,
								PackColumn *column, PackBlock *directory);

/* pack_tiny.c */
#define PACK_TINY_ROWS 64
#define PACK_TINY_BYTES 8192
extern bool pack_encode_tiny(PackWriter *writer, uint32 span, PackBuffer *out);

#endif /* MAGIC_PACK_WRITER_H */
