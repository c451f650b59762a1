# Proves where rows go: filter, routes, names kept, folded, shortened; and where they never go: taken
# names, protected schemas, relations that the feed neither made nor adopted.

use strict;
use warnings;

use lib $ENV{MAGIC_SRC} . '/test/t';
use BinlogWriter;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('apply_names');

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub row { my ($id) = @_; return [ id => int => $id ]; }

sub table
{
	my ($w, $database, $name, $id) = @_;
	$w->ddl($database, "create table `$name` (id int primary key)");
	$w->dml([ insert => "$database.$name", row($id) ]);
	return;
}

# ---- names as they are ----
my $dir = file_feed_dir('names');
my $w   = BinlogWriter->new($dir);
my $long = 'n' x 60 . "\xC3\xA9\xC3\xA9\xC3\xA9";

sql('create schema taken; create table taken.t (mine text); insert into taken.t values (1)');
sql('create table public.p (id int)');
table($w, 'Shop', 'MixedCase', 1);
table($w, 'Shop', 'quote"d', 2);
table($w, 'Shop', $long, 3);
table($w, 'taken', 't', 4);
table($w, 'public', 'p', 5);
table($w, 'magic', 'feed', 6);
table($w, 'pg_catalog', 'x', 7);
table($w, 'Shop', 'tmp_1', 8);
table($w, 'routed', 'a', 9);
table($w, 'routed', 'b', 10);
$w->ddl('Shop', 'create table sys (id int primary key, ctid int, xmin int)');
$w->dml([ insert => 'shop.SYS', row(11), [ ctid => int => 12 ], [ XMIN => int => 13 ] ]);
create_feed($node, 'keep', file_source($dir, time_zone => 'UTC'), apply_interval => '20 ms',
	tables => '*.*, !*.tmp_*, !left_out.*', routes => 'routed.a -> Other."x y", routed.* -> "R_{schema}"."t_{table}"');
wait_applied($node, 'keep', $w->last_ts);

is(sql('select * from "Shop"."MixedCase"'), '1', 'TiDB\'s spelling is kept');
is(sql('select * from "Shop"."quote""d"'), '2', 'a name with a quote');
like(sql("select relname from pg_class where relname like 'nnnn%' and relkind = 'r'"),
	qr/^n{54}~[0-9a-f]{8}$/, 'a long name is cut at a character and ends in a hash');
is(sql('select * from taken.t'), '1', 'a relation with a taken name is never written');
is(sql("select tidb_database, state, relation is null from magic.feed_tables where state <> 'ok'
	order by 1"),
	"magic|error|t\npg_catalog|error|t\npublic|error|t\ntaken|error|t",
	'taken names and protected schemas are errors of the table, the feed goes on');
like(sql("select state_detail from magic.feed_tables where tidb_database = 'taken'"),
	qr/adopt_table/, 'the detail names the next step');
is(sql("select count(*) from magic.feed_tables where tidb_table = 'tmp_1'"), '0',
	'the filter leaves out');
is(sql('select * from "Other"."x y" union all select * from "R_routed"."t_b" order by 1'), "9\n10",
	'routes');
is(sql("select count(*) from pg_attribute where attrelid = '\"Shop\".sys'::regclass and attnum > 0
	and attname ~ '^(ctid|xmin)~'"), '2', 'columns named like system columns');
is(sql('select id from "Shop".sys'), '11', 'TiDB compares names without regard to case');

# ---- a database that the feed leaves out or routes elsewhere says nothing about a schema here ----
sql('create schema left_out; create schema routed');
$w->ddl(undef, 'drop database left_out');
$w->ddl(undef, 'drop database routed');
wait_applied($node, 'keep', $w->last_ts);
is(sql("select count(*) from pg_namespace where nspname in ('left_out', 'routed')"), '2',
	'a schema that is not the feed\'s stays');

# ---- a table that is dropped and made anew by hand is not the feed's ----
sql('drop table "Shop"."MixedCase"; create table "Shop"."MixedCase" (id int)');
$w->dml([ insert => 'Shop.MixedCase', row(20) ]);
wait_applied($node, 'keep', $w->last_ts);
is(sql('select count(*) from "Shop"."MixedCase"'), '0', 'a relation of the same name is left alone');
is(sql("select state from magic.feed_tables where tidb_table = 'MixedCase'"), 'detached',
	'its table is detached');

# ---- local changes ----
my ($out, $err);
for my $change ('insert into "Shop"."quote""d" values (99)', 'update "Shop"."quote""d" set id = 0',
	'delete from "Shop"."quote""d"', 'truncate "Shop"."quote""d"',
	'copy "Shop"."quote""d" from stdin')
{
	$node->psql('postgres', $change, stderr => \$err);
	like($err, qr/cannot change table.*feed "keep" writes it/s, "refused: $change");
}
is(sql('select * from "Shop"."quote""d" for update'), '2', 'row locks are no change');
sql("select magic.drop_feed('keep')");
sql('insert into "Shop"."quote""d" values (99)');
pass('a table is writable once its feed is gone');

# ---- folded names ----
my $dir2 = file_feed_dir('lower');
my $w2   = BinlogWriter->new($dir2);
table($w2, 'Fold', 'Upper', 1);
$w2->ddl('Fold', 'create table `Cols` (`Id` int primary key, `A` int, `B` int)');
$w2->dml([ insert => 'Fold.Cols', [ Id => int => 1 ], [ A => int => 2 ], [ B => int => 3 ] ]);
create_feed($node, 'lower', file_source($dir2, time_zone => 'UTC'), apply_interval => '20 ms',
	names => 'lower');
wait_applied($node, 'lower', $w2->last_ts);
is(sql('select * from fold.upper'), '1', 'names folded');
is(sql('select id, a, b from fold.cols'), '1|2|3', 'columns folded');

# ---- adoption ----
my $dir3 = file_feed_dir('adopt');
my $w3   = BinlogWriter->new($dir3);
sql('create table public.orders (id int primary key, v varchar(9), note text default 1)');
create_feed($node, 'adopt', file_source($dir3, time_zone => 'UTC'), apply_interval => '20 ms');
sql("select magic.adopt_table('adopt', 'Erp.Orders', 'public.orders')");
$w3->ddl('erp', 'create table orders (id int primary key, v varchar(9))');
$w3->dml([ insert => 'ERP.ORDERS', row(1), [ v => varchar => 'a' ] ]);
$w3->dml([ update => 'ERP.ORDERS', [ id => int => 1, 2 ], [ v => varchar => 'a', 'b' ] ]);
wait_applied($node, 'adopt', $w3->last_ts);
is(sql('select id, v, note from public.orders'), '2|b|', 'an adopted table takes the rows');
$w3->ddl('erp', 'drop table orders');
wait_applied($node, 'adopt', $w3->last_ts);
is(sql('select count(*) from public.orders'), '1', 'DROP lets an adopted table go, and its rows stay');

# ---- rights ----
sql('create role operator login; grant magic_admin to operator; create role reader; create role other');
my $dir4 = file_feed_dir('rights');
my $w4   = BinlogWriter->new($dir4);
table($w4, 'mine', 't', 1);
my $source = file_source($dir4, time_zone => 'UTC');
$node->safe_psql('postgres', "select magic.create_feed('r', '$source', apply_interval => '20 ms',
	readers => 'reader')", extra_params => [ '-U', 'operator' ]);
wait_state($node, 'r', 'error');
like(feed_column($node, 'r', 'last_error'), qr/permission denied for database/,
	'the feed has no more rights than the role that created it');
sql('grant create on database postgres to operator');
$node->safe_psql('postgres', "select magic.resume('r')", extra_params => [ '-U', 'operator' ]);
wait_applied($node, 'r', $w4->last_ts);
is(sql("select relowner::regrole from pg_class where oid = 'mine.t'::regclass"), 'operator',
	'its tables belong to that role');
is(sql('set role reader; select * from mine.t'), '1', 'readers read');
$node->psql('postgres', 'set role other; select * from mine.t', stderr => \$err);
like($err, qr/permission denied/, 'nobody else does');
sql("select magic.alter_feed('r', readers => 'reader, other')");
ok($node->poll_query_until('postgres', "select has_table_privilege('other', 'mine.t', 'select')"),
	'a reader named later reads tables that are there');

$node->stop;
done_testing();
