-- Stores a pipeline with its jobs, their first tasks and its project if that is new, and records the events: all of it, or
-- nothing where an earlier request had the same key. $1 id, $2 name, $3 project, $4 idempotency key, $5 fingerprint,
-- $6 specification, $7 the one that it runs again, $8 whether earlier work may stand in. $9 the jobs, as `NewJob` writes
-- them. Who waits for whom: $10 and $11. Tasks of jobs that run at once, side by side: $12 ids, $13 jobs, $14 ordinals,
-- $15 payloads, $16 units. Events: $17 jobs, $18 kinds, $19 messages.
with owner as (
    insert into projects (name) select $3 where not exists (select from projects where name = $3) on conflict do nothing
    returning name
),
made as (
    insert into pipelines (id, name, project, idempotency_key, fingerprint, spec, rerun_of)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (project, idempotency_key) do nothing
    returning id, created_at
),
jobs_to_be as materialized (
    select j.*
    from made cross join jsonb_to_recordset($9::jsonb) as j (
        id uuid, ordinal integer, name text, kind text, spec jsonb, policy jsonb, priority integer,
        inherited_priority integer, inherited_from uuid, parallelism integer, queue_wait double precision,
        run double precision, no_progress double precision, total double precision, state text, unit text,
        cache_key text, max_attempts integer, resources jsonb, workers integer
    )
),
tasks_to_be as materialized (
    select * from unnest($12::uuid[], $13::uuid[], $14::integer[], $15::jsonb[], $16::bigint[])
        as t (id, job_id, ordinal, payload, units)
),
counts as (
    select job_id, count(*)::integer as tasks, sum(units)::bigint as units from tasks_to_be group by job_id
),
written as (
    insert into jobs (
        id, pipeline_id, project, ordinal, name, kind, spec, policy, priority, inherited_priority, inherited_from, reuse,
        parallelism, queue_wait, run_deadline, no_progress, expires_at, state, started_at, unit, cache_key, task_count,
        open_tasks, units_total
    )
    select
        j.id, $1, $3, j.ordinal, j.name, j.kind, j.spec, j.policy, j.priority, j.inherited_priority, j.inherited_from,
        $8 and not coalesce((j.policy ->> 'fresh')::boolean, false), j.parallelism,
        make_interval(secs => j.queue_wait), make_interval(secs => j.run), make_interval(secs => j.no_progress),
        now() + make_interval(secs => j.total), j.state, case when j.state = 'running' then now() end, j.unit,
        j.cache_key, coalesce(c.tasks, 0), coalesce(c.tasks, 0), coalesce(c.units, 0)
    from jobs_to_be j left join counts c on c.job_id = j.id
    returning id
),
linked as (
    insert into job_dependencies (job_id, depends_on)
    select d.job_id, d.depends_on from made cross join unnest($10::uuid[], $11::uuid[]) as d (job_id, depends_on)
),
-- A lane refers to its project, which has to be there before.
placed as materialized (
    select j.id, lane_of($3, j.kind, greatest(j.priority, j.inherited_priority), j.resources, j.workers) as lane,
        j.max_attempts
    from (select count(*) from owner) o cross join jobs_to_be j
    where j.state = 'running'
),
begun as (
    insert into tasks (id, job_id, lane_id, ordinal, payload, state, max_attempts, units)
    select t.id, t.job_id, p.lane, t.ordinal, t.payload, 'ready', p.max_attempts, t.units
    from placed p join tasks_to_be t on t.job_id = p.id
),
-- It looks for the jobs, which have to be there before.
told as (
    select record_events($17::uuid[], null, null, $18::text[], $19::text[]) as deliveries
    from (select count(*) as jobs from written) w
    where w.jobs > 0
)
select made.created_at, told.deliveries as "deliveries!" from made cross join told
