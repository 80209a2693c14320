//! What a worker has no room for comes back at once, and uses up no attempt.

use ursa_proto::v1;

use crate::support::{Coordinator, Worker, probe, train};

#[tokio::test]
async fn a_task_beyond_the_slots_is_given_back() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--slots", "1"]);
    let (first, second) = (probe(600_000), probe(0));
    coordinator.order(&[&first, &second]);
    let (class, message) = coordinator.sees_failure(&second).await;
    assert_eq!(class, v1::ErrorClass::Returned);
    assert!(message.contains("worker test has no room: it works on 1 tasks already"), "{message}");
    coordinator.sees("the first to go on", |seen| seen.running(&first).is_some()).await;
}

#[tokio::test]
async fn a_slot_is_free_as_soon_as_its_end_is_said() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--slots", "1"]);
    coordinator.answer_ends(false);
    let (first, second) = (probe(0), probe(0));
    for order in [&first, &second] {
        coordinator.order(&[order]);
        coordinator.sees_completion(order).await;
    }
}

#[tokio::test]
async fn a_slot_is_free_when_its_lease_is_lost() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--slots", "1"]);
    let (first, second) = (probe(600_000), probe(0));
    coordinator.order(&[&first]);
    coordinator.sees("the attempt", |seen| seen.running(&first).is_some()).await;
    coordinator.order_stop(&first, v1::StopReason::LeaseLost);
    coordinator.order(&[&second]);
    coordinator.sees_completion(&second).await;
}

#[tokio::test]
async fn an_order_that_comes_twice_is_done_once() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--slots", "1"]);
    let order = probe(300);
    coordinator.order(&[&order, &order]);
    coordinator.sees_completion(&order).await;
    let seen = coordinator.sees("an empty floor", |seen| seen.running(&order).is_none()).await;
    assert!(seen.failure(&order).is_none(), "{seen:#?}");
}

#[tokio::test]
async fn with_a_full_disk_no_task_is_begun_and_none_is_asked_for() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--min-free-disk", "8000TiB"]);
    let order = probe(0);
    coordinator.order(&[&order]);
    let (class, message) = coordinator.sees_failure(&order).await;
    assert_eq!(class, v1::ErrorClass::Returned);
    assert!(message.contains("MiB free") && message.contains("free some space"), "{message}");
    coordinator.sees("that no task is taken", crate::support::Seen::is_draining).await;
}

#[tokio::test]
async fn a_task_for_a_gpu_that_is_not_here_is_given_back() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--pretend-gpus", "24GiB"]);
    let order = train("quick", &[0, 3]);
    coordinator.order(&[&order]);
    let (class, message) = coordinator.sees_failure(&order).await;
    assert_eq!(class, v1::ErrorClass::Returned);
    assert!(message.contains("no GPU 3"), "{message}");
}
