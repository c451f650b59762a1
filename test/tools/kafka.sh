#!/bin/bash
# A real Kafka broker (KRaft, one node) on free ports, in a directory of the caller's own.
#
# usage: kafka.sh fetch           download what is missing into the cache; prints the jars' directory
#        kafka.sh start DIR       format DIR when it is new, start, wait until ready; prints HOST:PORT
#        kafka.sh stop DIR        stop in order
#        kafka.sh kill DIR        kill -9
#        kafka.sh freeze|thaw DIR SIGSTOP, SIGCONT
#
# A directory keeps its ports, so a killed broker starts again under the same address with its data.
# The jars come from Maven Central once and are kept in ${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw.
# KAFKA_HEAP (default 384m): 200 MB messages need 1g.
set -euo pipefail

version=3.9.1
scala=2.13
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw
jars=$cache/kafka-$version

fail() { echo "kafka.sh: $*" >&2; exit 1; }

fetch()
{
	[ -d "$jars" ] && return
	mkdir -p "$cache"
	exec 8>"$cache/.kafka.lock"
	flock 8
	[ -d "$jars" ] && return
	command -v mvn >/dev/null || fail "maven is missing: run scripts/install-deps.sh"
	local work
	work=$(mktemp -d "$cache/kafka.XXXXXX")
	cat > "$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>magic_fdw</groupId><artifactId>kafka-broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_$scala</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
	(cd "$work" && mvn -q -B dependency:copy-dependencies -DoutputDirectory="$work/lib" >"$work/log" 2>&1) ||
		{ tail -20 "$work/log" >&2; fail "could not fetch Kafka $version from Maven Central"; }
	mv "$work/lib" "$jars"
	rm -rf "$work"
}

free_ports()
{
	/usr/bin/python3 - "$1" <<'PY'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(('127.0.0.1', 0))
print(*[s.getsockname()[1] for s in held])
PY
}

configure()
{
	local dir=$1 port controller
	read -r port controller < <(free_ports 2)
	mkdir -p "$dir/data"
	echo "$port" > "$dir/port"
	cat > "$dir/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$dir/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
message.max.bytes=1073741824
socket.request.max.bytes=1073741824
replica.fetch.max.bytes=1073741824
CONF
	local id
	id=$(java -Xmx128m -cp "$jars/*" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -1)
	java -Xmx128m -cp "$jars/*" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" \
		>"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; fail "could not format $dir"; }
}

alive() { [ -s "$1/pid" ] && kill -0 "$(cat "$1/pid")" 2>/dev/null; }

wait_gone()
{
	local i
	for ((i = 0; i < 300; i++)); do
		alive "$1" || { rm -f "$1/pid"; return 0; }
		sleep 0.1
	done
	return 1
}

start()
{
	local dir=$1 i
	fetch
	alive "$dir" && fail "a broker runs in $dir already"
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	[ -f "$dir/server.properties" ] || configure "$dir"
	setsid java "-Xmx${KAFKA_HEAP:-384m}" -cp "$jars/*" kafka.Kafka "$dir/server.properties" \
		>"$dir/log" 2>&1 </dev/null 8>&- &
	echo $! > "$dir/pid"
	for ((i = 0; i < 600; i++)); do
		grep -q 'Kafka Server started' "$dir/log" && { echo "127.0.0.1:$(cat "$dir/port")"; return; }
		alive "$dir" || { tail -20 "$dir/log" >&2; fail "the broker in $dir ended"; }
		sleep 0.1
	done
	fail "the broker in $dir was not ready in 60 s"
}

action=${1:-}
dir=${2:-}
[ "$action" = fetch ] || [ -n "$dir" ] || fail "usage: kafka.sh fetch | start|stop|kill|freeze|thaw DIR"
case $action in
	fetch) fetch; echo "$jars" ;;
	start) start "$dir" ;;
	stop) alive "$dir" || exit 0
		kill -TERM "$(cat "$dir/pid")"
		wait_gone "$dir" || { kill -KILL "$(cat "$dir/pid")"; wait_gone "$dir"; } ;;
	kill) alive "$dir" || exit 0; kill -KILL "$(cat "$dir/pid")"; wait_gone "$dir" ;;
	freeze) kill -STOP "$(cat "$dir/pid")" ;;
	thaw) kill -CONT "$(cat "$dir/pid")" ;;
	*) fail "unknown action $action" ;;
esac
