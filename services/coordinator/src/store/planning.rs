//! Starting a job: its dependencies are looked at, its tasks written, all in one transaction under the job's lock.

use serde_json::{Value, json};
use ursa_domain::lifecycle::job::{JobEvent, JobOutcome, JobState, Readiness};
use ursa_domain::spec::{
    ClassUrls, DeploySpec, ModelRef, ScrapeSpec, SnapshotRef, SnapshotSpec, TrainSpec, VerifySpec,
};
use ursa_domain::{JobSpec, plan};
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events::record;
use super::jobs::{LockedJob, lock, output_of, readiness, set_output, transition};
use super::{Store, StoreError, StoreResult, Topic, Tx, hint};

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
    total: u64,
    unit: &'static str,
}

impl NewTask {
    fn new(payload: Value, total: u64, unit: &'static str) -> Self {
        Self { id: Uuid::now_v7(), payload, total, unit }
    }
}

impl Store {
    /// Starts, skips or leaves a waiting job.
    #[tracing::instrument(skip(self), err(level = "debug"))]
    pub(crate) async fn plan_job(&self, id: Uuid) -> StoreResult<Planned> {
        let mut tx = self.begin().await?;
        let Some(job) = lock(&mut tx, id).await?.filter(|job| job.state == JobState::Waiting) else {
            return Ok(Planned::Waits);
        };
        let event = match readiness(&mut tx, id).await? {
            Readiness::Wait => return Ok(Planned::Waits),
            Readiness::Skip => transition(&mut tx, &job, JobEvent::Skip, "").await?.1,
            Readiness::Start => match start(&mut tx, &job).await {
                Ok(()) => transition(&mut tx, &job, JobEvent::Start, "").await?.1,
                Err(StoreError::Api(error)) => {
                    // A plan that cannot be made is the user's to mend: the job fails and says why.
                    tx.rollback().await?;
                    return self.fail_planning(id, &error).await;
                }
                Err(error) => return Err(error),
            },
        };
        hint(&mut tx, Topic::Tasks).await?;
        record(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(Planned::Moved)
    }

    async fn fail_planning(&self, id: Uuid, error: &ApiError) -> StoreResult<Planned> {
        let mut tx = self.begin().await?;
        let Some(job) = lock(&mut tx, id).await?.filter(|job| job.state == JobState::Waiting) else {
            return Ok(Planned::Waits);
        };
        let (_, event) = transition(&mut tx, &job, JobEvent::Finish(JobOutcome::Failed), &error.message).await?;
        record(&mut tx, &[event]).await?;
        tx.commit().await?;
        Ok(Planned::Moved)
    }
}

async fn start(tx: &mut Tx, job: &LockedJob) -> StoreResult<()> {
    if has_tasks(tx, job.id).await? {
        // Another round of a job that was planned before: its tasks are ready again.
        return Ok(());
    }
    let spec = job.spec()?;
    let tasks = match &spec {
        JobSpec::Scrape(scrape) => plan_scrape(tx, job, scrape).await?,
        JobSpec::Verify(verify) => plan_verify(tx, verify).await?,
        JobSpec::Snapshot(snapshot) => plan_snapshot(tx, snapshot).await?,
        JobSpec::Train(train) => plan_train(tx, job, train).await?,
        JobSpec::Deploy(deploy) => plan_deploy(tx, job, deploy).await?,
    };
    insert_tasks(tx, job, spec.kind().as_str(), &tasks).await?;
    if let JobSpec::Scrape(scrape) = &spec {
        assign_sources(tx, job.id, &tasks, scrape.options.urls_per_task).await?;
    }
    Ok(())
}

async fn has_tasks(tx: &mut Tx, job_id: Uuid) -> StoreResult<bool> {
    let exists = sqlx::query_scalar!(r#"select exists (select from tasks where job_id = $1) as "e!""#, job_id)
        .fetch_one(&mut **tx)
        .await?;
    Ok(exists)
}

async fn insert_tasks(tx: &mut Tx, job: &LockedJob, kind: &str, tasks: &[NewTask]) -> StoreResult<()> {
    for (ordinal, task) in tasks.iter().enumerate() {
        sqlx::query!(
            "insert into tasks (id, job_id, ordinal, kind, payload, max_attempts, progress_total, progress_unit)
            values ($1, $2, $3, $4, $5, $6, $7, $8)",
            task.id,
            job.id,
            ordinal as i32,
            kind,
            task.payload,
            job.max_attempts,
            task.total as i64,
            task.unit,
        )
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Writes the sources that are new, takes over those that failed before, and leaves alone what is fetched already.
async fn plan_scrape(tx: &mut Tx, job: &LockedJob, spec: &ScrapeSpec) -> StoreResult<Vec<NewTask>> {
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
    Ok(plan::chunk_sizes(pending, spec.options.urls_per_task as usize)
        .into_iter()
        .map(|size| NewTask::new(options.clone(), size as u64, "urls"))
        .collect())
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

async fn plan_verify(tx: &mut Tx, spec: &VerifySpec) -> StoreResult<Vec<NewTask>> {
    let dataset = find_dataset(tx, &spec.dataset).await?;
    let shards = sqlx::query!(
        r#"select s.key, s.sha256, (select count(*) from images i where i.raw_shard = s.key) as "images!"
        from shards s where s.dataset_id = $1 and s.kind = 'raw' and not s.verified order by s.created_at, s.key"#,
        dataset,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(shards
        .into_iter()
        .map(|shard| {
            let payload = json!({"shard_key": shard.key, "shard_sha256": shard.sha256, "spec": spec});
            NewTask::new(payload, shard.images as u64, "images")
        })
        .collect())
}

async fn plan_snapshot(tx: &mut Tx, spec: &SnapshotSpec) -> StoreResult<Vec<NewTask>> {
    find_dataset(tx, &spec.dataset).await?;
    Ok(vec![NewTask::new(json!(spec), 1, "snapshots")])
}

async fn plan_train(tx: &mut Tx, job: &LockedJob, spec: &TrainSpec) -> StoreResult<Vec<NewTask>> {
    let snapshot = match &spec.snapshot {
        SnapshotRef::FromJob(name) => {
            let output = output_of(tx, job.id, name).await?;
            let id = output["snapshot_id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
            let id = id.ok_or_else(|| StoreError::unreadable("output of a snapshot job", &"it names no snapshot"))?;
            snapshot_by_id(tx, id).await?
        }
        SnapshotRef::Numbered { dataset, number } => snapshot_by_name(tx, dataset, *number).await?,
    };
    let payload = json!({"snapshot": snapshot, "recipe": spec.recipe});
    Ok(vec![NewTask::new(payload, u64::from(spec.recipe.epochs + spec.recipe.frozen_epochs), "epochs")])
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

async fn plan_deploy(tx: &mut Tx, job: &LockedJob, spec: &DeploySpec) -> StoreResult<Vec<NewTask>> {
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
    Ok(vec![NewTask::new(payload, 1, "endpoints")])
}
