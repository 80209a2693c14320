-- Moves what of jobs $1 is not leased into the lanes of their priorities. Within a lane times only grow, so what is ready
-- goes to the end.
with queued as materialized (
    select t.id, t.lane_id, greatest(j.priority, j.inherited_priority) as priority
    from jobs j join tasks t on t.job_id = j.id
    where j.id = any ($1::uuid[]) and t.state in ('waiting', 'ready', 'retry_wait')
),
-- Each lane is looked for once, and not with each of its tasks.
moves as materialized (
    select lane_id, priority, lane_at(lane_id, priority) as lane
    from (select distinct lane_id, priority from queued) q
)
update tasks t
set lane_id = m.lane, ready_at = case when t.state = 'ready' then now() else t.ready_at end
from queued q join moves m using (lane_id, priority)
where t.id = q.id and t.state in ('waiting', 'ready', 'retry_wait') and t.lane_id <> m.lane
