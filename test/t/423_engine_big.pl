# Values of 64 MB (1 GB in make check-long): inserted, read, updated, copied out and in, merged, logged and
# recovered after a crash, too large ones refused; the memory for them is given back.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $am = access_method();
# a value may have 2^30 - 1 bytes with its header of 4
my $big = long_run() ? 1_073_741_000 : 64_000_000;
my $random = long_run() ? 9_600_000 : 100_000;

my $node = magic_node('main', conf => "autovacuum = off\nmax_wal_size = 4GB\nwork_mem = 64MB");
engine_helpers($node);
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE big (id int PRIMARY KEY, v text, small int) USING $am;
INSERT INTO big VALUES (1, repeat('abcdefg', $big / 7), 1), (2, 'short', 2), (3, NULL, 3);
INSERT INTO big SELECT 4, string_agg(md5(g::text), ''), 4 FROM generate_series(1, $random) g;
SQL
my $sums = 'SELECT id, length(v), CASE WHEN length(v) < 400000000 THEN md5(v) ELSE md5(right(v, 1000)) END, small FROM big ORDER BY id';
my $right = $node->safe_psql('postgres', $sums);
is((split /\|/, (split /\n/, $right)[0])[1], int($big / 7) * 7, 'the value has its length');
is($node->safe_psql('postgres', 'SELECT sum(small) FROM big'), '10', 'another column is read without it');
kill_and_start($node);
is($node->safe_psql('postgres', $sums), $right, 'after a crash');
$node->safe_psql('postgres', $_) for "SELECT merge('big')", 'VACUUM big';
is($node->safe_psql('postgres', $sums), $right, 'merged');
my $file = "${PostgreSQL::Test::Utils::tmp_check}/big.copy";
my $format = long_run() ? 'binary' : 'text';
$node->safe_psql('postgres', "COPY (SELECT id + 100, v, small FROM big WHERE id IN (2, 3, 4)) TO '$file' (FORMAT $format); COPY big FROM '$file' (FORMAT $format)");
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT md5(v)) FROM big WHERE small = 4'), '2|1', 'copied out and in');
is($node->safe_psql('postgres', "UPDATE big SET v = 'z' || substr(v, 2) WHERE id = 1 RETURNING length(v), left(v, 3)"), int($big / 7) * 7 . '|zbc', 'updated');
is($node->safe_psql('postgres', "BEGIN; DELETE FROM big WHERE id = 1; INSERT INTO big SELECT 1, repeat('y', $big), 1; ROLLBACK; SELECT left(v, 3) FROM big WHERE id = 1"), 'zbc', 'changed and rolled back');
is($node->safe_psql('postgres', "SELECT * FROM problems('big')"), '', 'magic.verify');

# too large: an error, and the table is as it was
my ($out, $err) = ('', '');
isnt($node->psql('postgres', "INSERT INTO big SELECT 5, repeat('x', 600000000) || repeat('y', 600000000), 5", stdout => \$out, stderr => \$err), 0, 'more than 1 GB is refused');
like($err, qr/invalid memory alloc request size|out of memory|exceeds/, 'with an error');
is($node->safe_psql('postgres', 'SELECT count(*) FROM big'), '7', 'the table is as it was');

# many of them in one statement need the memory of a few
my $rows = long_run() ? 30 : 8;
my $peak = sub { my ($n) = @_; return $node->safe_psql('postgres', <<"SQL"); };
CREATE TABLE many (id int, v text) USING $am;
INSERT INTO many SELECT g, repeat(chr(64 + g), 10000000) FROM generate_series(1, $n) g;
SELECT pg_read_file('/proc/' || pg_backend_pid() || '/status') ~ 'VmHWM:\\s+\\d{1,6} kB';
SELECT count(*), sum(length(v)) FROM many;
DROP TABLE many;
SQL
is($peak->($rows), "t\n$rows|" . $rows * 10_000_000, 'many in one statement, below 1 GB of memory');
done_testing();
