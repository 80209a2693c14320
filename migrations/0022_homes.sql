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

-- Nobody looks anywhere else any more for what a claim has to know. Waits for nobody, and nobody waits for it.
insert into job_terms (job_id, pipeline_id, project, unit, run_deadline, no_progress, preemptible)
    select id, pipeline_id, project, unit, run_deadline, no_progress, coalesce((policy ->> 'preemptible')::boolean, false)
    from jobs j
    where not exists (select from job_terms t where t.job_id = j.id)
    on conflict do nothing;

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
