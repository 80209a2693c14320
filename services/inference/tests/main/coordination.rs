//! The session: coordinators that go, come back, or are of another version; and the process itself.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::{Coordinator, Node, PATIENCE, Setup, ended, package, picture};

#[tokio::test]
async fn a_node_serves_on_while_the_coordinator_is_away_and_comes_back_as_the_same_node() {
    let (mut node, digest) = Node::serving(&[]).await;
    let first = node.setup.coordinator.report("anything", |_| true).await;
    assert_eq!((&first.http_address, &first.grpc_address), (&node.addresses.http, &node.addresses.grpc));
    assert_eq!(first.name, "test");
    let address = node.setup.coordinator.address;
    node.setup.coordinator.stop();
    for _ in 0..3 {
        assert_eq!(node.post("/classify", "image/png", picture(1)).await.0, 200);
    }
    node.setup.coordinator = rebind(address).await;
    node.setup.coordinator.order(&[("bears", &digest)]);
    let again = node.setup.coordinator.report("a model", |report| report.endpoints.len() == 1).await;
    assert_eq!(again.node_id, first.node_id);
    node.setup.coordinator.state("bears", &digest, "ready").await;
    let newer = node.setup.store(&package(2)).await;
    node.setup.coordinator.order(&[("bears", &newer)]);
    node.setup.coordinator.state("bears", &newer, "ready").await;
    node.end().await;
}

/// A coordinator at an address that is being let go of.
async fn rebind(address: std::net::SocketAddr) -> Coordinator {
    let free = async {
        while tokio::net::TcpListener::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, free).await.expect("the address is not let go of");
    Coordinator::start_at(address, false).await
}

#[tokio::test]
async fn a_coordinator_of_another_version_ends_the_node_with_both_versions_named() {
    let setup = Setup { coordinator: Coordinator::of_another_version().await, ..Setup::new().await };
    let node = setup.start(&[]).await;
    let error = format!("{:#}", ended(node.task).await.unwrap_err());
    assert!(error.contains("version 1") && error.contains("coordinator 2"), "{error}");
}

#[tokio::test]
async fn the_process_says_where_it_listens_and_ends_well_on_sigterm() {
    let setup = Setup::new().await;
    let mut process = Command::new(env!("CARGO_BIN_EXE_ursa-inference"))
        .args(setup.flags(&[]))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&line).unwrap();
    let report = setup.coordinator.report("anything", |_| true).await;
    assert_eq!(
        (addresses["http"].as_str(), addresses["grpc"].as_str()),
        (Some(&*report.http_address), Some(&*report.grpc_address))
    );
    let killed = Command::new("kill").arg(process.id().unwrap().to_string()).status().await.unwrap();
    assert!(killed.success());
    let status = tokio::time::timeout(PATIENCE, process.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_node_that_cannot_start_says_why_and_exits_with_1() {
    let setup = Setup::new().await;
    for (flags, expected) in [(["--http", "0.0.0.0:0"], "loopback"), (["--object-store", "ftp://x"], "ftp://x")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ursa-inference"));
        let mut all = setup.flags(&[]);
        all.retain(|flag| flags[0] != "--object-store" || (flag != "--object-store" && !flag.starts_with('/')));
        let output = command.args(all).args(flags).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(log.contains(expected), "{log}");
    }
}
