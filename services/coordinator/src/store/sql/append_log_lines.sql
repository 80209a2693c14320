-- Appends lines of attempt $3 of task $2 of job $1; side by side $4 times, $5 levels, $6 messages. Who reads the job's log
-- waits for the shared lock to find out up to which id nothing more will come (`log_horizon.sql`).
with locked as materialized (
    select pg_advisory_xact_lock_shared(hashtextextended($1::uuid::text, 1))
)
insert into log_lines (job_id, task_id, attempt, at, level, message)
select $1, $2, $3, l.at, l.level, l.message
from (select count(*) from locked) k
cross join unnest($4::timestamptz[], $5::text[], $6::text[]) with ordinality as l (at, level, message, place)
order by l.place
