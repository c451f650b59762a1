# DDL of recorded streams is followed: tables are created, dropped, renamed, truncated, copied by LIKE, columns added,
# dropped, changed and renamed, databases created and dropped, in TiDB's spelling and in the client's; every table that
# the text allows to follow has TiDB's rows, what moves rows without sending them is marked, and what is ambiguous stops
# the feed.
use strict;
use warnings;

use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

# DROP and TRUNCATE PARTITION remove rows that no message names.
my %partitioned = map { $_ => 1 } qw(shop.pr shop.pl shop.plc shop.prc shop.prf);

my $node = magic_node('main');
my @followed = grep { !$partitioned{$_} } map {
	my ($name) = m{([^/]*)\.columns$};
	$name =~ s/%(..)/chr(hex($1))/ger
} glob(fixture_dir('ddl') . '/expected/*.columns');

# Row count of every followed table that TiDB had at a commit TS, as "database.table count", sorted.
sub expected_counts
{
	my ($ts) = @_;
	my @lines;

	for (split /\n/, slurp_file(fixture_dir('ddl') . '/timeline.tsv'))
	{
		my ($at, $database, $table, $rows) = split /\t/;
		push @lines, "$database.$table $rows" if $at eq $ts && !$partitioned{"$database.$table"};
	}
	return join("\n", sort @lines);
}

# The same of the tables here.
sub actual_counts
{
	my @tables = split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT format('%s.%s', tidb_database, tidb_table), relation FROM magic.feed_tables
SQL
	my @lines;

	for (@tables)
	{
		my ($name, $relation) = split /\|/, $_, 2;
		next if $partitioned{$name};
		push @lines, "$name " . $node->safe_psql('postgres', "SELECT count(*) FROM $relation");
	}
	return join("\n", sort @lines);
}

sub check_end
{
	my ($what) = @_;

	compare_fixture($node, 'ddl', tables => \@followed, name => "$what: every row of the tables that can be followed");
	is($node->safe_psql('postgres', <<'SQL'), join("\n", sort keys %partitioned), "$what: tables that cannot are marked");
SELECT format('%s.%s', tidb_database, tidb_table) FROM magic.feed_tables
 WHERE state = 'resync needed' ORDER BY format('%s.%s', tidb_database, tidb_table) COLLATE "C"
SQL
	is($node->safe_psql('postgres', <<'SQL'), '', "$what: all others are in order");
SELECT * FROM magic.feed_tables WHERE state NOT IN ('ok', 'resync needed')
SQL
	is(actual_counts(), expected_counts(last_ts('ddl')), "$what: no table too many or too few");
	verify_tables($node, "$what: no damage");
	return;
}

# Files, from one commit TS to a later one.
my @cuts = timeline('ddl');
my $step = long_run() ? 1 : 4;
my @stops = map { $cuts[ $_ * $step ] } 0 .. int($#cuts / $step);

create_feed($node, 'files', file_source(fixture_dir('ddl') . '/files', time_zone => 'UTC'),
	apply_interval => '10 milliseconds', stop_ts => $stops[0]);
for my $ts (@stops)
{
	$node->safe_psql('postgres', "SELECT magic.resume('files', stop_ts => $ts)") if $ts != $stops[0];
	wait_stopped_at($node, 'files', $ts);
	is(actual_counts(), expected_counts($ts), "tables and their rows at $ts");
}
$node->safe_psql('postgres', "SELECT magic.resume('files')");
wait_applied($node, 'files', last_ts('ddl'));
check_end('files');
$node->safe_psql('postgres', "SELECT magic.drop_feed('files', drop_tables => true)");

# Kafka, both spellings.
my $kafka = mock_broker('restored:1', 'original:1');
for my $spelling ('restored', 'original')
{
	produce($kafka, $spelling, fixture_dir('ddl') . '/messages' . ($spelling eq 'original' ? '.original-ddl' : '') . '.tsv');
	create_feed($node, $spelling, kafka_source($kafka, $spelling, time_zone => 'UTC'), apply_interval => '10 milliseconds');
	wait_applied($node, $spelling, last_ts('ddl'));
	check_end("Kafka, $spelling spelling");
	$node->safe_psql('postgres', "SELECT magic.drop_feed('$spelling', drop_tables => true)");
}

# What a reader cannot know is not guessed: RENAME TABLE `twin` TO `archive`.`twin_moved`, with a table twin in both.
create_feed($node, 'hard', file_source(fixture_dir('ddl_hard') . '/files', time_zone => 'UTC'));
wait_state($node, 'hard', 'error');
like(feed_column($node, 'hard', 'last_error'), qr/names table "twin" without its database, and 2 databases have one/,
	'an ambiguous source of RENAME stops the feed');
is($node->safe_psql('postgres', <<'SQL'), "back\nback2\nback3\nnx\npx", 'and what moved rows before it is marked');
SELECT tidb_table FROM magic.feed_tables WHERE state = 'resync needed' ORDER BY tidb_table COLLATE "C"
SQL

# The operator renames by hand, or lets the table be, and passes over the record: the feed goes on.
$node->safe_psql('postgres', "SELECT magic.skip('hard', topic, partition) FROM magic.feed_partitions WHERE feed = 'hard'");
$node->safe_psql('postgres', "SELECT magic.resume('hard')");
wait_applied($node, 'hard', (timeline('ddl_hard'))[-1]);
is(feed_column($node, 'hard', 'state'), 'running', 'skip() passes over it, and the feed goes on to the end');

done_testing();
