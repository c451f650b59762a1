#!/bin/bash
# Spark reads a table over JDBC in two partitions while its rows move: with one exported snapshot for all partitions every
# total is right; the control reads without it and must see a torn state, else this test proves nothing.
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

# Accounts whose balances always sum up to 10 million, and a session that moves money between far ends of the table.
start_writer()
{
	psql -X -q -v ON_ERROR_STOP=1 <<'SQL'
CREATE SCHEMA bank;
CREATE TABLE bank.accounts (id int PRIMARY KEY, balance numeric(15,2) NOT NULL, owner text NOT NULL) WITH (fillfactor = 30);
INSERT INTO bank.accounts SELECT i, 1000, repeat(md5(i::text), 10) FROM generate_series(1, 10000) i;
ANALYZE bank.accounts;
CREATE PROCEDURE bank.move() LANGUAGE plpgsql AS $$
DECLARE
	a int;
	b int;
BEGIN
	LOOP
		a := 1 + floor(random() * 5000);
		b := 5001 + floor(random() * 5000);
		UPDATE bank.accounts SET balance = balance + CASE WHEN id = a THEN 100 ELSE -100 END WHERE id IN (a, b);
		COMMIT;
	END LOOP;
END
$$;
SQL
	psql -X -q -c 'CALL bank.move()' >"$MAGIC_TMP/writer.log" 2>&1 &
	on_exit "kill $!"
	writer=$!
}

[ -n "${MAGIC_LONG:-}" ] && reads=100 || reads=10
fetch
start_server magic_fdw
start_writer
SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON=$python timeout 300 "$python" "$(dirname "$0")/spark_read.py" \
	--driver "$driver" --url "jdbc:postgresql://127.0.0.1:$PGPORT/$PGDATABASE" --table bank.accounts --column balance --key id --middle 5000 \
	--rows 10000 --total 10000000.00 --reads "$reads" 2>"$MAGIC_TMP/spark.log" || {
	tail -30 "$MAGIC_TMP/spark.log"
	fail "Spark's reads"
}
kill -0 "$writer" || { cat "$MAGIC_TMP/writer.log"; fail "the writer had ended"; }
echo "ok: Spark $spark_version read right totals while rows moved"
