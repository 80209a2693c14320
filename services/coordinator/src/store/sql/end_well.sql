-- Ends the probe attempts that are current among those listed side by side, $1 tasks, $2 numbers, $3 tokens, with their tasks;
-- counts them, ends the jobs that have succeeded with that ($5 is their state then), lets tasks begin that their jobs held back,
-- and records the events. $4 is the attempts' kind, which their lanes know as well as their jobs: jobs are written all the time.
-- $6 so many tasks of a job, and more, are one event. Locks tasks, then jobs, both in order, then queued tasks, attempts, and
-- the event log. Attempts are found by their tasks: an index of open ones would fit, too, and is full of what is dead for as
-- long as somebody keeps an old transaction open.
with current as materialized (
    select t.id, t.job_id, t.attempt, t.ordinal, l.token, t.units
    from (select * from unnest($1::uuid[], $2::integer[], $3::uuid[]) as l (id, attempt, token) order by id) l
    cross join lateral (
        select * from tasks t
        where t.id = l.id and t.attempt = l.attempt and t.state in ('leased', 'running')
        limit 1
        for update
    ) t
    cross join lateral (
        select from attempts a
        where a.task_id = l.id and a.number = l.attempt and a.lease_token = l.token and a.state in ('leased', 'running')
        limit 1
    ) a
    cross join lateral (select from lanes q where q.id = t.lane_id and q.kind = $4 limit 1) q
),
ended as (
    update tasks t set state = 'succeeded'
    from current c
    where t.id = c.id
    returning t.id, t.job_id, t.attempt, t.ordinal, c.token, t.units
),
sums as materialized (
    select job_id, count(*)::integer as tasks, sum(units)::bigint as units from ended group by job_id
),
locked as materialized (
    select id, pipeline_id, name, state, open_tasks, parallelism, counts_apart(task_count) as apart
    from jobs where id = any (array(select job_id from sums)) order by id for no key update
),
-- A job all of whose tasks succeeded and that waits for nobody has succeeded; the others are looked at one by one. Another
-- coordinator's tasks that ended since this began are not seen: that job is looked at, too. `offset 0`, or Postgres would make
-- a list of all that waits for anything, each time.
judged as materialized (
    select s.*, l.apart, case when l.state = 'running' and l.open_tasks = s.tasks and not l.apart then
        not exists (
            select from tasks t
            where t.job_id = l.id and t.state <> 'succeeded' and not t.id = any (array(select id from ended)))
        and not exists (
            select from job_dependencies d cross join lateral (
                select from jobs o where o.id = d.depends_on and o.finished_at is null offset 0) o
            where d.job_id = l.id offset 0)
        else false end as succeeded
    from locked l join sums s on s.job_id = l.id
),
counted as (
    update jobs j set
        open_tasks = j.open_tasks - g.tasks, units_done = j.units_done + g.units,
        state = case when g.succeeded then $5 else j.state end,
        finished_at = case when g.succeeded then now() else j.finished_at end
    from judged g
    where j.id = g.job_id and not g.apart
    returning j.id, j.pipeline_id, j.name, j.open_tasks, j.parallelism, g.tasks, g.succeeded
),
-- What ends of a job of many tasks is counted beside its row. Whether it has succeeded is looked at once none is open.
counted_apart as materialized (
    select l.id, l.pipeline_id, l.name, count_ended(l.id, s.tasks, s.units) as open_tasks, l.parallelism, s.tasks, false
    from locked l join sums s on s.job_id = l.id
    where l.apart
),
counts as materialized (select * from counted union all select * from counted_apart),
released as materialized (
    select sum(release_waiting(h.id)) as tasks
    from (select id from counts where parallelism is not null and open_tasks > 0 order by id) h
),
closed as (
    update attempts a set state = 'succeeded', ended_at = now()
    from current c cross join (select count(*) from released) r
    where a.task_id = c.id and a.number = c.attempt and a.lease_token = c.token
        and a.state in ('leased', 'running')
    returning a.task_id
),
crowds as (
    select
        c.pipeline_id, c.id as job_id, c.tasks, array_agg(e.id order by e.ordinal)::text as many,
        array_agg(e.attempt order by e.ordinal)::text as attempts
    from ended e join counts c on c.id = e.job_id
    where c.tasks >= $6
    group by c.pipeline_id, c.id, c.tasks
),
news as (
    select
        c.pipeline_id, e.job_id, e.id as task_id, e.attempt, null as many, null as attempts, 'task.succeeded' as kind,
        'task ' || e.ordinal || ' answered' as message, 1 as place
    from ended e join counts c on c.id = e.job_id
    where c.tasks < $6
    union all
    select pipeline_id, job_id, null, null, many, attempts, 'tasks.succeeded', tasks || ' tasks answered', 1 from crowds
    union all
    select pipeline_id, id, null, null, null, null, 'job.succeeded', name || ' is succeeded', 2 from counts where succeeded
),
told as (
    select record_events(
            array_agg(pipeline_id), array_agg(job_id), array_agg(task_id), array_agg(attempt), array_agg(many),
            array_agg(attempts), array_agg(kind), array_agg(message)
        ) as deliveries
    from (
        select n.* from news n cross join (select count(*) from closed) c order by job_id, place, task_id
    ) n
    having count(*) > 0
)
select
    e.token as "token!", t.deliveries as "deliveries!",
    (select tasks > 0 from released) is true as "released!",
    -- Somebody waits for it, or has to look at why it has not ended.
    exists (
        select from counts c where open_tasks = 0 and (
            not succeeded or exists (select from job_dependencies d where d.depends_on = c.id offset 0))
    ) as "look_at_jobs!"
from told t cross join ended e
