//! Jobs: their life cycle in the database. `ursa_domain::lifecycle::job` decides; the writes here repeat its guard.

use chrono::{DateTime, Utc};
use serde_json::Value;
use ursa_domain::JobSpec;
use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState, Readiness};
use ursa_domain::lifecycle::task::TaskState;
use ursa_proto::ApiError;
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::{EventSubject, Store, StoreError, StoreResult, Topic, Tx, ensure_rows, hint, word};

/// A stored job.
#[derive(Debug, Clone)]
pub(crate) struct JobRow {
    /// Its id.
    pub id: Uuid,
    /// Its pipeline.
    pub pipeline_id: Uuid,
    /// Its name within the pipeline.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its state.
    pub state: String,
    /// Why it failed.
    pub error: String,
    /// What it left behind.
    pub output: Value,
    /// The jobs it waits for.
    pub depends_on: Vec<Uuid>,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// When it was planned.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Units done over all tasks.
    pub done: i64,
    /// Units in all over all tasks.
    pub total: i64,
    /// What is counted.
    pub unit: String,
    /// What is going on.
    pub message: String,
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

/// A job whose row is locked by the present transaction.
#[derive(Debug)]
pub(super) struct LockedJob {
    pub id: Uuid,
    pub name: String,
    pub state: JobState,
    pub max_attempts: i32,
    spec: Value,
}

impl LockedJob {
    pub(super) fn spec(&self) -> StoreResult<JobSpec> {
        serde_json::from_value(self.spec.clone()).map_err(|error| StoreError::unreadable("job specification", &error))
    }
}

/// Locks a job; `None` when it does not exist. Leaves alone who only refers to it: a claim holds a task, which a
/// cancellation waits for, when its event's foreign key looks at the job.
pub(super) async fn lock(tx: &mut Tx, id: Uuid) -> StoreResult<Option<LockedJob>> {
    let row = sqlx::query!("select name, state, max_attempts, spec from jobs where id = $1 for no key update", id)
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| {
        let state = word("job state", &row.state)?;
        Ok(LockedJob { id, name: row.name, state, max_attempts: row.max_attempts, spec: row.spec })
    })
    .transpose()
}

/// Moves a locked job by `event` and returns the state it is in then, and the event to record.
pub(super) async fn transition(
    tx: &mut Tx,
    job: &LockedJob,
    event: JobEvent,
    error: &str,
) -> StoreResult<(JobState, NewEvent)> {
    let after = job::next(job.state, event)?;
    let result = sqlx::query!(
        "update jobs set state = $3, error = $4,
            started_at = case when $3 = 'running' then now() when $3 = 'waiting' then null else started_at end,
            finished_at = case when $5 then now() end
        where id = $1 and state = $2",
        job.id,
        job.state.as_str(),
        after.as_str(),
        error,
        after.is_terminal(),
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("job", &result, 1)?;
    hint(tx, Topic::Jobs).await?;
    let message =
        if error.is_empty() { format!("{} is {after}", job.name) } else { format!("{} is {after}: {error}", job.name) };
    Ok((after, NewEvent { job_id: job.id, task: None, kind: event_kind(after), message }))
}

fn event_kind(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "job.waiting",
        JobState::Running => "job.running",
        JobState::Cancelling => "job.cancelling",
        JobState::Succeeded => "job.succeeded",
        JobState::Failed => "job.failed",
        JobState::Cancelled => "job.cancelled",
        JobState::Skipped => "job.skipped",
    }
}

impl Store {
    /// One job.
    pub(crate) async fn job(&self, id: Uuid) -> StoreResult<(JobRow, Value)> {
        let row = self.select_jobs(Some(&[id]), None, None, None, 1).await?.pop();
        let row = row.ok_or_else(|| ApiError::not_found("job", id))?;
        let spec = sqlx::query_scalar!("select spec from jobs where id = $1", id).fetch_one(&self.pool).await?;
        Ok((row, spec))
    }

    /// Jobs older than `before`, newest first.
    pub(crate) async fn jobs(
        &self,
        pipeline: Option<Uuid>,
        state: Option<JobState>,
        before: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<JobRow>> {
        let pipelines = pipeline.map(|id| [id]);
        self.select_jobs(None, pipelines.as_ref().map(<[_; 1]>::as_slice), state, before, limit).await
    }

    /// The jobs of some pipelines, in the order of their specifications.
    pub(super) async fn jobs_of_pipelines(&self, pipelines: &[Uuid]) -> StoreResult<Vec<JobRow>> {
        let mut jobs = self.select_jobs(None, Some(pipelines), None, None, i64::MAX).await?;
        jobs.reverse();
        Ok(jobs)
    }

    async fn select_jobs(
        &self,
        ids: Option<&[Uuid]>,
        pipelines: Option<&[Uuid]>,
        state: Option<JobState>,
        before: Option<Uuid>,
        limit: i64,
    ) -> StoreResult<Vec<JobRow>> {
        let rows = sqlx::query_file_as!(
            JobRow,
            "src/store/sql/select_jobs.sql",
            ids,
            pipelines,
            state.map(JobState::as_str),
            before,
            limit,
        )
        .fetch_all(&self.pool)
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
            .fetch_all(&self.pool)
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
        .fetch_one(&self.pool)
        .await?;
        Ok(!open)
    }

    /// Asks a job to stop: ready tasks are cancelled at once, workers hear of the leased ones.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn cancel_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job = lock(&mut tx, id).await?.ok_or_else(|| ApiError::not_found("job", id))?;
        let (_, event) = transition(&mut tx, &job, JobEvent::Cancel, "").await?;
        cancel_ready_tasks(&mut tx, id).await?;
        hint(&mut tx, Topic::Tasks).await?;
        record(&mut tx, &[event]).await?;
        Ok(tx.commit().await?)
    }

    /// Gives an ended job, and what was skipped because of it, another round.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn retry_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job = lock(&mut tx, id).await?.ok_or_else(|| ApiError::not_found("job", id))?;
        let (_, event) = transition(&mut tx, &job, JobEvent::Retry, "").await?;
        let mut events = vec![event];
        sqlx::query!(
            "update tasks set state = 'ready', ready_at = now(), max_attempts = attempt + $2
            where job_id = $1 and state in ('failed', 'cancelled')",
            id,
            job.max_attempts,
        )
        .execute(&mut *tx)
        .await?;
        for skipped in skipped_because_of(&mut tx, id).await? {
            if let Some(job) = lock(&mut tx, skipped).await?.filter(|job| job.state == JobState::Skipped) {
                events.push(transition(&mut tx, &job, JobEvent::Retry, "").await?.1);
            }
        }
        record(&mut tx, &events).await?;
        Ok(tx.commit().await?)
    }

    /// Ids of waiting jobs none of whose dependencies is still open.
    pub(crate) async fn waiting_jobs(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_scalar!(
            "select id from jobs j where state = 'waiting' and not exists (
                select from job_dependencies d join jobs o on o.id = d.depends_on
                where d.job_id = j.id and o.state in ('waiting', 'running', 'cancelling'))
            order by id",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids)
    }

    /// Ids of running and cancelling jobs without an open task.
    pub(crate) async fn jobs_to_settle(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_scalar!(
            "select id from jobs j where state in ('running', 'cancelling') and not exists (
                select from tasks t where t.job_id = j.id
                and (t.state = 'leased' or (t.state = 'ready' and j.state = 'running')))
            order by id",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids)
    }

    /// Ends a job whose tasks have all ended. Does nothing when that is not so (any more).
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn settle_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(job) = lock(&mut tx, id).await? else { return Ok(()) };
        if !matches!(job.state, JobState::Running | JobState::Cancelling) {
            return Ok(());
        }
        if job.state == JobState::Cancelling {
            // An attempt that failed while the request to stop came in may have left its task ready.
            cancel_ready_tasks(&mut tx, id).await?;
        }
        let Some(outcome) = outcome(&mut tx, id).await? else { return Ok(()) };
        let error = if outcome == JobOutcome::Failed { first_error(&mut tx, id).await? } else { String::new() };
        let (_, event) = transition(&mut tx, &job, JobEvent::Finish(outcome), &error).await?;
        record(&mut tx, &[event]).await?;
        Ok(tx.commit().await?)
    }
}

async fn cancel_ready_tasks(tx: &mut Tx, job_id: Uuid) -> StoreResult<()> {
    sqlx::query!("update tasks set state = 'cancelled' where job_id = $1 and state = 'ready'", job_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn outcome(tx: &mut Tx, job_id: Uuid) -> StoreResult<Option<JobOutcome>> {
    let rows =
        sqlx::query!(r#"select state, count(*) as "count!" from tasks where job_id = $1 group by state"#, job_id)
            .fetch_all(&mut **tx)
            .await?;
    let counts = rows
        .into_iter()
        .map(|row| Ok((word::<TaskState>("task state", &row.state)?, row.count as u64)))
        .collect::<StoreResult<Vec<_>>>()?;
    Ok(job::outcome(counts))
}

async fn first_error(tx: &mut Tx, job_id: Uuid) -> StoreResult<String> {
    let error = sqlx::query_scalar!(
        "select a.error from tasks t join attempts a on a.task_id = t.id and a.number = t.attempt
        where t.job_id = $1 and t.state = 'failed' order by t.ordinal limit 1",
        job_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(error.unwrap_or_default())
}

/// Every job that waits, directly or not, for `id`.
async fn skipped_because_of(tx: &mut Tx, id: Uuid) -> StoreResult<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        r#"with recursive later as (
            select job_id from job_dependencies where depends_on = $1
            union select d.job_id from job_dependencies d join later on d.depends_on = later.job_id
        ) select job_id as "id!" from later order by 1"#,
        id,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids)
}

/// What a waiting job may do, given the jobs it depends on.
pub(super) async fn readiness(tx: &mut Tx, job_id: Uuid) -> StoreResult<Readiness> {
    let states = sqlx::query_scalar!(
        "select o.state from job_dependencies d join jobs o on o.id = d.depends_on where d.job_id = $1",
        job_id,
    )
    .fetch_all(&mut **tx)
    .await?;
    let states = states.iter().map(|state| word("job state", state)).collect::<StoreResult<Vec<JobState>>>()?;
    Ok(job::readiness(&states))
}

/// The output of the job called `name` in the same pipeline as `job_id`.
pub(super) async fn output_of(tx: &mut Tx, job_id: Uuid, name: &str) -> StoreResult<Value> {
    let output = sqlx::query_scalar!(
        "select o.output from jobs j join jobs o on o.pipeline_id = j.pipeline_id where j.id = $1 and o.name = $2",
        job_id,
        name,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(output)
}

/// Stores what a job left behind.
pub(super) async fn set_output(tx: &mut Tx, job_id: Uuid, output: &Value) -> StoreResult<()> {
    let result = sqlx::query!("update jobs set output = $2 where id = $1", job_id, output).execute(&mut **tx).await?;
    ensure_rows("job", &result, 1)
}
