-- Row and statement triggers with transition tables; foreign keys from and to, with every action.
CREATE TABLE tg (id int PRIMARY KEY, v int);
CREATE TABLE tg_log (n serial, what text);
CREATE FUNCTION tg_row() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	INSERT INTO tg_log (what) VALUES (concat_ws(' ', TG_NAME, TG_OP, OLD.id, OLD.v, NEW.id, NEW.v, (SELECT count(*) FROM tg)));
	RETURN coalesce(NEW, OLD);
END $$;
CREATE FUNCTION tg_stmt() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE o text; n text;
BEGIN
	IF TG_OP <> 'INSERT' THEN SELECT string_agg(id || ':' || v, ',' ORDER BY id) INTO o FROM old_rows; END IF;
	IF TG_OP <> 'DELETE' THEN SELECT string_agg(id || ':' || v, ',' ORDER BY id) INTO n FROM new_rows; END IF;
	INSERT INTO tg_log (what) VALUES (concat_ws(' ', TG_NAME, TG_OP, 'old', o, 'new', n));
	RETURN NULL;
END $$;
CREATE TRIGGER r_before BEFORE INSERT OR UPDATE OR DELETE ON tg FOR EACH ROW EXECUTE FUNCTION tg_row();
CREATE TRIGGER r_after AFTER INSERT OR UPDATE OR DELETE ON tg FOR EACH ROW EXECUTE FUNCTION tg_row();
CREATE TRIGGER s_ins AFTER INSERT ON tg REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tg_stmt();
CREATE TRIGGER s_upd AFTER UPDATE ON tg REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION tg_stmt();
CREATE TRIGGER s_del AFTER DELETE ON tg REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION tg_stmt();
INSERT INTO tg VALUES (1, 1), (2, 2), (3, 3);
UPDATE tg SET v = v + 10 WHERE id <= 2;
DELETE FROM tg WHERE id = 2;
COPY tg FROM STDIN;
4	4
5	5
\.
INSERT INTO tg VALUES (4, 0), (6, 6) ON CONFLICT (id) DO UPDATE SET v = tg.v + 100;
MERGE INTO tg USING (VALUES (5), (7)) s(id) ON tg.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0);
SELECT what FROM tg_log ORDER BY n;
SELECT * FROM tg ORDER BY id;
-- triggers that change the row, skip it, or change the table themselves
CREATE FUNCTION tg_change() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	IF NEW.v < 0 THEN RETURN NULL; END IF;
	NEW.v := NEW.v * 2;
	RETURN NEW;
END $$;
TRUNCATE tg_log;
ALTER TABLE tg DISABLE TRIGGER ALL;
CREATE TRIGGER change BEFORE INSERT OR UPDATE ON tg FOR EACH ROW EXECUTE FUNCTION tg_change();
INSERT INTO tg VALUES (20, 5), (21, -5) RETURNING *;
UPDATE tg SET v = -1 WHERE id = 20 RETURNING *;
UPDATE tg SET v = 7 WHERE id = 20 RETURNING *;
DROP TRIGGER change ON tg;
CREATE FUNCTION tg_self() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN UPDATE tg SET v = v + 1 WHERE id = OLD.id; RETURN NEW; END $$;
CREATE TRIGGER self BEFORE UPDATE ON tg FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION tg_self();
UPDATE tg SET v = 0 WHERE id = 20;
DROP TRIGGER self ON tg;
CREATE FUNCTION tg_selfdel() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN DELETE FROM tg WHERE id = OLD.id; RETURN OLD; END $$;
CREATE TRIGGER selfdel BEFORE DELETE ON tg FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION tg_selfdel();
DELETE FROM tg WHERE id = 20;
DROP TRIGGER selfdel ON tg;
CREATE FUNCTION tg_next() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF NEW.id < 35 THEN INSERT INTO tg VALUES (NEW.id + 1, NEW.v); END IF; RETURN NEW; END $$;
CREATE TRIGGER next AFTER INSERT ON tg FOR EACH ROW EXECUTE FUNCTION tg_next();
INSERT INTO tg VALUES (30, 0);
SELECT id FROM tg WHERE id >= 30 ORDER BY id;
DROP TRIGGER next ON tg;
-- constraint triggers fire at commit on rows of the transaction
CREATE FUNCTION tg_late() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF (SELECT sum(v) FROM tg) <> 0 THEN RAISE 'sum is not zero'; END IF; RETURN NULL; END $$;
DELETE FROM tg;
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON tg DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tg_late();
BEGIN;
INSERT INTO tg VALUES (1, 5);
INSERT INTO tg VALUES (2, -5);
COMMIT;
BEGIN;
INSERT INTO tg VALUES (3, 5);
COMMIT;
SELECT * FROM tg ORDER BY id;
SELECT * FROM problems('tg');

-- foreign keys
CREATE TABLE fp (id int PRIMARY KEY, a int, UNIQUE (a));
CREATE TABLE fc_no (id int, p int REFERENCES fp);
CREATE TABLE fc_cas (id int, p int REFERENCES fp ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE fc_null (id int, p int REFERENCES fp ON DELETE SET NULL ON UPDATE SET NULL);
CREATE TABLE fc_def (id int, p int DEFAULT 1 REFERENCES fp ON DELETE SET DEFAULT ON UPDATE SET DEFAULT);
CREATE TABLE fc_res (id int, p int REFERENCES fp (a) ON DELETE RESTRICT);
INSERT INTO fp SELECT g, g * 10 FROM generate_series(1, 20) g;
INSERT INTO fc_no VALUES (1, 2), (2, NULL);
INSERT INTO fc_no VALUES (3, 99);
INSERT INTO fc_cas VALUES (1, 3), (2, 3), (3, 4);
INSERT INTO fc_null VALUES (1, 5), (2, 6);
INSERT INTO fc_def VALUES (1, 7), (2, 8);
INSERT INTO fc_res VALUES (1, 90);
DELETE FROM fp WHERE id = 2;
DELETE FROM fp WHERE id = 3;
UPDATE fp SET id = 104 WHERE id = 4;
DELETE FROM fp WHERE id = 5;
UPDATE fp SET id = 106 WHERE id = 6;
DELETE FROM fp WHERE id = 7;
UPDATE fp SET id = 108 WHERE id = 8;
DELETE FROM fp WHERE id = 9;
UPDATE fp SET a = 11 WHERE id = 10;
SELECT 'cas', * FROM fc_cas UNION ALL SELECT 'null', * FROM fc_null UNION ALL SELECT 'def', * FROM fc_def ORDER BY 1, 2;
BEGIN;
INSERT INTO fp VALUES (50, 500);
INSERT INTO fc_no VALUES (5, 50);
DELETE FROM fc_no WHERE p = 50;
DELETE FROM fp WHERE id = 50;
COMMIT;
BEGIN;
DELETE FROM fc_no;
DELETE FROM fp WHERE id = 2;
INSERT INTO fp VALUES (2, 20);
INSERT INTO fc_no VALUES (9, 2);
COMMIT;
-- a constraint added over what is there
CREATE TABLE fc_add (id int, p int);
INSERT INTO fc_add VALUES (1, 2), (2, 77);
ALTER TABLE fc_add ADD FOREIGN KEY (p) REFERENCES fp;
DELETE FROM fc_add WHERE p = 77;
ALTER TABLE fc_add ADD FOREIGN KEY (p) REFERENCES fp;
-- mixed with heap, both ways, and to itself
CREATE TABLE hp (id int PRIMARY KEY) USING heap;
INSERT INTO hp VALUES (1), (2);
CREATE TABLE mc (id int PRIMARY KEY, p int REFERENCES hp ON DELETE CASCADE);
INSERT INTO mc VALUES (1, 1), (2, 2);
CREATE TABLE hc (id int, p int REFERENCES mc ON DELETE CASCADE) USING heap;
INSERT INTO hc VALUES (1, 1), (2, 2);
DELETE FROM hp WHERE id = 1;
SELECT (SELECT count(*) FROM hp), (SELECT count(*) FROM mc), (SELECT count(*) FROM hc);
INSERT INTO hc VALUES (3, 3);
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (5, 1);
INSERT INTO tree VALUES (7, 8), (8, 7);
DELETE FROM tree WHERE id = 2;
SELECT * FROM tree ORDER BY id;
TRUNCATE fp;
TRUNCATE fp CASCADE;
SELECT (SELECT count(*) FROM fp), (SELECT count(*) FROM fc_cas);
SELECT * FROM problems('fp') UNION ALL SELECT * FROM problems('mc') UNION ALL SELECT * FROM problems('tree');
DROP TABLE tg, tg_log, fp, fc_no, fc_cas, fc_null, fc_def, fc_res, fc_add, hp, mc, hc, tree;
DROP FUNCTION tg_row, tg_stmt, tg_change, tg_self, tg_selfdel, tg_next, tg_late;
