#!/bin/bash
# Spark reads a table over JDBC in two partitions while a feed moves its rows: with one exported snapshot for all
# partitions every total is right; the control reads without it and must see a torn state, else this test proves nothing.
. "$(dirname "$0")/server.bash"

spark_version=4.0.1
driver_version=42.7.7
python=$cache/spark-$spark_version/bin/python
driver=$cache/postgresql-$driver_version.jar

# PySpark and the JDBC driver, once, into the cache.
fetch()
{
	mkdir -p "$cache"
	exec 8>"$cache/.spark.lock"
	flock 8
	need java mvn
	if [ ! -e "$cache/spark-$spark_version/.complete" ]; then
		echo "fetching Spark $spark_version"
		rm -rf "$cache/spark-$spark_version"
		/usr/bin/python3 -m venv "$cache/spark-$spark_version" >"$MAGIC_TMP/pip.log" 2>&1 &&
			"$cache/spark-$spark_version/bin/pip" install "pyspark==$spark_version" >>"$MAGIC_TMP/pip.log" 2>&1 ||
			{ tail -20 "$MAGIC_TMP/pip.log"; fail "could not fetch PySpark $spark_version from PyPI"; }
		touch "$cache/spark-$spark_version/.complete"
	fi
	if [ ! -e "$driver" ]; then
		mvn -q -B dependency:copy "-Dartifact=org.postgresql:postgresql:$driver_version" \
			"-DoutputDirectory=$cache/driver" >"$MAGIC_TMP/mvn.log" 2>&1 ||
			{ tail -20 "$MAGIC_TMP/mvn.log"; fail "could not fetch the JDBC driver from Maven Central"; }
		mv "$cache/driver/postgresql-$driver_version.jar" "$driver"
	fi
	exec 8>&-
}

# A feed whose stream moves money between the accounts of bank.accounts: their sum is the same after every message.
start_feed()
{
	local fixture=$MAGIC_TMP/bank broker
	"$MAGIC_SRC/test/tools/fixture.sh" unpack "$MAGIC_SRC/test/fixtures/bank" "$fixture"
	mkfifo "$MAGIC_TMP/broker.in"
	"$MAGIC_TOOLS/mock_broker" bank:1 <"$MAGIC_TMP/broker.in" >"$MAGIC_TMP/broker.out" 2>"$MAGIC_TMP/broker.log" &
	on_exit "kill $!"
	exec 7>"$MAGIC_TMP/broker.in"
	until [ -s "$MAGIC_TMP/broker.out" ]; do kill -0 $! || fail "no broker"; sleep 0.1; done
	broker=$(head -1 "$MAGIC_TMP/broker.out")
	"$MAGIC_TOOLS/produce" --brokers "$broker" --topic bank --rate $rate "$fixture/messages.tsv" >"$MAGIC_TMP/produce.log" 2>&1 &
	producer=$!
	on_exit "kill $producer"
	sql "SELECT magic.create_feed('shop', 'kafka://$broker/bank?protocol=tidb-binlog&time_zone=UTC', apply_interval => '50 milliseconds')" >/dev/null
	wait_for_sql 60 "SELECT to_regclass('bank.accounts') IS NOT NULL"
	wait_for_sql 60 "SELECT count(*) > 0 FROM bank.accounts"
	accounts=$(wc -l <"$fixture/expected/bank.accounts.tsv")
	total=$(cut -f3 "$fixture/expected/bank.accounts.tsv" | awk '{ s += $1 * 10000 } END { printf "%d.%04d", s / 10000, s % 10000 }')
}

if [ -n "${MAGIC_LONG:-}" ]; then reads=40 rate=3; else reads=10 rate=8; fi		# messages a second, of 3,004
fetch
start_server magic_fdw
start_feed
SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON=$python timeout 960 "$python" "$(dirname "$0")/spark_read.py" \
	--driver "$driver" --url "jdbc:postgresql://127.0.0.1:$PGPORT/$PGDATABASE" --table bank.accounts \
	--column balance --key id --rows "$accounts" --total "$total" --reads $reads \
	2>"$MAGIC_TMP/spark.log" || {
	tail -30 "$MAGIC_TMP/spark.log"
	sql "TABLE magic.feeds"
	fail "Spark's reads"
}
kill -0 $producer || { cat "$MAGIC_TMP/produce.log"; fail "the stream had ended before the reads"; }
[ "$(sql "SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 'bank.accounts'::regclass")" = magic ] ||
	fail "bank.accounts is not a magic table"
# the same table as a foreign table: the same state inside one query, and no way around the feed
sql "CREATE SERVER m FOREIGN DATA WRAPPER magic_fdw OPTIONS (engine 'magic')"
sql "CREATE SCHEMA x"
sql "IMPORT FOREIGN SCHEMA bank FROM SERVER m INTO x"
for _ in 1 2 3 4 5; do
	[ "$(sql "SELECT (SELECT sum(balance) FROM x.accounts) = $total AND (SELECT count(*) FROM x.transfers) = (SELECT count(*) FROM bank.transfers)")" = t ] ||
		fail "the foreign table shows another state"
done
answer=$(sql "UPDATE x.accounts SET balance = 0 WHERE id > 0" 2>&1) && fail "a feed's table was changed through a foreign table"
[[ $answer == *"It follows a TiDB table"* ]] || fail "a change through the foreign table: $answer"

sql "SELECT format('feed: %s, %s rows applied, %s applies', state, rows_applied, applies) FROM magic.feeds"
echo "ok: Spark $spark_version read right totals while the feed moved rows"
