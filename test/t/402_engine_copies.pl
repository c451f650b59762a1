# Copies of a magic table by other means than SQL: base backup under load, point-in-time recovery, CREATE
# DATABASE ... TEMPLATE by both strategies, SET TABLESPACE, pg_dump and pg_restore, wal_level = minimal.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $am = access_method();
my $node = magic_node('main', allows_streaming => 1, has_archiving => 1);
create_twins($node);

my $load = start_load($node, seconds => 8);
usleep(500_000);
$node->backup('under_load');
stop_load($load, wait => 1);
compare_twins($node, 'primary');
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($node, 'under_load');
$restored->append_conf('postgresql.conf', 'archive_mode = off');
$restored->start;
compare_twins($restored, 'base backup under load');
$restored->safe_psql('postgres', 'SELECT op(g % 100, g, g % 100) FROM generate_series(1, 200) g');
compare_twins($restored, 'base backup, written to');
$restored->stop;

# point in time
my $sum = $node->safe_psql('postgres', 'SELECT count(*), sum(v), sum(n) FROM tm');
my $point = $node->safe_psql('postgres', "SELECT pg_create_restore_point('here')");
$node->safe_psql('postgres', $_) for 'DELETE FROM tm', 'DELETE FROM th', 'VACUUM tm', "SELECT merge('tm')", 'VACUUM tm',
  "INSERT INTO tm SELECT g, 0 FROM generate_series(1, 5000) g", 'SELECT pg_switch_wal()', 'INSERT INTO th TABLE tm', 'CHECKPOINT';
my $pitr = PostgreSQL::Test::Cluster->new('pitr');
$pitr->init_from_backup($node, 'under_load', has_restoring => 1, standby => 0);
$pitr->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_name = 'here'\nrecovery_target_action = promote");
$pitr->start;
$pitr->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is($pitr->safe_psql('postgres', 'SELECT count(*), sum(v), sum(n) FROM tm'), $sum, 'point-in-time recovery');
compare_twins($pitr, 'point-in-time recovery');
$pitr->stop;

# another database from this one
$node->safe_psql('template1', "CREATE DATABASE copy_$_ TEMPLATE postgres STRATEGY $_") for qw(wal_log file_copy);
for (qw(copy_wal_log copy_file_copy))
{
	is($node->safe_psql($_, 'SELECT count(*) FROM ((TABLE tm EXCEPT ALL TABLE th) UNION ALL (TABLE th EXCEPT ALL TABLE tm)) x'),
		'0', "$_: equal to the heap twin");
	is($node->safe_psql($_, "SELECT * FROM problems('tm')"), '', "$_: magic.verify");
	$node->safe_psql($_, "UPDATE tm SET v = -1 WHERE id < 100; DELETE FROM tm WHERE id > 4000; INSERT INTO tm VALUES (-1, 1)");
	$node->safe_psql($_, 'VACUUM tm');
	is($node->safe_psql($_, "SELECT * FROM problems('tm')"), '', "$_: magic.verify after changes");
}
# both copies have the same storage ids and give out the same row numbers
$node->safe_psql('copy_file_copy', 'INSERT INTO tm VALUES (-2, 1)');
my $other = $node->background_psql('copy_wal_log');
$other->query_safe('BEGIN; INSERT INTO tm VALUES (-2, 1)');
is( $node->safe_psql('copy_file_copy',
		"SET statement_timeout = '10s'; INSERT INTO tm VALUES (-2, 1) ON CONFLICT DO NOTHING; SELECT 'not held up'"),
	'not held up', 'a transaction in one copy is none of the other');
$other->quit;
compare_twins($node, 'the template is untouched by changes of its copies');
$node->stop('immediate');
$node->start;
compare_twins($node, 'after a crash');
is($node->safe_psql('copy_wal_log', 'SELECT count(*) FROM tm WHERE id = -1'), '1', 'the copy after a crash');

# another tablespace
my $space = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE s LOCATION '$space'");
$node->safe_psql('postgres', 'ALTER TABLE tm SET TABLESPACE s');
compare_twins($node, 'another tablespace');
$node->safe_psql('postgres', 'SELECT op(g % 100, g, g % 100) FROM generate_series(1, 200) g');
$node->stop('immediate');
$node->start;
compare_twins($node, 'another tablespace after a crash');
$node->safe_psql('postgres', 'ALTER TABLE tm SET TABLESPACE pg_default');

# dump and restore: data and access method; nothing of the metadata
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
for my $format (qw(plain custom directory))
{
	my $db = "restored_$format";
	$node->command_ok([ 'pg_dump', '-F', substr($format, 0, 1), '-f', "$dump.$format", '-d', $node->connstr('postgres') ], "pg_dump, $format");
	$node->safe_psql('template1', "CREATE DATABASE $db TEMPLATE template0");
	if ($format eq 'plain') { $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.$format", '-d', $node->connstr($db) ], 'psql'); }
	else { $node->command_ok([ 'pg_restore', '-j', 2, '-d', $node->connstr($db), "$dump.$format" ], "pg_restore, $format"); }
	is($node->safe_psql($db, 'SELECT count(*) FROM ((TABLE tm EXCEPT ALL TABLE th) UNION ALL (TABLE th EXCEPT ALL TABLE tm)) x'),
		'0', "$format: equal to the heap twin");
	is($node->safe_psql($db, "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname = 'tm'"), $am, "$format: access method");
	is($node->safe_psql($db, "SELECT * FROM problems('tm')"), '', "$format: magic.verify");
}
$node->stop;

# wal_level = minimal: what a transaction writes into a table of its own is not logged but synced
my $minimal = magic_node('minimal', conf => "wal_level = minimal\nmax_wal_senders = 0\nwal_skip_threshold = 0");
engine_helpers($minimal);
$minimal->safe_psql('postgres', <<"SQL");
BEGIN;
CREATE TABLE tm (id int PRIMARY KEY, v int) USING $am;
INSERT INTO tm SELECT g, g FROM generate_series(1, 50000) g;
UPDATE tm SET v = 0 WHERE id <= 10;
SAVEPOINT s;
TRUNCATE tm;
ROLLBACK TO s;
DELETE FROM tm WHERE id > 40000;
COMMIT;
CREATE TABLE tr (id int PRIMARY KEY) USING $am;
INSERT INTO tr VALUES (1);
BEGIN;
TRUNCATE tr;
INSERT INTO tr SELECT generate_series(1, 30000);
COMMIT;
SQL
$minimal->stop('immediate');
$minimal->start;
is($minimal->safe_psql('postgres', 'SELECT count(*), sum(v) FROM tm'), '40000|800019945', 'wal_level = minimal: created and filled, then a crash');
is($minimal->safe_psql('postgres', 'SELECT count(*) FROM tr'), '30000', 'wal_level = minimal: truncated and filled, then a crash');
check_table($minimal, 'tm', 'id', 'wal_level = minimal');
check_table($minimal, 'tr', 'id', 'wal_level = minimal, truncated');
done_testing();
