/*
 * names.c
 *		From TiDB's names to PostgreSQL's.
 *
 * A name keeps its spelling. One that is longer than 63 bytes becomes its longest prefix of whole
 * characters that leaves room for "~" and 8 hexadecimal digits of a fixed hash of the whole name
 * (FNV-1a, 32 bits), so that the same name always gives the same result. A column named like one
 * of PostgreSQL's system columns gets the same suffix.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/dependency.h"
#include "catalog/pg_namespace.h"
#include "mb/pg_wchar.h"

#include "apply/apply_int.h"

/* TiDB compares names without regard to case; folds ASCII only, as ddl_same_name(). */
char *
name_lower(const char *data, size_t len)
{
	char *lower = palloc(len + 1);

	for (size_t i = 0; i < len; i++)
		lower[i] = (data[i] >= 'A' && data[i] <= 'Z') ? data[i] + ('a' - 'A') : data[i];
	lower[len] = '\0';
	return lower;
}

static uint32
fnv1a(const char *text)
{
	uint32 hash = 2166136261u;

	for (const unsigned char *p = (const unsigned char *) text; *p; p++)
		hash = (hash ^ *p) * 16777619u;
	return hash;
}

static char *
with_suffix(const char *name)
{
	int room = NAMEDATALEN - 1 - 9;
	int len = pg_mbcliplen(name, strlen(name), room);

	return psprintf("%.*s~%08x", len, name, fnv1a(name));
}

char *
name_mangle(const char *name)
{
	if (strlen(name) < NAMEDATALEN)
		return pstrdup(name);
	return with_suffix(name);
}

/*
 * The name of a column here.
 */
char *
name_column(const char *name, bool fold)
{
	static const char *const system_columns[] = {"ctid", "xmin", "cmin",
												 "xmax", "cmax", "tableoid"};
	char *folded = fold ? name_lower(name, strlen(name)) : pstrdup(name);

	for (int i = 0; i < lengthof(system_columns); i++)
		if (strcmp(folded, system_columns[i]) == 0)
			return with_suffix(folded);
	return name_mangle(folded);
}

/*
 * Refuse a name that PostgreSQL cannot hold.
 */
void
name_check(const char *data, size_t len, const char *what)
{
	if (len == 0 || memchr(data, '\0', len) != NULL ||
		pg_encoding_verifymbstr(PG_UTF8, data, len) != (int) len)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("the stream has a %s name that is empty or not valid UTF-8", what),
						errhint("Leave the table out with the feed's option \"tables\".")));
}

/*
 * Schemas that no TiDB database of the same name may write to: the system's, this extension's,
 * "public", and those that belong to an extension. An explicit route lifts this.
 */
bool
name_schema_protected(const char *schema)
{
	Oid oid;

	if (strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0 ||
		strcmp(schema, "magic") == 0 || strcmp(schema, "magic_data") == 0 ||
		strcmp(schema, "public") == 0)
		return true;
	oid = get_namespace_oid(schema, true);
	return OidIsValid(oid) && OidIsValid(getExtensionOfObject(NamespaceRelationId, oid));
}
