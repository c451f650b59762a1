# Exclusion constraints, exact and inexact, under concurrent inserts, updates, deletes, upserts, rollbacks,
# merges and VACUUM: no two rows ever conflict.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{TEST_SECONDS} // (long_run() ? 120 : 8);
my $am   = access_method();
my $node = magic_node('exclusion', conf => "autovacuum = on\nautovacuum_naptime = 1\ndeadlock_timeout = 20\njit = off");
engine_helpers($node);
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE ex (id int, c circle, r int4range, k int,
	EXCLUDE USING gist (c WITH &&), EXCLUDE USING gist (r WITH &&), EXCLUDE USING hash (k WITH =)) USING $am;
CREATE TABLE late (id int, c circle, EXCLUDE USING gist (c WITH &&) DEFERRABLE INITIALLY DEFERRED) USING $am;
CREATE TABLE did (what text, n bigint);
-- one random change; whether it was made
CREATE FUNCTION try(kind int, i int, j int) RETURNS bool LANGUAGE plpgsql AS
\$\$
BEGIN
	IF kind < 40 THEN
		INSERT INTO ex VALUES (i, circle(point(i % 40, i / 40), 0.6 + j / 100.0), CASE j % 5 WHEN 0 THEN int4range(i, i + j % 4 + 1) END, CASE j % 5 WHEN 1 THEN i END);
	ELSIF kind < 55 THEN
		INSERT INTO ex VALUES (i, circle(point(i % 40, i / 40), 0.6 + j / 100.0), CASE j % 5 WHEN 0 THEN int4range(i, i + j % 4 + 1) END, CASE j % 5 WHEN 1 THEN i END) ON CONFLICT DO NOTHING;
	ELSIF kind < 75 THEN
		UPDATE ex SET c = circle(center(c) + point(j / 50.0, 0), radius(c)), r = int4range(lower(r) + 1, upper(r) + 1), k = k + 1 WHERE id = i;
	ELSIF kind < 90 THEN
		DELETE FROM ex WHERE id BETWEEN i AND i + 1;
	ELSE
		INSERT INTO late VALUES (i, circle(point(i % 40, i / 40), 0.4 + j / 100.0));
		DELETE FROM late WHERE id BETWEEN i + 1 AND i + 9;
	END IF;
	IF j = 1 THEN
		RAISE EXCEPTION 'taken back' USING ERRCODE = 'P0099';
	END IF;
	RETURN true;
EXCEPTION
	WHEN exclusion_violation OR deadlock_detected OR SQLSTATE 'P0099' THEN
		RETURN false;
END \$\$;
SQL
my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/try.sql", <<'SQL');
\set a random(0, 89)
\set b random(0, 89)
\set i random(1, 120)
\set j random(1, 60)
BEGIN;
SELECT try(:a, :i, :j);
\sleep 2 ms
SELECT try(:b, (:i + 37) % 120, :j);
COMMIT;
SQL
append_to_file("$dir/tidy.sql", "INSERT INTO did SELECT 'conflict', count(*) FROM ex a, ex b WHERE a.ctid < b.ctid AND (a.c && b.c OR a.r && b.r OR a.k = b.k);\nVACUUM ex;\nSELECT merge('ex');\nSELECT merge('late');\n");
append_to_file("$dir/late.sql", <<'SQL');
\set i random(1, 800)
\set j random(1, 60)
SELECT try(95, :i, :j);
SQL
my @runs = map { my ($file, $clients) = @$_;
	my ($out, $err) = ('', '');
	{ out => \$out, err => \$err, handle => IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-T', $seconds, '--max-tries', 1000, '-f', "$dir/$file.sql", '-d', 'postgres', '-h', $node->host, '-p', $node->port ], '<', \undef, '>', \$out, '2>', \$err) } }
	([ 'try', 5 ], [ 'tidy', 1 ]);
# violations at commit end a client of pgbench: these run until they do
my $end = time + $seconds;
my $late = 0;
while (time < $end)
{
	my ($o, $e) = ('', '');
	IPC::Run::run([ 'pgbench', '-n', '-c', 3, '-t', 20, '-f', "$dir/late.sql", '-d', 'postgres', '-h', $node->host, '-p', $node->port ], '<', \undef, '>', \$o, '2>', \$e);
	$late++;
}
for my $run (@runs)
{
	$run->{handle}->finish;
	unlike(${ $run->{err} }, qr/ERROR/, 'the load ended without an error') or diag(${ $run->{err} });
}
my ($rows) = $node->safe_psql('postgres', 'SELECT count(*) FROM ex');
cmp_ok($rows, '>', 5, "$rows rows");
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM late'), '>', 0, 'rows of the deferred constraint');
my $conflicts = 'SET enable_indexscan = off; SET enable_bitmapscan = off; SELECT a.id, b.id FROM %s a, %s b WHERE a.ctid < b.ctid AND (%s) LIMIT 3';
is($node->safe_psql('postgres', 'SELECT sum(n) FROM did'), '0', 'no two rows conflict at any time');
is($node->safe_psql('postgres', sprintf($conflicts, 'ex', 'ex', 'a.c && b.c OR a.r && b.r OR a.k = b.k')), '', 'no two rows conflict');
is($node->safe_psql('postgres', sprintf($conflicts, 'late', 'late', 'a.c && b.c')), '', 'no two rows conflict, deferred');
is($node->safe_psql('postgres', "SELECT * FROM problems('ex') UNION ALL SELECT * FROM problems('late')"), '', 'magic.verify');
$node->stop;
done_testing();
