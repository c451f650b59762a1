# Recorded streams of TiDB arrive equal, through a real broker: bank, keys and burst at every commit TS at which the
# recording tells the state of the tables and at the end, with applies of different sizes; types at the end, as
# Drainers in three time zones sent it.
use strict;
use warnings;

use MagicTest;
use Test::More;

my $node = magic_node('main');
my $kafka = kafka_broker();

for my $fixture ('bank', 'keys', 'burst')
{
	produce($kafka, $fixture, $fixture);
	follow_timeline($node, $fixture, kafka_source($kafka, $fixture));
}

# The same in one go: every message an apply of its own, and all of them in as few applies as the limits allow.
for my $interval ('0', '5 seconds')
{
	for my $fixture ('bank', 'keys')
	{
		follow_at_once($node, $fixture, kafka_source($kafka, $fixture), $interval);
	}
}

for my $zone ('UTC', 'Asia/Shanghai', 'America/New_York')
{
	my $topic = 'types_' . ($zone =~ s/\W/_/r);
	my $file = fixture_dir('types') . '/messages' . ($zone eq 'UTC' ? '' : '.zone-' . ($zone =~ s/\W/_/r)) . '.tsv';

	produce($kafka, $topic, $file);
	create_feed($node, 'types', kafka_source($kafka, $topic, time_zone => $zone));
	wait_applied($node, 'types', last_ts('types'));
	compare_fixture($node, 'types', name => "types from a Drainer in $zone");
	verify_tables($node);
	$node->safe_psql('postgres', "SELECT magic.drop_feed('types', drop_tables => true)");
}

done_testing();
