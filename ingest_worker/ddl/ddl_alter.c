/*-------------------------------------------------------------------------
 *
 * ddl_alter.c
 *		ALTER TABLE and its clauses.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl_internal.h"

#include <string.h>

/* ----------------------------------------------------------------
 *		Columns
 * ----------------------------------------------------------------
 */

static bool
column_position(Parser *p, DdlColumn *column)
{
	if (ddl_accept(p, "FIRST"))
		column->position = DDL_POSITION_FIRST;
	else if (ddl_accept(p, "AFTER"))
	{
		column->position = DDL_POSITION_AFTER;
		return ddl_identifier(p, &column->after, "name of a column");
	}
	return p->error->code == DDL_OK;
}

static DdlColumn *
clause_column(Parser *p, DdlClause *clause)
{
	return ddl_push(p, &clause->columns, &clause->ncolumns, sizeof(DdlColumn), DDL_MAX_COLUMNS,
					"columns");
}

/* ADD [COLUMN] has been taken. */
static bool
add_columns(Parser *p, DdlClause *clause)
{
	DdlColumn *column;

	clause->kind = DDL_ALTER_ADD_COLUMNS;
	clause->what = "add column";
	clause->effect = DDL_EFFECT_SCHEMA;
	if (!ddl_if_not_exists(p, &clause->if_not_exists))
		return false;
	if (!ddl_accept_punct(p, '('))
	{
		column = clause_column(p, clause);
		return column != NULL && ddl_column(p, column, &clause->keys, &clause->nkeys) &&
			   column_position(p, column);
	}
	do
	{
		if (!ddl_body_element(p, &clause->columns, &clause->ncolumns, &clause->keys,
							  &clause->nkeys))
			return false;
	} while (ddl_accept_punct(p, ','));
	if (clause->ncolumns == 0)
	{
		clause->kind = DDL_ALTER_ADD_KEY;
		clause->what = "add key";
	}
	return ddl_expect_punct(p, ')');
}

static bool
modify_column(Parser *p, DdlClause *clause)
{
	DdlColumn *column = clause_column(p, clause);

	clause->kind = DDL_ALTER_MODIFY_COLUMN;
	clause->what = "modify column";
	clause->effect = DDL_EFFECT_SCHEMA;
	ddl_accept(p, "COLUMN");
	if (column == NULL || !ddl_if_exists(p, &clause->if_exists) ||
		!ddl_column(p, column, &clause->keys, &clause->nkeys))
		return false;
	clause->name = column->name;
	return column_position(p, column);
}

static bool
change_column(Parser *p, DdlClause *clause)
{
	DdlColumn *column = clause_column(p, clause);

	clause->kind = DDL_ALTER_CHANGE_COLUMN;
	clause->what = "change column";
	clause->effect = DDL_EFFECT_SCHEMA;
	ddl_accept(p, "COLUMN");
	return column != NULL && ddl_if_exists(p, &clause->if_exists) &&
		   ddl_identifier(p, &clause->name, "name of a column") &&
		   ddl_column(p, column, &clause->keys, &clause->nkeys) && column_position(p, column);
}

/* ----------------------------------------------------------------
 *		Clauses by their first word, which has been taken
 * ----------------------------------------------------------------
 */

static bool
set_clause(DdlClause *clause, DdlAlterKind kind, DdlEffect effect, const char *what)
{
	clause->kind = kind;
	clause->effect = effect;
	clause->what = what;
	return true;
}

/* The effect of keys: only those that may identify a row matter. */
static DdlEffect
keys_effect(const DdlKey *keys, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
		if (keys[i].kind == DDL_KEY_PRIMARY || keys[i].kind == DDL_KEY_UNIQUE)
			return DDL_EFFECT_SCHEMA;
	return DDL_EFFECT_NONE;
}

static DdlPartitioning *
clause_partitioning(Parser *p, DdlClause *clause)
{
	DdlPartitioning *part = arena_calloc(p->arena, 1, sizeof(DdlPartitioning));

	if (part == NULL)
		ddl_fail_memory(p);
	else
		part->count = -1;
	clause->partitioning = part;
	return part;
}

static void
no_write_to_binlog(Parser *p)
{
	if (!ddl_accept(p, "NO_WRITE_TO_BINLOG"))
		ddl_accept(p, "LOCAL");
}

static bool
add_partition(Parser *p, DdlClause *clause)
{
	DdlPartitioning *part = clause_partitioning(p, clause);

	set_clause(clause, DDL_ALTER_ADD_PARTITION, DDL_EFFECT_NONE, "add partition");
	if (part == NULL || !ddl_if_not_exists(p, &clause->if_not_exists))
		return false;
	no_write_to_binlog(p);
	if (ddl_accept(p, "PARTITIONS"))
		return ddl_integer(p, &part->count, INT32_MAX, "number of partitions");
	return ddl_partition_definitions(p, part);
}

/* STATS_EXTENDED name kind (columns); taken for a column when it reads as one. */
static bool
at_extended_statistics(const Parser *p)
{
	Token next;

	if (!ddl_is(p, "STATS_EXTENDED"))
		return false;
	next = ddl_peek(p);
	return !ddl_is_type_word(p, &next);
}

static bool
extended_statistics(Parser *p, DdlClause *clause, bool add)
{
	set_clause(clause, DDL_ALTER_OTHER, DDL_EFFECT_NONE, "extended statistics");
	if (!ddl_advance(p))
		return false;
	if (!(add ? ddl_if_not_exists(p, &clause->if_not_exists)
			  : ddl_if_exists(p, &clause->if_exists)))
		return false;
	if (!ddl_identifier(p, &clause->name, "name of statistics"))
		return false;
	if (!add)
		return true;
	if (!ddl_accept(p, "CARDINALITY") && !ddl_accept(p, "DEPENDENCY") &&
		!ddl_expect(p, "CORRELATION"))
		return false;
	return ddl_skip_parens(p, NULL);
}

static bool
clause_add(Parser *p, DdlClause *clause)
{
	if (ddl_accept(p, "PARTITION"))
		return add_partition(p, clause);
	if (at_extended_statistics(p))
		return extended_statistics(p, clause, true);
	if (!ddl_at_key(p))
	{
		ddl_accept(p, "COLUMN");
		if (!add_columns(p, clause))
			return false;
		if (clause->kind == DDL_ALTER_ADD_KEY)
			clause->effect = keys_effect(clause->keys, clause->nkeys);
		return true;
	}
	set_clause(clause, DDL_ALTER_ADD_KEY, DDL_EFFECT_NONE, "add key");
	if (!ddl_key(p, &clause->keys, &clause->nkeys))
		return false;
	clause->if_not_exists = clause->keys[0].if_not_exists;
	clause->effect = keys_effect(clause->keys, clause->nkeys);
	return true;
}

static bool
partition_names(Parser *p, DdlClause *clause)
{
	if (ddl_accept(p, "ALL"))
	{
		clause->all_partitions = true;
		return true;
	}
	return ddl_identifier_list(p, &clause->partitions, &clause->npartitions, "name of a partition");
}

static bool
drop_named(Parser *p, DdlClause *clause, DdlAlterKind kind, DdlEffect effect, const char *what)
{
	set_clause(clause, kind, effect, what);
	return ddl_if_exists(p, &clause->if_exists) && ddl_identifier(p, &clause->name, "name");
}

static bool
clause_drop(Parser *p, DdlClause *clause)
{
	if (ddl_accept(p, "PRIMARY"))
	{
		set_clause(clause, DDL_ALTER_DROP_PRIMARY_KEY, DDL_EFFECT_SCHEMA, "drop primary key");
		return ddl_expect(p, "KEY");
	}
	if (ddl_accept(p, "INDEX") || ddl_accept(p, "KEY"))
	{
		/* DROP INDEX PRIMARY: the word is a name here. */
		if (ddl_is(p, "PRIMARY"))
		{
			set_clause(clause, DDL_ALTER_DROP_KEY, DDL_EFFECT_SCHEMA, "drop index");
			return ddl_copy(p, p->tok.start, p->tok.end, &clause->name) && ddl_advance(p);
		}
		return drop_named(p, clause, DDL_ALTER_DROP_KEY, DDL_EFFECT_SCHEMA, "drop index");
	}
	if (ddl_accept(p, "FOREIGN"))
		return ddl_expect(p, "KEY") && drop_named(p, clause, DDL_ALTER_DROP_FOREIGN_KEY,
												  DDL_EFFECT_NONE, "drop foreign key");
	if (ddl_accept(p, "CHECK"))
		return drop_named(p, clause, DDL_ALTER_DROP_CHECK, DDL_EFFECT_NONE, "drop check");
	if (ddl_accept(p, "CONSTRAINT"))
		return drop_named(p, clause, DDL_ALTER_DROP_CONSTRAINT, DDL_EFFECT_SCHEMA,
						  "drop constraint");
	if (ddl_accept(p, "PARTITION"))
	{
		set_clause(clause, DDL_ALTER_DROP_PARTITION, DDL_EFFECT_ROWS, "drop partition");
		return ddl_if_exists(p, &clause->if_exists) && partition_names(p, clause);
	}
	/* A column of that name would be followed by the end of the clause. */
	if (ddl_is(p, "STATS_EXTENDED") && !ddl_peek_is_punct(p, ',') &&
		ddl_peek(p).type != TOKEN_END && !ddl_peek_is_punct(p, ';'))
		return extended_statistics(p, clause, false);
	ddl_accept(p, "COLUMN");
	if (!drop_named(p, clause, DDL_ALTER_DROP_COLUMN, DDL_EFFECT_SCHEMA, "drop column"))
		return false;
	if (!ddl_accept(p, "RESTRICT"))
		ddl_accept(p, "CASCADE");
	return true;
}

static bool
enforced(Parser *p)
{
	return ddl_accept2(p, "NOT", "ENFORCED") || ddl_expect(p, "ENFORCED");
}

static bool
clause_alter(Parser *p, DdlClause *clause)
{
	if (ddl_accept(p, "INDEX"))
	{
		set_clause(clause, DDL_ALTER_KEY_OTHER, DDL_EFFECT_NONE, "alter index");
		if (!ddl_if_exists(p, &clause->if_exists) ||
			!ddl_identifier(p, &clause->name, "name of an index"))
			return false;
		return ddl_accept(p, "VISIBLE") || ddl_expect(p, "INVISIBLE");
	}
	if (ddl_accept(p, "CHECK") || ddl_accept(p, "CONSTRAINT"))
	{
		set_clause(clause, DDL_ALTER_CHECK_OTHER, DDL_EFFECT_NONE, "alter check");
		return ddl_identifier(p, &clause->name, "name of a constraint") && enforced(p);
	}
	ddl_accept(p, "COLUMN");
	if (!ddl_identifier(p, &clause->name, "name of a column"))
		return false;
	if (ddl_accept2(p, "DROP", "DEFAULT"))
		return set_clause(clause, DDL_ALTER_DROP_DEFAULT, DDL_EFFECT_SCHEMA, "drop default");
	set_clause(clause, DDL_ALTER_SET_DEFAULT, DDL_EFFECT_SCHEMA, "set default");
	return ddl_expect(p, "SET") && ddl_expect(p, "DEFAULT") &&
		   ddl_default(p, &clause->default_value);
}

static bool
clause_rename(Parser *p, DdlClause *clause)
{
	if (ddl_is(p, "COLUMN") || ddl_is(p, "INDEX") || ddl_is(p, "KEY"))
	{
		if (ddl_accept(p, "COLUMN"))
			set_clause(clause, DDL_ALTER_RENAME_COLUMN, DDL_EFFECT_SCHEMA, "rename column");
		else
		{
			set_clause(clause, DDL_ALTER_RENAME_KEY, DDL_EFFECT_SCHEMA, "rename index");
			ddl_advance(p);
		}
		return ddl_if_exists(p, &clause->if_exists) && ddl_identifier(p, &clause->name, "name") &&
			   ddl_expect(p, "TO") && ddl_identifier(p, &clause->new_name, "name");
	}
	set_clause(clause, DDL_ALTER_RENAME_TABLE, DDL_EFFECT_SCHEMA, "rename table");
	if (!ddl_accept(p, "TO") && !ddl_accept(p, "AS"))
		ddl_accept_punct(p, '=');
	return ddl_name(p, &clause->table, "name of a table");
}

static bool
convert_to(Parser *p, DdlClause *clause)
{
	DdlOptions *options = &clause->options;

	set_clause(clause, DDL_ALTER_CONVERT_CHARSET, DDL_EFFECT_NONE, "convert to character set");
	if (!ddl_expect(p, "TO"))
		return false;
	if (!ddl_accept2(p, "CHARACTER", "SET") && !ddl_accept2(p, "CHAR", "SET") &&
		!ddl_expect(p, "CHARSET"))
		return false;
	if (!ddl_charset_name(p, &options->charset))
		return false;
	if (ddl_accept(p, "COLLATE") && !ddl_charset_name(p, &options->collation))
		return false;
	/* Text columns become binary ones. */
	if (options->charset.len == 6 && memcmp(options->charset.data, "binary", 6) == 0)
		clause->effect = DDL_EFFECT_SCHEMA;
	return true;
}

static bool
exchange_partition(Parser *p, DdlClause *clause)
{
	set_clause(clause, DDL_ALTER_EXCHANGE_PARTITION, DDL_EFFECT_ROWS, "exchange partition");
	if (!ddl_expect(p, "PARTITION") || !partition_names(p, clause) || !ddl_expect(p, "WITH") ||
		!ddl_expect(p, "TABLE") || !ddl_name(p, &clause->table, "name of a table"))
		return false;
	if (!ddl_accept2(p, "WITH", "VALIDATION"))
		ddl_accept2(p, "WITHOUT", "VALIDATION");
	return true;
}

static bool
reorganize_partition(Parser *p, DdlClause *clause)
{
	DdlPartitioning *part;

	set_clause(clause, DDL_ALTER_REORGANIZE_PARTITION, DDL_EFFECT_NONE, "reorganize partition");
	if (!ddl_expect(p, "PARTITION"))
		return false;
	no_write_to_binlog(p);
	if (ddl_at_end(p))
		return true;
	part = clause_partitioning(p, clause);
	return part != NULL && partition_names(p, clause) && ddl_expect(p, "INTO") &&
		   ddl_partition_definitions(p, part);
}

/* FIRST | LAST | MERGE FIRST | SPLIT MAXVALUE   PARTITION LESS THAN (..) */
static bool
interval_partition(Parser *p, DdlClause *clause)
{
	bool drops = ddl_is(p, "FIRST");

	set_clause(clause, DDL_ALTER_INTERVAL_PARTITION, drops ? DDL_EFFECT_ROWS : DDL_EFFECT_NONE,
			   drops ? "drop first partitions" : "interval partitions");
	if (ddl_accept(p, "MERGE"))
	{
		if (!ddl_expect(p, "FIRST"))
			return false;
	}
	else if (ddl_accept(p, "SPLIT"))
	{
		if (!ddl_expect(p, "MAXVALUE"))
			return false;
	}
	else if (!ddl_advance(p))
		return false;
	return ddl_expect(p, "PARTITION") && ddl_less_than(p, NULL, NULL);
}

/* DISCARD | IMPORT   TABLESPACE | PARTITION names TABLESPACE */
static bool
tablespace(Parser *p, DdlClause *clause)
{
	set_clause(clause, DDL_ALTER_TABLESPACE, DDL_EFFECT_ROWS, "tablespace");
	if (ddl_accept(p, "PARTITION"))
	{
		clause->kind = DDL_ALTER_PARTITION_TABLESPACE;
		if (!partition_names(p, clause))
			return false;
	}
	return ddl_expect(p, "TABLESPACE");
}

/* [=] 'string' | DEFAULT */
static bool
string_or_default(Parser *p)
{
	DdlString string;

	ddl_accept_punct(p, '=');
	return ddl_accept(p, "DEFAULT") || ddl_string(p, &string, STRING_RAW);
}

/* PARTITION name ATTRIBUTES | options; PARTITION BY is handled by the caller. */
static bool
alter_partition(Parser *p, DdlClause *clause)
{
	DdlOptions ignored;
	bool found;

	set_clause(clause, DDL_ALTER_PARTITION_OTHER, DDL_EFFECT_NONE, "partition options");
	if (!ddl_advance(p) || !ddl_identifier(p, &clause->name, "name of a partition"))
		return false;
	if (ddl_accept(p, "ATTRIBUTES"))
		return string_or_default(p);
	memset(&ignored, 0, sizeof(ignored));
	if (!ddl_option(p, OPTION_OF_PARTITION, &ignored, &found))
		return false;
	return found || ddl_fail_expected(p, "option of a partition");
}

/* ANALYZE | CHECK | OPTIMIZE | REBUILD | REPAIR  PARTITION names [more words] */
static bool
partition_service(Parser *p, DdlClause *clause)
{
	static const char *const words[] = {"QUICK", "EXTENDED", "FAST",	"MEDIUM", "CHANGED",
										"FOR",	 "UPGRADE",	 "USE_FRM", NULL};

	set_clause(clause, DDL_ALTER_PARTITION_OTHER, DDL_EFFECT_NONE, "partition service");
	if (!ddl_expect(p, "PARTITION"))
		return false;
	no_write_to_binlog(p);
	if (!partition_names(p, clause))
		return false;
	while (ddl_accept_any(p, words))
		;
	/* ANALYZE PARTITION p INDEX i, ... */
	if (ddl_accept(p, "INDEX") && !ddl_at_end(p))
	{
		DdlString *names = NULL;
		int n = 0;

		return ddl_identifier_list(p, &names, &n, "name of an index");
	}
	return true;
}

/* SET [HYPO] TIFLASH REPLICA n [LOCATION LABELS 'a', ..] */
static bool
tiflash_replica(Parser *p, DdlClause *clause)
{
	int64_t number;

	set_clause(clause, DDL_ALTER_OTHER, DDL_EFFECT_NONE, "set tiflash replica");
	ddl_accept(p, "HYPO");
	if (!ddl_expect(p, "TIFLASH") || !ddl_expect(p, "REPLICA") ||
		!ddl_integer(p, &number, INT64_MAX, "number"))
		return false;
	return ddl_location_labels(p);
}

bool
ddl_algorithm_or_lock(Parser *p, bool *found)
{
	DdlString word;

	*found = ddl_accept(p, "ALGORITHM") || ddl_accept(p, "LOCK");
	if (!*found)
		return true;
	ddl_accept_punct(p, '=');
	return ddl_accept(p, "DEFAULT") || ddl_identifier(p, &word, "value of ALGORITHM or LOCK");
}

/* ORDER BY columns: the list ends where no comma follows. */
static bool
order_by(Parser *p)
{
	DdlName column;

	if (!ddl_expect(p, "BY"))
		return false;
	do
	{
		if (!ddl_name(p, &column, "name of a column"))
			return false;
		if (!ddl_accept(p, "ASC"))
			ddl_accept(p, "DESC");
	} while (ddl_accept_punct(p, ','));
	return true;
}

/* Clauses of one or two words, with nothing that matters. */
static const struct
{
	const char *first;
	const char *second;
	const char *what;
} simple_clauses[] = {
	{"CACHE", NULL, "cache"},
	{"NOCACHE", NULL, "nocache"},
	{"REMOVE", "TTL", "remove ttl"},
	{"ENABLE", "KEYS", "enable keys"},
	{"DISABLE", "KEYS", "disable keys"},
	{"WITH", "VALIDATION", "with validation"},
	{"WITHOUT", "VALIDATION", "without validation"},
	{"SECONDARY_LOAD", NULL, "secondary load"},
	{"SECONDARY_UNLOAD", NULL, "secondary unload"},
};

static bool
other_clause(Parser *p, DdlClause *clause, bool *found)
{
	*found = true;
	set_clause(clause, DDL_ALTER_OTHER, DDL_EFFECT_NONE, "");
	for (size_t i = 0; i < sizeof(simple_clauses) / sizeof(simple_clauses[0]); i++)
		if (simple_clauses[i].second != NULL
				? ddl_accept2(p, simple_clauses[i].first, simple_clauses[i].second)
				: ddl_accept(p, simple_clauses[i].first))
		{
			clause->what = simple_clauses[i].what;
			return true;
		}
	if (ddl_accept(p, "ATTRIBUTES"))
	{
		clause->what = "attributes";
		return string_or_default(p);
	}
	if (ddl_accept(p, "STATS_OPTIONS"))
	{
		clause->what = "statistics options";
		return string_or_default(p);
	}
	if (ddl_is(p, "SET") && (ddl_peek_is(p, "TIFLASH") || ddl_peek_is(p, "HYPO")))
		return ddl_advance(p) && tiflash_replica(p, clause);
	if (ddl_accept(p, "COMPACT"))
	{
		clause->what = "compact";
		if (ddl_accept(p, "PARTITION") && !partition_names(p, clause))
			return false;
		return !ddl_accept2(p, "TIFLASH", "REPLICA") || p->error->code == DDL_OK;
	}
	clause->what = "algorithm or lock";
	return ddl_algorithm_or_lock(p, found);
}

static bool
partition_clause(Parser *p, DdlClause *clause, bool *found)
{
	*found = true;
	if (ddl_is(p, "PARTITION"))
	{
		if (!ddl_peek_is(p, "BY"))
			return alter_partition(p, clause);
		set_clause(clause, DDL_ALTER_PARTITION_BY, DDL_EFFECT_NONE, "partition by");
		return ddl_partition_by(p, &clause->partitioning);
	}
	if (ddl_accept2(p, "REMOVE", "PARTITIONING"))
		return set_clause(clause, DDL_ALTER_REMOVE_PARTITIONING, DDL_EFFECT_NONE,
						  "remove partitioning");
	if (ddl_accept(p, "TRUNCATE"))
	{
		set_clause(clause, DDL_ALTER_TRUNCATE_PARTITION, DDL_EFFECT_ROWS, "truncate partition");
		return ddl_expect(p, "PARTITION") && partition_names(p, clause);
	}
	if (ddl_accept(p, "EXCHANGE"))
		return exchange_partition(p, clause);
	if (ddl_accept(p, "REORGANIZE"))
		return reorganize_partition(p, clause);
	if (ddl_accept(p, "COALESCE"))
	{
		int64_t number;

		set_clause(clause, DDL_ALTER_COALESCE_PARTITION, DDL_EFFECT_NONE, "coalesce partition");
		if (!ddl_expect(p, "PARTITION"))
			return false;
		no_write_to_binlog(p);
		return ddl_integer(p, &number, INT32_MAX, "number of partitions");
	}
	if (ddl_is(p, "FIRST") || ddl_is(p, "LAST") || ddl_is(p, "MERGE") || ddl_is(p, "SPLIT"))
		return interval_partition(p, clause);
	if (ddl_accept(p, "DISCARD") || ddl_accept(p, "IMPORT"))
		return tablespace(p, clause);
	if (ddl_accept(p, "ANALYZE") || ddl_accept(p, "CHECK") || ddl_accept(p, "OPTIMIZE") ||
		ddl_accept(p, "REBUILD") || ddl_accept(p, "REPAIR"))
		return partition_service(p, clause);
	*found = false;
	return true;
}

/* Table options follow each other without commas and make one clause. */
static bool
option_clause(Parser *p, DdlClause *clause, bool *found)
{
	bool more;

	set_clause(clause, DDL_ALTER_OPTIONS, DDL_EFFECT_NONE, "options");
	if (!ddl_option(p, OPTION_OF_TABLE, &clause->options, found))
		return false;
	more = *found;
	while (more)
		if (!ddl_option(p, OPTION_OF_TABLE, &clause->options, &more))
			return false;
	return true;
}

static bool
alter_clause(Parser *p, DdlClause *clause)
{
	bool found;

	clause->what = "";
	clause->offset = p->tok.start;
	if (ddl_accept(p, "ADD"))
		return clause_add(p, clause);
	if (ddl_accept(p, "DROP"))
		return clause_drop(p, clause);
	if (ddl_accept(p, "MODIFY"))
		return modify_column(p, clause);
	if (ddl_accept(p, "CHANGE"))
		return change_column(p, clause);
	if (ddl_accept(p, "ALTER"))
		return clause_alter(p, clause);
	if (ddl_accept(p, "RENAME"))
		return clause_rename(p, clause);
	if (ddl_accept(p, "CONVERT"))
		return convert_to(p, clause);
	if (!partition_clause(p, clause, &found) || found)
		return p->error->code == DDL_OK;
	if (!option_clause(p, clause, &found) || found)
		return p->error->code == DDL_OK;
	if (ddl_accept(p, "FORCE"))
		return set_clause(clause, DDL_ALTER_OTHER, DDL_EFFECT_NONE, "force");
	if (ddl_accept(p, "ORDER"))
	{
		set_clause(clause, DDL_ALTER_OTHER, DDL_EFFECT_NONE, "order by");
		return order_by(p);
	}
	if (!other_clause(p, clause, &found))
		return false;
	return found || ddl_fail(p, "unknown clause of ALTER TABLE");
}

/* Clauses are separated by commas; those about partitions may follow without one. */
static bool
at_clause_without_comma(const Parser *p)
{
	return (ddl_is(p, "PARTITION") && ddl_peek_is(p, "BY")) ||
		   (ddl_is(p, "REMOVE") && ddl_peek_is(p, "PARTITIONING"));
}

/* ALTER TABLE has been taken. */
bool
ddl_alter_table(Parser *p, DdlStatement *stmt)
{
	stmt->kind = DDL_ALTER_TABLE;
	stmt->what = "alter table";
	if (!ddl_if_exists(p, &stmt->if_exists) || !ddl_name(p, &stmt->name, "name of a table"))
		return false;
	if (ddl_at_end(p))
		return true;
	do
	{
		DdlClause *clause = ddl_push(p, &stmt->clauses, &stmt->nclauses, sizeof(DdlClause),
									 DDL_MAX_CLAUSES, "clauses");

		if (clause == NULL || !alter_clause(p, clause) || p->error->code != DDL_OK)
			return false;
		if (clause->effect > stmt->effect)
			stmt->effect = clause->effect;
	} while (ddl_accept_punct(p, ',') || at_clause_without_comma(p));
	return true;
}
