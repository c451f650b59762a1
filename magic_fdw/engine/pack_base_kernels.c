/*
 * pack_base_kernels.c
 *		The kernels for any machine of the architecture, the choice of the table, and single codes.
 */
#include "engine/pack_kernels.h"

#define PACK_KERNELS_TABLE pack_kernels_base
#define PACK_KERNELS_NAME "base"
#define PACK_KERNELS_BYTES 16
#include "engine/pack_kernels_template.h"

static const PackKernels *chosen;

const PackKernels *
pack_kernels_by_name(const char *name)
{
	if (strcmp(name, "base") == 0)
		return &pack_kernels_base;
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2"))
		return &pack_kernels_avx2;
	if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl"))
		return &pack_kernels_avx512;
#endif
	return NULL;
}

void
pack_kernels_force(const PackKernels *kernels)
{
	chosen = kernels;
}

const PackKernels *
pack_kernels(void)
{
	if (chosen == NULL)
	{
		chosen = pack_kernels_by_name("avx512");
		if (chosen == NULL)
			chosen = pack_kernels_by_name("avx2");
		if (chosen == NULL)
			chosen = &pack_kernels_base;
	}
	return chosen;
}

static inline uint64_t
lane_load(const uint8_t *in, int lane, uint32_t element)
{
	switch (lane)
	{
		case 1:
			return in[element];
		case 2:
			return ((const Lane16 *) in)[element];
		case 4:
			return ((const Lane32 *) in)[element];
		default:
			return ((const Lane64 *) in)[element];
	}
}

uint64_t
pack_packed_get(const uint8_t *in, int n, int width, int i)
{
	int lane = pack_lane(width);
	int bits = lane * 8;
	int lanes;
	int word;
	int shift;
	uint64_t code;

	if (width == 0)
		return 0;
	lanes = PACK_UNIT / bits;
	if (n != PACK_UNIT)
	{
		in += i / PACK_TAIL_UNIT * (PACK_TAIL_UNIT / 8) * width;
		i %= PACK_TAIL_UNIT;
		lanes = PACK_TAIL_UNIT / bits;
	}
	word = i / lanes * width / bits;
	shift = i / lanes * width % bits;
	code = lane_load(in, lane, word * lanes + i % lanes) >> shift;
	if (shift + width > bits)
		code |= lane_load(in, lane, (word + 1) * lanes + i % lanes) << (bits - shift);
	return width == 64 ? code : code & ((UINT64_C(1) << width) - 1);
}
