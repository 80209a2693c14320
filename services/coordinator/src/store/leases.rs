//! Leases: asked back, taken back; a `beat` renews them. A lease is an attempt that has not ended; its times are the
//! database's clock.

use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ursa_domain::Lease;
use uuid::Uuid;

use super::events::{NewEvent, Of, gather, record};
use super::fencing::hold;
use super::tasks::{Failure, end_badly};
use super::{Store, StoreResult, Topic};

/// Columns of leases, as arrays for `unnest`.
pub(super) fn columns(leases: &[Lease]) -> (Vec<Uuid>, Vec<i32>, Vec<Uuid>) {
    (
        leases.iter().map(|lease| lease.task_id).collect(),
        leases.iter().map(|lease| lease.attempt as i32).collect(),
        leases.iter().map(|lease| lease.token).collect(),
    )
}

/// A lease that ran out, or whose worker did not stop.
pub(crate) struct LeaseToTakeBack {
    task_id: Uuid,
    number: i32,
    lease_token: Uuid,
    worker_name: String,
    /// Nobody renewed it; else its worker did not stop.
    silent: bool,
}

impl Store {
    /// Which of these attempts, each with its worker, shall stop and why, without renewing any.
    pub(crate) async fn stops(&self, held: &[(Uuid, Lease)]) -> StoreResult<Vec<(Uuid, Lease, String)>> {
        let (workers, leases): (Vec<Uuid>, Vec<Lease>) = held.iter().copied().unzip();
        let (tasks, attempts, tokens) = columns(&leases);
        let rows = sqlx::query!(
            r#"select h.worker as "worker!", a.task_id, a.number, a.lease_token, a.stop_reason as "reason!"
            from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::uuid[]) as h (worker, task, attempt, token)
            cross join lateral (select * from attempts where task_id = h.task and number = h.attempt limit 1) a
            where a.lease_token = h.token and a.ended_at is null and a.stop_reason is not null"#,
            &workers,
            &tasks,
            &attempts,
            &tokens,
        )
        .fetch_all(&self.pool)
        .await?;
        let lease = |task_id, number: i32, token| Lease { task_id, attempt: number as u32, token };
        Ok(rows
            .into_iter()
            .map(|row| (row.worker, lease(row.task_id, row.number, row.lease_token), row.reason))
            .collect())
    }

    /// All that some workers hold. It goes over what they ended, too, as long as somebody keeps an old transaction open.
    pub(crate) async fn held_by(&self, workers: &[Uuid]) -> StoreResult<Vec<(Uuid, Lease)>> {
        let rows = sqlx::query!(
            r#"select a.worker_id as "worker!", a.task_id as "task!", a.number as "number!", a.lease_token as "token!"
            from unnest($1::uuid[]) as w (id) cross join lateral open_attempts_of(w.id) a"#,
            workers,
        )
        .fetch_all(&self.pool)
        .await?;
        let lease = |task_id, number: i32, token| Lease { task_id, attempt: number as u32, token };
        Ok(rows.into_iter().map(|row| (row.worker, lease(row.task, row.number, row.token))).collect())
    }

    /// Asks for attempts back for the sake of more urgent work. Their tasks are locked first, as by those who end them.
    pub(crate) async fn preempt(&self, attempts: &[(Uuid, u32)]) -> StoreResult<u64> {
        let (tasks, numbers): (Vec<Uuid>, Vec<i32>) =
            attempts.iter().map(|(task, number)| (*task, *number as i32)).unzip();
        let mut tx = self.begin().await?;
        let asked = sqlx::query!(
            "update attempts a
            set stop_reason = 'preempted', stop_asked_at = now(), stop_detail = 'a more urgent job needs the room'
            from (
                select t.id, t.attempt
                from unnest($1::uuid[], $2::integer[]) as o (id, number)
                join tasks t on t.id = o.id and t.attempt = o.number
                order by t.id for update of t) v
            where a.task_id = v.id and a.number = v.attempt and a.ended_at is null and a.stop_reason is null
            returning a.task_id, a.number, a.job_id",
            &tasks,
            &numbers,
        )
        .fetch_all(&mut *tx)
        .await?;
        let event = |task: Uuid, number: i32, job_id: Uuid| NewEvent {
            job_id,
            of: Of::Task(task, number as u32),
            kind: "task.preempted",
            message: "asked to make room for a more urgent job; it goes on from its checkpoint".into(),
        };
        let events: Vec<_> = asked.iter().map(|row| event(row.task_id, row.number, row.job_id)).collect();
        tx.hint(Topic::Stops);
        record(&mut tx, &events).await?;
        tx.commit().await?;
        Ok(asked.len() as u64)
    }

    /// Leases that ran out, and those whose worker was asked to stop longer than `grace` ago; none unless it is now that all is
    /// `well`.
    pub(crate) async fn leases_to_take_back(
        &self,
        grace: Duration,
        well: &Range<DateTime<Utc>>,
    ) -> StoreResult<Vec<LeaseToTakeBack>> {
        let leases = sqlx::query_as!(
            LeaseToTakeBack,
            r#"select task_id, number, lease_token, worker_name, expires_at < now() as "silent!" from attempts
            where ended_at is null
                and (expires_at < now() or stop_asked_at < now() - make_interval(secs => $1))
                and now() >= $2 and now() < $3
            order by expires_at limit 1000"#,
            grace.as_secs_f64(),
            well.start,
            well.end,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(leases)
    }

    /// Leases that ran out of workers that no coordinator has heard of since `silence`, but not for longer ago than its end;
    /// none unless it is now that all is `well`.
    pub(crate) async fn leases_of_silent(
        &self,
        silence: Range<Duration>,
        well: &Range<DateTime<Utc>>,
    ) -> StoreResult<Vec<LeaseToTakeBack>> {
        let leases = sqlx::query_as!(
            LeaseToTakeBack,
            r#"select a.task_id as "task_id!", a.number as "number!", a.lease_token as "lease_token!",
                a.worker_name as "worker_name!", true as "silent!"
            from (
                select id from workers
                where last_seen_at < now() - make_interval(secs => $1) and last_seen_at >= now() - make_interval(secs => $2)
                offset 0
            ) w
            cross join lateral open_attempts_of(w.id) a
            where a.expires_at < now() and now() >= $3 and now() < $4
            order by a.expires_at limit 1000"#,
            silence.start.as_secs_f64(),
            silence.end.as_secs_f64(),
            well.start,
            well.end,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(leases)
    }

    /// Takes back leases that still are to be; returns how many. Each in its own transaction, so that one bad row holds up
    /// nothing: what goes wrong with it is logged, and only an outage ends the sweep.
    pub(crate) async fn take_back_all(
        &self,
        leases: Vec<LeaseToTakeBack>,
        grace: Duration,
        jitter: impl Fn() -> f64,
    ) -> StoreResult<u32> {
        let mut taken_back = 0;
        for row in leases {
            let lease = Lease { task_id: row.task_id, attempt: row.number as u32, token: row.lease_token };
            let message = if row.silent {
                format!("worker {} was lost: it did not report in time", row.worker_name)
            } else {
                format!("worker {} did not stop within {} s of being asked", row.worker_name, grace.as_secs())
            };
            match self.take_back(&lease, &message, grace, jitter()).await {
                Ok(taken) => taken_back += u32::from(taken),
                Err(error) if error.is_outage() => return Err(error),
                Err(error) => {
                    tracing::error!(%error, task = %lease.task_id, "could not take back a lease that ran out");
                }
            }
        }
        Ok(taken_back)
    }

    async fn take_back(&self, lease: &Lease, message: &str, grace: Duration, jitter: f64) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let free = sqlx::query_scalar!("select id from tasks where id = $1 for update skip locked", lease.task_id)
            .fetch_optional(&mut *tx)
            .await?;
        let still_due = sqlx::query_scalar!(
            "select number from attempts where task_id = $1 and number = $2 and lease_token = $3 and ended_at is null
                and (expires_at < now() or stop_asked_at < now() - make_interval(secs => $4))",
            lease.task_id,
            lease.attempt as i32,
            lease.token,
            grace.as_secs_f64(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        if free.is_none() || still_due.is_none() {
            return Ok(false);
        }
        let held = hold(&mut tx, lease).await?;
        end_badly(&mut tx, &held, &Failure::lost(message, jitter)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Asks for attempts back that take longer than their jobs allow; or do not get on, if it is now that all is `well`: else
    /// their progress may not have been heard of. Returns how many.
    pub(crate) async fn stop_overdue(&self, well: &Range<DateTime<Utc>>) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let stopped = sqlx::query!(
            // They are locked, and so still open. To say so again would have Postgres begin with all that are open.
            r#"with late as materialized (
                select task_id, number from attempts
                where ended_at is null and stop_reason is null and (run_until is not null or no_progress is not null)
                    and (run_until < now() or (progressed_at + no_progress < now() and now() >= $1 and now() < $2))
                for update skip locked
            ),
            stopped as (
                update attempts a set stop_reason = 'deadline', stop_asked_at = now(), stop_detail = case
                    when run_until < now() then 'it took longer than the job allows one attempt'
                    else 'it did not get on for longer than the job allows' end
                from late where a.task_id = late.task_id and a.number = late.number
                returning a.task_id, a.number, a.job_id, a.stop_detail
            )
            select task_id as "task!", number as "number!", job_id as "job!", stop_detail as "detail!"
            from stopped order by job_id, task_id"#,
            well.start,
            well.end,
        )
        .fetch_all(&mut *tx)
        .await?;
        if stopped.is_empty() {
            return Ok(0);
        }
        let count = stopped.len() as u64;
        let event = |task: Uuid, number: i32, job_id: Uuid, detail: &str| NewEvent {
            job_id,
            of: Of::Task(task, number as u32),
            kind: "task.deadline",
            message: format!("asked to stop: {detail}"),
        };
        let events = stopped.iter().map(|row| event(row.task, row.number, row.job, &row.detail)).collect();
        let events = gather(events, "tasks.deadline", "were asked to stop: they took too long or did not get on");
        tx.hint(Topic::Stops);
        record(&mut tx, &events).await?;
        tx.commit().await?;
        Ok(count)
    }
}
