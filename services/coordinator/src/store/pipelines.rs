//! Pipelines: submitted whole or not at all.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::pipeline::{JobDefinition, PipelineSpec};
use ursa_domain::policy::{Deadlines, JobPolicy};
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::jobs::{JobRow, LockedJob};
use super::planning::start;
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
    let jobs = NewJobs::of(submission.pipeline)?;
    if !insert(tx, id, submission, &jobs).await? {
        return Ok((existing(tx, submission).await?, true));
    }
    let mut events = jobs.events();
    for job in jobs.first() {
        events.push(start(tx, &job).await?);
    }
    if !jobs.dependencies.is_empty() {
        tx.hint(Topic::Jobs);
    }
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

/// A pipeline's jobs as they are stored, in its order.
struct NewJobs<'a> {
    pipeline: &'a PipelineSpec,
    ids: Vec<Uuid>,
    specs: Vec<Value>,
    policies: Vec<Value>,
    /// Who waits, and for whom.
    dependencies: Vec<(Uuid, Uuid)>,
}

impl<'a> NewJobs<'a> {
    fn of(pipeline: &'a PipelineSpec) -> StoreResult<Self> {
        let ids: Vec<Uuid> = pipeline.jobs.iter().map(|_| Uuid::now_v7()).collect();
        let known: HashMap<&str, Uuid> = pipeline.jobs.iter().map(|job| job.name.as_str()).zip(ids.clone()).collect();
        let waits = |(job, id): (&'a JobDefinition, &Uuid)| {
            let (id, known) = (*id, &known);
            job.dependencies().into_iter().filter_map(move |name| Some((id, *known.get(name)?))).collect::<Vec<_>>()
        };
        Ok(Self {
            dependencies: pipeline.jobs.iter().zip(&ids).flat_map(waits).collect(),
            specs: json("job specification", pipeline.jobs.iter().map(|job| serde_json::to_value(&job.spec)))?,
            policies: json("job policy", pipeline.jobs.iter().map(|job| serde_json::to_value(&job.policy)))?,
            pipeline,
            ids,
        })
    }

    fn events(&self) -> Vec<NewEvent> {
        let submitted = |(job, id): (&JobDefinition, &Uuid)| {
            let message = format!("{} was submitted", job.name);
            NewEvent { job_id: *id, task: None, kind: "job.waiting", message }
        };
        self.pipeline.jobs.iter().zip(&self.ids).map(submitted).collect()
    }

    /// Those that wait for no other: they are started at once, so that nothing has to look for them. Nobody else sees them
    /// before the transaction is committed, which is as good as a lock.
    fn first(&self) -> impl Iterator<Item = LockedJob> {
        let waits = |id: &Uuid| self.dependencies.iter().any(|(waiting, _)| waiting == id);
        let free = self.pipeline.jobs.iter().enumerate().filter(move |(place, _)| !waits(&self.ids[*place]));
        free.map(|(place, job)| LockedJob {
            id: self.ids[place],
            project: self.pipeline.project.clone(),
            name: job.name.clone(),
            kind: job.spec.kind(),
            state: JobState::Waiting,
            reuse: self.pipeline.reuse,
            error: String::new(),
            open_tasks: 0,
            task_count: 0,
            spec: self.specs[place].clone(),
            policy: self.policies[place].clone(),
        })
    }

    /// One value of each job's policy.
    fn each<T>(&self, of: impl Fn(&JobPolicy) -> T) -> Vec<T> {
        self.pipeline.jobs.iter().map(|job| of(&job.policy)).collect()
    }

    fn deadlines(&self, of: impl Fn(&Deadlines) -> Option<Duration>) -> Vec<Option<f64>> {
        self.each(|policy| of(&policy.deadlines).map(|deadline| deadline.as_secs_f64()))
    }
}

fn json(what: &'static str, values: impl Iterator<Item = serde_json::Result<Value>>) -> StoreResult<Vec<Value>> {
    values.collect::<Result<_, _>>().map_err(|error| StoreError::unreadable(what, &error))
}

/// Stores a pipeline with its jobs; `false` when its key is known.
async fn insert(tx: &mut Tx, id: Uuid, submission: &Submission<'_>, jobs: &NewJobs<'_>) -> StoreResult<bool> {
    let pipeline = submission.pipeline;
    let spec =
        serde_json::to_value(pipeline).map_err(|error| StoreError::unreadable("pipeline specification", &error))?;
    let (waiting, awaited): (Vec<Uuid>, Vec<Uuid>) = jobs.dependencies.iter().copied().unzip();
    let made = sqlx::query_file!(
        "src/store/sql/insert_pipeline.sql",
        id,
        pipeline.name,
        pipeline.project,
        submission.idempotency_key,
        &submission.fingerprint[..],
        spec,
        submission.rerun_of,
        &jobs.ids,
        &pipeline.jobs.iter().map(|job| job.name.clone()).collect::<Vec<_>>(),
        &pipeline.jobs.iter().map(|job| job.spec.kind().as_str().to_owned()).collect::<Vec<_>>(),
        &jobs.specs,
        &jobs.policies,
        &jobs.each(|policy| policy.priority),
        &jobs.each(|policy| policy.parallelism.map(|parallelism| parallelism as i32)) as &[Option<i32>],
        &jobs.deadlines(|deadlines| deadlines.queue_wait) as &[Option<f64>],
        &jobs.deadlines(|deadlines| deadlines.run) as &[Option<f64>],
        &jobs.deadlines(|deadlines| deadlines.no_progress) as &[Option<f64>],
        &jobs.deadlines(|deadlines| deadlines.total) as &[Option<f64>],
        pipeline.reuse,
        &waiting,
        &awaited,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(made.is_some())
}
