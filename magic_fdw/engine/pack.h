/*
 * pack.h
 *		Packs: the immutable columnar unit of the Magic Engine.
 *
 * A pack is a byte string that holds `nrows` rows out of `span` contiguous positions of a table;
 * the other positions are holes (dead rows that compaction folded away).  Rows lie densely,
 * column by column, in blocks of PACK_VECTOR rows; the last block may be shorter.  A row is known
 * by its position (0 .. span - 1, what a row number minus the pack's first row number gives) or
 * by its index (0 .. nrows - 1, its place among the stored rows).  The bytes are described in
 * FORMAT.md.
 *
 * This layer knows nothing of relations, buffers, WAL or snapshots: the writer makes bytes in
 * memory, the reader reads bytes through a PackSource.  It takes no locks.  The reader allocates
 * only in its own memory context, calls no catalog function and no type function except
 * getmissingattr(), and raises only ERRCODE_DATA_CORRUPTED (malformed bytes), query cancel and
 * out of memory.  It never reads outside of what the source says it holds, whatever the bytes
 * are.
 */
#ifndef MAGIC_PACK_H
#define MAGIC_PACK_H

#include "magic_compat.h"

#include "access/tupdesc.h"

/* Rows of a block, and of a vector.  The last block of a pack has 1 .. PACK_VECTOR rows. */
#define PACK_VECTOR 1024

/* Most rows one pack may store; its span may be larger. */
#define PACK_MAX_ROWS 131072

/*
 * Payload of one page: 8,192 bytes without the page header and the engine's 16-byte page tag. The writer
 * pads between blocks so that
 * a block that fits into a page seldom crosses a border, counting from the start of the pack: a
 * pack on pages starts at the start of a page's payload.
 */
#define PACK_PAGE_PAYLOAD 8152

/* Words of a bitmap over one block. */
#define PACK_BITMAP_WORDS (PACK_VECTOR / 64)

/* ----------------------------------------------------------------
 * Writer
 * ----------------------------------------------------------------
 */
typedef struct PackWriter PackWriter;

/* The bytes of a finished pack. */
typedef struct PackBytes
{
	uint8 *data; /* one allocation, may exceed 1 GB; pfree() it */
	uint64 length;
} PackBytes;

/*
 * Makes a writer for rows of `desc`, which it copies.  All its memory is below a context of its
 * own, a child of `parent`.  Looks domains up in the catalogs, so it must be called inside a
 * transaction. For each column it remembers which encoding paid, so keep one writer for many
 * packs of a table.
 */
extern PackWriter *pack_writer_create(TupleDesc desc, MemoryContext parent);

/*
 * Appends a row at the next position.  Values are copied; external, compressed, indirect and
 * expanded datums are flattened first (the caller must have a snapshot for toasted ones).
 * Dropped attributes are stored as nothing.  An error leaves the writer without the row.
 */
extern void pack_writer_append(PackWriter *writer, const Datum *values, const bool *isnull);

/*
 * Appends `n` rows at the next positions, column by column: what many rows are appended by.  An error
 * leaves the writer without all of them.
 */
extern void pack_writer_append_many(PackWriter *writer, const Datum *const *values,
									const bool *const *isnull, uint32 n);

/* The same as pack_writer_append() at `position`, which must be above all earlier ones; positions jumped over are holes. */
extern void pack_writer_append_at(PackWriter *writer, uint32 position, const Datum *values,
								  const bool *isnull);

/* Rows buffered, and roughly the bytes they occupy; the caller closes a pack by either. */
extern int pack_writer_natts(const PackWriter *writer);
extern uint32 pack_writer_rows(const PackWriter *writer);
extern Size pack_writer_memory(const PackWriter *writer);

/* The position one past the last row appended: the smallest span pack_writer_finish() accepts. */
extern uint32 pack_writer_next_position(const PackWriter *writer);

/* Finds the buffered row at `position`; false if none is there. */
extern bool pack_writer_find(const PackWriter *writer, uint32 position, uint32 *index);

/*
 * Reads a buffered row, `values` and `isnull` having one element per attribute.  By-reference
 * datums point into the writer's memory: valid until the next reset or free, also across appends.
 */
extern void pack_writer_fetch(PackWriter *writer, uint32 index, Datum *values, bool *isnull);

/* The same for one attribute (0-based). */
extern Datum pack_writer_fetch_att(PackWriter *writer, int att, uint32 index, bool *isnull);

/*
 * Serialises the buffered rows as a pack of `span` positions (at least
 * pack_writer_next_position()). The bytes are allocated in the writer's parent context.  The
 * writer keeps its rows.
 */
extern void pack_writer_finish(PackWriter *writer, uint32 span, PackBytes *out);

/* Forgets the rows, keeps the learnt encodings and the memory worth keeping. */
extern void pack_writer_reset(PackWriter *writer);
extern void pack_writer_free(PackWriter *writer);

/* ----------------------------------------------------------------
 * Source: where the bytes of a pack live
 * ----------------------------------------------------------------
 */
typedef struct PackSource PackSource;

struct PackSource
{
	/*
	 * Returns a pointer to `length` bytes at `offset` (the reader asks only for ranges inside the
	 * source's length, and never for 0 bytes).  If they lie in one page, or in memory, the
	 * pointer is in place, else the bytes are copied to `scratch`, which has room for `length`
	 * bytes.  The pointer stays valid until the next fetch on the same stream.  Streams 0 ..
	 * natts - 1 are the attributes, natts is the header; natts is that of the descriptor given to
	 * pack_open().  A source over buffers keeps at most one pin per stream.  Pointers need no
	 * alignment.
	 */
	const uint8 *(*fetch)(PackSource *source, int stream, uint64 offset, uint32 length,
						  uint8 *scratch);

	/* Asks the processor for bytes that will be fetched soon, as far as they are at hand; or NULL. */
	void (*prefetch)(PackSource *source, uint64 offset, uint32 length);
	uint64 length;	 /* bytes in the pack */
	bool check_data; /* the bytes have no other checksum: check a column's at its first use */
};

/*
 * A source over a table's file says which page it has read: errors about damaged bytes name it.
 * `relation` has NAMEDATALEN bytes.
 */
extern void pack_note_place(const char *relation, uint32 block);

/* A source over bytes in memory, which must outlive it: inline packs, tests. */
typedef struct PackMemorySource
{
	PackSource base;
	const uint8 *data;
} PackMemorySource;

extern void pack_memory_source_init(PackMemorySource *source, const uint8 *data, uint64 length);

/* ----------------------------------------------------------------
 * Reader
 * ----------------------------------------------------------------
 */
typedef struct PackReader PackReader;

/*
 * Opens a pack.  Reads the header only; a column's descriptor is read and checked at its first
 * use. `source` and `desc` must outlive the reader.  `desc` may have more attributes than the
 * pack (ADD COLUMN since): these are answered with getmissingattr(); and attributes dropped
 * since: these are null. All memory is below a context of its own, a child of `parent`, freed by
 * pack_close(): resetting `parent` instead is fine too.
 */
extern PackReader *pack_open(PackSource *source, TupleDesc desc, MemoryContext parent);
extern void pack_close(PackReader *reader);

extern uint32 pack_nrows(const PackReader *reader);
extern uint32 pack_span(const PackReader *reader);
extern uint32 pack_nblocks(const PackReader *reader);

/* Rows of a block: PACK_VECTOR, except in the last one. */
extern int pack_block_rows(const PackReader *reader, int block);

/* True if there are no holes: then position == index. */
extern bool pack_is_dense(const PackReader *reader);

/* Index of the row at `position`; false: a hole, or at or above the span. */
extern bool pack_find(PackReader *reader, uint32 position, uint32 *index);

/*
 * The number of rows stored at positions below `position` (which may be up to the span or above):
 * the index of the first row at or after it.
 */
extern uint32 pack_rank(PackReader *reader, uint32 position);

/* The positions of a block's rows, ascending; room for pack_block_rows(). */
extern void pack_block_positions(PackReader *reader, int block, uint32 *positions);

/*
 * A whole block of one attribute as datums, for PostgreSQL's row executor.  `values` and `isnull`
 * have room for PACK_VECTOR elements; nulls give (Datum) 0.  By-reference datums point into
 * memory of the reader (or of the source), valid until the next read of that attribute by any
 * function here. Varlenas are short or 4-byte-header ones, never toasted; numerics are in
 * PostgreSQL's stored form.
 */
extern void pack_read_datums(PackReader *reader, int att, int block, Datum *values, bool *isnull);

/* Where pack_read_datum() builds by-reference values; `cxt` is the caller's, the rest zero at first. */
typedef struct PackDatumBuffer
{
	MemoryContext cxt;
	uint8 *bytes;
	uint64 room;
} PackDatumBuffer;

/*
 * One value by index.  It is in `buffer` or in the reader, and valid until the buffer is used again or
 * the reader is closed.  Fixed-width encodings do not decode the block; compressed text decodes its
 * frame and keeps it.
 */
extern Datum pack_read_datum(PackReader *reader, int att, uint32 index, PackDatumBuffer *buffer,
							 bool *isnull);

/*
 * Attributes first .. end - 1 of a row, those of the set `needed` (a flag for each; NULL: all), will be read by
 * pack_read_datum(): asks the processor for their bytes. Reads nothing, raises nothing.
 */
extern void pack_prefetch_row(PackReader *reader, uint32 index, int first, int end,
							  const bool *needed);

/*
 * For readers that are asked for single values at random places: decompressed frames of text are kept,
 * those of all such readers in at most `limit` bytes (0 at first).  Nothing but pack_read_datum() may
 * be used on such a reader, and pack_forget_frames() comes before it is closed.
 */
extern void pack_keep_frames(PackReader *reader);
extern void pack_forget_frames(PackReader *reader);
extern void pack_limit_frames(uint64 limit);
extern uint64 pack_frames_bytes(void);

/* Frames that this process has decompressed, ever. */
extern uint64 pack_frames_decompressed(void);

/* ---- typed vectors ---- */

typedef enum PackVectorKind
{
	PACK_VECTOR_INT,	/* lanes of 1, 2, 4 or 8 bytes: value = base + step * code */
	PACK_VECTOR_INT128, /* int128 in `codes`, unaligned to 16: use memcpy or packed access */
	PACK_VECTOR_FLOAT4, /* float4 in `codes` */
	PACK_VECTOR_FLOAT8, /* float8 in `codes` */
	PACK_VECTOR_DICT,	/* lanes of 1, 2 or 4 bytes: entry number in `dict` = base + code */
	PACK_VECTOR_BYTES	/* `strings` */
} PackVectorKind;

/* Bytes without any varlena header or terminator. */
typedef struct PackString
{
	const uint8 *data;
	uint32 length;
} PackString;

/*
 * A chunk's dictionary.  The entries are distinct and sorted by memcmp(), shorter first, so that
 * code order is byte order.  Valid as long as the reader.
 */
typedef struct PackDictionary
{
	uint32 count;
	const PackString *entries;
} PackDictionary;

/*
 * One block of one attribute.  What the pointers show is valid until the next read of that
 * attribute. Arrays are padded to a multiple of 128 elements that may be read (their contents do
 * not matter). Elements of null rows are undefined, but readable; a DICT code is in range also
 * there.
 */
typedef struct PackVector
{
	PackVectorKind kind;
	int nrows;
	int nulls;
	const uint64 *valid; /* bit i set: row i is not null; NULL: no nulls */

	int lane;		   /* bytes of an element of `codes`: 1, 2, 4, 8, 16; 0: constant, all = base */
	const void *codes; /* unsigned lanes (INT, DICT); NULL when lane is 0 */
	int64 base;
	int64 step; /* INT: >= 1; the arithmetic wraps modulo 2^64 (full-range bigints) */
	int scale;	/* numeric: the value is INT or INT128 divided by 10^scale; else 0 */
	bool is_numeric;

	const PackDictionary *dict; /* DICT */
	const PackString *strings;	/* BYTES */

	/*
	 * numeric values that do not fit the chunk's scale or width (NaN, infinities, another display
	 * scale, more than 38 digits): rows ascending, values as stored numerics.  Their element in
	 * `codes` is undefined.
	 */
	int nexceptions;
	const uint16 *exception_rows;
	const Datum *exceptions;
} PackVector;

extern void pack_read_vector(PackReader *reader, int att, int block, PackVector *out);

/*
 * Widens an INT vector to int64; `out` has room for PACK_VECTOR elements and is aligned to 64
 * bytes.
 */
extern void pack_vector_int64(const PackVector *vector, int64 *out);

/* ---- zone maps ---- */

typedef enum PackOrder
{
	PACK_ORDER_NONE,  /* no range: the type's order is not known here */
	PACK_ORDER_INT,	  /* integers, dates, times, bool, oid; numeric scaled by 10^scale */
	PACK_ORDER_FLOAT, /* float4, float8 */
	PACK_ORDER_BYTES  /* memcmp(), shorter first: text, varchar under C; bytea; uuid */
} PackOrder;

/*
 * What is known of the non-null values of a chunk (one attribute of a pack) or of one of its
 * blocks. The range is a bound; it need not be attained unless the exact flag says so.
 */
typedef struct PackRange
{
	uint32 nrows;
	uint32 nulls;
	PackOrder order; /* NONE: nothing below is set.  Also NONE when all rows are null. */
	bool exact;		 /* INT, FLOAT: min and max occur */
	bool sorted;	 /* chunk only: non-null values never descend in row order */

	int scale; /* INT of a numeric */
	bool is_numeric;
	int128 imin; /* INT */
	int128 imax;

	bool has_nan;	  /* FLOAT: a NaN is there; it sorts above all and is not in min/max */
	bool has_numbers; /* FLOAT: a value that is not NaN is there; else fmin/fmax mean nothing */
	double fmin;	  /* -0.0 and 0.0 compare equal: either may stand here */
	double fmax;

	/*
	 * BYTES: the smallest and largest value, cut to PACK_RANGE_PREFIX bytes (8 for blocks).  A
	 * cut min is a lower bound as it stands; with a cut max compare only the first max_length
	 * bytes of a constant: every value v has v <= max when both are cut to max_length bytes.
	 */
	bool min_cut;
	bool max_cut;
	uint8 min_length;
	uint8 max_length;
	uint8 min_bytes[16];
	uint8 max_bytes[16];
} PackRange;

#define PACK_RANGE_PREFIX 16

/*
 * False: the attribute is missing from the pack or its order is unknown (nulls are set even
 * then).
 */
extern bool pack_column_range(PackReader *reader, int att, PackRange *out);
extern bool pack_block_range(PackReader *reader, int att, int block, PackRange *out);

/* ---- checks and figures ---- */

/*
 * Reads everything: checksums, lengths, null counts, minima and maxima against the values.  Calls
 * `report` for each problem instead of raising (att = -1: the header).  Cancellable.
 */
extern void pack_verify(PackReader *reader, void (*report)(void *arg, int att, const char *problem),
						void *arg);

/* For reports: name of the encoding and bytes of one attribute's chunk. */
extern const char *pack_column_encoding(PackReader *reader, int att);
extern uint64 pack_column_bytes(PackReader *reader, int att);

/* 8 bytes at any address, in the machine's order. */
static inline uint64
pack_load_word(const uint8 *data)
{
	uint64 word;

	memcpy(&word, data, sizeof(word));
	return word;
}

#endif /* MAGIC_PACK_H */
