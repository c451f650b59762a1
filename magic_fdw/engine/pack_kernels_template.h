/*
 * pack_kernels_template.h
 *		The source of the kernels; see pack_kernels.h for what each does.
 *
 * Included by pack_base_kernels.c, pack_avx2_kernels.c and pack_avx512_kernels.c after their
 * target pragma, with PACK_KERNELS_TABLE, PACK_KERNELS_NAME and PACK_KERNELS_BYTES (of a
 * register) defined.  The loops are plain C over GCC's vector types, which each target lowers to
 * what it has.  Lanes narrower than 64 bits are shifted as 64-bit words and masked afterwards, so
 * one loop serves every lane width.
 */
#include <string.h>

/* A slice of a row: what one register holds, loadable from any address. */
typedef uint64_t Slice __attribute__((vector_size(PACK_KERNELS_BYTES), aligned(1), may_alias));
typedef uint64_t TailSlice __attribute__((vector_size(16), aligned(1), may_alias));

#define ALWAYS_INLINE inline __attribute__((always_inline))

typedef uint16_t Lane16 __attribute__((aligned(1), may_alias));
typedef uint32_t Lane32 __attribute__((aligned(1), may_alias));
typedef uint64_t Lane64 __attribute__((aligned(1), may_alias));

/* The `bits` low bits of every lane of `lane` bits in a 64-bit word. */
static inline uint64_t
lane_mask(int bits, int lane)
{
	uint64_t low = bits == 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;

	switch (lane)
	{
		case 8:
			return low * UINT64_C(0x0101010101010101);
		case 16:
			return low * UINT64_C(0x0001000100010001);
		case 32:
			return low * UINT64_C(0x0000000100000001);
		default:
			return low;
	}
}

/*
 * Unpacks a unit whose rows have row_bytes bytes, slice by slice.  With constant lane and width
 * everything but loads, shifts and stores is folded away.
 */
#define DEFINE_UNPACK(function, Vector, unrolled)                                                  \
	static ALWAYS_INLINE void function(const uint8_t *in, int row_bytes, int lane, int width,      \
									   uint8_t *out)                                               \
	{                                                                                              \
		const uint64_t mask = lane_mask(width, lane);                                              \
                                                                                                   \
		for (int slice = 0; slice < row_bytes; slice += sizeof(Vector))                            \
		{                                                                                          \
			const uint8_t *source = in + slice;                                                    \
			uint8_t *target = out + slice;                                                         \
			Vector row = *(const Vector *) source;                                                 \
			int shift = 0;                                                                         \
                                                                                                   \
			unrolled for (int r = 0; r < lane; r++)                                                \
			{                                                                                      \
				int left = lane - shift;                                                           \
				Vector codes = row >> shift;                                                       \
                                                                                                   \
				if (left <= width && r < lane - 1)                                                 \
				{                                                                                  \
					source += row_bytes;                                                           \
					row = *(const Vector *) source;                                                \
				}                                                                                  \
				if (left < width)                                                                  \
				{                                                                                  \
					uint64_t low = lane_mask(left, lane);                                          \
                                                                                                   \
					codes = (codes & low) | ((row << left) & (mask & ~low));                       \
				}                                                                                  \
				else                                                                               \
					codes &= mask;                                                                 \
				shift = left <= width ? width - left : shift + width;                              \
				*(Vector *) target = codes;                                                        \
				target += row_bytes;                                                               \
			}                                                                                      \
		}                                                                                          \
	}

#define DEFINE_PACK(function, Vector)                                                              \
	static ALWAYS_INLINE void function(const uint8_t *in, int row_bytes, int lane, int width,      \
									   uint8_t *out)                                               \
	{                                                                                              \
		for (int slice = 0; slice < row_bytes; slice += sizeof(Vector))                            \
		{                                                                                          \
			const uint8_t *source = in + slice;                                                    \
			uint8_t *target = out + slice;                                                         \
			Vector filled = {0};                                                                   \
			int shift = 0;                                                                         \
                                                                                                   \
			for (int r = 0; r < lane; r++)                                                         \
			{                                                                                      \
				Vector codes = *(const Vector *) source;                                           \
				int left = lane - shift;                                                           \
                                                                                                   \
				source += row_bytes;                                                               \
				filled |= (codes & lane_mask(left < width ? left : width, lane)) << shift;         \
				shift += width;                                                                    \
				if (shift >= lane)                                                                 \
				{                                                                                  \
					*(Vector *) target = filled;                                                   \
					target += row_bytes;                                                           \
					shift -= lane;                                                                 \
					filled = (Vector){0};                                                          \
					if (shift > 0)                                                                 \
						filled = (codes >> left) & lane_mask(shift, lane);                         \
				}                                                                                  \
			}                                                                                      \
		}                                                                                          \
	}

/* clang-format off */
DEFINE_UNPACK(unpack_fixed, Slice, _Pragma("GCC unroll 32"))
DEFINE_UNPACK(unpack_any, Slice, )
DEFINE_UNPACK(unpack_tail, TailSlice, )
DEFINE_PACK(pack_any, Slice)
DEFINE_PACK(pack_tail, TailSlice)
/* clang-format on */

#define UNIT_ROW 128
#define TAIL_ROW 16

#define UNPACK_CASE(width)                                                                         \
	case width:                                                                                    \
		unpack_fixed(in, UNIT_ROW, (width) <= 8 ? 8 : (width) <= 16 ? 16 : 32, width, out);        \
		break

/* A whole unit: code of its own for each width up to 32, which are nearly all that occur. */
static void
unpack_unit(const uint8_t *in, int width, uint8_t *out)
{
	switch (width)
	{
		UNPACK_CASE(1);
		UNPACK_CASE(2);
		UNPACK_CASE(3);
		UNPACK_CASE(4);
		UNPACK_CASE(5);
		UNPACK_CASE(6);
		UNPACK_CASE(7);
		UNPACK_CASE(8);
		UNPACK_CASE(9);
		UNPACK_CASE(10);
		UNPACK_CASE(11);
		UNPACK_CASE(12);
		UNPACK_CASE(13);
		UNPACK_CASE(14);
		UNPACK_CASE(15);
		UNPACK_CASE(16);
		UNPACK_CASE(17);
		UNPACK_CASE(18);
		UNPACK_CASE(19);
		UNPACK_CASE(20);
		UNPACK_CASE(21);
		UNPACK_CASE(22);
		UNPACK_CASE(23);
		UNPACK_CASE(24);
		UNPACK_CASE(25);
		UNPACK_CASE(26);
		UNPACK_CASE(27);
		UNPACK_CASE(28);
		UNPACK_CASE(29);
		UNPACK_CASE(30);
		UNPACK_CASE(31);
		UNPACK_CASE(32);
		default:
			unpack_any(in, UNIT_ROW, 64, width, out);
			break;
	}
}

static void
kernel_unpack(const uint8_t *in, int n, int width, void *out)
{
	int lane = pack_lane(width);
	uint8_t *target = out;

	if (n == PACK_UNIT)
	{
		unpack_unit(in, width, target);
		return;
	}
	for (int done = 0; done < n; done += PACK_TAIL_UNIT)
	{
		unpack_tail(in, TAIL_ROW, lane * 8, width, target);
		in += PACK_TAIL_UNIT / 8 * width;
		target += PACK_TAIL_UNIT * lane;
	}
}

static void
kernel_pack(const void *codes, int n, int width, uint8_t *out)
{
	int lane = pack_lane(width);
	const uint8_t *source = codes;

	if (n == PACK_UNIT)
	{
		pack_any(source, UNIT_ROW, lane * 8, width, out);
		return;
	}
	for (int done = 0; done < n; done += PACK_TAIL_UNIT)
	{
		pack_tail(source, TAIL_ROW, lane * 8, width, out);
		source += PACK_TAIL_UNIT * lane;
		out += PACK_TAIL_UNIT / 8 * width;
	}
}

#define WIDEN(Lane)                                                                                \
	do                                                                                             \
	{                                                                                              \
		const Lane *in = codes;                                                                    \
                                                                                                   \
		if (step == 1)                                                                             \
			for (int i = 0; i < n; i++)                                                            \
				out[i] = (int64_t) ((uint64_t) base + in[i]);                                      \
		else                                                                                       \
			for (int i = 0; i < n; i++)                                                            \
				out[i] = (int64_t) ((uint64_t) base + (uint64_t) step * in[i]);                    \
	} while (0)

static void
kernel_widen(const void *restrict codes, int lane, int n, int64_t base, int64_t step,
			 int64_t *restrict out)
{
	switch (lane)
	{
		case 1:
			WIDEN(uint8_t);
			break;
		case 2:
			WIDEN(Lane16);
			break;
		case 4:
			WIDEN(Lane32);
			break;
		case 8:
			WIDEN(Lane64);
			break;
		default:
			for (int i = 0; i < n; i++)
				out[i] = base;
			break;
	}
}

#define NARROW(Lane)                                                                               \
	do                                                                                             \
	{                                                                                              \
		Lane *out = codes;                                                                         \
                                                                                                   \
		if (shift == 0 && inverse == 1)                                                            \
			for (int i = 0; i < n; i++)                                                            \
				out[i] = (Lane) ((uint64_t) values[i] - (uint64_t) base);                          \
		else                                                                                       \
			for (int i = 0; i < n; i++)                                                            \
				out[i] = (Lane) ((((uint64_t) values[i] - (uint64_t) base) >> shift) * inverse);   \
	} while (0)

static void
kernel_narrow(const int64_t *restrict values, int n, int64_t base, int shift, uint64_t inverse,
			  int lane, void *restrict codes)
{
	switch (lane)
	{
		case 1:
			NARROW(uint8_t);
			break;
		case 2:
			NARROW(Lane16);
			break;
		case 4:
			NARROW(Lane32);
			break;
		case 8:
			NARROW(Lane64);
			break;
	}
}

static void
kernel_minmax(const int64_t *values, int n, int64_t *min, int64_t *max)
{
	int64_t low = values[0];
	int64_t high = values[0];

	for (int i = 1; i < n; i++)
	{
		low = values[i] < low ? values[i] : low;
		high = values[i] > high ? values[i] : high;
	}
	*min = low;
	*max = high;
}

static void
kernel_delta_minmax(const int64_t *values, int n, int64_t *min, int64_t *max)
{
	int64_t low = INT64_MAX;
	int64_t high = INT64_MIN;

	for (int i = 1; i < n; i++)
	{
		int64_t delta = (int64_t) ((uint64_t) values[i] - (uint64_t) values[i - 1]);

		low = delta < low ? delta : low;
		high = delta > high ? delta : high;
	}
	*min = low;
	*max = high;
}

static int
kernel_changes(const int64_t *values, int n)
{
	int64_t changes = 0;

	for (int i = 1; i < n; i++)
		changes += values[i] != values[i - 1];
	return (int) changes;
}

#define MAX_CODE(Lane, Value)                                                                      \
	do                                                                                             \
	{                                                                                              \
		const Lane *in = codes;                                                                    \
		Value most = 0;                                                                            \
                                                                                                   \
		for (int i = 0; i < n; i++)                                                                \
			most = in[i] > most ? in[i] : most;                                                    \
		return most;                                                                               \
	} while (0)

static uint64_t
kernel_max_code(const void *codes, int lane, int n)
{
	switch (lane)
	{
		case 1:
			MAX_CODE(uint8_t, uint8_t);
		case 2:
			MAX_CODE(Lane16, uint16_t);
		case 4:
			MAX_CODE(Lane32, uint32_t);
		case 8:
			MAX_CODE(Lane64, uint64_t);
		default:
			return 0;
	}
}

#define SUM(Lane)                                                                                  \
	do                                                                                             \
	{                                                                                              \
		const Lane *in = codes;                                                                    \
		uint64_t sum = 0;                                                                          \
                                                                                                   \
		for (int i = 0; i < n; i++)                                                                \
			sum += in[i];                                                                          \
		return sum;                                                                                \
	} while (0)

static uint64_t
kernel_sum(const void *codes, int lane, int n)
{
	switch (lane)
	{
		case 1:
			SUM(uint8_t);
		case 2:
			SUM(Lane16);
		case 4:
			SUM(Lane32);
		case 8:
			SUM(Lane64);
		default:
			return 0;
	}
}

static void
kernel_unset_to_bool(const uint64_t *valid, int n, uint8_t *out)
{
	for (int i = 0; i < n; i += 8)
	{
		uint64_t bits = (valid[i / 64] >> (i % 64)) & 0xff;
		uint64_t bytes;

		/* bit k goes to byte k: spread by 7, pick, invert */
		bytes = ((bits & 0x7f) * UINT64_C(0x0002040810204081)) & UINT64_C(0x0001010101010101);
		bytes |= (bits >> 7) << 56;
		bytes ^= UINT64_C(0x0101010101010101);
		memcpy(out + i, &bytes, 8);
	}
}

static void
kernel_int_to_double(const int64_t *restrict values, int n, double divisor, double *restrict out)
{
	for (int i = 0; i < n; i++)
		out[i] = (double) values[i] / divisor;
}

const PackKernels PACK_KERNELS_TABLE = {
	.name = PACK_KERNELS_NAME,
	.unpack = kernel_unpack,
	.pack = kernel_pack,
	.widen = kernel_widen,
	.narrow = kernel_narrow,
	.minmax = kernel_minmax,
	.delta_minmax = kernel_delta_minmax,
	.changes = kernel_changes,
	.max_code = kernel_max_code,
	.sum = kernel_sum,
	.unset_to_bool = kernel_unset_to_bool,
	.int_to_double = kernel_int_to_double,
};
