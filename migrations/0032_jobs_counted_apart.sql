-- Where a coordinator of the version before ends the last task of such a job, its row does not say that none is open. By itself,
-- for the reason that 0025 gives, and for as long.
create index jobs_counted_apart on jobs (id) where state in ('running', 'cancelling') and counts_apart(task_count);
