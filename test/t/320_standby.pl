# A streaming standby shows only whole TiDB transactions while the feed applies, ends equal, and after its
# promotion the feed goes on there from where it was.
use strict;
use warnings;

use MagicTest;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(time usleep);

my $primary = magic_node('primary', allows_streaming => 1, conf => "shared_buffers = 64MB\nmax_connections = 30");
my $dir     = fixture_dir('bank');
my @cuts    = timeline('bank');

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'restart_after_crash = on');
$standby->start;

my $middle = $cuts[ int(@cuts / 2) ];
create_feed($primary, 'f', file_source("$dir/files"), apply_interval => '0', stop_ts => $middle);

my (%sums, $looks);
my $end = time + 120;
while (time < $end)
{
	my ($state) = feed_state($primary, 'f');
	my ($out, $err) = ('', '');
	$standby->psql('postgres', 'SELECT count(*), sum(balance) FROM bank.accounts', stdout => \$out, stderr => \$err);
	if ($out =~ /^([1-9]\d*)\|(.*)$/)
	{
		$sums{$2}++;
		$looks++;
	}
	last if $state eq 'stopped';
}
is(scalar(keys %sums), 1, "one sum in $looks looks at the standby while the feed applied");

$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
compare_fixture($standby, 'bank', at => $middle, name => "the standby is equal at $middle");
verify_tables($standby, 'magic.verify finds no problem on the standby');

$primary->stop;
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$standby->safe_psql('postgres', "SELECT magic.resume('f')");
wait_applied($standby, 'f', last_ts('bank'));
compare_fixture($standby, 'bank', name => 'the promoted standby follows the stream to its end');
done_testing();
