//! `WorkerService`: the session, and the writes that present a lease.

use futures::future::join_all;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use ursa_domain::{ErrorClass, JobKind, Lease};
use ursa_proto::v1::worker_service_server::WorkerService;
use ursa_proto::{ApiError, ErrorCode, v1};

use super::session::Orders;
use super::{Answer, check_protocol, id, pages, refuse};
use crate::context::Context;
use crate::dispatch::{Attachment, Door, ORDERS_IN_FLIGHT, Report};
use crate::reconcile::leftovers;
use crate::store::{StoreError, WorkerReportRow, clean};

/// See the module.
#[derive(Debug)]
pub(crate) struct WorkerApi(pub Context);

const MAX_LOG_LINES: usize = 1000;
const MAX_METRIC_POINTS: usize = 10_000;
const MAX_FAILURE_BYTES: usize = 4096;
const MAX_FINDINGS: usize = 20;
const MAX_COMPLETIONS: usize = 1000;
const MAX_LABELS: usize = 20;
/// Of a name, a version or a label.
const MAX_TEXT_BYTES: usize = 200;

#[tonic::async_trait]
impl WorkerService for WorkerApi {
    type SessionStream = Orders<v1::WorkerOrders>;

    async fn session(&self, request: Request<Streaming<v1::WorkerReport>>) -> Answer<Self::SessionStream> {
        let (sender, receiver) = mpsc::channel(ORDERS_IN_FLIGHT);
        tokio::spawn(attend(self.0.clone(), request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn append_logs(&self, request: Request<v1::AppendLogsRequest>) -> Answer<v1::AppendLogsResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        at_most("lines", request.lines.len(), MAX_LOG_LINES)?;
        let stored = self.0.store.append_logs(&lease, request.sequence, &request.lines).await;
        self.answer(&lease, stored).await?;
        Ok(Response::new(v1::AppendLogsResponse {}))
    }

    async fn append_metrics(&self, request: Request<v1::AppendMetricsRequest>) -> Answer<v1::AppendMetricsResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        at_most("series", request.series.iter().map(|series| series.points.len()).sum(), MAX_METRIC_POINTS)?;
        let stored = self.0.store.append_metrics(&lease, &request.series).await;
        self.answer(&lease, stored).await?;
        Ok(Response::new(v1::AppendMetricsResponse {}))
    }

    async fn record_checkpoint(
        &self,
        request: Request<v1::RecordCheckpointRequest>,
    ) -> Answer<v1::RecordCheckpointResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        let checkpoint = request.checkpoint.ok_or_else(|| ApiError::invalid("checkpoint: is missing"))?;
        let recorded = self.0.store.record_checkpoint(&lease, &checkpoint).await;
        self.answer(&lease, recorded).await?;
        let context = self.0.clone();
        // What it supersedes goes meanwhile; should that fail, a later checkpoint or the retention sees to it.
        tokio::spawn(async move {
            if let Err(error) = leftovers::delete(&context).await {
                tracing::debug!(%error, "superseded checkpoints are not deleted yet");
            }
        });
        Ok(Response::new(v1::RecordCheckpointResponse {}))
    }

    async fn complete_task(&self, request: Request<v1::CompleteTaskRequest>) -> Answer<v1::CompleteTaskResponse> {
        self.complete(request.into_inner()).await?;
        Ok(Response::new(v1::CompleteTaskResponse {}))
    }

    async fn complete_tasks(&self, request: Request<v1::CompleteTasksRequest>) -> Answer<v1::CompleteTasksResponse> {
        let request = request.into_inner();
        at_most("completions", request.completions.len(), MAX_COMPLETIONS)?;
        let ended = join_all(request.completions.into_iter().map(|completion| self.complete(completion))).await;
        let outcome = |ended: Result<(), Status>| v1::CompletionOutcome {
            error: ended.err().map(|status| ApiError::from(status).into()),
        };
        Ok(Response::new(v1::CompleteTasksResponse { outcomes: ended.into_iter().map(outcome).collect() }))
    }

    async fn fail_task(&self, request: Request<v1::FailTaskRequest>) -> Answer<v1::FailTaskResponse> {
        let request = request.into_inner();
        let lease = lease(request.lease.as_ref())?;
        at_most("message", request.message.len(), MAX_FAILURE_BYTES)?;
        let class = ErrorClass::try_from(request.class()).map_err(ApiError::from)?;
        if class == ErrorClass::Fenced {
            return Err(ApiError::invalid("class: fenced is for the coordinator to say").into());
        }
        at_most("findings", request.findings.len(), MAX_FINDINGS)?;
        let (message, findings, stage) = (clean(&request.message), &request.findings, request.stop_stage());
        let failed = self.0.store.fail_run(&lease, class, &message, findings, stage, rand::random()).await;
        self.answer(&lease, failed).await?;
        self.0.roster.ended(&[lease], class == ErrorClass::Returned);
        Ok(Response::new(v1::FailTaskResponse {}))
    }

    async fn list_workers(&self, request: Request<v1::ListWorkersRequest>) -> Answer<v1::ListWorkersResponse> {
        let (size, after) = pages::read(request.into_inner().page, pages::name_and_id)?;
        let patience = self.0.config.patience();
        let mut workers = self.0.store.workers(after.as_ref(), size as i64 + 1, patience).await.map_err(refuse)?;
        let next_page_token = pages::next(&mut workers, size, |worker| pages::of_name_and_id(&worker.name, &worker.id));
        Ok(Response::new(v1::ListWorkersResponse { workers, next_page_token }))
    }

    async fn drain_worker(&self, request: Request<v1::DrainWorkerRequest>) -> Answer<v1::Worker> {
        let request = request.into_inner();
        let worker = id("id", &request.id)?;
        self.0.store.drain_worker(worker, request.drain).await.map_err(refuse)?;
        self.0.roster.drain(worker, request.drain);
        Ok(Response::new(self.0.store.worker(worker, self.0.config.patience()).await.map_err(refuse)?))
    }
}

impl WorkerApi {
    async fn complete(&self, request: v1::CompleteTaskRequest) -> Result<(), Status> {
        use v1::complete_task_request::Result as Done;
        let lease = lease(request.lease.as_ref())?;
        let store = &self.0.store;
        let completed = match request.result.ok_or_else(|| ApiError::invalid("result: is missing"))? {
            Done::Scrape(result) => store.complete_scrape(&lease, &result).await,
            Done::Verify(result) => store.complete_verify(&lease, &result).await,
            Done::FindLr(result) => store.complete_find_lr(&lease, &result).await,
            Done::Train(result) => store.complete_train(&lease, &result).await,
            Done::Search(result) => store.complete_search(&lease, &result).await,
            Done::Evaluate(result) => store.complete_evaluate(&lease, &result).await,
            Done::Explain(result) => store.complete_explain(&lease, &result).await,
            Done::SgdLab(result) => store.complete_sgd_lab(&lease, &result).await,
            // Its room is noted together with that of the others that end with it.
            Done::Probe(_) => {
                let completed = self.0.completions.ask(lease).await.flatten();
                return self.answer(&lease, completed.map_err(StoreError::from)).await;
            }
        };
        self.answer(&lease, completed).await?;
        self.0.roster.ended(&[lease], false);
        Ok(())
    }

    /// Turns an outcome into an answer. A worker that comes with a lease it has lost is remembered.
    async fn answer(&self, lease: &Lease, outcome: Result<(), StoreError>) -> Result<(), Status> {
        let Err(error) = outcome else { return Ok(()) };
        if matches!(&error, StoreError::Api(error) if error.code == ErrorCode::LeaseLost)
            && let Err(error) = self.0.store.mark_fenced(std::slice::from_ref(lease)).await
        {
            tracing::debug!(%error, "could not note a fenced attempt");
        }
        Err(refuse(error))
    }
}

/// One session: reports go to the roster, orders come from the beat and the rounds.
async fn attend(
    context: Context,
    mut reports: Streaming<v1::WorkerReport>,
    sender: mpsc::Sender<Result<v1::WorkerOrders, Status>>,
) {
    let mut attachment: Option<Attachment> = None;
    loop {
        let report = tokio::select! {
            report = reports.message() => report,
            () = sender.closed() => break,
        };
        let Ok(Some(report)) = report else { break };
        match (read(report), attachment) {
            (Ok(report), None) => {
                attachment = Some(context.roster.attach(report, Door::Session(sender.clone())));
            }
            (Ok(report), Some(attachment)) => context.roster.report(attachment, report),
            (Err(refusal), _) => {
                // It has gone already.
                let _ = sender.send(Err(refusal)).await;
                break;
            }
        }
    }
    if let Some(attachment) = attachment {
        context.roster.detach(attachment);
    }
}

fn read(report: v1::WorkerReport) -> Result<Report, Status> {
    check_protocol("worker", report.protocol_version)?;
    if report.labels.len() > MAX_LABELS {
        return Err(ApiError::invalid(format!("labels: a worker may have {MAX_LABELS} at most")).into());
    }
    check_texts(&report)?;
    let running = report
        .running
        .iter()
        .map(|attempt| {
            let mut progress = attempt.progress.clone().unwrap_or_default();
            for text in [&mut progress.unit, &mut progress.message] {
                *text = clean(text);
            }
            Ok((lease(attempt.lease.as_ref())?, progress, attempt.stop_stage().into()))
        })
        .collect::<Result<_, Status>>()?;
    Ok(Report {
        protocol: report.protocol_version,
        running,
        row: WorkerReportRow {
            id: id("worker_id", &report.worker_id)?,
            kinds: kinds(&report.kinds)?,
            name: report.name,
            version: report.version,
            code_version: report.code_version,
            slots: report.slots,
            gpus: report.gpus,
            labels: report.labels,
            draining: report.draining,
            internal: false,
        },
    })
}

/// All reports are one statement: one that the database refused would have nobody's lease renewed.
fn check_texts(report: &v1::WorkerReport) -> Result<(), Status> {
    let own = [("name", &report.name), ("version", &report.version), ("code_version", &report.code_version)];
    let labels = report.labels.iter().flat_map(|(name, value)| [("labels", name), ("labels", value)]);
    let gpus = report.gpus.iter().flat_map(|gpu| [("gpus.model", &gpu.model), ("gpus.driver", &gpu.driver)]);
    for (field, text) in own.into_iter().chain(labels).chain(gpus) {
        if text.len() > MAX_TEXT_BYTES || text.contains('\0') {
            let message = format!("{field}: a text has {MAX_TEXT_BYTES} bytes at most, and no NUL");
            return Err(ApiError::invalid(message).into());
        }
    }
    Ok(())
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
    Err(ApiError::new(ErrorCode::TooLarge, message).into())
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
