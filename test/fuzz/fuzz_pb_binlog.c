/*
 * Fuzz the reader of Drainer's files.  The input is read as a file: framing, CRC, then each record;
 * and, since a fuzzer seldom finds a CRC, once more as the payload of a record.
 *
 * sources: ingest_worker/decode/[a-z]*.c
 */
#include "decode/pb_frame.h"
#include "fuzz/fuzz_decode.h"

static void
fuzz_frames(const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (;;)
	{
		PbRecord record;
		PbRecordResult result = pb_record_next(data + at, size - at, &record);

		if (result == PB_RECORD_NEED_MORE)
		{
			FUZZ_CHECK(record.frame_len > size - at);
			return;
		}
		if (result == PB_RECORD_CORRUPT)
		{
			size_t next = pb_record_scan(data, size, at + 1);

			FUZZ_CHECK(record.problem != PB_PROBLEM_NONE && record.problem_at <= size - at);
			FUZZ_CHECK(next > at && next <= size);
			at = next;
			if (at == size)
				return;
			continue;
		}
		FUZZ_CHECK(record.frame_len <= size - at &&
				   record.payload_len + PB_RECORD_OVERHEAD == record.frame_len);
		fuzz_decode(DECODER_PB_BINLOG, (const uint8_t *) record.payload, record.payload_len);
		at += record.frame_len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_frames(data, size);
	fuzz_decode(DECODER_PB_BINLOG, data, size);
	return 0;
}
