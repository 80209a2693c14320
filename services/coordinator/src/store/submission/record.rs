//! Pipelines as they are written: `sql/insert_pipelines.sql` takes any number of them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::super::events::NewEvent;
use super::super::{StoreResult, Topic};
use super::pipeline::written;

/// A pipeline as it is written.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) project: String,
    pub(super) idempotency_key: Option<String>,
    pub(super) fingerprint: [u8; 32],
    pub(super) spec: Value,
    pub(super) rerun_of: Option<Uuid>,
    pub(super) reuse: bool,
    pub(super) jobs: Vec<Value>,
    /// Who waits, and for whom.
    pub(super) dependencies: Vec<(Uuid, Uuid)>,
    pub(super) tasks: Vec<FirstTask>,
    pub(super) events: Vec<NewEvent>,
    /// Who has something to look at once it is committed.
    pub(super) topics: Vec<Topic>,
}

impl Record {
    /// How many tasks are ready with that.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

/// A task of a job that runs at once.
#[derive(Debug)]
pub(super) struct FirstTask {
    pub(super) id: Uuid,
    pub(super) job: Uuid,
    pub(super) ordinal: i32,
    pub(super) payload: Value,
    pub(super) units: i64,
}

/// What the database said of a new pipeline.
pub(super) struct Stored {
    pub(super) created_at: DateTime<Utc>,
    /// Webhooks to call, on account of all that was written with it.
    deliveries: i64,
}

/// Writes pipelines; those that are not among what it gives back have a key that is known.
pub(super) async fn insert(executor: impl PgExecutor<'_>, records: &[Record]) -> StoreResult<HashMap<Uuid, Stored>> {
    let dependencies = || records.iter().flat_map(|record| &record.dependencies);
    let tasks = || records.iter().flat_map(|record| &record.tasks);
    let events = || records.iter().flat_map(|record| &record.events);
    let jobs: Vec<&Value> = records.iter().flat_map(|record| &record.jobs).collect();
    let rows = sqlx::query_file!(
        "src/store/sql/insert_pipelines.sql",
        &records.iter().map(|record| record.id).collect::<Vec<_>>(),
        &records.iter().map(|record| record.name.clone()).collect::<Vec<_>>(),
        &records.iter().map(|record| record.project.clone()).collect::<Vec<_>>(),
        &records.iter().map(|record| record.idempotency_key.clone()).collect::<Vec<_>>() as &[Option<String>],
        &records.iter().map(|record| record.fingerprint.to_vec()).collect::<Vec<_>>(),
        &records.iter().map(|record| record.spec.clone()).collect::<Vec<_>>(),
        &records.iter().map(|record| record.rerun_of).collect::<Vec<_>>() as &[Option<Uuid>],
        &records.iter().map(|record| record.reuse).collect::<Vec<_>>(),
        written("jobs", &jobs)?,
        &dependencies().map(|(waiting, _)| *waiting).collect::<Vec<_>>(),
        &dependencies().map(|(_, awaited)| *awaited).collect::<Vec<_>>(),
        &tasks().map(|task| task.id).collect::<Vec<_>>(),
        &tasks().map(|task| task.job).collect::<Vec<_>>(),
        &tasks().map(|task| task.ordinal).collect::<Vec<_>>(),
        &tasks().map(|task| task.payload.clone()).collect::<Vec<_>>(),
        &tasks().map(|task| task.units).collect::<Vec<_>>(),
        &events().map(|event| event.job_id).collect::<Vec<_>>(),
        &events().map(|event| event.kind.to_owned()).collect::<Vec<_>>(),
        &events().map(|event| event.message.clone()).collect::<Vec<_>>(),
    )
    .fetch_all(executor)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.id, Stored { created_at: row.created_at, deliveries: row.deliveries }))
        .collect();
    Ok(stored)
}

/// Who has something to look at now that these are stored.
pub(super) fn topics(records: &[Record], stored: &HashMap<Uuid, Stored>) -> Vec<Topic> {
    let new = records.iter().filter(|record| stored.contains_key(&record.id));
    let mut topics: Vec<Topic> = new.flat_map(|record| &record.topics).copied().collect();
    if stored.values().any(|stored| stored.deliveries > 0) {
        topics.push(Topic::Deliveries);
    }
    topics.sort_unstable();
    topics.dedup();
    topics
}
