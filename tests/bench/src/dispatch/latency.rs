//! From just before a job is submitted to the start of its task in a worker process, as that says in its log.

use std::time::{Duration, Instant, SystemTime};

use anyhow::ensure;
use ursa_bench::report::{Aim, Report};

use crate::ground::{Ground, submit};
use crate::tables::Tables;
use crate::throughput::{FEW, one_per_job};
use crate::turns::middle;
use crate::{Arguments, peer, starts};

/// Jobs per second of a system that has nothing to do.
const IDLE: f64 = 20.0;
/// So many seconds of the other rate: what is measured in one second says how that second was.
const SECONDS: f64 = 10.0;
const PATIENCE: Duration = Duration::from_secs(30);

/// In milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// How long jobs wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// Where there is nothing else to do.
    pub(crate) idle: Percentiles,
    /// Jobs per second that go through at most.
    most: f64,
    /// At half that rate.
    pub(crate) half: Percentiles,
}

pub(crate) async fn ours(arguments: &Arguments, ground: &mut Ground) -> anyhow::Result<Waits> {
    ground.clear()?;
    ground.checkpoint()?;
    ground.coordinator().await?;
    ground.add_worker(FEW, &[], &starts::TELLING).await?;
    ground.warm_up().await?;
    let idle = run(ground, arguments.latency_tasks, IDLE).await?;
    // What goes through in a second is no measure of what does in ten, in which Postgres also cleans up.
    let in_a_moment = one_per_job(ground, arguments.jobs()).await?;
    let most = one_per_job(ground, (in_a_moment * SECONDS) as u32).await?;
    let half = run(ground, (most / 2.0 * SECONDS) as u32, most / 2.0).await?;
    ground.clear()?;
    Ok(Waits { idle, most, half })
}

/// How long the peer's jobs wait, at the same rates.
pub(crate) fn theirs(
    arguments: &Arguments,
    ground: &mut Ground,
    tables: Tables,
    ours: &[Waits],
) -> anyhow::Result<Waits> {
    ground.clear()?;
    ground.checkpoint()?;
    let most = middle(ours, |turn| turn.most);
    let idle = peer::latency(arguments, ground, tables, arguments.latency_tasks, IDLE)?;
    let half = peer::latency(arguments, ground, tables, (most / 2.0 * SECONDS) as u32, most / 2.0)?;
    Ok(Waits { idle, most, half })
}

pub(crate) fn tell(report: &mut Report, tables: Tables, ours: &[Waits], theirs: &Waits) {
    let mut row = |when: &str, ours: Percentiles, theirs: Percentiles| {
        let mut beside = |what: &str, ours: f64, theirs: f64, aim: Aim| {
            report.beside(&tables.row_beside(&format!("latency, {when}, {what}")), "ms", ours, theirs, aim);
        };
        beside("p50", ours.p50, theirs.p50, Aim::AtMost(5.0));
        beside("p99", ours.p99, theirs.p99, Aim::AtMost(20.0));
        beside("max", ours.max, theirs.max, Aim::None);
    };
    row("idle", of_all(ours, |turn| turn.idle), theirs.idle);
    row("half rate", of_all(ours, |turn| turn.half), theirs.half);
    let most = middle(ours, |turn| turn.most);
    report.row(&tables.row("latency, half rate: the rate it is half of"), "jobs/s", most, Aim::None);
}

/// The middle of the turns' percentiles, and the longest of all.
pub(crate) fn of_all(turns: &[Waits], which: impl Fn(&Waits) -> Percentiles) -> Percentiles {
    Percentiles {
        p50: middle(turns, |turn| which(turn).p50),
        p99: middle(turns, |turn| which(turn).p99),
        max: turns.iter().map(|turn| which(turn).max).fold(0.0, f64::max),
    }
}

/// Submits `jobs` of one task at `rate` per second, whether or not the ones before have been answered, and measures until
/// they start.
async fn run(ground: &mut Ground, jobs: u32, rate: f64) -> anyhow::Result<Percentiles> {
    let client = ground.coordinator().await?;
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let mut submitting = Vec::with_capacity(jobs as usize);
    for _ in 0..jobs {
        interval.tick().await;
        let client = client.clone();
        submitting.push(tokio::spawn(async move {
            let begin = SystemTime::now();
            submit(&client, 1).await.map(|job| (job, begin))
        }));
    }
    let mut submitted = Vec::with_capacity(jobs as usize);
    for one in submitting {
        submitted.push(one.await??);
    }
    waits(ground, &submitted).await.map(percentiles)
}

/// How long each job waited, in milliseconds, from the time beside it to its start.
async fn waits(ground: &Ground, submitted: &[(String, SystemTime)]) -> anyhow::Result<Vec<f64>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let starts = starts::read(&ground.worker_logs());
        let waits: Vec<f64> = submitted
            .iter()
            .filter_map(|(job, begin)| Some(starts.get(job)?.duration_since(*begin).ok()?.as_secs_f64() * 1000.0))
            .collect();
        if waits.len() == submitted.len() {
            return Ok(waits);
        }
        ensure!(Instant::now() < deadline, "{} jobs did not say when they started", submitted.len() - waits.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn percentiles(mut waits: Vec<f64>) -> Percentiles {
    waits.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share).round() as usize];
    Percentiles { p50: at(0.5), p99: at(0.99), max: at(1.0) }
}
