-- The job engine. Words and life cycles are those of crates/domain; times are the database's.

-- Whose jobs they are, and their share of what there is.
create table projects (
    name text primary key,
    weight double precision not null default 1 check (weight > 0),
    max_running integer check (max_running >= 0),
    max_gpus integer check (max_gpus >= 0),
    paused boolean not null default false,
    created_at timestamptz not null default now()
);
insert into projects (name) values ('default');

-- The tasks of one kind. A kind without a row is not paused.
create table queues (
    kind text primary key,
    paused boolean not null
);

-- What makes ready tasks interchangeable for whoever places them. Few; never deleted.
create table lanes (
    id integer generated always as identity primary key,
    project text not null references projects (name),
    kind text not null,
    priority integer not null,
    resources jsonb not null,
    -- Workers at once; the tasks of a job with more than one are leased together.
    gang integer not null check (gang >= 1),
    unique (project, kind, priority, resources, gang)
);

create table pipelines (
    id uuid primary key,
    name text not null,
    project text not null references projects (name),
    -- The same key with another fingerprint is a conflict, with the same one a repetition.
    idempotency_key text,
    fingerprint bytea not null,
    spec jsonb not null,
    rerun_of uuid,
    created_at timestamptz not null default now(),
    unique (project, idempotency_key)
);
create index pipelines_by_age on pipelines (created_at);
create index pipelines_rerun on pipelines (rerun_of) where rerun_of is not null;

create table jobs (
    id uuid primary key,
    pipeline_id uuid not null references pipelines (id) on delete cascade,
    project text not null,
    ordinal integer not null,
    name text not null,
    kind text not null check (kind in ('scrape', 'verify', 'snapshot', 'train', 'deploy', 'probe')),
    spec jsonb not null,
    policy jsonb not null,
    priority integer not null,
    state text not null default 'waiting'
        check (state in ('waiting', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled', 'skipped')),
    -- Of a job that is cancelling: why, when it is not by a user's word. It ends failed then.
    error text not null default '',
    output jsonb not null default '{}',
    -- Whether an earlier job with the same key may stand in, and which one did.
    reuse boolean not null default false,
    cache_key text,
    cached_from uuid,
    -- Tasks in all, and those that have not ended.
    task_count integer not null default 0,
    open_tasks integer not null default 0 check (open_tasks >= 0),
    -- Units of work in all, and those of tasks that ended well.
    units_total bigint not null default 0,
    units_done bigint not null default 0,
    unit text not null default '',
    parallelism integer,
    -- Deadlines: of a ready task, of an attempt, of an attempt without progress; of the whole job as a point in time.
    queue_wait interval,
    run_deadline interval,
    no_progress interval,
    expires_at timestamptz,
    -- It is being deleted, step by step: there is no other round for it.
    retired boolean not null default false,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    unique (pipeline_id, name)
);
create index jobs_waiting on jobs (id) where state = 'waiting';
create index jobs_open on jobs (id) where state in ('running', 'cancelling');
create index jobs_to_settle on jobs (id) where state in ('running', 'cancelling') and open_tasks = 0;
create index jobs_that_expire on jobs (expires_at) where expires_at is not null and finished_at is null;
create index jobs_with_queue_wait on jobs (id) where queue_wait is not null and state = 'running';
create index jobs_finished on jobs (finished_at, id) where finished_at is not null;
create index jobs_cached on jobs (cached_from) where cached_from is not null;
create index jobs_by_cache_key on jobs (cache_key, finished_at desc) where cache_key is not null and state = 'succeeded';
create index jobs_of_project on jobs (project, id desc);

create table job_dependencies (
    job_id uuid not null references jobs (id) on delete cascade,
    depends_on uuid not null references jobs (id) on delete cascade,
    primary key (job_id, depends_on)
);
create index job_dependents on job_dependencies (depends_on);

create table workers (
    id uuid primary key,
    name text not null,
    version text not null,
    slots integer not null,
    kinds text[] not null,
    gpus jsonb not null default '[]',
    labels jsonb not null default '{}',
    -- Whether it says that it takes no more, and whether an operator wants it to.
    draining boolean not null default false,
    drain boolean not null default false,
    -- The coordinator's own executor of snapshot and deploy tasks is a worker nobody attached.
    internal boolean not null default false,
    started_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now()
) with (fillfactor = 50);
-- Every claim looks for them, and finds next to none.
create index workers_drained on workers (id) where drain;

create table tasks (
    id uuid primary key,
    job_id uuid not null references jobs (id) on delete cascade,
    lane_id integer not null references lanes (id),
    ordinal integer not null,
    payload jsonb not null,
    state text not null check (state in (
        'waiting', 'ready', 'leased', 'running', 'retry_wait', 'succeeded', 'failed', 'cancelled', 'dead'
    )),
    -- The number of the present or last attempt; 0 before the first.
    attempt integer not null default 0,
    -- Attempts allowed: grows when one does not count, and when a user asks for another round.
    max_attempts integer not null,
    -- When it became ready; of a task in retry-wait when it will.
    ready_at timestamptz not null default now(),
    units bigint not null,
    unique (job_id, ordinal)
);
create index tasks_ready on tasks (lane_id, ready_at, id) where state = 'ready';
create index tasks_to_wake on tasks (ready_at) where state = 'retry_wait';
create index tasks_waiting on tasks (job_id, ordinal) where state = 'waiting';
create index tasks_ended_badly on tasks (job_id, ordinal) where state in ('dead', 'failed');

-- One row per try, never overwritten once it has ended. While it is open it is the lease. It is written by the statement
-- that locks its task, and deleted before it: a foreign key would look up, and lock, every task a second time.
create table attempts (
    task_id uuid not null,
    number integer not null check (number >= 1),
    job_id uuid not null,
    project text not null,
    worker_id uuid not null,
    worker_name text not null,
    lease_token uuid not null,
    state text not null default 'leased' check (state in (
        'leased', 'running', 'succeeded', 'failed', 'cancelled', 'lost', 'returned'
    )),
    -- GPUs of the worker, by index.
    gpus integer[] not null default '{}',
    expires_at timestamptz not null,
    leased_at timestamptz not null default now(),
    acknowledged_at timestamptz,
    progress_done bigint not null default 0,
    progress_total bigint not null default 0,
    progress_unit text not null default '',
    progress_message text not null default '',
    progressed_at timestamptz not null default now(),
    run_until timestamptz,
    no_progress interval,
    stop_reason text check (stop_reason in ('cancelled', 'deadline', 'preempted')),
    stop_detail text not null default '',
    stop_asked_at timestamptz,
    stop_acknowledged_at timestamptz,
    stop_forced_at timestamptz,
    error_class text,
    error text not null default '',
    last_log_sequence bigint not null default 0,
    ended_at timestamptz,
    primary key (task_id, number),
    check ((state in ('leased', 'running')) = (ended_at is null)),
    check ((stop_reason is null) = (stop_asked_at is null))
    -- Renewals stay within the page: no index holds what they change.
) with (fillfactor = 70);
create index attempts_open on attempts (worker_id) where ended_at is null;
create index attempts_open_of_job on attempts (job_id) where ended_at is null;
-- Whoever looks for attempts that take too long looks at those that may not, and not at thousands that may.
create index attempts_with_deadline on attempts (task_id)
    where ended_at is null and stop_reason is null and (run_until is not null or no_progress is not null);

-- What follows is written in bulk and names its job without a foreign key, which would lock the job's row; it goes when
-- the job goes.

create table events (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    pipeline_id uuid not null,
    job_id uuid not null,
    task_id uuid,
    attempt integer,
    kind text not null,
    message text not null
);
create index events_of_pipeline on events (pipeline_id, id);
create index events_of_job on events (job_id, id);

-- The live tail of what attempts say; the rest lies in the object store.
create table log_lines (
    id bigint generated always as identity primary key,
    job_id uuid not null,
    task_id uuid not null,
    attempt integer not null,
    at timestamptz not null,
    level text not null,
    message text not null
);
create index log_lines_of_job on log_lines (job_id, id);
create index log_lines_of_attempt on log_lines (task_id, attempt, id);

create table log_objects (
    key text primary key,
    job_id uuid not null,
    task_id uuid not null,
    attempt integer not null,
    -- Ids of the first and last line in it, and how many there are: others' may lie between.
    first_line bigint not null,
    last_line bigint not null,
    lines integer not null,
    sha256 text not null,
    bytes bigint not null
);
create index log_objects_of_job on log_objects (job_id, first_line);

create table metrics (
    task_id uuid not null,
    attempt integer not null,
    name text not null,
    step bigint not null,
    job_id uuid not null,
    epoch integer not null,
    value double precision not null,
    primary key (task_id, attempt, name, step)
);
create index metrics_of_job on metrics (job_id, name, step);

create table checkpoints (
    task_id uuid not null references tasks (id) on delete cascade,
    attempt integer not null,
    epoch integer not null,
    key text not null,
    sha256 text not null,
    bytes bigint not null,
    created_at timestamptz not null default now(),
    primary key (task_id, attempt, epoch)
);

-- Which coordinator does what only one shall do; taken over when it is not renewed.
create table duties (
    name text primary key,
    holder uuid not null,
    expires_at timestamptz not null
);

-- Postgres cleans up after a fifth of a table has changed, by default. These change all the time, and who reads them
-- walks over what is dead: a dispatcher over the tasks that were taken, an archiver over the lines that it moved.
alter table tasks set (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);
alter table attempts set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
alter table workers set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
alter table log_lines set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);
