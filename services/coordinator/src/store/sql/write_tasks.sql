-- Writes tasks after those that a job has, in the lane of $2 project, $3 kind, $4 priority (the job's own or an inherited
-- one), $5 resources and $6 gang, ready as far as the job may have them at a time. $1 job, $7 attempts; of the tasks, side by
-- side: $8 ids, $9 payloads, $10 units; $11 what is counted, $12 the key under which others may take over what comes of it;
-- $13 and $14 the state that the job is in, and will be.
with lane as materialized (
    select lane_of($2, $3, $4, $5, $6) as id
),
new as (
    insert into tasks (id, job_id, lane_id, ordinal, payload, state, max_attempts, units)
    select
        n.id, $1, lane.id, j.task_count + n.place - 1, n.payload,
        case when j.parallelism is null then 'ready' else 'waiting' end, $7, n.units
    from lane
    cross join jobs j
    cross join unnest($8::uuid[], $9::jsonb[], $10::bigint[]) with ordinality as n (id, payload, units, place)
    where j.id = $1
)
update jobs set
    task_count = task_count + cardinality($8::uuid[]), open_tasks = open_tasks + cardinality($8::uuid[]),
    units_total = units_total + coalesce((select sum(units) from unnest($10::bigint[]) as u (units)), 0)::bigint,
    unit = $11, cache_key = coalesce($12, cache_key),
    state = $14, started_at = case when $13 = $14 then started_at else now() end
where id = $1 and state = $13
