#!/bin/bash
# The sources compile against PostgreSQL 17's headers, Debian's own, with no change but what
# magic_compat.h spells. Compiled only, not run.
set -euo pipefail

major=17
suite=trixie
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw
headers=$cache/headers-$major/usr/include/postgresql/$major/server

if [ ! -d "$headers" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$cache"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main" \
		> "$work/sources.list"
	options=(-q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=-
		-o Dir::State::lists="$work/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache")
	(cd "$work" && apt-get "${options[@]}" update && apt-get "${options[@]}" download "postgresql-server-dev-$major")
	dpkg -x "$work"/postgresql-server-dev-*.deb "$work/x"
	mv "$work/x" "$cache/headers-$major"
fi

# The package's libc has strlcpy; the one here may not.
shim=$cache/libc-$major.h
cat > "$shim" <<'EOF'
#include <stddef.h>
extern size_t strlcpy(char *, const char *, size_t);
extern size_t strlcat(char *, const char *, size_t);
EOF

status=0
cd "$MAGIC_SRC"
for file in magic_fdw/*.c magic_fdw/*/*.c ingest_worker/*.c ingest_worker/*/*.c; do
	gcc -fsyntax-only -Wall -Werror -Wno-format-truncation -D_GNU_SOURCE -include "$shim" -Iingest_worker -Imagic_fdw -I"$headers" "$file" || status=1
done
exit $status
