# Helpers for TAP tests of feeds: a server with the library preloaded, brokers, fixtures, comparison.
#
#	use MagicTest;
#	my $node = magic_node('main');
#	my $kafka = kafka_broker();				# a real one; mock_broker() starts at once, in memory
#	produce($kafka, 'bank', 'bank');			# topic, fixture
#	create_feed($node, 'shop', kafka_source($kafka, 'bank'), apply_interval => '50 milliseconds');
#	wait_applied($node, 'shop', last_ts('bank'));
#	compare_fixture($node, 'bank');
#
# Everything that was started is stopped at the end of the test. Times given to the wait functions
# are limits after which the test dies; they are no assertions about speed.
package MagicTest;

use strict;
use warnings;

use Carp;
use Exporter 'import';
use File::Copy ();
use File::Path qw(mkpath);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  magic_node test_build source_dir fixture_dir last_ts timeline message_count
  mock_broker kafka_broker kafka_source file_source file_feed_dir
  produce produce_lines start_produce create_feed
  poll_sql feed_column feed_state wait_applied wait_state wait_stopped_at worker_pid kill_worker wait_up kill_and_start
  arm_point point_hit compare_fixture verify_tables follow_timeline follow_at_once long_run
);

my $src   = $ENV{MAGIC_SRC}   || croak 'MAGIC_SRC is not set: run the tests by make';
my $tools = $ENV{MAGIC_TOOLS} || croak 'MAGIC_TOOLS is not set: run the tests by make';

sub source_dir { return $src; }

# In make check-long a test takes its full size.
sub long_run { return $ENV{MAGIC_LONG} ? 1 : 0; }

# ---- servers ----

# A running server with the extension. conf: lines for postgresql.conf; the other arguments are those
# of PostgreSQL::Test::Cluster's new() and init().
sub magic_node
{
	my ($name, %args) = @_;
	my $conf = delete $args{conf} // '';
	my $start = delete $args{start} // 1;
	my %new;
	$new{$_} = delete $args{$_} for grep { exists $args{$_} } qw(install_path own_host port);
	my $node = PostgreSQL::Test::Cluster->new($name, %new);

	$node->init(extra => [ '--no-locale', '-E', 'UTF8' ], %args);
	# A killed worker makes the postmaster restart every backend; so it does in production.
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'magic_fdw'
restart_after_crash = on
max_worker_processes = 24
max_connections = 50
max_prepared_transactions = 20
shared_buffers = 128MB
log_statement = none
log_min_messages = info
magic.file_source_dirs = '${PostgreSQL::Test::Utils::tmp_check}'
$conf
CONF
	if ($start)
	{
		$node->start;
		$node->safe_psql('postgres', 'CREATE EXTENSION magic_fdw');
	}
	return $node;
}

# Build the worker library with extra flags into a PostgreSQL tree of its own, once for all tests that
# ask for the same flags; the result is an install_path for magic_node.
sub test_build
{
	my ($name, $flags) = @_;
	my $base = "$ENV{PG_TEST_PORT_DIR}/../build_$name";
	my $log  = "${PostgreSQL::Test::Utils::tmp_check}/build_$name.log";

	system('flock', "$base.lock", 'bash', '-c', <<'SH', 'build', $base, $src, $flags, $log) == 0
set -e
[ ! -e "$1/done" ] || exit 0
rm -rf "$1"
mkdir -p "$1"
exec >"$4" 2>&1
pg_config=$("$2/test/tools/private_tree.sh" "$1/pg" "$PG_CONFIG")
cp -r "$2/Makefile" "$2/magic_fdw.control" "$2/magic_fdw" "$2/ingest_worker" "$1/"
make -s -C "$1/magic_fdw" PG_CONFIG="$pg_config" install
# PGXS declares objects secondary: without the library gone as well nothing would be rebuilt
find "$1/ingest_worker" '(' -name '*.o' -o -name '*.so' ')' -delete
make -s -j2 -C "$1/ingest_worker" PG_CONFIG="$pg_config" PROFILE="$3" install
dirname "$(dirname "$pg_config")" > "$1/done"
SH
	  or die "test build $name failed:\n" . slurp_file($log);
	my $path = slurp_file("$base/done");
	chomp $path;
	return $path;
}

# ---- fixtures ----

# A fixture's directory with everything unpacked.
sub fixture_dir
{
	my ($fixture) = @_;
	my $dir = "${PostgreSQL::Test::Utils::tmp_check}/fixture_$fixture";

	if (!-d $dir)
	{
		system("$src/test/tools/fixture.sh", 'unpack', "$src/test/fixtures/$fixture", $dir) == 0
		  or die "could not unpack fixture $fixture";
	}
	return $dir;
}

# The commit TSs of a fixture's messages, in order.
sub _commit_tss
{
	my ($fixture) = @_;
	open my $file, '<', fixture_dir($fixture) . '/messages.tsv' or die $!;
	my @tss = map { /^(\d+)\t/ ? $1 : () } <$file>;
	close $file;
	return @tss;
}

sub last_ts { return (_commit_tss(@_))[-1]; }

sub message_count { return scalar(my @all = _commit_tss(@_)); }

# The commit TSs at which the fixture tells the state of every table.
sub timeline
{
	my ($fixture) = @_;
	my (%seen, @tss);
	open my $file, '<', fixture_dir($fixture) . '/timeline.tsv' or die $!;
	while (<$file>)
	{
		push @tss, $1 if /^(\d+)\t/ && !$seen{$1}++;
	}
	close $file;
	return @tss;
}

# ---- brokers ----

# librdkafka's mock cluster. Topics: 'NAME' or 'NAME:PARTITIONS'.
sub mock_broker { return MagicTest::Broker->new_mock(@_); }

# A real Kafka broker.
sub kafka_broker { return MagicTest::Broker->new_kafka(@_); }

sub kafka_source
{
	my ($broker, $topic, %params) = @_;
	$params{protocol} //= 'tidb-binlog';
	$params{time_zone} //= 'UTC';
	return 'kafka://' . $broker->bootstrap . "/$topic?"
	  . join('&', map { "$_=$params{$_}" } sort keys %params);
}

sub file_source
{
	my ($dir, %params) = @_;
	$params{protocol} //= 'tidb-binlog';
	$params{time_zone} //= 'UTC';
	return "file://$dir?" . join('&', map { "$_=$params{$_}" } sort keys %params);
}

# An empty directory for a file source, below magic.file_source_dirs.
sub file_feed_dir
{
	my ($name) = @_;
	my $dir = "${PostgreSQL::Test::Utils::tmp_check}/files_$name";
	mkpath($dir);
	return $dir;
}

sub _produce_command
{
	my ($broker, $topic, $input, %options) = @_;
	my @command = ("$tools/produce", '--brokers', $broker->bootstrap, '--topic', $topic, '--quiet');

	for my $name (sort keys %options)
	{
		push @command, "--$name";
		push @command, $options{$name} unless $name =~ /^(abort|progress)$/;
	}
	return (@command, $input);
}

# Send a fixture's messages, or those of a file, and wait until the broker has them. Options as
# those of tools/produce.c: rate, from, upto, partition, transaction, abort.
sub produce
{
	my ($broker, $topic, $fixture, %options) = @_;
	my $file = $fixture =~ m{/} ? $fixture : fixture_dir($fixture) . '/messages.tsv';

	system(_produce_command($broker, $topic, $file, %options)) == 0
	  or die "could not produce $fixture";
	return;
}

# The same in the background; returns a process id to wait for.
sub start_produce
{
	my ($broker, $topic, $fixture, %options) = @_;
	my $file = $fixture =~ m{/} ? $fixture : fixture_dir($fixture) . '/messages.tsv';
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		exec(_produce_command($broker, $topic, $file, %options)) or POSIX::_exit(127);
	}
	return $pid;
}

# Send messages given as bytes (or as [commit TS, bytes]).
sub produce_lines
{
	my ($broker, $topic, @values) = @_;
	my $text = join '', map {
		my ($ts, $value) = ref $_ ? @$_ : (0, $_);
		"$ts\t0\t\t" . unpack('H*', $value) . "\n"
	} @values;

	IPC::Run::run([ _produce_command($broker, $topic, '-') ], '<', \$text) or die 'could not produce';
	return;
}

# ---- feeds ----

sub create_feed
{
	my ($node, $name, $source, %options) = @_;
	my $arguments = join '', map {
		my $value = $options{$_};
		$value =~ s/'/''/g;
		", $_ => '$value'"
	} sort keys %options;

	$node->safe_psql('postgres', "SELECT magic.create_feed('$name', '$source'$arguments)");
	return;
}

# Run a query, over again while the server restarts. Dies after the limit. A psql that is refused a
# connection may be gone before the query is written to it: IPC::Run then dies of the broken pipe.
sub poll_sql
{
	my ($node, $sql, $limit) = @_;
	my $end = time + ($limit // 120);

	for (;;)
	{
		my ($out, $err) = ('', '');
		my $status = eval { $node->psql('postgres', $sql, stdout => \$out, stderr => \$err) };
		die $@ if $@ && $@ !~ /Broken pipe/;
		return $out if defined $status && $status == 0;
		die "query failed: $sql\n$err" if defined $status && $status != 2 && $status != 0
		  && $err !~ /terminating connection|server closed|recovery mode|starting up|shutting down/;
		die "server not reached in time: $err" if time > $end;
		usleep(50_000);
	}
}

sub wait_up { my ($node) = @_; poll_sql($node, 'SELECT 1'); return; }

# Kill a server with -9 and start it again; its last processes may still be going.
sub kill_and_start
{
	my ($node) = @_;
	my $pid = $node->{_pid};
	my $log = $node->logfile;

	$node->kill9;
	_wait_gone($pid);
	for (1 .. 100)
	{
		if ($node->run_log([ 'pg_ctl', '-w', '-D', $node->data_dir, '-l', $log, 'start' ]))
		{
			$node->_update_pid(1);
			return;
		}
		usleep(200_000);
	}
	die 'the server does not start again: ' . slurp_file($log);
}

sub feed_column
{
	my ($node, $feed, $column) = @_;
	return poll_sql($node, "SELECT $column FROM magic.feeds WHERE name = '$feed'");
}

sub feed_state { my ($node, $feed) = @_; return feed_column($node, $feed, 'state'); }

# Wait until the feed has applied everything up to ts, over restarts of the server. Dies at once if
# the feed rests in an error.
sub wait_applied
{
	my ($node, $feed, $ts, $limit) = @_;
	my $end = time + ($limit // 180);

	for (;;)
	{
		my ($applied, $state, $error) = split /\|/,
		  feed_column($node, $feed, "coalesce(applied_ts, 0), state, coalesce(last_error, '')"), 3;
		return if defined $applied && $applied >= $ts;
		die "feed $feed rests in error: $error" if $state eq 'error';
		die "feed $feed is $state at $applied instead of $ts: $error" if time > $end;
		usleep(50_000);
	}
}

sub wait_state
{
	my ($node, $feed, $wanted, $limit) = @_;
	my $end = time + ($limit // 120);

	for (;;)
	{
		my $state = feed_state($node, $feed);
		return if $state eq $wanted;
		die "feed $feed is $state instead of $wanted: " . feed_column($node, $feed, 'last_error')
		  if time > $end;
		usleep(50_000);
	}
}

# Wait until the feed rests in `stopped`, having applied everything up to ts.
sub wait_stopped_at
{
	my ($node, $feed, $ts, $limit) = @_;

	wait_applied($node, $feed, $ts, $limit);
	wait_state($node, $feed, 'stopped', $limit);
	return;
}

# The process id of the feed's worker; waits for it.
sub worker_pid
{
	my ($node, $feed) = @_;
	my $end = time + 120;

	for (;;)
	{
		my $pid = feed_column($node, $feed, 'worker_pid');
		return $pid if $pid;
		die "feed $feed has no worker" if time > $end;
		usleep(20_000);
	}
}

# kill -9 the worker; returns when the server has seen it and accepts connections again.
sub kill_worker
{
	my ($node, $feed) = @_;
	my $pid = worker_pid($node, $feed);

	kill 'KILL', $pid;
	_wait_gone($pid);
	wait_up($node);
	return $pid;
}

sub _wait_gone
{
	my ($pid) = @_;
	usleep(10_000) while kill(0, $pid);
	return;
}

# ---- test points (servers of test_build with -DMAGIC_TEST_POINTS) ----

# Make the worker kill itself with -9 when it arrives at a point for the count-th time.
sub arm_point
{
	my ($node, $point, $count) = @_;
	my $path = $node->data_dir . '/magic_test_point';

	unlink "$path.hit";
	append_to_file("$path.new", "$point $count\n");
	rename "$path.new", $path or die $!;
	return;
}

# What was hit ("POINT TEXT"), or undef.
sub point_hit
{
	my ($node) = @_;
	my $path = $node->data_dir . '/magic_test_point.hit';

	return -e $path ? slurp_file($path) : undef;
}

# ---- comparison ----

# Every row of every table against the fixture, value for value, at its end or at a commit TS of its
# timeline; one assertion, or none if quiet. Prints what differs; true if all was equal. tables: only
# these, as DATABASE.TABLE.
sub compare_fixture
{
	my ($node, $fixture, %options) = @_;
	my $what = $options{name} // "every row of every table of $fixture is as TiDB had it"
	  . ($options{at} ? " at $options{at}" : '');
	my @command = ('/usr/bin/python3', "$src/test/tools/fixture.py", 'compare', fixture_dir($fixture),
		'--connect', $node->connstr('postgres'));

	push @command, '--at', $options{at} if $options{at};
	push @command, map { ('--table', $_) } @{ $options{tables} // [] };
	my $output = '';
	my $ok = IPC::Run::run(\@command, '>&', \$output);
	return $ok if $options{quiet};
	ok($ok, $what) or diag($output);
	return $ok;
}

# magic.verify of every table USING magic finds nothing; one assertion.
sub verify_tables
{
	my ($node, $name) = @_;
	my $problems = $node->safe_psql('postgres', <<'SQL');
SELECT c.oid::regclass, v.*
  FROM pg_class c JOIN pg_am a ON a.oid = c.relam AND a.amname = 'magic',
       magic.verify(c.oid::regclass) v
 WHERE c.relkind = 'r'
SQL
	is($problems, '', $name // 'magic.verify finds no problem in any table');
	return;
}

# A recorded stream from one commit TS of its timeline to the next and to its end, then dropped; compared at each.
sub follow_timeline
{
	my ($node, $fixture, $source) = @_;
	my @cuts = timeline($fixture);
	my $first = shift @cuts;

	create_feed($node, $fixture, $source, apply_interval => '10 milliseconds', stop_ts => $first);
	for my $ts ($first, @cuts)
	{
		$node->safe_psql('postgres', "SELECT magic.resume('$fixture', stop_ts => $ts)") if $ts != $first;
		wait_stopped_at($node, $fixture, $ts);
		is(feed_column($node, $fixture, 'applied_ts'), $ts, "$fixture: applied up to $ts");
		compare_fixture($node, $fixture, at => $ts);
	}
	$node->safe_psql('postgres', "SELECT magic.resume('$fixture')");
	wait_applied($node, $fixture, last_ts($fixture));
	compare_fixture($node, $fixture);
	verify_tables($node);
	$node->safe_psql('postgres', "SELECT magic.drop_feed('$fixture', drop_tables => true)");
	return;
}

# A recorded stream from its start to its end at one apply interval, then dropped; compared.
sub follow_at_once
{
	my ($node, $fixture, $source, $interval) = @_;

	create_feed($node, $fixture, $source, apply_interval => $interval);
	wait_applied($node, $fixture, last_ts($fixture));
	compare_fixture($node, $fixture, name => "$fixture with an interval of $interval");
	$node->safe_psql('postgres', "SELECT magic.drop_feed('$fixture', drop_tables => true)");
	return;
}

package MagicTest::Broker;

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;

my @brokers;
my $count = 0;

sub new_mock
{
	my ($class, @topics) = @_;
	my $self = bless { kind => 'mock', in => '', out => '', err => '' }, $class;

	$self->{run} = IPC::Run::start([ "$ENV{MAGIC_TOOLS}/mock_broker", '--with-parent', @topics ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err});
	$self->{run}->pump until $self->{out} =~ s/^(\S+)\n//;
	$self->{bootstrap} = $1;
	$self->{pid} = $self->{run}{KIDS}[0]{PID};
	push @brokers, $self;
	return $self;
}

sub new_kafka
{
	my ($class, %options) = @_;
	my $self = bless { kind => 'kafka', heap => $options{heap} // '384m' }, $class;

	$self->{dir} = "${PostgreSQL::Test::Utils::tmp_check}/kafka" . ++$count;
	push @brokers, $self;
	$self->start;
	return $self;
}

sub _kafka
{
	my ($self, $action) = @_;
	local $ENV{KAFKA_HEAP} = $self->{heap};
	my $out = '';

	# Through a file: the broker would keep a pipe open.
	my $file = "$self->{dir}.out";
	system("$ENV{MAGIC_SRC}/test/tools/kafka.sh $action '$self->{dir}' >'$file'") == 0
	  or die "kafka.sh $action failed";
	$out = slurp_file($file);
	chomp $out;
	return $out;
}

sub bootstrap { my ($self) = @_; return $self->{bootstrap}; }
sub start { my ($self) = @_; $self->{bootstrap} = $self->_kafka('start'); return; }

# A command of mock_broker.c.
sub command
{
	my ($self, $line) = @_;

	$self->{out} = '';
	$self->{in} .= "$line\n";
	$self->{run}->pump until $self->{out} =~ /\n/;
	$self->{out} =~ /^ok/ or die "mock broker: $self->{out}";
	return;
}

sub _signal
{
	my ($self, $signal, $action) = @_;
	$self->{kind} eq 'kafka' ? $self->_kafka($action) : kill($signal, $self->{pid});
	return;
}

sub kill9 { my ($self) = @_; $self->_signal('KILL', 'kill'); return; }
sub freeze { my ($self) = @_; $self->_signal('STOP', 'freeze'); return; }
sub thaw { my ($self) = @_; $self->_signal('CONT', 'thaw'); return; }

sub stop
{
	my ($self) = @_;

	if ($self->{kind} eq 'kafka')
	{
		$self->_kafka('stop');
	}
	elsif ($self->{run})
	{
		$self->{run}->kill_kill;
		delete $self->{run};
	}
	return;
}

END
{
	my $status = $?;
	for my $broker (@brokers)
	{
		eval { $broker->{kind} eq 'kafka' ? $broker->_kafka('kill') : $broker->stop };
	}
	$? = $status;
}

1;
