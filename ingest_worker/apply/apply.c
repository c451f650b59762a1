/*
 * apply.c
 *		The life of an apply: transactions, cuts, position, dispatch of events. See apply.h.
 *
 * Memory.  `context` lives as long as the apply; `tables_context` holds what the registry said;
 * `window_context` holds images and is reset whenever all windows were written; `work_context` is
 * reset after each call.
 *
 * Errors.  Whatever raises, the transaction is rolled back and the registry's copy in memory is
 * forgotten with it, since DDL changes both; the next event reads it again.
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"

#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "apply/apply_int.h"

/* Raised by every relcache invalidation; tables compare it with their own. */
static uint64 relcache_generation = 1;
static Oid registry_relid = InvalidOid;
static bool registry_changed = false;
static bool registry_altered = false; /* by adopt_table or set_key, since the transaction began */

static void
relcache_callback(Datum arg, Oid relid)
{
	relcache_generation++;
	if (relid == InvalidOid || relid == registry_relid)
		registry_changed = true;
	if (relid == registry_relid)
		registry_altered = true;
}

void
apply_phase(Apply *apply, ApplyPhase phase)
{
	if (apply->config.phase != NULL)
		apply->config.phase(apply->config.phase_arg, phase);
}

/* ---------------------------------------------------------------- opening */

static char *
copy(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

static List *
parse_readers(const char *text)
{
	List *names;
	List *roles = NIL;
	ListCell *lc;

	if (text == NULL || text[0] == '\0')
		return NIL;
	if (!SplitIdentifierString(pstrdup(text), ',', &names))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid list of readers: \"%s\"", text)));
	foreach (lc, names)
		roles = lappend_oid(roles, get_role_oid(lfirst(lc), false));
	return roles;
}

/*
 * Take over a config; inside a transaction.
 */
static void
set_config(Apply *apply, const ApplyConfig *config)
{
	MemoryContext old = MemoryContextSwitchTo(apply->context);
	ApplyConfig *c = &apply->config;
	const char *zone = config->time_zone ? config->time_zone : "UTC";

	*c = *config;
	c->feed_name = copy(config->feed_name ? config->feed_name : "");
	c->engine = copy(config->engine ? config->engine : "magic");
	c->time_zone = copy(zone);
	c->tables = copy(config->tables ? config->tables : "*.*");
	c->routes = copy(config->routes ? config->routes : "");
	c->readers = copy(config->readers);
	if (c->memory_limit == 0)
		c->memory_limit = (Size) 256 * 1024 * 1024;
	if (c->lock_timeout_ms == 0)
		c->lock_timeout_ms = 1000;

	apply->applied_ts = c->applied_ts;
	apply->filter = filter_parse(c->tables);
	apply->routes = routes_parse(c->routes);
	apply->readers = parse_readers(c->readers);
	apply->zone = NULL;
	if (pg_strcasecmp(zone, "UTC") != 0)
	{
		apply->zone = pg_tzset(zone);
		if (apply->zone == NULL || !pg_tz_acceptable(apply->zone))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("unknown time zone of the source: \"%s\"", zone)));
	}
	MemoryContextSwitchTo(old);
}

/*
 * The settings that decide what values look like, whatever the database or role say.
 */
static void
pin_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog"},
		{"datestyle", "ISO, YMD"},
		{"intervalstyle", "postgres"},
		{"timezone", "UTC"},
		{"client_encoding", "UTF8"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"row_security", "off"},
		{"default_tablespace", ""},
		{"bytea_output", "hex"},
		{"extra_float_digits", "3"},
		{"check_function_bodies", "off"},
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

static const MagicEngine *
find_engine(const char *name)
{
	MagicApi **api = (MagicApi **) find_rendezvous_variable(MAGIC_API_RENDEZVOUS);

	if (*api == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("magic_fdw is not loaded"),
						errhint("Add this line to postgresql.conf and restart the server: "
								"shared_preload_libraries = 'magic_fdw'")));
	if ((*api)->version != MAGIC_API_VERSION)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("magic_fdw and magic_ingest are of different versions"),
						errhint("Restart the server.")));
	return (*api)->find_engine(name);
}

/* Locks for a quarter of the lock table, at most four a relation. */
static int
max_relations(void)
{
	return Max(8, max_locks_per_xact * (MaxBackends + max_prepared_xacts) / 16);
}

/*
 * Tables that were there before a reader was named: let it read them.
 */
static void
grant_readers(Apply *apply)
{
	ListCell *lc;

	if (apply->readers == NIL)
		return;
	foreach (lc, registry_relations(apply))
		apply->engine->grant_readers(apply->conn, lfirst_oid(lc), apply->readers);
}

Apply *
apply_open(const ApplyConfig *config)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "apply", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	static bool callback_registered = false;
	Apply *apply = palloc0(sizeof(Apply));

	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a feed needs a database with encoding UTF8, not %s",
							   GetDatabaseEncodingName())));
	apply->context = context;
	apply->tables_context = AllocSetContextCreate(context, "apply tables", ALLOCSET_DEFAULT_SIZES);
	apply->window_context =
		AllocSetContextCreate(context, "apply windows", ALLOCSET_DEFAULT_MINSIZE,
							  ALLOCSET_DEFAULT_INITSIZE, 4 * ALLOCSET_DEFAULT_MAXSIZE);
	apply->work_context = AllocSetContextCreate(context, "apply work", ALLOCSET_DEFAULT_SIZES);
	apply->position_context =
		AllocSetContextCreate(context, "apply position", ALLOCSET_SMALL_SIZES);
	apply->ddl_arena = arena_create(DDL_ARENA_LIMIT);
	if (apply->ddl_arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	apply->max_relations = max_relations();

	pin_settings();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		callback_registered = true;
	}
	registry_relid = get_relname_relid("feed_table", get_namespace_oid("magic", false));
	MemoryContextSwitchTo(context);
	set_config(apply, config);
	apply->engine = find_engine(apply->config.engine);
	apply->conn = apply->engine->open(apply->config.engine_server);
	grant_readers(apply);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return apply;
}

int64
apply_applied_ts(Apply *apply)
{
	return apply->applied_ts;
}

/* ---------------------------------------------------------------- transactions */

void
apply_ensure_transaction(Apply *apply)
{
	MemoryContext old;

	if (apply->in_transaction)
		return;
	old = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	apply->in_transaction = true;
	apply->next_ts = apply->applied_ts;
	apply->engine->begin(apply->conn, apply->config.feed_id);
	if (registry_changed)
	{
		registry_forget(apply);
		registry_changed = false;
		registry_altered = false;
	}
	MemoryContextSwitchTo(old);
}

/*
 * Open a table's relation in this transaction, and match it again if it may have changed.
 */
void
apply_open_handle(Apply *apply, ApplyTable *table)
{
	MemoryContext old;

	if (table->handle != NULL)
		return;
	LockTimeout = apply->config.lock_timeout_ms;
	table->handle = apply->engine->open_table(apply->conn, table->relid);
	LockTimeout = 0;
	if (table->handle == NULL)
	{
		registry_set_state(apply, table, TABLE_DETACHED, "the relation was dropped here");
		return;
	}
	if (registry_altered)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the key of a table was changed by another session")));
	if (table->generation != relcache_generation)
	{
		registry_resolve(apply, table);
		table->generation = relcache_generation;
	}
	old = MemoryContextSwitchTo(apply->context);
	apply->touched = lappend(apply->touched, table);
	MemoryContextSwitchTo(old);
	apply->nrelations++;
}

/*
 * Write all windows into the open transaction.
 */
void
apply_flush(Apply *apply)
{
	ListCell *lc;

	foreach (lc, apply->windows)
	{
		ApplyTable *table = lfirst(lc);

		apply->current_table = table;
		window_write(apply, table);
	}
	apply->current_table = NULL;
	list_free(apply->windows);
	apply->windows = NIL;
	MemoryContextReset(apply->window_context);
}

/* State of the running transaction that neither commit nor abort keeps. */
static void
end_transaction(Apply *apply)
{
	apply->in_transaction = false;
	apply->position_set = false;
	apply->cut_due = false;
	apply->nrelations = 0;
	apply->rows_in_transaction = 0;
	apply->record_ts = 0;
	apply->current_table = NULL;
	apply->current_column = NULL;
	MemoryContextReset(apply->position_context);
}

static void
roll_back(Apply *apply)
{
	MemoryContext old = apply->context;

	apply->engine->abort(apply->conn);
	AbortCurrentTransaction();
	MemoryContextSwitchTo(old);
	LockTimeout = 0;
	registry_forget(apply);
	MemoryContextReset(apply->window_context);
	end_transaction(apply);
}

void
apply_abort(Apply *apply)
{
	MemoryContext old = CurrentMemoryContext;

	if (apply->in_transaction)
		roll_back(apply);
	else if (IsTransactionState() || IsAbortedTransactionBlockState())
		AbortCurrentTransaction();
	MemoryContextSwitchTo(old == ErrorContext ? apply->context : old);
}

static bool
is_retryable(int sqlstate)
{
	return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
		   sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		   sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED;
}

/* ---------------------------------------------------------------- messages */

static void
error_context(void *arg)
{
	Apply *apply = arg;

	if (apply->current_table != NULL)
		errcontext("feed \"%s\", table \"%s\".\"%s\", commit TS " UINT64_FORMAT,
				   apply->config.feed_name, apply->current_table->database,
				   apply->current_table->table, (uint64) apply->current_ts);
	else
		errcontext("feed \"%s\", commit TS " UINT64_FORMAT, apply->config.feed_name,
				   (uint64) apply->current_ts);
}

typedef void (*Work)(Apply *apply, const Event *event);

/*
 * Do some work; a lock that cannot be had, a deadlock or a serialisation failure rolls back and
 * becomes APPLY_RETRY, other errors pass.
 */
static ApplyStatus
guarded(Apply *apply, Work work, const Event *event)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorContextCallback callback = {
		.previous = error_context_stack, .callback = error_context, .arg = apply};
	volatile ApplyStatus status = APPLY_OK;

	error_context_stack = &callback;
	MemoryContextSwitchTo(apply->work_context);
	PG_TRY();
	{
		work(apply, event);
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(apply->context);
		edata = CopyErrorData();
		if (!is_retryable(edata->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		if (apply->detail != NULL)
			pfree(apply->detail);
		if (edata->detail == NULL && apply->current_table != NULL &&
			edata->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
			apply->detail = psprintf("waiting for a lock on a row of \"%s\".\"%s\"",
									 apply->current_table->database, apply->current_table->table);
		else
			apply->detail = pstrdup(edata->detail ? edata->detail : edata->message);
		FreeErrorData(edata);
		roll_back(apply);
		status = APPLY_RETRY;
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(apply->work_context);
	return status;
}

/* ---------------------------------------------------------------- events */

static void
store_counters(Apply *apply)
{
	ListCell *lc;

	foreach (lc, apply->touched)
		registry_store_counters(apply, lfirst(lc));
}

/*
 * Close all relations; locks stay. Rows of the windows must have been written.
 */
void
apply_close_handles(Apply *apply)
{
	ListCell *lc;

	foreach (lc, apply->touched)
		((ApplyTable *) lfirst(lc))->handle = NULL;
	apply->engine->close_tables(apply->conn);
	apply->last_table = NULL;
	apply->last_serial = 0;
}

static void
commit(Apply *apply, const Event *unused)
{
	ListCell *lc;

	apply_flush(apply);
	store_counters(apply);
	apply_phase(apply, APPLY_PHASE_BEFORE_POSITION);
#ifdef MAGIC_BREAK_POSITION
	/* A build that must fail the kill tests: the position in a transaction of its own. */
	apply->engine->commit(apply->conn, NULL, 0);
	ForceSyncCommit(); /* else a kill right after loses the rows too, and all is well */
	CommitTransactionCommand();
	StartTransactionCommand();
	apply->engine->begin(apply->conn, apply->config.feed_id);
#endif
	apply->position.applied_ts = apply->next_ts;
	apply->engine->commit(apply->conn, &apply->position, apply->position_set ? 1 : 0);
	apply_phase(apply, APPLY_PHASE_BEFORE_COMMIT);
	CommitTransactionCommand();
	foreach (lc, apply->touched)
	{
		ApplyTable *table = lfirst(lc);

		table->handle = NULL;
		table->writes++;
		apply->merge_due |= table->writes >= APPLIES_PER_MERGE;
	}
	list_free(apply->touched);
	apply->touched = NIL;
	apply->last_table = NULL;
	apply->last_serial = 0;
	apply->applied_ts = apply->next_ts;
	apply->stats.rows += apply->rows_in_transaction;
	apply->stats.applies++;
	end_transaction(apply);
	apply_phase(apply, APPLY_PHASE_COMMITTED);
}

static void
take_ddl(Apply *apply, const Event *event)
{
	DdlStatement *stmt = schema_read(apply, event);

	if (apply->position_set && schema_needs_cut(stmt))
		commit(apply, NULL);
	apply_ensure_transaction(apply);
	schema_execute(apply, event, stmt);
}

ApplyStatus
apply_event(Apply *apply, const Event *event)
{
	int64 done = apply->in_transaction ? apply->next_ts : apply->applied_ts;
	ApplyStatus status;

	if (event->kind == EVENT_RESOLVED)
		return APPLY_OK;
	if ((int64) event->commit_ts <= done || (int64) event->commit_ts <= apply->config.start_ts)
	{
		apply->stats.skipped++;
		return APPLY_SKIPPED;
	}
	apply->current_ts = event->commit_ts;
	if (event->kind == EVENT_DDL)
		return guarded(apply, take_ddl, event);
	apply_ensure_transaction(apply);
	apply->record_ts = event->commit_ts;
	status = guarded(apply, rows_take, event);
	return status;
}

ApplyStatus
apply_record_end(Apply *apply, const ApplyRecordEnd *record)
{
	MemoryContext old;

	apply_ensure_transaction(apply);
	MemoryContextReset(apply->position_context);
	old = MemoryContextSwitchTo(apply->position_context);
	apply->position.feed_id = apply->config.feed_id;
	apply->position.topic = pstrdup(record->topic);
	apply->position.partition = record->partition;
	apply->position.position = copy(record->position);
	apply->position.last_position = copy(record->last_position);
	apply->position.last_crc = record->crc;
	apply->position.last_ts = record->commit_ts;
	MemoryContextSwitchTo(old);
	apply->position_set = true;
	apply->record_ts = 0;
	apply->next_ts = Max(apply->next_ts, record->commit_ts);
	if (apply->cut_due || apply->rows_in_transaction >= CUT_ROWS ||
		apply->nrelations >= apply->max_relations)
		return APPLY_CUT;
	return APPLY_OK;
}

bool
apply_pending(Apply *apply)
{
	return apply->in_transaction;
}

/*
 * Merge the packs of tables that many applies wrote to, each in a transaction of its own.
 */
static void
merge_packs(Apply *apply, const Event *unused)
{
	HASH_SEQ_STATUS status;
	TableEntry *entry;
	List *due = NIL;
	ListCell *lc;

	apply->merge_due = false;
	if (apply->tables == NULL)
		return;
	hash_seq_init(&status, apply->tables);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->table->writes >= APPLIES_PER_MERGE)
		{
			entry->table->writes = 0;
			due = lappend_oid(due, entry->table->relid);
		}
	foreach (lc, due)
	{
		StartTransactionCommand();
		apply->engine->compact(apply->conn, lfirst_oid(lc));
		CommitTransactionCommand();
		MemoryContextSwitchTo(apply->context);
	}
	list_free(due);
}

ApplyStatus
apply_commit(Apply *apply)
{
	ApplyStatus status;

	if (!apply->in_transaction)
		return APPLY_OK;
	status = guarded(apply, commit, NULL);
	if (status == APPLY_OK && apply->merge_due)
		(void) guarded(apply, merge_packs, NULL); /* what was committed stays */
	return status;
}

const char *
apply_detail(Apply *apply)
{
	return apply->detail ? apply->detail : "";
}

void
apply_stats(Apply *apply, ApplyStats *stats)
{
	*stats = apply->stats;
	stats->applied_ts = apply->applied_ts;
	stats->memory = MemoryContextMemAllocated(apply->context, true);
}
