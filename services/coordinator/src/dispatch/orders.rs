//! Everything a worker needs to know of a task.

use std::collections::HashMap;

use serde::Deserialize;
use ursa_domain::recipe::{RateTest, Recipe};
use ursa_domain::run::{CheckpointInfo, ImageToExplain, Rung, SnapshotInfo};
use ursa_domain::sgd_lab::SgdLab;
use ursa_domain::spec::{ScrapeOptions, VerifySpec};
use ursa_domain::{ErrorClass, JobKind};
use ursa_proto::v1::{self, task_order::Work};
use uuid::Uuid;

use crate::context::Context;
use crate::store::{ClaimedTask, LaneInfo, Store, StoreError, StoreResult, Tx};

/// What lanes are; they never change.
#[derive(Debug, Default)]
pub(super) struct Directory {
    lanes: HashMap<i32, LaneInfo>,
}

impl Directory {
    /// Looks up the lanes that are not known yet; those of a transaction, within it.
    pub(super) async fn learn(&mut self, store: &Store, lanes: &[i32], within: Option<&mut Tx>) -> StoreResult<()> {
        let mut unknown: Vec<i32> = lanes.iter().copied().filter(|lane| !self.lanes.contains_key(lane)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            self.lanes.extend(store.lanes(&unknown, within).await?.into_iter().map(|lane| (lane.id, lane)));
        }
        Ok(())
    }

    pub(super) fn lane(&self, id: i32) -> Option<&LaneInfo> {
        self.lanes.get(&id)
    }
}

/// The order to work on a task; its lane has to be known.
pub(super) async fn order(context: &Context, directory: &Directory, task: &ClaimedTask) -> StoreResult<v1::TaskOrder> {
    let lane = directory.lane(task.lane).ok_or(StoreError::Database(sqlx::Error::RowNotFound))?;
    let work = work(context, lane.kind, task).await?;
    Ok(v1::TaskOrder {
        lease: Some(task.lease.into()),
        job_id: task.job_id.to_string(),
        work: Some(work),
        gpus: task.gpus.clone(),
    })
}

async fn work(context: &Context, kind: JobKind, task: &ClaimedTask) -> StoreResult<Work> {
    Ok(match kind {
        JobKind::Scrape => {
            let options: ScrapeOptions = read(task)?;
            Work::Scrape(v1::ScrapeTask {
                sources: context.store.sources_of_task(task.lease.task_id).await?,
                concurrency: options.concurrency,
                timeout_ms: options.timeout_ms,
                max_bytes: options.max_bytes,
            })
        }
        JobKind::Verify => {
            let payload: VerifyPayload = read(task)?;
            Work::Verify(v1::VerifyTask {
                shard_key: payload.shard_key,
                shard_sha256: payload.shard_sha256,
                options: Some((&payload.spec).into()),
            })
        }
        JobKind::Train => {
            let payload: TrainPayload = read(task)?;
            let checkpoints = context.store.latest_checkpoints(task.lease.task_id).await?;
            Work::Train(going_on(payload, checkpoints))
        }
        JobKind::FindLr => {
            let payload: FindLrPayload = read(task)?;
            Work::FindLr(v1::FindLrTask { training: Some(payload.training.into()), test: Some(payload.test.into()) })
        }
        JobKind::Search => {
            let payload: SearchPayload = read(task)?;
            let mut checkpoints = context.store.latest_checkpoints(task.lease.task_id).await?;
            if let Some(before) = payload.before {
                checkpoints.extend(context.store.latest_checkpoints(before).await?);
            }
            let training = going_on(payload.training, checkpoints);
            let Rung { after, until } = payload.rung;
            Work::Search(v1::SearchTask { training: Some(training), after_epochs: after, until_epochs: until })
        }
        JobKind::Evaluate => {
            let payload: EvaluatePayload = read(task)?;
            Work::Evaluate(payload.into())
        }
        JobKind::Explain => {
            let payload: ExplainPayload = read(task)?;
            Work::Explain(payload.into())
        }
        JobKind::SgdLab => {
            let lab: SgdLab = read(task)?;
            Work::SgdLab((&lab).into())
        }
        JobKind::Probe => {
            let payload: ProbePayload = read(task)?;
            let fail = payload.fail_first && task.lease.attempt == 1;
            Work::Probe(v1::ProbeTask { duration_ms: payload.duration_ms, fail })
        }
        JobKind::Snapshot | JobKind::Deploy => {
            let reason = format!("{kind} tasks are the coordinator's own");
            return Err(StoreError::Unreadable { what: "task", reason });
        }
    })
}

/// Ends a claimed task that nobody can be told of, so that it neither waits for its lease nor takes others with it. While
/// the database is away that cannot be recorded, and need not: the beat orders again what its worker does not list.
pub(super) async fn fail_unordered(context: &Context, task: &ClaimedTask, error: &StoreError) {
    if error.is_outage() {
        tracing::info!(%error, task = %task.lease.task_id, "could not order a task yet");
        return;
    }
    let class = match error {
        StoreError::Database(_) => ErrorClass::Infrastructure,
        StoreError::Api(_) | StoreError::Unreadable { .. } => ErrorClass::Fatal,
    };
    tracing::warn!(%error, task = %task.lease.task_id, "could not order a task");
    let message = format!("the task could not be ordered: {error}");
    if let Err(error) = context.store.fail_task(&task.lease, class, &message, rand::random()).await {
        // The lease runs out and another attempt is made.
        tracing::info!(%error, task = %task.lease.task_id, "could not record a failed attempt");
    }
    context.roster.ended(&[task.lease], false);
}

fn read<T: serde::de::DeserializeOwned>(task: &ClaimedTask) -> StoreResult<T> {
    T::deserialize(&task.payload)
        .map_err(|error| StoreError::Unreadable { what: "task payload", reason: error.to_string() })
}

#[derive(Deserialize)]
struct VerifyPayload {
    shard_key: String,
    shard_sha256: String,
    spec: VerifySpec,
}

#[derive(Deserialize)]
struct TrainPayload {
    snapshot: SnapshotInfo,
    #[serde(deserialize_with = "ursa_domain::recipe::stored")]
    recipe: Recipe,
    #[serde(default = "everything")]
    train_percent: u32,
    #[serde(default)]
    start: Option<CheckpointInfo>,
}

fn everything() -> u32 {
    100
}

impl From<TrainPayload> for v1::TrainTask {
    fn from(payload: TrainPayload) -> Self {
        Self {
            snapshot_id: payload.snapshot.id.to_string(),
            dataset: payload.snapshot.dataset,
            snapshot_number: payload.snapshot.number,
            snapshot_digest: payload.snapshot.digest,
            recipe: Some((&payload.recipe).into()),
            resume: None,
            train_percent: payload.train_percent,
            start: payload.start.map(v1::Checkpoint::from),
            earlier: Vec::new(),
        }
    }
}

/// A run that goes on from the first of its checkpoints that is whole.
fn going_on(payload: TrainPayload, checkpoints: Vec<CheckpointInfo>) -> v1::TrainTask {
    let mut checkpoints = checkpoints.into_iter().map(v1::Checkpoint::from);
    let resume = checkpoints.next();
    v1::TrainTask { resume, earlier: checkpoints.collect(), ..payload.into() }
}

#[derive(Deserialize)]
struct FindLrPayload {
    #[serde(flatten)]
    training: TrainPayload,
    test: RateTest,
}

#[derive(Deserialize)]
struct SearchPayload {
    #[serde(flatten)]
    training: TrainPayload,
    rung: Rung,
    /// The task of the rung before.
    before: Option<Uuid>,
}

#[derive(Deserialize)]
struct EvaluatePayload {
    snapshot: SnapshotInfo,
    model_digest: String,
}

impl From<EvaluatePayload> for v1::EvaluateTask {
    fn from(payload: EvaluatePayload) -> Self {
        Self {
            snapshot_id: payload.snapshot.id.to_string(),
            dataset: payload.snapshot.dataset,
            snapshot_number: payload.snapshot.number,
            snapshot_digest: payload.snapshot.digest,
            model_digest: payload.model_digest,
        }
    }
}

#[derive(Deserialize)]
struct ExplainPayload {
    model_digest: String,
    images: Vec<ImageToExplain>,
}

impl From<ExplainPayload> for v1::ExplainTask {
    fn from(payload: ExplainPayload) -> Self {
        let images = payload.images.into_iter().map(v1::ImageToExplain::from).collect();
        Self { model_digest: payload.model_digest, images }
    }
}

#[derive(Deserialize)]
struct ProbePayload {
    duration_ms: u64,
    fail_first: bool,
}
