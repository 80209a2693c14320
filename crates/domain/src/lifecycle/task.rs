//! A task: waiting → ready → leased → running → succeeded, failed, cancelled or dead; by way of retry-wait back to ready
//! when an attempt ended badly and another may help.

use crate::ErrorClass;
use crate::lifecycle::{IllegalTransition, words};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits until its job runs, and has room for one more at a time.
    Waiting,
    /// May be leased.
    Ready,
    /// A worker was given the lease of the current attempt and has not said yet that it began.
    Leased,
    /// A worker holds the lease of the current attempt and is at work.
    Running,
    /// The last attempt ended badly; ready again once the wait is over.
    RetryWait,
    /// Ended well; its effects are committed.
    Succeeded,
    /// Ended badly, and no other attempt would help.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
    /// Ended badly as often as its job allows. Kept to be looked at and replayed.
    Dead,
}

words!(TaskState, "task state", {
    Waiting => "waiting",
    Ready => "ready",
    Leased => "leased",
    Running => "running",
    RetryWait => "retry_wait",
    Succeeded => "succeeded",
    Failed => "failed",
    Cancelled => "cancelled",
    Dead => "dead",
});

impl TaskState {
    /// Whether nothing can happen to it any more, short of a retry.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Dead)
    }

    /// Whether somebody holds a lease of it.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Leased | Self::Running)
    }
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// Its job runs and has room for it.
    Release,
    /// A worker is given it: the next attempt begins.
    Lease,
    /// The holder of the lease is at work.
    Start,
    /// The holder of the lease reports success.
    Complete,
    /// The holder of the lease reports failure, or its lease was taken back.
    Fail {
        /// Why.
        class: ErrorClass,
        /// Attempts that may still be made after this one.
        attempts_left: u32,
    },
    /// The wait after a failed attempt is over.
    Wake,
    /// Nobody took it for longer than its job allows.
    Expire,
    /// The job was cancelled.
    Cancel,
    /// A user asks for another round.
    Retry,
}

impl std::fmt::Display for TaskEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Release => "be released",
            Self::Lease => "be leased",
            Self::Start => "start",
            Self::Complete => "complete",
            Self::Fail { .. } => "fail",
            Self::Wake => "be woken",
            Self::Expire => "expire",
            Self::Cancel => "be cancelled",
            Self::Retry => "be retried",
        })
    }
}

/// The state after `event`.
pub fn next(state: TaskState, event: TaskEvent) -> Result<TaskState, IllegalTransition> {
    use TaskState as S;
    match (state, event) {
        (S::Waiting, TaskEvent::Release) => Ok(S::Ready),
        (S::Ready, TaskEvent::Lease) => Ok(S::Leased),
        (S::Ready, TaskEvent::Expire) => Ok(S::Failed),
        (S::Leased, TaskEvent::Start) => Ok(S::Running),
        // A short one ends before anybody says that it began.
        (S::Leased | S::Running, TaskEvent::Complete) => Ok(S::Succeeded),
        (S::Leased | S::Running, TaskEvent::Fail { class, attempts_left }) => Ok(after_failure(class, attempts_left)),
        (S::RetryWait, TaskEvent::Wake) => Ok(S::Ready),
        (S::Waiting | S::Ready | S::Leased | S::Running | S::RetryWait, TaskEvent::Cancel) => Ok(S::Cancelled),
        (S::Failed | S::Cancelled | S::Dead, TaskEvent::Retry) => Ok(S::Waiting),
        _ => Err(IllegalTransition { what: "task", state: state.to_string(), event: event.to_string() }),
    }
}

fn after_failure(class: ErrorClass, attempts_left: u32) -> TaskState {
    match class {
        ErrorClass::Cancelled => TaskState::Cancelled,
        ErrorClass::Fatal => TaskState::Failed,
        ErrorClass::Returned => TaskState::Ready,
        _ if attempts_left > 0 => TaskState::RetryWait,
        _ => TaskState::Dead,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_event() -> impl Strategy<Value = TaskEvent> {
        prop_oneof![
            Just(TaskEvent::Release),
            Just(TaskEvent::Lease),
            Just(TaskEvent::Start),
            Just(TaskEvent::Complete),
            Just(TaskEvent::Wake),
            Just(TaskEvent::Expire),
            (0..ErrorClass::ALL.len(), 0..3_u32)
                .prop_map(|(class, attempts_left)| TaskEvent::Fail { class: ErrorClass::ALL[class], attempts_left }),
            Just(TaskEvent::Cancel),
            Just(TaskEvent::Retry),
        ]
    }

    proptest! {
        #[test]
        fn a_terminal_task_moves_only_by_retry(events in prop::collection::vec(any_event(), 0..40)) {
            let mut state = TaskState::Ready;
            for event in events {
                let Ok(after) = next(state, event) else { continue };
                if state.is_terminal() {
                    prop_assert_eq!(event, TaskEvent::Retry);
                    prop_assert_eq!(after, TaskState::Waiting);
                }
                state = after;
            }
        }

        #[test]
        fn a_succeeded_task_is_final(event in any_event()) {
            prop_assert!(next(TaskState::Succeeded, event).is_err());
        }

        #[test]
        fn success_needs_a_lease(state in prop::sample::select(TaskState::ALL), event in any_event()) {
            if next(state, event) == Ok(TaskState::Succeeded) {
                prop_assert!(state.is_held());
                prop_assert_eq!(event, TaskEvent::Complete);
            }
        }

        #[test]
        fn a_task_is_held_only_by_a_lease(state in prop::sample::select(TaskState::ALL), event in any_event()) {
            if let Ok(after) = next(state, event) && after.is_held() {
                prop_assert!(matches!((state, event), (TaskState::Ready, TaskEvent::Lease) | (TaskState::Leased, TaskEvent::Start)));
            }
        }

        #[test]
        fn a_failure_ends_a_task_only_if_no_other_attempt_may_be_made(class in 0..ErrorClass::ALL.len(), attempts_left in 0..3_u32) {
            let class = ErrorClass::ALL[class];
            let after = next(TaskState::Running, TaskEvent::Fail { class, attempts_left }).unwrap();
            let may_go_on = class.allows_retry() && (attempts_left > 0 || !class.uses_up_an_attempt());
            prop_assert_eq!(after.is_terminal(), !may_go_on);
        }

        #[test]
        fn attempts_are_bounded(fails in 1_u32..50, max_attempts in 1_u32..6) {
            let mut state = TaskState::Ready;
            let mut made = 0;
            for _ in 0..fails {
                state = next(state, TaskEvent::Wake).unwrap_or(state);
                let Ok(leased) = next(state, TaskEvent::Lease) else { break };
                made += 1;
                let event = TaskEvent::Fail { class: ErrorClass::Infrastructure, attempts_left: max_attempts - made };
                state = next(leased, event).unwrap();
            }
            prop_assert_eq!(made, fails.min(max_attempts));
            prop_assert_eq!(state == TaskState::Dead, fails >= max_attempts);
        }

        #[test]
        fn what_is_given_back_is_ready_at_once(attempts_left in 0_u32..3) {
            let event = TaskEvent::Fail { class: ErrorClass::Returned, attempts_left };
            prop_assert_eq!(next(TaskState::Running, event), Ok(TaskState::Ready));
        }
    }

    #[test]
    fn a_fatal_failure_is_not_retried() {
        let event = TaskEvent::Fail { class: ErrorClass::Fatal, attempts_left: 5 };
        assert_eq!(next(TaskState::Leased, event), Ok(TaskState::Failed));
    }
}
