/*
 * magic_compat.h
 *		The one place that selects spellings between PostgreSQL majors.
 *
 * The floor is PostgreSQL 15. No other file tests PG_VERSION_NUM.
 */
#ifndef MAGIC_COMPAT_H
#define MAGIC_COMPAT_H

#include "postgres.h"

#include "fmgr.h"

#if PG_VERSION_NUM < 150000
#error "magic_fdw needs PostgreSQL 15 or later"
#endif

/*
 * From 16 on PG_FUNCTION_INFO_V1 exports the function itself too. A file that defines SQL-callable
 * functions includes this header, or writes PGDLLEXPORT before them.
 */
#if PG_VERSION_NUM < 160000
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record * CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable
#endif

#endif							/* MAGIC_COMPAT_H */
