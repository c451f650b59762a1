/*
 * pack_reader.h
 *		What the files of the pack reader share.
 *
 * pack_reader.c opens packs and columns and checks what they claim, pack_decode.c decodes blocks
 * of integers and gives datums and vectors, pack_single.c single integers, pack_decode_numeric.c does numerics,
 * pack_decode_bytes.c byte strings, pack_tiny.c the row-wise form; pack_verify.c checks everything.
 *
 * Nothing read from the pack is trusted: every offset, length, count, width and code is compared
 * with what holds it before use, and pack_corrupt() is raised where it does not fit.
 */
#ifndef MAGIC_PACK_READER_H
#define MAGIC_PACK_READER_H

#include "engine/pack_format.h"

/* What a column's whole-block buffers now hold. */
#define NO_BLOCK (-1)

typedef struct KeptFrame KeptFrame;

typedef struct ReaderColumn
{
	int att;
	int16 attlen;
	bool byval;
	bool packable; /* varlena that may have a short header */

	bool constant; /* missing, dropped or all null: `value` for each row */
	Datum value;
	bool isnull;

	PackColumn d;
	PackBlock *blocks;

	/* the bytes of one block, in place or in scratch */
	int fetched; /* block, or NO_BLOCK */
	const uint8 *payload;
	int touched; /* block that single values were read from last, or NO_BLOCK */
	uint8 *scratch;
	uint64 scratch_room;

	/* validity of the block decoded last */
	uint64 valid[PACK_BITMAP_WORDS];

	/* decoded codes, 8 bytes each at most (wide: 16), and a second buffer of 8 bytes each */
	uint8 *codes;
	uint8 *temporary;

	/* integers widened for single reads of blocks that cannot be indexed */
	int widened; /* block, or NO_BLOCK */
	int64 *integers;

	/* numeric: exceptions; images of small codes */
	uint32 *exception_index;
	uint16 *exception_rows; /* of the block read last */
	Datum *exceptions;
	uint8 *images;	   /* PACK_NUMERIC_STRIDE64 or ..128 each */
	int images_width;  /* images of the codes of this width ... */
	int64 images_base; /* ... over this base; 0: none */

	/* byte strings */
	PackDictionary dict;
	Datum *dict_datums;
	PackFrame *frames;
	struct FsstTable *symbols; /* with `frames` */
	uint8 *decoded;			   /* strings decoded with them */
	uint64 decoded_room;
	int64 frame; /* number of the frame in frame_bytes; -1: none */
	uint8 *frame_bytes;
	uint64 frame_room;
	KeptFrame **kept; /* decompressed frames by number, see pack_frames.c; or NULL */
	int measured;	  /* block whose lengths are in `lengths`, or NO_BLOCK */
	uint32 *lengths;
	PackString *strings;
	uint8 *bytes; /* bytes of a block that has several frames */
	uint64 bytes_room;
	uint8 *datums; /* by-reference datums of a block */
	uint64 datums_room;
} ReaderColumn;

struct PackReader
{
	PackSource *source;
	TupleDesc desc;
	MemoryContext context;
	uint32 nrows;
	uint32 span;
	uint32 nblocks;
	uint32 natts; /* in the pack; desc may have more */
	bool tiny;
	PackHeader header;
	ReaderColumn **columns; /* desc->natts, opened at first use */
	uint8 *scratch;			/* header stream */
	uint64 scratch_room;

	/* see pack_frames.c */
	bool keeps_frames;
	uint32 frames_kept;

	/* positions, loaded at first use unless dense */
	bool live_loaded;
	uint64 *live;  /* bitmap */
	uint32 *ranks; /* rows before each word of the bitmap */
	uint32 *list;  /* or the positions */

	/* row-wise packs: attribute after attribute, nrows each */
	uint8 *tiny_classes; /* PackClass */
	Datum *tiny_values;
	bool *tiny_nulls;
};

extern void pack_corrupt(int att, const char *problem) pg_attribute_noreturn();

/* Fetches from a stream by way of a buffer that grows as needed. */
extern const uint8 *pack_fetch(PackReader *reader, int stream, uint64 offset, uint64 length,
							   uint8 **scratch, uint64 *room);

/* Room for one value, aligned. */
extern uint8 *pack_buffer_room(PackDatumBuffer *buffer, uint64 needed);

/* Grows a buffer in the reader's context; its contents are lost. */
extern void pack_reserve(PackReader *reader, uint8 **buffer, uint64 *room, uint64 needed);

/* Whether a stored checksum is right.  Tests of damaged packs switch this off, to get behind it. */
#ifdef PACK_FUZZING
extern bool pack_fuzzing;
#define crc_matches(stored, data, length) (pack_fuzzing || (stored) == pack_crc(data, length))
#else
#define crc_matches(stored, data, length) ((stored) == pack_crc(data, length))
#endif

/* The opened column, checked. */
extern ReaderColumn *pack_open_column(PackReader *reader, int att);

static inline ReaderColumn *
pack_column(PackReader *reader, int att)
{
	ReaderColumn *column = reader->columns[att];

	return likely(column != NULL) ? column : pack_open_column(reader, att);
}

/* pack_decode.c: a block's integers */
typedef struct PackInts
{
	int lane;
	void *codes; /* column->codes, or NULL with lane 0 */
	int64 base;
	int64 step;
	int nulls;
} PackInts;

/* The bytes of a block behind its validity, which is read to column->valid; sets what is left. */
extern const uint8 *pack_block_payload(PackReader *reader, ReaderColumn *column, int block, int n,
									   uint32 *left);
extern void pack_decode_ints(PackReader *reader, ReaderColumn *column, int block, PackInts *out);

extern void pack_fetch_block(PackReader *reader, ReaderColumn *column, int block);
extern void pack_take_validity(ReaderColumn *column, const PackBlock *entry, const uint8 *bytes,
							   int n);
extern const uint8 *pack_read_runs(ReaderColumn *column, const uint8 *payload, uint32 left,
								   int width, int n, uint16 *lengths, uint64 *count);
extern double pack_read_divisor(const ReaderColumn *column, const uint8 *bytes);

/* Bytes of the validity bitmap of n rows. */
static inline uint32
pack_validity_bytes(int n)
{
	return (n + 63) / 64 * sizeof(uint64);
}

/* pack_single.c: a row's integer; pack_touch_block() first, then parts */
extern bool pack_touch_block(ReaderColumn *column, int block);
extern const uint8 *pack_block_part(PackReader *reader, ReaderColumn *column, int block,
									uint32 offset, uint64 length);
extern uint32 pack_single_valid(PackReader *reader, ReaderColumn *column, int block, int n, int row,
								bool *isnull);
extern uint64 pack_single_code(PackReader *reader, ReaderColumn *column, int block, uint32 offset,
							   int codes, int row);
extern int64 pack_single_int(PackReader *reader, ReaderColumn *column, int block, int row,
							 bool *isnull);

/* the others of pack_decode.c */
extern void pack_check_codes(const ReaderColumn *column, const PackInts *ints, int n);
extern void pack_need_codes(PackReader *reader, ReaderColumn *column);
extern int64 *pack_need_integers(PackReader *reader, ReaderColumn *column);
extern void pack_need_temporary(PackReader *reader, ReaderColumn *column);
extern uint8 *pack_align_alloc(PackReader *reader, Size size);
extern void pack_apply_nulls(ReaderColumn *column, int n, int nulls, Datum *values, bool *isnull);

static inline bool
pack_row_valid(const ReaderColumn *column, int row)
{
	return (column->valid[row / 64] >> (row % 64)) & 1;
}

/* Raises if what is left of a block is too short. */
static inline void
pack_need_bytes(const ReaderColumn *column, uint32 left, uint64 bytes)
{
	if (unlikely(left < bytes))
		pack_corrupt(column->att, "a block is too short");
}

/* pack_decode_numeric.c */
extern void pack_numeric_datums(PackReader *reader, ReaderColumn *column, int block, Datum *values);
extern Datum pack_numeric_datum(PackReader *reader, ReaderColumn *column, int block, int row,
								PackDatumBuffer *buffer, bool *isnull);
extern void pack_numeric_exceptions(PackReader *reader, ReaderColumn *column, int block,
									PackVector *out);
extern void pack_decode_wide(PackReader *reader, ReaderColumn *column, int block);

/* pack_decode_bytes.c */
extern void pack_load_dictionary(PackReader *reader, ReaderColumn *column);
extern void pack_read_strings(PackReader *reader, ReaderColumn *column, int block, int *nulls);
extern void pack_bytes_datums(PackReader *reader, ReaderColumn *column, int block, Datum *values,
							  bool *isnull);
extern Datum pack_bytes_datum(PackReader *reader, ReaderColumn *column, int block, int row,
							  PackDatumBuffer *buffer, bool *isnull);
extern void pack_decompress_frame(PackReader *reader, ReaderColumn *column, uint64 number,
								  uint8 *to);

/* pack_frames.c */
extern const uint8 *pack_kept_frame(PackReader *reader, ReaderColumn *column, uint64 number);

extern uint64 pack_datum_room(const ReaderColumn *column, uint64 length);
extern Datum pack_build_datum(const ReaderColumn *column, PackString value, uint8 **at);

/* pack_verify.c */
extern void pack_check_data(PackReader *reader, ReaderColumn *column);

/* pack_tiny.c */
extern void pack_open_tiny(PackReader *reader);
extern void pack_tiny_vector(PackReader *reader, int att, PackVector *out);

#endif /* MAGIC_PACK_READER_H */
