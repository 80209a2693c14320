-- The id up to which all lines of job $1 are committed: whoever drew a smaller one before has ended when the lock is given.
select s.last_value as "horizon!"
from (select count(*) from (select pg_advisory_xact_lock(hashtextextended($1::uuid::text, 1))) k) locked
cross join log_lines_id_seq s
