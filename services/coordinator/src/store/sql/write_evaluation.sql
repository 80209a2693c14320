-- Has an evaluation count in place of the one before it, whose predictions nothing names any more. $1 model, $2 and $3 digest
-- and id of the snapshot, $4 key, $5 SHA-256 and $6 size of the predictions, $7 loss, $8 errors of each class, $9 job, $10
-- task, $11 attempt. The caller holds the model's row.
with superseded as (
    insert into objects_to_delete (key)
    select predictions_key from evaluations
    where model_digest = $1 and snapshot_digest = $2 and predictions_key <> $4
    on conflict do nothing
)
insert into evaluations (
    model_digest, snapshot_digest, snapshot_id, predictions_key, predictions_sha256, predictions_bytes, loss, classes, job_id,
    task_id, attempt
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
on conflict (model_digest, snapshot_digest) do update set
    snapshot_id = excluded.snapshot_id, predictions_key = excluded.predictions_key,
    predictions_sha256 = excluded.predictions_sha256, predictions_bytes = excluded.predictions_bytes, loss = excluded.loss,
    classes = excluded.classes, job_id = excluded.job_id, task_id = excluded.task_id, attempt = excluded.attempt,
    evaluated_at = excluded.evaluated_at
