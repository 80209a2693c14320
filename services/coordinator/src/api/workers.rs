//! `WorkerService`: the session, and the writes that present a lease.

use tonic::{Request, Response, Status, Streaming};
use ursa_domain::run::CheckpointInfo;
use ursa_domain::spec::{ScrapeOptions, TrainRecipe, VerifySpec};
use ursa_domain::{ErrorClass, JobKind, Lease};
use ursa_proto::v1::worker_service_server::WorkerService;
use ursa_proto::{ApiError, v1};
use uuid::Uuid;

use super::session::{Orders, Prompt, serve};
use super::{Answer, check_protocol, id, refuse};
use crate::context::Context;
use crate::store::{
    CheckedLease, ClaimedTask, LeaseStatus, StoreError, StoreResult, TaskReport, Topic, WorkerReportRow, gpus_to,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct WorkerApi(pub Context);

const MAX_LOG_LINES: usize = 1000;
const MAX_METRIC_POINTS: usize = 10_000;
const MAX_FAILURE_BYTES: usize = 4096;
/// Per answer, which has to fit into a message whatever the tasks carry. Further room is filled by the next report.
const MAX_CLAIMED: u32 = 16;

#[tonic::async_trait]
impl WorkerService for WorkerApi {
    type SessionStream = Orders<v1::WorkerOrders>;

    async fn session(&self, request: Request<Streaming<v1::WorkerReport>>) -> Answer<Self::SessionStream> {
        let context = self.0.clone();
        let wake = context.hub.subscribe(Topic::Tasks);
        let orders = serve(request.into_inner(), wake, move |report, prompt| {
            let context = context.clone();
            async move { answer(&context, report, prompt).await }
        });
        Ok(Response::new(orders))
    }

    async fn append_logs(&self, request: Request<v1::AppendLogsRequest>) -> Answer<v1::AppendLogsResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        at_most("lines", request.lines.len(), MAX_LOG_LINES)?;
        self.0.store.append_logs(&lease, request.sequence, &request.lines).await.map_err(refuse)?;
        Ok(Response::new(v1::AppendLogsResponse {}))
    }

    async fn append_metrics(&self, request: Request<v1::AppendMetricsRequest>) -> Answer<v1::AppendMetricsResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        at_most("series", request.series.iter().map(|series| series.points.len()).sum(), MAX_METRIC_POINTS)?;
        self.0.store.append_metrics(&lease, &request.series).await.map_err(refuse)?;
        Ok(Response::new(v1::AppendMetricsResponse {}))
    }

    async fn record_checkpoint(
        &self,
        request: Request<v1::RecordCheckpointRequest>,
    ) -> Answer<v1::RecordCheckpointResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        let checkpoint = request.checkpoint.ok_or_else(|| ApiError::invalid("checkpoint: is missing"))?;
        self.0.store.record_checkpoint(&lease, &checkpoint).await.map_err(refuse)?;
        Ok(Response::new(v1::RecordCheckpointResponse {}))
    }

    async fn complete_task(&self, request: Request<v1::CompleteTaskRequest>) -> Answer<v1::CompleteTaskResponse> {
        use v1::complete_task_request::Result as Done;
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        let store = &self.0.store;
        match request.result.ok_or_else(|| ApiError::invalid("result: is missing"))? {
            Done::Scrape(result) => store.complete_scrape(&lease, &result).await,
            Done::Verify(result) => store.complete_verify(&lease, &result).await,
            Done::Train(result) => store.complete_train(&lease, &result).await,
        }
        .map_err(refuse)?;
        Ok(Response::new(v1::CompleteTaskResponse {}))
    }

    async fn fail_task(&self, request: Request<v1::FailTaskRequest>) -> Answer<v1::FailTaskResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        at_most("message", request.message.len(), MAX_FAILURE_BYTES)?;
        let class = ErrorClass::try_from(request.class()).map_err(ApiError::from)?;
        self.0.store.fail_task(&lease, class, &request.message, rand::random()).await.map_err(refuse)?;
        Ok(Response::new(v1::FailTaskResponse {}))
    }

    async fn list_workers(&self, _: Request<v1::ListWorkersRequest>) -> Answer<v1::ListWorkersResponse> {
        let workers = self.0.store.workers(self.0.config.patience()).await.map_err(refuse)?;
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }
}

fn lease(lease: Option<&v1::Lease>) -> Result<Lease, Status> {
    let lease = lease.ok_or_else(|| ApiError::invalid("lease: is missing"))?;
    Ok(Lease::try_from(lease).map_err(ApiError::from)?)
}

fn at_most(field: &str, found: usize, limit: usize) -> Result<(), Status> {
    if found <= limit {
        return Ok(());
    }
    let message = format!("{field} has {found} entries or bytes; at most {limit} are allowed: send less at a time");
    Err(ApiError::new(ursa_proto::ErrorCode::TooLarge, message).into())
}

/// Says what the worker shall stop, and gives it more when it has room. Only a report renews leases, and only a worker
/// that was heard of lately gets more: what is given to a dead one lies idle until its lease runs out.
async fn answer(context: &Context, report: v1::WorkerReport, prompt: Prompt) -> Result<v1::WorkerOrders, Status> {
    check_protocol("worker", report.protocol_version)?;
    let worker = id("worker_id", &report.worker_id)?;
    let leases = match prompt {
        Prompt::Report => {
            see(context, worker, &report).await?;
            renew(context, &report.running).await?
        }
        Prompt::WakeUp { .. } => look_at(context, &report.running).await?,
    };
    let is_alive = match prompt {
        Prompt::Report => true,
        Prompt::WakeUp { silent_for } => silent_for < context.config.patience(),
    };
    let start = if is_alive && !report.draining { claim(context, worker, &report).await? } else { Vec::new() };
    Ok(v1::WorkerOrders {
        start,
        stop: leases.iter().filter_map(stop_order).collect(),
        lease_ms: context.config.lease.as_millis() as u32,
        report_interval_ms: context.config.report_interval.as_millis() as u32,
    })
}

async fn see(context: &Context, worker: Uuid, report: &v1::WorkerReport) -> Result<(), Status> {
    let row = WorkerReportRow {
        id: worker,
        name: &report.name,
        version: &report.version,
        slots: report.slots,
        gpus: gpus_to(&report.gpus),
        internal: false,
    };
    context.store.see_worker(&row).await.map_err(refuse)
}

async fn look_at(context: &Context, running: &[v1::RunningAttempt]) -> Result<Vec<CheckedLease>, Status> {
    let leases = running.iter().map(|attempt| lease(attempt.lease.as_ref())).collect::<Result<Vec<_>, _>>()?;
    context.store.look_at_leases(&leases).await.map_err(refuse)
}

async fn renew(context: &Context, running: &[v1::RunningAttempt]) -> Result<Vec<CheckedLease>, Status> {
    let mut report = TaskReport::default();
    for attempt in running {
        report.leases.push(lease(attempt.lease.as_ref())?);
        report.progress.push(attempt.progress.clone().unwrap_or_default());
    }
    context.store.renew(&report, context.config.lease).await.map_err(refuse)
}

fn stop_order(checked: &CheckedLease) -> Option<v1::StopOrder> {
    let reason = match checked.status {
        LeaseStatus::Current => return None,
        LeaseStatus::Cancelling => v1::StopReason::Cancelled,
        LeaseStatus::Lost => v1::StopReason::LeaseLost,
    };
    Some(v1::StopOrder { lease: Some(checked.lease.into()), reason: reason.into() })
}

async fn claim(context: &Context, worker: Uuid, report: &v1::WorkerReport) -> Result<Vec<v1::TaskOrder>, Status> {
    let leased = context.store.leased_by(worker).await.map_err(refuse)?;
    let free = report.slots.saturating_sub(leased);
    if free == 0 {
        return Ok(Vec::new());
    }
    let kinds = kinds(&report.kinds)?;
    let claimed =
        context.store.claim(worker, &kinds, free.min(MAX_CLAIMED), context.config.lease).await.map_err(refuse)?;
    let mut orders = Vec::with_capacity(claimed.len());
    for task in claimed {
        let lease = task.lease;
        match order(context, task).await {
            Ok(order) => orders.push(order),
            Err(error) => fail_unordered(context, &lease, &error).await,
        }
    }
    Ok(orders)
}

/// Ends a claimed task that nobody can be told of, so that it neither waits for its lease nor takes others with it.
async fn fail_unordered(context: &Context, lease: &Lease, error: &StoreError) {
    let class = match error {
        StoreError::Database(_) => ErrorClass::Infrastructure,
        StoreError::Api(_) | StoreError::Unreadable { .. } => ErrorClass::Fatal,
    };
    tracing::warn!(%error, task = %lease.task_id, "could not order a task");
    let message = format!("the task could not be ordered: {error}");
    if let Err(error) = context.store.fail_task(lease, class, &message, rand::random()).await {
        // The lease runs out and another attempt is made.
        tracing::info!(%error, task = %lease.task_id, "could not record a failed attempt");
    }
}

fn kinds(words: &[String]) -> Result<Vec<JobKind>, Status> {
    let all = JobKind::ALL.iter().copied().filter(|kind| kind.runs_on_workers());
    if words.is_empty() {
        return Ok(all.collect());
    }
    let wanted = words.iter().map(|word| word.parse::<JobKind>()).collect::<Result<Vec<_>, _>>();
    let wanted = wanted.map_err(|error| ApiError::invalid(format!("kinds: {error}")))?;
    Ok(all.filter(|kind| wanted.contains(kind)).collect())
}

/// Everything a worker needs to know of a task.
async fn order(context: &Context, task: ClaimedTask) -> StoreResult<v1::TaskOrder> {
    use v1::task_order::Work;
    let unreadable =
        |error: serde_json::Error| StoreError::Unreadable { what: "task payload", reason: error.to_string() };
    let work = match task.kind {
        JobKind::Scrape => {
            let options: ScrapeOptions = serde_json::from_value(task.payload).map_err(unreadable)?;
            Work::Scrape(v1::ScrapeTask {
                sources: context.store.sources_of_task(task.lease.task_id).await?,
                concurrency: options.concurrency,
                timeout_ms: options.timeout_ms,
                max_bytes: options.max_bytes,
            })
        }
        JobKind::Verify => {
            let payload: VerifyPayload = serde_json::from_value(task.payload).map_err(unreadable)?;
            Work::Verify(v1::VerifyTask {
                shard_key: payload.shard_key,
                shard_sha256: payload.shard_sha256,
                options: Some((&payload.spec).into()),
            })
        }
        _ => {
            let payload: TrainPayload = serde_json::from_value(task.payload).map_err(unreadable)?;
            Work::Train(v1::TrainTask {
                snapshot_id: payload.snapshot.id.to_string(),
                dataset: payload.snapshot.dataset,
                snapshot_number: payload.snapshot.number,
                snapshot_digest: payload.snapshot.digest,
                recipe: Some((&payload.recipe).into()),
                resume: context.store.latest_checkpoint(task.lease.task_id).await?.map(checkpoint_message),
            })
        }
    };
    Ok(v1::TaskOrder { lease: Some(task.lease.into()), job_id: task.job_id.to_string(), work: Some(work) })
}

#[derive(serde::Deserialize)]
struct VerifyPayload {
    shard_key: String,
    shard_sha256: String,
    spec: VerifySpec,
}

#[derive(serde::Deserialize)]
struct TrainPayload {
    snapshot: ursa_domain::run::SnapshotInfo,
    recipe: TrainRecipe,
}

fn checkpoint_message(checkpoint: CheckpointInfo) -> v1::Checkpoint {
    v1::Checkpoint {
        attempt: checkpoint.attempt,
        epoch: checkpoint.epoch,
        key: checkpoint.key,
        sha256: checkpoint.sha256,
        bytes: checkpoint.bytes,
    }
}
