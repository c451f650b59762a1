#!/usr/bin/python3
"""Benchmarks: ratios of arms measured in one run, results checked equal. Asserts no times.

usage: bench.py [--scale N] [--pg-config P] [--installed] [tpch] [scan] [engine] [ingest] [latency]

README.md says what each part measures. With --installed the libraries are not built: what PG_CONFIG has
installed is measured.
"""
import argparse
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

import engine_dml
import engine_point
import ingest
import scan
import tpch

# The parts of `engine`, in their order: modules with a run(bench).
ENGINE_PARTS = [engine_dml, engine_point]


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

    def times(self, sql):
        """Seconds of each statement of a script, run once in one session: (by the clock, of the server's processor
        time)."""
        out = subprocess.run(['psql', '-X', '-q', '-A', '-t', '-U', 'postgres', '-d', 'postgres', '-v',
                              'ON_ERROR_STOP=1'], input='%s;\n' % sql, check=True, text=True,
                             env=dict(self.env, PGOPTIONS='-c log_statement_stats=on -c client_min_messages=log'),
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE).stderr
        return [(float(elapsed), float(user) + float(system)) for user, system, elapsed in re.findall(
            r'^!\s+([\d.]+) s user, ([\d.]+) s system, ([\d.]+) s elapsed', out, re.M)]

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

    def check_disk(self):
        need = self.options.scale * max(3.5 * ('tpch' in self.options.what), 6 * ('scan' in self.options.what)) + 4
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

    def kill_server(self):
        """SIGKILL to the postmaster and all its children, then a new start, which recovers. Returns the log of it."""
        log = os.path.join(self.runner.out, 'server', 'server.log')
        with open(os.path.join(self.data, 'postmaster.pid')) as f:
            postmaster = int(f.readline())
        children = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(postmaster)], text=True,
                                  stdout=subprocess.PIPE).stdout.split()
        position = os.path.getsize(log)
        os.kill(postmaster, signal.SIGKILL)
        for pid in children:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pid in [str(postmaster)] + children:
            while subprocess.run(['ps', '-o', 'stat=', '-p', pid], text=True,
                                 stdout=subprocess.PIPE).stdout[:1] not in ('', 'Z'):
                time.sleep(0.01)
        # a zombie that nobody reaps would count as alive
        os.remove(os.path.join(self.data, 'postmaster.pid'))
        os.remove(os.path.join(self.env['PGHOST'], '.s.PGSQL.%s.lock' % self.env['PGPORT']))
        subprocess.run(['pg_ctl', '-s', '-w', '-t', '600', '-D', self.data, '-l', log, 'start'], env=self.env,
                       check=True)
        with open(log, errors='replace') as f:
            f.seek(position)
            return f.read()

    def stop_server(self):
        subprocess.run(['pg_ctl', '-s', '-w', '-m', 'fast', '-D', self.data, 'stop'], env=self.env)
        shutil.rmtree(self.env['PGHOST'], ignore_errors=True)

    # -- all ------------------------------------------------------------------------------------

    def main(self):
        self.check_disk()
        self.runner.prepare()
        self.start_server()
        try:
            if 'tpch' in self.options.what:
                tpch.run(self)
            if 'scan' in self.options.what:
                scan.run(self)
            if 'engine' in self.options.what:
                for part in ENGINE_PARTS:
                    part.run(self)
            if 'ingest' in self.options.what or 'latency' in self.options.what:
                ingest.start_broker(self)
                try:
                    if 'ingest' in self.options.what:
                        ingest.run(self)
                    if 'latency' in self.options.what:
                        ingest.run_latency(self)
                finally:
                    ingest.stop_broker(self)
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
    parser.add_argument('--installed', action='store_true')
    parser.add_argument('--stage', help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.what = options.what or ['tpch', 'scan', 'engine', 'ingest', 'latency']
    options.pg_config = shutil.which(options.pg_config) or options.pg_config
    for name, value in (('running', False), ('only', ''), ('long', False), ('timeout', 3600), ('werror', ''),
                        ('keep', False), ('verbose', False)):
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
