-- How far running jobs are: what has ended, and what their open attempts say. At most 1000 jobs, newest first.
select
    j.id as job_id,
    j.pipeline_id,
    j.units_done + coalesce(a.done, 0)::bigint as "done!",
    j.units_total as "total!",
    coalesce(nullif(a.unit, ''), j.unit) as "unit!",
    coalesce(a.message, '') as "message!"
from jobs j
left join lateral (
    select sum(progress_done) as done, max(progress_unit) as unit, max(progress_message) as message
    from attempts where job_id = j.id and ended_at is null
) a on true
where j.state in ('running', 'cancelling')
    and ($1::uuid is null or j.pipeline_id = $1)
    and ($2::uuid is null or j.id = $2)
order by j.id desc
limit 1000
