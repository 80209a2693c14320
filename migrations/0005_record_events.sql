-- Records events under their pipelines' event locks, so that ids grow in the order of commits within a pipeline, and
-- addresses them to the webhooks that asked for them; returns how many deliveries that makes. The arrays lie side by side.
-- A function, so that the statement that makes something happen can record it, too, and is a transaction by itself.
create function record_events(
    of_jobs uuid[], of_tasks uuid[], of_attempts integer[], kinds text[], messages text[]
)
returns bigint language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    deliveries_made bigint;
begin
    with new as (
        select *
        from unnest(of_jobs, of_tasks, of_attempts, kinds, messages)
            with ordinality as n (job_id, task_id, attempt, kind, message, place)
    ),
    homes as materialized (
        select id, pipeline_id, project, name from jobs where id = any (of_jobs)
    ),
    locked as materialized (
        select pg_advisory_xact_lock(hashtextextended(p.pipeline_id::text, 0))
        from (select distinct pipeline_id from homes order by 1) p
    ),
    recorded as (
        insert into events (pipeline_id, job_id, task_id, attempt, kind, message)
        select h.pipeline_id, n.job_id, n.task_id, n.attempt, n.kind, n.message
        from (select count(*) from locked) l
        cross join new n
        join homes h on h.id = n.job_id
        order by n.place
        returning id, at, pipeline_id, job_id, task_id, attempt, kind, message
    ),
    addressed as (
        insert into deliveries (webhook_id, event_id, kind, body)
        -- A CloudEvent, version 1.0, in its JSON format. The job is looked up again for its output, which few events carry.
        select w.id, e.id, e.kind, (
            select jsonb_build_object(
                'specversion', '1.0',
                'id', e.id::text,
                'source', '/ursa/jobs/' || e.job_id,
                'type', 'dev.ursa.' || e.kind,
                'subject', case e.kind when 'model.created' then j.output ->> 'registered' else j.name end,
                'time', to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'datacontenttype', 'application/json',
                'data', jsonb_build_object(
                    'pipeline_id', e.pipeline_id, 'job_id', e.job_id, 'job_name', j.name, 'project', j.project,
                    'kind', e.kind, 'message', e.message
                )
                || case when e.task_id is null then '{}'
                    else jsonb_build_object('task_id', e.task_id, 'attempt', e.attempt) end
                || case e.kind
                    when 'job.succeeded' then jsonb_build_object('output', j.output)
                    when 'model.created' then jsonb_build_object('model_digest', j.output ->> 'registered')
                    else '{}' end
            )::text
            from jobs j where j.id = e.job_id
        )
        from webhooks w
        join recorded e on exists (select from unnest(w.kinds) as k (beginning) where starts_with(e.kind, k.beginning))
        join homes h on h.id = e.job_id and (w.project is null or w.project = h.project)
        order by e.id
        returning id
    )
    select count(*) into deliveries_made from addressed;
    return deliveries_made;
end
$$;
