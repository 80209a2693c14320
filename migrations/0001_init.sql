-- The tables of a coordinator. Words and life cycles are those of crates/domain; times are the database's.

create table datasets (
    id uuid primary key,
    name text not null unique,
    created_at timestamptz not null default now()
);

-- The order of the classes is data: it is the order of a model's outputs and never changes.
create table classes (
    dataset_id uuid not null references datasets (id),
    index integer not null check (index >= 0),
    name text not null,
    primary key (dataset_id, index),
    unique (dataset_id, name)
);

create table pipelines (
    id uuid primary key,
    name text not null,
    -- The same key with another fingerprint is a conflict, with the same one a repetition.
    idempotency_key text unique,
    fingerprint bytea not null,
    created_at timestamptz not null default now()
);

create table jobs (
    id uuid primary key,
    pipeline_id uuid not null references pipelines (id),
    ordinal integer not null,
    name text not null,
    kind text not null check (kind in ('scrape', 'verify', 'snapshot', 'train', 'deploy')),
    spec jsonb not null,
    state text not null default 'waiting'
        check (state in ('waiting', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'skipped')),
    max_attempts integer not null check (max_attempts between 1 and 20),
    error text not null default '',
    output jsonb not null default '{}',
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    unique (pipeline_id, name)
);
create index jobs_open on jobs (state) where state in ('waiting', 'running', 'cancelling');

create table job_dependencies (
    job_id uuid not null references jobs (id),
    depends_on uuid not null references jobs (id),
    primary key (job_id, depends_on)
);

create table workers (
    id uuid primary key,
    name text not null,
    version text not null,
    slots integer not null,
    gpus jsonb not null default '[]',
    -- The coordinator's own executor of snapshot and deploy tasks is a worker nobody attached.
    internal boolean not null default false,
    started_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
);

create table tasks (
    id uuid primary key,
    job_id uuid not null references jobs (id),
    ordinal integer not null,
    kind text not null,
    payload jsonb not null,
    state text not null default 'ready' check (state in ('ready', 'leased', 'succeeded', 'failed', 'cancelled')),
    -- The number of the present or last attempt; 0 before the first.
    attempt integer not null default 0,
    -- Attempts allowed: grows when a user asks for another round.
    max_attempts integer not null,
    ready_at timestamptz not null default now(),
    worker_id uuid references workers (id),
    lease_token uuid,
    lease_expires_at timestamptz,
    progress_done bigint not null default 0,
    progress_total bigint not null default 0,
    progress_unit text not null default '',
    progress_message text not null default '',
    unique (job_id, ordinal),
    -- A lease is there exactly while the task is leased.
    check ((state = 'leased') = (lease_token is not null)),
    check ((state = 'leased') = (lease_expires_at is not null))
);
create index tasks_ready on tasks (ready_at, id) where state = 'ready';
create index tasks_leased on tasks (lease_expires_at) where state = 'leased';
create index tasks_leased_by on tasks (worker_id) where state = 'leased';

-- One row per try, never overwritten once it has ended.
create table attempts (
    task_id uuid not null references tasks (id),
    number integer not null check (number >= 1),
    worker_id uuid not null references workers (id),
    lease_token uuid not null,
    state text not null default 'running' check (state in ('running', 'succeeded', 'failed', 'cancelled', 'lost')),
    error_class text,
    error text not null default '',
    last_log_sequence bigint not null default 0,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    primary key (task_id, number),
    check ((state = 'running') = (ended_at is null))
);

create table events (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    pipeline_id uuid not null references pipelines (id),
    job_id uuid not null references jobs (id),
    task_id uuid references tasks (id),
    attempt integer,
    kind text not null,
    message text not null
);
create index events_of_pipeline on events (pipeline_id, id);
create index events_of_job on events (job_id, id);

create table log_lines (
    id bigint generated always as identity primary key,
    job_id uuid not null references jobs (id),
    task_id uuid not null references tasks (id),
    attempt integer not null,
    at timestamptz not null,
    level text not null,
    message text not null
);
create index log_lines_of_job on log_lines (job_id, id);

create table metrics (
    task_id uuid not null references tasks (id),
    attempt integer not null,
    name text not null,
    step bigint not null,
    job_id uuid not null references jobs (id),
    epoch integer not null,
    value double precision not null,
    primary key (task_id, attempt, name, step)
);
create index metrics_of_job on metrics (job_id, name, step);

create table checkpoints (
    task_id uuid not null references tasks (id),
    attempt integer not null,
    epoch integer not null,
    key text not null,
    sha256 text not null,
    bytes bigint not null,
    created_at timestamptz not null default now(),
    primary key (task_id, attempt, epoch)
);

-- One line of a URL list. Its id becomes the image's.
create table sources (
    id uuid primary key,
    dataset_id uuid not null references datasets (id),
    class_index integer not null,
    list_name text not null,
    line integer not null,
    url text not null,
    -- The job and task that fetch it, or fetched it last.
    job_id uuid not null references jobs (id),
    task_id uuid references tasks (id),
    outcome text not null default 'pending' check (outcome in ('pending', 'fetched', 'failed')),
    error_class text not null default '',
    error text not null default '',
    http_status integer not null default 0,
    bytes bigint not null default 0,
    sha256 text not null default '',
    final_url text not null default '',
    fetched_at timestamptz,
    duration_ms integer not null default 0,
    foreign key (dataset_id, class_index) references classes (dataset_id, index),
    unique (dataset_id, class_index, url)
);
create index sources_of_task on sources (task_id);
create index sources_of_dataset on sources (dataset_id, id);

-- A shard in the object store. An object that no row names does not exist.
create table shards (
    key text primary key,
    dataset_id uuid not null references datasets (id),
    kind text not null check (kind in ('raw', 'normal')),
    task_id uuid not null references tasks (id),
    attempt integer not null,
    sha256 text not null,
    bytes bigint not null,
    -- Of raw shards: whether a verify task has looked at it.
    verified boolean not null default false,
    created_at timestamptz not null default now()
);
create index shards_to_verify on shards (dataset_id) where kind = 'raw' and not verified;

create table images (
    id uuid primary key references sources (id),
    dataset_id uuid not null references datasets (id),
    class_index integer not null,
    sha256 text not null,
    bytes bigint not null,
    raw_shard text not null references shards (key),
    raw_offset bigint not null,
    raw_length bigint not null,
    verdict text not null default 'unverified' check (verdict in ('unverified', 'kept', 'refused')),
    reason text not null default '',
    detail text not null default '',
    duplicate_of uuid references images (id),
    format text not null default '',
    mode text not null default '',
    orientation integer not null default 0,
    width integer not null default 0,
    height integer not null default 0,
    pixel_sha256 text not null default '',
    perceptual_hash bigint not null default 0,
    normal_shard text references shards (key),
    normal_offset bigint not null default 0,
    normal_length bigint not null default 0,
    normal_width integer not null default 0,
    normal_height integer not null default 0,
    foreign key (dataset_id, class_index) references classes (dataset_id, index),
    check ((verdict = 'refused') = (reason <> ''))
);
create index images_of_dataset on images (dataset_id, id);
create index images_by_content on images (dataset_id, sha256);
create index images_of_shard on images (raw_shard);

create table snapshots (
    id uuid primary key,
    dataset_id uuid not null references datasets (id),
    number integer not null check (number >= 1),
    seed bigint not null,
    valid_percent integer not null,
    digest text not null,
    classes jsonb not null,
    job_id uuid not null references jobs (id),
    created_at timestamptz not null default now(),
    unique (dataset_id, number)
);

create table models (
    digest text primary key,
    architecture text not null,
    classes jsonb not null,
    error_rate double precision not null,
    -- model.json, verbatim: its SHA-256 is the digest.
    model_json text not null,
    job_id uuid not null references jobs (id),
    task_id uuid not null references tasks (id),
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
