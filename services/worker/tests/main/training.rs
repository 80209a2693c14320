//! Training runs: what they see of the GPUs, how many there are at a time, and how they are stopped.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ursa_proto::v1::{self, StopReason, StopStage};

use crate::support::{Coordinator, PATIENCE, Seen, Worker, evaluate, explain, train};

fn sees(seen: &Seen, gpus: &str) -> bool {
    seen.lines.contains(&format!("sees {gpus} of PCI_BUS_ID"))
}

#[tokio::test]
async fn a_run_sees_the_gpus_it_is_given_and_no_others() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--pretend-gpus", "24GiB,24GiB,24GiB"]);
    let (on_gpus, on_none) = (train("quick", &[0, 2]), train("quick", &[]));
    coordinator.order(&[&on_gpus, &on_none]);
    let completion = coordinator.sees_completion(&on_gpus).await;
    assert!(matches!(completion.result, Some(v1::complete_task_request::Result::Train(_))));
    coordinator.sees_completion(&on_none).await;
    coordinator.sees("both logs", |seen| sees(seen, "0,2") && sees(seen, "")).await;
}

#[tokio::test]
async fn runs_on_gpus_go_on_side_by_side_and_those_on_the_processor_take_turns() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--pretend-gpus", "24GiB,24GiB"]);
    let runs = [train("obedient", &[0]), train("obedient", &[1]), train("obedient", &[])];
    coordinator.order(&runs.iter().collect::<Vec<_>>());
    coordinator.sees("three runs", |seen| sees(seen, "0") && sees(seen, "1") && sees(seen, "")).await;

    let next = train("quick", &[]);
    coordinator.order(&[&next]);
    let waits = |running: &v1::RunningAttempt| {
        running.progress.as_ref().is_some_and(|progress| progress.message.contains("waiting for another"))
    };
    coordinator.sees("a run that waits", |seen| seen.running(&next).is_some_and(waits)).await;
    coordinator.order_stop(&runs[2], StopReason::Cancelled);
    coordinator.sees_completion(&next).await;
}

#[tokio::test]
async fn measurements_that_are_refused_keep_back_neither_log_lines_nor_checkpoints() {
    let coordinator = Coordinator::start().await;
    coordinator.refuse_metrics();
    let _worker = Worker::start(&[&coordinator], &["--pretend-gpus", "24GiB"]);
    let order = train("talkative", &[0]);
    coordinator.order(&[&order]);
    coordinator.sees_completion(&order).await;
    let is_there = |seen: &Seen| seen.lines.iter().any(|line| line == "learned") && seen.checkpoints.len() == 1;
    coordinator.sees("its log and its checkpoint", is_there).await;
}

#[tokio::test]
async fn an_evaluation_is_a_run_as_any_other_and_its_result_is_handed_in_whole() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--pretend-gpus", "24GiB,24GiB"]);
    let order = evaluate("quick", &[1]);
    coordinator.order(&[&order]);
    let completion = coordinator.sees_completion(&order).await;
    let Some(v1::complete_task_request::Result::Evaluate(result)) = completion.result else { panic!("{completion:?}") };
    let predictions = result.predictions.unwrap();
    assert_eq!((predictions.key.as_str(), predictions.sha256.as_str(), predictions.bytes), ("k", "s", 9));
    assert_eq!(result.classes, [v1::ClassErrors { class: "black".into(), wrong: 1, of: 4 }]);
    assert!((result.loss - 0.25).abs() < 1e-12);
    coordinator.sees("its log", |seen| sees(seen, "1")).await;
}

#[tokio::test]
async fn an_explanation_waits_for_no_run_and_is_handed_in_whole() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &[]);
    let (training, order) = (train("obedient", &[]), explain("quick"));
    coordinator.order(&[&training]);
    coordinator.sees("the training run", |seen| !seen.lines.is_empty()).await;
    coordinator.order(&[&order]);
    let completion = coordinator.sees_completion(&order).await;
    let Some(v1::complete_task_request::Result::Explain(result)) = completion.result else { panic!("{completion:?}") };
    let overlay = Some(v1::StoredObject { key: "k".into(), sha256: "s".into(), bytes: 9 });
    let expected = v1::ExplainedImage {
        image_id: "00000000-0000-0000-0000-000000000007".into(),
        class: "teddy".into(),
        probability: 0.25,
        predicted: "black".into(),
        side: 1,
        values: vec![0.5],
        overlay,
    };
    assert_eq!(result.images, [expected]);
    coordinator.sees("the training run go on", |seen| seen.running(&training).is_some()).await;
}

#[tokio::test]
async fn a_run_that_makes_room_hands_in_its_checkpoint_first() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &[]);
    let order = train("obedient", &[]);
    coordinator.order(&[&order]);
    coordinator.sees("the trainer", |seen| !seen.lines.is_empty()).await;
    coordinator.order_stop(&order, StopReason::Preempted);
    let (class, message) = coordinator.sees_failure(&order).await;
    assert_eq!((class, message.as_str()), (v1::ErrorClass::Returned, "a more urgent job needed the room"));
    let seen = coordinator.sees("anything", |_| true).await;
    assert_eq!(seen.checkpoints.len(), 1, "it counts before the attempt has ended");
    assert_eq!(seen.failure(&order).unwrap().stop_stage(), StopStage::Acknowledged, "no force was needed");
}

#[tokio::test]
async fn a_run_that_does_not_end_by_itself_is_killed_and_that_is_said() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--stop-grace", "300ms"]);
    let order = train("deaf", &[]);
    coordinator.order(&[&order]);
    coordinator.sees("the trainer", |seen| !seen.lines.is_empty()).await;
    coordinator.order_stop(&order, StopReason::Deadline);
    coordinator.sees("that it was heard", |seen| seen.stage(&order) == Some(StopStage::Acknowledged)).await;
    let seen = coordinator.sees("a failure", |seen| seen.failure(&order).is_some()).await;
    let failure = seen.failure(&order).unwrap();
    // A report that tells of it may come after the end, when it is too late.
    assert_eq!((failure.class(), failure.stop_stage()), (v1::ErrorClass::Deadline, StopStage::Forced));
}

/// The processes of a run that started others, as it tells of them.
fn family(seen: &Seen) -> Option<Vec<i32>> {
    let told = seen.lines.iter().find_map(|line| line.strip_prefix("family "))?;
    Some(told.split(' ').map(|pid| pid.parse().unwrap()).collect())
}

/// Whether a process is there, and more than an entry that its parent has not read yet.
fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_run_that_is_killed_goes_with_every_process_it_started() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--stop-grace", "300ms"]);
    let order = train("family", &[]);
    coordinator.order(&[&order]);
    let seen = coordinator.sees("the family", |seen| family(seen).is_some()).await;
    let pids = family(&seen).unwrap();
    for pid in &pids {
        // Nobody of it minds.
        kill(Pid::from_raw(*pid), Signal::SIGTERM).unwrap();
    }
    assert!(pids.len() == 3 && pids.iter().all(|pid| is_running(*pid)), "{pids:?}");

    coordinator.order_stop(&order, StopReason::Cancelled);
    assert_eq!(coordinator.sees_failure(&order).await.0, v1::ErrorClass::Cancelled);
    let begun = Instant::now();
    while pids.iter().any(|pid| is_running(*pid)) {
        assert!(begun.elapsed() < PATIENCE, "some of {pids:?} are there still");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_result_that_comes_when_the_run_shall_stop_counts_where_it_was_wanted() {
    let coordinator = Coordinator::start().await;
    let _worker = Worker::start(&[&coordinator], &["--pretend-gpus", "24GiB,24GiB"]);
    let (preempted, cancelled) = (train("done", &[0]), train("done", &[1]));
    coordinator.order(&[&preempted, &cancelled]);
    coordinator.sees("both trainers", |seen| sees(seen, "0") && sees(seen, "1")).await;
    coordinator.order_stop(&preempted, StopReason::Preempted);
    coordinator.order_stop(&cancelled, StopReason::Cancelled);
    coordinator.sees_completion(&preempted).await;
    assert_eq!(coordinator.sees_failure(&cancelled).await.0, v1::ErrorClass::Cancelled);
}
