# Pages of loads that were rolled back: VACUUM finds them, also when xids have wrapped around since, the next
# load takes them, and those of a load that runs are left alone.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use Test::More;

if (access_method() ne 'magic')
{
	plan skip_all => 'about the pages of magic';
}
my $node = magic_node('leaked', conf => "autovacuum = off\nmagic.compaction = off");
engine_helpers($node);
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE t (id int, x text) USING magic;
INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
SQL
my $path = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('t')");

sub pages { return $node->safe_psql('postgres', "SELECT pg_relation_size('t') / 8192"); }
sub free_pages { return $node->safe_psql('postgres', 'SELECT coalesce(sum(pages), 0) FROM magic.free_extent'); }

# A load that has written its pages and is rolled back; the numbers of its first page and of that behind its last.
sub leak
{
	my $from = pages();
	$node->safe_psql('postgres', "BEGIN; INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 4000) g; SELECT count(*) FROM t; ROLLBACK");
	return ($from, pages());
}

my ($from, $to) = leak();
cmp_ok($to - $from, '>', 5, 'a load that is rolled back leaves pages');
is(free_pages(), 0, 'nobody knows of them');
$node->safe_psql('postgres', 'VACUUM (TRUNCATE off) t');
is(free_pages(), $to - $from, 'VACUUM finds them');
$node->safe_psql('postgres', 'VACUUM (TRUNCATE off) t');
is(free_pages(), $to - $from, 'and counts them once');
$node->safe_psql('postgres', 'INSERT INTO t SELECT g, md5(g::text) FROM generate_series(5001, 8000) g');
is(pages(), $to, 'the next load takes them');

# More than 2^31 transactions later the xid of such a page looks like one that will come. The pages are given
# one: the page header has it at byte 20, the page tag a CRC-32C at byte 32 of storage id, block number, xid,
# the tag's first 8 bytes, and what follows the tag.
my @table;
for my $i (0 .. 255)
{
	my $crc = $i;
	$crc = $crc >> 1 ^ ($crc & 1 ? 0x82f63b78 : 0) for 1 .. 8;
	push @table, $crc;
}
sub crc32c
{
	my $crc = 0xffffffff;
	$crc = $crc >> 8 ^ $table[ ($crc ^ $_) & 0xff ] for unpack('C*', shift);
	return $crc ^ 0xffffffff;
}

sub set_writer
{
	my ($xid, @blocks) = @_;
	open my $file, '+<:raw', $path or die $!;
	seek $file, 32, 0;
	read $file, my $storage, 8 or die $!;
	for my $block (@blocks)
	{
		seek $file, $block * 8192, 0;
		read $file, my $page, 8192 or die $!;
		my $lower = unpack('v', substr($page, 12, 2));
		my $seal = sub { return $storage . pack('VV', $block, $_[0]) . substr($page, 24, 8) . substr($page, 40, $lower - 40); };
		die "block $block is not understood" if crc32c($seal->(unpack('V', substr($page, 20, 4)))) != unpack('V', substr($page, 32, 4));
		substr($page, 20, 4, pack('V', $xid));
		substr($page, 32, 4, pack('V', crc32c($seal->($xid))));
		seek $file, $block * 8192, 0;
		print $file $page;
	}
	close $file;
	return;
}
$node->safe_psql('postgres', 'VACUUM (TRUNCATE off) t') for 1 .. 2;
my $before = free_pages();
($from, $to) = leak();
my $next = $node->safe_psql('postgres', 'SELECT txid_snapshot_xmax(txid_current_snapshot())');
$node->stop;
set_writer($next + 1_000_000, $from .. $to - 1);
$node->start;
$node->safe_psql('postgres', 'VACUUM (TRUNCATE off) t');
is(free_pages(), $before + $to - $from, 'VACUUM finds pages that were written before xids wrapped around');
is($node->safe_psql('postgres', 'SELECT count(*), sum(id), count(DISTINCT x) FROM t'), '8000|32004000|8000', 'the rows are there');

# A load that runs has pages that no row of the directory names for others.
my $load = $node->background_psql('postgres');
$load->query_safe('BEGIN');
$load->query_safe('INSERT INTO t SELECT g, md5(g::text) FROM generate_series(8001, 20000) g');
$load->query_safe('SELECT count(*) FROM t');
my $known = free_pages();
$node->safe_psql('postgres', 'VACUUM t') for 1 .. 2;
cmp_ok(free_pages(), '<=', $known, 'pages of a running load are not free');
$node->safe_psql('postgres', 'INSERT INTO t SELECT g, md5(g::text) FROM generate_series(20001, 30000) g');
$load->query_safe('COMMIT');
$load->quit;
is($node->safe_psql('postgres', 'SELECT count(*), sum(id), count(DISTINCT x) FROM t'), '30000|450015000|30000', 'nothing was written over them');
is($node->safe_psql('postgres', "SELECT * FROM problems('t')"), '', 'magic.verify');
$node->stop;
done_testing();
