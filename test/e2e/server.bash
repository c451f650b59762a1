# For the scripts of this folder: a server of their own, and what else they need. Sourced, not run.
set -euo pipefail

: "${MAGIC_SRC:?run this test by make -C test e2e}" "${MAGIC_TMP:?}" "${PG_CONFIG:?}"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw
started=()						# what must be stopped, newest first: commands

fail() { echo "FAILED: $*" >&2; exit 1; }

stop_everything()
{
	local status=$? command
	trap - EXIT
	for command in "${started[@]}"; do
		eval "$command" >/dev/null 2>&1 || true
	done
	exit $status
}
trap stop_everything EXIT
trap 'exit 143' TERM INT

on_exit() { started=("$1" "${started[@]}"); }

# Programs that a package of scripts/install-deps.sh brings.
need()
{
	local program
	for program; do
		command -v "$program" >/dev/null || [ -e "$program" ] || {
			[ "$(id -u)" = 0 ] && "$MAGIC_SRC/scripts/install-deps.sh"
			command -v "$program" >/dev/null || [ -e "$program" ] ||
				fail "$program is missing: run scripts/install-deps.sh as root"
		}
	done
}

free_port()
{
	/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start_server LIBRARIES [LINE...]: a server with these preloaded and these lines in postgresql.conf;
# sets PGHOST, PGPORT, PGUSER and PGDATABASE for psql. It listens on 127.0.0.1 too.
start_server()
{
	local libraries=$1 data=$MAGIC_TMP/data
	shift
	PGPORT=$(free_port)
	PGHOST=$(mktemp -d /tmp/magic_e2e.XXXXXX)
	export PGPORT PGHOST PGUSER=postgres PGDATABASE=postgres
	on_exit "rm -rf '$PGHOST'"
	initdb -N -A trust -U postgres -E UTF8 --no-locale -D "$data" >"$MAGIC_TMP/initdb.log" 2>&1 ||
		{ tail -20 "$MAGIC_TMP/initdb.log"; fail initdb; }
	{
		printf '%s\n' "shared_preload_libraries = '$libraries'" "port = $PGPORT" \
			"unix_socket_directories = '$PGHOST'" "listen_addresses = '127.0.0.1'" \
			"fsync = off" "max_worker_processes = 24" "$@"
	} >>"$data/postgresql.conf"
	on_exit "pg_ctl -w -m immediate -D '$data' stop"
	pg_ctl -w -D "$data" -l "$MAGIC_TMP/server.log" start >/dev/null ||
		{ tail -20 "$MAGIC_TMP/server.log"; fail "the server did not start"; }
	sql "CREATE EXTENSION magic_fdw"
}

# One statement; prints its rows without decoration.
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"; }

# wait_for_sql SECONDS QUERY: until the query gives t.
wait_for_sql()
{
	local until=$((SECONDS + $1))
	while [ "$(sql "$2")" != t ]; do
		[ $SECONDS -lt $until ] || fail "waited $1 s for: $2"
		sleep 0.5
	done
}
