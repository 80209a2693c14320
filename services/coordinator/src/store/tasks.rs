//! How attempts end. `ursa_domain::lifecycle::task` decides, and `fencing` who may end them.

use std::time::Duration;

use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::policy::JobPolicy;
use ursa_domain::{ErrorClass, JobKind, Lease};
use ursa_proto::v1::{self, StopStage};
use uuid::Uuid;

use super::cleaning::have_cleaned;
use super::events::{NewEvent, Of, record};
use super::fencing::{Held, Stop, ended_as, hold, stop_of};
use super::jobs::{self, cancel_tasks, count_ended};
use super::{Store, StoreError, StoreResult, Topic, Tx, ensure_rows, runs};

/// Why the others of a gang stop.
const GANG_STOPPED: &str = "another worker of the gang stopped";
/// Why what is left of a gang is not tried again.
const GANG_FAILED: &str = "another worker of the gang failed for good";

/// Ends a held attempt well. The caller has written the effects in the same transaction.
pub(super) async fn succeed(tx: &mut Tx, held: &Held, message: String) -> StoreResult<()> {
    succeed_with(tx, held, None, message).await
}

/// As [`succeed`]; what tells of an effect comes before the end, after which nothing happens to a task.
pub(super) async fn succeed_with(
    tx: &mut Tx,
    held: &Held,
    effect: Option<(&'static str, String)>,
    message: String,
) -> StoreResult<()> {
    let after = task::next(TaskState::Running, TaskEvent::Complete)?;
    end_attempt(tx, held, "succeeded", None, "", StopStage::Unspecified).await?;
    release(tx, held, after).await?;
    count_ended(tx, held.job_id, 1, held.units).await?;
    let effect = effect.map(|(kind, message)| event(held, kind, message));
    let events: Vec<_> = effect.into_iter().chain([event(held, "task.succeeded", message)]).collect();
    record(tx, &events).await
}

/// How an attempt ended badly.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    class: ErrorClass,
    message: &'a str,
    /// Its worker did not say so itself.
    lost: bool,
    /// How far an order to stop it came, as its worker says.
    stage: StopStage,
    /// Uniform in [0, 1): spreads the retries.
    jitter: f64,
}

impl<'a> Failure<'a> {
    pub(super) fn lost(message: &'a str, jitter: f64) -> Self {
        Self { class: ErrorClass::Infrastructure, message, lost: true, stage: StopStage::Unspecified, jitter }
    }

    /// What it counts as: whoever was asked to stop did so for that reason, whatever it says.
    fn class(&self, stop: &Stop) -> ErrorClass {
        match stop.reason.as_deref() {
            Some("cancelled") => ErrorClass::Cancelled,
            Some("deadline") => ErrorClass::Deadline,
            Some("preempted") => ErrorClass::Returned,
            _ => self.class,
        }
    }
}

/// Ends a held attempt badly: ready again, at once or after a wait, or for good.
pub(super) async fn end_badly(tx: &mut Tx, held: &Held, failure: &Failure<'_>) -> StoreResult<()> {
    let policy: JobPolicy =
        serde_json::from_value(held.policy.clone()).map_err(|error| StoreError::unreadable("job policy", &error))?;
    let in_gang = policy.workers > 1;
    if in_gang {
        // Two of a gang that end at once would each wait for the other's attempt; and how one ends, the other's end may decide.
        jobs::lock(tx, held.job_id).await?;
    }
    let stop = stop_of(tx, &held.lease).await?;
    let class = failure.class(&stop);
    let after = task::next(TaskState::Running, TaskEvent::Fail { class, attempts_left: held.attempts_left })?;
    let wait = match after {
        TaskState::RetryWait => policy.backoff.delay(attempts_used(held, &policy), failure.jitter),
        _ => Duration::ZERO,
    };
    let message = describe(&stop, failure);
    let state = attempt_state(class, failure.lost);
    end_attempt(tx, held, state, Some(class), &message, failure.stage).await?;
    // Of a kind that only a later version knows, nothing is known.
    if held.kind.parse::<JobKind>().ok().is_none_or(JobKind::uploads) {
        have_cleaned(tx, &held.lease).await?;
    }
    if after.is_terminal() {
        release(tx, held, after).await?;
    } else {
        requeue(tx, held, after, wait).await?;
    }
    if !class.uses_up_an_attempt() {
        allow_another_attempt(tx, held.lease.task_id).await?;
    }
    if after.is_terminal() {
        let others = if in_gang { cancel_tasks(tx, held.job_id, GANG_FAILED).await? } else { 0 };
        count_ended(tx, held.job_id, 1 + others, 0).await?;
    } else if in_gang {
        return_gang(tx, held).await?;
    }
    let (kind, text) = describe_end(held, after, wait, &message);
    record(tx, &[event(held, kind, text)]).await
}

/// How many attempts have counted in this round: those that were given back did not.
fn attempts_used(held: &Held, policy: &JobPolicy) -> u32 {
    policy.max_attempts.saturating_sub(held.attempts_left).max(1)
}

fn attempt_state(class: ErrorClass, lost: bool) -> &'static str {
    match class {
        _ if lost => "lost",
        ErrorClass::Cancelled => "cancelled",
        ErrorClass::Returned => "returned",
        _ => "failed",
    }
}

fn describe(stop: &Stop, failure: &Failure<'_>) -> String {
    match (stop.detail.as_str(), failure.message) {
        ("", message) => message.to_owned(),
        (detail, "") => detail.to_owned(),
        (detail, message) => format!("{detail}: {message}"),
    }
}

fn describe_end(held: &Held, after: TaskState, wait: Duration, message: &str) -> (&'static str, String) {
    let what = format!("attempt {} of task {}", held.lease.attempt, held.ordinal);
    match after {
        TaskState::RetryWait => {
            let (left, wait) = (held.attempts_left, wait.as_secs_f64());
            ("task.retry", format!("{what}: {message}; again in {wait:.1} s, {left} attempts left"))
        }
        TaskState::Ready => ("task.returned", format!("{what} was given back: {message}")),
        TaskState::Cancelled => ("task.cancelled", format!("{what} was cancelled")),
        TaskState::Dead => ("task.dead", format!("{what}: {message}; no attempt is left")),
        _ => ("task.failed", format!("{what}: {message}")),
    }
}

fn event(held: &Held, kind: &'static str, message: String) -> NewEvent {
    NewEvent { job_id: held.job_id, of: Of::Task(held.lease.task_id, held.lease.attempt), kind, message }
}

/// The stage of stopping counts as in a report, of which none that comes later is heard.
async fn end_attempt(
    tx: &mut Tx,
    held: &Held,
    state: &str,
    class: Option<ErrorClass>,
    error: &str,
    stop: StopStage,
) -> StoreResult<()> {
    let result = sqlx::query!(
        "update attempts set
            state = $4, error_class = $5, error = $6, ended_at = now(),
            stop_acknowledged_at = case
                when $7::integer >= 1 then coalesce(stop_acknowledged_at, now()) else stop_acknowledged_at
            end,
            stop_forced_at = case
                when $7::integer >= 2 then coalesce(stop_forced_at, now()) else stop_forced_at
            end
        where task_id = $1 and number = $2 and lease_token = $3 and ended_at is null",
        held.lease.task_id,
        held.lease.attempt as i32,
        held.lease.token,
        state,
        class.map(ErrorClass::as_str),
        error,
        i32::from(stop),
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("attempt", &result, 1)
}

async fn release(tx: &mut Tx, held: &Held, after: TaskState) -> StoreResult<()> {
    let result = sqlx::query!(
        "update tasks set state = $3, ready_at = now()
        where id = $1 and attempt = $2 and state in ('leased', 'running')",
        held.lease.task_id,
        held.lease.attempt as i32,
        after.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("task", &result, 1)?;
    tx.hint(Topic::Tasks);
    Ok(())
}

/// Has the task of a held attempt wait for another one, as urgently as its job is by now: whoever changes that moves what is
/// queued, and waits for those who are about to queue something. However long it waits, what was done so far is not given up.
async fn requeue(tx: &mut Tx, held: &Held, after: TaskState, wait: Duration) -> StoreResult<()> {
    let result = sqlx::query!(
        "with job as materialized (
            select greatest(priority, inherited_priority) as priority from jobs where id = $5 for share
        )
        update tasks set
            state = $3, ready_at = now() + make_interval(secs => $4), lane_id = lane_at(lane_id, job.priority),
            waits_since = 'infinity'
        from job
        where id = $1 and attempt = $2 and state in ('leased', 'running')",
        held.lease.task_id,
        held.lease.attempt as i32,
        after.as_str(),
        wait.as_secs_f64(),
        held.job_id,
    )
    .execute(&mut **tx)
    .await?;
    ensure_rows("task", &result, 1)?;
    tx.hint(Topic::Tasks);
    Ok(())
}

async fn allow_another_attempt(tx: &mut Tx, task_id: Uuid) -> StoreResult<()> {
    sqlx::query!("update tasks set max_attempts = max_attempts + 1 where id = $1", task_id).execute(&mut **tx).await?;
    Ok(())
}

/// Asks for the others of a gang back, which can do nothing without the one that stopped: they begin again together.
async fn return_gang(tx: &mut Tx, held: &Held) -> StoreResult<()> {
    sqlx::query!(
        "update attempts set stop_reason = 'preempted', stop_asked_at = now(), stop_detail = $3
        where job_id = $1 and task_id <> $2 and ended_at is null and stop_reason is null",
        held.job_id,
        held.lease.task_id,
        GANG_STOPPED,
    )
    .execute(&mut **tx)
    .await?;
    tx.hint(Topic::Stops);
    Ok(())
}

/// Of a train job that has no model: how a run with one went says more.
async fn store_findings(tx: &mut Tx, held: &Held, findings: &[v1::Finding]) -> StoreResult<()> {
    if findings.is_empty() || held.kind != JobKind::Train.as_str() {
        return Ok(());
    }
    let before = jobs::lock_output(tx, held.job_id).await?;
    jobs::set_output(tx, held.job_id, &runs::with_failed_run(before, findings)).await
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
        self.fail_run(lease, class, message, &[], StopStage::Unspecified, jitter).await
    }

    /// As [`Self::fail_task`]; what was wrong with the run becomes part of its job's output, and how far an order to stop it
    /// came is noted.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn fail_run(
        &self,
        lease: &Lease,
        class: ErrorClass,
        message: &str,
        findings: &[v1::Finding],
        stage: StopStage,
        jitter: f64,
    ) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        match hold(&mut tx, lease).await {
            Ok(held) => {
                store_findings(&mut tx, &held, findings).await?;
                end_badly(&mut tx, &held, &Failure { class, message, lost: false, stage, jitter }).await?;
            }
            Err(lost) => {
                return match ended_as(&mut tx, lease).await?.as_deref() {
                    // The answer to the first request was lost on its way.
                    Some("failed" | "cancelled" | "returned") => Ok(()),
                    _ => Err(lost),
                };
            }
        }
        tx.commit().await
    }

    /// Makes tasks ready whose wait is over; returns how many.
    pub(crate) async fn wake_tasks(&self) -> StoreResult<u64> {
        task::next(TaskState::RetryWait, TaskEvent::Wake)?;
        let mut tx = self.begin().await?;
        let woken = sqlx::query!(
            "update tasks set state = 'ready', ready_at = now() where id in (
                select id from tasks where state = 'retry_wait' and ready_at <= now()
                order by ready_at limit 10000 for update skip locked)",
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if woken > 0 {
            tx.hint(Topic::Tasks);
            tx.commit().await?;
        }
        Ok(woken)
    }

    /// Ends ready tasks that nobody took for longer than their jobs allow; returns how many. One that was begun before waits on.
    ///
    /// The rest of a gang is cancelled with its member.
    pub(crate) async fn expire_tasks(&self) -> StoreResult<usize> {
        let after = task::next(TaskState::Ready, TaskEvent::Expire)?;
        let mut tx = self.begin().await?;
        // A job comes before what it has queued.
        let late = sqlx::query_scalar!(
            "select j.id from jobs j
            where j.state = 'running' and j.queue_wait is not null and exists (
                select from tasks t where t.job_id = j.id and t.state = 'ready'
                    and coalesce(t.waits_since, t.ready_at) + j.queue_wait < now())
            order by j.id limit 100 for no key update of j",
        )
        .fetch_all(&mut *tx)
        .await?;
        if late.is_empty() {
            return Ok(0);
        }
        let expired = sqlx::query!(
            r#"update tasks t set state = $1 from (
                select t.id, t.job_id, coalesce((j.policy ->> 'workers')::integer, 1) > 1 as in_gang
                from jobs j join tasks t on t.job_id = j.id
                where j.id = any ($2) and j.state = 'running' and t.state = 'ready'
                    and coalesce(t.waits_since, t.ready_at) + j.queue_wait < now()
                order by t.id limit 1000 for update of t skip locked) e
            where t.id = e.id and t.state = 'ready'
            returning t.id, t.job_id, t.ordinal, t.attempt, e.in_gang as "in_gang!""#,
            after.as_str(),
            &late,
        )
        .fetch_all(&mut *tx)
        .await?;
        if expired.is_empty() {
            return Ok(0);
        }
        let mut jobs: Vec<(Uuid, bool)> = expired.iter().map(|row| (row.job_id, row.in_gang)).collect();
        jobs.sort_unstable();
        for job in jobs.chunk_by(|a, b| a == b) {
            let (id, in_gang) = job[0];
            let others = if in_gang { cancel_tasks(&mut tx, id, GANG_FAILED).await? } else { 0 };
            count_ended(&mut tx, id, job.len() as i32 + others, 0).await?;
        }
        let events: Vec<_> = expired
            .iter()
            .map(|row| NewEvent {
                job_id: row.job_id,
                of: Of::Task(row.id, row.attempt as u32),
                kind: "task.failed",
                message: format!(
                    "task {} was ready for longer than the job allows, and no worker took it",
                    row.ordinal
                ),
            })
            .collect();
        record(&mut tx, &events).await?;
        tx.commit().await?;
        Ok(expired.len())
    }
}
