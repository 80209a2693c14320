-- What jobs wrote goes in bulk, at the small end of tables that grow, and measurements of long runs are thinned meanwhile: so
-- that the room is used again, and old pages are frozen a little at a time, Postgres shall not wait for a fifth of them.
alter table jobs set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
alter table events set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0.02
);
alter table metrics set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0.02
);
alter table log_objects set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
alter table attempts_to_clean set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
alter table objects_to_delete set (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
