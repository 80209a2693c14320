//! Many attempts that leave nothing behind, ended well in one transaction: what takes a commit each otherwise.

use std::collections::HashSet;

use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::MANY;
use super::jobs::release_waiting;
use super::leases::columns;
use super::{Store, StoreResult, Topic, Tx};

/// What became of one request to end an attempt.
pub(crate) type Completion = Result<(), ApiError>;

impl Store {
    /// Ends probe attempts well; answers in the order of `leases`. For one caller at a time.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn complete_probes(&self, leases: &[Lease]) -> StoreResult<Vec<Completion>> {
        let mut tx = self.begin_uncut(&self.ends).await?;
        let once = once(leases);
        let mut ended = end(&mut tx, &once).await?;
        if ended.len() < once.len() {
            ended.extend(succeeded_before(&mut tx, &once).await?);
        }
        tx.commit().await?;
        Ok(leases.iter().map(|lease| answer(lease, ended.contains(&lease.token))).collect())
    }
}

/// Each lease once: a request may be repeated while the first one still waits.
fn once(leases: &[Lease]) -> Vec<Lease> {
    let mut seen = HashSet::new();
    leases.iter().filter(|lease| seen.insert(**lease)).copied().collect()
}

fn answer(lease: &Lease, ended: bool) -> Completion {
    if ended {
        return Ok(());
    }
    let message =
        format!("the lease of attempt {} of task {} is not current: drop the work", lease.attempt, lease.task_id);
    Err(ApiError::new(ErrorCode::LeaseLost, message))
}

/// Ends the attempts of those leases that are current, and their tasks, and what that ends; the tokens of those that were.
async fn end(tx: &mut Tx, leases: &[Lease]) -> StoreResult<HashSet<Uuid>> {
    task::next(TaskState::Leased, TaskEvent::Complete)?;
    let job_succeeded = job::next(JobState::Running, JobEvent::Finish(JobOutcome::Succeeded))?;
    let (tasks, attempts, tokens) = columns(leases);
    let rows = sqlx::query_file!(
        "src/store/sql/end_well.sql",
        &tasks,
        &attempts,
        &tokens,
        JobKind::Probe.as_str(),
        job_succeeded.as_str(),
        MANY as i64,
    )
    .fetch_all(&mut **tx)
    .await?;
    let Some(first) = rows.first() else { return Ok(HashSet::new()) };
    // After the event log, but whoever else looks for tasks of the job has to lock the job first.
    for job in &first.hold_back {
        release_waiting(tx, job).await?;
    }
    tx.hint(Topic::Room);
    tx.hint(Topic::Events);
    if first.deliveries > 0 {
        tx.hint(Topic::Deliveries);
    }
    if first.look_at_jobs {
        tx.hint(Topic::Jobs);
    }
    Ok(rows.into_iter().map(|row| row.token).collect())
}

async fn succeeded_before(tx: &mut Tx, leases: &[Lease]) -> StoreResult<Vec<Uuid>> {
    let (tasks, attempts, tokens) = columns(leases);
    let rows = sqlx::query_scalar!(
        "select a.lease_token from unnest($1::uuid[], $2::integer[], $3::uuid[]) as l (id, attempt, token)
        join attempts a on a.task_id = l.id and a.number = l.attempt and a.lease_token = l.token
        where a.state = 'succeeded'",
        &tasks,
        &attempts,
        &tokens,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows)
}
