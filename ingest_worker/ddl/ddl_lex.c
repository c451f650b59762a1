/*-------------------------------------------------------------------------
 *
 * ddl_lex.c
 *		Bytes to tokens, as MySQL and TiDB read them.
 *
 * Blanks, "-- " and "#" to the end of the line and C comments separate
 * tokens.  The content of executable comments, which is what stands in
 * slash-star followed by "!", "!40101" or "T![feature]", belongs to the
 * statement: TiDB runs it whatever the version says.  They do not nest.
 *
 * A byte of 0x80 and above is part of a name, so UTF-8 passes through.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl_internal.h"

#include <string.h>

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_hex_digit(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool
is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
		   c == '$' || (unsigned char) c >= 0x80;
}

static char
upper(char c)
{
	return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
}

bool
lex_equal_word(const char *text, size_t len, const char *word)
{
	for (size_t i = 0; i < len; i++)
		if (word[i] == '\0' || upper(text[i]) != word[i])
			return false;
	return word[len] == '\0';
}

void
lex_start(Lexer *lex, const char *text, size_t len)
{
	memset(lex, 0, sizeof(*lex));
	lex->text = text;
	lex->len = len;
}

static char
at(const Lexer *lex, size_t pos)
{
	return pos < lex->len ? lex->text[pos] : '\0';
}

static Token
lex_error(Lexer *lex, size_t start, const char *message)
{
	Token tok = {TOKEN_ERROR, start, start < lex->len ? start + 1 : start, 0, false};

	lex->error = message;
	lex->error_offset = start;
	return tok;
}

/* A version has five or six digits; fewer would be part of the statement. */
static size_t
skip_version(const Lexer *lex, size_t pos)
{
	size_t digits = 0;

	while (digits < 6 && is_digit(at(lex, pos + digits)))
		digits++;
	return pos + (digits >= 5 ? digits : 0);
}

/* Behind the opening of an executable comment at pos; 0 if none begins there. */
static size_t
executable_comment(const Lexer *lex, size_t pos)
{
	if (at(lex, pos) != '/' || at(lex, pos + 1) != '*')
		return 0;
	if (at(lex, pos + 2) == '!')
		return skip_version(lex, pos + 3);
	if (at(lex, pos + 2) == 'T' && at(lex, pos + 3) == '!')
	{
		size_t end = pos + 4;

		if (at(lex, end) != '[')
			return skip_version(lex, end);
		end++;
		while (is_name_byte(at(lex, end)) || at(lex, end) == ',' || at(lex, end) == ' ')
			end++;
		return at(lex, end) == ']' ? end + 1 : 0;
	}
	return 0;
}

/* Pass over a comment that begins at pos, if one does; SIZE_MAX when it does not end. */
static size_t
skip_comment(const Lexer *lex, size_t pos)
{
	char c = at(lex, pos);

	if (c == '#' || (c == '-' && at(lex, pos + 1) == '-' &&
					 (pos + 2 >= lex->len || is_space(lex->text[pos + 2]))))
	{
		const char *end = memchr(lex->text + pos, '\n', lex->len - pos);

		return end ? (size_t) (end - lex->text) + 1 : lex->len;
	}
	if (c == '/' && at(lex, pos + 1) == '*')
	{
		for (pos += 2; pos + 1 < lex->len; pos++)
			if (lex->text[pos] == '*' && lex->text[pos + 1] == '/')
				return pos + 2;
		return SIZE_MAX;
	}
	return pos;
}

/* To the next token.  False on an error, which is then set. */
static bool
skip_blanks(Lexer *lex)
{
	for (;;)
	{
		size_t next;

		while (lex->pos < lex->len && is_space(lex->text[lex->pos]))
			lex->pos++;
		next = executable_comment(lex, lex->pos);
		if (next != 0)
		{
			if (lex->inside_comment)
			{
				lex_error(lex, lex->pos, "executable comments do not nest");
				return false;
			}
			lex->inside_comment = true;
			lex->pos = next;
			continue;
		}
		if (at(lex, lex->pos) == '*' && at(lex, lex->pos + 1) == '/')
		{
			if (!lex->inside_comment)
			{
				lex_error(lex, lex->pos, "end of a comment that did not begin");
				return false;
			}
			lex->inside_comment = false;
			lex->pos += 2;
			continue;
		}
		next = skip_comment(lex, lex->pos);
		if (next == SIZE_MAX)
		{
			lex_error(lex, lex->pos, "comment does not end");
			return false;
		}
		if (next == lex->pos)
			return true;
		lex->pos = next;
	}
}

static Token
take(Lexer *lex, TokenType type, size_t end)
{
	Token tok = {type, lex->pos, end, 0, false};

	lex->pos = end;
	return tok;
}

/* x'..' and b'..': the letter is at lex->pos. */
static Token
quoted_bits(Lexer *lex, TokenType type)
{
	size_t start = lex->pos;
	size_t end = start + 2;

	while (type == TOKEN_HEX ? is_hex_digit(at(lex, end))
							 : at(lex, end) == '0' || at(lex, end) == '1')
		end++;
	if (at(lex, end) != '\'')
		return lex_error(lex, start, "malformed hexadecimal or bit literal");
	if (type == TOKEN_HEX && (end - start) % 2 != 0)
		return lex_error(lex, start, "odd number of digits in a hexadecimal literal");
	return take(lex, type, end + 1);
}

/*
 * A number, or a name that begins with digits.  At lex->pos is a digit, or a dot with a digit
 * behind it.
 */
static Token
number(Lexer *lex)
{
	size_t start = lex->pos;
	size_t end = start;
	bool whole = true;

	if (at(lex, start) == '0' && (upper(at(lex, start + 1)) == 'X' || at(lex, start + 1) == 'b'))
	{
		bool hex = at(lex, start + 1) != 'b';

		end = start + 2;
		while (hex ? is_hex_digit(at(lex, end)) : at(lex, end) == '0' || at(lex, end) == '1')
			end++;
		if (end > start + 2 && !is_name_byte(at(lex, end)))
			return take(lex, hex ? TOKEN_HEX : TOKEN_BIT, end);
		end = start;
	}
	while (is_digit(at(lex, end)))
		end++;
	if (at(lex, end) == '.')
	{
		whole = false;
		end++;
		while (is_digit(at(lex, end)))
			end++;
	}
	if (upper(at(lex, end)) == 'E')
	{
		size_t digits = end + 1;

		if (at(lex, digits) == '+' || at(lex, digits) == '-')
			digits++;
		if (is_digit(at(lex, digits)))
		{
			/* "1e5" is a number, also where a name such as 1e5x could follow from it */
			whole = whole && digits == end + 1;
			end = digits;
			while (is_digit(at(lex, end)))
				end++;
		}
	}
	if (is_name_byte(at(lex, end)))
	{
		if (!whole)
			return lex_error(lex, start, "malformed number");
		while (is_name_byte(at(lex, end)))
			end++;
		return take(lex, TOKEN_WORD, end);
	}
	return take(lex, TOKEN_NUMBER, end);
}

static Token
quoted_name(Lexer *lex)
{
	size_t end = lex->pos + 1;

	for (;;)
	{
		const char *quote = end < lex->len ? memchr(lex->text + end, '`', lex->len - end) : NULL;

		if (quote == NULL)
			return lex_error(lex, lex->pos, "quoted name does not end");
		end = (size_t) (quote - lex->text) + 1;
		if (at(lex, end) != '`')
			return take(lex, TOKEN_QUOTED, end);
		end++;
	}
}

static Token
scan(Lexer *lex)
{
	size_t pos = lex->pos;
	char c;
	Token tok;

	if (pos >= lex->len)
	{
		if (lex->inside_comment)
			return lex_error(lex, lex->len, "executable comment does not end");
		return take(lex, TOKEN_END, pos);
	}
	c = lex->text[pos];
	if (c == '`')
		return quoted_name(lex);
	if (c == '\'' || c == '"')
	{
		tok = take(lex, TOKEN_STRING, pos + 1);
		lex->pos = pos; /* see Lexer */
		return tok;
	}
	if (is_name_byte(c) && (lex->after_dot || !is_digit(c)))
	{
		if (at(lex, pos + 1) == '\'' && !lex->after_dot)
		{
			if (upper(c) == 'X')
				return quoted_bits(lex, TOKEN_HEX);
			if (upper(c) == 'B')
				return quoted_bits(lex, TOKEN_BIT);
		}
		while (is_name_byte(at(lex, pos)))
			pos++;
		tok = take(lex, TOKEN_WORD, pos);
		tok.after_dot = lex->after_dot;
		return tok;
	}
	if (is_digit(c) || (c == '.' && is_digit(at(lex, pos + 1)) && !lex->after_name))
		return number(lex);
	if (c != '\0' && strchr("(),.;=+-*/%<>!&|^~:{}@", c) != NULL)
	{
		tok = take(lex, TOKEN_PUNCT, pos + 1);
		tok.punct = c;
		return tok;
	}
	return lex_error(lex, pos, "unexpected character");
}

/* The next token.  The one before it must not be a string that nobody has taken. */
Token
lex_next(Lexer *lex)
{
	size_t before = lex->pos;
	Token tok;

	if (lex->error != NULL || !skip_blanks(lex))
	{
		tok.type = TOKEN_ERROR;
		tok.start = lex->error_offset;
		tok.end = tok.start < lex->len ? tok.start + 1 : tok.start;
		tok.punct = 0;
		tok.after_dot = false;
		return tok;
	}
	/* Only a dot without blanks before it turns ".1" into a name. */
	if (lex->pos != before)
		lex->after_name = false;
	tok = scan(lex);
	lex->after_dot = lex->after_name && tok.type == TOKEN_PUNCT && tok.punct == '.';
	lex->after_name = tok.type == TOKEN_WORD || tok.type == TOKEN_QUOTED;
	return tok;
}

static char
unescape(char c)
{
	switch (c)
	{
		case '0':
			return '\0';
		case 'b':
			return '\b';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		case 'Z':
			return '\032';
		default:
			return c;
	}
}

bool
lex_string(const char *text, size_t len, size_t *pos, bool backslash, char *out, size_t *outlen)
{
	char quote = text[*pos];
	size_t i = *pos + 1;
	size_t n = 0;

	while (i < len)
	{
		char c = text[i++];

		if (c == quote)
		{
			if (i >= len || text[i] != quote)
			{
				*pos = i;
				if (outlen != NULL)
					*outlen = n;
				return true;
			}
			i++;
		}
		else if (c == '\\' && backslash)
		{
			if (i >= len)
				return false;
			/* These two keep their backslash: they matter to LIKE. */
			if ((text[i] == '%' || text[i] == '_') && out != NULL)
				out[n] = '\\';
			if (text[i] == '%' || text[i] == '_')
				n++;
			c = unescape(text[i++]);
		}
		if (out != NULL)
			out[n] = c;
		n++;
	}
	return false;
}

/*
 * TiDB prints upper-case keywords and back-quoted names with single blanks between tokens and
 * without comments.  Charsets and collations may be printed in lower case.  What stands behind the
 * first backslash is not looked at, since how to read it is the question.
 */
bool
lex_looks_restored(const char *text, size_t len)
{
	Lexer lex;
	bool lower_allowed = len >= 4 && memcmp(text, "use ", 4) == 0; /* Drainer puts that in front */
	bool quoted_name_seen = false;
	size_t last_end = 0;

	lex_start(&lex, text, len);
	for (;;)
	{
		Token tok = lex_next(&lex);

		if (tok.type == TOKEN_ERROR)
			return false;
		for (size_t i = last_end; i < tok.start; i++)
			if ((is_space(text[i]) && text[i] != ' ') ||
				(i > last_end && text[i] == ' ' && text[i - 1] == ' '))
				return false;
		if (tok.type == TOKEN_END)
			return quoted_name_seen;
		last_end = tok.end;
		if (tok.type == TOKEN_STRING)
		{
			size_t pos = tok.start;

			if (text[pos] != '\'')
				return false;
			if (!lex_string(text, len, &pos, false, NULL, NULL))
				return quoted_name_seen;
			/* With a backslash in it, the string may end elsewhere. */
			if (memchr(text + tok.start, '\\', pos - tok.start) != NULL)
				return quoted_name_seen;
			last_end = lex.pos = pos;
		}
		if (tok.type == TOKEN_QUOTED)
			quoted_name_seen = true;
		if (tok.type == TOKEN_WORD)
		{
			bool lower = false;

			for (size_t i = tok.start; i < tok.end; i++)
				lower = lower || upper(text[i]) != text[i];
			if (lower && !lower_allowed)
				return false;
			lower_allowed = lex_equal_word(text + tok.start, tok.end - tok.start, "COLLATE") ||
							lex_equal_word(text + tok.start, tok.end - tok.start, "SET") ||
							lex_equal_word(text + tok.start, tok.end - tok.start, "ENGINE");
		}
		else if (tok.type != TOKEN_PUNCT || tok.punct != '=')
			lower_allowed = false;
	}
}

/* Sorted; what both servers have always reserved and what this grammar relies on. */
static const char *const reserved[] = {
	"ADD",			"ALL",
	"ALTER",		"ANALYZE",
	"AND",			"AS",
	"ASC",			"BETWEEN",
	"BIGINT",		"BINARY",
	"BLOB",			"BOTH",
	"BY",			"CASCADE",
	"CASE",			"CHANGE",
	"CHAR",			"CHARACTER",
	"CHECK",		"COLLATE",
	"COLUMN",		"CONSTRAINT",
	"CONVERT",		"CREATE",
	"CROSS",		"CURRENT_DATE",
	"CURRENT_TIME", "CURRENT_TIMESTAMP",
	"CURRENT_USER", "DATABASE",
	"DATABASES",	"DECIMAL",
	"DEFAULT",		"DELETE",
	"DESC",			"DESCRIBE",
	"DISTINCT",		"DIV",
	"DOUBLE",		"DROP",
	"ELSE",			"ENCLOSED",
	"ESCAPED",		"EXISTS",
	"EXPLAIN",		"FALSE",
	"FLOAT",		"FOR",
	"FORCE",		"FOREIGN",
	"FROM",			"FULLTEXT",
	"GENERATED",	"GRANT",
	"GROUP",		"HAVING",
	"IF",			"IGNORE",
	"IN",			"INDEX",
	"INNER",		"INSERT",
	"INT",			"INTEGER",
	"INTERVAL",		"INTO",
	"IS",			"JOIN",
	"KEY",			"KEYS",
	"KILL",			"LEFT",
	"LIKE",			"LIMIT",
	"LINES",		"LOAD",
	"LOCALTIME",	"LOCALTIMESTAMP",
	"LOCK",			"LONG",
	"LONGBLOB",		"LONGTEXT",
	"MAXVALUE",		"MEDIUMBLOB",
	"MEDIUMINT",	"MEDIUMTEXT",
	"MOD",			"NATURAL",
	"NOT",			"NULL",
	"NUMERIC",		"ON",
	"OPTIMIZE",		"OPTION",
	"OR",			"ORDER",
	"OUTER",		"PARTITION",
	"PRECISION",	"PRIMARY",
	"PROCEDURE",	"RANGE",
	"READ",			"REAL",
	"REFERENCES",	"REGEXP",
	"RENAME",		"REPEAT",
	"REPLACE",		"REQUIRE",
	"RESTRICT",		"REVOKE",
	"RIGHT",		"RLIKE",
	"SELECT",		"SET",
	"SHOW",			"SMALLINT",
	"SPATIAL",		"STARTING",
	"STORED",		"TABLE",
	"TERMINATED",	"THEN",
	"TINYBLOB",		"TINYINT",
	"TINYTEXT",		"TO",
	"TRAILING",		"TRIGGER",
	"TRUE",			"UNION",
	"UNIQUE",		"UNLOCK",
	"UNSIGNED",		"UPDATE",
	"USAGE",		"USE",
	"USING",		"UTC_DATE",
	"UTC_TIME",		"UTC_TIMESTAMP",
	"VALUES",		"VARBINARY",
	"VARCHAR",		"VARCHARACTER",
	"VARYING",		"VIRTUAL",
	"WHEN",			"WHERE",
	"WITH",			"WRITE",
	"XOR",			"ZEROFILL",
};

bool
lex_is_reserved(const char *text, size_t len)
{
	size_t low = 0;
	size_t high = sizeof(reserved) / sizeof(reserved[0]);

	while (low < high)
	{
		size_t middle = (low + high) / 2;
		const char *word = reserved[middle];
		int compared = 0;

		for (size_t i = 0; compared == 0 && (i < len || word[i] != '\0'); i++)
		{
			if (i == len)
				compared = -1;
			else
				compared = (int) (unsigned char) upper(text[i]) - (int) (unsigned char) word[i];
			if (word[i] == '\0')
				break;
		}
		if (compared == 0)
			return true;
		if (compared < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}
