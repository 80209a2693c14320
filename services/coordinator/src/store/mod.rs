//! All SQL there is, one file per table or life cycle.
//!
//! Every write repeats in its `where` the state the decision was made on, and checks the rows it touched. Transactions
//! are short: none is held while work runs. Lock order: the pipeline of a job that ends or begins anew (`jobs`), task at
//! work, job, queued task, then (last) the pipeline's event lock.

mod attempts;
mod beat;
mod checkpoints;
mod claims;
mod cleaning;
mod completions;
mod datasets;
mod duties;
mod endpoints;
mod error;
mod evaluations;
mod events;
mod fencing;
mod heatmaps;
mod hints;
mod horizon;
mod images;
mod jobs;
mod lanes;
mod leases;
mod line;
mod log_archive;
mod logs;
mod metrics;
mod models;
mod nodes;
mod patience;
mod pipelines;
mod planning;
mod pool;
mod projects;
mod results;
mod retention;
mod runs;
mod schedules;
mod search;
mod snapshots;
mod steering;
mod submission;
mod tasks;
mod tx;
mod webhooks;
#[cfg(test)]
mod words;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::config::Config;
use crate::hub::Hub;
use line::Line;
use patience::Patience;
use pool::Pool;

pub(crate) use attempts::TaskQuery;
pub(crate) use beat::{Beat, OpenAttempt, Standing};
pub(crate) use claims::{ClaimedTask, Place};
pub(crate) use cleaning::AttemptToClean;
pub(crate) use completions::Completion;
pub(crate) use error::{StoreError, StoreResult};
pub(crate) use events::{EventRow, EventSubject};
pub(crate) use heatmaps::StoredHeatmap;
pub(crate) use hints::Topic;
pub(crate) use horizon::Horizon;
pub(crate) use jobs::{JobProgress, JobQuery, JobRow};
pub(crate) use lanes::{LaneBacklog, LaneHead, LaneInfo, Mark};
pub(crate) use leases::LeaseToTakeBack;
pub(crate) use log_archive::{LogObject, LogPage, log_line};
pub(crate) use logs::clean;
pub(crate) use pipelines::PipelineRow;
pub(crate) use planning::Planned;
pub(crate) use projects::ProjectUsage;
pub(crate) use retention::Ended;
pub(crate) use schedules::NewSchedule;
pub(crate) use snapshots::{SnapshotImage, SnapshotRow};
pub(crate) use steering::{JobFilter, ReadyLane};
pub(crate) use submission::{Record, Submission, Taken};
pub(crate) use tx::Tx;
pub(crate) use webhooks::{ClaimedDelivery, NewWebhook};
pub(crate) use workers::WorkerReportRow;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A coordinator that is stopped in the middle of a transaction must not hold up the others.
///
/// Compiling a statement takes Postgres longer than any of ours runs, and a full table makes it think that it is worth it.
///
/// Plans are kept, and most are made when the tables are new: what reads a small table as a whole then would read a large one
/// as a whole with every call, until Postgres next counts its rows.
///
/// Whoever goes through an index by a bitmap takes no note of which of its rows are dead, and whoever comes next goes over them
/// again.
const SESSION_SETTINGS: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "5s"),
    ("lock_timeout", "30s"),
    ("jit", "off"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
];

/// So long those wait for a lock whom everybody else waits for.
const HASTY_LOCK_TIMEOUT: &str = "1s";

/// So long a migration waits for a table that others use; then it is tried again.
const MIGRATION_LOCK_TIMEOUT: &str = "2s";

/// The coordinator's database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pool: Pool,
    /// For the dispatcher's rounds, one after the other: a connection that is used all the time answers sooner than one of
    /// many that take turns (half a millisecond per job where there is little to do), and is never taken by others.
    rounds: Line,
    /// The same for the ends of short attempts.
    ends: Line,
    /// The same for what is submitted while nobody has room.
    arrivals: Line,
    /// For lists whose filters may be left out: a plan for every case walks over all there is, so on these connections
    /// each statement is planned for the values that it comes with.
    lists: Pool,
    hub: Arc<Hub>,
    patience: Patience,
    /// The version of the code that does the work of jobs.
    code: Arc<str>,
}

impl Store {
    /// Connects and brings the tables up to date, or fails at once.
    pub(crate) async fn open(options: PgConnectOptions, config: &Config, hub: Arc<Hub>) -> StoreResult<Self> {
        let store = Self::connect(options.clone(), config, hub).await?;
        Self::migrate(options).await?;
        Ok(store)
    }

    /// Connects, or fails at once. `statement_log` is off: queries have spans instead.
    async fn connect(options: PgConnectOptions, config: &Config, hub: Arc<Hub>) -> StoreResult<Self> {
        let connections = config.database_connections;
        let patience = Patience::new(config.database_patience);
        let options = options.application_name("ursa-coordinator").options(SESSION_SETTINGS);
        // Left to itself Postgres plans a statement with arrays anew each time: it takes every list that it has not seen for
        // one of ten, and that for too dear. Planning takes longer than most of ours run.
        let main = options.clone().options([("plan_cache_mode", "force_generic_plan")]);
        let hasty = main.clone().options([("lock_timeout", HASTY_LOCK_TIMEOUT)]);
        let lists = options.options([("plan_cache_mode", "force_custom_plan"), ("enable_bitmapscan", "on")]);
        let pool = |connections| {
            let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
            // A connection that broke meanwhile is an outage like any other: no statement waits for a question first.
            patience.keeps_whole(pool.test_before_acquire(false))
        };
        Ok(Self {
            pool: Pool::new(pool(connections).connect_with(main.clone()).await?, patience.clone()),
            rounds: Line::new(hasty.clone()),
            arrivals: Line::new(hasty),
            ends: Line::new(main),
            lists: Pool::new(pool((connections / 4).max(1)).connect_lazy_with(lists), patience.clone()),
            hub,
            patience,
            code: config.code_version.as_str().into(),
        })
    }

    /// Brings the tables up to date. Safe to run from several coordinators at once; what a later version has done to them
    /// leaves this one working.
    async fn migrate(options: PgConnectOptions) -> StoreResult<()> {
        use sqlx::migrate::MigrateError as E;
        let mut migrator = sqlx::migrate!("../../migrations");
        migrator.set_ignore_missing(true);
        // Whoever waits for a table has everybody who comes after wait, too: coordinators that are at work could renew no lease.
        let options = options.options([("lock_timeout", MIGRATION_LOCK_TIMEOUT)]);
        let pool =
            PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT).connect_with(options).await?;
        let migrated = migrator.run(&pool).await;
        pool.close().await;
        migrated.map_err(|error| match error {
            E::Execute(error) | E::ExecuteMigration(error, _) => StoreError::Database(error),
            other => StoreError::unreadable("list of migrations", &other),
        })
    }

    /// For those who cannot do without an answer for ever.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Begins a transaction.
    async fn begin(&self) -> StoreResult<Tx> {
        let inner = self.patience.answer(Box::pin(self.pool.begin())).await??;
        Ok(Tx::new(inner, self.hub.clone(), self.patience.clone()))
    }

    /// Begins a transaction in which there is a round of dispatching.
    pub(crate) async fn begin_round(&self) -> StoreResult<Tx> {
        Tx::on(&self.rounds, self.hub.clone(), self.patience.clone()).await
    }
}

/// Fails loudly when a guarded write did not touch exactly the rows it must: the row changed under a lock we hold.
fn ensure_rows(what: &'static str, result: &sqlx::postgres::PgQueryResult, expected: u64) -> StoreResult<()> {
    if result.rows_affected() == expected {
        return Ok(());
    }
    let reason = format!("a guarded write touched {} rows instead of {expected}", result.rows_affected());
    Err(StoreError::Unreadable { what, reason })
}

/// Reads a stored word back into its type.
fn word<T: std::str::FromStr>(what: &'static str, text: &str) -> StoreResult<T>
where
    T::Err: ToString,
{
    text.parse().map_err(|error: T::Err| StoreError::unreadable(what, &error))
}
