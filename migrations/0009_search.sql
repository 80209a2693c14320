-- A kind of job whose tasks decide which tasks follow.
alter table jobs drop constraint jobs_kind_check;
-- What is there already was checked by a narrower rule.
alter table jobs add constraint jobs_kind_check check (kind in (
    'scrape', 'verify', 'snapshot', 'find_lr', 'train', 'search', 'deploy', 'sgd_lab', 'probe'
)) not valid;
