/*
 * pack_numeric.h
 *		numeric as a scaled integer and back, without numeric.c.
 *
 * The stored form of numeric (src/include/utils/numeric.h and the comment at the top of
 * numeric.c) is on disk everywhere and so cannot change: a 16-bit header, in the long form a
 * 16-bit weight, then base-10,000 digits.  A value is scaled only if building it back gives the
 * same bytes.
 */
#ifndef MAGIC_PACK_NUMERIC_H
#define MAGIC_PACK_NUMERIC_H

#include "magic_compat.h"

/* Largest display scale of a scaled integer: 38 digits are what an int128 always holds. */
#define PACK_NUMERIC_MAX_SCALE 38

/* Room a built numeric needs, varlena header included. */
#define PACK_NUMERIC_STRIDE64 24
#define PACK_NUMERIC_STRIDE128 32

typedef enum PackNumericForm
{
	PACK_NUMERIC_INT64,
	PACK_NUMERIC_INT128,
	PACK_NUMERIC_OTHER /* NaN, infinity, too large, or not in canonical form */
} PackNumericForm;

/*
 * Reads the payload of a numeric (without varlena header).  Sets the display scale, and for INT64
 * and INT128 the value times 10^scale.
 */
extern PackNumericForm pack_numeric_parse(const uint8 *payload, Size length, int *scale,
										  int128 *value);

/* Writes the numeric value / 10^scale with a 4-byte varlena header to `out`, aligned to 4 bytes. */
extern void pack_numeric_build64(int64 value, int scale, uint8 *out);

/* The same for n values, PACK_NUMERIC_STRIDE64 apart. */
extern void pack_numeric_build_many(const int64 *values, int n, int scale, uint8 *out);

extern void pack_numeric_build128(int128 value, int scale, uint8 *out);

#endif /* MAGIC_PACK_NUMERIC_H */
