-- Moves what of jobs $1 is not leased into the lanes of their priorities. Within a lane times only grow, so what is ready
-- goes to the end; unless it has waited for longer than the higher priority is worth ($2 seconds a level): it is more urgent
-- where it is. A gang stays together.
with queued as materialized (
    select t.id, t.lane_id, greatest(j.priority, j.inherited_priority) as priority
    from jobs j join tasks t on t.job_id = j.id
    where j.id = any ($1::uuid[]) and t.state in ('waiting', 'ready', 'retry_wait')
),
-- Each lane is looked for once, and not with each of its tasks.
moves as materialized (
    select
        q.lane_id, q.priority, lane_at(q.lane_id, q.priority) as lane,
        case when l.gang = 1 and q.priority > l.priority
            then make_interval(secs => $2::double precision * (q.priority - l.priority)) end as worth
    from (select distinct lane_id, priority from queued) q join lanes l on l.id = q.lane_id
)
update tasks t
set lane_id = m.lane, ready_at = case when t.state = 'ready' then now() else t.ready_at end
from queued q join moves m using (lane_id, priority)
where t.id = q.id and t.state in ('waiting', 'ready', 'retry_wait') and t.lane_id <> m.lane
    and not (t.state = 'ready' and m.worth is not null and t.ready_at < now() - m.worth)
