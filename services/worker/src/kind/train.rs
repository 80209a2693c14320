//! Training: the trainer's process is started, listened to, and stopped in stages.

use std::time::Duration;

use ursa_domain::run::{CheckpointInfo, RunOrder, RunResult, SnapshotInfo, TrainerEvent};
use ursa_domain::spec::TrainRecipe;
use ursa_proto::v1;
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::error::{Failure, Stop, WorkError};
use crate::tools::Tools;
use crate::trainer::Trainer;

/// How long a cancelled run may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How long a run that has said its last word may take to exit.
const EXIT: Duration = Duration::from_secs(10);

/// Trains the task's model in a process of its own.
pub(crate) async fn work(tools: &Tools, attempt: &Attempt, task: v1::TrainTask) -> Result<v1::TrainResult, WorkError> {
    let order = order(tools, attempt, task)?;
    let wait = async { tools.training.acquire().await.map_err(WorkError::retryable) };
    attempt.progress(0, 0, "epochs", "waiting for another training run of this worker");
    let _turn = attempt.unless_stopped(wait).await?;
    let total = u64::from(order.recipe.epochs + order.recipe.frozen_epochs);
    attempt.progress(0, total, "epochs", "starting the trainer");
    let mut trainer = Trainer::start(&tools.trainer, &order).await?;
    loop {
        tokio::select! {
            event = trainer.next() => match event {
                Some(TrainerEvent::Finished(result)) => {
                    trainer.exit(EXIT).await;
                    return Ok(result_message(*result));
                }
                Some(TrainerEvent::Failed { class, message }) => {
                    trainer.exit(EXIT).await;
                    return Err(WorkError::Failed(Failure { class, message }));
                }
                Some(event) => pass_on(attempt, event),
                None => return Err(WorkError::retryable(trainer.last_words(EXIT).await)),
            },
            stop = attempt.stopped() => return Err(stop_trainer(trainer, stop).await),
        }
    }
}

/// A cancelled run may end by itself, so that it lets go of a GPU in good order; the others are killed.
async fn stop_trainer(mut trainer: Trainer, stop: Stop) -> WorkError {
    if stop == Stop::Cancelled {
        trainer.cancel().await;
        trainer.exit(GRACE).await;
    }
    // What is left of it dies with `trainer`.
    WorkError::Stopped(stop)
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
        threads: tools.threads as u32,
        allowed_networks: tools.allow_networks.iter().map(ToString::to_string).collect(),
    })
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
