//! Many attempts that leave nothing behind, ended well in one transaction: what takes a commit each otherwise.

use std::collections::{HashMap, HashSet};

use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState};
use ursa_domain::lifecycle::task::{self, TaskEvent, TaskState};
use ursa_domain::{JobKind, Lease};
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::{NewEvent, gather, record};
use super::jobs::release_waiting;
use super::leases::columns;
use super::{Store, StoreResult, Topic, Tx};

/// What became of one request to end an attempt.
pub(crate) type Completion = Result<(), ApiError>;

/// An attempt that may end.
struct Ending {
    task_id: Uuid,
    job_id: Uuid,
    attempt: i32,
    ordinal: i32,
    token: Uuid,
    units: i64,
}

impl Store {
    /// Ends probe attempts well; answers in the order of `leases`.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn complete_probes(&self, leases: &[Lease]) -> StoreResult<Vec<Completion>> {
        task::next(TaskState::Leased, TaskEvent::Complete)?;
        let mut tx = self.begin().await?;
        let once = once(leases);
        let endings = end(&mut tx, &once).await?;
        if !endings.is_empty() {
            tell(&mut tx, &endings).await?;
        }
        let repeated = if endings.len() < once.len() { succeeded_before(&mut tx, &once).await? } else { Vec::new() };
        tx.commit().await?;
        let ended: HashSet<Uuid> = endings.iter().map(|ending| ending.token).chain(repeated).collect();
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

/// Ends the attempts of those leases that are current, and their tasks.
async fn end(tx: &mut Tx, leases: &[Lease]) -> StoreResult<Vec<Ending>> {
    let (tasks, attempts, tokens) = columns(leases);
    let rows = sqlx::query_file_as!(
        Ending,
        "src/store/sql/end_well.sql",
        &tasks,
        &attempts,
        &tokens,
        JobKind::Probe.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows)
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

/// Counts and records what has ended.
async fn tell(tx: &mut Tx, endings: &[Ending]) -> StoreResult<()> {
    let mut ended: Vec<&Ending> = endings.iter().collect();
    ended.sort_by_key(|ending| ending.job_id);
    let mut events = gather(ended.into_iter().map(succeeded).collect(), "tasks.succeeded", "answered");
    events.extend(count(tx, endings).await?);
    tx.hint(Topic::Tasks);
    record(tx, &events).await
}

fn succeeded(ending: &Ending) -> NewEvent {
    NewEvent {
        job_id: ending.job_id,
        task: Some((ending.task_id, ending.attempt as u32)),
        kind: "task.succeeded",
        message: format!("task {} answered", ending.ordinal),
    }
}

/// Takes the tasks off their jobs' counts, and ends the jobs that have succeeded with that.
async fn count(tx: &mut Tx, endings: &[Ending]) -> StoreResult<Vec<NewEvent>> {
    let mut sums: HashMap<Uuid, (i32, i64)> = HashMap::new();
    for ending in endings {
        let (tasks, units) = sums.entry(ending.job_id).or_default();
        *tasks += 1;
        *units += ending.units;
    }
    let jobs: Vec<Uuid> = sums.keys().copied().collect();
    let counted = sqlx::query!(
        "with mine as materialized (select id from jobs where id = any ($1) order by id for no key update)
        update jobs j set open_tasks = j.open_tasks - e.tasks, units_done = j.units_done + e.units
        from mine m join unnest($1::uuid[], $2::integer[], $3::bigint[]) as e (id, tasks, units) on e.id = m.id
        where j.id = m.id
        returning j.id, j.open_tasks, j.parallelism",
        &jobs,
        &jobs.iter().map(|job| sums[job].0).collect::<Vec<_>>(),
        &jobs.iter().map(|job| sums[job].1).collect::<Vec<_>>(),
    )
    .fetch_all(&mut **tx)
    .await?;
    for job in counted.iter().filter(|job| job.parallelism.is_some() && job.open_tasks > 0) {
        release_waiting(tx, &job.id).await?;
    }
    let done: Vec<Uuid> = counted.iter().filter(|job| job.open_tasks == 0).map(|job| job.id).collect();
    if done.is_empty() {
        return Ok(Vec::new());
    }
    settle(tx, &done).await
}

/// Ends running jobs all of whose tasks succeeded and that wait for nobody; the others are looked at one by one.
async fn settle(tx: &mut Tx, jobs: &[Uuid]) -> StoreResult<Vec<NewEvent>> {
    let after = job::next(JobState::Running, JobEvent::Finish(JobOutcome::Succeeded))?;
    let settled = sqlx::query!(
        "update jobs j set state = $2, finished_at = now()
        where id = any ($1) and state = 'running' and open_tasks = 0 and not exists (
            select from tasks t where t.job_id = j.id and t.state <> 'succeeded')
        and not exists (
            select from job_dependencies d join jobs o on o.id = d.depends_on
            where d.job_id = j.id and o.finished_at is null)
        returning id, name,
            exists (select from job_dependencies d where d.depends_on = j.id) as \"awaited!\"",
        jobs,
        after.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    // Somebody waits for one of them, or has to look at why it is not settled.
    if settled.len() < jobs.len() || settled.iter().any(|row| row.awaited) {
        tx.hint(Topic::Jobs);
    }
    let event =
        |id, name| NewEvent { job_id: id, task: None, kind: "job.succeeded", message: format!("{name} is succeeded") };
    Ok(settled.into_iter().map(|row| event(row.id, row.name)).collect())
}
