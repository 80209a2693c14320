-- Has heatmaps count in place of those before them, whose pictures nothing names any more. $1 model; of each heatmap $2 image,
-- $3 class, $4 what the image is taken for, $5 probability of the class, $6 side, $7 values, $8 key and $9 SHA-256 of the
-- picture; $10 job, $11 task, $12 attempt. The caller holds the model's row.
with told as (
    select * from unnest(
        $2::uuid[], $3::text[], $4::text[], $5::real[], $6::integer[], $7::jsonb[], $8::text[], $9::text[]
    ) as h (image_id, class, predicted, probability, side, map, overlay_key, overlay_sha256)
), superseded as (
    insert into objects_to_delete (key)
    select before.overlay_key
    from heatmaps before
    join told on told.image_id = before.image_id and told.class = before.class
    where before.model_digest = $1 and before.overlay_key <> told.overlay_key
    on conflict do nothing
)
insert into heatmaps (
    model_digest, image_id, class, predicted, probability, side, map, overlay_key, overlay_sha256, job_id, task_id, attempt
)
select $1, image_id, class, predicted, probability, side, map, overlay_key, overlay_sha256, $10, $11, $12 from told
on conflict (model_digest, image_id, class) do update set
    predicted = excluded.predicted, probability = excluded.probability, side = excluded.side, map = excluded.map,
    overlay_key = excluded.overlay_key, overlay_sha256 = excluded.overlay_sha256, job_id = excluded.job_id,
    task_id = excluded.task_id, attempt = excluded.attempt, explained_at = excluded.explained_at
