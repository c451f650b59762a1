# A feed works with the rights of the role that created it: without CREATE on the database it rests in
# error and says so; granted, it goes on, and schema and tables belong to that role.
use strict;
use warnings;

use File::Copy qw(copy);
use MagicTest;
use Test::More;

my $node = magic_node('main');
my $dir = file_feed_dir('rights');
copy($_, $dir) for glob fixture_dir('bank') . '/files/binlog-*';

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('CREATE ROLE feeder IN ROLE magic_admin');
my $source = file_source($dir, time_zone => 'UTC');
sql("SET ROLE feeder; SELECT magic.create_feed('f', '$source')");
wait_state($node, 'f', 'error');
is(feed_column($node, 'f', 'last_sqlstate'), '42501', 'no right to create the schema: insufficient privilege');
like(feed_column($node, 'f', 'last_error'), qr/permission denied for database/, 'with the server\'s own message');
like(feed_column($node, 'f', 'last_error_detail'), qr/commit TS \d+.*file "binlog-.*byte \d+/s, 'where in the stream');
like(feed_column($node, 'f', 'last_error_hint'), qr/magic[.]resume/, 'and what to do');
is(sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'bank'"), '0', 'nothing is half done');

sql('GRANT CREATE ON DATABASE postgres TO feeder');
sql("SELECT magic.resume('f')");
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'granted, it goes on');
is(sql("SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class WHERE relnamespace = 'bank'::regnamespace"),
	'feeder', 'tables belong to the role that created the feed');
is(feed_column($node, 'f', 'last_error'), '', 'the error is gone with the resume');

sql("SELECT magic.drop_feed('f')");
is(sql("SELECT count(*) > 0 FROM bank.accounts"), 't', 'the tables stay when the feed is dropped');
sql("INSERT INTO bank.transfers SELECT * FROM bank.transfers LIMIT 0; DELETE FROM bank.accounts WHERE id = (SELECT min(id) FROM bank.accounts)");
pass('and become writable');
done_testing();
