#!/bin/bash
# On PostgreSQL 17, Debian trixie's packages and compiler: the libraries build without a warning and pass the
# SQL and isolation tests. What 17 itself prints otherwise than 15, on heap as on magic, stands in
# postgresql_17/SUITE-NAME.diff, lines only; -u writes those files anew from this run.
set -uo pipefail

known=$MAGIC_SRC/test/long/postgresql_17
out=$MAGIC_TMP/results
cp -r "$MAGIC_SRC" "$MAGIC_TMP/src"
find "$MAGIC_TMP/src" '(' -name '*.o' -o -name '*.d' -o -name '*.so' ')' -delete
cd "$MAGIC_TMP" || exit 1
# what stands in MAGIC_TMP is below /tmp, which is the same in there
"$MAGIC_SRC/test/tools/trixie.sh" env -i PATH=/usr/bin:/bin HOME=/tmp bash -c '
	cd "$1" && python3 test/run.py --pg-config /usr/lib/postgresql/17/bin/pg_config --keep --jobs 2 regress isolation' \
	run "$MAGIC_TMP/src" 2>&1 | tee "$out"
logs=$(sed -n 's/^What the tests wrote is in //p' "$out")
[ -n "$logs" ] && grep -qE '^ok +engine/' "$out" && grep -qE '^ok +isolation/' "$out" || exit 1

status=0
while IFS=/ read -r suite name; do
	case $suite in
		isolation*) expected=$MAGIC_TMP/src/test/isolation/expected/$name.out ;;
		*) expected=$MAGIC_TMP/src/expected/$name.out ;;
	esac
	diff -U0 "$expected" "$logs/$suite/results/$name.out" | grep '^[-+]' | grep -vE '^(---|\+\+\+) ' >"$MAGIC_TMP/$suite-$name.diff"
	if [ "${1:-}" = -u ]; then
		mkdir -p "$known"
		cp "$MAGIC_TMP/$suite-$name.diff" "$known/"
	elif ! cmp -s "$MAGIC_TMP/$suite-$name.diff" "$known/$suite-$name.diff"; then
		echo "$suite/$name differs otherwise than known:"
		diff "$known/$suite-$name.diff" "$MAGIC_TMP/$suite-$name.diff"
		status=1
	fi
done < <(sed -nE 's/^FAILED +([^ ]+) .*/\1/p' "$out")
exit $status
