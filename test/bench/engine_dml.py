"""engine: bulk changes of rows, WAL, many tables in one transaction, recovery; each as a ratio to heap.

README.md gives the tables and says how each figure is measured."""
import os
import re

ARMS = ('heap', 'magic')
ROUNDS = 3

COLUMNS = '''(id bigint NOT NULL, customer bigint NOT NULL, amount numeric(12,2) NOT NULL, status text NOT NULL,
note varchar(60), created timestamp NOT NULL, quantity int NOT NULL, paid boolean NOT NULL)'''

# Row i.
VALUES = '''i, hashint8(i) & 65535, ((hashint8(i + 7) & 1048575)::numeric / 100)::numeric(12,2),
(ARRAY['new', 'paid', 'packed', 'sent', 'returned'])[1 + (hashint8(i) & 1023) % 5],
CASE WHEN i % 7 > 0 THEN 'order ' || to_hex(hashint8(i)) || ' of ' || (hashint8(i) & 65535) END,
timestamp '2026-01-01' + i * interval '7 seconds', hashint8(i) & 255, i % 3 = 0'''

CONTENT = '''SELECT count(*), sum(id), sum(customer), sum(amount), sum(hashtext(status)::bigint),
sum(hashtext(note)::bigint), max(created), sum(quantity), count(*) FILTER (WHERE paid) FROM %s'''


NAMES = ['id', 'customer', 'amount', 'status', 'note', 'created', 'quantity', 'paid']
KEYED = COLUMNS.replace('id bigint NOT NULL', 'id bigint PRIMARY KEY')


def create(bench, name, arm, key=True):
    bench.psql('SET client_min_messages = warning', 'DROP TABLE IF EXISTS ' + name,
               'CREATE TABLE %s %s USING %s' % (name, KEYED if key else COLUMNS, arm))


def same(bench, what):
    """The two arms' tables hold the same rows."""
    bench.equal(what, bench.psql(CONTENT % 't_magic'), bench.psql(CONTENT % 't_heap'))


def rounds(bench, what, rows, limit, statement, prepare=None, n=ROUNDS):
    """The arms in turn, n times; the best time of each counts. `statement` gets the arm and the round."""
    best, processor = {}, {}
    for i in range(n):
        for arm in ARMS:
            if prepare:
                prepare(arm)
            elapsed, used = bench.times(statement(arm, i))[0]
            best[arm] = min(elapsed, best.get(arm, elapsed))
            processor[arm] = min(used, processor.get(arm, used))
        same(bench, what)
    bench.ratio(what + ', krows/s, magic : heap', rows / best['magic'] / 1e3, rows / best['heap'] / 1e3, limit,
                smaller=False, unit='%.0f')
    bench.say('    by processor time', '%.2f : %.2f s = %.2f' % (
        processor['magic'], processor['heap'], processor['heap'] / processor['magic']))


def wal_position(bench):
    return int(bench.psql("SELECT pg_current_wal_insert_lsn() - '0/0'"))


def wal_bytes(bench, what, rows, key, path, limit):
    """WAL of the statement, per row."""
    used = {}
    for arm in ARMS:
        create(bench, 't_' + arm, arm, key)
        bench.psql('CHECKPOINT')
        before = wal_position(bench)
        bench.psql("COPY t_%s FROM '%s'" % (arm, path))
        used[arm] = wal_position(bench) - before
    if limit:
        bench.ratio(what, used['magic'] / rows, used['heap'] / rows, limit, unit='%.1f')
    else:
        bench.say(what, '%.1f : %.1f = %.2f' % (used['magic'] / rows, used['heap'] / rows,
                                                used['magic'] / used['heap']))


def filling(bench, rows, path):
    def empty(key):
        return lambda arm: create(bench, 't_' + arm, arm, key)

    def copy(arm, i):
        return "COPY t_%s FROM '%s'" % (arm, path)

    def insert(arm, i):
        return 'INSERT INTO t_%s SELECT * FROM source' % arm

    rounds(bench, 'COPY', rows, 1.0, copy, empty(False))
    rounds(bench, 'INSERT ... SELECT', rows, 1.0, insert, empty(False))
    wal_bytes(bench, 'WAL bytes per inserted row, magic : heap', rows, False, path, 0.35)
    wal_bytes(bench, '  the same with a primary key', rows, True, path, None)
    rounds(bench, 'COPY with a primary key', rows, 1.0, copy, empty(True))


def changing(bench, rows):
    tenth = rows // 10

    def fill(arm):
        """A table as after a load and the VACUUM that follows it."""
        create(bench, 't_' + arm, arm)
        bench.psql('INSERT INTO t_%s SELECT * FROM source' % arm, 'VACUUM (ANALYZE) t_' + arm)

    def update(first):
        return lambda arm, i: "UPDATE t_%s SET amount = amount + 1, status = 'paid' WHERE id %% 10 = %d" % (
            arm, first + i)

    def upsert(source):
        return lambda arm, i: '''INSERT INTO t_{0} SELECT * FROM {1} ON CONFLICT (id) DO UPDATE
SET amount = excluded.amount + t_{0}.amount, status = excluded.status'''.format(arm, source)

    def delete(arm, i):
        return 'DELETE FROM t_%s WHERE id %% 10 = %d' % (arm, 9 - i)

    bench.psql('CREATE UNLOGGED TABLE shuffled AS SELECT * FROM source ORDER BY hashint8(id)', 'ANALYZE source',
               'ANALYZE shuffled')
    rounds(bench, 'UPDATE of 10 %', tenth, 1.0, update(0), fill)
    rounds(bench, '  of another 10 %, and another', tenth, 1.0, update(1), n=2)
    rounds(bench, 'DELETE of 10 %', tenth, 1.0, delete, fill)
    rounds(bench, 'upsert of %.1f M conflicting rows' % (rows / 1e6), rows, 1.0, upsert('source'), fill, n=2)
    rounds(bench, '  the same in random order', rows, 1.0, upsert('shuffled'), fill, n=2)
    bench.equal('magic.verify', bench.psql("SELECT * FROM magic.verify('t_magic') LIMIT 5"), '')
    bench.psql('DROP TABLE shuffled')


def many_tables(bench, tables=1000, rows=100):
    """Transactions that write `rows` rows into each of `tables` tables, against some that write as many rows into
    one table, in as many statements; in one session, the first transaction apart."""
    def transaction(target, first):
        return ['BEGIN'] + ['INSERT INTO %s SELECT * FROM source WHERE id BETWEEN %d AND %d' % (
            target % i if '%' in target else target, first + i * rows, first + (i + 1) * rows - 1)
            for i in range(tables)] + ['COMMIT']

    bench.psql('CREATE UNIQUE INDEX ON source (id)', 'ANALYZE source')
    best = {}
    for arm in ARMS:
        bench.psql('CREATE SCHEMA many_' + arm,
                   *['CREATE TABLE many_%s.t%d %s USING %s' % (arm, i, KEYED, arm) for i in range(tables)])
        create(bench, 't_' + arm, arm)
    bench.psql('CHECKPOINT')
    for arm in ARMS:
        for kind, target in (('many', 'many_%s.t%%d' % arm), ('one', 't_' + arm)):
            times = bench.times(';\n'.join(sum((transaction(target, 1 + i * tables * rows)
                                               for i in range(ROUNDS + 1)), [])))
            best[arm, kind] = min(sum(elapsed for elapsed, _ in times[i * (tables + 2):(i + 1) * (tables + 2)])
                                  for i in range(1, ROUNDS + 1))
    same(bench, 'rows of one table')
    bench.equal('rows of many tables', *[bench.psql(' UNION ALL '.join(
        'SELECT count(*), sum(id) FROM many_%s.t%d' % (arm, i) for i in range(0, tables, 50))) for arm in ARMS])
    bench.ratio('%d rows into each of %d tables : all into one, magic' % (rows, tables), best['magic', 'many'],
                best['magic', 'one'], 1.9)
    bench.say('  the same, heap', '%.3f s : %.3f s = %.2f' % (
        best['heap', 'many'], best['heap', 'one'], best['heap', 'many'] / best['heap', 'one']))
    bench.say('  into each of %d tables, magic : heap' % tables, '%.3f s : %.3f s = %.2f' % (
        best['magic', 'many'], best['heap', 'many'], best['magic', 'many'] / best['heap', 'many']))
    for arm in ARMS:
        # one transaction cannot lock them all
        for first in range(0, tables, 500):
            bench.psql('DROP TABLE ' + ', '.join('many_%s.t%d' % (arm, i) for i in range(first, first + 500)))
        bench.psql('DROP SCHEMA many_' + arm)


def recovery(bench, rows, path):
    """The same load, killed before a checkpoint."""
    best = {}

    def work(name):
        bench.psql("COPY %s FROM '%s'" % (name, path),
                   "UPDATE %s SET amount = amount + 1 WHERE id %% 10 = 1" % name,
                   'DELETE FROM %s WHERE id %% 10 = 2' % name)

    for _ in range(2):
        for arm in ARMS:
            name = 't_' + arm
            create(bench, name, arm)
            bench.psql('CHECKPOINT')
            work(name)
            seconds = float(re.search(r'redo done at .* elapsed: ([0-9.]+) s', bench.kill_server())[1])
            best[arm] = min(seconds, best.get(arm, seconds))
        same(bench, 'rows after recovery')
    bench.equal('magic.verify after recovery', bench.psql("SELECT * FROM magic.verify('t_magic') LIMIT 5"), '')
    bench.ratio('recovery after kill -9, redo, magic : heap', best['magic'], best['heap'], 1.0)


def run(bench):
    rows = int(1_000_000 * min(max(bench.options.scale, 0.4), 10))
    path = os.path.join(bench.out, 'rows.copy')
    print('\nBulk changes: %.1f M rows of 8 columns' % (rows / 1e6), flush=True)
    bench.psql('ALTER SYSTEM SET autovacuum = off', 'SELECT pg_reload_conf()',
               'CREATE UNLOGGED TABLE source AS SELECT * FROM (SELECT %s FROM generate_series(1, %d) i) x(%s)'
               % (VALUES, rows, ', '.join(NAMES)), "COPY source TO '%s'" % path)
    filling(bench, rows, path)
    changing(bench, rows)
    many_tables(bench)
    recovery(bench, rows, path)
    bench.psql('DROP TABLE source, t_heap, t_magic', 'ALTER SYSTEM RESET autovacuum', 'SELECT pg_reload_conf()')
    os.remove(path)
