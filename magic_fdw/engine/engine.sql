/* ---------------------------------------------------------------- engine */

-- The engine's metadata. Rows are inserted and deleted, never updated: PostgreSQL's own visibility rules
-- for these rows are the visibility rules of the packs and deletions that they name.
CREATE TABLE magic.pack (
	storage bigint NOT NULL,
	first_row bigint NOT NULL,
	span bigint NOT NULL,
	rows bigint NOT NULL,
	length bigint NOT NULL,
	block bigint NOT NULL,
	pages bigint NOT NULL,
	data bytea
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
		autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
		autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
		autovacuum_vacuum_cost_delay = 0);
ALTER TABLE magic.pack ALTER COLUMN data SET STORAGE PLAIN;
ALTER TABLE magic.pack REPLICA IDENTITY NOTHING;
CREATE INDEX pack_idx ON magic.pack (storage, first_row);
COMMENT ON TABLE magic.pack IS 'directory of the magic engine: one row for each pack of each table';

CREATE TABLE magic.delete_delta (
	storage bigint NOT NULL,
	block bigint NOT NULL,
	entries bytea NOT NULL
) WITH (fillfactor = 100, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
		autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
		autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
		autovacuum_vacuum_cost_delay = 0);
ALTER TABLE magic.delete_delta ALTER COLUMN entries SET STORAGE PLAIN;
ALTER TABLE magic.delete_delta REPLICA IDENTITY NOTHING;
CREATE INDEX delete_delta_idx ON magic.delete_delta (storage, block);
COMMENT ON TABLE magic.delete_delta IS
	'dead rows of the magic engine: for each block of 16,384 row numbers, what one command deleted';

CREATE TABLE magic.free_extent (
	storage bigint NOT NULL,
	block bigint NOT NULL,
	pages bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
		autovacuum_vacuum_cost_delay = 0);
ALTER TABLE magic.free_extent REPLICA IDENTITY NOTHING;
CREATE INDEX free_extent_idx ON magic.free_extent (storage);
COMMENT ON TABLE magic.free_extent IS
	'pages of magic tables that may be reused once the row''s transaction is older than every snapshot';

-- Packs hold users' data: nobody but the owner reads them.
REVOKE ALL ON magic.pack, magic.delete_delta, magic.free_extent FROM PUBLIC;

CREATE FUNCTION magic.tableam_handler(internal) RETURNS table_am_handler
AS 'MODULE_PATHNAME', 'magic_tableam_handler' LANGUAGE C STRICT;
COMMENT ON FUNCTION magic.tableam_handler(internal) IS 'handler of the access method magic';
REVOKE ALL ON FUNCTION magic.tableam_handler(internal) FROM PUBLIC;

CREATE ACCESS METHOD magic TYPE TABLE HANDLER magic.tableam_handler;
COMMENT ON ACCESS METHOD magic IS 'columnar tables with MVCC, indexes and row locks';

CREATE FUNCTION magic.compact(rel regclass) RETURNS void
AS 'MODULE_PATHNAME', 'magic_compact' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION magic.compact(regclass) IS
	'merges neighbouring packs of a magic table and folds rows that nobody can see any more; for its owner';

CREATE FUNCTION magic.verify(rel regclass, OUT part text, OUT block bigint, OUT row_number bigint,
							 OUT problem text) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'magic_verify' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION magic.verify(regclass) IS
	'checks directory, packs, deletions and indexes of a magic table; no rows: healthy; for its owner';

-- For everybody: it tells of the caller's own session only.
CREATE FUNCTION magic.pack_cache(OUT packs bigint, OUT bytes bigint, OUT opened bigint, OUT reused bigint,
								 OUT decompressed bigint)
AS 'MODULE_PATHNAME', 'magic_pack_cache' LANGUAGE C STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION magic.pack_cache() IS
	'opened packs that this session keeps for lookups (magic.pack_cache_size); packs opened and reused, pieces of text decompressed since it began';

CREATE FUNCTION magic.table_size(rel regclass) RETURNS bigint
AS 'MODULE_PATHNAME', 'magic_table_size' LANGUAGE C STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION magic.table_size(regclass) IS
	'bytes of a magic table: its file, inline packs and deletions, without indexes';
