//! One training run from order to result.

use std::time::Instant;

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use ursa_domain::run::{CheckpointInfo, RunOrder, RunResult, TrainerEvent};
use ursa_learner::{
    BatchReport, Device, Observer, Precision, RunIdentity, Training, best_device, check_recipe, set_threads,
};
use ursa_storage::manifest::Manifest;
use ursa_storage::{Digest, Key, Storage, StorageError};
use uuid::Uuid;

use crate::failure::Failure;
use crate::input::Supervisor;
use crate::{describe, events, model, pretrained, snapshot};

/// Executes `order` and tells of it by events; the caller tells of its end.
pub(crate) fn run(order: &RunOrder, supervisor: &Supervisor) -> Result<RunResult, Failure> {
    check_recipe(&order.recipe)?;
    let runtime = Runtime::new().map_err(|error| Failure::retryable(format!("cannot start: {error}")))?;
    let storage = Storage::open(&order.object_store)?;
    let manifest = runtime.block_on(snapshot::manifest(&storage, &order.snapshot))?;
    let device = best_device();
    set_threads(order.threads as usize);
    let mut training = runtime.block_on(prepare(&storage, &manifest, order, supervisor, device))?;
    train(&mut training, &runtime, &storage, order, supervisor)?;
    supervisor.check()?;
    runtime.block_on(model::store(&storage, &manifest, order, &training, device))
}

/// The run before its next epoch: pictures loaded, weights loaded or drawn, an earlier attempt's state restored.
async fn prepare(
    storage: &Storage,
    manifest: &Manifest,
    order: &RunOrder,
    supervisor: &Supervisor,
    device: Device,
) -> Result<Training, Failure> {
    let recipe = &order.recipe;
    let weights = match &recipe.pretrained {
        Some(weights) => Some(pretrained::load(weights, order).await?),
        None => None,
    };
    let data = snapshot::load(storage, manifest, order, supervisor).await?;
    let start = match &recipe.pretrained {
        Some(weights) => format!("from the weights of {}", weights.location),
        None => "from scratch: no pretrained weights are configured".to_owned(),
    };
    let precision = Precision::best(device);
    events::log(
        "info",
        format!(
            "training {} {start}, on {} with {} threads in {}: {} pictures, {} to validate",
            recipe.architecture,
            describe::device_name(device),
            order.threads,
            precision.as_str(),
            data.train.len(),
            data.valid.len(),
        ),
    );
    let identity = RunIdentity {
        recipe: recipe.clone(),
        classes: manifest.classes.clone(),
        snapshot: order.snapshot.digest.clone(),
    };
    let mut training = Training::new(identity, data, weights.as_deref(), device, precision)?;
    if let Some(checkpoint) = &order.resume {
        resume(&mut training, storage, checkpoint).await?;
    }
    Ok(training)
}

/// Goes on from a checkpoint. One that is gone or broken costs time, not the run; one of another run is an error.
async fn resume(training: &mut Training, storage: &Storage, info: &CheckpointInfo) -> Result<(), Failure> {
    let expected: Digest =
        info.sha256.parse().map_err(|error| Failure::fatal(format!("checkpoint {}: {error}", info.key)))?;
    match storage.get_verified(&info.key.parse()?, &expected).await {
        Ok(bytes) => training.resume(&bytes)?,
        Err(error @ (StorageError::NotFound { .. } | StorageError::Corrupt { .. })) => {
            events::log("warn", format!("{error}; starting again from the first epoch"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    events::log("info", format!("going on after epoch {} of {}", training.epochs_done(), training.epochs()));
    Ok(())
}

/// Trains what is left. A run that shall stop ends after the present batch, as soon as the last epoch's checkpoint is in
/// the store; a run can be saved between epochs only, so the batches of the present epoch will be done again.
fn train(
    training: &mut Training,
    runtime: &Runtime,
    storage: &Storage,
    order: &RunOrder,
    supervisor: &Supervisor,
) -> Result<(), Failure> {
    let mut narrator = Narrator { supervisor, epochs: training.epochs() };
    let mut saving = None;
    loop {
        let start = Instant::now();
        let steps = training.steps() / u64::from(training.epochs().max(1));
        let report = match training.run_epoch(&mut narrator) {
            Ok(Some(report)) => report,
            Ok(None) => return saved(runtime, saving),
            Err(error) => {
                // The next attempt goes on from the checkpoint that is on its way, however this one ends.
                if let Err(failure) = saved(runtime, saving) {
                    tracing::warn!(%failure, "the last checkpoint is not in the store");
                }
                return Err(error.into());
            }
        };
        let pictures = steps * u64::from(order.recipe.batch_size).min(training.data().train.len() as u64);
        let metric = |name: &str, value| metric(name, report.step, report.epoch, value);
        metric("valid_loss", report.valid_loss);
        metric("error_rate", report.error_rate);
        metric("images_per_second", pictures as f64 / start.elapsed().as_secs_f64());
        events::log(
            "info",
            format!(
                "epoch {} of {}: train_loss {:.4}, valid_loss {:.4}, error_rate {:.4}",
                report.epoch + 1,
                training.epochs(),
                report.train_loss,
                report.valid_loss,
                report.error_rate
            ),
        );
        // One at a time, while the next epoch runs.
        saved(runtime, saving.take())?;
        let bytes = Bytes::from(training.checkpoint()?);
        saving =
            Some(runtime.spawn(save(storage.clone(), order.task_id, order.attempt, training.epochs_done(), bytes)));
    }
}

/// A checkpoint on its way to the store.
type Saving = JoinHandle<Result<(), Failure>>;

/// Waits until a checkpoint is in the store.
fn saved(runtime: &Runtime, saving: Option<Saving>) -> Result<(), Failure> {
    let Some(saving) = saving else { return Ok(()) };
    runtime.block_on(saving).map_err(|error| Failure::retryable(format!("saving a checkpoint failed: {error}")))?
}

/// Stores a checkpoint, and tells of it as soon as it is there.
async fn save(storage: Storage, task: Uuid, attempt: u32, epoch: u32, bytes: Bytes) -> Result<(), Failure> {
    let key = Key::Checkpoint { task, attempt, epoch };
    let size = bytes.len() as u64;
    let sha256 = storage.put(&key, bytes).await?.to_string();
    events::emit(&TrainerEvent::Checkpoint(CheckpointInfo {
        attempt,
        epoch,
        key: key.to_string(),
        sha256,
        bytes: size,
    }));
    Ok(())
}

/// Turns batches into events.
struct Narrator<'a> {
    supervisor: &'a Supervisor,
    epochs: u32,
}

impl Observer for Narrator<'_> {
    fn batch(&mut self, report: &BatchReport) {
        let metric = |name: &str, value| metric(name, report.step, report.epoch, value);
        metric("train_loss", report.loss);
        metric("train_loss_smooth", report.smooth_loss);
        metric("learning_rate", report.learning_rate);
        metric("momentum", report.momentum);
        events::emit(&TrainerEvent::Progress {
            done: report.step,
            total: report.steps,
            unit: "batches".into(),
            message: format!("epoch {} of {}", report.epoch + 1, self.epochs),
        });
    }

    fn cancelled(&self) -> bool {
        self.supervisor.cancelled()
    }
}

fn metric(name: &str, step: u64, epoch: u32, value: f64) {
    events::emit(&TrainerEvent::Metric { name: name.to_owned(), step, epoch, value });
}
