/*-------------------------------------------------------------------------
 *
 * pb_frame.c
 *		Framing, names and order of Drainer's binlog files.
 *
 *-------------------------------------------------------------------------
 */
#include "decode/pb_frame.h"

#include <string.h>
#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static const uint8_t magic_bytes[4] = {0x04, 0x05, 0x1b, 0x1c};

static uint64_t
read_little_endian(const uint8_t *bytes, int count)
{
	uint64_t result = 0;

	for (int i = count - 1; i >= 0; i--)
		result = (result << 8) | bytes[i];
	return result;
}

static PbRecordResult
corrupt(PbRecord *record, PbRecordProblem problem, uint64_t at)
{
	record->problem = problem;
	record->problem_at = at;
	return PB_RECORD_CORRUPT;
}

static PbRecordResult
need_more(PbRecord *record, uint64_t frame_len)
{
	record->frame_len = frame_len;
	return PB_RECORD_NEED_MORE;
}

PbRecordResult
pb_record_next(const void *window, size_t len, PbRecord *record)
{
	const uint8_t *bytes = window;
	uint64_t size;

	memset(record, 0, sizeof(*record));
	for (size_t i = 0; i < sizeof(magic_bytes) && i < len; i++)
	{
		if (bytes[i] != magic_bytes[i])
			return corrupt(record, PB_PROBLEM_MAGIC, 0);
	}
	if (len < PB_RECORD_HEADER)
		return need_more(record, PB_RECORD_HEADER);
	size = read_little_endian(bytes + 4, 8);
	if (size > PB_RECORD_MAX_PAYLOAD)
		return corrupt(record, PB_PROBLEM_SIZE, 4);
	if (len < size + PB_RECORD_OVERHEAD)
		return need_more(record, size + PB_RECORD_OVERHEAD);
	record->payload = (const char *) bytes + PB_RECORD_HEADER;
	record->payload_len = (size_t) size;
	record->frame_len = size + PB_RECORD_OVERHEAD;
	record->stored_crc = (uint32_t) read_little_endian(bytes + PB_RECORD_HEADER + size, 4);
	record->computed_crc = pb_crc32c(record->payload, record->payload_len);
	if (record->stored_crc != record->computed_crc)
		return corrupt(record, PB_PROBLEM_CRC, PB_RECORD_HEADER + size);
	return PB_RECORD_OK;
}

size_t
pb_record_scan(const void *window, size_t len, size_t from)
{
	const uint8_t *bytes = window;

	while (from < len && len - from >= sizeof(magic_bytes))
	{
		const uint8_t *hit =
			memchr(bytes + from, magic_bytes[0], len - from - (sizeof(magic_bytes) - 1));

		if (hit == NULL)
			break;
		if (memcmp(hit, magic_bytes, sizeof(magic_bytes)) == 0)
			return (size_t) (hit - bytes);
		from = (size_t) (hit - bytes) + 1;
	}
	return len;
}

const char *
pb_problem_text(PbRecordProblem problem)
{
	switch (problem)
	{
		case PB_PROBLEM_NONE:
			return "record is complete";
		case PB_PROBLEM_MAGIC:
			return "no record begins here";
		case PB_PROBLEM_SIZE:
			return "record has an impossible size";
		case PB_PROBLEM_CRC:
			return "record has a wrong CRC";
	}
	return "record is damaged";
}

/* ------------------------------------------------------------------------
 * CRC-32C
 * ------------------------------------------------------------------------
 */

/* The polynomial 0x1EDC6F41, bits reversed. */
#define CRC32C_POLYNOMIAL 0x82F63B78u

/* Four bits a step, from a table of 16: only processors without the instruction come here. */
static uint32_t
crc32c_portable(uint32_t crc, const uint8_t *bytes, size_t len)
{
	uint32_t table[16];

	for (uint32_t i = 0; i < 16; i++)
	{
		uint32_t value = i;

		for (int bit = 0; bit < 4; bit++)
			value = (value >> 1) ^ ((value & 1) != 0 ? CRC32C_POLYNOMIAL : 0);
		table[i] = value;
	}
	for (size_t i = 0; i < len; i++)
	{
		crc ^= bytes[i];
		crc = (crc >> 4) ^ table[crc & 15];
		crc = (crc >> 4) ^ table[crc & 15];
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const uint8_t *bytes, size_t len)
{
	uint64_t wide = crc;

	for (; len >= 8; len -= 8, bytes += 8)
	{
		uint64_t word;

		memcpy(&word, bytes, 8);
		wide = _mm_crc32_u64(wide, word);
	}
	crc = (uint32_t) wide;
	for (; len > 0; len--, bytes++)
		crc = _mm_crc32_u8(crc, *bytes);
	return crc;
}
#endif

uint32_t
pb_crc32c(const void *data, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(0xffffffffu, data, len);
#endif
	return ~crc32c_portable(0xffffffffu, data, len);
}

/* ------------------------------------------------------------------------
 * Names
 * ------------------------------------------------------------------------
 */

#define INDEX_DIGITS 16
#define TIME_DIGITS 14

/* Exactly count digits; the place behind them, or NULL. */
static const char *
parse_digits(const char *text, int count, uint64_t *value)
{
	*value = 0;
	for (int i = 0; i < count; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return NULL;
		*value = *value * 10 + (uint64_t) (text[i] - '0');
	}
	return text + count;
}

bool
pb_file_name_parse(const char *name, PbFileName *parsed)
{
	static const char prefix[] = "binlog-";

	memset(parsed, 0, sizeof(*parsed));
	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	name = parse_digits(name + sizeof(prefix) - 1, INDEX_DIGITS, &parsed->index);
	if (name == NULL)
		return false;
	if (*name == '\0')
		return true;
	if (*name != '-')
		return false;
	name = parse_digits(name + 1, TIME_DIGITS, &parsed->time);
	return name != NULL && *name == '\0';
}

int
pb_file_name_compare(const PbFileName *a, const PbFileName *b)
{
	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return 0;
}

bool
pb_file_name_follows(const PbFileName *a, const PbFileName *b)
{
	return b->index == a->index + 1;
}
