//! Checkpoints of a run: to the store, while training goes on, and back from there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use ursa_domain::run::{CheckpointInfo, RunOrder, TrainerEvent};
use ursa_learner::{EpochReport, Training};
use ursa_storage::{Digest, Key, Storage, StorageError};
use uuid::Uuid;

use crate::events;
use crate::failure::Failure;
use crate::run::Failed;

/// Goes on where an earlier attempt was, else where the run is ordered to begin.
pub(crate) async fn go_on(training: &mut Training, storage: &Storage, order: &RunOrder) -> Result<(), Failure> {
    for checkpoint in order.resume.iter().chain(&order.earlier) {
        if resume(training, storage, checkpoint).await? {
            return Ok(());
        }
    }
    if order.resume.is_some() {
        events::log("warn", "no checkpoint of this run is whole: it begins anew");
    }
    match &order.start {
        Some(start) => start_from(training, storage, start).await,
        None => Ok(()),
    }
}

/// Goes on from a checkpoint, and says whether it could. One that is gone or damaged costs time, not the run; one of another
/// run or format is an error.
async fn resume(training: &mut Training, storage: &Storage, info: &CheckpointInfo) -> Result<bool, Failure> {
    match read(storage, info).await? {
        Ok(bytes) => tell_differences(&training.resume(&bytes)?),
        Err(error) => {
            let (epochs, step) = (info.epoch, info.step);
            events::log(
                "warn",
                format!("the checkpoint after batch {step}, {epochs} epochs, cannot be gone on from: {error}"),
            );
            return Ok(false);
        }
    }
    tell_place(training);
    Ok(true)
}

/// Goes on from the checkpoint of a run that had other rates. Whoever asked for it does not want another beginning.
async fn start_from(training: &mut Training, storage: &Storage, info: &CheckpointInfo) -> Result<(), Failure> {
    let bytes = read(storage, info).await?.map_err(|error| {
        Failure::fatal(format!("{error}; the checkpoint to go on from is gone: leave out `checkpoint` to start afresh"))
    })?;
    training.start_from(&bytes)?;
    tell_place(training);
    Ok(())
}

/// The bytes of a checkpoint, or why there are none.
async fn read(storage: &Storage, info: &CheckpointInfo) -> Result<Result<Bytes, StorageError>, Failure> {
    let expected: Digest =
        info.sha256.parse().map_err(|error| Failure::fatal(format!("checkpoint {}: {error}", info.key)))?;
    match storage.get_verified(&info.key.parse()?, &expected).await {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(error @ (StorageError::NotFound { .. } | StorageError::Corrupt { .. })) => Ok(Err(error)),
        Err(error) => Err(error.into()),
    }
}

fn tell_differences(differences: &[String]) {
    if !differences.is_empty() {
        let differences = differences.join("; ");
        events::log("warn", format!("not bit for bit what an unbroken run would be: {differences}"));
    }
}

fn tell_place(training: &Training) {
    let (step, steps) = (training.steps_done(), training.steps());
    events::log("info", format!("going on after batch {step} of {steps}, in epoch {}", training.epochs_done() + 1));
}

/// Sees checkpoints into the store, one at a time, while training goes on, also where the store does not take one: an outage
/// costs what has to be done again should the run end before the next is stored, and not the run.
pub(crate) struct Saver<'a> {
    runtime: &'a Runtime,
    storage: &'a Storage,
    order: &'a RunOrder,
    saving: Option<Saving>,
    /// When the last one was begun, and what it holds; that of the last one stored where it failed.
    last: (Instant, Moment),
    /// What the last one that is stored holds, or where the run begins.
    stored: Moment,
    /// Whether the last one could not be stored, and that was told.
    failing: bool,
}

impl<'a> Saver<'a> {
    /// Of a run that is where it begins, or goes on.
    pub(crate) fn new(runtime: &'a Runtime, storage: &'a Storage, order: &'a RunOrder, training: &Training) -> Self {
        let begin = Moment::of(training);
        let last = (Instant::now(), begin);
        Self { runtime, storage, order, saving: None, last, stored: begin, failing: false }
    }

    /// Whether the last one was begun too long ago.
    pub(crate) fn is_due(&self) -> bool {
        self.last.0.elapsed() >= Duration::from_secs(self.order.checkpoint_seconds.into())
    }

    /// Begins to store a checkpoint, unless nothing has happened since the last one. Where that has failed, this is the next
    /// try.
    pub(crate) fn save(&mut self, training: &Training) -> Result<(), Failed> {
        if self.saving.as_ref().is_some_and(JoinHandle::is_finished) {
            self.settle();
        }
        let moment = Moment::of(training);
        if moment == self.last.1 {
            return Ok(());
        }
        self.settle();
        let bytes = Bytes::from(training.checkpoint().map_err(Failed::Learning)?);
        let RunOrder { task_id, attempt, .. } = *self.order;
        let measured = training.history().last().filter(|last| moment == Moment::after(last));
        let error_rate = measured.map(EpochReport::error_rate);
        let save = save(self.storage.clone(), task_id, attempt, Saved { moment, error_rate, bytes });
        (self.saving, self.last) = (Some(self.runtime.spawn(save)), (Instant::now(), moment));
        Ok(())
    }

    /// Waits for the one that is on its way, and does without it where it fails.
    fn settle(&mut self) {
        if let Err(lost) = self.finish() {
            self.do_without(&lost);
        }
    }

    /// Waits until the last checkpoint is in the store.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let Some(saving) = self.saving.take() else { return Ok(()) };
        let broken = |error| Failure::retryable(format!("saving a checkpoint failed: {error}"));
        let saved = self.runtime.block_on(saving).map_err(broken).and_then(|saved| saved);
        match &saved {
            Ok(()) => {
                self.stored = self.last.1;
                if std::mem::take(&mut self.failing) {
                    events::log("info", "checkpoints can be stored again");
                }
            }
            Err(_) => self.last.1 = self.stored,
        }
        saved
    }

    /// Goes on without a checkpoint that could not be stored, and says so where it is the first of an outage.
    pub(crate) fn do_without(&mut self, lost: &Failure) {
        if !std::mem::replace(&mut self.failing, true) {
            events::log("warn", format!("a checkpoint could not be stored, the run goes on without it: {lost}"));
        }
    }
}

/// Where a run is: epochs, measuring included, and batches done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    epoch: u32,
    step: u64,
}

impl Moment {
    fn of(training: &Training) -> Self {
        Self { epoch: training.epochs_done(), step: training.steps_done() }
    }

    /// Right after an epoch was measured.
    fn after(report: &EpochReport) -> Self {
        Self { epoch: report.epoch + 1, step: report.step }
    }
}

/// What is saved of a run.
struct Saved {
    moment: Moment,
    /// Where it was measured at that moment.
    error_rate: Option<f64>,
    bytes: Bytes,
}

/// A checkpoint on its way to the store.
type Saving = JoinHandle<Result<(), Failure>>;

/// Stores a checkpoint, and tells of it as soon as it is there.
async fn save(storage: Storage, task: Uuid, attempt: u32, saved: Saved) -> Result<(), Failure> {
    let Saved { moment: Moment { epoch, step }, error_rate, bytes } = saved;
    let key = Key::Checkpoint { task, attempt, epoch, step };
    let size = bytes.len() as u64;
    let sha256 = storage.put(&key, bytes).await?.to_string();
    events::emit(&TrainerEvent::Checkpoint(CheckpointInfo {
        attempt,
        epoch,
        step,
        key: key.to_string(),
        sha256,
        bytes: size,
        error_rate,
    }));
    Ok(())
}
