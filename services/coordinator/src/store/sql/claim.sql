-- Leases ready tasks and opens their attempts, in one statement. Side by side: $1 lanes, $2 workers, $3 their names, $4 the
-- versions of their code, empty where nobody knows, $5 GPUs, $6 and $7 where to begin in the lane; $8 seconds to live;
-- $9 whether the projects' quotas are locked and looked after, else nothing is leased where there are any; $10 so many tasks of
-- a job, and more, are one event. Never waits for another coordinator's claim.
-- Whoever had a worker drained may have talked to another coordinator: it gets no more from this one either.
with wanted as (
    select *
    from unnest($1::integer[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::uuid[])
        with ordinality as w (lane_id, worker_id, worker_name, code_version, gpus, at, id, place)
    where not exists (select from workers d where d.id = w.worker_id and d.drain)
),
counts as (
    select lane_id, at, id, count(*) as count, array_agg(place order by place) as places
    from wanted
    where $9 or not exists (
        select from lanes l join projects p on p.name = l.project
        where l.id = any ($1) and (p.max_running is not null or p.max_gpus is not null)
    )
    group by lane_id, at, id
),
picked as materialized (
    select c.lane_id, t.id, t.ready_at, t.row
    from counts c cross join lateral (
        select id, ready_at, ctid as row from tasks
        where state = 'ready' and lane_id = c.lane_id and (ready_at, id) >= (c.at, c.id)
        order by ready_at, id
        limit c.count
        for update skip locked
    ) t
),
-- The first task gets the first place of its lane. By one number, so that no plan compares every task with every place; and
-- numbered before the places come in, or every task would be sorted with all of them.
numbered as (
    select id, lane_id, row_number() over (partition by lane_id order by ready_at, id) as number from picked
),
seated as (
    select n.id, c.places[n.number] as place from numbered n join counts c on c.lane_id = n.lane_id
),
-- The very rows that are locked, by where they are, as a list: from a join Postgres expects far more than there are, and reads
-- the whole table; by any index it may choose one that everything ready is in. One that somebody moved at the last moment is
-- missed, and stays ready.
taken as (
    update tasks t
    set state = 'leased', attempt = t.attempt + 1, waits_since = null
    where t.ctid = any (array(select row from picked))
    returning t.id, t.job_id, t.lane_id, t.ordinal, t.payload, t.attempt, t.units
),
-- Not in the jobs' own rows: those are written with every group of their tasks that ends, and while somebody keeps an old
-- transaction open, whoever looks one up walks over all that it was since.
terms as materialized (
    select * from job_terms where job_id = any (array(select distinct job_id from taken))
),
leased as materialized (
    select
        t.*, w.worker_id, w.worker_name, nullif(w.code_version, '') as code_version, w.gpus::integer[] as gpus,
        gen_random_uuid() as token, n.pipeline_id, n.project, n.unit, n.run_deadline, n.no_progress, n.preemptible
    from taken t
    join seated s on s.id = t.id
    join wanted w on w.place = s.place
    left join terms n on n.job_id = t.job_id
),
opened as (
    insert into attempts (
        task_id, number, job_id, project, worker_id, worker_name, code_version, lease_token, gpus, expires_at,
        progress_total, progress_unit, run_until, no_progress
    )
    select
        id, attempt, job_id, project, worker_id, worker_name, code_version, token, gpus,
        now() + make_interval(secs => $8), units, unit, now() + run_deadline, no_progress
    from leased
),
crowds as materialized (
    select
        pipeline_id, job_id, count(*) as count, array_agg(id order by ordinal)::text as many,
        array_agg(attempt order by ordinal)::text as attempts
    from leased group by pipeline_id, job_id having count(*) >= $10
),
news as (
    select
        pipeline_id, job_id, id as task_id, attempt, null as many, null as attempts, 'task.leased' as kind,
        'task ' || ordinal || ' was leased to ' || worker_name || ', attempt ' || attempt as message
    from leased where job_id not in (select job_id from crowds)
    union all
    select pipeline_id, job_id, null, null, many, attempts, 'tasks.leased', count || ' tasks were leased' from crowds
),
told as (
    select record_events(
            array_agg(pipeline_id), array_agg(job_id), array_agg(task_id), array_agg(attempt), array_agg(many),
            array_agg(attempts), array_agg(kind), array_agg(message)
        ) as deliveries
    from (select * from news order by job_id, task_id) n
    having count(*) > 0
)
select
    l.id as "id!", l.job_id as "job_id!", l.lane_id as "lane_id!", l.ordinal as "ordinal!", l.payload as "payload!",
    l.attempt as "attempt!", l.token as "token!", l.worker_id as "worker_id!", l.worker_name as "worker_name!",
    l.gpus as "gpus!", l.preemptible as "preemptible!", e.deliveries as "deliveries!"
from told e cross join leased l
order by l.job_id, l.ordinal
