# Feeds are operated while they run: interval, pause, resume, stop_ts, options, wait_for 'end', other
# sessions' holds (DROP DATABASE, DROP EXTENSION, ALTER DATABASE), dump and restore, restarts, promotion
# rules of the launcher, max_worker_processes.
use strict;
use warnings;

use File::Copy qw(copy);
use IPC::Run ();
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = magic_node('main');
my $broker = mock_broker('bank:1', 'two:2', 'other:1');
my $files = fixture_dir('bank') . '/files';
my @cuts = timeline('bank');
my $last = last_ts('bank');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub column { return feed_column($node, @_); }
sub drop { sql("SELECT magic.drop_feed('$_[0]', drop_tables => true)"); return; }

# A statement that must fail; its message.
sub sql_error
{
	my ($sql, $database) = @_;
	my $err = '';
	$node->psql($database // 'postgres', $sql, stderr => \$err);
	return $err;
}

# -- a long interval, shortened while the worker sleeps --

produce($broker, 'bank', 'bank', upto => $cuts[5]);
create_feed($node, 'f', kafka_source($broker, 'bank', time_zone => 'UTC'), apply_interval => '1 hour');
wait_applied($node, 'f', $cuts[5]);
produce($broker, 'bank', 'bank', from => $cuts[5], upto => $cuts[10]);
usleep(1_500_000);
is(column('f', 'applied_ts'), $cuts[5], 'within the interval nothing is applied');
is(column('f', "next_apply_at > now() + interval '50 minutes'"), 't', 'the next apply is an hour away');
is(column('f', "delivery_lag > interval '1 second' AND lag_messages > 0"), 't', 'what waits shows as lag');
my $start = time;
sql("SELECT magic.set_interval('f', '10 milliseconds')");
is(sql("SELECT magic.wait_for('f', $cuts[10], '20 seconds')"), 't', 'a shorter interval is applied at once');
cmp_ok(time - $start, '<', 10, 'not after the old one');
is(sql("SELECT magic.wait_for('f', 'end', '20 seconds')"), 't', "wait_for 'end' at the end of the source");
is(column('f', "lag_seconds = 0 AND delivery_lag = interval '0'"), 't', 'no lag when everything is applied');
is(sql("SELECT magic.wait_for('f', $cuts[10], durable => true)"), 't', 'durable');
$node->poll_query_until('postgres', 'SELECT durable_ts = applied_ts FROM magic.feeds') or die;
pass('and shown so');

# -- visible soon after it was produced --

my @ms;
for my $i (10 .. 24)
{
	produce($broker, 'bank', 'bank', from => $cuts[$i], upto => $cuts[ $i + 1 ]);
	$start = time;
	sql("SELECT magic.wait_for('f', $cuts[$i + 1], '20 seconds')");
	push @ms, (time - $start) * 1000;
}
@ms = sort { $a <=> $b } @ms;
note(sprintf 'visible %.0f ms after the producer ended (median of %d, psql included)', $ms[ @ms / 2 ], scalar @ms);

# -- pause, resume --

sql("SELECT magic.pause('f')");
wait_state($node, 'f', 'paused');
is(column('f', 'worker_pid'), '', 'a paused feed has no worker');
produce($broker, 'bank', 'bank', from => $cuts[25], upto => $cuts[30]);
is(sql("SELECT magic.wait_for('f', $cuts[30], '1 second')"), 'f', 'and applies nothing');
sql("SELECT magic.resume('f')");
wait_applied($node, 'f', $cuts[30]);
compare_fixture($node, 'bank', at => $cuts[30], name => 'a resumed feed goes on where it was');

# -- stop_ts between two messages; wait_for a stopped feed --

produce($broker, 'bank', 'bank', from => $cuts[30]);
sql("SELECT magic.wait_for('f', 'end')");
my ($before) = sql("SELECT magic.applied_ts('f')");
sql("SELECT magic.resume('f', " . ($before + 7) . ')');
wait_applied($node, 'f', $last);
is(column('f', 'state'), 'running', 'a stop above everything in the source: the feed goes on running');
drop('f');

my $between = $cuts[8] + 1;
create_feed($node, 'f', kafka_source($broker, 'bank', time_zone => 'UTC'), stop_ts => $between);
wait_state($node, 'f', 'stopped');
is(column('f', 'applied_ts'), $between, 'the applied TS becomes a stop_ts that no message bears');
compare_fixture($node, 'bank', at => $cuts[8], name => 'and the tables are as of then');
like(sql_error("SELECT magic.wait_for('f', $last)"), qr/feed "f" is stopped at TS $between/, 'wait_for beyond it fails at once');
like(sql_error("SELECT magic.resume('f', " . ($between - 1) . ')'), qr/is below the applied TS/, 'a stop behind is refused');
sql("SELECT magic.resume('f', $cuts[9])");
wait_state($node, 'f', 'stopped');
compare_fixture($node, 'bank', at => $cuts[9], name => 'resumed up to the next stop');
$node->restart;
is(column('f', 'state'), 'stopped', 'a stopped feed stays so over a restart');
sql("SELECT magic.resume('f')");
wait_applied($node, 'f', $last);
compare_fixture($node, 'bank', name => 'resumed without a stop');
drop('f');

# -- start_ts is exclusive: bank's tables are made by DDL before it, so only what follows can be seen --

create_feed($node, 'f', kafka_source($broker, 'bank', time_zone => 'UTC'), start_ts => $last);
sql("SELECT magic.wait_for('f', 'end', '60 seconds')");
is(sql("SELECT count(*) FROM magic.feed_tables WHERE feed = 'f'"), '0', 'nothing at or below start_ts is applied');
is(column('f', 'applied_ts'), $last, 'and the applied TS begins there');
drop('f');

# -- data outside partition 0, another topic in place of the one that was read --

produce($broker, 'two', 'bank', upto => $cuts[3], partition => 1);
create_feed($node, 'f', kafka_source($broker, 'two', time_zone => 'UTC'));
wait_state($node, 'f', 'error');
like(column('f', 'last_error'), qr/topic "two" has a message outside partition 0: partition 1, offset 0/, 'a message outside partition 0 is refused');
drop('f');

create_feed($node, 'f', kafka_source($broker, 'bank', time_zone => 'UTC'), stop_ts => $cuts[8]);
wait_state($node, 'f', 'stopped');
produce($broker, 'other', 'keys');
sql("UPDATE magic.feed SET source = replace(source, '/bank', '/other')");
sql("UPDATE magic.feed_position SET topic = 'other', position = '8', last_position = '7'");
sql("SELECT magic.resume('f')");
wait_state($node, 'f', 'error');
like(column('f', 'last_error'), qr/topic "other", partition 0 has another message at offset 7/, 'a topic made anew is noticed');
sql("UPDATE magic.feed_position SET position = '1000000', last_position = '999999'");
sql("SELECT magic.resume('f')");
wait_state($node, 'f', 'error') until column('f', 'last_error') =~ /no longer holds|^$/ && column('f', 'state') eq 'error';
like(column('f', 'last_error'), qr/topic "other", partition 0 no longer holds offset 1000000/, 'a position beyond the end is noticed');
drop('f');

# -- options that change while the feed runs --

my $dir = file_feed_dir('alter');
copy($_, $dir) for glob "$files/binlog-*";
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'), apply_interval => '1 second');
my $pid = worker_pid($node, 'f');
sql("SELECT magic.alter_feed('f', on_missing => 'stop', apply_interval => '50 milliseconds')");
wait_applied($node, 'f', $last);
is(column('f', 'worker_pid'), $pid, 'a changed option needs no new process');
sql("SELECT magic.alter_feed('f', enabled => false)");
wait_state($node, 'f', 'disabled');
sql("SELECT magic.alter_feed('f', enabled => true)");
wait_state($node, 'f', 'running');
compare_fixture($node, 'bank', name => 'after options were changed');

# -- a terminated worker comes back; so does a feed that was written by a restore --

$pid = worker_pid($node, 'f');
sql("SELECT pg_terminate_backend($pid)");
usleep(20_000) while column('f', "worker_pid = $pid") eq 't';
isnt(worker_pid($node, 'f'), $pid, 'a terminated worker is started again');

# -- holds: commands that need the worker away --

sql('CREATE DATABASE feeds');
$node->safe_psql('feeds', 'CREATE EXTENSION magic_fdw');
my $source = file_source($dir, time_zone => 'UTC');
$node->safe_psql('feeds', "SELECT magic.create_feed('d', '$source')");
$node->poll_query_until('feeds', "SELECT applied_ts >= $last FROM magic.feeds") or die;
sql('ALTER DATABASE feeds RENAME TO fed');
pass('ALTER DATABASE RENAME with a running feed');
$node->poll_query_until('fed', "SELECT state = 'running' FROM magic.feeds") or die;
pass('the feed runs again');
sql('CREATE DATABASE copy TEMPLATE fed');
$node->poll_query_until('copy', "SELECT state = 'running' FROM magic.feeds") or die;
pass('a copied database runs its own');
sql('DROP DATABASE copy');
$node->safe_psql('fed', 'BEGIN; DROP EXTENSION magic_fdw CASCADE; ROLLBACK');
$node->poll_query_until('fed', "SELECT state = 'running' FROM magic.feeds") or die;
pass('the feed runs on after a DROP EXTENSION that was rolled back');
$node->safe_psql('fed', 'DROP EXTENSION magic_fdw CASCADE');
# one that the launcher was starting meanwhile finds no feed and goes
ok($node->poll_query_until('fed', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'fed' AND backend_type LIKE 'magic%'"),
	'DROP EXTENSION leaves no worker');
$node->safe_psql('fed', 'CREATE EXTENSION magic_fdw');
$node->safe_psql('fed', "SELECT magic.create_feed('d', '$source', routes => 'bank.* -> bank2.*')");
sql('DROP DATABASE fed');
pass('DROP DATABASE with a running feed');
wait_state($node, 'f', 'running');

# -- dump and restore: feeds, positions and registry move with the data --

my $dump = "${PostgreSQL::Test::Utils::tmp_check}/dump.sql";
sql("SELECT magic.pause('f')");
wait_state($node, 'f', 'paused');
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
sql('CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore');
is($node->safe_psql('restored', "SELECT name, state, applied_ts FROM magic.feeds"), "f|paused|$last", 'the feed is there, with its position');
$node->safe_psql('restored', "SELECT magic.resume('f')");
$node->poll_query_until('restored', "SELECT state = 'running' FROM magic.feeds") or die;
is($node->safe_psql('restored', "SELECT magic.wait_for('f', 'end', '60 seconds')"), 't', 'and runs on');
is($node->safe_psql('restored', "SELECT magic.applied_ts('f')"), $last, 'from where it was');
sql('DROP DATABASE restored');
sql("SELECT magic.resume('f')");

# -- a server with too few processes says so --

$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
$node->restart;
wait_state($node, 'f', 'running');
create_feed($node, 'g', $source, routes => 'bank.* -> g.*');
create_feed($node, 'h', $source, routes => 'bank.* -> h.*');
$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM magic.feeds WHERE state = 'no worker slot' AND state_detail LIKE 'max_worker_processes is 4; % more are needed'") or die;
pass('no worker slot is a state of its own');
sql("SELECT magic.drop_feed('$_', drop_tables => true)") for 'g', 'h', 'f';

done_testing();
