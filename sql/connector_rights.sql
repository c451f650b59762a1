-- A foreign table gives nobody more, and nobody less, than the base does: privileges, views, SECURITY DEFINER, row security.
CREATE ROLE connector_owner;
CREATE ROLE connector_reader;
CREATE ROLE connector_stranger;
CREATE SCHEMA near;
CREATE SCHEMA far;
CREATE SERVER m FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic');
CREATE TABLE near.t (id int PRIMARY KEY, secret text, owner name);
INSERT INTO near.t VALUES (1, 'one', 'connector_reader'), (2, 'two', 'connector_owner'), (3, 'three', 'connector_reader');
IMPORT FOREIGN SCHEMA near FROM SERVER m INTO far;
GRANT USAGE ON SCHEMA far TO connector_owner, connector_reader, connector_stranger;
GRANT ALL ON far.t TO connector_owner, connector_reader, connector_stranger;
GRANT USAGE ON SCHEMA near TO connector_owner, connector_reader;
GRANT ALL ON near.t TO connector_owner;
GRANT SELECT (id, owner), UPDATE (owner), DELETE ON near.t TO connector_reader;

-- the schema, the table, the columns
SET ROLE connector_stranger;
SELECT id FROM far.t;
INSERT INTO far.t VALUES (4);
SET ROLE connector_reader;
SELECT id FROM far.t ORDER BY id;
SELECT secret FROM far.t;
SELECT id FROM far.t WHERE secret = 'one';
SELECT id FROM far.t ORDER BY secret;
UPDATE far.t SET owner = 'x' WHERE id = 3 RETURNING id, owner;
UPDATE far.t SET secret = 'x' WHERE id = 3;
UPDATE far.t SET owner = 'connector_reader' WHERE id = 3 RETURNING secret;
INSERT INTO far.t (id) VALUES (4);
BEGIN;
DELETE FROM far.t WHERE id = 3;
-- a DELETE that locks rows first needs no UPDATE privilege on the table
DELETE FROM far.t WHERE id = 1 AND random() < 2;
SELECT id FROM far.t;
ROLLBACK;
SELECT id FROM far.t FOR UPDATE;
TRUNCATE far.t;
RESET ROLE;

-- a view reads with its owner's rights, a security_invoker view with the caller's
CREATE VIEW far.by_owner AS SELECT id, secret FROM far.t;
ALTER VIEW far.by_owner OWNER TO connector_owner;
CREATE VIEW far.by_caller WITH (security_invoker) AS SELECT id, secret FROM far.t;
GRANT ALL ON far.by_owner, far.by_caller TO connector_stranger, connector_reader;
SET ROLE connector_stranger;
SELECT * FROM far.by_owner ORDER BY id;
UPDATE far.by_owner SET secret = 'ONE' WHERE id = 1 RETURNING *;
SELECT * FROM far.by_caller;
RESET ROLE;
-- and a view under the foreign table
CREATE VIEW near.v AS SELECT id, secret FROM near.t;
ALTER VIEW near.v OWNER TO connector_owner;
GRANT SELECT ON near.v TO connector_reader;
IMPORT FOREIGN SCHEMA near LIMIT TO (v) FROM SERVER m INTO far;
GRANT SELECT ON far.v TO connector_reader, connector_stranger;
SET ROLE connector_reader;
SELECT secret FROM far.v WHERE id = 1;
SET ROLE connector_stranger;
SELECT secret FROM far.v WHERE id = 1;
RESET ROLE;

-- SECURITY DEFINER: as its owner while it runs, also what its cursor reads later
CREATE FUNCTION far.peek() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT string_agg(secret, '','' ORDER BY id) FROM far.t';
ALTER FUNCTION far.peek() OWNER TO connector_owner;
CREATE FUNCTION far.open_peek() RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
	c CURSOR FOR SELECT secret FROM far.t WHERE id < (SELECT max(id) FROM far.t) ORDER BY id;
BEGIN
	c := 'peek';
	OPEN c;
	RETURN c;
END
$$;
ALTER FUNCTION far.open_peek() OWNER TO connector_owner;
SET ROLE connector_stranger;
SELECT far.peek();
BEGIN;
SELECT far.open_peek();
FETCH ALL FROM peek;
COMMIT;
RESET ROLE;

-- a prepared plan follows the role that runs it
GRANT SELECT ON near.t TO connector_reader;
SET plan_cache_mode = force_generic_plan;
PREPARE p AS SELECT id, secret FROM far.t WHERE id = 1;
SET ROLE connector_reader;
EXECUTE p;
SET ROLE connector_stranger;
EXECUTE p;
SET ROLE connector_owner;
EXECUTE p;
RESET ROLE;
RESET plan_cache_mode;

-- row security of the base
ALTER TABLE near.t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p1 ON near.t FOR SELECT USING (owner = current_user);
CREATE POLICY p2 ON near.t FOR UPDATE USING (id < 3) WITH CHECK (secret IS NULL OR secret <> 'bad');
CREATE POLICY p3 ON near.t FOR DELETE USING (id = 1);
GRANT UPDATE, INSERT ON near.t TO connector_reader;
SELECT count(*) FROM far.t;
SET ROLE connector_reader;
SELECT id, secret FROM far.t ORDER BY id;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM far.t WHERE secret > 'a';
CREATE FUNCTION pg_temp.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
SELECT id FROM far.t WHERE pg_temp.leak(secret) ORDER BY id;
UPDATE far.t SET secret = 'new' RETURNING id;
UPDATE far.t SET secret = 'newer' WHERE random() < 2 RETURNING id;
UPDATE far.t SET secret = 'bad' WHERE random() < 2 RETURNING id;
INSERT INTO far.t (id, owner) VALUES (9, 'connector_reader');
BEGIN;
DELETE FROM far.t WHERE random() < 2 RETURNING id;
ROLLBACK;
-- the view's owner counts for the policies, the caller for current_user, as on the base
SELECT id FROM far.by_owner;
SET row_security = off;
SELECT id FROM far.t;
RESET row_security;
RESET ROLE;
CREATE VIEW near.by_owner AS SELECT id, secret FROM near.t;
ALTER VIEW near.by_owner OWNER TO connector_owner;
GRANT SELECT ON near.by_owner TO connector_reader;
SET ROLE connector_reader;
SELECT id FROM near.by_owner;
RESET ROLE;
-- row security does not hide what a policy of another role lets through: a generic plan is not shared
SET plan_cache_mode = force_generic_plan;
PREPARE r AS SELECT count(*) FROM far.t;
EXECUTE r;
SET ROLE connector_reader;
EXECUTE r;
SET ROLE connector_owner;
EXECUTE r;
RESET ROLE;

-- secrets: nobody but their owner sees a user mapping
CREATE SERVER k FOREIGN DATA WRAPPER magic_fdw OPTIONS (source 'kafka');
CREATE USER MAPPING FOR connector_owner SERVER k OPTIONS (username 'u', password 'secret');
SET ROLE connector_reader;
SELECT umoptions FROM pg_user_mappings WHERE srvname = 'k';
DROP FUNCTION pg_temp.leak;
RESET ROLE;

\set VERBOSITY terse
DROP SCHEMA far CASCADE;
DROP SCHEMA near CASCADE;
DROP SERVER m CASCADE;
DROP SERVER k CASCADE;
DROP ROLE connector_owner, connector_reader, connector_stranger;
