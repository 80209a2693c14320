-- Projects ($1, or all) with their tasks and GPUs at work.
select
    p.name, p.weight, p.max_running, p.max_gpus, p.paused,
    coalesce(u.running, 0) as "running!", coalesce(u.gpus, 0) as "gpus!"
from projects p
left join (
    select project, count(*) as running, sum(cardinality(gpus)) as gpus
    from attempts where ended_at is null group by project
) u on u.project = p.name
where $1::text[] is null or p.name = any ($1)
order by p.name
