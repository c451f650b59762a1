#!/bin/bash
# engine.sh: the engine's SQL and isolation tests on a private server.
#
#   test/engine.sh [-a heap|magic] [-o FOLDER] [regress|isolation|all] [NAME...]
#
# Heap is the oracle: every test whose name does not begin with `magic` must give the same output on
# heap and on magic, except for the alternatives NAME_1.out, whose reason the test file states. The
# tests choose no access method; -a does (default: magic).
# Results and differences go to FOLDER (default: a temporary one, removed if all passed).
# PG_CONFIG names the installation to test; magic_fdw must be installed in it.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
am=magic
out=
while getopts a:o: opt; do
	case $opt in
		a) am=$OPTARG ;;
		o) out=$OPTARG ;;
		*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
what=${1:-all}
[ $# -gt 0 ] && shift

bin=$("${PG_CONFIG:-pg_config}" --bindir)
pgxs=$(dirname "$("${PG_CONFIG:-pg_config}" --pgxs)")
work=$(mktemp -d "${TMPDIR:-/tmp}/engine.XXXXXX")
keep=0
[ -n "$out" ] && keep=1
out=${out:-$work/out}
mkdir -p "$out/regress" "$out/isolation"

as_user() { "$@"; }
if [ "$(id -u)" = 0 ]; then
	chown postgres "$work" "$out" "$out/regress" "$out/isolation"
	as_user() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
fi

stop() {
	as_user "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1
	[ $keep = 1 ] && cp "$work/log" "$out/server.log" 2>/dev/null
	[ "${failed:-1}" = 0 ] && rm -rf "$work"
}
trap stop EXIT

cd "$work" || exit 2
as_user "$bin/initdb" -D data -U postgres -A trust --no-locale -E UTF8 --no-sync >initdb.log || exit 2
cat >>data/postgresql.conf <<-CONF
	shared_preload_libraries = 'magic_fdw'
	listen_addresses = ''
	unix_socket_directories = '$work'
	fsync = off
	max_prepared_transactions = 10
	autovacuum = off
	timezone = 'UTC'
	log_line_prefix = '%m [%p] %a '
CONF
as_user "$bin/pg_ctl" -D data -l log -w start >/dev/null || { cat log; exit 2; }

export PGHOST=$work PGUSER=postgres
prepare() {
	"$bin/psql" -Xqd postgres -c "CREATE DATABASE $1 TEMPLATE template0" &&
		"$bin/psql" -Xqd "$1" -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION magic_fdw' \
			-f "$root/test/engine_setup.sql" || exit 2
}

# In heap runs the tests of what only magic has are left out.
choose() {
	local folder=$1 suffix=$2 name
	shift 2
	[ $# -gt 0 ] || set -- $(cd "$folder" && ls | sed -n "s/\.$suffix\$//p")
	for name; do
		case $suffix:$name in
			*:engine_magic_* | *:magic-*) [ "$am" = magic ] && echo "$name" ;;
			*:engine_* | spec:*) echo "$name" ;;
		esac
	done
}

# a step that waits so long is given up, not waited for five minutes
export PGISOLATIONTIMEOUT=${PGISOLATIONTIMEOUT:-30}
export PGOPTIONS="-c default_table_access_method=$am"
failed=0
# pg_regress writes only below its output folder; expected/ and sql/ are read where they are.
if [ "$what" = regress ] || [ "$what" = all ]; then
	PGOPTIONS= prepare regression
	as_user "$pgxs/../test/regress/pg_regress" --use-existing --dbname=regression --bindir="$bin" \
		--inputdir="$root" --outputdir="$out/regress" $(choose "$root/sql" sql "$@") || failed=1
fi
if [ "$what" = isolation ] || [ "$what" = all ]; then
	PGOPTIONS= prepare isolation
	as_user "$pgxs/../test/isolation/pg_isolation_regress" --use-existing --dbname=isolation \
		--bindir="$bin" --inputdir="$root/test/isolation" --outputdir="$out/isolation" \
		$(choose "$root/test/isolation/specs" spec "$@") || failed=1
fi
if [ $failed = 1 ]; then
	echo "differences: $(ls "$out"/*/regression.diffs 2>/dev/null | xargs); server log: $work/log" >&2
	grep -E 'PANIC|terminated by signal|TRAP' log >&2
fi
exit $failed
