# The decoders are right, shown without PostgreSQL: every recorded message and file record decodes, both
# inputs give the same events, and replaying the events gives every row that TiDB had, at the end and at
# every commit TS of the timeline. A file with one damaged byte is refused with the record's position.
use strict;
use warnings;

use MagicTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = '/usr/bin/python3';
my $replay = source_dir() . '/test/tools/replay.py';
my $dump   = "$ENV{MAGIC_TOOLS}/binlog_dump";
my $tmp    = $PostgreSQL::Test::Utils::tmp_check;

# Run a program with its output to a file; true when it succeeded and wrote no error.
sub dump_to
{
	my ($path, @arguments) = @_;
	my $error = '';
	my $ok    = IPC::Run::run([ $dump, @arguments ], '>', $path, '2>', \$error);

	diag($error) if $error ne '';
	return $ok && $error eq '';
}

sub replay_ok
{
	my ($name, @arguments) = @_;
	my $output = '';

	ok(IPC::Run::run([ $python, $replay, @arguments ], '>&', \$output), $name) or diag($output);
	return;
}

foreach my $fixture (qw(bank keys burst types ddl ddl_hard))
{
	my $dir = fixture_dir($fixture);
	my @files = sort glob("$dir/files/*");
	my ($messages, $records) = ("$tmp/$fixture.messages", "$tmp/$fixture.files");

	ok(dump_to($messages, "$dir/messages.tsv"), "$fixture: every message decodes");
	ok(dump_to($records, @files), "$fixture: every record of the files decodes");
	replay_ok("$fixture: messages and files give the same events", 'same', $messages, $records);
	next if $fixture =~ /^ddl/;
	replay_ok("$fixture: the messages give TiDB's rows at each time", 'state', $dir, $messages);
	replay_ok("$fixture: the files give TiDB's rows at each time", 'state', $dir, $records);
}

# streams of Drainers in other zones, and texts as the client typed them
foreach my $path (glob(fixture_dir('types') . '/messages.zone-*.tsv'),
	map { fixture_dir($_) . '/messages.original-ddl.tsv' } qw(ddl ddl_hard))
{
	my ($name) = $path =~ m{([^/]+)$};
	ok(dump_to("$tmp/other", $path), "$name decodes");
}

# damage
my ($file) = sort glob(fixture_dir('keys') . '/files/*');
my $bytes = slurp_file($file);
substr($bytes, 100_000, 1) = chr(ord(substr($bytes, 100_000, 1)) ^ 1);
open my $damaged, '>:raw', "$tmp/damaged" or die $!;
print $damaged $bytes;
close $damaged;
my ($out, $err) = run_command([ $dump, "$tmp/damaged" ]);
my ($at) = $err =~ /record has a wrong CRC at byte (\d+)/;
ok(defined $at && $at > 100_000 && $at < length $bytes, 'a damaged byte is found, and the CRC is named with its place');

done_testing();
