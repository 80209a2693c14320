//! Planning what is done with pictures: fetch, verify, freeze.

use serde_json::{Value, json};
use ursa_domain::JobSpec;
use ursa_domain::lifecycle::job::Readiness;
use ursa_domain::plan;
use ursa_domain::spec::{ClassUrls, ScrapeSpec, SnapshotSpec, VerifySpec};
use ursa_proto::ApiError;
use uuid::Uuid;

use super::super::jobs::{Feeding, LockedJob, readiness_of};
use super::super::{StoreError, StoreResult, Tx};
use super::{NewTask, Plan};

/// Writes the sources that are new, takes over those that failed before or that a job has left when it ended, and leaves alone
/// what is fetched already, or another job is at.
pub(super) async fn plan_scrape(tx: &mut Tx, job: &LockedJob, spec: &ScrapeSpec) -> StoreResult<Plan> {
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
    Ok(Plan::new("urls", tasks).of_inputs(scrape_inputs(dataset, spec)))
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
    let urls: Vec<String> = listed.iter().map(|url| url.url.to_string()).collect();
    sqlx::query!(
        "insert into sources (id, dataset_id, class_index, list_name, line, url, job_id)
        select s.id, $1, s.class_index, s.list_name, s.line, s.url, $2
        from unnest($3::uuid[], $4::int[], $5::text[], $6::int[], $7::text[]) as s (id, class_index, list_name, line, url)
        on conflict (dataset_id, class_index, url) do update set outcome = 'pending', job_id = $2, task_id = null
        where sources.outcome = 'failed' or sources.outcome = 'pending' and not exists (
            select from jobs o where o.id = sources.job_id and o.finished_at is null)",
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

pub(super) async fn assign_sources(tx: &mut Tx, job_id: Uuid, tasks: &[NewTask], per_task: u32) -> StoreResult<()> {
    let pending = pending_sources(tx, job_id).await?;
    let mut rest = pending.as_slice();
    for (task, size) in tasks.iter().zip(plan::chunk_sizes(pending.len(), per_task as usize)) {
        let (mine, others) = rest.split_at(size);
        rest = others;
        sqlx::query!("update sources set task_id = $1 where id = any ($2)", task.id, mine).execute(&mut **tx).await?;
    }
    Ok(())
}

pub(super) async fn find_dataset(tx: &mut Tx, name: &str) -> StoreResult<Uuid> {
    let id = sqlx::query_scalar!("select id from datasets where name = $1", name).fetch_optional(&mut **tx).await?;
    Ok(id.ok_or_else(|| ApiError::not_found("dataset", name))?)
}

/// One task for every raw shard that is not verified and that no other job is at, each once: what the job itself could not
/// verify it leaves to others.
pub(super) async fn plan_verify(tx: &mut Tx, job: &LockedJob, spec: &VerifySpec) -> StoreResult<Plan> {
    let dataset = find_dataset(tx, &spec.dataset).await?;
    let shards = sqlx::query_file!("src/store/sql/shards_to_take_up.sql", dataset, job.id).fetch_all(&mut **tx).await?;
    let mut tasks = Vec::with_capacity(shards.len());
    for shard in shards {
        let payload = json!({"shard_key": shard.key, "shard_sha256": shard.sha256, "spec": spec});
        let task = NewTask::new(payload, shard.images as u64);
        sqlx::query!(
            "update shards set verify_task = $2, taken_up_by = array_append(taken_up_by, $3::uuid) where key = $1",
            shard.key,
            task.id,
            job.id,
        )
        .execute(&mut **tx)
        .await?;
        tasks.push(task);
    }
    let plan = Plan::new("images", tasks);
    // While pictures come in, what was made of those before them is not what will come of all.
    if readiness_of(tx, job, Feeding::Over).await? == Readiness::Wait {
        return Ok(plan);
    }
    Ok(match verify_inputs(tx, dataset, spec).await? {
        Some(inputs) => plan.of_inputs(inputs),
        None => plan,
    })
}

/// What decides what a job brings in that has succeeded, where that is all there is; `None` where some of it is still to come
/// by another job, or was given up.
pub(super) async fn brought_in(tx: &mut Tx, spec: &JobSpec) -> StoreResult<Option<Value>> {
    match spec {
        JobSpec::Scrape(scrape) => {
            let dataset = find_dataset(tx, &scrape.dataset).await?;
            let pending = sqlx::query_scalar!(
                r#"select exists (select from sources where dataset_id = $1 and outcome = 'pending') as "pending!""#,
                dataset,
            )
            .fetch_one(&mut **tx)
            .await?;
            Ok((!pending).then(|| scrape_inputs(dataset, scrape)))
        }
        JobSpec::Verify(verify) => {
            let dataset = find_dataset(tx, &verify.dataset).await?;
            verify_inputs(tx, dataset, verify).await
        }
        _ => Ok(None),
    }
}

fn scrape_inputs(dataset: Uuid, spec: &ScrapeSpec) -> Value {
    json!({"dataset": dataset, "spec": spec})
}

/// `None` while a shard is not verified.
async fn verify_inputs(tx: &mut Tx, dataset: Uuid, spec: &VerifySpec) -> StoreResult<Option<Value>> {
    let raw = raw_shards(tx, dataset).await?;
    Ok((raw.unverified == 0).then(|| json!({"dataset": dataset, "spec": spec, "shards": raw.digest})))
}

/// What there is to verify in a dataset.
struct RawShards {
    /// Of all their keys.
    digest: String,
    /// How many nobody has verified yet.
    unverified: i64,
}

async fn raw_shards(tx: &mut Tx, dataset: Uuid) -> StoreResult<RawShards> {
    let shards = sqlx::query_as!(
        RawShards,
        r#"select encode(sha256(coalesce(string_agg(key, ',' order by key), '')::bytea), 'hex') as "digest!",
            count(*) filter (where not verified) as "unverified!"
        from shards where dataset_id = $1 and kind = 'raw'"#,
        dataset,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(shards)
}

pub(super) async fn plan_snapshot(tx: &mut Tx, spec: &SnapshotSpec) -> StoreResult<Plan> {
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
