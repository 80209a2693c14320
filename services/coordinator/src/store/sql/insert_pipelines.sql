-- Stores pipelines with their jobs, their first tasks and their projects if those are new, and records the events: all of each,
-- or nothing where an earlier request had the same key. Side by side: $1 ids, $2 names, $3 projects, $4 idempotency keys,
-- $5 fingerprints, $6 specifications, $7 those that they run again, $8 whether earlier work may stand in. $9 the jobs of all,
-- as `NewJob` writes them. Who waits for whom: $10 and $11. Tasks of jobs that run at once, side by side: $12 ids, $13 jobs,
-- $14 ordinals, $15 payloads, $16 units. Events: $17 jobs, $18 kinds, $19 messages; those of jobs that are not stored are not
-- recorded. Whatever others may write at the same time is written in order.
with pipelines_to_be as materialized (
    select *
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::jsonb[], $7::uuid[], $8::boolean[])
        as p (id, name, project, idempotency_key, fingerprint, spec, rerun_of, reuse)
),
owners as (
    insert into projects (name)
    select distinct project from pipelines_to_be n where not exists (select from projects p where p.name = n.project)
    order by project
    on conflict do nothing
    returning name
),
made as (
    insert into pipelines (id, name, project, idempotency_key, fingerprint, spec, rerun_of)
    select id, name, project, idempotency_key, fingerprint, spec, rerun_of from pipelines_to_be
    order by project, idempotency_key, id
    on conflict (project, idempotency_key) do nothing
    returning id, created_at
),
jobs_to_be as materialized (
    select j.*, p.project, p.reuse
    from made m
    join pipelines_to_be p on p.id = m.id
    join jsonb_to_recordset($9::jsonb) as j (
        id uuid, pipeline_id uuid, ordinal integer, name text, kind text, spec jsonb, policy jsonb, priority integer,
        inherited_priority integer, inherited_from uuid, parallelism integer, queue_wait double precision,
        run double precision, no_progress double precision, total double precision, state text, unit text,
        cache_key text, max_attempts integer, resources jsonb, workers integer
    ) on j.pipeline_id = m.id
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
        j.id, j.pipeline_id, j.project, j.ordinal, j.name, j.kind, j.spec, j.policy, j.priority, j.inherited_priority,
        j.inherited_from, j.reuse and not coalesce((j.policy ->> 'fresh')::boolean, false), j.parallelism,
        make_interval(secs => j.queue_wait), make_interval(secs => j.run), make_interval(secs => j.no_progress),
        now() + make_interval(secs => j.total), j.state, case when j.state = 'running' then now() end, j.unit,
        j.cache_key, coalesce(c.tasks, 0), coalesce(c.tasks, 0), coalesce(c.units, 0)
    from jobs_to_be j left join counts c on c.job_id = j.id
    returning id
),
linked as (
    insert into job_dependencies (job_id, depends_on)
    select d.job_id, d.depends_on
    from unnest($10::uuid[], $11::uuid[]) as d (job_id, depends_on) join jobs_to_be j on j.id = d.job_id
),
places as (
    select distinct project, kind, greatest(priority, inherited_priority) as priority, resources, workers
    from jobs_to_be where state = 'running'
),
-- A lane refers to its project, which has to be there before.
lanes_to_be as materialized (
    select p.*, lane_of(p.project, p.kind, p.priority, p.resources, p.workers) as lane
    from (select count(*) from owners) o
    cross join (select * from places order by project, kind, priority, resources, workers) p
),
begun as (
    insert into tasks (id, job_id, lane_id, ordinal, payload, state, max_attempts, units)
    select t.id, t.job_id, l.lane, t.ordinal, t.payload, 'ready', j.max_attempts, t.units
    from jobs_to_be j
    join lanes_to_be l on l.project = j.project and l.kind = j.kind and l.resources = j.resources
        and l.priority = greatest(j.priority, j.inherited_priority) and l.workers = j.workers
    join tasks_to_be t on t.job_id = j.id
    where j.state = 'running'
),
-- It looks for the jobs, which have to be there before.
news as (
    select j.pipeline_id, j.id as job_id, n.kind, n.message
    from (select count(*) from written) w
    cross join unnest($17::uuid[], $18::text[], $19::text[]) with ordinality as n (job_id, kind, message, place)
    join jobs_to_be j on j.id = n.job_id
    order by n.place
),
told as (
    select record_events(
            array_agg(pipeline_id), array_agg(job_id), null, null, null, null, array_agg(kind), array_agg(message)
        ) as deliveries
    from news
    having count(*) > 0
)
select m.id as "id!", m.created_at as "created_at!", t.deliveries as "deliveries!" from made m cross join told t
