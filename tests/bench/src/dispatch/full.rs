//! The same with full tables: a million tasks queued, ten million finished, and a transaction that has been open since
//! before, which keeps Postgres from cleaning up.

use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use ursa_bench::report::{Aim, Report};

use crate::attendant::Attendant;
use crate::ground::Ground;
use crate::latency;
use crate::throughput::{self, AT_A_TIME, AT_A_TIME_BATCHED};
use crate::{Arguments, peer};

/// How much worse full tables may make it.
const WITHIN: f64 = 1.2;

pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    let client = ground.coordinator().await?;
    let empty = once(arguments, ground, report).await?;
    fill(arguments, ground)?;
    let _open = OpenTransaction::begin(ground)?;
    let full = once(arguments, ground, report).await?;
    drop(client);
    let slower = empty.throughput / full.throughput;
    report.row("throughput with full tables", "tasks/s", full.throughput, Aim::AtLeast(empty.throughput / WITHIN));
    report.row("  empty tables are faster by", "times", slower, Aim::None);
    report.row("latency with full tables, p50", "ms", full.latency.p50, Aim::AtMost(empty.latency.p50 * WITHIN));
    report.row("latency with full tables, p99", "ms", full.latency.p99, Aim::AtMost(20.0));
    report.row("  with empty ones, p50", "ms", empty.latency.p50, Aim::None);
    let plan = ground.sql(
        "explain select id from tasks where state = 'ready' and lane_id = 1 order by ready_at, id limit 24 for update skip locked",
    )?;
    let scans = f64::from(u8::from(plan.contains("Index Scan using tasks_ready") && !plan.contains("Sort")));
    report.row("the claim is an index scan in order (1 is yes)", "", scans, Aim::AtLeast(1.0));

    let waiting = (arguments.queued / 10).to_string();
    let (jobs, workers) = (arguments.tasks.to_string(), AT_A_TIME.to_string());
    let common = ["--mode", "throughput", "--workers", &workers, "--jobs", &jobs, "--batched", "--fill", &waiting];
    let theirs = peer::run(ground, &arguments.peer, &common)?;
    let figure = peer::figure(&theirs, "jobs_per_second");
    report.beside(
        "throughput with full tables, beside the peer's",
        "tasks/s",
        full.throughput,
        figure,
        Aim::TimesPeer(1.0),
    );
    Ok(())
}

struct Once {
    throughput: f64,
    latency: latency::Percentiles,
}

async fn once(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<Once> {
    ground.workers.clear();
    ground.coordinator().await?;
    ground.add_worker(AT_A_TIME_BATCHED / 2).await?;
    ground.add_worker(AT_A_TIME_BATCHED / 2).await?;
    let throughput = throughput::run(ground, report, arguments.tasks).await?;
    ground.workers.clear();
    let client = ground.coordinator().await?;
    let attendant = Attendant::attach(&client, AT_A_TIME, &["probe"]);
    let latency = latency::run(ground, &attendant, arguments.latency_tasks, 20.0).await?;
    Ok(Once { throughput, latency })
}

/// Fills the tables behind the coordinator's back: as they are after months.
fn fill(arguments: &Arguments, ground: &Ground) -> anyhow::Result<()> {
    let Arguments { finished, queued, .. } = arguments;
    println!("filling the tables with {finished} finished and {queued} queued tasks");
    let lane = "(select min(id) from lanes where kind = 'probe')";
    let policy = "(select policy from jobs where kind = 'probe' limit 1)";
    ground.sql(&format!(
        "insert into pipelines (id, name, project, fingerprint, spec)
            select gen_random_uuid(), 'history', 'default', '', '{{}}' from generate_series(1, 100);
        insert into jobs (id, pipeline_id, project, ordinal, name, kind, spec, policy, priority, state, task_count,
            units_total, units_done, unit, finished_at)
            select gen_random_uuid(), id, 'default', 0, 'probe', 'probe', '{{\"kind\": \"probe\", \"tasks\": 1, \"duration_ms\": 0, \"failures\": 0}}',
                {policy}, 4, 'succeeded', {finished} / 100, 1, 1, 'ms', now() from pipelines where name = 'history';
        insert into tasks (id, job_id, lane_id, ordinal, payload, state, attempt, max_attempts, ready_at, units)
            select gen_random_uuid(), j.id, {lane}, n, '{{\"duration_ms\": 0, \"fail_first\": false}}', 'succeeded', 1, 3,
                now() - interval '1 day', 1
            from jobs j join pipelines p on p.id = j.pipeline_id and p.name = 'history'
            cross join generate_series(1, {finished} / 100) n;
        insert into attempts (task_id, number, job_id, project, worker_id, worker_name, lease_token, state, expires_at, ended_at)
            select t.id, 1, t.job_id, 'default', gen_random_uuid(), 'worker', gen_random_uuid(), 'succeeded', now(), now()
            from tasks t join jobs j on j.id = t.job_id join pipelines p on p.id = j.pipeline_id and p.name = 'history';"
    ))?;
    ground.sql(&format!(
        "insert into lanes (project, kind, priority, resources, gang)
            select 'default', 'probe', 0, '{{\"labels\": {{\"nobody\": \"has this\"}}}}', 1;
        with job as (
            insert into jobs (id, pipeline_id, project, ordinal, name, kind, spec, policy, priority, state, task_count,
                open_tasks, units_total, unit)
            select gen_random_uuid(), id, 'default', 1, 'queued', 'probe', '{{\"kind\": \"probe\", \"tasks\": 1, \"duration_ms\": 0, \"failures\": 0}}',
                {policy}, 0, 'running', {queued}, {queued}, {queued}, 'ms' from pipelines where name = 'history' limit 1
            returning id)
        insert into tasks (id, job_id, lane_id, ordinal, payload, state, max_attempts, units)
            select gen_random_uuid(), job.id, (select max(id) from lanes), n, '{{\"duration_ms\": 0, \"fail_first\": false}}', 'ready', 3, 1
            from job cross join generate_series(1, {queued}) n"
    ))?;
    ground.sql("vacuum analyze")?;
    ground.sql("checkpoint").map(drop)
}

/// Somebody who has forgotten to commit.
struct OpenTransaction(Child);

impl OpenTransaction {
    fn begin(ground: &Ground) -> anyhow::Result<Self> {
        use std::io::Write as _;
        let mut child = Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--dbname", &ground.database_url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let input = child.stdin.as_mut().context("psql takes no input")?;
        writeln!(input, "begin isolation level repeatable read; select count(*) from lanes;")?;
        input.flush()?;
        Ok(Self(child))
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        // It has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
