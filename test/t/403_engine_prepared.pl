# Prepared transactions on a magic table keep their changes and their row locks over a restart and over a
# crash, and end either way afterwards.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use Test::More;

my $am = access_method();
my $node = magic_node('main');
engine_helpers($node);
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE p (id int PRIMARY KEY, v int) USING $am;
INSERT INTO p SELECT g, 0 FROM generate_series(1, 100) g;
SQL
my $state = 'SELECT count(*), sum(v), sum(id) FROM p';

sub prepare
{
	my ($name, $base) = @_;
	$node->safe_psql('postgres', <<"SQL");
BEGIN;
UPDATE p SET v = v + 1 WHERE id = $base;
DELETE FROM p WHERE id = $base + 1;
SAVEPOINT s;
INSERT INTO p VALUES ($base * 1000, 1);
DELETE FROM p WHERE id = $base + 2;
ROLLBACK TO s;
INSERT INTO p VALUES ($base * 1000 + 1, 1);
SELECT id FROM p WHERE id = $base + 3 FOR UPDATE;
PREPARE TRANSACTION '$name';
SQL
	return;
}

# What another session is told of the rows that a prepared transaction holds.
sub held
{
	my ($base, $when) = @_;
	for my $case (
		[ "UPDATE p SET v = 9 WHERE id = $base",         'an update of the updated row' ],
		[ "DELETE FROM p WHERE id = $base + 1",          'a delete of the deleted row' ],
		[ "UPDATE p SET v = 9 WHERE id = $base + 3",     'an update of the locked row' ],
		[ "INSERT INTO p VALUES ($base * 1000 + 1, 0)",  'an insert of the inserted key' ],
		[ "INSERT INTO p VALUES ($base, 0)",             'an insert of the key of the updated row' ],
		[ "INSERT INTO p VALUES ($base + 1, 0)",         'an insert of the key of the deleted row' ],
		[ "INSERT INTO p VALUES ($base + 1, 0) ON CONFLICT DO NOTHING", 'an upsert of the key of the deleted row' ])
	{
		my ($out, $err) = ('', '');
		$node->psql('postgres', "SET lock_timeout = '200ms'; $case->[0]", stdout => \$out, stderr => \$err);
		like($err, qr/lock timeout/, "$when: $case->[1] waits");
	}
	is($node->safe_psql('postgres', "UPDATE p SET v = 0 WHERE id = $base + 2 RETURNING id"), $base + 2,
		"$when: a row whose delete was rolled back to a savepoint is free");
	return;
}

prepare('a', 10);
prepare('b', 20);
prepare('c', 30);
prepare('d', 40);
is($node->safe_psql('postgres', $state), '100|0|5050', 'nothing is visible before the commit');
held(10, 'before');
$node->restart;
is($node->safe_psql('postgres', $state), '100|0|5050', 'nothing is visible after a restart');
held(10, 'after a restart');
$node->safe_psql('postgres', "COMMIT PREPARED 'a'");
is($node->safe_psql('postgres', $state), '100|2|15040', 'committed after a restart');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'b'");
is($node->safe_psql('postgres', $state), '100|2|15040', 'rolled back after a restart');
$node->safe_psql('postgres', $_) for 'VACUUM p', "SELECT merge('p')";
$node->stop('immediate');
$node->start;
held(30, 'after a crash');
$node->safe_psql('postgres', $_) for 'VACUUM p', "SELECT merge('p')";
$node->safe_psql('postgres', "COMMIT PREPARED 'c'");
is($node->safe_psql('postgres', $state), '100|4|45010', 'committed after a crash, with VACUUM and a merge before');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'd'");
$node->safe_psql('postgres', 'UPDATE p SET v = 5 WHERE id IN (10, 20, 30, 40)');
is($node->safe_psql('postgres', $state), '100|22|45010', 'the rows are free again');
check_table($node, 'p', 'id', 'at the end');

# A child's lock on its parent, whose row others have replaced before the child's transaction was prepared: it
# holds the newest version, also when the server has been restarted.
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE parent (id int PRIMARY KEY, v int) USING $am;
CREATE TABLE child (parent int REFERENCES parent) USING $am;
INSERT INTO parent VALUES (1, 0), (2, 0);
SQL
my $child = $node->background_psql('postgres');
$child->query_safe('BEGIN; INSERT INTO child VALUES (1)');
$node->safe_psql('postgres', 'UPDATE parent SET v = v + 1 WHERE id = 1') for 1 .. 2;
$child->query_safe("PREPARE TRANSACTION 'child'");
$child->quit;
sub parent_held
{
	my ($when) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "SET lock_timeout = '100ms'; DELETE FROM parent WHERE id = 1", stderr => \$err);
	like($err, qr/lock timeout/, "$when: the parent of a prepared child is not deleted");
	$err = '';
	$node->psql('postgres', 'SELECT v FROM parent WHERE id = 1 FOR NO KEY UPDATE NOWAIT', stderr => \$err);
	is($err, '', "$when: it may be updated otherwise");
	return;
}
parent_held('prepared');
$node->restart;
parent_held('after a restart');
$node->safe_psql('postgres', "COMMIT PREPARED 'child'");
my ($out, $err) = ('', '');
$node->psql('postgres', 'DELETE FROM parent WHERE id = 1', stderr => \$err);
like($err, qr/violates foreign key constraint/, 'the parent of a committed child is not deleted');

# -- a session that has looked at the rows before learns of a prepared transaction's end, be it the first that
# the server prepares or one of an earlier run --
$node->safe_psql('postgres', "CREATE TABLE kept (id int PRIMARY KEY, v int) USING $am; INSERT INTO kept SELECT g, 0 FROM generate_series(1, 100) g");
my $others = 'psql -qX -h ' . $node->host . ' -p ' . $node->port . ' -d postgres -c';
my $look = "SELECT id, v FROM kept WHERE id = 3; SELECT id, v FROM kept WHERE id = 4; SELECT v FROM kept WHERE id = 1;\n";
my $prepare = "BEGIN; DELETE FROM kept WHERE id = 3; UPDATE kept SET v = v + 100 WHERE id = 4; PREPARE TRANSACTION 'k'";
sub kept_session
{
	my ($script) = @_;
	my $out = $node->safe_psql('postgres', "SET enable_seqscan = off; SET enable_bitmapscan = off;\nUPDATE kept SET v = v + 1 WHERE id = 1;\n$look$look$script$look"
		. "UPDATE kept SET v = v + 1 WHERE id = 4 RETURNING v;\nINSERT INTO kept VALUES (3, 0);\n");
	return $out =~ tr/\n/ /r;
}
$node->restart;
is(kept_session("\\! $others \"$prepare\"\n$look\\! $others \"COMMIT PREPARED 'k'\"\n"), '3|0 4|0 1 3|0 4|0 1 3|0 4|0 1 4|100 1 101',
	'the first transaction that is prepared is seen when it is committed');
is(kept_session("\\! $others \"$prepare\"\n$look\\! $others \"COMMIT PREPARED 'k'\"\n"), '3|0 4|101 2 3|0 4|101 2 3|0 4|101 2 4|201 2 202',
	'and so is the next');
$node->safe_psql('postgres', $prepare);
$node->restart;
is(kept_session("\\! $others \"COMMIT PREPARED 'k'\"\n"), '3|0 4|202 3 3|0 4|202 3 4|302 3 303', 'and one of an earlier run');
is($node->safe_psql('postgres', "SELECT * FROM problems('kept')"), '', 'the table is sound');
done_testing();
