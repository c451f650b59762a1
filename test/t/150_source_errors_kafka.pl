# What goes wrong between Kafka and a feed: each malformed input rests the feed in state error, naming topic,
# partition, offset and the next step, with everything before it applied and nothing after; each outage is waited out; in
# the end every row is what TiDB had.
use strict;
use warnings;

use JSON::PP;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node  = magic_node('main');
my $kafka = kafka_broker(heap => '1g');
my $dir   = fixture_dir('bank');
my @cuts  = timeline('bank');
my $half  = $cuts[ int(@cuts / 2) ];

sub drop { $node->safe_psql('postgres', "SELECT magic.drop_feed('$_[0]', drop_tables => true)"); return; }

# The feed rests in error, and says where and what to do.
sub rests_in_error
{
	my ($feed, $message, $what) = @_;

	wait_state($node, $feed, 'error');
	like(feed_column($node, $feed, 'last_error'), $message, "$what: the error names the place");
	isnt(feed_column($node, $feed, 'last_error_hint'), '', "$what: and the next step");
	like(feed_column($node, $feed, 'last_sqlstate'), qr/^[0-9A-Z]{5}$/, "$what: and has an SQLSTATE");
	return;
}

# -- outages --

create_feed($node, 'f', kafka_source($kafka, 'later'), apply_interval => '50 milliseconds');
wait_state($node, 'f', 'retrying');
like(feed_column($node, 'f', 'last_error'), qr/later/, 'a topic that does not exist: the feed tries again and names it');
produce($kafka, 'later', 'bank', upto => $half);
wait_applied($node, 'f', $half);
compare_fixture($node, 'bank', at => $half, name => 'and follows it once it is there');

$kafka->kill9;
wait_state($node, 'f', 'retrying');
$kafka->start;
produce($kafka, 'later', 'bank', from => $half);
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'a broker killed with -9 and started again');
drop('f');

$kafka->stop;
create_feed($node, 'f', kafka_source($kafka, 'later'));
wait_state($node, 'f', 'retrying');
isnt(feed_column($node, 'f', 'retry_at'), '', 'a broker that is down at the start: the feed says when it tries again');
$kafka->start;
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'and reads everything once it is up');
drop('f');

# The broker goes away and comes back while messages arrive.
my $producer = start_produce($kafka, 'onoff', 'bank', rate => 300);
create_feed($node, 'f', kafka_source($kafka, 'onoff'), apply_interval => '20 milliseconds');
for (1 .. 3)
{
	select(undef, undef, undef, 1.5);
	$kafka->kill9;
	$kafka->start;
}
waitpid($producer, 0);
is($?, 0, 'everything was produced');
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'a broker killed three times under load');
drop('f');

# -- malformed input --

# A message that is no protobuf, and one that is cut off, each between two good ones.
my %bad = (garbage => pack('H*', 'ffffffffffffffffffffffffffff'), truncated => undef);
open my $messages, '<', "$dir/messages.tsv" or die $!;
while (<$messages>)
{
	my ($ts, undef, undef, $hex) = split /[\t\n]/;
	next unless $ts > $half && length($hex) > 400;
	$bad{truncated} = substr(pack('H*', $hex), 0, length($hex) / 4);
	last;
}
close $messages;

for my $kind (sort keys %bad)
{
	produce($kafka, $kind, 'bank', upto => $half);
	produce_lines($kafka, $kind, $bad{$kind});
	produce($kafka, $kind, 'bank', from => $half);
	create_feed($node, 'f', kafka_source($kafka, $kind), apply_interval => '10 milliseconds');

	rests_in_error('f', qr/topic "$kind", partition 0, offset \d+/, "a $kind message");
	compare_fixture($node, 'bank', at => $half, name => "a $kind message: everything before it is applied");
	$node->safe_psql('postgres', "SELECT magic.resume('f')");
	rests_in_error('f', qr/topic "$kind", partition 0, offset \d+/, "a $kind message, again");
	$node->safe_psql('postgres', "SELECT magic.skip('f', '$kind', 0, 1)");
	$node->safe_psql('postgres', "SELECT magic.resume('f')");
	wait_applied($node, 'f', last_ts('bank'));
	compare_fixture($node, 'bank', name => "a $kind message, left out");
	drop('f');
}

# A hole in the offsets is lost data unless the feed says that holes are normal.
produce($kafka, 'holes', 'bank', transaction => 500, abort => 1);
create_feed($node, 'f', kafka_source($kafka, 'holes'), apply_interval => '10 milliseconds');
rests_in_error('f', qr/topic "holes", partition 0 .*offset \d+/, 'a hole in the offsets');
$node->safe_psql('postgres', "SELECT magic.alter_feed('f', on_gap => 'ignore')");
$node->safe_psql('postgres', "SELECT magic.resume('f')");
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'holes ignored: aborted Kafka transactions are not seen');
drop('f');

# -- a large message: one transaction --

my $changes = long_run() ? 800_000 : 160_000;
my ($out) = run_command([ "$ENV{MAGIC_TOOLS}/gen_binlog", '--brokers', $kafka->bootstrap, '--topic', 'large',
	'--changes', $changes, '--per-message', $changes ]);
my $expected = decode_json($out);
cmp_ok($expected->{bytes}, '>', long_run() ? 100e6 : 20e6, "a message of $expected->{bytes} bytes");
create_feed($node, 'f', kafka_source($kafka, 'large'));
wait_applied($node, 'f', $expected->{last_ts}, 600);
is( $node->safe_psql('postgres', 'SELECT count(*), sum(amount) FROM bench.orders'),
	"$expected->{rows}|$expected->{amount}",
	'is applied whole');
drop('f');

done_testing();
