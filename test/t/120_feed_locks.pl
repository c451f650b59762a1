# A reader's lock makes a schema change wait, not fail: the feed shows what it waits for, rows before
# the change are there, and it goes on by itself when the reader has ended.
use strict;
use warnings;

use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('main');
my $broker = mock_broker('ddl:1');
my $ts = 470642386254430209;

sub sql { return $node->safe_psql('postgres', $_[0]); }

# -- the wire format, as far as it is needed here --

sub varint
{
	my ($n) = @_;
	my $out = '';
	while ($n > 127) { $out .= chr($n & 127 | 128); $n >>= 7; }
	return $out . chr $n;
}
sub bytes { my ($field, $data) = @_; return varint($field << 3 | 2) . varint(length $data) . $data; }
sub number { my ($field, $n) = @_; return varint($field << 3) . varint($n); }

sub ddl
{
	my ($text) = @_;
	$ts += 262144;
	return [ $ts, number(1, 1) . number(2, $ts) . bytes(4, bytes(1, 'test') . bytes(2, 't') . bytes(3, $text)) ];
}

sub insert_row
{
	my ($id) = @_;
	$ts += 262144;
	my $column = bytes(1, 'id') . bytes(2, 'int') . number(3, 1);
	my $row = bytes(1, number(1, 0) . number(2, $id));
	my $table = bytes(1, 'test') . bytes(2, 't') . bytes(3, $column) . bytes(4, number(1, 0) . bytes(2, $row))
	  . bytes(5, bytes(1, 'PRIMARY') . bytes(2, 'id'));
	return [ $ts, number(1, 0) . number(2, $ts) . bytes(3, bytes(1, $table)) ];
}

produce_lines($broker, 'ddl', ddl('create database test'), ddl('create table t (id int primary key)'), insert_row(1));
create_feed($node, 'f', kafka_source($broker, 'ddl', time_zone => 'UTC'), apply_interval => '10 milliseconds');
wait_applied($node, 'f', $ts);
is(sql('SELECT id FROM test.t'), '1', 'a table and a row');

# -- a reader holds a lock while a column is added --

my $pid = fork // die;
if ($pid == 0)
{
	exec('psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c',
		"BEGIN; SELECT count(*) FROM test.t; SELECT pg_sleep(8); COMMIT") or POSIX::_exit(1);
}
$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(8)%' AND pid <> pg_backend_pid() AND state = 'active'") or die;
my $before = insert_row(2);
produce_lines($broker, 'ddl', $before, ddl('alter table t add column v int default 7'), insert_row(3));
wait_state($node, 'f', 'waiting', 60);
like(feed_column($node, 'f', 'state_detail'), qr/t.*|lock/, 'the feed says what it waits for');
note(feed_column($node, 'f', 'state_detail'));
is(feed_column($node, 'f', 'applied_ts'), $before->[0], 'what came before the change is applied');
is(feed_column($node, 'f', 'last_error'), '', 'and it is no error');
waitpid($pid, 0);
wait_applied($node, 'f', $ts);
wait_state($node, 'f', 'running');
is(sql('SELECT id, v FROM test.t ORDER BY id'), "1|7\n2|7\n3|", 'the change and what follows are applied once the reader has ended');

sql("SELECT magic.drop_feed('f', drop_tables => true)");
done_testing();
