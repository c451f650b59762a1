# The worker of the production build is killed with -9 at random times while changes arrive slowly and fast:
# after each kill every row of every table is what TiDB had.
use strict;
use warnings;

use KillTest;
use MagicTest;
use Test::More;
use Time::HiRes qw(usleep);

seeded();
my $node  = magic_node('main');
my $mock  = mock_broker('bank:1', 'keys:1');
my $kills = long_run() ? 100 : 8;

for my $fixture ('bank', 'keys')
{
	my $run = new_run(node => $node, fixture => $fixture, source => kafka_source($mock, $fixture));
	my $producer = start_produce($mock, $fixture, $fixture, rate => 400);

	for my $n (1 .. $kills)
	{
		my $ts    = step_to($run);
		my $delay = int(rand(400_000));
		usleep($delay);
		my $pid = feed_column($node, 'f', 'worker_pid');
		kill 'KILL', $pid if $pid;
		check_step($run, $ts, "kill $n after $delay us" . ($pid ? '' : ' (no worker)') . ": $fixture equal at $ts");
	}
	waitpid($producer, 0);
	is($?, 0, 'everything was produced');
	$node->safe_psql('postgres', "SELECT magic.resume('f')");
	wait_applied($node, 'f', last_ts($fixture));
	compare_fixture($node, $fixture);
	$node->safe_psql('postgres', "SELECT magic.drop_feed('f', drop_tables => true)");
}
done_testing();
