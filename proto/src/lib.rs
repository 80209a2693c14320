//! The only API: generated messages and services, the typed error that crosses the wire, and the conversions between
//! messages and the values of `ursa-domain`.

mod codec;
mod convert;
mod error;

use std::time::Duration;

pub use codec::SmallBuffers;
pub use convert::{BadField, parse_id, time, timestamp};
pub use error::{ApiError, ErrorCode};

/// Version of the workers' and nodes' session protocol. Grows when a peer has to behave otherwise, not with every new
/// member of a message.
pub const SESSION_PROTOCOL_VERSION: u32 = 2;

/// The oldest version that a coordinator still understands: the one before its own, so that coordinators can be brought
/// to a new version first and their workers and nodes after them. Others are refused with the numbers named.
pub const OLDEST_SESSION_PROTOCOL_VERSION: u32 = 1;

/// After so long without an answer, or that of three reports where that is longer, a worker or node gives its session up.
pub const SESSION_SILENCE: Duration = Duration::from_secs(5);

/// So long it waits at most before it opens another one.
pub const SESSION_LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Largest gRPC message either side accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Largest message of the Open Inference Protocol, in bytes.
pub const MAX_INFERENCE_MESSAGE_BYTES: usize = 64 << 20;

/// Every file of the protocol, encoded for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// `ursa.v1`: datasets, jobs, models, endpoints, and the sessions of workers and nodes.
#[expect(clippy::pedantic, clippy::doc_markdown, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("ursa.v1");
}

/// The Open Inference Protocol, version 2.
#[expect(clippy::pedantic, clippy::doc_markdown, reason = "generated code")]
pub mod inference {
    tonic::include_proto!("inference");
}

/// The contract by which KEDA asks how many workers are wanted.
#[expect(clippy::pedantic, clippy::doc_markdown, reason = "generated code")]
pub mod externalscaler {
    tonic::include_proto!("externalscaler");
}
