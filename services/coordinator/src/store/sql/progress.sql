-- How far running jobs are. At most 1000 jobs, newest first.
select
    j.id as job_id,
    j.pipeline_id,
    p.done as "done!",
    p.total as "total!",
    p.unit as "unit!",
    p.message as "message!"
from jobs j
cross join lateral progress_of(j) p
where j.state in ('running', 'cancelling')
    and ($1::uuid is null or j.pipeline_id = $1)
    and ($2::uuid is null or j.id = $2)
order by j.id desc
limit 1000
