# Statements that are cancelled, time out or lose their backend at any moment, also inside subtransactions
# that catch it, during DML, COPY, CREATE INDEX, REINDEX, VACUUM, VACUUM FULL, merges and commits: what
# committed is there, nothing else is, and the table equals its heap twin.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seed = $ENV{SEED} // int(rand(1e9));
srand($seed);
diag("seed $seed");
my $seconds = $ENV{TEST_SECONDS} // (long_run() ? 120 : 4);
my $node = magic_node('cancel', conf => "autovacuum = on\nautovacuum_naptime = 1\nshared_buffers = 16MB\nmax_connections = 40\njit = off");
create_twins($node, 3000);

my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $dir;
$node->safe_psql('postgres', 'CREATE INDEX tm_n ON tm (n); CREATE EXTENSION amcheck');
create_bulk($node, "$dir/rows");

# A session's script: statements whose errors it does not mind.
sub script
{
	my ($name) = @_;
	my @lines = ('SET lock_timeout = 200; SET deadlock_timeout = 20;');
	for (1 .. 400)
	{
		my ($kind, $k, $val, $bulk) = (int rand 100, 1 + int rand 4000, 1 + int rand 100, int rand 4);
		my $what = int rand 22;
		push @lines, 'SET statement_timeout = ' . (rand() < 0.3 ? 0 : 1 + int(exp(rand(5)))) . ';';
		push @lines,
		    $what < 5  ? "BEGIN; SELECT op($kind, $k, $val); SELECT sub_op($val, $k, $kind); COMMIT;"
		  : $what < 8  ? "BEGIN; SELECT bulk($bulk); COMMIT;"
		  : $what < 12 ? "BEGIN; SELECT caught($bulk, $kind, $k, $val); SAVEPOINT s; SELECT bulk($bulk); ROLLBACK TO s; COMMIT;"
		  : $what == 12 ? 'SELECT bulk(4);'
		  : $what == 13 ? 'VACUUM tm;'
		  : $what == 14 ? "SELECT merge('tm');"
		  : $what == 15 ? "CREATE INDEX extra_$name ON tm (v, id); DROP INDEX IF EXISTS extra_$name;"
		  : $what == 16 ? (rand() < 0.3 ? 'VACUUM FULL tm;' : 'REINDEX INDEX tm_v;')
		  : $what == 17 ? "BEGIN; COPY tm (id, v, t, n) FROM '$dir/rows'; ROLLBACK;"
		  : $what == 18 ? "BEGIN; TRUNCATE tm; SELECT bulk(0); ROLLBACK;"
		  : $what == 19 ? "BEGIN; SELECT caught(@{[ $bulk % 3 ]}, $kind, $k, $val); PREPARE TRANSACTION '$name'; " . (rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name';"
		  : $what == 20 ? "BEGIN; CREATE TEMPORARY TABLE mine ON COMMIT DROP AS SELECT * FROM tm WHERE id < 500; CREATE INDEX ON mine (id); UPDATE mine SET v = 0; DELETE FROM mine WHERE id % 2 = 0; SELECT op($kind, $k, $val); COMMIT;"
		  : 'SET enable_seqscan = off; SELECT sum(v), max(t) FROM tm WHERE v BETWEEN 5 AND 60; SELECT count(*) FROM tm WHERE n > 100; RESET enable_seqscan;';
	}
	return join("\n", @lines) . "\n";
}

my $log_at = 0;
for my $phase ('time out', 'are cancelled', 'are terminated')
{
	my (%sessions, $count);
	my $end = time + $seconds;
	my $start = sub {
		my ($i) = @_;
		my $name = "s$i" . '_' . ++$count;
		append_to_file("$dir/$name.sql", script($name));
		my ($out, $err) = ('', '');
		$sessions{$i} = IPC::Run::start(
			[ 'psql', '-Xq', '-d', $node->connstr('postgres') . " application_name=victim", '-f', "$dir/$name.sql" ],
			'<', \undef, '>', '/dev/null', '2>', "$dir/$name.err");
	};
	$start->($_) for 1 .. 4;
	my $killer = $node->background_psql('postgres');
	while (time < $end)
	{
		usleep(int(rand(30_000)));
		$killer->query_safe('SELECT ' . ($phase eq 'are cancelled' ? 'pg_cancel_backend' : 'pg_terminate_backend') .
			"(pid) FROM pg_stat_activity WHERE application_name = 'victim' AND state <> 'idle' ORDER BY random() LIMIT 1")
		  if $phase ne 'time out';
		for my $i (keys %sessions)
		{
			eval { $sessions{$i}->pump_nb };
			next if $sessions{$i}->pumpable;
			eval { $sessions{$i}->finish };
			$start->($i);
		}
	}
	$killer->query_safe("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'") for 1 .. 2;
	$killer->quit;
	for (values %sessions) { eval { $_->finish }; }
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'victim'");
	# prepared by a session that did not live to end it
	for my $name (split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts'))
	{
		$node->safe_psql('postgres', (rand() < 0.5 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name'");
	}
	compare_twins($node, "statements that $phase");

	# What may be raised: time-outs, cancellations, waits for locks, keys that exist; parallel workers whose leader
	# has gone before they began; autovacuum's workers that a busy machine starts late.
	my $log = slurp_file($node->logfile, $log_at);
	$log_at += length $log;
	my %messages;
	$messages{$1}++ while $log =~ /(?:ERROR|FATAL|PANIC|WARNING):  (.*)/g;
	my @unexpected = grep { !/canceling statement|deadlock detected|duplicate key|terminating connection due to administrator command|current transaction is aborted|canceling autovacuum|SAVEPOINT can only|could not serialize|could not obtain lock|relation "extra_|relation "mine"|prepared transaction with identifier|there is no transaction|savepoint "s" does not exist|ROLLBACK TO SAVEPOINT|transaction identifier .* is already in use|could not attach to dynamic shared area|could not map dynamic shared memory segment|terminating background worker "parallel worker"|autovacuum worker (took too long to start|started without a worker entry)/ } sort keys %messages;
	is(join("\n", @unexpected), '', "statements that $phase: only the errors that were provoked");
	unlike($log, qr/terminated by signal/, "statements that $phase: no crash");
	note("$messages{$_} $_") for sort keys %messages;
	$node->safe_psql('postgres', 'DELETE FROM tm WHERE id >= 1000000; DELETE FROM th WHERE id >= 1000000');
	$node->safe_psql('postgres', 'VACUUM tm');
	compare_twins($node, "statements that $phase, after VACUUM");
}
$node->stop;
done_testing();
