-- All scans of one query see one state: the query's own snapshot, whatever functions change meanwhile; REPEATABLE READ, read-only transactions, cancel.
CREATE SCHEMA near;
CREATE SCHEMA far;
CREATE SERVER m FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic');
CREATE TABLE near.t (id int, x int);
INSERT INTO near.t SELECT i, 1 FROM generate_series(1, 5) i;
IMPORT FOREIGN SCHEMA near FROM SERVER m INTO far;
-- each call adds a row to the base
CREATE FUNCTION add_row(int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN INSERT INTO near.t VALUES (100, 1); RETURN $1; END $$;
CREATE FUNCTION count_rows() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM far.t';
CREATE FUNCTION count_rows_stable() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT count(*) FROM far.t); END $$;
-- a later scan of the same query starts after rows were added and does not see them
SELECT a.id, (SELECT count(*) FROM far.t b WHERE b.x = a.x AND add_row(a.id) > 0) FROM near.t a ORDER BY id;
SELECT count(*) FROM far.t;
DELETE FROM near.t WHERE id = 100;
WITH one AS MATERIALIZED (SELECT add_row(1) AS r) SELECT r, (SELECT count(*) FROM far.t WHERE r = 1) FROM one;
DELETE FROM near.t WHERE id = 100;
-- a volatile function has a snapshot of its own, a stable one has the query's; the same on the base
SELECT add_row(1), count_rows(), count_rows_stable();
DELETE FROM near.t WHERE id = 100;
-- a modifying WITH and a scan beside it
WITH new AS (INSERT INTO far.t VALUES (6, 1) RETURNING id) SELECT (SELECT count(*) FROM new), (SELECT count(*) FROM far.t);
WITH gone AS (DELETE FROM far.t WHERE id = 6 AND random() < 2 RETURNING id) SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM far.t);
SELECT count(*) FROM far.t;
-- an open cursor keeps its state, also through a savepoint that is rolled back
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM far.t;
FETCH 1 FROM c;
DELETE FROM far.t;
SAVEPOINT s;
INSERT INTO far.t VALUES (7, 7);
ROLLBACK TO s;
FETCH ALL FROM c;
SELECT count(*) FROM far.t;
-- a cursor of a subtransaction ends with it
SAVEPOINT s;
DECLARE d CURSOR FOR SELECT id FROM far.t;
FETCH 1 FROM d;
ROLLBACK TO s;
FETCH 1 FROM d;
ROLLBACK;
-- a relation cannot change under an open scan, also one that waits for its parameters
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM far.t WHERE x = (SELECT 1) ORDER BY id;
ALTER TABLE near.t DROP COLUMN x;
ROLLBACK;
-- an error inside the base's query leaves the connection in order
SELECT 1 / (id - 3) FROM far.t WHERE 1 / (id - 3) < 10 ORDER BY id;
SELECT count(*) FROM far.t;
BEGIN;
SAVEPOINT s;
SELECT 1 FROM far.t WHERE 1 / (id - 3) < 10;
ROLLBACK TO s;
SELECT count(*) FROM far.t;
COMMIT;
-- plpgsql with exception blocks around open scans
DO $$
DECLARE
	r record;
	n int := 0;
BEGIN
	FOR r IN SELECT id FROM far.t ORDER BY id LOOP
		BEGIN
			UPDATE far.t SET x = x / (r.id - 2) WHERE id = r.id;
		EXCEPTION WHEN division_by_zero THEN
			n := n + 1;
		END;
	END LOOP;
	RAISE NOTICE '% errors, % rows changed', n, (SELECT count(*) FROM far.t WHERE x <> 1);
END
$$;
-- a read-only transaction reads and does not write
BEGIN READ ONLY;
SELECT count(*) FROM far.t;
UPDATE far.t SET x = 2;
ROLLBACK;
-- a scan in the leader of a parallel query
CREATE TABLE big AS SELECT g AS id FROM generate_series(1, 20000) g;
ANALYZE big;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SELECT count(*) FROM big JOIN far.t USING (id);
SELECT (SELECT count(*) FROM big), (SELECT sum(id) FROM far.t);
RESET ALL;
-- cancel reaches the base's query
CREATE FOREIGN TABLE far.series (a int, b int) SERVER m OPTIONS (schema_name 'near', table_name 'series');
CREATE VIEW near.series AS SELECT a, b FROM generate_series(1, 100000) a, generate_series(1, 100000) b;
SET statement_timeout = '200ms';
SELECT count(*) FROM far.series WHERE a <> b;
RESET statement_timeout;
-- rows stream: the first of ten thousand million come at once, and memory does not grow with what is read
SELECT * FROM far.series LIMIT 2;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT a FROM far.t, far.series LIMIT 3;
CREATE FUNCTION memory() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts';
BEGIN;
DECLARE c CURSOR FOR SELECT a, b, repeat('x', 100) FROM far.series;
MOVE 100 FROM c;
SELECT memory() AS before \gset
MOVE 200000 FROM c;
SELECT memory() - :before < 1000000 AS bounded;
ROLLBACK;

\set VERBOSITY terse
DROP SCHEMA near CASCADE;
DROP SCHEMA far CASCADE;
DROP SERVER m CASCADE;
DROP TABLE big;
DROP FUNCTION add_row, count_rows, count_rows_stable, memory;
