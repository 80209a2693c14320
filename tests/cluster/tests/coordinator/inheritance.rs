//! A job is as urgent as the most urgent of those that wait for it.

use ursa_cluster::Worker;
use ursa_proto::v1;
use ursa_proto::v1::steer_jobs_request::Action;

use crate::fixture::{Fixture, after, answered, probe};
use crate::steering::steer;

fn of(name: &str, priority: u32) -> v1::JobDefinition {
    v1::JobDefinition { name: name.into(), priority: Some(priority), ..probe(1) }
}

/// A job that can wait, and one that cannot and waits for it over another.
fn chain() -> Vec<v1::JobDefinition> {
    vec![of("low", 0), after(of("between", 1), &["low"]), after(of("high", 9), &["between"])]
}

/// A job's own priority, the one it is worked on with, and whose that is.
async fn priorities(fixture: &Fixture, id: &str) -> (u32, u32, String) {
    let job = fixture.job(id).await.job.unwrap();
    (job.priority, job.effective_priority, job.priority_of)
}

async fn first_of(fixture: &Fixture) -> String {
    Worker::attach(fixture.client(), "worker", 1).await.unwrap().next_task().await.unwrap().job_id
}

#[tokio::test]
async fn what_an_urgent_job_waits_for_goes_before_what_is_in_the_middle() {
    let fixture = Fixture::start().await;
    fixture.submit(vec![of("middle", 5)]).await;
    let chain = fixture.submit(chain()).await;
    assert_eq!(priorities(&fixture, &chain[0]).await, (0, 9, "high".into()));
    assert_eq!(priorities(&fixture, &chain[1]).await, (1, 9, "high".into()));
    assert_eq!(priorities(&fixture, &chain[2]).await, (9, 9, String::new()));
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let order = worker.next_task().await.unwrap();
    assert_eq!(order.job_id, chain[0]);
    worker.complete(order.lease.as_ref().unwrap(), answered()).await.unwrap();
    fixture.job_in(&chain[1], "running").await;
    let lane =
        format!("select l.priority from tasks t join lanes l on l.id = t.lane_id where t.job_id = '{}'", chain[1]);
    assert_eq!(fixture.ask(&lane).await, "9", "what is planned later inherits, too");
    assert_eq!(priorities(&fixture, &chain[0]).await, (0, 0, String::new()), "what has ended is not worked on");
}

#[tokio::test]
async fn what_a_job_lends_ends_with_it_and_comes_back_with_it() {
    let fixture = Fixture::start().await;
    let middle = fixture.submit(vec![of("middle", 5)]).await;
    let chain = fixture.submit(chain()).await;
    let mut jobs = fixture.client().jobs();
    jobs.cancel_job(v1::CancelJobRequest { id: chain[2].clone() }).await.unwrap();
    assert_eq!(priorities(&fixture, &chain[0]).await, (0, 1, "between".into()));
    assert_eq!(priorities(&fixture, &chain[1]).await, (1, 1, String::new()));
    jobs.retry_job(v1::RetryJobRequest { id: chain[2].clone() }).await.unwrap();
    assert_eq!(priorities(&fixture, &chain[0]).await, (0, 9, "high".into()));
    jobs.cancel_job(v1::CancelJobRequest { id: chain[2].clone() }).await.unwrap();
    assert_eq!(first_of(&fixture).await, middle[0]);
}

#[tokio::test]
async fn a_priority_given_later_moves_what_the_job_waits_for() {
    let fixture = Fixture::start().await;
    let middle = fixture.submit(vec![of("middle", 5)]).await;
    let pair = fixture.submit(vec![of("low", 0), after(of("later", 0), &["low"])]).await;
    let later = v1::JobFilter { name_prefix: "later".into(), ..v1::JobFilter::default() };
    assert_eq!(steer(&fixture, later.clone(), Action::Priority(9)).await, (1, 0));
    assert_eq!(priorities(&fixture, &pair[0]).await, (0, 9, "later".into()));
    let all = v1::JobFilter { kind: "probe".into(), ..v1::JobFilter::default() };
    assert_eq!(steer(&fixture, all, Action::Priority(3)).await, (3, 0));
    for id in middle.iter().chain(&pair) {
        assert_eq!(priorities(&fixture, id).await, (3, 3, String::new()));
    }
    assert_eq!(steer(&fixture, later, Action::Priority(4)).await, (1, 0));
    assert_eq!(first_of(&fixture).await, pair[0]);
}

#[tokio::test]
async fn who_has_waited_for_longer_than_a_higher_priority_is_worth_loses_nothing_by_it() {
    let mut fixture = Fixture::start().await;
    let pair = fixture.submit(vec![of("low", 0), after(of("later", 0), &["low"])]).await;
    fixture.sql("update tasks set ready_at = now() - interval '2 hours'").await;
    // It had seen when the lane's first task became ready, and that only grows.
    fixture.coordinator.crash().await;
    fixture.coordinator.resume().await.unwrap();
    fixture.submit(vec![of("urgent", 9)]).await;
    let later = v1::JobFilter { name_prefix: "later".into(), ..v1::JobFilter::default() };
    steer(&fixture, later, Action::Priority(9)).await;
    assert_eq!(priorities(&fixture, &pair[0]).await, (0, 9, "later".into()));
    assert_eq!(first_of(&fixture).await, pair[0]);
}

#[tokio::test]
async fn what_is_given_back_is_as_urgent_as_its_job_has_become() {
    let fixture = Fixture::start().await;
    let pair = fixture.submit(vec![of("low", 0), after(of("later", 0), &["low"])]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    fixture.submit(vec![of("middle", 5)]).await;
    let later = v1::JobFilter { name_prefix: "later".into(), ..v1::JobFilter::default() };
    steer(&fixture, later, Action::Priority(9)).await;
    worker.fail(&lease, v1::ErrorClass::Returned, "no room").await.unwrap();
    assert_eq!(worker.next_task().await.unwrap().job_id, pair[0]);
}

#[tokio::test]
async fn another_round_is_as_urgent_as_the_job_has_become() {
    let fixture = Fixture::start().await;
    let alone = fixture.submit(vec![v1::JobDefinition { max_attempts: 1, ..of("low", 0) }]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let low = v1::JobFilter { name_prefix: "low".into(), ..v1::JobFilter::default() };
    assert_eq!(steer(&fixture, low.clone(), Action::Priority(9)).await, (1, 0));
    worker.fail(&lease, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    fixture.job_in(&alone[0], "failed").await;
    assert_eq!(steer(&fixture, low, Action::Priority(1)).await, (0, 1), "it has ended");
    fixture.client().jobs().retry_job(v1::RetryJobRequest { id: alone[0].clone() }).await.unwrap();
    let lane = "select l.priority from tasks t join lanes l on l.id = t.lane_id";
    assert_eq!(fixture.ask(lane).await, "9");
}

#[tokio::test]
async fn a_run_that_something_urgent_waits_for_makes_no_room_for_what_is_in_the_middle() {
    let fixture = Fixture::start().await;
    let low = v1::JobDefinition { preemptible: true, ..of("low", 0) };
    fixture.submit(vec![low, after(of("later", 0), &["low"])]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let later = v1::JobFilter { name_prefix: "later".into(), ..v1::JobFilter::default() };
    steer(&fixture, later, Action::Priority(8)).await;
    // What is heard may be the answer to an earlier report: a beat since has told the coordinator.
    for _ in 0..5 {
        worker.say().await.unwrap();
    }
    fixture.submit(vec![of("middle", 5)]).await;
    for _ in 0..10 {
        assert!(worker.say().await.unwrap().stop.is_empty());
    }
    fixture.submit(vec![of("most-urgent", 9)]).await;
    assert_eq!(worker.next_stop().await.unwrap().lease, Some(lease), "that one is more urgent still");
}
