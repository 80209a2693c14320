-- As before, but that whoever asks for events of tasks hears of those of many tasks, too, which name them as the API does:
-- `tasks.deadline` goes where `task.deadline` would go for each.
create or replace function address_events(recorded bigint[]) returns bigint language plpgsql as $$
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
            || case when e.task_ids is null then '{}' else jsonb_build_object('tasks', (
                select jsonb_agg(jsonb_build_object('task_id', t.task_id, 'attempt', t.attempt) order by t.place)
                from unnest(e.task_ids, e.attempts) with ordinality as t (task_id, attempt, place)
            )) end
            || case e.kind
                when 'job.succeeded' then jsonb_build_object('output', j.output)
                when 'model.created' then jsonb_build_object('model_digest', j.output ->> 'registered')
                else '{}' end
        )::text
        from webhooks w
        join events e on e.id = any (recorded) and exists (
            select from unnest(w.kinds) as k (beginning)
            where starts_with(replace(e.kind, 'tasks.', 'task.'), k.beginning)
        )
        join jobs j on j.id = e.job_id and (w.project is null or w.project = j.project)
        order by e.id
        returning id
    )
    select count(*) into deliveries_made from addressed;
    return deliveries_made;
end $$;
