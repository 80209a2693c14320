//! Jobs: their life cycle in the database. `ursa_domain::lifecycle::job` decides; the writes here repeat its guard.
//!
//! - here: a job that is locked, and moved.
//! - `list`: jobs as whoever asks sees them.
//! - `waiting`: those that have not begun, and when they may.
//! - `priority`: how urgent they are, by themselves and because of others.
//! - `ending`: cancelled, out of time, settled.
//! - `again`: another round.

mod again;
mod ending;
mod list;
mod priority;
mod waiting;

use serde_json::Value;
use ursa_domain::lifecycle::job::{self, JobEvent, JobState};
use ursa_domain::policy::JobPolicy;
use ursa_domain::{JobKind, JobSpec};
use uuid::Uuid;

use super::events::{NewEvent, Of};
use super::{StoreError, StoreResult, Topic, Tx, ensure_rows, word};

pub(super) use ending::{cancel_tasks, count_ended};
pub(crate) use list::{JobProgress, JobQuery, JobRow};
pub(super) use waiting::{Feeding, readiness_of, release_waiting};

/// A job whose row is locked by the present transaction.
#[derive(Debug)]
pub(super) struct LockedJob {
    pub id: Uuid,
    pub pipeline_id: Uuid,
    pub project: String,
    pub name: String,
    pub kind: JobKind,
    pub state: JobState,
    /// Its own, or that of a more urgent job that waits for it.
    pub priority: i32,
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
        r#"select pipeline_id, project, name, kind, state, greatest(priority, inherited_priority) as "priority!", reuse,
            error, open_tasks, task_count, counts_apart(task_count) as "counts_apart!", spec, policy
        from jobs where id = $1 and not retired for no key update"#,
        id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let open_tasks = if row.counts_apart { take_up_tally(tx, id).await? } else { row.open_tasks };
    Ok(Some(LockedJob {
        id,
        pipeline_id: row.pipeline_id,
        project: row.project,
        name: row.name,
        kind: word("job kind", &row.kind)?,
        state: word("job state", &row.state)?,
        priority: row.priority,
        reuse: row.reuse,
        error: row.error,
        open_tasks,
        task_count: row.task_count,
        spec: row.spec,
        policy: row.policy,
    }))
}

/// Has the row of a locked job say how many of its tasks are open, which is counted apart while many end; returns it.
async fn take_up_tally(tx: &mut Tx, id: Uuid) -> StoreResult<i32> {
    Ok(sqlx::query_scalar!(r#"select take_up_tally($1) as "open!""#, id).fetch_one(&mut **tx).await?)
}

/// The same for whoever may end it or have it begin anew, which changes what others of its pipeline inherit.
pub(super) async fn lock_to_move(tx: &mut Tx, id: Uuid) -> StoreResult<Option<LockedJob>> {
    lock_pipeline_of(tx, id).await?;
    lock(tx, id).await
}

/// Has jobs of a pipeline end, begin anew and be given priorities one after the other. This lock is the first to take:
/// whoever has it goes on to lock several jobs.
async fn lock_pipeline_of(tx: &mut Tx, job_id: Uuid) -> StoreResult<()> {
    sqlx::query!(
        r#"select count(*) as "locked!" from (
            select pg_advisory_xact_lock(hashtextextended(pipeline_id::text, 2)) from jobs where id = $1
        ) l"#,
        job_id,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(())
}

/// Moves a locked job by `event` and returns the state it is in then, and the event to record. Whoever looks after jobs is
/// woken, unless it runs now: then its tasks are what there is to do. What it lent to others ends with it.
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
            units_done_before = case when $3 = 'running' then units_done else units_done_before end,
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
    if after.is_terminal() {
        priority::inherit(tx, job.pipeline_id).await?;
    }
    if after != JobState::Running {
        tx.hint(Topic::Jobs);
    }
    Ok((after, moved(job.id, &job.name, after, error)))
}

/// The event that a job has moved.
pub(super) fn moved(job_id: Uuid, name: &str, after: JobState, error: &str) -> NewEvent {
    let message = if error.is_empty() { format!("{name} is {after}") } else { format!("{name} is {after}: {error}") };
    NewEvent { job_id, of: Of::Job, kind: event_kind(after), message }
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

/// The output of the job called `name` in the same pipeline as `job_id`; where that did not succeed, how it stands and why.
pub(super) async fn output_of(tx: &mut Tx, job_id: Uuid, name: &str) -> StoreResult<Result<Value, String>> {
    let row = sqlx::query!(
        "select state, error, output from jobs
        where pipeline_id = (select pipeline_id from jobs where id = $1) and name = $2",
        job_id,
        name,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(match word::<JobState>("job state", &row.state)? {
        JobState::Succeeded => Ok(row.output),
        state if row.error.is_empty() => Err(format!("it is {state}")),
        state => Err(format!("it is {state}: {}", row.error)),
    })
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
