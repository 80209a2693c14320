//! One attempt as its work sees it: the lease it presents, where to tell of progress, and when to stop.

use std::future::Future;

use tokio::sync::watch;
use ursa_proto::v1;
use uuid::Uuid;

use crate::diary::{Diary, Item};
use crate::error::WorkError;
use crate::news::News;
use crate::stop::Stop;
use crate::text::cut;

/// The coordinator's limit for a line.
const MAX_LINE: usize = 4096;

/// What the coordinator ordered, but for the work itself.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    /// What every write presents.
    pub(crate) lease: v1::Lease,
    pub(crate) task_id: Uuid,
    pub(crate) job_id: Uuid,
    /// GPUs it may use, by their index; none means the processor.
    pub(crate) gpus: Vec<u32>,
}

/// What an attempt has to say of itself, for the next report.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// How far it is.
    pub(crate) progress: v1::Progress,
    /// How far an order to stop it is.
    pub(crate) stop_stage: v1::StopStage,
    /// Its work is over; only its end is left to be recorded.
    pub(crate) is_over: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Attempt {
    assignment: Assignment,
    standing: watch::Sender<Standing>,
    stop: watch::Receiver<Option<Stop>>,
    news: News,
    diary: Diary,
}

impl Attempt {
    pub(crate) fn new(
        assignment: Assignment,
        standing: watch::Sender<Standing>,
        stop: watch::Receiver<Option<Stop>>,
        news: News,
        diary: Diary,
    ) -> Self {
        Self { assignment, standing, stop, news, diary }
    }

    pub(crate) fn task_id(&self) -> Uuid {
        self.assignment.task_id
    }

    pub(crate) fn job_id(&self) -> Uuid {
        self.assignment.job_id
    }

    /// Which try, from 1.
    pub(crate) fn number(&self) -> u32 {
        self.assignment.lease.attempt
    }

    /// GPUs it may use, by their index; none means the processor.
    pub(crate) fn gpus(&self) -> &[u32] {
        &self.assignment.gpus
    }

    /// Says how far the work is; the next report carries it.
    pub(crate) fn progress(&self, done: u64, total: u64, unit: &str, message: impl Into<String>) {
        let progress = v1::Progress { done, total, unit: unit.to_owned(), message: message.into() };
        self.standing.send_modify(|standing| standing.progress = progress);
    }

    /// Writes a line to the job's log.
    pub(crate) fn log(&self, level: &str, message: impl Into<String>) {
        let line = v1::LogLine {
            at: Some(ursa_proto::timestamp(chrono::Utc::now())),
            level: level.to_owned(),
            message: cut(message.into(), MAX_LINE),
            ..v1::LogLine::default()
        };
        self.diary.post(Item::Line(line));
    }

    /// Stores a measurement.
    pub(crate) fn metric(&self, name: String, point: v1::MetricPoint) {
        self.diary.post(Item::Point(name, point));
    }

    /// Makes a checkpoint in the object store count.
    pub(crate) fn checkpoint(&self, checkpoint: v1::Checkpoint) {
        self.diary.post(Item::Checkpoint(checkpoint));
    }

    /// Resolves when the attempt shall stop, and has it reported that this was heard.
    pub(crate) async fn stopped(&self) {
        self.told(Option::is_some).await;
        self.tell_stage(v1::StopStage::Acknowledged);
    }

    /// Resolves when the lease is lost.
    pub(crate) async fn lease_lost(&self) {
        self.told(|stop| *stop == Some(Stop::LeaseLost)).await;
    }

    /// Says that the attempt did not end by itself.
    pub(crate) fn forced(&self) {
        self.tell_stage(v1::StopStage::Forced);
    }

    /// Why it shall stop, as heard last.
    pub(crate) fn stop_reason(&self) -> Stop {
        // Without a reason nobody is left to give one: the worker is ending.
        self.stop.borrow().unwrap_or(Stop::Shutdown)
    }

    /// How far an order to stop it is.
    pub(crate) fn stop_stage(&self) -> v1::StopStage {
        self.standing.borrow().stop_stage
    }

    /// The outcome of `work`, which is dropped where it is when the attempt shall stop.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T, WorkError>>,
    ) -> Result<T, WorkError> {
        tokio::select! {
            outcome = work => outcome,
            () = self.stopped() => Err(WorkError::Stopped),
        }
    }

    /// Ends the work: makes room for another attempt, and gets the diary to the coordinator. It is presented with the
    /// lease, so it must be in before the lease ends.
    pub(crate) async fn close(self) -> v1::Lease {
        self.standing.send_modify(|standing| standing.is_over = true);
        self.diary.close().await;
        self.assignment.lease
    }

    async fn told(&self, is_it: impl FnMut(&Option<Stop>) -> bool) {
        // An error means that the floor is gone, and the worker with it.
        let _ = self.stop.clone().wait_for(is_it).await;
    }

    fn tell_stage(&self, stage: v1::StopStage) {
        self.standing.send_modify(|standing| standing.stop_stage = stage);
        self.news.now();
    }
}
