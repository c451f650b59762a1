-- Big values and wide, narrow and empty rows.
CREATE TABLE big (id int PRIMARY KEY, t text, b bytea);
INSERT INTO big VALUES (1, repeat('0123456789abcdef', 4 * 1024 * 1024), NULL);
INSERT INTO big SELECT 2, string_agg(md5(g::text), ''), decode(string_agg(md5((-g)::text), ''), 'hex') FROM generate_series(1, 200000) g;
INSERT INTO big VALUES (3, '', ''), (4, NULL, NULL);
SELECT id, length(t), length(b), md5(t), md5(b) FROM big ORDER BY id;
UPDATE big SET b = t::bytea WHERE id = 1;
SELECT id, length(t), length(b), md5(t), md5(b) FROM big WHERE id = 1;
DELETE FROM big WHERE id = 1;
SELECT merge('big');
VACUUM big;
SELECT id, length(t), length(b), md5(t), md5(b) FROM big ORDER BY id;
SELECT * FROM problems('big');
DROP TABLE big;

-- no columns at all
CREATE TABLE empty ();
INSERT INTO empty DEFAULT VALUES;
INSERT INTO empty SELECT FROM generate_series(1, 2999);
SELECT count(*) FROM empty;
DELETE FROM empty WHERE ctid IN (SELECT ctid FROM empty LIMIT 500);
SELECT count(*) FROM empty;
COPY (SELECT 1 FROM empty LIMIT 2) TO STDOUT;
BEGIN;
INSERT INTO empty SELECT FROM generate_series(1, 5);
SELECT count(*) FROM empty;
ROLLBACK;
SELECT merge('empty');
SELECT count(*) FROM empty;
ALTER TABLE empty ADD c int DEFAULT 7, ADD d int;
SELECT count(*), sum(c), count(d) FROM empty;
ALTER TABLE empty DROP c, DROP d;
SELECT count(*) FROM empty;
SELECT * FROM problems('empty');
DROP TABLE empty;

-- 1,600 columns
SELECT 'CREATE TABLE wide (' || string_agg(format('c%s %s', g, (array['int', 'bool', 'int2', 'text'])[1 + g % 4]), ', ') || ')' FROM generate_series(1, 1600) g \gexec
SELECT 'INSERT INTO wide VALUES (' || string_agg((array[g::text, quote_literal(g % 3 = 0) || '::bool', (g * 10)::text, quote_literal(chr(97 + g % 26))])[1 + g % 4], ', ') || ')' FROM generate_series(1, 1600) g \gexec
INSERT INTO wide DEFAULT VALUES;
INSERT INTO wide SELECT * FROM wide;
UPDATE wide SET c1 = true, c1600 = 5 WHERE c4 IS NULL;
SELECT c1, c2, c3, c4, c797, c798, c799, c800, c1597, c1598, c1599, c1600, md5(wide::text) FROM wide ORDER BY c1600;
SELECT merge('wide');
SELECT count(*), count(c1), count(c1600), md5(string_agg(md5(wide::text), '' ORDER BY c1600, c4)) FROM wide;
SELECT * FROM problems('wide');
DROP TABLE wide;

-- many rows: more than a full pack, in sorted, random and constant columns
CREATE TABLE many (id int, k int, r int, c int, s text, n numeric(10,2), d date, f float8);
INSERT INTO many SELECT g, g / 100, (g::int8 * 7919 % 100003)::int, 5, 'tag' || g % 17, g / 4.0, '2000-01-01'::date + g % 5000, g / 3.0 FROM generate_series(1, 150000) g;
SELECT count(*), sum(id), sum(k), sum(r), sum(c), count(DISTINCT s), sum(n), min(d), max(d), sum(f) FROM many;
SELECT * FROM many WHERE id IN (1, 1024, 1025, 65536, 65537, 131072, 131073, 150000) ORDER BY id;
CREATE INDEX ON many (r);
SET enable_seqscan = off;
SELECT count(*) FROM many WHERE r BETWEEN 100 AND 199;
RESET enable_seqscan;
DELETE FROM many WHERE id % 3 = 0;
UPDATE many SET c = 6 WHERE id % 1000 = 1;
SELECT count(*), sum(id), sum(k), sum(r), sum(c), sum(n) FROM many;
SELECT merge('many');
VACUUM many;
SELECT count(*), sum(id), sum(k), sum(r), sum(c), sum(n) FROM many;
SET enable_seqscan = off;
SELECT count(*) FROM many WHERE r BETWEEN 100 AND 199;
RESET enable_seqscan;
SELECT * FROM problems('many');
DROP TABLE many;
