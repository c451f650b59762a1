# Messages of TiDB Binlog made by hand: what Drainer sends to Kafka, for statements and rows of a test's own.
#
#	my $log = BinlogMessages->new('shop');
#	$log->ddl('CREATE TABLE t (id INT PRIMARY KEY, v INT)', table => 't');
#	$log->rows('t', [ [ id => 'int' ], [ v => 'int' ] ], insert => [ [ i => 1 ], undef ]);
#	produce_lines($broker, 'topic', $log->messages);
#
# A value is [ KIND => VALUE ], with i int64, u uint64, d double, b bytes, s string, or undef for NULL.
package BinlogMessages;

use strict;
use warnings;

sub new
{
	my ($class, $database) = @_;
	return bless { database => $database, ts => 450000000000000000, messages => [] }, $class;
}

# All messages since the last call, as produce_lines() takes them.
sub messages
{
	my ($self) = @_;
	my @messages = @{ $self->{messages} };

	$self->{messages} = [];
	return @messages;
}

sub last_ts { my ($self) = @_; return $self->{ts}; }

sub _varint
{
	my ($n) = @_;
	my $bytes = '';
	no warnings 'portable';

	do
	{
		my $low = $n & 127;
		$n = ($n >> 7) & 0x01ffffffffffffff;
		$bytes .= chr($low | ($n ? 128 : 0));
	} while ($n);
	return $bytes;
}

sub _number { my ($field, $n) = @_; return _varint($field << 3) . _varint($n); }

sub _bytes
{
	my ($field, $bytes) = @_;
	utf8::encode($bytes) if utf8::is_utf8($bytes);
	return _varint($field << 3 | 2) . _varint(length $bytes) . $bytes;
}

sub _add
{
	my ($self, $type, $body) = @_;

	# One millisecond a message.
	$self->{ts} += 1 << 18;
	push @{ $self->{messages} }, [ $self->{ts}, _number(1, $type) . _number(2, $self->{ts}) . $body ];
	return $self->{ts};
}

# A statement; returns its commit TS. Options: database, table.
sub ddl
{
	my ($self, $query, %options) = @_;
	return $self->_add(1, _bytes(4, _bytes(1, $options{database} // $self->{database})
		  . _bytes(2, $options{table} // '') . _bytes(3, $query)));
}

sub _row
{
	my ($values) = @_;
	my $row = '';

	for my $value (@$values)
	{
		my $column = _number(1, defined $value ? 0 : 1);
		if (defined $value)
		{
			my ($kind, $v) = @$value;
			$column .= $kind eq 'i' ? _number(2, $v)
			  : $kind eq 'u' ? _number(3, $v)
			  : $kind eq 'd' ? _varint(4 << 3 | 1) . pack('d<', $v)
			  :                _bytes($kind eq 'b' ? 5 : 6, $v);
		}
		$row .= _bytes(1, $column);
	}
	return $row;
}

# Rows of one table in one transaction; returns its commit TS. columns: [ NAME => TYPE ]. changes: pairs of
# insert => ROW, delete => ROW, update => [ OLD, NEW ]. With a reference to a hash in front of them: database, keys
# ([ NAME, COLUMNS... ]).
sub rows
{
	my ($self, $table, $columns, @changes) = @_;
	my %options = ref $changes[0] ? %{ shift @changes } : ();
	my $body = _bytes(1, $options{database} // $self->{database}) . _bytes(2, $table);

	$body .= _bytes(3, _bytes(1, $_->[0]) . _bytes(2, $_->[1]) . _number(3, 0)) for @$columns;
	while (my ($kind, $row) = splice(@changes, 0, 2))
	{
		$body .= _bytes(4, $kind eq 'update'
			? _number(1, 1) . _bytes(2, _row($row->[1])) . _bytes(3, _row($row->[0]))
			: _number(1, $kind eq 'insert' ? 0 : 2) . _bytes(2, _row($row)));
	}
	for my $key (@{ $options{keys} // [] })
	{
		my ($name, @names) = @$key;
		$body .= _bytes(5, _bytes(1, $name) . join('', map { _bytes(2, $_) } @names));
	}
	return $self->_add(0, _bytes(3, _bytes(1, $body)));
}

1;
