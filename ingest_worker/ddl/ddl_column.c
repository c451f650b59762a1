/*-------------------------------------------------------------------------
 *
 * ddl_column.c
 *		Columns: data types, defaults, attributes.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl_internal.h"

#include <string.h>

/* ----------------------------------------------------------------
 *		Data types
 * ----------------------------------------------------------------
 */

/* What may follow the type's name in parentheses. */
typedef enum Arguments
{
	ARGS_NONE,
	ARGS_LENGTH,   /* [(n)] */
	ARGS_REQUIRED, /* (n) */
	ARGS_DECIMAL,  /* [(n[,m])] */
	ARGS_DOUBLE,   /* [(n,m)] */
	ARGS_FLOAT,	   /* [(p) | (n,m)] */
	ARGS_FSP,	   /* [(fsp)] */
	ARGS_MEMBERS   /* ('a','b',...) */
} Arguments;

typedef struct TypeWord
{
	const char *word;
	DdlType type;
	Arguments arguments;
} TypeWord;

static const TypeWord type_words[] = {
	{"TINYINT", DDL_TYPE_TINYINT, ARGS_LENGTH},
	{"INT1", DDL_TYPE_TINYINT, ARGS_LENGTH},
	{"BOOL", DDL_TYPE_TINYINT, ARGS_NONE},
	{"BOOLEAN", DDL_TYPE_TINYINT, ARGS_NONE},
	{"SMALLINT", DDL_TYPE_SMALLINT, ARGS_LENGTH},
	{"INT2", DDL_TYPE_SMALLINT, ARGS_LENGTH},
	{"MEDIUMINT", DDL_TYPE_MEDIUMINT, ARGS_LENGTH},
	{"INT3", DDL_TYPE_MEDIUMINT, ARGS_LENGTH},
	{"MIDDLEINT", DDL_TYPE_MEDIUMINT, ARGS_LENGTH},
	{"INT", DDL_TYPE_INT, ARGS_LENGTH},
	{"INT4", DDL_TYPE_INT, ARGS_LENGTH},
	{"INTEGER", DDL_TYPE_INT, ARGS_LENGTH},
	{"BIGINT", DDL_TYPE_BIGINT, ARGS_LENGTH},
	{"INT8", DDL_TYPE_BIGINT, ARGS_LENGTH},
	{"SERIAL", DDL_TYPE_BIGINT, ARGS_NONE},
	{"DECIMAL", DDL_TYPE_DECIMAL, ARGS_DECIMAL},
	{"DEC", DDL_TYPE_DECIMAL, ARGS_DECIMAL},
	{"NUMERIC", DDL_TYPE_DECIMAL, ARGS_DECIMAL},
	{"FIXED", DDL_TYPE_DECIMAL, ARGS_DECIMAL},
	{"FLOAT", DDL_TYPE_FLOAT, ARGS_FLOAT},
	{"FLOAT4", DDL_TYPE_FLOAT, ARGS_DOUBLE},
	{"FLOAT8", DDL_TYPE_DOUBLE, ARGS_DOUBLE},
	{"DOUBLE", DDL_TYPE_DOUBLE, ARGS_DOUBLE},
	{"REAL", DDL_TYPE_DOUBLE, ARGS_DOUBLE},
	{"BIT", DDL_TYPE_BIT, ARGS_LENGTH},
	{"DATE", DDL_TYPE_DATE, ARGS_NONE},
	{"TIME", DDL_TYPE_TIME, ARGS_FSP},
	{"DATETIME", DDL_TYPE_DATETIME, ARGS_FSP},
	{"TIMESTAMP", DDL_TYPE_TIMESTAMP, ARGS_FSP},
	{"YEAR", DDL_TYPE_YEAR, ARGS_LENGTH},
	{"CHAR", DDL_TYPE_CHAR, ARGS_LENGTH},
	{"CHARACTER", DDL_TYPE_CHAR, ARGS_LENGTH},
	{"NCHAR", DDL_TYPE_CHAR, ARGS_LENGTH},
	{"NATIONAL", DDL_TYPE_CHAR, ARGS_LENGTH},
	{"VARCHAR", DDL_TYPE_VARCHAR, ARGS_REQUIRED},
	{"VARCHARACTER", DDL_TYPE_VARCHAR, ARGS_REQUIRED},
	{"NVARCHAR", DDL_TYPE_VARCHAR, ARGS_REQUIRED},
	{"TINYTEXT", DDL_TYPE_TINYTEXT, ARGS_LENGTH},
	{"TEXT", DDL_TYPE_TEXT, ARGS_LENGTH},
	{"MEDIUMTEXT", DDL_TYPE_MEDIUMTEXT, ARGS_LENGTH},
	{"LONG", DDL_TYPE_MEDIUMTEXT, ARGS_NONE},
	{"LONGTEXT", DDL_TYPE_LONGTEXT, ARGS_LENGTH},
	{"BINARY", DDL_TYPE_BINARY, ARGS_LENGTH},
	{"VARBINARY", DDL_TYPE_VARBINARY, ARGS_REQUIRED},
	{"TINYBLOB", DDL_TYPE_TINYBLOB, ARGS_LENGTH},
	{"BLOB", DDL_TYPE_BLOB, ARGS_LENGTH},
	{"MEDIUMBLOB", DDL_TYPE_MEDIUMBLOB, ARGS_LENGTH},
	{"LONGBLOB", DDL_TYPE_LONGBLOB, ARGS_LENGTH},
	{"ENUM", DDL_TYPE_ENUM, ARGS_MEMBERS},
	{"SET", DDL_TYPE_SET, ARGS_MEMBERS},
	{"JSON", DDL_TYPE_JSON, ARGS_NONE},
	{"VECTOR", DDL_TYPE_VECTOR, ARGS_LENGTH},
};

static const TypeWord *
find_type(const Parser *p, const Token *tok)
{
	if (tok->type != TOKEN_WORD || tok->after_dot)
		return NULL;
	for (size_t i = 0; i < sizeof(type_words) / sizeof(type_words[0]); i++)
		if (ddl_token_is(p, tok, type_words[i].word))
			return &type_words[i];
	return NULL;
}

bool
ddl_is_type_word(const Parser *p, const Token *tok)
{
	return find_type(p, tok) != NULL;
}

static bool
argument(Parser *p, int *out, const char *what)
{
	int64_t value;

	/* LONGTEXT(4294967295) is legal; what does not fit says nothing that matters. */
	if (!ddl_integer(p, &value, UINT32_MAX, what))
		return false;
	*out = value > INT32_MAX ? INT32_MAX : (int) value;
	return true;
}

static bool
members(Parser *p, DdlColumn *column)
{
	if (!ddl_expect_punct(p, '('))
		return false;
	do
	{
		DdlString *member =
			ddl_push(p, &column->members, &column->nmembers, sizeof(DdlString),
					 column->type == DDL_TYPE_SET ? 64 : DDL_MAX_MEMBERS, "members of a type");

		if (member == NULL || !ddl_string(p, member, STRING_RAW))
			return false;
	} while (ddl_accept_punct(p, ','));
	return ddl_expect_punct(p, ')');
}

static bool
arguments(Parser *p, DdlColumn *column, Arguments kind)
{
	if (kind == ARGS_MEMBERS)
		return members(p, column);
	if (kind == ARGS_NONE || !ddl_is_punct(p, '('))
		return kind == ARGS_REQUIRED ? ddl_fail_expected(p, "length of the type") : true;
	if (!ddl_advance(p))
		return false;
	if (kind == ARGS_FSP)
	{
		if (!argument(p, &column->decimals, "number of digits"))
			return false;
	}
	else if (!argument(p, &column->length, "length of the type"))
		return false;
	if (kind == ARGS_DECIMAL || kind == ARGS_DOUBLE || kind == ARGS_FLOAT)
	{
		if (ddl_accept_punct(p, ','))
		{
			if (!argument(p, &column->decimals, "number of digits"))
				return false;
		}
		else if (kind == ARGS_DOUBLE)
			return ddl_fail_expected(p, "\",\"");
		else if (kind == ARGS_FLOAT)
		{
			/* FLOAT(p): p only chooses between single and double precision. */
			if (column->length > 24)
				column->type = DDL_TYPE_DOUBLE;
			column->length = -1;
		}
	}
	return ddl_expect_punct(p, ')');
}

/* Words that continue the name of a type; they may change what it is. */
static bool
second_words(Parser *p, const TypeWord *type, DdlColumn *column, Arguments *kind)
{
	bool national = strcmp(type->word, "NATIONAL") == 0;
	bool character = strcmp(type->word, "CHAR") == 0 || strcmp(type->word, "CHARACTER") == 0 ||
					 strcmp(type->word, "NCHAR") == 0;

	if (strcmp(type->word, "DOUBLE") == 0)
		ddl_accept(p, "PRECISION");
	else if (national || strcmp(type->word, "LONG") == 0)
	{
		DdlType varying = national ? DDL_TYPE_VARCHAR : DDL_TYPE_MEDIUMTEXT;

		if (ddl_accept(p, "CHAR") || ddl_accept(p, "CHARACTER"))
		{
			if (ddl_accept(p, "VARYING"))
				column->type = varying;
			else if (!national)
				return ddl_fail_expected(p, "VARYING");
		}
		else if (ddl_accept(p, "VARCHAR") || ddl_accept(p, "VARCHARACTER"))
			column->type = varying;
		else if (!national && ddl_accept(p, "VARBINARY"))
			column->type = DDL_TYPE_MEDIUMBLOB;
		else if (national)
			return ddl_fail_expected(p, "CHAR or VARCHAR");
	}
	else if (character && (ddl_accept(p, "VARYING") ||
						   (type->word[0] == 'N' &&
							(ddl_accept(p, "VARCHAR") || ddl_accept(p, "VARCHARACTER")))))
		column->type = DDL_TYPE_VARCHAR;
	else if (column->type == DDL_TYPE_VECTOR && ddl_accept_punct(p, '<'))
		return ddl_expect(p, "FLOAT") && ddl_expect_punct(p, '>');
	if (column->type == DDL_TYPE_VARCHAR)
		*kind = ARGS_REQUIRED;
	return true;
}

static bool
data_type(Parser *p, DdlColumn *column, bool *serial)
{
	const TypeWord *type = find_type(p, &p->tok);
	Arguments kind;

	column->length = -1;
	column->decimals = -1;
	if (type == NULL)
		return ddl_fail_expected(p, "known data type");
	column->type = type->type;
	kind = type->arguments;
	if (!ddl_advance(p) || !second_words(p, type, column, &kind) || !arguments(p, column, kind))
		return false;
	if (type->word[0] == 'B' && type->word[1] == 'O')
		column->length = 1; /* BOOL, BOOLEAN */
	if (column->type == DDL_TYPE_BIT && column->length < 0)
		column->length = 1;
	if (strcmp(type->word, "SERIAL") == 0)
		*serial = true;
	return true;
}

static bool
is_text(DdlType type)
{
	return type >= DDL_TYPE_CHAR && type <= DDL_TYPE_LONGTEXT;
}

static bool
equals(DdlString string, const char *text)
{
	return string.data != NULL && string.len == strlen(text) &&
		   memcmp(string.data, text, string.len) == 0;
}

void
ddl_column_inherit_charset(DdlColumn *column, DdlString charset, DdlString collation)
{
	if (column->charset.data != NULL || column->collation.data != NULL)
	{
		charset = column->charset;
		collation = column->collation;
	}
	if ((equals(charset, "binary") || equals(collation, "binary")) && is_text(column->type))
		column->type = (DdlType) (column->type - DDL_TYPE_CHAR + DDL_TYPE_BINARY);
}

/* ----------------------------------------------------------------
 *		Defaults
 * ----------------------------------------------------------------
 */

/*
 * The number at the current token, as text that does not depend on who wrote it: "-" or nothing, no
 * superfluous leading zeros, a digit before the point, an exponent with "e", without "+" and zeros.
 */
static bool
number_text(Parser *p, bool negative, DdlString *out)
{
	const char *text = p->lex.text + p->tok.start;
	size_t len = p->tok.end - p->tok.start;
	char *copy = arena_alloc(p->arena, len + 3);
	size_t n = 0;
	size_t i = 0;

	if (copy == NULL)
		return ddl_fail_memory(p);
	if (negative)
		copy[n++] = '-';
	while (i + 1 < len && text[i] == '0' && text[i + 1] >= '0' && text[i + 1] <= '9')
		i++;
	if (text[i] == '.')
		copy[n++] = '0';
	while (i < len && text[i] != 'e' && text[i] != 'E')
		copy[n++] = text[i++];
	if (n > 0 && copy[n - 1] == '.')
		n--;
	if (i < len)
	{
		copy[n++] = 'e';
		i++;
		if (text[i] == '-')
			copy[n++] = '-';
		if (text[i] == '-' || text[i] == '+')
			i++;
		while (i + 1 < len && text[i] == '0')
			i++;
		while (i < len)
			copy[n++] = text[i++];
	}
	copy[n] = '\0';
	out->data = copy;
	out->len = n;
	return true;
}

static int
hex_value(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* The bytes of a hexadecimal or bit literal, padded on the left to whole bytes. */
static bool
bits_value(Parser *p, DdlString *out)
{
	int bits = p->tok.type == TOKEN_HEX ? 4 : 1;
	size_t start = p->tok.start + 2;
	size_t end = p->lex.text[p->tok.start + 1] == '\'' ? p->tok.end - 1 : p->tok.end;
	size_t len = ((end - start) * bits + 7) / 8;
	char *bytes = arena_calloc(p->arena, len + 1, 1);

	if (bytes == NULL)
		return ddl_fail_memory(p);
	for (size_t i = 0; i < end - start; i++)
	{
		size_t low = (end - start - 1 - i) * bits; /* this digit's lowest bit */
		int value = hex_value(p->lex.text[start + i]);

		bytes[len - 1 - low / 8] |= (char) (value << (low % 8));
	}
	out->data = bytes;
	out->len = len;
	return ddl_advance(p);
}

/* NOW() and its synonyms, if they stand here. */
static bool
current_timestamp(Parser *p, int *fsp, bool *found)
{
	bool parens = ddl_peek_is_punct(p, '(');
	int64_t digits = 0;

	*found = ddl_is(p, "CURRENT_TIMESTAMP") || ddl_is(p, "LOCALTIME") ||
			 ddl_is(p, "LOCALTIMESTAMP") || (ddl_is(p, "NOW") && parens);
	if (!*found)
		return true;
	if (!ddl_advance(p))
		return false;
	if (parens)
	{
		if (!ddl_expect_punct(p, '('))
			return false;
		if (!ddl_is_punct(p, ')') && !ddl_integer(p, &digits, 6, "number of digits"))
			return false;
		if (!ddl_expect_punct(p, ')'))
			return false;
	}
	*fsp = (int) digits;
	return true;
}

/* _charset or N before a string or bits; DATE, TIME, TIMESTAMP before a string. */
static bool
is_introducer(const Parser *p)
{
	Token next;

	if (p->tok.type != TOKEN_WORD || p->tok.after_dot)
		return false;
	next = ddl_peek(p);
	if (next.type == TOKEN_STRING &&
		(ddl_is(p, "DATE") || ddl_is(p, "TIME") || ddl_is(p, "TIMESTAMP") || ddl_is(p, "N")))
		return true;
	return p->lex.text[p->tok.start] == '_' &&
		   (next.type == TOKEN_STRING || next.type == TOKEN_HEX || next.type == TOKEN_BIT);
}

/* A constant; found says if there is one.  Nothing is taken if there is none. */
static bool
constant(Parser *p, DdlDefault *out, bool *found)
{
	bool negative = ddl_is_punct(p, '-');

	*found = true;
	if (negative || ddl_is_punct(p, '+'))
	{
		if (ddl_peek(p).type == TOKEN_NUMBER && !ddl_advance(p))
			return false;
	}
	else if (is_introducer(p) && !ddl_advance(p))
		return false;

	if (p->tok.type == TOKEN_NUMBER)
	{
		out->kind = DDL_DEFAULT_NUMBER;
		return number_text(p, negative, &out->value) && ddl_advance(p);
	}
	if (p->tok.type == TOKEN_STRING)
	{
		out->kind = DDL_DEFAULT_STRING;
		return ddl_string(p, &out->value, STRING_ESCAPED);
	}
	if (p->tok.type == TOKEN_HEX || p->tok.type == TOKEN_BIT)
	{
		out->kind = DDL_DEFAULT_BYTES;
		return bits_value(p, &out->value);
	}
	if (ddl_is(p, "TRUE") || ddl_is(p, "FALSE"))
	{
		out->kind = DDL_DEFAULT_NUMBER;
		out->value.data = ddl_is(p, "TRUE") ? "1" : "0";
		out->value.len = 1;
		return ddl_advance(p);
	}
	if (ddl_accept(p, "NULL"))
	{
		out->kind = DDL_DEFAULT_NULL;
		return true;
	}
	if (!current_timestamp(p, &out->fsp, found))
		return false;
	if (*found)
		out->kind = DDL_DEFAULT_CURRENT_TIMESTAMP;
	return true;
}

/* (expr): a constant in parentheses is that constant, anything else is text. */
static bool
parenthesised_default(Parser *p, DdlDefault *out)
{
	Parser before = *p;
	DdlError no_error = *p->error;
	bool found;

	if (ddl_advance(p) && constant(p, out, &found) && found && ddl_is_punct(p, ')'))
		return ddl_advance(p);
	*p = before;
	*p->error = no_error;
	memset(out, 0, sizeof(*out));
	out->kind = DDL_DEFAULT_EXPRESSION;
	return ddl_skip_parens(p, &out->value);
}

/* NEXT VALUE FOR name, a function call with its arguments, or one of the functions without. */
static bool
function_default(Parser *p, DdlDefault *out)
{
	static const char *const bare[] = {"CURRENT_DATE",
									   "CURRENT_TIME",
									   "CURRENT_USER",
									   "UTC_DATE",
									   "UTC_TIME",
									   "UTC_TIMESTAMP",
									   NULL};
	size_t start = p->tok.start;
	DdlName sequence;

	out->kind = DDL_DEFAULT_EXPRESSION;
	if (ddl_is(p, "NEXT") && ddl_peek_is(p, "VALUE"))
	{
		if (!ddl_advance(p) || !ddl_advance(p) || !ddl_expect(p, "FOR") ||
			!ddl_name(p, &sequence, "name of a sequence"))
			return false;
	}
	else if (p->tok.type == TOKEN_WORD && ddl_peek_is_punct(p, '('))
	{
		if (!ddl_advance(p) || !ddl_skip_parens(p, NULL))
			return false;
	}
	else if (!ddl_accept_any(p, bare))
		return ddl_fail_expected(p, "default value");
	return ddl_copy(p, start, p->prev_end, &out->value);
}

/* What stands behind the word DEFAULT. */
bool
ddl_default(Parser *p, DdlDefault *out)
{
	bool found;

	memset(out, 0, sizeof(*out));
	if (ddl_is_punct(p, '('))
		return parenthesised_default(p, out);
	if (!constant(p, out, &found))
		return false;
	return found || function_default(p, out);
}

/* ----------------------------------------------------------------
 *		Attributes
 * ----------------------------------------------------------------
 */

static bool
column_key(Parser *p, DdlColumn *column, DdlKeyKind kind, DdlKey **keys, int *nkeys)
{
	DdlKey *key;
	DdlKeyPart *part;

	/* PRIMARY KEY UNIQUE KEY: two keys; the same one twice is one. */
	if (kind == DDL_KEY_PRIMARY ? column->primary : column->unique)
		return true;
	key = ddl_push_key(p, keys, nkeys, kind);
	if (key == NULL)
		return false;
	key->from_column = true;
	key->offset = column->offset;
	part =
		ddl_push(p, &key->parts, &key->nparts, sizeof(DdlKeyPart), DDL_MAX_KEY_PARTS, "key parts");
	if (part == NULL)
		return false;
	part->column = column->name;
	part->prefix_length = -1;
	if (kind == DDL_KEY_PRIMARY)
		column->primary = true;
	else
		column->unique = true;
	if (ddl_accept(p, "CLUSTERED"))
		key->clustered = DDL_CLUSTERED;
	else if (ddl_accept(p, "NONCLUSTERED"))
		key->clustered = DDL_NONCLUSTERED;
	if (!ddl_accept(p, "GLOBAL"))
		ddl_accept(p, "LOCAL");
	return true;
}

static bool
generated(Parser *p, DdlColumn *column)
{
	if (!ddl_skip_parens(p, &column->expression))
		return false;
	column->generated = DDL_GENERATED_VIRTUAL;
	if (ddl_accept(p, "STORED") || ddl_accept(p, "PERSISTENT"))
		column->generated = DDL_GENERATED_STORED;
	else
		ddl_accept(p, "VIRTUAL");
	return true;
}

/* AUTO_RANDOM[(bits[, range])] */
static bool
auto_random(Parser *p, DdlColumn *column)
{
	int64_t bits;

	column->auto_random = true;
	if (!ddl_accept_punct(p, '('))
		return true;
	if (!ddl_integer(p, &bits, 64, "number of bits"))
		return false;
	if (ddl_accept_punct(p, ',') && !ddl_integer(p, &bits, 64, "number of bits"))
		return false;
	return ddl_expect_punct(p, ')');
}

/* Attributes that belong to a text type.  found says if there was one. */
static bool
text_attribute(Parser *p, DdlColumn *column, bool *found)
{
	const char *charset = NULL;

	*found = true;
	if (ddl_accept(p, "BINARY"))
	{
		column->binary_collation = true;
		return true;
	}
	if (ddl_accept(p, "ASCII"))
		charset = "latin1";
	else if (ddl_accept(p, "UNICODE"))
		charset = "ucs2";
	else if (ddl_accept(p, "BYTE"))
		charset = "binary";
	if (charset != NULL)
	{
		column->charset.data = charset;
		column->charset.len = strlen(charset);
		return true;
	}
	if (ddl_accept2(p, "CHARACTER", "SET") || ddl_accept2(p, "CHAR", "SET") ||
		ddl_accept(p, "CHARSET"))
		return ddl_charset_name(p, &column->charset);
	if (ddl_accept(p, "COLLATE"))
		return ddl_charset_name(p, &column->collation);
	*found = false;
	return true;
}

/* Attributes that are recognised and change nothing. */
static bool
idle_attribute(Parser *p, bool *found)
{
	DdlString string;

	*found = true;
	if (ddl_accept(p, "COLUMN_FORMAT"))
		return ddl_accept(p, "FIXED") || ddl_accept(p, "DYNAMIC") || ddl_expect(p, "DEFAULT");
	if (ddl_accept(p, "STORAGE"))
		return ddl_accept(p, "DISK") || ddl_accept(p, "MEMORY") || ddl_expect(p, "DEFAULT");
	if (ddl_accept(p, "ENGINE_ATTRIBUTE") || ddl_accept(p, "SECONDARY_ENGINE_ATTRIBUTE"))
	{
		ddl_accept_punct(p, '=');
		return ddl_string(p, &string, STRING_RAW);
	}
	if (ddl_accept(p, "VISIBLE"))
		return true;
	*found = false;
	return true;
}

static bool
numeric_attribute(Parser *p, DdlColumn *column)
{
	if (ddl_accept(p, "UNSIGNED"))
		column->is_unsigned = true;
	else if (ddl_accept(p, "ZEROFILL"))
		column->is_unsigned = column->zerofill = true;
	else
		return ddl_accept(p, "SIGNED");
	return true;
}

/* DEFAULT, ON UPDATE, COMMENT, NULL and the like. */
static bool
value_attribute(Parser *p, DdlColumn *column, bool *found)
{
	int fsp;

	*found = true;
	if (ddl_accept(p, "NULL"))
	{
		column->null_written = true;
		return true;
	}
	if (ddl_accept(p, "NOT"))
	{
		column->not_null = true;
		return ddl_expect(p, "NULL");
	}
	if (ddl_accept(p, "DEFAULT"))
		return ddl_default(p, &column->default_value);
	if (ddl_accept(p, "COMMENT"))
		return ddl_string(p, &column->comment, STRING_ESCAPED);
	if (ddl_accept2(p, "ON", "UPDATE"))
	{
		column->on_update_now = true;
		if (!current_timestamp(p, &fsp, found))
			return false;
		return *found || ddl_fail_expected(p, "CURRENT_TIMESTAMP");
	}
	if (ddl_accept(p, "AUTO_INCREMENT"))
	{
		column->auto_increment = true;
		return true;
	}
	if (ddl_accept(p, "AUTO_RANDOM"))
		return auto_random(p, column);
	if (ddl_accept(p, "GENERATED"))
		return ddl_expect(p, "ALWAYS") && ddl_expect(p, "AS") && generated(p, column);
	if (ddl_accept(p, "AS"))
		return generated(p, column);
	*found = false;
	return true;
}

/* PRIMARY KEY, UNIQUE, CHECK, REFERENCES. */
static bool
constraint_attribute(Parser *p, DdlColumn *column, DdlKey **keys, int *nkeys, bool *found)
{
	DdlString name = {NULL, 0};

	*found = true;
	if (ddl_accept(p, "PRIMARY"))
		return ddl_expect(p, "KEY") && column_key(p, column, DDL_KEY_PRIMARY, keys, nkeys);
	if (ddl_accept(p, "KEY"))
		return column_key(p, column, DDL_KEY_PRIMARY, keys, nkeys);
	if (ddl_accept(p, "UNIQUE"))
	{
		ddl_accept(p, "KEY");
		return column_key(p, column, DDL_KEY_UNIQUE, keys, nkeys);
	}
	if (ddl_is(p, "REFERENCES"))
	{
		DdlKey *key = ddl_push_key(p, keys, nkeys, DDL_KEY_FOREIGN);
		DdlKeyPart *part;

		if (key == NULL)
			return false;
		key->from_column = true;
		part = ddl_push(p, &key->parts, &key->nparts, sizeof(DdlKeyPart), DDL_MAX_KEY_PARTS,
						"key parts");
		if (part == NULL)
			return false;
		part->column = column->name;
		part->prefix_length = -1;
		return ddl_references(p);
	}
	if (ddl_accept(p, "CONSTRAINT"))
	{
		if (!ddl_is(p, "CHECK") && !ddl_identifier(p, &name, "name of a constraint"))
			return false;
		if (!ddl_is(p, "CHECK"))
			return ddl_fail_expected(p, "CHECK");
	}
	if (ddl_is(p, "CHECK"))
		return ddl_check(p, keys, nkeys, name, true);
	*found = false;
	return true;
}

static bool
attribute(Parser *p, DdlColumn *column, DdlKey **keys, int *nkeys, bool *found)
{
	*found = numeric_attribute(p, column);
	if (!*found && !value_attribute(p, column, found))
		return false;
	if (!*found && !text_attribute(p, column, found))
		return false;
	if (!*found && !constraint_attribute(p, column, keys, nkeys, found))
		return false;
	return *found || idle_attribute(p, found);
}

/* SERIAL, or SERIAL DEFAULT VALUE as an attribute. */
static bool
make_serial(Parser *p, DdlColumn *column, DdlKey **keys, int *nkeys)
{
	column->not_null = true;
	column->auto_increment = true;
	return column_key(p, column, DDL_KEY_UNIQUE, keys, nkeys);
}

/* The server removes trailing blanks from members, except those of charset binary. */
static void
trim_members(DdlColumn *column)
{
	if (equals(column->charset, "binary") || equals(column->collation, "binary"))
		return;
	for (int i = 0; i < column->nmembers; i++)
	{
		DdlString *member = &column->members[i];

		while (member->len > 0 && member->data[member->len - 1] == ' ')
			member->len--;
	}
}

/*
 * A column's definition; column is zeroed and belongs to an array that does not move meanwhile.
 * FIRST and AFTER are left to ALTER TABLE.
 */
bool
ddl_column(Parser *p, DdlColumn *column, DdlKey **keys, int *nkeys)
{
	bool serial = false;
	bool found;

	column->offset = p->tok.start;
	if (++p->columns > DDL_MAX_COLUMNS)
		return ddl_fail_at(p, p->tok.start, p->tok.end, DDL_ERROR_LIMIT, "too many columns");
	if (!ddl_identifier(p, &column->name, "name of a column"))
		return false;
	/* db.table.column is legal in a definition. */
	for (int i = 0; i < 2 && ddl_accept_punct(p, '.'); i++)
		if (!ddl_identifier(p, &column->name, "name of a column"))
			return false;
	if (!data_type(p, column, &serial))
		return false;
	if (serial)
	{
		column->is_unsigned = true;
		if (!make_serial(p, column, keys, nkeys))
			return false;
	}
	do
	{
		if (ddl_accept(p, "SERIAL"))
		{
			found = true;
			if (!ddl_expect(p, "DEFAULT") || !ddl_expect(p, "VALUE") ||
				!make_serial(p, column, keys, nkeys))
				return false;
		}
		else if (!attribute(p, column, keys, nkeys, &found))
			return false;
		if (p->error->code != DDL_OK)
			return false;
	} while (found);
	trim_members(column);
	ddl_column_inherit_charset(column, column->charset, column->collation);
	return true;
}

const char *
ddl_type_name(DdlType type)
{
	static const char *const names[] = {
		"tinyint",	  "smallint", "mediumint", "int",		"bigint",	"decimal",
		"float",	  "double",	  "bit",	   "date",		"time",		"datetime",
		"timestamp",  "year",	  "char",	   "varchar",	"tinytext", "text",
		"mediumtext", "longtext", "binary",	   "varbinary", "tinyblob", "blob",
		"mediumblob", "longblob", "enum",	   "set",		"json",		"vector",
	};

	return names[type];
}
