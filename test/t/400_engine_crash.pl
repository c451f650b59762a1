# After kill -9 of the server at a random moment under mixed statements from four sessions the table is
# what its heap twin is, its structures are sound and its indexes find every row.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = long_run() ? 200 : 10;
my $seed   = $ENV{SEED} // int(rand(1e9));
srand($seed);
diag("seed $seed, $rounds rounds");

my $node = magic_node('crash', conf => "checkpoint_timeout = 30s\nmax_wal_size = 64MB\nlog_min_messages = warning");
create_twins($node);

for my $round (1 .. $rounds)
{
	my $load = start_load($node);
	usleep(int(300_000 + rand(1_500_000)));
	$node->safe_psql('postgres', 'CHECKPOINT') if rand() < 0.2;
	kill_and_start($node);
	stop_load($load, crashed => 1);
	compare_twins($node, "round $round");
	trim_twins($node) if $round % 20 == 0;
	last if !Test::More->builder->is_passing;
}
is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM tm WHERE t LIKE 'set%'"), 't', 'the load did something');

# a backend killed alone: the server restarts all others
my $load = start_load($node);
usleep(700_000);
my $victim = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' LIMIT 1");
kill 'KILL', $victim if $victim;
stop_load($load, crashed => 1);
wait_up($node);
compare_twins($node, 'after one backend was killed');
done_testing();
