//! What a worker's results must be before they may count. Pure: what only the rows can tell is checked with the writes.

use ursa_domain::Lease;
use ursa_domain::explanation::place;
use ursa_domain::run::ImageToExplain;
use ursa_proto::{ApiError, v1};
use ursa_storage::{Digest, Key};

/// Rows of a map of evidence: those of a picture of 2048 pixels.
const MAX_SIDE: u32 = 64;

/// A picture that is said to lie in a shard.
struct Picture<'a> {
    id: &'a str,
    offset: u64,
    length: u64,
}

/// Every picture fetched lies in the one shard of this very attempt.
pub(super) fn check_scrape(lease: &Lease, result: &v1::ScrapeResult) -> Result<(), ApiError> {
    let key = Key::RawShard { task: lease.task_id, attempt: lease.attempt };
    let fetched = result.outcomes.iter().filter(|outcome| outcome.error_class.is_empty());
    let pictures: Vec<_> = fetched
        .map(|outcome| Picture { id: &outcome.source_id, offset: outcome.shard_offset, length: outcome.shard_length })
        .collect();
    check_shard(result.shard.as_ref(), &key, &pictures)
}

/// Every picture kept lies in the one shard of this very attempt.
pub(super) fn check_verify(lease: &Lease, result: &v1::VerifyResult) -> Result<(), ApiError> {
    let key = Key::NormalShard { task: lease.task_id, attempt: lease.attempt };
    let kept = result.verdicts.iter().filter(|verdict| verdict.reason.is_empty());
    let pictures: Vec<_> = kept
        .map(|verdict| Picture { id: &verdict.image_id, offset: verdict.shard_offset, length: verdict.shard_length })
        .collect();
    check_shard(result.shard.as_ref(), &key, &pictures)
}

/// Of `said` entries of a list, each one for another `what`, `written` were, and `left` of those have none.
pub(super) fn check_complete(list: &str, what: &str, said: u64, written: u64, left: u64) -> Result<(), ApiError> {
    if written < said {
        let message = format!("{list}: {} of {said} entries are for no {what}, or repeat another", said - written);
        return Err(ApiError::invalid(message));
    }
    if left > 0 {
        return Err(ApiError::invalid(format!(
            "{list}: {left} entries are missing; there must be one for each {what}"
        )));
    }
    Ok(())
}

/// A checkpoint lies where this very attempt writes it.
pub(super) fn check_checkpoint(lease: &Lease, checkpoint: &v1::Checkpoint) -> Result<(), ApiError> {
    let v1::Checkpoint { epoch, step, .. } = *checkpoint;
    let key = Key::Checkpoint { task: lease.task_id, attempt: lease.attempt, epoch, step };
    check_key("checkpoint.key", &checkpoint.key, &key)
}

/// The predictions lie where this very attempt writes them, and the errors are those of `images` images, class by class of
/// those that the model has, `known`.
pub(super) fn check_evaluation<'a>(
    lease: &Lease,
    result: &'a v1::EvaluateResult,
    known: &[String],
    images: u64,
) -> Result<&'a v1::StoredObject, ApiError> {
    let predictions = result.predictions.as_ref().ok_or_else(|| ApiError::invalid("predictions: is missing"))?;
    let key = Key::Evaluation { task: lease.task_id, attempt: lease.attempt };
    check_object("predictions", predictions, &key)?;
    if !result.loss.is_finite() {
        return Err(ApiError::invalid(format!("loss is {}: a model's mean loss is a finite number", result.loss)));
    }
    check_classes(&result.classes, known, images)?;
    Ok(predictions)
}

/// There is a heatmap of each of `images`, in order: of the class that was asked for, and of those that the model has, `known`.
/// Their pictures lie where this very attempt writes them.
pub(super) fn check_heatmaps<'a>(
    lease: &Lease,
    result: &'a v1::ExplainResult,
    images: &[ImageToExplain],
    known: &[String],
) -> Result<Vec<&'a v1::StoredObject>, ApiError> {
    let told: Vec<&str> = result.images.iter().map(|image| image.image_id.as_str()).collect();
    let asked: Vec<String> = images.iter().map(|image| image.id.to_string()).collect();
    if told != asked {
        return Err(ApiError::invalid(format!("images are {told:?}; those of the task are {asked:?}")));
    }
    images.iter().zip(&result.images).map(|(asked, told)| check_heatmap(lease, asked, told, known)).collect()
}

fn check_heatmap<'a>(
    lease: &Lease,
    asked: &ImageToExplain,
    told: &'a v1::ExplainedImage,
    known: &[String],
) -> Result<&'a v1::StoredObject, ApiError> {
    let invalid = |reason: String| ApiError::invalid(format!("image {}: {reason}", asked.id));
    let v1::ExplainedImage { class, probability, predicted, side, values, overlay, .. } = told;
    if let Some(wanted) = asked.class.as_ref().filter(|wanted| *wanted != class) {
        return Err(invalid(format!("class is {class:?}; {wanted:?} was asked for")));
    }
    for class in [class, predicted] {
        place(class, known).map_err(|unknown| invalid(unknown.to_string()))?;
    }
    if !(0.0..=1.0).contains(probability) {
        return Err(invalid(format!("probability is {probability}: it is a fraction")));
    }
    let has_places = (1..=MAX_SIDE).contains(side) && values.len() as u64 == u64::from(*side).pow(2);
    if !has_places || !values.iter().all(|value| value.is_finite() && *value >= 0.0) {
        let count = values.len();
        return Err(invalid(format!("{count} values are no evidence in {side}×{side} places, each 0 or more")));
    }
    let overlay = overlay.as_ref().ok_or_else(|| invalid("overlay: is missing".into()))?;
    check_object("overlay", overlay, &Key::Heatmap { task: lease.task_id, attempt: lease.attempt, image: asked.id })?;
    Ok(overlay)
}

fn check_classes(classes: &[v1::ClassErrors], known: &[String], images: u64) -> Result<(), ApiError> {
    let told: Vec<&str> = classes.iter().map(|class| class.class.as_str()).collect();
    if told != known {
        return Err(ApiError::invalid(format!("classes are {told:?}; those of the model are {known:?}")));
    }
    if let Some(v1::ClassErrors { class, wrong, of }) = classes.iter().find(|class| class.wrong > class.of) {
        return Err(ApiError::invalid(format!("classes: {wrong} of {of} images of class {class:?} cannot be wrong")));
    }
    let sum = classes.iter().try_fold(0_u64, |sum, class| sum.checked_add(class.of));
    if sum == Some(images) {
        return Ok(());
    }
    let sum = sum.map_or_else(|| "too many".to_owned(), |sum| sum.to_string());
    Err(ApiError::invalid(format!("classes: {sum} images are told of; the snapshot has {images}")))
}

fn check_shard(shard: Option<&v1::Shard>, key: &Key, pictures: &[Picture<'_>]) -> Result<(), ApiError> {
    let Some(shard) = shard else {
        return match pictures.len() {
            0 => Ok(()),
            count => Err(ApiError::invalid(format!("shard: is missing, but {count} pictures have to lie in it"))),
        };
    };
    if pictures.is_empty() {
        return Err(ApiError::invalid("shard: is there, but no picture lies in it: leave it out"));
    }
    check_key("shard.key", &shard.key, key)?;
    check_size("shard.bytes", shard.bytes)?;
    pictures.iter().try_for_each(|picture| check_inside(shard, picture))
}

fn check_object(field: &str, object: &v1::StoredObject, key: &Key) -> Result<(), ApiError> {
    check_key(&format!("{field}.key"), &object.key, key)?;
    check_size(&format!("{field}.bytes"), object.bytes)?;
    let digest = object.sha256.parse::<Digest>();
    digest.map(drop).map_err(|error| ApiError::invalid(format!("{field}.sha256: {error}")))
}

fn check_size(field: &str, bytes: u64) -> Result<(), ApiError> {
    if i64::try_from(bytes).is_ok() {
        return Ok(());
    }
    Err(ApiError::invalid(format!("{field} is {bytes}: no object is as large")))
}

/// An object elsewhere may be another attempt's, which may be gone or replaced at any time.
fn check_key(field: &str, found: &str, expected: &Key) -> Result<(), ApiError> {
    let expected = expected.to_string();
    if found == expected {
        return Ok(());
    }
    Err(ApiError::invalid(format!("{field} is {found:?}; this attempt has to store it under {expected:?}")))
}

fn check_inside(shard: &v1::Shard, picture: &Picture<'_>) -> Result<(), ApiError> {
    let Picture { id, offset, length } = picture;
    if offset.checked_add(*length).is_some_and(|end| end <= shard.bytes) {
        return Ok(());
    }
    let bytes = shard.bytes;
    let message =
        format!("picture {id}: {length} bytes from {offset} do not lie in the shard, which has {bytes} bytes");
    Err(ApiError::invalid(message))
}
