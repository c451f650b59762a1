-- What the planner takes a sequential scan of a small table for: it begins with the metadata, so one row of twenty
-- is looked up by its key, before and after there are statistics. All rows are scanned, and so is a table without any.
CREATE TABLE plan_small (id int PRIMARY KEY, v int) USING magic;
EXPLAIN (COSTS OFF) SELECT v FROM plan_small;
INSERT INTO plan_small SELECT g, g FROM generate_series(1, 20) g;
EXPLAIN (COSTS OFF) UPDATE plan_small SET v = 0 WHERE id = 7;
EXPLAIN (COSTS OFF) SELECT v FROM plan_small WHERE v = 7;
ANALYZE plan_small;
EXPLAIN (COSTS OFF) UPDATE plan_small SET v = 0 WHERE id = 7;
EXPLAIN (COSTS OFF) SELECT v FROM plan_small WHERE v = 7;
EXPLAIN (COSTS OFF) SELECT count(*) FROM plan_small;
-- two of them are joined by scans, not by twenty lookups
EXPLAIN (COSTS OFF) SELECT a.v FROM plan_small a JOIN plan_small b USING (id);
DROP TABLE plan_small;
