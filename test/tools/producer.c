/*
 * producer.c
 *		See producer.h.
 */
#include "producer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t acknowledged_count;
static int64_t failed_count;
static int64_t last_acknowledged = -1;
static ProducerAcknowledged on_acknowledged;

void
die(const char *what, const char *detail)
{
	fprintf(stderr, "%s: %s\n", what, detail);
	exit(1);
}

double
monotonic_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void
on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
	if (message->err)
	{
		/* what an aborted transaction purges from the queue was meant to fail */
		if (failed_count++ == 0 && message->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE)
			fprintf(stderr, "a message failed: %s\n", rd_kafka_err2str(message->err));
		return;
	}
	acknowledged_count++;
	last_acknowledged = message->offset;
	if (on_acknowledged)
		on_acknowledged((int64_t) (intptr_t) message->_private, message->offset);
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char errstr[512];

	if (rd_kafka_conf_set(conf, name, value, errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK)
		die(name, errstr);
}

rd_kafka_t *
producer_open(const char *brokers, bool paced, const char *transactional_id,
			  ProducerAcknowledged acknowledged)
{
	char errstr[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *handle;

	on_acknowledged = acknowledged;
	set(conf, "bootstrap.servers", brokers);
	set(conf, "acks", "all");
	set(conf, "max.in.flight.requests.per.connection", "1");
	set(conf, "message.max.bytes", "1000000000");
	set(conf, "queue.buffering.max.kbytes", "500000");
	set(conf, "queue.buffering.max.messages", "1000000");
	set(conf, "batch.size", "4000000");
	set(conf, "linger.ms", paced ? "0" : "5");
	set(conf, "message.timeout.ms", "120000");
	set(conf, "log_level", "3");
	if (transactional_id)
	{
		set(conf, "transactional.id", transactional_id);
		set(conf, "transaction.timeout.ms", "120000");
	}
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (!handle)
		die("could not create a producer", errstr);
	return handle;
}

void
producer_send(rd_kafka_t *handle, const char *topic, int32_t partition, const void *key,
			  size_t key_len, const void *value, size_t value_len, int64_t opaque)
{
	for (;;)
	{
		rd_kafka_resp_err_t err = rd_kafka_producev(
			handle, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
			RD_KAFKA_V_KEY(key_len ? key : NULL, key_len),
			RD_KAFKA_V_VALUE((void *) value, value_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_OPAQUE((void *) (intptr_t) opaque), RD_KAFKA_V_END);

		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			break;
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			die("could not send", rd_kafka_err2str(err));
		rd_kafka_poll(handle, 100);
	}
	rd_kafka_poll(handle, 0);
}

void
producer_pace(rd_kafka_t *handle, double start, double rate, int64_t sent)
{
	double due = start + sent / rate;

	for (double left = due - monotonic_seconds(); left > 0; left = due - monotonic_seconds())
		rd_kafka_poll(handle, left * 1000 < 1 ? 1 : (int) (left * 1000));
}

void
producer_close(rd_kafka_t *handle, int64_t *acknowledged, int64_t *failed, int64_t *last_offset)
{
	if (rd_kafka_flush(handle, 120000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("flush", "the broker did not acknowledge everything in 120 s");
	*acknowledged = acknowledged_count;
	*failed = failed_count;
	*last_offset = last_acknowledged;
	rd_kafka_destroy(handle);
}
