-- Savepoints and aborts at every nesting, own changes seen by every kind of read, exceptions in
-- functions, two-phase commit, TRUNCATE and DROP in transactions.
CREATE TABLE tx (id int PRIMARY KEY, v int);
BEGIN;
INSERT INTO tx VALUES (1, 1);
SAVEPOINT a;
INSERT INTO tx VALUES (2, 2);
UPDATE tx SET v = 10 WHERE id = 1;
SAVEPOINT b;
DELETE FROM tx WHERE id = 1;
INSERT INTO tx VALUES (3, 3);
SELECT * FROM tx ORDER BY id;
SAVEPOINT c;
INSERT INTO tx VALUES (4, 4), (1, 100);
SELECT * FROM tx ORDER BY id;
ROLLBACK TO c;
SELECT * FROM tx ORDER BY id;
RELEASE c;
ROLLBACK TO b;
SELECT * FROM tx ORDER BY id;
UPDATE tx SET v = v + 1;
RELEASE a;
SELECT * FROM tx ORDER BY id;
COMMIT;
SELECT * FROM tx ORDER BY id;
-- a rolled back savepoint between buffered rows of one statement shape
BEGIN;
INSERT INTO tx SELECT g, g FROM generate_series(10, 19) g;
SAVEPOINT a;
INSERT INTO tx SELECT g, g FROM generate_series(20, 29) g;
ROLLBACK TO a;
INSERT INTO tx SELECT g, g FROM generate_series(30, 39) g;
SAVEPOINT a2;
INSERT INTO tx VALUES (10, 0);
ROLLBACK TO a2;
SELECT count(*), min(id), max(id), sum(id) FROM tx;
SAVEPOINT a3;
DELETE FROM tx WHERE id < 35;
SELECT count(*) FROM tx;
ROLLBACK TO a3;
DELETE FROM tx WHERE id >= 35;
COMMIT;
SELECT count(*), min(id), max(id), sum(id) FROM tx;
SET enable_seqscan = off;
SELECT id FROM tx WHERE id BETWEEN 15 AND 34 ORDER BY id;
RESET enable_seqscan;
-- deep nesting
DO $$
BEGIN
	FOR i IN 100..160 LOOP
		BEGIN
			INSERT INTO tx VALUES (i, 0);
			BEGIN
				UPDATE tx SET v = i WHERE id = i;
				IF i % 2 = 0 THEN RAISE EXCEPTION 'even'; END IF;
			EXCEPTION WHEN raise_exception THEN
				UPDATE tx SET v = v - 1 WHERE id = i;
			END;
			IF i % 5 = 0 THEN RAISE EXCEPTION 'five'; END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END $$;
SELECT count(*), sum(v), sum(id) FROM tx WHERE id >= 100;
-- functions in loops that read what the outer statement wrote
CREATE FUNCTION tx_f(i int) RETURNS int LANGUAGE plpgsql AS
$$
DECLARE n int;
BEGIN
	BEGIN
		INSERT INTO tx VALUES (i * 1000, i);
		INSERT INTO tx VALUES (i * 1000, i);
	EXCEPTION WHEN unique_violation THEN
		SELECT count(*) INTO n FROM tx WHERE id BETWEEN 200 AND 299;
	END;
	RETURN n;
END $$;
INSERT INTO tx SELECT g, tx_f(g) FROM generate_series(200, 210) g;
SELECT id, v FROM tx WHERE id >= 200 ORDER BY id;
-- an error in the middle of a statement leaves nothing
INSERT INTO tx SELECT g, 10 / (305 - g) FROM generate_series(300, 310) g;
UPDATE tx SET v = 10 / (id - 205) WHERE id BETWEEN 200 AND 210;
DELETE FROM tx WHERE id >= 200 AND 10 / (id - 205) <> 100;
SELECT count(*), sum(v) FROM tx WHERE id >= 200;
-- commands in procedures that commit
CREATE PROCEDURE tx_p() LANGUAGE plpgsql AS
$$
BEGIN
	FOR i IN 400..409 LOOP
		INSERT INTO tx VALUES (i, i);
		IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
	END LOOP;
END $$;
CALL tx_p();
SELECT id FROM tx WHERE id >= 400 ORDER BY id;
-- two-phase commit
BEGIN;
INSERT INTO tx VALUES (500, 1);
UPDATE tx SET v = 501 WHERE id = 400;
DELETE FROM tx WHERE id = 402;
PREPARE TRANSACTION 'tx1';
SELECT id, v FROM tx WHERE id >= 400 ORDER BY id;
COMMIT PREPARED 'tx1';
SELECT id, v FROM tx WHERE id >= 400 ORDER BY id;
BEGIN;
DELETE FROM tx;
SAVEPOINT s;
INSERT INTO tx VALUES (600, 6);
ROLLBACK TO s;
INSERT INTO tx VALUES (601, 6);
PREPARE TRANSACTION 'tx2';
ROLLBACK PREPARED 'tx2';
SELECT count(*) FROM tx;
-- REPEATABLE READ and one's own changes
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM tx;
INSERT INTO tx VALUES (700, 7);
UPDATE tx SET v = v + 1 WHERE id = 700;
DELETE FROM tx WHERE id = 601;
SELECT count(*), max(id) FROM tx;
COMMIT;
-- read-only transactions
BEGIN READ ONLY;
SELECT count(*) FROM tx;
INSERT INTO tx VALUES (701, 7);
ROLLBACK;
-- TRUNCATE
BEGIN;
TRUNCATE tx;
INSERT INTO tx VALUES (1, 1);
SELECT count(*) FROM tx;
ROLLBACK;
SELECT count(*) FROM tx;
BEGIN;
INSERT INTO tx VALUES (800, 8);
TRUNCATE tx;
SELECT count(*) FROM tx;
INSERT INTO tx VALUES (1, 1), (2, 2);
SAVEPOINT s;
TRUNCATE tx;
INSERT INTO tx VALUES (3, 3);
ROLLBACK TO s;
SELECT * FROM tx ORDER BY id;
COMMIT;
SELECT * FROM tx ORDER BY id;
TRUNCATE tx;
SELECT * FROM tx;
SELECT * FROM problems('tx');
-- created, filled, truncated and dropped in one transaction
BEGIN;
CREATE TABLE tx2 (i int PRIMARY KEY);
INSERT INTO tx2 SELECT generate_series(1, 1000);
TRUNCATE tx2;
INSERT INTO tx2 SELECT generate_series(1, 10);
SAVEPOINT s;
DROP TABLE tx2;
ROLLBACK TO s;
SELECT count(*) FROM tx2;
COMMIT;
SELECT count(*) FROM tx2;
BEGIN;
INSERT INTO tx2 VALUES (11);
DROP TABLE tx2;
ROLLBACK;
SELECT count(*) FROM tx2;
BEGIN;
CREATE TABLE tx3 (i int);
INSERT INTO tx3 VALUES (1);
ROLLBACK;
-- constraints checked at commit
BEGIN;
CREATE TABLE tx4 (i int PRIMARY KEY, p int REFERENCES tx4 DEFERRABLE INITIALLY DEFERRED);
INSERT INTO tx4 VALUES (1, 2);
INSERT INTO tx4 VALUES (2, 1);
COMMIT;
BEGIN;
INSERT INTO tx4 VALUES (3, 9);
COMMIT;
SELECT * FROM tx4 ORDER BY i;
SELECT * FROM problems('tx2') UNION ALL SELECT * FROM problems('tx4');
-- rows of an enclosing subtransaction are pending while an inner one adds columns: the row's missing value
CREATE TABLE tx5 (a int);
BEGIN;
INSERT INTO tx5 VALUES (1);
SAVEPOINT s;
ALTER TABLE tx5 ADD COLUMN b text DEFAULT 'missing';
SELECT * FROM tx5;
CREATE INDEX tx5_b ON tx5 (b);
RELEASE s;
INSERT INTO tx5 VALUES (2, 'two');
INSERT INTO tx5 VALUES (3, 'three');
SELECT * FROM tx5 ORDER BY a;
COMMIT;
SELECT * FROM tx5 ORDER BY a;
SELECT * FROM problems('tx5');
DROP TABLE tx5;
-- the same, written together at the end of the transaction
CREATE TABLE tx5 (a int);
BEGIN;
INSERT INTO tx5 VALUES (1);
SAVEPOINT s;
ALTER TABLE tx5 ADD COLUMN b text DEFAULT 'missing';
RELEASE s;
INSERT INTO tx5 VALUES (2, 'two');
COMMIT;
SELECT * FROM tx5 ORDER BY a;
DROP TABLE tx5;
-- unique checks that meet dead rows do not eat memory
CREATE TABLE tx6 (id int PRIMARY KEY, bytes bigint);
INSERT INTO tx6 SELECT i, 0 FROM generate_series(1, 10000) i;
DELETE FROM tx6;
INSERT INTO tx6
SELECT i, CASE WHEN i = 10000 THEN (SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE i > 0) END
FROM generate_series(1, 10000) i;
SELECT bytes < 40000000 AS modest FROM tx6 WHERE id = 10000;
DROP TABLE tx6;
-- a function flushes the pending row that its caller has fetched through an index
CREATE TABLE tx7 (id int PRIMARY KEY, b text);
CREATE FUNCTION tx7_f() RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = on AS
$$
DECLARE n bigint;
BEGIN
	SELECT count(*) INTO n FROM tx7;
	INSERT INTO tx7 SELECT i, repeat('W', 60) FROM generate_series(1000 + n, 1002 + n) i;
	RETURN n;
END
$$;
BEGIN;
SET LOCAL enable_seqscan = off;
INSERT INTO tx7 VALUES (1, repeat('a', 10));
SELECT b, n FROM (SELECT b, tx7_f() AS n FROM tx7 WHERE id = 1 OFFSET 0) x;
INSERT INTO tx7 VALUES (2, repeat('b', 10));
UPDATE tx7 SET b = b || tx7_f() WHERE id = 2;
SELECT * FROM tx7 WHERE id = 2;
COMMIT;
SELECT * FROM tx7 WHERE id < 10 ORDER BY id;
DROP TABLE tx7;
DROP FUNCTION tx7_f;
-- deletions of many neighbours that a savepoint takes back before they were written down: the rows are there
-- for index scans, upserts and changes; what was deleted before the savepoint is not
CREATE TABLE tx8 (id int PRIMARY KEY, v int);
INSERT INTO tx8 SELECT g, 0 FROM generate_series(1, 3000) g;
SET enable_seqscan = off; SET enable_bitmapscan = off;
BEGIN;
SAVEPOINT s;
DELETE FROM tx8 WHERE id BETWEEN 100 AND 900;
ROLLBACK TO s;
SELECT count(*) FROM tx8 WHERE id BETWEEN 1 AND 3000;
DELETE FROM tx8 WHERE id BETWEEN 2001 AND 2040;
DELETE FROM tx8 WHERE id BETWEEN 50 AND 60;
SAVEPOINT s;
DELETE FROM tx8 WHERE id BETWEEN 2500 AND 2600;
DELETE FROM tx8 WHERE id BETWEEN 100 AND 1000;
UPDATE tx8 SET v = 5 WHERE id BETWEEN 2050 AND 2060;
ROLLBACK TO s;
SELECT count(*), sum(v) FROM tx8 WHERE id BETWEEN 1 AND 3000;
INSERT INTO tx8 VALUES (500, 1), (2005, 1), (55, 1), (2550, 1) ON CONFLICT (id) DO UPDATE SET v = 100 RETURNING id, v;
UPDATE tx8 SET v = v + 10 WHERE id IN (99, 100, 901, 2000, 2001, 2041, 2050) RETURNING id, v;
DELETE FROM tx8 WHERE id BETWEEN 40 AND 120;
SELECT count(*), sum(v) FROM tx8 WHERE id BETWEEN 1 AND 3000;
COMMIT;
RESET enable_seqscan; RESET enable_bitmapscan;
SELECT count(*), sum(v), sum(id) FROM tx8;
SELECT * FROM problems('tx8');
DROP TABLE tx8;
DROP TABLE tx, tx2, tx4;
DROP FUNCTION tx_f;
DROP PROCEDURE tx_p;
