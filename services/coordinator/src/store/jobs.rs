//! Jobs: their life cycle in the database. `ursa_domain::lifecycle::job` decides; the writes here repeat its guard.

use chrono::{DateTime, Utc};
use serde_json::Value;
use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState, Readiness, TaskCounts};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::policy::JobPolicy;
use ursa_domain::{JobKind, JobSpec};
use ursa_proto::ApiError;
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::{EventSubject, Store, StoreError, StoreResult, Topic, Tx, ensure_rows, word};

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
    /// Its priority.
    pub priority: i32,
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

/// A job whose row is locked by the present transaction.
#[derive(Debug)]
pub(super) struct LockedJob {
    pub id: Uuid,
    pub project: String,
    pub name: String,
    pub kind: JobKind,
    pub state: JobState,
    pub reuse: bool,
    /// Why it is stopped, when not by a user's word.
    pub error: String,
    pub open_tasks: i32,
    /// Tasks that it was planned into, in any round.
    pub task_count: i32,
    pub spec: Value,
    pub policy: Value,
}

impl LockedJob {
    pub(super) fn spec(&self) -> StoreResult<JobSpec> {
        serde_json::from_value(self.spec.clone()).map_err(|error| StoreError::unreadable("job specification", &error))
    }

    pub(super) fn policy(&self) -> StoreResult<JobPolicy> {
        serde_json::from_value(self.policy.clone()).map_err(|error| StoreError::unreadable("job policy", &error))
    }
}

/// Locks a job; `None` when it does not exist. Leaves alone who only refers to it: a claim holds a task, which a
/// cancellation waits for, when its event looks at the job.
pub(super) async fn lock(tx: &mut Tx, id: Uuid) -> StoreResult<Option<LockedJob>> {
    let row = sqlx::query!(
        "select project, name, kind, state, reuse, error, open_tasks, task_count, spec, policy from jobs
        where id = $1 and not retired for no key update",
        id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| {
        Ok(LockedJob {
            id,
            project: row.project,
            name: row.name,
            kind: word("job kind", &row.kind)?,
            state: word("job state", &row.state)?,
            reuse: row.reuse,
            error: row.error,
            open_tasks: row.open_tasks,
            task_count: row.task_count,
            spec: row.spec,
            policy: row.policy,
        })
    })
    .transpose()
}

/// The same for whoever will ask for its attempts back. Those who end an attempt lock its task before its job, so here the
/// tasks come first, too.
async fn lock_to_stop(tx: &mut Tx, id: Uuid) -> StoreResult<Option<LockedJob>> {
    sqlx::query!("select from tasks where job_id = $1 and state in ('leased', 'running') order by id for update", id)
        .execute(&mut **tx)
        .await?;
    lock(tx, id).await
}

/// Moves a locked job by `event` and returns the state it is in then, and the event to record. Whoever looks after jobs is
/// woken, unless it runs now: then its tasks are what there is to do.
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
    if after != JobState::Running {
        tx.hint(Topic::Jobs);
    }
    Ok((after, moved(job, after, error)))
}

/// The event that a job has moved.
pub(super) fn moved(job: &LockedJob, after: JobState, error: &str) -> NewEvent {
    let message =
        if error.is_empty() { format!("{} is {after}", job.name) } else { format!("{} is {after}: {error}", job.name) };
    NewEvent { job_id: job.id, task: None, kind: event_kind(after), message }
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

impl Store {
    /// One job, with its specification and policy.
    pub(crate) async fn job(&self, id: Uuid) -> StoreResult<(JobRow, Value, Value)> {
        let query = JobQuery { ids: Some(&[id]), ..JobQuery::default() };
        let row = self.jobs(&query, 1).await?.pop().ok_or_else(|| ApiError::not_found("job", id))?;
        let rest = sqlx::query!("select spec, policy from jobs where id = $1", id).fetch_one(&self.pool).await?;
        Ok((row, rest.spec, rest.policy))
    }

    /// The jobs of some pipelines, in the order of their specifications.
    pub(super) async fn jobs_of_pipelines(&self, pipelines: &[Uuid]) -> StoreResult<Vec<JobRow>> {
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

    /// Asks a job to stop: what nobody works on is cancelled at once, workers hear of the rest.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn cancel_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let mut job = lock_to_stop(&mut tx, id).await?.ok_or_else(|| ApiError::not_found("job", id))?;
        let (state, event) = transition(&mut tx, &job, JobEvent::Cancel, "").await?;
        stop_tasks(&mut tx, &mut job, "the job was cancelled").await?;
        let mut events = vec![event];
        if state == JobState::Cancelling && job.open_tasks == 0 {
            job.state = state;
            events.push(transition(&mut tx, &job, JobEvent::Finish(JobOutcome::Cancelled), "").await?.1);
        }
        record(&mut tx, &events).await?;
        tx.commit().await
    }

    /// Stops jobs that take longer than they may; returns how many.
    pub(crate) async fn expire_jobs(&self) -> StoreResult<usize> {
        let ids = sqlx::query_scalar!(
            "select id from jobs where expires_at < now() and finished_at is null and state in ('waiting', 'running')
            order by expires_at limit 100",
        )
        .fetch_all(&self.pool)
        .await?;
        for id in &ids {
            self.expire_job(*id).await?;
        }
        Ok(ids.len())
    }

    async fn expire_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(mut job) = lock_to_stop(&mut tx, id).await? else { return Ok(()) };
        if !matches!(job.state, JobState::Waiting | JobState::Running) {
            return Ok(());
        }
        let error = "it took longer than the job allows in all";
        let (_, event) = transition(&mut tx, &job, JobEvent::Expire, error).await?;
        stop_tasks(&mut tx, &mut job, error).await?;
        record(&mut tx, &[event]).await?;
        tx.commit().await
    }

    /// Gives an ended job, and what was skipped because of it, another round.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn retry_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job = lock(&mut tx, id).await?.ok_or_else(|| ApiError::not_found("job", id))?;
        let (_, event) = transition(&mut tx, &job, JobEvent::Retry, "").await?;
        let mut events = vec![event];
        renew_tasks(&mut tx, &job, None).await?;
        for skipped in skipped_because_of(&mut tx, id).await? {
            if let Some(job) = lock(&mut tx, skipped).await?.filter(|job| job.state == JobState::Skipped) {
                events.push(transition(&mut tx, &job, JobEvent::Retry, "").await?.1);
                renew_tasks(&mut tx, &job, None).await?;
            }
        }
        record(&mut tx, &events).await?;
        tx.commit().await
    }

    /// Gives ended tasks of one job another round; returns how many.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn replay_tasks(&self, job_id: Uuid, tasks: &[Uuid]) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let job = lock(&mut tx, job_id).await?.ok_or_else(|| ApiError::not_found("job", job_id))?;
        let mut events = Vec::new();
        if job.state != JobState::Running {
            events.push(transition(&mut tx, &job, JobEvent::Replay, "").await?.1);
        }
        let renewed = renew_tasks(&mut tx, &job, Some(tasks)).await?;
        if renewed < tasks.len() as u64 {
            let message = "only tasks that failed, were cancelled or are dead can be retried";
            return Err(ApiError::new(ursa_proto::ErrorCode::IllegalState, message).into());
        }
        if job.state == JobState::Running {
            release_waiting(&mut tx, &job.id).await?;
        }
        record(&mut tx, &events).await?;
        tx.commit().await?;
        Ok(renewed)
    }

    /// The jobs of some tasks.
    pub(crate) async fn jobs_of_tasks(&self, tasks: &[Uuid]) -> StoreResult<Vec<(Uuid, Uuid)>> {
        let rows =
            sqlx::query!("select id, job_id from tasks where id = any ($1)", tasks).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| (row.job_id, row.id)).collect())
    }

    /// Gives what of a job is not leased yet another priority.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn prioritise_job(&self, id: Uuid, priority: i32) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job = lock(&mut tx, id).await?.ok_or_else(|| ApiError::not_found("job", id))?;
        if job.state.is_terminal() {
            return Err(job::next(job.state, JobEvent::Cancel).err().map_or_else(
                || ApiError::new(ursa_proto::ErrorCode::IllegalState, "the job has ended").into(),
                StoreError::from,
            ));
        }
        let policy = JobPolicy { priority, ..job.policy()? };
        let lane = super::lanes::ensure_lane(&mut tx, &job.project, job.kind, &policy).await?;
        let stored = serde_json::to_value(&policy).map_err(|error| StoreError::unreadable("job policy", &error))?;
        sqlx::query!("update jobs set priority = $2, policy = $3 where id = $1", id, priority, stored)
            .execute(&mut *tx)
            .await?;
        sqlx::query!(
            "update tasks set lane_id = $2, ready_at = case when state = 'ready' then now() else ready_at end
            where job_id = $1 and state in ('waiting', 'ready', 'retry_wait')",
            id,
            lane,
        )
        .execute(&mut *tx)
        .await?;
        tx.hint(Topic::Tasks);
        tx.commit().await
    }

    /// Ids of waiting jobs.
    pub(crate) async fn waiting_jobs(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_file_scalar!("src/store/sql/jobs_to_plan.sql").fetch_all(&self.pool).await?;
        Ok(ids)
    }

    /// Ids of running and cancelling jobs without an open task.
    pub(crate) async fn jobs_to_settle(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_scalar!(
            "select id from jobs where state in ('running', 'cancelling') and open_tasks = 0 order by id limit 1000",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids)
    }

    /// Ends a job whose tasks have all ended. False when that is not so (any more), or more may still come.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn settle_job(&self, id: Uuid) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let Some(job) = lock(&mut tx, id).await? else { return Ok(false) };
        if job.open_tasks > 0 {
            return Ok(false);
        }
        let event = match job.state {
            JobState::Running => match readiness_of(&mut tx, &job, Feeding::Over).await? {
                Readiness::Wait => return Ok(false),
                Readiness::Skip => JobEvent::Skip,
                Readiness::Start if super::planning::has_more(&mut tx, &job).await? => return Ok(false),
                Readiness::Start => JobEvent::Finish(outcome(&mut tx, &job).await?),
            },
            JobState::Cancelling if job.error.is_empty() => JobEvent::Finish(JobOutcome::Cancelled),
            JobState::Cancelling => JobEvent::Finish(JobOutcome::Failed),
            _ => return Ok(false),
        };
        let error = match event {
            JobEvent::Finish(JobOutcome::Failed) if job.error.is_empty() => first_error(&mut tx, id).await?,
            JobEvent::Finish(JobOutcome::Failed) => job.error.clone(),
            _ => String::new(),
        };
        let (_, event) = transition(&mut tx, &job, event, &error).await?;
        record(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Cancels what nobody works on, and asks for the rest back.
async fn stop_tasks(tx: &mut Tx, job: &mut LockedJob, detail: &str) -> StoreResult<()> {
    let cancelled = cancel_tasks(tx, job.id, detail).await?;
    sqlx::query!("update jobs set open_tasks = open_tasks - $2 where id = $1", job.id, cancelled)
        .execute(&mut **tx)
        .await?;
    job.open_tasks -= cancelled;
    Ok(())
}

/// Cancels what of a job nobody works on, and asks for the rest back; returns how many tasks ended, which the caller takes
/// off the job's count.
pub(super) async fn cancel_tasks(tx: &mut Tx, job_id: Uuid, detail: &str) -> StoreResult<i32> {
    for state in [TaskState::Waiting, TaskState::Ready, TaskState::RetryWait] {
        task::next(state, TaskEvent::Cancel)?;
    }
    let cancelled = sqlx::query!(
        "update tasks set state = 'cancelled' where job_id = $1 and state in ('waiting', 'ready', 'retry_wait')",
        job_id,
    )
    .execute(&mut **tx)
    .await?
    .rows_affected() as i32;
    sqlx::query!(
        "update attempts set stop_reason = 'cancelled', stop_asked_at = now(), stop_detail = $2
        where job_id = $1 and ended_at is null and stop_reason is distinct from 'cancelled'",
        job_id,
        detail,
    )
    .execute(&mut **tx)
    .await?;
    tx.hint(Topic::Stops);
    tx.hint(Topic::Tasks);
    Ok(cancelled)
}

/// Has tasks of an ended job wait for another round: those that did not succeed, or some of them.
async fn renew_tasks(tx: &mut Tx, job: &LockedJob, which: Option<&[Uuid]>) -> StoreResult<u64> {
    task::next(TaskState::Dead, TaskEvent::Retry)?;
    let policy = job.policy()?;
    let renewed = sqlx::query!(
        "update tasks set state = 'waiting', max_attempts = attempt + $2
        where job_id = $1 and state in ('failed', 'cancelled', 'dead') and ($3::uuid[] is null or id = any ($3))",
        job.id,
        policy.max_attempts as i32,
        which,
    )
    .execute(&mut **tx)
    .await?
    .rows_affected();
    // It has all the time that it had at first.
    sqlx::query!(
        "update jobs set open_tasks = open_tasks + $2, expires_at = now() + make_interval(secs => $3) where id = $1",
        job.id,
        renewed as i32,
        policy.deadlines.total.map(|deadline| deadline.as_secs_f64()),
    )
    .execute(&mut **tx)
    .await?;
    Ok(renewed)
}

/// Takes ended tasks off a job's count, lets the next ones begin, and has the job looked at when it was the last.
pub(super) async fn count_ended(tx: &mut Tx, job_id: Uuid, tasks: i32, units: i64) -> StoreResult<()> {
    let job = sqlx::query!(
        "update jobs set open_tasks = open_tasks - $2, units_done = units_done + $3 where id = $1
        returning open_tasks, parallelism, kind",
        job_id,
        tasks,
        units,
    )
    .fetch_one(&mut **tx)
    .await?;
    if job.parallelism.is_some() && job.open_tasks > 0 {
        release_waiting(tx, &job_id).await?;
    }
    // Whoever is fed by it has something to take up, too.
    if job.open_tasks == 0 || job.kind == JobKind::Scrape.as_str() {
        tx.hint(Topic::Jobs);
    }
    Ok(())
}

/// Makes as many waiting tasks of a job ready as it may have at a time.
pub(super) async fn release_waiting(tx: &mut Tx, job_id: &Uuid) -> StoreResult<()> {
    task::next(TaskState::Waiting, TaskEvent::Release)?;
    sqlx::query!(
        "update tasks set state = 'ready', ready_at = now() where id in (
            select t.id from tasks t where t.job_id = $1 and t.state = 'waiting' order by t.ordinal
            limit (select case when j.parallelism is null then null else greatest(0, j.parallelism - (
                    select count(*) from tasks o where o.job_id = $1
                    and o.state in ('ready', 'leased', 'running', 'retry_wait'))) end
                from jobs j where j.id = $1))",
        job_id,
    )
    .execute(&mut **tx)
    .await?;
    tx.hint(Topic::Tasks);
    Ok(())
}

async fn outcome(tx: &mut Tx, job: &LockedJob) -> StoreResult<JobOutcome> {
    let rows =
        sqlx::query!(r#"select state, count(*) as "count!" from tasks where job_id = $1 group by state"#, job.id)
            .fetch_all(&mut **tx)
            .await?;
    let counts = rows
        .into_iter()
        .map(|row| Ok((word::<TaskState>("task state", &row.state)?, row.count as u64)))
        .collect::<StoreResult<TaskCounts>>()?;
    let open = || StoreError::unreadable("tasks of a job", &"one is open, though none is counted as open");
    job::outcome(counts, job.policy()?.min_success_ratio).ok_or_else(open)
}

async fn first_error(tx: &mut Tx, job_id: Uuid) -> StoreResult<String> {
    let error = sqlx::query_scalar!(
        "select a.error from tasks t join attempts a on a.task_id = t.id and a.number = t.attempt
        where t.job_id = $1 and t.state in ('failed', 'dead') order by t.ordinal limit 1",
        job_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(error.unwrap_or_else(|| "a task was ready for longer than the job allows, and no worker took it".to_owned()))
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

/// Whether what feeds a job counts as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feeding {
    /// It does: may the job begin?
    Begins,
    /// It does not: may the job end?
    Over,
}

/// What a job may do, given the jobs it depends on.
pub(super) async fn readiness_of(tx: &mut Tx, job: &LockedJob, feeding: Feeding) -> StoreResult<Readiness> {
    let rows = sqlx::query!(
        "select o.state, o.kind from job_dependencies d join jobs o on o.id = d.depends_on where d.job_id = $1",
        job.id,
    )
    .fetch_all(&mut **tx)
    .await?;
    if rows.is_empty() {
        return Ok(Readiness::Start);
    }
    let spec = job.spec()?;
    let mut states = Vec::with_capacity(rows.len());
    let mut is_fed = feeding == Feeding::Begins;
    for row in rows {
        is_fed &= spec.is_fed_by(word("job kind", &row.kind)?);
        states.push(word::<JobState>("job state", &row.state)?);
    }
    Ok(job::readiness(job.policy()?.condition, is_fed, &states))
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

/// What a job has left behind so far; nobody else changes it before the transaction ends.
pub(super) async fn lock_output(tx: &mut Tx, job_id: Uuid) -> StoreResult<Value> {
    let output = sqlx::query_scalar!("select output from jobs where id = $1 for no key update", job_id)
        .fetch_one(&mut **tx)
        .await?;
    Ok(output)
}

/// Stores what a job left behind.
pub(super) async fn set_output(tx: &mut Tx, job_id: Uuid, output: &Value) -> StoreResult<()> {
    let result = sqlx::query!("update jobs set output = $2 where id = $1", job_id, output).execute(&mut **tx).await?;
    ensure_rows("job", &result, 1)
}
