//! What learns: the trainer's process is started, listened to, and stopped in stages.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use ursa_domain::recipe::{RateTest, Recipe};
use ursa_domain::run::{
    CheckpointInfo, EvaluationOrder, ExplanationOrder, Finding, FoundRates, ImageToExplain, RatePoint, RunOrder,
    RunResult, Rung, SgdOutcome, SnapshotInfo, Suggestion, TrainedModel, TrainerEvent, TrainerInput,
};
use ursa_domain::sgd_lab::SgdLab;
use ursa_proto::v1::{self, search_result::End as TrialEnd};
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::error::{Failure, WorkError};
use crate::gpus::{GpuLoad, Seen};
use crate::tools::Tools;
use crate::trainer::Trainer;

/// How long a run that has said its last word, or was killed, may take to be gone.
const EXIT: Duration = Duration::from_secs(10);
/// What a run measures after every epoch.
const EACH_EPOCH: &str = "valid_loss";

/// How a run ended, in its own words.
#[derive(Debug)]
enum End {
    Finished(Box<RunResult>),
    Failed(Failure),
    /// It said nothing.
    Silent,
}

/// Trains the task's model in a process of its own.
pub(crate) async fn train(tools: &Tools, attempt: &Attempt, task: v1::TrainTask) -> Result<v1::TrainResult, WorkError> {
    let order = order(tools, attempt, task, None)?;
    match learn(tools, attempt, run_input(order)).await? {
        RunResult::Model(model) => Ok(model_message(model)),
        other => Err(unexpected(&other)),
    }
}

/// Finds a learning rate in a process of its own.
pub(crate) async fn find_lr(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::FindLrTask,
) -> Result<v1::FindLrResult, WorkError> {
    let test = RateTest::from(task.test.unwrap_or_default());
    let order = order(tools, attempt, task.training.unwrap_or_default(), Some(test))?;
    match learn(tools, attempt, run_input(order)).await? {
        RunResult::Rates(rates) => Ok(rates_message(rates)),
        other => Err(unexpected(&other)),
    }
}

/// Does a part of a trial in a process of its own.
pub(crate) async fn search(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::SearchTask,
) -> Result<v1::SearchResult, WorkError> {
    let rung = Some(Rung::from(&task));
    let order = RunOrder { rung, ..order(tools, attempt, task.training.unwrap_or_default(), None)? };
    let end = match learn(tools, attempt, run_input(order)).await? {
        RunResult::Model(model) => TrialEnd::Model(model_message(model)),
        RunResult::Rung(measured) => TrialEnd::Rung(measured.into()),
        RunResult::Diverged(message) => TrialEnd::Diverged(message),
        other => return Err(unexpected(&other)),
    };
    Ok(v1::SearchResult { end: Some(end) })
}

/// Asks a model about the pictures of a snapshot in a process of its own.
pub(crate) async fn evaluate(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::EvaluateTask,
) -> Result<v1::EvaluateResult, WorkError> {
    let order = evaluation_order(tools, attempt, task)?;
    match learn(tools, attempt, TrainerInput::Evaluate(Box::new(order))).await? {
        RunResult::Evaluation(evaluated) => Ok(evaluated.into()),
        other => Err(unexpected(&other)),
    }
}

/// Has a model say what in images speaks for a class, in a process of its own. It takes seconds, and somebody waits for it:
/// it needs neither a turn nor a GPU.
pub(crate) async fn explain(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::ExplainTask,
) -> Result<v1::ExplainResult, WorkError> {
    let order = explanation_order(tools, attempt, task)?;
    match run(tools, attempt, &TrainerInput::Explain(order)).await? {
        RunResult::Explanations(images) => {
            Ok(v1::ExplainResult { images: images.into_iter().map(v1::ExplainedImage::from).collect() })
        }
        other => Err(unexpected(&other)),
    }
}

/// Fits a line to points in a process of its own, which needs neither a turn nor a GPU.
pub(crate) async fn sgd_lab(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::SgdLabSpec,
) -> Result<v1::SgdLabResult, WorkError> {
    match run(tools, attempt, &TrainerInput::Lab(SgdLab::from(task))).await? {
        RunResult::Lab(outcome) => Ok(lab_message(outcome)),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(result: &RunResult) -> WorkError {
    WorkError::fatal(format!("the trainer made something else than it was ordered to: {result:?}"))
}

fn run_input(order: RunOrder) -> TrainerInput {
    TrainerInput::Run(Box::new(order))
}

async fn learn(tools: &Tools, attempt: &Attempt, input: TrainerInput) -> Result<RunResult, WorkError> {
    let _turn = turn(tools, attempt).await?;
    run(tools, attempt, &input).await
}

async fn run(tools: &Tools, attempt: &Attempt, order: &TrainerInput) -> Result<RunResult, WorkError> {
    attempt.progress(0, 0, "", "starting the trainer");
    let mut trainer = Trainer::start(&tools.trainer, order, attempt.gpus()).await?;
    let end = tokio::select! {
        end = listen(&mut trainer, tools, attempt) => end,
        () = attempt.stopped() => return stop(trainer, tools, attempt).await,
    };
    match end {
        End::Finished(result) => {
            trainer.exit(EXIT).await;
            Ok(*result)
        }
        End::Failed(failure) => {
            trainer.exit(EXIT).await;
            Err(WorkError::Failed(failure))
        }
        End::Silent => Err(WorkError::retryable(trainer.last_words(EXIT).await)),
    }
}

/// Runs on the processor take turns. For those on GPUs the coordinator sees to it that there is room.
async fn turn<'a>(tools: &'a Tools, attempt: &Attempt) -> Result<Option<SemaphorePermit<'a>>, WorkError> {
    if !attempt.gpus().is_empty() {
        return Ok(None);
    }
    attempt.progress(0, 0, "epochs", "waiting for another training run of this worker");
    let wait = async { tools.training.acquire().await.map_err(WorkError::retryable) };
    attempt.unless_stopped(wait).await.map(Some)
}

/// Passes on what the run says until it ends, and with every epoch how busy its GPUs were. Safe to cancel.
async fn listen(trainer: &mut Trainer, tools: &Tools, attempt: &Attempt) -> End {
    let mut load = tools.gpus.load(attempt.gpus());
    loop {
        let event = tokio::select! {
            event = trainer.next() => event,
            () = load.look() => continue,
        };
        match event {
            Some(TrainerEvent::Finished(result)) => return End::Finished(result),
            Some(TrainerEvent::Failed { class, message, findings }) => {
                return End::Failed(Failure { class, message, findings });
            }
            Some(event) => {
                if let TrainerEvent::Metric { name, step, epoch, .. } = &event
                    && name == EACH_EPOCH
                {
                    tell_load(attempt, &mut load, *step, *epoch);
                }
                pass_on(attempt, event);
            }
            None => return End::Silent,
        }
    }
}

/// Asks the run to end by itself, so that it lets go of a GPU in good order and its last checkpoint gets to the store;
/// what does not end within the time for that is ended by force. Once the lease is lost there is nothing to wait for.
async fn stop(mut trainer: Trainer, tools: &Tools, attempt: &Attempt) -> Result<RunResult, WorkError> {
    let ending = async {
        trainer.cancel().await;
        listen(&mut trainer, tools, attempt).await
    };
    let end = tokio::select! {
        biased;
        () = attempt.lease_lost() => None,
        end = tokio::time::timeout(tools.stop_grace, ending) => Some(end),
    };
    match &end {
        Some(Ok(_)) => _ = trainer.exit(EXIT).await,
        Some(Err(_)) => attempt.forced(),
        None => {}
    }
    if !trainer.end(EXIT).await {
        tracing::error!("the trainer cannot be killed; what it holds is not free");
    }
    match end {
        Some(Ok(End::Finished(result))) if attempt.stop_reason().takes_results() => Ok(*result),
        _ => Err(WorkError::Stopped),
    }
}

fn tell_load(attempt: &Attempt, load: &mut GpuLoad, step: u64, epoch: u32) {
    let Seen { utilisation, memory_bytes } = load.take();
    let metrics = [("gpu_utilisation", utilisation), ("gpu_memory_bytes", memory_bytes.map(|bytes| bytes as f64))];
    for (name, value) in metrics {
        if let Some(value) = value {
            attempt.metric(name.to_owned(), v1::MetricPoint { step, epoch, value });
        }
    }
}

fn pass_on(attempt: &Attempt, event: TrainerEvent) {
    match event {
        TrainerEvent::Log { level, message } => attempt.log(&level, message),
        TrainerEvent::Progress { done, total, unit, message } => attempt.progress(done, total, &unit, message),
        TrainerEvent::Metric { name, step, epoch, value } => {
            attempt.metric(name, v1::MetricPoint { step, epoch, value });
        }
        TrainerEvent::Checkpoint(info) => attempt.checkpoint(info.into()),
        // They end the run: `work` has taken them.
        TrainerEvent::Finished(_) | TrainerEvent::Failed { .. } => {}
    }
}

fn order(
    tools: &Tools,
    attempt: &Attempt,
    task: v1::TrainTask,
    rate_test: Option<RateTest>,
) -> Result<RunOrder, WorkError> {
    let recipe = Recipe::try_from(task.recipe.unwrap_or_default()).map_err(|error| unreadable("recipe", &error))?;
    let snapshot = SnapshotInfo {
        id: snapshot_id(&task.snapshot_id)?,
        dataset: task.dataset,
        number: task.snapshot_number,
        digest: task.snapshot_digest,
    };
    Ok(RunOrder {
        job_id: attempt.job_id(),
        task_id: attempt.task_id(),
        attempt: attempt.number(),
        snapshot,
        recipe,
        // A coordinator of the version before knows nothing of shares.
        train_percent: if task.train_percent == 0 { 100 } else { task.train_percent },
        rate_test,
        rung: None,
        resume: task.resume.map(CheckpointInfo::from),
        earlier: task.earlier.into_iter().map(CheckpointInfo::from).collect(),
        start: task.start.map(CheckpointInfo::from),
        object_store: tools.storage.location().to_owned(),
        cache_dir: tools.cache_dir.display().to_string(),
        threads: threads(tools.threads, attempt.gpus().len(), tools.gpus.count()),
        allowed_networks: tools.allow_networks.iter().map(ToString::to_string).collect(),
        processes: attempt.gpus().len().max(1) as u32,
        checkpoint_seconds: tools.checkpoint_every.as_secs() as u32,
        gpus: tools.gpus.to_be_found(attempt.gpus()),
    })
}

fn evaluation_order(tools: &Tools, attempt: &Attempt, task: v1::EvaluateTask) -> Result<EvaluationOrder, WorkError> {
    let snapshot = SnapshotInfo {
        id: snapshot_id(&task.snapshot_id)?,
        dataset: task.dataset,
        number: task.snapshot_number,
        digest: task.snapshot_digest,
    };
    Ok(EvaluationOrder {
        task_id: attempt.task_id(),
        attempt: attempt.number(),
        snapshot,
        model_digest: task.model_digest,
        object_store: tools.storage.location().to_owned(),
        cache_dir: tools.cache_dir.display().to_string(),
        threads: threads(tools.threads, attempt.gpus().len(), tools.gpus.count()),
    })
}

fn explanation_order(tools: &Tools, attempt: &Attempt, task: v1::ExplainTask) -> Result<ExplanationOrder, WorkError> {
    let images = task.images.into_iter().map(ImageToExplain::try_from).collect::<Result<Vec<_>, _>>();
    Ok(ExplanationOrder {
        task_id: attempt.task_id(),
        attempt: attempt.number(),
        model_digest: task.model_digest,
        images: images.map_err(|error| unreadable("images", &error))?,
        object_store: tools.storage.location().to_owned(),
        threads: threads(tools.threads, attempt.gpus().len(), tools.gpus.count()),
    })
}

fn snapshot_id(text: &str) -> Result<Uuid, WorkError> {
    Uuid::try_parse(text).map_err(|error| unreadable("snapshot_id", &error))
}

fn unreadable(what: &str, error: &dyn ToString) -> WorkError {
    WorkError::fatal(format!("{what}: {}", error.to_string()))
}

/// A run on some of the GPUs has that share of the threads: there may be others on the rest.
fn threads(all: usize, gpus: usize, of: usize) -> u32 {
    if gpus == 0 { all as u32 } else { (all * gpus / of.max(gpus)).max(1) as u32 }
}

fn model_message(model: TrainedModel) -> v1::TrainResult {
    let row = |counts| v1::ConfusionRow { counts };
    v1::TrainResult {
        model_digest: model.model_digest,
        model_json: model.model_json,
        error_rates: model.error_rates,
        confusion: model.confusion.into_iter().map(row).collect(),
        errors: model.errors,
        validated: model.validated,
        trained: model.trained,
        findings: model.findings.into_iter().map(finding_message).collect(),
    }
}

pub(crate) fn finding_message(finding: Finding) -> v1::Finding {
    v1::Finding {
        problem: finding.problem.to_string(),
        seen: finding.seen,
        why: finding.why,
        advice: finding.advice,
        recipe: finding.recipe.as_ref().map(v1::TrainRecipe::from),
        good_epochs: finding.go_back_to.map(|epoch| epoch + 1),
    }
}

fn rates_message(rates: FoundRates) -> v1::FindLrResult {
    let point = |point: RatePoint| v1::RatePoint { rate: point.rate, loss: point.batch_loss, smooth_loss: point.loss };
    let suggestion =
        |one: Suggestion| v1::RateSuggestion { method: one.method.to_string(), rate: one.rate, reason: one.reason };
    let (suggestions, error) = match rates.suggestions {
        Ok(suggestions) => (suggestions, String::new()),
        Err(reason) => (Vec::new(), reason),
    };
    v1::FindLrResult {
        points: rates.points.into_iter().map(point).collect(),
        suggestions: suggestions.into_iter().map(suggestion).collect(),
        error,
    }
}

fn lab_message(outcome: SgdOutcome) -> v1::SgdLabResult {
    let [slope, intercept] = outcome.last.coefficients;
    let [best_slope, best_intercept] = outcome.optimum;
    v1::SgdLabResult {
        slope,
        intercept,
        loss: outcome.last.loss,
        best_slope,
        best_intercept,
        least_loss: outcome.least_loss,
        rate_limit: outcome.rate_limit,
        diverged: outcome.diverged,
        verdict: outcome.verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_on_gpus_share_the_threads() {
        assert_eq!([threads(16, 0, 4), threads(16, 1, 4), threads(16, 4, 4)], [16, 4, 16]);
        assert_eq!([threads(2, 1, 8), threads(16, 1, 0)], [1, 16], "at least one, and never more than all");
    }

    #[test]
    fn a_result_keeps_its_rows() {
        let model = TrainedModel {
            model_digest: "00".into(),
            model_json: "{}".into(),
            error_rates: vec![0.5],
            confusion: vec![vec![3, 1], vec![0, 4]],
            errors: 1,
            validated: 8,
            trained: 30,
            findings: Vec::new(),
        };
        let message = model_message(model);
        assert_eq!(message.confusion[1].counts, [0, 4]);
    }
}
