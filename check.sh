#!/bin/bash
# Prove it: install what is missing (Debian 12, as root), build, run every test of `make check`.
# Closes with "N passed, N failed"; exit status 0 only if nothing failed. The checkout is not written to.
set -euo pipefail
cd "$(dirname "$0")"
scripts/install-deps.sh
exec make -s -C test check PG_CONFIG="${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}" "$@"
