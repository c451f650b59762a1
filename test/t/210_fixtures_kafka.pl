# Recorded streams of TiDB arrive equal, through a real broker: bank, keys and burst at every commit TS at which the
# recording tells the state of the tables and at the end, with applies of different sizes; types at the end, as
# Drainers in three time zones sent it.
use strict;
use warnings;

use MagicTest;
use Test::More;

my $node = magic_node('main');
my $kafka = kafka_broker();

sub source
{
	my ($fixture, $topic, %params) = @_;
	return kafka_source($kafka, $topic, %params);
}

# Follow a stream from one commit TS of its timeline to the next.
for my $fixture ('bank', 'keys', 'burst')
{
	my @cuts = timeline($fixture);
	my $first = shift @cuts;

	produce($kafka, $fixture, $fixture);
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

for my $zone ('UTC', 'Asia/Shanghai', 'America/New_York')
{
	my $topic = 'types_' . ($zone =~ s/\W/_/r);
	my $file = fixture_dir('types') . '/messages' . ($zone eq 'UTC' ? '' : '.zone-' . ($zone =~ s/\W/_/r)) . '.tsv';

	produce($kafka, $topic, $file);
	create_feed($node, 'types', source('types', $topic, time_zone => $zone));
	wait_applied($node, 'types', last_ts('types'));
	compare_fixture($node, 'types', name => "types from a Drainer in $zone");
	verify_tables($node);
	$node->safe_psql('postgres', "SELECT magic.drop_feed('types', drop_tables => true)");
}

done_testing();
