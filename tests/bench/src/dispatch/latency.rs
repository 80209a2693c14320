//! From just before a job is submitted to the moment its task is with a worker.

use std::time::{Duration, Instant};

use anyhow::ensure;
use ursa_bench::report::{Aim, Report};

use crate::attendant::Attendant;
use crate::ground::{Ground, submit};
use crate::throughput::AT_A_TIME;
use crate::{Arguments, peer};

/// Jobs per second of a system that has nothing to do.
const IDLE: f64 = 20.0;

const PATIENCE: Duration = Duration::from_secs(30);

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

pub(crate) async fn measure(arguments: &Arguments, ground: &mut Ground, report: &mut Report) -> anyhow::Result<()> {
    let jobs = arguments.latency_tasks;
    let (count, workers) = (jobs.to_string(), AT_A_TIME.to_string());
    let theirs = peer::run(
        ground,
        &arguments.peer,
        &["--mode", "latency", "--workers", &workers, "--jobs", &count, "--rate", &IDLE.to_string(), "--batched"],
    )?;
    let client = ground.coordinator().await?;
    ground.workers.clear();
    let attendant = Attendant::attach(&client, AT_A_TIME, &["probe"]);
    let idle = run(ground, &attendant, jobs, IDLE).await?;
    report.beside("latency, idle, p50", "ms", idle.p50, peer::figure(&theirs, "p50_ms"), Aim::AtMost(5.0));
    report.beside("latency, idle, p99", "ms", idle.p99, peer::figure(&theirs, "p99_ms"), Aim::AtMost(20.0));
    report.beside("latency, idle, max", "ms", idle.max, peer::figure(&theirs, "max_ms"), Aim::None);

    let most = most(ground, jobs).await?;
    report.row("jobs per second that go through from eight callers", "jobs/s", most, Aim::None);
    let half = run(ground, &attendant, jobs, most / 2.0).await?;
    report.row("latency, half of that rate, p50", "ms", half.p50, Aim::AtMost(5.0));
    report.row("latency, half of that rate, p99", "ms", half.p99, Aim::AtMost(20.0));
    report.row("latency, half of that rate, max", "ms", half.max, Aim::None);
    Ok(())
}

/// How many jobs per second go through, from eight callers that wait for their answers to the end of the last.
async fn most(ground: &mut Ground, jobs: u32) -> anyhow::Result<f64> {
    let client = ground.coordinator().await?;
    let begin = Instant::now();
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..jobs / 8 {
                    submit(&client, 1).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    while ground.sql("select exists (select from jobs where finished_at is null)")? == "t" {
        ensure!(begin.elapsed() < PATIENCE, "some jobs do not end");
    }
    Ok(f64::from(jobs) / begin.elapsed().as_secs_f64())
}

/// Submits `jobs` of one task at `rate` per second and measures until they are with the attendant.
pub(crate) async fn run(
    ground: &mut Ground,
    attendant: &Attendant,
    jobs: u32,
    rate: f64,
) -> anyhow::Result<Percentiles> {
    let client = ground.coordinator().await?;
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let mut submitting = Vec::with_capacity(jobs as usize);
    for _ in 0..jobs {
        interval.tick().await;
        let client = client.clone();
        submitting.push(tokio::spawn(async move {
            let begin = Instant::now();
            submit(&client, 1).await.map(|job| (job, begin))
        }));
    }
    let mut submitted = Vec::with_capacity(jobs as usize);
    for one in submitting {
        submitted.push(one.await??);
    }
    waits(attendant, &submitted).await.map(percentiles)
}

/// How long each job waited, in milliseconds, from the time beside it to its start.
async fn waits(attendant: &Attendant, submitted: &[(String, Instant)]) -> anyhow::Result<Vec<f64>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let starts = attendant.starts();
        let waits: Vec<f64> = submitted
            .iter()
            .filter_map(|(job, begin)| Some((*starts.get(job)? - *begin).as_secs_f64() * 1000.0))
            .collect();
        if waits.len() == submitted.len() {
            return Ok(waits);
        }
        ensure!(Instant::now() < deadline, "{} jobs did not start", submitted.len() - waits.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn percentiles(mut waits: Vec<f64>) -> Percentiles {
    waits.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share).round() as usize];
    Percentiles { p50: at(0.5), p99: at(0.99), max: at(1.0) }
}
