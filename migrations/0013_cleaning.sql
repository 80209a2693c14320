-- How an attempt ended is never overwritten; what happened after that has columns of its own: its worker came back, and was
-- told that the lease is gone; what it uploaded and no row names was deleted.
alter table attempts add column fenced_at timestamptz;
alter table attempts add column cleaned_at timestamptz;

-- Attempts that ended without counting, and may have left objects. A row goes with the last look at them.
create table attempts_to_clean (
    task_id uuid not null,
    attempt integer not null,
    -- When it ended, or its worker was last known to be at it.
    since timestamptz not null default now(),
    -- Whether the first look, which comes at once, is done.
    looked boolean not null default false,
    primary key (task_id, attempt)
);
