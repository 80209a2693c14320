-- The latest job that succeeded under key $1 in project $2, all of whose attempts were in the hands of code of version $3:
-- whoever planned it, workers of another version may have done it. Lost and failed attempts count, too, for others go on from
-- what they left behind. Each job's tasks and attempts are looked up by their keys (offset 0): joined, they would be found by
-- reading every attempt there is.
select j.id as "id!"
from jobs j
where j.cache_key = $1 and j.state = 'succeeded' and j.project = $2 and j.cached_from is null and not j.retired
    and not exists (
        select from tasks t cross join lateral (
            select from attempts a where a.task_id = t.id and a.code_version is distinct from $3 offset 0
        ) other
        where t.job_id = j.id
    )
order by j.finished_at desc
limit 1
