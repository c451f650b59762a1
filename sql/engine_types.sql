-- Values of every common type, NULLs, extremes and long values come back as they went in, by
-- sequential scan, by index and after merging; what is toasted elsewhere is stored, not referenced.
SET timezone = 'UTC';
CREATE TYPE et_mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE et_pair AS (a int, b text);
CREATE DOMAIN et_pos AS int CHECK (value > 0);
CREATE TABLE et (
	id int PRIMARY KEY,
	b bool, c "char", n name, i2 int2, i4 int4, i8 int8, o oid,
	f4 float4, f8 float8, num numeric, num2 numeric(12,2), mon money,
	t text, vc varchar(20), bp char(8), by bytea,
	d date, tm time, ttz timetz, ts timestamp, tstz timestamptz, iv interval,
	u uuid, ip inet, mac macaddr, m8 macaddr8, ci cidr,
	bt bit(5), vb varbit, js json, jb jsonb, x xml,
	ia int[], ta text[], r int4range, mr int4multirange,
	e et_mood, pr et_pair, dom et_pos, pt point, bx box, pa path, tsv tsvector, lsn pg_lsn
);
INSERT INTO et (id) VALUES (1);
INSERT INTO et VALUES (2, true, 'x', 'name', 1, 2, 3, 4, 1.5, 2.5, 123.456, 99.99, 12.34,
	'text', 'varchar', 'char', '\x00ff10', '2026-01-02', '12:34:56.789', '12:34:56+02', '2026-01-02 03:04:05.678901',
	'2026-01-02 03:04:05+00', '1 year 2 mons 3 days 04:05:06', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '10.0.0.1/8',
	'08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '10.1.0.0/16', B'10101', B'110', '{"a" : 1}', '{"b": [1, 2]}',
	'<a>1</a>', '{1,NULL,3}', '{{a,b},{c,d}}', '[1,5)', '{[1,3),[7,9)}', 'ok', '(1,two)', 7, '(1,2)', '(1,2),(3,4)',
	'[(1,2),(3,4)]', 'a fat cat', '16/B374D848');
-- lower and upper ends, empty values
INSERT INTO et VALUES (3, false, '', '', -32768, -2147483648, -9223372036854775808, 0, '-Infinity', '-Infinity', '-Infinity',
	-9999999999.99, '-92233720368547758.08', '', '', '', '', '-infinity', '00:00', '00:00+15:59', '-infinity', '-infinity',
	'-178000000 years', '00000000-0000-0000-0000-000000000000', '::', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00', '::/0',
	B'00000', B'', 'null', 'null', '', '{}', '{}', 'empty', '{}', 'sad', '(,)', 1, '(-Infinity,Infinity)',
	'(0,0),(0,0)', '((0,0))', '', '0/0');
INSERT INTO et VALUES (4, true, '~', repeat('n', 63), 32767, 2147483647, 9223372036854775807, 4294967295, 'Infinity', 'NaN', 'NaN',
	9999999999.99, '92233720368547758.07', repeat('t', 5000), repeat('v', 20), 'cccccccc', decode(repeat('00ff', 3000), 'hex'),
	'infinity', '24:00', '24:00-15:59', 'infinity', 'infinity', '178000000 years', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
	'ffff::/16', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff', '0.0.0.0/0', B'11111', repeat('1', 200)::varbit,
	to_json(repeat('j', 3000)), to_jsonb(repeat('k', 3000)), '<b/>', array(SELECT generate_series(1, 2000)),
	array_fill('z'::text, array[500]), '(,)', '{(,)}', 'happy', '(2147483647,"a ""quoted"" one")', 2147483647, '(NaN,NaN)',
	'(1e300,1e300),(-1e300,-1e300)', '[(0,0),(1e-300,1)]', 'x', 'FFFFFFFF/FFFFFFFF');
CREATE VIEW et_sum AS SELECT id, md5(et::text) FROM et ORDER BY id;
SELECT * FROM et WHERE id IN (1, 2, 3) ORDER BY id;
SELECT id, length(t), length(by), cardinality(ia), cardinality(ta), length(js::text), length(jb::text), length(vb) FROM et WHERE id = 4;
SELECT * FROM et_sum;
-- through COPY, text and binary, and through a self-join insert
CREATE TABLE et2 (LIKE et INCLUDING ALL);
\set dir `mktemp -d`
\set file :dir '/et.copy'
COPY et TO :'file';
COPY et2 FROM :'file';
SELECT count(*) FROM et x1 JOIN et2 x2 ON x1.id = x2.id AND x1::text = x2::text;
TRUNCATE et2;
COPY et TO :'file' (FORMAT binary);
COPY et2 FROM :'file' (FORMAT binary);
SELECT count(*) FROM et x1 JOIN et2 x2 ON x1.id = x2.id AND x1::text = x2::text;
UPDATE et2 SET id = id + 10;
SELECT count(*) FROM et x1 JOIN et2 x2 ON x1.id + 10 = x2.id AND x1.t IS NOT DISTINCT FROM x2.t AND x1.num IS NOT DISTINCT FROM x2.num;
SELECT merge('et'), merge('et2');
SELECT * FROM et_sum;
SELECT * FROM problems('et') UNION ALL SELECT * FROM problems('et2');
\setenv DIR :dir
\! rm -rf "$DIR"

-- numeric: many scales, digits and special values, each as it was written
CREATE TABLE en (id serial, n numeric);
INSERT INTO en (n) VALUES (0), (0.0), (0.00000), (1), (1.0), (1.00), (-1), (10), (100000000000000000000), (1e-20), (12345678901234567890.123456789),
	('NaN'), ('Infinity'), ('-Infinity'), (NULL), (1e131071), (-1e131071), (1e-16383), (repeat('9', 1000)::numeric),
	(999999999999999999), (-999999999999999999), (9223372036854775807), (9223372036854775808), (-9223372036854775808), (-9223372036854775809),
	(170141183460469231731687303715884105727), (170141183460469231731687303715884105728), (0.5), (0.50), (0.500000000000000000), (99999.9999), (10000), (0.0001), (0.00010);
SELECT id, CASE WHEN length(n::text) > 60 THEN md5(n::text) ELSE n::text END, scale(n), pg_column_size(n) > 0 FROM en ORDER BY id;
SELECT merge('en');
SELECT id, CASE WHEN length(n::text) > 60 THEN md5(n::text) ELSE n::text END, scale(n) FROM en ORDER BY id;
-- a column that fits 64 bits, then 128, then neither
CREATE TABLE en2 (n numeric(18,4), m numeric(38,10), k numeric);
INSERT INTO en2 SELECT g / 7.0, g * 123456789012345.0123456789, g FROM generate_series(-3000, 3000) g;
SELECT count(*), sum(n), sum(m), sum(k), min(n), max(n), min(m), max(m), count(DISTINCT n) FROM en2;
INSERT INTO en2 VALUES ('NaN', 'NaN', 1e100), (NULL, NULL, NULL);
SELECT merge('en2');
SELECT count(*), sum(k), count(n), count(*) FILTER (WHERE n = 'NaN') FROM en2;
SELECT sum(n), sum(m) FROM en2 WHERE n <> 'NaN';
SELECT * FROM problems('en') UNION ALL SELECT * FROM problems('en2');

-- floats: signed zero, denormals, NaN payloads do not change
CREATE TABLE ef (id int, f4 float4, f8 float8);
INSERT INTO ef VALUES (1, '-0', '-0'), (2, 0, 0), (3, 1e-45, 5e-324), (4, 3.4028235e38, 1.7976931348623157e308), (5, 'NaN', 'NaN'), (6, 0.1, 0.1), (7, NULL, NULL);
SELECT id, f4, f8, float4send(f4), float8send(f8) FROM ef ORDER BY id;

-- values toasted in another table are copied whole
CREATE TABLE eh (id int, t text) USING heap;
ALTER TABLE eh ALTER t SET STORAGE EXTERNAL;
INSERT INTO eh SELECT g, repeat(g::text, 20000) FROM generate_series(1, 3) g;
CREATE TABLE ett (id int PRIMARY KEY, t text);
INSERT INTO ett SELECT * FROM eh;
INSERT INTO ett SELECT id + 10, t FROM eh;
UPDATE ett SET t = (SELECT t FROM eh WHERE eh.id = 2) WHERE id = 1;
DROP TABLE eh;
SELECT id, length(t), md5(t) FROM ett ORDER BY id;
UPDATE ett SET t = t || 'x' WHERE id = 2;
UPDATE ett SET id = 100 WHERE id = 3;
SELECT id, length(t), md5(t) FROM ett ORDER BY id;
-- compressible and incompressible long values, and many in one insert
INSERT INTO ett SELECT 200 + g, string_agg(md5((g * 1000 + h)::text), '') FROM generate_series(1, 50) g, generate_series(1, 300) h GROUP BY g;
SELECT count(*), sum(length(t)), md5(string_agg(md5(t), '' ORDER BY id)) FROM ett;
SELECT merge('ett');
SELECT count(*), sum(length(t)), md5(string_agg(md5(t), '' ORDER BY id)) FROM ett;
SELECT * FROM problems('ett');
DROP TABLE et, et2, en, en2, ef, ett CASCADE;
DROP TYPE et_mood, et_pair;
DROP DOMAIN et_pos;
