# The extension goes and comes while tables, sessions, prepared transactions and a feed use it: refused
# without CASCADE, whole or not at all, and a new one works in every session at once. Databases that hold
# it are dropped and copied.
use strict;
use warnings;

use EngineTest;
use File::Copy qw(copy);
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $am   = access_method();
my $node = magic_node('main', conf => "lock_timeout = '20s'");
my $dir  = file_feed_dir('life');
copy($_, $dir) for glob fixture_dir('bank') . '/files/binlog-*';
my $source = file_source($dir, time_zone => 'UTC');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub error_of
{
	my ($sql, $database) = @_;
	my $err = '';
	$node->psql($database // 'postgres', $sql, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $err;
}

# tables of every kind that has rows in the metadata, and what they should hold
sub fill
{
	my ($database) = @_;
	$node->safe_psql($database, <<"SQL");
CREATE TABLE a (id int PRIMARY KEY, v text) USING $am;
INSERT INTO a SELECT g, 'v' || g FROM generate_series(1, 5000) g;
UPDATE a SET v = 'new' WHERE id % 10 = 0;
DELETE FROM a WHERE id > 4900;
CREATE MATERIALIZED VIEW mv USING $am AS SELECT id, v FROM a WHERE id % 2 = 0;
DROP TABLE IF EXISTS p;
CREATE TABLE p (id int) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000000) USING $am;
INSERT INTO p SELECT generate_series(1, 100);
CREATE VIEW va AS SELECT * FROM a;
SQL
	return;
}

my $sum = 'SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM a WHERE v = \'new\'), (SELECT count(*) FROM mv), (SELECT count(*) FROM p)';
my $right = '4900|490|2450|100';
my $nothing = "SELECT count(*) FROM pg_class WHERE relname IN ('a', 'mv', 'p1', 'va')";

# -- refused, and what is refused is listed --

fill('postgres');
create_feed($node, 'f', $source);
wait_applied($node, 'f', last_ts('bank'));
for my $statement ('DROP ACCESS METHOD magic', 'DROP ACCESS METHOD magic CASCADE', 'DROP FUNCTION magic.tableam_handler(internal) CASCADE',
	'DROP TABLE magic.pack', 'DROP TABLE magic.pack CASCADE', 'ALTER EXTENSION magic_fdw SET SCHEMA public')
{
	like(error_of($statement), qr/(because extension magic_fdw requires it|does not support SET SCHEMA)/, "refused: $statement");
}
my $error = error_of('DROP EXTENSION magic_fdw');
like($error, qr/2BP01.*(table a|other objects) depends? on/s, 'DROP EXTENSION without CASCADE is refused');
like($error, qr/\b$_ depends on access method magic/, "and names $_") for 'table a', 'materialized view mv', 'table p1', 'table bank.accounts';
wait_state($node, 'f', 'running');
is(sql($sum), $right, 'nothing is lost');

# -- taken back --

for my $statement ('DROP EXTENSION magic_fdw CASCADE', 'DROP SCHEMA magic CASCADE', 'DROP OWNED BY CURRENT_USER CASCADE')
{
	next if $statement =~ /OWNED/ && error_of("BEGIN; $statement; ROLLBACK") =~ /required by the database system/;
	sql("BEGIN; $statement; ROLLBACK");
	is(sql($sum), $right, "$statement, taken back");
	sql("BEGIN; INSERT INTO a VALUES (10000, 'pending'); UPDATE a SET v = 'pending' WHERE id < 11; SAVEPOINT s; $statement; ROLLBACK TO s; INSERT INTO a VALUES (10001, 'pending'); COMMIT");
	is(sql("SELECT count(*) FROM a WHERE v = 'pending'"), '12', "$statement in a subtransaction, taken back: rows before and after it are there");
	sql("UPDATE a SET v = 'v' || id WHERE id < 10; UPDATE a SET v = 'new' WHERE id = 10; DELETE FROM a WHERE id >= 10000");
}
is(sql("SELECT * FROM magic.verify('a')"), '', 'magic.verify') if $am eq 'magic';
wait_state($node, 'f', 'running');

# -- it waits for who uses it --

my $other = $node->background_psql('postgres');
$other->query_safe("BEGIN; INSERT INTO a VALUES (20000, 'x'); SAVEPOINT s; DELETE FROM a WHERE id = 1");
like(error_of("SET lock_timeout = '200ms'; DROP EXTENSION magic_fdw CASCADE"), qr/55P03/, 'waits for a transaction that writes');
$other->query_safe('ROLLBACK; BEGIN; SELECT count(*) FROM a');
like(error_of("SET lock_timeout = '200ms'; DROP EXTENSION magic_fdw CASCADE"), qr/55P03/, 'waits for a transaction that reads');
$other->query_safe("INSERT INTO a VALUES (20000, 'x'); DELETE FROM a WHERE id = 1; PREPARE TRANSACTION 'px'");
like(error_of("SET lock_timeout = '200ms'; DROP EXTENSION magic_fdw CASCADE"), qr/55P03/, 'waits for a prepared transaction');
sql("ROLLBACK PREPARED 'px'");
is(sql($sum), $right, 'nothing has changed');
wait_state($node, 'f', 'running');

# -- gone and back; the other session has everything of the old one in its caches --

$other->query_safe("INSERT INTO a VALUES (20000, 'x'); DELETE FROM a WHERE id = 20000; PREPARE q AS SELECT count(*) FROM a");
for my $statement ('DROP EXTENSION magic_fdw CASCADE', 'DROP SCHEMA magic CASCADE')
{
	sql($statement);
	is(sql($nothing), '0', "$statement drops the tables");
	is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'magic%' AND datname = current_database() AND backend_type <> 'magic launcher'"),
		'0', 'and leaves no worker');
	like(error_of("CREATE TABLE x (a int) USING $am"), qr/access method "magic" does not exist/, 'and no access method') if $am eq 'magic';
	sql('CREATE EXTENSION magic_fdw');
	fill('postgres');
	is(sql($sum), $right, 'a new extension works');
	is($other->query_safe("INSERT INTO a VALUES (20000, 'x'); DELETE FROM a WHERE id = 20000; $sum"), $right, 'also in a session that knew the old one');
	is($other->query_safe('CREATE TEMP TABLE tt (a int) USING ' . $am . '; INSERT INTO tt SELECT generate_series(1, 100); UPDATE tt SET a = a + 1; SELECT sum(a) FROM tt; DROP TABLE tt'), '5150', 'and for its own tables');
	is(sql("SELECT * FROM magic.verify('a')"), '', 'magic.verify') if $am eq 'magic';
	sql("DROP SCHEMA bank CASCADE") if sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'bank'");
	create_feed($node, 'f', $source);
	wait_applied($node, 'f', last_ts('bank'));
}
compare_fixture($node, 'bank', name => 'a feed of the new extension');

# -- created and dropped in the transaction that uses it --

sql("SELECT magic.drop_feed('f', drop_tables => true)");
sql("BEGIN; INSERT INTO a VALUES (30000, 'x'); UPDATE a SET v = 'y' WHERE id = 2; DROP EXTENSION magic_fdw CASCADE; COMMIT");
is(sql($nothing), '0', 'dropped in the transaction that has rows pending');
sql("BEGIN; CREATE EXTENSION magic_fdw; CREATE TABLE a (id int PRIMARY KEY) USING $am; INSERT INTO a SELECT generate_series(1, 1000); DELETE FROM a WHERE id = 1; COMMIT");
is(sql('SELECT count(*) FROM a'), '999', 'created in the transaction that uses it');
sql('DROP EXTENSION magic_fdw CASCADE; DROP TABLE IF EXISTS a');
sql("BEGIN; CREATE EXTENSION magic_fdw; CREATE TABLE a (id int PRIMARY KEY) USING $am; INSERT INTO a SELECT generate_series(1, 1000); ROLLBACK");
is(sql("SELECT count(*) FROM pg_extension WHERE extname = 'magic_fdw'"), '0', 'created and taken back');
sql('CREATE EXTENSION magic_fdw');
sql(<<"SQL");
BEGIN;
CREATE TABLE a (id int PRIMARY KEY) USING $am;
INSERT INTO a SELECT generate_series(1, 1000);
SAVEPOINT s;
INSERT INTO a VALUES (2000);
DROP EXTENSION magic_fdw CASCADE;
CREATE EXTENSION magic_fdw;
CREATE TABLE b (id int PRIMARY KEY) USING $am;
INSERT INTO b SELECT generate_series(1, 10);
RELEASE s;
INSERT INTO b VALUES (11);
COMMIT;
SQL
is(sql('SELECT count(*) FROM b'), '11', 'dropped and created anew in one transaction');
$other->quit;

# -- databases --

fill('postgres');
create_feed($node, 'f', $source, routes => 'bank.* -> bank3.{table}');
wait_applied($node, 'f', last_ts('bank'));
my $t1 = 'template1';
for my $strategy (qw(wal_log file_copy))
{
	$node->safe_psql($t1, "CREATE DATABASE copy TEMPLATE postgres STRATEGY $strategy");
	is($node->safe_psql('copy', $sum), $right, "$strategy: a copy of a database with a running feed");
	$node->poll_query_until('copy', "SELECT state = 'running' FROM magic.feeds") or die;
	pass("$strategy: the copy's feed runs");
	is($node->safe_psql('copy', "SELECT count(*) FROM bank3.accounts"), sql('SELECT count(*) FROM bank3.accounts'), "$strategy: the feed's tables are in it");
	$node->safe_psql('copy', "SELECT magic.drop_feed('f', drop_tables => true); UPDATE a SET v = 'copy'; DROP EXTENSION magic_fdw CASCADE");
	is(sql($sum), $right, "$strategy: DROP EXTENSION in the copy leaves the template");
	$node->safe_psql($t1, 'DROP DATABASE copy');
}
$node->safe_psql($t1, 'CREATE DATABASE copy TEMPLATE postgres');
my $session = $node->background_psql('copy');
$session->query_safe("BEGIN; INSERT INTO a VALUES (50000, 'x')");
like(error_of('DROP DATABASE copy', $t1), qr/55006/, 'DROP DATABASE is refused while a session is there');
$session->query_safe('COMMIT');
$node->safe_psql($t1, 'DROP DATABASE copy WITH (FORCE)');
pass('DROP DATABASE WITH (FORCE) with a session and a running feed');
eval { $session->quit };
$node->safe_psql($t1, 'ALTER DATABASE postgres RENAME TO other');
is($node->safe_psql('other', $sum), $right, 'renamed with a running feed');
$node->safe_psql($t1, 'ALTER DATABASE other RENAME TO postgres');
my $space = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql($t1, "CREATE TABLESPACE s LOCATION '$space'");
$node->safe_psql($t1, 'ALTER DATABASE postgres SET TABLESPACE s');
is(sql($sum), $right, 'moved to another tablespace with a running feed');
wait_state($node, 'f', 'running');
$node->stop('immediate');
$node->start;
is(sql($sum), $right, 'after a crash');
is(sql("SELECT * FROM magic.verify('a')"), '', 'magic.verify') if $am eq 'magic';
wait_state($node, 'f', 'running');
done_testing();
