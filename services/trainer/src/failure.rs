//! Why a run ends badly, and whether another attempt may help.

use ursa_domain::ErrorClass;
use ursa_domain::run::Finding;
use ursa_learner::LearnError;
use ursa_storage::StorageError;

/// The end of a run.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub class: ErrorClass,
    /// What happened, to what, and what to do.
    pub message: String,
    /// What was wrong with the run, where that is what ended it.
    pub findings: Vec<Finding>,
}

impl Failure {
    /// One of this class.
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), findings: Vec::new() }
    }

    /// It would happen again.
    pub(crate) fn fatal(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Fatal, message)
    }

    /// It may go well another time.
    pub(crate) fn retryable(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Retryable, message)
    }

    /// Somebody asked for it.
    pub(crate) fn cancelled() -> Self {
        Self::new(ErrorClass::Cancelled, LearnError::Cancelled.to_string())
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let class = match &error {
            StorageError::Unavailable { .. } => ErrorClass::Infrastructure,
            StorageError::Full { .. } => ErrorClass::Retryable,
            _ => ErrorClass::Fatal,
        };
        Self::new(class, error.to_string())
    }
}

impl From<LearnError> for Failure {
    fn from(error: LearnError) -> Self {
        match error {
            LearnError::Cancelled => Self::cancelled(),
            // Another worker may have more memory.
            error @ (LearnError::OutOfMemory { .. } | LearnError::PeerLost { .. }) => {
                Self::retryable(error.to_string())
            }
            error => Self::fatal(error.to_string()),
        }
    }
}
