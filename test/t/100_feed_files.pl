# A feed of Drainer's files follows them as they grow and rotate, and comes to rest with the file and
# the byte where they are damaged: torn last record, torn earlier one, wrong CRC, missing file, a file
# of another kind. After the repair it goes on and nothing is lost.
use strict;
use warnings;

use File::Copy qw(copy);
use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = magic_node('main');
my $files = fixture_dir('bank') . '/files';
my @names = map { s{.*/}{}r } sort glob "$files/binlog-*";
my $last = last_ts('bank');

sub content { return slurp_file("$files/$_[0]"); }

sub put
{
	my ($dir, $name, $bytes) = @_;
	open my $file, '>:raw', "$dir/$name" or die $!;
	print $file $bytes;
	close $file;
	return;
}

# Wait until everything that can be read at present is applied.
sub settled { $node->safe_psql('postgres', "SELECT magic.wait_for('$_[0]', 'end', '120 seconds')"); return; }

sub rest
{
	my ($name, $feed, $message, $detail) = @_;
	wait_state($node, $feed, 'error');
	like(feed_column($node, $feed, 'last_error'), $message, "$name: the error says where");
	like(feed_column($node, $feed, 'last_error_detail'), $detail, "$name: and what") if $detail;
	like(feed_column($node, $feed, 'last_error_hint'), qr/resume|postgresql[.]conf/, "$name: and what to do");
	is(feed_column($node, $feed, 'worker_pid'), '', "$name: no worker goes on trying");
	return;
}

sub resume { $node->safe_psql('postgres', "SELECT magic.resume('$_[0]')"); return; }

sub finish
{
	my ($name, $feed) = @_;
	wait_applied($node, $feed, $last);
	compare_fixture($node, 'bank', name => $name);
	$node->safe_psql('postgres', "SELECT magic.drop_feed('$feed', drop_tables => true)");
	return;
}

sub start
{
	my ($feed, $dir) = @_;
	create_feed($node, $feed, file_source($dir, time_zone => 'UTC'), apply_interval => '20 milliseconds');
	return;
}

# An empty directory, a file that grows by pieces that end anywhere, the next file.
{
	my $dir = file_feed_dir('grow');
	start('grow', $dir);
	settled('grow');
	is(feed_state($node, 'grow'), 'running', 'an empty directory is no error');
	my $bytes = content($names[0]);
	my $at = 0;
	for my $piece (1, 11, 30, 5000, 100_000, length($bytes))
	{
		put($dir, $names[0], substr($bytes, 0, $at += $piece));
		settled('grow');
	}
	is(feed_state($node, 'grow'), 'running', 'a record that is being written is waited for');
	put($dir, 'savepoint', 'commitTS = 1');
	put($dir, '.lock', '');
	copy("$files/$_", $dir) for @names[ 1 .. $#names ];
	finish('a directory that grows arrives whole', 'grow');
}

# The last file ends inside a record; the server is restarted meanwhile.
{
	my $dir = file_feed_dir('torn');
	copy("$files/$_", $dir) for @names[ 0 .. $#names - 1 ];
	my $bytes = content($names[-1]);
	put($dir, $names[-1], substr($bytes, 0, length($bytes) - 3));
	start('torn', $dir);
	settled('torn');
	is(feed_state($node, 'torn'), 'running', 'a torn last record of the last file is waited for');
	is(feed_column($node, 'torn', "applied_ts < $last"), 't', 'and is not applied');
	$node->restart;
	settled('torn');
	put($dir, $names[-1], $bytes);
	finish('the torn record arrives once it is whole', 'torn');
}

# A file that has a successor ends inside a record.
{
	my $dir = file_feed_dir('torn_early');
	my $bytes = content($names[1]);
	copy("$files/$_", $dir) for @names;
	put($dir, $names[1], substr($bytes, 0, length($bytes) - 3));
	start('torn_early', $dir);
	rest('torn earlier file', 'torn_early', qr/\Q$names[1]\E.*ends inside the record at byte \d+/, qr/\Q$names[2]\E.* follows/);
	put($dir, $names[1], $bytes);
	resume('torn_early');
	finish('nothing is lost after the file was completed', 'torn_early');
}

# One bit differs in the middle of a file.
{
	my $dir = file_feed_dir('crc');
	my $bytes = content($names[2]);
	my $bad = $bytes;
	substr($bad, 100_000, 1) = chr(ord(substr($bad, 100_000, 1)) ^ 0x10);
	copy("$files/$_", $dir) for @names;
	put($dir, $names[2], $bad);
	start('crc', $dir);
	rest('one wrong bit', 'crc', qr/file "\Q$names[2]\E" in directory ".*", record at byte \d+: .*(CRC|magic|record)/);
	my ($byte) = feed_column($node, 'crc', 'last_error') =~ /record at byte (\d+)/;
	ok($byte <= 100_000 && $byte > 100_000 - 70_000, 'the byte is that of the record');
	like(slurp_file($node->logfile), qr/feed rests in state "error": file "\Q$names[2]\E"/, 'the log says so');
	is(feed_column($node, 'crc', 'last_sqlstate'), 'XX001', 'as data corruption');
	put($dir, $names[2], $bytes);
	resume('crc');
	finish('nothing is lost after the file was repaired', 'crc');
}

# A file is missing between two others; a link and a directory that have the name of a file.
{
	my $dir = file_feed_dir('hole');
	copy("$files/$_", $dir) for grep { $_ ne $names[1] } @names;
	start('hole', $dir);
	rest('a missing file', 'hole', qr/missing.*between "\Q$names[0]\E" and "\Q$names[2]\E"/);
	symlink("$files/$names[1]", "$dir/$names[1]") or die $!;
	resume('hole');
	wait_state($node, 'hole', 'error') until feed_column($node, 'hole', 'last_error') !~ /missing|^$/;
	pass('a link is not followed');
	unlink "$dir/$names[1]";
	$node->safe_psql('postgres', "SELECT magic.pause('hole')");
	copy("$files/$names[1]", $dir);
	resume('hole');
	finish('nothing is lost after the file was put there', 'hole');
}

# A file with something else in it; one whose records are not Drainer's.
{
	my $dir = file_feed_dir('garbage');
	put($dir, $names[0], "this is no binlog file at all\n");
	start('garbage', $dir);
	rest('a file of another kind', 'garbage', qr/file "\Q$names[0]\E" in directory ".*", record at byte 0:/);
	put($dir, $names[0], content($names[0]));
	resume('garbage');
	copy("$files/$_", $dir) for @names[ 1 .. $#names ];
	finish('nothing is lost after the file was replaced', 'garbage');
}

# The files that were applied are not there any more, or are others.
{
	my $dir = file_feed_dir('changed');
	copy("$files/$_", $dir) for @names[ 0, 1 ];
	start('changed', $dir);
	settled('changed');
	$node->safe_psql('postgres', "SELECT magic.pause('changed')");
	wait_state($node, 'changed', 'paused');
	put($dir, $names[1], content($names[2]));
	resume('changed');
	wait_state($node, 'changed', 'error');
	like(feed_column($node, 'changed', 'last_error'), qr/has changed at byte|is shorter than|record at byte/,
		'a directory with other files is noticed');
	put($dir, $names[1], content($names[1]));
	resume('changed');
	copy("$files/$_", $dir) for @names[ 2 .. $#names ];
	finish('and goes on with the right ones', 'changed');
}

# The directory leaves magic.file_source_dirs.
{
	my $dir = file_feed_dir('rights');
	copy("$files/$_", $dir) for @names;
	start('rights', $dir);
	wait_applied($node, 'rights', $last);
	$node->append_conf('postgresql.conf', "magic.file_source_dirs = ''");
	$node->restart;
	rest('a directory that is no longer allowed', 'rights', qr/may not be read by feeds/);
	$node->append_conf('postgresql.conf', "magic.file_source_dirs = '${PostgreSQL::Test::Utils::tmp_check}'");
	$node->reload;
	resume('rights');
	finish('and goes on once it is allowed', 'rights');
}

done_testing();
