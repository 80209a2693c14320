//! Tasks and attempts: how they end, and who may end them. `ursa_domain::lifecycle::task` decides.

use std::time::Duration;

use serde_json::Value;
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::retry::Backoff;
use ursa_domain::{ErrorClass, JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::{Store, StoreError, StoreResult, Topic, Tx, ensure_rows, hint, word};

/// A leased task whose row is locked and whose lease was found current.
#[derive(Debug)]
pub(super) struct Held {
    pub lease: Lease,
    pub job_id: Uuid,
    pub kind: String,
    pub payload: Value,
    attempts_left: u32,
    ordinal: i32,
    job_is_cancelling: bool,
}

fn lease_lost(lease: &Lease) -> StoreError {
    StoreError::Api(ApiError::new(
        ErrorCode::LeaseLost,
        format!("the lease of attempt {} of task {} is not current: drop the work", lease.attempt, lease.task_id),
    ))
}

/// Locks the task of a lease that must be current.
pub(super) async fn hold(tx: &mut Tx, lease: &Lease) -> StoreResult<Held> {
    let row = sqlx::query!(
        "select t.job_id, t.kind, t.payload, t.ordinal, t.attempt, t.max_attempts, j.state as job_state
        from tasks t join jobs j on j.id = t.job_id
        where t.id = $1 and t.attempt = $2 and t.lease_token = $3 and t.state = 'leased' for update of t",
        lease.task_id,
        lease.attempt as i32,
        lease.token,
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| lease_lost(lease))?;
    Ok(Held {
        lease: *lease,
        job_id: row.job_id,
        kind: row.kind,
        payload: row.payload,
        ordinal: row.ordinal,
        attempts_left: (row.max_attempts - row.attempt).max(0) as u32,
        job_is_cancelling: row.job_state == "cancelling",
    })
}

/// Checks that a lease is current, sharing the task's row with other readers: for logs, metrics and checkpoints.
pub(super) async fn check(tx: &mut Tx, lease: &Lease) -> StoreResult<Uuid> {
    let job_id = sqlx::query_scalar!(
        "select job_id from tasks where id = $1 and attempt = $2 and lease_token = $3 and state = 'leased' for share",
        lease.task_id,
        lease.attempt as i32,
        lease.token,
    )
    .fetch_optional(&mut **tx)
    .await?;
    job_id.ok_or_else(|| lease_lost(lease))
}

/// Locks the task of a lease that a `kind` of result is presented for; `None` when the attempt has succeeded already: the
/// answer to the first request was lost on its way.
pub(super) async fn hold_to_complete(tx: &mut Tx, lease: &Lease, kind: JobKind) -> StoreResult<Option<Held>> {
    match hold(tx, lease).await {
        Ok(held) if held.kind == kind.as_str() => Ok(Some(held)),
        Ok(held) => Err(ApiError::invalid(format!("a {kind} result does not end a {} task", held.kind)).into()),
        Err(lost) => {
            if already_ended(tx, lease, "succeeded").await? {
                Ok(None)
            } else {
                Err(lost)
            }
        }
    }
}

async fn already_ended(tx: &mut Tx, lease: &Lease, state: &str) -> StoreResult<bool> {
    let ended = sqlx::query_scalar!(
        r#"select exists (select from attempts where task_id = $1 and number = $2 and lease_token = $3 and state = $4) as "e!""#,
        lease.task_id,
        lease.attempt as i32,
        lease.token,
        state,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(ended)
}

/// Ends a held attempt well. The caller has written the effects in the same transaction.
pub(super) async fn succeed(tx: &mut Tx, held: &Held, message: String) -> StoreResult<()> {
    let after = task::next(TaskState::Leased, TaskEvent::Complete)?;
    end_attempt(tx, held, "succeeded", None, "").await?;
    release(tx, held, after, Duration::ZERO).await?;
    record(tx, &[event(held, "task.succeeded", message)]).await
}

/// How an attempt ended badly.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub class: ErrorClass,
    pub message: &'a str,
    /// The state the attempt's row ends in: `failed`, `lost` or, by class, `cancelled`.
    pub lost: bool,
    /// Uniform in [0, 1): spreads the retries.
    pub jitter: f64,
}

/// Ends a held attempt badly: back to ready after a wait, or for good.
pub(super) async fn fail(tx: &mut Tx, held: &Held, failure: &Failure<'_>) -> StoreResult<()> {
    // Nobody wants another attempt of a job that shall stop.
    let class = if held.job_is_cancelling { ErrorClass::Cancelled } else { failure.class };
    let after = task::next(TaskState::Leased, TaskEvent::Fail { class, attempts_left: held.attempts_left })?;
    let wait = Backoff::default().delay(held.lease.attempt, failure.jitter);
    let ended_as = match class {
        _ if failure.lost => "lost",
        ErrorClass::Cancelled => "cancelled",
        _ => "failed",
    };
    end_attempt(tx, held, ended_as, Some(class), failure.message).await?;
    release(tx, held, after, if after == TaskState::Ready { wait } else { Duration::ZERO }).await?;
    let (kind, message) = describe_failure(held, failure, after, wait);
    record(tx, &[event(held, kind, message)]).await
}

fn describe_failure(held: &Held, failure: &Failure<'_>, after: TaskState, wait: Duration) -> (&'static str, String) {
    let what = format!("attempt {} of task {}", held.lease.attempt, held.ordinal);
    match after {
        TaskState::Ready => {
            let left = held.attempts_left;
            let wait = wait.as_secs_f64();
            ("task.retry", format!("{what}: {}; again in {wait:.1} s, {left} attempts left", failure.message))
        }
        TaskState::Cancelled => ("task.cancelled", format!("{what} was cancelled")),
        _ => ("task.failed", format!("{what}: {}", failure.message)),
    }
}

fn event(held: &Held, kind: &'static str, message: String) -> NewEvent {
    NewEvent { job_id: held.job_id, task: Some((held.lease.task_id, held.lease.attempt)), kind, message }
}

async fn end_attempt(tx: &mut Tx, held: &Held, state: &str, class: Option<ErrorClass>, error: &str) -> StoreResult<()> {
    let result = sqlx::query!(
        "update attempts set state = $4, error_class = $5, error = $6, ended_at = now()
        where task_id = $1 and number = $2 and lease_token = $3 and state = 'running'",
        held.lease.task_id,
        held.lease.attempt as i32,
        held.lease.token,
        state,
        class.map(ErrorClass::as_str),
        error,
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("attempt", &result, 1)
}

async fn release(tx: &mut Tx, held: &Held, after: TaskState, wait: Duration) -> StoreResult<()> {
    let result = sqlx::query!(
        "update tasks set state = $4, lease_token = null, lease_expires_at = null,
            ready_at = now() + make_interval(secs => $5),
            progress_done = case when $4 = 'succeeded' then progress_total when $4 = 'ready' then 0 else progress_done end
        where id = $1 and attempt = $2 and lease_token = $3 and state = 'leased'",
        held.lease.task_id,
        held.lease.attempt as i32,
        held.lease.token,
        after.as_str(),
        wait.as_secs_f64(),
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("task", &result, 1)?;
    hint(tx, if after == TaskState::Ready { Topic::Tasks } else { Topic::Jobs }).await
}

impl Store {
    /// Ends an attempt badly at the word of whoever holds its lease.
    #[tracing::instrument(skip(self, message, jitter), err(level = "debug"))]
    pub(crate) async fn fail_task(
        &self,
        lease: &Lease,
        class: ErrorClass,
        message: &str,
        jitter: f64,
    ) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        match hold(&mut tx, lease).await {
            Ok(held) => fail(&mut tx, &held, &Failure { class, message, lost: false, jitter }).await?,
            Err(lost) => {
                let repeated = already_ended(&mut tx, lease, "failed").await?
                    || already_ended(&mut tx, lease, "cancelled").await?;
                return if repeated { Ok(()) } else { Err(lost) };
            }
        }
        Ok(tx.commit().await?)
    }

    /// The tasks of a job with their attempts, in order.
    pub(crate) async fn tasks(&self, job_id: Uuid) -> StoreResult<Vec<v1::Task>> {
        let tasks = sqlx::query!(
            "select id, ordinal, state, ready_at, progress_done, progress_total, progress_unit, progress_message
            from tasks where job_id = $1 order by ordinal",
            job_id,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut attempts = self.attempts(job_id).await?;
        Ok(tasks
            .into_iter()
            .map(|row| v1::Task {
                id: row.id.to_string(),
                ordinal: row.ordinal as u32,
                state: row.state,
                progress: Some(v1::Progress {
                    done: row.progress_done as u64,
                    total: row.progress_total as u64,
                    unit: row.progress_unit,
                    message: row.progress_message,
                }),
                attempts: attempts.extract_if(.., |(task, _)| *task == row.id).map(|(_, attempt)| attempt).collect(),
                ready_at: Some(ursa_proto::timestamp(row.ready_at)),
            })
            .collect())
    }

    async fn attempts(&self, job_id: Uuid) -> StoreResult<Vec<(Uuid, v1::Attempt)>> {
        let rows = sqlx::query!(
            "select a.task_id, a.number, a.state, a.error_class, a.error, a.started_at, a.ended_at, w.name as worker_name
            from attempts a join tasks t on t.id = a.task_id join workers w on w.id = a.worker_id
            where t.job_id = $1 order by a.task_id, a.number",
            job_id,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let class =
                    row.error_class.as_deref().map(|class| word::<ErrorClass>("error class", class)).transpose()?;
                let attempt = v1::Attempt {
                    number: row.number as u32,
                    state: row.state,
                    worker_name: row.worker_name,
                    error_class: class.map_or(v1::ErrorClass::Unspecified, Into::into).into(),
                    error: row.error,
                    started_at: Some(ursa_proto::timestamp(row.started_at)),
                    ended_at: row.ended_at.map(ursa_proto::timestamp),
                };
                Ok((row.task_id, attempt))
            })
            .collect()
    }
}
