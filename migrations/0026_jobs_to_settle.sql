-- `jobs_at_rest` has taken its place. The version before goes over all jobs that run meanwhile.
drop index jobs_to_settle;
