# Recovery of magic tables: wal_level = minimal with every way to skip WAL and a crash at each point, base
# backups taken while tables are rewritten, recovery to a time, a transaction id, a name and an LSN, on a
# new timeline and again from there, crash at the end of recovery, pg_rewind.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $am = access_method();

# ---- wal_level = minimal. Files are synced instead of logged if they are larger than the threshold, else logged
# whole at the commit; either way the crash right after the commit must lose nothing, an abort leave nothing.
for my $threshold ('0', '1GB')
{
	my $node = magic_node("minimal_$threshold", conf => "wal_level = minimal\nmax_wal_senders = 0\nwal_skip_threshold = $threshold\nautovacuum = off\ncheckpoint_timeout = 1h");
	engine_helpers($node);
	$node->append_conf('postgresql.conf', "default_table_access_method = $am");
	$node->reload;
	my %expected;
	my $round = sub {
		my ($name, $sql, $query, $result) = @_;
		$node->safe_psql('postgres', $sql);
		$expected{$query} = [ $name, $result ];
		return;
	};
	my $check = sub {
		my ($when) = @_;
		$node->stop('immediate');
		$node->start;
		is($node->safe_psql('postgres', $_), $expected{$_}[1], "threshold $threshold, $when: $expected{$_}[0]") for sort keys %expected;
		is($node->safe_psql('postgres', "SELECT relname, p FROM pg_class c, problems(c.oid) p WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace"), '', "threshold $threshold, $when: magic.verify");
		return;
	};
	my $rows = 'INSERT INTO %s SELECT g, g, repeat(md5(g::text), 3) FROM generate_series(1, 20000) g;';
	my $copy = "COPY %s FROM PROGRAM 'seq -f \"%%.0f	1	copied\" 1 20000';";
	my $make = 'CREATE TABLE %1$s (id int PRIMARY KEY, v int, t text);';

	$round->('created and filled', "BEGIN; " . sprintf("$make " . sprintf($rows, 'a'), 'a') . 'COMMIT', 'SELECT count(*), sum(v) FROM a', '20000|200010000');
	$round->('created and copied', 'BEGIN; ' . sprintf($make, 'b') . sprintf($copy, 'b') . 'UPDATE b SET v = 2 WHERE id <= 10; DELETE FROM b WHERE id > 19000; COMMIT', 'SELECT count(*), sum(v) FROM b', '19000|19010');
	$check->('created');
	$round->('truncated and copied', 'BEGIN; TRUNCATE b; ' . sprintf($copy, 'b') . 'COMMIT', 'SELECT count(*), sum(v) FROM b', '20000|20000');
	$round->('truncated after changes, then filled', 'BEGIN; UPDATE a SET v = 0; TRUNCATE a; INSERT INTO a VALUES (1, 1); TRUNCATE a; INSERT INTO a VALUES (2, 2), (3, 3); COMMIT', 'SELECT count(*), sum(v) FROM a', '2|5');
	$check->('truncated');
	$node->safe_psql('postgres', 'BEGIN; TRUNCATE b; ' . sprintf($copy, 'b') . 'ROLLBACK');
	$check->('truncated, rolled back');
	$round->('truncated in a savepoint that is taken back', 'BEGIN; SAVEPOINT s; TRUNCATE b; ' . sprintf($copy, 'b') . 'ROLLBACK TO s; INSERT INTO b VALUES (0, 0); COMMIT', 'SELECT count(*), sum(v) FROM b', '20001|20000');
	$round->('truncated in a savepoint that is kept', 'BEGIN; SAVEPOINT s; TRUNCATE a; ' . sprintf($copy, 'a') . 'RELEASE s; SAVEPOINT s2; DELETE FROM a; ROLLBACK TO s2; COMMIT', 'SELECT count(*), sum(v) FROM a', '20000|20000');
	$check->('savepoints');
	$round->('rewritten', "ALTER TABLE a ALTER v TYPE bigint USING v + 1", 'SELECT count(*), sum(v) FROM a', '20000|40000');
	$round->('VACUUM FULL', "DELETE FROM b WHERE id % 2 = 0; VACUUM FULL b", 'SELECT count(*), sum(v) FROM b', '10000|10000');
	$round->('CREATE TABLE AS', "CREATE TABLE c AS SELECT * FROM a; CREATE INDEX ON c (id); CREATE MATERIALIZED VIEW m AS SELECT count(*) AS n FROM c", 'SELECT (SELECT count(*) FROM c), n FROM m', '20000|20000');
	$check->('rewritten');
	$round->('to heap and back', "ALTER TABLE c SET ACCESS METHOD heap; ALTER TABLE c SET ACCESS METHOD $am; INSERT INTO c VALUES (30000, 1, 'x')", 'SELECT count(*), (SELECT count(*) FROM c WHERE id = 30000) FROM c', '20001|1');
	$round->('a table of the same transaction, dropped', 'BEGIN; ' . sprintf($make, 'd') . sprintf($rows, 'd') . 'DROP TABLE d; COMMIT', "SELECT to_regclass('d') IS NULL", 't');
	$round->('COPY FREEZE', "BEGIN; CREATE TABLE fr (id int, v int, t text); COPY fr FROM PROGRAM 'seq -f \"%.0f	1	x\" 1 1000' WITH (FREEZE); COMMIT", 'SELECT count(*) FROM fr', '1000');
	$node->safe_psql('postgres', 'REFRESH MATERIALIZED VIEW m');
	$expected{'SELECT (SELECT count(*) FROM c), n FROM m'} = [ 'refreshed', '20001|20001' ];
	$check->('the rest');
	# prepared: the file is synced or logged at PREPARE
	$node->safe_psql('postgres', 'BEGIN; ' . sprintf($make, 'p') . sprintf($rows, 'p') . "DELETE FROM p WHERE id > 15000; PREPARE TRANSACTION 'p'");
	$node->stop('immediate');
	$node->start;
	$node->safe_psql('postgres', "COMMIT PREPARED 'p'");
	$expected{'SELECT count(*), sum(v) FROM p'} = [ 'prepared over a crash', '15000|112507500' ];
	$check->('prepared');
	$node->stop;
}

# ---- point-in-time recovery to each kind of target, in the middle of a history of rewrites
my $node = magic_node('main', allows_streaming => 1, has_archiving => 1, conf => 'autovacuum = off');
engine_helpers($node);
$node->safe_psql('postgres', "CREATE TABLE h (id int PRIMARY KEY, v int) USING $am; CREATE TABLE hh (id int PRIMARY KEY, v int) USING heap; INSERT INTO h SELECT g, 0 FROM generate_series(1, 3000) g; INSERT INTO hh TABLE h");
$node->backup('b');
my @target;
my $step = 0;
for my $sql (
	'UPDATE T SET v = v + 1 WHERE id % 3 = 0', 'DELETE FROM T WHERE id % 5 = 0', 'INSERT INTO T SELECT g, 7 FROM generate_series(4000, 6000) g',
	'TRUNCATE T; INSERT INTO T SELECT g, 8 FROM generate_series(1, 4000) g', 'UPDATE T SET id = id + 10000 WHERE v = 8 AND id < 1000', 'DELETE FROM T')
{
	$step++;
	my @statements = map { my $t = $_; join ';', map { (my $s = $_) =~ s/\bT\b/$t/; $s } split /; /, $sql } qw(h hh);
	my $xid = $node->safe_psql('postgres', "BEGIN; $statements[0]; $statements[1]; SELECT pg_current_xact_id(); COMMIT");
	my ($lsn, $time) = split /\|/, $node->safe_psql('postgres', "SELECT pg_current_wal_lsn(), clock_timestamp()");
	$node->safe_psql('postgres', "SELECT pg_create_restore_point('step$step')");
	push @target, { step => $step, xid => $xid, lsn => $lsn, time => $time, name => "step$step", state => $node->safe_psql('postgres', 'SELECT count(*), sum(id), sum(v) FROM h') };
	$node->safe_psql('postgres', $_) for 'SELECT pg_sleep(0.05)', "SELECT merge('h')", 'VACUUM h';
	$node->safe_psql('postgres', 'VACUUM FULL h') if $step == 2;
}
$node->safe_psql('postgres', 'INSERT INTO h VALUES (1, 1); INSERT INTO hh VALUES (1, 1); SELECT pg_switch_wal()');
my $twins = 'SELECT count(*) FROM ((TABLE h EXCEPT ALL TABLE hh) UNION ALL (TABLE hh EXCEPT ALL TABLE h)) x';
my @kinds = qw(xid lsn time name);
for my $t (@target)
{
	my $kind = $kinds[ $t->{step} % 4 ];
	my $pitr = PostgreSQL::Test::Cluster->new("pitr_$t->{step}");
	$pitr->init_from_backup($node, 'b', has_restoring => 1, standby => 0);
	$pitr->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_$kind = '$t->{$kind}'\nrecovery_target_action = promote");
	$pitr->start;
	$pitr->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
	is($pitr->safe_psql('postgres', 'SELECT count(*), sum(id), sum(v) FROM h'), $t->{state}, "step $t->{step} by $kind: as it was");
	is($pitr->safe_psql('postgres', $twins), '0', "step $t->{step}: equal to the heap twin");
	is($pitr->safe_psql('postgres', "SELECT * FROM problems('h')"), '', "step $t->{step}: magic.verify");
	if ($t->{step} % 2 == 0 && !long_run())
	{
		$pitr->stop;
		next;
	}
	$pitr->safe_psql('postgres', 'INSERT INTO h SELECT g, 1 FROM generate_series(20000, 21000) g; UPDATE h SET v = v + 1 WHERE id % 2 = 0; DELETE FROM h WHERE id % 7 = 0');
	$pitr->safe_psql('postgres', 'INSERT INTO hh SELECT g, 1 FROM generate_series(20000, 21000) g; UPDATE hh SET v = v + 1 WHERE id % 2 = 0; DELETE FROM hh WHERE id % 7 = 0');
	kill_and_start($pitr);
	is($pitr->safe_psql('postgres', $twins), '0', "step $t->{step}: the new timeline after a crash");
	is($pitr->safe_psql('postgres', "SELECT * FROM problems('h')"), '', "step $t->{step}: magic.verify on the new timeline");
	$pitr->stop;
}
$node->stop;

# ---- pg_rewind: a primary that went on by itself follows the promoted standby again
my $one = magic_node('one', allows_streaming => 1, conf => "autovacuum = off\nwal_log_hints = on\nwal_keep_size = 1GB");
engine_helpers($one);
$one->safe_psql('postgres', 'CREATE EXTENSION amcheck');
$one->safe_psql('postgres', "CREATE TABLE h (id int PRIMARY KEY, v int) USING $am; CREATE TABLE hh (id int PRIMARY KEY, v int) USING heap; INSERT INTO h SELECT g, 0 FROM generate_series(1, 3000) g; INSERT INTO hh TABLE h");
$one->backup('r');
my $two = PostgreSQL::Test::Cluster->new('two');
$two->init_from_backup($one, 'r', has_streaming => 1);
$two->start;
$one->wait_for_catchup($two, 'replay', $one->lsn('insert'));
$two->promote;
$two->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$one->safe_psql('postgres', $_) for 'DELETE FROM h WHERE id < 1000', 'INSERT INTO h SELECT g, 5 FROM generate_series(5000, 9000) g', "SELECT merge('h')", 'VACUUM h', 'CREATE TABLE lost (id int) USING ' . $am, 'INSERT INTO lost SELECT generate_series(1, 5000)';
$two->safe_psql('postgres', $_) for 'UPDATE h SET v = 3 WHERE id > 2000', 'UPDATE hh SET v = 3 WHERE id > 2000', 'VACUUM h', "SELECT merge('h')", 'INSERT INTO h VALUES (10000, 1)', 'INSERT INTO hh VALUES (10000, 1)', 'CHECKPOINT';
$one->stop;
command_ok([ 'pg_rewind', '--no-sync', '-D', $one->data_dir, '--source-server', $two->connstr('postgres'), '--write-recovery-conf' ], 'pg_rewind');
$one->append_conf('postgresql.conf', 'port = ' . $one->port);
$one->start;
$one->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '" . $two->lsn('insert') . "'");
is($one->safe_psql('postgres', $twins), '0', 'rewound: equal to the heap twin');
is($one->safe_psql('postgres', 'SELECT count(*), sum(v) FROM h'), $two->safe_psql('postgres', 'SELECT count(*), sum(v) FROM h'), 'rewound: as the new primary');
is($one->safe_psql('postgres', "SELECT to_regclass('lost') IS NULL"), 't', 'rewound: what was made alone is gone');
check_table($one, 'h', 'id', 'rewound');
done_testing();
