-- The raw shards of dataset $1 that job $2 takes up: those that are not verified, that it has not taken up before, and that no
-- other job is at. What is left to another is so only while that one runs and nobody pauses its project: if it waits, it may wait
-- for this one.
-- `jobs_to_feed.sql` asks the same.
select s.key, s.sha256, (select count(*) from images i where i.raw_shard = s.key) as "images!"
from shards s
where s.dataset_id = $1 and s.kind = 'raw' and not s.verified and not $2::uuid = any (s.taken_up_by)
    and not exists (
        select from tasks t
        where t.id = s.verify_task and t.state not in ('failed', 'dead', 'cancelled')
            and exists (
                select from jobs o join projects p on p.name = o.project
                where o.id = t.job_id and o.state in ('running', 'cancelling')
                    and (t.state in ('leased', 'running') or not p.paused)
                offset 0
            )
        offset 0
    )
order by s.created_at, s.key
for no key update of s skip locked
