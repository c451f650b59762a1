/* feed/feed_table.sql: the tables of feeds: which TiDB table goes to which relation, and how it is. */

-- One row for each TiDB table that a feed knows. Written by the feed's worker; relations are
-- remembered by OID, so a relation that only has the right name is never written to.
CREATE TABLE magic.feed_table (
	feed_id int NOT NULL REFERENCES magic.feed ON DELETE CASCADE,
	database_key text NOT NULL,			-- lower case: TiDB compares names so
	table_key text NOT NULL,
	tidb_database text NOT NULL,		-- TiDB's spelling
	tidb_table text NOT NULL,
	relation regclass,					-- NULL = none
	relation_oid oid,					-- its OID when the feed took it; differs after a restore
	adopted bool NOT NULL DEFAULT false,	-- was there before the feed; never dropped by it
	state text NOT NULL DEFAULT 'ok' CHECK (state IN ('ok', 'key unknown', 'pending DDL',
		'resync needed', 'unverified', 'unsupported', 'detached', 'error')),
	state_detail text,
	key_columns text[] NOT NULL DEFAULT '{}',	-- TiDB's names; none = rows are matched whole
	unique_keys text[] NOT NULL DEFAULT '{}',	-- each: + (may identify a row) or -, name and columns, joined by chr(31)
	base_ts bigint,						-- changes at or below are in the table from a load
	rows_inserted bigint NOT NULL DEFAULT 0,
	rows_updated bigint NOT NULL DEFAULT 0,
	rows_deleted bigint NOT NULL DEFAULT 0,
	missing_old bigint NOT NULL DEFAULT 0,
	insert_conflict bigint NOT NULL DEFAULT 0,
	warnings jsonb NOT NULL DEFAULT '{}',
	last_change_ts bigint,
	PRIMARY KEY (feed_id, database_key, table_key)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX feed_table_relation ON magic.feed_table (relation);
COMMENT ON TABLE magic.feed_table IS 'TiDB tables of each feed, the relations they go to, and counters';

-- TiDB's definition of each column, as far as it is known.
CREATE TABLE magic.feed_column (
	feed_id int NOT NULL,
	database_key text NOT NULL,
	table_key text NOT NULL,
	number int NOT NULL,
	name text NOT NULL,					-- TiDB's spelling
	column_name text,					-- NULL = left out
	type int NOT NULL,					-- the event model's number of the type
	is_unsigned bool NOT NULL,
	length int NOT NULL,
	decimals int NOT NULL,
	not_null bool NOT NULL,
	generated bool NOT NULL,
	members text[],						-- of ENUM and SET
	PRIMARY KEY (feed_id, database_key, table_key, number),
	FOREIGN KEY (feed_id, database_key, table_key) REFERENCES magic.feed_table
		ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE magic.feed_column IS 'columns of the TiDB tables of each feed';

SELECT pg_catalog.pg_extension_config_dump('magic.feed_table', '');
SELECT pg_catalog.pg_extension_config_dump('magic.feed_column', '');

CREATE VIEW magic.feed_tables AS
SELECT f.name AS feed, t.tidb_database, t.tidb_table, t.relation, t.state, t.state_detail,
	t.key_columns,
	(SELECT array_agg(c.name ORDER BY c.number) FROM magic.feed_column c
	 WHERE c.feed_id = t.feed_id AND c.database_key = t.database_key
	   AND c.table_key = t.table_key AND c.column_name IS NULL) AS left_out,
	t.base_ts, t.rows_inserted, t.rows_updated, t.rows_deleted, t.missing_old,
	t.insert_conflict, t.warnings, t.last_change_ts
FROM magic.feed_table t JOIN magic.feed f ON f.id = t.feed_id;
COMMENT ON VIEW magic.feed_tables IS 'tables of each feed: state, key, counters, what is left out';

CREATE FUNCTION magic.adopt_table(feed text, tidb_table text, rel regclass) RETURNS void
LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'magic_adopt_table';
COMMENT ON FUNCTION magic.adopt_table(text, text, regclass)
IS 'let a feed write the changes of TiDB table "database.table" to a table that exists';
REVOKE ALL ON FUNCTION magic.adopt_table(text, text, regclass) FROM PUBLIC;

CREATE FUNCTION magic.set_key(rel regclass, columns text[]) RETURNS void
LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'magic_set_key';
COMMENT ON FUNCTION magic.set_key(regclass, text[])
IS 'name the columns that identify the rows of a feed''s table; makes them its primary key';
REVOKE ALL ON FUNCTION magic.set_key(regclass, text[]) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION magic.adopt_table(text, text, regclass), magic.set_key(regclass, text[])
	TO magic_admin;
GRANT SELECT ON magic.feed_tables TO magic_admin, pg_monitor;
