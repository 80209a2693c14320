//! What a worker's results must be before they may count. Pure: what only the rows can tell is checked with the writes.

use ursa_domain::Lease;
use ursa_proto::{ApiError, v1};
use ursa_storage::{Digest, Key};

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
    check_key("predictions.key", &predictions.key, &key)?;
    check_size("predictions.bytes", predictions.bytes)?;
    if let Err(error) = predictions.sha256.parse::<Digest>() {
        return Err(ApiError::invalid(format!("predictions.sha256: {error}")));
    }
    if !result.loss.is_finite() {
        return Err(ApiError::invalid(format!("loss is {}: a model's mean loss is a finite number", result.loss)));
    }
    check_classes(&result.classes, known, images)?;
    Ok(predictions)
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
