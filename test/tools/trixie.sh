#!/bin/bash
# trixie.sh: a Debian trixie with PostgreSQL 17, to build and test in; prints its folder. With arguments:
# runs them in it, with /tmp and FOLDER (the environment's MAGIC_TMP) as they are here.
#
# The packages are unpacked, not installed, so root is not needed, nor for the run: a user namespace gives
# the right to chroot. Kept in ${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw/; about 200 MB are fetched, once.
set -euo pipefail

packages=(base-files bash coreutils grep sed mawk findutils diffutils util-linux procps hostname tzdata libc-bin make gcc libc6-dev pkgconf
	perl python3 liblz4-dev libzstd-dev librdkafka-dev postgresql-17 postgresql-client-17 postgresql-server-dev-17)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/magic_fdw
root=$cache/trixie-17
mkdir -p "$cache"
exec 9>"$root.lock"
flock 9
if [ ! -e "$root/.complete" ]; then
	work=$(mktemp -d "${TMPDIR:-/tmp}/trixie.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts"
	: >"$work/status"
	for suite in "debian trixie" "debian trixie-updates" "debian-security trixie-security"; do
		printf 'Types: deb\nURIs: http://deb.debian.org/%s\nSuites: %s\nComponents: main\n' $suite
		printf 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n'
	done >"$work/parts/trixie.sources"
	apt=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/parts" -o "Dir::State=$work"
		-o "Dir::State::Lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
		-o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1)
	apt-get "${apt[@]}" update >&2
	apt-get "${apt[@]}" install --download-only --no-install-recommends -y "${packages[@]}" >&2
	rm -rf "$root"
	mkdir -p "$root"
	dpkg -x "$work"/cache/archives/base-files_*.deb "$root"
	for package in "$work"/cache/archives/*.deb; do
		dpkg -x "$package" "$root"
	done
	# what packages do when they are installed
	ln -sf mawk "$root/usr/bin/awk"
	ln -sf gcc "$root/usr/bin/cc"
	ln -sf bash "$root/usr/bin/sh"
	mkdir -p "$root"/{dev,proc,tmp,etc}
	printf 'root:x:0:0::/root:/bin/sh\n%s:x:%d:%d::/tmp:/bin/bash\n' "$(id -un)" "$(id -u)" "$(id -g)" >"$root/etc/passwd"
	printf 'root:x:0:\n%s:x:%d:\n' "$(id -gn)" "$(id -g)" >"$root/etc/group"
	touch "$root/.complete"
fi
flock -u 9
if [ $# = 0 ]; then
	echo "$root"
	exit
fi
# shellcheck disable=SC2016
exec unshare --user --map-current-user --keep-caps --mount bash -c '
	root=$1
	shift
	for folder in /dev /proc /tmp; do
		mount --rbind "$folder" "$root$folder"
	done
	exec chroot "$root" "$@"' trixie "$root" "$@"
