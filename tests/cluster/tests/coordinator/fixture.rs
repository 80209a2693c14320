//! What the tests share: a running coordinator, specifications, and results as a worker would make them.

use bytes::Bytes;
use ursa_client::Client;
use ursa_cluster::{Coordinator, Postgres, Worker, until};
use ursa_proto::v1;
use ursa_storage::shard::ShardWriter;
use ursa_storage::{Digest, Key, Storage};
use uuid::Uuid;

/// A coordinator on a Postgres of its own.
pub(crate) struct Fixture {
    pub(crate) coordinator: Coordinator,
    pub(crate) postgres: Postgres,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        let postgres = Postgres::start().unwrap();
        let coordinator = Coordinator::start_with(&postgres.url(), flags).await.unwrap();
        Self { coordinator, postgres }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.coordinator.client
    }

    pub(crate) fn storage(&self) -> Storage {
        self.coordinator.storage().unwrap()
    }

    /// Runs statements on the database, in one transaction: for rows as no request makes them.
    pub(crate) async fn sql(&self, statements: &str) {
        self.ask(statements).await;
    }

    /// Asks the database for one value.
    pub(crate) async fn ask(&self, query: &str) -> String {
        self.postgres.ask(query).await.unwrap()
    }

    /// Has `worker` do a scrape and a verify task well.
    pub(crate) async fn prepare_images(&self, worker: &mut Worker) {
        let order = worker.next_task().await.unwrap();
        let result = scraped(&self.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
        worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
        let order = worker.next_task().await.unwrap();
        let result = verified(&self.storage(), &order).await;
        worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    }

    /// Submits jobs and returns their ids in order.
    pub(crate) async fn submit(&self, jobs: Vec<v1::JobDefinition>) -> Vec<String> {
        let pipeline = self.submit_pipeline(jobs).await;
        pipeline.jobs.into_iter().map(|job| job.id).collect()
    }

    pub(crate) async fn submit_pipeline(&self, jobs: Vec<v1::JobDefinition>) -> v1::Pipeline {
        let pipeline = Some(v1::PipelineSpec { name: "test".into(), jobs, ..v1::PipelineSpec::default() });
        let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: String::new() };
        self.client().jobs().submit_pipeline(request).await.unwrap().into_inner().pipeline.unwrap()
    }

    pub(crate) async fn job(&self, id: &str) -> v1::JobDetail {
        self.client().jobs().get_job(v1::GetJobRequest { id: id.into() }).await.unwrap().into_inner()
    }

    /// Waits until a job is in `state`.
    pub(crate) async fn job_in(&self, id: &str, state: &str) -> v1::JobDetail {
        let is = |detail: &v1::JobDetail| detail.job.as_ref().unwrap().state == state;
        until(&format!("the job to be {state}"), || self.job(id), is).await
    }

    /// Everything that happened to a job, oldest first, until it ended.
    pub(crate) async fn events(&self, job_id: &str, after_id: i64) -> Vec<v1::Event> {
        let subject = Some(v1::watch_events_request::Subject::JobId(job_id.into()));
        let request = v1::WatchEventsRequest { subject, after_id };
        let mut stream = self.client().jobs().watch_events(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while let Some(event) = stream.message().await.unwrap() {
            events.extend((event.id > 0).then_some(event));
        }
        events
    }
}

pub(crate) fn job(name: &str, spec: v1::job_definition::Spec) -> v1::JobDefinition {
    v1::JobDefinition {
        name: name.into(),
        after: Vec::new(),
        max_attempts: 2,
        spec: Some(spec),
        ..v1::JobDefinition::default()
    }
}

/// Tasks that do nothing.
pub(crate) fn probe(tasks: u32) -> v1::JobDefinition {
    job("probe", v1::job_definition::Spec::Probe(v1::ProbeSpec { tasks, duration_ms: 0, failures: 0 }))
}

/// What a worker says when a probe is answered.
pub(crate) fn answered() -> v1::complete_task_request::Result {
    v1::complete_task_request::Result::Probe(v1::ProbeResult {})
}

pub(crate) fn seconds(seconds: f64) -> Option<prost_types::Duration> {
    std::time::Duration::from_secs_f64(seconds).try_into().ok()
}

pub(crate) fn after(mut job: v1::JobDefinition, names: &[&str]) -> v1::JobDefinition {
    job.after = names.iter().map(|name| (*name).to_owned()).collect();
    job
}

/// Two classes of `urls` URLs each, in one task.
pub(crate) fn scrape(urls: usize) -> v1::JobDefinition {
    let class = |name: &str| v1::ClassUrls {
        name: name.into(),
        list_name: format!("urls_{name}.txt"),
        urls: (0..urls).map(|index| format!("http://web.test/{name}/{index}.jpg")).collect(),
    };
    let spec = v1::ScrapeSpec {
        dataset: "bears".into(),
        classes: vec![class("black"), class("teddy")],
        ..v1::ScrapeSpec::default()
    };
    job("scrape", v1::job_definition::Spec::Scrape(spec))
}

pub(crate) fn verify() -> v1::JobDefinition {
    let spec = v1::VerifySpec { dataset: "bears".into(), ..v1::VerifySpec::default() };
    job("verify", v1::job_definition::Spec::Verify(spec))
}

pub(crate) fn snapshot() -> v1::JobDefinition {
    let spec = v1::SnapshotSpec { dataset: "bears".into(), seed: 42, valid_percent: 30 };
    job("snapshot", v1::job_definition::Spec::Snapshot(spec))
}

pub(crate) fn train() -> v1::JobDefinition {
    let snapshot = Some(v1::train_spec::Snapshot::SnapshotFromJob("snapshot".into()));
    job("train", v1::job_definition::Spec::Train(v1::TrainSpec { snapshot, ..v1::TrainSpec::default() }))
}

pub(crate) fn deploy() -> v1::JobDefinition {
    let model = Some(v1::deploy_spec::Model::ModelFromJob("train".into()));
    let spec = v1::DeploySpec { endpoint: "bears".into(), model, timeout_seconds: 20 };
    job("deploy", v1::job_definition::Spec::Deploy(spec))
}

pub(crate) fn scrape_task(order: &v1::TaskOrder) -> &v1::ScrapeTask {
    match order.work.as_ref().unwrap() {
        v1::task_order::Work::Scrape(task) => task,
        other => panic!("a scrape task was expected: {other:?}"),
    }
}

/// What a worker makes of a scrape task when every URL whose bytes are given answers, and the others are not found.
pub(crate) async fn scraped(
    storage: &Storage,
    order: &v1::TaskOrder,
    bytes_of: impl Fn(&str) -> Option<Vec<u8>>,
) -> v1::complete_task_request::Result {
    let mut writer = ShardWriter::new();
    let mut outcomes = Vec::new();
    for source in &scrape_task(order).sources {
        outcomes.push(match bytes_of(&source.url) {
            Some(bytes) => {
                let id = Uuid::parse_str(&source.id).unwrap();
                let entry = writer.push(id, "jpg", &bytes, &serde_json::json!({"url": source.url})).unwrap();
                v1::FetchOutcome {
                    source_id: source.id.clone(),
                    http_status: 200,
                    bytes: entry.length,
                    sha256: Digest::of(&bytes).to_string(),
                    shard_offset: entry.offset,
                    shard_length: entry.length,
                    ..v1::FetchOutcome::default()
                }
            }
            None => v1::FetchOutcome {
                source_id: source.id.clone(),
                error_class: "http-status".into(),
                error: "the server answered 404 Not Found".into(),
                http_status: 404,
                ..v1::FetchOutcome::default()
            },
        });
    }
    let shard = store_shard(storage, raw_key(order), writer.finish()).await;
    v1::complete_task_request::Result::Scrape(v1::ScrapeResult { shard: Some(shard), outcomes })
}

pub(crate) fn lease_parts(order: &v1::TaskOrder) -> (Uuid, u32) {
    let lease = order.lease.as_ref().unwrap();
    (Uuid::parse_str(&lease.task_id).unwrap(), lease.attempt)
}

pub(crate) fn raw_key(order: &v1::TaskOrder) -> Key {
    let (task, attempt) = lease_parts(order);
    Key::RawShard { task, attempt }
}

async fn store_shard(storage: &Storage, key: Key, bytes: Bytes) -> v1::Shard {
    let size = bytes.len() as u64;
    let digest = storage.put(&key, bytes).await.unwrap();
    v1::Shard { key: key.to_string(), sha256: digest.to_string(), bytes: size }
}

/// What a worker makes of a verify task when it keeps every picture but those of one byte.
pub(crate) async fn verified(storage: &Storage, order: &v1::TaskOrder) -> v1::complete_task_request::Result {
    let Some(v1::task_order::Work::Verify(task)) = &order.work else { panic!("a verify task was expected: {order:?}") };
    let raw =
        storage.get_verified(&task.shard_key.parse().unwrap(), &task.shard_sha256.parse().unwrap()).await.unwrap();
    let mut writer = ShardWriter::new();
    let mut verdicts = Vec::new();
    for image in ursa_storage::shard::read(&raw).unwrap() {
        if image.bytes.len() == 1 {
            let (reason, detail) = ("truncated".to_owned(), "it ends after 1 byte".to_owned());
            verdicts.push(v1::ImageVerdict {
                image_id: image.id.to_string(),
                reason,
                detail,
                ..v1::ImageVerdict::default()
            });
            continue;
        }
        let entry = writer.push(image.id, "jpg", &image.bytes, &image.sidecar).unwrap();
        let pixels = Digest::of(&image.bytes).to_string();
        verdicts.push(v1::ImageVerdict {
            image_id: image.id.to_string(),
            width: 64,
            height: 48,
            format: "jpeg".into(),
            mode: "rgb8".into(),
            orientation: 1,
            // Far apart, so that nothing counts as a near duplicate.
            perceptual_hash: u64::from_str_radix(&pixels[..16], 16).unwrap(),
            pixel_sha256: pixels,
            shard_offset: entry.offset,
            shard_length: entry.length,
            normal_width: 64,
            normal_height: 48,
            licence: "CC-BY-4.0".into(),
            ..v1::ImageVerdict::default()
        });
    }
    let (task, attempt) = lease_parts(order);
    let shard = store_shard(storage, Key::NormalShard { task, attempt }, writer.finish()).await;
    v1::complete_task_request::Result::Verify(v1::VerifyResult { shard: Some(shard), verdicts })
}

/// What a worker says when a run is over. The package's files are the trainer's affair; here only `model.json` counts.
pub(crate) fn trained() -> v1::complete_task_request::Result {
    let model_json =
        serde_json::json!({"architecture": "resnet18", "classes": ["black", "teddy"], "metrics": {"error_rate": 0.125}})
            .to_string();
    v1::complete_task_request::Result::Train(v1::TrainResult {
        model_digest: Digest::of(model_json.as_bytes()).to_string(),
        model_json,
        error_rates: vec![0.5, 0.125],
        confusion: vec![v1::ConfusionRow { counts: vec![4, 0] }, v1::ConfusionRow { counts: vec![1, 3] }],
        ..v1::TrainResult::default()
    })
}

/// Has a worker make a snapshot, and a model that tells these classes apart; the worker, and the ids of all jobs, of which
/// `more` are the last.
pub(crate) async fn with_model(
    fixture: &Fixture,
    classes: &[&str],
    more: Vec<v1::JobDefinition>,
) -> (Worker, Vec<String>) {
    let first = [scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train()];
    let ids = fixture.submit(first.into_iter().chain(more).collect()).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.prepare_images(&mut worker).await;
    let order = worker.next_task().await.unwrap();
    let model_json =
        serde_json::json!({"architecture": "resnet18", "classes": classes, "metrics": {"error_rate": 0.125}})
            .to_string();
    let model_digest = Digest::of(model_json.as_bytes()).to_string();
    let result = v1::TrainResult { model_digest, model_json, ..v1::TrainResult::default() };
    worker.complete(order.lease.as_ref().unwrap(), v1::complete_task_request::Result::Train(result)).await.unwrap();
    (worker, ids)
}
