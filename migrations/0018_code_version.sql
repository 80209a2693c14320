-- Which code was at work: what came of it is taken over only by who has the same. Null where a worker does not say it.
alter table attempts add column code_version text;
