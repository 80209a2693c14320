//! A job: waiting for what it depends on → running its tasks → succeeded, failed, cancelled or skipped.

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
    /// A dependency ended without success.
    Skip,
    /// Somebody asks it to stop.
    Cancel,
    /// All its tasks have ended; the outcome is given.
    Finish(JobOutcome),
    /// A user asks for another round of what did not succeed.
    Retry,
}

/// How the tasks of a job ended, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// All succeeded.
    Succeeded,
    /// At least one failed.
    Failed,
    /// None failed, at least one was cancelled.
    Cancelled,
}

impl std::fmt::Display for JobEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Skip => "be skipped",
            Self::Cancel => "be cancelled",
            Self::Finish(_) => "finish",
            Self::Retry => "be retried",
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
        (S::Running, JobEvent::Cancel) => Ok(S::Cancelling),
        (S::Running, JobEvent::Finish(outcome)) => Ok(finished(outcome)),
        // The last task may succeed while the request to stop is on its way; the work is done, but the user's word stands.
        (S::Cancelling, JobEvent::Finish(_)) => Ok(S::Cancelled),
        (S::Failed | S::Cancelled | S::Skipped, JobEvent::Retry) => Ok(S::Waiting),
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

/// What a running job comes to, given how many of its tasks are in which state; `None` while one has not ended.
pub fn outcome(tasks: impl IntoIterator<Item = (TaskState, u64)>) -> Option<JobOutcome> {
    let mut result = JobOutcome::Succeeded;
    for (state, count) in tasks {
        match state {
            _ if count == 0 => {}
            TaskState::Ready | TaskState::Leased => return None,
            TaskState::Failed => result = JobOutcome::Failed,
            TaskState::Cancelled if result == JobOutcome::Succeeded => result = JobOutcome::Cancelled,
            TaskState::Cancelled | TaskState::Succeeded => {}
        }
    }
    Some(result)
}

/// What a waiting job does, given the states of the jobs it depends on.
pub fn readiness(dependencies: &[JobState]) -> Readiness {
    if dependencies.iter().all(|state| *state == JobState::Succeeded) {
        Readiness::Start
    } else if dependencies.iter().any(|state| state.is_terminal() && *state != JobState::Succeeded) {
        Readiness::Skip
    } else {
        Readiness::Wait
    }
}

/// The answer of [`readiness`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Everything it depends on succeeded.
    Start,
    /// Something it depends on ended without success.
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
            JobEvent::Finish(JobOutcome::Succeeded),
            JobEvent::Finish(JobOutcome::Failed),
            JobEvent::Finish(JobOutcome::Cancelled),
            JobEvent::Retry,
        ])
    }

    proptest! {
        #[test]
        fn an_ended_job_moves_only_by_retry(state in prop::sample::select(JobState::ALL), event in any_event()) {
            if state.is_terminal() && let Ok(after) = next(state, event) {
                prop_assert_eq!((event, after), (JobEvent::Retry, JobState::Waiting));
            }
        }

        #[test]
        fn a_job_asked_to_stop_never_succeeds(events in prop::collection::vec(any_event(), 0..20)) {
            let mut state = JobState::Cancelling;
            for event in events {
                let Ok(after) = next(state, event) else { continue };
                state = after;
                if event == JobEvent::Retry { break }
                prop_assert_ne!(state, JobState::Succeeded);
            }
        }

        #[test]
        fn outcome_waits_for_every_task(ended in 0_u64..5, open in 1_u64..5) {
            prop_assert_eq!(outcome([(TaskState::Succeeded, ended), (TaskState::Leased, open)]), None);
            prop_assert_eq!(outcome([(TaskState::Failed, ended), (TaskState::Ready, open)]), None);
        }
    }

    #[test]
    fn cancelling_twice_is_refused_with_the_state_named() {
        let error = next(JobState::Cancelled, JobEvent::Cancel).unwrap_err();
        assert_eq!(error.to_string(), "a job that is cancelled cannot be cancelled");
    }

    #[test]
    fn one_failed_dependency_skips_even_while_others_run() {
        assert_eq!(readiness(&[JobState::Running, JobState::Failed]), Readiness::Skip);
        assert_eq!(readiness(&[JobState::Running, JobState::Succeeded]), Readiness::Wait);
        assert_eq!(readiness(&[]), Readiness::Start);
    }
}
