//! Reads a history when everything is quiet. The only place here that knows tables; it writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};
use ursa_storage::{Digest, Key, Storage, StorageError};
use uuid::Uuid;

use super::{Attempt, Checkpoint, Event, History, Image, Job, Model, Pipeline, Shard, Snapshot, Source, Task};

/// A way past every proxy into the database.
#[derive(Debug)]
pub struct Reader {
    connection: PgConnection,
}

impl Reader {
    /// Connects.
    pub async fn connect(database_url: &str) -> anyhow::Result<Self> {
        Ok(Self { connection: PgConnection::connect(database_url).await? })
    }

    /// Jobs that have not ended.
    pub async fn open_jobs(&mut self) -> anyhow::Result<i64> {
        let statement = "select count(*) from jobs where state in ('waiting', 'running', 'cancelling')";
        Ok(sqlx::query_scalar(statement).fetch_one(&mut self.connection).await?)
    }

    /// Tasks that have ended well.
    pub async fn tasks_done(&mut self) -> anyhow::Result<i64> {
        let statement = "select count(*) from attempts where state = 'succeeded'";
        Ok(sqlx::query_scalar(statement).fetch_one(&mut self.connection).await?)
    }

    /// Attempts that a worker is at.
    pub async fn held_by(&mut self, worker: Uuid) -> anyhow::Result<i64> {
        let statement = "select count(*) from attempts where worker_id = $1 and ended_at is null";
        Ok(sqlx::query_scalar(statement).bind(worker).fetch_one(&mut self.connection).await?)
    }

    /// Attempts that ended because they were asked to make room.
    pub async fn made_room(&mut self) -> anyhow::Result<i64> {
        let statement = "select count(*) from attempts where state = 'returned' and stop_reason = 'preempted'";
        Ok(sqlx::query_scalar(statement).fetch_one(&mut self.connection).await?)
    }

    /// Attempts whose uploads are still to be looked at.
    pub async fn to_clean(&mut self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("select count(*) from attempts_to_clean").fetch_one(&mut self.connection).await?)
    }

    /// The id of the newest event.
    pub async fn last_event(&mut self) -> anyhow::Result<i64> {
        let statement = "select coalesce(max(id), 0) from events";
        Ok(sqlx::query_scalar(statement).fetch_one(&mut self.connection).await?)
    }

    /// Everything the database and the store know of what happened.
    pub async fn history(&mut self, storage: &Storage) -> anyhow::Result<History> {
        let mut history = History {
            pipelines: self.rows("select * from pipelines order by id", pipeline).await?,
            jobs: self.rows(JOBS, job).await?,
            tasks: self.rows("select * from tasks order by job_id, ordinal", task).await?,
            attempts: self.rows("select * from attempts order by task_id, number", attempt).await?,
            events: self.rows("select * from events order by id", events).await?.concat(),
            sources: self.rows(SOURCES, source).await?,
            shards: self.rows("select * from shards order by key", shard).await?,
            images: self.rows("select * from images order by id", image).await?,
            snapshots: self.rows("select job_id, digest from snapshots order by id", snapshot).await?,
            models: self.rows("select * from models order by digest", model).await?,
            checkpoints: self.rows("select * from checkpoints order by task_id, attempt, epoch", checkpoint).await?,
            ..History::default()
        };
        history.objects = objects(storage, &named(&history)).await?;
        Ok(history)
    }

    async fn rows<T>(
        &mut self,
        statement: &'static str,
        read: fn(&PgRow) -> sqlx::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        let rows = sqlx::query(statement).fetch_all(&mut self.connection).await.context(statement)?;
        rows.iter().map(|row| read(row).context(statement)).collect()
    }
}

const JOBS: &str = "select *, (policy ->> 'max_attempts')::bigint as max_attempts from jobs order by id";
const SOURCES: &str =
    "select s.id, d.name as dataset, c.name as class, s.url, s.job_id, s.task_id, s.outcome, s.error_class
    from sources s join datasets d on d.id = s.dataset_id
    join classes c on c.dataset_id = s.dataset_id and c.index = s.class_index order by s.id";

fn pipeline(row: &PgRow) -> sqlx::Result<Pipeline> {
    Ok(Pipeline { id: row.try_get("id")?, key: row.try_get("idempotency_key")?, rerun_of: row.try_get("rerun_of")? })
}

fn job(row: &PgRow) -> sqlx::Result<Job> {
    Ok(Job {
        id: row.try_get("id")?,
        pipeline: row.try_get("pipeline_id")?,
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        state: row.try_get("state")?,
        error: row.try_get("error")?,
        cached_from: row.try_get("cached_from")?,
        output: row.try_get("output")?,
        task_count: row.try_get("task_count")?,
        open_tasks: row.try_get("open_tasks")?,
        units_total: row.try_get("units_total")?,
        units_done: row.try_get("units_done")?,
        max_attempts: row.try_get("max_attempts")?,
    })
}

fn task(row: &PgRow) -> sqlx::Result<Task> {
    Ok(Task {
        id: row.try_get("id")?,
        job: row.try_get("job_id")?,
        ordinal: row.try_get("ordinal")?,
        state: row.try_get("state")?,
        attempt: row.try_get("attempt")?,
        units: row.try_get("units")?,
        max_attempts: row.try_get("max_attempts")?,
    })
}

fn attempt(row: &PgRow) -> sqlx::Result<Attempt> {
    Ok(Attempt {
        task: row.try_get("task_id")?,
        number: row.try_get("number")?,
        worker: row.try_get("worker_id")?,
        token: row.try_get("lease_token")?,
        state: row.try_get("state")?,
        leased_at: row.try_get("leased_at")?,
        ended_at: row.try_get("ended_at")?,
        error_class: row.try_get("error_class")?,
        error: row.try_get("error")?,
        stop_reason: row.try_get("stop_reason")?,
    })
}

/// What happened to many tasks happened to each.
fn events(row: &PgRow) -> sqlx::Result<Vec<Event>> {
    let event = Event {
        id: row.try_get("id")?,
        pipeline: row.try_get("pipeline_id")?,
        job: row.try_get("job_id")?,
        task: row.try_get("task_id")?,
        attempt: row.try_get("attempt")?,
        kind: row.try_get("kind")?,
    };
    let Some(tasks) = row.try_get::<Option<Vec<Uuid>>, _>("task_ids")? else { return Ok(vec![event]) };
    let attempts: Vec<i32> = row.try_get("attempts")?;
    let kind = event.kind.replacen("tasks.", "task.", 1);
    let each = tasks.into_iter().zip(attempts);
    Ok(each
        .map(|(task, number)| Event { task: Some(task), attempt: Some(number), kind: kind.clone(), ..event.clone() })
        .collect())
}

fn source(row: &PgRow) -> sqlx::Result<Source> {
    Ok(Source {
        id: row.try_get("id")?,
        dataset: row.try_get("dataset")?,
        class: row.try_get("class")?,
        url: row.try_get("url")?,
        job: row.try_get("job_id")?,
        task: row.try_get("task_id")?,
        outcome: row.try_get("outcome")?,
        error_class: row.try_get("error_class")?,
    })
}

fn shard(row: &PgRow) -> sqlx::Result<Shard> {
    Ok(Shard {
        key: row.try_get("key")?,
        kind: row.try_get("kind")?,
        task: row.try_get("task_id")?,
        attempt: row.try_get("attempt")?,
        sha256: row.try_get("sha256")?,
        verified: row.try_get("verified")?,
    })
}

fn image(row: &PgRow) -> sqlx::Result<Image> {
    Ok(Image {
        id: row.try_get("id")?,
        raw_shard: row.try_get("raw_shard")?,
        normal_shard: row.try_get("normal_shard")?,
        verdict: row.try_get("verdict")?,
        reason: row.try_get("reason")?,
    })
}

fn snapshot(row: &PgRow) -> sqlx::Result<Snapshot> {
    Ok(Snapshot { job: row.try_get("job_id")?, digest: row.try_get("digest")? })
}

fn model(row: &PgRow) -> sqlx::Result<Model> {
    let digest: String = row.try_get("digest")?;
    let manifest: String = row.try_get("model_json")?;
    let files = package(&digest, &manifest);
    Ok(Model { digest, files, task: row.try_get("task_id")?, attempt: row.try_get("attempt")? })
}

/// The files of a model package by key, each with the digest that it must have.
fn package(digest: &str, manifest: &str) -> BTreeMap<String, String> {
    let manifest: Value = serde_json::from_str(manifest).unwrap_or_default();
    let named = manifest["files"].as_object().into_iter().flatten();
    let digest_of = |file: &Value| file["sha256"].as_str().unwrap_or_default().to_owned();
    let files = named.map(|(name, file)| (format!("models/{digest}/{name}"), digest_of(file)));
    files.chain([(format!("models/{digest}/model.json"), digest.to_owned())]).collect()
}

fn checkpoint(row: &PgRow) -> sqlx::Result<Checkpoint> {
    Ok(Checkpoint {
        task: row.try_get("task_id")?,
        attempt: row.try_get("attempt")?,
        epoch: row.try_get("epoch")?,
        key: row.try_get("key")?,
        sha256: row.try_get("sha256")?,
    })
}

/// Keys of all objects that count.
fn named(history: &History) -> BTreeSet<String> {
    let shards = history.shards.iter().map(|shard| shard.key.clone());
    let checkpoints = history.checkpoints.iter().map(|checkpoint| checkpoint.key.clone());
    let manifests = history.snapshots.iter().map(|snapshot| format!("snapshots/{}.parquet", snapshot.digest));
    let models = history.models.iter().flat_map(|model| model.files.keys().cloned());
    shards.chain(checkpoints).chain(manifests).chain(models).collect()
}

/// The digests of those objects that are there.
async fn objects(storage: &Storage, keys: &BTreeSet<String>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for text in keys {
        let Ok(key) = text.parse::<Key>() else { continue };
        match storage.get(&key).await {
            Ok(bytes) => drop(found.insert(text.clone(), Digest::of(&bytes).to_string())),
            Err(StorageError::NotFound { .. }) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {text}")),
        }
    }
    Ok(found)
}
