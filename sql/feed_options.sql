-- Options of feeds are checked when they are chosen: the URI, every argument of create_feed and
-- alter_feed, and nothing that does not work yet is accepted in silence.
SET client_min_messages = warning;

-- what a URI may look like
SELECT magic.create_feed('x', 'http://h:1/t?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/t');
SELECT magic.create_feed('x', 'kafka://h/t?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:0/t?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1,i:x/t?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/a,b?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/%5Ea.*?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/a%20b?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/a%2?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/a%00?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/a%ff?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog#f');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol');
SELECT magic.create_feed('x', 'file://h/dir?protocol=tidb-binlog');

-- no secrets in it, and none in the error
SELECT magic.create_feed('x', 'kafka://me:secret@h:1/t?protocol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&sasl-password=secret');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.sasl.password=secret');

-- protocols: known ones that are not there yet, unknown ones
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=canal-json');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=canal_jsn');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=whatever-else');

-- unknown options name the nearest known one; an option stands once
SELECT magic.create_feed('x', 'kafka://h:1/t?protcol=tidb-binlog');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&time-zon=UTC');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&nothing-like-it=1');
SELECT magic.create_feed('x', 'file:///d?protocol=tidb-binlog&partition-num=3');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&time-zone=UTC&time_zone=UTC');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&time-zone=Mars/Olympus');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&ca=/etc/ca.pem');

-- librdkafka's properties: an allow-list, values checked
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.plugin.library.paths=/tmp/x.so');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.sasl.kerberos.kinit.cmd=id');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.group.id=g');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.debug=all');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.fetch-wait-max.m=5');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.fetch.wait.max.ms=x');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.fetch.wait.max.ms=300001');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.isolation.level=read');
SELECT magic.create_feed('x', 'kafka://h:1/t?protocol=tidb-binlog&kafka.check.crcs=yes');

-- the time zone of TIMESTAMP is an assumption unless it is given
SELECT magic.create_feed('warned', 'kafka://h:1/t?protocol=tidb-binlog', enabled => false);
SELECT magic.create_feed('x', NULL);
SELECT magic.create_feed(NULL, 'kafka://h:1/t?protocol=tidb-binlog&time-zone=UTC');
SELECT magic.create_feed('', 'kafka://h:1/t?protocol=tidb-binlog&time-zone=UTC');
SELECT magic.create_feed(repeat('x', 64), 'kafka://h:1/t?protocol=tidb-binlog&time-zone=UTC');
SELECT magic.create_feed('warned', 'kafka://h:1/t?protocol=tidb-binlog&time-zone=UTC');

-- TiCDC's sink parameters without effect on the bytes may be pasted
SELECT magic.create_feed('pasted', 'kafka://h:1,i:9092/t?Protocol=tidb-binlog&time_zone=Asia/Shanghai&kafka-version=2.4.0&partition-num=1&max-message-bytes=67108864&replication-factor=1&kafka.fetch_wait_max_ms=20',
	enabled => false);

\set u '''kafka://127.0.0.1:1/t?protocol=tidb-binlog&time-zone=UTC'''
-- intervals
SELECT magic.create_feed('x', :u, apply_interval => '-1 second');
SELECT magic.create_feed('x', :u, apply_interval => '1 month');
SELECT magic.create_feed('x', :u, apply_interval => '2 years');
SELECT magic.create_feed('x', :u, apply_interval => '400 days');
-- timestamps
SELECT magic.create_feed('x', :u, start_ts => 0);
SELECT magic.create_feed('x', :u, start_ts => 5, stop_ts => 4);
-- choices: misspelt, not there yet
SELECT magic.create_feed('x', :u, on_gap => 'ignor');
SELECT magic.create_feed('x', :u, on_error => 'skip');
SELECT magic.create_feed('x', :u, on_error => 'dead_letter');
SELECT magic.create_feed('x', :u, on_lock => 'cancel_readers');
SELECT magic.create_feed('x', :u, on_dependent => 'cascade');
SELECT magic.create_feed('x', :u, on_buffer_full => 'wait');
SELECT magic.create_feed('x', :u, old_value => 'off');
SELECT magic.create_feed('x', :u, names_as => 'view');
SELECT magic.create_feed('x', :u, names => 'upper');
-- not there yet at all
SELECT magic.create_feed('x', :u, engine_server => 's');
SELECT magic.create_feed('x', :u, source_server => 's');
SELECT magic.create_feed('x', :u, spill_limit => '1GB');
SELECT magic.create_feed('x', :u, ddl_rewrite_limit => '1GB');
SELECT magic.create_feed('x', :u, read_grid => '2 seconds');
-- others
SELECT magic.create_feed('x', :u, tables => ' ');
SELECT magic.create_feed('x', :u, memory_limit => 'much');
SELECT magic.create_feed('x', :u, memory_limit => '10kB');
SELECT magic.create_feed('x', :u, readers => 'no_such_role');
SELECT magic.create_feed('x', :u, unknown_option => 1);

-- the defaults, spelt out, are accepted
SELECT magic.create_feed('full', :u, apply_interval => '90 seconds', start_ts => 100, stop_ts => 200, tables => 'bank.*',
	names => 'lower', names_as => 'table', readers => 'pg_monitor', memory_limit => '64MB', spill_limit => '8GB',
	on_error => 'stop', on_gap => 'ignore', on_zero_date => '-infinity', on_bad_text => 'error', on_lock => 'wait',
	on_dependent => 'stop', on_missing => 'stop', on_local_write => 'refuse', on_buffer_full => 'apply',
	old_value => 'on', read_grid => '1 second', enabled => false);
\x
SELECT name, state, source, protocol, engine, owner, apply_interval, start_ts, stop_ts, applied_ts, worker_pid
FROM magic.feeds ORDER BY name;
SELECT names, readers, memory_limit, on_gap, on_zero_date, on_bad_text, on_missing FROM magic.feed WHERE name = 'full';
\x

-- alter_feed: the same checks; what is left out stays
SELECT magic.alter_feed('full', apply_interval => '5 seconds', on_gap => 'stop');
SELECT apply_interval, on_gap, on_missing, tables, enabled FROM magic.feed WHERE name = 'full';
SELECT magic.alter_feed('full', on_gap => 'go');
SELECT magic.alter_feed('full', on_error => 'skip');
SELECT magic.alter_feed('full', apply_interval => '-1 s');
SELECT magic.alter_feed('full', stop_ts => 99);
SELECT magic.alter_feed('full', start_ts => 7);
SELECT magic.alter_feed('no such feed', on_gap => 'stop');

-- files: only below magic.file_source_dirs, and the error prints the line to add
DO $$
DECLARE
	state text; message text; hint text; dir text;
BEGIN
	FOREACH dir IN ARRAY ARRAY['/etc', '/no/such/directory', '/proc/self/root/etc', current_setting('magic.file_source_dirs') || '/../..'] LOOP
		BEGIN
			PERFORM magic.create_feed('x', format('file://%s?protocol=tidb-binlog', dir));
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
			RAISE WARNING '%: %; prints the line: %', state, message LIKE 'directory "%" may not be read by feeds',
				hint LIKE 'Add this line to postgresql.conf and reload: magic.file_source_dirs = ''' || current_setting('magic.file_source_dirs') || ',%''';
		END;
	END LOOP;
	BEGIN
		PERFORM magic.create_feed('x', format('file://%s/no-such?protocol=tidb-binlog', current_setting('magic.file_source_dirs')));
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
		RAISE WARNING '%: %', state, message LIKE 'could not open directory%No such file or directory';
	END;
END
$$;

SELECT magic.drop_feed(name) FROM magic.feed ORDER BY name;
SELECT count(*) FROM magic.feed_position;
