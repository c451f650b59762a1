# What is applied already is not applied again when the source shows it again: after magic.seek back to the start, after a
# restart in the middle of that, and when the sender repeats messages; the applied TS never goes back.
use strict;
use warnings;

use MagicTest;
use Test::More;
use Time::HiRes qw(usleep);

my $node = magic_node('main');
my $kafka = mock_broker();
my $last = last_ts('keys');
my $messages = message_count('keys');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Wait until the feed has read the topic up to an offset; the lowest applied TS seen meanwhile.
sub read_up_to
{
	my ($offset) = @_;
	my $lowest = $last;

	for (1 .. 6000)
	{
		my ($at, $applied) = split /\|/, sql("SELECT position, applied_ts FROM magic.feed_partitions p JOIN magic.feeds f ON f.name = p.feed");
		$lowest = $applied if $applied < $lowest;
		return $lowest if $at >= $offset;
		usleep(10_000);
	}
	die "offset $offset is not reached";
}

sub check
{
	my ($name, $lowest) = @_;

	is($lowest, $last, "$name: the applied TS stays");
	compare_fixture($node, 'keys', name => "$name: every row is as TiDB had it");
	is(sql('SELECT sum(missing_old + insert_conflict) FROM magic.feed_tables'), 0, "$name: no change was applied twice");
	return;
}

produce($kafka, 'keys', 'keys');
create_feed($node, 'f', kafka_source($kafka, 'keys'), apply_interval => '0');
wait_applied($node, 'f', $last);
compare_fixture($node, 'keys');

sql("SELECT magic.pause('f')");
wait_state($node, 'f', 'paused');
sql("SELECT magic.seek('f', 'keys', 0, 0)");
sql("SELECT magic.resume('f')");
check('after a seek', read_up_to($messages));

sql("SELECT magic.pause('f')");
wait_state($node, 'f', 'paused');
sql("SELECT magic.seek('f', 'keys', 0, 0)");
for my $offset (map { int($messages * $_ / 4) } 1 .. 3)
{
	sql("SELECT magic.resume('f')");
	read_up_to($offset);
	sql("SELECT magic.pause('f')");
	wait_state($node, 'f', 'paused');
}
sql("SELECT magic.resume('f')");
check('after restarts in the middle', read_up_to($messages));

sql("SELECT magic.pause('f')");
wait_state($node, 'f', 'paused');
produce($kafka, 'keys', 'keys');
sql("SELECT magic.resume('f')");
check('messages sent again', read_up_to(2 * $messages));
done_testing();
