"""tpch: lineitem of TPC-H: COPY, size, full-scan sum, Q6 and Q1 on heap, magic and DuckDB, and the block reader
alone, without executor."""
import decimal
import json
import os
import re
import shutil
import subprocess

LINEITEM = '''(l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL,
l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL,
l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag varchar(1) NOT NULL,
l_linestatus varchar(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL,
l_receiptdate date NOT NULL, l_shipinstruct varchar(25) NOT NULL, l_shipmode varchar(10) NOT NULL,
l_comment varchar(44) NOT NULL)'''

QUERIES = {
    'sum': 'SELECT sum(l_quantity) FROM {t}',
    'Q6': '''SELECT sum(l_extendedprice * l_discount) AS revenue FROM {t}
WHERE l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'
AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24''',
    'Q1': '''SELECT l_returnflag, l_linestatus, sum(l_quantity), sum(l_extendedprice),
sum(l_extendedprice * (1 - l_discount)), sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)),
avg(l_quantity), avg(l_extendedprice), avg(l_discount), count(*)
FROM {t} WHERE l_shipdate <= DATE '1998-12-01' - INTERVAL '90' DAY
GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus''',
}
ARMS = ('heap', 'magic')
ROUNDS = 2
Q6_COLUMNS = ['l_quantity', 'l_extendedprice', 'l_discount', 'l_shipdate']

DUCKDB_ARM = '''
import duckdb, json, os, sys, time
path, table, queries, threads = json.loads(sys.argv[1])
db = duckdb.connect(path + '/lineitem.duckdb')
start = time.time()
db.execute('CREATE TABLE lineitem ' + table)
db.execute("INSERT INTO lineitem SELECT * FROM read_csv('%s/lineitem.tbl', delim='|', header=false, "
           "columns={%s})" % (path, ', '.join("'%s': '%s'" % (c[0], c[1]) for c in
           [(r[0], r[1]) for r in db.execute('DESCRIBE lineitem').fetchall()])))
db.execute('CHECKPOINT')
result = {'load': time.time() - start, 'queries': {}}
result['rows'] = db.execute('SELECT count(*) FROM lineitem').fetchone()[0]
for n in threads:
    db.execute('SET threads = %d' % n)
    for name, sql in queries.items():
        best = None
        for _ in range(4):
            start = time.time()
            rows = db.execute(sql.format(t='lineitem')).fetchall()
            took = time.time() - start
            best = took if best is None else min(best, took)
        result['queries']['%s/%d' % (name, n)] = best
        result[name] = [[str(v) for v in row] for row in rows]
result['size'] = os.path.getsize(path + '/lineitem.duckdb')
print(json.dumps(result))
'''


def venv():
    """Python with what the arms need, in the cache."""
    path = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'),
                        'magic_fdw', 'venv-bench')
    if not os.path.exists(os.path.join(path, 'done')):
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(['/usr/bin/python3', '-m', 'venv', path], check=True)
        subprocess.run([os.path.join(path, 'bin/pip'), '-q', 'install', 'tpchgen-cli', 'duckdb'], check=True)
        open(os.path.join(path, 'done'), 'w').close()
    return os.path.join(path, 'bin')


def load(bench, path):
    """Fills the two arms' tables by COPY, in turn, ROUNDS times. Returns for each arm: rows, and the best seconds by
    the clock and of processor time."""
    rows, copy, processor = {}, {}, {}
    for _ in range(ROUNDS):
        for arm in ARMS:
            name = 'lineitem_' + arm
            bench.psql('DROP TABLE IF EXISTS ' + name, 'CREATE TABLE %s %s USING %s' % (name, LINEITEM, arm),
                       'CHECKPOINT')
            elapsed, used = bench.times("COPY %s FROM '%s' WITH (DELIMITER '|')" % (name, path))[0]
            copy[arm] = min(elapsed, copy.get(arm, elapsed))
            processor[arm] = min(used, processor.get(arm, used))
    for arm in ARMS:
        bench.psql('VACUUM (ANALYZE) lineitem_' + arm)
        rows[arm] = int(bench.psql('SELECT count(*) FROM lineitem_' + arm))
    return rows, copy, processor


def run(bench):
    print('\nTPC-H lineitem, scale %g; heap, magic and DuckDB on one thread' % bench.options.scale, flush=True)
    programs = venv()
    table = os.path.join(bench.out, 'lineitem.tbl')
    subprocess.run('"%s/tpchgen-cli" tbl -s %g --tables lineitem --stdout | sed "s/|$//" > "%s"'
                   % (programs, bench.options.scale, table), shell=True, check=True)
    size, seconds, results = {}, {}, {}
    rows, copy, processor = load(bench, table)
    for arm in ARMS:
        name = 'lineitem_' + arm
        for query, sql in QUERIES.items():
            results[arm, query], seconds[arm, query] = bench.timed(sql.format(t=name))
    size['heap'] = int(bench.psql("SELECT pg_table_size('lineitem_heap')"))
    size['magic'] = int(bench.psql("SELECT magic.table_size('lineitem_magic')"))
    problems = bench.psql("SELECT * FROM magic.verify('lineitem_magic') LIMIT 5")
    bench.equal('magic.verify', problems, '')

    threads = sorted({1, os.cpu_count() or 1})
    argument = json.dumps([bench.out, LINEITEM.replace('numeric', 'decimal'), QUERIES, threads])
    out = subprocess.run([os.path.join(programs, 'python'), '-c', DUCKDB_ARM, argument], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    duck = json.loads(out.strip().rsplit('\n', 1)[-1])     # what precedes is a progress bar
    compare_results(bench, rows, results, duck)

    bench.ratio('COPY, rows/s, magic : heap', rows['magic'] / copy['magic'], rows['heap'] / copy['heap'],
                1.0, smaller=False, unit='%.0f')
    bench.say('    by processor time', '%.2f : %.2f s = %.2f' % (
        processor['magic'], processor['heap'], processor['heap'] / processor['magic']))
    bench.ratio('size, MB, magic : heap', size['magic'] / 1e6, size['heap'] / 1e6, 0.20, unit='%.0f')
    bench.say('size, MB, DuckDB', '%.0f' % (duck['size'] / 1e6))
    for query, limit in (('sum', 1.3), ('Q6', 1.3)):
        bench.ratio(query + ', magic : heap', seconds['magic', query], seconds['heap', query], limit)
    bench.say('Q1, magic : heap', '%.3f s : %.3f s = %.2f' % (
        seconds['magic', 'Q1'], seconds['heap', 'Q1'], seconds['magic', 'Q1'] / seconds['heap', 'Q1']))
    for n in threads:
        bench.say('DuckDB on %d thread%s: sum, Q6, Q1' % (n, 's' if n > 1 else ''), ', '.join(
            '%.3f s' % duck['queries']['%s/%d' % (q, n)] for q in ('sum', 'Q6', 'Q1')))
    block_reader(bench, duck['queries']['Q6/1'])
    os.remove(table)
    bench.psql('DROP TABLE lineitem_heap, lineitem_magic')


def block_reader(bench, duck_q6):
    """All Q6 columns decoded from shared buffers by the block reader, no executor."""
    bench.psql('CREATE EXTENSION IF NOT EXISTS magic_bench')
    columns = ', '.join("'%s'" % c for c in Q6_COLUMNS)
    result, seconds = bench.timed("SELECT magic_bench.decode('lineitem_magic', ARRAY[%s])" % columns, 5)
    bench.say('block reader, Q6 columns', '%.3f s, %s' % (seconds, result))
    bench.ratio("block reader : DuckDB's Q6 (1 thread)", seconds, duck_q6, 0.5)


def compare_results(bench, rows, results, duck):
    bench.equal('rows', rows['magic'], rows['heap'])
    bench.equal('rows', rows['magic'], duck['rows'])
    for query in QUERIES:
        bench.equal(query, results['magic', query], results['heap', query])
        ours = [line.split('|') for line in results['heap', query].split('\n')]
        theirs = duck[query]
        for a, b in zip((v for line in ours for v in line), (v for line in theirs for v in line)):
            if re.fullmatch(r'-?[\d.]+(e[+-]?\d+)?', b):
                # DuckDB's averages are doubles.
                if abs(decimal.Decimal(a) - decimal.Decimal(b)) > abs(decimal.Decimal(a)) / 10**12:
                    bench.bad.append('%s: heap has %s, DuckDB %s' % (query, a, b))
            elif a != b:
                bench.bad.append('%s: heap has %s, DuckDB %s' % (query, a, b))
