-- Lanes of kind $1 (of project $2, or of all) with what there is to do in them: tasks at work, and, unless somebody paused
-- them, tasks that are ready and those that will be within $4 seconds. Neither is counted beyond $3.
select
    l.project as "project!", l.resources as "resources!", coalesce(h.held, 0) as "held!",
    case when p.paused or coalesce(q.paused, false) then 0 else r.ready + coalesce(s.soon, 0) end as "waiting!"
from lanes l
join projects p on p.name = l.project
left join queues q on q.kind = l.kind
cross join lateral (
    select count(*) as ready from (
        select from tasks where state = 'ready' and lane_id = l.id order by ready_at limit $3
    ) t
) r
left join (
    -- Found by their time, whosever they are: a limit before they are told apart would leave some lanes none.
    select lane_id, least(count(*), $3) as soon
    from tasks where state = 'retry_wait' and ready_at < now() + make_interval(secs => $4)
    group by lane_id
) s on s.lane_id = l.id
left join (
    select t.lane_id, count(*) as held
    from attempts a join tasks t on t.id = a.task_id where a.ended_at is null group by t.lane_id
) h on h.lane_id = l.id
where l.kind = $1 and ($2::text is null or l.project = $2)
order by l.id
