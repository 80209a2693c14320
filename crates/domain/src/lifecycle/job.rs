//! A job: waiting for what it depends on → running its tasks → succeeded, failed, cancelled or skipped.

use serde::{Deserialize, Serialize};

use crate::lifecycle::task::TaskState;
use crate::lifecycle::{IllegalTransition, words};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for the jobs it depends on.
    Waiting,
    /// Planned into tasks, at least one of which has not ended.
    Running,
    /// Cancellation was asked for; some task still holds a lease.
    Cancelling,
    /// Every task succeeded.
    Succeeded,
    /// A task failed for good, or planning did.
    Failed,
    /// Stopped because somebody asked for it.
    Cancelled,
    /// Never started, because a job it depends on did not succeed.
    Skipped,
}

words!(JobState, "job state", {
    Waiting => "waiting",
    Running => "running",
    Cancelling => "cancelling",
    Succeeded => "succeeded",
    Failed => "failed",
    Cancelled => "cancelled",
    Skipped => "skipped",
});

impl JobState {
    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped)
    }
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// Its dependencies succeeded and its tasks are written.
    Start,
    /// What it depends on ended otherwise than its condition asks for.
    Skip,
    /// Somebody asks it to stop.
    Cancel,
    /// It takes longer than it may.
    Expire,
    /// All its tasks have ended; the outcome is given.
    Finish(JobOutcome),
    /// A user asks for another round of what did not succeed.
    Retry,
    /// A user asks for another round of some tasks, though the job may have succeeded without them.
    Replay,
}

/// How the tasks of a job ended, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// As many as the job asks for succeeded.
    Succeeded,
    /// Too many failed.
    Failed,
    /// Too few succeeded, but none failed: the others were cancelled.
    Cancelled,
}

impl std::fmt::Display for JobEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Skip => "be skipped",
            Self::Cancel => "be cancelled",
            Self::Expire => "expire",
            Self::Finish(_) => "finish",
            Self::Retry => "be retried",
            Self::Replay => "be replayed",
        })
    }
}

/// The state after `event`.
pub fn next(state: JobState, event: JobEvent) -> Result<JobState, IllegalTransition> {
    use JobState as S;
    match (state, event) {
        (S::Waiting, JobEvent::Start) => Ok(S::Running),
        (S::Waiting, JobEvent::Skip) => Ok(S::Skipped),
        (S::Waiting, JobEvent::Cancel) => Ok(S::Cancelled),
        // Planning can fail before a single task exists.
        (S::Waiting, JobEvent::Finish(JobOutcome::Failed)) => Ok(S::Failed),
        // An earlier job did the same work: its output is taken over.
        (S::Waiting, JobEvent::Finish(JobOutcome::Succeeded)) => Ok(S::Succeeded),
        (S::Waiting, JobEvent::Expire) => Ok(S::Failed),
        (S::Running, JobEvent::Cancel | JobEvent::Expire) => Ok(S::Cancelling),
        // It was fed by a job that then failed.
        (S::Running, JobEvent::Skip) => Ok(S::Skipped),
        (S::Running, JobEvent::Finish(outcome)) => Ok(finished(outcome)),
        // The last task may succeed while the request to stop is on its way; the work is done, but the user's word stands.
        (S::Cancelling, JobEvent::Finish(JobOutcome::Failed)) => Ok(S::Failed),
        (S::Cancelling, JobEvent::Finish(_)) => Ok(S::Cancelled),
        (S::Failed | S::Cancelled | S::Skipped, JobEvent::Retry) => Ok(S::Waiting),
        (S::Succeeded | S::Failed | S::Cancelled, JobEvent::Replay) => Ok(S::Waiting),
        _ => Err(IllegalTransition { what: "job", state: state.to_string(), event: event.to_string() }),
    }
}

fn finished(outcome: JobOutcome) -> JobState {
    match outcome {
        JobOutcome::Succeeded => JobState::Succeeded,
        JobOutcome::Failed => JobState::Failed,
        JobOutcome::Cancelled => JobState::Cancelled,
    }
}

/// How many tasks of a job are in which state, as far as its end is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskCounts {
    /// Not ended.
    pub open: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Failed or dead.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl FromIterator<(TaskState, u64)> for TaskCounts {
    fn from_iter<T: IntoIterator<Item = (TaskState, u64)>>(counts: T) -> Self {
        let mut sums = Self::default();
        for (state, count) in counts {
            *match state {
                TaskState::Succeeded => &mut sums.succeeded,
                TaskState::Failed | TaskState::Dead => &mut sums.failed,
                TaskState::Cancelled => &mut sums.cancelled,
                _ => &mut sums.open,
            } += count;
        }
        sums
    }
}

/// What a running job comes to when at least `min_success_ratio` of its tasks have to succeed; `None` while one has not
/// ended.
pub fn outcome(tasks: TaskCounts, min_success_ratio: f64) -> Option<JobOutcome> {
    let TaskCounts { open, succeeded, failed, cancelled } = tasks;
    if open > 0 {
        return None;
    }
    let total = succeeded + failed + cancelled;
    // A hair below the ratio is the ratio: 0.95 of 20 tasks are 19.
    let enough = succeeded as f64 + 1e-9 >= min_success_ratio * total as f64;
    Some(match (enough, failed) {
        (true, _) => JobOutcome::Succeeded,
        (false, 0) => JobOutcome::Cancelled,
        (false, _) => JobOutcome::Failed,
    })
}

/// When a job runs, given how the jobs it depends on ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// All of them succeeded.
    #[default]
    OnSuccess,
    /// All of them ended, and not all succeeded.
    OnFailure,
    /// All of them ended.
    Always,
}

words!(Condition, "condition", {
    OnSuccess => "on_success",
    OnFailure => "on_failure",
    Always => "always",
});

/// What a waiting job does, given the states of the jobs it depends on. One that is fed by them starts beside them.
pub fn readiness(condition: Condition, is_fed: bool, dependencies: &[JobState]) -> Readiness {
    let all_ended = dependencies.iter().all(|state| state.is_terminal());
    let all_succeeded = dependencies.iter().all(|state| *state == JobState::Succeeded);
    let one_did_not = dependencies.iter().any(|state| state.is_terminal() && *state != JobState::Succeeded);
    match condition {
        Condition::OnSuccess if one_did_not => Readiness::Skip,
        Condition::OnSuccess if all_succeeded => Readiness::Start,
        Condition::OnSuccess if is_fed && dependencies.iter().all(|state| feeds(*state)) => Readiness::Start,
        Condition::OnFailure if all_succeeded => Readiness::Skip,
        Condition::OnFailure | Condition::Always if all_ended => Readiness::Start,
        _ => Readiness::Wait,
    }
}

/// Whether a job in this state may hand on what its tasks have made so far.
fn feeds(state: JobState) -> bool {
    matches!(state, JobState::Running | JobState::Succeeded)
}

/// The answer of [`readiness`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Its condition is fulfilled.
    Start,
    /// Its condition cannot be fulfilled any more.
    Skip,
    /// Something it depends on has not ended.
    Wait,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_event() -> impl Strategy<Value = JobEvent> {
        prop::sample::select(vec![
            JobEvent::Start,
            JobEvent::Skip,
            JobEvent::Cancel,
            JobEvent::Expire,
            JobEvent::Finish(JobOutcome::Succeeded),
            JobEvent::Finish(JobOutcome::Failed),
            JobEvent::Finish(JobOutcome::Cancelled),
            JobEvent::Retry,
            JobEvent::Replay,
        ])
    }

    proptest! {
        #[test]
        fn an_ended_job_moves_only_by_a_users_word(state in prop::sample::select(JobState::ALL), event in any_event()) {
            if state.is_terminal() && let Ok(after) = next(state, event) {
                prop_assert!(matches!(event, JobEvent::Retry | JobEvent::Replay));
                prop_assert_eq!(after, JobState::Waiting);
            }
        }

        #[test]
        fn a_job_asked_to_stop_never_succeeds(events in prop::collection::vec(any_event(), 0..20)) {
            let mut state = JobState::Cancelling;
            for event in events {
                let Ok(after) = next(state, event) else { continue };
                state = after;
                if matches!(event, JobEvent::Retry | JobEvent::Replay) { break }
                prop_assert_ne!(state, JobState::Succeeded);
            }
        }

        #[test]
        fn outcome_waits_for_every_task(succeeded in 0_u64..5, open in 1_u64..5, ratio in 0.0..1.0) {
            prop_assert_eq!(outcome(TaskCounts { open, succeeded, ..TaskCounts::default() }, ratio), None);
        }

        #[test]
        fn a_ratio_of_one_asks_for_every_task(succeeded in 0_u64..50, failed in 0_u64..5, cancelled in 0_u64..5) {
            let counts = TaskCounts { open: 0, succeeded, failed, cancelled };
            let all = failed + cancelled == 0;
            prop_assert_eq!(outcome(counts, 1.0) == Some(JobOutcome::Succeeded), all);
            prop_assert_eq!(outcome(counts, 1.0) == Some(JobOutcome::Failed), failed > 0);
        }

        #[test]
        fn every_condition_is_decided_once_all_have_ended(
            condition in prop::sample::select(Condition::ALL),
            states in prop::collection::vec(prop::sample::select(JobState::ALL), 0..5),
        ) {
            if states.iter().all(|state| state.is_terminal()) {
                prop_assert_ne!(readiness(condition, false, &states), Readiness::Wait);
                prop_assert_eq!(readiness(condition, true, &states), readiness(condition, false, &states));
            }
        }
    }

    #[test]
    fn nineteen_of_twenty_are_95_percent() {
        let counts = |succeeded, failed| TaskCounts { succeeded, failed, ..TaskCounts::default() };
        assert_eq!(outcome(counts(19, 1), 0.95), Some(JobOutcome::Succeeded));
        assert_eq!(outcome(counts(18, 2), 0.95), Some(JobOutcome::Failed));
    }

    #[test]
    fn cancelling_twice_is_refused_with_the_state_named() {
        let error = next(JobState::Cancelled, JobEvent::Cancel).unwrap_err();
        assert_eq!(error.to_string(), "a job that is cancelled cannot be cancelled");
    }

    #[test]
    fn one_failed_dependency_skips_even_while_others_run() {
        let after = |states: &[JobState]| readiness(Condition::OnSuccess, false, states);
        assert_eq!(after(&[JobState::Running, JobState::Failed]), Readiness::Skip);
        assert_eq!(after(&[JobState::Running, JobState::Succeeded]), Readiness::Wait);
        assert_eq!(after(&[]), Readiness::Start);
    }

    #[test]
    fn a_job_that_is_fed_starts_beside_what_feeds_it() {
        let after = |states: &[JobState]| readiness(Condition::OnSuccess, true, states);
        assert_eq!(after(&[JobState::Running]), Readiness::Start);
        assert_eq!(after(&[JobState::Waiting]), Readiness::Wait);
        assert_eq!(after(&[JobState::Cancelling]), Readiness::Wait);
        assert_eq!(after(&[JobState::Running, JobState::Failed]), Readiness::Skip);
    }

    #[test]
    fn a_clean_up_job_runs_whatever_happened_and_an_alarm_only_after_a_failure() {
        assert_eq!(readiness(Condition::Always, false, &[JobState::Failed]), Readiness::Start);
        assert_eq!(readiness(Condition::Always, false, &[JobState::Failed, JobState::Running]), Readiness::Wait);
        assert_eq!(readiness(Condition::OnFailure, false, &[JobState::Failed]), Readiness::Start);
        assert_eq!(readiness(Condition::OnFailure, false, &[JobState::Succeeded]), Readiness::Skip);
    }
}
