-- ANALYZE tells of a table what it tells of a heap table with the same rows: pg_class, pg_stats of every
-- column and index expression, extended statistics of every kind, also for partitions and inheritance,
-- with rows deleted, updated and pending, and for a sample of a table that is larger than the sample.
CREATE TABLE st (id int, k int, s text, n int, d date, c float8, u uuid, w varchar, x int[]);
CREATE TABLE sh (LIKE st) USING heap;
INSERT INTO st SELECT g, g % 7, CASE WHEN g % 10 < 4 THEN NULL ELSE 'val' || (g % 1000) END, NULL, '2020-01-01'::date + (g / 50), g % 3 + 0.5,
	md5((g % 500)::text)::uuid, repeat('w', g % 40), array[g % 5, g % 7] FROM generate_series(1, 12000) g;
INSERT INTO st SELECT 0, 100, 'common', NULL, 'infinity', 'NaN', NULL, '', '{}' FROM generate_series(1, 3000);
DELETE FROM st WHERE id % 13 = 1;
UPDATE st SET k = 8 WHERE id % 100 = 5;
INSERT INTO sh TABLE st;
CREATE INDEX st_e ON st ((id % 50), lower(s)); CREATE INDEX sh_e ON sh ((id % 50), lower(s));
CREATE STATISTICS st_nd (ndistinct) ON k, c FROM st; CREATE STATISTICS sh_nd (ndistinct) ON k, c FROM sh;
CREATE STATISTICS st_dp (dependencies) ON id, d FROM st; CREATE STATISTICS sh_dp (dependencies) ON id, d FROM sh;
CREATE STATISTICS st_mc (mcv) ON k, c, s FROM st; CREATE STATISTICS sh_mc (mcv) ON k, c, s FROM sh;
CREATE STATISTICS st_ex ON (id % 4), (k + 1) FROM st; CREATE STATISTICS sh_ex ON (id % 4), (k + 1) FROM sh;
-- the sample is the whole table: every figure must be the same (where heap puts a row that does not fit is its affair)
-- counters that reach the statistics after ANALYZE would be added to what it found
DO $$ BEGIN PERFORM pg_stat_force_next_flush(); END $$;
ANALYZE st; ANALYZE sh;
SELECT (SELECT reltuples FROM pg_class WHERE relname = 'st') = (SELECT reltuples FROM pg_class WHERE relname = 'sh') AS same, reltuples FROM pg_class WHERE relname = 'st';
CREATE VIEW st_differ AS
SELECT a.attname, f.key, f.value AS one, g.value AS other
  FROM pg_stats a JOIN pg_stats b ON a.attname = b.attname AND a.tablename IN ('st', 'st_e') AND b.tablename = replace(a.tablename, 'st', 'sh')
	   CROSS JOIN LATERAL jsonb_each(to_jsonb(a)) f CROSS JOIN LATERAL jsonb_each(to_jsonb(b)) g
 WHERE f.key = g.key AND f.value IS DISTINCT FROM g.value AND f.key NOT IN ('schemaname', 'tablename')
   AND (f.key <> 'correlation' OR abs(a.correlation - b.correlation) > 0.02) ORDER BY 1, 2;
SELECT * FROM st_differ;
SELECT tablename = 'st' AS of_table, count(*), count(most_common_vals), count(histogram_bounds), count(correlation), count(most_common_elems) FROM pg_stats WHERE tablename IN ('st', 'st_e') GROUP BY 1 ORDER BY 1;
SELECT attname, null_frac, avg_width, n_distinct, left(most_common_vals::text, 40) AS vals FROM pg_stats WHERE tablename = 'st' ORDER BY attname;
SELECT a.statistics_name, a.n_distinct::text = b.n_distinct::text AS n_distinct, a.dependencies::text = b.dependencies::text AS dependencies, a.most_common_vals = b.most_common_vals AS vals,
	   a.most_common_freqs = b.most_common_freqs AS freqs, a.most_common_base_freqs = b.most_common_base_freqs AS base_freqs
  FROM pg_stats_ext a JOIN pg_stats_ext b ON b.statistics_name = replace(a.statistics_name, 'st_', 'sh_') WHERE a.tablename = 'st' ORDER BY 1;
SELECT statistics_name, n_distinct, dependencies, cardinality(most_common_vals) FROM pg_stats_ext WHERE tablename = 'st' ORDER BY 1;
SELECT a.expr, a.n_distinct = b.n_distinct AS n_distinct, a.most_common_vals::text = b.most_common_vals::text AS vals
  FROM pg_stats_ext_exprs a JOIN pg_stats_ext_exprs b ON a.expr = b.expr AND a.tablename = 'st' AND b.tablename = 'sh' ORDER BY 1;
-- what the planner makes of it
CREATE FUNCTION st_rows(q text) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE j json; BEGIN EXECUTE 'EXPLAIN (FORMAT json) ' || q INTO j; RETURN (j->0->'Plan'->>'Plan Rows')::bigint; END $$;
SELECT w, st_rows('SELECT * FROM st WHERE ' || w) = st_rows('SELECT * FROM sh WHERE ' || w) AS same
  FROM (VALUES ('k = 3'), ('k = 100 AND c = ''NaN'''), ('s IS NULL'), ('id < 1000'), ('id < 3000 AND d < ''2020-03-01'''), ('s = ''val5'''), ('n IS NOT NULL'), ('id % 50 = 7'), ('x @> ''{1}'''), ('id % 4 = 1')) v(w);
-- after merging, a second ANALYZE says the same; VACUUM too
SELECT merge('st');
ANALYZE st;
SELECT * FROM st_differ;
VACUUM (ANALYZE) st; VACUUM (ANALYZE) sh;
SELECT * FROM st_differ;
SELECT (SELECT reltuples FROM pg_class WHERE relname = 'st') = (SELECT reltuples FROM pg_class WHERE relname = 'sh') AS same;
-- some columns only; a target of 0; own changes that are not committed
ALTER TABLE st ALTER u SET STATISTICS 0;
UPDATE st SET k = 1;
ANALYZE st (k, u);
SELECT attname, n_distinct FROM pg_stats WHERE tablename = 'st' AND attname IN ('k', 's') ORDER BY 1;
BEGIN;
DELETE FROM st WHERE id > 100;
INSERT INTO st (id, k) SELECT g, 2 FROM generate_series(1, 500) g;
ANALYZE st (k);
SELECT reltuples, (SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'st' AND attname = 'k') FROM pg_class WHERE relname = 'st';
ROLLBACK;
SELECT count(*) FROM st;
-- more rows than the sample: near the truth, wherever the rows lie
CREATE TABLE sl (id int, k int, grp int);
INSERT INTO sl SELECT g, g % 20, g / 20000 FROM generate_series(1, 60000) g;
DELETE FROM sl WHERE grp = 1;
INSERT INTO sl SELECT g, 50, 9 FROM generate_series(60001, 61000) g;
SET default_statistics_target = 10;
ANALYZE sl;
SELECT reltuples BETWEEN 39000 AND 43000 AS tuples FROM pg_class WHERE relname = 'sl';
SELECT attname, CASE WHEN attname = 'id' THEN n_distinct < -0.8 WHEN attname = 'k' THEN n_distinct BETWEEN 20 AND 22 ELSE n_distinct BETWEEN 2 AND 5 END AS n_distinct,
	   abs(correlation) > 0.9 AS sorted FROM pg_stats WHERE tablename = 'sl' ORDER BY 1;
SELECT (most_common_vals::text::int[])[1:2] <@ array[0, 2, 3, 9] AS vals, most_common_freqs[1] BETWEEN 0.4 AND 0.6 AS freqs FROM pg_stats WHERE tablename = 'sl' AND attname = 'grp';
SELECT st_rows('SELECT * FROM sl WHERE id < 10000') BETWEEN 8000 AND 12500 AS fewer, st_rows('SELECT * FROM sl WHERE grp = 2') BETWEEN 15000 AND 25000 AS half;
-- values that repeat at equal distances
CREATE TABLE sper AS SELECT g AS id, g % 16 AS a, g % 100 AS b, g % 128 AS c, g % 1000 AS d FROM generate_series(1, 200000) g;
ANALYZE sper;
SELECT attname, CASE attname WHEN 'a' THEN n_distinct = 16 WHEN 'b' THEN n_distinct = 100 WHEN 'c' THEN n_distinct = 128 WHEN 'd' THEN n_distinct BETWEEN 800 AND 1300 END AS n_distinct,
	   coalesce(most_common_freqs[1] < 0.3, true) AS even FROM pg_stats WHERE tablename = 'sper' AND attname <> 'id' ORDER BY 1;
DROP TABLE sper;
RESET default_statistics_target;
-- a merged table whose rows went in runs: what is left is counted, not guessed
CREATE TABLE sg (id int PRIMARY KEY, v int);
INSERT INTO sg SELECT g, g FROM generate_series(1, 40000) g;
DELETE FROM sg WHERE id BETWEEN 1000 AND 9000 OR id % 7 = 0 AND id > 20000;
SELECT merge('sg');
VACUUM sg;
DELETE FROM sg WHERE id BETWEEN 500 AND 12000;
ANALYZE sg;
SELECT reltuples = (SELECT count(*) FROM sg) AS tuples FROM pg_class WHERE relname = 'sg';
DELETE FROM sg;
ANALYZE sg;
SELECT reltuples FROM pg_class WHERE relname = 'sg';
DROP TABLE sg;
-- a parent's statistics are made of its children's rows
CREATE TABLE sp (id int, k int) PARTITION BY RANGE (id);
CREATE TABLE sp1 PARTITION OF sp FOR VALUES FROM (0) TO (1000);
CREATE TABLE sp2 PARTITION OF sp FOR VALUES FROM (1000) TO (3000) USING heap;
INSERT INTO sp SELECT g, g / 1000 FROM generate_series(0, 2999) g;
ANALYZE sp;
SELECT tablename, inherited, attname, n_distinct, most_common_freqs FROM pg_stats WHERE tablename IN ('sp', 'sp1', 'sp2') AND attname = 'k' ORDER BY 1;
SELECT relname, reltuples FROM pg_class WHERE relname IN ('sp', 'sp1', 'sp2') ORDER BY 1;
-- nothing there
CREATE TABLE s0 (a int, b text);
ANALYZE s0;
SELECT reltuples FROM pg_class WHERE relname = 's0';
INSERT INTO s0 SELECT NULL, NULL FROM generate_series(1, 100);
ANALYZE s0;
SELECT attname, null_frac, n_distinct FROM pg_stats WHERE tablename = 's0' ORDER BY 1;
DELETE FROM s0;
ANALYZE s0;
SELECT reltuples FROM pg_class WHERE relname = 's0';
-- counters
SELECT pg_stat_force_next_flush();
SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname IN ('sp1', 's0') ORDER BY 1;
BEGIN;
INSERT INTO s0 VALUES (1), (2), (3);
SAVEPOINT s;
INSERT INTO s0 VALUES (4), (5);
DELETE FROM s0 WHERE a < 3;
ROLLBACK TO s;
UPDATE s0 SET a = 9 WHERE a = 3;
COMMIT;
BEGIN;
INSERT INTO s0 VALUES (6);
ROLLBACK;
SELECT pg_stat_force_next_flush();
SELECT n_tup_ins, n_tup_upd, n_tup_del, n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relname = 's0';
TRUNCATE s0;
SELECT pg_stat_force_next_flush();
SELECT n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relname = 's0';
INSERT INTO s0 VALUES (1);
SELECT count(*) FROM s0 WHERE a = 1;
SELECT pg_stat_force_next_flush();
SELECT seq_scan > 0 AS scans, seq_tup_read > 0 AS read FROM pg_stat_user_tables WHERE relname = 's0';
DROP VIEW st_differ;
DROP TABLE st, sh, sl, sp, s0;
DROP FUNCTION st_rows;
