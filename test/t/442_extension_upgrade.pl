# ALTER EXTENSION UPDATE with a running feed and open transactions; pg_upgrade with tables, feeds and
# positions; a server without the library preloaded says what to do and harms nothing.
use strict;
use warnings;

use EngineTest;
use File::Copy qw(copy);
use MagicTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $am = access_method();

# A PostgreSQL tree of the test's own, with what is installed, and an upgrade script that no release has.
my $tree = PostgreSQL::Test::Utils::tempdir() . '/pg';
my $config = qx($ENV{MAGIC_SRC}/test/tools/private_tree.sh $tree $ENV{PG_CONFIG});
chomp $config;
my ($root) = $config =~ m{(.*)/bin/pg_config$};
my ($lib, $share) = map { my $dir = qx($config --$_); chomp $dir; $dir } qw(pkglibdir sharedir);
my ($from_lib, $from_share) = map { my $dir = qx($ENV{PG_CONFIG} --$_); chomp $dir; $dir } qw(pkglibdir sharedir);
system("cp $from_lib/magic_*.so $lib/ && cp $from_share/extension/magic_fdw* $share/extension/") == 0 or die;
append_to_file("$share/extension/magic_fdw--1.0.0--1.0.1.sql", <<'SQL');
\echo Use "ALTER EXTENSION magic_fdw UPDATE" to load this file. \quit
CREATE FUNCTION magic.new_in_1_0_1() RETURNS text LANGUAGE sql RETURN 'new';
ALTER TABLE magic.feed_rest ADD COLUMN new_in_1_0_1 int;
SQL

my $node = magic_node('main', install_path => $root);
my $dir = file_feed_dir('upgrade');
my @files = sort glob fixture_dir('bank') . '/files/binlog-*';
copy($_, $dir) for @files[0 .. $#files - 1];

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub sum_of
{
	my ($server) = @_;
	return $server->safe_psql('postgres', "SELECT count(*), sum(id), count(DISTINCT v), min(v) FROM a; SELECT count(*), sum(id) FROM mv");
}

sql(<<"SQL");
CREATE TABLE a (id int PRIMARY KEY, v text, dropped int) USING $am;
INSERT INTO a SELECT g, 'v' || g, g FROM generate_series(1, 200000) g;
ALTER TABLE a DROP dropped, ADD n numeric DEFAULT 1.5;
CREATE INDEX a_v ON a (v);
UPDATE a SET v = 'new' WHERE id % 10 = 0;
DELETE FROM a WHERE id > 190000;
CREATE MATERIALIZED VIEW mv USING $am AS SELECT id, v FROM a WHERE id % 2 = 0;
CREATE ROLE keeper IN ROLE magic_admin;
SQL
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'), apply_interval => '50 milliseconds');
is(sql("SELECT magic.wait_for('f', 'end', '60 seconds')"), 't', 'the feed has read what is there');
my $before = sum_of($node);
my $applied = sql("SELECT magic.applied_ts('f')");
my $accounts = sql('SELECT count(*), sum(balance) FROM bank.accounts');

# -- ALTER EXTENSION UPDATE --

my $other = $node->background_psql('postgres');
$other->query_safe("BEGIN; INSERT INTO a VALUES (300000, 'pending'); DELETE FROM a WHERE id = 1");
sql('BEGIN; ALTER EXTENSION magic_fdw UPDATE TO \'1.0.1\'; ROLLBACK');
is(sql("SELECT extversion FROM pg_extension WHERE extname = 'magic_fdw'"), '1.0.0', 'an update that is taken back');
sql("SET lock_timeout = '20s'; ALTER EXTENSION magic_fdw UPDATE TO '1.0.1'");
is(sql("SELECT extversion, magic.new_in_1_0_1() FROM pg_extension WHERE extname = 'magic_fdw'"), '1.0.1|new', 'ALTER EXTENSION UPDATE beside a writer and a feed');
$other->query_safe('ROLLBACK');
is($other->query_safe("UPDATE a SET v = v WHERE id = 7; SELECT v FROM a WHERE id = 7"), 'v7', 'a session from before the update goes on');
$other->quit;
wait_state($node, 'f', 'running');
is(sum_of($node), $before, 'tables are as they were');
is(sql("SELECT * FROM magic.verify('a')"), '', 'magic.verify') if $am eq 'magic';

# -- pg_upgrade: same major, so that it runs here; the file copy and the catalogs' way are the same --

sql("SELECT magic.pause('f')");
wait_state($node, 'f', 'paused');
sql("SELECT magic.create_feed('g', '" . file_source($dir, time_zone => 'UTC') . "', routes => 'bank.* -> g.{table}')");
is(sql("SELECT magic.wait_for('g', 'end', '60 seconds')"), 't', 'a second feed, running when the server stops');
$node->stop;
for my $mode (qw(copy link))
{
	my $new = PostgreSQL::Test::Cluster->new("new_$mode", install_path => $root);
	$new->init(extra => [ '--no-locale', '-E', 'UTF8' ]);
	$new->append_conf('postgresql.conf', "shared_preload_libraries = 'magic_fdw'\nmax_worker_processes = 24\nmax_prepared_transactions = 5\nmagic.file_source_dirs = '${PostgreSQL::Test::Utils::tmp_check}'\n");
	chdir PostgreSQL::Test::Utils::tempdir();
	my @command = ("$root/bin/pg_upgrade", '-d', $node->data_dir, '-D', $new->data_dir, '-b', "$root/bin", '-B', "$root/bin",
		'-p', $node->port, '-P', $new->port, '-s', $node->host, $mode eq 'link' ? '--link' : ());
	my $output = '';
	ok(IPC::Run::run(\@command, '>&', \$output), "pg_upgrade $mode") or diag($output, map { slurp_file($_) } glob $new->data_dir . '/pg_upgrade_output.d/*/log/*');
	unlike(slurp_file($new->logfile), qr/ERROR|magic launcher/, "$mode: no worker of ours ran meanwhile") if -e $new->logfile;
	$new->start;
	is(sum_of($new), $before, "$mode: tables are as they were");
	is($new->safe_psql('postgres', 'SELECT count(*), sum(balance) FROM bank.accounts'), $accounts, "$mode: the feed's, too");
	is($new->safe_psql('postgres', "SELECT * FROM magic.verify('a'); SELECT * FROM magic.verify('bank.accounts')"), '', "$mode: magic.verify") if $am eq 'magic';
	is($new->safe_psql('postgres', "SELECT state, applied_ts, extversion FROM magic.feeds, pg_extension WHERE name = 'f' AND extname = 'magic_fdw'"),
		"paused|$applied|1.0.1", "$mode: the paused feed and its position are there");
	$new->poll_query_until('postgres', "SELECT state = 'running' FROM magic.feeds WHERE name = 'g'") or die;
	pass("$mode: the running feed runs");
	is($new->safe_psql('postgres', "SELECT pg_has_role('keeper', 'magic_admin', 'member')"), 't', "$mode: roles");
	is($new->safe_psql('postgres', <<'SQL'), "new|42\n-1", "$mode: tables are written to");
UPDATE a SET v = 'after' WHERE id = 5; DELETE FROM a WHERE id = 6; INSERT INTO a VALUES (6, 'again'); INSERT INTO a VALUES (-1, 'new', 42);
SELECT v, n FROM a WHERE id = -1; SET enable_seqscan = off; SELECT min(id) FROM a;
SQL
	$new->safe_psql('postgres', 'VACUUM a; VACUUM FULL mv; ANALYZE a');
	is($new->safe_psql('postgres', "SELECT * FROM magic.verify('a')"), '', "$mode: magic.verify after changes") if $am eq 'magic';
	if ($mode eq 'copy')
	{
		# the rest of the stream
		copy($files[-1], $dir);
		$new->safe_psql('postgres', "SELECT magic.resume('f')");
		wait_applied($new, 'f', last_ts('bank'));
		compare_fixture($new, 'bank', name => "$mode: the feed goes on where it was, exactly once");
		unlink $dir . '/' . ($files[-1] =~ m{([^/]+)$})[0];
	}
	$new->stop;
	is($new->start(fail_ok => 1), 1, "$mode: and starts again");
	$new->stop('fast');
	$node->start if $mode eq 'copy';
	is(sum_of($node), $before, 'the old cluster is untouched by the copy') if $mode eq 'copy';
	$node->stop if $mode eq 'copy';
}

# -- the library is not preloaded --

my $bare = magic_node('bare', conf => 'autovacuum_naptime = 1s');
$bare->safe_psql('postgres', "CREATE TABLE a (id int PRIMARY KEY) USING $am; INSERT INTO a SELECT generate_series(1, 1000); CREATE TABLE h (a int) USING heap; CREATE DATABASE fresh");
$bare->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$bare->restart;
my $hint = qr/must be loaded via shared_preload_libraries.*shared_preload_libraries = 'magic_fdw'/s;
for my $statement ($am eq 'magic' ? ('SELECT * FROM a', 'INSERT INTO a VALUES (1)', 'DROP TABLE a', 'VACUUM a', 'CREATE TABLE b (a int) USING magic') : (), "SELECT magic.wait_for('f', 'end')")
{
	my $err = '';
	isnt($bare->psql('postgres', $statement, stderr => \$err), 0, "not preloaded: $statement fails");
	like($err, $hint, 'and says which line is missing');
}
my $err = '';
isnt($bare->psql('fresh', 'CREATE EXTENSION magic_fdw', stderr => \$err), 0, 'not preloaded: CREATE EXTENSION fails');
like($err, $hint, 'and says which line is missing');
is($bare->safe_psql('postgres', 'INSERT INTO h VALUES (1); SELECT count(*) FROM h'), '1', 'other tables are not harmed');
$bare->append_conf('postgresql.conf', "shared_preload_libraries = 'magic_fdw'");
$bare->stop('immediate');
$bare->start;
is($bare->safe_psql('postgres', 'SELECT count(*) FROM a; INSERT INTO a VALUES (0); SELECT count(*) FROM a'), "1000\n1001", 'preloaded again: everything is there');
is($bare->safe_psql('fresh', 'CREATE EXTENSION magic_fdw; SELECT 1'), '1', 'and CREATE EXTENSION works');
done_testing();
