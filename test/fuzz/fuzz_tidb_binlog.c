/*
 * Fuzz the decoder of Kafka messages: whatever the bytes, it neither crashes nor delivers an event
 * of a message that it refuses, and what it delivers lies within the message.
 *
 * sources: ingest_worker/decode/[a-z]*.c
 */
#include "fuzz/fuzz_decode.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_decode(DECODER_TIDB_BINLOG, data, size);
	return 0;
}
