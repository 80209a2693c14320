-- Leases ready tasks and opens their attempts, in one statement. $1 worker, $2 kinds, $3 limit, $4 seconds to live.
-- A worker trains one model at a time. It says so by the kinds it reports, but only after it has heard of the first.
with train as (
    select t.id, t.ready_at
    from tasks t
    where t.state = 'ready' and t.ready_at <= now() and t.kind = 'train' and t.kind = any ($2::text[])
        and exists (select from jobs j where j.id = t.job_id and j.state = 'running')
        and not exists (select from tasks o where o.worker_id = $1 and o.state = 'leased' and o.kind = 'train')
    order by t.ready_at, t.id
    limit 1
    for update of t skip locked
),
other as (
    select t.id, t.ready_at
    from tasks t
    where t.state = 'ready' and t.ready_at <= now() and t.kind <> 'train' and t.kind = any ($2::text[])
        and exists (select from jobs j where j.id = t.job_id and j.state = 'running')
    order by t.ready_at, t.id
    limit $3
    for update of t skip locked
),
picked as (
    select id from (table train union all table other) as ready order by ready_at, id limit $3
),
leased as (
    update tasks t
    set state = 'leased', attempt = t.attempt + 1, worker_id = $1, lease_token = gen_random_uuid(),
        lease_expires_at = now() + make_interval(secs => $4),
        progress_done = 0, progress_message = ''
    from picked
    where t.id = picked.id and t.state = 'ready'
    returning t.id, t.job_id, t.ordinal, t.kind, t.payload, t.attempt, t.lease_token
),
opened as (
    insert into attempts (task_id, number, worker_id, lease_token)
    select id, attempt, $1, lease_token from leased
)
select
    l.id as "id!", l.job_id as "job_id!", l.ordinal as "ordinal!", l.kind as "kind!", l.payload as "payload!",
    l.attempt as "attempt!", l.lease_token as "lease_token!", w.name as worker_name
from leased l cross join workers w
where w.id = $1
order by l.job_id, l.ordinal
