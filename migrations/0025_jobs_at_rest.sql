-- By itself, since it holds up whoever writes jobs for as long as it takes to read them: about a second for a million. It cannot
-- be made `concurrently`, which waits for every old transaction, and for the coordinators that wait for this one to migrate.
create index jobs_at_rest on jobs (id) where state in ('running', 'cancelling') and has_open_tasks is not true;
