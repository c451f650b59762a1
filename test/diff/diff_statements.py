"""Random statements for engine_diff.py, on a table of diff_schema.py.

A statement is (SQL, an upper bound of the rows that it locks). Unless it is alone a statement locks few
rows. No statement's result may depend on the order of rows in the table.
"""
from diff_queries import ORDER, Queries
from diff_schema import Column

KNOBS = (['enable_%s = %s' % (name, value) for value in ('on', 'off') for name in (
    'seqscan', 'seqscan', 'indexscan', 'bitmapscan', 'indexonlyscan', 'hashjoin', 'mergejoin', 'nestloop', 'sort', 'hashagg', 'material', 'memoize', 'tidscan',
    'partition_pruning', 'incremental_sort', 'partitionwise_join', 'partitionwise_aggregate', 'gathermerge', 'parallel_hash', 'parallel_append')] +
    ['work_mem = %s' % value for value in ("'64kB'", "'4MB'")] +
    ['magic.pack_cache_size = %s' % value for value in ("'0'", "'64kB'", 'DEFAULT')] +
    ['jit = %s' % value for value in ('on', 'off', 'off')] + ['jit_above_cost = %s' % value for value in ('0', 'DEFAULT')] +
    ['%s = %s' % (name, value) for value in ('1', 'DEFAULT') for name in ('join_collapse_limit', 'max_parallel_workers_per_gather', 'parallel_leader_participation')] +
    ['parallel_leader_participation = off', 'max_parallel_workers = 0', 'max_parallel_workers = DEFAULT'] +
    ['%s = %s' % (name, value) for value in ('0', 'DEFAULT') for name in (
        'parallel_setup_cost', 'parallel_tuple_cost', 'min_parallel_table_scan_size', 'min_parallel_index_scan_size', 'random_page_cost')] +
    ['force_parallel_mode = %s' % value for value in ('on', 'off')] +
    ['plan_cache_mode = %s' % value for value in ('force_generic_plan', 'force_custom_plan', 'auto')] +
    ['cursor_tuple_fraction = %s' % value for value in ('1', '0.01')])


class Statements:
    def __init__(self, rng, schema):
        self.rng = rng
        self.schema = schema

    def identity(self):
        return self.rng.choice([self.rng.randrange(1, 60), self.rng.randrange(1, 2000)])

    def row(self, identity=None):
        rng = self.rng
        values = [str(identity if identity is not None else self.identity()), rng.choice([str(rng.randrange(100)), str(rng.randrange(100)), 'DEFAULT', 'NULL'])]
        if self.schema.deferred:
            values.append(rng.choice(['NULL', str(rng.randrange(300))]))
        return '(%s)' % ', '.join(values + [c.value(rng) for c in self.schema.columns])

    def where(self):
        """Few rows, so that row locks stay row locks."""
        rng, n = self.rng, self.identity()
        choices = ['id = %d' % n] * 3 + [
            'id IN (%d, %d, %d)' % (n, self.identity(), self.identity()),
            'id BETWEEN %d AND %d' % (n, n + 5), 'id BETWEEN %d AND %d AND v > %d' % (n, n + 5, rng.randrange(100)),
            'v = %d AND id < %d' % (rng.randrange(100), 100)]
        # after a wait another plan of the same statement may look at the new row's ctid, or not
        if not self.schema.partitioned and self.schema.solo and self.schema.key:
            choices.append('ctid = (SELECT min(ctid) FROM @t WHERE id = %d)' % n)
            choices.append('ctid = ANY (ARRAY(SELECT ctid FROM @t WHERE id IN (%d, %d)))' % (n, n + 1))
        if self.schema.columns:
            choices.append('id BETWEEN %d AND %d AND %s' % (n, n + 5, rng.choice(self.schema.columns).condition(rng)))
        return rng.choice(choices)

    def condition(self):
        """Any rows."""
        rng = self.rng
        choices = [self.where(), 'v BETWEEN %d AND %d' % ((n := rng.randrange(90)), n + 10), 'v IS NULL', 'id %% 7 = %d' % rng.randrange(7), 'id > %d' % self.identity(),
                   'coalesce(v, 0) %% 7 = %d' % rng.randrange(7), 'v + 1 = %d' % rng.randrange(100)]
        choices += [c.condition(rng) for c in self.schema.columns]
        if self.schema.generated:
            choices.append('g = %d' % rng.randrange(10))
        one = rng.choice(choices)
        return '%s %s %s' % (one, rng.choice(['AND', 'OR']), rng.choice(choices)) if rng.random() < 0.3 else one

    def assignment(self):
        rng = self.rng
        parts = []
        if rng.random() < 0.7 or not self.schema.columns:
            parts.append(rng.choice(['v = v + 1', 'v = v + 1', 'v = %d' % rng.randrange(100), 'v = NULL', 'v = DEFAULT']))
        if self.schema.columns and (rng.random() < 0.5 or not parts):
            column = rng.choice(self.schema.columns)
            parts.append('%s = %s' % (column.name, column.value(rng)))
        if self.schema.deferred and rng.random() < 0.2:
            parts.append('u = %d' % rng.randrange(300))
        return ', '.join(parts)

    # -- kinds of statements; each gives (SQL, rows) --------------------------------------------

    def insert(self):
        rng = self.rng
        names, returning = ', '.join(self.schema.names()), rng.choice(['', '', ' RETURNING *'])
        n = rng.choice([1, 1, 1, 2, 5])
        pick = rng.random()
        if pick < 0.1:
            return 'INSERT INTO @t (id) VALUES (%d)%s' % (self.identity(), returning), 1
        if pick < 0.15:
            return 'INSERT INTO @t (v) VALUES (1), (2)', 0
        if pick < 0.3:
            lines = ''.join('%d\t%s\n' % (self.identity() + rng.choice([0, 5000]), rng.choice(['\\N', str(rng.randrange(100))])) for _ in range(rng.choice([1, 3, 40])))
            return 'COPY @t (id, v) FROM stdin;\n%s\\.' % lines, 0
        if pick < 0.4:
            return 'INSERT INTO @t (%s) SELECT id + %d, %s FROM @t WHERE %s' % (
                names, rng.choice([5000, 7000, 10 ** 6]), ', '.join(self.schema.names()[1:]).replace('u,', 'NULL,'), self.where()), 0
        return 'INSERT INTO @t (%s) VALUES %s%s' % (names, ', '.join(self.row() for _ in range(n)), returning), 6

    def insert_many(self):
        first = 2000 + self.rng.randrange(10 ** 6)
        return 'INSERT INTO @t (id, v) SELECT g, g %% 100 FROM generate_series(%d, %d) g' % (first, first + self.rng.choice([10, 100, 3000 if self.schema.triggers in ('', 'statement') else 100])), 0

    def insert_wide(self):
        rng = self.rng
        columns = [c for c in self.schema.columns]
        first = 2000 + rng.randrange(10 ** 6)
        return 'INSERT INTO @t (%s) SELECT %s FROM generate_series(%d, %d) g' % (
            ', '.join(['id', 'v'] + [c.name for c in columns]),
            ', '.join(['g', 'g %% %d' % rng.choice([1, 2, 100])] + ['CASE WHEN g %% %d = 0 THEN %s ELSE %s END' % (rng.choice([1, 2, 7, 97]), c.typed(rng), c.typed(rng)) for c in columns]),
            first, first + rng.choice([10, 100, 1500 if self.schema.triggers in ('', 'statement') else 100])), 0

    def update(self):
        rng = self.rng
        returning = rng.choice(['', '', ' RETURNING *'])
        pick = rng.random()
        if pick < 0.1:
            n = self.identity()
            return 'UPDATE @t t SET v = s.v FROM (VALUES (%d, 1), (%d, 2)) s(id, v) WHERE t.id = s.id%s' % (n, n + 1, returning.replace('*', 't.id, t.v')), 6
        if pick < 0.2:
            return 'UPDATE @t SET id = %d WHERE id = %d%s' % (self.identity(), self.identity(), returning), 6
        if pick < 0.3:
            return self.change_several()
        if pick < 0.35:
            # what it returns of the table is what the statement began with
            return ('UPDATE @t t SET %s WHERE %s RETURNING t.id, t::text, (SELECT count(*) FROM @t x WHERE x.v = t.v)' % (self.assignment(), self.where()), 6)
        return 'UPDATE @t SET %s WHERE %s%s' % (self.assignment(), self.where(), returning), 6

    def change_several(self):
        """Joins with the table itself, and several changes by one statement; each row is changed once."""
        rng, n = self.rng, self.identity()
        if not self.schema.key or not self.schema.columns:
            return self.insert_values()
        column = rng.choice(self.schema.columns).name
        return rng.choice([
            'UPDATE @t t SET v = s.v FROM @t s WHERE t.id = s.id + 1 AND s.id BETWEEN {n} AND {m} RETURNING t.id, s.id, t.v, s.{c}::text',
            'UPDATE @t t SET (v, {c}) = (SELECT v, {c} FROM @t s WHERE s.id = t.id - 1) WHERE t.id BETWEEN {n} AND {m} RETURNING t.*',
            'DELETE FROM @t t USING @t s WHERE t.id = s.id + 2 AND s.id IN ({n}, {m}) RETURNING s.id, t::text',
            'WITH d AS (DELETE FROM @t WHERE id = {n} RETURNING *), u AS (UPDATE @t SET v = 1 WHERE id = {n} + 1 RETURNING *), i AS (INSERT INTO @t (id, v) VALUES ({n} + 77777, 2) RETURNING id) '
            "SELECT 'd', d::text FROM d UNION ALL SELECT 'u', u::text FROM u UNION ALL SELECT 'i', i::text FROM i UNION ALL SELECT 'n', count(*)::text FROM @t WHERE id BETWEEN {n} AND {m}",
            'WITH u AS (UPDATE @t SET v = coalesce(v, 0) + 1 WHERE id BETWEEN {n} AND {m} RETURNING id, v) SELECT t.id, t.v, u.v FROM u LEFT JOIN @t t USING (id)',
            'SELECT id, {c}::text FROM @t t WHERE id IN (SELECT id FROM @t WHERE id BETWEEN {n} AND {m} ORDER BY id FOR UPDATE)',
            'SELECT id, v FROM @t WHERE id BETWEEN {n} AND {m} ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED',
            'MERGE INTO @t t USING (SELECT id, v, {c} AS c FROM @t WHERE id BETWEEN {n} AND {m}) s ON t.id = s.id + 1 WHEN MATCHED AND t.v > 50 THEN UPDATE SET {c} = s.c '
            'WHEN MATCHED AND t.v > 30 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED AND s.v > 20 THEN INSERT (id, v, {c}) VALUES (s.id + 1, s.v, s.c)']).format(
                n=n, m=n + rng.choice([1, 3, 5]), c=column), 12

    def procedural(self):
        """PL/pgSQL over ten rows or so; what it sees on its way is its result."""
        rng = self.rng
        return "SELECT diff_walk('@t', %d, %d)" % (rng.randrange(7), self.identity()), 24

    def delete(self):
        if self.rng.random() < 0.15:
            n = self.identity()
            names = ', '.join(self.schema.names())
            return ('WITH d AS (DELETE FROM @t WHERE id IN (%d, %d) RETURNING *) INSERT INTO @t (%s) SELECT id + 9000, %s FROM d' % (
                n, n + 3, names, ', '.join(self.schema.names()[1:]))), 6
        return 'DELETE FROM @t WHERE %s%s' % (self.where(), self.rng.choice(['', '', ' RETURNING *'])), 6

    def upsert(self):
        if not self.schema.key:
            return self.insert_values()
        return 'INSERT INTO @t (%s) VALUES %s ON CONFLICT %s%s' % (
            ', '.join(self.schema.names()), self.row(), self.rng.choice([
                'DO NOTHING', '(id) DO NOTHING', '(id) DO UPDATE SET v = @t.v + excluded.v', '(id) DO UPDATE SET (v, id) = (excluded.v, @t.id)',
                '(id) DO UPDATE SET v = excluded.v WHERE @t.v < 50', '(id) DO UPDATE SET v = length(excluded::text) %% 100%s' % ''.join(', %s = excluded.%s' % (c.name, c.name) for c in self.schema.columns[:2]),
                '(id) DO UPDATE SET v = (SELECT count(*) FROM @t x WHERE x.v = excluded.v)', "(id) DO UPDATE SET v = 5 WHERE @t::text <> excluded::text"]),
            self.rng.choice(['', '', ' RETURNING *', ' RETURNING id, @t::text'])), 6

    def merge(self):
        if not self.schema.key:
            return self.update()
        n = self.identity()
        return ('MERGE INTO @t t USING (VALUES (%d, 1), (%d, 2)) s(id, v) ON t.id = s.id WHEN MATCHED AND t.v > 70 THEN DELETE '
                'WHEN MATCHED AND t.v > 40 THEN DO NOTHING WHEN MATCHED THEN UPDATE SET v = t.v + s.v WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)' % (n, n + 1)), 6

    def lock(self):
        return 'SELECT * FROM (SELECT * FROM @t WHERE %s ORDER BY id FOR %s%s) x' % (
            self.where(), self.rng.choice(['UPDATE', 'SHARE']), self.rng.choice(['', '', ' NOWAIT', ' SKIP LOCKED'])), 6

    def subtransactions(self):
        """Statements in subtransactions, some of them while a statement of the parent runs."""
        rng = self.rng
        inner, rows = rng.choice([self.insert_values, self.update, self.delete, self.upsert])()
        inner = inner.replace("'", "''")
        call = "%s('%s')" % (rng.choice(['diff_try', 'diff_undo']), inner)
        pick = rng.random()
        if pick < 0.4:
            return 'SELECT %s' % call, rows
        if pick < 0.6:
            return "SELECT diff_try('SELECT %s'), (SELECT count(*) FROM @t), %s" % (call.replace("'", "''"), call), 2 * rows
        first = 20000 + rng.randrange(10 ** 5)
        return 'INSERT INTO @t (id, v) SELECT g, length(%s) FROM generate_series(%d, %d) g' % (call, first, first + 2), 3 * rows

    def insert_values(self):
        return 'INSERT INTO @t (%s) VALUES %s' % (', '.join(self.schema.names()), self.row()), 1

    def bulk(self):
        """Only when no other session is in a transaction."""
        rng = self.rng
        return rng.choice(['DELETE FROM @t WHERE id %% 7 = %d' % rng.randrange(7), 'UPDATE @t SET v = v + 1 WHERE id %% 5 = %d' % rng.randrange(5),
                           'UPDATE @t SET v = coalesce(v, 0) + 1', 'DELETE FROM @t WHERE id > 2000', 'DELETE FROM @t WHERE %s' % self.condition(),
                           'UPDATE @t SET %s WHERE %s' % (self.assignment(), self.condition()), self.insert_wide()[0], self.insert_wide()[0]]), 10 ** 6

    def child(self):
        rng, n = self.rng, self.identity()
        return rng.choice(['INSERT INTO @t_c SELECT %d, max(id) FROM @t WHERE id < %d' % (n, n), 'INSERT INTO @t_c VALUES (%d, %d)' % (n, n),
                           'DELETE FROM @t_c WHERE id < %d' % n, 'UPDATE @t_c SET p = %d WHERE id = %d' % (n, n), 'UPDATE @t SET id = id + 3000 WHERE id = (SELECT min(p) FROM @t_c)',
                           'DELETE FROM @t WHERE id = (SELECT max(p) FROM @t_c)', 'SELECT * FROM @t_c', 'SELECT count(*) FROM @t_c c JOIN @t t ON t.id = c.p']), 6

    def read(self):
        rng = self.rng
        if rng.random() < 0.5:
            return Queries(self).any(), 0
        column = rng.choice(self.schema.columns).name if self.schema.columns else 'v'
        return rng.choice([
            'SELECT * FROM @t WHERE %s' % self.where(), 'SELECT * FROM @t WHERE %s' % self.condition(), 'SELECT count(*), sum(v) FROM @t WHERE %s' % self.condition(),
            'SELECT id, %s FROM @t WHERE %s' % (column, self.condition()),
            'SELECT count(*), sum(v), sum(id), count(DISTINCT id), count(%s) FROM @t' % column,
            'SELECT id, v FROM @t ORDER BY id, v LIMIT 20', 'SELECT id FROM @t WHERE id < 500 ORDER BY id DESC LIMIT 7', 'SELECT max(id), min(id), max(v) FROM @t',
            'SELECT v, count(*) FROM @t GROUP BY v', 'SELECT v FROM @t WHERE id < 100 UNION SELECT id FROM @t WHERE v < 10',
            'SELECT count(*) FROM @t a JOIN @t b ON a.id = b.v', 'SELECT id FROM @t a WHERE EXISTS (SELECT FROM @t b WHERE b.v = a.id)',
            "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM @t t", 'SELECT count(*) FROM @t t WHERE t IS NULL', 'SELECT pg_column_size(id) FROM @t WHERE id = 1',
            'SELECT id, row_number() OVER (PARTITION BY v ORDER BY id) FROM @t WHERE id < 60' if self.schema.key else 'SELECT 1',
            'SELECT count(*) FROM @t WHERE ctid >= \'(0,0)\'', 'SELECT (SELECT count(*) FROM @t b WHERE b.id = a.id) FROM @t a WHERE a.id < 40']), 0

    def statement(self, alone):
        rng = self.rng
        kinds = [(20, self.insert), (4, self.insert_many), (24, self.update), (13, self.delete), (8, self.upsert), (4, self.merge), (6, self.lock), (4, self.subtransactions), (4, self.procedural if self.schema.key else self.read), (28, self.read)]
        if alone:
            kinds.append((3, self.bulk))
        if self.schema.child:
            kinds.append((8, self.child))
        return rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]()

    # -- DDL: (SQL, what it does to the schema) -------------------------------------------------

    def ddl(self, number, in_transaction):
        """number: for new names."""
        rng, schema = self.rng, self.schema
        column = rng.choice(schema.columns) if schema.columns else None
        choices = ['add', 'add', 'index', 'index', 'truncate', 'reindex', 'notnull', 'default', 'noop', 'check', 'validate', 'generated', 'statistics']
        choices += ['drop', 'type', 'type', 'rename'] if column else []
        choices += ['drop index', 'cluster'] if schema.indexes else []
        pick = rng.choice(choices)
        if pick == 'add':
            new = Column(rng, 'c%d' % number)
            sql = 'ALTER TABLE @t ADD %s %s%s' % (new.name, new.type, rng.choice(['', ' DEFAULT ' + new.value(rng)]))
            return sql, lambda: schema.columns.append(new)
        if pick == 'index':
            name, sql = schema.index(rng, number)
            return sql, lambda: schema.indexes.append(name)
        if pick == 'drop':
            return 'ALTER TABLE @t DROP %s CASCADE' % column.name, lambda: schema.columns.remove(column)
        if pick == 'type' and column.type in dict(self.wider()):
            new = Column(rng, column.name, rng.choice(dict(self.wider())[column.type]))
            at = schema.columns.index(column)
            return 'ALTER TABLE @t ALTER %s TYPE %s USING %s::%s' % (column.name, new.type, column.name, new.type), lambda: schema.columns.__setitem__(at, new)
        if pick == 'rename':
            new = Column(rng, 'c%d' % number, column.type)
            at = schema.columns.index(column)
            return 'ALTER TABLE @t RENAME %s TO %s' % (column.name, new.name), lambda: schema.columns.__setitem__(at, new)
        if pick == 'drop index':
            name = rng.choice(schema.indexes)
            return 'DROP INDEX IF EXISTS %s' % name, lambda: schema.indexes.remove(name)
        if pick == 'cluster' and not schema.partitioned:
            return 'CLUSTER @t USING %s' % rng.choice(schema.indexes), None
        if pick == 'reindex' and not (schema.partitioned and in_transaction):
            return 'REINDEX TABLE @t', None
        if pick == 'truncate' and rng.random() < 0.3:
            return 'TRUNCATE @t%s' % rng.choice(['', ' CASCADE', ' RESTART IDENTITY']), None
        if pick == 'notnull' and column:
            return 'ALTER TABLE @t ALTER %s %s NOT NULL' % (column.name, rng.choice(['SET', 'DROP'])), None
        if pick == 'check':
            return 'ALTER TABLE @t ADD CONSTRAINT k%d CHECK (%s) NOT VALID' % (number % 3, self.condition()), None
        if pick == 'validate':
            return rng.choice(['ALTER TABLE @t VALIDATE CONSTRAINT k%d', 'ALTER TABLE @t DROP CONSTRAINT IF EXISTS k%d']) % (number % 3), None
        if pick == 'generated':
            return 'ALTER TABLE @t ADD h%d text GENERATED ALWAYS AS (coalesce(v, 3) %% 3 || \'x\') STORED' % (number % 3), None
        if pick == 'statistics':
            return 'CREATE STATISTICS IF NOT EXISTS @t_s ON id, v FROM @t', None
        if pick == 'default' and column:
            return rng.choice(['ALTER TABLE @t ALTER %s SET DEFAULT %s' % (column.name, column.value(rng)), 'ALTER TABLE @t ALTER %s SET STORAGE EXTENDED' % column.name]), None
        return 'ALTER TABLE @t ALTER v SET STATISTICS %d' % rng.choice([1, 100]), None

    @staticmethod
    def wider():
        from diff_schema import WIDER
        return WIDER
