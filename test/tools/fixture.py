#!/usr/bin/python3
"""Use the recorded streams of test/fixtures: unpack, print messages, compare a database with TiDB.

usage: fixture.py unpack NAME DIR
       fixture.py messages NAME [--zone ZONE] [--original-ddl] [--after TS] [--upto TS] [--framed]
       fixture.py timeline NAME
       fixture.py sql NAME
       fixture.py compare NAME [--connect CONNINFO] [--at TS] [--table DB.TABLE]... [--differences N]

NAME is a folder of test/fixtures or the path of one, unpacked or not.

unpack    writes everything to DIR, .zst files unpacked.
messages  prints messages.tsv (commit TS, partition, key, value in hex), or with --framed each value
          as 4 bytes of length, big-endian, and the value. --zone: as a Drainer in that time zone sends
          it (types). --original-ddl: DDL as the client typed it (ddl, ddl_hard).
timeline  prints the commit TSs that compare --at accepts.
sql       prints SQL that creates the tables and fills them as a feed that read everything leaves them.
compare   compares every row of every table with what TiDB had at the end, or with --at at a commit
          TS of timeline.tsv by row count and checksum; also the set of tables, the columns and their
          types. One line for each table, then what differs. Exit status 0 = equal, 1 = not, 2 = could
          not compare. Everything is read in one snapshot. A checksum can only be right where the
          database holds exactly what TiDB had: in bank, keys and burst, but not in tables with zero
          dates (types, some of ddl).

Equal means value for value under the feed's default policies: a date that is zero, partial or of year
0000 is NULL (-infinity for the zero date in a key); U+0000 and bytes that are not UTF-8 are U+FFFD in
text and JSON; JSON, numbers and times are compared by value; generated columns are left out.
Needs zstd and, to compare, psql in the PATH.
"""
import argparse
import collections
import datetime
import decimal
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'fixtures')

# json's numbers must stay what they are: no float on the way
decimal.getcontext().prec = 1000
sys.setrecursionlimit(20000)


class Problem(Exception):
    """The comparison cannot be made."""


# ---- files --------------------------------------------------------------------------------------

def fixture_dir(name):
    path = name if os.path.isdir(name) else os.path.join(FIXTURES, name)
    if not os.path.isdir(path):
        raise Problem('there is no fixture "%s"' % name)
    return path


def read_file(path):
    """The content of a file that may be packed."""
    if os.path.exists(path):
        with open(path, 'rb') as f:
            return f.read()
    if os.path.exists(path + '.zst'):
        return subprocess.run(['zstd', '-d', '-q', '-c', path + '.zst'], stdout=subprocess.PIPE,
                              check=True).stdout
    raise Problem('there is no file "%s"' % path)


def read_table(path):
    """The lines of a file, split at tabs; the header line, which begins with #, is left out."""
    return [line.split(b'\t') for line in read_file(path).split(b'\n')
            if line != b'' and not line.startswith(b'#')]


UNESCAPE = {b'\\\\': b'\\', b'\\t': b'\t', b'\\n': b'\n', b'\\0': b'\0'}
ESCAPE = {value: key for key, value in UNESCAPE.items()}


def unescape(field):
    """A field of a fixture's file; None for NULL."""
    if field == b'\\N':
        return None
    if b'\\' not in field:
        return field
    return re.sub(rb'\\[\\tn0]', lambda m: UNESCAPE[m[0]], field)


def escape(value):
    return re.sub(rb'[\\\t\n\0]', lambda m: ESCAPE[m[0]], value)


def unescape_copy(field):
    """A field of COPY's text format."""
    if field == b'\\N':
        return None
    if b'\\' not in field:
        return field
    return re.sub(rb'\\(.)', lambda m: {b'b': b'\b', b'f': b'\f', b'n': b'\n', b'r': b'\r',
                                        b't': b'\t', b'v': b'\v'}.get(m[1], m[1]), field, flags=re.S)


def name_of_file(path, suffix):
    """(database, table) of a file in expected/; bytes other than letters, digits, _ and - are %XX."""
    base = os.path.basename(path)[:-len(suffix)]
    parts = [re.sub(rb'%(..)', lambda m: bytes([int(m[1], 16)]), part.encode()).decode()
             for part in base.split('.')]
    return parts[0], parts[1]


def file_of_name(name):
    return '.'.join(re.sub(rb'[^A-Za-z0-9_-]', lambda m: b'%%%02X' % m[0][0], part.encode()).decode()
                    for part in name)


# ---- columns and values ---------------------------------------------------------------------------

INTEGERS = {'tinyint': ('smallint', 'smallint'), 'smallint': ('smallint', 'integer'),
            'mediumint': ('integer', 'integer'), 'int': ('integer', 'bigint'),
            'bigint': ('bigint', 'numeric(20,0)'), 'year': ('smallint', 'smallint')}
TEXTS = ('char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'enum', 'set')
BINARIES = ('binary', 'varbinary', 'tinyblob', 'blob', 'mediumblob', 'longblob')


class Column:
    """A column as information_schema.columns has it, and how its values look on both sides."""

    def __init__(self, fields):
        text = [(unescape(f) or b'').decode() for f in fields]
        self.name, declared, _, key = text[:4]
        self.generated = text[9] != '' or 'GENERATED' in text[8].replace('DEFAULT_GENERATED', '')
        self.in_key = key == 'PRI'
        self.type = re.match(r'\w+', declared)[0]
        self.unsigned = 'unsigned' in declared
        self.length = [int(n) for n in re.findall(r'\d+', declared.partition(')')[0])] \
            if self.type not in ('enum', 'set') else []
        self.fraction = self.length[0] if self.length and self.type in ('datetime', 'timestamp', 'time') else 0

    def pg_types(self):
        """The types that PostgreSQL's column may have."""
        if self.type in INTEGERS:
            return INTEGERS[self.type][self.unsigned:][:1]
        if self.type == 'bit':
            return ('bigint',) if (self.length or [1])[0] <= 63 else ('numeric(20,0)',)
        if self.type == 'decimal':
            precision, scale = (self.length + [10, 0])[:2] if len(self.length) != 1 else (self.length[0], 0)
            return ('numeric(%d,%d)' % (precision, scale),)
        if self.type in TEXTS:
            return ('text',)
        if self.type in BINARIES:
            return ('bytea',)
        if self.type == 'time':
            return ('interval', 'interval(%d)' % self.fraction)
        return {'float': ('real',), 'double': ('double precision',), 'json': ('jsonb',), 'date': ('date',),
                'datetime': ('timestamp(%d) without time zone' % self.fraction,),
                'timestamp': ('timestamp(%d) with time zone' % self.fraction,)}[self.type]

    def select(self):
        """The SQL expression of which COPY prints the text that from_pg reads."""
        name = quote(self.name)
        if self.type == 'time':
            return '(extract(epoch from %s) * 1000000)::bigint' % name
        return name

    # Values of both sides become one form: None, int, float's bits, Decimal, bytes, or for the
    # temporal types microseconds.

    def from_fixture(self, field):
        value = unescape(field)
        if value is None:
            return None
        if self.type == 'bit':
            return int(value, 16)
        if self.type in BINARIES:
            return bytes.fromhex(value.decode())
        if self.type in TEXTS:
            return decode_text(value).replace('\0', '\ufffd')
        if self.type == 'json':
            return json_value(value)
        if self.type in ('date', 'datetime', 'timestamp'):
            return self.date_from_fixture(value.decode())
        if self.type == 'time':
            match = re.fullmatch(r'(-?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?', value.decode())
            micros = ((int(match[2]) * 60 + int(match[3])) * 60 + int(match[4])) * 1000000
            micros += int((match[5] or '').ljust(6, '0'))
            return -micros if match[1] else micros
        return self.number(value)

    def date_from_fixture(self, text):
        if text.startswith('0000-') or '-00' in text[4:10]:
            return '-infinity' if self.in_key and text.startswith('0000-00-00') else None
        return date_value(text)

    def from_pg(self, field):
        value = unescape_copy(field)
        if value is None:
            return None
        if self.type == 'bit' or self.type == 'time':
            return int(value)
        if self.type in BINARIES:
            return bytes.fromhex(value[2:].decode())
        if self.type in TEXTS:
            return value.decode()
        if self.type == 'json':
            return json_value(value)
        if self.type in ('date', 'datetime', 'timestamp'):
            text = value.decode()
            if self.type == 'timestamp' and not text.endswith('infinity'):
                if not text.endswith('+00'):
                    raise Problem('timestamp "%s" is not in UTC' % text)
                text = text[:-3]
            return text if text.endswith('infinity') else date_value(text)
        return self.number(value)

    def number(self, value):
        if self.type == 'float':
            return struct.pack('<f', float(value))
        if self.type == 'double':
            return struct.pack('<d', float(value))
        if self.type == 'decimal':
            return value.decode()       # all digits, exact
        return int(value)

    def to_fixture(self, value):
        """The field of the fixture's file that a value comes from, for the checksum."""
        if value is None:
            return b'\\N'
        if self.type == 'bit':
            return b'%0*x' % (((self.length or [1])[0] + 7) // 8 * 2, value)
        if self.type in BINARIES:
            return value.hex().encode()
        if self.type in TEXTS:
            return escape(value.encode())
        if self.type == 'json':
            return escape(json_text(value).encode())
        if self.type in ('float', 'double'):
            return go_float(value).encode()
        if self.type == 'date':
            return value[0].encode()
        if self.type in ('datetime', 'timestamp'):
            return (value[0] + ' ' + with_fraction(value[1], self.fraction)).encode()
        if self.type == 'time':
            seconds, micros = divmod(abs(value), 1000000)
            text = '%s%02d:%02d:%02d.%06d' % ('-' if value < 0 else '', seconds // 3600, seconds // 60 % 60,
                                              seconds % 60, micros)
            return with_fraction(text, self.fraction).encode()
        return str(value).encode()


def decode_text(value):
    """Text with U+FFFD for each byte that is not UTF-8."""
    return re.sub('[\udc80-\udcff]', '\ufffd', value.decode('utf-8', 'surrogateescape'))


def date_value(text):
    """(day, time of day with six digits of fraction)"""
    day, _, clock = text.partition(' ')
    if not clock:
        return day, ''
    clock, _, fraction = clock.partition('.')
    return day, clock + '.' + fraction.ljust(6, '0')


def with_fraction(clock, digits):
    """A time of day with so many digits of fraction; more only where they would be lost."""
    whole, _, fraction = clock.partition('.')
    fraction = fraction.rstrip('0').ljust(digits, '0')
    return whole + ('.' + fraction if fraction else '')


def json_value(text):
    """A JSON document as a value that can be compared: objects without order, numbers as decimals."""
    def freeze(value):
        if isinstance(value, dict):
            return ('object', tuple(sorted((clean_json_text(k), freeze(v)) for k, v in value.items())))
        if isinstance(value, list):
            return ('array', tuple(freeze(v) for v in value))
        if isinstance(value, str):
            return ('string', clean_json_text(value))
        if isinstance(value, bool) or value is None:
            return ('literal', json.dumps(value))
        return ('number', value)
    return freeze(json.loads(decode_text(text), parse_int=decimal.Decimal,
                             parse_float=decimal.Decimal))


def clean_json_text(text):
    return ''.join('\ufffd' if c == '\0' or '\ud800' <= c <= '\udfff' else c for c in text)


def json_text(value):
    """As TiDB prints it: keys in the order of their bytes, ", " and ": " between."""
    kind, content = value
    if kind == 'object':
        items = sorted(content, key=lambda item: item[0].encode())
        return '{' + ', '.join('%s: %s' % (json_text(('string', k)), json_text(v)) for k, v in items) + '}'
    if kind == 'array':
        return '[' + ', '.join(json_text(v) for v in content) + ']'
    if kind == 'string':
        return json.dumps(content, ensure_ascii=False)
    return str(content)


def float4(text):
    try:
        return struct.pack('<f', float(text))
    except OverflowError:       # a short text of the largest float may lie above it
        return b''


def go_float(bits):
    """The shortest text that gives the same value, in the form of Go's %g."""
    if len(bits) == 8:
        value = struct.unpack('<d', bits)[0]
        digits = repr(value)
    else:
        value = struct.unpack('<f', bits)[0]
        digits = next(d for d in ('%.*g' % (n, value) for n in range(1, 10)) if float4(d) == bits)
    if value == 0:
        return '-0' if bits[-1] & 0x80 else '0'
    sign, number, exponent = decimal.Decimal(digits).as_tuple()
    number = ''.join(map(str, number)).rstrip('0')
    point = decimal.Decimal(digits).adjusted()
    sign = '-' if sign else ''
    if point < -4 or point >= 6:
        return '%s%s%se%s%02d' % (sign, number[0], '.' + number[1:] if number[1:] else '',
                                  '-' if point < 0 else '+', abs(point))
    if point < 0:
        return sign + '0.' + '0' * (-point - 1) + number
    number = number.ljust(point + 1, '0')
    return sign + number[:point + 1] + ('.' + number[point + 1:] if number[point + 1:] else '')


# ---- PostgreSQL -------------------------------------------------------------------------------------

def quote(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


class Database:
    """psql on a database, and what tables it has."""

    SETTINGS = ("SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC';"
                "SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex';"
                "SET standard_conforming_strings = on; SET search_path = pg_catalog;\n")

    def __init__(self, conninfo):
        self.command = ['psql', '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-d', conninfo]

    def run(self, script):
        """The output of a script."""
        process = subprocess.run(self.command + ['-f', '-'], input=(self.SETTINGS + script).encode(),
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if process.returncode != 0:
            raise Problem('psql: ' + process.stderr.decode(errors='replace').strip())
        return process.stdout

    def tables(self, databases):
        """{(database, table): {column: type}} of ordinary tables in the schemas."""
        out = self.run("""COPY (
            SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                   LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname IN (%s)
             ORDER BY 1, 2, a.attnum) TO STDOUT;\n""" % ', '.join(map(literal, databases or [''])))
        found = {}
        for line in out.split(b'\n')[:-1]:
            schema, table, column, kind = [unescape_copy(f) for f in line.split(b'\t')]
            columns = found.setdefault((schema.decode(), table.decode()), {})
            if column is not None:
                columns[column.decode()] = kind.decode()
        return found

    def rows(self, tables):
        """For each (name, columns) in order: the lines of COPY. All in one snapshot."""
        script = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n'
        for (schema, table), columns in tables:
            script += 'COPY (SELECT %s FROM %s.%s) TO STDOUT;\n' % (
                ', '.join(c.select() for c in columns), quote(schema), quote(table))
            script += r"\echo '\\.'" + '\n'
        out = self.run(script + 'COMMIT;\n')
        lines = []
        for line in out.split(b'\n'):
            if line == b'\\.':         # no line of data: there backslashes are doubled
                yield lines
                lines = []
            else:
                lines.append(line)


def copy_field(column, field):
    """A field of expected/ as COPY reads it."""
    value = column.from_fixture(field)
    if value is None:
        return b'\\N'
    if value == '-infinity':
        return value.encode()
    if column.type == 'bit':
        return b'%d' % value
    if column.type == 'time':
        return b'%d microseconds' % value
    if column.type in BINARIES:
        return b'\\\\x' + value.hex().encode()
    if column.type in TEXTS or column.type == 'json':
        text = value if column.type != 'json' else json_text(value)
        return re.sub(rb'[\\\t\n\r]', lambda m: b'\\' + {b'\t': b't', b'\n': b'n', b'\r': b'r'}.get(m[0], m[0]),
                      text.encode())
    return field


# ---- comparison ----------------------------------------------------------------------------------------

class Comparison:
    def __init__(self, directory, database, options):
        self.dir = directory
        self.database = database
        self.options = options
        self.failed = 0
        self.columns = {}
        for path in sorted(glob.glob(os.path.join(directory, 'expected', '*.columns'))):
            columns = [Column(f) for f in read_table(path)]
            self.columns[name_of_file(path, '.columns')] = [c for c in columns if not c.generated]
        self.all_databases = {name[0] for name in self.columns}

    def report(self, name, problems, rows):
        print('%-8s %s.%s: %d rows' % ('differs' if problems else 'equal', name[0], name[1], rows))
        for problem in problems:
            print('         ' + problem)
        self.failed += bool(problems)

    def wanted(self, names):
        if not self.options.table:
            return sorted(names)
        for name in self.options.table:
            if tuple(name.split('.', 1)) not in names:
                raise Problem('the fixture has no table "%s" at this time' % name)
        return sorted(tuple(name.split('.', 1)) for name in self.options.table)

    def present(self, names, found):
        """The tables that are there with the right columns; reports the others."""
        if not self.options.table:
            for name in sorted(set(found) - set(names)):
                self.report(name, ['TiDB has no such table'], 0)
        usable = []
        for name in names:
            if name not in found:
                self.report(name, ['there is no such table'], 0)
                continue
            problems = []
            columns = {c.name: c for c in self.columns[name]}
            for column in sorted(set(found[name]) - set(columns)):
                problems.append('column "%s" is not expected' % column)
            for column in self.columns[name]:
                kind = found[name].get(column.name)
                if kind is None:
                    problems.append('there is no column "%s"' % column.name)
                elif kind not in column.pg_types():
                    problems.append('column "%s" is of type %s, not %s' % (column.name, kind,
                                                                         column.pg_types()[0]))
            if any(c.name not in found[name] for c in self.columns[name]):
                self.report(name, problems, 0)
            else:
                usable.append((name, problems))
        return usable

    def row_differences(self, columns, expected, actual):
        """What a person can read of two multisets of rows that are not equal."""
        missing, extra = expected - actual, actual - expected
        problems = []
        keys = [i for i, c in enumerate(columns) if c.in_key] or None
        by_key = {}
        if keys:
            for row in extra:
                by_key.setdefault(tuple(row[i] for i in keys), []).append(row)
        for row in list(missing):
            partners = by_key.get(tuple(row[i] for i in keys)) if keys else None
            if not partners:
                continue
            other = partners.pop()
            for i, column in enumerate(columns):
                if row[i] != other[i]:
                    problems.append('%s: "%s" is %s, not %s' % (
                        show_key(columns, row), column.name, show(column, other[i]), show(column, row[i])))
            missing[row] -= 1
            extra[other] -= 1
        problems += ['missing row %s' % show_row(columns, row) for row in (+missing).elements()]
        problems += ['extra row   %s' % show_row(columns, row) for row in (+extra).elements()]
        limit = self.options.differences
        return problems[:limit] + (['... and %d more' % (len(problems) - limit)] if len(problems) > limit else [])

    def at_end(self):
        found = self.database.tables(self.all_databases)
        usable = self.present(self.wanted(self.columns), found)
        tables = [(name, self.columns[name]) for name, _ in usable]
        for (name, problems), lines in zip(usable, self.database.rows(tables)):
            columns = self.columns[name]
            every = [Column(f) for f in read_table(self.path(name, '.columns'))]
            kept = [i for i, c in enumerate(every) if not c.generated]
            expected = collections.Counter()
            for line in read_file(self.path(name, '.tsv')).split(b'\n')[:-1]:
                fields = line.split(b'\t')
                expected[tuple(c.from_fixture(fields[i]) for c, i in zip(columns, kept))] += 1
            actual = collections.Counter(self.rows_of(columns, lines))
            if expected != actual:
                problems += self.row_differences(columns, expected, actual)
            self.report(name, problems, sum(actual.values()))

    def at(self, commit_ts):
        state = {}
        for ts, database, table, rows, checksum in read_table(os.path.join(self.dir, 'timeline.tsv')):
            if int(ts) == commit_ts:
                name = unescape(database).decode(), unescape(table).decode()
                state[name] = int(rows), int(checksum)
        if not state:
            raise Problem('%d is no commit TS of timeline.tsv' % commit_ts)
        for name in state:
            if name not in self.columns:
                raise Problem('the columns of %s.%s are not known at %d' % (name + (commit_ts,)))
        found = self.database.tables(self.all_databases)
        usable = self.present(self.wanted(state), found)
        tables = [(name, self.columns[name]) for name, _ in usable]
        for (name, problems), lines in zip(usable, self.database.rows(tables)):
            columns = self.columns[name]
            count = checksum = 0
            for row in self.rows_of(columns, lines):
                line = b'\t'.join(c.to_fixture(v) for c, v in zip(columns, row))
                checksum += zlib.crc32(line)
                count += 1
            if count != state[name][0]:
                problems.append('%d rows, not %d' % (count, state[name][0]))
            elif checksum % 2**64 != state[name][1]:
                problems.append('checksum is %d, not %d' % (checksum % 2**64, state[name][1]))
            self.report(name, problems, count)

    def path(self, name, suffix):
        return os.path.join(self.dir, 'expected', file_of_name(name) + suffix)

    @staticmethod
    def rows_of(columns, lines):
        return (tuple(c.from_pg(f) for c, f in zip(columns, line.split(b'\t'))) for line in lines)


def show(column, value):
    if value is None:
        return 'NULL'
    text = column.to_fixture(value).decode(errors='replace') if value not in ('-infinity', 'infinity') else value
    return text if len(text) <= 80 else '%s... (%d characters)' % (text[:80], len(text))


def show_row(columns, row):
    return '(%s)' % ', '.join(show(c, v) for c, v in zip(columns, row))


def show_key(columns, row):
    return 'row %s' % ', '.join('%s=%s' % (c.name, show(c, v)) for c, v in zip(columns, row) if c.in_key)


# ---- commands ----------------------------------------------------------------------------------------------

def unpack(options):
    source = fixture_dir(options.name)
    for folder, _, files in os.walk(source):
        target = os.path.join(options.dir, os.path.relpath(folder, source))
        os.makedirs(target, exist_ok=True)
        for name in files:
            path = os.path.join(folder, name)
            if name.endswith('.zst'):
                with open(os.path.join(target, name[:-4]), 'wb') as f:
                    f.write(read_file(path[:-4]))
            else:
                shutil.copyfile(path, os.path.join(target, name))
    return 0


def messages(options):
    name = 'messages.tsv'
    if options.zone:
        name = 'messages.zone-%s.tsv' % options.zone.replace('/', '_')
    elif options.original_ddl:
        name = 'messages.original-ddl.tsv'
    for line in read_file(os.path.join(fixture_dir(options.name), name)).splitlines(keepends=True):
        fields = line.rstrip(b'\n').split(b'\t')
        if int(fields[0]) <= options.after or (options.upto and int(fields[0]) > options.upto):
            continue
        if options.framed:
            value = bytes.fromhex(fields[3].decode())
            line = struct.pack('>I', len(value)) + value
        sys.stdout.buffer.write(line)
    return 0


def timeline(options):
    lines = read_table(os.path.join(fixture_dir(options.name), 'timeline.tsv'))
    for ts in dict.fromkeys(int(line[0]) for line in lines):
        print(ts)
    return 0


def sql(options):
    out = sys.stdout.buffer
    out.write(b"SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SET client_min_messages = warning;\n")
    for path in sorted(glob.glob(os.path.join(fixture_dir(options.name), 'expected', '*.columns'))):
        name = [quote(part) for part in name_of_file(path, '.columns')]
        columns = [Column(f) for f in read_table(path)]
        kept = [(i, c) for i, c in enumerate(columns) if not c.generated]
        out.write(('CREATE SCHEMA IF NOT EXISTS %s;\nCREATE TABLE %s.%s (%s);\nCOPY %s.%s FROM STDIN;\n' % (
            name[0], name[0], name[1], ', '.join(quote(c.name) + ' ' + c.pg_types()[0] for _, c in kept),
            name[0], name[1])).encode())
        for line in read_file(path[:-len('.columns')] + '.tsv').split(b'\n')[:-1]:
            fields = line.split(b'\t')
            out.write(b'\t'.join(copy_field(c, fields[i]) for i, c in kept) + b'\n')
        out.write(b'\\.\n')
    return 0


def compare(options):
    comparison = Comparison(fixture_dir(options.name), Database(options.connect), options)
    if options.at:
        comparison.at(options.at)
    else:
        comparison.at_end()
    print('%s' % ('all equal' if not comparison.failed else '%d tables differ' % comparison.failed))
    return 1 if comparison.failed else 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('unpack')
    command.set_defaults(run=unpack)
    command.add_argument('name')
    command.add_argument('dir')
    command = commands.add_parser('messages')
    command.set_defaults(run=messages)
    command.add_argument('name')
    command.add_argument('--zone')
    command.add_argument('--original-ddl', action='store_true')
    command.add_argument('--after', type=int, default=0)
    command.add_argument('--upto', type=int, default=0)
    command.add_argument('--framed', action='store_true')
    command = commands.add_parser('timeline')
    command.set_defaults(run=timeline)
    command.add_argument('name')
    command = commands.add_parser('sql')
    command.set_defaults(run=sql)
    command.add_argument('name')
    command = commands.add_parser('compare')
    command.set_defaults(run=compare)
    command.add_argument('name')
    command.add_argument('--connect', '--dsn', default='', metavar='CONNINFO')
    command.add_argument('--at', type=int, default=0, metavar='TS')
    command.add_argument('--table', action='append', metavar='DB.TABLE')
    command.add_argument('--differences', type=int, default=20, metavar='N')
    options = parser.parse_args()
    try:
        return options.run(options)
    except Problem as problem:
        print('fixture.py: %s' % problem, file=sys.stderr)
        return 2


if __name__ == '__main__':
    sys.exit(main())
