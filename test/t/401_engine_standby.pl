# A streaming standby follows a magic table under load, with every WAL record checked against the page it
# makes; its queries never miss a row that VACUUM removed on the primary (they hold replay up or are
# cancelled); promoted, it goes on.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $am = access_method();
my $primary = magic_node('primary', allows_streaming => 1, conf => "wal_consistency_checking = all\nautovacuum = off\nwal_keep_size = 16GB");
create_twins($primary);
$primary->safe_psql('postgres', 'CREATE EXTENSION amcheck');
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\nhot_standby_feedback = off");
$standby->start;

sub catch_up { $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert')); return; }

my $load = start_load($primary, seconds => long_run() ? 60 : 6);
# while it follows, each snapshot of the standby has equal twins
my $looks = 0;
for (1 .. 10)
{
	my $differ = $standby->safe_psql('postgres', <<'SQL');
SELECT count(*) FROM ((TABLE tm EXCEPT ALL TABLE th) UNION ALL (TABLE th EXCEPT ALL TABLE tm)) x
SQL
	$looks++ if $differ eq '0';
	usleep(200_000);
}
is($looks, 10, 'ten looks at the standby under load: the twins are equal in each');
stop_load($load, wait => 1);
catch_up();
compare_twins($standby, 'standby');
if ($am eq 'magic')
{
	my $stderr = '';
	$standby->psql('postgres', "SELECT magic.compact('tm')", stderr => \$stderr);
	like($stderr, qr/cannot execute magic.compact\(\) in a read-only transaction/, 'a standby merges nothing');
	# not of one that is locked: the tail of its file may be cut just now
	ok($standby->poll_query_until('postgres', "SELECT rows > 0 FROM magic.table_stats WHERE relation = 'tm'::regclass"), 'and has figures of its tables');
}

# Rows deleted and vacuumed away on the primary, while a standby transaction may still see them by index.
$primary->safe_psql('postgres', <<"SQL");
CREATE TABLE c (id int PRIMARY KEY, v int, tags int[] DEFAULT '{1,2}') USING $am;
INSERT INTO c SELECT g, g FROM generate_series(1, 5000) g;
CREATE INDEX c_tags ON c USING gin (tags);
CREATE INDEX c_range ON c USING gist (int4range(id, id + 1));
SQL
catch_up();
my $by_index = 'SET enable_seqscan = off; SELECT count(v), sum(v) FROM c WHERE id BETWEEN 1 AND 5000;';
my $by_gin  = $by_index =~ s/WHERE/WHERE tags @> '{1}' AND/r =~ s/SET/SET enable_indexscan = off; SET/r;
my $by_gist = "SET enable_seqscan = off; SET enable_indexscan = on; SELECT count(v), sum(v) FROM c WHERE int4range(id, id + 1) && '[1,5001)';";
like($standby->safe_psql('postgres', $by_gin =~ s/SELECT/EXPLAIN SELECT/r), qr/Bitmap Heap Scan on c/, 'there are bitmap scans on the standby');
my $query = $standby->background_psql('postgres', on_error_stop => 0);
$query->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $before = $query->query('SELECT count(v), sum(v) FROM c');
is($before, '5000|12502500', 'a standby transaction sees all rows');
$primary->safe_psql('postgres', $_) for 'DELETE FROM c WHERE id % 2 = 0', 'VACUUM c', "SELECT merge('c')", 'VACUUM c',
  'INSERT INTO c SELECT g, -1 FROM generate_series(6000, 9000) g';
usleep(1_500_000);
like($query->query($by_index), qr/5000\|12502500/, 'replay waits for it: by index it sees the same');
like($query->query($by_gin), qr/5000\|12502500/, 'by bitmap scan');
like($query->query($by_gist), qr/5000\|12502500/, 'by GiST');
like($query->query('SELECT count(v), sum(v) FROM c'), qr/5000\|12502500/, 'and by sequential scan');
$query->query('COMMIT');
catch_up();
like($query->query($by_index), qr/^2500\|6250000$/m, 'after its end it sees the new state');
like($query->query($by_gin), qr/^2500\|6250000$/m, 'by bitmap scan');
like($query->query($by_gist), qr/^2500\|6250000$/m, 'by GiST');
$query->quit;

# VACUUM cuts the file while a standby transaction has a snapshot, but no lock yet: replay waits before it takes the
# lock, or it would wait for a transaction that waits for the lock.
$primary->safe_psql('postgres', "CREATE TABLE cut (id int, t text) USING $am; INSERT INTO cut SELECT g, md5(g::text) FROM generate_series(1, 50000) g");
catch_up();
$query = $standby->background_psql('postgres', on_error_stop => 0);
$query->query("SET statement_timeout = '20s'");
$query->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($query->query('SELECT count(*) FROM c WHERE id < 0'), '0', 'a standby transaction takes its snapshot');
my $pages = $primary->safe_psql('postgres', "SELECT pg_relation_size('cut')");
$primary->safe_psql('postgres', 'DELETE FROM cut');
$primary->safe_psql('postgres', 'VACUUM cut') for 1 .. 3;
cmp_ok($primary->safe_psql('postgres', "SELECT pg_relation_size('cut')"), '<', $pages / 2, 'the file is cut on the primary') if $am eq 'magic';
usleep(1_000_000);
is($query->query('SELECT count(*), count(DISTINCT t) FROM cut'), '50000|50000', 'it sees the rows of the table whose file is cut');
$query->query('COMMIT');
$query->quit;
catch_up();
is($standby->safe_psql('postgres', 'SELECT count(*) FROM cut'), '0', 'after its end they are gone');

# A merge takes the rows out before VACUUM sees their deletions. In a database of its own, whose metadata is so new
# that no pruning of it conflicts with the standby first.
$primary->safe_psql('postgres', $_) for 'ALTER SYSTEM SET magic.compaction = off', 'SELECT pg_reload_conf()', 'CREATE DATABASE fresh';
$primary->safe_psql('fresh', $_) for 'CREATE EXTENSION IF NOT EXISTS magic_fdw',
  "CREATE TABLE h (id int PRIMARY KEY, v int) USING $am; INSERT INTO h SELECT g, g FROM generate_series(1, 5000) g";
engine_helpers($primary, 'fresh');
catch_up();
my $in_h = 'SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexscan = on; SELECT count(v), sum(v) FROM h WHERE id BETWEEN 1 AND 5000;';
$query = $standby->background_psql('fresh', on_error_stop => 0);
$query->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
like($query->query($in_h), qr/^5000\|12502500$/m, 'a standby transaction sees all rows by index');
$primary->safe_psql('fresh', $_) for 'DELETE FROM h WHERE id <= 4000', "SELECT merge('h')", 'SELECT txid_current()', 'VACUUM h';
usleep(1_500_000);
like($query->query($in_h), qr/^5000\|12502500$/m, 'replay waits for it also if a merge came before VACUUM');
$query->query('COMMIT');
$query->quit;
catch_up();
is($standby->safe_psql('fresh', 'SELECT count(*) FROM h'), '1000', 'after its end replay goes on');

# Pages that a merge has freed are used again while a standby transaction may still read what was there. No index
# and no VACUUM, whose records would hold replay up before.
$primary->safe_psql('fresh', "CREATE TABLE again (id int, t text) USING $am");
$primary->safe_psql('fresh', "INSERT INTO again SELECT g, md5(g::text) FROM generate_series($_ * 5000 + 1, $_ * 5000 + 5000) g") for 0 .. 3;
catch_up();
$query = $standby->background_psql('fresh', on_error_stop => 0);
$query->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($query->query('SELECT count(*) FROM h WHERE id < 0'), '0', 'a standby transaction takes its snapshot');
$primary->safe_psql('fresh', $_) for "SELECT merge('again')", 'SELECT txid_current()';
$pages = $primary->safe_psql('fresh', "SELECT pg_relation_size('again')");
$primary->safe_psql('fresh', "INSERT INTO again SELECT g, md5(g::text) FROM generate_series($_ * 4000 + 1, $_ * 4000 + 4000) g") for 5 .. 6;
is($primary->safe_psql('fresh', "SELECT pg_relation_size('again')"), $pages, 'pages are used again on the primary') if $am eq 'magic';
usleep(1_500_000);
is($query->query('SELECT count(*), sum(id), count(DISTINCT t) FROM again'), '20000|200010000|20000', 'replay waits for it before pages are used again');
$query->query('COMMIT');
$query->quit;
catch_up();
is($standby->safe_psql('fresh', 'SELECT count(*), count(DISTINCT t) FROM again'), '28000|28000', 'after its end replay goes on');

# Index entries are marked dead, and rows are merged away, while the standby does not tell of its snapshots; then it does, so
# the primary's horizon steps back, and they are removed: replay waits for the snapshots from before all the same.
$primary->safe_psql('fresh', "CREATE TABLE $_ (id int PRIMARY KEY, v int) USING $am; INSERT INTO $_ SELECT g, g FROM generate_series(1, 300) g") for qw(marked merged);
catch_up();
my %back = map { $_ => $in_h =~ s/FROM h/FROM $_/r } qw(marked merged);
$query = $standby->background_psql('fresh', on_error_stop => 0);
$query->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
like($query->query($back{$_}), qr/^300\|45150$/m, "a standby transaction sees all rows of $_") for sort keys %back;
$primary->safe_psql('fresh', $_) for 'DELETE FROM marked WHERE id <= 250', 'DELETE FROM merged WHERE id <= 250', "SELECT merge('merged')", 'SELECT txid_current()';
$primary->safe_psql('fresh', $back{marked}) for 1 .. 2;
$standby->append_conf('postgresql.conf', 'hot_standby_feedback = on');
$standby->reload;
$primary->poll_query_until('fresh', 'SELECT bool_or(backend_xmin IS NOT NULL) FROM pg_stat_replication') or die 'no feedback';
$primary->safe_psql('fresh', $_) for 'INSERT INTO marked SELECT g, -1 FROM generate_series(6000, 6500) g', 'VACUUM merged';
usleep(1_500_000);
like($query->query($back{$_}), qr/^300\|45150$/m, "it sees them still: $_") for sort keys %back;
$query->query('COMMIT');
$query->quit;
$standby->append_conf('postgresql.conf', 'hot_standby_feedback = off');
$standby->reload;
catch_up();
is($standby->safe_psql('fresh', 'SELECT count(*) FROM marked'), '551', 'after its end replay goes on again');
$primary->safe_psql('postgres', $_) for 'ALTER SYSTEM RESET magic.compaction', 'SELECT pg_reload_conf()';

# Rows vacuumed away while the standby does not wait: cancelled, never wrong.
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 500ms');
$standby->reload;
$query = $standby->background_psql('postgres', on_error_stop => 0);
$query->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
$query->query('SELECT count(v), sum(v) FROM c WHERE id <= 5000');
$primary->safe_psql('postgres', $_) for 'DELETE FROM c WHERE id % 3 = 0', 'VACUUM c', "SELECT merge('c')", 'VACUUM c';
catch_up();
my $answer = eval { $query->query($by_index) } // '';
ok($answer =~ /^2500\|6250000$/m || $answer !~ /^\d+\|\d+$/m,
	'a standby transaction is cancelled or sees its rows, never fewer') or diag($answer);
eval { $query->quit };
is($standby->safe_psql('postgres', 'SELECT count(*) FROM c WHERE id <= 5000'), '1667', 'a new one sees the new state');

# The compaction worker takes out rows and uses their pages again: the same, and no VACUUM is in it.
$primary->safe_psql('postgres', "CREATE TABLE w (id int, v int, t text) USING $am; INSERT INTO w SELECT g, (random() * 1e6)::int, md5(random()::text) FROM generate_series(1, 300000) g");
catch_up();
my $all = $standby->safe_psql('postgres', 'SELECT count(*), sum(v), min(t), max(t) FROM w');
$query = $standby->background_psql('postgres', on_error_stop => 0);
$query->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($query->query('SELECT count(*), sum(v), min(t), max(t) FROM w'), $all, 'a standby transaction sees all rows');
$primary->safe_psql('postgres', 'DELETE FROM w WHERE id % 2 = 0');
if ($am eq 'magic')
{
	$primary->poll_query_until('postgres', "SELECT dead_rows = 0 AND free_bytes < size_bytes / 4 FROM magic.table_stats WHERE relation = 'w'::regclass")
	  or die 'the worker does not fold';
}
$primary->safe_psql('postgres', 'INSERT INTO w SELECT g, -1 FROM generate_series(1, 200000) g; INSERT INTO w SELECT g, -2 FROM generate_series(1, 1000) g');
catch_up();
$answer = eval { $query->query('SELECT count(*), sum(v), min(t), max(t) FROM w') } // '';
ok($answer eq $all || $answer !~ /^\d+\|/m, 'while the worker takes out rows it is cancelled or sees them all') or diag($answer);
eval { $query->quit };
is($standby->safe_psql('postgres', 'SELECT count(*) FROM w'), '351000', 'a new one sees the new state');

# VACUUM FULL, TRUNCATE, index builds and DDL travel too
$primary->safe_psql('postgres', $_) for 'VACUUM FULL c', 'CREATE INDEX c_v ON c (v)', "ALTER TABLE c ADD w int DEFAULT 3",
  'INSERT INTO c (id, v, w) VALUES (100000, 1, 1)', 'TRUNCATE th', 'TRUNCATE tm';
$primary->safe_psql('postgres', 'INSERT INTO tm SELECT g, g FROM generate_series(1, 100) g; INSERT INTO th TABLE tm');
catch_up();
is($standby->safe_psql('postgres', 'SELECT count(*), sum(w) FROM c'), $primary->safe_psql('postgres', 'SELECT count(*), sum(w) FROM c'),
	'rewritten table on the standby');
check_table($standby, 'c', 'v', 'rewritten table on the standby');

# promoted in the middle of a load
$load = start_load($primary);
usleep(1_500_000);
$primary->stop('immediate');
stop_load($load, crashed => 1);
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
compare_twins($standby, 'promoted standby');
$load = start_load($standby, seconds => 2);
stop_load($load, wait => 1);
compare_twins($standby, 'promoted standby after a load of its own');
unlike(slurp_file($standby->logfile), qr/inconsistent page found|PANIC/, 'no WAL record made a page otherwise than the primary');
done_testing();
