/*
 * Proves that records of Drainer's files are found, checked and read as documented: framing, CRC,
 * file names, datums of every flag, the database in front of DDL; that damage is named with its
 * byte.
 *
 * sources: ingest_worker/decode/arena.c ingest_worker/decode/d*.c ingest_worker/decode/pb_binlog.c
 * sources: ingest_worker/decode/tidb_binlog.c ingest_worker/decode/value.c
 * sources: ingest_worker/decode/wire.c
 */
#include "unit/decode_test.h"

/* both implementations of the CRC are tested, so the file is part of this one */
#include "decode/pb_frame.c"

static Decoder *decoder;

/* ---- framing ---- */

static const char golden_frame[] =
	"04051b1c3d000000000000000801108280c0fde784d8fb05222f757365206074657374603b20637265617465207461"
	"626c65207428696420696e74207072696d617279206b6579293b9d096ff5";

static void
test_frame(void)
{
	Buffer frame = from_hex(golden_frame);
	PbRecord record;
	Buffer payload;

	CHECK(pb_record_next(frame.data, frame.len, &record) == PB_RECORD_OK);
	CHECK(record.payload_len == 61 && record.frame_len == frame.len);
	payload.data = (char *) record.payload;
	payload.len = record.payload_len;
	EXPECT_EVENTS(decoder, &payload,
				  "ddl test - [create table t(id int primary key)]\nresolved 429918007904436226\n");
	expect_prefixes_fail(decoder, payload.data, payload.len);

	for (size_t i = 0; i < frame.len; i++)
	{
		char *copy = malloc(i > 0 ? i : 1);

		memcpy(copy, frame.data, i);
		CHECK(pb_record_next(copy, i, &record) == PB_RECORD_NEED_MORE);
		CHECK(record.frame_len == (i < PB_RECORD_HEADER ? PB_RECORD_HEADER : frame.len));
		free(copy);
	}
	/* each damaged byte is noticed and named */
	for (size_t i = 0; i < frame.len; i++)
	{
		PbRecordResult result;

		frame.data[i] ^= 0x40;
		result = pb_record_next(frame.data, frame.len, &record);
		if (i < 4)
			CHECK(result == PB_RECORD_CORRUPT && record.problem == PB_PROBLEM_MAGIC &&
				  record.problem_at == 0);
		else if (i >= PB_RECORD_HEADER)
			CHECK(result == PB_RECORD_CORRUPT && record.problem == PB_PROBLEM_CRC &&
				  record.problem_at == frame.len - 4 && record.stored_crc != record.computed_crc &&
				  record.frame_len == frame.len);
		else
			CHECK(result != PB_RECORD_OK);
		frame.data[i] ^= 0x40;
	}
	frame.data[7] = (char) 0x80;
	CHECK(pb_record_next(frame.data, frame.len, &record) == PB_RECORD_CORRUPT);
	CHECK(record.problem == PB_PROBLEM_SIZE && record.problem_at == 4);
	frame.data[7] = 0;
	CHECK(pb_record_next("\x04\x05\x1c", 3, &record) == PB_RECORD_CORRUPT);
	CHECK(pb_record_next("PK", 2, &record) == PB_RECORD_CORRUPT);
	CHECK(pb_record_next("", 0, &record) == PB_RECORD_NEED_MORE && record.frame_len == 12);

	put_bytes(&frame, "\x04\x05\x04\x05\x1b\x1c\x04\x05\x1b", 9);
	CHECK(pb_record_scan(frame.data, frame.len, 0) == 0);
	CHECK(pb_record_scan(frame.data, frame.len, 1) == frame.len - 7);
	CHECK(pb_record_scan(frame.data, frame.len, frame.len - 6) == frame.len);
	CHECK(pb_record_scan(frame.data, 3, 0) == 3);
	CHECK(pb_record_scan(frame.data, 0, 0) == 0);
	for (int i = PB_PROBLEM_NONE; i <= PB_PROBLEM_CRC; i++)
		CHECK(pb_problem_text((PbRecordProblem) i)[0] != '\0');
	free(frame.data);
}

static void
test_crc(void)
{
	uint8_t bytes[64];

	CHECK(pb_crc32c("123456789", 9) == 0xe3069283u);
	CHECK(pb_crc32c("", 0) == 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
	{
		bytes[i] = (uint8_t) (i * 37);
		CHECK(~crc32c_portable(~0u, bytes, i) == pb_crc32c(bytes, i));
	}
}

static void
test_names(void)
{
	static const char *const others[] = {
		"binlog-000000000000000",
		"binlog-00000000000000000",
		"binlog-0000000000000000-",
		"binlog-0000000000000000-2026112214370",
		"binlog-0000000000000000-202611221437071",
		"binlog-0000000000000000-20261122143707.tmp",
		"binlog-0000000000000000-20261122143707-1234567.tar.gz",
		"binlog-0000000000000000.tar.gz",
		"binlog-000000000000000x",
		"binlog-",
		"binlog",
		"savepoint",
		".lock",
		"savepoint.tmp",
		"xbinlog-0000000000000000",
		"",
	};
	PbFileName a;
	PbFileName b;

	CHECK(pb_file_name_parse("binlog-0000000000000012-20261122143707", &a));
	CHECK(a.index == 12 && a.time == 20261122143707u);
	CHECK(pb_file_name_parse("binlog-9999999999999999", &b));
	CHECK(b.index == 9999999999999999u && b.time == 0);
	CHECK(pb_file_name_compare(&a, &b) < 0 && pb_file_name_compare(&b, &a) > 0);
	CHECK(!pb_file_name_follows(&a, &b));
	b = a;
	CHECK(pb_file_name_compare(&a, &b) == 0 && !pb_file_name_follows(&a, &b));
	b.time++;
	CHECK(pb_file_name_compare(&a, &b) < 0 && pb_file_name_compare(&b, &a) > 0);
	b.index++;
	b.time = 0;
	CHECK(pb_file_name_compare(&a, &b) < 0 && pb_file_name_follows(&a, &b));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
	{
		if (pb_file_name_parse(others[i], &a))
		{
			printf("accepted the name \"%s\"\n", others[i]);
			failures++;
		}
	}
}

/* ---- rows ---- */

static void
put_column(Buffer *row, const char *name, const char *type, const char *value, const char *changed)
{
	Buffer column = {0};
	Buffer datum;

	put_string(&column, 1, name);
	put_field(&column, 2, "\x03", 1);
	put_string(&column, 3, type);
	if (value != NULL)
	{
		datum = from_hex(value);
		put_message(&column, 4, &datum);
		free(datum.data);
	}
	if (changed != NULL)
	{
		datum = from_hex(changed);
		put_message(&column, 5, &datum);
		free(datum.data);
	}
	put_message(row, 4, &column);
	free(column.data);
}

/* Consumes the columns. */
static void
put_row(Buffer *dml, const char *table, unsigned type, Buffer *columns)
{
	Buffer row = {0};

	put_string(&row, 1, "d");
	put_string(&row, 2, table);
	put_number(&row, 3, type);
	put_bytes(&row, columns->data, columns->len);
	columns->len = 0;
	put_message(dml, 1, &row);
	free(row.data);
}

/* Consumes the rows. */
static Buffer
dml_record(Buffer *dml)
{
	Buffer record = {0};

	put_number(&record, 1, 0);
	put_number(&record, 2, 7);
	put_message(&record, 3, dml);
	free(dml->data);
	memset(dml, 0, sizeof(*dml));
	return record;
}

static Buffer
one_datum(const char *type, const char *datum_hex)
{
	Buffer dml = {0};
	Buffer columns = {0};

	put_column(&columns, "c", type, datum_hex, NULL);
	put_row(&dml, "t", 0, &columns);
	free(columns.data);
	return dml_record(&dml);
}

static void
expect_datum(const char *type, const char *datum_hex, const char *expected, int line)
{
	Buffer record = one_datum(type, datum_hex);
	char events[256];

	snprintf(events, sizeof(events), "insert d.t new(%s)\nresolved 7\n", expected);
	expect_events(decoder, &record, events, line);
	expect_prefixes_fail(decoder, record.data, record.len);
	free(record.data);
}

#define EXPECT_DATUM(type, hex, expected) expect_datum(type, hex, expected, __LINE__)

static void
expect_bad_datum(const char *type, const char *datum_hex, DecodeErrorCode code, const char *text,
				 int line)
{
	Buffer record = one_datum(type, datum_hex);

	expect_error(decoder, &record, code, text, line);
	free(record.data);
}

#define EXPECT_BAD_DATUM(type, hex, code, text) expect_bad_datum(type, hex, code, text, __LINE__)

static void
test_datums(void)
{
	EXPECT_DATUM("int", "00", "null");
	EXPECT_DATUM("varchar", "016162636465666768ff0000000000000000f7", "s'abcdefgh'");
	EXPECT_DATUM("varchar", "016162630000000000fa", "s'abc'");
	EXPECT_DATUM("varchar", "010000000000000000f7", "s''");
	EXPECT_DATUM("varchar", "0206616263", "s'abc'");
	EXPECT_DATUM("varchar", "0200", "s''");
	EXPECT_DATUM("binary", "02046162", "b'ab'");
	EXPECT_DATUM("json", "02047b7d", "s'{}'");
	EXPECT_DATUM("decimal", "0208312e3530", "s'1.50'");
	EXPECT_DATUM("int", "038000000000000001", "i1");
	EXPECT_DATUM("bigint", "030000000000000000", "i-9223372036854775808");
	EXPECT_DATUM("bigint", "04ffffffffffffffff", "u18446744073709551615");
	EXPECT_DATUM("double", "05bff0000000000000", "d1");
	EXPECT_DATUM("double", "05400fffffffffffff", "d-1");
	EXPECT_DATUM("double", "058000000000000000", "d0");
	EXPECT_DATUM("int", "0802", "i1");
	EXPECT_DATUM("int", "0803", "i-2");
	EXPECT_DATUM("bigint", "08ffffffffffffffffff01", "i-9223372036854775808");
	EXPECT_DATUM("int", "0905", "u5");
	EXPECT_DATUM("bit", "09ffffffffffffffffff01", "u18446744073709551615");
	EXPECT_DATUM("enum", "0901", "u1");
	EXPECT_DATUM("year", "08ca1f", "i2021");
	/* MySQL's manual: 1234567890.1234 as decimal(14,4) is 810dfb38d204d2, negated 7ef204c72dfb2d */
	EXPECT_DATUM("decimal", "060e04810dfb38d204d2", "s'1234567890.1234'");
	EXPECT_DATUM("decimal", "060e047ef204c72dfb2d", "s'-1234567890.1234'");
	EXPECT_DATUM("decimal", "06010180", "s'0.0'");
	EXPECT_DATUM("time", "07800000e8d4a51000", "s'00:16:40'");
	EXPECT_DATUM("time", "077fffffffffe17b80", "s'-00:00:00.002'");

	EXPECT_BAD_DATUM("int", "", DECODE_ERROR_VALUE, "empty datum");
	EXPECT_BAD_DATUM("int", "0b", DECODE_ERROR_VALUE, "unknown flag");
	EXPECT_BAD_DATUM("json", "0a01", DECODE_ERROR_UNSUPPORTED, "binary JSON");
	EXPECT_BAD_DATUM("int", "080200", DECODE_ERROR_VALUE, "bytes behind");
	EXPECT_BAD_DATUM("int", "0000", DECODE_ERROR_VALUE, "bytes behind");
	EXPECT_BAD_DATUM("int", "08", DECODE_ERROR_TRUNCATED, "inside a number");
	EXPECT_BAD_DATUM("int", "0380", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_DATUM("varchar", "020661", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_DATUM("varchar", "0201", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_DATUM("varchar", "016162", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_DATUM("varchar", "016162636465666768f6", DECODE_ERROR_VALUE, "wrong marker");
	EXPECT_BAD_DATUM("varchar", "016162636465666768f8", DECODE_ERROR_VALUE, "wrong padding");
	EXPECT_BAD_DATUM("decimal", "06", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_DATUM("decimal", "060102", DECODE_ERROR_VALUE, "invalid precision");
	EXPECT_BAD_DATUM("decimal", "06ff00", DECODE_ERROR_VALUE, "invalid precision");
	EXPECT_BAD_DATUM("decimal", "0601008f", DECODE_ERROR_VALUE, "invalid digits");
	EXPECT_BAD_DATUM("decimal", "060e0481", DECODE_ERROR_TRUNCATED, "does not fit");
	EXPECT_BAD_DATUM("time", "07ffffffffffffffff", DECODE_ERROR_VALUE, "time out of range");
	EXPECT_BAD_DATUM("int", "020278", DECODE_ERROR_VALUE, "cannot be text");
	EXPECT_BAD_DATUM("varchar", "0802", DECODE_ERROR_VALUE, "cannot be a signed number");
}

static EventAction
collect_serials(void *arg, const Event *event)
{
	Buffer *serials = arg;

	if (event->kind == EVENT_ROW)
	{
		CHECK(!event->table->has_key_info && event->table->nkeys == 0);
		put_text(serials, "%llu%s ", (unsigned long long) event->table->serial,
				 event->table->columns[0].is_unsigned_seen ? "u" : "");
	}
	return EVENT_CONTINUE;
}

/*
 * Equal descriptions share a serial, also by turns; a new sign gives a new one; an update has the
 * old value in value and the new one in changed_value.
 */
static void
test_rows(void)
{
	Buffer dml = {0};
	Buffer columns = {0};
	Buffer serials = {0};
	Decoder *fresh = decoder_create(DECODER_PB_BINLOG);
	Recorder recorder = {.answer = EVENT_SKIP_TABLE};
	Buffer record;
	DecodeError error;

	for (int i = 0; i < 2; i++)
	{
		put_column(&columns, "a", "int", "00", NULL);
		put_column(&columns, "g", "int", "0802", NULL);
		put_row(&dml, "t", 0, &columns);
		put_column(&columns, "a", "int", "0802", "0804");
		put_row(&dml, "t", 1, &columns);
	}
	put_column(&columns, "a", "int", "0905", NULL);
	put_column(&columns, "g", "int", "0802", NULL);
	put_row(&dml, "t", 2, &columns);
	put_column(&columns, "a", "int", "0905", NULL);
	put_row(&dml, "u", 0, &columns);
	record = dml_record(&dml);
	EXPECT_EVENTS(decoder, &record,
				  "insert d.t new(null i1)\nupdate d.t old(i1) new(i2)\n"
				  "insert d.t new(null i1)\nupdate d.t old(i1) new(i2)\n"
				  "delete d.t old(u5 i1)\ninsert d.u new(u5)\nresolved 7\n");
	CHECK(decoder_decode(fresh, record.data, record.len, collect_serials, &serials, &error) ==
		  DECODE_OK);
	put_bytes(&serials, "", 1);
	{
		unsigned long long a, b, c, d, e, f;

		CHECK(sscanf(serials.data, "%llu %llu %llu %llu %lluu %lluu", &a, &b, &c, &d, &e, &f) == 6);
		CHECK(a == c && b == d && a != b && e > a && e > b && f > e);
	}
	CHECK(decode_exact(decoder, record.data, record.len, &recorder, &error) == DECODE_OK);
	CHECK(strcmp(recorder.text.data, "insert d.t new(null i1)\ninsert d.u new(u5)\nresolved 7\n") ==
		  0);
	recorder.answer = EVENT_STOP;
	CHECK(decode_exact(decoder, record.data, record.len, &recorder, &error) == DECODE_STOPPED);
	CHECK(recorder.events == 1);
	decoder_destroy(fresh);
	free(recorder.text.data);
	free(serials.data);
	free(columns.data);
	free(record.data);
}

static void
expect_bad_row(Buffer *columns, const char *table, unsigned type, DecodeErrorCode code,
			   const char *text, int line)
{
	Buffer dml = {0};
	Buffer good = {0};
	Buffer record;

	put_column(&good, "a", "int", "0802", NULL);
	put_row(&dml, "t", 0, &good); /* must not be delivered either */
	put_row(&dml, table, type, columns);
	record = dml_record(&dml);
	expect_error(decoder, &record, code, text, line);
	free(good.data);
	free(record.data);
}

static void
test_bad_rows(void)
{
	Buffer columns = {0};

	put_column(&columns, "a", "int", "0802", NULL);
	expect_bad_row(&columns, "t", 1, DECODE_ERROR_MISSING, "update without the new value",
				   __LINE__);
	put_column(&columns, "a", "int", NULL, NULL);
	expect_bad_row(&columns, "t", 0, DECODE_ERROR_MISSING, "column without a value", __LINE__);
	put_column(&columns, "", "int", "0802", NULL);
	expect_bad_row(&columns, "t", 0, DECODE_ERROR_MISSING, "column without a name", __LINE__);
	put_column(&columns, "a", "", "0802", NULL);
	expect_bad_row(&columns, "t", 0, DECODE_ERROR_MISSING, "column without a type", __LINE__);
	put_column(&columns, "a", "int", "0802", NULL);
	expect_bad_row(&columns, "t", 3, DECODE_ERROR_VALUE, "unknown type of row 3", __LINE__);
	put_column(&columns, "a", "int", "0802", NULL);
	expect_bad_row(&columns, "", 0, DECODE_ERROR_MISSING, "without the name", __LINE__);
	expect_bad_row(&columns, "t", 0, DECODE_ERROR_MISSING, "row without columns", __LINE__);
	for (int i = 0; i < 8193; i++)
		put_column(&columns, "a", "int", "00", NULL);
	expect_bad_row(&columns, "t", 0, DECODE_ERROR_UNSUPPORTED, "more than 8192 columns", __LINE__);
	free(columns.data);
}

/* ---- statements ---- */

static void
expect_ddl(const char *query, const char *expected, int line)
{
	Buffer record = {0};
	char events[512];

	put_number(&record, 1, 1);
	put_number(&record, 2, 7);
	put_string(&record, 4, query);
	snprintf(events, sizeof(events), "ddl %s\nresolved 7\n", expected);
	expect_events(decoder, &record, events, line);
	expect_prefixes_fail(decoder, record.data, record.len);
	free(record.data);
}

#define EXPECT_DDL(query, expected) expect_ddl(query, expected, __LINE__)

static void
test_statements(void)
{
	Buffer record = from_hex("080110072200");

	EXPECT_DDL("use `d`; DROP TABLE `t`;;", "d - [DROP TABLE `t`;]");
	EXPECT_DDL("use `d`; drop table t;", "d - [drop table t]");
	EXPECT_DDL("CREATE DATABASE `d`;;", "- - [CREATE DATABASE `d`;]");
	EXPECT_DDL("use `odd db`; drop table `a`; ;", "odd db - [drop table `a`; ]");
	EXPECT_DDL("use `a``b`; drop table t;", "a`b - [drop table t]");
	EXPECT_DDL("use `a`b`; drop table t;", "a`b - [drop table t]");
	EXPECT_DDL("use `unclosed;", "- - [use `unclosed]");
	EXPECT_DDL("use `d`; create table t(c varchar(9) default '`; ');",
			   "d - [create table t(c varchar(9) default '`; ')]");
	EXPECT_ERROR(decoder, &record, DECODE_ERROR_MISSING, "DDL without a statement");
	free(record.data);
	record = from_hex("0801100722013b");
	EXPECT_ERROR(decoder, &record, DECODE_ERROR_MISSING, "DDL without a statement");
	free(record.data);
	record = from_hex("08001007220178");
	EXPECT_ERROR(decoder, &record, DECODE_ERROR_UNSUPPORTED, "rows with a statement");
	free(record.data);
}

int
main(void)
{
	decoder = decoder_create(DECODER_PB_BINLOG);
	test_frame();
	test_crc();
	test_names();
	test_datums();
	test_rows();
	test_bad_rows();
	test_statements();
	decoder_destroy(decoder);
	return finish();
}
