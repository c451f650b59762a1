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
