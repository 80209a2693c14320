-- The lane of what has the same project, kind, priority, needs and gang; made if there is none. A function, so that the
-- statement that writes tasks can ask for it.
create function lane_of(of_project text, of_kind text, of_priority integer, of_resources jsonb, of_gang integer)
returns integer language plpgsql as $$
declare
    lane integer;
begin
    loop
        select id into lane from lanes
        where project = of_project and kind = of_kind and priority = of_priority and resources = of_resources
            and gang = of_gang;
        exit when found;
        insert into lanes (project, kind, priority, resources, gang)
        values (of_project, of_kind, of_priority, of_resources, of_gang)
        -- Somebody else was faster: theirs is found the next time round.
        on conflict do nothing
        returning id into lane;
        exit when found;
    end loop;
    return lane;
end
$$;
