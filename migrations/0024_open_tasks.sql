-- The row of a job is written with every group of its tasks that ends. In place, where no index holds what is changed: an index
-- of the jobs without open tasks held the very count. Null means no, too: of jobs from before nobody knows until next time.
alter table jobs add column has_open_tasks boolean;

create function note_open_tasks() returns trigger language plpgsql as $$
begin
    new.has_open_tasks := new.open_tasks > 0;
    return new;
end $$;
create trigger open_tasks_noted before insert or update of open_tasks on jobs
    for each row when ((new.open_tasks > 0) is distinct from (new.has_open_tasks is true))
    execute function note_open_tasks();

-- For that there has to be room where the row is.
alter table jobs set (fillfactor = 80);
