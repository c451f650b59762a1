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
 * Exit status 0 only if the broker acknowledged every message.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer.h"

typedef struct Options
{
	const char *brokers;
	const char *topic;
	const char *file;
	int32_t partition;
	double rate;
	int64_t from;
	int64_t upto;
	int transaction;
	bool abort;
	bool progress;
	bool quiet;
} Options;

typedef struct Record
{
	int64_t commit_ts;
	uint8_t *key;
	size_t key_len;
	uint8_t *value;
	size_t value_len;
} Record;

static void
print_progress(int64_t commit_ts, int64_t offset)
{
	printf("%" PRId64 " %" PRId64 "\n", commit_ts, offset);
	fflush(stdout);
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
	die("bad hex digit", (char[]){c, '\0'});
	return 0;
}

/* Decode hex in place; the result is shorter than the text. */
static size_t
decode_hex(char *text)
{
	size_t n = 0;

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
	char *field[4];
	char *rest = line;

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
	producer_send(handle, options->topic, options->partition, record->key, record->key_len,
				  record->value, record->value_len, record->commit_ts);
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
	bool abort_first = options->abort && number % 2 == 1;

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
	Record *group = calloc(options->transaction, sizeof(Record));
	char **lines = calloc(options->transaction, sizeof(char *));
	int count = 0;
	int64_t number = 0;
	size_t size = 0;
	bool more = true;

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
	char *line = NULL;
	size_t size = 0;
	Record record;
	int64_t sent = 0;
	double start = monotonic_seconds();

	while (getline(&line, &size, input) > 0)
	{
		parse_line(line, &record);
		if (record.commit_ts <= options->from || record.commit_ts > options->upto)
			continue;
		if (options->rate > 0)
			producer_pace(handle, start, options->rate, sent);
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
	Options options = {.from = INT64_MIN, .upto = INT64_MAX};
	FILE *input = stdin;
	rd_kafka_t *handle;
	int64_t acknowledged;
	int64_t failed;
	int64_t last_offset;

	parse_options(argc, argv, &options);
	if (strcmp(options.file, "-") != 0)
		input = fopen(options.file, "r");
	if (!input)
		die(options.file, strerror(errno));
	handle =
		producer_open(options.brokers, options.rate > 0, options.transaction > 0 ? "produce" : NULL,
					  options.progress ? print_progress : NULL);

	if (options.transaction > 0)
		send_transactions(handle, &options, input);
	else
		send_all(handle, &options, input);

	producer_close(handle, &acknowledged, &failed, &last_offset);
	if (!options.quiet)
		printf("produced %" PRId64 " messages, last offset %" PRId64 "\n", acknowledged,
			   last_offset);
	return failed > 0 && !options.abort;
}
