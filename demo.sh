#!/bin/bash
# Watch a columnar PostgreSQL table follow a recorded TiDB workload, live and exactly.
#
# usage: demo.sh [--kafka] [--keep]
#
#	--kafka		a real Kafka broker in place of librdkafka's embedded one
#	--keep		leave server and broker running at the end and print how to connect
#
# On a bare Debian 12, as root: installs what is missing, builds, starts a private PostgreSQL server and
# a broker in a temporary directory, plays the recorded stream `bank` into a topic and creates a feed.
# Once a second it shows what a reader sees. On the way the apply interval is changed and the worker is
# killed with -9. At the end every row of every table is compared with what TiDB had.
# Exit status 0 only if all was equal. Touches neither other servers nor the machine's PostgreSQL.
set -euo pipefail

top=$(cd "$(dirname "$0")" && pwd)
kafka=
keep=
for option; do
	case $option in
		--kafka) kafka=1 ;;
		--keep) keep=1 ;;
		*) sed -n '4,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
done

rate=110					# messages a second: 3,004 messages in 27 s
interval_first='1 second'
interval_second='100 milliseconds'
interval_at=8				# seconds after the start
kill_at=15

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
fail() { printf '\ndemo.sh: %s\n' "$*" >&2; exit 1; }

# Become a program as the user that runs everything: PostgreSQL refuses to run as root. In the background
# ("exec_user ... &") $! is then the program's own process id, not that of a shell around it.
exec_user()
{
	cd "$tmp"
	[ "$(id -u)" = 0 ] || exec "$@"
	exec setpriv --reuid postgres --regid postgres --init-groups \
		env HOME="$(getent passwd postgres | cut -d: -f6)" "$@"
}

as_user() { (exec_user "$@"); }

sql() { as_user psql -h "$tmp/socket" -p "$port" -U postgres -d postgres -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"; }

prepare()
{
	"$top/scripts/install-deps.sh"
	tmp=$(mktemp -d /tmp/magic_demo.XXXXXX)
	chmod 755 "$tmp"
	say "building in $tmp"
	make -s -C "$top/test/tools" OUT="$tmp/bin" >"$tmp/build.log" 2>&1 ||
		{ tail -30 "$tmp/build.log"; fail 'could not build the tools'; }
	pg_config=$("$top/test/tools/private_tree.sh" "$tmp/pg" "${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}")
	mkdir "$tmp/src"
	cp -a "$top/Makefile" "$top/magic_fdw.control" "$top/magic_fdw" "$top/ingest_worker" "$tmp/src/"
	make -s -j"$(nproc)" -C "$tmp/src" PG_CONFIG="$pg_config" install \
		>>"$tmp/build.log" 2>&1 || { tail -30 "$tmp/build.log"; fail 'could not build'; }
	PATH=$("$pg_config" --bindir):$PATH
	"$top/test/tools/fixture.sh" unpack "$top/test/fixtures/bank" "$tmp/bank"
	cp "$top"/test/tools/*.sh "$top"/test/tools/*.py "$tmp/bin/"
	mkdir "$tmp/socket"
	[ "$(id -u)" != 0 ] || chown -R postgres:postgres "$tmp"
	last_ts=$(tail -1 "$tmp/bank/messages.tsv" | cut -f1)
	messages=$(wc -l < "$tmp/bank/messages.tsv")
}

start_server()
{
	port=$(as_user /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	as_user initdb -D "$tmp/data" -U postgres -A trust -N -E UTF8 --no-locale >"$tmp/initdb.log" ||
		fail "initdb failed, see $tmp/initdb.log"
	as_user tee -a "$tmp/data/postgresql.conf" >/dev/null <<-CONF
		shared_preload_libraries = 'magic_fdw'
		max_worker_processes = 16
		fsync = off
		unix_socket_directories = '$tmp/socket'
		listen_addresses = ''
		port = $port
	CONF
	as_user pg_ctl -s -w -D "$tmp/data" -l "$tmp/server.log" start ||
		{ tail -20 "$tmp/server.log"; fail 'the server did not start'; }
	sql 'CREATE EXTENSION magic_fdw'
	say "PostgreSQL $(sql 'SHOW server_version') in $tmp/data"
}

start_broker()
{
	local i
	if [ -n "$kafka" ]; then
		as_user "$tmp/bin/kafka.sh" start "$tmp/kafka" >"$tmp/broker" || fail 'Kafka did not start'
		say "Kafka at $(cat "$tmp/broker")"
	else
		exec_user "$tmp/bin/mock_broker" bank:1 >"$tmp/broker" 2>"$tmp/broker.log" </dev/null &
		broker_pid=$!
		for ((i = 0; i < 100; i++)); do [ -s "$tmp/broker" ] && break; sleep 0.05; done
		[ -s "$tmp/broker" ] || fail 'the embedded broker did not start'
		say "embedded broker at $(cat "$tmp/broker")"
	fi
	broker=$(cat "$tmp/broker")
}

stop_all()
{
	local status=$?
	set +e
	[ -n "${producer_pid:-}" ] && kill "$producer_pid" 2>/dev/null
	if [ -n "$keep" ] && [ -n "${reached_end:-}" ]; then
		exit "$status"
	fi
	[ -d "${tmp:-}/data" ] && as_user pg_ctl -s -m fast -D "$tmp/data" stop
	[ -n "${broker_pid:-}" ] && kill "$broker_pid" 2>/dev/null
	[ -d "${tmp:-}/kafka" ] && as_user "$tmp/bin/kafka.sh" kill "$tmp/kafka"
	if [ "$status" = 0 ]; then
		rm -rf "${tmp:-}"
	elif [ -n "${tmp:-}" ]; then
		say "what is left of it: $tmp (server.log there)" >&2
	fi
	exit "$status"
}

# What a reader sees, in one statement and so in one snapshot.
line_sql="
SELECT format('%-10s|%s|%s|%s|%s|%s|%s', f.state, a.n, t.n, coalesce(a.sum, 0),
              coalesce(round(extract(epoch FROM f.delivery_lag) * 1000), 0),
              f.apply_interval, coalesce(f.applied_ts, 0))
  FROM magic.feeds f,
       (SELECT count(*) AS n, sum(balance) FROM bank.accounts) a,
       (SELECT count(*) AS n FROM bank.transfers) t
 WHERE f.name = 'bank'"

# Show one line; sets applied. A server that restarts after the kill is no error.
show_line()
{
	local line state accounts transfers sum lag interval
	if ! line=$(sql "$line_sql" 2>"$tmp/show.err"); then
		grep -q 'does not exist' "$tmp/show.err" && printf '%4ds  the tables are not there yet\n' "$1" ||
			printf '%4ds  (the server restarts its processes)\n' "$1"
		return 0
	fi
	IFS='|' read -r state accounts transfers sum lag interval applied <<<"$line"
	printf '%4ds  %-10s %8s %10s %16s %12s  %s\n' "$1" "$state" "$accounts" "$transfers" "$sum" "$lag" "$interval"
	[ "${state%% *}" != error ] ||
		fail "the feed stopped: $(sql "SELECT concat_ws(E'\n', last_error, last_error_detail, last_error_hint) FROM magic.feeds")"
	if [ "$accounts" != 0 ]; then
		[ "$sum" = "$expected_sum" ] || fail "the sum of all balances is $sum, not $expected_sum"
		sums=$((sums + 1))
	fi
	case $interval in
		00:00:01) seen_first=1 ;;
		00:00:00.1) seen_second=1 ;;
	esac
}

kill_worker()
{
	local pid
	pid=$(sql "SELECT worker_pid FROM magic.feeds WHERE name = 'bank'")
	[ -n "$pid" ] || fail 'the feed has no worker to kill'
	say "       kill -9 $pid, the worker"
	as_user kill -KILL "$pid"
	killed=$pid
}

play()
{
	local second start now
	exec_user "$tmp/bin/produce" --brokers "$broker" --topic bank --rate $rate "$tmp/bank/messages.tsv" \
		>"$tmp/produce.log" 2>&1 &
	producer_pid=$!
	printf '       %-10s %8s %10s %16s %12s  %s\n' state accounts transfers 'sum(balance)' 'lag, ms' interval
	start=$(date +%s%N)
	for ((second = 1; second <= 100; second++)); do
		now=$((($(date +%s%N) - start) / 1000000))
		[ $now -ge $((second * 1000)) ] || sleep "$(printf '0.%03d' $((second * 1000 - now > 999 ? 999 : second * 1000 - now)))"
		show_line $second
		if [ $second = $interval_at ]; then
			say "       SELECT magic.set_interval('bank', '$interval_second')"
			sql "SELECT magic.set_interval('bank', '$interval_second')" >/dev/null
		fi
		[ $second != $kill_at ] || kill_worker
		if [ "${applied:-0}" -ge "$last_ts" ] && [ $second -gt $kill_at ]; then
			break
		fi
	done
	wait "$producer_pid" || fail "the producer failed: $(cat "$tmp/produce.log")"
	producer_pid=
	[ "$(sql "SELECT magic.wait_for('bank', $last_ts, '60 seconds')")" = t ] ||
		fail 'the feed did not reach the end of the recording'
}

trap stop_all EXIT
trap 'exit 130' INT TERM

step 'Preparing'
prepare
start_server
start_broker

step "Playing $messages recorded messages of Drainer into topic bank"
expected_sum=$(/usr/bin/python3 -c '
import decimal, sys
columns = [line.split("\t")[0] for line in open(sys.argv[1] + ".columns") if not line.startswith("#")]
print(sum(decimal.Decimal(line.split("\t")[columns.index("balance")]) for line in open(sys.argv[1] + ".tsv")))
' "$tmp/bank/expected/bank.accounts")
sums=0
create="SELECT magic.create_feed('bank', 'kafka://$broker/bank?protocol=tidb-binlog&time_zone=UTC', apply_interval => '$interval_first')"
say "$create"
sql "$create" >/dev/null
play

step 'Comparing with what TiDB had'
as_user /usr/bin/python3 "$tmp/bin/fixture.py" compare "$tmp/bank" \
	--connect "host=$tmp/socket port=$port user=postgres dbname=postgres" ||
	fail 'the tables differ from what TiDB had'
[ -n "${seen_first:-}" ] && [ -n "${seen_second:-}" ] || fail 'the change of the interval was not seen'
[ -n "${killed:-}" ] && [ "$(sql "SELECT worker_pid <> $killed FROM magic.feeds WHERE name = 'bank'")" = t ] ||
	fail 'the worker was not replaced after the kill'
[ $sums -gt 5 ] || fail 'the sum was seen too seldom'
say "the sum was $expected_sum in each of $sums looks; the worker was killed once; all rows are equal"

reached_end=1
if [ -n "$keep" ]; then
	cat <<-HOW

		Left running. To connect:
		  psql -h $tmp/socket -p $port -U postgres postgres
		To stop it and remove it:
		  su postgres -c '$(command -v pg_ctl) -D $tmp/data stop'; ${broker_pid:+kill $broker_pid; }${kafka:+$tmp/bin/kafka.sh stop $tmp/kafka; }rm -rf $tmp
	HOW
fi
