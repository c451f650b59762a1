# Write records of Drainer's file sink, for tests that need a stream of their own.
#
#	my $w = BinlogWriter->new($dir);
#	$w->ddl('shop', 'create table t (id int primary key, v varchar(9))');
#	$w->dml([ insert => 'shop.t', [ id => int => 1 ], [ v => varchar => 'a' ] ],
#			[ update => 'shop.t', [ id => int => 1, 1 ], [ v => varchar => 'a', 'b' ] ],
#			[ delete => 'shop.t', [ id => int => 1 ], [ v => varchar => 'b' ] ]);
#
# One call is one record, one transaction; each gets the next commit TS, which is returned. A value is
# undef for NULL. Types are MySQL's names; "unsigned" may follow: 'bigint unsigned'.
package BinlogWriter;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = ();

my @crc_table = map {
	my $c = $_;
	$c = $c & 1 ? ($c >> 1) ^ 0x82F63B78 : $c >> 1 for 1 .. 8;
	$c
} 0 .. 255;

sub _crc32c
{
	my $crc = 0xFFFFFFFF;
	# in parts: a list has 40 bytes for each of the payload's
	for (my $at = 0; $at < length $_[0]; $at += 65_536)
	{
		$crc = $crc_table[ ($crc ^ $_) & 0xFF ] ^ ($crc >> 8) for unpack 'C*', substr($_[0], $at, 65_536);
	}
	return $crc ^ 0xFFFFFFFF;
}

sub new
{
	my ($class, $dir, %options) = @_;
	my $self = bless { ts => $options{ts} // 451234567890000000 }, $class;

	open $self->{file}, '>>:raw', "$dir/binlog-0000000000000000-20260101000000" or die "$dir: $!";
	$self->{file}->autoflush(1);
	return $self;
}

sub last_ts { return $_[0]->{ts}; }

sub _varint
{
	my ($n) = @_;
	my $out = '';

	while ($n >= 0x80)
	{
		$out .= chr(($n & 0x7F) | 0x80);
		$n >>= 7;
	}
	return $out . chr($n);
}

sub _zigzag { my ($n) = @_; return _varint($n >= 0 ? 2 * $n : -2 * $n - 1); }
sub _bytes { my ($field, $value) = @_; return _varint($field << 3 | 2) . _varint(length $value) . $value; }
sub _number { my ($field, $value) = @_; return _varint($field << 3) . _varint($value); }

my %codes = (
	tinyint => 1, smallint => 2, int => 3, float => 4, double => 5, timestamp => 7, bigint => 8,
	mediumint => 9, date => 10, time => 11, datetime => 12, year => 13, varchar => 15, bit => 16,
	json => 245, decimal => 246, enum => 247, set => 248, text => 252, blob => 252, char => 254,
	binary => 254, varbinary => 15);

sub _datum
{
	my ($type, $value) = @_;

	return "\0" unless defined $value;
	return chr(9) . _varint($value) if $type =~ /unsigned|^(enum|set|bit)$/;
	return chr(8) . _zigzag($value) if $type =~ /int|year/;
	if ($type =~ /float|double/)
	{
		my $bits = unpack 'Q>', pack 'd>', $value;
		$bits = $bits & (1 << 63) ? ~$bits : $bits | (1 << 63);
		return chr(5) . pack 'Q>', $bits;
	}
	return chr(2) . _zigzag(length $value) . $value;
}

sub _column
{
	my ($kind, $column) = @_;
	my ($name, $type, $value, $changed) = @$column;
	my ($plain) = split / /, $type;
	my $out = _bytes(1, $name) . _bytes(2, chr $codes{$plain}) . _bytes(3, $plain)
	  . _bytes(4, _datum($type, $value));

	$out .= _bytes(5, _datum($type, $changed)) if $kind eq 'update';
	return $out;
}

my %kinds = (insert => 0, update => 1, delete => 2);

sub _event
{
	my ($kind, $table, @columns) = @{ $_[0] };
	my ($database, $name) = split /\./, $table, 2;

	return _bytes(1, $database) . _bytes(2, $name) . _number(3, $kinds{$kind})
	  . join '', map { _bytes(4, _column($kind, $_)) } @columns;
}

sub _record
{
	my ($self, $payload) = @_;

	$self->{file}->print(pack('V', 0x1C1B0504), pack('Q<', length $payload), $payload,
		pack('V', _crc32c($payload)));
	return $self->{ts};
}

sub dml
{
	my ($self, @events) = @_;
	my $ts = ++$self->{ts};

	return $self->_record(_number(1, 0) . _number(2, $ts)
		. _bytes(3, join '', map { _bytes(1, _event($_)) } @events));
}

# DDL with "use `database`;" before it, as Drainer writes; none for CREATE DATABASE.
sub ddl
{
	my ($self, $database, $text) = @_;
	my $ts = ++$self->{ts};
	my $use = defined $database ? "use `$database`; " : '';

	return $self->_record(_number(1, 1) . _number(2, $ts) . _bytes(4, "$use$text;"));
}

1;
