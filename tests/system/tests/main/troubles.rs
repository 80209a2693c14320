//! What goes wrong around the services is said clearly, and nothing is lost.

use std::time::Duration;

use ursa_system::logs::Expected;
use ursa_system::{Store, System};

use crate::asking::{attempts, ended, nothing_alarming, submit, until, warning};
use crate::pipeline::{bears, probes_of};
use crate::whole_loop::every_url_became_what_it_had_to;

/// Less than any shard of the tests: the disk is full for whoever is under this limit.
const FULL_DISK: &[&str] = &["env", "--ignore-signal=XFSZ", "prlimit", "--fsize=20000"];

const POSTGRES_WAS_AWAY: [Expected; 6] = [
    warning(&["waiting for the database"], "Postgres was away"),
    warning(&["log lines stay in the database for now", "the database failed"], "Postgres was away"),
    warning(&["uploads that do not count stay for now", "the database failed"], "Postgres was away"),
    warning(&["sqlx::postgres::notice", "terminating connection"], "Postgres was crashed"),
    warning(&["sqlx_core::pool::connection", "on-release"], "its connections broke"),
    warning(&["sqlx::pool::acquire", "exceeded slow threshold"], "Postgres was away"),
];

#[tokio::test]
async fn a_full_disk_is_said_and_the_work_is_done_where_there_is_room() {
    let mut system = System::start(Store::Folder, 8).await.unwrap();
    let cramped = system.add_worker_through(FULL_DISK).await.unwrap();
    let ids = submit(&system, bears(&system.web, 2, 1)).await;
    let has_failed = |detail: &ursa_proto::v1::JobDetail| attempts(detail).concat().contains(&"failed");
    let detail = until(&system, "an attempt to fail", &ids["scrape"], has_failed).await;
    let error = detail.tasks.iter().flat_map(|task| &task.attempts).find(|attempt| attempt.state == "failed").unwrap();
    assert!(error.error.contains("the object store is full") && error.error.contains("free some space"), "{error:?}");
    assert!(system.workers[cramped].is_running(), "{}", system.logs());
    system.workers[cramped].kill().unwrap();

    system.add_worker().await.unwrap();
    ended(&system, &ids["verify"], "succeeded").await;
    every_url_became_what_it_had_to(&system).await;
    nothing_alarming(&mut system, &[warning(&["attempt", "the object store is full"], "it was full for one worker")]);
}

#[tokio::test]
async fn a_shard_that_is_gone_fails_its_verification_by_name_and_nothing_else() {
    let mut system = System::start(Store::Folder, 8).await.unwrap();
    system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 1, 1)).await;
    ended(&system, &ids["scrape"], "succeeded").await;
    let folder = std::path::Path::new(&system.object_store).join("shards/raw");
    let task = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let shard = std::fs::read_dir(task).unwrap().next().unwrap().unwrap().path();
    let key = shard.strip_prefix(&system.object_store).unwrap().display().to_string();
    std::fs::remove_file(&shard).unwrap();

    let mut verify = bears(&system.web, 2, 1);
    verify.jobs.remove(0);
    verify.jobs[0].after.clear();
    let ids = submit(&system, verify).await;
    let detail = ended(&system, &ids["verify"], "failed").await;
    let error = detail.job.as_ref().unwrap().error.clone();
    assert!(error.contains(&key) && error.contains("missing from the object store"), "{error}");
    let ends = attempts(&detail);
    assert_eq!(ends.iter().filter(|of_task| *of_task == &["failed"]).count(), 1, "{ends:?}");
    assert_eq!(ends.iter().filter(|of_task| *of_task == &["succeeded"]).count(), ends.len() - 1, "{ends:?}");
    nothing_alarming(&mut system, &[warning(&["attempt", "is missing from the object store"], "it was removed")]);
}

#[tokio::test]
async fn postgres_may_go_away_in_the_middle_of_a_pipeline() {
    let mut system = System::start(Store::Folder, 8).await.unwrap();
    system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 3, 1)).await;
    let begun = |detail: &ursa_proto::v1::JobDetail| !attempts(detail).concat().is_empty();
    until(&system, "the scrape to begin", &ids["scrape"], begun).await;
    system.postgres.crash().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    system.postgres.resume().unwrap();
    ended(&system, &ids["snapshot"], "succeeded").await;
    every_url_became_what_it_had_to(&system).await;
    nothing_alarming(&mut system, &POSTGRES_WAS_AWAY);
}

#[tokio::test]
async fn a_worker_keeps_its_task_while_postgres_is_away_for_longer_than_leases_live() {
    let mut system = System::start(Store::Folder, 1).await.unwrap();
    system.add_worker().await.unwrap();
    let ids = submit(&system, probes_of(1, Duration::from_secs(14), 0)).await;
    until(&system, "the probe to begin", &ids["probe"], |detail| attempts(detail) == [["running"]]).await;
    system.postgres.crash().unwrap();
    // So long that the worker gives its session up, too.
    tokio::time::sleep(Duration::from_secs(8)).await;
    system.postgres.resume().unwrap();
    let detail = ended(&system, &ids["probe"], "succeeded").await;
    assert_eq!(attempts(&detail), [["succeeded"]], "{}", system.logs());
    let gave_up = warning(&["session: waiting for the coordinator"], "it answered no report");
    let expected: Vec<Expected> = POSTGRES_WAS_AWAY.into_iter().chain([gave_up]).collect();
    nothing_alarming(&mut system, &expected);
}

#[tokio::test]
async fn a_service_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let cases: [(&str, &[&str], &str); 3] = [
        ("ursa-worker", &["--object-store", "ftp://x"], "ftp://x"),
        (
            "ursa-worker",
            &["--object-store", "/tmp", "--kind", "train", "--trainer", "/no/such/trainer"],
            "/no/such/trainer",
        ),
        ("ursa-coordinator", &["--object-store", "/tmp", "--database-url", "x", "--listen", "0.0.0.0:0"], "loopback"),
    ];
    for (program, arguments, reason) in cases {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let error = ursa_system::Process::start(program, &arguments, &[], &log).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{program} {arguments:?}: {error}");
    }
}
