//! Why a request is not answered with a prediction: one enum, mapped once to HTTP and once to gRPC.

use axum::http::StatusCode;
use ursa_vision::Refusal;

use crate::model::EngineError;

/// Largest picture, in bytes.
pub(crate) const MAX_PICTURE_BYTES: usize = 32 << 20;

/// What went wrong with a request. The message says what happened, to what, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// No such endpoint here.
    #[error("there is no endpoint {name:?} on this node; {known}")]
    UnknownEndpoint { name: String, known: String },
    /// Several endpoints, none named.
    #[error("this node serves several endpoints: choose one with ?endpoint=NAME; {known}")]
    EndpointNeeded { known: String },
    /// A model that the endpoint does not serve.
    #[error("endpoint {endpoint:?} serves model {serving}, not {asked}")]
    UnknownVersion { endpoint: String, serving: String, asked: String },
    /// A class that the model does not know.
    #[error("the model has no class {class:?}; it has {known}")]
    UnknownClass { class: String, known: String },
    /// The endpoint has never had a model that works.
    #[error("no model is ready for endpoint {name:?}: {reason}")]
    NotReady { name: String, reason: String },
    /// Nothing to serve at all yet.
    #[error("no model is ready: the coordinator has not told this node to serve an endpoint yet")]
    NothingServed,
    /// Bytes that are no acceptable picture.
    #[error("{which} was refused: {refusal}")]
    Refused { which: String, refusal: Refusal },
    /// A picture that could not be fetched.
    #[error("{url} cannot be fetched: {reason}")]
    NotFetched { url: String, class: &'static str, reason: String, is_request: bool },
    /// A request that can never work as it is.
    #[error("{0}")]
    Invalid(String),
    /// A body beyond the limit.
    #[error("the request is larger than {} MiB", limit >> 20)]
    TooLarge { limit: usize },
    /// A body that broke off.
    #[error("the request's body could not be read: {0}")]
    Unreadable(String),
    /// More work than fits into the queue.
    #[error("the node is busy: its queue is full; try again, or another node")]
    Busy,
    /// The model itself failed.
    #[error("the model failed: {0}")]
    Internal(String),
}

impl ServeError {
    /// The stable name, for programs and for metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::UnknownEndpoint { .. } => "unknown-endpoint",
            Self::EndpointNeeded { .. } => "endpoint-needed",
            Self::UnknownVersion { .. } => "unknown-version",
            Self::UnknownClass { .. } => "unknown-class",
            Self::NotReady { .. } | Self::NothingServed => "not-ready",
            Self::Refused { refusal, .. } => refusal.reason.as_str(),
            Self::NotFetched { class, .. } => class,
            Self::Invalid(_) => "invalid-request",
            Self::TooLarge { .. } => "too-large",
            Self::Unreadable(_) => "unreadable-body",
            Self::Busy => "busy",
            Self::Internal(_) => "internal",
        }
    }

    /// As HTTP says it.
    pub(crate) fn http(&self) -> StatusCode {
        match self {
            Self::UnknownEndpoint { .. } | Self::UnknownVersion { .. } => StatusCode::NOT_FOUND,
            Self::EndpointNeeded { .. } | Self::UnknownClass { .. } | Self::Invalid(_) | Self::Unreadable(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::NotReady { .. } | Self::NothingServed | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused { .. } | Self::NotFetched { is_request: true, .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFetched { .. } => StatusCode::BAD_GATEWAY,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// As gRPC says it.
    pub(crate) fn grpc(&self) -> tonic::Code {
        use tonic::Code;
        match self {
            Self::UnknownEndpoint { .. } | Self::UnknownVersion { .. } => Code::NotFound,
            Self::EndpointNeeded { .. }
            | Self::UnknownClass { .. }
            | Self::Invalid(_)
            | Self::Unreadable(_)
            | Self::Refused { .. }
            | Self::NotFetched { .. } => Code::InvalidArgument,
            Self::NotReady { .. } | Self::NothingServed => Code::Unavailable,
            Self::TooLarge { .. } => Code::OutOfRange,
            Self::Busy => Code::ResourceExhausted,
            Self::Internal(_) => Code::Internal,
        }
    }
}

impl From<EngineError> for ServeError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Busy => Self::Busy,
            EngineError::Failed(reason) => Self::Internal(reason),
        }
    }
}

impl From<ServeError> for tonic::Status {
    fn from(error: ServeError) -> Self {
        Self::new(error.grpc(), error.to_string())
    }
}
