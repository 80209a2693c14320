//! One training run from order to result.

use tokio::runtime::Runtime;
use ursa_domain::ErrorClass;
use ursa_domain::run::{Finding, RunOrder, RunResult, Rung, TrainerEvent};
use ursa_learner::{
    Advance, BatchReport, Device, EpochReport, Evidence, LearnError, Precision, RunIdentity, Training, best_device,
    device_of, memory_in_use, set_threads,
};
use ursa_storage::Storage;
use ursa_storage::manifest::Manifest;

use crate::checkpoints::{self, Saver};
use crate::failure::Failure;
use crate::input::Supervisor;
use crate::peers::{self, PeerOrder, Peers};
use crate::snapshot::Wanted;
use crate::{describe, events, model, pretrained, rates, snapshot, trial};

/// What the rates of the groups of the body are called; that of the head is `learning_rate`.
const GROUP_RATES: [&str; 2] = ["learning_rate_early", "learning_rate_late"];

/// Executes `order` and tells of it by events; the caller tells of its end.
pub(crate) fn run(order: &RunOrder, supervisor: &Supervisor) -> Result<RunResult, Failure> {
    order.recipe.check().map_err(LearnError::from)?;
    let device = device(order)?;
    let runtime = Runtime::new().map_err(|error| Failure::retryable(format!("cannot start: {error}")))?;
    let storage = Storage::open(&order.object_store)?;
    let manifest = runtime.block_on(snapshot::manifest(&storage, &Wanted::of(order)))?;
    set_threads(threads(order));
    let mut training = runtime.block_on(prepare(&storage, &manifest, order, supervisor, device))?;
    if let Some(test) = &order.rate_test {
        return rates::find(&training, test, supervisor).map(RunResult::Rates);
    }
    if order.processes > 1 {
        events::log("info", format!("{} processes share every batch", order.processes));
        training.join(Box::new(Peers::start(order)?))?;
    }
    let trained = train(&mut training, &runtime, &storage, order, supervisor);
    let findings = diagnose(&training, trained.as_ref().err());
    findings.iter().for_each(tell_finding);
    match trained {
        Err(Failed::Learning(error)) if order.rung.is_some() && trial::is_divergence(&error) => {
            return Ok(RunResult::Diverged(error.to_string()));
        }
        Err(failed) => return Err(Failure { findings, ..failed.into_failure() }),
        Ok(()) => {}
    }
    if let Some(result) = trial::result(&training) {
        return Ok(result);
    }
    supervisor.check()?;
    let share = snapshot::share(manifest, order.train_percent);
    runtime.block_on(model::store(&storage, &share, order, &training, device, findings)).map(RunResult::Model)
}

/// Learns together with the process of rank 0, whose run is measured, stored and told of.
pub(crate) fn follow() -> Result<(), Failure> {
    let (PeerOrder { order, rank }, link) = peers::read_order()?;
    let runtime = Runtime::new().map_err(|error| Failure::retryable(format!("cannot start: {error}")))?;
    let storage = Storage::open(&order.object_store)?;
    let manifest = runtime.block_on(snapshot::manifest(&storage, &Wanted::of(&order)))?;
    let device = device_of(rank);
    set_threads(threads(&order));
    let mut training = runtime.block_on(prepare(&storage, &manifest, &order, &Supervisor::default(), device))?;
    training.join(Box::new(link))?;
    loop {
        let followed = training.follow();
        if let Some(shortage) = training.take_shortage() {
            tracing::warn!(rank, "{shortage}");
        }
        if !followed? {
            return Ok(());
        }
    }
}

/// What to learn on. A run that was given GPUs and finds none does not make do with the CPU: it would hold them for as long as
/// that takes, and another machine has some.
fn device(order: &RunOrder) -> Result<Device, Failure> {
    let device = best_device();
    if order.gpus == 0 || device.is_cuda() {
        return Ok(device);
    }
    let (gpus, plural) = (order.gpus, if order.gpus == 1 { "" } else { "s" });
    let message = format!(
        "it was given {gpus} GPU{plural} and finds none: look at this machine's driver, and whether the CUDA half of libtorch \
         is installed, or start its worker with `--gpus none`"
    );
    Err(Failure::new(ErrorClass::Infrastructure, message))
}

/// Of one process. A test of rates has only one.
fn threads(order: &RunOrder) -> usize {
    let processes = if order.rate_test.is_some() { 1 } else { order.processes.max(1) };
    (order.threads / processes).max(1) as usize
}

/// How training ended badly.
pub(crate) enum Failed {
    /// By what it learned, or could not.
    Learning(LearnError),
    /// By what happened around it.
    Otherwise(Failure),
}

impl Failed {
    fn into_failure(self) -> Failure {
        match self {
            Self::Learning(error) => error.into(),
            Self::Otherwise(failure) => failure,
        }
    }
}

/// What is wrong with a run that has ended, well or not.
fn diagnose(training: &Training, failed: Option<&Failed>) -> Vec<Finding> {
    let failure = match failed {
        None => None,
        Some(Failed::Learning(LearnError::Cancelled) | Failed::Otherwise(_)) => return Vec::new(),
        Some(Failed::Learning(error)) => Some(error),
    };
    let data = training.data();
    ursa_learner::diagnose(&Evidence {
        recipe: &training.identity().recipe,
        classes: &data.classes,
        train_counts: &data.train.counts(data.classes.len()),
        epochs: training.history(),
        smooth_loss: training.smooth_loss(),
        micro_batch: training.micro_batch(),
        failure,
    })
}

fn tell_finding(finding: &Finding) {
    let problem = finding.problem.as_str().replace('_', " ");
    events::log("warn", format!("{problem}: {}. {} {}", finding.seen, finding.why, finding.advice));
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
        Some(weights) => Some(pretrained::load(weights, storage, order).await?),
        None => None,
    };
    let data = snapshot::load(storage, manifest, &Wanted::of(order), supervisor).await?;
    let start = match &recipe.pretrained {
        Some(weights) => format!("from the weights of {}", weights.location),
        None => "from scratch: no pretrained weights are configured".to_owned(),
    };
    let precision = Precision::best(device);
    events::log(
        "info",
        format!(
            "learning with {} {start}, on {} with {} threads in {}: {} pictures, {} to validate",
            recipe.architecture,
            describe::device_name(device),
            order.threads,
            precision.as_str(),
            data.train.len(),
            data.valid.len(),
        ),
    );
    let identity =
        RunIdentity { recipe: recipe.clone(), classes: manifest.classes.clone(), snapshot: learned_from(order) };
    let training = Training::new(identity, data, weights.as_deref(), device, precision)?;
    let mut training = training.of_version(ursa_version::NAME);
    training.adjustments().into_iter().for_each(|adjustment| events::log("warn", adjustment));
    checkpoints::go_on(&mut training, storage, order).await?;
    Ok(training)
}

/// The snapshot, with the share of it that is learned from.
fn learned_from(order: &RunOrder) -> String {
    let digest = &order.snapshot.digest;
    if order.train_percent >= 100 { digest.clone() } else { format!("{digest} ({} %)", order.train_percent) }
}

/// Trains what is left. A checkpoint is written after every epoch, every minute in between, and before a run ends
/// because it shall stop: the next attempt goes on with the next batch. One that cannot be stored does not end a run that makes
/// a model.
fn train(
    training: &mut Training,
    runtime: &Runtime,
    storage: &Storage,
    order: &RunOrder,
    supervisor: &Supervisor,
) -> Result<(), Failed> {
    let mut checkpoints = Saver::new(runtime, storage, order, training);
    let end = loop {
        if trial::is_over(order.rung, training) {
            break Ok(());
        }
        if supervisor.cancelled() {
            let saved = catch_up(training, order).and_then(|()| checkpoints.save(training));
            break saved.and(Err(Failed::Learning(LearnError::Cancelled)));
        }
        let advanced = training.advance();
        if let Some(shortage) = training.take_shortage() {
            events::log("warn", shortage.to_string());
        }
        match advanced {
            Ok(Advance::Batch(report)) => tell_batch(&report, order.rung, training.epochs()),
            Ok(Advance::Epoch { report, images_per_second }) => {
                tell_epoch(&report, images_per_second, training.epochs());
                // What is lost is not worth going on from: it would be taken for the last good state.
                if let Err(lost) = training.refuse_lost() {
                    break Err(Failed::Learning(lost));
                }
                checkpoints.save(training)?;
            }
            Ok(Advance::Done) => break Ok(()),
            Err(error) => break Err(Failed::Learning(error)),
        }
        if checkpoints.is_due() {
            if let Err(failed) = catch_up(training, order) {
                break Err(failed);
            }
            checkpoints.save(training)?;
        }
    };
    // The next attempt goes on from the checkpoint that is on its way, however this one ends.
    match (end, checkpoints.finish()) {
        (end, Ok(())) => end,
        // A part of a trial leaves nothing else behind.
        (Ok(()), Err(lost)) if training.epochs_done() < training.epochs() => Err(Failed::Otherwise(lost)),
        (Ok(()), Err(lost)) => {
            checkpoints.do_without(&lost);
            Ok(())
        }
        (Err(failed), Err(lost)) => {
            tracing::warn!(%lost, "the last checkpoint is not in the store");
            Err(failed)
        }
    }
}

/// Waits for what a GPU was given ahead: a checkpoint stands between two batches.
fn catch_up(training: &mut Training, order: &RunOrder) -> Result<(), Failed> {
    while let Some(report) = training.catch_up().map_err(Failed::Learning)? {
        tell_batch(&report, order.rung, training.epochs());
    }
    Ok(())
}

fn tell_batch(report: &BatchReport, rung: Option<Rung>, epochs: u32) {
    let metric = |name: &str, value| events::metric(name, report.step, report.epoch, value);
    metric("train_loss", report.loss);
    metric("train_loss_smooth", report.smooth_loss);
    metric("learning_rate", report.learning_rate);
    for (name, rate) in GROUP_RATES.into_iter().zip(report.learning_rates) {
        metric(name, rate);
    }
    metric("momentum", report.momentum);
    let (done, total) = trial::progress(rung, report, epochs);
    events::emit(&TrainerEvent::Progress {
        done,
        total,
        unit: "batches".into(),
        message: format!("epoch {} of {epochs}", report.epoch + 1),
    });
}

fn tell_epoch(report: &EpochReport, images_per_second: Option<f64>, epochs: u32) {
    let metric = |name: &str, value| events::metric(name, report.step, report.epoch, value);
    let errors = report.valid.errors();
    let (low, high) = errors.interval();
    metric("train_loss_measured", report.train.loss);
    metric("train_error_rate", report.train.errors().rate());
    metric("valid_loss", report.valid.loss);
    metric("error_rate", errors.rate());
    metric("wrong", errors.count as f64);
    metric("validated", errors.of as f64);
    metric("error_rate_low", low);
    metric("error_rate_high", high);
    if let Some(rate) = images_per_second {
        metric("images_per_second", rate);
    }
    if let Some(bytes) = memory_in_use() {
        metric("memory_bytes", bytes as f64);
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
