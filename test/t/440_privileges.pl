# Rights on a table are all that is needed to use it and nobody gets at its rows without them: not by the
# metadata tables, functions, statistics or row security; functions for PUBLIC are those listed here.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use Test::More;

my $am = access_method();
my $node = magic_node('main');

# a role's statement: its output, or its error
sub as_role
{
	my ($role, $sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "SET ROLE $role; $sql", stdout => \$out, stderr => \$err);
	return $err =~ /(?:ERROR|FATAL): +(.*)/ ? "ERROR: $1" : $out;
}

sub denied
{
	my ($role, $sql, $name) = @_;
	like(as_role($role, $sql), qr/^ERROR: (permission denied|must be owner)/, "$role: $name");
	return;
}

my $secret = 'topsecret';
$node->safe_psql('postgres', <<"SQL");
CREATE ROLE owner;
CREATE ROLE writer;
CREATE ROLE reader;
CREATE ROLE nobody;
CREATE ROLE monitor IN ROLE pg_monitor;
CREATE ROLE admin IN ROLE magic_admin;
CREATE SCHEMA s AUTHORIZATION owner;
GRANT USAGE ON SCHEMA s TO PUBLIC;
SET ROLE owner;
CREATE TABLE s.t (id int PRIMARY KEY, who name DEFAULT current_user, v text) USING $am;
INSERT INTO s.t SELECT g, 'owner', '$secret' || g % 7 FROM generate_series(1, 1000) g;
INSERT INTO s.t VALUES (2000, 'writer', 'mine');
UPDATE s.t SET v = v WHERE id % 3 = 0;
DELETE FROM s.t WHERE id = 5;
CREATE INDEX ON s.t (v);
CREATE TABLE s.part (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE s.part1 PARTITION OF s.part FOR VALUES FROM (0) TO (100000) USING $am;
INSERT INTO s.part SELECT g, '$secret' FROM generate_series(1, 1000) g;
GRANT SELECT ON s.part TO reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON s.t TO writer;
GRANT SELECT ON s.t TO reader;
ANALYZE s.t;
SQL

# 1. a table's rights suffice
is(as_role('writer', <<'SQL'), "3001\nx", 'writer: INSERT, UPDATE, DELETE, upsert, MERGE, row locks');
INSERT INTO s.t VALUES (3001, DEFAULT, 'a'), (3002, DEFAULT, 'b');
UPDATE s.t SET v = 'x' WHERE id = 3001;
DELETE FROM s.t WHERE id = 3002;
INSERT INTO s.t VALUES (3001, DEFAULT, 'c') ON CONFLICT (id) DO UPDATE SET v = s.t.v;
MERGE INTO s.t USING (VALUES (3001), (3002)) x(id) ON t.id = x.id WHEN NOT MATCHED THEN DO NOTHING WHEN MATCHED THEN DO NOTHING;
SELECT id FROM s.t WHERE v = 'x' FOR UPDATE;
SELECT v FROM s.t WHERE id = 3001;
SQL
is(as_role('reader', "SELECT count(*) FROM s.t WHERE v LIKE '$secret%'"), '999', 'reader: SELECT');
is(as_role('owner', "CREATE TABLE s.mine (a int) USING $am; INSERT INTO s.mine VALUES (1); TRUNCATE s.mine; INSERT INTO s.mine VALUES (2);
	ALTER TABLE s.mine ADD b int DEFAULT 7; VACUUM s.mine; CREATE INDEX ON s.mine (a); SELECT a, b FROM s.mine; DROP TABLE s.mine"),
	'2|7', 'owner: everything that an owner does');

# 2. without them nothing
denied('nobody', $_, $_) for 'SELECT * FROM s.t', 'SELECT count(*) FROM s.t', "INSERT INTO s.t VALUES (9999)", 'DELETE FROM s.t',
  "COPY s.t TO stdout", 'BEGIN; LOCK TABLE s.t', 'TRUNCATE s.t', 'SELECT ctid FROM s.t';
denied('reader', $_, $_) for "UPDATE s.t SET v = 'y'", 'DELETE FROM s.t', 'SELECT * FROM s.t FOR UPDATE', 'SELECT * FROM s.part1',
  "INSERT INTO s.t VALUES (2000) ON CONFLICT (id) DO UPDATE SET v = 'y'", 'TRUNCATE s.t';
for my $role (qw(nobody writer owner monitor admin))
{
	for my $table (split /\n/, $node->safe_psql('postgres', <<'SQL'))
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'magic'::regnamespace AND relkind = 'r' ORDER BY 1
SQL
	{
		like(as_role($role, "SELECT * FROM $table LIMIT 1"), qr/permission denied for table/, "$role: SELECT of $table");
		like(as_role($role, "DELETE FROM $table"), qr/permission denied for table/, "$role: DELETE of $table");
	}
}
denied('nobody', $_, $_) for "SELECT magic.partitions('s.t', 2)", "SELECT magic.partition_borders('s.t', 2)",
  "SELECT magic.partition_borders('s.part1', 2)", "SELECT magic.plan('s.t', 2)", "SELECT magic.spark_snapshot('s.t', 2)";
is(as_role('reader', "SELECT count(*) > 0 FROM magic.partitions('s.part', 4)"), 't', 'reader: the partitions of what may be read');
if ($am eq 'magic')
{
	denied('nobody', $_, $_) for "SELECT magic.compact('s.t')", "SELECT magic.verify('s.t')", "SELECT magic.table_size('s.t')";
	denied('writer', $_, $_) for "SELECT magic.compact('s.t')", "SELECT magic.verify('s.t')";
	is(as_role('reader', "SELECT magic.table_size('s.t') > 0"), 't', 'reader: magic.table_size');
	is(as_role('owner', "SELECT magic.compact('s.t'); SELECT count(*) FROM magic.verify('s.t')"), "\n0", 'owner: compact and verify');
}

# 3. statistics: core's views, and those of the extension, say nothing of what may not be read
for my $role (qw(nobody reader))
{
	my $all = as_role($role, 'SELECT * FROM pg_stats');
	unlike($all, qr/\\x[0-9a-f]/, "$role: pg_stats has no metadata");
	$role eq 'nobody' ? unlike($all, qr/$secret/, 'nobody: pg_stats has no values') : like($all, qr/$secret/, 'reader: pg_stats of what may be read');
}
for my $view (split /\n/, $node->safe_psql('postgres', <<'SQL'))
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'magic'::regnamespace AND relkind IN ('v', 'm') ORDER BY 1
SQL
{
	my $rows = as_role('nobody', "SELECT v::text FROM $view v");
	ok($rows =~ /^ERROR: permission denied/ || $rows !~ /\bs\.(t|part1)\b/, "nobody: $view names no table that may not be read") or diag($rows);
}

if ($am eq 'magic')
{
	my $seen = "SELECT string_agg(relation::text, ',' ORDER BY relation::text) FROM magic.table_stats WHERE relation::text LIKE 's.%'";
	is(as_role('nobody', $seen), '', 'nobody: magic.table_stats shows nothing');
	is(as_role('reader', $seen), 's.t', 'reader: it shows what may be read');
	is(as_role($_, $seen), 's.part1,s.t', "$_: it shows all") for qw(owner monitor admin);
	is(as_role('nobody', "SELECT count(*) FROM magic.table_stats_of('s.t'::regclass)"), '0', 'nobody: nor does its function');
	unlike(as_role('nobody', "SELECT * FROM magic.column_stats('s.t')"), qr/^(id|who|v)\|/m, 'nobody: nor magic.column_stats');
}

# 4. row security
$node->safe_psql('postgres', <<'SQL');
SET ROLE owner;
ALTER TABLE s.t ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON s.t USING (who = current_user);
CREATE FUNCTION s.leak(text) RETURNS bool COST 0.0000001 LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
CREATE VIEW s.barrier WITH (security_barrier) AS SELECT * FROM s.t WHERE id > 2500;
CREATE POLICY o ON s.t TO owner USING (true);
GRANT SELECT ON s.barrier TO nobody;
SQL
is(as_role('writer', 'SELECT count(*) FROM s.t'), '2', 'row security: own rows only');
is(as_role('writer', "UPDATE s.t SET v = 'gone'; DELETE FROM s.t; SELECT count(*) FROM s.t"), '0', 'row security: own rows are changed');
is($node->safe_psql('postgres', 'SELECT count(*), count(*) FILTER (WHERE v = \'gone\') FROM s.t'), '999|0', 'and no others');
like(as_role('writer', "INSERT INTO s.t VALUES (10, 'owner', 'forged')"), qr/violates row-level security/, 'row security: WITH CHECK');
like(as_role('writer', "INSERT INTO s.t VALUES (10, DEFAULT, 'x') ON CONFLICT (id) DO UPDATE SET v = 'x'"), qr/violates row-level security/, 'row security: upsert of a hidden row');
for my $sql ('SELECT * FROM s.t WHERE s.leak(v)', 'SELECT * FROM s.t WHERE s.leak(v) AND id < 100', "SET enable_seqscan = off; SELECT * FROM s.t WHERE s.leak(v) AND v >= ''",
	'SELECT * FROM s.barrier WHERE s.leak(v)')
{
	my $err = '';
	my $role = $sql =~ /barrier/ ? 'nobody' : 'writer';
	$node->psql('postgres', "SET ROLE $role; $sql", stderr => \$err);
	unlike($err, qr/saw $secret/, "row security: a leaking function sees no hidden row: $sql");
}
unlike(as_role('writer', 'SELECT * FROM pg_stats'), qr/$secret/, 'row security: pg_stats shows no values');
is(as_role('nobody', 'SELECT count(*) FROM s.barrier'), '0', 'a view gives its own rows only');

# 5. who maintains a table runs nobody else's code with rights of his own
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE who (f text, who name);
GRANT INSERT ON who TO PUBLIC;
SET ROLE owner;
CREATE FUNCTION s.note(text) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO public.who VALUES (\$1, current_user); END \$\$;
CREATE FUNCTION s.spy(text) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS \$\$ BEGIN PERFORM s.note(\$1); RETURN true; END \$\$;
CREATE TABLE s.trap (a text) USING $am;
INSERT INTO s.trap SELECT 'a' || g FROM generate_series(1, 10) g;
CREATE INDEX ON s.trap (a) WHERE s.spy(a);
RESET ROLE;
TRUNCATE who;
@{[ $am eq 'magic' ? "SELECT magic.verify('s.trap'); SELECT magic.compact('s.trap');" : '' ]}
VACUUM FULL s.trap; REINDEX TABLE s.trap; ANALYZE s.trap; VACUUM s.trap;
SQL
is($node->safe_psql('postgres', 'SELECT string_agg(DISTINCT who, \',\') FROM who'), 'owner', "functions of indexes run as the table's owner");

# 6. errors of a feed may quote rows: they are for operators
$node->safe_psql('postgres', "SELECT magic.create_feed('f', 'file:///nowhere?protocol=tidb-binlog&time_zone=UTC')")
  if $node->psql('postgres', "SELECT magic.create_feed('f', 'file://" . file_feed_dir('x') . "?protocol=tidb-binlog&time_zone=UTC', enabled => false)") != 0;
$node->safe_psql('postgres', "INSERT INTO magic.feed_rest (feed_id, state, message, hint) SELECT id, 'error', 'a row of $secret', 'see $secret' FROM magic.feed");
my %told = map { my $err = ''; $node->psql('postgres', "SET ROLE $_; SELECT magic.wait_for('f', 'end')", stderr => \$err); ($_ => $err) } qw(nobody monitor);
like($told{nobody}, qr/rests in state "error"/, 'nobody: wait_for says that the feed rests');
unlike($told{nobody}, qr/$secret/, 'nobody: but not what the error says');
like($told{monitor}, qr/$secret/, 'monitor: is told');
denied('nobody', $_, $_) for "SELECT magic.pause('f')", "SELECT magic.drop_feed('f')", 'SELECT * FROM magic.feeds', 'SELECT magic.feed_runtime()';

# 7. the list. Whoever adds a function to it says in magic_fdw/README.md why it is harmless.
my @public = qw(applied_ts check_partitions column_stats compact export_snapshot pack_cache partition_borders partitions plan spark_snapshot table_size table_stats_of ts_to_timestamp verify wait_for);
is($node->safe_psql('postgres', <<'SQL'), join(' ', @public), 'functions that PUBLIC may call');
SELECT string_agg(DISTINCT proname, ' ' ORDER BY proname) FROM pg_proc
WHERE pronamespace = 'magic'::regnamespace AND has_function_privilege('nobody', oid, 'EXECUTE')
SQL
my $readme = PostgreSQL::Test::Utils::slurp_file("$ENV{MAGIC_SRC}/magic_fdw/README.md");
like($readme, qr{^\|[^|]*`$_`}m, "magic_fdw/README.md says why PUBLIC may call $_") for @public;
is($node->safe_psql('postgres', <<'SQL'), '', 'what runs with the rights of its owner, or in PL, pins search_path');
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = prolang
WHERE pronamespace = 'magic'::regnamespace AND (prosecdef OR lanname = 'plpgsql' OR lanname = 'sql' AND prosqlbody IS NULL)
  AND NOT coalesce(array_to_string(proconfig, ',') LIKE 'search\_path=pg\_catalog, pg\_temp%', false)
SQL
is($node->safe_psql('postgres', "SELECT proname FROM pg_proc WHERE pronamespace = 'magic'::regnamespace AND prosecdef"), '', 'no function runs with the rights of its owner');
is($node->safe_psql('postgres', <<'SQL'), '', 'every object for users has a comment');
SELECT p.oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'magic'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
UNION ALL SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'magic'::regnamespace AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL
SQL

# who owns nothing does not keep the workers away by statements that drop nothing of the extension
if ($am eq 'magic')
{
	my $open = $node->background_psql('postgres');
	$open->query_safe('SET client_min_messages = error; BEGIN; SET LOCAL ROLE nobody; DROP OWNED BY CURRENT_USER');
	$node->safe_psql('postgres', 'CREATE TABLE due (a int) USING magic');
	$node->safe_psql('postgres', 'DO $$ BEGIN FOR i IN 1..100 LOOP INSERT INTO due VALUES (i); COMMIT; END LOOP; END $$');
	ok($node->poll_query_until('postgres', "SELECT packs < 50 FROM magic.table_stats WHERE relation = 'due'::regclass"),
		'DROP OWNED by nobody, not committed yet: the worker merges');
	$open->quit;
}
denied('nobody', 'DROP DATABASE postgres', 'DROP DATABASE');

# 8. a schema that somebody else prepared is not trusted
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE other TO nobody');
for my $schema ('SET ROLE nobody; CREATE SCHEMA magic', 'CREATE SCHEMA magic CREATE TABLE pack (a int)')
{
	$node->safe_psql('other', $schema);
	my $err = '';
	$node->psql('other', 'CREATE EXTENSION magic_fdw', stderr => \$err);
	like($err, qr/schema "magic" exists and is not empty, or its owner is no superuser/, "CREATE EXTENSION after $schema");
	$node->safe_psql('other', 'DROP SCHEMA magic CASCADE');
}
$node->safe_psql('other', 'CREATE EXTENSION magic_fdw; DROP EXTENSION magic_fdw; CREATE EXTENSION magic_fdw');
pass('CREATE EXTENSION again after DROP EXTENSION');
done_testing();
