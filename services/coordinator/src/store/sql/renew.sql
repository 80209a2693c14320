-- Renews leases that are still current; rows that do not come back are lost. $1–$3 leases, $4–$7 progress, $8 seconds.
with report as (
    select *
    from unnest($1::uuid[], $2::int[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::text[])
        as r (id, attempt, token, done, total, unit, message)
)
update tasks t
set lease_expires_at = now() + make_interval(secs => $8),
    progress_done = r.done, progress_total = r.total, progress_unit = r.unit, progress_message = r.message
from report r, jobs j
where t.id = r.id and t.attempt = r.attempt and t.lease_token = r.token and t.state = 'leased' and j.id = t.job_id
returning t.lease_token as "lease_token!", j.state = 'cancelling' as "cancelling!"
