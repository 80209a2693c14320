//! How full the tables are: as on the first day, or as after months.

use anyhow::anyhow;

use crate::Arguments;
use crate::ground::{Ground, psql};

/// What a worker has that may take the queued tasks of full tables.
pub(crate) const LABEL: &str = "bench=queued";
/// The job of these tasks.
const QUEUED: &str = "queued";
/// Where their ids begin.
const AFTER_ALL: u64 = 1_000_000_000;

/// The payload and the specification of those who do nothing, once.
const PAYLOAD: &str = r#"'{"duration_ms": 0, "fail_first": false}'"#;
const SPEC: &str = r#"'{"kind": "probe", "tasks": 1, "duration_ms": 0, "failures": 0}'"#;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tables {
    /// Nothing but what the benchmark itself has put there.
    Empty,
    /// After [`fill`].
    Full,
}

impl Tables {
    /// The name of a row.
    pub(crate) fn row(self, what: &str) -> String {
        let tables = match self {
            Self::Empty => "empty tables",
            Self::Full => "full tables",
        };
        format!("{tables}: {what}")
    }

    /// The name of a row with a peer in it. In full tables of the peer nothing is finished: it deletes what is.
    pub(crate) fn row_beside(self, what: &str) -> String {
        match self {
            Self::Empty => self.row(what),
            Self::Full => self.row(what) + " (the peer's full of the queued only: it deletes the finished)",
        }
    }

    /// Tasks that are queued in them.
    pub(crate) fn queued(self, arguments: &Arguments) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Full => arguments.queued,
        }
    }
}

/// Fills the tables behind the coordinator's back, which has to have planned a probe before. What is queued waits in a lane
/// of its own, for workers with [`LABEL`]: what is measured would else stand in line behind it.
pub(crate) fn fill(arguments: &Arguments, ground: &mut Ground) -> anyhow::Result<()> {
    // It would end the job whose tasks are still to come.
    ground.clear()?;
    let Arguments { finished, queued, .. } = arguments;
    println!("filling the tables with {finished} finished and {queued} queued tasks");
    let policy = "(select policy from jobs where kind = 'probe' limit 1)";
    ground.sql(&prepared(&format!(
        "insert into pipelines (id, name, project, fingerprint, spec)
            select pg_temp.id(n), 'history', 'default', '', '{{}}' from generate_series(0, 99) n;
        insert into jobs (id, pipeline_id, project, ordinal, name, kind, spec, policy, priority, state, task_count,
            units_total, units_done, unit, started_at, finished_at)
            select pg_temp.id(n), pg_temp.id(n), 'default', 0, 'probe', 'probe', {SPEC}, {policy}, 4, 'succeeded',
                {finished} / 100, {finished} / 100, {finished} / 100, 'ms', now(), now()
            from generate_series(0, 99) n;
        insert into jobs (id, pipeline_id, project, ordinal, name, kind, spec, policy, priority, state, unit, started_at)
            select pg_temp.id(100), pg_temp.id(0), 'default', 1, '{QUEUED}', 'probe', {SPEC}, {policy}, 0, 'running', 'ms',
                now();
        insert into lanes (project, kind, priority, resources, gang)
            select 'default', 'probe', 0, jsonb_build_object('labels', jsonb_build_object(
                split_part('{LABEL}', '=', 1), split_part('{LABEL}', '=', 2))), 1"
    )))?;
    let attempts = prepared(&format!(
        "insert into attempts (task_id, number, job_id, project, worker_id, worker_name, lease_token, state, expires_at,
            ended_at)
            select pg_temp.id(1000 + n), 1, pg_temp.id(n % 100), 'default', pg_temp.id(0), 'worker', pg_temp.id(0),
                'succeeded', now(), now()
            from generate_series(0, {finished} - 1) n"
    ));
    // Beside the tasks: it takes minutes.
    let url = ground.database_url();
    let attempts = std::thread::spawn(move || psql(&url, &attempts));
    ground.sql(&prepared(&format!(
        "insert into tasks (id, job_id, lane_id, ordinal, payload, state, attempt, max_attempts, ready_at, units)
            select pg_temp.id(1000 + n), pg_temp.id(n % 100), (select id from lanes where priority = 4), n / 100, {PAYLOAD},
                'succeeded', 1, 3, now() - interval '1 day', 1
            from generate_series(0, {finished} - 1) n"
    )))?;
    attempts.join().map_err(|_| anyhow!("a thread panicked"))??;
    top_up(arguments, ground)?;
    ground.sql("vacuum analyze")?;
    ground.sql("checkpoint").map(drop)
}

/// Queues as many tasks as have been taken of what shall be queued.
pub(crate) fn top_up(arguments: &Arguments, ground: &Ground) -> anyhow::Result<()> {
    let queued = arguments.queued;
    ground
        .sql(&prepared(&format!(
            "with job as (
                select j.id, task_count, {queued} - open_tasks + coalesce(y.tasks, 0) as missing
                from jobs j left join lateral tally_of(j.id) y on true where name = '{QUEUED}' for update of j
            ),
            grown as (
                update jobs j set task_count = j.task_count + missing, open_tasks = j.open_tasks + missing,
                    units_total = j.units_total + missing
                from job where j.id = job.id
            )
            insert into tasks (id, job_id, lane_id, ordinal, payload, state, max_attempts, units)
                select pg_temp.id({AFTER_ALL} + n), job.id, (select id from lanes where priority = 0), n, {PAYLOAD}, 'ready',
                    3, 1
                from job cross join generate_series(task_count, task_count + missing - 1) n"
        )))
        .map(drop)
}

/// SQL that makes ids as the coordinator does, which grow with time.
fn prepared(statements: &str) -> String {
    format!(
        "create function pg_temp.id(place bigint) returns uuid language sql immutable as $$
            select (lpad(to_hex(1700000000000 + place), 12, '0') || '70000000000000000000')::uuid
        $$;
        {statements}"
    )
}
