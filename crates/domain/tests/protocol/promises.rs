//! What holds after every event, and once everything has come to rest.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use ursa_domain::ErrorClass;
use ursa_domain::lifecycle::job::JobState;
use ursa_domain::lifecycle::task::TaskState;

use crate::events::{Event, System, events, policies};
use crate::store::{End, Refused, Store, index};

/// What was seen of a store so far.
#[derive(Debug, Clone)]
struct Witness {
    last: Store,
    /// Attempts of a task before its present round.
    rounds: HashMap<usize, u32>,
}

impl Witness {
    fn new(store: &Store) -> Self {
        Self { last: store.clone(), rounds: HashMap::new() }
    }

    fn look(&mut self, system: &System, event: &Event) -> Result<(), TestCaseError> {
        let store = &system.store;
        for task in 0..store.tasks.len() {
            self.look_at_task(store, task)?;
        }
        for job in 0..store.jobs.len() {
            self.look_at_job(store, job, event)?;
        }
        self.look_at_attempts(system)?;
        self.last = store.clone();
        Ok(())
    }

    fn look_at_task(&mut self, store: &Store, at: usize) -> Result<(), TestCaseError> {
        let (task, before) = (&store.tasks[at], &self.last.tasks[at]);
        let attempts: Vec<_> = store.attempts.iter().filter(|attempt| index(&attempt.lease) == at).collect();
        let open: Vec<_> = attempts.iter().filter(|attempt| attempt.end.is_none()).collect();
        prop_assert!(open.len() <= 1, "two at work on one task");
        prop_assert_eq!(open.len() == 1, task.state.is_held());
        prop_assert!(open.iter().all(|attempt| attempt.lease.attempt == task.attempt));
        prop_assert_eq!(attempts.len(), task.attempt as usize, "an attempt is lost or without number");
        if before.state == TaskState::Succeeded {
            prop_assert_eq!(task.state, TaskState::Succeeded, "what has succeeded stays so");
        }
        let effects = store.effects.iter().filter(|effect| **effect == at).count();
        prop_assert_eq!(effects, usize::from(task.state == TaskState::Succeeded), "effects, exactly once");
        if before.state.is_terminal() && !task.state.is_terminal() {
            self.rounds.insert(at, task.attempt);
        }
        let earlier = self.rounds.get(&at).copied().unwrap_or_default();
        let returned = |attempt: &&&crate::store::Attempt| {
            let end = attempt.end;
            attempt.lease.attempt > earlier
                && matches!(end, Some(End::Told(ErrorClass::Returned) | End::Lost(ErrorClass::Returned)))
        };
        let used = task.attempt - earlier - attempts.iter().filter(returned).count() as u32;
        let max = store.jobs[task.job].policy.max_attempts;
        prop_assert!(used <= max, "{} attempts of {}", used, max);
        prop_assert!(task.state != TaskState::Dead || used == max, "given up before its time");
        Ok(())
    }

    fn look_at_job(&self, store: &Store, at: usize, event: &Event) -> Result<(), TestCaseError> {
        let (job, before) = (&store.jobs[at], &self.last.jobs[at]);
        let tasks = store.tasks_of(at);
        let count =
            |states: &[TaskState]| tasks.iter().filter(|task| states.contains(&store.tasks[**task].state)).count();
        let open = tasks.iter().filter(|task| !store.tasks[**task].state.is_terminal()).count();
        prop_assert_eq!(job.open_tasks, open, "the count of open tasks");
        prop_assert!(!job.state.is_terminal() || open == 0, "it has ended before its tasks");
        prop_assert!(job.state != JobState::Waiting || open == count(&[TaskState::Waiting]));
        let begun = [TaskState::Ready, TaskState::Leased, TaskState::Running, TaskState::RetryWait];
        let parallelism = job.policy.parallelism.map_or(usize::MAX, |parallelism| parallelism as usize);
        prop_assert!(count(&begun) <= parallelism, "more at a time than it may");
        if job.state == JobState::Cancelling {
            prop_assert_eq!(open, count(&[TaskState::Leased, TaskState::Running]), "it stops, and tries nothing again");
        }
        if before.state == JobState::Cancelling {
            prop_assert!(job.state != JobState::Succeeded && job.state != JobState::Running);
        }
        if before.state != job.state && job.state.is_terminal() {
            let (succeeded, failed) = (count(&[TaskState::Succeeded]), count(&[TaskState::Failed, TaskState::Dead]));
            let is_enough = succeeded as f64 >= job.policy.min_success_ratio * tasks.len() as f64;
            let outcome = match (before.state, is_enough, failed) {
                (JobState::Running, true, _) => JobState::Succeeded,
                (JobState::Running, false, 0) => JobState::Cancelled,
                (JobState::Running, false, _) => JobState::Failed,
                _ if job.is_late => JobState::Failed,
                _ => JobState::Cancelled,
            };
            prop_assert_eq!(job.state, outcome, "after {:?}", event);
        }
        Ok(())
    }

    fn look_at_attempts(&self, system: &System) -> Result<(), TestCaseError> {
        let store = &system.store;
        for (attempt, before) in store.attempts.iter().zip(&self.last.attempts) {
            prop_assert!(before.end.is_none() || before.end == attempt.end, "an attempt ends once");
            prop_assert_eq!(attempt.lease, before.lease);
            let is_told = before.end.is_none() && matches!(attempt.end, Some(End::Succeeded | End::Told(_)));
            prop_assert!(!is_told || system.presented == Some(attempt.lease), "only its own lease ends an attempt");
        }
        let new = &store.attempts[self.last.attempts.len()..];
        for attempt in new {
            let job = store.tasks[index(&attempt.lease)].job;
            prop_assert_eq!(self.last.jobs[job].state, JobState::Running, "only what runs is leased");
        }
        let Some(first) = new.first() else { return Ok(()) };
        let job = store.tasks[index(&first.lease)].job;
        if store.jobs[job].policy.workers > 1 {
            let mut workers: Vec<usize> = new.iter().map(|attempt| attempt.worker).collect();
            workers.dedup();
            prop_assert_eq!(
                workers.len(),
                store.jobs[job].open_tasks,
                "a gang is leased whole, each to another worker"
            );
            let tasks = store.tasks_of(job);
            let is_lost = |task: &usize| matches!(store.tasks[*task].state, TaskState::Failed | TaskState::Dead);
            let is_first_round = tasks.iter().all(|task| !self.rounds.contains_key(task));
            prop_assert!(
                !is_first_round || !tasks.iter().any(is_lost),
                "what is left of a lost gang is not tried again"
            );
        }
        Ok(())
    }
}

/// Workers do as they are told, and time passes, until every job has ended.
fn come_to_rest(system: &mut System, witness: &mut Witness) -> Result<(), TestCaseError> {
    for _ in 0..400 {
        if system.store.jobs.iter().all(|job| job.state.is_terminal()) {
            return Ok(());
        }
        let jobs = 0..system.store.jobs.len();
        let jobs = jobs.flat_map(|job| [Event::Start { job }, Event::Settle { job }]);
        let work = [Event::Claim { worker: 0 }, Event::Sweep, Event::Pass { milliseconds: 500 }];
        for event in jobs.chain(work) {
            step(system, &event, witness)?;
        }
        let open: Vec<_> = system.store.attempts.iter().filter(|attempt| attempt.end.is_none()).cloned().collect();
        for attempt in open {
            system.presented = Some(attempt.lease);
            let answer = match attempt.stop {
                None => system.store.complete(&attempt.lease),
                Some(_) => system.store.fail(&attempt.lease, ErrorClass::Cancelled),
            };
            prop_assert_eq!(answer, Ok(()));
            witness.look(system, &Event::Sweep)?;
        }
    }
    Err(TestCaseError::fail(format!("it does not come to rest: {:?}", system.store)))
}

fn step(system: &mut System, event: &Event, witness: &mut Witness) -> Result<(), TestCaseError> {
    let mut after = system.clone();
    match after.happen(event) {
        Ok(()) => *system = after,
        // Whatever the transaction had done is undone; what the worker believes is not.
        Err(Refused::LeaseLost) => {
            let store = system.store.clone();
            *system = after;
            system.store = store;
        }
        Err(Refused::Illegal(error)) => {
            let is_users = matches!(
                event,
                Event::Start { .. } | Event::Cancel { .. } | Event::Retry { .. } | Event::Replay { .. }
            );
            prop_assert!(is_users, "{:?}: {}", event, error);
        }
    }
    witness.look(system, event)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn nothing_is_lost_and_nothing_done_twice_whatever_happens(
        jobs in prop::collection::vec(policies(), 3),
        events in events(),
    ) {
        let mut system = System::default();
        for (policy, tasks) in jobs {
            system.store.submit(policy, tasks);
        }
        let mut witness = Witness::new(&system.store);
        for event in &events {
            step(&mut system, event, &mut witness)?;
        }
        come_to_rest(&mut system, &mut witness)?;
        prop_assert!(system.store.tasks.iter().all(|task| task.state.is_terminal()), "every task has ended");
        prop_assert!(system.store.now < Duration::from_hours(24));
    }
}
