//! Models, and the completion of the tasks that learn, some of which register them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgExecutor;
use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use super::fencing::hold_to_complete;
use super::tasks::{succeed, succeed_with};
use super::{Store, StoreError, StoreResult, Tx, jobs, runs};

impl Store {
    /// Ends a train attempt well: its model is registered, and the best of the job's models becomes its output.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_train(&self, lease: &Lease, result: &v1::TrainResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::Train).await? else { return Ok(()) };
        let snapshot = snapshot_of(&held.payload)?;
        let (error_rate, is_new) = insert_model(&mut tx, lease, held.job_id, snapshot, result).await?;
        let before = jobs::lock_output(&mut tx, held.job_id).await?;
        let output = runs::with_run(before, &held.payload, result, error_rate)?;
        jobs::set_output(&mut tx, held.job_id, &output).await?;
        let digest = result.model_digest.get(..12).unwrap_or_default();
        let registered = is_new.then(|| ("model.created", format!("model {digest} was registered")));
        let message = format!("model {digest} has an error rate of {:.1} %", 100.0 * error_rate);
        succeed_with(&mut tx, &held, registered, message).await?;
        tx.commit().await
    }

    /// Ends a `find_lr` attempt well: its curve and what it suggests become the job's output. A curve that suggests nothing is
    /// a result, too.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_find_lr(&self, lease: &Lease, result: &v1::FindLrResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::FindLr).await? else { return Ok(()) };
        jobs::set_output(&mut tx, held.job_id, &curve(result)).await?;
        let message = match result.suggestions.first() {
            Some(suggestion) => format!("the rate is {:.2e} ({})", suggestion.rate, suggestion.method),
            None => format!("no rate can be suggested: {}", result.error),
        };
        succeed(&mut tx, &held, message).await?;
        tx.commit().await
    }

    /// Ends an experiment's attempt well.
    #[tracing::instrument(skip(self, result), err(level = "debug"))]
    pub(crate) async fn complete_sgd_lab(&self, lease: &Lease, result: &v1::SgdLabResult) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(held) = hold_to_complete(&mut tx, lease, JobKind::SgdLab).await? else { return Ok(()) };
        let output = json!({
            "coefficients": [result.slope, result.intercept], "loss": result.loss,
            "optimum": [result.best_slope, result.best_intercept], "least_loss": result.least_loss,
            "rate_limit": result.rate_limit, "diverged": result.diverged, "verdict": result.verdict,
        });
        jobs::set_output(&mut tx, held.job_id, &output).await?;
        succeed(&mut tx, &held, result.verdict.clone()).await?;
        tx.commit().await
    }

    /// The digest that starts with `prefix`, if exactly one model has it.
    pub(crate) async fn resolve_model(&self, prefix: &str) -> StoreResult<String> {
        check_prefix("model", prefix)?;
        resolve(&self.pool, prefix).await
    }

    /// One model, by its full digest.
    pub(crate) async fn model(&self, digest: &str) -> StoreResult<v1::Model> {
        let model = self.select_models(Some(digest), None, 1).await?.pop();
        Ok(model.ok_or_else(|| ApiError::not_found("model", digest))?)
    }

    /// Models before a place in their order, newest first: by when they were registered, and their digest.
    pub(crate) async fn models(
        &self,
        before: Option<&(DateTime<Utc>, String)>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Model>> {
        self.select_models(None, before, limit).await
    }

    async fn select_models(
        &self,
        digest: Option<&str>,
        before: Option<&(DateTime<Utc>, String)>,
        limit: i64,
    ) -> StoreResult<Vec<v1::Model>> {
        let rows = sqlx::query!(
            "select digest, architecture, classes, error_rate, model_json, job_id, snapshot_id, created_at from models
            where ($1::text is null or digest = $1)
                and ($2::timestamptz is null or (created_at, digest) < ($2, $3::text))
            order by created_at desc, digest desc limit $4",
            digest,
            before.map(|(at, _)| *at),
            before.map(|(_, digest)| digest.as_str()),
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
                    evaluations: Vec::new(),
                })
            })
            .collect()
    }
}

/// The digest that starts with `prefix`, if exactly one model has it.
pub(super) async fn resolve(executor: impl PgExecutor<'_>, prefix: &str) -> StoreResult<String> {
    let mut found = sqlx::query_scalar!(
        "select digest from models where starts_with(digest, $1) order by digest limit 2",
        prefix.to_ascii_lowercase(),
    )
    .fetch_all(executor)
    .await?;
    match (found.pop(), found.is_empty()) {
        (Some(digest), true) => Ok(digest),
        (Some(_), false) => {
            Err(ApiError::invalid(format!("more than one model starts with {prefix}: give more digits")).into())
        }
        (None, _) => Err(ApiError::not_found("model", prefix).into()),
    }
}

/// Locks a model, so that what is said of it counts one after the other; its classes.
pub(super) async fn lock_model(tx: &mut Tx, digest: &str) -> StoreResult<Vec<String>> {
    let classes = sqlx::query_scalar!("select classes from models where digest = $1 for no key update", digest)
        .fetch_one(&mut **tx)
        .await?;
    serde_json::from_value(classes).map_err(|error| StoreError::unreadable("classes of a model", &error))
}

/// Whether a digest of `what` may begin so.
pub(super) fn check_prefix(what: &str, prefix: &str) -> Result<(), ApiError> {
    if (8..=64).contains(&prefix.len()) && prefix.chars().all(|c| c.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("{prefix:?} is not a {what}'s digest: give at least 8 hexadecimal digits")))
}

/// The snapshot that a task names.
pub(super) fn snapshot_of(payload: &Value) -> StoreResult<Uuid> {
    let snapshot = payload["snapshot"]["id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
    snapshot.ok_or_else(|| StoreError::unreadable("task", &"it names no snapshot"))
}

/// The output of a `find_lr` job.
fn curve(result: &v1::FindLrResult) -> Value {
    let points = result.points.iter().map(|point| json!([point.rate, point.loss, point.smooth_loss]));
    let suggestions =
        result.suggestions.iter().map(|one| json!({"method": one.method, "rate": one.rate, "reason": one.reason}));
    json!({
        "suggestions": suggestions.collect::<Vec<_>>(), "error": result.error,
        "curve": {"columns": ["rate", "loss", "smooth_loss"], "points": points.collect::<Vec<_>>()},
    })
}

/// Stores the model and returns its error rate, and whether there was no such model before. Two runs may come to the very same package; the first one keeps the row.
pub(super) async fn insert_model(
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
