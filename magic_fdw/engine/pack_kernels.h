/*
 * pack_kernels.h
 *		The inner loops of packs: bit-packing, widening, minima.
 *
 * Written once, in pack_kernels_template.h, and compiled three times (for the baseline of the
 * architecture, AVX2 and AVX-512) into constant tables, one of which is chosen at run time.
 * Nothing here needs PostgreSQL's headers.
 *
 * Bit-packing is lane-interleaved.  A unit of 1,024 codes of `width` bits is a matrix of lanes: a
 * lane has 8, 16, 32 or 64 bits, the smallest that holds the width, and code i belongs to lane i
 * mod L with L = 1024 / lane bits.  Lane j's codes, in order, fill the j-th lane of consecutive
 * 128-byte rows from the low bits up, without gaps.  So one row of 128 bytes is shifted and
 * masked as a whole, the codes come out in order, and a unit takes 128 * width bytes whatever the
 * lane.  Tails are stored in units of 128 codes with rows of 16 bytes; the last one is filled up
 * with zeros.
 */
#ifndef MAGIC_PACK_KERNELS_H
#define MAGIC_PACK_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

/* Codes of a full unit and of a tail unit. */
#define PACK_UNIT 1024
#define PACK_TAIL_UNIT 128

typedef struct PackKernels
{
	const char *name;

	/*
	 * Unpacks n codes of `width` bits (1 .. 64) to lanes of pack_lane(width) bytes.  `in` has
	 * pack_packed_bytes(n, width) bytes; `out` has room for n rounded up to PACK_TAIL_UNIT codes.
	 */
	void (*unpack)(const uint8_t *in, int n, int width, void *out);

	/* The inverse.  `codes` has n rounded up to PACK_TAIL_UNIT elements, all below 2^width. */
	void (*pack)(const void *codes, int n, int width, uint8_t *out);

	/* out[i] = base + step * codes[i], modulo 2^64, lanes of 1, 2, 4 or 8 bytes. */
	void (*widen)(const void *codes, int lane, int n, int64_t base, int64_t step, int64_t *out);

	/* codes[i] = ((values[i] - base) >> shift) * inverse, cut to the lane: an exact division. */
	void (*narrow)(const int64_t *values, int n, int64_t base, int shift, uint64_t inverse,
				   int lane, void *codes);

	/* Signed minimum and maximum; n >= 1. */
	void (*minmax)(const int64_t *values, int n, int64_t *min, int64_t *max);

	/* Signed minimum and maximum of values[i] - values[i - 1] modulo 2^64; n >= 2. */
	void (*delta_minmax)(const int64_t *values, int n, int64_t *min, int64_t *max);

	/* Number of i >= 1 with values[i] != values[i - 1]. */
	int (*changes)(const int64_t *values, int n);

	/* The largest of n codes in lanes of 1, 2, 4 or 8 bytes. */
	uint64_t (*max_code)(const void *codes, int lane, int n);

	/* The sum of n codes in lanes of 1, 2, 4 or 8 bytes, modulo 2^64. */
	uint64_t (*sum)(const void *codes, int lane, int n);

	/* out[i] = bit i of `valid` is clear; room for n rounded up to 64. */
	void (*unset_to_bool)(const uint64_t *valid, int n, uint8_t *out);

	/* out[i] = (double) values[i] / divisor. */
	void (*int_to_double)(const int64_t *values, int n, double divisor, double *out);
} PackKernels;

/* The best table for this machine. */
extern const PackKernels *pack_kernels(void);

/* A table by name ("base", "avx2", "avx512"), or NULL where it does not run: for tests. */
extern const PackKernels *pack_kernels_by_name(const char *name);

/* Makes pack_kernels() return `kernels` from now on: for tests. */
extern void pack_kernels_force(const PackKernels *kernels);

extern const PackKernels pack_kernels_base;
#if defined(__x86_64__)
extern const PackKernels pack_kernels_avx2;
extern const PackKernels pack_kernels_avx512;
#endif

/* Bytes of a lane for codes of `width` bits; 0 for width 0. */
static inline int
pack_lane(int width)
{
	return width == 0 ? 0 : width <= 8 ? 1 : width <= 16 ? 2 : width <= 32 ? 4 : 8;
}

/* Bits needed for the codes 0 .. max. */
static inline int
pack_width(uint64_t max)
{
	return max == 0 ? 0 : 64 - __builtin_clzll(max);
}

/* Bytes that n codes (n <= PACK_UNIT) of `width` bits take. */
static inline uint32_t
pack_packed_bytes(int n, int width)
{
	if (n == PACK_UNIT)
		return PACK_UNIT / 8 * width;
	return (n + PACK_TAIL_UNIT - 1) / PACK_TAIL_UNIT * (PACK_TAIL_UNIT / 8) * width;
}

/*
 * Where code i of n packed ones lies: `*bytes` bytes from the byte that is returned, which are in the
 * pack_packed_bytes(n, width). Width 1 .. 64.
 */
extern uint32_t pack_packed_place(int n, int width, int i, uint32_t *bytes);

/* Code i of n packed ones, from the bytes at its place; 0 for width 0. */
extern uint64_t pack_packed_get(const uint8_t *place, int n, int width, int i);

#endif /* MAGIC_PACK_KERNELS_H */
