# Proves how rows are applied: the order of changes on a key, swaps of keys, tables without a key,
# evidence of divergence, atomic transactions far larger than the memory limit.

use strict;
use warnings;

use lib $ENV{MAGIC_SRC} . '/test/t';
use BinlogWriter;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('apply_rows');
my $dir  = file_feed_dir('rows');
my $w    = BinlogWriter->new($dir);

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub applied { wait_applied($node, 'f', $w->last_ts); return; }

sub id_v { my ($id, $v) = @_; return ([ id => int => $id ], [ v => varchar => $v ]); }

sub moved
{
	my ($id, $new_id, $v, $new_v) = @_;
	return ([ id => int => $id, $new_id ], [ v => varchar => $v, $new_v ]);
}

$w->ddl(undef, 'create database shop');
$w->ddl('shop', 'create table t (id int primary key, v varchar(20))');
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'),
	apply_interval => '20 milliseconds', memory_limit => '16MB');

# One row, in one transaction: insert, delete, insert, update.
$w->dml([ insert => 'shop.t', id_v(1, 'a') ],
	[ delete => 'shop.t', id_v(1, 'a') ],
	[ insert => 'shop.t', id_v(1, 'b') ],
	[ update => 'shop.t', moved(1, 1, 'b', 'c') ],
	[ insert => 'shop.t', id_v(2, 'x') ],
	[ delete => 'shop.t', id_v(2, 'x') ]);
applied();
is(sql('select id, v from shop.t'), '1|c', 'the last image of a key wins');

# Two rows swap their keys over a third value; a chain of key changes.
$w->dml([ insert => 'shop.t', id_v(2, 'two') ], [ insert => 'shop.t', id_v(3, 'three') ]);
$w->dml([ update => 'shop.t', moved(2, 99, 'two', 'two') ],
	[ update => 'shop.t', moved(3, 2, 'three', 'three') ],
	[ update => 'shop.t', moved(99, 3, 'two', 'two') ]);
$w->dml([ update => 'shop.t', moved(1, 4, 'c', 'c') ],
	[ update => 'shop.t', moved(4, 5, 'c', 'd') ]);
applied();
is(sql('select id, v from shop.t order by id'), "2|three\n3|two\n5|d", 'keys swapped and chained');
is(sql("select missing_old, insert_conflict from magic.feed_tables where tidb_table = 't'"),
	'0|0', 'none of that looks like divergence');

# Divergence: an insert of a key that is there replaces; an update and a delete of none are counted.
$w->dml([ insert => 'shop.t', id_v(5, 'again') ]);
$w->dml([ update => 'shop.t', moved(50, 50, 'q', 'r') ], [ delete => 'shop.t', id_v(60, 'z') ]);
applied();
is(sql('select id, v from shop.t where id >= 5 order by id'), "5|again\n50|r",
	'inserts and updates upsert');
is(sql("select missing_old, insert_conflict from magic.feed_tables where tidb_table = 't'"),
	'2|1', 'the evidence of divergence is counted');

# Without a key: equal rows are told apart by number only; NULL equals NULL.
$w->ddl('shop', 'create table k (a int, b varchar(9))');
my @row  = ([ a => int => 1 ], [ b => varchar => undef ]);
my @other = ([ a => int => undef ], [ b => varchar => 'x' ]);
$w->dml(([ insert => 'shop.k', @row ]) x 3, ([ insert => 'shop.k', @other ]) x 2);
$w->dml([ delete => 'shop.k', @row ], [ insert => 'shop.k', @other ], [ delete => 'shop.k', @other ]);
applied();
is(sql('select a, b, count(*) from shop.k group by 1, 2 order by 1'), "1||2\n|x|2",
	'one event deletes exactly one of equal rows');
$w->dml(([ delete => 'shop.k', @other ]) x 3);
$w->dml([ update => 'shop.k', [ a => int => 1, 7 ], [ b => varchar => undef, 'y' ] ]);
applied();
is(sql('select a, b, count(*) from shop.k group by 1, 2 order by 1'), "1||1\n7|y|1",
	'an update changes exactly one of equal rows');
is(sql("select key_columns, missing_old from magic.feed_tables where tidb_table = 'k'"), '{}|1',
	'a delete that finds no row is counted');

# A table first seen in rows of files has no known key; set_key makes one.
$w->dml([ insert => 'shop.late', id_v(1, 'a') ], [ insert => 'shop.late', id_v(2, 'b') ]);
applied();
is(sql("select state from magic.feed_tables where tidb_table = 'late'"), 'key unknown',
	'files do not tell the key');
sql("select magic.set_key('shop.late', '{id}')");
is(sql("select state, key_columns from magic.feed_tables where tidb_table = 'late'"), 'ok|{id}',
	'set_key ends that');
$w->dml([ update => 'shop.late', moved(1, 1, 'not what is there', 'c') ]);
applied();
is(sql('select id, v from shop.late order by id'), "1|c\n2|b", 'rows are found by the new key');

# One transaction larger than the memory limit: seen whole or not at all, by bounded memory.
my $n = long_run() ? 200_000 : 30_000;
my $filler = 'x' x 1000;
sql("select magic.pause('f')");
$w->dml(map { [ insert => 'shop.t', id_v(1000 + $_, $filler) ] } 1 .. $n);
sql("select magic.resume('f')");
my $end = time + 300;
my %seen;
while (time < $end && !$seen{$n})
{
	$seen{ sql('select count(*) from shop.t where id > 1000') } = 1;
}
delete $seen{0};
is(join(',', sort { $a <=> $b } keys %seen), $n, 'a large transaction is seen whole or not at all');
cmp_ok(sql("select memory_bytes from magic.feeds where name = 'f'"), '<', 64 * 1024 * 1024,
	'memory stays bounded');

verify_tables($node);
$node->stop;
done_testing();
