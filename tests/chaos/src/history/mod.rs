//! Everything that happened, as the database, the object store and those who watched have it after a run.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde_json::Value;
use ursa_demo_web::Outcome;
use ursa_storage::Key;
use uuid::Uuid;

pub use read::Reader;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What was asked for.
    pub submitted: Vec<Submitted>,
    /// The truth about every line of the URL lists, for each dataset that they were scraped into.
    pub truth: Vec<Truth>,
    /// What somebody who watched saw, pipeline by pipeline, in the order in which it came.
    pub watched: BTreeMap<Uuid, Vec<i64>>,
    /// What somebody saw who watched everything, in the order in which it came.
    pub watched_everything: Vec<i64>,
    /// Jobs that somebody cancelled before they had ended.
    pub cancelled: BTreeSet<Uuid>,
    /// When which workers were to take nothing.
    pub drained: Vec<Drained>,
    /// Pipelines.
    pub pipelines: Vec<Pipeline>,
    /// Jobs.
    pub jobs: Vec<Job>,
    /// Tasks.
    pub tasks: Vec<Task>,
    /// Attempts, by task and number.
    pub attempts: Vec<Attempt>,
    /// Events, by id: those of many tasks once for each.
    pub events: Vec<Event>,
    /// Lines of URL lists.
    pub sources: Vec<Source>,
    /// Shards that count.
    pub shards: Vec<Shard>,
    /// Images.
    pub images: Vec<Image>,
    /// Snapshots.
    pub snapshots: Vec<Snapshot>,
    /// Models.
    pub models: Vec<Model>,
    /// Checkpoints, by task, attempt and epoch.
    pub checkpoints: Vec<Checkpoint>,
    /// SHA-256, in hex, of every object that a row names and that is there.
    pub objects: BTreeMap<String, String>,
    /// Keys of everything in the object store, whether a row names it or not.
    pub stored: Vec<Key>,
}

impl History {
    /// Every row on a line of its own, for whoever looks for what went wrong.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        rows(to, &self.submitted)?;
        rows(to, &self.watched)?;
        rows(to, &self.watched_everything)?;
        rows(to, &self.cancelled)?;
        rows(to, &self.drained)?;
        rows(to, &self.pipelines)?;
        rows(to, &self.jobs)?;
        rows(to, &self.tasks)?;
        rows(to, &self.attempts)?;
        rows(to, &self.events)?;
        rows(to, &self.sources)?;
        rows(to, &self.shards)?;
        rows(to, &self.images)?;
        rows(to, &self.snapshots)?;
        rows(to, &self.models)?;
        rows(to, &self.checkpoints)?;
        rows(to, &self.objects)?;
        rows(to, &self.stored)
    }
}

fn rows<T: fmt::Debug>(to: &mut impl Write, rows: impl IntoIterator<Item = T>) -> io::Result<()> {
    rows.into_iter().try_for_each(|row| writeln!(to, "{row:?}"))
}

/// A pipeline that somebody asked for, as often as it took to get an answer.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// Its idempotency key.
    pub key: String,
    /// The pipeline it became, as answered.
    pub pipeline: Uuid,
}

/// A worker that was to take nothing for a while.
#[derive(Debug, Clone)]
pub struct Drained {
    /// Which.
    pub worker: Uuid,
    /// When that was answered for, by this machine's clock, which is Postgres's, too.
    pub from: DateTime<Utc>,
    /// When it was about to be let in again.
    pub to: DateTime<Utc>,
}

/// What must have become of a line of a list.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The dataset.
    pub dataset: String,
    /// The class.
    pub class: String,
    /// The line.
    pub url: String,
    /// What must become of it.
    pub outcome: Outcome,
}

/// A row of `pipelines`.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its id.
    pub id: Uuid,
    /// The idempotency key it was asked for with.
    pub key: Option<String>,
    /// The pipeline that this one runs again.
    pub rerun_of: Option<Uuid>,
}

/// A row of `jobs`.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// Its pipeline.
    pub pipeline: Uuid,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its state.
    pub state: String,
    /// Why it failed.
    pub error: String,
    /// The job whose output it took over instead of doing the work.
    pub cached_from: Option<Uuid>,
    /// What it left behind.
    pub output: Value,
    /// Tasks, as counted.
    pub task_count: i32,
    /// Tasks that have not ended, as counted.
    pub open_tasks: i32,
    /// Units of work, as counted.
    pub units_total: i64,
    /// Units of tasks that ended well, as counted.
    pub units_done: i64,
    /// Attempts that each task may have.
    pub max_attempts: i64,
}

/// A row of `tasks`.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its id.
    pub id: Uuid,
    /// Its job.
    pub job: Uuid,
    /// Its place within the job.
    pub ordinal: i32,
    /// Its state.
    pub state: String,
    /// The number of its last attempt.
    pub attempt: i32,
    /// Units of work.
    pub units: i64,
    /// Attempts that it may have by now: one more for each that did not count.
    pub max_attempts: i32,
}

/// A row of `attempts`.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its task.
    pub task: Uuid,
    /// Which attempt at it, from 1.
    pub number: i32,
    /// Who made it.
    pub worker: Uuid,
    /// The lease.
    pub token: Uuid,
    /// Its state.
    pub state: String,
    /// When the lease was given.
    pub leased_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended badly, as a class of errors.
    pub error_class: Option<String>,
    /// The same for people.
    pub error: String,
    /// Why it was asked to stop, if it was.
    pub stop_reason: Option<String>,
}

/// A row of `events`.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id; grows in the order of commits within a pipeline. What happened to many tasks at once has the same.
    pub id: i64,
    /// Its pipeline.
    pub pipeline: Uuid,
    /// Its job.
    pub job: Uuid,
    /// Its task, if it is about one.
    pub task: Option<Uuid>,
    /// Which attempt, if it is about one.
    pub attempt: Option<i32>,
    /// What happened.
    pub kind: String,
}

/// A row of `sources`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its id, and its image's.
    pub id: Uuid,
    /// Name of its dataset.
    pub dataset: String,
    /// Name of its class.
    pub class: String,
    /// The line.
    pub url: String,
    /// The job that fetched it.
    pub job: Uuid,
    /// The task that fetched it.
    pub task: Option<Uuid>,
    /// `pending`, `fetched` or `failed`.
    pub outcome: String,
    /// Why it failed.
    pub error_class: String,
}

/// A row of `shards`.
#[derive(Debug, Clone)]
pub struct Shard {
    /// Its key.
    pub key: String,
    /// `raw` or `normal`.
    pub kind: String,
    /// The task that made it.
    pub task: Uuid,
    /// The attempt that made it.
    pub attempt: i32,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Of a raw one: whether its images have their verdicts.
    pub verified: bool,
}

/// A row of `images`.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its id, and its source's.
    pub id: Uuid,
    /// The shard it was fetched into.
    pub raw_shard: String,
    /// The shard it was normalised into.
    pub normal_shard: Option<String>,
    /// `unverified`, `kept` or `refused`.
    pub verdict: String,
    /// Why it was refused.
    pub reason: String,
}

/// A row of `snapshots`.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The job that made it.
    pub job: Uuid,
    /// SHA-256 of its manifest, hex.
    pub digest: String,
}

/// A row of `models`.
#[derive(Debug, Clone)]
pub struct Model {
    /// SHA-256 of its `model.json`, hex.
    pub digest: String,
    /// SHA-256 of each file of its package, by key.
    pub files: BTreeMap<String, String>,
    /// The task that trained it.
    pub task: Uuid,
    /// The attempt that trained it.
    pub attempt: i32,
}

/// A row of `checkpoints`.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The task.
    pub task: Uuid,
    /// The attempt.
    pub attempt: i32,
    /// Epochs completed.
    pub epoch: i32,
    /// Where it lies.
    pub key: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
}
