-- Jobs, newest first, with what they wait for and how far their tasks are.
select
    j.id, j.pipeline_id, j.name, j.kind, j.state, j.error, j.output, j.created_at, j.started_at, j.finished_at,
    array(select d.depends_on from job_dependencies d where d.job_id = j.id order by 1) as "depends_on!",
    coalesce(t.done, 0)::bigint as "done!",
    coalesce(t.total, 0)::bigint as "total!",
    coalesce(t.unit, '') as "unit!",
    coalesce(t.message, '') as "message!"
from jobs j
left join lateral (
    select
        sum(progress_done) as done,
        sum(progress_total) as total,
        max(progress_unit) as unit,
        max(progress_message) filter (where state = 'leased') as message
    from tasks where job_id = j.id
) t on true
where ($1::uuid[] is null or j.id = any ($1))
    and ($2::uuid[] is null or j.pipeline_id = any ($2))
    and ($3::text is null or j.state = $3)
    and ($4::uuid is null or j.id < $4)
order by j.id desc
limit $5
