#!/bin/bash
# pg_core.sh: PostgreSQL's own regression files and isolation specs, once on heap and once with
# default_table_access_method = magic, and the two outputs compared.
#
#	test/pg_core.sh [-a] [-k] [-o FOLDER] [-c SETTING]... [regress|isolation|all] [SPEC...]
#
# Both arms run on the same settings, at the same time, each on a server of its own. Plans and the order of
# unordered rows are no difference; every other line must be the same or stand in pg_core/SUITE/NAME.diff,
# with a reason that pg_core/reasons explains (pg_core/compare.py). So is heap's output compared with
# PostgreSQL's expected one, in suites heap-regress and heap-isolation: the library disturbs no heap table.
#
# -a	accept what differs: writes those files anew; reasons of hunks that stay are kept, new hunks whose
#		lines do not tell the reason get TODO, with which they fail until a reason is written in
# -k	keep results that are in FOLDER from an earlier run: compare only
# -o	FOLDER for the results: ARM/SUITE/results, ARM/SUITE/server.log, SUITE/NAME.wrong
# -c	another line for both servers' postgresql.conf, as `jit_above_cost = 0`: other plans
#
# Prints "ok|FAILED SUITE/NAME" for each file. Exit status: 0 if none failed.
# No spec can hang: a step that waits too long is cancelled and shows in the output; statements have a
# time limit, and so has an arm. What differs is run again (a spec three times at most, all regression
# files twice), so that a busy machine fails nothing.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
out=
keep=0
accept=
settings=()
while getopts ako:c: opt; do
	case $opt in
		c) settings+=("$OPTARG") ;;
		a) accept=--accept ;;
		k) keep=1 ;;
		o) out=$OPTARG ;;
		*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
what=${1:-all}
[ $# -gt 0 ] && shift
specs=$*

if [ "$(id -u)" = 0 ] && [ -z "${PG_CORE_ARMS:-}" ]; then
	# the tests run as postgres, who may be unable to write to the checkout: the comparison is root's
	top=$(mktemp -d "${TMPDIR:-/tmp}/pg_core.XXXXXX")
	out=${out:-$top}
	install -d -o postgres "$out"
	[ $keep = 1 ] ||
		setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql \
			"$0" ${accept:+-a} "${settings[@]/#/-c}" -o "$out" "$what" $specs >"$top/arms" 2>&1
	PG_CORE_ARMS=done "$0" -k -o "$out" ${accept:+-a} "$what" $specs
	status=$?
	# what a failed run wrote is kept
	if [ "$out" = "$top" ] && [ $status != 0 ]; then
		echo "the results are in $out" >&2
	else
		rm -rf "$top"
	fi
	exit $status
fi

bin=$("${PG_CONFIG:-pg_config}" --bindir)
pgxs=$(dirname "$(dirname "$("${PG_CONFIG:-pg_config}" --pgxs)")")
libdir=$("${PG_CONFIG:-pg_config}" --pkglibdir)
work=$(mktemp -d "${TMPDIR:-/tmp}/pg_core.XXXXXX")
out=${out:-$work/out}
mkdir -p "$out" "$work/lib"

stop() { [ ! -e "$work/$1/data" ] || "$bin/pg_ctl" -D "$work/$1/data" -m immediate stop >/dev/null 2>&1; }
clean() {
	stop heap
	stop magic
	[ "$out" = "$work/out" ] && [ "$failed" = 1 ] || rm -rf "$work"
}
failed=1
trap clean EXIT

start() {
	local home=$work/$1
	mkdir -p "$home"
	"$bin/initdb" -D "$home/data" -U postgres -A trust --no-locale -E UTF8 --no-sync >"$home/initdb.log" || return
	cat >>"$home/data/postgresql.conf" <<-CONF
		shared_preload_libraries = 'magic_fdw'
		listen_addresses = ''
		unix_socket_directories = '$home'
		fsync = off
		autovacuum = off
		max_prepared_transactions = 10
		max_worker_processes = 16
		log_line_prefix = '%m [%p] %a '
		jit = off
		statement_timeout = 120s
		log_statement = all
	CONF
	printf '%s\n' "${settings[@]}" >>"$home/data/postgresql.conf"
	"$bin/pg_ctl" -D "$home/data" -l "$2" -w start >/dev/null || { cat "$2" >&2; return 1; }
}

# The database of a suite, as pg_regress makes it, and with the extension.
database() {
	local arm=$1 name=$2 setting
	local psql=("$bin/psql" -XqAt -h "$work/$arm" -U postgres -v ON_ERROR_STOP=1)
	"${psql[@]}" -d postgres -c "CREATE DATABASE $name TEMPLATE template0" || return
	for setting in "lc_messages TO 'C'" "lc_monetary TO 'C'" "lc_numeric TO 'C'" "lc_time TO 'C'" \
		"bytea_output TO 'hex'" "timezone_abbreviations TO 'Default'"; do
		"${psql[@]}" -d postgres -c "ALTER DATABASE $name SET $setting" || return
	done
	"${psql[@]}" -d "$name" -c 'CREATE EXTENSION magic_fdw' \
		-c "ALTER DATABASE $name SET default_table_access_method = $arm"
}

# run_arm ARM SUITE [SPEC...]: results to $out/ARM/SUITE. With specs: only those, again.
run_arm() {
	local arm=$1 suite=$2 folder=$out/$1/$2 again=
	shift 2
	[ -e "$folder/results" ] && [ $# -gt 0 ] && again=.again
	[ -n "$again" ] || rm -rf "$folder"
	rm -rf "$work/$arm"
	mkdir -p "$folder$again/testtablespace"
	start "$arm" "$folder/server.log$again" || return
	if [ "$suite" = regress ]; then
		database "$arm" regression || return
		timeout -k 10 900 "$pgxs/test/regress/pg_regress" --use-existing --dbname=regression \
			--host="$work/$arm" --user=postgres --bindir="$bin" --dlpath="$work/lib" \
			--inputdir="$work/regress" --outputdir="$folder" --schedule="$work/schedule" \
			>"$folder/output" 2>&1
	else
		database "$arm" isolation_regression || return
		[ $# -gt 0 ] || set -- --schedule="$source/src/test/isolation/isolation_schedule"
		timeout -k 10 900 "$pgxs/test/isolation/pg_isolation_regress" --use-existing \
			--dbname=isolation_regression --host="$work/$arm" --user=postgres --bindir="$bin" \
			--inputdir="$source/src/test/isolation" --outputdir="$folder$again" "$@" \
			>"$folder$again/output" 2>&1
		[ -z "$again" ] || cp "$folder$again"/results/*.out "$folder/results/"
	fi
	stop "$arm"
	grep -HE 'PANIC|terminated by signal|TRAP:' "$folder"/server.log* | sed 's/^/crash: /'
	return 0
}

run_both() {
	local heap
	run_arm heap "$@" &
	heap=$!
	run_arm magic "$@" || echo "cannot run $1 on magic"
	wait $heap || echo "cannot run $1 on heap"
}

compare() {
	"$root/test/pg_core/compare.py" "$@" "$out/heap/$suite/results" "$out/magic/$suite/results" \
		"$root/test/pg_core/$suite" "$out/$suite"
}

# The heap arm with PostgreSQL's expected output: what is loaded here must not disturb other tables.
compare_expected() {
	"$root/test/pg_core/compare.py" "$@" --expected "$(cat "$out/source")/src/test/$suite/expected" \
		"$out/heap/$suite/results" "$root/test/pg_core/heap-$suite" "$out/heap-$suite"
}

# report SUITE: counts and differences of $out/SUITE.report
report() {
	local name
	sed -E "s,^(ok|FAILED) +,&$1/," "$out/$1.report"
	for name in $(awk '$1 == "FAILED" { print $2 }' "$out/$1.report"); do
		echo "--- $1/$name"
		head -${PG_CORE_LINES:-60} "$out/$1/$name.wrong"
	done
}

if [ $keep = 0 ]; then
	source=$("$root/test/tools/pg_source.sh") || exit 2
	# what the tests load: their own C functions, and two contrib modules
	cp "$libdir/refint.so" "$libdir/autoinc.so" "$work/lib/"
	gcc -shared -fPIC -O1 -w -I "$("${PG_CONFIG:-pg_config}" --includedir-server)" \
		-o "$work/lib/regress.so" "$source/src/test/regress/regress.c" || exit 2
	mkdir -p "$work/regress/sql"
	ln -s "$source/src/test/regress"/{data,expected} "$work/regress/"
	"$root/test/pg_core/end_copies.py" "$source/src/test/regress" "$work/regress/sql" || exit 2
	echo "$source" >"$out/source"
	# One test at a time; publications last, since what magic refuses there would leave others behind.
	awk '/^test:/ { for (i = 2; i <= NF; i++) if ($i != "publication") print "test: " $i }
		END { print "test: publication" }' "$source/src/test/regress/parallel_schedule" >"$work/schedule"
fi

failed=0
for suite in regress isolation; do
	[ "$what" = all ] || [ "$what" = $suite ] || continue
	if [ $keep = 0 ]; then
		# a step that waits so long is given up, not waited for five minutes
		PGISOLATIONTIMEOUT=$([ -n "$accept" ] && echo 10 || echo 2) run_both $suite $specs >"$out/$suite.crashes"
		for attempt in 1 2; do
			again=$(compare ${specs:+--only "${specs// /,}"} | awk '$1 == "FAILED" { print $2 }')
			[ -n "$again" ] && [ -z "$accept" ] || break
			if [ $suite = isolation ]; then
				PGISOLATIONTIMEOUT=10 run_both $suite $again >>"$out/$suite.crashes"
			elif [ $attempt = 1 ]; then
				# these files build on each other
				run_both $suite >>"$out/$suite.crashes"
			fi
		done
	fi
	compare $accept ${specs:+--only "${specs// /,}"} >"$out/$suite.report" || failed=1
	report $suite
	compare_expected $accept ${specs:+--only "${specs// /,}"} >"$out/heap-$suite.report" || failed=1
	report heap-$suite
	if [ -s "$out/$suite.crashes" ]; then
		cat "$out/$suite.crashes"
		echo "FAILED $suite/(server)"
		failed=1
	fi
done
exit $failed
