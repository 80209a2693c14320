//! One attempt from order to recorded end: its work, its diary, its end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use ursa_domain::ErrorClass;
use ursa_proto::v1::complete_task_request::Result as Done;
use ursa_proto::v1::task_order::Work;
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::attempt::Attempt;
use crate::error::{Failure, WorkError};
use crate::kind::learn::finding_message;
use crate::kind::{learn, probe, scrape, verify};
use crate::patience::Patience;
use crate::stop::Stop;
use crate::text::cut;
use crate::tools::Tools;

/// The coordinator's limit for a failure's message.
const MAX_MESSAGE: usize = 4096;

/// Works, then says how it ended. Returns when nothing is left to say.
#[tracing::instrument(name = "attempt", skip_all, fields(task = %attempt.task_id(), attempt = attempt.number()))]
pub(crate) async fn execute(tools: &Arc<Tools>, attempt: Attempt, work: Work, patience: &Patience) {
    // The dispatch benchmark reads this line.
    tracing::debug!(job = %attempt.job_id(), "the attempt begins");
    let guarded = AssertUnwindSafe(work_on(tools, &attempt, work)).catch_unwind().await;
    let outcome = guarded.unwrap_or_else(|panic| Err(WorkError::retryable(panic_message(panic.as_ref()))));
    if let Err(WorkError::Failed(failure)) = &outcome {
        attempt.log("error", failure.message.clone());
    }
    let (stop, stage) = (attempt.stop_reason(), attempt.stop_stage());
    let end = if outcome.is_ok() { "success" } else { "failure" };
    let lease = attempt.close().await;
    if let Err(error) = say_end(tools, &lease, outcome, stop, stage, patience).await {
        tracing::info!(%error, "the {end} of this attempt is not recorded");
    }
}

async fn work_on(tools: &Arc<Tools>, attempt: &Attempt, work: Work) -> Result<Done, WorkError> {
    match work {
        Work::Scrape(task) => attempt.unless_stopped(scrape::work(tools, attempt, task)).await.map(Done::Scrape),
        Work::Verify(task) => attempt.unless_stopped(verify::work(tools, attempt, task)).await.map(Done::Verify),
        // It stops its process in stages, so it listens for itself.
        Work::FindLr(task) => learn::find_lr(tools, attempt, task).await.map(Done::FindLr),
        Work::Train(task) => learn::train(tools, attempt, task).await.map(Done::Train),
        Work::Search(task) => learn::search(tools, attempt, task).await.map(Done::Search),
        Work::Evaluate(task) => learn::evaluate(tools, attempt, task).await.map(Done::Evaluate),
        Work::Explain(task) => learn::explain(tools, attempt, task).await.map(Done::Explain),
        Work::SgdLab(task) => learn::sgd_lab(tools, attempt, task).await.map(Done::SgdLab),
        Work::Probe(task) => attempt.unless_stopped(probe::work(attempt, task)).await.map(Done::Probe),
    }
}

/// `stop` is why it was stopped, if it was, and `stage` how far that came.
async fn say_end(
    tools: &Tools,
    lease: &v1::Lease,
    outcome: Result<Done, WorkError>,
    stop: Stop,
    stage: v1::StopStage,
    patience: &Patience,
) -> Result<(), ApiError> {
    let failure = match outcome {
        Ok(done) => match complete(tools, lease, done, patience).await {
            Err(error) if is_refusal(&error) => {
                let message = format!("the coordinator refused the result: {error}");
                Failure::new(ErrorClass::Retryable, message)
            }
            ended => return ended,
        },
        Err(WorkError::Failed(failure)) => failure,
        Err(WorkError::Stopped) => match stop.failure(&tools.name) {
            Some(failure) => failure,
            None => return Ok(()),
        },
    };
    fail(tools, lease, failure, stage, patience).await
}

/// Whether the lease still stands after this answer.
fn is_refusal(error: &ApiError) -> bool {
    !error.is_retryable() && error.code != ErrorCode::LeaseLost
}

async fn complete(tools: &Tools, lease: &v1::Lease, done: Done, patience: &Patience) -> Result<(), ApiError> {
    let is_short = matches!(done, Done::Probe(_));
    let request = v1::CompleteTaskRequest { lease: Some(lease.clone()), result: Some(done) };
    if is_short {
        return patience.repeat(|| tools.endings.complete(request.clone())).await;
    }
    patience.repeat(|| async { tools.client.workers().complete_task(request.clone()).await }).await.map(drop)
}

/// Ends an attempt badly. How far an order to stop it came is said with it: the next report may be too late.
pub(crate) async fn fail(
    tools: &Tools,
    lease: &v1::Lease,
    failure: Failure,
    stage: v1::StopStage,
    patience: &Patience,
) -> Result<(), ApiError> {
    match failure.class {
        // Somebody wanted it so.
        ErrorClass::Cancelled | ErrorClass::Returned => tracing::info!(class = %failure.class, "{}", failure.message),
        _ => tracing::warn!(class = %failure.class, "{}", failure.message),
    }
    let class = v1::ErrorClass::from(failure.class).into();
    let message = cut(failure.message, MAX_MESSAGE);
    let findings = failure.findings.into_iter().map(finding_message).collect();
    let (lease, stop_stage) = (Some(lease.clone()), stage.into());
    let request = v1::FailTaskRequest { lease, class, message, findings, stop_stage };
    patience.repeat(|| async { tools.client.workers().fail_task(request.clone()).await }).await.map(drop)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the worker panicked at it: {}; this is a bug in Ursa", text.unwrap_or("no message"))
}
