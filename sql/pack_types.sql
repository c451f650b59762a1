-- Packs give back every value bit for bit: each type, encoding and null pattern, holes, sizes.
-- pack_check() packs the rows of a query and compares block, vector and single reads with them.
CREATE EXTENSION IF NOT EXISTS pack_test;

-- every type by value, with extremes
SELECT pack_rows, encodings FROM pack_check($$
  SELECT g % 2 = 0 AS b, (g % 200)::int2 - 100 AS i2, g * 7 AS i4, g::int8 * 1000000007 AS i8,
         (g % 250 - 125)::int::"char" AS c, (4294967295 - g)::oid AS o, date '2000-01-01' + g % 900 AS d,
         timestamp '2020-01-01' + g * interval '1 second' AS ts,
         timestamptz '1999-12-31 23:59:59.999999+00' + g * interval '37 minutes' AS tz,
         time '00:00' + g * interval '1 ms' AS t, (g / 100.0)::money AS m, 'pg_class'::regclass AS r,
         g::text::xid AS x
  FROM generate_series(1, 5000) g $$, 2500);
SELECT pack_rows FROM pack_check($$
  SELECT * FROM (VALUES (1, 9223372036854775807::int8, 2147483647, 32767::int2, date 'infinity', timestamp 'infinity'),
    (2, -9223372036854775808, -2147483648, (-32768)::int2, date '-infinity', timestamp '-infinity'),
    (3, 0, 0, 0::int2, NULL, NULL), (4, 1, 1, 1::int2, date '2024-02-29', timestamp '4713-01-01 BC')) v(a, b, c, d, e, f),
    generate_series(1, 700) $$, 100000);

-- floats keep NaN payloads, -0, infinities; decimals are recognised
SELECT pack_rows FROM pack_check($$
  SELECT f, (f * 10 ^ (150 - g % 300))::float4 AS f4, CASE g % 5 WHEN 0 THEN 'NaN'::float8 WHEN 1 THEN '-0'::float8 WHEN 2 THEN 'Infinity'::float8
    WHEN 3 THEN '-Infinity' ELSE f END AS odd, (g % 1000) / 100::float8 AS price, NULLIF(g % 1000, 5)::float8 / 10 AS with_null,
    'NaN'::float4 AS nan4, CASE WHEN g > 2048 THEN 'NaN'::float8 ELSE g END AS nan_block
  FROM generate_series(1, 4000) g, LATERAL (SELECT sin(g) * 10 ^ (g % 300 - 150) AS f) s $$, 4000);

-- numeric: scaled, wide, exceptions, odd scales, as bytes
SELECT pack_rows, encodings FROM pack_check($$
  SELECT (g * 0.01)::numeric(15,2) AS n, (g % 50)::numeric(15,2) AS few, g::numeric AS plain, -g / 3.0 AS third,
         g * 1e30 AS wide, g * 12345678901234567890.12345 AS wide2, CASE WHEN g % 100 = 0 THEN 'NaN' ELSE g::numeric(10,3) END AS nan,
         CASE g % 300 WHEN 7 THEN 'Infinity' WHEN 8 THEN '-Infinity' WHEN 9 THEN 1e60 WHEN 10 THEN 1e-60 ELSE g::numeric END AS odd,
         (g / 7.0)::numeric(30, 12) AS scaled, round(g, -2) AS negative, trim_scale(g / 100.0) AS mixed,
         CASE WHEN g % 3 = 0 THEN g::numeric(12,4) END AS nulls, 0.000::numeric AS zero,
         CASE WHEN g % 900 = 1 THEN 1e25::numeric(38,2) ELSE g::numeric(38,2) END AS rarely_wide
  FROM generate_series(1, 3000) g $$, 3000);
SELECT pack_rows FROM pack_check($$
  SELECT s.sign * d::numeric * 10::numeric ^ p AS n
  FROM (VALUES (1), (-1)) s(sign), generate_series(-40, 40) p, (VALUES (1), (9), (10), (9999), (10000), (99999999)) d(d) $$, 200);
SELECT pack_rows FROM pack_check($$
  SELECT (9223372036854775807 - g)::numeric AS near, (-9223372036854775808 + g)::numeric AS low,
         (9223372036854775807 - g) / 1000.0 AS scaled, 99999999999999999999999999999999999999 - g AS most
  FROM generate_series(0, 1500) g $$, 1501);

-- by reference: fixed, varlena, cstring, short and long, arrays, composite, ranges
SELECT pack_rows, encodings FROM pack_check($$
  SELECT md5(g::text)::uuid AS u, md5((g % 10)::text)::uuid AS few, g * interval '1 hour' AS i, ('n' || g)::name AS n,
         repeat('x', g % 300) AS t, ('b' || g % 7)::varchar(10) AS v, (g % 9)::text::char(12) AS bp, decode(md5(g::text), 'hex') AS by,
         jsonb_build_object('k', g, 'v', md5(g::text)) AS j, array[g, g + 1, NULL] AS a, array['a', g::text] AS ta,
         int4range(g, g + 10) AS r, row(g, 'x') AS rec, ('10.0.0.' || g % 256)::inet AS ip, '08:00:2b:01:02:03'::macaddr AS mac,
         B'1011'::varbit AS vb, point(g, -g) AS p, ('' || g)::cstring AS cs, to_tsvector('word ' || g) AS tsv, '(0,1)'::tid AS tid,
         '1 2 3'::int2vector AS iv, '4 5'::oidvector AS ov, xmlcomment('x' || g) AS xm
  FROM generate_series(1, 3000) g $$, 3000);

-- text: codecs, dictionaries, empty strings, nulls
SELECT pack_rows, encodings FROM pack_check($$
  SELECT '' AS empty, NULL::text AS nothing, CASE WHEN g % 2 = 0 THEN '' END AS e2, 'const' AS one, (g % 3)::text AS three,
         (g % 3000)::text AS many, md5(g::text) AS random, 'quick brown fox ' || (g * 7919 % 1000) || ' jumps' AS words,
         repeat(md5(g::text), 20) AS cold, CASE WHEN g % 500 = 0 THEN repeat('long', 5000) ELSE 'short' || g END AS skewed,
         CASE WHEN g < 2000 THEN NULL ELSE g::text END AS late, g::text COLLATE "C" AS asc
  FROM generate_series(1, 10000) g $$, 6000);

-- text by symbols: bytes without one, zeros, empty strings and nulls; a value too long for it
SELECT pack_rows, encodings FROM pack_check($$
  SELECT s AS words, 'Grüße 漢字 ' || s || chr(200 + g % 900) AS unicode,
         convert_to(s, 'UTF8') || decode(repeat('00', g % 13), 'hex') || int4send(hashint4(g)) AS zeros,
         CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE s END AS nulls, 'x' || g AS short,
         s || CASE WHEN g = 3000 THEN repeat('deposits', 200000) ELSE '' END AS long, s || ' ' || chr(1 + g % 127) AS rare
  FROM generate_series(1, 10000) g,
       LATERAL (SELECT string_agg((ARRAY['furious', 'final', 'deposits', 'regular', 'carefully', 'pending', 'requests', 'accounts', 'blithe',
           'ironic', 'packages', 'express', 'theodolites', 'slyly', 'unusual', 'among'])[1 + abs(hashint4(g * 7 + w)) % 16], ' ' ORDER BY w) AS s
         FROM generate_series(1, 5) w) x $$, 9000, 0.3);

-- integers: constant, runs, ascending, sparse, common divisor, full range
SELECT pack_rows FROM pack_check($$
  SELECT 7 AS constant, g / 500 AS runs, g AS ascending, g * 1000 AS step, (g % 100) * 100 AS divisor, CASE WHEN g % 50 = 0 THEN g * 99991 END AS sparse,
         hashint4(g)::int8 * 4294967296 + hashint4(g + 1) AS random, CASE WHEN g BETWEEN 1500 AND 3700 THEN g END AS island,
         CASE WHEN g % 2 = 0 THEN 9223372036854775807 ELSE -9223372036854775808 END AS extremes, -g AS descending,
         CASE WHEN g % 7 = 0 THEN NULL ELSE g / 100 END AS runs_with_nulls, g * g AS square
  FROM generate_series(1, 9000) g $$, 4500);

-- every width of packed codes, whole and tail blocks
DO $$
DECLARE width int; k text;
BEGIN
  FOREACH k IN ARRAY ARRAY['base', 'avx2', 'avx512'] LOOP
    FOR width IN 0..62 LOOP
      PERFORM pack_check(format($q$
        SELECT (('x' || md5(g::text))::bit(64)::int8 & ((1::int8 << %s) - 1)) - %s AS v,
               CASE WHEN g %% 3 > 0 THEN ('x' || md5(g::text))::bit(64)::int8 & ((1::int8 << %s) - 1) END AS n
        FROM generate_series(1, 1024 + %s) g $q$, width, width % 5, width, 1 + width * 15), 100000, 0, 0, k);
    END LOOP;
  END LOOP;
END $$;

-- row counts around the borders of blocks, tails and the row-wise layout; holes of every density
DO $$
DECLARE n int; holes float8;
BEGIN
  FOREACH n IN ARRAY ARRAY[0, 1, 2, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 1152, 2048, 2049] LOOP
    FOREACH holes IN ARRAY ARRAY[0, 0.01, 0.5, 0.97, 0.995] LOOP
      PERFORM pack_check(format($q$
        SELECT g, g::text AS t, g::numeric / 100 AS n, CASE WHEN g %% 2 = 0 THEN g::float8 END AS f, (g %% 3)::text AS d
        FROM generate_series(1, %s) g $q$, n), 100000, holes, n);
    END LOOP;
  END LOOP;
END $$;

-- no columns, no rows, many columns
SELECT packs, pack_rows FROM pack_check('SELECT FROM generate_series(1, 70000)', 131072);
SELECT packs, pack_rows FROM pack_check('SELECT 1 AS a WHERE false', 10);
DO $$
BEGIN
  PERFORM pack_check((SELECT 'SELECT ' || string_agg(CASE c % 4 WHEN 0 THEN 'g' WHEN 1 THEN 'g::text' WHEN 2 THEN 'NULL::numeric' ELSE 'g / 10.0' END || ' AS c' || c, ', ')
    || ' FROM generate_series(1, 100) g' FROM generate_series(1, 1600) c), 1000);
END $$;

-- large values
SELECT pack_rows, bytes < 300000 AS compressed FROM pack_check($$ SELECT g, repeat('abcdefghij', 2000000) AS big FROM generate_series(1, 3) g $$, 10);
SELECT pack_rows FROM pack_check($$ SELECT CASE WHEN g = 17 THEN repeat(md5('a'), 600000) ELSE g::text END AS t FROM generate_series(1, 1300) g $$, 2000);

-- random schemas; a failure prints the query, which repeats it
DO $$
DECLARE
  seed int := (random() * 1e9)::int; columns text; query text; i int; n int;
  pool text[] := ARRAY['hashint4(g)', 'g', 'g / 100', 'hashint4(g) % 10', 'g::numeric(12,2)', 'hashint4(g) / 1000.0', 'md5(g::text)', '(hashint4(g) % 20)::text',
    'g::float8', 'sin(g)', 'round(sin(g)::numeric, 3)::float8', 'cos(g)::float4', 'repeat(chr(65 + g % 26), abs(hashint4(g)) % 200)', 'md5(g::text)::uuid',
    'date ''2020-01-01'' + g', 'now() - g * interval ''1 s''', 'to_jsonb(g)', 'array_fill(g, ARRAY[g % 5])', 'hashint8(g)::int8 * hashint4(g)', 'g % 2 = 0',
    '(hashint4(g)::numeric * 1e20)::numeric(38,4)', 'g * interval ''1 min''', 'decode(md5(g::text), ''hex'')', '(g % 300)::int2', 'repeat(''z'', g % 3)'];
BEGIN
  PERFORM setseed(seed / 1e9);
  FOR i IN 1..25 LOOP
    SELECT string_agg(CASE WHEN random() < 0.4 THEN format('CASE WHEN abs(hashint4(g * 31 + %s)) %% 1000 < %s THEN %s END', c, (random() * 1000)::int, e) ELSE e END || ' AS c' || c, ', ')
      INTO columns FROM (SELECT c, pool[1 + (random() * 1000)::int % array_length(pool, 1)] AS e FROM generate_series(1, 1 + (random() * 12)::int) c) x;
    n := (random() ^ 3 * 6000)::int;
    query := format('SELECT %s FROM generate_series(1, %s) g', columns, n);
    BEGIN
      PERFORM pack_check(query, 1 + (random() * 4000)::int, CASE WHEN random() < 0.5 THEN 0 ELSE random() END, seed);
    EXCEPTION WHEN OTHERS THEN
      RAISE EXCEPTION 'seed %: %: %', seed, SQLERRM, query;
    END;
  END LOOP;
END $$;

-- damaged bytes: an error or an answer, never a crash
SELECT raised + answered AS rounds, raised > 0 AS raised FROM pack_damage($$
  SELECT g, g / 7 AS r, g::text AS t, 'word ' || g % 50 AS w, (g % 5)::text AS d, g::numeric(10,2) AS n, g * 1e30 AS wide, sin(g) AS f, g / 10::float8 AS p,
         CASE WHEN g % 9 = 0 THEN g END AS s, CASE g % 700 WHEN 5 THEN 'NaN' ELSE g::numeric END AS x, md5(g::text)::uuid AS u, repeat(md5(g::text), 9) AS cold,
         'x' || hashint8(g) || ' final' || hashint4(g) AS symbols
  FROM generate_series(1, 2500) g $$, 1500, 42);
SELECT raised + answered AS rounds, raised > 0 AS raised FROM pack_damage($$
  SELECT g, g::text AS t, g::numeric(10,2) AS n, sin(g) AS f, CASE WHEN g % 9 = 0 THEN g END AS s, md5(g::text)::uuid AS u, NULL::int AS z
  FROM generate_series(1, 30) g $$, 3000, 43);
DROP EXTENSION pack_test;
