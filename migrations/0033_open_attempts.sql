-- What a worker holds. Between and in order, or Postgres, to which all indexes of open attempts look the same while they are
-- empty, goes over one that is ordered by something else.
create function open_attempts_of(worker uuid) returns setof attempts language sql stable as $$
    select * from attempts where worker_id between worker and worker and ended_at is null order by worker_id
$$;
