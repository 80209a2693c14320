//! From a trained network to a model package in the object store.
//!
//! What is measured and what the golden examples say comes from the class that serves, loaded from the very bytes stored.

use bytes::Bytes;
use ursa_domain::run::{Finding, RunOrder, TrainedModel};
use ursa_domain::sources::Sources;
use ursa_domain::split::Side;
use ursa_learner::interpret;
use ursa_learner::{Answers, Classifier, Dataset, Device, EpochReport, Evaluation, Training, evaluate, onnx};
use ursa_storage::Storage;
use ursa_storage::manifest::{Manifest, ManifestRow};
use ursa_storage::package::{
    Extras, GoldenExamples, GoldenInfo, Lineage, ModelManifest, ModelMetrics, ModelPackage, SCHEMA_VERSION,
};
use ursa_storage::predictions::{self, PredictionRow};
use ursa_vision::Preprocessing;

use crate::failure::Failure;
use crate::snapshot;

/// Pictures a model must reproduce before it serves.
const GOLDEN_EXAMPLES: usize = 8;
/// Largest difference of a logit between machines: float32 sums in another order stay well below.
const GOLDEN_TOLERANCE: f32 = 1e-3;

/// Measures the model, stores its package and says what was made.
pub(crate) async fn store(
    storage: &Storage,
    manifest: &Manifest,
    order: &RunOrder,
    training: &Training,
    device: Device,
    findings: Vec<Finding>,
) -> Result<TrainedModel, Failure> {
    let weights = Bytes::from(training.network().to_safetensors()?);
    let preprocessing = Preprocessing::imagenet(order.recipe.image_size);
    let classes = manifest.classes.len();
    let classifier = Classifier::load(order.recipe.architecture, classes, preprocessing, &weights, device)?;
    let data = training.data();
    let [train, valid] = [&data.train, &data.valid].map(|examples| classifier.answers(examples));
    let evaluation = evaluate(&valid.logits, data.valid.labels());
    let golden = golden_examples(storage, manifest, &classifier).await?;
    let description = describe(order, manifest, training, &preprocessing, &evaluation, golden.images.len())?;
    let extras = Extras {
        onnx: Some(export(order, manifest, training, &preprocessing)?),
        predictions: Some(predictions::to_parquet(&data.classes, &predictions(data, train, valid)?)?),
    };
    let package = ModelPackage::seal(description, weights, golden.to_safetensors()?, extras)?;
    let digest = package.upload_by(storage, order.task_id, order.attempt).await?;
    Ok(TrainedModel {
        model_digest: digest.to_string(),
        model_json: String::from_utf8_lossy(&package.manifest_json).into_owned(),
        error_rates: training.history().iter().map(EpochReport::error_rate).collect(),
        errors: evaluation.wrong,
        validated: evaluation.validated,
        trained: training.data().train.len() as u64,
        confusion: evaluation.confusion,
        findings,
    })
}

/// A model's answers on both sides as what it says of every image.
pub(crate) fn predictions(data: &Dataset, train: Answers, valid: Answers) -> Result<Vec<PredictionRow>, Failure> {
    let mut rows = Vec::with_capacity(data.train.len() + data.valid.len());
    for (side, examples, answers) in [(Side::Train, &data.train, train), (Side::Valid, &data.valid, valid)] {
        let predicted = interpret::predictions(&answers.logits, examples)?;
        let row = |(prediction, embedding)| PredictionRow { side, prediction, embedding };
        rows.extend(predicted.into_iter().zip(answers.embeddings).map(row));
    }
    Ok(rows)
}

/// The same model for runtimes that are not ours.
fn export(
    order: &RunOrder,
    manifest: &Manifest,
    training: &Training,
    preprocessing: &Preprocessing,
) -> Result<Bytes, Failure> {
    let name = format!("{}-{}", order.snapshot.dataset, order.recipe.architecture);
    let description = onnx::Description { name: &name, classes: &manifest.classes, preprocessing };
    Ok(onnx::export(training.network(), &description)?.into())
}

async fn golden_examples(
    storage: &Storage,
    manifest: &Manifest,
    classifier: &Classifier,
) -> Result<GoldenExamples, Failure> {
    let (mut images, mut prepared) = (Vec::new(), Vec::new());
    for row in golden_rows(manifest) {
        let file = snapshot::read_picture(storage, &row.shard, row.offset, row.length).await?;
        prepared.push(snapshot::prepare(classifier.preprocessing(), row.image_id, &row.shard, &file)?);
        images.push(file.to_vec());
    }
    Ok(GoldenExamples { images, logits: classifier.logits(&prepared)? })
}

/// The first pictures of the validation side, the classes taking turns.
fn golden_rows(manifest: &Manifest) -> Vec<&ManifestRow> {
    let mut taken = vec![0_usize; manifest.classes.len()];
    let mut rows: Vec<(usize, &ManifestRow)> = Vec::new();
    for row in manifest.rows.iter().filter(|row| row.side == Side::Valid) {
        let turn = &mut taken[row.class_index as usize];
        rows.push((*turn, row));
        *turn += 1;
    }
    rows.sort_by_key(|(turn, row)| (*turn, row.class_index));
    rows.into_iter().take(GOLDEN_EXAMPLES).map(|(_, row)| row).collect()
}

fn describe(
    order: &RunOrder,
    manifest: &Manifest,
    training: &Training,
    preprocessing: &Preprocessing,
    evaluation: &Evaluation,
    golden: usize,
) -> Result<ModelManifest, Failure> {
    let unwritable = |error: serde_json::Error| Failure::fatal(format!("model.json cannot be written: {error}"));
    let recipe = &order.recipe;
    Ok(ModelManifest {
        schema_version: SCHEMA_VERSION,
        architecture: recipe.architecture.to_string(),
        head: training.network().head().name().to_owned(),
        classes: manifest.classes.clone(),
        preprocessing: serde_json::to_value(preprocessing).map_err(unwritable)?,
        metrics: ModelMetrics {
            error_rate: evaluation.error_rate(),
            wrong: evaluation.wrong,
            validated: evaluation.validated,
            valid_loss: evaluation.loss,
            confusion: evaluation.confusion.clone(),
            epochs: recipe.epochs(),
            micro_batch: training.micro_batch(),
        },
        lineage: Lineage {
            job_id: order.job_id.to_string(),
            task_id: order.task_id.to_string(),
            attempt: order.attempt,
            snapshot_id: order.snapshot.id.to_string(),
            snapshot_digest: order.snapshot.digest.clone(),
            dataset: order.snapshot.dataset.clone(),
            snapshot_number: order.snapshot.number,
            seed: recipe.seed,
            code_version: ursa_version::NAME.to_owned(),
            pretrained: recipe.pretrained.as_ref().map(|weights| weights.sha256.clone()),
            conditions: training.conditions(),
            sources: Some(Sources::of(learned_from(manifest))),
        },
        recipe: serde_json::to_value(recipe).map_err(unwritable)?,
        golden: GoldenInfo { count: golden as u32, tolerance: GOLDEN_TOLERANCE },
        files: std::collections::BTreeMap::new(),
    })
}

/// URL and licence of each picture that was learned from.
fn learned_from(manifest: &Manifest) -> impl Iterator<Item = (&str, &str)> {
    let train = manifest.rows.iter().filter(|row| row.side == Side::Train);
    train.map(|row| (row.source_url.as_str(), row.licence.as_str()))
}
