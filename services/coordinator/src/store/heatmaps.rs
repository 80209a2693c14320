//! Where in images the evidence for a class lies: the completion of explain tasks, and what it leaves behind.

use serde::Deserialize;
use serde_json::{Value, json};
use ursa_domain::run::ImageToExplain;
use ursa_domain::{JobKind, Lease};
use ursa_proto::v1;
use uuid::Uuid;

use super::fencing::hold_to_complete;
use super::images::column;
use super::models::lock_model;
use super::results::check_heatmaps;
use super::tasks::succeed;
use super::{Store, StoreError, StoreResult, ensure_rows, jobs};

/// What an explain task is about.
#[derive(Deserialize)]
struct Payload {
    model_digest: String,
    images: Vec<ImageToExplain>,
}

/// A heatmap whose picture is in the object store.
#[derive(Debug)]
pub(crate) struct StoredHeatmap {
    /// All but the picture.
    pub heatmap: v1::Heatmap,
    /// Key of the picture.
    pub key: String,
    /// SHA-256 of the picture, hex.
    pub sha256: String,
}

impl Store {
    /// Ends an explain attempt well: its heatmaps are what the model says of the images and classes from now on.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_explain(&self, lease: &Lease, result: &v1::ExplainResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Explain).await? else { return Ok(()) };
        let payload = Payload::deserialize(&held.payload);
        let payload = payload.map_err(|error| StoreError::unreadable("explain task", &error))?;
        let known = lock_model(&mut tx, &payload.model_digest).await?;
        let overlays = check_heatmaps(lease, result, &payload.images, &known)?;
        let written = sqlx::query_file!(
            "src/store/sql/write_heatmaps.sql",
            payload.model_digest,
            &column(&payload.images, |image| image.id),
            &column(&result.images, |image| image.class.clone()),
            &column(&result.images, |image| image.predicted.clone()),
            &column(&result.images, |image| image.probability),
            &column(&result.images, |image| image.side as i32),
            &column(&result.images, |image| json!(image.values)),
            &column(&overlays, |overlay| overlay.key.clone()),
            &column(&overlays, |overlay| overlay.sha256.clone()),
            held.job_id,
            lease.task_id,
            lease.attempt as i32,
        )
        .execute(&mut *tx)
        .await?;
        ensure_rows("heatmap", &written, payload.images.len() as u64)?;
        jobs::set_output(&mut tx, held.job_id, &summary(&payload.model_digest, result)).await?;
        let digest = payload.model_digest.get(..12).unwrap_or_default();
        succeed(&mut tx, &held, format!("model {digest} explained {} images", payload.images.len())).await?;
        tx.commit().await
    }

    /// The latest heatmap of a model (by its full digest), an image and a class; `None` where no job made one.
    pub(crate) async fn heatmap(
        &self,
        model_digest: &str,
        image: Uuid,
        class: &str,
    ) -> StoreResult<Option<StoredHeatmap>> {
        let row = sqlx::query!(
            "select predicted, probability, side, map, overlay_key, overlay_sha256, job_id, explained_at from heatmaps
            where model_digest = $1 and image_id = $2 and class = $3",
            model_digest,
            image,
            class,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let values = serde_json::from_value(row.map);
        let heatmap = v1::Heatmap {
            digest: model_digest.to_owned(),
            image_id: image.to_string(),
            class: class.to_owned(),
            probability: row.probability,
            predicted: row.predicted,
            side: row.side as u32,
            values: values.map_err(|error| StoreError::unreadable("values of a heatmap", &error))?,
            job_id: row.job_id.to_string(),
            explained_at: Some(ursa_proto::timestamp(row.explained_at)),
            ..v1::Heatmap::default()
        };
        Ok(Some(StoredHeatmap { heatmap, key: row.overlay_key, sha256: row.overlay_sha256 }))
    }
}

/// The output of an explain job.
fn summary(model_digest: &str, result: &v1::ExplainResult) -> Value {
    let image = |image: &v1::ExplainedImage| {
        json!({
            "image_id": image.image_id, "class": image.class, "probability": image.probability,
            "predicted": image.predicted,
        })
    };
    json!({"model_digest": model_digest, "images": result.images.iter().map(image).collect::<Vec<_>>()})
}
