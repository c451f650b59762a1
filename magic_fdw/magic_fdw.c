/*
 * magic_fdw.c
 *		Module start of the extension library: each subsystem registers itself.
 *
 * The library must be in shared_preload_libraries: shared memory, the launcher and the hooks are
 * set up in the postmaster and nowhere else, so that there is one code path.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "api/magic_api.h"
#include "engine/engine.h"
#include "feed/feed.h"
#include "feed/feed_table.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("magic_fdw must be loaded via shared_preload_libraries"),
						errhint("Add this line to postgresql.conf and restart the server: "
								"shared_preload_libraries = 'magic_fdw'")));

	engine_init();
	api_init();
	feed_init();
	feed_table_init();
}
