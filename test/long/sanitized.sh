#!/bin/bash
# On a PostgreSQL with assertions, AddressSanitizer and UndefinedBehaviorSanitizer, the libraries built the
# same way: the SQL and isolation tests, random statements, crashes, a standby, feeds. A finding ends the
# process that makes it and stands in the server's log.
# Arguments: the suites and tests to run instead, as those of run.py.
set -uo pipefail

pg_config=$("$MAGIC_SRC/test/tools/pg_sanitized.sh") || exit 1
prefix=${pg_config%/bin/pg_config}
tree=$MAGIC_TMP/tree
out=$MAGIC_TMP/results

# a tree of its own: another run may use the one in the cache
mkdir -p "$tree"
cp -rL "$prefix/bin" "$tree/bin"
cp -rs "$prefix/lib" "$prefix/share" "$prefix/include" "$tree/"
# the expected output is that of Debian's psql, which is newer than the source that can be had
cp -L "$("$PG_CONFIG" --bindir)/psql" "$tree/bin/psql"
export PG_CONFIG=$tree/bin/pg_config
# a process is forked, never cleaned up: what it has not freed is no leak
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=16
export UBSAN_OPTIONS=print_stacktrace=1
# the sizes of make check: everything takes several times as long here
unset MAGIC_LONG

cp -r "$MAGIC_SRC" "$MAGIC_TMP/src"
cd "$MAGIC_TMP/src" || exit 1
find . '(' -name '*.o' -o -name '*.so' ')' -delete
# with sanitizers -O3 takes minutes to compile
export KERNEL_CFLAGS=
make -s -j2 install PG_CONFIG="$PG_CONFIG" || exit 1
for module in api_test pack_test; do	# those that tests use
	make -s -j2 -C test/modules/$module install PG_CONFIG="$PG_CONFIG" || exit 1
done

# first of all: is what should be found found?
mkdir "$MAGIC_TMP/proof"
cat >"$MAGIC_TMP/proof/wrong.c" <<-'C'
	#include "postgres.h"
	#include "fmgr.h"
	#include "storage/bufmgr.h"
	#include "utils/rel.h"
	#include "access/table.h"
	PG_MODULE_MAGIC;
	PG_FUNCTION_INFO_V1(behind_chunk);
	PG_FUNCTION_INFO_V1(unpinned);
	Datum behind_chunk(PG_FUNCTION_ARGS)
	{
		char *chunk = palloc(21);
		PG_RETURN_INT32(((volatile char *) chunk)[21 + PG_GETARG_INT32(0)]);
	}
	Datum unpinned(PG_FUNCTION_ARGS)
	{
		Relation rel = table_open(1259, AccessShareLock);
		Buffer buffer = ReadBuffer(rel, 0);
		volatile char *page = BufferGetPage(buffer);
		ReleaseBuffer(buffer);
		table_close(rel, AccessShareLock);
		PG_RETURN_INT32(page[PG_GETARG_INT32(0)]);
	}
C
gcc -shared -fPIC -fsanitize=address,undefined -I "$("$PG_CONFIG" --includedir-server)" \
	-o "$MAGIC_TMP/proof/wrong.so" "$MAGIC_TMP/proof/wrong.c" || exit 1
"$tree/bin/initdb" -D "$MAGIC_TMP/proof/data" -U postgres -A trust -N >/dev/null || exit 1
for function in behind_chunk unpinned; do
	# not a pipe: the server that finds it aborts, and a pipe's status would be that
	grep 'ERROR: AddressSanitizer' < <(printf "CREATE FUNCTION %s(int) RETURNS int LANGUAGE c AS '%s';\nSELECT %s(0);\n" \
		$function "$MAGIC_TMP/proof/wrong" $function |
		"$tree/bin/postgres" --single -D "$MAGIC_TMP/proof/data" postgres 2>&1) ||
		{ echo "the sanitizers do not see $function"; exit 1; }
done

tests() { python3 test/run.py --installed --pg-config "$PG_CONFIG" --keep --jobs 2 --timeout 3600 "$@" 2>&1 | tee -a "$out"; }
status=0
if [ $# -gt 0 ]; then
	tests "$@" || status=1
else
	tests regress isolation || status=1
	tests --only '40.*,44[01].*,100.*,110.*,22.*' tap || status=1
fi
# the servers' logs: what was found, also in a process whose end no test noticed
mapfile -t logs < <(sed -n 's/^What the tests wrote is in //p' "$out")
[ ${#logs[@]} -gt 0 ] || exit 1
if grep -rhE 'TRAP: |ERROR: AddressSanitizer|runtime error:|SUMMARY: (Address|Undefined)|PANIC: ' "${logs[@]}" \
	--include='*.log' --include='log' --include='output'; then
	status=1
fi
exit $status
