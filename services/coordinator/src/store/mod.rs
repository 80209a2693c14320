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
mod evaluations;
mod events;
mod fencing;
mod heatmaps;
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

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use ursa_domain::lifecycle::IllegalTransition;
use ursa_proto::{ApiError, BadField, ErrorCode};
use uuid::Uuid;

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
pub(crate) use events::{EventRow, EventSubject};
pub(crate) use heatmaps::StoredHeatmap;
pub(crate) use jobs::{JobProgress, JobQuery, JobRow};
pub(crate) use lanes::{LaneBacklog, LaneHead, LaneInfo, Mark};
pub(crate) use leases::LeaseToTakeBack;
pub(crate) use log_archive::{LogObject, LogPage, log_line};
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

const CHANNEL: &str = "ursa";
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

/// What can go wrong between a caller and the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// An answer for the caller: not found, illegal state, lost lease, …
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Postgres is away or refused.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// What is stored does not read back: a fault of ours.
    #[error("stored {what} does not read back: {reason}")]
    Unreadable {
        /// What was read.
        what: &'static str,
        /// Why it does not parse.
        reason: String,
    },
}

impl StoreError {
    fn unreadable(what: &'static str, reason: &impl ToString) -> Self {
        Self::Unreadable { what, reason: reason.to_string() }
    }

    /// Whether the database was not reachable, as opposed to having refused.
    pub(crate) fn is_outage(&self) -> bool {
        use sqlx::Error as E;
        match self {
            Self::Database(
                E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_) | E::Protocol(_),
            ) => true,
            Self::Database(E::Database(error)) => error.code().is_some_and(|code| says_that_it_is_away(&code)),
            _ => false,
        }
    }

    /// Whether Postgres gave up this transaction for the sake of another: the same request may work at once.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            // 40001: serialisation failure. 40P01: deadlock. 55P03: it waited for a lock for too long.
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| ["40001", "40P01", "55P03"].contains(&&*code))
            }
            _ => false,
        }
    }
}

/// Whether a code of Postgres is about the server or the connection, and not about the request.
fn says_that_it_is_away(code: &str) -> bool {
    // Class 57P: the server is shutting down or starting up. Class 08: connection. 53300: too many connections. 25P03: this
    // coordinator stood still in a transaction for so long that it was ended, and the connection with it.
    code.starts_with("57P") || code.starts_with("08") || ["53300", "25P03"].contains(&code)
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Api(error) => error,
            error if error.is_outage() => {
                Self::new(ErrorCode::Unavailable, "the coordinator cannot reach its database; try again")
            }
            error if error.is_conflict() => {
                Self::new(ErrorCode::Unavailable, "the request ran into another one in the database; try again")
            }
            error => {
                tracing::error!(%error, "a request failed on the database");
                Self::new(ErrorCode::Internal, "the coordinator failed on its database; its log has the details")
            }
        }
    }
}

impl From<IllegalTransition> for StoreError {
    fn from(illegal: IllegalTransition) -> Self {
        Self::Api(ApiError::new(ErrorCode::IllegalState, illegal.to_string()))
    }
}

impl From<BadField> for StoreError {
    fn from(bad: BadField) -> Self {
        Self::Api(bad.into())
    }
}

/// What every function here returns.
pub(crate) type StoreResult<T> = Result<T, StoreError>;

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

/// Which part of the system has something to look at. Only a hint: sweeps find it anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A task became ready.
    Tasks,
    /// Tasks have ended: quotas have room, and workers.
    Room,
    /// A job may be able to move.
    Jobs,
    /// A node shall serve something else.
    Endpoints,
    /// There are new events.
    Events,
    /// A schedule may be due.
    Schedules,
    /// There is something to send to a webhook.
    Deliveries,
    /// An attempt shall stop.
    Stops,
}

impl Topic {
    /// Every one.
    pub(crate) const ALL: [Self; 8] = [
        Self::Tasks,
        Self::Room,
        Self::Jobs,
        Self::Endpoints,
        Self::Events,
        Self::Schedules,
        Self::Deliveries,
        Self::Stops,
    ];

    /// As it is sent.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Room => "room",
            Self::Jobs => "jobs",
            Self::Endpoints => "endpoints",
            Self::Events => "events",
            Self::Stops => "stops",
            Self::Schedules => "schedules",
            Self::Deliveries => "deliveries",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
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

    /// A stream of hints from every coordinator on this database.
    pub(crate) async fn listen(&self) -> StoreResult<Hints> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Hints { listener })
    }

    /// Tells the other coordinators on this database that `topics` have something to look at. A hint is not worth waiting
    /// for the disk: it may get lost.
    pub(crate) async fn announce(&self, topics: &[Topic]) -> StoreResult<()> {
        let from = self.hub.id();
        let hints: Vec<String> = topics.iter().map(|topic| format!("{from} {}", topic.as_str())).collect();
        sqlx::query!(
            "select set_config('synchronous_commit', 'off', true), pg_notify($1, hint) from unnest($2::text[]) as hint",
            CHANNEL,
            &hints,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(())
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

/// See [`Store::listen`].
#[derive(Debug)]
pub(crate) struct Hints {
    listener: PgListener,
}

impl Hints {
    /// The next hint: who gave it, and about what; `None` after a connection loss, when some may have been missed.
    pub(crate) async fn next(&mut self) -> StoreResult<Option<(Uuid, Topic)>> {
        let Some(notification) = self.listener.try_recv().await? else { return Ok(None) };
        let hint = notification
            .payload()
            .split_once(' ')
            .and_then(|(from, topic)| Some((Uuid::try_parse(from).ok()?, Topic::parse(topic)?)));
        Ok(hint)
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

#[cfg(test)]
mod tests {
    use std::error::Error;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What Postgres says, as far as it matters.
    #[derive(Debug, thiserror::Error)]
    #[error("SQLSTATE {0}")]
    struct Said(&'static str);

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn what_may_work_later_is_told_from_what_will_not() {
        let cases = [
            ("57P01", ErrorCode::Unavailable),
            ("08006", ErrorCode::Unavailable),
            ("53300", ErrorCode::Unavailable),
            ("25P03", ErrorCode::Unavailable),
            ("55P03", ErrorCode::Unavailable),
            ("40001", ErrorCode::Unavailable),
            ("40P01", ErrorCode::Unavailable),
            ("23505", ErrorCode::Internal),
        ];
        for (state, expected) in cases {
            let error = StoreError::Database(sqlx::Error::Database(Box::new(Said(state))));
            assert_eq!(ApiError::from(error).code, expected, "{state}");
        }
    }
}
