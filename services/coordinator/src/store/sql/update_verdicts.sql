-- Writes the verdicts on a raw shard's images that have none yet. $1 raw shard, $2 normal shard, $3–$17 verdicts.
update images i
set verdict = case when v.reason = '' then 'kept' else 'refused' end,
    reason = v.reason, detail = v.detail, width = v.width, height = v.height, format = v.format, mode = v.mode,
    orientation = v.orientation, pixel_sha256 = v.pixel_sha256, perceptual_hash = v.perceptual_hash,
    normal_shard = case when v.reason = '' then $2 end,
    normal_offset = v.normal_offset, normal_length = v.normal_length,
    normal_width = v.normal_width, normal_height = v.normal_height, licence = v.licence
from unnest(
    $3::uuid[], $4::text[], $5::text[], $6::int[], $7::int[], $8::text[], $9::text[], $10::int[], $11::text[],
    $12::bigint[], $13::bigint[], $14::bigint[], $15::int[], $16::int[], $17::text[]
) as v (
    id, reason, detail, width, height, format, mode, orientation, pixel_sha256,
    perceptual_hash, normal_offset, normal_length, normal_width, normal_height, licence
)
where i.id = v.id and i.raw_shard = $1 and i.verdict = 'unverified'
