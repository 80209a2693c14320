//! What in images speaks for a class, said by a model that is there already: Grad-CAM, as nodes explain their answers.
//!
//! A map is as coarse as the network sees: 7×7 places of a picture of 224 pixels.

use tokio::runtime::Runtime;
use ursa_domain::explanation::place;
use ursa_domain::run::{ExplainedImage, ExplanationOrder, ImageToExplain, StoredObject, TrainerEvent};
use ursa_learner::{best_device, set_threads};
use ursa_storage::{Key, Storage};

use crate::failure::Failure;
use crate::input::Supervisor;
use crate::packaged::{self, Packaged};
use crate::{describe, events, snapshot};

/// Maps with fewer rows say little of where something is: fastai draws none (lesson 2 §2.8).
const COARSEST: u32 = 4;

/// Executes `order` and tells of it by events; the caller tells of its end.
pub(crate) fn run(order: &ExplanationOrder, supervisor: &Supervisor) -> Result<Vec<ExplainedImage>, Failure> {
    let runtime = Runtime::new().map_err(|error| Failure::retryable(format!("cannot start: {error}")))?;
    let storage = Storage::open(&order.object_store)?;
    set_threads(order.threads.max(1) as usize);
    runtime.block_on(explain_all(&storage, order, supervisor))
}

async fn explain_all(
    storage: &Storage,
    order: &ExplanationOrder,
    supervisor: &Supervisor,
) -> Result<Vec<ExplainedImage>, Failure> {
    let model = packaged::load(storage, &order.model_digest).await?;
    tell_beginning(order);
    let mut explained = Vec::with_capacity(order.images.len());
    for image in &order.images {
        supervisor.check()?;
        explained.push(explain(storage, order, &model, image).await?);
        tell_progress(explained.len(), order.images.len());
    }
    tell_end(&explained);
    Ok(explained)
}

async fn explain(
    storage: &Storage,
    order: &ExplanationOrder,
    Packaged { classes, classifier }: &Packaged,
    image: &ImageToExplain,
) -> Result<ExplainedImage, Failure> {
    let wanted = image.class.as_deref().map(|class| place(class, classes)).transpose();
    let wanted = wanted.map_err(|unknown| Failure::fatal(unknown.to_string()))?;
    let file = snapshot::read_picture(storage, &image.shard, image.offset, image.length).await?;
    let preprocessing = classifier.preprocessing();
    let prepared = snapshot::prepare(preprocessing, image.id, &image.shard, &file)?;
    let explanation = classifier.explain(&prepared, wanted)?;
    let probability = explanation.probability();
    let map = &explanation.heatmap;
    if !probability.is_finite() || map.values.iter().any(|value| !value.is_finite()) {
        return Err(Failure::fatal(format!("the model's answer about image {} is no number", image.id)));
    }
    let overlay = map.laid_over(&prepared, preprocessing.size)?;
    Ok(ExplainedImage {
        id: image.id,
        class: classes[explanation.class as usize].clone(),
        probability,
        predicted: classes[explanation.predicted() as usize].clone(),
        side: map.side,
        values: map.values.clone(),
        overlay: store(storage, order, image, overlay).await?,
    })
}

async fn store(
    storage: &Storage,
    order: &ExplanationOrder,
    image: &ImageToExplain,
    overlay: Vec<u8>,
) -> Result<StoredObject, Failure> {
    let key = Key::Heatmap { task: order.task_id, attempt: order.attempt, image: image.id };
    let bytes = overlay.len() as u64;
    let sha256 = storage.put(&key, overlay.into()).await?.to_string();
    Ok(StoredObject { key: key.to_string(), sha256, bytes })
}

fn tell_beginning(order: &ExplanationOrder) {
    let message = format!(
        "asking model {} what it sees in {} pictures, on {} with {} threads",
        order.model_digest.get(..12).unwrap_or(&order.model_digest),
        order.images.len(),
        describe::device_name(best_device()),
        order.threads,
    );
    events::log("info", message);
}

fn tell_progress(done: usize, total: usize) {
    let (unit, message) = ("images".into(), "explaining".into());
    events::emit(&TrainerEvent::Progress { done: done as u64, total: total as u64, unit, message });
}

fn tell_end(explained: &[ExplainedImage]) {
    if let Some(ExplainedImage { side, .. }) = explained.first().filter(|image| image.side < COARSEST) {
        let message = format!(
            "the maps have {side}×{side} places, too few to say where something is: train with an image_size of 128 or more"
        );
        events::log("warn", message);
    }
}
