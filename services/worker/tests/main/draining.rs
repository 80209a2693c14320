//! Workers that shall take no more, or end.

use ursa_proto::v1;

use crate::support::{Coordinator, Seen, Worker, probe, train};

const CLASS: v1::ErrorClass = v1::ErrorClass::Returned;

async fn sees_begun(coordinator: &Coordinator, order: &v1::TaskOrder) {
    coordinator.sees("the attempt", |seen| seen.running(order).is_some()).await;
}

#[tokio::test]
async fn a_drained_worker_finishes_what_it_has_stays_attached_and_takes_work_again_when_told() {
    let coordinator = Coordinator::start().await;
    let worker = Worker::start(&[&coordinator], &["--slots", "4"]);
    let (begun, late, again) = (probe(500), probe(0), probe(0));
    coordinator.order(&[&begun]);
    sees_begun(&coordinator, &begun).await;
    coordinator.drain(true);
    coordinator.sees("that no task is taken", Seen::is_draining).await;
    coordinator.order(&[&late]);
    let (class, message) = coordinator.sees_failure(&late).await;
    assert_eq!((class, message.as_str()), (CLASS, "worker test is drained"));
    coordinator.sees_completion(&begun).await;

    let reports = coordinator.sees("an empty floor", |seen| seen.running(&begun).is_none()).await.reports;
    coordinator.sees("that it goes on reporting", |seen| seen.reports > reports + 1).await;
    coordinator.drain(false);
    coordinator.sees("that tasks are taken", |seen| !seen.is_draining()).await;
    coordinator.order(&[&again]);
    coordinator.sees_completion(&again).await;
    worker.tell_to_end();
    worker.ended().await.unwrap();
}

#[tokio::test]
async fn a_worker_told_to_end_finishes_what_it_can_and_takes_no_more() {
    let coordinator = Coordinator::start().await;
    let worker = Worker::start(&[&coordinator], &["--slots", "4", "--drain-timeout", "1h"]);
    let (begun, late) = (probe(1000), probe(0));
    coordinator.order(&[&begun]);
    sees_begun(&coordinator, &begun).await;
    worker.tell_to_end();
    coordinator.sees("that no task is taken", Seen::is_draining).await;
    coordinator.order(&[&late]);
    assert_eq!(coordinator.sees_failure(&late).await, (CLASS, "worker test was about to stop".to_owned()));
    worker.ended().await.unwrap();
    coordinator.sees_completion(&begun).await;
}

#[tokio::test]
async fn what_is_not_finished_in_time_is_stopped_in_order_and_given_back() {
    let coordinator = Coordinator::start().await;
    let worker = Worker::start(&[&coordinator], &["--slots", "4", "--drain-timeout", "100ms"]);
    let (waiting, training) = (probe(600_000), train("obedient", &[]));
    coordinator.order(&[&waiting, &training]);
    sees_begun(&coordinator, &waiting).await;
    coordinator.sees("the trainer", |seen| !seen.lines.is_empty()).await;
    worker.tell_to_end();
    worker.ended().await.unwrap();
    for order in [&waiting, &training] {
        assert_eq!(coordinator.sees_failure(order).await, (CLASS, "worker test was stopped".to_owned()));
    }
    let seen = coordinator.sees("the checkpoint", |seen| !seen.checkpoints.is_empty()).await;
    assert_eq!(seen.checkpoints[0].epoch, 2);
}

#[tokio::test]
async fn a_worker_that_is_refused_stores_a_checkpoint_and_gives_back_what_it_has() {
    let coordinator = Coordinator::start().await;
    let worker = Worker::start(&[&coordinator], &["--slots", "4"]);
    let (waiting, training) = (probe(600_000), train("obedient", &[]));
    coordinator.order(&[&waiting, &training]);
    sees_begun(&coordinator, &waiting).await;
    coordinator.sees("the trainer", |seen| !seen.lines.is_empty()).await;
    coordinator.refuse();
    assert_eq!(worker.ended().await.unwrap_err().to_string(), "the coordinator refuses this worker");
    for order in [&waiting, &training] {
        assert_eq!(coordinator.sees_failure(order).await, (CLASS, "worker test was stopped".to_owned()));
    }
    let seen = coordinator.sees("the checkpoint", |seen| !seen.checkpoints.is_empty()).await;
    assert_eq!(seen.checkpoints[0].epoch, 2);
}

#[tokio::test]
async fn a_worker_ends_though_its_coordinator_is_away() {
    let coordinator = Coordinator::start().await;
    let worker = Worker::start(&[&coordinator], &["--drain-timeout", "0s", "--stop-grace", "1s"]);
    let order = probe(600_000);
    coordinator.order(&[&order]);
    sees_begun(&coordinator, &order).await;
    coordinator.go_away();
    worker.tell_to_end();
    worker.ended().await.unwrap();
}
