//! What KEDA is told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tonic::transport::Channel;
use ursa_cluster::{Worker, until};
use ursa_proto::externalscaler::external_scaler_client::ExternalScalerClient;
use ursa_proto::externalscaler::{GetMetricsRequest, ScaledObjectRef};
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::claims::{DEAD, Looks, at_work, beside_an_old_transaction};
use crate::fixture::{Fixture, answered, probe, scrape, seconds};

async fn scaler(fixture: &Fixture) -> ExternalScalerClient<Channel> {
    ExternalScalerClient::connect(fixture.client().address().to_owned()).await.unwrap()
}

fn trigger(pairs: &[(&str, &str)]) -> ScaledObjectRef {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ScaledObjectRef { name: "worker".into(), namespace: "ursa".into(), scaler_metadata: pairs.collect() }
}

/// As KEDA asks: for the metric that it was told of. Between its two questions the world may move on, but not each time.
async fn metric(fixture: &Fixture, pairs: &[(&str, &str)]) -> i64 {
    let mut scaler = scaler(fixture).await;
    let spec = scaler.get_metric_spec(trigger(pairs)).await.unwrap().into_inner().metric_specs.remove(0);
    for _ in 0..5 {
        let request =
            GetMetricsRequest { scaled_object_ref: Some(trigger(pairs)), metric_name: spec.metric_name.clone() };
        let value = scaler.get_metrics(request).await.unwrap().into_inner().metric_values.remove(0);
        let active = scaler.is_active(trigger(pairs)).await.unwrap().into_inner().result;
        assert!((value.metric_value_float - value.metric_value as f64).abs() < f64::EPSILON);
        if active == (value.metric_value > 0) {
            return value.metric_value;
        }
    }
    panic!("it is active without a metric, or has a metric without being active");
}

#[tokio::test]
async fn ready_tasks_count_and_so_do_those_at_work_but_not_what_cannot_begin() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let probes = [("kind", "probe")];
    assert_eq!(metric(&fixture, &probes).await, 0);
    fixture.submit(vec![probe(5)]).await;
    assert_eq!(metric(&fixture, &probes).await, 5);
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    assert_eq!(metric(&fixture, &probes).await, 5, "who works keeps its replica");
    assert_eq!(metric(&fixture, &[("kind", "probe"), ("project", "default")]).await, 5);
    assert_eq!(metric(&fixture, &[("kind", "probe"), ("project", "other")]).await, 0);
    assert_eq!(metric(&fixture, &[("kind", "scrape")]).await, 0);

    let mut queues = fixture.client().queues();
    let quota = v1::PutProjectRequest { name: "default".into(), max_running: Some(3), ..Default::default() };
    queues.put_project(quota).await.unwrap();
    assert_eq!(metric(&fixture, &probes).await, 3);
    queues.pause_queue(v1::PauseQueueRequest { kind: "probe".into(), paused: true }).await.unwrap();
    assert_eq!(metric(&fixture, &probes).await, 1, "what is at work goes on");
    worker.complete(&lease, answered()).await.unwrap();
    assert_eq!(metric(&fixture, &probes).await, 0);
    queues.pause_queue(v1::PauseQueueRequest { kind: "probe".into(), paused: false }).await.unwrap();
    queues.pause_project(v1::PauseProjectRequest { name: "default".into(), paused: true }).await.unwrap();
    let held = async || metric(&fixture, &probes).await;
    until("what began in between to be all", held, |tasks| *tasks <= 1).await;
}

/// All of them became ready at the same time.
#[tokio::test]
async fn what_was_taken_is_not_gone_through_with_every_count_beside_an_old_transaction() {
    const LEFT: u32 = 5;
    const COUNTS: u32 = 20;
    let fixture = Fixture::start().await;
    let work = async {
        fixture.submit(vec![probe(DEAD + LEFT)]).await;
        let mut worker = at_work(fixture.client(), DEAD as usize).await;
        worker.report.draining = true;
        worker.say().await.unwrap();
        worker.complete_all(answered).await.unwrap();
        drop(worker);
        let look = Looks::begin(&fixture).await;
        for _ in 0..COUNTS {
            assert_eq!(metric(&fixture, &[("kind", "probe")]).await, i64::from(LEFT));
        }
        // Each is a metric and whether it is active.
        look.end(&fixture, 2 * COUNTS, COUNTS * DEAD / 4).await;
    };
    beside_an_old_transaction(&fixture, work).await;
}

fn needing(name: &str, tasks: u32, resources: v1::Resources) -> v1::JobDefinition {
    v1::JobDefinition { name: name.into(), resources: Some(resources), ..probe(tasks) }
}

fn a_gpu() -> v1::Resources {
    v1::Resources { gpus: Some(1), ..v1::Resources::default() }
}

#[tokio::test]
async fn tasks_count_that_would_find_a_place_on_such_a_worker() {
    let fixture = Fixture::start().await;
    let zone = [("zone".to_owned(), "cellar".to_owned())].into();
    fixture
        .submit(vec![
            needing("plain", 1, v1::Resources::default()),
            needing("zoned", 2, v1::Resources { labels: zone, ..v1::Resources::default() }),
            needing("large", 4, v1::Resources { gpu_memory_bytes: 40 << 30, ..a_gpu() }),
            needing("model", 8, v1::Resources { gpu_models: vec!["H100".into()], ..a_gpu() }),
            needing("driver", 16, v1::Resources { min_driver: "560".into(), ..a_gpu() }),
            needing("two", 32, v1::Resources { gpus: Some(2), ..v1::Resources::default() }),
        ])
        .await;
    let cases: [(&[(&str, &str)], i64); 13] = [
        (&[], 63),
        (&[("gpus", "")], 63),
        (&[("gpus", "true")], 4 + 8 + 16 + 32),
        (&[("gpus", "false")], 1 + 2),
        (&[("gpus", "0"), ("labels", "none")], 1),
        (&[("gpus", "0"), ("labels", "zone=cellar,disk=ssd")], 1 + 2),
        (&[("labels", "zone=attic")], 63 - 2),
        (&[("gpus", "1")], 4 + 8 + 16),
        (&[("gpus", "2")], 4 + 8 + 16 + 32),
        (&[("gpus", "1"), ("gpuMemory", "24GiB")], 8 + 16),
        (&[("gpuMemory", "80GiB"), ("gpuModel", "NVIDIA A100")], 4 + 16 + 32),
        (&[("gpuModel", "NVIDIA H100 80GB HBM3"), ("gpuDriver", "550.54")], 4 + 8 + 32),
        (&[("gpus", "1"), ("gpuMemory", "24GiB"), ("gpuModel", "NVIDIA A10"), ("gpuDriver", "550.54")], 0),
    ];
    for (class, tasks) in cases {
        for key in ["kind", "queue"] {
            let pairs = [&[(key, "probe")][..], class].concat();
            assert_eq!(metric(&fixture, &pairs).await, tasks, "{pairs:?}");
        }
    }
}

#[tokio::test]
async fn a_watcher_of_one_class_hears_of_no_other() {
    let fixture = Fixture::start().await;
    let class = || trigger(&[("kind", "probe"), ("gpus", "1"), ("gpuModel", "NVIDIA A10")]);
    let mut scaler = scaler(&fixture).await;
    let mut stream = scaler.stream_is_active(class()).await.unwrap().into_inner();
    assert!(!stream.message().await.unwrap().unwrap().result);
    let model = |model: &str| v1::Resources { gpu_models: vec![model.into()], ..a_gpu() };
    fixture.submit(vec![probe(1), needing("other", 1, model("H100"))]).await;
    assert!(!scaler.is_active(class()).await.unwrap().into_inner().result);
    fixture.submit(vec![needing("mine", 1, model("a10"))]).await;
    let heard = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
    assert!(heard.expect("nothing was heard for 30 s").unwrap().unwrap().result);
}

#[tokio::test]
async fn a_task_that_comes_back_soon_counts_and_one_that_does_not_does_not() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let mut worker = Worker::attach(fixture.client(), "unlucky", 1).await.unwrap();
    for (wait, tasks) in [(40.0, 1), (3600.0, 1)] {
        let mut job = probe(1);
        job.backoff = Some(v1::Backoff { first: seconds(wait), longest: seconds(wait) });
        fixture.submit(vec![job]).await;
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.fail(&lease, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
        assert_eq!(metric(&fixture, &[("kind", "probe")]).await, tasks, "the other waits for {wait} s");
    }
}

#[tokio::test]
async fn what_comes_back_soon_counts_whatever_else_comes_back_before_it() {
    let fixture = Fixture::start().await;
    let ids = fixture
        .submit(vec![scrape(1), needing("plain", 1, v1::Resources::default()), needing("mine", 1, a_gpu())])
        .await;
    let ready = || fixture.ask("select count(*) from tasks where state = 'ready'");
    until("all to be ready", ready, |ready| ready == "3").await;
    for (job, seconds) in ids.iter().zip([30, 35, 40]) {
        let wait = format!("ready_at = now() + interval '{seconds} s'");
        fixture.sql(&format!("update tasks set state = 'retry_wait', {wait} where job_id = '{job}'")).await;
    }
    assert_eq!(metric(&fixture, &[("kind", "probe"), ("gpus", "1")]).await, 1);
    assert_eq!(metric(&fixture, &[("kind", "probe"), ("gpus", "false")]).await, 1);
    assert_eq!(metric(&fixture, &[("kind", "scrape")]).await, 1);
}

#[tokio::test]
async fn a_watcher_hears_at_once_and_of_every_change() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let mut stream = scaler(&fixture).await.stream_is_active(trigger(&[("kind", "probe")])).await.unwrap().into_inner();
    let mut next = async || {
        let heard = tokio::time::timeout(Duration::from_secs(30), stream.message()).await;
        heard.expect("nothing was heard for 30 s").unwrap().unwrap().result
    };
    assert!(!next().await);
    fixture.submit(vec![probe(1)]).await;
    assert!(next().await);
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    assert!(!next().await);
}

#[tokio::test]
async fn a_trigger_that_cannot_be_meant_is_refused_by_every_call() {
    let fixture = Fixture::start().await;
    let mut scaler = scaler(&fixture).await;
    let wrong = || trigger(&[("kind", "probe"), ("tasksPerReplica", "many")]);
    let metrics = GetMetricsRequest { scaled_object_ref: Some(wrong()), metric_name: String::new() };
    let refused = [
        scaler.is_active(wrong()).await.unwrap_err(),
        scaler.stream_is_active(wrong()).await.unwrap_err(),
        scaler.get_metric_spec(wrong()).await.unwrap_err(),
        scaler.get_metrics(metrics).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        let error = ApiError::from(status);
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("tasksPerReplica is \"many\"; give a number"), "{error}");
    }
    let right = Some(trigger(&[("kind", "probe")]));
    let other = GetMetricsRequest { scaled_object_ref: right, metric_name: "s0-ursa-probe-tasks".into() };
    let error = ApiError::from(scaler.get_metrics(other).await.unwrap_err());
    assert!(error.message.contains("the only one there is is ursa-probe-tasks"), "{error}");
}

#[tokio::test]
async fn the_example_for_kubernetes_is_understood_and_lets_workers_drain() {
    let yaml = include_str!("../../../../deploy/kubernetes/keda-worker.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let of_kind = |kind: &str| documents.iter().find(|document| document["kind"] == kind).unwrap();
    let (deployment, scaled) = (of_kind("Deployment"), of_kind("ScaledObject"));
    assert_eq!(scaled["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    assert_eq!(scaled["metadata"]["namespace"], deployment["metadata"]["namespace"]);

    let pod = &deployment["spec"]["template"]["spec"];
    let arguments = pod["containers"][0]["args"].as_array().unwrap();
    let time = |flag: &str| {
        let value = arguments.iter().find_map(|argument| argument.as_str()?.strip_prefix(flag)).unwrap();
        humantime::parse_duration(value).unwrap()
    };
    let patience = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(patience > time("--drain-timeout=") + time("--stop-grace="));

    let fixture = Fixture::start().await;
    for trigger in scaled["spec"]["triggers"].as_array().unwrap() {
        let scaler_metadata: BTreeMap<String, String> = serde_json::from_value(trigger["metadata"].clone()).unwrap();
        let asked = ScaledObjectRef { scaler_metadata, ..ScaledObjectRef::default() };
        let spec = scaler(&fixture).await.get_metric_spec(asked).await.unwrap().into_inner().metric_specs.remove(0);
        assert_eq!((spec.metric_name.as_str(), spec.target_size), ("ursa-train-tasks", 1));
    }
}
