# DDL at its edges: the value that rows get for an added column, type changes with rows, keys that come, go and are
# named by the server, swapped names, hostile names and texts, taken and protected names, statements repeated for each
# table of a list.
use strict;
use warnings;
use utf8;

use BinlogMessages;
use MagicTest;
use Test::More;

my $node = magic_node('main');
my $broker = mock_broker(map { "$_:1" } qw(cases bad1 bad2 bad3 bad4 bad5 bad6 unfit));
my $log = BinlogMessages->new('shop');
my @id = [ id => 'int' ];
my $ts;

sub sql { my ($query) = @_; return $node->safe_psql('postgres', $query); }

# Send what was logged and wait for it.
sub apply
{
	produce_lines($broker, 'cases', $log->messages);
	wait_applied($node, 'cases', $log->last_ts);
	return;
}

create_feed($node, 'cases', kafka_source($broker, 'cases', time_zone => 'UTC'), apply_interval => '10 milliseconds');

# ---- values of added columns ----

my @defaults = (
	[ 'INT', '7', '7' ], [ 'INT', "' 8 '", '8' ], [ 'INT', '2.5', '3' ], [ 'INT', '-2.5', '-3' ], [ 'INT', '1e2', '100' ],
	[ 'INT', "x'1f'", '31' ], [ 'INT', 'TRUE', '1' ], [ 'BIGINT UNSIGNED', '18446744073709551615', '18446744073709551615' ],
	[ 'BIGINT', '-9223372036854775808', '-9223372036854775808' ], [ 'BIT(9)', "b'100000001'", '257' ],
	[ 'BIT(8)', "'A'", '65' ], [ 'DECIMAL(5,2)', "'1.005'", '1.01' ], [ 'DECIMAL(5,2)', '-1.5e1', '-15.00' ],
	[ 'DECIMAL(5)', "0x10", '16' ], [ 'DOUBLE', '1.5e-3', '0.0015' ], [ 'FLOAT', '0.1', '0.1' ], [ 'DOUBLE', '0x10', '16' ],
	[ 'YEAR', '1999', '1999' ], [ 'YEAR', '0', '0' ], [ 'YEAR', "'0'", '2000' ], [ 'YEAR', '69', '2069' ], [ 'YEAR', "'70'", '1970' ],
	[ 'DATE', "'2020-1-2'", '2020-01-02' ], [ 'DATE', '20200102', '2020-01-02' ], [ 'DATE', "'99-12-31'", '1999-12-31' ],
	[ 'DATE', "'2020/01/02 03:04:05'", '2020-01-02' ], [ 'DATE', "'0000-00-00'", '' ], [ 'DATE', "'2020-02-30'", '' ],
	[ 'DATETIME', "'2020-01-02'", '2020-01-02 00:00:00' ], [ 'DATETIME(3)', "'2020-01-02T03:04:05.6789'", '2020-01-02 03:04:05.679' ],
	[ 'DATETIME', '20200102030405', '2020-01-02 03:04:05' ], [ 'DATETIME', "'2020-1-2 3:4'", '2020-01-02 03:04:00' ],
	[ 'TIMESTAMP', "'2020-01-02 03:04:05'", '2020-01-02 03:04:05+00' ], [ 'TIMESTAMP', '0', '' ],
	[ 'TIME', "'-838:59:59'", '-838:59:59' ], [ 'TIME', "'10:30'", '10:30:00' ], [ 'TIME', '103015', '10:30:15' ],
	[ 'TIME', "'1 02:03:04'", '26:03:04' ], [ 'TIME(2)', "'10:30:00.25'", '10:30:00.25' ],
	[ 'VARCHAR(9)', "'it''s'", "it's" ], [ 'VARCHAR(9)', '5', '5' ], [ 'VARCHAR(9)', "0x4142", 'AB' ], [ 'CHAR(3)', "''", '' ],
	[ 'BINARY(4)', "'ab'", '\x61620000' ], [ 'VARBINARY(4)', "'ab'", '\x6162' ], [ 'VARBINARY(4)', "x'00ff'", '\x00efbfbd' ],
	[ "ENUM('a','b','1')", "'B'", 'b' ], [ "ENUM('a','b')", '2', 'b' ], [ "ENUM('a','b','1')", "'1'", '1' ], [ "ENUM('a','b')", "'2'", 'b' ],
	[ "SET('a','b','c')", "'c,A'", 'a,c' ], [ "SET('a','b')", '3', 'a,b' ], [ "SET('a','b')", "''", '' ],
	[ 'INT NOT NULL', undef, '0' ], [ 'VARCHAR(9) NOT NULL', undef, '' ], [ 'DATE NOT NULL', undef, '' ], [ 'BINARY(2) NOT NULL', undef, '\x0000' ],
	[ "ENUM('x','y') NOT NULL", undef, 'x' ], [ "SET('x') NOT NULL", undef, '' ], [ 'TIME NOT NULL', undef, '00:00:00' ],
	[ 'DECIMAL(5,2) NOT NULL', undef, '0.00' ], [ 'JSON NOT NULL', undef, 'null' ], [ 'BIT(3) NOT NULL', undef, '0' ],
	[ 'INT', undef, '' ], [ 'INT', 'NULL', '' ],
	[ 'DATETIME(3)', 'CURRENT_TIMESTAMP(3)', 'now' ], [ 'DATE', '(CURRENT_DATE)', '2024-07-01' ],
);
my %now;

$log->ddl('CREATE DATABASE `shop`;');
$log->ddl('CREATE TABLE `defaults` (`id` INT PRIMARY KEY);', table => 'defaults');
$log->rows('defaults', [@id], insert => [ [ i => 1 ] ]);
for my $i (0 .. $#defaults)
{
	my ($type, $default) = @{ $defaults[$i] };
	$now{$i} = $log->ddl("ALTER TABLE `defaults` ADD COLUMN `c$i` $type" . (defined $default ? " DEFAULT $default" : ''),
		table => 'defaults');
}
apply();
for my $i (0 .. $#defaults)
{
	my ($type, $default, $expected) = @{ $defaults[$i] };
	my $seconds = ($now{$i} >> 18) / 1000;

	$expected = sql("SELECT to_char(to_timestamp($seconds) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS')") =~ s/\.?0+$//r if $expected eq 'now';
	$expected = sql("SELECT (to_timestamp($seconds) AT TIME ZONE 'UTC')::date") if $expected eq '2024-07-01';
	is(sql("SET timezone = 'UTC'; SELECT coalesce(c$i\::text, '') FROM shop.defaults"), $expected,
		"$type DEFAULT " . ($default // 'not written'));
}

# ---- type changes with rows ----

my @changes = (
	[ 'int', 'INT', [ i => 42 ], 'BIGINT', '42' ], [ 'int', 'INT', [ i => -42 ], 'VARCHAR(10)', '-42' ],
	[ 'int', 'INT', [ i => 42 ], 'DECIMAL(10,2)', '42.00' ], [ 'int', 'INT', [ i => 42 ], 'DOUBLE', '42' ],
	[ 'varchar', 'VARCHAR(20)', [ s => '77' ], 'INT', '77' ], [ 'varchar', 'VARCHAR(20)', [ s => '7.5' ], 'INT', '8' ],
	[ 'varchar', 'VARCHAR(20)', [ s => '1e2' ], 'DOUBLE', '100' ], [ 'varchar', 'VARCHAR(20)', [ s => '2020-01-02' ], 'DATE', '2020-01-02' ],
	[ 'varchar', 'VARCHAR(20)', [ s => '2020-01-02 03:04:05' ], 'DATETIME', '2020-01-02 03:04:05' ],
	[ 'varchar', 'VARCHAR(20)', [ s => '{"a": 1}' ], 'JSON', '{"a": 1}' ], [ 'varchar', 'VARCHAR(20)', [ s => 'é' ], 'VARBINARY(20)', '\xc3a9' ],
	[ 'varbinary', 'VARBINARY(20)', [ b => "\xc3\xa9" ], 'VARCHAR(20)', "\xc3\xa9" ], [ 'varbinary', 'VARBINARY(20)', [ b => 'x' ], 'BLOB', '\x78' ],
	[ 'decimal', 'DECIMAL(10,4)', [ s => '1.2350' ], 'DECIMAL(10,2)', '1.24' ], [ 'decimal', 'DECIMAL(10,4)', [ s => '2.5000' ], 'INT', '3' ],
	[ 'decimal', 'DECIMAL(10,4)', [ s => '2.5000' ], 'VARCHAR(10)', '2.5000' ], [ 'double', 'DOUBLE', [ d => 0.1 ], 'VARCHAR(20)', '0.1' ],
	[ 'datetime', 'DATETIME(3)', [ s => '2020-01-02 03:04:05.678' ], 'DATE', '2020-01-02' ],
	[ 'datetime', 'DATETIME(3)', [ s => '2020-01-02 03:04:05.600' ], 'DATETIME', '2020-01-02 03:04:06' ],
	[ 'datetime', 'DATETIME(3)', [ s => '2020-01-02 03:04:05.600' ], 'VARCHAR(30)', '2020-01-02 03:04:05.600' ],
	[ 'date', 'DATE', [ s => '2020-01-02' ], 'DATETIME', '2020-01-02 00:00:00' ], [ 'date', 'DATE', [ s => '2020-01-02' ], 'VARCHAR(10)', '2020-01-02' ],
	[ 'time', 'TIME', [ s => '-100:00:01' ], 'VARCHAR(20)', '-100:00:01' ], [ 'year', 'YEAR', [ s => '1999' ], 'INT', '1999' ],
	[ 'enum', "ENUM('a','b')", [ u => 2 ], "ENUM('b','c','a')", 'b' ], [ 'enum', "ENUM('a','b')", [ u => 1 ], 'VARCHAR(9)', 'a' ],
	[ 'varchar', 'VARCHAR(9)', [ s => 'b' ], "ENUM('a','b')", 'b' ], [ 'set', "SET('a','b')", [ u => 3 ], 'VARCHAR(9)', 'a,b' ],
	[ 'int', 'INT UNSIGNED', [ u => 4294967295 ], 'BIGINT UNSIGNED', '4294967295' ], [ 'tinyint', 'TINYINT', [ i => 1 ], 'TINYINT(1)', '1' ],
	[ 'bit', 'BIT(8)', [ b => 'A' ], 'BIT(16)', '65' ], [ 'text', 'TEXT', [ s => 'long' ], 'VARCHAR(50)', 'long' ],
	[ 'timestamp', 'TIMESTAMP(3)', [ s => '2020-01-02 03:04:05.600' ], 'DATETIME(1)', '2020-01-02 03:04:05.6' ],
);

for my $i (0 .. $#changes)
{
	my ($name, $type, $value, $new) = @{ $changes[$i] };

	$log->ddl("CREATE TABLE `m$i` (`id` INT PRIMARY KEY,`v` $type)", table => "m$i");
	$log->rows("m$i", [ @id, [ v => $name ] ], insert => [ [ i => 1 ], $value ], insert => [ [ i => 2 ], undef ]);
	$log->ddl("ALTER TABLE `m$i` MODIFY COLUMN `v` $new", table => "m$i");
}
apply();
for my $i (0 .. $#changes)
{
	my ($name, $type, $value, $new, $expected) = @{ $changes[$i] };
	is(sql("SET timezone = 'UTC'; SELECT coalesce(v::text, 'NULL') FROM shop.m$i ORDER BY id"), "$expected\nNULL",
		"$type becomes $new");
}

# ---- keys ----

sub key_of
{
	my ($table) = @_;
	return sql("SELECT key_columns FROM magic.feed_tables WHERE tidb_table = '$table'");
}

my @abc = ([ a => 'int' ], [ b => 'int' ], [ c => 'int' ]);
my $one = [ [ i => 1 ], [ i => 2 ], [ i => 3 ] ];

$log->ddl('CREATE TABLE `k` (`a` INT NOT NULL,`b` INT NOT NULL,`c` INT,INDEX(`a`),UNIQUE(`a`, `b`),UNIQUE(`c`))', table => 'k');
$log->rows('k', \@abc, insert => $one);
apply();
is(key_of('k'), '{a,b}', 'the first unique key over NOT NULL columns identifies');
$log->ddl('ALTER TABLE `k` DROP INDEX `a`', table => 'k');
apply();
is(key_of('k'), '{a,b}', 'a plain index named like the key\'s column is not the key');
$log->ddl('DROP INDEX `a_2` ON `k`', table => 'k');
$log->rows('k', \@abc, insert => $one);
apply();
is(key_of('k') . ' ' . sql('SELECT count(*) FROM shop.k'), '{} 2', 'the name that the server made up is known: without the key, equal rows');
$log->rows('k', \@abc, delete => $one);
$log->ddl('ALTER TABLE `k` ADD PRIMARY KEY(`b`), MODIFY COLUMN `c` INT NOT NULL', table => 'k');
apply();
is(key_of('k'), '{b}', 'a primary key is added');
$log->ddl('ALTER TABLE `k` DROP PRIMARY KEY, ADD PRIMARY KEY(`c`)', table => 'k');
$log->rows('k', \@abc, update => [ $one, [ [ i => 7 ], [ i => 8 ], [ i => 3 ] ] ]);
apply();
is(key_of('k') . ' ' . sql('SELECT * FROM shop.k'), '{c} 7|8|3', 'and replaced by another');
$log->ddl('ALTER TABLE `k` RENAME COLUMN `c` TO `key`, DROP COLUMN `a`', table => 'k');
$log->rows('k', [ [ b => 'int' ], [ key => 'int' ] ], update => [ [ [ i => 8 ], [ i => 3 ] ], [ [ i => 8 ], [ i => 4 ] ] ]);
apply();
is(key_of('k') . ' ' . sql('SELECT * FROM shop.k'), '{key} 8|4', 'and its column renamed');

$log->ddl('CREATE TABLE `wider` (`id` INT PRIMARY KEY,`v` INT)', table => 'wider');
$log->rows('wider', [ @id, [ v => 'int' ] ], insert => [ [ i => 1 ], [ i => 2 ] ]);
$log->ddl('ALTER TABLE `wider` MODIFY COLUMN `id` BIGINT, CHANGE COLUMN `v` `w` BIGINT', table => 'wider');
$log->rows('wider', [ [ id => 'bigint' ], [ w => 'bigint' ] ], update => [ [ [ i => 1 ], [ i => 2 ] ], [ [ i => 1 ], [ i => 3 ] ] ]);
apply();
is(key_of('wider') . ' ' . sql('SELECT * FROM shop.wider'), '{id} 1|3', 'a key column of another type is the key still');

# ---- rows that are ahead of their DDL, as Drainer sends them after a restart ----

$log->ddl('CREATE TABLE `ahead` (`id` INT PRIMARY KEY,`old` INT NOT NULL)', table => 'ahead');
$log->rows('ahead', [ @id, [ old => 'int' ] ], insert => [ [ i => 1 ], [ i => 1 ] ]);
$log->rows('ahead', [ @id, [ old => 'int' ], [ new => 'varchar' ] ], insert => [ [ i => 2 ], [ i => 2 ], [ s => '5' ] ]);
$log->ddl("ALTER TABLE `ahead` ADD COLUMN `new` VARCHAR(20) NOT NULL DEFAULT '%s'''", table => 'ahead');
apply();
is(sql('SELECT * FROM shop.ahead ORDER BY id'), "1|1|%s'\n2|2|5", 'a column that rows have before its DDL: its default for the rows before');
$log->rows('ahead', [ @id, [ new => 'varchar' ] ], insert => [ [ i => 3 ], [ s => 'x' ] ], delete => [ [ i => 2 ], [ s => '5' ] ]);
$log->ddl('ALTER TABLE `ahead` DROP COLUMN `old`', table => 'ahead');
apply();
is(sql('SELECT * FROM shop.ahead ORDER BY id'), "1|%s'\n3|x", 'a column that rows lack before its DDL drops it');

# ---- names ----

$log->ddl('CREATE TABLE `renamed` (`id` INT PRIMARY KEY,`a` INT)', table => 'renamed');
$log->ddl('ALTER TABLE `renamed` RENAME COLUMN `A` TO `Ab`, CHANGE `ID` `Id` BIGINT', table => 'renamed');
$log->rows('renamed', [ [ Id => 'bigint' ], [ Ab => 'int' ] ], insert => [ [ i => 1 ], [ i => 2 ] ]);
apply();
is(sql('SELECT "Id", "Ab" FROM shop.renamed'), '1|2', 'names are compared without regard to case, and keep theirs');

my $injection = 'x"; DROP SCHEMA shop CASCADE; --';
my $long = 'é' x 40;
(my $quoted = $injection) =~ s/"/""/g;
$log->ddl("CREATE TABLE `$injection` (`id` INT PRIMARY KEY,`ctid` INT,`xmin` INT,`a\"b` INT,`$long` INT COMMENT 'it''s',`e` ENUM('a''b','\$1'))", table => $injection);
$log->rows($injection, [ @id, [ ctid => 'int' ], [ xmin => 'int' ], [ 'a"b' => 'int' ], [ $long => 'int' ], [ e => 'enum' ] ],
	insert => [ [ i => 1 ], [ i => 2 ], [ i => 3 ], [ i => 4 ], [ i => 5 ], [ u => 1 ] ]);
$log->ddl("ALTER TABLE `$injection` ADD COLUMN `$injection` VARCHAR(20) DEFAULT '''); DROP SCHEMA shop; --' COMMENT ''';'", table => $injection);
apply();
is(sql("SELECT to_json(t)::jsonb - 'id' FROM shop.\"$quoted\" t") =~ s/~[0-9a-f]{8}/~/gr,
	sql(qq{SELECT jsonb_build_object('ctid~', 2, 'xmin~', 3, 'a"b', 4, repeat('é', 27) || '~', 5, 'e', 'a''b', '$injection', '''); DROP SCHEMA shop; --')}),
	'hostile names and texts are names and texts');

# ---- tables ----

$log->ddl("CREATE TABLE `$_`.`twin` (`id` INT PRIMARY KEY)", database => $_, table => 'twin') for ('shop', 'other');
$log->ddl('DROP TABLE `shop`.`twin`, `other`.`twin`', database => 'shop', table => 'twin');
$log->rows('twin', [@id], { database => 'other' }, insert => [ [ i => 5 ] ]);
apply();
is(sql("SELECT to_regclass('shop.twin'), (SELECT id FROM other.twin)"), '|5', 'a list of tables is dropped one by one, by database and name');
$log->ddl('DROP TABLE `shop`.`twin`, `other`.`twin`', database => 'other', table => 'twin');
$log->ddl('CREATE TABLE `other`.`twin` (`s` VARCHAR(9))', database => 'other', table => 'twin');
$log->rows('twin', [ [ s => 'varchar' ] ], { database => 'other' }, insert => [ [ s => 'again' ] ]);
apply();
is(sql('SELECT * FROM other.twin'), 'again', 'and made again with other columns');

$log->ddl('CREATE TABLE `mover` (`id` INT PRIMARY KEY)', table => 'mover');
$log->ddl('ALTER TABLE `mover` ADD COLUMN `v` INT DEFAULT 3, RENAME TO `other`.`moved`', database => 'other', table => 'moved');
$log->rows('moved', [ @id, [ v => 'int' ] ], { database => 'other' }, insert => [ [ i => 1 ], [ i => 3 ] ]);
apply();
is(sql("SELECT to_regclass('shop.mover'), id, v FROM other.moved"), '|1|3',
	'ALTER TABLE renames into another database, whose name the message bears');

sql('CREATE SCHEMA mine; CREATE TABLE mine.t (id int); INSERT INTO mine.t VALUES (1)');
$log->ddl('CREATE TABLE `mine`.`t` (`id` INT PRIMARY KEY)', database => 'mine', table => 't');
$log->rows('t', [@id], { database => 'mine' }, insert => [ [ i => 2 ] ]);
$log->ddl('CREATE TABLE `pg_catalog`.`evil` (`id` INT PRIMARY KEY)', database => 'pg_catalog', table => 'evil');
$log->ddl('CREATE TABLE `public`.`evil` (`id` INT PRIMARY KEY)', database => 'public', table => 'evil');
$log->ddl('TRUNCATE TABLE `mine`.`t`', database => 'mine', table => 't');
$log->ddl('DROP DATABASE `mine`', database => 'mine');
$log->ddl('CREATE TABLE `after` (`id` INT PRIMARY KEY)', table => 'after');
apply();
is(sql('SELECT * FROM mine.t'), '1', 'a table that the feed did not make is left alone by all of the stream\'s statements');
is(sql("SELECT to_regclass('pg_catalog.evil'), to_regclass('public.evil'), to_regclass('shop.after')"), '||shop.after',
	'protected schemas, too, and the feed goes on');

$log->ddl('CREATE TABLE `gone` (`id` INT PRIMARY KEY)', table => 'gone');
$log->rows('gone', [@id], insert => [ [ i => 1 ] ]);
$log->ddl('TRUNCATE TABLE `gone`', table => 'gone');
$log->rows('gone', [@id], insert => [ [ i => 2 ] ]);
apply();
is(sql('SELECT * FROM shop.gone'), '2', 'TRUNCATE empties, rows after it stay');
$log->ddl('CREATE TABLE `copy` LIKE `gone`', table => 'copy');
$log->ddl('DROP DATABASE `shop`');
$log->ddl('CREATE DATABASE `shop`');
$log->ddl('CREATE TABLE `gone` (`id` VARCHAR(5) PRIMARY KEY)', table => 'gone');
$log->rows('gone', [ [ id => 'varchar' ] ], insert => [ [ s => 'new' ] ]);
apply();
is(sql("SELECT id, to_regclass('shop.copy') FROM shop.gone"), 'new|', 'DROP DATABASE drops the tables, and names are free again');
is(sql("SELECT tidb_database, tidb_table, state FROM magic.feed_tables ORDER BY 1, 2"),
	"other|moved|ok\nother|twin|ok\npg_catalog|evil|error\npublic|evil|error\nshop|gone|ok", 'and nothing is left of them in the registry');
verify_tables($node);

# ---- what is refused stops the feed and says where ----

my @refused = (
	[ 'bad1', "ALTER TABLE `t` ADD COLUMN `a` GEOMETRY", qr/not understood: known data type expected/,
		qr/near "GEOMETRY", of: ALTER TABLE `t` ADD COLUMN `a` GEOMETRY/ ],
	[ 'bad2', "ALTER TABLE `t` ADD COLUMN `a` VARCHAR(36) DEFAULT (uuid())", qr/default that is an expression/, qr/uuid\(\)/ ],
	[ 'bad3', "FLASHBACK CLUSTER TO TIMESTAMP '2024-01-01'", qr/changes rows of tables that it does not name/,
		qr/FLASHBACK CLUSTER TO/ ],
	[ 'bad4', "ALTER TABLE `t` ADD COLUMN `\xff` INT", qr/column name that is empty or not valid UTF-8/, qr/topic "bad4"/ ],
	[ 'bad5', "ALTER TABLE `t` FROB\xff '\xfe" . ('x' x 1_000_000) . "'", qr/not understood/, qr/FROB/ ],
	[ 'bad6', "ALTER TABLE `t` COMMENT 'a\0b' \0", qr/not understood: unexpected character/, qr/COMMENT/ ],
);
for (@refused)
{
	my ($topic, $statement, $error, $detail) = @$_;
	my $bad = BinlogMessages->new($topic);

	$bad->ddl('CREATE TABLE `t` (`id` INT PRIMARY KEY)', table => 't');
	my $before = $bad->last_ts;
	$bad->ddl($statement, table => 't');
	produce_lines($broker, $topic, $bad->messages);
	create_feed($node, $topic, kafka_source($broker, $topic, time_zone => 'UTC'), apply_interval => '10 milliseconds');
	wait_state($node, $topic, 'error');
	like(feed_column($node, $topic, 'last_error'), $error, "$topic is refused");
	like(feed_column($node, $topic, 'last_error_detail'), $detail, 'with what it is about');
	is(feed_column($node, $topic, 'applied_ts'), $before, 'and what came before it is applied');
}

# Rows that TiDB converted in a session without strict SQL mode: no message says to what. Corrected here, the feed goes on.
my $unfit = BinlogMessages->new('unfit');
$unfit->ddl('CREATE TABLE `t` (`id` INT PRIMARY KEY,`v` VARCHAR(9))', table => 't');
$unfit->rows('t', [ @id, [ v => 'varchar' ] ], insert => [ [ i => 1 ], [ s => 'abc' ] ], insert => [ [ i => 2 ], [ s => '5' ] ]);
$unfit->ddl('ALTER TABLE `t` MODIFY COLUMN `v` INT', table => 't');
$unfit->rows('t', [ @id, [ v => 'int' ] ], insert => [ [ i => 3 ], [ i => 6 ] ]);
produce_lines($broker, 'unfit', $unfit->messages);
create_feed($node, 'unfit', kafka_source($broker, 'unfit', time_zone => 'UTC'), apply_interval => '10 milliseconds');
wait_state($node, 'unfit', 'error');
like(feed_column($node, 'unfit', 'last_error'), qr/rows of table "unfit"."t" do not fit .*: invalid input syntax for type numeric: "abc"/,
	'a type change that the rows here cannot follow stops the feed');
like(feed_column($node, 'unfit', 'last_error_detail'), qr/ALTER TABLE `t` MODIFY COLUMN `v` INT/, 'with the statement');
sql("SELECT magic.alter_feed('unfit', on_local_write => 'allow')");
sql("UPDATE unfit.t SET v = '0' WHERE v = 'abc'");
sql("SELECT magic.resume('unfit')");
wait_applied($node, 'unfit', $unfit->last_ts);
is(sql('SELECT * FROM unfit.t ORDER BY id'), "1|0\n2|5\n3|6", 'and goes on when they are corrected');

done_testing();
