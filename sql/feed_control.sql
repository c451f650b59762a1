-- Operating feeds: pause, resume, set_interval, seek, skip, wait_for, rights. No broker answers here,
-- so the feeds never get further than "retrying".
SET client_min_messages = warning;
\set u '''kafka://127.0.0.1:1/t?protocol=tidb-binlog&time-zone=UTC'''

-- a feed without a broker exists and is retried, with the error and the time of the next try
SELECT magic.create_feed('a', :u);
SELECT state FROM magic.feeds WHERE name = 'a' AND state <> 'starting' AND state <> 'retrying';
DO $$
BEGIN
	FOR i IN 1..600 LOOP
		EXIT WHEN EXISTS (SELECT FROM magic.feeds WHERE name = 'a' AND state = 'retrying' AND last_error IS NOT NULL);
		PERFORM pg_sleep(0.05);
	END LOOP;
END
$$;
SELECT state, last_error, last_sqlstate, last_error_at IS NOT NULL AS at, retry_at IS NOT NULL AS retry
FROM magic.feeds WHERE name = 'a';

-- pause and resume
SELECT magic.pause('a');
SELECT magic.pause('a');
DO $$
BEGIN
	FOR i IN 1..600 LOOP
		EXIT WHEN EXISTS (SELECT FROM magic.feeds WHERE name = 'a' AND state = 'paused');
		PERFORM pg_sleep(0.05);
	END LOOP;
END
$$;
SELECT state, worker_pid FROM magic.feeds WHERE name = 'a';
SELECT magic.resume('a', 1000);
SELECT stop_ts, paused FROM magic.feed;
SELECT magic.resume('a');
SELECT stop_ts, paused FROM magic.feed;

-- set_interval
SELECT magic.set_interval('a', '100 milliseconds');
SELECT apply_interval, interval_changed_at > now() - interval '1 minute' AS changed FROM magic.feeds;
SELECT magic.set_interval('a', '0');
SELECT magic.set_interval('a', '-1 second');
SELECT magic.set_interval('a', '1 month');
SELECT magic.set_interval('nobody', '1 second');
-- changes take effect at commit only
BEGIN;
SELECT magic.set_interval('a', '7 seconds');
ROLLBACK;
SELECT apply_interval FROM magic.feeds;

-- the position: only of a feed at rest, exactly one target
SELECT magic.seek('a', 't', 0, 5);
SELECT magic.pause('a');
SELECT magic.seek('a', 't', 0);
SELECT magic.seek('a', 't', 0, 5, now());
SELECT magic.seek('a', 't', 0, commit_ts => 5);
SELECT magic.seek('a', 't', 0, -5);
SELECT magic.seek('a', 't', 1, 5);
SELECT magic.seek('a', 'other', 0, 5);
SELECT magic.skip('a', 't', 0);
SELECT magic.seek('a', 't', 0, 5);
SELECT magic.skip('a', 't', 0);
SELECT magic.skip('a', 't', 0, 10);
SELECT magic.skip('a', 't', 0, 0);
SELECT feed, topic, partition, position FROM magic.feed_partitions;

-- wait_for
SELECT magic.wait_for('a', 5, '0');
SELECT magic.wait_for('a', 5, '10 milliseconds');
SELECT magic.wait_for('a', '5', '10 milliseconds');
SELECT magic.wait_for('a', 'end', '10 milliseconds');
SELECT magic.wait_for('a', 0);
SELECT magic.wait_for('a', 0, durable => true);
SELECT magic.wait_for('a', 'soon');
SELECT magic.wait_for('a', -1);
SELECT magic.wait_for('a', 5, '-1 second');
SELECT magic.wait_for('nobody', 5);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT magic.wait_for('a', 0);
ROLLBACK;
SELECT magic.applied_ts('a');
SELECT magic.applied_ts('nobody');
-- a feed at rest below the TS raises at once, with its error
INSERT INTO magic.feed_rest (feed_id, state, message, hint, sqlstate) SELECT id, 'error', 'something broke', 'Mend it.', 'XX001' FROM magic.feed;
SELECT magic.wait_for('a', 5);
SELECT magic.wait_for('a', 0);
UPDATE magic.feed_rest SET state = 'stopped', message = NULL;
SELECT magic.wait_for('a', 5);
DELETE FROM magic.feed_rest;

-- a stop below what is applied
UPDATE magic.feed_position SET applied_ts = 500;
SELECT magic.resume('a', 499);
SELECT magic.alter_feed('a', stop_ts => 499);
SELECT magic.applied_ts('a');

-- rights: members of magic_admin operate, pg_monitor looks, anybody may wait
CREATE ROLE feed_test_admin IN ROLE magic_admin;
CREATE ROLE feed_test_monitor IN ROLE pg_monitor;
CREATE ROLE feed_test_user;
SET ROLE feed_test_user;
SELECT magic.create_feed('b', :u);
SELECT magic.pause('a');
SELECT magic.drop_feed('a');
SELECT * FROM magic.feeds;
SELECT * FROM magic.feed;
SELECT * FROM magic.feed_runtime();
SELECT magic.wait_for('a', 500);
SELECT magic.applied_ts('a');
SET ROLE feed_test_monitor;
SELECT name, state FROM magic.feeds;
SELECT feed, topic FROM magic.feed_partitions;
SELECT magic.set_interval('a', '1 second');
SET ROLE feed_test_admin;
SELECT magic.create_feed('b', :u, enabled => false);
SELECT magic.set_interval('b', '9 seconds');
SELECT name, state, owner, apply_interval FROM magic.feeds WHERE name = 'b';
SELECT * FROM magic.feed;
UPDATE magic.feed SET owner = 'postgres';
SELECT magic.drop_feed('b');
RESET ROLE;

SELECT magic.drop_feed('a');
SELECT magic.drop_feed('a');
SELECT count(*) FROM magic.feed_position;
DROP ROLE feed_test_admin, feed_test_monitor, feed_test_user;
