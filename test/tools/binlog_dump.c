/*-------------------------------------------------------------------------
 *
 * binlog_dump.c
 *		Print the events of a TiDB Binlog stream as text, or time the decoder.
 *
 * usage: binlog_dump [--check | --time N] PATH...
 *
 * A PATH is a messages.tsv of a fixture (commit TS, partition, key, value in
 * hex), known by its first byte, a digit, or else a file of Drainer's.  One
 * line for each event, tab separated:
 *
 *		T  serial database table has_key_info columns keys
 *			columns: name:type[:flags], comma; flags p primary key, h hidden,
 *			u unsigned seen, s signed seen.  keys: name(column,...), comma
 *		R  commit_ts kind serial N old values... N new values...
 *		D  commit_ts database|- table|- statement
 *		C  commit_ts events
 *
 * T comes when a description is met for the first time.  N is the number of
 * values that follow.  Values: n NULL, a absent, i, u, d numbers, b bytes in
 * hex, s text.  In names and texts backslash, tab, newline, carriage return
 * and NUL are escaped as \\ \t \n \r \0; in names, comma, colon and
 * parentheses as \xHH.
 *
 * --check only checks; --time decodes everything N times and prints rows/s.
 * Exit status 1 when a record cannot be decoded.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include "decode/event.h"
#include "decode/pb_frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One record of the stream, in memory of its own. */
typedef struct Record
{
	char *bytes;
	size_t len;
	DecoderFormat format;
} Record;

static Record *records;
static size_t nrecords;

static void
die(const char *path, const char *what)
{
	fprintf(stderr, "binlog_dump: %s: %s\n", path, what);
	exit(2);
}

/* ------------------------------------------------------------------------
 * Input
 * ------------------------------------------------------------------------
 */

static void
add_record(char *bytes, size_t len, DecoderFormat format)
{
	if ((nrecords & (nrecords - 1)) == 0)
		records = realloc(records, (nrecords == 0 ? 1 : nrecords * 2) * sizeof(Record));
	if (records == NULL || bytes == NULL)
		die("memory", "exhausted");
	records[nrecords++] = (Record){bytes, len, format};
}

static int
hex_digit(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static void
read_message_line(const char *path, char *line)
{
	char *hex = line;
	char *bytes;
	size_t len;

	for (int tabs = 0; tabs < 3; tabs++)
	{
		hex = strchr(hex, '\t');
		if (hex++ == NULL)
			die(path, "a line has fewer than 4 fields");
	}
	len = strcspn(hex, "\n") / 2;
	bytes = malloc(len + 1);
	for (size_t i = 0; bytes != NULL && i < len; i++)
	{
		int high = hex_digit(hex[2 * i]);
		int low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			die(path, "the value is not hexadecimal");
		bytes[i] = (char) (high << 4 | low);
	}
	add_record(bytes, len, DECODER_TIDB_BINLOG);
}

static void
read_binlog_file(const char *path, FILE *file)
{
	char *window;
	size_t len;
	size_t at = 0;

	fseek(file, 0, SEEK_END);
	len = (size_t) ftell(file);
	rewind(file);
	window = malloc(len + 1);
	if (window == NULL || fread(window, 1, len, file) != len)
		die(path, "cannot be read");
	while (at < len)
	{
		PbRecord record;
		PbRecordResult result = pb_record_next(window + at, len - at, &record);
		char problem[128];

		if (result != PB_RECORD_OK)
		{
			snprintf(problem, sizeof(problem), "%s at byte %zu",
					 result == PB_RECORD_CORRUPT ? pb_problem_text(record.problem)
												 : "record is not complete",
					 at + (size_t) record.problem_at);
			die(path, problem);
		}
		add_record(memcpy(malloc(record.payload_len + 1), record.payload, record.payload_len),
				   record.payload_len, DECODER_PB_BINLOG);
		at += record.frame_len;
	}
	free(window);
}

static void
read_path(const char *path)
{
	FILE *file = fopen(path, "rb");
	int first;

	if (file == NULL)
		die(path, "cannot be opened");
	first = getc(file);
	ungetc(first, file);
	if (first >= '0' && first <= '9')
	{
		char *line = NULL;
		size_t room = 0;

		while (getline(&line, &room, file) > 0)
			read_message_line(path, line);
		free(line);
	}
	else if (first != EOF)
		read_binlog_file(path, file);
	fclose(file);
}

/* ------------------------------------------------------------------------
 * Output
 * ------------------------------------------------------------------------
 */

static void
put_escaped(const char *data, size_t len, bool is_name)
{
	for (size_t i = 0; i < len; i++)
	{
		char c = data[i];

		if (c == '\\')
			fputs("\\\\", stdout);
		else if (c == '\t')
			fputs("\\t", stdout);
		else if (c == '\n')
			fputs("\\n", stdout);
		else if (c == '\r')
			fputs("\\r", stdout);
		else if (c == '\0')
			fputs("\\0", stdout);
		else if (is_name && strchr(",:()", c) != NULL)
			printf("\\x%02x", (unsigned char) c);
		else
			putchar(c);
	}
}

static void
put_name(EventSlice name)
{
	put_escaped(name.data, name.len, true);
}

static void
put_table(const EventTable *table)
{
	printf("T\t%" PRIu64 "\t", table->serial);
	put_name(table->database);
	putchar('\t');
	put_name(table->table);
	printf("\t%d\t", table->has_key_info);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const EventColumn *column = &table->columns[i];

		if (i > 0)
			putchar(',');
		put_name(column->name);
		putchar(':');
		put_name(column->mysql_type);
		printf(":%s%s%s%s", column->is_primary_key ? "p" : "", column->is_hidden ? "h" : "",
			   column->is_unsigned_seen ? "u" : "", column->is_signed_seen ? "s" : "");
	}
	putchar('\t');
	for (int i = 0; i < table->nkeys; i++)
	{
		const EventKey *key = &table->keys[i];

		if (i > 0)
			putchar(',');
		put_name(key->name);
		putchar('(');
		for (int j = 0; j < key->ncolumns; j++)
		{
			if (j > 0)
				putchar(',');
			put_name(key->column_names[j]);
			if (key->columns[j] < 0)
				fputs("\\?", stdout);
		}
		putchar(')');
	}
	putchar('\n');
}

static void
put_value(const EventValue *value)
{
	putchar('\t');
	switch (value->kind)
	{
		case EVENT_VALUE_ABSENT:
			putchar('a');
			break;
		case EVENT_VALUE_NULL:
			putchar('n');
			break;
		case EVENT_VALUE_INT64:
			printf("i%" PRId64, value->u.i64);
			break;
		case EVENT_VALUE_UINT64:
			printf("u%" PRIu64, value->u.u64);
			break;
		case EVENT_VALUE_DOUBLE:
			printf("d%.17g", value->u.f64);
			break;
		case EVENT_VALUE_BYTES:
			putchar('b');
			for (uint32_t i = 0; i < value->len; i++)
				printf("%02x", (unsigned char) value->u.data[i]);
			break;
		case EVENT_VALUE_TEXT:
			putchar('s');
			put_escaped(value->u.data, value->len, false);
			break;
	}
}

static void
put_values(const EventValue *values, int count)
{
	printf("\t%d", values != NULL ? count : 0);
	for (int i = 0; values != NULL && i < count; i++)
		put_value(&values[i]);
}

static EventAction
print_event(void *arg, const Event *event)
{
	uint64_t *last_serial = arg;

	switch (event->kind)
	{
		case EVENT_ROW:
			if (event->table->serial > *last_serial)
			{
				put_table(event->table);
				*last_serial = event->table->serial;
			}
			printf("R\t%" PRIu64 "\t%s\t%" PRIu64, event->commit_ts,
				   event_row_kind_name(event->row_kind), event->table->serial);
			put_values(event->old_values, event->table->ncolumns);
			put_values(event->new_values, event->table->ncolumns);
			putchar('\n');
			break;
		case EVENT_DDL:
			printf("D\t%" PRIu64 "\t", event->commit_ts);
			if (event->has_database)
				put_name(event->ddl_database);
			else
				putchar('-');
			putchar('\t');
			if (event->has_table_name)
				put_name(event->ddl_table);
			else
				putchar('-');
			putchar('\t');
			put_escaped(event->ddl_text.data, event->ddl_text.len, false);
			putchar('\n');
			break;
		case EVENT_RESOLVED:
			printf("C\t%" PRIu64 "\t%" PRIu64 "\n", event->commit_ts, event->sequence);
			break;
	}
	return EVENT_CONTINUE;
}

/* What a consumer at least does: look at each value. */
static EventAction
count_event(void *arg, const Event *event)
{
	uint64_t *sum = arg;

	if (event->kind == EVENT_ROW)
	{
		const EventValue *values =
			event->new_values != NULL ? event->new_values : event->old_values;

		for (int i = 0; i < event->table->ncolumns; i++)
			sum[1] += values[i].kind + values[i].len;
		sum[0]++;
	}
	return EVENT_CONTINUE;
}

/* ------------------------------------------------------------------------
 * Work
 * ------------------------------------------------------------------------
 */

static Decoder *decoders[2];

static bool
decode_all(EventCallback callback, void *arg)
{
	for (size_t i = 0; i < nrecords; i++)
	{
		Decoder **decoder = &decoders[records[i].format];
		DecodeError error;
		DecodeResult result;

		if (*decoder == NULL)
			*decoder = decoder_create(records[i].format);
		if (callback != NULL)
			result =
				decoder_decode(*decoder, records[i].bytes, records[i].len, callback, arg, &error);
		else
			result = decoder_validate(*decoder, records[i].bytes, records[i].len, NULL, &error);
		if (result == DECODE_FAILED)
		{
			fprintf(stderr, "binlog_dump: record %zu: %s\nDETAIL: %s\nHINT: %s\n", i, error.message,
					error.detail, error.hint);
			return false;
		}
	}
	return true;
}

static void
time_all(int repeat)
{
	uint64_t sum[2] = {0, 0};
	size_t bytes = 0;
	struct timespec from, to;
	double seconds;

	for (size_t i = 0; i < nrecords; i++)
		bytes += records[i].len;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < repeat; i++)
	{
		if (!decode_all(count_event, sum))
			exit(1);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	seconds = (double) (to.tv_sec - from.tv_sec) + (double) (to.tv_nsec - from.tv_nsec) / 1e9;
	printf("%zu records, %.1f MB, %d times: %" PRIu64 " rows in %.3f s, %.2f M rows/s, %.0f MB/s, "
		   "%zu bytes held\n",
		   nrecords, (double) bytes / 1e6, repeat, sum[0], seconds, (double) sum[0] / seconds / 1e6,
		   (double) bytes * repeat / seconds / 1e6,
		   (decoders[0] != NULL ? decoder_memory(decoders[0]) : 0) +
			   (decoders[1] != NULL ? decoder_memory(decoders[1]) : 0));
}

int
main(int argc, char **argv)
{
	uint64_t last_serial = 0;
	bool check = false;
	int repeat = 0;
	int i = 1;

	if (i < argc && strcmp(argv[i], "--check") == 0)
	{
		check = true;
		i++;
	}
	else if (i + 1 < argc && strcmp(argv[i], "--time") == 0)
	{
		repeat = atoi(argv[i + 1]);
		i += 2;
	}
	if (i >= argc || argv[i][0] == '-')
	{
		fprintf(stderr, "usage: binlog_dump [--check | --time N] PATH...\n");
		return 2;
	}
	for (; i < argc; i++)
		read_path(argv[i]);
	if (repeat > 0)
		time_all(repeat);
	else if (!decode_all(check ? NULL : print_event, &last_serial))
		return 1;
	for (size_t j = 0; j < nrecords; j++)
		free(records[j].bytes);
	free(records);
	decoder_destroy(decoders[0]);
	decoder_destroy(decoders[1]);
	return 0;
}
