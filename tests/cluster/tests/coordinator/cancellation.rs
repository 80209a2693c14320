//! Cancellation in stages, all within a bound.

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, probe};

async fn cancel(fixture: &Fixture, id: &str) {
    fixture.client().jobs().cancel_job(v1::CancelJobRequest { id: id.into() }).await.unwrap();
}

#[tokio::test]
async fn every_stage_of_a_cancellation_is_told() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    cancel(&fixture, &ids[0]).await;
    assert_eq!(worker.next_stop().await.unwrap().reason(), v1::StopReason::Cancelled);
    let stop = async || fixture.job(&ids[0]).await.tasks[0].attempts[0].stop.clone().unwrap();
    assert!(stop().await.asked_at.is_some() && stop().await.acknowledged_at.is_none());
    worker.report.running[0].stop_stage = v1::StopStage::Acknowledged.into();
    worker.say().await.unwrap();
    until("the acknowledgement", stop, |stop| stop.acknowledged_at.is_some() && stop.forced_at.is_none()).await;
    worker.report.running[0].stop_stage = v1::StopStage::Forced.into();
    worker.say().await.unwrap();
    until("the use of force", stop, |stop| stop.forced_at.is_some()).await;
    worker.fail(&lease, v1::ErrorClass::Cancelled, "cleaned up").await.unwrap();
    let detail = fixture.job_in(&ids[0], "cancelled").await;
    assert_eq!(detail.tasks[0].state, "cancelled");
}

#[tokio::test]
async fn a_stage_that_comes_with_the_end_is_told_though_no_report_told_of_it() {
    let fixture = Fixture::start().await;
    for (stage, is_forced) in [(v1::StopStage::Acknowledged, false), (v1::StopStage::Forced, true)] {
        let ids = fixture.submit(vec![probe(1)]).await;
        let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
        let lease = worker.next_task().await.unwrap().lease;
        cancel(&fixture, &ids[0]).await;
        assert_eq!(worker.next_stop().await.unwrap().reason(), v1::StopReason::Cancelled);
        let request = v1::FailTaskRequest {
            lease,
            class: v1::ErrorClass::Cancelled.into(),
            stop_stage: stage.into(),
            ..v1::FailTaskRequest::default()
        };
        worker.client.workers().fail_task(request).await.unwrap();
        let detail = fixture.job_in(&ids[0], "cancelled").await;
        let stop = detail.tasks[0].attempts[0].stop.clone().unwrap();
        assert_eq!((stop.acknowledged_at.is_some(), stop.forced_at.is_some()), (true, is_forced), "{stage:?}");
    }
}

#[tokio::test]
async fn a_worker_that_does_not_stop_loses_the_task() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "deaf", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    cancel(&fixture, &ids[0]).await;
    // It goes on reporting the attempt, so its lease would live for ever.
    let begin = std::time::Instant::now();
    loop {
        worker.say().await.unwrap();
        if fixture.job(&ids[0]).await.job.unwrap().state == "cancelled" {
            break;
        }
        assert!(begin.elapsed().as_secs() < 15, "the cancellation has no bound");
    }
    let attempt = fixture.job(&ids[0]).await.tasks[0].attempts[0].clone();
    assert_eq!((attempt.state.as_str(), attempt.error_class()), ("lost", v1::ErrorClass::Cancelled));
    // It may first hear once more what it was asked before.
    let stop = loop {
        let stop = worker.next_stop().await.unwrap();
        if stop.reason() != v1::StopReason::Cancelled {
            break stop;
        }
        assert!(begin.elapsed().as_secs() < 15, "it is not told that its lease is lost");
    };
    assert_eq!((stop.reason(), stop.lease), (v1::StopReason::LeaseLost, Some(lease)));
}

#[tokio::test]
async fn what_nobody_works_on_is_cancelled_at_once() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(50)]).await;
    cancel(&fixture, &ids[0]).await;
    let counts = fixture.job_in(&ids[0], "cancelled").await.job.unwrap().tasks.unwrap();
    assert_eq!((counts.cancelled, counts.queued), (50, 0));
}

#[tokio::test]
async fn a_peer_of_the_older_protocol_is_stopped_in_the_one_way_it_knows() {
    let fixture = Fixture::start().await;
    let mut job = probe(1);
    job.deadlines = Some(v1::Deadlines { run: crate::fixture::seconds(0.5), ..v1::Deadlines::default() });
    fixture.submit(vec![job]).await;
    let report = v1::WorkerReport {
        worker_id: uuid::Uuid::new_v4().to_string(),
        name: "older".into(),
        protocol_version: ursa_proto::OLDEST_SESSION_PROTOCOL_VERSION,
        slots: 1,
        ..v1::WorkerReport::default()
    };
    let mut worker = Worker::attach_with(fixture.client(), report).await.unwrap();
    worker.next_task().await.unwrap();
    assert_eq!(worker.next_stop().await.unwrap().reason(), v1::StopReason::Cancelled);
}
