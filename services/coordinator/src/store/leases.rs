//! Leases: given, renewed, looked at, taken back. Their times are the database's clock.

use std::time::Duration;

use serde_json::Value;
use ursa_domain::{ErrorClass, JobKind, Lease};
use ursa_proto::v1;
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::tasks::{Failure, fail, hold};
use super::{Store, StoreResult, word};

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
}
