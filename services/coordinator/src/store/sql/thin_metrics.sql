-- Takes every second point of those series away that attempts at work have more than $1 points of; the latest $2 points of
-- each stay.
with long as materialized (
    select m.task_id, m.attempt, m.name, count(*) as points
    from attempts a
    join metrics m on m.task_id = a.task_id and m.attempt = a.number
    where a.ended_at is null
    group by m.task_id, m.attempt, m.name
    having count(*) > $1
),
placed as (
    select m.task_id, m.attempt, m.name, m.step, l.points,
        row_number() over (partition by m.task_id, m.attempt, m.name order by m.step) as place
    from long l
    join metrics m on m.task_id = l.task_id and m.attempt = l.attempt and m.name = l.name
)
delete from metrics m using placed p
where m.task_id = p.task_id and m.attempt = p.attempt and m.name = p.name and m.step = p.step
    and p.place % 2 = 0 and p.place <= p.points - $2
