//! Training: the trainer's process is started, listened to, and stopped in stages.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use ursa_domain::run::{CheckpointInfo, RunOrder, RunResult, SnapshotInfo, TrainerEvent};
use ursa_domain::spec::TrainRecipe;
use ursa_proto::v1;
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::error::{Failure, WorkError};
use crate::tools::Tools;
use crate::trainer::Trainer;

/// How long a run that has said its last word, or was killed, may take to be gone.
const EXIT: Duration = Duration::from_secs(10);

/// How a run ended, in its own words.
#[derive(Debug)]
enum End {
    Finished(Box<RunResult>),
    Failed(Failure),
    /// It said nothing.
    Silent,
}

/// Trains the task's model in a process of its own.
pub(crate) async fn work(tools: &Tools, attempt: &Attempt, task: v1::TrainTask) -> Result<v1::TrainResult, WorkError> {
    let order = order(tools, attempt, task)?;
    let _turn = turn(tools, attempt).await?;
    let total = u64::from(order.recipe.epochs + order.recipe.frozen_epochs);
    attempt.progress(0, total, "epochs", "starting the trainer");
    let mut trainer = Trainer::start(&tools.trainer, &order, attempt.gpus()).await?;
    let end = tokio::select! {
        end = listen(&mut trainer, attempt) => end,
        () = attempt.stopped() => return stop(trainer, attempt, tools.stop_grace).await,
    };
    match end {
        End::Finished(result) => {
            trainer.exit(EXIT).await;
            Ok(result_message(*result))
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

/// Passes on what the run says until it ends. Safe to cancel.
async fn listen(trainer: &mut Trainer, attempt: &Attempt) -> End {
    loop {
        match trainer.next().await {
            Some(TrainerEvent::Finished(result)) => return End::Finished(result),
            Some(TrainerEvent::Failed { class, message }) => return End::Failed(Failure { class, message }),
            Some(event) => pass_on(attempt, event),
            None => return End::Silent,
        }
    }
}

/// Asks the run to end by itself, so that it lets go of a GPU in good order and its last checkpoint gets to the store;
/// what does not end within `grace` is ended by force. Once the lease is lost there is nothing to wait for.
async fn stop(mut trainer: Trainer, attempt: &Attempt, grace: Duration) -> Result<v1::TrainResult, WorkError> {
    let ending = async {
        trainer.cancel().await;
        listen(&mut trainer, attempt).await
    };
    let end = tokio::select! {
        biased;
        () = attempt.lease_lost() => None,
        end = tokio::time::timeout(grace, ending) => Some(end),
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
        Some(Ok(End::Finished(result))) if attempt.stop_reason().takes_results() => Ok(result_message(*result)),
        _ => Err(WorkError::Stopped),
    }
}

fn pass_on(attempt: &Attempt, event: TrainerEvent) {
    match event {
        TrainerEvent::Log { level, message } => attempt.log(&level, message),
        TrainerEvent::Progress { done, total, unit, message } => attempt.progress(done, total, &unit, message),
        TrainerEvent::Metric { name, step, epoch, value } => {
            attempt.metric(name, v1::MetricPoint { step, epoch, value });
        }
        TrainerEvent::Checkpoint(info) => attempt.checkpoint(checkpoint(info)),
        // They end the run: `work` has taken them.
        TrainerEvent::Finished(_) | TrainerEvent::Failed { .. } => {}
    }
}

fn checkpoint(info: CheckpointInfo) -> v1::Checkpoint {
    v1::Checkpoint { attempt: info.attempt, epoch: info.epoch, key: info.key, sha256: info.sha256, bytes: info.bytes }
}

fn order(tools: &Tools, attempt: &Attempt, task: v1::TrainTask) -> Result<RunOrder, WorkError> {
    let unreadable = |what: &str, error: &dyn ToString| WorkError::fatal(format!("{what}: {}", error.to_string()));
    let recipe =
        TrainRecipe::try_from(task.recipe.unwrap_or_default()).map_err(|error| unreadable("recipe", &error))?;
    let snapshot = SnapshotInfo {
        id: Uuid::try_parse(&task.snapshot_id).map_err(|error| unreadable("snapshot_id", &error))?,
        dataset: task.dataset,
        number: task.snapshot_number,
        digest: task.snapshot_digest,
    };
    let resume = task.resume.map(|checkpoint| CheckpointInfo {
        attempt: checkpoint.attempt,
        epoch: checkpoint.epoch,
        key: checkpoint.key,
        sha256: checkpoint.sha256,
        bytes: checkpoint.bytes,
    });
    Ok(RunOrder {
        job_id: attempt.job_id(),
        task_id: attempt.task_id(),
        attempt: attempt.number(),
        snapshot,
        recipe,
        resume,
        object_store: tools.storage.location().to_owned(),
        cache_dir: tools.cache_dir.display().to_string(),
        threads: threads(tools.threads, attempt.gpus().len(), tools.gpus.count()),
        allowed_networks: tools.allow_networks.iter().map(ToString::to_string).collect(),
    })
}

/// A run on some of the GPUs has that share of the threads: there may be others on the rest.
fn threads(all: usize, gpus: usize, of: usize) -> u32 {
    if gpus == 0 { all as u32 } else { (all * gpus / of.max(gpus)).max(1) as u32 }
}

fn result_message(result: RunResult) -> v1::TrainResult {
    let row = |counts| v1::ConfusionRow { counts };
    v1::TrainResult {
        model_digest: result.model_digest,
        model_json: result.model_json,
        error_rates: result.error_rates,
        confusion: result.confusion.into_iter().map(row).collect(),
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
        let result = RunResult {
            model_digest: "00".into(),
            model_json: "{}".into(),
            error_rates: vec![0.5],
            confusion: vec![vec![3, 1], vec![0, 4]],
        };
        let message = result_message(result);
        assert_eq!(message.confusion[1].counts, [0, 4]);
    }
}
