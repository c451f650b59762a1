-- Indexes: btree, unique, partial, expression, hash; built on filled tables with deleted rows, kept
-- while rows come and go, always in agreement with a sequential scan.
CREATE TABLE ix (id int, a int, b text, c int);
INSERT INTO ix SELECT g, g % 100, 'b' || g % 50, g FROM generate_series(1, 5000) g;
DELETE FROM ix WHERE id % 7 = 0;
UPDATE ix SET a = a + 1000 WHERE id % 11 = 0;
CREATE UNIQUE INDEX ix_id ON ix (id);
CREATE INDEX ix_a ON ix (a);
CREATE INDEX ix_ab ON ix (a, b) INCLUDE (c);
CREATE INDEX ix_part ON ix (c) WHERE a > 1000;
CREATE INDEX ix_expr ON ix ((a + c), lower(b));
CREATE INDEX ix_hash ON ix USING hash (b);
CREATE FUNCTION both_ways(q text) RETURNS TABLE (seq text, idx text) LANGUAGE plpgsql AS
$$
BEGIN
	SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
	EXECUTE 'SELECT (' || q || ')::text' INTO seq;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_indexonlyscan = on; SET LOCAL enable_bitmapscan = on;
	EXECUTE 'SELECT (' || q || ')::text' INTO idx;
	RETURN NEXT;
END $$;
CREATE VIEW ix_check AS SELECT q, b.seq, b.seq = b.idx AS same FROM (VALUES
	('SELECT count(*) || '' '' || sum(c) FROM ix WHERE id BETWEEN 100 AND 2000'),
	('SELECT count(*) || '' '' || sum(c) FROM ix WHERE a = 5'),
	('SELECT count(*) || '' '' || sum(c) FROM ix WHERE a IN (1001, 1002, 1003)'),
	('SELECT count(*) || '' '' || sum(c) FROM ix WHERE a = 5 AND b = ''b5'''),
	('SELECT count(*) || '' '' || sum(c) FROM ix WHERE a > 1000 AND c > 2500'),
	('SELECT count(*) || '' '' || sum(id) FROM ix WHERE a + c = 106 AND lower(b) = ''b3'''),
	('SELECT count(*) || '' '' || sum(id) FROM ix WHERE b = ''b7'''),
	('SELECT array_agg(id) FROM (SELECT id FROM ix ORDER BY id LIMIT 10) x'),
	('SELECT array_agg(id) FROM (SELECT id FROM ix ORDER BY id DESC LIMIT 10) x'),
	('SELECT min(id) || '' '' || max(id) || '' '' || min(a) || '' '' || max(a) FROM ix')) v(q), both_ways(q) b;
SELECT seq, same FROM ix_check;
-- rows come and go
UPDATE ix SET a = a - 1000, b = 'new' WHERE a > 1050;
DELETE FROM ix WHERE id BETWEEN 300 AND 900;
INSERT INTO ix SELECT g, 5, 'b5', g FROM generate_series(300, 320) g;
BEGIN;
INSERT INTO ix SELECT g, 5, 'b5', g FROM generate_series(6001, 6100) g;
UPDATE ix SET a = 5 WHERE id = 1;
SELECT seq, same FROM ix_check;
ROLLBACK;
SELECT seq, same FROM ix_check;
-- unique: violated and satisfied
INSERT INTO ix VALUES (300, 0, '', 0);
INSERT INTO ix VALUES (400, 0, '', 0);
DELETE FROM ix WHERE id = 400;
INSERT INTO ix VALUES (400, 1, '', 0);
BEGIN;
DELETE FROM ix WHERE id = 400;
INSERT INTO ix VALUES (400, 2, '', 0);
UPDATE ix SET id = 401 WHERE id = 400;
INSERT INTO ix VALUES (400, 3, '', 0);
ROLLBACK;
SELECT id, a FROM ix WHERE id IN (400, 401);
\set VERBOSITY terse
CREATE UNIQUE INDEX ix_a_unique ON ix (a);
\set VERBOSITY default
-- after merging, vacuum, reindex
SELECT merge('ix');
VACUUM ix;
SELECT bool_and(same), count(*) FROM ix_check;
REINDEX TABLE ix;
SELECT seq, same FROM ix_check;
DROP INDEX ix_id, ix_hash;
CREATE UNIQUE INDEX CONCURRENTLY ix_id ON ix (id);
CREATE INDEX CONCURRENTLY ix_hash ON ix USING hash (b);
REINDEX INDEX CONCURRENTLY ix_a;
SELECT bool_and(same), count(*) FROM ix_check;
-- many versions of one row: its index entries do not hide the last one
CREATE TABLE hot (id int PRIMARY KEY, v int);
INSERT INTO hot VALUES (1, 0), (2, 0);
DO $$ BEGIN FOR i IN 1..300 LOOP UPDATE hot SET v = v + 1 WHERE id = 1; END LOOP; END $$;
SELECT * FROM hot ORDER BY id;
VACUUM hot;
UPDATE hot SET v = v + 1 WHERE id = 1;
SET enable_seqscan = off;
SELECT * FROM hot WHERE id = 1;
RESET enable_seqscan;
-- index created in the transaction that filled the table; in one with open changes
BEGIN;
CREATE TABLE ixn (id int, v int);
INSERT INTO ixn SELECT g, g FROM generate_series(1, 100) g;
DELETE FROM ixn WHERE id > 90;
CREATE UNIQUE INDEX ON ixn (id);
INSERT INTO ixn VALUES (95, 1);
SAVEPOINT s;
INSERT INTO ixn VALUES (95, 2);
ROLLBACK TO s;
UPDATE ixn SET v = 0 WHERE id = 50;
CREATE INDEX ON ixn (v);
COMMIT;
SET enable_seqscan = off;
SELECT * FROM ixn WHERE v = 0 OR id = 95 ORDER BY id;
RESET enable_seqscan;
-- a unique index over duplicates that are dead
CREATE TABLE ixd (id int);
INSERT INTO ixd SELECT 1 FROM generate_series(1, 10);
DELETE FROM ixd WHERE ctid <> (SELECT min(ctid) FROM ixd);
CREATE UNIQUE INDEX ON ixd (id);
SELECT count(*) FROM ixd;
-- exclusion constraint by btree operators; NULLs are distinct or not
CREATE TABLE ixe (a int, EXCLUDE USING btree (a WITH =));
INSERT INTO ixe VALUES (1), (2);
INSERT INTO ixe VALUES (1);
INSERT INTO ixe VALUES (1), (3) ON CONFLICT DO NOTHING;
SELECT a FROM ixe ORDER BY a;
CREATE TABLE ixnull (a int, UNIQUE NULLS NOT DISTINCT (a));
INSERT INTO ixnull VALUES (NULL);
INSERT INTO ixnull VALUES (NULL);
SELECT * FROM problems('ix') UNION ALL SELECT * FROM problems('hot') UNION ALL SELECT * FROM problems('ixn')
	UNION ALL SELECT * FROM problems('ixd') UNION ALL SELECT * FROM problems('ixe');
DROP VIEW ix_check;
DROP TABLE ix, hot, ixn, ixd, ixe, ixnull;
DROP FUNCTION both_ways;
-- entries of rows whose transaction was rolled back are removed by who meets them: the indexes do not grow
CREATE TABLE ixa (id int PRIMARY KEY, k int);
CREATE INDEX ixa_k ON ixa (k);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DO $$
BEGIN
	FOR i IN 1..100 LOOP
		BEGIN
			PERFORM * FROM ixa WHERE k > 0;
			INSERT INTO ixa SELECT g, g FROM generate_series(1, 100) g;
			RAISE reading_sql_data_not_permitted;
		EXCEPTION WHEN reading_sql_data_not_permitted THEN
		END;
	END LOOP;
END $$;
SELECT pg_relation_size('ixa_pkey') <= 16384 AS unique_small, pg_relation_size('ixa_k') <= 16384 AS small;
-- a row of a transaction that goes on is not taken for one of them
BEGIN;
INSERT INTO ixa SELECT g, g FROM generate_series(1, 50) g;
SAVEPOINT s;
INSERT INTO ixa SELECT g, g FROM generate_series(51, 100) g;
SELECT count(*) FROM ixa WHERE k > 0;
ROLLBACK TO s;
SELECT count(*) FROM ixa WHERE k > 0;
COMMIT;
SELECT count(*) FROM ixa WHERE k > 0;
SELECT * FROM problems('ixa');
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP TABLE ixa;
