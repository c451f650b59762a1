/*-------------------------------------------------------------------------
 *
 * ddl_partition.c
 *		PARTITION BY and the definitions of partitions.
 *
 * Which rows a partition holds is kept as the text of its bounds: DROP and
 * TRUNCATE PARTITION remove rows that no message names, and a caller that can
 * evaluate the bounds knows which.  Subpartitions are recognised, not kept.
 *
 *-------------------------------------------------------------------------
 */
#include "ddl/ddl_internal.h"

#include <string.h>

/* One value of a list, up to the comma or parenthesis that ends it. */
static bool
value_text(Parser *p, DdlString *out)
{
	size_t start = p->tok.start;
	bool inside_comment = p->lex.inside_comment;

	while (!ddl_is_punct(p, ',') && !ddl_is_punct(p, ')'))
	{
		if (ddl_at_end(p))
			return ddl_fail_expected(p, "\")\"");
		if (ddl_is_punct(p, '('))
		{
			if (!ddl_skip_parens(p, NULL))
				return false;
		}
		else if (!ddl_advance(p))
			return false;
	}
	if (p->tok.start == start || p->prev_end <= start)
		return ddl_fail_expected(p, "value");
	if (p->lex.inside_comment != inside_comment)
		return ddl_fail(p, "executable comment ends within a value");
	return ddl_copy(p, start, p->prev_end, out);
}

static bool
values(Parser *p, DdlString **list, int *n)
{
	if (!ddl_expect_punct(p, '('))
		return false;
	do
	{
		DdlString *value =
			ddl_push(p, list, n, sizeof(DdlString), DDL_MAX_NAMES, "values of a partition");

		if (value == NULL || !value_text(p, value))
			return false;
	} while (ddl_accept_punct(p, ','));
	return ddl_expect_punct(p, ')');
}

/* LESS THAN (values) | LESS THAN MAXVALUE; the list may be NULL. */
bool
ddl_less_than(Parser *p, DdlString **list, int *n)
{
	DdlString *ignored = NULL;
	int nignored = 0;
	DdlString *value;

	if (list == NULL)
	{
		list = &ignored;
		n = &nignored;
	}
	if (!ddl_expect(p, "LESS") || !ddl_expect(p, "THAN"))
		return false;
	if (!ddl_is(p, "MAXVALUE"))
		return values(p, list, n);
	value = ddl_push(p, list, n, sizeof(DdlString), DDL_MAX_NAMES, "values of a partition");
	return value != NULL && ddl_copy(p, p->tok.start, p->tok.end, value) && ddl_advance(p);
}

static bool
partition_bound(Parser *p, DdlPartition *partition)
{
	if (ddl_accept(p, "VALUES"))
	{
		if (ddl_is(p, "LESS"))
		{
			partition->bound = DDL_BOUND_LESS_THAN;
			return ddl_less_than(p, &partition->values, &partition->nvalues);
		}
		partition->bound = DDL_BOUND_IN;
		return ddl_expect(p, "IN") && values(p, &partition->values, &partition->nvalues);
	}
	if (ddl_accept(p, "DEFAULT"))
		partition->bound = DDL_BOUND_DEFAULT;
	else if (!ddl_accept(p, "HISTORY"))
		ddl_accept(p, "CURRENT");
	return true;
}

static bool
partition_options(Parser *p)
{
	DdlOptions ignored;
	bool found;

	memset(&ignored, 0, sizeof(ignored));
	do
	{
		if (!ddl_option(p, OPTION_OF_PARTITION, &ignored, &found))
			return false;
	} while (found);
	return p->error->code == DDL_OK;
}

/* (SUBPARTITION name options, ...) */
static bool
subpartitions(Parser *p)
{
	DdlString name;

	if (!ddl_accept_punct(p, '('))
		return true;
	do
	{
		if (!ddl_expect(p, "SUBPARTITION") || !ddl_identifier(p, &name, "name of a subpartition") ||
			!partition_options(p))
			return false;
	} while (ddl_accept_punct(p, ','));
	return ddl_expect_punct(p, ')');
}

/* (PARTITION name bound options, ...) */
bool
ddl_partition_definitions(Parser *p, DdlPartitioning *partitioning)
{
	if (!ddl_expect_punct(p, '('))
		return false;
	do
	{
		DdlPartition *partition = ddl_push(p, &partitioning->partitions, &partitioning->npartitions,
										   sizeof(DdlPartition), DDL_MAX_PARTITIONS, "partitions");

		if (partition == NULL)
			return false;
		if (++p->partitions > DDL_MAX_PARTITIONS)
			return ddl_fail_at(p, p->tok.start, p->tok.end, DDL_ERROR_LIMIT, "too many partitions");
		if (!ddl_expect(p, "PARTITION") ||
			!ddl_identifier(p, &partition->name, "name of a partition") ||
			!partition_bound(p, partition) || !partition_options(p) || !subpartitions(p))
			return false;
	} while (ddl_accept_punct(p, ','));
	return ddl_expect_punct(p, ')');
}

/* [ALGORITHM [=] n] ([columns]) */
static bool
key_columns(Parser *p, DdlString **columns, int *ncolumns)
{
	int64_t number;

	if (ddl_accept(p, "ALGORITHM"))
	{
		ddl_accept_punct(p, '=');
		if (!ddl_integer(p, &number, 2, "number"))
			return false;
	}
	if (!ddl_expect_punct(p, '('))
		return false;
	if (!ddl_is_punct(p, ')') && !ddl_identifier_list(p, columns, ncolumns, "name of a column"))
		return false;
	return ddl_expect_punct(p, ')');
}

static bool
system_time(Parser *p)
{
	DdlString unit;
	int64_t number;

	if (ddl_accept(p, "LIMIT"))
		return ddl_integer(p, &number, INT64_MAX, "number");
	if (!ddl_accept(p, "INTERVAL"))
		return true;
	return ddl_integer(p, &number, INT64_MAX, "number") && ddl_identifier(p, &unit, "unit of time");
}

static bool
partition_method(Parser *p, DdlPartitioning *part)
{
	bool linear = ddl_accept(p, "LINEAR");

	if (ddl_accept(p, "HASH"))
		part->method = DDL_PARTITION_HASH;
	else if (ddl_accept(p, "KEY"))
	{
		part->method = DDL_PARTITION_KEY;
		part->columns_form = true;
		return key_columns(p, &part->columns, &part->ncolumns);
	}
	else if (linear)
		return ddl_fail_expected(p, "HASH or KEY");
	else if (ddl_accept(p, "RANGE"))
		part->method = DDL_PARTITION_RANGE;
	else if (ddl_accept(p, "LIST"))
		part->method = DDL_PARTITION_LIST;
	else if (ddl_accept(p, "SYSTEM_TIME"))
	{
		part->method = DDL_PARTITION_SYSTEM_TIME;
		return system_time(p);
	}
	else
		return ddl_fail_expected(p, "HASH, KEY, RANGE or LIST");
	if (part->method != DDL_PARTITION_HASH && ddl_accept(p, "COLUMNS"))
	{
		part->columns_form = true;
		return key_columns(p, &part->columns, &part->ncolumns);
	}
	return ddl_skip_parens(p, &part->expression);
}

/* TiDB: INTERVAL (n [unit]) FIRST PARTITION .. LAST PARTITION .. [NULL ..] [MAXVALUE ..] */
static bool
interval_partitions(Parser *p, DdlPartitioning *part)
{
	if (!ddl_accept(p, "INTERVAL"))
		return true;
	part->interval = true;
	if (!ddl_skip_parens(p, NULL))
		return false;
	while (ddl_is(p, "FIRST") || ddl_is(p, "LAST") || ddl_is(p, "NULL") || ddl_is(p, "MAXVALUE"))
	{
		bool bounded = ddl_is(p, "FIRST") || ddl_is(p, "LAST");

		if (!ddl_advance(p) || !ddl_expect(p, "PARTITION"))
			return false;
		if (bounded && !ddl_less_than(p, NULL, NULL))
			return false;
	}
	return p->error->code == DDL_OK;
}

/* SUBPARTITION BY [LINEAR] HASH (expr) | KEY (columns) [SUBPARTITIONS n] */
static bool
subpartition_by(Parser *p)
{
	DdlString *columns = NULL;
	int ncolumns = 0;
	int64_t number;

	if (!ddl_accept(p, "SUBPARTITION"))
		return true;
	if (!ddl_expect(p, "BY"))
		return false;
	ddl_accept(p, "LINEAR");
	if (ddl_accept(p, "HASH"))
	{
		if (!ddl_skip_parens(p, NULL))
			return false;
	}
	else if (!ddl_expect(p, "KEY") || !key_columns(p, &columns, &ncolumns))
		return false;
	if (ddl_accept(p, "SUBPARTITIONS"))
		return ddl_integer(p, &number, INT32_MAX, "number of partitions");
	return p->error->code == DDL_OK;
}

/* PARTITION BY method [INTERVAL ..] [PARTITIONS n] [SUBPARTITION BY ..] [(definitions)] */
bool
ddl_partition_by(Parser *p, DdlPartitioning **out)
{
	DdlPartitioning *part = arena_calloc(p->arena, 1, sizeof(DdlPartitioning));

	if (part == NULL)
		return ddl_fail_memory(p);
	*out = part;
	part->count = -1;
	if (!ddl_expect(p, "PARTITION") || !ddl_expect(p, "BY") || !partition_method(p, part) ||
		!interval_partitions(p, part))
		return false;
	if (ddl_accept(p, "PARTITIONS") &&
		!ddl_integer(p, &part->count, INT32_MAX, "number of partitions"))
		return false;
	if (!subpartition_by(p))
		return false;
	if (ddl_is_punct(p, '(') && !ddl_partition_definitions(p, part))
		return false;
	/* UPDATE INDEXES (name GLOBAL | LOCAL, ...) */
	if (ddl_accept2(p, "UPDATE", "INDEXES"))
		return ddl_skip_parens(p, NULL);
	return p->error->code == DDL_OK;
}
