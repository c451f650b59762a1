-- The cache of opened packs: a nested loop opens each pack and decompresses each piece of text once, however
-- many outer rows it has; the setting bounds it; it never gives what the table was before.
CREATE TABLE pc (id int PRIMARY KEY, a int, n numeric(12, 2), d text, t text) USING magic;
INSERT INTO pc SELECT g, g % 10, g / 4.0, 'd' || g % 20, 'text ' || repeat(md5(g::text), 3)
  FROM generate_series(1, 20000) g;
INSERT INTO pc SELECT g, g % 10, g / 4.0, 'd' || g % 20, 'text ' || repeat(md5(g::text), 3)
  FROM generate_series(20001, 40000) g;
CREATE TABLE pc_twin USING heap AS TABLE pc;
ALTER TABLE pc_twin ADD PRIMARY KEY (id);
CREATE TABLE outer_rows USING heap AS SELECT g AS nr, (g * 7919::bigint % 40000 + 1)::int AS k FROM generate_series(1, 12000) g;
VACUUM ANALYZE pc, pc_twin, outer_rows;
\c
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_memoize = off;
SET max_parallel_workers_per_gather = 0;
EXPLAIN (COSTS off) SELECT * FROM outer_rows JOIN pc ON id = k WHERE nr <= 1000;
CREATE VIEW joined AS SELECT nr, k, pc.a, pc.n, pc.d, pc.t FROM outer_rows JOIN pc ON id = k;
CREATE VIEW joined_twin AS SELECT nr, k, pc_twin.a, pc_twin.n, pc_twin.d, pc_twin.t FROM outer_rows JOIN pc_twin ON id = k;
CREATE FUNCTION differences(rows int) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM ((SELECT * FROM joined WHERE nr <= rows EXCEPT ALL SELECT * FROM joined_twin WHERE nr <= rows)
    UNION ALL (SELECT * FROM joined_twin WHERE nr <= rows EXCEPT ALL SELECT * FROM joined WHERE nr <= rows)) x $$;
-- every pack and most pieces of text are met by a quarter of the rows; four times as many rows cost no more
SELECT opened AS opened_0, decompressed AS decompressed_0 FROM magic.pack_cache() \gset
SELECT count(t) FROM joined WHERE nr <= 3000;
SELECT opened AS opened_1, decompressed AS decompressed_1 FROM magic.pack_cache() \gset
SELECT count(t) FROM joined;
SELECT opened AS opened_2, decompressed AS decompressed_2 FROM magic.pack_cache() \gset
SELECT :opened_1 BETWEEN 1 AND 3 AS opened_once, :opened_2 - :opened_1 AS opened_more,
  :decompressed_1 - :decompressed_0 BETWEEN 20 AND 900 AS decompressed_once,
  :decompressed_2 - :decompressed_1 < 50 AS hardly_more;
-- the next transactions find what the ones before have opened
SELECT count(t) FROM joined;
SELECT t FROM pc WHERE id = 7777;
SELECT opened - :opened_2 AS opened_more, decompressed - :decompressed_2 AS decompressed_more FROM magic.pack_cache();
SELECT differences(12000);
-- the bound
SET magic.pack_cache_size = '1MB';
SELECT bytes <= 1024 * 1024 AS bounded FROM magic.pack_cache();
SELECT differences(2000);
SELECT bytes <= 1024 * 1024 AS bounded FROM magic.pack_cache();
SET magic.pack_cache_size = '64kB';
SELECT differences(300);
SELECT bytes <= 64 * 1024 AS bounded FROM magic.pack_cache();
SET magic.pack_cache_size = 0;
SELECT differences(300);
SELECT packs, bytes FROM magic.pack_cache();
RESET magic.pack_cache_size;
-- two scans share a pack and do not overwrite each other's values
SET enable_seqscan = off;
SELECT count(*) FROM pc x JOIN pc y ON y.id = 40001 - x.id WHERE x.id <= 2000
  AND (x.t, x.n, x.d) = (SELECT t, n, d FROM pc_twin WHERE id = x.id)
  AND (y.t, y.n, y.d) = (SELECT t, n, d FROM pc_twin WHERE id = y.id);
SELECT x.id, x.n, x.d, y.n, y.d, x.t = y.t AS same FROM pc x JOIN pc y ON y.id = x.id + 1 WHERE x.id BETWEEN 10 AND 14 ORDER BY 1;
BEGIN;
DECLARE one CURSOR FOR SELECT id, n, t FROM pc WHERE id BETWEEN 100 AND 103 ORDER BY id;
DECLARE other CURSOR FOR SELECT id, n, t FROM pc WHERE id BETWEEN 30000 AND 30003 ORDER BY id;
FETCH one;
FETCH other;
FETCH one;
-- a subtransaction that fails leaves the other scans their packs
SAVEPOINT s;
FETCH other;
SELECT n / (id - 30002) FROM pc WHERE id BETWEEN 30000 AND 30003 ORDER BY id;
ROLLBACK TO s;
FETCH one;
FETCH other;
COMMIT;
RESET enable_seqscan;
-- a plan decodes the columns that it names, and none before them
CREATE TABLE last_column (id int PRIMARY KEY, t text, v int) USING magic;
INSERT INTO last_column SELECT g, 'text ' || repeat(md5(g::text), 3), g % 100 FROM generate_series(1, 20000) g;
VACUUM ANALYZE last_column;
\c
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_memoize = off;
SELECT v FROM last_column WHERE id = 4711;
SELECT sum(v) FROM last_column;
SELECT sum(v) FROM outer_rows JOIN last_column ON id = k WHERE nr <= 100;
SELECT sum(v) FROM (SELECT v, id FROM last_column ORDER BY id DESC LIMIT 10) x;
SET enable_nestloop = off;
SET enable_mergejoin = on;
SELECT sum(v) FROM outer_rows JOIN last_column ON id = k WHERE nr <= 100;
SET enable_mergejoin = off;
SET enable_hashjoin = on;
SELECT sum(v) FROM outer_rows JOIN last_column ON id = k WHERE nr <= 100;
SELECT decompressed FROM magic.pack_cache();
SELECT * FROM last_column WHERE id = 4711;
SELECT id, length(last_column::text) FROM last_column WHERE id = 4711;
SELECT count(*) FROM last_column x WHERE EXISTS (SELECT FROM last_column y WHERE y.id = x.id + 1 AND y.t LIKE '%00%' AND y.v = 7);
SELECT decompressed > 0 AS decompressed FROM magic.pack_cache();
RESET enable_nestloop;
-- columns that come and go, rolled back and not
CREATE TABLE columns (id int PRIMARY KEY, a int, n numeric, t text) USING magic;
INSERT INTO columns SELECT g, g % 10, g / 4.0, md5(g::text) FROM generate_series(1, 5000) g;
SELECT * FROM columns WHERE id = 4711;
BEGIN;
ALTER TABLE columns ADD COLUMN later text DEFAULT 'later';
SELECT * FROM columns WHERE id = 4711;
ROLLBACK;
SELECT * FROM columns WHERE id = 4711;
ALTER TABLE columns ADD COLUMN later text DEFAULT 'later';
ALTER TABLE columns DROP COLUMN a;
SELECT * FROM columns WHERE id = 4711;
ALTER TABLE columns ALTER COLUMN n TYPE text;
SELECT * FROM columns WHERE id = 4711;
BEGIN;
TRUNCATE columns;
INSERT INTO columns VALUES (4711, 'other', 'row', 'now');
SELECT * FROM columns WHERE id = 4711;
ROLLBACK;
SELECT * FROM columns WHERE id = 4711;
-- a dropped column of a type passed by reference, in a row-wise pack
CREATE TABLE dropped (id int, c box, t text) USING magic;
INSERT INTO dropped VALUES (1, '((0,0),(2,3))', 'one'), (2, NULL, 'two');
ALTER TABLE dropped DROP c;
SELECT * FROM dropped;
DROP TABLE dropped;
-- rows that are changed, merged, and pages that are used again
UPDATE pc SET a = a + 1;
UPDATE pc_twin SET a = a + 1;
SELECT differences(2000);
VACUUM pc;
UPDATE pc SET d = 'new' || id % 20;
UPDATE pc_twin SET d = 'new' || id % 20;
SELECT differences(2000);
VACUUM pc;
DELETE FROM pc WHERE id % 3 = 0;
DELETE FROM pc_twin WHERE id % 3 = 0;
SELECT magic.compact('pc');
SELECT differences(12000);
VACUUM pc;
VACUUM pc;
INSERT INTO pc (id, n, d, t, a) SELECT g, g, 'again', md5(g::text), 1 FROM generate_series(3, 40000, 3) g;
INSERT INTO pc_twin SELECT g, 1, g, 'again', md5(g::text) FROM generate_series(3, 40000, 3) g;
SELECT differences(12000);
SELECT * FROM magic.verify('pc');
SET client_min_messages = warning;
DROP TABLE pc, pc_twin, outer_rows, last_column, columns CASCADE;
