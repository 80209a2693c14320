//! When what waits is looked at again.

use std::time::{Duration, SystemTime};

use ursa_cluster::Worker;
use ursa_proto::v1;

use crate::fixture::{Fixture, after, probe, seconds};

/// Why a job waits, and when that is looked at again.
async fn wait(fixture: &Fixture, id: &str) -> (String, Option<prost_types::Timestamp>) {
    let job = fixture.job(id).await.job.unwrap();
    (job.waiting_reason, job.looked_at_again_at)
}

/// Whether what was asked `since` will be looked at within the next round.
fn is_soon(since: SystemTime, at: Option<prost_types::Timestamp>) -> bool {
    let at = SystemTime::try_from(at.unwrap()).unwrap();
    since < at && at <= SystemTime::now() + Duration::from_secs(1)
}

#[tokio::test]
async fn what_waits_for_room_is_looked_at_in_the_next_round() {
    let fixture = Fixture::start().await;
    let ids = fixture.submit(vec![probe(1)]).await;
    let since = SystemTime::now();
    let (reason, at) = wait(&fixture, &ids[0]).await;
    assert!(reason.contains("no worker") && is_soon(since, at), "{reason}: {at:?}");
    let quota = v1::PutProjectRequest { name: "default".into(), max_running: Some(0), ..Default::default() };
    fixture.client().queues().put_project(quota).await.unwrap();
    let (reason, at) = wait(&fixture, &ids[0]).await;
    assert!(reason.contains("quota") && is_soon(since, at), "{reason}: {at:?}");
}

#[tokio::test]
async fn what_waits_for_a_word_or_another_job_is_not_looked_at_before() {
    let fixture = Fixture::start().await;
    let later = v1::JobDefinition { name: "later".into(), ..probe(1) };
    let ids = fixture.submit(vec![probe(1), after(later, &["probe"])]).await;
    assert_eq!(wait(&fixture, &ids[1]).await, ("waits for another job of its pipeline".into(), None));
    let mut queues = fixture.client().queues();
    queues.pause_queue(v1::PauseQueueRequest { kind: "probe".into(), paused: true }).await.unwrap();
    assert_eq!(wait(&fixture, &ids[0]).await, ("the queue is paused".into(), None));
    queues.pause_project(v1::PauseProjectRequest { name: "default".into(), paused: true }).await.unwrap();
    assert_eq!(wait(&fixture, &ids[0]).await, ("the project is paused".into(), None));
}

#[tokio::test]
async fn what_failed_is_looked_at_when_the_first_of_its_tasks_comes_back() {
    let fixture = Fixture::start().await;
    let backoff = Some(v1::Backoff { first: seconds(600.0), longest: seconds(600.0) });
    let ids = fixture.submit(vec![v1::JobDefinition { backoff, ..probe(2) }]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    for _ in 0..2 {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.fail(&lease, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    }
    let detail = fixture.job(&ids[0]).await;
    let job = detail.job.unwrap();
    assert!(job.waiting_reason.contains("before the next attempt"), "{}", job.waiting_reason);
    let first = detail.tasks.iter().filter_map(|task| task.ready_at).min_by_key(|at| (at.seconds, at.nanos));
    assert_eq!(job.looked_at_again_at, first);
}

#[tokio::test]
async fn what_waits_beside_tasks_at_work_is_explained_where_somebody_asks_for_the_job() {
    let fixture = Fixture::start_with(&["--lease=5m", "--report-interval=1s"]).await;
    let ids = fixture.submit(vec![probe(2)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    worker.next_task().await.unwrap();
    worker.say().await.unwrap();
    let since = SystemTime::now();
    let (reason, at) = wait(&fixture, &ids[0]).await;
    assert!(reason.contains("it is full") && is_soon(since, at), "{reason}: {at:?}");
    let listed = fixture.client().jobs().list_jobs(v1::ListJobsRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.jobs[0].waiting_reason, "", "of many jobs only those are explained that nobody is at work on");
    let mut other = Worker::attach(fixture.client(), "other", 1).await.unwrap();
    other.next_task().await.unwrap();
    assert_eq!(wait(&fixture, &ids[0]).await, (String::new(), None), "both are at work");
}

#[tokio::test]
async fn what_waits_for_tasks_at_work_or_for_another_attempt_beside_them_says_so() {
    let fixture = Fixture::start_with(&["--lease=5m"]).await;
    let bounded = fixture.submit(vec![v1::JobDefinition { parallelism: 1, ..probe(2) }]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    worker.next_task().await.unwrap();
    assert_eq!(wait(&fixture, &bounded[0]).await, ("its tasks wait for others of it to end".into(), None));

    let backoff = Some(v1::Backoff { first: seconds(600.0), longest: seconds(600.0) });
    let ids = fixture.submit(vec![v1::JobDefinition { backoff, ..probe(2) }]).await;
    let mut unlucky = Worker::attach(fixture.client(), "unlucky", 1).await.unwrap();
    let lease = unlucky.next_task().await.unwrap().lease.unwrap();
    unlucky.fail(&lease, v1::ErrorClass::Retryable, "bad luck").await.unwrap();
    unlucky.next_task().await.unwrap();
    let (reason, at) = wait(&fixture, &ids[0]).await;
    assert!(reason.contains("before the next attempt") && at.is_some(), "{reason}");
}
