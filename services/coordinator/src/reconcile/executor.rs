//! Executes the tasks that touch nothing but the coordinator's own state, under the same leases as any worker's.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use ursa_domain::{ErrorClass, JobKind};
use ursa_proto::ApiError;
use uuid::Uuid;

use super::{deploy, snapshot, sweep_on};
use crate::context::Context;
use crate::store::{ClaimedTask, LeaseStatus, StoreError, StoreResult, TaskReport, Topic, WorkerReportRow};

const AT_A_TIME: u32 = 8;

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

/// Runs until told to stop.
pub(super) async fn run(context: Context, stop: CancellationToken) {
    let worker = Uuid::now_v7();
    let sweep = || sweep(&context, worker, &stop);
    sweep_on("executor", &context, Topic::Tasks, &stop, sweep).await;
}

async fn sweep(context: &Context, worker: Uuid, stop: &CancellationToken) -> StoreResult<()> {
    let myself = WorkerReportRow {
        id: worker,
        name: "coordinator",
        version: env!("CARGO_PKG_VERSION"),
        slots: AT_A_TIME,
        gpus: serde_json::json!([]),
        internal: true,
    };
    context.store.see_worker(&myself).await?;
    let free = AT_A_TIME.saturating_sub(context.store.leased_by(worker).await?);
    let kinds = [JobKind::Snapshot, JobKind::Deploy];
    for task in context.store.claim(worker, &kinds, free, context.config.lease).await? {
        tokio::spawn(execute(context.clone(), task, stop.clone()));
    }
    Ok(())
}

/// Works on one task while renewing its lease; ends when done, cancelled, fenced, or told to stop (then the lease runs out).
async fn execute(context: Context, task: ClaimedTask, stop: CancellationToken) {
    let work = async {
        match task.kind {
            JobKind::Snapshot => snapshot::execute(&context, &task).await,
            JobKind::Deploy => deploy::execute(&context, &task).await,
            other => Err(TaskError::Failed(ErrorClass::Fatal, format!("{other} tasks belong to workers"))),
        }
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        status = keep_lease(&context, &task) => match status {
            LeaseStatus::Cancelling => Err(TaskError::Failed(ErrorClass::Cancelled, "the job was cancelled".into())),
            LeaseStatus::Current | LeaseStatus::Lost => return,
        },
        () = stop.cancelled() => return,
    };
    if let Err(error) = outcome {
        report_failure(&context, &task, error).await;
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

/// Renews until the lease is not simply current any more.
async fn keep_lease(context: &Context, task: &ClaimedTask) -> LeaseStatus {
    let report = TaskReport { leases: vec![task.lease], progress: vec![ursa_proto::v1::Progress::default()] };
    let mut wake = context.hub.subscribe(Topic::Tasks);
    loop {
        wake.borrow_and_update();
        match context.store.renew(&report, context.config.lease).await {
            Ok(renewed) => match renewed.first().map(|lease| lease.status) {
                Some(LeaseStatus::Current) => {}
                Some(status) => return status,
                None => return LeaseStatus::Lost,
            },
            Err(error) => tracing::debug!(%error, "could not renew a lease"),
        }
        crate::hub::wait(&mut wake, context.config.report_interval.min(Duration::from_secs(2))).await;
    }
}
