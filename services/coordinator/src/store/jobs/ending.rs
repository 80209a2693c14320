//! How jobs end: cancelled, out of time, or settled when their tasks have ended.

use ursa_domain::JobKind;
use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState, Readiness, TaskCounts};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_proto::ApiError;
use uuid::Uuid;

use super::super::events::record;
use super::super::planning::search::came_to_nothing;
use super::super::planning::{has_more, note_brought_in};
use super::super::{Store, StoreError, StoreResult, Topic, Tx, word};
use super::waiting::{Feeding, readiness_of, release_waiting};
use super::{LockedJob, lock, lock_pipeline_of, lock_to_move, transition};

impl Store {
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
            match self.expire_job(*id).await {
                Err(error) if error.is_outage() => return Err(error),
                // The others end all the same.
                Err(error) => tracing::error!(%error, job = %id, "a job that is out of time could not be stopped"),
                Ok(()) => {}
            }
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

    /// Ids of running and cancelling jobs without an open task: by their rows, or by what is counted apart.
    pub(crate) async fn jobs_to_settle(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_scalar!(
            r#"select id as "id!" from jobs
            where state in ('running', 'cancelling') and has_open_tasks is not true and open_tasks = 0
            union
            select j.id from jobs j cross join lateral tally_of(j.id) y
            where j.state in ('running', 'cancelling') and counts_apart(j.task_count) and y.tasks = j.open_tasks
            order by 1 limit 1000"#,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids)
    }

    /// Ends a job whose tasks have all ended. False when that is not so (any more), or more may still come.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn settle_job(&self, id: Uuid) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let Some(job) = lock_to_move(&mut tx, id).await? else { return Ok(false) };
        let Some(event) = end_of(&mut tx, &job).await? else {
            // Its row may have been made to say that no task is open, for whoever looks for more to do.
            tx.commit().await?;
            return Ok(false);
        };
        let error = match event {
            JobEvent::Finish(JobOutcome::Failed) if job.error.is_empty() => first_error(&mut tx, &job).await?,
            JobEvent::Finish(JobOutcome::Failed) => job.error.clone(),
            _ => String::new(),
        };
        if event == JobEvent::Finish(JobOutcome::Succeeded) {
            note_brought_in(&mut tx, &job, &self.code).await?;
        }
        let (_, event) = transition(&mut tx, &job, event, &error).await?;
        record(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// How a job ends that has no open task; `None` where it does not.
async fn end_of(tx: &mut Tx, job: &LockedJob) -> StoreResult<Option<JobEvent>> {
    if job.open_tasks > 0 {
        return Ok(None);
    }
    let event = match job.state {
        JobState::Running => match readiness_of(tx, job, Feeding::Over).await? {
            Readiness::Wait => return Ok(None),
            Readiness::Skip => JobEvent::Skip,
            Readiness::Start if has_more(tx, job).await? => return Ok(None),
            Readiness::Start => JobEvent::Finish(outcome(tx, job).await?),
        },
        JobState::Cancelling if job.error.is_empty() => JobEvent::Finish(JobOutcome::Cancelled),
        JobState::Cancelling => JobEvent::Finish(JobOutcome::Failed),
        _ => return Ok(None),
    };
    Ok(Some(event))
}

/// As [`lock_to_move`], for whoever will ask for its attempts back. Those who end an attempt lock its task before its job,
/// so here the tasks come first, too.
async fn lock_to_stop(tx: &mut Tx, id: Uuid) -> StoreResult<Option<LockedJob>> {
    lock_pipeline_of(tx, id).await?;
    sqlx::query!("select from tasks where job_id = $1 and state in ('leased', 'running') order by id for update", id)
        .execute(&mut **tx)
        .await?;
    lock(tx, id).await
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
pub(in crate::store) async fn cancel_tasks(tx: &mut Tx, job_id: Uuid, detail: &str) -> StoreResult<i32> {
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

/// Takes ended tasks off a job's count, lets the next ones begin, and has the job looked at when it was the last.
pub(in crate::store) async fn count_ended(tx: &mut Tx, job_id: Uuid, tasks: i32, units: i64) -> StoreResult<()> {
    let job = sqlx::query!(
        r#"select count_ended(id, $2, $3) as "open_tasks!", parallelism, kind from jobs where id = $1"#,
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
    let outcome = job::outcome(counts, job.policy()?.min_success_ratio).ok_or_else(open)?;
    let came_to_nothing = outcome == JobOutcome::Succeeded && came_to_nothing(tx, job).await?.is_some();
    Ok(if came_to_nothing { JobOutcome::Failed } else { outcome })
}

async fn first_error(tx: &mut Tx, job: &LockedJob) -> StoreResult<String> {
    let error = sqlx::query_scalar!(
        "select a.error from tasks t join attempts a on a.task_id = t.id and a.number = t.attempt
        where t.job_id = $1 and t.state in ('failed', 'dead') order by t.ordinal limit 1",
        job.id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(error) = error {
        return Ok(error);
    }
    let nobody = || "a task was ready for longer than the job allows, and no worker took it".to_owned();
    Ok(came_to_nothing(tx, job).await?.unwrap_or_else(nobody))
}
