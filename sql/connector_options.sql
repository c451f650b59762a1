-- Servers, user mappings, tables and columns of magic_fdw take their own options only; what this version cannot reach is refused at creation.
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw;
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engien 'magic');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (colour 'red');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'duck');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic', host 'db2');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'clickhouse', host 'ch', port '8123');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic', source 'kafka');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (source 'pulsar');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (source 'kafka', batch_size '7');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (source 'kafka', password 'secret');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic', batch_size '0');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic', updatable 'perhaps');
\set VERBOSITY sqlstate
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engien 'magic');
CREATE SERVER s FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'clickhouse');
\set VERBOSITY default

CREATE SERVER m FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic', batch_size '10');
ALTER SERVER m OPTIONS (ADD host 'db2');
ALTER SERVER m OPTIONS (DROP engine);
CREATE SERVER k FOREIGN DATA WRAPPER magic_fdw OPTIONS (source 'kafka');
CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (username 'u', pasword 'p');
CREATE USER MAPPING FOR CURRENT_USER SERVER k
	OPTIONS (username 'u', password 'p', ssl_key_pem 'pem', ssl_key_password 'q');

CREATE TABLE option_base (a int, b text);
CREATE FOREIGN TABLE option_table (a int) SERVER m OPTIONS (schema 'public');
CREATE FOREIGN TABLE option_table (a int OPTIONS (name 'a')) SERVER m;
-- a server for secrets holds no tables
CREATE FOREIGN TABLE on_source (a int) SERVER k OPTIONS (table_name 'option_base');
SELECT * FROM on_source;
IMPORT FOREIGN SCHEMA public FROM SERVER k INTO public;

-- a foreign table never shows itself or another one of its kind
CREATE FOREIGN TABLE option_table (x int OPTIONS (column_name 'a'), b text)
	SERVER m OPTIONS (table_name 'option_base');
CREATE FOREIGN TABLE itself (a int) SERVER m;
SELECT * FROM itself;
CREATE FOREIGN TABLE second (x int) SERVER m OPTIONS (table_name 'option_table');
SELECT * FROM second;
CREATE FOREIGN TABLE round_about (a int) SERVER m OPTIONS (table_name 'round_view');
CREATE VIEW round_view AS SELECT a FROM round_about;
SELECT * FROM round_about;
SELECT * FROM round_view;
CREATE FOREIGN TABLE no_base (a int) SERVER m OPTIONS (schema_name 'nowhere', table_name 'nothing');
SELECT * FROM no_base;
CREATE FOREIGN TABLE sequence_base (a int) SERVER m OPTIONS (table_name 'option_sequence');
CREATE SEQUENCE option_sequence;
SELECT * FROM sequence_base;

-- the base changes after the foreign table was made
INSERT INTO option_table VALUES (1, 'one');
PREPARE p AS SELECT x, b FROM option_table;
EXECUTE p;
ALTER TABLE option_base RENAME b TO c;
EXECUTE p;
ALTER FOREIGN TABLE option_table ALTER b OPTIONS (ADD column_name 'c');
EXECUTE p;
ALTER TABLE option_base ALTER a TYPE numeric;
EXECUTE p;
ALTER FOREIGN TABLE option_table ALTER x TYPE numeric;
SELECT x, b FROM option_table;
DROP TABLE option_base;
SELECT x FROM option_table;
CREATE TABLE option_base (a numeric, c text);
INSERT INTO option_base VALUES (2, 'again');
SELECT x, b FROM option_table;

-- IMPORT FOREIGN SCHEMA: types, collations, NOT NULL; LIMIT TO, EXCEPT
CREATE SCHEMA shop;
CREATE SCHEMA seen;
CREATE TABLE shop.item (id bigint PRIMARY KEY, name varchar(20) COLLATE "C" NOT NULL, price numeric(10,2) DEFAULT 1,
	gone int, "Odd ""name" text, made date DEFAULT '2024-02-03', twice numeric GENERATED ALWAYS AS (price * 2) STORED);
ALTER TABLE shop.item DROP gone;
CREATE TABLE shop.part (k int, v text) PARTITION BY LIST (k);
CREATE TABLE shop.part_1 PARTITION OF shop.part FOR VALUES IN (1);
CREATE VIEW shop.cheap AS SELECT id, name FROM shop.item WHERE price < 10;
IMPORT FOREIGN SCHEMA shop LIMIT TO (item, part_1) FROM SERVER m INTO seen;
\d seen.*
DROP FOREIGN TABLE seen.item, seen.part_1;
IMPORT FOREIGN SCHEMA shop EXCEPT (item) FROM SERVER m INTO seen OPTIONS (import_not_null 'false');
\det seen.*
IMPORT FOREIGN SCHEMA shop FROM SERVER m INTO seen OPTIONS (import_magic 'true');
IMPORT FOREIGN SCHEMA shop LIMIT TO (item) FROM SERVER m INTO seen OPTIONS (import_default 'true', import_collate 'false');
\d seen.item
IMPORT FOREIGN SCHEMA nowhere FROM SERVER m INTO seen;

\set VERBOSITY terse
DROP SCHEMA shop CASCADE;
DROP SCHEMA seen CASCADE;
DROP VIEW round_view;
DROP SERVER m CASCADE;
DROP SERVER k CASCADE;
DROP TABLE option_base;
DROP SEQUENCE option_sequence;
