//! Another round for what has ended.

use ursa_domain::lifecycle::job::{JobEvent, JobState};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_proto::ApiError;
use uuid::Uuid;

use super::super::events::{NewEvent, record};
use super::super::{Store, StoreResult, Tx};
use super::priority::inherit;
use super::waiting::release_waiting;
use super::{LockedJob, lock, lock_to_move, transition};

impl Store {
    /// Gives an ended job, and what was skipped because of it, another round.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn retry_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let job = lock_to_move(&mut tx, id).await?.ok_or_else(|| ApiError::not_found("job", id))?;
        let (_, event) = transition(&mut tx, &job, JobEvent::Retry, "").await?;
        renew_tasks(&mut tx, &job, None).await?;
        let mut events = vec![event];
        events.extend(have_others_wait(&mut tx, &job).await?);
        record(&mut tx, &events).await?;
        tx.commit().await
    }

    /// Gives ended tasks of one job another round; returns how many. A job that had ended begins anew with them, and what was
    /// skipped because of it waits for it again.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn replay_tasks(&self, job_id: Uuid, tasks: &[Uuid]) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let job = lock_to_move(&mut tx, job_id).await?.ok_or_else(|| ApiError::not_found("job", job_id))?;
        let has_ended = job.state != JobState::Running;
        let mut events = Vec::new();
        if has_ended {
            events.push(transition(&mut tx, &job, JobEvent::Replay, "").await?.1);
        }
        let renewed = renew_tasks(&mut tx, &job, Some(tasks)).await?;
        if renewed < tasks.len() as u64 {
            let message = "only tasks that failed, were cancelled or are dead can be retried";
            return Err(ApiError::new(ursa_proto::ErrorCode::IllegalState, message).into());
        }
        if has_ended {
            events.extend(have_others_wait(&mut tx, &job).await?);
        } else {
            release_waiting(&mut tx, &job.id).await?;
        }
        record(&mut tx, &events).await?;
        tx.commit().await?;
        Ok(renewed)
    }
}

/// Has tasks of an ended job wait for another round: those that did not succeed, or some of them. How urgent the job is may
/// have changed since they ended.
async fn renew_tasks(tx: &mut Tx, job: &LockedJob, which: Option<&[Uuid]>) -> StoreResult<u64> {
    task::next(TaskState::Dead, TaskEvent::Retry)?;
    let policy = job.policy()?;
    let renewed = sqlx::query!(
        "update tasks set
            state = 'waiting', max_attempts = attempt + $2, lane_id = lane_at(lane_id, $4), waits_since = null
        where job_id = $1 and state in ('failed', 'cancelled', 'dead') and ($3::uuid[] is null or id = any ($3))",
        job.id,
        policy.max_attempts as i32,
        which,
        job.priority,
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

/// Has what was skipped because of a job that begins anew wait for it again, and its pipeline inherit by that; returns the
/// events to record. Whoever ran because of how it ended, to raise an alarm or to tidy up, has done so, and is left alone.
async fn have_others_wait(tx: &mut Tx, job: &LockedJob) -> StoreResult<Vec<NewEvent>> {
    let mut events = Vec::new();
    for id in later_than(tx, job.id).await? {
        if let Some(skipped) = lock(tx, id).await?.filter(|later| later.state == JobState::Skipped) {
            events.push(transition(tx, &skipped, JobEvent::Retry, "").await?.1);
            renew_tasks(tx, &skipped, None).await?;
        }
    }
    inherit(tx, job.pipeline_id).await?;
    Ok(events)
}

/// Every job that waits, directly or not, for `id`.
async fn later_than(tx: &mut Tx, id: Uuid) -> StoreResult<Vec<Uuid>> {
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
