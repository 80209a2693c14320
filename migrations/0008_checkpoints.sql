-- On the validation side, where it was measured just before the checkpoint was written: after an epoch.
alter table checkpoints add column error_rate double precision;

-- Keys of objects that no other row names any more. A row goes when its object is gone.
create table objects_to_delete (
    key text primary key,
    since timestamptz not null default now()
);
