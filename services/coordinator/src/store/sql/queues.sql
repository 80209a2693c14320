-- Kinds with ready or running tasks; ready ones are counted up to 100 000 per lane.
select
    l.kind as "kind!", coalesce(sum(h.ready), 0)::bigint as "ready!", coalesce(sum(r.running), 0)::bigint as "running!",
    coalesce(extract(epoch from now() - min(h.oldest)), 0)::float8 as "oldest_seconds!"
from lanes l
cross join lateral (
    select count(*) as ready, min(ready_at) as oldest
    from (select ready_at from tasks where state = 'ready' and lane_id = l.id order by ready_at limit 100000) t
) h
left join (
    select t.lane_id, count(*) as running
    from attempts a join tasks t on t.id = a.task_id where a.ended_at is null group by t.lane_id
) r on r.lane_id = l.id
group by l.kind
