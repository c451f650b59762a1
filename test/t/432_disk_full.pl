# Out of disk space in the data of tables, indexes and the engine's metadata, at any moment of DML, COPY,
# CREATE INDEX, VACUUM, VACUUM FULL, merges and commits: an error that says so, nothing lost, and everything
# works when there is space again. The disk is a small tmpfs in a mount namespace of its own.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{SEED} // int(rand(1e9));
srand($seed);
diag("seed $seed");
my $rounds = $ENV{ROUNDS} // (long_run() ? 100 : 6);

my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $dir;
my ($holder, @inside) = small_disk($dir, "mkdir $dir/disk/space");
plan skip_all => "a user cannot mount here: @inside" if !$holder;

my $node = magic_node('full', start => 0, conf => "autovacuum = off\nshared_buffers = 16MB\nmax_wal_size = 64MB\njit = off");
sub start_inside { system(@inside, 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $node->logfile, 'start') == 0 or BAIL_OUT('pg_ctl failed'); $node->_update_pid(1); return; }
start_inside();
$node->safe_psql('template1', "CREATE TABLESPACE small LOCATION '$dir/disk/space'");
$node->safe_psql('template1', 'ALTER DATABASE postgres SET TABLESPACE small');
$node->safe_psql('postgres', 'CREATE EXTENSION magic_fdw; CREATE EXTENSION amcheck');
create_twins($node, 3000);
create_bulk($node, "$dir/rows");
$node->safe_psql('postgres', 'CREATE INDEX tm_tags ON tm USING gin (to_tsvector(\'simple\', t))');

my %seen;
my $log_at = 0;
for my $round (1 .. $rounds)
{
	my $free = int(exp(rand(8)));    # kB
	system(@inside, 'sh', '-c', "dd if=/dev/zero of=$dir/disk/filler bs=4k 2>/dev/null; truncate -s -${free}K $dir/disk/filler") == 0 or die;
	my @lines;
	for (1 .. 12)
	{
		my ($what, $kind, $k, $val, $bulk) = (int rand 12, int rand 100, 1 + int rand 4000, 1 + int rand 100, (0, 3, 1, 2)[ int rand 4 ]);
		push @lines,
		    $what < 3  ? "BEGIN; SELECT op($kind, $k, $val); SELECT sub_op($val, $k, $kind); SELECT bulk($bulk); COMMIT;"
		  : $what == 3 ? 'SELECT bulk(0);'
		  : $what == 4 ? "SELECT caught($bulk, $kind, $k, $val);"
		  : $what == 5 ? 'VACUUM tm;'
		  : $what == 6 ? "SELECT merge('tm');"
		  : $what == 7 ? 'CREATE INDEX extra ON tm (v, id); DROP INDEX IF EXISTS extra;'
		  : $what == 8 ? 'VACUUM FULL tm;'
		  : $what == 9 ? "BEGIN; COPY tm (id, v, t, n) FROM '$dir/rows'; ROLLBACK;"
		  : $what == 10 ? "BEGIN; SELECT caught(@{[ $bulk % 3 ]}, $kind, $k, $val); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';"
		  : 'REINDEX TABLE tm;';
	}
	push @lines, 'CHECKPOINT;' if $round % 3 == 0;
	my $file = "$dir/round$round.sql";
	append_to_file($file, join("\n", @lines) . "\n");
	my ($psql_out, $psql_err) = ('', '');
	IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-f', $file ], '<', \undef, '>', \$psql_out, '2>', \$psql_err);
	if ($round % 4 == 0)
	{
		$node->stop('immediate');
		system(@inside, 'rm', "$dir/disk/filler") == 0 or die;
		start_inside();
	}
	else
	{
		system(@inside, 'rm', "$dir/disk/filler") == 0 or die;
	}
	my $log = slurp_file($node->logfile, $log_at);
	$log_at += length $log;
	unlike($log, qr/terminated by signal|PANIC/, "round $round, $free kB left: no crash");
	while ($log =~ /(?:ERROR|FATAL|WARNING):  (.*)/g)
	{
		my $message = $1;
		$seen{ $message =~ /No space left on device|wrote only/ ? 'No space left on device' : $message }++;
	}
	$node->psql('postgres', "ROLLBACK PREPARED 'p'");
	compare_twins($node, "round $round, $free kB left");
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS extra');
	$node->safe_psql('postgres', 'SELECT bulk(4)');
	$node->safe_psql('postgres', 'VACUUM tm; VACUUM th') for 1 .. 2;
}
cmp_ok($seen{'No space left on device'} // 0, '>=', $rounds / 2, 'the disk was full') ;
my @unexpected = grep { !/No space left|current transaction is aborted|duplicate key|prepared transaction|not yet accepting|the database system|checkpoint request failed/ } sort keys %seen;
is(join("\n", @unexpected), '', 'only the errors that were provoked');
note("$seen{$_} $_") for sort keys %seen;
$node->safe_psql('postgres', 'SELECT bulk(0); VACUUM tm; VACUUM FULL tm; REINDEX TABLE tm');
compare_twins($node, 'at the end');
$node->stop;
$holder->kill_kill;
done_testing();
