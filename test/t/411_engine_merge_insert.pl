# Merges beside single-row inserts, of which some are committed before others that have lower row numbers: no merge
# covers a row number that a running transaction may still fill.
use strict;
use warnings;

use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('main');
my $seconds = long_run() ? 60 : 6;
my $dir = $PostgreSQL::Test::Utils::tmp_check;

$node->safe_psql('postgres', 'CREATE TABLE t (id serial PRIMARY KEY, v int) USING magic');
my %scripts = (
	at_once => 'INSERT INTO t (v) VALUES (1);',
	later => 'BEGIN; INSERT INTO t (v) VALUES (2); SELECT pg_sleep(0.002); COMMIT;',
	merge => "SELECT magic.compact('t');");
my %clients = (at_once => 3, later => 4, merge => 2);
my @running;
for my $name (sort keys %scripts)
{
	append_to_file("$dir/$name.sql", $scripts{$name} . "\n");
	push @running, IPC::Run::start([ 'pgbench', '-n', '-f', "$dir/$name.sql", '-c', $clients{$name}, '-T', $seconds,
		'-h', $node->host, '-p', $node->port, '-U', 'postgres', 'postgres' ], '>', "$dir/$name.out", '2>', "$dir/$name.err");
}
ok($_->finish, 'a load ended without an error') for @running;
my $inserted = 0;
for my $name ('at_once', 'later')
{
	slurp_file("$dir/$name.out") =~ /actually processed: (\d+)/ or die 'pgbench says nothing';
	$inserted += $1;
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), $inserted, 'every row that was committed is there');
verify_tables($node);
done_testing();
