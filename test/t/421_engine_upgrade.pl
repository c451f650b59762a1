# pg_upgrade moves magic tables to another cluster, by copying the files and by linking them: rows, deletions,
# indexes, partitions, views, feeds' configuration and positions; the new cluster reads, writes, merges,
# vacuums and survives a crash. Checksums can be switched on and off, also after it.
use strict;
use warnings;

use EngineTest;
use MagicTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $am = access_method();
my $bin;
{
	my $out = `$ENV{PG_CONFIG} --bindir`;
	chomp($bin = $out);
}

my $old = magic_node('old', conf => 'autovacuum = off');
create_twins($old);
my $files = file_feed_dir('upgrade');
$old->safe_psql('postgres', <<"SQL");
SET default_table_access_method = $am;
SELECT op((random() * 99)::int, g, g % 100) FROM generate_series(1, 400) g;
SELECT sub_op((random() * 99)::int, g, g % 100) FROM generate_series(400, 600) g;
CREATE TABLE dropped (a int, b text, c int DEFAULT 7, PRIMARY KEY (c));
INSERT INTO dropped SELECT g, 'b' || g, g FROM generate_series(1, 3000) g;
ALTER TABLE dropped DROP a;
ALTER TABLE dropped ADD d int DEFAULT 5;
DELETE FROM dropped WHERE c % 3 = 0;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE TABLE ty (id int PRIMARY KEY, m mood, p pair, a int[], j jsonb, n numeric, big text);
INSERT INTO ty SELECT g, CASE WHEN g % 2 = 0 THEN 'sad' ELSE 'happy' END::mood, format('(%s,y)', g)::pair, array[g], '{"a": 1}', g / 3.0, repeat(md5(g::text), 500) FROM generate_series(1, 100) g;
CREATE TABLE parts (id int, k int) PARTITION BY LIST (k);
CREATE TABLE parts0 PARTITION OF parts FOR VALUES IN (0);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES IN (1) USING heap;
INSERT INTO parts SELECT g, g % 2 FROM generate_series(1, 1000) g;
CREATE MATERIALIZED VIEW mv AS SELECT k, count(*) AS n FROM parts GROUP BY k;
CREATE TABLE empty (id int);
CREATE TABLE none ();
INSERT INTO none SELECT FROM generate_series(1, 5);
CREATE INDEX ty_h ON ty USING hash (n);
CREATE TABLE child (id int REFERENCES dropped ON DELETE CASCADE);
INSERT INTO child SELECT c FROM dropped LIMIT 100;
CREATE DATABASE other;
SQL
$old->safe_psql('other', "CREATE EXTENSION magic_fdw; CREATE TABLE o (id int PRIMARY KEY) USING $am; INSERT INTO o SELECT generate_series(1, 500); DELETE FROM o WHERE id > 400");
create_feed($old, 'kept', file_source($files), apply_interval => '5 minutes', enabled => 'false');
$old->safe_psql('postgres', "SELECT magic.pause('kept')");

my %query = (
	tm      => 'SELECT count(*), sum(v), sum(n), md5(string_agg(t, NULL ORDER BY id)) FROM tm',
	dropped => 'SELECT count(*), sum(c), sum(d), min(b), (SELECT b FROM dropped WHERE c = 1000) FROM dropped',
	ty      => 'SELECT md5(string_agg(ty::text, NULL ORDER BY id)) FROM ty',
	parts   => 'SELECT count(*), sum(id), (SELECT sum(n) FROM mv) FROM parts',
	none    => 'SELECT count(*), (SELECT count(*) FROM empty) FROM none',
	child   => 'SELECT count(*), sum(id) FROM child',
	feed    => 'SELECT name, source, apply_interval, state FROM magic.feeds',
	methods => "SELECT string_agg(relname || ' ' || amname, ',' ORDER BY relname) FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relnamespace = 'public'::regnamespace");
my %before = map { ($_ => $old->safe_psql('postgres', $query{$_})) } keys %query;
my $problems = "SELECT t, p FROM unnest('{tm,dropped,ty,parts0,mv,empty,none,child}'::text[]) t, problems(t::regclass) p";
$old->stop;

for my $mode ('--copy', '--link')
{
	my $new = magic_node("new$mode", start => 0);
	my $from = $old->data_dir;
	chdir ${PostgreSQL::Test::Utils::tmp_check};
	# a linked cluster is not to be used any more: it goes last
	command_ok(
		[   'pg_upgrade', '--no-sync', '-d', $from, '-D', $new->data_dir, '-b', $bin, '-B', $bin, '-s', $new->host,
			'-p', $old->port, '-P', $new->port, ($mode eq '--link' ? '--link' : ()), '-U', $ENV{USER} // getpwuid($<) ],
		"pg_upgrade $mode");
	$new->start;
	is($new->safe_psql('postgres', $query{$_}), $before{$_}, "$mode: $_") for sort keys %query;
	compare_twins($new, $mode);
	is($new->safe_psql('postgres', $problems), '', "$mode: magic.verify");
	is($new->safe_psql('other', 'SELECT count(*), sum(id) FROM o'), '400|80200', "$mode: another database");
	$new->safe_psql('postgres', <<"SQL");
SELECT op(g % 100, g, g % 100) FROM generate_series(1, 300) g;
UPDATE ty SET m = 'sad', big = 'short' WHERE id < 50;
DELETE FROM dropped WHERE c < 100;
INSERT INTO parts SELECT g, g % 2 FROM generate_series(1, 1000) g;
REFRESH MATERIALIZED VIEW mv;
CREATE TABLE made_later (id int PRIMARY KEY) USING $am;
INSERT INTO made_later SELECT generate_series(1, 1000);
SQL
	$new->safe_psql('postgres', $_) for "SELECT merge('tm')", 'VACUUM tm', 'VACUUM FULL dropped', 'VACUUM (FREEZE, ANALYZE)';
	compare_twins($new, "$mode, written to");
	kill_and_start($new);
	compare_twins($new, "$mode, after a crash");
	is($new->safe_psql('postgres', $problems), '', "$mode: magic.verify after a crash");
	is($new->safe_psql('postgres', 'SELECT count(*), sum(d) FROM dropped'), '1934|9670', "$mode: the rest after a crash");
	is($new->safe_psql('postgres', 'SELECT count(*) FROM made_later'), '1000', "$mode: a new table");
	$new->stop;
	command_ok([ 'pg_checksums', '--enable', '--no-sync', '-D', $new->data_dir ], "$mode: checksums switched on");
	command_ok([ 'pg_checksums', '--check', '-D', $new->data_dir ], "$mode: checksums are right");
	$new->start;
	compare_twins($new, "$mode, with checksums");
	$new->safe_psql('postgres', 'SELECT op(g % 100, g, g % 100) FROM generate_series(1, 100) g');
	$new->stop;
	command_ok([ 'pg_checksums', '--check', '-D', $new->data_dir ], "$mode: checksums are right after writing");
	command_ok([ 'pg_checksums', '--disable', '--no-sync', '-D', $new->data_dir ], "$mode: checksums switched off");
	$new->start;
	compare_twins($new, "$mode, without checksums");
	$new->stop;
}
done_testing();
