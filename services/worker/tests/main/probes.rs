//! Probes: the shortest way from an order to its end.

use std::time::{Duration, Instant};

use ursa_proto::v1::{self, StopReason, task_order::Work};

use crate::support::{Coordinator, Worker, probe};

#[tokio::test]
async fn a_probe_ends_well_and_leaves_no_diary() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &[]);
    let order = probe(0);
    coordinator.order(&[&order]);
    let completion = coordinator.sees_completion(&order).await;
    assert!(matches!(completion.result, Some(v1::complete_task_request::Result::Probe(_))));
    let seen = coordinator.sees("an empty floor", |seen| seen.running(&order).is_none()).await;
    assert_eq!(seen.lines, [""; 0]);
}

#[tokio::test]
async fn a_probe_that_shall_fail_is_worth_another_try_and_says_why() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &[]);
    let mut order = probe(0);
    order.work = Some(Work::Probe(v1::ProbeTask { duration_ms: 1, fail: true }));
    coordinator.order(&[&order]);
    let (class, message) = coordinator.sees_failure(&order).await;
    assert_eq!(class, v1::ErrorClass::Retryable);
    assert!(message.contains("as it was asked to"), "{message}");
}

#[tokio::test]
async fn a_long_probe_tells_how_far_it_is_and_stops_for_every_reason_as_the_reason_wants() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--slots", "4"]);
    let cases = [
        (probe(600_000), StopReason::Cancelled, v1::ErrorClass::Cancelled),
        (probe(600_000), StopReason::Deadline, v1::ErrorClass::Deadline),
        (probe(600_000), StopReason::Preempted, v1::ErrorClass::Returned),
    ];
    for (order, _, _) in &cases {
        coordinator.order(&[order]);
        let is_under_way = |running: &v1::RunningAttempt| {
            running.progress.as_ref().is_some_and(|progress| progress.done > 0 && progress.unit == "ms")
        };
        coordinator.sees("progress", |seen| seen.running(order).is_some_and(is_under_way)).await;
    }
    coordinator.answer_ends(false);
    for (order, reason, class) in &cases {
        coordinator.order_stop(order, *reason);
        assert_eq!(coordinator.sees_failure(order).await.0, *class);
        let heard = |seen: &crate::support::Seen| seen.stage(order) == Some(v1::StopStage::Acknowledged);
        coordinator.sees("that the order to stop was heard", heard).await;
    }
    coordinator.answer_ends(true);
    let is_empty = |seen: &crate::support::Seen| seen.report.as_ref().unwrap().running.is_empty();
    coordinator.sees("an empty floor", is_empty).await;
}

#[tokio::test]
async fn nobody_hears_of_an_attempt_whose_lease_is_lost() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &[]);
    let order = probe(600_000);
    coordinator.order(&[&order]);
    coordinator.sees("the attempt", |seen| seen.running(&order).is_some()).await;
    coordinator.order_stop(&order, StopReason::LeaseLost);
    let seen = coordinator.sees("an empty floor", |seen| seen.running(&order).is_none()).await;
    assert!(seen.failure(&order).is_none() && !seen.has_completed(&order));
}

#[tokio::test]
async fn a_thousand_tasks_that_come_and_go_are_a_handful_of_reports() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--slots", "1000"]);
    let before = coordinator.sees("the worker", |seen| seen.reports > 0).await.reports;
    // One ends every millisecond, as good as.
    let orders: Vec<_> = (0..1000).map(probe).collect();
    let begin = Instant::now();
    coordinator.order(&orders.iter().collect::<Vec<_>>());
    let seen = coordinator.sees("every end", |seen| seen.completed.len() == orders.len()).await;
    let most = 3 + begin.elapsed().as_millis() / Duration::from_millis(50).as_millis();
    assert!((seen.reports - before) as u128 <= most, "{} reports in {:?}", seen.reports - before, begin.elapsed());
    assert_eq!(seen.failed.len(), 0);
}
