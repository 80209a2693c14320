-- Whose ended tasks are not taken off the job's own row with every group of them: while somebody keeps an old transaction open,
-- all versions of a row stay, and whoever looks it up goes through each. For few tasks the row is less work.
create function counts_apart(task_count integer) returns boolean language sql immutable as $$
    select task_count >= 1000
$$;

-- Of such a job: how many tasks have ended, and their units, that its row still counts as open. One row at most; every group
-- gives it a new id, by which the index finds the one in force first, whatever lies dead behind it.
create table job_tallies (
    job_id uuid not null references jobs (id) on delete cascade,
    id bigint generated always as identity,
    tasks integer not null,
    units bigint not null,
    primary key (job_id, id)
);

create function tally_of(of_job uuid) returns table (tasks integer, units bigint) language sql stable as $$
    select tasks, units from job_tallies where job_id = of_job order by id desc limit 1
$$;

-- Takes ended tasks off a job's count, and gives how many are open then. The row says so itself once none is. A function, for
-- what is so once it holds the job, as with `release_waiting`.
create function count_ended(of_job uuid, ended integer, of_units bigint) returns integer language plpgsql as $$
declare
    job record;
    tally record;
    still_open integer;
begin
    select open_tasks, task_count into job from jobs where id = of_job for no key update;
    if not counts_apart(job.task_count) then
        update jobs set open_tasks = open_tasks - ended, units_done = units_done + of_units where id = of_job;
        return job.open_tasks - ended;
    end if;
    select id, tasks, units into tally from job_tallies where job_id = of_job order by id desc limit 1;
    still_open := job.open_tasks - coalesce(tally.tasks, 0) - ended;
    if tally.id is null then
        insert into job_tallies (job_id, tasks, units) values (of_job, ended, of_units);
    else
        update job_tallies set id = default, tasks = tasks + ended, units = units + of_units
        where job_id = of_job and id = tally.id;
    end if;
    if still_open = 0 then
        perform take_up_tally(of_job);
    end if;
    return still_open;
end $$;

-- Has the row of a job, which the caller holds, say by itself how many of its tasks are open, and gives it. The tally stays, and
-- says nothing: where there was none in force, everything that lies dead would be gone through.
create function take_up_tally(of_job uuid) returns integer language plpgsql as $$
declare
    tally record;
    still_open integer;
begin
    select id, tasks, units into tally from job_tallies where job_id = of_job order by id desc limit 1;
    if tally.tasks > 0 then
        update job_tallies set id = default, tasks = 0, units = 0 where job_id = of_job and id = tally.id;
        update jobs set open_tasks = open_tasks - tally.tasks, units_done = units_done + tally.units
        where id = of_job
        returning open_tasks into still_open;
    else
        select open_tasks into still_open from jobs where id = of_job;
    end if;
    return still_open;
end $$;

-- As before (0012), and what is counted apart.
create or replace function progress_of(job jobs) returns table (held bigint, done bigint, total bigint, unit text, message text)
language sql stable as $$
    select
        count(*),
        coalesce(max(a.progress_done) filter (where told), job.units_done + coalesce(sum(
            case when a.progress_unit in ('', job.unit) then a.progress_done
            else t.units * a.progress_done / greatest(a.progress_total, 1) end
        ), 0)::bigint + coalesce((select units from tally_of(job.id)), 0)),
        coalesce(max(nullif(a.progress_total, 0)) filter (where told), job.units_total),
        coalesce(max(a.progress_unit) filter (where told), job.unit),
        coalesce(max(a.progress_message), '')
    from attempts a
    join tasks t on t.id = a.task_id
    cross join lateral (select job.task_count = 1 and a.progress_unit <> '' as told) s
    where a.job_id = job.id and a.ended_at is null
$$;
