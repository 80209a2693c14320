//! Single courses of events, told from beginning to end.

use std::time::Duration;

use ursa_domain::ErrorClass;
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::lifecycle::task::TaskState;
use ursa_domain::policy::{Deadlines, JobPolicy};

use crate::store::{End, GRACE, LEASE, Refused, Stop, Store};

const MOMENT: Duration = Duration::from_millis(1);

fn running(policy: JobPolicy, tasks: usize) -> Store {
    let mut store = Store::default();
    let job = store.submit(policy, tasks);
    assert_eq!(store.start(job), Ok(()));
    store
}

fn pass(store: &mut Store, time: Duration) {
    store.now += time;
    assert_eq!(store.sweep(), Ok(()));
}

#[test]
fn a_worker_that_comes_back_after_its_lease_was_given_to_another_changes_nothing() {
    let mut store = running(JobPolicy::default(), 1);
    let late = store.claim(0).unwrap()[0];
    pass(&mut store, LEASE + MOMENT);
    pass(&mut store, Duration::from_secs(1));
    let second = store.claim(1).unwrap()[0];
    assert_eq!(store.complete(&late), Err(Refused::LeaseLost));
    assert_eq!(store.fail(&late, ErrorClass::Fatal), Err(Refused::LeaseLost));
    assert_eq!(store.report(&[late, second]), Ok(vec![late]));
    assert_eq!(store.complete(&second), Ok(()));
    assert_eq!(store.complete(&second), Ok(()), "the answer to the first request may have been lost");
    assert_eq!(store.effects, [0]);
}

#[test]
fn a_report_keeps_a_lease_and_silence_loses_it() {
    let mut store = running(JobPolicy::default(), 1);
    let lease = store.claim(0).unwrap()[0];
    for _ in 0..5 {
        pass(&mut store, LEASE);
        assert_eq!(store.report(&[lease]), Ok(vec![]));
    }
    pass(&mut store, LEASE + MOMENT);
    assert_eq!(store.attempts[0].end, Some(End::Lost(ErrorClass::Infrastructure)));
}

#[test]
fn what_was_asked_back_for_more_urgent_work_uses_up_no_attempt() {
    let mut store = running(JobPolicy { max_attempts: 1, ..JobPolicy::default() }, 1);
    for _ in 0..5 {
        let lease = store.claim(0).unwrap()[0];
        store.preempt(store.attempts.len() - 1);
        store.fail(&lease, ErrorClass::Fatal).unwrap();
        assert_eq!(store.tasks[0].state, TaskState::Ready);
    }
    let lease = store.claim(0).unwrap()[0];
    store.fail(&lease, ErrorClass::Retryable).unwrap();
    assert_eq!(store.tasks[0].state, TaskState::Dead);
}

#[test]
fn a_job_that_takes_longer_than_it_may_tries_nothing_again() {
    let deadlines = Deadlines { total: Some(Duration::from_secs(1)), ..Deadlines::default() };
    let mut store = running(JobPolicy { deadlines, ..JobPolicy::default() }, 2);
    let lease = store.claim(0).unwrap()[0];
    pass(&mut store, Duration::from_secs(2));
    assert_eq!((store.jobs[0].state, store.tasks[1].state), (JobState::Cancelling, TaskState::Cancelled));
    store.fail(&lease, ErrorClass::Retryable).unwrap();
    store.settle(0).unwrap();
    assert_eq!((store.jobs[0].state, store.tasks[0].state), (JobState::Failed, TaskState::Cancelled));
}

#[test]
fn a_worker_that_does_not_stop_loses_its_lease_though_it_reports() {
    let mut store = running(JobPolicy::default(), 1);
    let lease = store.claim(0).unwrap()[0];
    store.cancel(0).unwrap();
    assert_eq!(store.report(&[lease]), Ok(vec![lease]));
    pass(&mut store, GRACE + MOMENT);
    store.settle(0).unwrap();
    assert_eq!(
        (store.jobs[0].state, store.attempts[0].end),
        (JobState::Cancelled, Some(End::Lost(ErrorClass::Cancelled)))
    );
}

#[test]
fn work_that_succeeds_while_it_is_cancelled_counts_but_the_job_is_cancelled() {
    let mut store = running(JobPolicy::default(), 1);
    let lease = store.claim(0).unwrap()[0];
    store.cancel(0).unwrap();
    store.complete(&lease).unwrap();
    store.settle(0).unwrap();
    assert_eq!((store.jobs[0].state, store.tasks[0].state), (JobState::Cancelled, TaskState::Succeeded));
    store.retry(0).unwrap();
    store.start(0).unwrap();
    store.settle(0).unwrap();
    assert_eq!((store.jobs[0].state, store.effects.len()), (JobState::Succeeded, 1));
}

#[test]
fn a_gang_comes_back_whole() {
    let mut store = running(JobPolicy { workers: 3, ..JobPolicy::default() }, 3);
    let leases = store.claim(0).unwrap();
    assert_eq!(leases.len(), 3);
    store.fail(&leases[0], ErrorClass::Retryable).unwrap();
    assert_eq!(store.attempts[1].stop, Some(Stop::Preempted));
    for lease in &leases[1..] {
        store.fail(lease, ErrorClass::Cancelled).unwrap();
    }
    assert_eq!(store.claim(0), Ok(vec![]), "the first still waits");
    pass(&mut store, Duration::from_secs(1));
    assert_eq!(store.claim(0).unwrap().len(), 3);
}

#[test]
fn what_is_left_of_a_gang_that_lost_a_member_for_good_is_not_tried_again() {
    let mut store = running(JobPolicy { workers: 3, ..JobPolicy::default() }, 3);
    let leases = store.claim(0).unwrap();
    store.fail(&leases[0], ErrorClass::Retryable).unwrap();
    store.fail(&leases[1], ErrorClass::Returned).unwrap();
    // The last was asked for as late as it failed for good.
    store.attempts[2].stop = None;
    store.fail(&leases[2], ErrorClass::Fatal).unwrap();
    store.settle(0).unwrap();
    let states: Vec<TaskState> = store.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Cancelled, TaskState::Cancelled, TaskState::Failed]);
    assert_eq!(store.jobs[0].state, JobState::Failed);
}

#[test]
fn a_job_gives_out_no_more_than_it_may_have_at_a_time() {
    let mut store = running(JobPolicy { parallelism: Some(2), ..JobPolicy::default() }, 5);
    let leases = [store.claim(0).unwrap(), store.claim(1).unwrap()].concat();
    assert_eq!((leases.len(), store.claim(2)), (2, Ok(vec![])));
    store.complete(&leases[0]).unwrap();
    assert_eq!(store.claim(2).unwrap().len(), 1);
}

#[test]
fn dead_tasks_of_a_job_that_succeeded_without_them_can_be_replayed() {
    let mut store = running(JobPolicy { max_attempts: 1, min_success_ratio: 0.5, ..JobPolicy::default() }, 2);
    let (first, second) = (store.claim(0).unwrap()[0], store.claim(0).unwrap()[0]);
    store.complete(&first).unwrap();
    store.fail(&second, ErrorClass::Retryable).unwrap();
    store.settle(0).unwrap();
    assert_eq!(store.jobs[0].state, JobState::Succeeded);
    assert!(store.replay(0, &[0]).is_err(), "what has succeeded is not done again");
    store.replay(0, &[1]).unwrap();
    store.start(0).unwrap();
    let again = store.claim(0).unwrap()[0];
    store.complete(&again).unwrap();
    store.settle(0).unwrap();
    assert_eq!((store.jobs[0].state, store.effects.clone()), (JobState::Succeeded, vec![0, 1]));
}
