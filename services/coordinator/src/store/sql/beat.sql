-- The beat of all attached workers: notes that they are there, renews the leases they list, marks as begun what they list
-- for the first time, and tells of each whether an operator wants it to take no more, and which of its attempts are open; what
-- they list and does not come back is lost. Side by side: $1–$9 workers, $10–$12 leases, $13–$16 progress, $17 stages of
-- stopping; $18 seconds to live. $19 and $20 attempts that they are believed to have besides.
-- Others of theirs are not looked for here: what has ended lies dead in the index for as long as somebody keeps an old
-- transaction open, and would hold up the renewals.
-- Workers are noted in the order of their ids, before all else: another coordinator may be noting the same ones. A row that
-- is locked is being ended: leaving it alone keeps this statement out of every deadlock. Attempts are found by their tasks,
-- and what is said of them is joined once: by an index of open ones, of which Postgres expects to find next to none, it
-- would compare each with every lease, or with every worker.
with seen as (
    insert into workers as w (id, name, version, slots, kinds, gpus, labels, draining, internal)
    select n.id, n.name, n.version, n.slots, n.kinds::text[], n.gpus, n.labels, n.draining, n.internal
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::jsonb[], $7::jsonb[], $8::boolean[],
        $9::boolean[]
    ) as n (id, name, version, slots, kinds, gpus, labels, draining, internal)
    order by n.id
    on conflict (id) do update
    set name = excluded.name, version = excluded.version, slots = excluded.slots, kinds = excluded.kinds,
        gpus = excluded.gpus, labels = excluded.labels, draining = excluded.draining, last_seen_at = now()
    returning w.id, w.drain
),
report as (
    select *
    from unnest(
        $10::uuid[], $11::integer[], $12::uuid[], $13::bigint[], $14::bigint[], $15::text[], $16::text[], $17::integer[]
    ) as r (id, attempt, token, done, total, unit, message, stage)
),
-- Their tasks begin with them. What is locked now begins with a later beat, and is renewed all the same.
new as materialized (
    select t.id
    from report r
    join attempts a on a.task_id = r.id and a.number = r.attempt and a.lease_token = r.token
    join tasks t on t.id = a.task_id and t.attempt = a.number
    where a.state = 'leased' and t.state in ('leased', 'running')
    for update of t skip locked
),
begun as (
    update tasks set state = 'running' where id = any (array(select id from new)) and state = 'leased'
),
current as (
    select a.task_id, a.number, r.done, r.total, r.unit, r.message, r.stage
    from report r
    join attempts a on a.task_id = r.id and a.number = r.attempt and a.lease_token = r.token
    where a.state in ('leased', 'running')
    for update of a skip locked
),
renewed as (
    update attempts a
    set state = case when a.task_id in (select id from new) then 'running' else a.state end,
        acknowledged_at = coalesce(a.acknowledged_at, now()),
        expires_at = now() + make_interval(secs => $18),
        progressed_at = case
            when a.progress_done <> c.done or a.progress_message <> c.message then now() else a.progressed_at
        end,
        progress_done = c.done, progress_total = c.total, progress_unit = c.unit, progress_message = c.message,
        stop_acknowledged_at = case
            when c.stage >= 1 then coalesce(a.stop_acknowledged_at, now()) else a.stop_acknowledged_at
        end,
        stop_forced_at = case when c.stage >= 2 then coalesce(a.stop_forced_at, now()) else a.stop_forced_at end
    from current c
    where a.task_id = c.task_id and a.number = c.number
),
known as (
    select id, attempt from report
    union select * from unnest($19::uuid[], $20::integer[]) as k (id, attempt)
)
-- A row of every worker, without an attempt; and one of every attempt. In each when that is: leases live from then on.
select
    id as "worker_id!", drain as "drain!", null as "task_id?", null as "number?", null as "lease_token?",
    null as "job_id?", null as "lane_id?", null as "payload?", null as "gpus?", null as "stop_reason?",
    null as "preemptible?", now() as "at!"
from seen
union all
select
    a.worker_id, false, a.task_id, a.number, a.lease_token, a.job_id, t.lane_id, t.payload, a.gpus, a.stop_reason,
    (j.policy ->> 'preemptible')::boolean, now()
from known k
cross join lateral (select * from attempts where task_id = k.id and number = k.attempt limit 1) a
join tasks t on t.id = a.task_id
join jobs j on j.id = a.job_id
where a.worker_id = any ($1) and a.ended_at is null
