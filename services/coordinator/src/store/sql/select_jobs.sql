-- Jobs, newest first, with what they wait for and how far they are.
select
    j.id, j.pipeline_id, j.project, j.name, j.kind, j.priority, j.state, j.cached_from, j.error, j.output, j.created_at,
    j.started_at, j.finished_at, now() as "read_at!", j.task_count, j.open_tasks - coalesce(y.tasks, 0) as "open_tasks!",
    case when h.id is not null then j.inherited_priority end as inherited_priority, h.name as "inherited_from?",
    array(select d.depends_on from job_dependencies d where d.job_id = j.id order by 1) as "depends_on!",
    a.done as "done!",
    j.units_done_before as "done_before!",
    a.total as "total!",
    a.unit as "unit!",
    a.message as "message!",
    a.held as "held_tasks!",
    coalesce(b.dead, 0) as "dead_tasks!",
    coalesce(b.failed, 0) as "failed_tasks!",
    case when j.state in ('cancelling', 'cancelled', 'failed', 'skipped') then
        (select count(*) from tasks t where t.job_id = j.id and t.state = 'cancelled') else 0
    end as "cancelled_tasks!"
from jobs j
cross join lateral progress_of(j) a
left join lateral (
    select count(*) filter (where state = 'dead') as dead, count(*) filter (where state = 'failed') as failed
    from tasks where job_id = j.id and state in ('dead', 'failed')
) b on true
left join lateral tally_of(j.id) y on counts_apart(j.task_count)
left join jobs h on h.id = j.inherited_from and j.finished_at is null
where ($1::uuid[] is null or j.id = any ($1))
    and ($2::uuid[] is null or j.pipeline_id = any ($2))
    and ($3::text is null or j.state = $3)
    and ($4::text is null or j.project = $4)
    and ($5::text is null or j.kind = $5)
    and ($6::uuid is null or j.id < $6)
order by j.id desc
limit $7
