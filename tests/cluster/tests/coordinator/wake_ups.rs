//! A wake-up answers a worker from its last report; it is no sign that the worker lives.

use std::time::Duration;

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, scrape};

/// Beyond the three report intervals after which a worker counts as silent.
const SILENCE: Duration = Duration::from_millis(600);

/// Wakes every session.
async fn wake(fixture: &Fixture) {
    fixture.sql("notify ursa, 'tasks'").await;
}

#[tokio::test]
async fn a_worker_that_hangs_loses_its_task_however_often_it_is_woken() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut hanging = Worker::attach(fixture.client(), "hanging", 1).await.unwrap();
    hanging.next_task().await.unwrap();
    // Makes sure that the lease is among what it last reported.
    hanging.say().await.unwrap();
    let look = || async {
        wake(&fixture).await;
        fixture.job(&ids[0]).await.tasks[0].attempts[0].state.clone()
    };
    until("the attempt to be lost", look, |state| state == "lost").await;
    drop(hanging);
}

#[tokio::test]
async fn a_worker_that_hangs_is_given_nothing_more() {
    let fixture = Fixture::start().await;
    let hanging = Worker::attach(fixture.client(), "hanging", 4).await.unwrap();
    tokio::time::sleep(SILENCE).await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    fixture.job_in(&ids[0], "running").await;
    wake(&fixture).await;
    let mut living = Worker::attach(fixture.client(), "living", 1).await.unwrap();
    let order = living.next_task().await.unwrap();
    assert_eq!(order.lease.unwrap().attempt, 1, "nobody had it before");
    drop(hanging);
}

#[tokio::test]
async fn a_cancellation_is_heard_without_another_report() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![scrape(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    worker.say().await.unwrap();
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: ids[0].clone() }).await.unwrap();
    let stop = loop {
        if let Some(stop) = worker.hear().await.unwrap().stop.pop() {
            break stop;
        }
    };
    assert_eq!((stop.reason(), stop.lease), (v1::StopReason::Cancelled, order.lease));
}
