//! One training run from order to result.

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use ursa_domain::run::{CheckpointInfo, RunOrder, RunResult, TrainerEvent};
use ursa_learner::{
    Advance, BatchReport, Device, EpochReport, LearnError, Precision, Recipe, RunIdentity, Training, best_device,
    set_threads,
};
use ursa_storage::manifest::Manifest;
use ursa_storage::{Digest, Key, Storage, StorageError};
use uuid::Uuid;

use crate::failure::Failure;
use crate::input::Supervisor;
use crate::{describe, events, model, pretrained, snapshot};

/// Executes `order` and tells of it by events; the caller tells of its end.
pub(crate) fn run(order: &RunOrder, supervisor: &Supervisor) -> Result<RunResult, Failure> {
    Recipe::from(&order.recipe).check().map_err(LearnError::from)?;
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
        recipe: recipe.into(),
        classes: manifest.classes.clone(),
        snapshot: order.snapshot.digest.clone(),
    };
    let mut training = Training::new(identity, data, weights.as_deref(), device, precision)?;
    training.adjustments().into_iter().for_each(|adjustment| events::log("warn", adjustment));
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
/// the store; checkpoints are written between epochs only, so the batches of the present epoch will be done again.
fn train(
    training: &mut Training,
    runtime: &Runtime,
    storage: &Storage,
    order: &RunOrder,
    supervisor: &Supervisor,
) -> Result<(), Failure> {
    let mut saving = None;
    let end = loop {
        let advance = if supervisor.cancelled() { Err(LearnError::Cancelled) } else { training.advance() };
        match advance {
            Ok(Advance::Batch(report)) => tell_batch(&report, training.epochs()),
            Ok(Advance::Epoch { report, images_per_second }) => {
                tell_epoch(&report, images_per_second, training.epochs());
                // One at a time, while the next epoch runs.
                saved(runtime, saving.take())?;
                let bytes = Bytes::from(training.checkpoint()?);
                let save = save(storage.clone(), order.task_id, order.attempt, training.epochs_done(), bytes);
                saving = Some(runtime.spawn(save));
            }
            Ok(Advance::Done) => break Ok(()),
            Err(error) => break Err(Failure::from(error)),
        }
    };
    // The next attempt goes on from the checkpoint that is on its way, however this one ends.
    match (end, saved(runtime, saving)) {
        (Ok(()), saved) => saved,
        (Err(failure), Ok(())) => Err(failure),
        (Err(failure), Err(unsaved)) => {
            tracing::warn!(%unsaved, "the last checkpoint is not in the store");
            Err(failure)
        }
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

fn tell_batch(report: &BatchReport, epochs: u32) {
    let metric = |name: &str, value| metric(name, report.step, report.epoch, value);
    metric("train_loss", report.loss);
    metric("train_loss_smooth", report.smooth_loss);
    metric("learning_rate", report.learning_rate);
    metric("momentum", report.momentum);
    events::emit(&TrainerEvent::Progress {
        done: report.step,
        total: report.steps,
        unit: "batches".into(),
        message: format!("epoch {} of {epochs}", report.epoch + 1),
    });
}

fn tell_epoch(report: &EpochReport, images_per_second: Option<f64>, epochs: u32) {
    let metric = |name: &str, value| metric(name, report.step, report.epoch, value);
    let errors = report.valid.errors();
    let (low, high) = errors.interval();
    metric("train_loss_measured", report.train.loss);
    metric("train_error_rate", report.train.errors().rate());
    metric("valid_loss", report.valid.loss);
    metric("error_rate", errors.rate());
    metric("error_rate_low", low);
    metric("error_rate_high", high);
    if let Some(rate) = images_per_second {
        metric("images_per_second", rate);
    }
    let message = format!(
        "epoch {} of {epochs}: train_loss {:.4} ({:.4} measured), valid_loss {:.4}, error_rate {errors}",
        report.epoch + 1,
        report.train_loss,
        report.train.loss,
        report.valid.loss,
    );
    events::log("info", message);
}

fn metric(name: &str, step: u64, epoch: u32, value: f64) {
    events::emit(&TrainerEvent::Metric { name: name.to_owned(), step, epoch, value });
}
