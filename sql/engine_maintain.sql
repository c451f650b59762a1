-- ANALYZE, VACUUM, VACUUM FULL and CLUSTER: statistics are true, contents do not change.
CREATE TABLE ma (id int PRIMARY KEY, k int, t text);
INSERT INTO ma SELECT g, g % 4, 't' || g % 100 FROM generate_series(1, 10000) g;
ANALYZE ma;
SELECT reltuples FROM pg_class WHERE relname = 'ma';
SELECT attname, null_frac, CASE WHEN n_distinct < -0.5 THEN 'unique' ELSE n_distinct::text END AS n_distinct FROM pg_stats WHERE tablename = 'ma' ORDER BY attname;
SELECT most_common_vals FROM pg_stats WHERE tablename = 'ma' AND attname = 'nothing';
DELETE FROM ma WHERE id % 2 = 0;
VACUUM ma;
SELECT reltuples FROM pg_class WHERE relname = 'ma';
SELECT count(*), sum(id) FROM ma;
INSERT INTO ma SELECT g, 9, 'new' FROM generate_series(2, 1000, 2) g;
VACUUM (ANALYZE, VERBOSE off) ma;
SELECT reltuples FROM pg_class WHERE relname = 'ma';
SELECT count(*), sum(id) FROM ma;
SELECT relfrozenxid <> '0' AS frozen, age(relfrozenxid) < 100000 AS young FROM pg_class WHERE relname = 'ma';
VACUUM (FREEZE) ma;
SELECT count(*), sum(id) FROM ma;
VACUUM FULL ma;
SELECT count(*), sum(id) FROM ma;
SELECT id, k FROM ma WHERE id = 500;
CLUSTER ma USING ma_pkey;
SELECT count(*), sum(id) FROM ma;
SELECT id FROM ma LIMIT 5;
INSERT INTO ma VALUES (500, 0, 'dup');
INSERT INTO ma VALUES (2000, 0, 'ok');
UPDATE ma SET id = 2002 WHERE id = 2000;
CLUSTER ma;
SELECT id, t FROM ma WHERE id IN (2000, 2002);
-- nothing deleted, everything deleted, filled again
VACUUM ma;
DELETE FROM ma;
VACUUM ma;
SELECT count(*) FROM ma;
SELECT reltuples FROM pg_class WHERE relname = 'ma';
INSERT INTO ma SELECT g, 0, 'again' FROM generate_series(1, 100) g;
SELECT count(*), sum(id) FROM ma;
VACUUM (INDEX_CLEANUP off) ma;
VACUUM (TRUNCATE off, DISABLE_PAGE_SKIPPING) ma;
VACUUM (PARALLEL 2) ma;
SELECT count(*), sum(id) FROM ma;
-- an empty table
CREATE TABLE ma0 (id int PRIMARY KEY);
VACUUM ma0;
ANALYZE ma0;
VACUUM FULL ma0;
CLUSTER ma0 USING ma0_pkey;
SELECT count(*) FROM ma0;
INSERT INTO ma0 VALUES (1);
SELECT * FROM ma0;
-- in a transaction: refused as everywhere; ANALYZE with open changes
BEGIN;
VACUUM ma;
ROLLBACK;
BEGIN;
INSERT INTO ma SELECT g, 0, 'open' FROM generate_series(201, 300) g;
ANALYZE ma;
SELECT count(*) FROM ma;
ROLLBACK;
SELECT count(*) FROM ma;
BEGIN;
INSERT INTO ma VALUES (999, 0, 'x');
CLUSTER ma USING ma_pkey;
SELECT count(*) FROM ma;
ROLLBACK;
SELECT count(*) FROM ma;
-- statistics counters reach the collector
SELECT pg_stat_force_next_flush();
SELECT n_tup_ins >= 10000 AS ins, n_tup_upd >= 1 AS upd, n_tup_del >= 5000 AS del, vacuum_count > 0 AS vac, analyze_count > 0 AS ana FROM pg_stat_user_tables WHERE relname = 'ma';
-- extended statistics
CREATE STATISTICS ma_st ON k, t FROM ma;
ANALYZE ma;
SELECT stxname FROM pg_statistic_ext WHERE stxname = 'ma_st';
SELECT * FROM problems('ma') UNION ALL SELECT * FROM problems('ma0');
DROP TABLE ma, ma0;
-- the planner does not count rows twice whose statistics arrive after ANALYZE has seen them
CREATE FUNCTION planned_rows(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	EXECUTE 'EXPLAIN ' || query INTO line;
	RETURN substring(line FROM 'rows=(\d+)');
END $$;
CREATE TABLE mb (id int);
INSERT INTO mb SELECT generate_series(1, 5000);
DELETE FROM mb WHERE id > 4000;
UPDATE mb SET id = id WHERE id > 3000;
ANALYZE mb;
SELECT pg_stat_force_next_flush();
SELECT planned_rows('SELECT * FROM mb');
INSERT INTO mb SELECT generate_series(5001, 5500);
VACUUM mb;
SELECT pg_stat_force_next_flush();
SELECT planned_rows('SELECT * FROM mb');
DROP TABLE mb;
DROP FUNCTION planned_rows;
