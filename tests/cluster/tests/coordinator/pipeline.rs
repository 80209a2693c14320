//! One pipeline from URLs to an endpoint.

use ursa_cluster::{Node, Worker};
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, after, deploy, scrape, scraped, snapshot, train, trained, verified, verify};

#[tokio::test]
async fn a_pipeline_runs_from_urls_to_an_endpoint() {
    let fixture = Fixture::start().await;
    let _node = Node::attach(fixture.client(), "node-1", "ready", "").await.unwrap();
    let jobs = vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train(), deploy()];
    let ids = fixture.submit(jobs).await;
    let storage = fixture.storage();
    let mut worker = Worker::attach(fixture.client(), "worker-1", 1).await.unwrap();

    let order = worker.next_task().await.unwrap();
    let bytes_of = |url: &str| match url {
        "http://web.test/black/3.jpg" => None,
        "http://web.test/black/4.jpg" => Some(vec![1]),
        "http://web.test/teddy/7.jpg" => Some(b"http://web.test/teddy/6.jpg".to_vec()),
        url => Some(url.as_bytes().to_vec()),
    };
    let result = scraped(&storage, &order, bytes_of).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();

    let order = worker.next_task().await.unwrap();
    let result = verified(&storage, &order).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();

    let order = worker.next_task().await.unwrap();
    let Some(v1::task_order::Work::Train(task)) = &order.work else { panic!("{order:?}") };
    assert_eq!((task.dataset.as_str(), task.snapshot_number), ("bears", 1));
    let digest = task.snapshot_digest.parse().unwrap();
    let manifest = storage.get_verified(&ursa_storage::Key::Manifest { digest }, &digest).await.unwrap();
    let manifest = ursa_storage::manifest::Manifest::from_parquet(manifest).unwrap();
    assert_eq!(manifest.rows.len(), 57, "60 URLs less one not found, one truncated, one copy");
    assert_eq!(manifest.classes, ["black", "teddy"]);
    assert!(manifest.rows.is_sorted_by_key(|row| &row.sha256), "the order of a run goes by content alone");
    assert!(manifest.rows.iter().all(|row| row.licence == "CC-BY-4.0" && row.source_url.starts_with("http")));
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();

    for id in &ids {
        fixture.job_in(id, "succeeded").await;
    }
    dataset_tells_what_happened(&fixture).await;
    endpoint_serves_the_model(&fixture).await;
}

async fn dataset_tells_what_happened(fixture: &Fixture) {
    let mut datasets = fixture.client().datasets();
    let dataset = datasets.get_dataset(v1::GetDatasetRequest { name: "bears".into() }).await.unwrap().into_inner();
    assert_eq!((dataset.sources["fetched"], dataset.sources["http-status"]), (59, 1));
    assert_eq!((dataset.images["kept"], dataset.images["truncated"], dataset.images["duplicate"]), (57, 1, 1));
    assert_eq!(dataset.latest_snapshot, 1);
    let request = v1::ListImagesRequest { dataset: "bears".into(), verdict: "duplicate".into(), ..Default::default() };
    let copies = datasets.list_images(request).await.unwrap().into_inner().images;
    assert_eq!(copies[0].url, "http://web.test/teddy/7.jpg");
    let image = v1::GetImageRequest { id: copies[0].duplicate_of.clone(), original: false };
    let picture = datasets.get_image(image).await.unwrap().into_inner();
    assert_eq!(picture.data.as_ref(), b"http://web.test/teddy/6.jpg");
    let request = v1::ListSourcesRequest { dataset: "bears".into(), outcome: "failed".into(), page: None };
    let failed = datasets.list_sources(request).await.unwrap().into_inner().sources;
    assert_eq!((failed.len(), failed[0].line, failed[0].http_status), (1, 4, 404));
}

async fn endpoint_serves_the_model(fixture: &Fixture) {
    let models =
        fixture.client().models().list_models(v1::ListModelsRequest { page: None }).await.unwrap().into_inner();
    let model = &models.models[0];
    assert_eq!((model.architecture.as_str(), model.classes.len()), ("resnet18", 2));
    let request = v1::GetEndpointRequest { name: "bears".into() };
    let endpoint = fixture.client().endpoints().get_endpoint(request).await.unwrap().into_inner();
    assert_eq!(endpoint.model_digest, model.digest);
    assert_eq!(endpoint.assignments[0].serving_digest, model.digest);
}

#[tokio::test]
async fn a_model_that_a_node_refuses_is_not_deployed() {
    let fixture = Fixture::start().await;
    let _node = Node::attach(fixture.client(), "node-1", "failed", "golden example 0 differs by 0.7").await.unwrap();
    let ids = fixture
        .submit(vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train(), deploy()])
        .await;
    let storage = fixture.storage();
    let mut worker = Worker::attach(fixture.client(), "worker-1", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let result = scraped(&storage, &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let result = verified(&storage, &order).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    let order = worker.next_task().await.unwrap();
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
    let failed = fixture.job_in(&ids[4], "failed").await;
    let error = failed.job.unwrap().error;
    assert!(error.contains("node-1") && error.contains("golden example 0"), "{error}");
}

#[tokio::test]
async fn a_failed_url_can_be_fetched_again_alone() {
    let fixture = Fixture::start().await;
    let storage = fixture.storage();
    let ids = fixture.submit(vec![scrape(3)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker-1", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let result =
        scraped(&storage, &order, |url| (!url.ends_with("black/1.jpg")).then(|| url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;

    let request = v1::RetrySourcesRequest { dataset: "bears".into(), source_ids: Vec::new() };
    fixture.client().datasets().retry_sources(request.clone()).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let sources = &crate::fixture::scrape_task(&order).sources;
    assert_eq!(sources.iter().map(|source| source.url.as_str()).collect::<Vec<_>>(), ["http://web.test/black/1.jpg"]);
    let result = scraped(&storage, &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();

    let error = ApiError::from(fixture.client().datasets().retry_sources(request).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::IllegalState, "{error}");
}

#[tokio::test]
async fn what_waits_for_a_failed_job_is_skipped_and_runs_when_it_is_retried() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2), after(verify(), &["scrape"])]).await;
    let mut worker = Worker::attach(fixture.client(), "worker-1", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Fatal, "the list is cursed").await.unwrap();
    let failed = fixture.job_in(&ids[0], "failed").await;
    assert_eq!(failed.job.unwrap().error, "the list is cursed");
    fixture.job_in(&ids[1], "skipped").await;

    fixture.client().jobs().retry_job(v1::RetryJobRequest { id: ids[0].clone() }).await.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!(order.lease.as_ref().unwrap().attempt, 2, "attempts are never overwritten");
    let result = scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
    let order = worker.next_task().await.unwrap();
    let result = verified(&fixture.storage(), &order).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    fixture.job_in(&ids[1], "succeeded").await;
}

#[tokio::test]
async fn a_watcher_that_comes_back_misses_nothing() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker-1", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let result = scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
    let all = fixture.events(&ids[0], 0).await;
    let kinds: Vec<_> = all.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["job.waiting", "job.running", "task.leased", "task.succeeded", "job.succeeded"]);
    assert_eq!(fixture.events(&ids[0], all[2].id).await, all[3..]);
}
