-- A job is as urgent as the most urgent of those that wait for it: what it has of one of them, and of which; nothing where
-- its own priority is no lower. Jobs that are there inherit as soon as another of their pipeline ends or is steered.
alter table jobs add column inherited_priority integer, add column inherited_from uuid;

-- The lane that differs from another one in nothing but its priority; the same where it has that already.
create function lane_at(other integer, at_priority integer) returns integer language plpgsql as $$
declare
    l lanes;
begin
    select * into strict l from lanes where id = other;
    if l.priority = at_priority then
        return l.id;
    end if;
    return lane_of(l.project, l.kind, at_priority, l.resources, l.gang);
end
$$;
