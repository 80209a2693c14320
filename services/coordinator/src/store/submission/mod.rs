//! Pipelines on their way in: whole or not at all.
//!
//! What can be said of pipelines from their specifications alone is one statement (`sql/insert_pipelines.sql`): jobs, the tasks
//! of those that wait for nothing, events. Where that is all, the statement is the transaction, and that of those who come
//! meanwhile. (Events are recorded under the event lock of a pipeline that nobody else knows yet: other locks may still be
//! taken after it.)

mod pipeline;
mod record;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use ursa_domain::pipeline::PipelineSpec;
use ursa_proto::{ApiError, ErrorCode};
use uuid::Uuid;

use super::events;
use super::jobs::JobRow;
use super::pipelines::PipelineRow;
use super::planning::start;
use super::{Store, StoreError, StoreResult, Topic, Tx};
use crate::gathered::Gathered;
use pipeline::NewPipeline;
use record::{Stored, insert, topics};

pub(crate) use record::Record;

/// A pipeline that was checked and is to be stored.
#[derive(Debug)]
pub(crate) struct Submission<'a> {
    /// What to run.
    pub pipeline: &'a PipelineSpec,
    /// The caller's key, if any.
    pub idempotency_key: Option<&'a str>,
    /// The pipeline that this one runs again.
    pub rerun_of: Option<Uuid>,
    /// SHA-256 of the request: tells a repetition from a conflict.
    pub fingerprint: [u8; 32],
}

/// What became of a submission.
#[derive(Debug)]
pub(crate) struct Submitted {
    /// The pipeline.
    pub pipeline: PipelineRow,
    /// Its jobs, in its order.
    pub jobs: Vec<JobRow>,
    /// Whether an earlier request with the same key made it.
    pub already_existed: bool,
}

impl Store {
    /// Stores a pipeline, or finds the one an earlier request with the same key made. Small ones that are begun with that are
    /// stored `together` with others.
    #[tracing::instrument(skip_all, err(level = "debug"))]
    pub(crate) async fn submit(
        &self,
        submission: &Submission<'_>,
        together: &Gathered<Record, Taken>,
    ) -> StoreResult<Submitted> {
        let new = NewPipeline::of(submission, &self.code)?;
        if new.is_begun()
            && new.is_small()
            && let Some(created_at) = together.ask(new.record()?).await.flatten()?
        {
            return Ok(new.submitted(created_at));
        }
        let mut tx = self.begin().await?;
        let (id, already_existed) = store(&mut tx, &new).await?;
        tx.commit().await?;
        let (pipeline, jobs) = self.pipeline(id).await?;
        Ok(Submitted { pipeline, jobs, already_existed })
    }

    /// Stores pipelines that are begun with that, in one transaction; or none, where one of them is at fault or has to wait
    /// for somebody.
    pub(crate) async fn store_all(&self, records: &[Record]) -> StoreResult<Vec<Taken>> {
        let mut line = self.arrivals.hold().await?;
        let stored = insert(&mut *line, records).await;
        let stored = line.put_back(stored)?;
        self.hub.committed(&topics(records, &stored));
        Ok(taken(records, &stored))
    }

    /// The same as part of a transaction that leases what it can of it: a round is asked for by whoever leaves something.
    pub(crate) async fn store_within(&self, tx: &mut Tx, records: &[Record]) -> StoreResult<Vec<Taken>> {
        let stored = insert(&mut **tx, records).await?;
        let mut topics = topics(records, &stored);
        topics.retain(|topic| *topic != Topic::Tasks);
        tx.hint_all(&topics);
        Ok(taken(records, &stored))
    }
}

/// When a pipeline was stored together with others; nothing where its key is known, or it is to try on its own.
pub(crate) type Taken = Result<Option<DateTime<Utc>>, ApiError>;

fn taken(records: &[Record], stored: &HashMap<Uuid, Stored>) -> Vec<Taken> {
    records.iter().map(|record| Ok(stored.get(&record.id).map(|stored| stored.created_at))).collect()
}

/// Stores a pipeline as part of a transaction, for work by this version of the code; gives its id, and whether an earlier request
/// with the same key made it.
pub(super) async fn submit(tx: &mut Tx, submission: &Submission<'_>, code: &str) -> StoreResult<(Uuid, bool)> {
    store(tx, &NewPipeline::of(submission, code)?).await
}

async fn store(tx: &mut Tx, new: &NewPipeline<'_>) -> StoreResult<(Uuid, bool)> {
    let record = new.record()?;
    let stored = insert(&mut **tx, std::slice::from_ref(&record)).await?;
    if stored.is_empty() {
        return Ok((existing(tx, new.submission).await?, true));
    }
    tx.hint_all(&topics(std::slice::from_ref(&record), &stored));
    let mut events = Vec::new();
    for job in new.unplanned()? {
        events.push(start(tx, &job, new.code).await?);
    }
    events::record(tx, &events).await?;
    Ok((new.id, false))
}

async fn existing(tx: &mut Tx, submission: &Submission<'_>) -> StoreResult<Uuid> {
    let row = sqlx::query!(
        "select id, fingerprint from pipelines where project = $1 and idempotency_key = $2",
        submission.pipeline.project,
        submission.idempotency_key,
    )
    .fetch_one(&mut **tx)
    .await?;
    if row.fingerprint == submission.fingerprint {
        return Ok(row.id);
    }
    let key = submission.idempotency_key.unwrap_or_default();
    Err(StoreError::Api(ApiError::new(
        ErrorCode::IdempotencyConflict,
        format!("the idempotency key {key:?} was used for another request (pipeline {}): use a new key", row.id),
    )))
}
