//! The beat: all that a coordinator's workers say in the meantime, stored and answered in one statement.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::{JobKind, Lease};
use ursa_proto::v1;
use uuid::Uuid;

use super::leases::columns;
use super::workers::{gpus_to, stored};
use super::{Store, StoreResult, WorkerReportRow};

/// What workers say of themselves, and of the attempts they work on, side by side.
#[derive(Debug, Default)]
pub(crate) struct Beat {
    /// Every worker that reported.
    pub workers: Vec<WorkerReportRow>,
    /// The leases they list.
    pub leases: Vec<Lease>,
    /// How far each is.
    pub progress: Vec<v1::Progress>,
    /// How far an order to stop is: 0 none, 1 acknowledged, 2 forced.
    pub stages: Vec<i32>,
    /// Leases that they do not list, and are believed to have.
    pub others: Vec<Lease>,
}

/// What the database says to a worker.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Whether an operator wants it to take no more.
    pub drain: bool,
    /// What it holds of what it lists and is believed to have.
    pub open: Vec<OpenAttempt>,
}

/// An attempt that has not ended.
#[derive(Debug, Clone)]
pub(crate) struct OpenAttempt {
    /// Its lease.
    pub lease: Lease,
    /// Who has it.
    pub worker: Uuid,
    /// Its job.
    pub job_id: Uuid,
    /// Where its task came from.
    pub lane: i32,
    /// What planning wrote for whoever works on it.
    pub payload: Value,
    /// GPUs it may use.
    pub gpus: Vec<u32>,
    /// Why it shall stop, if it shall.
    pub stop_reason: Option<String>,
    /// Whether it may be asked back for a more urgent one.
    pub preemptible: bool,
}

/// By worker.
pub(crate) type Standings = HashMap<Uuid, Standing>;

impl Store {
    /// Notes that workers are there, renews every lease that is listed and current, and tells of each worker how it stands;
    /// and when that was, by the database's clock, unless there are none.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn beat(&self, beat: &Beat, ttl: Duration) -> StoreResult<(Standings, Option<DateTime<Utc>>)> {
        task::next(TaskState::Leased, TaskEvent::Start)?;
        let Beat { workers, leases, progress, stages, others } = beat;
        let gpus = workers.iter().map(|worker| gpus_to(&worker.gpus)).collect::<StoreResult<Vec<_>>>()?;
        let labels = workers.iter().map(|worker| stored(&worker.labels)).collect::<StoreResult<Vec<_>>>()?;
        let (tasks, attempts, tokens) = columns(leases);
        let (other_tasks, other_attempts, _) = columns(others);
        let rows = sqlx::query_file!(
            "src/store/sql/beat.sql",
            &workers.iter().map(|worker| worker.id).collect::<Vec<_>>(),
            &workers.iter().map(|worker| worker.name.clone()).collect::<Vec<_>>(),
            &workers.iter().map(|worker| worker.version.clone()).collect::<Vec<_>>(),
            &workers.iter().map(|worker| worker.slots as i32).collect::<Vec<_>>(),
            &workers.iter().map(|worker| words(&worker.kinds)).collect::<Vec<_>>(),
            &gpus,
            &labels,
            &workers.iter().map(|worker| worker.draining).collect::<Vec<_>>(),
            &workers.iter().map(|worker| worker.internal).collect::<Vec<_>>(),
            &tasks,
            &attempts,
            &tokens,
            &progress.iter().map(|progress| progress.done as i64).collect::<Vec<_>>(),
            &progress.iter().map(|progress| progress.total as i64).collect::<Vec<_>>(),
            &progress.iter().map(|progress| progress.unit.clone()).collect::<Vec<_>>(),
            &progress.iter().map(|progress| progress.message.clone()).collect::<Vec<_>>(),
            stages,
            ttl.as_secs_f64(),
            &other_tasks,
            &other_attempts,
        )
        .fetch_all(&self.pool)
        .await?;
        let at = rows.first().map(|row| row.at);
        let mut standings: Standings = HashMap::with_capacity(workers.len());
        for row in rows {
            let standing = standings.entry(row.worker_id).or_default();
            standing.drain |= row.drain;
            let attempt = || {
                let (task_id, number, token) = (row.task_id?, row.number?, row.lease_token?);
                Some(OpenAttempt {
                    lease: Lease { task_id, attempt: number as u32, token },
                    worker: row.worker_id,
                    job_id: row.job_id?,
                    lane: row.lane_id?,
                    payload: row.payload?,
                    gpus: row.gpus?.iter().map(|gpu| *gpu as u32).collect(),
                    stop_reason: row.stop_reason,
                    preemptible: row.preemptible?,
                })
            };
            standing.open.extend(attempt());
        }
        Ok((standings, at))
    }
}

/// As Postgres reads an array of words: arrays of arrays of different lengths cannot be sent.
fn words(kinds: &[JobKind]) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    format!("{{{}}}", kinds.join(","))
}
