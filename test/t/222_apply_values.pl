# Proves the value policies: what PostgreSQL cannot hold is replaced and counted, or stops the feed;
# in a key nothing is replaced. And the types whose text is read in a time zone.

use strict;
use warnings;

use lib $ENV{MAGIC_SRC} . '/test/t';
use BinlogWriter;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('apply_values');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# A stream of its own: DDL, then one transaction of one row; returns the feed's name once it rests or
# has applied it.
my $n = 0;

sub stream
{
	my ($definition, $columns, $options, $params) = @_;
	my $name = 'f' . ++$n;
	my $dir  = file_feed_dir($name);
	my $w    = BinlogWriter->new($dir);

	$w->ddl($name, "create table t ($definition)");
	$w->dml([ insert => "$name.t", @$columns ]);
	create_feed($node, $name, file_source($dir, time_zone => 'UTC', %{ $params // {} }),
		apply_interval => '20 ms', %{ $options // {} });
	for (1 .. 600)
	{
		my ($state, $applied) =
		  split /\|/, feed_column($node, $name, 'state, coalesce(applied_ts, 0)');
		return $name if $state eq 'error' || $applied >= $w->last_ts;
		select undef, undef, undef, 0.05;
	}
	die "feed $name neither rests nor has applied";
}

sub rests_with
{
	my ($feed, $pattern, $what) = @_;
	is(feed_state($node, $feed), 'error', $what);
	like(feed_column($node, $feed, 'last_error'), $pattern, "$what: the message");
	like(feed_column($node, $feed, 'last_error_hint'), qr/./, "$what: a next step");
	return;
}

sub warnings_of { my ($feed) = @_; return sql("select warnings from magic.feed_tables where feed = '$feed'"); }

my $dates = 'id int primary key, d date not null, t datetime(3) not null, s timestamp null';
my @zero = ([ id => int => 1 ], [ d => date => '2024-00-10' ],
	[ t => datetime => '0000-00-00 00:00:00.000' ], [ s => timestamp => '0000-01-01 00:00:00' ]);

my $f = stream($dates, \@zero);
is(sql("select d, t, s from $f.t"), '||', 'zero, partial and year 0 dates are NULL, whatever NOT NULL said');
is(warnings_of($f), '{"zero_date": 3}', 'and counted');
$f = stream($dates, \@zero, { on_zero_date => '-infinity' });
is(sql("select d, t, s from $f.t"), '-infinity|-infinity|-infinity', 'or -infinity');
$f = stream($dates, \@zero, { on_zero_date => 'error' });
rests_with($f, qr/date "2024-00-10" in column "d" cannot be stored/, 'or an error');

$f = stream('d date primary key', [ [ d => date => '0000-00-00' ] ]);
is(sql("select d from $f.t"), '-infinity', 'the zero date in a key is -infinity');
$f = stream('d date primary key', [ [ d => date => '2024-00-00' ] ]);
rests_with($f, qr/in key column "d" cannot be stored/, 'a partial date in a key is an error');

my @text = ([ id => int => 1 ], [ v => varchar => "a\0b\xFFc" ], [ j => json => '{"a": "\u0000\ud800x", "b": "\\\\u0000"}' ]);
$f = stream('id int primary key, v varchar(9), j json', \@text);
is(sql("select encode(convert_to(v, 'UTF8'), 'hex') from $f.t"), '61efbfbd62efbfbd63',
	'U+0000 and bad bytes are U+FFFD');
is(sql("select j->>'b' from $f.t"), '\u0000', 'an escaped backslash before u0000 is no escape');
is(sql("select j->>'a' = U&'\\FFFD\\FFFDx' from $f.t"), 't', 'in JSON, too');
is(warnings_of($f), '{"bad_text": 2}', 'counted once a value');
$f = stream('id int primary key, v varchar(9), j json', \@text, { on_bad_text => 'error' });
rests_with($f, qr/text in column "v" holds U\+0000/, 'bad text may be an error');
$f = stream('v varchar(9) primary key', [ [ v => varchar => "\xFF" ] ]);
rests_with($f, qr/text in key column "v"/, 'bad text in a key is an error');

$f = stream("id int primary key, e enum('a','b'), s set('x','y','z')",
	[ [ id => int => 1 ], [ e => enum => 2 ], [ s => set => 5 ] ]);
is(sql("select e, s from $f.t"), 'b|x,z', 'ENUM and SET by the names of the definition');

$f = stream('id bigint unsigned primary key, b bit(64), c bit(3), y year',
	[ [ id => 'bigint unsigned' => 18446744073709551615 ], [ b => bit => 18446744073709551615 ],
		[ c => bit => 5 ], [ y => year => 0 ] ]);
is(sql("select id, b, c, y from $f.t"), '18446744073709551615|18446744073709551615|5|0',
	'unsigned maximum');
is(sql("select string_agg(format_type(atttypid, atttypmod), ',' order by attnum) from pg_attribute
	where attrelid = '$f.t'::regclass and attnum > 0"), 'numeric(20,0),numeric(20,0),bigint,smallint',
	'their types');

# A time zone with summer time: instants, and the types without a zone untouched.
$f = stream('id int primary key, s timestamp, d datetime',
	[ [ id => int => 1 ], [ s => timestamp => '2024-07-01 12:00:00' ], [ d => datetime => '2024-07-01 12:00:00' ] ],
	{}, { time_zone => 'America/New_York' });
is(sql("set timezone = 'UTC'; select s, d from $f.t"), '2024-07-01 16:00:00+00|2024-07-01 12:00:00',
	'TIMESTAMP is read in the source\'s time zone, DATETIME is not');

$f = stream('a timestamp(3) primary key, b timestamp, c timestamp, d timestamp',
	[ [ a => timestamp => '2023-11-05 01:30:00.500' ], [ b => timestamp => '2023-11-05 02:00:00' ],
		[ c => timestamp => '2023-03-12 01:59:59' ], [ d => timestamp => '2023-03-12 03:00:00' ] ],
	{}, { time_zone => 'America/New_York' });
is(sql("set timezone = 'UTC'; select a, b, c, d from $f.t"),
	'2023-11-05 05:30:00.5+00|2023-11-05 07:00:00+00|2023-03-12 06:59:59+00|2023-03-12 07:00:00+00',
	'the hour that is repeated is the first one; around both changes of the clock');

$f = stream('id int primary key, t time(2), t2 time(2)',
	[ [ id => int => 1 ], [ t => time => '-838:59:59.00' ], [ t2 => time => '00:00:00.50' ] ]);
is(sql("select t, t2 from $f.t"), '-838:59:59|00:00:00.5', 'TIME is an interval');

# Without a definition the names of ENUM are not known.
my $dir = file_feed_dir('nodef');
my $w   = BinlogWriter->new($dir);
$w->dml([ insert => 'nodef.t', [ id => int => 1 ], [ e => enum => 2 ], [ s => set => 3 ] ]);
create_feed($node, 'nodef', file_source($dir, time_zone => 'UTC'), apply_interval => '20 ms');
wait_applied($node, 'nodef', $w->last_ts);
is(sql('select e, s from nodef.t'), '2|3', 'numbers as text where the names are not known');
is(warnings_of('nodef'), '{"enum_number": 2}', 'counted');

verify_tables($node);
$node->stop;
done_testing();
