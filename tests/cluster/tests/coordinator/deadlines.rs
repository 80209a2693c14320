//! What takes longer than its job allows.

use std::time::{Duration, Instant};

use ursa_cluster::{Worker, until};
use ursa_proto::v1;
use ursa_proto::v1::steer_jobs_request::Action;

use crate::fixture::{Fixture, answered, probe, seconds};
use crate::steering::steer;

fn with(deadlines: v1::Deadlines) -> v1::JobDefinition {
    let mut job = probe(1);
    job.deadlines = Some(deadlines);
    job.backoff = Some(v1::Backoff { first: seconds(0.1), longest: seconds(0.1) });
    job
}

#[tokio::test]
async fn a_task_that_nobody_takes_in_time_has_failed() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![with(v1::Deadlines { queue_wait: seconds(0.5), ..v1::Deadlines::default() })]).await;
    let detail = fixture.job_in(&ids[0], "failed").await;
    assert!(detail.job.unwrap().error.contains("no worker took it"));
    assert!(detail.tasks[0].attempts.is_empty());
}

/// A run that has come far is not given up because a more urgent one has its place, or no worker is there for an hour.
#[tokio::test]
async fn a_task_that_was_begun_waits_for_its_next_attempt_however_long_that_takes() {
    let fixture = Fixture::start().await;
    let impatient = || with(v1::Deadlines { queue_wait: seconds(0.5), ..v1::Deadlines::default() });
    let back = fixture.submit(vec![impatient()]).await;
    let retried = fixture.submit(vec![impatient()]).await;
    let mut first = Worker::attach(fixture.client(), "first", 1).await.unwrap();
    let mut second = Worker::attach(fixture.client(), "second", 1).await.unwrap();
    let (lease, other) = tokio::join!(first.next_task(), second.next_task());
    let (lease, other) = (lease.unwrap().lease.unwrap(), other.unwrap().lease.unwrap());
    for worker in [&mut first, &mut second] {
        worker.report.draining = true;
        worker.say().await.unwrap();
    }
    first.fail(&lease, v1::ErrorClass::Returned, "it makes room").await.unwrap();
    second.fail(&other, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    let new = fixture.submit(vec![impatient()]).await;
    fixture.job_in(&new[0], "failed").await;
    let mut worker = Worker::attach(fixture.client(), "another", 1).await.unwrap();
    for _ in [&back, &retried] {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        assert_eq!(lease.attempt, 2);
        worker.complete(&lease, answered()).await.unwrap();
    }
    fixture.job_in(&back[0], "succeeded").await;
    fixture.job_in(&retried[0], "succeeded").await;
}

#[tokio::test]
async fn a_task_whose_priority_changes_has_waited_all_the_same() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![with(v1::Deadlines { queue_wait: seconds(2.0), ..v1::Deadlines::default() })]).await;
    let all = v1::JobFilter { kind: "probe".into(), ..v1::JobFilter::default() };
    let begun = Instant::now();
    for priority in (1..=9).cycle() {
        steer(&fixture, all.clone(), Action::Priority(priority)).await;
        let job = fixture.job(&ids[0]).await.job.unwrap();
        if job.state == "failed" {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it begins to wait anew with each priority");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_attempt_that_runs_too_long_is_stopped_and_another_one_made() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![with(v1::Deadlines { run: seconds(1.0), ..v1::Deadlines::default() })]).await;
    let mut worker = Worker::attach(fixture.client(), "slow", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let stop = worker.next_stop().await.unwrap();
    assert_eq!((stop.reason(), stop.lease.as_ref()), (v1::StopReason::Deadline, Some(&lease)));
    worker.fail(&lease, v1::ErrorClass::Deadline, "stopped").await.unwrap();
    let again = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&again, answered()).await.unwrap();
    let detail = fixture.job_in(&ids[0], "succeeded").await;
    assert_eq!(detail.tasks[0].attempts[0].error_class(), v1::ErrorClass::Deadline);
    let events = fixture.events(&ids[0], 0).await;
    let told: Vec<_> = events.iter().filter(|event| event.kind == "task.deadline").collect();
    let [stopped] = told[..] else { panic!("one stop is one event: {events:#?}") };
    assert_eq!((stopped.attempt, &stopped.task_id), (1, &lease.task_id));
    assert_eq!(stopped.message, "asked to stop: it took longer than the job allows one attempt");
}

#[tokio::test]
async fn many_attempts_that_run_too_long_are_told_of_in_one_event() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let slow = v1::Deadlines { run: seconds(600.0), ..v1::Deadlines::default() };
    let ids = fixture.submit(vec![v1::JobDefinition { spec: probe(64).spec, ..with(slow) }]).await;
    let mut worker = Worker::attach(fixture.client(), "slow", 64).await.unwrap();
    let running = || fixture.ask("select count(*) from attempts where ended_at is null");
    worker.say().await.unwrap();
    until("all to be at work", running, |running| running == "64").await;
    fixture.sql("update attempts set run_until = now()").await;
    let kinds = format!("select string_agg(kind, ' ' order by id) from events where job_id = '{}'", ids[0]);
    let told = || fixture.ask(&kinds);
    let told = until("the event", told, |kinds| kinds.contains("deadline")).await;
    assert!(told.ends_with("tasks.deadline") && !told.contains("task.deadline"), "{told}");
    let named = "select cardinality(task_ids) + cardinality(attempts) from events where kind = 'tasks.deadline'";
    assert_eq!(fixture.ask(named).await, "128");
}

#[tokio::test]
async fn an_attempt_that_gets_on_is_left_alone_and_one_that_does_not_is_stopped() {
    let fixture = Fixture::start().await;
    fixture.submit(vec![with(v1::Deadlines { no_progress: seconds(1.0), ..v1::Deadlines::default() })]).await;
    let mut worker = Worker::attach(fixture.client(), "steady", 1).await.unwrap();
    worker.next_task().await.unwrap();
    let begin = std::time::Instant::now();
    let mut done = 0;
    while begin.elapsed().as_secs_f64() < 2.5 {
        done += 1;
        let progress = v1::Progress { done, total: 100, unit: "ms".into(), message: String::new() };
        worker.report.running[0].progress = Some(progress);
        assert!(worker.say().await.unwrap().stop.is_empty());
    }
    assert_eq!(worker.next_stop().await.unwrap().reason(), v1::StopReason::Deadline);
}

#[tokio::test]
async fn a_job_that_takes_too_long_in_all_is_stopped_and_has_failed() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![with(v1::Deadlines { total: seconds(1.0), ..v1::Deadlines::default() })]).await;
    let mut worker = Worker::attach(fixture.client(), "slow", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.next_stop().await.unwrap();
    worker.fail(&lease, v1::ErrorClass::Cancelled, "stopped").await.unwrap();
    let detail = fixture.job_in(&ids[0], "failed").await;
    assert!(detail.job.unwrap().error.contains("longer than the job allows in all"));
}

#[tokio::test]
async fn a_job_that_waits_too_long_for_others_has_failed() {
    let fixture = Fixture::start().await;
    let mut second = with(v1::Deadlines { total: seconds(0.5), ..v1::Deadlines::default() });
    second.name = "second".into();
    second.after = vec!["probe".into()];
    let ids = fixture.submit(vec![probe(1), second]).await;
    fixture.job_in(&ids[1], "failed").await;
    assert_eq!(fixture.job(&ids[0]).await.job.unwrap().state, "running");
}

#[tokio::test]
async fn a_job_that_is_tried_again_has_all_its_time_anew() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![with(v1::Deadlines { total: seconds(1.5), ..v1::Deadlines::default() })]).await;
    fixture.job_in(&ids[0], "failed").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    fixture.client().jobs().retry_job(v1::RetryJobRequest { id: ids[0].clone() }).await.unwrap();
    let mut worker = Worker::attach(fixture.client(), "late", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    fixture.job_in(&ids[0], "succeeded").await;
}
