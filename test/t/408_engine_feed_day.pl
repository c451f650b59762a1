# A table that gets one row per transaction for a day is merged by itself: at its end it is hardly larger
# than one that was loaded at once, a scan reads hardly more packs, and the engine's metadata tables are
# small. With updates and deletions among the transactions, too. autovacuum does for the metadata what it
# does in a day: here it looks more often, because the day is shorter.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $day  = long_run() ? 86_400 : 6_000;
my $node = magic_node('main', conf => "autovacuum_naptime = 1s\nsynchronous_commit = off\nlog_min_messages = log");
my $dir  = PostgreSQL::Test::Utils::tempdir();
engine_helpers($node);

sub sql { my ($text) = @_; return $node->safe_psql('postgres', $text); }

# Transactions of one client, one after the other.
sub transactions
{
	my ($count, $script) = @_;
	open my $file, '>', "$dir/script.sql" or die $!;
	print $file $script;
	close $file;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'pgbench', '-n', '-c', 1, '-t', $count, '-h', $node->host, '-p', $node->port, '-f', "$dir/script.sql", 'postgres' ],
		'<', \undef, '>', \$out, '2>', \$err) or die $err;
	return;
}

# Wait until the worker has nothing left to do.
sub quiet
{
	for (1 .. 600)
	{
		return if sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'magic compaction worker'") eq '0';
		usleep(100_000);
	}
	return;
}

my $columns = "id bigint, at timestamptz, kind int, amount numeric(12,2), note text";
my $row = "now() + :i * interval '1 second', :i % 20, (:i * 7919 % 100000) / 100.0, 'note ' || (:i * 31 % 5000)";
sql("CREATE SEQUENCE s; CREATE TABLE day ($columns) USING magic; CREATE TABLE bulk ($columns) USING magic");
transactions($day, "SELECT nextval('s') AS i \\gset\nINSERT INTO day SELECT :i, $row;\n");
sql('INSERT INTO bulk SELECT * FROM day');
my $stats = "SELECT packs, inline_packs, size_bytes, write_amplification, merges FROM magic.table_stats WHERE relation = 'TABLE'::regclass";
quiet();
diag('day: ' . sql($stats =~ s/TABLE/day/r) . ' bulk: ' . sql($stats =~ s/TABLE/bulk/r));
my $ratio = sql("SELECT round(magic.table_size('day')::numeric / magic.table_size('bulk'), 3)");
my $small = sql("SELECT packs FROM magic.table_stats WHERE relation = 'day'::regclass");
cmp_ok($small, '<=', 130, 'few packs are left of the day');
cmp_ok(sql("SELECT magic.table_size('day')"), '<=', 1.3 * sql("SELECT magic.table_size('bulk')") + 40_000, "size against a table loaded at once ($ratio)");
is(sql('SELECT count(*) FROM (TABLE day EXCEPT ALL TABLE bulk) x'), '0', 'with the same rows');

# the same day with changes of the newest rows
sql('CREATE INDEX day_id ON day (id)');
transactions(int($day / 3), "SELECT nextval('s') AS i \\gset\nBEGIN;\nINSERT INTO day SELECT :i, $row;\nUPDATE day SET amount = amount + 1 WHERE id = :i - 10;\nDELETE FROM day WHERE id = :i - 500;\nCOMMIT;\n");
quiet();
sql('VACUUM day');
quiet();
sql('CREATE TABLE again (LIKE day) USING magic; INSERT INTO again SELECT * FROM day');
$ratio = sql("SELECT round(magic.table_size('day')::numeric / magic.table_size('again'), 3)");
diag('changed: ' . sql($stats =~ s/TABLE/day/r) . ' again: ' . sql($stats =~ s/TABLE/again/r));
cmp_ok(sql("SELECT magic.table_size('day')"), '<=', 1.3 * sql("SELECT magic.table_size('again')") + 100_000, "with changes, against the same rows loaded at once ($ratio)");
is(sql("SELECT * FROM problems('day')"), '', 'the table is sound');

# metadata: what is live takes some kB; dead rows are gone or reused
for my $table (qw(pack delete_delta free_extent))
{
	my $bytes = sql("SELECT pg_table_size('magic.$table') + pg_indexes_size('magic.$table')");
	diag("magic.$table: $bytes bytes, " . sql("SELECT count(*) FROM magic.$table") . ' rows');
	cmp_ok($bytes, '<', 4_000_000, "magic.$table has not bloated");
}
done_testing();
