#!/bin/bash
# pg_core.sh: PostgreSQL's own regression files and isolation specs, once on heap and once with
# default_table_access_method = magic, and the two outputs compared.
#
#	test/pg_core.sh [-o FOLDER] [-k] [regress|isolation|all]
#
# Not compared with PostgreSQL's expected/: both arms run here, on the same settings. FOLDER gets
# heap/ and magic/ with the results, NAME.diff for each file that differs and `ranking`: crashes
# first, then errors that only magic raises with the number of files that show them, then the files
# by the number of lines that differ. -k keeps an arm's results that are in FOLDER already.
# Exit status: 0 if no file differs but those listed in pg_core.known, 1 otherwise.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
out=
keep=0
while getopts o:k opt; do
	case $opt in
		o) out=$OPTARG ;;
		k) keep=1 ;;
		*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
what=${1:-all}

if [ "$(id -u)" = 0 ]; then
	[ -z "$out" ] || install -d -o postgres "$out"
	exec setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql \
		"$0" ${out:+-o "$out"} $([ $keep = 1 ] && echo -k) "$what"
fi

bin=$("${PG_CONFIG:-pg_config}" --bindir)
pgxs=$(dirname "$(dirname "$("${PG_CONFIG:-pg_config}" --pgxs)")")
libdir=$("${PG_CONFIG:-pg_config}" --pkglibdir)
source=$("$root/test/tools/pg_source.sh") || exit 2
work=$(mktemp -d "${TMPDIR:-/tmp}/pg_core.XXXXXX")
out=${out:-$work/out}
mkdir -p "$out" "$work/lib"

stop() { "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1; }
trap 'stop; [ "$out" = "$work/out" ] || rm -rf "$work"' EXIT

# what the tests load: their own C functions, and two contrib modules
cp "$libdir/refint.so" "$libdir/autoinc.so" "$work/lib/"
gcc -shared -fPIC -O1 -w -I "$("${PG_CONFIG:-pg_config}" --includedir-server)" \
	-o "$work/lib/regress.so" "$source/src/test/regress/regress.c" || exit 2

# One test at a time; publications last, since what magic refuses there would leave others behind.
awk '/^test:/ { for (i = 2; i <= NF; i++) if ($i != "publication") print "test: " $i }
	END { print "test: publication" }' "$source/src/test/regress/parallel_schedule" >"$work/schedule"

start() {
	rm -rf "$work/data"
	"$bin/initdb" -D "$work/data" -U postgres -A trust --no-locale -E UTF8 --no-sync >"$work/initdb.log" || exit 2
	cat >>"$work/data/postgresql.conf" <<-CONF
		shared_preload_libraries = 'magic_fdw'
		listen_addresses = ''
		unix_socket_directories = '$work'
		fsync = off
		autovacuum = off
		max_prepared_transactions = 10
		max_worker_processes = 16
		log_line_prefix = '%m [%p] %a '
		statement_timeout = 60s
		log_statement = all
	CONF
	"$bin/pg_ctl" -D "$work/data" -l "$1" -w start >/dev/null || { cat "$1"; exit 2; }
}

database() {
	"$bin/psql" -XqAt -h "$work" -U postgres -v ON_ERROR_STOP=1 -d postgres \
		-c "CREATE DATABASE $1 TEMPLATE template0" \
		-c "ALTER DATABASE $1 SET lc_messages TO 'C'" -c "ALTER DATABASE $1 SET lc_monetary TO 'C'" \
		-c "ALTER DATABASE $1 SET lc_numeric TO 'C'" -c "ALTER DATABASE $1 SET lc_time TO 'C'" \
		-c "ALTER DATABASE $1 SET bytea_output TO 'hex'" \
		-c "ALTER DATABASE $1 SET timezone_abbreviations TO 'Default'" || exit 2
	"$bin/psql" -XqAt -h "$work" -U postgres -v ON_ERROR_STOP=1 -d "$1" \
		-c 'CREATE EXTENSION magic_fdw' \
		-c "ALTER DATABASE $1 SET default_table_access_method = $2" || exit 2
}

arm() {
	local am=$1 suite=$2 folder=$out/$1/$2
	[ $keep = 1 ] && [ -e "$folder/done" ] && return
	rm -rf "$folder"
	mkdir -p "$folder/testtablespace"
	start "$folder/server.log"
	if [ "$suite" = regress ]; then
		database regression "$am"
		"$pgxs/test/regress/pg_regress" --use-existing --dbname=regression --host="$work" --user=postgres \
			--bindir="$bin" --dlpath="$work/lib" --inputdir="$source/src/test/regress" \
			--outputdir="$folder" --schedule="$work/schedule" >"$folder/output" 2>&1
	else
		database isolation_regression "$am"
		"$pgxs/test/isolation/pg_isolation_regress" --use-existing --dbname=isolation_regression \
			--host="$work" --user=postgres --bindir="$bin" --inputdir="$source/src/test/isolation" \
			--outputdir="$folder" \
			--schedule="$source/src/test/isolation/isolation_schedule" >"$folder/output" 2>&1
	fi
	stop
	touch "$folder/done"
	tail -20 "$folder/output" | grep -E 'tests (passed|failed)'
}

# a step that waits so long is given up, not waited for five minutes
export PGISOLATIONTIMEOUT=${PGISOLATIONTIMEOUT:-20}
differs=0
for suite in regress isolation; do
	[ "$what" = all ] || [ "$what" = $suite ] || continue
	arm heap $suite
	arm magic $suite
	for result in "$out/heap/$suite/results"/*.out; do
		name=$(basename "$result" .out)
		other=$out/magic/$suite/results/$name.out
		if cmp -s "$result" "$other"; then
			rm -f "$out/$suite-$name.diff"
		else
			diff -U3 "$result" "$other" >"$out/$suite-$name.diff"
			grep -qxF "$suite/$name" "$root/test/pg_core.known" 2>/dev/null || differs=1
		fi
	done
done

{
	echo "== crashes"
	grep -hE 'PANIC|terminated by signal|TRAP:|Failed process was running' "$out"/magic/*/server.log
	echo "== errors that only magic raises, with the number of files"
	grep -hE '^\+.*(ERROR|FATAL|PANIC|server closed)' "$out"/*.diff | sed -E 's/"[^"]*"/"..."/g; s/[0-9]+/N/g; s/^\+(psql:[^ ]* )?//' |
		sort | uniq -c | sort -rn | head -60
	echo "== files, by lines that differ"
	for file in "$out"/*.diff; do
		[ -e "$file" ] && echo "$(grep -cE '^[-+]' "$file") $(basename "$file")"
	done | sort -rn
} >"$out/ranking"
echo "differences in $(ls "$out"/*.diff 2>/dev/null | wc -l) files; see $out/ranking"
exit $differs
