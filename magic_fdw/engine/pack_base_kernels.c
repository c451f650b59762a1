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
lane_load(const uint8_t *in, int lane)
{
	switch (lane)
	{
		case 1:
			return *in;
		case 2:
			return *(const Lane16 *) in;
		case 4:
			return *(const Lane32 *) in;
		default:
			return *(const Lane64 *) in;
	}
}

/* log2 of the lanes of a row, which are 1,024 or 128 bits */
static inline int
lanes_shift(int n, int width)
{
	int all = n == PACK_UNIT ? 7 : 4;

	return width <= 8 ? all : width <= 16 ? all - 1 : width <= 32 ? all - 2 : all - 3;
}

uint32_t
pack_packed_place(int n, int width, int i, uint32_t *bytes)
{
	int lane = pack_lane(width);
	int lanes = lanes_shift(n, width);
	uint32_t row_bytes = (uint32_t) lane << lanes;
	uint32_t unit = 0;
	uint32_t bit;

	if (n != PACK_UNIT)
	{
		unit = (uint32_t) i / PACK_TAIL_UNIT * (PACK_TAIL_UNIT / 8) * width;
		i %= PACK_TAIL_UNIT;
	}
	bit = (uint32_t) (i >> lanes) * width;
	*bytes = bit % (lane * 8) + width > lane * 8 ? row_bytes + lane : lane;
	return unit + bit / (lane * 8) * row_bytes + (i & ((1 << lanes) - 1)) * lane;
}

uint64_t
pack_packed_get(const uint8_t *place, int n, int width, int i)
{
	int lane = pack_lane(width);
	int bits = lane * 8;
	int lanes = lanes_shift(n, width);
	int shift;
	uint64_t code;

	if (width == 0)
		return 0;
	if (n != PACK_UNIT)
		i %= PACK_TAIL_UNIT;
	shift = (uint32_t) (i >> lanes) * width % bits;
	code = lane_load(place, lane) >> shift;
	if (shift + width > bits)
		code |= lane_load(place + ((uint32_t) lane << lanes), lane) << (bits - shift);
	return width == 64 ? code : code & ((UINT64_C(1) << width) - 1);
}
