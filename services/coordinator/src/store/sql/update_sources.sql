-- Writes what became of a task's sources, as far as that is still open. $1 task, $2–$10 outcomes.
update sources s
set outcome = case when o.error_class = '' then 'fetched' else 'failed' end,
    error_class = o.error_class, error = o.error, http_status = o.http_status, bytes = o.bytes, sha256 = o.sha256,
    final_url = o.final_url, fetched_at = o.fetched_at, duration_ms = o.duration_ms
from unnest(
    $2::uuid[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::text[], $8::text[], $9::timestamptz[], $10::int[]
) as o (id, error_class, error, http_status, bytes, sha256, final_url, fetched_at, duration_ms)
where s.id = o.id and s.task_id = $1 and s.outcome = 'pending'
