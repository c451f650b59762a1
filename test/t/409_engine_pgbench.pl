# pgbench's TPC-B-like load with foreign keys on magic tables, 16 clients: simple and prepared statements,
# savepoints that are rolled back. No transaction fails, none is lost; the four sums agree; tables and
# indexes are sound, and a row that was changed thousands of times does not make its lookups slow.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $am      = access_method();
my $scale   = long_run() ? 20 : 1;
my $seconds = long_run() ? 60 : 4;
my $node    = magic_node('main', conf => "max_connections = 60\nshared_buffers = 256MB\n");
my $savepoints = "$ENV{MAGIC_SRC}/test/bench/tpcb_savepoints.sql";
my $dir     = PostgreSQL::Test::Utils::tempdir();
my $done    = 0;
engine_helpers($node);

{
	local $ENV{PGOPTIONS} = "-c default_table_access_method=$am";
	$node->command_ok([ 'pgbench', '-i', '-q', '-s', $scale, '--foreign-keys', '-h', $node->host, '-p', $node->port, 'postgres' ],
		'tables are made');
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname LIKE 'pgbench%' AND relkind = 'r' AND amname = '$am'"),
	4, "of access method $am");

for my $load (
	[ 'simple',              '-b', 'tpcb-like' ],
	[ 'prepared',            '-M', 'prepared', '-b', 'tpcb-like' ],
	[ 'savepoints',          '-f', $savepoints, '-D', "scale=$scale" ],
	[ 'savepoints prepared', '-M', 'prepared', '-f', $savepoints, '-D', "scale=$scale" ])
{
	my ($name, @options) = @$load;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'pgbench', '-n', '-c', 16, '-j', 2, '-T', $seconds, '-h', $node->host, '-p', $node->port, @options, 'postgres' ],
		'<', \undef, '>', \$out, '2>', \$err);
	ok($ok && $err !~ /ERROR|aborted/, "$name: no client failed") or diag(substr($err, 0, 5000));
	my ($transactions) = $out =~ /processed: (\d+)/;
	diag("$name: $transactions transactions");
	$done += $transactions;
	is($node->safe_psql('postgres', <<'SQL'), "$done|t|t|t", "$name: no transaction is lost, the sums agree");
SELECT count(*), sum(delta) = (SELECT sum(abalance) FROM pgbench_accounts), sum(delta) = (SELECT sum(tbalance) FROM pgbench_tellers),
	   sum(delta) = (SELECT sum(bbalance) FROM pgbench_branches)
  FROM pgbench_history
SQL
}
check_table($node, @$_) for [ 'pgbench_accounts', 'aid', 'accounts' ], [ 'pgbench_tellers', 'tid', 'tellers' ], [ 'pgbench_branches', 'bid', 'branches' ];
is($node->safe_psql('postgres', "SELECT * FROM problems('pgbench_history')"), '', 'history: magic.verify');

# Index entries of versions that nobody sees go while the row is changed, without VACUUM.
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE hot (id int PRIMARY KEY, n int, filler text) USING $am WITH (autovacuum_enabled = off);
INSERT INTO hot SELECT g, 0, repeat('x', 50) FROM generate_series(1, 3) g;
SQL
append_to_file("$dir/hot.sql", "\\set id random(1, 3)\nUPDATE hot SET n = n + 1 WHERE id = :id;\n");
$node->command_ok([ 'pgbench', '-n', '-c', 4, '-t', 2500, '-M', 'prepared', '-h', $node->host, '-p', $node->port, '-f', "$dir/hot.sql", 'postgres' ],
	'10,000 changes of three rows');
is($node->safe_psql('postgres', 'SELECT sum(n), count(*) FROM hot'), '10000|3', 'all are there');
my $pages = $node->safe_psql('postgres', "SELECT pg_relation_size('hot_pkey') / 8192");
diag("$pages pages in the index");
cmp_ok($pages, '<=', 5, 'the index has dropped its dead entries');
check_table($node, 'hot', 'id', 'hot rows');
done_testing();
