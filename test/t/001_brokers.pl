# The tests' own brokers work: the mock cluster and a real Kafka take a fixture's messages, in order, and
# the real one keeps them over a kill -9.
use strict;
use warnings;

use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

sub read_topic
{
	my ($broker, $topic) = @_;
	my ($out, $err) = run_command([ 'kcat', '-b', $broker->bootstrap, '-C', '-t', $topic, '-e', '-q',
		'-f', '%o %S\n' ]);
	my @lines = split /\n/, $out;
	return @lines;
}

# A broker that has just come back answers before it leads its partitions: then the topic reads as empty.
sub read_topic_again
{
	my ($broker, $topic) = @_;
	for (1 .. 60)
	{
		my @lines = read_topic($broker, $topic);
		return @lines if @lines;
		sleep 1;
	}
	return;
}

my $mock = mock_broker('bank:1');
produce($mock, 'bank', 'bank');
is(scalar(my @mock = read_topic($mock, 'bank')), message_count('bank'), 'mock broker has every message');
$mock->command('down 1');
$mock->command('up 1');
is(scalar(@mock = read_topic_again($mock, 'bank')), message_count('bank'), 'and after it was down');

my $kafka = kafka_broker();
produce($kafka, 'bank', 'bank');
my @before = read_topic($kafka, 'bank');
is(scalar(@before), message_count('bank'), 'Kafka has every message');
$kafka->kill9;
$kafka->start;
is_deeply([ read_topic_again($kafka, 'bank') ], \@before, 'and after kill -9');

produce($kafka, 'holes', 'bank', transaction => 100, abort => 1);
my @offsets = map { (split)[0] } read_topic($kafka, 'holes');
is(scalar(@offsets), message_count('bank'), 'every message once in a topic with aborted transactions');
cmp_ok($offsets[-1], '>', scalar(@offsets), 'whose offsets have holes');

done_testing();
