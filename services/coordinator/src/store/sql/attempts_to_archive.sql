-- Attempts with lines in the table that have ended, or that have $1 lines there; at most $2. Hops from attempt to attempt:
-- there are few, and each may have many lines.
with recursive heads as (
    (select task_id, attempt from log_lines order by task_id, attempt limit 1)
    union all
    select n.task_id, n.attempt
    from heads h
    cross join lateral (
        select l.task_id, l.attempt from log_lines l
        where (l.task_id, l.attempt) > (h.task_id, h.attempt)
        order by l.task_id, l.attempt
        limit 1
    ) n
)
select h.task_id as "task_id!", h.attempt as "attempt!"
from heads h
left join attempts a on a.task_id = h.task_id and a.number = h.attempt
where a.ended_at is not null or a.task_id is null or (
    select count(*) = $1 from (
        select from log_lines l where l.task_id = h.task_id and l.attempt = h.attempt limit $1
    ) lines
)
limit $2
