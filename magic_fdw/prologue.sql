/* magic_fdw--1.0.0.sql: joined from the parts beside each subsystem's code. */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION magic_fdw" to load this file. \quit

-- Functions of this script and the library's statements trust what stands in schema magic.
DO $$
BEGIN
	IF NOT (SELECT rolsuper FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r
				ON r.oid OPERATOR(pg_catalog.=) n.nspowner WHERE nspname OPERATOR(pg_catalog.=) 'magic')
	   OR EXISTS (SELECT FROM pg_catalog.pg_depend
				  WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
					AND refobjid OPERATOR(pg_catalog.=) 'magic'::pg_catalog.regnamespace
					AND classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass)
	THEN
		RAISE EXCEPTION 'schema "magic" exists and is not empty, or its owner is no superuser'
			USING ERRCODE = 'duplicate_schema',
				HINT = 'Drop or rename it: the extension creates a schema of its own.';
	END IF;
END
$$;

-- The tables of the extension are heap tables, whatever the server's default is; set until the script ends.
SET LOCAL default_table_access_method = heap;
