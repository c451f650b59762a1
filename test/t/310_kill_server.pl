# The server is killed with -9 at random times while a feed applies: after recovery every row of every table is
# what TiDB had, and the standby that follows has the same.
use strict;
use warnings;

use KillTest;
use MagicTest;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(usleep);

seeded();
my $node  = magic_node('main');
my $kills = long_run() ? 100 : 10;

for my $fixture ('bank', 'keys')
{
	my $run = new_run(node => $node, fixture => $fixture, source => file_source(fixture_dir($fixture) . '/files'));

	for my $n (1 .. $kills)
	{
		my $ts    = step_to($run);
		my $delay = int(rand(500_000));
		usleep($delay);
		kill_and_start($node);
		check_step($run, $ts, "server killed $n after $delay us: $fixture equal at $ts");
	}
	$node->safe_psql('postgres', "SELECT magic.resume('f')");
	wait_applied($node, 'f', last_ts($fixture));
	compare_fixture($node, $fixture);
	verify_tables($node);
	$node->safe_psql('postgres', "SELECT magic.drop_feed('f', drop_tables => true)");
}
done_testing();
