//! The CPU inference node: told by the coordinator what to serve, gets models from the object store, believes them only
//! after they have proved themselves, and answers over HTTP and gRPC.
//!
//! - `session` talks with the coordinator, `keeper` does what it orders, `catalog` is what both and everybody else see.
//! - `model` loads, proves and computes; `predict` is the way from a request to probabilities, `explain` the one to the
//!   places in a picture that they rest on.
//! - `http` and `open_inference` are the two doors. Nothing behind them knows HTTP or gRPC.

mod catalog;
mod config;
mod error;
mod explain;
mod http;
mod keeper;
mod metrics;
mod model;
mod open_inference;
mod predict;
mod serve;
mod session;

use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use ursa_client::Client;
use ursa_storage::Storage;
use uuid::Uuid;

pub use config::Config;

use catalog::Catalog;
use keeper::Keeper;
use metrics::Metrics;
use model::{Cores, Workshop};
use predict::Predictor;
use session::{Identity, Session};

/// Where a node answers, once it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For instance `http://127.0.0.1:8081`.
    pub http: String,
    /// For instance `http://127.0.0.1:8082`.
    pub grpc: String,
}

/// Runs a node until told to stop. `listening` hears the addresses once requests are answered.
///
/// # Errors
/// A configuration that cannot work, a port that is taken, or a coordinator of another protocol version. A coordinator or
/// an object store that is away is waited for.
pub async fn run(config: Config, stop: CancellationToken, listening: impl FnOnce(&Addresses)) -> anyhow::Result<()> {
    config.refuse_open_doors()?;
    let client = Client::of_several(config.coordinators.iter().map(String::as_str))?;
    let storage = Storage::open(&config.object_store)?;
    let http = bind(config.http).await?;
    let grpc = bind(config.grpc).await?;
    let addresses = Addresses { http: address(&http)?, grpc: address(&grpc)? };

    let threads = config.threads();
    ursa_learner::set_threads(threads);
    let metrics = Arc::new(Metrics::new());
    let (catalog, seen) = watch::channel(Catalog::default());
    let (orders, ordered) = watch::channel(None);
    let predictor = Predictor::new(seen.clone(), threads, config.allow_networks.clone(), metrics.clone());
    let predictor = Arc::new(predictor.context("the client that fetches pictures could not be made")?);
    let workshop = Workshop { storage, cores: Cores::new(threads), batches: metrics.batches() };
    let session = Session { identity: identity(&config, &addresses), catalog: seen.clone(), orders };

    tracing::info!(http = addresses.http, grpc = addresses.grpc, threads, "the inference node is listening");
    listening(&addresses);
    let stop = stop.child_token();
    let mut parts = JoinSet::new();
    let keeper = Keeper::new(workshop, catalog).run(ordered, stop.clone());
    parts.spawn(async move {
        keeper.await;
        Ok(())
    });
    parts.spawn(attend(client, session, stop.clone()));
    parts.spawn(serve::http(predictor.clone(), http, stop.clone()));
    parts.spawn(serve::grpc(predictor, seen, grpc, stop.clone()));
    until_the_end(parts, &stop).await
}

async fn bind(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn address(listener: &TcpListener) -> anyhow::Result<String> {
    Ok(format!("http://{}", listener.local_addr()?))
}

fn identity(config: &Config, addresses: &Addresses) -> Identity {
    Identity {
        node_id: Uuid::new_v4(),
        name: config.name(),
        http_address: addresses.http.clone(),
        grpc_address: addresses.grpc.clone(),
    }
}

async fn attend(client: Client, session: Session, stop: CancellationToken) -> anyhow::Result<()> {
    ursa_client::session::keep(&client, session, stop).await.context("the coordinator refuses this node")
}

/// Waits for all parts; the first that fails, or ends unasked, stops the others.
async fn until_the_end(mut parts: JoinSet<anyhow::Result<()>>, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        stop.cancel();
        let ended = ended.unwrap_or_else(|error| Err(error.into()));
        outcome = outcome.and(ended);
    }
    outcome
}
