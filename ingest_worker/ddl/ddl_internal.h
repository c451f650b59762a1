/*-------------------------------------------------------------------------
 *
 * ddl_internal.h
 *		What the parts of the DDL parser share: the lexer, the parser's state
 *		and its helpers.
 *
 * ddl_lex.c			bytes to tokens; strings and quoted names
 * ddl_parse.c			entry, errors, names, helpers, dispatch on the first word
 * ddl_column.c			data types, defaults, attributes of columns
 * ddl_table.c			CREATE TABLE, keys, table options
 * ddl_partition.c		PARTITION BY and partition definitions
 * ddl_alter.c			ALTER TABLE
 * ddl_other.c			everything else
 * ddl_describe.c		one line for logs
 *
 * Parsing functions return false after the first error, which ddl_fail()
 * has then recorded; callers hand it on at once.  None of them recurses:
 * nested parentheses are counted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DDL_INTERNAL_H
#define DDL_INTERNAL_H

#include "ddl/ddl.h"

typedef enum TokenType
{
	TOKEN_END,
	TOKEN_WORD,	  /* unquoted: a keyword or a name */
	TOKEN_QUOTED, /* back-quoted name */
	TOKEN_STRING, /* '..' or ".."; where it ends depends on who reads it, see Lexer */
	TOKEN_NUMBER, /* without sign */
	TOKEN_HEX,	  /* 0x.., x'..' */
	TOKEN_BIT,	  /* 0b.., b'..' */
	TOKEN_PUNCT,  /* one character */
	TOKEN_ERROR	  /* Lexer.error says why */
} TokenType;

typedef struct Token
{
	TokenType type;
	size_t start;
	size_t end;		/* first byte after it; of a string: after the opening quote */
	char punct;		/* of TOKEN_PUNCT */
	bool after_dot; /* a word right after "name.": a name, whatever it spells */
} Token;

/*
 * The lexer stops at the opening quote of a string, because what a backslash means, and so where
 * the string ends, depends on where the string stands (see DdlDialect).  Whoever takes the string
 * says how; a string that is only passed over has backslash escapes.
 *
 * The content of executable comments is part of the statement: inside_comment is set between the
 * opening of one and its end.
 */
typedef struct Lexer
{
	const char *text;
	size_t len;
	size_t pos;
	bool inside_comment;
	bool after_name; /* the last token was a name or word: a dot right after it qualifies */
	bool after_dot;
	const char *error;
	size_t error_offset;
} Lexer;

typedef enum StringMode
{
	STRING_ESCAPED, /* backslash escapes */
	STRING_RAW		/* in restored text backslash stands for itself; else as above */
} StringMode;

extern void lex_start(Lexer *lex, const char *text, size_t len);
extern Token lex_next(Lexer *lex);

/*
 * Find the end of the string whose opening quote is at *pos, and move *pos behind its closing
 * quote.  out NULL: only that; else decode to out, which has room for as many bytes as the string
 * takes in the text, and set *outlen.  False when it does not end.
 */
extern bool lex_string(const char *text, size_t len, size_t *pos, bool backslash, char *out,
					   size_t *outlen);

/* Does the text look printed by TiDB from its own tree? */
extern bool lex_looks_restored(const char *text, size_t len);

/* Compare ignoring ASCII case; word is upper case. */
extern bool lex_equal_word(const char *text, size_t len, const char *word);

/* A word that TiDB and MySQL never take as an unquoted name. */
extern bool lex_is_reserved(const char *text, size_t len);

typedef struct Parser
{
	Lexer lex;
	Token tok; /* the current token */
	size_t prev_end;
	DdlDialect dialect;
	Arena *arena;
	DdlError *error;
	int columns; /* counted over the whole statement */
	int keys;
	int partitions;
} Parser;

/* Record an error at the current token, unless there is one already; always false. */
extern bool ddl_fail(Parser *p, const char *message);
extern bool ddl_fail_at(Parser *p, size_t start, size_t end, DdlErrorCode code,
						const char *message);
extern bool ddl_fail_expected(Parser *p, const char *what);
extern bool ddl_fail_memory(Parser *p);

extern bool ddl_advance(Parser *p);
extern Token ddl_peek(const Parser *p); /* the token after the current one, which is no string */
extern bool ddl_token_is(const Parser *p, const Token *tok, const char *word);

/* Is the current token that word (upper case), that character?  accept: if so, take it. */
extern bool ddl_is(const Parser *p, const char *word);
extern bool ddl_is_punct(const Parser *p, char c);
extern bool ddl_peek_is(const Parser *p, const char *word);
extern bool ddl_peek_is_punct(const Parser *p, char c);

/*
 * Taking a token reads the next one, which can fail: accept returns true then, too, and the
 * failure shows at the next thing that is expected, because an error token matches nothing.
 */
extern bool ddl_accept(Parser *p, const char *word);
extern bool ddl_accept2(Parser *p, const char *first, const char *second); /* both or none */
extern bool ddl_accept_punct(Parser *p, char c);
extern bool ddl_expect(Parser *p, const char *word);
extern bool ddl_expect_punct(Parser *p, char c);
extern bool ddl_accept_any(Parser *p, const char *const *words); /* ended by NULL */

extern bool ddl_copy(Parser *p, size_t start, size_t end, DdlString *out);
extern bool ddl_copy_lower(Parser *p, DdlString *string);
extern void *ddl_push(Parser *p, void *arrayp, int *n, size_t size, int max, const char *what);

extern bool ddl_identifier(Parser *p, DdlString *out, const char *what);
extern bool ddl_name(Parser *p, DdlName *out, const char *what);
extern bool ddl_name_list(Parser *p, DdlName **names, int *n, const char *what);
extern bool ddl_identifier_list(Parser *p, DdlString **names, int *n, const char *what);
extern bool ddl_string(Parser *p, DdlString *out, StringMode mode);
extern bool ddl_integer(Parser *p, int64_t *out, int64_t max, const char *what);
extern bool ddl_location_labels(Parser *p);
extern bool ddl_charset_name(Parser *p, DdlString *out);
extern bool ddl_skip_parens(Parser *p, DdlString *inner);
extern bool ddl_skip_rest(Parser *p);
extern bool ddl_if_exists(Parser *p, bool *flag);
extern bool ddl_if_not_exists(Parser *p, bool *flag);
extern bool ddl_at_end(const Parser *p);

/* ddl_column.c */
extern bool ddl_column(Parser *p, DdlColumn *column, DdlKey **keys, int *nkeys);
extern bool ddl_default(Parser *p, DdlDefault *out);
extern bool ddl_is_type_word(const Parser *p, const Token *tok);

/* ddl_table.c */
typedef enum OptionContext
{
	OPTION_OF_TABLE,
	OPTION_OF_PARTITION,
	OPTION_OF_DATABASE
} OptionContext;

extern bool ddl_create_table(Parser *p, DdlStatement *stmt);
extern bool ddl_at_key(const Parser *p);
extern DdlKey *ddl_push_key(Parser *p, DdlKey **keys, int *nkeys, DdlKeyKind kind);
extern bool ddl_key(Parser *p, DdlKey **keys, int *nkeys);
extern bool ddl_index_rest(Parser *p, DdlKey *key);
extern bool ddl_check(Parser *p, DdlKey **keys, int *nkeys, DdlString name, bool from_column);
extern bool ddl_references(Parser *p);
extern bool ddl_option(Parser *p, OptionContext context, DdlOptions *options, bool *found);
extern bool ddl_body_element(Parser *p, DdlColumn **columns, int *ncolumns, DdlKey **keys,
							 int *nkeys);

/* ddl_partition.c */
extern bool ddl_partition_by(Parser *p, DdlPartitioning **out);
extern bool ddl_partition_definitions(Parser *p, DdlPartitioning *partitioning);
extern bool ddl_less_than(Parser *p, DdlString **values, int *nvalues);

/* ddl_alter.c */
extern bool ddl_alter_table(Parser *p, DdlStatement *stmt);
extern bool ddl_algorithm_or_lock(Parser *p, bool *found);

/* ddl_other.c */
extern bool ddl_create(Parser *p, DdlStatement *stmt);
extern bool ddl_drop(Parser *p, DdlStatement *stmt);
extern bool ddl_alter(Parser *p, DdlStatement *stmt);
extern bool ddl_remaining(Parser *p, DdlStatement *stmt);

#endif /* DDL_INTERNAL_H */
