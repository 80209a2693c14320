//! What happens, as it happens: recorded events from any place in their order, and how far jobs are meanwhile.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use ursa_proto::{timestamp, v1};
use uuid::Uuid;

use super::{id, refuse};
use crate::context::Context;
use crate::hub;
use crate::store::{EventRow, EventSubject, Horizon, JobProgress, StoreError, StoreResult, Topic};

/// Events read at a time.
const BATCH: i64 = 500;
/// A hint may get lost; nobody waits longer than this for an event.
const TICK: Duration = Duration::from_millis(500);
/// What happens within so long is read together; nobody sees the difference.
const GATHER: Duration = Duration::from_millis(10);
/// So long are those given who are still writing; to look costs Postgres more than to read events.
const SETTLE: Duration = Duration::from_millis(50);
/// How far jobs are is counted, which costs more than to read what has happened; nobody sees more often.
const PROGRESS_TICK: Duration = Duration::from_millis(400);

/// What is asked for, to the end of what is watched, or for ever.
pub(super) async fn events(
    context: &Context,
    request: v1::WatchEventsRequest,
) -> Result<ReceiverStream<Result<v1::Event, Status>>, Status> {
    let subject = subject(context, request.subject).await?;
    let mut horizon = Horizon::default();
    let after_id = match request.after_id {
        -1 => newest(context, subject, &mut horizon).await.map_err(refuse)?,
        after_id => after_id,
    };
    let (sender, receiver) = mpsc::channel(64);
    let context = context.clone();
    let watch = Watch { context, subject, horizon, after_id, progress: HashMap::new(), progress_at: None, sender };
    tokio::spawn(watch.run());
    Ok(ReceiverStream::new(receiver))
}

/// What is to be watched, which must exist.
async fn subject(
    context: &Context,
    subject: Option<v1::watch_events_request::Subject>,
) -> Result<EventSubject, Status> {
    use v1::watch_events_request::Subject;
    match subject {
        None => Ok(EventSubject::All),
        Some(Subject::PipelineId(text)) => {
            let id = id("pipeline_id", &text)?;
            context.store.pipeline(id).await.map_err(refuse)?;
            Ok(EventSubject::Pipeline(id))
        }
        Some(Subject::JobId(text)) => {
            let id = id("job_id", &text)?;
            context.store.job(id).await.map_err(refuse)?;
            Ok(EventSubject::Job(id))
        }
    }
}

/// The id after which everything comes that is committed from now on. Where everything is watched, those who are at work are
/// waited for: what they have drawn may lie before what others have committed.
async fn newest(context: &Context, subject: EventSubject, horizon: &mut Horizon) -> StoreResult<i64> {
    if subject != EventSubject::All {
        return context.store.last_event_id(subject).await;
    }
    loop {
        context.store.look_ahead(horizon).await?;
        if let Some(settled) = horizon.settled() {
            return Ok(settled);
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// One caller that watches. Recorded events carry their id; progress is sent as it is now, with id 0, and not recorded.
struct Watch {
    context: Context,
    subject: EventSubject,
    /// Of everything, where that is watched.
    horizon: Horizon,
    after_id: i64,
    progress: HashMap<Uuid, JobProgress>,
    /// When it was counted last.
    progress_at: Option<Instant>,
    sender: mpsc::Sender<Result<v1::Event, Status>>,
}

/// The caller has gone.
struct Gone;

impl Watch {
    async fn run(mut self) {
        let mut wake = self.context.hub.subscribe(Topic::Events);
        loop {
            wake.borrow_and_update();
            match self.step().await {
                Ok(Ok(false)) => {}
                Ok(Ok(true) | Err(Gone)) => return,
                Err(error) => {
                    // The caller resumes from the last id it saw.
                    let _ = self.sender.send(Err(refuse(error))).await;
                    return;
                }
            }
            // Whoever is waited for there is done in a moment, and need not tell anybody.
            if self.horizon.is_pending() {
                tokio::time::sleep(SETTLE).await;
            } else {
                hub::wait(&mut wake, TICK).await;
                tokio::time::sleep(GATHER).await;
            }
            if self.sender.is_closed() {
                return;
            }
        }
    }

    /// Sends what is new; true when there will be nothing more.
    async fn step(&mut self) -> Result<Result<bool, Gone>, StoreError> {
        // Asked before the events are read: whatever ended by then has its events recorded.
        let ended = self.context.store.has_ended(self.subject).await?;
        let up_to = self.up_to().await?;
        while self.after_id < up_to {
            let events = self.context.store.events(self.subject, self.after_id, up_to, BATCH).await?;
            let last_batch = (events.len() as i64) < BATCH;
            for event in events {
                self.after_id = event.id;
                if self.sender.send(Ok(event_message(event))).await.is_err() {
                    return Ok(Err(Gone));
                }
            }
            if last_batch {
                break;
            }
        }
        if self.send_all_progress().await?.is_err() {
            return Ok(Err(Gone));
        }
        Ok(Ok(ended))
    }

    /// The id up to which events may be sent by now, for none will come before one that was sent.
    async fn up_to(&mut self) -> StoreResult<i64> {
        if self.subject != EventSubject::All {
            return Ok(i64::MAX);
        }
        self.context.store.look_ahead(&mut self.horizon).await?;
        Ok(self.horizon.settled().unwrap_or(0))
    }

    async fn send_all_progress(&mut self) -> Result<Result<(), Gone>, StoreError> {
        if self.progress_at.is_some_and(|at| at.elapsed() < PROGRESS_TICK) {
            return Ok(Ok(()));
        }
        self.progress_at = Some(Instant::now());
        for progress in self.context.store.progress(self.subject).await? {
            if self.send_progress(progress).await.is_err() {
                return Ok(Err(Gone));
            }
        }
        Ok(Ok(()))
    }

    async fn send_progress(&mut self, progress: JobProgress) -> Result<(), Gone> {
        if self.progress.get(&progress.job_id) == Some(&progress) {
            return Ok(());
        }
        let message = format!("{} of {} {} {}", progress.done, progress.total, progress.unit, progress.message);
        let event = v1::Event {
            job_id: progress.job_id.to_string(),
            pipeline_id: progress.pipeline_id.to_string(),
            kind: "job.progress".into(),
            message: message.trim_end().to_owned(),
            ..v1::Event::default()
        };
        self.progress.insert(progress.job_id, progress);
        self.sender.send(Ok(event)).await.map_err(|_| Gone)
    }
}

fn event_task(task: Uuid, attempt: i32) -> v1::EventTask {
    v1::EventTask { task_id: task.to_string(), attempt: attempt as u32 }
}

fn event_message(row: EventRow) -> v1::Event {
    let tasks = row.task_ids.into_iter().flatten();
    let attempts = row.attempts.into_iter().flatten();
    v1::Event {
        id: row.id,
        at: Some(timestamp(row.at)),
        job_id: row.job_id.to_string(),
        pipeline_id: row.pipeline_id.to_string(),
        task_id: row.task_id.map(|id| id.to_string()).unwrap_or_default(),
        attempt: row.attempt.unwrap_or_default() as u32,
        kind: row.kind,
        message: row.message,
        tasks: tasks.zip(attempts).map(|(task, attempt)| event_task(task, attempt)).collect(),
    }
}
