"""ingest: a generated binlog, loaded into a real Kafka broker before the clock starts, to committed rows.
latency: light load, from the produced message to the visible row."""
import json
import os
import signal
import subprocess
import time


def start_broker(bench):
    bench.kafka = os.path.join(bench.out, 'kafka')
    script = os.path.join(bench.runner.test, 'tools/kafka.sh')
    with open(bench.kafka + '.out', 'w') as f:
        subprocess.run([script, 'start', bench.kafka], stdout=f, check=True, env=dict(bench.env, KAFKA_HEAP='512m'))
    bench.broker = open(bench.kafka + '.out').read().strip()


def stop_broker(bench):
    subprocess.run([os.path.join(bench.runner.test, 'tools/kafka.sh'), 'kill', bench.kafka], env=bench.env)


def generate(bench, topic, *arguments):
    out = subprocess.run([os.path.join(bench.runner.tools, 'gen_binlog'), '--brokers', bench.broker,
                          '--topic', topic] + [str(a) for a in arguments],
                         check=True, text=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)


def create_feed(bench, topic, interval, **options):
    extra = ''.join(", %s => '%s'" % o for o in options.items())
    bench.psql("SELECT magic.create_feed('%s', 'kafka://%s/%s?protocol=tidb-binlog&time_zone=UTC', "
               "apply_interval => '%s'%s)" % (topic, bench.broker, topic, interval, extra))


def check_table(bench, what, expected):
    bench.equal(what, bench.psql('SELECT count(*), coalesce(sum(amount), 0), coalesce(sum(version), 0) '
                                 'FROM bench.orders'),
                '%d|%s|%d' % (expected['rows'], expected['amount'], expected['versions']))


def cpu_seconds(bench, pid):
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def ingest_arm(bench, what, topic, changes, criterion, *arguments):
    expected = generate(bench, topic, '--changes', changes, *arguments)
    bench.psql('CHECKPOINT')
    start = time.time()
    create_feed(bench, topic, '1 second')
    reached = bench.psql("SELECT magic.wait_for('%s', %d, '600 seconds')" % (topic, expected['last_ts']))
    seconds = time.time() - start
    if reached != 't':
        bench.bad.append('%s: the feed did not reach the end: %s' % (
            what, bench.psql("SELECT state, last_error FROM magic.feeds WHERE name = '%s'" % topic)))
    pid, applies = bench.psql("SELECT worker_pid, applies FROM magic.feeds WHERE name = '%s'" % topic).split('|')
    cpu = cpu_seconds(bench, int(pid))
    check_table(bench, what, expected)
    rate = changes / seconds
    bench.say(what + ', changes/s', '%.0f in %.1f s' % (rate, seconds), 'at least %d' % criterion, rate >= criterion)
    bench.say('  the worker alone', '%.0f a CPU second, %s applies' % (changes / cpu, applies))
    bench.psql("SELECT magic.drop_feed('%s', drop_tables => true)" % topic)
    bench.psql('DROP SCHEMA IF EXISTS bench CASCADE')


def run(bench):
    print('\nGenerated binlog in a real, loaded broker to committed rows; keyed table of 8 columns', flush=True)
    scale = min(bench.options.scale, 4)
    ingest_arm(bench, 'insert-only', 'inserts', int(3_000_000 * scale), 150_000)
    ingest_arm(bench, '70/20/10', 'mixed', int(2_000_000 * scale), 80_000, '--mix', '70/20/10')
    run_tables(bench)


def run_tables(bench, tables=1000, rows=100, times=5):
    """Rows for many tables, `rows` for each in turn, against as many rows for one table. The worker's processor
    time counts: when it applies is the clock's affair."""
    seconds = {}
    for topic, n in (('many', tables), ('one', 1)):
        options = ['--tables', n, '--per-message', rows]
        expected = generate(bench, topic, *options, '--changes', tables * rows)
        create_feed(bench, topic, '1 second')
        for i in range(2):
            if bench.psql("SELECT magic.wait_for('%s', %d, '600 seconds')" % (topic, expected['last_ts'])) != 't':
                bench.bad.append(topic + ': the feed did not reach the end')
            pid, applies = (int(v) for v in bench.psql(
                "SELECT worker_pid, applies FROM magic.feeds WHERE name = '%s'" % topic).split('|'))
            seconds[topic] = cpu_seconds(bench, pid) - (seconds[topic] if i > 0 else 0)
            if i == 0:
                first = applies
                expected = generate(bench, topic, '--no-schema', '--after-id', tables * rows, *options,
                                    '--changes', times * tables * rows)
        bench.equal(topic + ': rows of the last table', bench.psql('SELECT count(*) FROM bench.orders%d' % n),
                    str((times + 1) * tables * rows // n))
        bench.say('%d x %d rows for each of %d tables' % (times, tables * rows // n, n),
                  '%.2f s of processor in %d applies' % (seconds[topic], applies - first))
        bench.psql("SELECT magic.drop_feed('%s')" % topic)
        for first in range(1, n + 1, 500):
            bench.psql('DROP TABLE ' + ', '.join('bench.orders%d' % i for i in range(first, min(first + 500, n + 1))))
        bench.psql('DROP SCHEMA bench')
    bench.ratio('feed, %d tables : one table' % tables, seconds['many'], seconds['one'], 1.9)


def run_latency(bench):
    print('\nLatency under light load: 20 transactions of 5 rows a second, interval 50 ms', flush=True)
    create_feed(bench, 'light', '50 milliseconds')
    producer = subprocess.Popen([os.path.join(bench.runner.tools, 'gen_binlog'), '--brokers', bench.broker,
                                 '--topic', 'light', '--changes', '2500', '--per-message', '5',
                                 '--rate', '20'], stdout=subprocess.DEVNULL)
    for _ in range(600):
        if bench.psql("SELECT to_regclass('bench.orders')"):
            break
        time.sleep(0.1)
    # Each statement of the loop has its own snapshot, as each query of a reader has.
    out = bench.psql('''
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
    bench.say('produced to visible, ms: median, 95 %, longest', '%.0f, %.0f, %.0f of %s rows' % (
        median, p95, longest, count), '95 % at most 200', p95 <= 200)
    bench.psql("SELECT magic.drop_feed('light', drop_tables => true)")
