#!/bin/bash
# pg_sanitized.sh: a PostgreSQL 15 that finds wrong C: built from source with assertions, AddressSanitizer
# and UndefinedBehaviorSanitizer; prints its pg_config.
#
# What PostgreSQL tells valgrind about its memory is told to AddressSanitizer here: an access behind the
# end of a palloc'd chunk, after pfree or a reset of its context, or to a shared buffer that this process
# has not pinned, aborts the process, as does undefined behaviour; so do failed assertions. The report
# stands in the server's log. One warning of assertion builds is left out: that a tuple's lock is held at
# commit. Heap never does that, row locks of access method magic are such locks.
#
# Kept in ${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw/ under a name made from this file's contents:
# a second run builds nothing. The build takes about five minutes on two cores.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source=$("$here/pg_source.sh")
# all but documentation, ECPG, other languages and programs that no test calls
parts=(src/include src/common src/port src/timezone src/interfaces/libpq src/fe_utils src/backend
	src/backend/utils/mb/conversion_procs src/backend/snowball src/backend/replication/libpqwalreceiver
	src/backend/replication/pgoutput src/bin src/pl/plpgsql src/makefiles src/test/regress src/test/isolation
	src/test/perl contrib/amcheck contrib/pageinspect contrib/pgstattuple contrib/btree_gist
	contrib/pg_stat_statements contrib/spi contrib/postgres_fdw)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw
prefix=$cache/sanitized-$(basename "$source")-$(sha1sum "$0" | cut -c1-8)
exec 9>"$cache/sanitized.lock"
flock 9
if [ ! -e "$prefix/built" ]; then
	work=$(mktemp -d "${TMPDIR:-/tmp}/pg_sanitized.XXXXXX")
	log=$cache/sanitized.log
	trap '[ -e "$prefix/built" ] || tail -30 "$log" >&2; rm -rf "$work"' EXIT
	cd "$work"
	# files in the folder of a build come before the source's own
	mkdir -p src/include/utils src/backend/storage/lmgr
	sed 's/elog(WARNING, "tuple lock held at commit")/((void) 0)/' \
		"$source/src/backend/storage/lmgr/lock.c" >src/backend/storage/lmgr/lock.c
	sed -e 's/^#ifdef USE_VALGRIND$/#include <sanitizer\/asan_interface.h>\n&/' \
		-e 's/\(VALGRIND_MAKE_MEM_\(UN\)\?DEFINED(addr, size)\).*/\1 ASAN_UNPOISON_MEMORY_REGION(addr, size)/' \
		-e 's/\(VALGRIND_MAKE_MEM_NOACCESS(addr, size)\).*/\1 ASAN_POISON_MEMORY_REGION(addr, size)/' \
		-e 's/\(VALGRIND_MEMPOOL_ALLOC(context, addr, size)\).*/\1 ASAN_UNPOISON_MEMORY_REGION(addr, size)/' \
		"$source/src/include/utils/memdebug.h" >src/include/utils/memdebug.h
	! grep -q 'tuple lock held' src/backend/storage/lmgr/lock.c && [ "$(grep -c 'POISON_MEMORY_REGION' src/include/utils/memdebug.h)" = 4 ] ||
		{ echo "pg_sanitized.sh: lock.c or memdebug.h is not as expected" >&2; exit 1; }
	sanitizers='-fsanitize=address,undefined -fno-sanitize-recover=all'
	export ASAN_OPTIONS=detect_leaks=0
	(
		"$source/configure" --prefix="$prefix" --enable-cassert --enable-debug --enable-tap-tests \
			--without-readline --with-lz4 --with-zstd --with-libxml \
			CFLAGS="-O1 -fno-omit-frame-pointer $sanitizers" LDFLAGS="$sanitizers"
		nice make -s -j2 -C src/backend generated-headers
		for part in "${parts[@]}"; do
			nice make -s -j2 -C "$part"
			make -s -C "$part" install
		done
		make -s -C src install-local
		make -s -C config install
	) >"$log" 2>&1
	touch "$prefix/built"
fi
echo "$prefix/bin/pg_config"
