//! SIGKILL, in the middle of everything: the pipeline ends well, nothing is lost, nothing happens twice.

use std::time::Duration;

use ursa_proto::v1;
use ursa_system::{Store, System};

use crate::asking::{attempts, checkpoint, ended, log_of, nothing_alarming, state_of, submit, until, warning};
use crate::pipeline::{JOBS, bears};
use crate::whole_loop::every_url_became_what_it_had_to;

pub(crate) fn is_under_way(detail: &v1::JobDetail) -> bool {
    state_of(detail) == "running" && detail.job.as_ref().unwrap().progress.as_ref().unwrap().done > 0
}

pub(crate) async fn models(system: &System) -> usize {
    system.client.models().list_models(v1::ListModelsRequest { page: None }).await.unwrap().into_inner().models.len()
}

#[tokio::test]
async fn a_coordinator_killed_in_every_job_loses_nothing_and_repeats_nothing() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    system.add_worker().await.unwrap();
    system.add_node().await.unwrap();
    let ids = submit(&system, bears(&system.web, 5, 3)).await;

    until(&system, "the scrape to be under way", &ids["scrape"], is_under_way).await;
    system.replace_coordinator().await.unwrap();
    until(&system, "the verification to begin", &ids["verify"], |detail| state_of(detail) != "waiting").await;
    system.replace_coordinator().await.unwrap();
    checkpoint(&system, &ids["train"]).await;
    system.replace_coordinator().await.unwrap();

    for name in JOBS {
        let detail = ended(&system, &ids[name], "succeeded").await;
        // The coordinator's own tasks are tried again by the next one; those of the worker went on meanwhile.
        if !["snapshot", "deploy"].contains(&name) {
            assert!(attempts(&detail).iter().all(|of_task| *of_task == ["succeeded"]), "{name}: {detail:#?}");
        }
    }
    every_url_became_what_it_had_to(&system).await;
    assert_eq!(models(&system).await, 1);
    nothing_alarming(&mut system, &[warning(&["session: waiting for the coordinator"], "it was killed")]);
}

#[tokio::test]
async fn a_worker_killed_while_scraping_and_while_training_is_replaced_by_the_next() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    let first = system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 4, 4)).await;
    until(&system, "the scrape to be under way", &ids["scrape"], is_under_way).await;
    system.workers[first].kill().unwrap();

    let second = system.add_worker().await.unwrap();
    checkpoint(&system, &ids["train"]).await;
    let trainers = system.workers[second].children("ursa-trainer").unwrap();
    assert_eq!(trainers.len(), 1);
    system.workers[second].kill().unwrap();
    no_longer_runs(trainers[0]).await;

    system.add_worker().await.unwrap();
    let detail = ended(&system, &ids["scrape"], "succeeded").await;
    assert!(attempts(&detail).iter().any(|of_task| *of_task == ["lost", "succeeded"]), "{detail:#?}");
    let detail = ended(&system, &ids["train"], "succeeded").await;
    assert_eq!(attempts(&detail), [["lost", "succeeded"]]);
    let log = log_of(&system, &ids["train"]).await;
    assert!(log.iter().any(|line| line.starts_with("going on after batch")), "{log:#?}");
    every_url_became_what_it_had_to(&system).await;
    assert_eq!(models(&system).await, 1);
    nothing_alarming(&mut system, &[]);
}

/// An orphan would hold a GPU that nobody can take back.
async fn no_longer_runs(pid: nix::unistd::Pid) {
    for _ in 0..100 {
        if nix::sys::signal::kill(pid, None).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the trainer outlives its worker");
}

#[tokio::test]
async fn a_trainer_killed_is_started_again_by_its_worker_and_goes_on_from_the_checkpoint() {
    let mut system = System::start(Store::Folder, 12).await.unwrap();
    let worker = system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 4, 4)).await;
    checkpoint(&system, &ids["train"]).await;
    system.kill_trainer(worker).unwrap();
    let detail = ended(&system, &ids["train"], "succeeded").await;
    assert_eq!(attempts(&detail), [["failed", "succeeded"]]);
    let error = &detail.tasks[0].attempts[0].error;
    assert!(error.contains("signal 9"), "{error}");
    let log = log_of(&system, &ids["train"]).await;
    assert!(log.iter().any(|line| line.starts_with("going on after batch")), "{log:#?}");
    assert!(system.workers[worker].is_running());
    assert_eq!(models(&system).await, 1);
    nothing_alarming(&mut system, &[warning(&["attempt", "the trainer was killed (signal 9)"], "it was")]);
}

#[tokio::test]
async fn a_cancelled_run_ends_its_process_and_the_worker_takes_the_next_task() {
    let mut system = System::start(Store::Folder, 8).await.unwrap();
    let worker = system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 4, 50)).await;
    until(&system, "the run to begin", &ids["train"], is_under_way).await;
    let trainer = system.workers[worker].children("ursa-trainer").unwrap()[0];
    system.client.jobs().cancel_job(v1::CancelJobRequest { id: ids["train"].clone() }).await.unwrap();
    ended(&system, &ids["train"], "cancelled").await;
    no_longer_runs(trainer).await;
    let again = v1::RetrySourcesRequest { dataset: "bears".into(), source_ids: Vec::new() };
    let pipeline = system.client.datasets().retry_sources(again).await.unwrap().into_inner().pipeline.unwrap();
    ended(&system, &pipeline.jobs[0].id, "succeeded").await;
    nothing_alarming(&mut system, &[]);
}

#[tokio::test]
async fn a_worker_told_to_stop_hands_its_task_back_at_once() {
    let mut system = System::start(Store::Folder, 8).await.unwrap();
    let worker = system.add_worker().await.unwrap();
    let ids = submit(&system, bears(&system.web, 1, 1)).await;
    until(&system, "the scrape to be under way", &ids["scrape"], is_under_way).await;
    assert!(system.workers[worker].stop().unwrap().success(), "{}", system.logs());
    let handed_back = |detail: &v1::JobDetail| attempts(detail).iter().any(|of_task| *of_task == ["returned"]);
    let detail = until(&system, "the attempt to be given back", &ids["scrape"], handed_back).await;
    let mut all = detail.tasks.iter().flat_map(|task| &task.attempts);
    let returned = all.find(|attempt| attempt.state == "returned").unwrap();
    assert_eq!(returned.error_class(), v1::ErrorClass::Returned, "{returned:?}");
    assert!(returned.error.contains("worker-0"), "{returned:?}");
    system.add_worker().await.unwrap();
    ended(&system, &ids["scrape"], "succeeded").await;
    nothing_alarming(&mut system, &[]);
}
