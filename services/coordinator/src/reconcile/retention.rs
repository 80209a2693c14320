//! Deletes what is older than it shall get, a little at a time and with rests between, in one coordinator at a time.
//!
//! What is at work is bounded, too: of a series of measurements that grows long, the older points are told further apart.
//!
//! Pipelines go whole, once all their jobs have ended long enough ago; what jobs wrote while they ran may go before.
//! Datasets, snapshots and models stay: they name the jobs that made them, and need not find them. Objects go after the
//! rows that made them count, in whose place others hold their keys until then (`leftovers`).

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{duty, leftovers, note};
use crate::config::Config;
use crate::context::Context;
use crate::expiry::Expiry;
use crate::store::{Ended, Store, StoreResult};

const DUTY: &str = "retention";
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// Rows in one statement.
const ROWS: i64 = 5000;
const TASKS: i64 = 1000;
const OBJECTS: i64 = 100;
const JOBS: i64 = 100;
const PIPELINES: i64 = 50;
/// Of one series of an attempt at work, and so many of them the latest, which stay as they came.
const MOST_POINTS: i64 = 100_000;
const DENSE_POINTS: i64 = 50_000;
const SHORTEST_REST: Duration = Duration::from_millis(10);

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let pause = pause(&context.config);
    Box::pin(duty::hold(DUTY, &context, &stop, || delete(&context, pause))).await;
}

/// Between two sweeps: short enough that nothing gets much older than it shall.
fn pause(config: &Config) -> Duration {
    let ages = [
        config.delete_jobs_after,
        config.delete_events_after,
        config.delete_metrics_after,
        config.delete_logs_after,
        config.delete_deliveries_after,
        config.forget_peers_after,
    ];
    let shortest = ages.into_iter().filter_map(Expiry::age).min();
    shortest.map_or(LONGEST_PAUSE, |shortest| (shortest / 10).clamp(SHORTEST_PAUSE, LONGEST_PAUSE))
}

/// A sweep takes as long as there is something old. What has to answer in time is each of its steps: a statement, or a
/// transaction.
async fn delete(context: &Context, pause: Duration) {
    let mut places = Places::default();
    let mut outage = false;
    loop {
        note(DUTY, Box::pin(sweep(context, &mut places)).await, &mut outage);
        sleep(pause).await;
    }
}

/// One transaction, with the patience for one.
async fn step<T>(context: &Context, transaction: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
    context.store.patience().long().with(transaction).await
}

/// How far what jobs wrote is deleted. Only saves work: who takes over begins from the start.
#[derive(Debug, Default)]
struct Places {
    events: Option<Ended>,
    metrics: Option<Ended>,
    logs: Option<Ended>,
}

/// What jobs wrote.
#[derive(Debug, Clone, Copy)]
enum Written {
    Events,
    Metrics,
    LogLines,
    LogObjects,
    Tasks,
}

const EVERYTHING: [Written; 5] =
    [Written::Events, Written::Metrics, Written::LogLines, Written::LogObjects, Written::Tasks];

/// What there may be much of.
#[derive(Debug, Clone, Copy)]
enum Rows<'a> {
    OfJobs(Written, &'a [Uuid]),
    Deliveries(Duration),
    Workers(Duration),
    Nodes(Duration),
}

async fn sweep(context: &Context, places: &mut Places) -> StoreResult<()> {
    let config = &context.config;
    leftovers::delete(context).await?;
    context.store.thin_metrics(MOST_POINTS, DENSE_POINTS).await?;
    of_ended_jobs(context, config.delete_events_after, &mut places.events, &[Written::Events]).await?;
    of_ended_jobs(context, config.delete_metrics_after, &mut places.metrics, &[Written::Metrics]).await?;
    let logs = [Written::LogLines, Written::LogObjects];
    of_ended_jobs(context, config.delete_logs_after, &mut places.logs, &logs).await?;
    if let Some(age) = config.delete_jobs_after.age() {
        delete_pipelines(context, age).await?;
    }
    if let Some(age) = config.delete_deliveries_after.age() {
        delete_all(context, Rows::Deliveries(age)).await?;
    }
    if let Some(age) = config.forget_peers_after.age() {
        delete_all(context, Rows::Workers(age)).await?;
        delete_all(context, Rows::Nodes(age)).await?;
    }
    Ok(())
}

/// Deletes what the jobs after `place` that ended long enough ago wrote, some jobs at a time.
async fn of_ended_jobs(
    context: &Context,
    expiry: Expiry,
    place: &mut Option<Ended>,
    written: &[Written],
) -> StoreResult<()> {
    let Some(age) = expiry.age() else { return Ok(()) };
    loop {
        let ended = context.store.jobs_ended_before(age, *place, JOBS).await?;
        let Some(last) = ended.last() else { return Ok(()) };
        let jobs: Vec<Uuid> = ended.iter().map(|(_, id)| *id).collect();
        for written in written {
            delete_all(context, Rows::OfJobs(*written, &jobs)).await?;
        }
        *place = Some(*last);
    }
}

async fn delete_pipelines(context: &Context, age: Duration) -> StoreResult<()> {
    let mut deleted = 0;
    loop {
        let before = deleted;
        for id in context.store.pipelines_ended_before(age, PIPELINES).await? {
            deleted += u64::from(delete_pipeline(context, id, age).await?);
        }
        if deleted == before {
            break;
        }
    }
    if deleted > 0 {
        tracing::info!(deleted, "deleted pipelines that ended long ago");
    }
    Ok(())
}

/// False when a job of it was given another round meanwhile.
async fn delete_pipeline(context: &Context, id: Uuid, age: Duration) -> StoreResult<bool> {
    let Some(jobs) = step(context, context.store.retire_pipeline(id, age)).await? else { return Ok(false) };
    for written in EVERYTHING {
        delete_all(context, Rows::OfJobs(written, &jobs)).await?;
    }
    step(context, context.store.delete_pipeline(id, &jobs)).await?;
    Ok(true)
}

/// Deletes some at a time until there are none, and rests as long as each time took.
async fn delete_all(context: &Context, rows: Rows<'_>) -> StoreResult<()> {
    loop {
        let begun = Instant::now();
        if delete_some(context, rows).await? == 0 {
            return Ok(());
        }
        sleep(begun.elapsed().max(SHORTEST_REST)).await;
    }
}

/// Deletes some, and then the objects that they made count.
async fn delete_some(context: &Context, rows: Rows<'_>) -> StoreResult<u64> {
    let (deleted, objects) = step(context, delete_rows(&context.store, rows)).await?;
    leftovers::delete_these(context, objects).await?;
    Ok(deleted)
}

/// How many went, and the keys of objects that are to be deleted now.
async fn delete_rows(store: &Store, rows: Rows<'_>) -> StoreResult<(u64, Vec<String>)> {
    let deleted = match rows {
        Rows::OfJobs(Written::Events, jobs) => store.delete_events(jobs, ROWS).await?,
        Rows::OfJobs(Written::Metrics, jobs) => store.delete_metrics(jobs, ROWS).await?,
        Rows::OfJobs(Written::LogLines, jobs) => store.delete_log_lines(jobs, ROWS).await?,
        Rows::OfJobs(Written::LogObjects, jobs) => {
            let keys = store.delete_log_objects(jobs, OBJECTS).await?;
            return Ok((keys.len() as u64, keys));
        }
        Rows::OfJobs(Written::Tasks, jobs) => return store.delete_tasks(jobs, TASKS).await,
        Rows::Deliveries(age) => store.delete_deliveries(age, ROWS).await?,
        Rows::Workers(age) => store.forget_workers(age, ROWS).await?,
        Rows::Nodes(age) => store.forget_nodes(age, ROWS).await?,
    };
    Ok((deleted, Vec::new()))
}
