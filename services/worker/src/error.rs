//! How work on an attempt ends when it does not end well.

use ursa_domain::ErrorClass;
use ursa_domain::run::Finding;
use ursa_storage::StorageError;

/// See the module.
#[derive(Debug, PartialEq)]
pub(crate) enum WorkError {
    /// It was stopped; the attempt knows why.
    Stopped,
    /// It failed.
    Failed(Failure),
}

/// A failure as the coordinator hears of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    /// Whether another attempt may help.
    pub(crate) class: ErrorClass,
    /// What happened, to what, and what to do.
    pub(crate) message: String,
    /// What was wrong with a training run, where that is what ended it.
    pub(crate) findings: Vec<Finding>,
}

impl Failure {
    /// One that nothing was found out about.
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), findings: Vec::new() }
    }
}

impl WorkError {
    pub(crate) fn fatal(message: impl ToString) -> Self {
        Self::Failed(Failure::new(ErrorClass::Fatal, message.to_string()))
    }

    pub(crate) fn retryable(message: impl ToString) -> Self {
        Self::Failed(Failure::new(ErrorClass::Retryable, message.to_string()))
    }
}

impl From<StorageError> for WorkError {
    fn from(error: StorageError) -> Self {
        let class = match &error {
            StorageError::Unavailable { .. } => ErrorClass::Infrastructure,
            StorageError::Full { .. } => ErrorClass::Retryable,
            _ => ErrorClass::Fatal,
        };
        Self::Failed(Failure::new(class, error.to_string()))
    }
}
