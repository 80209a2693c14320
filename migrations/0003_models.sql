-- Models, and where they are served.

create table models (
    digest text primary key,
    architecture text not null,
    classes jsonb not null,
    error_rate double precision not null,
    -- model.json, verbatim: its SHA-256 is the digest.
    model_json text not null,
    job_id uuid not null,
    task_id uuid not null,
    attempt integer not null,
    snapshot_id uuid not null references snapshots (id),
    created_at timestamptz not null default now()
);
create index models_by_age on models (created_at desc, digest);

create table endpoints (
    name text primary key,
    model_digest text not null references models (digest),
    generation bigint not null default 1,
    updated_at timestamptz not null default now()
);

create table nodes (
    id uuid primary key,
    name text not null,
    version text not null,
    http_address text not null,
    grpc_address text not null,
    started_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
);

-- What each node makes of each endpoint, as it last reported.
create table assignments (
    node_id uuid not null references nodes (id),
    endpoint text not null,
    model_digest text not null,
    serving_digest text not null default '',
    state text not null check (state in ('loading', 'ready', 'failed')),
    error text not null default '',
    updated_at timestamptz not null default now(),
    primary key (node_id, endpoint)
);
