# What goes wrong in Drainer's files: a record that is not complete yet is waited for; a damaged byte rests the
# feed in state error, naming file and byte, with everything before it applied; a missing file and a directory that is
# not allowed are told; in the end every row is what TiDB had.
use strict;
use warnings;

use File::Copy qw(copy);
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node  = magic_node('main');
my $from  = fixture_dir('bank') . '/files';
my @files = sort map { s{.*/}{}r } glob "$from/binlog-*";
my @cuts  = timeline('bank');

sub drop { $node->safe_psql('postgres', "SELECT magic.drop_feed('$_[0]', drop_tables => true)"); return; }

sub write_at
{
	my ($path, $mode, $bytes, $at) = @_;
	open my $file, $mode, $path or die "$path: $!";
	binmode $file;
	seek($file, $at, 0) if defined $at;
	print $file $bytes;
	close $file or die $!;
	return;
}

# -- files that grow, cut at any byte --

my $dir = file_feed_dir('grow');
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'), apply_interval => '0');
for my $name (@files)
{
	my $bytes = slurp_file("$from/$name");
	for (my $at = 0; $at < length $bytes;)
	{
		my $length = 1 + int(rand(60_000));
		write_at("$dir/$name", '>>', substr($bytes, $at, $length));
		$at += $length;
		usleep(30_000);
	}
}
wait_applied($node, 'f', last_ts('bank'));
is(feed_state($node, 'f') =~ /^(running|waiting)$/ ? 'running' : feed_state($node, 'f'), 'running', 'the feed goes on');
compare_fixture($node, 'bank', name => 'files that grow by pieces cut anywhere');
drop('f');

# A torn last record: nothing of it is applied, nothing is wrong; its rest comes later.
$dir = file_feed_dir('torn');
copy("$from/$files[0]", "$dir/$files[0]") or die $!;
my $bytes = slurp_file("$from/$files[1]");
write_at("$dir/$files[1]", '>', substr($bytes, 0, 100_001));
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'));
is($node->safe_psql('postgres', "SELECT magic.wait_for('f', 'end', '60 seconds')"), 't', 'all whole records are applied');
usleep(500_000);
like(feed_state($node, 'f'), qr/^(running|waiting)$/, 'a torn last record is waited for');
write_at("$dir/$files[1]", '>>', substr($bytes, 100_001));
copy("$from/$_", "$dir/$_") or die $! for @files[ 2 .. $#files ];
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'and applied once it is whole');
drop('f');

# -- a damaged byte --

$dir = file_feed_dir('damaged');
copy("$from/$_", "$dir/$_") or die $! for @files;
$bytes = slurp_file("$from/$files[2]");
my $at = int(length($bytes) / 2);
write_at("$dir/$files[2]", '+<', chr(ord(substr($bytes, $at, 1)) ^ 0x10), $at);
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'), apply_interval => '10 milliseconds');
wait_state($node, 'f', 'error');
my $error = feed_column($node, 'f', 'last_error');
like($error, qr/"\Q$files[2]\E".* byte (\d+)/, 'a damaged byte: the error names file and byte');
my ($byte) = $error =~ /byte (\d+)/;
cmp_ok($byte, '<=', $at, 'that of the record');
cmp_ok($byte, '>', $at - 20_000, 'which is near');
isnt(feed_column($node, 'f', 'last_error_hint'), '', 'and the next step');
my $applied = feed_column($node, 'f', 'applied_ts');
cmp_ok($applied, '>', 0, 'what came before it is applied');
copy("$from/$files[2]", "$dir/$files[2]") or die $!;
$node->safe_psql('postgres', "SELECT magic.resume('f')");
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'a good copy in its place, and the feed goes on');
drop('f');

# -- a missing file --

$dir = file_feed_dir('missing');
copy("$from/$_", "$dir/$_") or die $! for @files[ 0, 1, 3, 4 ];
create_feed($node, 'f', file_source($dir, time_zone => 'UTC'));
wait_state($node, 'f', 'error');
like(feed_column($node, 'f', 'last_error'), qr/missing.*\Q$dir\E.*\Q$files[1]\E.*\Q$files[3]\E/, 'a missing file is told');
copy("$from/$files[2]", "$dir/$files[2]") or die $!;
$node->safe_psql('postgres', "SELECT magic.resume('f')");
wait_applied($node, 'f', last_ts('bank'));
compare_fixture($node, 'bank', name => 'put back');
drop('f');

# -- a directory that is not allowed --

my ($status, $out, $err) = $node->psql('postgres', "SELECT magic.create_feed('f', 'file:///etc?protocol=tidb-binlog')");
isnt($status, 0, 'a directory outside of magic.file_source_dirs is refused');
like($err, qr/magic\.file_source_dirs/, 'with the setting to change');

done_testing();
