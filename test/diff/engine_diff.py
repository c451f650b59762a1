#!/usr/bin/python3
"""Random statements from several sessions on a magic table and a heap table: equal results.

usage: engine_diff.py [--seconds N] [--seed N] [--sessions N] [--access-method NAME] [--statements FILE]

Connects by psql with the usual PG* variables to a database with the extension.  Each session is a pair
of connections that do the same, one on the heap table, one on the other; the driver lets one session
act at a time, waits until both connections have finished or wait for a lock, and compares: rows,
errors with their SQLSTATE, and who waits.  While a session waits, only those that it waits for may act,
and they end their transactions: so what happens depends on the seed alone.

Not part of the game, since documented to differ: FOR KEY SHARE, FOR NO KEY UPDATE, foreign keys, and
statements that lock more rows than magic keeps row locks for, unless they are alone.

The first difference ends the run with status 1; it prints the seed and the last statements.
"""
import argparse
import os
import random
import select
import subprocess
import sys
import time

WAIT_LIMIT = 60


class Connection:
    """A psql that takes statements and is asked later what they gave."""

    def __init__(self, table):
        self.table = table
        self.count = 0
        self.busy = None
        self.buffer = b''
        self.psql = subprocess.Popen(['psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-P', 'null=<NULL>'],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.set_blocking(self.psql.stdout.fileno(), False)
        self.pid = int(self.run('SELECT pg_backend_pid()'))

    def send(self, sql):
        assert self.busy is None
        self.count += 1
        self.busy = b'\n<<%d>>\n' % self.count
        self.buffer = b'\n'
        # an empty line first: the end stands on a line of its own whatever the result is
        text = '%s\n;\n\\echo\n\\echo <<%d>>\n' % (sql.replace('@t', self.table), self.count)
        self.psql.stdin.write(text.encode())
        self.psql.stdin.flush()

    def poll(self, timeout=0.0):
        """The result if the statement has ended, else None."""
        if select.select([self.psql.stdout], [], [], timeout)[0]:
            chunk = self.psql.stdout.read()
            if not chunk:
                raise SystemExit('FAILED: psql of %s ended:\n%s' % (self.table, self.buffer.decode()))
            self.buffer += chunk
        if not self.buffer.endswith(self.busy):
            return None
        self.busy = None
        text = self.buffer[:self.buffer.rindex(b'\n<<')].decode().strip('\n')
        return text

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()

    def kill(self):
        self.psql.kill()
        self.psql.wait()

    def run(self, sql):
        self.send(sql)
        while True:
            result = self.poll(1)
            if result is not None:
                return result


def comparable(text, table):
    """Rows in any order; of an error its SQLSTATE and message."""
    lines = text.split('\n') if text else []
    errors = [l for l in lines if l.startswith(('ERROR:', 'FATAL:', 'PANIC:'))]
    if errors:
        return [errors[0].replace(table, '@t')]
    return sorted(l for l in lines if not l.startswith(('NOTICE:', 'WARNING:', 'LOCATION:', 'DETAIL:', 'HINT:')))


class Session:
    def __init__(self, number, tables):
        self.number = number
        self.heap, self.magic = (Connection(t) for t in tables)
        self.open = False           # in a transaction block
        self.failed = False         # aborted, waits for rollback
        self.savepoints = []
        self.cursors = []
        self.waiting = False
        self.rows = 0               # an upper bound of the rows locked
        self.sql = ''

    def end(self):
        self.open = self.failed = False
        self.savepoints, self.cursors, self.rows = [], [], 0


class Column:
    TYPES = ['int', 'bigint', 'smallint', 'text', 'numeric', 'numeric(12,3)', 'bool', 'date', 'timestamptz',
             'float8', 'text[]', 'jsonb', 'bytea', 'varchar(30)', 'uuid', 'char(5)', 'interval']

    def __init__(self, rng, name):
        self.name = name
        self.type = rng.choice(Column.TYPES)
        self.nulls = rng.choice([0, 0.1, 0.5, 1])
        self.kinds = rng.choice([1, 3, 50, 10 ** 6])

    def value(self, rng):
        if rng.random() < self.nulls:
            return 'NULL'
        n = rng.randrange(self.kinds)
        if rng.random() < 0.02:
            n = rng.choice([0, -1, 2 ** 15 - 1, -2 ** 15])
        if self.type in ('int', 'bigint'):
            return str(n * rng.choice([1, 1, -1, 1000]))
        if self.type == 'smallint':
            return str(n % 30000)
        if self.type in ('text', 'varchar(30)', 'char(5)'):
            if self.type == 'text' and rng.random() < 0.01:
                return "repeat('%d ', %d)" % (n, rng.choice([1000, 10000, 100000]))
            return "'%s'" % ('v' * rng.randrange(3) + str(n))[:5]
        if self.type.startswith('numeric'):
            if rng.random() < 0.02:
                return rng.choice(["'NaN'", "'NaN'", '0.000', '0'])
            return '%d.%0*d' % (n, rng.randrange(1, 6), n % 10)
        if self.type == 'bool':
            return rng.choice(['true', 'false'])
        if self.type == 'date':
            return rng.choice(["'infinity'", "'-infinity'"]) if rng.random() < 0.02 else "'2000-01-01'::date + %d" % (n % 9000)
        if self.type == 'timestamptz':
            return "'2000-01-01 00:00+00'::timestamptz + %d * interval '1.7 s'" % n
        if self.type == 'float8':
            return rng.choice(["'NaN'", "'-0'", "'Infinity'"]) if rng.random() < 0.05 else repr(n / 7)
        if self.type == 'text[]':
            return "'{a,%d,NULL}'" % n
        if self.type == 'jsonb':
            return "'{\"k\": %d}'" % n
        if self.type == 'bytea':
            return "'\\x%08x'" % (abs(n) % 2 ** 32)
        if self.type == 'uuid':
            return "'%032x'" % (abs(n) * 977)
        return "'%d s'::interval" % n


class WaitsForLock(Exception):
    """A unique check on magic waits for who has changed many rows near the one it met, and so holds a tag
    above it; heap raises at once. The sessions' states differ from here on: the round ends."""


class Game:
    def __init__(self, options):
        self.rng = random.Random(options.seed)
        self.log = open(options.statements, 'w') if options.statements else None
        self.recent = []
        self.am = options.access_method
        self.tables = ('diff_heap', 'diff_other')
        self.control = Connection('')
        self.side = Session(0, self.tables)
        self.create()
        self.sessions = [Session(i + 1, self.tables) for i in range(options.sessions)]
        self.next_cursor = 0
        self.counts = {}

    def fail(self, why):
        print('FAILED: ' + why)
        print('the last statements (session: statement):')
        print('\n'.join(self.recent[-60:]))
        raise SystemExit(1)

    def note(self, text):
        self.recent.append(text)
        if len(self.recent) > 200:
            del self.recent[:100]
        if self.log:
            self.log.write(text + '\n')
            self.log.flush()

    # -- both connections of a session ----------------------------------------------------------

    def settle(self, session, sql):
        """Send a statement to both arms; return when each has ended or waits for a lock."""
        self.note('%d: %s' % (session.number, sql))
        session.sql = sql
        session.heap.send(sql)
        session.magic.send(sql)
        self.wait(session)

    def blocked(self, connection):
        return self.control.run("SELECT pg_blocking_pids(%d)" % connection.pid) != '{}'

    def wait(self, session):
        start = time.time()
        results = [None, None]
        arms = (session.heap, session.magic)
        session.waiting = False
        if getattr(session, 'partial', None):
            results = session.partial
        while True:
            waits = [False, False]
            for i, arm in enumerate(arms):
                if results[i] is None:
                    results[i] = arm.poll(0.002)
                if results[i] is None and time.time() - start > 0.02:
                    waits[i] = self.blocked(arm)
                    if waits[i]:            # it may have ended meanwhile
                        results[i] = arm.poll()
                        waits[i] = results[i] is None
            if None not in results:
                session.partial = None
                return self.compare(session, results)
            if waits == [True, True]:
                session.waiting = True
                session.partial = None
                return
            if time.time() - start > WAIT_LIMIT:
                self.fail('session %d: %s has not ended, the other %s' % (
                    session.number, [a.table for a, r in zip(arms, results) if r is None], results))
            if waits == [False, True] and (results[0] or '').startswith('ERROR:  23505') and time.time() - start > 3:
                raise WaitsForLock
            if any(waits) and time.time() - start > 3:
                self.fail('session %d waits on %s, the other arm gave %s' % (
                    session.number, [a.table for a, w in zip(arms, waits) if w], [r for r in results if r is not None]))

    def compare(self, session, results):
        heap, other = (comparable(r, t) for r, t in zip(results, self.tables))
        if heap != other:
            self.note('heap gave:\n%s\n%s gave:\n%s' % (results[0][:3000], self.am, results[1][:3000]))
            self.fail('session %d: different results' % session.number)
        if heap and heap[0].startswith(('ERROR', 'FATAL', 'PANIC')):
            state = heap[0].split(':')[1].strip()
            self.note('   %s' % heap[0])
            self.counts[state] = self.counts.get(state, 0) + 1
            if state in ('XX000', '42601', '42703', '42P01', '22P02', '42883', '42804', '42846'):
                self.fail('unexpected ' + heap[0])
            if session.open:
                session.failed = True

    def side_run(self, sql, heap_too=True):
        """Maintenance, beside whatever transactions are open: it must not wait for them."""
        self.note('side: ' + sql)
        if heap_too:
            self.settle(self.side, sql)
            if self.side.waiting:
                self.fail('maintenance waits for a lock')
            return None
        result = self.side.magic.run(sql)
        if 'ERROR:' in result:
            self.fail(result)
        return result

    # -- the schema -----------------------------------------------------------------------------

    def create(self):
        rng = self.rng
        self.columns = [Column(rng, 'c%d' % i) for i in range(rng.randrange(0, 8))]
        self.next_column = len(self.columns)
        self.key = rng.choice(['PRIMARY KEY', 'PRIMARY KEY', 'UNIQUE', ''])
        for table, am in zip(self.tables, ('heap', self.am)):
            connection = self.side.heap if am == 'heap' and table == self.tables[0] else self.side.magic
            ddl = ['DROP TABLE IF EXISTS @t',
                   'CREATE TABLE @t (id int %s, v int%s) USING %s' % (
                       self.key, ''.join(', %s %s' % (c.name, c.type) for c in self.columns), am)]
            for sql in ddl:
                self.note('%s: %s' % (am, sql))
                result = connection.run('SET client_min_messages = error; ' + sql)
                if 'ERROR' in result:
                    self.fail(result)
        for i in range(rng.randrange(0, 3)):
            self.create_index()

    def create_index(self):
        rng = self.rng
        usable = [c.name for c in self.columns if c.type not in ('text[]', 'jsonb')] + ['v', 'v', 'id']
        names = rng.sample(sorted(set(usable)), rng.randrange(1, min(3, len(set(usable))) + 1))
        if any(c.name in names and c.type == 'text' for c in self.columns):
            names = ['md5(%s)' % n if n not in ('v', 'id') and self.type_of(n) == 'text' else n for n in names]
        how = rng.choice(['', '', '', ' WHERE v > 50'])
        if len(names) == 1 and rng.random() < 0.2:
            self.side_run('CREATE INDEX ON @t USING hash (%s)%s' % (names[0], how))
        else:
            self.side_run('CREATE INDEX ON @t (%s)%s' % (', '.join(names), how))

    def type_of(self, name):
        return next(c.type for c in self.columns if c.name == name)

    # -- statements -----------------------------------------------------------------------------

    def identity(self):
        return self.rng.choice([self.rng.randrange(1, 60), self.rng.randrange(1, 2000)])

    def row(self, identity=None):
        rng = self.rng
        values = [str(identity if identity is not None else self.identity()), str(rng.randrange(100))]
        return '(%s)' % ', '.join(values + [c.value(rng) for c in self.columns])

    def where(self):
        """Few rows, so that row locks stay row locks."""
        n = self.identity()
        return self.rng.choice([
            'id = %d' % n, 'id = %d' % n, 'id = %d' % n, 'id IN (%d, %d, %d)' % (n, self.identity(), self.identity()),
            'id BETWEEN %d AND %d' % (n, n + 5), 'id BETWEEN %d AND %d AND v > %d' % (n, n + 5, self.rng.randrange(100)),
            'v = %d AND id < %d' % (self.rng.randrange(100), 100)])

    def assignment(self):
        rng = self.rng
        parts = []
        if rng.random() < 0.7 or not self.columns:
            parts.append(rng.choice(['v = v + 1', 'v = v + 1', 'v = %d' % rng.randrange(100), 'v = NULL']))
        if self.columns and rng.random() < 0.5 or not parts:
            column = rng.choice(self.columns)
            parts.append('%s = %s' % (column.name, column.value(rng)))
        return ', '.join(parts)

    def statement(self, alone):
        rng = self.rng
        names = ', '.join(['id', 'v'] + [c.name for c in self.columns])
        returning = rng.choice(['', '', ' RETURNING *'])
        pick = rng.random()
        rows = 6
        if pick < 0.18:
            n = rng.choice([1, 1, 1, 2, 5])
            sql = 'INSERT INTO @t (%s) VALUES %s%s' % (names, ', '.join(self.row() for _ in range(n)), returning)
        elif pick < 0.22:
            first, rows = 2000 + rng.randrange(10 ** 6), 0
            sql = 'INSERT INTO @t (id, v) SELECT g, g %% 100 FROM generate_series(%d, %d) g' % (first, first + rng.choice([10, 100, 3000]))
        elif pick < 0.42:
            sql = 'UPDATE @t SET %s WHERE %s%s' % (self.assignment(), self.where(), returning)
        elif pick < 0.45:
            sql = 'UPDATE @t SET id = %d WHERE id = %d%s' % (self.identity(), self.identity(), returning)
        elif pick < 0.58:
            sql = 'DELETE FROM @t WHERE %s%s' % (self.where(), returning)
        elif pick < 0.66 and self.key:
            sql = 'INSERT INTO @t (%s) VALUES %s ON CONFLICT %s%s' % (
                names, self.row(), rng.choice(['DO NOTHING', '(id) DO NOTHING', '(id) DO UPDATE SET v = @t.v + excluded.v',
                                               '(id) DO UPDATE SET v = excluded.v WHERE @t.v < 50']), returning)
        elif pick < 0.69 and self.key:
            sql = ('MERGE INTO @t t USING (VALUES (%d, 1), (%d, 2)) s(id, v) ON t.id = s.id WHEN MATCHED AND t.v > 70 THEN DELETE '
                   'WHEN MATCHED THEN UPDATE SET v = t.v + s.v WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)' % (
                       n, n + 1) if (n := self.identity()) else '')
        elif pick < 0.75:
            sql = 'SELECT * FROM (SELECT * FROM @t WHERE %s ORDER BY id FOR %s%s) x' % (
                self.where(), rng.choice(['UPDATE', 'SHARE']), rng.choice(['', '', ' NOWAIT', ' SKIP LOCKED']))
        elif pick < 0.77 and alone:
            rows = 10 ** 6
            sql = rng.choice(['DELETE FROM @t WHERE id %% 7 = %d' % rng.randrange(7), 'UPDATE @t SET v = v + 1 WHERE id %% 5 = %d' % rng.randrange(5),
                              'UPDATE @t SET v = coalesce(v, 0) + 1', 'DELETE FROM @t WHERE id > 2000'])
        else:
            rows = 0
            sql = rng.choice([
                'SELECT * FROM @t WHERE %s' % self.where(),
                'SELECT count(*), sum(v), sum(id), count(DISTINCT id) FROM @t',
                'SELECT count(*), sum(v) FROM @t WHERE v BETWEEN %d AND %d' % ((n := rng.randrange(90)), n + 10),
                'SELECT id, v FROM @t ORDER BY id, v LIMIT 20',
                'SELECT max(id), min(id), max(v) FROM @t',
                'SELECT v, count(*) FROM @t GROUP BY v',
                'SELECT count(*) FROM @t a JOIN @t b ON a.id = b.v'])
        return sql, rows

    # -- moves ----------------------------------------------------------------------------------

    def idle(self):
        return not any(s.open for s in self.sessions)

    def finish(self, session):
        sql = 'ROLLBACK' if session.failed else self.rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])
        session.end()
        self.settle(session, sql)
        if session.waiting:
            self.fail('%s waits' % sql)

    def move(self, session):
        rng = self.rng
        others = any(s.open for s in self.sessions if s is not session)
        big = any(s.rows > 10 ** 5 for s in self.sessions if s is not session)
        if big:
            return
        if not session.open:
            if rng.random() < 0.3:
                sql, _ = self.statement(not others)
                self.settle(session, sql)       # a transaction of its own
                return
            self.settle(session, 'BEGIN ISOLATION LEVEL %s' % rng.choice(['READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ']))
            session.open = True
            return
        if session.failed:
            if session.savepoints and rng.random() < 0.8:
                self.rollback_to(session)
            else:
                self.finish(session)
            return
        pick = rng.random()
        if pick < 0.12 or session.rows > 18:
            self.finish(session)
        elif pick < 0.20:
            name = 's%d' % len(session.savepoints)
            self.settle(session, 'SAVEPOINT ' + name)
            session.savepoints.append(name)
        elif pick < 0.26 and session.savepoints:
            self.rollback_to(session)
        elif pick < 0.29 and session.savepoints:
            i = rng.randrange(len(session.savepoints))
            self.settle(session, 'RELEASE ' + session.savepoints[i])
            del session.savepoints[i:]
        elif pick < 0.33 and len(session.savepoints) == 0:
            self.next_cursor += 1
            name = 'cur%d' % self.next_cursor
            self.settle(session, 'DECLARE %s SCROLL CURSOR FOR SELECT * FROM @t %s ORDER BY id, v' % (
                name, rng.choice(['', 'WHERE ' + self.where(), 'WHERE id > 0'])))
            session.cursors.append(name)
        elif pick < 0.40 and session.cursors and len(session.savepoints) == 0:
            self.settle(session, 'FETCH %s FROM %s' % (rng.choice(['3', '20', 'BACKWARD 5', 'FIRST', 'LAST', 'ABSOLUTE 7', 'RELATIVE -2']),
                                                       rng.choice(session.cursors)))
        elif pick < 0.46:
            # one knob each time; who comes after sees it too
            self.settle(session, 'SET enable_%s = %s' % (rng.choice(['seqscan', 'indexscan', 'bitmapscan', 'indexonlyscan', 'hashjoin', 'sort']),
                                                         rng.choice(['on', 'off'])))
        else:
            sql, rows = self.statement(not others)
            session.rows += rows
            self.settle(session, sql)

    def rollback_to(self, session):
        i = self.rng.randrange(len(session.savepoints))
        self.settle(session, 'ROLLBACK TO ' + session.savepoints[i])
        del session.savepoints[i + 1:]
        session.failed = False
        session.cursors = []

    def unblock(self, waiter):
        """End a transaction that somebody waits for, on both sides."""
        pids = set()
        for arm in (waiter.heap, waiter.magic):
            pids |= set(self.control.run('SELECT unnest(pg_blocking_pids(%d))' % arm.pid).split())
        holders = [s for s in self.sessions if str(s.heap.pid) in pids or str(s.magic.pid) in pids]
        if holders:
            holder = self.rng.choice(sorted(holders, key=lambda s: s.number))
            self.finish(holder)
        self.wait(waiter)

    def maintain(self):
        rng = self.rng
        pick = rng.random()
        if pick < 0.3:
            self.side_run('VACUUM @t')
        elif pick < 0.6 and self.am == 'magic':
            self.side_run("SELECT magic.compact('@t')", False)
        elif pick < 0.7:
            self.side_run('ANALYZE @t')
        elif not self.idle():
            return
        elif pick < 0.74:
            self.create_index()
        elif pick < 0.78:
            column = Column(rng, 'c%d' % self.next_column)
            self.next_column += 1
            value = column.value(rng)
            self.side_run('ALTER TABLE @t ADD %s %s%s' % (column.name, column.type, rng.choice(['', ' DEFAULT ' + value])))
            self.columns.append(column)
        elif pick < 0.80 and self.columns:
            column = self.columns.pop(rng.randrange(len(self.columns)))
            self.side_run('ALTER TABLE @t DROP ' + column.name)
        elif pick < 0.83:
            self.side_run('VACUUM FULL @t')
        elif pick < 0.84:
            self.side_run('TRUNCATE @t')
        elif pick < 0.86:
            self.side_run('REINDEX TABLE @t')
        else:
            self.check()

    def check(self):
        """Everything, by every kind of scan; called when no transaction is open."""
        self.note('check')
        order = ', '.join(['id', 'v'] + [c.name + '::text' for c in self.columns])
        for knobs in ('SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; ',
                      'SET enable_seqscan = off; SET enable_indexscan = on; SET enable_bitmapscan = off; SET enable_indexonlyscan = on; '):
            self.side_run(knobs + 'SELECT * FROM @t ORDER BY %s' % order)
            self.side_run('SELECT count(*), sum(v) FROM @t WHERE v >= 0')
            self.side_run('SELECT count(*), sum(id) FROM @t WHERE id >= 0')
        self.side_run('RESET ALL')
        if self.am == 'magic':
            problems = self.side_run("SELECT * FROM magic.verify('@t')", False)
            if problems:
                self.fail('magic.verify: ' + problems)

    def play(self, seconds):
        try:
            self.play_to_end(seconds)
        except WaitsForLock:
            for session in self.sessions + [self.side]:
                session.heap.kill()
                session.magic.kill()
            self.control.kill()
            print('ok: ended by a unique check that waits for a row lock')

    def play_to_end(self, seconds):
        end = time.time() + seconds
        moves = 0
        while time.time() < end:
            moves += 1
            waiting = [s for s in self.sessions if s.waiting]
            if waiting:
                self.unblock(waiting[0])
            elif self.rng.random() < 0.02:
                self.maintain()
            else:
                self.move(self.rng.choice(self.sessions))
        for session in self.sessions:
            while any(s.waiting for s in self.sessions):
                self.unblock(next(s for s in self.sessions if s.waiting))
            if session.open:
                self.finish(session)
        self.check()
        rows = self.side.heap.run('SELECT count(*) FROM %s' % self.tables[0])
        for session in self.sessions + [self.side]:
            session.heap.close()
            session.magic.close()
        self.control.close()
        print('ok: %d moves, %s rows at the end, errors that were equal: %s' % (moves, rows, self.counts))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--seconds', type=float, default=15)
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10 ** 9))
    parser.add_argument('--sessions', type=int, default=4)
    parser.add_argument('--access-method', default='magic')
    parser.add_argument('--statements', help='file that gets every statement')
    parser.add_argument('--round', type=float, default=4, help='seconds for one random schema')
    options = parser.parse_args()
    end = time.time() + options.seconds
    while time.time() < end:
        print('seed %d' % options.seed, flush=True)
        Game(options).play(min(options.round, max(end - time.time(), 1)))
        options.seed += 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
