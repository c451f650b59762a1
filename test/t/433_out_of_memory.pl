# Backends that get no more memory, at any moment of DML, COPY, index scans, CREATE INDEX, VACUUM, merges and
# commits: the statement fails with "out of memory", nothing else does. The limit is on the address space
# of one backend, a random amount above what it has.
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
my $rounds = $ENV{ROUNDS} // (long_run() ? 300 : 15);

my $node = magic_node('memory', conf => "autovacuum = off\nshared_buffers = 16MB\njit = off\nmax_parallel_workers_per_gather = 0\nmax_parallel_maintenance_workers = 0\nmaintenance_work_mem = 256MB\nwork_mem = 64MB");
my $dir  = PostgreSQL::Test::Utils::tempdir();
chmod 0755, $dir;
$node->safe_psql('postgres', 'CREATE EXTENSION amcheck');
create_twins($node, 3000);
create_bulk($node, "$dir/rows");
$node->safe_psql('postgres', 'CREATE INDEX tm_tags ON tm USING gin (to_tsvector(\'simple\', t)); SELECT bulk(0); SELECT bulk(0); SELECT bulk(3)');
append_to_file("$dir/limit.sh", "size=\$(awk '/^VmSize/ { print \$2 }' /proc/\$BACKEND/status)\nexec prlimit --pid \$BACKEND --as=\$(((size + \$1) * 1024)):\n");

my (%seen, $limited);
my $log_at = 0;
for my $round (1 .. $rounds)
{
	my $above = int(exp(2 + rand(9)));    # kB
	my ($kind, $k, $val, $bulk) = (int rand 100, 1 + int rand 4000, 1 + int rand 100, (0, 3, 1, 2)[ int rand 4 ]);
	my @what = (
		"BEGIN; SELECT op($kind, $k, $val); SELECT sub_op($val, $k, $kind); SELECT bulk($bulk); COMMIT;",
		'SELECT bulk(0);',
		"SELECT caught($bulk, $kind, $k, $val);",
		"BEGIN; SELECT caught(@{[ $bulk % 3 ]}, $kind, $k, $val); PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p';",
		'VACUUM tm;',
		"SELECT merge('tm');",
		'CREATE INDEX extra ON tm (v, id);',
		'VACUUM FULL tm;',
		"BEGIN; COPY tm (id, v, t, n) FROM '$dir/rows'; ROLLBACK;",
		'REINDEX TABLE tm;',
		'SELECT sum(v), max(t), sum(n) FROM tm;',
		'SET enable_seqscan = off; SELECT sum(v), max(t) FROM tm WHERE v BETWEEN 5 AND 60; SELECT count(*) FROM tm WHERE to_tsvector(\'simple\', t) @@ \'bulk\';',
		"BEGIN; INSERT INTO tm SELECT 1900000 + g, 1, repeat('long', 500000), g FROM generate_series(1, 20) g; ROLLBACK;",
		'BEGIN; CREATE TABLE wide (id int, t text); INSERT INTO wide SELECT g, repeat(md5(g::text), 100000) FROM generate_series(1, 12) g; SELECT sum(length(t)) FROM wide; ROLLBACK;');
	my @lines = (
		# what a backend loads once it has
		"SELECT op(60, 1, 1); SELECT count(*) FROM tm; SELECT count(*) FROM th WHERE id = 5; SELECT merge('tm'); SELECT pg_backend_pid() AS pid \\gset",
		'\\setenv BACKEND :pid',
		"\\! sh $dir/limit.sh $above",
		map { $what[ int rand @what ] } 1 .. 4);
	my $file = "$dir/round$round.sql";
	append_to_file($file, join("\n", @lines) . "\n");
	my ($psql_out, $psql_err) = ('', '');
	IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-f', $file ], '<', \undef, '>', \$psql_out, '2>', \$psql_err);
	unlike($psql_err, qr/prlimit/, "round $round, $above kB: limited") if $psql_err =~ /prlimit/;
	my $log = slurp_file($node->logfile, $log_at);
	$log_at += length $log;
	if ($log =~ /terminated by signal|PANIC/)
	{
		fail("round $round, $above kB: the server crashed");
		diag($log);
	}
	$seen{$1}++ while $log =~ /(?:ERROR|FATAL|WARNING):  (.*)/g;
	$node->psql('postgres', "ROLLBACK PREPARED 'p'");
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS extra');
	compare_twins($node, "round $round, $above kB") if $round % 5 == 0 || $round == $rounds;
	$node->safe_psql('postgres', 'SELECT bulk(4); SELECT bulk(0)') if $round % 5 == 0;
}
cmp_ok($seen{'out of memory'} // 0, '>=', $rounds / 4, 'there was no memory');
my @unexpected = grep { !/^out of memory|current transaction is aborted|duplicate key|prepared transaction|Cannot allocate memory|relation "extra" already exists/ } sort keys %seen;
is(join("\n", @unexpected), '', 'only the errors that were provoked');
note("$seen{$_} $_") for sort keys %seen;
$node->stop;
done_testing();
