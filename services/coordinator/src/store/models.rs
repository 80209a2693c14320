//! Models, and the completion of train tasks, which registers them.

use serde_json::{Value, json};
use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use super::tasks::{hold_to_complete, succeed_with};
use super::{Store, StoreError, StoreResult, Tx, jobs};

impl Store {
    /// Ends a train attempt well: its model is registered and becomes the job's output.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_train(&self, lease: &Lease, result: &v1::TrainResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Train).await? else { return Ok(()) };
        let snapshot = held.payload["snapshot"]["id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
        let snapshot = snapshot.ok_or_else(|| StoreError::unreadable("train task", &"it names no snapshot"))?;
        let (error_rate, is_new) = insert_model(&mut tx, lease, held.job_id, snapshot, result).await?;
        let confusion: Vec<_> = result.confusion.iter().map(|row| row.counts.clone()).collect();
        let output = json!({
            "model_digest": result.model_digest, "error_rates": result.error_rates, "confusion": confusion,
        });
        jobs::set_output(&mut tx, held.job_id, &output).await?;
        let digest = result.model_digest.get(..12).unwrap_or_default();
        let registered = is_new.then(|| ("model.created", format!("model {digest} was registered")));
        let message = format!("model {digest} has an error rate of {:.1} %", 100.0 * error_rate);
        succeed_with(&mut tx, &held, registered, message).await?;
        tx.commit().await
    }

    /// The digest that starts with `prefix`, if exactly one model has it.
    pub(crate) async fn resolve_model(&self, prefix: &str) -> StoreResult<String> {
        if prefix.len() < 8 || prefix.len() > 64 || !prefix.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(ApiError::invalid(format!(
                "{prefix:?} is not a model's digest: give at least 8 hexadecimal digits"
            ))
            .into());
        }
        let mut found = sqlx::query_scalar!(
            "select digest from models where starts_with(digest, $1) order by digest limit 2",
            prefix.to_ascii_lowercase(),
        )
        .fetch_all(&self.pool)
        .await?;
        match (found.pop(), found.is_empty()) {
            (Some(digest), true) => Ok(digest),
            (Some(_), false) => {
                Err(ApiError::invalid(format!("more than one model starts with {prefix}: give more digits")).into())
            }
            (None, _) => Err(ApiError::not_found("model", prefix).into()),
        }
    }

    /// One model, by its full digest.
    pub(crate) async fn model(&self, digest: &str) -> StoreResult<v1::Model> {
        let model = self.select_models(Some(digest), None, 1).await?.pop();
        Ok(model.ok_or_else(|| ApiError::not_found("model", digest))?)
    }

    /// Models registered before the one with digest `after`, newest first.
    pub(crate) async fn models(&self, after: Option<&str>, limit: i64) -> StoreResult<Vec<v1::Model>> {
        self.select_models(None, after, limit).await
    }

    async fn select_models(
        &self,
        digest: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Model>> {
        let rows = sqlx::query!(
            "select digest, architecture, classes, error_rate, model_json, job_id, snapshot_id, created_at from models
            where ($1::text is null or digest = $1)
                and ($2::text is null or (created_at, digest) < (select m.created_at, m.digest from models m where m.digest = $2))
            order by created_at desc, digest desc limit $3",
            digest,
            after,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(v1::Model {
                    digest: row.digest,
                    architecture: row.architecture,
                    classes: serde_json::from_value(row.classes)
                        .map_err(|error| StoreError::unreadable("classes of a model", &error))?,
                    error_rate: row.error_rate,
                    job_id: row.job_id.to_string(),
                    snapshot_id: row.snapshot_id.to_string(),
                    model_json: row.model_json,
                    created_at: Some(ursa_proto::timestamp(row.created_at)),
                })
            })
            .collect()
    }
}

/// Stores the model and returns its error rate, and whether there was no such model before. Two runs may come to the very same package; the first one keeps the row.
async fn insert_model(
    tx: &mut Tx,
    lease: &Lease,
    job_id: Uuid,
    snapshot_id: Uuid,
    result: &v1::TrainResult,
) -> StoreResult<(f64, bool)> {
    let manifest: Value = serde_json::from_str(&result.model_json)
        .map_err(|error| ApiError::invalid(format!("result.model_json does not parse: {error}")))?;
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(result.model_json.as_bytes()));
    if digest != result.model_digest {
        let message = format!("model.json hashes to {digest}, not to {}", result.model_digest);
        return Err(ApiError::new(ErrorCode::DataLoss, message).into());
    }
    let missing = || ApiError::invalid("result.model_json lacks architecture or metrics.error_rate");
    let architecture = manifest["architecture"].as_str().ok_or_else(missing)?;
    let error_rate = manifest["metrics"]["error_rate"].as_f64().ok_or_else(missing)?;
    let inserted = sqlx::query!(
        "insert into models (digest, architecture, classes, error_rate, model_json, job_id, task_id, attempt, snapshot_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (digest) do nothing",
        result.model_digest,
        architecture,
        manifest["classes"],
        error_rate,
        result.model_json,
        job_id,
        lease.task_id,
        lease.attempt as i32,
        snapshot_id,
    )
    .execute(&mut **tx)
    .await?;
    Ok((error_rate, inserted.rows_affected() > 0))
}
