# Random conditions over btree, hash, GIN, GiST and SP-GiST indexes, answered by bitmap scans, index scans and
# sequential scans of a magic table and by its heap twin, in one snapshot, with and without changes of the
# transaction itself, while others change both, merge and vacuum. The rows lie in so many blocks of TIDs that
# bitmaps of work_mem's 64 kB do not hold all of them row by row.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{SEED} // int(rand(1e9));
srand($seed);
diag("seed $seed");
my $seconds = $ENV{TEST_SECONDS} // (long_run() ? 300 : 8);
my $am   = access_method();
my $node = magic_node('random', conf => "autovacuum = on\nautovacuum_naptime = 1\njit = off\nwork_mem = '64kB'");
engine_helpers($node);
my $columns = 'id int PRIMARY KEY, a int, b int, tags int[], r int4range, p point, t text';
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE bm ($columns) USING $am;
CREATE TABLE bh ($columns) USING heap;
CREATE SEQUENCE ids;
CREATE FUNCTION fill(n int) RETURNS void LANGUAGE sql AS
\$\$
	WITH x AS (INSERT INTO bm
		SELECT nextval('ids'), (random() * 1000)::int, (random() * 30)::int,
			CASE WHEN random() < 0.95 THEN ARRAY[(random() * 40)::int, (random() * 20)::int] END,
			int4range((random() * 500)::int, 501 + (random() * 10)::int), point(random() * 100, random() * 100), 'w' || (random() * 300)::int
		FROM generate_series(1, n) RETURNING *)
	INSERT INTO bh SELECT * FROM x;
\$\$;
-- deletes or updates rows of both; k chooses
CREATE FUNCTION change(k int, kind int) RETURNS void LANGUAGE plpgsql AS
\$\$
DECLARE
	gone int[];
BEGIN
	IF kind = 0 THEN
		WITH x AS (DELETE FROM bm WHERE a BETWEEN k AND k + 15 RETURNING id) SELECT array_agg(id) INTO gone FROM x;
		DELETE FROM bh WHERE id = ANY (gone);
	ELSIF kind = 1 THEN
		WITH x AS (UPDATE bm SET a = (a + 500) % 1000, tags = tags || 3 WHERE tags \@> ARRAY[k % 40] AND b < 15 RETURNING id) SELECT array_agg(id) INTO gone FROM x;
		UPDATE bh SET a = (a + 500) % 1000, tags = tags || 3 WHERE id = ANY (gone);
	ELSE
		PERFORM fill(50 + k);
	END IF;
END \$\$;
SELECT fill(20000);
-- 20,000 rows among 400,000 that are gone: a bitmap names the rows of some 1,000 blocks, these lie in 1,443
TRUNCATE bm;
SET work_mem = '64MB';
INSERT INTO bm SELECT coalesce(h.id, -g), h.a, h.b, h.tags, h.r, h.p, h.t
	FROM generate_series(1, 420000) g LEFT JOIN bh h ON g = h.id * 21 ORDER BY g;
DELETE FROM bm WHERE id < 0;
SQL
for my $table ('bm', 'bh')
{
	$node->safe_psql('postgres', "CREATE INDEX ON $table ($_)") for 'a', 'b, a', 't';
	$node->safe_psql('postgres', "CREATE INDEX ON $table USING $_") for 'hash (b)', 'gin (tags)', 'gist (r)', 'gist (p)', 'spgist (t)', 'spgist (p)', 'gin (tags) WHERE a > 500';
	$node->safe_psql('postgres', "ANALYZE $table");
}

sub condition
{
	my ($depth) = @_;
	if ($depth > 0 && rand() < 0.6)
	{
		return '(' . join(rand() < 0.5 ? ' AND ' : ' OR ', map { condition($depth - 1) } 1 .. 2 + int rand 2) . ')';
	}
	my ($n, $m) = (int rand 1000, 1 + int(exp(rand 6)));
	return (
		"a BETWEEN $n AND $n + $m", "a = $n", 'b = ' . $n % 31, 'b IN (' . $n % 31 . ", $m)", 'tags @> ARRAY[' . $n % 41 . ']',
		'tags && ARRAY[' . $n % 41 . ', ' . $m % 41 . ']', "r @> $n", "r && int4range($n, $n + $m)", "p <@ circle(point(" . $n % 100 . ", 50), $m)",
		"t ^@ 'w" . $n % 30 . "'", "t = 'w" . $n % 300 . "'", "id % 7 = " . $n % 7, 'tags IS NULL', 'a > 500 AND tags @> ARRAY[' . $n % 41 . ']')[ int rand 14 ];
}

my @ways = (
	'SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off;',
	'SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;',
	"SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL work_mem = '16MB';",
	'SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off;',
	'');
my @others = map {
	my $script = PostgreSQL::Test::Utils::tempdir() . "/other$_.sql";
	append_to_file($script, "SET deadlock_timeout = '50ms';\n" . join('', map {
		(   'SELECT change(' . int(rand 1000) . ', ' . int(rand 3) . ");\n", 'BEGIN; SELECT change(' . int(rand 1000) . ", 0); SELECT change(3, 2); ROLLBACK;\n",
			"VACUUM bm;\n", "SELECT merge('bm');\n")[ rand() < 0.8 ? int rand 2 : 2 + int rand 2 ] } 1 .. 20000));
	IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres') . ' application_name=other', '-f', $script ], '<', \undef, '>', '/dev/null', '2>', '/dev/null');
} 1 .. 2;

my ($queries, $lossy, @wrong) = (0, 0);
my $end = time + $seconds;
while ((time < $end || $queries < 50) && @wrong < 3)
{
	my @script = ('BEGIN ISOLATION LEVEL REPEATABLE READ;');
	my @asked;
	push @script, 'SELECT change(' . int(rand 1000) . ', ' . int(rand 3) . ') IS NULL;' if rand() < 0.4;
	push @script, 'SAVEPOINT s; SELECT change(' . int(rand 1000) . ', 1) IS NULL; ' . (rand() < 0.5 ? 'ROLLBACK TO s;' : '') if rand() < 0.3;
	for my $i (0 .. 8)
	{
		# one of many rows, the others at random
		my $where = $i ? condition(2) : 'a BETWEEN ' . int(rand 400) . ' AND ' . (600 + int rand 400);
		my $way   = $i ? $ways[int rand @ways] : $ways[0] . "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT id FROM bm WHERE $where;";
		my $what  = 'count(*), sum(id), sum(a), count(tags), max(t)';
		push @asked, $where;
		push @script, "SELECT 'heap', $what FROM bh WHERE $where;";
		push @script, "SAVEPOINT w; $way SELECT 'magic', $what FROM bm WHERE $where; ROLLBACK TO w;";
	}
	my ($out, $err) = ('', '');
	$node->psql('postgres', join("\n", @script, 'ROLLBACK;'), stdout => \$out, stderr => \$err);
	next if $err =~ /could not serialize|deadlock detected/;
	die $err if $err =~ /ERROR/;
	$lossy++ if $out =~ /Heap Blocks: (?:exact=\d+ )?lossy=[1-9]/;
	my @lines = grep { /^(heap|magic)/ } split /\n/, $out;
	for my $i (0 .. $#asked)
	{
		my ($heap, $magic) = map { s/^(heap|magic)//r } @lines[ 2 * $i, 2 * $i + 1 ];
		$queries++;
		push @wrong, "$asked[$i]\nheap $heap, magic $magic\n" . join("\n", @script) if $heap ne $magic;
	}
}
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'other'");
for (@others) { eval { $_->finish }; }
is(join("\n", @wrong), '', "$queries conditions");
cmp_ok($lossy, '>', 0, 'some bitmaps were lossy');
is($node->safe_psql('postgres', "SELECT count(*) FROM ((TABLE bm EXCEPT ALL TABLE bh) UNION ALL (TABLE bh EXCEPT ALL TABLE bm)) x" =~ s/TABLE (b.)/SELECT id, a, b, tags, r, t FROM $1/gr), '0', 'the twins are equal');
is($node->safe_psql('postgres', "SELECT * FROM problems('bm')"), '', 'magic.verify');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'no crash');
$node->stop;
done_testing();
