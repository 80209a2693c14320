-- Where the events of a job belong is looked up with every one of them: not in the job's own row, for the reason that claims do
-- not look there (0020).
alter table job_terms add column pipeline_id uuid;

create or replace function note_job_terms() returns trigger language plpgsql as $$
begin
    insert into job_terms (job_id, pipeline_id, project, unit, run_deadline, no_progress, preemptible)
        select id, pipeline_id, project, unit, run_deadline, no_progress, coalesce((policy ->> 'preemptible')::boolean, false)
        from noted;
    return null;
end $$;

-- What was `record_events` is the long way, on which deliveries are made.
alter function record_events(uuid[], uuid[], integer[], text[], text[]) rename to record_addressed_events;

create function record_events(
    of_jobs uuid[], of_tasks uuid[], of_attempts integer[], kinds text[], messages text[]
)
returns bigint language plpgsql as $$
begin
    if exists (select from webhooks) then
        return record_addressed_events(of_jobs, of_tasks, of_attempts, kinds, messages);
    end if;
    -- A job that is stored by the same statement has no terms yet, and one from before says nothing there of its pipeline.
    with homes as materialized (
        select j.id, coalesce(t.pipeline_id, (select o.pipeline_id from jobs o where o.id = j.id)) as pipeline_id
        from (select distinct id from unnest(of_jobs) as id) j left join job_terms t on t.job_id = j.id
    ),
    locked as materialized (
        select pg_advisory_xact_lock(hashtextextended(p.pipeline_id::text, 0))
        from (select distinct pipeline_id from homes where pipeline_id is not null order by 1) p
    )
    insert into events (pipeline_id, job_id, task_id, attempt, kind, message)
    select h.pipeline_id, n.job_id, n.task_id, n.attempt, n.kind, n.message
    from (select count(*) from locked) l
    cross join unnest(of_jobs, of_tasks, of_attempts, kinds, messages)
        with ordinality as n (job_id, task_id, attempt, kind, message, place)
    join homes h on h.id = n.job_id
    where h.pipeline_id is not null
    order by n.place;
    return 0;
end $$;

-- Lets tasks of a job begin that it holds back, as many as there is room for among those at work. A function, so that the
-- statement that ends others can do it, too: by what is so once it holds the job.
create function release_waiting(of_job uuid) returns bigint language plpgsql as $$
declare
    released bigint;
begin
    update tasks set state = 'ready', ready_at = now() where id in (
        select t.id from tasks t where t.job_id = of_job and t.state = 'waiting' order by t.ordinal
        limit (
            select case when j.parallelism is null then null else greatest(0, j.parallelism - (
                select count(*) from tasks o
                where o.job_id = of_job and o.state in ('ready', 'leased', 'running', 'retry_wait'))) end
            from jobs j where j.id = of_job
        )
    );
    get diagnostics released = row_count;
    return released;
end $$;
