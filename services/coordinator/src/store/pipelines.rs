//! Pipelines: submitted whole or not at all.

use chrono::{DateTime, Utc};
use ursa_domain::pipeline::PipelineSpec;
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::jobs::{JobRow, lock};
use super::planning::start;
use super::projects::ensure_project;
use super::{Store, StoreError, StoreResult, Topic, Tx};

/// A pipeline that was checked and is to be stored.
#[derive(Debug)]
pub(crate) struct Submission<'a> {
    /// What to run.
    pub pipeline: &'a PipelineSpec,
    /// The caller's key, if any.
    pub idempotency_key: Option<&'a str>,
    /// The pipeline that this one runs again.
    pub rerun_of: Option<Uuid>,
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
    /// Whose it is.
    pub project: String,
    /// The pipeline that it runs again.
    pub rerun_of: Option<Uuid>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
}

impl Store {
    /// Stores a pipeline, or finds the one an earlier request with the same key made. Returns its id and whether it existed.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn submit(&self, submission: &Submission<'_>) -> StoreResult<(Uuid, bool)> {
        let mut tx = self.begin().await?;
        let submitted = submit(&mut tx, submission).await?;
        tx.commit().await?;
        Ok(submitted)
    }

    /// A pipeline as it was specified.
    pub(crate) async fn pipeline_spec(&self, id: Uuid) -> StoreResult<PipelineSpec> {
        let spec = sqlx::query_scalar!("select spec from pipelines where id = $1", id)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| ApiError::not_found("pipeline", id))?;
        serde_json::from_value(spec).map_err(|error| StoreError::unreadable("pipeline specification", &error))
    }

    /// One pipeline with its jobs.
    pub(crate) async fn pipeline(&self, id: Uuid) -> StoreResult<(PipelineRow, Vec<JobRow>)> {
        let row = sqlx::query_as!(
            PipelineRow,
            "select id, name, project, rerun_of, created_at from pipelines where id = $1",
            id
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| ApiError::not_found("pipeline", id))?;
        Ok((row, self.jobs_of_pipelines(&[id]).await?))
    }

    /// Pipelines older than `before`, newest first, with their jobs.
    pub(crate) async fn pipelines(
        &self,
        project: Option<&str>,
        before: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<(PipelineRow, Vec<JobRow>)>> {
        let rows = sqlx::query_as!(
            PipelineRow,
            "select id, name, project, rerun_of, created_at from pipelines
            where ($1::uuid is null or id < $1) and ($3::text is null or project = $3) order by id desc limit $2",
            before,
            limit,
            project,
        )
        .fetch_all(&self.lists)
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

/// Stores a pipeline as part of a transaction; see [`Store::submit`].
pub(super) async fn submit(tx: &mut Tx, submission: &Submission<'_>) -> StoreResult<(Uuid, bool)> {
    let id = Uuid::now_v7();
    let spec = serde_json::to_value(submission.pipeline)
        .map_err(|error| StoreError::unreadable("pipeline specification", &error))?;
    ensure_project(tx, &submission.pipeline.project).await?;
    let inserted = sqlx::query!(
        "insert into pipelines (id, name, project, idempotency_key, fingerprint, spec, rerun_of)
        values ($1, $2, $3, $4, $5, $6, $7) on conflict (project, idempotency_key) do nothing",
        id,
        submission.pipeline.name,
        submission.pipeline.project,
        submission.idempotency_key,
        &submission.fingerprint[..],
        spec,
        submission.rerun_of,
    )
    .execute(&mut **tx)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok((existing(tx, submission).await?, true));
    }
    let (mut events, first) = insert_jobs(tx, id, submission.pipeline).await?;
    events.extend(start_first(tx, &first).await?);
    tx.hint(Topic::Jobs);
    record(tx, &events).await?;
    Ok((id, false))
}

async fn existing(tx: &mut Tx, submission: &Submission<'_>) -> StoreResult<Uuid> {
    let row = sqlx::query!(
        "select id, fingerprint from pipelines where project = $1 and idempotency_key = $2",
        submission.pipeline.project,
        submission.idempotency_key,
    )
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

/// Starts the jobs that wait for no other, so that nothing has to look for them.
async fn start_first(tx: &mut Tx, first: &[Uuid]) -> StoreResult<Vec<NewEvent>> {
    let mut events = Vec::with_capacity(first.len());
    for id in first {
        if let Some(job) = lock(tx, *id).await? {
            events.push(start(tx, &job).await?);
        }
    }
    Ok(events)
}

/// Stores a pipeline's jobs; their events, and those of them that wait for no other.
async fn insert_jobs(
    tx: &mut Tx,
    pipeline_id: Uuid,
    pipeline: &PipelineSpec,
) -> StoreResult<(Vec<NewEvent>, Vec<Uuid>)> {
    let ids: Vec<Uuid> = pipeline.jobs.iter().map(|_| Uuid::now_v7()).collect();
    let mut events = Vec::new();
    for (ordinal, (job, id)) in pipeline.jobs.iter().zip(&ids).enumerate() {
        let json = |what, value: serde_json::Result<_>| value.map_err(|error| StoreError::unreadable(what, &error));
        let deadlines = &job.policy.deadlines;
        sqlx::query!(
            "insert into jobs (id, pipeline_id, project, ordinal, name, kind, spec, policy, priority, reuse, parallelism,
                queue_wait, run_deadline, no_progress, expires_at)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, make_interval(secs => $12), make_interval(secs => $13),
                make_interval(secs => $14), now() + make_interval(secs => $15))",
            id,
            pipeline_id,
            pipeline.project,
            ordinal as i32,
            job.name,
            job.spec.kind().as_str(),
            json("job specification", serde_json::to_value(&job.spec))?,
            json("job policy", serde_json::to_value(&job.policy))?,
            job.policy.priority,
            pipeline.reuse,
            job.policy.parallelism.map(|parallelism| parallelism as i32),
            deadlines.queue_wait.map(|deadline| deadline.as_secs_f64()),
            deadlines.run.map(|deadline| deadline.as_secs_f64()),
            deadlines.no_progress.map(|deadline| deadline.as_secs_f64()),
            deadlines.total.map(|deadline| deadline.as_secs_f64()),
        )
        .execute(&mut **tx)
        .await?;
        let message = format!("{} was submitted", job.name);
        events.push(NewEvent { job_id: *id, task: None, kind: "job.waiting", message });
    }
    let mut first = Vec::new();
    for (job, id) in pipeline.jobs.iter().zip(&ids) {
        let dependencies = job.dependencies();
        if dependencies.is_empty() {
            first.push(*id);
        }
        for dependency in dependencies {
            let depends_on =
                pipeline.jobs.iter().zip(&ids).find(|(other, _)| other.name == dependency).map(|(_, id)| id);
            sqlx::query!("insert into job_dependencies (job_id, depends_on) values ($1, $2)", id, depends_on)
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok((events, first))
}
