# What a session keeps of deletions and packs that it has read never shows in its answers: each script gives on a magic
# table what it gives on heap, and under changes and merges all the time every statement sees one state of the table.
# Without prepared transactions, which would end most of what is kept.
use strict;
use warnings;

use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('main', conf => "max_prepared_transactions = 0\nmax_connections = 40\n");
my $seconds = long_run() ? 60 : 6;
my $dir = $PostgreSQL::Test::Utils::tmp_check;

# OTHER(...) runs a statement in another session; MERGE merges and folds there, OWN_MERGE here; WRITE makes the engine write what the
# transaction has deleted, as every scan of the table does.
my %scripts = (
	'a cursor is older than what its session has read since' => q{
		DELETE FROM t WHERE id = 2;
		BEGIN;
		DECLARE c CURSOR FOR SELECT id, v FROM t ORDER BY id;
		FETCH 1 FROM c;
		OTHER(DELETE FROM t WHERE id = 3);
		SELECT id, v FROM t WHERE id = 3;
		OTHER(UPDATE t SET v = 40 WHERE id = 4);
		SELECT id, v FROM t WHERE id = 4;
		FETCH ALL FROM c;
		COMMIT;},
	'the log is followed, the cursor does not see it' => q{
		SELECT id, v FROM t WHERE id = 1;
		BEGIN;
		DECLARE c CURSOR FOR SELECT id, v FROM t ORDER BY id;
		OTHER(DELETE FROM t WHERE id = 3);
		SELECT id, v FROM t WHERE id = 3;
		OTHER(UPDATE t SET v = 40 WHERE id = 4);
		SELECT id, v FROM t WHERE id = 4;
		FETCH ALL FROM c;
		COMMIT;
		SELECT id, v FROM t WHERE id = 3;},
	'a merge has taken a row out of deltas and packs that the cursor still sees' => q{
		DELETE FROM t WHERE id = 2;
		BEGIN;
		DECLARE c CURSOR FOR SELECT id, v FROM t ORDER BY id;
		FETCH 1 FROM c;
		MERGE;
		SELECT id, v FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 3;
		FETCH ALL FROM c;
		COMMIT;},
	'a merge comes between two lookups' => q{
		DELETE FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 1;
		SELECT id, v FROM t WHERE id = 2;
		MERGE;
		SELECT id, v FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 3;
		UPDATE t SET v = v + 1 WHERE id IN (2, 3) RETURNING id, v;
		INSERT INTO t VALUES (2, 22);
		SELECT id, v FROM t WHERE id = 2;},
	'a merge comes between two lookups, and then another change' => q{
		SELECT id, v FROM t WHERE id = 1;
		OTHER(DELETE FROM t WHERE id IN (2, 5));
		SELECT id, v FROM t WHERE id = 2;
		MERGE;
		OTHER(DELETE FROM t WHERE id = 4);
		SELECT id, v FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 4;
		SELECT id, v FROM t WHERE id = 5;
		SELECT id, v FROM t WHERE id = 6;},
	'a merge is in the middle of its transaction' => q{
		DELETE FROM t WHERE id = 2;
		OTHER(BEGIN);
		MERGE;
		SELECT id, v FROM t WHERE id = 1;
		SELECT id, v FROM t WHERE id = 3;
		OTHER(COMMIT);
		SELECT id, v FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 1;
		INSERT INTO t VALUES (2, 22);
		SELECT id, v FROM t WHERE id = 2;},
	'a savepoint is rolled back whose deletion was written' => q{
		SELECT id, v FROM t WHERE id = 3;
		OTHER(SELECT count(*) FROM (SELECT v FROM t WHERE id IN (3, 4)) x);
		BEGIN;
		SAVEPOINT s;
		DELETE FROM t WHERE id = 3;
		WRITE;
		SELECT id, v FROM t WHERE id = 3;
		ROLLBACK TO s;
		SELECT id, v FROM t WHERE id = 3;
		DELETE FROM t WHERE id = 4;
		WRITE;
		SELECT id, v FROM t WHERE id = 4;
		COMMIT;
		SELECT id, v FROM t WHERE id IN (3, 4);
		OTHER(SELECT max(v) FROM (SELECT v FROM t WHERE id IN (3, 4)) x);
		UPDATE t SET v = v + 1 WHERE id IN (3, 4) RETURNING id, v;},
	'only a savepoint that is rolled back has deleted' => q{
		OTHER(SELECT v FROM t WHERE id = 3);
		BEGIN;
		SAVEPOINT s;
		DELETE FROM t WHERE id = 3;
		WRITE;
		ROLLBACK TO s;
		INSERT INTO t VALUES (10, 10);
		COMMIT;
		OTHER(SELECT v FROM t WHERE id = 3);
		OTHER(SELECT v FROM t WHERE id = 10);},
	'a key is inserted again in a savepoint that is rolled back' => q{
		SELECT id, v FROM t WHERE id = 3;
		BEGIN;
		SAVEPOINT s;
		DELETE FROM t WHERE id = 3;
		WRITE;
		INSERT INTO t VALUES (3, 33);
		ROLLBACK TO s;
		INSERT INTO t VALUES (3, 34) ON CONFLICT DO NOTHING RETURNING id;
		SELECT id, v FROM t WHERE id = 3;
		COMMIT;
		SELECT id, v FROM t WHERE id = 3;},
	'a row whose deletion was written is inserted again' => q{
		SELECT id, v FROM t WHERE id = 3;
		UPDATE t SET v = v + 1 WHERE id = 3;
		BEGIN;
		DELETE FROM t WHERE id = 3;
		WRITE;
		INSERT INTO t VALUES (3, 33);
		SAVEPOINT s;
		DELETE FROM t WHERE id = 3;
		WRITE;
		INSERT INTO t VALUES (3, 34);
		ROLLBACK TO s;
		UPDATE t SET v = v + 1 WHERE id = 3 RETURNING id, v;
		COMMIT;
		SELECT id, v FROM t WHERE id = 3;},
	'a transaction is rolled back whose deletion was written' => q{
		SELECT id, v FROM t WHERE id = 3;
		BEGIN;
		DELETE FROM t WHERE id = 3;
		WRITE;
		SELECT id, v FROM t WHERE id = 3;
		ROLLBACK;
		SELECT id, v FROM t WHERE id = 3;
		UPDATE t SET v = v + 1 WHERE id = 3 RETURNING id, v;},
	'the other is in the middle of its transaction' => q{
		SELECT id, v FROM t WHERE id = 3;
		OTHER(BEGIN);
		OTHER(DELETE FROM t WHERE id = 3);
		OTHER(UPDATE t SET v = 44 WHERE id = 4);
		OTHER(SELECT count(*) FROM t TABLESAMPLE SYSTEM (100));
		SELECT id, v FROM t WHERE id = 3;
		SELECT id, v FROM t WHERE id = 4;
		SELECT id, v FROM t WHERE id = 5;
		OTHER(COMMIT);
		SELECT id, v FROM t WHERE id = 3;
		SELECT id, v FROM t WHERE id = 4;
		INSERT INTO t VALUES (3, 33);
		UPDATE t SET v = v + 1 WHERE id IN (3, 4) RETURNING id, v;},
	'more happens than the log keeps' => q{
		SELECT id, v FROM t WHERE id = 3;
		OTHER(DELETE FROM t WHERE id = 4);
		OTHER(DO $$ BEGIN FOR i IN 1..100 LOOP UPDATE t SET v = v + 1 WHERE id = 3; COMMIT; END LOOP; END $$);
		SELECT id, v FROM t WHERE id IN (3, 4);
		DO $$ BEGIN FOR i IN 1..100 LOOP UPDATE t SET v = v + 1 WHERE id = 5; COMMIT; END LOOP; END $$;
		SELECT id, v FROM t WHERE id IN (3, 4, 5);},
	'a snapshot is imported that is older than one\'s own last change' => q{
		OTHER(BEGIN ISOLATION LEVEL REPEATABLE READ);
		SELECT s AS snapshot FROM dblink('other', 'SELECT pg_export_snapshot()') x(s text) \gset
		DELETE FROM t WHERE id = 3;
		OTHER2(DELETE FROM t WHERE id = 4);
		SELECT id, v FROM t WHERE id IN (3, 4);
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		SET TRANSACTION SNAPSHOT :'snapshot';
		SELECT id, v FROM t WHERE id = 3;
		SELECT id, v FROM t WHERE id = 4;
		COMMIT;
		OTHER(COMMIT);
		SELECT id, v FROM t WHERE id = 3;},
	'a snapshot is imported that is older than much that its session has learned of one by one' => q{
		OTHER(BEGIN ISOLATION LEVEL REPEATABLE READ);
		SELECT s AS snapshot FROM dblink('other', 'SELECT pg_export_snapshot()') x(s text) \gset
		SELECT id, v FROM t WHERE id = 1;
		OTHER2(DELETE FROM t WHERE id = 4);
		DO $$ BEGIN FOR i IN 1..300 LOOP
			PERFORM dblink_exec('other2', 'UPDATE t SET v = v + 1 WHERE id = 5');
			PERFORM v FROM t WHERE id = 5;
			COMMIT; END LOOP; END $$;
		SELECT id, v FROM t WHERE id = 4;
		SELECT id, v FROM t WHERE id = 5;
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		SET TRANSACTION SNAPSHOT :'snapshot';
		SELECT id, v FROM t WHERE id = 4;
		SELECT id, v FROM t WHERE id = 5;
		COMMIT;
		OTHER(COMMIT);
		SELECT id, v FROM t WHERE id = 4;
		UPDATE t SET v = v + 1 WHERE id = 5 RETURNING id, v;},
	'merges come while a session learns of deletions one by one' => q{
		SELECT id, v FROM t WHERE id = 1;
		OTHER(DELETE FROM t WHERE id = 4);
		DO $$ BEGIN FOR i IN 1..300 LOOP
			PERFORM dblink_exec('other2', 'UPDATE t SET v = v + 1 WHERE id = 5');
			IF i % 40 = 0 THEN PERFORM * FROM dblink('other', 'MERGING') x(n int); END IF;
			PERFORM v FROM t WHERE id = 5;
			COMMIT; END LOOP; END $$;
		SELECT id, v FROM t WHERE id IN (4, 5, 6);
		INSERT INTO t VALUES (4, 44);
		OTHER(SELECT v FROM t WHERE id = 4);
		UPDATE t SET v = v + 1 WHERE id IN (4, 5) RETURNING id, v;},
	'all rows are deleted at once' => q{
		SELECT id, v FROM t WHERE id = 3;
		OTHER(SELECT count(*) FROM (SELECT api_truncate('t')) x);
		SELECT id, v FROM t WHERE id IN (3, 4);
		INSERT INTO t VALUES (3, 33);
		SELECT id, v FROM t WHERE id IN (3, 4);
		UPDATE t SET v = v + 1 WHERE id IN (3, 4) RETURNING id, v;},
	'all rows are deleted at once, by a session that has read them after a merge of its own' => q{
		DELETE FROM t WHERE id = 2;
		BEGIN;
		OWN_MERGE;
		INSERT INTO t VALUES (1, 11) ON CONFLICT DO NOTHING RETURNING id;
		COMMIT;
		BEGIN;
		SELECT api_truncate('t');
		INSERT INTO t VALUES (1, 12);
		COMMIT;
		SELECT id, v FROM t WHERE id IN (1, 3);},
	'a savepoint is rolled back that has merged' => q{
		DELETE FROM t WHERE id = 2;
		BEGIN;
		SAVEPOINT s;
		OWN_MERGE;
		SELECT id, v FROM t WHERE id = 1;
		ROLLBACK TO s;
		SELECT id, v FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 3;
		INSERT INTO t VALUES (2, 22);
		COMMIT;
		SELECT id, v FROM t WHERE id IN (1, 2);},
	'a transaction is rolled back that has merged' => q{
		DELETE FROM t WHERE id = 2;
		BEGIN;
		OWN_MERGE;
		SELECT id, v FROM t WHERE id = 1;
		ROLLBACK;
		SELECT id, v FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 3;
		INSERT INTO t VALUES (2, 22);
		SELECT id, v FROM t WHERE id IN (1, 2);},
	'the transaction of a cursor merges' => q{
		DELETE FROM t WHERE id = 2;
		BEGIN;
		DECLARE c CURSOR FOR SELECT id, v FROM t ORDER BY id;
		FETCH 1 FROM c;
		OWN_MERGE;
		SELECT id, v FROM t WHERE id = 3;
		FETCH ALL FROM c;
		COMMIT;
		SELECT id, v FROM t WHERE id IN (1, 2, 3);},
	'a transaction deletes, merges and deletes again' => q{
		DELETE FROM t WHERE id = 2;
		SELECT id, v FROM t WHERE id = 1;
		OTHER(SELECT v FROM t WHERE id = 3);
		BEGIN;
		DELETE FROM t WHERE id = 3;
		OWN_MERGE;
		SELECT id, v FROM t WHERE id IN (1, 2, 3);
		DELETE FROM t WHERE id = 4;
		WRITE;
		SELECT id, v FROM t WHERE id IN (4, 5);
		SAVEPOINT s;
		DELETE FROM t WHERE id = 5;
		OWN_MERGE;
		SELECT id, v FROM t WHERE id IN (4, 5);
		ROLLBACK TO s;
		SELECT id, v FROM t WHERE id IN (4, 5);
		COMMIT;
		OTHER(SELECT count(*) FROM (SELECT v FROM t WHERE id IN (2, 3, 4, 5)) x);
		SELECT id, v FROM t WHERE id IN (2, 3, 4, 5);},
	'a serializable reader learns of a deletion that it does not see' => q{
		SELECT id, v FROM t WHERE id IN (1, 3);
		BEGIN ISOLATION LEVEL SERIALIZABLE;
		SELECT count(*) FROM s WHERE id = 1;
		OTHER(BEGIN ISOLATION LEVEL SERIALIZABLE);
		OTHER(SELECT count(*) FROM (SELECT v FROM s WHERE id = 2) x);
		OTHER(DELETE FROM t WHERE id = 3);
		OTHER(COMMIT);
		SELECT id, v FROM t WHERE id = 3;
		UPDATE s SET v = 0 WHERE id = 2;
		COMMIT;});

$node->safe_psql('postgres', 'CREATE EXTENSION dblink; CREATE EXTENSION api_test');

sub run_script
{
	my ($script, $method) = @_;
	my $out = '';
	my $merge = $method eq 'magic' ? q{SELECT count(*) FROM (SELECT magic.compact('t')) x} : 'SELECT count(*) FROM (SELECT 1) x';

	$script =~ s/OWN_MERGE;/$merge;/g;
	$script =~ s/MERGE;/OTHER($merge);/g;
	$script =~ s/'MERGING'/\$m\$$merge\$m\$/g;
	$script =~ s/WRITE;/SELECT count(*) FROM t TABLESAMPLE SYSTEM (100);/g;
	for my $session ([ 'OTHER2', 'other2' ], [ 'OTHER', 'other' ])
	{
		my ($word, $name) = @$session;
		$script =~ s/\b$word\(SELECT (.*)\);$/SELECT * FROM dblink('$name', \$q\$SELECT $1\$q\$) x(n int);/mg;
		$script =~ s/\b$word\((.*)\);$/SELECT dblink_exec('$name', \$q\$$1\$q\$);/mg;
	}
	$node->psql('postgres', qq{
		SET client_min_messages = error;
		DROP TABLE IF EXISTS t, s;
		CREATE TABLE t (id int PRIMARY KEY, v int) USING $method;
		CREATE TABLE s (id int PRIMARY KEY, v int) USING $method;
		INSERT INTO t SELECT i, i FROM generate_series(1, 9) i;
		INSERT INTO s SELECT i, i FROM generate_series(1, 9) i;
		SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
		SELECT dblink_connect('other', 'dbname=postgres options=''-cenable_bitmapscan=off -cenable_seqscan=off'' user=' || current_user);
		SELECT dblink_connect('other2', 'dbname=postgres user=' || current_user);
		$script}, stdout => \$out, stderr => \my $err, on_error_stop => 0);
	$err =~ s/^psql:\S+ //mg;
	$err =~ s/^(?!ERROR).*\n?//mg;
	return "$out\n$err";
}

for my $name (sort keys %scripts)
{
	my $heap = run_script($scripts{$name}, 'heap');

	unlike($heap, qr/ERROR(?!.*could not serialize)/, "$name: the script is right");
	is(run_script($scripts{$name}, 'magic'), $heap, $name);
}

# Others see a transaction before it has ended the notes of its deletions: it is held there.
my $hold = "$dir/hold_commit";
$node->safe_psql('postgres', q{CREATE TABLE held (id int PRIMARY KEY, v int) USING magic;
	INSERT INTO held SELECT i, i FROM generate_series(1, 9) i; CREATE TABLE marks (m int) USING heap;});
my $reader = $node->background_psql('postgres');
my $deleter = $node->background_psql('postgres');
$reader->query_safe('SET enable_seqscan = off; SET enable_bitmapscan = off');
is($reader->query_safe('SELECT v FROM held WHERE id IN (3, 4)'), "3\n4", 'rows are read by key');
$deleter->query_safe("SELECT api_hold_commit('$hold')");
append_to_file($hold, '');
$deleter->query_until(qr/sent/, "\\echo sent\nBEGIN; DELETE FROM held WHERE id = 3; INSERT INTO marks VALUES (1); COMMIT;\n");
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM marks') or die 'the deletion is not seen';
is($reader->query_safe('SELECT v FROM held WHERE id IN (3, 4)'), '4', 'a deletion is seen as soon as its transaction is');
unlink $hold;
$deleter->query_safe('SELECT 1');
is($reader->query_safe('SELECT v FROM held WHERE id IN (3, 4)'), '4', 'and later');
# ... and so does a unique check of the key, which asks for older versions of the row without having their locks.
$reader->query_safe('UPDATE held SET v = v + 1 WHERE id IN (5, 6)');
append_to_file($hold, '');
$deleter->query_until(qr/sent/, "\\echo sent\nBEGIN; UPDATE held SET v = v + 1 WHERE id = 5; INSERT INTO marks VALUES (2); COMMIT;\n");
$node->poll_query_until('postgres', 'SELECT count(*) = 2 FROM marks') or die 'the update is not seen';
is($reader->query_safe('UPDATE held SET v = v + 1 WHERE id = 5 RETURNING v'), '8', 'a row is updated whose last update has just become visible');
unlink $hold;
$deleter->query_safe('SELECT 1');
$_->quit for $reader, $deleter;

# Values move between rows, and their sum stays; each sum is read by as many lookups under one snapshot.
$node->safe_psql('postgres', q{
	CREATE TABLE moved (id int PRIMARY KEY, v int NOT NULL) USING magic;
	INSERT INTO moved SELECT i, 100 FROM generate_series(1, 8) i;
	CREATE FUNCTION check_sum() RETURNS void LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off
		SET enable_hashjoin = off SET enable_mergejoin = off AS $$
		DECLARE n bigint; s bigint; BEGIN
			SELECT count(*), sum(v) INTO n, s FROM generate_series(1, 8) k JOIN moved ON id = k;
			IF n <> 8 OR s <> 800 THEN RAISE EXCEPTION 'saw % rows, sum %', n, s; END IF;
		END $$;});
my %loads = (
	move => q{\set a random(1, 7)
		\set b random(:a + 1, 8)
		BEGIN; UPDATE moved SET v = v - 1 WHERE id = :a; UPDATE moved SET v = v + 1 WHERE id = :b; COMMIT;},
	read => 'SELECT check_sum();',
	old => q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT check_sum(); SELECT pg_sleep(0.003); SELECT check_sum(); COMMIT;},
	undo => q{\set a random(1, 8)
		BEGIN; SELECT check_sum(); UPDATE moved SET v = v + 1 WHERE id = :a; SELECT count(*) FROM moved; ROLLBACK; SELECT check_sum();},
	merge => "SELECT magic.compact('moved'); SELECT pg_sleep(0.005);");
my @running;
for my $name (sort keys %loads)
{
	append_to_file("$dir/kept_$name.sql", $loads{$name} . "\n");
	push @running, [ $name, IPC::Run::start([ 'pgbench', '-n', '-f', "$dir/kept_$name.sql", '-c', $name eq 'merge' ? 1 : 4, '-T', $seconds,
		'-h', $node->host, '-p', $node->port, '-U', 'postgres', 'postgres' ], '>', "$dir/kept_$name.out", '2>', "$dir/kept_$name.err") ];
}
for my $load (@running)
{
	my ($name, $handle) = @$load;

	ok($handle->finish, "$name ended well");
	unlike(slurp_file("$dir/kept_$name.err"), qr/ERROR(?!:  (could not serialize|packs were merged|deletions were merged))/, "$name met no error");
}
$node->safe_psql('postgres', 'SELECT check_sum()');
verify_tables($node);
done_testing();
