/*
 * gen_binlog.c
 *		Generate a stream of TiDB Binlog, as Drainer sends it to Kafka, for benchmarks.
 *
 * usage: gen_binlog --brokers LIST --topic NAME --changes N [options]
 *
 *		--mix I/U/D			percent of inserts, updates, deletes (default 100/0/0)
 *		--per-message N		row changes in one message, which is one transaction (default 100)
 *		--rate N			messages a second (default: as fast as it goes)
 *		--table NAME		table in database bench (default orders)
 *		--seed N
 *		--no-database		leave out CREATE DATABASE bench
 *		--tables N			as many tables, NAME1, NAME2, ...; message i goes to table i modulo N; inserts only
 *		--no-schema			leave out all DDL: the tables exist
 *		--after-id N		ids begin behind N
 *
 * The stream begins with CREATE DATABASE and CREATE TABLE.  Values are a function of (id, version), so
 * that old row images cost no memory; sent_us is the wall clock in microseconds when the message was
 * made.  The closing line is JSON: what a reader must find at the end, to be compared with the table.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "producer.h"

typedef struct Options
{
	const char *brokers;
	const char *topic;
	const char *table;
	int64_t changes;
	int inserts;
	int updates;
	int deletes;
	int per_message;
	double rate;
	uint64_t seed;
	bool create_database;
	bool create_tables;
	int tables; /* 0: one, called `table` */
	int64_t after_id;
} Options;

/* A growing message; the length of an embedded message is written after its body is known. */
typedef struct Buffer
{
	uint8_t *data;
	size_t len;
	size_t size;
} Buffer;

typedef struct LiveRow
{
	int64_t id;
	int32_t version;
} LiveRow;

/* The rows as the stream leaves them. */
typedef struct State
{
	LiveRow *live;
	int64_t count;
	int64_t next_id;
	uint64_t random;
	__int128 cents;	  /* sum of amounts of live rows */
	int64_t versions; /* sum of versions of live rows */
} State;

static const char *const status_names[] = {"new", "paid", "packed", "sent", "returned"};

/* ---- protobuf ---- */

static void
reserve(Buffer *buffer, size_t more)
{
	if (buffer->len + more <= buffer->size)
		return;
	buffer->size = (buffer->len + more) * 2;
	buffer->data = realloc(buffer->data, buffer->size);
	if (!buffer->data)
		die("memory", "out of it");
}

static void
put_varint(Buffer *buffer, uint64_t value)
{
	reserve(buffer, 10);
	while (value >= 0x80)
	{
		buffer->data[buffer->len++] = (uint8_t) (value | 0x80);
		value >>= 7;
	}
	buffer->data[buffer->len++] = (uint8_t) value;
}

static void
put_number(Buffer *buffer, int field, uint64_t value)
{
	put_varint(buffer, (uint64_t) field << 3);
	put_varint(buffer, value);
}

static void
put_bytes(Buffer *buffer, int field, const void *data, size_t len)
{
	put_varint(buffer, (uint64_t) field << 3 | 2);
	put_varint(buffer, len);
	reserve(buffer, len);
	memcpy(buffer->data + buffer->len, data, len);
	buffer->len += len;
}

static void
put_text(Buffer *buffer, int field, const char *text)
{
	put_bytes(buffer, field, text, strlen(text));
}

/* Begin an embedded message; its length takes four bytes, a legal if long varint. */
static size_t
begin_message(Buffer *buffer, int field)
{
	put_varint(buffer, (uint64_t) field << 3 | 2);
	reserve(buffer, 4);
	buffer->len += 4;
	return buffer->len;
}

static void
end_message(Buffer *buffer, size_t start)
{
	size_t len = buffer->len - start;

	for (int i = 0; i < 4; i++)
		buffer->data[start - 4 + i] = (uint8_t) ((len >> (7 * i) & 0x7f) | (i < 3 ? 0x80 : 0));
}

/* ---- rows ---- */

static uint64_t
mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static int64_t
row_cents(int64_t id, int32_t version)
{
	return (int64_t) (mix64((uint64_t) id * 1000003 + version) % 10000000);
}

static void
put_int_column(Buffer *buffer, int64_t value)
{
	size_t column = begin_message(buffer, 1);

	put_number(buffer, 2, (uint64_t) value);
	end_message(buffer, column);
}

static void
put_text_column(Buffer *buffer, const char *value)
{
	size_t column = begin_message(buffer, 1);

	put_text(buffer, 6, value);
	end_message(buffer, column);
}

/* The row's columns as the message Row in the given field. */
static void
put_row(Buffer *buffer, int field, int64_t id, int32_t version, int64_t sent_us)
{
	uint64_t hash = mix64((uint64_t) id);
	int64_t cents = row_cents(id, version);
	size_t row = begin_message(buffer, field);
	char text[64];

	put_int_column(buffer, id);
	put_int_column(buffer, version);
	put_int_column(buffer, (int64_t) (hash % 100000));
	snprintf(text, sizeof(text), "%" PRId64 ".%02" PRId64, cents / 100, cents % 100);
	put_text_column(buffer, text);
	put_text_column(buffer, status_names[(hash >> 20) % 5]);
	snprintf(text, sizeof(text), "2026-%02d-%02d %02d:%02d:%02d", (int) (id / 2500000 % 12) + 1,
			 (int) (id / 86400 % 28) + 1, (int) (id / 3600 % 24), (int) (id / 60 % 60),
			 (int) (id % 60));
	put_text_column(buffer, text);
	snprintf(text, sizeof(text), "order %" PRIx64, hash >> 24);
	put_text_column(buffer, text);
	put_int_column(buffer, sent_us);
	end_message(buffer, row);
}

static void
put_column_info(Buffer *buffer, const char *name, const char *type, bool key)
{
	size_t info = begin_message(buffer, 3);

	put_text(buffer, 1, name);
	put_text(buffer, 2, type);
	put_number(buffer, 3, key);
	end_message(buffer, info);
}

/* ---- the stream ---- */

static int64_t
now_us(void)
{
	struct timeval tv;

	gettimeofday(&tv, NULL);
	return (int64_t) tv.tv_sec * 1000000 + tv.tv_usec;
}

static uint64_t
next_random(State *state)
{
	state->random += 0x9e3779b97f4a7c15;
	return mix64(state->random);
}

static void
put_mutation(Buffer *buffer, State *state, const Options *options, int64_t sent_us)
{
	int dice = (int) (next_random(state) % 100);
	size_t mutation = begin_message(buffer, 4);
	int64_t chosen = state->count ? (int64_t) (next_random(state) % (uint64_t) state->count) : 0;
	LiveRow *row = &state->live[chosen];

	if (dice < options->inserts || state->count == 0)
	{
		row = &state->live[state->count++];
		*row = (LiveRow){.id = ++state->next_id};
		put_number(buffer, 1, 0);
		put_row(buffer, 2, row->id, 0, sent_us);
		state->cents += row_cents(row->id, 0);
	}
	else if (dice < options->inserts + options->updates)
	{
		put_number(buffer, 1, 1);
		put_row(buffer, 2, row->id, row->version + 1, sent_us);
		put_row(buffer, 3, row->id, row->version, sent_us);
		state->cents += row_cents(row->id, row->version + 1) - row_cents(row->id, row->version);
		row->version++;
		state->versions++;
	}
	else
	{
		put_number(buffer, 1, 2);
		put_row(buffer, 2, row->id, row->version, sent_us);
		state->cents -= row_cents(row->id, row->version);
		state->versions -= row->version;
		*row = state->live[--state->count];
	}
	end_message(buffer, mutation);
}

/* The name of the table that message `message` is for, in `name`. */
static const char *
table_name(const Options *options, int64_t message, char *name, size_t size)
{
	if (options->tables > 0)
		snprintf(name, size, "%s%d", options->table, (int) (message % options->tables) + 1);
	else
		snprintf(name, size, "%s", options->table);
	return name;
}

static void
make_transaction(Buffer *buffer, State *state, const Options *options, int64_t message,
				 int64_t commit_ts, int changes)
{
	char name[128];
	size_t data;
	size_t table;
	size_t key;
	int64_t sent_us = now_us();

	buffer->len = 0;
	put_number(buffer, 1, 0);
	put_number(buffer, 2, (uint64_t) commit_ts);
	data = begin_message(buffer, 3);
	table = begin_message(buffer, 1);
	put_text(buffer, 1, "bench");
	put_text(buffer, 2, table_name(options, message, name, sizeof(name)));
	put_column_info(buffer, "id", "bigint", true);
	put_column_info(buffer, "version", "int", false);
	put_column_info(buffer, "customer", "int", false);
	put_column_info(buffer, "amount", "decimal", false);
	put_column_info(buffer, "status", "varchar", false);
	put_column_info(buffer, "created", "datetime", false);
	put_column_info(buffer, "note", "varchar", false);
	put_column_info(buffer, "sent_us", "bigint", false);
	for (int i = 0; i < changes; i++)
		put_mutation(buffer, state, options, sent_us);
	key = begin_message(buffer, 5);
	put_text(buffer, 1, "PRIMARY");
	put_text(buffer, 2, "id");
	end_message(buffer, key);
	end_message(buffer, table);
	end_message(buffer, data);
}

static void
make_ddl(Buffer *buffer, int64_t commit_ts, const char *table, const char *query)
{
	size_t data;

	buffer->len = 0;
	put_number(buffer, 1, 1);
	put_number(buffer, 2, (uint64_t) commit_ts);
	data = begin_message(buffer, 4);
	put_text(buffer, 1, "bench");
	put_text(buffer, 2, table);
	put_text(buffer, 3, query);
	end_message(buffer, data);
}

static int64_t
send_schema(rd_kafka_t *handle, const Options *options, Buffer *buffer, int64_t ts)
{
	char query[1024];
	char name[128];

	if (!options->create_tables)
		return ts;
	if (options->create_database)
	{
		make_ddl(buffer, ++ts, "", "CREATE DATABASE `bench`;");
		producer_send(handle, options->topic, 0, NULL, 0, buffer->data, buffer->len, ts);
	}
	for (int i = 0; i < (options->tables > 0 ? options->tables : 1); i++)
	{
		table_name(options, i, name, sizeof(name));
		snprintf(
			query, sizeof(query),
			"CREATE TABLE `%s` (`id` BIGINT NOT NULL PRIMARY KEY,`version` INT NOT NULL,"
			"`customer` INT NOT NULL,`amount` DECIMAL(15,2) NOT NULL,`status` VARCHAR(16) NOT NULL,"
			"`created` DATETIME NOT NULL,`note` VARCHAR(64),`sent_us` BIGINT NOT NULL);",
			name);
		make_ddl(buffer, ++ts, name, query);
		producer_send(handle, options->topic, 0, NULL, 0, buffer->data, buffer->len, ts);
	}
	return ts;
}

static void
parse_options(int argc, char **argv, Options *options)
{
	for (int i = 1; i < argc; i++)
	{
		const char *name = argv[i];
		const char *value = argv[i + 1];

		if (strcmp(name, "--no-database") == 0)
		{
			options->create_database = false;
			continue;
		}
		if (strcmp(name, "--no-schema") == 0)
		{
			options->create_tables = false;
			continue;
		}
		if (!value)
			die("option without a value", name);
		i++;
		if (strcmp(name, "--brokers") == 0)
			options->brokers = value;
		else if (strcmp(name, "--topic") == 0)
			options->topic = value;
		else if (strcmp(name, "--table") == 0)
			options->table = value;
		else if (strcmp(name, "--changes") == 0)
			options->changes = strtoll(value, NULL, 10);
		else if (strcmp(name, "--per-message") == 0)
			options->per_message = atoi(value);
		else if (strcmp(name, "--rate") == 0)
			options->rate = atof(value);
		else if (strcmp(name, "--tables") == 0)
			options->tables = atoi(value);
		else if (strcmp(name, "--after-id") == 0)
			options->after_id = strtoll(value, NULL, 10);
		else if (strcmp(name, "--seed") == 0)
			options->seed = strtoull(value, NULL, 10);
		else if (strcmp(name, "--mix") != 0 ||
				 sscanf(value, "%d/%d/%d", &options->inserts, &options->updates,
						&options->deletes) != 3 ||
				 options->inserts + options->updates + options->deletes != 100)
			die("bad option", name);
	}
	if (options->tables > 0 && options->inserts != 100)
		die("usage", "--tables goes with inserts only");
	if (!options->brokers || !options->topic || options->changes < 1 || options->per_message < 1)
		die("usage", "gen_binlog --brokers LIST --topic NAME --changes N [options]");
}

int
main(int argc, char **argv)
{
	Options options = {.table = "orders",
					   .inserts = 100,
					   .per_message = 100,
					   .create_database = true,
					   .create_tables = true};
	State state = {0};
	Buffer buffer = {0};
	rd_kafka_t *handle;
	int64_t ts = now_us() / 1000 << 18;
	int64_t messages = 0;
	int64_t bytes = 0;
	int64_t acknowledged;
	int64_t failed;
	int64_t last_offset;
	double start;

	parse_options(argc, argv, &options);
	state.random = options.seed;
	state.next_id = options.after_id;
	state.live = calloc((size_t) options.changes, sizeof(LiveRow));
	if (!state.live)
		die("memory", "out of it");
	handle = producer_open(options.brokers, options.rate > 0, NULL, NULL);
	ts = send_schema(handle, &options, &buffer, ts);

	start = monotonic_seconds();
	for (int64_t done = 0; done < options.changes; done += options.per_message)
	{
		int64_t left = options.changes - done;

		if (options.rate > 0)
			producer_pace(handle, start, options.rate, messages);
		make_transaction(&buffer, &state, &options, messages, ++ts,
						 (int) (left < options.per_message ? left : options.per_message));
		producer_send(handle, options.topic, 0, NULL, 0, buffer.data, buffer.len, ts);
		messages++;
		bytes += (int64_t) buffer.len;
	}
	producer_close(handle, &acknowledged, &failed, &last_offset);
	printf("{\"messages\": %" PRId64 ", \"changes\": %" PRId64 ", \"bytes\": %" PRId64
		   ", \"last_ts\": %" PRId64 ", \"rows\": %" PRId64 ", \"amount\": \"%" PRId64 ".%02d\", "
		   "\"versions\": %" PRId64 "}\n",
		   messages, options.changes, bytes, ts, state.count, (int64_t) (state.cents / 100),
		   (int) (state.cents % 100), state.versions);
	return failed > 0;
}
