-- What only magic has: its functions, space that really comes back, and what it refuses when chosen.
SELECT amname, amtype FROM pg_am WHERE amname = 'magic';
CREATE TABLE mo (id int PRIMARY KEY, t text) USING magic;
INSERT INTO mo SELECT g, md5(g::text) FROM generate_series(1, 50000) g;
SELECT magic.table_size('mo') > 0 AS size;
SELECT magic.table_size('mo') AS full_size \gset
SELECT * FROM magic.verify('mo');
-- Space comes back by VACUUM and the compaction worker, in any order: dead rows are taken out, what is left
-- is moved down, the file is cut, each when nobody can see what the step before has left.
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE done bool;
BEGIN
	FOR i IN 1 .. 600 LOOP
		EXECUTE 'SELECT ' || condition INTO done;
		EXIT WHEN done;
		COMMIT;
		PERFORM pg_sleep(0.05);
		COMMIT;
	END LOOP;
END $$;
DELETE FROM mo WHERE id > 5000;
VACUUM mo;
VACUUM mo;
VACUUM mo;
CALL wait_until($$magic.table_size('mo') < $$ || :full_size / 5);
SELECT magic.table_size('mo') < :full_size / 5 AS shrunk;
INSERT INTO mo SELECT g, md5(g::text) FROM generate_series(5001, 50000) g;
SELECT magic.table_size('mo') < :full_size * 1.3 AS reused;
SELECT count(*), sum(id) FROM mo;
SELECT * FROM magic.verify('mo');
DELETE FROM mo;
VACUUM mo;
VACUUM mo;
CALL wait_until($$magic.table_size('mo') < $$ || :full_size / 10);
SELECT magic.table_size('mo') < :full_size / 10 AS gone;
SELECT count(*) FROM mo;
INSERT INTO mo SELECT g, md5(g::text) FROM generate_series(1, 50000) g;
SELECT magic.table_size('mo') < :full_size * 1.1 AS as_before;
SELECT * FROM magic.verify('mo');
-- a thousand small inserts, merged
CREATE TABLE ms (id int, v text) USING magic;
DO $$ BEGIN FOR i IN 1..1000 LOOP INSERT INTO ms VALUES (i, 'v' || i); COMMIT; END LOOP; END $$;
SELECT magic.compact('ms');
SELECT count(*), sum(id), count(DISTINCT v) FROM ms;
SELECT * FROM magic.verify('ms');
-- compact twice is harmless; on an empty table too
SELECT magic.compact('ms');
TRUNCATE ms;
SELECT magic.compact('ms');
SELECT * FROM magic.verify('ms');
-- not in a transaction that goes on with an older snapshot: that would see what was committed since
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT magic.compact('ms');
ROLLBACK;
-- also if its snapshot is not taken yet, in a procedure's block that catches the error, and with own rows
BEGIN;
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
INSERT INTO ms VALUES (-1, 'own');
DO $$ BEGIN PERFORM magic.compact('ms'); EXCEPTION WHEN feature_not_supported THEN RAISE NOTICE '%', SQLERRM; END $$;
SELECT * FROM ms;
COMMIT;
SELECT * FROM ms;
-- nor while rows or deletions of an outer subtransaction are pending; with what it can write itself it does
BEGIN;
INSERT INTO ms VALUES (1, 'outer');
SAVEPOINT s;
INSERT INTO ms VALUES (2, 'inner');
SELECT magic.compact('ms');
ROLLBACK TO s;
RELEASE s;
SELECT * FROM ms ORDER BY id;
SELECT magic.compact('ms');
INSERT INTO ms VALUES (4, 'outer');
SAVEPOINT s2;
SELECT magic.compact('ms');
ROLLBACK TO s2;
INSERT INTO ms VALUES (3, 'outer');
RELEASE s2;
SELECT magic.compact('ms');
SELECT * FROM ms ORDER BY id;
SELECT * FROM magic.verify('ms');
COMMIT;
SELECT magic.compact('ms');
SELECT * FROM ms ORDER BY id;
SELECT * FROM magic.verify('ms');
-- nor in a read-only one
BEGIN READ ONLY;
SELECT magic.compact('ms');
ROLLBACK;
-- not a magic table
CREATE TABLE mh (id int) USING heap;
SELECT magic.compact('mh');
SELECT * FROM magic.verify('mh');
SELECT magic.table_size('mh');
-- refused when chosen
CREATE UNLOGGED TABLE mu (id int) USING magic;
ALTER TABLE mo SET UNLOGGED;
CREATE INDEX ON mo USING brin (id);
CREATE PUBLICATION mp FOR TABLE mo;
-- metadata is not to be rewritten or written by hand
VACUUM FULL magic.pack;
TRUNCATE magic.pack;
DELETE FROM magic.pack;
WITH gone AS (DELETE FROM magic.delete_delta RETURNING 1) SELECT count(*) FROM gone;
UPDATE magic.pack SET rows = 0;
INSERT INTO magic.free_extent SELECT storage, block, pages FROM magic.pack;
MERGE INTO magic.pack USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE;
COPY magic.free_extent FROM '/dev/null';
EXPLAIN (COSTS OFF) DELETE FROM magic.pack WHERE storage = 1;
CREATE ROLE regress_engine_reader;
GRANT SELECT ON mo TO regress_engine_reader;
GRANT USAGE ON SCHEMA magic TO regress_engine_reader;
SET ROLE regress_engine_reader;
SELECT count(*) FROM mo;
SELECT count(*) FROM magic.pack;
SELECT count(*) FROM magic.delete_delta;
DELETE FROM magic.pack;
SELECT magic.compact('mo');
RESET ROLE;
REVOKE USAGE ON SCHEMA magic FROM regress_engine_reader;
DROP TABLE mo, ms, mh;
DROP ROLE regress_engine_reader;
-- the tests below damage it on purpose
SET allow_system_table_mods = on;
-- a VACUUM that has cut the file and then failed leaves free extents that packs may cover later: not used
CREATE TABLE stale (id int, v text) USING magic;
INSERT INTO stale SELECT i, md5(i::text) || md5((-i)::text) FROM generate_series(1, 20000) i;
INSERT INTO magic.free_extent SELECT storage, block, pages FROM magic.pack ORDER BY xmin::text::bigint DESC LIMIT 1;
INSERT INTO stale SELECT i, md5(i::text) FROM generate_series(20001, 25000) i;
SELECT count(*), sum(id), count(DISTINCT v) FROM stale;
SELECT * FROM magic.verify('stale');
DROP TABLE stale;
-- each damage is a row of magic.verify(), also what cannot even be read, and hides no other
CREATE TABLE broken (id int PRIMARY KEY, v text) USING magic;
INSERT INTO broken SELECT i, md5(i::text) FROM generate_series(1, 3000) i;
INSERT INTO broken SELECT i, 'v' FROM generate_series(3001, 3005) i;
DELETE FROM broken WHERE id = 3003;
SELECT storage FROM magic.pack ORDER BY xmin::text::bigint DESC LIMIT 1 \gset
CREATE VIEW found AS SELECT DISTINCT part, split_part(problem, ':', 1) AS problem FROM magic.verify('broken') ORDER BY 1, 2;
TABLE found;
BEGIN;
UPDATE magic.pack SET span = span + 1 WHERE storage = :storage AND pages > 0;
TABLE found;
ROLLBACK;
BEGIN;
INSERT INTO magic.pack SELECT * FROM magic.pack WHERE storage = :storage AND pages > 0;
UPDATE magic.delete_delta SET entries = '\xffffff' WHERE storage = :storage;
TABLE found;
ROLLBACK;
BEGIN;
UPDATE magic.pack SET length = length - 1 WHERE storage = :storage AND pages > 0;
UPDATE magic.delete_delta SET block = block + 7 WHERE storage = :storage;
TABLE found;
ROLLBACK;
BEGIN;
UPDATE magic.pack SET rows = rows - 1 WHERE storage = :storage AND pages > 0;
UPDATE magic.pack SET first_row = first_row + 100000 WHERE storage = :storage AND pages = 0;
TABLE found;
ROLLBACK;
UPDATE pg_index SET indisready = false WHERE indexrelid = 'broken_pkey'::regclass;
INSERT INTO broken VALUES (4000, 'not in the index');
UPDATE pg_index SET indisready = true WHERE indexrelid = 'broken_pkey'::regclass;
TABLE found;
DROP VIEW found;
DROP TABLE broken;
