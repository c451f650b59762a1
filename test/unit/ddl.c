/*
 * The DDL parser understands every statement of the fixtures, in TiDB's spelling and in the
 * client's, to the same tree; a list of hostile ones as the golden files say; and survives every
 * prefix of all of them.
 *
 * sources: test/unit/ddl/print.c ingest_worker/ddl/ddl_*.c ingest_worker/decode/arena.c
 *
 * Statements are in ddl/NAME.txt, trees in ddl/NAME.out.  After a change that is meant to change
 * them: MAGIC_SRC=top-directory ddl --update, and read the difference.
 *
 * NAME.txt: a statement is a line, or the lines between "<<<" and ">>>".  "original" or "restored"
 * on a line of its own sets the dialect for those that follow, "auto" the heuristic; "##" begins a
 * remark.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ddl/ddl.h"
#include "unit/ddl/print.h"

static int failures;

#define FAIL(...) (failures++, printf("FAILED: "), printf(__VA_ARGS__), printf("\n"))

typedef struct Statement
{
	char *text; /* exactly len bytes, so that reading past the end is caught */
	size_t len;
	DdlDialect dialect;
	const char *remark;
} Statement;

typedef struct List
{
	Statement *items;
	int n;
	char *file;
} List;

static char *
read_file(const char *name, const char *suffix, size_t *len)
{
	const char *top = getenv("MAGIC_SRC") ? getenv("MAGIC_SRC") : ".";
	char path[4096];
	FILE *f;
	char *data;

	snprintf(path, sizeof(path), "%s/test/unit/ddl/%s.%s", top, name, suffix);
	f = fopen(path, "rb");
	if (f == NULL)
	{
		printf("cannot read %s\n", path);
		exit(1);
	}
	fseek(f, 0, SEEK_END);
	*len = (size_t) ftell(f);
	rewind(f);
	data = malloc(*len + 1);
	*len = fread(data, 1, *len, f);
	data[*len] = '\0';
	fclose(f);
	return data;
}

static Statement *
append(List *list, const char *text, size_t len, DdlDialect dialect)
{
	Statement *s;

	list->items = realloc(list->items, sizeof(Statement) * (size_t) (list->n + 1));
	s = &list->items[list->n++];
	s->text = malloc(len ? len : 1);
	memcpy(s->text, text, len);
	s->len = len;
	s->dialect = dialect;
	s->remark = NULL;
	return s;
}

static List
read_list(const char *name)
{
	List list = {NULL, 0, NULL};
	size_t len;
	DdlDialect dialect = DDL_DIALECT_AUTO;
	char *line = list.file = read_file(name, "txt", &len);

	while (*line != '\0')
	{
		char *end = strchr(line, '\n');
		size_t n = end ? (size_t) (end - line) : strlen(line);

		if (n == 3 && memcmp(line, "<<<", 3) == 0)
		{
			char *block = end + 1;

			end = strstr(block, "\n>>>\n");
			assert(end != NULL);
			append(&list, block, (size_t) (end - block), dialect);
			end += 4;
		}
		else if (n == 8 && memcmp(line, "original", 8) == 0)
			dialect = DDL_DIALECT_ORIGINAL;
		else if (n == 8 && memcmp(line, "restored", 8) == 0)
			dialect = DDL_DIALECT_RESTORED;
		else if (n == 4 && memcmp(line, "auto", 4) == 0)
			dialect = DDL_DIALECT_AUTO;
		else if (n >= 2 && memcmp(line, "##", 2) == 0)
			append(&list, "", 0, dialect)->remark = strndup(line, n);
		else if (n > 0)
			append(&list, line, n, dialect);
		line += n;
		if (end != NULL)
			line = end + 1;
	}
	return list;
}

static void
free_list(List *list)
{
	for (int i = 0; i < list->n; i++)
	{
		free(list->items[i].text);
		free((void *) list->items[i].remark);
	}
	free(list->items);
	free(list->file);
}

static void
print_error(FILE *out, const DdlError *error)
{
	fprintf(out, "ERROR %s at %d:%d \"%s\"\n", error->message, error->line, error->column,
			error->token);
}

/* The tree of a text, printed; to be freed. */
static char *
tree(const char *text, size_t len, DdlDialect dialect, bool normal)
{
	Arena *arena = arena_create(DDL_ARENA_LIMIT);
	DdlError error;
	DdlStatement *stmt = ddl_parse(text, len, dialect, arena, &error);
	char *result = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&result, &n);

	if (stmt != NULL)
		ddl_print(out, stmt, normal);
	else
		print_error(out, &error);
	fclose(out);
	arena_destroy(arena);
	return result;
}

static void
golden(const char *name, bool update)
{
	List list = read_list(name);
	char *result = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&result, &n);

	for (int i = 0; i < list.n; i++)
	{
		Statement *s = &list.items[i];
		char *printed;

		if (s->remark != NULL)
		{
			fprintf(out, "%s\n", s->remark);
			continue;
		}
		printed = tree(s->text, s->len, s->dialect, false);
		fprintf(out, "%.*s\n%s\n", (int) s->len, s->text, printed);
		free(printed);
	}
	fclose(out);
	if (update)
	{
		char path[4096];
		FILE *f;

		snprintf(path, sizeof(path), "%s/test/unit/ddl/%s.out", getenv("MAGIC_SRC"), name);
		f = fopen(path, "wb");
		fwrite(result, 1, n, f);
		fclose(f);
	}
	else
	{
		size_t len;
		char *expected = read_file(name, "out", &len);

		if (len != n || memcmp(expected, result, n) != 0)
		{
			size_t at = 0;
			int line = 1;

			for (; at < n && at < len && result[at] == expected[at]; at++)
				line += result[at] == '\n';
			while (at > 0 && result[at - 1] != '\n')
				at--;
			FAIL("%s.out line %d\nexpected: %.600s\ngot: %.600s", name, line, expected + at,
				 result + at);
		}
		free(expected);
	}
	free(result);
	free_list(&list);
}

/* Every statement parses, or none does. */
static void
all_parse(const char *name, bool expected)
{
	List list = read_list(name);
	Arena *arena = arena_create(DDL_ARENA_LIMIT);

	for (int i = 0; i < list.n; i++)
	{
		Statement *s = &list.items[i];
		DdlError error;

		if (s->remark == NULL &&
			(ddl_parse(s->text, s->len, s->dialect, arena, &error) != NULL) != expected)
			FAIL("%s: %.*s: %s", name, (int) s->len, s->text,
				 expected ? error.message : "should be refused");
		arena_reset(arena);
	}
	arena_destroy(arena);
	free_list(&list);
}

/* TiDB's spelling and the client's of the same statements mean the same. */
static void
same_trees(const char *restored, const char *original)
{
	List a = read_list(restored);
	List b = read_list(original);

	assert(a.n == b.n);
	for (int i = 0; i < a.n; i++)
	{
		char *x = tree(a.items[i].text, a.items[i].len, DDL_DIALECT_AUTO, true);
		char *y = tree(b.items[i].text, b.items[i].len, DDL_DIALECT_AUTO, true);

		if (strcmp(x, y) != 0)
			FAIL("not the same:\n%.*s\n%.*s\n%s\n%s", (int) a.items[i].len, a.items[i].text,
				 (int) b.items[i].len, b.items[i].text, x, y);
		free(x);
		free(y);
	}
	free_list(&a);
	free_list(&b);
}

static void
check_outcome(const DdlStatement *stmt, const DdlError *error, size_t len)
{
	char line[300];

	if (stmt != NULL)
	{
		assert(error->code == DDL_OK);
		for (size_t size = 1; size <= sizeof(line); size += 37)
		{
			char *exact = malloc(size);

			ddl_describe(stmt, exact, size);
			assert(strlen(exact) < size);
			free(exact);
		}
		return;
	}
	assert(error->code != DDL_OK && error->message[0] != '\0');
	assert(error->offset <= len && error->line >= 1 && error->column >= 1);
}

/* Every prefix is parsed or refused, with a position inside it. */
static void
prefixes(const char *name)
{
	List list = read_list(name);
	Arena *arena = arena_create(DDL_ARENA_LIMIT);

	for (int i = 0; i < list.n; i++)
		for (size_t len = 0; len < list.items[i].len; len++)
		{
			char *exact = malloc(len ? len : 1);
			DdlError error;
			DdlStatement *stmt;

			memcpy(exact, list.items[i].text, len);
			stmt = ddl_parse(exact, len, list.items[i].dialect, arena, &error);
			check_outcome(stmt, &error, len);
			arena_reset(arena);
			free(exact);
		}
	arena_destroy(arena);
	free_list(&list);
}

/*
 * Blanks, comments and the case of keywords change nothing: for TiDB's spelling, where every name
 * is quoted.  Each blank outside quotes becomes comments, each word lower case.
 */
static void
respelled(const char *name)
{
	static const char gap[] = "\n/* '`\" */\t-- ; '\n#`\r\n";
	List list = read_list(name);

	for (int i = 0; i < list.n; i++)
	{
		Statement *s = &list.items[i];
		char *copy = malloc(s->len * sizeof(gap) + 1);
		size_t n = 0;
		char quote = 0;
		char *x;
		char *y;

		/* What a backslash means depends on the spelling; comments in names would not be names. */
		if (memchr(s->text, '\\', s->len) != NULL || memmem(s->text, s->len, "--", 2) != NULL)
		{
			free(copy);
			continue;
		}
		for (size_t j = 0; j < s->len; j++)
		{
			char c = s->text[j];

			if (c == '\'' || c == '"' || c == '`')
				quote = quote == c ? 0 : quote == 0 ? c : quote;
			if (quote == 0 && c == ' ')
			{
				memcpy(copy + n, gap, sizeof(gap) - 1);
				n += sizeof(gap) - 1;
			}
			else if (quote == 0 && c >= 'A' && c <= 'Z' && !(j >= 2 && s->text[j - 1] == '*'))
				copy[n++] = (char) (c - 'A' + 'a');
			else
				copy[n++] = c;
		}
		x = tree(s->text, s->len, DDL_DIALECT_ORIGINAL, true);
		y = tree(copy, n, DDL_DIALECT_ORIGINAL, true);
		/* The gap is part of an expression's text. */
		if (strstr(y, "'`\\\"") == NULL && strcmp(x, y) != 0)
			FAIL("respelled:\n%.*s\n%s\n%s", (int) s->len, s->text, x, y);
		free(x);
		free(y);
		free(copy);
	}
	free_list(&list);
}

/* ----------------------------------------------------------------
 *		Limits
 * ----------------------------------------------------------------
 */

static DdlErrorCode
parse_code(const char *text, size_t len, size_t limit)
{
	Arena *arena = arena_create(limit);
	DdlError error;

	ddl_parse(text, len, DDL_DIALECT_AUTO, arena, &error);
	check_outcome(NULL, &error, len);
	arena_destroy(arena);
	return error.code;
}

/* head, then n times unit, then tail */
static void
repeated(const char *head, const char *unit, size_t n, const char *tail, size_t limit,
		 DdlErrorCode expected)
{
	size_t len = 0;
	char *text = malloc(strlen(head) + n * (strlen(unit) + 8) + strlen(tail) + 1);
	Arena *arena = arena_create(limit);
	DdlError error;

	len += (size_t) sprintf(text, "%s", head);
	for (size_t i = 0; i < n; i++)
	{
		char *mark;

		memcpy(text + len, unit, strlen(unit) + 1);
		mark = strchr(text + len, '@');
		if (mark != NULL)
			len =
				(size_t) (mark - text) + (size_t) sprintf(mark, "%zu%s", i, strchr(unit, '@') + 1);
		else
			len += strlen(unit);
	}
	len += (size_t) sprintf(text + len, "%s", tail);
	ddl_parse(text, len, DDL_DIALECT_AUTO, arena, &error);
	if (error.code != expected)
		FAIL("%s%s x %zu%s: code %d, expected %d: %s", head, unit, n, tail, error.code, expected,
			 error.message);
	arena_destroy(arena);
	free(text);
}

static void
limits(void)
{
	size_t big = DDL_ARENA_LIMIT;
	char *text;

	repeated("create table t(a int check ", "(", 1000, "", big, DDL_ERROR_SYNTAX);
	repeated("create table t(a int check ", "(", 1000000, "", big, DDL_ERROR_LIMIT);
	repeated("create table t(a int default ", "(", 1000000, "", big, DDL_ERROR_LIMIT);
	repeated("create table t(", "c@ int,", 4095, "z int)", big, DDL_OK);
	repeated("create table t(", "c@ int,", 4096, "z int)", big, DDL_ERROR_LIMIT);
	repeated("alter table t drop x", ",add c@ int", 4097, "", big, DDL_ERROR_LIMIT);
	repeated("alter table t drop x", ",drop c@", 8191, "", big, DDL_OK);
	repeated("alter table t drop x", ",drop c@", 8192, "", big, DDL_ERROR_LIMIT);
	repeated("create table t(a int", ",key(a)", 4097, ")", big, DDL_ERROR_LIMIT);
	repeated("create table t(a int, key(a", ",a", 1024, "))", big, DDL_ERROR_LIMIT);
	repeated("create table t(a enum('x'", ",'m@'", 65534, "))", big, DDL_OK);
	repeated("create table t(a enum('x'", ",'m@'", 65535, "))", big, DDL_ERROR_LIMIT);
	repeated("create table t(a set('x'", ",'m@'", 63, "))", big, DDL_OK);
	repeated("create table t(a set('x'", ",'m@'", 64, "))", big, DDL_ERROR_LIMIT);
	repeated("drop table t", ",t@", 70000, "", big, DDL_ERROR_LIMIT);
	repeated("alter table t add partition (partition x", ",partition p@", 8192, ")", big,
			 DDL_ERROR_LIMIT);
	/* Long but legal: time must stay linear, or this does not end. */
	repeated("create table t(a int comment ", "'x' ", 1000000, ")", big, DDL_OK);
	repeated("create table t(a int default (1", "+1", 2000000, "))", big, DDL_OK);
	repeated("create table t(", "/* - */ -- x\n#\n", 500000, "a int)", big, DDL_OK);
	repeated("create table t(", "/*!50000 */", 500000, "a int)", big, DDL_OK);
	/* An arena that is too small. */
	repeated("create table t(", "c@ int,", 1000, "z int)", 65536, DDL_ERROR_MEMORY);
	text = calloc(1, DDL_MAX_TEXT + 1);
	memset(text, ' ', DDL_MAX_TEXT + 1);
	assert(parse_code(text, DDL_MAX_TEXT + 1, big) == DDL_ERROR_LIMIT);
	assert(parse_code(text, DDL_MAX_TEXT, big) == DDL_ERROR_SYNTAX);
	free(text);
}

static void
names_compare(void)
{
	assert(ddl_same_name((DdlString){"aZ`", 3}, (DdlString){"Az`", 3}));
	assert(!ddl_same_name((DdlString){"a", 1}, (DdlString){"ab", 2}));
	assert(!ddl_same_name((DdlString){"[", 1}, (DdlString){"{", 1}));
	assert(!ddl_same_name((DdlString){"\xc3\x89", 2}, (DdlString){"\xc3\xa9", 2}));
}

int
main(int argc, char **argv)
{
	static const char *const files[] = {"restored", "original", "limits",
										"ticdc",	"accepted", "refused"};
	bool update = argc > 1 && strcmp(argv[1], "--update") == 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		golden(files[i], update);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
	{
		all_parse(files[i], strcmp(files[i], "refused") != 0);
		prefixes(files[i]);
	}
	same_trees("restored", "original");
	respelled("restored");
	respelled("limits");
	limits();
	names_compare();
	printf("%d failures\n", failures);
	return failures > 0;
}
