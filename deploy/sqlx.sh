#!/usr/bin/env bash
# Compiles every query against a fresh, private Postgres with all migrations applied, and writes what the compiler
# learned to .sqlx/, from which builds without a database are checked.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(dirname "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)")
work=$(mktemp -d /tmp/ursa-sqlx.XXXXXX)
as_user=()
if [ "$(id -u)" = 0 ]; then # Postgres refuses to run as root.
  chown postgres "$work"
  as_user=(runuser -u postgres --)
fi
stop() { "${as_user[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$work"; }
trap stop EXIT
"${as_user[@]}" "$bin/initdb" -D "$work/data" -A trust -U ursa >/dev/null
"${as_user[@]}" "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" -o "-c listen_addresses='' -k $work -c fsync=off" start >/dev/null
for migration in migrations/*.sql; do
  psql -h "$work" -U ursa -d postgres --set ON_ERROR_STOP=1 --quiet --file "$migration"
done
rm -rf .sqlx && mkdir .sqlx
touch services/coordinator/src/lib.rs
DATABASE_URL="postgres://ursa@localhost/postgres?host=$work" SQLX_OFFLINE_DIR="$PWD/.sqlx" cargo check --workspace --lib
echo "sqlx: $(ls .sqlx | wc -l) queries checked"
