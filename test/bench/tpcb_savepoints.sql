-- Everything that pgbench's tpcb-like does, with parts that are rolled back at two depths. The account is changed
-- twice: then its foreign key is checked again, and the branch is locked KEY SHARE before it is updated.
\set aid random(1, 100000 * :scale)
\set bid random(1, 1 * :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta + 1 WHERE aid = :aid;
SAVEPOINT a;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + 7 WHERE tid = :tid;
SAVEPOINT b;
UPDATE pgbench_tellers SET filler = 'undone' WHERE tid = :tid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, 7, CURRENT_TIMESTAMP);
ROLLBACK TO b;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
ROLLBACK TO a;
UPDATE pgbench_accounts SET abalance = abalance - 1 WHERE aid = :aid;
SAVEPOINT c;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
RELEASE c;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
COMMIT;
