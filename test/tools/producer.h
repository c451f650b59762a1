/*
 * producer.h
 *		Sending to Kafka for the tools of the tests: in order, everything acknowledged.
 *
 * Each function ends the program with a message if it cannot do what it says. One request is in
 * flight at a time, so a retry never changes the order.
 */
#ifndef PRODUCER_H
#define PRODUCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

/* Called when the broker acknowledged a message; opaque is what producer_send was given. */
typedef void (*ProducerAcknowledged)(int64_t opaque, int64_t offset);

extern void die(const char *what, const char *detail);
extern double monotonic_seconds(void);

/*
 * paced: send each message at once instead of gathering batches. transactional_id: NULL for none;
 * acknowledged: NULL for none.
 */
extern rd_kafka_t *producer_open(const char *brokers, bool paced, const char *transactional_id,
								 ProducerAcknowledged acknowledged);

/* Copies the message into the queue; waits while it is full. */
extern void producer_send(rd_kafka_t *handle, const char *topic, int32_t partition, const void *key,
						  size_t key_len, const void *value, size_t value_len, int64_t opaque);

/* Serve callbacks until message number `sent` is due at `rate` messages a second since `start`. */
extern void producer_pace(rd_kafka_t *handle, double start, double rate, int64_t sent);

/* Wait until everything is acknowledged and close. Numbers of messages acknowledged and failed. */
extern void producer_close(rd_kafka_t *handle, int64_t *acknowledged, int64_t *failed,
						   int64_t *last_offset);

#endif /* PRODUCER_H */
