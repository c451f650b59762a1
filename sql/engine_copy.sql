-- COPY in every form: text, csv, binary, FREEZE, HEADER, WHERE, defaults; errors at the first, a middle
-- and the last line leave nothing behind; triggers that read, change, skip and fail; partitions and views.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE TABLE cp (id int PRIMARY KEY, v int CHECK (v > -5), t text DEFAULT 'def', g int GENERATED ALWAYS AS (v * 2) STORED);
COPY cp FROM STDIN;
1	1	one
2	\N	\N
3	3	tab\there \\ and\nnewline
\.
COPY cp (v, id) FROM STDIN WITH (FORMAT csv, HEADER match, NULL 'none', FORCE_NULL (v));
v,id
4,4
"none",5
\.
COPY cp (id, v, t) FROM STDIN WITH (FORMAT csv, QUOTE '''', DELIMITER ';');
6;6;'a;''b'
7;7;'two
lines'
8;;
\.
COPY cp (id) FROM STDIN WHERE id <> 10;
9
10
11
\.
SELECT * FROM cp ORDER BY id;
COPY cp TO STDOUT;
COPY (SELECT id, t FROM cp ORDER BY id DESC LIMIT 3) TO STDOUT WITH (FORMAT csv, HEADER);
-- nothing at all
COPY cp FROM STDIN;
\.
-- errors: malformed at the first line, at the last, a missing column, too many, CHECK, key, key within the input
COPY cp (id, v) FROM STDIN;
x	1
100	1
\.
COPY cp (id, v) FROM STDIN;
100	1
101	x
\.
COPY cp (id, v) FROM STDIN;
100	1
101
\.
COPY cp (id, v) FROM STDIN;
100	1
101	1	1
\.
COPY cp (id, v) FROM STDIN;
100	1
101	-5
102	1
\.
COPY cp (id, v) FROM STDIN;
100	1
1	1
102	1
\.
COPY cp (id, v) FROM STDIN;
100	1
101	1
100	1
\.
COPY cp (id, g) FROM STDIN;
\.
SELECT count(*), max(id) FROM cp;
SET enable_seqscan = off;
SELECT count(*) FROM cp WHERE id >= 100;
RESET enable_seqscan;
-- the same in a savepoint, between rows of the transaction that stay
BEGIN;
INSERT INTO cp VALUES (200, 1);
SAVEPOINT s;
COPY cp (id, v) FROM STDIN;
201	1
202	2
200	3
\.
ROLLBACK TO s;
COPY cp (id, v) FROM STDIN;
201	1
202	2
\.
SAVEPOINT s2;
COPY cp (id, v) FROM STDIN;
203	1
\.
ROLLBACK TO s2;
INSERT INTO cp VALUES (203, 9);
SELECT id, v FROM cp WHERE id >= 200 ORDER BY id;
COMMIT;
SELECT id, v FROM cp WHERE id >= 200 ORDER BY id;
-- an error far behind the rows that one multi-insert holds, and behind what one pack holds
\set dir `mktemp -d`
\set file :dir '/many'
\setenv FILE :file
COPY (SELECT g, g FROM generate_series(1000, 80000) g) TO :'file';
\! echo 'x	y' >> "$FILE"
COPY cp (id, v) FROM :'file';
COPY (SELECT g, CASE WHEN g = 80000 THEN -9 ELSE g END FROM generate_series(1000, 80000) g) TO :'file';
COPY cp (id, v) FROM :'file';
COPY (SELECT CASE WHEN g = 80000 THEN 1000 ELSE g END, g FROM generate_series(1000, 80000) g) TO :'file';
COPY cp (id, v) FROM :'file';
SELECT count(*), max(id) FROM cp;
COPY (SELECT g, g FROM generate_series(1000, 80000) g) TO :'file';
COPY cp (id, v) FROM :'file';
SELECT count(*), sum(id), sum(v), sum(g) FROM cp;
DELETE FROM cp WHERE id BETWEEN 1000 AND 2000;
COPY cp (id, v) FROM :'file' WHERE id BETWEEN 1000 AND 2000;
SELECT count(*), sum(id), sum(v), sum(g) FROM cp;
SET enable_seqscan = off;
SELECT count(*), sum(v) FROM cp WHERE id >= 1000;
RESET enable_seqscan;
-- binary, whole and cut, of the wrong type, and with a bad length
CREATE TABLE cpb (LIKE cp INCLUDING ALL);
COPY cp TO :'file' WITH (FORMAT binary);
COPY cpb (id, v, t) FROM :'file' WITH (FORMAT binary);
SELECT count(*), sum(id), sum(v), count(t) FROM cpb;
SELECT count(*) FROM ((TABLE cp EXCEPT ALL TABLE cpb) UNION ALL (TABLE cpb EXCEPT ALL TABLE cp)) x;
\! truncate -s -10 "$FILE"
COPY cpb (id, v, t) FROM :'file' WITH (FORMAT binary);
COPY cpb (t, id, v) FROM :'file' WITH (FORMAT binary);
COPY (SELECT 'short') TO :'file';
COPY cpb FROM :'file' WITH (FORMAT binary);
TRUNCATE cpb;
COPY cp TO :'file' WITH (FORMAT binary);
\! truncate -s -10 "$FILE"
COPY cpb (id, v, t) FROM :'file' WITH (FORMAT binary);
SELECT count(*) FROM cpb;
-- FREEZE: only into a table of this transaction; its rows are not older than they are
COPY cpb FROM STDIN WITH (FREEZE);
1
\.
BEGIN;
TRUNCATE cpb;
COPY cpb (id, v) FROM STDIN WITH (FREEZE);
1	1
2	2
\.
SELECT * FROM cpb ORDER BY id;
UPDATE cpb SET v = 3 WHERE id = 2;
SAVEPOINT s;
COPY cpb (id, v) FROM STDIN;
3	3
\.
ROLLBACK TO s;
COMMIT;
SELECT * FROM cpb ORDER BY id;
BEGIN;
CREATE TABLE cpf (id int PRIMARY KEY, v int);
COPY cpf FROM STDIN WITH (FREEZE);
1	1
2	2
\.
DELETE FROM cpf WHERE id = 1;
COMMIT;
SELECT * FROM cpf;
BEGIN;
TRUNCATE cpf;
COPY cpf FROM STDIN WITH (FREEZE);
1	1
\.
ROLLBACK;
SELECT * FROM cpf;
BEGIN;
CREATE TABLE cpf2 (id int);
SAVEPOINT s;
TRUNCATE cpf2;
COPY cpf2 FROM STDIN WITH (FREEZE);
1
\.
ROLLBACK TO s;
SELECT count(*) FROM cpf2;
COMMIT;
SELECT count(*) FROM cpf2;
-- triggers: before rows that change, skip and read the table; after rows; statements with a transition table
TRUNCATE cp;
CREATE TABLE cp_log (n serial, what text);
CREATE FUNCTION cp_before() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	IF NEW.v = 0 THEN RETURN NULL; END IF;
	IF NEW.v = 99 THEN RAISE 'not this one'; END IF;
	NEW.t := NEW.t || ' after ' || (SELECT count(*) FROM cp);
	RETURN NEW;
END $$;
CREATE FUNCTION cp_after() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	INSERT INTO cp_log (what) SELECT concat_ws(' ', 'row', NEW.id, NEW.v, NEW.t, NEW.g, (SELECT t FROM cp WHERE id = NEW.id), (SELECT count(*) FROM cp));
	RETURN NULL;
END $$;
CREATE FUNCTION cp_stmt() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO cp_log (what) SELECT concat_ws(' ', 'statement', count(*), sum(id), sum(g)) FROM n; RETURN NULL; END $$;
CREATE TRIGGER a BEFORE INSERT ON cp FOR EACH ROW EXECUTE FUNCTION cp_before();
CREATE TRIGGER b AFTER INSERT ON cp FOR EACH ROW EXECUTE FUNCTION cp_after();
CREATE TRIGGER c AFTER INSERT ON cp REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION cp_stmt();
COPY cp (id, v) FROM STDIN;
1	1
2	0
3	3
4	4
\.
SELECT * FROM cp ORDER BY id;
SELECT what FROM cp_log ORDER BY n;
COPY cp (id, v) FROM STDIN;
5	5
6	99
\.
ALTER TABLE cp DISABLE TRIGGER a;
TRUNCATE cp_log;
COPY cp (id, v) FROM STDIN;
7	7
8	99
\.
SELECT what FROM cp_log ORDER BY n;
DROP TRIGGER b ON cp;
TRUNCATE cp_log;
COPY cp (id, v) FROM STDIN;
9	9
10	10
11	11
\.
SELECT what FROM cp_log ORDER BY n;
SELECT count(*), sum(id) FROM cp;
-- a default that reads the table: rows of the same COPY are not visible to it
DROP TRIGGER c ON cp;
CREATE FUNCTION cp_count() RETURNS text LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN (SELECT count(*) FROM cp); END $$;
ALTER TABLE cp ALTER t SET DEFAULT cp_count();
COPY cp (id) FROM STDIN;
20
21
22
\.
SELECT id, t FROM cp WHERE id >= 20 ORDER BY id;
-- a foreign key checked at the end
CREATE TABLE cpc (id int, p int REFERENCES cp);
COPY cpc FROM STDIN;
1	20
2	999
\.
COPY cpc FROM STDIN;
1	20
2	21
\.
SELECT * FROM cpc ORDER BY id;
-- partitions: lines alternate between them; one line without a partition
CREATE TABLE cpp (id int, k int, t text) PARTITION BY LIST (k);
CREATE TABLE cpp0 PARTITION OF cpp FOR VALUES IN (0);
CREATE TABLE cpp1 PARTITION OF cpp FOR VALUES IN (1);
CREATE TABLE cpp2 (t text, x int, k int, id int);
ALTER TABLE cpp2 DROP x;
ALTER TABLE cpp ATTACH PARTITION cpp2 FOR VALUES IN (2);
CREATE TRIGGER a AFTER INSERT ON cpp FOR EACH ROW WHEN (NEW.id % 100 = 0) EXECUTE FUNCTION cp_after();
DROP TRIGGER a ON cpp;
COPY (SELECT g, g % 3, 'line ' || g FROM generate_series(1, 5000) g) TO :'file';
COPY cpp FROM :'file';
SELECT tableoid::regclass, count(*), sum(id), count(DISTINCT t) FROM cpp GROUP BY 1 ORDER BY 1;
COPY (SELECT g, CASE g WHEN 5000 THEN 3 ELSE g % 3 END, 'line ' || g FROM generate_series(1, 5000) g) TO :'file';
COPY cpp FROM :'file';
SELECT count(*), sum(id) FROM cpp;
-- a view with INSTEAD OF triggers
CREATE VIEW cpv AS SELECT id, k FROM cpp;
CREATE FUNCTION cpv_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO cpp VALUES (NEW.id, NEW.k, 'view'); RETURN NEW; END $$;
CREATE TRIGGER i INSTEAD OF INSERT ON cpv FOR EACH ROW EXECUTE FUNCTION cpv_f();
COPY cpv FROM STDIN;
1	0
2	1
\.
SELECT tableoid::regclass, * FROM cpp WHERE t = 'view' ORDER BY id;
-- no columns, dropped columns, one column of nothing but NULLs
CREATE TABLE cpe ();
COPY cpe FROM STDIN;


\.
SELECT count(*) FROM cpe;
ALTER TABLE cpe ADD a int, ADD b int;
ALTER TABLE cpe DROP a;
COPY cpe FROM STDIN;
\N
7
\.
SELECT b, count(*) FROM cpe GROUP BY b ORDER BY b;
COPY cpe (a) FROM STDIN;
\.
-- row security applies to COPY TO and refuses COPY FROM
CREATE ROLE regress_engine_copy;
GRANT SELECT, INSERT ON cpe TO regress_engine_copy;
ALTER TABLE cpe ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON cpe USING (b = 7);
SET ROLE regress_engine_copy;
COPY cpe TO STDOUT;
COPY cpe FROM STDIN;
\.
RESET ROLE;
SELECT * FROM problems('cp') UNION ALL SELECT * FROM problems('cpb') UNION ALL SELECT * FROM problems('cpf') UNION ALL SELECT * FROM problems('cpp2')
	UNION ALL SELECT * FROM problems('cpe');
\setenv DIR :dir
\! rm -rf "$DIR"
DROP TABLE cp, cpb, cpf, cpf2, cp_log, cpc, cpp, cpe CASCADE;
DROP FUNCTION cp_before, cp_after, cp_stmt, cp_count, cpv_f;
DROP ROLE regress_engine_copy;
