#!/usr/bin/python3
"""Random statements from several sessions on a magic table and a heap table: equal results.

usage: engine_diff.py [--seconds N] [--seed N] [--sessions N] [--access-method NAME] [--statements FILE]
       [--round SECONDS] [--minimise SECONDS]

Connects by psql with the usual PG* variables to a database with the extension.  Each session is a pair
of connections that do the same, one on the heap table, one on the other; the driver lets one session
act at a time, waits until both connections have finished or wait for a lock, and compares: rows,
errors with their SQLSTATE, and who waits.  While a session waits, only those that it waits for may act,
and they end their transactions: so what happens depends on the seed alone.

diff_schema.py makes the tables and what both arms have, diff_statements.py the statements; here is who does
what, when.  A third of the rounds has one session, which then may change any number of rows, and foreign keys.

Not part of the game, since documented to differ: FOR KEY SHARE, FOR NO KEY UPDATE and foreign keys between
sessions, SERIALIZABLE, and statements that lock more rows than magic keeps row locks for, unless they are alone.

The first difference ends the run with status 1; it prints the seed, the last statements, and (diff_minimise.py) a
script that shows the same with fewer.
"""
import argparse
import os
import random
import select
import subprocess
import sys
import time

import diff_minimise
import diff_schema
from diff_schema import Schema
from diff_statements import KNOBS, Statements

WAIT_LIMIT = 60
# who waits for what, when one arm waits and the other does not
LOCKS = ("SELECT a.pid, a.query, l.locktype, l.page, l.tuple, l.transactionid, l.mode, pg_blocking_pids(a.pid) "
         "FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT granted")
# errors that say that the statements made here are wrong, or the server is
UNEXPECTED = ('XX000', 'XX001', 'XX002', '42601', '42703', '42P01', '42883', '42804', '42846', '53200', '57P01')


class Connection:
    """A psql that takes statements and is asked later what they gave."""

    def __init__(self, table):
        self.table = table
        self.count = 0
        self.busy = None
        self.buffer = b''
        self.psql = subprocess.Popen(['psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-P', 'null=<NULL>'],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     env=dict(os.environ, PGOPTIONS='-c jit=off -c client_min_messages=error'))
        os.set_blocking(self.psql.stdout.fileno(), False)
        self.pid = int(self.run('SELECT pg_backend_pid()'))

    def send(self, sql):
        assert self.busy is None
        self.count += 1
        self.busy = b'\n<<%d>>\n' % self.count
        self.buffer = b'\n'
        # an empty line first: the end stands on a line of its own whatever the result is
        end = '' if sql.endswith('\\.') else ';'      # the data of COPY ends it
        text = '%s\n%s\n\\echo\n\\echo <<%d>>\n' % (sql.replace('@t', self.table), end, self.count)
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
    """Rows in any order; of an error its SQLSTATE and message, of one that depends on which row comes first
    only its class."""
    lines = text.replace(table, '@t').split('\n') if text else []
    errors = [l for l in lines if l.startswith(('ERROR:', 'FATAL:', 'PANIC:'))]
    if errors:
        return [errors[0][:10] if errors[0].startswith(('ERROR:  22', 'ERROR:  23')) else errors[0]]
    return sorted(l for l in lines if not l.startswith(('NOTICE:', 'WARNING:', 'LOCATION:', 'DETAIL:', 'HINT:', 'CONTEXT:')))


class Session:
    def __init__(self, number, tables):
        self.number = number
        self.heap, self.magic = (Connection(t) for t in tables)
        self.open = False           # in a transaction block
        self.failed = False         # aborted, waits for rollback
        self.savepoints = []        # (name, schema, cursors)
        self.cursors = []
        self.waiting = False
        self.rows = 0               # an upper bound of the rows locked
        self.ddl = False            # has changed the schema: nobody else moves
        self.schema = None          # as it was at BEGIN
        self.error = ''             # of the last statement
        self.current = None         # a cursor FOR UPDATE that stands on a row
        self.prepared = {}          # statements: name, number of parameters
        self.cursor = False         # one was opened in this transaction

    def end(self):
        self.open = self.failed = self.ddl = False
        self.savepoints, self.cursors, self.rows, self.current, self.schema, self.cursor = [], [], 0, None, None, False


class RoundEnds(Exception):
    """The sessions' states differ from here on, or it takes too long, for no fault. So it is when a unique check
    on magic waits for who has changed many rows near the one it met, and so holds a tag above it, where heap
    raises at once."""


class Game:
    """One random schema, and what happens to it."""

    def __init__(self, options):
        self.rng = random.Random(options.seed)
        self.log = open(options.statements, 'w') if options.statements else None
        self.recent = []
        self.script = []            # for diff_minimise.py
        self.minimise = options.minimise
        self.am = options.access_method
        self.tables = ('diff_heap', 'diff_other')
        self.control = Connection('')
        problem = self.control.run(diff_schema.SETUP)
        if 'ERROR' in problem:
            raise SystemExit('FAILED: ' + problem)
        for gid in self.control.run("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'diff%'").split('\n'):
            if gid:         # of a run that was ended
                self.control.run("ROLLBACK PREPARED '%s'" % gid)
        self.can_prepare = self.control.run('SHOW max_prepared_transactions') != '0'      # see Schema.prepares()
        count = self.rng.choice([1, options.sessions, options.sessions])
        self.schema = Schema(self.rng, count == 1, self.index_methods())
        self.side = Session(1 if self.schema.temporary else 0, self.tables)
        self.next_name = 100
        self.pending = []           # prepared transactions: (number, schema before it)
        self.counts = {}
        self.create()
        self.sessions = [self.side] if self.schema.temporary else [Session(i + 1, self.tables) for i in range(count)]

    def index_methods(self):
        """Those that the access method has; a probe each time, since it may get more."""
        self.control.run('DROP TABLE IF EXISTS diff_probe; CREATE TABLE diff_probe (g tsvector) USING %s' % self.am)
        return [m for m in ('gin', 'gist') if 'ERROR' not in self.control.run('CREATE INDEX ON diff_probe USING %s (g)' % m)]

    @property
    def statements(self):
        return Statements(self.rng, self.schema)

    def number(self):
        self.next_name += 1
        return self.next_name

    def fail(self, why):
        print('FAILED: ' + why)
        print('the last statements (session: statement):')
        print('\n'.join(self.recent[-60:]), flush=True)
        for session in getattr(self, 'sessions', []) + [self.side]:
            session.heap.kill()
            session.magic.kill()
        if self.minimise:
            script, kind = diff_minimise.minimise(sys.modules[__name__], self.tables, self.script, self.minimise)
            print('the same without what is not needed for it (session: statement): %s\n%s' % (kind, '\n'.join(
                '%s: %s' % ('%d' % number if arm == 'both' else arm, sql) for arm, number, sql in script))
                  if script else 'the difference does not appear when the statements are played again')
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
        self.script.append(('both', session.number, sql))
        session.sql = sql
        session.heap.send(sql)
        session.magic.send(sql)
        self.wait(session)

    def blocked(self, connection):
        return self.control.run("SELECT pg_blocking_pids(%d)" % connection.pid) != '{}'

    def wait_event(self, connection):
        return self.control.run('SELECT wait_event FROM pg_stat_activity WHERE pid = %d' % connection.pid).strip()

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
            if time.time() - start > WAIT_LIMIT and results[0] is None and not waits[0]:
                raise RoundEnds('a statement that is slow on heap')
            # a cursor that reads only an index keeps its page, on one arm if the plans differ: VACUUM waits for that
            if None in results and time.time() - start > 3 and any(s.open for s in self.sessions) and 'BufferPin' in [
                    self.wait_event(arm) for arm, result in zip(arms, results) if result is None]:
                raise RoundEnds('VACUUM that waits for a cursor')
            if time.time() - start > WAIT_LIMIT:
                self.fail('session %d: %s has not ended, the other %s' % (
                    session.number, [a.table for a, r in zip(arms, results) if r is None], results))
            if waits == [False, True] and (results[0] or '').startswith('ERROR:  23505') and time.time() - start > 3:
                raise RoundEnds('a unique check that waits for a row lock')
            if any(waits) and time.time() - start > 3:
                self.note(self.control.run(LOCKS))
                self.fail('session %d waits on %s, the other arm gave %s' % (
                    session.number, [a.table for a, w in zip(arms, waits) if w], [r for r in results if r is not None]))

    def compare(self, session, results):
        heap, other = (comparable(r, t) for r, t in zip(results, self.tables))
        if heap != other:
            self.note('heap gave:\n%s\n%s gave:\n%s' % (results[0][:3000], self.am, results[1][:3000]))
            self.fail('session %d: different results' % session.number)
        session.error = ''
        if heap and heap[0].startswith(('ERROR', 'FATAL', 'PANIC')):
            session.error = state = results[0][results[0].index(heap[0][:5]):].split(':')[1].strip()
            self.note('   %s' % results[0].strip().split('\n')[0])
            self.counts[state] = self.counts.get(state, 0) + 1
            if state in UNEXPECTED:
                self.fail('unexpected ' + results[0])
            if session.open:
                session.failed = True

    def side_run(self, sql, heap_too=True):
        """Maintenance, beside whatever transactions are open: it must not wait for them."""
        if heap_too:
            self.settle(self.side, sql)
            if self.side.waiting:
                self.fail('maintenance waits for a lock')
            return None
        self.note('%s: %s' % (self.am, sql))
        self.script.append(('magic', self.side.number, sql))
        result = self.side.magic.run(sql)
        if 'ERROR:' in result:
            self.fail(result)
        return result

    # -- the schema -----------------------------------------------------------------------------

    def create(self):
        seed = self.rng.random()
        for table, am, connection in zip(self.tables, ('heap', self.am), (self.side.heap, self.side.magic)):
            for sql in self.schema.create(random.Random(seed), am):
                self.note('%s: %s' % (am, sql))
                self.script.append(('heap' if connection is self.side.heap else 'magic', self.side.number, sql))
                result = connection.run('SET client_min_messages = error; ' + sql)
                if 'ERROR' in result:
                    self.fail(result)
        for i in range(self.rng.randrange(0, 4)):
            name, sql = self.schema.index(self.rng, self.number())
            self.side_run(sql)
            if not self.side.error:
                self.schema.indexes.append(name)

    def change_schema(self, session):
        """A random DDL statement by a session; what it does counts if it succeeds."""
        sql, effect = self.statements.ddl(self.number(), session.open)
        self.settle(session, sql)
        if effect and not session.error:
            effect()

    # -- moves ----------------------------------------------------------------------------------

    def idle(self):
        return not self.pending and not any(s.open for s in self.sessions)

    def finish(self, session):
        rng = self.rng
        before, changed = session.schema, session.ddl
        sql = 'ROLLBACK' if session.failed else rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])
        if not session.failed and self.can_prepare and self.schema.prepares() and rng.random() < 0.1:
            number = self.number()
            session.end()
            self.settle(session, "PREPARE TRANSACTION '@t %d'" % number)
            if session.waiting:
                return
            if session.error:
                self.schema = before
            else:
                self.pending.append((number, before, changed))
            return
        session.end()
        self.settle(session, sql)
        if session.waiting:
            self.fail('%s waits' % sql)
        if sql == 'ROLLBACK' or session.error:
            self.schema = before

    def finish_prepared(self):
        number, before, changed = self.pending.pop(self.rng.randrange(len(self.pending)))
        sql = self.rng.choice(['COMMIT', 'ROLLBACK'])
        self.side_run("%s PREPARED '@t %d'" % (sql, number))
        if sql == 'ROLLBACK' and changed:
            self.schema = before

    def move(self, session):
        rng = self.rng
        others = self.pending or any(s.open for s in self.sessions if s is not session)
        if any(changed for _, _, changed in self.pending):
            return self.finish_prepared()
        if any(s.rows > 10 ** 5 or s.ddl for s in self.sessions if s is not session):
            return
        if not session.open:
            pick = rng.random()
            if pick < 0.04 and self.pending:
                self.finish_prepared()
            elif pick < 0.3:
                self.settle(session, self.statements.statement(not others)[0])       # a transaction of its own
            else:
                session.schema = self.schema.copy()
                self.settle(session, 'BEGIN ISOLATION LEVEL %s' % rng.choice(['READ COMMITTED', 'READ COMMITTED', 'REPEATABLE READ']))
                session.open = True
        elif session.failed:
            if session.savepoints and rng.random() < 0.8:
                self.rollback_to(session)
            else:
                self.finish(session)
        else:
            self.act(session, others)

    def act(self, session, others):
        """One thing in a transaction."""
        rng = self.rng
        pick = rng.random()
        alone = len(self.sessions) == 1
        if pick < (0.07 if alone else 0.12) or (session.rows > 18 and not alone):
            self.finish(session)
        elif pick < 0.20:
            name = 's%d' % len(session.savepoints)
            self.settle(session, 'SAVEPOINT ' + name)
            session.savepoints.append((name, self.schema.copy(), list(session.cursors)))
        elif pick < 0.26 and session.savepoints:
            self.rollback_to(session)
        elif pick < 0.29 and session.savepoints:
            i = rng.randrange(len(session.savepoints))
            self.settle(session, 'RELEASE ' + session.savepoints[i][0])
            del session.savepoints[i:]
        elif pick < 0.33:
            name = 'cur%d' % self.number()
            self.settle(session, 'DECLARE %s SCROLL CURSOR %s FOR SELECT * FROM @t t %s ORDER BY id, v, t::text' % (
                name, rng.choice(['', '', '', 'WITH HOLD']), rng.choice(['', 'WHERE ' + self.statements.where(), 'WHERE id > 0'])))
            session.cursors.append(name)
            session.cursor = True
        elif pick < 0.40 and session.cursors:
            self.settle(session, 'FETCH %s FROM %s' % (rng.choice(['3', '20', 'BACKWARD 5', 'FIRST', 'LAST', 'ABSOLUTE 7', 'RELATIVE -2']),
                                                       rng.choice(session.cursors)))
        elif pick < 0.43 and self.schema.key and len(session.savepoints) == 0:
            self.at_cursor(session)
        elif pick < 0.46:
            self.execute_prepared(session)
        elif pick < 0.50:
            # one knob each time; who comes after sees it too
            self.settle(session, 'SET ' + rng.choice(KNOBS))
        elif pick < (0.58 if alone else 0.52) and not others and not session.cursor:     # which index it holds is the plan's
            session.ddl = True
            self.change_schema(session)
        else:
            sql, rows = self.statements.statement(not others)
            if session.rows + rows > 30 and not alone:
                return                      # a block's rows may be locked as a whole
            session.rows += rows
            self.settle(session, sql)

    def at_cursor(self, session):
        """Change the row that a cursor stands on; then once more, when it has changed under it."""
        if session.current is None:
            name = 'at%d' % self.number()
            self.settle(session, 'DECLARE %s CURSOR FOR SELECT id, v FROM @t WHERE id = %d%s' % (
                name, self.statements.identity(), self.rng.choice([' FOR UPDATE', ' FOR UPDATE', ''])))
            if session.error or session.waiting:
                return
            session.current = name
            session.cursor = True
            session.rows += 1
            self.settle(session, 'FETCH 1 FROM ' + name)
        else:
            session.rows += 1
            self.settle(session, self.rng.choice(['UPDATE @t SET v = v + 1 WHERE CURRENT OF %s RETURNING id, v', 'DELETE FROM @t WHERE CURRENT OF %s', 'MOVE 1 FROM %s']) % session.current)

    def execute_prepared(self, session):
        """Statements that are planned once, also over changes of the schema."""
        rng = self.rng
        kinds = {'r': ('SELECT id, v FROM @t WHERE id = $1', 0), 'w': ('UPDATE @t SET v = v + 1 WHERE id = $1 RETURNING v', 1), 'a': ('SELECT * FROM @t WHERE id = $1', 0),
                 'i': ('INSERT INTO @t (id, v) VALUES ($1, 1)', 1), 'd': ('DELETE FROM @t WHERE id BETWEEN $1 AND $1 + 1', 2)}
        name = rng.choice(sorted(kinds))
        if name not in session.prepared:
            session.prepared[name] = True
            self.settle(session, 'PREPARE %s(int) AS %s' % (name, kinds[name][0]))
        else:
            session.rows += kinds[name][1]
            self.settle(session, 'EXECUTE %s(%d)' % (name, self.statements.identity()))

    def rollback_to(self, session):
        i = self.rng.randrange(len(session.savepoints))
        name, schema, cursors = session.savepoints[i]
        self.settle(session, 'ROLLBACK TO ' + name)
        if session.ddl:
            self.schema = schema.copy()
        del session.savepoints[i + 1:]
        session.failed = False
        session.cursors = list(cursors)
        session.current = None

    def unblock(self, waiter):
        """End a transaction that somebody waits for, on both sides."""
        pids = set()
        for arm in (waiter.heap, waiter.magic):
            pids |= set(self.control.run('SELECT unnest(pg_blocking_pids(%d))' % arm.pid).split())
        holders = [s for s in self.sessions if str(s.heap.pid) in pids or str(s.magic.pid) in pids]
        if '0' in pids and self.pending:
            self.finish_prepared()
        elif holders:
            holder = self.rng.choice(sorted(holders, key=lambda s: s.number))
            if holder.open:
                self.finish(holder)
        self.wait(waiter)

    def maintain(self):
        rng = self.rng
        pick = rng.random()
        if any(s.ddl for s in self.sessions) or any(changed for _, _, changed in self.pending) or self.schema.temporary and not self.idle():
            return
        if pick < 0.2:
            # heap waits five seconds for the lock that it needs to truncate, and to freeze for cursors on a page
            options = rng.choice(['INDEX_CLEANUP auto', 'INDEX_CLEANUP on', 'ANALYZE', 'FREEZE'])
            if not self.idle():
                options = options.replace('FREEZE', 'ANALYZE') + ', TRUNCATE off'
            self.side_run('VACUUM (%s) @t' % options)
        elif pick < 0.4 and self.am == 'magic':
            for leaf in self.leaves():
                self.side_run("SELECT magic.compact('%s')" % leaf, False)
        elif pick < 0.5:
            self.side_run('ANALYZE @t')
        elif not self.idle():
            return
        elif pick < 0.75:
            self.change_schema(self.side)
        elif pick < 0.80:
            self.side_run('VACUUM FULL @t')
        elif pick < 0.84 and self.am == 'magic' and not self.schema.partitioned:
            self.side_run('ALTER TABLE @t SET ACCESS METHOD heap', False)
            self.side_run("SELECT count(*) FROM @t", False)
            self.side_run('ALTER TABLE @t SET ACCESS METHOD magic', False)
        elif pick < 0.86:
            self.side_run('REINDEX TABLE @t')
        elif pick < 0.90 and self.schema.indexes and not self.schema.partitioned:
            self.side_run('REINDEX TABLE CONCURRENTLY @t')
        else:
            self.check()

    def leaves(self):
        """The tables of the access method."""
        return ['@t_p%d' % i for i in range(3) if not (self.schema.mixed and i == 1)] if self.schema.partitioned else ['@t']

    def check(self):
        """Everything, by every kind of scan; called when no transaction is open."""
        self.note('check')
        conditions = ['v >= 0', 'id >= 0'] + [c.condition(self.rng) for c in self.schema.columns]
        for knobs in ('SET enable_seqscan = on; SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; ',
                      'SET enable_seqscan = off; SET enable_indexscan = on; SET enable_bitmapscan = off; SET enable_indexonlyscan = on; ',
                      'SET enable_seqscan = off; SET enable_indexscan = off; SET enable_bitmapscan = on; SET enable_indexonlyscan = off; '):
            self.side_run(knobs + 'SELECT * FROM @t')
            for condition in conditions:
                self.side_run('SELECT count(*), sum(v), sum(id) FROM @t WHERE %s' % condition)
        self.side_run('RESET ALL')
        self.side_run('SELECT * FROM @t_log')
        if self.schema.child:
            self.side_run('SELECT * FROM @t_c')
        if self.am == 'magic':
            for leaf in self.leaves():
                problems = self.side_run("SELECT * FROM magic.verify('%s')" % leaf, False)
                if problems:
                    self.fail('magic.verify: ' + problems)

    def play(self, seconds):
        try:
            self.play_to_end(seconds)
        except RoundEnds as reason:
            for session in self.sessions + [self.side]:
                session.heap.kill()
                session.magic.kill()
            self.control.kill()
            print('ok: ended by %s' % reason)

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
        while self.pending:
            self.finish_prepared()
        self.check()
        rows = self.side.heap.run('SELECT count(*) FROM %s' % self.tables[0])
        for session in set(self.sessions + [self.side]):
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
    parser.add_argument('--minimise', type=float, default=90, help='seconds to shorten what led to a difference; 0: not at all')
    options = parser.parse_args()
    end = time.time() + options.seconds
    while time.time() < end:
        print('seed %d' % options.seed, flush=True)
        Game(options).play(min(options.round, max(end - time.time(), 1)))
        options.seed += 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
