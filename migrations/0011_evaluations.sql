-- A kind of job that asks a model about the pictures of any snapshot.
alter table jobs drop constraint jobs_kind_check;
-- What is there already was checked by a narrower rule.
alter table jobs add constraint jobs_kind_check check (kind in (
    'scrape', 'verify', 'snapshot', 'find_lr', 'train', 'search', 'evaluate', 'deploy', 'sgd_lab', 'probe'
)) not valid;

-- How models do on snapshots: of each pair the latest evaluation. Kept as long as models are.
create table evaluations (
    model_digest text not null references models (digest),
    snapshot_digest text not null,
    snapshot_id uuid not null references snapshots (id),
    -- What the model says of every picture, in the object store.
    predictions_key text not null,
    predictions_sha256 text not null,
    predictions_bytes bigint not null,
    -- Mean cross-entropy in nats.
    loss double precision not null,
    -- Of each class of the model, in the order of its outputs: [{"class": …, "wrong": …, "of": …}].
    classes jsonb not null,
    job_id uuid not null,
    task_id uuid not null,
    attempt integer not null,
    evaluated_at timestamptz not null default now(),
    primary key (model_digest, snapshot_digest)
);
