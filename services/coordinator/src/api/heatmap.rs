//! `ModelService.GetHeatmap`: where in an image the evidence for a class lies, as the latest explain job left it.

use tonic::Status;
use ursa_proto::{ApiError, ErrorCode, v1};
use ursa_storage::{Digest, Key, StorageError};
use uuid::Uuid;

use super::{id, internal, refuse, storage_refused};
use crate::context::Context;
use crate::store::StoredHeatmap;

pub(super) async fn get(context: &Context, request: &v1::GetHeatmapRequest) -> Result<v1::Heatmap, Status> {
    let image = id("image_id", &request.image_id)?;
    let digest = context.store.resolve_model(&request.digest).await.map_err(refuse)?;
    let label = context.store.label_of(image).await.map_err(refuse)?;
    let class = if request.class.is_empty() { &label } else { &request.class };
    let found = context.store.heatmap(&digest, image, class).await.map_err(refuse)?;
    let StoredHeatmap { heatmap, key, sha256 } = found.ok_or_else(|| not_explained(&digest, image, class))?;
    let key: Key = key.parse().map_err(|error: StorageError| storage_refused(&error))?;
    let sha256: Digest = sha256.parse().map_err(internal)?;
    let overlay_png = context.storage.get_verified(&key, &sha256).await.map_err(|error| storage_refused(&error))?;
    Ok(v1::Heatmap { overlay_png, ..heatmap })
}

fn not_explained(digest: &str, image: Uuid, class: &str) -> ApiError {
    let model = digest.get(..12).unwrap_or(digest);
    let message = format!(
        "nobody asked model {model} yet what in image {image} speaks for {class}: submit a job {{kind: explain, model: {model}, \
         images: [{image}], of: {{class: {class}}}}}"
    );
    ApiError::new(ErrorCode::NotFound, message)
}
