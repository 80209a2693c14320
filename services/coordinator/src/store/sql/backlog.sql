-- Lanes of kind $1 (of project $2, or of all) with what there is to do in them: tasks at work, and, unless somebody paused
-- them, tasks that are ready and those that will be within $4 seconds. Neither is counted beyond $3. $5 lanes and $6, $7 where
-- to begin in them; $8 seconds before that, too, as in `lane_heads.sql`. And where to begin next: at the first ready task, or a
-- while ago where there is none, for what is about to be committed.
select
    l.id as "id!", l.project as "project!", l.resources as "resources!",
    p.max_running is not null or p.max_gpus is not null as "has_quota!",
    coalesce(h.held, 0) as "held!",
    case when p.paused or coalesce(q.paused, false) then 0 else r.ready + coalesce(s.soon, 0) end as "waiting!",
    coalesce(r.ready_at, now() - interval '30 seconds') as "head_ready_at!",
    coalesce(r.id, '00000000-0000-0000-0000-000000000000') as "head!"
from lanes l
join projects p on p.name = l.project
left join queues q on q.kind = l.kind
left join unnest($5::integer[], $6::timestamptz[], $7::uuid[]) as m (lane_id, at, id) on m.lane_id = l.id
cross join lateral (
    select count(*) as ready, min(t.ready_at) as ready_at, (array_agg(t.id order by t.ready_at, t.id))[1] as id
    from (
        (
            select id, ready_at from tasks
            where state = 'ready' and lane_id = l.id
                and ready_at >= m.at - make_interval(secs => $8) and ready_at < m.at
            order by ready_at, id
            limit $3
        )
        union all
        (
            select id, ready_at from tasks
            where state = 'ready' and lane_id = l.id and (ready_at, id)
                >= (coalesce(m.at, '-infinity'), coalesce(m.id, '00000000-0000-0000-0000-000000000000'))
            order by ready_at, id
            limit $3
        )
        limit $3
    ) t
) r
left join (
    -- Found by their time, whosever they are: a limit before they are told apart would leave some lanes none. What has been due
    -- for a while was made ready within seconds: before that, all are dead.
    select lane_id, least(count(*), $3) as soon
    from tasks
    where state = 'retry_wait'
        and ready_at > now() - interval '10 minutes' and ready_at < now() + make_interval(secs => $4)
    group by lane_id
) s on s.lane_id = l.id
left join (
    select t.lane_id, count(*) as held
    from attempts a join tasks t on t.id = a.task_id where a.ended_at is null group by t.lane_id
) h on h.lane_id = l.id
where l.kind = $1 and ($2::text is null or l.project = $2)
order by l.id
