"""engine: single rows by key, nested loops, pgbench's TPC-B-like load; each as a ratio to heap.

README.md says what is measured. Single rows are timed in loops inside the server, so that the way to the client,
which is the same for both, does not hide the difference; pgbench's figures include it."""
import os
import re
import subprocess

ARMS = ('heap', 'magic')
ROUNDS = 3

NARROW = '''(id int PRIMARY KEY, a bigint, b int, c numeric(12,2), d date, e text)'''
NARROW_ROWS = '''SELECT i, i * 7::bigint, i % 1000, (i % 100000) / 100.0, date '2020-01-01' + i % 1000,
'item ' || i * 7919::bigint % 1000003 FROM generate_series(1, {0}) i'''

WIDE = '''(id int PRIMARY KEY, a bigint, t1 text, t2 text, t3 text, t4 varchar(10), n1 int, n2 int, n3 int, n4 int,
x float8, ts timestamp, n5 numeric, n6 numeric(10,2), t5 text, t6 text)'''
WIDE_ROWS = '''SELECT i, i * 7::bigint, md5(i::text), md5((i + 1)::text) || md5(i::text), repeat('lorem ipsum ' || i % 100, 5),
's' || i % 7, i % 10, i % 100, i % 1000, i, i * 1.5, timestamp '2020-01-01' + i * interval '1 s', i * 1.25, i % 1000,
'city' || i % 5000, 'name' || i % 100000 FROM generate_series(1, {0}) i'''

LOOP = '''DO $$
DECLARE r record; BEGIN
FOR i IN 1..{n} LOOP SELECT {columns} INTO r FROM {table} WHERE id = 1 + (i * 7919::bigint % {rows}); END LOOP;
END $$'''
UPDATE_LOOP = '''DO $$
BEGIN
FOR i IN 1..{n} LOOP UPDATE {table} SET a = a + 1 WHERE id = 1 + (i * 7919::bigint % {rows}); COMMIT; END LOOP;
END $$'''


def loops(bench, what, statement, rows, limit, n, **arguments):
    """Microseconds of one turn of the loop: the arms in turn, each time once cold, then measured."""
    best = {}
    for _ in range(ROUNDS):
        for arm in ARMS:
            sql = statement.format(table=arguments['kind'] + '_' + arm, rows=rows, n=n, **arguments)
            seconds = bench.times('SET plan_cache_mode = force_generic_plan;\n%s;\n%s' % (sql, sql))[-1][0]
            best[arm] = min(seconds, best.get(arm, seconds))
    bench.ratio(what + ', magic : heap', best['magic'] / n * 1e6, best['heap'] / n * 1e6, limit, unit='%.1f us')


def nested_loop(bench, what, kind, columns, keys):
    """10,000 outer rows; the second run of two in one session."""
    best = {}
    results = {}
    for _ in range(ROUNDS):
        for arm in ARMS:
            query = 'SELECT %s FROM %s JOIN %s_%s ON id = k' % (columns, keys, kind, arm)
            settings = '''SET enable_hashjoin = off;\nSET enable_mergejoin = off;\nSET enable_memoize = off;\n'''
            seconds = bench.times(settings + query + ';\n' + query)[-1][0]
            best[arm] = min(seconds, best.get(arm, seconds))
            results[arm] = bench.psql('SET enable_hashjoin = off', query)
    bench.equal(what, results['magic'], results['heap'])
    bench.ratio(what + ', magic : heap', best['magic'], best['heap'], 4.0)


def pgbench(bench, database, *options):
    out = subprocess.run(['pgbench', '-n', '-U', 'postgres', *options, database], env=bench.env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if out.returncode != 0 or 'ERROR' in out.stderr:
        bench.bad.append('pgbench: ' + out.stderr[:1000])
        return 0.0
    return float(re.search(r'^tps = ([\d.]+)', out.stdout, re.M)[1])


def tpcb(bench, scale):
    seconds = 15
    for arm in ARMS:
        subprocess.run(['createdb', '-U', 'postgres', 'tpcb_' + arm], env=bench.env, check=True)
        subprocess.run(['psql', '-qXU', 'postgres', '-d', 'tpcb_' + arm, '-c', 'CREATE EXTENSION magic_fdw'],
                       env=bench.env, check=True)
        subprocess.run(['pgbench', '-i', '-q', '-s', str(scale), '--foreign-keys', '-U', 'postgres', 'tpcb_' + arm],
                       env=dict(bench.env, PGOPTIONS='-c default_table_access_method=' + arm), check=True,
                       stderr=subprocess.DEVNULL)
    savepoints = ['-M', 'prepared', '-D', 'scale=%d' % scale,
                  '-f', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'tpcb_savepoints.sql')]
    for what, options in (('TPC-B-like, 16 clients, tps', []), ('  prepared', ['-M', 'prepared']),
                          ('  prepared, with savepoints', savepoints)):
        best = {arm: 0.0 for arm in ARMS}
        for _ in range(2):
            for arm in ARMS:
                best[arm] = max(best[arm],
                                pgbench(bench, 'tpcb_' + arm, '-c', '16', '-j', '2', '-T', str(seconds), *options))
        bench.ratio(what + ', magic : heap', best['magic'], best['heap'], 0.3, smaller=False, unit='%.0f')
    sums = '''SELECT sum(delta) - (SELECT sum(abalance) FROM pgbench_accounts),
sum(delta) - (SELECT sum(tbalance) FROM pgbench_tellers), sum(delta) - (SELECT sum(bbalance) FROM pgbench_branches)
FROM pgbench_history'''
    for arm in ARMS:
        out = subprocess.run(['psql', '-qXAtU', 'postgres', '-d', 'tpcb_' + arm, '-c', sums], env=bench.env, check=True,
                             text=True, stdout=subprocess.PIPE).stdout.strip()
        bench.equal('sums of TPC-B on ' + arm, out, '0|0|0')
        subprocess.run(['dropdb', '-U', 'postgres', 'tpcb_' + arm], env=bench.env, check=True)


def run(bench):
    rows = int(1e6 * bench.options.scale)
    print('engine: single rows, %d in a table' % rows, flush=True)
    for kind, columns, values in (('narrow', NARROW, NARROW_ROWS), ('wide', WIDE, WIDE_ROWS)):
        for arm in ARMS:
            bench.psql('CREATE TABLE %s_%s %s USING %s' % (kind, arm, columns, arm))
            bench.psql('INSERT INTO %s_%s %s' % (kind, arm, values.format(rows)))
            bench.psql('VACUUM (ANALYZE) %s_%s' % (kind, arm))
    bench.psql('CREATE TABLE random_keys AS SELECT 1 + (i * 7919::bigint %% %d)::int AS k FROM generate_series(1, 10000) i'
               % rows, 'CREATE TABLE near_keys AS SELECT i AS k FROM generate_series(40001, 50000) i',
               'ANALYZE random_keys', 'ANALYZE near_keys')
    loops(bench, 'lookup by primary key, all 6 columns', LOOP, rows, 4.0, 10000, kind='narrow', columns='*')
    loops(bench, '  one column', LOOP, rows, 4.0, 10000, kind='narrow', columns='a')
    loops(bench, '  16 columns, 6 of them text', LOOP, rows, 4.0, 5000, kind='wide', columns='*')
    nested_loop(bench, 'nested loop, 10,000 random keys', 'narrow', 'count(*), sum(a), max(e)', 'random_keys')
    nested_loop(bench, '  neighbouring keys', 'narrow', 'count(*), sum(a), max(e)', 'near_keys')
    nested_loop(bench, '  wide table, random keys', 'wide', 'count(*), sum(a), max(t1), max(t6)', 'random_keys')
    nested_loop(bench, '  wide table, neighbouring keys', 'wide', 'count(*), sum(a), max(t1), max(t6)', 'near_keys')
    loops(bench, 'update by primary key', UPDATE_LOOP, rows, 4.0, 5000, kind='narrow')
    for kind in ('narrow', 'wide'):
        bench.equal('sum of ' + kind, bench.psql('SELECT sum(a), count(*) FROM %s_magic' % kind),
                    bench.psql('SELECT sum(a), count(*) FROM %s_heap' % kind))
    tpcb(bench, 20)
