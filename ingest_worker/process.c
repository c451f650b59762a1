/*
 * process.c
 *		What every process of this library does first: signals, the other library, pinned settings.
 */
#include "ingest.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"

/* Ends a process of one version of the extension beside a server that runs another. */
void
ingest_library_mismatch(void)
{
	ereport(FATAL,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("library magic_ingest does not match the magic_fdw that the server runs"),
			 errhint("Restart the server.")));
}

/* The functions of magic_fdw; an error if it is not loaded, or is of another build. */
const FeedApi *
feed_api(void)
{
	static const FeedApi *api = NULL;

	if (!api)
		api = *(const FeedApi **) find_rendezvous_variable(FEED_RENDEZVOUS);
	if (!api || !api->shared())
		ereport(FATAL, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("magic_fdw must be loaded via shared_preload_libraries")));
	if (api->abi_version != FEED_ABI_VERSION || api->shared()->abi_version != FEED_ABI_VERSION)
		ingest_library_mismatch();
	return api;
}

/* Signals of a background worker that ends by itself on SIGTERM. */
void
ingest_process_start(bool scanner)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	(void) feed_api();
}

/*
 * What a role's, database's or server's settings must not change in an apply. Set as the session's
 * own, so that a reload does not touch them.
 */
void
ingest_pin_settings(const char *application_name)
{
	static const char *const pinned[][2] = {
		{"search_path", "pg_catalog"},
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"standard_conforming_strings", "on"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"default_table_access_method", "heap"},
		{"default_tablespace", ""},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		{"row_security", "on"},
		{"session_replication_role", "origin"},
		{"jit", "off"},
		{"max_parallel_workers_per_gather", "0"},
		/* a lost tail is read again from the source */
		{"synchronous_commit", "off"},
	};

	for (int i = 0; i < lengthof(pinned); i++)
		SetConfigOption(pinned[i][0], pinned[i][1], PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("application_name", application_name, PGC_USERSET, PGC_S_SESSION);
}
