//! Starting a job: its dependencies are looked at, its tasks written, all in one transaction under the job's lock.

mod images;
mod models;
pub(super) mod search;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgQueryResult;
use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState, Readiness};
use ursa_domain::policy::JobPolicy;
use ursa_domain::sgd_lab::SgdLab;
use ursa_domain::spec::ProbeSpec;
use ursa_domain::{JobKind, JobSpec};
use ursa_proto::ApiError;
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::jobs::{Feeding, LockedJob, lock, lock_to_move, moved, readiness_of, release_waiting, transition};
use super::{Store, StoreError, StoreResult, Topic, Tx, ensure_rows};
use images::{assign_sources, brought_in, plan_scrape, plan_snapshot, plan_verify};
use models::{plan_deploy, plan_evaluate, plan_explain, plan_find_lr, plan_train};
use search::{feed_search, goes_on, plan_search};

/// What became of a waiting job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planned {
    /// It still waits, or somebody else was faster.
    Waits,
    /// It moved: started, skipped, or failed in planning.
    Moved,
}

/// A task to write.
pub(super) struct NewTask {
    pub(super) id: Uuid,
    pub(super) payload: Value,
    pub(super) units: u64,
}

impl NewTask {
    fn new(payload: Value, units: u64) -> Self {
        Self { id: Uuid::now_v7(), payload, units }
    }
}

/// What a job is cut into.
struct Plan {
    /// What its progress counts.
    unit: &'static str,
    tasks: Vec<NewTask>,
    /// Everything that decides what comes out, where the same always does.
    inputs: Option<Value>,
}

impl Plan {
    fn new(unit: &'static str, tasks: Vec<NewTask>) -> Self {
        Self { unit, tasks, inputs: None }
    }

    fn one(unit: &'static str, payload: Value, units: u64) -> Self {
        Self::new(unit, vec![NewTask::new(payload, units)])
    }

    fn of_inputs(self, inputs: Value) -> Self {
        Self { inputs: Some(inputs), ..self }
    }

    /// The key under which others may take over what comes of it.
    fn key(&self, kind: JobKind, code: &str) -> Option<String> {
        self.inputs.as_ref().map(|inputs| cache_key(kind, inputs, code))
    }
}

/// What a job is cut into whose specification says all there is to know.
pub(super) struct AtOnce {
    /// What its progress counts.
    pub(super) unit: &'static str,
    /// All of them may begin.
    pub(super) tasks: Vec<NewTask>,
    /// The key under which others may take over what comes of it.
    pub(super) cache_key: Option<String>,
}

/// Plans a job without a look at the database; `None` where that takes one. `code` is the version of the code here.
pub(super) fn at_once(spec: &JobSpec, policy: &JobPolicy, code: &str) -> Option<AtOnce> {
    let plan = match spec {
        JobSpec::Probe(probe) => plan_probe(probe),
        JobSpec::SgdLab(lab) => plan_sgd_lab(lab),
        _ => return None,
    };
    if policy.parallelism.is_some() || plan.tasks.is_empty() {
        return None;
    }
    let cache_key = plan.key(spec.kind(), code);
    Some(AtOnce { unit: plan.unit, tasks: plan.tasks, cache_key })
}

/// An earlier job that did the same work, and under which key.
struct SameWork {
    earlier: Uuid,
    key: String,
}

impl Store {
    /// Starts, skips or leaves a waiting job.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn plan_job(&self, id: Uuid) -> StoreResult<Planned> {
        let mut tx = self.begin().await?;
        let Some(job) = lock_to_move(&mut tx, id).await?.filter(|job| job.state == JobState::Waiting) else {
            return Ok(Planned::Waits);
        };
        let event = match readiness_of(&mut tx, &job, Feeding::Begins).await? {
            Readiness::Wait => return Ok(Planned::Waits),
            Readiness::Skip => transition(&mut tx, &job, JobEvent::Skip, "").await?.1,
            Readiness::Start => start(&mut tx, &job, &self.code).await?,
        };
        record(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(Planned::Moved)
    }

    /// Running jobs that have not taken up everything that was committed for them, or that another one left behind.
    pub(crate) async fn jobs_to_feed(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_file_scalar!("src/store/sql/jobs_to_feed.sql").fetch_all(&self.pool).await?;
        Ok(ids)
    }

    /// Gives a running job tasks for what was committed, or has come to nothing, since it was planned.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn feed_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(job) = lock(&mut tx, id).await?.filter(|job| job.state == JobState::Running) else { return Ok(()) };
        match job.spec()? {
            JobSpec::Verify(spec) => {
                let plan = plan_verify(&mut tx, &job, &spec).await?;
                if plan.tasks.is_empty() {
                    return Ok(());
                }
                write(&mut tx, &job, &plan, None, JobState::Running).await?;
            }
            JobSpec::Search(_) => feed_search(&mut tx, &job).await?,
            _ => return Ok(()),
        }
        tx.commit().await
    }
}

/// Whether a running job without a task is not over: of its dataset there is something to verify that it has not tried to,
/// which it will take up or another job is at, or it is a search that goes on.
pub(super) async fn has_more(tx: &mut Tx, job: &LockedJob) -> StoreResult<bool> {
    let spec = match job.spec()? {
        JobSpec::Verify(spec) => spec,
        JobSpec::Search(spec) => return goes_on(tx, job, &spec).await,
        _ => return Ok(false),
    };
    let more = sqlx::query_scalar!(
        r#"select exists (select from shards s join datasets d on d.id = s.dataset_id
            where d.name = $1 and s.kind = 'raw' and not s.verified and not $2::uuid = any (s.taken_up_by)) as "e!""#,
        spec.dataset,
        job.id,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(more)
}

/// What planning came to.
enum Planning {
    /// The job runs, with tasks.
    Tasks(NewEvent),
    /// The job runs, with nothing to do as far as is known now.
    Nothing(NewEvent),
    /// Somebody has done the same work before.
    Before(SameWork),
}

/// Starts a job whose condition is fulfilled. A plan that cannot be made is the user's to mend: the job fails and says why.
/// `code` is the version of the code here.
pub(super) async fn start(tx: &mut Tx, job: &LockedJob, code: &str) -> StoreResult<NewEvent> {
    let spec = job.spec()?;
    // A plan that is made of nothing but its specification cannot fail half-way.
    let may_fail = !matches!(spec, JobSpec::Probe(_) | JobSpec::SgdLab(_));
    if may_fail {
        sqlx::query!("savepoint planning").execute(&mut **tx).await?;
    }
    let event = match plan(tx, job, &spec, code).await {
        Ok(Planning::Before(same)) => {
            if may_fail {
                // Nothing is taken up for work that nobody will do.
                sqlx::query!("rollback to savepoint planning").execute(&mut **tx).await?;
            }
            return take_over(tx, job, &same).await;
        }
        Ok(Planning::Tasks(event)) => event,
        Ok(Planning::Nothing(event)) => {
            // It may be over.
            tx.hint(Topic::Jobs);
            event
        }
        Err(error) if may_fail && error.is_the_caller_s() => {
            sqlx::query!("rollback to savepoint planning").execute(&mut **tx).await?;
            let ApiError { message, .. } = error.into();
            transition(tx, job, JobEvent::Finish(JobOutcome::Failed), &message).await?.1
        }
        Err(error) => return Err(error),
    };
    if may_fail {
        sqlx::query!("release savepoint planning").execute(&mut **tx).await?;
    }
    tx.hint(Topic::Tasks);
    if job.kind == JobKind::Scrape {
        // Others may be fed by it.
        tx.hint(Topic::Jobs);
    }
    Ok(event)
}

/// Writes a job's tasks, or finds the earlier job that did the same work.
async fn plan(tx: &mut Tx, job: &LockedJob, spec: &JobSpec, code: &str) -> StoreResult<Planning> {
    if job.task_count > 0 {
        // Another round of a job that was planned before.
        release_waiting(tx, &job.id).await?;
        let (_, event) = transition(tx, job, JobEvent::Start, "").await?;
        return Ok(if job.open_tasks > 0 { Planning::Tasks(event) } else { Planning::Nothing(event) });
    }
    let plan = match spec {
        JobSpec::Scrape(scrape) => plan_scrape(tx, job, scrape).await?,
        JobSpec::Verify(verify) => plan_verify(tx, job, verify).await?,
        JobSpec::Snapshot(snapshot) => plan_snapshot(tx, snapshot).await?,
        JobSpec::FindLr(find_lr) => plan_find_lr(tx, job, find_lr).await?,
        JobSpec::Train(train) => plan_train(tx, job, train).await?,
        JobSpec::Search(search) => plan_search(tx, job, search).await?,
        JobSpec::Evaluate(evaluate) => plan_evaluate(tx, job, evaluate).await?,
        JobSpec::Explain(explain) => plan_explain(tx, job, explain).await?,
        JobSpec::Deploy(deploy) => plan_deploy(tx, job, deploy).await?,
        JobSpec::SgdLab(lab) => plan_sgd_lab(lab),
        JobSpec::Probe(probe) => plan_probe(probe),
    };
    let key = plan.key(job.kind, code);
    if let Some(key) = key.as_deref().filter(|_| job.reuse)
        && let Some(earlier) = same_work(tx, job, key, code).await?
    {
        return Ok(Planning::Before(SameWork { earlier, key: key.to_owned() }));
    }
    let after = job::next(job.state, JobEvent::Start)?;
    // Of pictures it is known at the end only what has come of them.
    let key = key.filter(|_| !matches!(spec, JobSpec::Scrape(_) | JobSpec::Verify(_)));
    write(tx, job, &plan, key.as_deref(), after).await?;
    if let JobSpec::Scrape(scrape) = spec {
        assign_sources(tx, job.id, &plan.tasks, scrape.options.urls_per_task).await?;
    }
    let event = moved(job.id, &job.name, after, "");
    Ok(if plan.tasks.is_empty() { Planning::Nothing(event) } else { Planning::Tasks(event) })
}

/// Notes of a job that has brought pictures in, and succeeds, under which key others may take that over.
pub(super) async fn note_brought_in(tx: &mut Tx, job: &LockedJob, code: &str) -> StoreResult<()> {
    if let Some(inputs) = brought_in(tx, &job.spec()?).await? {
        let key = cache_key(job.kind, &inputs, code);
        sqlx::query!("update jobs set cache_key = $2 where id = $1", job.id, key).execute(&mut **tx).await?;
    }
    Ok(())
}

/// The same key means the same output, as long as the work is done by the code that it was planned by: kind, inputs, and that
/// code's version.
fn cache_key(kind: JobKind, inputs: &Value, code: &str) -> String {
    let all = json!({"kind": kind, "inputs": inputs, "code": code});
    hex::encode(Sha256::digest(all.to_string()))
}

/// The latest job that succeeded under a key, and that no other code had a hand in.
async fn same_work(tx: &mut Tx, job: &LockedJob, key: &str, code: &str) -> StoreResult<Option<Uuid>> {
    let earlier = sqlx::query_file_scalar!("src/store/sql/same_work.sql", key, job.project, code)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(earlier)
}

async fn take_over(tx: &mut Tx, job: &LockedJob, same: &SameWork) -> StoreResult<NewEvent> {
    let SameWork { earlier, key } = same;
    sqlx::query!(
        "update jobs set cached_from = $2, cache_key = $3, output = (select output from jobs where id = $2) where id = $1",
        job.id,
        earlier,
        key,
    )
    .execute(&mut **tx)
    .await?;
    let (_, event) = transition(tx, job, JobEvent::Finish(JobOutcome::Succeeded), "").await?;
    let message =
        format!("{} is succeeded: nothing has changed since job {earlier}, whose output it takes over", job.name);
    Ok(NewEvent { message, ..event })
}

/// Writes tasks after those that a job has, ready as far as it may have them at a time; under which key others may take
/// over what comes of it, and the state it is in then.
async fn write(tx: &mut Tx, job: &LockedJob, plan: &Plan, cache_key: Option<&str>, after: JobState) -> StoreResult<()> {
    let policy = job.policy()?;
    let written = insert_tasks(tx, job, &policy, plan, cache_key, after).await?;
    ensure_rows("job", &written, 1)?;
    if policy.parallelism.is_some() {
        release_waiting(tx, &job.id).await?;
    }
    tx.hint(Topic::Tasks);
    Ok(())
}

async fn insert_tasks(
    tx: &mut Tx,
    job: &LockedJob,
    policy: &JobPolicy,
    plan: &Plan,
    cache_key: Option<&str>,
    after: JobState,
) -> StoreResult<PgQueryResult> {
    let resources =
        serde_json::to_value(&policy.resources).map_err(|error| StoreError::unreadable("resources", &error))?;
    let written = sqlx::query_file!(
        "src/store/sql/write_tasks.sql",
        job.id,
        job.project,
        job.kind.as_str(),
        job.priority,
        resources,
        policy.workers as i32,
        policy.max_attempts as i32,
        &plan.tasks.iter().map(|task| task.id).collect::<Vec<_>>(),
        &plan.tasks.iter().map(|task| task.payload.clone()).collect::<Vec<_>>(),
        &plan.tasks.iter().map(|task| task.units as i64).collect::<Vec<_>>(),
        plan.unit,
        cache_key,
        job.state.as_str(),
        after.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(written)
}

fn plan_sgd_lab(lab: &SgdLab) -> Plan {
    Plan::one("steps", json!(lab), u64::from(lab.steps)).of_inputs(json!(lab))
}

fn plan_probe(spec: &ProbeSpec) -> Plan {
    let task = |place| {
        let payload = json!({"duration_ms": spec.duration_ms, "fail_first": place < spec.failures});
        NewTask::new(payload, spec.duration_ms.max(1))
    };
    Plan::new("ms", (0..spec.tasks).map(task).collect()).of_inputs(json!(spec))
}
