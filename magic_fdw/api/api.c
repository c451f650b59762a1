/*
 * api.c
 *		Registry of engines, and how other libraries find it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"

#include "api/engine_inprocess.h"
#include "api/magic_api.h"

#define MAX_ENGINES 8

static const MagicEngine *engines[MAX_ENGINES];
static int nengines = 0;

static const MagicEngine *
api_find_engine(const char *name)
{
	StringInfoData known;

	for (int i = 0; i < nengines; i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];

	initStringInfo(&known);
	for (int i = 0; i < nengines; i++)
		appendStringInfo(&known, "%s%s", i > 0 ? ", " : "", engines[i]->name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no engine \"%s\"", name),
			 errhint("Engines known here: %s.", known.data)));
}

static void
api_register_engine(const MagicEngine *engine)
{
	if (nengines >= MAX_ENGINES)
		elog(ERROR, "more than %d engines", MAX_ENGINES);
	engines[nengines++] = engine;
}

static const MagicApi api = {
	.version = MAGIC_API_VERSION,
	.find_engine = api_find_engine,
	.register_engine = api_register_engine,
};

/*
 * Publish the registry. Nothing here needs shared memory: every process has its own.
 */
void
api_init(void)
{
	const MagicApi **var = (const MagicApi **) find_rendezvous_variable(MAGIC_API_RENDEZVOUS);

	api_register_engine(&inprocess_engine);
	*var = &api;
}
