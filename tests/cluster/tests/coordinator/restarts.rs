//! What survives when the coordinator or its database goes away.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use ursa_cluster::{Coordinator, Postgres, Worker, until};
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, answered, probe, scrape, scraped};

/// Longer than an answer takes.
const SHORT: Duration = Duration::from_secs(1);
/// Longer than leases live.
const OUTAGE: Duration = Duration::from_secs(5);
/// Every sweep begins anew within that.
const A_SWEEP: Duration = Duration::from_millis(1500);

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

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_postgres_that_outlasts_leases_costs_only_those_of_workers_that_do_not_come_back() {
    let mut fixture = Fixture::start().await;
    fixture.submit(vec![probe(2)]).await;
    let mut faithful = Worker::attach(fixture.client(), "faithful", 1).await.unwrap();
    let lease = faithful.next_task().await.unwrap().lease.unwrap();
    let mut mortal = Worker::attach(fixture.client(), "mortal", 1).await.unwrap();
    let lost = mortal.next_task().await.unwrap().lease.unwrap();
    mortal.say().await.unwrap();
    faithful.say().await.unwrap();

    fixture.postgres.crash().unwrap();
    // A worker that hears no answer gives its session up, and opens another one when it has waited for a while.
    let report = faithful.report.clone();
    drop((faithful, mortal));
    tokio::time::sleep(OUTAGE).await;
    fixture.postgres.resume().unwrap();
    let seen = "select bool_or(last_seen_at > now() - interval '1 second') from workers where internal";
    until("a beat to come through again", || fixture.ask(seen), |is_seen| is_seen == "t").await;
    tokio::time::sleep(A_SWEEP).await;

    let mut faithful = Worker::attach_with(fixture.client(), report).await.unwrap();
    assert!(faithful.say().await.unwrap().stop.is_empty(), "the lease is still good");
    // Whoever is the first on a connection that broke hears of that.
    let request = v1::CompleteTaskRequest { lease: Some(lease.clone()), result: Some(answered()) };
    let complete = || async { fixture.client().workers().complete_task(request.clone()).await };
    until("the attempt to end", complete, Result::is_ok).await.unwrap();
    let first = |task: &str| format!("select state from attempts where task_id = '{task}' and number = 1");
    assert_eq!(fixture.ask(&first(&lease.task_id)).await, "succeeded");
    let other = first(&lost.task_id);
    until("the other lease to be taken back", || fixture.ask(&other), |state| state == "lost").await;
}

#[tokio::test]
async fn a_postgres_that_vanishes_without_a_word_is_given_up_and_found_again() {
    let postgres = Postgres::start().unwrap();
    let (proxy, url) = postgres.behind_a_proxy().unwrap();
    let coordinator = Coordinator::start_with(&url, &["--database-patience=500ms"]).await.unwrap();
    let fixture = Fixture { coordinator, postgres };
    let jobs = fixture.client().jobs();
    let mut worker = Worker::attach(fixture.client(), "faithful", 1).await.unwrap();
    let ids = fixture.submit(vec![probe(1)]).await;
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;

    let silenced = proxy.vanish();
    assert!(silenced > 3, "it had {silenced} connections");
    let begin = Instant::now();
    let list = || timeout(SHORT, async { jobs.clone().list_jobs(v1::ListJobsRequest::default()).await });
    until("an answer of the database", list, |answer| matches!(answer, Ok(Ok(_)))).await.unwrap().unwrap();
    let pipeline = Some(v1::PipelineSpec { name: "test".into(), jobs: vec![probe(1)], ..v1::PipelineSpec::default() });
    let request = v1::SubmitPipelineRequest { pipeline, idempotency_key: "once".into() };
    let submit = || timeout(SHORT, async { jobs.clone().submit_pipeline(request.clone()).await });
    until("a pipeline to be stored", submit, |answer| matches!(answer, Ok(Ok(_)))).await.unwrap().unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let request = v1::CompleteTaskRequest { lease: Some(lease), result: Some(answered()) };
    let complete = || timeout(SHORT, async { fixture.client().workers().complete_task(request.clone()).await });
    until("an attempt to end", complete, |answer| matches!(answer, Ok(Ok(_)))).await.unwrap().unwrap();
    // What sweeps begin waits for theirs to be given up, which are more patient.
    let ids = fixture.submit(vec![scrape(2)]).await;
    fixture.job_in(&ids[0], "running").await;
    assert!(begin.elapsed() < Duration::from_secs(15), "that took {:?}", begin.elapsed());
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
