#!/bin/bash
# pg_source.sh: PostgreSQL's own source, for its tests; prints the folder that holds it.
#
# From Debian by apt-get source, in the newest version that can be had, into
# ${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw/: a second run needs no network. apt gets configuration
# and lists of its own there, so the machine's own are not touched and root is not needed.
set -eu
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw/pg_source
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
found=$(ls -d "$cache"/postgresql-15.*/src/test/regress 2>/dev/null | tail -1 || true)
if [ -z "$found" ]; then
	mkdir -p "$cache/apt/parts" "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
	for suite in "debian bookworm" "debian bookworm-updates" "debian-security bookworm-security"; do
		printf 'Types: deb-src\nURIs: http://deb.debian.org/%s\nSuites: %s\nComponents: main\n' $suite
		printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n'
	done >"$cache/apt/parts/src.sources"
	apt=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$cache/apt/parts"
		-o "Dir::State::Lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt/cache"
		-o APT::Sandbox::User="$(id -un)")
	apt-get "${apt[@]}" update >&2
	cd "$cache"
	for version in $(apt-cache "${apt[@]}" showsrc postgresql-15 | sed -n 's/^Version: //p' | sort -rV); do
		# the newest may be listed and gone already
		apt-get "${apt[@]}" source --download-only "postgresql-15=$version" >&2 && break
	done
	tar xf postgresql-15_15.*.orig.tar.bz2
	found=$(ls -d "$cache"/postgresql-15.*/src/test/regress | tail -1)
fi
cd "$found/../../.."
pwd
