//! Fencing: whoever does something to a task shows the lease it was given, and does it only while that is current.

use serde_json::Value;
use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::leases::columns;
use super::{Store, StoreError, StoreResult, Tx};

/// A task whose attempt is open, whose row is locked and whose lease was found current.
#[derive(Debug)]
pub(super) struct Held {
    pub lease: Lease,
    pub job_id: Uuid,
    pub kind: String,
    pub payload: Value,
    pub ordinal: i32,
    pub units: i64,
    pub attempts_left: u32,
    pub policy: Value,
}

/// What an attempt was asked.
#[derive(Debug)]
pub(super) struct Stop {
    /// Why it shall stop, if it shall.
    pub reason: Option<String>,
    /// The same for people; empty where it is not to stop.
    pub detail: String,
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
        "select t.job_id, t.payload, t.ordinal, t.attempt, t.max_attempts, t.units, j.kind, j.policy
        from tasks t
        join attempts a on a.task_id = t.id and a.number = t.attempt
        join jobs j on j.id = t.job_id
        where t.id = $1 and t.attempt = $2 and a.lease_token = $3 and a.ended_at is null
            and t.state in ('leased', 'running')
        for update of t",
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
        units: row.units,
        attempts_left: (row.max_attempts - row.attempt).max(0) as u32,
        policy: row.policy,
    })
}

/// What a held attempt was asked, which nobody asks it any more from now on: whoever does so commits before or waits. (What
/// [`hold`] reads besides the task may be from before it had to wait for it.)
pub(super) async fn stop_of(tx: &mut Tx, lease: &Lease) -> StoreResult<Stop> {
    let stop = sqlx::query_as!(
        Stop,
        "select stop_reason as reason, stop_detail as detail from attempts
        where task_id = $1 and number = $2 for no key update",
        lease.task_id,
        lease.attempt as i32,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(stop)
}

/// Checks that a lease is current, sharing the task's row with other readers: for what leaves the task as it is.
pub(super) async fn check(tx: &mut Tx, lease: &Lease) -> StoreResult<Uuid> {
    let job_id = sqlx::query_scalar!(
        "select t.job_id from tasks t join attempts a on a.task_id = t.id and a.number = t.attempt
        where t.id = $1 and t.attempt = $2 and a.lease_token = $3 and a.ended_at is null
            and t.state in ('leased', 'running')
        for share of t",
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
        Ok(held) => {
            Err(ApiError::invalid(format!("a task of kind {} does not end with a result of kind {kind}", held.kind))
                .into())
        }
        Err(lost) => match ended_as(tx, lease).await?.as_deref() {
            Some("succeeded") => Ok(None),
            _ => Err(lost),
        },
    }
}

/// The state in which the attempt of a lease is.
pub(super) async fn ended_as(tx: &mut Tx, lease: &Lease) -> StoreResult<Option<String>> {
    let state = sqlx::query_scalar!(
        "select state from attempts where task_id = $1 and number = $2 and lease_token = $3",
        lease.task_id,
        lease.attempt as i32,
        lease.token,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(state)
}

impl Store {
    /// Notes that workers whose leases were taken back came back all the same. They may have uploaded until now.
    pub(crate) async fn mark_fenced(&self, leases: &[Lease]) -> StoreResult<()> {
        let (tasks, attempts, tokens) = columns(leases);
        sqlx::query!(
            "with back as materialized (
                select a.task_id, a.number
                from unnest($1::uuid[], $2::integer[], $3::uuid[]) as l (id, attempt, token)
                join attempts a on a.task_id = l.id and a.number = l.attempt and a.lease_token = l.token
                where a.state = 'lost' and a.fenced_at is null
                for update of a skip locked
            ),
            fenced as (
                update attempts a set fenced_at = now(), cleaned_at = null
                from back b where a.task_id = b.task_id and a.number = b.number
                returning a.task_id, a.number
            )
            insert into attempts_to_clean (task_id, attempt) select task_id, number from fenced
            on conflict (task_id, attempt) do update set since = excluded.since",
            &tasks,
            &attempts,
            &tokens,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
