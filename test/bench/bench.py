#!/usr/bin/python3
"""Benchmarks: ratios of arms measured in one run, results checked equal. Asserts no times.

usage: bench.py [--scale N] [--pg-config P] [tpch] [ingest] [latency]

tpch      lineitem of TPC-H: COPY, size, full-scan sum, Q6 and Q1 on heap, magic and DuckDB, and the block
          reader alone, without executor
ingest    a generated binlog, loaded into a real Kafka broker before the clock starts, to committed rows:
          insert-only, and 70/20/10 insert/update/delete
latency   light load at an apply interval of 50 ms: from the produced message to the visible row
"""
import argparse
import decimal
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import run

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


class Bench:
    def __init__(self, options, stage):
        self.options = options
        self.runner = run.Runner(options, stage)
        self.out = os.path.join(stage, 'bench')
        self.rows = []          # (what, measured, criterion or '', met or None)
        self.bad = []
        os.makedirs(self.out, exist_ok=True)

    # -- helpers --------------------------------------------------------------------------------

    def psql(self, *commands):
        return subprocess.run(['psql', '-X', '-q', '-A', '-t', '-F', '|', '-U', 'postgres', '-d', 'postgres',
                               '-v', 'ON_ERROR_STOP=1'] + [x for c in commands for x in ('-c', c)],
                              env=self.env, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()

    def timed(self, sql, repeats=4):
        """Result and best time in seconds of a statement, as psql measures it."""
        out = subprocess.run(['psql', '-X', '-A', '-t', '-F', '|', '-U', 'postgres', '-d', 'postgres', '-v',
                              'ON_ERROR_STOP=1'],
                             input='\\timing on\n' + (sql + ';\n') * repeats,
                             env=self.env, check=True, text=True, stdout=subprocess.PIPE).stdout
        times = [float(t) / 1000 for t in re.findall(r'^Time: ([\d.]+) ms', out, re.M)]
        results = [r.strip() for r in re.split(r'^Time: .*$', out, flags=re.M)][:-1]
        if results and results[0].startswith('Timing is on.'):
            results[0] = results[0][len('Timing is on.'):].strip()
        if len(set(results)) > 1:
            self.bad.append('results of one statement differ: ' + sql)
        return results[-1], min(times)

    def say(self, what, measured, criterion='', met=None):
        self.rows.append((what, measured, criterion, met))
        print('  %-58s %-26s %s' % (what, measured, criterion), flush=True)

    def ratio(self, what, value, of, limit, smaller=True, unit='%.3f s'):
        ratio = value / of
        self.say(what, (unit + ' : ' + unit + ' = %.2f') % (value, of, ratio),
                 ('at most %.2f' if smaller else 'at least %.2f') % limit,
                 ratio <= limit if smaller else ratio >= limit)

    def equal(self, what, a, b):
        if a != b:
            self.bad.append('%s: %s differs from %s' % (what, a, b))

    def venv(self):
        """Python with what the arms need, in the cache."""
        path = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'),
                            'magic_fdw', 'venv-bench')
        if not os.path.exists(os.path.join(path, 'done')):
            shutil.rmtree(path, ignore_errors=True)
            subprocess.run(['/usr/bin/python3', '-m', 'venv', path], check=True)
            subprocess.run([os.path.join(path, 'bin/pip'), '-q', 'install', 'tpchgen-cli', 'duckdb'], check=True)
            open(os.path.join(path, 'done'), 'w').close()
        return os.path.join(path, 'bin')

    def check_disk(self):
        need = 3.5 * self.options.scale * ('tpch' in self.options.what) + 4
        free = shutil.disk_usage(self.out).free / 1e9
        print('disk: needs about %.1f GB in %s, free %.1f GB' % (need, self.out, free), flush=True)
        if free < need:
            raise SystemExit('not enough disk space')

    def start_server(self):
        out = os.path.join(self.runner.out, 'server')
        os.makedirs(out)
        self.env = self.runner.environment(out)
        self.data, self.env['PGHOST'], port = self.runner.start_cluster(out, self.env)
        self.env['PGPORT'] = str(port)
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // (1 << 20)
        with open(os.path.join(self.data, 'postgresql.conf'), 'a') as f:
            f.write("shared_buffers = '%dMB'\nmax_wal_size = '16GB'\ncheckpoint_timeout = '30min'\n"
                    "work_mem = '256MB'\nmaintenance_work_mem = '512MB'\njit = off\nlog_statement = none\n"
                    "max_parallel_workers_per_gather = 0\nautovacuum = on\n" % min(8192, memory // 3))
        subprocess.run(['pg_ctl', '-s', '-w', '-D', self.data, '-l', os.path.join(out, 'server.log'), 'restart'],
                       env=self.env, check=True)
        self.psql('CREATE EXTENSION magic_fdw')

    def stop_server(self):
        subprocess.run(['pg_ctl', '-s', '-w', '-m', 'fast', '-D', self.data, 'stop'], env=self.env)
        shutil.rmtree(self.env['PGHOST'], ignore_errors=True)

    # -- TPC-H ----------------------------------------------------------------------------------

    def tpch(self):
        print('\nTPC-H lineitem, scale %g; heap, magic and DuckDB on one thread' % self.options.scale, flush=True)
        venv = self.venv()
        table = os.path.join(self.out, 'lineitem.tbl')
        subprocess.run('"%s/tpchgen-cli" tbl -s %g --tables lineitem --stdout | sed "s/|$//" > "%s"'
                       % (venv, self.options.scale, table), shell=True, check=True)
        rows, copy, size, seconds, results = {}, {}, {}, {}, {}
        for arm in ('heap', 'magic'):
            name = 'lineitem_' + arm
            self.psql('CHECKPOINT', 'CREATE TABLE %s %s USING %s' % (name, LINEITEM, arm))
            _, copy[arm] = self.timed("COPY %s FROM '%s' WITH (DELIMITER '|')" % (name, table), 1)
            self.psql('VACUUM (ANALYZE) ' + name)
            rows[arm] = int(self.psql('SELECT count(*) FROM ' + name))
            for query, sql in QUERIES.items():
                results[arm, query], seconds[arm, query] = self.timed(sql.format(t=name))
        size['heap'] = int(self.psql("SELECT pg_table_size('lineitem_heap')"))
        size['magic'] = int(self.psql("SELECT magic.table_size('lineitem_magic')"))
        problems = self.psql("SELECT * FROM magic.verify('lineitem_magic') LIMIT 5")
        self.equal('magic.verify', problems, '')

        threads = sorted({1, os.cpu_count() or 1})
        argument = json.dumps([self.out, LINEITEM.replace('numeric', 'decimal'), QUERIES, threads])
        out = subprocess.run([os.path.join(venv, 'python'), '-c', DUCKDB_ARM, argument], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
        duck = json.loads(out.strip().rsplit('\n', 1)[-1])     # what precedes is a progress bar
        self.compare_results(rows, results, duck)

        self.ratio('COPY, rows/s, magic : heap', rows['magic'] / copy['magic'], rows['heap'] / copy['heap'],
                   0.7, smaller=False, unit='%.0f')
        self.ratio('size, MB, magic : heap', size['magic'] / 1e6, size['heap'] / 1e6, 0.20, unit='%.0f')
        self.say('size, MB, DuckDB', '%.0f' % (duck['size'] / 1e6))
        for query, limit in (('sum', 1.3), ('Q6', 1.3)):
            self.ratio(query + ', magic : heap', seconds['magic', query], seconds['heap', query], limit)
        self.say('Q1, magic : heap', '%.3f s : %.3f s = %.2f' % (
            seconds['magic', 'Q1'], seconds['heap', 'Q1'], seconds['magic', 'Q1'] / seconds['heap', 'Q1']))
        for n in threads:
            self.say('DuckDB on %d thread%s: sum, Q6, Q1' % (n, 's' if n > 1 else ''), ', '.join(
                '%.3f s' % duck['queries']['%s/%d' % (q, n)] for q in ('sum', 'Q6', 'Q1')))
        self.block_reader(duck['queries']['Q6/1'])
        os.remove(table)
        self.psql('DROP TABLE lineitem_heap, lineitem_magic')

    def block_reader(self, duck_q6):
        """All Q6 columns decoded from shared buffers by the block reader, no executor."""
        self.psql('CREATE EXTENSION IF NOT EXISTS magic_bench')
        columns = ', '.join("'%s'" % c for c in Q6_COLUMNS)
        result, seconds = self.timed("SELECT magic_bench.decode('lineitem_magic', ARRAY[%s])" % columns, 5)
        self.say('block reader, Q6 columns', '%.3f s, %s' % (seconds, result))
        self.ratio("block reader : DuckDB's Q6 (1 thread)", seconds, duck_q6, 0.5)

    def compare_results(self, rows, results, duck):
        self.equal('rows', rows['magic'], rows['heap'])
        self.equal('rows', rows['magic'], duck['rows'])
        for query in QUERIES:
            self.equal(query, results['magic', query], results['heap', query])
            ours = [line.split('|') for line in results['heap', query].split('\n')]
            theirs = duck[query]
            for a, b in zip((v for line in ours for v in line), (v for line in theirs for v in line)):
                if re.fullmatch(r'-?[\d.]+(e[+-]?\d+)?', b):
                    # DuckDB's averages are doubles.
                    if abs(decimal.Decimal(a) - decimal.Decimal(b)) > abs(decimal.Decimal(a)) / 10**12:
                        self.bad.append('%s: heap has %s, DuckDB %s' % (query, a, b))
                elif a != b:
                    self.bad.append('%s: heap has %s, DuckDB %s' % (query, a, b))

    # -- ingest ---------------------------------------------------------------------------------

    def start_broker(self):
        self.kafka = os.path.join(self.out, 'kafka')
        script = os.path.join(self.runner.test, 'tools/kafka.sh')
        with open(self.kafka + '.out', 'w') as f:
            subprocess.run([script, 'start', self.kafka], stdout=f, check=True, env=dict(self.env, KAFKA_HEAP='512m'))
        self.broker = open(self.kafka + '.out').read().strip()

    def stop_broker(self):
        subprocess.run([os.path.join(self.runner.test, 'tools/kafka.sh'), 'kill', self.kafka], env=self.env)

    def generate(self, topic, *arguments):
        out = subprocess.run([os.path.join(self.runner.tools, 'gen_binlog'), '--brokers', self.broker,
                              '--topic', topic] + [str(a) for a in arguments],
                             check=True, text=True, stdout=subprocess.PIPE).stdout
        return json.loads(out)

    def create_feed(self, topic, interval, **options):
        extra = ''.join(", %s => '%s'" % o for o in options.items())
        self.psql("SELECT magic.create_feed('%s', 'kafka://%s/%s?protocol=tidb-binlog&time_zone=UTC', "
                  "apply_interval => '%s'%s)" % (topic, self.broker, topic, interval, extra))

    def check_table(self, what, expected):
        self.equal(what, self.psql('SELECT count(*), coalesce(sum(amount), 0), coalesce(sum(version), 0) '
                                   'FROM bench.orders'),
                   '%d|%s|%d' % (expected['rows'], expected['amount'], expected['versions']))

    def cpu_seconds(self, pid):
        with open('/proc/%d/stat' % pid) as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def ingest_arm(self, what, topic, changes, criterion, *arguments):
        expected = self.generate(topic, '--changes', changes, *arguments)
        self.psql('CHECKPOINT')
        start = time.time()
        self.create_feed(topic, '1 second')
        reached = self.psql("SELECT magic.wait_for('%s', %d, '600 seconds')" % (topic, expected['last_ts']))
        seconds = time.time() - start
        if reached != 't':
            self.bad.append('%s: the feed did not reach the end: %s' % (
                what, self.psql("SELECT state, last_error FROM magic.feeds WHERE name = '%s'" % topic)))
        pid, applies = self.psql("SELECT worker_pid, applies FROM magic.feeds WHERE name = '%s'" % topic).split('|')
        cpu = self.cpu_seconds(int(pid))
        self.check_table(what, expected)
        rate = changes / seconds
        self.say(what + ', changes/s', '%.0f in %.1f s' % (rate, seconds), 'at least %d' % criterion, rate >= criterion)
        self.say('  the worker alone', '%.0f a CPU second, %s applies' % (changes / cpu, applies))
        self.psql("SELECT magic.drop_feed('%s', drop_tables => true)" % topic)
        self.psql('DROP SCHEMA IF EXISTS bench CASCADE')

    def ingest(self):
        print('\nGenerated binlog in a real, loaded broker to committed rows; keyed table of 8 columns', flush=True)
        scale = min(self.options.scale, 4)
        self.ingest_arm('insert-only', 'inserts', int(3_000_000 * scale), 150_000)
        self.ingest_arm('70/20/10', 'mixed', int(2_000_000 * scale), 80_000, '--mix', '70/20/10')

    def latency(self):
        print('\nLatency under light load: 20 transactions of 5 rows a second, interval 50 ms', flush=True)
        self.create_feed('light', '50 milliseconds')
        producer = subprocess.Popen([os.path.join(self.runner.tools, 'gen_binlog'), '--brokers', self.broker,
                                     '--topic', 'light', '--changes', '2500', '--per-message', '5',
                                     '--rate', '20'], stdout=subprocess.DEVNULL)
        for _ in range(600):
            if self.psql("SELECT to_regclass('bench.orders')"):
                break
            time.sleep(0.1)
        # Each statement of the loop has its own snapshot, as each query of a reader has.
        out = self.psql('''
CREATE TEMP TABLE seen (id bigint, ms float8);
DO $$
DECLARE last bigint := (SELECT coalesce(max(id), 0) FROM bench.orders);
        finish timestamptz := clock_timestamp() + interval '15 seconds';
        n int;
BEGIN
    WHILE clock_timestamp() < finish LOOP
        INSERT INTO seen SELECT id, extract(epoch FROM clock_timestamp()) * 1e3 - sent_us / 1e3
          FROM bench.orders WHERE id > last;
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n > 0 THEN last := (SELECT max(id) FROM seen); END IF;
        PERFORM pg_sleep(0.002);
    END LOOP;
END $$;
SELECT count(*), percentile_cont(ARRAY[0.5, 0.95, 1]) WITHIN GROUP (ORDER BY ms) FROM seen''')
        producer.send_signal(signal.SIGTERM)
        producer.wait()
        count, quantiles = out.split('|')
        median, p95, longest = (float(q) for q in quantiles.strip('{}').split(','))
        self.say('produced to visible, ms: median, 95 %, longest', '%.0f, %.0f, %.0f of %s rows' % (
            median, p95, longest, count), '95 % at most 200', p95 <= 200)
        self.psql("SELECT magic.drop_feed('light', drop_tables => true)")

    # -- all ------------------------------------------------------------------------------------

    def main(self):
        self.check_disk()
        self.runner.prepare()
        self.start_server()
        try:
            if 'tpch' in self.options.what:
                self.tpch()
            if 'ingest' in self.options.what or 'latency' in self.options.what:
                self.start_broker()
                try:
                    if 'ingest' in self.options.what:
                        self.ingest()
                    if 'latency' in self.options.what:
                        self.latency()
                finally:
                    self.stop_broker()
        finally:
            self.stop_server()
        self.print_table()
        for line in self.bad:
            print('WRONG: ' + line)
        return 1 if self.bad else 0

    def print_table(self):
        width = max(len(r[0]) for r in self.rows)
        print('\n%-*s  %-32s %-18s %s' % (width, 'what', 'measured', 'wanted', 'met'))
        for what, measured, criterion, met in self.rows:
            print('%-*s  %-32s %-18s %s' % (width, what, measured, criterion,
                                            '' if met is None else 'yes' if met else 'no'))
        print('results equal' if not self.bad else 'RESULTS DIFFER')


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('what', nargs='*', default=[])
    parser.add_argument('--scale', type=float, default=1)
    parser.add_argument('--pg-config', default=os.environ.get('PG_CONFIG', 'pg_config'))
    parser.add_argument('--stage', help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.what = options.what or ['tpch', 'ingest', 'latency']
    options.pg_config = shutil.which(options.pg_config) or options.pg_config
    for name, value in (('installed', False), ('running', False), ('only', ''), ('long', False), ('timeout', 3600),
                        ('werror', ''), ('keep', False), ('verbose', False)):
        setattr(options, name, value)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = os.geteuid() == 0
    if not options.stage:
        user = pwd.getpwnam('postgres') if root else None
        options.stage = run.make_stage(user.pw_uid if root else None, user.pw_gid if root else None)
        owner = True
    else:
        owner = False
    try:
        return run.as_postgres(options.stage, 'test/bench/bench.py') if root else \
            Bench(options, options.stage).main()
    finally:
        if owner:
            shutil.rmtree(options.stage, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
