//! What the tests ask of the system, as any client could.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ursa_proto::v1;
use ursa_system::System;
use ursa_system::logs::{Expected, Level};

pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// Submits a pipeline; the ids of its jobs by name.
pub(crate) async fn submit(system: &System, spec: v1::PipelineSpec) -> HashMap<String, String> {
    let request = v1::SubmitPipelineRequest { pipeline: Some(spec), idempotency_key: String::new() };
    let answer = system.client.jobs().submit_pipeline(request).await.unwrap().into_inner();
    answer.pipeline.unwrap().jobs.into_iter().map(|job| (job.name, job.id)).collect()
}

/// A job; `None` while the coordinator is away.
pub(crate) async fn job(system: &System, id: &str) -> Option<v1::JobDetail> {
    let asked = system.client.jobs().get_job(v1::GetJobRequest { id: id.to_owned() }).await;
    asked.ok().map(tonic::Response::into_inner)
}

/// Waits until a job is as it `must` be, and gives it.
pub(crate) async fn until(
    system: &System,
    what: &str,
    id: &str,
    must: impl Fn(&v1::JobDetail) -> bool,
) -> v1::JobDetail {
    let begin = Instant::now();
    loop {
        let seen = job(system, id).await;
        match &seen {
            Some(detail) if must(detail) => return detail.clone(),
            _ => {}
        }
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}; last: {seen:#?}\n{}", system.logs());
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until a job has ended, which must be in `state`.
pub(crate) async fn ended(system: &System, id: &str, state: &str) -> v1::JobDetail {
    let open = ["waiting", "running", "cancelling"];
    let is_over = |detail: &v1::JobDetail| !open.contains(&state_of(detail));
    let detail = until(system, state, id, is_over).await;
    assert_eq!(state_of(&detail), state, "{detail:#?}\n{}", system.logs());
    detail
}

pub(crate) fn state_of(detail: &v1::JobDetail) -> &str {
    detail.job.as_ref().map_or("", |job| &job.state)
}

/// How the attempts of a job's tasks ended, task by task.
pub(crate) fn attempts(detail: &v1::JobDetail) -> Vec<Vec<&str>> {
    detail.tasks.iter().map(|task| task.attempts.iter().map(|attempt| attempt.state.as_str()).collect()).collect()
}

/// What a job has logged.
pub(crate) async fn log_of(system: &System, id: &str) -> Vec<String> {
    let request = v1::ListLogsRequest { job_id: id.to_owned(), after_id: 0, limit: 10_000 };
    let lines = system.client.jobs().list_logs(request).await.unwrap().into_inner().lines;
    lines.into_iter().map(|line| line.message).collect()
}

/// Waits until a checkpoint of a training run counts.
pub(crate) async fn checkpoint(system: &System, id: &str) {
    let subject = Some(v1::watch_events_request::Subject::JobId(id.to_owned()));
    let request = v1::WatchEventsRequest { subject, after_id: 0 };
    let mut events = system.client.jobs().watch_events(request).await.unwrap().into_inner();
    let waiting = async {
        while let Some(event) = events.message().await.unwrap() {
            if event.kind == "checkpoint" {
                return true;
            }
        }
        false
    };
    let seen = tokio::time::timeout(PATIENCE, waiting).await;
    assert_eq!(seen, Ok(true), "the run stored no checkpoint\n{}", system.logs());
}

/// A warning that a test expects, told by what it says, piece by piece in this order.
pub(crate) const fn warning(pieces: &'static [&'static str], reason: &'static str) -> Expected {
    Expected { level: Level::Warn, pieces, reason }
}

/// Every service has logged nothing that somebody should look at, besides what is `expected`.
pub(crate) fn nothing_alarming(system: &mut System, expected: &[Expected]) {
    let alarms = system.alarms(expected).unwrap();
    assert!(alarms.is_empty(), "{}", alarms.join("\n"));
}

/// Waits until a worker has logged a line in which all of these stand.
pub(crate) async fn logged(system: &System, worker: usize, pieces: &[&str]) {
    let begin = Instant::now();
    let is_it = |line: &str| pieces.iter().all(|piece| line.contains(piece));
    while !system.workers[worker].log().lines().any(is_it) {
        assert!(begin.elapsed() < PATIENCE, "worker {worker} did not log {pieces:?}\n{}", system.logs());
        tokio::time::sleep(LOOK).await;
    }
}

pub(crate) async fn sources(system: &System) -> Vec<v1::Source> {
    let page = Some(v1::PageRequest { size: 1000, token: String::new() });
    let request = v1::ListSourcesRequest { dataset: "bears".into(), outcome: String::new(), page };
    system.client.datasets().list_sources(request).await.unwrap().into_inner().sources
}

pub(crate) async fn images(system: &System) -> Vec<v1::Image> {
    let page = Some(v1::PageRequest { size: 1000, token: String::new() });
    let request = v1::ListImagesRequest { dataset: "bears".into(), page, ..v1::ListImagesRequest::default() };
    system.client.datasets().list_images(request).await.unwrap().into_inner().images
}
