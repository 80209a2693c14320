-- Nobody looks anywhere else any more for what a claim has to know of a job. By itself, since it takes ten seconds for a million
-- jobs from before there were terms; it waits for nobody, and nobody waits for it.
insert into job_terms (job_id, pipeline_id, project, unit, run_deadline, no_progress, preemptible)
    select id, pipeline_id, project, unit, run_deadline, no_progress, coalesce((policy ->> 'preemptible')::boolean, false)
    from jobs j
    where not exists (select from job_terms t where t.job_id = j.id)
    on conflict do nothing;
