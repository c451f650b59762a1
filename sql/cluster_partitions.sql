-- The parts of magic.partitions divide a table: each row is in exactly one, also a row that is written later; magic.plan and spark_snapshot agree with them.
\set SHOW_CONTEXT never
CREATE SCHEMA bank;
SET default_table_access_method = heap;
CREATE TABLE bank.account (id int, balance int, filler text);
INSERT INTO bank.account SELECT i, 10, repeat('x', 100) FROM generate_series(1, 5000) i;
CREATE TABLE bank."Old ""one" (k int, v text) PARTITION BY LIST (k);
CREATE TABLE bank.old_1 PARTITION OF bank."Old ""one" FOR VALUES IN (1);
CREATE TABLE bank.old_2 PARTITION OF bank."Old ""one" FOR VALUES IN (2);
INSERT INTO bank."Old ""one" SELECT 1 + i % 2, repeat('y', 200) FROM generate_series(1, 1000) i;
CREATE TABLE bank.empty (id int);
CREATE VIEW bank.seen AS SELECT * FROM bank.account;

-- rows found by all parts together, and how many of them by exactly one
CREATE FUNCTION covered(rel regclass, parts text[]) RETURNS TABLE (n_parts int, rows bigint, found bigint, once bigint) LANGUAGE plpgsql AS $$
DECLARE
	query text;
BEGIN
	SELECT string_agg(format('SELECT tableoid, ctid AS place FROM %s WHERE %s', rel, p), ' UNION ALL ') INTO query FROM unnest(parts) p;
	RETURN QUERY EXECUTE format('SELECT %s, (SELECT count(*) FROM %s), count(*), count(DISTINCT (tableoid, place)) FROM (%s) q', cardinality(parts), rel, query);
END
$$;
CREATE FUNCTION parts(rel regclass, n int) RETURNS text[] LANGUAGE sql AS 'SELECT array_agg(predicate) FROM magic.partitions(rel, n)';
SELECT c.* FROM (VALUES ('bank.account'::regclass), ('bank."Old ""one"'), ('bank.empty')) r (rel), (VALUES (1), (2), (7)) n (n), covered(rel, parts(rel, n)) c
	WHERE rel <> 'bank.empty'::regclass OR n = 7;
SELECT predicate <> 'true' AS divided, count(*) FROM magic.partitions('bank.empty', 5) GROUP BY 1;
SELECT parts('bank.account', 3) AS before \gset
INSERT INTO bank.account SELECT i, 10, repeat('x', 100) FROM generate_series(5001, 9000) i;
SELECT rows = 9000 AND found = 9000 AND once = 9000 AS all_of_them FROM covered('bank.account', :'before');
-- a part is read by itself, not by reading everything
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT line ~ 'Tid Range Scan' AS by_range FROM plan_of('SELECT * FROM bank.account WHERE (balance > 5) AND (' || (parts('bank.account', 3))[2] || ')') line LIMIT 1;

ANALYZE bank.account;
SELECT read_ts, count(*), sum(estimated_rows) BETWEEN 8998 AND 9002 AS rows, min(dbtable), min(endpoint) ~ '^jdbc:postgresql://.*/' AS jdbc FROM magic.plan('bank.account', 4) GROUP BY 1;
SELECT DISTINCT dbtable FROM magic.plan('bank."Old ""one"', 2);
SELECT * FROM magic.plan('bank.account', 4, 449999999999999999);

-- a snapshot that would end at once is refused; in a transaction it is one for all parts
SELECT * FROM magic.spark_snapshot('bank.account', 2);
BEGIN;
SELECT count(DISTINCT session_init), count(DISTINCT predicate), min(session_init) ~ '^SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT ''[-0-9A-F]+''$' AS init,
	min(pyspark) ~ '^spark.read.jdbc\("jdbc:postgresql://' AS code
FROM magic.spark_snapshot('bank.account', 2);
COMMIT;

SELECT * FROM magic.partitions('bank.seen', 2);
SELECT * FROM magic.partitions('bank.account', 0);
SELECT * FROM magic.partitions(NULL, 2);
SELECT * FROM magic.partitions(4711, 2);

-- a magic table is divided on borders of its packs; what is deleted, moved and merged meanwhile stays in exactly one part
CREATE TABLE bank.magic (id int PRIMARY KEY, balance int) USING magic;
INSERT INTO bank.magic SELECT i, 10 FROM generate_series(1, 140000) i;
INSERT INTO bank.magic SELECT i, 10 FROM generate_series(140001, 145000) i;
SELECT cardinality(parts('bank.magic', 4)) > 1 AS divided, parts('bank.magic', 3) AS before \gset
SELECT :'divided';
SELECT n_parts > 1 AS divided, rows = 145000 AND found = 145000 AND once = 145000 AS all_of_them FROM covered('bank.magic', parts('bank.magic', 4));
DELETE FROM bank.magic WHERE id % 3 = 0;
UPDATE bank.magic SET balance = 11 WHERE id % 5 = 0;
INSERT INTO bank.magic SELECT i, 10 FROM generate_series(400001, 401000) i;
SELECT rows = found AND found = once AS all_of_them FROM covered('bank.magic', :'before');
SELECT magic.compact('bank.magic');
SELECT rows = found AND found = once AS all_of_them FROM covered('bank.magic', :'before');
SELECT n_parts > 1 AS divided, rows = found AND found = once AS all_of_them FROM covered('bank.magic', parts('bank.magic', 4));
SELECT line ~ 'Tid Range Scan' AS by_range FROM plan_of('SELECT * FROM bank.magic WHERE ' || (parts('bank.magic', 2))[1]) line LIMIT 1;

\set VERBOSITY terse
DROP SCHEMA bank CASCADE;
DROP FUNCTION covered, parts, plan_of;
