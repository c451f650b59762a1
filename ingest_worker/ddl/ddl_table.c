/*-------------------------------------------------------------------------
 *
 * ddl_table.c
 *		CREATE TABLE: its body, keys and constraints, and table options.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl_internal.h"

#include <string.h>

/* ----------------------------------------------------------------
 *		Keys and constraints
 * ----------------------------------------------------------------
 */

DdlKey *
ddl_push_key(Parser *p, DdlKey **keys, int *nkeys, DdlKeyKind kind)
{
	DdlKey *key;

	if (++p->keys > DDL_MAX_KEYS)
	{
		ddl_fail_at(p, p->tok.start, p->tok.end, DDL_ERROR_LIMIT, "too many keys");
		return NULL;
	}
	key = ddl_push(p, keys, nkeys, sizeof(DdlKey), DDL_MAX_KEYS, "keys");
	if (key != NULL)
	{
		key->kind = kind;
		key->offset = p->tok.start;
	}
	return key;
}

static bool
at_columnar_index(const Parser *p)
{
	return (ddl_is(p, "VECTOR") || ddl_is(p, "COLUMNAR") || ddl_is(p, "HYBRID")) &&
		   (ddl_peek_is(p, "INDEX") || ddl_peek_is(p, "KEY"));
}

/* Does a key or constraint begin here, not a column? */
bool
ddl_at_key(const Parser *p)
{
	static const char *const words[] = {"CONSTRAINT", "PRIMARY", "UNIQUE",	"INDEX", "KEY",
										"FULLTEXT",	  "SPATIAL", "FOREIGN", "CHECK", NULL};

	for (const char *const *word = words; *word != NULL; word++)
		if (ddl_is(p, *word))
			return true;
	return at_columnar_index(p);
}

/* (column[(length)] | (expression) [ASC | DESC], ...) */
static bool
key_parts(Parser *p, DdlKey *key)
{
	if (!ddl_expect_punct(p, '('))
		return false;
	do
	{
		DdlKeyPart *part = ddl_push(p, &key->parts, &key->nparts, sizeof(DdlKeyPart),
									DDL_MAX_KEY_PARTS, "parts of a key");
		int64_t length = -1;

		if (part == NULL)
			return false;
		if (ddl_is_punct(p, '('))
		{
			if (!ddl_skip_parens(p, &part->expression))
				return false;
		}
		else
		{
			if (!ddl_identifier(p, &part->column, "name of a column"))
				return false;
			/* A columnar index is over a function of a column: VEC_COSINE_DISTANCE(`v`). */
			if (key->kind == DDL_KEY_COLUMNAR && ddl_is_punct(p, '('))
			{
				part->column.data = NULL;
				part->column.len = 0;
				if (!ddl_skip_parens(p, &part->expression))
					return false;
			}
			else if (ddl_accept_punct(p, '('))
			{
				if (!ddl_integer(p, &length, INT32_MAX, "length of a prefix") ||
					!ddl_expect_punct(p, ')'))
					return false;
			}
		}
		part->prefix_length = (int) length;
		part->descending = ddl_accept(p, "DESC");
		if (!part->descending)
			ddl_accept(p, "ASC");
	} while (ddl_accept_punct(p, ','));
	return ddl_expect_punct(p, ')');
}

/* USING method; TYPE is the same word unless it is the name of the key. */
static bool
key_method(Parser *p, bool *found)
{
	static const char *const methods[] = {"BTREE", "HASH",	   "RTREE", "HYPO",
										  "HNSW",  "INVERTED", NULL};

	*found = ddl_is(p, "USING") || (ddl_is(p, "TYPE") && !ddl_peek_is_punct(p, '('));
	if (!*found)
		return true;
	if (!ddl_advance(p))
		return false;
	return ddl_accept_any(p, methods) || ddl_fail_expected(p, "index type");
}

static bool
key_option(Parser *p, DdlKey *key, bool *found)
{
	DdlString string;
	int64_t number;

	if (!key_method(p, found) || *found)
		return p->error->code == DDL_OK;
	*found = true;
	if (ddl_accept(p, "KEY_BLOCK_SIZE"))
	{
		ddl_accept_punct(p, '=');
		return ddl_integer(p, &number, INT64_MAX, "number");
	}
	if (ddl_accept2(p, "WITH", "PARSER"))
		return ddl_identifier(p, &string, "name of a parser");
	if (ddl_accept(p, "COMMENT"))
		return ddl_string(p, &string, STRING_RAW);
	if (ddl_is(p, "CLUSTERED") || ddl_is(p, "NONCLUSTERED"))
	{
		key->clustered = ddl_is(p, "CLUSTERED") ? DDL_CLUSTERED : DDL_NONCLUSTERED;
		return ddl_advance(p);
	}
	if (ddl_accept(p, "VISIBLE") || ddl_accept(p, "INVISIBLE") || ddl_accept(p, "GLOBAL") ||
		ddl_accept(p, "LOCAL") || ddl_accept(p, "ADD_COLUMNAR_REPLICA_ON_DEMAND"))
		return true;
	if (ddl_accept(p, "ENGINE_ATTRIBUTE") || ddl_accept(p, "SECONDARY_ENGINE_ATTRIBUTE"))
	{
		ddl_accept_punct(p, '=');
		return ddl_string(p, &string, STRING_RAW);
	}
	if (ddl_accept(p, "PRE_SPLIT_REGIONS"))
	{
		ddl_accept_punct(p, '=');
		if (ddl_is_punct(p, '('))
			return ddl_skip_parens(p, NULL);
		return ddl_integer(p, &number, INT64_MAX, "number");
	}
	*found = false;
	return true;
}

/* [USING method] (parts) options */
bool
ddl_index_rest(Parser *p, DdlKey *key)
{
	bool found;

	if (!key_method(p, &found) || !key_parts(p, key))
		return false;
	do
	{
		if (!key_option(p, key, &found) || p->error->code != DDL_OK)
			return false;
	} while (found);
	return true;
}

/* REFERENCES table [(columns)] [MATCH ..] [ON DELETE ..] [ON UPDATE ..] */
bool
ddl_references(Parser *p)
{
	DdlName table;
	DdlKey columns;

	memset(&columns, 0, sizeof(columns));
	if (!ddl_expect(p, "REFERENCES") || !ddl_name(p, &table, "name of a table"))
		return false;
	if (ddl_is_punct(p, '(') && !key_parts(p, &columns))
		return false;
	if (ddl_accept(p, "MATCH") && !ddl_accept(p, "FULL") && !ddl_accept(p, "PARTIAL") &&
		!ddl_expect(p, "SIMPLE"))
		return false;
	while (ddl_is(p, "ON") && (ddl_peek_is(p, "DELETE") || ddl_peek_is(p, "UPDATE")))
	{
		if (!ddl_advance(p) || !ddl_advance(p))
			return false;
		if (ddl_accept(p, "RESTRICT") || ddl_accept(p, "CASCADE"))
			continue;
		if (ddl_accept(p, "NO"))
		{
			if (!ddl_expect(p, "ACTION"))
				return false;
		}
		else if (!ddl_expect(p, "SET") || (!ddl_accept(p, "DEFAULT") && !ddl_expect(p, "NULL")))
			return false;
	}
	return p->error->code == DDL_OK;
}

/* CHECK (expr) [[NOT] ENFORCED] */
bool
ddl_check(Parser *p, DdlKey **keys, int *nkeys, DdlString name, bool from_column)
{
	DdlKey *key = ddl_push_key(p, keys, nkeys, DDL_KEY_CHECK);

	if (key == NULL)
		return false;
	key->name = name;
	key->from_column = from_column;
	if (!ddl_expect(p, "CHECK") || !ddl_skip_parens(p, NULL))
		return false;
	if (!ddl_accept2(p, "NOT", "ENFORCED"))
		ddl_accept(p, "ENFORCED");
	return true;
}

/* FOREIGN KEY [IF NOT EXISTS] [name] (columns) REFERENCES ... */
static bool
foreign_key(Parser *p, DdlKey *key, DdlString symbol)
{
	if (!ddl_expect(p, "FOREIGN") || !ddl_expect(p, "KEY") ||
		!ddl_if_not_exists(p, &key->if_not_exists))
		return false;
	if (!ddl_is_punct(p, '(') && !ddl_identifier(p, &key->name, "name of a foreign key"))
		return false;
	if (symbol.data != NULL)
		key->name = symbol;
	return key_parts(p, key) && ddl_references(p);
}

/* The words that say which kind of index; those before its name. */
static bool
index_words(Parser *p, DdlKeyKind *kind)
{
	*kind = DDL_KEY_INDEX;
	if (ddl_accept(p, "PRIMARY"))
	{
		*kind = DDL_KEY_PRIMARY;
		return ddl_expect(p, "KEY");
	}
	if (ddl_accept(p, "UNIQUE"))
		*kind = DDL_KEY_UNIQUE;
	else if (ddl_accept(p, "FULLTEXT"))
		*kind = DDL_KEY_FULLTEXT;
	else if (ddl_accept(p, "SPATIAL"))
		*kind = DDL_KEY_SPATIAL;
	else if (at_columnar_index(p))
	{
		*kind = DDL_KEY_COLUMNAR;
		return ddl_advance(p) && ddl_advance(p);
	}
	if (!ddl_accept(p, "INDEX") && !ddl_accept(p, "KEY") && *kind == DDL_KEY_INDEX)
		return ddl_fail_expected(p, "key or constraint");
	return true;
}

/* A key or constraint, where ddl_at_key() says that one begins. */
bool
ddl_key(Parser *p, DdlKey **keys, int *nkeys)
{
	size_t offset = p->tok.start;
	DdlString symbol = {NULL, 0};
	DdlKeyKind kind;
	DdlKey *key;

	if (ddl_accept(p, "CONSTRAINT"))
	{
		if (!ddl_at_key(p) && !ddl_identifier(p, &symbol, "name of a constraint"))
			return false;
		if (!ddl_is(p, "PRIMARY") && !ddl_is(p, "UNIQUE") && !ddl_is(p, "FOREIGN") &&
			!ddl_is(p, "CHECK"))
			return ddl_fail_expected(p, "PRIMARY, UNIQUE, FOREIGN or CHECK");
	}
	if (ddl_is(p, "CHECK"))
		return ddl_check(p, keys, nkeys, symbol, false);
	key = ddl_push_key(p, keys, nkeys, DDL_KEY_FOREIGN);
	if (key == NULL)
		return false;
	key->offset = offset;
	if (ddl_is(p, "FOREIGN"))
		return foreign_key(p, key, symbol);
	if (!index_words(p, &kind))
		return false;
	key->kind = kind;
	if (!ddl_if_not_exists(p, &key->if_not_exists))
		return false;
	if (!ddl_is_punct(p, '(') && !ddl_is(p, "USING") &&
		!ddl_identifier(p, &key->name, "name of a key"))
		return false;
	/* As TiDB does it: the constraint's name goes before the key's. */
	if (symbol.data != NULL)
		key->name = symbol;
	return ddl_index_rest(p, key);
}

/* ----------------------------------------------------------------
 *		Options
 * ----------------------------------------------------------------
 */

/* What the value of an option that is passed over may be. */
enum
{
	VALUE_WORD = 1, /* a name, or DEFAULT, or a string in place of a name */
	VALUE_STRING = 2,
	VALUE_NUMBER = 4,
	VALUE_PARENS = 8,
	IN_PARTITION = 16 /* not a value: the option may stand in a partition's definition */
};

typedef struct OptionWord
{
	const char *word;
	const char *second; /* NULL: one word */
	int value;
} OptionWord;

static const OptionWord option_words[] = {
	{"ENGINE", NULL, VALUE_WORD | IN_PARTITION},
	{"STORAGE", "ENGINE", VALUE_WORD | IN_PARTITION},
	{"STORAGE", NULL, VALUE_WORD},
	{"AUTO_INCREMENT", NULL, VALUE_NUMBER},
	{"FORCE", "AUTO_INCREMENT", VALUE_NUMBER},
	{"AUTO_ID_CACHE", NULL, VALUE_NUMBER},
	{"AUTO_RANDOM_BASE", NULL, VALUE_NUMBER},
	{"FORCE", "AUTO_RANDOM_BASE", VALUE_NUMBER},
	{"AVG_ROW_LENGTH", NULL, VALUE_NUMBER},
	{"AUTOEXTEND_SIZE", NULL, VALUE_NUMBER | VALUE_WORD},
	{"CHECKSUM", NULL, VALUE_NUMBER},
	{"TABLE_CHECKSUM", NULL, VALUE_NUMBER},
	{"PAGE_CHECKSUM", NULL, VALUE_NUMBER},
	{"COMPRESSION", NULL, VALUE_STRING | VALUE_WORD},
	{"CONNECTION", NULL, VALUE_STRING},
	{"DATA", "DIRECTORY", VALUE_STRING | IN_PARTITION},
	{"INDEX", "DIRECTORY", VALUE_STRING | IN_PARTITION},
	{"DELAY_KEY_WRITE", NULL, VALUE_NUMBER},
	{"ENCRYPTION", NULL, VALUE_STRING | VALUE_WORD},
	{"ENGINE_ATTRIBUTE", NULL, VALUE_STRING},
	{"SECONDARY_ENGINE_ATTRIBUTE", NULL, VALUE_STRING},
	{"INSERT_METHOD", NULL, VALUE_WORD},
	{"KEY_BLOCK_SIZE", NULL, VALUE_NUMBER},
	{"MAX_ROWS", NULL, VALUE_NUMBER | IN_PARTITION},
	{"MIN_ROWS", NULL, VALUE_NUMBER | IN_PARTITION},
	{"NODEGROUP", NULL, VALUE_NUMBER | IN_PARTITION},
	{"PACK_KEYS", NULL, VALUE_NUMBER | VALUE_WORD},
	{"PASSWORD", NULL, VALUE_STRING},
	{"PRE_SPLIT_REGIONS", NULL, VALUE_NUMBER},
	{"ROW_FORMAT", NULL, VALUE_WORD},
	{"SECONDARY_ENGINE", NULL, VALUE_WORD},
	{"SHARD_ROW_ID_BITS", NULL, VALUE_NUMBER},
	{"STATS_AUTO_RECALC", NULL, VALUE_NUMBER | VALUE_WORD},
	{"STATS_PERSISTENT", NULL, VALUE_NUMBER | VALUE_WORD},
	{"STATS_SAMPLE_PAGES", NULL, VALUE_NUMBER | VALUE_WORD},
	{"STATS_BUCKETS", NULL, VALUE_NUMBER},
	{"STATS_TOPN", NULL, VALUE_NUMBER},
	{"STATS_SAMPLE_RATE", NULL, VALUE_NUMBER},
	{"STATS_COL_CHOICE", NULL, VALUE_STRING},
	{"STATS_COL_LIST", NULL, VALUE_STRING},
	{"TABLESPACE", NULL, VALUE_WORD | IN_PARTITION},
	{"TRANSACTIONAL", NULL, VALUE_NUMBER},
	{"TTL_ENABLE", NULL, VALUE_STRING},
	{"TTL_JOB_INTERVAL", NULL, VALUE_STRING},
	{"UNION", NULL, VALUE_PARENS},
	{"AFFINITY", NULL, VALUE_STRING},
	{"PLACEMENT", "POLICY", VALUE_WORD | IN_PARTITION},
	{"PRIMARY_REGION", NULL, VALUE_STRING | IN_PARTITION},
	{"REGIONS", NULL, VALUE_STRING | IN_PARTITION},
	{"SCHEDULE", NULL, VALUE_STRING | IN_PARTITION},
	{"FOLLOWERS", NULL, VALUE_NUMBER | IN_PARTITION},
	{"VOTERS", NULL, VALUE_NUMBER | IN_PARTITION},
	{"LEARNERS", NULL, VALUE_NUMBER | IN_PARTITION},
	{"CONSTRAINTS", NULL, VALUE_STRING | IN_PARTITION},
	{"LEADER_CONSTRAINTS", NULL, VALUE_STRING | IN_PARTITION},
	{"FOLLOWER_CONSTRAINTS", NULL, VALUE_STRING | IN_PARTITION},
	{"VOTER_CONSTRAINTS", NULL, VALUE_STRING | IN_PARTITION},
	{"LEARNER_CONSTRAINTS", NULL, VALUE_STRING | IN_PARTITION},
};

static bool
option_value(Parser *p, int value)
{
	DdlString string;

	ddl_accept_punct(p, '=');
	if (value & VALUE_PARENS)
		return ddl_skip_parens(p, NULL);
	if (p->tok.type == TOKEN_NUMBER && (value & VALUE_NUMBER))
		return ddl_advance(p);
	if (p->tok.type == TOKEN_STRING && (value & (VALUE_STRING | VALUE_WORD)))
		return ddl_string(p, &string, STRING_RAW);
	if (value & VALUE_WORD)
	{
		/* PLACEMENT POLICY SET DEFAULT */
		if (ddl_accept2(p, "SET", "DEFAULT") || ddl_accept(p, "DEFAULT"))
			return true;
		if (p->tok.type == TOKEN_QUOTED || p->tok.type == TOKEN_WORD)
			return ddl_identifier(p, &string, "value of the option");
	}
	return ddl_fail_expected(p, "value of the option");
}

/* TTL [=] column + INTERVAL value unit */
static bool
ttl(Parser *p)
{
	DdlString string;

	ddl_accept_punct(p, '=');
	if (!ddl_identifier(p, &string, "name of a column") || !ddl_expect_punct(p, '+') ||
		!ddl_expect(p, "INTERVAL"))
		return false;
	if (p->tok.type == TOKEN_STRING || p->tok.type == TOKEN_NUMBER)
	{
		if (!ddl_advance(p))
			return false;
	}
	else if (!ddl_skip_parens(p, NULL))
		return false;
	return ddl_identifier(p, &string, "unit of time");
}

/* [DEFAULT] CHARACTER SET, COLLATE; COMMENT; TTL. */
static bool
known_option(Parser *p, OptionContext context, DdlOptions *options, bool *found)
{
	DdlString ignored;

	*found = true;
	if (context != OPTION_OF_PARTITION)
	{
		bool is_default =
			ddl_is(p, "DEFAULT") && (ddl_peek_is(p, "CHARACTER") || ddl_peek_is(p, "CHAR") ||
									 ddl_peek_is(p, "CHARSET") || ddl_peek_is(p, "COLLATE") ||
									 ddl_peek_is(p, "ENCRYPTION") || ddl_peek_is(p, "PLACEMENT"));

		if (is_default && !ddl_advance(p))
			return false;
		if (ddl_accept2(p, "CHARACTER", "SET") || ddl_accept2(p, "CHAR", "SET") ||
			ddl_accept(p, "CHARSET"))
		{
			ddl_accept_punct(p, '=');
			return ddl_charset_name(p, &options->charset);
		}
		if (ddl_accept(p, "COLLATE"))
		{
			ddl_accept_punct(p, '=');
			return ddl_charset_name(p, &options->collation);
		}
	}
	if (context != OPTION_OF_DATABASE && ddl_accept(p, "COMMENT"))
	{
		ddl_accept_punct(p, '=');
		return ddl_string(p, context == OPTION_OF_TABLE ? &options->comment : &ignored, STRING_RAW);
	}
	if (context == OPTION_OF_TABLE && ddl_accept(p, "TTL"))
		return ttl(p);
	if (context == OPTION_OF_TABLE && ddl_accept2(p, "START", "TRANSACTION"))
		return true;
	*found = false;
	return true;
}

/* SET TIFLASH REPLICA n [LOCATION LABELS 'a', ...], READ ONLY = n of a database. */
static bool
database_option(Parser *p, bool *found)
{
	int64_t number;

	*found = true;
	if (ddl_accept2(p, "SET", "TIFLASH"))
	{
		if (!ddl_expect(p, "REPLICA") || !ddl_integer(p, &number, INT64_MAX, "number"))
			return false;
		return ddl_location_labels(p);
	}
	if (ddl_accept2(p, "READ", "ONLY"))
	{
		ddl_accept_punct(p, '=');
		return ddl_accept(p, "DEFAULT") || ddl_integer(p, &number, 1, "number");
	}
	*found = false;
	return true;
}

/* One option of a table, partition or database, if one stands here. */
bool
ddl_option(Parser *p, OptionContext context, DdlOptions *options, bool *found)
{
	if (!known_option(p, context, options, found) || *found)
		return p->error->code == DDL_OK;
	if (context == OPTION_OF_DATABASE && (!database_option(p, found) || *found))
		return p->error->code == DDL_OK;
	for (size_t i = 0; i < sizeof(option_words) / sizeof(option_words[0]); i++)
	{
		const OptionWord *option = &option_words[i];

		if (context == OPTION_OF_PARTITION && !(option->value & IN_PARTITION))
			continue;
		if (option->second != NULL ? ddl_accept2(p, option->word, option->second)
								   : ddl_accept(p, option->word))
		{
			*found = true;
			return option_value(p, option->value);
		}
	}
	*found = false;
	return true;
}

/* ----------------------------------------------------------------
 *		CREATE TABLE
 * ----------------------------------------------------------------
 */

bool
ddl_body_element(Parser *p, DdlColumn **columns, int *ncolumns, DdlKey **keys, int *nkeys)
{
	DdlColumn *column;

	if (ddl_at_key(p))
		return ddl_key(p, keys, nkeys);
	column = ddl_push(p, columns, ncolumns, sizeof(DdlColumn), DDL_MAX_COLUMNS, "columns");
	return column != NULL && ddl_column(p, column, keys, nkeys);
}

static bool
create_like(Parser *p, DdlStatement *stmt)
{
	stmt->kind = DDL_CREATE_TABLE_LIKE;
	stmt->what = "create table like";
	return ddl_name(p, &stmt->like, "name of a table");
}

/* ON COMMIT DELETE | PRESERVE ROWS, of a global temporary table. */
static bool
on_commit(Parser *p)
{
	if (!ddl_accept2(p, "ON", "COMMIT"))
		return true;
	if (!ddl_accept(p, "PRESERVE") && !ddl_expect(p, "DELETE"))
		return false;
	return ddl_expect(p, "ROWS");
}

static bool
options_and_partitions(Parser *p, DdlStatement *stmt)
{
	bool found;

	do
	{
		bool comma = ddl_accept_punct(p, ',');

		if (!ddl_option(p, OPTION_OF_TABLE, &stmt->options, &found))
			return false;
		if (comma && !found)
			return ddl_fail_expected(p, "table option");
	} while (found);
	if (ddl_is(p, "PARTITION") && !ddl_partition_by(p, &stmt->partitioning))
		return false;
	return on_commit(p);
}

/* CREATE [[GLOBAL] TEMPORARY] TABLE has been taken. */
bool
ddl_create_table(Parser *p, DdlStatement *stmt)
{
	stmt->kind = DDL_CREATE_TABLE;
	stmt->what = "create table";
	stmt->effect = stmt->temporary == DDL_PERMANENT ? DDL_EFFECT_SCHEMA : DDL_EFFECT_NONE;
	if (!ddl_if_not_exists(p, &stmt->if_not_exists) || !ddl_name(p, &stmt->name, "name of a table"))
		return false;
	if (ddl_accept(p, "LIKE"))
		return create_like(p, stmt) && on_commit(p);
	if (!ddl_is_punct(p, '('))
		return ddl_fail_expected(p, "\"(\" or LIKE");
	if (!ddl_advance(p))
		return false;
	if (ddl_accept(p, "LIKE"))
		return create_like(p, stmt) && ddl_expect_punct(p, ')') && on_commit(p);
	do
	{
		if (!ddl_body_element(p, &stmt->columns, &stmt->ncolumns, &stmt->keys, &stmt->nkeys))
			return false;
	} while (ddl_accept_punct(p, ','));
	if (!ddl_expect_punct(p, ')') || !options_and_partitions(p, stmt))
		return false;
	if (stmt->ncolumns == 0)
		return ddl_fail(p, "table without columns");
	for (int i = 0; i < stmt->ncolumns; i++)
		ddl_column_inherit_charset(&stmt->columns[i], stmt->options.charset,
								   stmt->options.collation);
	return true;
}
