//! The crate's tables and its worker.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use graphile_worker::{JobSpec, TaskHandler as _, Worker, WorkerOptions, WorkerUtils};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;

use crate::Arguments;
use crate::job::{Nothing, Starts};
use crate::options::Options;

/// For the longest of the measurements.
const LIMIT: Duration = Duration::from_mins(10);
/// Jobs of one call.
const BATCH: usize = 10_000;
/// Jobs of one call that no client sends.
const FILL_BATCH: usize = 100_000;
/// How often the table is looked at for what is left.
const LOOK: Duration = Duration::from_millis(1);

/// The crate with nothing in its tables but what fills them.
pub(crate) struct Peer {
    pool: PgPool,
    worker: Arc<Worker>,
    starts: Starts,
    last_filler: i64,
}

/// Its worker at work.
pub(crate) struct Running<'a> {
    peer: &'a Peer,
    worker: JoinHandle<anyhow::Result<()>>,
}

impl Peer {
    /// Begins anew, with all connections open.
    pub(crate) async fn prepare(arguments: &Arguments, options: &Options, jobs: usize) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .min_connections(options.connections)
            .max_connections(options.connections)
            .connect(&arguments.database_url)
            .await
            .context("Postgres does not answer")?;
        sqlx::query("drop schema if exists graphile_worker cascade").execute(&pool).await?;
        let starts = Starts::of(jobs);
        let settings = WorkerOptions::default()
            .pg_pool(pool.clone())
            .listen_os_shutdown_signals(false)
            .add_extension(starts.clone())
            .define_job::<Nothing>();
        let worker = Box::pin(options.apply(settings).init()).await.context("the worker does not start")?;
        let last_filler = fill(&pool, arguments.fill).await?;
        Ok(Self { pool, worker: Arc::new(worker), starts, last_filler })
    }

    /// What one adds jobs with.
    pub(crate) fn client(&self) -> WorkerUtils {
        self.worker.create_utils()
    }

    /// Adds jobs, one for each place.
    pub(crate) async fn add(&self, jobs: usize) -> anyhow::Result<()> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = (0..jobs).map(|place| (Nothing { place }, &spec)).collect();
        for batch in jobs.chunks(BATCH) {
            self.client().add_jobs(batch).await?;
        }
        Ok(())
    }

    /// Has Postgres know what is in the table.
    pub(crate) async fn vacuum(&self) -> anyhow::Result<()> {
        sqlx::query("vacuum analyze graphile_worker._private_jobs").execute(&self.pool).await?;
        Ok(())
    }

    /// When the jobs started.
    pub(crate) fn starts(&self) -> &Starts {
        &self.starts
    }

    /// Starts the worker.
    pub(crate) fn run(&self) -> Running<'_> {
        let worker = self.worker.clone();
        Running { peer: self, worker: tokio::spawn(async move { Ok(worker.run().await?) }) }
    }

    /// Waits until no job is left but the filler: that a job is done is on disk when its row has gone.
    async fn until_gone(&self) -> anyhow::Result<()> {
        let left = "select exists (select from graphile_worker._private_jobs where id > $1)";
        while sqlx::query_scalar(left).bind(self.last_filler).fetch_one(&self.pool).await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

impl Running<'_> {
    /// Waits until every job has started.
    pub(crate) async fn until_started(&mut self) -> anyhow::Result<()> {
        let starts = &self.peer.starts;
        tokio::select! {
            ended = &mut self.worker => bail!("the worker ended: {ended:?}"),
            started = tokio::time::timeout(LIMIT, starts.all()) => {
                started.with_context(|| format!("only {} jobs started", starts.count()))
            }
        }
    }

    /// Waits until every job is done.
    pub(crate) async fn until_done(&mut self) -> anyhow::Result<()> {
        self.until_started().await?;
        tokio::time::timeout(LIMIT, self.peer.until_gone()).await.context("some jobs are never done")?
    }

    /// Stops the worker.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.peer.worker.request_shutdown();
        tokio::time::timeout(LIMIT, self.worker).await.context("the worker does not stop")??
    }
}

/// Adds jobs that are due in a month, by the crate's own function in Postgres, and gives back the last one's id.
///
/// Of the jobs that are queued and that no worker may take yet, these are the cheapest for the crate: they sort behind
/// all that is due, and its index alone tells that they are not. Jobs of a kind that no worker here knows have to be read
/// from the table; with the same priority they even stand before those that are due, and each fetch passes over them all.
async fn fill(pool: &PgPool, jobs: usize) -> anyhow::Result<i64> {
    let mut last = 0;
    for first in (0..jobs).step_by(FILL_BATCH) {
        let count = FILL_BATCH.min(jobs - first) as i64;
        last = sqlx::query_scalar(
            "select max(id) from graphile_worker.add_jobs(array(
                select json_populate_record(null::graphile_worker.job_spec,
                    json_build_object('identifier', $1::text, 'run_at', now() + interval '30 days'))
                from generate_series(1, $2::bigint)))",
        )
        .bind(Nothing::IDENTIFIER)
        .bind(count)
        .fetch_one(pool)
        .await?;
    }
    Ok(last)
}
