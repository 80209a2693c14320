-- What a claim has to know of a job. The job's own row is written with every group of its tasks that ends, and while somebody
-- keeps an old transaction open, whoever looks it up walks over all that it was since. Jobs from before have none: they are
-- looked up in their own rows.
create table job_terms (
    job_id uuid primary key,
    project text not null,
    unit text not null,
    run_deadline interval,
    no_progress interval,
    preemptible boolean not null
);

create function note_job_terms() returns trigger language plpgsql as $$
begin
    insert into job_terms (job_id, project, unit, run_deadline, no_progress, preemptible)
        select id, project, unit, run_deadline, no_progress, coalesce((policy ->> 'preemptible')::boolean, false)
        from noted;
    return null;
end $$;
create trigger job_terms_noted after insert on jobs
    referencing new table as noted for each statement execute function note_job_terms();

-- What is counted is known when the job is planned.
create function note_job_unit() returns trigger language plpgsql as $$
begin
    update job_terms set unit = new.unit where job_id = new.id;
    return null;
end $$;
create trigger job_unit_noted after update of unit on jobs
    for each row when (old.unit is distinct from new.unit) execute function note_job_unit();

create function forget_job_terms() returns trigger language plpgsql as $$
begin
    delete from job_terms t using gone where t.job_id = gone.id;
    return null;
end $$;
create trigger job_terms_forgotten after delete on jobs
    referencing old table as gone for each statement execute function forget_job_terms();
