//! Why attempts stop before their work is done, and what the coordinator then hears of it.

use ursa_domain::ErrorClass;
use ursa_proto::v1;

use crate::error::Failure;

/// Why an attempt shall stop. A later one counts more: it replaces the reason that was given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// This worker shall end.
    Shutdown,
    /// A more urgent job needs the room.
    Preempted,
    /// It takes longer than its job allows.
    Deadline,
    /// The job was cancelled.
    Cancelled,
    /// The lease is lost: somebody else may be at work already.
    LeaseLost,
}

impl Stop {
    /// Whether a result that comes all the same is worth having: the work was wanted, only not here or not now.
    pub(crate) fn takes_results(self) -> bool {
        matches!(self, Self::Shutdown | Self::Preempted)
    }

    /// How an attempt ends that stopped on the worker `name` for this reason; `None` where nobody wants to hear of it.
    pub(crate) fn failure(self, name: &str) -> Option<Failure> {
        let (class, message) = match self {
            Self::Shutdown => (ErrorClass::Returned, format!("worker {name} was stopped")),
            Self::Preempted => (ErrorClass::Returned, "a more urgent job needed the room".to_owned()),
            Self::Deadline => (ErrorClass::Deadline, "it took longer than its job allows".to_owned()),
            Self::Cancelled => (ErrorClass::Cancelled, "the job was cancelled".to_owned()),
            Self::LeaseLost => return None,
        };
        Some(Failure::new(class, message))
    }
}

impl From<v1::StopReason> for Stop {
    fn from(reason: v1::StopReason) -> Self {
        match reason {
            v1::StopReason::Cancelled => Self::Cancelled,
            v1::StopReason::Deadline => Self::Deadline,
            v1::StopReason::Preempted => Self::Preempted,
            v1::StopReason::LeaseLost | v1::StopReason::Unspecified => Self::LeaseLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lease_is_the_last_word_and_a_reason_to_stop_beats_none() {
        let reasons = [Stop::Shutdown, Stop::Preempted, Stop::Deadline, Stop::Cancelled];
        for reason in reasons {
            assert!(Stop::LeaseLost > reason && Some(reason) > None);
        }
        assert!(Stop::Cancelled > Stop::Preempted, "a job that is cancelled while it makes room is cancelled");
    }

    #[test]
    fn what_uses_up_no_attempt_is_what_the_task_cannot_help() {
        let uses_up = |stop: Stop| stop.failure("w").unwrap().class.uses_up_an_attempt();
        assert!(!uses_up(Stop::Shutdown) && !uses_up(Stop::Preempted));
        assert!(uses_up(Stop::Deadline) && uses_up(Stop::Cancelled));
        assert_eq!(Stop::LeaseLost.failure("w"), None);
    }
}
