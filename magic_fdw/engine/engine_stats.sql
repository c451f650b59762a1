/* ---------------------------------------------------------------- engine: statistics */

CREATE FUNCTION magic.table_stats_of(rel oid, OUT rows bigint, OUT dead_rows bigint, OUT packs bigint,
	OUT inline_packs bigint, OUT tiny_packs bigint, OUT small_packs bigint, OUT full_packs bigint,
	OUT pack_bytes bigint, OUT deltas bigint, OUT delta_bytes bigint, OUT size_bytes bigint,
	OUT free_bytes bigint, OUT compression float8, OUT last_merge timestamptz, OUT merges bigint,
	OUT write_amplification float8, OUT row_numbers_left bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'magic_table_stats_of' LANGUAGE C STRICT PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION magic.table_stats_of(oid) IS
	'figures of one magic table, for view magic.table_stats; no row: not a magic table, not yours to see, or locked exclusively; NULLs and a warning: damaged';

CREATE FUNCTION magic.column_stats(rel regclass, OUT column_name name, OUT encoding text,
								   OUT packs bigint, OUT bytes bigint) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'magic_column_stats' LANGUAGE C STRICT PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION magic.column_stats(regclass) IS
	'bytes of each column of a magic table by encoding, and in how many packs; opens every pack; for who may read the table, pg_monitor and magic_admin; no row and a warning if the table is damaged';

-- Columns that a query does not name are not computed: `columns` alone reads pages of packs.
CREATE VIEW magic.table_stats AS
SELECT c.oid::regclass AS relation,
	s.rows,
	s.dead_rows,
	s.packs,
	s.inline_packs,
	s.tiny_packs,
	s.small_packs,
	s.full_packs,
	s.pack_bytes,
	s.deltas,
	s.delta_bytes,
	s.size_bytes,
	s.free_bytes,
	round(s.compression::numeric, 2) AS compression,
	s.last_merge,
	s.merges,
	round(s.write_amplification::numeric, 2) AS write_amplification,
	s.row_numbers_left,
	(SELECT jsonb_object_agg(e.column_name, e.encodings)
	 FROM (SELECT k.column_name, jsonb_object_agg(k.encoding, k.bytes) AS encodings
		   FROM magic.column_stats(c.oid) k GROUP BY k.column_name) e) AS columns
FROM pg_catalog.pg_class c
	JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname = 'magic'
	CROSS JOIN LATERAL magic.table_stats_of(c.oid) s
WHERE c.relkind IN ('r', 'm');
COMMENT ON VIEW magic.table_stats IS
	'every magic table that the user may read, all for pg_monitor and magic_admin: its rows, packs, bytes and merges; NULLs and a warning for a damaged one';
COMMENT ON COLUMN magic.table_stats.rows IS 'live rows';
COMMENT ON COLUMN magic.table_stats.dead_rows IS 'deleted rows that packs still hold';
COMMENT ON COLUMN magic.table_stats.packs IS 'packs of all sizes';
COMMENT ON COLUMN magic.table_stats.inline_packs IS 'of these: kept in the directory itself, up to 1 kB';
COMMENT ON COLUMN magic.table_stats.tiny_packs IS 'packs below 1,024 rows';
COMMENT ON COLUMN magic.table_stats.small_packs IS 'packs of 1,024 to 65,535 rows';
COMMENT ON COLUMN magic.table_stats.full_packs IS 'packs of 65,536 rows and more: they are not merged any further';
COMMENT ON COLUMN magic.table_stats.pack_bytes IS 'bytes of all packs, inline ones included';
COMMENT ON COLUMN magic.table_stats.deltas IS 'rows of magic.delete_delta that name dead rows of the table';
COMMENT ON COLUMN magic.table_stats.delta_bytes IS 'their bytes';
COMMENT ON COLUMN magic.table_stats.size_bytes IS 'what magic.table_size() says: file, inline packs, deltas';
COMMENT ON COLUMN magic.table_stats.free_bytes IS 'pages of the file that hold no pack and will be used again, or are given back';
COMMENT ON COLUMN magic.table_stats.compression IS
	'estimated bytes of the rows uncompressed, by the average width that ANALYZE found, divided by pack_bytes';
COMMENT ON COLUMN magic.table_stats.last_merge IS 'end of the last merge since the server started';
COMMENT ON COLUMN magic.table_stats.merges IS 'merges since the server started';
COMMENT ON COLUMN magic.table_stats.write_amplification IS
	'bytes of packs and deltas written by transactions and by merges, divided by those by transactions; since the server started';
COMMENT ON COLUMN magic.table_stats.row_numbers_left IS
	'row numbers that the table can still give out; VACUUM FULL numbers the rows anew';
COMMENT ON COLUMN magic.table_stats.columns IS 'bytes by column and encoding; opens every pack, see magic.column_stats()';
GRANT SELECT ON magic.table_stats TO PUBLIC;
