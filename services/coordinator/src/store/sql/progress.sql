-- How far running jobs are: the sum over their tasks.
select
    j.id as job_id,
    j.pipeline_id,
    coalesce(sum(t.progress_done), 0)::bigint as "done!",
    coalesce(sum(t.progress_total), 0)::bigint as "total!",
    coalesce(max(t.progress_unit), '') as "unit!",
    coalesce(max(t.progress_message) filter (where t.state = 'leased'), '') as "message!"
from jobs j
join tasks t on t.job_id = j.id
where j.state in ('running', 'cancelling')
    and ($1::uuid is null or j.pipeline_id = $1)
    and ($2::uuid is null or j.id = $2)
group by j.id, j.pipeline_id
order by j.id
