/*
 * pack_numeric.c
 *		numeric as a scaled integer and back, without numeric.c.
 *
 * See pack_numeric.h.  Header of a numeric: the two high bits say positive (00), negative (01),
 * short (10) or special (11).  Short: sign 0x2000, display scale 0x1f80, weight in 7 bits with
 * sign.  Else the scale is in the low 14 bits and the weight follows.  value = sum of digit[i] *
 * 10000^(weight - i).
 */
#include "engine/pack_numeric.h"

#define HEADER_CLASS 0xc000
#define HEADER_POSITIVE 0x0000
#define HEADER_NEGATIVE 0x4000
#define HEADER_SHORT 0x8000
#define SHORT_NEGATIVE 0x2000
#define SHORT_SCALE_MASK 0x1f80
#define SHORT_SCALE_SHIFT 7
#define SHORT_WEIGHT_SIGN 0x0040
#define SHORT_WEIGHT_MASK 0x003f
#define LONG_SCALE_MASK 0x3fff

static const int64 power_of_ten[19] = {
	INT64CONST(1),
	INT64CONST(10),
	INT64CONST(100),
	INT64CONST(1000),
	INT64CONST(10000),
	INT64CONST(100000),
	INT64CONST(1000000),
	INT64CONST(10000000),
	INT64CONST(100000000),
	INT64CONST(1000000000),
	INT64CONST(10000000000),
	INT64CONST(100000000000),
	INT64CONST(1000000000000),
	INT64CONST(10000000000000),
	INT64CONST(100000000000000),
	INT64CONST(1000000000000000),
	INT64CONST(10000000000000000),
	INT64CONST(100000000000000000),
	INT64CONST(1000000000000000000),
};

static inline uint16
load16(const uint8 *at)
{
	uint16 value;

	memcpy(&value, at, 2);
	return value;
}

/*
 * Digits times 10^exponent as int128, for what the fast path leaves; false if it has over 38
 * digits.
 */
static bool
parse_wide(const uint8 *digits, int ndigits, int exponent, int128 *value)
{
	/* the last digit may end in up to three zeros behind the scale */
	const int128 limit = (int128) power_of_ten[18] * power_of_ten[18] * 100;
	int128 sum = 0;

	if (ndigits > 11)
		return false;
	for (int i = 0; i < ndigits; i++)
	{
		int digit = load16(digits + 2 * i);
		bool last = i == ndigits - 1;

		if (last && exponent < 0)
		{
			int factor = power_of_ten[-exponent];

			if (digit % factor != 0)
				return false;
			if (sum > limit / (10000 / factor))
				return false;
			sum = sum * (10000 / factor) + digit / factor;
			exponent = 0;
		}
		else
		{
			if (sum > limit / 10000)
				return false;
			sum = sum * 10000 + digit;
		}
	}
	for (; exponent > 0; exponent--)
	{
		if (sum > limit / 10)
			return false;
		sum *= 10;
	}
	if (sum >= limit)
		return false;
	*value = sum;
	return true;
}

PackNumericForm
pack_numeric_parse(const uint8 *payload, Size length, int *scale, int128 *value)
{
	uint16 header;
	const uint8 *digits;
	int ndigits;
	int weight;
	bool negative;
	int exponent;
	int128 wide;

	*scale = 0;
	if (length < 2)
		return PACK_NUMERIC_OTHER;
	header = load16(payload);
	if ((header & HEADER_CLASS) != HEADER_SHORT)
		return PACK_NUMERIC_OTHER; /* the long form is needed only where no int128 would do */
	negative = (header & SHORT_NEGATIVE) != 0;
	*scale = (header & SHORT_SCALE_MASK) >> SHORT_SCALE_SHIFT;
	weight = (header & SHORT_WEIGHT_MASK) | ((header & SHORT_WEIGHT_SIGN) ? ~SHORT_WEIGHT_MASK : 0);
	digits = payload + 2;
	ndigits = (length - 2) / 2;
	if (*scale > PACK_NUMERIC_MAX_SCALE || length % 2 != 0)
		return PACK_NUMERIC_OTHER;

	if (ndigits == 0)
	{
		*value = 0;
		return negative || weight != 0 ? PACK_NUMERIC_OTHER : PACK_NUMERIC_INT64;
	}
	/* canonical: no zero digit at either end */
	if (load16(digits) == 0 || load16(digits + 2 * (ndigits - 1)) == 0)
		return PACK_NUMERIC_OTHER;

	/* value * 10^scale = (digits as one integer) * 10^exponent */
	exponent = *scale + 4 * (weight - (ndigits - 1));
	if (exponent < -3)
		return PACK_NUMERIC_OTHER;
	if (ndigits <= 4 && exponent <= 2)
	{
		int64 sum = 0;

		for (int i = 0; i < ndigits; i++)
			sum = sum * 10000 + load16(digits + 2 * i);
		if (exponent >= 0)
			sum *= power_of_ten[exponent];
		else
		{
			if (sum % power_of_ten[-exponent] != 0)
				return PACK_NUMERIC_OTHER;
			sum /= power_of_ten[-exponent];
		}
		*value = negative ? -sum : sum;
		return PACK_NUMERIC_INT64;
	}
	if (!parse_wide(digits, ndigits, exponent, &wide))
		return PACK_NUMERIC_OTHER;
	*value = negative ? -wide : wide;
	return wide <= PG_INT64_MAX ? PACK_NUMERIC_INT64 : PACK_NUMERIC_INT128;
}

/*
 * Finishes a numeric: `ndigits` base-10,000 digits at `digits`, most significant first and not
 * zero, the last `fraction` of them behind the point.
 */
static inline void
build_finish(uint8 *out, bool negative, int scale, const uint16 *digits, int ndigits, int fraction)
{
	int weight = ndigits - fraction - 1;
	uint16 header;

	while (ndigits > 0 && digits[ndigits - 1] == 0)
		ndigits--;
	if (ndigits == 0)
	{
		weight = 0;
		negative = false;
	}
	header = HEADER_SHORT | (negative ? SHORT_NEGATIVE : 0) | (scale << SHORT_SCALE_SHIFT) |
			 (weight & (SHORT_WEIGHT_SIGN | SHORT_WEIGHT_MASK));
	SET_VARSIZE(out, VARHDRSZ + 2 + 2 * ndigits);
	memcpy(out + VARHDRSZ, &header, 2);
	for (int i = 0; i < ndigits; i++)
		memcpy(out + VARHDRSZ + 2 + 2 * i, &digits[i], 2);
}

void
pack_numeric_build128(int128 value, int scale, uint8 *out)
{
	bool negative = value < 0;
	unsigned __int128 rest = negative ? -(unsigned __int128) value : (unsigned __int128) value;
	int fraction = (scale + 3) / 4;
	int partial = scale % 4;
	uint16 digits[16];
	int first = lengthof(digits);

	/* the lowest digit has only scale % 4 decimal places, unless that is 0 */
	if (rest != 0 && partial != 0)
	{
		int divisor = power_of_ten[partial];

		digits[--first] = (int) (rest % divisor) * power_of_ten[4 - partial];
		rest /= divisor;
	}
	for (; rest != 0; rest /= 10000)
		digits[--first] = rest % 10000;
	build_finish(out, negative, scale, digits + first, lengthof(digits) - first, fraction);
}

/*
 * Up to 16 digits, four groups in one word: `rest` is the number in units of the lowest group,
 * below 10^16.
 */
static inline void
build_four(uint8 *out, bool negative, int scale, uint64 rest, int fraction)
{
	uint32 high = rest / 100000000;
	uint32 low = rest % 100000000;
	uint64 groups = (uint64) (high / 10000) | (uint64) (high % 10000) << 16 |
					(uint64) (low / 10000) << 32 | (uint64) (low % 10000) << 48;
	int first = groups == 0 ? 0 : __builtin_ctzll(groups) / 16;
	int ndigits = groups == 0 ? 0 : 4 - first - __builtin_clzll(groups) / 16;
	int weight = groups == 0 ? 0 : 3 - first - fraction;
	uint16 header = HEADER_SHORT | (negative ? SHORT_NEGATIVE : 0) | (scale << SHORT_SCALE_SHIFT) |
					(weight & (SHORT_WEIGHT_SIGN | SHORT_WEIGHT_MASK));

	/* all four digits are written; the length says how many count */
	groups >>= 16 * first;
	SET_VARSIZE(out, VARHDRSZ + 2 + 2 * ndigits);
	memcpy(out + VARHDRSZ, &header, 2);
	memcpy(out + VARHDRSZ + 2, &groups, 8);
}

/* The general case of 64 bits. */
static pg_noinline void
build_long(int64 value, int scale, uint8 *out)
{
	bool negative = value < 0;
	uint64 rest = negative ? -(uint64) value : (uint64) value;
	int fraction = (scale + 3) / 4;
	int partial = scale % 4;
	uint16 digits[8];
	int first = lengthof(digits);

	if (rest != 0 && partial != 0)
	{
		uint64 divisor = power_of_ten[partial];

		if (rest < UINT64CONST(10000000000000000))
			rest *= power_of_ten[4 - partial];
		else
		{
			digits[--first] = (rest % divisor) * power_of_ten[4 - partial];
			rest /= divisor;
		}
	}
	for (; rest != 0; rest /= 10000)
		digits[--first] = rest % 10000;
	build_finish(out, negative, scale, digits + first, lengthof(digits) - first, fraction);
}

void
pack_numeric_build64(int64 value, int scale, uint8 *out)
{
	pack_numeric_build_many(&value, 1, scale, out);
}

void
pack_numeric_build_many(const int64 *values, int n, int scale, uint8 *out)
{
	int fraction = (scale + 3) / 4;
	uint64 factor = scale % 4 == 0 ? 1 : power_of_ten[4 - scale % 4];

	for (int i = 0; i < n; i++, out += PACK_NUMERIC_STRIDE64)
	{
		int64 value = values[i];
		bool negative = value < 0;
		uint64 rest = negative ? -(uint64) value : (uint64) value;

		if (likely(rest < UINT64CONST(1000000000000)))
			build_four(out, negative, scale, rest * factor, fraction);
		else
			build_long(value, scale, out);
	}
}
