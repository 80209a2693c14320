//! One attempt as its work sees it: the lease it presents, where to tell of progress, and when to stop.

use std::future::Future;

use tokio::sync::{mpsc, watch};
use ursa_proto::v1;
use uuid::Uuid;

use crate::error::{Stop, WorkError};
use crate::outbox::Item;
use crate::text::cut;

/// The coordinator's limit for a line.
const MAX_LINE: usize = 4096;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    lease: v1::Lease,
    task_id: Uuid,
    job_id: Uuid,
    progress: watch::Sender<v1::Progress>,
    stop: watch::Receiver<Option<Stop>>,
    outbox: mpsc::Sender<Item>,
}

impl Attempt {
    pub(crate) fn new(
        lease: v1::Lease,
        (task_id, job_id): (Uuid, Uuid),
        progress: watch::Sender<v1::Progress>,
        stop: watch::Receiver<Option<Stop>>,
        outbox: mpsc::Sender<Item>,
    ) -> Self {
        Self { lease, task_id, job_id, progress, stop, outbox }
    }

    /// What every write presents.
    pub(crate) fn lease(&self) -> v1::Lease {
        self.lease.clone()
    }

    pub(crate) fn task_id(&self) -> Uuid {
        self.task_id
    }

    pub(crate) fn job_id(&self) -> Uuid {
        self.job_id
    }

    /// Which try, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.lease.attempt
    }

    /// Says how far the work is; the next report carries it.
    pub(crate) fn progress(&self, done: u64, total: u64, unit: &str, message: impl Into<String>) {
        self.progress.send_replace(v1::Progress { done, total, unit: unit.to_owned(), message: message.into() });
    }

    /// Writes a line to the job's log.
    pub(crate) fn log(&self, level: &str, message: impl Into<String>) {
        let line = v1::LogLine {
            at: Some(ursa_proto::timestamp(chrono::Utc::now())),
            level: level.to_owned(),
            message: cut(message.into(), MAX_LINE),
            ..v1::LogLine::default()
        };
        self.post(Item::Line(line));
    }

    /// Stores a measurement.
    pub(crate) fn metric(&self, name: String, point: v1::MetricPoint) {
        self.post(Item::Point(name, point));
    }

    /// Makes a checkpoint in the object store count.
    pub(crate) fn checkpoint(&self, checkpoint: v1::Checkpoint) {
        self.post(Item::Checkpoint(checkpoint));
    }

    fn post(&self, item: Item) {
        // Full only when the coordinator has been away for very long; work does not wait for its diary.
        if let Err(error) = self.outbox.try_send(item) {
            tracing::debug!(task = %self.task_id, %error, "an entry of the diary is lost");
        }
    }

    /// Resolves when the attempt shall stop.
    pub(crate) async fn stopped(&self) -> Stop {
        let mut stop = self.stop.clone();
        let wanted = stop.wait_for(Option::is_some).await.map(|wanted| *wanted);
        match wanted {
            Ok(Some(stop)) => stop,
            // Nobody is left to say so: the worker is ending.
            _ => Stop::Shutdown,
        }
    }

    /// The outcome of `work`, which is dropped where it is when the attempt shall stop.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, WorkError>>,
    ) -> Result<T, WorkError> {
        tokio::select! {
            outcome = work => outcome,
            stop = self.stopped() => Err(WorkError::Stopped(stop)),
        }
    }
}
