-- MERGE with every action and clause order; with triggers, partitions, CTEs, expressions, RLS and rules that fail.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE TABLE mt (id int PRIMARY KEY, v int CHECK (v >= 0), t text DEFAULT 'd', g int GENERATED ALWAYS AS (v + 1) STORED);
CREATE TABLE ms (id int, v int);
INSERT INTO mt (id, v) SELECT g, g FROM generate_series(1, 10) g;
INSERT INTO ms SELECT g, g * 10 FROM generate_series(8, 13) g;
-- all actions; the first clause whose condition holds is taken
MERGE INTO mt USING ms ON mt.id = ms.id
WHEN MATCHED AND mt.id = 8 THEN DELETE
WHEN MATCHED AND mt.id = 9 THEN DO NOTHING
WHEN MATCHED AND mt.id = 9 THEN UPDATE SET v = 0
WHEN MATCHED THEN UPDATE SET v = ms.v, t = DEFAULT
WHEN NOT MATCHED AND ms.id = 11 THEN DO NOTHING
WHEN NOT MATCHED AND ms.id = 12 THEN INSERT (id) VALUES (ms.id)
WHEN NOT MATCHED THEN INSERT VALUES (ms.id, ms.v, 'merged', DEFAULT);
SELECT * FROM mt WHERE id > 6 ORDER BY id;
-- joined by something else than the key, constant conditions, an empty source, a query as the source
MERGE INTO mt t USING ms s ON t.id + 5 = s.id AND t.v = t.id WHEN MATCHED THEN UPDATE SET t = t || s.id WHEN NOT MATCHED THEN DO NOTHING;
MERGE INTO mt USING (SELECT 1 AS one WHERE false) s ON true WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (99, 1);
MERGE INTO mt USING (SELECT 100 + count(*) AS id, max(v) AS v FROM mt) s ON mt.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
MERGE INTO mt USING (SELECT id, v FROM mt) s ON mt.id = s.id AND s.id < 3 WHEN MATCHED THEN UPDATE SET v = mt.v + s.v WHEN NOT MATCHED AND s.id = 3 THEN INSERT VALUES (s.id + 200, s.v);
SELECT id, v, t, g FROM mt ORDER BY id;
-- a row that is matched twice, a CHECK, a NOT NULL and a key violated in the middle: nothing stays
MERGE INTO mt USING (VALUES (1, 1), (1, 2)) s(id, v) ON mt.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v;
MERGE INTO mt USING (VALUES (1, 1), (1, 2)) s(id, v) ON mt.id = s.id WHEN MATCHED THEN DELETE;
MERGE INTO mt USING (VALUES (300, 1), (301, -1)) s(id, v) ON mt.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
MERGE INTO mt USING (VALUES (300, 1), (300, 2)) s(id, v) ON mt.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
MERGE INTO mt USING (VALUES (300), (NULL)) s(id) ON mt.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1);
MERGE INTO mt USING (VALUES (1, 20), (300, 2)) s(id, v) ON mt.id = s.id WHEN MATCHED THEN UPDATE SET id = s.v WHEN NOT MATCHED THEN INSERT VALUES (20, s.v);
SELECT count(*), sum(id), sum(v) FROM mt;
-- in a transaction with rows of its own, and rolled back to a savepoint
BEGIN;
INSERT INTO mt (id, v) VALUES (400, 1), (401, 1);
UPDATE mt SET v = 2 WHERE id = 401;
SAVEPOINT s;
MERGE INTO mt USING generate_series(400, 403) s(id) ON mt.id = s.id WHEN MATCHED AND mt.v = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET v = mt.v + 100 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 5);
SELECT id, v FROM mt WHERE id >= 400 ORDER BY id;
ROLLBACK TO s;
SELECT id, v FROM mt WHERE id >= 400 ORDER BY id;
MERGE INTO mt USING generate_series(400, 403) s(id) ON mt.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, 5);
MERGE INTO mt USING generate_series(400, 403) s(id) ON mt.id = s.id WHEN MATCHED THEN UPDATE SET v = mt.v + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 6);
COMMIT;
SELECT id, v FROM mt WHERE id >= 400 ORDER BY id;
SET enable_seqscan = off;
SELECT id, v FROM mt WHERE id >= 400 ORDER BY id;
RESET enable_seqscan;
-- triggers of rows and statements
CREATE TABLE m_log (n serial, what text);
CREATE FUNCTION m_row() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	INSERT INTO m_log (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, OLD, NEW));
	IF TG_WHEN = 'BEFORE' AND coalesce(NEW.id, OLD.id) = 402 THEN RETURN NULL; END IF;
	RETURN coalesce(NEW, OLD);
END $$;
CREATE FUNCTION m_stmt() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO m_log (what) VALUES (concat_ws(' ', TG_WHEN, TG_OP, 'statement')); RETURN NULL; END $$;
CREATE TRIGGER rb BEFORE INSERT OR UPDATE OR DELETE ON mt FOR EACH ROW EXECUTE FUNCTION m_row();
CREATE TRIGGER ra AFTER INSERT OR UPDATE OR DELETE ON mt FOR EACH ROW EXECUTE FUNCTION m_row();
CREATE TRIGGER sb BEFORE INSERT OR UPDATE OR DELETE ON mt FOR EACH STATEMENT EXECUTE FUNCTION m_stmt();
CREATE TRIGGER sa AFTER INSERT OR UPDATE OR DELETE ON mt FOR EACH STATEMENT EXECUTE FUNCTION m_stmt();
MERGE INTO mt USING (SELECT g AS id FROM generate_series(401, 404) g ORDER BY g) s ON mt.id = s.id
WHEN MATCHED AND mt.id = 403 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 50 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 60);
SELECT what FROM m_log WHERE what LIKE '%statement' ORDER BY n;
SELECT what FROM m_log WHERE what NOT LIKE '%statement' ORDER BY what COLLATE "C";
SELECT id, v FROM mt WHERE id >= 400 ORDER BY id;
DROP TRIGGER rb ON mt; DROP TRIGGER ra ON mt; DROP TRIGGER sb ON mt; DROP TRIGGER sa ON mt;
-- partitions; a row moves
CREATE TABLE mp (id int, k int, v int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
CREATE TABLE mp1 PARTITION OF mp FOR VALUES FROM (0) TO (10);
CREATE TABLE mp2 PARTITION OF mp FOR VALUES FROM (10) TO (20);
INSERT INTO mp SELECT g, g, 0 FROM generate_series(0, 19) g;
MERGE INTO mp USING generate_series(0, 19) s(id) ON mp.id = s.id
WHEN MATCHED AND s.id < 5 THEN UPDATE SET k = 19 - k, v = 1
WHEN MATCHED AND s.id < 12 THEN DELETE
WHEN MATCHED THEN UPDATE SET v = 2;
MERGE INTO mp USING generate_series(0, 21) s(id) ON mp.id = s.id WHEN NOT MATCHED AND s.id < 20 THEN INSERT VALUES (s.id, s.id, 3);
SELECT tableoid::regclass, * FROM mp ORDER BY id;
MERGE INTO mp USING generate_series(0, 21) s(id) ON mp.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.id, 3);
-- many rows
CREATE TABLE mm (id int PRIMARY KEY, v int);
INSERT INTO mm SELECT g, 0 FROM generate_series(1, 30000) g;
MERGE INTO mm USING generate_series(15001, 45000) s(id) ON mm.id = s.id WHEN MATCHED AND s.id % 3 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 2);
SELECT v, count(*), min(id), max(id) FROM mm GROUP BY v ORDER BY v;
MERGE INTO mm USING mm s ON mm.id = s.id + 1 WHEN MATCHED THEN UPDATE SET v = mm.v + s.v;
SELECT v, count(*), min(id), max(id) FROM mm GROUP BY v ORDER BY v;
-- row security: rows that the policies hide or refuse
CREATE ROLE regress_engine_merge;
GRANT ALL ON mm TO regress_engine_merge;
ALTER TABLE mm ENABLE ROW LEVEL SECURITY;
CREATE POLICY s ON mm FOR SELECT USING (true);
CREATE POLICY u ON mm FOR UPDATE USING (id < 20) WITH CHECK (v < 100);
CREATE POLICY i ON mm FOR INSERT WITH CHECK (id < 90000);
SET ROLE regress_engine_merge;
MERGE INTO mm USING generate_series(10, 12) s(id) ON mm.id = s.id WHEN MATCHED THEN UPDATE SET v = 7;
MERGE INTO mm USING generate_series(10, 12) s(id) ON mm.id = s.id WHEN MATCHED THEN UPDATE SET v = 700;
MERGE INTO mm USING generate_series(18, 22) s(id) ON mm.id = s.id WHEN MATCHED THEN UPDATE SET v = 7;
MERGE INTO mm USING generate_series(10, 12) s(id) ON mm.id = s.id WHEN MATCHED THEN DELETE;
MERGE INTO mm USING generate_series(89998, 90001) s(id) ON mm.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (id, 1);
RESET ROLE;
SELECT id, v FROM mm WHERE id BETWEEN 10 AND 20 OR id > 80000 ORDER BY id;
SELECT * FROM problems('mt') UNION ALL SELECT * FROM problems('mp1') UNION ALL SELECT * FROM problems('mp2') UNION ALL SELECT * FROM problems('mm');
DROP TABLE mt, ms, m_log, mp, mm;
DROP FUNCTION m_row, m_stmt;
DROP ROLE regress_engine_merge;
