/*-------------------------------------------------------------------------
 *
 * ddl_other.c
 *		Statements other than CREATE TABLE and ALTER TABLE.
 *
 * Those that change no table are recognised by their first words; the rest
 * of them is read to the end as tokens, so that an unbalanced or unreadable
 * one is still an error.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl_internal.h"

#include <string.h>

static void
set_statement(DdlStatement *stmt, DdlKind kind, DdlEffect effect, const char *what)
{
	stmt->kind = kind;
	stmt->effect = effect;
	stmt->what = what;
}

/* A statement without effect, whose first words have been taken. */
static bool
idle(Parser *p, DdlStatement *stmt, DdlKind kind, const char *what)
{
	set_statement(stmt, kind, DDL_EFFECT_NONE, what);
	return ddl_skip_rest(p);
}

/* ----------------------------------------------------------------
 *		Databases
 * ----------------------------------------------------------------
 */

static bool
database_options(Parser *p, DdlStatement *stmt)
{
	bool found;

	do
	{
		if (!ddl_option(p, OPTION_OF_DATABASE, &stmt->options, &found))
			return false;
	} while (found);
	return true;
}

static bool
create_database(Parser *p, DdlStatement *stmt)
{
	set_statement(stmt, DDL_CREATE_DATABASE, DDL_EFFECT_SCHEMA, "create database");
	return ddl_if_not_exists(p, &stmt->if_not_exists) &&
		   ddl_identifier(p, &stmt->name.name, "name of a database") && database_options(p, stmt);
}

static bool
alter_database(Parser *p, DdlStatement *stmt)
{
	bool named = !(ddl_is(p, "CHARSET") || ddl_is(p, "ENCRYPTION") || ddl_is(p, "PLACEMENT") ||
				   ddl_is(p, "DEFAULT") || ddl_is(p, "CHARACTER") || ddl_is(p, "COLLATE") ||
				   ddl_is(p, "SET"));

	set_statement(stmt, DDL_ALTER_DATABASE, DDL_EFFECT_NONE, "alter database");
	if (named && !ddl_identifier(p, &stmt->name.name, "name of a database"))
		return false;
	return database_options(p, stmt);
}

static bool
drop_database(Parser *p, DdlStatement *stmt)
{
	set_statement(stmt, DDL_DROP_DATABASE, DDL_EFFECT_SCHEMA, "drop database");
	return ddl_if_exists(p, &stmt->if_exists) &&
		   ddl_identifier(p, &stmt->name.name, "name of a database");
}

/* ----------------------------------------------------------------
 *		Indexes
 * ----------------------------------------------------------------
 */

static bool
algorithm_and_lock(Parser *p)
{
	bool found;

	do
	{
		if (!ddl_algorithm_or_lock(p, &found))
			return false;
	} while (found);
	return true;
}

/* The kind of index has been taken, and the word INDEX. */
static bool
create_index(Parser *p, DdlStatement *stmt, DdlKeyKind kind)
{
	DdlKey *key = ddl_push_key(p, &stmt->keys, &stmt->nkeys, kind);

	set_statement(stmt, DDL_CREATE_INDEX,
				  kind == DDL_KEY_UNIQUE ? DDL_EFFECT_SCHEMA : DDL_EFFECT_NONE, "create index");
	if (key == NULL || !ddl_if_not_exists(p, &key->if_not_exists) ||
		!ddl_identifier(p, &key->name, "name of an index"))
		return false;
	stmt->if_not_exists = key->if_not_exists;
	if (ddl_accept(p, "USING") || ddl_accept(p, "TYPE"))
	{
		static const char *const methods[] = {"BTREE", "HASH",	   "RTREE", "HYPO",
											  "HNSW",  "INVERTED", NULL};

		if (!ddl_accept_any(p, methods))
			return ddl_fail_expected(p, "index type");
	}
	return ddl_expect(p, "ON") && ddl_name(p, &stmt->name, "name of a table") &&
		   ddl_index_rest(p, key) && algorithm_and_lock(p);
}

static bool
drop_index(Parser *p, DdlStatement *stmt)
{
	set_statement(stmt, DDL_DROP_INDEX, DDL_EFFECT_SCHEMA, "drop index");
	return ddl_if_exists(p, &stmt->if_exists) &&
		   ddl_identifier(p, &stmt->key_name, "name of an index") && ddl_expect(p, "ON") &&
		   ddl_name(p, &stmt->name, "name of a table") && algorithm_and_lock(p);
}

/* ----------------------------------------------------------------
 *		Views, sequences and what else has a name
 * ----------------------------------------------------------------
 */

/* [ALGORITHM = ..] [DEFINER = ..] [SQL SECURITY ..] VIEW name ... */
static bool
view(Parser *p, DdlStatement *stmt, const char *what)
{
	DdlString word;

	if (ddl_accept(p, "ALGORITHM") &&
		(!ddl_expect_punct(p, '=') || !ddl_identifier(p, &word, "algorithm")))
		return false;
	if (ddl_accept(p, "DEFINER"))
	{
		if (!ddl_expect_punct(p, '='))
			return false;
		while (!ddl_is(p, "SQL") && !ddl_is(p, "VIEW"))
		{
			if (ddl_at_end(p))
				return ddl_fail_expected(p, "VIEW");
			if (!ddl_advance(p))
				return false;
		}
	}
	if (ddl_accept2(p, "SQL", "SECURITY") && !ddl_identifier(p, &word, "DEFINER or INVOKER"))
		return false;
	return ddl_expect(p, "VIEW") && ddl_if_not_exists(p, &stmt->if_not_exists) &&
		   ddl_name(p, &stmt->name, "name of a view") && idle(p, stmt, DDL_VIEW, what);
}

static bool
at_view(const Parser *p)
{
	return ddl_is(p, "VIEW") || ddl_is(p, "ALGORITHM") || ddl_is(p, "DEFINER") ||
		   (ddl_is(p, "SQL") && ddl_peek_is(p, "SECURITY"));
}

static bool
drop_names(Parser *p, DdlStatement *stmt, DdlKind kind, DdlEffect effect, const char *what)
{
	set_statement(stmt, kind, effect, what);
	if (!ddl_if_exists(p, &stmt->if_exists) ||
		!ddl_name_list(p, &stmt->names, &stmt->nnames, "name"))
		return false;
	if (!ddl_accept(p, "RESTRICT"))
		ddl_accept(p, "CASCADE");
	return true;
}

/*
 * What CREATE, ALTER and DROP have in common: the objects that are no tables, by their first words.
 * found says if one stands here.
 */
static bool
no_table(Parser *p, DdlStatement *stmt, bool *found)
{
	*found = true;
	if (ddl_accept2(p, "PLACEMENT", "POLICY"))
		return idle(p, stmt, DDL_PLACEMENT_POLICY, "placement policy");
	if (ddl_accept2(p, "RESOURCE", "GROUP"))
		return idle(p, stmt, DDL_RESOURCE_GROUP, "resource group");
	if (ddl_accept(p, "USER") || ddl_accept(p, "ROLE"))
		return idle(p, stmt, DDL_USER, "user or role");
	if (ddl_accept(p, "STATISTICS") || ddl_accept(p, "STATS"))
		return idle(p, stmt, DDL_STATISTICS, "statistics");
	if (ddl_accept(p, "BINDING") || ddl_accept2(p, "GLOBAL", "BINDING") ||
		ddl_accept2(p, "SESSION", "BINDING"))
		return idle(p, stmt, DDL_OTHER, "binding");
	*found = false;
	return true;
}

/* ----------------------------------------------------------------
 *		CREATE, ALTER, DROP
 * ----------------------------------------------------------------
 */

static bool
create_temporary(Parser *p, DdlStatement *stmt)
{
	stmt->temporary = DDL_TEMPORARY;
	if (ddl_accept(p, "GLOBAL"))
		stmt->temporary = DDL_GLOBAL_TEMPORARY;
	return ddl_expect(p, "TEMPORARY") && ddl_expect(p, "TABLE") && ddl_create_table(p, stmt);
}

/* CREATE has been taken. */
bool
ddl_create(Parser *p, DdlStatement *stmt)
{
	static const struct
	{
		const char *word;
		DdlKeyKind kind;
	} index_kinds[] = {
		{"UNIQUE", DDL_KEY_UNIQUE},	  {"FULLTEXT", DDL_KEY_FULLTEXT}, {"SPATIAL", DDL_KEY_SPATIAL},
		{"VECTOR", DDL_KEY_COLUMNAR}, {"COLUMNAR", DDL_KEY_COLUMNAR}, {"HYBRID", DDL_KEY_COLUMNAR},
	};
	bool found;

	if (ddl_accept(p, "TABLE"))
		return ddl_create_table(p, stmt);
	if (ddl_is(p, "TEMPORARY") || (ddl_is(p, "GLOBAL") && ddl_peek_is(p, "TEMPORARY")))
		return create_temporary(p, stmt);
	if (ddl_accept(p, "DATABASE") || ddl_accept(p, "SCHEMA"))
		return create_database(p, stmt);
	if (ddl_accept(p, "INDEX"))
		return create_index(p, stmt, DDL_KEY_INDEX);
	for (size_t i = 0; i < sizeof(index_kinds) / sizeof(index_kinds[0]); i++)
		if (ddl_accept(p, index_kinds[i].word))
			return ddl_expect(p, "INDEX") && create_index(p, stmt, index_kinds[i].kind);
	if (ddl_accept(p, "SEQUENCE"))
		return ddl_if_not_exists(p, &stmt->if_not_exists) &&
			   ddl_name(p, &stmt->name, "name of a sequence") &&
			   idle(p, stmt, DDL_SEQUENCE, "create sequence");
	if (ddl_accept2(p, "OR", "REPLACE"))
	{
		if (ddl_accept2(p, "PLACEMENT", "POLICY"))
			return idle(p, stmt, DDL_PLACEMENT_POLICY, "placement policy");
		if (!at_view(p))
			return ddl_fail(p, "CREATE OR REPLACE is known for views and placement policies only");
	}
	if (at_view(p))
		return view(p, stmt, "create view");
	if (!no_table(p, stmt, &found) || found)
		return p->error->code == DDL_OK;
	return ddl_fail(p, "unknown kind of object to create");
}

/* ALTER has been taken. */
bool
ddl_alter(Parser *p, DdlStatement *stmt)
{
	bool found;

	if (ddl_accept(p, "TABLE") || ddl_accept2(p, "IGNORE", "TABLE"))
		return ddl_alter_table(p, stmt);
	if (ddl_accept(p, "DATABASE") || ddl_accept(p, "SCHEMA"))
		return alter_database(p, stmt);
	if (ddl_accept(p, "SEQUENCE"))
		return ddl_if_exists(p, &stmt->if_exists) &&
			   ddl_name(p, &stmt->name, "name of a sequence") &&
			   idle(p, stmt, DDL_SEQUENCE, "alter sequence");
	if (at_view(p))
		return view(p, stmt, "alter view");
	if (ddl_accept(p, "INSTANCE"))
		return idle(p, stmt, DDL_OTHER, "alter instance");
	if (ddl_accept(p, "RANGE"))
		return idle(p, stmt, DDL_PLACEMENT_POLICY, "alter range");
	if (!no_table(p, stmt, &found) || found)
		return p->error->code == DDL_OK;
	return ddl_fail(p, "unknown kind of object to alter");
}

/* DROP has been taken. */
bool
ddl_drop(Parser *p, DdlStatement *stmt)
{
	bool found;

	if (ddl_accept(p, "TEMPORARY"))
		stmt->temporary = DDL_TEMPORARY;
	else if (ddl_accept2(p, "GLOBAL", "TEMPORARY"))
		stmt->temporary = DDL_GLOBAL_TEMPORARY;
	if (ddl_accept(p, "TABLE") || ddl_accept(p, "TABLES"))
		return drop_names(p, stmt, DDL_DROP_TABLE,
						  stmt->temporary == DDL_PERMANENT ? DDL_EFFECT_SCHEMA : DDL_EFFECT_NONE,
						  "drop table");
	if (stmt->temporary != DDL_PERMANENT)
		return ddl_fail_expected(p, "TABLE");
	if (ddl_accept(p, "DATABASE") || ddl_accept(p, "SCHEMA"))
		return drop_database(p, stmt);
	if (ddl_accept(p, "INDEX"))
		return drop_index(p, stmt);
	if (ddl_accept(p, "VIEW"))
		return drop_names(p, stmt, DDL_VIEW, DDL_EFFECT_NONE, "drop view");
	if (ddl_accept(p, "SEQUENCE"))
		return drop_names(p, stmt, DDL_SEQUENCE, DDL_EFFECT_NONE, "drop sequence");
	if (!no_table(p, stmt, &found) || found)
		return p->error->code == DDL_OK;
	return ddl_fail(p, "unknown kind of object to drop");
}

/* ----------------------------------------------------------------
 *		The rest
 * ----------------------------------------------------------------
 */

static bool
rename_tables(Parser *p, DdlStatement *stmt)
{
	if (ddl_accept(p, "USER"))
		return idle(p, stmt, DDL_USER, "user or role");
	set_statement(stmt, DDL_RENAME_TABLE, DDL_EFFECT_SCHEMA, "rename table");
	if (!ddl_accept(p, "TABLES") && !ddl_expect(p, "TABLE"))
		return false;
	do
	{
		DdlRename *rename = ddl_push(p, &stmt->renames, &stmt->nrenames, sizeof(DdlRename),
									 DDL_MAX_NAMES, "tables to rename");

		if (rename == NULL || !ddl_name(p, &rename->from, "name of a table") ||
			!ddl_expect(p, "TO") || !ddl_name(p, &rename->to, "name of a table"))
			return false;
	} while (ddl_accept_punct(p, ','));
	return true;
}

static bool
recover(Parser *p, DdlStatement *stmt)
{
	int64_t number;

	set_statement(stmt, DDL_RECOVER_TABLE, DDL_EFFECT_ROWS, "recover table");
	if (!ddl_expect(p, "TABLE"))
		return false;
	if (ddl_accept2(p, "BY", "JOB"))
		return ddl_integer(p, &number, INT64_MAX, "number of a job");
	if (!ddl_name(p, &stmt->name, "name of a table"))
		return false;
	return p->tok.type != TOKEN_NUMBER || ddl_integer(p, &number, INT64_MAX, "number of jobs");
}

/* TO TIMESTAMP '..' | TO TSO n, if it stands here. */
static bool
to_moment(Parser *p, bool *found)
{
	DdlString string;
	int64_t number;

	*found = true;
	if (ddl_is(p, "TIMESTAMP") && ddl_peek(p).type == TOKEN_STRING)
		return ddl_advance(p) && ddl_string(p, &string, STRING_ESCAPED);
	if (ddl_is(p, "TSO") && ddl_peek(p).type == TOKEN_NUMBER)
		return ddl_advance(p) && ddl_integer(p, &number, INT64_MAX, "timestamp");
	*found = false;
	return true;
}

static bool
flashback(Parser *p, DdlStatement *stmt)
{
	bool found;

	if (ddl_accept(p, "CLUSTER"))
	{
		set_statement(stmt, DDL_FLASHBACK_CLUSTER, DDL_EFFECT_ROWS, "flashback cluster");
		return ddl_expect(p, "TO") && to_moment(p, &found) &&
			   (found || ddl_fail_expected(p, "TIMESTAMP or TSO"));
	}
	if (ddl_accept(p, "TABLE"))
	{
		set_statement(stmt, DDL_FLASHBACK_TABLE, DDL_EFFECT_ROWS, "flashback table");
		if (!ddl_name_list(p, &stmt->names, &stmt->nnames, "name of a table"))
			return false;
		stmt->name = stmt->names[0];
	}
	else
	{
		set_statement(stmt, DDL_FLASHBACK_DATABASE, DDL_EFFECT_ROWS, "flashback database");
		if (!ddl_accept(p, "DATABASE") && !ddl_expect(p, "SCHEMA"))
			return false;
		if (!ddl_identifier(p, &stmt->name.name, "name of a database"))
			return false;
	}
	if (!ddl_accept(p, "TO"))
		return stmt->nnames <= 1 || ddl_fail_expected(p, "TO");
	if (!to_moment(p, &found) || found)
		return p->error->code == DDL_OK;
	if (stmt->nnames > 1)
		return ddl_fail_expected(p, "TIMESTAMP or TSO");
	return ddl_identifier(p, &stmt->rename_to, "new name");
}

/* Statements that begin with neither CREATE, ALTER nor DROP. */
bool
ddl_remaining(Parser *p, DdlStatement *stmt)
{
	if (ddl_accept(p, "TRUNCATE"))
	{
		set_statement(stmt, DDL_TRUNCATE_TABLE, DDL_EFFECT_SCHEMA, "truncate table");
		ddl_accept(p, "TABLE");
		return ddl_name(p, &stmt->name, "name of a table");
	}
	if (ddl_accept(p, "RENAME"))
		return rename_tables(p, stmt);
	if (ddl_accept(p, "RECOVER"))
		return recover(p, stmt);
	if (ddl_accept(p, "FLASHBACK"))
		return flashback(p, stmt);
	if (ddl_accept(p, "LOCK"))
		return idle(p, stmt, DDL_LOCK, "lock");
	if (ddl_accept(p, "UNLOCK"))
		return idle(p, stmt, DDL_LOCK, "unlock");
	if (ddl_accept(p, "ANALYZE") || ddl_accept(p, "OPTIMIZE") || ddl_accept(p, "CHECK") ||
		ddl_accept(p, "CHECKSUM"))
		return idle(p, stmt, DDL_ANALYZE, "analyze");
	if (ddl_accept2(p, "LOAD", "STATS") || ddl_accept2(p, "REFRESH", "STATS"))
		return idle(p, stmt, DDL_STATISTICS, "statistics");
	if (ddl_accept(p, "GRANT") || ddl_accept(p, "REVOKE"))
		return idle(p, stmt, DDL_USER, "privileges");
	if (ddl_accept2(p, "SET", "RESOURCE"))
		return idle(p, stmt, DDL_RESOURCE_GROUP, "resource group");
	if (ddl_is(p, "ADMIN") && ddl_peek_is(p, "REPAIR"))
		return ddl_fail(p, "ADMIN REPAIR TABLE is not supported");
	if (ddl_accept(p, "SET") || ddl_accept(p, "FLUSH") || ddl_accept(p, "ADMIN") ||
		ddl_accept2(p, "SPLIT", "TABLE") || ddl_accept2(p, "SPLIT", "REGION") ||
		ddl_accept2(p, "SPLIT", "PARTITION"))
		return idle(p, stmt, DDL_OTHER, "setting or service");
	return ddl_fail(p, "unknown statement");
}
