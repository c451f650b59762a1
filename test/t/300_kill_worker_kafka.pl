# The worker is killed with -9 in each phase of an apply, several times, reading from a real broker: after each kill
# every row of every table is what TiDB had, no change is lost and none is applied twice.
use strict;
use warnings;

use KillTest;
use MagicTest;
use Test::More;

seeded();
my $node = magic_node('main', install_path => test_build('points', '-DMAGIC_TEST_POINTS'));
my $kafka = kafka_broker();

kill_in_all_phases(
	$node,
	sub {
		my ($fixture) = @_;
		produce($kafka, $fixture, $fixture);
		return kafka_source($kafka, $fixture);
	});
done_testing();
