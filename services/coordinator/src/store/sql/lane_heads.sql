-- Lanes with ready tasks: the first one, and how many there are up to $4; whose they are, with what those may have and have, and
-- whether the queue is paused. $1 lanes and $2, $3 where to begin in them, $6 whether they are left out; $5 seconds before that,
-- too, but for what became ready at the very time of the first: that may be all tasks of a large job. Where a lane begins a while
-- ago, or at its start, it is listed with nothing ready, too, and where to begin next: not now, for what is about to be committed.
-- Of a lane for gangs: the first job all of whose open tasks are ready.
with looked_at as materialized (
    select
        l.id, l.project, l.kind, l.priority, l.resources, l.gang, h.ready::bigint as ready,
        coalesce(h.ready_at, now() - interval '30 seconds') as ready_at,
        coalesce(h.id, '00000000-0000-0000-0000-000000000000') as head
    from lanes l
    left join unnest($1::integer[], $2::timestamptz[], $3::uuid[], $6::boolean[]) as s (lane_id, at, id, is_left_out)
        on s.lane_id = l.id
    cross join lateral (
        select count(*) as ready, min(t.ready_at) as ready_at, (array_agg(t.id order by t.ready_at, t.id))[1] as id
        from (
            (
                select id, ready_at from tasks
                where state = 'ready' and lane_id = l.id
                    and ready_at >= s.at - make_interval(secs => $5) and ready_at < s.at
                order by ready_at, id
                limit $4
            )
            union all
            (
                select id, ready_at from tasks
                where state = 'ready' and lane_id = l.id and (ready_at, id)
                    >= (coalesce(s.at, '-infinity'), coalesce(s.id, '00000000-0000-0000-0000-000000000000'))
                order by ready_at, id
                limit $4
            )
            limit $4
        ) t
    ) h
    where l.gang = 1 and s.is_left_out is not true
        and (h.ready > 0 or coalesce(s.at, '-infinity') < now() - interval '1 minute')
    union all
    select l.id, l.project, l.kind, l.priority, l.resources, l.gang, g.ready, g.ready_at, g.id
    from lanes l
    cross join lateral (
        select count(*) as ready, min(t.ready_at) as ready_at, (array_agg(t.id order by t.ready_at, t.id))[1] as id
        from tasks t
        join jobs j on j.id = t.job_id
        where t.state = 'ready' and t.lane_id = l.id
        group by j.id
        having count(*) = j.open_tasks - coalesce((select tasks from tally_of(j.id)), 0)
        order by 2
        limit 1
    ) g
    where l.gang > 1
),
heads as (select * from looked_at where ready > 0),
-- Only where it matters: where there is a quota, or more than one to share with. What has ended lies dead in the index for
-- as long as somebody keeps an old transaction open, and would be walked over every time.
usage as materialized (
    select project, count(*) as running, sum(cardinality(gpus)) as gpus
    from attempts
    where ended_at is null and (
        (select count(distinct project) from heads) > 1
        or exists (
            select from heads h join projects p on p.name = h.project
            where p.max_running is not null or p.max_gpus is not null
        )
    )
    group by project
)
select
    h.id as "id!", h.project as "project!", h.kind as "kind!", h.priority as "priority!",
    h.resources as "resources!", h.gang as "gang!", h.ready as "ready!", h.ready_at as "head_ready_at!", h.head as "head!",
    p.weight as "weight!", p.max_running, p.max_gpus, p.paused as "project_paused!",
    coalesce(u.running, 0) as "running!", coalesce(u.gpus, 0) as "gpus!",
    coalesce(q.paused, false) as "queue_paused!"
from looked_at h
join projects p on p.name = h.project
left join usage u on u.project = h.project
left join queues q on q.kind = h.kind
