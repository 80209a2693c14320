//! The real binary, against a real coordinator.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod engine;
mod explain;
mod fake;
mod interpret;
mod learned;
mod logs;
mod predict;
mod searched;
mod up;

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::process::Command;
use ursa_cluster::{Coordinator, Postgres};

async fn ursa(coordinator: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ursa"))
        .args(arguments)
        .env("URSA_COORDINATOR", coordinator)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bears(folder: &Path) -> String {
    let file = folder.join("bears.yaml");
    let yaml = "pipeline: bears
jobs:
  scrape: {kind: scrape, dataset: bears, classes: {teddy: [http://web.test/1.jpg]}}
  verify: {kind: verify, dataset: bears, after: [scrape]}
";
    std::fs::write(&file, yaml).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn a_pipeline_is_submitted_shown_and_stopped() {
    let postgres = Postgres::start().unwrap();
    let coordinator = Coordinator::start(&postgres.url()).await.unwrap();
    let address = coordinator.client.address();
    let folder = tempfile::tempdir().unwrap();
    let file = bears(folder.path());

    let submitted = ursa(address, &["pipeline", "run", &file, "--output", "json"]).await;
    assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    let pipeline: Value = serde_json::from_slice(&submitted.stdout).unwrap();
    let verify = &pipeline["jobs"][1];
    assert_eq!((&pipeline["name"], &verify["name"]), (&"bears".into(), &"verify".into()));
    // It begins with the first pictures, perhaps before the answer.
    assert!(["waiting", "running"].map(Value::from).contains(&verify["state"]), "{verify}");

    let listed = ursa(address, &["jobs", "list"]).await;
    let table = text(&listed.stdout);
    assert!(table.contains("scrape") && table.contains("verify") && table.contains("STATE"), "{table}");

    let job = pipeline["jobs"][1]["id"].as_str().unwrap();
    let cancelled = ursa(address, &["jobs", "cancel", job, "--output", "json"]).await;
    let answer: Value = serde_json::from_slice(&cancelled.stdout).unwrap();
    assert_eq!(answer["state"], "cancelled");

    let again = ursa(address, &["jobs", "cancel", job]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("a job that is cancelled cannot be cancelled"), "{}", text(&again.stderr));

    let watched = ursa(address, &["jobs", "watch", job]).await;
    assert!(watched.status.success() && text(&watched.stdout).contains("job.cancelled"), "{}", text(&watched.stdout));
    for lists in [
        ["workers", "list"],
        ["worker", "list"],
        ["project", "list"],
        ["queue", "list"],
        ["schedule", "list"],
        ["webhook", "list"],
        ["tasks", "list"],
        ["nodes", "list"],
        ["models", "list"],
        ["endpoints", "list"],
        ["datasets", "list"],
        ["pipeline", "list"],
    ] {
        let listed = ursa(address, &lists).await;
        assert!(listed.status.success(), "{lists:?}: {}", text(&listed.stderr));
    }
}

/// Runs a command that must work; its answer.
async fn answer(coordinator: &str, arguments: &[&str]) -> Value {
    let output = ursa(coordinator, &[arguments, &["--output", "json"]].concat()).await;
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn probe(folder: &Path) -> String {
    let file = folder.join("probe.yaml");
    let yaml = "pipeline: probe
project: zoo
jobs:
  probe: {kind: probe, tasks: 3, priority: 6, deadlines: {run: 1h}, resources: {labels: {zone: cellar}}}
";
    std::fs::write(&file, yaml).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn jobs_of_a_project_are_explained_steered_and_run_again() {
    let postgres = Postgres::start().unwrap();
    let coordinator = Coordinator::start(&postgres.url()).await.unwrap();
    let address = coordinator.client.address();
    let folder = tempfile::tempdir().unwrap();
    let pipeline = answer(address, &["pipeline", "run", &probe(folder.path())]).await;
    let id = pipeline["id"].as_str().unwrap();
    let job = pipeline["jobs"][0]["id"].as_str().unwrap();

    let get = ["jobs", "get", job];
    let is_explained = |seen: &Value| {
        seen["tasks"].as_array().is_some_and(|tasks| tasks.len() == 3)
            && seen["job"]["waiting_reason"].as_str().is_some_and(|reason| !reason.is_empty())
    };
    ursa_cluster::until("the job to say why nobody works on it", || answer(address, &get), is_explained).await;
    let seen = answer(address, &["jobs", "list", "--project", "zoo", "--kind", "probe"]).await;
    assert_eq!((&seen["jobs"][0]["priority"], &seen["jobs"][0]["tasks"]["queued"]), (&6.into(), &3.into()));

    let counts = answer(address, &["jobs", "prioritise", "9", "--name-prefix", "pro"]).await;
    assert_eq!((&counts["steered"], &counts["left_alone"]), (&1.into(), &0.into()));
    assert_eq!(answer(address, &["jobs", "list"]).await["jobs"][0]["priority"], 9);
    let counts = answer(address, &["jobs", "cancel", "--project", "zoo", "--newer-than", "1h"]).await;
    assert_eq!(counts["steered"], 1);
    let counts = answer(address, &["jobs", "cancel", "--pipeline", id]).await;
    assert_eq!((&counts["steered"], &counts["left_alone"]), (&0.into(), &1.into()));
    let tasks = answer(address, &["tasks", "--job", job, "--state", "cancelled"]).await;
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 3);

    let again = answer(address, &["rerun", id, "--set", "probe.tasks=2", "--fresh"]).await;
    assert_eq!((&again["rerun_of"], &again["project"]), (&id.into(), &"zoo".into()));
    let same = answer(address, &["rerun", id]).await;
    assert_eq!(same["jobs"][0]["name"], "probe");
}

#[tokio::test]
async fn projects_queues_schedules_and_webhooks_are_kept() {
    let postgres = Postgres::start().unwrap();
    let coordinator = Coordinator::start(&postgres.url()).await.unwrap();
    let address = coordinator.client.address();
    let folder = tempfile::tempdir().unwrap();
    let file = probe(folder.path());

    assert_eq!(answer(address, &["project", "put", "zoo", "--weight", "2", "--max-gpus", "4"]).await["max_gpus"], 4);
    assert_eq!(answer(address, &["project", "pause", "zoo"]).await["paused"], true);
    assert_eq!(answer(address, &["project", "resume", "zoo"]).await["paused"], false);
    assert_eq!(answer(address, &["queue", "pause", "probe"]).await["paused"], true);
    let queues = answer(address, &["queue", "list"]).await;
    assert!(queues["queues"].as_array().unwrap().iter().any(|one| one["kind"] == "probe" && one["paused"] == true));

    let put = ["schedule", "put", "nightly", "--cron", "0 3 * * *", "--time-zone", "Europe/Berlin", "--file", &file];
    let schedule = answer(address, &put).await;
    assert!(schedule["next_at"].is_string() && schedule["pipeline"]["name"] == "probe", "{schedule}");
    assert_eq!(answer(address, &["schedule", "pause", "nightly"]).await["paused"], true);
    assert_eq!(answer(address, &["schedule", "list"]).await["schedules"][0]["name"], "nightly");
    answer(address, &["schedule", "delete", "nightly"]).await;
    assert_eq!(ursa(address, &["schedule", "show", "nightly"]).await.status.code(), Some(1));

    let webhook = answer(address, &["webhook", "add", "https://example.org/hook", "--kind", "job."]).await;
    assert_eq!(webhook["secret"].as_str().unwrap().len(), 64);
    let id = webhook["webhook"]["id"].as_str().unwrap();
    assert_eq!(answer(address, &["webhook", "list"]).await["webhooks"][0]["id"], id);
    assert!(answer(address, &["webhook", "deliveries", id]).await["deliveries"].as_array().unwrap().is_empty());
    answer(address, &["webhook", "remove", id]).await;
}

#[tokio::test]
async fn nobody_there_is_an_error_with_a_hint() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = ursa(&address, &["jobs", "list"]).await;
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.starts_with("error: ") && complaint.contains("hint: is a coordinator running at"), "{complaint}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_command_that_is_none_is_not_understood() {
    let output = ursa("http://127.0.0.1:1", &["jobs", "lsit"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("list"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_broken_pipeline_file_is_shown_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = bears(folder.path());
    let yaml = std::fs::read_to_string(&file).unwrap().replace("after:", "aftr:");
    std::fs::write(&file, yaml).unwrap();
    let output = ursa("http://127.0.0.1:1", &["pipeline", "run", &file]).await;
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("bears.yaml:4:") && complaint.contains("did you mean \"after\"?"), "{complaint}");
}
