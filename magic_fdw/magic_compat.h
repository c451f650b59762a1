/*
 * magic_compat.h
 *		The one place that selects spellings between PostgreSQL majors.
 *
 * The floor is PostgreSQL 15. No other file tests PG_VERSION_NUM.
 */
#ifndef MAGIC_COMPAT_H
#define MAGIC_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "magic_fdw needs PostgreSQL 15 or later"
#endif

#endif							/* MAGIC_COMPAT_H */
