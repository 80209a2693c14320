//! How much a worker is given at a time.

use ursa_cluster::Worker;
use ursa_proto::v1;

use crate::fixture::{Fixture, after, scrape, snapshot, train, trained, verify};

#[tokio::test]
async fn orders_come_in_messages_that_are_not_too_large() {
    let fixture = Fixture::start().await;
    let mut job = scrape(600);
    if let Some(v1::job_definition::Spec::Scrape(spec)) = &mut job.spec {
        spec.urls_per_task = 200;
        for url in spec.classes.iter_mut().flat_map(|class| &mut class.urls) {
            url.push_str(&format!("?{}", "x".repeat(1800)));
        }
    }
    let ids = fixture.submit(vec![job]).await;
    fixture.job_in(&ids[0], "running").await;
    let mut worker = Worker::attach(fixture.client(), "roomy", 100).await.unwrap();
    let mut portions = Vec::new();
    while portions.iter().sum::<usize>() < 6 {
        portions.push(worker.say().await.unwrap().start.len());
    }
    assert_eq!(portions.into_iter().filter(|portion| *portion > 0).collect::<Vec<_>>(), [1; 6]);
}

#[tokio::test]
async fn a_worker_trains_one_model_at_a_time() {
    let fixture = Fixture::start().await;
    let mut second = train();
    second.name = "second".into();
    let jobs = vec![scrape(30), after(verify(), &["scrape"]), after(snapshot(), &["verify"]), train(), second];
    let ids = fixture.submit(jobs).await;
    let mut preparing = Worker::attach(fixture.client(), "preparing", 1).await.unwrap();
    preparing.report.kinds = vec!["scrape".into(), "verify".into()];
    fixture.prepare_images(&mut preparing).await;
    for id in &ids[3..] {
        fixture.job_in(id, "running").await;
    }
    let mut worker = Worker::attach(fixture.client(), "worker", 4).await.unwrap();
    let order = worker.next_task().await.unwrap();
    for _ in 0..3 {
        assert_eq!(worker.say().await.unwrap().start, [], "it trains already");
    }
    worker.complete(order.lease.as_ref().unwrap(), trained()).await.unwrap();
    let next = worker.next_task().await.unwrap();
    assert_ne!(next.job_id, order.job_id);
}
