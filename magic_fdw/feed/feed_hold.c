/*
 * feed_hold.c
 *		Keeping workers away from what a backend is about to change or drop.
 *
 * A hold is a line in shared memory: it names the holder's process and what it covers. Workers that
 * are covered leave at their next safe point, nothing covered is started, and the holder waits until
 * all are gone. A hold ends with the holder's transaction, however that ends.
 *
 * Utility commands that need it: DROP DATABASE, ALTER DATABASE RENAME and SET TABLESPACE, and CREATE
 * DATABASE for its template (core waits five seconds for other sessions, then fails), and DROP
 * EXTENSION, DROP SCHEMA magic and DROP OWNED (which would wait for the locks of a running apply, and
 * leave a worker without tables).
 */
#include "feed/feed_internal.h"
#include "engine/compaction.h"
#include "magic_compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* A worker that is still there after this long is terminated like any backend. */
#define HOLD_PATIENCE_MS 4000

static ProcessUtility_hook_type previous_process_utility = NULL;
static bool holding = false;

bool
feed_is_held(Oid database, int32 feed_id)
{
	FeedShared *shared = feed_shared();
	bool held = false;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < FEED_MAX_HOLDS && !held; i++)
	{
		FeedHold *hold = &shared->holds[i];

		held = hold->holder != 0 && hold->database == database &&
			   (hold->feed_id == 0 || hold->feed_id == feed_id);
	}
	LWLockRelease(&shared->lock);
	return held;
}

/* Wakes what the hold covers and says whether something is still there. */
static bool
still_busy(Oid database, int32 feed_id, bool terminate)
{
	FeedShared *shared = feed_shared();
	bool busy = false;

	LWLockAcquire(&shared->lock, LW_SHARED);
	if (feed_id == 0 && shared->scanner_database == database)
		busy = true;
	for (int i = 0; i < FEED_MAX_SLOTS; i++)
	{
		FeedSlot *slot = &shared->slots[i];

		if (!slot->in_use || slot->database != database ||
			(feed_id != 0 && slot->feed_id != feed_id))
			continue;
		LWLockAcquire(&slot->lock, LW_SHARED);
		if (slot->pid != 0)
		{
			busy = true;
			if (slot->latch)
				SetLatch(slot->latch);
			if (terminate)
				kill(slot->pid, SIGTERM);
		}
		LWLockRelease(&slot->lock);
	}
	LWLockRelease(&shared->lock);
	if (feed_id == 0)
		busy |= compaction_ask_to_leave(database, terminate);
	return busy;
}

/*
 * Keeps the worker of one feed (feed_id 0: everything of the database) away until the end of the
 * transaction, and waits until it has gone.
 */
void
feed_hold(Oid database, int32 feed_id)
{
	FeedShared *shared = feed_shared();
	TimestampTz start = GetCurrentTimestamp();
	bool terminated = false;
	int free_line = -1;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < FEED_MAX_HOLDS && free_line < 0; i++)
		if (shared->holds[i].holder == 0)
			free_line = i;
	if (free_line >= 0)
	{
		shared->holds[free_line].holder = MyProcPid;
		shared->holds[free_line].database = database;
		shared->holds[free_line].feed_id = feed_id;
		holding = true;
	}
	LWLockRelease(&shared->lock);
	if (free_line < 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many sessions are stopping feed workers at the same time"),
						errhint("Try again.")));

	ConditionVariablePrepareToSleep(&shared->quiet);
	for (;;)
	{
		bool late = TimestampDifferenceExceeds(start, GetCurrentTimestamp(), HOLD_PATIENCE_MS);

		CHECK_FOR_INTERRUPTS();
		if (!still_busy(database, feed_id, late && !terminated))
			break;
		terminated |= late;
		ConditionVariableTimedSleep(&shared->quiet, 100, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* At transaction end: drops this backend's holds and lets the launcher look again. */
void
feed_release_holds(void)
{
	FeedShared *shared = feed_shared();

	if (!holding)
		return;
	holding = false;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < FEED_MAX_HOLDS; i++)
		if (shared->holds[i].holder == MyProcPid)
			shared->holds[i].holder = 0;
	LWLockRelease(&shared->lock);
	feed_request_scan(InvalidOid);
}

/* `database`, if the user owns it: else the statement will fail, and must not stop anything before. */
static Oid
own_database(Oid database)
{
	if (!OidIsValid(database) || !object_ownercheck(DatabaseRelationId, database, GetUserId()))
		return InvalidOid;
	return database;
}

/* The same for a database that is to be copied: whoever may create databases may copy a template. */
static Oid
database_to_copy(Oid database)
{
	HeapTuple role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool allowed = false;

	if (HeapTupleIsValid(role))
	{
		Form_pg_authid form = (Form_pg_authid) GETSTRUCT(role);

		allowed = form->rolcreatedb || form->rolsuper;
		ReleaseSysCache(role);
	}
	return allowed ? database : InvalidOid;
}

/* Does the role own the extension here? */
static bool
owns_extension(Oid role)
{
	Oid extension = get_extension_oid("magic_fdw", true);

	return OidIsValid(extension) && object_ownercheck(ExtensionRelationId, extension, role);
}

/* May the user drop what these roles own, and is the extension among it? */
static bool
drops_extension(const DropOwnedStmt *statement)
{
	ListCell *cell;

	foreach (cell, statement->roles)
	{
		Oid role = get_rolespec_oid(lfirst(cell), true);

		if (OidIsValid(role) && owns_extension(role) && has_privs_of_role(GetUserId(), role))
			return true;
	}
	return false;
}

/*
 * The database whose workers a utility command needs away, InvalidOid if none. A command that the user has
 * no right to needs none.
 */
static Oid
database_to_quiet(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return own_database(get_database_oid(((DropdbStmt *) statement)->dbname, true));
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return own_database(get_database_oid(((RenameStmt *) statement)->subname, true));
			break;
		case T_AlterDatabaseStmt:
		{
			ListCell *cell;

			foreach (cell, ((AlterDatabaseStmt *) statement)->options)
				if (strcmp(lfirst_node(DefElem, cell)->defname, "tablespace") == 0)
					return own_database(
						get_database_oid(((AlterDatabaseStmt *) statement)->dbname, true));
			break;
		}
		case T_CreatedbStmt:
		{
			const char *source = "template1";
			ListCell *cell;

			foreach (cell, ((CreatedbStmt *) statement)->options)
			{
				DefElem *option = lfirst_node(DefElem, cell);

				if (strcmp(option->defname, "template") == 0 && option->arg)
					source = strVal(option->arg);
			}
			return database_to_copy(get_database_oid(source, true));
		}
		case T_DropStmt:
		{
			DropStmt *drop = (DropStmt *) statement;
			const char *name = drop->removeType == OBJECT_EXTENSION ? "magic_fdw"
							   : drop->removeType == OBJECT_SCHEMA	? "magic"
																	: NULL;
			ListCell *cell;

			if (name == NULL || !owns_extension(GetUserId()))
				break;
			foreach (cell, drop->objects)
				if (strcmp(strVal(lfirst(cell)), name) == 0)
					return MyDatabaseId;
			break;
		}
		case T_DropOwnedStmt:
			if (drops_extension((DropOwnedStmt *) statement))
				return MyDatabaseId;
			break;
		default:
			break;
	}
	return InvalidOid;
}

static void
feed_process_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
					 ProcessUtilityContext context, ParamListInfo params,
					 QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	Oid database = database_to_quiet(pstmt->utilityStmt);

	if (OidIsValid(database) && feed_shared() != NULL)
		feed_hold(database, 0);
	if (previous_process_utility)
		previous_process_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest,
								 qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest,
								qc);
}

void
feed_hold_init(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = feed_process_utility;
}
