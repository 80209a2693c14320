//! Workers that stand still (SIGSTOP) until their task is done or under way elsewhere, and then go on: each of them says
//! what it would have said, is refused, as its own log tells, and nothing of it counts.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ursa_cluster::Record;
use ursa_proto::v1;
use ursa_system::logs::Expected;
use ursa_system::{Store, System};

use crate::asking::{
    LOOK, PATIENCE, attempts, checkpoint, ended, job, log_of, logged, nothing_alarming, submit, until, warning,
};
use crate::kills::{is_under_way, models};
use crate::pipeline::{JOBS, bears, probes, probes_of};
use crate::whole_loop::every_url_became_what_it_had_to;

/// What a worker hears that presents a lease it has lost.
const LOST: &str = "is not current: drop the work";
const STOOD_STILL: Expected = warning(&["session: waiting for the coordinator"], "somebody stood still");
/// Where it was the coordinator that stood still: perhaps with a statement on its way, or in a transaction, which Postgres
/// does not wait for long.
const COORDINATOR_STOOD_STILL: [Expected; 6] = [
    STOOD_STILL,
    warning(&["sqlx::query", "execution time exceeded alert threshold"], "it was asked before, and heard after"),
    warning(&["sqlx::pool::acquire", "exceeded slow threshold"], "it waited before, and had it after"),
    warning(&["waiting for the database"], "a transaction was given up"),
    warning(&["sqlx::postgres::notice", "terminating connection"], "a transaction was given up"),
    warning(&["sqlx_core::pool::connection", "on-release"], "a transaction was given up"),
];
/// A first attempt that stands still after [`EARLY`] is over its time when another one can begin, a lease later.
const PROBE: Duration = Duration::from_secs(4);
const EARLY: Duration = Duration::from_secs(1);

/// How far the present attempt at the only task of a job is.
fn done(detail: &v1::JobDetail) -> u64 {
    detail.tasks.first().and_then(|task| task.progress.as_ref()).map_or(0, |progress| progress.done)
}

/// Has a worker stand still from `at` on in a probe, of which the first attempt may fail on purpose, until another one is
/// at work on it. The worker, and the id of the job.
async fn contested(probe: v1::PipelineSpec, at: Duration) -> (System, usize, String) {
    let mut system = System::start(Store::Folder, 1).await.unwrap();
    let sleeper = system.add_worker().await.unwrap();
    let probe = submit(&system, probe).await["probe"].clone();
    let is_there = |detail: &v1::JobDetail| done(detail) >= at.as_millis() as u64;
    until(&system, "the first attempt to be at work", &probe, is_there).await;
    system.workers[sleeper].freeze().unwrap();
    system.add_worker().await.unwrap();
    let is_second_at_work = |detail: &v1::JobDetail| attempts(detail) == [["lost", "running"]] && done(detail) > 0;
    until(&system, "the second attempt to be at work", &probe, is_second_at_work).await;
    (system, sleeper, probe)
}

/// The probe ends with its second attempt, which took its time.
async fn ends_with_the_second(system: &System, probe: &str) {
    let detail = ended(system, probe, "succeeded").await;
    assert_eq!(attempts(&detail), [["lost", "succeeded"]]);
    let [first, second] = &detail.tasks[0].attempts[..] else { panic!("{detail:#?}") };
    assert_eq!((first.error_class(), second.worker_name.as_str()), (v1::ErrorClass::Fenced, "worker-1"));
    let [began, ended] = [&second.started_at, &second.ended_at].map(|at| (*at).unwrap());
    let took_ms = (ended.seconds - began.seconds) * 1000 + i64::from(ended.nanos - began.nanos) / 1_000_000;
    assert!(took_ms >= PROBE.as_millis() as i64, "it was ended by another after {took_ms} ms");
}

#[tokio::test]
async fn who_comes_back_without_a_lease_cannot_complete() {
    let (mut system, sleeper, probe) = contested(probes_of(1, PROBE, 0), EARLY).await;
    system.workers[sleeper].thaw().unwrap();
    logged(&system, sleeper, &["attempt=1", "the success of this attempt is not recorded", LOST]).await;
    ends_with_the_second(&system, &probe).await;
    nothing_alarming(&mut system, &[STOOD_STILL]);
}

#[tokio::test]
async fn who_comes_back_without_a_lease_can_neither_fail_nor_log() {
    let (mut system, sleeper, probe) = contested(probes_of(1, PROBE, 1), EARLY).await;
    system.workers[sleeper].thaw().unwrap();
    logged(&system, sleeper, &["attempt=1", "log lines were not taken", LOST]).await;
    logged(&system, sleeper, &["attempt=1", "the failure of this attempt is not recorded", LOST]).await;
    ends_with_the_second(&system, &probe).await;
    let log = log_of(&system, &probe).await;
    assert!(log.is_empty(), "its last words are in the log: {log:?}");
    let asked_to = warning(&["attempt=1", "the probe failed, as it was asked to"], "it was");
    nothing_alarming(&mut system, &[STOOD_STILL, asked_to]);
}

#[tokio::test]
async fn who_comes_back_without_a_lease_cannot_report_progress() {
    let far = Duration::from_secs(6);
    let (mut system, sleeper, probe) = contested(probes_of(1, Duration::from_mins(1), 0), far).await;
    system.workers[sleeper].thaw().unwrap();
    logged(&system, sleeper, &["attempt=1", "an attempt was told to stop", "LeaseLost"]).await;
    let detail = job(&system, &probe).await.unwrap();
    assert_eq!(attempts(&detail), [["lost", "running"]]);
    assert!(done(&detail) < far.as_millis() as u64, "so far only the first attempt can be: {detail:#?}");
    system.client.jobs().cancel_job(v1::CancelJobRequest { id: probe.clone() }).await.unwrap();
    let detail = ended(&system, &probe, "cancelled").await;
    assert_eq!(attempts(&detail), [["lost", "cancelled"]]);
    nothing_alarming(&mut system, &[STOOD_STILL]);
}

/// Everything that is told and stored of the jobs of a pipeline.
async fn record(system: &System, ids: &HashMap<String, String>) -> Record {
    let jobs: Vec<String> = JOBS.iter().filter_map(|name| ids.get(*name)).cloned().collect();
    Record::of(&system.client, &system.postgres, &jobs).await.unwrap()
}

/// Lets a worker go on whose task was done elsewhere, up to where `is_far` says. Until then the coordinator stands still:
/// it cannot tell the worker sooner that it has lost its lease.
async fn goes_on_until(system: &System, sleeper: usize, is_far: impl Fn() -> bool) {
    system.coordinator.freeze().unwrap();
    system.workers[sleeper].thaw().unwrap();
    let begin = Instant::now();
    while !is_far() {
        assert!(begin.elapsed() < PATIENCE, "worker {sleeper} does not go on\n{}", system.logs());
        tokio::time::sleep(LOOK).await;
    }
    system.coordinator.thaw().unwrap();
}

/// A worker that has been refused is as good as any other.
async fn takes_tasks_again(system: &System, worker: usize) {
    let name = format!("worker-{worker}");
    let begin = Instant::now();
    loop {
        let probes = submit(system, probes(4)).await;
        let detail = ended(system, &probes["probe"], "succeeded").await;
        if detail.tasks.iter().flat_map(|task| &task.attempts).any(|attempt| attempt.worker_name == name) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "{name} takes no task any more\n{}", system.logs());
    }
}

/// Objects that no row names, of those that attempts store: files by their keys, of a model its folder.
async fn unnamed(system: &System) -> BTreeSet<String> {
    const NAMED: &str = "select string_agg(key, ' ') from (
        select key from shards union all select key from checkpoints union all select key from objects_to_delete
        union all select 'models/' || digest from models) named";
    let named = system.postgres.ask(NAMED).await.unwrap();
    let named: BTreeSet<&str> = named.split(' ').collect();
    let root = Path::new(&system.object_store);
    let files = ["shards", "checkpoints"].iter().flat_map(|folder| files_in(&root.join(folder)));
    let models = std::fs::read_dir(root.join("models")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let keys = files.chain(models).map(|path| path.strip_prefix(root).unwrap().display().to_string());
    keys.filter(|key| !named.contains(key.as_str())).collect()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

#[tokio::test]
async fn a_shard_that_is_stored_without_a_lease_is_named_by_nothing() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    let sleeper = system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 3, 1)).await;
    until(&system, "the scrape to be under way", &ids["scrape"], is_under_way).await;
    system.workers[sleeper].freeze().unwrap();
    system.add_worker().await.unwrap();
    for name in &JOBS[..3] {
        ended(&system, &ids[*name], "succeeded").await;
    }
    let detail = job(&system, &ids["scrape"]).await.unwrap();
    let mut tasks = detail.tasks.iter().zip(attempts(&detail));
    let lost = tasks.find(|(_, attempts)| *attempts == ["lost", "succeeded"]);
    let Some((lost, _)) = lost else { panic!("{detail:#?}") };
    let key = format!("shards/raw/{}/1.tar", lost.id);

    let before = record(&system, &ids).await;
    let shard = Path::new(&system.object_store).join(&key);
    goes_on_until(&system, sleeper, || shard.exists()).await;
    logged(&system, sleeper, &["attempt=1", "log lines were not taken", LOST]).await;
    logged(&system, sleeper, &["attempt=1", "the success of this attempt is not recorded", LOST]).await;
    assert_eq!(record(&system, &ids).await, before);
    assert_eq!(unnamed(&system).await, BTreeSet::from([key]));
    every_url_became_what_it_had_to(&system).await;
    takes_tasks_again(&system, sleeper).await;
    nothing_alarming(&mut system, &COORDINATOR_STOOD_STILL);
}

/// A worker stands still in a training run, with its trainer or without, until the run has ended elsewhere. When it goes
/// on, its run has ended too: with measurements, checkpoints and a model.
async fn a_run_without_its_lease_leaves_no_trace(trainer_stands_still: bool) {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    let sleeper = system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 4, 4)).await;
    checkpoint(&system, &ids["train"]).await;
    let trainer = system.workers[sleeper].children("ursa-trainer").unwrap()[0];
    system.workers[sleeper].freeze().unwrap();
    if trainer_stands_still {
        kill(trainer, Signal::SIGSTOP).unwrap();
    }
    system.add_worker().await.unwrap();
    let detail = ended(&system, &ids["train"], "succeeded").await;
    assert_eq!(attempts(&detail), [["lost", "succeeded"]]);

    let before = record(&system, &ids).await;
    if trainer_stands_still {
        kill(trainer, Signal::SIGCONT).unwrap();
    }
    // Its worker reads to the end what the trainer said, and then sees that it is gone.
    goes_on_until(&system, sleeper, || is_gone(trainer)).await;
    logged(&system, sleeper, &["attempt=1", "measurements were not taken", LOST]).await;
    logged(&system, sleeper, &["attempt=1", "the success of this attempt is not recorded", LOST]).await;
    assert_eq!(record(&system, &ids).await, before);
    assert_eq!(models(&system).await, 1);
    assert_eq!(system.postgres.ask("select attempt from models").await.unwrap(), "2");
    let unnamed = unnamed(&system).await;
    let checkpoints = format!("checkpoints/{}/1/", detail.tasks[0].id);
    let is_checkpoint = |key: &String| key.starts_with(&checkpoints);
    // Those that were there when its attempt was given up may be deleted by now.
    assert!(!trainer_stands_still || unnamed.iter().any(is_checkpoint), "it stored checkpoints: {unnamed:?}");
    let packages: Vec<_> = unnamed.iter().filter(|key| !is_checkpoint(key)).collect();
    assert!(matches!(&packages[..], [package] if package.starts_with("models/")), "it stored a model: {unnamed:?}");
    takes_tasks_again(&system, sleeper).await;
    nothing_alarming(&mut system, &COORDINATOR_STOOD_STILL);
}

/// Also once its parent has taken note.
fn is_gone(process: Pid) -> bool {
    kill(process, None).is_err()
}

#[tokio::test]
async fn a_run_that_went_on_while_its_worker_stood_still_leaves_no_trace() {
    a_run_without_its_lease_leaves_no_trace(false).await;
}

#[tokio::test]
async fn a_run_that_stood_still_with_its_worker_leaves_no_trace() {
    a_run_without_its_lease_leaves_no_trace(true).await;
}
