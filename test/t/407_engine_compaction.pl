# The compaction worker: merges what writers leave behind, gives space back without VACUUM, keeps the rows
# of older snapshots, can be paused, gets out of the way of DDL and of whoever needs the database, and
# loses nothing when it is killed. Waiting for a table that is in use costs nothing, and a cancellation ends what the
# worker does, not the worker.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = magic_node('main', conf => "autovacuum = off\nlog_min_messages = debug1");
my $workers = "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_stat_activity WHERE backend_type = 'magic compaction worker'";

sub sql { my ($text, $database) = @_; return $node->safe_psql($database // 'postgres', $text); }

# Wait until a query gives t.
sub wait_for
{
	my ($text, $name, $database) = @_;
	my $last;

	for (1 .. 600)
	{
		$last = eval { sql($text, $database) } // '';
		return pass($name) if $last eq 't';
		usleep(50_000);
	}
	fail($name);
	diag("$text gives $last");
	diag(sql("SELECT * FROM magic.table_stats", $database));
	return;
}

sub one_row_each
{
	my ($table, $count, $database) = @_;
	sql("DO \$\$ BEGIN FOR i IN 1 .. $count LOOP INSERT INTO $table SELECT coalesce(max(id), 0) + 1, i, 'row ' || i FROM $table; COMMIT; END LOOP; END \$\$", $database);
	return;
}

sub packs { my ($table, $database) = @_; return sql("SELECT packs FROM magic.table_stats WHERE relation = '$table'::regclass", $database); }

# ---- merges by itself, in the database that is written to only
sql('CREATE DATABASE other');
sql('CREATE EXTENSION magic_fdw', 'other');
engine_helpers($node);
engine_helpers($node, 'other');
my $create = 'CREATE TABLE s (id int PRIMARY KEY, v int, t text) USING magic';
sql($create);
sql($create, 'other');
one_row_each('s', 500);
wait_for("SELECT packs < 100 AND merges > 0 AND last_merge > now() - interval '1 hour' AND write_amplification > 1 FROM magic.table_stats WHERE relation = 's'::regclass",
	'small packs were merged');
like(sql($workers), qr/postgres/, 'by a worker in that database');
is(sql("SELECT count(*), sum(id), count(DISTINCT t) FROM s"), '500|125250|500', 'all rows are there');
wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'magic compaction worker'", 'an idle database keeps no worker');
one_row_each('s', 200, 'other');
wait_for("SELECT packs < 100 FROM magic.table_stats WHERE relation = 's'::regclass", 'the other database is served, too', 'other');

# ---- paused and resumed by SIGHUP
sub set_compaction
{
	my ($value) = @_;
	sql("ALTER SYSTEM SET magic.compaction = $value");
	$node->reload;
	return;
}
set_compaction('off');
wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'magic compaction worker'", 'off: workers leave');
wait_for("SELECT current_setting('magic.compaction') = 'off'", 'sessions see it');
my $before = packs('s');
one_row_each('s', 900);
is(packs('s'), $before + 900, 'off: nothing is merged, by writers neither');
set_compaction('on');
wait_for("SELECT packs < 200 FROM magic.table_stats WHERE relation = 's'::regclass", 'on: what has piled up is merged');
is(sql('SELECT count(*), sum(id) FROM s'), '1400|980700', 'all rows are there');
is(sql("SELECT * FROM problems('s')"), '', 'the table is sound');

# ---- space: returned and reused without VACUUM
sql(<<'SQL');
CREATE TABLE b (id int, v int, t text, n numeric(12,2)) USING magic;
SELECT setseed(0.5);
INSERT INTO b SELECT g, (random() * 1e6)::int, md5(random()::text), (random() * 10000)::numeric(12,2) FROM generate_series(1, 600000) g;
SQL
my $clean = sql("SELECT magic.table_size('b')");
sql('UPDATE b SET v = v + 1 WHERE random() < 0.1');
sql("SELECT magic.compact('b')");
cmp_ok(sql("SELECT magic.table_size('b')"), '<=', 1.25 * $clean, '10 % updated and a merge: at most 1.25 of the clean size');
wait_for("SELECT magic.table_size('b') <= 1.15 * $clean", 'the worker folds the dead rows and gives the space back');
sql('DELETE FROM b WHERE id % 2 = 0');
wait_for("SELECT magic.table_size('b') <= 0.75 * $clean", 'half deleted: the file is cut');
is(sql("SELECT * FROM problems('b')"), '', 'the table is sound');
is(sql('SELECT count(*), min(id) FROM b'), '300000|1', 'the other half is there');

# ---- an older snapshot keeps its rows
sql('CREATE INDEX b_id ON b (id)');
my $old = $node->background_psql('postgres');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $look = "SELECT count(*), sum(id), sum(v), sum(n) FROM b";
my $seen = $old->query_safe($look);
sql('UPDATE b SET v = -v, n = n / 2 WHERE id % 3 = 1');
sql('DELETE FROM b WHERE id % 5 = 1');
one_row_each('b', 300);
wait_for("SELECT tiny_packs < 100 FROM magic.table_stats WHERE relation = 'b'::regclass", 'small packs are merged beside an older snapshot');
is($old->query_safe($look), $seen, 'which sees its rows');
is($old->query_safe("SET enable_seqscan = off; $look WHERE id BETWEEN 1 AND 600000"), $seen, 'by the index, too');
my $held = sql("SELECT dead_rows FROM magic.table_stats WHERE relation = 'b'::regclass");
cmp_ok($held, '>', 50000, 'the dead rows are still stored');
$old->query_safe('COMMIT');
$old->quit;
sql('SELECT txid_current()');
wait_for("SELECT dead_rows < $held / 2 FROM magic.table_stats WHERE relation = 'b'::regclass", 'they go when it ends');
is(sql("SELECT * FROM problems('b')"), '', 'the table is sound');

# ---- out of the way: DDL, copies, DROP DATABASE, DROP EXTENSION
sub make_work { my ($database) = @_; sql('UPDATE b SET v = v + 1 WHERE id % 3 = 0', $database); return; }
sql("ALTER SYSTEM SET magic.compaction_rate_limit = '1MB'");
$node->reload;
make_work();
sql('ALTER TABLE b ADD COLUMN extra int DEFAULT 7');
make_work();
sql('CREATE DATABASE copy TEMPLATE postgres');
is(sql('SELECT count(*), sum(extra) FROM b', 'copy'), sql('SELECT count(*), sum(extra) FROM b'), 'a copy of a database with a worker in it');
sql('CREATE DATABASE copy2 TEMPLATE postgres');
make_work('copy');
make_work('copy2');
wait_for("SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'magic compaction worker' AND datname = 'copy'", 'a worker in the copy');
sql('DROP DATABASE copy');
sql('DROP DATABASE copy2 WITH (FORCE)');
pass('databases with workers are dropped');
make_work();
is(sql("DROP EXTENSION magic_fdw CASCADE; SELECT count(*) FROM pg_class WHERE relname IN ('b', 's')"), '0', 'DROP EXTENSION');
sql('CREATE EXTENSION magic_fdw');
sql("ALTER SYSTEM RESET magic.compaction_rate_limit");
$node->reload;
sql($create);
one_row_each('s', 500);
wait_for("SELECT packs < 100 FROM magic.table_stats WHERE relation = 's'::regclass", 'a worker serves the extension created anew');
unlike(slurp_file($node->logfile), qr/merging packs of relation/, 'no merge has failed');

# ---- a table in use: its file is not cut, and coming again for that costs no transaction ids
sql('CREATE TABLE held (id int, t text) USING magic; INSERT INTO held SELECT g, md5(g::text) FROM generate_series(1, 100000) g');
my $size = sql("SELECT magic.table_size('held')");
my $visits = 'visit of relation ' . sql("SELECT 'held'::regclass::oid") . ':.*, tail';
my $user = $node->background_psql('postgres');
$user->query_safe('BEGIN');
$user->query_safe('SELECT FROM held LIMIT 1');
sql('DELETE FROM held');
sub wait_visits
{
	my ($count) = @_;
	for (1 .. 1200)
	{
		return if scalar(() = slurp_file($node->logfile) =~ /$visits/g) >= $count;
		usleep(50_000);
	}
	die "no $count visits of the table whose end is free";
}
my $next_xid = 'SELECT pg_snapshot_xmax(pg_current_snapshot())';
wait_visits(1);
my $xid = sql($next_xid);
wait_visits(4);
is(sql($next_xid), $xid, 'a table in use is visited without a transaction id');
cmp_ok(sql("SELECT magic.table_size('held')"), '>', $size / 2, 'its file is as long as it was');
$user->query_safe('COMMIT');
$user->quit;
wait_for("SELECT magic.table_size('held') < $size / 2", 'and is cut when it is not used any more');

# ---- cancelled: whatever the worker does just then, it stays and goes on
sql('INSERT INTO held SELECT g, md5(g::text) FROM generate_series(1, 100000) g');
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
$reader->query_safe('SELECT 1');
sql('DELETE FROM held WHERE id <= 60000');
my $worker_pid = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE backend_type = 'magic compaction worker'";
wait_for("SELECT ($worker_pid) IS NOT NULL", 'a worker waits for an older snapshot');
my $pid = sql($worker_pid);
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE magic.pack');
wait_for("SELECT count(*) > 0 FROM pg_locks WHERE pid = $pid AND NOT granted", 'which asks for the horizon');
for (1 .. 3)
{
	sql("SELECT pg_cancel_backend($pid)");
	usleep(50_000);
}
$locker->query_safe('COMMIT');
$locker->quit;
$reader->query_safe('COMMIT');
$reader->quit;
sql('SELECT txid_current()');
wait_for("SELECT dead_rows = 0 FROM magic.table_stats WHERE relation = 'held'::regclass", 'the dead rows go when it ends');
is(sql($worker_pid), $pid, 'by the same worker, which was cancelled');
unlike(slurp_file($node->logfile), qr/canceling statement due to user request/, 'and has nothing to say about it');
my $launcher = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'magic launcher'");
sql("SELECT pg_cancel_backend($launcher)");
usleep(100_000);
is(sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'magic launcher'"), $launcher, 'the launcher has nothing to cancel');
sql('DROP TABLE held');

# ---- a crash leaves metadata of temporary tables, whose files are gone; a worker finds it
sql('CREATE TABLE keep (id int) USING magic; INSERT INTO keep SELECT generate_series(1, 5000)');
my $storages = 'SELECT count(DISTINCT storage) FROM magic.pack';
my $stored = sql($storages);
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query('CREATE TEMP TABLE lost (id int, t text) USING magic; INSERT INTO lost SELECT g, md5(g::text) FROM generate_series(1, 20000) g; DELETE FROM lost WHERE id < 100');
is(sql($storages), $stored + 1, 'a temporary table has rows in the directory');
my $victim = $session->query('SELECT pg_backend_pid()');
kill 'KILL', $victim;
$session->{run}->kill_kill;
wait_up($node);
wait_for("SELECT ($storages) = $stored", 'they go after a crash');
is(sql('SELECT count(*) FROM keep'), '5000', 'those of other tables do not');
like(slurp_file($node->logfile), qr/directory knew of 1 temporary tables/, 'and the log says so');

# ---- killed
sql('DROP TABLE s');
sql('DROP FUNCTION is_magic, merge, problems');
create_twins($node);
my $rounds = long_run() ? 50 : 4;
my $killed = 0;
for my $round (1 .. $rounds)
{
	my $load = start_load($node);
	for (1 .. 100)
	{
		my $pid = eval { sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'magic compaction worker' AND datname = 'postgres' AND (state = 'active' OR random() < 0.1)") };
		if ($pid) { kill 'KILL', $pid; $killed++; last; }
		usleep(20_000 + rand(20_000));
	}
	stop_load($load, crashed => 1);
	wait_up($node);
	compare_twins($node, "worker killed, round $round");
	trim_twins($node) if $round % 20 == 0;
	last if !Test::More->builder->is_passing;
}
cmp_ok($killed, '>', 0, 'workers were killed');

# ---- no slot for a worker: said once; writers merge for themselves
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
sql($create);
one_row_each('s', 1500);
cmp_ok(packs('s'), '<', 1000, 'without a worker the writers merge');
usleep(5_000_000);
my @said = slurp_file($node->logfile) =~ /no background worker slot is free to merge/g;
is(scalar @said, 1, 'the log says once that no worker slot is free');
done_testing();
