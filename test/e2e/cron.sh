#!/bin/bash
# A real pg_cron job, owned by a member of magic_admin who is no superuser, changes the apply interval of a feed; the day and
# night lines of the README are taken by pg_cron as they stand; a job of a role outside magic_admin changes nothing.
. "$(dirname "$0")/server.bash"

need "$("$PG_CONFIG" --pkglibdir)/pg_cron.so"

start_server magic_fdw,pg_cron "cron.database_name = 'postgres'" "cron.use_background_workers = on" \
	"magic.file_source_dirs = '$MAGIC_TMP'"
mkdir -p "$MAGIC_TMP/stream"
psql -X -q -v ON_ERROR_STOP=1 -v dir="$MAGIC_TMP/stream" <<'SQL'
CREATE EXTENSION pg_cron;
CREATE ROLE operator LOGIN IN ROLE magic_admin;
CREATE ROLE stranger LOGIN;
GRANT USAGE ON SCHEMA cron TO operator, stranger;
GRANT SELECT ON magic.feeds TO stranger;
SELECT magic.create_feed('shop', 'file://' || :'dir' || '?protocol=tidb-binlog', apply_interval => '1 second');
SQL

as() { psql -X -q -A -t -v ON_ERROR_STOP=1 -U "$1" -c "$2"; }
as operator "SELECT cron.schedule('faster', '* * * * *', \$\$SELECT magic.set_interval('shop', '250 milliseconds')\$\$)" >/dev/null
as stranger "SELECT cron.schedule('slower', '* * * * *', \$\$SELECT magic.set_interval('shop', '1 hour')\$\$)" >/dev/null

# the README's own lines, run by the operator
lines=$MAGIC_TMP/readme.sql
grep -h 'cron\.schedule(' "$MAGIC_SRC/README.md" | grep -o 'SELECT cron\.schedule(.*;' >"$lines" || true
[ "$(wc -l <"$lines")" -ge 2 ] || fail "the README has no two lines that begin SELECT cron.schedule( and end ;"
psql -X -q -v ON_ERROR_STOP=1 -U operator -f "$lines" >"$MAGIC_TMP/readme.log" 2>&1 ||
	{ cat "$MAGIC_TMP/readme.log"; fail "pg_cron does not take the README's lines"; }
sql "SELECT schedule || '  ' || command FROM cron.job WHERE jobname NOT IN ('faster', 'slower') ORDER BY jobid"
[ "$(sql "SELECT bool_and(username = 'operator') AND count(DISTINCT schedule) >= 2 FROM cron.job WHERE jobname NOT IN ('faster', 'slower')")" = t ] ||
	fail "the README's lines are not day and night jobs of the operator"

echo "waiting for the next full minute"
wait_for_sql 75 "SELECT count(*) FILTER (WHERE username = 'operator' AND status = 'succeeded') > 0
	AND count(*) FILTER (WHERE username = 'stranger' AND status = 'failed') > 0 FROM cron.job_run_details"
[ "$(sql "SELECT apply_interval FROM magic.feeds WHERE name = 'shop'")" = "00:00:00.25" ] || fail "the interval is not the operator's"
sql "SELECT username || ': ' || status || '  ' || return_message FROM cron.job_run_details ORDER BY runid"
sql "SELECT return_message FROM cron.job_run_details WHERE username = 'stranger' LIMIT 1" | grep -q 'permission denied' ||
	fail "the stranger's job failed for another reason"
[ "$(sql "SELECT rolsuper FROM pg_roles WHERE rolname = 'operator'")" = f ] || fail "the operator is a superuser"
echo "ok: a pg_cron job of a member of magic_admin has set the apply interval"
