//! The peer that Ursa's dispatch is measured beside: `graphile_worker`, doing nothing on the same Postgres.
//!
//! Batched is the crate at its best, with the settings of its own benchmarks: a local queue that fetches many jobs at
//! once, and completions that are gathered for five milliseconds. Unbatched is its default: a fetch and a completion for
//! every job. Prints one JSON object.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

const BATCH: usize = 5000;

/// Measures `graphile_worker` on no-op jobs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Postgres to work on; everything the crate has there is dropped first.
    #[arg(long)]
    database_url: String,
    /// What to measure.
    #[arg(long)]
    mode: Mode,
    /// Jobs at a time.
    #[arg(long, default_value_t = 24)]
    workers: usize,
    /// Jobs in all.
    #[arg(long, default_value_t = 20_000)]
    jobs: usize,
    /// Jobs per second, when latency is measured.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Fetch and complete many at once.
    #[arg(long)]
    batched: bool,
    /// Jobs that wait in the table for a later time meanwhile.
    #[arg(long, default_value_t = 0)]
    fill: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Throughput,
    Latency,
}

#[derive(Debug, Serialize, Deserialize)]
struct Nothing {
    place: usize,
}

static DONE: AtomicUsize = AtomicUsize::new(0);
static STARTS: OnceLock<Mutex<Vec<(usize, Instant)>>> = OnceLock::new();

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, _: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(starts) = STARTS.get()
            && let Ok(mut starts) = starts.lock()
        {
            starts.push((self.place, Instant::now()));
        }
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(20).connect(&arguments.database_url).await?;
    sqlx::query("drop schema if exists graphile_worker cascade").execute(&pool).await?;
    let mut options = WorkerOptions::default()
        .concurrency(arguments.workers)
        .pg_pool(pool.clone())
        .schema("graphile_worker")
        // As in its own benchmarks; with the default of a second it would mostly wait.
        .poll_interval(Duration::from_millis(5))
        .listen_os_shutdown_signals(false)
        .define_job::<Nothing>();
    if arguments.batched {
        options = options
            .local_queue(LocalQueueConfig::default().with_size(BATCH))
            .complete_job_batch_delay(Duration::from_millis(5));
    }
    let worker = Arc::new(options.init().await.context("the worker does not start")?);
    fill(&worker, arguments.fill).await?;
    let figures = match arguments.mode {
        Mode::Throughput => throughput(&arguments, &worker, &pool).await?,
        Mode::Latency => latency(&arguments, &worker).await?,
    };
    println!("{figures}");
    // What is left to do belongs to nobody.
    std::process::exit(0);
}

type Worker = Arc<graphile_worker::Worker>;

async fn fill(worker: &Worker, count: usize) -> anyhow::Result<()> {
    let later = chrono::Utc::now() + chrono::TimeDelta::days(30);
    add(worker, count, &JobSpec { run_at: Some(later), ..JobSpec::default() }).await
}

async fn add(worker: &Worker, count: usize, spec: &JobSpec) -> anyhow::Result<()> {
    let utils = worker.create_utils();
    for first in (0..count).step_by(BATCH) {
        let jobs: Vec<RawJobSpec> = (first..count.min(first + BATCH))
            .map(|place| RawJobSpec {
                identifier: Nothing::IDENTIFIER.to_owned(),
                payload: json!(Nothing { place }),
                spec: spec.clone(),
            })
            .collect();
        utils.add_raw_jobs(&jobs).await?;
    }
    Ok(())
}

async fn throughput(arguments: &Arguments, worker: &Worker, pool: &sqlx::PgPool) -> anyhow::Result<serde_json::Value> {
    let begin = Instant::now();
    add(worker, arguments.jobs, &JobSpec::default()).await?;
    let enqueued = begin.elapsed();
    sqlx::query("analyze").execute(pool).await?;
    let begin = Instant::now();
    let running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    // Durable is done: the row has gone.
    while remaining(pool, arguments.fill).await? > 0 {
        anyhow::ensure!(!running.is_finished(), "the worker ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ran = begin.elapsed();
    anyhow::ensure!(DONE.load(Ordering::Relaxed) >= arguments.jobs, "some jobs did not run");
    let rate = |elapsed: Duration| arguments.jobs as f64 / elapsed.as_secs_f64();
    Ok(json!({"jobs_per_second": rate(ran), "enqueued_per_second": rate(enqueued), "jobs": arguments.jobs}))
}

async fn remaining(pool: &sqlx::PgPool, fill: usize) -> anyhow::Result<i64> {
    let count: i64 = sqlx::query_scalar("select count(*) from graphile_worker._private_jobs where run_at <= now() limit 1")
        .fetch_one(pool)
        .await?;
    let _ = fill;
    Ok(count)
}

async fn latency(arguments: &Arguments, worker: &Worker) -> anyhow::Result<serde_json::Value> {
    let starts = STARTS.get_or_init(Mutex::default);
    let _running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    let utils = worker.create_utils();
    let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / arguments.rate));
    let mut submitted = Vec::with_capacity(arguments.jobs);
    for place in 0..arguments.jobs {
        interval.tick().await;
        submitted.push(Instant::now());
        utils.add_job(Nothing { place }, JobSpec::default()).await?;
    }
    let wait = async {
        while starts.lock().map_or(0, |starts| starts.len()) < arguments.jobs {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.context("some jobs did not start")?;
    let mut micros: Vec<u128> = starts
        .lock()
        .map(|starts| starts.iter().map(|(place, at)| (*at - submitted[*place]).as_micros()).collect())
        .unwrap_or_default();
    micros.sort_unstable();
    let at = |share: f64| micros[((micros.len() - 1) as f64 * share).round() as usize] as f64 / 1000.0;
    Ok(json!({"p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": at(1.0), "jobs": arguments.jobs}))
}
