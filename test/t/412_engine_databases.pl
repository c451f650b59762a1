# The tables of every database are merged in a server that has many: more than are scanned at once, and more than
# compaction has room for.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use Test::More;
use Time::HiRes qw(usleep);

my $node = magic_node('main', conf => 'autovacuum = off');

sub sql { my ($text, $database) = @_; return $node->safe_psql($database // 'postgres', $text); }

sub wait_for
{
	my ($text, $name, $database) = @_;
	my $last = '';

	for (1 .. 1200)
	{
		$last = eval { sql($text, $database) } // '';
		return pass($name) if $last eq 't';
		usleep(50_000);
	}
	fail($name);
	diag("$text gives $last");
	return;
}

my $many_packs = 'CREATE TABLE s (id int) USING magic; DO $$ BEGIN FOR i IN 1 .. 300 LOOP INSERT INTO s VALUES (i); COMMIT; END LOOP; END $$';
my $merged = "SELECT packs < 100 FROM magic.table_stats WHERE relation = 's'::regclass";

# After a restart nothing is known of the databases: scanners find them, and each is looked at.
sql('ALTER SYSTEM SET magic.compaction = off');
$node->reload;
sql('CREATE DATABASE seed');
sql('CREATE EXTENSION magic_fdw', 'seed');
sql($_, 'seed') for split /; (?=DO)/, $many_packs;
is(sql($merged, 'seed'), 'f', 'a table with many packs');
my @databases = map { "copy$_" } 1 .. (long_run() ? 70 : 3);
sql("CREATE DATABASE $_ TEMPLATE seed") for @databases;
sql('ALTER SYSTEM RESET magic.compaction');
$node->restart;
wait_for($merged, "it is merged in $_", $_) for @databases;
sql("DROP DATABASE $_") for @databases;

# As many databases as there is room for: those without work give way, those that are gone are forgotten.
sql('CREATE EXTENSION api_test');
cmp_ok(sql('SELECT fill_compaction_lines()'), '>', 900, 'the server has as many databases as compaction has room for');
sql('CREATE DATABASE more');
sql('CREATE EXTENSION magic_fdw', 'more');
sql($_, 'more') for split /; (?=DO)/, $many_packs;
wait_for($merged, 'a database more is served', 'more');
sql('DROP DATABASE more');
wait_for('SELECT made_up_compaction_lines() = 0', 'databases that are gone are forgotten');
done_testing();
