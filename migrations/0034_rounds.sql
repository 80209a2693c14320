-- How many of a job's units were done when its present round began: they say nothing about how fast it goes now. A coordinator of
-- the version before leaves that as it was, and the rate of a round that it begins is too high, as it has been.
alter table jobs add column units_done_before bigint not null default 0;
