-- Stores a pipeline with its jobs, and its project if that is new: all of it, or nothing where an earlier request had the
-- same key. $1 id, $2 name, $3 project, $4 idempotency key, $5 fingerprint, $6 specification, $7 the one that it runs again.
-- Of the jobs, side by side: $8 ids, $9 names, $10 kinds, $11 specifications, $12 policies, $13 priorities, $14 tasks at a
-- time, $15 to $18 deadlines in seconds; $19 whether earlier work may stand in. Who waits for whom: $20 and $21.
with owner as (
    insert into projects (name) select $3 where not exists (select from projects where name = $3) on conflict do nothing
),
made as (
    insert into pipelines (id, name, project, idempotency_key, fingerprint, spec, rerun_of)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (project, idempotency_key) do nothing
    returning id
),
written as (
    insert into jobs (
        id, pipeline_id, project, ordinal, name, kind, spec, policy, priority, reuse, parallelism, queue_wait,
        run_deadline, no_progress, expires_at
    )
    select
        j.id, made.id, $3, j.place - 1, j.name, j.kind, j.spec, j.policy, j.priority, $19, j.parallelism,
        make_interval(secs => j.queue_wait), make_interval(secs => j.run), make_interval(secs => j.no_progress),
        now() + make_interval(secs => j.total)
    from made cross join unnest(
        $8::uuid[], $9::text[], $10::text[], $11::jsonb[], $12::jsonb[], $13::integer[], $14::integer[],
        $15::double precision[], $16::double precision[], $17::double precision[], $18::double precision[]
    ) with ordinality
        as j (id, name, kind, spec, policy, priority, parallelism, queue_wait, run, no_progress, total, place)
),
linked as (
    insert into job_dependencies (job_id, depends_on)
    select d.job_id, d.depends_on from made cross join unnest($20::uuid[], $21::uuid[]) as d (job_id, depends_on)
)
select id from made
