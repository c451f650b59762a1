# The kill tests' common part: a feed goes through a recording in steps, each up to a commit TS at which
# the fixture tells the state of every table; in each step something is killed; after each step every
# table is compared.
package KillTest;

use strict;
use warnings;

use Exporter 'import';
use MagicTest;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(@phases new_run step_to check_step kill_in_phase kill_in_all_phases seeded);

# In the order in which an apply passes them; see ingest_worker/test_points.h.
our @phases = qw(fetch decode locate write position commit committed);

# A seed that a failed run can be repeated with.
sub seeded
{
	my $seed = $ENV{MAGIC_SEED} // int(time * 1000) % 1_000_000_000;
	srand($seed);
	note("seed $seed (set MAGIC_SEED to repeat)");
	return $seed;
}

# node, source (URI), fixture; feed's options in options.
sub new_run
{
	my (%run) = @_;
	$run{cuts}     = [ timeline($run{fixture}) ];
	$run{feed}   //= 'f';
	$run{options} //= {};
	$run{rounds}   = 0;
	$run{next}     = undef;
	return \%run;
}

# Begin the step to the next cut of the timeline: a new feed over dropped tables when the recording
# is at its end. Returns the cut's TS.
sub step_to
{
	my ($run) = @_;
	my ($node, $feed) = @$run{qw(node feed)};

	if (!defined $run->{next} || $run->{next} > $#{ $run->{cuts} })
	{
		poll_sql($node, "SELECT magic.drop_feed('$feed', drop_tables => true)") if defined $run->{next};
		$run->{next} = 0;
		$run->{rounds}++;
	}
	my $ts = $run->{cuts}[ $run->{next} ];
	my $interval = (rand() < 0.5) ? '0' : '20 milliseconds';
	if ($run->{next} == 0)
	{
		create_feed($node, $feed, $run->{source}, apply_interval => $interval, stop_ts => $ts,
			%{ $run->{options} });
	}
	else
	{
		poll_sql($node, "SELECT magic.set_interval('$feed', '$interval')");
		poll_sql($node, "SELECT magic.resume('$feed', stop_ts => $ts)");
	}
	$run->{next}++;
	return $ts;
}

# Wait for the step's end and compare; true if all was equal. quiet: assert nothing.
sub check_step
{
	my ($run, $ts, $name, %options) = @_;

	wait_stopped_at($run->{node}, $run->{feed}, $ts);
	my $equal = compare_fixture($run->{node}, $run->{fixture}, at => $ts, name => $name, %options);
	my $conflicts = poll_sql($run->{node}, <<"SQL");
SELECT coalesce(sum(missing_old + insert_conflict), 0) FROM magic.feed_tables WHERE feed = '$run->{feed}'
SQL
	return $equal && $conflicts == 0 if $options{quiet};
	is($conflicts, 0, "$name: no change met a row that it did not expect") if $conflicts != 0;
	return $equal && $conflicts == 0;
}

# Kill the worker with -9 in one phase until that has happened `hits` times; after each, compare.
# Returns how often a comparison failed.
sub kill_in_phase
{
	my ($run, $phase, $hits, %options) = @_;
	my $node   = $run->{node};
	my $done   = 0;
	my $wrong  = 0;
	my $misses = 0;

	while ($done < $hits)
	{
		my $count = 1 + int(rand($misses > 3 ? 1 : 6));

		arm_point($node, $phase, $count);
		my $ts = step_to($run);
		wait_stopped_at($node, $run->{feed}, $ts);
		if (!point_hit($node))
		{
			unlink $node->data_dir . '/magic_test_point';
			die "phase $phase is never reached" if ++$misses > 200;
			next;
		}
		$done++;
		$wrong++
		  unless check_step($run, $ts, "killed in phase $phase ($done of $hits, arrival $count): equal at $ts",
			%options);
		last if $wrong && $options{quiet};
	}
	return $wrong;
}

# Five kills of the worker in each phase: three in the recording with all kinds of keys and tables
# without one, where a change applied twice shows as a row more, two in the one whose sum is constant.
# source_of gives the source URI for a fixture.
sub kill_in_all_phases
{
	my ($node, $source_of) = @_;
	my $factor = long_run() ? 10 : 1;

	for my $part ([ keys => 3 ], [ bank => 2 ])
	{
		my ($fixture, $hits) = @$part;
		my $run = new_run(node => $node, fixture => $fixture, source => $source_of->($fixture));

		kill_in_phase($run, $_, $hits * $factor) for @phases;
		verify_tables($node, "magic.verify finds no problem in the tables of $fixture");
		$node->safe_psql('postgres', "SELECT magic.drop_feed('f', drop_tables => true)");
	}
	return;
}

1;
