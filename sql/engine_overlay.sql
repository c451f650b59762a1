-- What a transaction has not written down yet, at several levels: pending rows before packs, deletions that
-- cursors and index builds must and must not see, columns added meanwhile; and borders of blocks.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE TABLE ov (id int, v int, x text);
INSERT INTO ov SELECT g, g % 7, 'x' FROM generate_series(1, 100) g;
-- rows of the outer transaction are pending, those of a later savepoint are written: bitmap, index and
-- sequential scans see both, in order
CREATE INDEX ov_v ON ov (v);
SET enable_seqscan = off; SET enable_indexscan = off;
BEGIN;
INSERT INTO ov SELECT g, g % 7, 'outer' FROM generate_series(101, 140) g;
SAVEPOINT s;
INSERT INTO ov SELECT g, g % 7, 'inner' FROM generate_series(141, 190) g;
SELECT count(*), sum(id) FROM ov WHERE v BETWEEN 1 AND 5;
SAVEPOINT s2;
INSERT INTO ov SELECT g, g % 7, 'innermost' FROM generate_series(191, 240) g;
SELECT x, count(*), sum(id) FROM ov WHERE v BETWEEN 1 AND 5 GROUP BY x ORDER BY x;
SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = off;
SELECT x, count(*), sum(id) FROM ov WHERE v BETWEEN 1 AND 5 GROUP BY x ORDER BY x;
ROLLBACK TO s;
SELECT x, count(*), sum(id) FROM ov WHERE v BETWEEN 1 AND 5 GROUP BY x ORDER BY x;
COMMIT;
RESET enable_seqscan; RESET enable_indexscan;
SELECT x, count(*) FROM ov GROUP BY x ORDER BY x;
DROP TABLE ov;
-- a cursor sees what was deleted before it was declared, not what is deleted afterwards; deletions of both are
-- pending together, of the same level and of an outer one
CREATE TABLE ov2 (id int PRIMARY KEY, v int);
INSERT INTO ov2 SELECT g, 0 FROM generate_series(1, 50) g;
SET enable_seqscan = off; SET enable_bitmapscan = off;
BEGIN;
DELETE FROM ov2 WHERE id = 1;
DECLARE c CURSOR FOR SELECT count(*), min(id) FROM ov2 WHERE v >= 0;
DELETE FROM ov2 WHERE id = 2;
DECLARE d CURSOR FOR SELECT count(*), min(id) FROM ov2 WHERE v >= 0;
DELETE FROM ov2 WHERE id = 3;
SELECT count(*), min(id) FROM ov2 WHERE v >= 0;
FETCH ALL FROM c;
FETCH ALL FROM d;
DECLARE e CURSOR FOR SELECT count(*), min(id) FROM ov2 WHERE v >= 0;
DECLARE f CURSOR FOR SELECT count(*), max(id) FROM ov2 WHERE id BETWEEN 1 AND 60;
DELETE FROM ov2 WHERE id = 4;
INSERT INTO ov2 VALUES (51, 0);
SAVEPOINT s;
FETCH ALL FROM e;
FETCH ALL FROM f;
SELECT count(*), min(id), max(id) FROM ov2 WHERE v >= 0;
ROLLBACK;
-- the same from PL/pgSQL, where nothing is written down between the statements
BEGIN;
DO $$
DECLARE
	c refcursor := 'c';
	d refcursor := 'd';
BEGIN
	DELETE FROM ov2 WHERE id = 1;
	OPEN c FOR SELECT count(*), min(id) FROM ov2 WHERE v >= 0;
	DELETE FROM ov2 WHERE id = 2;
	OPEN d FOR SELECT count(*), min(id) FROM ov2 WHERE v >= 0;
	DELETE FROM ov2 WHERE id = 3;
	INSERT INTO ov2 VALUES (51, 0);
END $$;
FETCH ALL FROM c;
FETCH ALL FROM d;
ROLLBACK;
RESET enable_seqscan; RESET enable_bitmapscan;
DROP TABLE ov2;
-- an index that is built while deletions of the outer transaction are pending
CREATE TABLE ov3 (id int, x text);
INSERT INTO ov3 VALUES (1, 'a'), (1, 'b'), (2, 'c');
CREATE INDEX ov3_x ON ov3 (x);
SET enable_seqscan = off;
BEGIN;
DELETE FROM ov3 WHERE x = 'a';
SAVEPOINT s;
CREATE UNIQUE INDEX ov3_id ON ov3 (id);
SELECT x FROM ov3 WHERE id = 1;
COMMIT;
SELECT x FROM ov3 WHERE id = 1;
SELECT * FROM problems('ov3');
RESET enable_seqscan;
DROP TABLE ov3;
-- a row is looked at, gets a column, and is looked at again in one transaction
CREATE TABLE ov4 (id int PRIMARY KEY, v int);
INSERT INTO ov4 SELECT g, 0 FROM generate_series(1, 100) g;
BEGIN;
INSERT INTO ov4 VALUES (7, 1) ON CONFLICT (id) DO UPDATE SET v = ov4.v + 1 RETURNING *;
ALTER TABLE ov4 ADD a text DEFAULT 'new', ADD b int;
INSERT INTO ov4 VALUES (7, 1), (8, 1) ON CONFLICT (id) DO UPDATE SET v = ov4.v + 1, b = length(ov4.a) RETURNING *;
ALTER TABLE ov4 DROP v;
INSERT INTO ov4 VALUES (7, 'x'), (9, 'x') ON CONFLICT (id) DO UPDATE SET b = coalesce(ov4.b, 0) + 1 RETURNING *;
COMMIT;
SELECT * FROM ov4 WHERE id BETWEEN 6 AND 10 ORDER BY id;
DROP TABLE ov4;
-- dead rows of the second of two delete blocks (16,384 rows) that one block of a pack (1,024 rows) lies in
CREATE TABLE ov5 (id int);
INSERT INTO ov5 SELECT generate_series(1, 100);
INSERT INTO ov5 SELECT generate_series(101, 20000);
DELETE FROM ov5 WHERE id BETWEEN 16386 AND 16390;
SELECT count(*), sum(id) FROM ov5;
SELECT count(*) FROM ov5 WHERE id BETWEEN 16380 AND 16400;
DELETE FROM ov5 WHERE id BETWEEN 16380 AND 16383;
SELECT count(*) FROM ov5 WHERE id BETWEEN 16370 AND 16400;
DROP TABLE ov5;
-- values whose length is about the longest that a short header holds, and about a page
CREATE TABLE ov6 (id int, x text);
INSERT INTO ov6 SELECT g, repeat(chr(65 + g % 20), g) FROM generate_series(120, 135) g;
SELECT id, length(x), x = repeat(chr(65 + id % 20), id) AS same FROM ov6 ORDER BY id;
SELECT count(*), bool_and(length(x) = id) FROM ov6;
INSERT INTO ov6 SELECT g, repeat(chr(65 + g % 20), g) FROM generate_series(8100, 8200) g;
SELECT count(*), bool_and(x = repeat(chr(65 + id % 20), id)) FROM ov6;
DROP TABLE ov6;
-- a parallel scan that is begun again for every outer row
CREATE TABLE ov7 (id int, v int);
INSERT INTO ov7 SELECT g, g % 10 FROM generate_series(1, 5000) g;
ALTER TABLE ov7 SET (parallel_workers = 2);
ANALYZE ov7;
BEGIN;
SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL enable_material = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_memoize = off;
SELECT g.n, count(*) FROM (VALUES (1), (4998), (2), (4999)) g(n) LEFT JOIN (SELECT id FROM ov7 WHERE v < 9 OFFSET 0) x ON x.id > g.n GROUP BY g.n ORDER BY g.n;
COMMIT;
DROP TABLE ov7;
