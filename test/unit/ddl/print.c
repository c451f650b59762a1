/*
 * A parsed DDL statement as text; see print.h.
 */
#include "unit/ddl/print.h"

#include <ctype.h>
#include <string.h>

static bool normal_form;

static void
text(FILE *out, const char *label, DdlString s)
{
	if (s.data == NULL)
		return;
	fprintf(out, " %s=\"", label);
	for (size_t i = 0; i < s.len; i++)
	{
		unsigned char c = (unsigned char) s.data[i];

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void
expression(FILE *out, const char *label, DdlString s)
{
	static char buf[1 << 20];
	size_t n = 0;
	char quote = 0;

	if (!normal_form || s.data == NULL || s.len >= sizeof(buf))
	{
		text(out, label, s);
		return;
	}
	for (size_t i = 0; i < s.len; i++)
	{
		char c = s.data[i];

		if (quote == 0 && (c == '\'' || c == '"') && n >= 8 &&
			memcmp(buf + n - 8, "_utf8mb4", 8) == 0)
			n -= 8;
		if (c == '\'' || c == '"')
			quote = quote == c ? 0 : quote == 0 ? c : quote;
		if (quote == 0 && (c == '`' || isspace((unsigned char) c)))
			continue;
		buf[n++] = quote ? c : (char) tolower((unsigned char) c);
	}
	text(out, label, (DdlString){buf, n});
}

static void
name(FILE *out, const char *label, const DdlName *n)
{
	if (n->database.data != NULL)
		text(out, "database", n->database);
	text(out, label, n->name);
}

static void
flag(FILE *out, bool set, const char *word)
{
	if (set)
		fprintf(out, " %s", word);
}

static void
print_default(FILE *out, const DdlDefault *d)
{
	static const char *const kinds[] = {
		"", "null", "string", "number", "bytes", "current_timestamp", "expression"};

	if (d->kind == DDL_DEFAULT_ABSENT)
		return;
	fprintf(out, " default=%s", kinds[d->kind]);
	if (d->kind == DDL_DEFAULT_CURRENT_TIMESTAMP)
		fprintf(out, "(%d)", d->fsp);
	else if (d->kind == DDL_DEFAULT_BYTES)
	{
		fprintf(out, ":");
		for (size_t i = 0; i < d->value.len; i++)
			fprintf(out, "%02x", (unsigned char) d->value.data[i]);
	}
	else if (d->kind == DDL_DEFAULT_EXPRESSION)
		expression(out, "value", d->value);
	else
		text(out, "value", d->value);
}

static void
column(FILE *out, const DdlColumn *c)
{
	text(out, "name", c->name);
	fprintf(out, " %s", ddl_type_name(c->type));
	if (c->length >= 0)
		fprintf(out, " length=%d", c->length);
	if (c->decimals >= 0)
		fprintf(out, " decimals=%d", c->decimals);
	flag(out, c->is_unsigned, "unsigned");
	flag(out, c->zerofill, "zerofill");
	flag(out, c->binary_collation, "binary");
	text(out, "charset", c->charset);
	text(out, "collation", c->collation);
	for (int i = 0; i < c->nmembers; i++)
		text(out, "member", c->members[i]);
	flag(out, c->not_null, "not-null");
	flag(out, c->null_written, "null");
	flag(out, c->primary, "primary");
	flag(out, c->unique, "unique");
	flag(out, c->auto_increment, "auto_increment");
	flag(out, c->auto_random, "auto_random");
	print_default(out, &c->default_value);
	flag(out, c->on_update_now, "on-update-now");
	if (c->generated != DDL_GENERATED_NONE)
		fprintf(out, " generated=%s", c->generated == DDL_GENERATED_STORED ? "stored" : "virtual");
	expression(out, "as", c->expression);
	text(out, "comment", c->comment);
	flag(out, c->position == DDL_POSITION_FIRST, "first");
	text(out, "after", c->after);
}

static void
key(FILE *out, const DdlKey *k)
{
	static const char *const kinds[] = {"primary", "unique",   "index",	  "fulltext",
										"spatial", "columnar", "foreign", "check"};

	fprintf(out, " %s", kinds[k->kind]);
	text(out, "name", k->name);
	for (int i = 0; i < k->nparts; i++)
	{
		text(out, "column", k->parts[i].column);
		expression(out, "expression", k->parts[i].expression);
		if (k->parts[i].prefix_length >= 0)
			fprintf(out, "(%d)", k->parts[i].prefix_length);
		flag(out, k->parts[i].descending, "desc");
	}
	flag(out, k->clustered == DDL_CLUSTERED, "clustered");
	flag(out, k->clustered == DDL_NONCLUSTERED, "nonclustered");
	flag(out, k->from_column, "from-column");
	flag(out, k->if_not_exists, "if-not-exists");
}

static void
columns_and_keys(FILE *out, const char *indent, const DdlColumn *columns, int ncolumns,
				 const DdlKey *keys, int nkeys)
{
	for (int i = 0; i < ncolumns; i++)
	{
		fprintf(out, "%scolumn", indent);
		column(out, &columns[i]);
		fputc('\n', out);
	}
	for (int i = 0; i < nkeys; i++)
	{
		fprintf(out, "%skey", indent);
		key(out, &keys[i]);
		fputc('\n', out);
	}
}

static void
options(FILE *out, const char *indent, const DdlOptions *o)
{
	if (o->charset.data == NULL && o->collation.data == NULL && o->comment.data == NULL)
		return;
	fprintf(out, "%soptions", indent);
	text(out, "charset", o->charset);
	text(out, "collation", o->collation);
	text(out, "comment", o->comment);
	fputc('\n', out);
}

static void
partitioning(FILE *out, const char *indent, const DdlPartitioning *p)
{
	static const char *const methods[] = {"none", "hash", "key", "range", "list", "system_time"};
	static const char *const bounds[] = {"", " less-than", " in", " default"};

	if (p == NULL)
		return;
	fprintf(out, "%spartitioning %s", indent, methods[p->method]);
	flag(out, p->columns_form, "columns");
	expression(out, "expression", p->expression);
	for (int i = 0; i < p->ncolumns; i++)
		text(out, "column", p->columns[i]);
	if (p->count >= 0)
		fprintf(out, " count=%lld", (long long) p->count);
	flag(out, p->interval, "interval");
	fputc('\n', out);
	for (int i = 0; i < p->npartitions; i++)
	{
		const DdlPartition *part = &p->partitions[i];

		fprintf(out, "%s  partition", indent);
		text(out, "name", part->name);
		fprintf(out, "%s", bounds[part->bound]);
		for (int j = 0; j < part->nvalues; j++)
			expression(out, "value", part->values[j]);
		fputc('\n', out);
	}
}

static void
clause(FILE *out, const DdlClause *c)
{
	fprintf(out, "  clause %d (%s) effect=%s", c->kind, c->what, ddl_effect_name(c->effect));
	flag(out, c->if_exists, "if-exists");
	flag(out, c->if_not_exists, "if-not-exists");
	text(out, "name", c->name);
	text(out, "new_name", c->new_name);
	name(out, "table", &c->table);
	print_default(out, &c->default_value);
	for (int i = 0; i < c->npartitions; i++)
		text(out, "partition", c->partitions[i]);
	flag(out, c->all_partitions, "all-partitions");
	fputc('\n', out);
	columns_and_keys(out, "    ", c->columns, c->ncolumns, c->keys, c->nkeys);
	options(out, "    ", &c->options);
	partitioning(out, "    ", c->partitioning);
}

void
ddl_print(FILE *out, const DdlStatement *s, bool normal)
{
	normal_form = normal;
	fprintf(out, "%s effect=%s", s->what, ddl_effect_name(s->effect));
	if (!normal)
		flag(out, s->dialect == DDL_DIALECT_RESTORED, "restored");
	text(out, "use", s->use_database);
	flag(out, s->if_exists, "if-exists");
	flag(out, s->if_not_exists, "if-not-exists");
	flag(out, s->temporary == DDL_TEMPORARY, "temporary");
	flag(out, s->temporary == DDL_GLOBAL_TEMPORARY, "global-temporary");
	name(out, "name", &s->name);
	if (s->like.name.data != NULL)
		fprintf(out, " like");
	name(out, "name", &s->like);
	text(out, "rename_to", s->rename_to);
	text(out, "key_name", s->key_name);
	fputc('\n', out);
	for (int i = 0; i < s->nnames; i++)
	{
		fprintf(out, "  on");
		name(out, "name", &s->names[i]);
		fputc('\n', out);
	}
	for (int i = 0; i < s->nrenames; i++)
	{
		fprintf(out, "  rename");
		name(out, "name", &s->renames[i].from);
		fprintf(out, " to");
		name(out, "name", &s->renames[i].to);
		fputc('\n', out);
	}
	columns_and_keys(out, "  ", s->columns, s->ncolumns, s->keys, s->nkeys);
	options(out, "  ", &s->options);
	partitioning(out, "  ", s->partitioning);
	for (int i = 0; i < s->nclauses; i++)
		clause(out, &s->clauses[i]);
}
