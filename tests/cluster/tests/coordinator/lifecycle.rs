//! How attempts end, what that does to their task, and what their task does to its job.

use std::time::Duration;

use ursa_cluster::Worker;
use ursa_proto::{ApiError, ErrorCode, v1};

use crate::fixture::{Fixture, answered, probe, seconds};

#[tokio::test]
async fn a_failed_task_waits_before_it_is_tried_again() {
    let fixture = Fixture::start().await;
    let mut job = probe(1);
    job.backoff = Some(v1::Backoff { first: seconds(2.0), longest: seconds(2.0) });
    let ids = fixture.submit(vec![job]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.fail(&lease, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    let detail = fixture.job(&ids[0]).await;
    assert_eq!(detail.tasks[0].state, "retry_wait");
    let reason = detail.job.unwrap().waiting_reason;
    assert!(reason.contains("before the next attempt"), "{reason}");
    let begin = std::time::Instant::now();
    let again = worker.next_task().await.unwrap().lease.unwrap();
    assert!(begin.elapsed().as_secs_f64() > 0.9, "half of the wait is certain");
    assert_eq!(again.attempt, 2);
    worker.complete(&again, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn work_given_back_uses_up_no_attempt() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    // More often than the job has attempts.
    for attempt in 1..=3 {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        assert_eq!(lease.attempt, attempt);
        worker.fail(&lease, v1::ErrorClass::Returned, "no room").await.unwrap();
    }
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    let detail = fixture.job_in(&ids[0], "succeeded").await;
    let states: Vec<_> = detail.tasks[0].attempts.iter().map(|attempt| attempt.state.as_str()).collect();
    assert_eq!(states, ["returned", "returned", "returned", "succeeded"]);
}

#[tokio::test]
async fn the_first_failure_waits_the_shortest_however_often_work_was_given_back_before() {
    let fixture = Fixture::start().await;
    let backoff = Some(v1::Backoff { first: seconds(60.0), longest: seconds(6000.0) });
    fixture.submit(vec![v1::JobDefinition { backoff, ..probe(1) }]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    for class in [v1::ErrorClass::Returned, v1::ErrorClass::Returned, v1::ErrorClass::Retryable] {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.fail(&lease, class, "").await.unwrap();
    }
    let wait = fixture.ask("select ready_at <= now() + interval '60 seconds' from tasks where state = 'retry_wait'");
    assert_eq!(wait.await, "t");
}

#[tokio::test]
async fn a_dead_task_can_be_found_and_replayed() {
    let fixture = Fixture::start().await;
    let mut job = probe(2);
    job.max_attempts = 1;
    let ids = fixture.submit(vec![job]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let first = worker.next_task().await.unwrap().lease.unwrap();
    worker.fail(&first, v1::ErrorClass::Retryable, "poison").await.unwrap();
    let second = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&second, answered()).await.unwrap();
    let detail = fixture.job_in(&ids[0], "failed").await;
    assert_eq!(detail.job.as_ref().unwrap().error, "poison");
    let counts = detail.job.unwrap().tasks.unwrap();
    assert_eq!((counts.total, counts.dead, counts.succeeded, counts.queued), (2, 1, 1, 0));

    let request = v1::ListTasksRequest { state: "dead".into(), ..v1::ListTasksRequest::default() };
    let dead = fixture.client().jobs().list_tasks(request).await.unwrap().into_inner().tasks;
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].id.as_str(), dead[0].attempts[0].error.as_str()), (first.task_id.as_str(), "poison"));

    let request = v1::RetryTasksRequest { ids: vec![second.task_id] };
    let error = ApiError::from(fixture.client().jobs().retry_tasks(request).await.unwrap_err());
    assert_eq!(error.code, ErrorCode::IllegalState, "{error}");
    let request = v1::RetryTasksRequest { ids: vec![first.task_id] };
    assert_eq!(fixture.client().jobs().retry_tasks(request).await.unwrap().into_inner().retried, 1);
    let again = worker.next_task().await.unwrap().lease.unwrap();
    assert_eq!(again.attempt, 2);
    worker.complete(&again, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn a_job_succeeds_with_as_many_tasks_as_it_asks_for() {
    let fixture = Fixture::start().await;
    for (ratio, state) in [(0.5, "succeeded"), (0.9, "failed")] {
        let mut job = probe(3);
        (job.max_attempts, job.min_success_ratio) = (1, ratio);
        let ids = fixture.submit(vec![job]).await;
        let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
        for place in 0..3 {
            let lease = worker.next_task().await.unwrap().lease.unwrap();
            if place == 1 {
                worker.fail(&lease, v1::ErrorClass::Fatal, "never").await.unwrap();
            } else {
                worker.complete(&lease, answered()).await.unwrap();
            }
        }
        let counts = fixture.job_in(&ids[0], state).await.job.unwrap().tasks.unwrap();
        assert_eq!((counts.succeeded, counts.failed), (2, 1));
    }
}

#[tokio::test]
async fn a_job_has_no_more_tasks_at_a_time_than_it_allows() {
    let fixture = Fixture::start().await;
    let mut job = probe(5);
    job.parallelism = 2;
    let ids = fixture.submit(vec![job]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 8).await.unwrap();
    let mut done = 0;
    while done < 5 {
        let counts = fixture.job(&ids[0]).await.job.unwrap().tasks.unwrap();
        assert!(counts.running <= 2, "{counts:?}");
        let held: Vec<_> = worker.report.running.iter().filter_map(|running| running.lease.clone()).collect();
        assert!(held.len() <= 2);
        for lease in held {
            worker.complete(&lease, answered()).await.unwrap();
            done += 1;
        }
        worker.say().await.unwrap();
    }
    fixture.job_in(&ids[0], "succeeded").await;
}

/// As when a task is replayed at the moment when the only one at work ends, which waits for that then.
#[tokio::test]
async fn what_a_job_holds_back_begins_whatever_became_of_the_job_meanwhile() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![v1::JobDefinition { parallelism: 1, ..probe(2) }]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    fixture.sql("update tasks set state = 'dead' where ordinal = 1; update jobs set open_tasks = open_tasks - 1").await;
    let replay = "update jobs set open_tasks = open_tasks + 1;
        select pg_sleep(1);
        update tasks set state = 'waiting' where ordinal = 1";
    let complete = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        worker.complete(&lease, answered()).await.unwrap();
    };
    tokio::join!(fixture.sql(replay), complete);
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn an_order_that_was_lost_is_repeated_and_uses_up_nothing() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lost = worker.next_task().await.unwrap().lease.unwrap();
    // It goes on as if it had never heard of it.
    worker.report.running.clear();
    let begin = std::time::Instant::now();
    let again = loop {
        let orders = worker.say().await.unwrap();
        if let Some(order) = orders.start.into_iter().next() {
            break order.lease.unwrap();
        }
        assert!(begin.elapsed().as_secs() < 10, "the order is not repeated");
    };
    assert_eq!(again, lost);
    worker.complete(&again, answered()).await.unwrap();
    assert_eq!(fixture.job_in(&ids[0], "succeeded").await.tasks[0].attempts.len(), 1);
}

#[tokio::test]
async fn leased_and_at_work_are_told_apart() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let begun = async || {
        let task = fixture.job(&ids[0]).await.tasks.remove(0);
        (task.state, task.attempts[0].acknowledged_at.is_some())
    };
    worker.say().await.unwrap();
    ursa_cluster::until("the task to be at work", begun, |(state, at)| state == "running" && *at).await;
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}
