//! What can go wrong between a caller and the database, and what a caller hears of it.

use ursa_domain::lifecycle::IllegalTransition;
use ursa_proto::{ApiError, BadField, ErrorCode};

/// What can go wrong between a caller and the database.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// An answer for the caller: not found, illegal state, lost lease, …
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Postgres is away or refused.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// What is stored does not read back: a fault of ours.
    #[error("stored {what} does not read back: {reason}")]
    Unreadable {
        /// What was read.
        what: &'static str,
        /// Why it does not parse.
        reason: String,
    },
}

impl StoreError {
    pub(super) fn unreadable(what: &'static str, reason: &impl ToString) -> Self {
        Self::Unreadable { what, reason: reason.to_string() }
    }

    /// Whether the database was not reachable, as opposed to having refused.
    pub(crate) fn is_outage(&self) -> bool {
        use sqlx::Error as E;
        match self {
            Self::Database(
                E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Tls(_) | E::Protocol(_),
            ) => true,
            Self::Database(E::Database(error)) => error.code().is_some_and(|code| says_that_it_is_away(&code)),
            _ => false,
        }
    }

    /// Whether Postgres gave up this transaction for the sake of another: the same request may work at once.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            // 40001: serialisation failure. 40P01: deadlock. 55P03: it waited for a lock for too long.
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| ["40001", "40P01", "55P03"].contains(&&*code))
            }
            _ => false,
        }
    }

    /// Whether whoever asked can mend it, and nobody else.
    pub(crate) fn is_the_caller_s(&self) -> bool {
        matches!(self, Self::Api(_)) || self.is_refusal()
    }

    /// Whether Postgres cannot store what it was given, or compute with it: that is the caller's to mend.
    fn is_refusal(&self) -> bool {
        match self {
            // Class 22: data, such as text with NUL or a number out of range. Class 54: more than fits.
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("54"))
            }
            _ => false,
        }
    }
}

/// Whether a code of Postgres is about the server or the connection, and not about the request.
fn says_that_it_is_away(code: &str) -> bool {
    // Class 57P: the server is shutting down or starting up. Class 08: connection. Class 53: no connection, disk or memory is
    // left. Class 58: its system fails. 25006: it takes no writes, perhaps as another has its place. 57014: somebody stopped the
    // statement. 25P03: this coordinator stood still in a transaction for so long that it was ended, and the connection with it.
    ["57P", "08", "53", "58"].iter().any(|class| code.starts_with(class)) || ["25006", "57014", "25P03"].contains(&code)
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Api(error) => error,
            error if error.is_outage() => {
                Self::new(ErrorCode::Unavailable, "the coordinator cannot reach its database; try again")
            }
            error if error.is_conflict() => {
                Self::new(ErrorCode::Unavailable, "the request ran into another one in the database; try again")
            }
            error if error.is_refusal() => {
                tracing::info!(%error, "the database refused what a request says");
                Self::invalid(format!("this cannot be stored: {error}"))
            }
            error => {
                tracing::error!(%error, "a request failed on the database");
                Self::new(ErrorCode::Internal, "the coordinator failed on its database; its log has the details")
            }
        }
    }
}

impl From<IllegalTransition> for StoreError {
    fn from(illegal: IllegalTransition) -> Self {
        Self::Api(ApiError::new(ErrorCode::IllegalState, illegal.to_string()))
    }
}

impl From<BadField> for StoreError {
    fn from(bad: BadField) -> Self {
        Self::Api(bad.into())
    }
}

/// What every function here returns.
pub(crate) type StoreResult<T> = Result<T, StoreError>;

#[cfg(test)]
mod tests {
    use std::error::Error;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    /// What Postgres says, as far as it matters.
    #[derive(Debug, thiserror::Error)]
    #[error("SQLSTATE {0}")]
    struct Said(&'static str);

    impl DatabaseError for Said {
        fn message(&self) -> &str {
            self.0
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn what_may_work_later_is_told_from_what_will_not() {
        let cases = [
            ("57P01", ErrorCode::Unavailable),
            ("08006", ErrorCode::Unavailable),
            ("53300", ErrorCode::Unavailable),
            ("53100", ErrorCode::Unavailable),
            ("58030", ErrorCode::Unavailable),
            ("25006", ErrorCode::Unavailable),
            ("57014", ErrorCode::Unavailable),
            ("25P03", ErrorCode::Unavailable),
            ("55P03", ErrorCode::Unavailable),
            ("40001", ErrorCode::Unavailable),
            ("40P01", ErrorCode::Unavailable),
            ("22021", ErrorCode::InvalidArgument),
            ("54000", ErrorCode::InvalidArgument),
            ("23505", ErrorCode::Internal),
        ];
        for (state, expected) in cases {
            let error = StoreError::Database(sqlx::Error::Database(Box::new(Said(state))));
            assert_eq!(ApiError::from(error).code, expected, "{state}");
        }
    }
}
