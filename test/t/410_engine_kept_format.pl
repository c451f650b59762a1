# The disk format of every version is read value by value: tables as files of that version, with their rows of
# the directory and of the deltas, against heap tables filled by the same script; and they can be written to.
#
# MAGIC_KEEP_FORMAT=directory keeps the files of this build there instead.
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
my $fixtures = "$ENV{MAGIC_SRC}/test/fixtures/format";
my $keep     = $ENV{MAGIC_KEEP_FORMAT};
# what column_stats calls the encodings and layouts of a version
my %encodings = (1 => 'dictionary fsst int128 integers lz4 none plain rows zstd');
my @tables   = qw(integers floats numerics strings longs tiny columns_inline none deltas holes rare altered);

# A node with the tables of a version's script in schema m (magic) and h (heap).
sub make_node
{
	my ($name) = @_;
	my $node   = magic_node($name, conf => "autovacuum = off\nmagic.compaction = off\ntimezone = UTC\n");
	my $script = slurp_file("$fixtures/tables.sql");

	for my $pair ([ m => 'magic' ], [ h => 'heap' ])
	{
		my ($schema, $am) = @$pair;
		$node->safe_psql('postgres', "CREATE SCHEMA $schema");
		$node->safe_psql('postgres', "SET search_path = $schema; SET default_table_access_method = $am;\n$script");
	}
	$node->safe_psql('postgres', "SELECT magic.compact('m.$_')") for qw(holes rare);
	return $node;
}

sub file_of
{
	my ($node, $table) = @_;
	return $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('m.$table')");
}

# The storage id in a file's metapage.
sub storage_of { return unpack('q<', substr($_[0], 24 + 8, 8)); }

sub spill
{
	my ($path, $bytes) = @_;
	open my $file, '>:raw', $path or die "$path: $!";
	print $file $bytes;
	close $file;
	return;
}

sub same
{
	my ($node, $table, $what) = @_;
	my $rows = 'SELECT count(*) || \' \' || md5(string_agg(x::text, \'|\' ORDER BY x::text)) FROM %s.%s x';
	is($node->safe_psql('postgres', sprintf($rows, 'm', $table)), $node->safe_psql('postgres', sprintf($rows, 'h', $table)), $what);
	return;
}

if ($keep)
{
	my $node  = make_node('keep');
	my %path  = map { $_ => file_of($node, $_) } @tables;
	my %id;
	$node->safe_psql('postgres', 'CHECKPOINT');
	$node->stop;
	for my $table (@tables)
	{
		my $bytes = slurp_file($path{$table});
		$id{$table} = storage_of($bytes);
		# the LSNs mean nothing elsewhere
		substr($bytes, 8192 * $_, 8) = "\0" x 8 for 0 .. length($bytes) / 8192 - 1;
		spill("$keep/$table.file", $bytes);
	}
	$node->start;
	for my $table (@tables)
	{
		spill("$keep/$table.pack", $node->safe_psql('postgres', "COPY (SELECT * FROM magic.pack WHERE storage = $id{$table} ORDER BY first_row) TO STDOUT") . "\n");
		spill("$keep/$table.delta", $node->safe_psql('postgres', "COPY (SELECT * FROM magic.delete_delta WHERE storage = $id{$table} ORDER BY block, entries) TO STDOUT") . "\n");
	}
	pass("kept in $keep");
	done_testing();
	exit;
}

my @versions = sort map { /(\d+)$/ ? $1 : () } glob("$fixtures/*");
cmp_ok(scalar @versions, '>', 0, 'versions are kept');
for my $version (@versions)
{
	my $node = make_node("format_$version");
	my %path = map { $_ => file_of($node, $_) } @tables;
	my %before = map { $_ => $node->safe_psql('postgres', "SELECT count(*) FROM m.$_") } @tables;
	$node->stop;
	my %id;
	for my $table (@tables)
	{
		my $bytes = slurp_file("$fixtures/$version/$table.file");
		$id{$table} = storage_of($bytes);
		spill($path{$table}, $bytes);
	}
	$node->start;
	# without its rows of the directory a table is empty: what is read later comes from the kept files
	is($node->safe_psql('postgres', "SELECT sum(n) FROM (" . join(' UNION ALL ', map { "SELECT count(*) AS n FROM m.$_" } @tables) . ") x"), '0',
		"version $version: the files are in place");
	for my $table (@tables)
	{
		my $packs  = slurp_file("$fixtures/$version/$table.pack");
		my $deltas = slurp_file("$fixtures/$version/$table.delta");
		$_ =~ s/^\n\z// for $packs, $deltas;
		$node->safe_psql('postgres', "SET allow_system_table_mods = on; COPY magic.pack FROM STDIN;\n$packs\\.\n");
		$node->safe_psql('postgres', "SET allow_system_table_mods = on; COPY magic.delete_delta FROM STDIN;\n$deltas\\.\n");
	}
	for my $table (@tables)
	{
		cmp_ok($before{$table}, '>', 0, "$table has rows");
		same($node, $table, "version $version, $table: every value");
		is($node->safe_psql('postgres', "SELECT * FROM magic.verify('m.$table')"), '', "version $version, $table: sound");
	}

	# every encoding and layout is among them
	my $seen = $node->safe_psql('postgres', "SELECT string_agg(DISTINCT encoding, ' ' ORDER BY encoding) FROM (" .
		join(' UNION ALL ', map { "SELECT encoding FROM magic.column_stats('m.$_')" } @tables) . ') x');
	is($seen, $encodings{$version}, "version $version: every encoding is among them");

	# written to, merged with what this version writes, and read again
	for my $schema ('m', 'h')
	{
		$node->safe_psql('postgres', "INSERT INTO $schema.$_ SELECT * FROM $schema.$_ LIMIT 0") for @tables;
		$node->safe_psql('postgres', <<"SQL");
INSERT INTO $schema.deltas SELECT g, 'new ' || g FROM generate_series(50001, 52000) g;
UPDATE $schema.deltas SET t = 'changed' WHERE id % 500 = 1;
DELETE FROM $schema.strings WHERE n::text LIKE '%7';
UPDATE $schema.altered SET added = -1, empty = 'full' WHERE id % 10 = 0;
INSERT INTO $schema.tiny SELECT g FROM generate_series(1, 5) g;
DELETE FROM $schema.rare WHERE id % 300 = 0;
SQL
	}
	for my $table (@tables)
	{
		$node->safe_psql('postgres', "SELECT magic.compact('m.$table')");
		$node->safe_psql('postgres', "VACUUM m.$table");
		same($node, $table, "version $version, $table: after writes and merges");
	}
	is($node->safe_psql('postgres', join(' UNION ALL ', map { "SELECT * FROM magic.verify('m.$_')" } @tables)), '', "version $version: still sound");
	$node->stop;
}
done_testing();
