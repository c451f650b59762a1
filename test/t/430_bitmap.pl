# Bitmap scans of a table whose row numbers lie far behind the end of its file: the executor's prefetch
# requests, which take them for blocks of the file, never get to it. Not in sub-plans, members of UNION
# ALL, parallel workers, nor when EvalPlanQual starts a plan anew. There, blocks of TIDs that the bitmap does
# not hold row by row ("lossy") give the same rows as heap: with deleted rows, with holes and with the
# transaction's own changes.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

if (access_method() ne 'magic')
{
	plan skip_all => 'about the row numbers of magic';
}
my $node = magic_node('bitmap', conf => "autovacuum = off\neffective_io_concurrency = 200\nmax_parallel_workers_per_gather = 0\njit = off");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE far (id int, a int, tags int[]) USING magic;
CREATE TABLE few (id int PRIMARY KEY, v int) USING magic;
CREATE TABLE many (id int, a int) USING magic;
CREATE TABLE many_heap (id int, a int) USING heap;
INSERT INTO few SELECT g, 0 FROM generate_series(1, 10) g;
CHECKPOINT;
SQL
my @paths = map { $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$_')") } 'far', 'many';

# The next row number, at byte 24 of the metapage, and its checksum of the 32 bytes. 131,072 blocks of 291
# rows are the first GB.
sub crc32c
{
	my $crc = 0xffffffff;
	for my $byte (unpack('C*', shift))
	{
		$crc ^= $byte;
		$crc = $crc >> 1 ^ ($crc & 1 ? 0x82f63b78 : 0) for 1 .. 8;
	}
	return $crc ^ 0xffffffff;
}
$node->stop;
for my $path (@paths)
{
	open my $file, '+<:raw', $path or die $!;
	seek $file, 24, 0;
	read $file, my $meta, 24 or die $!;
	$meta .= pack('Q<', 131072 * 291 * 2);
	seek $file, 24, 0;
	print $file $meta, pack('V', crc32c($meta));
	close $file;
}
$node->start;
$node->safe_psql('postgres', <<'SQL');
INSERT INTO far SELECT g, g * 7919 % 1009, ARRAY[g % 50, g % 37] FROM generate_series(1, 30000) g;
CREATE INDEX ON far (a);
CREATE INDEX ON far USING gin (tags);
ANALYZE far;
ALTER TABLE far SET (parallel_workers = 2);
SQL
cmp_ok($node->safe_psql('postgres', "SELECT min((ctid::text::point)[0]) FROM far"), '>=', 262144, 'TIDs are behind the second GB');

my $bitmap = 'SET enable_seqscan = off; SET enable_indexscan = off; SET enable_indexonlyscan = off;';
my $parallel = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;';
my %queries = (
	'plain'         => 'SELECT count(*) FROM far WHERE a < 500',
	'parallel'      => "$parallel SELECT count(*) FROM far WHERE a < 500",
	'rescanned'     => 'SELECT count(x.id) FROM generate_series(1, 20) g, LATERAL (SELECT * FROM far WHERE a = g OFFSET 0) x',
	'sub-plan'      => 'SELECT sum((SELECT max(id) FROM far WHERE a = few.id AND tags && ARRAY[few.id])) FROM few',
	'init plan'     => 'SELECT count(*) FROM few WHERE id < (SELECT count(*) FROM far WHERE a < 900)',
	'CTE'           => 'WITH x AS MATERIALIZED (SELECT id FROM far WHERE a < 900) SELECT count(*) FROM x, x y WHERE x.id = y.id',
	'UNION ALL'     => 'SELECT count(*) FROM (SELECT id FROM far WHERE a < 900 UNION ALL SELECT id FROM far WHERE tags @> ARRAY[7]) x',
	'many rows'     => 'SELECT count(*) FROM far WHERE tags && ARRAY[1,2,3,4,5,6,7,8,9,10]');
for my $name (sort keys %queries)
{
	my $settings = $queries{$name} =~ s/^((?:SET [^;]*; )*)// ? $1 : '';
	my $right = $node->safe_psql('postgres', "SET enable_bitmapscan = off; SET enable_seqscan = on; $queries{$name}");
	like($node->safe_psql('postgres', "$bitmap $settings EXPLAIN $queries{$name}"), qr/Bitmap Heap Scan on far/, "$name: the plan");
	is($node->safe_psql('postgres', "$bitmap $settings $queries{$name}"), $right, "$name: the rows");
}
is($node->safe_psql('postgres', "$bitmap CREATE FUNCTION in_function() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM far WHERE a < 500); END'; SELECT in_function()"),
	$node->safe_psql('postgres', 'SELECT count(*) FROM far WHERE a < 500'), 'in a function');
is($node->safe_psql('postgres', "$bitmap BEGIN; DECLARE c CURSOR FOR SELECT id FROM far WHERE a < 500; MOVE ALL FROM c; COMMIT"), '', 'in a cursor');

# A bitmap of 64 kB names the rows of some 1,000 blocks of 291 rows; this table has 1,375 of them.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO many SELECT g, (g::bigint * 7919 % 9973)::int FROM generate_series(1, 400000) g;
INSERT INTO many_heap SELECT * FROM many;
CREATE INDEX ON many (a);
ANALYZE many;
SQL

# Each condition on both tables, after the changes, which are not kept.
sub compare_lossy
{
	my ($name, $changes) = @_;
	my $small = "SET work_mem = '64kB'; $bitmap";
	my $what  = 'SELECT count(*), min(id), max(id), md5(string_agg(id || \' \' || a, \',\' ORDER BY id, a))';

	$changes = join('', map { s/;?$/;/r } map { ($_, s/\bmany\b/many_heap/r) } split /;\n/, $changes // '');
	for my $case (['', 'a BETWEEN 500 AND 700 AND id % 291 < 2'], ['', 'a < 80 OR a > 9880'], [$parallel, 'a < 200'])
	{
		my ($settings, $where) = @$case;
		my $out = $node->safe_psql('postgres', <<"SQL");
SET work_mem = '64kB'; $bitmap $settings
BEGIN; $changes
SELECT 'heap', * FROM ($what FROM many_heap WHERE $where) x;
SELECT 'magic', * FROM ($what FROM many WHERE $where) x;
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT id FROM many WHERE $where;
ROLLBACK;
SQL
		my ($heap)  = $out =~ /^heap(.*)/m;
		my ($magic) = $out =~ /^magic(.*)/m;
		like($out, qr/Bitmap Heap Scan on many\b(?!.*Bitmap Heap Scan).*Heap Blocks: (?:exact=\d+ )?lossy=[1-9]/s, "$name, $where: lossy");
		is($magic, $heap, "$name, $where: the rows of heap");
	}
	return;
}
my $own = <<'SQL';
INSERT INTO many SELECT g, 50 FROM generate_series(400001, 405000) g;
DELETE FROM many WHERE a = 60 OR id < 1000;
UPDATE many SET a = a - 150 WHERE a BETWEEN 600 AND 605;
SAVEPOINT s;
DELETE FROM many WHERE a BETWEEN 20 AND 30;
INSERT INTO many VALUES (500000, 10);
ROLLBACK TO s;
DELETE FROM many WHERE id BETWEEN 404000 AND 404100
SQL
compare_lossy('loaded');
compare_lossy('own changes', $own);
$node->safe_psql('postgres', "DELETE FROM $_ WHERE id % 3 = 0 OR id BETWEEN 200000 AND 210000") for 'many', 'many_heap';
compare_lossy('deleted rows');
# the compaction worker may still have an older snapshot
my $holes = 0;
for (1 .. 100)
{
	$node->safe_psql('postgres', "SELECT magic.compact('many')");
	$holes = $node->safe_psql('postgres', 'SELECT sum(span - rows) FROM magic.pack');
	last if $holes > 130000;
	usleep(100_000);
}
cmp_ok($holes, '>', 130000, 'magic.compact has left holes');
is($node->safe_psql('postgres', "SELECT * FROM magic.verify('many')"), '', 'magic.verify after magic.compact');
compare_lossy('holes');
compare_lossy('holes and own changes', $own);

# Two sessions change the same row of `few`; the second checks its condition again, with sub-plans that
# look into `far`.
my %rechecks = (
	'sub-plan' => 'UPDATE few SET v = v + (SELECT count(*) FROM far WHERE a < 10 * few.id AND tags && ARRAY[few.id]) WHERE id = 1 AND v >= 0',
	'init plan' => 'UPDATE few SET v = v + (SELECT count(*) FROM far WHERE a < 500) WHERE id = 1 AND v >= 0 AND random() < 2 AND v <= (SELECT count(*) FROM far WHERE a < 800)',
	'NOT IN'    => 'UPDATE few SET v = v + 1 WHERE id = 1 AND v NOT IN (SELECT -id FROM far WHERE a < 10 * few.id)',
	'UNION ALL' => 'UPDATE few SET v = v + 1 FROM (SELECT id FROM far WHERE a < 9 UNION ALL SELECT id FROM far WHERE a > 1000) x WHERE few.id = 1 AND x.id > few.v',
	'join'      => 'UPDATE few SET v = v + 1 FROM far WHERE few.id = 1 AND far.a BETWEEN 700 AND 900 AND far.tags && ARRAY[3] AND few.v < far.id',
	'locking'   => 'SELECT id FROM few WHERE id = 1 AND v <= (SELECT count(*) FROM far WHERE a < 800 + few.id) FOR UPDATE',
	'locking below a CTE' => 'WITH x AS MATERIALIZED (SELECT id FROM far WHERE a < 800) SELECT * FROM (SELECT id FROM few WHERE id = 1 AND v NOT IN (SELECT -id FROM x) FOR UPDATE) y',
	'changing CTE' => 'WITH u AS (UPDATE few SET v = v + 1 WHERE id = 1 AND v <= (SELECT count(*) FROM far WHERE a < 800 + few.id) RETURNING 1) SELECT count(*) FROM u',
	'delete'    => 'DELETE FROM few WHERE id = 1 AND v <= (SELECT count(*) FROM far WHERE a < 800 + few.id)');
for my $name (sort keys %rechecks)
{
	$node->safe_psql('postgres', 'INSERT INTO few VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET v = 0');
	my $first = $node->background_psql('postgres');
	my ($out, $err) = ('', '');
	$first->query_safe('BEGIN; UPDATE few SET v = v + 1 WHERE id = 1');
	my $second = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') . ' application_name=second', '-c', $bitmap, '-c', $rechecks{$name} ],
		'<', \undef, '>', \$out, '2>', \$err);
	my $waits = 0;
	for (1 .. 50)
	{
		$waits = $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'second' AND wait_event_type = 'Lock'");
		last if $waits;
		usleep(100_000);
	}
	ok($waits, "$name: waits for the row");
	$first->query_safe('COMMIT');
	$second->finish;
	is($err, '', "$name: re-checked");
	$first->quit;
}

# A statement that changes rows still finds its own by a bitmap.
like($node->safe_psql('postgres', "$bitmap EXPLAIN DELETE FROM far WHERE tags @> ARRAY[5, 7]"), qr/Bitmap Heap Scan on far/, 'DELETE by GIN');
like($node->safe_psql('postgres', "$bitmap EXPLAIN SELECT id FROM far WHERE tags @> ARRAY[5, 7] FOR UPDATE"), qr/Bitmap Heap Scan on far/, 'FOR UPDATE by GIN');
is($node->safe_psql('postgres', "SELECT * FROM magic.verify('far')"), '', 'magic.verify');
$node->stop;
done_testing();
