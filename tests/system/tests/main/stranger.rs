//! A client that has nothing of ours: Python with gRPC reflection.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use ursa_demo_web::{Class, DemoWeb};
use ursa_python::Packages;
use ursa_system::{Store, System};

use crate::asking::nothing_alarming;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/main/stranger.py");
/// The script itself waits for two minutes.
const PATIENCE: Duration = Duration::from_mins(4);

#[tokio::test]
async fn a_strangers_client_lists_the_services_and_runs_a_pipeline() {
    let packages = match Packages::install(&["grpcio", "grpcio-reflection"]) {
        Ok(packages) => packages,
        Err(reason) => {
            eprintln!("skipped, no stranger came: {reason}");
            return;
        }
    };
    let mut system = System::start(Store::Folder, 8).await.unwrap();
    system.add_worker().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.json");
    std::fs::write(&file, pipeline(&system.web).to_string()).unwrap();
    let address = system.coordinator.address("grpc").trim_start_matches("http://");
    let mut stranger = Command::from(packages.python());
    stranger.args([SCRIPT, address, file.to_str().unwrap()]).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, stranger.output()).await.unwrap().unwrap();
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
