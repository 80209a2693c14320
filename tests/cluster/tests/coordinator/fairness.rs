//! Who gets how much: projects, quotas, pauses, priorities.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, answered, probe};

async fn submit_as(fixture: &Fixture, project: &str, job: v1::JobDefinition) -> String {
    let pipeline = v1::PipelineSpec {
        name: "test".into(),
        project: project.into(),
        jobs: vec![job],
        ..v1::PipelineSpec::default()
    };
    let request = v1::SubmitPipelineRequest { pipeline: Some(pipeline), idempotency_key: String::new() };
    let pipeline = fixture.client().jobs().submit_pipeline(request).await.unwrap().into_inner().pipeline.unwrap();
    pipeline.jobs[0].id.clone()
}

async fn put(fixture: &Fixture, project: v1::PutProjectRequest) {
    fixture.client().queues().put_project(project).await.unwrap();
}

/// The tasks that a worker holds, by job.
fn held(worker: &Worker, orders: &[v1::TaskOrder]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for order in orders {
        if worker.report.running.iter().any(|running| running.lease == order.lease) {
            *counts.entry(order.job_id.clone()).or_default() += 1;
        }
    }
    counts
}

/// Hears until it holds `count` tasks.
async fn until_holds(worker: &mut Worker, count: usize) -> Vec<v1::TaskOrder> {
    let mut orders = Vec::new();
    let begin = std::time::Instant::now();
    while orders.len() < count {
        assert!(begin.elapsed().as_secs() < 20, "it was given {} of {count}", orders.len());
        orders.extend(worker.say().await.unwrap().start);
    }
    orders
}

#[tokio::test]
async fn projects_share_by_weight() {
    let fixture = Fixture::start().await;
    put(&fixture, v1::PutProjectRequest { name: "large".into(), weight: 3.0, ..Default::default() }).await;
    put(&fixture, v1::PutProjectRequest { name: "small".into(), weight: 1.0, ..Default::default() }).await;
    let large = submit_as(&fixture, "large", probe(50)).await;
    let small = submit_as(&fixture, "small", probe(50)).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 16).await.unwrap();
    let orders = until_holds(&mut worker, 16).await;
    assert_eq!(held(&worker, &orders), BTreeMap::from([(large, 12), (small, 4)]));
}

#[tokio::test]
async fn a_quota_is_never_exceeded_and_said_to_be_the_reason() {
    let fixture = Fixture::start().await;
    put(&fixture, v1::PutProjectRequest { name: "bounded".into(), max_running: Some(3), ..Default::default() }).await;
    let id = submit_as(&fixture, "bounded", probe(10)).await;
    let mut first = Worker::attach(fixture.client(), "first", 5).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 5).await.unwrap();
    let mut done = 0;
    while done < 10 {
        first.say().await.unwrap();
        second.say().await.unwrap();
        let running = fixture.job(&id).await.job.unwrap().tasks.unwrap().running;
        assert!(running <= 3, "{running} tasks run");
        for worker in [&mut first, &mut second] {
            for running in worker.report.running.clone() {
                worker.complete(running.lease.as_ref().unwrap(), answered()).await.unwrap();
                done += 1;
            }
        }
    }
    fixture.job_in(&id, "succeeded").await;
    put(&fixture, v1::PutProjectRequest { name: "bounded".into(), max_running: Some(0), ..Default::default() }).await;
    let id = submit_as(&fixture, "bounded", probe(1)).await;
    let reason = fixture.job(&id).await.job.unwrap().waiting_reason;
    assert_eq!(reason, "the project's quota of 0 running tasks is used up");
}

#[tokio::test]
async fn nothing_of_a_paused_project_or_queue_begins() {
    let fixture = Fixture::start().await;
    let mut queues = fixture.client().queues();
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    put(&fixture, v1::PutProjectRequest { name: "held".into(), ..Default::default() }).await;
    queues.pause_project(v1::PauseProjectRequest { name: "held".into(), paused: true }).await.unwrap();
    let id = submit_as(&fixture, "held", probe(1)).await;
    assert_eq!(fixture.job(&id).await.job.unwrap().waiting_reason, "the project is paused");
    queues.pause_queue(v1::PauseQueueRequest { kind: "probe".into(), paused: true }).await.unwrap();
    queues.pause_project(v1::PauseProjectRequest { name: "held".into(), paused: false }).await.unwrap();
    assert_eq!(fixture.job(&id).await.job.unwrap().waiting_reason, "the queue is paused");
    for _ in 0..10 {
        assert!(worker.say().await.unwrap().start.is_empty());
    }
    let queue = queues.list_queues(v1::ListQueuesRequest::default()).await.unwrap().into_inner().queues;
    let probes = queue.iter().find(|queue| queue.kind == "probe").unwrap();
    assert_eq!((probes.paused, probes.ready, probes.running), (true, 1, 0));
    queues.pause_queue(v1::PauseQueueRequest { kind: "probe".into(), paused: false }).await.unwrap();
    worker.next_task().await.unwrap();
}

#[tokio::test]
async fn the_more_urgent_job_goes_first_though_it_came_later() {
    let fixture = Fixture::start().await;
    let job = |priority| v1::JobDefinition { priority: Some(priority), ..probe(1) };
    let slow = submit_as(&fixture, "default", job(0)).await;
    let urgent = submit_as(&fixture, "default", job(9)).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let first = worker.next_task().await.unwrap();
    assert_eq!(first.job_id, urgent);
    worker.complete(first.lease.as_ref().unwrap(), answered()).await.unwrap();
    assert_eq!(worker.next_task().await.unwrap().job_id, slow);
}

#[tokio::test]
async fn waiting_makes_up_for_priority() {
    let mut fixture = Fixture::start().await;
    let job = |priority| v1::JobDefinition { priority: Some(priority), ..probe(1) };
    let patient = submit_as(&fixture, "default", job(0)).await;
    // Longer than ten levels of priority are worth.
    fixture.sql(&format!("update tasks set ready_at = now() - interval '2 hours' where job_id = '{patient}'")).await;
    // It had seen when the lane's first task became ready, and that only grows.
    fixture.coordinator.crash().await;
    fixture.coordinator.resume().await.unwrap();
    submit_as(&fixture, "default", job(9)).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    assert_eq!(worker.next_task().await.unwrap().job_id, patient);
}

#[tokio::test]
async fn a_job_that_may_be_put_off_makes_room_and_loses_no_attempt() {
    let fixture = Fixture::start().await;
    let mut put_off = v1::JobDefinition { priority: Some(1), preemptible: true, ..probe(1) };
    put_off.max_attempts = 1;
    let put_off = submit_as(&fixture, "default", put_off).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let urgent = submit_as(&fixture, "default", v1::JobDefinition { priority: Some(8), ..probe(1) }).await;
    let stop = worker.next_stop().await.unwrap();
    assert_eq!((stop.reason(), stop.lease.as_ref()), (v1::StopReason::Preempted, Some(&lease)));
    worker.fail(&lease, v1::ErrorClass::Returned, "stopped with a checkpoint").await.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!(order.job_id, urgent);
    worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
    let again = worker.next_task().await.unwrap();
    assert_eq!((again.job_id.as_str(), again.lease.as_ref().unwrap().attempt), (put_off.as_str(), 2));
    worker.complete(again.lease.as_ref().unwrap(), answered()).await.unwrap();
    fixture.job_in(&put_off, "succeeded").await;
}

#[tokio::test]
async fn a_job_that_made_room_before_is_left_alone_for_a_while() {
    let peace = Duration::from_secs(2);
    let fixture = Fixture::start_with(&["--least-at-work=2s"]).await;
    let put_off = v1::JobDefinition { priority: Some(1), preemptible: true, ..probe(1) };
    let urgent = || v1::JobDefinition { priority: Some(8), ..probe(1) };
    let put_off = submit_as(&fixture, "default", put_off).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    submit_as(&fixture, "default", urgent()).await;
    worker.next_stop().await.unwrap();
    worker.fail(&lease, v1::ErrorClass::Returned, "stopped with a checkpoint").await.unwrap();
    let between = worker.next_task().await.unwrap().lease.unwrap();
    let begin = Instant::now();
    worker.complete(&between, answered()).await.unwrap();
    let again = worker.next_task().await.unwrap();
    assert_eq!(again.job_id, put_off);
    let next = submit_as(&fixture, "default", urgent()).await;
    let stop = worker.next_stop().await.unwrap();
    assert_eq!((stop.reason(), &stop.lease), (v1::StopReason::Preempted, &again.lease));
    assert!(begin.elapsed() >= peace, "it was asked after {:?}", begin.elapsed());
    worker.fail(again.lease.as_ref().unwrap(), v1::ErrorClass::Returned, "stopped again").await.unwrap();
    assert_eq!(worker.next_task().await.unwrap().job_id, next);
}

#[tokio::test]
async fn a_job_that_may_not_be_put_off_is_left_alone() {
    let fixture = Fixture::start().await;
    submit_as(&fixture, "default", v1::JobDefinition { priority: Some(1), ..probe(1) }).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    worker.next_task().await.unwrap();
    let urgent = submit_as(&fixture, "default", v1::JobDefinition { priority: Some(8), ..probe(1) }).await;
    for _ in 0..10 {
        assert!(worker.say().await.unwrap().stop.is_empty());
    }
    let why = async || fixture.job(&urgent).await.job.unwrap().waiting_reason;
    until("the reason", why, |reason| reason.contains("1 worker attached, it is full")).await;
}
