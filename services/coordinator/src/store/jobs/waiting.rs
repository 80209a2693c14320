//! Jobs and tasks that have not begun, and when they may.

use ursa_domain::lifecycle::job::{self, JobState, Readiness};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use uuid::Uuid;

use super::super::{Store, StoreResult, Topic, Tx, word};
use super::LockedJob;

impl Store {
    /// Ids of waiting jobs.
    pub(crate) async fn waiting_jobs(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_file_scalar!("src/store/sql/jobs_to_plan.sql").fetch_all(&self.pool).await?;
        Ok(ids)
    }
}

/// Whether what feeds a job counts as long as it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Feeding {
    /// It does: may the job begin?
    Begins,
    /// It does not: may the job end?
    Over,
}

/// What a job may do, given the jobs it depends on.
pub(in crate::store) async fn readiness_of(tx: &mut Tx, job: &LockedJob, feeding: Feeding) -> StoreResult<Readiness> {
    let rows = sqlx::query!(
        "select o.state, o.kind from job_dependencies d join jobs o on o.id = d.depends_on where d.job_id = $1",
        job.id,
    )
    .fetch_all(&mut **tx)
    .await?;
    if rows.is_empty() {
        return Ok(Readiness::Start);
    }
    let spec = job.spec()?;
    let mut states = Vec::with_capacity(rows.len());
    let mut is_fed = feeding == Feeding::Begins;
    for row in rows {
        is_fed &= spec.is_fed_by(word("job kind", &row.kind)?);
        states.push(word::<JobState>("job state", &row.state)?);
    }
    Ok(job::readiness(job.policy()?.condition, is_fed, &states))
}

/// Makes as many waiting tasks of a job ready as it may have at a time.
pub(in crate::store) async fn release_waiting(tx: &mut Tx, job_id: &Uuid) -> StoreResult<()> {
    task::next(TaskState::Waiting, TaskEvent::Release)?;
    sqlx::query!(r#"select release_waiting($1) as "released!""#, job_id).fetch_one(&mut **tx).await?;
    tx.hint(Topic::Tasks);
    Ok(())
}
