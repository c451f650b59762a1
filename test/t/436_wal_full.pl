# No space for WAL, at any moment of DML, COPY, VACUUM, merges and commits: the server goes down, as with heap
# tables; when there is space again it recovers, and every transaction that was reported as committed is
# there, no other. pg_wal is on a small tmpfs in a mount namespace of its own.
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
my $rounds = $ENV{ROUNDS} // (long_run() ? 40 : 3);

my $dir = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $dir;
my ($holder, @inside) = small_disk($dir, 'true');
plan skip_all => "a user cannot mount here: @inside" if !$holder;

my $node = magic_node('walfull', start => 0, extra => [ '--no-locale', '-E', 'UTF8', '--wal-segsize=1' ],
	conf => "autovacuum = off\nshared_buffers = 16MB\nmax_wal_size = 1GB\nmin_wal_size = 2MB\nwal_recycle = off\njit = off\nrestart_after_crash = off");
my $wal = $node->data_dir . '/pg_wal';
system(@inside, 'sh', '-c', "mv '$wal' '$dir/disk/pg_wal' && ln -s '$dir/disk/pg_wal' '$wal'") == 0 or die;
sub start_inside { system(@inside, 'pg_ctl', '-w', '-t', 180, '-D', $node->data_dir, '-l', $node->logfile, 'start') == 0 or BAIL_OUT('pg_ctl failed'); $node->_update_pid(1); return; }
start_inside();
$node->safe_psql('postgres', 'CREATE EXTENSION magic_fdw; CREATE EXTENSION amcheck');
create_twins($node, 3000);
create_bulk($node, "$dir/rows");
# what the sessions say that they have done
my $am = access_method();
$node->safe_psql('postgres', "CREATE TABLE done (round int, session int, n int, PRIMARY KEY (round, session, n)) USING $am");

my ($log_at, $went_down) = (0, 0);
for my $round (1 .. $rounds)
{
	my $free = 1024 + int(rand(6 * 1024));    # kB; a segment has 1,024
	my (@sessions, @outputs);
	for my $session (1 .. 3)
	{
		my @lines;
		for my $n (1 .. 60)
		{
			my ($what, $kind, $k, $val, $bulk) = (int rand 10, int rand 100, 1 + int rand 4000, 1 + int rand 100, (0, 3, 1, 2)[ int rand 4 ]);
			my $note = "INSERT INTO done VALUES ($round, $session, $n);";
			push @lines,
			    $what < 4  ? "BEGIN; SELECT op($kind, $k, $val); $note SELECT sub_op($val, $k, $kind); COMMIT;"
			  : $what < 6  ? "BEGIN; SELECT bulk(0); $note COMMIT;"
			  : $what == 6 ? "BEGIN; SELECT bulk($bulk); $note PREPARE TRANSACTION 'p${session}_$n'; COMMIT PREPARED 'p${session}_$n';"
			  : $what == 7 ? "VACUUM tm; $note"
			  : $what == 8 ? "BEGIN; SELECT merge('tm'); $note COMMIT;"
			  : "BEGIN; COPY tm (id, v, t, n) FROM '$dir/rows'; ROLLBACK; $note";
			push @lines, "SELECT 'done $n' FROM done WHERE round = $round AND session = $session AND n = $n;";
		}
		append_to_file("$dir/r${round}_$session.sql", "SET deadlock_timeout = '50ms';\n" . join("\n", @lines) . "\n");
	}
	system(@inside, 'sh', '-c', "dd if=/dev/zero of=$dir/disk/filler bs=4k 2>/dev/null; truncate -s -${free}K $dir/disk/filler") == 0 or die;
	for my $session (1 .. 3)
	{
		$outputs[$session] = '';
		push @sessions, IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', "$dir/r${round}_$session.sql" ],
			'<', \undef, '>', \$outputs[$session], '2>', '/dev/null', IPC::Run::timeout(300));
	}
	for (@sessions) { eval { $_->finish }; }
	my $log = slurp_file($node->logfile, $log_at);
	my $down = $log =~ /PANIC:  .*No space left on device/;
	# sessions that stopped for another reason: a deadlock, say
	$node->stop('immediate', fail_ok => 1);
	$went_down++ if $down;
	system(@inside, 'rm', "$dir/disk/filler") == 0 or die;
	start_inside();
	$log = slurp_file($node->logfile, $log_at);
	$log_at += length $log;
	my @panics = grep { !/No space left on device/ } $log =~ /(PANIC:  .*)/g;
	is("@panics", '', "round $round, $free kB left: no other panic" . ($down ? '' : '; not full'));
	unlike($log, qr/terminated by signal (?!6|9)/, "round $round: no other crash");
	$node->safe_psql('postgres', "ROLLBACK PREPARED '$_'") for split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
	my @lost;
	for my $session (1 .. 3)
	{
		my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT n FROM done WHERE round = $round AND session = $session");
		push @lost, map { "$session/$_" } grep { !$there{$_} } $outputs[$session] =~ /^done (\d+)$/mg;
	}
	is("@lost", '', "round $round: what was reported as committed is there");
	compare_twins($node, "round $round");
	$node->safe_psql('postgres', 'SELECT bulk(4)');
	$node->safe_psql('postgres', 'VACUUM tm; VACUUM th; CHECKPOINT');
}
cmp_ok($went_down, '>', 0, "the server went down $went_down times");
$node->safe_psql('postgres', 'SELECT bulk(0); VACUUM tm; CHECKPOINT; VACUUM FULL tm; REINDEX TABLE tm');
compare_twins($node, 'at the end');
$node->stop;
$holder->kill_kill;
done_testing();
