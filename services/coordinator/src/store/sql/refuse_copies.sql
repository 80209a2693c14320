-- Refuses all but the first of the kept images with equal bytes. $1 dataset, $2 the raw shard just verified.
with copies as (
    select i.id, first_value(i.id) over (partition by i.sha256 order by i.id) as first
    from images i
    where i.dataset_id = $1 and i.verdict = 'kept'
        and i.sha256 in (select sha256 from images where raw_shard = $2 and verdict = 'kept')
)
update images i
set verdict = 'refused', reason = 'duplicate', duplicate_of = c.first,
    detail = 'the same bytes as image ' || c.first || ', labelled ' || k.name
from copies c
join images f on f.id = c.first
join classes k on k.dataset_id = f.dataset_id and k.index = f.class_index
where i.id = c.id and c.first <> i.id
