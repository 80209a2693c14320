//! What only one coordinator does at a time.

use ursa_cluster::{Worker, until};
use ursa_proto::v1;

use crate::fixture::{Fixture, answered, probe};

async fn holder(fixture: &Fixture, duty: &str) -> String {
    fixture.ask(&format!("select holder from duties where name = '{duty}' and expires_at > now()")).await
}

#[tokio::test]
async fn the_next_coordinator_takes_up_the_duties_of_one_that_ends() {
    let mut fixture = Fixture::start().await;
    let duties = ["logs", "cleaning", "retention"];
    let mut first = Vec::new();
    for duty in duties {
        first.push(until("somebody to have the duty", || holder(&fixture, duty), |holder| !holder.is_empty()).await);
    }
    assert_eq!(first[0], first[1], "there is one coordinator");
    let other = fixture.coordinator.start_beside(&[]).await.unwrap();
    for duty in duties {
        assert_eq!(holder(&fixture, duty).await, first[0], "it is not taken from who renews it");
    }
    fixture.coordinator.crash().await;
    for duty in duties {
        let taken = |holder: &String| !holder.is_empty() && *holder != first[0];
        until("the other one to have the duty", || holder(&fixture, duty), taken).await;
    }
    drop(other);
}

#[tokio::test]
async fn a_duty_whose_holder_fell_silent_is_taken_over_and_done() {
    let fixture = Fixture::start_with(&["--lease=1m"]).await;
    until("somebody to have the duty", || holder(&fixture, "logs"), |holder| !holder.is_empty()).await;
    let silent = "00000000-0000-0000-0000-000000000001";
    fixture
        .sql(&format!(
            "update duties set holder = '{silent}', expires_at = now() + interval '3 seconds' where name = 'logs'"
        ))
        .await;
    let mut worker = Worker::attach(fixture.client(), "worker", 1).await.unwrap();
    fixture.submit(vec![probe(1)]).await;
    let lease = worker.next_task().await.unwrap().lease.unwrap();
    let line = v1::LogLine { level: "info".into(), message: "here".into(), ..v1::LogLine::default() };
    let request = v1::AppendLogsRequest { lease: Some(lease.clone()), lines: vec![line], sequence: 1 };
    fixture.client().workers().append_logs(request).await.unwrap();
    worker.complete(&lease, answered()).await.unwrap();
    let left = async || fixture.ask("select count(*) from log_lines").await;
    until("the duty to be done", left, |left| left == "0").await;
    assert_ne!(holder(&fixture, "logs").await, silent);
}
