# The kill tests find what they are for: a worker that stores its position in a transaction of its own
# must not survive a kill between the two.
use strict;
use warnings;

use KillTest;
use MagicTest;
use Test::More;

seeded();
my $node = magic_node('main',
	install_path => test_build('broken', '-DMAGIC_TEST_POINTS -DMAGIC_BREAK_POSITION'));
my $run = new_run(node => $node, fixture => 'keys', source => file_source(fixture_dir('keys') . '/files'));

cmp_ok(kill_in_phase($run, 'commit', 40, quiet => 1), '>', 0,
	'a position outside of the transaction is found by a kill between data and position');
done_testing();
