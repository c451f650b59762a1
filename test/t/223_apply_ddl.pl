# Proves DDL of the stream: each statement in its place among the rows, in a cut of its own where it
# locks, waiting for readers without stopping the feed; statements that are not understood stop it.

use strict;
use warnings;

use lib $ENV{MAGIC_SRC} . '/test/t';
use BinlogWriter;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('apply_ddl');
my $dir  = file_feed_dir('ddl');
my $w    = BinlogWriter->new($dir);

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub applied { wait_applied($node, 'f', $w->last_ts); return; }
sub ddl { my ($text) = @_; return $w->ddl('shop', $text); }
sub id { my ($id) = @_; return [ id => int => $id ]; }

sub types_of
{
	my ($table) = @_;
	return sql("select string_agg(attname || ' ' || format_type(atttypid, atttypmod) ||
		case when attnotnull then ' not null' else '' end, ', ' order by attnum)
		from pg_attribute where attrelid = '$table'::regclass and attnum > 0 and not attisdropped");
}

sub state_of { my ($table) = @_; return sql("select state from magic.feed_tables where tidb_table = '$table'"); }

$w->ddl(undef, 'create database shop');
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'), apply_interval => '20 ms');
ddl('create table t (id int primary key, v varchar(9) not null, g int as (id + 1) stored)');
$w->dml([ insert => 'shop.t', id(1), [ v => varchar => 'a' ] ]);
applied();
is(sql("select am.amname from pg_class c join pg_am am on am.oid = c.relam where c.oid = 'shop.t'::regclass"),
	'magic', 'tables are columnar');
is(types_of('shop.t'), 'id integer not null, v text not null', 'a generated column is left out');
is(sql("select left_out from magic.feed_tables where tidb_table = 't'"), '{g}', 'and named');

# Columns: rows that exist get the default, rows before and after the statement their own shape.
ddl("alter table t add column n decimal(10,2) not null default 1.5, add column d datetime default '2024-01-02 03:04:05', add column e enum('p','q') not null");
$w->dml([ insert => 'shop.t', id(2), [ v => varchar => 'b' ], [ n => decimal => '7.25' ],
	[ d => datetime => undef ], [ e => enum => 2 ] ]);
applied();
is(sql('select id, v, n, d, e from shop.t order by id'),
	"1|a|1.50|2024-01-02 03:04:05|p\n2|b|7.25||q", 'ADD COLUMN fills existing rows');
ddl('alter table t change column v name varchar(20), drop column d, modify column n decimal(12,3)');
$w->dml([ update => 'shop.t', [ id => int => 1, 1 ], [ name => varchar => 'a', undef ],
	[ n => decimal => '1.500', '2.125' ], [ e => enum => 1, 2 ] ]);
applied();
is(types_of('shop.t'), 'id integer not null, name text, n numeric(12,3), e text not null',
	'CHANGE, DROP, MODIFY')
  or diag(types_of('shop.t'));
is(sql('select id, name, n, e from shop.t order by id'), "1||2.125|q\n2|b|7.250|q", 'with their rows');

# The key: dropped, by a unique index over NOT NULL columns, and changed.
ddl('create table k (a int not null, b int not null, c int)');
$w->dml([ insert => 'shop.k', [ a => int => 1 ], [ b => int => 1 ], [ c => int => 1 ] ]);
applied();
is(sql("select key_columns from magic.feed_tables where tidb_table = 'k'"), '{}', 'no key');
ddl('create unique index u on k (b)');
$w->dml([ update => 'shop.k', [ a => int => 1, 1 ], [ b => int => 1, 2 ], [ c => int => 9, 3 ] ]);
applied();
is(sql("select key_columns from magic.feed_tables where tidb_table = 'k'"), '{b}', 'a unique index is one');
ddl('alter table k add primary key (a)');
applied();
is(sql("select key_columns from magic.feed_tables where tidb_table = 'k'"), '{a}', 'a primary key goes before');
ddl('alter table k drop primary key');
ddl('drop index u on k');
applied();
is(sql("select key_columns from magic.feed_tables where tidb_table = 'k'"), '{}', 'and none again');
is(sql('select * from shop.k'), '1|2|3', 'rows found by each');

# LIKE, RENAME, to another database, DROP.
ddl('create table l like t');
$w->dml([ insert => 'shop.l', id(5), [ name => varchar => 'x' ], [ n => decimal => '0.000' ], [ e => enum => 1 ] ]);
ddl('rename table l to m');
$w->ddl(undef, 'create database arch');
ddl('rename table m to arch.m');
$w->dml([ insert => 'arch.m', id(6), [ name => varchar => 'y' ], [ n => decimal => '0.000' ], [ e => enum => 1 ] ]);
applied();
is(sql('select id, e from arch.m order by id'), "5|p\n6|p", 'LIKE and RENAME keep definition and rows');
$w->ddl(undef, 'drop database arch');
applied();
is(sql("select count(*) from pg_namespace where nspname = 'arch'"), '0', 'DROP DATABASE');

# TRUNCATE: a reader with an older snapshot keeps its rows, and holds nobody up.
ddl('create table tr (id int primary key)');
$w->dml(map { [ insert => 'shop.tr', id($_) ] } 1 .. 100);
applied();
my $reader = $node->background_psql('postgres');
$reader->query_safe('begin isolation level repeatable read');
is($reader->query_safe('select count(*) from shop.tr'), '100', 'a reader');
ddl('truncate table tr');
$w->dml([ insert => 'shop.tr', id(1) ]);
applied();
is(sql('select count(*) from shop.tr'), '1', 'TRUNCATE while a reader is there');
is($reader->query_safe('select count(*) from shop.tr'), '100', 'the reader keeps its snapshot');

# ALTER waits for the reader; rows before it are applied, the state tells whom it waits for.
$w->dml([ insert => 'shop.tr', id(2) ]);
my $before = $w->last_ts;
ddl('alter table tr add column x int');
wait_applied($node, 'f', $before);
my $pid = $reader->query_safe('select pg_backend_pid()');
ok($node->poll_query_until('postgres',
	"select state_detail = 'waiting for lock on tr held by pid $pid' from magic.feeds where name = 'f'"),
	'the state says what the feed waits for') or diag(feed_column($node, 'f', 'state, state_detail'));
is(sql('select count(*) from shop.tr'), '2', 'other readers go on');
$reader->query_safe('commit');
$reader->quit;
applied();
is(types_of('shop.tr'), 'id integer not null, x integer', 'then it is done');

# So do rows for a session that holds the table; nothing of their transaction is seen before.
my $holder = $node->background_psql('postgres');
$holder->query_safe('begin; lock table shop.tr in share mode');
$pid = $holder->query_safe('select pg_backend_pid()');
$w->dml([ insert => 'shop.k', [ a => int => 5 ], [ b => int => 5 ], [ c => int => 5 ] ],
	[ insert => 'shop.tr', id(3), [ x => int => 3 ] ]);
ok($node->poll_query_until('postgres',
	"select state_detail = 'waiting for lock on tr held by pid $pid' from magic.feeds where name = 'f'"),
	'the state says whom rows wait for') or diag(feed_column($node, 'f', 'state, state_detail'));
is(sql('select count(*) from shop.k where a = 5'), '0', 'the other table of the transaction waits with it');
$holder->query_safe('commit');
$holder->quit;
applied();
is(sql('select count(*) from shop.k where a = 5'), '1', 'then both are there');
$w->dml([ delete => 'shop.k', [ a => int => 5 ], [ b => int => 5 ], [ c => int => 5 ] ]);

# A column that leaves the key takes NULL, and a zero date is NULL there.
ddl('create table nn (a int not null, d date not null, unique key ua (a), unique key ud (d))');
ddl('alter table nn modify a int null');
$w->dml([ insert => 'shop.nn', [ a => int => undef ], [ d => date => '2024-01-02' ] ]);
applied();
ddl('drop index ud on nn');
$w->dml([ insert => 'shop.nn', [ a => int => undef ], [ d => date => '0000-00-00' ] ]);
applied();
is(sql('select a, d from shop.nn order by d'), "|2024-01-02\n|", 'columns that left the key are NULL');

# Rows that are not sent.
ddl('alter table tr drop partition p0');
ddl('rename table t to a, tr to b');
applied();
is(state_of('a') . ',' . state_of('b'), 'resync needed,resync needed',
	'what changes rows unseen says so');

# What needs no table here.
ddl('create view vv as select 1');
ddl('create index i on k (c)');
applied();

# Not understood: the statement whole, and the feed rests; nothing after it is applied.
ddl('alter table k frobnicate everything');
$w->dml([ insert => 'shop.k', [ a => int => 2 ], [ b => int => 2 ], [ c => int => 2 ] ]);
wait_state($node, 'f', 'error');
like(feed_column($node, 'f', 'last_error_detail'), qr/alter table k frobnicate everything/,
	'a statement that is not understood is shown whole');
is(sql('select count(*) from shop.k'), '1', 'and nothing goes past it');

# Something depends on a column: the feed rests, the view stays.
my $dir2 = file_feed_dir('dependent');
my $w2   = BinlogWriter->new($dir2);
$w2->ddl('dep', 'create table t (id int primary key, v int)');
create_feed($node, 'd', file_source($dir2, time_zone => 'UTC'), apply_interval => '20 ms');
wait_applied($node, 'd', $w2->last_ts);
sql('create view public.v as select v from dep.t');
$w2->ddl('dep', 'alter table t drop column v');
wait_state($node, 'd', 'error');
like(feed_column($node, 'd', 'last_error'), qr/other objects depend on it/, 'a dependent view stops the feed');
sql("drop view public.v; select magic.resume('d')");
wait_applied($node, 'd', $w2->last_ts);
is(types_of('dep.t'), 'id integer not null', 'resume goes on with the statement');

verify_tables($node);
$node->stop;
done_testing();
