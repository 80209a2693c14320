//! The snapshot task: decides the split, writes the manifest, makes it count.

use ursa_domain::ErrorClass;
use ursa_domain::duplicates::{Fingerprint, content_ids};
use ursa_domain::spec::SnapshotSpec;
use ursa_domain::split::{self, ClassCount, Side};
use ursa_storage::manifest::{Manifest, ManifestRow};
use ursa_storage::{Digest, Key, StorageError};

use super::executor::TaskError;
use crate::context::Context;
use crate::store::{ClaimedTask, SnapshotImage, SnapshotRow};

fn fatal(message: impl ToString) -> TaskError {
    TaskError::Failed(ErrorClass::Fatal, message.to_string())
}

fn storage_failed(error: &StorageError) -> TaskError {
    let class = if error.is_retryable() { ErrorClass::Infrastructure } else { ErrorClass::Retryable };
    TaskError::Failed(class, format!("the manifest could not be stored: {error}"))
}

pub(super) async fn execute(context: &Context, task: &ClaimedTask) -> Result<(), TaskError> {
    let spec: SnapshotSpec = serde_json::from_value(task.payload.clone()).map_err(fatal)?;
    let (classes, images, number) = context.store.images_to_freeze(&spec.dataset).await?;
    if images.is_empty() {
        let message = format!(
            "dataset {} has no verified images: run a verify job first, or look at what was refused",
            spec.dataset
        );
        return Err(fatal(message));
    }
    let freeze = move || freeze(&spec, classes, &images, number).map(|frozen| (spec, frozen));
    let (spec, (manifest, counts)) = tokio::task::spawn_blocking(freeze).await.map_err(fatal)??;
    let bytes = manifest.to_parquet().map_err(|error| storage_failed(&error))?;
    let digest = Digest::of(&bytes);
    context.storage.put(&Key::Manifest { digest }, bytes).await.map_err(|error| storage_failed(&error))?;
    let row = SnapshotRow {
        dataset: &spec.dataset,
        number,
        seed: spec.seed,
        valid_percent: spec.valid_percent,
        digest: digest.to_string(),
        classes: &counts,
    };
    Ok(context.store.complete_snapshot(&task.lease, &row).await?)
}

/// Who is on which side, and the counts that show it.
fn freeze(
    spec: &SnapshotSpec,
    classes: Vec<String>,
    images: &[SnapshotImage],
    number: u32,
) -> Result<(Manifest, Vec<ClassCount>), TaskError> {
    let fingerprints: Vec<_> = images.iter().map(fingerprint).collect();
    let mut counts: Vec<_> =
        classes.iter().map(|class| ClassCount { class: class.clone(), train: 0, valid: 0 }).collect();
    let mut rows = Vec::with_capacity(images.len());
    for (image, content_id) in images.iter().zip(content_ids(&fingerprints)) {
        let side = split::side(spec.seed, &content_id, spec.valid_percent);
        let count = counts.get_mut(image.class_index as usize).ok_or_else(|| fatal("an image has no class"))?;
        match side {
            Side::Train => count.train += 1,
            Side::Valid => count.valid += 1,
        }
        rows.push(row(image, side, content_id));
    }
    split::check(&counts).map_err(fatal)?;
    let manifest = Manifest {
        dataset: spec.dataset.clone(),
        number,
        seed: spec.seed,
        valid_percent: spec.valid_percent,
        classes,
        rows,
    };
    Ok((manifest, counts))
}

fn fingerprint(image: &SnapshotImage) -> Fingerprint {
    Fingerprint { pixel_sha256: image.pixel_sha256.clone(), perceptual_hash: image.perceptual_hash as u64 }
}

fn row(image: &SnapshotImage, side: Side, content_id: String) -> ManifestRow {
    ManifestRow {
        image_id: image.id,
        class_index: image.class_index as u32,
        side,
        content_id,
        shard: image.shard.clone(),
        offset: image.offset as u64,
        length: image.length as u64,
        width: image.width as u32,
        height: image.height as u32,
        sha256: image.sha256.clone(),
        source_url: image.url.clone(),
        licence: image.licence.clone(),
    }
}
