//! What a handler answers when it cannot answer: one small set of kinds, mapped once to HTTP and to a page.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use ursa_proto::{ApiError, ErrorCode};

use crate::view::layout;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// The coordinator said no, or said nothing.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is no such page or thing.
    #[error("{0}")]
    NotFound(String),
    /// The request came from another site.
    #[error("{0}")]
    Forbidden(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl PageError {
    /// There is no `what` called `which`.
    pub(crate) fn not_found(what: &str, which: &str) -> Self {
        Self::NotFound(format!("there is no {what} {which}"))
    }

    /// The one table to HTTP.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Api(error) => api_status(error.code),
        }
    }
}

fn api_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::IllegalState | ErrorCode::IdempotencyConflict | ErrorCode::LeaseLost => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        // An error of the transport says that the coordinator is away, whatever its words.
        ErrorCode::Unavailable | ErrorCode::Unspecified => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::ProtocolMismatch => StatusCode::BAD_GATEWAY,
        ErrorCode::DataLoss | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!(error = %self, %status, "a page could not be shown");
        }
        (status, layout::error_page(status, &self.to_string())).into_response()
    }
}
