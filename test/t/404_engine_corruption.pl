# A flipped byte, a zeroed page, a cut file, a page in another's place: an error that names the relation and
# the block, or the right rows; never other rows, never a crash, with and without data checksums. A flipped
# byte is found in every page of many small tables, and in packs that lie in the directory itself.
# magic.skip_damaged_packs reads around the damage, and nothing makes the loss final.
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
my $rounds = long_run() ? 200 : 20;
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
	my ($errors, $found, $harmless, $nameless, $wrong) = (0, 0, 0, 0, 0);

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
		# reads that failed, also those that magic.verify went on after, leave no page that others wait for
		$node->psql('postgres', "SET statement_timeout = '60s'; $query", stderr => \my $again);
		fail("$name, round $round, byte $where, kind $kind: the next reader waits for good") if $again =~ /statement timeout/;
		if ($status == 2)
		{
			fail("$name, round $round, byte $where, kind $kind: the server crashed");
			diag($err);
		}
		elsif ($status != 0)
		{
			$errors++;
			if ($err !~ /block \d+ of relation "d"/)
			{
				$nameless++;
				diag("error without a place: $err");
			}
		}
		elsif ($out ne $right)
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
	is($wrong, 0, "$name: never other rows ($errors errors, $found only by magic.verify, $harmless harmless)");
	is($nameless, 0, "$name: every error names relation and block");
	cmp_ok($errors + $found, '>', 0, "$name: damage is found");

	# the file is gone
	unlink $path;
	$node->start;
	my ($out, $err) = ('', '');
	isnt($node->psql('postgres', $query, stdout => \$out, stderr => \$err), 0, "$name: a missing file is an error");
	like($err, qr/could not open file.*reading the size of relation "d"/s, "$name: which names file and relation");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM other'), '1000', "$name: another table is readable");
	$node->safe_psql('postgres', 'DROP TABLE d');
	$node->stop;
}

# Without data checksums: a byte of one page of each of many tables, every page in turn.
my $node = magic_node('corrupt_pages', conf => 'autovacuum = off');
my %shapes = (
	a => 'SELECT g AS id, g % 7 AS v, md5(g::text) AS t, g / 8.0 AS n FROM generate_series(1, 1200) g',
	b => q{SELECT g AS id, CASE WHEN g % 3 > 0 THEN g / 7.0::float8 END AS f, 'row ' || g % 5 AS d, sha256(g::text::bytea) AS b FROM generate_series(1, 900) g},
	c => q{SELECT g AS id, timestamptz '2020-01-01 UTC' + g * interval '1 minute' AS w, repeat('compressible ', g % 90) || g AS t, gen_random_uuid() AS u FROM generate_series(1, 1500) g},
);
my $per_shape = 8;
my (%table, %right);
for my $shape (sort keys %shapes)
{
	for my $i (1 .. $per_shape)
	{
		$node->safe_psql('postgres',
			$i == 1 ? "CREATE TABLE ${shape}1 USING magic AS $shapes{$shape}" : "CREATE TABLE $shape$i USING magic AS TABLE ${shape}1");
	}
}
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE small (id int, t text, n numeric) USING magic;
INSERT INTO small SELECT g, 'some text ' || g, g / 3.0 FROM generate_series(1, 20) g;
INSERT INTO small SELECT g, repeat('text ', g % 9), g FROM generate_series(100, 164) g;
CREATE TABLE moved USING magic AS SELECT g AS id, md5(g::text) AS v FROM generate_series(1, 5000) g;
CHECKPOINT;
SQL
my $sum = sub { return "SELECT count(*) || ' ' || md5(string_agg(x::text, '|')) FROM $_[0] x" };
for my $name ((map { my $s = $_; map { "$s$_" } 1 .. $per_shape } sort keys %shapes), 'small', 'moved')
{
	$table{$name} = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$name')");
	$right{$name} = $node->safe_psql('postgres', $sum->($name));
}
my $directory = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('magic.pack')");
$node->stop;
my %good = map { $_ => slurp_file($table{$_}) } keys %table;
my $packs = slurp_file($directory);

sub spill
{
	my ($path, $bytes) = @_;
	open my $file, '>:raw', $path or die $!;
	print $file $bytes;
	close $file;
	return;
}

my ($flips, $told, $unharmed) = (0, 0, 0);
for my $round (1 .. (long_run() ? 60 : 6))
{
	my %flipped;
	for my $name (grep { /^[abc]\d/ } sort keys %table)
	{
		my $pages = length($good{$name}) / 8192;
		my $where = 8192 * (($round + ord($name) + substr($name, 1)) % $pages) + int(rand(8192));
		my $bad   = $good{$name};
		substr($bad, $where, 1) = chr(ord(substr($bad, $where, 1)) ^ (1 + int(rand(255))));
		spill($table{$name}, $bad);
		$flipped{$name} = $where;
	}
	# packs within the directory: a byte behind one's magic number, before its last value
	my @at;
	push @at, pos($packs) while $packs =~ /mPak/g;
	my $where = $at[ rand @at ] + int(rand(60));
	my $bad   = $packs;
	substr($bad, $where, 1) = chr(ord(substr($bad, $where, 1)) ^ (1 + int(rand(255))));
	spill($directory, $bad);
	$flipped{small} = $where;
	# two pages of one table trade places
	my $moved = $good{moved};
	my $one   = 8192 * (1 + $round % 5);
	my $two   = 8192 * (6 + $round % 5);
	(substr($moved, $one, 8192), substr($moved, $two, 8192)) = (substr($moved, $two, 8192), substr($moved, $one, 8192));
	spill($table{moved}, $moved);
	$flipped{moved} = $one;

	$node->start;
	for my $name (sort keys %flipped)
	{
		my ($out, $err) = ('', '');
		my $status = $node->psql('postgres', '\set VERBOSITY verbose' . "\n" . $sum->($name), stdout => \$out, stderr => \$err);
		$flips++;
		if ($status == 2)
		{
			fail("byte $flipped{$name} of $name: the server crashed");
			diag($err);
		}
		elsif ($status == 0)
		{
			$unharmed++;
			is($out, $right{$name}, "byte $flipped{$name} of $name: the right rows") if $out ne $right{$name} || $name eq 'moved';
		}
		else
		{
			$told++;

			# the metapage's version: of another library, as far as this one can know
			next if $flipped{$name} >= 28 && $flipped{$name} < 32 && $err =~ /0A000/;
			fail("byte $flipped{$name} of $name: $err")
			  if $name eq 'small' ? $err !~ /XX001/ : $err !~ /XX001/ || $err !~ /block \d+ of relation "$name"/;
		}
		fail('two pages that traded places are told') if $name eq 'moved' && $status == 0;
	}
	$node->stop('immediate');
}
cmp_ok($told, '>', $flips / 4, "$told of $flips flips gave an error, $unharmed the right rows");
spill($table{$_}, $good{$_}) for keys %table;
spill($directory, $packs);
$node->start;
is($node->safe_psql('postgres', $sum->($_)), $right{$_}, "$_ is itself again") for 'a1', 'small', 'moved';

# Reading around the damage: magic.skip_damaged_packs.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE s (id int PRIMARY KEY, t text) USING magic;
INSERT INTO s SELECT g, md5(g::text) FROM generate_series(1, 3000) g;
INSERT INTO s SELECT g, md5(g::text) FROM generate_series(3001, 6000) g;
INSERT INTO s SELECT g, md5(g::text) FROM generate_series(6001, 9000) g;
CREATE TABLE tiny (id int) USING magic;
INSERT INTO tiny VALUES (1);
INSERT INTO tiny VALUES (777777777);
CREATE ROLE reader;
GRANT SELECT ON s TO reader;
CHECKPOINT;
SQL
my $path  = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('s')");
my $block = $node->safe_psql('postgres', "SELECT max(block) + 2 FROM magic.pack WHERE first_row = 3000 AND rows = 3000");
my $index = $node->safe_psql('postgres', "SELECT md5(string_agg(t, '|' ORDER BY id)) FROM s WHERE id NOT BETWEEN 3001 AND 6000");
my $whole = $node->safe_psql('postgres', "SELECT count(*), md5(string_agg(t, '|' ORDER BY id)) FROM s");
$node->stop;
my $sound = slurp_file($path);
my $hurt  = $sound;
substr($hurt, $block * 8192 + 4000, 1) = chr(ord(substr($hurt, $block * 8192 + 4000, 1)) ^ 4);
spill($path, $hurt);
# the pack of tiny's second row lies in the directory; its only value ends it, a varint
my $inline = slurp_file($directory);
my $zigzag = 2 * 777777777;
my $varint = join '', map { chr(($zigzag >> (7 * $_) & 0x7f) | ($_ < 4 ? 0x80 : 0)) } 0 .. 4;
my $at     = index($inline, $varint);
cmp_ok($at, '>', 0, 'a row of an inline pack is found in the file');
substr($inline, $at, 1) = chr(ord(substr($inline, $at, 1)) ^ 2);
spill($directory, $inline);
$node->start;

# output and messages of a script, with the setting on
sub around
{
	my ($sql, $before) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', ($before // 'SET magic.skip_damaged_packs = on;') . "\n$sql", stdout => \$out, stderr => \$err);
	return ($out, $err);
}

my ($out, $err) = around('SELECT count(*), sum(length(t)) FROM s', '');
like($err, qr/block $block of relation "s" is damaged/, 'off: an error');
($out, $err) = around("SELECT md5(string_agg(t, '|' ORDER BY id)) FROM s WHERE id > 0");
is($out, $index, 'on: a scan gives the other rows');
like($err, qr/WARNING:  skipping 3000 rows of relation "s" in a damaged pack\s.*Block $block:.* \(10,91\) and \(20,180\)/s, 'and says which are missing');
($out, $err) = around('SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SELECT count(*) FROM s');
is($out, 6000, 'so does a parallel scan');
($out, $err) = around('BEGIN; DECLARE c SCROLL CURSOR FOR SELECT id FROM s; MOVE FORWARD ALL FROM c; FETCH BACKWARD 1 FROM c; MOVE BACKWARD 2999 FROM c; FETCH BACKWARD 1 FROM c; ROLLBACK');
is($out, "9000\n3000", 'and one backward');
($out, $err) = around('SET enable_seqscan = off; SELECT id FROM s WHERE id IN (1, 3001, 4500, 6000, 6001) ORDER BY id');
is($out, "1\n6001", 'to an index scan the rows are absent');
is(scalar(() = $err =~ /WARNING/g), 1, 'with one warning');
($out, $err) = around('INSERT INTO s VALUES (4500, NULL)');
like($err, qr/duplicate key/, 'to a unique check they are there');
for my $command ('VACUUM FULL s', 'CREATE INDEX ON s (t)', 'ALTER TABLE s ALTER id TYPE bigint', 'CLUSTER s USING s_pkey', "SELECT magic.compact('s')")
{
	($out, $err) = around($command);
	like($err, qr/ERROR:  block $block of relation "s" is damaged/, "$command fails");
}
($out, $err) = around('SELECT id FROM tiny', '');
like($err, qr/ERROR:  pack is corrupted/, 'a pack in the directory that is damaged');
($out, $err) = around('SELECT id FROM tiny');
is($out, 1, 'is left out alike');
like($err, qr/skipping 1 row of relation "tiny"/, 'with a warning');
around('BEGIN; DELETE FROM s; ROLLBACK; VACUUM s; ANALYZE s');
($out, $err) = around('SET magic.skip_damaged_packs = on', 'SET ROLE reader;');
like($err, qr/permission denied to set parameter/, 'only a superuser sets it');
($out, $err) = around('CREATE TABLE saved AS TABLE s; SELECT count(*) FROM saved');
is($out, 6000, 'what is left can be copied');
$node->stop;
substr($hurt = slurp_file($path), $block * 8192, 8192) = substr($sound, $block * 8192, 8192);
spill($path, $hurt);
$node->start;
is($node->safe_psql('postgres', "SELECT count(*), md5(string_agg(t, '|' ORDER BY id)) FROM s"), $whole, 'nothing was folded away or written over');
is($node->safe_psql('postgres', "SELECT * FROM magic.verify('s')"), '', 'and all agrees');

# Figures: one damaged table does not hide those of the others.
$node->safe_psql('postgres', 'CREATE TABLE version (id int) USING magic; CREATE TABLE lost (id int) USING magic; CHECKPOINT');
my %file = map { $_ => $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$_')") } qw(a1 b1 c1 version lost);
$node->stop;
my %sound = map { $_ => slurp_file($file{$_}) } keys %file;
# the metapage: a wrong checksum, zeros; a version to come; a pack; no file
substr(my $wrong = $sound{a1}, 24 + 24, 1) = chr(ord(substr($sound{a1}, 24 + 24, 1)) ^ 1);
spill($file{a1}, $wrong);
spill($file{b1}, "\0" x 8192 . substr($sound{b1}, 8192));
substr(my $newer = $sound{version}, 24 + 4, 1) = chr(2);
spill($file{version}, $newer);
substr(my $pack = $sound{c1}, 8192 + 100, 1) = chr(ord(substr($sound{c1}, 8192 + 100, 1)) ^ 1);
spill($file{c1}, $pack);
unlink $file{lost};
$node->start;
my $names = "'a1', 'b1', 'c1', 'lost', 's', 'version'";
($out, $err) = around("SELECT relation, rows, packs > 0, row_numbers_left > 0 FROM magic.table_stats WHERE relation::text IN ($names) ORDER BY relation::text", '');
is($out, "a1|||\nb1|||\nc1|1500|t|t\nlost|||\ns|9000|t|t\nversion|||", 'magic.table_stats shows damaged tables without figures, and the others');
like($err, qr/WARNING:  block 0 of relation "a1" is damaged/, 'a warning tells what is wrong');
like($err, qr/WARNING:  block 0 of relation "b1" is not a metapage/, 'of each of them');
like($err, qr/WARNING:  could not open file .*No such file/, 'also if its file is gone');
like($err, qr/WARNING:  relation "version" has magic format version 2/, 'or not for this library');
unlike($err, qr/ERROR/, 'and none is an error');
($out, $err) = around("SELECT relation, columns IS NOT NULL FROM magic.table_stats WHERE relation::text IN ($names) ORDER BY relation::text", '');
is($out, "a1|f\nb1|f\nc1|f\nlost|f\ns|t\nversion|f", 'so it is with the figures of the columns, which come from the packs');
like($err, qr/WARNING:  block 1 of relation "c1" is damaged/, 'where a pack may be damaged');
($out, $err) = around("BEGIN; INSERT INTO a2 (id) VALUES (-1); SELECT relation, rows FROM magic.table_stats WHERE relation::text IN ('a1', 'a2') ORDER BY 1; COMMIT; SELECT count(*) FROM a2", '');
is($out, "a1|\na2|1201\n1201", 'within a transaction that has rows of its own pending, too');
$node->stop;
done_testing();
