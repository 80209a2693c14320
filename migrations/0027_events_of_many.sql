-- An event of many tasks says which, and which attempt at each: not in `task_id` and `attempt`, which are those of one.
alter table events
    add column task_ids uuid[],
    add column attempts integer[];
-- Neither gets any smaller.
alter table events
    alter column task_ids set storage external,
    alter column attempts set storage external;

-- Writes down to which webhooks events go, and what is sent; gives the number of deliveries.
create function address_events(recorded bigint[]) returns bigint language plpgsql as $$
declare
    deliveries_made bigint;
begin
    with addressed as (
        insert into deliveries (webhook_id, event_id, kind, body)
        -- A CloudEvent, version 1.0, in its JSON format.
        select w.id, e.id, e.kind, jsonb_build_object(
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
            || case when e.task_id is null then '{}' else jsonb_build_object('task_id', e.task_id, 'attempt', e.attempt) end
            || case e.kind
                when 'job.succeeded' then jsonb_build_object('output', j.output)
                when 'model.created' then jsonb_build_object('model_digest', j.output ->> 'registered')
                else '{}' end
        )::text
        from webhooks w
        join events e on e.id = any (recorded)
            and exists (select from unnest(w.kinds) as k (beginning) where starts_with(e.kind, k.beginning))
        join jobs j on j.id = e.job_id and (w.project is null or w.project = j.project)
        order by e.id
        returning id
    )
    select count(*) into deliveries_made from addressed;
    return deliveries_made;
end $$;

-- Records events, side by side, under their pipelines' event locks, so that ids grow in the order of commits within a pipeline;
-- gives the number of deliveries to webhooks. The locks are the last to take. What is of many tasks names them in lists of their
-- own, as text: Postgres has no list of lists of several lengths. The one of five arguments looks for the pipelines itself; it
-- is the version before's.
create function record_events(
    of_pipelines uuid[], of_jobs uuid[], of_tasks uuid[], of_attempts integer[], of_many text[], attempts_of_many text[],
    kinds text[], messages text[]
)
returns bigint language plpgsql as $$
declare
    recorded bigint[];
begin
    if of_pipelines[1] = all (of_pipelines) then
        perform pg_advisory_xact_lock(hashtextextended(of_pipelines[1]::text, 0));
    else
        perform pg_advisory_xact_lock(hashtextextended(p.id::text, 0))
        from (select distinct id from unnest(of_pipelines) as id order by id) p;
    end if;
    with new as (
        insert into events (pipeline_id, job_id, task_id, attempt, task_ids, attempts, kind, message)
        select pipeline_id, job_id, task_id, attempt, many::uuid[], attempts::integer[], kind, message
        from unnest(of_pipelines, of_jobs, of_tasks, of_attempts, of_many, attempts_of_many, kinds, messages)
            with ordinality as n (pipeline_id, job_id, task_id, attempt, many, attempts, kind, message, place)
        order by place
        returning id
    )
    select array_agg(id) into recorded from new;
    if not exists (select from webhooks) then
        return 0;
    end if;
    return address_events(recorded);
end $$;
