# Recorded streams of TiDB arrive equal, from Drainer's files: bank, keys and burst at every commit TS at which the
# recording tells the state of the tables and at the end, with applies of different sizes; types at the end.
use strict;
use warnings;

use MagicTest;
use Test::More;

my $node = magic_node('main');

sub source
{
	my ($fixture, %params) = @_;
	return file_source(fixture_dir($fixture) . '/files', %params);
}

for my $fixture ('bank', 'keys', 'burst')
{
	follow_timeline($node, $fixture, source($fixture));
}

# The same in one go: every message an apply of its own, and all of them in as few applies as the limits allow.
for my $interval ('0', '5 seconds')
{
	for my $fixture ('bank', 'keys')
	{
		follow_at_once($node, $fixture, source($fixture), $interval);
	}
}

create_feed($node, 'types', source('types', time_zone => 'UTC'));
wait_applied($node, 'types', last_ts('types'));
compare_fixture($node, 'types');
verify_tables($node);

done_testing();
