\echo Use "CREATE EXTENSION api_test" to load this file. \quit

-- Writes one batch: the rows of two queries (NULL = none), whose columns are those of the table. The key
-- columns are attribute numbers; none = rows are matched whole.
CREATE FUNCTION api_write(rel regclass, key int2[], deletes text, inserts text,
	OUT inserted bigint, OUT deleted bigint, OUT missing bigint, OUT conflicts bigint)
LANGUAGE c AS 'MODULE_PATHNAME', 'api_test_write';

CREATE FUNCTION api_truncate(rel regclass) RETURNS bigint
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'api_test_truncate';

-- Scans columns of the rows where `condition` compares with `value`; compare: = < <= >= > null notnull.
CREATE FUNCTION api_scan(rel regclass, columns int2[], condition int, compare text, value text)
RETURNS SETOF text LANGUAGE c AS 'MODULE_PATHNAME', 'api_test_scan';

-- Starts writing for a feed in this transaction: the fence against a second writer.
CREATE FUNCTION api_begin(feed_id int) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'api_test_begin';

-- Fills the free lines of compaction.h with databases that do not exist and have no work; returns how many.
CREATE FUNCTION fill_compaction_lines() RETURNS int
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'api_test_fill_compaction_lines';

-- How many of those there are.
CREATE FUNCTION made_up_compaction_lines() RETURNS int
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'api_test_made_up_compaction_lines';

CREATE FUNCTION api_find_engine(name text) RETURNS text
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'api_test_find_engine';

-- From now on this session's transactions wait at their commit, when others see them already and the engine has not
-- told of it, as long as the file exists (a minute at most).
CREATE FUNCTION api_hold_commit(path text) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'api_test_hold_commit';
