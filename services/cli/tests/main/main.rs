//! The real binary, against a real coordinator.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod engine;
mod fake;
mod predict;
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
    assert_eq!((&pipeline["name"], &pipeline["jobs"][1]["state"]), (&"bears".into(), &"waiting".into()));

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
