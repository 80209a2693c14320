//! What survives when the coordinator or its database goes away.

use ursa_cluster::{Coordinator, Postgres, Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, scrape, scraped};

#[tokio::test]
async fn a_worker_finishes_its_task_with_the_next_coordinator() {
    let mut fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "faithful", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let report = worker.report.clone();

    fixture.coordinator.crash().await;
    fixture.coordinator.resume().await.unwrap();
    let mut worker = Worker::attach_with(fixture.client(), report).await.unwrap();
    assert!(worker.say().await.unwrap().stop.is_empty(), "the lease is still good");
    let result = scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    let detail = fixture.job_in(&ids[0], "succeeded").await;
    assert_eq!(detail.tasks[0].attempts.len(), 1, "nothing was done twice");
}

// On threads of its own: a Postgres that stops waits for clients that are just connecting, and they must get to speak while
// the test waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_postgres_is_said_and_survived() {
    let mut fixture = Fixture::start().await;
    fixture.postgres.crash().unwrap();
    let error = ApiError::from(fixture.client().jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    fixture.postgres.resume().unwrap();
    let list =
        || async { fixture.client().jobs().list_jobs(v1::ListJobsRequest::default()).await.map_err(ApiError::from) };
    until("the coordinator to find its database again", list, Result::is_ok).await.unwrap();
    let ids = fixture.submit(vec![scrape(2)]).await;
    fixture.job_in(&ids[0], "running").await;
}

#[tokio::test]
async fn a_coordinator_waits_for_postgres_at_its_start() {
    let mut postgres = Postgres::start().unwrap();
    postgres.crash().unwrap();
    let url = postgres.url();
    let starting = tokio::spawn(async move { Coordinator::start(&url).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!starting.is_finished(), "it must wait, not give up");
    postgres.resume().unwrap();
    let coordinator = starting.await.unwrap().unwrap();
    coordinator.client.jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap();
}
