-- Constraints: deferrable keys switched in a transaction, exclusion by btree and hash, CHECK and NOT NULL
-- added over rows, foreign keys with every action at once and deferred, over partitions, on several
-- columns; each violated by own rows of the same transaction, by updated and by deleted rows.
\set VERBOSITY terse
CREATE TABLE co (id int CONSTRAINT co_key UNIQUE DEFERRABLE INITIALLY IMMEDIATE, v int);
INSERT INTO co SELECT g, g FROM generate_series(1, 10) g;
UPDATE co SET id = 11 - id;
SELECT id, v FROM co ORDER BY id;
INSERT INTO co VALUES (5, 0);
BEGIN;
SET CONSTRAINTS co_key DEFERRED;
INSERT INTO co VALUES (5, 0);
SELECT count(*) FROM co WHERE id = 5;
SAVEPOINT a;
SET CONSTRAINTS co_key IMMEDIATE;
ROLLBACK TO a;
SAVEPOINT b;
DELETE FROM co WHERE id = 5 AND v = 0;
SET CONSTRAINTS co_key IMMEDIATE;
SELECT id, v FROM co WHERE id = 5;
ROLLBACK TO b;
UPDATE co SET id = 50 WHERE id = 5 AND v <> 0;
COMMIT;
SELECT id, v FROM co WHERE id IN (5, 50) ORDER BY id;
-- a deferred check of a row that is gone, moved on or back again at commit
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO co VALUES (1, 100);
UPDATE co SET id = 60 WHERE v = 100;
UPDATE co SET id = 1 WHERE v = 100;
DELETE FROM co WHERE id = 1 AND v <> 100;
INSERT INTO co VALUES (2, 200);
SAVEPOINT s;
DELETE FROM co WHERE v = 200;
ROLLBACK TO s;
UPDATE co SET id = 61 WHERE v = 200;
COMMIT;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO co VALUES (1, 101);
SAVEPOINT s;
DELETE FROM co WHERE v = 101;
ROLLBACK TO s;
COMMIT;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO co SELECT g, 300 FROM generate_series(1, 5000) g;
DELETE FROM co WHERE v = 300 AND id <= 70;
COMMIT;
SELECT count(*), sum(id) FROM co WHERE v = 300;
-- a deferrable key is no arbiter
INSERT INTO co VALUES (1, 1) ON CONFLICT (id) DO NOTHING;
INSERT INTO co VALUES (1, 1) ON CONFLICT DO NOTHING;
-- the same in a prepared transaction: checked at PREPARE
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO co VALUES (1, 1);
PREPARE TRANSACTION 'co';
SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'co';
-- exclusion by btree and hash, with a condition, deferred, added over rows, as an arbiter
CREATE TABLE ce (id int, k int, s text, active bool DEFAULT true,
	CONSTRAINT ce_k EXCLUDE USING btree (k WITH =) WHERE (active),
	CONSTRAINT ce_s EXCLUDE USING hash (s WITH =) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO ce VALUES (1, 1, 'a'), (2, 2, 'b'), (3, NULL, NULL), (4, NULL, NULL);
INSERT INTO ce VALUES (5, 1, 'c');
INSERT INTO ce VALUES (5, 1, 'c', false);
UPDATE ce SET active = true WHERE id = 5;
UPDATE ce SET k = 1 WHERE id = 2;
UPDATE ce SET k = k WHERE id = 2;
INSERT INTO ce VALUES (6, 2, 'd') ON CONFLICT ON CONSTRAINT ce_k DO NOTHING;
INSERT INTO ce VALUES (6, 2, 'd') ON CONFLICT ON CONSTRAINT ce_k DO UPDATE SET id = 7;
INSERT INTO ce VALUES (6, 9, 'd'), (7, 9, 'e') ON CONFLICT ON CONSTRAINT ce_k DO NOTHING;
BEGIN;
INSERT INTO ce VALUES (8, 8, 'a');
SELECT count(*) FROM ce WHERE s = 'a';
UPDATE ce SET s = 'aa' WHERE id = 1;
COMMIT;
BEGIN;
INSERT INTO ce VALUES (10, 10, 'b');
COMMIT;
BEGIN;
DELETE FROM ce WHERE id = 2;
INSERT INTO ce VALUES (20, 2, 'b');
UPDATE ce SET k = 22 WHERE id = 20;
INSERT INTO ce VALUES (21, 2, 'bb');
SAVEPOINT s;
INSERT INTO ce VALUES (23, 22, 'x');
ROLLBACK TO s;
COMMIT;
SELECT * FROM ce ORDER BY id;
ALTER TABLE ce ADD CONSTRAINT ce_id EXCLUDE USING hash (id WITH =);
INSERT INTO ce VALUES (20, 100, 'z');
UPDATE ce SET active = true, k = 1 WHERE id = 8;
DELETE FROM ce WHERE id = 1;
UPDATE ce SET active = true, k = 1 WHERE id = 8;
ALTER TABLE ce DROP CONSTRAINT ce_id;
INSERT INTO ce VALUES (20, 100, 'z');
ALTER TABLE ce ADD CONSTRAINT ce_id EXCLUDE USING hash (id WITH =);
-- CHECK and NOT NULL: over rows, NOT VALID, validated, whole rows, violated by default and by update
CREATE TABLE ck (a int, b int, c text, CHECK (a < b), CONSTRAINT whole CHECK (ck IS NOT NULL OR c IS NULL));
INSERT INTO ck SELECT g, g + 1, 'c' FROM generate_series(1, 2000) g;
INSERT INTO ck VALUES (2, 1, 'c');
INSERT INTO ck VALUES (NULL, 1, 'c');
INSERT INTO ck VALUES (NULL, 1, NULL);
UPDATE ck SET a = b WHERE a = 2000;
UPDATE ck SET b = NULL WHERE a = 2000;
ALTER TABLE ck ADD CONSTRAINT late CHECK (a <> 2000);
ALTER TABLE ck ADD CONSTRAINT late CHECK (a <> 2000) NOT VALID;
INSERT INTO ck VALUES (2000, 2001, 'c');
UPDATE ck SET c = 'd' WHERE a = 2000;
UPDATE ck SET c = 'd' WHERE a = 1999;
ALTER TABLE ck VALIDATE CONSTRAINT late;
DELETE FROM ck WHERE a = 2000;
ALTER TABLE ck VALIDATE CONSTRAINT late;
ALTER TABLE ck ALTER a SET NOT NULL;
BEGIN;
DELETE FROM ck WHERE a IS NULL;
ALTER TABLE ck ALTER a SET NOT NULL;
INSERT INTO ck VALUES (NULL, 1, NULL);
ROLLBACK;
DELETE FROM ck WHERE a IS NULL;
ALTER TABLE ck ALTER a SET NOT NULL, ADD PRIMARY KEY (a);
UPDATE ck SET a = NULL WHERE a = 5;
ALTER TABLE ck ALTER a DROP NOT NULL;
ALTER TABLE ck DROP CONSTRAINT ck_pkey, ALTER a DROP NOT NULL;
UPDATE ck SET a = NULL, c = NULL WHERE a = 5;
ALTER TABLE ck ADD d int NOT NULL;
ALTER TABLE ck ADD d int NOT NULL DEFAULT 4 CHECK (d > 4);
ALTER TABLE ck ADD d int NOT NULL DEFAULT 5 CHECK (d > 4);
SELECT count(*), sum(d), count(a) FROM ck;
-- a key made of an index that was there, two keys, keys of several columns with NULLs, INCLUDE
CREATE UNIQUE INDEX ck_i ON ck (b, c) INCLUDE (d);
ALTER TABLE ck ADD CONSTRAINT ck_u UNIQUE USING INDEX ck_i;
INSERT INTO ck VALUES (1, 3, 'c');
INSERT INTO ck VALUES (1, 3, NULL), (1, 3, NULL);
CREATE TABLE ckn (a int, b int, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO ckn VALUES (1, NULL), (NULL, NULL), (NULL, 1);
INSERT INTO ckn VALUES (1, NULL);
INSERT INTO ckn VALUES (1, NULL) ON CONFLICT (a, b) DO UPDATE SET b = 2 RETURNING *;
INSERT INTO ckn VALUES (NULL, NULL) ON CONFLICT DO NOTHING;
SELECT count(*) FROM ckn;

-- foreign keys: every action
CREATE TABLE fkp (a int, b int, v int, PRIMARY KEY (a, b));
INSERT INTO fkp SELECT g, g, 0 FROM generate_series(0, 30) g;
CREATE TABLE fk_na (n text DEFAULT 'no action', a int, b int, FOREIGN KEY (a, b) REFERENCES fkp);
CREATE TABLE fk_nd (n text DEFAULT 'no action deferred', a int, b int, FOREIGN KEY (a, b) REFERENCES fkp DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE fk_re (n text DEFAULT 'restrict', a int, b int, FOREIGN KEY (a, b) REFERENCES fkp ON DELETE RESTRICT ON UPDATE RESTRICT DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE fk_ca (n text DEFAULT 'cascade', a int, b int, FOREIGN KEY (a, b) REFERENCES fkp ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE fk_sn (n text DEFAULT 'set null', a int, b int, FOREIGN KEY (a, b) REFERENCES fkp ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE fk_s1 (n text DEFAULT 'set null (b)', a int, b int, FOREIGN KEY (a, b) REFERENCES fkp ON DELETE SET NULL (b));
CREATE TABLE fk_sd (n text DEFAULT 'set default', a int DEFAULT 0, b int DEFAULT 0, FOREIGN KEY (a, b) REFERENCES fkp ON DELETE SET DEFAULT ON UPDATE SET DEFAULT);
CREATE TABLE fk_mf (n text DEFAULT 'match full', a int, b int, FOREIGN KEY (a, b) REFERENCES fkp MATCH FULL ON DELETE CASCADE);
INSERT INTO fk_na (a, b) VALUES (1, 1), (NULL, 99), (99, NULL);
INSERT INTO fk_nd (a, b) VALUES (2, 2);
INSERT INTO fk_re (a, b) VALUES (3, 3);
INSERT INTO fk_ca (a, b) VALUES (4, 4), (5, 5), (5, 5);
INSERT INTO fk_sn (a, b) VALUES (6, 6), (7, 7);
INSERT INTO fk_s1 (a, b) VALUES (8, 8);
INSERT INTO fk_sd (a, b) VALUES (9, 9), (10, 10);
INSERT INTO fk_mf (a, b) VALUES (11, 11), (NULL, NULL);
INSERT INTO fk_mf (a, b) VALUES (11, NULL);
CREATE VIEW fk_all AS TABLE fk_na UNION ALL TABLE fk_nd UNION ALL TABLE fk_re UNION ALL TABLE fk_ca UNION ALL TABLE fk_sn UNION ALL TABLE fk_s1
	UNION ALL TABLE fk_sd UNION ALL TABLE fk_mf ORDER BY 1, 2, 3;
DO $$
BEGIN
	FOR i IN 1..11 LOOP
		BEGIN
			DELETE FROM fkp WHERE a = i;
			RAISE NOTICE 'delete % done', i;
			SET CONSTRAINTS ALL IMMEDIATE;
		EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'delete % refused: %', i, SQLERRM;
		END;
	END LOOP;
END $$;
TABLE fk_all;
TRUNCATE fk_na, fk_nd, fk_re, fk_ca, fk_sn, fk_s1, fk_sd, fk_mf;
INSERT INTO fkp VALUES (4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9), (10, 10), (11, 11) ON CONFLICT DO NOTHING;
INSERT INTO fk_na (a, b) VALUES (1, 1);
INSERT INTO fk_nd (a, b) VALUES (2, 2);
INSERT INTO fk_re (a, b) VALUES (3, 3);
INSERT INTO fk_ca (a, b) VALUES (4, 4), (5, 5), (5, 5);
INSERT INTO fk_sn (a, b) VALUES (6, 6), (7, 7);
INSERT INTO fk_s1 (a, b) VALUES (8, 8);
INSERT INTO fk_sd (a, b) VALUES (9, 9), (10, 10);
INSERT INTO fk_mf (a, b) VALUES (11, 11), (NULL, NULL);
DO $$
BEGIN
	FOR i IN 1..11 LOOP
		BEGIN
			UPDATE fkp SET a = a + 100 WHERE a = i;
			RAISE NOTICE 'update % done', i;
			SET CONSTRAINTS ALL IMMEDIATE;
		EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'update % refused: %', i, SQLERRM;
		END;
		UPDATE fkp SET v = v + 1 WHERE b = i;
	END LOOP;
END $$;
TABLE fk_all;
SELECT * FROM fkp WHERE b <= 11 ORDER BY b;
-- NO ACTION looks again at the end of the statement or transaction, RESTRICT does not
BEGIN;
DELETE FROM fkp WHERE a = 2;
INSERT INTO fk_nd (a, b) VALUES (40, 40);
INSERT INTO fkp VALUES (2, 2, 5), (40, 40, 5);
COMMIT;
BEGIN;
DELETE FROM fkp WHERE a = 2;
COMMIT;
WITH d AS (DELETE FROM fkp WHERE a = 1 RETURNING *) INSERT INTO fkp SELECT a + 1000, b, v FROM d;
WITH d AS (DELETE FROM fk_na WHERE a = 1) DELETE FROM fkp WHERE a = 1;
SELECT count(*) FROM fkp WHERE a = 1;
-- the default that SET DEFAULT names is gone, too
DELETE FROM fkp WHERE a = 0;
SELECT * FROM fk_sd;
-- cascades through own rows, a chain, a cycle, many rows
BEGIN;
INSERT INTO fkp SELECT g, g, 0 FROM generate_series(1001, 2000) g;
INSERT INTO fk_ca (a, b) SELECT g, g FROM generate_series(1001, 2000) g, generate_series(1, 3);
UPDATE fkp SET a = a + 10000 WHERE a > 1000;
SELECT count(*), min(a), max(a) FROM fk_ca WHERE a > 1000;
SAVEPOINT s;
DELETE FROM fkp WHERE b BETWEEN 1501 AND 2000;
SELECT count(*), min(a), max(a) FROM fk_ca WHERE a > 1000;
ROLLBACK TO s;
DELETE FROM fkp WHERE b BETWEEN 1001 AND 1500;
COMMIT;
SELECT count(*), min(a), max(a) FROM fk_ca WHERE a > 1000;
CREATE TABLE ch1 (id int PRIMARY KEY);
CREATE TABLE ch2 (id int PRIMARY KEY REFERENCES ch1 ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE ch3 (id int PRIMARY KEY REFERENCES ch2 ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE ch4 (id int REFERENCES ch3 ON DELETE SET NULL ON UPDATE CASCADE);
INSERT INTO ch1 SELECT generate_series(1, 100); INSERT INTO ch2 TABLE ch1; INSERT INTO ch3 TABLE ch2; INSERT INTO ch4 TABLE ch3;
UPDATE ch1 SET id = id + 1000 WHERE id <= 50;
DELETE FROM ch1 WHERE id BETWEEN 90 AND 1010;
SELECT (SELECT count(*) FROM ch1) a, (SELECT count(*) FROM ch2) b, (SELECT count(*) FROM ch3) c, count(*) d, count(id) e, sum(id) FROM ch4;
CREATE TABLE cyc (id int PRIMARY KEY, next int REFERENCES cyc ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO cyc SELECT g, g % 100 + 1 FROM generate_series(1, 100) g;
DELETE FROM cyc WHERE id = 7;
SELECT count(*) FROM cyc;
-- a key over partitions on both sides; detaching a referenced partition; NOT VALID; a trigger that interferes
CREATE TABLE fpp (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE fpp1 PARTITION OF fpp FOR VALUES FROM (0) TO (100);
CREATE TABLE fpp2 PARTITION OF fpp FOR VALUES FROM (100) TO (200);
CREATE TABLE fpc (id int, p int REFERENCES fpp ON DELETE CASCADE ON UPDATE CASCADE) PARTITION BY HASH (id);
CREATE TABLE fpc0 PARTITION OF fpc FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE fpc1 PARTITION OF fpc FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO fpp SELECT generate_series(0, 199);
INSERT INTO fpc SELECT g, g FROM generate_series(0, 199) g;
INSERT INTO fpc VALUES (1, 500);
UPDATE fpp SET id = id + 50 WHERE id = 60;
DELETE FROM fpp WHERE id = 60;
DELETE FROM fpp WHERE id BETWEEN 90 AND 109;
SELECT count(*), sum(p) FROM fpc;
ALTER TABLE fpp DETACH PARTITION fpp2;
DELETE FROM fpc WHERE p >= 100;
ALTER TABLE fpp DETACH PARTITION fpp2;
INSERT INTO fpc VALUES (1, 150);
CREATE TABLE fnv (p int);
INSERT INTO fnv VALUES (1), (77777);
ALTER TABLE fnv ADD CONSTRAINT nv FOREIGN KEY (p) REFERENCES fpp NOT VALID;
INSERT INTO fnv VALUES (77778);
ALTER TABLE fnv VALIDATE CONSTRAINT nv;
DELETE FROM fnv WHERE p = 77777;
ALTER TABLE fnv VALIDATE CONSTRAINT nv;
CREATE FUNCTION fk_stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER stop BEFORE DELETE ON fk_ca FOR EACH ROW EXECUTE FUNCTION fk_stop();
INSERT INTO fk_ca (a, b) VALUES (20, 20);
DELETE FROM fkp WHERE a = 20;
SELECT count(*) FROM fk_ca WHERE a = 20;
SELECT * FROM (VALUES ('co'), ('ce'), ('ck'), ('ckn'), ('fkp'), ('fk_na'), ('fk_ca'), ('fk_sn'), ('fk_sd'), ('ch1'), ('ch4'), ('cyc'), ('fpp1'), ('fpc0'), ('fpc1')) v(t), problems(t::regclass);
DROP VIEW fk_all;
DROP TABLE co, ce, ck, ckn, fkp, fk_na, fk_nd, fk_re, fk_ca, fk_sn, fk_s1, fk_sd, fk_mf, ch1, ch2, ch3, ch4, cyc, fpp, fpp2, fpc, fnv;
DROP FUNCTION fk_stop;
