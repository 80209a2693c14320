//! How models do on snapshots: the completion of evaluate tasks, and what it leaves behind.

use serde::Deserialize;
use serde_json::{Value, json};
use ursa_domain::evaluation::{ClassErrors, Evaluation};
use ursa_domain::run::{SnapshotInfo, StoredObject};
use ursa_domain::{JobKind, Lease};
use ursa_proto::v1;

use super::fencing::hold_to_complete;
use super::models::lock_model;
use super::results::check_evaluation;
use super::tasks::succeed;
use super::{Store, StoreError, StoreResult, ensure_rows, jobs};

/// As many are told of one model.
const MAX_EVALUATIONS: i64 = 100;

/// What an evaluate task is about.
#[derive(Deserialize)]
struct Payload {
    snapshot: SnapshotInfo,
    model_digest: String,
    /// Of the snapshot, on both sides.
    images: u64,
}

impl Store {
    /// Ends an evaluate attempt well: its predictions are what the model says of the snapshot from now on, and how good they
    /// are is the job's output.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_evaluate(&self, lease: &Lease, result: &v1::EvaluateResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Evaluate).await? else { return Ok(()) };
        let payload = Payload::deserialize(&held.payload);
        let payload = payload.map_err(|error| StoreError::unreadable("evaluate task", &error))?;
        let known = lock_model(&mut tx, &payload.model_digest).await?;
        let predictions = check_evaluation(lease, result, &known, payload.images)?;
        let classes = result.classes.iter().cloned().map(ClassErrors::from).collect();
        let evaluation = Evaluation { loss: result.loss, classes };
        let written = sqlx::query_file!(
            "src/store/sql/write_evaluation.sql",
            payload.model_digest,
            payload.snapshot.digest,
            payload.snapshot.id,
            predictions.key,
            predictions.sha256,
            predictions.bytes as i64,
            evaluation.loss,
            json!(evaluation.classes),
            held.job_id,
            lease.task_id,
            lease.attempt as i32,
        )
        .execute(&mut *tx)
        .await?;
        ensure_rows("evaluation", &written, 1)?;
        jobs::set_output(&mut tx, held.job_id, &summary(&payload, &evaluation)).await?;
        succeed(&mut tx, &held, sentence(&payload, &evaluation)).await?;
        tx.commit().await
    }

    /// How a model does on snapshots, the latest evaluation first.
    pub(crate) async fn evaluations(&self, model_digest: &str) -> StoreResult<Vec<v1::Evaluation>> {
        let rows = sqlx::query!(
            "select e.snapshot_digest, e.snapshot_id, d.name as dataset, s.number, e.loss, e.classes, e.job_id, e.evaluated_at
            from evaluations e join snapshots s on s.id = e.snapshot_id join datasets d on d.id = s.dataset_id
            where e.model_digest = $1 order by e.evaluated_at desc, e.snapshot_digest limit $2",
            model_digest,
            MAX_EVALUATIONS,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let classes: Vec<ClassErrors> = serde_json::from_value(row.classes)
                    .map_err(|error| StoreError::unreadable("classes of an evaluation", &error))?;
                let evaluation = Evaluation { loss: row.loss, classes };
                Ok(v1::Evaluation {
                    snapshot_digest: row.snapshot_digest,
                    snapshot_id: row.snapshot_id.to_string(),
                    dataset: row.dataset,
                    snapshot_number: row.number as u32,
                    errors: Some(evaluation.errors().into()),
                    class_errors: evaluation.classes.iter().map(|class| class.share().into()).collect(),
                    loss: evaluation.loss,
                    job_id: row.job_id.to_string(),
                    evaluated_at: Some(ursa_proto::timestamp(row.evaluated_at)),
                })
            })
            .collect()
    }

    /// What a model says of a snapshot, both by their full digests; `None` where it was not asked.
    pub(crate) async fn evaluated(
        &self,
        model_digest: &str,
        snapshot_digest: &str,
    ) -> StoreResult<Option<StoredObject>> {
        let row = sqlx::query!(
            "select predictions_key, predictions_sha256, predictions_bytes from evaluations
            where model_digest = $1 and snapshot_digest = $2",
            model_digest,
            snapshot_digest,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| StoredObject {
            key: row.predictions_key,
            sha256: row.predictions_sha256,
            bytes: row.predictions_bytes as u64,
        }))
    }
}

/// The output of an evaluate job.
fn summary(payload: &Payload, evaluation: &Evaluation) -> Value {
    let SnapshotInfo { id, dataset, number, digest } = &payload.snapshot;
    json!({
        "model_digest": payload.model_digest, "snapshot_id": id, "snapshot_digest": digest, "dataset": dataset,
        "number": number, "images": payload.images, "errors": evaluation.errors().count, "loss": evaluation.loss,
        "classes": evaluation.classes,
    })
}

fn sentence(payload: &Payload, evaluation: &Evaluation) -> String {
    let SnapshotInfo { dataset, number, .. } = &payload.snapshot;
    let digest = payload.model_digest.get(..12).unwrap_or_default();
    format!("model {digest} has an error rate of {} on {dataset}@{number}", evaluation.errors())
}
