/* feed/feed.sql: feeds, their positions, and the functions that operate them. */

CREATE SEQUENCE magic.feed_id_seq AS int;

-- What the user asked for. Written by the functions below only; values are checked there.
CREATE TABLE magic.feed (
	id int PRIMARY KEY DEFAULT nextval('magic.feed_id_seq'),
	name text NOT NULL UNIQUE,
	owner regrole NOT NULL,
	source text NOT NULL,
	apply_interval interval NOT NULL,
	interval_changed_at timestamptz NOT NULL DEFAULT now(),
	start_ts bigint,
	stop_ts bigint,
	tables text NOT NULL,
	routes text,
	names text NOT NULL,
	names_as text NOT NULL,
	readers text,
	memory_limit bigint NOT NULL,
	spill_limit bigint NOT NULL,
	on_error text NOT NULL,
	on_gap text NOT NULL,
	on_zero_date text NOT NULL,
	on_bad_text text NOT NULL,
	on_lock text NOT NULL,
	on_dependent text NOT NULL,
	on_missing text NOT NULL,
	on_local_write text NOT NULL,
	on_buffer_full text NOT NULL,
	old_value text NOT NULL,
	ddl_rewrite_limit bigint NOT NULL,
	read_grid interval NOT NULL,
	enabled bool NOT NULL,
	paused bool NOT NULL DEFAULT false
);
COMMENT ON TABLE magic.feed IS 'feeds as configured; use magic.create_feed and its companions to change it';

-- Where a feed is. create_feed makes the row, the apply updates it together with the data.
CREATE TABLE magic.feed_position (
	feed_id int NOT NULL REFERENCES magic.feed ON DELETE CASCADE,
	topic text NOT NULL,				-- for files the directory
	partition int NOT NULL,
	position text,						-- next byte to read; NULL = from the start
	applied_ts bigint NOT NULL,			-- every commit TS at or below is in the tables
	applied_at timestamptz,
	last_position text,					-- the last applied message: where it stood,
	last_crc bigint,					-- CRC-32C of its value,
	last_ts bigint,						-- its commit TS
	PRIMARY KEY (feed_id, topic, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE magic.feed_position IS 'position of each feed in its source, written in the transaction that writes the data';

-- Why a feed does not run although it should: written by its worker, removed by magic.resume.
CREATE TABLE magic.feed_rest (
	feed_id int PRIMARY KEY REFERENCES magic.feed ON DELETE CASCADE,
	state text NOT NULL CHECK (state IN ('error', 'stopped', 'needs adopt')),
	message text,
	detail text,
	hint text,
	sqlstate text,
	at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE magic.feed_rest IS 'feeds at rest: stopped at their stop_ts, or in error, with the error';

-- Messages that a feed left out, to be looked at and replayed. Nothing writes it yet: on_error is
-- always 'stop'.
CREATE TABLE magic.dead_letter (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	feed_id int NOT NULL REFERENCES magic.feed ON DELETE CASCADE,
	topic text NOT NULL,
	partition int NOT NULL,
	"offset" bigint NOT NULL,
	commit_ts bigint,
	key bytea,
	value bytea,
	sqlstate text,
	reason text,
	at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE magic.dead_letter IS 'messages that could not be applied and were left out';

SELECT pg_catalog.pg_extension_config_dump('magic.feed_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('magic.dead_letter', '');
SELECT pg_catalog.pg_extension_config_dump('magic.dead_letter_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('magic.feed', '');
SELECT pg_catalog.pg_extension_config_dump('magic.feed_position', '');
SELECT pg_catalog.pg_extension_config_dump('magic.feed_rest', '');

-- The role whose members operate feeds. It belongs to the whole server, so it is never dropped here.
DO $$
BEGIN
	IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'magic_admin') THEN
		CREATE ROLE magic_admin NOLOGIN;
	END IF;
END
$$;
-- Also how the launcher finds this database: it looks for grants to magic_admin in pg_shdepend.
GRANT USAGE ON SCHEMA magic TO magic_admin;

CREATE FUNCTION magic.create_feed(
	name text,
	source text,
	apply_interval interval DEFAULT '1 second',
	start_ts bigint DEFAULT NULL,
	stop_ts bigint DEFAULT NULL,
	tables text DEFAULT '*.*',
	routes text DEFAULT NULL,
	names text DEFAULT 'keep',
	names_as text DEFAULT 'table',
	engine_server text DEFAULT NULL,
	source_server text DEFAULT NULL,
	readers text DEFAULT NULL,
	memory_limit text DEFAULT '256MB',
	spill_limit text DEFAULT '8GB',
	on_error text DEFAULT 'stop',
	on_gap text DEFAULT 'stop',
	on_zero_date text DEFAULT 'null',
	on_bad_text text DEFAULT 'replace',
	on_lock text DEFAULT 'wait',
	on_dependent text DEFAULT 'stop',
	on_missing text DEFAULT 'count',
	on_local_write text DEFAULT 'refuse',
	on_buffer_full text DEFAULT 'apply',
	old_value text DEFAULT 'on',
	ddl_rewrite_limit text DEFAULT NULL,
	read_grid interval DEFAULT '1 second',
	enabled bool DEFAULT true
) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'magic_create_feed';
COMMENT ON FUNCTION magic.create_feed IS 'create a feed: tables here that follow a TiDB change stream';

CREATE FUNCTION magic.alter_feed(
	feed text,
	apply_interval interval DEFAULT NULL,
	stop_ts bigint DEFAULT NULL,
	tables text DEFAULT NULL,
	routes text DEFAULT NULL,
	names text DEFAULT NULL,
	names_as text DEFAULT NULL,
	engine_server text DEFAULT NULL,
	readers text DEFAULT NULL,
	memory_limit text DEFAULT NULL,
	spill_limit text DEFAULT NULL,
	on_error text DEFAULT NULL,
	on_gap text DEFAULT NULL,
	on_zero_date text DEFAULT NULL,
	on_bad_text text DEFAULT NULL,
	on_lock text DEFAULT NULL,
	on_dependent text DEFAULT NULL,
	on_missing text DEFAULT NULL,
	on_local_write text DEFAULT NULL,
	on_buffer_full text DEFAULT NULL,
	old_value text DEFAULT NULL,
	ddl_rewrite_limit text DEFAULT NULL,
	read_grid interval DEFAULT NULL,
	enabled bool DEFAULT NULL
) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'magic_alter_feed';
COMMENT ON FUNCTION magic.alter_feed IS 'change options of a feed; those left out stay as they are';

CREATE FUNCTION magic.drop_feed(feed text, drop_tables bool DEFAULT false) RETURNS void
LANGUAGE C STRICT VOLATILE AS 'MODULE_PATHNAME', 'magic_drop_feed';
COMMENT ON FUNCTION magic.drop_feed IS 'drop a feed; its tables stay and become writable unless drop_tables is true';

CREATE FUNCTION magic.pause(feed text) RETURNS void
LANGUAGE C STRICT VOLATILE AS 'MODULE_PATHNAME', 'magic_pause';
COMMENT ON FUNCTION magic.pause IS 'let a feed rest until magic.resume';

CREATE FUNCTION magic.resume(feed text, stop_ts bigint DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'magic_resume';
COMMENT ON FUNCTION magic.resume IS 'let a paused, stopped or failed feed go on, up to stop_ts if given';

CREATE FUNCTION magic.set_interval(feed text, apply_interval interval) RETURNS void
LANGUAGE C STRICT VOLATILE AS 'MODULE_PATHNAME', 'magic_set_interval';
COMMENT ON FUNCTION magic.set_interval IS 'change the pause between two applies, at once; 0 = commit at each resolved TS';

CREATE FUNCTION magic.wait_for(feed text, ts bigint, timeout interval DEFAULT NULL, durable bool DEFAULT false) RETURNS bool
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'magic_wait_for_ts';
COMMENT ON FUNCTION magic.wait_for(text, bigint, interval, bool) IS 'wait until a commit TS is applied; false when the timeout has passed';

CREATE FUNCTION magic.wait_for(feed text, until text, timeout interval DEFAULT NULL, durable bool DEFAULT false) RETURNS bool
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'magic_wait_for_text';
COMMENT ON FUNCTION magic.wait_for(text, text, interval, bool) IS 'wait until a TS in digits, or the end of the source as it is now (''end''), is applied';

CREATE FUNCTION magic.applied_ts(feed text) RETURNS bigint
LANGUAGE C STRICT STABLE AS 'MODULE_PATHNAME', 'magic_applied_ts';
COMMENT ON FUNCTION magic.applied_ts IS 'the commit TS up to which the caller''s snapshot sees the feed''s tables';

CREATE FUNCTION magic.seek(feed text, topic text, partition int, "offset" bigint DEFAULT NULL, at timestamptz DEFAULT NULL, commit_ts bigint DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'magic_seek';
COMMENT ON FUNCTION magic.seek IS 'set the place in the source where a resting feed reads on';

CREATE FUNCTION magic.skip(feed text, topic text, partition int, n int DEFAULT 1) RETURNS void
LANGUAGE C STRICT VOLATILE AS 'MODULE_PATHNAME', 'magic_skip';
COMMENT ON FUNCTION magic.skip IS 'leave out the next messages of the source of a resting feed';

CREATE FUNCTION magic.feed_runtime(
	OUT feed_id int,
	OUT state text,
	OUT state_detail text,
	OUT worker_pid int,
	OUT resolved_ts bigint,
	OUT applied_ts bigint,
	OUT durable_ts bigint,
	OUT applied_at timestamptz,
	OUT next_apply_at timestamptz,
	OUT oldest_pending timestamptz,
	OUT rows_per_second float8,
	OUT messages_per_second float8,
	OUT rows_applied bigint,
	OUT applies bigint,
	OUT dropped_rows bigint,
	OUT lag_messages bigint,
	OUT high_watermark bigint,
	OUT memory_bytes bigint,
	OUT spill_bytes bigint,
	OUT last_error text,
	OUT last_error_detail text,
	OUT last_error_hint text,
	OUT last_sqlstate text,
	OUT last_error_at timestamptz,
	OUT retry_at timestamptz,
	OUT wanted bool
) RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'magic_feed_runtime';
COMMENT ON FUNCTION magic.feed_runtime IS 'what the workers of this database''s feeds publish in shared memory';

-- The instant in a TSO: its upper 46 bits are milliseconds since 1970.
CREATE FUNCTION magic.ts_to_timestamp(ts bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN pg_catalog.to_timestamp((ts >> 18) / 1000.0);
COMMENT ON FUNCTION magic.ts_to_timestamp IS 'the time at which TiDB gave out a TSO';

CREATE VIEW magic.feeds AS
SELECT f.name,
	CASE
		WHEN rt.worker_pid IS NOT NULL THEN rt.state
		WHEN NOT f.enabled THEN 'disabled'
		WHEN f.paused THEN 'paused'
		WHEN r.state IS NOT NULL THEN r.state
		WHEN rt.state IN ('retrying', 'no worker slot') THEN rt.state
		ELSE 'starting'
	END AS state,
	rt.state_detail,
	f.source,
	replace(lower(substring(f.source FROM '(?i)[?&]protocol=([^&]*)')), '_', '-') AS protocol,
	'magic'::text AS engine,
	f.owner,
	f.apply_interval,
	f.interval_changed_at,
	rt.next_apply_at,
	f.start_ts,
	f.stop_ts,
	greatest(rt.resolved_ts, p.applied_ts) AS resolved_ts,
	p.applied_ts,
	coalesce(rt.durable_ts, p.applied_ts) AS durable_ts,
	p.applied_at,
	CASE
		WHEN rt.worker_pid IS NOT NULL AND rt.lag_messages = 0 AND rt.oldest_pending IS NULL THEN 0
		WHEN p.applied_ts > 0 THEN greatest(0, extract(epoch FROM clock_timestamp() - magic.ts_to_timestamp(p.applied_ts)))
	END::float8 AS lag_seconds,
	CASE
		WHEN rt.oldest_pending IS NOT NULL THEN greatest(interval '0', clock_timestamp() - rt.oldest_pending)
		WHEN rt.worker_pid IS NOT NULL AND rt.lag_messages = 0 THEN interval '0'
	END AS delivery_lag,
	rt.lag_messages,
	rt.rows_per_second,
	coalesce(rt.rows_applied, 0) AS rows_applied,
	coalesce(rt.applies, 0) AS applies,
	coalesce(rt.memory_bytes, 0) AS memory_bytes,
	coalesce(rt.spill_bytes, 0) AS spill_bytes,
	rt.worker_pid,
	CASE WHEN r.message IS NULL THEN rt.last_error ELSE r.message END AS last_error,
	CASE WHEN r.message IS NULL THEN rt.last_error_detail ELSE r.detail END AS last_error_detail,
	CASE WHEN r.message IS NULL THEN rt.last_error_hint ELSE r.hint END AS last_error_hint,
	CASE WHEN r.message IS NULL THEN rt.last_sqlstate ELSE r.sqlstate END AS last_sqlstate,
	CASE WHEN r.message IS NULL THEN rt.last_error_at ELSE r.at END AS last_error_at,
	rt.retry_at
FROM magic.feed f
	LEFT JOIN magic.feed_rest r ON r.feed_id = f.id
	LEFT JOIN magic.feed_runtime() rt ON rt.feed_id = f.id
	LEFT JOIN (
		SELECT feed_id, min(applied_ts) AS applied_ts, max(applied_at) AS applied_at
		FROM magic.feed_position
		GROUP BY feed_id
	) p ON p.feed_id = f.id;
COMMENT ON VIEW magic.feeds IS 'every feed: its configuration, state, lag, rates and last error';

CREATE VIEW magic.feed_partitions AS
SELECT f.name AS feed,
	p.topic,
	p.partition,
	p.position,
	rt.high_watermark,
	rt.lag_messages,
	CASE
		WHEN rt.worker_pid IS NOT NULL AND rt.lag_messages = 0 AND rt.oldest_pending IS NULL THEN 0
		WHEN p.applied_ts > 0 THEN greatest(0, extract(epoch FROM clock_timestamp() - magic.ts_to_timestamp(p.applied_ts)))
	END::float8 AS lag_seconds,
	greatest(rt.resolved_ts, p.applied_ts) AS resolved_ts,
	rt.messages_per_second,
	coalesce(rt.dropped_rows, 0) AS dropped_rows,
	coalesce(rt.lag_messages > 0, false) AS holds_back
FROM magic.feed_position p
	JOIN magic.feed f ON f.id = p.feed_id
	LEFT JOIN magic.feed_runtime() rt ON rt.feed_id = f.id;
COMMENT ON VIEW magic.feed_partitions IS 'every topic partition or directory that a feed reads, and how far it has come';

CREATE VIEW magic.dead_letters AS
SELECT d.id, f.name AS feed, d.topic, d.partition, d."offset", d.commit_ts, d.key, d.value, d.sqlstate, d.reason, d.at
FROM magic.dead_letter d JOIN magic.feed f ON f.id = d.feed_id;
COMMENT ON VIEW magic.dead_letters IS 'messages that were left out, with the reason';

REVOKE ALL ON FUNCTION magic.create_feed, magic.alter_feed, magic.drop_feed, magic.pause, magic.resume,
	magic.set_interval, magic.seek, magic.skip, magic.feed_runtime FROM PUBLIC;
GRANT EXECUTE ON FUNCTION magic.create_feed, magic.alter_feed, magic.drop_feed, magic.pause, magic.resume,
	magic.set_interval, magic.seek, magic.skip TO magic_admin;
GRANT EXECUTE ON FUNCTION magic.feed_runtime TO magic_admin, pg_monitor;
GRANT SELECT ON magic.feeds, magic.feed_partitions TO magic_admin, pg_monitor;
-- Not to pg_monitor: the messages hold rows.
GRANT SELECT ON magic.dead_letters TO magic_admin;
-- Readers may wait for a TS; they learn nothing else by it.
GRANT USAGE ON SCHEMA magic TO PUBLIC;
