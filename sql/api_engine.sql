-- The Magic API's in-process engine: batches with and without keys, conflicts, scans, errors.
CREATE EXTENSION IF NOT EXISTS api_test;

SELECT api_find_engine('magic');
SELECT api_find_engine('clickhouse');

CREATE TABLE api_t (id int PRIMARY KEY, v text, n numeric(6,2), d timestamp) USING magic;

-- all deletes come before the first insert: keys can swap in one batch
SELECT * FROM api_write('api_t', '{1}', NULL, $$VALUES (1, 'one', 1.5, timestamp '2024-01-01'), (2, 'two', 2.5, NULL), (3, NULL, NULL, NULL)$$);
SELECT * FROM api_write('api_t', '{1}', $$VALUES (1, NULL::text, NULL::numeric, NULL::timestamp), (2, NULL, NULL, NULL)$$,
  $$VALUES (2, 'was one', 1.5, timestamp '2024-01-01'), (1, 'was two', 2.5, NULL)$$);
-- a delete of no row is counted, an insert of a key that is there replaces
SELECT * FROM api_write('api_t', '{1}', $$VALUES (99, NULL::text, NULL::numeric, NULL::timestamp)$$,
  $$VALUES (3, 'three', 3.0, NULL::timestamp), (4, 'four', 4.0, NULL)$$);
SELECT * FROM api_t ORDER BY id;
-- several batches in one transaction, each seeing the ones before; and rolled back
BEGIN;
SELECT * FROM api_write('api_t', '{1}', NULL, $$SELECT g, 'x' || g, (g % 100)::numeric, timestamp '2024-01-01' + g * interval '1 s' FROM generate_series(10, 3000) g$$);
SELECT * FROM api_write('api_t', '{1}', $$SELECT g, NULL::text, NULL::numeric, NULL::timestamp FROM generate_series(10, 3000) g$$,
  $$SELECT g, 'y' || g, (g % 100)::numeric, NULL::timestamp FROM generate_series(10, 2999) g$$);
SELECT count(*), min(v), max(id) FROM api_t;
ROLLBACK;
SELECT count(*) FROM api_t;
SELECT * FROM api_write('api_t', '{1}', NULL, $$SELECT g, 'x' || g, (g % 100)::numeric, timestamp '2024-01-01' + g * interval '1 s' FROM generate_series(10, 3000) g$$);

-- scans: columns in any order, conditions in the type's order, more than one batch
SELECT * FROM api_scan('api_t', '{2,1}', 1, '<=', '3');
SELECT count(*) FROM api_scan('api_t', '{1}', NULL, NULL, NULL);
SELECT count(*) FROM api_scan('api_t', '{1,4}', 4, 'null', NULL);
SELECT count(*) FROM api_scan('api_t', '{1,4}', 4, 'notnull', NULL);
SELECT count(*) FROM api_scan('api_t', '{1}', 3, '>', '97.5');
SELECT * FROM api_scan('api_t', '{3,1}', 2, '=', 'x1234');
SELECT * FROM api_scan('api_t', '{9}', NULL, NULL, NULL);

-- without a key: NULL equals NULL, one image deletes one row
CREATE TABLE api_k (a int, b text) USING magic;
SELECT * FROM api_write('api_k', NULL, NULL, $$VALUES (1, NULL::text), (1, NULL), (1, NULL), (NULL, 'x'), (2, repeat('long ', 3000))$$);
SELECT * FROM api_write('api_k', NULL, $$VALUES (1, NULL::text), (1, NULL), (NULL, 'x'), (NULL, 'x'), (2, repeat('long ', 3000))$$, NULL);
SELECT * FROM api_k;

-- a key without an index; NOT NULL, CHECK and generated columns are honoured
SELECT * FROM api_write('api_k', '{1}', NULL, $$VALUES (1, 'a'::text)$$);
CREATE TABLE api_c (id int PRIMARY KEY, v int NOT NULL CHECK (v > 0), g int GENERATED ALWAYS AS (v * 2) STORED) USING magic;
SELECT * FROM api_write('api_c', '{1}', NULL, $$VALUES (1, NULL::int, NULL::int)$$);
SELECT * FROM api_write('api_c', '{1}', NULL, $$VALUES (1, -1, NULL::int)$$);
SELECT * FROM api_write('api_c', '{1}', NULL, $$VALUES (1, 21, NULL::int)$$);
SELECT * FROM api_c;
-- another unique index raises as usual
CREATE UNIQUE INDEX ON api_c (v);
SELECT * FROM api_write('api_c', '{1}', NULL, $$VALUES (2, 21, NULL::int)$$);

SELECT api_truncate('api_t') > 0 AS emptied;
SELECT count(*) FROM api_t;
SELECT * FROM magic.verify('api_t');
SELECT * FROM magic.verify('api_k');
DROP TABLE api_t, api_k, api_c;
DROP EXTENSION api_test;
