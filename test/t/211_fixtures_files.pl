# Recorded streams of TiDB arrive equal, from Drainer's files: bank, keys and burst at every commit TS at which the
# recording tells the state of the tables and at the end, with applies of different sizes; types at the end.
use strict;
use warnings;

use MagicTest;
use Test::More;

my $node = magic_node('main');

sub source
{
	my ($fixture, $topic, %params) = @_;
	return file_source(fixture_dir($fixture) . '/files', %params);
}

# Follow a stream from one commit TS of its timeline to the next.
for my $fixture ('bank', 'keys', 'burst')
{
	my @cuts = timeline($fixture);
	my $first = shift @cuts;

	create_feed($node, $fixture, source($fixture, $fixture), apply_interval => '10 milliseconds', stop_ts => $first);
	for my $ts ($first, @cuts)
	{
		$node->safe_psql('postgres', "SELECT magic.resume('$fixture', stop_ts => $ts)") if $ts != $first;
		wait_stopped_at($node, $fixture, $ts);
		is(feed_column($node, $fixture, 'applied_ts'), $ts, "$fixture: applied up to $ts");
		compare_fixture($node, $fixture, at => $ts);
	}
	$node->safe_psql('postgres', "SELECT magic.resume('$fixture')");
	wait_applied($node, $fixture, last_ts($fixture));
	compare_fixture($node, $fixture);
	verify_tables($node);
	$node->safe_psql('postgres', "SELECT magic.drop_feed('$fixture', drop_tables => true)");
}

# The same in one go: every message an apply of its own, and all of them in as few applies as the limits allow.
for my $interval ('0', '5 seconds')
{
	for my $fixture ('bank', 'keys')
	{
		create_feed($node, $fixture, source($fixture, $fixture), apply_interval => $interval);
		wait_applied($node, $fixture, last_ts($fixture));
		compare_fixture($node, $fixture, name => "$fixture with an interval of $interval");
		$node->safe_psql('postgres', "SELECT magic.drop_feed('$fixture', drop_tables => true)");
	}
}

create_feed($node, 'types', source('types', 'types', time_zone => 'UTC'));
wait_applied($node, 'types', last_ts('types'));
compare_fixture($node, 'types');
verify_tables($node);

done_testing();
