//! Several coordinators on one database.

use ursa_cluster::{Coordinator, Worker};
use ursa_proto::v1;

use crate::fixture::{Fixture, answered, probe};

#[tokio::test]
async fn a_job_submitted_to_one_is_worked_on_through_the_other() {
    let fixture = Fixture::start().await;
    let other = Coordinator::start(&fixture.postgres.url()).await.unwrap();
    let mut worker = Worker::attach(&other.client, "worker", 1).await.unwrap();
    worker.say().await.unwrap();
    let ids = fixture.submit(vec![probe(2)]).await;
    for _ in 0..2 {
        let lease = worker.next_task().await.unwrap().lease.unwrap();
        worker.complete(&lease, answered()).await.unwrap();
    }
    fixture.job_in(&ids[0], "succeeded").await;
}

#[tokio::test]
async fn a_worker_goes_on_with_the_other_when_its_coordinator_dies() {
    let mut fixture = Fixture::start().await;
    let other = Coordinator::start(&fixture.postgres.url()).await.unwrap();
    let ids = fixture.submit(vec![probe(1)]).await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let report = worker.report.clone();
    fixture.coordinator.crash().await;
    let mut worker = Worker::attach_with(&other.client, report).await.unwrap();
    for _ in 0..20 {
        assert!(worker.say().await.unwrap().stop.is_empty(), "the lease is renewed by the other");
    }
    worker.complete(&lease, answered()).await.unwrap();
    let request = v1::GetJobRequest { id: ids[0].clone() };
    let job = async || other.client.jobs().get_job(request.clone()).await.unwrap().into_inner();
    let detail = ursa_cluster::until("the job", job, |detail| detail.job.as_ref().unwrap().state == "succeeded").await;
    assert_eq!(detail.tasks[0].attempts.len(), 1);
}

#[tokio::test]
async fn two_that_dispatch_at_once_give_no_task_twice_and_keep_the_quota() {
    let fixture = Fixture::start().await;
    let other = Coordinator::start(&fixture.postgres.url()).await.unwrap();
    let quota = v1::PutProjectRequest { name: "default".into(), max_running: Some(4), ..Default::default() };
    fixture.client().queues().put_project(quota).await.unwrap();
    let mut workers = vec![
        Worker::attach(fixture.client(), "one", 8).await.unwrap(),
        Worker::attach(&other.client, "two", 8).await.unwrap(),
    ];
    let ids = fixture.submit(vec![probe(60)]).await;
    let mut seen = std::collections::HashMap::new();
    while seen.len() < 60 {
        assert!(fixture.job(&ids[0]).await.job.unwrap().tasks.unwrap().running <= 4);
        for worker in &mut workers {
            worker.say().await.unwrap();
            for running in worker.report.running.clone() {
                let lease = running.lease.unwrap();
                worker.complete(&lease, answered()).await.unwrap();
                // An order that was not listed in time is repeated; another attempt it is not.
                let earlier = seen.insert(lease.task_id.clone(), lease.token.clone());
                assert!(earlier.is_none_or(|token| token == lease.token), "task {} was given twice", lease.task_id);
            }
        }
    }
    fixture.job_in(&ids[0], "succeeded").await;
}
