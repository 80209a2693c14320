//! Several coordinators: any of them will do.

use std::time::Duration;

use crate::support::{Coordinator, PATIENCE, Worker, probe};

/// The one a worker is attached to, and the other.
async fn attached<'a>(one: &'a Coordinator, other: &'a Coordinator) -> (&'a Coordinator, &'a Coordinator) {
    let attached = async {
        loop {
            if one.is_attached() {
                return (one, other);
            }
            if other.is_attached() {
                return (other, one);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, attached).await.expect("the worker attaches to neither")
}

#[tokio::test]
async fn a_worker_goes_to_the_next_coordinator_when_its_own_is_away_and_ends_its_work_there() {
    let (one, other) = (Coordinator::start().await, Coordinator::start().await);
    let _worker = Worker::start(&[&one, &other], &[]);
    let (own, next) = attached(&one, &other).await;
    let order = probe(1000);
    own.order(&[&order]);
    own.sees("the attempt", |seen| seen.running(&order).is_some()).await;
    assert!(!next.is_attached());
    own.go_away();
    next.sees("the attempt", |seen| seen.running(&order).is_some()).await;
    next.sees_completion(&order).await;
}

#[tokio::test]
async fn a_worker_goes_to_the_next_coordinator_when_its_own_is_silent() {
    let (one, other) = (Coordinator::start().await, Coordinator::start().await);
    let _worker = Worker::start(&[&one, &other], &[]);
    let (own, next) = attached(&one, &other).await;
    own.fall_silent();
    let order = probe(0);
    next.order(&[&order]);
    next.sees_completion(&order).await;
}

#[tokio::test]
async fn a_coordinator_that_was_never_there_is_passed_over() {
    let (gone, there) = (Coordinator::start().await, Coordinator::start().await);
    gone.go_away();
    let order = probe(0);
    there.order(&[&order]);
    let _worker = Worker::start(&[&gone, &there], &[]);
    there.sees_completion(&order).await;
}
