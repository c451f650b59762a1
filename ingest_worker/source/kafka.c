/*
 * kafka.c
 *		The Kafka source: partition 0 of one topic, by librdkafka.
 *
 * No consumer group: the position is kept with the data, and reading starts exactly there. The
 * partition's log must still hold that position; a log that begins above it, or ends below it, was
 * cut or made anew, and stops the feed. The last applied message is read again first and compared
 * (CRC-32C of its value), which catches a topic that was made anew and has grown past the position.
 * A hole between offsets is lost data unless the feed says that holes are normal (compaction,
 * transactions). Drainer writes partition 0 only: a message elsewhere is an error, not ignored.
 *
 * Threads: librdkafka's threads never run PostgreSQL's code. They are started with all signals
 * blocked; logs and errors are queued and handled when the worker polls; a pipe that a librdkafka
 * thread writes to when the empty queue gets a message wakes the worker's WaitLatchOrSocket.
 *
 * Memory: librdkafka fetches ahead up to a quarter of the feed's memory limit (outside palloc). A
 * message that is larger is fetched alone; while it is being received and parsed librdkafka holds
 * up to twice its size.
 */
#include "source/source_internal.h"

#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <unistd.h>

#include "port/pg_crc32c.h"
#include "utils/timestamp.h"

/* How long a call to the broker may take, ms. */
#define BROKER_TIMEOUT_MS 5000
/* The same while the worker only asks whether the broker is back. */
#define PROBE_TIMEOUT_MS 500

typedef struct KafkaSource
{
	Source source;
	char *topic_name;
	char *brokers;
	rd_kafka_t *client;
	rd_kafka_topic_t *topic;
	rd_kafka_queue_t *queue;
	int partitions; /* that are being read */
	int pipe[2];	/* wakes the worker */
	bool ignore_gaps;

	int64 start;	/* first offset to give out */
	int64 expected; /* the next one, -1 = whatever comes first */
	int64 seen_end; /* end of the partition when it was last reached, -1 = not yet */
	SourceEvidence evidence;
	bool verify; /* the evidence is still to be compared */

	rd_kafka_message_t *held;
	bool down; /* no broker answers */
	char trouble[SOURCE_TEXT_LEN];
	char last_log[SOURCE_TEXT_LEN];
} KafkaSource;

/* Runs in the worker's thread, from rd_kafka_poll. */
static void
log_callback(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
	KafkaSource *kafka = (KafkaSource *) rd_kafka_opaque(client);

	if (kafka && level <= 4)
		strlcpy(kafka->last_log, text, sizeof(kafka->last_log));
	elog(DEBUG1, "librdkafka: %s: %s", facility, text);
}

/* Runs in the worker's thread, from rd_kafka_poll. */
static void
error_callback(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
	KafkaSource *kafka = (KafkaSource *) opaque;

	elog(DEBUG1, "librdkafka: %s: %s", rd_kafka_err2name(code), reason);
	strlcpy(kafka->last_log, reason, sizeof(kafka->last_log));
	switch (code)
	{
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		case RD_KAFKA_RESP_ERR__TRANSPORT:
		case RD_KAFKA_RESP_ERR__RESOLVE:
		case RD_KAFKA_RESP_ERR__TIMED_OUT:
			/* perhaps one broker of several: kafka_trouble asks */
			kafka->down = true;
			snprintf(kafka->trouble, sizeof(kafka->trouble), "no broker of %s answers: %s",
					 kafka->brokers, reason);
			break;
		default:
			break;
	}
}

static void
kafka_close(Source *source)
{
	KafkaSource *kafka = (KafkaSource *) source;

	if (kafka->held)
		rd_kafka_message_destroy(kafka->held);
	if (kafka->queue)
		rd_kafka_queue_io_event_enable(kafka->queue, -1, NULL, 0);
	for (int i = 0; i < kafka->partitions; i++)
		rd_kafka_consume_stop(kafka->topic, i);
	if (kafka->queue)
		rd_kafka_queue_destroy(kafka->queue);
	if (kafka->topic)
		rd_kafka_topic_destroy(kafka->topic);
	if (kafka->client)
		rd_kafka_destroy_flags(kafka->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	for (int i = 0; i < 2; i++)
		if (kafka->pipe[i] >= 0)
			close(kafka->pipe[i]);
	free(kafka->topic_name);
	free(kafka->brokers);
	free(kafka);
}

/*
 * First offset of partition 0 and the one behind its last, as the broker has them now. Not by
 * rd_kafka_query_watermark_offsets, which does not keep its time limit when the broker goes away:
 * the times "earliest" and "latest" of a look-up by time mean the same.
 */
static rd_kafka_resp_err_t
query_offsets(KafkaSource *kafka, int64 *low, int64 *high, int timeout_ms)
{
	const int64 times[] = {RD_KAFKA_OFFSET_BEGINNING, RD_KAFKA_OFFSET_END};
	int64 *const results[] = {low, high};
	rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

	for (int i = 0; i < lengthof(times) && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
	{
		rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
		rd_kafka_topic_partition_t *partition =
			rd_kafka_topic_partition_list_add(list, kafka->topic_name, 0);

		partition->offset = times[i];
		code = rd_kafka_offsets_for_times(kafka->client, list, timeout_ms);
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			code = partition->err;
		*results[i] = partition->offset;
		rd_kafka_topic_partition_list_destroy(list);
	}
	return code;
}

static bool
set_property(rd_kafka_conf_t *conf, const char *name, const char *value, SourceError *error)
{
	char reason[SOURCE_TEXT_LEN];

	if (rd_kafka_conf_set(conf, name, value, reason, sizeof(reason)) == RD_KAFKA_CONF_OK)
		return true;
	source_fail(error, false, ERRCODE_INVALID_PARAMETER_VALUE, "librdkafka refused property \"%s\"",
				name);
	source_detail(error, "It said: %s", reason);
	return false;
}

/* Our own settings first, so that the user's, all from the allow-list, win. */
static bool
configure(rd_kafka_conf_t *conf, const SourceConfig *config, SourceError *error)
{
	char ahead[32];
	ListCell *cell;
	/* what decides about correctness stands behind the user's settings */
	const char *const fixed[][2] = {
		{"bootstrap.servers", config->uri->brokers},
		{"enable.auto.commit", "false"},
		{"enable.auto.offset.store", "false"},
		{"auto.offset.reset", "error"},
		{"enable.partition.eof", "true"},
		{"allow.auto.create.topics", "false"},
		{"log.queue", "true"},
	};

	snprintf(ahead, sizeof(ahead), INT64_FORMAT,
			 Min(Max(config->memory_limit / 4 / 1024, 1024), 1024 * 1024));
	if (!set_property(conf, "client.id", "magic_fdw", error) ||
		!set_property(conf, "queued.max.messages.kbytes", ahead, error) ||
		!set_property(conf, "queued.min.messages", "1000000", error) ||
		!set_property(conf, "fetch.wait.max.ms", "100", error) ||
		!set_property(conf, "fetch.error.backoff.ms", "100", error) ||
		!set_property(conf, "reconnect.backoff.max.ms", "2000", error) ||
		/* a broker sends a larger message alone; what it may be at most is the second one */
		!set_property(conf, "fetch.message.max.bytes", "8388608", error) ||
		!set_property(conf, "receive.message.max.bytes", "2147483647", error))
		return false;
	foreach (cell, config->uri->kafka_options)
	{
		FeedUriOption *option = lfirst(cell);

		if (!set_property(conf, option->name, option->value, error))
			return false;
	}
	for (int i = 0; i < lengthof(fixed); i++)
		if (!set_property(conf, fixed[i][0], fixed[i][1], error))
			return false;
	return true;
}

/* Starts the client with all signals blocked, so that its threads never take one of ours. */
static bool
start_client(KafkaSource *kafka, const SourceConfig *config, SourceError *error)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char reason[SOURCE_TEXT_LEN];
	sigset_t all;
	sigset_t before;

	if (!configure(conf, config, error))
	{
		rd_kafka_conf_destroy(conf);
		return false;
	}
	rd_kafka_conf_set_opaque(conf, kafka);
	rd_kafka_conf_set_log_cb(conf, log_callback);
	rd_kafka_conf_set_error_cb(conf, error_callback);

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	kafka->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!kafka->client)
	{
		rd_kafka_conf_destroy(conf);
		source_fail(error, true, ERRCODE_CONNECTION_FAILURE, "could not start librdkafka: %s",
					reason);
		return false;
	}
	rd_kafka_set_log_queue(kafka->client, NULL);
	kafka->topic = rd_kafka_topic_new(kafka->client, kafka->topic_name, NULL);
	if (!kafka->topic)
	{
		source_fail(error, true, ERRCODE_CONNECTION_FAILURE, "could not open topic \"%s\": %s",
					kafka->topic_name, rd_kafka_err2str(rd_kafka_last_error()));
		return false;
	}
	return true;
}

/* A call to the broker failed. */
static void
broker_error(KafkaSource *kafka, const char *doing, rd_kafka_resp_err_t code, SourceError *error)
{
	bool forbidden = code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
					 code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
					 code == RD_KAFKA_RESP_ERR__AUTHENTICATION;

	/* what librdkafka logged meanwhile says more than a time-out */
	rd_kafka_poll(kafka->client, 0);
	if (forbidden)
	{
		source_fail(error, false, ERRCODE_INSUFFICIENT_PRIVILEGE,
					"not allowed to read topic \"%s\" at %s: %s", kafka->topic_name, kafka->brokers,
					rd_kafka_err2str(code));
		source_hint(error, "Grant the right in Kafka, then resume the feed.");
		return;
	}
	source_fail(error, true, ERRCODE_CONNECTION_FAILURE, "could not %s of topic \"%s\" at %s: %s",
				doing, kafka->topic_name, kafka->brokers, rd_kafka_err2str(code));
	if (kafka->last_log[0])
		source_detail(error, "%s", kafka->last_log);
}

/* Number of partitions of the topic; -1 with an error. */
static int
count_partitions(KafkaSource *kafka, SourceError *error)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t code =
		rd_kafka_metadata(kafka->client, 0, kafka->topic, &metadata, BROKER_TIMEOUT_MS);
	int n = 0;

	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		broker_error(kafka, "get the metadata", code, error);
		return -1;
	}
	if (metadata->topic_cnt == 1)
	{
		code = metadata->topics[0].err;
		n = metadata->topics[0].partition_cnt;
	}
	rd_kafka_metadata_destroy(metadata);
	if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || (code == 0 && n == 0))
	{
		source_fail(error, true, ERRCODE_UNDEFINED_OBJECT, "topic \"%s\" does not exist at %s",
					kafka->topic_name, kafka->brokers);
		source_hint(error, "The feed starts when the topic is there. Drainer's default name is "
						   "the cluster's id with \"_obinlog\".");
		return -1;
	}
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		broker_error(kafka, "get the metadata", code, error);
		return -1;
	}
	return n;
}

/* Does partition 0 still hold the position? */
static bool
check_position(KafkaSource *kafka, const SourceConfig *config, SourceError *error)
{
	int64 low;
	int64 high;
	rd_kafka_resp_err_t code = query_offsets(kafka, &low, &high, BROKER_TIMEOUT_MS);

	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		broker_error(kafka, "get the offsets", code, error);
		return false;
	}
	if (config->start.offset >= 0 && (config->start.offset < low || config->start.offset > high))
	{
		source_fail(error, false, ERRCODE_DATA_CORRUPTED,
					"topic \"%s\", partition 0 no longer holds offset " INT64_FORMAT,
					kafka->topic_name, config->start.offset);
		source_detail(
			error,
			config->start.offset < low
				? "Its log begins at offset " INT64_FORMAT " and ends before " INT64_FORMAT
				  ": messages that were not applied have been deleted."
				: "Its log begins at offset " INT64_FORMAT " and ends before " INT64_FORMAT
				  ": the topic was deleted and made anew, or lost its end.",
			low, high);
		source_hint(error, "What is missing cannot be read again: drop the feed and load the "
						   "tables anew. If the messages are in the topic at other offsets, use "
						   "magic.seek and magic.resume.");
		return false;
	}
	kafka->start = config->start.offset >= 0 ? config->start.offset : low;
	kafka->expected = kafka->start;
	kafka->evidence = config->evidence;
	kafka->verify = config->evidence.known && config->evidence.at.offset >= low &&
					config->evidence.at.offset < kafka->start;
	return true;
}

static bool
start_reading(KafkaSource *kafka, int partitions, SourceError *error)
{
	kafka->queue = rd_kafka_queue_new(kafka->client);
	rd_kafka_queue_io_event_enable(kafka->queue, kafka->pipe[1], "m", 1);
	for (int i = 0; i < partitions; i++)
	{
		int64 from = i > 0			 ? RD_KAFKA_OFFSET_BEGINNING
					 : kafka->verify ? kafka->evidence.at.offset
									 : kafka->start;

		if (rd_kafka_consume_start_queue(kafka->topic, i, from, kafka->queue) != 0)
		{
			broker_error(kafka, "start reading", rd_kafka_last_error(), error);
			return false;
		}
		kafka->partitions = i + 1;
	}
	return true;
}

static bool
kafka_end(Source *source, SourcePosition *end, SourceError *error)
{
	KafkaSource *kafka = (KafkaSource *) source;
	int64 low;
	int64 high;
	rd_kafka_resp_err_t code = query_offsets(kafka, &low, &high, BROKER_TIMEOUT_MS);

	if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		broker_error(kafka, "get the offsets", code, error);
		return false;
	}
	memset(end, 0, sizeof(*end));
	end->offset = high;
	return true;
}

static bool
kafka_reached(Source *source, const SourcePosition *end)
{
	KafkaSource *kafka = (KafkaSource *) source;

	return Max(kafka->expected, kafka->seen_end) >= end->offset;
}

static bool
kafka_drained(Source *source)
{
	KafkaSource *kafka = (KafkaSource *) source;
	int64 low;
	int64 high;

	/* the end as the last fetch saw it */
	if (rd_kafka_get_watermark_offsets(kafka->client, kafka->topic_name, 0, &low, &high) !=
			RD_KAFKA_RESP_ERR_NO_ERROR ||
		high < 0)
		return true;
	return Max(kafka->expected, kafka->seen_end) >= high;
}

static const char *
kafka_trouble(Source *source)
{
	KafkaSource *kafka = (KafkaSource *) source;
	SourcePosition end;
	int64 low;

	rd_kafka_poll(kafka->client, 0);
	if (kafka->down &&
		query_offsets(kafka, &low, &end.offset, PROBE_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
		kafka->down = false;
	return kafka->down ? kafka->trouble : NULL;
}

static int64
kafka_distance(Source *source, const SourcePosition *from)
{
	KafkaSource *kafka = (KafkaSource *) source;
	int64 low;
	int64 high;

	if (rd_kafka_get_watermark_offsets(kafka->client, kafka->topic_name, 0, &low, &high) !=
			RD_KAFKA_RESP_ERR_NO_ERROR ||
		high < 0)
		return -1;
	return Max(high - (from->offset >= 0 ? from->offset : low), 0);
}

/* What an error in place of a message means. False: nothing, read on. */
static bool
read_error(KafkaSource *kafka, const rd_kafka_message_t *message, SourceError *error)
{
	switch (message->err)
	{
		case RD_KAFKA_RESP_ERR__PARTITION_EOF:
			if (message->partition == 0)
				kafka->seen_end = message->offset;
			kafka->down = false;
			return false;

		case RD_KAFKA_RESP_ERR__TRANSPORT:
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		case RD_KAFKA_RESP_ERR__TIMED_OUT:
		case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
		case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
		case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
			/* librdkafka goes on trying by itself */
			kafka->down = true;
			snprintf(kafka->trouble, sizeof(kafka->trouble), "%s",
					 rd_kafka_message_errstr(message));
			return false;

		case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
		case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
			source_fail(error, false, ERRCODE_DATA_CORRUPTED,
						"topic \"%s\", partition %d no longer holds offset " INT64_FORMAT,
						kafka->topic_name, message->partition, kafka->expected);
			source_detail(error, "%s", rd_kafka_message_errstr(message));
			source_hint(error, "The topic lost messages that were not applied, or was made anew: "
							   "drop the feed and load the tables anew.");
			return true;

		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			broker_error(kafka, "read partition 0", message->err, error);
			return true;

		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		case RD_KAFKA_RESP_ERR__BAD_MSG:
		case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
		case RD_KAFKA_RESP_ERR_INVALID_MSG:
			source_fail(error, false, ERRCODE_DATA_CORRUPTED,
						"could not read topic \"%s\", partition %d at offset " INT64_FORMAT ": %s",
						kafka->topic_name, message->partition, kafka->expected,
						rd_kafka_message_errstr(message));
			source_hint(error, "Everything before that offset is applied. Repair the topic, then "
							   "resume the feed.");
			return true;

		default:
			broker_error(kafka, "read partition 0", message->err, error);
			return true;
	}
}

static uint32
crc_of(const void *data, size_t len)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, len);
	FIN_CRC32C(crc);
	return crc;
}

/* Compares the message that was applied last with what stands there now. */
static bool
same_as_evidence(KafkaSource *kafka, const rd_kafka_message_t *message, SourceError *error)
{
	const SourceEvidence *evidence = &kafka->evidence;

	kafka->verify = false;
	if (message->offset == evidence->at.offset &&
		crc_of(message->payload, message->len) == evidence->crc)
		return true;
	if (message->offset != evidence->at.offset && kafka->ignore_gaps)
		return true;
	source_fail(error, false, ERRCODE_DATA_CORRUPTED,
				"topic \"%s\", partition 0 has another message at offset " INT64_FORMAT
				" than the one that was applied",
				kafka->topic_name, evidence->at.offset);
	source_detail(error, "The message that was applied last had TS " INT64_FORMAT ".",
				  evidence->commit_ts);
	source_hint(error, "The topic was made anew, or the feed reads another cluster. Drop the feed "
					   "and load the tables anew; if the stream is the same at other offsets, use "
					   "magic.seek and magic.resume.");
	return false;
}

/* Is this the message that has to come next? */
static bool
check_message(KafkaSource *kafka, const rd_kafka_message_t *message, SourceError *error)
{
	if (message->partition != 0)
	{
		source_fail(
			error, false, ERRCODE_DATA_CORRUPTED,
			"topic \"%s\" has a message outside partition 0: partition %d, offset " INT64_FORMAT,
			kafka->topic_name, message->partition, message->offset);
		source_detail(error, "Drainer writes partition 0 only; with more there is no order.");
		source_hint(error, "Check that the topic is Drainer's and that nothing else writes to it.");
		return false;
	}
	if (kafka->expected >= 0 && message->offset > kafka->expected && !kafka->ignore_gaps)
	{
		source_fail(error, false, ERRCODE_DATA_CORRUPTED,
					"topic \"%s\", partition 0 has a hole before offset " INT64_FORMAT,
					kafka->topic_name, message->offset);
		source_detail(error,
					  "Offset " INT64_FORMAT " was to come next; everything before it is applied.",
					  kafka->expected);
		source_hint(error,
					"If the topic is compacted or written by transactions, holes are normal: "
					"use magic.alter_feed(..., on_gap => 'ignore') and magic.resume. Else "
					"messages are lost.");
		return false;
	}
	return true;
}

static SourceResult
kafka_next(Source *source, SourceRecord *record, SourceError *error)
{
	KafkaSource *kafka = (KafkaSource *) source;
	rd_kafka_message_t *message;
	rd_kafka_timestamp_type_t kind;

	Assert(!kafka->held);
	for (;;)
	{
		message = rd_kafka_consume_queue(kafka->queue, 0);
		if (!message)
		{
			rd_kafka_poll(kafka->client, 0);
			return SOURCE_EMPTY;
		}
		kafka->held = message;
		if (message->err)
		{
			if (read_error(kafka, message, error))
				return SOURCE_FAILED;
		}
		else if (!check_message(kafka, message, error) ||
				 (kafka->verify && message->partition == 0 &&
				  !same_as_evidence(kafka, message, error)))
			return SOURCE_FAILED;
		else if (message->offset >= kafka->start)
			break;
		kafka->held = NULL;
		rd_kafka_message_destroy(message);
	}

	kafka->down = false;
	kafka->expected = message->offset + 1;
	memset(record, 0, sizeof(*record));
	record->topic = kafka->topic_name;
	record->partition = message->partition;
	record->at.offset = message->offset;
	record->next.offset = message->offset + 1;
	record->timestamp_ms = rd_kafka_message_timestamp(message, &kind);
	if (kind == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || record->timestamp_ms < 0)
		record->timestamp_ms = 0;
	record->key = message->key;
	record->key_len = message->key_len;
	record->value = message->payload;
	record->value_len = message->len;
	record->crc = crc_of(message->payload, message->len);
	return SOURCE_RECORD;
}

static void
kafka_release(Source *source, SourceRecord *record)
{
	KafkaSource *kafka = (KafkaSource *) source;

	if (kafka->held)
		rd_kafka_message_destroy(kafka->held);
	kafka->held = NULL;
}

static int
kafka_wait_fd(Source *source)
{
	return ((KafkaSource *) source)->pipe[0];
}

static void
kafka_clear_fd(Source *source)
{
	char bytes[256];

	while (read(((KafkaSource *) source)->pipe[0], bytes, sizeof(bytes)) > 0)
		;
}

static const SourceMethods kafka_methods = {
	.next = kafka_next,
	.release = kafka_release,
	.end = kafka_end,
	.reached = kafka_reached,
	.drained = kafka_drained,
	.trouble = kafka_trouble,
	.distance = kafka_distance,
	.wait_fd = kafka_wait_fd,
	.clear_fd = kafka_clear_fd,
	.close = kafka_close,
};

Source *
kafka_open(const SourceConfig *config, SourceError *error)
{
	KafkaSource *kafka = calloc(1, sizeof(KafkaSource));
	int partitions;

	if (!kafka)
	{
		source_fail(error, true, ERRCODE_OUT_OF_MEMORY, "out of memory");
		return NULL;
	}
	kafka->source.methods = &kafka_methods;
	kafka->pipe[0] = kafka->pipe[1] = -1;
	kafka->seen_end = -1;
	kafka->ignore_gaps = config->ignore_gaps;
	kafka->topic_name = strdup(config->uri->topic);
	kafka->brokers = strdup(config->uri->brokers);
	if (!kafka->topic_name || !kafka->brokers || pipe2(kafka->pipe, O_NONBLOCK | O_CLOEXEC) != 0)
		source_fail(error, true, ERRCODE_OUT_OF_MEMORY, "could not open the Kafka source: %s",
					strerror(errno));
	else if (start_client(kafka, config, error) &&
			 (partitions = count_partitions(kafka, error)) > 0 &&
			 check_position(kafka, config, error) && start_reading(kafka, partitions, error))
		return &kafka->source;
	kafka_close(&kafka->source);
	return NULL;
}
