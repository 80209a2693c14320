-- What happens by the clock, and who is told.

create table schedules (
    name text primary key,
    project text not null references projects (name),
    cron text not null,
    time_zone text not null,
    missed text not null check (missed in ('skip', 'once', 'all')),
    paused boolean not null default false,
    -- The request as it is submitted, as JSON and as the wire has it.
    pipeline jsonb not null,
    pipeline_message bytea not null,
    next_at timestamptz,
    last_at timestamptz,
    last_pipeline_id uuid,
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

create table deliveries (
    id bigint generated always as identity primary key,
    webhook_id uuid not null references webhooks (id) on delete cascade,
    event_id bigint not null,
    kind text not null,
    -- The CloudEvent, as it is sent every time.
    body text not null,
    state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts integer not null default 0,
    http_status integer not null default 0,
    error text not null default '',
    next_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    delivered_at timestamptz
);
create index deliveries_due on deliveries (next_at) where state = 'pending';
create index deliveries_of_webhook on deliveries (webhook_id, id desc);
