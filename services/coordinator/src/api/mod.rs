//! The gRPC services, one file each. They translate between messages and the store, and decide nothing.

mod datasets;
mod endpoints;
mod heatmap;
mod interpret;
mod jobs;
mod logs;
mod models;
mod nodes;
mod pages;
mod queues;
mod scaler;
mod schedules;
mod session;
mod steer;
mod waiting;
mod watch;
mod webhooks;
mod workers;

use tonic::{Response, Status};
use ursa_domain::JobKind;
use ursa_domain::pipeline::is_name;
use ursa_proto::{ApiError, ErrorCode};
use ursa_storage::StorageError;

pub(crate) use datasets::DatasetApi;
pub(crate) use endpoints::EndpointApi;
pub(crate) use jobs::JobApi;
pub(crate) use models::ModelApi;
pub(crate) use nodes::NodeApi;
pub(crate) use queues::QueueApi;
pub(crate) use scaler::ScalerApi;
pub(crate) use schedules::ScheduleApi;
pub(crate) use webhooks::WebhookApi;
pub(crate) use workers::WorkerApi;

use crate::store::StoreError;

/// What every handler returns.
type Answer<T> = Result<Response<T>, Status>;

/// Turns the store's error into the wire's.
fn refuse(error: impl Into<StoreError>) -> Status {
    Status::from(ApiError::from(error.into()))
}

/// Turns the object store's error into the wire's.
fn storage_refused(error: &StorageError) -> Status {
    let code = match error {
        StorageError::NotFound { .. } | StorageError::Corrupt { .. } => ErrorCode::DataLoss,
        error if error.is_retryable() => ErrorCode::Unavailable,
        _ => ErrorCode::Internal,
    };
    ApiError::new(code, error.to_string()).into()
}

/// What nobody who asks can do anything about.
fn internal(error: impl ToString) -> Status {
    ApiError::new(ErrorCode::Internal, error.to_string()).into()
}

/// Reads an id out of a request.
fn id(field: &str, text: &str) -> Result<uuid::Uuid, Status> {
    ursa_proto::parse_id(field, text).map_err(|bad| ApiError::from(bad).into())
}

/// Reads a name out of a request.
fn name<'a>(field: &str, text: &'a str) -> Result<&'a str, Status> {
    if is_name(text) {
        return Ok(text);
    }
    let message = format!(
        "{field} {text:?} is not a name: use 1 to 100 letters, digits, '-', '_' and '.', not starting with '.'"
    );
    Err(ApiError::invalid(message).into())
}

/// Reads a kind of job out of a request.
fn kind(field: &str, word: &str) -> Result<JobKind, Status> {
    word.parse().map_err(|error| {
        let known: Vec<_> = JobKind::ALL.iter().map(|kind| kind.as_str()).collect();
        ApiError::invalid(format!("{field}: {error}; known are {}", known.join(", "))).into()
    })
}

/// Coordinators are brought to a new version before their peers: a peer may be one version behind, and no more.
fn check_protocol(what: &str, version: u32) -> Result<(), Status> {
    let (oldest, ours) = (ursa_proto::OLDEST_SESSION_PROTOCOL_VERSION, ursa_proto::SESSION_PROTOCOL_VERSION);
    if (oldest..=ours).contains(&version) {
        return Ok(());
    }
    let message = format!(
        "this coordinator speaks session protocols {oldest} to {ours}, the {what} speaks {version}: bring both to the same version"
    );
    Err(ApiError::new(ErrorCode::ProtocolMismatch, message).into())
}
