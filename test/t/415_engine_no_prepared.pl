# Where max_prepared_transactions is 0, as it is by default, what a backend keeps of deletions and packs is
# valid until the table's change counter moves; where a transaction has been prepared the end of any transaction
# counts. Concurrent writers, unique checks and merges give the same there.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my @specs = qw(different-rows increment lock-levels merge-snapshot on-conflict partition-move rr-foreign-delete savepoint-locks unique-insert unique-merge);
my $node = magic_node('unprepared', conf => "max_prepared_transactions = 0\nautovacuum = off");
my $out = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', 'CREATE DATABASE isolation TEMPLATE template0');
$node->safe_psql('isolation', 'CREATE EXTENSION magic_fdw');
engine_helpers($node, 'isolation');
$ENV{PGOPTIONS} = '-c default_table_access_method=' . access_method();
$ENV{PGISOLATIONTIMEOUT} //= 60;
my $runner = $ENV{PG_REGRESS} =~ s{regress/pg_regress$}{isolation/pg_isolation_regress}r;
my $text = `'$runner' --use-existing --dbname=isolation --host='@{[ $node->host ]}' --port=@{[ $node->port ]} --bindir='' --inputdir='$ENV{MAGIC_SRC}/test/isolation' --outputdir='$out' @specs 2>&1`;
is($?, 0, 'as with prepared transactions') or diag($text, -e "$out/regression.diffs" ? slurp_file("$out/regression.diffs") : '');
my @passed = $text =~ /\.\.\. ok/g;
is(scalar @passed, scalar @specs, 'all specs ran') or diag($text);

# What a backend has read at the start of its transaction does not hide the changes of others.
my $am = access_method();
$node->safe_psql('postgres', "CREATE TABLE t (id int PRIMARY KEY, v int) USING $am; INSERT INTO t SELECT g, 0 FROM generate_series(1, 100) g");
my $one = $node->background_psql('postgres');
$one->query_safe('BEGIN');
$one->query_safe("UPDATE t SET v = 1 WHERE id = $_") for 1 .. 20;
$node->safe_psql('postgres', 'DELETE FROM t WHERE id = 50; UPDATE t SET v = 7 WHERE id = 51');
$one->query_safe('INSERT INTO t VALUES (50, 2)');
is($one->query_safe('UPDATE t SET v = v + 1 WHERE id = 51 RETURNING v'), '8', 'a row updated by another transaction meanwhile');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (200, 0)');
is($one->query_safe('INSERT INTO t VALUES (200, 1), (201, 1) ON CONFLICT (id) DO UPDATE SET v = 9 RETURNING v'), "9\n1", 'a row inserted by another transaction meanwhile');
$one->query_safe('COMMIT');
$one->quit;
is($node->safe_psql('postgres', 'SELECT count(*), sum(v) FROM t'), '102|40', 'the rows') ;
$node->stop;
done_testing();
