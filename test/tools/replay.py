#!/usr/bin/python3
"""Replay decoded events without PostgreSQL, and compare with what TiDB had.

usage: replay.py state FIXTURE DUMP       every line of timeline.tsv, then every row of expected/
       replay.py same DUMP_OF_MESSAGES DUMP_OF_FILES

DUMP is the output of binlog_dump. "state" keeps each table as a multiset of rows: an old image that is
not there is an error, so keys are not needed. "same" compares the events of the two inputs and prints
every difference that is not one of the documented ones: files carry no keys, no table name of DDL, no
database of CREATE DATABASE, and no generated or hidden columns in updates.
Exit status 0 = equal, 1 = not.
"""
import collections
import itertools
import os
import re
import struct
import sys
import zlib

import fixture


def unescape_dump(field):
    codes = {b'\\': b'\\', b't': b'\t', b'n': b'\n', b'r': b'\r', b'0': b'\0'}
    if b'\\' not in field:
        return field
    return re.sub(rb'\\(?:x([0-9a-f]{2})|(.))',
                  lambda m: bytes([int(m[1], 16)]) if m[1] else codes[m[2]], field)


class Table:
    """A T line."""

    def __init__(self, fields):
        self.name = tuple(unescape_dump(f).decode() for f in fields[2:4])
        columns = [c.split(b':') for c in fields[5].split(b',')]
        self.columns = [unescape_dump(c[0]).decode() for c in columns]
        self.types = [c[1].decode() for c in columns]
        self.flags = [c[2].decode() for c in columns]
        self.has_key_info = fields[4] == b'1'
        self.keys = fields[6]


def read_events(path):
    """(fields, table, old values, new values) of each line but T."""
    tables = {}
    with open(path, 'rb') as f:
        for line in f:
            fields = line.rstrip(b'\n').split(b'\t')
            if fields[0] == b'T':
                tables[fields[1]] = Table(fields)
            elif fields[0] == b'R':
                count = int(fields[4])
                yield fields[:4], tables[fields[3]], fields[5:5 + count], fields[6 + count:]
            else:
                yield fields, None, [], []


def members(declared):
    return [m.replace("''", "'") for m in re.findall(r"'((?:[^']|'')*)'", declared)]


def render(column, token):
    """The field of expected/ for a value of the dump."""
    kind, text = token[:1], token[1:]
    if kind == b'n':
        return b'\\N'
    if column.type in ('float', 'double') and kind == b'd':
        return fixture.go_float(struct.pack('<f' if column.type == 'float' else '<d', float(text))).encode()
    if column.type == 'bit' and kind == b'u':
        return column.to_fixture(int(text))
    if column.type == 'enum' and kind == b'u':
        return fixture.escape(([''] + column.members)[int(text)].encode())
    if column.type == 'set' and kind == b'u':
        chosen = [m for i, m in enumerate(column.members) if int(text) >> i & 1]
        return fixture.escape(','.join(chosen).encode())
    expected = b'b' if column.type in fixture.BINARIES else b'iu' if column.type in fixture.INTEGERS else b's'
    if kind not in expected:
        raise SystemExit('column %s of type %s has the value %r' % (column.name, column.type, token))
    return fixture.escape(unescape_dump(text)) if kind == b's' else text


class State:
    def __init__(self, directory):
        self.dir = directory
        self.tables = {}
        self.columns = {}
        for name in os.listdir(os.path.join(directory, 'expected')):
            if name.endswith('.columns'):
                path = os.path.join(directory, 'expected', name)
                columns = []
                for fields in fixture.read_table(path):
                    column = fixture.Column(fields)
                    column.members = members(fixture.unescape(fields[1]).decode())
                    columns.append(column)
                self.columns[fixture.name_of_file(path, '.columns')] = columns
        self.failed = 0

    def fail(self, text):
        print(text)
        self.failed += 1

    def ddl(self, fields):
        database, statement = unescape_dump(fields[2]).decode(), unescape_dump(fields[4]).decode()
        match = re.match(r'(CREATE|DROP|TRUNCATE) TABLE (?:IF (?:NOT )?EXISTS )?(?:`([^`]+)`\.)?`([^`]+)`',
                         statement)
        if match:
            name = (match[2] or database, match[3])
            self.tables.pop(name, None)
            if match[1] != 'DROP':
                self.tables[name] = collections.Counter()

    def line(self, table, values):
        at = {name: i for i, name in enumerate(table.columns)}
        return b'\t'.join(render(c, values[at[c.name]]) for c in self.columns[table.name] if not c.generated)

    def row(self, table, old, new):
        if table.name not in self.columns:
            return
        rows = self.tables[table.name]
        if old:
            line = self.line(table, old)
            if rows[line] == 0:
                self.fail('%s.%s: the old image is not there: %r' % (table.name + (line[:200],)))
            rows[line] -= 1
        if new:
            rows[self.line(table, new)] += 1

    def check_time(self, lines):
        for _, database, table, rows, checksum in lines:
            name = fixture.unescape(database).decode(), fixture.unescape(table).decode()
            have = +self.tables.get(name, collections.Counter())
            total = sum(zlib.crc32(line) * count for line, count in have.items()) % 2**64
            if (sum(have.values()), total) != (int(rows), int(checksum)):
                self.fail('%s.%s at %s: %d rows, checksum %d, not %s, %s' % (
                    name + (lines[0][0].decode(), sum(have.values()), total, rows.decode(), checksum.decode())))

    def check_end(self):
        count = 0
        for name, columns in sorted(self.columns.items()):
            kept = [i for i, c in enumerate(columns) if not c.generated]
            path = os.path.join(self.dir, 'expected', fixture.file_of_name(name) + '.tsv')
            expected = collections.Counter()
            for line in fixture.read_file(path).split(b'\n')[:-1]:
                fields = line.split(b'\t')
                expected[b'\t'.join(fields[i] for i in kept)] += 1
            have = +self.tables.get(name, collections.Counter())
            count += sum(have.values())
            if have != expected:
                self.fail('%s.%s: %d rows missing, %d extra' % (name + (
                    sum((expected - have).values()), sum((have - expected).values()))))
        return count


def state(directory, dump):
    replayed = State(fixture.fixture_dir(directory))
    timeline = collections.OrderedDict()
    path = os.path.join(replayed.dir, 'timeline.tsv')
    if os.path.exists(path):
        for line in fixture.read_table(path):
            timeline.setdefault(int(line[0]), []).append(line)
    checked = 0
    for fields, table, old, new in read_events(dump):
        if fields[0] == b'R':
            replayed.row(table, old, new)
        elif fields[0] == b'D':
            replayed.ddl(fields)
        elif int(fields[1]) in timeline:
            lines = timeline[int(fields[1])]
            replayed.check_time(lines)
            checked += len(lines)
    if checked != sum(map(len, timeline.values())):
        replayed.fail('only %d lines of the timeline were met' % checked)
    rows = replayed.check_end()
    print('%d lines of the timeline, %d tables, %d rows at the end, %d differences' % (
        checked, len(replayed.columns), rows, replayed.failed))
    return replayed.failed == 0


def same(messages, files):
    failed = events = 0
    for a, b in itertools.zip_longest(read_events(messages), read_events(files)):
        problem = None
        if a is None or b is None:
            problem = 'one of them ends earlier'
        elif a[0][0] == b'R':
            problem = row_difference(a, b)
        elif a[0][0] == b'D':
            created = a[0][4].upper().startswith(b'CREATE DATABASE')
            if b[0][:2] + [b[0][2] if not created else a[0][2]] + b[0][4:] != a[0][:3] + a[0][4:]:
                problem = 'statements differ'
            elif b[0][3] != b'-' or (created and b[0][2] != b'-'):
                problem = 'the file knows more than it can'
        elif a[0] != b[0]:
            problem = 'ends differ'
        events += 1
        if problem:
            failed += 1
            print('%s: %r, %r' % (problem, a and a[0], b and b[0]))
    print('%d events, %d differences' % (events, failed))
    return failed == 0


def row_difference(a, b):
    if a[0][:3] != b[0][:3] or a[1].name != b[1].name:
        return 'rows differ'
    if not a[1].has_key_info or b[1].has_key_info or b[1].keys or 'p' in ''.join(b[1].flags):
        return 'key information is not as documented'
    kind = a[0][2]
    for left, right in ((a[2], b[2]), (a[3], b[3])):
        of_file = dict(zip(zip(b[1].columns, b[1].types), right))
        for column, flags, value in zip(zip(a[1].columns, a[1].types), a[1].flags, left):
            other = of_file.pop(column, None)
            # generated and hidden columns are NULL in the message's update
            if other is None and kind == b'update' and (value == b'n' or 'h' in flags):
                continue
            if other != value:
                return 'column %s is %r, %r' % (column[0], value[:100], other and other[:100])
        if of_file:
            return 'only the file has %s' % list(of_file)
    return None


def main():
    commands = {'state': state, 'same': same}
    if len(sys.argv) != 4 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    try:
        sys.exit(not commands[sys.argv[1]](sys.argv[2], sys.argv[3]))
    except fixture.Problem as problem:
        sys.exit('replay.py: %s' % problem)


if __name__ == '__main__':
    main()
