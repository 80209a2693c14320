//! A client that has nothing of ours: Python with gRPC reflection.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tokio::process::Command;
use ursa_demo_web::{Class, DemoWeb};
use ursa_system::{Store, System};

use crate::asking::nothing_alarming;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/main/stranger.py");

#[tokio::test]
async fn a_strangers_client_lists_the_services_and_runs_a_pipeline() {
    let Some(packages) = packages().await else {
        eprintln!("skipped: Python's grpcio and grpcio-reflection are not to be had here");
        return;
    };
    let mut system = System::start(Store::Folder, 8).await.unwrap();
    system.add_worker().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.json");
    std::fs::write(&file, pipeline(&system.web).to_string()).unwrap();
    let address = system.coordinator.address("grpc").trim_start_matches("http://");
    let output = python(&[SCRIPT, address, file.to_str().unwrap()], Some(&packages)).await.unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), system.logs());
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let services: Vec<_> = seen["services"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for service in ["DatasetService", "EndpointService", "JobService", "ModelService", "NodeService", "WorkerService"] {
        assert!(services.contains(&&*format!("ursa.v1.{service}")), "{services:?}");
    }
    assert!(services.contains(&"grpc.health.v1.Health"), "{services:?}");
    assert_eq!(seen["pipeline"]["state"], "succeeded", "{seen:#}");
    assert_eq!(seen["pipeline"]["jobs"].as_array().unwrap().len(), 3);
    nothing_alarming(&mut system, &[]);
}

/// The pipeline as JSON, written by hand from the protocol's description.
fn pipeline(web: &DemoWeb) -> Value {
    let class = |class: Class| {
        let list = web.url_list(class);
        json!({"name": class.as_str(), "list_name": class.list_name(), "urls": list.lines().collect::<Vec<_>>()})
    };
    json!({"name": "stranger", "jobs": [
        {"name": "scrape",
         "scrape": {"dataset": "strangers-bears", "classes": Class::ALL.map(class), "timeout_ms": 2000}},
        {"name": "verify", "after": ["scrape"], "verify": {"dataset": "strangers-bears"}},
        {"name": "snapshot", "after": ["verify"], "snapshot": {"dataset": "strangers-bears", "valid_percent": 25}},
    ]})
}

/// Where the two packages are, installed by pip on first use; `None` where that cannot be.
async fn packages() -> Option<PathBuf> {
    let folder = std::env::current_exe().ok()?.ancestors().nth(3)?.join("python");
    let works = |output: &Output| output.status.success();
    let import = ["-c", "import grpc, grpc_reflection, google.protobuf"];
    if python(&import, Some(&folder)).await.as_ref().is_some_and(works) {
        return Some(folder);
    }
    let target = folder.to_str()?.to_owned();
    let install = ["-m", "pip", "install", "--quiet", "--target", &target, "grpcio", "grpcio-reflection"];
    python(&install, None).await.as_ref().filter(|output| works(output))?;
    Some(folder)
}

async fn python(arguments: &[&str], packages: Option<&Path>) -> Option<Output> {
    let mut command = Command::new("python3");
    command.args(arguments).kill_on_drop(true);
    if let Some(packages) = packages {
        command.env("PYTHONPATH", packages);
    }
    tokio::time::timeout(std::time::Duration::from_mins(4), command.output()).await.ok()?.ok()
}
