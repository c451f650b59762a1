#!/usr/bin/python3
"""Random statements from several sessions at once on a magic table: no internal error, a sound table.

usage: engine_race.py [--seconds N] [--seed N] [--sessions N] [--round SECONDS]

engine_diff.py lets one session act at a time and knows what must come out; here all act whenever they can,
beside VACUUM, merges and REINDEX CONCURRENTLY, so that what happens depends on the moment.  What must hold then:
no error but those that statements of several sessions may give each other, magic.verify finds nothing, every
index and every kind of scan finds the rows that the sequential scan finds, and keys are unique.
"""
import argparse
import random
import sys
import time

import diff_schema
from diff_schema import Schema
from diff_statements import KNOBS, Statements
from engine_diff import Connection

TABLE = 'diff_race'
# what the statements may meet: of users' making, locks and waits, snapshots, limits of features
EXPECTED = ('22', '23', '40001', '40P01', '55P03', '55006', '55000', '24000', '25P02', '27000', '0A000', '25001', '25006', '3B001', '42P03', '42P05', '26000', '57014',
            '42704', '42703', '42P01', '42P07', '42701', '42710', '42804', '428C9', '42809', '42P17', '42P16')


class Racer:
    """A session that always has something to do."""

    def __init__(self, race, number):
        self.race, self.number = race, number
        self.arm = Connection(TABLE)
        self.arm.run("SET statement_timeout = '10s'; SET deadlock_timeout = '100ms'; SET lock_timeout = '3s'")
        self.depth = 0
        self.open = False

    def step(self):
        rng, race = self.race.rng, self.race
        pick = rng.random()
        if not self.open:
            self.open = pick < 0.7
            return 'BEGIN ISOLATION LEVEL %s' % rng.choice(['READ COMMITTED'] * 3 + ['REPEATABLE READ', 'SERIALIZABLE']) if self.open else race.statements.statement(False)[0]
        if pick < 0.12 or race.failed(self) and self.depth == 0:
            self.open, self.depth = False, 0
            return rng.choice(['COMMIT', 'COMMIT', 'ROLLBACK'])
        if race.failed(self) or pick < 0.18 and self.depth:
            return 'ROLLBACK TO s%d' % rng.randrange(self.depth)
        if pick < 0.26:
            self.depth += 1
            return 'SAVEPOINT s%d' % (self.depth - 1)
        if pick < 0.30:
            return 'SET LOCAL ' + rng.choice(KNOBS)
        return race.statements.statement(rng.random() < 0.05)[0]


class Race:
    def __init__(self, seed, sessions):
        self.rng = random.Random(seed)
        self.control = Connection(TABLE)
        problem = self.control.run(diff_schema.SETUP)
        if 'ERROR' in problem:
            self.fail(problem)
        self.schema = Schema(self.rng, False, ['gin', 'gist'])
        self.schema.child = False
        self.recent = []
        for sql in self.schema.create(random.Random(seed), 'magic'):
            self.do(sql)
        for i in range(self.rng.randrange(0, 4)):
            sql = self.schema.index(self.rng, i)[1]
            if 'ERROR' not in self.control.run(sql):
                self.recent.append(sql)
        self.statements = Statements(self.rng, self.schema)
        self.results = {}
        self.racers = [Racer(self, i) for i in range(sessions)]
        self.keeper = Connection(TABLE)
        self.keeper.run("SET statement_timeout = '20s'; SET lock_timeout = '5s'")
        self.counts = {}

    def do(self, sql):
        self.recent.append(sql)
        result = self.control.run('SET client_min_messages = error; ' + sql)
        if 'ERROR' in result:
            self.fail(sql + ': ' + result)
        return result

    def failed(self, racer):
        return 'ERROR' in self.results.get(racer, '')

    def fail(self, why):
        print('FAILED: %s\n%s' % (why, '\n'.join(self.recent[-120:])), flush=True)
        raise SystemExit(1)

    def judge(self, who, result):
        at = result.find('ERROR:  ')
        if 'FATAL' in result or 'PANIC' in result:
            self.fail('%s: %s' % (who, result))
        if at < 0:
            return
        state = result[at + 8:at + 13]
        self.counts[state] = self.counts.get(state, 0) + 1
        if not state.startswith(EXPECTED):
            self.fail('%s: %s' % (who, result))

    def maintenance(self):
        leaves = ['@t_p%d' % i for i in (0, 2)] if self.schema.partitioned else ['@t']
        leaf = self.rng.choice(leaves)
        return self.rng.choice(["SELECT magic.compact('%s')" % leaf, 'VACUUM %s' % leaf, 'VACUUM (INDEX_CLEANUP on) %s' % leaf, 'ANALYZE @t', 'REINDEX TABLE CONCURRENTLY %s' % leaf,
                                "SELECT problem FROM magic.verify('%s')" % leaf, 'VACUUM (ANALYZE) @t', 'CREATE INDEX CONCURRENTLY race_i ON %s (v, id)' % leaf, 'DROP INDEX CONCURRENTLY IF EXISTS race_i'])

    def play(self, seconds):
        end = time.time() + seconds
        keeper_sql = ''
        while time.time() < end:
            idle = True
            for racer in self.racers:
                if racer.arm.busy:
                    result = racer.arm.poll(0.0005)
                    if result is None:
                        continue
                    self.results[racer] = result
                    self.judge(racer.number, result)
                idle = False
                sql = racer.step()
                self.recent.append('%d: %s' % (racer.number, sql[:600]))
                if sql.startswith('ROLLBACK TO'):
                    racer.depth = int(sql.split('s')[-1]) + 1
                    self.results[racer] = ''
                racer.arm.send(sql)
            if self.keeper.busy:
                result = self.keeper.poll(0.0005)
                if result is not None:
                    if 'verify' in keeper_sql and result.strip():
                        self.fail('magic.verify beside others: ' + result)
                    self.judge('keeper ' + keeper_sql, result)
            elif self.rng.random() < 0.05:
                keeper_sql = self.maintenance()
                self.recent.append('keeper: ' + keeper_sql)
                self.keeper.send(keeper_sql)
            if len(self.recent) > 400:
                del self.recent[:200]
        self.finish()

    def finish(self):
        for racer in self.racers:
            while racer.arm.busy:
                racer.arm.poll(1)
            racer.arm.run('ROLLBACK')
        while self.keeper.busy:
            self.keeper.poll(1)
        self.keeper.run('SET statement_timeout = 0')
        self.check()
        for racer in self.racers:
            racer.arm.close()
        self.keeper.close()
        self.control.close()

    def check(self):
        for leaf in (['@t_p0', '@t_p2'] if self.schema.partitioned else ['@t']):
            problems = self.control.run("SELECT * FROM magic.verify('%s')" % leaf)
            if problems.strip():
                self.fail('magic.verify: ' + problems)
        double = self.schema.key and self.control.run('SELECT id, array_agg(ctid), array_agg(v) FROM @t WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1').strip()
        if double:
            self.fail('keys are not unique: ' + double)
        conditions = ['v >= 0', 'id >= 0', 'id % 2 = 0', 'v > 50', 'v IS NULL'] + [c.condition(self.rng) for c in self.schema.columns for _ in range(2)]
        for condition in conditions:
            given = {}
            for on in ('seqscan', 'indexscan', 'bitmapscan'):
                knobs = ''.join('SET enable_%s = %s; ' % (k, 'on' if k == on else 'off') for k in ('seqscan', 'indexscan', 'bitmapscan'))
                given[on] = self.control.run(knobs + 'SELECT count(*), sum(v), sum(id) FROM @t WHERE %s' % condition)
            if len(set(given.values())) > 1:
                self.fail('%s: %s' % (condition, given))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--seconds', type=float, default=15)
    parser.add_argument('--seed', type=int, default=random.SystemRandom().randrange(10 ** 9))
    parser.add_argument('--sessions', type=int, default=5)
    parser.add_argument('--round', type=float, default=6, help='seconds for one random schema')
    options = parser.parse_args()
    end = time.time() + options.seconds
    while time.time() < end:
        print('seed %d' % options.seed, flush=True)
        race = Race(options.seed, options.sessions)
        race.play(min(options.round, max(end - time.time(), 1)))
        print('ok: errors %s' % race.counts)
        options.seed += 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
