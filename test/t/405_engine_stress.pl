# Many sessions at once: a sum over accounts that no snapshot ever sees changed, unique keys that stay
# unique beside merges, VACUUM beside snapshots; no error but serialization failures and deadlocks.
use strict;
use warnings;

use EngineTest;
use IPC::Run;
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $am = access_method();
my $seconds = long_run() ? 120 : 8;
my $node = magic_node('main', conf => 'max_connections = 60');
my $dir  = PostgreSQL::Test::Utils::tempdir();
engine_helpers($node);

# Run scripts (name => [weight, text]) by pgbench and want no failure.
sub bench
{
	my ($name, $clients, %scripts) = @_;
	my @files;
	for my $script (sort keys %scripts)
	{
		append_to_file("$dir/$name.$script.sql", $scripts{$script}[1]);
		push @files, '-f', "$dir/$name.$script.sql\@$scripts{$script}[0]";
	}
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(
		[   'pgbench', '-n', '-c', $clients, '-j', 2, '-T', $seconds, '--max-tries', 10000, '-h', $node->host,
			'-p', $node->port, @files, 'postgres' ],
		'<', \undef, '>', \$out, '2>', \$err);
	ok($ok && $err !~ /ERROR|aborted/, "$name: no client failed") or diag(substr($err, 0, 5000));
	diag("$name: " . ($out =~ /processed: (\d+)/ ? $1 : '?') . ' transactions');
	return;
}

# transfers: the sum is constant in every snapshot
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE acc (id int PRIMARY KEY, balance bigint) USING $am;
INSERT INTO acc SELECT g, 1000 FROM generate_series(1, 200) g;
CREATE TABLE seen (sum numeric, count bigint) USING heap;
CREATE FUNCTION look() RETURNS void LANGUAGE plpgsql AS
\$\$
DECLARE s numeric; c bigint; s2 numeric; c2 bigint;
BEGIN
	SELECT sum(balance), count(*) INTO s, c FROM acc;
	IF s <> 200000 OR c <> 200 THEN
		INSERT INTO seen VALUES (s, c);
	END IF;
END \$\$;
SQL
my $transfer = <<'SQL';
\set a random(1, 200)
\set b random(1, 200)
\set x random(1, 10)
BEGIN;
UPDATE acc SET balance = balance - :x WHERE id = :a;
UPDATE acc SET balance = balance + :x WHERE id = :b;
COMMIT;
SQL
my $repeatable = $transfer;
$repeatable =~ s/BEGIN/BEGIN ISOLATION LEVEL REPEATABLE READ/;
my $move = <<'SQL';
\set a random(1, 200)
BEGIN;
SELECT balance FROM acc WHERE id = :a FOR UPDATE \gset
DELETE FROM acc WHERE id = :a;
INSERT INTO acc VALUES (:a, :balance);
COMMIT;
SQL
bench('transfers', 8,
	transfer   => [ 20, $transfer ],
	repeatable => [ 10, $repeatable ],
	look       => [ 10, "SELECT look();\n" ],
	index_look => [ 5,  "SET enable_seqscan = off;\nSELECT look();\nRESET enable_seqscan;\n" ],
	vacuum     => [ 1,  "VACUUM acc;\n" ],
	merge      => [ 1,  "SELECT merge('acc');\n" ]);
is($node->safe_psql('postgres', 'SELECT * FROM seen LIMIT 5'), '', 'every snapshot saw the same sum');
is($node->safe_psql('postgres', 'SELECT sum(balance), count(*) FROM acc'), '200000|200', 'the sum at the end');
check_table($node, 'acc', 'id', 'transfers');

# one key inserted by many, deleted, inserted again, while packs are merged
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE uk (id int PRIMARY KEY, n int, u int UNIQUE) USING $am;
CREATE FUNCTION try_insert(i int) RETURNS void LANGUAGE plpgsql AS
\$\$ BEGIN INSERT INTO uk VALUES (i, 1, i); EXCEPTION WHEN unique_violation THEN NULL; END \$\$;
SQL
bench('unique', 8,
	insert => [ 10, "\\set i random(1, 100)\nSELECT try_insert(:i);\n" ],
	up     => [ 10, "\\set i random(1, 100)\nINSERT INTO uk VALUES (:i, 1) ON CONFLICT (id) DO UPDATE SET n = uk.n + 1;\n" ],
	ignore => [ 10, "\\set i random(1, 100)\nINSERT INTO uk VALUES (:i, 1, :i) ON CONFLICT DO NOTHING;\n" ],
	delete => [ 10, "\\set i random(1, 100)\nDELETE FROM uk WHERE id = :i;\n" ],
	vacuum => [ 1,  "VACUUM uk;\n" ],
	merge  => [ 3,  "SELECT merge('uk');\n" ]);
is($node->safe_psql('postgres', 'SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; SELECT id, count(*) FROM uk GROUP BY id HAVING count(*) > 1'),
	'', 'no key twice');
check_table($node, 'uk', 'u', 'unique');

# counters: no increment is lost
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE ctr (id int PRIMARY KEY, n bigint) USING $am;
INSERT INTO ctr SELECT g, 0 FROM generate_series(1, 5) g;
CREATE TABLE done (id int) USING heap;
SQL
bench('counters', 8,
	increment => [ 30, "\\set i random(1, 5)\nBEGIN;\nUPDATE ctr SET n = n + 1 WHERE id = :i;\nINSERT INTO done VALUES (:i);\nCOMMIT;\n" ],
	undone    => [ 5,  "\\set i random(1, 5)\nBEGIN;\nUPDATE ctr SET n = n + 1 WHERE id = :i;\nROLLBACK;\n" ],
	vacuum    => [ 1,  "VACUUM ctr;\n" ],
	merge     => [ 1,  "SELECT merge('ctr');\n" ]);
is($node->safe_psql('postgres', 'SELECT id, n FROM ctr ORDER BY id'), $node->safe_psql('postgres', 'SELECT id, count(*) FROM done GROUP BY id ORDER BY id'),
	'no increment is lost');

# SERIALIZABLE: at least one of each pair stays on call
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE duty (id int PRIMARY KEY, pair int, on_call bool) USING $am;
INSERT INTO duty SELECT g, g / 2, true FROM generate_series(0, 19) g;
CREATE FUNCTION leave(i int) RETURNS void LANGUAGE plpgsql AS
\$\$
BEGIN
	IF (SELECT count(*) FROM duty WHERE pair = i / 2 AND on_call) = 2 THEN
		UPDATE duty SET on_call = false WHERE id = i;
	ELSE
		UPDATE duty SET on_call = true WHERE id = i;
	END IF;
END \$\$;
SQL
bench('write skew', 6, leave => [ 1, "\\set i random(0, 19)\nBEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT leave(:i);\nCOMMIT;\n" ]);
is($node->safe_psql('postgres', 'SELECT pair FROM duty GROUP BY pair HAVING NOT bool_or(on_call)'), '', 'no pair is off duty: no write skew');
done_testing();
