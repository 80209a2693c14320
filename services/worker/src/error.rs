//! How work on an attempt ends when it does not end well.

use ursa_domain::ErrorClass;
use ursa_storage::StorageError;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WorkError {
    /// It was stopped; the attempt knows why.
    Stopped,
    /// It failed.
    Failed(Failure),
}

/// A failure as the coordinator hears of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whether another attempt may help.
    pub(crate) class: ErrorClass,
    /// What happened, to what, and what to do.
    pub(crate) message: String,
}

impl WorkError {
    pub(crate) fn fatal(message: impl ToString) -> Self {
        Self::Failed(Failure { class: ErrorClass::Fatal, message: message.to_string() })
    }

    pub(crate) fn retryable(message: impl ToString) -> Self {
        Self::Failed(Failure { class: ErrorClass::Retryable, message: message.to_string() })
    }
}

impl From<StorageError> for WorkError {
    fn from(error: StorageError) -> Self {
        let class = match &error {
            StorageError::Unavailable { .. } => ErrorClass::Infrastructure,
            StorageError::Full { .. } => ErrorClass::Retryable,
            _ => ErrorClass::Fatal,
        };
        Self::Failed(Failure { class, message: error.to_string() })
    }
}
