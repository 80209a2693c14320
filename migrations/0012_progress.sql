-- How far a job is: what of it has ended, and what its open attempts say, in its own unit. An attempt may count in another
-- one: a run of so many epochs tells batches. A job of one task is as far as its attempt says, and in the attempt's unit.
create function progress_of(job jobs) returns table (held bigint, done bigint, total bigint, unit text, message text)
language sql stable as $$
    select
        count(*),
        coalesce(max(a.progress_done) filter (where told), job.units_done + coalesce(sum(
            case when a.progress_unit in ('', job.unit) then a.progress_done
            else t.units * a.progress_done / greatest(a.progress_total, 1) end
        ), 0)::bigint),
        coalesce(max(nullif(a.progress_total, 0)) filter (where told), job.units_total),
        coalesce(max(a.progress_unit) filter (where told), job.unit),
        coalesce(max(a.progress_message), '')
    from attempts a
    join tasks t on t.id = a.task_id
    cross join lateral (select job.task_count = 1 and a.progress_unit <> '' as told) s
    where a.job_id = job.id and a.ended_at is null
$$;
