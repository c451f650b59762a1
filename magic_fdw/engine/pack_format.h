/*
 * pack_format.h
 *		The bytes of a pack: what FORMAT.md describes, as C.
 *
 * Everything is little-endian.  The structs are copied out of the pack before use, so they may
 * lie at any address; lengths and offsets are checked against the pack's length before they are
 * believed.
 */
#ifndef MAGIC_PACK_FORMAT_H
#define MAGIC_PACK_FORMAT_H

#include "engine/pack.h"

#ifdef WORDS_BIGENDIAN
#error "packs are little-endian on disk and not converted"
#endif

#define PACK_MAGIC 0x6b61506d /* "mPak" */
#define PACK_FORMAT_VERSION 1

typedef enum PackLayout
{
	PACK_LAYOUT_COLUMNS = 1,
	PACK_LAYOUT_ROWS = 2 /* tiny packs, pack_tiny.c */
} PackLayout;

/* PackHeader.flags */
#define PACK_FLAG_LIVE_BITMAP 0x0001 /* holes: one bit per position, set where a row is */
#define PACK_FLAG_LIVE_LIST 0x0002	 /* holes, many: the positions as uint32 */

/* The first PACK_TINY_HEADER bytes are common to both layouts. */
typedef struct PackHeader
{
	uint32 magic;
	uint8 version;
	uint8 layout; /* PackLayout */
	uint16 flags;
	uint32 crc; /* COLUMNS: of the header; ROWS: of the whole pack; with crc = 0 */
	uint32 nrows;
	uint32 span;
	uint32 natts;
	/* COLUMNS only: */
	uint64 length;		/* of the whole pack */
	uint64 live_offset; /* bitmap or list, if a flag says so */
	uint32 live_crc;
	uint32 reserved;
} PackHeader;

#define PACK_TINY_HEADER 24
StaticAssertDecl(sizeof(PackHeader) == 48, "PackHeader is on disk");
StaticAssertDecl(offsetof(PackHeader, length) == PACK_TINY_HEADER, "PackHeader is on disk");

/* How values of a type are treated; stored, so that reading needs no catalog. */
typedef enum PackClass
{
	PACK_CLASS_NONE = 0, /* dropped: nothing stored, all null */
	PACK_CLASS_INT = 1,	 /* by value, as signed integer of attlen bytes */
	PACK_CLASS_UINT = 2, /* by value, as unsigned integer (oid and such) */
	PACK_CLASS_FLOAT4 = 3,
	PACK_CLASS_FLOAT8 = 4,
	PACK_CLASS_NUMERIC = 5, /* scaled integers; exceptions as varlena payload */
	PACK_CLASS_FIXED = 6,	/* by reference, attlen bytes */
	PACK_CLASS_VARLENA = 7, /* payload without header */
	PACK_CLASS_CSTRING = 8	/* bytes without the terminator */
} PackClass;

typedef enum PackEncoding
{
	PACK_ENCODING_INTS = 1,	 /* blocks of integers; float classes: of their bits */
	PACK_ENCODING_WIDE = 2,	 /* numeric: blocks of int128 */
	PACK_ENCODING_DICT = 3,	 /* blocks of integers that number dictionary entries */
	PACK_ENCODING_PLAIN = 4, /* bytes in frames */
	PACK_ENCODING_LZ4 = 5,	 /* the same, compressed frame by frame */
	PACK_ENCODING_ZSTD = 6,
	PACK_ENCODING_FSST = 7 /* plain frames of values that are codes, see pack_fsst.h */
} PackEncoding;

#define PACK_LAST_ENCODING PACK_ENCODING_FSST

/* PackColumn.flags */
#define PACK_COLUMN_SORTED 0x01
#define PACK_COLUMN_EXACT 0x02 /* min and max occur; BYTES: min is not cut */
#define PACK_COLUMN_MAX_CUT 0x04
#define PACK_COLUMN_HAS_NAN 0x08
#define PACK_COLUMN_HAS_NUMBERS 0x10

/* Descriptor of an attribute's chunk; natts of them follow the header. */
typedef struct PackColumn
{
	uint32 crc;			  /* of this struct with crc = 0 */
	uint32 directory_crc; /* of the block directory */
	uint32 data_crc;	  /* of all bytes of the chunk */
	uint8 klass;		  /* PackClass */
	uint8 encoding;		  /* PackEncoding */
	uint8 order;		  /* PackOrder of min and max */
	uint8 flags;
	int16 attlen;
	int16 scale; /* numeric */
	uint32 nulls;
	uint64 offset; /* of the chunk in the pack; the block directory comes first */
	uint64 length;
	int64 step; /* common divisor of all differences from a block's base */
	uint64
		aux_offset; /* dictionary, numeric exceptions or frame directory (and symbols), in the chunk */
	uint64 aux_length;
	uint64 aux_raw;	   /* its length before lz4; equal to aux_length: not compressed */
	uint32 aux_count;  /* entries */
	uint8 frame_shift; /* frames hold 2^frame_shift rows */
	uint8 min_length;  /* BYTES order */
	uint8 max_length;
	uint8 reserved;
	uint8 min[16]; /* INT: int128; FLOAT: double; BYTES: prefix */
	uint8 max[16];
} PackColumn;

StaticAssertDecl(sizeof(PackColumn) == 112, "PackColumn is on disk");

/* How a block's integers are stored. */
typedef enum PackMethod
{
	PACK_METHOD_FOR = 1,	 /* base + step * code, codes bit-packed; width 0: constant */
	PACK_METHOD_DELTA = 2,	 /* base, then differences: least difference (int64), packed rest */
	PACK_METHOD_RLE = 3,	 /* runs: count (uint16, pad to 8), packed values, packed lengths - 1 */
	PACK_METHOD_DECIMAL = 4, /* float8 = FOR integer / 10^e: e (uint8, pad to 8), then FOR */
	PACK_METHOD_LENGTHS = 5, /* bytes: base + code is each value's length */
	PACK_METHOD_WIDE = 6	 /* int128 base, then 64-bit codes packed; width 128: plain int128 */
} PackMethod;

#define PACK_METHOD_MASK 0x0f
#define PACK_BLOCK_SPARSE 0x10 /* FOR: only the non-null rows have codes */
#define PACK_BLOCK_HAS_NAN 0x20
#define PACK_BLOCK_HAS_NUMBERS 0x40

/*
 * Directory entry of a block.  A block's bytes begin with its validity bitmap if 0 < nulls < rows
 * (one bit a row, in 64-bit words); a block of nulls only has no bytes.
 */
typedef struct PackBlock
{
	uint64 offset; /* in the chunk */
	uint32 length;
	uint16 nulls;
	uint8 method; /* PackMethod and flags */
	uint8 width;
	union
	{
		int64 base;
		struct
		{
			uint32 skip;  /* LENGTHS: bytes of the frame before this block */
			uint32 least; /* LENGTHS: least length */
		} lengths;
	} u;
	int64 min; /* INT: value; FLOAT: bits of a double; BYTES: first 8 bytes, big-endian */
	int64 max;
} PackBlock;

StaticAssertDecl(sizeof(PackBlock) == 40, "PackBlock is on disk");

/* Directory entry of a frame of values' bytes, one value after the other. */
typedef struct PackFrame
{
	uint64 offset; /* in the chunk */
	uint32 length;
	uint32 raw; /* length decompressed; equal to length: stored as it is */
} PackFrame;

StaticAssertDecl(sizeof(PackFrame) == 16, "PackFrame is on disk");

/* Rows of a dictionary entry or exception list are limited by the rows of a pack. */
#define PACK_MAX_DICT 65536

/* numeric exceptions: `aux_count` of these, then the payloads one after the other */
typedef struct PackException
{
	uint32 index; /* row */
	uint32 length;
} PackException;

StaticAssertDecl(sizeof(PackException) == 8, "PackException is on disk");

#endif /* MAGIC_PACK_FORMAT_H */
