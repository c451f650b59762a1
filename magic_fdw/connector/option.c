/*
 * option.c
 *		Options of servers, user mappings, foreign tables and columns.
 *
 * A server says what it stands for by exactly one of `engine` (it holds tables) and `source` (it
 * holds the secrets of a feed's source). What this version cannot reach is refused here, when it is
 * chosen, not when it is used. An unknown option names the nearest known one. Secrets are accepted
 * in user mappings only: pg_foreign_server is readable by everybody.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "connector/connector.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(magic_fdw_validator);

typedef enum OptionType
{
	OPTION_TEXT, /* any text but the empty one */
	OPTION_BOOL,
	OPTION_COUNT /* integer of 1 or more */
} OptionType;

typedef struct ConnectorOption
{
	const char *name;
	Oid catalog; /* where it may stand */
	OptionType type;
} ConnectorOption;

static const ConnectorOption connector_options[] = {
	{"engine", ForeignServerRelationId, OPTION_TEXT},
	{"source", ForeignServerRelationId, OPTION_TEXT},
	{"host", ForeignServerRelationId, OPTION_TEXT},
	{"port", ForeignServerRelationId, OPTION_COUNT},
	{"dbname", ForeignServerRelationId, OPTION_TEXT},
	{"updatable", ForeignServerRelationId, OPTION_BOOL},
	{"batch_size", ForeignServerRelationId, OPTION_COUNT},
	{"schema_name", ForeignTableRelationId, OPTION_TEXT},
	{"table_name", ForeignTableRelationId, OPTION_TEXT},
	{"updatable", ForeignTableRelationId, OPTION_BOOL},
	{"batch_size", ForeignTableRelationId, OPTION_COUNT},
	{"column_name", AttributeRelationId, OPTION_TEXT},
	{"username", UserMappingRelationId, OPTION_TEXT},
	{"password", UserMappingRelationId, OPTION_TEXT},
	{"ssl_key_pem", UserMappingRelationId, OPTION_TEXT},
	{"ssl_key_password", UserMappingRelationId, OPTION_TEXT},
};

static const char *
catalog_noun(Oid catalog)
{
	switch (catalog)
	{
		case ForeignServerRelationId:
			return "a server";
		case ForeignTableRelationId:
			return "a foreign table";
		case AttributeRelationId:
			return "a column of a foreign table";
		case UserMappingRelationId:
			return "a user mapping";
		default:
			return "the foreign data wrapper";
	}
}

const char *
connector_option(List *options, const char *name)
{
	ListCell *lc;

	foreach (lc, options)
	{
		DefElem *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, name) == 0)
			return defGetString(def);
	}
	return NULL;
}

/* The known option of this catalog that is nearest to the name, or NULL if none is near. */
static const char *
nearest_option(const char *name, Oid catalog)
{
	const char *nearest = NULL;
	int limit = Min(strlen(name) / 2, 3);

	if (strlen(name) > NAMEDATALEN)
		return NULL;
	for (int i = 0; i < lengthof(connector_options); i++)
	{
		const char *known = connector_options[i].name;
		int distance;

		if (connector_options[i].catalog != catalog)
			continue;
		distance = varstr_levenshtein_less_equal(name, strlen(name), known, strlen(known), 1, 1, 1,
												 limit, true);
		if (distance <= limit)
		{
			nearest = known;
			limit = distance - 1;
		}
	}
	return nearest;
}

static void
raise_unknown_option(const char *name, Oid catalog)
{
	const char *nearest = nearest_option(name, catalog);
	StringInfoData known;

	for (int i = 0; nearest == NULL && i < lengthof(connector_options); i++)
	{
		if (strcmp(connector_options[i].name, name) == 0)
			ereport(
				ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"%s\" does not belong to %s", name, catalog_noun(catalog)),
				 errhint("It is an option of %s.", catalog_noun(connector_options[i].catalog))));
	}

	initStringInfo(&known);
	for (int i = 0; i < lengthof(connector_options); i++)
	{
		if (connector_options[i].catalog == catalog)
			appendStringInfo(&known, "%s%s", known.len ? ", " : "", connector_options[i].name);
	}
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					errmsg("invalid option \"%s\" of %s", name, catalog_noun(catalog)),
					nearest ? errhint("Perhaps you meant the option \"%s\".", nearest)
					: known.len > 0
						? errhint("Valid options of %s are: %s.", catalog_noun(catalog), known.data)
						: errhint("There are no valid options of %s.", catalog_noun(catalog))));
}

static void
check_value(const ConnectorOption *option, DefElem *def)
{
	if (option->type == OPTION_BOOL)
		(void) defGetBoolean(def);
	else if (option->type == OPTION_COUNT)
	{
		char *end;
		long value;

		errno = 0;
		value = strtol(defGetString(def), &end, 10);
		if (errno != 0 || end == defGetString(def) || *end != '\0' || value < 1 ||
			value > PG_INT32_MAX)
			ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
							errmsg("option \"%s\" must be a whole number from 1 to %d",
								   def->defname, PG_INT32_MAX)));
	}
	else if (defGetString(def)[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("option \"%s\" must not be empty", def->defname)));
}

static void
check_option(DefElem *def, Oid catalog)
{
	for (int i = 0; i < lengthof(connector_options); i++)
	{
		const ConnectorOption *option = &connector_options[i];

		if (option->catalog == catalog && strcmp(option->name, def->defname) == 0)
		{
			check_value(option, def);
			return;
		}
	}
	raise_unknown_option(def->defname, catalog);
}

/* The options of a server for a feed's source: nothing but the source itself. */
static void
check_source_server(const char *source, List *options)
{
	ListCell *lc;

	if (strcmp(source, "kafka") != 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid value for option \"source\": \"%s\"", source),
						errhint("The only source that needs a server is 'kafka'.")));
	foreach (lc, options)
	{
		DefElem *def = lfirst_node(DefElem, lc);

		if (strcmp(def->defname, "source") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("option \"%s\" does not belong to a server with source 'kafka'",
							def->defname),
					 errdetail("Such a server holds the secrets of a feed's source, in its user "
							   "mappings; brokers and topics stand in the feed's source URI.")));
	}
}

static void
check_engine_server(const char *engine, List *options)
{
	static const char *const remote[] = {"host", "port", "dbname"};

	if (strcmp(engine, "clickhouse") == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("engine 'clickhouse' is not supported yet"),
						errhint("Use the engine of this database: OPTIONS (engine 'magic').")));
	if (strcmp(engine, "magic") != 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid value for option \"engine\": \"%s\"", engine),
						errhint("Use the engine of this database: OPTIONS (engine 'magic').")));
	for (int i = 0; i < lengthof(remote); i++)
	{
		if (connector_option(options, remote[i]) != NULL)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("engine 'magic' on another server is not supported yet"),
							errdetail("Option \"%s\" chooses a server to connect to.", remote[i]),
							errhint("Without it the server is this database, in process: "
									"OPTIONS (engine 'magic').")));
	}
}

ServerKind
connector_server_kind(List *options)
{
	const char *engine = connector_option(options, "engine");
	const char *source = connector_option(options, "source");

	if (engine == NULL && source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("a server of magic_fdw needs the option \"engine\" or \"source\""),
				 errhint("Write OPTIONS (engine 'magic') for the tables of this database, or "
						 "OPTIONS (source 'kafka') for the secrets of a feed.")));
	if (engine != NULL && source != NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
						errmsg("options \"engine\" and \"source\" exclude each other")));
	if (source != NULL)
	{
		check_source_server(source, options);
		return SERVER_KAFKA_SOURCE;
	}
	check_engine_server(engine, options);
	return SERVER_MAGIC_LOCAL;
}

void
connector_require_engine(ForeignServer *server)
{
	if (connector_server_kind(server->options) != SERVER_MAGIC_LOCAL)
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION),
						errmsg("server \"%s\" is a source and holds no tables", server->servername),
						errhint("Foreign tables need a server with OPTIONS (engine 'magic').")));
}

static DefElem *
table_or_server_option(Oid foreigntableid, const char *name)
{
	ForeignTable *table = GetForeignTable(foreigntableid);
	List *lists[2] = {table->options, GetForeignServer(table->serverid)->options};

	for (int i = 0; i < lengthof(lists); i++)
	{
		ListCell *lc;

		foreach (lc, lists[i])
		{
			if (strcmp(lfirst_node(DefElem, lc)->defname, name) == 0)
				return lfirst_node(DefElem, lc);
		}
	}
	return NULL;
}

bool
connector_bool_option(Oid foreigntableid, const char *name, bool default_value)
{
	DefElem *def = table_or_server_option(foreigntableid, name);

	return def ? defGetBoolean(def) : default_value;
}

int
connector_int_option(Oid foreigntableid, const char *name, int default_value)
{
	DefElem *def = table_or_server_option(foreigntableid, name);

	return def ? pg_strtoint32(defGetString(def)) : default_value;
}

/* magic_fdw_validator(options text[], catalog oid) -> void */
Datum
magic_fdw_validator(PG_FUNCTION_ARGS)
{
	List *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid catalog = PG_GETARG_OID(1);
	ListCell *lc;

	foreach (lc, options)
		check_option(lfirst_node(DefElem, lc), catalog);
	if (catalog == ForeignServerRelationId)
		(void) connector_server_kind(options);
	PG_RETURN_VOID();
}
