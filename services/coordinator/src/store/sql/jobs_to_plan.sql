-- Waiting jobs of which at least one dependency does not simply wait. What it may do is looked at under its lock.
select id
from jobs j
where state = 'waiting' and not exists (
    select from job_dependencies d join jobs o on o.id = d.depends_on
    where d.job_id = j.id and (
        o.state in ('waiting', 'cancelling')
        or (o.state = 'running' and not (j.kind = 'verify' and o.kind = 'scrape'))
    )
)
order by id
