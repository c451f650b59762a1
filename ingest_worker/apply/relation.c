/*
 * relation.c
 *		Making the relation of a table: where it goes, and whether it may.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "apply/apply_int.h"

/*
 * Where the table goes: schema and name here. Returns why it may not, or NULL.
 */
static const char *
choose_target(Apply *apply, ApplyTable *table, char **schema, char **name)
{
	bool routed = routes_target(apply->routes, table->database, table->table, schema, name);

	if (!routed)
	{
		*schema = pstrdup(table->database);
		*name = pstrdup(table->table);
	}
	if (apply->config.fold_names && !routed)
	{
		*schema = name_lower(*schema, strlen(*schema));
		*name = name_lower(*name, strlen(*name));
	}
	*schema = name_mangle(*schema);
	*name = name_mangle(*name);
	if (!routed && name_schema_protected(*schema))
		return psprintf("schema \"%s\" is protected: name a target in the feed's option "
						"\"routes\"",
						*schema);
	if (OidIsValid(get_namespace_oid(*schema, true)) &&
		OidIsValid(get_relname_relid(*name, get_namespace_oid(*schema, false))))
		return psprintf("the name %s is taken by a relation that is not the feed's: rename it, or "
						"let the feed adopt it with magic.adopt_table()",
						quote_qualified_identifier(*schema, *name));
	return NULL;
}

static int
count_keys(const ApplyTable *table)
{
	int n = 0;

	for (int i = 0; i < table->ncolumns; i++)
		n += table->columns[i].key;
	return n;
}

/*
 * The place of a key column in the primary key: that of TiDB's key, so that the index has its order.
 */
static int
key_place(const ApplyTable *table, const ApplyColumn *column)
{
	int n = count_keys(table);
	ListCell *lc;

	foreach (lc, table->unique_keys)
	{
		ApplyKey *key = lfirst(lc);
		int place = -1;
		int members = 0;

		for (int k = 1; k < key->n; k++)
			for (int i = 0; i < table->ncolumns; i++)
				if (table->columns[i].key &&
					pg_strcasecmp(table->columns[i].name, key->names[k]) == 0)
				{
					members++;
					if (&table->columns[i] == column)
						place = k - 1;
				}
		if (members == n && key->n == n + 1 && place >= 0)
			return place;
	}
	n = 0;
	for (const ApplyColumn *c = table->columns; c != column; c++)
		n += c->key;
	return n;
}

static void
set_error(ApplyTable *table, TableState state, const char *detail)
{
	table->state = state;
	table->state_detail = MemoryContextStrdup(table->context, detail);
	table->relid = InvalidOid;
}

/*
 * Make the relation of a table from its columns and key, and store it. A name that cannot be used
 * is an error of the table, not of the feed.
 */
void
relation_create(Apply *apply, ApplyTable *table)
{
	MagicTableDef def = {.owner = apply->config.owner, .readers = apply->readers};
	char *schema;
	char *name;
	const char *refused = choose_target(apply, table, &schema, &name);

	if (refused != NULL)
	{
		set_error(table, TABLE_ERROR, refused);
		registry_store(apply, table);
		return;
	}
	def.schema = schema;
	def.name = name;
	def.columns = palloc0(Max(table->ncolumns, 1) * sizeof(MagicColumnDef));
	def.nkeys = count_keys(table);
	def.keys = palloc0(Max(table->ncolumns, 1) * sizeof(int));
	for (int i = 0; i < table->ncolumns; i++)
	{
		ApplyColumn *column = &table->columns[i];
		MagicColumnDef *d;

		if (column->pgname == NULL)
			continue;
		for (int other = 0; other < def.ncolumns; other++)
			if (strcmp(def.columns[other].name, column->pgname) == 0)
			{
				set_error(table, TABLE_UNSUPPORTED,
						  psprintf("two columns have the name \"%s\" here", column->pgname));
				registry_store(apply, table);
				return;
			}
		if (column->key)
			def.keys[key_place(table, column)] = def.ncolumns;
		d = &def.columns[def.ncolumns++];
		d->name = column->pgname;
		convert_map_type(column, &d->type, &d->typmod);
		d->not_null = column->key || (column->not_null && !convert_can_be_zero_date(column));
	}
	if (def.ncolumns > MaxHeapAttributeNumber)
	{
		set_error(table, TABLE_UNSUPPORTED,
				  psprintf("%d columns; a table here has at most %d", def.ncolumns,
						   MaxHeapAttributeNumber));
		registry_store(apply, table);
		return;
	}
	apply->engine->create_schema(apply->conn, schema, apply->config.owner);
	table->relid = apply->engine->create_table(apply->conn, &def);
	apply->nrelations++;
	registry_store(apply, table);
	registry_resolve(apply, table);
}
