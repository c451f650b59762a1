-- GIN, GiST and SP-GiST indexes: pending lists, nearest neighbours, index-only scans, concurrent builds,
-- CLUSTER; exclusion constraints.
CREATE TABLE gi (id int PRIMARY KEY, p point, c circle, r int4range, tags int[], w text);
INSERT INTO gi SELECT g, point(g * 7919 % 1009, g * 104729 % 997), circle(point(g % 100, g % 90), g % 7),
	int4range(g, g + g % 50), ARRAY[g % 20, g % 33], 'w' || g * 31 % 1000 FROM generate_series(1, 5000) g;
DELETE FROM gi WHERE id % 13 = 0;
UPDATE gi SET p = point(id, id) WHERE id % 17 = 0;
CREATE INDEX gi_p ON gi USING gist (p);
CREATE INDEX gi_c ON gi USING gist (c);
CREATE INDEX CONCURRENTLY gi_r ON gi USING gist (r) INCLUDE (id);
CREATE INDEX gi_quad ON gi USING spgist (p);
CREATE INDEX CONCURRENTLY gi_w ON gi USING spgist (w);
CREATE INDEX gi_tags ON gi USING gin (tags) WITH (fastupdate = on);
ANALYZE gi;
CREATE VIEW gi_rows AS
	SELECT 'box' q, count(*) || ' ' || sum(id) r FROM gi WHERE p <@ box '(100,100),(300,200)'
	UNION ALL SELECT 'circle', count(*) || ' ' || sum(id) FROM gi WHERE c && circle '<(10,10),3>'
	UNION ALL SELECT 'range', count(*) || ' ' || sum(id) FROM gi WHERE r @> 1000
	UNION ALL SELECT 'overlap', count(*) || ' ' || sum(id) FROM gi WHERE r && '[2000,2020]'
	UNION ALL SELECT 'word', count(*) || ' ' || sum(id) FROM gi WHERE w ^@ 'w12'
	UNION ALL SELECT 'tags', count(*) || ' ' || sum(id) FROM gi WHERE tags @> '{3,4}'
	UNION ALL SELECT 'near', string_agg(d::numeric(10, 4)::text, ' ') FROM (SELECT p <-> point '(500,500)' d FROM gi ORDER BY 1 LIMIT 8) x
	UNION ALL SELECT 'near circle', string_agg(d::numeric(10, 4)::text, ' ') FROM (SELECT c <-> point '(-5,-5)' d FROM gi ORDER BY 1 LIMIT 8) x;
CREATE TABLE gi_seq (n int, q text, r text);
CREATE FUNCTION gi_compare() RETURNS SETOF text LANGUAGE plpgsql AS
$$
DECLARE
	a text[];
	b text[];
BEGIN
	SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off;
	a := array(SELECT gi_rows::text FROM gi_rows);
	RESET enable_indexscan; RESET enable_bitmapscan; RESET enable_indexonlyscan;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off;
	b := array(SELECT gi_rows::text FROM gi_rows);
	RESET enable_seqscan; RESET enable_sort;
	IF a IS DISTINCT FROM b THEN
		RETURN NEXT 'DIFFERS: ' || a::text || ' / ' || b::text;
	END IF;
	RETURN QUERY SELECT unnest(a);
END $$;
SELECT * FROM gi_compare();
-- pending: rows of this transaction, and GIN's list
BEGIN;
INSERT INTO gi SELECT g, point(500, 500 + g % 3), circle(point(-5, -5), 1), int4range(1000, 2010), '{3,4}', 'w12x' FROM generate_series(10001, 10200) g;
DELETE FROM gi WHERE id % 5 = 1;
SELECT * FROM gi_compare();
ROLLBACK;
INSERT INTO gi SELECT g, point(500, 500 + g % 3), circle(point(-5, -5), 1), int4range(1000, 2010), '{3,4}', 'w12x' FROM generate_series(10001, 10200) g;
DELETE FROM gi WHERE id % 10 = 1;
SELECT * FROM gi_compare();
SELECT gin_clean_pending_list('gi_tags') > 0;
SELECT * FROM gi_compare() EXCEPT ALL SELECT gi_rows::text FROM gi_rows;
VACUUM gi;
SELECT merge('gi');
SELECT * FROM gi_compare() EXCEPT ALL SELECT gi_rows::text FROM gi_rows;
-- index-only scans read the rows' visibility
SET enable_seqscan = off; SET enable_bitmapscan = off;
BEGIN;
SELECT count(*) FROM gi WHERE r && '[2000,2020]';
DELETE FROM gi WHERE r @> 2005 AND id % 2 = 0;
SELECT count(*), sum(id) FROM (SELECT r, id FROM gi WHERE r && '[2000,2020]') x;
ROLLBACK;
SELECT count(*), sum(id) FROM (SELECT r, id FROM gi WHERE r && '[2000,2020]') x;
-- nearest neighbours whose rows are locked or named by their address
SELECT id FROM gi ORDER BY c <-> point '(40.5,40.25)', id LIMIT 3 FOR UPDATE;
SELECT count(*) FROM gi WHERE ctid IN (SELECT ctid FROM gi ORDER BY c <-> point '(40.5,40.25)' LIMIT 3);
SET enable_sort = off;
BEGIN;
UPDATE gi SET w = w WHERE id % 3 = 0;
SELECT count(*), count(*) FILTER (WHERE n.x <> gi.xmin) FROM (SELECT id, xmin x FROM gi ORDER BY c <-> point '(40.5,40.25)' LIMIT 500) n JOIN gi USING (id);
ROLLBACK;
RESET enable_sort;
BEGIN;
DELETE FROM gi WHERE id IN (SELECT id FROM gi ORDER BY c <-> point '(40.5,40.25)' LIMIT 3);
SELECT count(*) FROM gi;
ROLLBACK;
RESET enable_seqscan; RESET enable_bitmapscan;
-- in the order of a GiST index
CLUSTER gi USING gi_p;
SELECT * FROM gi_compare() EXCEPT ALL SELECT gi_rows::text FROM gi_rows;
REINDEX TABLE CONCURRENTLY gi;
SELECT * FROM gi_compare() EXCEPT ALL SELECT gi_rows::text FROM gi_rows;
SELECT * FROM problems('gi');
DROP VIEW gi_rows;
DROP TABLE gi, gi_seq;

-- exclusion constraints
CREATE TABLE room (id int, during int4range, c circle, k text, n int,
	CONSTRAINT room_during EXCLUDE USING gist (during WITH &&) WHERE (n IS NULL),
	CONSTRAINT room_c EXCLUDE USING gist (c WITH &&),
	CONSTRAINT room_k EXCLUDE USING hash (k WITH =),
	CONSTRAINT room_n EXCLUDE USING btree (n WITH =),
	CONSTRAINT room_late EXCLUDE USING gist (int4range(id, id + 1) WITH &&) DEFERRABLE INITIALLY DEFERRED);
INSERT INTO room VALUES (1, '[1,10)', '<(0,0),1>', 'a', NULL), (2, '[10,20)', '<(5,0),1>', 'b', NULL);
INSERT INTO room VALUES (3, '[5,6)', NULL, NULL, NULL);
INSERT INTO room VALUES (3, '[5,6)', NULL, NULL, 7);
INSERT INTO room VALUES (4, NULL, '<(1.5,0),1>', NULL, NULL);
INSERT INTO room VALUES (4, NULL, '<(1.9,1.9),1>', NULL, NULL);
INSERT INTO room VALUES (5, NULL, NULL, 'a', NULL);
INSERT INTO room VALUES (5, NULL, NULL, NULL, 7);
INSERT INTO room VALUES (6, '[30,40)', NULL, NULL, NULL), (7, '[35,36)', NULL, NULL, NULL);
INSERT INTO room VALUES (8, '[5,6)', NULL, 'c', NULL) ON CONFLICT DO NOTHING;
INSERT INTO room VALUES (8, '[55,56)', NULL, 'a', NULL) ON CONFLICT ON CONSTRAINT room_k DO NOTHING;
INSERT INTO room VALUES (8, '[55,56)', NULL, 'd', NULL) ON CONFLICT DO NOTHING;
UPDATE room SET during = '[8,12)' WHERE id = 8;
UPDATE room SET during = '[1,9)' WHERE id = 1;
UPDATE room SET during = '[9,12)' WHERE id = 8;
BEGIN;
DELETE FROM room WHERE id = 1;
INSERT INTO room VALUES (1, '[1,10)', '<(0,0),1>', 'a', NULL);
UPDATE room SET id = 2 WHERE id = 1;
SAVEPOINT s;
SET CONSTRAINTS room_late IMMEDIATE;
ROLLBACK TO s;
UPDATE room SET id = 20 WHERE id = 2 AND k = 'b';
SET CONSTRAINTS room_late IMMEDIATE;
COMMIT;
BEGIN;
INSERT INTO room VALUES (2, '[70,80)', NULL, NULL, NULL);
COMMIT;
SELECT id, during, c, k, n FROM room ORDER BY id, during;
ALTER TABLE room DROP CONSTRAINT room_late;
INSERT INTO room VALUES (2, '[90,95)', NULL, NULL, NULL);
ALTER TABLE room ADD CONSTRAINT room_id EXCLUDE USING gist (int4range(id, id, '[]') WITH &&);
DELETE FROM room WHERE id = 2 AND during = '[90,95)';
ALTER TABLE room ADD CONSTRAINT room_id EXCLUDE USING gist (int4range(id, id, '[]') WITH &&);
INSERT INTO room VALUES (2, '[90,95)', NULL, NULL, NULL);
SELECT * FROM problems('room');
DROP TABLE room;
