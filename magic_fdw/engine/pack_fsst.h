/*
 * pack_fsst.h
 *		Short strings compressed one by one, by a table of frequent substrings.
 *
 * The method is FSST (Boncz, Neumann, Leis, "FSST: Fast Random Access String Compression", PVLDB 13,
 * 2020): up to 255 symbols of 1 to 8 bytes; a string becomes a row of one-byte codes of symbols, code 255
 * stands before a byte that is its own. Every string is decoded alone.
 */
#ifndef MAGIC_PACK_FSST_H
#define MAGIC_PACK_FSST_H

#include "engine/pack.h"

#define FSST_MAX_SYMBOLS 255
#define FSST_ESCAPE 255
#define FSST_MAX_LENGTH 8

/* Bytes that one byte of codes may stand for, and bytes that one byte of a string may become. */
#define FSST_MOST_RATIO FSST_MAX_LENGTH
#define FSST_LEAST_RATIO 2

/* Symbols, their bytes from the low end of a number, the rest 0; code i stands for symbol i. */
typedef struct FsstTable
{
	uint32 count;
	uint8 lengths[256];
	uint64 symbols[256];
} FsstTable;

/* ---- encoding ---- */

typedef struct FsstEncoder FsstEncoder;

/* Makes an encoder for strings like those of the sample; all its memory in `context`. */
extern FsstEncoder *fsst_train(const PackString *sample, uint32 count, MemoryContext context);

/*
 * Encodes `n` strings one after the other to `out`, which has room for FSST_LEAST_RATIO times their bytes,
 * and sets the length of each in `lengths`. Returns the bytes written. Behind every string that is not
 * empty 8 bytes may be read.
 */
extern uint64 fsst_encode(const FsstEncoder *encoder, const PackString *strings, int n, uint8 *out,
						  uint32 *lengths);

/* The table as stored: its size, and its bytes. */
extern uint32 fsst_table_bytes(const FsstEncoder *encoder);
extern void fsst_table_write(const FsstEncoder *encoder, uint8 *out);

/* ---- decoding ---- */

/* Reads a stored table from at most `length` bytes. Returns the bytes it takes, or 0: malformed. */
extern uint32 fsst_table_read(FsstTable *table, const uint8 *bytes, uint64 length);

/*
 * Decodes `length` bytes of codes to `out`, which has room for FSST_MOST_RATIO times as many plus 8.
 * Returns the end of what it wrote, or NULL: malformed.
 */
extern uint8 *fsst_decode(const FsstTable *table, const uint8 *codes, uint32 length, uint8 *out);

#endif /* MAGIC_PACK_FSST_H */
