# A flipped byte, a zeroed page, a cut file: an error that names the relation and the block, or a line
# of magic.verify; never a crash. With data checksums, never other rows than were written.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

if (access_method() ne 'magic')
{
	plan skip_all => 'about the format of magic';
}
my $rounds = long_run() ? 500 : 20;
my $seed   = $ENV{SEED} // int(rand(1e9));
srand($seed);
diag("seed $seed");

for my $checksums (0, 1)
{
	my $name = $checksums ? 'with checksums' : 'without checksums';
	my $node = magic_node("corrupt_$checksums", $checksums ? (extra => [ '--data-checksums', '--no-locale', '-E', 'UTF8' ]) : (), conf => 'autovacuum = off');
	$node->safe_psql('postgres', <<'SQL');
CREATE TABLE d (id int PRIMARY KEY, v int, t text, n numeric, f float8) USING magic;
INSERT INTO d SELECT g, g % 100, md5(g::text), g / 8.0, g / 7.0 FROM generate_series(1, 30000) g;
CREATE TABLE other (id int) USING magic;
INSERT INTO other SELECT generate_series(1, 1000);
CHECKPOINT;
SQL
	my $query = 'SELECT count(*), sum(id), sum(v), md5(string_agg(t, NULL ORDER BY id)), sum(n), sum(f) FROM d';
	my $right = $node->safe_psql('postgres', $query);
	my $path  = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('d')");
	$node->stop;
	my $good = slurp_file($path);
	my ($errors, $found, $harmless, $named, $wrong) = (0, 0, 0, 0, 0);

	for my $round (1 .. $rounds)
	{
		my $bad   = $good;
		my $where = int(rand(length $bad));
		my $kind  = $round % 10;
		if    ($kind == 0) { $where -= $where % 8192; substr($bad, $where, 8192) = "\0" x 8192; }
		elsif ($kind == 1) { $where -= $where % 8192; $bad = substr($bad, 0, $where); }
		elsif ($kind == 2) { substr($bad, $where, 4) = pack('V', int(rand(2**32))) if $where + 4 <= length $bad; }
		else               { substr($bad, $where, 1) = chr(ord(substr($bad, $where, 1)) ^ (1 << int(rand(8)))); }
		open my $file, '>:raw', $path or die $!;
		print $file $bad;
		close $file;
		$node->start;
		my ($out, $err) = ('', '');
		my $status = $node->psql('postgres', $query, stdout => \$out, stderr => \$err);
		my ($verify, $verify_err) = ('', '');
		$node->psql('postgres', "SELECT * FROM magic.verify('d')", stdout => \$verify, stderr => \$verify_err);
		if ($status == 2)
		{
			fail("$name, round $round, byte $where, kind $kind: the server crashed");
			diag($err);
		}
		elsif ($status != 0)
		{
			$errors++;
			$named++ if $err =~ /"d"|base\/\d+\/\d+|relation/;
			diag("error without a place: $err") if $err !~ /"d"|base\/\d+\/\d+|block/;
		}
		elsif ($out ne $right && ($checksums || $verify . $verify_err eq ''))
		{
			$wrong++;
			diag("$name, round $round, byte $where, kind $kind: wrong rows: $out");
		}
		elsif ($verify . $verify_err ne '') { $found++; }
		else                                { $harmless++; }
		is($node->safe_psql('postgres', 'SELECT count(*) FROM other'), '1000', "$name, round $round: another table is readable")
		  if $round % 10 == 0;
		$node->stop('immediate');
	}
	is($wrong, 0, "$name: no damage that nothing tells of ($errors errors, $found only by magic.verify, $harmless harmless)");
	cmp_ok($errors + $found, '>', 0, "$name: damage is found");

	# the file is gone
	unlink $path;
	$node->start;
	my ($out, $err) = ('', '');
	isnt($node->psql('postgres', $query, stdout => \$out, stderr => \$err), 0, "$name: a missing file is an error");
	like($err, qr/could not (open|read)|No such file/, "$name: which names the file") or diag($err);
	is($node->safe_psql('postgres', 'SELECT count(*) FROM other'), '1000', "$name: another table is readable");
	$node->safe_psql('postgres', 'DROP TABLE d');
	$node->stop;
}
done_testing();
