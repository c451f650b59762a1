"""scan: how the cost of a scan grows with the table, and a table that was written row by row for a day against
the same rows loaded at once.

Both by the server's processor time, fixed cost apart: what is compared takes the same path on the same data, and
the clock would tell of the machine's other users too."""
import os
import subprocess
import time

import tpch

SIZES = (0.1, 1, 10)        # scale factors of TPC-H: 0.6, 6 and 60 million rows
DAY = 86400

DAY_COLUMNS = 'id bigint, at timestamptz, kind int, amount numeric(12,2), note text'
DAY_ROW = '''SELECT nextval('day_id') AS i \\gset
INSERT INTO day SELECT :i, now() + :i * interval '1 second', :i % 20, (:i * 7919 % 100000) / 100.0,
    'note ' || (:i * 31 % 5000);
'''
DAY_QUERIES = {
    'one column': 'SELECT sum(amount) FROM {t}',
    'all columns': 'SELECT sum(id), max(at), sum(kind), sum(amount), max(note) FROM {t}',
    'grouped': 'SELECT kind, count(*), sum(amount) FROM {t} WHERE amount > 100 GROUP BY kind',
}
TURNS = 100                 # a scan of a day's rows takes milliseconds


def slope(bench):
    programs = tpch.venv()
    print('\nscan cost of lineitem, scale %s' % ', '.join('%g' % (s * bench.options.scale) for s in SIZES), flush=True)
    rows, seconds = [], []
    for size in SIZES:
        generate = "%s/tpchgen-cli tbl -s %g --tables lineitem --stdout | sed 's/|$//'" % (
            programs, size * bench.options.scale)
        bench.psql('CREATE TABLE lineitem %s USING magic' % tpch.LINEITEM)
        bench.psql("COPY lineitem FROM PROGRAM $$%s$$ WITH (DELIMITER '|')" % generate)
        bench.psql('VACUUM (ANALYZE) lineitem', 'CHECKPOINT')
        rows.append(int(bench.psql('SELECT count(*) FROM lineitem')))
        best = {}
        for name, query in tpch.QUERIES.items():
            repeats = 5 if size > 1 else 8 if size == 1 else 20
            best[name] = min(t[1] for t in bench.times(';\n'.join([query.format(t='lineitem')] * repeats)))
        seconds.append(best)
        bench.psql('DROP TABLE lineitem')
        print('  %d rows: %s' % (rows[-1], ', '.join('%s %.3f s' % item for item in best.items())), flush=True)
    for name in tpch.QUERIES:
        low = (seconds[1][name] - seconds[0][name]) / (rows[1] - rows[0])
        high = (seconds[2][name] - seconds[1][name]) / (rows[2] - rows[1])
        bench.ratio('%s, ns/row, %.1f to %.1f : %.1f to %.1f M rows' % (
            name, rows[1] / 1e6, rows[2] / 1e6, rows[0] / 1e6, rows[1] / 1e6), high * 1e9, low * 1e9, 1.1, unit='%.2f')


def day(bench):
    count = int(DAY * min(bench.options.scale, 1))
    print('a day of %d transactions of one row' % count, flush=True)
    bench.psql('ALTER SYSTEM SET autovacuum_naptime = 1', 'ALTER SYSTEM SET synchronous_commit = off',
               'SELECT pg_reload_conf()', 'CREATE SEQUENCE day_id', 'CREATE TABLE day (%s) USING magic' % DAY_COLUMNS,
               'CREATE TABLE day_bulk (%s) USING magic' % DAY_COLUMNS)
    script = os.path.join(bench.out, 'day.sql')
    with open(script, 'w') as f:
        f.write(DAY_ROW)
    subprocess.run(['pgbench', '-n', '-U', 'postgres', '-t', str(count), '-f', script, 'postgres'], env=bench.env,
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # the worker leaves when nothing is due
    while bench.psql("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'magic compaction worker'"):
        time.sleep(1)
    bench.psql('INSERT INTO day_bulk TABLE day', 'VACUUM (ANALYZE) day', 'VACUUM (ANALYZE) day_bulk')
    size = {t: int(bench.psql("SELECT magic.table_size('%s')" % t)) for t in ('day', 'day_bulk')}
    bench.ratio('size, kB, day : loaded at once', size['day'] / 1e3, size['day_bulk'] / 1e3, 1.3, unit='%.0f')
    for name, query in DAY_QUERIES.items():
        best = {}
        for table in ('day', 'day_bulk'):
            loop = 'DO $$ BEGIN FOR i IN 1..%d LOOP PERFORM * FROM (%s) q; END LOOP; END $$' % (
                TURNS, query.format(t=table))
            best[table] = min(t[1] for t in bench.times(';\n'.join([loop] * 5)))
        bench.equal(name, bench.psql(query.format(t='day') + (' ORDER BY 1' if name == 'grouped' else '')),
                    bench.psql(query.format(t='day_bulk') + (' ORDER BY 1' if name == 'grouped' else '')))
        bench.ratio('%s, ms, day : loaded at once' % name, best['day'] / TURNS * 1e3, best['day_bulk'] / TURNS * 1e3,
                    1.3, unit='%.2f')
    bench.psql('DROP TABLE day, day_bulk', 'DROP SEQUENCE day_id', 'ALTER SYSTEM RESET autovacuum_naptime',
               'ALTER SYSTEM RESET synchronous_commit', 'SELECT pg_reload_conf()')


def run(bench):
    slope(bench)
    day(bench)
