//! Watching until the end, through losses of the connection: bars on a terminal, lines in a pipe.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use ursa_client::Client;
use ursa_proto::v1::watch_events_request::Subject;
use ursa_proto::{ApiError, v1};

use super::pipeline;
use crate::output::line;
use crate::progress::JobBars;

/// The kind of event that says how far a job is.
const PROGRESS: &str = "job.progress";
/// As a place to watch from, in `WatchEventsRequest`.
const FROM_THE_START: i64 = 0;
/// The same.
const ONLY_WHAT_IS_NEW: i64 = -1;
/// In a pipe, so that a log of hours can be read.
const BETWEEN_PROGRESS: Duration = Duration::from_secs(5);
/// Until the next try to reach a coordinator that was lost.
pub(super) const RECONNECT: Duration = Duration::from_secs(1);
/// How often bars are brought up to date.
const LOOK: Duration = Duration::from_millis(400);

/// Shows what happens until the subject has ended. A lost connection is taken up where it broke.
pub(super) async fn until_ended(client: &Client, subject: Subject) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
        with_bars(client, subject).await
    } else {
        let mut last_progress: Option<Instant> = None;
        events(client, subject, FROM_THE_START, |event| {
            if event.kind == PROGRESS {
                if last_progress.is_some_and(|last| last.elapsed() < BETWEEN_PROGRESS) {
                    return;
                }
                last_progress = Some(Instant::now());
            }
            // Who reads the lines may have gone; the watch goes on for its exit code.
            drop(line(&text(event)));
        })
        .await
    }
}

/// Waits until the subject has ended, through losses of the connection, and shows nothing.
pub(super) async fn end(client: &Client, subject: Subject) -> anyhow::Result<()> {
    events(client, subject, ONLY_WHAT_IS_NEW, |_| {}).await
}

async fn with_bars(client: &Client, subject: Subject) -> anyhow::Result<()> {
    let mut bars = JobBars::new();
    let print = bars.printer();
    let mut ended = std::pin::pin!(events(client, subject.clone(), FROM_THE_START, |event| {
        if is_worth_a_line(event) {
            print(&text(event));
        }
    }));
    let mut tick = tokio::time::interval(LOOK);
    let mut look = Look { subject, pipeline: None };
    let outcome = loop {
        tokio::select! {
            outcome = &mut ended => break outcome,
            _ = tick.tick() => {}
        }
        // What is lost here, the next look finds; what is wrong, the events say.
        if let Ok(jobs) = look.jobs(client).await {
            bars.update(&jobs);
        }
    };
    if let Ok(jobs) = look.jobs(client).await {
        bars.update(&jobs);
    }
    bars.finish();
    outcome
}

/// Progress is what the bars are for.
fn is_worth_a_line(event: &v1::Event) -> bool {
    !matches!(event.kind.as_str(), PROGRESS | "task.leased" | "task.succeeded" | "tasks.leased" | "tasks.succeeded")
        && !event.message.is_empty()
}

/// Looks at the jobs that are watched, again and again.
struct Look {
    subject: Subject,
    /// The pipeline of the job that is watched, once known: a job with its thousand tasks is too much for every look.
    pipeline: Option<String>,
}

impl Look {
    async fn jobs(&mut self, client: &Client) -> Result<Vec<v1::Job>, ApiError> {
        let (pipeline, job) = match (&self.subject, &self.pipeline) {
            (Subject::PipelineId(id), _) => (id, None),
            (Subject::JobId(job), Some(id)) => (id, Some(job)),
            (Subject::JobId(job), None) => {
                let job = client.jobs().get_job(v1::GetJobRequest { id: job.clone() }).await?.into_inner().job;
                self.pipeline = job.as_ref().map(|job| job.pipeline_id.clone());
                return Ok(job.into_iter().collect());
            }
        };
        let mut jobs = pipeline::get(client, pipeline).await?.jobs;
        jobs.retain(|one| job.is_none_or(|wanted| one.id == *wanted));
        Ok(jobs)
    }
}

fn text(event: &v1::Event) -> String {
    format!("{:<16} {}", event.kind, event.message)
}

async fn events(
    client: &Client,
    subject: Subject,
    mut after_id: i64,
    mut show: impl FnMut(&v1::Event),
) -> anyhow::Result<()> {
    loop {
        match follow(client, subject.clone(), &mut after_id, &mut show).await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "lost the coordinator; watching on as soon as it is back");
                tokio::time::sleep(RECONNECT).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn follow(
    client: &Client,
    subject: Subject,
    after_id: &mut i64,
    show: &mut impl FnMut(&v1::Event),
) -> Result<(), ApiError> {
    let request = v1::WatchEventsRequest { subject: Some(subject), after_id: *after_id };
    let mut events = client.jobs().watch_events(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        // Progress is not recorded and has no place.
        if event.id > 0 {
            *after_id = event.id;
        }
        show(&event);
    }
    Ok(())
}
