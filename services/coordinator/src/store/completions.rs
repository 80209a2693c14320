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
        let endings = lock(&mut tx, &once).await?;
        if !endings.is_empty() {
            end(&mut tx, &endings).await?;
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

/// Locks the tasks of those leases that are current, in order.
async fn lock(tx: &mut Tx, leases: &[Lease]) -> StoreResult<Vec<Ending>> {
    let (tasks, attempts, tokens) = columns(leases);
    let rows = sqlx::query_as!(
        Ending,
        r#"select t.id as task_id, t.job_id, t.attempt, t.ordinal, a.lease_token as token, t.units
        from unnest($1::uuid[], $2::integer[], $3::uuid[]) as l (id, attempt, token)
        join tasks t on t.id = l.id and t.attempt = l.attempt and t.state in ('leased', 'running')
        join attempts a on a.task_id = t.id and a.number = t.attempt and a.lease_token = l.token and a.ended_at is null
        join jobs j on j.id = t.job_id and j.kind = $4
        order by t.id for update of t"#,
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

async fn end(tx: &mut Tx, endings: &[Ending]) -> StoreResult<()> {
    let ids: Vec<Uuid> = endings.iter().map(|ending| ending.task_id).collect();
    let numbers: Vec<i32> = endings.iter().map(|ending| ending.attempt).collect();
    sqlx::query!(
        "update attempts a set state = 'succeeded', ended_at = now()
        from unnest($1::uuid[], $2::integer[]) as e (id, number)
        where a.task_id = e.id and a.number = e.number and a.ended_at is null",
        &ids,
        &numbers,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!("update tasks set state = 'succeeded' where id = any ($1)", &ids).execute(&mut **tx).await?;
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
    sqlx::query!("select from jobs where id = any ($1) order by id for no key update", &jobs)
        .execute(&mut **tx)
        .await?;
    let counted = sqlx::query!(
        "update jobs j set open_tasks = j.open_tasks - e.tasks, units_done = j.units_done + e.units
        from unnest($1::uuid[], $2::integer[], $3::bigint[]) as e (id, tasks, units) where j.id = e.id
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
    tx.hint(Topic::Jobs);
    settle(tx, &done).await
}

/// Ends running jobs all of whose tasks succeeded; the others are looked at one by one.
async fn settle(tx: &mut Tx, jobs: &[Uuid]) -> StoreResult<Vec<NewEvent>> {
    let after = job::next(JobState::Running, JobEvent::Finish(JobOutcome::Succeeded))?;
    let settled = sqlx::query!(
        "update jobs j set state = $2, finished_at = now()
        where id = any ($1) and state = 'running' and open_tasks = 0 and not exists (
            select from tasks t where t.job_id = j.id and t.state <> 'succeeded')
        returning id, name",
        jobs,
        after.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    let event =
        |id, name| NewEvent { job_id: id, task: None, kind: "job.succeeded", message: format!("{name} is succeeded") };
    Ok(settled.into_iter().map(|row| event(row.id, row.name)).collect())
}
