-- Moves the tasks of jobs $1 that have not ended into the lanes of their priorities. Within a lane times only grow, so what is
-- ready goes to the end; unless it has waited for longer than the higher priority is worth ($2 seconds a level): it is more
-- urgent where it is. What somebody is at work on stays with him, and is as urgent as its job all the same. A gang stays
-- together. Who has a task locked takes it or ends it: it is queued again, if at all, by what its job is worth then.
with free as materialized (
    select t.id, t.job_id, t.lane_id, greatest(j.priority, j.inherited_priority) as priority
    from jobs j join tasks t on t.job_id = j.id
    where j.id = any ($1::uuid[]) and t.state in ('waiting', 'ready', 'retry_wait', 'leased', 'running')
    for update of t skip locked
),
-- Each lane is looked for once, and not with each of its tasks.
moves as materialized (
    select
        f.job_id, f.lane_id, lane_at(f.lane_id, f.priority) as lane,
        case when l.gang = 1 and f.priority > l.priority
            then make_interval(secs => $2::double precision * (f.priority - l.priority)) end as worth
    from (select job_id, lane_id, priority, count(*) as count from free group by job_id, lane_id, priority) f
    join lanes l on l.id = f.lane_id
    where l.gang = 1 or f.count = (
        select count(*) from tasks o
        where o.job_id = f.job_id and o.state in ('waiting', 'ready', 'retry_wait', 'leased', 'running'))
)
update tasks t
set
    lane_id = m.lane, ready_at = case when t.state = 'ready' then now() else t.ready_at end,
    waits_since = case when t.state = 'ready' then coalesce(t.waits_since, t.ready_at) else t.waits_since end
from free f join moves m using (job_id, lane_id)
where t.id = f.id and t.lane_id <> m.lane
    and not (t.state = 'ready' and m.worth is not null and t.ready_at < now() - m.worth)
