# A feed runs for SOAK_SECONDS (3600) under mixed changes, slow queries, interval changes and kills of the
# worker: its memory stays bounded, the tables stay healthy, nothing is lost, nothing is applied twice.
use strict;
use warnings;

use IPC::Run;
use KillTest;
use MagicTest;
use Test::More;
use Time::HiRes qw(time);

seeded();
my $seconds = $ENV{SOAK_SECONDS} // 3600;
my $rate    = 20;                                # messages a second, of 100 changes
my $node    = magic_node('main');
my $kafka   = kafka_broker();
my ($out, $err) = ('', '');
my $producer = IPC::Run::start(
	[
		"$ENV{MAGIC_TOOLS}/gen_binlog", '--brokers', $kafka->bootstrap, '--topic', 'soak', '--mix', '60/25/15',
		'--rate', $rate, '--changes', $rate * 100 * $seconds
	],
	'>', \$out, '2>', \$err);

create_feed($node, 'soak', kafka_source($kafka, 'soak'), apply_interval => '200 milliseconds');

my ($largest, $kills, $bad) = (0, 0, 0);
my $end       = time + $seconds;
my $next_kill = time + 60;
while (time < $end)
{
	my $interval = (qw(0 50ms 200ms 1s 5s))[ int(rand(5)) ];
	poll_sql($node, "SELECT magic.set_interval('soak', '$interval')");
	poll_sql($node, 'SELECT pg_sleep(5)');

	my $pid = worker_pid($node, 'soak');
	my ($rss) = (eval { slurp("/proc/$pid/status") } // '') =~ /^RssAnon:\s+(\d+) kB/m;
	$largest = $rss if defined $rss && $rss > $largest;
	next if poll_sql($node, "SELECT to_regclass('bench.orders') IS NULL") eq 't';

	# Two looks at one state, one by sequential scan, one by index.
	my $differ = poll_sql($node, <<'SQL');
SELECT (SELECT count(*) FROM bench.orders) <> (SELECT count(*) FROM (SELECT id FROM bench.orders ORDER BY id) x)
    OR EXISTS (SELECT FROM magic.verify('bench.orders'))
SQL
	$bad++ if $differ eq 't';
	if (time > $next_kill)
	{
		kill_worker($node, 'soak');
		$kills++;
		$next_kill = time + 30 + rand(90);
	}
}
$producer->finish or diag($err);
my %expected = $out =~ /"(\w+)": "?([\d.-]+)/g;

wait_applied($node, 'soak', $expected{last_ts}, 600);
is($bad, 0, "the table was healthy in every look, over $kills kills");
is( $node->safe_psql('postgres', 'SELECT count(*), sum(amount), sum(version) FROM bench.orders'),
	"$expected{rows}|$expected{amount}|$expected{versions}",
	'rows and sums are what was produced');
cmp_ok($largest, '<', 600 * 1024, "the worker held at most $largest kB");
verify_tables($node);
done_testing();

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or die $!;
	local $/;
	return <$file>;
}
