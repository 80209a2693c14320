//! What a worker says of itself.

use crate::support::{Coordinator, Worker};

#[tokio::test]
async fn a_worker_reports_its_version_labels_and_gpus() {
    let coordinator = Coordinator::start().await;
    let flags = ["--label", "zone=cellar,ursa.dev/spot=", "--pretend-gpus", "24GiB,80GiB:NVIDIA H100:550.54"];
    let _worker = Worker::start(&[&coordinator], &flags);
    let report = coordinator.sees("a report", |seen| seen.report.is_some()).await.report.unwrap();
    assert_eq!((report.name.as_str(), report.protocol_version), ("test", ursa_proto::SESSION_PROTOCOL_VERSION));
    assert_eq!((report.labels.len(), report.labels["zone"].as_str()), (2, "cellar"));
    let gpus: Vec<_> = report.gpus.iter().map(|gpu| (gpu.index, gpu.free_bytes >> 30, gpu.model.as_str())).collect();
    assert_eq!(gpus, [(0, 24, "pretended"), (1, 80, "NVIDIA H100")]);
    assert!(report.kinds.contains(&"probe".to_owned()) && report.kinds.contains(&"train".to_owned()));
    assert!(!report.draining);
}

#[tokio::test]
async fn a_worker_with_labels_that_cannot_be_does_not_start_and_says_why() {
    let coordinator = Coordinator::start().await;
    let error = Worker::start(&[&coordinator], &["--label", "zone=a,zone=b"]).ended().await.unwrap_err();
    assert!(error.to_string().contains("zone is given twice"), "{error}");
}
