//! Starting a job: its dependencies are looked at, its tasks written, all in one transaction under the job's lock.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgQueryResult;
use ursa_domain::lifecycle::job::{self, JobEvent, JobOutcome, JobState, Readiness};
use ursa_domain::spec::{
    ClassUrls, DeploySpec, ModelRef, ProbeSpec, ScrapeSpec, SnapshotRef, SnapshotSpec, TrainSpec, VerifySpec,
};
use ursa_domain::policy::JobPolicy;
use ursa_domain::{JobKind, JobSpec, plan};
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::{NewEvent, record};
use super::jobs::{Feeding, LockedJob, lock, moved, output_of, readiness_of, release_waiting, set_output, transition};
use super::lanes::ensure_lane;
use super::{Store, StoreError, StoreResult, Topic, Tx, ensure_rows};

/// What became of a waiting job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planned {
    /// It still waits, or somebody else was faster.
    Waits,
    /// It moved: started, skipped, or failed in planning.
    Moved,
}

/// A task to write.
struct NewTask {
    id: Uuid,
    payload: Value,
    units: u64,
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
        let Some(job) = lock(&mut tx, id).await?.filter(|job| job.state == JobState::Waiting) else {
            return Ok(Planned::Waits);
        };
        let event = match readiness_of(&mut tx, &job, Feeding::Begins).await? {
            Readiness::Wait => return Ok(Planned::Waits),
            Readiness::Skip => transition(&mut tx, &job, JobEvent::Skip, "").await?.1,
            Readiness::Start => start(&mut tx, &job).await?,
        };
        record(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(Planned::Moved)
    }

    /// Running jobs that have not taken up everything that was committed for them.
    pub(crate) async fn jobs_to_feed(&self) -> StoreResult<Vec<Uuid>> {
        let ids = sqlx::query_scalar!(
            "select j.id from jobs j join datasets d on d.name = j.spec ->> 'dataset'
            where j.state = 'running' and j.kind = 'verify' and exists (
                select from shards s where s.dataset_id = d.id and s.kind = 'raw' and not s.verified
                    and s.verify_task is null)
            order by j.id",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids)
    }

    /// Gives a running job tasks for what was committed since it was planned.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn feed_job(&self, id: Uuid) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let Some(job) = lock(&mut tx, id).await?.filter(|job| job.state == JobState::Running) else { return Ok(()) };
        let JobSpec::Verify(spec) = job.spec()? else { return Ok(()) };
        let plan = plan_verify(&mut tx, &job, &spec).await?;
        if plan.tasks.is_empty() {
            return Ok(());
        }
        write(&mut tx, &job, &plan, None, JobState::Running).await?;
        tx.commit().await
    }
}

/// Whether something was committed for a running job that it has not taken up.
pub(super) async fn has_more(tx: &mut Tx, job: &LockedJob) -> StoreResult<bool> {
    let JobSpec::Verify(spec) = job.spec()? else { return Ok(false) };
    let more = sqlx::query_scalar!(
        r#"select exists (select from shards s join datasets d on d.id = s.dataset_id
            where d.name = $1 and s.kind = 'raw' and not s.verified and s.verify_task is null) as "e!""#,
        spec.dataset,
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
pub(super) async fn start(tx: &mut Tx, job: &LockedJob) -> StoreResult<NewEvent> {
    let spec = job.spec()?;
    // A plan that is made of nothing but its specification cannot fail half-way.
    let may_fail = !matches!(spec, JobSpec::Probe(_));
    if may_fail {
        sqlx::query!("savepoint planning").execute(&mut **tx).await?;
    }
    let event = match plan(tx, job, &spec).await {
        Ok(Planning::Before(same)) => return take_over(tx, job, &same).await,
        Ok(Planning::Tasks(event)) => event,
        Ok(Planning::Nothing(event)) => {
            // It may be over.
            tx.hint(Topic::Jobs);
            event
        }
        Err(StoreError::Api(error)) if may_fail => {
            sqlx::query!("rollback to savepoint planning").execute(&mut **tx).await?;
            transition(tx, job, JobEvent::Finish(JobOutcome::Failed), &error.message).await?.1
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
async fn plan(tx: &mut Tx, job: &LockedJob, spec: &JobSpec) -> StoreResult<Planning> {
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
        JobSpec::Train(train) => plan_train(tx, job, train).await?,
        JobSpec::Deploy(deploy) => plan_deploy(tx, job, deploy).await?,
        JobSpec::Probe(probe) => plan_probe(probe),
    };
    let key = plan.inputs.as_ref().map(|inputs| cache_key(job, inputs));
    if let Some(key) = key.as_deref().filter(|_| job.reuse)
        && let Some(earlier) = same_work(tx, job, key).await?
    {
        return Ok(Planning::Before(SameWork { earlier, key: key.to_owned() }));
    }
    let after = job::next(job.state, JobEvent::Start)?;
    write(tx, job, &plan, key.as_deref(), after).await?;
    if let JobSpec::Scrape(scrape) = spec {
        assign_sources(tx, job.id, &plan.tasks, scrape.options.urls_per_task).await?;
    }
    let event = moved(job, after, "");
    Ok(if plan.tasks.is_empty() { Planning::Nothing(event) } else { Planning::Tasks(event) })
}

/// The same key means the same output: kind, inputs, and the version of the code that would do the work.
fn cache_key(job: &LockedJob, inputs: &Value) -> String {
    let all = json!({"kind": job.kind, "inputs": inputs, "version": env!("CARGO_PKG_VERSION")});
    hex::encode(Sha256::digest(all.to_string()))
}

/// The latest job that succeeded under a key.
async fn same_work(tx: &mut Tx, job: &LockedJob, key: &str) -> StoreResult<Option<Uuid>> {
    let earlier = sqlx::query_scalar!(
        "select id from jobs where cache_key = $1 and state = 'succeeded' and project = $2 and cached_from is null
            and not retired
        order by finished_at desc limit 1",
        key,
        job.project,
    )
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
async fn write(
    tx: &mut Tx,
    job: &LockedJob,
    plan: &Plan,
    cache_key: Option<&str>,
    after: JobState,
) -> StoreResult<()> {
    let policy = job.policy()?;
    let mut written = insert_tasks(tx, job, &policy, plan, cache_key, after).await?;
    if written.rows_affected() == 0 {
        ensure_lane(tx, &job.project, job.kind, &policy).await?;
        written = insert_tasks(tx, job, &policy, plan, cache_key, after).await?;
    }
    ensure_rows("job", &written, 1)?;
    if policy.parallelism.is_some() {
        release_waiting(tx, &job.id).await?;
    }
    tx.hint(Topic::Tasks);
    Ok(())
}

/// Touches no row when there is no lane for them yet.
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
        policy.priority,
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

fn plan_probe(spec: &ProbeSpec) -> Plan {
    let task = |place| {
        let payload = json!({"duration_ms": spec.duration_ms, "fail_first": place < spec.failures});
        NewTask::new(payload, spec.duration_ms.max(1))
    };
    Plan::new("ms", (0..spec.tasks).map(task).collect()).of_inputs(json!(spec))
}

/// Writes the sources that are new, takes over those that failed before, and leaves alone what is fetched already.
async fn plan_scrape(tx: &mut Tx, job: &LockedJob, spec: &ScrapeSpec) -> StoreResult<Plan> {
    let dataset = ensure_dataset(tx, &spec.dataset).await?;
    if spec.retry_sources.is_empty() {
        let classes = ensure_classes(tx, dataset, &spec.classes).await?;
        insert_sources(tx, dataset, job.id, spec, &classes).await?;
    } else {
        retake_sources(tx, dataset, job.id, &spec.retry_sources).await?;
    }
    let pending = pending_sources(tx, job.id).await?.len();
    let options =
        serde_json::to_value(spec.options).map_err(|error| StoreError::unreadable("scrape options", &error))?;
    let tasks = plan::chunk_sizes(pending, spec.options.urls_per_task as usize)
        .into_iter()
        .map(|size| NewTask::new(options.clone(), size as u64))
        .collect();
    Ok(Plan::new("urls", tasks))
}

async fn ensure_dataset(tx: &mut Tx, name: &str) -> StoreResult<Uuid> {
    let id = sqlx::query_scalar!(
        "insert into datasets (id, name) values ($1, $2) on conflict (name) do update set name = $2 returning id",
        Uuid::now_v7(),
        name,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(id)
}

/// The index of each class of the specification; unknown ones are appended after those the dataset has.
async fn ensure_classes(tx: &mut Tx, dataset: Uuid, classes: &[ClassUrls]) -> StoreResult<Vec<i32>> {
    let mut indices = Vec::with_capacity(classes.len());
    for class in classes {
        let index = sqlx::query_scalar!(
            "insert into classes (dataset_id, index, name)
            select $1, coalesce(max(index) + 1, 0), $2 from classes where dataset_id = $1
            on conflict (dataset_id, name) do update set name = $2 returning index",
            dataset,
            class.name,
        )
        .fetch_one(&mut **tx)
        .await?;
        indices.push(index);
    }
    Ok(indices)
}

async fn insert_sources(
    tx: &mut Tx,
    dataset: Uuid,
    job_id: Uuid,
    spec: &ScrapeSpec,
    classes: &[i32],
) -> StoreResult<()> {
    let listed = plan::listed_urls(&spec.classes, &spec.options);
    let ids: Vec<Uuid> = listed.iter().map(|_| Uuid::now_v7()).collect();
    let indices: Vec<i32> = listed.iter().map(|url| classes[url.class]).collect();
    let lists: Vec<String> = listed.iter().map(|url| spec.classes[url.class].list_name.clone()).collect();
    let lines: Vec<i32> = listed.iter().map(|url| url.line as i32).collect();
    let urls: Vec<String> = listed.iter().map(|url| url.url.to_owned()).collect();
    sqlx::query!(
        "insert into sources (id, dataset_id, class_index, list_name, line, url, job_id)
        select s.id, $1, s.class_index, s.list_name, s.line, s.url, $2
        from unnest($3::uuid[], $4::int[], $5::text[], $6::int[], $7::text[]) as s (id, class_index, list_name, line, url)
        on conflict (dataset_id, class_index, url) do update set outcome = 'pending', job_id = $2, task_id = null
        where sources.outcome = 'failed'",
        dataset,
        job_id,
        &ids,
        &indices,
        &lists,
        &lines,
        &urls,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn retake_sources(tx: &mut Tx, dataset: Uuid, job_id: Uuid, ids: &[Uuid]) -> StoreResult<()> {
    sqlx::query!(
        "update sources set outcome = 'pending', job_id = $3, task_id = null
        where dataset_id = $1 and id = any ($2) and outcome = 'failed'",
        dataset,
        ids,
        job_id,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn pending_sources(tx: &mut Tx, job_id: Uuid) -> StoreResult<Vec<Uuid>> {
    let ids = sqlx::query_scalar!(
        "select id from sources where job_id = $1 and outcome = 'pending' order by class_index, line, id",
        job_id
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids)
}

async fn assign_sources(tx: &mut Tx, job_id: Uuid, tasks: &[NewTask], per_task: u32) -> StoreResult<()> {
    let pending = pending_sources(tx, job_id).await?;
    let mut rest = pending.as_slice();
    for (task, size) in tasks.iter().zip(plan::chunk_sizes(pending.len(), per_task as usize)) {
        let (mine, others) = rest.split_at(size);
        rest = others;
        sqlx::query!("update sources set task_id = $1 where id = any ($2)", task.id, mine).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn find_dataset(tx: &mut Tx, name: &str) -> StoreResult<Uuid> {
    let id = sqlx::query_scalar!("select id from datasets where name = $1", name).fetch_optional(&mut **tx).await?;
    Ok(id.ok_or_else(|| ApiError::not_found("dataset", name))?)
}

/// One task for every raw shard that is not verified and that no other open task will verify.
async fn plan_verify(tx: &mut Tx, job: &LockedJob, spec: &VerifySpec) -> StoreResult<Plan> {
    let dataset = find_dataset(tx, &spec.dataset).await?;
    let shards = sqlx::query!(
        r#"select s.key, s.sha256, (select count(*) from images i where i.raw_shard = s.key) as "images!"
        from shards s where s.dataset_id = $1 and s.kind = 'raw' and not s.verified
            and not exists (select from tasks t where t.id = s.verify_task
                and (t.job_id = $2 or t.state not in ('failed', 'dead', 'cancelled')))
        order by s.created_at, s.key for no key update of s skip locked"#,
        dataset,
        job.id,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut tasks = Vec::with_capacity(shards.len());
    for shard in shards {
        let payload = json!({"shard_key": shard.key, "shard_sha256": shard.sha256, "spec": spec});
        let task = NewTask::new(payload, shard.images as u64);
        sqlx::query!("update shards set verify_task = $2 where key = $1", shard.key, task.id)
            .execute(&mut **tx)
            .await?;
        tasks.push(task);
    }
    Ok(Plan::new("images", tasks))
}

async fn plan_snapshot(tx: &mut Tx, spec: &SnapshotSpec) -> StoreResult<Plan> {
    let dataset = find_dataset(tx, &spec.dataset).await?;
    let content = sqlx::query_scalar!(
        r#"select encode(sha256(coalesce(string_agg(id::text || ' ' || class_index, ',' order by id), '')::bytea), 'hex')
            as "digest!"
        from images where dataset_id = $1 and verdict = 'kept'"#,
        dataset,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(Plan::one("snapshots", json!(spec), 1).of_inputs(json!({"spec": spec, "content": content})))
}

async fn plan_train(tx: &mut Tx, job: &LockedJob, spec: &TrainSpec) -> StoreResult<Plan> {
    let snapshot = match &spec.snapshot {
        SnapshotRef::FromJob(name) => {
            let output = output_of(tx, job.id, name).await?;
            let id = output["snapshot_id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
            let id = id.ok_or_else(|| StoreError::unreadable("output of a snapshot job", &"it names no snapshot"))?;
            snapshot_by_id(tx, id).await?
        }
        SnapshotRef::Numbered { dataset, number } => snapshot_by_name(tx, dataset, *number).await?,
    };
    let inputs = json!({"snapshot": snapshot["digest"], "recipe": spec.recipe});
    let payload = json!({"snapshot": snapshot, "recipe": spec.recipe});
    let epochs = u64::from(spec.recipe.epochs + spec.recipe.frozen_epochs);
    Ok(Plan::one("epochs", payload, epochs).of_inputs(inputs))
}

async fn snapshot_by_id(tx: &mut Tx, id: Uuid) -> StoreResult<Value> {
    let row = sqlx::query!(
        "select s.id, s.number, s.digest, d.name from snapshots s join datasets d on d.id = s.dataset_id where s.id = $1",
        id,
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| ApiError::not_found("snapshot", id))?;
    Ok(json!({"id": row.id, "dataset": row.name, "number": row.number, "digest": row.digest}))
}

async fn snapshot_by_name(tx: &mut Tx, dataset: &str, number: Option<u32>) -> StoreResult<Value> {
    let dataset_id = find_dataset(tx, dataset).await?;
    let row = sqlx::query!(
        "select id, number, digest from snapshots where dataset_id = $1 and ($2::int is null or number = $2)
        order by number desc limit 1",
        dataset_id,
        number.map(|number| number as i32),
    )
    .fetch_optional(&mut **tx)
    .await?
    .ok_or_else(|| match number {
        Some(number) => ApiError::not_found("snapshot", format!("{dataset}@{number}")),
        None => ApiError::new(
            ErrorCode::NotFound,
            format!("dataset {dataset} has no snapshot yet: run a snapshot job first"),
        ),
    })?;
    Ok(json!({"id": row.id, "dataset": dataset, "number": row.number, "digest": row.digest}))
}

async fn plan_deploy(tx: &mut Tx, job: &LockedJob, spec: &DeploySpec) -> StoreResult<Plan> {
    let digest = match &spec.model {
        ModelRef::FromJob(name) => {
            let output = output_of(tx, job.id, name).await?;
            let digest = output["model_digest"].as_str().map(str::to_owned);
            digest.ok_or_else(|| StoreError::unreadable("output of a train job", &"it names no model"))?
        }
        ModelRef::Digest(prefix) => sqlx::query_scalar!(
            "select digest from models where starts_with(digest, $1) limit 1",
            prefix.to_ascii_lowercase()
        )
        .fetch_optional(&mut **tx)
        .await?
        .ok_or_else(|| ApiError::not_found("model", prefix))?,
    };
    set_output(tx, job.id, &json!({"endpoint": spec.endpoint, "model_digest": digest})).await?;
    let payload = json!({"endpoint": spec.endpoint, "model_digest": digest, "timeout_seconds": spec.timeout_seconds});
    Ok(Plan::one("endpoints", payload, 1))
}
