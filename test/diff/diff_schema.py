"""Random tables for engine_diff.py: columns of every common type with values for them, indexes, triggers.

In all SQL here @t stands for the table's name, which differs between the two arms; so names that are
made from it do, too.
"""

# What both arms use; made once in a database.
SETUP = r"""
DO $do$ BEGIN
	IF to_regtype('diff_mood') IS NULL THEN
		CREATE TYPE diff_mood AS ENUM ('sad', 'ok', 'happy', 'it''s', '');
		CREATE TYPE diff_pair AS (a int, b text, c numeric[]);
		CREATE DOMAIN diff_small AS int CHECK (VALUE < 2000000000);
		CREATE DOMAIN diff_list AS int[] CHECK (array_length(VALUE, 1) < 9);
		CREATE TYPE diff_deep AS (m diff_mood, d diff_list, p diff_pair);
		BEGIN
			CREATE COLLATION diff_any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		EXCEPTION WHEN feature_not_supported THEN	-- a server built without ICU
			CREATE COLLATION diff_any_case FROM "C";
		END;
		-- values as other tables keep them: out of line, compressed, both
		CREATE TABLE diff_big (k int, t text, b bytea, j jsonb) USING heap;
		ALTER TABLE diff_big ALTER t SET STORAGE EXTERNAL, ALTER j SET COMPRESSION pglz;
		INSERT INTO diff_big SELECT k, repeat(md5(k::text), k * 7), decode(repeat('00ff' || to_hex(k + 16), k * 50), 'hex'),
			jsonb_build_object('k', k, 'a', (SELECT jsonb_agg(g) FROM generate_series(1, k * 60) g)) FROM generate_series(0, 19) k;
	END IF;
END $do$;
-- runs a statement in a subtransaction: rows, or the error's code
CREATE OR REPLACE FUNCTION diff_try(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE sql;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
-- the same, and always takes it back
CREATE OR REPLACE FUNCTION diff_undo(sql text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint := -1;
BEGIN
	BEGIN
		EXECUTE sql;
		GET DIAGNOSTICS n = ROW_COUNT;
		RAISE EXCEPTION SQLSTATE 'DIFF1';
	EXCEPTION WHEN SQLSTATE 'DIFF1' THEN
		RETURN 'undone ' || n;
	END;
END $$;
-- walks over rows of a table and changes them, in seven ways; tells what it has seen
CREATE OR REPLACE FUNCTION diff_walk(tab regclass, kind int, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text := '';
	r record;
	c refcursor;
	chosen text := format('SELECT id, v FROM %s t WHERE id BETWEEN %s AND %s ORDER BY id', tab, n, n + 9);
	seen bigint;
BEGIN
	IF kind = 0 THEN			-- changes what the loop is reading
		FOR r IN EXECUTE chosen LOOP
			EXECUTE format('UPDATE %s SET v = coalesce(v, 0) + 1 WHERE id = $1', tab) USING r.id;
			EXECUTE format('SELECT count(*), sum(v) FROM %s WHERE id BETWEEN $1 AND $1 + 3', tab) INTO r USING r.id;
			result := result || r;
		END LOOP;
	ELSIF kind = 1 THEN			-- at a cursor
		OPEN c FOR EXECUTE chosen || ' FOR UPDATE';
		LOOP
			FETCH c INTO r;
			EXIT WHEN NOT FOUND;
			IF r.id % 3 = 0 THEN
				EXECUTE format('DELETE FROM %s WHERE CURRENT OF %I', tab, c);
			ELSE
				EXECUTE format('UPDATE %s SET v = 1 WHERE CURRENT OF %I', tab, c);
			END IF;
			result := result || r;
		END LOOP;
		CLOSE c;
	ELSIF kind = 2 THEN			-- an upsert by hand
		FOR i IN n .. n + 9 LOOP
			BEGIN
				EXECUTE format('INSERT INTO %s (id, v) VALUES ($1, 0)', tab) USING i;
				result := result || 'i';
			EXCEPTION WHEN unique_violation THEN
				EXECUTE format('UPDATE %s SET v = coalesce(v, 0) + 1 WHERE id = $1', tab) USING i;
				result := result || 'u';
			END;
		END LOOP;
	ELSIF kind = 3 THEN			-- subtransactions in subtransactions, some of them fail
		FOR i IN n .. n + 5 LOOP
			BEGIN
				EXECUTE format('UPDATE %s SET v = v + 10 WHERE id = $1', tab) USING i;
				BEGIN
					EXECUTE format('DELETE FROM %s WHERE id = $1', tab) USING i + 1;
					EXECUTE format('INSERT INTO %s (id, v) VALUES ($1, 4)', tab) USING i + 1;
					PERFORM 1 / (i % 2);
				EXCEPTION WHEN division_by_zero THEN
					result := result || 'z';
				END;
				EXECUTE format('SELECT sum(v) FROM %s WHERE id BETWEEN $1 AND $2', tab) INTO seen USING n, n + 6;
				result := result || ' ' || coalesce(seen, -1);
				PERFORM 1 / (i % 3);
			EXCEPTION WHEN division_by_zero THEN
				result := result || 'Z';
			END;
		END LOOP;
	ELSIF kind = 4 THEN			-- a cursor does not see what comes after it was opened
		OPEN c FOR EXECUTE chosen;
		FETCH c INTO r;
		result := result || r;
		EXECUTE format('UPDATE %s SET v = 77 WHERE id BETWEEN $1 AND $1 + 9', tab) USING n;
		LOOP
			FETCH c INTO r;
			EXIT WHEN NOT FOUND;
			result := result || r;
		END LOOP;
		FOR r IN EXECUTE chosen LOOP
			result := result || r;
		END LOOP;
	ELSIF kind = 5 THEN			-- rows that a loop adds are not met by it
		FOR r IN EXECUTE chosen LOOP
			EXECUTE format('INSERT INTO %s (id, v) VALUES ($1, $2)', tab) USING r.id + 300000 + r.v % 7, r.v;
			result := result || r;
		END LOOP;
		EXECUTE format('DELETE FROM %s WHERE id BETWEEN $1 AND $1 + 20', tab) USING n + 300000;
		GET DIAGNOSTICS seen = ROW_COUNT;
		result := result || ' gone ' || seen;
	ELSE						-- one row, many times
		FOR i IN 1 .. 9 LOOP
			EXECUTE format('UPDATE %s SET v = coalesce(v, 0) + $2 WHERE id = $1 RETURNING v', tab) INTO seen USING n, i;
			EXECUTE format('SELECT v FROM %s WHERE id = $1', tab) INTO r USING n;
			result := result || coalesce(seen, -1) || r;
		END LOOP;
	END IF;
	RETURN result;
END $$;
CREATE OR REPLACE FUNCTION diff_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		RETURN CASE WHEN OLD.id % 13 = 0 THEN NULL ELSE OLD END;
	END IF;
	IF NEW.id % 17 = 0 THEN
		RETURN NULL;
	END IF;
	NEW.v := coalesce(NEW.v, 0) % 1000;
	RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION diff_after() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	n bigint := -1;
BEGIN
	IF TG_ARGV[1] = 'look' THEN		-- at the table itself, rows of the statement included
		EXECUTE format('SELECT count(*) FROM %I WHERE id = $1', TG_ARGV[0]) INTO n
			USING CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
	END IF;
	EXECUTE format('INSERT INTO %I VALUES ($1, $2, $3, $4)', TG_ARGV[0] || '_log') USING TG_OP || n,
		CASE WHEN TG_OP <> 'INSERT' THEN OLD.id END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.id END,
		CASE WHEN TG_OP <> 'DELETE' THEN md5(NEW::text) ELSE md5(OLD::text) END;
	RETURN NULL;
END $$;
-- changes rows of the same table; after the statement, in an order that does not matter, and before a row
CREATE OR REPLACE FUNCTION diff_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	i int := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
BEGIN
	IF pg_trigger_depth() > 1 THEN
		RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
	END IF;
	IF TG_WHEN = 'AFTER' THEN
		EXECUTE format('UPDATE %I SET v = coalesce(v, 0) + 1 WHERE id = $1', TG_ARGV[0]) USING i + 1;
	ELSE
		BEGIN
			EXECUTE format('INSERT INTO %I (id, v) VALUES ($1, 1)', TG_ARGV[0]) USING i + 10000000;
		EXCEPTION WHEN unique_violation THEN
			EXECUTE format('DELETE FROM %I WHERE id = $1', TG_ARGV[0]) USING i + 10000000;
		END;
	END IF;
	RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE OR REPLACE FUNCTION diff_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	sum bigint;
	n bigint;
	m text;
BEGIN
	SELECT count(*), sum(id), md5(string_agg(x::text, ',' ORDER BY x::text)) INTO n, sum, m FROM moved x;
	EXECUTE format('INSERT INTO %I VALUES ($1, $2, $3, $4)', TG_ARGV[0] || '_log') USING 'all ' || TG_OP, n, sum, m;
	RETURN NULL;
END $$;
"""


def _integer(rng, n):
    return str(n * rng.choice([1, 1, -1, 1000]))


def _bigint(rng, n):
    return rng.choice(["'-9223372036854775808'", '9223372036854775807']) if rng.random() < 0.02 else _integer(rng, n)


def _text(rng, n):
    pick = rng.random()
    if pick > 0.99:
        return '(SELECT t FROM diff_big WHERE k = %d)' % (n % 20)
    if pick < 0.01:
        return "repeat('%d ', %d)" % (n, rng.choice([1000, 10000, 100000]))
    if pick < 0.02:       # does not compress
        return "(SELECT string_agg(md5(i::text || '%d'), '') FROM generate_series(1, %d) i)" % (n, rng.choice([10, 100, 3000]))
    if pick < 0.06:
        return rng.choice(["''", "' '", "'é%d漢😀'" % n, "E'\\n\\t%d'" % n, "'%s'" % ('z' * 127), "'%s'" % ('z' * 126)])
    return "'%s%d'" % ('v' * rng.randrange(3), n)


def _short(rng, n):
    return "'%s'" % ('v' * rng.randrange(3) + str(n))[:5]


def _numeric(rng, n):
    pick = rng.random()
    if pick < 0.04:
        return rng.choice(["'NaN'", "'Infinity'", "'-Infinity'", '0', '0.000', "'-0.0'", '1e-50', '-1e30', "'1%s.%s'" % ('0' * 150, '9' * 80)])
    if pick < 0.1:
        return '%d%s' % (n, '0' * rng.randrange(30))
    return '%s%d.%0*d' % (rng.choice(['', '', '-']), n, rng.randrange(1, 6), n % 10)


def _numeric12(rng, n):
    return "'NaN'" if rng.random() < 0.02 else '%d.%0*d' % (n, rng.randrange(1, 6), n % 10)


def _date(rng, n):
    if rng.random() < 0.03:
        return rng.choice(["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'"])
    return "'2000-01-01'::date + %d" % (n % 9000)


def _timestamp(rng, n):
    if rng.random() < 0.03:
        return rng.choice(["'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'"])
    return "'2000-01-01 00:00'::timestamp + %d * interval '%s'" % (n, rng.choice(['1 s', '1.7 s', '1 day', '-0.000001 s']))


def _float(rng, n):
    return rng.choice(["'NaN'", "'-0'", "'Infinity'", "'-Infinity'", "'1e-30'"]) if rng.random() < 0.06 else repr(n / 7)


def _array(rng, n):
    return rng.choice(["'{}'", "'{NULL}'", "'{%d,NULL,%d}'" % (n, -n), "'{%d}'" % n, "'{{%d,2},{3,4}}'" % n, "'[0:1]={%d,2}'" % n])


def _bytea(rng, n):
    pick = rng.random()
    if pick > 0.98:
        return '(SELECT b FROM diff_big WHERE k = %d)' % (n % 20)
    if pick < 0.02:
        return "''"
    if pick < 0.04:
        return "decode(repeat('%02x', %d), 'hex')" % (n % 256, rng.choice([1, 127, 3000, 40000]))
    return "'\\x%08x'" % (abs(n) % 2 ** 32)


def _jsonb(rng, n):
    return '(SELECT j FROM diff_big WHERE k = %d)' % (n % 20) if rng.random() < 0.03 else _json(rng, n)


def _json(rng, n):
    return rng.choice(["'{\"k\": %d}'" % n, "'[1, %d, null, \"x\"]'" % n, "'null'", "'%d'" % n, "'\"%d\"'" % n, "'{\"a\": {\"b\": [%d, true]}, \"k\": 1.50}'" % n])


def _interval(rng, n):
    return rng.choice(["'%d s'" % n, "'%d days'" % (n % 1000), "'%d mons -3 days 00:00:01.5'" % (n % 100), "'-%d hours'" % (n % 1000)])


def _inet(rng, n):
    return rng.choice(["'10.%d.%d.1'" % (n // 256 % 256, n % 256), "'10.%d.0.0/16'" % (n % 256), "'fe80::%x'" % (n % 65536), "'::/0'"])


def _range(rng, n):
    return rng.choice(["'empty'", "'(,)'", "'[%d,%d)'" % (n, n + 5), "'[%d,]'" % n, "'(,%d]'" % n, 'NULL'])


def _quoted(text):
    return lambda rng, n: "'" + text % n + "'"


# type: values, and where it can be used: b(tree), h(ash), g(in), s (gist)
TYPES = {
    'int': (_integer, 'bh'), 'bigint': (_bigint, 'bh'), 'smallint': (lambda r, n: str(n % 30000), 'bh'),
    'text': (_text, 'T'), 'varchar(30)': (_short, 'bh'), 'varchar(50)': (_short, 'bh'), 'char(5)': (_short, 'bh'), 'name': (_short, 'bh'),
    '"char"': (lambda r, n: "'%s'" % chr(97 + n % 26), 'bh'), 'text COLLATE "C"': (_short, 'bh'),
    'numeric': (_numeric, 'bh'), 'numeric(12,3)': (_numeric12, 'bh'), 'numeric(20,5)': (_numeric12, 'bh'), 'numeric(38,0)': (lambda r, n: str(n) + '0' * r.randrange(20), 'bh'),
    'numeric(5,-2)': (lambda r, n: str(n % 100000), 'bh'),
    'float8': (_float, 'bh'), 'float4': (_float, 'bh'), 'bool': (lambda r, n: r.choice(['true', 'false']), 'bh'),
    'date': (_date, 'bh'), 'timestamp': (_timestamp, 'bh'), 'timestamptz': (_timestamp, 'bh'), 'timestamptz(0)': (_timestamp, 'bh'),
    'time': (lambda r, n: "'00:00'::time + %d * interval '1.01 s'" % n, 'bh'), 'timetz': (lambda r, n: "'12:%02d:00+0%d'" % (n % 60, n % 9), 'bh'),
    'interval': (_interval, 'bh'), 'uuid': (lambda r, n: "'%032x'" % (abs(n) * 977), 'bh'),
    'bytea': (_bytea, 'bh'), 'bit(7)': (lambda r, n: "B'{:07b}'".format(n % 128), 'b'), 'bit varying': (lambda r, n: "B'{:b}'".format(n), 'b'),
    'json': (_json, ''), 'jsonb': (_jsonb, 'bhg'), 'int[]': (_array, 'bhg'), 'text[]': (_array, 'bhg'), 'numeric[]': (_array, 'bh'),
    'inet': (_inet, 'bh'), 'cidr': (lambda r, n: "'10.%d.0.0/16'" % (n % 256), 'bh'), 'macaddr': (lambda r, n: "'08:00:2b:01:%02x:%02x'" % (n // 256 % 256, n % 256), 'bh'),
    'int4range': (_range, 'bhs'), 'numrange': (_range, 'bhs'), 'int4multirange': (lambda r, n: "'{[%d,%d),[%d,)}'" % (n, n + 3, n + 9), 'bhs'),
    'tsrange': (lambda r, n: "'[2000-01-01,2000-01-%02d)'" % (n % 27 + 2), 'bhs'),
    'point': (lambda r, n: "'(%d,%d)'" % (n % 50, n % 7), 's'), 'box': (lambda r, n: "'((%d,0),(%d,3))'" % (n, n + 2), 's'),
    'tsvector': (lambda r, n: "to_tsvector('simple', 'w%d the %d')" % (n % 100, n), 'bgs'), 'money': (lambda r, n: "'%d.50'" % (n % 10 ** 6), 'b'),
    'oid': (lambda r, n: str(n), 'bh'), 'pg_lsn': (lambda r, n: "'0/%X'" % n, 'bh'),
    'diff_mood': (lambda r, n: r.choice(["'sad'", "'ok'", "'happy'", "'it''s'", "''"]), 'bh'), 'diff_small': (_integer, 'bh'),
    'diff_pair': (lambda r, n: r.choice(["(%d, 'b', '{1,%d}')" % (n, n), "(NULL, NULL, NULL)", "(%d, '', NULL)" % n]), 'b'),
    'text COLLATE diff_any_case': (lambda r, n: r.choice(["'Aa%d'", "'aA%d'", "'AA%d'"]) % (n % 50), 'bh'), 'char(300)': (_short, 'bh'),
    'diff_list': (lambda r, n: r.choice(["'{%d,NULL}'" % n, "'{}'", "'{%d,%d,%d}'" % (n, n, -n)]), 'bhg'),
    'diff_deep': (lambda r, n: "ROW('ok', '{%d}', ROW(%d, 'x', NULL))" % (n, n), 'b'), 'int4range[]': (lambda r, n: "ARRAY['[%d,%d)'::int4range, NULL, 'empty']" % (n, n + 2), 'bh'),
    'datemultirange': (lambda r, n: "'{[2000-01-01,2000-01-%02d)}'" % (n % 27 + 2), 'bhs'), 'tsquery': (lambda r, n: "'w%d & !x'" % n, 'b'),
    'circle': (lambda r, n: "'<(%d,%d),%d>'" % (n % 50, n % 7, n % 3), 's'), 'polygon': (lambda r, n: "'((0,0),(%d,1),(1,%d))'" % (n % 50, n % 9), 's'),
    'path': (lambda r, n: "'[(0,0),(%d,1)]'" % n, ''), 'lseg': (lambda r, n: "'[(0,0),(%d,1)]'" % n, ''), 'macaddr8': (lambda r, n: "'08:00:2b:01:02:03:%02x:%02x'" % (n // 256 % 256, n % 256), 'bh'),
    'xml': (lambda r, n: "'<a>%d</a>'" % n, ''), 'jsonpath': (lambda r, n: "'$.a[%d]'" % abs(n), ''), 'bit(200)': (lambda r, n: "B'{:0200b}'".format(abs(n)), 'b'),
    'diff_pair[]': (lambda r, n: "ARRAY[(%d, 'x', NULL)::diff_pair]" % n, 'b'),
}
# an ALTER TYPE that every value survives, or that fails alike
WIDER = {'int': ['bigint', 'numeric', 'text'], 'smallint': ['int', 'numeric'], 'varchar(30)': ['text', 'varchar(50)'], 'numeric(12,3)': ['numeric', 'numeric(20,5)', 'text'],
         'date': ['timestamp'], 'timestamp': ['timestamptz'], 'json': ['jsonb'], 'float4': ['float8'], 'bool': ['text'], 'uuid': ['text'], 'jsonb': ['text'],
         'int[]': ['text', 'numeric[]'], 'bigint': ['numeric'], 'diff_mood': ['text'], 'inet': ['text'], 'char(5)': ['varchar(30)', 'text']}


class Column:
    def __init__(self, rng, name, type_name=None):
        self.name = name
        self.type = type_name or rng.choice(sorted(TYPES))
        self.nulls = rng.choice([0, 0.1, 0.5, 1])
        self.kinds = rng.choice([1, 3, 50, 10 ** 6])
        self.uses = TYPES[self.type][1]

    def literal(self, rng):
        n = rng.randrange(self.kinds)
        if rng.random() < 0.02:
            n = rng.choice([0, 1, 2 ** 15 - 1])
        return TYPES[self.type][0](rng, n)

    def value(self, rng):
        if rng.random() < self.nulls:
            return 'NULL'
        return self.literal(rng)

    def typed(self, rng):
        """A literal that needs no context."""
        return '(%s)::%s' % (self.literal(rng), self.type.split(' COLLATE')[0])

    def condition(self, rng):
        """True for some rows; on what indexes and zone maps know of."""
        if rng.random() < 0.2 or not self.uses:
            return '%s IS %sNULL' % (self.name, rng.choice(['', 'NOT ']))
        if 'T' not in self.uses and 'b' not in self.uses:
            return '%s IS NOT NULL' % self.name
        if rng.random() < 0.2:
            return '%s IN (%s, %s)' % (self.name, self.typed(rng), self.typed(rng))
        return '%s %s %s' % (self.name, rng.choice(['=', '=', '<', '>=', '<>', '>']), self.typed(rng))


class Schema:
    """What the statements need to know of the table; copied where a transaction may take its DDL back."""

    def __init__(self, rng, solo, methods):
        self.columns = [Column(rng, 'c%d' % i) for i in range(rng.choice([0, 1, 2, 3, 5, 8, 12]))]
        self.key = rng.choice(['PRIMARY KEY', 'PRIMARY KEY', 'UNIQUE', '', 'PRIMARY KEY INCLUDE (v)'])
        self.solo = solo            # one session
        self.temporary = solo and rng.random() < 0.15    # which then maintains the table, too
        self.partitioned = rng.random() < 0.15
        self.mixed = rng.random() < 0.3                  # a partition is not of the access method
        self.dropped = rng.random() < 0.3                # columns are gone; a partition's have other numbers
        self.identity = not self.partitioned and rng.random() < 0.2
        self.generated = rng.random() < 0.3
        self.deferred = solo and rng.random() < 0.3      # a unique column whose check waits for the commit
        self.check = rng.random() < 0.2
        self.triggers = rng.choice(['', '', '', 'before', 'after', 'look', 'statement', 'deferred'] + ['chain', 'chain'] * solo)
        self.child = solo and self.key.startswith('PRIMARY') and rng.random() < 0.4
        self.indexes = []
        self.methods = methods      # of indexes, besides btree and hash

    def copy(self):
        other = object.__new__(Schema)
        other.__dict__.update(self.__dict__)
        other.columns, other.indexes = list(self.columns), list(self.indexes)
        return other

    def prepares(self):
        """May transactions be prepared? Not those of temporary tables, nor, since they stay beside others, such as lock
        many rows or check foreign keys."""
        return not self.temporary and not self.child and self.triggers != 'chain'

    def names(self):
        """Of the columns that values() gives values for."""
        return ['id', 'v'] + (['u'] if self.deferred else []) + [c.name for c in self.columns]

    def create(self, rng, am):
        """DDL for one arm; the same random numbers for both, so it is given a generator of its own."""
        parts = ['id int' + (' GENERATED BY DEFAULT AS IDENTITY (START 100000)' if self.identity else ''), 'v int DEFAULT 7']
        if self.generated:
            parts.append('g int GENERATED ALWAYS AS (coalesce(v, 0) % 10 + id % 3) STORED')
        if self.deferred:
            parts.append('u int' + ('' if self.partitioned else ' UNIQUE DEFERRABLE INITIALLY ' + rng.choice(['DEFERRED', 'IMMEDIATE'])))
        if self.check:
            parts.append('CHECK (v < 5000)')
        parts += ['%s %s' % (c.name, c.type) for c in self.columns]
        if self.key:
            head, _, tail = self.key.partition(' INCLUDE')
            parts.append('%s (id)%s' % (head, ' INCLUDE' + tail if tail else ''))
        if self.dropped:
            parts[1:1] = ['x1 box', 'x2 text']
            parts.append('x3 uuid')
        body = ', '.join(parts)
        create = 'CREATE %sTABLE' % ('TEMPORARY ' if self.temporary else '')
        ddl = ['DROP TABLE IF EXISTS @t_c, @t, @t_log']
        drop = ['ALTER TABLE @t DROP x1, DROP x2, DROP x3']
        if self.partitioned:
            ddl += [create + ' @t (%s) PARTITION BY RANGE (id)' % body]
            ddl += [create + ' @t_p%d PARTITION OF @t %s USING %s' % (i, bounds, 'heap' if self.mixed and i == 1 else am) for i, bounds in
                    enumerate(['FOR VALUES FROM (MINVALUE) TO (30)', 'FOR VALUES FROM (30) TO (900)', 'DEFAULT'])]
            if self.dropped:
                ddl += drop + ['DROP TABLE @t_p0', create + ' @t_p0 (x4 point, LIKE @t INCLUDING ALL) USING %s' % am, 'ALTER TABLE @t_p0 DROP x4',
                               'ALTER TABLE @t ATTACH PARTITION @t_p0 FOR VALUES FROM (MINVALUE) TO (30)']
        else:
            ddl += [create + ' @t (%s) USING %s' % (body, am)]
            if self.dropped:
                # a row that is older than the columns that stay
                ddl += ["INSERT INTO @t (id, x2, x3) VALUES (1999, 'x', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')"] + drop
        ddl += [create + ' @t_log (op text, o bigint, n bigint, x text) USING heap']
        if self.child:
            ddl += [create + ' @t_c (id int, p int REFERENCES @t ON DELETE %s ON UPDATE %s %s) USING %s' % (
                rng.choice(['CASCADE', 'SET NULL', 'RESTRICT', 'NO ACTION']), rng.choice(['CASCADE', 'SET NULL', 'NO ACTION']),
                rng.choice(['', 'DEFERRABLE INITIALLY DEFERRED']), am)]
        return ddl + self.trigger_ddl()

    def trigger_ddl(self):
        if self.triggers == 'before':
            return ['CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON @t FOR EACH ROW EXECUTE FUNCTION diff_before()']
        if self.triggers in ('after', 'look'):
            return ["CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON @t FOR EACH ROW EXECUTE FUNCTION diff_after('@t', '%s')" % self.triggers]
        if self.triggers == 'chain':
            return ["CREATE TRIGGER %s %s ON @t FOR EACH ROW EXECUTE FUNCTION diff_chain('@t')" % one
                    for one in (('x', 'AFTER INSERT OR UPDATE OR DELETE'), ('y', 'BEFORE INSERT'))]
        if self.triggers == 'deferred':
            return ["CREATE CONSTRAINT TRIGGER d AFTER INSERT OR UPDATE OR DELETE ON @t DEFERRABLE INITIALLY DEFERRED "
                    "FOR EACH ROW EXECUTE FUNCTION diff_after('@t', 'look')"]
        if self.triggers == 'statement':
            return ["CREATE TRIGGER s%d AFTER %s ON @t REFERENCING %s TABLE AS moved FOR EACH STATEMENT EXECUTE FUNCTION diff_statement('@t')" % (i, op, which)
                    for i, (op, which) in enumerate([('INSERT', 'NEW'), ('UPDATE', 'NEW'), ('DELETE', 'OLD')])]
        return []

    def index(self, rng, number):
        """DDL of a random index; unique ones are partial, on few rows."""
        by_use = {use: [c.name for c in self.columns if use in c.uses] for use in 'bhTgs'}
        keys = ['id', 'v', '(v + 1)', '(coalesce(v, 0) % 7)'] + by_use['b'] + ['md5(%s)' % n for n in by_use['T']]
        method = rng.choice(['btree'] * 6 + ['hash'] + self.methods)
        where = rng.choice(['', '', '', '', ' WHERE v > 50', ' WHERE id %% 2 = 0'.replace('%%', '%'), ' WHERE v IS NULL'])
        unique, include = '', ''
        if method == 'hash':
            parts = [rng.choice(['id', 'v'] + by_use['h'] + by_use['T'])]
        elif method == 'gin' and by_use['g']:
            parts = [rng.choice(by_use['g'])]
        elif method == 'gist' and by_use['s']:
            parts = [rng.choice(by_use['s'])]
        else:
            method = 'btree'
            parts = rng.sample(keys, rng.randrange(1, min(3, len(keys)) + 1))
            if not self.partitioned and rng.random() < 0.1:
                parts, unique, where = ['id', 'v'] + parts[:1], 'UNIQUE ', rng.choice(['', ' WHERE v > 90'])
            elif rng.random() < 0.2:
                include = ' INCLUDE (%s)' % rng.choice(['id', 'v'] + by_use['b'])
            parts = [p + rng.choice(['', '', '', ' DESC', ' NULLS FIRST']) for p in parts]
        name = '@t_i%d' % number
        if method == 'gist' and self.solo and not self.partitioned and rng.random() < 0.3 and 'range' in next(c.type for c in self.columns if c.name == parts[0]):
            return name, 'ALTER TABLE @t ADD CONSTRAINT %s EXCLUDE USING gist (%s WITH &&)%s%s' % (
                name, parts[0], where.replace('WHERE ', 'WHERE (') + (')' if where else ''), rng.choice(['', ' DEFERRABLE INITIALLY DEFERRED']))
        return name, 'CREATE %sINDEX %s ON @t USING %s (%s)%s%s' % (unique, name, method, ', '.join(parts), include, where)
