# Logical replication into magic tables: initial copy, every kind of change with every kind of replica
# identity, large and two-phase transactions, partitions, triggers, TRUNCATE, conflicts and how they are
# resolved, crashes of the subscriber in the middle.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $am = access_method();
my $pub = PostgreSQL::Test::Cluster->new('publisher');
$pub->init(allows_streaming => 'logical', extra => [ '--no-locale', '-E', 'UTF8' ]);
$pub->append_conf('postgresql.conf', "logical_decoding_work_mem = 64kB\nmax_prepared_transactions = 10\nautovacuum = off");
$pub->start;
my $sub = magic_node('subscriber', conf => "max_logical_replication_workers = 12\nmax_sync_workers_per_subscription = 4\nwal_retrieve_retry_interval = 100ms\ndefault_table_access_method = $am");
engine_helpers($sub);
is($sub->safe_psql('postgres', "SELECT count(*) > 5, bool_and(relam = 2) FROM pg_class WHERE relnamespace = 'magic'::regnamespace AND relkind = 'r'"),
	't|t', 'whatever the default access method is, the tables of the extension are heap tables');

# Both sides: keyed, without a key (all columns identify a row), identified by another index, with long
# values, partitioned only there, generated columns, more columns and another order here.
$pub->safe_psql('postgres', <<'SQL');
CREATE TABLE k (id int PRIMARY KEY, v int, t text);
CREATE TABLE f (a int, b text, c numeric);
ALTER TABLE f REPLICA IDENTITY FULL;
CREATE TABLE u (a int NOT NULL, b int NOT NULL, v text);
CREATE UNIQUE INDEX u_key ON u (b, a);
ALTER TABLE u REPLICA IDENTITY USING INDEX u_key;
CREATE TABLE l (id int PRIMARY KEY, v int, long text);
ALTER TABLE l ALTER long SET STORAGE EXTERNAL;
CREATE TABLE p (id int, k int, v text, PRIMARY KEY (id, k));
CREATE TABLE ty (id int PRIMARY KEY, n numeric, d timestamptz, j jsonb, a int[], b bytea, f float8, r int4range, o bool);
CREATE TABLE e (id int);
CREATE TABLE w (id int PRIMARY KEY, v int, hidden text);
INSERT INTO k SELECT g, g, 'initial ' || g FROM generate_series(1, 5000) g;
INSERT INTO f SELECT g % 50, CASE WHEN g % 5 = 0 THEN NULL ELSE 'f' || g % 20 END, g % 3 + 0.5 FROM generate_series(1, 500) g;
INSERT INTO u SELECT g, -g, 'u' || g FROM generate_series(1, 300) g;
INSERT INTO l SELECT g, g, repeat(md5(g::text), 300) FROM generate_series(1, 50) g;
INSERT INTO p SELECT g, g % 3, 'p' || g FROM generate_series(1, 300) g;
INSERT INTO ty VALUES (1, 1.50, '2026-01-01 00:00+00', '{"a": [1, null]}', '{1,NULL,3}', '\x00ff', 'NaN', '[1,5)', true), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO w SELECT g, g, 'secret' FROM generate_series(1, 100) g;
CREATE PUBLICATION all_of_it FOR TABLE k, f, u, l, p, ty, e, w (id, v) WHERE (id % 2 = 0);
SQL
$sub->safe_psql('postgres', <<'SQL');
CREATE TABLE k (extra text DEFAULT 'here', t text, id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED);
CREATE INDEX k_v ON k (v);
CREATE TABLE f (a int, b text, c numeric);
CREATE TABLE u (a int NOT NULL, b int NOT NULL, v text);
CREATE UNIQUE INDEX u_key ON u (b, a);
ALTER TABLE u REPLICA IDENTITY USING INDEX u_key;
CREATE TABLE l (id int PRIMARY KEY, v int, long text);
CREATE TABLE p (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) USING heap;
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
CREATE TABLE ty (id int PRIMARY KEY, n numeric, d timestamptz, j jsonb, a int[], b bytea, f float8, r int4range, o bool);
CREATE TABLE e (id int);
CREATE TABLE w (id int PRIMARY KEY, v int, hidden text);
SQL
$sub->safe_psql('postgres', "CREATE SUBSCRIPTION s CONNECTION 'host=@{[ $pub->host ]} port=@{[ $pub->port ]} dbname=postgres' PUBLICATION all_of_it WITH (streaming = on, two_phase = on)");

my %order = (k => 'id', f => 'a, b, c', u => 'a', l => 'id', p => 'id', ty => 'id', e => 'id', w => 'id');
my %columns = (k => 'id, v, t', f => 'a, b, c', u => 'a, b, v', l => 'id, v, long', p => 'id, k, v', ty => 'id, n, d, j, a, b, f, r, o', e => 'id', w => 'id, v');

sub catch_up { $sub->wait_for_subscription_sync($pub, 's'); return; }

sub compare
{
	my ($name) = @_;
	my @differ;
	$pub->wait_for_catchup('s');
	for my $table (sort keys %order)
	{
		my $where = $table eq 'w' ? 'WHERE id % 2 = 0' : '';
		my $query = "SELECT count(*), md5(string_agg(x::text, ';' ORDER BY x::text)) FROM (SELECT $columns{$table} FROM $table $where) x";
		my ($there, $here) = ($pub->safe_psql('postgres', $query), $sub->safe_psql('postgres', $query));
		push @differ, "$table: $there there, $here here" if $there ne $here;
	}
	is(join("\n", @differ), '', "$name: equal to the publisher");
	is($sub->safe_psql('postgres', "SELECT t, p FROM unnest('{k,f,u,l,p0,p2,ty,e,w}'::text[]) t, problems(t::regclass) p"), '', "$name: magic.verify");
	return;
}

catch_up();
compare('initial copy');
is($sub->safe_psql('postgres', 'SELECT count(*), sum(twice), min(extra) FROM k'), '5000|25005000|here', 'columns of its own are filled');
is($sub->safe_psql('postgres', 'SELECT count(hidden) FROM w'), '0', 'a column list is kept');

# every change, several to a row, keys that change, NULLs, duplicates without a key
$pub->safe_psql('postgres', <<'SQL');
INSERT INTO k VALUES (6000, 1, 'new'), (6001, NULL, NULL);
UPDATE k SET v = v + 1 WHERE id <= 1000;
UPDATE k SET v = v + 1, t = NULL WHERE id <= 10;
UPDATE k SET id = id + 10000 WHERE id BETWEEN 20 AND 30;
DELETE FROM k WHERE id BETWEEN 40 AND 60;
UPDATE f SET c = c + 1 WHERE a = 7;
DELETE FROM f WHERE a = 8 AND b IS NULL;
DELETE FROM f WHERE ctid IN (SELECT min(ctid) FROM f WHERE a = 10);
UPDATE f SET b = NULL WHERE a = 11;
UPDATE u SET v = NULL WHERE a < 10;
UPDATE u SET b = b * 10 WHERE a BETWEEN 10 AND 20;
DELETE FROM u WHERE a BETWEEN 30 AND 40;
UPDATE l SET v = -v WHERE id < 20;
UPDATE l SET long = long || 'x' WHERE id = 30;
UPDATE l SET id = id + 100 WHERE id BETWEEN 40 AND 45;
UPDATE ty SET n = 'NaN', d = 'infinity', a = '{}' WHERE id = 1;
UPDATE ty SET j = 'null', r = 'empty' WHERE id = 2;
INSERT INTO e SELECT generate_series(1, 100);
UPDATE w SET id = id + 1001 WHERE id IN (4, 7);
DELETE FROM w WHERE id = 10;
BEGIN;
INSERT INTO k SELECT g, g, 'one transaction' FROM generate_series(7000, 7100) g;
UPDATE k SET v = 0 WHERE id BETWEEN 7000 AND 7050;
SAVEPOINT s;
DELETE FROM k WHERE id BETWEEN 7000 AND 7100;
ROLLBACK TO s;
DELETE FROM k WHERE id BETWEEN 7025 AND 7075;
UPDATE k SET v = v + 1 WHERE id BETWEEN 7000 AND 7100;
INSERT INTO k VALUES (7030, 5, 'again');
COMMIT;
SQL
compare('changes');

# rows move between partitions of this side
$pub->safe_psql('postgres', 'UPDATE p SET k = (k + 1) % 3 WHERE id <= 100; DELETE FROM p WHERE id BETWEEN 101 AND 120; UPDATE p SET v = v || v WHERE id > 250');
compare('partitions');

# large: streamed while it runs, with subtransactions, committed and rolled back
$pub->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO k SELECT g, g, repeat('streamed', 5) FROM generate_series(20000, 30000) g;
SAVEPOINT a;
UPDATE k SET v = v + 1 WHERE id >= 20000;
SAVEPOINT b;
DELETE FROM k WHERE id >= 25000;
ROLLBACK TO b;
DELETE FROM k WHERE id BETWEEN 21000 AND 22000;
COMMIT;
BEGIN;
INSERT INTO k SELECT g, g, repeat('rolled back', 5) FROM generate_series(40000, 50000) g;
UPDATE k SET v = 0;
ROLLBACK;
SQL
compare('streamed');
$pub->safe_psql('postgres', <<'SQL');
BEGIN;
UPDATE k SET v = v + 7 WHERE id < 500;
INSERT INTO k VALUES (8000, 1, 'prepared');
PREPARE TRANSACTION 'one';
BEGIN;
DELETE FROM u;
PREPARE TRANSACTION 'two';
SQL
$pub->wait_for_catchup('s');
is($sub->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '2', 'prepared there, prepared here');
$sub->stop('immediate');
$sub->start;
$pub->safe_psql('postgres', "COMMIT PREPARED 'one'; ROLLBACK PREPARED 'two'");
compare('prepared, over a crash');

# TRUNCATE
$pub->safe_psql('postgres', 'BEGIN; INSERT INTO e SELECT generate_series(1, 10); TRUNCATE e, p; INSERT INTO e VALUES (1); INSERT INTO p VALUES (1, 1, 1); COMMIT');
compare('truncated');

# triggers of the subscriber: only those that are enabled for replication fire, and see the rows
$sub->safe_psql('postgres', <<'SQL');
CREATE TABLE log (n serial, what text) USING heap;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO public.log (what) VALUES (concat_ws(' ', TG_NAME, TG_OP, OLD.v, NEW.v, (SELECT count(*) FROM public.k WHERE id = coalesce(NEW.id, OLD.id)))); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER always BEFORE INSERT OR UPDATE OR DELETE ON k FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER replica AFTER INSERT OR UPDATE OR DELETE ON k FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER never BEFORE INSERT OR UPDATE OR DELETE ON k FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE k ENABLE ALWAYS TRIGGER always;
ALTER TABLE k ENABLE REPLICA TRIGGER replica;
SQL
$pub->safe_psql('postgres', q{INSERT INTO k VALUES (9000, 1, 't'); UPDATE k SET v = 2 WHERE id = 9000; DELETE FROM k WHERE id = 9000});
compare('triggers');
is( $sub->safe_psql('postgres', q{SELECT string_agg(what, ', ' ORDER BY n) FROM log}),
	'always INSERT 1 0, replica INSERT 1 1, always UPDATE 1 2 1, replica UPDATE 1 2 1, always DELETE 2 1, replica DELETE 2 0',
	'triggers fire as on heap');
$sub->safe_psql('postgres', 'DROP TRIGGER always ON k; DROP TRIGGER replica ON k; DROP TRIGGER never ON k');

# a change of a row that is not here is passed over; a row that is held by a local transaction is waited for
$sub->safe_psql('postgres', 'DELETE FROM k WHERE id IN (3000, 3001); DELETE FROM f WHERE a = 20');
$pub->safe_psql('postgres', 'UPDATE k SET v = 1 WHERE id = 3000; DELETE FROM k WHERE id = 3001; UPDATE f SET c = 0 WHERE a = 20; UPDATE k SET v = 77 WHERE id = 3002');
$pub->wait_for_catchup('s');
is($sub->safe_psql('postgres', 'SELECT count(*) FILTER (WHERE id IN (3000, 3001)), count(*) FILTER (WHERE v = 77 AND id = 3002) FROM k'), '0|1', 'what is not there is passed over');
$pub->safe_psql('postgres', 'DELETE FROM k WHERE id = 3000; DELETE FROM f WHERE a = 20');
my $local = $sub->background_psql('postgres');
$local->query_safe('BEGIN; UPDATE k SET v = -1 WHERE id = 3003; SELECT id FROM k WHERE id = 3004 FOR UPDATE; DELETE FROM u WHERE a = 1');
$pub->safe_psql('postgres', 'BEGIN; UPDATE k SET v = 5 WHERE id IN (3003, 3004); UPDATE u SET v = 5 WHERE a = 1; COMMIT');
$sub->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'logical replication worker' AND wait_event_type = 'Lock'");
pass('the apply worker waits for a row lock');
$local->query_safe('COMMIT');
$local->quit;
$pub->wait_for_catchup('s');
is($sub->safe_psql('postgres', 'SELECT min(v), max(v), (SELECT count(*) FROM u WHERE a = 1) FROM k WHERE id IN (3003, 3004)'), '5|5|0', 'then it goes on from the newest version');
$pub->safe_psql('postgres', 'DELETE FROM u WHERE a = 1');

# without a key: the row is held, or is being inserted, by a local transaction that commits or does not; others
# that insert are not waited for if the row is there
$pub->safe_psql('postgres', "INSERT INTO f VALUES (900, 'late', 1), (901, 'held', 1), (902, 'here', 1), (903, 'never', 1)");
$pub->wait_for_catchup('s');
$sub->safe_psql('postgres', 'DELETE FROM f WHERE a IN (900, 903)');
my %cases = (
	'inserted, flushed'   => [ "INSERT INTO f VALUES (900, 'late', 1); SELECT count(*) FROM f WHERE a = 900", 'a = 900', 'COMMIT', 1, '2' ],
	'inserted, pending'   => [ "INSERT INTO f VALUES (903, 'never', 1)", 'a = 903', 'ROLLBACK', 1, '' ],
	'being deleted'       => [ 'DELETE FROM f WHERE a = 901', 'a = 901', 'ROLLBACK', 1, '2' ],
	'others are inserted' => [ 'INSERT INTO f VALUES (950)', 'a = 902', 'ROLLBACK', 0, '2' ]);
for my $case (sort keys %cases)
{
	my ($statement, $where, $end, $waits, $result) = $cases{$case}->@*;
	$local = $sub->background_psql('postgres');
	$local->query_safe("BEGIN; $statement");
	$pub->safe_psql('postgres', "UPDATE f SET c = 2 WHERE $where");
	if ($waits)
	{
		$sub->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'logical replication worker' AND wait_event_type = 'Lock'")
		  or diag("$case: nobody waits");
	}
	else { $pub->wait_for_catchup('s'); }
	$local->query_safe($end);
	$local->quit;
	$pub->wait_for_catchup('s');
	is($sub->safe_psql('postgres', "SELECT c FROM f WHERE $where"), $result, "without a key, $case");
}
$pub->safe_psql('postgres', 'DELETE FROM f WHERE a BETWEEN 900 AND 903');
compare('without a key');

# a conflict stops it until it is resolved: by removing the row here, by skipping the transaction
for my $way ('remove', 'skip')
{
	my $id = $way eq 'remove' ? 60001 : 60002;
	my $at = -s $sub->logfile;
	$sub->safe_psql('postgres', "INSERT INTO k (id, v, t) VALUES ($id, 0, 'mine')");
	$pub->safe_psql('postgres', "BEGIN; UPDATE k SET v = 1 WHERE id = 2; INSERT INTO k VALUES ($id, 1, 'theirs'); UPDATE k SET v = 99 WHERE id = 2; COMMIT");
	$sub->wait_for_log(qr/duplicate key value violates unique constraint "k_pkey".*?finished at/s, $at);
	is($sub->safe_psql('postgres', 'SELECT count(*) FROM k WHERE id = 2 AND v = 99'), $way eq 'remove' ? '0' : '1', "$way: nothing of the transaction is applied");
	if ($way eq 'remove') { $sub->safe_psql('postgres', "DELETE FROM k WHERE id = $id"); }
	else
	{
		my ($lsn) = substr(slurp_file($sub->logfile), $at) =~ m{"public.k" in transaction \d+, finished at ([0-9A-F/]+)};
		$sub->safe_psql('postgres', "ALTER SUBSCRIPTION s SKIP (LSN = '$lsn')");
		$pub->wait_for_catchup('s');
		is($sub->safe_psql('postgres', "SELECT t FROM k WHERE id = $id"), 'mine', 'skip: the row here stays');
		$pub->safe_psql('postgres', "DELETE FROM k WHERE id = $id");
	}
	compare("conflict, $way");
}

# killed while it applies: everything once
$pub->safe_psql('postgres', 'CREATE TABLE n (id int PRIMARY KEY, v int); ALTER PUBLICATION all_of_it ADD TABLE n');
$sub->safe_psql('postgres', 'CREATE TABLE n (id int PRIMARY KEY, v int); CREATE UNIQUE INDEX n_v ON n (v)');
$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION s REFRESH PUBLICATION WITH (copy_data = false)');
catch_up();
($order{n}, $columns{n}) = ('id', 'id, v');
for my $round (1 .. 4)
{
	$pub->safe_psql('postgres', join ';', map { my $n = $round * 1000 + $_; "BEGIN; INSERT INTO n VALUES ($n, $n); UPDATE n SET v = -v WHERE id = $n - 3; DELETE FROM n WHERE id = $n - 5; UPDATE k SET v = $n WHERE id = 5; COMMIT" } 1 .. 100);
	usleep(int(rand(150_000)));
	$sub->stop('immediate');
	$sub->start;
}
compare('killed while applying');

# merges and VACUUM beside it
for (1 .. 5)
{
	$pub->safe_psql('postgres', "UPDATE k SET v = v + 1 WHERE id % 5 = $_ % 5; UPDATE f SET c = c + 1 WHERE a % 5 = $_ % 5");
	$sub->safe_psql('postgres', $_) for "SELECT merge('k')", 'VACUUM k', "SELECT merge('f')", 'VACUUM f';
}
compare('beside VACUUM and merges');
$sub->safe_psql('postgres', 'DROP SUBSCRIPTION s');
done_testing();
