/*
 * produce.c
 *		Send recorded messages to a topic, in their order.
 *
 * usage: produce --brokers LIST --topic NAME [options] FILE
 *
 *		--partition N		partition (default 0)
 *		--rate N			messages a second (default: as fast as it goes)
 *		--from TS			only messages with a commit TS above TS
 *		--upto TS			only messages with a commit TS up to and including TS
 *		--transaction N		commit a Kafka transaction after every N messages; each commit leaves a
 *							hole of one offset (a real broker only)
 *		--abort				with --transaction: abort every second transaction after sending its
 *							messages, then send them again
 *		--progress			print "TS OFFSET" for each acknowledged message
 *		--quiet				no closing line
 *
 * FILE is a fixture's messages.tsv, "-" for standard input: lines of commit TS, partition, key in hex
 * and value in hex, separated by tabs; the partition column is not used.  Message sizes up to 1 GB.
 * One request is in flight at a time, so a retry never changes the order.  Exit status 0 only if the
 * broker acknowledged every message.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

typedef struct Options
{
	const char *brokers;
	const char *topic;
	const char *file;
	int32_t		partition;
	double		rate;
	int64_t		from;
	int64_t		upto;
	int			transaction;
	bool		abort;
	bool		progress;
	bool		quiet;
} Options;

typedef struct Record
{
	int64_t		commit_ts;
	uint8_t    *key;
	size_t		key_len;
	uint8_t    *value;
	size_t		value_len;
} Record;

static int64_t acknowledged;
static int64_t failed;
static int64_t last_offset = -1;
static bool progress;

static void
die(const char *what, const char *detail)
{
	fprintf(stderr, "produce: %s: %s\n", what, detail);
	exit(1);
}

static void
on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
	if (message->err)
	{
		if (failed++ == 0 && message->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE)
			fprintf(stderr, "produce: %s\n", rd_kafka_err2str(message->err));
		return;
	}
	acknowledged++;
	last_offset = message->offset;
	if (progress)
	{
		printf("%" PRId64 " %" PRId64 "\n", (int64_t) (intptr_t) message->_private, last_offset);
		fflush(stdout);
	}
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		errstr[512];

	if (rd_kafka_conf_set(conf, name, value, errstr, sizeof(errstr)) != RD_KAFKA_CONF_OK)
		die(name, errstr);
}

static rd_kafka_t *
open_producer(const Options *options)
{
	char		errstr[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *handle;

	set(conf, "bootstrap.servers", options->brokers);
	set(conf, "acks", "all");
	set(conf, "max.in.flight.requests.per.connection", "1");
	set(conf, "message.max.bytes", "1000000000");
	set(conf, "queue.buffering.max.kbytes", "2097151");
	set(conf, "queue.buffering.max.messages", "1000000");
	set(conf, "batch.size", "4000000");
	set(conf, "linger.ms", options->rate > 0 ? "0" : "5");
	set(conf, "message.timeout.ms", "120000");
	set(conf, "log_level", "3");
	if (options->transaction > 0)
	{
		set(conf, "transactional.id", "produce");
		set(conf, "transaction.timeout.ms", "120000");
	}
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (!handle)
		die("could not create a producer", errstr);
	return handle;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	die("bad hex digit", (char[]) {c, '\0'});
	return 0;
}

/* Decode hex in place; the result is shorter than the text. */
static size_t
decode_hex(char *text)
{
	size_t		n = 0;

	for (char *p = text; p[0]; p += 2)
	{
		if (!p[1])
			die("odd number of hex digits", "");
		text[n++] = (char) (hex_digit(p[0]) << 4 | hex_digit(p[1]));
	}
	return n;
}

static void
parse_line(char *line, Record *record)
{
	char	   *field[4];
	char	   *rest = line;

	for (int i = 0; i < 4; i++)
	{
		field[i] = strsep(&rest, "\t\n");
		if (!field[i])
			die("a line has fewer than four fields", line);
	}
	record->commit_ts = strtoll(field[0], NULL, 10);
	record->key = (uint8_t *) field[2];
	record->key_len = decode_hex(field[2]);
	record->value = (uint8_t *) field[3];
	record->value_len = decode_hex(field[3]);
}

static void
send_record(rd_kafka_t *handle, const Options *options, const Record *record)
{
	for (;;)
	{
		rd_kafka_resp_err_t err = rd_kafka_producev(
			handle, RD_KAFKA_V_TOPIC(options->topic), RD_KAFKA_V_PARTITION(options->partition),
			RD_KAFKA_V_KEY(record->key_len ? record->key : NULL, record->key_len),
			RD_KAFKA_V_VALUE(record->value, record->value_len),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
			RD_KAFKA_V_OPAQUE((void *) (intptr_t) record->commit_ts), RD_KAFKA_V_END);

		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			break;
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			die("could not send", rd_kafka_err2str(err));
		rd_kafka_poll(handle, 100);
	}
	rd_kafka_poll(handle, 0);
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Serve callbacks until the next message is due. */
static void
keep_rate(rd_kafka_t *handle, double start, double rate, int64_t sent)
{
	double		due = start + sent / rate;

	for (double left = due - now(); left > 0; left = due - now())
		rd_kafka_poll(handle, left * 1000 < 1 ? 1 : (int) (left * 1000));
}

static void
check(rd_kafka_error_t *error)
{
	if (error)
		die("transaction", rd_kafka_error_string(error));
}

/*
 * End the open transaction.  The messages of an aborted one stay in the log as records that a
 * consumer must not see, so its offsets are a hole; the caller sends them again.
 */
static void
end_transaction(rd_kafka_t *handle, bool abort)
{
	if (abort)
	{
		rd_kafka_flush(handle, 60000);
		check(rd_kafka_abort_transaction(handle, 60000));
	}
	else
		check(rd_kafka_commit_transaction(handle, 60000));
}

/* Send one group of lines as one transaction, aborting it once first if asked to. */
static void
send_group(rd_kafka_t *handle, const Options *options, Record *group, int count, int64_t number)
{
	bool		abort_first = options->abort && number % 2 == 1;

	for (int round = abort_first ? 0 : 1; round < 2; round++)
	{
		check(rd_kafka_begin_transaction(handle));
		for (int i = 0; i < count; i++)
			send_record(handle, options, &group[i]);
		end_transaction(handle, round == 0);
	}
}

static void
send_transactions(rd_kafka_t *handle, const Options *options, FILE *input)
{
	Record	   *group = calloc(options->transaction, sizeof(Record));
	char	  **lines = calloc(options->transaction, sizeof(char *));
	int			count = 0;
	int64_t		number = 0;
	size_t		size = 0;
	bool		more = true;

	check(rd_kafka_init_transactions(handle, 60000));
	while (more)
	{
		size = 0;
		lines[count] = NULL;
		more = getline(&lines[count], &size, input) > 0;
		if (more)
		{
			parse_line(lines[count], &group[count]);
			if (group[count].commit_ts > options->from && group[count].commit_ts <= options->upto)
				count++;
			else
				free(lines[count]);
		}
		if (count == options->transaction || (!more && count > 0))
		{
			send_group(handle, options, group, count, number++);
			while (count > 0)
				free(lines[--count]);
		}
	}
}

static void
send_all(rd_kafka_t *handle, const Options *options, FILE *input)
{
	char	   *line = NULL;
	size_t		size = 0;
	Record		record;
	int64_t		sent = 0;
	double		start = now();

	while (getline(&line, &size, input) > 0)
	{
		parse_line(line, &record);
		if (record.commit_ts <= options->from || record.commit_ts > options->upto)
			continue;
		if (options->rate > 0)
			keep_rate(handle, start, options->rate, sent);
		send_record(handle, options, &record);
		sent++;
	}
	free(line);
}

static void
parse_options(int argc, char **argv, Options *options)
{
	for (int i = 1; i < argc; i++)
	{
		const char *name = argv[i];
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(name, "--progress") == 0)
			options->progress = true;
		else if (strcmp(name, "--quiet") == 0)
			options->quiet = true;
		else if (strcmp(name, "--abort") == 0)
			options->abort = true;
		else if (strncmp(name, "--", 2) != 0)
			options->file = name;
		else if (!value)
			die("option without a value", name);
		else
		{
			i++;
			if (strcmp(name, "--brokers") == 0)
				options->brokers = value;
			else if (strcmp(name, "--topic") == 0)
				options->topic = value;
			else if (strcmp(name, "--partition") == 0)
				options->partition = atoi(value);
			else if (strcmp(name, "--rate") == 0)
				options->rate = atof(value);
			else if (strcmp(name, "--from") == 0)
				options->from = strtoll(value, NULL, 10);
			else if (strcmp(name, "--upto") == 0)
				options->upto = strtoll(value, NULL, 10);
			else if (strcmp(name, "--transaction") == 0)
				options->transaction = atoi(value);
			else
				die("unknown option", name);
		}
	}
	if (!options->brokers || !options->topic || !options->file)
		die("usage", "produce --brokers LIST --topic NAME [options] FILE");
}

int
main(int argc, char **argv)
{
	Options		options = {.from = INT64_MIN, .upto = INT64_MAX};
	FILE	   *input = stdin;
	rd_kafka_t *handle;

	parse_options(argc, argv, &options);
	progress = options.progress;
	if (strcmp(options.file, "-") != 0)
		input = fopen(options.file, "r");
	if (!input)
		die(options.file, strerror(errno));
	handle = open_producer(&options);

	if (options.transaction > 0)
		send_transactions(handle, &options, input);
	else
		send_all(handle, &options, input);

	if (rd_kafka_flush(handle, 120000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("flush", "the broker did not acknowledge everything in 120 s");
	if (!options.quiet)
		printf("produced %" PRId64 " messages, last offset %" PRId64 "\n", acknowledged, last_offset);
	rd_kafka_destroy(handle);
	return failed > 0 && !options.abort;
}
