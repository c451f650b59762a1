-- A foreign table answers like the relation behind it: the same random queries on both, and what EXPLAIN says is pushed.
CREATE SCHEMA near;
CREATE SCHEMA far;
CREATE SERVER m FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic');
CREATE TYPE near.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE near.t (
	id int PRIMARY KEY, i2 smallint, i8 bigint, n numeric(12,3), f float8, b bool, s text, c text COLLATE "C",
	v varchar(8), p char(5), d date, ts timestamp, tz timestamptz, iv interval, by bytea, u uuid, j jsonb, a int[], m near.mood);
SELECT setseed(0.25);
-- random() is read in an order of its own here: one value a column
INSERT INTO near.t
	SELECT i,
		CASE WHEN random() < 0.8 THEN (random() * 20 - 10)::smallint END,
		CASE WHEN random() < 0.8 THEN (random() * 1e12)::bigint END,
		CASE WHEN random() < 0.8 THEN (random() * 100 - 50)::numeric(12,3) END,
		CASE WHEN random() < 0.8 THEN round((random() * 10)::numeric, 1)::float8 END,
		CASE WHEN random() < 0.8 THEN random() < 0.5 END,
		CASE WHEN random() < 0.8 THEN chr(97 + (random() * 5)::int) || chr(65 + (random() * 5)::int) END,
		CASE WHEN random() < 0.8 THEN chr(65 + (random() * 40)::int) END,
		CASE WHEN random() < 0.8 THEN repeat('x', (random() * 4)::int) END,
		CASE WHEN random() < 0.8 THEN repeat('y', (random() * 3)::int) END,
		CASE WHEN random() < 0.8 THEN date '2024-01-01' + (random() * 60)::int END,
		CASE WHEN random() < 0.8 THEN timestamp '2024-01-01' + random() * interval '60 days' END,
		CASE WHEN random() < 0.8 THEN timestamptz '2024-01-01 00:00+00' + random() * interval '60 days' END,
		CASE WHEN random() < 0.8 THEN (random() * 40 - 20) * interval '1 hour' END,
		CASE WHEN random() < 0.8 THEN decode(md5(i::text), 'hex') END,
		CASE WHEN random() < 0.8 THEN md5(i::text)::uuid END,
		CASE WHEN random() < 0.8 THEN jsonb_build_object('k', i % 7, 'l', 'x' || i % 3) END,
		CASE WHEN random() < 0.8 THEN ARRAY[i % 5, i % 3] END,
		CASE WHEN random() < 0.8 THEN (enum_range(NULL::near.mood))[1 + i % 3] END
	FROM generate_series(1, 400) i;
ANALYZE near.t;
IMPORT FOREIGN SCHEMA near FROM SERVER m INTO far;

-- atoms of predicates; some ship, some do not
CREATE TABLE atoms (no serial, atom text);
INSERT INTO atoms (atom) VALUES
	('id < 200'), ('id % 7 = 3'), ('i2 > 0'), ('i2 IS NULL'), ('i2 + i8 > 5'), ('-i2 < 3'), ('i8 BETWEEN 1000 AND 500000000000'),
	('n > 1.5'), ('n = i2'), ('round(n) = 3'), ('abs(n) < 20.25'), ('n::int > f'), ('f <> 5'), ('f / 2 > 1.25'), ('b'), ('NOT b'), ('b IS NOT TRUE'),
	('b IS UNKNOWN'), ('b IS FALSE'), ('s = ''aB'''), ('s < ''c'''), ('s LIKE ''a%'''), ('s ~ ''[bB]'''), ('upper(s) > ''C'''), ('s || c = ''aBC'''),
	('c > ''a'''), ('c < ''d'''), ('s < c COLLATE "C"'), ('c COLLATE "POSIX" < ''b'''), ('length(v) = 2'), ('v = ''xx'''), ('v::text || ''x'' = ''xxx'''),
	('p = ''yy'''), ('p < ''yyy  '''), ('substr(s, 2, 1) = ''A'''), ('d > ''2024-02-01'''), ('d = ts'), ('d + 3 < date ''2024-01-20'''), ('ts < tz'),
	('tz > ''2024-01-15 03:00+02'''), ('date_trunc(''month'', ts) = ''2024-02-01'''), ('extract(dow FROM ts) = 1'), ('iv > ''-3:00'''),
	('ts + iv > ''2024-02-10'''), ('by > ''\x80'''), ('by = ''\x00\x5c'''), ('u < ''80000000-0000-0000-0000-000000000000'''), ('j @> ''{"k": 3}'''),
	('j->>''l'' = ''x1'''), ('j = ''{"k": 1, "l": "x2"}'''), ('a @> ''{3}'''), ('a = ARRAY[id % 5, 2]'), ('a[1] = 2'), ('2 = ANY (a)'),
	('m = ''ok'''), ('m > ''sad'''), ('i2 IN (1, 2, 3)'), ('i2 NOT IN (1, NULL)'), ('i2 NOT IN (4, 5)'), ('s IN (''aA'', ''bB'', NULL)'),
	('i2 IS DISTINCT FROM 3'), ('i2 IS NOT DISTINCT FROM NULL'), ('COALESCE(i2, 7) = 7'), ('NULLIF(i2, 1) IS NULL'),
	('CASE WHEN b THEN i2 ELSE 5 END > 2'), ('CASE i2 WHEN 1 THEN true ELSE b END'), ('GREATEST(i2, 3) = 3'), ('(i2, id) < (3, 50)'),
	('EXISTS (SELECT 1 FROM near.mood_names x WHERE x.name = t.m::text)'), ('id = (SELECT max(id) / 2 FROM near.t)'), ('random() >= 0'),
	('to_char(d, ''MM'') = ''02'''), ('(id > 10) = b'), ('(s = ''aB'') IS NULL'), ('s = E''a\\\\b'''), ('t IS NOT NULL'), ('md5(s) < ''8''');
CREATE VIEW near.mood_names AS SELECT unnest(ARRAY['ok', 'sad']) AS name;

CREATE FUNCTION predicate(depth int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r float8 := random();
BEGIN
	IF depth = 0 OR r < 0.2 THEN
		RETURN (SELECT atom FROM atoms WHERE no = (SELECT 1 + floor(random() * max(no))::int FROM atoms));
	ELSIF r < 0.5 THEN
		RETURN '(' || predicate(depth - 1) || ' AND ' || predicate(depth - 1) || ')';
	ELSIF r < 0.8 THEN
		RETURN '(' || predicate(depth - 1) || ' OR ' || predicate(depth - 1) || ')';
	ELSE
		RETURN 'NOT (' || predicate(depth - 1) || ')';
	END IF;
END
$$;
-- the result of a query as one text, or its error
CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'SELECT string_agg(q::text, chr(10)) FROM (' || query || ') q' INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
-- queries whose answers differ: none; and whether most are answers, so that the test does not compare errors only
CREATE FUNCTION compare(shape text, n int) RETURNS TABLE (queries int, answered bool, different text) LANGUAGE plpgsql AS $$
DECLARE
	query text;
	near text;
	far text;
	failing int := 0;
BEGIN
	queries := 0;
	FOR i IN 1..n LOOP
		query := format(shape, predicate(2));
		near := answer(query);
		far := answer(replace(query, 'near.t', 'far.t'));
		queries := queries + 1;
		IF near ~ '^[0-9A-Z]{5} [a-z]' THEN failing := failing + 1; END IF;
		IF near IS DISTINCT FROM far THEN
			different := concat_ws(E'\n', query, left(near, 500), '----', left(far, 500));
			RETURN NEXT;
		END IF;
	END LOOP;
	answered := failing < n / 4;
	different := 'none more';
	RETURN NEXT;
END
$$;
-- each atom alone
SELECT atom, answer('SELECT * FROM near.t t WHERE ' || atom || ' ORDER BY id') IS NOT DISTINCT FROM
	answer('SELECT * FROM far.t t WHERE ' || atom || ' ORDER BY id') AS same
FROM atoms ORDER BY no;
SELECT * FROM compare('SELECT * FROM near.t t WHERE %s ORDER BY id', 300);
SELECT * FROM compare('SELECT s, m, count(*), sum(n), avg(i8), min(c), max(ts), count(DISTINCT i2), sum(i2) FILTER (WHERE b) FROM near.t t WHERE %s GROUP BY s, m ORDER BY s, m', 100);
SELECT * FROM compare('SELECT count(*), sum(n * 2) + 1, max(d) FROM near.t t WHERE %s HAVING count(*) > 3', 50);
SELECT * FROM compare('SELECT id, c FROM near.t t WHERE %s ORDER BY c DESC NULLS LAST, id LIMIT 7 OFFSET 2', 50);
SELECT * FROM compare('SELECT count(*), min(id) > 0 FROM (SELECT id FROM near.t t WHERE %s LIMIT 5) l', 30);
SELECT * FROM compare('SELECT id, (SELECT o.s FROM near.t o WHERE o.id > t.id ORDER BY o.n DESC NULLS LAST, o.id LIMIT 1) FROM near.t t WHERE %s ORDER BY d NULLS FIRST, id LIMIT 4', 30);
SELECT * FROM compare('SELECT t.id, oid FROM near.t t JOIN (SELECT id AS oid, i2 AS oi2 FROM near.t) o ON t.i2 = oi2 AND oid < t.id WHERE %s ORDER BY 1, 2', 50);
SELECT * FROM compare('SELECT t.id, (SELECT count(*) FROM near.t o WHERE o.i2 = t.i2 AND o.id <= t.id) FROM near.t t WHERE %s ORDER BY 1', 20);
SELECT * FROM compare('SELECT g, x.* FROM generate_series(1, 3) g LEFT JOIN LATERAL (SELECT t.id FROM near.t t WHERE t.i2 = g AND %s ORDER BY id LIMIT 2) x ON true ORDER BY 1, 2', 50);
SELECT * FROM compare('SELECT t FROM near.t t WHERE %s ORDER BY id LIMIT 3', 20);
-- joins, of which parts or all ship
SELECT * FROM compare('SELECT t.id, o.oid, o.os FROM near.t t JOIN (SELECT id AS oid, s AS os, i2 AS oi2 FROM near.t WHERE n > 0) o ON t.id = oi2 + 20 WHERE %s ORDER BY 1, 2', 50);
SELECT * FROM compare('SELECT t.id, o.oid, o.os FROM near.t t LEFT JOIN (SELECT id AS oid, s AS os, i2 AS oi2 FROM near.t WHERE n > 0) o ON t.i2 = oi2 AND t.id < oid WHERE %s ORDER BY 1, 2, 3', 50);
SELECT * FROM compare('SELECT t.id FROM near.t t LEFT JOIN (SELECT id AS oid, s AS os, i2 AS oi2 FROM near.t WHERE n > 0) o ON t.i2 = oi2 AND t.id < oid WHERE oid IS NULL AND %s ORDER BY 1', 30);
SELECT * FROM compare('SELECT count(*), sum(oid), min(os), max(pc) FROM near.t t LEFT JOIN (SELECT id AS oid, s AS os, i2 AS oi2, c AS oc FROM near.t WHERE b) o ON t.i2 = oi2 JOIN (SELECT id AS pid, c AS pc FROM near.t WHERE m <> ''sad'') p ON p.pc = o.oc WHERE %s', 30);
SELECT * FROM compare('SELECT oi2, count(*), sum(n) FROM (SELECT id AS oid, i2 AS oi2 FROM near.t WHERE i2 IS NOT NULL) o LEFT JOIN near.t t ON t.i2 = oi2 AND %s GROUP BY oi2 ORDER BY 1', 30);
SELECT * FROM compare('SELECT t.id, oid, pid FROM (SELECT id AS oid, i2 AS oi2 FROM near.t WHERE id < 30) o LEFT JOIN (near.t t JOIN (SELECT id AS pid FROM near.t) p ON pid = t.id + 1) ON t.id = oid AND %s ORDER BY 2, 1, 3', 30);
SELECT * FROM compare('SELECT t.id FROM near.t t WHERE EXISTS (SELECT FROM near.t o WHERE o.i2 = t.i2 AND o.id > t.id) AND %s ORDER BY 1', 20);
SELECT * FROM compare('SELECT t.id, oid FROM near.t t FULL JOIN (SELECT id AS oid FROM near.t WHERE b) o ON t.id = oid + 3 WHERE %s ORDER BY 1, 2 LIMIT 20', 20);
SELECT * FROM compare('SELECT t.id, oid FROM near.t t LEFT JOIN (SELECT id AS oid, i2 AS oi2 FROM near.t) o ON t.i2 = oi2 WHERE %s ORDER BY t.id DESC, oid NULLS FIRST LIMIT 5 OFFSET 1', 30);
SET enable_hashjoin = off; SET enable_mergejoin = off;
SELECT * FROM compare('SELECT t.id, oid FROM near.t t JOIN (SELECT id AS oid FROM near.t WHERE i8 > 5) o ON t.id = oid + 1 WHERE %s ORDER BY 1, 2', 20);
RESET enable_hashjoin;
RESET enable_mergejoin;

-- what is pushed
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, s FROM far.t WHERE id > 5 AND s LIKE 'a%' AND c < 'b' AND tz > '2024-01-01 00:00+00' AND i2 = ANY ('{1,2}');
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM far.t WHERE random() < 2 AND near.mood(m::text) = 'ok';
CREATE FUNCTION own(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + length(repeat(''a'', $1))';
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM far.t WHERE (random() < 2 OR b) AND a[1] = 2 AND GREATEST(i2, 3) = 3 AND id = (SELECT 1 WHERE id > 0);
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM far.t ORDER BY c DESC, id;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM far.t WHERE b ORDER BY n, id LIMIT 3 OFFSET 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM far.t WHERE b LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM far.t WHERE b AND random() < 2 LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT DISTINCT n FROM far.t WHERE b LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT n FROM far.t WHERE b ORDER BY n FETCH FIRST 3 ROWS WITH TIES;
EXPLAIN (VERBOSE, COSTS OFF) SELECT m, count(*), sum(n) FROM far.t WHERE b GROUP BY m HAVING sum(n) > 0;
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) FROM far.t;
EXPLAIN (VERBOSE, COSTS OFF) SELECT sum(n) FROM far.t WHERE random() < 2;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
EXPLAIN (VERBOSE, COSTS OFF) SELECT far.t.n FROM (VALUES (3), (4)) v (k) JOIN far.t ON far.t.id = v.k;
RESET enable_hashjoin;
RESET enable_mergejoin;
EXPLAIN (VERBOSE, COSTS OFF) SELECT t.id, o.s, count(*) FROM far.t t LEFT JOIN far.t o ON o.id = t.i2 AND o.b WHERE t.n > 0 GROUP BY 1, 2 HAVING count(*) < 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT t.id, o.s FROM far.t t JOIN far.t o ON o.id = t.i2 WHERE t.n > 0 AND o.n < 0 ORDER BY t.id LIMIT 3;
EXPLAIN (VERBOSE, COSTS OFF) SELECT t.id, o.s FROM far.t t JOIN far.t o ON o.id = t.i2 WHERE random() < 2;
EXPLAIN (VERBOSE, COSTS OFF) SELECT t.id, o.s FROM far.t t JOIN far.t o ON o.id = t.i2 WHERE t.n > 0 FOR UPDATE OF t;
-- a condition on the outside of a security barrier does not go in before it
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, n FROM far.t WHERE own(id) > 0;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM barrier WHERE 1 / (id - 5) > 0 AND id < 10;

-- prepared statements, with the values in the plan and as parameters
PREPARE q(int, text, date) AS SELECT id, s, d FROM far.t WHERE id < $1 AND s > $2 AND d >= $3 ORDER BY id;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE q(20, 'b', '2024-01-05');
EXECUTE q(20, 'b', '2024-01-05');
EXECUTE q(20, NULL, '2024-01-05');
EXECUTE q(9, 'a', '2024-01-02');
SET plan_cache_mode = force_custom_plan;
EXECUTE q(9, 'a', '2024-01-02');
RESET plan_cache_mode;

-- cursors, forwards and back, over a rescan and beyond the transaction
BEGIN;
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT id FROM far.t WHERE id < 6 ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
COMMIT;
FETCH ALL FROM c;
CLOSE c;
-- two cursors and a query at the same time
BEGIN;
DECLARE c1 CURSOR FOR SELECT id FROM far.t ORDER BY id;
DECLARE c2 CURSOR FOR SELECT id FROM far.t ORDER BY id DESC;
FETCH 2 FROM c1;
FETCH 2 FROM c2;
SELECT count(*) FROM far.t;
CLOSE c1;
FETCH 1 FROM c2;
ROLLBACK;

-- settings that change how constants are spelt
SET DateStyle = 'German, DMY'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -5; SET TimeZone = 'Asia/Tokyo';
SET search_path = near;
SELECT count(*) FROM far.t WHERE iv > '-1 days -2:00' AND d <> '2024-03-04' AND tz > '2024-01-02 3:00' AND f <> 1.1000000000000001;
SELECT count(*) FROM near.t WHERE iv > '-1 days -2:00' AND d <> '2024-03-04' AND tz > '2024-01-02 3:00' AND f <> 1.1000000000000001;
RESET ALL;

-- a query of the base that fails says where
\set SHOW_CONTEXT always
SELECT 1 FROM far.t WHERE 1 / (id - id) > 0;
\set SHOW_CONTEXT errors

-- ANALYZE reads the base
ANALYZE far.t;
SELECT attname, null_frac > 0.1 AND null_frac < 0.3 AS nulls, n_distinct FROM pg_stats WHERE schemaname = 'far' AND tablename = 't' AND attname IN ('id', 'i2', 'b') ORDER BY 1;
SELECT reltuples FROM pg_class WHERE oid = 'far.t'::regclass;

\set VERBOSITY terse
DROP SCHEMA near CASCADE;
DROP SCHEMA far CASCADE;
DROP SERVER m CASCADE;
DROP FUNCTION predicate, answer, compare, own;
DROP TABLE atoms;
