/*
 * schema_column.c
 *		Columns: from the DDL grammar's definition to apply's.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "apply/apply_int.h"
#include "magic_compat.h"

static EventType
event_type_of(DdlType type)
{
	switch (type)
	{
		case DDL_TYPE_TINYINT:
			return EVENT_TYPE_TINY;
		case DDL_TYPE_SMALLINT:
			return EVENT_TYPE_SMALL;
		case DDL_TYPE_MEDIUMINT:
			return EVENT_TYPE_MEDIUM;
		case DDL_TYPE_INT:
			return EVENT_TYPE_INT;
		case DDL_TYPE_BIGINT:
			return EVENT_TYPE_BIG;
		case DDL_TYPE_DECIMAL:
			return EVENT_TYPE_DECIMAL;
		case DDL_TYPE_FLOAT:
			return EVENT_TYPE_FLOAT;
		case DDL_TYPE_DOUBLE:
			return EVENT_TYPE_DOUBLE;
		case DDL_TYPE_BIT:
			return EVENT_TYPE_BIT;
		case DDL_TYPE_DATE:
			return EVENT_TYPE_DATE;
		case DDL_TYPE_TIME:
			return EVENT_TYPE_TIME;
		case DDL_TYPE_DATETIME:
			return EVENT_TYPE_DATETIME;
		case DDL_TYPE_TIMESTAMP:
			return EVENT_TYPE_TIMESTAMP;
		case DDL_TYPE_YEAR:
			return EVENT_TYPE_YEAR;
		case DDL_TYPE_CHAR:
			return EVENT_TYPE_CHAR;
		case DDL_TYPE_VARCHAR:
			return EVENT_TYPE_VARCHAR;
		case DDL_TYPE_TINYTEXT:
		case DDL_TYPE_TEXT:
		case DDL_TYPE_MEDIUMTEXT:
		case DDL_TYPE_LONGTEXT:
			return EVENT_TYPE_TEXT;
		case DDL_TYPE_BINARY:
			return EVENT_TYPE_BINARY;
		case DDL_TYPE_VARBINARY:
			return EVENT_TYPE_VARBINARY;
		case DDL_TYPE_TINYBLOB:
		case DDL_TYPE_BLOB:
		case DDL_TYPE_MEDIUMBLOB:
		case DDL_TYPE_LONGBLOB:
			return EVENT_TYPE_BLOB;
		case DDL_TYPE_ENUM:
			return EVENT_TYPE_ENUM;
		case DDL_TYPE_SET:
			return EVENT_TYPE_SET;
		case DDL_TYPE_JSON:
			return EVENT_TYPE_JSON;
		case DDL_TYPE_VECTOR:
			return EVENT_TYPE_VECTOR;
	}
	return EVENT_TYPE_OTHER;
}

/* MySQL's defaults for what is not written. */
static void
set_lengths(ApplyColumn *column, const DdlColumn *from)
{
	column->length = from->length;
	column->decimals = from->decimals;
	switch (column->type)
	{
		case EVENT_TYPE_DECIMAL:
			if (column->length < 0)
				column->length = 10;
			if (column->decimals < 0)
				column->decimals = 0;
			break;
		case EVENT_TYPE_BIT:
			if (column->length < 0)
				column->length = 1;
			break;
		case EVENT_TYPE_DATETIME:
		case EVENT_TYPE_TIMESTAMP:
		case EVENT_TYPE_TIME:
			if (column->decimals < 0)
				column->decimals = 0;
			break;
		default:
			break;
	}
}

/* A member of an ENUM or SET as text that can be stored: bad bytes replaced. */
static char *
member_text(Apply *apply, ApplyTable *table, const ApplyColumn *column, DdlString member)
{
	text *value = DatumGetTextPP(convert_text(apply, table, column, member.data, member.len));

	return pnstrdup(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
}

/*
 * Fill a column from its definition. `key`, `attno` and what belongs to the relation are left as
 * they are; a name here is chosen unless the column has one. A generated column has none: it is
 * left out.
 */
void
schema_column_define(Apply *apply, ApplyTable *table, ApplyColumn *column, const DdlColumn *from)
{
	MemoryContext old = MemoryContextSwitchTo(table->context);

	name_check(from->name.data, from->name.len, "column");
	column->name = pnstrdup(from->name.data, from->name.len);
	column->type = event_type_of(from->type);
	column->is_unsigned = from->is_unsigned;
	set_lengths(column, from);
	column->not_null = from->not_null;
	column->generated = from->generated != DDL_GENERATED_NONE;
	column->nmembers = from->nmembers;
	column->members = palloc(Max(from->nmembers, 1) * sizeof(char *));
	for (int i = 0; i < from->nmembers; i++)
		column->members[i] = member_text(apply, table, column, from->members[i]);
	if (column->generated)
		column->pgname = NULL;
	else if (column->pgname == NULL)
		column->pgname = name_column(column->name, apply->config.fold_names);
	MemoryContextSwitchTo(old);
}

ApplyColumn *
schema_find_column(ApplyTable *table, const char *name, size_t len)
{
	for (int i = 0; i < table->ncolumns; i++)
		if (strlen(table->columns[i].name) == len &&
			pg_strncasecmp(table->columns[i].name, name, len) == 0)
			return &table->columns[i];
	return NULL;
}
