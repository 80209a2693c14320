-- Records events under their pipelines' event locks, so that ids grow in the order of commits within a pipeline. Side by
-- side: $1 jobs, $2 tasks, $3 attempts, $4 kinds, $5 messages.
with new as (
    select *
    from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[])
        with ordinality as n (job_id, task_id, attempt, kind, message, place)
),
homes as materialized (
    select id, pipeline_id from jobs where id = any ($1)
),
locked as materialized (
    select pg_advisory_xact_lock(hashtextextended(p.pipeline_id::text, 0))
    from (select distinct pipeline_id from homes order by 1) p
)
insert into events (pipeline_id, job_id, task_id, attempt, kind, message)
select h.pipeline_id, n.job_id, n.task_id, n.attempt, n.kind, n.message
from (select count(*) from locked) l
cross join new n
join homes h on h.id = n.job_id
order by n.place
