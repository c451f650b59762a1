# Helpers for TAP tests of the engine: a magic table and a heap twin that are written in the same
# transactions, a load of mixed statements on both, and the comparison of the two.
#
#	use EngineTest;
#	my $node = magic_node('main');
#	create_twins($node);
#	my $load = start_load($node, clients => 4);
#	...
#	stop_load($load);
#	compare_twins($node, 'after the load');
#
# MAGIC_ENGINE_AM=heap runs a test with two heap tables: it must pass there too.
package EngineTest;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(access_method small_disk engine_helpers create_twins create_bulk start_load stop_load compare_twins trim_twins check_table);

sub access_method { return $ENV{MAGIC_ENGINE_AM} || 'magic'; }

# Mounts a tmpfs of 64 MB on $dir/disk, in a mount namespace of its own that lives as long as its holder; `command` runs
# in it first. Returns the holder and, as a list, what runs a command inside; or, where a user may not mount, undef and
# why not.
sub small_disk
{
	my ($dir, $command) = @_;
	my ($in, $out, $err) = ('', '', '');
	mkdir "$dir/disk" or die $!;
	my $holder = IPC::Run::start(
		[ 'unshare', '--map-current-user', '--keep-caps', '--mount', 'sh', '-c', "mount -t tmpfs -o size=64m,mode=0700 tmpfs $dir/disk && $command && echo pid \$\$ && exec sleep 3600" ],
		'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	eval { $holder->pump until $out =~ /pid (\d+)/ };
	return (undef, $err) if $out !~ /pid (\d+)/;
	return ($holder, 'nsenter', '-t', $1, '--user', '--mount', '--preserve-credentials');
}

# merge() and problems(), which do nothing on heap.
sub engine_helpers
{
	my ($node, $database) = @_;
	$node->safe_psql($database // 'postgres', slurp_file("$ENV{MAGIC_SRC}/test/engine_setup.sql"));
	return;
}

# Tables tm (magic) and th (heap), and op(kind, key, value): one random change of tm, and the same of
# exactly the rows that were changed there in th. Who changes a row of th has changed it in tm
# before, in the same transaction, so concurrent sessions keep the two equal.
sub create_twins
{
	my ($node, $rows) = @_;
	my $am = access_method();

	$rows //= 2000;
	engine_helpers($node);
	$node->safe_psql('postgres', <<"SQL");
CREATE TABLE tm (id int PRIMARY KEY, v int, t text, n numeric(12,2)) USING $am;
CREATE TABLE th (id int PRIMARY KEY, v int, t text, n numeric(12,2)) USING heap;
CREATE INDEX tm_v ON tm (v);
INSERT INTO tm SELECT g, g % 100, 'row ' || g, g / 4.0 FROM generate_series(1, $rows) g;
INSERT INTO th SELECT g, g % 100, 'row ' || g, g / 4.0 FROM generate_series(1, $rows) g;
CREATE FUNCTION op(kind int, k int, val int) RETURNS void LANGUAGE plpgsql AS
\$\$
DECLARE
	ids int[];
	other int;
BEGIN
	IF kind < 25 THEN
		INSERT INTO tm VALUES (k, val, 'new ' || val, val / 4.0) ON CONFLICT DO NOTHING;
		IF FOUND THEN
			INSERT INTO th VALUES (k, val, 'new ' || val, val / 4.0);
		END IF;
	ELSIF kind < 30 THEN
		WITH x AS (INSERT INTO tm SELECT 1000000 + (random() * 1e9)::int, val, repeat('x', val), 1
				   FROM generate_series(1, val) ON CONFLICT DO NOTHING RETURNING id)
			SELECT array_agg(id) INTO ids FROM x;
		INSERT INTO th SELECT unnest(ids), val, repeat('x', val), 1;
	ELSIF kind < 55 THEN
		UPDATE tm SET v = v + 1, n = n + val WHERE id = k;
		IF FOUND THEN
			UPDATE th SET v = v + 1, n = n + val WHERE id = k;
		END IF;
	ELSIF kind < 70 THEN
		WITH x AS (UPDATE tm SET t = 'set ' || val, v = val WHERE id BETWEEN k AND k + 10 RETURNING id)
			SELECT array_agg(id) INTO ids FROM x;
		UPDATE th SET t = 'set ' || val, v = val WHERE id = ANY (ids);
	ELSIF kind < 85 THEN
		WITH x AS (DELETE FROM tm WHERE id BETWEEN k AND k + val % 5 RETURNING id)
			SELECT array_agg(id) INTO ids FROM x;
		DELETE FROM th WHERE id = ANY (ids);
	ELSE
		INSERT INTO tm VALUES (k, 0, 'up', 0) ON CONFLICT (id) DO UPDATE SET v = tm.v + 1000;
		INSERT INTO th VALUES (k, 0, 'up', 0) ON CONFLICT (id) DO UPDATE SET v = th.v + 1000;
	END IF;
END \$\$;
-- an operation in a subtransaction; a third of them is taken back
CREATE FUNCTION sub_op(kind int, k int, val int) RETURNS void LANGUAGE plpgsql AS
\$\$
BEGIN
	PERFORM op(kind, k, val);
	IF val % 3 = 0 THEN
		RAISE EXCEPTION 'taken back' USING ERRCODE = 'P0099';
	END IF;
EXCEPTION WHEN SQLSTATE 'P0099' THEN
	NULL;
END \$\$;
SQL
	return;
}

# bulk(kind) and caught(...): statements of thousands of rows on the twins, which are rows of ids from
# 2,000,000 on. file: where 3,000 rows for COPY go.
sub create_bulk
{
	my ($node, $file) = @_;
	$node->safe_psql('postgres', <<"SQL");
COPY (SELECT g, g % 100, repeat('copied ', 20) || g, 1 FROM generate_series(1, 3000) g) TO '$file';
CREATE SEQUENCE batch;
-- many rows of one batch, as one statement in each table
CREATE FUNCTION bulk(kind int) RETURNS void LANGUAGE plpgsql AS
\$\$
DECLARE
	base int := 2000000 + nextval('batch') * 10000;
	gone int[];
BEGIN
	IF kind = 0 THEN
		INSERT INTO tm SELECT base + g, g % 100, 'bulk ' || g, g FROM generate_series(1, 4000) g;
		INSERT INTO th SELECT base + g, g % 100, 'bulk ' || g, g FROM generate_series(1, 4000) g;
	ELSIF kind = 1 THEN
		WITH x AS (UPDATE tm SET v = v + 1 WHERE id >= 2000000 AND id % 3 = 0 RETURNING id) SELECT array_agg(id) INTO gone FROM x;
		UPDATE th SET v = v + 1 WHERE id = ANY (gone);
	ELSIF kind = 2 OR kind = 4 THEN
		WITH x AS (DELETE FROM tm WHERE id >= 2000000 AND (id % 5 = 0 OR kind = 4) RETURNING id) SELECT array_agg(id) INTO gone FROM x;
		DELETE FROM th WHERE id = ANY (gone);
	ELSE
		CREATE TEMPORARY TABLE copied (LIKE tm) ON COMMIT DROP;
		COPY copied FROM '$file';
		UPDATE copied SET id = id + base;
		INSERT INTO tm SELECT * FROM copied;
		INSERT INTO th SELECT * FROM copied;
		DROP TABLE copied;
	END IF;
END \$\$;
-- catches its cancellation and goes on: the subtransaction is gone in both tables
CREATE FUNCTION caught(bulk_kind int, kind int, k int, val int) RETURNS void LANGUAGE plpgsql AS
\$\$
BEGIN
	PERFORM op(kind, k, val);
	BEGIN
		PERFORM op(kind * 7 % 100, k + 1, val);
		PERFORM bulk(bulk_kind);
		PERFORM op(kind * 3 % 100, k + 2, val);
	EXCEPTION WHEN query_canceled OR disk_full OR out_of_memory THEN
		PERFORM op(kind * 5 % 100, k + 3, val);
	END;
	PERFORM op(kind * 11 % 100, k + 4, val);
END \$\$;
SQL
	return;
}

# pgbench with mixed transactions until stop_load; VACUUM and merges in between.
sub start_load
{
	my ($node, %args) = @_;
	my $dir     = PostgreSQL::Test::Utils::tempdir();
	my $seconds = $args{seconds} // 600;
	my $keys    = $args{keys} // 4000;
	my %scripts = (
		mix => <<"SQL",
\\set n random(1, 5)
\\set a random(0, 99)
\\set b random(0, 99)
\\set k random(1, $keys)
\\set l random(1, $keys)
\\set x random(1, 100)
\\set y random(1, 100)
BEGIN;
SELECT op(:a, :k, :x);
SELECT sub_op(:b, :l, :y);
\\if :n = 1
ROLLBACK;
\\elif :n = 2
SELECT op(:b, :k, :y);
SELECT sub_op(:a, :l, :x);
SELECT count(*) FROM tm WHERE v = :x;
COMMIT;
\\else
COMMIT;
\\endif
SQL
		vacuum => "VACUUM tm;\n",
		merge  => "SELECT merge('tm');\n");
	my @files;
	for my $name (sort keys %scripts)
	{
		append_to_file("$dir/$name.sql", $scripts{$name});
		push @files, '-f', "$dir/$name.sql@" . ($name eq 'mix' ? 60 : 1);
	}
	my ($out, $err) = ('', '');
	my $handle = IPC::Run::start(
		[   'pgbench', '-n', '-c', $args{clients} // 4, '-j', 2, '-T', $seconds, '--max-tries', 1000,
			'-h', $node->host, '-p', $node->port, @files, 'postgres' ],
		'<', \undef, '>', \$out, '2>', \$err);
	return { handle => $handle, out => \$out, err => \$err };
}

# crashed: the server was killed, so the clients' errors say nothing.
sub stop_load
{
	my ($load, %args) = @_;
	if ($args{crashed})
	{
		eval { $load->{handle}->kill_kill(grace => 2); };
		return;
	}
	if ($args{wait})
	{
		my $ok = $load->{handle}->finish;
		ok($ok, 'the load ended without an error') or diag(${ $load->{err} }, ${ $load->{out} });
		return;
	}
	$load->{handle}->kill_kill;
	return;
}

# Structures, indexes against rows, and the twin.
sub compare_twins
{
	my ($node, $name) = @_;
	my $differ = $node->safe_psql('postgres', <<'SQL');
SELECT * FROM (
	(SELECT 'only in tm', * FROM (TABLE tm EXCEPT ALL TABLE th) a LIMIT 5)
	UNION ALL
	(SELECT 'only in th', * FROM (TABLE th EXCEPT ALL TABLE tm) b LIMIT 5)) x
SQL
	is($differ, '', "$name: equal to the heap twin");
	check_table($node, 'tm', 'v', $name);
	return;
}

# The load inserts more than it deletes: without this each comparison of a long run takes longer than the one before.
sub trim_twins
{
	my ($node) = @_;
	$node->safe_psql('postgres', 'BEGIN; DELETE FROM tm WHERE id >= 1000000; DELETE FROM th WHERE id >= 1000000; COMMIT');
	return;
}

# A table against itself: magic.verify, its btree indexes by amcheck, each index scan against the
# sequential scan. column: an indexed one without NULLs in it or with.
sub check_table
{
	my ($node, $table, $column, $name) = @_;
	my ($out, $err) = ('', '');

	is($node->safe_psql('postgres', "SELECT * FROM problems('$table')"), '', "$name: magic.verify");
	$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS amcheck') unless $node->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 't';
	my $status = $node->psql('postgres', <<"SQL", stdout => \$out, stderr => \$err);
SELECT bt_index_check(indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
 WHERE indrelid = '$table'::regclass AND relam = (SELECT oid FROM pg_am WHERE amname = 'btree')
SQL
	is($status, 0, "$name: amcheck of the indexes") or diag($err);
	my @counts = map {
		$node->safe_psql('postgres', <<"SQL")
SET enable_seqscan = $_; SET enable_bitmapscan = off; SET enable_indexscan = @{[ $_ eq 'on' ? 'off' : 'on' ]}; SET enable_indexonlyscan = off;
SELECT count($column), sum($column), md5(string_agg($column\::text, ',' ORDER BY $column)) FROM $table WHERE $column >= -2000000000
SQL
	} qw(on off);
	is($counts[1], $counts[0], "$name: index scan as sequential scan");
	return;
}

1;
