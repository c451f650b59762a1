
/* connector: the foreign data wrapper */

CREATE FUNCTION magic.magic_fdw_handler() RETURNS fdw_handler
	LANGUAGE c STRICT AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION magic.magic_fdw_handler() IS 'the functions of the foreign data wrapper magic_fdw';

CREATE FUNCTION magic.magic_fdw_validator(options text[], catalog oid) RETURNS void
	LANGUAGE c STRICT AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION magic.magic_fdw_validator(text[], oid) IS 'checks the options of servers, user mappings, foreign tables and columns of magic_fdw';

-- PostgreSQL calls both without asking for the right.
REVOKE ALL ON FUNCTION magic.magic_fdw_handler(), magic.magic_fdw_validator(text[], oid) FROM PUBLIC;

CREATE FOREIGN DATA WRAPPER magic_fdw
	HANDLER magic.magic_fdw_handler VALIDATOR magic.magic_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER magic_fdw IS 'tables of the Magic Engine as foreign tables, and the secrets of feeds';
