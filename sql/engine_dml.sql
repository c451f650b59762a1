-- INSERT, UPDATE, DELETE, RETURNING, ON CONFLICT, MERGE, COPY: also on one's own changes of the same
-- transaction and the same statement.
CREATE TABLE dml (id int PRIMARY KEY, v int, t text DEFAULT 'def', g int GENERATED ALWAYS AS (v * 2) STORED);
INSERT INTO dml (id, v) VALUES (1, 10), (2, 20), (3, 30) RETURNING *;
INSERT INTO dml (id, v, t) SELECT g, g * 10, 'row ' || g FROM generate_series(4, 10) g;
UPDATE dml SET v = v + 1 WHERE id <= 3 RETURNING id, v, g;
UPDATE dml SET id = id + 100 WHERE id = 10 RETURNING *;
DELETE FROM dml WHERE id IN (4, 5) RETURNING *;
SELECT * FROM dml ORDER BY id;
-- a statement does not see its own rows
INSERT INTO dml (id, v) SELECT id + 1000, v FROM dml;
SELECT count(*), sum(v), sum(g) FROM dml;
UPDATE dml SET id = id + 1 WHERE id >= 1000;
-- keys that collide within one statement fail as in heap, and nothing stays
UPDATE dml SET id = 1 WHERE id = 2;
INSERT INTO dml (id, v) VALUES (500, 1), (501, 1), (500, 2);
SELECT count(*) FROM dml WHERE id IN (500, 501);
-- the same row several times in one transaction
BEGIN;
INSERT INTO dml (id, v) VALUES (50, 0);
UPDATE dml SET v = v + 1 WHERE id = 50;
UPDATE dml SET v = v + 1 WHERE id = 50 RETURNING v;
DELETE FROM dml WHERE id = 50 RETURNING v;
-- what RETURNING shows of a new version; xmax tells an upsert's updated rows from its inserted ones
INSERT INTO dml (id, v) VALUES (60, 1) RETURNING xmin = pg_current_xact_id()::xid AS xmin, xmax = 0 AS inserted;
UPDATE dml SET v = 2 WHERE id = 60 RETURNING xmin = pg_current_xact_id()::xid AS xmin, xmax = 0 AS xmax_is_0;
INSERT INTO dml (id, v) VALUES (60, 3), (61, 3) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v
	RETURNING id, v, xmin = pg_current_xact_id()::xid AS xmin, xmax = 0 AS inserted;
DELETE FROM dml WHERE id IN (60, 61) RETURNING id, xmax = pg_current_xact_id()::xid AS xmax;
INSERT INTO dml (id, v) VALUES (50, 5);
UPDATE dml SET v = 6 WHERE id = 50;
SELECT id, v FROM dml WHERE id = 50;
COMMIT;
SELECT id, v FROM dml WHERE id = 50;
-- join updates touch a row once
UPDATE dml SET v = x.v FROM (VALUES (1, 7), (1, 7)) x(id, v) WHERE dml.id = x.id RETURNING dml.id, dml.v;
WITH d AS (DELETE FROM dml USING (VALUES (1), (1), (2)) x(id) WHERE dml.id = x.id RETURNING dml.id) SELECT id FROM d ORDER BY id;
-- data-modifying CTEs see the snapshot of the statement
WITH d AS (DELETE FROM dml WHERE id = 3 RETURNING *), i AS (INSERT INTO dml (id, v) SELECT id + 600, v FROM d RETURNING *)
SELECT (SELECT count(*) FROM dml WHERE id = 3) AS still, i.id, i.v FROM i;
SELECT id FROM dml WHERE id IN (3, 603);
WITH a AS (UPDATE dml SET v = 1 WHERE id = 6 RETURNING id), b AS (UPDATE dml SET v = 2 WHERE id = 6 RETURNING id) SELECT count(*) FROM a, b;
-- ON CONFLICT
INSERT INTO dml (id, v) VALUES (6, 60), (700, 70) ON CONFLICT DO NOTHING RETURNING id, v;
INSERT INTO dml (id, v) VALUES (6, 61), (701, 71) ON CONFLICT (id) DO UPDATE SET v = excluded.v + 1000, t = dml.t || '!' RETURNING id, v, t;
INSERT INTO dml (id, v) VALUES (6, 62) ON CONFLICT (id) DO UPDATE SET v = 0 WHERE dml.v < 0 RETURNING *;
INSERT INTO dml (id, v) VALUES (702, 1), (702, 2) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
INSERT INTO dml (id, v) VALUES (702, 1), (702, 2) ON CONFLICT DO NOTHING;
BEGIN;
INSERT INTO dml (id, v) VALUES (703, 1);
INSERT INTO dml (id, v) VALUES (703, 2) ON CONFLICT (id) DO UPDATE SET v = dml.v + excluded.v RETURNING v;
DELETE FROM dml WHERE id = 703;
INSERT INTO dml (id, v) VALUES (703, 3) ON CONFLICT (id) DO UPDATE SET v = -1 RETURNING v;
COMMIT;
INSERT INTO dml (id, v) SELECT g, g FROM generate_series(690, 710) g ON CONFLICT (id) DO UPDATE SET v = dml.v + excluded.v;
SELECT id, v FROM dml WHERE id BETWEEN 690 AND 710 ORDER BY id;
-- MERGE
MERGE INTO dml USING (VALUES (6, 1), (7, 2), (8, 3), (900, 4)) s(id, v) ON dml.id = s.id
WHEN MATCHED AND s.id = 7 THEN DELETE
WHEN MATCHED AND s.id = 8 THEN DO NOTHING
WHEN MATCHED THEN UPDATE SET v = s.v
WHEN NOT MATCHED THEN INSERT (id, v, t) VALUES (s.id, s.v, 'merged');
SELECT id, v, t FROM dml WHERE id IN (6, 7, 8, 900) ORDER BY id;
MERGE INTO dml USING (VALUES (6), (6)) s(id) ON dml.id = s.id WHEN MATCHED THEN UPDATE SET v = 0;
-- COPY in and out, with defaults, a bad line and a violated key
COPY dml (id, v) FROM STDIN;
2001	1
2002	\N
2003	3
\.
COPY dml (id, v) FROM STDIN;
2004	1
2005	x
\.
COPY dml (id, v) FROM STDIN (FORMAT csv);
2006,1
2001,1
\.
COPY (SELECT id, v, t, g FROM dml WHERE id > 2000 ORDER BY id) TO STDOUT;
COPY dml (id, v) FROM STDIN WHERE v > 5;
2010	5
2011	6
\.
SELECT id FROM dml WHERE id > 2003 ORDER BY id;
-- system columns
SELECT tableoid::regclass, ctid IS NOT NULL AS ctid FROM dml WHERE id = 6;
SELECT a.id FROM dml a, dml b WHERE a.ctid = b.ctid AND b.id = 6;
UPDATE dml SET v = 77 WHERE ctid = (SELECT ctid FROM dml WHERE id = 6) RETURNING id, v;
SELECT count(*) FROM dml WHERE ctid = '(4294967290,1)';
SELECT count(DISTINCT ctid) = count(*) AS unique_ctid FROM dml;
-- prepared statements, volatile functions that read the table being written
PREPARE p (int, int) AS UPDATE dml SET v = $2 WHERE id = $1 RETURNING v;
EXECUTE p (6, 78);
EXECUTE p (6, 79);
DEALLOCATE p;
CREATE FUNCTION dml_count() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN (SELECT count(*) FROM dml); END $$;
SELECT count(*) FROM dml;
INSERT INTO dml (id, v) SELECT g, dml_count() FROM generate_series(3001, 3005) g;
SELECT id, v - min(v) OVER () FROM dml WHERE id > 3000 ORDER BY id;
DELETE FROM dml WHERE id > 3000 AND dml_count() > 0;
SELECT dml_count();
DROP FUNCTION dml_count;
SELECT merge('dml');
SELECT count(*), sum(id), sum(v), sum(g) FROM dml;
SELECT * FROM problems('dml');
-- deferred unique keys
CREATE TABLE dmlu (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, v int);
INSERT INTO dmlu SELECT g, g FROM generate_series(1, 5) g;
UPDATE dmlu SET id = id + 1;
BEGIN;
UPDATE dmlu SET id = 3 WHERE id = 2;
SELECT id, v FROM dmlu ORDER BY id, v;
UPDATE dmlu SET id = 2 WHERE v = 2;
COMMIT;
BEGIN;
INSERT INTO dmlu VALUES (4, 0);
COMMIT;
SELECT id, v FROM dmlu ORDER BY id;
SELECT * FROM problems('dmlu');
DROP TABLE dml, dmlu;
