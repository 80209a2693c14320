//! One row that is not as it must be holds up nothing but itself.

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, scrape};

/// The same URLs as any other, in a dataset of its own: a URL is fetched once per dataset.
fn scrape_into(dataset: &str) -> v1::JobDefinition {
    let mut job = scrape(2);
    job.name = dataset.into();
    if let Some(v1::job_definition::Spec::Scrape(spec)) = &mut job.spec {
        spec.dataset = dataset.into();
    }
    job
}

#[tokio::test]
async fn a_task_that_does_not_read_back_fails_alone() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape_into("bears"), scrape_into("wolves")]).await;
    for id in &ids {
        fixture.job_in(id, "running").await;
    }
    fixture.sql(&format!("update tasks set payload = '[\"?\"]' where job_id = '{}'", ids[0])).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 2).await.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!((order.job_id.as_str(), order.lease.unwrap().attempt), (ids[1].as_str(), 1));
    let failed = fixture.job_in(&ids[0], "failed").await;
    let error = failed.job.unwrap().error;
    assert!(error.contains("task payload"), "{error}");
    assert_eq!(failed.tasks[0].attempts[0].error_class(), v1::ErrorClass::Fatal);
}

#[tokio::test]
async fn a_lease_that_cannot_be_taken_back_does_not_keep_others() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape_into("bears"), scrape_into("wolves")]).await;
    let mut worker = Worker::attach(fixture.client(), "mortal", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    fixture.sql(&format!("update tasks set state = 'succeeded' where id = '{}'", task(&order))).await;
    // The other one's lease runs out later, so the sweep comes to the bad row first.
    worker.report.slots = 2;
    let other = worker.next_task().await.unwrap();
    fixture.sql(&format!("update attempts set expires_at = now() where task_id = '{}'", task(&order))).await;
    drop(worker);
    let job = if order.job_id == ids[0] { &ids[1] } else { &ids[0] };
    assert_eq!(&other.job_id, job);
    let look = || async { fixture.job(job).await.tasks[0].attempts[0].state.clone() };
    until("the other lease to be taken back", look, |state| state == "lost").await;
}

fn task(order: &v1::TaskOrder) -> &str {
    &order.lease.as_ref().unwrap().task_id
}
