-- Objects with lines of job $1 after id $2, in the order of their first lines. Each of the later ones has a line at its
-- beginning, so that $3 of them fill a page of as many lines; of those that began before nobody can say.
select
    key as "key!", sha256 as "sha256!", task_id as "task_id!", attempt as "attempt!", first_line as "first_line!",
    last_line as "last_line!", lines as "lines!"
from log_objects
where job_id = $1 and first_line <= $2 and last_line > $2
union all
(
    select key, sha256, task_id, attempt, first_line, last_line, lines
    from log_objects
    where job_id = $1 and first_line > $2
    order by first_line
    limit $3
)
order by 5
