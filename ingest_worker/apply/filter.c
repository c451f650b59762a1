/*
 * filter.c
 *		TiDB's table filter, and routes.
 *
 * Filter: rules separated by commas or line ends, each "[!]database.table". In a part `*` stands
 * for any characters, `?` for one, `[a-z]` and `[!a-z]` for one of a set; a part may stand in
 * back-quotes or double quotes (then nothing in it is special). A backslash takes the next
 * character literally. The last rule that matches decides; no rule: not taken. Names are compared
 * without regard to (ASCII) case.
 *
 * Routes: rules separated by commas, each "database.table -> schema" or "... -> schema.table", the
 * left side as in the filter, on the right {schema} and {table} for the names of TiDB. The first
 * rule that matches decides.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "apply/apply_int.h"

/* One character, or a class, of a pattern. */
typedef struct PatternItem
{
	enum
	{
		ITEM_CHAR,
		ITEM_ANY_ONE,
		ITEM_ANY,
		ITEM_SET
	} kind;
	char literal[5]; /* ITEM_CHAR: one character, lower case */
	const char *set; /* ITEM_SET: between the brackets, lower case */
	int set_len;
	bool negated;
} PatternItem;

typedef struct Pattern
{
	int n;
	PatternItem *items;
} Pattern;

typedef struct FilterRule
{
	bool exclude;
	Pattern database;
	Pattern table;
} FilterRule;

typedef struct RouteRule
{
	Pattern database;
	Pattern table;
	char *schema;
	char *name; /* NULL = as in TiDB */
} RouteRule;

static void
syntax_error(const char *what, const char *text, const char *at)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid %s at character %d: \"%s\"", what, (int) (at - text) + 1, text),
					errhint("Write database.table, for example \"shop.*, !shop.tmp_*\".")));
}

static void
add_char(PatternItem *item, const char *p, int len)
{
	item->kind = ITEM_CHAR;
	memcpy(item->literal, p, len);
	item->literal[len] = '\0';
	if (len == 1 && *p >= 'A' && *p <= 'Z')
		item->literal[0] = *p + ('a' - 'A');
}

/*
 * Parse one part up to an unquoted '.' , ',' , line end, blank or the end. Returns where it ends.
 */
static const char *
parse_part(const char *what, const char *text, const char *p, Pattern *pattern)
{
	char quote = 0;

	pattern->n = 0;
	pattern->items = palloc0((strlen(p) + 1) * sizeof(PatternItem));
	if (*p == '`' || *p == '"')
		quote = *p++;
	for (;;)
	{
		PatternItem *item = &pattern->items[pattern->n];
		int len = *p ? pg_utf_mblen((const unsigned char *) p) : 0;

		if (quote)
		{
			if (*p == '\0')
				syntax_error(what, text, p);
			if (*p == quote)
			{
				if (p[1] != quote)
					return p + 1;
				p++;
				len = 1;
			}
			add_char(item, p, len);
		}
		else if (*p == '\0' || strchr(".,\n\r \t-", *p) != NULL)
		{
			if (*p == '-' && p[1] != '>')
				add_char(item, p, len);
			else if (pattern->n == 0)
				syntax_error(what, text, p);
			else
				return p;
		}
		else if (*p == '*')
			item->kind = ITEM_ANY;
		else if (*p == '?')
			item->kind = ITEM_ANY_ONE;
		else if (*p == '[')
		{
			const char *end;

			item->kind = ITEM_SET;
			p++;
			if (*p == '!' || *p == '^')
			{
				item->negated = true;
				p++;
			}
			end = *p ? strchr(p + 1, ']') : NULL;
			if (end == NULL)
				syntax_error(what, text, p);
			item->set = name_lower(p, end - p);
			item->set_len = end - p;
			p = end;
			len = 1;
		}
		else if (*p == '\\' && p[1] != '\0')
		{
			p++;
			len = pg_utf_mblen((const unsigned char *) p);
			add_char(item, p, len);
		}
		else if (*p == '/' || *p == '@')
			syntax_error(what, text, p);
		else
			add_char(item, p, len);
		pattern->n++;
		p += len;
	}
}

static bool
in_set(const PatternItem *item, const char *p, int len)
{
	const char *s = item->set;
	const char *end = s + item->set_len;
	bool hit = false;

	while (s < end)
	{
		int n = pg_utf_mblen((const unsigned char *) s);

		if (n == 1 && s + 2 < end && s[1] == '-' && len == 1)
		{
			hit |= (unsigned char) *p >= (unsigned char) s[0] &&
				   (unsigned char) *p <= (unsigned char) s[2];
			s += 3;
			continue;
		}
		hit |= n == len && memcmp(s, p, n) == 0;
		s += n;
	}
	return hit != item->negated;
}

/* `name` in lower case. Greedy with one point to fall back to: linear in pattern times name. */
static bool
pattern_matches(const Pattern *pattern, const char *name)
{
	int i = 0;
	int star = -1;
	const char *star_at = NULL;

	while (*name)
	{
		int len = pg_utf_mblen((const unsigned char *) name);
		const PatternItem *item = &pattern->items[i];

		if (i < pattern->n && item->kind == ITEM_ANY)
		{
			star = i++;
			star_at = name;
			continue;
		}
		if (i < pattern->n &&
			(item->kind == ITEM_ANY_ONE || (item->kind == ITEM_SET && in_set(item, name, len)) ||
			 (item->kind == ITEM_CHAR && strncmp(item->literal, name, len) == 0 &&
			  item->literal[len] == '\0')))
		{
			i++;
			name += len;
			continue;
		}
		if (star < 0)
			return false;
		i = star + 1;
		star_at += pg_utf_mblen((const unsigned char *) star_at);
		name = star_at;
	}
	while (i < pattern->n && pattern->items[i].kind == ITEM_ANY)
		i++;
	return i == pattern->n;
}

static const char *
skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
		p++;
	return p;
}

/*
 * "database.table"; returns what follows.
 */
static const char *
parse_pair(const char *what, const char *text, const char *p, Pattern *database, Pattern *table)
{
	p = parse_part(what, text, p, database);
	if (*p != '.')
		syntax_error(what, text, p);
	return skip_space(parse_part(what, text, p + 1, table));
}

/*
 * The rules, in the current memory context. Error 22023.
 */
List *
filter_parse(const char *text)
{
	List *rules = NIL;
	const char *p = skip_space(text);

	while (*p)
	{
		FilterRule *rule = palloc0(sizeof(FilterRule));

		if (*p == '!')
		{
			rule->exclude = true;
			p++;
		}
		p = parse_pair("table filter", text, p, &rule->database, &rule->table);
		rules = lappend(rules, rule);
		if (*p == ',')
			p = skip_space(p + 1);
	}
	return rules;
}

/* Both names in lower case. */
bool
filter_matches(List *rules, const char *database, const char *table)
{
	for (int i = list_length(rules) - 1; i >= 0; i--)
	{
		FilterRule *rule = list_nth(rules, i);

		if (pattern_matches(&rule->database, database) && pattern_matches(&rule->table, table))
			return !rule->exclude;
	}
	return false;
}

/*
 * Can any table of this database be in the filter?
 */
bool
filter_matches_database(List *rules, const char *database)
{
	for (int i = list_length(rules) - 1; i >= 0; i--)
	{
		FilterRule *rule = list_nth(rules, i);

		if (!pattern_matches(&rule->database, database))
			continue;
		if (!rule->exclude)
			return true;
		if (rule->table.n == 1 && rule->table.items[0].kind == ITEM_ANY)
			return false;
	}
	return false;
}

/* A name on the right side of a route, up to one of '.', ',' or the end. */
static const char *
parse_target(const char *text, const char *p, char **name)
{
	StringInfoData buf;
	bool quoted = *p == '"';

	initStringInfo(&buf);
	if (quoted)
		p++;
	for (;; p++)
	{
		if (quoted && *p == '"')
		{
			if (p[1] != '"')
			{
				p++;
				break;
			}
			p++;
		}
		else if (*p == '\0' || (!quoted && (*p == '.' || *p == ',' || *p == ' ')))
			break;
		appendStringInfoChar(&buf, *p);
	}
	if (buf.len == 0)
		syntax_error("route", text, p);
	*name = buf.data;
	return p;
}

List *
routes_parse(const char *text)
{
	List *rules = NIL;
	const char *p = skip_space(text);

	while (*p)
	{
		RouteRule *rule = palloc0(sizeof(RouteRule));

		p = parse_pair("route", text, p, &rule->database, &rule->table);
		if (p[0] != '-' || p[1] != '>')
			syntax_error("route", text, p);
		p = parse_target(text, skip_space(p + 2), &rule->schema);
		if (*p == '.')
			p = parse_target(text, p + 1, &rule->name);
		p = skip_space(p);
		if (*p == ',')
			p = skip_space(p + 1);
		else if (*p)
			syntax_error("route", text, p);
		rules = lappend(rules, rule);
	}
	return rules;
}

static char *
replace_all(const char *text, const char *what, const char *with)
{
	StringInfoData buf;
	const char *hit;

	initStringInfo(&buf);
	while ((hit = strstr(text, what)) != NULL)
	{
		appendBinaryStringInfo(&buf, text, hit - text);
		appendStringInfoString(&buf, with);
		text = hit + strlen(what);
	}
	appendStringInfoString(&buf, text);
	return buf.data;
}

/*
 * Where a table goes by the routes; false = no route says it.
 */
bool
routes_target(List *rules, const char *database, const char *table, char **schema, char **name)
{
	char *database_key = name_lower(database, strlen(database));
	char *table_key = name_lower(table, strlen(table));
	ListCell *lc;

	foreach (lc, rules)
	{
		RouteRule *rule = lfirst(lc);

		if (!pattern_matches(&rule->database, database_key) ||
			!pattern_matches(&rule->table, table_key))
			continue;
		*schema = replace_all(rule->schema, "{schema}", database);
		*name = rule->name
					? replace_all(replace_all(rule->name, "{schema}", database), "{table}", table)
					: pstrdup(table);
		return true;
	}
	return false;
}
