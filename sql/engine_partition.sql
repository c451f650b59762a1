-- Partitions of different access methods under one parent: routing, rows that move between them, keys,
-- upserts, MERGE, triggers with transition tables, attach and detach (also concurrently), defaults that
-- are checked, sub-partitions, columns in another order; and what the access method of a new one is.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE TABLE px (id int, k int, t text DEFAULT 'd', PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE px_0 PARTITION OF px FOR VALUES IN (0);
CREATE TABLE px_1 PARTITION OF px FOR VALUES IN (1) USING heap;
CREATE TABLE px_2 (t text, gone int, k int NOT NULL, id int NOT NULL);
ALTER TABLE px_2 DROP gone;
ALTER TABLE px ATTACH PARTITION px_2 FOR VALUES IN (2);
CREATE TABLE px_3 PARTITION OF px FOR VALUES IN (3, NULL) PARTITION BY RANGE (id);
CREATE TABLE px_3a PARTITION OF px_3 FOR VALUES FROM (MINVALUE) TO (50);
CREATE TABLE px_3b PARTITION OF px_3 FOR VALUES FROM (50) TO (MAXVALUE) USING heap;
SELECT relname, amname = CASE WHEN relname IN ('px_1', 'px_3b') THEN 'heap' ELSE current_setting('default_table_access_method') END AS right_method FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname ~ '^px_.[ab]?$' ORDER BY 1;
INSERT INTO px SELECT g, g % 4, 't' || g FROM generate_series(1, 100) g;
CREATE VIEW px_sum AS SELECT tableoid::regclass AS p, count(*), sum(id), min(t), max(t) FROM px GROUP BY 1 ORDER BY 1;
TABLE px_sum;
INSERT INTO px VALUES (1000, 4, 'nowhere');
INSERT INTO px VALUES (5, 1, 'there is one');
-- rows move: to heap, from heap, with RETURNING, back in the same transaction, in a CTE, in a savepoint
UPDATE px SET k = 1 WHERE id = 4 RETURNING tableoid::regclass, *;
UPDATE px SET k = 0 WHERE id = 4 RETURNING tableoid::regclass, *;
UPDATE px SET k = 1 - k WHERE k < 2 AND id <= 20;
TABLE px_sum;
BEGIN;
UPDATE px SET k = (k + 1) % 4 WHERE id <= 40;
TABLE px_sum;
SAVEPOINT s;
UPDATE px SET k = (k + 1) % 4, t = 'moved twice' WHERE id <= 40;
DELETE FROM px WHERE id < 10;
TABLE px_sum;
ROLLBACK TO s;
UPDATE px SET id = 100 - id WHERE k = 3 AND id <= 40;
TABLE px_sum;
COMMIT;
TABLE px_sum;
WITH m AS (UPDATE px SET k = 2 WHERE k = 0 AND id > 90 RETURNING id), d AS (DELETE FROM px WHERE k = 1 AND id > 90 RETURNING id)
SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM d);
UPDATE px SET k = 9 WHERE id = 50;
-- moving twice in one command: a join, a trigger that moves the row under the statement
UPDATE px SET k = s.k FROM (VALUES (50, 0), (50, 1)) s(id, k) WHERE px.id = s.id AND px.k = 2;
SELECT count(*) FROM px WHERE id = 50;
-- upserts
INSERT INTO px VALUES (60, 0, 'up'), (61, 1, 'up'), (60, 0, 'again') ON CONFLICT DO NOTHING;
INSERT INTO px SELECT id, k, 'excluded' FROM px WHERE id BETWEEN 60 AND 63 ON CONFLICT (id, k) DO UPDATE SET t = px.t || excluded.t RETURNING tableoid::regclass, *;
INSERT INTO px VALUES (61, 1, 'x') ON CONFLICT (id, k) DO UPDATE SET k = 2;
-- triggers: rows of the parent's trigger in each partition; transition tables see both sides of a move
CREATE TABLE px_log (n serial, what text);
CREATE FUNCTION px_row() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO px_log (what) VALUES (concat_ws(' ', TG_TABLE_NAME, TG_WHEN, TG_OP, OLD.id, OLD.k, NEW.id, NEW.k)); RETURN coalesce(NEW, OLD); END $$;
CREATE FUNCTION px_stmt() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO px_log (what) SELECT concat_ws(' ', 'statement', (SELECT string_agg(o::text, ',' ORDER BY id) FROM o), '->', (SELECT string_agg(n::text, ',' ORDER BY id) FROM n)); RETURN NULL; END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON px FOR EACH ROW EXECUTE FUNCTION px_row();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON px FOR EACH ROW EXECUTE FUNCTION px_row();
CREATE TRIGGER s AFTER UPDATE ON px REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION px_stmt();
UPDATE px SET k = 1 WHERE id = 70;
UPDATE px SET k = 2 WHERE id = 70;
UPDATE px SET t = 'stays' WHERE id = 70;
MERGE INTO px USING (VALUES (70), (71), (2000)) v(id) ON px.id = v.id WHEN MATCHED AND v.id = 70 THEN UPDATE SET k = 3 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 1);
SELECT what FROM px_log ORDER BY n;
DROP TRIGGER b ON px; DROP TRIGGER a ON px; DROP TRIGGER s ON px;
-- pruning and indexes of the parent; joins partition by partition
CREATE INDEX px_t ON px (t);
SELECT count(*) FROM px WHERE k = 2;
SET enable_seqscan = off;
SELECT tableoid::regclass, id FROM px WHERE t = 't55' OR t = 't56';
RESET enable_seqscan;
SET enable_partitionwise_join = on;
SELECT count(*), sum(a.id) FROM px a JOIN px b ON a.k = b.k AND a.id = b.id;
RESET enable_partitionwise_join;
-- a cursor over all of them, positioned update
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM px WHERE id + 0 BETWEEN 80 AND 84 FOR UPDATE;
FETCH 2 FROM c \g (format=unaligned tuples_only=on) /dev/null
UPDATE px SET t = 'current' WHERE CURRENT OF c;
SELECT count(*) FROM px WHERE t = 'current';
COMMIT;
-- detach (with pending changes), attach again: rows are checked, also against the default partition
BEGIN;
UPDATE px SET t = 'pending' WHERE k = 0 AND id < 50;
INSERT INTO px VALUES (3000, 0, 'pending');
ALTER TABLE px DETACH PARTITION px_0;
SELECT count(*) FROM px WHERE t = 'pending';
SELECT count(*) > 1 FROM px_0 WHERE t = 'pending';
INSERT INTO px_0 VALUES (3001, 7, 'odd');
COMMIT;
ALTER TABLE px ATTACH PARTITION px_0 FOR VALUES IN (0);
DELETE FROM px_0 WHERE k = 7;
ALTER TABLE px ATTACH PARTITION px_0 FOR VALUES IN (0);
CREATE TABLE px_d PARTITION OF px DEFAULT;
INSERT INTO px VALUES (4000, 4, 'in the default'), (4001, 5, 'in the default');
CREATE TABLE px_4 PARTITION OF px FOR VALUES IN (4);
BEGIN;
ALTER TABLE px DETACH PARTITION px_d;
CREATE TABLE px_4 PARTITION OF px FOR VALUES IN (4);
WITH d AS (DELETE FROM px_d WHERE k = 4 RETURNING *) INSERT INTO px SELECT * FROM d;
ALTER TABLE px ATTACH PARTITION px_d DEFAULT;
COMMIT;
TABLE px_sum;
ALTER TABLE px DETACH PARTITION px_2 CONCURRENTLY;
ALTER TABLE px DETACH PARTITION px_d;
ALTER TABLE px DETACH PARTITION px_2 CONCURRENTLY;
TABLE px_sum;
INSERT INTO px VALUES (5000, 2, 'no partition');
SELECT count(*) FROM px_2;
ALTER TABLE px_2 DROP CONSTRAINT IF EXISTS px_2_k_check;
ALTER TABLE px ATTACH PARTITION px_2 FOR VALUES IN (2);
-- the method of one partition is changed while the parent holds it; parent's columns change too
ALTER TABLE px_1 SET ACCESS METHOD heap;
SELECT current_setting('default_table_access_method') AS am \gset
ALTER TABLE px_1 SET ACCESS METHOD :"am";
ALTER TABLE px_2 SET ACCESS METHOD heap;
TABLE px_sum;
DROP VIEW px_sum;
ALTER TABLE px ADD extra int DEFAULT 3, ALTER t TYPE varchar(40);
ALTER TABLE px ALTER extra TYPE numeric USING extra / 2.0;
UPDATE px SET k = 3 - k WHERE id BETWEEN 10 AND 30;
SELECT tableoid::regclass, count(*), sum(extra), sum(id) FROM px GROUP BY 1 ORDER BY 1;
TRUNCATE px_3;
SELECT count(*) FROM px;
BEGIN;
TRUNCATE px;
INSERT INTO px SELECT g, g % 4 FROM generate_series(1, 8) g;
SELECT tableoid::regclass, count(*), sum(extra) FROM px GROUP BY 1 ORDER BY 1;
ROLLBACK;
ALTER TABLE px SET ACCESS METHOD heap;
CREATE TABLE pam (a int) PARTITION BY HASH (a) USING heap;
-- hash partitions, many rows by COPY and INSERT ... SELECT
CREATE TABLE ph (id int, v int) PARTITION BY HASH (id);
CREATE TABLE ph0 PARTITION OF ph FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE ph1 PARTITION OF ph FOR VALUES WITH (MODULUS 3, REMAINDER 1) USING heap;
CREATE TABLE ph2 PARTITION OF ph FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO ph SELECT g, g FROM generate_series(1, 20000) g;
UPDATE ph SET id = id + 100000 WHERE v % 2 = 0;
DELETE FROM ph WHERE v % 5 = 0;
SELECT tableoid::regclass, count(*), sum(id), sum(v) FROM ph GROUP BY 1 ORDER BY 1;
SELECT merge('ph0');
ANALYZE ph;
SELECT reltuples FROM pg_class WHERE relname = 'ph';
-- inheritance with other parents and methods
CREATE TABLE ip (id int, v int);
CREATE TABLE ic (w int) INHERITS (ip) USING heap;
CREATE TABLE id (id int, v int, w int);
INSERT INTO ip VALUES (1, 1); INSERT INTO ic VALUES (2, 2, 2); INSERT INTO id VALUES (3, 3, 3);
ALTER TABLE id INHERIT ip;
UPDATE ip SET v = v + 10;
DELETE FROM ip USING ic WHERE ip.id = ic.id - 1;
ALTER TABLE ip ADD x int DEFAULT 8;
ALTER TABLE ic NO INHERIT ip;
SELECT tableoid::regclass, * FROM ip ORDER BY id;
SELECT * FROM ic;
SELECT * FROM id;
SELECT * FROM (VALUES ('px_0'), ('px_1'), ('px_2'), ('px_3a'), ('px_4'), ('ph0'), ('ph2'), ('ip'), ('id')) v(t), problems(t::regclass);
DROP TABLE px, px_d, px_log, ph, ip, ic, id CASCADE;
DROP TABLE IF EXISTS pam;
DROP FUNCTION px_row, px_stmt;
