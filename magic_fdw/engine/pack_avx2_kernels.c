/*
 * pack_avx2_kernels.c
 *		The kernels for machines with AVX2.
 */
#include "engine/pack_kernels.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2")
#endif

#define PACK_KERNELS_TABLE pack_kernels_avx2
#define PACK_KERNELS_NAME "avx2"
#define PACK_KERNELS_BYTES 32
#include "engine/pack_kernels_template.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
