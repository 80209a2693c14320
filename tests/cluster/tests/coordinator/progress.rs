//! How fast jobs go, and how long the rest takes.

use std::time::SystemTime;

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, scrape, scraped};

async fn says(worker: &mut Worker, done: u64) {
    let progress = v1::Progress { done, total: 50, unit: "urls".into(), message: String::new() };
    worker.report.running[0].progress = Some(progress);
    worker.say().await.unwrap();
}

fn time(at: Option<prost_types::Timestamp>) -> SystemTime {
    at.unwrap().try_into().unwrap()
}

/// Two tasks of fifty URLs each, in the hands of two workers.
#[tokio::test]
async fn a_job_says_how_fast_it_goes_and_how_long_the_rest_takes() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let mut job = scrape(50);
    if let Some(v1::job_definition::Spec::Scrape(spec)) = &mut job.spec {
        spec.urls_per_task = 50;
    }
    let id = fixture.submit(vec![job]).await.remove(0);
    let mut first = Worker::attach(fixture.client(), "first", 1).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 1).await.unwrap();
    let orders = [first.next_task().await.unwrap(), second.next_task().await.unwrap()];
    let job = fixture.job(&id).await.job.unwrap();
    assert_eq!((job.progress.unwrap().total, job.rate, job.eta_seconds), (100, 0.0, 0.0), "nothing is done yet");

    says(&mut first, 30).await;
    says(&mut second, 10).await;
    let look = || async { fixture.job(&id).await.job.unwrap() };
    until("both to be heard", look, |job: &v1::Job| job.progress.as_ref().unwrap().done == 40).await;
    let before = SystemTime::now();
    let job = fixture.job(&id).await.job.unwrap();
    let after = SystemTime::now();
    let began = time(job.started_at);
    let rate = |at: SystemTime| 40.0 / at.duration_since(began).unwrap().as_secs_f64();
    assert!(rate(after) <= job.rate && job.rate <= rate(before), "40 since {began:?}: {job:?}");
    assert!((job.rate * job.eta_seconds - 60.0).abs() < 1e-6, "60 are left: {job:?}");
    let list = fixture.client().jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner();
    let listed = &list.jobs[0];
    assert!(listed.rate <= job.rate, "it has not got on since: {listed:?}");
    assert!((listed.rate * listed.eta_seconds - 60.0).abs() < 1e-6, "{listed:?}");

    for (worker, order) in [&mut first, &mut second].into_iter().zip(&orders) {
        let result = scraped(&fixture.storage(), order, |url| Some(url.as_bytes().to_vec())).await;
        worker.complete(order.lease.as_ref().unwrap(), result).await.unwrap();
    }
    let job = fixture.job_in(&id, "succeeded").await.job.unwrap();
    let took = time(job.finished_at).duration_since(time(job.started_at)).unwrap().as_secs_f64();
    assert!((job.rate * took - 100.0).abs() < 1e-6, "100 in {took} s: {job:?}");
    assert_eq!((job.eta_seconds, job.progress.unwrap().done), (0.0, 100), "nothing is left");
}
