# The comparison that other tests rely on finds what differs: a database with TiDB's rows is equal, and
# each single change of a value, row, column, type or table is reported; so is a wrong checksum at a
# commit TS of the timeline.
use strict;
use warnings;

use MagicTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tool = source_dir() . '/test/tools/fixture.py';
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--no-locale', '-E', 'UTF8' ]);
$node->start;

# Output of a comparison; the exit status must be as told.
sub compare
{
	my ($database, $fixture, $status, $name, @options) = @_;
	my $output = '';

	IPC::Run::run([ '/usr/bin/python3', $tool, 'compare', fixture_dir($fixture), '--connect',
			$node->connstr($database), @options ], '>&', \$output);
	is($? >> 8, $status, $name) or diag($output);
	return $output;
}

sub load
{
	my ($database, $fixture) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	my ($sql) = run_command([ '/usr/bin/python3', $tool, 'sql', fixture_dir($fixture) ]);
	$node->safe_psql($database, "$sql\n", on_error_stop => 1);
	return;
}

foreach my $fixture (qw(bank keys types ddl))
{
	load($fixture, $fixture);
	compare($fixture, $fixture, 0, "$fixture: TiDB's own rows are equal");
}

foreach my $fixture (qw(bank keys))
{
	my @tss = timeline($fixture);
	compare($fixture, $fixture, 0, "$fixture: and have the checksums of the last time", '--at', $tss[-1]);
	compare($fixture, $fixture, 1, "$fixture: but not those of an earlier one", '--at', $tss[-2]);
	compare($fixture, $fixture, 2, "$fixture: other times are refused", '--at', 1);
}

# SQL, what the report must say
my @values = (
	[ 'UPDATE types.t_int SET bu = bu - 1 WHERE id = 1',
		qr/id=1: "bu" is 18446744073709551614, not 18446744073709551615/ ],
	[ 'UPDATE types.t_float SET d = 0.5 WHERE id = 1', qr/id=1: "d" is 0\.5, not NULL/ ],
	[ "UPDATE types.t_float SET d = d * -1 WHERE d = 0", qr/"d" is -0, not 0/ ],
	[ "UPDATE types.t_decimal SET d204 = d204 + 0.0001 WHERE id = 3",
		qr/"d204" is 281845790962773\.7085, not 281845790962773\.7084/ ],
	[ "UPDATE types.t_datetime SET dt6 = dt6 + '1 microsecond' WHERE id = 4", qr/id=4: "dt6"/ ],
	[ "UPDATE types.t_timestamp SET ts0 = ts0 + '8 hours' WHERE id = 4", qr/id=4: "ts0"/ ],
	[ "UPDATE types.t_time SET tm0 = tm0 + '1 microsecond' WHERE id = 5", qr/id=5: "tm0" is / ],
	[ "UPDATE types.t_text SET v = v || ' ' WHERE id = 1", qr/id=1: "v"/ ],
	[ "UPDATE types.t_binary SET b8 = b8 || '\\x00' WHERE id = 1", qr/id=1: "b8"/ ],
	[ "UPDATE types.t_bit SET b9 = b9 + 1 WHERE id = 1", qr/id=1: "b9" is 01f3, not 01f2/ ],
	[ "UPDATE types.t_enum SET e = '1' WHERE id = 1", qr/id=1: "e" is 1, not small/ ],
	[ q(UPDATE types.t_json SET j = '{"a": 1.0}' WHERE id = 3), qr/id=3: "j" is \{"a": 1\.0\}, not null/ ],
	[ "DELETE FROM types.t_time WHERE id = 3", qr/missing row \(3, / ],
	[ "INSERT INTO types.t_zero SELECT 77, d, dt, dt6, ts, ts3, y, dn, dtn FROM types.t_zero LIMIT 1",
		qr/extra row   \(77, / ],
	[ "INSERT INTO types.t_int SELECT * FROM types.t_int WHERE id = 1", qr/extra row   \(1, / ]);
my @definitions = (
	[ "ALTER TABLE types.t_bit ALTER b1 TYPE int", qr/"b1" is of type integer, not bigint/ ],
	[ "ALTER TABLE types.t_enum DROP s", qr/there is no column "s"/ ],
	[ "ALTER TABLE types.t_gen ADD vir bigint", qr/column "vir" is not expected/ ],
	[ "CREATE TABLE types.other (a int)", qr/types\.other: 0 rows\n +TiDB has no such table/ ],
	[ "DROP TABLE types.t_summer", qr/types\.t_summer: 0 rows\n +there is no such table/ ]);

foreach my $changes (\@values, \@definitions)
{
	$node->safe_psql('postgres', 'CREATE DATABASE changed TEMPLATE types');
	$node->safe_psql('changed', join(';', map { $_->[0] } @$changes));
	my $report = compare('changed', 'types', 1, 'changes are noticed');
	like($report, $_->[1], "reported: $_->[0]") foreach @$changes;
	$node->safe_psql('postgres', 'DROP DATABASE changed');
}

done_testing();
