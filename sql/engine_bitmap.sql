-- Bitmap scans: exact and lossy, combined, rescanned, parallel, in cursors and changing statements, over
-- pending, deleted, merged and vacuumed rows; always in agreement with a sequential scan.
CREATE TABLE bm (id int, a int, b int, tags int[], doc jsonb, t text);
INSERT INTO bm SELECT g, g * 7919 % 1009, g % 100, ARRAY[g % 50, g % 37, 1000 + g % 5],
	jsonb_build_object('k', g % 30, 'l', g % 7), 'w' || g % 41 || ' x' || g % 3 FROM generate_series(1, 20000) g;
DELETE FROM bm WHERE id % 7 = 0;
UPDATE bm SET a = a + 2000, tags = tags || 77 WHERE id % 11 = 0;
CREATE INDEX bm_id ON bm (id);
CREATE INDEX bm_a ON bm (a);
CREATE INDEX bm_b ON bm USING hash (b);
CREATE INDEX bm_tags ON bm USING gin (tags);
CREATE INDEX bm_doc ON bm USING gin (doc jsonb_path_ops);
CREATE INDEX bm_t ON bm USING gin (to_tsvector('simple', t));
CREATE INDEX bm_part ON bm (b) WHERE a > 2000;
ANALYZE bm;
-- the query's answer by a sequential scan, by a bitmap scan, and whether that was one
CREATE FUNCTION by_bitmap(q text) RETURNS TABLE (seq text, same bool, is_bitmap bool) LANGUAGE plpgsql AS
$$
DECLARE
	line text;
	bitmap text;
BEGIN
	SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;
	SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = off;
	EXECUTE 'SELECT (' || q || ')::text' INTO seq;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = on;
	EXECUTE 'SELECT (' || q || ')::text' INTO bitmap;
	same := seq = bitmap;
	is_bitmap := false;
	FOR line IN EXECUTE 'EXPLAIN SELECT (' || q || ')::text' LOOP
		is_bitmap := is_bitmap OR line LIKE '%Bitmap Heap Scan%';
	END LOOP;
	RETURN NEXT;
END $$;
CREATE VIEW bm_check AS SELECT q, b.* FROM (VALUES
	('SELECT count(*) || '' '' || sum(id) FROM bm WHERE a BETWEEN 10 AND 700'),
	('SELECT count(*) || '' '' || sum(id) FROM bm WHERE a = 5'),
	('SELECT count(*) || '' '' || max(t) FROM bm WHERE a BETWEEN 20 AND 40 AND b < 50'),
	('SELECT count(*) || '' '' || sum(id) FROM bm WHERE b = 17'),
	('SELECT count(*) || '' '' || sum(id) FROM bm WHERE b = 17 OR a = 9 OR id < 100'),
	('SELECT count(*) || '' '' || sum(id) FROM bm WHERE a BETWEEN 1 AND 500 AND id BETWEEN 5000 AND 9000'),
	('SELECT count(*) || '' '' || sum(id) FROM bm WHERE b = 33 AND a > 2000'),
	('SELECT count(*) || '' '' || sum(a) FROM bm WHERE tags @> ''{5,7}'''),
	('SELECT count(*) || '' '' || sum(a) FROM bm WHERE tags && ''{49,77}'''),
	('SELECT count(*) || '' '' || sum(a) FROM bm WHERE doc @> ''{"k":3}'''),
	('SELECT count(*) || '' '' || sum(a) FROM bm WHERE to_tsvector(''simple'', t) @@ to_tsquery(''simple'', ''w7 & x1'')'),
	('SELECT array_agg(id) FROM (SELECT id FROM bm WHERE a = 700) x'),
	('SELECT count(*) || '' '' || sum(x.id) FROM (VALUES (3), (90), (700), (3000)) v(n), LATERAL (SELECT * FROM bm WHERE a = v.n OFFSET 0) x'),
	('SELECT count(*) FROM bm x JOIN bm y ON x.a = y.a WHERE x.id < 300'),
	('SELECT count(*) FROM bm WHERE id < 0')) v(q), by_bitmap(q) b;
SELECT seq, same, is_bitmap FROM bm_check;
-- lossy: some 900 blocks of 291 rows fit into 64 kB, so it takes a larger table
CREATE TABLE bl (id int, a int);
INSERT INTO bl SELECT g, (g::bigint * 7919 % 9973)::int FROM generate_series(1, 360000) g;
DELETE FROM bl WHERE id % 89 = 0 OR id BETWEEN 200000 AND 210000;
CREATE INDEX bl_a ON bl (a);
ANALYZE bl;
CREATE FUNCTION is_lossy(q text) RETURNS bool LANGUAGE plpgsql AS
$$
DECLARE
	line text;
BEGIN
	SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_seqscan = off;
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS off, TIMING off) ' || q LOOP
		IF line LIKE '%Heap Blocks: exact=% lossy=%' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$;
CREATE VIEW bl_check AS SELECT q, b.* FROM (VALUES
	('SELECT count(*) || '' '' || sum(id) FROM bl WHERE a < 200'),
	('SELECT count(*) || '' '' || sum(id) FROM bl WHERE a BETWEEN 500 AND 700 AND id % 291 < 2'),
	('SELECT count(*) || '' '' || sum(id) FROM bl WHERE a < 80 OR a > 9880')) v(q), by_bitmap(q) b;
SET work_mem = '64kB';
SELECT seq, same, is_bitmap, is_lossy(q) FROM bl_check;
BEGIN;
INSERT INTO bl SELECT g, 50 FROM generate_series(400000, 410000) g;
DELETE FROM bl WHERE a = 60 OR id < 1000;
SELECT seq, same FROM bl_check;
SAVEPOINT s;
DELETE FROM bl WHERE a BETWEEN 20 AND 30;
SELECT seq, same FROM bl_check;
ROLLBACK;
SELECT merge('bl');
SELECT seq, same FROM bl_check;
RESET work_mem;
DROP VIEW bl_check;
DROP TABLE bl;
-- pending rows and deletions, at several levels
BEGIN;
INSERT INTO bm SELECT g, 5, 17, '{5,7}', '{"k":3}', 'w7 x1' FROM generate_series(30001, 32000) g;
DELETE FROM bm WHERE b = 18 OR id BETWEEN 8000 AND 8500;
SELECT seq, same FROM bm_check;
SAVEPOINT s;
UPDATE bm SET b = 17, tags = '{49}' WHERE id % 100 = 3;
INSERT INTO bm VALUES (40000, 5, 17, '{5,7}', '{"k":3}', 'w7 x1');
SELECT bool_and(same) FROM bm_check;
SET LOCAL work_mem = '64kB';
SELECT bool_and(same) FROM bm_check;
ROLLBACK TO s;
SELECT bool_and(same) FROM bm_check;
ROLLBACK;
SELECT bool_and(same) FROM bm_check;
-- statements that change what they find
SET enable_seqscan = off; SET enable_indexscan = off;
BEGIN;
UPDATE bm SET tags = tags || 5000 WHERE tags @> '{5,7}';
UPDATE bm SET b = b + 1 WHERE tags @> '{5000}' AND a < 500;
DELETE FROM bm USING (VALUES (5), (6)) v(n) WHERE a = n;
DELETE FROM bm WHERE tags && '{12,13}' RETURNING 1 \gset
SELECT count(*), sum(a), sum(b) FROM bm;
SELECT count(*) FROM (SELECT id FROM bm WHERE tags @> '{5000}' FOR UPDATE) x;
WITH gone AS (DELETE FROM bm WHERE tags @> '{5000}' RETURNING id) SELECT count(*) FROM gone, bm WHERE bm.a = 7;
ROLLBACK;
-- a cursor keeps its rows while they change
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM bm WHERE a = 700;
FETCH 2 FROM c;
DELETE FROM bm WHERE a = 700;
INSERT INTO bm VALUES (50000, 700);
SELECT count(*) FROM bm WHERE a = 700;
FETCH ALL FROM c;
ROLLBACK;
-- a function that changes the table while the scan runs
CREATE FUNCTION bm_touch(i int) RETURNS int LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO bm VALUES (i + 100000, 700); DELETE FROM bm WHERE id = i + 1; RETURN i; END $$;
BEGIN;
SELECT count(bm_touch(id)) FROM bm WHERE a = 700;
SELECT count(*) FROM bm WHERE a = 700;
ROLLBACK;
RESET enable_seqscan; RESET enable_indexscan;
-- parallel
BEGIN;
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL min_parallel_index_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2;
SELECT bool_and(same) FROM bm_check;
SET LOCAL work_mem = '64kB';
SELECT bool_and(same) FROM bm_check;
INSERT INTO bm SELECT g, 5, 17, '{5,7}', '{"k":3}', 'w7 x1' FROM generate_series(30001, 31000) g;
SELECT bool_and(same) FROM bm_check;
ROLLBACK;
-- merged, vacuumed, indexed again
SELECT merge('bm');
SELECT bool_and(same) FROM bm_check;
VACUUM bm;
SELECT bool_and(same) FROM bm_check;
DELETE FROM bm WHERE id BETWEEN 2000 AND 12000;
VACUUM bm;
SELECT seq, same FROM bm_check;
REINDEX TABLE bm;
REINDEX TABLE CONCURRENTLY bm;
SELECT bool_and(same) FROM bm_check;
VACUUM FULL bm;
SELECT bool_and(same) FROM bm_check;
SELECT * FROM problems('bm');
DROP VIEW bm_check;
DROP TABLE bm;
