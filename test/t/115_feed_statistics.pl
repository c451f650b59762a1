# The tables of a feed are vacuumed and analyzed by autovacuum as any other: the worker tells the statistics
# of its changes, so the planner knows the tables without a manual ANALYZE.
use strict;
use warnings;

use MagicTest;
use Test::More;
use Time::HiRes qw(usleep);

my $node = magic_node('main', conf => "autovacuum_naptime = 1s\nautovacuum_analyze_threshold = 20\nautovacuum_vacuum_threshold = 20\nautovacuum_vacuum_scale_factor = 0");
create_feed($node, 'bank', file_source(fixture_dir('bank') . '/files'), apply_interval => '0');
wait_applied($node, 'bank', last_ts('bank'));

sub wait_for
{
	my ($sql, $name) = @_;
	my $answer;
	for (1 .. 600)
	{
		$answer = $node->safe_psql('postgres', $sql);
		return pass($name) if $answer eq 't';
		usleep(100_000);
	}
	fail($name);
	diag($answer, $node->safe_psql('postgres', "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del, n_live_tup, n_dead_tup, last_autovacuum, last_autoanalyze FROM pg_stat_user_tables WHERE schemaname = 'bank'"));
	return;
}

wait_for("SELECT n_tup_ins > 0 AND n_tup_upd + n_tup_del > 0 FROM pg_stat_user_tables WHERE schemaname = 'bank' AND relname = 'accounts'", 'changes are counted');
wait_for("SELECT last_autoanalyze IS NOT NULL AND last_autovacuum IS NOT NULL FROM pg_stat_user_tables WHERE schemaname = 'bank' AND relname = 'accounts'", 'autovacuum has come');
wait_for("SELECT reltuples = (SELECT count(*) FROM bank.accounts) FROM pg_class WHERE oid = 'bank.accounts'::regclass", 'the planner knows how many rows there are');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stats WHERE schemaname = 'bank' AND tablename = 'accounts' AND attname = 'balance'"), '1', 'and how they are distributed');
is(feed_state($node, 'bank'), 'running', 'the feed goes on');
done_testing();
