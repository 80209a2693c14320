//! Tasks, attempts and leases. `ursa_domain::lifecycle::task` decides; lease times are the database's clock.

use std::time::Duration;

use serde_json::Value;
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::retry::Backoff;
use ursa_domain::{ErrorClass, JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode, v1};
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::{Store, StoreError, StoreResult, Topic, Tx, ensure_rows, hint, word};

/// A task that was just leased.
#[derive(Debug, Clone)]
pub(crate) struct ClaimedTask {
    /// The right to work on it.
    pub lease: Lease,
    /// Its job.
    pub job_id: Uuid,
    /// Its kind.
    pub kind: JobKind,
    /// What planning wrote for whoever works on it.
    pub payload: Value,
}

/// What a worker says of an attempt it works on.
#[derive(Debug, Clone, Default)]
pub(crate) struct TaskReport {
    /// Its leases, side by side with the columns below.
    pub leases: Vec<Lease>,
    /// Progress of each.
    pub progress: Vec<v1::Progress>,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseStatus {
    /// The work goes on.
    Current,
    /// Still held, but its job shall stop.
    Cancelling,
    /// Not current any more.
    Lost,
}

/// See [`Store::renew`] and [`Store::look_at_leases`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckedLease {
    /// The lease presented.
    pub lease: Lease,
    /// How it stands.
    pub status: LeaseStatus,
}

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

/// How each of `leases` stands, given (token, whether the job is cancelling) of those that are current. By token, because
/// a report may list two attempts of one task, of which one is lost.
fn checked(leases: &[Lease], current: &[(Uuid, bool)]) -> Vec<CheckedLease> {
    let status = |lease: &Lease| match current.iter().find(|(token, _)| *token == lease.token) {
        None => LeaseStatus::Lost,
        Some((_, true)) => LeaseStatus::Cancelling,
        Some((_, false)) => LeaseStatus::Current,
    };
    leases.iter().map(|lease| CheckedLease { lease: *lease, status: status(lease) }).collect()
}

impl Store {
    /// Leases up to `limit` ready tasks of `kinds` to a worker for `ttl`; a train task only if it works on no other. Never
    /// waits for another coordinator's claim.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn claim(
        &self,
        worker: Uuid,
        kinds: &[JobKind],
        limit: u32,
        ttl: Duration,
    ) -> StoreResult<Vec<ClaimedTask>> {
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        let mut tx = self.begin().await?;
        let rows = sqlx::query_file!("src/store/sql/claim.sql", worker, &kinds, i64::from(limit), ttl.as_secs_f64(),)
            .fetch_all(&mut *tx)
            .await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut claimed = Vec::with_capacity(rows.len());
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let lease = Lease { task_id: row.id, attempt: row.attempt as u32, token: row.lease_token };
            let message = format!("task {} was leased to {}, attempt {}", row.ordinal, row.worker_name, row.attempt);
            events.push(NewEvent {
                job_id: row.job_id,
                task: Some((row.id, lease.attempt)),
                kind: "task.leased",
                message,
            });
            let kind = word("job kind", &row.kind)?;
            claimed.push(ClaimedTask { lease, job_id: row.job_id, kind, payload: row.payload });
        }
        record(&mut tx, &events).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    /// Renews the leases a worker still works on and stores their progress, in one statement.
    pub(crate) async fn renew(&self, report: &TaskReport, ttl: Duration) -> StoreResult<Vec<CheckedLease>> {
        if report.leases.is_empty() {
            return Ok(Vec::new());
        }
        let column = |pick: fn(&v1::Progress) -> i64| report.progress.iter().map(pick).collect::<Vec<i64>>();
        let text =
            |pick: fn(&v1::Progress) -> &String| report.progress.iter().map(pick).cloned().collect::<Vec<String>>();
        let rows = sqlx::query_file!(
            "src/store/sql/renew.sql",
            &report.leases.iter().map(|lease| lease.task_id).collect::<Vec<_>>(),
            &report.leases.iter().map(|lease| lease.attempt as i32).collect::<Vec<_>>(),
            &report.leases.iter().map(|lease| lease.token).collect::<Vec<_>>(),
            &column(|progress| progress.done as i64),
            &column(|progress| progress.total as i64),
            &text(|progress| &progress.unit),
            &text(|progress| &progress.message),
            ttl.as_secs_f64(),
        )
        .fetch_all(&self.pool)
        .await?;
        let found: Vec<_> = rows.iter().map(|row| (row.lease_token, row.cancelling)).collect();
        Ok(checked(&report.leases, &found))
    }

    /// How leases stand, without renewing any.
    pub(crate) async fn look_at_leases(&self, leases: &[Lease]) -> StoreResult<Vec<CheckedLease>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let rows = sqlx::query!(
            r#"select t.lease_token as "token!", j.state = 'cancelling' as "cancelling!"
            from unnest($1::uuid[], $2::int[], $3::uuid[]) as l (id, attempt, token)
            join tasks t on t.id = l.id and t.attempt = l.attempt and t.lease_token = l.token and t.state = 'leased'
            join jobs j on j.id = t.job_id"#,
            &leases.iter().map(|lease| lease.task_id).collect::<Vec<_>>(),
            &leases.iter().map(|lease| lease.attempt as i32).collect::<Vec<_>>(),
            &leases.iter().map(|lease| lease.token).collect::<Vec<_>>(),
        )
        .fetch_all(&self.pool)
        .await?;
        let found: Vec<_> = rows.iter().map(|row| (row.token, row.cancelling)).collect();
        Ok(checked(leases, &found))
    }

    /// How many tasks a worker holds leases of.
    pub(crate) async fn leased_by(&self, worker: Uuid) -> StoreResult<u32> {
        let count = sqlx::query_scalar!(
            r#"select count(*) as "count!" from tasks where worker_id = $1 and state = 'leased'"#,
            worker
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(count as u32)
    }

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

    /// Takes back leases that ran out; returns how many. Each in its own transaction, so that one bad row holds up nothing:
    /// what goes wrong with it is logged, and only an outage ends the sweep.
    pub(crate) async fn expire_leases(&self, jitter: impl Fn() -> f64) -> StoreResult<u32> {
        let mut expired = 0;
        let candidates = sqlx::query!(
            r#"select t.id, t.attempt, t.lease_token as "token!", w.name from tasks t join workers w on w.id = t.worker_id
            where t.state = 'leased' and t.lease_expires_at < now() order by t.lease_expires_at limit 1000"#,
        )
        .fetch_all(&self.pool)
        .await?;
        for row in candidates {
            let lease = Lease { task_id: row.id, attempt: row.attempt as u32, token: row.token };
            match self.expire(&lease, &row.name, jitter()).await {
                Ok(taken) => expired += u32::from(taken),
                Err(error) if error.is_outage() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, task = %lease.task_id, "could not take back a lease that ran out");
                }
            }
        }
        Ok(expired)
    }

    async fn expire(&self, lease: &Lease, worker: &str, jitter: f64) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let still_expired = sqlx::query_scalar!(
            "select id from tasks where id = $1 and lease_token = $2 and lease_expires_at < now() for update skip locked",
            lease.task_id,
            lease.token,
        )
        .fetch_optional(&mut *tx)
        .await?;
        if still_expired.is_none() {
            return Ok(false);
        }
        let held = hold(&mut tx, lease).await?;
        let message = format!("worker {worker} was lost: it did not report in time");
        let failure = Failure { class: ErrorClass::Infrastructure, message: &message, lost: true, jitter };
        fail(&mut tx, &held, &failure).await?;
        tx.commit().await?;
        Ok(true)
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
