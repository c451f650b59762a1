# Proves how rows are applied: the order of changes on a key, swaps of keys, tables without a key,
# evidence of divergence, atomic transactions far larger than the memory limit.

use strict;
use warnings;

use lib $ENV{MAGIC_SRC} . '/test/t';
use BinlogWriter;
use IPC::Run ();
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

# An insert in the way of a row, and its delete, in one transaction: the row goes and is counted.
$w->dml([ insert => 'shop.t', id_v(50, 's') ], [ delete => 'shop.t', id_v(50, 's') ]);
applied();
is(sql('select id, v from shop.t where id >= 50 order by id'), '', 'insert and delete leave no row');
is(sql("select missing_old, insert_conflict from magic.feed_tables where tidb_table = 't'"),
	'2|2', 'and the row in the way is counted');

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

# The key changes while the worker's transaction waits for the table.
$w->ddl('shop', 'create table rekey (a int primary key, b int not null)');
$w->dml([ insert => 'shop.rekey', [ a => int => 1 ], [ b => int => 2 ] ]);
applied();
my $setter = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ],
	'<', \my $setter_in, '>', \my $setter_out, '2>', \my $setter_err, IPC::Run::timeout(120));
$setter_in = "begin; select magic.set_key('shop.rekey', '{b}'), 'done';\n";
$setter->pump until $setter_out =~ /done/;
$w->dml([ insert => 'shop.t', id_v(6, 'six') ],
	[ update => 'shop.rekey', [ a => int => 1, 3 ], [ b => int => 2, 2 ] ]);
$node->poll_query_until('postgres',
	"select exists (select from pg_locks where relation = 'shop.rekey'::regclass and not granted)");
$setter_in .= "commit;\n\\q\n";
$setter->finish;
applied();
is(sql('select a, b from shop.rekey'), '3|2', 'set_key while the feed writes');
is(sql("select key_columns from magic.feed_tables where tidb_table = 'rekey'"), '{b}', 'the new key');

# Rows run ahead of their DDL: a new column is added as they describe it, its DDL finds it; a column
# that proves UNSIGNED is widened.
$w->dml([ insert => 'shop.late', id_v(3, 'c'), [ u => bigint => 5 ] ]);
$w->dml([ insert => 'shop.late', id_v(4, 'd'), [ u => 'bigint unsigned' => 18446744073709551615 ] ]);
applied();
is(sql('select id, u from shop.late order by id'), "1|\n2|\n3|5\n4|18446744073709551615",
	'a column ahead of its DDL, and wider than it looked');
is(sql("select warnings->>'unknown_column' from magic.feed_tables where tidb_table = 'late'"), '1',
	'counted');
$w->ddl('shop', 'alter table late add column u bigint unsigned');
$w->dml([ insert => 'shop.late', id_v(5, 'e'), [ u => 'bigint unsigned' => 6 ] ]);
applied();
is(sql("select u, pg_typeof(u) from shop.late where id = 5"), '6|numeric', 'its DDL finds it');

# One transaction larger than the memory limit: seen whole or not at all, by bounded memory.
my $n = long_run() ? 200_000 : 30_000;
my $filler = 'x' x 1000;
sql("select magic.pause('f')");
$w->dml(map { [ insert => 'shop.t', id_v(1000 + $_, $filler) ] } 1 .. $n);
sql("select magic.resume('f')");
my $end = time + 600;
my %seen;
while (time < $end && !$seen{$n})
{
	$seen{ sql('select count(*) from shop.t where id > 1000') } = 1;
}
delete $seen{0};
is(join(',', sort { $a <=> $b } keys %seen), $n, 'a large transaction is seen whole or not at all');
cmp_ok(sql("select memory_bytes from magic.feeds where name = 'f'"), '<', 64 * 1024 * 1024,
	'memory stays bounded');

# A row that a session has locked: the feed says that it waits, and can be paused meanwhile.
my $locker = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ],
	'<', \my $locker_in, '>', \my $locker_out, '2>', \my $locker_err, IPC::Run::timeout(120));
$locker_in = "begin; select 'has', 'it' from shop.t where id = 5 for update;\n";
$locker->pump until $locker_out =~ /has/;
$w->dml([ delete => 'shop.t', id_v(5, 'again') ]);
wait_state($node, 'f', 'waiting');
is(feed_column($node, 'f', 'state_detail'), 'waiting for a lock on a row of "shop"."t"', 'where');
sql("select magic.pause('f')");
wait_state($node, 'f', 'paused');
$locker_in .= "rollback;\n\\q\n";
$locker->finish;
sql("select magic.resume('f')");
applied();
is(sql('select count(*) from shop.t where id = 5'), '0', 'the locked row is deleted in the end');

# on_missing = stop: the first sign of divergence.
sql("select magic.alter_feed('f', on_missing => 'stop')");
$w->dml([ delete => 'shop.t', id_v(999_999_999, 'nowhere') ]);
wait_state($node, 'f', 'error');
like(feed_column($node, 'f', 'last_error'), qr/a row of table "shop"."t" that the stream changes does not exist/,
	'on_missing = stop');
sql("select magic.alter_feed('f', on_missing => 'count'); select magic.resume('f')");
applied();

# A dump with its feed is restored: tables, registry and position of one snapshot; the feed goes on.
sql("select magic.pause('f')");
wait_state($node, 'f', 'paused');
my $rows = sql('select count(*), sum(id) from shop.t');
my $dump = "${PostgreSQL::Test::Utils::tmp_check}/dump.sql";
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
sql("select magic.drop_feed('f', drop_tables => true)");
sql('create database restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ],
	'restore');
is($node->safe_psql('restored', 'select count(*), sum(id) from shop.t'), $rows, 'the rows are there');
$w->dml([ insert => 'shop.t', id_v(888_888_888, 'after the restore') ]);
$node->safe_psql('restored', "select magic.resume('f')");
ok($node->poll_query_until('restored', "select v = 'after the restore' from shop.t where id = 888888888"),
	'the restored feed goes on from its position');

verify_tables($node);
$node->stop;
done_testing();
