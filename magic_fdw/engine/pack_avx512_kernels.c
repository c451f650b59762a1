/*
 * pack_avx512_kernels.c
 *		The kernels for machines with AVX-512.
 */
#include "engine/pack_kernels.h"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(                                                                      \
	__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,prefer-vector-width=512")
#endif

#define PACK_KERNELS_TABLE pack_kernels_avx512
#define PACK_KERNELS_NAME "avx512"
#define PACK_KERNELS_BYTES 64
#include "engine/pack_kernels_template.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
