/*-------------------------------------------------------------------------
 *
 * ddl_parse.c
 *		Entry of the DDL parser, and the helpers of its parts.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl_internal.h"

#include <stdio.h>
#include <string.h>

/* ----------------------------------------------------------------
 *		Errors
 * ----------------------------------------------------------------
 */

/* Copy the bytes of the token, cut at a character boundary, control characters as '?'. */
static void
copy_token(DdlError *error, const char *text, size_t start, size_t end)
{
	size_t n = end - start;

	if (n >= sizeof(error->token))
	{
		n = sizeof(error->token) - 1;
		while (n > 0 && ((unsigned char) text[start + n] & 0xC0) == 0x80)
			n--;
	}
	for (size_t i = 0; i < n; i++)
	{
		unsigned char c = (unsigned char) text[start + i];

		error->token[i] = c < 0x20 || c == 0x7f ? '?' : (char) c;
	}
	error->token[n] = '\0';
}

bool
ddl_fail_at(Parser *p, size_t start, size_t end, DdlErrorCode code, const char *message)
{
	DdlError *error = p->error;

	if (error->code != DDL_OK)
		return false;
	error->code = code;
	snprintf(error->message, sizeof(error->message), "%s", message);
	error->offset = start;
	error->line = 1;
	error->column = 1;
	for (size_t i = 0; i < start; i++)
	{
		error->column++;
		if (p->lex.text[i] == '\n')
		{
			error->line++;
			error->column = 1;
		}
	}
	copy_token(error, p->lex.text, start, end);
	return false;
}

bool
ddl_fail(Parser *p, const char *message)
{
	size_t end = p->tok.end;

	if (p->tok.type == TOKEN_ERROR)
		message = p->lex.error;
	if (p->tok.type == TOKEN_STRING)
	{
		/* Show some of the string; where it ends may not be known. */
		end = p->lex.len - p->tok.start > 40 ? p->tok.start + 40 : p->lex.len;
	}
	return ddl_fail_at(p, p->tok.start, end, DDL_ERROR_SYNTAX, message);
}

bool
ddl_fail_expected(Parser *p, const char *what)
{
	char message[sizeof(p->error->message)];

	if (p->tok.type == TOKEN_END)
		snprintf(message, sizeof(message), "statement ends where %s is expected", what);
	else
		snprintf(message, sizeof(message), "%s expected", what);
	return ddl_fail(p, message);
}

bool
ddl_fail_memory(Parser *p)
{
	return ddl_fail_at(p, p->tok.start, p->tok.end, DDL_ERROR_MEMORY,
					   "out of memory for the parsed statement");
}

/* ----------------------------------------------------------------
 *		Tokens
 * ----------------------------------------------------------------
 */

/* Take the current token.  False when the next one is not readable. */
bool
ddl_advance(Parser *p)
{
	if (p->tok.type == TOKEN_STRING)
	{
		if (!lex_string(p->lex.text, p->lex.len, &p->lex.pos, true, NULL, NULL))
			return ddl_fail(p, "string does not end");
	}
	p->prev_end = p->lex.pos;
	p->tok = lex_next(&p->lex);
	if (p->tok.type == TOKEN_ERROR)
		return ddl_fail(p, "");
	return true;
}

Token
ddl_peek(const Parser *p)
{
	Lexer lex = p->lex;

	return lex_next(&lex);
}

bool
ddl_token_is(const Parser *p, const Token *tok, const char *word)
{
	return tok->type == TOKEN_WORD && !tok->after_dot &&
		   lex_equal_word(p->lex.text + tok->start, tok->end - tok->start, word);
}

bool
ddl_is(const Parser *p, const char *word)
{
	return ddl_token_is(p, &p->tok, word);
}

bool
ddl_is_punct(const Parser *p, char c)
{
	return p->tok.type == TOKEN_PUNCT && p->tok.punct == c;
}

bool
ddl_peek_is(const Parser *p, const char *word)
{
	Token next;

	if (p->tok.type == TOKEN_STRING)
		return false;
	next = ddl_peek(p);
	return ddl_token_is(p, &next, word);
}

bool
ddl_peek_is_punct(const Parser *p, char c)
{
	Token next;

	if (p->tok.type == TOKEN_STRING)
		return false;
	next = ddl_peek(p);
	return next.type == TOKEN_PUNCT && next.punct == c;
}

bool
ddl_accept(Parser *p, const char *word)
{
	if (!ddl_is(p, word))
		return false;
	ddl_advance(p);
	return true;
}

bool
ddl_accept2(Parser *p, const char *first, const char *second)
{
	if (!ddl_is(p, first) || !ddl_peek_is(p, second))
		return false;
	ddl_advance(p);
	ddl_advance(p);
	return true;
}

bool
ddl_accept_punct(Parser *p, char c)
{
	if (!ddl_is_punct(p, c))
		return false;
	ddl_advance(p);
	return true;
}

bool
ddl_accept_any(Parser *p, const char *const *words)
{
	for (; *words != NULL; words++)
		if (ddl_accept(p, *words))
			return true;
	return false;
}

bool
ddl_expect(Parser *p, const char *word)
{
	if (ddl_accept(p, word))
		return p->error->code == DDL_OK;
	return ddl_fail_expected(p, word);
}

bool
ddl_expect_punct(Parser *p, char c)
{
	char what[4] = {'"', c, '"', '\0'};

	if (ddl_accept_punct(p, c))
		return p->error->code == DDL_OK;
	return ddl_fail_expected(p, what);
}

bool
ddl_at_end(const Parser *p)
{
	return p->tok.type == TOKEN_END || ddl_is_punct(p, ';');
}

/* ----------------------------------------------------------------
 *		Memory
 * ----------------------------------------------------------------
 */

bool
ddl_copy(Parser *p, size_t start, size_t end, DdlString *out)
{
	char *copy = arena_strndup(p->arena, p->lex.text + start, end - start);

	if (copy == NULL)
		return ddl_fail_memory(p);
	out->data = copy;
	out->len = end - start;
	return true;
}

/*
 * Room for one more element at the end of *(T **) arrayp, which has *n of them; zeroed.  The room
 * doubles at powers of two, so no capacity is kept.
 */
void *
ddl_push(Parser *p, void *arrayp, int *n, size_t size, int max, const char *what)
{
	void **array = arrayp;

	if (*n >= max)
	{
		char message[sizeof(p->error->message)];

		snprintf(message, sizeof(message), "more than %d %s", max, what);
		ddl_fail_at(p, p->tok.start, p->tok.end, DDL_ERROR_LIMIT, message);
		return NULL;
	}
	if (*n == 0 || (*n >= 4 && (*n & (*n - 1)) == 0))
	{
		void *larger = arena_calloc(p->arena, *n == 0 ? 4 : (size_t) *n * 2, size);

		if (larger == NULL)
		{
			ddl_fail_memory(p);
			return NULL;
		}
		if (*n > 0)
			memcpy(larger, *array, (size_t) *n * size);
		*array = larger;
	}
	return (char *) *array + (size_t) (*n)++ * size;
}

/* ----------------------------------------------------------------
 *		Names, strings, numbers
 * ----------------------------------------------------------------
 */

/* Decode what stands between the quotes of [start, end), the quote doubled inside. */
static bool
copy_quoted(Parser *p, size_t start, size_t end, DdlString *out)
{
	char *copy = arena_alloc(p->arena, end - start);

	if (copy == NULL)
		return ddl_fail_memory(p);
	out->data = copy;
	lex_string(p->lex.text, end, &start, false, copy, &out->len);
	copy[out->len] = '\0';
	return true;
}

/*
 * A name: back-quoted, a word that is not reserved, or a word of any kind after a dot.  A name in
 * double quotes (SQL mode ANSI_QUOTES) is one, too, since no string can stand in its place.
 */
bool
ddl_identifier(Parser *p, DdlString *out, const char *what)
{
	const Token *tok = &p->tok;

	if (tok->type == TOKEN_WORD)
	{
		if (!tok->after_dot && lex_is_reserved(p->lex.text + tok->start, tok->end - tok->start))
			return ddl_fail_expected(p, what);
		if (!ddl_copy(p, tok->start, tok->end, out))
			return false;
	}
	else if (tok->type == TOKEN_QUOTED)
	{
		if (!copy_quoted(p, tok->start, tok->end, out))
			return false;
	}
	else if (tok->type == TOKEN_STRING && p->lex.text[tok->start] == '"' &&
			 p->dialect == DDL_DIALECT_ORIGINAL)
	{
		size_t end = tok->start;

		if (!lex_string(p->lex.text, p->lex.len, &end, false, NULL, NULL))
			return ddl_fail(p, "quoted name does not end");
		if (!copy_quoted(p, tok->start, end, out))
			return false;
		/* Go on behind it as behind a back-quoted name. */
		p->lex.pos = end;
		p->lex.after_name = true;
		p->tok.type = TOKEN_QUOTED;
		p->tok.end = end;
	}
	else
		return ddl_fail_expected(p, what);
	if (out->len == 0)
		return ddl_fail(p, "empty name");
	return ddl_advance(p);
}

bool
ddl_name(Parser *p, DdlName *out, const char *what)
{
	DdlString first;

	memset(out, 0, sizeof(*out));
	if (!ddl_identifier(p, &first, what))
		return false;
	out->name = first;
	if (!ddl_accept_punct(p, '.'))
		return true;
	out->database = first;
	return ddl_identifier(p, &out->name, what);
}

bool
ddl_name_list(Parser *p, DdlName **names, int *n, const char *what)
{
	do
	{
		DdlName *name = ddl_push(p, names, n, sizeof(DdlName), DDL_MAX_NAMES, "names in a list");

		if (name == NULL || !ddl_name(p, name, what))
			return false;
	} while (ddl_accept_punct(p, ','));
	return true;
}

bool
ddl_identifier_list(Parser *p, DdlString **names, int *n, const char *what)
{
	do
	{
		DdlString *name =
			ddl_push(p, names, n, sizeof(DdlString), DDL_MAX_NAMES, "names in a list");

		if (name == NULL || !ddl_identifier(p, name, what))
			return false;
	} while (ddl_accept_punct(p, ','));
	return true;
}

/* A string literal, or several in a row, which are one. */
bool
ddl_string(Parser *p, DdlString *out, StringMode mode)
{
	bool backslash = mode == STRING_ESCAPED || p->dialect != DDL_DIALECT_RESTORED;
	Parser ahead = *p;
	size_t room = 1;
	char *copy;

	if (p->tok.type != TOKEN_STRING)
		return ddl_fail_expected(p, "string");
	while (ahead.tok.type == TOKEN_STRING)
	{
		if (!lex_string(p->lex.text, p->lex.len, &ahead.lex.pos, backslash, NULL, NULL))
			return ddl_fail(p, "string does not end");
		room += ahead.lex.pos - ahead.tok.start;
		ahead.prev_end = ahead.lex.pos;
		ahead.tok = lex_next(&ahead.lex);
	}
	copy = arena_alloc(p->arena, room);
	if (copy == NULL)
		return ddl_fail_memory(p);
	out->data = copy;
	out->len = 0;
	while (p->tok.type == TOKEN_STRING)
	{
		size_t n;

		lex_string(p->lex.text, p->lex.len, &p->lex.pos, backslash, copy + out->len, &n);
		out->len += n;
		p->prev_end = p->lex.pos;
		p->tok = lex_next(&p->lex);
	}
	copy[out->len] = '\0';
	if (p->tok.type == TOKEN_ERROR)
		return ddl_fail(p, "");
	return true;
}

bool
ddl_integer(Parser *p, int64_t *out, int64_t max, const char *what)
{
	int64_t value = 0;

	if (p->tok.type != TOKEN_NUMBER)
		return ddl_fail_expected(p, what);
	for (size_t i = p->tok.start; i < p->tok.end; i++)
	{
		int digit = p->lex.text[i] - '0';

		if (digit < 0 || digit > 9)
			return ddl_fail_expected(p, what);
		if (digit > max || value > (max - digit) / 10)
			return ddl_fail(p, "number is too large here");
		value = value * 10 + digit;
	}
	*out = value;
	return ddl_advance(p);
}

/* Strings after LOCATION LABELS; a comma that no string follows is not theirs. */
bool
ddl_location_labels(Parser *p)
{
	DdlString string;

	if (!ddl_accept2(p, "LOCATION", "LABELS"))
		return true;
	while (ddl_string(p, &string, STRING_RAW))
	{
		if (!ddl_is_punct(p, ',') || ddl_peek(p).type != TOKEN_STRING)
			return true;
		if (!ddl_advance(p))
			break;
	}
	return false;
}

/* A charset or collation: a word, a quoted name or a string; folded to lower case. */
bool
ddl_charset_name(Parser *p, DdlString *out)
{
	if (p->tok.type == TOKEN_STRING)
	{
		if (!ddl_string(p, out, STRING_RAW))
			return false;
	}
	else if (ddl_is(p, "BINARY") || ddl_is(p, "DEFAULT"))
	{
		if (!ddl_copy(p, p->tok.start, p->tok.end, out) || !ddl_advance(p))
			return false;
	}
	else if (!ddl_identifier(p, out, "charset or collation"))
		return false;
	return ddl_copy_lower(p, out);
}

bool
ddl_copy_lower(Parser *p, DdlString *string)
{
	char *copy = arena_strndup(p->arena, string->data, string->len);

	if (copy == NULL)
		return ddl_fail_memory(p);
	for (size_t i = 0; i < string->len; i++)
		if (copy[i] >= 'A' && copy[i] <= 'Z')
			copy[i] += 'a' - 'A';
	string->data = copy;
	return true;
}

/* ----------------------------------------------------------------
 *		Parts that are passed over
 * ----------------------------------------------------------------
 */

/*
 * From an opening parenthesis behind its closing one; inner, if not NULL, is the text between,
 * without blanks at its ends.
 */
bool
ddl_skip_parens(Parser *p, DdlString *inner)
{
	bool inside_comment = p->lex.inside_comment;
	int depth = 0;
	size_t start;
	size_t end;

	if (!ddl_is_punct(p, '('))
		return ddl_fail_expected(p, "\"(\"");
	start = p->tok.end;
	do
	{
		if (ddl_is_punct(p, '('))
		{
			if (++depth > DDL_MAX_DEPTH)
				return ddl_fail_at(p, p->tok.start, p->tok.end, DDL_ERROR_LIMIT,
								   "parentheses are nested too deep");
			if (depth == 1)
			{
				if (!ddl_advance(p))
					return false;
				start = p->tok.start;
				continue;
			}
		}
		else if (ddl_is_punct(p, ')'))
			depth--;
		else if (ddl_at_end(p))
			return ddl_fail_expected(p, "\")\"");
		if (depth == 0)
			break;
		if (!ddl_advance(p))
			return false;
	} while (true);
	if (inner != NULL && p->tok.start == start)
		return ddl_fail_expected(p, "expression");
	end = p->prev_end;
	if (p->lex.inside_comment != inside_comment)
		return ddl_fail(p, "executable comment ends within parentheses");
	if (inner != NULL && !ddl_copy(p, start, end, inner))
		return false;
	return ddl_advance(p);
}

/* To the end of a statement that changes no table.  Its parentheses must match. */
bool
ddl_skip_rest(Parser *p)
{
	int depth = 0;

	while (!ddl_at_end(p))
	{
		if (ddl_is_punct(p, '('))
			depth++;
		else if (ddl_is_punct(p, ')') && --depth < 0)
			return ddl_fail(p, "parenthesis was not opened");
		if (!ddl_advance(p))
			return false;
	}
	if (depth != 0)
		return ddl_fail_expected(p, "\")\"");
	return true;
}

bool
ddl_if_exists(Parser *p, bool *flag)
{
	if (!ddl_accept(p, "IF"))
		return true;
	*flag = true;
	return ddl_expect(p, "EXISTS");
}

bool
ddl_if_not_exists(Parser *p, bool *flag)
{
	if (!ddl_accept(p, "IF"))
		return true;
	*flag = true;
	return ddl_expect(p, "NOT") && ddl_expect(p, "EXISTS");
}

/* ----------------------------------------------------------------
 *		Entry
 * ----------------------------------------------------------------
 */

static bool
skip_semicolons(Parser *p)
{
	while (ddl_is_punct(p, ';'))
		if (!ddl_advance(p))
			return false;
	return true;
}

static bool
statement(Parser *p, DdlStatement *stmt)
{
	bool ok;

	if (ddl_accept(p, "USE"))
	{
		if (!ddl_identifier(p, &stmt->use_database, "name of a database"))
			return false;
		if (!ddl_is_punct(p, ';'))
			return ddl_fail_expected(p, "\";\"");
		if (!skip_semicolons(p))
			return false;
	}
	if (ddl_at_end(p))
		return ddl_fail_expected(p, "statement");
	if (ddl_accept(p, "CREATE"))
		ok = ddl_create(p, stmt);
	else if (ddl_accept(p, "ALTER"))
		ok = ddl_alter(p, stmt);
	else if (ddl_accept(p, "DROP"))
		ok = ddl_drop(p, stmt);
	else
		ok = ddl_remaining(p, stmt);
	if (!ok || p->error->code != DDL_OK)
		return false;
	if (!ddl_at_end(p))
		return ddl_fail(p, "statement should end here");
	if (!skip_semicolons(p))
		return false;
	if (p->tok.type != TOKEN_END)
		return ddl_fail(p, "second statement in the text");
	return true;
}

DdlStatement *
ddl_parse(const char *text, size_t len, DdlDialect dialect, Arena *arena, DdlError *error)
{
	Parser p;
	DdlStatement *stmt;

	memset(error, 0, sizeof(*error));
	memset(&p, 0, sizeof(p));
	p.arena = arena;
	p.error = error;
	lex_start(&p.lex, text, len);
	if (len > DDL_MAX_TEXT)
	{
		ddl_fail_at(&p, 0, 0, DDL_ERROR_LIMIT, "statement is too long");
		return NULL;
	}
	if (dialect == DDL_DIALECT_AUTO)
	{
		dialect = DDL_DIALECT_ORIGINAL;
		if (len > 0 && memchr(text, '\\', len) != NULL && lex_looks_restored(text, len))
			dialect = DDL_DIALECT_RESTORED;
	}
	p.dialect = dialect;
	stmt = arena_calloc(arena, 1, sizeof(DdlStatement));
	if (stmt == NULL)
	{
		ddl_fail_memory(&p);
		return NULL;
	}
	stmt->dialect = dialect;
	stmt->what = "";
	if (!ddl_advance(&p) || !statement(&p, stmt))
		return NULL;
	return stmt;
}

bool
ddl_same_name(DdlString a, DdlString b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
	{
		char x = a.data[i];
		char y = b.data[i];

		if (x >= 'A' && x <= 'Z')
			x += 'a' - 'A';
		if (y >= 'A' && y <= 'Z')
			y += 'a' - 'A';
		if (x != y)
			return false;
	}
	return true;
}
