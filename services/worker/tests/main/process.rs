//! The worker as a process of its own.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{Coordinator, PATIENCE, Seen, arguments, probe};

/// A worker that has said who it is, and that.
async fn start(coordinator: &Coordinator, folder: &Path, flags: &[&str]) -> (Child, serde_json::Value) {
    let arguments = arguments(&[coordinator], folder, flags);
    let mut process = Command::new(env!("CARGO_BIN_EXE_ursa-worker"))
        .args(&arguments[1..])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    (process, serde_json::from_str(&line).unwrap())
}

fn terminate(process: &Child) {
    kill(Pid::from_raw(process.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
}

async fn exit_code(process: &mut Child) -> Option<i32> {
    tokio::time::timeout(PATIENCE, process.wait()).await.expect("the worker does not end").unwrap().code()
}

#[tokio::test]
async fn a_worker_says_who_it_is_and_ends_well_on_a_signal() {
    let (coordinator, folder) = (Coordinator::start().await, tempfile::tempdir().unwrap());
    let (mut process, announced) = start(&coordinator, folder.path(), &[]).await;
    let report = coordinator.sees("a report", |seen| seen.report.is_some()).await.report.unwrap();
    assert_eq!(announced["worker_id"].as_str(), Some(report.worker_id.as_str()));
    terminate(&process);
    assert_eq!(exit_code(&mut process).await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_worker_that_finishes_its_work() {
    let (coordinator, folder) = (Coordinator::start().await, tempfile::tempdir().unwrap());
    let (mut process, _) = start(&coordinator, folder.path(), &["--drain-timeout", "1h"]).await;
    let order = probe(600_000);
    coordinator.order(&[&order]);
    coordinator.sees("the attempt", |seen| seen.running(&order).is_some()).await;
    terminate(&process);
    coordinator.sees("that no task is taken", Seen::is_draining).await;
    terminate(&process);
    assert_eq!(exit_code(&mut process).await, Some(130));
}
