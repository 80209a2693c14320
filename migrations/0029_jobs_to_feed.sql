-- Those that take up what is committed while they run, which is asked several times a second: it walked over every job that had
-- run since the last vacuum. By itself, for the reason that 0025 gives, and for as long.
create index jobs_to_feed on jobs (id) where state = 'running' and kind in ('verify', 'search');
