"""Random queries for engine_diff.py: what planner and executor can do with a table, at least once each.

A query is SQL on a table of diff_schema.py; Statements (diff_statements.py) gives the conditions. No result
depends on the order of rows in the table: where it matters rows are ordered by `id, v, t::text`, and of values
that are equal and look different (1.0 and 1.00) none is picked.
"""

ORDER = 'id, v, t::text'


class Queries:
    def __init__(self, statements):
        self.rng, self.schema, self.statements = statements.rng, statements.schema, statements

    def column(self):
        return self.rng.choice([c.name for c in self.schema.columns] + ['id', 'v'])

    def ordered(self):
        """A column that can be ordered by."""
        return self.rng.choice([c.name for c in self.schema.columns if 'b' in c.uses or 'T' in c.uses] + ['id', 'v'])

    def condition(self, alias='t'):
        text = self.statements.condition()
        return text if self.rng.random() < 0.7 else '%s AND %s.tableoid > 0' % ('(%s)' % text, alias)

    def window(self):
        frame = self.rng.choice(['ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING', 'ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW',
                                 'GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW', ''])
        return ('SELECT id, sum(v) OVER w, count(%s) OVER w, lag(v) OVER (ORDER BY %s), first_value(%s::text) OVER (PARTITION BY id %% 5 ORDER BY %s) '
                'FROM @t t WHERE %s WINDOW w AS (PARTITION BY id %% 5 ORDER BY %s %s)' % (
                    self.column(), ORDER, self.column(), ORDER, self.condition(), ORDER, frame))

    def rank(self):
        return 'SELECT * FROM (SELECT id, v, rank() OVER (ORDER BY v) r, ntile(4) OVER (ORDER BY %s) FROM @t t) x WHERE r < %d' % (ORDER, self.rng.choice([2, 10]))

    def grouping(self):
        sets, which = self.rng.choice([('GROUPING SETS ((a), (b), ())', 'grouping(a, b)'), ('ROLLUP (a, b)', 'grouping(b)'), ('CUBE (a, b)', 'grouping(a, b)'),
                                       ('GROUPING SETS ((a, b), (a))', 'grouping(b)'), ('a, b', '1')])
        return ('SELECT a, b, count(*), sum(v), count(c), %s FROM (SELECT v %% 5 AS a, id %% 3 AS b, v, %s AS c FROM @t t WHERE %s) x '
                'GROUP BY %s %s' % (which, self.column(), self.condition(), sets, self.rng.choice(['', 'HAVING count(*) > 1'])))

    def grouped_column(self):
        column = self.ordered()
        return self.rng.choice(['SELECT count(*), sum(n) FROM (SELECT count(*) n FROM @t t WHERE %s GROUP BY %s) x' % (self.condition(), column),
                                'SELECT count(*) FROM (SELECT DISTINCT %s, v FROM @t t WHERE %s) x' % (column, self.condition()),
                                'SELECT count(DISTINCT %s), count(DISTINCT v) FILTER (WHERE %s) FROM @t t' % (column, self.condition())])

    def with_ties(self):
        column = self.ordered()
        return 'SELECT id, %s::text AS x FROM @t t WHERE %s ORDER BY %s%s FETCH FIRST %d ROWS WITH TIES' % (
            self.column(), self.condition(), column, self.rng.choice(['', ' DESC', ' NULLS FIRST']), self.rng.choice([1, 5, 40]))

    def ties_of_value(self):
        return 'SELECT v FROM @t t WHERE %s ORDER BY v FETCH FIRST 3 ROWS WITH TIES' % self.condition()

    def lateral(self):
        return ('SELECT a.id, x.* FROM @t a %s LATERAL (SELECT t.id AS other, t.%s::text FROM @t t WHERE t.v = a.id ORDER BY %s LIMIT 2) x ON true WHERE a.id < 60' % (
            self.rng.choice(['JOIN', 'LEFT JOIN']), self.column(), 't.id, t.v, t::text'))

    def whole_row(self):
        return self.rng.choice([
            'SELECT t FROM @t t WHERE %s', 'SELECT row_to_json(t) FROM (SELECT * FROM @t t WHERE %s) t', 'SELECT (t).id, t::text FROM @t t WHERE %s OFFSET 0',
            'SELECT max(t::text), count(t), count(t.*) FROM @t t WHERE %s', 'SELECT a FROM @t a JOIN (SELECT id AS i, t AS r FROM @t t WHERE %s) x ON x.i = a.id AND x.r::text = a::text',
            'SELECT (SELECT t) FROM @t t WHERE %s', 'SELECT DISTINCT t::text FROM @t t WHERE %s ORDER BY 1']) % self.condition()

    def join(self):
        kind = self.rng.choice(['JOIN', 'LEFT JOIN', 'FULL JOIN', 'RIGHT JOIN'])
        on = self.rng.choice(['a.id = b.v', 'a.id = b.id', 'a.v = b.v AND a.id = b.id', 'a.id = b.id + 1'])
        out = self.rng.choice(['a.id, a.%s::text' % self.column(), 'a.id, b.%s::text' % self.column(), 'count(*), sum(a.v), sum(b.id)', 'a.id'])
        return 'SELECT %s FROM (SELECT * FROM @t t WHERE %s) a %s (SELECT * FROM @t t WHERE %s) b ON %s' % (
            out, self.statements.where(), kind, self.condition(), on)

    def join_column(self):
        column = self.ordered()
        return 'SELECT count(*), sum(a.id), sum(b.v) FROM @t a JOIN @t b USING (%s) WHERE a.id < 100 AND b.id < 100' % column

    def join_many(self):
        return 'SELECT a.id, b.v, c.id FROM @t a JOIN @t b ON b.id = a.id JOIN @t c ON c.id = b.v LEFT JOIN @t d ON d.id = c.id WHERE a.id < 50'

    def semi(self):
        return self.rng.choice([
            'SELECT id FROM @t t WHERE id NOT IN (SELECT v FROM @t WHERE v IS NOT NULL AND id < 500) AND id < 500 AND ({0})', 'SELECT id FROM @t t WHERE NOT EXISTS (SELECT FROM @t b WHERE b.id = t.v) AND ({0})',
            'SELECT id FROM @t t WHERE (id, v) IN (SELECT id, v FROM @t b WHERE b.id < 300) AND ({0})', 'SELECT id FROM @t t WHERE v = ANY (SELECT id % 100 FROM @t) AND ({0})',
            'SELECT id FROM @t t WHERE v >= ALL (SELECT v FROM @t WHERE id < 20 AND v IS NOT NULL) AND ({0})', 'SELECT id FROM @t t WHERE (id, v) > (20, 50) AND ({0})',
            'SELECT id, (SELECT max(v) FROM @t b WHERE b.id < t.id) FROM @t t WHERE id < 40 AND ({0})',
            'SELECT id FROM @t t WHERE (SELECT count(*) FROM @t b WHERE b.v = t.v) > 1 AND t.id < 50 AND ({0})']).format(self.condition())

    def sets(self):
        return 'SELECT id, v FROM @t t WHERE %s %s SELECT id, v FROM @t t WHERE %s' % (
            self.condition(), self.rng.choice(['EXCEPT', 'INTERSECT', 'UNION ALL', 'EXCEPT ALL', 'INTERSECT ALL', 'UNION']), self.condition())

    def distinct_on(self):
        return 'SELECT DISTINCT ON (v) v, id, %s::text AS x FROM @t t WHERE %s ORDER BY v, id, t::text' % (self.column(), self.condition())

    def recursive(self):
        return 'WITH RECURSIVE r AS (SELECT id, v FROM @t WHERE id < 20 UNION SELECT t.id, t.v FROM r JOIN @t t ON t.id = r.v) SELECT * FROM r'

    def cte(self):
        return 'WITH x AS %s (SELECT id, v, %s AS c FROM @t t WHERE %s) SELECT a.id, count(b.c) FROM x a JOIN x b ON a.v = b.v WHERE a.id < 30 GROUP BY a.id' % (
            self.rng.choice(['MATERIALIZED', 'NOT MATERIALIZED']), self.column(), self.condition())

    def aggregates(self):
        return ("SELECT id %% 4, md5(string_agg(%s::text, ',' ORDER BY %s)), percentile_disc(0.5) WITHIN GROUP (ORDER BY v), count(*) FILTER (WHERE %s), bool_and(v > 5), "
                "array_agg(v ORDER BY %s) FROM @t t WHERE id < 100 GROUP BY 1" % (self.column(), ORDER, self.condition(), ORDER))

    def sample(self):
        return 'SELECT count(*), sum(id), count(%s) FROM @t t TABLESAMPLE %s (100)%s WHERE %s' % (
            self.column(), self.rng.choice(['BERNOULLI', 'SYSTEM']), self.rng.choice(['', ' REPEATABLE (1)']), self.condition())

    def tids(self):
        if self.schema.partitioned:
            return 'SELECT tableoid::regclass, count(*) FROM @t GROUP BY 1'
        return self.rng.choice([
            "SELECT id, t.{column}::text FROM @t t WHERE ctid >= '(0,0)' AND ctid < '(4000000,1)' AND ({condition})",
            'SELECT id, t.{column}::text FROM @t t WHERE ctid = ANY (ARRAY(SELECT ctid FROM @t WHERE id < 30)) AND ({condition})',
            'SELECT t.id, t.{column}::text FROM @t t JOIN @t b ON t.ctid = b.ctid WHERE b.id < 100',
            'SELECT id, t.{column}::text, xmin IS NULL, tableoid::regclass FROM @t t WHERE {condition}']).format(column=self.column(), condition=self.condition())

    def copy(self):
        column = self.column()
        return self.rng.choice(['COPY (SELECT id, %s FROM @t t WHERE %s) TO stdout' % (column, self.condition()), 'COPY @t TO stdout', 'COPY @t (id, v) TO stdout (FORMAT csv)'])

    def union_all(self):
        return 'SELECT x, count(*), sum(n) FROM (SELECT id AS x, v AS n FROM @t t WHERE %s UNION ALL SELECT v, id FROM @t t WHERE %s) u WHERE x < 40 GROUP BY x' % (
            self.condition(), self.condition())

    def barrier(self):
        """What it leaves out must not be seen by the expression outside."""
        return 'SELECT id, %s::text FROM (SELECT * FROM @t t WHERE %s OFFSET 0) x WHERE x.v IS DISTINCT FROM 3' % (self.column(), self.condition())

    def any(self):
        kinds = [self.window, self.rank, self.grouping, self.grouped_column, self.with_ties, self.ties_of_value, self.lateral, self.whole_row, self.join, self.join, self.join_column,
                 self.join_many, self.semi, self.semi, self.sets, self.distinct_on, self.recursive, self.cte, self.aggregates, self.sample, self.tids, self.copy, self.union_all, self.barrier]
        return self.rng.choice(kinds)()
