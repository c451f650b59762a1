/*-------------------------------------------------------------------------
 *
 * ddl_describe.c
 *		A parsed statement as one line for logs.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl.h"

#include <string.h>

typedef struct Line
{
	char *buf;
	size_t size;
	size_t len;
	bool full;
} Line;

/* Add bytes; what does not fit is cut before the first byte of a character. */
static void
add(Line *line, const char *data, size_t len)
{
	if (line->full || line->size == 0)
		return;
	if (len > line->size - 1 - line->len)
	{
		len = line->size - 1 - line->len;
		while (len > 0 && ((unsigned char) data[len] & 0xC0) == 0x80)
			len--;
		line->full = true;
	}
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) data[i];

		line->buf[line->len++] = c < 0x20 || c == 0x7f ? '?' : (char) c;
	}
	line->buf[line->len] = '\0';
}

static void
add_text(Line *line, const char *text)
{
	add(line, text, strlen(text));
}

static void
add_identifier(Line *line, DdlString name)
{
	if (name.data == NULL)
		return;
	add(line, "`", 1);
	for (size_t i = 0; i < name.len;)
	{
		const char *quote = memchr(name.data + i, '`', name.len - i);
		size_t n = quote ? (size_t) (quote - name.data) + 1 - i : name.len - i;

		add(line, name.data + i, n);
		if (quote)
			add(line, "`", 1);
		i += n;
	}
	add(line, "`", 1);
}

static void
add_name(Line *line, const DdlName *name)
{
	if (name->database.data != NULL)
	{
		add_identifier(line, name->database);
		add(line, ".", 1);
	}
	add_identifier(line, name->name);
}

static void
add_space_name(Line *line, const DdlName *name)
{
	if (name->name.data != NULL)
	{
		add(line, " ", 1);
		add_name(line, name);
	}
}

static void
add_clause(Line *line, const DdlClause *clause)
{
	add_text(line, clause->what);
	for (int i = 0; i < clause->ncolumns; i++)
		if (clause->kind == DDL_ALTER_ADD_COLUMNS)
		{
			add(line, i > 0 ? ", " : " ", i > 0 ? 2 : 1);
			add_identifier(line, clause->columns[i].name);
		}
	if (clause->name.data != NULL)
	{
		add(line, " ", 1);
		add_identifier(line, clause->name);
	}
	if (clause->kind == DDL_ALTER_ADD_KEY && clause->keys[0].name.data != NULL)
	{
		add(line, " ", 1);
		add_identifier(line, clause->keys[0].name);
	}
	for (int i = 0; i < clause->npartitions; i++)
	{
		add(line, i > 0 ? ", " : " ", i > 0 ? 2 : 1);
		add_identifier(line, clause->partitions[i]);
	}
	if (clause->new_name.data != NULL)
	{
		add_text(line, " to ");
		add_identifier(line, clause->new_name);
	}
	if (clause->kind == DDL_ALTER_CHANGE_COLUMN &&
		!ddl_same_name(clause->name, clause->columns[0].name))
	{
		add_text(line, " to ");
		add_identifier(line, clause->columns[0].name);
	}
	if (clause->table.name.data != NULL)
	{
		add_text(line, clause->kind == DDL_ALTER_RENAME_TABLE ? " to " : " with ");
		add_name(line, &clause->table);
	}
}

const char *
ddl_effect_name(DdlEffect effect)
{
	static const char *const names[] = {"none", "schema", "rows"};

	return names[effect];
}

char *
ddl_describe(const DdlStatement *stmt, char *buf, size_t size)
{
	Line line = {buf, size, 0, false};

	if (size > 0)
		buf[0] = '\0';
	if (stmt->temporary == DDL_GLOBAL_TEMPORARY)
		add_text(&line, "global ");
	if (stmt->temporary != DDL_PERMANENT)
		add_text(&line, "temporary: ");
	add_text(&line, stmt->what);
	if (stmt->kind == DDL_DROP_INDEX)
	{
		add(&line, " ", 1);
		add_identifier(&line, stmt->key_name);
		add_text(&line, " on");
	}
	if (stmt->nnames == 0)
		add_space_name(&line, &stmt->name);
	for (int i = 0; i < stmt->nnames; i++)
	{
		add_text(&line, i > 0 ? "," : "");
		add_space_name(&line, &stmt->names[i]);
	}
	for (int i = 0; i < stmt->nrenames; i++)
	{
		add_text(&line, i > 0 ? "," : "");
		add_space_name(&line, &stmt->renames[i].from);
		add_text(&line, " to");
		add_space_name(&line, &stmt->renames[i].to);
	}
	add_space_name(&line, &stmt->like);
	if (stmt->rename_to.data != NULL)
	{
		add_text(&line, " to ");
		add_identifier(&line, stmt->rename_to);
	}
	for (int i = 0; i < stmt->nclauses && !line.full; i++)
	{
		add_text(&line, i > 0 ? ", " : ": ");
		add_clause(&line, &stmt->clauses[i]);
	}
	add_text(&line, " (effect ");
	add_text(&line, ddl_effect_name(stmt->effect));
	add_text(&line, ")");
	return buf;
}
