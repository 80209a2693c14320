-- A kind of job that has a model say what in images speaks for a class.
alter table jobs drop constraint jobs_kind_check;
-- What is there already was checked by a narrower rule.
alter table jobs add constraint jobs_kind_check check (kind in (
    'scrape', 'verify', 'snapshot', 'find_lr', 'train', 'search', 'evaluate', 'explain', 'deploy', 'sgd_lab', 'probe'
)) not valid;

-- Where in images the evidence for a class lies: of each model, image and class the latest answer. Kept as long as models are.
create table heatmaps (
    model_digest text not null references models (digest),
    image_id uuid not null references images (id),
    class text not null,
    -- What the model takes the image for, and what it gives the class.
    predicted text not null,
    probability real not null,
    -- The evidence by place, row by row, in so many rows and columns.
    side integer not null,
    map jsonb not null,
    -- The picture as the model sees it, bright where the evidence lies, in the object store.
    overlay_key text not null,
    overlay_sha256 text not null,
    job_id uuid not null,
    task_id uuid not null,
    attempt integer not null,
    explained_at timestamptz not null default now(),
    primary key (model_digest, image_id, class)
);
