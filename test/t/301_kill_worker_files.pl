# The worker is killed with -9 in each phase of an apply, several times, reading from Drainer's files: after each kill
# every row of every table is what TiDB had, no change is lost and none is applied twice.
use strict;
use warnings;

use KillTest;
use MagicTest;
use Test::More;

seeded();
my $node = magic_node('main', install_path => test_build('points', '-DMAGIC_TEST_POINTS'));

kill_in_all_phases($node, sub { return file_source(fixture_dir($_[0]) . '/files'); });
done_testing();
