//! Jobs as whoever asks sees them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use ursa_domain::JobKind;
use ursa_domain::lifecycle::job::JobState;
use ursa_proto::ApiError;
use uuid::Uuid;

use super::super::{EventSubject, Store, StoreResult};

/// A stored job.
#[derive(Debug, Clone)]
pub(crate) struct JobRow {
    /// Its id.
    pub id: Uuid,
    /// Its pipeline.
    pub pipeline_id: Uuid,
    /// Whose it is.
    pub project: String,
    /// Its name within the pipeline.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its own priority.
    pub priority: i32,
    /// The higher one of a job that waits for it.
    pub inherited_priority: Option<i32>,
    /// What that job is called.
    pub inherited_from: Option<String>,
    /// Its state.
    pub state: String,
    /// The job whose output it took over.
    pub cached_from: Option<Uuid>,
    /// Why it failed.
    pub error: String,
    /// What it left behind.
    pub output: Value,
    /// The jobs it waits for.
    pub depends_on: Vec<Uuid>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it was planned, or its present round began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// When this was so, by the database's clock as the others.
    pub read_at: DateTime<Utc>,
    /// Units done over all tasks.
    pub done: i64,
    /// Those of them that were done when its present round began.
    pub done_before: i64,
    /// Units in all over all tasks.
    pub total: i64,
    /// What is counted.
    pub unit: String,
    /// What is going on.
    pub message: String,
    /// Tasks in all.
    pub task_count: i32,
    /// Tasks that have not ended.
    pub open_tasks: i32,
    /// Tasks at work.
    pub held_tasks: i64,
    /// Tasks out of attempts.
    pub dead_tasks: i64,
    /// Tasks that failed otherwise.
    pub failed_tasks: i64,
    /// Tasks that were cancelled.
    pub cancelled_tasks: i64,
}

/// How far a running job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobProgress {
    /// The job.
    pub job_id: Uuid,
    /// Its pipeline.
    pub pipeline_id: Uuid,
    /// Units done over all tasks.
    pub done: i64,
    /// Units in all over all tasks.
    pub total: i64,
    /// What is counted.
    pub unit: String,
    /// What is going on.
    pub message: String,
}

/// Which jobs are wanted; `None` is any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct JobQuery<'a> {
    /// These.
    pub ids: Option<&'a [Uuid]>,
    /// Of these pipelines.
    pub pipelines: Option<&'a [Uuid]>,
    /// In this state.
    pub state: Option<JobState>,
    /// Of this project.
    pub project: Option<&'a str>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// Older than this one.
    pub before: Option<Uuid>,
}

impl JobRow {
    /// The priority it is worked on with.
    pub(crate) fn effective_priority(&self) -> i32 {
        self.inherited_priority.map_or(self.priority, |inherited| inherited.max(self.priority))
    }

    /// Tasks that have not ended and that nobody is at work on.
    pub(crate) fn idle_tasks(&self) -> i64 {
        i64::from(self.open_tasks) - self.held_tasks
    }
}

impl Store {
    /// One job, with its specification and policy.
    pub(crate) async fn job(&self, id: Uuid) -> StoreResult<(JobRow, Value, Value)> {
        let query = JobQuery { ids: Some(&[id]), ..JobQuery::default() };
        let row = self.jobs(&query, 1).await?.pop().ok_or_else(|| ApiError::not_found("job", id))?;
        let rest = sqlx::query!("select spec, policy from jobs where id = $1", id).fetch_one(&self.pool).await?;
        Ok((row, rest.spec, rest.policy))
    }

    /// The jobs of some pipelines, in the order of their specifications.
    pub(in crate::store) async fn jobs_of_pipelines(&self, pipelines: &[Uuid]) -> StoreResult<Vec<JobRow>> {
        let query = JobQuery { pipelines: Some(pipelines), ..JobQuery::default() };
        let mut jobs = self.jobs(&query, i64::MAX).await?;
        jobs.reverse();
        Ok(jobs)
    }

    /// Jobs, newest first.
    pub(crate) async fn jobs(&self, query: &JobQuery<'_>, limit: i64) -> StoreResult<Vec<JobRow>> {
        let rows = sqlx::query_file_as!(
            JobRow,
            "src/store/sql/select_jobs.sql",
            query.ids,
            query.pipelines,
            query.state.map(JobState::as_str),
            query.project,
            query.kind.map(JobKind::as_str),
            query.before,
            limit,
        )
        .fetch_all(&self.lists)
        .await?;
        Ok(rows)
    }

    /// How far the running jobs of `subject` are.
    pub(crate) async fn progress(&self, subject: EventSubject) -> StoreResult<Vec<JobProgress>> {
        let (pipeline, job) = match subject {
            EventSubject::All => (None, None),
            EventSubject::Pipeline(id) => (Some(id), None),
            EventSubject::Job(id) => (None, Some(id)),
        };
        let rows = sqlx::query_file_as!(JobProgress, "src/store/sql/progress.sql", pipeline, job)
            .fetch_all(&self.lists)
            .await?;
        Ok(rows)
    }

    /// Whether every job of `subject` has ended; false for [`EventSubject::All`].
    pub(crate) async fn has_ended(&self, subject: EventSubject) -> StoreResult<bool> {
        let (pipeline, job) = match subject {
            EventSubject::All => return Ok(false),
            EventSubject::Pipeline(id) => (Some(id), None),
            EventSubject::Job(id) => (None, Some(id)),
        };
        let open = sqlx::query_scalar!(
            r#"select exists (select from jobs where state in ('waiting', 'running', 'cancelling')
                and ($1::uuid is null or pipeline_id = $1) and ($2::uuid is null or id = $2)) as "open!""#,
            pipeline,
            job,
        )
        .fetch_one(&self.lists)
        .await?;
        Ok(!open)
    }

    /// The jobs of some tasks.
    pub(crate) async fn jobs_of_tasks(&self, tasks: &[Uuid]) -> StoreResult<Vec<(Uuid, Uuid)>> {
        let rows =
            sqlx::query!("select id, job_id from tasks where id = any ($1)", tasks).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (row.job_id, row.id)).collect())
    }
}
