//! What can go wrong with an object, in the few kinds a caller acts on.

use std::io::ErrorKind as IoKind;

use crate::Digest;

/// What S3 says to a request that was signed in another quarter of an hour than it arrives in.
const WRONG_TIME: &str = "RequestTimeTooSkewed";

/// An object-store error. The message says what happened, to what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("object {key} is missing from the object store")]
    NotFound {
        /// Its key.
        key: String,
    },
    /// The bytes are not those that were stored.
    #[error("object {key} is corrupt: its SHA-256 is {found}, it was stored as {expected}")]
    Corrupt {
        /// Its key.
        key: String,
        /// What it was.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// An object that ends before the bytes asked for.
    #[error("object {key} is too short: it has {length} bytes, {end} are needed; it is not the one that was stored")]
    TooShort {
        /// Its key.
        key: String,
        /// Its size in bytes.
        length: u64,
        /// How many bytes it must have.
        end: u64,
    },
    /// No room.
    #[error("the object store is full while writing {key}: free some space, then retry")]
    Full {
        /// What was being written.
        key: String,
    },
    /// Not reachable, busy, or not to be had from this machine as its clock is.
    #[error("the object store is not available for {key}: {reason}")]
    Unavailable {
        /// What was wanted.
        key: String,
        /// What the store or the network said.
        reason: String,
    },
    /// Not allowed.
    #[error("the object store refuses access to {key}: {reason}; check its credentials or permissions")]
    PermissionDenied {
        /// What was wanted.
        key: String,
        /// What the store said.
        reason: String,
    },
    /// A location that cannot be opened.
    #[error("{location:?} is not an object store: {reason}; use a folder, file:///folder or s3://bucket/prefix")]
    InvalidLocation {
        /// As configured.
        location: String,
        /// Why not.
        reason: String,
    },
    /// A key that no part of Ursa writes.
    #[error("{key:?} is not the key of an object")]
    InvalidKey {
        /// As found.
        key: String,
    },
    /// A shard, manifest or package that does not parse.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// Which format.
        what: &'static str,
        /// Where and why.
        reason: String,
    },
}

impl StorageError {
    pub(crate) fn malformed(what: &'static str, reason: impl ToString) -> Self {
        Self::Malformed { what, reason: reason.to_string() }
    }

    /// Whether the same call may work later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Full { .. })
    }

    /// Classifies what `object_store` says of `key`.
    pub(crate) fn from_store(key: &str, error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let (key, reason) = (key.to_owned(), error.to_string());
        match error {
            E::NotFound { .. } => Self::NotFound { key },
            // Everything is in order but this machine: another one, or this one later, will do.
            E::PermissionDenied { .. } | E::Unauthenticated { .. } if reason.contains(WRONG_TIME) => {
                Self::Unavailable { key, reason: format!("this machine's clock is wrong, set it: {reason}") }
            }
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::PermissionDenied { key, reason },
            error => match io_kind(error) {
                Some(IoKind::StorageFull | IoKind::QuotaExceeded | IoKind::FileTooLarge) => Self::Full { key },
                Some(IoKind::PermissionDenied | IoKind::ReadOnlyFilesystem) => Self::PermissionDenied { key, reason },
                _ => Self::Unavailable { key, reason },
            },
        }
    }
}

/// The kind of the I/O error at the root, if there is one.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<IoKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(kind: IoKind) -> object_store::Error {
        object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(std::io::Error::from(kind)) }
    }

    #[test]
    fn a_full_disk_is_told_apart_and_worth_another_try() {
        for kind in [IoKind::StorageFull, IoKind::QuotaExceeded, IoKind::FileTooLarge] {
            let error = StorageError::from_store("k", &generic(kind));
            assert!(matches!(error, StorageError::Full { .. }) && error.is_retryable(), "{error:?}");
        }
    }

    #[test]
    fn a_directory_that_may_not_be_written_is_not_worth_another_try() {
        for kind in [IoKind::PermissionDenied, IoKind::ReadOnlyFilesystem] {
            let error = StorageError::from_store("k", &generic(kind));
            assert!(matches!(error, StorageError::PermissionDenied { .. }) && !error.is_retryable(), "{error:?}");
        }
    }

    #[test]
    fn a_request_signed_at_the_wrong_time_is_worth_another_try_and_says_what_to_do() {
        let refused = |code: &str| object_store::Error::PermissionDenied {
            path: "k".into(),
            source: format!("403 Forbidden: <Error><Code>{code}</Code></Error>").into(),
        };
        let error = StorageError::from_store("k", &refused("RequestTimeTooSkewed"));
        assert!(error.is_retryable() && error.to_string().contains("clock is wrong, set it"), "{error}");
        let error = StorageError::from_store("k", &refused("AccessDenied"));
        assert!(matches!(error, StorageError::PermissionDenied { .. }), "{error:?}");
    }

    #[test]
    fn an_unknown_failure_is_an_outage() {
        let error = StorageError::from_store("k", &generic(IoKind::ConnectionRefused));
        assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
    }
}
