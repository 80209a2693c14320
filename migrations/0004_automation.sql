-- What happens by the clock, and who is told.

create table schedules (
    name text primary key,
    project text not null references projects (name),
    cron text not null,
    time_zone text not null,
    missed text not null check (missed in ('skip', 'once', 'all')),
    paused boolean not null default false,
    -- The pipeline as the wire has it.
    pipeline bytea not null,
    -- Null when it will never be due.
    next_at timestamptz,
    last_at timestamptz,
    last_pipeline_id uuid,
    -- Why the last submission was refused.
    last_error text not null default '',
    created_at timestamptz not null default now()
);
create index schedules_due on schedules (next_at) where not paused;

create table webhooks (
    id uuid primary key,
    url text not null,
    secret text not null,
    -- Null is every project's.
    project text references projects (name),
    -- Beginnings of kinds of event.
    kinds text[] not null,
    created_at timestamptz not null default now()
);

-- Written with the events and without a foreign key, which would have every event wait for whoever deletes a webhook. What
-- is left over is tidied up.
create table deliveries (
    id bigint generated always as identity primary key,
    webhook_id uuid not null,
    event_id bigint not null,
    kind text not null,
    -- The CloudEvent, as it is sent every time.
    body text not null,
    state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts integer not null default 0,
    http_status integer not null default 0,
    error text not null default '',
    -- When it is tried next; of one that is being sent, when somebody else may.
    next_at timestamptz not null default now(),
    give_up_at timestamptz not null default now() + interval '1 day',
    created_at timestamptz not null default now(),
    delivered_at timestamptz
);
create index deliveries_due on deliveries (webhook_id, next_at) where state = 'pending';
create index deliveries_of_webhook on deliveries (webhook_id, id desc);
create index deliveries_ended on deliveries ((coalesce(delivered_at, next_at))) where state <> 'pending';

-- As for the engine's hot tables: the default lets a fifth of it lie dead.
alter table deliveries set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
