/*
 * Proves that Kafka messages of TiDB Binlog are read as documented, in any field order, that each
 * kind of malformed message gives an error and no event, and that memory does not grow with rows.
 *
 * sources: ingest_worker/decode/[a-z]*.c
 */
#include "unit/decode_test.h"

#include <setjmp.h>

static Decoder *decoder;

/* ---- messages ---- */

static void
put_column_info(Buffer *table, const char *name, const char *type, bool is_key)
{
	Buffer info = {0};

	put_string(&info, 1, name);
	put_string(&info, 2, type);
	put_number(&info, 3, is_key);
	put_message(table, 3, &info);
	free(info.data);
}

static void
put_int(Buffer *row, int64_t value)
{
	Buffer column = {0};

	put_number(&column, 2, (uint64_t) value);
	put_message(row, 1, &column);
	free(column.data);
}

static void
put_text_value(Buffer *row, unsigned field, const char *value)
{
	Buffer column = {0};

	put_string(&column, field, value);
	put_message(row, 1, &column);
	free(column.data);
}

/* Consumes the rows. */
static void
put_mutation(Buffer *table, unsigned type, Buffer *row, Buffer *change_row)
{
	Buffer mutation = {0};

	put_number(&mutation, 1, type);
	put_message(&mutation, 2, row);
	if (change_row != NULL)
		put_message(&mutation, 3, change_row);
	put_message(table, 4, &mutation);
	free(mutation.data);
}

static void
put_names(Buffer *table, const char *name)
{
	put_string(table, 1, "d");
	put_string(table, 2, name);
}

/* Consumes the tables, which are fields of DMLData already. */
static Buffer
dml_message(Buffer *tables)
{
	Buffer message = {0};

	put_number(&message, 1, 0);
	put_number(&message, 2, 7);
	put_message(&message, 3, tables);
	free(tables->data);
	memset(tables, 0, sizeof(*tables));
	return message;
}

/* A message with one table of one column, and one row with the given Column. */
static Buffer
one_value(const char *type, const char *column_hex)
{
	Buffer tables = {0};
	Buffer table = {0};
	Buffer row = {0};
	Buffer column = from_hex(column_hex);

	put_names(&table, "t");
	put_column_info(&table, "c", type, false);
	put_message(&row, 1, &column);
	put_mutation(&table, 0, &row, NULL);
	put_message(&tables, 1, &table);
	free(table.data);
	free(row.data);
	free(column.data);
	return dml_message(&tables);
}

static void
expect_value(const char *type, const char *column_hex, const char *expected, int line)
{
	Buffer message = one_value(type, column_hex);
	char events[256];

	snprintf(events, sizeof(events), "insert d.t new(%s)\nresolved 7\n", expected);
	expect_events(decoder, &message, events, line);
	expect_prefixes_fail(decoder, message.data, message.len);
	free(message.data);
}

#define EXPECT_VALUE(type, hex, expected) expect_value(type, hex, expected, __LINE__)

static void
expect_bad_value(const char *type, const char *column_hex, DecodeErrorCode code,
				 const char *message_part, int line)
{
	Buffer message = one_value(type, column_hex);

	expect_error(decoder, &message, code, message_part, line);
	free(message.data);
}

#define EXPECT_BAD_VALUE(type, hex, code, message)                                                 \
	expect_bad_value(type, hex, code, message, __LINE__)

/* ---- tests ---- */

static EventAction
check_golden_table(void *arg, const Event *event)
{
	const EventTable *table = event->table;

	if (event->kind != EVENT_ROW)
		return EVENT_CONTINUE;
	CHECK(table->has_key_info && table->nkeys == 1 && table->ncolumns == 2);
	CHECK(table->keys[0].ncolumns == 1 && table->keys[0].columns[0] == 0);
	CHECK(memcmp(table->keys[0].name.data, "PRIMARY", table->keys[0].name.len) == 0);
	CHECK(table->columns[0].is_primary_key && !table->columns[1].is_primary_key);
	CHECK(table->columns[0].type == EVENT_TYPE_INT && table->columns[1].type == EVENT_TYPE_VARCHAR);
	CHECK(table->columns[0].has_length && table->columns[0].flen == 11);
	CHECK(table->columns[0].is_signed_seen && !table->columns[0].is_unsigned_seen);
	CHECK(event->sequence == 0 && event->commit_ts == 429918007904436227u);
	++*(int *) arg;
	return EVENT_CONTINUE;
}

static void
test_golden(void)
{
	Buffer dml =
		from_hex("0800108380c0fde784d8fb051a580a560a04746573741201741a0f0a0269641203696e74180120"
				 "0b28001a120a01761207766172636861721800200828002217080112080a0210010a0208011a090a"
				 "0210010a033201612a0d0a075052494d41525912026964");
	Buffer ddl =
		from_hex("0801108280c0fde784d8fb05223b0a04746573741201741a30637265617465207461626c"
				 "65207428696420696e74207072696d617279206b65792c2076207661726368617228382929");
	DecodeSummary summary;
	DecodeError error;
	int rows = 0;

	EXPECT_EVENTS(decoder, &dml,
				  "update test.t old(i1 s'a') new(i1 null)\nresolved 429918007904436227\n");
	EXPECT_EVENTS(decoder, &ddl,
				  "ddl test t [create table t(id int primary key, v varchar(8))]\n"
				  "resolved 429918007904436226\n");
	expect_prefixes_fail(decoder, dml.data, dml.len);
	expect_prefixes_fail(decoder, ddl.data, ddl.len);
	CHECK(decoder_decode(decoder, dml.data, dml.len, check_golden_table, &rows, &error) ==
		  DECODE_OK);
	CHECK(rows == 1);
	CHECK(decoder_peek(decoder, ddl.data, ddl.len, &summary, &error) == DECODE_OK);
	CHECK(summary.is_ddl && summary.commit_ts == 429918007904436226u);
	CHECK(decoder_validate(decoder, dml.data, dml.len, &summary, &error) == DECODE_OK);
	CHECK(!summary.is_ddl && summary.rows == 1);
	free(dml.data);
	free(ddl.data);
}

static void
test_values(void)
{
	EXPECT_VALUE("int", "10ffffffffffffffffff01", "i-1");
	EXPECT_VALUE("bigint", "18ffffffffffffffffff01", "u18446744073709551615");
	EXPECT_VALUE("mediumint", "32032d3432", "i-42"); /* text from a Drainer before 4.0.1 */
	EXPECT_VALUE("double", "21000000000000f0bf", "d-1");
	EXPECT_VALUE("float", "210000000000000080", "d-0");
	EXPECT_VALUE("decimal", "3204312e3530", "s'1.50'");
	EXPECT_VALUE("year", "320132", "i2");
	EXPECT_VALUE("bit", "2a020abc", "u2748");
	EXPECT_VALUE("bit", "2a08ffffffffffffffff", "u18446744073709551615");
	EXPECT_VALUE("bit", "2a00", "u0");
	EXPECT_VALUE("enum", "1801", "u1");
	EXPECT_VALUE("set", "18ffffffffffffffffff01", "u18446744073709551615");
	EXPECT_VALUE("json", "2a027b7d", "s'{}'");
	EXPECT_VALUE("varbinary", "2a024142", "b'AB'");
	EXPECT_VALUE("varchar", "2a024142", "s'AB'");
	EXPECT_VALUE("blob", "32024142", "b'AB'");
	EXPECT_VALUE("timestamp", "320a303030302d30302d3030", "s'0000-00-00'");
	EXPECT_VALUE("vector", "32035b315d", "s'[1]'");
	EXPECT_VALUE("newtype", "1001", "i1");
	EXPECT_VALUE("newtype", "", "s''");
	EXPECT_VALUE("varchar", "0801", "null");
	EXPECT_VALUE("varchar", "080132026162", "null");				  /* NULL wins over a value */
	EXPECT_VALUE("varchar", "08003202616250019001057a0178", "s'ab'"); /* unknown fields */
	EXPECT_VALUE("varchar", "", "s''");								  /* no value and not NULL */
	EXPECT_VALUE("varchar", "3200", "s''");
	EXPECT_VALUE("varbinary", "", "b''");
	EXPECT_VALUE("varchar", "1001320178", "s'x'"); /* the last value field counts */

	EXPECT_BAD_VALUE("int", "", DECODE_ERROR_VALUE, "cannot be no value");
	EXPECT_BAD_VALUE("int", "320178", DECODE_ERROR_VALUE, "cannot be text");
	EXPECT_BAD_VALUE("int", "32143939393939393939393939393939393939393939", DECODE_ERROR_VALUE,
					 "cannot be text");
	EXPECT_BAD_VALUE("double", "1001", DECODE_ERROR_VALUE, "cannot be a signed number");
	EXPECT_BAD_VALUE("varchar", "1001", DECODE_ERROR_VALUE, "cannot be a signed number");
	EXPECT_BAD_VALUE("bit", "2a09010203040506070809", DECODE_ERROR_VALUE, "cannot be bytes");
	EXPECT_BAD_VALUE("enum", "10ffffffffffffffffff01", DECODE_ERROR_VALUE, "cannot be");
	EXPECT_BAD_VALUE("int", "10ffffffffffffffffff02", DECODE_ERROR_WIRE, "more than 64 bits");
	EXPECT_BAD_VALUE("int", "1080808080808080808080808000", DECODE_ERROR_WIRE, "64 bits");
	EXPECT_BAD_VALUE("int", "1080", DECODE_ERROR_TRUNCATED, "inside a number");
	EXPECT_BAD_VALUE("int", "12", DECODE_ERROR_WIRE, "unexpected wire type 2");
	EXPECT_BAD_VALUE("int", "13", DECODE_ERROR_WIRE, "unsupported wire type 3");
	EXPECT_BAD_VALUE("int", "1001fb01", DECODE_ERROR_WIRE, "unsupported wire type 3");
	EXPECT_BAD_VALUE("int", "1001fe01", DECODE_ERROR_WIRE, "unsupported wire type 6");
	EXPECT_BAD_VALUE("int", "0001", DECODE_ERROR_WIRE, "field number 0");
	EXPECT_BAD_VALUE("varchar", "320561", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_VALUE("varchar", "32ffffffffffffffffff01", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_VALUE("double", "2100", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_VALUE("int", "1001fd0100", DECODE_ERROR_TRUNCATED, "does not fit");
}

/* Mutations before columns, keys first, commit TS last, tables in pieces, fields nobody knows. */
static void
test_order(void)
{
	Buffer tables = {0};
	Buffer table = {0};
	Buffer row = {0};
	Buffer old_row = {0};
	Buffer key = {0};
	Buffer message = {0};

	put_string(&key, 2, "b");
	put_string(&key, 1, "uk");
	put_string(&key, 2, "a");
	put_string(&key, 2, "nowhere");
	put_message(&table, 5, &key);
	put_int(&row, 1);
	put_text_value(&row, 6, "x");
	put_mutation(&table, 0, &row, NULL);
	put_column_info(&table, "a", "int", true);
	put_string(&table, 99, "unknown");
	put_int(&row, 2);
	put_text_value(&row, 6, "y");
	put_int(&old_row, 1);
	put_text_value(&old_row, 6, "x");
	put_mutation(&table, 1, &row, &old_row);
	put_column_info(&table, "b", "varchar", false);
	put_names(&table, "t");
	put_message(&tables, 1, &table);

	put_names(&table, "u");
	put_column_info(&table, "c", "bigint", false);
	put_int(&row, 9);
	put_mutation(&table, 2, &row, NULL);
	put_string(&tables, 5, "unknown");
	put_message(&tables, 1, &table);

	put_message(&message, 3, &tables);
	put_names(&table, "v"); /* a table without rows, in a second DMLData */
	put_message(&tables, 1, &table);
	put_message(&message, 3, &tables);
	put_string(&message, 5, "UTC");
	put_number(&message, 2, 7);
	put_number(&message, 1, 0);
	EXPECT_EVENTS(decoder, &message,
				  "insert d.t new(i1 s'x')\n"
				  "update d.t old(i1 s'x') new(i2 s'y')\n"
				  "delete d.u old(i9)\n"
				  "resolved 7\n");
	free(tables.data);
	free(table.data);
	free(row.data);
	free(old_row.data);
	free(key.data);
	free(message.data);
}

static EventAction
check_old_drainer(void *arg, const Event *event)
{
	const EventTable *table = event->table;

	if (event->kind != EVENT_ROW)
		return EVENT_CONTINUE;
	++*(int *) arg;
	CHECK(table->has_key_info && table->nkeys == 1 && table->keys[0].ncolumns == 2);
	CHECK(table->keys[0].columns[0] == 0 && table->keys[0].columns[1] == 2);
	CHECK(!table->columns[0].has_length && table->columns[0].flen == -1);
	CHECK(table->columns[1].is_hidden && !table->columns[0].is_hidden);
	CHECK(table->columns[0].is_unsigned_seen); /* told with the first row, though it has NULL */
	CHECK(!table->columns[2].is_unsigned_seen && !table->columns[2].is_signed_seen);
	return EVENT_CONTINUE;
}

/* Without unique_keys the key is made of the marked columns; signs are known at the first row. */
static void
test_description(void)
{
	Buffer tables = {0};
	Buffer table = {0};
	Buffer row = {0};
	Buffer null = from_hex("0801");
	Buffer number = from_hex("1805");
	Buffer message;
	DecodeError error;
	int rows = 0;

	put_names(&table, "t");
	put_column_info(&table, "a", "int", true);
	put_column_info(&table, "_V$_i_0", "varchar", false);
	put_column_info(&table, "b", "int", true);
	for (int i = 0; i < 2; i++)
	{
		put_field(&row, 1, i == 0 ? null.data : number.data, 2);
		put_text_value(&row, 6, "h");
		put_field(&row, 1, null.data, 2);
		put_mutation(&table, 0, &row, NULL);
	}
	put_message(&tables, 1, &table);
	message = dml_message(&tables);
	CHECK(decoder_decode(decoder, message.data, message.len, check_old_drainer, &rows, &error) ==
		  DECODE_OK);
	CHECK(rows == 2);
	free(table.data);
	free(row.data);
	free(null.data);
	free(number.data);
	free(message.data);
}

/* A table of one int column with rows; the last one as the caller has it. */
static Buffer
message_with_last_row(unsigned type, bool has_old, int values, unsigned drop_field)
{
	Buffer tables = {0};
	Buffer table = {0};
	Buffer row = {0};
	Buffer old_row = {0};
	Buffer mutation = {0};

	put_names(&table, "t");
	put_column_info(&table, "c", "int", false);
	put_int(&row, 1);
	put_mutation(&table, 0, &row, NULL);
	for (int i = 0; i < values; i++)
		put_int(&row, i);
	put_int(&old_row, 1);
	if (drop_field != 1)
		put_number(&mutation, 1, type);
	if (drop_field != 2)
		put_message(&mutation, 2, &row);
	if (has_old)
		put_message(&mutation, 3, &old_row);
	put_message(&table, 4, &mutation);
	put_message(&tables, 1, &table);
	free(table.data);
	free(row.data);
	free(old_row.data);
	free(mutation.data);
	return dml_message(&tables);
}

static void
expect_bad_last_row(Buffer message, DecodeErrorCode code, const char *text, int line)
{
	expect_error(decoder, &message, code, text, line);
	free(message.data);
}

/* The first row is good: it must not be delivered either. */
static void
test_bad_rows(void)
{
	Buffer good = message_with_last_row(1, true, 1, 0);

	EXPECT_EVENTS(decoder, &good, "insert d.t new(i1)\nupdate d.t old(i1) new(i0)\nresolved 7\n");
	expect_prefixes_fail(decoder, good.data, good.len);
	free(good.data);
	expect_bad_last_row(message_with_last_row(0, false, 2, 0), DECODE_ERROR_VALUE,
						"has more than 1 columns", __LINE__);
	expect_bad_last_row(message_with_last_row(0, false, 0, 0), DECODE_ERROR_VALUE,
						"has fewer than 1 columns", __LINE__);
	expect_bad_last_row(message_with_last_row(3, false, 1, 0), DECODE_ERROR_VALUE,
						"unknown type of mutation 3", __LINE__);
	expect_bad_last_row(message_with_last_row(1, false, 1, 0), DECODE_ERROR_MISSING,
						"without the row before the change", __LINE__);
	expect_bad_last_row(message_with_last_row(0, false, 1, 1), DECODE_ERROR_MISSING,
						"without a type", __LINE__);
	expect_bad_last_row(message_with_last_row(0, false, 1, 2), DECODE_ERROR_MISSING,
						"without a row", __LINE__);
}

static void
expect_bad_message(const char *hex, DecodeErrorCode code, const char *text, int line)
{
	Buffer message = from_hex(hex);

	if (message.data == NULL)
		message.data = malloc(1);
	expect_error(decoder, &message, code, text, line);
	free(message.data);
}

static void
test_bad_messages(void)
{
	expect_bad_message("", DECODE_ERROR_MISSING, "record is empty", __LINE__);
	expect_bad_message("0800", DECODE_ERROR_MISSING, "no commit TS", __LINE__);
	expect_bad_message("1007", DECODE_ERROR_MISSING, "no type", __LINE__);
	expect_bad_message("08021007", DECODE_ERROR_VALUE, "unknown type of record 2", __LINE__);
	expect_bad_message("080010001a00", DECODE_ERROR_VALUE, "commit TS 0 is out", __LINE__);
	expect_bad_message("080010ffffffffffffffffff011a00", DECODE_ERROR_VALUE, "commit TS -1",
					   __LINE__);
	expect_bad_message("08001007", DECODE_ERROR_MISSING, "neither rows nor statement", __LINE__);
	expect_bad_message("08011007", DECODE_ERROR_MISSING, "neither rows nor statement", __LINE__);
	expect_bad_message("080110072200", DECODE_ERROR_MISSING, "DDL without a statement", __LINE__);
	expect_bad_message("080110071a00", DECODE_ERROR_UNSUPPORTED, "rows with a statement", __LINE__);
	expect_bad_message("0800100722031a0178", DECODE_ERROR_UNSUPPORTED, "rows with a statement",
					   __LINE__);
	expect_bad_message("0801100722031a017822031a0178", DECODE_ERROR_UNSUPPORTED,
					   "more than one statement", __LINE__);
	expect_bad_message("080010071a020a00", DECODE_ERROR_MISSING, "table without a name", __LINE__);
	expect_bad_message("080010071a0c0a0a0a016412017422020800", DECODE_ERROR_MISSING,
					   "rows of a table without columns", __LINE__);
	expect_bad_message("080010071a0a0a080a01641201741a00", DECODE_ERROR_MISSING,
					   "column without a name", __LINE__);
	expect_bad_message("7b226964223a317d", DECODE_ERROR_WIRE, "wire type 3",
					   __LINE__); /* {"id":1} */
	expect_bad_message("0000000000", DECODE_ERROR_WIRE, "field number 0", __LINE__);
}

static void
test_actions(void)
{
	Buffer message = message_with_last_row(2, false, 1, 0);
	Recorder recorder = {.answer = EVENT_SKIP_TABLE};
	DecodeError error;

	CHECK(decode_exact(decoder, message.data, message.len, &recorder, &error) == DECODE_OK);
	CHECK(strcmp(recorder.text.data, "insert d.t new(i1)\nresolved 7\n") == 0);
	recorder.answer = EVENT_STOP;
	CHECK(decode_exact(decoder, message.data, message.len, &recorder, &error) == DECODE_STOPPED);
	CHECK(strcmp(recorder.text.data, "insert d.t new(i1)\n") == 0);
	recorder.answer = EVENT_CONTINUE;
	CHECK(decode_exact(decoder, message.data, message.len, &recorder, &error) == DECODE_OK);
	CHECK(recorder.events == 3);
	free(recorder.text.data);
	free(message.data);
}

static jmp_buf leave;

static EventAction
leave_callback(void *arg, const Event *event)
{
	longjmp(leave, 1);
}

static EventAction
count_callback(void *arg, const Event *event)
{
	++*(long *) arg;
	return EVENT_CONTINUE;
}

/* A callback may leave by longjmp; a large transaction holds no more memory than a small one. */
static void
test_memory(void)
{
	Buffer tables = {0};
	Buffer table = {0};
	Buffer row = {0};
	Buffer message;
	DecodeError error;
	long events = 0;

	put_names(&table, "t");
	put_column_info(&table, "a", "int", true);
	put_column_info(&table, "b", "varchar", false);
	for (int i = 0; i < 100000; i++)
	{
		put_int(&row, i);
		put_text_value(&row, 6, "some text of a row");
		put_mutation(&table, (unsigned) (i % 2 * 2), &row, NULL);
	}
	put_message(&tables, 1, &table);
	message = dml_message(&tables);
	if (setjmp(leave) == 0)
		decoder_decode(decoder, message.data, message.len, leave_callback, NULL, &error);
	CHECK(decoder_decode(decoder, message.data, message.len, count_callback, &events, &error) ==
		  DECODE_OK);
	CHECK(events == 100001);
	CHECK(decoder_memory(decoder) < 64 * 1024);
	free(table.data);
	free(row.data);
	free(message.data);
}

/* Each true prefix of each small message of a recorded stream fails. */
static void
test_recorded(void)
{
	const char *src = getenv("MAGIC_SRC");
	char path[1024];
	FILE *file;
	char *line = NULL;
	size_t room = 0;
	int messages = 0;

	snprintf(path, sizeof(path), "%s/test/fixtures/keys/messages.tsv", src != NULL ? src : ".");
	file = fopen(path, "r");
	CHECK(file != NULL);
	while (file != NULL && getline(&line, &room, file) > 0)
	{
		Buffer message;

		line[strcspn(line, "\n")] = '\0';
		if (strlen(line) > 3000)
			continue;
		message = from_hex(strrchr(line, '\t') + 1);
		expect_prefixes_fail(decoder, message.data, message.len);
		free(message.data);
		messages++;
	}
	CHECK(messages > 100);
	free(line);
	if (file != NULL)
		fclose(file);
}

int
main(void)
{
	decoder = decoder_create(DECODER_TIDB_BINLOG);
	test_golden();
	test_values();
	test_order();
	test_description();
	test_bad_rows();
	test_bad_messages();
	test_actions();
	test_memory();
	test_recorded();
	decoder_destroy(decoder);
	return finish();
}
