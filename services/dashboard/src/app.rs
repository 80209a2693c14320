//! What every handler shares: the way to the coordinator and to the nodes, each with a limit on waiting.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Response, Status};
use ursa_client::Client;
use ursa_proto::{ApiError, ErrorCode};

/// A page is late after this; a person has given up by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const NODE_CONNECT_WITHIN: Duration = Duration::from_secs(2);
const NODE_ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The shared parts. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// The only source of what is shown.
    pub client: Client,
    /// For pictures on their way to a node.
    pub nodes: reqwest::Client,
    /// Cancelled when the dashboard stops: endless responses end then.
    pub stop: CancellationToken,
}

impl App {
    /// For the coordinator at `address`. Does not connect yet.
    pub(crate) fn new(address: &str, stop: CancellationToken) -> anyhow::Result<Self> {
        // The HTTP client comes without a TLS provider of its own; a second installation is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nodes = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(NODE_CONNECT_WITHIN)
            .timeout(NODE_ANSWER_WITHIN)
            .build()?;
        Ok(Self { client: Client::new(address)?, nodes, stop })
    }
}

/// Waits for an answer of the coordinator, but not for ever.
///
/// # Errors
/// The coordinator's own, or `Unavailable` when it does not answer in time.
pub(crate) async fn ask<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, ApiError> {
    let late = |_| {
        let message = format!("the coordinator did not answer within {} s", ANSWER_WITHIN.as_secs());
        ApiError::new(ErrorCode::Unavailable, message)
    };
    Ok(tokio::time::timeout(ANSWER_WITHIN, call).await.map_err(late)??.into_inner())
}
