-- Of raw shards: the jobs that have taken it up to verify it, of which `verify_task` is the latest one's. A job takes up what
-- another one left unverified, but nothing twice: two that cannot verify a shard would hand it to each other for ever.
alter table shards add column taken_up_by uuid[] not null default '{}';
-- Few: those that nobody has verified yet.
update shards s set taken_up_by = array[t.job_id]
from tasks t
where t.id = s.verify_task and s.kind = 'raw' and not s.verified;
