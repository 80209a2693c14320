-- Tasks, by job, newest first, and place. $1 job, $2 state, $3 project, $4 and $5 the job and place after which to begin.
select t.id, t.job_id, t.ordinal, t.state, t.ready_at, t.units, j.unit
from tasks t
join jobs j on j.id = t.job_id
where ($1::uuid is null or t.job_id = $1)
    and ($2::text is null or t.state = $2)
    and ($3::text is null or j.project = $3)
    and ($4::uuid is null or t.job_id < $4 or (t.job_id = $4 and t.ordinal > $5))
order by t.job_id desc, t.ordinal
limit $6
