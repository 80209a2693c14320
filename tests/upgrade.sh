#!/usr/bin/env bash
# A rolling upgrade with two real builds: OLD and NEW are folders with their ursa-coordinator and ursa-worker. While jobs are
# submitted and done all the time, coordinators and workers of the old one are replaced one by one; one is killed on the way
# and starts again on tables that have been migrated meanwhile. In the end every job has succeeded, and every task once.
set -euo pipefail
old=$(realpath "${1:?usage: upgrade.sh OLD NEW}") new=$(realpath "${2:?usage: upgrade.sh OLD NEW}")
ursa=$(realpath "$(dirname "$0")/../target/debug/ursa")

bin=$(dirname "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)")
work=$(mktemp -d /tmp/ursa-upgrade.XXXXXX)
as_user=()
if [ "$(id -u)" = 0 ]; then # Postgres refuses to run as root.
  chown postgres "$work"
  as_user=(runuser -u postgres --)
fi
pids=()
stop() {
  disown -a
  kill -9 "${pids[@]}" 2>/dev/null || true
  "${as_user[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true
}
trap stop EXIT
"${as_user[@]}" "$bin/initdb" -D "$work/data" -A trust -U ursa >/dev/null
"${as_user[@]}" "$bin/pg_ctl" -D "$work/data" -w -l "$work/postgres.log" -o "-c listen_addresses='' -k $work" start >/dev/null
database="postgres://ursa@localhost/postgres?host=$work&sslmode=disable"
ask() { psql "$database" --no-psqlrc -qtAc "$1"; }

# Nobody listens there. A coordinator that starts again needs the one it had.
free_ports() {
  local port
  shuf -i 20000-30000 | while read -r port; do (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || echo "$port"; done | head -2
}
{ read -r first; read -r second; } < <(free_ports)

declare -A running
# run NAME PROGRAM ARGUMENT...
run() {
  local name=$1; shift
  "$@" >>"$work/$name.log" 2>&1 &
  running[$name]=$!
  pids+=($!)
}
coordinator() { run "coordinator-$2" "$1/ursa-coordinator" --listen "127.0.0.1:$2" --database-url "$database" --object-store "$work/objects"; }
worker() {
  run "worker-$3" "$1/ursa-worker" --coordinator "http://127.0.0.1:$2" --object-store "$work/objects" --kind probe --slots 8 \
    --name "worker-$3" --cache-dir "$work/cache-$3"
}
end() { { kill "-$1" "${running[$2]}" && wait "${running[$2]}"; } 2>/dev/null || true; }
tell() { echo "$1: $(ask "select count(*) filter (where finished_at is null) || ' jobs open, ' || count(finished_at) || ' ended' from jobs")"; }

cat >"$work/mixed.yaml" <<'Y'
pipeline: mixed
jobs:
  held: {kind: probe, tasks: 40, duration_ms: 20, parallelism: 3}
  unlucky: {kind: probe, tasks: 5, duration_ms: 30, failures: 1, after: [held]}
  short: {kind: probe, tasks: 100}
Y
submit() {
  for _ in $(seq 60); do
    for port in "$first" "$second"; do
      until timeout 20 "$ursa" --coordinator "http://127.0.0.1:$port" pipeline run "$work/mixed.yaml" >>"$work/submit.log" 2>&1; do sleep 0.2; done
    done
    sleep 0.4
  done
}

coordinator "$old" "$first"; sleep 2; coordinator "$old" "$second"; sleep 2
worker "$old" "$first" 1; worker "$old" "$second" 2
submit & load=$!; pids+=("$load")
sleep 8; tell "the old version"
end TERM "coordinator-$first"; coordinator "$new" "$first"; sleep 8; tell "a new coordinator beside an old one"
end 9 "coordinator-$second"; coordinator "$old" "$second"; sleep 8; tell "the old one was killed, and is back"
end TERM worker-1; worker "$new" "$second" 3; sleep 6; tell "a new worker at the old coordinator"
worker "$old" "$first" 4; end 9 "coordinator-$first"; coordinator "$new" "$first"; sleep 8; tell "an old worker at the new one, which was killed, and is back"
end TERM "coordinator-$second"; coordinator "$new" "$second"; end TERM worker-2; end TERM worker-4; tell "the new version"
wait "$load"
for _ in $(seq 60); do [ "$(ask "select count(*) from jobs where finished_at is null")" = 0 ] && break; sleep 1; done
tell "the end"

fail() { echo "FAILED: $1; see $work"; exit 1; }
[ "$(ask "select count(*) from jobs where state <> 'succeeded'")" = 0 ] || fail "a job has not succeeded"
[ "$(ask "select count(*) from (select from tasks t left join attempts a on a.task_id = t.id and a.state = 'succeeded'
  group by t.id having count(a.task_id) <> 1) t")" = 0 ] || fail "a task has not succeeded exactly once"
grep -ah ' ERROR ' "$work"/coordinator-*.log "$work"/worker-*.log && fail "somebody logged an error"
grep 'ERROR:' "$work/postgres.log" && fail "Postgres refused a statement"
echo "every one of $(ask "select count(*) from tasks") tasks of $(ask "select count(*) from jobs") jobs has succeeded once"
stop; rm -rf "$work"
