-- Running jobs with something to take up: verify jobs of whose datasets there is a shard as in `shards_to_take_up.sql`, and
-- search jobs that have nothing to do. Asked all the time: for what a job has taken up itself, most of what is not verified, no
-- task is looked up; for what others have one at a time, by its key (offset 0, else all there are would be joined).
select j.id as "id!"
from jobs j
join datasets d on d.name = j.spec ->> 'dataset'
where j.state = 'running' and j.kind = 'verify' and exists (
    select from (
        select verify_task from shards
        where dataset_id = d.id and kind = 'raw' and not verified and not j.id = any (taken_up_by)
        offset 0
    ) s
    where not exists (
        select from tasks t
        where t.id = s.verify_task and t.state not in ('failed', 'dead', 'cancelled')
            and exists (
                select from jobs o join projects p on p.name = o.project
                where o.id = t.job_id and o.state in ('running', 'cancelling')
                    and (t.state in ('leased', 'running') or not p.paused)
                offset 0
            )
        offset 0
    )
)
union all
select id from jobs
where state = 'running' and kind = 'search' and has_open_tasks is not true and open_tasks = 0
order by 1
