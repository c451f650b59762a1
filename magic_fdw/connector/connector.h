/*
 * connector.h
 *		The foreign data wrapper magic_fdw: what its files share.
 *
 *	option.c	options of servers, user mappings, tables and columns; the validator
 *	base.c		the relation behind a foreign table; parse, plan and run a query on it
 *	shippable.c	which expressions mean the same on the other side, and why not
 *	deparse.c	planner trees to SQL
 *	plan.c		sizes, paths and plans of scans
 *	scan.c		execution of scans, EXPLAIN
 *	modify.c	INSERT, UPDATE, DELETE, TRUNCATE
 *	import.c	IMPORT FOREIGN SCHEMA, ANALYZE
 */
#ifndef CONNECTOR_H
#define CONNECTOR_H

#include "foreign/fdwapi.h"
#include "foreign/foreign.h"

/* What a server stands for. */
typedef enum ServerKind
{
	SERVER_MAGIC_LOCAL,			/* engine 'magic' in this database: in process */
	SERVER_KAFKA_SOURCE			/* source 'kafka': secrets of a feed, holds no tables */
} ServerKind;

/* Checks a server's whole option list and says what it stands for; raises what is wrong. */
extern ServerKind connector_server_kind(List *options);

/* Raises unless the server holds tables that can be queried in process. */
extern void connector_require_engine(ForeignServer *server);

/* The value of an option in a list of DefElem, or NULL. */
extern const char *connector_option(List *options, const char *name);

/* A boolean or positive integer option of the table, else of its server, else the default. */
extern bool connector_bool_option(Oid foreigntableid, const char *name, bool default_value);
extern int connector_int_option(Oid foreigntableid, const char *name, int default_value);

#endif							/* CONNECTOR_H */
