-- Kinds of job that learn without leaving a model behind.
alter table jobs drop constraint jobs_kind_check;
-- What is there already was checked by a narrower rule.
alter table jobs add constraint jobs_kind_check check (kind in (
    'scrape', 'verify', 'snapshot', 'find_lr', 'train', 'deploy', 'sgd_lab', 'probe'
)) not valid;

-- A run is saved in the middle of an epoch, too.
alter table checkpoints add column step bigint not null default 0;
alter table checkpoints drop constraint checkpoints_pkey;
alter table checkpoints add primary key (task_id, attempt, epoch, step);
