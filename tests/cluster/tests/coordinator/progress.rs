//! How fast jobs go, and how long the rest takes.

use std::time::SystemTime;

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, answered, probe, scrape, scraped};
use crate::tallies::{complete, fill, full};

/// Two tasks of fifty URLs each.
fn two_tasks() -> v1::JobDefinition {
    let mut job = scrape(50);
    if let Some(v1::job_definition::Spec::Scrape(spec)) = &mut job.spec {
        spec.urls_per_task = 50;
    }
    job
}

async fn says(worker: &mut Worker, done: u64) {
    let progress = v1::Progress { done, total: 50, unit: "urls".into(), message: String::new() };
    worker.report.running[0].progress = Some(progress);
    worker.say().await.unwrap();
}

fn time(at: Option<prost_types::Timestamp>) -> SystemTime {
    at.unwrap().try_into().unwrap()
}

/// A job at work, whose rate has to be that of so much done since it began.
async fn paced(fixture: &Fixture, id: &str, done: f64) -> v1::Job {
    let before = SystemTime::now();
    let job = fixture.job(id).await.job.unwrap();
    let after = SystemTime::now();
    let began = time(job.started_at);
    let rate = |at: SystemTime| done / at.duration_since(began).unwrap().as_secs_f64();
    assert!(rate(after) <= job.rate && job.rate <= rate(before), "{done} since {began:?}: {job:?}");
    job
}

/// A job that has succeeded, whose rate has to be that of so much done from when it began to its end.
async fn ended(fixture: &Fixture, id: &str, done: f64) -> v1::Job {
    let job = fixture.job_in(id, "succeeded").await.job.unwrap();
    let took = time(job.finished_at).duration_since(time(job.started_at)).unwrap().as_secs_f64();
    assert!((job.rate * took - done).abs() < 1e-6, "{done} in {took} s: {job:?}");
    assert!(job.eta_seconds.abs() < 1e-9, "nothing is left: {} s", job.eta_seconds);
    job
}

async fn retry(fixture: &Fixture, id: &str) {
    fixture.job_in(id, "failed").await;
    fixture.client().jobs().retry_job(v1::RetryJobRequest { id: id.to_owned() }).await.unwrap();
}

/// In the hands of two workers.
#[tokio::test]
async fn a_job_says_how_fast_it_goes_and_how_long_the_rest_takes() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let id = fixture.submit(vec![two_tasks()]).await.remove(0);
    let mut first = Worker::attach(fixture.client(), "first", 1).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 1).await.unwrap();
    let orders = [first.next_task().await.unwrap(), second.next_task().await.unwrap()];
    let job = fixture.job(&id).await.job.unwrap();
    assert_eq!((job.progress.unwrap().total, job.rate, job.eta_seconds), (100, 0.0, 0.0), "nothing is done yet");

    says(&mut first, 30).await;
    says(&mut second, 10).await;
    let look = || async { fixture.job(&id).await.job.unwrap() };
    until("both to be heard", look, |job: &v1::Job| job.progress.as_ref().unwrap().done == 40).await;
    let job = paced(&fixture, &id, 40.0).await;
    assert!((job.rate * job.eta_seconds - 60.0).abs() < 1e-6, "60 are left: {job:?}");
    let list = fixture.client().jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner();
    let listed = &list.jobs[0];
    assert!(listed.rate <= job.rate, "it has not got on since: {listed:?}");
    assert!((listed.rate * listed.eta_seconds - 60.0).abs() < 1e-6, "{listed:?}");

    for (worker, order) in [&mut first, &mut second].into_iter().zip(&orders) {
        let result = scraped(&fixture.storage(), order, |url| Some(url.as_bytes().to_vec())).await;
        worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    }
    assert_eq!(ended(&fixture, &id, 100.0).await.progress.unwrap().done, 100);
}

/// What was done before says nothing about how fast it goes now.
#[tokio::test]
async fn another_round_is_as_fast_as_what_is_done_in_it() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let id = fixture.submit(vec![two_tasks()]).await.remove(0);
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    let result = scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    let order = worker.next_task().await.unwrap();
    worker.fail(order.lease.as_ref().unwrap(), v1::ErrorClass::Fatal, "never").await.unwrap();
    retry(&fixture, &id).await;

    let order = worker.next_task().await.unwrap();
    let job = fixture.job(&id).await.job.unwrap();
    assert_eq!((job.progress.unwrap().done, job.rate, job.eta_seconds), (50, 0.0, 0.0), "nothing is done since");
    says(&mut worker, 30).await;
    let look = || async { fixture.job(&id).await.job.unwrap() };
    until("it to be heard", look, |job: &v1::Job| job.progress.as_ref().unwrap().done == 80).await;
    let job = paced(&fixture, &id, 30.0).await;
    assert!((job.rate * job.eta_seconds - 20.0).abs() < 1e-6, "20 are left: {job:?}");

    let result = scraped(&fixture.storage(), &order, |url| Some(url.as_bytes().to_vec())).await;
    worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    assert_eq!(ended(&fixture, &id, 50.0).await.progress.unwrap().done, 100);
}

/// What of them has ended is counted beside their job's row.
#[tokio::test]
async fn another_round_of_many_tasks_is_as_fast_as_what_is_done_in_it() {
    const TASKS: u32 = 1000;
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let id = fixture.submit(vec![v1::JobDefinition { max_attempts: 1, ..probe(TASKS) }]).await.remove(0);
    let mut worker = full(&fixture.coordinator, "worker", 250).await;
    for _ in 0..2 {
        let failing = worker.report.running[0].lease.clone().unwrap();
        worker.fail(&failing, v1::ErrorClass::Fatal, "never").await.unwrap();
    }
    complete(&mut worker, TASKS - 2).await;
    retry(&fixture, &id).await;

    fill(&mut worker, 2).await;
    let job = fixture.job(&id).await.job.unwrap();
    assert_eq!((job.progress.unwrap().done, job.rate, job.eta_seconds), (998, 0.0, 0.0), "nothing is done since");
    let first = worker.report.running[0].lease.clone().unwrap();
    worker.complete(&first, answered()).await.unwrap();
    let job = paced(&fixture, &id, 1.0).await;
    assert!((job.rate * job.eta_seconds - 1.0).abs() < 1e-6, "one is left: {job:?}");
    complete(&mut worker, 1).await;
    assert_eq!(ended(&fixture, &id, 2.0).await.progress.unwrap().done, 1000);
}
