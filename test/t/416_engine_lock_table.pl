# Bulk changes beside others who hold rows of the table do not fill PostgreSQL's lock table, here a small one: a lock
# that has come to stand for many rows replaces theirs, and they stay locked, also after savepoints. Where others
# hold rows in very many groups, the bulk change waits for them instead of failing.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $am   = access_method();
my $rows = 300_000;
my $most = 700;
my $dir  = PostgreSQL::Test::Utils::tempdir();
# room for about 1,000 locks
my $node = magic_node('main', conf => "max_connections = 20\nmax_locks_per_transaction = 16\nautovacuum = off\n");
engine_helpers($node);

sub make_table
{
	$node->safe_psql('postgres', "DROP TABLE IF EXISTS child, t; CREATE TABLE t (id int PRIMARY KEY, v int DEFAULT 0) USING $am; "
		. "INSERT INTO t SELECT g FROM generate_series(1, $rows) g; ANALYZE t; "
		. "CREATE TABLE child (id int REFERENCES t) USING $am");
}

# The rows among these that another session could lock at once to change them.
sub free_rows
{
	my @free;
	for my $id (@_)
	{
		push @free, $id if $node->psql('postgres', "SELECT 1 FROM t WHERE id = $id FOR UPDATE NOWAIT") == 0;
	}
	return "@free";
}

sub few_locks
{
	my ($session, $what) = @_;
	return if $am ne 'magic';
	cmp_ok($session->query_safe("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'tuple'"), '<', $most, "$what: few locks");
}

my @probes = (5, 31, 33, 100, 300, 16_390, 17_000, 200_001, $rows - 1, $rows);
my ($holder, $bulk);

# A new table, and a session that holds a row of it, or some.
sub begin_part
{
	$_->quit for grep { defined } $holder, $bulk;
	make_table();
	$holder = $node->background_psql('postgres');
	$bulk   = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; UPDATE t SET v = 7 WHERE ' . shift);
}

# One row of the table is held all the time.
for my $change ([ 'update', 'UPDATE t SET v = v + 1 WHERE id > 1' ], [ 'delete', 'DELETE FROM t WHERE id > 1' ],
	[ 'lock', 'SELECT count(*) FROM (SELECT FROM t WHERE id > 1 FOR UPDATE) x' ])
{
	my ($name, $sql) = @$change;

	begin_part('id = 1');
	$bulk->query_safe("BEGIN; $sql");
	few_locks($bulk, $name);
	is(free_rows(@probes), '', "$name: every row is locked");
	if ($name eq 'delete')
	{
		isnt($node->psql('postgres', 'SET lock_timeout = 200; INSERT INTO t VALUES (300)', stderr => \my $stderr), 0, 'a key whose row is being deleted');
		like($stderr, qr/lock timeout/, 'is waited for');
	}
	$holder->query_safe('COMMIT');
	$bulk->query_safe('COMMIT');
	is(free_rows(1, @probes), "1 @probes", "$name: and none later") if $name ne 'delete';
}
is($node->safe_psql('postgres', 'SELECT count(*), sum(v) FROM t'), "$rows|7", 'the rows');

# Savepoints: what a part that is rolled back has locked is free, what was locked before it stays locked.
begin_part('id = 1');
$bulk->query_safe('BEGIN; UPDATE t SET v = 1 WHERE id IN (33, 300, 17000); SELECT count(*) FROM (SELECT FROM t WHERE id BETWEEN 100 AND 105 FOR UPDATE) x');
$bulk->query_safe('SAVEPOINT a; UPDATE t SET v = 2 WHERE id > 20 AND v = 0');
few_locks($bulk, 'savepoint');
is(free_rows(@probes), '5', 'in a savepoint every changed row is locked');
$bulk->query_safe('ROLLBACK TO a');
is(free_rows(@probes), "5 31 16390 200001 @{[ $rows - 1 ]} $rows", 'after it was rolled back those from before it');
$bulk->query_safe('SAVEPOINT b; UPDATE t SET v = 3 WHERE id > 20 AND v = 0; RELEASE b');
few_locks($bulk, 'released savepoint');
is(free_rows(@probes), '5', 'after one was released every changed row');
$bulk->query_safe(q{DO $$ BEGIN FOR i IN 0 .. 199 LOOP
	BEGIN UPDATE t SET v = v + 10 WHERE id BETWEEN i * 2000 + 21 AND i * 2000 + 1021 AND v = 3; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$});
few_locks($bulk, 'many subtransactions');
is(free_rows(@probes), '5', 'after many subtransactions as well');
$holder->query_safe('COMMIT');
$bulk->query_safe('COMMIT');
is($node->safe_psql('postgres', 'SELECT v, count(*) FROM t GROUP BY v ORDER BY v'),
	$node->safe_psql('postgres', "SELECT v, count(*) FROM (SELECT CASE WHEN id = 1 THEN 7 WHEN id IN (33, 300, 17000) THEN 1 WHEN id <= 20 THEN 0 WHEN (id - 21) % 2000 <= 1000 THEN 13 ELSE 3 END AS v FROM generate_series(1, $rows) id) x GROUP BY v ORDER BY v"),
	'the rows of savepoints');

# Foreign keys: children of nearly all rows, one of which is being updated.
begin_part('id = 1');
$bulk->query_safe('BEGIN; INSERT INTO child SELECT id FROM t WHERE id > 1 AND id % 3 = 0');
few_locks($bulk, 'children');
is(free_rows(map { $_ - $_ % 3 } 6, @probes), '', 'a row with a child that is not committed is locked');
$holder->query_safe('COMMIT');
$bulk->query_safe('COMMIT');
isnt($node->psql('postgres', 'DELETE FROM t WHERE id = 300', stderr => \my $refused), 0, 'a parent');
like($refused, qr/still referenced/, 'is not deleted');

# Others hold a row in each of many groups: then they are waited for.
begin_part('id % 2001 = 0 AND id % 2 = 1');
if ($am eq 'magic')
{
	isnt($node->psql('postgres', "SET lock_timeout = '3s'; UPDATE t SET v = 1 WHERE id % 2 = 0", stderr => \my $stderr), 0, 'a bulk update beside rows held everywhere');
	like($stderr, qr/lock timeout/, 'waits for their holder');
}
$bulk->query_until(qr/begun/, "\\echo begun\nUPDATE t SET v = 1 WHERE id % 2 = 0;\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'UPDATE t SET v = 1%' AND wait_event_type = 'Lock'}) or die 'nobody waits'
	if $am eq 'magic';
$holder->query_safe('COMMIT');
$bulk->query_safe('SELECT 1');
is($node->safe_psql('postgres', 'SELECT v, count(*) FROM t GROUP BY v ORDER BY v'), "0|@{[ $rows / 2 - 75 ]}\n1|@{[ $rows / 2 ]}\n7|75", 'and goes on after him');

# One row in each block keeps the blocks' tags from being taken, but no group's: these too would fill the table.
begin_part('id % 16384 = 1');
if ($am eq 'magic')
{
	isnt($node->psql('postgres', "SET lock_timeout = '3s'; UPDATE t SET v = 1 WHERE id % 16384 BETWEEN 300 AND 16300", stderr => \my $stderr), 0, 'a bulk update beside a row held in each block');
	like($stderr, qr/lock timeout/, 'waits for their holder');
}

# A row that is locked again and again is one lock: it is no reason to wait for who holds the next one.
is($node->psql('postgres', q{SET lock_timeout = '10s'; DO $$ BEGIN FOR i IN 1 .. 1500 LOOP PERFORM FROM t WHERE id = 3 FOR UPDATE; END LOOP; END $$}), 0, 'a row locked very often');

# Who waits for the bulk change is not waited for by it.
begin_part("id = $rows");
$bulk->query_safe('BEGIN; UPDATE t SET v = 1 WHERE id IN (10, 300, 600)');
my @waiters = map { $node->background_psql('postgres') } 1 .. 3;
$waiters[$_]->query_until(qr/begun/, "\\echo begun\nUPDATE t SET v = v + 10 WHERE id = " . (10, 300, 600)[$_] . ";\n") for 0 .. 2;
$node->poll_query_until('postgres', q{SELECT count(*) = 3 FROM pg_stat_activity WHERE query LIKE 'UPDATE t SET v = v + 10%' AND wait_event_type = 'Lock'}) or die 'nobody waits';
$bulk->query_safe('SELECT count(*) FROM (SELECT FROM t WHERE id <= 1000 AND v = 0 FOR UPDATE) x; UPDATE t SET v = 1 WHERE id <= 1000 AND v = 0; COMMIT');
$_->query_safe('SELECT 1'), $_->quit for @waiters;
is($node->safe_psql('postgres', 'SELECT v, count(*) FROM t WHERE v > 0 GROUP BY v ORDER BY v'), "1|997\n11|3", 'a bulk change that others wait for');

# What a part that was rolled back had locked is not given back once more later.
begin_part('id BETWEEN 40000 AND 43000 AND id % 256 = 7');
my $early = $node->background_psql('postgres');
$early->query_safe('BEGIN; UPDATE t SET v = 7 WHERE id < 3000 AND id % 256 = 7');
$bulk->query_safe('BEGIN; UPDATE t SET v = 1 WHERE id BETWEEN 100 AND 125 OR id BETWEEN 1100 AND 1105 OR id BETWEEN 2100 AND 2105');
$bulk->query_safe('SAVEPOINT a; SELECT count(*) FROM (SELECT FROM t WHERE id BETWEEN 3 AND 2900 AND id % 4 = 0 FOR UPDATE SKIP LOCKED) x; ROLLBACK TO a; RELEASE a');
$bulk->query_safe('UPDATE t SET v = 1 WHERE id BETWEEN 60000 AND 60900');
$early->query_safe('COMMIT');
$early->quit;
$bulk->query_safe('SELECT count(*) FROM (SELECT FROM t WHERE id < 3000 FOR UPDATE SKIP LOCKED) x');
$bulk->query_safe('SELECT count(*) FROM (SELECT FROM t WHERE id BETWEEN 40000 AND 43000 AND id % 4 = 0 FOR UPDATE SKIP LOCKED) x');
is(free_rows(5, 100, 2105, 60500, 250_000, 40004), '250000', 'after a part was rolled back');
$bulk->query_safe('COMMIT');

# Short transactions all over the table at the same time.
$_->quit for $holder, $bulk;
make_table();
append_to_file("$dir/short.sql", "\\set id random(1, $rows / 2)\nBEGIN; UPDATE t SET v = v + 1 WHERE id = 2 * :id - 1; UPDATE t SET v = v + 1 WHERE id = 1; COMMIT;\n");
my ($out, $err) = ('', '');
my $short = IPC::Run::start([ 'pgbench', '-n', '-f', "$dir/short.sql", '-c', 4, '-T', long_run() ? 60 : 6, '-h', $node->host, '-p', $node->port, 'postgres' ],
	'>', \$out, '2>', \$err);
my $updates = 0;
while ($short->pumpable && $updates < 1000)
{
	$node->safe_psql('postgres', 'UPDATE t SET v = v + 1 WHERE id % 2 = 0');
	$updates++;
	$short->pump_nb;
}
ok($short->finish && $err !~ /ERROR/, 'short transactions beside bulk updates') or diag($err);
my ($transactions) = $out =~ /processed: (\d+)/;
is($node->safe_psql('postgres', 'SELECT sum(v) FILTER (WHERE id % 2 = 0), sum(v) FILTER (WHERE id % 2 = 1) FROM t'), ($rows / 2 * $updates) . '|' . (2 * $transactions), 'no update is lost');
check_table($node, 't', 'id', 'the table') if $am eq 'magic';
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/don't own a lock/, 'no lock is given back twice');
done_testing();
