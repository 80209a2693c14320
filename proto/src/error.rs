//! The typed error that crosses the wire and comes back the same.
//!
//! A service answers with [`ApiError`]; on the wire it is a gRPC status whose binary metadata `ursa-error-bin` holds the
//! code, so that a stranger's client sees a sensible status and ours sees the same enum.

use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

pub use crate::v1::ErrorCode;

const METADATA_KEY: &str = "ursa-error-bin";
/// In bytes.
const LONGEST_MESSAGE: usize = 2000;

/// What went wrong, in the terms of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of problem.
    pub code: ErrorCode,
    /// What happened, to what, and what to do.
    pub message: String,
}

impl ApiError {
    /// An error of `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The request can never work as it is.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// There is no `what` called `which`.
    pub fn not_found(what: &str, which: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is no {what} {which}"))
    }

    /// Whether the same request may work later.
    pub fn is_retryable(&self) -> bool {
        self.code == ErrorCode::Unavailable
    }
}

/// The one table from our codes to gRPC's.
fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::Unspecified => Code::Unknown,
        ErrorCode::InvalidArgument => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::IllegalState | ErrorCode::ProtocolMismatch => Code::FailedPrecondition,
        ErrorCode::IdempotencyConflict => Code::AlreadyExists,
        ErrorCode::LeaseLost => Code::Aborted,
        ErrorCode::TooLarge => Code::OutOfRange,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::DataLoss => Code::DataLoss,
        ErrorCode::Internal => Code::Internal,
    }
}

/// For errors that did not come from Ursa: a proxy, the transport, another server.
fn from_grpc_code(code: Code) -> ErrorCode {
    match code {
        Code::InvalidArgument => ErrorCode::InvalidArgument,
        Code::NotFound => ErrorCode::NotFound,
        Code::OutOfRange | Code::ResourceExhausted => ErrorCode::TooLarge,
        // Our services name their own errors, so these come from the transport: tonic says "unknown" or "internal" of a
        // connection that broke while an answer was awaited.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal => {
            ErrorCode::Unavailable
        }
        Code::DataLoss => ErrorCode::DataLoss,
        _ => ErrorCode::Unspecified,
    }
}

impl From<ApiError> for crate::v1::Error {
    fn from(error: ApiError) -> Self {
        Self { code: error.code.into(), message: error.message }
    }
}

impl From<crate::v1::Error> for ApiError {
    fn from(error: crate::v1::Error) -> Self {
        Self { code: error.code(), message: error.message }
    }
}

impl From<ApiError> for Status {
    fn from(mut error: ApiError) -> Self {
        cut(&mut error.message);
        let wire = crate::v1::Error::from(error.clone());
        let mut status = Self::new(grpc_code(error.code), error.message);
        status.metadata_mut().insert_bin(METADATA_KEY, MetadataValue::from_bytes(&wire.encode_to_vec()));
        status
    }
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        let typed = status
            .metadata()
            .get_bin(METADATA_KEY)
            .and_then(|value| value.to_bytes().ok())
            .and_then(|bytes| crate::v1::Error::decode(bytes).ok());
        match typed {
            Some(error) => error.into(),
            None => Self::new(from_grpc_code(status.code()), untyped_message(&status)),
        }
    }
}

/// It travels in a header, twice, and whoever is sent too large ones gives up the whole connection.
fn cut(message: &mut String) {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push('…');
    }
}

fn untyped_message(status: &Status) -> String {
    if status.message().is_empty() { status.code().description().to_owned() } else { status.message().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut() {
        let told = |length: usize| ApiError::from(Status::from(ApiError::invalid("ü".repeat(length)))).message;
        assert_eq!(told(LONGEST_MESSAGE / 2), "ü".repeat(LONGEST_MESSAGE / 2));
        assert_eq!(told(100_000), "ü".repeat(LONGEST_MESSAGE / 2) + "…");
    }

    #[test]
    fn every_code_comes_back_the_same() {
        for number in 0..=10 {
            let code = ErrorCode::try_from(number).unwrap();
            let error = ApiError::new(code, format!("message of {code:?}, with ü and\nlines"));
            assert_eq!(ApiError::from(Status::from(error.clone())), error);
        }
        assert!(ErrorCode::try_from(11).is_err(), "a new code belongs into this test");
    }

    #[test]
    fn a_strangers_status_keeps_its_meaning() {
        let error = ApiError::from(Status::unavailable("connection refused"));
        assert!(error.is_retryable());
        assert_eq!(error.message, "connection refused");
    }
}
