-- Datasets. The jobs and tasks that made a row are named without a foreign key: finished jobs are not kept for ever.

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

-- One line of a URL list. Its id becomes the image's.
create table sources (
    id uuid primary key,
    dataset_id uuid not null references datasets (id),
    class_index integer not null,
    list_name text not null,
    line integer not null,
    url text not null,
    -- The job and task that fetch it, or fetched it last.
    job_id uuid not null,
    task_id uuid,
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
    task_id uuid not null,
    attempt integer not null,
    sha256 text not null,
    bytes bigint not null,
    -- Of raw shards: whether a verify task has looked at it, and which one shall.
    verified boolean not null default false,
    verify_task uuid,
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
    job_id uuid not null,
    created_at timestamptz not null default now(),
    unique (dataset_id, number)
);
