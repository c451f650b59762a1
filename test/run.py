#!/usr/bin/python3
"""Run the tests.

usage: run.py [options] SUITE...          suites: regress isolation core unit tap e2e fuzz long soak

Copies the checkout to a temporary directory, builds there, installs into a private copy of the
PostgreSQL tree and runs the suites as user postgres when called by root.  Nothing is written to the
checkout or to the machine's own PostgreSQL.  What each suite takes its tests from stands in README.md.
The last line is "N passed, N failed"; the exit status is 0 only if nothing failed.
"""
import argparse
import concurrent.futures
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

SUITES = ['regress', 'isolation', 'core', 'unit', 'e2e', 'tap', 'fuzz']
MORE_SUITES = ['long', 'soak']     # run only when asked for
CLANG_FLAGS = ['-g', '-O1', '-fno-omit-frame-pointer', '-D_GNU_SOURCE', '-std=gnu11',
               '-fno-sanitize-recover=undefined']
REGRESS_LINE = re.compile(r'^test (\S+)\s+\.\.\. (ok|FAILED).*?(\d+) ms')
REGRESS_TAP_LINE = re.compile(r'^(ok|not ok) \d+\s+[-+] (\S+)\s+(\d+) ms')
TAP_LINE = re.compile(r'^(ok|not ok)\b(?!.*# TODO)')


class Result:
    """What one job found: counts, and the time of each test in it."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.times = []         # (seconds, name)
        self.report = ''        # printed at once when the job ends

    def add(self, name, ok, seconds):
        self.passed += ok
        self.failed += not ok
        self.times.append((seconds, name))
        self.report += '%-6s %-58s %8.1f s\n' % ('ok' if ok else 'FAILED', name, seconds)


def tail(path, lines=60):
    try:
        with open(path, errors='replace') as f:
            return ''.join('    ' + line for line in f.readlines()[-lines:])
    except OSError:
        return ''


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Runner:
    def __init__(self, options, stage):
        self.options = options
        self.stage = stage
        self.src = os.path.join(stage, 'src')
        self.test = os.path.join(self.src, 'test')
        self.tools = os.path.join(stage, 'bin')
        self.out = os.path.join(stage, 'out')
        self.pg_config = options.pg_config
        self.children = set()
        self.lock = threading.Lock()
        self.stopped = False
        os.makedirs(self.out, exist_ok=True)
        os.makedirs(os.path.join(stage, 'ports'), exist_ok=True)

    # -- processes ------------------------------------------------------------------------------

    def run(self, command, log, cwd=None, env=None, timeout=None):
        """Run to the end with output to log; a process that outlives the timeout is killed with its
        whole group.  Returns the exit status, -1 after a timeout."""
        with open(log, 'ab') as f:
            if self.stopped:
                return -1
            process = subprocess.Popen(command, cwd=cwd or self.src, env=env, stdin=subprocess.DEVNULL,
                                       stdout=f, stderr=subprocess.STDOUT, start_new_session=True)
            with self.lock:
                self.children.add(process)
            try:
                return process.wait(timeout or self.options.timeout)
            except subprocess.TimeoutExpired:
                f.write(b'\n### ended: took longer than the time limit\n')
                process.terminate()     # a TAP test stops its servers on this
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    pass
                return -1
            finally:
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except OSError:
                    pass
                process.wait()
                with self.lock:
                    self.children.discard(process)

    def stop(self, *_):
        """End what runs; what waits is not begun."""
        self.stopped = True
        with self.lock:
            for process in self.children:
                try:
                    os.killpg(process.pid, signal.SIGTERM)
                except OSError:
                    pass

    def must(self, what, command, cwd=None):
        """Run a step without which there are no tests."""
        log = os.path.join(self.out, what.replace(' ', '_') + '.log')
        start = time.time()
        if self.run(command, log, cwd) != 0:
            sys.stdout.write(tail(log))
            raise SystemExit('could not ' + what)
        print('%-48s %18.1f s' % (what, time.time() - start), flush=True)

    def pg(self, what):
        return subprocess.check_output([self.pg_config, '--' + what], text=True).strip()

    # -- preparation ----------------------------------------------------------------------------

    def prepare(self):
        make = ['make', '-s', '-j%d' % (os.cpu_count() or 2)]
        self.must('build the tools', make + ['-C', os.path.join(self.test, 'tools'), 'OUT=' + self.tools])
        if not self.options.installed:
            self.pg_config = subprocess.check_output(
                [os.path.join(self.test, 'tools/private_tree.sh'), os.path.join(self.stage, 'pg'),
                 self.options.pg_config], text=True).strip()
            build = make + ['PG_CONFIG=' + self.pg_config, 'WERROR=' + self.options.werror]
            self.must('build', build + ['all'])
            self.must('install', build + ['install'])
            for module in sorted(glob.glob(os.path.join(self.test, 'modules/*/Makefile'))):
                self.must('install module ' + os.path.basename(os.path.dirname(module)),
                          make + ['PG_CONFIG=' + self.pg_config, 'install'], os.path.dirname(module))
        self.bindir = self.pg('bindir')
        self.pgxs = os.path.dirname(os.path.dirname(self.pg('pgxs')))

    def environment(self, out):
        env = dict(os.environ)
        for name in list(env):
            # what the make that called this was told is not for those that a test calls
            if name.startswith('PG') and name != 'PG_COLOR' or name in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL'):
                del env[name]
        env.update({
            'PATH': self.bindir + ':' + os.environ['PATH'],
            'PG_CONFIG': self.pg_config,
            'PG_REGRESS': os.path.join(self.pgxs, 'test/regress/pg_regress'),
            'PG_TEST_PORT_DIR': os.path.join(self.stage, 'ports'),
            'TESTDIR': out,
            'MAGIC_SRC': self.src,
            'MAGIC_TOOLS': self.tools,
            'MAGIC_TMP': out,
            'LC_ALL': 'C.UTF-8',
        })
        if self.options.long:
            env['MAGIC_LONG'] = '1'
        return env

    def names(self, pattern):
        """The tests of a suite, or those of them that were asked for."""
        found = sorted(glob.glob(os.path.join(self.src, pattern)))
        if not self.options.only:
            return found
        return [f for f in found
                if any(os.path.splitext(os.path.basename(f))[0] == only or
                       re.fullmatch(only, os.path.splitext(os.path.basename(f))[0])
                       for only in self.options.only.split(','))]

    # -- SQL and isolation tests ----------------------------------------------------------------

    def start_cluster(self, out, env):
        """A server with the library preloaded; its data directory and socket are in out."""
        data, log = os.path.join(out, 'data'), os.path.join(out, 'server.log')
        port = free_port()
        sockets = tempfile.mkdtemp(prefix='magic_')
        setup = os.path.join(out, 'setup.log')
        if self.run(['initdb', '-N', '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--no-locale', '-D',
                     data], setup, env=env) != 0:
            raise RuntimeError('initdb failed\n' + tail(setup))
        with open(os.path.join(data, 'postgresql.conf'), 'a') as f:
            f.write("shared_preload_libraries = 'magic_fdw'\n"
                    "magic.file_source_dirs = '%s'\n"
                    "unix_socket_directories = '%s'\nlisten_addresses = ''\nport = %d\n"
                    "fsync = off\nautovacuum = off\nmax_worker_processes = 32\nmax_prepared_transactions = 20\n"
                    "log_line_prefix = '%%m [%%p] %%q%%a '\nlog_statement = all\n"
                    % (os.path.join(self.test, 'fixtures'), sockets, port))
        if self.run(['pg_ctl', '-w', '-D', data, '-l', log, 'start'], setup, env=env) != 0:
            raise RuntimeError('the server did not start\n' + tail(log))
        return data, sockets, port

    def prepare_database(self, suite, env, log):
        """A database with the extension and the helpers of the engine's tests."""
        name = suite.replace('-', '_') + '_magic'
        psql = ['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-U', 'postgres']
        if self.run(psql + ['-d', 'postgres', '-c', 'DROP DATABASE IF EXISTS ' + name, '-c',
                            'CREATE DATABASE %s TEMPLATE template0' % name], log, env=env) != 0 or \
           self.run(psql + ['-d', name, '-c', 'CREATE EXTENSION magic_fdw', '-f',
                            os.path.join(self.test, 'engine_setup.sql')], log, env=env) != 0:
            raise RuntimeError('could not prepare the database\n' + tail(log))
        return name

    def pg_regress(self, suite, program, inputdir, tests, access_method=None):
        """Run a list of tests by pg_regress or pg_isolation_regress on a server of their own."""
        result = Result()
        out = os.path.join(self.out, suite)
        os.makedirs(out)
        env = self.environment(out)
        data = None
        try:
            if self.options.running:
                env['PGHOST'] = os.environ.get('PGHOST', '/var/run/postgresql')
                env['PGPORT'] = os.environ.get('PGPORT', '5432')
            else:
                data, env['PGHOST'], port = self.start_cluster(out, env)
                env['PGPORT'] = str(port)
            database = self.prepare_database(suite, env, os.path.join(out, 'setup.log'))
            if access_method:
                env['PGOPTIONS'] = '-c default_table_access_method=' + access_method
            log = os.path.join(out, 'output')
            status = self.run([os.path.join(self.pgxs, program), '--use-existing', '--dbname=' + database,
                               '--inputdir=' + inputdir, '--outputdir=' + out, '--bindir=' + self.bindir,
                               '--user=postgres', '--host=' + env['PGHOST'], '--port=' + env['PGPORT']] +
                              tests, log, cwd=out, env=env)
            self.parse_regress(suite, log, result)
            if status != 0 and result.failed == 0:
                result.add(suite + ' (pg_regress itself)', False, 0)
            if result.failed:
                result.report += tail(log, 20) + tail(os.path.join(out, 'regression.diffs'), 200)
        except RuntimeError as e:
            result.add(suite + ' set-up', False, 0)
            result.report += str(e)
        finally:
            if data:
                self.run(['pg_ctl', '-w', '-m', 'fast', '-D', data, 'stop'],
                         os.path.join(out, 'setup.log'), env=env)
                shutil.rmtree(env['PGHOST'], ignore_errors=True)
        return result

    def expect(self, directory, tests):
        """pg_regress gives up at a missing file of expected results: let that test fail instead."""
        for name in tests:
            path = os.path.join(self.src, directory, 'expected', name + '.out')
            if not os.path.exists(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                open(path, 'w').close()

    def parse_regress(self, suite, log, result):
        for line in open(log, errors='replace'):
            match = REGRESS_LINE.match(line)
            if match:
                result.add('%s/%s' % (suite, match[1]), match[2] == 'ok', int(match[3]) / 1000)
                continue
            match = REGRESS_TAP_LINE.match(line)
            if match:
                result.add('%s/%s' % (suite, match[2]), match[1] == 'ok', int(match[3]) / 1000)

    # Tests named engine_* or connector_* and all isolation specs choose no access method: they run on magic and, to
    # prove that the expected output is PostgreSQL's own, on heap; those of what only magic has do not.

    def jobs_regress(self):
        tests = [os.path.splitext(os.path.basename(f))[0] for f in self.names('sql/*.sql')]
        self.expect('', tests)
        engine = [t for t in tests if t.startswith(('engine_', 'connector_'))]
        both = [t for t in engine if not t.startswith('engine_magic_')]
        other = [t for t in tests if t not in engine]
        for suite, names, access_method in (('regress', other, None), ('engine', engine, 'magic'),
                                            ('engine-heap', both, 'heap')):
            if names:
                yield lambda s=suite, n=names, a=access_method: self.pg_regress(
                    s, 'test/regress/pg_regress', self.src, n, a)

    def jobs_isolation(self):
        tests = [os.path.splitext(os.path.basename(f))[0] for f in self.names('test/isolation/specs/*.spec')]
        self.expect('test/isolation', tests)
        both = [t for t in tests if not t.startswith('magic-')]
        for suite, names, access_method in (('isolation', tests, 'magic'), ('isolation-heap', both, 'heap')):
            if names:
                yield lambda s=suite, n=names, a=access_method: self.pg_regress(
                    s, 'test/isolation/pg_isolation_regress', os.path.join(self.test, 'isolation'), n, a)

    # -- PostgreSQL's own tests ---------------------------------------------------------------

    def core(self, suite):
        """One suite of PostgreSQL's own tests on heap and magic, each file counts (pg_core.sh)."""
        result = Result()
        out = os.path.join(self.out, 'core_' + suite)
        os.makedirs(out)
        log = os.path.join(out, 'output')
        start = time.time()
        status = self.run(['bash', os.path.join(self.test, 'pg_core.sh'), '-o', out, suite], log,
                          env=self.environment(out))
        seconds = time.time() - start
        names = re.findall(r'^(ok|FAILED) +\S+$', open(log, errors='replace').read(), re.M)
        result.passed = names.count('ok')
        result.failed = names.count('FAILED')
        if (status != 0 or not names) and result.failed == 0:
            result.failed = 1
        result.times.append((seconds, 'core/' + suite))
        result.report = '%-6s %-58s %8.1f s  (%d passed, %d failed)\n' % (
            'ok' if not result.failed else 'FAILED', 'core/' + suite, seconds, result.passed, result.failed)
        if result.failed:
            result.report += ''.join('    ' + line for line in open(log, errors='replace')
                                     if not line.startswith('ok '))
        return result

    def jobs_core(self):
        for suite in ('regress', 'isolation'):
            if not self.options.only or 'core_' + suite in self.options.only.split(','):
                yield lambda suite=suite: self.core(suite)

    # -- TAP, shell -----------------------------------------------------------------------------

    def tap(self, path):
        """One TAP file.  Its assertions are counted; one that ends early counts as a failure more."""
        result = Result()
        name = os.path.splitext(os.path.basename(path))[0]
        out = os.path.join(self.out, 'tap_' + name)
        os.makedirs(out)
        log = os.path.join(out, 'output')
        start = time.time()
        status = self.run(['perl', '-I', os.path.join(self.pgxs, 'test/perl'), '-I',
                           os.path.join(self.test, 't'), path], log, cwd=out, env=self.environment(out))
        seconds = time.time() - start
        lines = [TAP_LINE.match(line) for line in open(log, errors='replace')]
        result.passed = sum(1 for m in lines if m and m[1] == 'ok')
        result.failed = sum(1 for m in lines if m and m[1] == 'not ok')
        if status != 0 and result.failed == 0:
            result.failed = 1
        result.times.append((seconds, 'tap/' + name))
        result.report = '%-6s %-58s %8.1f s  (%d passed, %d failed)\n' % (
            'ok' if not result.failed else 'FAILED', 'tap/' + name, seconds, result.passed, result.failed)
        if result.failed:
            result.report += tail(log) + tail(os.path.join(out, 'tmp_check/log/regress_log_' + name), 20)
        elif not self.options.keep:
            shutil.rmtree(os.path.join(out, 'tmp_check'), ignore_errors=True)
        if self.options.verbose:
            result.report += tail(log, 1000)
        return result

    def jobs_tap(self):
        for path in reversed(self.names('test/t/*.pl')):    # the engine's take longest
            yield lambda path=path: self.tap(path)

    def jobs_long(self):
        for path in self.names('test/long/*.sh'):
            name = os.path.splitext(os.path.basename(path))[0]
            yield lambda name=name, path=path: self.simple('long', name, ['bash', path],
                                                           max(self.options.timeout, 7200))

    def jobs_soak(self):
        for path in self.names('test/soak/*.pl'):
            yield lambda path=path: self.tap(path)

    def simple(self, suite, name, command, timeout=None):
        """A job that is one test: exit status 0 = passed."""
        result = Result()
        out = os.path.join(self.out, suite + '_' + name)
        os.makedirs(out, exist_ok=True)
        log = os.path.join(out, 'output')
        start = time.time()
        status = self.run(command, log, cwd=out, env=self.environment(out), timeout=timeout)
        result.add('%s/%s' % (suite, name), status == 0, time.time() - start)
        if status != 0 or self.options.verbose:
            result.report += tail(log, 60 if status else 1000)
        return result

    def jobs_e2e(self):
        for path in self.names('test/e2e/*.sh'):
            name = os.path.splitext(os.path.basename(path))[0]
            yield lambda name=name, path=path: self.simple('e2e', name, ['bash', path])

    # -- programs with sanitizers ---------------------------------------------------------------

    def compile_command(self, path, output, sanitizers):
        """clang command for a unit test or fuzz target: "sources:" and "libs:" lines in its first
        comment name what it is made of, relative to the top directory, wildcards allowed."""
        sources, libs = [path], []
        with open(path) as f:
            head = f.read(4000)
        for words in re.findall(r'sources:([^\n*]*(?:\*(?!/)[^\n*]*)*)', head):
            for word in words.split():
                found = sorted(glob.glob(os.path.join(self.src, word)))
                if not found:
                    raise RuntimeError('%s: no file matches %s' % (path, word))
                sources += found
        for words in re.findall(r'libs:([^\n*]*)', head):
            libs += words.split()
        return (['clang', '-fsanitize=' + sanitizers] + CLANG_FLAGS +
                ['-I', os.path.join(self.src, 'ingest_worker'), '-I', os.path.join(self.src, 'magic_fdw'),
                 '-I', self.test, '-idirafter', self.pg('includedir-server')] + list(dict.fromkeys(sources)) + ['-o', output] + libs)

    def program(self, suite, path, sanitizers, arguments, timeout):
        name = os.path.splitext(os.path.basename(path))[0]
        out = os.path.join(self.out, suite + '_' + name)
        os.makedirs(out)
        log = os.path.join(out, 'output')
        binary = os.path.join(out, name)
        try:
            status = self.run(self.compile_command(path, binary, sanitizers), log)
        except RuntimeError as e:
            status = 1
            with open(log, 'a') as f:
                f.write(str(e) + '\n')
        if status != 0:
            result = Result()
            result.add('%s/%s (build)' % (suite, name), False, 0)
            result.report += tail(log)
            return result
        return self.simple(suite, name, [binary] + arguments(name, out), timeout)

    def jobs_unit(self):
        for path in self.names('test/unit/*.c'):
            yield lambda path=path: self.program('unit', path, 'address,undefined',
                                                 lambda name, out: [], None)

    def fuzz_arguments(self, name, out):
        corpus = os.path.join(out, 'corpus')
        os.makedirs(corpus)
        seeds = os.path.join(self.test, 'fuzz/seeds', name)
        seconds = self.options.fuzz_seconds
        return ['-max_total_time=%d' % seconds, '-rss_limit_mb=2048', '-timeout=20',
                '-print_final_stats=1', '-verbosity=0', corpus] + ([seeds] if os.path.isdir(seeds) else [])

    def jobs_fuzz(self):
        """The programs, and random SQL if the suite that has it does not run as well."""
        for path in self.names('test/t/*_differential.pl') if 'tap' not in self.options.suites else []:
            yield lambda path=path: self.tap(path)
        for path in self.names('test/fuzz/*.c'):
            yield lambda path=path: self.program('fuzz', path, 'fuzzer,address,undefined',
                                                 self.fuzz_arguments, self.options.fuzz_seconds + 300)

    # -- all ------------------------------------------------------------------------------------

    def main(self):
        start = time.time()
        self.prepare()
        # what takes longest is begun first
        jobs = [job for suite in MORE_SUITES + SUITES if suite in self.options.suites
                for job in getattr(self, 'jobs_' + suite)()]
        passed = failed = 0
        times = []
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            for future in concurrent.futures.as_completed([pool.submit(job) for job in jobs]):
                result = future.result()
                passed += result.passed
                failed += result.failed
                times += result.times
                print(result.report, end='', flush=True)
        if not jobs:
            print('no test matches')
            failed = 1
        print('\nThe slowest tests of %d, %.0f s in all:' % (len(times), time.time() - start))
        for seconds, name in sorted(times, reverse=True)[:20]:
            print('%8.1f s  %s' % (seconds, name))
        if failed or self.options.keep:
            print('\nWhat the tests wrote is in ' + self.out)
        print('%d passed, %d failed' % (passed, failed), flush=True)
        return 1 if failed else 0


def parse_options():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('suites', nargs='*', default=[])
    parser.add_argument('--installed', action='store_true',
                        help='test what is installed in the tree of --pg-config, build nothing')
    parser.add_argument('--running', action='store_true',
                        help='regress and isolation: use the running server at PGHOST, PGPORT')
    parser.add_argument('--pg-config', default=os.environ.get('PG_CONFIG', 'pg_config'))
    parser.add_argument('--only', default='', help='comma list of test names or regular expressions')
    parser.add_argument('--long', action='store_true', help='full sizes')
    parser.add_argument('--jobs', type=int, default=(os.cpu_count() or 2) + 1)
    parser.add_argument('--timeout', type=int, default=0, help='seconds for one test file')
    parser.add_argument('--fuzz-seconds', type=int, default=15)
    parser.add_argument('--werror', default='-Werror')
    parser.add_argument('--keep', action='store_true', help='keep what the tests wrote')
    parser.add_argument('--verbose', action='store_true', help='print the output of passing tests')
    parser.add_argument('--stage', help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.suites = options.suites or SUITES
    for suite in options.suites:
        if suite not in SUITES + MORE_SUITES:
            parser.error('unknown suite ' + suite)
    if not options.timeout:
        options.timeout = 7200 if options.long else 900
    options.pg_config = shutil.which(options.pg_config) or options.pg_config
    return options


def make_stage(uid, gid):
    """A copy of the checkout that the tests' user owns."""
    stage = tempfile.mkdtemp(prefix='magic_test_')
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    shutil.copytree(top, os.path.join(stage, 'src'), symlinks=True,
                    ignore=lambda d, names: [n for n in names if n == '.git' or n == '__pycache__'])
    os.chmod(stage, 0o755)
    if uid is not None:
        for directory, folders, files in os.walk(stage):
            os.chown(directory, uid, gid)
            for name in files:
                os.chown(os.path.join(directory, name), uid, gid, follow_symlinks=False)
    return stage


def as_postgres(stage, program='test/run.py'):
    """Run a program again as user postgres, on the copy; PostgreSQL refuses to run as root."""
    user = pwd.getpwnam('postgres')
    env = dict(os.environ, HOME=user.pw_dir, USER='postgres', LOGNAME='postgres')
    env.pop('XDG_CACHE_HOME', None)
    if 'MAGIC_CACHE_HOME' in os.environ:
        env['XDG_CACHE_HOME'] = os.environ['MAGIC_CACHE_HOME']
    process = subprocess.Popen(
        ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--init-groups', '/usr/bin/python3',
         os.path.join(stage, 'src', program), '--stage', stage] + sys.argv[1:], env=env, cwd=stage)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            pass


def main():
    options = parse_options()
    root = os.geteuid() == 0
    if options.stage:
        stage = options.stage
    elif root:
        user = pwd.getpwnam('postgres')
        stage = make_stage(user.pw_uid, user.pw_gid)
    else:
        stage = make_stage(None, None)
    if root:
        status = as_postgres(stage)
    else:
        runner = Runner(options, stage)
        signal.signal(signal.SIGTERM, runner.stop)
        signal.signal(signal.SIGINT, runner.stop)
        status = runner.main()
    if not options.stage and status == 0 and not options.keep:
        shutil.rmtree(stage, ignore_errors=True)
    return status


if __name__ == '__main__':
    sys.exit(main())
