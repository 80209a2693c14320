//! A model that is there already, asked about every picture of a snapshot: its own, or one that it has never seen.
//!
//! The pictures come as the model's own came, and the answers from the class that measures models when they are trained.
//! Predictions speak of the model's classes, in the order of its outputs, whatever order the snapshot has.

use tokio::runtime::Runtime;
use ursa_domain::evaluation::{Evaluation, places};
use ursa_domain::interpret::Prediction;
use ursa_domain::run::{EvaluatedModel, EvaluationOrder, StoredObject, TrainerEvent};
use ursa_learner::{best_device, set_threads};
use ursa_storage::manifest::Manifest;
use ursa_storage::predictions::{self, PredictionRow};
use ursa_storage::{Key, Storage};

use crate::failure::Failure;
use crate::input::Supervisor;
use crate::packaged::{self, Packaged};
use crate::snapshot::{self, Wanted};
use crate::{describe, events, model};

/// Executes `order` and tells of it by events; the caller tells of its end.
pub(crate) fn run(order: &EvaluationOrder, supervisor: &Supervisor) -> Result<EvaluatedModel, Failure> {
    let runtime = Runtime::new().map_err(|error| Failure::retryable(format!("cannot start: {error}")))?;
    let storage = Storage::open(&order.object_store)?;
    set_threads(order.threads.max(1) as usize);
    runtime.block_on(evaluate(&storage, order, supervisor))
}

async fn evaluate(
    storage: &Storage,
    order: &EvaluationOrder,
    supervisor: &Supervisor,
) -> Result<EvaluatedModel, Failure> {
    let Packaged { classes, classifier } = packaged::load(storage, &order.model_digest).await?;
    let wanted = Wanted::by(order, *classifier.preprocessing());
    let manifest = in_terms_of(&classes, snapshot::manifest(storage, &wanted).await?)?;
    tell_beginning(order, &manifest);
    let data = snapshot::load(storage, &manifest, &wanted, supervisor).await?;
    let (mut done, total) = (0, manifest.rows.len() as u64);
    let mut answer = |examples: &ursa_learner::Examples| {
        supervisor.check()?;
        let answers = classifier.answers(examples);
        done += examples.len() as u64;
        tell_progress(done, total);
        Ok::<_, Failure>(answers)
    };
    let (train, valid) = (answer(&data.train)?, answer(&data.valid)?);
    let rows = model::predictions(&data, train, valid)?;
    let evaluation = count(&rows, &data.classes)?;
    tell_end(&evaluation);
    supervisor.check()?;
    let predictions = store(storage, order, &data.classes, &rows).await?;
    Ok(EvaluatedModel { predictions, evaluation })
}

/// The manifest with the model's `classes` in place of its own.
fn in_terms_of(classes: &[String], mut manifest: Manifest) -> Result<Manifest, Failure> {
    if manifest.rows.is_empty() {
        return Err(Failure::fatal(format!("snapshot {}@{} has no pictures", manifest.dataset, manifest.number)));
    }
    let places = places(&manifest.classes, classes).map_err(|unknown| Failure::fatal(unknown.to_string()))?;
    for row in &mut manifest.rows {
        row.class_index = places[row.class_index as usize];
    }
    classes.clone_into(&mut manifest.classes);
    Ok(manifest)
}

fn count(rows: &[PredictionRow], classes: &[String]) -> Result<Evaluation, Failure> {
    let predictions: Vec<Prediction> = rows.iter().map(|row| row.prediction.clone()).collect();
    let evaluation = Evaluation::of(&predictions, classes);
    if evaluation.loss.is_finite() {
        return Ok(evaluation);
    }
    Err(Failure::fatal(format!("the model's answers are no numbers: its mean loss is {}", evaluation.loss)))
}

async fn store(
    storage: &Storage,
    order: &EvaluationOrder,
    classes: &[String],
    rows: &[PredictionRow],
) -> Result<StoredObject, Failure> {
    let key = Key::Evaluation { task: order.task_id, attempt: order.attempt };
    let bytes = predictions::to_parquet(classes, rows)?;
    let size = bytes.len() as u64;
    let sha256 = storage.put(&key, bytes).await?.to_string();
    Ok(StoredObject { key: key.to_string(), sha256, bytes: size })
}

fn tell_beginning(order: &EvaluationOrder, manifest: &Manifest) {
    let message = format!(
        "asking model {} about the {} pictures of {}@{}, on {} with {} threads",
        order.model_digest.get(..12).unwrap_or(&order.model_digest),
        manifest.rows.len(),
        manifest.dataset,
        manifest.number,
        describe::device_name(best_device()),
        order.threads,
    );
    events::log("info", message);
}

fn tell_progress(done: u64, total: u64) {
    let message = "asking the model".into();
    events::emit(&TrainerEvent::Progress { done, total, unit: "pictures".into(), message });
}

fn tell_end(evaluation: &Evaluation) {
    let unseen = evaluation.unseen();
    if !unseen.is_empty() {
        let message =
            format!("the snapshot has no picture of {}: how the model does on those is left open", unseen.join(", "));
        events::log("warn", message);
    }
    events::log("info", format!("error_rate {}, loss {:.4}", evaluation.errors(), evaluation.loss));
}
