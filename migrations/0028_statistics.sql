-- Nobody looks for rows by what is free of form in them, and to sort thousands of specifications by their value, which Postgres
-- did once a minute while jobs came in, took a core for seconds.
alter table pipelines alter column spec set statistics 0, alter column fingerprint set statistics 0;
alter table jobs alter column spec set statistics 0, alter column policy set statistics 0, alter column output set statistics 0,
    alter column error set statistics 0;
alter table tasks alter column payload set statistics 0;
alter table attempts alter column error set statistics 0, alter column progress_message set statistics 0,
    alter column stop_detail set statistics 0, alter column gpus set statistics 0;
alter table events alter column message set statistics 0, alter column task_ids set statistics 0,
    alter column attempts set statistics 0;
alter table log_lines alter column message set statistics 0;
alter table deliveries alter column body set statistics 0, alter column error set statistics 0;
