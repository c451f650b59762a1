"""Read a table with Spark, over and over, in two partitions, and compare the totals.

With a snapshot: every read must have the expected number of rows and total, and Spark must really have used two partitions.
Without (the control): some read must be wrong, within 20 reads.

Each connection waits for a random time before it reads, so that the partitions of one read are apart, however
busy the machine is; and rows must have moved between one read and the next.
"""
import argparse
import sys
from decimal import Decimal

from pyspark.sql import SparkSession, functions


def arguments():
    parser = argparse.ArgumentParser()
    for name in ('driver', 'url', 'table', 'column', 'key'):
        parser.add_argument('--' + name, required=True)
    parser.add_argument('--rows', type=int, required=True)
    parser.add_argument('--total', type=Decimal, required=True)
    parser.add_argument('--reads', type=int, default=10)
    parser.add_argument('--user', default='postgres')
    return parser.parse_args()


PAUSE = 'SELECT pg_sleep(random() / 2)'


class Reader:
    def __init__(self, options):
        self.options = options
        self.transaction = 0
        self.spark = (SparkSession.builder.master('local[2]').appName('magic_fdw')
                      .config('spark.driver.extraClassPath', options.driver)
                      .config('spark.driver.memory', '1g')
                      .config('spark.ui.enabled', 'false')
                      .config('spark.sql.shuffle.partitions', '2')
                      .getOrCreate())
        self.spark.sparkContext.setLogLevel('WARN')

    def connect(self):
        connection = self.spark._jvm.java.sql.DriverManager.getConnection(
            self.options.url, self.options.user, '')
        connection.setAutoCommit(False)
        return connection

    def query(self, connection, text):
        statement = connection.createStatement()
        result = statement.executeQuery(text)
        columns = result.getMetaData().getColumnCount()
        rows = []
        while result.next():
            rows.append([result.getString(i + 1) for i in range(columns)])
        statement.close()
        return rows

    def read(self, predicates, session_init):
        """(partitions, rows, total) as Spark finds them."""
        properties = {'driver': 'org.postgresql.Driver', 'user': self.options.user, 'fetchsize': '1000',
                      'sessionInitStatement': session_init}
        frame = self.spark.read.jdbc(self.options.url, self.options.table, predicates=predicates,
                                     properties=properties)
        row = frame.agg(functions.count('*').alias('n'),
                        functions.sum(self.options.column).alias('total')).collect()[0]
        return frame.rdd.getNumPartitions(), row['n'], row['total']

    def by_key(self):
        """Two parts by key: how the control reads, and a table that is one pack just now."""
        return ['%s %% 2 = %d' % (self.options.key, rest) for rest in (0, 1)]

    def with_snapshot(self):
        """One read with one snapshot; the holder's transaction is open while Spark reads. Says if rows moved before."""
        holder = self.connect()
        try:
            parts = self.query(holder, "SELECT predicate, session_init FROM magic.spark_snapshot('%s', 2)"
                               % self.options.table)
            transaction = int(self.query(holder, 'SELECT pg_snapshot_xmax(pg_current_snapshot())')[0][0])
            moved = transaction > self.transaction
            self.transaction = transaction
            predicates = [p[0] for p in parts] if len(parts) == 2 else self.by_key()
            return (moved,) + self.read(predicates, parts[0][1] + '; ' + PAUSE)
        finally:
            holder.rollback()
            holder.close()

    def without_snapshot(self):
        return self.read(self.by_key(), PAUSE)


def main():
    options = arguments()
    reader = Reader(options)
    wrong = 0
    for i in range(options.reads):
        moved, partitions, rows, total = reader.with_snapshot()
        right = moved and partitions == 2 and rows == options.rows and total == options.total
        print('read %d: %d partitions, %d rows, total %s%s%s' % (
            i + 1, partitions, rows, total, '' if moved else ', nothing moved',
            '' if right else '  WRONG'), flush=True)
        wrong += not right

    torn = False
    for i in range(20):
        partitions, rows, total = reader.without_snapshot()
        torn = rows != options.rows or total != options.total
        if torn:
            print('control without snapshot: read %d has %d rows, total %s: torn, as it must be'
                  % (i + 1, rows, total), flush=True)
            break
    if not torn:
        print('control without snapshot: 20 reads and none torn: the test proves nothing')
    reader.spark.stop()
    sys.exit(1 if wrong or not torn else 0)


main()
