-- Ends the probe attempts that are current among those listed side by side, $1 tasks, $2 numbers, $3 tokens, and their
-- tasks, which are locked in order. $4 is their kind, which their lanes know as well as their jobs: jobs are written all the
-- time. Attempts are found by their tasks: an index of open ones would fit, too. Either is full of what is dead for as long
-- as somebody keeps an old transaction open.
with current as materialized (
    select t.id, t.job_id, t.attempt, t.ordinal, a.lease_token, t.units
    from unnest($1::uuid[], $2::integer[], $3::uuid[]) as l (id, attempt, token)
    join tasks t on t.id = l.id and t.attempt = l.attempt and t.state in ('leased', 'running')
    join attempts a on a.task_id = t.id and a.number = t.attempt and a.lease_token = l.token
        and a.state in ('leased', 'running')
    join lanes q on q.id = t.lane_id and q.kind = $4
    order by t.id
    for update of t
),
closed as (
    update attempts a set state = 'succeeded', ended_at = now()
    from current c
    where a.task_id = c.id and a.number = c.attempt and a.lease_token = c.lease_token
        and a.state in ('leased', 'running')
)
update tasks t set state = 'succeeded'
from current c
where t.id = c.id
returning
    t.id as task_id, t.job_id, t.attempt, t.ordinal, c.lease_token as token, t.units
