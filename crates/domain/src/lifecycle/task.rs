//! A task: ready → leased → succeeded, failed or cancelled; back to ready when an attempt is lost or may be retried.

use crate::ErrorClass;
use crate::lifecycle::{IllegalTransition, words};

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// May be leased once its `ready_at` has come.
    Ready,
    /// A worker holds the lease of the current attempt.
    Leased,
    /// Ended well; its effects are committed.
    Succeeded,
    /// Ended badly, and no attempt is left or none would help.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

words!(TaskState, "task state", {
    Ready => "ready",
    Leased => "leased",
    Succeeded => "succeeded",
    Failed => "failed",
    Cancelled => "cancelled",
});

impl TaskState {
    /// Whether nothing can happen to it any more, short of a retry of the whole job.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEvent {
    /// A worker takes it: the next attempt begins.
    Lease,
    /// The holder of the lease reports success.
    Complete,
    /// The holder of the lease reports failure, or its lease ran out (class infrastructure).
    Fail {
        /// Why.
        class: ErrorClass,
        /// Attempts that may still be made after this one.
        attempts_left: u32,
    },
    /// The job was cancelled.
    Cancel,
    /// A user asks for another round.
    Retry,
}

impl std::fmt::Display for TaskEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lease => "be leased",
            Self::Complete => "complete",
            Self::Fail { .. } => "fail",
            Self::Cancel => "be cancelled",
            Self::Retry => "be retried",
        })
    }
}

/// The state after `event`.
pub fn next(state: TaskState, event: TaskEvent) -> Result<TaskState, IllegalTransition> {
    use TaskState as S;
    match (state, event) {
        (S::Ready, TaskEvent::Lease) => Ok(S::Leased),
        (S::Leased, TaskEvent::Complete) => Ok(S::Succeeded),
        (S::Leased, TaskEvent::Fail { class, attempts_left }) => Ok(after_failure(class, attempts_left)),
        (S::Ready | S::Leased, TaskEvent::Cancel) => Ok(S::Cancelled),
        (S::Failed | S::Cancelled, TaskEvent::Retry) => Ok(S::Ready),
        _ => Err(IllegalTransition { what: "task", state: state.to_string(), event: event.to_string() }),
    }
}

fn after_failure(class: ErrorClass, attempts_left: u32) -> TaskState {
    match class {
        ErrorClass::Cancelled => TaskState::Cancelled,
        _ if class.allows_retry() && attempts_left > 0 => TaskState::Ready,
        _ => TaskState::Failed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_event() -> impl Strategy<Value = TaskEvent> {
        prop_oneof![
            Just(TaskEvent::Lease),
            Just(TaskEvent::Complete),
            (0..4_usize, 0..3_u32)
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
                    prop_assert_eq!(after, TaskState::Ready);
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
                prop_assert_eq!((state, event), (TaskState::Leased, TaskEvent::Complete));
            }
        }

        #[test]
        fn attempts_are_bounded(fails in 1_u32..50, max_attempts in 1_u32..6) {
            let mut state = TaskState::Ready;
            let mut made = 0;
            for _ in 0..fails {
                let Ok(leased) = next(state, TaskEvent::Lease) else { break };
                made += 1;
                let event = TaskEvent::Fail { class: ErrorClass::Infrastructure, attempts_left: max_attempts - made };
                state = next(leased, event).unwrap();
            }
            prop_assert_eq!(made, fails.min(max_attempts));
        }
    }

    #[test]
    fn a_fatal_failure_is_not_retried() {
        let event = TaskEvent::Fail { class: ErrorClass::Fatal, attempts_left: 5 };
        assert_eq!(next(TaskState::Leased, event), Ok(TaskState::Failed));
    }
}
