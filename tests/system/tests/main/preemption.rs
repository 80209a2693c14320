//! A training run that makes room for something more urgent, and goes on as if it had not.

use serde_json::Value;
use ursa_proto::v1;
use ursa_system::{Store, System};

use crate::asking::{attempts, checkpoint, ended, log_of, nothing_alarming, submit, until};
use crate::pipeline::{bears, probes};

const EPOCHS: u32 = 8;

/// Digest of the weights that a train job has made.
async fn weights(system: &System, detail: &v1::JobDetail) -> Value {
    let output: Value = serde_json::from_str(&detail.job.as_ref().unwrap().output_json).unwrap();
    let digest = output["model_digest"].as_str().unwrap().to_owned();
    let model = system.client.models().get_model(v1::GetModelRequest { digest }).await.unwrap().into_inner();
    let model: Value = serde_json::from_str(&model.model_json).unwrap();
    model["files"]["model.safetensors"]["sha256"].clone()
}

#[tokio::test]
async fn a_run_that_makes_room_uses_up_no_attempt_and_learns_what_an_unbroken_one_does() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    // Of one slot: there is no room beside the run.
    system.add_worker().await.unwrap();
    let mut pipeline = bears(&system.web, 4, EPOCHS);
    let train = pipeline.jobs.last_mut().unwrap();
    (train.preemptible, train.priority, train.max_attempts) = (true, Some(1), 1);
    let unbroken = v1::JobDefinition { name: "unbroken".into(), after: vec!["train".into()], ..train.clone() };
    pipeline.jobs.push(unbroken);
    let ids = submit(&system, pipeline).await;
    checkpoint(&system, &ids["train"]).await;
    let mut urgent = probes(1);
    urgent.jobs[0].priority = Some(9);
    let urgent = submit(&system, urgent).await;

    let made_room = |detail: &v1::JobDetail| attempts(detail)[0][0] == "returned";
    until(&system, "the run to make room", &ids["train"], made_room).await;
    let urgent = ended(&system, &urgent["probe"], "succeeded").await;
    let train = ended(&system, &ids["train"], "succeeded").await;
    // It may have one attempt: what it gave back is not one.
    assert_eq!((attempts(&urgent), attempts(&train)), (vec![vec!["succeeded"]], vec![vec!["returned", "succeeded"]]));
    let [returned, last] = &train.tasks[0].attempts[..] else { panic!("{train:#?}") };
    assert_eq!(returned.error_class(), v1::ErrorClass::Returned, "{returned:?}");
    assert_eq!(returned.stop.as_ref().unwrap().reason, "preempted");
    let between = &urgent.tasks[0].attempts[0];
    let order = [&returned.ended_at, &between.started_at, &between.ended_at, &last.started_at];
    let order = order.map(|at| at.as_ref().map(|at| (at.seconds, at.nanos)).unwrap());
    assert!(order.is_sorted(), "one after the other: {train:#?}\n{urgent:#?}");

    goes_on_with_the_next_batch(&system, &ids["train"]).await;
    let unbroken = ended(&system, &ids["unbroken"], "succeeded").await;
    assert_eq!(attempts(&unbroken), [["succeeded"]]);
    let digest = weights(&system, &train).await;
    assert!(digest.is_string());
    assert_eq!(digest, weights(&system, &unbroken).await);
    nothing_alarming(&mut system, &[]);
}

/// Every batch was learned once: the first attempt's, and then those of the second.
async fn goes_on_with_the_next_batch(system: &System, train: &str) {
    let log = log_of(system, train).await;
    assert!(log.iter().any(|line| line.starts_with("going on after batch")), "{log:#?}");
    let batches = format!("from metrics where job_id = '{train}' and name = 'train_loss'");
    let query = format!(
        "select count(*) = count(distinct step) and count(*) = max(step) - min(step) + 1, count(distinct attempt) {batches}"
    );
    assert_eq!(system.postgres.ask(&query).await.unwrap(), "t|2");
    let last_of_first = format!("(select max(step) {batches} and attempt = 1)");
    let first_of_second = format!("(select min(step) {batches} and attempt = 2)");
    let query = format!("select {first_of_second} - {last_of_first}");
    assert_eq!(system.postgres.ask(&query).await.unwrap(), "1");
}
