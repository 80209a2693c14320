-- The beat of all attached workers. Renews the leases they list, and tells every open attempt of theirs; what they list
-- and does not come back is lost. $1–$3 leases, $4–$7 progress, $8 stages of stopping, $9 seconds to live, $10 workers.
-- A row that is locked is being ended: leaving it alone keeps this statement out of every deadlock. Attempts are found by
-- their tasks, and what is said of them is joined once: by an index of open ones, of which Postgres expects to find next to
-- none, it would compare each with every lease.
with report as (
    select *
    from unnest(
        $1::uuid[], $2::integer[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::integer[]
    ) as r (id, attempt, token, done, total, unit, message, stage)
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
    set state = 'running', acknowledged_at = coalesce(a.acknowledged_at, now()),
        expires_at = now() + make_interval(secs => $9),
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
)
select
    a.task_id, a.number, a.lease_token, a.worker_id, a.job_id, a.gpus, a.stop_reason, t.payload, t.lane_id,
    a.state = 'leased' as "is_new!", (j.policy ->> 'preemptible')::boolean as "preemptible!"
from attempts a
join tasks t on t.id = a.task_id
join jobs j on j.id = a.job_id
where a.worker_id = any ($10) and a.ended_at is null
