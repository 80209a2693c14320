//! A sound history, small enough to be broken by hand: probes, and the way from four URLs to a model.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use ursa_demo_web::Outcome;
use ursa_storage::Key;
use uuid::Uuid;

use crate::history::{
    Attempt, Checkpoint, Drained, Event, History, Image, Job, Model, Pipeline, Shard, Snapshot, Source, Submitted,
    Task, Truth,
};

pub(super) const PROBES: Uuid = Uuid::from_u128(1);
pub(super) const BEARS: Uuid = Uuid::from_u128(2);
const GIVEN_UP: Uuid = Uuid::from_u128(3);
const AGAIN: Uuid = Uuid::from_u128(4);
/// Tasks.
pub(super) const PROBE: Uuid = Uuid::from_u128(100);
pub(super) const RETRIED_PROBE: Uuid = Uuid::from_u128(101);
pub(super) const SCRAPE: Uuid = Uuid::from_u128(200);
pub(super) const VERIFY: Uuid = Uuid::from_u128(300);
pub(super) const SNAPSHOT: Uuid = Uuid::from_u128(400);
pub(super) const TRAIN: Uuid = Uuid::from_u128(500);
/// Of the job that was cancelled: one that had ended by then, one at work, one that nobody had begun.
const ENDED: Uuid = Uuid::from_u128(600);
pub(super) const AT_WORK: Uuid = Uuid::from_u128(601);
pub(super) const NOT_BEGUN: Uuid = Uuid::from_u128(602);

/// Of everything.
const SHA256: &str = "5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";

pub(super) fn sound() -> History {
    let mut history = History::default();
    for (key, id) in [("probes", PROBES), ("bears", BEARS), ("given-up", GIVEN_UP), ("again", AGAIN)] {
        history.submitted.push(Submitted { key: key.to_owned(), pipeline: id });
        let rerun_of = (id == AGAIN).then_some(BEARS);
        history.pipelines.push(Pipeline { id, key: Some(key.to_owned()), rerun_of });
    }
    job(&mut history, PROBES, "probe", json!({}), &[(PROBE, 1), (RETRIED_PROBE, 2)]);
    job(&mut history, BEARS, "scrape", json!({"fetched": 3, "timeout": 1}), &[(SCRAPE, 1)]);
    job(&mut history, BEARS, "verify", json!({"kept": 1, "duplicate": 1, "empty": 1}), &[(VERIFY, 2)]);
    job(&mut history, BEARS, "snapshot", json!({"digest": SHA256}), &[(SNAPSHOT, 1)]);
    job(&mut history, BEARS, "train", json!({"model_digest": SHA256}), &[(TRAIN, 2)]);
    give_up(&mut history);
    run_again(&mut history);
    dataset(&mut history);
    history.snapshots.push(Snapshot { job: job_of(SNAPSHOT), digest: SHA256.to_owned() });
    train(&mut history);
    history.stored.extend(history.objects.keys().filter_map(|key| key.parse::<Key>().ok()));
    let from = time(&history);
    history.drained.push(Drained { worker: Uuid::from_u128(1), from, to: from + TimeDelta::seconds(10) });
    for pipeline in [PROBES, BEARS, GIVEN_UP, AGAIN] {
        let events = history.events.iter().filter(|event| event.pipeline == pipeline);
        history.watched.insert(pipeline, events.map(|event| event.id).collect());
    }
    history.watched_everything = history.events.iter().map(|event| event.id).collect();
    history
}

/// The job of a task.
fn job_of(task: Uuid) -> Uuid {
    Uuid::from_u128(task.as_u128() / 100 * 1000)
}

/// A job whose tasks took so many attempts.
fn job(history: &mut History, pipeline: Uuid, kind: &str, output: Value, tasks: &[(Uuid, i32)]) {
    let id = job_of(tasks[0].0);
    let count = tasks.len() as i32;
    history.jobs.push(Job {
        id,
        pipeline,
        name: kind.to_owned(),
        kind: kind.to_owned(),
        state: "succeeded".into(),
        error: String::new(),
        cached_from: None,
        output,
        task_count: count,
        open_tasks: 0,
        units_total: 10 * i64::from(count),
        units_done: 10 * i64::from(count),
        max_attempts: 3,
    });
    event(history, pipeline, id, None, "job.waiting");
    event(history, pipeline, id, None, "job.running");
    for (ordinal, (task, attempts)) in tasks.iter().enumerate() {
        history.tasks.push(Task {
            id: *task,
            job: id,
            ordinal: ordinal as i32,
            state: "succeeded".into(),
            attempt: *attempts,
            units: 10,
            max_attempts: 3,
        });
        for number in 1..=*attempts {
            attempt(history, pipeline, *task, number, number == *attempts);
        }
    }
    event(history, pipeline, id, None, "job.succeeded");
}

fn attempt(history: &mut History, pipeline: Uuid, task: Uuid, number: i32, ends_well: bool) {
    let leased_at = time(history);
    event(history, pipeline, job_of(task), Some((task, number)), "task.leased");
    if task == TRAIN {
        event(history, pipeline, job_of(task), Some((task, number)), "checkpoint");
    }
    let (state, end) = if ends_well { ("succeeded", "task.succeeded") } else { ("lost", "task.retry") };
    event(history, pipeline, job_of(task), Some((task, number)), end);
    history.attempts.push(Attempt {
        task,
        number,
        worker: Uuid::from_u128(number as u128),
        token: Uuid::from_u128(task.as_u128() * 1000 + number as u128),
        state: state.to_owned(),
        leased_at,
        ended_at: Some(time(history)),
        error_class: (!ends_well).then(|| "infrastructure".to_owned()),
        error: String::new(),
        stop_reason: None,
    });
}

/// A job that was cancelled in the middle of its work.
fn give_up(history: &mut History) {
    let id = job_of(AT_WORK);
    event(history, GIVEN_UP, id, None, "job.waiting");
    event(history, GIVEN_UP, id, None, "job.running");
    attempt(history, GIVEN_UP, ENDED, 1, true);
    attempt(history, GIVEN_UP, AT_WORK, 1, false);
    // It did not end by itself.
    history.events.pop();
    event(history, GIVEN_UP, id, None, "job.cancelling");
    event(history, GIVEN_UP, id, Some((AT_WORK, 1)), "task.cancelled");
    event(history, GIVEN_UP, id, None, "job.cancelled");
    if let Some(stopped) = history.attempts.last_mut() {
        stopped.state = "cancelled".into();
        (stopped.error_class, stopped.stop_reason) = (Some("cancelled".into()), Some("cancelled".into()));
    }
    let tasks = [(ENDED, "succeeded", 1), (AT_WORK, "cancelled", 1), (NOT_BEGUN, "cancelled", 0)];
    for (ordinal, (task, state, attempt)) in tasks.into_iter().enumerate() {
        let like = history.tasks[0].clone();
        let (ordinal, state) = (ordinal as i32, state.to_owned());
        history.tasks.push(Task { id: task, job: id, ordinal, state, attempt, ..like });
    }
    let (like, state) = (history.jobs[0].clone(), "cancelled".to_owned());
    let (task_count, units_total, units_done) = (3, 30, 10);
    history.jobs.push(Job { id, pipeline: GIVEN_UP, state, task_count, units_total, units_done, ..like });
    history.cancelled.insert(id);
}

/// A job that took over what the one did that fetches.
fn run_again(history: &mut History) {
    let id = Uuid::from_u128(7000);
    event(history, AGAIN, id, None, "job.waiting");
    event(history, AGAIN, id, None, "job.succeeded");
    let earlier = history.jobs[1].clone();
    let (cached_from, task_count, units_total, units_done) = (Some(earlier.id), 0, 0, 0);
    history.jobs.push(Job { id, pipeline: AGAIN, cached_from, task_count, units_total, units_done, ..earlier });
}

pub(super) fn event(history: &mut History, pipeline: Uuid, job: Uuid, of: Option<(Uuid, i32)>, kind: &str) {
    let id = history.events.len() as i64 + 1;
    let (task, attempt) = of.unzip();
    history.events.push(Event { id, pipeline, job, task, attempt, kind: kind.to_owned() });
}

/// A second after the other.
fn time(history: &History) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(history.events.len() as i64)
}

fn dataset(history: &mut History) {
    let (raw, normal) = (format!("shards/raw/{SCRAPE}/1.tar"), format!("shards/normal/{VERIFY}/2.tar"));
    for (key, kind, task, attempt) in [(&raw, "raw", SCRAPE, 1), (&normal, "normal", VERIFY, 2)] {
        history.shards.push(Shard {
            key: key.clone(),
            kind: kind.to_owned(),
            task,
            attempt,
            sha256: SHA256.to_owned(),
            verified: kind == "raw",
        });
        history.objects.insert(key.clone(), SHA256.to_owned());
    }
    let lines = [
        ("a", Outcome::Kept, "kept", ""),
        ("b", Outcome::CopyOf("a".into()), "refused", "duplicate"),
        ("c", Outcome::Refused("empty"), "refused", "empty"),
        ("d", Outcome::Failed("timeout"), "", ""),
    ];
    for (number, (url, outcome, verdict, reason)) in lines.into_iter().enumerate() {
        let id = Uuid::from_u128(9000 + number as u128);
        let is_fetched = !verdict.is_empty();
        let (dataset, class, url) = ("bears".to_owned(), "teddy".to_owned(), url.to_owned());
        history.truth.push(Truth { dataset: dataset.clone(), class: class.clone(), url: url.clone(), outcome });
        history.sources.push(Source {
            id,
            dataset,
            class,
            url,
            job: job_of(SCRAPE),
            task: Some(SCRAPE),
            outcome: if is_fetched { "fetched" } else { "failed" }.to_owned(),
            error_class: if is_fetched { "" } else { "timeout" }.to_owned(),
        });
        if is_fetched {
            history.images.push(Image {
                id,
                raw_shard: raw.clone(),
                normal_shard: (reason != "empty").then(|| normal.clone()),
                verdict: verdict.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
    history.objects.insert(format!("snapshots/{SHA256}.parquet"), SHA256.to_owned());
}

fn train(history: &mut History) {
    for number in 1..=2 {
        let key = format!("checkpoints/{TRAIN}/{number}/{number}-8.safetensors");
        history.objects.insert(key.clone(), SHA256.to_owned());
        let sha256 = SHA256.to_owned();
        history.checkpoints.push(Checkpoint { task: TRAIN, attempt: number, epoch: number, key, sha256 });
    }
    let key = format!("models/{SHA256}/model.json");
    history.objects.insert(key.clone(), SHA256.to_owned());
    let files = BTreeMap::from([(key, SHA256.to_owned())]);
    history.stored.extend(format!("packages/{TRAIN}/2/{SHA256}").parse::<Key>());
    history.models.push(Model { digest: SHA256.to_owned(), files, task: TRAIN, attempt: 2 });
}
