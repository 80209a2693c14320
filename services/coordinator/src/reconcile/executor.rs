//! Executes the tasks that touch nothing but the coordinator's own state, under the same leases as any worker's.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ursa_domain::{ErrorClass, JobKind, Lease};
use ursa_proto::{ApiError, SESSION_PROTOCOL_VERSION};
use uuid::Uuid;

use super::{deploy, snapshot};
use crate::config::Config;
use crate::context::Context;
use crate::dispatch::{Door, Report};
use crate::store::{ClaimedTask, StoreError, WorkerReportRow};

const AT_A_TIME: u32 = 8;
/// How long giving back takes at most, when the coordinator stops; less than it waits for its loops.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Why a task of the coordinator's own failed.
pub(super) enum TaskError {
    /// The database; says itself whether it is an outage.
    Store(StoreError),
    /// Anything else.
    Failed(ErrorClass, String),
}

impl From<StoreError> for TaskError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Attaches itself to the roster like any worker, and works until told to stop; what it has then it gives back.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let (start, mut orders) = mpsc::unbounded_channel();
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let introduction = introduce(&context.config);
    let worker = introduction.row.id;
    let attachment = context.roster.attach(introduction, Door::Executor { start, stop: dropped });
    let mut running: HashMap<Uuid, (Lease, CancellationToken)> = HashMap::new();
    let mut work = JoinSet::new();
    let mut interval = tokio::time::interval(context.config.report_interval / 2);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(task) = orders.recv() => {
                let task: ClaimedTask = task;
                let token = CancellationToken::new();
                running.insert(task.lease.token, (task.lease, token.clone()));
                work.spawn(execute(context.clone(), task, token));
            }
            Some(token) = drops.recv() => {
                if let Some((_, stop)) = running.get(&token) {
                    stop.cancel();
                }
            }
            Some(ended) = work.join_next() => {
                // A panic is a bug; its lease runs out.
                if let Ok(lease) = ended {
                    let lease: Lease = lease;
                    running.remove(&lease.token);
                    context.roster.ended(&[lease], false);
                }
            }
            _ = interval.tick() => {}
        }
        let leases: Vec<Lease> = running.values().map(|(lease, _)| *lease).collect();
        context.roster.list_own(attachment, &leases);
    }
    context.roster.detach(attachment);
    if tokio::time::timeout(LAST_WORDS, leave(&context, worker, work)).await.is_err() {
        tracing::info!("the coordinator's own tasks could not be given back in time; their leases run out");
    }
}

/// Drops what it works on, and gives back all it has: also what it was given and has not heard of.
async fn leave(context: &Context, worker: Uuid, mut work: JoinSet<Lease>) {
    work.shutdown().await;
    match context.store.held_by(&[worker]).await {
        Ok(held) => {
            join_all(held.iter().map(|(_, lease)| give_back(context, lease))).await;
        }
        Err(error) => tracing::info!(%error, "the coordinator's own tasks are not given back; their leases run out"),
    }
}

/// Refused where the task has ended well at the last moment.
async fn give_back(context: &Context, lease: &Lease) {
    let (class, message) = (ErrorClass::Returned, "the coordinator stops");
    if let Err(error) = context.store.fail_task(lease, class, message, rand::random()).await {
        tracing::info!(%error, task = %lease.task_id, "could not give back a task of the coordinator's own");
    }
}

fn introduce(config: &Config) -> Report {
    Report {
        protocol: SESSION_PROTOCOL_VERSION,
        running: Vec::new(),
        row: WorkerReportRow {
            id: Uuid::now_v7(),
            name: "coordinator".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            code_version: config.code_version.clone(),
            slots: AT_A_TIME,
            kinds: vec![JobKind::Snapshot, JobKind::Deploy],
            gpus: Vec::new(),
            labels: BTreeMap::new(),
            draining: false,
            internal: true,
        },
    }
}

/// Works on one task; ends when done, or when it is asked back.
async fn execute(context: Context, task: ClaimedTask, stop: CancellationToken) -> Lease {
    let outcome = tokio::select! {
        outcome = work(&context, &task) => outcome,
        () = stop.cancelled() => Err(TaskError::Failed(ErrorClass::Cancelled, "asked to stop".into())),
    };
    if let Err(error) = outcome {
        report_failure(&context, &task, error).await;
    }
    task.lease
}

async fn work(context: &Context, task: &ClaimedTask) -> Result<(), TaskError> {
    // The two kinds have payloads of their own: what deploys names an endpoint.
    if task.payload.get("endpoint").is_some() {
        deploy::execute(context, task).await
    } else {
        snapshot::execute(context, task).await
    }
}

async fn report_failure(context: &Context, task: &ClaimedTask, error: TaskError) {
    let (class, message) = match error {
        TaskError::Failed(class, message) => (class, message),
        // Told apart so that "no such model" ends the job and a lost connection does not.
        TaskError::Store(StoreError::Api(ApiError { message, .. })) => (ErrorClass::Fatal, message),
        TaskError::Store(error) => (ErrorClass::Infrastructure, error.to_string()),
    };
    if let Err(error) = context.store.fail_task(&task.lease, class, &message, rand::random()).await {
        // The lease runs out and another attempt is made.
        tracing::info!(%error, task = %task.lease.task_id, "could not record a failed attempt");
    }
}
