/*
 * magic_compat.h
 *		The one place that selects spellings between PostgreSQL majors.
 *
 * The floor is PostgreSQL 15. No other file tests PG_VERSION_NUM. Where a newer major has only renamed a
 * thing the code uses the new name and this header gives it to the older majors; where the parameters
 * differ the name starts with compat_. What is used of the server's headers is named in macros only, so
 * that including this header costs nothing; who uses a macro includes the server's header.
 */
#ifndef MAGIC_COMPAT_H
#define MAGIC_COMPAT_H

#include "postgres.h"

#include "fmgr.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#error "magic_fdw needs PostgreSQL 15 or later"
#endif

/*
 * From 16 on PG_FUNCTION_INFO_V1 exports the function itself too. A file that defines SQL-callable
 * functions includes this header, or writes PGDLLEXPORT before them.
 */
#if PG_VERSION_NUM < 160000
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname)                                                              \
	extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS);                                           \
	extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_, funcname)(void);                \
	const Pg_finfo_record *CppConcat(pg_finfo_, funcname)(void)                                    \
	{                                                                                              \
		static const Pg_finfo_record my_finfo = {1};                                               \
		return &my_finfo;                                                                          \
	}                                                                                              \
	extern int no_such_variable
#endif

/* ---------------------------------------------------------------- 16: names of relation files */

#if PG_VERSION_NUM < 160000
#define RelFileLocator RelFileNode
#define RelFileLocatorEquals RelFileNodeEquals
#define rd_locator rd_node
#define dbOid dbNode
#define relNumber relNode
#define relation_set_new_filelocator relation_set_new_filenode
typedef PGAlignedBlock PGIOAlignedBlock;
#endif

/* ---------------------------------------------------------------- 16: updates and indexes */

#if PG_VERSION_NUM < 160000
typedef bool TU_UpdateIndexes;

#define TU_None false
#define TU_All true
#define compat_ExecInsertIndexTuples(result, slot, estate, update, no_dup_err, conflict, arbiters) \
	ExecInsertIndexTuples(result, slot, estate, update, no_dup_err, conflict, arbiters)
#define compat_tuplesort_getdatum(sort, forward, value, isnull)                                    \
	tuplesort_getdatum(sort, forward, value, isnull, NULL)
#else
#define compat_ExecInsertIndexTuples(result, slot, estate, update, no_dup_err, conflict, arbiters) \
	ExecInsertIndexTuples(result, slot, estate, update, no_dup_err, conflict, arbiters, false)
#define compat_tuplesort_getdatum(sort, forward, value, isnull)                                    \
	tuplesort_getdatum(sort, forward, true, value, isnull, NULL)
#endif

/* ---------------------------------------------------------------- 16: statistics */

/* Counts an update whose new version is not on the old one's page. */
#if PG_VERSION_NUM < 160000
#define compat_pgstat_count_update(rel) pgstat_count_heap_update(rel, false)
#define compat_live_tuples(stats) ((stats)->n_live_tuples)
#define compat_pgstat_count(status, name) ((status)->t_counts.t_##name)
#else
#define compat_pgstat_count_update(rel) pgstat_count_heap_update(rel, false, true)
#define compat_live_tuples(stats) ((stats)->live_tuples)
#define compat_pgstat_count(status, name) ((status)->counts.name)
#endif

/* ---------------------------------------------------------------- 17: a column's statistics target */

/* Of a tuple descriptor's attribute; -1: the default. From 17 on descriptors do not hold it. */
#if PG_VERSION_NUM < 170000
#define compat_statistics_target(att) ((att)->attstattarget)
#else
#define compat_statistics_target(att) (-1)
#endif

/* ---------------------------------------------------------------- 16: ownership */

/* The class is named literally. */
#if PG_VERSION_NUM < 160000
#define object_ownercheck(class, object, role) compat_ownercheck_##class(object, role)
#define compat_ownercheck_RelationRelationId(object, role) pg_class_ownercheck(object, role)
#define compat_ownercheck_NamespaceRelationId(object, role) pg_namespace_ownercheck(object, role)
#define compat_ownercheck_DatabaseRelationId(object, role) pg_database_ownercheck(object, role)
#define compat_ownercheck_ExtensionRelationId(object, role) pg_extension_ownercheck(object, role)
#endif

/* ---------------------------------------------------------------- 16: btree's WAL record of a reused page */

/* All of the record; `horizon` is the newest transaction id that is removed. */
#if PG_VERSION_NUM < 160000
#define compat_fill_reuse_page(record, rel, page, horizon)                                         \
	((record)->node = (rel)->rd_node, (record)->block = (page),                                    \
	 (record)->latestRemovedFullXid = (horizon))
#else
#define compat_fill_reuse_page(record, rel, page, horizon)                                         \
	((record)->locator = (rel)->rd_locator, (record)->block = (page),                              \
	 (record)->snapshotConflictHorizon = (horizon),                                                \
	 (record)->isCatalogRel = RelationIsAccessibleInLogicalDecoding(rel))
#endif

/* ---------------------------------------------------------------- 16: what a query asks permissions for */

/*
 * Until 15 it stands in the range table entries, from 16 on in a list beside the range table.
 *
 * compat_perminfo(list, rte) is the entry for a relation, or NULL; 15 ignores `list`.
 * COMPAT_PERMINFOS_PARAM and COMPAT_PERMINFOS_ARG, comma included, pass the list, called perminfos, to
 * and from ExecutorCheckPerms_hook.
 */
#if PG_VERSION_NUM < 160000
#define RTEPermissionInfo RangeTblEntry
#define compat_perminfo(list, rte) ((rte)->rtekind == RTE_RELATION ? (rte) : NULL)
#define COMPAT_PERMINFOS_PARAM
#define COMPAT_PERMINFOS_ARG
#define compat_ExecCheckPermissions(stmt) ExecCheckRTPerms((stmt)->rtable, true)
#define compat_ExecInitRangeTable(estate, rte) ExecInitRangeTable(estate, list_make1(rte))
#else
#define compat_perminfo(list, rte)                                                                 \
	((rte)->rtekind == RTE_RELATION && (rte)->perminfoindex != 0 ? getRTEPermissionInfo(list, rte) \
																 : NULL)
#define COMPAT_PERMINFOS_PARAM List *perminfos,
#define COMPAT_PERMINFOS_ARG perminfos,
#define compat_ExecCheckPermissions(stmt)                                                          \
	ExecCheckPermissions((stmt)->rtable, (stmt)->permInfos, true)
#define compat_ExecInitRangeTable(estate, rte)                                                     \
	do                                                                                             \
	{                                                                                              \
		List *compat_list = NIL;                                                                   \
                                                                                                   \
		(void) addRTEPermissionInfo(&compat_list, rte);                                            \
		ExecInitRangeTable(estate, list_make1(rte), compat_list);                                  \
	} while (0)
#endif

/*
 * The user, if not the current one, whose rights count: for a relation that is planned; for a foreign
 * scan or direct modification of `entry`; for a foreign table that rows go to by way of `entry`.
 */
#if PG_VERSION_NUM < 160000
#define compat_plan_user(root, rel) (planner_rt_fetch((rel)->relid, root)->checkAsUser)
#define compat_scan_user(plan, entry) ((entry)->checkAsUser)
#define compat_result_user(estate, result, entry) ((entry)->checkAsUser)
#else
#define compat_plan_user(root, rel) ((rel)->userid)
#define compat_scan_user(plan, entry) ((plan)->checkAsUser)
#define compat_result_user(estate, result, entry) ExecGetResultRelCheckAsUser(result, estate)
#endif

/* ---------------------------------------------------------------- 17: paths of foreign scans */

#if PG_VERSION_NUM < 170000
#define compat_create_foreignscan_path(root, rel, rows, startup, total, pathkeys, outer, private)  \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, pathkeys, outer, NULL, private)
#define compat_create_foreign_join_path(root, rel, rows, startup, total, pathkeys, outer, private) \
	create_foreign_join_path(root, rel, NULL, rows, startup, total, pathkeys, outer, NULL, private)
#define compat_create_foreign_upper_path(root, rel, target, rows, startup, total, pathkeys,        \
										 private)                                                  \
	create_foreign_upper_path(root, rel, target, rows, startup, total, pathkeys, NULL, private)
#else
#define compat_create_foreignscan_path(root, rel, rows, startup, total, pathkeys, outer, private)  \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, pathkeys, outer, NULL, NIL,     \
							private)
#define compat_create_foreign_join_path(root, rel, rows, startup, total, pathkeys, outer, private) \
	create_foreign_join_path(root, rel, NULL, rows, startup, total, pathkeys, outer, NULL, NIL,    \
							 private)
#define compat_create_foreign_upper_path(root, rel, target, rows, startup, total, pathkeys,        \
										 private)                                                  \
	create_foreign_upper_path(root, rel, target, rows, startup, total, pathkeys, NULL, NIL, private)
#endif

/* ---------------------------------------------------------------- 17: processes and locks */

/*
 * Until 16 a virtual transaction id names a session by its backend id, which is not the index of its
 * PGPROC; from 17 on it is.
 */
#if PG_VERSION_NUM < 170000
#define procNumber backendId
#define INVALID_PROC_NUMBER InvalidBackendId
#define ProcNumberGetProc(number) BackendIdGetProc(number)
#define ProcNumberForTempRelations() BackendIdForTempRelations()
#define compat_my_proc_index() (MyProc->pgprocno)
#define compat_proc_lxid(proc) ((proc)->lxid)
#define compat_LockHeldByMe(tag, mode) LockHeldByMe(tag, mode)
#define TransamVariables ShmemVariableCache
#else
#define compat_my_proc_index() MyProcNumber
#define compat_proc_lxid(proc) ((proc)->vxid.lxid)
#define compat_LockHeldByMe(tag, mode) LockHeldByMe(tag, mode, false)
#endif

/* ---------------------------------------------------------------- 17: slots */

/* From 17 on a slot says itself whether the current transaction made its row; until 16 xmin did. */
#if PG_VERSION_NUM < 170000
#define COMPAT_SLOT_IS_CURRENT(callback)
#else
#define COMPAT_SLOT_IS_CURRENT(callback) .is_current_xact_tuple = callback,
#endif

/* ---------------------------------------------------------------- 17: ANALYZE */

/*
 * Defines the callback scan_analyze_next_block. `prepare(scan, block)` says whether the block has rows
 * to sample. Until 16 the caller chooses the block and passes over one without rows; from 17 on the
 * blocks come out of a stream and false ends the sample. The stream's blocks are not read.
 */
#if PG_VERSION_NUM < 170000
#define COMPAT_ANALYZE_NEXT_BLOCK(name, prepare)                                                   \
	static bool name(TableScanDesc scan, BlockNumber block, BufferAccessStrategy strategy)         \
	{                                                                                              \
		return prepare(scan, block);                                                               \
	}                                                                                              \
	extern int no_such_variable
#else
#define COMPAT_ANALYZE_NEXT_BLOCK(name, prepare)                                                   \
	static bool name(TableScanDesc scan, ReadStream *stream)                                       \
	{                                                                                              \
		BufferAccessStrategy strategy;                                                             \
		BlockNumber block;                                                                         \
                                                                                                   \
		while (BlockNumberIsValid(block = read_stream_next_block(stream, &strategy)))              \
			if (prepare(scan, block))                                                              \
				return true;                                                                       \
		return false;                                                                              \
	}                                                                                              \
	extern int no_such_variable
#endif

#endif /* MAGIC_COMPAT_H */
