//! Pipelines: submitted whole or not at all.

use chrono::{DateTime, Utc};
use ursa_domain::pipeline::PipelineSpec;
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::jobs::JobRow;
use super::{Store, StoreError, StoreResult, Topic, Tx, hint};

/// A pipeline that was checked and is to be stored.
#[derive(Debug)]
pub(crate) struct Submission<'a> {
    /// What to run.
    pub pipeline: &'a PipelineSpec,
    /// The caller's key, if any.
    pub idempotency_key: Option<&'a str>,
    /// SHA-256 of the request: tells a repetition from a conflict.
    pub fingerprint: [u8; 32],
}

/// A stored pipeline.
#[derive(Debug, Clone)]
pub(crate) struct PipelineRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
}

impl Store {
    /// Stores a pipeline, or finds the one an earlier request with the same key made. Returns its id and whether it existed.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn submit(&self, submission: &Submission<'_>) -> StoreResult<(Uuid, bool)> {
        let mut tx = self.begin().await?;
        let id = Uuid::now_v7();
        let inserted = sqlx::query!(
            "insert into pipelines (id, name, idempotency_key, fingerprint) values ($1, $2, $3, $4)
            on conflict (idempotency_key) do nothing",
            id,
            submission.pipeline.name,
            submission.idempotency_key,
            &submission.fingerprint[..],
        )
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok((existing(&mut tx, submission).await?, true));
        }
        insert_jobs(&mut tx, id, submission.pipeline).await?;
        tx.commit().await?;
        Ok((id, false))
    }

    /// One pipeline with its jobs.
    pub(crate) async fn pipeline(&self, id: Uuid) -> StoreResult<(PipelineRow, Vec<JobRow>)> {
        let row = sqlx::query_as!(PipelineRow, "select id, name, created_at from pipelines where id = $1", id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| ApiError::not_found("pipeline", id))?;
        Ok((row, self.jobs_of_pipelines(&[id]).await?))
    }

    /// Pipelines older than `before`, newest first, with their jobs.
    pub(crate) async fn pipelines(
        &self,
        before: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<(PipelineRow, Vec<JobRow>)>> {
        let rows = sqlx::query_as!(
            PipelineRow,
            "select id, name, created_at from pipelines where $1::uuid is null or id < $1 order by id desc limit $2",
            before,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let mut jobs = self.jobs_of_pipelines(&ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let (mine, rest) = std::mem::take(&mut jobs).into_iter().partition(|job| job.pipeline_id == row.id);
                jobs = rest;
                (row, mine)
            })
            .collect())
    }
}

async fn existing(tx: &mut Tx, submission: &Submission<'_>) -> StoreResult<Uuid> {
    let row =
        sqlx::query!("select id, fingerprint from pipelines where idempotency_key = $1", submission.idempotency_key)
            .fetch_one(&mut **tx)
            .await?;
    if row.fingerprint == submission.fingerprint {
        return Ok(row.id);
    }
    let key = submission.idempotency_key.unwrap_or_default();
    Err(StoreError::Api(ApiError::new(
        ErrorCode::IdempotencyConflict,
        format!("the idempotency key {key:?} was used for another request (pipeline {}): use a new key", row.id),
    )))
}

async fn insert_jobs(tx: &mut Tx, pipeline_id: Uuid, pipeline: &PipelineSpec) -> StoreResult<()> {
    let ids: Vec<Uuid> = pipeline.jobs.iter().map(|_| Uuid::now_v7()).collect();
    let mut events = Vec::new();
    for (ordinal, (job, id)) in pipeline.jobs.iter().zip(&ids).enumerate() {
        sqlx::query!(
            "insert into jobs (id, pipeline_id, ordinal, name, kind, spec, max_attempts) values ($1, $2, $3, $4, $5, $6, $7)",
            id,
            pipeline_id,
            ordinal as i32,
            job.name,
            job.spec.kind().as_str(),
            serde_json::to_value(&job.spec).map_err(|error| StoreError::unreadable("job specification", &error))?,
            job.max_attempts as i32,
        )
        .execute(&mut **tx)
        .await?;
        events.push(NewEvent {
            job_id: *id,
            task: None,
            kind: "job.waiting",
            message: format!("{} was submitted", job.name),
        });
    }
    for (job, id) in pipeline.jobs.iter().zip(&ids) {
        for dependency in job.dependencies() {
            let depends_on =
                pipeline.jobs.iter().zip(&ids).find(|(other, _)| other.name == dependency).map(|(_, id)| id);
            sqlx::query!("insert into job_dependencies (job_id, depends_on) values ($1, $2)", id, depends_on)
                .execute(&mut **tx)
                .await?;
        }
    }
    hint(tx, Topic::Jobs).await?;
    record(tx, &events).await
}
