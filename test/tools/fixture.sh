#!/bin/bash
# Unpack a fixture into a directory of the caller's own: every .zst file is written unpacked under its
# name without .zst, everything else is copied.
# usage: fixture.sh unpack FIXTURE_DIR TARGET_DIR
set -euo pipefail

[ "${1:-}" = unpack ] && [ $# -eq 3 ] || { echo "usage: $0 unpack FIXTURE_DIR TARGET_DIR" >&2; exit 2; }
mkdir -p "$3"
cp -R "$2/." "$3/"
chmod -R u+w "$3"
find "$3" -name '*.zst' -exec zstd -d -q -f --rm {} +
